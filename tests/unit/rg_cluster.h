/*
 * Members of one replication group in one process, for tests of rg_group.h: each with a log of which a part is durable,
 * links between them that deliver in order or not at all, and a clock. Everything the caller has to do is done here, and
 * what must always hold is asserted.
 */
#ifndef RG_CLUSTER_H
#define RG_CLUSTER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "rg_group.h"
#include "sb_memory.h"

#pragma GCC diagnostic ignored "-Wunused-function"

#define NODES 5
#define LOG_MAX 4000
#define QUEUE_MAX 4000
#define ELECTION_MS 1000
#define HEARTBEAT_MS 100
#define LEASE_MS 800

struct log_entry {
    uint64_t term;
    enum rg_entry_kind kind;
    struct wire_configuration configuration;
};

struct member {
    struct rg_group *group;
    uint64_t node;
    struct log_entry log[LOG_MAX]; /* log[index] */
    uint64_t first, last;          /* of the log; last + 1 == first: empty */
    uint64_t term, voted_for;      /* as noted, hence durable */
    bool holds;                    /* appended entries wait for persist() */
    uint64_t durable;              /* of the log */
    struct {
        uint64_t index, term;
    } unreported[200];
    size_t unreported_count;
    uint64_t applied;
    uint64_t applied_term;
    struct wire_configuration applied_configuration;
    uint64_t applied_configuration_index;
    uint64_t checkpoint;     /* 0: none; the log may be cut up to it */
    bool lags;               /* applies nothing by itself */
    struct rg_update update; /* the last */
    int installs;
    struct {
        uint64_t index, term;
        struct wire_configuration configuration;
        uint64_t configuration_index;
    } incoming;
};

struct packet {
    struct wire_peer_message message;
    struct rg_entry *entries;
    struct wire_configuration *configurations;
};

static struct member members[NODES + 1];
static bool cut[NODES + 1][NODES + 1];
static struct packet queue[QUEUE_MAX];
static size_t queue_first, queue_count;
static uint64_t clock_ms;
static uint64_t committed[LOG_MAX]; /* term of each entry that somebody has applied */
static struct rg_options options = {.group = 7,
                                    .election_timeout_ms = ELECTION_MS,
                                    .heartbeat_ms = HEARTBEAT_MS,
                                    .lease_ms = LEASE_MS,
                                    .install_timeout_ms = 5000,
                                    .in_flight_max = 512};
static uint32_t seed = 1;

static struct wire_configuration voters_of(uint32_t count)
{
    struct wire_configuration c = {.count = count};

    for (uint32_t i = 0; i < count; i++)
        c.members[i] = (struct wire_member){i + 1, WIRE_MEMBER_VOTER};
    return c;
}

static struct wire_configuration with(struct wire_configuration c, uint64_t node, enum wire_member_role role)
{
    uint32_t at = 0;

    while (at < c.count && c.members[at].node < node)
        at++;
    if (at == c.count || c.members[at].node != node) {
        memmove(&c.members[at + 1], &c.members[at], (c.count - at) * sizeof(c.members[0]));
        c.count++;
    }
    c.members[at] = (struct wire_member){node, role};
    return c;
}

static struct wire_configuration without(struct wire_configuration c, uint64_t node)
{
    uint32_t at = 0;

    while (c.members[at].node != node)
        at++;
    c.count--;
    memmove(&c.members[at], &c.members[at + 1], (c.count - at) * sizeof(c.members[0]));
    return c;
}

static struct rg_entry entry_at(struct member *m, uint64_t index)
{
    struct log_entry *e = &m->log[index];

    return (struct rg_entry){index, e->term, e->kind, e->kind == RG_CONFIGURATION ? &e->configuration : NULL};
}

static void absorb(struct member *m, const struct rg_update *update);

static void apply(struct member *m)
{
    while (!m->lags && !rg_installing(m->group) && m->applied < rg_commit(m->group)) {
        struct log_entry *e = &m->log[++m->applied];
        struct rg_update update;

        assert_true(m->applied <= m->last);
        assert_true(committed[m->applied] == 0 || committed[m->applied] == e->term);
        committed[m->applied] = e->term;
        m->applied_term = e->term;
        if (e->kind != RG_CONFIGURATION)
            continue;
        m->applied_configuration = e->configuration;
        m->applied_configuration_index = m->applied;
        struct rg_entry entry = entry_at(m, m->applied);

        assert_int_equal(rg_configured(m->group, clock_ms, &entry, &update), WIRE_OK);
        absorb(m, &update);
    }
}

/* Reports what waits as durable, at most `count` updates. */
static void persist(struct member *m, size_t count)
{
    while (count-- > 0 && m->unreported_count > 0) {
        uint64_t index = m->unreported[0].index, term = m->unreported[0].term;
        struct rg_update update;

        memmove(m->unreported, m->unreported + 1, --m->unreported_count * sizeof(m->unreported[0]));
        if (index <= m->last && index > m->durable)
            m->durable = index;
        assert_int_equal(rg_persisted(m->group, clock_ms, index, term, &update), WIRE_OK);
        absorb(m, &update);
    }
}

static void send(struct member *m, const struct wire_peer_message *message)
{
    struct packet *p = &queue[(queue_first + queue_count) % QUEUE_MAX];

    assert_true(queue_count < QUEUE_MAX);
    assert_int_equal(message->from, m->node);
    assert_int_equal(message->group, options.group);
    *p = (struct packet){.message = *message};
    if (message->kind == WIRE_PEER_APPEND && message->entry_count > 0) {
        p->entries = calloc(message->entry_count, sizeof(struct rg_entry));
        p->configurations = calloc(message->entry_count, sizeof(struct wire_configuration));
        for (uint32_t i = 0; i < message->entry_count; i++) {
            assert_true(message->index + 1 + i >= m->first && message->index + 1 + i <= m->last);
            p->entries[i] = entry_at(m, message->index + 1 + i);
            p->configurations[i] = m->log[message->index + 1 + i].configuration;
            if (p->entries[i].configuration != NULL)
                p->entries[i].configuration = &p->configurations[i];
        }
    }
    if (cut[message->from][message->to] || message->to > NODES || members[message->to].group == NULL) {
        free(p->entries);
        free(p->configurations);
        return;
    }
    queue_count++;
}

static void absorb(struct member *m, const struct rg_update *update)
{
    m->update = *update;
    if (update->state) {
        assert_true(rg_term(m->group) > m->term || (rg_term(m->group) == m->term && m->voted_for == 0));
        m->term = rg_term(m->group);
        m->voted_for = rg_voted_for(m->group);
    }
    assert_true(rg_term(m->group) == m->term && rg_voted_for(m->group) == m->voted_for);
    for (size_t i = 0; i < update->entry_count; i++) {
        const struct rg_entry *e = &update->entries[i];

        assert_true(e->index > m->applied || m->lags);
        assert_true(i == 0 ? e->index >= m->first && e->index <= m->last + 1 : e->index == m->last + 1);
        m->log[e->index] = (struct log_entry){.term = e->term, .kind = e->kind};
        if (e->kind == RG_CONFIGURATION)
            m->log[e->index].configuration = *e->configuration;
        m->last = e->index;
        if (i == 0 && m->durable >= e->index)
            m->durable = e->index - 1;
    }
    assert_true(rg_installing(m->group) || rg_last_index(m->group) == m->last);
    for (size_t i = 0; i < update->message_count; i++)
        send(m, &update->messages[i]);
    if (update->install) {
        m->installs++;
        m->incoming.index = update->checkpoint.index;
        m->incoming.term = update->checkpoint.term;
        m->incoming.configuration = update->checkpoint.configuration;
        m->incoming.configuration_index = update->checkpoint.configuration_index;
    }
    if (update->entry_count > 0) {
        m->unreported[m->unreported_count].index = m->last;
        m->unreported[m->unreported_count++].term = m->log[m->last].term;
        if (!m->holds)
            persist(m, SIZE_MAX);
    }
    apply(m);
}

static void install(struct member *m, bool success)
{
    struct rg_update update;

    if (success) {
        m->first = m->incoming.index + 1;
        m->last = m->durable = m->applied = m->incoming.index;
        m->applied_term = m->incoming.term;
        m->applied_configuration = m->incoming.configuration;
        m->applied_configuration_index = m->incoming.configuration_index;
        m->unreported_count = 0;
    }
    assert_int_equal(rg_installed(m->group, clock_ms, success, &update), WIRE_OK);
    absorb(m, &update);
}

/* From what is durable. */
static void start(struct member *m)
{
    static struct rg_entry entries[LOG_MAX];
    struct rg_start s = {.term = m->term, .voted_for = m->voted_for};
    struct rg_update update;

    options.node = m->node;
    options.seed = seed++ * 7919;
    if (m->durable < m->applied) {
        m->first = m->applied + 1;
        m->durable = m->applied;
    }
    m->last = m->durable;
    m->unreported_count = 0;
    s.applied_index = m->applied;
    s.applied_term = m->applied_term;
    s.configuration = m->applied_configuration;
    s.configuration_index = m->applied_configuration_index;
    s.first_index = m->first;
    s.entries = entries;
    s.entry_count = m->last + 1 - m->first;
    for (size_t i = 0; i < s.entry_count; i++)
        entries[i] = entry_at(m, m->first + i);
    assert_int_equal(rg_open(&options, &s, clock_ms, &m->group, &update), WIRE_OK);
    absorb(m, &update);
}

static void crash(struct member *m)
{
    rg_close(m->group);
    m->group = NULL;
}

static void drop_queue(void)
{
    while (queue_count > 0) {
        free(queue[queue_first].entries);
        free(queue[queue_first].configurations);
        queue_first = (queue_first + 1) % QUEUE_MAX;
        queue_count--;
    }
}

/* `count` voters with the entry that makes them a group; the others know nothing. */
static void boot(uint32_t count)
{
    memset(members, 0, sizeof(members));
    memset(cut, 0, sizeof(cut));
    memset(committed, 0, sizeof(committed));
    clock_ms = 10000;
    for (uint64_t node = 1; node <= NODES; node++) {
        struct member *m = &members[node];

        m->node = node;
        m->first = 1;
        if (node <= count) {
            m->term = 1;
            m->last = m->durable = 1;
            m->log[1] = (struct log_entry){1, RG_CONFIGURATION, voters_of(count)};
        }
        start(m);
    }
}

static void shut(void)
{
    for (int node = 1; node <= NODES; node++)
        if (members[node].group != NULL)
            crash(&members[node]);
    drop_queue();
}

static int receive_packet(struct member *m, struct packet *p)
{
    struct rg_update update;
    int rc = rg_receive(m->group, clock_ms, &p->message, p->entries, &update);

    if (rc == WIRE_OK)
        absorb(m, &update);
    return rc;
}

/* One message. */
static bool deliver_one(void)
{
    struct packet p;
    struct member *m;

    if (queue_count == 0)
        return false;
    p = queue[queue_first];
    queue_first = (queue_first + 1) % QUEUE_MAX;
    queue_count--;
    m = &members[p.message.to];
    if (m->group != NULL && !cut[p.message.from][p.message.to])
        assert_int_equal(receive_packet(m, &p), WIRE_OK);
    free(p.entries);
    free(p.configurations);
    return true;
}

static void deliver(void)
{
    while (deliver_one())
        ;
}

static void time_out(struct member *m)
{
    struct rg_update update;

    assert_int_equal(rg_timeout(m->group, clock_ms, &update), WIRE_OK);
    absorb(m, &update);
}

/* Time passes for all that are up. */
static void pass(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 10) {
        clock_ms += 10;
        for (int node = 1; node <= NODES; node++)
            if (members[node].group != NULL && clock_ms >= rg_next_timeout(members[node].group))
                time_out(&members[node]);
        deliver();
    }
}

static struct member *leader(void)
{
    struct member *found = NULL;

    for (int node = 1; node <= NODES; node++) {
        struct member *m = &members[node];

        if (m->group != NULL && rg_role(m->group) == RG_LEADER &&
            (found == NULL || rg_term(m->group) > rg_term(found->group)))
            found = m;
    }
    return found;
}

static void isolate(uint64_t node, bool on)
{
    for (int other = 1; other <= NODES; other++)
        cut[node][other] = cut[other][node] = on;
}

/* The others are silent until it leads; that they follow nobody any more is all that time does to them. */
static void elect(struct member *m)
{
    uint64_t most = clock_ms + 20 * ELECTION_MS;
    bool saved[NODES + 1][NODES + 1];

    memcpy(saved, cut, sizeof(saved));
    while (rg_role(m->group) != RG_LEADER && clock_ms < most) {
        clock_ms += ELECTION_MS;
        for (int node = 1; node <= NODES; node++) {
            if (members[node].group == NULL || clock_ms < rg_next_timeout(members[node].group) || node == (int) m->node)
                continue;
            isolate(node, true);
            time_out(&members[node]);
            memcpy(cut, saved, sizeof(saved));
        }
        if (clock_ms >= rg_next_timeout(m->group))
            time_out(m);
        deliver();
    }
    assert_int_equal(rg_role(m->group), RG_LEADER);
}

static int submit(struct member *m, size_t count)
{
    struct rg_entry entries[64];
    struct rg_update update;
    int rc;

    for (size_t i = 0; i < count; i++)
        entries[i] = (struct rg_entry){m->last + 1 + i, rg_term(m->group), RG_EFFECTS, NULL};
    rc = rg_submit(m->group, clock_ms, entries, count, &update);
    if (rc == WIRE_OK)
        absorb(m, &update);
    return rc;
}

static int change(struct member *m, struct wire_configuration c)
{
    struct rg_update update;
    int rc = rg_change(m->group, clock_ms, &c, &update);

    if (rc == WIRE_OK)
        absorb(m, &update);
    return rc;
}

static struct wire_configuration configuration_of(struct member *m)
{
    struct wire_configuration c;
    uint64_t index;

    rg_configuration(m->group, &c, &index);
    return c;
}

static int transfer(struct member *m, uint64_t node)
{
    struct rg_update update;
    int rc = rg_transfer(m->group, clock_ms, node, &update);

    if (rc == WIRE_OK)
        absorb(m, &update);
    return rc;
}

static int cut_log(struct member *m, uint64_t index, uint64_t first)
{
    struct rg_update update;
    int rc = rg_checkpointed(m->group, clock_ms, index, m->log[index].term, first, &update);

    if (rc == WIRE_OK) {
        if (first > m->first)
            m->first = first;
        absorb(m, &update);
    }
    return rc;
}

/* A message that nobody sent. */
static int forge(struct member *to, struct wire_peer_message message, const struct rg_entry *entries)
{
    struct rg_update update;
    int rc;

    message.group = options.group;
    message.to = to->node;
    rc = rg_receive(to->group, clock_ms, &message, entries, &update);
    if (rc == WIRE_OK)
        absorb(to, &update);
    return rc;
}

#endif
