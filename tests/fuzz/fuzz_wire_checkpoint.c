/*
 * Blocks of checkpoints from any bytes, as they are and with the checksum made right, so that what is in them is
 * reached: records must come out as they went in, and a state must write itself again.
 */
#include <stdlib.h>

#include "wire_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Written again, records are the bytes they were read from. */
static void read_records(struct wire_span body)
{
    struct wire_reader r = wire_reader_of(body.data, body.size);
    uint8_t *again = malloc(body.size + 1);
    struct wire_writer w = wire_writer_of(again, body.size);
    struct wire_span key, value;

    require(again != NULL);
    wire_write_varint(&w, wire_read_varint(&r));
    while (wire_checkpoint_read_record(&r, &key, &value) == WIRE_OK && key.data)
        wire_checkpoint_write_record(&w, key, value);
    if (!r.failed)
        require(!w.failed && w.size == body.size && memcmp(again, body.data, body.size) == 0);
    free(again);
}

static void use_block(const uint8_t *data, size_t size)
{
    static const struct wire_range everything[] = {{0, {NULL, 0}, {NULL, 0}}};
    struct wire_checkpoint_block block;
    struct wire_checkpoint_state state;

    if (wire_checkpoint_open((struct wire_span){data, size}, 0, &block) != WIRE_OK)
        return;
    require(block.size <= size && block.size == block.body.size + WIRE_CHECKPOINT_HEADER_SIZE);
    read_records(block.body);
    (void) wire_checkpoint_match_head(block.body, everything, 1);
    if (wire_checkpoint_open_state(block.body, &state) == WIRE_OK)
        require(state.cut.size + state.head.size <= block.body.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *block;

    use_block(data, size);
    if (size < 1)
        return 0;
    block = malloc(size + WIRE_CHECKPOINT_HEADER_SIZE);
    require(block != NULL);
    memcpy(block + WIRE_CHECKPOINT_HEADER_SIZE, data, size);
    (void) wire_checkpoint_seal(block, size + WIRE_CHECKPOINT_HEADER_SIZE, WIRE_CHECKPOINT_HEAD + data[0] % 4, 0);
    use_block(block, size + WIRE_CHECKPOINT_HEADER_SIZE);
    free(block);
    return 0;
}
