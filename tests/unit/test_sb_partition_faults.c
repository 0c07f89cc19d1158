/*
 * The partition and those who mean it no good: malformed requests, damaged and senseless log entries, memory and stores
 * that fail.
 */
#include "partition_node.h"

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
                       write_request(node, alice, WIRE_WRITE_UPDATE, WIRE_RETURN_OLD, 1, sim_update(1),
                                     sim_condition(WIRE_CONDITION_NOT_EXISTS)));
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
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_LOCK, 0, 1, none, none)),
                     WIRE_E_BAD_FORMAT);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, WIRE_HAS_OVERLAY, 1,
                                                   sim_item(1, 0), none)),
                     WIRE_E_BAD_FORMAT);
    /* Items that are none, or claim to be deleted. */
    assert_int_equal(
        node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_text("no item"), none)),
        WIRE_E_BAD_FORMAT);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, none, none)),
                     WIRE_E_BAD_FORMAT);
    assert_int_equal(node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, deleted_item(), none)),
                     WIRE_E_BAD_FORMAT);
    assert_int_equal(lock_key(node, ALICE, 1, 1), WIRE_OK);
    assert_int_equal(effect_commit(node, sim_key(own, 1), deleted_item()), WIRE_E_BAD_FORMAT);
    assert_int_equal(effect_commit(node, sim_key(own, 1), sim_text("no item at all, but longer")), WIRE_E_BAD_FORMAT);
    assert_int_equal(effect_commit(node, sim_key(own, 1), sim_item(1, 910 * 1024)), WIRE_E_BAD_FORMAT);
    assert_int_equal(node_call(node, write_request(node, alice, WIRE_WRITE_PUT, 0, 1, sim_item(1, 910 * 1024), none)),
                     WIRE_E_ITEM_SIZE);
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
        assert_int_equal(sb_partition_replay(node->partition, &entry, &fault), WIRE_E_CORRUPT);
        ((uint8_t *) entry.payload.data)[i] ^= 0x10;
    }
    for (size_t size = 0; size < entry.payload.size; size++) {
        struct sb_log_entry cut = entry;
        uint8_t *exact = malloc(size ? size : 1);

        memcpy(exact, entry.payload.data, size);
        cut.payload = (struct wire_span){exact, size};
        assert_int_equal(sb_partition_replay(node->partition, &cut, &fault), WIRE_E_CORRUPT);
        free(exact);
    }
    entry.index++;
    assert_int_equal(sb_partition_replay(node->partition, &entry, &fault), WIRE_E_CORRUPT);
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
    return sb_partition_replay(node->partition, &entry, &node->fault);
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

/* A bit of everything; stops at the first error. Sets *acknowledged to the number of puts to keys 100, 101, .. that
 * were answered. */
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
        status = node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE,
                                               WIRE_RETURN_OLD | WIRE_RETURN_NEW, 1, sim_update(1), none));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_requests),    cmocka_unit_test(test_changed_requests),
        cmocka_unit_test(test_hostile_requests),  cmocka_unit_test(test_damaged_replay),
        cmocka_unit_test(test_senseless_entries), cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_store_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
