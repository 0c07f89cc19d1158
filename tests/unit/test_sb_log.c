/* Tests of the log store (sb_log.h) on a healthy disk, mostly a real directory. Damage and failing disks:
 * test_sb_log_damage.c; random histories: tests/sim/sim_log.c. */
#include "check_log.h"

#include <pthread.h>
#include <stdatomic.h>

#include "wire_limits.h"

/* --- the happy path --- */

static void test_append_reopen(void **state)
{
    char text[4][TEXT_BYTES];
    struct sb_log_entry batch[4];
    struct replay replay = {0};
    struct sb_log *log = open_log();

    (void) state;
    expect_bounds(log, 7, 0, 0);
    expect_none(log, 7, 1);
    batch[0] = entry_of(text[0], 7, 1, "a");
    batch[1] = entry_of(text[1], 8, 5, "b");
    batch[2] = entry_of(text[2], 7, 2, "c");
    batch[3] = entry_of(text[3], 9, 1, "d");
    assert_int_equal(sb_log_append(log, batch, 4, &fault), WIRE_OK);
    append(log, 8, 6, "e");
    assert_int_equal(sb_log_append(log, NULL, 0, &fault), WIRE_OK);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    for (int round = 0; round < 2; round++) {
        expect_bounds(log, 7, 1, 2);
        expect_bounds(log, 8, 5, 6);
        expect_bounds(log, 9, 1, 1);
        expect(log, 7, 1, "a");
        expect(log, 7, 2, "c");
        expect(log, 8, 5, "b");
        expect(log, 8, 6, "e");
        expect(log, 9, 1, "d");
        expect_none(log, 7, 3);
        log = reopen(log);
    }
    sb_log_close(log);
    assert_int_equal(sb_log_open(&files, &options, note_entry, &replay, &log, &fault), WIRE_OK);
    assert_int_equal(replay.count, 5);
    assert_string_equal(replay.seen[0].text, "7/1/a");
    assert_string_equal(replay.seen[1].text, "8/5/b");
    assert_string_equal(replay.seen[4].text, "8/6/e");
    append_synced(log, 7, 3, "f");
    expect(log, 7, 3, "f");
    sb_log_close(log);
}

static void test_payload_sizes(void **state)
{
    static uint8_t large[WIRE_ENTRY_MAX + 1];
    size_t sizes[] = {0, 1, 7, 8, 9, 4000, SEGMENT, 100000, WIRE_ENTRY_MAX};
    struct sb_log *log = open_log();
    struct sb_log_entry entry = {.group = 1, .term = 1};
    size_t count = sizeof(sizes) / sizeof(sizes[0]);

    (void) state;
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t) (i * 31 >> 3);
    for (size_t i = 0; i < count; i++) {
        entry.index = i + 1;
        entry.payload = (struct wire_span){large, sizes[i]};
        assert_int_equal(sb_log_append(log, &entry, 1, &fault), WIRE_OK);
    }
    entry.index++;
    entry.payload.size = WIRE_ENTRY_MAX + 1;
    assert_int_equal(sb_log_append(log, &entry, 1, &fault), WIRE_E_BAD_FORMAT);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    log = reopen(log);
    for (size_t i = 0; i < count; i++) {
        struct sb_buffer out = {0};
        uint64_t term;

        assert_int_equal(sb_log_read(log, 1, i + 1, &term, &out, &fault), WIRE_OK);
        assert_int_equal(out.size, sizes[i]);
        if (sizes[i] > 0)
            assert_memory_equal(out.data, large, sizes[i]);
        sb_buffer_close(&out);
    }
    sb_log_close(log);
}

static void test_replace_suffix(void **state)
{
    char text[3][TEXT_BYTES];
    struct sb_log_entry batch[3];
    struct replay replay = {0};
    struct sb_log *log = open_log();

    (void) state;
    for (uint64_t i = 1; i <= 6; i++)
        append(log, 1, i, "old");
    append(log, 2, 1, "other");
    batch[0] = entry_of(text[0], 1, 4, "new");
    batch[1] = entry_of(text[1], 1, 5, "new");
    batch[2] = entry_of(text[2], 1, 5, "newer");
    assert_int_equal(sb_log_append(log, batch, 3, &fault), WIRE_OK);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    for (int round = 0; round < 2; round++) {
        expect_bounds(log, 1, 1, 5);
        expect(log, 1, 3, "old");
        expect(log, 1, 4, "new");
        expect(log, 1, 5, "newer");
        expect_none(log, 1, 6);
        expect(log, 2, 1, "other");
        log = reopen(log);
    }
    append_synced(log, 1, 1, "first");
    sb_log_close(log);
    assert_int_equal(sb_log_open(&files, &options, note_entry, &replay, &log, &fault), WIRE_OK);
    expect_bounds(log, 1, 1, 1);
    assert_int_equal(replay.count, 2);
    assert_string_equal(replay.seen[0].text, "2/1/other");
    assert_string_equal(replay.seen[1].text, "1/1/first");
    sb_log_close(log);
}

static void test_replay_stops(void **state)
{
    struct replay replay = {.stop_at = 2};
    struct sb_log *log = open_log();

    (void) state;
    for (uint64_t i = 1; i <= 3; i++)
        append(log, 1, i, "x");
    sb_log_close(log);
    assert_int_equal(sb_log_open(&files, &options, note_entry, &replay, &log, &fault), WIRE_E_STOPPING);
    assert_null(log);
    assert_int_equal(replay.count, 2);
}

static void test_gaps(void **state)
{
    char text[2][TEXT_BYTES];
    struct sb_log_entry batch[2];
    struct sb_log *log = open_log();

    (void) state;
    assert_int_equal(try_append(log, 1, UINT64_MAX, "end"), WIRE_E_BAD_FORMAT);
    expect_bounds(log, 1, 0, 0);
    append(log, 1, 10, "a");
    assert_int_equal(try_append(log, 1, 12, "gap"), WIRE_E_BAD_FORMAT);
    assert_int_equal(try_append(log, 1, 9, "below"), WIRE_E_BAD_FORMAT);
    batch[0] = entry_of(text[0], 1, 11, "b");
    batch[1] = entry_of(text[1], 1, 13, "gap");
    assert_int_equal(sb_log_append(log, batch, 2, &fault), WIRE_E_BAD_FORMAT);
    batch[1] = entry_of(text[1], 2, 1, "b");
    batch[0] = entry_of(text[0], 2, 3, "b");
    assert_int_equal(sb_log_append(log, batch, 2, &fault), WIRE_E_BAD_FORMAT);
    expect_bounds(log, 1, 10, 10);
    expect_bounds(log, 2, 0, 0);
    append_synced(log, 1, 11, "c");
    log = reopen(log);
    expect_bounds(log, 1, 10, 11);
    expect_bounds(log, 2, 0, 0);
    expect(log, 1, 11, "c");
    sb_log_close(log);
}

static void test_options(void **state)
{
    (void) state;
    options.segment_bytes = SEGMENT - 1;
    expect_open_fails(WIRE_E_CONFIG, "8191");
    options.segment_bytes = UINT64_MAX;
    expect_open_fails(WIRE_E_CONFIG, "bytes");
}

static void test_identity(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    append_synced(log, 1, 1, "mine");
    sb_log_close(log);
    options.identity = IDENTITY + 1;
    expect_open_fails(WIRE_E_CONFIG, FIRST);
    options.identity = IDENTITY;
    log = open_log();
    expect(log, 1, 1, "mine");
    sb_log_close(log);
}

/* --- prefix truncation --- */

static void test_truncate_prefix(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    for (uint64_t i = 1; i <= 5; i++)
        append(log, 1, i, "x");
    assert_int_equal(sb_log_truncate_prefix(log, 1, 2, &fault), WIRE_OK);
    expect_bounds(log, 1, 3, 5);
    expect_none(log, 1, 2);
    expect(log, 1, 3, "x");
    assert_int_equal(sb_log_truncate_prefix(log, 1, 1, &fault), WIRE_OK);
    expect_bounds(log, 1, 3, 5);
    assert_int_equal(sb_log_truncate_prefix(log, 1, 5, &fault), WIRE_OK);
    expect_bounds(log, 1, 6, 5);
    assert_int_equal(try_append(log, 1, 5, "below"), WIRE_E_BAD_FORMAT);
    append(log, 1, 6, "y");
    expect_bounds(log, 1, 6, 6);
    /* As after a snapshot: beyond the end, and of a group never seen. */
    assert_int_equal(sb_log_truncate_prefix(log, 1, 99, &fault), WIRE_OK);
    expect_bounds(log, 1, 100, 99);
    assert_int_equal(sb_log_truncate_prefix(log, 2, 9, &fault), WIRE_OK);
    expect_bounds(log, 2, 10, 9);
    assert_int_equal(sb_log_truncate_prefix(log, 2, UINT64_MAX, &fault), WIRE_E_BAD_FORMAT);
    append(log, 1, 100, "z");
    append_synced(log, 2, 10, "z");
    log = reopen(log);
    /* Entries carry the truncation, so it is not forgotten. */
    expect_bounds(log, 1, 100, 100);
    expect_bounds(log, 2, 10, 10);
    expect_none(log, 1, 6);
    sb_log_close(log);
}

/* Segments come and go for a long time; their number stays bounded, and the bytes of recycled files never come back as
 * entries. */
static void test_segments_recycled(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    for (uint64_t i = 1; i <= 3000; i++) {
        append(log, 1, i, "round and round");
        if (i % 10 == 0)
            assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
        if (i > 20)
            assert_int_equal(sb_log_truncate_prefix(log, 1, i - 20, &fault), WIRE_OK);
        assert_true(segments_of(log) <= 3);
        if (i % 100 == 0) {
            assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
            log = reopen(log);
            /* A crash may forget the last truncations, never the entries behind them. */
            assert_int_equal(sb_log_truncate_prefix(log, 1, i - 20, &fault), WIRE_OK);
            expect_bounds(log, 1, i - 19, i);
            for (uint64_t j = i - 19; j <= i; j++)
                expect(log, 1, j, "round and round");
        }
    }
    sb_log_close(log);
}

/* The oldest needed entry holds all later segments: removing one in the middle would bring replaced entries back. */
static void test_segments_in_order(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    append_synced(log, 1, 1, "keeper");
    for (uint64_t i = 1; i <= 300; i++)
        append(log, 2, i, "filler that needs several segments");
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    assert_int_equal(sb_log_truncate_prefix(log, 2, 300, &fault), WIRE_OK);
    assert_true(segments_of(log) > 3);
    log = reopen(log);
    expect(log, 1, 1, "keeper");
    assert_int_equal(sb_log_truncate_prefix(log, 2, 300, &fault), WIRE_OK);
    assert_int_equal(sb_log_truncate_prefix(log, 1, 1, &fault), WIRE_OK);
    assert_int_equal(segments_of(log), 1);
    log = reopen(log);
    expect_bounds(log, 1, 0, 0);
    assert_int_equal(segments_of(log), 1);
    sb_log_close(log);
}

/* While the batch that replaced a segment's entries is unsynced, the segment must stay: a power loss takes the batch.
 */
static void test_segment_kept_until_sync(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    for (uint64_t i = 1; i <= 40; i++)
        append(log, 1, i, "a text of some length to fill the first segment");
    while (segments_of(log) < 2)
        append(log, 2, 1, "to the next segment, replacing itself each time");
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    append(log, 1, 1, "replaces all");
    assert_int_equal(sb_log_truncate_prefix(log, 2, 1, &fault), WIRE_OK);
    assert_int_equal(segments_of(log), 2);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    assert_int_equal(segments_of(log), 1);
    sb_log_close(log);
}

static void test_missing_segment(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    while (segments_of(log) < 4)
        append(log, 1, 1, "again and again");
    sb_log_close(log);
    assert_int_equal(files.remove(files.self, "00000002.log", NULL), WIRE_OK);
    expect_open_fails(WIRE_E_CORRUPT, "00000002.log");
}

/* --- threads --- */

#define STATE_SIZES 200

struct readers {
    struct sb_log *log;
    atomic_bool stop;
    atomic_int wrong;
    atomic_int read;
};

/* A state is what it was made: all of its bytes are of its term. */
static bool state_is_whole(const struct sb_buffer *state, uint64_t term)
{
    for (size_t i = 0; i < state->size; i++)
        if (state->data[i] != (uint8_t) term)
            return false;
    return state->size == term % STATE_SIZES;
}

static void put_state(struct sb_log *log, uint64_t group, uint64_t term)
{
    uint8_t bytes[STATE_SIZES];
    struct sb_log_entry entry = {.group = group, .term = term, .payload = {bytes, term % STATE_SIZES}};

    memset(bytes, (int) term, sizeof(bytes));
    assert_int_equal(sb_log_append(log, &entry, 1, &fault), WIRE_OK);
}

/* Reads what is live, at any moment: right, or gone, never anything else; and states, which are always there. */
static void *read_all_the_time(void *context)
{
    struct readers *readers = context;
    struct sb_buffer out = {0};
    char text[TEXT_BYTES];

    while (!atomic_load(&readers->stop)) {
        uint64_t first;
        uint64_t last;
        uint64_t term;

        for (uint64_t group = 1; group <= 2; group++) {
            out.size = 0;
            if (sb_log_state(readers->log, group, &term, &out) != WIRE_OK || !state_is_whole(&out, term))
                atomic_fetch_add(&readers->wrong, 1);
        }
        sb_log_bounds(readers->log, 1, &first, &last);
        for (uint64_t i = first; i > 0 && i <= last; i++) {
            struct sb_log_entry entry = entry_of(text, 1, i, "concurrent");
            int status;

            out.size = 0;
            status = sb_log_read(readers->log, 1, i, &term, &out, NULL);
            if (status == WIRE_OK && wire_span_compare(sb_buffer_span(&out), entry.payload) == 0)
                atomic_fetch_add(&readers->read, 1);
            else if (status != WIRE_E_NOT_FOUND)
                atomic_fetch_add(&readers->wrong, 1);
        }
    }
    sb_buffer_close(&out);
    return NULL;
}

static void test_readers(void **state)
{
    struct readers readers = {.log = open_log()};
    pthread_t thread;

    (void) state;
    append(readers.log, 1, 1, "concurrent");
    put_state(readers.log, 1, 1);
    put_state(readers.log, 2, 77);
    assert_int_equal(pthread_create(&thread, NULL, read_all_the_time, &readers), 0);
    for (uint64_t i = 2; i <= 4000 || (atomic_load(&readers.read) < 100 && atomic_load(&readers.wrong) == 0); i++) {
        append(readers.log, 1, i, "concurrent");
        if (i % 7 == 0)
            put_state(readers.log, 1, i);
        if (i % 200 == 0)
            assert_int_equal(sb_log_sync(readers.log, &fault), WIRE_OK);
        if (i % 50 == 0)
            assert_int_equal(sb_log_truncate_prefix(readers.log, 1, i - 30, &fault), WIRE_OK);
    }
    atomic_store(&readers.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&readers.wrong), 0);
    sb_log_close(readers.log);
}

static void test_status(void **state)
{
    struct sb_log_status status;
    struct sb_log *log = open_log();
    char text[TEXT_BYTES];

    (void) state;
    append_synced(log, 1, 1, "a");
    append(log, 1, 2, "a");
    append_synced(log, 1, 3, "a");
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    sb_log_status(log, &status);
    assert_int_equal(status.segments, 1);
    assert_int_equal(status.bytes, SEGMENT);
    assert_int_equal(status.appends, 3);
    assert_int_equal(status.syncs, 2);
    assert_int_equal(status.appended_bytes,
                     3 * (SB_LOG_BATCH_HEADER + sb_log_record_size(entry_of(text, 1, 1, "a").payload.size)));
    sb_log_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(test_append_reopen),
        REAL(test_payload_sizes),
        REAL(test_replace_suffix),
        REAL(test_replay_stops),
        REAL(test_gaps),
        REAL(test_options),
        REAL(test_identity),
        REAL(test_truncate_prefix),
        REAL(test_segments_recycled),
        REAL(test_segments_in_order),
        SIM(test_segment_kept_until_sync),
        REAL(test_missing_segment),
        REAL(test_readers),
        REAL(test_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
