/* Tests of the blocks that checkpoints are made of: what is written is read, and nothing else is. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wire_checkpoint.h"
#include "wire_checksum.h"

static struct wire_span text(const char *string)
{
    return (struct wire_span){(const uint8_t *) string, strlen(string)};
}

static struct wire_range range(uint8_t family, const char *low, const char *high)
{
    return (struct wire_range){family, text(low), text(high)};
}

/* ---- blocks ---- */

static size_t make_block(uint8_t *out, size_t capacity, const char *body, uint32_t before)
{
    struct wire_writer w = wire_writer_of(out, capacity);

    wire_checkpoint_begin(&w);
    wire_write_bytes(&w, body, strlen(body));
    assert_false(w.failed);
    (void) wire_checkpoint_seal(out, w.size, WIRE_CHECKPOINT_DATA, before);
    return w.size;
}

static void test_block(void **state)
{
    uint8_t bytes[64];
    size_t size = make_block(bytes, sizeof(bytes), "body", 7);
    struct wire_checkpoint_block block;

    (void) state;
    assert_int_equal(wire_checkpoint_open((struct wire_span){bytes, sizeof(bytes)}, 7, &block), WIRE_OK);
    assert_int_equal(block.kind, WIRE_CHECKPOINT_DATA);
    assert_int_equal(block.size, size);
    assert_int_equal(wire_span_compare(block.body, text("body")), 0);
    /* In another place it is not this block. */
    assert_int_equal(wire_checkpoint_open((struct wire_span){bytes, size}, 8, &block), WIRE_E_BAD_CHECKSUM);
}

static void test_short_block(void **state)
{
    uint8_t bytes[64];
    size_t size = make_block(bytes, sizeof(bytes), "body", 7);
    struct wire_checkpoint_block block;

    (void) state;
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut + 1); /* so that the sanitizer sees what is read beyond */

        memcpy(copy, bytes, cut);
        assert_int_equal(wire_checkpoint_open((struct wire_span){copy, cut}, 7, &block), WIRE_E_SHORT_INPUT);
        assert_int_equal(block.size, cut < WIRE_CHECKPOINT_HEADER_SIZE ? WIRE_CHECKPOINT_HEADER_SIZE : size);
        free(copy);
    }
}

static void test_damaged_block(void **state)
{
    uint8_t bytes[64];
    size_t size = make_block(bytes, sizeof(bytes), "body", 7);
    struct wire_checkpoint_block block;

    (void) state;
    for (size_t at = 0; at < size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            bytes[at] ^= (uint8_t) (1 << bit);
            assert_int_not_equal(wire_checkpoint_open((struct wire_span){bytes, size}, 7, &block), WIRE_OK);
            bytes[at] ^= (uint8_t) (1 << bit);
        }
    }
    memset(bytes + 4, 0xff, 4); /* larger than any: refused before it is waited for */
    assert_int_equal(wire_checkpoint_open((struct wire_span){bytes, size}, 7, &block), WIRE_E_BAD_FORMAT);
}

/* ---- ranges ---- */

static void test_ranges(void **state)
{
    const struct wire_range good[] = {range(0, "a", "b"), range(0, "b", "c"), range(0, "x", ""), range(1, "", "")};
    const struct wire_range bad[][2] = {
        {range(0, "b", "a"), range(1, "", "")},   {range(0, "a", "a"), range(1, "", "")},
        {range(0, "a", "c"), range(0, "b", "d")}, {range(0, "a", ""), range(0, "b", "c")},
        {range(1, "a", "b"), range(0, "c", "d")}, {range(0, "c", "d"), range(0, "a", "b")}};

    (void) state;
    assert_int_equal(wire_checkpoint_check_ranges(good, 4), WIRE_OK);
    assert_int_equal(wire_checkpoint_check_ranges(good, 0), WIRE_E_BAD_FORMAT);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(wire_checkpoint_check_ranges(bad[i], 2), WIRE_E_BAD_FORMAT);
    assert_true(wire_range_holds(&good[0], text("a")) && wire_range_holds(&good[0], text("az")));
    assert_true(!wire_range_holds(&good[0], text("b")) && !wire_range_holds(&good[0], text("")));
    assert_true(wire_range_holds(&good[2], text("zzz")));
}

static void test_head(void **state)
{
    const struct wire_range ranges[] = {range(0, "a", "b"), range(1, "", "")};
    const struct wire_range others[] = {range(0, "a", "c"), range(1, "", "")};
    uint8_t bytes[64];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));

    (void) state;
    wire_checkpoint_write_head(&w, ranges, 2);
    assert_int_equal(wire_checkpoint_match_head((struct wire_span){bytes, w.size}, ranges, 2), WIRE_OK);
    assert_int_equal(wire_checkpoint_match_head((struct wire_span){bytes, w.size}, others, 2), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_checkpoint_match_head((struct wire_span){bytes, w.size}, ranges, 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(wire_checkpoint_match_head((struct wire_span){bytes, w.size + 1}, ranges, 2), WIRE_E_BAD_FORMAT);
    for (size_t cut = 0; cut < w.size; cut++)
        assert_int_equal(wire_checkpoint_match_head((struct wire_span){bytes, cut}, ranges, 2), WIRE_E_SHORT_INPUT);
    bytes[0] = WIRE_CHECKPOINT_FORMAT + 1;
    assert_int_equal(wire_checkpoint_match_head((struct wire_span){bytes, w.size}, ranges, 2), WIRE_E_BAD_VERSION);
}

/* ---- records ---- */

static void test_records(void **state)
{
    uint8_t bytes[64];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_span key, value;
    struct wire_reader r;

    (void) state;
    wire_checkpoint_write_record(&w, text(""), text("empty key"));
    wire_checkpoint_write_record(&w, text("k"), text(""));
    r = wire_reader_of(bytes, w.size);
    assert_int_equal(wire_checkpoint_read_record(&r, &key, &value), WIRE_OK);
    assert_true(key.data && key.size == 0 && wire_span_compare(value, text("empty key")) == 0);
    assert_int_equal(wire_checkpoint_read_record(&r, &key, &value), WIRE_OK);
    assert_true(wire_span_compare(key, text("k")) == 0 && value.size == 0);
    assert_int_equal(wire_checkpoint_read_record(&r, &key, &value), WIRE_OK);
    assert_null(key.data);
    r = wire_reader_of(bytes, w.size - 1);
    assert_int_equal(wire_checkpoint_read_record(&r, &key, &value), WIRE_OK);
    assert_int_equal(wire_checkpoint_read_record(&r, &key, &value), WIRE_E_SHORT_INPUT);
    assert_int_equal(wire_checkpoint_read_record(&r, &key, &value), WIRE_E_SHORT_INPUT);
}

/* ---- the state of a receiver ---- */

static void test_state(void **state)
{
    const struct wire_range ranges[] = {range(0, "a", "b")};
    struct wire_checkpoint_state in = {
        .size = 1, .checksum = 2, .offset = 3, .before = 4, .records = 5, .range = 6, .tables = 7, .cut = text("cut")};
    struct wire_checkpoint_state out;
    uint8_t bytes[96];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    size_t fixed;

    (void) state;
    wire_checkpoint_write_state(&w, &in, ranges, 1);
    assert_int_equal(wire_checkpoint_open_state((struct wire_span){bytes, w.size}, &out), WIRE_OK);
    assert_true(out.size == 1 && out.checksum == 2 && out.offset == 3 && out.before == 4 && out.records == 5);
    assert_true(out.range == 6 && out.tables == 7 && wire_span_compare(out.cut, text("cut")) == 0);
    assert_int_equal(wire_checkpoint_match_head(out.head, ranges, 1), WIRE_OK);
    fixed = w.size - out.head.size;
    for (size_t cut = 0; cut < fixed; cut++)
        assert_int_equal(wire_checkpoint_open_state((struct wire_span){bytes, cut}, &out), WIRE_E_SHORT_INPUT);
    in.range = WIRE_CHECKPOINT_RANGES_MAX + 1;
    w.size = 0;
    wire_checkpoint_write_state(&w, &in, ranges, 1);
    assert_int_equal(wire_checkpoint_open_state((struct wire_span){bytes, w.size}, &out), WIRE_E_BAD_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block),  cmocka_unit_test(test_short_block), cmocka_unit_test(test_damaged_block),
        cmocka_unit_test(test_ranges), cmocka_unit_test(test_head),        cmocka_unit_test(test_records),
        cmocka_unit_test(test_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
