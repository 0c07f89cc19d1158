/* Checkpoints of replication groups (rg_group.h): cuts of the log, and members that are behind them. */
#include "rg_cluster.h"

static int set_up(void **state)
{
    (void) state;
    rg_set_heap(sb_alloc, sb_realloc, sb_free);
    assert_int_equal(sb_memory_blocks(), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void) state;
    shut();
    assert_int_equal(sb_memory_blocks(), 0);
    return 0;
}

/* Member 3 is away until the log is cut. */
static void fall_behind(void)
{
    boot(3);
    elect(&members[1]);
    isolate(3, true);
    submit(&members[1], 20);
    deliver();
    assert_int_equal(change(&members[1], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_OK);
    deliver();
    submit(&members[1], 20);
    deliver();
    pass(HEARTBEAT_MS);
    assert_int_equal(cut_log(&members[1], 30, 31), WIRE_OK);
    isolate(3, false);
    members[3].installs = 0;
}

static void test_install(void **state)
{
    struct member *m = &members[3];

    (void) state;
    fall_behind();
    pass(10 * HEARTBEAT_MS);
    assert_int_equal(m->installs, 1);
    assert_true(rg_installing(m->group));
    assert_int_equal(m->incoming.index, 30);
    assert_int_equal(m->incoming.configuration_index, 23);
    assert_int_equal(m->incoming.configuration.count, 4);
    assert_true(m->applied <= 2);
    submit(&members[1], 3);
    pass(10 * HEARTBEAT_MS);
    assert_int_equal(m->installs, 1);
    install(m, true);
    pass(10 * HEARTBEAT_MS);
    assert_false(rg_installing(m->group));
    assert_int_equal(m->applied, members[1].applied);
    assert_int_equal(configuration_of(m).count, 4);
    /* And has it after a restart. */
    crash(m);
    start(m);
    assert_int_equal(configuration_of(m).count, 4);
}

/* As if the INSTALL had never come; the leader offers it again. */
static void test_install_fails(void **state)
{
    struct member *m = &members[3];
    uint64_t last;

    (void) state;
    fall_behind();
    m->holds = true;
    last = m->last;
    pass(10 * HEARTBEAT_MS);
    assert_true(rg_installing(m->group));
    install(m, false);
    assert_false(rg_installing(m->group));
    assert_int_equal(rg_last_index(m->group), last);
    assert_true(rg_commit(m->group) <= last);
    crash(&members[1]);
    m->holds = false;
    pass(8 * ELECTION_MS);
    /* From a leader that has the entries. */
    assert_int_equal(rg_leader(m->group), 2);
    assert_int_equal(m->installs, 1);
    assert_int_equal(m->applied, members[2].applied);
}

static void test_install_fails_and_comes_again(void **state)
{
    struct member *m = &members[3];

    (void) state;
    fall_behind();
    assert_int_equal(cut_log(&members[2], 30, 31), WIRE_OK);
    pass(10 * HEARTBEAT_MS);
    install(m, false);
    pass(options.install_timeout_ms + 10 * HEARTBEAT_MS);
    assert_int_equal(m->installs, 2);
    install(m, true);
    pass(10 * HEARTBEAT_MS);
    assert_int_equal(m->applied, members[1].applied);
}

/* Entries that became durable while a checkpoint was on its way count after that failed, and not before. */
static void test_durable_while_installing(void **state)
{
    struct rg_entry entries[2] = {{2, 2, RG_BARRIER, NULL}, {3, 2, RG_EFFECTS, NULL}};
    struct wire_peer_message message = {
        .kind = WIRE_PEER_APPEND, .from = 1, .term = 2, .index = 1, .index_term = 1, .sequence = 1, .entry_count = 2};
    struct member *m = &members[2];

    (void) state;
    boot(3);
    m->holds = true;
    assert_int_equal(forge(m, message, entries), WIRE_OK);
    message = (struct wire_peer_message){.kind = WIRE_PEER_INSTALL,
                                         .from = 1,
                                         .term = 2,
                                         .sequence = 2,
                                         .index = 20,
                                         .index_term = 2,
                                         .commit = 1,
                                         .configuration = voters_of(3)};
    assert_int_equal(forge(m, message, NULL), WIRE_OK);
    assert_true(m->update.install);
    assert_int_equal(forge(m, message, NULL), WIRE_OK);
    assert_false(m->update.install);
    drop_queue();
    persist(m, 1);
    assert_int_equal(queue_count, 0);
    install(m, false);
    message = (struct wire_peer_message){
        .kind = WIRE_PEER_APPEND, .from = 1, .term = 2, .index = 3, .index_term = 2, .sequence = 3};
    drop_queue();
    assert_int_equal(forge(m, message, NULL), WIRE_OK);
    assert_int_equal(m->update.messages[0].index, 3);
    assert_int_equal(m->update.messages[0].commit, 0);
}

/* What matched a leader was the checkpoint: of the log that comes back nothing is known to match. */
static void test_nothing_matches_after_a_failed_install(void **state)
{
    struct rg_entry entries[2] = {{2, 2, RG_BARRIER, NULL}, {3, 2, RG_EFFECTS, NULL}};
    struct wire_peer_message append = {
        .kind = WIRE_PEER_APPEND, .from = 1, .term = 2, .index = 1, .index_term = 1, .sequence = 1, .entry_count = 2};
    struct wire_peer_message offer = {.kind = WIRE_PEER_INSTALL,
                                      .from = 3,
                                      .term = 3,
                                      .sequence = 1,
                                      .index = 20,
                                      .index_term = 3,
                                      .commit = 1,
                                      .configuration = voters_of(3)};
    struct member *m = &members[2];

    (void) state;
    boot(3);
    m->holds = true;
    assert_int_equal(forge(m, append, entries), WIRE_OK);
    assert_int_equal(forge(m, offer, NULL), WIRE_OK);
    append = (struct wire_peer_message){
        .kind = WIRE_PEER_APPEND, .from = 3, .term = 3, .index = 20, .index_term = 3, .sequence = 2};
    assert_int_equal(forge(m, append, NULL), WIRE_OK);
    drop_queue();
    install(m, false);
    persist(m, 1);
    assert_int_equal(queue_count, 0);
}

/* A checkpoint that says less than this member has. */
static void test_late_install(void **state)
{
    struct wire_peer_message message = {.kind = WIRE_PEER_INSTALL, .from = 1, .sequence = 2, .index = 5, .commit = 1};
    struct member *m = &members[2];

    (void) state;
    boot(3);
    elect(&members[1]);
    submit(&members[1], 8);
    deliver();
    pass(HEARTBEAT_MS);
    message.term = message.index_term = rg_term(members[1].group);
    message.configuration = voters_of(3);
    assert_int_equal(forge(m, message, NULL), WIRE_OK);
    assert_false(m->update.install);
    assert_int_equal(m->update.messages[0].kind, WIRE_PEER_APPEND_RESULT);
    assert_int_equal(m->update.messages[0].index, 5);
    message.index_term = 1;
    assert_int_equal(forge(m, message, NULL), WIRE_E_BAD_FORMAT);
    assert_int_equal(m->applied, 10);
}

static void test_checkpoint_needs_its_configuration(void **state)
{
    struct member *m = &members[1];

    (void) state;
    boot(1);
    submit(m, 3);
    m->lags = true;
    assert_int_equal(change(m, with(voters_of(1), 2, WIRE_MEMBER_LEARNER)), WIRE_OK);
    assert_int_equal(rg_commit(m->group), 6);
    assert_int_equal(cut_log(m, 6, 7), WIRE_E_MEMBERSHIP);
    assert_int_equal(cut_log(m, 5, 6), WIRE_OK);
    m->lags = false;
    apply(m);
    assert_int_equal(cut_log(m, 6, 7), WIRE_OK);
    assert_int_equal(cut_log(m, 6, 8), WIRE_E_BAD_FORMAT);
    assert_int_equal(cut_log(m, 7, 7), WIRE_E_BAD_FORMAT);
}

/* Each cut takes what it says, the second one of the same checkpoint too: nothing is sent that is gone. */
static void test_cuts(void **state)
{
    struct member *m = &members[1];

    (void) state;
    boot(3);
    elect(m);
    submit(m, 10);
    deliver();
    isolate(3, true);
    submit(m, 30);
    deliver();
    assert_int_equal(cut_log(m, 30, 5), WIRE_OK);
    assert_int_equal(cut_log(m, 30, 20), WIRE_OK);
    assert_int_equal(cut_log(m, 30, 20), WIRE_OK);
    assert_int_equal(cut_log(m, 25, 22), WIRE_OK);
    isolate(3, false);
    pass(2 * ELECTION_MS);
    assert_int_equal(members[3].last, 12);
    assert_int_equal(members[3].installs, 1);
}

/* What is applied for good counts as durable, though the log is not yet: it is cut. */
static void test_cut_ahead_of_the_durable_log(void **state)
{
    struct member *m = &members[2];

    (void) state;
    boot(3);
    elect(&members[1]);
    m->holds = true;
    submit(&members[1], 5);
    deliver();
    pass(HEARTBEAT_MS);
    assert_int_equal(m->applied, 7);
    drop_queue();
    assert_int_equal(cut_log(m, 7, 8), WIRE_OK);
    assert_int_equal(queue[queue_first].message.kind, WIRE_PEER_APPEND_RESULT);
    assert_int_equal(queue[queue_first].message.index, 7);
    persist(m, 10);
    submit(&members[1], 2);
    m->holds = false;
    pass(HEARTBEAT_MS);
    assert_int_equal(m->applied, 9);
}

/* Of a log without its first entry nothing is left for one that has none. */
static void test_cut_of_the_first_entry(void **state)
{
    (void) state;
    boot(1);
    submit(&members[1], 5);
    assert_int_equal(cut_log(&members[1], 5, 2), WIRE_OK);
    assert_int_equal(change(&members[1], with(voters_of(1), 2, WIRE_MEMBER_LEARNER)), WIRE_OK);
    pass(5 * HEARTBEAT_MS);
    assert_int_equal(members[2].installs, 1);
    install(&members[2], true);
    pass(5 * HEARTBEAT_MS);
    assert_int_equal(members[2].applied, members[1].applied);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RULE(test_install),
        RULE(test_install_fails),
        RULE(test_install_fails_and_comes_again),
        RULE(test_durable_while_installing),
        RULE(test_nothing_matches_after_a_failed_install),
        RULE(test_late_install),
        RULE(test_checkpoint_needs_its_configuration),
        RULE(test_cuts),
        RULE(test_cut_of_the_first_entry),
        RULE(test_cut_ahead_of_the_durable_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
