/* Tests of the simulator's store: the contract of struct sb_store (check_store.h), and what it adds: crashes, chance,
 * faults. */
#include "check_store.h"

#include "sim_store.h"

static const struct sim_store_options quiet = {.seed = 1};

static void run(void (*check)(struct sb_store *))
{
    struct sb_store s;

    sim_store_open(&quiet, &s);
    check(&s);
    assert_int_equal(sim_store_pins(&s), 0);
    s.close(s.self);
}

#define CONTRACT(name)                                                                                                 \
    static void test_##name(void **state)                                                                              \
    {                                                                                                                  \
        (void) state;                                                                                                  \
        run(check_##name);                                                                                             \
    }

CONTRACT(get)
CONTRACT(pins)
CONTRACT(batch_order)
CONTRACT(refused)
CONTRACT(multi_get)
CONTRACT(iterate)
CONTRACT(views)
CONTRACT(persisted)
CONTRACT(horizon)
CONTRACT(status)

/* Flushes and compactions at any time change nothing that a reader may see. */
static void test_model(void **state)
{
    (void) state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_store_options options = {.seed = seed, .flush_per_mille = 100, .compact_per_mille = 100};
        struct sb_store s;

        sim_store_open(&options, &s);
        check_model(&s, seed);
        assert_int_equal(sim_store_pins(&s), 0);
        s.close(s.self);
    }
}

static void test_crash(void **state)
{
    struct sb_store s;

    (void) state;
    sim_store_open(&quiet, &s);
    sim_store_crash(&s); /* an empty store */
    write_all(&s, put(SB_ITEMS, "a1", "kept"), put(SB_HISTORY, "a1", "kept"));
    must_flush(&s);
    write_all(&s, put(SB_ITEMS, "a1", "lost"), put(SB_ITEMS, "a2", "lost"), drop(SB_HISTORY, "a1"));
    want_persisted(&s, "a1", "kept");
    sim_store_crash(&s);
    want_get(&s, SB_ITEMS, "a1", "kept");
    want_get(&s, SB_ITEMS, "a2", NULL);
    want_get(&s, SB_HISTORY, "a1", "kept");
    write_all(&s, put(SB_ITEMS, "a1", "again"));
    sim_store_crash(&s);
    want_get(&s, SB_ITEMS, "a1", "kept");
    s.close(s.self);
}

/* After a crash the horizon is not known, and entries dropped from table files stay dropped. */
static void test_crash_and_horizon(void **state)
{
    struct sb_store s;

    (void) state;
    sim_store_open(&quiet, &s);
    put_history(&s, SB_HISTORY, "h1", 10);
    put_history(&s, SB_HISTORY, "h2", 30);
    must_flush(&s);
    put_history(&s, SB_HISTORY, "h2", 10); /* not flushed: the file still says 30 */
    s.set_horizon(s.self, 20);
    must_compact(&s);
    want_range(&s, NULL, SB_HISTORY, "", "", "", "");
    sim_store_crash(&s);
    want_range(&s, NULL, SB_HISTORY, "", "", "h2", "h2");
    assert_int_equal(superseded_at_of(&s, "h2"), 30);
    put_history(&s, SB_HISTORY, "h3", 10);
    must_compact(&s);
    assert_int_equal(superseded_at_of(&s, "h3"), 10);
    s.close(s.self);
}

/* A view loses entries below the horizon too, as RocksDB's do. */
static void test_view_and_horizon(void **state)
{
    struct sb_store s;
    void *view;

    (void) state;
    sim_store_open(&quiet, &s);
    put_history(&s, SB_HISTORY, "h1", 10);
    put_history(&s, SB_HISTORY, "h2", 30);
    assert_int_equal(s.view_open(s.self, &view, NULL), WIRE_OK);
    s.set_horizon(s.self, 20);
    must_compact(&s);
    want_range(&s, view, SB_HISTORY, "", "", "h2", "h2");
    s.view_close(s.self, view);
    s.close(s.self);
}

/* Where crashes of `writes` single puts fall back to: a bit per write count seen. */
static uint64_t crash_points(uint64_t seed, uint32_t per_mille)
{
    struct sim_store_options options = {.seed = seed, .flush_per_mille = per_mille};
    uint64_t seen = 0;
    struct sb_store s;

    sim_store_open(&options, &s);
    for (int i = 0; i < 60; i++) {
        char value[16];
        struct sb_value read;

        snprintf(value, sizeof(value), "%d", i);
        write_all(&s, put(SB_ITEMS, "counter", value), put(SB_HISTORY, "counter", value));
        if (s.persisted(s.self, text("counter"), &read, NULL) == WIRE_OK) {
            memset(value, 0, sizeof(value));
            memcpy(value, read.bytes.data, read.bytes.size);
            seen |= UINT64_C(1) << atoi(value);
            s.release(s.self, &read);
            sim_store_crash(&s);
            want_get(&s, SB_ITEMS, "counter", value);
            want_get(&s, SB_HISTORY, "counter", value);
        }
    }
    s.close(s.self);
    return seen;
}

static void test_spontaneous_flush(void **state)
{
    (void) state;
    assert_int_equal(crash_points(1, 0), 0);
    assert_int_equal(crash_points(1, 1000), (UINT64_C(1) << 60) - 1);
    assert_true(crash_points(1, 100) != 0 && crash_points(1, 100) != (UINT64_C(1) << 60) - 1);
    assert_int_equal(crash_points(7, 100), crash_points(7, 100)); /* from the seed alone */
    assert_int_not_equal(crash_points(7, 100), crash_points(8, 100));
}

static void test_spontaneous_compaction(void **state)
{
    struct sim_store_options options = {.seed = 3, .compact_per_mille = 1000};
    struct sb_store s;

    (void) state;
    sim_store_open(&quiet, &s);
    s.set_horizon(s.self, 20);
    put_history(&s, SB_HISTORY, "h1", 10);
    assert_int_equal(superseded_at_of(&s, "h1"), 10);
    sim_store_tune(&s, &options);
    write_all(&s, put(SB_ITEMS, "x", "any write"));
    assert_int_equal(superseded_at_of(&s, "h1"), UINT64_MAX);
    s.close(s.self);
}

static void test_memory_tier(void **state)
{
    struct sim_store_options options = {.seed = 5, .would_block_per_mille = 300};
    struct sb_value value;
    struct sb_store s;
    int blocked = 0;

    (void) state;
    sim_store_open(&options, &s);
    write_all(&s, put(SB_ITEMS, "k1", "v"));
    for (int i = 0; i < 1000; i++) {
        int status = s.get(s.self, SB_ITEMS, text(i % 2 ? "k1" : "k2"), SB_TIER_MEMORY, &value, NULL);

        if (status == WIRE_E_WOULD_BLOCK) {
            blocked++;
            assert_null(value.pin);
        } else {
            want_value(&s, status, &value, i % 2 ? "v" : NULL);
        }
        want_get(&s, SB_ITEMS, "k1", "v"); /* the other tier never blocks */
    }
    assert_in_range(blocked, 200, 400);
    s.close(s.self);
}

static void test_fail_write(void **state)
{
    const struct sb_change changes[] = {put(SB_ITEMS, "f1", "new"), drop(SB_ITEMS, "f0")};
    struct sb_fault fault = {0};
    struct sb_store s;

    (void) state;
    sim_store_open(&quiet, &s);
    write_all(&s, put(SB_ITEMS, "f0", "old"));
    sim_store_fail_write(&s, 2, WIRE_E_DISK_FULL);
    write_all(&s, put(SB_ITEMS, "f2", "first"));
    assert_int_equal(s.write(s.self, changes, 2, &fault), WIRE_E_DISK_FULL);
    assert_int_equal(fault.code, WIRE_E_DISK_FULL);
    want_range(&s, NULL, SB_ITEMS, "", "", "f0 f2", "f2 f0");
    assert_int_equal(s.write(s.self, changes, 2, &fault), WIRE_OK); /* once only */
    want_range(&s, NULL, SB_ITEMS, "", "", "f1 f2", "f2 f1");
    sim_store_fail_write(&s, 1, WIRE_E_IO);
    sim_store_fail_write(&s, 0, WIRE_OK);
    assert_int_equal(s.write(s.self, changes, 2, &fault), WIRE_OK);
    s.close(s.self);
}

static void test_pins_are_counted(void **state)
{
    struct sb_iterator *it;
    struct sb_value value;
    struct sb_store s;
    void *view;

    (void) state;
    sim_store_open(&quiet, &s);
    write_all(&s, put(SB_ITEMS, "k1", "v"));
    assert_int_equal(s.get(s.self, SB_ITEMS, text("k1"), SB_TIER_ALL, &value, NULL), WIRE_OK);
    assert_int_equal(s.view_open(s.self, &view, NULL), WIRE_OK);
    assert_int_equal(s.iterate(s.self, view, SB_ITEMS, nothing, nothing, &it, NULL), WIRE_OK);
    assert_int_equal(sim_store_pins(&s), 3);
    it->close(it->self);
    s.view_close(s.self, view);
    s.release(s.self, &value);
    assert_int_equal(sim_store_pins(&s), 0);
    s.close(s.self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_batch_order),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_multi_get),
        cmocka_unit_test(test_iterate),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_persisted),
        cmocka_unit_test(test_horizon),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_crash),
        cmocka_unit_test(test_crash_and_horizon),
        cmocka_unit_test(test_view_and_horizon),
        cmocka_unit_test(test_spontaneous_flush),
        cmocka_unit_test(test_spontaneous_compaction),
        cmocka_unit_test(test_memory_tier),
        cmocka_unit_test(test_fail_write),
        cmocka_unit_test(test_pins_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
