/* Replication groups (rg_group.h): how they work, and each rule that keeps them safe. Leases, probes and transfers:
 * test_rg_lease.c; checkpoints: test_rg_install.c; memory, hostile messages and random histories: test_rg_faults.c. */
#include "rg_cluster.h"

#include <fcntl.h>
#include <unistd.h>

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

/* --- the happy path --- */

static void test_sole_voter(void **state)
{
    struct member *m = &members[1];

    (void) state;
    boot(1);
    assert_int_equal(rg_role(m->group), RG_LEADER);
    assert_int_equal(rg_leader(m->group), 1);
    assert_int_equal(rg_term(m->group), 2);
    assert_int_equal(rg_voted_for(m->group), 1);
    assert_int_equal(m->log[2].kind, RG_BARRIER);
    assert_int_equal(rg_commit(m->group), 2);
    assert_true(rg_is_settled(m->group));
    assert_int_equal(rg_next_timeout(m->group), UINT64_MAX);
    assert_int_equal(submit(m, 3), WIRE_OK);
    assert_int_equal(rg_commit(m->group), 5);
    assert_int_equal(m->applied, 5);
    assert_string_equal(rg_fault(m->group), "");
}

/* Its entries may have reached a learner, and been lost here: never two of one index and term. */
static void test_sole_voter_restarts_in_a_new_term(void **state)
{
    struct member *m = &members[1];

    (void) state;
    boot(1);
    m->holds = true;
    assert_int_equal(submit(m, 1), WIRE_OK);
    assert_int_equal(m->log[3].term, 2);
    crash(m);
    m->holds = false;
    start(m);
    assert_true(m->update.state || m->term == 3);
    assert_int_equal(m->log[3].term, 3);
    assert_int_equal(rg_commit(m->group), 3);
}

static void test_three_replicas(void **state)
{
    (void) state;
    boot(3);
    for (int node = 1; node <= 3; node++)
        assert_int_equal(rg_role(members[node].group), RG_FOLLOWER);
    elect(&members[2]);
    for (int i = 0; i < 20; i++)
        assert_int_equal(submit(&members[2], 5), WIRE_OK);
    deliver();
    pass(HEARTBEAT_MS);
    for (int node = 1; node <= 3; node++) {
        assert_int_equal(members[node].last, 102);
        assert_int_equal(members[node].applied, 102);
        assert_int_equal(rg_leader(members[node].group), 2);
    }
    assert_int_equal(submit(&members[1], 1), WIRE_E_NOT_LEADER);
    crash(&members[2]);
    pass(5 * ELECTION_MS);
    assert_non_null(leader());
    assert_int_equal(submit(leader(), 1), WIRE_OK);
    start(&members[2]);
    pass(5 * ELECTION_MS);
    assert_int_equal(members[1].applied, members[2].applied);
    assert_int_equal(members[1].applied, members[3].applied);
    assert_true(members[1].applied >= 104);
}

static void test_progress(void **state)
{
    uint64_t match, heard;

    (void) state;
    boot(3);
    assert_false(rg_progress(members[1].group, 1, &match, &heard));
    elect(&members[1]);
    isolate(3, true);
    assert_int_equal(submit(&members[1], 4), WIRE_OK);
    deliver();
    assert_true(rg_progress(members[1].group, 1, &match, &heard));
    assert_int_equal(match, 6);
    assert_true(rg_progress(members[1].group, 2, &match, &heard));
    assert_int_equal(match, 6);
    assert_int_equal(heard, clock_ms);
    assert_true(rg_progress(members[1].group, 3, &match, &heard));
    assert_true(match < 6);
    assert_false(rg_progress(members[1].group, 4, &match, &heard));
}

/* --- rules --- */

static void test_seeds_differ(void **state)
{
    uint64_t first;
    int differ = 0;

    (void) state;
    boot(5);
    first = rg_next_timeout(members[1].group);
    for (int node = 2; node <= 5; node++)
        differ += rg_next_timeout(members[node].group) != first;
    assert_true(differ > 0);
}

static void test_library_is_silent(void **state)
{
    char path[] = "/tmp/rg_group_XXXXXX";
    int file = mkstemp(path), saved = dup(2);

    (void) state;
    assert_true(file >= 0);
    setenv("LIBRAFT_TRACE", "1", 1);
    dup2(file, 2);
    boot(3);
    elect(&members[1]);
    submit(&members[1], 1);
    deliver();
    fflush(stderr);
    dup2(saved, 2);
    unsetenv("LIBRAFT_TRACE");
    assert_int_equal(lseek(file, 0, SEEK_END), 0);
    close(saved);
    close(file);
    unlink(path);
}

static void test_commit_is_clamped(void **state)
{
    struct wire_peer_message late = {
        .kind = WIRE_PEER_APPEND, .from = 1, .index = 2, .index_term = 2, .sequence = 1, .commit = 100};

    (void) state;
    boot(3);
    elect(&members[1]);
    submit(&members[1], 8);
    deliver();
    pass(HEARTBEAT_MS);
    assert_int_equal(rg_commit(members[2].group), 10);
    late.term = rg_term(members[1].group);
    assert_int_equal(forge(&members[2], late, NULL), WIRE_OK);
    assert_int_equal(rg_commit(members[2].group), 10);
}

/* A configuration behind other entries in one message is found where it stands: later it counts as committed. */
static void test_configuration_within_a_message(void **state)
{
    struct member *m = &members[2];
    uint64_t index;
    struct wire_configuration c;

    (void) state;
    boot(3);
    elect(&members[1]);
    isolate(2, true);
    submit(&members[1], 3);
    deliver();
    assert_int_equal(change(&members[1], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_OK);
    submit(&members[1], 3);
    deliver();
    isolate(2, false);
    pass(3 * HEARTBEAT_MS);
    assert_int_equal(m->last, members[1].last);
    rg_configuration(m->group, &c, &index);
    assert_int_equal(c.count, 4);
    assert_int_equal(index, 6);
    assert_int_equal(cut_log(m, m->applied, m->applied), WIRE_OK);
}

/* Two changes in one message, the second to be rolled back: what stays is the first, not what was before both. */
static void test_two_configurations_in_a_message(void **state)
{
    struct wire_configuration c[2] = {with(voters_of(3), 4, WIRE_MEMBER_LEARNER)};
    struct rg_entry entries[4] = {{3, 2, RG_EFFECTS, NULL},
                                  {4, 2, RG_CONFIGURATION, &c[0]},
                                  {5, 2, RG_EFFECTS, NULL},
                                  {6, 2, RG_CONFIGURATION, &c[1]}};
    struct rg_entry other = {6, 3, RG_BARRIER, NULL};
    struct wire_peer_message append = {.kind = WIRE_PEER_APPEND,
                                       .from = 1,
                                       .term = 2,
                                       .index = 2,
                                       .index_term = 2,
                                       .sequence = 9,
                                       .commit = 5,
                                       .entry_count = 4};

    (void) state;
    c[1] = with(c[0], 4, WIRE_MEMBER_VOTER);
    boot(3);
    elect(&members[1]);
    deliver();
    members[2].lags = true;
    assert_int_equal(forge(&members[2], append, entries), WIRE_OK);
    assert_int_equal(members[2].last, 6);
    append = (struct wire_peer_message){.kind = WIRE_PEER_APPEND,
                                        .from = 3,
                                        .term = 3,
                                        .index = 5,
                                        .index_term = 2,
                                        .sequence = 1,
                                        .commit = 5,
                                        .entry_count = 1};
    assert_int_equal(forge(&members[2], append, &other), WIRE_OK);
    assert_int_equal(members[2].log[6].term, 3);
    c[1] = configuration_of(&members[2]);
    assert_int_equal(c[1].count, 4);
    assert_int_equal(wire_configuration_voters(&c[1]), 3);
    members[2].lags = false;
    apply(&members[2]);
    assert_int_equal(members[2].applied, 5);
}

static void test_early_timeouts_do_nothing(void **state)
{
    (void) state;
    boot(3);
    elect(&members[1]);
    submit(&members[1], 1);
    deliver();
    pass(HEARTBEAT_MS);
    for (int i = 0; i < 3; i++) {
        clock_ms++;
        time_out(&members[1]);
        assert_int_equal(members[1].update.message_count, 0);
    }
    submit(&members[1], 1);
    assert_int_equal(queue_count, 2);
    assert_int_equal(queue[queue_first].message.entry_count, 1);
}

static void test_pre_vote(void **state)
{
    uint64_t term;

    (void) state;
    boot(3);
    elect(&members[1]);
    term = rg_term(members[1].group);
    isolate(3, true);
    pass(20 * ELECTION_MS);
    assert_int_equal(rg_term(members[3].group), term);
    assert_int_equal(rg_role(members[3].group), RG_CANDIDATE);
    isolate(3, false);
    pass(3 * ELECTION_MS);
    assert_int_equal(rg_term(members[1].group), term);
    assert_int_equal(rg_role(members[1].group), RG_LEADER);
    assert_int_equal(rg_leader(members[3].group), 1);
}

/* One that was granted its pre-vote and then nothing asks again before it raises its term again. */
static void test_pre_vote_each_time(void **state)
{
    uint64_t term;

    (void) state;
    boot(3);
    elect(&members[1]);
    term = rg_term(members[1].group);
    isolate(1, true);
    clock_ms += 2 * ELECTION_MS;
    for (int i = 0; i < 3 && rg_role(members[3].group) != RG_CANDIDATE; i++)
        time_out(&members[3]);
    time_out(&members[2]);
    while (rg_term(members[3].group) == term && deliver_one())
        ;
    assert_int_equal(rg_term(members[3].group), term + 1);
    isolate(3, true);
    drop_queue();
    pass(20 * ELECTION_MS);
    assert_int_equal(rg_term(members[3].group), term + 1);
}

static void test_refused_pre_vote_tells_the_term(void **state)
{
    struct wire_peer_message ask = {
        .kind = WIRE_PEER_VOTE, .flags = WIRE_PEER_PRE_VOTE, .from = 3, .term = 2, .index = 1, .index_term = 1};

    (void) state;
    boot(3);
    elect(&members[1]);
    crash(&members[1]);
    elect(&members[2]);
    assert_int_equal(rg_term(members[2].group), 3);
    drop_queue();
    assert_int_equal(forge(&members[2], ask, NULL), WIRE_OK);
    assert_int_equal(members[2].update.message_count, 1);
    assert_int_equal(members[2].update.messages[0].kind, WIRE_PEER_VOTE_RESULT);
    assert_int_equal(members[2].update.messages[0].flags, WIRE_PEER_PRE_VOTE);
    assert_int_equal(members[2].update.messages[0].term, 3);
}

/* A vote that comes when nobody asks any more does not raise the term. */
static void test_late_votes(void **state)
{
    struct wire_peer_message late = {
        .kind = WIRE_PEER_VOTE_RESULT, .flags = WIRE_PEER_PRE_VOTE | WIRE_PEER_GRANTED, .from = 3};

    (void) state;
    boot(3);
    elect(&members[1]);
    late.term = rg_term(members[1].group) + 1;
    assert_int_equal(forge(&members[1], late, NULL), WIRE_OK);
    assert_int_equal(forge(&members[2], late, NULL), WIRE_OK);
    late.flags = 0;
    assert_int_equal(forge(&members[1], late, NULL), WIRE_OK);
    assert_int_equal(forge(&members[2], late, NULL), WIRE_OK);
    assert_int_equal(rg_role(members[1].group), RG_LEADER);
    assert_int_equal(rg_term(members[1].group), late.term - 1);
    assert_int_equal(rg_term(members[2].group), late.term - 1);
}

static void test_votes_of_a_term_nobody_asked_for(void **state)
{
    struct wire_peer_message vote = {
        .kind = WIRE_PEER_VOTE_RESULT, .flags = WIRE_PEER_PRE_VOTE | WIRE_PEER_GRANTED, .from = 3, .term = 7};

    (void) state;
    boot(3);
    clock_ms += 2 * ELECTION_MS;
    time_out(&members[1]);
    drop_queue();
    assert_int_equal(rg_role(members[1].group), RG_CANDIDATE);
    assert_int_equal(forge(&members[1], vote, NULL), WIRE_OK);
    assert_int_equal(rg_role(members[1].group), RG_CANDIDATE);
    assert_int_equal(rg_term(members[1].group), 1);
}

static void test_time_does_not_go_back(void **state)
{
    struct wire_peer_message append = {
        .kind = WIRE_PEER_APPEND, .from = 1, .term = 2, .index = 1, .index_term = 1, .sequence = 1};
    uint64_t timeout;

    (void) state;
    boot(3);
    assert_int_equal(forge(&members[2], append, NULL), WIRE_OK);
    timeout = rg_next_timeout(members[2].group);
    clock_ms -= ELECTION_MS;
    assert_int_equal(forge(&members[2], append, NULL), WIRE_OK);
    assert_int_equal(rg_next_timeout(members[2].group), timeout);
}

static void test_term_begins_with_an_entry(void **state)
{
    (void) state;
    boot(3);
    elect(&members[1]);
    assert_int_equal(members[1].log[2].kind, RG_BARRIER);
    deliver();
    /* Nothing is uncommitted: the library would append none. */
    pass(HEARTBEAT_MS);
    assert_int_equal(rg_commit(members[2].group), members[2].last);
    crash(&members[1]);
    members[2].holds = true;
    elect(&members[2]);
    assert_int_equal(members[2].last, 3);
    assert_int_equal(members[2].log[3].kind, RG_BARRIER);
    assert_int_equal(members[2].log[3].term, rg_term(members[2].group));
    assert_false(rg_is_settled(members[2].group));
    persist(&members[2], 1);
    deliver();
    assert_true(rg_is_settled(members[2].group));
}

static void test_changes_of_members(void **state)
{
    struct member *l = &members[1];
    struct wire_configuration c;

    (void) state;
    boot(3);
    elect(l);
    assert_int_equal(change(&members[2], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_E_NOT_LEADER);
    assert_int_equal(change(l, voters_of(3)), WIRE_E_MEMBERSHIP);
    assert_int_equal(change(l, voters_of(4)), WIRE_E_MEMBERSHIP);
    assert_int_equal(change(l, voters_of(2)), WIRE_E_MEMBERSHIP);
    assert_int_equal(change(l, with(voters_of(3), 3, WIRE_MEMBER_LEARNER)), WIRE_E_MEMBERSHIP);
    c = with(with(voters_of(3), 4, WIRE_MEMBER_LEARNER), 5, WIRE_MEMBER_LEARNER);
    assert_int_equal(change(l, c), WIRE_E_MEMBERSHIP);
    c.count = 0;
    assert_int_equal(change(l, c), WIRE_E_BAD_FORMAT);
    c = with(voters_of(3), 4, WIRE_MEMBER_LEARNER);
    assert_int_equal(change(l, c), WIRE_OK);
    /* One at a time. */
    assert_int_equal(change(l, voters_of(3)), WIRE_E_MEMBERSHIP);
    cut[1][4] = true;
    deliver();
    submit(l, 5);
    deliver();
    /* Not caught up. */
    assert_int_equal(change(l, with(c, 4, WIRE_MEMBER_VOTER)), WIRE_E_MEMBERSHIP);
    cut[1][4] = false;
    pass(3 * HEARTBEAT_MS);
    assert_int_equal(members[4].applied, l->applied);
    c = with(c, 4, WIRE_MEMBER_VOTER);
    assert_int_equal(change(l, c), WIRE_OK);
    deliver();
    assert_int_equal(change(l, without(c, 1)), WIRE_E_MEMBERSHIP);
    assert_int_equal(change(l, with(c, 2, WIRE_MEMBER_LEARNER)), WIRE_OK);
    deliver();
    assert_int_equal(change(l, without(with(c, 2, WIRE_MEMBER_LEARNER), 2)), WIRE_OK);
    deliver();
    pass(HEARTBEAT_MS);
    assert_int_equal(configuration_of(&members[4]).count, 3);
    assert_int_equal(change(l, without(without(c, 2), 3)), WIRE_E_MEMBERSHIP);
    submit(l, 1);
    pass(HEARTBEAT_MS);
    assert_int_equal(members[4].applied, l->applied);
    assert_int_equal(members[3].applied, l->applied);
}

/* Member 4 votes and does not know it; without it there is no majority. */
static void test_vote_of_one_that_is_being_promoted(void **state)
{
    struct member *l = &members[1];
    struct wire_configuration c = with(voters_of(3), 4, WIRE_MEMBER_LEARNER);

    (void) state;
    boot(3);
    elect(l);
    assert_int_equal(change(l, c), WIRE_OK);
    deliver();
    pass(3 * HEARTBEAT_MS);
    assert_int_equal(members[4].applied, l->applied);
    cut[1][4] = true;
    assert_int_equal(change(l, with(c, 4, WIRE_MEMBER_VOTER)), WIRE_OK);
    deliver();
    crash(l);
    pass(20 * ELECTION_MS);
    assert_non_null(leader());
    assert_int_equal(rg_voted_for(members[4].group), leader()->node);
    assert_int_equal(configuration_of(&members[4]).members[3].role, WIRE_MEMBER_VOTER);
}

/* Nor does it forget what it owes a leader that it hears. */
static void test_learner_refuses_votes_while_it_hears(void **state)
{
    struct wire_peer_message ask = {.kind = WIRE_PEER_VOTE, .from = 2, .index = 100};

    (void) state;
    boot(3);
    elect(&members[1]);
    assert_int_equal(change(&members[1], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_OK);
    deliver();
    pass(3 * ELECTION_MS);
    ask.term = rg_term(members[1].group) + 1;
    ask.index_term = ask.term - 1;
    drop_queue();
    assert_int_equal(forge(&members[4], ask, NULL), WIRE_OK);
    assert_int_equal(rg_term(members[4].group), ask.term - 1);
    assert_int_equal(rg_voted_for(members[4].group), 0);
}

static void test_no_change_before_the_term_is_settled(void **state)
{
    (void) state;
    boot(3);
    members[1].holds = true;
    members[2].holds = members[3].holds = true;
    elect(&members[1]);
    assert_int_equal(change(&members[1], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_E_MEMBERSHIP);
    for (int node = 1; node <= 3; node++)
        persist(&members[node], 10);
    deliver();
    assert_int_equal(change(&members[1], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_OK);
}

/* What was replaced before it was reported does not count, nor does a report out of order. */
static void test_replaced_entries_are_not_durable(void **state)
{
    struct rg_entry first[2] = {{2, 2, RG_BARRIER, NULL}, {3, 2, RG_EFFECTS, NULL}};
    struct rg_entry second[2] = {{2, 3, RG_BARRIER, NULL}, {3, 3, RG_EFFECTS, NULL}};
    struct wire_peer_message append = {
        .kind = WIRE_PEER_APPEND, .from = 1, .term = 2, .index = 1, .index_term = 1, .sequence = 1, .entry_count = 2};
    struct member *m = &members[2];
    struct rg_update update;

    (void) state;
    boot(3);
    m->holds = true;
    assert_int_equal(forge(m, append, first), WIRE_OK);
    append.term = 3;
    append.from = 3;
    assert_int_equal(forge(m, append, second), WIRE_OK);
    drop_queue();
    persist(m, 1);
    assert_int_equal(queue_count, 0);
    assert_int_equal(rg_persisted(m->group, clock_ms, 3, 7, &update), WIRE_OK);
    assert_int_equal(update.message_count, 0);
    persist(m, 1);
    assert_int_equal(queue_count, 1);
    assert_int_equal(queue[queue_first].message.kind, WIRE_PEER_APPEND_RESULT);
    assert_int_equal(queue[queue_first].message.to, 3);
    assert_int_equal(queue[queue_first].message.index, 3);
}

/* Of a range that lost its end only what is left. */
static void test_shortened_entries(void **state)
{
    struct rg_entry first[3] = {{2, 2, RG_BARRIER, NULL}, {3, 2, RG_EFFECTS, NULL}, {4, 2, RG_EFFECTS, NULL}};
    struct rg_entry second = {4, 3, RG_BARRIER, NULL};
    struct wire_peer_message append = {
        .kind = WIRE_PEER_APPEND, .from = 1, .term = 2, .index = 1, .index_term = 1, .sequence = 1, .entry_count = 3};
    struct member *m = &members[2];

    (void) state;
    boot(3);
    m->holds = true;
    assert_int_equal(forge(m, append, first), WIRE_OK);
    append = (struct wire_peer_message){
        .kind = WIRE_PEER_APPEND, .from = 3, .term = 3, .index = 3, .index_term = 2, .sequence = 1, .entry_count = 1};
    assert_int_equal(forge(m, append, &second), WIRE_OK);
    drop_queue();
    persist(m, 1);
    assert_int_equal(queue[queue_first].message.index, 3);
    drop_queue();
    persist(m, 1);
    assert_int_equal(queue[queue_first].message.index, 4);
}

static void test_start_behind_the_log(void **state)
{
    struct rg_entry entries[4]; /* two of them count */
    struct rg_start s = {.term = 4,
                         .applied_index = 8,
                         .applied_term = 3,
                         .configuration = voters_of(3),
                         .configuration_index = 1,
                         .first_index = 5,
                         .entries = entries,
                         .entry_count = 2};
    struct rg_group *group;
    struct rg_update update;

    (void) state;
    for (int i = 0; i < 4; i++)
        entries[i] = (struct rg_entry){5 + i, i < 3 ? 2 : 3, RG_EFFECTS, NULL};
    options.node = 1;
    assert_int_equal(rg_open(&options, &s, 0, &group, &update), WIRE_E_BAD_FORMAT);
    s.first_index = 9;
    s.entry_count = 0;
    assert_int_equal(rg_open(&options, &s, 0, &group, &update), WIRE_OK);
    assert_int_equal(rg_commit(group), 8);
    assert_int_equal(rg_last_index(group), 8);
    rg_close(group);
    s.first_index = 10;
    assert_int_equal(rg_open(&options, &s, 0, &group, &update), WIRE_E_BAD_FORMAT);
    s.first_index = 9;
    /* What is applied may be of a term that was not durable: nobody was told of that. */
    s.applied_term = 5;
    s.voted_for = 2;
    assert_int_equal(rg_open(&options, &s, 0, &group, &update), WIRE_OK);
    assert_true(update.state);
    assert_int_equal(rg_term(group), 5);
    assert_int_equal(rg_voted_for(group), 0);
    rg_close(group);
    s.applied_term = 3;
    s.voted_for = 0;
    s.configuration_index = 9;
    assert_int_equal(rg_open(&options, &s, 0, &group, &update), WIRE_E_BAD_FORMAT);
    s = (struct rg_start){.term = 2, .first_index = 1, .entries = entries, .entry_count = 1};
    entries[0].index = 1;
    assert_int_equal(rg_open(&options, &s, 0, &group, &update), WIRE_E_BAD_FORMAT);
    assert_null(group);
}

static void test_options(void **state)
{
    struct rg_options o = options;
    struct rg_start s = {0};
    struct rg_group *group;
    struct rg_update update;

    (void) state;
    o.node = 1;
    o.lease_ms = o.election_timeout_ms;
    assert_int_equal(rg_open(&o, &s, 0, &group, &update), WIRE_E_CONFIG);
    o.lease_ms = 0;
    o.heartbeat_ms = o.election_timeout_ms;
    assert_int_equal(rg_open(&o, &s, 0, &group, &update), WIRE_E_CONFIG);
    o.heartbeat_ms = 10;
    o.in_flight_max = 0;
    assert_int_equal(rg_open(&o, &s, 0, &group, &update), WIRE_E_CONFIG);
    o.in_flight_max = 1;
    assert_int_equal(rg_open(&o, &s, 0, &group, &update), WIRE_OK);
    rg_close(group);
}

/* A follower whose log was cut gets entries from before that: they count from its commit index on. */
static void test_entries_from_before_the_log(void **state)
{
    struct rg_entry entries[12];
    struct wire_configuration c = voters_of(3);
    struct wire_peer_message append = {.kind = WIRE_PEER_APPEND, .from = 1, .sequence = 99, .entry_count = 12};
    struct member *m = &members[2];

    (void) state;
    boot(3);
    elect(&members[1]);
    submit(&members[1], 8);
    deliver();
    pass(HEARTBEAT_MS);
    assert_int_equal(m->applied, 10);
    assert_int_equal(cut_log(m, 10, 11), WIRE_OK);
    append.term = rg_term(members[1].group);
    append.commit = 12;
    for (int i = 0; i < 12; i++)
        entries[i] = (struct rg_entry){i + 1, i == 0 ? 1 : append.term, RG_EFFECTS, NULL};
    entries[0].kind = RG_CONFIGURATION;
    entries[0].configuration = &c;
    assert_int_equal(forge(m, append, entries), WIRE_OK);
    assert_int_equal(m->last, 12);
    assert_int_equal(m->applied, 12);
    append.entry_count = 4;
    assert_int_equal(forge(m, append, entries), WIRE_OK);
    assert_int_equal(m->update.messages[0].commit, 0);
    assert_int_equal(m->update.messages[0].index, 12);
    append.entry_count = 0;
    append.index = 5;
    append.index_term = append.term;
    assert_int_equal(forge(m, append, NULL), WIRE_OK);
    assert_int_equal(m->update.messages[0].commit, 0);
}

/* --- what cannot be --- */

static void test_committed_entries_that_differ_stop_the_group(void **state)
{
    struct rg_entry other = {5, 9, RG_EFFECTS, NULL};
    struct wire_peer_message append = {
        .kind = WIRE_PEER_APPEND, .from = 3, .term = 9, .index = 4, .index_term = 2, .sequence = 1, .entry_count = 1};
    struct member *m = &members[2];
    struct rg_update update;

    (void) state;
    boot(3);
    elect(&members[1]);
    submit(&members[1], 8);
    deliver();
    pass(HEARTBEAT_MS);
    assert_int_equal(forge(m, append, &other), WIRE_E_INTERNAL);
    assert_non_null(strstr(rg_fault(m->group), "append"));
    assert_int_equal(rg_timeout(m->group, clock_ms, &update), WIRE_E_INTERNAL);
    assert_int_equal(rg_persisted(m->group, clock_ms, 1, 1, &update), WIRE_E_INTERNAL);
    assert_int_equal(rg_next_timeout(m->group), UINT64_MAX);
    crash(m);
}

static void test_two_leaders_of_a_term(void **state)
{
    struct wire_peer_message append = {.kind = WIRE_PEER_APPEND, .from = 3, .index = 1, .index_term = 1, .sequence = 1};

    (void) state;
    boot(3);
    elect(&members[1]);
    append.term = rg_term(members[1].group);
    assert_int_equal(forge(&members[1], append, NULL), WIRE_E_BAD_FORMAT);
    assert_int_equal(forge(&members[2], append, NULL), WIRE_E_BAD_FORMAT);
    append.kind = WIRE_PEER_INSTALL;
    append.commit = 1;
    append.configuration = voters_of(3);
    assert_int_equal(forge(&members[1], append, NULL), WIRE_E_BAD_FORMAT);
    assert_int_equal(forge(&members[2], append, NULL), WIRE_E_BAD_FORMAT);
    assert_int_equal(rg_role(members[1].group), RG_LEADER);
    assert_int_equal(rg_leader(members[2].group), 1);
}

/* All logs begin alike, committed or not. */
static void test_another_first_entry(void **state)
{
    struct wire_configuration c = voters_of(3);
    struct rg_entry entry = {1, 1, RG_CONFIGURATION, &c};
    struct wire_peer_message append = {.kind = WIRE_PEER_APPEND, .from = 1, .term = 2, .sequence = 1, .entry_count = 1};

    (void) state;
    boot(3);
    assert_int_equal(forge(&members[4], append, &entry), WIRE_OK);
    assert_int_equal(members[4].last, 1);
    append.term = 3;
    append.from = 3;
    entry.term = 3;
    assert_int_equal(forge(&members[4], append, &entry), WIRE_E_BAD_FORMAT);
    assert_int_equal(rg_term(members[4].group), 2);
}

/* A refusal that was overtaken: what it refused it has since. */
static void test_late_refusal(void **state)
{
    struct wire_peer_message late = {
        .kind = WIRE_PEER_APPEND_RESULT, .from = 2, .sequence = 1, .index = 1, .commit = 10};
    uint64_t match, heard;

    (void) state;
    boot(3);
    elect(&members[1]);
    submit(&members[1], 8);
    deliver();
    isolate(2, true);
    pass(3 * ELECTION_MS);
    late.term = rg_term(members[1].group);
    assert_int_equal(forge(&members[1], late, NULL), WIRE_OK);
    assert_int_equal(members[1].update.message_count, 0);
    assert_true(rg_progress(members[1].group, 2, &match, &heard));
    assert_int_equal(match, 10);
}

static void test_messages_for_others(void **state)
{
    struct wire_peer_message append = {.kind = WIRE_PEER_APPEND, .from = 1, .term = 50, .sequence = 1};
    struct member *m = &members[2];
    struct rg_update update;

    (void) state;
    boot(3);
    append.group = options.group + 1;
    append.to = 2;
    assert_int_equal(rg_receive(m->group, clock_ms, &append, NULL, &update), WIRE_OK);
    append.group--;
    append.to = 3;
    assert_int_equal(rg_receive(m->group, clock_ms, &append, NULL, &update), WIRE_OK);
    append.to = 2;
    append.from = 2;
    assert_int_equal(rg_receive(m->group, clock_ms, &append, NULL, &update), WIRE_OK);
    append.from = 0;
    assert_int_equal(rg_receive(m->group, clock_ms, &append, NULL, &update), WIRE_OK);
    assert_int_equal(rg_term(m->group), 1);
}

/* An answer to a leader of an old term tells the term and nothing else. */
static void test_old_leader_is_told_the_term(void **state)
{
    struct wire_peer_message append = {.kind = WIRE_PEER_APPEND, .from = 3, .term = 1, .index = 1, .index_term = 1};
    const struct wire_peer_message *answer;

    (void) state;
    boot(3);
    elect(&members[1]);
    assert_int_equal(forge(&members[2], append, NULL), WIRE_OK);
    answer = &members[2].update.messages[0];
    assert_int_equal(answer->kind, WIRE_PEER_APPEND_RESULT);
    assert_int_equal(answer->term, 2);
    assert_int_equal(answer->index, 0);
    assert_int_equal(answer->sequence, 0);
    append.kind = WIRE_PEER_INSTALL;
    append.commit = 1;
    append.configuration = voters_of(3);
    assert_int_equal(forge(&members[2], append, NULL), WIRE_OK);
    answer = &members[2].update.messages[0];
    assert_int_equal(answer->index, 0);
    assert_int_equal(answer->sequence, 0);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RULE(test_sole_voter),
        RULE(test_sole_voter_restarts_in_a_new_term),
        RULE(test_three_replicas),
        RULE(test_progress),
        RULE(test_seeds_differ),
        RULE(test_library_is_silent),
        RULE(test_commit_is_clamped),
        RULE(test_configuration_within_a_message),
        RULE(test_two_configurations_in_a_message),
        RULE(test_early_timeouts_do_nothing),
        RULE(test_pre_vote),
        RULE(test_pre_vote_each_time),
        RULE(test_refused_pre_vote_tells_the_term),
        RULE(test_late_votes),
        RULE(test_votes_of_a_term_nobody_asked_for),
        RULE(test_time_does_not_go_back),
        RULE(test_term_begins_with_an_entry),
        RULE(test_changes_of_members),
        RULE(test_vote_of_one_that_is_being_promoted),
        RULE(test_learner_refuses_votes_while_it_hears),
        RULE(test_no_change_before_the_term_is_settled),
        RULE(test_replaced_entries_are_not_durable),
        RULE(test_shortened_entries),
        RULE(test_start_behind_the_log),
        RULE(test_options),
        RULE(test_entries_from_before_the_log),
        RULE(test_committed_entries_that_differ_stop_the_group),
        RULE(test_two_leaders_of_a_term),
        RULE(test_another_first_entry),
        RULE(test_late_refusal),
        RULE(test_messages_for_others),
        RULE(test_old_leader_is_told_the_term),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
