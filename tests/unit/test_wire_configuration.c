/* Configurations of replication groups: bytes as drawn in wire_configuration.h, there and back, hostile bytes refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wire_configuration.h"

static const struct wire_configuration three = {
    .count = 3, .members = {{1, WIRE_MEMBER_VOTER}, {7, WIRE_MEMBER_LEARNER}, {UINT64_MAX, WIRE_MEMBER_VOTER}}};

static const uint8_t three_bytes[] = {1, 3, 0, 0, 0, 0,    0,    0,    0,    1,    1,    0,    0,    0, 0,
                                      0, 0, 0, 7, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};

/* A copy of exactly `size` bytes, so that a sanitizer sees any overrun. */
static int open_exact(const uint8_t *data, size_t size, struct wire_configuration *out)
{
    uint8_t *copy = malloc(size ? size : 1);
    int result;

    memcpy(copy, data, size);
    result = wire_configuration_open((struct wire_span){size ? copy : NULL, size}, out);
    free(copy);
    return result;
}

static int open_with_byte(size_t offset, uint8_t value)
{
    uint8_t data[sizeof three_bytes];
    struct wire_configuration out;

    memcpy(data, three_bytes, sizeof data);
    data[offset] = value;
    return open_exact(data, sizeof data, &out);
}

static void assert_same(const struct wire_configuration *a, const struct wire_configuration *b)
{
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_true(a->members[i].node == b->members[i].node);
        assert_int_equal(a->members[i].role, b->members[i].role);
    }
}

static void test_bytes_as_drawn(void **state)
{
    uint8_t data[WIRE_CONFIGURATION_SIZE_MAX];
    struct wire_writer w = wire_writer_of(data, sizeof data);
    struct wire_configuration out;

    (void) state;
    wire_configuration_write(&w, &three);
    assert_int_equal(wire_writer_finish(&w), WIRE_OK);
    assert_int_equal(w.size, sizeof three_bytes);
    assert_memory_equal(data, three_bytes, sizeof three_bytes);
    assert_int_equal(open_exact(data, w.size, &out), WIRE_OK);
    assert_same(&out, &three);
}

static void test_every_count(void **state)
{
    struct wire_configuration configuration = {0};

    (void) state;
    for (uint32_t count = 0; count <= WIRE_MEMBERS_MAX; count++) {
        uint8_t data[WIRE_CONFIGURATION_SIZE_MAX];
        struct wire_writer w = wire_writer_of(data, sizeof data);
        struct wire_configuration out;

        if (count > 0)
            configuration.members[count - 1] =
                (struct wire_member){count * 10, count % 3 ? WIRE_MEMBER_VOTER : WIRE_MEMBER_LEARNER};
        configuration.count = count;
        wire_configuration_write(&w, &configuration);
        assert_int_equal(wire_writer_finish(&w), WIRE_OK);
        assert_int_equal(w.size, 2 + 9 * count);
        assert_int_equal(open_exact(data, w.size, &out), WIRE_OK);
        assert_same(&out, &configuration);
        assert_int_equal(wire_configuration_voters(&out), count - count / 3);
    }
    assert_int_equal(configuration.count, WIRE_MEMBERS_MAX);
}

static void test_find(void **state)
{
    struct wire_configuration empty = {0};

    (void) state;
    assert_ptr_equal(wire_configuration_find(&three, 1), &three.members[0]);
    assert_ptr_equal(wire_configuration_find(&three, 7), &three.members[1]);
    assert_ptr_equal(wire_configuration_find(&three, UINT64_MAX), &three.members[2]);
    assert_null(wire_configuration_find(&three, 2));
    assert_null(wire_configuration_find(&three, 0));
    assert_null(wire_configuration_find(&empty, 0));
    assert_int_equal(wire_configuration_voters(&three), 2);
}

static void test_every_short_length(void **state)
{
    uint8_t longer[sizeof three_bytes + 1] = {0};
    struct wire_configuration out;

    (void) state;
    for (size_t size = 0; size < sizeof three_bytes; size++)
        assert_int_equal(open_exact(three_bytes, size, &out), WIRE_E_SHORT_INPUT);
    memcpy(longer, three_bytes, sizeof three_bytes);
    assert_int_equal(open_exact(longer, sizeof longer, &out), WIRE_E_BAD_FORMAT);
}

static void test_every_short_buffer(void **state)
{
    struct wire_writer measure = wire_writer_of(NULL, 0);

    (void) state;
    for (size_t capacity = 0; capacity < sizeof three_bytes; capacity++) {
        uint8_t *data = malloc(capacity ? capacity : 1);
        struct wire_writer w = wire_writer_of(data, capacity);

        wire_configuration_write(&w, &three);
        assert_int_equal(wire_writer_finish(&w), WIRE_E_SHORT_BUFFER);
        free(data);
    }
    wire_configuration_write(&measure, &three);
    assert_int_equal(measure.size, sizeof three_bytes);
}

static void test_hostile_bytes(void **state)
{
    uint8_t many[2 + 9 * (WIRE_MEMBERS_MAX + 1)] = {WIRE_CONFIGURATION_FORMAT, WIRE_MEMBERS_MAX + 1};
    struct wire_configuration out;

    (void) state;
    assert_int_equal(open_with_byte(0, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(0, 2), WIRE_E_BAD_VERSION);
    assert_int_equal(open_with_byte(1, 2), WIRE_E_BAD_FORMAT); /* a member is left over */
    assert_int_equal(open_with_byte(1, 4), WIRE_E_SHORT_INPUT);
    assert_int_equal(open_with_byte(1, 0xff), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(9, 0), WIRE_E_BAD_FORMAT);  /* node 0 */
    assert_int_equal(open_with_byte(9, 7), WIRE_E_BAD_FORMAT);  /* twice the same node */
    assert_int_equal(open_with_byte(9, 8), WIRE_E_BAD_FORMAT);  /* out of order */
    assert_int_equal(open_with_byte(10, 0), WIRE_E_BAD_FORMAT); /* no role */
    assert_int_equal(open_with_byte(10, 3), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(28, 0), WIRE_E_BAD_FORMAT);
    for (uint8_t i = 0; i <= WIRE_MEMBERS_MAX; i++) {
        many[2 + 9 * i + 7] = i + 1;
        many[2 + 9 * i + 8] = WIRE_MEMBER_VOTER;
    }
    assert_int_equal(open_exact(many, sizeof many, &out), WIRE_E_BAD_FORMAT);
}

static bool write_fails(const struct wire_configuration *configuration)
{
    uint8_t data[2 * WIRE_CONFIGURATION_SIZE_MAX];
    struct wire_writer w = wire_writer_of(data, sizeof data);

    wire_configuration_write(&w, configuration);
    return w.failed;
}

static void test_what_none_would_read_is_not_written(void **state)
{
    struct wire_configuration configuration = three;

    (void) state;
    assert_false(write_fails(&configuration));
    configuration.count = WIRE_MEMBERS_MAX + 1;
    assert_true(write_fails(&configuration));
    configuration = three;
    configuration.members[0].node = 0;
    assert_true(write_fails(&configuration));
    configuration.members[0].node = 7;
    assert_true(write_fails(&configuration));
    configuration = three;
    configuration.members[2].role = (enum wire_member_role) 3;
    assert_true(write_fails(&configuration));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_as_drawn),
        cmocka_unit_test(test_every_count),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_every_short_length),
        cmocka_unit_test(test_every_short_buffer),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_what_none_would_read_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
