/*
 * What the tests of the log store share: a log on a real or a simulated directory, and short forms that append to it
 * and say what it must hold.
 *
 * For one main file each: the variables are the file's own.
 */
#ifndef CHECK_LOG_H
#define CHECK_LOG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "sb_log.h"
#include "sb_log_segment.h"
#include "sim_files.h"

#define IDENTITY 42
#define SEGMENT 8192
#define FIRST "00000001.log"
#define TEXT_BYTES 64

static char path[64];
static struct sim_random chance;
static struct sim_files *disk;
static struct sb_files files;
static struct sb_fault fault;
static struct sb_log_options options;

static inline int setup_common(void)
{
    options = (struct sb_log_options){.segment_bytes = SEGMENT, .identity = IDENTITY};
    fault = (struct sb_fault){0};
    return 0;
}

static inline int setup_real(void **state)
{
    (void) state;
    snprintf(path, sizeof(path), "/tmp/test_sb_log.XXXXXX");
    if (!mkdtemp(path) || sb_files_system_open(path, &files, &fault) != WIRE_OK)
        return -1;
    return setup_common();
}

static inline int teardown_real(void **state)
{
    char command[128];

    (void) state;
    sb_files_system_close(&files);
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    return system(command) == 0 && sb_memory_blocks() == 0 ? 0 : -1;
}

static inline int setup_sim(void **state)
{
    (void) state;
    chance = sim_random_of(1);
    disk = sim_files_open(&chance);
    files = sim_files_interface(disk);
    return setup_common();
}

static inline int teardown_sim(void **state)
{
    size_t handles = sim_files_handles(disk);

    (void) state;
    sim_files_close(disk);
    return handles == 0 && sb_memory_blocks() == 0 ? 0 : -1;
}

/* --- short forms --- */

static inline struct sb_log *open_log(void)
{
    struct sb_log *log = NULL;
    int status = sb_log_open(&files, &options, NULL, NULL, &log, &fault);

    if (status != WIRE_OK)
        print_error("open: %s\n", fault.text);
    assert_int_equal(status, WIRE_OK);
    return log;
}

static inline struct sb_log *reopen(struct sb_log *log)
{
    sb_log_close(log);
    return open_log();
}

/* Every entry's text names group, index and a tag, so that none can pass for another. */
static inline struct sb_log_entry entry_of(char *text, uint64_t group, uint64_t index, const char *tag)
{
    int size = snprintf(text, TEXT_BYTES, "%llu/%llu/%s", (unsigned long long) group, (unsigned long long) index, tag);

    return (struct sb_log_entry){
        .group = group, .index = index, .term = index + 100, .payload = {(uint8_t *) text, (size_t) size}};
}

static inline int try_append(struct sb_log *log, uint64_t group, uint64_t index, const char *tag)
{
    char text[TEXT_BYTES];
    struct sb_log_entry entry = entry_of(text, group, index, tag);

    return sb_log_append(log, &entry, 1, &fault);
}

static inline void append(struct sb_log *log, uint64_t group, uint64_t index, const char *tag)
{
    assert_int_equal(try_append(log, group, index, tag), WIRE_OK);
}

static inline void append_synced(struct sb_log *log, uint64_t group, uint64_t index, const char *tag)
{
    append(log, group, index, tag);
    assert_int_equal(sb_log_sync(log, &fault), WIRE_OK);
}

static inline void expect(struct sb_log *log, uint64_t group, uint64_t index, const char *tag)
{
    char text[TEXT_BYTES];
    struct sb_log_entry entry = entry_of(text, group, index, tag);
    struct sb_buffer out = {0};
    uint64_t term = 0;

    assert_int_equal(sb_buffer_append(&out, "ab", 2), WIRE_OK);
    assert_int_equal(sb_log_read(log, group, index, &term, &out, &fault), WIRE_OK);
    assert_int_equal(term, entry.term);
    assert_int_equal(out.size, 2 + entry.payload.size);
    assert_memory_equal(out.data, "ab", 2);
    assert_memory_equal(out.data + 2, entry.payload.data, entry.payload.size);
    sb_buffer_close(&out);
}

static inline void expect_none(struct sb_log *log, uint64_t group, uint64_t index)
{
    struct sb_buffer out = {0};
    uint64_t term;

    assert_int_equal(sb_log_read(log, group, index, &term, &out, &fault), WIRE_E_NOT_FOUND);
    assert_int_equal(out.size, 0);
    sb_buffer_close(&out);
}

static inline void expect_bounds(struct sb_log *log, uint64_t group, uint64_t first, uint64_t last)
{
    uint64_t got_first = 99;
    uint64_t got_last = 99;

    sb_log_bounds(log, group, &got_first, &got_last);
    assert_int_equal(got_first, first);
    assert_int_equal(got_last, last);
}

static inline uint64_t segments_of(struct sb_log *log)
{
    struct sb_log_status status;

    sb_log_status(log, &status);
    return status.segments;
}

static inline int expect_open_fails(int code, const char *text)
{
    struct sb_log *log = (struct sb_log *) path;

    fault = (struct sb_fault){0};
    assert_int_equal(sb_log_open(&files, &options, NULL, NULL, &log, &fault), code);
    assert_null(log);
    assert_int_equal(fault.code, code);
    if (!strstr(fault.text, text))
        print_error("\"%s\" is not in \"%s\"\n", text, fault.text);
    assert_non_null(strstr(fault.text, text));
    return code;
}

struct replay {
    size_t count;
    struct {
        uint64_t group;
        uint64_t index;
        char text[TEXT_BYTES];
    } seen[64];
    size_t stop_at; /* 0: never */
};

static inline int note_entry(void *context, const struct sb_log_entry *entry)
{
    struct replay *replay = context;

    assert_true(replay->count < 64 && entry->payload.size < TEXT_BYTES);
    assert_int_equal(entry->term, entry->index + 100);
    replay->seen[replay->count].group = entry->group;
    replay->seen[replay->count].index = entry->index;
    memcpy(replay->seen[replay->count].text, entry->payload.data, entry->payload.size);
    replay->seen[replay->count].text[entry->payload.size] = '\0';
    replay->count++;
    return replay->count == replay->stop_at ? WIRE_E_STOPPING : WIRE_OK;
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup_real, teardown_real)
#define SIM(test) cmocka_unit_test_setup_teardown(test, setup_sim, teardown_sim)

#endif
