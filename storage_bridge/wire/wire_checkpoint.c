/* See wire_checkpoint.h. */
#include "wire_checkpoint.h"

#include "wire_checksum.h"

#define CHECKSUM_SIZE 4

void wire_checkpoint_begin(struct wire_writer *w)
{
    (void) wire_write_room(w, WIRE_CHECKPOINT_HEADER_SIZE);
}

uint32_t wire_checkpoint_seal(uint8_t *block, size_t size, enum wire_checkpoint_kind kind, uint32_t before)
{
    struct wire_writer w = wire_writer_of(block, WIRE_CHECKPOINT_HEADER_SIZE);
    uint32_t checksum;

    wire_write_u32(&w, 0);
    wire_write_u32(&w, (uint32_t) (size - WIRE_CHECKPOINT_HEADER_SIZE));
    wire_write_u8(&w, (uint8_t) kind);
    checksum = wire_checksum(block + CHECKSUM_SIZE, size - CHECKSUM_SIZE, before);
    w = wire_writer_of(block, CHECKSUM_SIZE);
    wire_write_u32(&w, checksum);
    return checksum;
}

int wire_checkpoint_open(struct wire_span data, uint32_t before, struct wire_checkpoint_block *out)
{
    struct wire_reader r = wire_reader_of(data.data, data.size);
    uint32_t checksum = wire_read_u32(&r);
    uint32_t size = wire_read_u32(&r);
    uint8_t kind = wire_read_u8(&r);

    *out = (struct wire_checkpoint_block){.size = WIRE_CHECKPOINT_HEADER_SIZE};
    if (r.failed)
        return WIRE_E_SHORT_INPUT;
    if (size > WIRE_CHECKPOINT_BLOCK_MAX - WIRE_CHECKPOINT_HEADER_SIZE || kind < WIRE_CHECKPOINT_HEAD ||
        kind > WIRE_CHECKPOINT_STATE)
        return WIRE_E_BAD_FORMAT;
    out->size += size;
    if (size > wire_reader_left(&r))
        return WIRE_E_SHORT_INPUT;
    if (wire_checksum(data.data + CHECKSUM_SIZE, out->size - CHECKSUM_SIZE, before) != checksum)
        return WIRE_E_BAD_CHECKSUM;
    out->kind = (enum wire_checkpoint_kind) kind;
    out->checksum = checksum;
    out->body = (struct wire_span){wire_read_bytes(&r, size), size};
    return WIRE_OK;
}

int wire_checkpoint_check_ranges(const struct wire_range *ranges, size_t count)
{
    if (count < 1 || count > WIRE_CHECKPOINT_RANGES_MAX)
        return WIRE_E_BAD_FORMAT;
    for (size_t i = 0; i < count; i++) {
        const struct wire_range *before = i > 0 ? &ranges[i - 1] : NULL;

        if (ranges[i].high.size > 0 && wire_span_compare(ranges[i].low, ranges[i].high) >= 0)
            return WIRE_E_BAD_FORMAT;
        if (!before || before->family < ranges[i].family)
            continue;
        if (before->family > ranges[i].family || before->high.size == 0 ||
            wire_span_compare(before->high, ranges[i].low) > 0)
            return WIRE_E_BAD_FORMAT;
    }
    return WIRE_OK;
}

void wire_checkpoint_write_head(struct wire_writer *w, const struct wire_range *ranges, size_t count)
{
    wire_write_u8(w, WIRE_CHECKPOINT_FORMAT);
    wire_write_varint(w, count);
    for (size_t i = 0; i < count; i++) {
        wire_write_u8(w, ranges[i].family);
        wire_write_span(w, ranges[i].low.data, ranges[i].low.size);
        wire_write_span(w, ranges[i].high.data, ranges[i].high.size);
    }
}

int wire_checkpoint_match_head(struct wire_span body, const struct wire_range *ranges, size_t count)
{
    struct wire_reader r = wire_reader_of(body.data, body.size);
    uint8_t format = wire_read_u8(&r);

    if (!r.failed && format != WIRE_CHECKPOINT_FORMAT)
        return WIRE_E_BAD_VERSION;
    if (wire_read_varint(&r) != count && !r.failed)
        return WIRE_E_BAD_FORMAT;
    for (size_t i = 0; i < count && !r.failed; i++) {
        uint8_t family = wire_read_u8(&r);
        struct wire_span low = wire_read_span(&r);
        struct wire_span high = wire_read_span(&r);

        if (!r.failed && (family != ranges[i].family || wire_span_compare(low, ranges[i].low) != 0 ||
                          wire_span_compare(high, ranges[i].high) != 0))
            return WIRE_E_BAD_FORMAT;
    }
    return wire_reader_finish(&r);
}

void wire_checkpoint_write_record(struct wire_writer *w, struct wire_span key, struct wire_span value)
{
    wire_write_span(w, key.data, key.size);
    wire_write_span(w, value.data, value.size);
}

int wire_checkpoint_read_record(struct wire_reader *r, struct wire_span *key, struct wire_span *value)
{
    *key = *value = (struct wire_span){NULL, 0};
    if (!r->failed && wire_reader_left(r) == 0)
        return WIRE_OK;
    *key = wire_read_span(r);
    *value = wire_read_span(r);
    return r->failed ? WIRE_E_SHORT_INPUT : WIRE_OK;
}

void wire_checkpoint_write_state(struct wire_writer *w, const struct wire_checkpoint_state *state,
                                 const struct wire_range *ranges, size_t count)
{
    wire_write_u64(w, state->size);
    wire_write_u32(w, state->checksum);
    wire_write_u64(w, state->offset);
    wire_write_u32(w, state->before);
    wire_write_u64(w, state->records);
    wire_write_varint(w, state->range);
    wire_write_varint(w, state->tables);
    wire_write_span(w, state->cut.data, state->cut.size);
    wire_checkpoint_write_head(w, ranges, count);
}

int wire_checkpoint_open_state(struct wire_span body, struct wire_checkpoint_state *out)
{
    struct wire_reader r = wire_reader_of(body.data, body.size);
    uint64_t range, tables;
    int status;

    *out = (struct wire_checkpoint_state){.size = wire_read_u64(&r)};
    out->checksum = wire_read_u32(&r);
    out->offset = wire_read_u64(&r);
    out->before = wire_read_u32(&r);
    out->records = wire_read_u64(&r);
    range = wire_read_varint(&r);
    tables = wire_read_varint(&r);
    out->cut = wire_read_span(&r);
    out->head.size = wire_reader_left(&r);
    out->head.data = wire_read_bytes(&r, out->head.size);
    status = wire_reader_finish(&r);
    if (status == WIRE_OK && (range > WIRE_CHECKPOINT_RANGES_MAX || tables > UINT32_MAX))
        status = WIRE_E_BAD_FORMAT;
    out->range = (uint32_t) range;
    out->tables = (uint32_t) tables;
    return status;
}
