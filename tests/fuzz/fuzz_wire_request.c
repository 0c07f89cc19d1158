/*
 * Fuzz wire_request and the effects in request bodies. The first byte chooses the decoder. Invariants: what decodes
 * encodes to the same bytes; a decoder that refuses has failed its reader; the tail of a list never lies outside the
 * input.
 */
#include <stdlib.h>

#include "wire_key.h"
#include "wire_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_same(const struct wire_writer *w, const uint8_t *data)
{
    require(!w->failed && memcmp(w->data, data, w->size) == 0);
}

/* `scratch` has room for as many bytes as the input has. */
static void fuzz_request(const uint8_t *data, size_t size, struct wire_writer scratch)
{
    struct wire_request request;

    if (wire_request_open(data, size, &request) != WIRE_OK)
        return;
    require(request.operation >= WIRE_GET && request.operation < WIRE_OPERATION_COUNT);
    require(request.transactions.size % 8 == 0 && request.transactions.size <= 8 * WIRE_OWN_TRANSACTIONS_MAX);
    wire_request_write(&scratch, &request);
    require_same(&scratch, data);
    require(scratch.size + wire_reader_left(&request.body) == size);
    for (size_t at = 0; at < request.transactions.size; at += 8) {
        struct wire_reader r = wire_reader_of(request.transactions.data + at, 8);

        require(wire_request_owns(&request, wire_read_u64(&r)));
    }
}

static void fuzz_reply(const uint8_t *data, size_t size, struct wire_writer scratch)
{
    struct wire_reply reply;

    if (wire_reply_open(data, size, &reply) != WIRE_OK)
        return;
    require(reply.status >= 0 && reply.status < WIRE_ERROR_COUNT);
    wire_reply_write(&scratch, &reply);
    require_same(&scratch, data);
    require(scratch.size + wire_reader_left(&reply.body) == size);
}

static void fuzz_write_ops(const uint8_t *data, size_t size, struct wire_writer scratch)
{
    struct wire_reader r = wire_reader_of(data, size);
    struct wire_write_op op;

    while (wire_reader_left(&r) > 0) {
        if (wire_write_op_read(&r, &op) != WIRE_OK) {
            require(r.failed);
            break;
        }
        require(op.key.size >= WIRE_KEY_PREFIX_SIZE && op.key.size <= WIRE_KEY_MAX);
        wire_write_op_write(&scratch, &op);
        require_same(&scratch, data);
        require(scratch.size == r.position);
    }
}

static void fuzz_effects(const uint8_t *data, size_t size, struct wire_writer scratch)
{
    struct wire_reader r = wire_reader_of(data, size);
    struct wire_effect effect;
    size_t before;

    while (wire_reader_left(&r) > 0) {
        before = scratch.size;
        if (wire_effect_read(&r, &effect) != WIRE_OK) {
            require(r.failed);
            break;
        }
        wire_effect_write(&scratch, &effect);
        require_same(&scratch, data);
        require(scratch.size == r.position && scratch.size - before == wire_effect_size(&effect));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *room;
    struct wire_writer scratch;

    if (size == 0)
        return 0;
    room = malloc(size);
    scratch = wire_writer_of(room, size - 1);
    switch (data[0] % 4) {
    case 0:
        fuzz_request(data + 1, size - 1, scratch);
        break;
    case 1:
        fuzz_reply(data + 1, size - 1, scratch);
        break;
    case 2:
        fuzz_write_ops(data + 1, size - 1, scratch);
        break;
    default:
        fuzz_effects(data + 1, size - 1, scratch);
        break;
    }
    free(room);
    return 0;
}
