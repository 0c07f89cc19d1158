/* Log entries: bytes as drawn in wire_entry.h, every effect there and back, damage and hostile headers refused. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wire_checksum.h"
#include "wire_entry.h"
#include "wire_key.h"

#define KEY_A                                                                                                          \
    "\0\0\0\0\0\0\0\7\0\0"                                                                                             \
    "alpha"
#define KEY_LEAST "\0\0\0\0\0\0\0\1\0\0"

static struct wire_span span_of(const void *data, size_t size)
{
    return (struct wire_span){data, size};
}

#define SPAN(literal)                                                                                                  \
    {                                                                                                                  \
        (const uint8_t *) (literal), sizeof(literal) - 1                                                               \
    }

static const struct wire_entry header = {
    .group = WIRE_GROUP_LOCAL, .term = 3, .index = 42, .version = UINT64_C(0x1122334455667788), .transaction = 9};

static const struct wire_effect effects[] = {
    {.kind = WIRE_EFFECT_PUT, .key = SPAN(KEY_A), .item = SPAN("an item")},
    {.kind = WIRE_EFFECT_PUT, .key = SPAN(KEY_LEAST), .item = SPAN("")},
    {.kind = WIRE_EFFECT_DELETE, .key = SPAN(KEY_A)},
    {.kind = WIRE_EFFECT_STORAGE, .key = SPAN("5:1663"), .number = 7},
    {.kind = WIRE_EFFECT_DROP, .number = 7},
    {.kind = WIRE_EFFECT_BEGIN, .number = WIRE_TRANSACTION_BIT | 5, .argument = 0x300000004},
    {.kind = WIRE_EFFECT_PREPARE, .number = WIRE_TRANSACTION_BIT | 5, .argument = UINT64_MAX},
    {.kind = WIRE_EFFECT_COMMIT, .number = WIRE_TRANSACTION_BIT | 5},
    {.kind = WIRE_EFFECT_ABORT, .number = WIRE_TRANSACTION_BIT | 6},
    {.kind = WIRE_EFFECT_SETTLE, .number = WIRE_TRANSACTION_BIT | 5, .key = SPAN(KEY_A)},
    {.kind = WIRE_EFFECT_FORGET, .number = WIRE_TRANSACTION_BIT | 5},
    {.kind = WIRE_EFFECT_HORIZON, .number = 12345},
};
#define EFFECT_COUNT (sizeof effects / sizeof *effects)

/* The only effect of its entry, so not among the others. */
static const struct wire_effect configuration = {.kind = WIRE_EFFECT_CONFIGURATION,
                                                 .key = SPAN("\1\2\0\0\0\0\0\0\0\1\1\0\0\0\0\0\0\0\2\2")};

static void assert_same_effect(const struct wire_effect *a, const struct wire_effect *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(wire_span_compare(a->key, b->key), 0);
    assert_int_equal(wire_span_compare(a->item, b->item), 0);
    assert_true(a->number == b->number);
    assert_true(a->argument == b->argument);
}

static size_t build(uint8_t *data, size_t capacity, const struct wire_entry *head, const struct wire_effect *list,
                    size_t count)
{
    struct wire_writer w = wire_writer_of(data, capacity);
    struct wire_entry_builder b;

    wire_entry_begin(&b, &w, head);
    for (size_t i = 0; i < count; i++)
        wire_entry_add(&b, &list[i]);
    assert_int_equal(wire_entry_end(&b), WIRE_OK);
    return w.size;
}

/* Open a copy of exactly `size` bytes, so that a sanitizer sees any overrun. */
static int open_exact(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_entry entry;
    int result;

    memcpy(copy, data, size);
    result = wire_entry_open(size ? copy : NULL, size, &entry);
    free(copy);
    return result;
}

static void set_u32(uint8_t *at, uint32_t value)
{
    struct wire_writer w = wire_writer_of(at, 4);

    wire_write_u32(&w, value);
}

/* Size and checksum made right for whatever else was changed. */
static void seal(uint8_t *data, size_t size)
{
    set_u32(data, (uint32_t) size);
    set_u32(data + 4, wire_checksum(data + 8, size - 8, 0));
}

static void test_bytes_as_drawn(void **state)
{
    static const uint8_t expected[] = {1,    0,    0,    0,    0,    0,    0,  1, 0, 0, 0, 0, 0, 0, 0,  1,    0,
                                       0,    0,    0,    0,    0,    0,    3,  0, 0, 0, 0, 0, 0, 0, 42, 0x11, 0x22,
                                       0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0,  0, 0, 0, 0, 0, 0, 9, 9,  0x80, 0,
                                       0,    0,    0,    0,    0,    5,    10, 0, 0, 0, 0, 0, 0, 0, 1,  0,    0};
    struct wire_effect settle = {
        .kind = WIRE_EFFECT_SETTLE, .number = WIRE_TRANSACTION_BIT | 5, .key = SPAN(KEY_LEAST)};
    uint8_t data[256];
    size_t size = build(data, sizeof data, &header, &settle, 1);
    struct wire_reader r = wire_reader_of(data, size);

    (void) state;
    assert_int_equal(size, 8 + sizeof expected);
    assert_int_equal(wire_read_u32(&r), size);
    assert_int_equal(wire_read_u32(&r), wire_checksum(expected, sizeof expected, 0));
    assert_memory_equal(data + 8, expected, sizeof expected);
}

static void test_round_trip(void **state)
{
    uint8_t data[1024];
    size_t size = build(data, sizeof data, &header, effects, EFFECT_COUNT);
    struct wire_entry entry;
    struct wire_effect effect;

    (void) state;
    assert_int_equal(wire_entry_open(data, size, &entry), WIRE_OK);
    assert_true(entry.group == header.group && entry.term == header.term && entry.index == header.index);
    assert_true(entry.version == header.version && entry.transaction == header.transaction);
    assert_int_equal(entry.effect_count, EFFECT_COUNT);
    for (size_t i = 0; i < EFFECT_COUNT; i++) {
        assert_int_equal(wire_entry_next(&entry, &effect), WIRE_OK);
        assert_same_effect(&effect, &effects[i]);
    }
    assert_int_equal(wire_entry_next(&entry, &effect), WIRE_E_NOT_FOUND);
    assert_int_equal(wire_entry_next(&entry, &effect), WIRE_E_NOT_FOUND);
}

static void test_entry_without_effects(void **state)
{
    uint8_t data[WIRE_ENTRY_HEADER_SIZE];
    size_t size = build(data, sizeof data, &header, NULL, 0);
    struct wire_entry entry;
    struct wire_effect effect;

    (void) state;
    assert_int_equal(size, WIRE_ENTRY_HEADER_SIZE);
    assert_int_equal(wire_entry_open(data, size, &entry), WIRE_OK);
    assert_int_equal(wire_entry_next(&entry, &effect), WIRE_E_NOT_FOUND);
}

static void test_configuration_stands_alone(void **state)
{
    const struct wire_effect pairs[][2] = {
        {configuration, effects[0]}, {effects[0], configuration}, {configuration, configuration}};
    uint8_t data[256];
    size_t size = build(data, sizeof data, &header, &configuration, 1);
    struct wire_entry entry;
    struct wire_effect effect;

    (void) state;
    assert_int_equal(open_exact(data, size), WIRE_OK);
    for (size_t length = 0; length < size; length++)
        assert_int_equal(open_exact(data, length), WIRE_E_SHORT_INPUT);
    assert_int_equal(wire_entry_open(data, size, &entry), WIRE_OK);
    assert_int_equal(wire_entry_next(&entry, &effect), WIRE_OK);
    assert_same_effect(&effect, &configuration);
    assert_int_equal(wire_entry_next(&entry, &effect), WIRE_E_NOT_FOUND);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        size = build(data, sizeof data, &header, pairs[i], 2);
        assert_int_equal(open_exact(data, size), WIRE_E_BAD_FORMAT);
    }
}

static void test_entries_follow_each_other(void **state)
{
    uint8_t data[1024];
    struct wire_writer w = wire_writer_of(data, sizeof data);
    struct wire_entry_builder b;
    struct wire_entry entry;
    size_t second;

    (void) state;
    wire_entry_begin(&b, &w, &header);
    wire_entry_add(&b, &effects[0]);
    assert_int_equal(wire_entry_end(&b), WIRE_OK);
    second = w.size;
    wire_entry_begin(&b, &w, &header);
    wire_entry_add(&b, &effects[2]);
    wire_entry_add(&b, &effects[3]);
    assert_int_equal(wire_entry_end(&b), WIRE_OK);
    assert_int_equal(wire_entry_open(data, second, &entry), WIRE_OK);
    assert_int_equal(entry.effect_count, 1);
    assert_int_equal(wire_entry_open(data + second, w.size - second, &entry), WIRE_OK);
    assert_int_equal(entry.effect_count, 2);
    assert_int_equal(wire_entry_open(data, w.size, &entry), WIRE_E_BAD_FORMAT); /* not one entry */
}

static void test_measuring_counts_the_same(void **state)
{
    struct wire_writer measure = wire_writer_of(NULL, 0);
    struct wire_entry_builder b;
    uint8_t data[1024];
    size_t sum = WIRE_ENTRY_HEADER_SIZE;

    (void) state;
    wire_entry_begin(&b, &measure, &header);
    for (size_t i = 0; i < EFFECT_COUNT; i++) {
        wire_entry_add(&b, &effects[i]);
        sum += wire_effect_size(&effects[i]);
    }
    assert_int_equal(wire_entry_end(&b), WIRE_OK);
    assert_int_equal(measure.size, sum);
    assert_int_equal(build(data, sizeof data, &header, effects, EFFECT_COUNT), sum);
}

static void test_every_short_buffer(void **state)
{
    size_t size = WIRE_ENTRY_HEADER_SIZE;

    (void) state;
    for (size_t i = 0; i < EFFECT_COUNT; i++)
        size += wire_effect_size(&effects[i]);
    for (size_t capacity = 0; capacity < size; capacity++) {
        uint8_t *data = malloc(capacity ? capacity : 1);
        struct wire_writer w = wire_writer_of(data, capacity);
        struct wire_entry_builder b;

        wire_entry_begin(&b, &w, &header);
        for (size_t i = 0; i < EFFECT_COUNT; i++)
            wire_entry_add(&b, &effects[i]);
        assert_int_equal(wire_entry_end(&b), WIRE_E_SHORT_BUFFER);
        free(data);
    }
}

static void test_every_short_length(void **state)
{
    uint8_t data[1024];
    size_t size = build(data, sizeof data, &header, effects, EFFECT_COUNT);

    (void) state;
    assert_int_equal(open_exact(data, size), WIRE_OK);
    for (size_t length = 0; length < size; length++)
        assert_int_equal(open_exact(data, length), WIRE_E_SHORT_INPUT);
    /* Cut and sealed again: the effects end too early. */
    for (size_t length = WIRE_ENTRY_HEADER_SIZE; length < size; length++) {
        uint8_t cut[1024];

        memcpy(cut, data, length);
        seal(cut, length);
        assert_int_equal(open_exact(cut, length), WIRE_E_SHORT_INPUT);
    }
    /* A size below the header's. */
    for (uint32_t length = 0; length < WIRE_ENTRY_HEADER_SIZE; length++) {
        set_u32(data, length);
        assert_int_equal(open_exact(data, length), WIRE_E_SHORT_INPUT);
        assert_int_equal(open_exact(data, size), WIRE_E_BAD_FORMAT);
    }
}

static void test_every_flipped_bit(void **state)
{
    uint8_t data[1024];
    size_t size = build(data, sizeof data, &header, effects, EFFECT_COUNT);

    (void) state;
    for (size_t i = 0; i < size * 8; i++) {
        int result;

        data[i / 8] ^= (uint8_t) (1 << i % 8);
        result = open_exact(data, size);
        data[i / 8] ^= (uint8_t) (1 << i % 8);
        if (i / 8 >= 4)
            assert_int_equal(result, WIRE_E_BAD_CHECKSUM);
        else
            assert_true(result == WIRE_E_SHORT_INPUT || result == WIRE_E_BAD_FORMAT);
    }
    assert_int_equal(open_exact(data, size), WIRE_OK);
}

/* One byte changed under a right checksum. */
static int open_with_byte(size_t offset, uint8_t value)
{
    uint8_t data[1024];
    size_t size = build(data, sizeof data, &header, effects, EFFECT_COUNT);

    data[offset] = value;
    seal(data, size);
    return open_exact(data, size);
}

static void test_hostile_header(void **state)
{
    (void) state;
    assert_int_equal(open_with_byte(8, 1), WIRE_OK);
    assert_int_equal(open_with_byte(8, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(8, 2), WIRE_E_BAD_VERSION);
    assert_int_equal(open_with_byte(9, 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(10, 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(11, 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(12, 0xff), WIRE_E_SHORT_INPUT); /* four billion effects */
    assert_int_equal(open_with_byte(15, EFFECT_COUNT + 1), WIRE_E_SHORT_INPUT);
    assert_int_equal(open_with_byte(15, EFFECT_COUNT - 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(15, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(39, 0), WIRE_E_BAD_FORMAT);    /* index 0 */
    assert_int_equal(open_with_byte(40, 0x80), WIRE_E_BAD_FORMAT); /* a transaction id as version */
    assert_int_equal(open_with_byte(56, 0), WIRE_E_BAD_FORMAT);    /* kind of the first effect */
    assert_int_equal(open_with_byte(56, WIRE_EFFECT_CONFIGURATION + 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(57, 9), WIRE_E_KEY_SIZE);
    assert_int_equal(open_with_byte(57, 0xff), WIRE_E_SHORT_INPUT); /* an overlong length */
}

/* The least effect of a size: an entry of exactly `size` bytes. */
static int end_with_size(uint8_t *data, size_t size, size_t *written)
{
    struct wire_writer w = wire_writer_of(data, data ? size : 0);
    struct wire_effect put = effects[0];
    struct wire_entry_builder b;
    uint8_t *item = calloc(1, size);
    size_t fixed = WIRE_ENTRY_HEADER_SIZE + 1 + 1 + put.key.size + 3; /* kind, lengths of key and item */
    int result;

    put.item = span_of(item, size - fixed);
    wire_entry_begin(&b, &w, &header);
    wire_entry_add(&b, &put);
    result = wire_entry_end(&b);
    *written = w.size;
    free(item);
    return result;
}

static void test_size_limit(void **state)
{
    uint8_t *data = malloc(WIRE_ENTRY_MAX + 1);
    size_t size;

    (void) state;
    assert_int_equal(end_with_size(data, WIRE_ENTRY_MAX, &size), WIRE_OK);
    assert_int_equal(size, WIRE_ENTRY_MAX);
    assert_int_equal(open_exact(data, size), WIRE_OK);
    assert_int_equal(end_with_size(data, WIRE_ENTRY_MAX + 1, &size), WIRE_E_TOO_LARGE);
    assert_int_equal(size, WIRE_ENTRY_MAX + 1);
    seal(data, size);
    assert_int_equal(open_exact(data, size), WIRE_E_TOO_LARGE);
    assert_int_equal(end_with_size(NULL, WIRE_ENTRY_MAX, &size), WIRE_OK);
    assert_int_equal(end_with_size(NULL, WIRE_ENTRY_MAX + 1, &size), WIRE_E_TOO_LARGE);
    free(data);
}

static int read_effect_exact(const uint8_t *data, size_t size, struct wire_reader *r)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_effect effect;
    int result;

    memcpy(copy, data, size);
    *r = wire_reader_of(copy, size);
    result = wire_effect_read(r, &effect);
    free(copy);
    return result;
}

static void test_effect_short_lengths(void **state)
{
    (void) state;
    for (size_t i = 0; i < EFFECT_COUNT; i++) {
        uint8_t data[128];
        struct wire_writer w = wire_writer_of(data, sizeof data);
        struct wire_reader r;

        wire_effect_write(&w, &effects[i]);
        assert_int_equal(wire_writer_finish(&w), WIRE_OK);
        assert_int_equal(read_effect_exact(data, w.size, &r), WIRE_OK);
        assert_int_equal(r.position, w.size);
        assert_false(r.failed);
        for (size_t length = 0; length < w.size; length++) {
            assert_int_equal(read_effect_exact(data, length, &r), WIRE_E_SHORT_INPUT);
            assert_true(r.failed);
        }
    }
}

static int reread(const struct wire_effect *effect)
{
    static uint8_t data[2 * WIRE_KEY_MAX];
    struct wire_writer w = wire_writer_of(data, sizeof data);
    struct wire_reader r;
    int result;

    wire_effect_write(&w, effect);
    assert_int_equal(wire_writer_finish(&w), WIRE_OK);
    result = read_effect_exact(data, w.size, &r);
    assert_int_equal(r.failed, result != WIRE_OK);
    return result;
}

static void test_effect_keys(void **state)
{
    static const enum wire_effect_kind kinds[] = {WIRE_EFFECT_PUT, WIRE_EFFECT_DELETE, WIRE_EFFECT_SETTLE};
    uint8_t key[WIRE_KEY_MAX + 1] = {0, 0, 0, 0, 0, 0, 0, 1};

    (void) state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct wire_effect effect = {.kind = kinds[i], .number = 1};

        effect.key = span_of(key, WIRE_KEY_PREFIX_SIZE - 1);
        assert_int_equal(reread(&effect), WIRE_E_KEY_SIZE);
        effect.key.size = 0;
        assert_int_equal(reread(&effect), WIRE_E_KEY_SIZE);
        effect.key.size = WIRE_KEY_PREFIX_SIZE;
        assert_int_equal(reread(&effect), WIRE_OK);
        effect.key.size = WIRE_KEY_MAX;
        assert_int_equal(reread(&effect), WIRE_OK);
        effect.key.size = WIRE_KEY_MAX + 1;
        assert_int_equal(reread(&effect), WIRE_E_KEY_SIZE);
        key[7] = 0; /* the group's own range */
        effect.key.size = WIRE_KEY_PREFIX_SIZE;
        assert_int_equal(reread(&effect), WIRE_E_BAD_FORMAT);
        key[7] = 1;
    }
}

static void test_storage_zero_is_refused(void **state)
{
    struct wire_effect effect = {.kind = WIRE_EFFECT_DROP, .number = 0};

    (void) state;
    assert_int_equal(reread(&effect), WIRE_E_BAD_FORMAT);
    effect.kind = WIRE_EFFECT_STORAGE;
    assert_int_equal(reread(&effect), WIRE_E_BAD_FORMAT);
    effect.kind = WIRE_EFFECT_HORIZON;
    assert_int_equal(reread(&effect), WIRE_OK);
}

/* What wire_configuration_open refuses, the effect refuses. */
static void test_configurations_are_checked(void **state)
{
    uint8_t bytes[32];
    struct wire_effect effect = configuration;

    (void) state;
    assert_int_equal(reread(&effect), WIRE_OK);
    for (effect.key.size = 0; effect.key.size < configuration.key.size; effect.key.size++)
        assert_int_equal(reread(&effect), WIRE_E_SHORT_INPUT);
    memcpy(bytes, configuration.key.data, configuration.key.size);
    bytes[configuration.key.size] = 0;
    effect.key = span_of(bytes, configuration.key.size + 1);
    assert_int_equal(reread(&effect), WIRE_E_BAD_FORMAT);
    effect.key.size--;
    bytes[0]++;
    assert_int_equal(reread(&effect), WIRE_E_BAD_VERSION);
    bytes[0]--;
    bytes[9] = 3; /* members out of order */
    assert_int_equal(reread(&effect), WIRE_E_BAD_FORMAT);
}

static void test_unknown_kind_fails_the_writer(void **state)
{
    struct wire_effect effect = {.kind = (enum wire_effect_kind)(WIRE_EFFECT_CONFIGURATION + 1)};
    uint8_t data[16];
    struct wire_writer w = wire_writer_of(data, sizeof data);

    (void) state;
    wire_effect_write(&w, &effect);
    assert_true(w.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_as_drawn),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_entry_without_effects),
        cmocka_unit_test(test_configuration_stands_alone),
        cmocka_unit_test(test_entries_follow_each_other),
        cmocka_unit_test(test_measuring_counts_the_same),
        cmocka_unit_test(test_every_short_buffer),
        cmocka_unit_test(test_every_short_length),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_hostile_header),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_effect_short_lengths),
        cmocka_unit_test(test_effect_keys),
        cmocka_unit_test(test_storage_zero_is_refused),
        cmocka_unit_test(test_configurations_are_checked),
        cmocka_unit_test(test_unknown_kind_fails_the_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
