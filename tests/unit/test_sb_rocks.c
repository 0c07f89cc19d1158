/*
 * Tests of the items store on RocksDB: the contract of struct sb_store (check_store.h), and what only files can show:
 * what survives a loss of memory, locks, limits. Damage and disks that fail: test_sb_rocks_damage.c.
 *
 * Started with --writer, the program is the writer that test_kill kills.
 */
#include "check_store.h"
#include "store_files.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- the contract ---- */

static void run(void (*check)(struct sb_store *))
{
    struct sb_store s;

    open_store(fresh("contract"), &s);
    check(&s);
    s.close(s.self);
    assert_int_equal(sb_memory_blocks(), 0);
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

static void test_model(void **state)
{
    (void) state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct sb_store s;

        open_store(fresh("model"), &s);
        check_model(&s, seed);
        s.close(s.self);
    }
    assert_int_equal(sb_memory_blocks(), 0);
}

/* ---- durability ---- */

/* Files hold the flushed state of both families and nothing else, whichever family was written. */
static void test_flush_is_atomic(void **state)
{
    const char *path = fresh("atomic"), *copy = path_of("copy");
    struct sb_store s, c;

    (void) state;
    open_store(path, &s);
    copy_directory(path, copy);
    open_store(copy, &c);
    want_range(&c, NULL, SB_ITEMS, "", "", "", "");
    c.close(c.self);

    write_all(&s, put(SB_ITEMS, "i1", "1"), put(SB_HISTORY, "h1", "1"));
    must_flush(&s);
    write_all(&s, put(SB_HISTORY, "h2", "2")); /* one family alone */
    must_flush(&s);
    write_all(&s, put(SB_ITEMS, "i3", "3"));
    must_flush(&s);
    write_all(&s, put(SB_ITEMS, "i1", "lost"), put(SB_ITEMS, "i4", "lost"), put(SB_HISTORY, "h4", "lost"));
    copy_directory(path, copy);
    open_store(copy, &c);
    want_range(&c, NULL, SB_ITEMS, "", "", "i1 i3", "i3 i1");
    want_range(&c, NULL, SB_HISTORY, "", "", "h1 h2", "h2 h1");
    want_get(&c, SB_ITEMS, "i1", "1");
    write_all(&c, put(SB_ITEMS, "i5", "5"));
    c.close(c.self); /* a clean close keeps what was written */
    open_store(copy, &c);
    want_get(&c, SB_ITEMS, "i5", "5");
    c.close(c.self);
    want_get(&s, SB_ITEMS, "i4", "lost");
    s.close(s.self);
}

static int number_of(struct sb_store *s, enum sb_family family, const char *key)
{
    struct sb_value value;
    char digits[16] = "";

    if (s->get(s->self, family, text(key), SB_TIER_ALL, &value, NULL) != WIRE_OK)
        return 0;
    assert_true(value.bytes.size < sizeof(digits));
    memcpy(digits, value.bytes.data, value.bytes.size);
    s->release(s->self, &value);
    return atoi(digits);
}

static void *flush_forever(void *argument)
{
    struct sb_store *s = argument;
    struct sb_fault fault;

    while (s->flush(s->self, &fault) == WIRE_OK)
        ;
    _exit(3);
}

/* Batches that touch items always and history often, memtables that fill within hundreds of them, flushes all the time.
 * Items "h" says what history "c" must say. */
static int writer(const char *path)
{
    struct sb_rocks_options options = options_of(path);
    struct sb_fault fault = {0};
    struct sb_store s;
    uint64_t random = (uint64_t) getpid() * 2654435761u + 1;
    pthread_t thread;
    char last[16];

    options.write_buffer_bytes = 64 << 10;
    if (sb_rocks_open(&options, &s, &fault) != WIRE_OK || pthread_create(&thread, NULL, flush_forever, &s) != 0)
        return 2;
    snprintf(last, sizeof(last), "%d", number_of(&s, SB_ITEMS, "h")); /* of an earlier life */
    for (int n = 1;; n++) {
        char number[16], key[16];
        struct sb_change changes[5];
        size_t count = 3;

        snprintf(number, sizeof(number), "%d", n);
        snprintf(key, sizeof(key), "k%d", n % 1000);
        if (model_random(&random) % 2) {
            memcpy(last, number, sizeof(last));
            changes[3] = put(SB_HISTORY, "c", number);
            changes[4] = put(SB_HISTORY, key, number);
            count = 5;
        }
        changes[0] = put(SB_ITEMS, "c", number);
        changes[1] = put(SB_ITEMS, "h", last);
        changes[2] = put(SB_ITEMS, key, number);
        if (s.write(s.self, changes, count, &fault) != WIRE_OK || (n % 100 == 0 && write(1, ".", 1) != 1))
            return 2;
    }
}

/* One life of a writer: killed when it has reported `dots` times. */
static void write_and_kill(const char *path, int dots)
{
    int ends[2], status;
    char dot;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        execl("/proc/self/exe", "test_sb_rocks", "--writer", path, (char *) NULL);
        _exit(4);
    }
    assert_true(child > 0);
    close(ends[1]);
    for (int i = 0; i < dots; i++)
        assert_int_equal(read(ends[0], &dot, 1), 1);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(ends[0]);
}

/* Killed at any moment, amid flushes of every kind: both families stand at the same batch. */
static void test_kill(void **state)
{
    const char *path = fresh("kill");
    uint64_t random = 88172645463325252u;
    int with_data = 0;

    (void) state;
    for (int round = 0; round < 12; round++) {
        struct sb_store s;

        write_and_kill(path, 1 + (int) (model_random(&random) % 40));
        open_store(path, &s);
        assert_int_equal(number_of(&s, SB_HISTORY, "c"), number_of(&s, SB_ITEMS, "h"));
        with_data += number_of(&s, SB_ITEMS, "c") > 0;
        s.close(s.self);
        if (round % 4 == 3)
            remove_directory(path); /* families empty at first */
    }
    assert_true(with_data > 4);
}

static void test_memory_tier(void **state)
{
    const char *path = fresh("tier");
    struct sb_value value;
    struct sb_store s;
    char key[32];

    (void) state;
    open_store(path, &s);
    for (int i = 0; i < 1000; i++) { /* opening reads the first block */
        snprintf(key, sizeof(key), "filler%d", i);
        write_all(&s, put(SB_ITEMS, key, "more than a block of eight kilobytes holds in all"));
    }
    write_all(&s, put(SB_ITEMS, "t1", "v"));
    want_value(&s, s.get(s.self, SB_ITEMS, text("t1"), SB_TIER_MEMORY, &value, NULL), &value, "v"); /* memtable */
    s.close(s.self);
    open_store(path, &s);
    assert_int_equal(s.get(s.self, SB_ITEMS, text("t1"), SB_TIER_MEMORY, &value, NULL), WIRE_E_WOULD_BLOCK);
    assert_null(value.pin);
    want_get(&s, SB_ITEMS, "t1", "v");
    want_value(&s, s.get(s.self, SB_ITEMS, text("t1"), SB_TIER_MEMORY, &value, NULL), &value, "v");  /* cache */
    want_value(&s, s.get(s.self, SB_ITEMS, text("t2"), SB_TIER_MEMORY, &value, NULL), &value, NULL); /* filter */
    s.close(s.self);
}

/* ---- open ---- */

static void test_second_open(void **state)
{
    const char *path = fresh("second");
    struct sb_rocks_options options = options_of(path);
    struct sb_fault fault = {0};
    struct sb_store s, second;

    (void) state;
    open_store(path, &s);
    assert_int_equal(sb_rocks_open(&options, &second, &fault), WIRE_E_IO);
    assert_non_null(strstr(fault.text, "LOCK"));
    write_all(&s, put(SB_ITEMS, "still", "works"));
    must_flush(&s);
    s.close(s.self);
    assert_int_equal(sb_rocks_open(&options, &second, &fault), WIRE_OK);
    want_get(&second, SB_ITEMS, "still", "works");
    second.close(second.self);
    assert_int_equal(sb_memory_blocks(), 0);
}

static void test_bad_options(void **state)
{
    const struct sb_rocks_options good = options_of(fresh("bad"));
    struct sb_rocks_options bad[6] = {good, good, good, good, good, good};
    struct sb_fault fault;
    struct sb_store s;

    (void) state;
    bad[0].write_buffer_bytes = 1;
    bad[1].write_buffer_count = 1;
    bad[2].background_threads = 0;
    bad[3].max_open_files = 0;
    bad[4].max_open_files = UINT32_MAX;
    bad[5].rate_limit_bytes_per_s = UINT64_MAX;
    for (int i = 0; i < 6; i++) {
        memset(&fault, 0, sizeof(fault));
        assert_int_equal(sb_rocks_open(&bad[i], &s, &fault), WIRE_E_CONFIG);
        assert_int_equal(fault.code, WIRE_E_CONFIG);
    }
    bad[0] = good;
    bad[0].path = path_of("no/such/parent");
    assert_int_equal(sb_rocks_open(&bad[0], &s, &fault), WIRE_E_IO);
    bad[0] = good;
    bad[0].rate_limit_bytes_per_s = 100 << 20;
    assert_int_equal(sb_rocks_open(&bad[0], &s, &fault), WIRE_OK);
    check_get(&s);
    must_flush(&s);
    s.close(s.self);
}

static void test_no_memory(void **state)
{
    const char *path = fresh("memory");
    struct sb_rocks_options options = options_of(path);
    struct wire_span keys[100];
    struct sb_value values[100];
    int codes[100];
    struct sb_fault fault = {0};
    struct sb_iterator *it;
    struct sb_store s;
    void *view;

    (void) state;
    sb_memory_fail_at(1);
    assert_int_equal(sb_rocks_open(&options, &s, &fault), WIRE_E_NOMEM);
    assert_int_equal(sb_memory_blocks(), 0);
    open_store(path, &s);
    for (int i = 0; i < 100; i++)
        keys[i] = text("key");
    sb_memory_fail_at(1);
    assert_int_equal(s.multi_get(s.self, SB_ITEMS, keys, 100, values, codes, &fault), WIRE_E_NOMEM);
    assert_int_equal(codes[99], WIRE_E_NOMEM);
    sb_memory_fail_at(1);
    assert_int_equal(s.view_open(s.self, &view, &fault), WIRE_E_NOMEM);
    sb_memory_fail_at(1);
    assert_int_equal(s.iterate(s.self, NULL, SB_ITEMS, nothing, nothing, &it, &fault), WIRE_E_NOMEM);
    sb_memory_fail_at(0);
    check_get(&s);
    s.close(s.self);
    assert_int_equal(sb_memory_blocks(), 0);
}

/* A batch larger than a memtable, and a value of the largest size. */
static void test_large(void **state)
{
    enum { SIZE = 900 * 1024 };
    uint8_t *value = malloc(SIZE);
    struct sb_change changes[4];
    struct sb_fault fault = {0};
    struct sb_value read;
    struct sb_store s;
    static const char *const keys[] = {"l1", "l2", "l3", "l4"};
    uint64_t random = 7;

    (void) state;
    assert_non_null(value);
    for (size_t i = 0; i < SIZE; i++)
        value[i] = (uint8_t) model_random(&random);
    for (int i = 0; i < 4; i++)
        changes[i] = (struct sb_change){SB_PUT, i % 2 ? SB_HISTORY : SB_ITEMS, text(keys[i]), {value, SIZE}};
    open_store(fresh("large"), &s);
    for (int round = 0; round < 3; round++)
        assert_int_equal(s.write(s.self, changes, 4, &fault), WIRE_OK);
    must_flush(&s);
    must_compact(&s);
    assert_int_equal(s.get(s.self, SB_HISTORY, text("l2"), SB_TIER_ALL, &read, &fault), WIRE_OK);
    assert_int_equal(read.bytes.size, SIZE);
    assert_memory_equal(read.bytes.data, value, SIZE);
    s.release(s.self, &read);
    s.close(s.self);
    free(value);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),         cmocka_unit_test(test_pins),        cmocka_unit_test(test_batch_order),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_multi_get),   cmocka_unit_test(test_iterate),
        cmocka_unit_test(test_views),       cmocka_unit_test(test_persisted),   cmocka_unit_test(test_horizon),
        cmocka_unit_test(test_status),      cmocka_unit_test(test_model),       cmocka_unit_test(test_flush_is_atomic),
        cmocka_unit_test(test_kill),        cmocka_unit_test(test_memory_tier), cmocka_unit_test(test_second_open),
        cmocka_unit_test(test_bad_options), cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_large),
    };

    if (argc == 3 && strcmp(argv[1], "--writer") == 0)
        return writer(argv[2]);
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
