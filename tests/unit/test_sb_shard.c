/*
 * The shard, step by step: what each request does, when its reply goes out, what a restart leaves.
 */
#include "shard_node.h"

#define ALICE ((uint64_t) 1 << 32 | 7)
#define BOB ((uint64_t) 2 << 32 | 7)

static const struct who alice = {.owner = ALICE, .subtransaction = 1, .flags = WIRE_TRANSACTIONAL};
static const struct who bob = {.owner = BOB, .subtransaction = 1, .flags = WIRE_TRANSACTIONAL};

/* ---- bare writes ---- */

static void test_put_get_delete(void **state)
{
    struct node *node = node_ready();
    uint64_t first;
    uint64_t second;

    (void) state;
    assert_true(value_of_key(node, 1) == ABSENT);
    assert_int_equal(put(node, 1, 10), WIRE_OK);
    first = node_reply(node)->snapshot;
    assert_true(first > 0 && first == node->version);
    assert_int_equal(value_of_key(node, 1), 10);
    assert_int_equal(put(node, 1, 11), WIRE_OK);
    second = node_reply(node)->snapshot;
    assert_true(second > first);
    assert_int_equal(value_at(node, 1, first), 10);
    assert_int_equal(value_at(node, 1, second), 11);
    assert_true(value_at(node, 1, first - 1) == ABSENT);
    assert_int_equal(drop(node, 1), WIRE_OK);
    assert_true(value_of_key(node, 1) == ABSENT);
    assert_int_equal(value_at(node, 1, second), 11);
    /* Nothing to delete: no entry, no version. */
    first = node_last(node);
    assert_int_equal(drop(node, 1), WIRE_OK);
    assert_int_equal(node_reply(node)->snapshot, 0);
    assert_int_equal(node_last(node), first);
    node_free(node);
}

static void test_replies_wait_for_durability(void **state)
{
    struct node *node = node_ready();
    uint64_t put_token = node_submit(node, put_request(node, 1, 10));
    uint64_t refused = node_submit(
        node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(2, 0), sim_condition(WIRE_CONDITION_NOT_EXISTS)));
    uint64_t unrelated = node_submit(
        node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 2, sim_item(2, 0), sim_condition(WIRE_CONDITION_EXISTS)));
    uint64_t updated;

    (void) state;
    /* The refusal tells of the put that is in flight; the other depends on nothing. */
    assert_false(node_answered(node, put_token));
    assert_false(node_answered(node, refused));
    assert_int_equal(node_result(node, unrelated), WIRE_E_CONDITION);
    assert_true(value_of_key(node, 1) == ABSENT);
    updated = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 1, sim_update(12), sim_equals(10)));
    assert_int_equal(node_durable(node, node_last(node) - 1), WIRE_OK);
    assert_int_equal(node_result(node, put_token), WIRE_OK);
    assert_int_equal(node_result(node, refused), WIRE_E_CONDITION);
    assert_false(node_answered(node, updated));
    assert_int_equal(value_of_key(node, 1), 10);
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_int_equal(node_result(node, updated), WIRE_OK);
    assert_int_equal(value_of_key(node, 1), 12);
    node_free(node);
}

/* Replies that depend on an older entry overtake those that wait for a newer one. */
static void test_reply_order(void **state)
{
    struct node *node = node_ready();
    uint64_t tokens[6];

    (void) state;
    tokens[0] = node_submit(node, put_request(node, 1, 10));
    tokens[1] = node_submit(node, put_request(node, 2, 20));
    tokens[2] = node_submit(node, put_request(node, 3, 30));
    for (int i = 3; i < 6; i++)
        tokens[i] = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_MUST_NOT_EXIST, 6 - i, sim_item(1, 0), none));
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(node_durable(node, node_last(node) - 2 + i), WIRE_OK);
        for (uint64_t j = 0; j < 3; j++) {
            assert_int_equal(node_answered(node, tokens[j]), j <= i);
            assert_int_equal(node_answered(node, tokens[5 - j]), j <= i);
        }
    }
    assert_int_equal(node_result(node, tokens[3]), WIRE_E_EXISTS);
    node_free(node);
}

static struct wire_span reply_image(struct wire_reader *body)
{
    return wire_read_u8(body) ? wire_read_span(body) : none;
}

static void test_return_flags(void **state)
{
    struct node *node = node_ready();
    struct wire_reader body;

    (void) state;
    assert_int_equal(put(node, 1, 10), WIRE_OK);
    body = node_reply(node)->body;
    assert_int_equal(wire_read_varint(&body), 1);
    assert_int_equal(wire_read_u8(&body), 0);
    assert_int_equal(reply_image(&body).size, 0);
    assert_int_equal(reply_image(&body).size, 0);
    assert_int_equal(wire_reader_finish(&body), WIRE_OK);

    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, WIRE_RETURN_OLD | WIRE_RETURN_NEW, 1,
                                                   sim_update(11), none)),
                     WIRE_OK);
    body = node_reply(node)->body;
    assert_int_equal(wire_read_varint(&body), 1);
    assert_int_equal(wire_read_u8(&body), 1);
    assert_int_equal(sim_item_value(reply_image(&body)), 10);
    assert_int_equal(sim_item_value(reply_image(&body)), 11);
    assert_int_equal(wire_reader_finish(&body), WIRE_OK);

    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_DELETE, WIRE_RETURN_OLD | WIRE_RETURN_NEW, 1, none, none)),
                     WIRE_OK);
    body = node_reply(node)->body;
    assert_int_equal(wire_read_varint(&body), 1);
    assert_int_equal(wire_read_u8(&body), 1);
    assert_int_equal(sim_item_value(reply_image(&body)), 11);
    assert_int_equal(reply_image(&body).size, 0);

    /* What is replaced was in flight itself. */
    (void) node_submit(node, put_request(node, 2, 20));
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_RETURN_OLD, 2, sim_item(21, 0), none)), WIRE_OK);
    body = node_reply(node)->body;
    wire_read_varint(&body);
    assert_int_equal(wire_read_u8(&body), 1);
    assert_int_equal(sim_item_value(reply_image(&body)), 20);

    /* A refusal tells what it found, if asked. */
    assert_int_equal(put(node, 1, 12), WIRE_OK);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_DELETE, WIRE_RETURN_OLD, 1, none, sim_equals(1))),
                     WIRE_E_CONDITION);
    body = node_reply(node)->body;
    assert_int_equal(sim_item_value(reply_image(&body)), 12);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_DELETE, WIRE_RETURN_OLD, 5, none, sim_equals(1))),
                     WIRE_E_CONDITION);
    body = node_reply(node)->body;
    assert_int_equal(reply_image(&body).size, 0);
    assert_int_equal(wire_reader_finish(&body), WIRE_OK);
    node_free(node);
}

static void test_conditions(void **state)
{
    struct node *node = node_ready();

    (void) state;
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_MUST_NOT_EXIST, 1, sim_item(1, 0), none)), WIRE_OK);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_MUST_NOT_EXIST, 1, sim_item(2, 0), none)),
                     WIRE_E_EXISTS);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(3, 0), sim_condition(WIRE_CONDITION_FALSE))),
                     WIRE_E_CONDITION);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(4, 0), sim_equals(1))), WIRE_OK);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_DELETE, 0, 1, none, sim_equals(1))), WIRE_E_CONDITION);
    assert_int_equal(value_of_key(node, 1), 4);
    node_free(node);
}

static void test_batch_is_atomic(void **state)
{
    struct node *node = node_ready();
    uint64_t last;

    (void) state;
    assert_int_equal(put(node, 3, 1), WIRE_OK);
    last = node_last(node);
    node_begin(node, WIRE_WRITE, (struct who){0});
    sim_count(3);
    sim_op(WIRE_WRITE_PUT, 0, sim_key(node->storage, 1), sim_item(1, 0), none);
    sim_op(WIRE_WRITE_DELETE, 0, sim_key(node->storage, 3), none, none);
    sim_op(WIRE_WRITE_PUT, 0, sim_key(node->storage, 2), sim_item(2, 0), sim_condition(WIRE_CONDITION_EXISTS));
    assert_int_equal(node_call(node, sim_end()), WIRE_E_CONDITION);
    assert_int_equal(node_reply(node)->detail, 2);
    assert_int_equal(node_last(node), last);
    assert_int_equal(value_of_key(node, 3), 1);
    node_begin(node, WIRE_WRITE, (struct who){0});
    sim_count(3);
    sim_op(WIRE_WRITE_PUT, 0, sim_key(node->storage, 1), sim_item(1, 0), none);
    sim_op(WIRE_WRITE_DELETE, 0, sim_key(node->storage, 3), none, none);
    sim_op(WIRE_WRITE_PUT, 0, sim_key(node->storage, 2), sim_item(2, 0), none);
    assert_int_equal(node_call(node, sim_end()), WIRE_OK);
    assert_int_equal(node_last(node), last + 1);
    assert_int_equal(value_of_key(node, 1), 1);
    assert_int_equal(value_of_key(node, 2), 2);
    assert_true(value_of_key(node, 3) == ABSENT);
    /* A key twice. */
    node_begin(node, WIRE_WRITE, (struct who){0});
    sim_count(2);
    sim_op(WIRE_WRITE_PUT, 0, sim_key(node->storage, 1), sim_item(5, 0), none);
    sim_op(WIRE_WRITE_PUT, 0, sim_key(node->storage, 1), sim_item(6, 0), none);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_DUPLICATE);
    assert_int_equal(node_reply(node)->detail, 1);
    assert_int_equal(value_of_key(node, 1), 1);
    /* More than an entry holds: refused, and the next one is fine. */
    node_begin(node, WIRE_WRITE, (struct who){0});
    sim_count(3);
    for (int64_t i = 0; i < 3; i++)
        sim_op(WIRE_WRITE_PUT, 0, sim_key(node->storage, i), sim_item(7, 400 * 1024), none);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_TOO_LARGE);
    assert_int_equal(put(node, 1, 8), WIRE_OK);
    assert_int_equal(value_of_key(node, 1), 8);
    node_free(node);
}

/* ---- locks ---- */

static void test_locks(void **state)
{
    struct node *node = node_ready();
    struct wire_reader body;

    (void) state;
    assert_int_equal(lock_key(node, ALICE, 3, 1), WIRE_OK);
    assert_int_equal(lock_key(node, ALICE, 4, 1), WIRE_OK); /* again, by a subtransaction */
    assert_int_equal(lock_key(node, ALICE, 4, 2), WIRE_OK);
    assert_int_equal(node_status(node).locks, 2);
    assert_int_equal(lock_key(node, BOB, 1, 1), WIRE_E_LOCKED);
    body = node_reply(node)->body;
    assert_true(wire_read_u64(&body) == ALICE);
    assert_int_equal(wire_read_u32(&body), 3);
    assert_int_equal(wire_reader_finish(&body), WIRE_OK);
    assert_int_equal(put(node, 2, 1), WIRE_E_LOCKED); /* bare writes too */
    /* The subtransaction ends: its lock goes, the outer one's stays. */
    node_begin(node, WIRE_ABORT, alice);
    sim_count(2);
    wire_write_u32(&sim_request, 4);
    wire_write_u32(&sim_request, 9);
    assert_int_equal(node_call(node, sim_end()), WIRE_OK);
    assert_int_equal(lock_key(node, BOB, 1, 2), WIRE_OK);
    assert_int_equal(lock_key(node, BOB, 1, 1), WIRE_E_LOCKED);
    assert_int_equal(node_call(node, abort_request(node, ALICE, 0)), WIRE_OK);
    assert_int_equal(lock_key(node, BOB, 1, 1), WIRE_OK);
    assert_int_equal(node_status(node).locks, 2);
    /* A batch takes all locks or none. */
    assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 0, 3)), WIRE_E_LOCKED);
    assert_int_equal(node_reply(node)->detail, 1);
    assert_int_equal(node_status(node).locks, 2);
    /* COMMIT releases at once, before its entry is durable. */
    (void) node_submit(node, commit_request(node, bob, 0, 1, 1, 5, 0));
    assert_int_equal(node_status(node).locks, 0);
    assert_int_equal(lock_key(node, ALICE, 1, 1), WIRE_OK);
    node_free(node);
}

static void test_transactional_results(void **state)
{
    struct node *node = node_ready();
    struct wire_write_op op = {.kind = WIRE_WRITE_UPDATE, .flags = WIRE_HAS_OVERLAY | WIRE_RETURN_OLD};
    struct wire_reader body;
    uint64_t last;

    (void) state;
    assert_int_equal(put(node, 1, 10), WIRE_OK);
    last = node_last(node);
    assert_int_equal(node_call(node, write_request(node, alice, WIRE_WRITE_UPDATE, 0, 1, sim_update(11), sim_equals(10))), WIRE_OK);
    body = node_reply(node)->body;
    assert_int_equal(wire_read_varint(&body), 1);
    assert_int_equal(wire_read_u8(&body), 1);
    assert_int_equal(reply_image(&body).size, 0);
    assert_int_equal(sim_item_value(reply_image(&body)), 11); /* RETURN_NEW implied */
    assert_int_equal(node_last(node), last);                  /* nothing logged */
    assert_int_equal(value_of_key(node, 1), 10);
    /* Evaluated against what the transaction has written itself. */
    op.key = sim_key(node->storage, 1);
    op.argument = sim_update(13);
    op.condition = sim_equals(12);
    op.overlay = sim_item(12, 0);
    node_begin(node, WIRE_WRITE, alice);
    sim_count(1);
    wire_write_op_write(&sim_request, &op);
    assert_int_equal(node_call(node, sim_end()), WIRE_OK);
    body = node_reply(node)->body;
    wire_read_varint(&body);
    assert_int_equal(wire_read_u8(&body), 1);
    assert_int_equal(sim_item_value(reply_image(&body)), 12);
    assert_int_equal(sim_item_value(reply_image(&body)), 13);
    /* Deleted by itself. */
    op.overlay = none;
    op.condition = sim_condition(WIRE_CONDITION_NOT_EXISTS);
    op.kind = WIRE_WRITE_PUT;
    op.argument = sim_item(14, 0);
    node_begin(node, WIRE_WRITE, alice);
    sim_count(1);
    wire_write_op_write(&sim_request, &op);
    assert_int_equal(node_call(node, sim_end()), WIRE_OK);
    body = node_reply(node)->body;
    wire_read_varint(&body);
    assert_int_equal(wire_read_u8(&body), 0);
    /* Nothing found: a delete gives no new image. */
    assert_int_equal(node_call(node, write_request(node, alice, WIRE_WRITE_DELETE, 0, 2, none, none)), WIRE_OK);
    body = node_reply(node)->body;
    wire_read_varint(&body);
    assert_int_equal(wire_read_u8(&body), 0);
    assert_int_equal(reply_image(&body).size, 0);
    assert_int_equal(reply_image(&body).size, 0);
    node_free(node);
}

static void test_first_updater(void **state)
{
    struct node *node = node_ready();
    struct who who = alice;
    uint64_t snapshot;

    (void) state;
    assert_int_equal(put(node, 1, 10), WIRE_OK);
    assert_int_equal(put(node, 2, 20), WIRE_OK);
    assert_int_equal(put(node, 3, 30), WIRE_OK);
    snapshot = node->version;
    who.snapshot = snapshot;
    who.flags |= WIRE_FIRST_UPDATER;
    assert_int_equal(put(node, 1, 11), WIRE_OK);
    assert_int_equal(drop(node, 2), WIRE_OK);
    assert_int_equal(put(node, 4, 40), WIRE_OK);
    assert_int_equal(drop(node, 4), WIRE_OK);
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_UPDATE, 0, 1, sim_update(1), none)), WIRE_E_CHANGED);
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_PUT, 0, 2, sim_item(1, 0), none)), WIRE_E_CHANGED);
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_UPDATE, 0, 3, sim_update(1), none)), WIRE_OK);
    /* What came and went after the snapshot changes nothing of it. */
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_PUT, 0, 4, sim_item(1, 0), none)), WIRE_OK);
    /* In flight it counts as well, and the refusal waits for it. */
    (void) node_submit(node, put_request(node, 5, 50));
    (void) node_submit(node, write_request(node, who, WIRE_WRITE_PUT, 0, 5, sim_item(1, 0), none));
    assert_false(node_answered(node, node->token));
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_int_equal(node_result(node, node->token), WIRE_E_CHANGED);
    node_free(node);
}

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
    assert_int_equal(sb_shard_prepared(node->shard, 0), 400);
    assert_int_equal(sb_shard_prepared(node->shard, 400), 500);
    assert_int_equal(sb_shard_prepared(node->shard, 500), 0);
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
    assert_int_equal(sb_shard_prepared(node->shard, 0), 500);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(value_of_key(node, 1), 1);
    assert_int_equal(put(node, 1, 9), WIRE_E_LOCKED);
    assert_int_equal(node_call(node, decide_request(node, 500, 1)), WIRE_OK);
    assert_int_equal(value_of_key(node, 1), 100);
    assert_int_equal(value_of_key(node, 2), 101);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_int_equal(sb_shard_prepared(node->shard, 0), 0);
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
    assert_int_equal(node_call(node, write_request(node, alice, WIRE_WRITE_UPDATE, 0, 3, sim_update(203), sim_equals(103))), WIRE_OK);
    assert_int_equal(node_call(node, spill_request(node, alice, 0, 3, 1, 203, 0)), WIRE_E_TRANSACTION_EXISTS);
    assert_int_equal(node_call(node, commit_request(node, alice, 0, 3, 1, 203, 0)), WIRE_E_TRANSACTION_EXISTS);
    who.transactions = &id;
    who.count = 1;
    assert_int_equal(node_call(node, spill_request(node, who, id, 3, 1, 203, 0)), WIRE_OK);
    wire_read_u64(&node_reply(node)->body);
    assert_int_equal(wire_read_u8(&node_reply(node)->body), 1);
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
    assert_true(own_value(node, 4, id) == ABSENT);
    assert_int_equal(node_call(node, spill_request(node, bob, 0, 4, 1, 1, 0)), WIRE_E_NOT_LOCKED);
    /* A bare write of the same owner must not get ahead of the transaction. */
    assert_int_equal(node_call(node, write_request(node, (struct who){.owner = ALICE}, WIRE_WRITE_PUT, 0, 4, sim_item(1, 0), none)),
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
    (void) node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 2, sim_update(52), sim_equals(2)));
    (void) node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_MUST_NOT_EXIST, 6, sim_item(56, 0), none));
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
    (void) node_submit(node, spill_request(node, alice, 0, 1, 1, 100, 0));
    id = WIRE_TRANSACTION_BIT | 1;
    (void) node_submit(node, abort_request(node, ALICE, id));
    assert_int_equal(node_result(node, node->token), WIRE_OK);
    token = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 1, sim_update(5), sim_equals(1)));
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

/* ---- parking ---- */

static void test_fetches(void **state)
{
    struct node *node = node_ready();
    struct sim_store_options block = {.seed = 1, .would_block_per_mille = 1000};
    uint64_t token;
    uint64_t other;

    (void) state;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    sim_store_tune(&node->store, &block);
    node->hold_fetches = true;
    token = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 1, sim_update(2), sim_equals(1)));
    other = node_submit(node, put_request(node, 1, 3));
    assert_int_equal(node->fetch_count, 2);
    assert_int_equal(node_status(node).parked, 2);
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .token = 12345}), WIRE_OK);
    /* Others pass: the second is ready first, and then the first finds another state. */
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .token = other}), WIRE_OK);
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .token = token}), WIRE_OK);
    assert_int_equal(node_status(node).parked, 0);
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_int_equal(node_result(node, other), WIRE_OK);
    assert_int_equal(node_result(node, token), WIRE_E_CONDITION);
    assert_int_equal(value_of_key(node, 1), 3);
    /* Closing with requests parked leaks nothing. */
    node->fetch_count = 0;
    (void) node_submit(node, put_request(node, 2, 3));
    node_free(node);
}

static void test_in_flight_limit(void **state)
{
    struct node *node = node_new();
    uint64_t tokens[10];

    (void) state;
    node->max_in_flight_bytes = 1000;
    assert_int_equal(node_open(node), WIRE_OK);
    node->storage = new_storage(node, "relation");
    for (int i = 0; i < 10; i++)
        tokens[i] = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(i, 600), none));
    assert_true(node_status(node).in_flight_entries == 2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(node_sync(node), WIRE_OK);
        assert_int_equal(value_of_key(node, 1), 2 * i + 1);
        assert_int_equal(node_result(node, tokens[2 * i]), WIRE_OK);
    }
    (void) node_submit(node, put_request(node, 1, 1));
    (void) node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(1, 2000), none));
    (void) node_submit(node, put_request(node, 1, 1)); /* deferred when the node ends */
    node_free(node);
}

/* ---- storages ---- */

static uint64_t lookup(struct node *node, const char *identity)
{
    struct wire_request request;
    struct sb_buffer out = {0};
    struct wire_span bytes;
    struct wire_reader r;
    uint64_t snapshot;
    uint64_t id;
    uint32_t detail;

    node_begin(node, WIRE_LOOKUP, (struct who){0});
    wire_write_span(&sim_request, identity, strlen(identity));
    bytes = sim_end();
    assert_int_equal(wire_request_open(bytes.data, bytes.size, &request), WIRE_OK);
    assert_int_equal(sb_read_request(&node->reader, &request, &out, &detail, &snapshot, &node->fault), WIRE_OK);
    r = wire_reader_of(out.data, out.size);
    id = wire_read_u64(&r);
    assert_int_equal(wire_reader_finish(&r), WIRE_OK);
    sb_buffer_close(&out);
    return id;
}

static size_t count_keys(struct node *node, enum sb_family family, uint64_t storage)
{
    uint8_t low[8];
    uint8_t high[8];
    struct wire_writer l = wire_writer_of(low, 8);
    struct wire_writer h = wire_writer_of(high, 8);
    struct sb_iterator *it;
    size_t count = 0;

    wire_write_u64(&l, storage);
    wire_write_u64(&h, storage + 1);
    assert_int_equal(node->store.iterate(node->store.self, NULL, family, (struct wire_span){low, 8}, (struct wire_span){high, 8}, &it, &node->fault),
                     WIRE_OK);
    for (it->seek(it->self, (struct wire_span){low, 8}); it->valid(it->self); it->next(it->self))
        count++;
    it->close(it->self);
    return count;
}

static int drop_storage(struct node *node, uint64_t id)
{
    node_begin(node, WIRE_DROP, (struct who){0});
    wire_write_u64(&sim_request, id);
    return node_call(node, sim_end());
}

static void test_storages(void **state)
{
    struct node *node = node_ready();
    uint64_t first = node->storage;
    uint64_t second = new_storage(node, "other");
    uint64_t third;

    (void) state;
    assert_true(second != first && second != 0);
    assert_true(lookup(node, "relation") == first);
    assert_true(lookup(node, "other") == second);
    assert_true(lookup(node, "nothing") == 0);
    for (int64_t i = 0; i < 10; i++)
        assert_int_equal(put(node, i, i), WIRE_OK);
    for (int64_t i = 0; i < 5; i++)
        assert_int_equal(put(node, i, i + 1), WIRE_OK);
    node->storage = second;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    /* A key of another storage is refused. */
    node_begin(node, WIRE_WRITE, (struct who){0});
    sim_count(1);
    sim_op(WIRE_WRITE_PUT, 0, sim_key(first, 1), sim_item(1, 0), none);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_NO_STORAGE);
    /* A new storage for the relation drops the old one. */
    third = new_storage(node, "relation");
    assert_true(third != first && third != second);
    assert_true(lookup(node, "relation") == third);
    assert_int_equal(count_keys(node, SB_ITEMS, first) + count_keys(node, SB_HISTORY, first), 0);
    assert_int_equal(count_keys(node, SB_ITEMS, second), 1);
    /* DROP, also of what is unknown and of what is mapped to no more. */
    assert_int_equal(drop_storage(node, first), WIRE_OK);
    assert_true(lookup(node, "relation") == third);
    assert_int_equal(drop_storage(node, 999), WIRE_OK);
    assert_int_equal(drop_storage(node, second), WIRE_OK);
    assert_true(lookup(node, "other") == 0);
    assert_int_equal(count_keys(node, SB_ITEMS, second), 0);
    assert_int_equal(drop_storage(node, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_true(lookup(node, "relation") == third);
    assert_true(new_storage(node, "again") > third);
    node_free(node);
}

/* A storage with intents of a pending transaction is dropped; the transaction ends later, either way. */
static void test_drop_with_intents(void **state)
{
    struct node *node = node_ready();
    uint64_t id;

    (void) state;
    for (int commit = 0; commit < 2; commit++) {
        assert_int_equal(put(node, 1, 1), WIRE_OK);
        id = spill(node, ALICE, 0, 0, 10, 100, 0);
        assert_int_equal(drop_storage(node, node->storage), WIRE_OK);
        assert_int_equal(node_call(node, commit ? commit_request(node, (struct who){.owner = ALICE, .transactions = &id, .count = 1}, 0, 0, 0, 0, 0)
                                                : abort_request(node, ALICE, id)),
                         WIRE_OK);
        assert_int_equal(node_quiesce(node), WIRE_OK);
        assert_int_equal(node_status(node).transactions, 0);
        assert_int_equal(count_keys(node, SB_ITEMS, node->storage) + count_keys(node, SB_HISTORY, node->storage), 0);
    }
    node_free(node);
}

/* ---- horizon ---- */

static void test_horizon(void **state)
{
    struct node *node = node_ready();
    struct who who = alice;
    uint64_t old;
    uint64_t before;

    (void) state;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    old = node->version;
    assert_int_equal(put(node, 1, 2), WIRE_OK);
    assert_int_equal(drop(node, 1), WIRE_OK);
    assert_int_equal(put(node, 2, 2), WIRE_OK);
    before = node->version;
    assert_int_equal(drop(node, 2), WIRE_OK);
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_TICK, .horizon = before}), WIRE_OK);
    assert_int_equal(node->horizon, 0);
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_true(node->horizon == before);
    assert_int_equal(node->store.compact(node->store.self, none, none, &node->fault), WIRE_OK);
    assert_true(value_at(node, 1, before) == ABSENT);
    assert_int_equal(value_at(node, 2, before), 2);
    assert_int_equal(count_keys(node, SB_HISTORY, node->storage), 1);
    /* Who is below it can no longer tell whether a key was deleted after its snapshot. */
    who.flags |= WIRE_FIRST_UPDATER;
    who.snapshot = old;
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_PUT, 0, 1, sim_item(1, 0), none)), WIRE_E_SNAPSHOT_TOO_OLD);
    who.snapshot = before;
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_PUT, 0, 1, sim_item(1, 0), none)), WIRE_OK);
    /* Neither back nor ahead of what is applied. */
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_TICK, .horizon = old}), WIRE_OK);
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_TICK, .horizon = node->version + 1000}), WIRE_OK);
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_true(node->horizon == before);
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_true(node->horizon == before);
    node_free(node);
}

/* ---- hostile requests ---- */

struct sample {
    uint8_t *bytes;
    size_t size;
};

static size_t add_sample(struct sample *samples, size_t count, struct wire_span request)
{
    samples[count] = (struct sample){malloc(request.size), request.size};
    memcpy(samples[count].bytes, request.data, request.size);
    return count + 1;
}

static size_t make_samples(struct node *node, struct sample *samples)
{
    uint64_t transaction = WIRE_TRANSACTION_BIT | 1;
    struct who with = {.owner = ALICE, .subtransaction = 1, .transactions = &transaction, .count = 1};
    struct wire_write_op op = {.kind = WIRE_WRITE_UPDATE, .flags = WIRE_HAS_OVERLAY};
    size_t count = 0;

    count = add_sample(samples, count, put_request(node, 1, 1));
    count = add_sample(samples, count,
                       write_request(node, alice, WIRE_WRITE_UPDATE, WIRE_RETURN_OLD, 1, sim_update(1), sim_condition(WIRE_CONDITION_NOT_EXISTS)));
    op.key = sim_key(node->storage, 1);
    op.argument = sim_update(2);
    op.overlay = sim_item(3, 10);
    node_begin(node, WIRE_WRITE, alice);
    sim_count(1);
    wire_write_op_write(&sim_request, &op);
    count = add_sample(samples, count, sim_end());
    count = add_sample(samples, count, lock_request(node, ALICE, 1, 1, 3));
    count = add_sample(samples, count, commit_request(node, alice, 0, 1, 2, 5, 3));
    count = add_sample(samples, count, commit_request(node, with, 77, 1, 1, ABSENT, 0));
    count = add_sample(samples, count, spill_request(node, alice, 0, 1, 2, 5, 3));
    count = add_sample(samples, count, abort_request(node, ALICE, transaction));
    node_begin(node, WIRE_ABORT, alice);
    sim_count(2);
    wire_write_u32(&sim_request, 4);
    wire_write_u32(&sim_request, 5);
    count = add_sample(samples, count, sim_end());
    count = add_sample(samples, count, decide_request(node, 77, 1));
    node_begin(node, WIRE_STORAGE, alice);
    wire_write_span(&sim_request, "name", 4);
    count = add_sample(samples, count, sim_end());
    node_begin(node, WIRE_DROP, alice);
    wire_write_u64(&sim_request, 12);
    return add_sample(samples, count, sim_end());
}

/* Every short length of every request is refused, and no trace of it stays. */
static void test_short_requests(void **state)
{
    struct node *node = node_ready();
    struct sample samples[16];
    size_t count = make_samples(node, samples);
    uint64_t last = node_last(node);

    (void) state;
    for (size_t i = 0; i < count; i++) {
        for (size_t size = 0; size < samples[i].size; size++) {
            int status = node_call(node, (struct wire_span){samples[i].bytes, size});

            assert_int_equal(node->status, WIRE_OK);
            assert_true(status != WIRE_OK);
            assert_int_equal(wire_reader_left(&node_reply(node)->body), 0);
        }
        /* And one byte too many. */
        samples[i].bytes = realloc(samples[i].bytes, samples[i].size + 1);
        samples[i].bytes[samples[i].size] = 0;
        assert_true(node_call(node, (struct wire_span){samples[i].bytes, samples[i].size + 1}) != WIRE_OK);
        free(samples[i].bytes);
        for (size_t a = 0; a < node->answer_count; a++)
            free(node->answers[a].bytes);
        node->answer_count = 0;
    }
    assert_int_equal(node_last(node), last);
    assert_int_equal(node_status(node).locks, 0);
    node_free(node);
}

/* Any byte changed: answered, and the node goes on. What it does with it is its business, as long as it stays sound. */
static void test_changed_requests(void **state)
{
    struct node *node = node_ready();
    struct sample samples[16];
    size_t count = make_samples(node, samples);
    uint64_t random = 12345;

    (void) state;
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < samples[i].size; at++) {
            uint8_t kept = samples[i].bytes[at];

            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            samples[i].bytes[at] ^= (uint8_t) (1u << (random >> 61));
            (void) node_call(node, (struct wire_span){samples[i].bytes, samples[i].size});
            assert_int_equal(node->status, WIRE_OK);
            assert_int_equal(node_call(node, abort_request(node, ALICE, 0)), WIRE_OK);
            samples[i].bytes[at] = kept;
        }
        assert_int_equal(node_quiesce(node), WIRE_OK);
        for (size_t a = 0; a < node->answer_count; a++)
            free(node->answers[a].bytes);
        node->answer_count = 0;
    }
    for (size_t i = 0; i < count; i++)
        free(samples[i].bytes);
    assert_int_equal(put(node, 100, 1), WIRE_OK);
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(value_of_key(node, 100), 1);
    node_free(node);
}

static struct wire_span deleted_item(void)
{
    uint8_t *bytes = sim_arena_take(64);
    struct wire_writer w = wire_writer_of(bytes, 64);
    struct wire_item_builder b;

    wire_item_begin(&b, &w, WIRE_ITEM_DELETED, 0, 0);
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    return (struct wire_span){bytes, w.size};
}

static int effect_commit(struct node *node, struct wire_span key, struct wire_span item)
{
    node_begin(node, WIRE_COMMIT, alice);
    wire_write_u64(&sim_request, 0);
    sim_count(1);
    sim_effect(key, item);
    return node_call(node, sim_end());
}

static void test_hostile_requests(void **state)
{
    struct node *node = node_ready();
    struct wire_effect effect = {.kind = WIRE_EFFECT_DROP, .number = node->storage};
    uint64_t own = node->storage;

    (void) state;
    /* The group's own range. */
    node->storage = 0;
    assert_true(put(node, 1, 1) != WIRE_OK);
    assert_true(effect_commit(node, sim_key(0, 1), sim_item(1, 0)) != WIRE_OK);
    node->storage = own;
    node_begin(node, WIRE_WRITE, alice);
    sim_count(1);
    sim_op(WIRE_WRITE_PUT, 0, sim_key(0, 1), sim_item(1, 0), none);
    assert_true(node_call(node, sim_end()) != WIRE_OK);
    /* Counts that no body can hold. */
    node_begin(node, WIRE_WRITE, alice);
    sim_count(UINT64_MAX);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_SHORT_INPUT);
    node_begin(node, WIRE_COMMIT, alice);
    wire_write_u64(&sim_request, 0);
    sim_count(UINT64_MAX);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_SHORT_INPUT);
    node_begin(node, WIRE_ABORT, alice);
    sim_count(UINT64_MAX / 4 + 2);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_SHORT_INPUT);
    node_begin(node, WIRE_WRITE, alice);
    sim_count(0);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_BAD_FORMAT);
    /* What a bare write cannot have. */
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_LOCK, 0, 1, none, none)), WIRE_E_BAD_FORMAT);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_HAS_OVERLAY, 1, sim_item(1, 0), none)),
                     WIRE_E_BAD_FORMAT);
    /* Items that are none, or claim to be deleted. */
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_text("no item"), none)), WIRE_E_BAD_FORMAT);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, none, none)), WIRE_E_BAD_FORMAT);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, deleted_item(), none)), WIRE_E_BAD_FORMAT);
    assert_int_equal(lock_key(node, ALICE, 1, 1), WIRE_OK);
    assert_int_equal(effect_commit(node, sim_key(own, 1), deleted_item()), WIRE_E_BAD_FORMAT);
    assert_int_equal(effect_commit(node, sim_key(own, 1), sim_text("no item at all, but longer")), WIRE_E_BAD_FORMAT);
    assert_int_equal(effect_commit(node, sim_key(own, 1), sim_item(1, 910 * 1024)), WIRE_E_BAD_FORMAT);
    assert_int_equal(node_call(node, write_request(node, alice, WIRE_WRITE_PUT, 0, 1, sim_item(1, 910 * 1024), none)), WIRE_E_ITEM_SIZE);
    node_begin(node, WIRE_WRITE, alice);
    sim_count(1);
    wire_write_op_write(&sim_request, &(struct wire_write_op){.kind = WIRE_WRITE_DELETE,
                                                              .flags = WIRE_HAS_OVERLAY,
                                                              .key = sim_key(own, 1),
                                                              .overlay = sim_text("no item")});
    assert_int_equal(node_call(node, sim_end()), WIRE_E_BAD_FORMAT);
    /* Effects that are not for backends. */
    node_begin(node, WIRE_COMMIT, alice);
    wire_write_u64(&sim_request, 0);
    sim_count(1);
    wire_effect_write(&sim_request, &effect);
    wire_write_u64(&sim_request, 0);
    wire_write_u64(&sim_request, 0);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_BAD_FORMAT);
    /* Reads do not belong here. */
    (void) sim_get_request((struct wire_request){.storage_id = own}, NULL, 0, sim_key(own, 1));
    assert_int_equal(node_call(node, sim_end()), WIRE_E_BAD_FORMAT);
    node_begin(node, WIRE_DECIDE, alice);
    wire_write_u64(&sim_request, 5);
    wire_write_u8(&sim_request, 2);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_BAD_FORMAT);
    node_begin(node, WIRE_STORAGE, alice);
    wire_write_span(&sim_request, "0123456789012345678901234567890123456789012345678901234567890123456789", 65);
    assert_int_equal(node_call(node, sim_end()), WIRE_E_BAD_FORMAT);
    assert_int_equal(node_status(node).locks, 1);
    node_free(node);
}

/* A log that was tampered with, or is not this node's, is refused and not applied. */
static void test_damaged_replay(void **state)
{
    struct node *node = node_ready();
    struct sb_log_entry entry;
    struct sb_fault fault;

    (void) state;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    assert_int_equal(put(node, 1, 2), WIRE_OK);
    entry = node->entries[node->entry_count - 1];
    for (size_t i = 0; i < entry.payload.size; i++) {
        ((uint8_t *) entry.payload.data)[i] ^= 0x10;
        assert_int_equal(sb_shard_replay(node->shard, &entry, &fault), WIRE_E_CORRUPT);
        ((uint8_t *) entry.payload.data)[i] ^= 0x10;
    }
    for (size_t size = 0; size < entry.payload.size; size++) {
        struct sb_log_entry cut = entry;
        uint8_t *exact = malloc(size ? size : 1);

        memcpy(exact, entry.payload.data, size);
        cut.payload = (struct wire_span){exact, size};
        assert_int_equal(sb_shard_replay(node->shard, &cut, &fault), WIRE_E_CORRUPT);
        free(exact);
    }
    entry.index++;
    assert_int_equal(sb_shard_replay(node->shard, &entry, &fault), WIRE_E_CORRUPT);
    node_free(node);
}

/* Entries whose bytes are in order and whose meaning is not. */
static int replay_effect(struct node *node, uint64_t transaction, const struct wire_effect *effect)
{
    uint8_t bytes[4096];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_entry header = {.group = WIRE_GROUP_LOCAL,
                                .term = 1,
                                .index = node_last(node) + 1,
                                .version = node->version + 1,
                                .transaction = transaction};
    struct sb_log_entry entry = {.group = header.group, .index = header.index, .term = header.term};
    struct wire_entry_builder b;

    wire_entry_begin(&b, &w, &header);
    wire_entry_add(&b, effect);
    assert_int_equal(wire_entry_end(&b), WIRE_OK);
    entry.payload = (struct wire_span){bytes, w.size};
    return sb_shard_replay(node->shard, &entry, &node->fault);
}

static void test_senseless_entries(void **state)
{
    uint64_t unknown = WIRE_TRANSACTION_BIT | 5;
    struct wire_effect effects[] = {
        {.kind = WIRE_EFFECT_COMMIT, .number = unknown},
        {.kind = WIRE_EFFECT_ABORT, .number = unknown},
        {.kind = WIRE_EFFECT_PREPARE, .number = unknown, .argument = 1},
        {.kind = WIRE_EFFECT_FORGET, .number = unknown},
        {.kind = WIRE_EFFECT_SETTLE, .number = unknown},
        {.kind = WIRE_EFFECT_BEGIN, .number = 5},
        {.kind = WIRE_EFFECT_PUT},
        {.kind = WIRE_EFFECT_SETTLE},
        {.kind = WIRE_EFFECT_PUT},
    };
    size_t count = sizeof(effects) / sizeof(effects[0]);

    (void) state;
    for (size_t i = 0; i < count; i++) {
        struct node *node = node_ready();
        uint64_t pending = spill(node, ALICE, 0, 1, 1, 1, 0);

        effects[i].key = sim_key(node->storage, 1);
        effects[i].item = i == 6 ? sim_text("short") : sim_item(1, 0);
        if (i == 7)
            effects[i].number = pending; /* undecided */
        assert_int_equal(replay_effect(node, i == 8 ? unknown : 0, &effects[i]), WIRE_E_CORRUPT);
        node_free(node);
    }
}

/* ---- running out of memory, and of a store ---- */

/* A bit of everything; stops at the first error. Sets *acknowledged to the number of puts to keys 100, 101, .. that were answered. */
static int everything(struct node *node, int64_t *acknowledged)
{
    uint64_t id = 0;
    int status = node_open(node);

    if (status == WIRE_OK) {
        node->storage = new_storage(node, "relation");
        status = node->status;
    }
    for (int64_t i = 0; i < 4 && status == WIRE_OK; i++) {
        status = put(node, 100 + i, i);
        *acknowledged += status == WIRE_OK;
    }
    if (status == WIRE_OK)
        status = node_call(node, lock_request(node, ALICE, 1, 1, 3));
    if (status == WIRE_OK)
        status = node_call(node, spill_request(node, alice, 0, 1, 3, 10, 0));
    if (status == WIRE_OK) {
        id = wire_read_u64(&node_reply(node)->body);
        status = node_call(node, abort_request(node, ALICE, id));
    }
    if (status == WIRE_OK)
        status = node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, WIRE_RETURN_OLD | WIRE_RETURN_NEW, 1, sim_update(1), none));
    if (status == WIRE_OK)
        status = node_call(node, lock_request(node, BOB, 1, 5, 2));
    if (status == WIRE_OK)
        status = node_call(node, commit_request(node, bob, 9, 5, 2, 10, 0));
    if (status == WIRE_OK)
        status = node_call(node, decide_request(node, 9, 1));
    if (status == WIRE_OK)
        status = node_quiesce(node);
    if (status == WIRE_OK) {
        status = put(node, 104, 4);
        *acknowledged += status == WIRE_OK;
    }
    return status;
}

static void check_after_failure(struct node *node, int64_t acknowledged)
{
    sb_memory_fail_at(0);
    node_shut(node);
    assert_int_equal(sb_memory_blocks(), 0);
    assert_int_equal(sim_store_pins(&node->store), 0);
    sim_store_crash(&node->store);
    node->fault = (struct sb_fault){0};
    assert_int_equal(node_open(node), WIRE_OK);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    if (acknowledged > 0)
        assert_true(node->storage != 0);
    for (int64_t i = 0; i < acknowledged; i++)
        assert_int_equal(value_of_key(node, 100 + i), i);
    assert_int_equal(node_status(node).locks, 0);
    if (node->storage != 0) {
        int64_t five = value_of_key(node, 5);

        assert_true((five == ABSENT || five == 10) && (five == ABSENT) == (value_of_key(node, 6) == ABSENT));
        assert_true(value_of_key(node, 2) == ABSENT);
    }
}

static void test_allocation_failures(void **state)
{
    bool failed = true;
    uint64_t n;

    (void) state;
    for (n = 1; failed; n++) {
        struct node *node = node_new();
        struct sim_store_options block = {.seed = n, .would_block_per_mille = 300, .flush_per_mille = 100};
        int64_t acknowledged = 0;
        int status;

        sim_store_tune(&node->store, &block);
        sb_memory_fail_at(n);
        status = everything(node, &acknowledged);
        failed = status != WIRE_OK;
        if (failed)
            assert_int_equal(status, WIRE_E_NOMEM);
        check_after_failure(node, acknowledged);
        node_free(node);
    }
    assert_true(n > 100);
}

static void test_store_failures(void **state)
{
    bool failed = true;
    uint64_t n;

    (void) state;
    for (n = 1; failed; n++) {
        struct node *node = node_new();
        int64_t acknowledged = 0;
        int status;

        sim_store_fail_write(&node->store, n, WIRE_E_DISK_FULL);
        status = everything(node, &acknowledged);
        failed = status != WIRE_OK;
        if (failed)
            assert_int_equal(status, WIRE_E_DISK_FULL);
        sim_store_fail_write(&node->store, 0, 0);
        check_after_failure(node, acknowledged);
        node_free(node);
    }
    assert_true(n > 10);
}

/* ---- restart ---- */

static void test_restart(void **state)
{
    struct node *node = node_ready();
    uint64_t versions[20];
    uint64_t last;

    (void) state;
    for (int64_t i = 0; i < 20; i++) {
        assert_int_equal(put(node, i % 3, i), WIRE_OK);
        versions[i] = node->version;
        if (i == 9)
            assert_int_equal(node->store.flush(node->store.self, &node->fault), WIRE_OK);
    }
    last = node->version;
    (void) node_submit(node, put_request(node, 0, 1000)); /* never durable */
    for (int round = 0; round < 3; round++) {
        assert_int_equal(node_restart(node, round != 1), WIRE_OK);
        assert_int_equal(node_quiesce(node), WIRE_OK);
        for (int64_t i = 0; i < 20; i++)
            assert_int_equal(value_at(node, i % 3, versions[i]), i);
        assert_int_equal(value_of_key(node, 0), 18);
    }
    /* Versions never go back, whatever the clock says. */
    node->now_ms = 5;
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(put(node, 0, 2000), WIRE_OK);
    assert_true(node_reply(node)->snapshot > last);
    assert_int_equal(value_of_key(node, 0), 2000);
    node_free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_delete),
        cmocka_unit_test(test_replies_wait_for_durability),
        cmocka_unit_test(test_reply_order),
        cmocka_unit_test(test_return_flags),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_batch_is_atomic),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_transactional_results),
        cmocka_unit_test(test_first_updater),
        cmocka_unit_test(test_commit_small),
        cmocka_unit_test(test_commit_refusals),
        cmocka_unit_test(test_commit_sizes),
        cmocka_unit_test(test_commit_large_settled),
        cmocka_unit_test(test_commit_large_unsettled),
        cmocka_unit_test(test_decide),
        cmocka_unit_test(test_prepared_survives),
        cmocka_unit_test(test_spill),
        cmocka_unit_test(test_abort_spilled),
        cmocka_unit_test(test_abort_in_flight),
        cmocka_unit_test(test_restart_aborts_pending),
        cmocka_unit_test(test_settle_in_pieces),
        cmocka_unit_test(test_fetches),
        cmocka_unit_test(test_in_flight_limit),
        cmocka_unit_test(test_storages),
        cmocka_unit_test(test_drop_with_intents),
        cmocka_unit_test(test_horizon),
        cmocka_unit_test(test_short_requests),
        cmocka_unit_test(test_changed_requests),
        cmocka_unit_test(test_hostile_requests),
        cmocka_unit_test(test_damaged_replay),
        cmocka_unit_test(test_senseless_entries),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_store_failures),
        cmocka_unit_test(test_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
