/* Conditions against every kind of item; updates against a model; every short length and hostile bytes of both. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "wire_eval.h"

#define BIG (1024 * 1024)

static uint8_t item_buffer[BIG], update_buffer[BIG], result_buffer[BIG], expected_buffer[BIG];

static const struct wire_span nothing = {NULL, 0};
static const struct wire_target whole = {.kind = WIRE_TARGET_ITEM};

static struct wire_target declared(uint32_t number)
{
    return (struct wire_target){.kind = WIRE_TARGET_DECLARED, .ref = {.number = number}};
}

static struct wire_target named(const char *name)
{
    return (struct wire_target){.kind = WIRE_TARGET_NAMED, .ref = {.name = {(const uint8_t *) name, strlen(name)}}};
}

static struct wire_span written(const struct wire_writer *w)
{
    assert_false(w->failed);
    return (struct wire_span){w->data, w->size};
}

/* An encoded number in a ring of scratch buffers. */
static struct wire_span number_of(const char *text)
{
    static uint8_t scratch[8][64];
    static unsigned turn;
    struct wire_writer w = wire_writer_of(scratch[turn++ % 8], 64);

    assert_int_equal(wire_attr_write_number(&w, text, strlen(text)), WIRE_OK);
    return written(&w);
}

static void add(struct wire_item_builder *b, struct wire_target target, struct wire_span value)
{
    if (target.kind == WIRE_TARGET_DECLARED)
        wire_item_add_declared(b, target.ref.number);
    else
        wire_item_add_named(b, target.ref.name);
    wire_write_bytes(b->w, value.data, value.size);
}

/* Declared 2 = 20.0 and 4 = 40, named "b" = 1 and "aa" = 2. */
static struct wire_item sample_item(void)
{
    struct wire_writer w = wire_writer_of(item_buffer, BIG);
    struct wire_item_builder b;
    struct wire_item item;

    wire_item_begin(&b, &w, 0, 99, 1);
    add(&b, declared(2), number_of("20.0"));
    add(&b, declared(4), number_of("40"));
    add(&b, named("b"), number_of("1"));
    add(&b, named("aa"), number_of("2"));
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    assert_int_equal(wire_item_open(item_buffer, w.size, &item), WIRE_OK);
    return item;
}

static struct wire_item deleted_item(void)
{
    static uint8_t bytes[32];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_item_builder b;
    struct wire_item item;

    wire_item_begin(&b, &w, WIRE_ITEM_DELETED, 99, 1);
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    assert_int_equal(wire_item_open(bytes, w.size, &item), WIRE_OK);
    return item;
}

static int eval_one(enum wire_condition_operator op, struct wire_target target, struct wire_span value,
                    const struct wire_item *item)
{
    uint8_t bytes[256];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));

    wire_write_varint(&w, 1);
    wire_clause_write(&w, op, target, value);
    assert_int_equal(wire_condition_check(written(&w)), WIRE_OK);
    return wire_condition_eval(written(&w), item);
}

static void test_exists(void **state)
{
    struct wire_item item = sample_item(), gone = deleted_item();
    const struct wire_item *const items[] = {&item, NULL, &gone};

    (void) state;
    for (int i = 0; i < 3; i++) {
        int there = i == 0 ? WIRE_OK : WIRE_E_CONDITION, absent = i == 0 ? WIRE_E_CONDITION : WIRE_OK;

        assert_int_equal(eval_one(WIRE_CONDITION_EXISTS, whole, nothing, items[i]), there);
        assert_int_equal(eval_one(WIRE_CONDITION_NOT_EXISTS, whole, nothing, items[i]), absent);
        assert_int_equal(eval_one(WIRE_CONDITION_EXISTS, declared(4), nothing, items[i]), there);
        assert_int_equal(eval_one(WIRE_CONDITION_NOT_EXISTS, declared(4), nothing, items[i]), absent);
        assert_int_equal(eval_one(WIRE_CONDITION_EXISTS, named("aa"), nothing, items[i]), there);
        assert_int_equal(eval_one(WIRE_CONDITION_NOT_EXISTS, named("aa"), nothing, items[i]), absent);
        assert_int_equal(eval_one(WIRE_CONDITION_EXISTS, declared(3), nothing, items[i]), WIRE_E_CONDITION);
        assert_int_equal(eval_one(WIRE_CONDITION_NOT_EXISTS, declared(3), nothing, items[i]), WIRE_OK);
        assert_int_equal(eval_one(WIRE_CONDITION_NOT_EXISTS, named("x"), nothing, items[i]), WIRE_OK);
        assert_int_equal(eval_one(WIRE_CONDITION_FALSE, whole, nothing, items[i]), WIRE_E_CONDITION);
        assert_int_equal(wire_condition_eval(nothing, items[i]), WIRE_OK);
    }
}

static void test_equals(void **state)
{
    static const uint8_t string[] = {WIRE_STRING, 2, '2', '0'};
    struct wire_item item = sample_item(), gone = deleted_item();

    (void) state;
    assert_int_equal(eval_one(WIRE_CONDITION_EQUALS, declared(2), number_of("20"), &item), WIRE_OK);
    assert_int_equal(eval_one(WIRE_CONDITION_EQUALS, declared(2), number_of("20.000"), &item), WIRE_OK);
    assert_int_equal(eval_one(WIRE_CONDITION_EQUALS, declared(2), number_of("21"), &item), WIRE_E_CONDITION);
    assert_int_equal(eval_one(WIRE_CONDITION_EQUALS, declared(2), (struct wire_span){string, sizeof(string)}, &item),
                     WIRE_E_CONDITION);
    assert_int_equal(eval_one(WIRE_CONDITION_EQUALS, named("b"), number_of("1"), &item), WIRE_OK);
    assert_int_equal(eval_one(WIRE_CONDITION_EQUALS, named("c"), number_of("1"), &item), WIRE_E_CONDITION);
    assert_int_equal(eval_one(WIRE_CONDITION_EQUALS, named("b"), number_of("1"), NULL), WIRE_E_CONDITION);
    assert_int_equal(eval_one(WIRE_CONDITION_EQUALS, named("b"), number_of("1"), &gone), WIRE_E_CONDITION);
}

static size_t write_condition(uint8_t *bytes, size_t capacity, const char *last_value)
{
    struct wire_writer w = wire_writer_of(bytes, capacity);

    wire_write_varint(&w, 4);
    wire_clause_write(&w, WIRE_CONDITION_EXISTS, whole, nothing);
    wire_clause_write(&w, WIRE_CONDITION_NOT_EXISTS, named("long name that is absent"), nothing);
    wire_clause_write(&w, WIRE_CONDITION_EQUALS, declared(4), number_of("40"));
    wire_clause_write(&w, WIRE_CONDITION_EQUALS, named("aa"), number_of(last_value));
    return written(&w).size;
}

static void test_all_clauses_must_hold(void **state)
{
    struct wire_item item = sample_item();
    uint8_t bytes[256];
    size_t size;

    (void) state;
    size = write_condition(bytes, sizeof(bytes), "2");
    assert_int_equal(wire_condition_eval((struct wire_span){bytes, size}, &item), WIRE_OK);
    assert_int_equal(wire_condition_eval((struct wire_span){bytes, size}, NULL), WIRE_E_CONDITION);
    size = write_condition(bytes, sizeof(bytes), "3");
    assert_int_equal(wire_condition_eval((struct wire_span){bytes, size}, &item), WIRE_E_CONDITION);
}

/* Check, and whatever the check says evaluate as well: bytes of an exact heap copy only. */
static int check_copy(const void *data, size_t size, bool update)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_item item = sample_item();
    struct wire_writer w = wire_writer_of(result_buffer, BIG);
    struct wire_span span = {copy, size};
    int code;

    assert_non_null(copy);
    memcpy(copy, data, size);
    code = update ? wire_update_check(span) : wire_condition_check(span);
    if (!update)
        (void) wire_condition_eval(span, &item);
    else if (wire_update_eval(span, &item, 1, &w) == WIRE_OK && code == WIRE_OK)
        assert_int_equal(wire_item_check(result_buffer, w.size), WIRE_OK);
    free(copy);
    return code;
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

static void check_rows(const struct hostile *rows, size_t count, bool update)
{
    for (size_t i = 0; i < count; i++) {
        int code = check_copy(rows[i].bytes, rows[i].size, update);

        if (code != rows[i].code)
            print_error("row %zu: %s\n", i, wire_error_name(code));
        assert_int_equal(code, rows[i].code);
    }
}

static void test_hostile_conditions(void **state)
{
    static const struct hostile rows[] = {
        HOSTILE("", WIRE_OK),
        HOSTILE("\x00", WIRE_OK),
        HOSTILE("\x00\x00", WIRE_E_BAD_FORMAT), /* left over */
        HOSTILE("\x01", WIRE_E_SHORT_INPUT),
        HOSTILE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x00", WIRE_E_SHORT_INPUT),
        HOSTILE("\x01\x01\x00", WIRE_OK),
        HOSTILE("\x02\x01\x00", WIRE_E_SHORT_INPUT),
        HOSTILE("\x01\x00\x00", WIRE_E_BAD_FORMAT), /* no such operator */
        HOSTILE("\x01\x05\x00", WIRE_E_BAD_FORMAT),
        HOSTILE("\x01\x01\x03", WIRE_E_BAD_FORMAT),     /* no such target */
        HOSTILE("\x01\x01\x01\x00", WIRE_E_BAD_FORMAT), /* number 0 */
        HOSTILE("\x01\x01\x01\x80\x80\x80\x80\x10", WIRE_E_BAD_FORMAT),
        HOSTILE("\x01\x01\x02\x7f"
                "a",
                WIRE_E_SHORT_INPUT),
        HOSTILE("\x01\x03\x00\x01", WIRE_E_BAD_FORMAT), /* the item equals nothing */
        HOSTILE("\x01\x03\x01\x01\x01", WIRE_OK),
        HOSTILE("\x01\x03\x01\x01\x06\x02\x01\xff", WIRE_E_BAD_FORMAT), /* values are checked to the bottom */
        HOSTILE("\x01\x04\x00", WIRE_OK),
        HOSTILE("\x01\x04\x01\x01", WIRE_E_BAD_FORMAT), /* false of the item only */
    };

    (void) state;
    check_rows(rows, sizeof(rows) / sizeof(rows[0]), false);
}

static void test_hostile_updates(void **state)
{
    static const struct hostile rows[] = {
        HOSTILE("", WIRE_E_SHORT_INPUT),
        HOSTILE("\x00", WIRE_OK),
        HOSTILE("\x00\x00", WIRE_E_BAD_FORMAT),
        HOSTILE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x00", WIRE_E_SHORT_INPUT),
        HOSTILE("\x01\x02\x00", WIRE_E_BAD_FORMAT),     /* the item as a target */
        HOSTILE("\x01\x00\x01\x01", WIRE_E_BAD_FORMAT), /* no such kind */
        HOSTILE("\x01\x03\x01\x01", WIRE_E_BAD_FORMAT),
        HOSTILE("\x01\x02\x01\x01", WIRE_OK),
        HOSTILE("\x01\x02\x01\x00", WIRE_E_BAD_FORMAT),
        HOSTILE("\x01\x01\x01\x01", WIRE_E_SHORT_INPUT), /* no value */
        HOSTILE("\x01\x01\x01\x01\x01", WIRE_OK),
        HOSTILE("\x01\x01\x01\x01\x08\x01\x00", WIRE_E_BAD_FORMAT),
        HOSTILE("\x01\x02\x02\x00", WIRE_OK),
    };

    (void) state;
    check_rows(rows, sizeof(rows) / sizeof(rows[0]), true);
}

static void test_every_short_condition(void **state)
{
    uint8_t bytes[256];
    size_t size = write_condition(bytes, sizeof(bytes), "2");

    (void) state;
    for (size_t shorter = 1; shorter < size; shorter++)
        assert_int_not_equal(check_copy(bytes, shorter, false), WIRE_OK);
    assert_int_equal(check_copy(bytes, 0, false), WIRE_OK); /* no condition */
    assert_int_equal(check_copy(bytes, size, false), WIRE_OK);
}

/* Sets 3, "b", "zz"; removes 4, "none"; in no order. */
static struct wire_span sample_update(void)
{
    struct wire_writer w = wire_writer_of(update_buffer, BIG);

    wire_write_varint(&w, 5);
    wire_action_write(&w, WIRE_UPDATE_SET, named("zz"), number_of("9"));
    wire_action_write(&w, WIRE_UPDATE_REMOVE, declared(4), nothing);
    wire_action_write(&w, WIRE_UPDATE_SET, named("b"), number_of("8"));
    wire_action_write(&w, WIRE_UPDATE_REMOVE, named("none"), nothing);
    wire_action_write(&w, WIRE_UPDATE_SET, declared(3), number_of("7.0"));
    return written(&w);
}

static void test_every_short_update(void **state)
{
    struct wire_span update = sample_update();

    (void) state;
    for (size_t size = 0; size < update.size; size++)
        assert_int_not_equal(check_copy(update.data, size, true), WIRE_OK);
    assert_int_equal(check_copy(update.data, update.size, true), WIRE_OK);
}

static void test_every_byte_changed(void **state)
{
    uint8_t condition[256];
    size_t sizes[2] = {write_condition(condition, sizeof(condition), "2"), sample_update().size};
    uint8_t *const bytes[2] = {condition, update_buffer};
    size_t good = 0;

    (void) state;
    for (int update = 0; update < 2; update++) {
        for (size_t at = 0; at < sizes[update]; at++) {
            uint8_t kept = bytes[update][at];

            for (unsigned byte = 0; byte < 256; byte++) {
                bytes[update][at] = (uint8_t) byte;
                good += check_copy(bytes[update], sizes[update], update) == WIRE_OK;
            }
            bytes[update][at] = kept;
        }
    }
    assert_in_range(good, sizes[0] + sizes[1], 255 * (sizes[0] + sizes[1]));
}

static void test_update(void **state)
{
    struct wire_item item = sample_item();
    struct wire_writer w = wire_writer_of(result_buffer, BIG), e = wire_writer_of(expected_buffer, BIG);
    struct wire_item_builder b;

    (void) state;
    assert_int_equal(wire_update_eval(sample_update(), &item, 6, &w), WIRE_OK);
    wire_item_begin(&b, &e, 0, 0, 6);
    add(&b, declared(2), number_of("20.0"));
    add(&b, declared(3), number_of("7.0"));
    add(&b, named("b"), number_of("8"));
    add(&b, named("aa"), number_of("2"));
    add(&b, named("zz"), number_of("9"));
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    assert_int_equal(w.size, e.size);
    assert_memory_equal(w.data, e.data, e.size);
    assert_int_equal(wire_item_check(w.data, w.size), WIRE_OK);
}

static void test_update_of_nothing(void **state)
{
    struct wire_item gone = deleted_item(), item;
    const struct wire_item *const items[] = {NULL, &gone};

    (void) state;
    for (int i = 0; i < 2; i++) {
        struct wire_writer w = wire_writer_of(result_buffer, BIG);

        assert_int_equal(wire_update_eval(sample_update(), items[i], 6, &w), WIRE_OK);
        assert_int_equal(wire_item_check(w.data, w.size), WIRE_OK);
        assert_int_equal(wire_item_open(w.data, w.size, &item), WIRE_OK);
        assert_true(item.declared_count == 1 && item.named_count == 2);
        assert_true(item.flags == 0 && item.version == WIRE_VERSION_NONE && item.schema_version == 6);
    }
}

static void test_update_to_nothing(void **state)
{
    struct wire_item item = sample_item(), result;
    struct wire_writer u = wire_writer_of(update_buffer, BIG), w = wire_writer_of(result_buffer, BIG);

    (void) state;
    wire_write_varint(&u, 4);
    wire_action_write(&u, WIRE_UPDATE_REMOVE, named("aa"), nothing);
    wire_action_write(&u, WIRE_UPDATE_REMOVE, named("b"), nothing);
    wire_action_write(&u, WIRE_UPDATE_REMOVE, declared(4), nothing);
    wire_action_write(&u, WIRE_UPDATE_REMOVE, declared(2), nothing);
    assert_int_equal(wire_update_eval(written(&u), &item, 0, &w), WIRE_OK);
    assert_int_equal(wire_item_open(w.data, w.size, &result), WIRE_OK);
    assert_true(result.declared_count == 0 && result.named_count == 0 && result.flags == 0);
}

static void test_update_short_buffers(void **state)
{
    struct wire_item item = sample_item();
    struct wire_span update = sample_update();
    struct wire_writer measure = wire_writer_of(NULL, 0);
    int code;

    (void) state;
    assert_int_equal(wire_update_eval(update, &item, 6, &measure), WIRE_OK);
    for (size_t capacity = 0; capacity <= measure.size; capacity++) {
        uint8_t *exact = malloc(capacity ? capacity : 1);
        struct wire_writer tight = wire_writer_of(exact, capacity);

        assert_non_null(exact);
        code = wire_update_eval(update, &item, 6, &tight);
        assert_int_equal(code, capacity < measure.size ? WIRE_E_SHORT_BUFFER : WIRE_OK);
        assert_int_equal(tight.size, code == WIRE_OK ? measure.size : 0);
        free(exact);
    }
}

static void test_update_twice(void **state)
{
    const struct wire_target targets[] = {declared(2), named("b"), declared(9), named("")};

    (void) state;
    for (size_t i = 0; i < 16; i++) {
        struct wire_writer u = wire_writer_of(update_buffer, BIG), w = wire_writer_of(result_buffer, BIG);
        bool same = i / 4 == i % 4;
        struct wire_item item = sample_item();

        wire_write_varint(&u, 3);
        wire_action_write(&u, WIRE_UPDATE_SET, targets[i / 4], number_of("1"));
        wire_action_write(&u, WIRE_UPDATE_SET, declared(5), number_of("1"));
        wire_action_write(&u, WIRE_UPDATE_REMOVE, targets[i % 4], nothing);
        assert_int_equal(wire_update_eval(written(&u), &item, 0, &w), same ? WIRE_E_DUPLICATE : WIRE_OK);
        assert_int_equal(w.size == 0, same);
    }
}

/* Numbers or names in a scattered order: 7919 is prime, so that each comes once. */
static struct wire_span write_scattered(uint32_t count, bool names, enum wire_update_kind kind)
{
    struct wire_writer u = wire_writer_of(update_buffer, BIG);

    wire_write_varint(&u, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t value = (uint32_t) ((uint64_t) i * 7919 % count) + 1;
        uint8_t name[3] = {'n', (uint8_t) (value >> 8), (uint8_t) value};
        struct wire_target target = declared(value);

        if (names)
            target = (struct wire_target){.kind = WIRE_TARGET_NAMED, .ref = {.name = {name, 3}}};
        wire_action_write(&u, kind, target, kind == WIRE_UPDATE_SET ? number_of("5") : nothing);
    }
    return written(&u);
}

static void test_update_limits(void **state)
{
    struct wire_span update;
    struct wire_item item;

    (void) state;
    for (int names = 0; names < 2; names++) {
        struct wire_writer w = wire_writer_of(result_buffer, BIG), again = wire_writer_of(item_buffer, BIG);

        update = write_scattered(WIRE_ACTIONS_MAX, names, WIRE_UPDATE_SET);
        assert_int_equal(wire_update_check(update), WIRE_OK);
        assert_int_equal(wire_update_eval(update, NULL, 0, &w), WIRE_OK);
        assert_int_equal(wire_item_check(w.data, w.size), WIRE_OK);
        assert_int_equal(wire_item_open(w.data, w.size, &item), WIRE_OK);
        assert_int_equal(names ? item.named_count : item.declared_count, WIRE_ACTIONS_MAX);
        update = write_scattered(WIRE_ACTIONS_MAX, names, WIRE_UPDATE_REMOVE);
        assert_int_equal(wire_update_eval(update, &item, 0, &again), WIRE_OK);
        assert_int_equal(again.size, WIRE_ITEM_HEADER_SIZE + 2);
        update = write_scattered(WIRE_ACTIONS_MAX + 1, names, WIRE_UPDATE_SET);
        assert_int_equal(wire_update_check(update), WIRE_E_TOO_LARGE);
        assert_int_equal(wire_update_eval(update, NULL, 0, &again), WIRE_E_TOO_LARGE);
    }
}

static void test_update_beyond_attributes(void **state)
{
    struct wire_writer w = wire_writer_of(item_buffer, BIG), u = wire_writer_of(update_buffer, BIG);
    struct wire_writer result = wire_writer_of(result_buffer, BIG);
    struct wire_item_builder b;
    struct wire_item item;

    (void) state;
    wire_item_begin(&b, &w, 0, 0, 0);
    for (uint32_t i = 1; i <= WIRE_ATTRIBUTES_MAX; i++)
        add(&b, declared(i), number_of("1"));
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    assert_int_equal(wire_item_open(item_buffer, w.size, &item), WIRE_OK);
    wire_write_varint(&u, 1);
    wire_action_write(&u, WIRE_UPDATE_SET, named("one more"), number_of("1"));
    assert_int_equal(wire_update_eval(written(&u), &item, 0, &result), WIRE_E_TOO_LARGE);
    assert_int_equal(result.size, 0);
}

#define MODEL_SIZE 60 /* the first half declared, the second named */

static struct wire_target model_target(uint32_t at)
{
    static const char *const texts[] = {"",   "a",  "b",  "c",  "d",  "z",  "aa", "ab",  "az",  "ba",
                                        "bb", "za", "zz", "z1", "z2", "z3", "z4", "z5",  "z6",  "z7",
                                        "z8", "z9", "zA", "zB", "zC", "zD", "zE", "aaa", "aab", "zzzz"};
    static const char *sorted[30];

    if (at < 30)
        return declared(at * 40 + 1);
    if (!sorted[0]) {
        memcpy(sorted, texts, sizeof(sorted));
        for (int i = 1; i < 30; i++) {
            for (int j = i; j > 0 && wire_name_compare(named(sorted[j - 1]).ref.name, named(sorted[j]).ref.name) > 0;
                 j--) {
                const char *swap = sorted[j];

                sorted[j] = sorted[j - 1];
                sorted[j - 1] = swap;
            }
        }
    }
    return named(sorted[at - 30]);
}

static size_t model_write(const uint8_t *model, uint8_t *bytes)
{
    static const char *const values[] = {"", "1", "2.5", "-300", "0.00"};
    struct wire_writer w = wire_writer_of(bytes, BIG);
    struct wire_item_builder b;

    wire_item_begin(&b, &w, 0, 0, 3);
    for (uint32_t i = 0; i < MODEL_SIZE; i++) {
        if (model[i])
            add(&b, model_target(i), number_of(values[model[i]]));
    }
    assert_int_equal(wire_item_end(&b), WIRE_OK);
    return w.size;
}

/* Some attributes, each once, in a random order; applied to the model as well. */
static struct wire_span model_update(uint8_t *model, uint32_t *seed)
{
    static const char *const values[] = {"", "1", "2.5", "-300", "0.00"};
    struct wire_writer u = wire_writer_of(update_buffer, BIG);
    uint32_t order[MODEL_SIZE], count;

    for (uint32_t i = 0; i < MODEL_SIZE; i++) {
        uint32_t other = (*seed = *seed * 1664525 + 1013904223) >> 8;

        order[i] = i;
        other %= i + 1;
        order[i] = order[other];
        order[other] = i;
    }
    count = (*seed >> 12) % (MODEL_SIZE + 1);
    wire_write_varint(&u, count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t value = (uint8_t) (((*seed = *seed * 1664525 + 1013904223) >> 16) % 5);

        model[order[i]] = value;
        wire_action_write(&u, value ? WIRE_UPDATE_SET : WIRE_UPDATE_REMOVE, model_target(order[i]),
                          value ? number_of(values[value]) : nothing);
    }
    return written(&u);
}

static void test_update_against_model(void **state)
{
    uint8_t model[MODEL_SIZE] = {0};
    uint32_t seed = 20240501;
    struct wire_item item;
    bool have_item = false;

    (void) state;
    for (int round = 0; round < 2000; round++) {
        struct wire_writer w = wire_writer_of(result_buffer, BIG);
        struct wire_span update = model_update(model, &seed);
        size_t size = model_write(model, expected_buffer);

        assert_int_equal(wire_update_check(update), WIRE_OK);
        assert_int_equal(wire_update_eval(update, have_item ? &item : NULL, 3, &w), WIRE_OK);
        assert_int_equal(w.size, size);
        assert_memory_equal(w.data, expected_buffer, size);
        memcpy(item_buffer, result_buffer, size);
        assert_int_equal(wire_item_open(item_buffer, size, &item), WIRE_OK);
        have_item = true;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exists),
        cmocka_unit_test(test_equals),
        cmocka_unit_test(test_all_clauses_must_hold),
        cmocka_unit_test(test_hostile_conditions),
        cmocka_unit_test(test_hostile_updates),
        cmocka_unit_test(test_every_short_condition),
        cmocka_unit_test(test_every_short_update),
        cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_update_of_nothing),
        cmocka_unit_test(test_update_to_nothing),
        cmocka_unit_test(test_update_short_buffers),
        cmocka_unit_test(test_update_twice),
        cmocka_unit_test(test_update_limits),
        cmocka_unit_test(test_update_beyond_attributes),
        cmocka_unit_test(test_update_against_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
