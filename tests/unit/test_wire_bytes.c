/* Reader, writer, varints, checksums, the error table and the clock: the ground that all formats stand on. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wire_bytes.h"
#include "wire_checksum.h"
#include "wire_clock.h"

static void test_fixed_integers_are_big_endian(void **state)
{
    static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xff, 0xfe,
                                       0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8, 0x0a, 0x0b, 0x0c};
    uint8_t bytes[sizeof(expected)];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_reader r = wire_reader_of(expected, sizeof(expected));

    (void) state;
    wire_write_u8(&w, 0x01);
    wire_write_u16(&w, 0x0203);
    wire_write_u32(&w, 0x04050607);
    wire_write_u64(&w, UINT64_C(0xfffefdfcfbfaf9f8));
    wire_write_fixed(&w, 0x0a0b0c, 3);
    assert_int_equal(wire_writer_finish(&w), WIRE_OK);
    assert_int_equal(w.size, sizeof(expected));
    assert_memory_equal(bytes, expected, sizeof(expected));

    assert_int_equal(wire_read_u8(&r), 0x01);
    assert_int_equal(wire_read_u16(&r), 0x0203);
    assert_int_equal(wire_read_u32(&r), 0x04050607);
    assert_true(wire_read_u64(&r) == UINT64_C(0xfffefdfcfbfaf9f8));
    assert_int_equal(wire_reader_left(&r), 3);
    assert_int_equal(wire_reader_finish(&r), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_read_fixed(&r, 3), 0x0a0b0c);
    assert_int_equal(wire_reader_finish(&r), WIRE_OK);
}

static void test_reader_fails_stickily(void **state)
{
    uint8_t *bytes = malloc(3);
    struct wire_reader r = wire_reader_of(bytes, 3);

    (void) state;
    memcpy(bytes, "\x01\x02\x03", 3);
    assert_int_equal(wire_read_u16(&r), 0x0102);
    assert_int_equal(wire_read_u16(&r), 0);
    assert_true(r.failed);
    assert_int_equal(wire_read_u8(&r), 0); /* a byte is left, but after a failure nothing is read */
    assert_int_equal(wire_reader_left(&r), 0);
    assert_null(wire_read_bytes(&r, 0));
    assert_null(wire_read_span(&r).data);
    assert_int_equal(wire_reader_finish(&r), WIRE_E_SHORT_INPUT);

    r = wire_reader_of(bytes, 3);
    assert_null(wire_read_bytes(&r, SIZE_MAX)); /* no wrap around */
    assert_true(r.failed);
    free(bytes);
}

static void test_empty_reads_are_not_failures(void **state)
{
    struct wire_reader r = wire_reader_of(NULL, 0);

    (void) state;
    assert_non_null(wire_read_bytes(&r, 0));
    assert_false(r.failed);
    assert_int_equal(wire_reader_finish(&r), WIRE_OK);
    assert_int_equal(wire_read_u8(&r), 0);
    assert_true(r.failed);
}

static void test_writer_refuses_every_short_capacity(void **state)
{
    static const char text[] = "seven..";
    struct wire_writer measure = wire_writer_of(NULL, 0);

    (void) state;
    for (size_t capacity = 0; capacity <= 20; capacity++) {
        uint8_t *bytes = malloc(capacity ? capacity : 1);
        struct wire_writer w = wire_writer_of(bytes, capacity);

        wire_write_u32(&w, 7);
        wire_write_span(&w, text, 7);
        wire_write_u64(&w, 9);
        assert_int_equal(wire_writer_finish(&w), capacity < 20 ? WIRE_E_SHORT_BUFFER : WIRE_OK);
        assert_true(w.size <= capacity);
        if (w.failed) {
            size_t size = w.size;

            wire_write_u8(&w, 1); /* sticky, even if it would fit */
            assert_int_equal(w.size, size);
        }
        free(bytes);
    }
    wire_write_u32(&measure, 7);
    wire_write_span(&measure, text, 7);
    wire_write_u64(&measure, 9);
    assert_int_equal(measure.size, 20);
    assert_int_equal(wire_writer_finish(&measure), WIRE_OK);
}

static void check_varint(uint64_t value, size_t size)
{
    uint8_t bytes[10];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_reader r;

    wire_write_varint(&w, value);
    assert_int_equal(wire_writer_finish(&w), WIRE_OK);
    assert_int_equal(w.size, size);
    for (size_t length = 0; length <= size; length++) {
        uint8_t *copy = malloc(length ? length : 1);

        memcpy(copy, bytes, length);
        r = wire_reader_of(copy, length);
        assert_true(wire_read_varint(&r) == (length == size ? value : 0));
        assert_int_equal(r.failed, length < size);
        free(copy);
    }
}

static void test_varint_sizes_and_short_input(void **state)
{
    (void) state;
    check_varint(0, 1);
    for (size_t size = 1; size <= 9; size++) {
        check_varint((UINT64_C(1) << 7 * size) - 1, size);
        check_varint(UINT64_C(1) << 7 * size, size + 1);
    }
    check_varint(UINT64_MAX, 10);
}

static void test_varint_refuses_what_is_not_shortest(void **state)
{
    static const struct {
        uint8_t bytes[12];
        size_t size;
    } bad[] = {
        {{0x80, 0x00}, 2},
        {{0x81, 0x80, 0x00}, 3},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00}, 10},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10}, /* 65 bits */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x01}, 11},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wire_reader r = wire_reader_of(bad[i].bytes, bad[i].size);

        assert_true(wire_read_varint(&r) == 0);
        assert_true(r.failed);
    }
}

static void test_span_lengths_are_checked(void **state)
{
    static const uint8_t good[] = {3, 'a', 'b', 'c', 0};
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'};
    struct wire_reader r = wire_reader_of(good, sizeof(good));
    struct wire_span span = wire_read_span(&r);

    (void) state;
    assert_int_equal(span.size, 3);
    assert_memory_equal(span.data, "abc", 3);
    span = wire_read_span(&r);
    assert_int_equal(span.size, 0);
    assert_non_null(span.data);
    assert_int_equal(wire_reader_finish(&r), WIRE_OK);

    r = wire_reader_of(good, 3);
    span = wire_read_span(&r);
    assert_null(span.data);
    assert_int_equal(span.size, 0);
    assert_true(r.failed);

    r = wire_reader_of(huge, sizeof(huge));
    assert_null(wire_read_span(&r).data);
    assert_true(r.failed);
}

static void test_zigzag(void **state)
{
    static const struct {
        int64_t value;
        uint64_t coded;
    } pairs[] = {{0, 0}, {-1, 1}, {1, 2}, {-2, 3}, {INT64_MAX, UINT64_MAX - 1}, {INT64_MIN, UINT64_MAX}};

    (void) state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        assert_true(wire_zigzag(pairs[i].value) == pairs[i].coded);
        assert_true(wire_unzigzag(pairs[i].coded) == pairs[i].value);
    }
}

static struct wire_span span_of(const char *text, size_t size)
{
    return (struct wire_span){(const uint8_t *) text, size};
}

static void test_span_compare(void **state)
{
    (void) state;
    assert_int_equal(wire_span_compare(span_of(NULL, 0), span_of(NULL, 0)), 0);
    assert_true(wire_span_compare(span_of(NULL, 0), span_of("a", 1)) < 0);
    assert_true(wire_span_compare(span_of("ab", 2), span_of("a", 1)) > 0);
    assert_true(wire_span_compare(span_of("ab", 2), span_of("b", 1)) < 0);
    assert_true(wire_span_compare(span_of("\xff", 1), span_of("a", 1)) > 0); /* unsigned */
    assert_int_equal(wire_span_compare(span_of("ab", 2), span_of("ab", 2)), 0);
}

static void test_checksum_is_frozen_and_seeded(void **state)
{
    uint8_t block[256];
    uint32_t sum;

    (void) state;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t) i;
    /* XXH3-64 of nothing is 2d06800538d394c2: both halves are stored formats. */
    assert_int_equal(wire_checksum("", 0, 0), 0x38d394c2);
    assert_int_equal(wire_partition_hash("", 0), 0x2d068005);
    sum = wire_checksum(block, sizeof(block), 1);
    assert_int_equal(wire_checksum(block, sizeof(block), 1), sum);
    assert_int_not_equal(wire_checksum(block, sizeof(block), 2), sum);
    assert_int_not_equal(wire_checksum(block, sizeof(block) - 1, 1), sum);
    for (size_t bit = 0; bit < sizeof(block) * 8; bit++) {
        block[bit / 8] ^= (uint8_t) (1 << bit % 8);
        assert_int_not_equal(wire_checksum(block, sizeof(block), 1), sum);
        block[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
}

static void test_partition_hash_spreads(void **state)
{
    uint32_t buckets[16] = {0};

    (void) state;
    for (uint64_t i = 0; i < 16000; i++) {
        uint8_t key[9];
        struct wire_writer w = wire_writer_of(key, sizeof(key));

        wire_write_u8(&w, 0x20);
        wire_write_u64(&w, i);
        buckets[wire_partition_hash(key, w.size) >> 28]++;
    }
    for (size_t i = 0; i < 16; i++)
        assert_in_range(buckets[i], 800, 1200);
}

static void test_error_table_is_complete(void **state)
{
    static const char *const names[] = {
#define NAME(name, text, sqlstate, retry) #name,
        WIRE_ERRORS(NAME)
#undef NAME
    };

    (void) state;
    assert_int_equal(sizeof(names) / sizeof(names[0]), WIRE_ERROR_COUNT);
    for (int code = 0; code < WIRE_ERROR_COUNT; code++) {
        const char *sqlstate = wire_error_sqlstate(code);

        assert_string_equal(wire_error_name(code), names[code]);
        assert_true(strlen(wire_error_text(code)) > 0);
        assert_int_equal(strlen(sqlstate), 5);
        assert_int_equal(strspn(sqlstate, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 5);
        assert_in_range(wire_error_retry(code), 0, 1);
        /* Only success may look like success to the user. */
        assert_int_equal(strncmp(sqlstate, "00", 2) == 0, code == WIRE_OK);
        for (int other = 0; other < code; other++)
            assert_string_not_equal(wire_error_text(code), wire_error_text(other));
    }
}

static void test_error_table_answers_any_code(void **state)
{
    static const int unknown[] = {-1, WIRE_ERROR_COUNT, INT32_MAX, INT32_MIN};

    (void) state;
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_string_equal(wire_error_name(unknown[i]), "WIRE_E_INTERNAL");
        assert_string_equal(wire_error_text(unknown[i]), wire_error_text(WIRE_E_INTERNAL));
        assert_string_equal(wire_error_sqlstate(unknown[i]), "XX000");
        assert_int_equal(wire_error_retry(unknown[i]), 0);
    }
    assert_int_equal(WIRE_OK, 0);
    assert_string_equal(wire_error_sqlstate(WIRE_E_EXISTS), "23505");
    assert_string_equal(wire_error_sqlstate(WIRE_E_CHANGED), "40001");
    assert_int_equal(wire_error_retry(WIRE_E_CHANGED), 1);
    assert_int_equal(wire_error_retry(WIRE_E_EXISTS), 0);
}

static void test_clock_never_goes_back(void **state)
{
    uint64_t now_ms = UINT64_C(1700000000000), last = WIRE_VERSION_NONE, next;

    (void) state;
    next = wire_clock_next(last, now_ms);
    assert_true(wire_clock_ms(next) == now_ms);
    last = next;
    for (int i = 0; i < 5000; i++) { /* wall time stands still, then jumps back */
        next = wire_clock_next(last, i < 2500 ? now_ms : now_ms - 60000);
        assert_true(next == last + 1);
        last = next;
    }
    assert_true(wire_clock_ms(last) == now_ms);
    next = wire_clock_next(last, now_ms + 1);
    assert_true(next > last && wire_clock_ms(next) == now_ms + 1);
}

static void test_clock_counter_carries_into_milliseconds(void **state)
{
    uint64_t last = (UINT64_C(1000) << 20) + (1 << 20) - 1, next = wire_clock_next(last, 1000);

    (void) state;
    assert_true(next == UINT64_C(1001) << 20);
    assert_true(wire_clock_next(next, 1001) == next + 1); /* not twice the same version */
}

static void test_versions_are_not_transactions(void **state)
{
    uint64_t last_ms = (UINT64_C(1) << 43) - 1; /* the year 2248 */

    (void) state;
    assert_false(wire_version_is_transaction(wire_clock_next(0, last_ms)));
    assert_false(wire_version_is_transaction(WIRE_VERSION_NONE));
    assert_false(wire_version_is_transaction(WIRE_VERSION_MAX - 1));
    assert_true(wire_version_is_transaction(WIRE_TRANSACTION_BIT | 17));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_integers_are_big_endian),
        cmocka_unit_test(test_reader_fails_stickily),
        cmocka_unit_test(test_empty_reads_are_not_failures),
        cmocka_unit_test(test_writer_refuses_every_short_capacity),
        cmocka_unit_test(test_varint_sizes_and_short_input),
        cmocka_unit_test(test_varint_refuses_what_is_not_shortest),
        cmocka_unit_test(test_span_lengths_are_checked),
        cmocka_unit_test(test_zigzag),
        cmocka_unit_test(test_span_compare),
        cmocka_unit_test(test_checksum_is_frozen_and_seeded),
        cmocka_unit_test(test_partition_hash_spreads),
        cmocka_unit_test(test_error_table_is_complete),
        cmocka_unit_test(test_error_table_answers_any_code),
        cmocka_unit_test(test_clock_never_goes_back),
        cmocka_unit_test(test_clock_counter_carries_into_milliseconds),
        cmocka_unit_test(test_versions_are_not_transactions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
