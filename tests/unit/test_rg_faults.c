/* Replication groups when memory fails, when messages lie, and in random histories of crashes, partitions, transfers,
 * cuts of the log and changes of members. */
#include <stddef.h>

#include "rg_group.h"
#include "sb_memory.h"

/* --- memory: each call is made with ever more allocations that succeed before all fail, until it goes through --- */

static uint64_t allowed = UINT64_MAX;
static uint64_t refusals;

static bool is_refused(void)
{
    if (allowed > 0) {
        allowed -= allowed != UINT64_MAX;
        return false;
    }
    refusals++;
    return true;
}

static void *test_allocate(size_t size)
{
    return is_refused() ? NULL : sb_alloc(size);
}

static void *test_reallocate(void *pointer, size_t size)
{
    return is_refused() ? NULL : sb_realloc(pointer, size);
}

static bool scarce;

#define SCARCELY(call)                                                                                                 \
    do {                                                                                                               \
        for (uint64_t most = 0;; most++) {                                                                             \
            int rc;                                                                                                    \
                                                                                                                       \
            allowed = scarce ? most : UINT64_MAX;                                                                      \
            rc = call;                                                                                                 \
            allowed = UINT64_MAX;                                                                                      \
            if (rc != WIRE_E_NOMEM || !scarce)                                                                         \
                return rc;                                                                                             \
        }                                                                                                              \
    } while (0)

static int scarce_open(const struct rg_options *o, const struct rg_start *s, uint64_t now, struct rg_group **out,
                       struct rg_update *u)
{
    SCARCELY(rg_open(o, s, now, out, u));
}

static int scarce_receive(struct rg_group *g, uint64_t now, const struct wire_peer_message *m, const struct rg_entry *e,
                          struct rg_update *u)
{
    SCARCELY(rg_receive(g, now, m, e, u));
}

static int scarce_timeout(struct rg_group *g, uint64_t now, struct rg_update *u)
{
    SCARCELY(rg_timeout(g, now, u));
}

static int scarce_submit(struct rg_group *g, uint64_t now, const struct rg_entry *e, size_t count, struct rg_update *u)
{
    SCARCELY(rg_submit(g, now, e, count, u));
}

static int scarce_persisted(struct rg_group *g, uint64_t now, uint64_t index, uint64_t term, struct rg_update *u)
{
    SCARCELY(rg_persisted(g, now, index, term, u));
}

static int scarce_configured(struct rg_group *g, uint64_t now, const struct rg_entry *e, struct rg_update *u)
{
    SCARCELY(rg_configured(g, now, e, u));
}

static int scarce_checkpointed(struct rg_group *g, uint64_t now, uint64_t index, uint64_t term, uint64_t first,
                               struct rg_update *u)
{
    SCARCELY(rg_checkpointed(g, now, index, term, first, u));
}

static int scarce_installed(struct rg_group *g, uint64_t now, bool success, struct rg_update *u)
{
    SCARCELY(rg_installed(g, now, success, u));
}

static int scarce_transfer(struct rg_group *g, uint64_t now, uint64_t node, struct rg_update *u)
{
    SCARCELY(rg_transfer(g, now, node, u));
}

static int scarce_change(struct rg_group *g, uint64_t now, const struct wire_configuration *c, struct rg_update *u)
{
    SCARCELY(rg_change(g, now, c, u));
}

static int scarce_probe(struct rg_group *g, uint64_t now, uint64_t *sequence, struct rg_update *u)
{
    SCARCELY(rg_probe(g, now, sequence, u));
}

#define rg_open scarce_open
#define rg_receive scarce_receive
#define rg_timeout scarce_timeout
#define rg_submit scarce_submit
#define rg_persisted scarce_persisted
#define rg_configured scarce_configured
#define rg_checkpointed scarce_checkpointed
#define rg_installed scarce_installed
#define rg_transfer scarce_transfer
#define rg_change scarce_change
#define rg_probe scarce_probe

#include "rg_cluster.h"

static int set_up(void **state)
{
    (void) state;
    rg_set_heap(test_allocate, test_reallocate, sb_free);
    return 0;
}

static int tear_down(void **state)
{
    (void) state;
    scarce = false;
    shut();
    assert_int_equal(sb_memory_blocks(), 0);
    return 0;
}

static void test_memory_fails_everywhere(void **state)
{
    uint64_t sequence;
    struct rg_update update;

    (void) state;
    scarce = true;
    boot(3);
    elect(&members[1]);
    isolate(3, true);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(submit(&members[1], 10), WIRE_OK);
        deliver();
    }
    assert_int_equal(change(&members[1], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_OK);
    deliver();
    assert_int_equal(change(&members[1], with(with(voters_of(3), 4, WIRE_MEMBER_LEARNER), 5, WIRE_MEMBER_LEARNER)),
                     WIRE_OK);
    deliver();
    pass(HEARTBEAT_MS);
    assert_int_equal(cut_log(&members[1], 53, 50), WIRE_OK);
    isolate(3, false);
    pass(5 * HEARTBEAT_MS);
    assert_true(rg_installing(members[3].group));
    install(&members[3], false);
    pass(options.install_timeout_ms + 5 * HEARTBEAT_MS);
    install(&members[3], true);
    pass(5 * HEARTBEAT_MS);
    assert_int_equal(rg_probe(members[1].group, clock_ms, &sequence, &update), WIRE_OK);
    absorb(&members[1], &update);
    deliver();
    assert_int_equal(rg_confirmed(members[1].group), sequence);
    for (int i = 0; i < 12; i++) { /* terms */
        int next = 1 + i % 3;

        if (leader() != &members[next])
            assert_int_equal(transfer(leader(), next), WIRE_OK);
        deliver();
        submit(leader(), 2);
        pass(HEARTBEAT_MS);
    }
    for (int node = 1; node <= 5; node++) {
        crash(&members[node]);
        start(&members[node]);
    }
    pass(10 * ELECTION_MS);
    assert_non_null(leader());
    assert_int_equal(submit(leader(), 1), WIRE_OK);
    pass(5 * HEARTBEAT_MS);
    for (int node = 1; node <= 5; node++)
        assert_int_equal(members[node].applied, leader()->last);
    assert_true(refusals > 1000);
}

/* A thousand entries at once for a member that knows nothing, then its restart. */
static void receive_many(bool terms, bool changes)
{
    static struct rg_entry entries[1000];
    static struct wire_configuration configurations[1000];
    struct wire_peer_message append = {
        .kind = WIRE_PEER_APPEND, .from = 1, .term = 2000, .sequence = 1, .entry_count = 1000};

    boot(3);
    scarce = true;
    for (int i = 0; i < 1000; i++) {
        configurations[i] = i % 2 ? with(voters_of(3), 4, WIRE_MEMBER_LEARNER) : voters_of(3);
        entries[i] = (struct rg_entry){i + 1, terms ? i + 1 : 1, RG_EFFECTS, NULL};
        if (i == 0 || (changes && i % 20 == 0)) {
            entries[i].kind = RG_CONFIGURATION;
            entries[i].configuration = &configurations[i];
        }
    }
    assert_int_equal(forge(&members[4], append, entries), WIRE_OK);
    assert_int_equal(members[4].last, 1000);
    crash(&members[4]);
    start(&members[4]);
    assert_int_equal(rg_last_index(members[4].group), 1000);
    scarce = false;
    shut();
}

/* Each term takes a record, and each configuration memory several times. */
static void test_memory_for_many_entries(void **state)
{
    (void) state;
    receive_many(true, false);
    receive_many(false, true);
    receive_many(true, true);
}

/* --- random numbers --- */

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

/* --- messages that lie --- */

/* A member alone among liars: believes what it may, and stays whole. */
static struct {
    struct rg_group *group;
    struct log_entry log[LOG_MAX];
    uint64_t last;
    uint64_t applied;
    uint64_t reported_index[64], reported_term[64];
    size_t reported;
    uint64_t installing;
} victim;

static uint64_t odd_number(uint64_t around)
{
    switch (draw(9)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return UINT64_MAX - draw(3);
    case 3:
        return UINT64_MAX / 4 - draw(2);
    case 4:
        return around + draw(40);
    case 5:
        return around > 3 ? around - draw(3) : around;
    default:
        return around;
    }
}

static uint64_t odd_index(void)
{
    uint64_t indexes[] = {rg_commit(victim.group), rg_last_index(victim.group), rg_last_index(victim.group) + 1, 5};

    return odd_number(indexes[draw(4)]);
}

static struct wire_configuration odd_configuration(void)
{
    struct wire_configuration c = voters_of(1 + (uint32_t) draw(5));

    if (draw(3) == 0)
        c.members[draw(c.count)].role = WIRE_MEMBER_LEARNER;
    if (draw(12) == 0)
        c.members[draw(c.count)].role = (enum wire_member_role) draw(5);
    if (draw(12) == 0)
        c.count = (uint32_t) draw(20);
    if (draw(12) == 0)
        c.members[draw(3)].node = draw(3);
    return c;
}

static void absorb_lies(const struct rg_update *update)
{
    for (size_t i = 0; i < update->entry_count; i++) {
        const struct rg_entry *e = &update->entries[i];

        if (e->index >= LOG_MAX)
            continue;
        assert_true(e->index > victim.applied);
        victim.log[e->index] = (struct log_entry){.term = e->term, .kind = e->kind};
        if (e->kind == RG_CONFIGURATION)
            victim.log[e->index].configuration = *e->configuration;
        victim.last = e->index;
    }
    if (update->entry_count > 0 && victim.reported < 64) {
        victim.reported_index[victim.reported] = update->entries[update->entry_count - 1].index;
        victim.reported_term[victim.reported++] = update->entries[update->entry_count - 1].term;
    }
    if (update->install)
        victim.installing = update->checkpoint.index;
    for (size_t i = 0; i < update->message_count; i++)
        assert_true(update->messages[i].to != options.node && update->messages[i].to != 0);
}

static int lie(void)
{
    static struct rg_entry entries[WIRE_PEER_ENTRIES_MAX];
    static struct wire_configuration configurations[16];
    struct rg_update update;
    uint64_t term = odd_number(rg_term(victim.group));
    struct wire_peer_message m = {.kind = (enum wire_peer_kind) draw(WIRE_PEER_KIND_COUNT + 1),
                                  .flags = (uint16_t) (draw(4) == 0 ? draw(16) : 0),
                                  .group = options.group,
                                  .from = draw(30) == 0 ? draw(9) : 2 + draw(3),
                                  .to = options.node,
                                  .term = term,
                                  .sequence = odd_number(5),
                                  .index = odd_index(),
                                  .commit = odd_index()};
    uint64_t entry_term = odd_number(term);
    int rc;

    if (m.kind == WIRE_PEER_VOTE_RESULT && draw(2) == 0)
        m.flags = (uint16_t) (WIRE_PEER_GRANTED | draw(2));
    m.index_term = draw(3) > 0 && m.index < LOG_MAX ? victim.log[m.index].term : odd_number(term);
    if (m.kind == WIRE_PEER_APPEND_RESULT && draw(2) == 0)
        m.index_term = 0;
    m.configuration = odd_configuration();
    if (m.kind == WIRE_PEER_APPEND || draw(20) == 0)
        m.entry_count = (uint32_t) draw(8);
    for (uint32_t i = 0; i < m.entry_count; i++) {
        uint64_t index = draw(40) == 0 ? odd_index() : m.index + 1 + i;

        configurations[i] = odd_configuration();
        entries[i] = (struct rg_entry){index, draw(2) ? term : entry_term, RG_EFFECTS, NULL};
        if (index < LOG_MAX && index <= victim.last && draw(3) > 0)
            entries[i].term = victim.log[index].term;
        if (index == 1 || draw(6) == 0)
            entries[i].kind = RG_CONFIGURATION;
        else if (draw(20) == 0)
            entries[i].kind = (enum rg_entry_kind) draw(5);
        if (draw(10) > 0)
            entries[i].configuration = &configurations[i];
    }
    rc = rg_receive(victim.group, clock_ms, &m, entries, &update);
    if (rc == WIRE_OK)
        absorb_lies(&update);
    assert_true(rc == WIRE_OK || rc == WIRE_E_BAD_FORMAT || rc == WIRE_E_INTERNAL);
    return rc;
}

/* What its own caller does meanwhile. */
static void live(void)
{
    struct rg_update update;
    struct rg_entry entry;
    uint64_t sequence;
    int rc = WIRE_OK;

    memset(&update, 0, sizeof(update));
    switch (draw(9)) {
    case 0:
        clock_ms += draw(ELECTION_MS);
        rc = rg_timeout(victim.group, clock_ms, &update);
        break;
    case 1:
        entry = (struct rg_entry){rg_last_index(victim.group) + 1, rg_term(victim.group), RG_EFFECTS, NULL};
        rc = rg_submit(victim.group, clock_ms, &entry, 1, &update);
        break;
    case 2:
    case 3:
        if (victim.reported > 0) {
            rc = rg_persisted(victim.group, clock_ms, victim.reported_index[0], victim.reported_term[0], &update);
            victim.reported--;
            memmove(victim.reported_index, victim.reported_index + 1, victim.reported * sizeof(uint64_t));
            memmove(victim.reported_term, victim.reported_term + 1, victim.reported * sizeof(uint64_t));
        }
        break;
    case 4:
        rc = rg_persisted(victim.group, clock_ms, odd_index(), odd_number(3), &update);
        break;
    case 5:
        if (!rg_installing(victim.group) && victim.applied < rg_commit(victim.group) && victim.applied < victim.last &&
            victim.applied + 1 < LOG_MAX) {
            const struct log_entry *e = &victim.log[++victim.applied];

            entry = (struct rg_entry){victim.applied, e->term, e->kind, &e->configuration};
            if (e->kind == RG_CONFIGURATION)
                rc = rg_configured(victim.group, clock_ms, &entry, &update);
        }
        break;
    case 6:
        if (victim.applied > 0 && draw(5) == 0)
            rc = rg_checkpointed(victim.group, clock_ms, victim.applied, victim.log[victim.applied].term,
                                 1 + draw(victim.applied + 1), &update);
        break;
    case 7:
        if (rg_installing(victim.group) && draw(4) == 0) {
            bool success = draw(2);

            if (success && victim.installing < LOG_MAX)
                victim.applied = victim.last = victim.installing;
            rc = success && victim.installing >= LOG_MAX ? WIRE_E_BUSY
                                                         : rg_installed(victim.group, clock_ms, success, &update);
        }
        break;
    default:
        if (draw(3) == 0)
            rc = rg_transfer(victim.group, clock_ms, draw(5), &update);
        else
            rc = rg_probe(victim.group, clock_ms, &sequence, &update);
    }
    if (rc == WIRE_OK)
        absorb_lies(&update);
}

static void start_victim(void)
{
    struct wire_configuration c = voters_of(3 - 2 * (draw(6) == 0));
    struct rg_entry entry = {1, 1, RG_CONFIGURATION, &c};
    struct rg_start s = {.term = 1, .first_index = 1, .entries = &entry, .entry_count = 1};
    struct rg_update update;

    memset(&victim, 0, sizeof(victim));
    if (draw(4) == 0)
        memset(&s, 0, sizeof(s));
    else
        victim.log[victim.last = 1] = (struct log_entry){1, RG_CONFIGURATION, c};
    options.node = 1;
    options.seed = (uint32_t) draw(UINT32_MAX);
    assert_int_equal(rg_open(&options, &s, clock_ms, &victim.group, &update), WIRE_OK);
    absorb_lies(&update);
}

static void test_lies(void **state)
{
    uint64_t outcomes[WIRE_ERROR_COUNT] = {0};

    (void) state;
    random_state = 88172645463325252ull;
    for (int life = 0; life < 400; life++) {
        start_victim();
        for (int i = 0; i < 400; i++) {
            int rc;

            live();
            rc = lie();
            outcomes[rc]++;
            if (rc == WIRE_E_INTERNAL)
                break;
        }
        rg_close(victim.group);
        assert_int_equal(sb_memory_blocks(), 0);
    }
    assert_true(outcomes[WIRE_OK] > 10000);
    assert_true(outcomes[WIRE_E_BAD_FORMAT] > 10000);
    assert_true(outcomes[WIRE_E_INTERNAL] > 0);
}

/* --- random histories --- */

static uint64_t applied_anywhere(void)
{
    uint64_t most = 0;

    for (int node = 1; node <= NODES; node++)
        if (members[node].applied > most)
            most = members[node].applied;
    return most;
}

static struct {
    uint64_t sequence, term, commit, known;
} question[NODES + 1];

/* One leader a term; who may read by lease or answer has all that is committed. */
static void check_leaders(void)
{
    uint64_t most = applied_anywhere();

    for (int node = 1; node <= NODES; node++) {
        struct member *m = &members[node];

        if (m->group == NULL || rg_role(m->group) != RG_LEADER)
            continue;
        for (int other = node + 1; other <= NODES; other++)
            if (members[other].group != NULL && rg_role(members[other].group) == RG_LEADER)
                assert_int_not_equal(rg_term(m->group), rg_term(members[other].group));
        if (rg_lease_until(m->group) > clock_ms)
            assert_true(rg_commit(m->group) >= most);
        if (question[node].sequence > 0 && question[node].term == rg_term(m->group) &&
            rg_confirmed(m->group) >= question[node].sequence) {
            assert_true(question[node].commit >= question[node].known);
            question[node].sequence = 0;
        }
    }
}

/* Some message that no earlier one of its link is before. */
static void deliver_some(void)
{
    size_t chosen = queue_count > 0 ? draw(queue_count) : 0;
    struct packet p;

    if (queue_count == 0)
        return;
    p = queue[(queue_first + chosen) % QUEUE_MAX];
    for (size_t i = 0; i < chosen; i++) {
        struct packet *earlier = &queue[(queue_first + i) % QUEUE_MAX];

        if (earlier->message.from == p.message.from && earlier->message.to == p.message.to) {
            chosen = i;
            p = *earlier;
        }
    }
    for (size_t i = chosen; i > 0; i--)
        queue[(queue_first + i) % QUEUE_MAX] = queue[(queue_first + i - 1) % QUEUE_MAX];
    queue[queue_first] = p;
    deliver_one();
}

static void drop_links_of(uint64_t node)
{
    size_t kept = 0;

    for (size_t i = 0; i < queue_count; i++) {
        struct packet p = queue[(queue_first + i) % QUEUE_MAX];

        if (p.message.from == node || p.message.to == node) {
            free(p.entries);
            free(p.configurations);
        } else {
            queue[(queue_first + kept++) % QUEUE_MAX] = p;
        }
    }
    queue_count = kept;
}

static struct wire_configuration some_change(const struct member *m)
{
    struct wire_configuration c;
    uint64_t index, node = 1 + draw(NODES);
    const struct wire_member *member;

    rg_configuration(m->group, &c, &index);
    member = wire_configuration_find(&c, node);
    if (member == NULL)
        return with(c, node, WIRE_MEMBER_LEARNER);
    if (member->role == WIRE_MEMBER_LEARNER)
        return draw(4) ? with(c, node, WIRE_MEMBER_VOTER) : without(c, node);
    return draw(2) ? with(c, node, WIRE_MEMBER_LEARNER) : without(c, node);
}

static void act_on(struct member *m)
{
    struct rg_update update;

    switch (draw(12)) {
    case 0:
        if (draw(6) == 0) {
            crash(m);
            drop_links_of(m->node);
        }
        return;
    case 1:
        m->holds = draw(2);
        return;
    case 2:
        if (m->applied > 0 && m->applied >= m->first && !rg_installing(m->group) && draw(4) == 0)
            cut_log(m, m->applied, m->applied + 1 - draw(m->applied + 1 - m->first + 1));
        return;
    case 3:
        if (draw(20) == 0)
            transfer(m, draw(NODES + 1));
        return;
    case 4:
        if (draw(4) == 0 && rg_role(m->group) == RG_LEADER)
            change(m, some_change(m));
        return;
    case 5:
        if (rg_probe(m->group, clock_ms, &question[m->node].sequence, &update) == WIRE_OK) {
            question[m->node].term = rg_term(m->group);
            question[m->node].commit = rg_commit(m->group);
            question[m->node].known = applied_anywhere();
            absorb(m, &update);
        }
        return;
    case 6:
    case 7:
        if (rg_role(m->group) == RG_LEADER && m->last < LOG_MAX - 100)
            submit(m, 1 + draw(5));
        return;
    case 8:
        if (rg_installing(m->group))
            install(m, draw(4) > 0);
        return;
    default:
        persist(m, 1 + draw(3));
        m->holds = m->holds && m->unreported_count < 100;
    }
}

static void run_history(uint64_t from, int steps)
{
    random_state = from * 2654435761u + 88172645463325252ull;
    memset(question, 0, sizeof(question));
    boot(3);
    for (int i = 0; i < steps; i++) {
        struct member *m = &members[1 + draw(NODES)];

        if (m->group == NULL) {
            if (draw(10) == 0)
                start(m);
        } else {
            act_on(m);
        }
        for (uint64_t n = draw(4); n > 0; n--)
            deliver_some();
        clock_ms += draw(20);
        for (int node = 1; node <= NODES; node++)
            if (members[node].group != NULL && clock_ms >= rg_next_timeout(members[node].group) && draw(3) > 0)
                time_out(&members[node]);
        if (draw(150) == 0)
            isolate(1 + draw(NODES), true);
        if (draw(150) == 0)
            memset(cut, 0, sizeof(cut));
        check_leaders();
        /* A leader that is alone keeps sending. */
        if (queue_count > QUEUE_MAX / 2)
            drop_queue();
    }
}

/* In peace all voters come to have the same. */
static void heal(void)
{
    struct wire_configuration c;

    memset(cut, 0, sizeof(cut));
    drop_queue();
    for (int round = 0; round < 6; round++) {
        for (int node = 1; node <= NODES; node++) {
            struct member *m = &members[node];

            if (m->group == NULL)
                start(m);
            m->holds = false;
            persist(m, SIZE_MAX);
            if (rg_installing(m->group))
                install(m, true);
        }
        pass(2 * options.install_timeout_ms);
    }
    assert_non_null(leader());
    assert_int_equal(submit(leader(), 1), WIRE_OK);
    pass(3 * HEARTBEAT_MS);
    c = configuration_of(leader());
    for (uint32_t i = 0; i < c.count; i++)
        assert_int_equal(members[c.members[i].node].applied, leader()->last);
}

static void test_random_histories(void **state)
{
    uint64_t seeds = getenv("RG_SEEDS") ? strtoull(getenv("RG_SEEDS"), NULL, 10) : 12;
    uint64_t first = getenv("RG_SEED") ? strtoull(getenv("RG_SEED"), NULL, 10) : 1;

    (void) state;
    for (uint64_t from = first; from < first + seeds; from++) {
        print_message("seed %llu\n", (unsigned long long) from);
        scarce = from % 4 == 0;
        run_history(from, 6000);
        heal();
        shut();
        assert_int_equal(sb_memory_blocks(), 0);
    }
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RULE(test_memory_fails_everywhere),
        RULE(test_memory_for_many_entries),
        RULE(test_lies),
        RULE(test_random_histories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
