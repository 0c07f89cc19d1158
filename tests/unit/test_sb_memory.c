/* Tests of the engine's allocator and buffer: counts that come back to zero, failure on demand, growth. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sb_memory.h"

static int starts_empty(void **state)
{
    (void) state;
    sb_memory_fail_at(0);
    assert_int_equal(sb_memory_blocks(), 0);
    assert_int_equal(sb_memory_bytes(), 0);
    return 0;
}

static void test_alloc(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 17, 255, 4096, 1 << 20};
    uint8_t *blocks[7];
    uint64_t total = 0;

    (void) state;
    for (size_t i = 0; i < 7; i++) {
        blocks[i] = sb_alloc(sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t) blocks[i] % 16, 0);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(blocks[i][k], 0);
        memset(blocks[i], 0xa5, sizes[i]);
        total += sizes[i];
        assert_int_equal(sb_memory_blocks(), i + 1);
        assert_int_equal(sb_memory_bytes(), total);
    }
    for (size_t i = 0; i < 7; i++)
        sb_free(blocks[i]);
    sb_free(NULL);
    assert_int_equal(sb_memory_blocks(), 0);
    assert_int_equal(sb_memory_bytes(), 0);
}

static void test_reallocate(void **state)
{
    uint8_t *block = sb_realloc(NULL, 10); /* as sb_alloc */
    uint8_t *grown;

    (void) state;
    assert_non_null(block);
    memcpy(block, "0123456789", 10);
    grown = sb_realloc(block, 100000);
    assert_non_null(grown);
    assert_memory_equal(grown, "0123456789", 10);
    assert_int_equal(sb_memory_blocks(), 1);
    assert_int_equal(sb_memory_bytes(), 100000);
    grown = sb_realloc(grown, 4);
    assert_non_null(grown);
    assert_memory_equal(grown, "0123", 4);
    assert_int_equal(sb_memory_bytes(), 4);
    sb_free(grown);
    assert_int_equal(sb_memory_bytes(), 0);
}

/* Exactly the n-th allocation fails, once, and a failed one leaves counts and the old block alone. */
static void test_fail_at(void **state)
{
    (void) state;
    for (uint64_t n = 1; n <= 4; n++) {
        sb_memory_fail_at(n);
        for (uint64_t i = 1; i <= 6; i++) {
            void *block = sb_alloc(8);

            assert_int_equal(block == NULL, i == n);
            sb_free(block);
        }
        assert_int_equal(sb_memory_blocks(), 0);
    }
    sb_memory_fail_at(1);
    sb_memory_fail_at(0);
    sb_free(sb_alloc(8));
    sb_memory_fail_at(2);
    {
        uint8_t *block = sb_alloc(4);

        assert_non_null(block);
        memcpy(block, "abcd", 4);
        assert_null(sb_realloc(block, 400));
        assert_memory_equal(block, "abcd", 4);
        assert_int_equal(sb_memory_bytes(), 4);
        sb_free(block);
    }
    sb_memory_fail_at(1);
    assert_null(sb_realloc(NULL, 4));
    assert_int_equal(sb_memory_blocks(), 0);
    assert_int_equal(sb_memory_bytes(), 0);
}

static void test_buffer(void **state)
{
    struct sb_buffer buffer = {0};
    uint8_t piece[97];
    size_t size = 0;

    (void) state;
    assert_int_equal(sb_buffer_span(&buffer).size, 0);
    assert_int_equal(sb_buffer_append(&buffer, NULL, 0), WIRE_OK);
    assert_null(buffer.data);
    for (int i = 0; i < 200; i++) {
        memset(piece, i, sizeof(piece));
        assert_int_equal(sb_buffer_append(&buffer, piece, (size_t) i % sizeof(piece)), WIRE_OK);
        size += (size_t) i % sizeof(piece);
        assert_int_equal(buffer.size, size);
        assert_true(buffer.capacity >= size);
    }
    size = 0;
    for (int i = 0; i < 200; i++)
        for (size_t k = 0; k < (size_t) i % sizeof(piece); k++)
            assert_int_equal(sb_buffer_span(&buffer).data[size++], i);
    assert_int_equal(sb_memory_blocks(), 1);
    sb_buffer_close(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.size, 0);
    sb_buffer_close(&buffer); /* empty is valid */
    assert_int_equal(sb_memory_blocks(), 0);
}

static void test_buffer_reserve(void **state)
{
    struct sb_buffer buffer = {0};
    uint8_t *data;

    (void) state;
    assert_int_equal(sb_buffer_reserve(&buffer, 1000), WIRE_OK);
    assert_true(buffer.capacity >= 1000);
    assert_int_equal(buffer.size, 0);
    data = buffer.data;
    memset(data, 1, 1000); /* the room is there */
    buffer.size = 1000;
    assert_int_equal(sb_buffer_reserve(&buffer, buffer.capacity - 1000), WIRE_OK);
    assert_ptr_equal(buffer.data, data);
    sb_memory_fail_at(1);
    assert_int_equal(sb_buffer_reserve(&buffer, 100000), WIRE_E_NOMEM);
    assert_ptr_equal(buffer.data, data);
    assert_int_equal(buffer.size, 1000);
    sb_memory_fail_at(1);
    assert_int_equal(sb_buffer_append(&buffer, data, buffer.capacity), WIRE_E_NOMEM);
    assert_int_equal(buffer.size, 1000);
    sb_memory_fail_at(0);
    /* Sizes that would overflow are refused before anything is computed with them. */
    assert_int_equal(sb_buffer_reserve(&buffer, SIZE_MAX), WIRE_E_NOMEM);
    assert_int_equal(sb_buffer_reserve(&buffer, SIZE_MAX / 2), WIRE_E_NOMEM);
    assert_int_equal(sb_buffer_reserve(&buffer, SIZE_MAX - 999), WIRE_E_NOMEM);
    assert_ptr_equal(buffer.data, data);
    sb_buffer_close(&buffer);
    assert_int_equal(sb_memory_blocks(), 0);
}

static void test_span_copy(void **state)
{
    static const char source[] = "some bytes";
    struct wire_span span = {(const uint8_t *) source, sizeof(source)}, copy = {span.data, 5};

    (void) state;
    assert_int_equal(sb_span_copy(span, &copy), WIRE_OK);
    assert_ptr_not_equal(copy.data, source);
    assert_int_equal(copy.size, sizeof(source));
    assert_memory_equal(copy.data, source, sizeof(source));
    sb_span_free(&copy);
    assert_null(copy.data);
    assert_int_equal(copy.size, 0);
    sb_span_free(&copy);

    span.size = 0;
    copy = (struct wire_span){span.data, 5};
    assert_int_equal(sb_span_copy(span, &copy), WIRE_OK);
    assert_null(copy.data);
    assert_int_equal(copy.size, 0);
    sb_span_free(&copy);

    span.size = 4;
    sb_memory_fail_at(1);
    assert_int_equal(sb_span_copy(span, &copy), WIRE_E_NOMEM);
    assert_int_equal(sb_memory_blocks(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_alloc, starts_empty),
        cmocka_unit_test_setup(test_reallocate, starts_empty),
        cmocka_unit_test_setup(test_fail_at, starts_empty),
        cmocka_unit_test_setup(test_buffer, starts_empty),
        cmocka_unit_test_setup(test_buffer_reserve, starts_empty),
        cmocka_unit_test_setup(test_span_copy, starts_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
