/* Tests of the bytes of a log segment (sb_log_segment.h): what is written is read back, and no length, position or
 * flipped bit is taken for something else. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "sb_log_segment.h"
#include "wire_limits.h"

#define SEGMENT_BYTES (SB_LOG_PAGE + 1024)

static const struct sb_log_spot spot = {.identity = 5, .segment = 3, .offset = SB_LOG_PAGE};

/* An exact-size heap copy, so that the sanitizer sees a read behind the end. */
static uint8_t *copy_of(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    return memcpy(copy, data, size);
}

static void test_header(void **state)
{
    struct sb_log_segment_header header = {
        .identity = UINT64_MAX, .sequence = 7, .first_batch = 9, .size = 1 << 20, .previous = 11};
    struct sb_log_segment_header out;
    uint8_t page[SB_LOG_PAGE];

    (void) state;
    sb_log_segment_encode(&header, page);
    assert_int_equal(sb_log_segment_decode(page, sizeof(page), &out), WIRE_OK);
    assert_int_equal(out.identity, header.identity);
    assert_int_equal(out.sequence, header.sequence);
    assert_int_equal(out.first_batch, header.first_batch);
    assert_int_equal(out.size, header.size);
    assert_int_equal(out.previous, header.previous);
    for (size_t size = 0; size < sizeof(page); size++) {
        uint8_t *shorter = copy_of(page, size);

        assert_int_equal(sb_log_segment_decode(shorter, size, &out), WIRE_E_SHORT_INPUT);
        free(shorter);
    }
    for (size_t at = 0; at < sizeof(page); at++) {
        page[at] ^= 0x10;
        assert_int_equal(sb_log_segment_decode(page, sizeof(page), &out),
                         at < 8 ? WIRE_E_BAD_FORMAT : WIRE_E_BAD_CHECKSUM);
        page[at] ^= 0x10;
    }
}

static struct sb_log_record record_of(uint64_t index, const char *payload)
{
    return (struct sb_log_record){
        .entry = {.group = 1, .index = index, .term = 2, .payload = {(const uint8_t *) payload, strlen(payload)}},
        .first = 1};
}

static void test_record(void **state)
{
    struct sb_log_record record = record_of(4, "payload of no round size");
    struct sb_log_record out;
    size_t size = sb_log_record_size(record.entry.payload.size);
    uint8_t *bytes = malloc(size);

    (void) state;
    assert_non_null(bytes);
    sb_log_record_encode(&record, spot, bytes);
    assert_int_equal(sb_log_record_decode(bytes, size, spot, &out), WIRE_OK);
    assert_int_equal(out.entry.group, 1);
    assert_int_equal(out.entry.index, 4);
    assert_int_equal(out.entry.term, 2);
    assert_int_equal(out.first, 1);
    assert_int_equal(wire_span_compare(out.entry.payload, record.entry.payload), 0);
    for (size_t less = 0; less < size; less++) {
        uint8_t *shorter = copy_of(bytes, less);

        assert_int_equal(sb_log_record_decode(shorter, less, spot, &out), WIRE_E_SHORT_INPUT);
        free(shorter);
    }
    for (size_t at = 0; at < SB_LOG_ENTRY_HEADER + record.entry.payload.size; at++) {
        bytes[at] ^= 1;
        assert_int_not_equal(sb_log_record_decode(bytes, size, spot, &out), WIRE_OK);
        bytes[at] ^= 1;
    }
    free(bytes);
}

/* Right bytes in a wrong place are wrong. */
static void test_record_elsewhere(void **state)
{
    struct sb_log_record record = record_of(4, "x");
    struct sb_log_spot other = spot;
    struct sb_log_record out;
    uint8_t bytes[64];

    (void) state;
    sb_log_record_encode(&record, spot, bytes);
    other.offset += 8;
    assert_int_equal(sb_log_record_decode(bytes, 48, other, &out), WIRE_E_BAD_CHECKSUM);
    other = spot;
    other.segment++;
    assert_int_equal(sb_log_record_decode(bytes, 48, other, &out), WIRE_E_BAD_CHECKSUM);
    other = spot;
    other.identity++;
    assert_int_equal(sb_log_record_decode(bytes, 48, other, &out), WIRE_E_BAD_CHECKSUM);
}

/* Lengths and indexes that lie, under a checksum that is right. */
static void test_record_hostile(void **state)
{
    struct sb_log_record record = record_of(1, "x");
    struct sb_log_record out;
    uint8_t bytes[64];

    (void) state;
    record.first = 2;
    sb_log_record_encode(&record, spot, bytes);
    assert_int_equal(sb_log_record_decode(bytes, 48, spot, &out), WIRE_E_BAD_FORMAT);
    record.first = 0;
    sb_log_record_encode(&record, spot, bytes);
    assert_int_equal(sb_log_record_decode(bytes, 48, spot, &out), WIRE_E_BAD_FORMAT);
    record.entry.index = 0; /* a state */
    sb_log_record_encode(&record, spot, bytes);
    assert_int_equal(sb_log_record_decode(bytes, 48, spot, &out), WIRE_OK);
    record.first = 1;
    sb_log_record_encode(&record, spot, bytes);
    assert_int_equal(sb_log_record_decode(bytes, 48, spot, &out), WIRE_E_BAD_FORMAT);
    record.entry.index = UINT64_MAX;
    sb_log_record_encode(&record, spot, bytes);
    assert_int_equal(sb_log_record_decode(bytes, 48, spot, &out), WIRE_E_BAD_FORMAT);
    memset(bytes + 4, 0xff, 4);
    assert_int_equal(sb_log_record_decode(bytes, 48, spot, &out), WIRE_E_BAD_FORMAT);
}

static void test_record_of_largest_state(void **state)
{
    static const uint8_t zeroes[SB_LOG_STATE_MAX + 1];
    uint8_t bytes[SB_LOG_ENTRY_HEADER + SB_LOG_STATE_MAX + SB_LOG_ALIGN];
    struct sb_log_record record = {.entry = {.group = 1, .payload = {zeroes, SB_LOG_STATE_MAX}}};
    struct sb_log_record out;

    (void) state;
    sb_log_record_encode(&record, spot, bytes);
    assert_int_equal(sb_log_record_decode(bytes, sizeof(bytes), spot, &out), WIRE_OK);
    record.entry.payload.size++;
    sb_log_record_encode(&record, spot, bytes);
    assert_int_equal(sb_log_record_decode(bytes, sizeof(bytes), spot, &out), WIRE_E_BAD_FORMAT);
}

static struct sb_log_walk walk_over(const uint8_t *data, uint64_t size)
{
    return (struct sb_log_walk){.data = data,
                                .size = size,
                                .identity = spot.identity,
                                .segment = spot.segment,
                                .offset = SB_LOG_PAGE,
                                .next_batch = 10};
}

/* A batch of `count` entries at `offset`; its end, and its checksum in *chain. */
static uint64_t put_batch(uint8_t *data, uint64_t offset, uint64_t sequence, uint64_t synced, uint32_t count,
                          uint32_t *chain)
{
    struct sb_log_batch batch = {.sequence = sequence, .synced = synced, .count = count, .previous = *chain};
    struct sb_log_spot at = {spot.identity, spot.segment, offset + SB_LOG_BATCH_HEADER};

    for (uint32_t i = 0; i < count; i++) {
        struct sb_log_record record = record_of(i + 1, "some payload");

        sb_log_record_encode(&record, at, data + at.offset);
        at.offset += sb_log_record_size(record.entry.payload.size);
    }
    batch.body_size = at.offset - offset - SB_LOG_BATCH_HEADER;
    sb_log_batch_seal(&batch, (struct sb_log_spot){spot.identity, spot.segment, offset}, data + offset);
    *chain = batch.checksum;
    return at.offset;
}

static void test_walk(void **state)
{
    uint8_t *data = calloc(1, SEGMENT_BYTES);
    struct sb_log_walk walk;
    struct sb_log_batch batch;
    struct sb_log_record record;
    uint64_t position = 0;
    uint32_t chain = 0;
    uint64_t middle;
    uint64_t end;

    (void) state;
    assert_non_null(data);
    middle = put_batch(data, SB_LOG_PAGE, 10, 9, 2, &chain);
    end = put_batch(data, middle, 11, 10, 1, &chain);
    walk = walk_over(data, SEGMENT_BYTES);
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_OK);
    assert_int_equal(batch.sequence, 10);
    assert_int_equal(sb_log_batch_next(&batch, &position, &record), WIRE_OK);
    assert_int_equal(record.entry.index, 1);
    assert_int_equal(sb_log_batch_next(&batch, &position, &record), WIRE_OK);
    assert_int_equal(record.entry.index, 2);
    assert_int_equal(sb_log_batch_next(&batch, &position, &record), WIRE_E_NOT_FOUND);
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_OK);
    assert_int_equal(walk.offset, end);
    assert_int_equal(walk.synced, 10);
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_E_NOT_FOUND);
    free(data);
}

/* Every length of the segment: batches that end behind it are not found, and nothing behind it is read. */
static void test_walk_short(void **state)
{
    uint8_t *data = calloc(1, SEGMENT_BYTES);
    uint32_t chain = 0;
    uint64_t middle;
    uint64_t end;

    (void) state;
    assert_non_null(data);
    middle = put_batch(data, SB_LOG_PAGE, 10, 9, 2, &chain);
    end = put_batch(data, middle, 11, 10, 1, &chain);
    for (size_t size = SB_LOG_PAGE; size <= end; size++) {
        uint8_t *shorter = copy_of(data, size);
        struct sb_log_walk walk = walk_over(shorter, size);
        struct sb_log_tail tail;
        struct sb_log_batch batch;
        unsigned found = 0;

        while (sb_log_walk_next(&walk, &batch) == WIRE_OK)
            found++;
        assert_int_equal(found, size >= end ? 2 : size >= middle ? 1 : 0);
        sb_log_walk_tail(&walk, &tail);
        assert_int_equal(tail.damaged, found == 0 && size >= middle + SB_LOG_BATCH_HEADER);
        free(shorter);
    }
    free(data);
}

/* The chain, the sequence and the place must all be the expected ones. */
static void test_walk_unexpected(void **state)
{
    uint8_t *data = calloc(1, SEGMENT_BYTES);
    struct sb_log_walk walk;
    struct sb_log_batch batch;
    uint32_t chain = 77;

    (void) state;
    assert_non_null(data);
    put_batch(data, SB_LOG_PAGE, 10, 9, 1, &chain);
    walk = walk_over(data, SEGMENT_BYTES);
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_E_NOT_FOUND);
    walk.previous = 77;
    walk.next_batch = 11;
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_E_NOT_FOUND);
    walk.next_batch = 10;
    walk.segment++;
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_E_NOT_FOUND);
    walk.segment--;
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_OK);
    free(data);
}

/* Behind a bad batch: a later header is damage's proof only when it knew the bad batch as synced. */
static void test_tail(void **state)
{
    uint8_t *data = calloc(1, SEGMENT_BYTES);
    struct sb_log_walk walk;
    struct sb_log_tail tail;
    struct sb_log_batch batch;
    uint32_t chain = 0;
    uint64_t middle;

    (void) state;
    assert_non_null(data);
    middle = put_batch(data, SB_LOG_PAGE, 10, 9, 2, &chain);
    put_batch(data, middle, 11, 9, 1, &chain);
    data[SB_LOG_PAGE + SB_LOG_BATCH_HEADER] ^= 1;
    walk = walk_over(data, SEGMENT_BYTES);
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_E_NOT_FOUND);
    sb_log_walk_tail(&walk, &tail);
    assert_false(tail.damaged);
    assert_int_equal(tail.erase_end, middle + SB_LOG_BATCH_HEADER);
    put_batch(data, middle, 11, 10, 1, &chain);
    sb_log_walk_tail(&walk, &tail);
    assert_true(tail.damaged);
    assert_int_equal(tail.proof, middle);
    memset(data + SB_LOG_PAGE, 0, SEGMENT_BYTES - SB_LOG_PAGE);
    sb_log_walk_tail(&walk, &tail);
    assert_false(tail.damaged);
    assert_int_equal(tail.erase_end, 0);
    free(data);
}

/* A verified batch whose entries do not fill it. */
static void test_batch_hostile(void **state)
{
    uint8_t *data = calloc(1, SEGMENT_BYTES);
    struct sb_log_batch sealed = {.sequence = 10, .synced = 9, .body_size = 24, .count = 1};
    struct sb_log_walk walk = walk_over(data, SEGMENT_BYTES);
    struct sb_log_batch batch;
    struct sb_log_record record;
    uint64_t position = 0;

    (void) state;
    assert_non_null(data);
    sb_log_batch_seal(&sealed, spot, data + SB_LOG_PAGE);
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_OK);
    assert_int_equal(sb_log_batch_next(&batch, &position, &record), WIRE_E_BAD_FORMAT);
    walk = walk_over(data, SEGMENT_BYTES);
    sealed.synced = 10;
    sb_log_batch_seal(&sealed, spot, data + SB_LOG_PAGE);
    assert_int_equal(sb_log_walk_next(&walk, &batch), WIRE_E_NOT_FOUND);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_record_elsewhere),
        cmocka_unit_test(test_record_hostile),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_walk_short),
        cmocka_unit_test(test_walk_unexpected),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_batch_hostile),
        cmocka_unit_test(test_record_of_largest_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
