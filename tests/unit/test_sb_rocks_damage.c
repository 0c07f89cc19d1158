/*
 * Tests of the items store with files that are damaged and disks that fail: whatever happens is reported, nothing wrong
 * is served, other keys are, and nobody waits for ever.
 *
 * The disk fails through write() of this program, which RocksDB's library finds before libc's.
 */
#include "store_files.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* ---- a disk that fails ---- */

static _Atomic int failing; /* errno of writes to files whose name contains `failing_name` */
static _Atomic int failures;
static const char *failing_name = ".sst";

ssize_t write(int descriptor, const void *data, size_t size)
{
    char link[64], name[512];
    ssize_t length;

    if (atomic_load(&failing) != 0) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
        length = readlink(link, name, sizeof(name) - 1);
        name[length > 0 ? length : 0] = 0;
        if (strstr(name, failing_name) && strstr(name, base)) {
            atomic_fetch_add(&failures, 1);
            errno = atomic_load(&failing);
            return -1;
        }
    }
    return (ssize_t) syscall(SYS_write, descriptor, data, size);
}

/* ---- reports ---- */

struct reports {
    _Atomic int counts[SB_ROCKS_FAILED + 1];
    pthread_mutex_t lock;
    struct sb_fault last[SB_ROCKS_FAILED + 1];
};

static void note_report(void *context, enum sb_rocks_event event, const struct sb_fault *fault)
{
    struct reports *reports = context;

    pthread_mutex_lock(&reports->lock);
    reports->last[event] = *fault;
    pthread_mutex_unlock(&reports->lock);
    atomic_fetch_add(&reports->counts[event], 1);
}

static void wait_report(struct reports *reports, enum sb_rocks_event event, int count)
{
    while (atomic_load(&reports->counts[event]) < count)
        usleep(1000);
}

static void open_reporting(const char *path, struct reports *reports, struct sb_store *out)
{
    struct sb_rocks_options options = options_of(path);
    struct sb_fault fault = {0};

    *reports = (struct reports){.lock = PTHREAD_MUTEX_INITIALIZER};
    options.write_buffer_bytes = 64 << 10;
    options.report = note_report;
    options.report_context = reports;
    if (sb_rocks_open(&options, out, &fault) != WIRE_OK)
        fail_msg("%s", fault.text);
}

static void close_store(struct sb_store *s)
{
    s->close(s->self);
    assert_int_equal(sb_memory_blocks(), 0);
}

/* ---- flipped bits ---- */

enum { DAMAGE_KEYS = 400, DAMAGE_VALUE = 100 };

static void damage_item(int n, char key[16], char value[DAMAGE_VALUE + 1])
{
    snprintf(key, 16, "d%04d", n);
    for (int i = 0; i < DAMAGE_VALUE; i++)
        value[i] = (char) ('a' + (n * 31 + i * n) % 26);
    value[DAMAGE_VALUE] = 0;
}

static void fill_for_damage(const char *path)
{
    char key[16], value[DAMAGE_VALUE + 1];
    struct sb_store s;

    open_store(path, &s);
    for (int n = 0; n < DAMAGE_KEYS; n++) {
        damage_item(n, key, value);
        write_all(&s, put(SB_ITEMS, key, value));
    }
    must_flush(&s);
    must_compact(&s);
    s.close(s.self);
}

static void flip_byte(const char *path, long offset)
{
    FILE *f = fopen(path, "r+b");
    int byte;

    assert_non_null(f);
    assert_int_equal(fseek(f, offset, SEEK_SET), 0);
    byte = fgetc(f);
    assert_int_equal(fseek(f, offset, SEEK_SET), 0);
    fputc(byte ^ 0x20, f);
    assert_int_equal(fclose(f), 0);
}

/* Every read gives the right value or says WIRE_E_CORRUPT and names the file. Returns how often it said so. */
static int read_damaged(struct sb_store *s)
{
    char key[16], value[DAMAGE_VALUE + 1];
    struct sb_fault fault;
    struct sb_value read;
    struct sb_iterator *it;
    int corrupt = 0, n = 0;

    for (int i = 0; i < DAMAGE_KEYS; i++) {
        struct wire_span span = {(const uint8_t *) key, 5};
        int status, code;

        damage_item(i, key, value);
        memset(&fault, 0, sizeof(fault));
        status = s->get(s->self, SB_ITEMS, span, SB_TIER_ALL, &read, &fault);
        if (status == WIRE_E_CORRUPT) {
            corrupt++;
            assert_non_null(strstr(fault.text, ".sst"));
        } else {
            want_value(s, status, &read, value);
        }
        assert_int_equal(s->multi_get(s->self, SB_ITEMS, &span, 1, &read, &code, &fault), status);
        assert_int_equal(code, status);
        s->release(s->self, &read);
    }
    assert_int_equal(s->iterate(s->self, NULL, SB_ITEMS, nothing, nothing, &it, &fault), WIRE_OK);
    for (it->seek(it->self, nothing); it->valid(it->self); it->next(it->self)) {
        damage_item(n++, key, value);
        assert_int_equal(wire_span_compare(it->key(it->self), text(key)), 0);
        assert_int_equal(wire_span_compare(it->value(it->self), text(value)), 0);
    }
    assert_int_equal(it->status(it->self, &fault), n == DAMAGE_KEYS ? WIRE_OK : WIRE_E_CORRUPT);
    it->close(it->self);
    return corrupt;
}

/* A flipped bit anywhere in a table file. */
static void test_flipped_bits(void **state)
{
    const char *path = fresh("damage");
    struct sb_rocks_options options = options_of(path_of("copy"));
    int opened_corrupt = 0, read_corrupt = 0;
    struct names tables = {.count = 0};
    struct stat status;
    char file[600], table[600];

    (void) state;
    fill_for_damage(path);
    list_files(path, ".sst", &tables);
    assert_int_equal(tables.count, 1);
    for (size_t i = 0; i < tables.count; i++) {
        snprintf(table, sizeof(table), "%s/%s", path, tables.list[i]);
        assert_int_equal(stat(table, &status), 0);
        snprintf(file, sizeof(file), "%s/%s", options.path, tables.list[i]);
        for (long offset = 0; offset < status.st_size; offset += 1 + status.st_size / 100) {
            struct sb_fault fault = {0};
            struct sb_store s;
            int opened;

            copy_directory(path, options.path);
            flip_byte(file, offset);
            opened = sb_rocks_open(&options, &s, &fault);
            if (opened != WIRE_OK) {
                assert_int_equal(opened, WIRE_E_CORRUPT);
                assert_non_null(
                    strstr(fault.text, options.path)); /* of damaged properties RocksDB names the MANIFEST */
                opened_corrupt++;
                continue;
            }
            read_corrupt += read_damaged(&s) > 0;
            s.close(s.self);
        }
    }
    assert_true(opened_corrupt + read_corrupt > 10);
    assert_int_equal(sb_memory_blocks(), 0);
}

/* ---- lost and shortened files ---- */

/* "a1" "m1" "z1" below; "m1" again, and "m2", in a file of their own above. Returns the name of the upper file. */
static const char *make_two_levels(const char *path)
{
    static char upper[64];
    struct names before, after;
    struct sb_store s;

    open_store(path, &s);
    write_all(&s, put(SB_ITEMS, "a1", "low"), put(SB_ITEMS, "m1", "old"), put(SB_ITEMS, "z1", "low"));
    must_flush(&s);
    must_compact(&s);
    list_files(path, ".sst", &before);
    assert_int_equal(before.count, 1);
    write_all(&s, put(SB_ITEMS, "m1", "new"), put(SB_ITEMS, "m2", "new"));
    must_flush(&s);
    list_files(path, ".sst", &after);
    assert_int_equal(after.count, 2);
    snprintf(upper, sizeof(upper), "%s", after.list[strcmp(after.list[0], before.list[0]) == 0]);
    s.close(s.self);
    return upper;
}

static int get_code(struct sb_store *s, const char *key)
{
    struct sb_fault fault = {0};
    struct sb_value value;
    int status = s->get(s->self, SB_ITEMS, text(key), SB_TIER_ALL, &value, &fault);

    if (status == WIRE_OK)
        s->release(s->self, &value);
    else if (status != WIRE_E_NOT_FOUND) {
        if (!strstr(fault.text, ".sst"))
            print_error("%d: %s\n", status, fault.text);
        assert_non_null(strstr(fault.text, ".sst"));
    }
    return status;
}

/* What a scan of [low, high) ends with. */
static int scan_code(struct sb_store *s, const char *low, const char *high, int *seen)
{
    struct sb_fault fault = {0};
    struct sb_iterator *it;
    int status = s->iterate(s->self, NULL, SB_ITEMS, text(low), text(high), &it, &fault);

    *seen = 0;
    if (status != WIRE_OK)
        return status;
    for (it->seek(it->self, nothing); it->valid(it->self); it->next(it->self))
        ++*seen;
    status = it->status(it->self, &fault);
    it->close(it->self);
    return status;
}

/* The upper file is unreadable: its keys fail, and never are what they were before; all else goes on. */
static void check_without_upper(const char *path, const char *upper, const char *says)
{
    struct reports reports;
    struct sb_store s;
    int seen;

    open_reporting(path, &reports, &s);
    assert_int_equal(reports.counts[SB_ROCKS_DAMAGED], 1);
    assert_non_null(strstr(reports.last[SB_ROCKS_DAMAGED].text, upper));
    assert_non_null(strstr(reports.last[SB_ROCKS_DAMAGED].text, says));
    assert_non_null(strstr(reports.last[SB_ROCKS_DAMAGED].text, "keys of storages"));
    assert_int_not_equal(get_code(&s, "m1"), WIRE_OK);
    assert_int_not_equal(get_code(&s, "m1"), WIRE_E_NOT_FOUND);
    assert_int_not_equal(get_code(&s, "m2"), WIRE_E_NOT_FOUND);
    assert_int_not_equal(scan_code(&s, "", "", &seen), WIRE_OK);
    assert_true(seen <= 1);
    want_get(&s, SB_ITEMS, "a1", "low");
    want_get(&s, SB_ITEMS, "z1", "low");
    write_all(&s, put(SB_ITEMS, "b1", "written"), put(SB_ITEMS, "m3", "written"));
    must_flush(&s);
    want_get(&s, SB_ITEMS, "b1", "written");
    assert_int_not_equal(s.compact(s.self, nothing, nothing, NULL), WIRE_OK);
    wait_report(&reports, SB_ROCKS_PAUSED, 1);
    assert_non_null(strstr(reports.last[SB_ROCKS_PAUSED].text, upper));
    assert_int_not_equal(get_code(&s, "m1"), WIRE_OK); /* the compaction has dropped nothing */
    want_get(&s, SB_ITEMS, "z1", "low");
    close_store(&s);
}

static void check_mended(const char *path)
{
    struct reports reports;
    struct sb_store s;

    open_reporting(path, &reports, &s);
    assert_int_equal(reports.counts[SB_ROCKS_DAMAGED], 0);
    want_range(&s, NULL, SB_ITEMS, "", "", "a1 b1 m1 m2 m3 z1", "z1 m3 m2 m1 b1 a1");
    want_get(&s, SB_ITEMS, "m1", "new");
    must_compact(&s);
    close_store(&s);
}

static void test_lost_table(void **state)
{
    const char *path = fresh("lost"), *upper = make_two_levels(path);
    char file[600], away[600];

    (void) state;
    snprintf(file, sizeof(file), "%s/%s", path, upper);
    snprintf(away, sizeof(away), "%s/away", path);
    assert_int_equal(rename(file, away), 0);
    check_without_upper(path, upper, "is lost");
    assert_int_equal(rename(away, file), 0);
    check_mended(path);
}

static void test_shortened_table(void **state)
{
    const char *path = fresh("short"), *copy = path_of("copy"), *upper = make_two_levels(path);
    char file[600], away[600];
    struct stat whole;

    (void) state;
    snprintf(file, sizeof(file), "%s/%s", path, upper);
    snprintf(away, sizeof(away), "%s/away", path);
    copy_file(file, away);
    assert_int_equal(stat(file, &whole), 0);
    for (off_t size = 0; size < whole.st_size; size += 1 + whole.st_size / 7) {
        char cut[600];

        copy_directory(path, copy);
        snprintf(cut, sizeof(cut), "%s/%s", copy, upper);
        assert_int_equal(truncate(cut, size), 0);
        check_without_upper(copy, upper, "bytes instead of");
    }
    assert_int_equal(truncate(file, whole.st_size / 2), 0);
    check_without_upper(path, upper, "bytes instead of");
    assert_int_equal(rename(away, file), 0);
    check_mended(path);
}

/* ---- compactions ---- */

/* A compaction that meets damage changes nothing, is reported, and holds up nobody. */
static void test_compaction(void **state)
{
    const char *path = fresh("compaction");
    char key[16], value[DAMAGE_VALUE + 1], file[600];
    struct sb_fault fault = {0};
    struct names tables;
    struct reports reports;
    struct stat status;
    struct sb_store s;
    int corrupt;

    (void) state;
    fill_for_damage(path);
    list_files(path, ".sst", &tables);
    assert_int_equal(tables.count, 1);
    snprintf(file, sizeof(file), "%s/%s", path, tables.list[0]);
    assert_int_equal(stat(file, &status), 0);
    flip_byte(file, status.st_size / 3);
    open_reporting(path, &reports, &s);
    assert_int_equal(reports.counts[SB_ROCKS_DAMAGED], 0); /* the size is right */
    corrupt = read_damaged(&s);
    assert_true(corrupt > 0 && corrupt < DAMAGE_KEYS);
    for (int n = 0; n < DAMAGE_KEYS; n += 50) { /* overlap with all of the file */
        damage_item(n, key, value);
        write_all(&s, put(SB_ITEMS, key, value));
    }
    must_flush(&s);
    assert_int_equal(s.compact(s.self, nothing, nothing, &fault), WIRE_E_CORRUPT);
    assert_non_null(strstr(fault.text, tables.list[0]));
    wait_report(&reports, SB_ROCKS_PAUSED, 1);
    assert_non_null(strstr(reports.last[SB_ROCKS_PAUSED].text, tables.list[0]));
    assert_non_null(strstr(reports.last[SB_ROCKS_PAUSED].text, "keys of storages"));
    assert_int_equal(reports.last[SB_ROCKS_PAUSED].code, WIRE_E_CORRUPT);
    read_damaged(&s);
    for (int i = 0; i < 60; i++) { /* more files than stop all writes while RocksDB compacts */
        damage_item(i % 50 * 8, key, value);
        write_all(&s, put(SB_ITEMS, key, value));
        must_flush(&s);
    }
    read_damaged(&s);
    assert_int_equal(reports.counts[SB_ROCKS_PAUSED], 1);
    assert_int_equal(reports.counts[SB_ROCKS_FAILED], 0);
    close_store(&s);
    assert_int_equal(stat(file, &status), 0); /* what can be mended is still there */
}

/* ---- the MANIFEST and CURRENT ---- */

/* Damage in its last record cannot be told from a record that was not written to its end, and is taken for it. Then the
 * store is what an earlier flush made it. The log tells: it does not go on there, and the start is refused. */
static void want_whole_or_earlier(struct sb_store *s)
{
    bool has_upper = get_code(s, "m2") == WIRE_OK;

    want_get(s, SB_ITEMS, "m1", has_upper ? "new" : get_code(s, "a1") == WIRE_OK ? "old" : NULL);
    want_get(s, SB_ITEMS, "m2", has_upper ? "new" : NULL);
}

/* Flip a byte of it. True: refused as damaged. */
static bool is_refused(const char *path, const char *file, off_t offset)
{
    struct sb_rocks_options options = options_of(path);
    struct sb_fault fault = {0};
    struct sb_store s;
    int status;

    flip_byte(file, offset);
    status = sb_rocks_open(&options, &s, &fault);
    if (status == WIRE_OK) {
        want_whole_or_earlier(&s);
        close_store(&s);
        return false;
    }
    assert_int_equal(status, WIRE_E_CORRUPT);
    return true;
}

static void want_refused(const char *path, int code, const char *says)
{
    struct sb_rocks_options options = options_of(path);
    struct sb_fault fault = {0};
    struct sb_store s;
    int status = sb_rocks_open(&options, &s, &fault);

    if (status != code || !strstr(fault.text, says))
        print_error("%d: %s\n", status, fault.text);
    assert_int_equal(status, code);
    assert_non_null(strstr(fault.text, says));
    assert_int_equal(sb_memory_blocks(), 0);
}

static void read_current(const char *path, char name[64])
{
    char file[600];
    FILE *f;

    snprintf(file, sizeof(file), "%s/CURRENT", path);
    f = fopen(file, "rb");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%63s", name), 1);
    fclose(f);
}

static void test_manifest(void **state)
{
    const char *path = fresh("manifest"), *copy = path_of("copy");
    int refused = 0, tried = 0;
    char name[64], file[600];
    struct stat status;

    (void) state;
    (void) make_two_levels(path);
    read_current(path, name);
    snprintf(file, sizeof(file), "%s/%s", copy, name);
    copy_directory(path, copy);
    assert_int_equal(stat(file, &status), 0);
    for (off_t offset = 0; offset < status.st_size; offset += 1 + status.st_size / 40) {
        copy_directory(path, copy);
        refused += is_refused(copy, file, offset);
        tried++;
    }
    assert_true(refused > tried / 2);
    copy_directory(path, copy);
    unlink(file);
    want_refused(copy, WIRE_E_IO, name);
    copy_directory(path, copy);
    snprintf(file, sizeof(file), "%s/CURRENT", copy);
    assert_int_equal(truncate(file, 0), 0);
    want_refused(copy, WIRE_E_CORRUPT, "CURRENT");
    copy_directory(path, copy);
    flip_byte(file, 0);
    want_refused(copy, WIRE_E_CORRUPT, "CURRENT");
}

/* ---- flushes ---- */

static void *write_and_flush(void *argument)
{
    static char value[8000];
    struct sb_store *s = argument;
    struct sb_fault fault = {0};
    intptr_t status = WIRE_OK;
    char key[16];

    for (int i = 0; i < 100 && status == WIRE_OK; i++) { /* more than all memtables hold */
        struct sb_change change = {SB_PUT, SB_ITEMS, {(const uint8_t *) key, 5}, {(const uint8_t *) value, 8000}};

        snprintf(key, sizeof(key), "w%04d", i);
        status = s->write(s->self, &change, 1, &fault);
    }
    if (status == WIRE_OK)
        status = s->flush(s->self, &fault);
    return (void *) status;
}

/* No room: writes and flushes wait, reads go on; with room again all goes on. */
static void test_full_disk(void **state)
{
    struct reports reports;
    struct sb_store s;
    pthread_t writer;
    void *status;

    (void) state;
    open_reporting(fresh("full"), &reports, &s);
    write_all(&s, put(SB_ITEMS, "k", "before"));
    must_flush(&s);
    atomic_store(&failing, ENOSPC);
    assert_int_equal(pthread_create(&writer, NULL, write_and_flush, &s), 0);
    wait_report(&reports, SB_ROCKS_NO_ROOM, 1);
    assert_non_null(strstr(reports.last[SB_ROCKS_NO_ROOM].text, ".sst"));
    assert_non_null(strstr(reports.last[SB_ROCKS_NO_ROOM].text, "No space left"));
    want_get(&s, SB_ITEMS, "k", "before");
    assert_int_equal(get_code(&s, "w0000"), WIRE_OK);
    while (atomic_load(&failures) < 3) /* it is tried again */
        usleep(1000);
    assert_int_equal(reports.counts[SB_ROCKS_NO_ROOM], 1);
    assert_int_equal(reports.counts[SB_ROCKS_ROOM], 0);
    atomic_store(&failing, 0);
    assert_int_equal(pthread_join(writer, &status), 0);
    assert_int_equal((intptr_t) status, WIRE_OK);
    wait_report(&reports, SB_ROCKS_ROOM, 1);
    assert_int_equal(get_code(&s, "w0099"), WIRE_OK);
    assert_int_equal(reports.counts[SB_ROCKS_FAILED], 0);
    close_store(&s);
    open_store(path_of("full"), &s);
    assert_int_equal(get_code(&s, "w0099"), WIRE_OK);
    s.close(s.self);
}

/* The end comes while a write waits for room: it ends with its reason, and so does the close. */
static void test_full_disk_at_end(void **state)
{
    struct reports reports;
    struct sb_store s;
    pthread_t writer;
    void *status;

    (void) state;
    open_reporting(fresh("full"), &reports, &s);
    atomic_store(&failing, ENOSPC);
    assert_int_equal(pthread_create(&writer, NULL, write_and_flush, &s), 0);
    wait_report(&reports, SB_ROCKS_NO_ROOM, 1);
    s.give_up(s.self);
    assert_int_equal(pthread_join(writer, &status), 0);
    assert_int_equal((intptr_t) status, WIRE_E_DISK_FULL);
    close_store(&s);
    assert_int_equal(reports.counts[SB_ROCKS_FAILED], 0);
    open_reporting(path_of("full"), &reports, &s);
    write_all(&s, put(SB_ITEMS, "k", "unflushed"));
    close_store(&s); /* finds no room either */
    atomic_store(&failing, 0);
    open_store(path_of("full"), &s);
    want_get(&s, SB_ITEMS, "k", NULL);
    s.close(s.self);
}

/* Any other error of a flush is the end: reported, told to whoever writes or flushes, never waited for. */
static void check_failed_flush(const char *name, int error, const char *says)
{
    struct reports reports;
    struct sb_fault fault = {0};
    struct sb_store s;
    pthread_t writer;
    void *status;

    failing_name = name;
    open_reporting(fresh("failed"), &reports, &s);
    write_all(&s, put(SB_ITEMS, "k", "before"));
    must_flush(&s);
    atomic_store(&failing, error);
    assert_int_equal(pthread_create(&writer, NULL, write_and_flush, &s), 0);
    assert_int_equal(pthread_join(writer, &status), 0);
    assert_int_equal((intptr_t) status, WIRE_E_IO);
    assert_int_equal(s.flush(s.self, &fault), WIRE_E_IO);
    assert_non_null(strstr(fault.text, says));
    want_get(&s, SB_ITEMS, "k", "before");
    s.give_up(s.self);
    close_store(&s);
    atomic_store(&failing, 0);
    failing_name = ".sst";
    open_store(path_of("failed"), &s); /* and with a disk that works it opens */
    want_get(&s, SB_ITEMS, "k", "before");
    s.close(s.self);
    assert_true(strcmp(name, ".sst") != 0 || reports.counts[SB_ROCKS_FAILED] == 1);
}

static void test_failed_flush(void **state)
{
    (void) state;
    check_failed_flush(".sst", EIO, ".sst");
    check_failed_flush("MANIFEST", EIO, "MANIFEST");
}

/* A compaction that finds no room loses nothing and ends no writes. */
static void test_compaction_without_room(void **state)
{
    struct reports reports;
    struct sb_fault fault = {0};
    struct sb_store s;

    (void) state;
    open_reporting(fresh("room"), &reports, &s);
    for (int i = 0; i < 2; i++) {
        write_all(&s, put(SB_ITEMS, "a", "1"), put(SB_ITEMS, "z", "1"));
        must_flush(&s);
    }
    atomic_store(&failing, ENOSPC);
    assert_int_equal(s.compact(s.self, nothing, nothing, &fault), WIRE_E_DISK_FULL);
    wait_report(&reports, SB_ROCKS_PAUSED, 1);
    atomic_store(&failing, 0);
    write_all(&s, put(SB_ITEMS, "m", "1"));
    must_flush(&s);
    must_compact(&s);
    want_range(&s, NULL, SB_ITEMS, "", "", "a m z", "z m a");
    close_store(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_lost_table),
        cmocka_unit_test(test_shortened_table),
        cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_full_disk_at_end),
        cmocka_unit_test(test_failed_flush),
        cmocka_unit_test(test_compaction_without_room),
    };

    return cmocka_run_group_tests(tests, make_base, remove_base);
}
