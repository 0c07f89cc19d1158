/* Requests, operations of a WRITE, replies: bytes as drawn in wire_request.h, there and back, every short length,
 * hostile input. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wire_key.h"
#include "wire_request.h"

#define KEY                                                                                                            \
    "\0\0\0\0\0\0\0\7\0\0"                                                                                             \
    "alpha"
#define SPAN(literal)                                                                                                  \
    {                                                                                                                  \
        (const uint8_t *) (literal), sizeof(literal) - 1                                                               \
    }

static const uint8_t two_transactions[16] = {0x80, 0, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 1, 2};

static const struct wire_request request = {.operation = WIRE_WRITE,
                                            .flags = WIRE_TRANSACTIONAL | WIRE_FIRST_UPDATER,
                                            .subtransaction = 0x01020304,
                                            .snapshot = UINT64_C(0x1112131415161718),
                                            .owner = UINT64_C(0x2122232425262728),
                                            .storage_id = 7,
                                            .transactions = {two_transactions, 16}};

static const struct wire_write_op full_op = {.kind = WIRE_WRITE_UPDATE,
                                             .flags = WIRE_RETURN_OLD | WIRE_RETURN_NEW | WIRE_HAS_OVERLAY,
                                             .key = SPAN(KEY),
                                             .argument = SPAN("update"),
                                             .condition = SPAN("if"),
                                             .overlay = SPAN("item")};

/* Open a copy of exactly `size` bytes, so that a sanitizer sees any overrun. */
static int open_request(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_request out;
    int result;

    memcpy(copy, data, size);
    result = wire_request_open(size ? copy : NULL, size, &out);
    free(copy);
    return result;
}

static int open_reply(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_reply out;
    int result;

    memcpy(copy, data, size);
    result = wire_reply_open(size ? copy : NULL, size, &out);
    free(copy);
    return result;
}

static int read_op(const uint8_t *data, size_t size, bool *failed)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_reader r;
    struct wire_write_op out;
    int result;

    memcpy(copy, data, size);
    r = wire_reader_of(copy, size);
    result = wire_write_op_read(&r, &out);
    *failed = r.failed;
    free(copy);
    return result;
}

static void test_request_bytes_as_drawn(void **state)
{
    static const uint8_t expected[] = {1,    3,    0,    3,    1,    2,    3,    4,    0x11, 0x12, 0x13, 0x14, 0x15,
                                       0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0,    0,
                                       0,    0,    0,    0,    0,    7,    16,   0x80, 0,    0,    0,    0,    0,
                                       0,    1,    0x80, 0,    0,    0,    0,    0,    1,    2};
    uint8_t data[128];
    struct wire_writer w = wire_writer_of(data, sizeof data);

    (void) state;
    wire_request_write(&w, &request);
    assert_int_equal(wire_writer_finish(&w), WIRE_OK);
    assert_int_equal(w.size, sizeof expected);
    assert_memory_equal(data, expected, sizeof expected);
}

static void test_request_round_trip(void **state)
{
    uint8_t data[128];

    (void) state;
    for (int operation = WIRE_GET; operation < WIRE_OPERATION_COUNT; operation++) {
        struct wire_writer w = wire_writer_of(data, sizeof data);
        struct wire_request in = request;
        struct wire_request out;

        in.operation = (enum wire_operation) operation;
        wire_request_write(&w, &in);
        wire_write_bytes(&w, "body", 4);
        assert_int_equal(wire_request_open(data, w.size, &out), WIRE_OK);
        assert_int_equal(out.operation, operation);
        assert_int_equal(out.flags, in.flags);
        assert_int_equal(out.subtransaction, in.subtransaction);
        assert_true(out.snapshot == in.snapshot && out.owner == in.owner && out.storage_id == in.storage_id);
        assert_int_equal(wire_span_compare(out.transactions, in.transactions), 0);
        assert_int_equal(wire_reader_left(&out.body), 4);
        assert_memory_equal(wire_read_bytes(&out.body, 4), "body", 4);
        assert_int_equal(wire_reader_finish(&out.body), WIRE_OK);
    }
}

static void test_request_every_short_length(void **state)
{
    uint8_t data[128];
    struct wire_writer w = wire_writer_of(data, sizeof data);

    (void) state;
    wire_request_write(&w, &request);
    assert_int_equal(open_request(data, w.size), WIRE_OK);
    for (size_t size = 0; size < w.size; size++)
        assert_int_equal(open_request(data, size), WIRE_E_SHORT_INPUT);
    for (size_t capacity = 0; capacity < w.size; capacity++) {
        uint8_t *small = malloc(capacity ? capacity : 1);
        struct wire_writer short_w = wire_writer_of(small, capacity);

        wire_request_write(&short_w, &request);
        assert_int_equal(wire_writer_finish(&short_w), WIRE_E_SHORT_BUFFER);
        free(small);
    }
}

static int open_request_with(size_t offset, uint8_t value)
{
    uint8_t data[128];
    struct wire_writer w = wire_writer_of(data, sizeof data);

    wire_request_write(&w, &request);
    data[offset] = value;
    return open_request(data, w.size);
}

static void test_request_hostile_header(void **state)
{
    (void) state;
    assert_int_equal(open_request_with(0, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_request_with(0, 2), WIRE_E_BAD_VERSION);
    assert_int_equal(open_request_with(1, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_request_with(1, WIRE_OPERATION_COUNT), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_request_with(1, 0xff), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_request_with(2, 0x01), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_request_with(3, 0x08), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_request_with(32, 15), WIRE_E_BAD_FORMAT); /* transactions not whole */
    assert_int_equal(open_request_with(32, 17), WIRE_E_SHORT_INPUT);
    assert_int_equal(open_request_with(32, 0xff),
                     WIRE_E_SHORT_INPUT);                /* a varint that never ends in a size that exists */
    assert_int_equal(open_request_with(32, 8), WIRE_OK); /* the second is body then */
}

static int open_with_transactions(uint32_t count)
{
    uint8_t *list = calloc(count, 8);
    uint8_t *data = malloc((size_t) count * 8 + 64);
    struct wire_writer w = wire_writer_of(data, (size_t) count * 8 + 64);
    struct wire_request in = request;
    int result;

    in.transactions = (struct wire_span){list, (size_t) count * 8};
    wire_request_write(&w, &in);
    result = open_request(data, w.size);
    free(data);
    free(list);
    return result;
}

static void test_transactions_limit(void **state)
{
    (void) state;
    assert_int_equal(open_with_transactions(1), WIRE_OK);
    assert_int_equal(open_with_transactions(WIRE_OWN_TRANSACTIONS_MAX), WIRE_OK);
    assert_int_equal(open_with_transactions(WIRE_OWN_TRANSACTIONS_MAX + 1), WIRE_E_BAD_FORMAT);
}

static void test_owns(void **state)
{
    struct wire_request none = request;

    (void) state;
    assert_true(wire_request_owns(&request, UINT64_C(0x8000000000000001)));
    assert_true(wire_request_owns(&request, UINT64_C(0x8000000000000102)));
    assert_false(wire_request_owns(&request, UINT64_C(0x8000000000000002)));
    assert_false(wire_request_owns(&request, UINT64_C(0x0000000000000180))); /* across two elements */
    assert_false(wire_request_owns(&request, 0));
    none.transactions = (struct wire_span){NULL, 0};
    assert_false(wire_request_owns(&none, 0));
    assert_false(wire_request_owns(&none, UINT64_C(0x8000000000000001)));
}

static void test_write_op_round_trip(void **state)
{
    uint8_t data[128];

    (void) state;
    for (int kind = WIRE_WRITE_PUT; kind <= WIRE_WRITE_LOCK; kind++) {
        for (uint8_t flags = 0; flags < 0x10; flags++) {
            struct wire_writer w = wire_writer_of(data, sizeof data);
            struct wire_write_op in = full_op;
            struct wire_write_op out;
            struct wire_reader r;

            in.kind = (enum wire_write_kind) kind;
            in.flags = flags;
            if (!(flags & WIRE_HAS_OVERLAY))
                in.overlay = (struct wire_span){NULL, 0};
            wire_write_op_write(&w, &in);
            wire_write_op_write(&w, &full_op);
            r = wire_reader_of(data, w.size);
            assert_int_equal(wire_write_op_read(&r, &out), WIRE_OK);
            assert_int_equal(out.kind, kind);
            assert_int_equal(out.flags, flags);
            assert_int_equal(wire_span_compare(out.key, in.key), 0);
            assert_int_equal(wire_span_compare(out.argument, in.argument), 0);
            assert_int_equal(wire_span_compare(out.condition, in.condition), 0);
            assert_int_equal(wire_span_compare(out.overlay, in.overlay), 0);
            assert_int_equal(wire_write_op_read(&r, &out), WIRE_OK);
            assert_int_equal(out.kind, full_op.kind);
            assert_int_equal(wire_reader_finish(&r), WIRE_OK);
        }
    }
}

static void test_write_op_bytes_as_drawn(void **state)
{
    static const uint8_t expected[] = "\3\x0b\x0f\0\0\0\0\0\0\0\7\0\0alpha\6update\2if\4item";
    uint8_t data[128];
    struct wire_writer w = wire_writer_of(data, sizeof data);

    (void) state;
    wire_write_op_write(&w, &full_op);
    assert_int_equal(w.size, sizeof expected - 1);
    assert_memory_equal(data, expected, w.size);
}

static void test_write_op_every_short_length(void **state)
{
    uint8_t data[128];
    struct wire_writer w = wire_writer_of(data, sizeof data);
    bool failed;

    (void) state;
    wire_write_op_write(&w, &full_op);
    assert_int_equal(read_op(data, w.size, &failed), WIRE_OK);
    assert_false(failed);
    for (size_t size = 0; size < w.size; size++) {
        assert_int_equal(read_op(data, size, &failed), WIRE_E_SHORT_INPUT);
        assert_true(failed);
    }
}

static int reread_op(const struct wire_write_op *op)
{
    static uint8_t data[2 * WIRE_KEY_MAX];
    struct wire_writer w = wire_writer_of(data, sizeof data);
    bool failed;
    int result;

    wire_write_op_write(&w, op);
    assert_int_equal(wire_writer_finish(&w), WIRE_OK);
    result = read_op(data, w.size, &failed);
    assert_int_equal(failed, result != WIRE_OK);
    return result;
}

static void test_write_op_hostile(void **state)
{
    uint8_t key[WIRE_KEY_MAX + 1] = {0, 0, 0, 0, 0, 0, 0, 1};
    struct wire_write_op op = full_op;

    (void) state;
    op.kind = (enum wire_write_kind) 0;
    assert_int_equal(reread_op(&op), WIRE_E_BAD_FORMAT);
    op.kind = (enum wire_write_kind)(WIRE_WRITE_LOCK + 1);
    assert_int_equal(reread_op(&op), WIRE_E_BAD_FORMAT);
    op = full_op;
    op.flags |= 0x10;
    assert_int_equal(reread_op(&op), WIRE_E_BAD_FORMAT);
    op.flags = WIRE_RETURN_OLD; /* an overlay nobody asked to use */
    assert_int_equal(reread_op(&op), WIRE_E_BAD_FORMAT);
    op = full_op;
    op.overlay.size = 0; /* deleted by the asker's transaction */
    assert_int_equal(reread_op(&op), WIRE_OK);
    op.key = (struct wire_span){key, WIRE_KEY_PREFIX_SIZE - 1};
    assert_int_equal(reread_op(&op), WIRE_E_KEY_SIZE);
    op.key.size = WIRE_KEY_PREFIX_SIZE;
    assert_int_equal(reread_op(&op), WIRE_OK);
    op.key.size = WIRE_KEY_MAX;
    assert_int_equal(reread_op(&op), WIRE_OK);
    op.key.size = WIRE_KEY_MAX + 1;
    assert_int_equal(reread_op(&op), WIRE_E_KEY_SIZE);
    op.key.size = WIRE_KEY_PREFIX_SIZE;
    key[7] = 0; /* the group's own range */
    assert_int_equal(reread_op(&op), WIRE_E_BAD_FORMAT);
}

static void test_reply(void **state)
{
    static const uint8_t expected[] = {1,    0,    0,    WIRE_E_LOCKED, 0,    0,    1,    2,
                                       0x11, 0x12, 0x13, 0x14,          0x15, 0x16, 0x17, 0x18};
    struct wire_reply in = {.status = WIRE_E_LOCKED, .detail = 258, .snapshot = UINT64_C(0x1112131415161718)};
    struct wire_reply out;
    uint8_t data[64];
    struct wire_writer w = wire_writer_of(data, sizeof data);

    (void) state;
    wire_reply_write(&w, &in);
    assert_int_equal(w.size, WIRE_REPLY_HEADER_SIZE);
    assert_memory_equal(data, expected, sizeof expected);
    wire_write_u64(&w, 77);
    assert_int_equal(wire_reply_open(data, w.size, &out), WIRE_OK);
    assert_int_equal(out.status, in.status);
    assert_int_equal(out.detail, in.detail);
    assert_true(out.snapshot == in.snapshot);
    assert_int_equal(wire_read_u64(&out.body), 77);
    assert_int_equal(wire_reader_finish(&out.body), WIRE_OK);
    for (size_t size = 0; size < WIRE_REPLY_HEADER_SIZE; size++)
        assert_int_equal(open_reply(data, size), WIRE_E_SHORT_INPUT);
    assert_int_equal(open_reply(data, WIRE_REPLY_HEADER_SIZE), WIRE_OK);
}

static void test_reply_every_status(void **state)
{
    (void) state;
    for (int status = -1; status <= WIRE_ERROR_COUNT; status++) {
        struct wire_reply in = {.status = status};
        struct wire_reply out;
        uint8_t data[WIRE_REPLY_HEADER_SIZE];
        struct wire_writer w = wire_writer_of(data, sizeof data);
        bool known = status >= 0 && status < WIRE_ERROR_COUNT;

        wire_reply_write(&w, &in);
        assert_int_equal(wire_reply_open(data, w.size, &out), WIRE_OK);
        assert_int_equal(out.status, known ? status : WIRE_E_INTERNAL);
    }
}

static void test_reply_hostile(void **state)
{
    uint8_t data[WIRE_REPLY_HEADER_SIZE] = {1};

    (void) state;
    assert_int_equal(open_reply(data, sizeof data), WIRE_OK);
    data[0] = 2;
    assert_int_equal(open_reply(data, sizeof data), WIRE_E_BAD_VERSION);
    data[0] = 0;
    assert_int_equal(open_reply(data, sizeof data), WIRE_E_BAD_FORMAT);
    data[0] = 1;
    data[1] = 1;
    assert_int_equal(open_reply(data, sizeof data), WIRE_E_BAD_FORMAT);
    data[1] = 0;
    data[3] = WIRE_ERROR_COUNT;
    assert_int_equal(open_reply(data, sizeof data), WIRE_E_BAD_FORMAT);
    data[2] = 0xff;
    data[3] = 0xff;
    assert_int_equal(open_reply(data, sizeof data), WIRE_E_BAD_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_bytes_as_drawn),
        cmocka_unit_test(test_request_round_trip),
        cmocka_unit_test(test_request_every_short_length),
        cmocka_unit_test(test_request_hostile_header),
        cmocka_unit_test(test_transactions_limit),
        cmocka_unit_test(test_owns),
        cmocka_unit_test(test_write_op_round_trip),
        cmocka_unit_test(test_write_op_bytes_as_drawn),
        cmocka_unit_test(test_write_op_every_short_length),
        cmocka_unit_test(test_write_op_hostile),
        cmocka_unit_test(test_reply),
        cmocka_unit_test(test_reply_every_status),
        cmocka_unit_test(test_reply_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
