/* Leases, questions to the members (ReadIndex) and the handing over of leadership: rg_group.h, rg_lease.h. */
#include "rg_cluster.h"

#include "rg_lease.h"

static int set_up(void **state)
{
    (void) state;
    rg_set_heap(sb_alloc, sb_realloc, sb_free);
    return 0;
}

static int tear_down(void **state)
{
    (void) state;
    shut();
    options.lease_ms = LEASE_MS;
    assert_int_equal(sb_memory_blocks(), 0);
    return 0;
}

static uint64_t lease(int node)
{
    return rg_lease_until(members[node].group);
}

/* --- leases --- */

static void test_lease_of_a_sole_voter(void **state)
{
    (void) state;
    boot(1);
    assert_int_equal(lease(1), UINT64_MAX);
    shut();
    options.lease_ms = 0;
    boot(1);
    assert_int_equal(lease(1), 0);
    shut();
    options.lease_ms = LEASE_MS;
    boot(1);
    members[1].holds = true;
    crash(&members[1]);
    start(&members[1]);
    assert_int_equal(rg_role(members[1].group), RG_LEADER);
    assert_int_equal(lease(1), 0);
}

/* Only once an entry of the term is committed. */
static void test_lease_needs_a_settled_term(void **state)
{
    (void) state;
    boot(3);
    for (int node = 1; node <= 3; node++)
        members[node].holds = true;
    elect(&members[1]);
    pass(3 * HEARTBEAT_MS);
    assert_int_equal(lease(1), 0);
    for (int node = 1; node <= 3; node++)
        persist(&members[node], 10);
    deliver();
    assert_true(lease(1) > clock_ms);
    assert_int_equal(lease(2), 0);
}

/* It starts when the messages were sent, however late they or the answers are. */
static void test_lease_counts_from_sending(void **state)
{
    uint64_t sent;

    (void) state;
    boot(3);
    elect(&members[1]);
    pass(HEARTBEAT_MS);
    sent = clock_ms + HEARTBEAT_MS;
    clock_ms = sent;
    time_out(&members[1]);
    clock_ms += LEASE_MS / 2;
    deliver();
    assert_int_equal(lease(1), sent + LEASE_MS);
    clock_ms += LEASE_MS;
    assert_true(lease(1) <= clock_ms);
}

static void test_lease_needs_a_majority(void **state)
{
    uint64_t last;

    (void) state;
    boot(5);
    elect(&members[1]);
    pass(HEARTBEAT_MS);
    assert_true(lease(1) > clock_ms);
    for (int node = 3; node <= 5; node++)
        cut[1][node] = true;
    last = lease(1);
    for (int i = 0; i < 4; i++) {
        clock_ms += HEARTBEAT_MS;
        time_out(&members[1]);
        deliver();
        assert_int_equal(lease(1), last);
    }
    cut[1][3] = false;
    clock_ms += HEARTBEAT_MS;
    time_out(&members[1]);
    deliver();
    assert_int_equal(lease(1), clock_ms + LEASE_MS);
}

/* A learner's answers make no lease. */
static void test_lease_counts_voters(void **state)
{
    uint64_t last;

    (void) state;
    boot(3);
    elect(&members[1]);
    assert_int_equal(change(&members[1], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_OK);
    pass(3 * HEARTBEAT_MS);
    last = lease(1);
    assert_true(last > clock_ms);
    isolate(2, true);
    isolate(3, true);
    clock_ms += HEARTBEAT_MS;
    time_out(&members[1]);
    deliver();
    assert_int_equal(lease(1), last);
}

/* Numbers that were never sent, and those of another term. */
static void test_echoes_that_cannot_be(void **state)
{
    struct wire_peer_message echo = {.kind = WIRE_PEER_APPEND_RESULT, .from = 2, .sequence = 100000, .index = 2};
    uint64_t last;

    (void) state;
    boot(3);
    elect(&members[1]);
    pass(HEARTBEAT_MS);
    last = lease(1);
    cut[1][2] = cut[1][3] = true;
    clock_ms += 200;
    time_out(&members[1]);
    echo.term = rg_term(members[1].group);
    assert_int_equal(forge(&members[1], echo, NULL), WIRE_OK);
    assert_int_equal(lease(1), last);
    echo.sequence = 1;
    assert_int_equal(forge(&members[1], echo, NULL), WIRE_OK);
    assert_int_equal(lease(1), last);
    echo.sequence = 5;
    echo.term--;
    assert_int_equal(forge(&members[1], echo, NULL), WIRE_OK);
    assert_int_equal(lease(1), last);
}

/* A follower names the greatest number of this leader's, not one of the term before. */
static void test_echoes_begin_anew_with_a_term(void **state)
{
    struct wire_peer_message append = {
        .kind = WIRE_PEER_APPEND, .from = 1, .term = 2, .sequence = 70, .index = 1, .index_term = 1};

    (void) state;
    boot(3);
    assert_int_equal(forge(&members[2], append, NULL), WIRE_OK);
    assert_int_equal(members[2].update.messages[0].sequence, 70);
    append.sequence = 60;
    assert_int_equal(forge(&members[2], append, NULL), WIRE_OK);
    assert_int_equal(members[2].update.messages[0].sequence, 70);
    append.from = 3;
    append.term = 3;
    append.sequence = 4;
    assert_int_equal(forge(&members[2], append, NULL), WIRE_OK);
    assert_int_equal(members[2].update.messages[0].sequence, 4);
}

static void test_members_that_restart_refuse_votes(void **state)
{
    struct wire_peer_message ask = {
        .kind = WIRE_PEER_VOTE, .flags = WIRE_PEER_PRE_VOTE, .from = 3, .term = 9, .index = 50, .index_term = 8};
    struct member *m = &members[2];

    (void) state;
    boot(3);
    elect(&members[1]);
    pass(HEARTBEAT_MS);
    crash(m);
    start(m);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(forge(m, ask, NULL), WIRE_OK);
        assert_int_equal(m->update.message_count, 0);
        assert_int_equal(rg_term(m->group), 2);
        ask.flags = 0;
    }
    clock_ms += ELECTION_MS - 1;
    assert_int_equal(forge(m, ask, NULL), WIRE_OK);
    assert_int_equal(m->update.message_count, 0);
    clock_ms++;
    assert_int_equal(forge(m, ask, NULL), WIRE_OK);
    assert_int_equal(m->update.messages[0].flags, WIRE_PEER_GRANTED);
    assert_int_equal(rg_voted_for(m->group), 3);
    /* One that its leader has told to stand needs no patience. */
    crash(m);
    start(m);
    ask.term++;
    ask.flags = WIRE_PEER_DISRUPT;
    assert_int_equal(forge(m, ask, NULL), WIRE_OK);
    assert_int_equal(m->update.messages[0].flags, WIRE_PEER_GRANTED);
}

/* --- handing over --- */

static void test_transfer(void **state)
{
    (void) state;
    boot(3);
    assert_int_equal(transfer(&members[1], 2), WIRE_E_NOT_LEADER);
    elect(&members[1]);
    assert_int_equal(transfer(&members[1], 1), WIRE_E_MEMBERSHIP);
    assert_int_equal(transfer(&members[1], 4), WIRE_E_MEMBERSHIP);
    assert_true(lease(1) > clock_ms);
    assert_int_equal(transfer(&members[1], 3), WIRE_OK);
    assert_int_equal(lease(1), 0);
    assert_int_equal(submit(&members[1], 1), WIRE_E_NOT_LEADER);
    assert_int_equal(transfer(&members[1], 2), WIRE_E_NOT_LEADER);
    assert_int_equal(change(&members[1], with(voters_of(3), 4, WIRE_MEMBER_LEARNER)), WIRE_E_NOT_LEADER);
    deliver();
    assert_int_equal(rg_role(members[3].group), RG_LEADER);
    assert_int_equal(rg_role(members[1].group), RG_FOLLOWER);
    assert_int_equal(transfer(&members[3], 0), WIRE_OK);
    deliver();
    assert_int_equal(rg_role(members[3].group), RG_FOLLOWER);
    shut();
    boot(1);
    assert_int_equal(transfer(&members[1], 0), WIRE_E_MEMBERSHIP);
}

/* Who was told to stand may do so for as long as the message is on its way: no lease before it has echoed a later one,
 * however many others have. */
static void test_no_lease_while_one_may_stand(void **state)
{
    (void) state;
    boot(3);
    elect(&members[1]);
    assert_true(lease(1) > clock_ms);
    cut[1][3] = true;
    assert_int_equal(transfer(&members[1], 3), WIRE_OK);
    assert_int_equal(lease(1), 0);
    for (int i = 0; i < 30; i++) {
        clock_ms += HEARTBEAT_MS;
        time_out(&members[1]);
        deliver();
        assert_int_equal(lease(1), 0);
    }
    assert_int_equal(submit(&members[1], 1), WIRE_OK);
    deliver();
    assert_int_equal(lease(1), 0);
    cut[1][3] = false;
    clock_ms += HEARTBEAT_MS;
    time_out(&members[1]);
    deliver();
    assert_int_equal(lease(1), clock_ms + LEASE_MS);
}

/* One that never was told is no danger: after the end of the transfer a new round is enough. */
static void test_lease_after_a_transfer_that_failed(void **state)
{
    (void) state;
    boot(3);
    elect(&members[1]);
    isolate(3, true);
    assert_int_equal(submit(&members[1], 1), WIRE_OK);
    deliver();
    assert_int_equal(transfer(&members[1], 3), WIRE_OK);
    assert_int_equal(lease(1), 0);
    clock_ms += ELECTION_MS / 2;
    time_out(&members[1]);
    deliver();
    assert_int_equal(lease(1), 0);
    clock_ms += ELECTION_MS / 2;
    time_out(&members[1]);
    assert_int_equal(lease(1), 0);
    deliver();
    clock_ms += HEARTBEAT_MS;
    time_out(&members[1]);
    deliver();
    assert_int_equal(lease(1), clock_ms + LEASE_MS);
}

/* The leave to disturb is of one term: later leaders have leases of their own. */
static void test_one_disturbs_once(void **state)
{
    bool disturbs = false;

    (void) state;
    boot(3);
    elect(&members[1]);
    pass(HEARTBEAT_MS);
    assert_int_equal(transfer(&members[1], 3), WIRE_OK);
    cut[3][1] = cut[3][2] = true;
    deliver();
    for (size_t i = 0; i < members[3].update.message_count; i++)
        disturbs |= members[3].update.messages[i].flags == WIRE_PEER_DISRUPT;
    assert_true(disturbs);
    assert_int_equal(rg_term(members[3].group), 3);
    for (int i = 0; i < 5; i++) {
        clock_ms += 2 * ELECTION_MS;
        time_out(&members[3]);
        assert_int_equal(members[3].update.message_count, 2);
        assert_int_equal(members[3].update.messages[0].flags, WIRE_PEER_PRE_VOTE);
    }
    assert_int_equal(rg_term(members[3].group), 3);
}

/* --- questions --- */

static uint64_t ask(struct member *m)
{
    struct rg_update update;
    uint64_t sequence = 0;

    assert_int_equal(rg_probe(m->group, clock_ms, &sequence, &update), WIRE_OK);
    absorb(m, &update);
    return sequence;
}

static void test_probe(void **state)
{
    uint64_t first, second;
    struct rg_update update;

    (void) state;
    boot(5);
    assert_int_equal(rg_probe(members[1].group, clock_ms, &first, &update), WIRE_E_NOT_LEADER);
    elect(&members[1]);
    first = ask(&members[1]);
    assert_int_equal(queue_count, 4);
    assert_true(rg_confirmed(members[1].group) < first);
    deliver_one();
    deliver_one();
    cut[1][4] = cut[1][5] = true;
    deliver();
    assert_int_equal(rg_confirmed(members[1].group), first);
    cut[1][3] = true;
    second = ask(&members[1]);
    assert_true(second > first);
    deliver();
    assert_int_equal(rg_confirmed(members[1].group), first);
    cut[1][3] = false;
    second = ask(&members[1]);
    deliver();
    assert_int_equal(rg_confirmed(members[1].group), second);
    assert_int_equal(rg_confirmed(members[2].group), 0);
}

static void test_probe_of_a_sole_voter(void **state)
{
    uint64_t sequence;

    (void) state;
    boot(1);
    sequence = ask(&members[1]);
    assert_int_equal(rg_confirmed(members[1].group), sequence);
}

static void test_probe_needs_a_settled_term(void **state)
{
    uint64_t sequence;
    struct rg_update update;

    (void) state;
    boot(3);
    members[1].holds = members[2].holds = members[3].holds = true;
    elect(&members[1]);
    assert_int_equal(rg_probe(members[1].group, clock_ms, &sequence, &update), WIRE_E_NOT_LEADER);
}

/* Only followers of this leader in this term answer, and only their answers count. */
static void test_probes_of_others(void **state)
{
    struct wire_peer_message probe = {.kind = WIRE_PEER_PROBE, .from = 3, .term = 2, .sequence = 4};
    uint64_t sequence;

    (void) state;
    boot(3);
    elect(&members[1]);
    assert_int_equal(forge(&members[2], probe, NULL), WIRE_OK);
    assert_int_equal(members[2].update.message_count, 0);
    probe.from = 1;
    probe.term = 3;
    assert_int_equal(forge(&members[2], probe, NULL), WIRE_OK);
    assert_int_equal(members[2].update.message_count, 0);
    probe.term = 1;
    assert_int_equal(forge(&members[2], probe, NULL), WIRE_OK);
    assert_int_equal(members[2].update.message_count, 0);
    probe.from = 2;
    assert_int_equal(forge(&members[1], probe, NULL), WIRE_OK);
    assert_int_equal(members[1].update.message_count, 0);
    sequence = ask(&members[1]);
    drop_queue();
    probe.kind = WIRE_PEER_PROBE_RESULT;
    probe.sequence = sequence;
    probe.term = 1;
    assert_int_equal(forge(&members[1], probe, NULL), WIRE_OK);
    assert_true(rg_confirmed(members[1].group) < sequence);
    probe.term = 2;
    probe.from = 4;
    assert_int_equal(forge(&members[1], probe, NULL), WIRE_OK);
    assert_true(rg_confirmed(members[1].group) < sequence);
    probe.from = 2;
    probe.sequence = sequence + 1;
    assert_int_equal(forge(&members[1], probe, NULL), WIRE_OK);
    assert_true(rg_confirmed(members[1].group) < sequence);
    probe.sequence = sequence;
    assert_int_equal(forge(&members[1], probe, NULL), WIRE_OK);
    assert_int_equal(rg_confirmed(members[1].group), sequence);
}

/* A follower that has lost patience answers no more. */
static void test_no_answer_without_a_leader(void **state)
{
    struct wire_peer_message probe = {.kind = WIRE_PEER_PROBE, .from = 1, .term = 2, .sequence = 4};

    (void) state;
    boot(3);
    elect(&members[1]);
    assert_int_equal(forge(&members[2], probe, NULL), WIRE_OK);
    assert_int_equal(members[2].update.messages[0].kind, WIRE_PEER_PROBE_RESULT);
    assert_int_equal(members[2].update.messages[0].sequence, 4);
    drop_queue();
    clock_ms += 2 * ELECTION_MS;
    time_out(&members[2]);
    drop_queue();
    assert_int_equal(forge(&members[2], probe, NULL), WIRE_OK);
    assert_int_equal(members[2].update.message_count, 0);
}

/* --- the bookkeeping --- */

static void test_ring_of_numbers(void **state)
{
    struct rg_lease l = {.node = 1, .lease_ms = 100};
    struct wire_configuration c = voters_of(3);
    uint64_t early, late = 0;

    (void) state;
    rg_lease_begin(&l, &c);
    assert_int_equal(rg_lease_end(&l), 0);
    early = rg_lease_send(&l, 1000);
    for (uint64_t ms = 1000; ms < 3000; ms++)
        for (int i = 0; i < 3; i++)
            late = rg_lease_send(&l, ms);
    /* Forgotten long ago: worth nothing. */
    rg_lease_echo(&l, 2, early, 3000);
    assert_int_equal(rg_lease_end(&l), 0);
    /* Rounded down, by less than a sixteenth of a lease and never up. */
    rg_lease_echo(&l, 2, late - 3 * 50, 3000);
    assert_true(rg_lease_end(&l) <= 2949 + 100 && rg_lease_end(&l) > 2949 + 100 - 100 / 16 - 1);
    rg_lease_echo(&l, 3, late, 3000);
    assert_true(rg_lease_end(&l) <= 2999 + 100 && rg_lease_end(&l) > 2999 + 100 - 100 / 16 - 1);
    /* Never back. */
    rg_lease_echo(&l, 3, late - 3 * 90, 3000);
    assert_true(rg_lease_end(&l) > 2999 + 100 - 100 / 16 - 1);
}

static void test_members_come_and_go(void **state)
{
    struct rg_lease l = {.node = 1, .lease_ms = 100};
    struct wire_configuration c = voters_of(3);

    (void) state;
    rg_lease_begin(&l, &c);
    rg_lease_echo(&l, 2, rg_lease_send(&l, 50), 50);
    assert_int_equal(rg_lease_end(&l), 150);
    c = voters_of(4);
    rg_lease_members(&l, &c);
    assert_int_equal(rg_lease_end(&l), 0);
    rg_lease_echo(&l, 4, rg_lease_send(&l, 70), 70);
    assert_int_equal(rg_lease_end(&l), 150);
    /* Told to stand, and then no member any more: it can still disturb. */
    rg_lease_told(&l, 4);
    assert_int_equal(rg_lease_end(&l), 0);
    c = voters_of(3);
    rg_lease_members(&l, &c);
    rg_lease_echo(&l, 2, rg_lease_send(&l, 90), 90);
    rg_lease_echo(&l, 3, rg_lease_send(&l, 90), 90);
    assert_int_equal(rg_lease_end(&l), 0);
    rg_lease_begin(&l, &c);
    rg_lease_echo(&l, 3, rg_lease_send(&l, 99), 99);
    assert_int_equal(rg_lease_end(&l), 199);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RULE(test_lease_of_a_sole_voter),
        RULE(test_lease_needs_a_settled_term),
        RULE(test_lease_counts_from_sending),
        RULE(test_lease_needs_a_majority),
        RULE(test_lease_counts_voters),
        RULE(test_echoes_that_cannot_be),
        RULE(test_echoes_begin_anew_with_a_term),
        RULE(test_members_that_restart_refuse_votes),
        RULE(test_transfer),
        RULE(test_no_lease_while_one_may_stand),
        RULE(test_lease_after_a_transfer_that_failed),
        RULE(test_one_disturbs_once),
        RULE(test_probe),
        RULE(test_probe_of_a_sole_voter),
        RULE(test_probe_needs_a_settled_term),
        RULE(test_probes_of_others),
        RULE(test_no_answer_without_a_leader),
        RULE(test_ring_of_numbers),
        RULE(test_members_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
