/* Decimal numbers: text and back, the canonical form, order, bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wire_limits.h"
#include "wire_number.h"

#define ENCODED_MAX 80000

struct encoded {
    uint8_t bytes[64];
    size_t size;
    struct wire_number number;
};

static uint64_t random_state;

static uint64_t random_next(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint32_t random_below(uint32_t bound)
{
    return (uint32_t) (random_next() % bound);
}

static void encode(const char *text, struct encoded *out)
{
    struct wire_writer w = wire_writer_of(out->bytes, sizeof(out->bytes));
    struct wire_reader r;

    if (wire_number_write_text(&w, text, strlen(text)) != WIRE_OK)
        fail_msg("%s does not encode", text);
    out->size = w.size;
    r = wire_reader_of(out->bytes, out->size);
    if (wire_number_read(&r, &out->number) != WIRE_OK || wire_reader_finish(&r) != WIRE_OK)
        fail_msg("%s does not decode", text);
}

static int encode_error(const char *text, size_t size)
{
    uint8_t bytes[256];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    char *copy = malloc(size ? size : 1); /* exact, so that a read behind the end is seen */
    int rc;

    memcpy(copy, text, size);
    rc = wire_number_write_text(&w, copy, size);
    free(copy);
    if (rc != WIRE_OK)
        assert_int_equal(w.size, 0);
    return rc;
}

static void test_text_round_trip(void **state)
{
    /* Right: as PostgreSQL's numeric writes the left. */
    static const struct {
        const char *in, *out;
        enum wire_number_form form;
        uint32_t scale;
    } cases[] = {
        {"0", "0", WIRE_NUMBER_INTEGER, 0},
        {"-0", "0", WIRE_NUMBER_INTEGER, 0},
        {"0.00", "0.00", WIRE_NUMBER_ZERO, 2},
        {"-0.0", "0.0", WIRE_NUMBER_ZERO, 1},
        {".0", "0.0", WIRE_NUMBER_ZERO, 1},
        {"0e10", "0", WIRE_NUMBER_INTEGER, 0},
        {"0e-3", "0.000", WIRE_NUMBER_ZERO, 3},
        {"0e999999999999999999999", "0", WIRE_NUMBER_INTEGER, 0},
        {"1", "1", WIRE_NUMBER_INTEGER, 0},
        {"+17", "17", WIRE_NUMBER_INTEGER, 0},
        {"007", "7", WIRE_NUMBER_INTEGER, 0},
        {"5.", "5", WIRE_NUMBER_INTEGER, 0},
        {"1e3", "1000", WIRE_NUMBER_INTEGER, 0},
        {"1.5E1", "15", WIRE_NUMBER_INTEGER, 0},
        {"1.50e1", "15.0", WIRE_NUMBER_POSITIVE, 1},
        {"1.0", "1.0", WIRE_NUMBER_POSITIVE, 1},
        {"1.00", "1.00", WIRE_NUMBER_POSITIVE, 2},
        {"-1.00", "-1.00", WIRE_NUMBER_NEGATIVE, 2},
        {"100.00", "100.00", WIRE_NUMBER_POSITIVE, 2},
        {".5", "0.5", WIRE_NUMBER_POSITIVE, 1},
        {"-0.00120", "-0.00120", WIRE_NUMBER_NEGATIVE, 5},
        {"1e-5", "0.00001", WIRE_NUMBER_POSITIVE, 5},
        {"12.34e-3", "0.01234", WIRE_NUMBER_POSITIVE, 5},
        {"120.5", "120.5", WIRE_NUMBER_POSITIVE, 1},
        {"9223372036854775807", "9223372036854775807", WIRE_NUMBER_INTEGER, 0},
        {"-9223372036854775808", "-9223372036854775808", WIRE_NUMBER_INTEGER, 0},
        {"9223372036854775808", "9223372036854775808", WIRE_NUMBER_POSITIVE, 0},
        {"-9223372036854775809", "-9223372036854775809", WIRE_NUMBER_NEGATIVE, 0},
        {"9999999999999999999", "9999999999999999999", WIRE_NUMBER_POSITIVE, 0},
        {"1e19", "10000000000000000000", WIRE_NUMBER_POSITIVE, 0},
        {"1e18", "1000000000000000000", WIRE_NUMBER_INTEGER, 0},
        {"10000000000000000000000e-22", "1.0000000000000000000000", WIRE_NUMBER_POSITIVE, 22},
        {"0.0000000000000000000000e22", "0", WIRE_NUMBER_INTEGER, 0},
        {"NaN", "NaN", WIRE_NUMBER_NAN, 0},
        {"nan", "NaN", WIRE_NUMBER_NAN, 0},
        {"INFINITY", "Infinity", WIRE_NUMBER_INFINITY, 0},
        {"-infinity", "-Infinity", WIRE_NUMBER_MINUS_INFINITY, 0},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct encoded e, again;
        char text[64];
        size_t size;

        encode(cases[i].in, &e);
        assert_int_equal(e.number.form, cases[i].form);
        assert_int_equal(e.number.scale, cases[i].scale);
        assert_int_equal(wire_number_to_text(&e.number, text, sizeof(text) - 1, &size), WIRE_OK);
        text[size] = '\0';
        assert_string_equal(text, cases[i].out);
        encode(text, &again);
        assert_int_equal(again.size, e.size);
        assert_memory_equal(again.bytes, e.bytes, e.size);
    }
}

static void test_layout_is_frozen(void **state)
{
    static const struct {
        const char *text;
        uint8_t bytes[12];
        size_t size;
    } cases[] = {
        {"-1", {0, 1}, 2},
        {"64", {0, 0x80, 0x01}, 3},
        {"-123.450", {2, 3, 6, 5, 0x12, 0x34, 0x50}, 7}, /* 0.12345 x 10^3 */
        {"0.0012", {1, 4, 3, 2, 0x12}, 5},
        {"0.000", {3, 3}, 2},
        {"NaN", {4}, 1},
        {"Infinity", {5}, 1},
        {"-Infinity", {6}, 1},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct encoded e;

        encode(cases[i].text, &e);
        assert_int_equal(e.size, cases[i].size);
        assert_memory_equal(e.bytes, cases[i].bytes, e.size);
    }
}

static void test_syntax_errors(void **state)
{
    static const char *const bad[] = {
        "",      "-",  "+",   ".",  "-.",   "e5",     "1e",    "1e+",     "1e-",        "--1",  "+-1",
        "1.2.3", "1 ", " 1",  "1a", "0x10", "1e5.",   "1e5e5", "infinit", "infinityx",  "nanx", "na",
        "-nan",  "+",  "1,5", "١",  "1e1-", "+infin", "1_000", "\t1",     "++infinity", "-",    ".e1"};

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (encode_error(bad[i], strlen(bad[i])) != WIRE_E_NUMBER_SYNTAX)
            fail_msg("\"%s\" is taken for a number", bad[i]);
    assert_int_equal(encode_error("1\0", 2), WIRE_E_NUMBER_SYNTAX);
    assert_int_equal(wire_number_write_text(&(struct wire_writer){0}, NULL, 0), WIRE_E_NUMBER_SYNTAX);
}

static void test_range_errors(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"1e-16383", WIRE_OK},
        {"1e-16384", WIRE_E_NUMBER_RANGE},
        {"1.0e-16383", WIRE_E_NUMBER_RANGE},
        {"0e-16383", WIRE_OK},
        {"0e-16384", WIRE_E_NUMBER_RANGE},
        {"1e131071", WIRE_OK},
        {"-1e131072", WIRE_E_NUMBER_RANGE},
        {"1e999999999999999999999999", WIRE_E_NUMBER_RANGE},
        {"1e-999999999999999999999999", WIRE_E_NUMBER_RANGE},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(encode_error(cases[i].text, strlen(cases[i].text)), cases[i].rc);
}

/* 131072 digits before and 16383 behind the point: the longest number there is. */
static void test_longest_number(void **state)
{
    size_t whole = WIRE_NUMBER_MAGNITUDE_MAX, size = 1 + whole + 1 + WIRE_NUMBER_SCALE_MAX, back_size, need;
    char *text = malloc(size + 1), *back = malloc(size);
    uint8_t *bytes = malloc(ENCODED_MAX), *exact;
    struct wire_writer w = wire_writer_of(bytes, ENCODED_MAX), measure = wire_writer_of(NULL, 0);
    struct wire_reader r;
    struct wire_number number;

    (void) state;
    memset(text, '7', size + 1);
    text[0] = '-';
    text[1 + whole] = '.';
    assert_int_equal(wire_number_write_text(&measure, text, size), WIRE_OK);
    assert_int_equal(wire_number_write_text(&w, text, size), WIRE_OK);
    assert_int_equal(w.size, measure.size);
    exact = malloc(w.size);
    memcpy(exact, bytes, w.size);
    r = wire_reader_of(exact, w.size);
    assert_int_equal(wire_number_read(&r, &number), WIRE_OK);
    assert_int_equal(number.digit_count, whole + WIRE_NUMBER_SCALE_MAX);
    assert_int_equal(wire_number_to_text(&number, back, size - 1, &need), WIRE_E_SHORT_BUFFER);
    assert_int_equal(need, size);
    assert_int_equal(wire_number_to_text(&number, back, size, &back_size), WIRE_OK);
    assert_memory_equal(back, text, size);
    for (size_t length = 0; length < w.size; length += length < 20 ? 1 : 997) {
        r = wire_reader_of(exact, length);
        assert_int_equal(wire_number_read(&r, &number), WIRE_E_SHORT_INPUT);
    }
    w.size = 0;
    assert_int_equal(wire_number_write_text(&w, text, size + 1), WIRE_E_NUMBER_RANGE);
    free(exact);
    free(bytes);
    free(back);
    free(text);
}

static void test_write_integer_agrees_with_text(void **state)
{
    (void) state;
    random_state = 11;
    for (int i = 0; i < 20000; i++) {
        int64_t value = (int64_t) random_next() >> random_below(64), back;
        char text[32];
        uint8_t bytes[16];
        struct wire_writer w = wire_writer_of(bytes, sizeof(bytes)), measure = wire_writer_of(NULL, 0);
        struct encoded e;

        if (i < 2)
            value = i ? INT64_MAX : INT64_MIN;
        snprintf(text, sizeof(text), "%lld", (long long) value);
        encode(text, &e);
        wire_number_write_integer(&w, value);
        wire_number_write_integer(&measure, value);
        assert_int_equal(w.size, e.size);
        assert_int_equal(measure.size, e.size);
        assert_memory_equal(bytes, e.bytes, e.size);
        assert_int_equal(wire_number_to_integer(&e.number, &back), WIRE_OK);
        assert_true(back == value);
    }
}

static void test_every_short_length_and_capacity(void **state)
{
    static const char *const texts[] = {"0", "-300", "9223372036854775807", "1.50", "-12345678.9", "0.000", "1e-9000"};

    (void) state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct encoded e;

        encode(texts[i], &e);
        for (size_t length = 0; length < e.size; length++) {
            uint8_t *copy = malloc(length ? length : 1);
            struct wire_reader r = wire_reader_of(copy, length);
            struct wire_writer w = wire_writer_of(copy, length);
            struct wire_number number;

            memcpy(copy, e.bytes, length);
            assert_int_equal(wire_number_read(&r, &number), WIRE_E_SHORT_INPUT);
            assert_true(r.failed);
            assert_int_equal(wire_number_write_text(&w, texts[i], strlen(texts[i])), WIRE_E_SHORT_BUFFER);
            free(copy);
        }
    }
}

static void test_only_the_canonical_form_is_read(void **state)
{
    static const struct {
        const char *what;
        uint8_t bytes[12];
        size_t size;
    } bad[] = {
        {"unknown form", {7}, 1},
        {"form 255", {255}, 1},
        {"zero of scale 0", {3, 0}, 2},
        {"zero of scale 16384", {3, 0x80, 0x80, 0x01}, 4},
        {"integer as decimal", {1, 0, 2, 1, 0x50}, 5},
        {"INT64_MIN as decimal", {2, 0, 38, 19, 0x92, 0x23, 0x37, 0x20, 0x36, 0x85, 0x47, 0x75}, 12},
        {"no digits", {1, 1, 0, 0}, 4},
        {"first digit 0", {1, 2, 0, 2, 0x05}, 5},
        {"last digit 0", {1, 2, 0, 2, 0x50}, 5},
        {"high nibble no digit", {1, 1, 0, 1, 0xa0}, 5},
        {"low nibble no digit", {1, 2, 0, 2, 0x1a}, 5},
        {"padding not 0", {1, 1, 0, 1, 0x11}, 5},
        {"more digits than the scale", {1, 1, 0, 2, 0x12}, 5},
        {"scale 16384", {1, 0x80, 0x80, 0x01, 0, 1, 0x10}, 7},
        {"exponent 131073", {1, 0, 0x82, 0x80, 0x10, 1, 0x10}, 7},
        {"exponent of 64 bits", {1, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 12},
        {"overlong varint", {0, 0x81, 0x00}, 3},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t padded[64] = {0};
        struct wire_reader r = wire_reader_of(padded, sizeof(padded));
        struct wire_number number;

        memcpy(padded, bad[i].bytes, bad[i].size);
        if (strcmp(bad[i].what, "INT64_MIN as decimal") == 0)
            padded[12] = 0x80, padded[13] = 0x80;
        if (strcmp(bad[i].what, "exponent of 64 bits") == 0)
            padded[12] = 1, padded[13] = 0x10;
        if (wire_number_read(&r, &number) == WIRE_OK || !r.failed)
            fail_msg("%s is read", bad[i].what);
    }
}

static void test_huge_digit_count_is_not_followed(void **state)
{
    static const uint8_t counts[][10] = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
                                         {0xff, 0xff, 0xff, 0xff, 0x0f},
                                         {0xff, 0xff, 0x08}}; /* UINT64_MAX, UINT32_MAX, 147455 */
    static const size_t sizes[] = {10, 5, 3};

    (void) state;
    for (size_t i = 0; i < 3; i++) {
        uint8_t bytes[32];
        struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
        struct wire_reader r;
        struct wire_number number;
        uint8_t *exact;

        wire_write_u8(&w, WIRE_NUMBER_POSITIVE);
        wire_write_varint(&w, WIRE_NUMBER_SCALE_MAX);
        wire_write_varint(&w, wire_zigzag(WIRE_NUMBER_MAGNITUDE_MAX));
        wire_write_bytes(&w, counts[i], sizes[i]);
        wire_write_u8(&w, 0x11);
        exact = malloc(w.size);
        memcpy(exact, bytes, w.size);
        r = wire_reader_of(exact, w.size);
        assert_int_equal(wire_number_read(&r, &number), i < 2 ? WIRE_E_BAD_FORMAT : WIRE_E_SHORT_INPUT);
        assert_true(r.failed);
        free(exact);
    }
}

static void test_to_integer(void **state)
{
    static const struct {
        const char *text;
        int rc;
        int64_t value;
    } cases[] = {
        {"3.00", WIRE_OK, 3},
        {"-120.0", WIRE_OK, -120},
        {"0.00", WIRE_OK, 0},
        {"-9223372036854775808.0", WIRE_OK, INT64_MIN},
        {"9223372036854775807.00", WIRE_OK, INT64_MAX},
        {"9223372036854775808.0", WIRE_E_NUMBER_RANGE, 0},
        {"-9223372036854775809", WIRE_E_NUMBER_RANGE, 0},
        {"0.5", WIRE_E_NUMBER_RANGE, 0},
        {"12.5", WIRE_E_NUMBER_RANGE, 0},
        {"1e100", WIRE_E_NUMBER_RANGE, 0},
        {"1e-100", WIRE_E_NUMBER_RANGE, 0},
        {"NaN", WIRE_E_NUMBER_NOT_FINITE, 0},
        {"Infinity", WIRE_E_NUMBER_NOT_FINITE, 0},
        {"-Infinity", WIRE_E_NUMBER_NOT_FINITE, 0},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct encoded e;
        int64_t value = 0;

        encode(cases[i].text, &e);
        assert_int_equal(wire_number_to_integer(&e.number, &value), cases[i].rc);
        assert_true(value == cases[i].value);
    }
}

static void test_order_of_fixed_values(void **state)
{
    /* Ascending; '=' in front: equal to the one before. */
    static const char *const ordered[] = {"-Infinity",
                                          "-1e131071",
                                          "-1e20",
                                          "-9223372036854775809",
                                          "-9223372036854775808",
                                          "=-9223372036854775808.0",
                                          "-100",
                                          "-99.9",
                                          "-10",
                                          "=-10.000",
                                          "-9.99",
                                          "-1.01",
                                          "-1",
                                          "=-1.0",
                                          "-0.99",
                                          "-0.1",
                                          "-0.01",
                                          "-1e-16383",
                                          "0",
                                          "=0.00",
                                          "1e-16383",
                                          "0.0099",
                                          "0.01",
                                          "=0.010",
                                          "0.1",
                                          "0.10000000000000000000000000000001",
                                          "0.11",
                                          "0.12",
                                          "0.123",
                                          "0.1231",
                                          "1",
                                          "=1.00",
                                          "1.01",
                                          "2",
                                          "10",
                                          "=10.0",
                                          "11",
                                          "100",
                                          "1000000000000",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "=9223372036854775808.00",
                                          "1e19",
                                          "1e131071",
                                          "Infinity",
                                          "=Infinity",
                                          "NaN",
                                          "=NaN"};
    size_t count = sizeof(ordered) / sizeof(ordered[0]);
    int rank[sizeof(ordered) / sizeof(ordered[0])];

    (void) state;
    for (size_t i = 0; i < count; i++)
        rank[i] = i == 0 ? 0 : rank[i - 1] + (ordered[i][0] != '=');
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            struct encoded a, b;
            int order, expected = (rank[i] > rank[j]) - (rank[i] < rank[j]);

            encode(ordered[i] + (ordered[i][0] == '='), &a);
            encode(ordered[j] + (ordered[j][0] == '='), &b);
            order = wire_number_compare(&a.number, &b.number);
            if ((order > 0) - (order < 0) != expected)
                fail_msg("%s and %s are ordered %d", ordered[i], ordered[j], order);
        }
}

/* A random number as integer and scale, small enough that scaling to a common scale stays within 128 bits. */
static void random_decimal(int64_t *unscaled, uint32_t *scale, char *text, size_t size)
{
    uint64_t magnitude = random_next() % UINT64_C(1000000000000000000);

    for (uint32_t cut = random_below(19); cut > 0; cut--)
        magnitude /= 10;
    for (uint32_t zeros = random_below(4); zeros > 0 && magnitude < UINT64_C(100000000000000000); zeros--)
        magnitude *= 10;
    *unscaled = random_below(2) ? (int64_t) magnitude : -(int64_t) magnitude;
    *scale = random_below(3) ? random_below(5) : random_below(19);
    snprintf(text, size, "%llde-%u", (long long) *unscaled, *scale);
}

static __int128 at_common_scale(int64_t unscaled, uint32_t scale)
{
    __int128 value = unscaled;

    for (; scale < 18; scale++)
        value *= 10;
    return value;
}

static void test_random_order_agrees_with_arithmetic(void **state)
{
    (void) state;
    random_state = 42;
    for (int i = 0; i < 200000; i++) {
        int64_t left, right;
        uint32_t left_scale, right_scale;
        char left_text[40], right_text[40];
        struct encoded a, b;
        __int128 x, y;

        random_decimal(&left, &left_scale, left_text, sizeof(left_text));
        random_decimal(&right, &right_scale, right_text, sizeof(right_text));
        if (random_below(8) == 0) { /* near: the same digits, another scale or one more or less */
            right = left + (int64_t) random_below(3) - 1;
            right_scale = random_below(2) ? left_scale : right_scale;
            snprintf(right_text, sizeof(right_text), "%llde-%u", (long long) right, right_scale);
        }
        encode(left_text, &a);
        encode(right_text, &b);
        x = at_common_scale(left, left_scale);
        y = at_common_scale(right, right_scale);
        if (wire_number_compare(&a.number, &b.number) != (x > y) - (x < y))
            fail_msg("%s and %s, round %d", left_text, right_text, i);
        /* Equal bytes exactly when value and scale are equal. */
        if ((a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0) != (x == y && left_scale == right_scale))
            fail_msg("bytes of %s and %s, round %d", left_text, right_text, i);
    }
}

static void test_limits(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"0", WIRE_OK},
        {"0.000", WIRE_OK},
        {"-9223372036854775808", WIRE_OK},
        {"12345678901234567890123456789012345678", WIRE_OK},
        {"123456789012345678901234567890123456789", WIRE_E_NUMBER_DIGITS},
        {"12345678901234567890123456789012345678000", WIRE_OK},
        {"1e125", WIRE_OK},
        {"9.9999999999999999999999999999999999999e125", WIRE_OK},
        {"-1e126", WIRE_E_NUMBER_RANGE},
        {"1e-130", WIRE_OK},
        {"-1e-130", WIRE_OK},
        {"9.9e-131", WIRE_E_NUMBER_RANGE},
        {"1e-131", WIRE_E_NUMBER_RANGE},
        {"NaN", WIRE_E_NUMBER_NOT_FINITE},
        {"Infinity", WIRE_E_NUMBER_NOT_FINITE},
        {"-Infinity", WIRE_E_NUMBER_NOT_FINITE},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct encoded e;

        encode(cases[i].text, &e);
        if (wire_number_check_limits(&e.number) != cases[i].rc)
            fail_msg("limits of %s", cases[i].text);
    }
}

static void test_digits(void **state)
{
    static const struct {
        const char *text, *digits;
        int32_t exponent;
        bool negative;
    } cases[] = {
        {"0", "", 0, false},
        {"0.00", "", 0, false},
        {"1200", "12", 4, false},
        {"-1200.00", "12", 4, true},
        {"0.0034", "34", -2, false},
        {"-9223372036854775808", "9223372036854775808", 19, true},
        {"98765432109876543210.5", "987654321098765432105", 20, false},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct encoded e;
        uint32_t want = (uint32_t) strlen(cases[i].digits), count;
        uint8_t *digits = malloc(want ? want : 1);
        int32_t exponent;
        bool negative;

        encode(cases[i].text, &e);
        assert_int_equal(wire_number_digits(&e.number, digits, want, &count, &exponent, &negative), WIRE_OK);
        assert_int_equal(count, want);
        assert_int_equal(exponent, cases[i].exponent);
        assert_int_equal(negative, cases[i].negative);
        for (uint32_t d = 0; d < want; d++)
            assert_int_equal(digits[d], cases[i].digits[d] - '0');
        if (want > 0)
            assert_int_equal(wire_number_digits(&e.number, digits, want - 1, &count, &exponent, &negative),
                             WIRE_E_NUMBER_DIGITS);
        free(digits);
    }
}

static void test_digits_of_what_is_not_finite(void **state)
{
    static const char *const texts[] = {"NaN", "Infinity", "-Infinity"};

    (void) state;
    for (size_t i = 0; i < 3; i++) {
        struct encoded e;
        uint8_t digits[38];
        uint32_t count;
        int32_t exponent;
        bool negative;

        encode(texts[i], &e);
        assert_int_equal(wire_number_digits(&e.number, digits, 38, &count, &exponent, &negative),
                         WIRE_E_NUMBER_NOT_FINITE);
    }
}

static void test_text_of_every_short_capacity(void **state)
{
    static const char *const texts[] = {"0",     "-17", "-0.050",    "1200.5",
                                        "0.000", "NaN", "-Infinity", "10000000000000000000000"};

    (void) state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t want = strlen(texts[i]);
        struct encoded e;

        encode(texts[i], &e);
        for (size_t capacity = 0; capacity <= want; capacity++) {
            char *text = malloc(capacity ? capacity : 1);
            size_t size = 0;

            assert_int_equal(wire_number_to_text(&e.number, text, capacity, &size),
                             capacity < want ? WIRE_E_SHORT_BUFFER : WIRE_OK);
            assert_int_equal(size, want);
            if (capacity == want)
                assert_memory_equal(text, texts[i], want);
            free(text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_round_trip),
        cmocka_unit_test(test_layout_is_frozen),
        cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_range_errors),
        cmocka_unit_test(test_longest_number),
        cmocka_unit_test(test_write_integer_agrees_with_text),
        cmocka_unit_test(test_every_short_length_and_capacity),
        cmocka_unit_test(test_only_the_canonical_form_is_read),
        cmocka_unit_test(test_huge_digit_count_is_not_followed),
        cmocka_unit_test(test_to_integer),
        cmocka_unit_test(test_order_of_fixed_values),
        cmocka_unit_test(test_random_order_agrees_with_arithmetic),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_digits_of_what_is_not_finite),
        cmocka_unit_test(test_text_of_every_short_capacity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
