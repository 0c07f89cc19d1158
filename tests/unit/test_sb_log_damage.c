/*
 * Tests of the log store (sb_log.h) on damaged files and failing disks, simulated (sim_files.h), so that every byte and
 * every operation can be tried: damage is refused with file and offset or lies in the torn tail, a full disk leaves the
 * log usable, a failed write or sync stops it.
 */
#include "check_log.h"

#include "wire_checksum.h"

/* --- damage --- */

struct image {
    uint8_t *bytes;
    size_t size;
};

static struct image take(const char *name)
{
    struct image image;
    const uint8_t *bytes = sim_files_get(disk, name, &image.size);

    assert_non_null(bytes);
    image.bytes = malloc(image.size);
    assert_non_null(image.bytes);
    memcpy(image.bytes, bytes, image.size);
    return image;
}

static void put_back(const char *name, const struct image *image)
{
    sim_files_put(disk, name, image->bytes, image->size);
}

/* Four synced batches of one entry each in the one segment; the offsets of the batches and of their end. */
static struct image small_log(uint64_t ends[5])
{
    struct sb_log *log = open_log();

    ends[0] = SB_LOG_PAGE;
    for (uint64_t i = 1; i <= 4; i++) {
        char text[TEXT_BYTES];

        append_synced(log, 1, i, "small");
        ends[i] = ends[i - 1] + SB_LOG_BATCH_HEADER + sb_log_record_size(entry_of(text, 1, i, "small").payload.size);
    }
    sb_log_close(log);
    return take(FIRST);
}

/* Opens a damaged log. Refused with file and offset, or opened with an unbroken beginning of what was appended; the
 * number of entries found, -1 if refused. */
static int open_damaged(void)
{
    struct sb_log *log = NULL;
    uint64_t first;
    uint64_t last;
    int status;

    fault = (struct sb_fault){0};
    status = sb_log_open(&files, &options, NULL, NULL, &log, &fault);
    if (status != WIRE_OK) {
        assert_int_equal(status, WIRE_E_CORRUPT);
        assert_non_null(strstr(fault.text, FIRST));
        assert_non_null(strstr(fault.text, "offset"));
        return -1;
    }
    sb_log_bounds(log, 1, &first, &last);
    for (uint64_t i = 1; i <= last; i++)
        expect(log, 1, i, "small");
    sb_log_close(log);
    return (int) last;
}

/* Every bit of headers and batches, one at a time. A batch that a later one knew as synced is missed; only the very
 * last may pass for torn. */
static void test_every_byte_flipped(void **state)
{
    uint64_t ends[5];
    struct image image = small_log(ends);

    (void) state;
    for (size_t at = 0; at < image.size; at++) {
        int expected = at < ends[3] ? -1 : at < ends[4] ? 3 : 4;

        for (unsigned bit = 0; bit < 8; bit += at < ends[4] ? 1 : 7) {
            image.bytes[at] ^= (uint8_t) (1 << bit);
            put_back(FIRST, &image);
            image.bytes[at] ^= (uint8_t) (1 << bit);
            assert_int_equal(open_damaged(), expected);
        }
    }
    put_back(FIRST, &image);
    assert_int_equal(open_damaged(), 4);
    free(image.bytes);
}

/* The file was whole and synced before it got its name, so no crash can shorten it. */
static void test_every_length(void **state)
{
    uint64_t ends[5];
    struct image image = small_log(ends);

    (void) state;
    for (size_t size = 0; size < image.size; size++) {
        sim_files_put(disk, FIRST, image.bytes, size);
        assert_int_equal(open_damaged(), -1);
    }
    put_back(FIRST, &image);
    assert_int_equal(open_damaged(), 4);
    free(image.bytes);
}

/* The last batch torn at every byte: what was not written yet is zero, or what a recycled file held before. */
static void test_every_tear(void **state)
{
    uint64_t ends[5];
    struct image image = small_log(ends);
    struct image torn = {malloc(image.size), image.size};

    (void) state;
    assert_non_null(torn.bytes);
    for (int stale = 0; stale < 2; stale++)
        for (uint64_t at = ends[3]; at < ends[4]; at++) {
            /* The entry's padding is zero, so the last bytes may be "torn" without a loss. */
            int expected = 3;

            memcpy(torn.bytes, image.bytes, image.size);
            memset(torn.bytes + at, stale ? 0xa5 : 0, image.size - at);
            if (memcmp(torn.bytes + at, image.bytes + at, ends[4] - at) == 0)
                expected = 4;
            put_back(FIRST, &torn);
            assert_int_equal(open_damaged(), expected);
        }
    free(torn.bytes);
    free(image.bytes);
}

/* Damage in a segment that is not the last is never a torn tail, be it in the last batch of that segment. */
static void test_damage_in_older_segment(void **state)
{
    struct sb_log *log = open_log();
    struct image image;
    size_t last;

    (void) state;
    for (uint64_t i = 1; segments_of(log) < 2; i++)
        append_synced(log, 1, i, "older");
    sb_log_close(log);
    image = take(FIRST);
    for (last = image.size - 1; image.bytes[last] == 0; last--)
        ;
    image.bytes[last] ^= 1;
    put_back(FIRST, &image);
    expect_open_fails(WIRE_E_CORRUPT, FIRST);
    free(image.bytes);
}

/* Unsynced batches of which the middle one is torn: it and those behind it go, and never come back, even when the same
 * batch is appended again. */
static void test_unsynced_behind_torn(void **state)
{
    struct sb_log *log = open_log();
    uint64_t start = SB_LOG_PAGE;
    char text[TEXT_BYTES];
    struct image image;

    (void) state;
    append_synced(log, 1, 1, "synced");
    for (uint64_t i = 2; i <= 4; i++)
        append(log, 1, i, "unsynced");
    sb_log_close(log);
    image = take(FIRST);
    start += SB_LOG_BATCH_HEADER + sb_log_record_size(entry_of(text, 1, 1, "synced").payload.size);
    memset(image.bytes + start + 16, 0, 8);
    put_back(FIRST, &image);
    log = open_log();
    expect_bounds(log, 1, 1, 1);
    append_synced(log, 1, 2, "unsynced");
    log = reopen(log);
    expect_bounds(log, 1, 1, 2);
    expect(log, 1, 2, "unsynced");
    append_synced(log, 1, 3, "third");
    log = reopen(log);
    expect_bounds(log, 1, 1, 3);
    sb_log_close(log);
    free(image.bytes);
}

/* A segment whose file was one before: with its last batch torn away the old batches behind are no continuation. */
static void test_stale_bytes_of_recycled(void **state)
{
    const char *name = "00000003.log";
    struct sb_log *log = open_log();
    uint64_t index = 0;
    uint64_t first;
    uint64_t last;
    struct image image;
    unsigned stale = 0;

    (void) state;
    while (segments_of(log) < 2)
        append_synced(log, 1, ++index, "x");
    assert_int_equal(sb_log_truncate_prefix(log, 1, index, &fault), WIRE_OK);
    while (segments_of(log) < 2)
        append_synced(log, 1, ++index, "x");
    append_synced(log, 1, ++index, "x");
    sb_log_close(log);
    image = take(name);
    /* The old segment's batches are still there, byte by byte: the file was recycled, not zeroed. */
    for (uint64_t at = image.size - 512; at < image.size; at++)
        stale |= image.bytes[at];
    assert_int_not_equal(stale, 0);
    memset(image.bytes + SB_LOG_PAGE + SB_LOG_BATCH_HEADER + sb_log_record_size(strlen("1/999/x")) + 8, 0, 16);
    put_back(name, &image);
    log = open_log();
    sb_log_bounds(log, 1, &first, &last);
    assert_int_equal(last, index - 1);
    expect(log, 1, last, "x");
    append_synced(log, 1, index, "again");
    log = reopen(log);
    expect(log, 1, index, "again");
    sb_log_close(log);
    free(image.bytes);
}

/* A file under the name of another segment. */
static void test_wrong_name(void **state)
{
    uint64_t ends[5];
    struct image image = small_log(ends);

    (void) state;
    sim_files_put(disk, "00000002.log", image.bytes, image.size);
    expect_open_fails(WIRE_E_CORRUPT, "00000002.log");
    free(image.bytes);
}

/* Other files in the directory are nobody's business but the spare's. */
static void test_other_files(void **state)
{
    uint64_t ends[5];
    struct image image = small_log(ends);
    struct sb_log *log;
    size_t size;

    (void) state;
    sim_files_put(disk, "lost+found", "x", 1);
    sim_files_put(disk, "0000000A.log", "x", 1);
    sim_files_put(disk, "00000002.log.gz", "x", 1);
    sim_files_put(disk, "00000000.log", "x", 1);
    sim_files_put(disk, "2.log", "x", 1);
    sim_files_put(disk, "spare1.new", "x", 1);
    log = open_log();
    expect_bounds(log, 1, 1, 4);
    sb_log_close(log);
    assert_non_null(sim_files_get(disk, "lost+found", &size));
    assert_null(sim_files_get(disk, "spare1.new", &size));
    free(image.bytes);
}

static void test_newer_format(void **state)
{
    uint64_t ends[5];
    struct image image = small_log(ends);
    struct wire_writer w = wire_writer_of(image.bytes + 8, 8);
    uint8_t *page = image.bytes;

    (void) state;
    page[15] = SB_LOG_FORMAT + 1;
    wire_write_u32(&w, wire_checksum(page, 8, wire_checksum(page + 12, SB_LOG_PAGE - 12, 0x434149524e4c4f47)));
    put_back(FIRST, &image);
    expect_open_fails(WIRE_E_BAD_VERSION, FIRST);
    free(image.bytes);
}

static void test_read_damaged(void **state)
{
    struct sb_buffer out = {0};
    struct sb_log *log = open_log();
    struct image image;
    uint64_t term;

    (void) state;
    append_synced(log, 1, 1, "small");
    image = take(FIRST);
    image.bytes[SB_LOG_PAGE + SB_LOG_BATCH_HEADER + SB_LOG_ENTRY_HEADER] ^= 1;
    put_back(FIRST, &image);
    assert_int_equal(sb_log_read(log, 1, 1, &term, &out, &fault), WIRE_E_CORRUPT);
    assert_non_null(strstr(fault.text, FIRST));
    assert_int_equal(out.size, 0);
    /* That one entry is bad does not stop the log. */
    append_synced(log, 1, 2, "fine");
    expect(log, 1, 2, "fine");
    sb_buffer_close(&out);
    sb_log_close(log);
    free(image.bytes);
}

/* --- failing disks --- */

/* The disk fills up at every operation that an append may do, in turn: the log goes on, and the refused entry is never
 * found. */
static void test_disk_full(void **state)
{
    struct sb_log *log = open_log();
    uint64_t next = 1;
    int full = 0;

    (void) state;
    for (uint64_t at = 1; at <= 400; at++) {
        int status;

        sim_files_fail_at(disk, at % 13 + 1, WIRE_E_DISK_FULL);
        status = try_append(log, 1, next, "refused");
        sim_files_fail_at(disk, 0, 0);
        if (status == WIRE_E_DISK_FULL) {
            full++;
            expect_bounds(log, 1, next > 1 ? 1 : 0, next - 1);
            if (at % 3 == 0) {
                sb_log_close(log);
                sim_files_crash(disk);
                log = open_log();
                expect_bounds(log, 1, next > 1 ? 1 : 0, next - 1);
            }
        } else if (status == WIRE_E_IO) {
            /* Not of an append or of making a segment, but after the rename: unknown. */
            log = reopen(log);
        } else
            assert_int_equal(status, WIRE_OK);
        append_synced(log, 1, next, "accepted");
        next++;
    }
    assert_true(full > 20);
    log = reopen(log);
    expect_bounds(log, 1, 1, next - 1);
    for (uint64_t i = 1; i < next; i++)
        expect(log, 1, i, "accepted");
    sb_log_close(log);
}

/* A full disk when the next segment is made: the log stays in the old one and goes on when there is room. */
static void test_disk_full_at_segment(void **state)
{
    static uint8_t large[3 * SEGMENT];
    struct sb_log_entry entry = {.group = 1, .index = 2, .term = 102, .payload = {large, sizeof(large)}};
    struct sb_log *log = open_log();

    (void) state;
    append_synced(log, 1, 1, "before");
    for (uint64_t at = 1; at <= 4; at++) {
        sim_files_fail_at(disk, at, WIRE_E_DISK_FULL);
        assert_int_equal(sb_log_append(log, &entry, 1, &fault), WIRE_E_DISK_FULL);
        assert_int_equal(segments_of(log), 1);
        append_synced(log, 1, 2, "small enough");
        expect(log, 1, 2, "small enough");
    }
    assert_int_equal(sb_log_append(log, &entry, 1, &fault), WIRE_OK);
    assert_int_equal(segments_of(log), 2);
    log = reopen(log);
    expect_bounds(log, 1, 1, 2);
    sb_log_close(log);
}

/* After a failed sync or write nothing is taken any more; a restart finds what was synced. */
static void test_failed_sync_breaks(void **state)
{
    int codes[] = {WIRE_E_IO, WIRE_E_DISK_FULL};

    (void) state;
    for (int i = 0; i < 2; i++) {
        struct sb_log *log = open_log();
        struct sb_buffer out = {0};
        uint64_t synced;
        uint64_t term;
        uint64_t last;

        sb_log_bounds(log, 1, &term, &synced);
        append_synced(log, 1, ++synced, "synced");
        append(log, 1, synced + 1, "not synced");
        sim_files_fail_at(disk, 1, codes[i]);
        assert_int_equal(sb_log_sync(log, &fault), WIRE_E_IO);
        assert_non_null(strstr(fault.text, "sync"));
        assert_int_equal(sb_log_sync(log, &fault), WIRE_E_IO);
        assert_non_null(strstr(fault.text, "sync"));
        assert_int_equal(try_append(log, 1, synced + 1, "x"), WIRE_E_IO);
        assert_int_equal(sb_log_truncate_prefix(log, 1, 1, &fault), WIRE_E_IO);
        assert_int_equal(sb_log_read(log, 1, synced, &term, &out, &fault), WIRE_E_IO);
        sb_log_close(log);
        sim_files_crash(disk);
        log = open_log();
        sb_log_bounds(log, 1, &term, &last);
        assert_true(last == synced || last == synced + 1);
        expect(log, 1, synced, "synced");
        sb_log_close(log);
    }
}

static void test_failed_write_breaks(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    append_synced(log, 1, 1, "synced");
    sim_files_fail_at(disk, 1, WIRE_E_IO);
    assert_int_equal(try_append(log, 1, 2, "x"), WIRE_E_IO);
    assert_int_equal(try_append(log, 1, 2, "x"), WIRE_E_IO);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_E_IO);
    log = reopen(log);
    expect(log, 1, 1, "synced");
    sb_log_close(log);
}

/* Every operation of an open fails once, with either code: no handle, no memory, no entry is lost. */
static void test_open_fails_everywhere(void **state)
{
    struct sb_log *log = open_log();
    uint64_t last = 0;
    uint64_t operations;
    int status;

    (void) state;
    while (segments_of(log) < 3)
        append_synced(log, 1, ++last, "kept");
    /* The first opening removes the spares; the second is as all later ones. */
    sb_log_close(reopen(log));
    operations = sim_files_operations(disk);
    log = open_log();
    operations = sim_files_operations(disk) - operations;
    for (uint64_t at = 1; at <= operations; at++) {
        sb_log_close(log);
        sim_files_fail_at(disk, at, at % 2 ? WIRE_E_IO : WIRE_E_DISK_FULL);
        status = sb_log_open(&files, &options, NULL, NULL, &log, &fault);
        assert_true(status == WIRE_E_IO || status == WIRE_E_DISK_FULL);
        assert_int_equal(sim_files_handles(disk), 0);
        assert_int_equal(sb_memory_blocks(), 0);
        log = open_log();
        expect_bounds(log, 1, 1, last);
    }
    sb_log_close(log);
}

/* Every allocation fails once: WIRE_E_NOMEM, nothing changes, the next attempt succeeds. */
static void test_no_memory(void **state)
{
    struct replay replay = {0};
    struct sb_log *log = open_log();
    int status;

    (void) state;
    for (uint64_t group = 1; group <= 20; group++) {
        status = WIRE_E_NOMEM;
        for (uint64_t at = 1; status == WIRE_E_NOMEM; at++) {
            expect_bounds(log, group, 0, 0);
            sb_memory_fail_at(at);
            status = try_append(log, group, 1, "x");
            sb_memory_fail_at(0);
        }
        assert_int_equal(status, WIRE_OK);
    }
    sb_log_close(log);
    status = WIRE_E_NOMEM;
    for (uint64_t at = 1; status == WIRE_E_NOMEM; at++) {
        replay.count = 0;
        sb_memory_fail_at(at);
        status = sb_log_open(&files, &options, note_entry, &replay, &log, &fault);
        sb_memory_fail_at(0);
        if (status != WIRE_OK)
            assert_int_equal(sb_memory_blocks(), 0);
    }
    assert_int_equal(status, WIRE_OK);
    assert_int_equal(replay.count, 20);
    sb_log_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM(test_every_byte_flipped),
        SIM(test_every_length),
        SIM(test_every_tear),
        SIM(test_damage_in_older_segment),
        SIM(test_unsynced_behind_torn),
        SIM(test_stale_bytes_of_recycled),
        SIM(test_wrong_name),
        SIM(test_other_files),
        SIM(test_newer_format),
        SIM(test_read_damaged),
        SIM(test_disk_full),
        SIM(test_disk_full_at_segment),
        SIM(test_failed_sync_breaks),
        SIM(test_failed_write_breaks),
        SIM(test_open_fails_everywhere),
        SIM(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
