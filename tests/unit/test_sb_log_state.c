/* Tests of the states of groups in the log store (sb_log.h): replaced as a whole, kept through truncation, crashes and
 * full disks. Random histories: tests/sim/sim_log.c. */
#include "check_log.h"

#define MANY 3000
#define MANY_SEGMENT 65536

/* A group's state as the tests write it: its text names it, its term is given. */
static struct sb_log_entry state_of(char *text, uint64_t group, uint64_t term, const char *tag)
{
    int size =
        snprintf(text, TEXT_BYTES, "state %llu/%llu/%s", (unsigned long long) group, (unsigned long long) term, tag);

    return (struct sb_log_entry){.group = group, .term = term, .payload = {(uint8_t *) text, (size_t) size}};
}

static int try_put(struct sb_log *log, uint64_t group, uint64_t term, const char *tag)
{
    char text[TEXT_BYTES];
    struct sb_log_entry state = state_of(text, group, term, tag);

    return sb_log_append(log, &state, 1, &fault);
}

static void put(struct sb_log *log, uint64_t group, uint64_t term, const char *tag)
{
    assert_int_equal(try_put(log, group, term, tag), WIRE_OK);
}

static void put_synced(struct sb_log *log, uint64_t group, uint64_t term, const char *tag)
{
    put(log, group, term, tag);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
}

static void expect_bytes(struct sb_log *log, uint64_t group, uint64_t term, const void *bytes, size_t size)
{
    struct sb_buffer out = {0};
    uint64_t got = 0;

    assert_int_equal(sb_buffer_append(&out, "ab", 2), WIRE_OK);
    assert_int_equal(sb_log_state(log, group, &got, &out), WIRE_OK);
    assert_int_equal(got, term);
    assert_int_equal(out.size, 2 + size);
    assert_memory_equal(out.data, "ab", 2);
    if (size > 0)
        assert_memory_equal(out.data + 2, bytes, size);
    sb_buffer_close(&out);
}

static void expect_state(struct sb_log *log, uint64_t group, uint64_t term, const char *tag)
{
    char text[TEXT_BYTES];
    struct sb_log_entry state = state_of(text, group, term, tag);

    expect_bytes(log, group, term, state.payload.data, state.payload.size);
}

static void expect_no_state(struct sb_log *log, uint64_t group)
{
    struct sb_buffer out = {0};
    uint64_t term;

    assert_int_equal(sb_log_state(log, group, &term, &out), WIRE_E_NOT_FOUND);
    assert_int_equal(out.size, 0);
    sb_buffer_close(&out);
}

static struct sb_log_status status_of(struct sb_log *log)
{
    struct sb_log_status status;

    sb_log_status(log, &status);
    return status;
}

static void truncate(struct sb_log *log, uint64_t group, uint64_t index)
{
    assert_int_equal(sb_log_truncate_prefix(log, group, index, &fault), WIRE_OK);
}

/* --- the happy path --- */

static void test_there_and_back(void **state)
{
    struct replay replay = {0};
    struct sb_log *log = open_log();

    (void) state;
    expect_no_state(log, 7);
    append(log, 7, 1, "a");
    expect_no_state(log, 7);
    put(log, 7, 3, "first");
    put(log, 8, UINT64_MAX, "alone");
    append(log, 7, 2, "b");
    put(log, 7, 2, "second, of a lower term");
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    for (int round = 0; round < 3; round++) {
        expect_state(log, 7, 2, "second, of a lower term");
        expect_state(log, 8, UINT64_MAX, "alone");
        expect_no_state(log, 9);
        expect_bounds(log, 7, 1, 2);
        expect_bounds(log, 8, 0, 0);
        expect_none(log, 7, 0);
        expect_none(log, 8, 0);
        expect(log, 7, 2, "b");
        log = reopen(log);
    }
    sb_log_close(log);
    assert_int_equal(sb_log_open(&files, &options, note_entry, &replay, &log, &fault), WIRE_OK);
    assert_int_equal(replay.count, 2);
    append_synced(log, 8, 5, "may begin anywhere");
    expect_bounds(log, 8, 5, 5);
    log = reopen(log);
    expect_state(log, 8, UINT64_MAX, "alone");
    expect_bounds(log, 8, 5, 5);
    sb_log_close(log);
}

static void test_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, SB_LOG_STATE_MAX, 7, 0, 8, SB_LOG_STATE_MAX - 1};
    uint8_t bytes[SB_LOG_STATE_MAX + 1];
    struct sb_log_entry batch[2] = {{.group = 1, .term = 1}, {.group = 2, .term = 1}};
    struct sb_log *log = open_log();
    size_t last = 0;

    (void) state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t) (i * 7);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        last = sizes[i];
        batch[0].payload = (struct wire_span){bytes, last};
        batch[0].term = i;
        assert_int_equal(sb_log_append(log, batch, 1, &fault), WIRE_OK);
        expect_bytes(log, 1, i, bytes, last);
        log = reopen(log);
        expect_bytes(log, 1, i, bytes, last);
    }
    /* Refused with all of its batch. */
    batch[0].payload = (struct wire_span){bytes, 1};
    batch[1].payload = (struct wire_span){bytes, SB_LOG_STATE_MAX + 1};
    assert_int_equal(sb_log_append(log, batch, 2, &fault), WIRE_E_BAD_FORMAT);
    assert_non_null(strstr(fault.text, "state of 1025 bytes"));
    expect_bytes(log, 1, sizeof(sizes) / sizeof(*sizes) - 1, bytes, last);
    expect_no_state(log, 2);
    sb_log_close(log);
}

static void test_last_of_a_batch(void **state)
{
    char text[4][TEXT_BYTES];
    struct sb_log_entry batch[4];
    struct sb_log *log = open_log();

    (void) state;
    batch[0] = state_of(text[0], 1, 4, "earlier in the batch, and longer");
    batch[1] = entry_of(text[1], 1, 1, "entry");
    batch[2] = state_of(text[2], 1, 5, "later");
    batch[3] = state_of(text[3], 2, 6, "other");
    assert_int_equal(sb_log_append(log, batch, 4, &fault), WIRE_OK);
    for (int round = 0; round < 2; round++) {
        expect_state(log, 1, 5, "later");
        expect_state(log, 2, 6, "other");
        expect(log, 1, 1, "entry");
        log = reopen(log);
    }
    sb_log_close(log);
}

/* --- crashes and damage --- */

static void test_unsynced(void **state)
{
    struct sb_log *log = open_log();
    struct sb_buffer out = {0};
    uint64_t term = 0;

    (void) state;
    put_synced(log, 1, 1, "synced");
    for (uint64_t round = 2; round < 60; round++) {
        put(log, 1, round, "unsynced");
        sb_log_close(log);
        if (round % 2)
            sim_files_crash(disk);
        else
            sim_files_restart(disk);
        log = open_log();
        out.size = 0;
        assert_int_equal(sb_log_state(log, 1, &term, &out), WIRE_OK);
        assert_true(term == round || (round % 2 && term == round - 1));
        /* What an opening has shown stays. */
        sb_log_close(log);
        sim_files_crash(disk);
        log = open_log();
        expect_state(log, 1, term, term == 1 ? "synced" : "unsynced");
        put_synced(log, 1, round, "unsynced");
    }
    sb_buffer_close(&out);
    sb_log_close(log);
}

/* Three synced states, every bit of them flipped: only the last one may pass for torn, and then the one before it is the
 * newest. */
static void test_every_bit_flipped(void **state)
{
    struct sb_log *log = open_log();
    char text[TEXT_BYTES];
    uint64_t step = SB_LOG_BATCH_HEADER + sb_log_record_size(state_of(text, 1, 1, "x").payload.size);
    uint8_t *bytes;
    size_t size;

    (void) state;
    for (uint64_t term = 1; term <= 3; term++)
        put_synced(log, 1, term, "x");
    sb_log_close(log);
    bytes = malloc(SEGMENT);
    memcpy(bytes, sim_files_get(disk, FIRST, &size), SEGMENT);
    for (uint64_t i = SB_LOG_PAGE * 8; i < (SB_LOG_PAGE + 3 * step) * 8; i++) {
        bytes[i / 8] ^= (uint8_t) (1 << i % 8);
        sim_files_put(disk, FIRST, bytes, SEGMENT);
        bytes[i / 8] ^= (uint8_t) (1 << i % 8);
        if (i / 8 < SB_LOG_PAGE + 2 * step)
            expect_open_fails(WIRE_E_CORRUPT, FIRST);
        else {
            log = open_log();
            expect_state(log, 1, 2, "x");
            sb_log_close(log);
        }
    }
    free(bytes);
}

/* --- truncation --- */

/* One group's state and entries, and a group with nothing but a state, while segments come and go. */
static void test_kept_by_truncation(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    put(log, 1, 1, "of a group with entries");
    put_synced(log, 2, 2, "of a group without");
    for (uint64_t i = 1; i <= 2000; i++) {
        append(log, 1, i, "round and round");
        if (i % 10 == 0)
            assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
        if (i > 20)
            truncate(log, 1, i - 20);
        assert_true(segments_of(log) <= 3);
        if (i % 100 == 0)
            log = reopen(log);
        expect_state(log, 1, 1, "of a group with entries");
        expect_state(log, 2, 2, "of a group without");
    }
    sb_log_close(log);
}

static void test_groups_without_entries(void **state)
{
    struct sb_log *log = open_log();

    (void) state;
    put(log, 1, 1, "x");
    truncate(log, 1, 9);
    expect_bounds(log, 1, 10, 9);
    truncate(log, 2, 5);
    put_synced(log, 2, 2, "y");
    expect_bounds(log, 2, 6, 5);
    expect_state(log, 1, 1, "x");
    append_synced(log, 1, 10, "entry");
    truncate(log, 1, 10);
    log = reopen(log);
    expect_state(log, 1, 1, "x");
    expect_state(log, 2, 2, "y");
    expect_bounds(log, 2, 0, 0);
    sb_log_close(log);
}

/* States of `count` groups, `pad` bytes each, in the first segment with an entry of group 1, then entries until the
 * second segment takes none that is synced. The index of the last entry. */
static uint64_t two_segments(struct sb_log *log, uint64_t count, size_t pad, uint64_t *first_of_second)
{
    uint8_t bytes[SB_LOG_STATE_MAX] = {0};
    uint64_t index = 0;

    for (uint64_t group = 1; group <= count; group++) {
        struct sb_log_entry entry = {.group = group, .term = group * 10, .payload = {bytes, pad}};

        assert_int_equal(sb_log_append(log, &entry, 1, &fault), WIRE_OK);
    }
    while (segments_of(log) < 2)
        append_synced(log, 1, ++index, "x");
    *first_of_second = index;
    for (int status = WIRE_OK; status == WIRE_OK;) {
        /* An append that fits is one operation. */
        sim_files_fail_at(disk, 2, WIRE_E_DISK_FULL);
        status = try_append(log, 1, index + 1, "x");
        sim_files_fail_at(disk, 0, 0);
        index += status == WIRE_OK;
        assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    }
    assert_int_equal(segments_of(log), 2);
    return index;
}

static void expect_padded(struct sb_log *log, uint64_t count, size_t pad)
{
    uint8_t bytes[SB_LOG_STATE_MAX] = {0};

    for (uint64_t group = 1; group <= count; group++)
        expect_bytes(log, group, group * 10, bytes, pad);
}

/* A segment that is full leaves room for states: the one before it goes although no other can be made. */
static void test_room_for_states(void **state)
{
    struct sb_log *log = open_log();
    uint64_t second;
    uint64_t last = two_segments(log, 3, 250, &second);

    (void) state;
    truncate(log, 1, second - 1);
    assert_int_equal(segments_of(log), 1);
    expect_padded(log, 3, 250);
    log = reopen(log);
    assert_int_equal(segments_of(log), 1);
    expect_padded(log, 3, 250);
    expect_bounds(log, 1, second, last);
    sb_log_close(log);
}

/* Every operation of a truncation that moves states fails, the process or the power goes: the states are there. What
 * finds no room is done later. */
static void test_truncation_fails_everywhere(void **state)
{
    static const int codes[] = {WIRE_E_IO, WIRE_E_DISK_FULL};
    unsigned postponed = 0;
    unsigned broken = 0;
    bool met = true;

    (void) state;
    for (uint64_t round = 0; met; round++) {
        uint64_t at = round / 4 + 1;
        struct sb_log *log = open_log();
        uint64_t second;
        uint64_t last = two_segments(log, 2, 800, &second);
        uint64_t operations = sim_files_operations(disk);
        int status;

        sim_files_fail_at(disk, at, codes[round % 2]);
        status = sb_log_truncate_prefix(log, 1, second - 1, &fault);
        met = sim_files_operations(disk) - operations >= at;
        sim_files_fail_at(disk, 0, 0);
        assert_true(status == WIRE_OK || (met && (status == WIRE_E_IO || status == WIRE_E_DISK_FULL)));
        expect_padded(log, 2, 800);
        if (status == WIRE_OK && segments_of(log) == 2 && met) {
            postponed++;
            /* The move needs a segment of its own, so two stay, but not the first. */
            assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
            assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
        }
        broken += sb_log_sync(log, &fault) != WIRE_OK;
        sb_log_close(log);
        if (round % 4 < 2)
            sim_files_crash(disk);
        else
            sim_files_restart(disk);
        log = open_log();
        expect_padded(log, 2, 800);
        sb_log_bounds(log, 1, &second, &operations);
        assert_int_equal(operations, last);
        truncate(log, 1, second);
        put_synced(log, 1, 10, "goes on");
        log = reopen(log);
        expect_state(log, 1, 10, "goes on");
        sb_log_close(log);
        sim_files_close(disk);
        disk = sim_files_open(&chance);
        files = sim_files_interface(disk);
    }
    assert_true(postponed > 0);
    assert_true(broken > 0);
}

/* No memory to move states: later. */
static void test_no_memory(void **state)
{
    struct sb_log *log = open_log();
    struct sb_buffer out = {0};
    uint64_t second;
    uint64_t term;
    int status = WIRE_E_NOMEM;

    (void) state;
    for (uint64_t at = 1; status == WIRE_E_NOMEM; at++) {
        sb_memory_fail_at(at);
        status = try_put(log, 1, 5, "x");
        sb_memory_fail_at(0);
        if (status != WIRE_OK)
            expect_no_state(log, 1);
    }
    assert_int_equal(status, WIRE_OK);
    sb_memory_fail_at(1);
    assert_int_equal(sb_log_state(log, 1, &term, &out), WIRE_E_NOMEM);
    sb_memory_fail_at(0);
    expect_state(log, 1, 5, "x");
    two_segments(log, 3, 250, &second);
    sb_memory_fail_at(1);
    truncate(log, 1, second - 1);
    sb_memory_fail_at(0);
    assert_int_equal(segments_of(log), 2);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
    assert_int_equal(segments_of(log), 1);
    expect_padded(log, 3, 250);
    sb_log_close(log);
}

static void put_many(struct sb_log *log, uint64_t term)
{
    static char text[MANY][TEXT_BYTES];
    static struct sb_log_entry batch[MANY];

    for (uint64_t group = 1; group <= MANY; group++)
        batch[group - 1] = state_of(text[group - 1], group, term, "one of many");
    assert_int_equal(sb_log_append(log, batch, MANY, &fault), WIRE_OK);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
}

static void expect_many(struct sb_log *log, uint64_t term)
{
    for (uint64_t group = 1; group <= MANY; group++)
        expect_state(log, group, term, "one of many");
}

/* Thousands of groups whose states take more than a segment, while one writes: the states are carried along, but not
 * round and round. All that is written is at most twice what was given. */
static void test_many_groups(void **state)
{
    struct sb_log *log;
    uint64_t given;
    uint64_t states;

    (void) state;
    options.segment_bytes = MANY_SEGMENT;
    log = open_log();
    put_many(log, 1);
    states = status_of(log).appended_bytes;
    assert_true(states > 2 * MANY_SEGMENT);
    given = states;
    for (uint64_t i = 1; i <= 10000; i++) {
        char text[TEXT_BYTES];

        append(log, 1, i, "of the one group that writes");
        given +=
            SB_LOG_BATCH_HEADER + sb_log_record_size(entry_of(text, 1, i, "of the one group that writes").payload.size);
        if (i % 10)
            continue;
        assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
        truncate(log, 1, i);
        assert_true(status_of(log).appended_bytes <= 2 * given);
        assert_true(status_of(log).bytes <= 3 * states + 3 * MANY_SEGMENT);
    }
    assert_true(status_of(log).appended_bytes > given + states); /* they did move */
    expect_many(log, 1);
    put_many(log, 2);
    expect_many(log, 2);
    log = reopen(log);
    expect_many(log, 2);
    sb_log_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(test_there_and_back),
        REAL(test_sizes),
        REAL(test_last_of_a_batch),
        SIM(test_unsynced),
        SIM(test_every_bit_flipped),
        REAL(test_kept_by_truncation),
        REAL(test_groups_without_entries),
        SIM(test_room_for_states),
        SIM(test_truncation_fails_everywhere),
        SIM(test_no_memory),
        SIM(test_many_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
