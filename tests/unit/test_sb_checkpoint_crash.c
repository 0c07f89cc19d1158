/*
 * Tests of checkpoints where something ends or fails: the process at any moment, the power, the disk, a file operation;
 * and of an install while others read and write.
 *
 * Started with --installer, the program is the process that test_kill kills.
 */
#include "checkpoint_bed.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { COUNT = 200 };

/* ---- the simulator's disk ---- */

/* Power lost while a checkpoint comes in, again and again: what is there afterwards can be gone on with, and in the end
 * is right. */
static void test_power_loss(void **state)
{
    (void) state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sb_fault fault = {0};
        struct sb_receiver *r;
        struct bytes bytes;
        struct bed bed;
        int resumed = 0;

        open_bed(&bed, true);
        bed.random = sim_random_of(seed);
        fill(&bed.source.store, "new", COUNT);
        bytes = make(&bed, NULL);
        fill(&bed.target.store, "old", 5);
        must_flush(&bed.target.store);
        for (int crash = 0; crash < 6; crash++) {
            must(open_receiver(&bed, &bytes, &r, &fault), &fault);
            resumed += sb_receiver_have(r) > 0;
            must(feed(r, &bytes,
                      sb_receiver_have(r) + sim_random_below(&bed.random, bytes.size - sb_receiver_have(r) + 1),
                      &fault),
                 &fault);
            sb_receiver_close(r, true);
            sim_files_crash(bed.target.sim_files);
            sim_store_crash(&bed.target.store);
            open_home(&bed, &bed.target, true);
            want_filled(&bed.target.store, NULL, "old", 5);
        }
        install(&bed, &bytes);
        sim_files_crash(bed.target.sim_files);
        sim_store_crash(&bed.target.store); /* durable at once */
        want_filled(&bed.target.store, NULL, "new", COUNT);
        open_home(&bed, &bed.target, false);
        free(bytes.data);
        close_bed(&bed);
        assert_true(resumed > 0 || seed % 8 != 0);
    }
}

/* One way to the end, with failures passed over by trying again. Returns how often it had to. */
static int install_stubbornly(struct bed *bed, const struct bytes *bytes)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    int failures = 0;

    while (open_receiver(bed, bytes, &r, &fault) != WIRE_OK)
        assert_true(++failures < 5);
    while (feed(r, bytes, bytes->size, &fault) != WIRE_OK)
        assert_true(++failures < 5);
    while (sb_receiver_install(r, &fault) != WIRE_OK)
        assert_true(++failures < 5);
    sb_receiver_close(r, true);
    return failures;
}

/* Whichever operation on a file fails while it comes in or is installed: it is told, and the next try does it. */
static void test_failing_files(void **state)
{
    static const int codes[] = {WIRE_E_IO, WIRE_E_DISK_FULL};

    (void) state;
    for (int c = 0; c < 2; c++) {
        int failed = 0;

        for (uint64_t n = 1; n < 200; n++) {
            struct bytes bytes;
            struct bed bed;

            open_bed(&bed, true);
            fill(&bed.source.store, "new", COUNT);
            bytes = make(&bed, NULL);
            fill(&bed.target.store, "old", 5);
            sim_files_fail_at(bed.target.sim_files, n, codes[c]);
            failed += install_stubbornly(&bed, &bytes) > 0;
            sim_files_fail_at(bed.target.sim_files, 0, 0);
            want_filled(&bed.target.store, NULL, "new", COUNT);
            open_home(&bed, &bed.target, false);
            free(bytes.data);
            close_bed(&bed);
        }
        assert_true(failed > 100);
    }
}

/* The same while one is made: the file is gone, the next try does it. */
static void test_failing_source(void **state)
{
    struct sb_fault fault = {0};
    struct sb_checkpoint checkpoint;
    struct sb_checkpoint_order order;
    struct bed bed;
    int failed = 0;

    (void) state;
    open_bed(&bed, true);
    fill(&bed.source.store, "new", COUNT);
    order = order_of(&bed, NULL);
    for (uint64_t n = 1; failed + 1 == (int) n; n++) {
        sim_files_fail_at(bed.source.sim_files, n, WIRE_E_DISK_FULL);
        if (sb_checkpoint_make(&bed.source.home, &order, &checkpoint, &fault) == WIRE_E_DISK_FULL)
            failed++;
        else
            sb_checkpoint_close(&checkpoint);
        sim_files_fail_at(bed.source.sim_files, 0, 0);
        open_home(&bed, &bed.source, false);
        assert_int_equal(files_of(&bed.source), 0);
    }
    assert_true(failed >= 5);
    close_bed(&bed);
}

/* An ingestion or a clearing that fails leaves all as it was, and may be tried again. */
static void test_failing_store(void **state)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;
    struct bed bed;

    (void) state;
    open_bed(&bed, true);
    fill(&bed.source.store, "new", COUNT);
    bytes = make(&bed, NULL);
    fill(&bed.target.store, "old", 5);
    sim_store_fail_write(&bed.target.store, 1, WIRE_E_DISK_FULL);
    assert_int_equal(bed.target.store.clear(bed.target.store.self, bed.ranges, RANGES, &fault), WIRE_E_DISK_FULL);
    must(open_receiver(&bed, &bytes, &r, &fault), &fault);
    must(feed(r, &bytes, bytes.size, &fault), &fault);
    sim_store_fail_write(&bed.target.store, 1, WIRE_E_DISK_FULL);
    assert_int_equal(sb_receiver_install(r, &fault), WIRE_E_DISK_FULL);
    want_filled(&bed.target.store, NULL, "old", 5);
    must(sb_receiver_install(r, &fault), &fault);
    sb_receiver_close(r, true);
    want_filled(&bed.target.store, NULL, "new", COUNT);
    free(bytes.data);
    close_bed(&bed);
}

/* ---- the real disk ---- */

static _Atomic int failing; /* errno of writes to files whose name contains `failing_name` */
static const char *failing_name = "checkpoints";
static _Atomic int passing; /* such writes that pass before */
static _Atomic int failures;

ssize_t write(int descriptor, const void *data, size_t size)
{
    char link[64], name[512];
    ssize_t length;

    if (atomic_load(&failing) != 0) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
        length = readlink(link, name, sizeof(name) - 1);
        name[length > 0 ? length : 0] = 0;
        if (strstr(name, failing_name) && strstr(name, base) && atomic_fetch_sub(&passing, 1) <= 0) {
            atomic_fetch_add(&failures, 1);
            errno = atomic_load(&failing);
            return -1;
        }
    }
    return (ssize_t) syscall(SYS_write, descriptor, data, size);
}

/* No room for a table: told, and gone on from where it stands when there is. */
static void test_full_disk(void **state)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;
    struct bed bed;
    uint64_t have;

    (void) state;
    open_bed(&bed, false);
    fill(&bed.source.store, "new", COUNT);
    bytes = make(&bed, NULL);
    fill(&bed.target.store, "old", 5);
    must(open_receiver(&bed, &bytes, &r, &fault), &fault);
    must(feed(r, &bytes, bytes.size / 2, &fault), &fault);
    atomic_store(&failing, ENOSPC);
    assert_int_equal(feed(r, &bytes, bytes.size, &fault), WIRE_E_DISK_FULL);
    have = sb_receiver_have(r);
    assert_true(have > 0 && have <= bytes.size / 2);
    atomic_store(&failing, 0);
    must(feed(r, &bytes, bytes.size, &fault), &fault);
    want_filled(&bed.target.store, NULL, "old", 5);
    must(sb_receiver_install(r, &fault), &fault);
    sb_receiver_close(r, true);
    want_filled(&bed.target.store, NULL, "new", COUNT);
    free(bytes.data);
    close_bed(&bed);
}

/* A table that was damaged on disk after it was made is refused with its file, and nothing has changed. */
static void test_damaged_table(void **state)
{
    const char *const table = "000000000000002a-0.sst";
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;
    struct bed bed;
    char path[600];

    (void) state;
    open_bed(&bed, false);
    fill(&bed.source.store, "new", COUNT);
    bytes = make(&bed, NULL);
    fill(&bed.target.store, "old", 5);
    must(open_receiver(&bed, &bytes, &r, &fault), &fault);
    must(feed(r, &bytes, bytes.size, &fault), &fault);
    snprintf(path, sizeof(path), "%s/%s", bed.target.path, table);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(sb_receiver_install(r, &fault), WIRE_E_CORRUPT);
    assert_non_null(strstr(fault.text, table));
    sb_receiver_close(r, true);
    assert_int_equal(files_of(&bed.target), 0);
    want_filled(&bed.target.store, NULL, "old", 5);
    install(&bed, &bytes);
    want_filled(&bed.target.store, NULL, "new", COUNT);
    free(bytes.data);
    close_bed(&bed);
}

/* The step itself fails on disk: at its first record of the MANIFEST, which changes nothing, or at its last (`passes`),
 * after which RocksDB takes no more writes. Reads go on, nobody waits for ever, and a restart finds the old state. */
static void check_failing_step(int error, int passes)
{
    const struct sb_change change = put(SB_ITEMS, "o", "x");
    int code = error == ENOSPC && passes == 0 ? WIRE_E_DISK_FULL : WIRE_E_IO;
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct sb_store *s;
    struct bytes bytes;
    struct bed bed;

    open_bed(&bed, false);
    s = &bed.target.store;
    fill(&bed.source.store, "new", COUNT);
    bytes = make(&bed, NULL);
    fill(s, "old", COUNT);
    must_flush(s);
    must(open_receiver(&bed, &bytes, &r, &fault), &fault);
    must(feed(r, &bytes, bytes.size, &fault), &fault);
    failing_name = "MANIFEST";
    atomic_store(&passing, passes);
    atomic_store(&failing, error);
    assert_int_equal(sb_receiver_install(r, &fault), code);
    assert_non_null(strstr(fault.text, "MANIFEST"));
    want_filled(s, NULL, "old", COUNT);
    atomic_store(&failing, 0);
    if (passes == 0) {
        must(s->write(s->self, &change, 1, &fault), &fault);
        must(sb_receiver_install(r, &fault), &fault);
    } else {
        assert_int_equal(s->write(s->self, &change, 1, &fault), WIRE_E_IO);
        assert_non_null(strstr(fault.text, "MANIFEST"));
        assert_int_equal(s->flush(s->self, &fault), WIRE_E_IO);
        assert_int_equal(s->clear(s->self, bed.ranges, RANGES, &fault), WIRE_E_IO);
        assert_int_equal(sb_receiver_install(r, &fault), WIRE_E_IO);
    }
    sb_receiver_close(r, true);
    s->close(s->self);
    open_store(bed.target.store_path, s);
    want_filled(s, NULL, passes == 0 ? "new" : "old", COUNT);
    failing_name = "checkpoints";
    install(&bed, &bytes);
    want_filled(s, NULL, "new", COUNT);
    free(bytes.data);
    close_bed(&bed);
}

static void test_failing_step(void **state)
{
    (void) state;
    for (int passes = 0; passes < 2; passes++) {
        check_failing_step(EIO, passes);
        check_failing_step(ENOSPC, passes);
    }
}

static void *install_received(void *receiver)
{
    struct sb_fault fault = {0};

    return (void *) (intptr_t) sb_receiver_install(receiver, &fault);
}

/* The flush that must come first finds no room: install waits for it, as a flush does, and goes on when there is. */
static void test_flush_without_room(void **state)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;
    pthread_t thread;
    struct bed bed;
    void *status;

    (void) state;
    open_bed(&bed, false);
    fill(&bed.source.store, "new", COUNT);
    bytes = make(&bed, NULL);
    must(open_receiver(&bed, &bytes, &r, &fault), &fault);
    must(feed(r, &bytes, bytes.size, &fault), &fault);
    fill(&bed.target.store, "old", 5); /* in memory */
    failing_name = "/target/0";        /* table files of the store */
    atomic_store(&failures, 0);
    atomic_store(&failing, ENOSPC);
    assert_int_equal(pthread_create(&thread, NULL, install_received, r), 0);
    while (atomic_load(&failures) == 0)
        usleep(1000);
    want_filled(&bed.target.store, NULL, "old", 5);
    atomic_store(&failing, 0);
    assert_int_equal(pthread_join(thread, &status), 0);
    assert_int_equal((intptr_t) status, WIRE_OK);
    failing_name = "checkpoints";
    sb_receiver_close(r, true);
    want_filled(&bed.target.store, NULL, "new", COUNT);
    free(bytes.data);
    close_bed(&bed);
}

/* ---- neighbours ---- */

struct neighbour {
    struct sb_store *store;
    _Atomic bool end;
    _Atomic int writes;
    _Atomic int mistakes; /* assertions are the main thread's */
};

static bool holds(struct sb_store *s, enum sb_family family, const char *key, const char *expected)
{
    struct sb_value value;
    bool right = s->get(s->self, family, text(key), SB_TIER_ALL, &value, NULL) == WIRE_OK &&
                 wire_span_compare(value.bytes, text(expected)) == 0;

    s->release(s->self, &value);
    return right;
}

/* Writes between, below and above the ranges, and reads it back. */
static void *be_neighbour(void *argument)
{
    struct neighbour *neighbour = argument;
    struct sb_store *s = neighbour->store;

    while (!atomic_load(&neighbour->end)) {
        struct sb_change batch[5];
        char number[16];

        snprintf(number, sizeof(number), "%d", atomic_fetch_add(&neighbour->writes, 1));
        batch[0] = put(SB_ITEMS, "a", number);
        batch[1] = put(SB_ITEMS, "o", number);
        batch[2] = put(SB_ITEMS, "qq", number);
        batch[3] = put(SB_HISTORY, "o", number);
        batch[4] = put(SB_HISTORY, "qq", number);
        if (s->write(s->self, batch, 5, NULL) != WIRE_OK || !holds(s, SB_ITEMS, "o", number) ||
            !holds(s, SB_HISTORY, "qq", number))
            atomic_fetch_add(&neighbour->mistakes, 1);
    }
    return NULL;
}

static void test_neighbours(void **state)
{
    struct neighbour neighbour = {0};
    struct bytes one, two;
    pthread_t thread;
    struct bed bed;

    (void) state;
    open_bed(&bed, false);
    fill(&bed.source.store, "one", COUNT);
    one = make(&bed, NULL);
    fill(&bed.source.store, "two", COUNT);
    two = make(&bed, NULL);
    neighbour.store = &bed.target.store;
    assert_int_equal(pthread_create(&thread, NULL, be_neighbour, &neighbour), 0);
    for (int round = 0; round < 20; round++) {
        int before = atomic_load(&neighbour.writes);
        struct sb_fault fault = {0};

        if (round % 3 == 2)
            must(bed.target.store.clear(bed.target.store.self, bed.ranges, RANGES, &fault), &fault);
        install(&bed, round % 2 ? &two : &one);
        want_filled(&bed.target.store, NULL, round % 2 ? "two" : "one", COUNT);
        if (round % 5 == 4)
            must_compact(&bed.target.store);
        while (atomic_load(&neighbour.writes) < before + 10) /* it never stands still for good */
            usleep(100);
    }
    atomic_store(&neighbour.end, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(neighbour.mistakes, 0);
    must_flush(&bed.target.store);
    must_compact(&bed.target.store);
    want_filled(&bed.target.store, NULL, "two", COUNT);
    free(one.data);
    free(two.data);
    close_bed(&bed);
}

/* Somebody who writes within the ranges all the time is told of, never waited for. */
static void *write_within(void *argument)
{
    struct neighbour *neighbour = argument;

    while (!atomic_load(&neighbour->end)) {
        const struct sb_change change = put(SB_ITEMS, "p00001", "x");

        if (neighbour->store->write(neighbour->store->self, &change, 1, NULL) != WIRE_OK)
            atomic_fetch_add(&neighbour->mistakes, 1);
        atomic_fetch_add(&neighbour->writes, 1);
    }
    return NULL;
}

static void test_busy(void **state)
{
    struct neighbour neighbour = {0};
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;
    pthread_t thread;
    struct bed bed;
    int status;

    (void) state;
    open_bed(&bed, false);
    fill(&bed.source.store, "one", COUNT);
    bytes = make(&bed, NULL);
    must(open_receiver(&bed, &bytes, &r, &fault), &fault);
    must(feed(r, &bytes, bytes.size, &fault), &fault);
    neighbour.store = &bed.target.store;
    assert_int_equal(pthread_create(&thread, NULL, write_within, &neighbour), 0);
    while (atomic_load(&neighbour.writes) == 0)
        usleep(100);
    status = sb_receiver_install(r, &fault);
    assert_true(status == WIRE_E_BUSY || status == WIRE_OK);
    atomic_store(&neighbour.end, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(neighbour.mistakes, 0);
    if (status == WIRE_E_BUSY) {
        must(sb_receiver_install(r, &fault), &fault);
        want_filled(&bed.target.store, NULL, "one", COUNT);
    }
    sb_receiver_close(r, true);
    free(bytes.data);
    close_bed(&bed);
}

/* ---- kills ---- */

/* Installs one checkpoint after the other over what is there, clears in between, writes beside. */
static int installer(const char *directory)
{
    struct neighbour neighbour = {0};
    pthread_t thread;
    struct bed bed;

    snprintf(base, sizeof(base), "%s", directory);
    bed = (struct bed){.ranges = {{SB_ITEMS, text("g"), text("h")},
                                  {SB_ITEMS, text("p"), text("q")},
                                  {SB_HISTORY, text("p"), text("q")}},
                       .table_bytes = 1};
    open_side(&bed, &bed.source, false, "kill-source");
    snprintf(bed.target.store_path, sizeof(bed.target.store_path), "%s", path_of("kill"));
    snprintf(bed.target.path, sizeof(bed.target.path), "%s-checkpoints", path_of("kill"));
    open_store(bed.target.store_path, &bed.target.store);
    if (sb_files_system_open(bed.target.path, &bed.target.files, NULL) != WIRE_OK)
        return 2;
    open_home(&bed, &bed.target, true);
    neighbour.store = &bed.target.store;
    if (pthread_create(&thread, NULL, be_neighbour, &neighbour) != 0)
        return 2;
    for (int round = 0;; round++) {
        char tag[16];
        struct bytes bytes;

        snprintf(tag, sizeof(tag), "%d", round);
        fill(&bed.source.store, tag, COUNT);
        bytes = make(&bed, NULL);
        install(&bed, &bytes);
        free(bytes.data);
        if (syscall(SYS_write, 1, ".", 1) != 1)
            return 2;
    }
}

static void install_and_kill(int dots, uint64_t more_us)
{
    int ends[2], status;
    char dot;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        execl("/proc/self/exe", "test_sb_checkpoint_crash", "--installer", base, (char *) NULL);
        _exit(4);
    }
    assert_true(child > 0);
    close(ends[1]);
    for (int i = 0; i < dots; i++)
        assert_int_equal(read(ends[0], &dot, 1), 1);
    usleep((useconds_t) more_us);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(ends[0]);
}

/* Killed at any moment: the ranges hold one checkpoint whole, never parts of two; what was begun can be begun again. */
static void test_kill(void **state)
{
    struct sim_random random = sim_random_of(5);
    struct sb_files files;

    (void) state;
    remove_directory(path_of("kill"));
    for (int round = 0; round < 10; round++) {
        struct sb_checkpoints home;
        struct sb_fault fault = {0};
        struct sb_value value;
        struct sb_store s;
        char tag[16] = "";

        install_and_kill(1 + (int) sim_random_below(&random, 3), sim_random_below(&random, 100000));
        open_store(path_of("kill"), &s);
        must(s.get(s.self, SB_ITEMS, text("g1"), SB_TIER_ALL, &value, &fault), &fault);
        memcpy(tag, value.bytes.data, value.bytes.size);
        s.release(s.self, &value);
        want_filled(&s, NULL, tag, COUNT);
        must(sb_files_system_open(path_of("kill-checkpoints"), &files, &fault), &fault);
        must(sb_checkpoints_open(&home, &s, &files, path_of("kill-checkpoints"), 1, NULL, 0, &fault), &fault);
        sb_files_system_close(&files);
        s.close(s.self);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_loss),     cmocka_unit_test(test_failing_files),
        cmocka_unit_test(test_failing_source), cmocka_unit_test(test_failing_store),
        cmocka_unit_test(test_full_disk),      cmocka_unit_test(test_damaged_table),
        cmocka_unit_test(test_failing_step),   cmocka_unit_test(test_flush_without_room),
        cmocka_unit_test(test_neighbours),     cmocka_unit_test(test_busy),
        cmocka_unit_test(test_kill),
    };

    if (argc == 3 && strcmp(argv[1], "--installer") == 0)
        return installer(argv[2]);
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
