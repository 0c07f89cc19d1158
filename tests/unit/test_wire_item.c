/* Items: layout, round trips, searches, every short length and changed byte, hostile bytes under a right checksum, the
 * builder's refusals. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "wire_checksum.h"
#include "wire_item.h"

#define BIG (1024 * 1024)

static uint8_t buffer[BIG];

static struct wire_span span_of(const char *text)
{
    return (struct wire_span){(const uint8_t *) text, strlen(text)};
}

static struct wire_attr_ref by_number(uint32_t number)
{
    return (struct wire_attr_ref){.number = number};
}

static struct wire_attr_ref by_name(const char *name)
{
    return (struct wire_attr_ref){.name = span_of(name)};
}

/* Declared 1, 3, 300; named "", "b", "aa". */
static int write_sample(struct wire_writer *w)
{
    struct wire_item_builder b;
    struct wire_container list;

    wire_item_begin(&b, w, 0, 77, 5);
    wire_item_add_declared(&b, 1);
    wire_attr_write_integer(w, 100);
    wire_item_add_declared(&b, 3);
    wire_attr_write_bytes(w, WIRE_STRING, "three", 5);
    wire_item_add_declared(&b, 300);
    wire_attr_write_null(w);
    wire_item_add_named(&b, span_of(""));
    wire_attr_write_boolean(w, true);
    wire_item_add_named(&b, span_of("b"));
    list = wire_attr_begin(w, WIRE_LIST);
    wire_attr_write_null(w);
    wire_attr_end(w, list, 1);
    wire_item_add_named(&b, span_of("aa"));
    wire_attr_write_integer(w, -1);
    return wire_item_end(&b);
}

/* Make the checksum of whatever lies there right. */
static void seal(uint8_t *item, size_t size)
{
    uint32_t checksum = wire_checksum(item + 16, size - 16, (uint64_t) item[0] << 8 | item[1]);

    for (int i = 0; i < 4; i++)
        item[4 + i] = (uint8_t) (checksum >> (24 - 8 * i));
}

/* Open, walk, search and check an exact heap copy; returns what the check says. */
static int check_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_item item;
    struct wire_attr_ref ref;
    struct wire_attr attr;
    size_t counted;
    int opened, checked;

    assert_non_null(copy);
    memcpy(copy, data, size);
    opened = wire_item_open(copy, size, &item);
    checked = wire_item_check(copy, size);
    if (opened == WIRE_OK) {
        (void) wire_item_find(&item, by_number(299), &attr);
        (void) wire_item_find(&item, by_name("zzzz"), &attr);
        (void) wire_item_counted_size(&item, &counted);
        while (wire_item_next(&item, &ref, &attr) == WIRE_OK)
            assert_true(ref.number > 0 || ref.name.data);
    } else
        assert_int_equal(opened, checked);
    free(copy);
    return checked;
}

static void test_layout(void **state)
{
    static const uint8_t expected[] = {
        1, 1, 0, 0, 0xcc, 0xcc, 0xcc, 0xcc, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 9, 0, 0,
    };
    static const uint8_t body[] = {0, 0, 0, 2, 1, 7, 3, 0, 4, 1, 2, 'k', 'y', 1};
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_item_builder b;

    (void) state;
    wire_item_begin(&b, &w, WIRE_ITEM_DELETED, 0x1234, 9);
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    assert_int_equal(w.size, sizeof(expected));
    assert_memory_equal(buffer, expected, 4);
    assert_memory_equal(buffer + 8, expected + 8, sizeof(expected) - 8);
    w.size = 0;
    wire_item_begin(&b, &w, 0, 0, 2);
    wire_item_add_declared(&b, 7);
    wire_attr_write_integer(&w, 2);
    wire_item_add_named(&b, span_of("ky"));
    wire_attr_write_null(&w);
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    assert_int_equal(w.size, 16 + sizeof(body));
    assert_memory_equal(buffer + 16, body, sizeof(body));
}

static void test_walk(void **state)
{
    static const uint32_t numbers[] = {1, 3, 300};
    static const char *const names[] = {"", "b", "aa"};
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_attr_ref ref;
    struct wire_attr attr;
    struct wire_item item;

    (void) state;
    assert_int_equal(write_sample(&w), WIRE_OK);
    assert_int_equal(wire_item_check(buffer, w.size), WIRE_OK);
    assert_int_equal(wire_item_open(buffer, w.size, &item), WIRE_OK);
    assert_true(item.flags == 0 && item.version == 77 && item.schema_version == 5);
    assert_true(item.declared_count == 3 && item.named_count == 3);
    assert_true(item.encoded.data == buffer && item.encoded.size == w.size);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wire_item_next(&item, &ref, &attr), WIRE_OK);
        assert_int_equal(ref.number, numbers[i]);
        assert_int_equal(item.declared_count, 2 - i);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wire_item_next(&item, &ref, &attr), WIRE_OK);
        assert_int_equal(ref.number, 0);
        assert_int_equal(wire_name_compare(ref.name, span_of(names[i])), 0);
        assert_int_equal(item.named_count, 2 - i);
    }
    assert_int_equal(wire_item_next(&item, &ref, &attr), WIRE_E_NOT_FOUND);
    assert_int_equal(wire_item_next(&item, &ref, &attr), WIRE_E_NOT_FOUND);
}

static void find_everything(const struct wire_item *item)
{
    static const uint32_t absent[] = {2, 4, 299, 301, UINT32_MAX};
    static const char *const absent_names[] = {"a", "c", "ab", "zzz"};
    struct wire_attr attr;

    assert_int_equal(wire_item_find(item, by_number(1), &attr), WIRE_OK);
    assert_int_equal(attr.type, WIRE_NUMBER);
    assert_int_equal(wire_item_find(item, by_number(3), &attr), WIRE_OK);
    assert_int_equal(wire_span_compare(attr.bytes, span_of("three")), 0);
    assert_int_equal(wire_item_find(item, by_number(300), &attr), WIRE_OK);
    assert_int_equal(attr.type, WIRE_NULL);
    assert_int_equal(wire_item_find(item, by_name(""), &attr), WIRE_OK);
    assert_int_equal(attr.type, WIRE_BOOLEAN);
    assert_int_equal(wire_item_find(item, by_name("b"), &attr), WIRE_OK);
    assert_int_equal(attr.type, WIRE_LIST);
    assert_int_equal(wire_item_find(item, by_name("aa"), &attr), WIRE_OK);
    assert_int_equal(attr.type, WIRE_NUMBER);
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        assert_int_equal(wire_item_find(item, by_number(absent[i]), &attr), WIRE_E_NOT_FOUND);
    for (size_t i = 0; i < sizeof(absent_names) / sizeof(absent_names[0]); i++)
        assert_int_equal(wire_item_find(item, by_name(absent_names[i]), &attr), WIRE_E_NOT_FOUND);
}

static void test_find(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_attr_ref ref;
    struct wire_attr attr;
    struct wire_item item;
    size_t before, after;

    (void) state;
    assert_int_equal(write_sample(&w), WIRE_OK);
    assert_int_equal(wire_item_open(buffer, w.size, &item), WIRE_OK);
    find_everything(&item);
    assert_int_equal(wire_item_counted_size(&item, &before), WIRE_OK);
    while (wire_item_next(&item, &ref, &attr) == WIRE_OK)
        find_everything(&item); /* from the start, wherever the walk is */
    assert_int_equal(wire_item_counted_size(&item, &after), WIRE_OK);
    /* values 2, 5, 1, 1, (3+1+1), 3 and names 0, 1, 2 */
    assert_int_equal(before, 2 + 5 + 1 + 1 + 5 + 3 + 0 + 1 + 2);
    assert_int_equal(after, before);
}

static void test_empty(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_item_builder b;
    struct wire_attr_ref ref;
    struct wire_attr attr;
    struct wire_item item;
    size_t size = 9;

    (void) state;
    wire_item_begin(&b, &w, 0, 0, 0);
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    assert_int_equal(check_copy(buffer, w.size), WIRE_OK);
    assert_int_equal(wire_item_open(buffer, w.size, &item), WIRE_OK);
    assert_int_equal(wire_item_next(&item, &ref, &attr), WIRE_E_NOT_FOUND);
    assert_int_equal(wire_item_find(&item, by_number(1), &attr), WIRE_E_NOT_FOUND);
    assert_int_equal(wire_item_find(&item, by_name(""), &attr), WIRE_E_NOT_FOUND);
    assert_int_equal(wire_item_counted_size(&item, &size), WIRE_OK);
    assert_int_equal(size, 0);
}

static void test_version_is_outside_the_checksum(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    struct wire_item item;

    (void) state;
    assert_int_equal(write_sample(&w), WIRE_OK);
    assert_int_equal(wire_item_version(buffer), 77);
    wire_item_set_version(buffer, WIRE_TRANSACTION_BIT | 0x0102030405060708);
    assert_int_equal(wire_item_check(buffer, w.size), WIRE_OK);
    assert_int_equal(wire_item_open(buffer, w.size, &item), WIRE_OK);
    assert_true(item.version == (WIRE_TRANSACTION_BIT | 0x0102030405060708));
    assert_true(wire_item_version(buffer) == item.version);
}

static void test_every_short_length(void **state)
{
    uint8_t cut[256];
    struct wire_writer w = wire_writer_of(buffer, BIG);

    (void) state;
    assert_int_equal(write_sample(&w), WIRE_OK);
    for (size_t size = 0; size < w.size; size++) {
        int code = check_copy(buffer, size);

        assert_int_equal(code, size < WIRE_ITEM_HEADER_SIZE ? WIRE_E_SHORT_INPUT : WIRE_E_BAD_CHECKSUM);
        assert_int_equal(wire_item_verify(buffer, size), code);
        if (size < WIRE_ITEM_HEADER_SIZE)
            continue;
        memcpy(cut, buffer, size);
        seal(cut, size);
        assert_int_not_equal(check_copy(cut, size), WIRE_OK);
    }
    assert_int_equal(check_copy(buffer, w.size), WIRE_OK);
}

static void test_every_bit_changed(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);

    (void) state;
    assert_int_equal(write_sample(&w), WIRE_OK);
    for (size_t bit = 0; bit < 8 * w.size; bit++) {
        bool version = bit >= 64 && bit < 128;

        buffer[bit / 8] ^= (uint8_t) (1 << bit % 8);
        assert_int_equal(check_copy(buffer, w.size) == WIRE_OK, version);
        assert_int_equal(wire_item_verify(buffer, w.size) == WIRE_OK, version);
        buffer[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
}

/* Wrong before it was sealed: nothing but the decoders stands in the way. */
static void test_every_byte_changed_and_sealed(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);
    size_t good = 0;

    (void) state;
    assert_int_equal(write_sample(&w), WIRE_OK);
    for (size_t at = 0; at < w.size; at++) {
        uint8_t kept = buffer[at];

        for (unsigned byte = 0; byte < 256; byte++) {
            buffer[at] = (uint8_t) byte;
            seal(buffer, w.size);
            good += check_copy(buffer, w.size) == WIRE_OK;
        }
        buffer[at] = kept;
    }
    assert_in_range(good, w.size, 255 * w.size);
}

struct hostile {
    const char *body; /* from the declared count on */
    size_t size;
    int opened;
    int checked;
};
#define HOSTILE(text, opened, checked)                                                                                 \
    {                                                                                                                  \
        text, sizeof(text) - 1, opened, checked                                                                        \
    }

static void test_hostile_bodies(void **state)
{
    static const struct hostile rows[] = {
        HOSTILE("", WIRE_E_SHORT_INPUT, WIRE_E_SHORT_INPUT),
        HOSTILE("\x00", WIRE_E_SHORT_INPUT, WIRE_E_SHORT_INPUT),
        HOSTILE("\x00\x00", WIRE_OK, WIRE_OK),
        HOSTILE("\x80\x00\x00", WIRE_E_SHORT_INPUT, WIRE_E_SHORT_INPUT), /* overlong count */
        HOSTILE("\x00\x00\x00", WIRE_E_BAD_FORMAT, WIRE_E_BAD_FORMAT),   /* bytes left over */
        HOSTILE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", WIRE_E_BAD_FORMAT, WIRE_E_BAD_FORMAT),
        HOSTILE("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", WIRE_E_BAD_FORMAT, WIRE_E_BAD_FORMAT),
        HOSTILE("\x81\x80\x01\x01\x01\x00", WIRE_E_BAD_FORMAT, WIRE_E_BAD_FORMAT), /* 16385 declared */
        HOSTILE("\x80\x80\x01\x01\x01", WIRE_E_SHORT_INPUT, WIRE_E_SHORT_INPUT),   /* 16384, one there */
        HOSTILE("\x00\x05\x01"
                "a\x01",
                WIRE_E_SHORT_INPUT, WIRE_E_SHORT_INPUT),
        HOSTILE("\x01\x00\x01\x00", WIRE_E_BAD_FORMAT, WIRE_E_BAD_FORMAT), /* number 0 */
        HOSTILE("\x01\x80\x80\x80\x80\x10\x01\x00", WIRE_E_BAD_FORMAT, WIRE_E_BAD_FORMAT),
        HOSTILE("\x01\xff\xff\xff\xff\x0f\x01\x00", WIRE_OK, WIRE_OK),
        HOSTILE("\x01\x01\x63\x00", WIRE_E_BAD_FORMAT, WIRE_E_BAD_FORMAT), /* no such type */
        HOSTILE("\x02\x01\x01\x01\x01\x00", WIRE_OK, WIRE_E_ORDER),        /* a number twice */
        HOSTILE("\x02\x02\x01\x01\x01\x00", WIRE_OK, WIRE_E_ORDER),
        HOSTILE("\x02\x01\x01\x02\x01\x00", WIRE_OK, WIRE_OK),
        HOSTILE("\x00\x02\x01"
                "a\x01\x01"
                "a\x01",
                WIRE_OK, WIRE_E_ORDER),
        HOSTILE("\x00\x02\x02"
                "aa\x01\x01"
                "b\x01",
                WIRE_OK, WIRE_E_ORDER),
        HOSTILE("\x00\x02\x01"
                "b\x01\x02"
                "aa\x01",
                WIRE_OK, WIRE_OK),
        HOSTILE("\x00\x01\x01"
                "a\x01\x01",
                WIRE_OK, WIRE_E_BAD_FORMAT), /* left over */
        HOSTILE("\x00\x01\x09"
                "a\x01",
                WIRE_OK, WIRE_E_SHORT_INPUT), /* name beyond the end */
        HOSTILE("\x00\x01\x01"
                "a\x06\x02\x01\xff",
                WIRE_OK, WIRE_E_BAD_FORMAT), /* a bad member, which only the check sees */
        HOSTILE("\x01\x01\x08\x05\x02\x01y\x01x\x00", WIRE_OK, WIRE_E_ORDER),
    };

    (void) state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t item_bytes[128] = {WIRE_ITEM_FORMAT};
        size_t size = WIRE_ITEM_HEADER_SIZE + rows[i].size;
        struct wire_item item;
        int opened, checked;

        memcpy(item_bytes + WIRE_ITEM_HEADER_SIZE, rows[i].body, rows[i].size);
        seal(item_bytes, size);
        opened = wire_item_open(item_bytes, size, &item);
        checked = check_copy(item_bytes, size);
        if (opened != rows[i].opened || checked != rows[i].checked)
            print_error("row %zu: %s, %s\n", i, wire_error_name(opened), wire_error_name(checked));
        assert_int_equal(opened, rows[i].opened);
        assert_int_equal(checked, rows[i].checked);
    }
}

static int check_header(size_t at, uint8_t byte)
{
    struct wire_writer w = wire_writer_of(buffer, BIG);

    assert_int_equal(write_sample(&w), WIRE_OK);
    buffer[at] = byte;
    seal(buffer, w.size);
    return check_copy(buffer, w.size);
}

static void test_hostile_headers(void **state)
{
    const uint8_t newer = 2;

    (void) state;
    assert_int_equal(check_header(0, 1), WIRE_OK);
    assert_int_equal(check_header(0, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(check_header(0, 2), WIRE_E_BAD_VERSION);
    assert_int_equal(check_header(1, 0x02), WIRE_E_BAD_FORMAT);
    assert_int_equal(check_header(1, WIRE_ITEM_DELETED), WIRE_E_BAD_FORMAT); /* with attributes */
    assert_int_equal(check_header(2, 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(check_header(3, 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_item_check(&newer, 1), WIRE_E_BAD_VERSION); /* its header may be of any length */
}

/* A walk over unchecked bytes ends with an error and stays there. */
static void test_walk_of_damage(void **state)
{
    uint8_t bytes[] = {
        WIRE_ITEM_FORMAT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 'a', 1, 1, 'b', 0xee};
    struct wire_item item;
    struct wire_attr_ref ref;
    struct wire_attr attr;
    size_t size;

    (void) state;
    seal(bytes, sizeof(bytes));
    assert_int_equal(wire_item_open(bytes, sizeof(bytes), &item), WIRE_OK);
    assert_int_equal(wire_item_next(&item, &ref, &attr), WIRE_OK);
    assert_int_equal(wire_item_next(&item, &ref, &attr), WIRE_E_BAD_FORMAT);
    assert_int_not_equal(wire_item_next(&item, &ref, &attr), WIRE_OK);
    assert_int_equal(wire_item_find(&item, by_name("a"), &attr), WIRE_OK);
    assert_int_equal(wire_item_find(&item, by_name("b"), &attr), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_item_counted_size(&item, &size), WIRE_E_BAD_FORMAT);
}

static void test_short_buffers(void **state)
{
    struct wire_writer w = wire_writer_of(buffer, BIG), measure = wire_writer_of(NULL, 0);

    (void) state;
    assert_int_equal(write_sample(&w), WIRE_OK);
    assert_int_equal(write_sample(&measure), WIRE_OK);
    assert_int_equal(measure.size, w.size);
    for (size_t capacity = 0; capacity <= w.size; capacity++) {
        uint8_t *exact = malloc(capacity ? capacity : 1);
        struct wire_writer tight = wire_writer_of(exact, capacity);

        assert_non_null(exact);
        assert_int_equal(write_sample(&tight), capacity < w.size ? WIRE_E_SHORT_BUFFER : WIRE_OK);
        if (capacity == w.size)
            assert_memory_equal(exact, buffer, w.size);
        else
            assert_int_equal(tight.size, 0);
        free(exact);
    }
}

static int end_of(struct wire_writer *w, const uint32_t *numbers, size_t number_count, const char *const *names,
                  size_t name_count, bool names_first, uint8_t flags)
{
    struct wire_item_builder b;

    wire_item_begin(&b, w, flags, 0, 0);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; (pass == 0) == names_first && i < name_count; i++) {
            wire_item_add_named(&b, span_of(names[i]));
            wire_attr_write_null(w);
        }
        for (size_t i = 0; (pass == 1) == names_first && i < number_count; i++) {
            wire_item_add_declared(&b, numbers[i]);
            wire_attr_write_null(w);
        }
    }
    return wire_item_end(&b);
}

static void test_builder_order(void **state)
{
    static const uint32_t zero[] = {0}, up[] = {2, 9}, same[] = {2, 2}, down[] = {9, 2};
    static const char *const names[] = {"b", "aa"}, *const twice[] = {"b", "b"}, *const disorder[] = {"aa", "b"};
    struct wire_writer w = wire_writer_of(buffer, BIG);

    (void) state;
    wire_attr_write_null(&w); /* the item may begin anywhere */
    assert_int_equal(end_of(&w, zero, 1, NULL, 0, false, 0), WIRE_E_ORDER);
    assert_int_equal(end_of(&w, same, 2, NULL, 0, false, 0), WIRE_E_ORDER);
    assert_int_equal(end_of(&w, down, 2, NULL, 0, false, 0), WIRE_E_ORDER);
    assert_int_equal(end_of(&w, up, 2, twice, 2, false, 0), WIRE_E_ORDER);
    assert_int_equal(end_of(&w, up, 2, disorder, 2, false, 0), WIRE_E_ORDER);
    assert_int_equal(end_of(&w, up, 2, names, 2, true, 0), WIRE_E_ORDER);
    assert_int_equal(end_of(&w, up, 2, NULL, 0, false, WIRE_ITEM_DELETED), WIRE_E_BAD_FORMAT);
    assert_int_equal(w.size, 1);
    assert_int_equal(end_of(&w, up, 2, names, 2, false, 0), WIRE_OK);
    assert_int_equal(check_copy(buffer + 1, w.size - 1), WIRE_OK);
}

static int write_many(struct wire_writer *w, uint32_t declared, uint32_t named)
{
    struct wire_item_builder b;

    wire_item_begin(&b, w, 0, 0, 0);
    for (uint32_t i = 1; i <= declared; i++) {
        wire_item_add_declared(&b, i);
        wire_attr_write_boolean(w, i % 2);
    }
    for (uint32_t i = 0; i < named; i++) {
        uint8_t name[2] = {(uint8_t) (i >> 8), (uint8_t) i};

        wire_item_add_named(&b, (struct wire_span){name, 2});
        wire_attr_write_boolean(w, i % 3 == 0);
    }
    return wire_item_end(&b);
}

/* Counts of one, two and three bytes, and one attribute too many. */
static void test_many(void **state)
{
    static const uint32_t counts[] = {0, 1, 127, 128, 8192, 16383, 16384};
    const size_t rows = sizeof(counts) / sizeof(counts[0]);

    (void) state;
    for (size_t i = 0; i < rows * rows; i++) {
        uint32_t declared = counts[i / rows], named = counts[i % rows];
        struct wire_writer w = wire_writer_of(buffer, BIG), measure = wire_writer_of(NULL, 0);
        bool fits = declared + named <= WIRE_ATTRIBUTES_MAX;
        struct wire_item item;

        assert_int_equal(write_many(&w, declared, named), fits ? WIRE_OK : WIRE_E_TOO_LARGE);
        assert_int_equal(write_many(&measure, declared, named), fits ? WIRE_OK : WIRE_E_TOO_LARGE);
        assert_int_equal(measure.size, w.size);
        if (!fits)
            continue;
        assert_int_equal(check_copy(buffer, w.size), WIRE_OK);
        assert_int_equal(wire_item_open(buffer, w.size, &item), WIRE_OK);
        assert_true(item.declared_count == declared && item.named_count == named);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_version_is_outside_the_checksum),
        cmocka_unit_test(test_every_short_length),
        cmocka_unit_test(test_every_bit_changed),
        cmocka_unit_test(test_every_byte_changed_and_sealed),
        cmocka_unit_test(test_hostile_bodies),
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_walk_of_damage),
        cmocka_unit_test(test_short_buffers),
        cmocka_unit_test(test_builder_order),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
