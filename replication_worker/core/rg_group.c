/*
 * The contract of rg_group.h on libraft. Of the library only raft_step is used, with no I/O object under it; what its
 * version does wrong or leaves out is made up for here, before or after each step, and said where it is done.
 *
 * A call: enter (memory for all that can come of it), steps of the library, each emptied into the arrays of the update
 * at once, leave (what has changed). Nothing fails in between but the library itself, and then the group has stopped.
 */
#include "rg_group.h"

#include <inttypes.h>
#include <raft.h>
#include <stdio.h>

#include "rg_check.h"
#include "rg_heap.h"
#include "rg_lease.h"
#include "rg_pending.h"

/* 0.15 loses acknowledged writes; what is reached into below was read in 0.22.1. */
_Static_assert(RAFT_VERSION_NUMBER >= 2201 && RAFT_VERSION_NUMBER < 2300, "libraft is not 0.22, from 0.22.1 on");

#define CAPACITY 0xffff          /* of disk, as members tell each other: never short, the threshold is off */
#define MESSAGES_STEP_MAX 32     /* more than a step of the library with WIRE_MEMBERS_MAX members sends */
#define ADDRESS_SIZE 24          /* decimal node */
#define RETAINED_ENTRIES_MAX 256 /* arrays that grew larger are given back */

/* What a step may allocate, at most; see rg_heap.h. */
#define HEAP_CONFIGURATION                                                                                             \
    (WIRE_MEMBERS_MAX * (WIRE_MEMBERS_MAX * sizeof(struct raft_server) + ADDRESS_SIZE + 4 * RG_HEAP_OVERHEAD))
#define HEAP_STEP (2048 + 2 * HEAP_CONFIGURATION)
#define HEAP_MESSAGES (3 * 16 * sizeof(struct raft_message) + 2 * RG_HEAP_OVERHEAD)

struct checkpoint {
    uint64_t index;
    uint64_t term;
    uint64_t configuration_index;
    struct wire_configuration configuration;
};

struct change {
    uint64_t index;
    struct wire_configuration configuration;
};

/* What the caller knows, to tell what has changed. */
struct seen {
    uint64_t term;
    uint64_t voted_for;
    uint64_t commit;
    uint64_t leader;
    uint64_t next_timeout;
    enum rg_role role;
};

struct rg_group {
    struct raft raft;
    bool initialised; /* raft */
    bool stopped;
    char fault[160];
    struct rg_options options;
    uint64_t now_ms;
    uint64_t opened_ms;
    uint64_t led_term;     /* the last that we have led */
    uint64_t barrier_term; /* the last that we have begun with an entry */
    uint64_t heard_term;   /* the last that we have heard a leader of, */
    uint64_t heard_leader; /* who it was, */
    uint64_t heard_number; /* and the greatest sequence number it sent */
    struct rg_lease lease;
    struct rg_pending pending;
    struct wire_configuration configuration; /* as raft.configuration */

    struct checkpoint checkpoint; /* the newest: what INSTALL offers */
    struct change *changes;       /* configurations applied behind it */
    size_t change_count;
    size_t change_capacity;

    struct checkpoint incoming; /* being installed */
    struct raft_trail saved;    /* what the library forgot when that began */
    uint64_t saved_stored;
    uint64_t stored_meanwhile;

    struct rg_entry *entries; /* of the update, likewise the next */
    size_t entry_count;
    size_t entry_capacity;
    struct wire_configuration *entry_configurations;
    size_t entry_configuration_count;
    size_t entry_configuration_capacity;
    struct wire_peer_message *messages;
    size_t message_count;
    size_t message_capacity;
    struct raft_entry *scratch; /* as many as entries */
    bool install;
    struct seen seen;
};

/* --- what the library knows --- */

static enum rg_role role_of(const struct rg_group *group)
{
    if (group->raft.state == RAFT_LEADER)
        return RG_LEADER;
    return group->raft.state == RAFT_CANDIDATE ? RG_CANDIDATE : RG_FOLLOWER;
}

static bool leads(const struct rg_group *group)
{
    return group->raft.state == RAFT_LEADER;
}

static bool handing_over(const struct rg_group *group)
{
    return raft_transferee(&group->raft) != 0;
}

/* A follower keeps the leader of an old term until it hears of another: such is none. */
static uint64_t leader_of(const struct rg_group *group)
{
    if (leads(group))
        return group->options.node;
    if (group->raft.state != RAFT_FOLLOWER || group->heard_term != group->raft.current_term)
        return 0;
    return group->raft.follower_state.current_leader.id;
}

static uint64_t last_index(const struct rg_group *group)
{
    return raft_last_index((struct raft *) &group->raft);
}

/* The term of the entry at index; 0: not known here. */
static uint64_t term_of(const struct rg_group *group, uint64_t index)
{
    const struct raft_trail *trail = &group->raft.trail;
    unsigned count = trail->size > 0 ? (trail->back + trail->size - trail->front) % trail->size : 0;
    uint64_t term = 0;

    if (index > 0 && index == trail->snapshot.index)
        return trail->snapshot.term;
    if (index <= trail->offset)
        return 0;
    while (count > 0) {
        unsigned place = (trail->front + count - 1) % trail->size;

        if (trail->records[place].index < index)
            break;
        term = trail->records[place].term;
        count--;
    }
    return term;
}

static bool is_sole_voter(const struct wire_configuration *configuration, uint64_t node)
{
    const struct wire_member *member = wire_configuration_find(configuration, node);

    return member != NULL && member->role == WIRE_MEMBER_VOTER && wire_configuration_voters(configuration) == 1;
}

static uint64_t next_timeout(const struct rg_group *group)
{
    if (group->stopped ||
        (leads(group) && group->configuration.count == 1 && is_sole_voter(&group->configuration, group->options.node)))
        return UINT64_MAX;
    return raft_timeout(&group->raft);
}

static struct seen look(const struct rg_group *group)
{
    return (struct seen){.term = group->raft.current_term,
                         .voted_for = group->raft.voted_for,
                         .commit = group->raft.commit_index,
                         .leader = leader_of(group),
                         .next_timeout = next_timeout(group),
                         .role = role_of(group)};
}

static void mirror_configuration(struct rg_group *group)
{
    const struct raft_configuration *known = &group->raft.configuration;

    group->configuration.count = known->n;
    for (unsigned i = 0; i < known->n; i++) {
        group->configuration.members[i].node = known->servers[i].id;
        group->configuration.members[i].role =
            known->servers[i].role == RAFT_VOTER ? WIRE_MEMBER_VOTER : WIRE_MEMBER_LEARNER;
    }
}

/* --- a call --- */

static int stop(struct rg_group *group, const char *what, int code)
{
    if (!group->stopped)
        snprintf(group->fault, sizeof(group->fault), "%s: %s (term %" PRIu64 ", commit %" PRIu64 ")", what,
                 code != 0 ? raft_strerror(code) : "cannot be", (uint64_t) group->raft.current_term,
                 (uint64_t) group->raft.commit_index);
    group->stopped = true;
    return WIRE_E_INTERNAL;
}

static int reserve_entries(struct rg_group *group, size_t count)
{
    struct rg_entry *entries;
    struct raft_entry *scratch;

    if (group->entry_capacity > RETAINED_ENTRIES_MAX && count <= RETAINED_ENTRIES_MAX) {
        rg_heap_release(group->entries);
        rg_heap_release(group->scratch);
        group->entries = NULL;
        group->scratch = NULL;
        group->entry_capacity = 0;
    }
    if (count <= group->entry_capacity)
        return WIRE_OK;
    entries = rg_heap_resize(group->entries, count * sizeof(*entries));
    if (entries == NULL)
        return WIRE_E_NOMEM;
    group->entries = entries;
    scratch = rg_heap_resize(group->scratch, count * sizeof(*scratch));
    if (scratch == NULL)
        return WIRE_E_NOMEM;
    group->scratch = scratch;
    group->entry_capacity = count;
    return WIRE_OK;
}

static int reserve_configurations(struct rg_group *group, size_t count)
{
    struct wire_configuration *configurations;

    if (count <= group->entry_configuration_capacity)
        return WIRE_OK;
    configurations = rg_heap_resize(group->entry_configurations, count * sizeof(*configurations));
    if (configurations == NULL)
        return WIRE_E_NOMEM;
    group->entry_configurations = configurations;
    group->entry_configuration_capacity = count;
    return WIRE_OK;
}

static int reserve_messages(struct rg_group *group, size_t count)
{
    struct wire_peer_message *messages;

    if (count <= group->message_capacity)
        return WIRE_OK;
    messages = rg_heap_resize(group->messages, count * sizeof(*messages));
    if (messages == NULL)
        return WIRE_E_NOMEM;
    group->messages = messages;
    group->message_capacity = count;
    return WIRE_OK;
}

/* What a call brings: entries, changes of term and configurations among them, and parts to step one by one. */
struct load {
    size_t entries;
    size_t terms;
    size_t configurations;
};

static struct load load_of(const struct rg_entry *entries, size_t count)
{
    struct load load = {.entries = count, .terms = count > 0};

    for (size_t i = 0; i < count; i++) {
        load.terms += i > 0 && entries[i].term != entries[i - 1].term;
        load.configurations += entries[i].kind == RG_CONFIGURATION;
    }
    return load;
}

/* The records of terms double as they grow; everything else is small. */
static size_t heap_needed(const struct rg_group *group, struct load load)
{
    const struct raft_trail *trail = &group->raft.trail;
    size_t used = trail->size > 0 ? (trail->back + trail->size - trail->front) % trail->size : 0;
    size_t size = HEAP_STEP + load.configurations * 4 * HEAP_CONFIGURATION;

    if (group->raft.n_messages_cap < MESSAGES_STEP_MAX)
        size += HEAP_MESSAGES;
    if (used + load.terms + 2 >= trail->size)
        size += 1024 + 5 * (used + load.terms + 4) * sizeof(*trail->records);
    return size;
}

static int enter(struct rg_group *group, uint64_t now_ms, struct load load)
{
    int rc;

    group->entry_count = 0;
    group->entry_configuration_count = 0;
    group->message_count = 0;
    group->install = false;
    /* The library asserts that time does not go back. */
    if (now_ms > group->now_ms)
        group->now_ms = now_ms;
    rc = reserve_entries(group, load.entries + 1);
    if (rc == WIRE_OK)
        rc = reserve_configurations(group, load.configurations);
    if (rc == WIRE_OK)
        rc = reserve_messages(group, 2 * MESSAGES_STEP_MAX + load.configurations);
    if (rc == WIRE_OK)
        rc = rg_pending_reserve(&group->pending);
    return rc != WIRE_OK ? rc : rg_heap_enter(heap_needed(group, load));
}

/* A stopped group does nothing any more. */
static int begin(struct rg_group *group, uint64_t now_ms, struct load load, struct rg_update *update)
{
    *update = (struct rg_update){0};
    return group->stopped ? WIRE_E_INTERNAL : enter(group, now_ms, load);
}

/* Nothing came of the call. */
static int leave_with(struct rg_group *group, int rc)
{
    rg_heap_leave();
    return group->stopped ? WIRE_E_INTERNAL : rc;
}

static int leave(struct rg_group *group, struct rg_update *update)
{
    struct seen now = look(group);

    rg_heap_leave();
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (group->entry_count > 0)
        rg_pending_add(&group->pending, group->entries[0].index, group->entries[group->entry_count - 1].index,
                       group->entries[group->entry_count - 1].term);
    update->state = now.term != group->seen.term || now.voted_for != group->seen.voted_for;
    update->role = now.role != group->seen.role || now.leader != group->seen.leader;
    update->commit = now.commit != group->seen.commit;
    update->timeout = now.next_timeout != group->seen.next_timeout;
    update->entries = group->entries;
    update->entry_count = group->entry_count;
    update->messages = group->messages;
    update->message_count = group->message_count;
    update->install = group->install;
    if (group->install) {
        update->checkpoint.index = group->incoming.index;
        update->checkpoint.term = group->incoming.term;
        update->checkpoint.configuration = group->incoming.configuration;
        update->checkpoint.configuration_index = group->incoming.configuration_index;
    }
    group->seen = now;
    return WIRE_OK;
}

/* --- emptying a step --- */

static bool take_entries(struct rg_group *group, const struct raft_update *from)
{
    for (unsigned i = 0; i < from->entries.n; i++) {
        const struct raft_entry *entry = &from->entries.batch[i];
        struct rg_entry *to = &group->entries[group->entry_count];

        if (group->entry_count == group->entry_capacity ||
            (group->entry_count > 0 && to[-1].index + 1 != from->entries.index + i)) {
            stop(group, "entries to append", 0);
            break;
        }
        *to = (struct rg_entry){.index = from->entries.index + i, .term = entry->term, .kind = RG_EFFECTS};
        if (entry->type == RAFT_BARRIER)
            to->kind = RG_BARRIER;
        if (entry->type == RAFT_CHANGE) {
            /* The only one of its step: in force already. */
            to->kind = RG_CONFIGURATION;
            group->entry_configurations[group->entry_configuration_count] = group->configuration;
            to->configuration = &group->entry_configurations[group->entry_configuration_count++];
        }
        group->entry_count++;
    }
    raft_free(from->entries.batch[0].batch);
    return !group->stopped;
}

static void fill_vote_result(const struct rg_group *group, const struct raft_request_vote_result *from,
                             struct wire_peer_message *to)
{
    to->term = from->term;
    to->flags = (from->pre_vote ? WIRE_PEER_PRE_VOTE : 0) | (from->vote_granted ? WIRE_PEER_GRANTED : 0);
    /* A candidate with a term behind ours must learn it, else it asks in vain for ever. */
    if (from->pre_vote && !from->vote_granted && to->term < group->raft.current_term)
        to->term = group->raft.current_term;
}

static void fill_append_result(const struct rg_group *group, const struct raft_append_entries_result *from,
                               struct wire_peer_message *to)
{
    to->term = from->term;
    to->index_term = from->rejected;
    /* To one of an old term the library leaves the index unset. */
    if (group->heard_leader == to->to && group->heard_term == from->term) {
        to->index = from->last_log_index;
        to->sequence = group->heard_number;
    }
}

static void fill_message(struct rg_group *group, const struct raft_message *from, struct wire_peer_message *to)
{
    switch (from->type) {
    case RAFT_APPEND_ENTRIES:
        to->kind = WIRE_PEER_APPEND;
        to->term = from->append_entries.term;
        to->index = from->append_entries.prev_log_index;
        to->index_term = from->append_entries.prev_log_term;
        to->commit = from->append_entries.leader_commit;
        to->entry_count = from->append_entries.n_entries;
        to->sequence = rg_lease_send(&group->lease, group->now_ms);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        to->kind = WIRE_PEER_APPEND_RESULT;
        fill_append_result(group, &from->append_entries_result, to);
        break;
    case RAFT_REQUEST_VOTE:
        to->kind = WIRE_PEER_VOTE;
        to->flags = (from->request_vote.pre_vote ? WIRE_PEER_PRE_VOTE : 0) |
                    (from->request_vote.disrupt_leader ? WIRE_PEER_DISRUPT : 0);
        to->term = from->request_vote.term;
        to->index = from->request_vote.last_log_index;
        to->index_term = from->request_vote.last_log_term;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        to->kind = WIRE_PEER_VOTE_RESULT;
        fill_vote_result(group, &from->request_vote_result, to);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        to->kind = WIRE_PEER_INSTALL;
        to->term = from->install_snapshot.term;
        to->index = from->install_snapshot.last_index;
        to->index_term = from->install_snapshot.last_term;
        to->commit = group->checkpoint.configuration_index;
        to->configuration = group->checkpoint.configuration;
        to->sequence = rg_lease_send(&group->lease, group->now_ms);
        break;
    case RAFT_TIMEOUT_NOW:
        to->kind = WIRE_PEER_TIMEOUT_NOW;
        to->term = from->timeout_now.term;
        to->index = from->timeout_now.last_log_index;
        to->index_term = from->timeout_now.last_log_term;
        rg_lease_told(&group->lease, to->to);
        break;
    }
}

static struct wire_peer_message *add_message(struct rg_group *group, uint64_t to)
{
    struct wire_peer_message *message = &group->messages[group->message_count];

    if (group->message_count == group->message_capacity) {
        stop(group, "messages to send", 0);
        return NULL;
    }
    group->message_count++;
    *message = (struct wire_peer_message){.group = group->options.group, .from = group->options.node, .to = to};
    return message;
}

/* Who leads and who is a member decides about leases, and numbers the messages that follow. */
static void follow_leadership(struct rg_group *group)
{
    mirror_configuration(group);
    if (!leads(group))
        return;
    if (group->led_term != group->raft.current_term) {
        group->led_term = group->raft.current_term;
        rg_lease_begin(&group->lease, &group->configuration);
    }
    rg_lease_members(&group->lease, &group->configuration);
    if (group->lease.handing && !handing_over(group))
        rg_lease_keep(&group->lease);
}

static bool step(struct rg_group *group, struct raft_event *event, const char *what)
{
    struct raft_update update;
    int rc;

    event->time = group->now_ms;
    event->capacity = CAPACITY;
    rc = raft_step(&group->raft, event, &update);
    if (rc != 0) {
        stop(group, what, rc);
        return false;
    }
    follow_leadership(group);
    if ((update.flags & RAFT_UPDATE_ENTRIES) != 0 && !take_entries(group, &update))
        return false;
    if ((update.flags & RAFT_UPDATE_SNAPSHOT) != 0) {
        group->install = true;
        raft_configuration_close(&update.snapshot.metadata.configuration);
    }
    for (unsigned i = 0; (update.flags & RAFT_UPDATE_MESSAGES) != 0 && i < update.messages.n; i++) {
        struct wire_peer_message *message = add_message(group, update.messages.batch[i].server_id);

        if (message == NULL)
            return false;
        fill_message(group, &update.messages.batch[i], message);
    }
    return true;
}

static void step_persisted(struct rg_group *group, uint64_t index)
{
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};

    if (index <= group->raft.last_stored)
        return;
    event.persisted_entries.index = index;
    step(group, &event, "persisted");
}

/* --- filling a step --- */

static int configuration_of(const struct wire_configuration *from, struct raft_configuration *to)
{
    char address[ADDRESS_SIZE];
    int rc = 0;

    raft_configuration_init(to);
    for (uint32_t i = 0; i < from->count && rc == 0; i++) {
        snprintf(address, sizeof(address), "%" PRIu64, from->members[i].node);
        rc = raft_configuration_add(to, from->members[i].node, address,
                                    from->members[i].role == WIRE_MEMBER_VOTER ? RAFT_VOTER : RAFT_STANDBY);
    }
    if (rc != 0)
        raft_configuration_close(to);
    return rc;
}

static int encode_configuration(const struct wire_configuration *from, struct raft_buffer *to)
{
    struct raft_configuration configuration;
    int rc = configuration_of(from, &configuration);

    if (rc != 0)
        return rc;
    rc = raft_configuration_encode(&configuration, to);
    raft_configuration_close(&configuration);
    return rc;
}

static enum raft_entry_type type_of(enum rg_entry_kind kind)
{
    if (kind == RG_CONFIGURATION)
        return RAFT_CHANGE;
    return kind == RG_BARRIER ? RAFT_BARRIER : RAFT_COMMAND;
}

/* The library sees what entries are, but what is in them only of configurations, of which none but the first entry is
 * one. One batch, which the library owns from the step on, is memory of all. */
static bool fill_scratch(struct rg_group *group, const struct rg_entry *entries, size_t count)
{
    struct raft_buffer buffer = {0};
    int rc = 0;

    if (entries[0].kind == RG_CONFIGURATION)
        rc = encode_configuration(entries[0].configuration, &buffer);
    else if ((buffer.base = raft_malloc(1)) == NULL)
        rc = RAFT_NOMEM;
    if (rc != 0) {
        stop(group, "entries", rc);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        group->scratch[i] = (struct raft_entry){.term = entries[i].term,
                                                .type = type_of(entries[i].kind),
                                                .buf = i == 0 ? buffer : (struct raft_buffer){0},
                                                .batch = buffer.base};
    return true;
}

static bool submit(struct rg_group *group, const struct rg_entry *entries, size_t count)
{
    struct raft_event event = {.type = RAFT_SUBMIT};
    void *batch;

    if (!fill_scratch(group, entries, count))
        return false;
    batch = group->scratch[0].batch;
    event.submit.entries = group->scratch;
    event.submit.n = (unsigned) count;
    if (step(group, &event, "submit"))
        return true;
    raft_free(batch);
    return false;
}

/* A term of leadership begins with an entry of its own; the library sees to that only if others are uncommitted. */
static void begin_term(struct rg_group *group)
{
    struct rg_entry barrier = {.index = last_index(group) + 1, .term = group->raft.current_term, .kind = RG_BARRIER};

    if (group->stopped || !leads(group) || group->barrier_term == group->raft.current_term)
        return;
    group->barrier_term = group->raft.current_term;
    if (group->entry_count > 0 && group->entries[group->entry_count - 1].term == group->raft.current_term)
        return;
    submit(group, &barrier, 1);
}

/* --- start and end --- */

static const struct wire_configuration *newest_configuration(const struct rg_start *start)
{
    for (size_t i = start->entry_count; i > 0; i--)
        if (start->entries[i - 1].kind == RG_CONFIGURATION)
            return start->entries[i - 1].configuration;
    return &start->configuration;
}

static int fill_start_entries(const struct rg_start *start, struct raft_entry *entries)
{
    int rc = 0;

    for (size_t i = 0; i < start->entry_count; i++) {
        entries[i] = (struct raft_entry){.term = start->entries[i].term, .type = type_of(start->entries[i].kind)};
        if (entries[i].type == RAFT_CHANGE && rc == 0)
            rc = encode_configuration(start->entries[i].configuration, &entries[i].buf);
    }
    return rc;
}

static void free_start_entries(const struct rg_start *start, struct raft_entry *entries)
{
    for (size_t i = 0; i < start->entry_count; i++)
        raft_free(entries[i].buf.base);
    rg_heap_release(entries);
}

static bool start_raft(struct rg_group *group, const struct rg_start *start, struct raft_entry *entries, bool sole)
{
    struct raft_event event = {.type = RAFT_START};
    struct raft_snapshot_metadata metadata = {
        .index = start->applied_index, .term = start->applied_term, .configuration_index = start->configuration_index};
    int rc = fill_start_entries(start, entries);

    if (rc == 0 && start->applied_index > 0)
        rc = configuration_of(&start->configuration, &metadata.configuration);
    if (rc != 0) {
        free_start_entries(start, entries);
        stop(group, "start", rc);
        return false;
    }
    /* A sole voter leads at once, but for the library in the term that was: there it may have sent entries that it then
     * lost. It elects itself for the next one. */
    event.start.term = start->term + sole;
    event.start.voted_for = sole ? group->options.node : start->voted_for;
    event.start.metadata = start->applied_index > 0 ? &metadata : NULL;
    event.start.start_index = start->first_index ? start->first_index : 1;
    event.start.entries = entries;
    event.start.n_entries = (unsigned) start->entry_count;
    if (!step(group, &event, "start"))
        return false; /* the library has freed the entries */
    free_start_entries(start, entries);
    return true;
}

static bool init_raft(struct rg_group *group)
{
    char address[ADDRESS_SIZE];

    snprintf(address, sizeof(address), "%" PRIu64, group->options.node);
    if (raft_init(&group->raft, NULL, NULL, group->options.node, address) != 0) {
        stop(group, "init", RAFT_NOMEM);
        return false;
    }
    group->initialised = true;
    group->raft.tracer = NULL;
    raft_seed(&group->raft, group->options.seed);
    raft_set_pre_vote(&group->raft, true);
    raft_set_heartbeat_timeout(&group->raft, group->options.heartbeat_ms);
    raft_set_election_timeout(&group->raft, group->options.election_timeout_ms);
    raft_set_install_snapshot_timeout(&group->raft, group->options.install_timeout_ms);
    raft_set_max_inflight_entries(&group->raft, group->options.in_flight_max);
    return true;
}

static void *library_allocate(void *data, size_t size)
{
    return rg_heap_allocate(size);
}

static void library_release(void *data, void *pointer)
{
    rg_heap_release(pointer);
}

static void *library_allocate_zeroed(void *data, size_t count, size_t size)
{
    void *block = size > 0 && count > SIZE_MAX / size ? NULL : rg_heap_allocate(count * size);

    return block == NULL ? NULL : memset(block, 0, count * size);
}

static void *library_resize(void *data, void *pointer, size_t size)
{
    return rg_heap_resize(pointer, size);
}

void rg_set_heap(void *(*allocate)(size_t size), void *(*reallocate)(void *pointer, size_t size),
                 void (*release)(void *pointer))
{
    static struct raft_heap heap = {.malloc = library_allocate,
                                    .free = library_release,
                                    .calloc = library_allocate_zeroed,
                                    .realloc = library_resize};

    rg_heap_set(allocate, reallocate, release);
    raft_heap_set(&heap);
}

static int start_group(struct rg_group *group, const struct rg_start *start, uint64_t now_ms, struct rg_update *update)
{
    struct raft_entry *entries = NULL;
    struct load load = load_of(start->entries, start->entry_count);
    bool sole = is_sole_voter(newest_configuration(start), group->options.node);
    int rc;

    group->seen = (struct seen){.term = start->term, .voted_for = start->voted_for, .role = RG_FOLLOWER};
    load.entries = 0;
    load.configurations++;
    if (start->entry_count > 0) {
        entries = rg_heap_allocate(start->entry_count * sizeof(*entries));
        if (entries == NULL)
            return WIRE_E_NOMEM;
    }
    rc = enter(group, now_ms, load);
    if (rc != WIRE_OK) {
        rg_heap_release(entries);
        return rc;
    }
    if (init_raft(group) && start_raft(group, start, entries, sole))
        begin_term(group);
    group->opened_ms = group->now_ms;
    return leave(group, update);
}

int rg_open(const struct rg_options *options, const struct rg_start *start, uint64_t now_ms, struct rg_group **out,
            struct rg_update *update)
{
    struct rg_group *group;
    int rc = rg_heap_is_set() ? WIRE_OK : WIRE_E_INTERNAL;

    *update = (struct rg_update){0};
    *out = NULL;
    if (rc == WIRE_OK)
        rc = rg_check_options(options);
    if (rc == WIRE_OK)
        rc = rg_check_start(start);
    if (rc != WIRE_OK)
        return rc;
    group = rg_heap_allocate(sizeof(*group));
    if (group == NULL)
        return WIRE_E_NOMEM;
    memset(group, 0, sizeof(*group));
    group->options = *options;
    group->lease.node = options->node;
    group->lease.lease_ms = options->lease_ms;
    group->checkpoint = (struct checkpoint){.index = start->applied_index,
                                            .term = start->applied_term,
                                            .configuration_index = start->configuration_index,
                                            .configuration = start->configuration};
    rc = start_group(group, start, now_ms, update);
    if (rc != WIRE_OK) {
        *update = (struct rg_update){0};
        rg_close(group);
        return rc;
    }
    *out = group;
    return WIRE_OK;
}

void rg_close(struct rg_group *group)
{
    if (group == NULL)
        return;
    if (group->initialised)
        raft_close(&group->raft, NULL);
    raft_free(group->saved.records);
    rg_pending_close(&group->pending);
    rg_heap_release(group->changes);
    rg_heap_release(group->entries);
    rg_heap_release(group->entry_configurations);
    rg_heap_release(group->scratch);
    rg_heap_release(group->messages);
    rg_heap_release(group);
}

/* --- messages --- */

/* From a leader of the term that this member must believe: nobody else can lead it. */
static bool is_believable(const struct rg_group *group, const struct wire_peer_message *message)
{
    if (message->term < group->raft.current_term)
        return true;
    return message->term != group->led_term &&
           (message->term != group->heard_term || message->from == group->heard_leader);
}

/* The answer echoes it. */
static void hear(struct rg_group *group, const struct wire_peer_message *message)
{
    if (message->term < group->raft.current_term)
        return;
    if (group->heard_term != message->term)
        group->heard_number = 0;
    group->heard_term = message->term;
    group->heard_leader = message->from;
    if (message->sequence > group->heard_number)
        group->heard_number = message->sequence;
}

static bool step_message(struct rg_group *group, uint64_t from, struct raft_message *message, const char *what)
{
    struct raft_event event = {.type = RAFT_RECEIVE};
    char address[ADDRESS_SIZE];

    snprintf(address, sizeof(address), "%" PRIu64, from);
    message->server_id = from;
    message->server_address = address;
    event.receive.message = message;
    return step(group, &event, what);
}

static bool step_configuration(struct rg_group *group, uint64_t index, const struct wire_configuration *configuration)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    int rc = configuration_of(configuration, &event.configuration.conf);

    if (rc != 0) {
        stop(group, "configuration", rc);
        return false;
    }
    event.configuration.index = index;
    return step(group, &event, "configuration");
}

/* An APPEND as it is handed to the library, part by part. */
struct append {
    uint64_t from;
    uint64_t term;
    uint64_t index;
    uint64_t index_term;
    uint64_t commit;
    const struct rg_entry *entries;
    size_t count;
};

/* A leader may send what is below everything this member has a term of: committed entries, which the library would
 * refuse or, from the first one on, append at its end. What is committed is the same at both, so the message counts
 * from the commit index on. */
static void skip_committed(const struct rg_group *group, struct append *append)
{
    uint64_t commit = group->raft.commit_index, last = append->index + append->count;

    if (append->term < group->raft.current_term || group->raft.snapshot.installing ||
        append->index >= group->raft.trail.offset)
        return;
    if (last <= commit) {
        append->count = 0;
        append->index_term = term_of(group, commit);
    } else {
        append->entries += commit - append->index;
        append->count = last - commit;
        append->index_term = append->entries[-1].term;
    }
    append->index = commit;
}

/* The library takes a configuration for that of the first entry it appends, wherever it stands: each begins a part. */
static size_t part_of(const struct append *append)
{
    size_t count = append->count > 0;

    while (count < append->count && append->entries[count].kind != RG_CONFIGURATION)
        count++;
    return count;
}

/* A leader changes the members only when the change before is committed. The library learns of that when the caller has
 * applied it, which may be later; until then it would roll back to the one before both. */
static bool commit_change_before(struct rg_group *group, const struct append *part)
{
    uint64_t pending = group->raft.configuration_uncommitted_index;

    if (part->count == 0 || part->entries[0].kind != RG_CONFIGURATION || pending == 0 || pending > part->index)
        return true;
    if (term_of(group, part->index) != part->index_term || term_of(group, part->index + 1) == part->entries[0].term)
        return true;
    return step_configuration(group, pending, &group->configuration);
}

static bool append_part(struct rg_group *group, const struct append *part)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES};
    uint64_t covered = part->index + part->count;

    message.append_entries.term = part->term;
    message.append_entries.prev_log_index = part->index;
    message.append_entries.prev_log_term = part->index_term;
    /* Beyond what a message covers the library may take the commit index back; and while a checkpoint is installed
     * nothing is known of what lies before it. */
    message.append_entries.leader_commit = part->commit < covered ? part->commit : covered;
    if (group->raft.snapshot.installing && message.append_entries.leader_commit > group->raft.commit_index)
        message.append_entries.leader_commit = group->raft.commit_index;
    if (part->count > 0) {
        if (!fill_scratch(group, part->entries, part->count))
            return false;
        message.append_entries.entries = group->scratch;
        message.append_entries.n_entries = (unsigned) part->count;
    }
    return step_message(group, part->from, &message, "append");
}

static int receive_append(struct rg_group *group, const struct wire_peer_message *message,
                          const struct rg_entry *entries)
{
    struct append rest = {message->from,   message->term, message->index,      message->index_term,
                          message->commit, entries,       message->entry_count};
    bool goes_on;

    if (!is_believable(group, message))
        return WIRE_E_BAD_FORMAT;
    /* The first entry is the same in every log. */
    if (rest.index == 0 && rest.count > 0 && term_of(group, 1) != 0 && term_of(group, 1) != entries[0].term)
        return WIRE_E_BAD_FORMAT;
    hear(group, message);
    if (rest.term < group->raft.current_term)
        rest.count = 0;
    skip_committed(group, &rest);
    do {
        struct append part = rest;

        part.count = part_of(&rest);
        if (!commit_change_before(group, &part) || !append_part(group, &part))
            return WIRE_E_INTERNAL;
        rest.index += part.count;
        rest.entries += part.count;
        rest.count -= part.count;
        goes_on = rest.count > 0 && term_of(group, rest.index) == rest.entries[-1].term;
        rest.index_term = goes_on ? rest.entries[-1].term : 0;
    } while (goes_on);
    return WIRE_OK;
}

/* --- checkpoints from a leader --- */

/* The library forgets the log when it accepts a checkpoint, and never looks back. Should that not arrive, this is what
 * it knew. */
static bool save_log(struct rg_group *group)
{
    const struct raft_trail *trail = &group->raft.trail;

    group->saved = *trail;
    group->saved_stored = group->raft.last_stored;
    group->stored_meanwhile = 0;
    group->saved.records = NULL;
    if (trail->size == 0)
        return true;
    group->saved.records = raft_malloc(trail->size * sizeof(*trail->records));
    if (group->saved.records == NULL) {
        stop(group, "install", RAFT_NOMEM);
        return false;
    }
    memcpy(group->saved.records, trail->records, trail->size * sizeof(*trail->records));
    return true;
}

static void forget_saved_log(struct rg_group *group)
{
    raft_free(group->saved.records);
    group->saved = (struct raft_trail){0};
}

static void restore_log(struct rg_group *group)
{
    raft_free(group->raft.trail.records);
    group->raft.trail = group->saved;
    group->saved = (struct raft_trail){0};
    group->raft.last_stored = group->saved_stored;
    group->raft.snapshot.installing = false;
    /* What matched was the checkpoint. */
    group->raft.follower_state.match = 0;
}

static int receive_install(struct rg_group *group, const struct wire_peer_message *message)
{
    struct raft_message to = {.type = RAFT_INSTALL_SNAPSHOT};
    uint64_t known = term_of(group, message->index);
    int rc;

    if (group->raft.snapshot.installing)
        return WIRE_OK;
    if (!is_believable(group, message))
        return WIRE_E_BAD_FORMAT;
    if (message->term >= group->raft.current_term && message->index <= group->raft.commit_index && known != 0 &&
        known != message->index_term)
        return WIRE_E_BAD_FORMAT;
    if (!save_log(group))
        return WIRE_E_INTERNAL;
    hear(group, message);
    to.install_snapshot.term = message->term;
    to.install_snapshot.last_index = message->index;
    to.install_snapshot.last_term = message->index_term;
    to.install_snapshot.conf_index = message->commit;
    rc = configuration_of(&message->configuration, &to.install_snapshot.conf);
    if (rc != 0)
        return stop(group, "install", rc);
    if (!step_message(group, message->from, &to, "install"))
        return WIRE_E_INTERNAL;
    if (!group->install) {
        forget_saved_log(group);
        return WIRE_OK;
    }
    group->incoming = (struct checkpoint){message->index, message->index_term, message->commit, message->configuration};
    return WIRE_OK;
}

int rg_installed(struct rg_group *group, uint64_t now_ms, bool success, struct rg_update *update)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    int rc = begin(group, now_ms, (struct load){.configurations = 1}, update);

    if (rc != WIRE_OK)
        return rc;
    if (!group->raft.snapshot.installing)
        return leave_with(group, WIRE_E_BAD_FORMAT);
    if (!success) {
        restore_log(group);
        step_persisted(group, group->stored_meanwhile);
        return leave(group, update);
    }
    forget_saved_log(group);
    rg_pending_clear(&group->pending);
    event.persisted_snapshot.metadata.index = group->incoming.index;
    event.persisted_snapshot.metadata.term = group->incoming.term;
    event.persisted_snapshot.metadata.configuration_index = group->incoming.configuration_index;
    event.persisted_snapshot.last = true;
    rc = configuration_of(&group->incoming.configuration, &event.persisted_snapshot.metadata.configuration);
    if (rc != 0)
        stop(group, "installed", rc);
    else
        step(group, &event, "installed");
    group->checkpoint = group->incoming;
    group->change_count = 0;
    return leave(group, update);
}

/* --- the other messages --- */

static int receive_append_result(struct rg_group *group, const struct wire_peer_message *message)
{
    struct raft_message to = {.type = RAFT_APPEND_ENTRIES_RESULT};
    raft_index match;

    if (!leads(group) || message->term < group->raft.current_term)
        return WIRE_OK;
    if (message->term == group->raft.current_term) {
        if (raft_match_index(&group->raft, message->from, &match) != 0)
            return WIRE_OK;
        rg_lease_echo(&group->lease, message->from, message->sequence, group->now_ms);
        /* Late: it has what it refused then. */
        if (message->index_term != 0 && message->index_term <= match)
            return WIRE_OK;
    }
    to.append_entries_result.version = 2;
    to.append_entries_result.term = message->term;
    to.append_entries_result.rejected = message->index_term;
    to.append_entries_result.last_log_index = message->index;
    to.append_entries_result.features = 1;
    to.append_entries_result.capacity = CAPACITY;
    return step_message(group, message->from, &to, "append result") ? WIRE_OK : WIRE_E_INTERNAL;
}

static int receive_vote(struct rg_group *group, const struct wire_peer_message *message)
{
    struct raft_message to = {.type = RAFT_REQUEST_VOTE};

    /* A member that restarts has forgotten whom it follows, and with that what it owes that leader's lease. One that was
     * told to stand may: its leader has given the lease up. */
    if (group->now_ms < group->opened_ms + group->options.election_timeout_ms &&
        (message->flags & WIRE_PEER_DISRUPT) == 0)
        return WIRE_OK;
    to.request_vote.version = 2;
    to.request_vote.term = message->term;
    to.request_vote.candidate_id = message->from;
    to.request_vote.last_log_index = message->index;
    to.request_vote.last_log_term = message->index_term;
    to.request_vote.pre_vote = (message->flags & WIRE_PEER_PRE_VOTE) != 0;
    to.request_vote.disrupt_leader = (message->flags & WIRE_PEER_DISRUPT) != 0;
    return step_message(group, message->from, &to, "vote") ? WIRE_OK : WIRE_E_INTERNAL;
}

static int receive_vote_result(struct rg_group *group, const struct wire_peer_message *message)
{
    struct raft_message to = {.type = RAFT_REQUEST_VOTE_RESULT};
    bool pre_vote = (message->flags & WIRE_PEER_PRE_VOTE) != 0, granted = (message->flags & WIRE_PEER_GRANTED) != 0;

    /* Late ones would raise the term of a member that does not ask any more. */
    if (group->raft.state != RAFT_CANDIDATE || pre_vote != group->raft.candidate_state.in_pre_vote)
        return WIRE_OK;
    if (granted && message->term != group->raft.current_term + pre_vote)
        return WIRE_OK;
    to.request_vote_result.version = 2;
    to.request_vote_result.term = message->term;
    to.request_vote_result.vote_granted = granted;
    to.request_vote_result.pre_vote = pre_vote;
    to.request_vote_result.features = 1;
    to.request_vote_result.capacity = CAPACITY;
    return step_message(group, message->from, &to, "vote result") ? WIRE_OK : WIRE_E_INTERNAL;
}

static int receive_timeout_now(struct rg_group *group, const struct wire_peer_message *message)
{
    struct raft_message to = {.type = RAFT_TIMEOUT_NOW};

    if (is_sole_voter(&group->configuration, group->options.node) || leader_of(group) != message->from ||
        message->term != group->raft.current_term)
        return WIRE_OK;
    to.timeout_now.term = message->term;
    to.timeout_now.last_log_index = message->index;
    to.timeout_now.last_log_term = message->index_term;
    return step_message(group, message->from, &to, "timeout now") ? WIRE_OK : WIRE_E_INTERNAL;
}

static int receive_probe(struct rg_group *group, const struct wire_peer_message *message)
{
    struct wire_peer_message *answer;

    if (leads(group) || message->term != group->raft.current_term || leader_of(group) != message->from)
        return WIRE_OK;
    answer = add_message(group, message->from);
    if (answer == NULL)
        return WIRE_E_INTERNAL;
    answer->kind = WIRE_PEER_PROBE_RESULT;
    answer->term = message->term;
    answer->sequence = message->sequence;
    return WIRE_OK;
}

static int receive(struct rg_group *group, const struct wire_peer_message *message, const struct rg_entry *entries)
{
    switch (message->kind) {
    case WIRE_PEER_APPEND:
        return receive_append(group, message, entries);
    case WIRE_PEER_APPEND_RESULT:
        return receive_append_result(group, message);
    case WIRE_PEER_VOTE:
        return receive_vote(group, message);
    case WIRE_PEER_VOTE_RESULT:
        return receive_vote_result(group, message);
    case WIRE_PEER_INSTALL:
        return receive_install(group, message);
    case WIRE_PEER_TIMEOUT_NOW:
        return receive_timeout_now(group, message);
    case WIRE_PEER_PROBE:
        return receive_probe(group, message);
    case WIRE_PEER_PROBE_RESULT:
        if (leads(group) && message->term == group->raft.current_term)
            rg_lease_answer(&group->lease, message->from, message->sequence);
        return WIRE_OK;
    case WIRE_PEER_KIND_COUNT:
        break;
    }
    return WIRE_E_BAD_FORMAT;
}

int rg_receive(struct rg_group *group, uint64_t now_ms, const struct wire_peer_message *message,
               const struct rg_entry *entries, struct rg_update *update)
{
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (message->group != group->options.group || message->to != group->options.node || message->from == 0 ||
        message->from == group->options.node)
        return WIRE_OK;
    rc = rg_check_message(message, entries);
    if (rc != WIRE_OK)
        return rc;
    rc = begin(group, now_ms, load_of(entries, message->entry_count), update);
    if (rc != WIRE_OK)
        return rc;
    rc = receive(group, message, entries);
    if (rc != WIRE_OK)
        return leave_with(group, rc);
    begin_term(group);
    return leave(group, update);
}

/* --- what the caller does and has done --- */

int rg_timeout(struct rg_group *group, uint64_t now_ms, struct rg_update *update)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    int rc = begin(group, now_ms, (struct load){0}, update);

    if (rc != WIRE_OK)
        return rc;
    if (group->now_ms < next_timeout(group))
        return leave(group, update);
    /* The library stands again without asking first, and with the leave to disturb that a leader gave for one term. */
    if (group->raft.state == RAFT_CANDIDATE) {
        group->raft.candidate_state.in_pre_vote = true;
        group->raft.candidate_state.disrupt_leader = false;
    }
    if (step(group, &event, "timeout"))
        begin_term(group);
    return leave(group, update);
}

int rg_submit(struct rg_group *group, uint64_t now_ms, const struct rg_entry *entries, size_t count,
              struct rg_update *update)
{
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (!leads(group) || handing_over(group))
        return WIRE_E_NOT_LEADER;
    if (count == 0 || count > UINT32_MAX)
        return WIRE_E_BAD_FORMAT;
    for (size_t i = 0; i < count; i++)
        if (entries[i].kind != RG_EFFECTS || entries[i].term != group->raft.current_term ||
            entries[i].index != last_index(group) + 1 + i)
            return WIRE_E_BAD_FORMAT;
    rc = begin(group, now_ms, load_of(entries, count), update);
    if (rc != WIRE_OK)
        return rc;
    submit(group, entries, count);
    return leave(group, update);
}

int rg_persisted(struct rg_group *group, uint64_t now_ms, uint64_t index, uint64_t term, struct rg_update *update)
{
    uint64_t durable;
    int rc = begin(group, now_ms, (struct load){0}, update);

    if (rc != WIRE_OK)
        return rc;
    rg_pending_done(&group->pending, index, term, &durable);
    if (!group->raft.snapshot.installing)
        step_persisted(group, durable);
    else if (durable > group->stored_meanwhile)
        group->stored_meanwhile = durable;
    return leave(group, update);
}

static int reserve_change(struct rg_group *group)
{
    size_t capacity = group->change_capacity + 4;
    struct change *changes;

    if (group->change_count < group->change_capacity)
        return WIRE_OK;
    changes = rg_heap_resize(group->changes, capacity * sizeof(*changes));
    if (changes == NULL)
        return WIRE_E_NOMEM;
    group->changes = changes;
    group->change_capacity = capacity;
    return WIRE_OK;
}

int rg_configured(struct rg_group *group, uint64_t now_ms, const struct rg_entry *entry, struct rg_update *update)
{
    uint64_t newest =
        group->change_count > 0 ? group->changes[group->change_count - 1].index : group->checkpoint.configuration_index;
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (entry->kind != RG_CONFIGURATION || entry->index == 0 || entry->index > group->raft.commit_index ||
        group->raft.snapshot.installing || rg_check_configuration(entry->configuration) != WIRE_OK)
        return WIRE_E_BAD_FORMAT;
    rc = reserve_change(group);
    if (rc == WIRE_OK)
        rc = begin(group, now_ms, (struct load){.configurations = 1}, update);
    if (rc != WIRE_OK)
        return rc;
    if (entry->index > newest)
        group->changes[group->change_count++] = (struct change){entry->index, *entry->configuration};
    step_configuration(group, entry->index, entry->configuration);
    return leave(group, update);
}

/* The checkpoint at `index` as INSTALL offers it, with the members as of there. */
static struct checkpoint checkpoint_at(struct rg_group *group, uint64_t index, uint64_t term)
{
    struct checkpoint checkpoint = group->checkpoint;
    size_t kept = 0;

    checkpoint.index = index;
    checkpoint.term = term;
    for (size_t i = 0; i < group->change_count; i++) {
        if (group->changes[i].index <= index) {
            checkpoint.configuration_index = group->changes[i].index;
            checkpoint.configuration = group->changes[i].configuration;
        } else {
            group->changes[kept++] = group->changes[i];
        }
    }
    group->change_count = kept;
    return checkpoint;
}

static bool step_checkpoint(struct rg_group *group, uint64_t first_index)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    const struct checkpoint *checkpoint = &group->checkpoint;
    uint64_t trailing = checkpoint->index + 1 - first_index;
    int rc = configuration_of(&checkpoint->configuration, &event.snapshot.metadata.configuration);

    if (rc != 0) {
        stop(group, "checkpoint", rc);
        return false;
    }
    event.snapshot.metadata.index = checkpoint->index;
    event.snapshot.metadata.term = checkpoint->term;
    event.snapshot.metadata.configuration_index = checkpoint->configuration_index;
    event.snapshot.trailing = trailing < UINT32_MAX ? (unsigned) trailing : UINT32_MAX;
    return step(group, &event, "checkpoint");
}

int rg_checkpointed(struct rg_group *group, uint64_t now_ms, uint64_t index, uint64_t term, uint64_t first_index,
                    struct rg_update *update)
{
    struct raft_trail *trail = &group->raft.trail;
    uint64_t pending = group->raft.configuration_uncommitted_index;
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (index == 0 || index > group->raft.commit_index || first_index == 0 || first_index > index + 1)
        return WIRE_E_BAD_FORMAT;
    if (group->raft.snapshot.installing || (pending != 0 && pending <= index))
        return WIRE_E_MEMBERSHIP;
    if (index > trail->snapshot.index && term_of(group, index) != term)
        return WIRE_E_BAD_FORMAT;
    rc = begin(group, now_ms, (struct load){.configurations = 1}, update);
    if (rc != WIRE_OK)
        return rc;
    if (index > trail->snapshot.index) {
        group->checkpoint = checkpoint_at(group, index, term);
        step_checkpoint(group, first_index);
    } else if (first_index > trail->offset + 1) {
        /* The library cuts the log only with a new checkpoint: this one is, by one. */
        trail->snapshot.index--;
        step_checkpoint(group, first_index);
    }
    return leave(group, update);
}

int rg_transfer(struct rg_group *group, uint64_t now_ms, uint64_t node, struct rg_update *update)
{
    const struct wire_member *member = wire_configuration_find(&group->configuration, node);
    struct raft_event event = {.type = RAFT_TRANSFER};
    uint32_t voters = wire_configuration_voters(&group->configuration);
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (!leads(group) || handing_over(group))
        return WIRE_E_NOT_LEADER;
    if (node == 0 ? voters < 2 : member == NULL || member->role != WIRE_MEMBER_VOTER || node == group->options.node)
        return WIRE_E_MEMBERSHIP;
    rc = begin(group, now_ms, (struct load){0}, update);
    if (rc != WIRE_OK)
        return rc;
    rg_lease_hand(&group->lease);
    event.transfer.server_id = node;
    step(group, &event, "transfer");
    return leave(group, update);
}

static bool is_allowed(const struct rg_group *group, const struct wire_configuration *configuration)
{
    uint32_t voters = wire_configuration_voters(&group->configuration);
    uint64_t node;
    raft_index match;

    if (group->raft.configuration_uncommitted_index != 0 || !rg_is_settled(group))
        return false;
    switch (rg_difference(&group->configuration, configuration, &node)) {
    case RG_ADDS_LEARNER:
    case RG_REMOVES_LEARNER:
        return true;
    case RG_PROMOTES:
        return raft_match_index(&group->raft, node, &match) == 0 && match >= group->raft.commit_index;
    case RG_DEMOTES:
    case RG_REMOVES_VOTER:
        return voters > 3 && node != group->options.node;
    case RG_SAME:
    case RG_DIFFERS_MORE:
        break;
    }
    return false;
}

int rg_change(struct rg_group *group, uint64_t now_ms, const struct wire_configuration *configuration,
              struct rg_update *update)
{
    struct rg_entry entry = {.kind = RG_CONFIGURATION};
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (!leads(group) || handing_over(group))
        return WIRE_E_NOT_LEADER;
    if (rg_check_configuration(configuration) != WIRE_OK)
        return WIRE_E_BAD_FORMAT;
    if (!is_allowed(group, configuration))
        return WIRE_E_MEMBERSHIP;
    entry.index = last_index(group) + 1;
    entry.term = group->raft.current_term;
    entry.configuration = configuration;
    rc = begin(group, now_ms, load_of(&entry, 1), update);
    if (rc != WIRE_OK)
        return rc;
    submit(group, &entry, 1);
    return leave(group, update);
}

int rg_probe(struct rg_group *group, uint64_t now_ms, uint64_t *sequence, struct rg_update *update)
{
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (!leads(group) || !rg_is_settled(group))
        return WIRE_E_NOT_LEADER;
    rc = begin(group, now_ms, (struct load){0}, update);
    if (rc != WIRE_OK)
        return rc;
    *sequence = ++group->lease.probe;
    for (uint32_t i = 0; i < group->configuration.count; i++) {
        const struct wire_member *member = &group->configuration.members[i];
        struct wire_peer_message *message;

        if (member->role != WIRE_MEMBER_VOTER || member->node == group->options.node)
            continue;
        message = add_message(group, member->node);
        if (message == NULL)
            break;
        message->kind = WIRE_PEER_PROBE;
        message->term = group->raft.current_term;
        message->sequence = *sequence;
    }
    return leave(group, update);
}

/* --- what there is to know --- */

uint64_t rg_confirmed(const struct rg_group *group)
{
    return !group->stopped && leads(group) ? rg_lease_answered(&group->lease) : 0;
}

uint64_t rg_lease_until(const struct rg_group *group)
{
    return rg_is_settled(group) && !handing_over(group) ? rg_lease_end(&group->lease) : 0;
}

bool rg_is_settled(const struct rg_group *group)
{
    return !group->stopped && leads(group) && term_of(group, group->raft.commit_index) == group->raft.current_term;
}

enum rg_role rg_role(const struct rg_group *group)
{
    return role_of(group);
}

uint64_t rg_leader(const struct rg_group *group)
{
    return leader_of(group);
}

uint64_t rg_term(const struct rg_group *group)
{
    return group->raft.current_term;
}

uint64_t rg_voted_for(const struct rg_group *group)
{
    return group->raft.voted_for;
}

uint64_t rg_commit(const struct rg_group *group)
{
    return group->raft.commit_index;
}

uint64_t rg_last_index(const struct rg_group *group)
{
    return last_index(group);
}

bool rg_installing(const struct rg_group *group)
{
    return group->raft.snapshot.installing;
}

uint64_t rg_next_timeout(const struct rg_group *group)
{
    return next_timeout(group);
}

void rg_configuration(const struct rg_group *group, struct wire_configuration *out, uint64_t *index)
{
    *out = group->configuration;
    *index = group->raft.configuration_uncommitted_index != 0 ? group->raft.configuration_uncommitted_index
                                                              : group->raft.configuration_committed_index;
}

bool rg_progress(const struct rg_group *group, uint64_t node, uint64_t *match, uint64_t *heard_ms)
{
    const struct rg_lease_peer *peer = rg_lease_find(&group->lease, node);
    raft_index known;

    *match = 0;
    *heard_ms = 0;
    if (!leads(group) || peer == NULL || raft_match_index(&group->raft, node, &known) != 0)
        return false;
    *match = known;
    *heard_ms = node == group->options.node ? group->now_ms : peer->heard_ms;
    return true;
}

const char *rg_fault(const struct rg_group *group)
{
    return group->fault;
}
