/*
 * Keys: the order of bytes is the order of values, prefixes bound exactly what they should, and what decodes encodes
 * back to the same bytes. The properties run over pairs from a seeded generator that prefers neighbours: shared
 * prefixes, zero bytes, near numbers.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wire_key.h"

#define ROUNDS 40000
#define BYTES_MAX 12

static const enum wire_key_type all_types[] = {WIRE_KEY_BOOLEAN,   WIRE_KEY_INTEGER, WIRE_KEY_NUMBER, WIRE_KEY_DATE,
                                               WIRE_KEY_TIMESTAMP, WIRE_KEY_UUID,    WIRE_KEY_BYTES,  WIRE_KEY_TEXT};
#define TYPES (sizeof(all_types) / sizeof(all_types[0]))

/* A value with the room its parts borrow from. */
struct sample {
    struct wire_key_value value;
    uint8_t bytes[64];
    char text[80]; /* of a NUMBER */
};

struct encoded {
    uint8_t bytes[256];
    size_t size;
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

static int sign_of(int order)
{
    return (order > 0) - (order < 0);
}

static void sample_number(struct sample *s, const char *text)
{
    struct wire_writer w = wire_writer_of(s->bytes, sizeof(s->bytes));
    struct wire_reader r;

    s->value.type = WIRE_KEY_NUMBER;
    snprintf(s->text, sizeof(s->text), "%s", text);
    if (wire_number_write_text(&w, text, strlen(text)) != WIRE_OK)
        fail_msg("%s does not encode", text);
    r = wire_reader_of(s->bytes, w.size);
    assert_int_equal(wire_number_read(&r, &s->value.number), WIRE_OK);
}

static int random_exponent(void)
{
    switch (random_below(4)) {
    case 0:
        return (int) random_below(5) - 2;
    case 1:
        return (int) random_below(60) - 30;
    case 2:
        return (int) random_below(250) - 125;
    default:
        return (int) random_below(140000) - 16300;
    }
}

static void random_number(struct sample *s)
{
    char digits[WIRE_NUMBER_DIGITS_MAX + 1], text[80];
    uint32_t count = random_below(3) ? 1 + random_below(4) : 1 + random_below(WIRE_NUMBER_DIGITS_MAX);
    uint32_t alphabet = random_below(2) ? 10 : 2;
    int exponent = random_exponent();

    for (uint32_t i = 0; i < count; i++)
        digits[i] = (char) ('0' + (alphabet == 2 ? 9 * random_below(2) : random_below(10)));
    digits[count] = '\0';
    if (exponent < 0 && exponent - (int) count < -16000)
        exponent = -16000;
    snprintf(text, sizeof(text), "%s%c.%se%d", random_below(2) ? "-" : "", digits[0], digits + 1, exponent);
    sample_number(s, text);
}

/* Another number close to one: its digits with another exponent, sign, scale, or one more or fewer of them. */
static void neighbour_number(const struct sample *from, struct sample *s)
{
    char text[80];
    size_t mantissa = strcspn(from->text, "e"), sign = from->text[0] == '-';
    int exponent = atoi(from->text + mantissa + 1), count = (int) (mantissa - sign) - 1;

    switch (random_below(4)) {
    case 0:
        exponent += (int) random_below(3) - 1;
        break;
    case 1:
        mantissa -= count > 1;
        break;
    case 2:
        sign = 1 - sign;
        break;
    default:
        break;
    }
    snprintf(text, sizeof(text), "%s%.*s", sign ? "-" : "", (int) mantissa - (from->text[0] == '-'),
             from->text + (from->text[0] == '-'));
    if (random_below(2) && count < WIRE_NUMBER_DIGITS_MAX)
        strcat(text, random_below(2) ? "0" : "1");
    snprintf(text + strlen(text), 16, "e%d", exponent);
    sample_number(s, text);
}

static void random_bytes(struct sample *s)
{
    static const uint8_t edges[] = {0x00, 0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff, 0xff, 'a'};
    size_t size = random_below(BYTES_MAX + 1);

    for (size_t i = 0; i < size; i++)
        s->bytes[i] = random_below(8) ? edges[random_below(sizeof(edges))] : (uint8_t) random_next();
    s->value.bytes = (struct wire_span){s->bytes, size};
}

static int64_t random_integer(void)
{
    static const int64_t edges[] = {0, -1, 1, INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX, 255, 256, -256, -257};

    return random_below(4) ? (int64_t) random_next() >> random_below(64) : edges[random_below(11)];
}

static void random_sample(enum wire_key_type type, struct sample *s)
{
    memset(s, 0, sizeof(*s));
    s->value.type = type;
    switch (type) {
    case WIRE_KEY_BOOLEAN:
        s->value.boolean = random_below(2);
        break;
    case WIRE_KEY_INTEGER:
    case WIRE_KEY_TIMESTAMP:
        s->value.integer = random_integer();
        break;
    case WIRE_KEY_DATE:
        s->value.integer = (int32_t) random_integer();
        break;
    case WIRE_KEY_NUMBER:
        random_number(s);
        break;
    case WIRE_KEY_UUID:
        for (size_t i = 0; i < 16; i++)
            s->bytes[i] = random_below(3) ? 0 : (uint8_t) random_next();
        s->value.bytes = (struct wire_span){s->bytes, 16};
        break;
    default:
        random_bytes(s);
    }
}

static void random_pair(enum wire_key_type type, struct sample *a, struct sample *b)
{
    random_sample(type, a);
    random_sample(type, b);
    if (random_below(2) == 0)
        return;
    if (type == WIRE_KEY_NUMBER)
        neighbour_number(a, b);
    else if (type == WIRE_KEY_BYTES || type == WIRE_KEY_TEXT) {
        size_t shared = random_below((uint32_t) a->value.bytes.size + 1);

        memmove(b->bytes + shared, b->bytes, b->value.bytes.size);
        memcpy(b->bytes, a->bytes, shared);
        b->value.bytes.size += shared;
    } else if (type == WIRE_KEY_INTEGER && a->value.integer < INT64_MAX)
        b->value.integer = a->value.integer + random_below(2);
}

static int compare_values(const struct wire_key_value *a, const struct wire_key_value *b)
{
    switch (a->type) {
    case WIRE_KEY_BOOLEAN:
        return a->boolean - b->boolean;
    case WIRE_KEY_INTEGER:
    case WIRE_KEY_TIMESTAMP:
    case WIRE_KEY_DATE:
        return (a->integer > b->integer) - (a->integer < b->integer);
    case WIRE_KEY_NUMBER:
        return wire_number_compare(&a->number, &b->number);
    default:
        return wire_span_compare(a->bytes, b->bytes);
    }
}

static void encode(const struct wire_key_value *value, struct encoded *out)
{
    struct wire_writer w = wire_writer_of(out->bytes, sizeof(out->bytes)), measure = wire_writer_of(NULL, 0);

    assert_int_equal(wire_key_write_column(&w, value), WIRE_OK);
    assert_int_equal(wire_key_write_column(&measure, value), WIRE_OK);
    assert_int_equal(w.size, measure.size);
    out->size = w.size;
}

static int compare_bytes(const struct encoded *a, const struct encoded *b)
{
    return wire_span_compare((struct wire_span){a->bytes, a->size}, (struct wire_span){b->bytes, b->size});
}

static void test_order_of_bytes_is_order_of_values(void **state)
{
    (void) state;
    random_state = 1;
    for (size_t t = 0; t < TYPES; t++)
        for (int i = 0; i < ROUNDS; i++) {
            struct sample a, b;
            struct encoded x, y;
            int expected;

            random_pair(all_types[t], &a, &b);
            encode(&a.value, &x);
            encode(&b.value, &y);
            expected = sign_of(compare_values(&a.value, &b.value));
            if (sign_of(compare_bytes(&x, &y)) != expected)
                fail_msg("type %#x, round %d: \"%s\" \"%s\" should order %d", all_types[t], i, a.text, b.text,
                         expected);
        }
}

/* One column never disturbs the next: keys of several columns order by the first that differs. */
static void test_order_of_several_columns(void **state)
{
    (void) state;
    random_state = 2;
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t left[256], right[256];
        struct wire_writer x = wire_writer_of(left, sizeof(left)), y = wire_writer_of(right, sizeof(right));
        int expected = 0;

        wire_key_write_prefix(&x, 7, 0);
        wire_key_write_prefix(&y, 7, 0);
        for (int column = 0; column < 3; column++) {
            struct sample a, b;

            random_pair(all_types[random_below(TYPES)], &a, &b);
            if (column < 2 && random_below(2))
                b.value = a.value;
            assert_int_equal(wire_key_write_column(&x, &a.value), WIRE_OK);
            assert_int_equal(wire_key_write_column(&y, &b.value), WIRE_OK);
            if (expected == 0)
                expected = sign_of(compare_values(&a.value, &b.value));
        }
        if (sign_of(wire_span_compare((struct wire_span){left, x.size}, (struct wire_span){right, y.size})) != expected)
            fail_msg("round %d", i);
    }
}

static void check_read(const struct encoded *e, const struct wire_key_value *want)
{
    uint8_t room[64], *exact = malloc(e->size);
    struct wire_reader r = wire_reader_of(exact, e->size), skip = r;
    struct wire_writer scratch = wire_writer_of(room, sizeof(room));
    struct wire_key_value got;
    struct encoded again;

    memcpy(exact, e->bytes, e->size);
    assert_int_equal(wire_key_read_column(&r, &scratch, &got), WIRE_OK);
    assert_int_equal(wire_reader_finish(&r), WIRE_OK);
    assert_int_equal(wire_key_skip_column(&skip), WIRE_OK);
    assert_int_equal(wire_reader_finish(&skip), WIRE_OK);
    assert_int_equal(got.type, want->type);
    assert_int_equal(compare_values(&got, want), 0);
    encode(&got, &again);
    assert_int_equal(compare_bytes(&again, e), 0);
    if (got.type == WIRE_KEY_NUMBER) {
        int64_t integer;
        bool whole = wire_number_to_integer(&want->number, &integer) == WIRE_OK;

        assert_int_equal(got.number.form == WIRE_NUMBER_INTEGER, whole);
        if (!whole && want->number.scale > 0)
            assert_true(got.number.scale <= want->number.scale);
    }
    free(exact);
}

static void test_round_trip(void **state)
{
    (void) state;
    random_state = 3;
    for (size_t t = 0; t < TYPES; t++)
        for (int i = 0; i < ROUNDS / 4; i++) {
            struct sample s;
            struct encoded e;

            random_sample(all_types[t], &s);
            encode(&s.value, &e);
            check_read(&e, &s.value);
        }
}

static void test_every_short_length_and_capacity(void **state)
{
    (void) state;
    random_state = 4;
    for (size_t t = 0; t < TYPES; t++)
        for (int i = 0; i < 200; i++) {
            struct sample s;
            struct encoded e;

            random_sample(all_types[t], &s);
            encode(&s.value, &e);
            for (size_t length = 0; length < e.size; length++) {
                uint8_t room[64], *copy = malloc(length ? length : 1);
                struct wire_reader r = wire_reader_of(copy, length), skip = r;
                struct wire_writer scratch = wire_writer_of(room, sizeof(room)), w = wire_writer_of(copy, length);
                struct wire_key_value got;

                memcpy(copy, e.bytes, length);
                assert_int_equal(wire_key_read_column(&r, &scratch, &got), WIRE_E_SHORT_INPUT);
                assert_true(r.failed);
                assert_int_equal(wire_key_skip_column(&skip), WIRE_E_SHORT_INPUT);
                assert_true(skip.failed);
                assert_int_equal(wire_key_write_column(&w, &s.value), WIRE_E_SHORT_BUFFER);
                free(copy);
            }
        }
}

/* Each byte of each encoding replaced by each other byte: refused, or a column that encodes to just these bytes. */
static void test_only_what_is_written_is_read(void **state)
{
    (void) state;
    random_state = 5;
    for (int i = 0; i < 300; i++) {
        struct sample s;
        struct encoded e;

        random_sample(all_types[(size_t) i % TYPES], &s);
        encode(&s.value, &e);
        for (size_t at = 0; at < e.size; at++)
            for (int byte = 0; byte < 256; byte++) {
                uint8_t room[128];
                struct encoded changed = e, again;
                struct wire_reader r = wire_reader_of(changed.bytes, e.size), skip = r;
                struct wire_writer scratch = wire_writer_of(room, sizeof(room));
                struct wire_key_value got;
                int rc;

                changed.bytes[at] = (uint8_t) byte;
                rc = wire_key_read_column(&r, &scratch, &got);
                assert_int_equal(wire_key_skip_column(&skip), rc);
                assert_int_equal(r.failed, rc != WIRE_OK);
                if (rc != WIRE_OK) {
                    assert_true(rc == WIRE_E_SHORT_INPUT || rc == WIRE_E_BAD_FORMAT);
                    continue;
                }
                assert_int_equal(r.position, skip.position);
                encode(&got, &again);
                changed.size = r.position;
                assert_int_equal(compare_bytes(&again, &changed), 0);
            }
    }
}

static void test_hostile_columns(void **state)
{
    static const struct {
        const char *what;
        uint8_t bytes[32];
        size_t size;
    } bad[] = {
        {"tag of NULL first", {0x01}, 1},
        {"tag of NULL last", {0xff}, 1},
        {"unknown tag", {0x61, 0x00, 0x01}, 3},
        {"boolean 2", {0x10, 0x02}, 2},
        {"escape of nothing", {0x60, 'a', 0x00, 0x02, 0x00, 0x01}, 6},
        {"zero without escape", {0x50, 0x00, 0x00, 0x00, 0x01}, 5},
        {"number sign 0", {0x28, 0x00}, 2},
        {"number sign 4", {0x28, 0x04}, 2},
        {"number without digits", {0x28, 0x03, 0x80, 0x00, 0x01, 0x00}, 6},
        {"first digit 0", {0x28, 0x03, 0x80, 0x00, 0x01, 0x0a, 0x00}, 7},
        {"last pair 00", {0x28, 0x03, 0x80, 0x00, 0x01, 0x0b, 0x01, 0x00}, 8},
        {"pair 100", {0x28, 0x03, 0x80, 0x00, 0x01, 0x65, 0x00}, 7},
        {"exponent 131073", {0x28, 0x03, 0x82, 0x00, 0x01, 0x0b, 0x00}, 7},
        {"exponent -16383", {0x28, 0x03, 0x7f, 0xc0, 0x01, 0x0b, 0x00}, 7},
        {"39 digits",
         {0x28, 0x03, 0x80, 0x00, 0x01, 11, 11, 11, 11, 11, 11, 11, 11,
          11,   11,   11,   11,   11,   11, 11, 11, 11, 11, 11, 11, 0},
         26},
        {"end mark not inverted", {0x28, 0x01, 0x7f, 0xff, 0xfe, 0xf4, 0x00}, 7},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t room[64], *exact = malloc(bad[i].size);
        struct wire_reader r = wire_reader_of(exact, bad[i].size), skip = r;
        struct wire_writer scratch = wire_writer_of(room, sizeof(room));
        struct wire_key_value value;

        memcpy(exact, bad[i].bytes, bad[i].size);
        if (wire_key_read_column(&r, &scratch, &value) != WIRE_E_BAD_FORMAT || !r.failed)
            fail_msg("%s is read", bad[i].what);
        if (wire_key_skip_column(&skip) != WIRE_E_BAD_FORMAT || !skip.failed)
            fail_msg("%s is skipped", bad[i].what);
        free(exact);
    }
}

static void test_layout_is_frozen(void **state)
{
    static const struct {
        struct wire_key_value value;
        const char *number;
        uint8_t bytes[24];
        size_t size;
    } cases[] = {
        {{.type = WIRE_KEY_TEXT, .bytes = {(const uint8_t *) "a\0b", 3}}, NULL, {0x60, 'a', 0, 0xff, 'b', 0, 1}, 7},
        {{.type = WIRE_KEY_TEXT}, NULL, {0x60, 0, 1}, 3},
        {{.type = WIRE_KEY_BYTES, .bytes = {(const uint8_t *) "\xff", 1}}, NULL, {0x50, 0xff, 0, 1}, 4},
        {{.type = WIRE_KEY_INTEGER, .integer = -2}, NULL, {0x20, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}, 9},
        {{.type = WIRE_KEY_TIMESTAMP, .integer = 1}, NULL, {0x38, 0x80, 0, 0, 0, 0, 0, 0, 1}, 9},
        {{.type = WIRE_KEY_DATE, .integer = -1}, NULL, {0x30, 0x7f, 0xff, 0xff, 0xff}, 5},
        {{.type = WIRE_KEY_BOOLEAN, .boolean = true}, NULL, {0x10, 1}, 2},
        {{.type = WIRE_KEY_UUID, .bytes = {(const uint8_t *) "0123456789abcdef", 16}},
         NULL,
         "\x40"
         "0123456789abcdef",
         17},
        {{.type = WIRE_KEY_NUMBER}, "0.00", {0x28, 2}, 2},
        {{.type = WIRE_KEY_NUMBER}, "123.00", {0x28, 3, 0x80, 0, 3, 13, 31, 0}, 8},
        {{.type = WIRE_KEY_NUMBER}, "0.0012", {0x28, 3, 0x7f, 0xff, 0xfe, 13, 0}, 7},
        {{.type = WIRE_KEY_NUMBER}, "-99", {0x28, 1, 0x7f, 0xff, 0xfd, 0xff - 100, 0xff}, 7},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sample s = {.value = cases[i].value};
        struct encoded e;

        if (cases[i].number)
            sample_number(&s, cases[i].number);
        encode(&s.value, &e);
        assert_int_equal(e.size, cases[i].size);
        assert_memory_equal(e.bytes, cases[i].bytes, e.size);
    }
}

static void test_values_without_a_key_form(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } numbers[] = {
        {"NaN", WIRE_E_NUMBER_NOT_FINITE},
        {"Infinity", WIRE_E_NUMBER_NOT_FINITE},
        {"-Infinity", WIRE_E_NUMBER_NOT_FINITE},
        {"123456789012345678901234567890123456789", WIRE_E_NUMBER_DIGITS},
        {"1234567890123456789012345678901234567800", WIRE_OK}, /* 38 significant */
        {"1e131071", WIRE_OK},
        {"1e-16383", WIRE_OK},
    };
    static const int64_t days[] = {INT64_C(2147483648), INT64_C(-2147483649), INT64_MAX, INT64_MIN};
    uint8_t bytes[64];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_key_value value = {.type = WIRE_KEY_UUID, .bytes = {bytes, 15}};

    (void) state;
    assert_int_equal(wire_key_write_column(&w, &value), WIRE_E_BAD_FORMAT);
    value.type = 0x61;
    assert_int_equal(wire_key_write_column(&w, &value), WIRE_E_BAD_FORMAT);
    value.type = WIRE_KEY_DATE;
    for (size_t i = 0; i < 4; i++) {
        value.integer = days[i];
        assert_int_equal(wire_key_write_column(&w, &value), WIRE_E_NUMBER_RANGE);
    }
    /* A number that wire_number_read would not have let through. */
    value = (struct wire_key_value){.type = WIRE_KEY_NUMBER};
    value.number = (struct wire_number){
        .form = WIRE_NUMBER_POSITIVE, .exponent = 131073, .digit_count = 1, .digits = (const uint8_t *) "\x10"};
    assert_int_equal(wire_key_write_column(&w, &value), WIRE_E_NUMBER_RANGE);
    value.number.exponent = -16383;
    assert_int_equal(wire_key_write_column(&w, &value), WIRE_E_NUMBER_RANGE);
    assert_int_equal(w.size, 0); /* a refusal leaves no bytes */
    assert_false(w.failed);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct sample s = {0};

        sample_number(&s, numbers[i].text);
        w.size = 0;
        assert_int_equal(wire_key_write_column(&w, &s.value), numbers[i].rc);
        assert_int_equal(w.size > 0, numbers[i].rc == WIRE_OK);
    }
}

static void test_short_scratch(void **state)
{
    struct sample s = {.value = {.type = WIRE_KEY_TEXT, .bytes = {(const uint8_t *) "a\0b\0", 4}}};
    struct encoded e;

    (void) state;
    for (int number = 0; number < 2; number++) {
        size_t need = number ? 2 : 4;

        if (number)
            sample_number(&s, "-1.25");
        encode(&s.value, &e);
        for (size_t capacity = 0; capacity <= need; capacity++) {
            uint8_t *room = malloc(capacity ? capacity : 1);
            struct wire_writer scratch = wire_writer_of(room, capacity);
            struct wire_reader r = wire_reader_of(e.bytes, e.size);
            struct wire_key_value got;

            assert_int_equal(wire_key_read_column(&r, &scratch, &got), capacity < need ? WIRE_E_SHORT_BUFFER : WIRE_OK);
            assert_int_equal(scratch.size, capacity < need ? 0 : need);
            free(room);
        }
    }
}

/* What has no zero bytes is borrowed from the key, not copied. */
static void test_plain_text_is_borrowed(void **state)
{
    struct wire_key_value value = {.type = WIRE_KEY_TEXT, .bytes = {(const uint8_t *) "plain", 5}}, got;
    struct encoded e;
    struct wire_reader r;
    uint8_t room[1];
    struct wire_writer scratch = wire_writer_of(room, 0);

    (void) state;
    encode(&value, &e);
    r = wire_reader_of(e.bytes, e.size);
    assert_int_equal(wire_key_read_column(&r, &scratch, &got), WIRE_OK);
    assert_ptr_equal(got.bytes.data, e.bytes + 1);
}

static bool in_range(const struct wire_writer *key, const struct wire_writer *low, const struct wire_writer *high,
                     bool bounded)
{
    struct wire_span k = {key->data, key->size};

    return wire_span_compare(k, (struct wire_span){low->data, low->size}) >= 0 &&
           (!bounded || wire_span_compare(k, (struct wire_span){high->data, high->size}) < 0);
}

/* All and only the keys whose last column begins with the prefix lie between the prefix and its end. */
static void test_column_prefix_bounds_a_range(void **state)
{
    int inside = 0;

    (void) state;
    random_state = 6;
    for (int i = 0; i < ROUNDS * 2; i++) {
        enum wire_key_type type = random_below(2) ? WIRE_KEY_TEXT : WIRE_KEY_BYTES;
        uint8_t low_bytes[256], high_bytes[256], key_bytes[256];
        struct wire_writer low = wire_writer_of(low_bytes, sizeof(low_bytes)),
                           high = wire_writer_of(high_bytes, sizeof(high_bytes));
        struct wire_writer key = wire_writer_of(key_bytes, sizeof(key_bytes));
        struct sample first, other, prefix, text;
        bool expected, bounded;

        random_pair(all_types[random_below(TYPES)], &first, &other);
        if (random_below(4))
            other.value = first.value;
        random_pair(type, &text, &prefix);
        if (random_below(2)) { /* text = prefix + rest */
            random_sample(type, &prefix);
            memmove(text.bytes + prefix.value.bytes.size, text.bytes, text.value.bytes.size);
            memcpy(text.bytes, prefix.bytes, prefix.value.bytes.size);
            text.value.bytes.size += prefix.value.bytes.size;
        }
        wire_key_write_prefix(&low, 9, 1);
        assert_int_equal(wire_key_write_column(&low, &first.value), WIRE_OK);
        assert_int_equal(wire_key_write_column_prefix(&low, &prefix.value), WIRE_OK);
        wire_write_bytes(&high, low_bytes, low.size);
        bounded = wire_key_prefix_end(&high);
        wire_key_write_prefix(&key, 9, 1);
        assert_int_equal(wire_key_write_column(&key, &other.value), WIRE_OK);
        assert_int_equal(wire_key_write_column(&key, &text.value), WIRE_OK);
        expected = compare_values(&first.value, &other.value) == 0 &&
                   text.value.bytes.size >= prefix.value.bytes.size &&
                   memcmp(text.bytes, prefix.bytes, prefix.value.bytes.size) == 0;
        assert_true(bounded);
        if (in_range(&key, &low, &high, bounded) != expected)
            fail_msg("round %d", i);
        inside += expected;
    }
    assert_in_range(inside, ROUNDS / 4, ROUNDS * 2 - ROUNDS / 4); /* the rounds try both sides */
}

static void test_prefix_end_of_any_bytes(void **state)
{
    int unbounded = 0;

    (void) state;
    random_state = 7;
    for (int i = 0; i < ROUNDS * 2; i++) {
        static const uint8_t edges[] = {0x00, 0x01, 0xfe, 0xff, 0xff, 0xff};
        uint8_t low_bytes[8], high_bytes[8], key_bytes[8];
        struct wire_writer low = wire_writer_of(low_bytes, 8), high = wire_writer_of(high_bytes, 8),
                           key = wire_writer_of(key_bytes, 8);
        bool bounded, begins;

        for (uint32_t left = random_below(5); left > 0; left--)
            wire_write_u8(&low, edges[random_below(sizeof(edges))]);
        for (uint32_t left = random_below(8); left > 0; left--)
            wire_write_u8(&key, edges[random_below(sizeof(edges))]);
        wire_write_bytes(&high, low_bytes, low.size);
        bounded = wire_key_prefix_end(&high);
        assert_int_equal(bounded, high.size > 0);
        unbounded += !bounded;
        begins = key.size >= low.size && memcmp(key_bytes, low_bytes, low.size) == 0;
        if (in_range(&key, &low, &high, bounded) != begins)
            fail_msg("round %d", i);
    }
    assert_true(unbounded > 0 && unbounded < ROUNDS);
}

static void test_prefix_end_of_fixed_bytes(void **state)
{
    uint8_t bytes[] = {0x01, 0xff, 0xff};
    struct wire_writer w = {.data = bytes, .capacity = 3, .size = 3}, measure = {.size = 3};

    (void) state;
    assert_true(wire_key_prefix_end(&w));
    assert_int_equal(w.size, 1);
    assert_int_equal(bytes[0], 0x02);
    bytes[0] = 0xff;
    w.size = 3;
    assert_false(wire_key_prefix_end(&w));
    assert_int_equal(w.size, 0);
    assert_false(wire_key_prefix_end(&w));
    assert_true(wire_key_prefix_end(&measure)); /* an upper bound of the bound's size */
    assert_int_equal(measure.size, 3);
}

static void test_column_prefix_of_other_types(void **state)
{
    uint8_t bytes[16];

    (void) state;
    for (size_t t = 0; t < TYPES; t++) {
        struct wire_writer w = wire_writer_of(bytes, sizeof(bytes)), tiny = wire_writer_of(bytes, 2);
        struct wire_key_value value = {.type = all_types[t], .bytes = {(const uint8_t *) "xy", 2}};
        bool fits = all_types[t] == WIRE_KEY_TEXT || all_types[t] == WIRE_KEY_BYTES;

        assert_int_equal(wire_key_write_column_prefix(&w, &value), fits ? WIRE_OK : WIRE_E_TYPE);
        assert_int_equal(w.size, fits ? 3 : 0);
        assert_int_equal(wire_key_write_column_prefix(&tiny, &value), fits ? WIRE_E_SHORT_BUFFER : WIRE_E_TYPE);
    }
}

static void test_key_prefix(void **state)
{
    static const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    uint8_t bytes[WIRE_KEY_PREFIX_SIZE];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes)), measure = wire_writer_of(NULL, 0);
    uint64_t storage_id;
    uint16_t index_id;

    (void) state;
    wire_key_write_prefix(&w, UINT64_C(0x0102030405060708), 0x090a);
    wire_key_write_prefix(&measure, 1, 1);
    assert_int_equal(w.size, WIRE_KEY_PREFIX_SIZE);
    assert_int_equal(measure.size, WIRE_KEY_PREFIX_SIZE);
    assert_memory_equal(bytes, expected, sizeof(expected));
    for (size_t length = 0; length <= sizeof(bytes); length++) {
        uint8_t *copy = malloc(length ? length : 1);
        struct wire_reader r = wire_reader_of(copy, length);

        memcpy(copy, bytes, length);
        assert_int_equal(wire_key_read_prefix(&r, &storage_id, &index_id),
                         length < sizeof(bytes) ? WIRE_E_SHORT_INPUT : WIRE_OK);
        free(copy);
    }
    assert_true(storage_id == UINT64_C(0x0102030405060708));
    assert_int_equal(index_id, 0x090a);
}

static void test_key_belongs(void **state)
{
    uint8_t *key = calloc(1, WIRE_KEY_MAX + 1);
    struct wire_writer w = wire_writer_of(key, WIRE_KEY_MAX + 1);
    const struct wire_span whole = {key, WIRE_KEY_MAX};

    (void) state;
    assert_non_null(key);
    wire_key_write_prefix(&w, 0, 0);
    assert_false(wire_key_belongs(whole, 0)); /* the group's own */
    w.size = 0;
    wire_key_write_prefix(&w, 7, 3);
    assert_true(wire_key_belongs(whole, 7));
    assert_false(wire_key_belongs(whole, 8));
    assert_false(wire_key_belongs(whole, 0));
    assert_true(wire_key_belongs((struct wire_span){key, WIRE_KEY_PREFIX_SIZE}, 7));
    for (size_t size = 0; size < WIRE_KEY_PREFIX_SIZE; size++)
        assert_false(wire_key_belongs((struct wire_span){key, size}, 7));
    assert_false(wire_key_belongs((struct wire_span){key, WIRE_KEY_MAX + 1}, 7));
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_bytes_is_order_of_values),
        cmocka_unit_test(test_order_of_several_columns),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_short_length_and_capacity),
        cmocka_unit_test(test_only_what_is_written_is_read),
        cmocka_unit_test(test_hostile_columns),
        cmocka_unit_test(test_layout_is_frozen),
        cmocka_unit_test(test_values_without_a_key_form),
        cmocka_unit_test(test_short_scratch),
        cmocka_unit_test(test_plain_text_is_borrowed),
        cmocka_unit_test(test_column_prefix_bounds_a_range),
        cmocka_unit_test(test_prefix_end_of_any_bytes),
        cmocka_unit_test(test_prefix_end_of_fixed_bytes),
        cmocka_unit_test(test_column_prefix_of_other_types),
        cmocka_unit_test(test_key_prefix),
        cmocka_unit_test(test_key_belongs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
