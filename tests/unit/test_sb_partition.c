/*
 * The partition, step by step: bare writes, locks, requests that wait, storages, the horizon, restarts. When a reply goes
 * out, and what it says. Commits are in test_sb_decide.c, what hostile requests and failures do in
 * test_sb_shard_faults.c.
 */
#include "partition_node.h"

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
    uint64_t refused = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(2, 0),
                                                       sim_condition(WIRE_CONDITION_NOT_EXISTS)));
    uint64_t unrelated = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 2, sim_item(2, 0),
                                                         sim_condition(WIRE_CONDITION_EXISTS)));
    uint64_t updated;

    (void) state;
    /* The refusal tells of the put that is in flight; the other depends on nothing. */
    assert_false(node_answered(node, put_token));
    assert_false(node_answered(node, refused));
    assert_int_equal(node_result(node, unrelated), WIRE_E_CONDITION);
    assert_true(value_of_key(node, 1) == ABSENT);
    updated = node_submit(
        node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 1, sim_update(12), sim_equals(10)));
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
        tokens[i] = node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_MUST_NOT_EXIST, 6 - i,
                                                    sim_item(1, 0), none));
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

    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE,
                                                   WIRE_RETURN_OLD | WIRE_RETURN_NEW, 1, sim_update(11), none)),
                     WIRE_OK);
    body = node_reply(node)->body;
    assert_int_equal(wire_read_varint(&body), 1);
    assert_int_equal(wire_read_u8(&body), 1);
    assert_int_equal(sim_item_value(reply_image(&body)), 10);
    assert_int_equal(sim_item_value(reply_image(&body)), 11);
    assert_int_equal(wire_reader_finish(&body), WIRE_OK);

    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_DELETE,
                                                   WIRE_RETURN_OLD | WIRE_RETURN_NEW, 1, none, none)),
                     WIRE_OK);
    body = node_reply(node)->body;
    assert_int_equal(wire_read_varint(&body), 1);
    assert_int_equal(wire_read_u8(&body), 1);
    assert_int_equal(sim_item_value(reply_image(&body)), 11);
    assert_int_equal(reply_image(&body).size, 0);

    /* What is replaced was in flight itself. */
    (void) node_submit(node, put_request(node, 2, 20));
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_RETURN_OLD, 2,
                                                   sim_item(21, 0), none)),
                     WIRE_OK);
    body = node_reply(node)->body;
    wire_read_varint(&body);
    assert_int_equal(wire_read_u8(&body), 1);
    assert_int_equal(sim_item_value(reply_image(&body)), 20);

    /* A refusal tells what it found, if asked. */
    assert_int_equal(put(node, 1, 12), WIRE_OK);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_DELETE, WIRE_RETURN_OLD, 1, none,
                                                   sim_equals(1))),
                     WIRE_E_CONDITION);
    body = node_reply(node)->body;
    assert_int_equal(sim_item_value(reply_image(&body)), 12);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_DELETE, WIRE_RETURN_OLD, 5, none,
                                                   sim_equals(1))),
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
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_MUST_NOT_EXIST, 1,
                                                   sim_item(1, 0), none)),
                     WIRE_OK);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_MUST_NOT_EXIST, 1,
                                                   sim_item(2, 0), none)),
                     WIRE_E_EXISTS);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(3, 0),
                                                   sim_condition(WIRE_CONDITION_FALSE))),
                     WIRE_E_CONDITION);
    assert_int_equal(
        node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(4, 0), sim_equals(1))),
        WIRE_OK);
    assert_int_equal(
        node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_DELETE, 0, 1, none, sim_equals(1))),
        WIRE_E_CONDITION);
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
    assert_int_equal(
        node_call(node, write_request(node, alice, WIRE_WRITE_UPDATE, 0, 1, sim_update(11), sim_equals(10))), WIRE_OK);
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

/* A bare update near the limit of an item's size is the backend's to count: it is refused, and taken in a transaction. */
static void test_update_near_limit(void **state)
{
    struct node *node = node_ready();
    struct wire_span near = sim_item(1, WIRE_ITEM_SIZE_SURE);

    (void) state;
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, near, none)), WIRE_OK);
    assert_int_equal(
        node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 1, sim_update(2), none)),
        WIRE_E_ITEM_SIZE);
    assert_int_equal(value_of_key(node, 1), 1);
    assert_int_equal(node_call(node, write_request(node, alice, WIRE_WRITE_UPDATE, 0, 1, sim_update(3), none)),
                     WIRE_OK);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 2,
                                                   sim_item(1, WIRE_ITEM_SIZE_SURE - 10), none)),
                     WIRE_OK);
    assert_int_equal(
        node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 2, sim_update(2), none)), WIRE_OK);
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
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_UPDATE, 0, 1, sim_update(1), none)),
                     WIRE_E_CHANGED);
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_PUT, 0, 2, sim_item(1, 0), none)),
                     WIRE_E_CHANGED);
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
    token =
        node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 1, sim_update(2), sim_equals(1)));
    other = node_submit(node, put_request(node, 1, 3));
    assert_int_equal(node->fetch_count, 2);
    assert_int_equal(node_status(node).parked, 2);
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .token = 12345}), WIRE_OK);
    /* Others pass: the second is ready first, and then the first finds another state. */
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .token = node->fetches[1]}), WIRE_OK);
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .token = node->fetches[0]}), WIRE_OK);
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
        tokens[i] =
            node_submit(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(i, 600), none));
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
        assert_int_equal(
            node_call(node, commit ? commit_request(node, (struct who){.owner = ALICE, .transactions = &id, .count = 1},
                                                    0, 0, 0, 0, 0)
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
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_PUT, 0, 1, sim_item(1, 0), none)),
                     WIRE_E_SNAPSHOT_TOO_OLD);
    who.snapshot = before;
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_PUT, 0, 1, sim_item(1, 0), none)), WIRE_OK);
    /* Neither back nor ahead of what is applied. */
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_TICK, .horizon = old}), WIRE_OK);
    assert_int_equal(node_step(node, (struct sb_event){.kind = SB_EVENT_TICK, .horizon = node->version + 1000}),
                     WIRE_OK);
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_true(node->horizon == before);
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_true(node->horizon == before);
    node_free(node);
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
        cmocka_unit_test(test_update_near_limit),
        cmocka_unit_test(test_first_updater),
        cmocka_unit_test(test_fetches),
        cmocka_unit_test(test_in_flight_limit),
        cmocka_unit_test(test_storages),
        cmocka_unit_test(test_drop_with_intents),
        cmocka_unit_test(test_horizon),
        cmocka_unit_test(test_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
