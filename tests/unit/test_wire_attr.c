/* Attribute values: round trips, every short length, hostile bytes, equality, counted sizes, containers and sets. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "wire_attr.h"

#define BIG (1024 * 1024)

static uint8_t buffer[BIG];

static struct wire_span span_of(const char *text)
{
    return (struct wire_span){(const uint8_t *) text, strlen(text)};
}

static void write_string(struct wire_writer *w, const char *text)
{
    wire_attr_write_bytes(w, WIRE_STRING, text, strlen(text));
}

static void write_number(struct wire_writer *w, const char *text)
{
    int code = wire_attr_write_number(w, text, strlen(text));

    assert_int_equal(code, w->failed ? WIRE_E_SHORT_BUFFER : WIRE_OK);
}

static void write_name(struct wire_writer *w, const char *name)
{
    wire_write_span(w, name, strlen(name));
}

static void write_string_set(struct wire_writer *w)
{
    struct wire_span members[] = {span_of("pear"), span_of("fig"), span_of(""), span_of("figs")};

    (void) wire_attr_write_set(w, WIRE_STRING_SET, members, 4);
}

/* Numbers without their type byte, by way of a scratch. */
static int write_number_set(struct wire_writer *w, const char *const *texts, uint32_t count)
{
    uint8_t scratch[4096];
    struct wire_span members[64];
    struct wire_writer numbers = wire_writer_of(scratch, sizeof(scratch));

    for (uint32_t i = 0; i < count; i++) {
        size_t at = numbers.size;

        assert_int_equal(wire_number_write_text(&numbers, texts[i], strlen(texts[i])), WIRE_OK);
        members[i] = (struct wire_span){scratch + at, numbers.size - at};
    }
    return wire_attr_write_set(w, WIRE_NUMBER_SET, members, count);
}

/* A value with every type in it. */
static void write_sample(struct wire_writer *w)
{
    static const char *const numbers[] = {"3", "-2.50", "1e20"};
    struct wire_container list, map, inner;

    list = wire_attr_begin(w, WIRE_LIST);
    wire_attr_write_null(w);
    wire_attr_write_boolean(w, true);
    wire_attr_write_integer(w, -42);
    write_number(w, "1.50");
    map = wire_attr_begin(w, WIRE_MAP);
    write_name(w, "");
    write_string(w, "no name");
    write_name(w, "b");
    wire_attr_write_bytes(w, WIRE_BINARY, "\0\1", 2);
    write_name(w, "aa");
    inner = wire_attr_begin(w, WIRE_LIST);
    wire_attr_end(w, inner, 0);
    wire_attr_end(w, map, 3);
    write_string_set(w);
    (void) write_number_set(w, numbers, 3);
    wire_attr_write_bytes(w, WIRE_OPAQUE, "opaque", 6);
    wire_attr_end(w, list, 8);
}

/* Read from an exact heap copy, so that a read behind the end is seen. */
static int read_copy(const uint8_t *data, size_t size, struct wire_attr *out)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_reader r;
    int code;

    assert_non_null(copy);
    memcpy(copy, data, size);
    r = wire_reader_of(size ? copy : copy + 1, size);
    code = wire_attr_read(&r, out);
    assert_int_equal(r.failed, code != WIRE_OK);
    if (code == WIRE_OK)
        (void) wire_attr_counted_size(out);
    free(copy);
    return code;
}

static struct wire_attr read_all(const struct wire_writer *w)
{
    struct wire_reader r = wire_reader_of(w->data, w->size);
    struct wire_attr attr;

    assert_false(w->failed);
    assert_int_equal(wire_attr_read(&r, &attr), WIRE_OK);
    assert_int_equal(wire_reader_finish(&r), WIRE_OK);
    assert_ptr_equal(attr.encoded.data, w->data);
    assert_int_equal(attr.encoded.size, w->size);
    return attr;
}

static void test_scalars(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_reader r;
    struct wire_attr attr;
    int64_t integer;

    (void) state;
    wire_attr_write_null(&w);
    wire_attr_write_boolean(&w, true);
    wire_attr_write_boolean(&w, false);
    wire_attr_write_integer(&w, INT64_MIN);
    write_string(&w, "text");
    wire_attr_write_bytes(&w, WIRE_BINARY, NULL, 0);
    r = wire_reader_of(w.data, w.size);
    assert_int_equal(wire_attr_read(&r, &attr), WIRE_OK);
    assert_int_equal(attr.type, WIRE_NULL);
    assert_int_equal(wire_attr_read(&r, &attr), WIRE_OK);
    assert_true(attr.type == WIRE_BOOLEAN && attr.boolean);
    assert_int_equal(wire_attr_read(&r, &attr), WIRE_OK);
    assert_true(attr.type == WIRE_BOOLEAN && !attr.boolean);
    assert_int_equal(wire_attr_read(&r, &attr), WIRE_OK);
    assert_int_equal(wire_number_to_integer(&attr.number, &integer), WIRE_OK);
    assert_true(attr.type == WIRE_NUMBER && integer == INT64_MIN);
    assert_int_equal(wire_attr_view(&r, &attr), WIRE_OK);
    assert_int_equal(attr.type, WIRE_STRING);
    assert_int_equal(wire_span_compare(attr.bytes, span_of("text")), 0);
    assert_int_equal(attr.encoded.size, 6);
    assert_int_equal(wire_attr_view(&r, &attr), WIRE_OK);
    assert_true(attr.type == WIRE_BINARY && attr.bytes.size == 0);
    assert_int_equal(wire_reader_finish(&r), WIRE_OK);
    assert_int_equal(wire_attr_view(&r, &attr), WIRE_E_SHORT_INPUT);
    assert_true(r.failed);
}

static void test_scalar_writers_refuse(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);

    (void) state;
    wire_attr_write_null(&w);
    assert_int_equal(wire_attr_write_number(&w, "12x", 3), WIRE_E_NUMBER_SYNTAX);
    assert_int_equal(w.size, 1); /* nothing was left behind */
    assert_false(w.failed);
    wire_attr_write_bytes(&w, WIRE_NUMBER, "1", 1);
    assert_true(w.failed);
}

static void test_containers_in_order(void **state)
{
    static const char *const set_order[] = {"", "fig", "figs", "pear"};
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_attr list, member, value;
    struct wire_span name;

    (void) state;
    write_sample(&w);
    list = read_all(&w);
    assert_true(list.type == WIRE_LIST && list.count == 8);
    for (int i = 0; i < 5; i++)
        assert_int_equal(wire_attr_next_element(&list, &member), WIRE_OK);
    assert_true(member.type == WIRE_MAP && member.count == 3);
    assert_int_equal(wire_attr_next_entry(&member, &name, &value), WIRE_OK);
    assert_true(name.size == 0 && value.type == WIRE_STRING);
    assert_int_equal(wire_attr_next_entry(&member, &name, &value), WIRE_OK);
    assert_int_equal(wire_span_compare(name, span_of("b")), 0);
    assert_int_equal(wire_attr_next_entry(&member, &name, &value), WIRE_OK);
    assert_int_equal(wire_span_compare(name, span_of("aa")), 0);
    assert_true(value.type == WIRE_LIST && value.count == 0);
    assert_int_equal(wire_attr_next_entry(&member, &name, &value), WIRE_E_NOT_FOUND);
    assert_int_equal(wire_attr_next_entry(&member, &name, &value), WIRE_E_NOT_FOUND);
    assert_int_equal(member.count, 3);
    assert_int_equal(wire_attr_next_element(&list, &member), WIRE_OK);
    assert_int_equal(member.type, WIRE_STRING_SET);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(wire_attr_next_bytes(&member, &name), WIRE_OK);
        assert_int_equal(wire_span_compare(name, span_of(set_order[i])), 0);
    }
    assert_int_equal(wire_attr_next_bytes(&member, &name), WIRE_E_NOT_FOUND);
}

static void test_number_set_in_order(void **state)
{
    static const char *const texts[] = {"10", "9.5", "-1", "1e100", "0", "-1e3", "0.001", "NaN", "1e99"};
    static const char *const order[] = {"-1000", "-1", "0", "0.001", "9.5", "10"};
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_number number;
    struct wire_attr set;
    char text[64];
    size_t size;

    (void) state;
    assert_int_equal(write_number_set(&w, texts, 9), WIRE_OK);
    set = read_all(&w);
    assert_true(set.type == WIRE_NUMBER_SET && set.count == 9);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(wire_attr_next_number(&set, &number), WIRE_OK);
        assert_int_equal(wire_number_to_text(&number, text, sizeof(text), &size), WIRE_OK);
        assert_int_equal(size, strlen(order[i]));
        assert_memory_equal(text, order[i], size);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(wire_attr_next_number(&set, &number), WIRE_OK);
    assert_int_equal(number.form, WIRE_NUMBER_NAN);
    assert_int_equal(wire_attr_next_number(&set, &number), WIRE_E_NOT_FOUND);
}

static void test_next_wants_its_type(void **state)
{
    struct wire_attr null = {.type = WIRE_NULL}, out;
    struct wire_number number;
    struct wire_span span;

    (void) state;
    assert_int_equal(wire_attr_next_element(&null, &out), WIRE_E_TYPE);
    assert_int_equal(wire_attr_next_entry(&null, &span, &out), WIRE_E_TYPE);
    assert_int_equal(wire_attr_next_bytes(&null, &span), WIRE_E_TYPE);
    assert_int_equal(wire_attr_next_number(&null, &number), WIRE_E_TYPE);
}

static void test_every_short_length(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_attr attr;

    (void) state;
    write_sample(&w);
    for (size_t size = 0; size < w.size; size++)
        assert_int_not_equal(read_copy(buffer, size, &attr), WIRE_OK);
    assert_int_equal(read_copy(buffer, w.size, &attr), WIRE_OK);
}

/* Also short inside: the outer sizes made to agree with a body cut anywhere. */
static void test_every_short_body(void **state)
{
    uint8_t cut[512];
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_attr attr, whole;
    struct wire_span body;

    (void) state;
    write_sample(&w);
    whole = read_all(&w);
    body = (struct wire_span){whole.body.data, whole.body.size};
    for (size_t size = 0; size < body.size; size++) {
        struct wire_writer c = wire_writer_of(cut, sizeof(cut));

        wire_write_u8(&c, WIRE_LIST);
        wire_write_span(&c, body.data, size);
        assert_int_not_equal(read_copy(cut, c.size, &attr), WIRE_OK);
    }
}

static void test_every_byte_changed(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_attr attr;
    size_t good = 0;

    (void) state;
    write_sample(&w);
    for (size_t at = 0; at < w.size; at++) {
        uint8_t kept = buffer[at];

        for (unsigned byte = 0; byte < 256; byte++) {
            buffer[at] = (uint8_t) byte;
            good += read_copy(buffer, w.size, &attr) == WIRE_OK;
        }
        buffer[at] = kept;
    }
    assert_in_range(good, w.size, w.size * 255);
}

struct hostile {
    const char *bytes;
    size_t size;
    int code;
};
#define HOSTILE(text, code)                                                                                            \
    {                                                                                                                  \
        text, sizeof(text) - 1, code                                                                                   \
    }

static void test_hostile(void **state)
{
    static const struct hostile rows[] = {
        HOSTILE("", WIRE_E_SHORT_INPUT),
        HOSTILE("\x00", WIRE_E_BAD_FORMAT),
        HOSTILE("\x0c", WIRE_E_BAD_FORMAT),
        HOSTILE("\xff\x00", WIRE_E_BAD_FORMAT),
        HOSTILE("\x02\x02", WIRE_E_BAD_FORMAT),
        HOSTILE("\x03\x07", WIRE_E_BAD_FORMAT),
        HOSTILE("\x04\x81\x00x", WIRE_E_SHORT_INPUT),                                 /* overlong length */
        HOSTILE("\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", WIRE_E_SHORT_INPUT), /* 2^64 - 1 */
        HOSTILE("\x06\x00", WIRE_E_BAD_FORMAT),                                       /* no count */
        HOSTILE("\x06\x01\x01", WIRE_E_BAD_FORMAT),                                   /* one member, no bytes */
        HOSTILE("\x06\x02\x00\x01", WIRE_E_BAD_FORMAT),                               /* no member, one byte */
        HOSTILE("\x06\x03\x01\x01\x01", WIRE_E_BAD_FORMAT),                           /* one member, two there */
        HOSTILE("\x06\x02\x01\x01\x01", WIRE_OK),                                     /* what follows is not ours */
        HOSTILE("\x06\x07\xff\xff\xff\xff\xff\x01\x01", WIRE_E_BAD_FORMAT),           /* count beyond 32 bits */
        HOSTILE("\x06\x03\x02\x01\x04", WIRE_E_SHORT_INPUT),                          /* member beyond the body */
        HOSTILE("\x07\x07\x02\x01"
                "a\x01\x01"
                "a\x01",
                WIRE_E_ORDER), /* a name twice */
        HOSTILE("\x07\x07\x02\x01"
                "b\x01\x01"
                "a\x01",
                WIRE_E_ORDER),
        HOSTILE("\x07\x08\x02\x02"
                "aa\x01\x01"
                "b\x01",
                WIRE_E_ORDER), /* the longer first */
        HOSTILE("\x07\x08\x02\x01"
                "b\x01\x02"
                "aa\x01",
                WIRE_OK),
        HOSTILE("\x07\x03\x01\x05"
                "a",
                WIRE_E_SHORT_INPUT),                     /* name beyond the body */
        HOSTILE("\x07\x02\x01\x00", WIRE_E_SHORT_INPUT), /* a name, no value */
        HOSTILE("\x08\x01\x00", WIRE_E_BAD_FORMAT),      /* empty sets */
        HOSTILE("\x09\x01\x00", WIRE_E_BAD_FORMAT),
        HOSTILE("\x0a\x01\x00", WIRE_E_BAD_FORMAT),
        HOSTILE("\x08\x05\x02\x01x\x01x", WIRE_E_ORDER),
        HOSTILE("\x0a\x05\x02\x01y\x01x", WIRE_E_ORDER),
        HOSTILE("\x08\x05\x02\x01x\x01y", WIRE_OK),
        HOSTILE("\x08\x05\x01\x01x\x01y", WIRE_E_BAD_FORMAT), /* a member too many */
        HOSTILE("\x08\x05\x03\x01x\x01y", WIRE_E_SHORT_INPUT),
        HOSTILE("\x09\x05\x02\x00\x02\x00\x02", WIRE_E_ORDER),
        HOSTILE("\x09\x05\x02\x00\x04\x00\x02", WIRE_E_ORDER),
        HOSTILE("\x09\x05\x02\x00\x02\x00\x04", WIRE_OK),
        HOSTILE("\x09\x03\x01\x00\x80", WIRE_E_SHORT_INPUT),
        HOSTILE("\x06\x04\x01\x08\x01\x00", WIRE_E_BAD_FORMAT), /* an empty set inside */
    };

    (void) state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wire_attr attr;
        int code = read_copy((const uint8_t *) rows[i].bytes, rows[i].size, &attr);

        if (code != rows[i].code)
            print_error("row %zu: %s\n", i, wire_error_name(code));
        assert_int_equal(code, rows[i].code);
    }
}

/* 1 and 1.0 are one member, whatever their bytes. */
static void test_number_set_by_value(void **state)
{
    static const char *const texts[] = {"1.0", "2", "1"};
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_container container;
    struct wire_attr attr;

    (void) state;
    assert_int_equal(write_number_set(&w, texts, 3), WIRE_E_DUPLICATE);
    assert_int_equal(w.size, 0);
    container = wire_attr_begin(&w, WIRE_NUMBER_SET);
    assert_int_equal(wire_number_write_text(&w, "1", 1), WIRE_OK);
    assert_int_equal(wire_number_write_text(&w, "1.0", 3), WIRE_OK);
    wire_attr_end(&w, container, 2);
    assert_int_equal(read_copy(buffer, w.size, &attr), WIRE_E_ORDER);
}

static void write_nested(struct wire_writer *w, unsigned depth, bool map)
{
    struct wire_container containers[1000];

    for (unsigned i = 0; i < depth; i++) {
        containers[i] = wire_attr_begin(w, map ? WIRE_MAP : WIRE_LIST);
        if (map)
            write_name(w, "m");
    }
    wire_attr_write_null(w);
    while (depth-- > 0)
        wire_attr_end(w, containers[depth], 1);
}

static void test_nesting(void **state)
{
    struct wire_attr attr, other;

    (void) state;
    for (int map = 0; map < 2; map++) {
        for (unsigned depth = 0; depth <= 40; depth++) {
            struct wire_writer w = wire_writer_of(buffer, BIG);
            int expected = depth <= WIRE_NESTING_MAX ? WIRE_OK : WIRE_E_NESTING;

            write_nested(&w, depth, map);
            assert_int_equal(read_copy(buffer, w.size, &attr), expected);
        }
    }
    /* Bytes that nobody checked must not take the stack either. */
    for (int map = 0; map < 2; map++) {
        struct wire_writer w = wire_writer_of(buffer, BIG);
        struct wire_reader r;

        write_nested(&w, 1000, map);
        r = wire_reader_of(w.data, w.size);
        assert_int_equal(wire_attr_view(&r, &attr), WIRE_OK);
        other = attr;
        assert_false(wire_attr_equal(&attr, &other));
        assert_in_range(wire_attr_counted_size(&attr), WIRE_NESTING_MAX * 3, 5 * w.size);
    }
}

static void test_view_does_not_descend(void **state)
{
    static const uint8_t bytes[] = {WIRE_LIST, 4, 3, WIRE_NULL, 0xff, WIRE_NULL};
    struct wire_reader r = wire_reader_of(bytes, sizeof(bytes));
    struct wire_attr list, member;

    (void) state;
    assert_int_equal(wire_attr_view(&r, &list), WIRE_OK);
    assert_int_equal(wire_attr_next_element(&list, &member), WIRE_OK);
    assert_int_equal(wire_attr_next_element(&list, &member), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_attr_next_element(&list, &member), WIRE_E_SHORT_INPUT); /* sticky */
    r = wire_reader_of(bytes, sizeof(bytes));
    assert_int_equal(wire_attr_read(&r, &list), WIRE_E_BAD_FORMAT);
}

/* Sizes and counts of one, two and three bytes, on both kinds of writer. */
static void test_container_sizes(void **state)
{
    static const uint32_t counts[] = {0, 1, 127, 128, 300, 16382, 16383, 16384, 100000};

    (void) state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct wire_writer w = wire_writer_of(buffer, BIG), measure = wire_writer_of(NULL, 0);
        struct wire_writer *const writers[] = {&w, &measure};
        struct wire_attr attr;

        for (int k = 0; k < 2; k++) {
            struct wire_container container = wire_attr_begin(writers[k], WIRE_LIST);

            for (uint32_t j = 0; j < counts[i]; j++)
                wire_attr_write_boolean(writers[k], j % 2);
            wire_attr_end(writers[k], container, counts[i]);
        }
        assert_int_equal(measure.size, w.size);
        attr = read_all(&w);
        assert_int_equal(attr.count, counts[i]);
        assert_int_equal(wire_attr_counted_size(&attr), 3 + 2 * (size_t) counts[i]);
    }
}

static void test_short_buffers(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG), measure = wire_writer_of(NULL, 0);

    (void) state;
    write_sample(&w);
    write_sample(&measure);
    assert_int_equal(measure.size, w.size);
    for (size_t capacity = 0; capacity <= w.size; capacity++) {
        uint8_t *exact = malloc(capacity ? capacity : 1);
        struct wire_writer tight = wire_writer_of(exact, capacity);

        assert_non_null(exact);
        write_sample(&tight);
        assert_int_equal(tight.failed, capacity < w.size);
        if (!tight.failed)
            assert_memory_equal(exact, buffer, w.size);
        free(exact);
    }
}

static void test_write_set_refuses(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG), tight = wire_writer_of(buffer, 5);
    struct wire_span twice[] = {span_of("a"), span_of("b"), span_of("a")};
    struct wire_span numbers[] = {{(const uint8_t *) "\x00\x02", 2}, {(const uint8_t *) "\x00\x04\x00", 3}};

    (void) state;
    assert_int_equal(wire_attr_write_set(&w, WIRE_STRING_SET, twice, 3), WIRE_E_DUPLICATE);
    assert_int_equal(wire_attr_write_set(&w, WIRE_STRING_SET, twice, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_attr_write_set(&w, WIRE_LIST, twice, 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_attr_write_set(&w, WIRE_NUMBER_SET, numbers, 2), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_attr_write_set(&w, WIRE_NUMBER_SET, numbers, 1), WIRE_OK);
    assert_int_equal(w.size, 5);
    assert_int_equal(wire_attr_write_set(&tight, WIRE_NUMBER_SET, numbers, 1), WIRE_OK);
    assert_int_equal(wire_attr_write_set(&tight, WIRE_NUMBER_SET, numbers, 1), WIRE_E_SHORT_BUFFER);
    assert_int_equal(tight.size, 5);
}

/* Heap sort against every kind of start order, sizes around powers of two. */
static void test_write_set_sorts(void **state)
{
    static struct wire_span members[5000];
    static uint8_t bytes[5000][4];
    uint32_t seed = 7;

    (void) state;
    for (int kind = 0; kind < 3; kind++) {
        for (uint32_t count = 1; count <= 5000; count = count < 70 ? count + 1 : count * 3 + 1) {
            struct wire_writer w = wire_writer_of(buffer, BIG);
            struct wire_attr attr;

            for (uint32_t i = 0; i < count; i++) {
                uint32_t value = kind == 0 ? i : kind == 1 ? count - i : (i * 2654435761u) ^ seed;

                for (int k = 0; k < 4; k++)
                    bytes[i][k] = (uint8_t) (value >> (24 - 8 * k));
                members[i] = (struct wire_span){bytes[i], 4};
            }
            seed = seed * 1664525 + 1013904223;
            assert_int_equal(wire_attr_write_set(&w, WIRE_BINARY_SET, members, count), WIRE_OK);
            attr = read_all(&w); /* checks the order */
            assert_int_equal(attr.count, count);
        }
    }
}

static void test_name_order(void **state)
{
    (void) state;
    assert_true(wire_name_compare(span_of("b"), span_of("aa")) < 0);
    assert_true(wire_name_compare(span_of("ab"), span_of("aa")) > 0);
    assert_true(wire_name_compare(span_of("\xff"), span_of("a")) > 0);
    assert_int_equal(wire_name_compare(span_of("aa"), span_of("aa")), 0);
    assert_int_equal(wire_name_compare((struct wire_span){NULL, 0}, span_of("")), 0);
}

static bool equal_written(const struct wire_writer *a, const struct wire_writer *b)
{
    struct wire_attr attr_a = read_all(a), attr_b = read_all(b);
    bool equal = wire_attr_equal(&attr_a, &attr_b);

    assert_int_equal(wire_attr_equal(&attr_b, &attr_a), equal);
    assert_true(wire_attr_equal(&attr_a, &attr_a));
    return equal;
}

static void write_shape(struct wire_writer *w, enum wire_type type, const char *name, const char *number, bool more)
{
    struct wire_container container = wire_attr_begin(w, type);

    if (type == WIRE_MAP)
        write_name(w, name);
    if (type == WIRE_NUMBER_SET)
        (void) wire_number_write_text(w, number, strlen(number));
    else
        write_number(w, number);
    if (more && type == WIRE_LIST)
        wire_attr_write_null(w);
    wire_attr_end(w, container, more && type == WIRE_LIST ? 2 : 1);
}

static bool equal_shapes(enum wire_type type_a, const char *a, enum wire_type type_b, const char *b)
{
    uint8_t bytes_a[64], bytes_b[64];
    struct wire_writer w_a = wire_writer_of(bytes_a, 64), w_b = wire_writer_of(bytes_b, 64);

    write_shape(&w_a, type_a, "n", a, false);
    write_shape(&w_b, type_b, "n", b, false);
    return equal_written(&w_a, &w_b);
}

static void test_equal(void **state)
{
    uint8_t bytes_a[64], bytes_b[64];
    struct wire_writer a = wire_writer_of(bytes_a, 64), b = wire_writer_of(bytes_b, 64);

    (void) state;
    write_number(&a, "1");
    write_number(&b, "1.000");
    assert_true(equal_written(&a, &b));
    a.size = b.size = 0;
    write_string(&a, "x");
    wire_attr_write_bytes(&b, WIRE_BINARY, "x", 1);
    assert_false(equal_written(&a, &b));
    b.size = 0;
    write_string(&b, "y");
    assert_false(equal_written(&a, &b));
    a.size = b.size = 0;
    wire_attr_write_boolean(&a, true);
    wire_attr_write_boolean(&b, false);
    assert_false(equal_written(&a, &b));
    a.size = b.size = 0;
    write_shape(&a, WIRE_MAP, "n", "2", false);
    write_shape(&b, WIRE_MAP, "m", "2", false);
    assert_false(equal_written(&a, &b));
    a.size = b.size = 0;
    write_shape(&a, WIRE_LIST, "", "2", false);
    write_shape(&b, WIRE_LIST, "", "2", true);
    assert_false(equal_written(&a, &b));
}

static void test_equal_descends(void **state)
{
    static const enum wire_type types[] = {WIRE_LIST, WIRE_MAP, WIRE_NUMBER_SET};

    (void) state;
    for (int i = 0; i < 3; i++) {
        assert_true(equal_shapes(types[i], "2.50", types[i], "2.5"));
        assert_false(equal_shapes(types[i], "2.50", types[i], "2.51"));
        assert_false(equal_shapes(types[i], "2.5", types[(i + 1) % 3], "2.5"));
    }
}

static size_t counted_number(const char *text)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_attr attr;

    write_number(&w, text);
    attr = read_all(&w);
    return wire_attr_counted_size(&attr);
}

static void test_counted_size(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_attr attr;

    (void) state;
    assert_int_equal(counted_number("0"), 1);
    assert_int_equal(counted_number("0.00"), 1);
    assert_int_equal(counted_number("7"), 2);
    assert_int_equal(counted_number("-7"), 3);
    assert_int_equal(counted_number("100000"), 2); /* one significant digit */
    assert_int_equal(counted_number("123"), 3);
    assert_int_equal(counted_number("-12.3400"), 4);
    assert_int_equal(counted_number("-9223372036854775808"), 12);
    assert_int_equal(counted_number("99999999999999999999999999999999999999"), 20);
    write_sample(&w);
    attr = read_all(&w);
    /* 3 + 8 members: null 1, boolean 1, -42 3, 1.50 2, map 3 + (1+0+7) + (1+1+2) + (1+2+3), set 4+3+0+4, numbers 2+3+2,
     * opaque 6 */
    assert_int_equal(wire_attr_counted_size(&attr), 3 + 8 + 1 + 1 + 3 + 2 + (3 + 8 + 4 + 6) + 11 + 7 + 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_scalar_writers_refuse),
        cmocka_unit_test(test_containers_in_order),
        cmocka_unit_test(test_number_set_in_order),
        cmocka_unit_test(test_next_wants_its_type),
        cmocka_unit_test(test_every_short_length),
        cmocka_unit_test(test_every_short_body),
        cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_number_set_by_value),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_view_does_not_descend),
        cmocka_unit_test(test_container_sizes),
        cmocka_unit_test(test_short_buffers),
        cmocka_unit_test(test_write_set_refuses),
        cmocka_unit_test(test_write_set_sorts),
        cmocka_unit_test(test_name_order),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_equal_descends),
        cmocka_unit_test(test_counted_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
