/*
 * What ends or spills transactions: COMMIT in one entry and in several, prepare and decide, SPILL, ABORT, settling;
 * what a restart makes of them.
 */
#include "partition_node.h"

/* ---- commits ---- */

static void test_commit_small(void **state)
{
    struct node *node = node_ready();
    uint64_t before;
    uint64_t last;

    (void) state;
    assert_int_equal(put(node, 1, 10), WIRE_OK);
    assert_int_equal(put(node, 5, 50), WIRE_OK);
    before = node->version;
    assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 1, 5)), WIRE_OK);
    last = node_last(node);
    node_begin(node, WIRE_COMMIT, alice);
    wire_write_u64(&sim_request, 0);
    sim_count(3);
    sim_effect(sim_key(node->storage, 1), sim_item(11, 0));
    sim_effect(sim_key(node->storage, 2), sim_item(12, 0));
    sim_effect(sim_key(node->storage, 5), none);
    assert_int_equal(node_call(node, sim_end()), WIRE_OK);
    assert_int_equal(node_last(node), last + 1);
    assert_true(wire_read_u64(&node_reply(node)->body) == node->version);
    assert_int_equal(value_of_key(node, 1), 11);
    assert_int_equal(value_of_key(node, 2), 12);
    assert_true(value_of_key(node, 5) == ABSENT);
    assert_int_equal(value_at(node, 1, before), 10);
    assert_int_equal(value_at(node, 5, before), 50);
    assert_int_equal(node_status(node).locks, 0);
    /* Locks only: nothing is logged. */
    assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 1, 5)), WIRE_OK);
    last = node_last(node);
    assert_int_equal(commit_spilled(node, ALICE, 0), WIRE_OK);
    assert_int_equal(node_last(node), last);
    assert_int_equal(node_status(node).locks, 0);
    node_free(node);
}

static void test_commit_refusals(void **state)
{
    struct node *node = node_ready();
    uint64_t stranger = WIRE_TRANSACTION_BIT | 77;
    struct who who = alice;
    uint64_t last;

    (void) state;
    assert_int_equal(lock_key(node, ALICE, 1, 1), WIRE_OK);
    last = node_last(node);
    assert_int_equal(node_call(node, commit_request(node, alice, 0, 1, 2, 5, 0)), WIRE_E_NOT_LOCKED);
    assert_int_equal(node_reply(node)->detail, 1);
    assert_int_equal(wire_reader_left(&node_reply(node)->body), 0);
    assert_int_equal(node_call(node, commit_request(node, bob, 0, 1, 1, 5, 0)), WIRE_E_NOT_LOCKED);
    node_begin(node, WIRE_COMMIT, alice);
    wire_write_u64(&sim_request, 0);
    sim_count(2);
    sim_effect(sim_key(node->storage, 1), sim_item(1, 0));
    sim_effect(sim_key(node->storage, 1), none);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_DUPLICATE);
    who.transactions = &stranger;
    who.count = 1;
    assert_int_equal(node_call(node, commit_request(node, who, 0, 1, 1, 5, 0)), WIRE_E_NO_TRANSACTION);
    assert_int_equal(node_call(node, spill_request(node, alice, stranger, 1, 1, 5, 0)), WIRE_E_NO_TRANSACTION);
    assert_int_equal(wire_reader_left(&node_reply(node)->body), 0);
    assert_int_equal(node_call(node, spill_request(node, alice, 0, 1, 0, 5, 0)), WIRE_E_BAD_FORMAT);
    assert_int_equal(node_last(node), last);
    assert_int_equal(node_status(node).locks, 1); /* still there: it may try again */
    assert_int_equal(node_call(node, commit_request(node, alice, 0, 1, 1, 5, 0)), WIRE_OK);
    node_free(node);
}

/* Sizes around what one entry holds, byte by byte where it matters. */
static void test_commit_sizes(void **state)
{
    struct node *node = node_ready();
    size_t steps[] = {1, 40, 56, 64, 88, 100, 120, 121, 152, 153, 184, 200, 300};

    (void) state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        size_t padding = WIRE_ENTRY_MAX - 700 * 1024 - steps[i] - 150;

        assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 1, 2)), WIRE_OK);
        for (size_t more = 0; more < 32; more += 31) {
            assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 1, 2)), WIRE_OK);
            node_begin(node, WIRE_COMMIT, alice);
            wire_write_u64(&sim_request, 0);
            sim_count(2);
            sim_effect(sim_key(node->storage, 1), sim_item((int64_t) i, 700 * 1024));
            sim_effect(sim_key(node->storage, 2), sim_item((int64_t) i + 100, padding + more));
            assert_int_equal(node_call(node, sim_end()), WIRE_OK);
            assert_int_equal(value_of_key(node, 1), i);
            assert_int_equal(value_of_key(node, 2), i + 100);
        }
    }
    for (size_t size = 348200 - 400; size < 348200; size += 7) {
        assert_int_equal(lock_and_commit(node, ALICE, 0, 5, 3, 9, size), WIRE_OK);
        assert_int_equal(value_of_key(node, 7), 11);
    }
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_status(node).transactions, 0);
    node_free(node);
}

static void commit_large(uint64_t settle_keys_max)
{
    struct node *node = node_new();
    uint64_t before;
    uint64_t last;

    node->settle_keys_max = settle_keys_max;
    assert_int_equal(node_open(node), WIRE_OK);
    node->storage = new_storage(node, "relation");
    for (int64_t i = 0; i < 100; i += 2)
        assert_int_equal(put(node, i, 1000 + i), WIRE_OK);
    before = node->version;
    last = node_last(node);
    assert_int_equal(lock_and_commit(node, ALICE, 0, 0, 100, 5000, 60 * 1024), WIRE_OK);
    assert_true(node_last(node) > last + 5);
    for (int round = 0; round < 3; round++) {
        for (int64_t i = 0; i < 100; i++) {
            assert_int_equal(value_of_key(node, i), 5000 + i);
            assert_true(value_at(node, i, before) == (i % 2 ? ABSENT : 1000 + i));
        }
        if (round == 0)
            assert_int_equal(node_quiesce(node), WIRE_OK);
        if (round == 1)
            assert_int_equal(node_restart(node, true), WIRE_OK);
    }
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_status(node).transactions, settle_keys_max < 100 ? 1 : 0);
    /* Its images go on to be superseded in the usual way. */
    before = node->version;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    assert_int_equal(drop(node, 2), WIRE_OK);
    assert_int_equal(value_at(node, 1, before), 5001);
    assert_int_equal(value_at(node, 2, before), 5002);
    assert_int_equal(value_of_key(node, 1), 1);
    assert_true(value_of_key(node, 2) == ABSENT);
    /* Deleting in large, too. */
    assert_int_equal(lock_and_commit(node, ALICE, 7, 0, 100, ABSENT, 0), WIRE_OK);
    assert_int_equal(value_of_key(node, 50), 5050);
    assert_int_equal(node_call(node, decide_request(node, 7, 1)), WIRE_OK);
    for (int64_t i = 0; i < 100; i++)
        assert_true(value_of_key(node, i) == ABSENT);
    assert_int_equal(put(node, 3, 3), WIRE_OK);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    for (int64_t i = 0; i < 100; i++)
        assert_true(value_of_key(node, i) == (i == 3 ? 3 : ABSENT));
    node_free(node);
}

static void test_commit_large_settled(void **state)
{
    (void) state;
    commit_large(UINT64_MAX);
}

static void test_commit_large_unsettled(void **state)
{
    (void) state;
    commit_large(10);
}

/* ---- prepare and decide ---- */

static void test_decide(void **state)
{
    struct node *node = node_ready();
    uint64_t before;

    (void) state;
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(put(node, i, 10 + i), WIRE_OK);
    before = node->version;
    assert_int_equal(lock_and_commit(node, ALICE, 500, 0, 2, 100, 0), WIRE_OK);
    assert_int_equal(wire_read_u64(&node_reply(node)->body), 0);
    assert_int_equal(lock_and_commit(node, BOB, 400, 2, 2, 200, 0), WIRE_OK);
    assert_int_equal(sb_partition_prepared(node->partition, 0), 400);
    assert_int_equal(sb_partition_prepared(node->partition, 400), 500);
    assert_int_equal(sb_partition_prepared(node->partition, 500), 0);
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(value_of_key(node, i), 10 + i);
    /* Prepared intents are locks, of their former owner too. */
    assert_int_equal(lock_key(node, ALICE, 1, 0), WIRE_E_LOCKED);
    assert_int_equal(put(node, 2, 1), WIRE_E_LOCKED);
    assert_int_equal(node_call(node, decide_request(node, 600, 1)), WIRE_E_NO_TRANSACTION);
    assert_int_equal(node_call(node, decide_request(node, 500, 1)), WIRE_OK);
    assert_true(wire_read_u64(&node_reply(node)->body) == node_reply(node)->snapshot);
    assert_int_equal(node_call(node, decide_request(node, 400, 0)), WIRE_OK);
    assert_int_equal(node_call(node, decide_request(node, 400, 1)), WIRE_E_NO_TRANSACTION);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(value_of_key(node, 0), 100);
        assert_int_equal(value_of_key(node, 1), 101);
        assert_int_equal(value_of_key(node, 2), 12);
        assert_int_equal(value_of_key(node, 3), 13);
        for (int64_t i = 0; i < 4; i++)
            assert_int_equal(value_at(node, i, before), 10 + i);
        assert_int_equal(node_quiesce(node), WIRE_OK);
    }
    assert_int_equal(node_status(node).transactions, 0);
    assert_int_equal(put(node, 2, 1), WIRE_OK);
    node_free(node);
}

/* The decision may come before the prepare is durable, and a crash between the two leaves the transaction prepared. */
static void test_prepared_survives(void **state)
{
    struct node *node = node_ready();

    (void) state;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    assert_int_equal(lock_and_commit(node, ALICE, 500, 1, 2, 100, 0), WIRE_OK);
    (void) node_submit(node, decide_request(node, 500, 1));
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(sb_partition_prepared(node->partition, 0), 500);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(value_of_key(node, 1), 1);
    assert_int_equal(put(node, 1, 9), WIRE_E_LOCKED);
    assert_int_equal(node_call(node, decide_request(node, 500, 1)), WIRE_OK);
    assert_int_equal(value_of_key(node, 1), 100);
    assert_int_equal(value_of_key(node, 2), 101);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(sb_partition_prepared(node->partition, 0), 0);
    assert_int_equal(value_of_key(node, 2), 101);
    node_free(node);
}

/* ---- spilling ---- */

static void test_spill(void **state)
{
    struct node *node = node_ready();
    uint64_t before;
    uint64_t id;
    struct who who = alice;

    (void) state;
    for (int64_t i = 0; i < 10; i++)
        assert_int_equal(put(node, i, i), WIRE_OK);
    before = node->version;
    id = spill(node, ALICE, 0, 0, 5, 100, 0);
    assert_int_equal(node_status(node).locks, 0); /* the intents are the locks */
    assert_int_equal(put(node, 0, 1), WIRE_E_LOCKED);
    assert_int_equal(lock_key(node, BOB, 1, 4), WIRE_E_LOCKED);
    assert_true(spill(node, ALICE, id, 5, 5, 105, 0) == id);
    for (int64_t i = 0; i < 10; i++) {
        assert_int_equal(value_of_key(node, i), i);
        assert_int_equal(value_at(node, i, before), i);
        assert_int_equal(own_value(node, i, id), 100 + i);
    }
    /* An own intent is evaluated against, and rewritten only by who may see it. */
    assert_int_equal(
        node_call(node, write_request(node, alice, WIRE_WRITE_UPDATE, 0, 3, sim_update(203), sim_equals(103))),
        WIRE_OK);
    assert_int_equal(node_call(node, spill_request(node, alice, 0, 3, 1, 203, 0)), WIRE_E_TRANSACTION_EXISTS);
    assert_int_equal(node_call(node, commit_request(node, alice, 0, 3, 1, 203, 0)), WIRE_E_TRANSACTION_EXISTS);
    who.transactions = &id;
    who.count = 1;
    assert_int_equal(node_call(node, spill_request(node, who, id, 3, 1, 203, 0)), WIRE_OK);
    wire_read_u64(&node_reply(node)->body);
    assert_int_equal(wire_read_u8(&node_reply(node)->body), 1);
    assert_int_equal(node_call(node, await_request(node, ALICE, id)), WIRE_OK);
    assert_int_equal(own_value(node, 3, id), 203);
    assert_int_equal(value_of_key(node, 3), 3);
    /* Without a lock, by the intent alone; a key twice is noticed. */
    node_begin(node, WIRE_SPILL, who);
    wire_write_u64(&sim_request, id);
    sim_count(2);
    sim_effect(sim_key(node->storage, 4), sim_item(1, 0));
    sim_effect(sim_key(node->storage, 4), sim_item(2, 0));
    assert_int_equal(node_call(node, sim_end()), WIRE_E_DUPLICATE);
    assert_int_equal(node_call(node, spill_request(node, who, id, 4, 1, ABSENT, 0)), WIRE_OK);
    assert_int_equal(node_call(node, await_request(node, ALICE, id)), WIRE_OK);
    assert_true(own_value(node, 4, id) == ABSENT);
    assert_int_equal(node_call(node, spill_request(node, bob, 0, 4, 1, 1, 0)), WIRE_E_NOT_LOCKED);
    /* A bare write of the same owner must not get ahead of the transaction. */
    assert_int_equal(
        node_call(node, write_request(node, (struct who){.owner = ALICE}, WIRE_WRITE_PUT, 0, 4, sim_item(1, 0), none)),
        WIRE_E_TRANSACTION_EXISTS);
    /* The commit may bring newer versions of its own intents, and others. */
    assert_int_equal(lock_key(node, ALICE, 1, 10), WIRE_OK);
    node_begin(node, WIRE_COMMIT, who);
    wire_write_u64(&sim_request, 0);
    sim_count(3);
    sim_effect(sim_key(node->storage, 0), sim_item(300, 0));
    sim_effect(sim_key(node->storage, 1), none);
    sim_effect(sim_key(node->storage, 10), sim_item(310, 0));
    assert_int_equal(node_call(node, sim_end()), WIRE_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(value_of_key(node, 0), 300);
        assert_true(value_of_key(node, 1) == ABSENT);
        assert_int_equal(value_of_key(node, 2), 102);
        assert_int_equal(value_of_key(node, 3), 203);
        assert_true(value_of_key(node, 4) == ABSENT);
        assert_int_equal(value_of_key(node, 9), 109);
        assert_int_equal(value_of_key(node, 10), 310);
        for (int64_t i = 0; i < 10; i++)
            assert_int_equal(value_at(node, i, before), i);
        assert_int_equal(node_quiesce(node), WIRE_OK);
    }
    assert_int_equal(node_status(node).transactions, 0);
    assert_int_equal(node_status(node).locks, 0);
    node_free(node);
}

/* A spill is answered before it is durable, a wait for it and a commit behind it are not; a crash takes all of it. */
static void test_spill_is_answered_early(void **state)
{
    struct node *node = node_ready();
    uint64_t id = 0;
    uint64_t lost = 0;
    struct who who = {.owner = ALICE, .subtransaction = 1, .transactions = &id, .count = 1};
    uint64_t spilled;
    uint64_t await;
    uint64_t commit;

    (void) state;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 1, 2)), WIRE_OK);
        spilled = node_submit(node, spill_request(node, alice, 0, 1, 1, 100, 0));
        assert_int_equal(node_result(node, spilled), WIRE_OK);
        id = wire_read_u64(&node_answer(node, spilled)->reply.body);
        assert_true(wire_version_is_transaction(id) && id > lost);
        await = node_submit(node, await_request(node, ALICE, id));
        spilled = node_submit(node, spill_request(node, who, id, 2, 1, 200, 0));
        assert_int_equal(node_result(node, spilled), WIRE_OK);
        /* Others meet the intent in flight, readers do not. */
        assert_int_equal(put(node, 1, 5), WIRE_E_LOCKED);
        assert_true(own_value(node, 1, id) == ABSENT);
        assert_false(node_answered(node, await));
        commit = node_submit(node, commit_request(node, who, 0, 0, 0, 0, 0));
        assert_int_equal(node_durable(node, node_last(node) - 2), WIRE_OK);
        assert_int_equal(node_result(node, await), WIRE_OK);
        assert_int_equal(own_value(node, 1, id), 100);
        assert_false(node_answered(node, commit));
        if (round == 0) {
            lost = id + 1000; /* whatever was told of before a crash may be lost: no number comes again */
            assert_int_equal(node_restart(node, true), WIRE_OK);
            assert_true(value_of_key(node, 1) == ABSENT);
            assert_true(value_of_key(node, 2) == ABSENT);
        }
    }
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_result(node, commit), WIRE_OK);
    assert_int_equal(value_of_key(node, 1), 100);
    assert_int_equal(value_of_key(node, 2), 200);
    node_free(node);
}

/* Who waits for a spill must have one: his own, undecided. */
static void test_await_names_own(void **state)
{
    struct node *node = node_ready();
    uint64_t id = spill(node, ALICE, 0, 1, 1, 100, 0);

    (void) state;
    assert_int_equal(node_call(node, await_request(node, BOB, id)), WIRE_E_NO_TRANSACTION);
    assert_int_equal(node_call(node, await_request(node, ALICE, id + 1)), WIRE_E_NO_TRANSACTION);
    assert_int_equal(node_call(node, await_request(node, ALICE, 0)), WIRE_E_BAD_FORMAT);
    assert_int_equal(commit_spilled(node, ALICE, id), WIRE_OK);
    assert_int_equal(node_call(node, await_request(node, ALICE, id)), WIRE_E_NO_TRANSACTION);
    node_free(node);
}

/* With a quarter of the limit in flight a spill waits, so that others find room; on a full disk it is refused, and so
 * is who found none, but for an abort. */
static void test_spills_leave_room(void **state)
{
    struct node *node;
    uint64_t tokens[4];
    uint64_t large;
    uint64_t deferred;
    uint64_t id = 0;

    (void) state;
    node = node_new();
    node->max_in_flight_bytes = 80000;
    assert_int_equal(node_open(node), WIRE_OK);
    node->storage = new_storage(node, "t");
    assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 0, 4)), WIRE_OK);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) {
            struct who who = {.owner = ALICE, .subtransaction = 1, .transactions = &id, .count = id ? 1 : 0};

            tokens[i] = node_submit(node, spill_request(node, who, id, i, 1, 100, 9000));
            assert_true(node_answered(node, tokens[i]) == (i < 3));
            if (id == 0)
                id = wire_read_u64(&node_answer(node, tokens[i])->reply.body);
        }
        if (round == 0) {
            /* Three are in flight; when the first is applied there is room for the fourth. */
            assert_int_equal(node_durable(node, node_last(node) - 2), WIRE_OK);
            assert_int_equal(node_result(node, tokens[3]), WIRE_OK);
            assert_int_equal(node_quiesce(node), WIRE_OK);
        }
    }
    /* No room at all: what is in flight waits on a full disk, what is not evaluated does not. */
    large = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 20, sim_item(1, 60000), none));
    (void) node_fetched(node);
    deferred = node_submit(node, put_request(node, 21, 1));
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_FULL}), WIRE_OK);
    assert_int_equal(node_result(node, tokens[3]), WIRE_E_DISK_FULL);
    assert_int_equal(node_result(node, deferred), WIRE_E_DISK_FULL);
    assert_int_equal(node_result(node, node_submit(node, abort_request(node, ALICE, id))), WIRE_OK);
    assert_false(node_answered(node, large));
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_result(node, large), WIRE_OK);
    assert_int_equal(node_status(node).parked, 0);
    assert_int_equal(node_status(node).locks, 0);
    for (int64_t i = 0; i < 4; i++)
        assert_true(value_of_key(node, i) == ABSENT);
    node_free(node);
}

static void test_abort_spilled(void **state)
{
    struct node *node = node_ready();
    uint64_t before;
    uint64_t id;
    uint64_t token;

    (void) state;
    for (int64_t i = 0; i < 6; i++)
        assert_int_equal(put(node, i, i), WIRE_OK);
    before = node->version;
    id = spill(node, ALICE, 0, 0, 8, 100, 0);
    assert_int_equal(node_call(node, abort_request(node, BOB, id)), WIRE_E_NO_TRANSACTION);
    token = node_submit(node, abort_request(node, ALICE, id));
    assert_int_equal(node_result(node, token), WIRE_OK); /* no wait */
    /* Free at once: written over before anything is undone. */
    token = node_submit(node, put_request(node, 0, 50));
    (void) node_submit(node, drop_request(node, 1));
    (void) node_submit(node,
                       write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 2, sim_update(52), sim_equals(2)));
    (void) node_submit(
        node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_MUST_NOT_EXIST, 6, sim_item(56, 0), none));
    (void) node_submit(node, drop_request(node, 7));
    for (int round = 0; round < 3; round++) {
        if (round == 1)
            assert_int_equal(node_quiesce(node), WIRE_OK);
        if (round == 2)
            assert_int_equal(node_restart(node, true), WIRE_OK);
        if (round > 0) {
            assert_int_equal(value_of_key(node, 0), 50);
            assert_true(value_of_key(node, 1) == ABSENT);
            assert_int_equal(value_of_key(node, 2), 52);
            assert_int_equal(value_of_key(node, 6), 56);
        }
        assert_int_equal(value_of_key(node, 3), 3);
        assert_true(value_of_key(node, 7) == ABSENT);
        for (int64_t i = 0; i < 8; i++)
            assert_true(value_at(node, i, before) == (i < 6 ? i : ABSENT));
    }
    assert_int_equal(node_result(node, token), WIRE_OK);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_status(node).transactions, 0);
    assert_int_equal(drop(node, 3), WIRE_OK);
    assert_int_equal(value_at(node, 3, before), 3);
    node_free(node);
}

/* An intent that is in flight when its transaction is aborted: who needs the key waits until that is applied. */
static void test_abort_in_flight(void **state)
{
    struct node *node = node_ready();
    uint64_t id;
    uint64_t token;

    (void) state;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 1, 1)), WIRE_OK);
    token = node_submit(node, spill_request(node, alice, 0, 1, 1, 100, 0));
    id = wire_read_u64(&node_answer(node, token)->reply.body);
    (void) node_submit(node, abort_request(node, ALICE, id));
    assert_int_equal(node_result(node, node->token), WIRE_OK);
    token =
        node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 1, sim_update(5), sim_equals(1)));
    assert_int_equal(node_status(node).parked, 1);
    assert_int_equal(node_durable(node, node_last(node) - 1), WIRE_OK);
    assert_false(node_answered(node, token));
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_result(node, token), WIRE_OK);
    assert_int_equal(value_of_key(node, 1), 5);
    assert_int_equal(node_status(node).parked, 0);
    node_free(node);
}

/* A crash aborts what was pending; many of them, in one start. */
static void test_restart_aborts_pending(void **state)
{
    struct node *node = node_ready();
    uint64_t before;

    (void) state;
    for (int64_t i = 0; i < 40; i++)
        assert_int_equal(put(node, i, i), WIRE_OK);
    assert_int_equal(node->store.flush(node->store.self, &node->fault), WIRE_OK);
    before = node->version;
    for (int64_t i = 0; i < 20; i++)
        (void) spill(node, ALICE + (uint64_t) i, 0, 2 * i, 2, 100, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(node_restart(node, true), WIRE_OK);
        for (int64_t key = 0; key < 40; key++)
            assert_int_equal(value_of_key(node, key), key);
        if (i == 0)
            assert_int_equal(put(node, 1, 50), WIRE_OK);
        assert_int_equal(node_quiesce(node), WIRE_OK);
        assert_int_equal(node_status(node).transactions, 0);
        assert_int_equal(put(node, 1, 1), WIRE_OK);
        for (int64_t key = 0; key < 40; key++) {
            assert_int_equal(value_of_key(node, key), key);
            assert_int_equal(value_at(node, key, before), key);
        }
    }
    node_free(node);
}

/* Settling goes on in small entries, and starts over after a crash in the middle. */
static void test_settle_in_pieces(void **state)
{
    struct node *node = node_ready();
    uint64_t id = spill(node, ALICE, 0, 0, 1000, 0, 0);
    uint64_t last;

    (void) state;
    assert_int_equal(commit_spilled(node, ALICE, id), WIRE_OK);
    last = node_last(node);
    for (int i = 0; i < 2; i++)
        assert_int_equal(node_sync(node), WIRE_OK);
    assert_int_equal(node->store.flush(node->store.self, &node->fault), WIRE_OK);
    assert_int_equal(node_status(node).transactions, 1);
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_status(node).transactions, 0);
    assert_true(node_last(node) >= last + 4);
    for (int64_t i = 0; i < 1000; i += 37)
        assert_int_equal(value_of_key(node, i), i);
    node_free(node);
}

/* ---- locks of prepared transactions ---- */

/* Locks on keys that a prepared transaction did not write last until the decision. */
static void test_prepared_keeps_locks(void **state)
{
    struct node *node = node_ready();

    (void) state;
    for (uint8_t commit = 0; commit < 2; commit++) {
        assert_int_equal(lock_key(node, ALICE, 1, 50), WIRE_OK);
        assert_int_equal(lock_and_commit(node, ALICE, 500, 1, 2, 100, 0), WIRE_OK);
        assert_int_equal(lock_key(node, BOB, 1, 50), WIRE_E_LOCKED);
        assert_int_equal(lock_key(node, BOB, 1, 1), WIRE_E_LOCKED);
        /* Its former owner cannot add to it. */
        assert_int_equal(node_call(node, commit_request(node, alice, 0, 1, 1, 5, 0)), WIRE_E_NOT_LOCKED);
        assert_int_equal(node_call(node, commit_request(node, alice, 501, 1, 1, 5, 0)), WIRE_E_NOT_LOCKED);
        assert_int_equal(node_call(node, spill_request(node, alice, 0, 1, 1, 5, 0)), WIRE_E_NOT_LOCKED);
        assert_int_equal(node_call(node, decide_request(node, 500, commit)), WIRE_OK);
        assert_int_equal(node_status(node).locks, 0);
        assert_int_equal(lock_key(node, BOB, 1, 50), WIRE_OK);
        assert_int_equal(node_call(node, abort_request(node, BOB, 0)), WIRE_OK);
        assert_true(value_of_key(node, 1) == (commit ? 100 : ABSENT));
    }
    /* What prepared nothing will not be decided: its locks go at once. */
    assert_int_equal(lock_key(node, ALICE, 1, 50), WIRE_OK);
    assert_int_equal(node_call(node, commit_request(node, alice, 502, 0, 0, 0, 0)), WIRE_OK);
    assert_int_equal(node_status(node).locks, 0);
    node_free(node);
}

/* A lock that a commit in flight released is granted when the commit is applied, not before, also if the key was not
 * written. */
static void test_released_by_commit_in_flight(void **state)
{
    struct node *node = node_ready();
    uint64_t commit;
    uint64_t lock;

    (void) state;
    assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 1, 2)), WIRE_OK);
    commit = node_submit(node, commit_request(node, alice, 0, 1, 1, 100, 0));
    lock = node_submit(node, lock_request(node, BOB, 1, 2, 1));
    assert_false(node_answered(node, commit) || node_answered(node, lock));
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_int_equal(node_result(node, commit), WIRE_OK);
    assert_int_equal(node_result(node, lock), WIRE_OK);
    node_free(node);
}

/* The inner subtransaction spills a key that the outer one has locked: the lock stays, and knows of the intent. */
static void test_spill_under_outer_lock(void **state)
{
    struct node *node = node_ready();
    struct who inner = {.owner = ALICE, .subtransaction = 2};
    struct who who = alice;
    uint64_t id;

    (void) state;
    for (uint64_t decider = 0; decider < 2; decider++) {
        assert_int_equal(lock_key(node, ALICE, 1, 1), WIRE_OK);
        assert_int_equal(node_call(node, spill_request(node, inner, 0, 1, 1, 100, 0)), WIRE_OK);
        id = wire_read_u64(&node_reply(node)->body);
        assert_int_equal(node_status(node).locks, 1);
        /* Rolled back: the outer lock still holds, and the key is as before. */
        node_begin(node, WIRE_ABORT, (struct who){.owner = ALICE, .transactions = &id, .count = 1});
        sim_count(1);
        wire_write_u32(&sim_request, 2);
        assert_int_equal(node_call(node, sim_end()), WIRE_OK);
        assert_int_equal(lock_key(node, BOB, 1, 1), WIRE_E_LOCKED);
        /* Spilled again, and written once more by the commit. */
        assert_int_equal(node_call(node, spill_request(node, inner, 0, 1, 1, 200, 0)), WIRE_OK);
        id = wire_read_u64(&node_reply(node)->body);
        who.transactions = &id;
        who.count = 1;
        assert_int_equal(node_call(node, commit_request(node, alice, 0, 1, 1, 300, 0)), WIRE_E_TRANSACTION_EXISTS);
        assert_int_equal(node_call(node, commit_request(node, who, decider, 1, 1, 300, 0)), WIRE_OK);
        if (decider)
            assert_int_equal(node_call(node, decide_request(node, decider, 1)), WIRE_OK);
        assert_int_equal(value_of_key(node, 1), 300);
        assert_int_equal(node_quiesce(node), WIRE_OK);
        assert_int_equal(value_of_key(node, 1), 300);
        assert_int_equal(node_status(node).locks, 0);
    }
    node_free(node);
}

/* An abort that names what is decided already still releases the locks and aborts the rest. */
static void test_abort_of_decided(void **state)
{
    struct node *node = node_ready();
    uint64_t ids[2];

    (void) state;
    ids[0] = spill(node, ALICE, 0, 1, 1, 100, 0);
    ids[1] = spill(node, ALICE, 0, 2, 1, 100, 0);
    assert_int_equal(node_call(node, abort_request(node, ALICE, ids[0])), WIRE_OK);
    assert_int_equal(lock_key(node, ALICE, 1, 3), WIRE_OK);
    node_begin(node, WIRE_ABORT, (struct who){.owner = ALICE, .transactions = ids, .count = 2});
    sim_count(0);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_NO_TRANSACTION);
    assert_int_equal(put(node, 2, 5), WIRE_OK);
    assert_int_equal(put(node, 3, 5), WIRE_OK);
    assert_int_equal(node_call(node, abort_request(node, ALICE, ids[0])), WIRE_E_NO_TRANSACTION);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_status(node).transactions, 0);
    node_free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_small),
        cmocka_unit_test(test_commit_refusals),
        cmocka_unit_test(test_commit_sizes),
        cmocka_unit_test(test_commit_large_settled),
        cmocka_unit_test(test_commit_large_unsettled),
        cmocka_unit_test(test_decide),
        cmocka_unit_test(test_prepared_survives),
        cmocka_unit_test(test_spill),
        cmocka_unit_test(test_spill_is_answered_early),
        cmocka_unit_test(test_await_names_own),
        cmocka_unit_test(test_spills_leave_room),
        cmocka_unit_test(test_abort_spilled),
        cmocka_unit_test(test_abort_in_flight),
        cmocka_unit_test(test_restart_aborts_pending),
        cmocka_unit_test(test_settle_in_pieces),
        cmocka_unit_test(test_prepared_keeps_locks),
        cmocka_unit_test(test_released_by_commit_in_flight),
        cmocka_unit_test(test_spill_under_outer_lock),
        cmocka_unit_test(test_abort_of_decided),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
