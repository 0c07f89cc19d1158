/* Superseded images: keys and values taken apart, one key, and the cursor in both directions against a plain list. */
#include "partition_node.h"

#include "sb_history.h"

#define STORAGE 7

static struct sb_store store;
static struct sb_transactions *transactions;
static struct sb_fault fault;

static void begin(void)
{
    struct sim_store_options options = {.seed = 1};

    sim_store_open(&options, &store);
    assert_int_equal(sb_transactions_open(&transactions), WIRE_OK);
}

static void end(void)
{
    assert_int_equal(sim_store_pins(&store), 0);
    store.close(store.self);
    sb_transactions_close(transactions);
    sim_arena_reset();
    assert_int_equal(sb_memory_blocks(), 0);
}

/* The image of `key` that held in [version, superseded_at), with the version as value. */
static void add_image(struct wire_span key, uint64_t version, uint64_t superseded_at)
{
    struct wire_span item = sim_item((int64_t) version, 0);
    struct sb_history_key at;
    struct sb_change change = {.kind = SB_PUT, .family = SB_HISTORY, .key = sb_history_key(&at, key, version)};
    uint8_t value[128];
    struct wire_writer w = wire_writer_of(value, sizeof(value));

    wire_item_set_version((void *) item.data, version);
    wire_write_u64(&w, superseded_at);
    wire_write_bytes(&w, item.data, item.size);
    change.value = (struct wire_span){value, w.size};
    assert_int_equal(store.write(store.self, &change, 1, &fault), WIRE_OK);
}

static void test_keys_and_values(void **state)
{
    struct sb_history_key key;
    struct wire_span span = sb_history_key(&key, sim_key(STORAGE, 5), 1234);
    struct wire_span found;
    struct wire_span item = sim_item(1, 3);
    uint64_t version;
    uint64_t superseded_at;
    uint8_t value[128];
    struct wire_writer w = wire_writer_of(value, sizeof(value));

    (void) state;
    assert_true(sb_history_split_key(span, &found, &version));
    assert_int_equal(version, 1234);
    assert_int_equal(wire_span_compare(found, sim_key(STORAGE, 5)), 0);
    for (size_t size = 0; size <= SB_HISTORY_SUFFIX; size++)
        assert_false(sb_history_split_key((struct wire_span){span.data, size}, &found, &version));
    /* Newer images first. */
    {
        struct sb_history_key newer;

        assert_true(wire_span_compare(sb_history_key(&newer, sim_key(STORAGE, 5), 1235), span) < 0);
    }
    wire_write_u64(&w, 99);
    wire_write_bytes(&w, item.data, item.size);
    for (size_t size = 0; size < 8 + WIRE_ITEM_HEADER_SIZE; size++) {
        uint8_t *exact = malloc(size ? size : 1);

        memcpy(exact, value, size);
        assert_false(sb_history_split_value((struct wire_span){exact, size}, &superseded_at, &found));
        free(exact);
    }
    assert_true(sb_history_split_value((struct wire_span){value, w.size}, &superseded_at, &found));
    assert_int_equal(superseded_at, 99);
    assert_int_equal(found.size, item.size);
    sim_arena_reset();
}

static int64_t find(int64_t key, uint64_t snapshot)
{
    struct sb_buffer out = {0};
    uint64_t version = 0;
    int status = sb_history_find(&store, NULL, transactions, sim_key(STORAGE, key), snapshot, &out, &version, &fault);
    int64_t value = status == WIRE_OK ? sim_item_value(sb_buffer_span(&out)) : -status;

    if (status == WIRE_OK)
        assert_int_equal(value, version);
    sb_buffer_close(&out);
    return value;
}

static void test_find(void **state)
{
    struct sb_transaction row = {.id = WIRE_TRANSACTION_BIT | 1, .state = SB_TRANSACTION_PENDING};
    struct sb_buffer out = {0};
    uint64_t version;

    (void) state;
    begin();
    add_image(sim_key(STORAGE, 1), 10, 20);
    add_image(sim_key(STORAGE, 1), 20, 30);
    add_image(sim_key(STORAGE, 1), 40, row.id);
    add_image(sim_key(STORAGE, 2), 5, 6);
    assert_int_equal(find(0, 15), -WIRE_E_NOT_FOUND);
    assert_int_equal(find(3, 15), -WIRE_E_NOT_FOUND);
    assert_int_equal(find(1, 9), -WIRE_E_NOT_FOUND);
    assert_int_equal(find(1, 10), 10);
    assert_int_equal(find(1, 19), 10);
    assert_int_equal(find(1, 20), 20);
    assert_int_equal(find(1, 30), -WIRE_E_NOT_FOUND);
    assert_int_equal(find(1, 45), -WIRE_E_CHANGED); /* nobody knows the transaction any more */
    assert_int_equal(sb_transactions_put(transactions, &row), WIRE_OK);
    assert_int_equal(find(1, 45), 40);
    row.state = SB_TRANSACTION_COMMITTED;
    row.version = 44;
    assert_int_equal(sb_transactions_put(transactions, &row), WIRE_OK);
    assert_int_equal(find(1, 43), 40);
    assert_int_equal(find(1, 44), -WIRE_E_NOT_FOUND);
    assert_int_equal(sb_history_find_superseded(&store, sim_key(STORAGE, 1), row.id, &out, &version, &fault), WIRE_OK);
    assert_int_equal(version, 40);
    assert_int_equal(sim_item_value(sb_buffer_span(&out)), 40);
    assert_int_equal(sb_history_find_superseded(&store, sim_key(STORAGE, 2), row.id, &out, &version, &fault),
                     WIRE_E_NOT_FOUND);
    assert_int_equal(sb_history_find_superseded(&store, sim_key(STORAGE, 9), row.id, &out, &version, &fault),
                     WIRE_E_NOT_FOUND);
    sb_buffer_close(&out);
    end();
}

/* All that is visible in [low, high) at the snapshot, as numbers of keys; compared with the rule itself. */
static void check_cursor(bool forward, int64_t low, struct wire_span high, int64_t last, uint64_t snapshot)
{
    struct sb_history_cursor cursor = {0};
    struct wire_span low_key = sim_key(STORAGE, low);
    int64_t expected = forward ? low : last;

    assert_int_equal(
        sb_history_cursor_open(&cursor, &store, NULL, transactions, snapshot, forward, low_key, high, &fault), WIRE_OK);
    for (;;) {
        assert_int_equal(sb_history_cursor_reach(&cursor, NULL, &fault), WIRE_OK);
        /* Key k has images [10, 20 + k) and [30 + k, 50) if it is not a multiple of 4. */
        while (expected >= low && expected <= last &&
               (expected % 4 == 0 || !((snapshot >= 10 && snapshot < 20 + (uint64_t) expected) ||
                                       (snapshot >= 30 + (uint64_t) expected && snapshot < 50))))
            expected += forward ? 1 : -1;
        if (expected < low || expected > last) {
            assert_false(cursor.valid);
            break;
        }
        assert_true(cursor.valid);
        assert_int_equal(sim_key_number(sb_buffer_span(&cursor.key)), expected);
        assert_int_equal(sim_item_value(sb_buffer_span(&cursor.item)),
                         snapshot < 20 + (uint64_t) expected ? 10 : 30 + expected);
        sb_history_cursor_leave(&cursor);
        expected += forward ? 1 : -1;
    }
    sb_history_cursor_close(&cursor);
}

static void test_cursor(void **state)
{
    (void) state;
    begin();
    for (int64_t k = 0; k < 16; k++) {
        if (k % 4 == 0)
            continue;
        add_image(sim_key(STORAGE, k), 10, 20 + (uint64_t) k);
        add_image(sim_key(STORAGE, k), 30 + (uint64_t) k, 50);
        for (uint64_t i = 0; i < (uint64_t) k;
             i++) /* images that nobody below 60 sees: few, and more than a step skips */
            add_image(sim_key(STORAGE, k), 60 + i, 61 + i);
    }
    for (uint64_t snapshot = 9; snapshot < 52; snapshot++) {
        for (int64_t low = 0; low < 17; low += 3) {
            for (int64_t high = 0; high < 17; high++) {
                struct wire_span bound = sim_key(STORAGE, high);
                uint8_t longer[64];

                check_cursor(true, low, bound, high - 1, snapshot);
                check_cursor(false, low, bound, high - 1, snapshot);
                /* A bound that a key is a prefix of: the key is within. */
                memcpy(longer, bound.data, bound.size);
                longer[bound.size] = 0;
                check_cursor(true, low, (struct wire_span){longer, bound.size + 1}, high < 16 ? high : 15, snapshot);
                check_cursor(false, low, (struct wire_span){longer, bound.size + 1}, high < 16 ? high : 15, snapshot);
            }
            check_cursor(true, low, none, 15, snapshot);
            check_cursor(false, low, none, 15, snapshot);
        }
    }
    end();
}

/* No further than asked. */
static void test_cursor_limit(void **state)
{
    struct sb_history_cursor cursor = {0};
    struct wire_span limit = sim_key(STORAGE, 4);

    (void) state;
    begin();
    add_image(sim_key(STORAGE, 2), 10, 20);
    add_image(sim_key(STORAGE, 5), 10, 50);
    limit = sim_key(STORAGE, 4);
    assert_int_equal(
        sb_history_cursor_open(&cursor, &store, NULL, transactions, 30, true, sim_key(STORAGE, 0), none, &fault),
        WIRE_OK);
    assert_int_equal(sb_history_cursor_reach(&cursor, &limit, &fault), WIRE_OK);
    assert_false(cursor.valid);
    limit = sim_key(STORAGE, 5);
    assert_int_equal(sb_history_cursor_reach(&cursor, &limit, &fault), WIRE_OK);
    assert_true(cursor.valid);
    assert_int_equal(sb_history_cursor_reach(&cursor, NULL, &fault), WIRE_OK);
    assert_int_equal(sim_key_number(sb_buffer_span(&cursor.key)), 5);
    sb_history_cursor_close(&cursor);
    end();
}

static void test_damage(void **state)
{
    struct sb_history_cursor cursor = {0};
    struct sb_history_key at;
    struct sb_buffer out = {0};
    struct sb_change change = {.kind = SB_PUT, .family = SB_HISTORY, .value = sim_text("short")};
    uint64_t version;

    (void) state;
    begin();
    change.key = sb_history_key(&at, sim_key(STORAGE, 1), 10);
    change.value = sim_text("short");
    assert_int_equal(store.write(store.self, &change, 1, &fault), WIRE_OK);
    assert_int_equal(find(1, 15), -WIRE_E_CORRUPT);
    assert_int_equal(sb_history_find_superseded(&store, sim_key(STORAGE, 1), 5, &out, &version, &fault),
                     WIRE_E_CORRUPT);
    for (int forward = 0; forward < 2; forward++) {
        assert_int_equal(
            sb_history_cursor_open(&cursor, &store, NULL, transactions, 15, forward, sim_key(STORAGE, 0), none, &fault),
            WIRE_OK);
        assert_int_equal(sb_history_cursor_reach(&cursor, NULL, &fault), WIRE_E_CORRUPT);
        sb_history_cursor_close(&cursor);
    }
    sb_buffer_close(&out);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_values), cmocka_unit_test(test_find),   cmocka_unit_test(test_cursor),
        cmocka_unit_test(test_cursor_limit),    cmocka_unit_test(test_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
