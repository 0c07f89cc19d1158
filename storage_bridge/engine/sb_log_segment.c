/*
 * See sb_log_segment.h.
 *
 * Happy path: record_encode for each entry, batch_seal, and later walk_next for each batch, batch_next for each entry.
 * Failure modes: all input is untrusted; lengths are checked against what is left before they are used, and every
 * refusal is a code.
 */
#include "sb_log_segment.h"

#include "wire_checksum.h"
#include "wire_limits.h"

#define SEGMENT_MAGIC UINT64_C(0x434149524e4c4f47) /* "CAIRNLOG" */
#define BATCH_MAGIC UINT32_C(0xca1b7b01)

static uint64_t seed_of(struct sb_log_spot spot)
{
    return spot.identity ^ spot.segment * UINT64_C(0x9e3779b97f4a7c15) ^
           (spot.offset + 1) * UINT64_C(0xc2b2ae3d27d4eb4f);
}

static void put_u32(uint8_t *at, uint32_t value)
{
    struct wire_writer w = wire_writer_of(at, 4);

    wire_write_u32(&w, value);
}

static uint32_t get_u32(const uint8_t *at)
{
    struct wire_reader r = wire_reader_of(at, 4);

    return wire_read_u32(&r);
}

/* The checksum's own place counts as zero. */
static uint32_t page_checksum(const uint8_t *page)
{
    return wire_checksum(page, 8, wire_checksum(page + 12, SB_LOG_PAGE - 12, SEGMENT_MAGIC));
}

void sb_log_segment_encode(const struct sb_log_segment_header *header, uint8_t *page)
{
    struct wire_writer w = wire_writer_of(page, SB_LOG_PAGE);

    memset(page, 0, SB_LOG_PAGE);
    wire_write_u64(&w, SEGMENT_MAGIC);
    wire_write_u32(&w, 0);
    wire_write_u32(&w, SB_LOG_FORMAT);
    wire_write_u64(&w, header->identity);
    wire_write_u64(&w, header->sequence);
    wire_write_u64(&w, header->first_batch);
    wire_write_u64(&w, header->size);
    wire_write_u32(&w, header->previous);
    put_u32(page + 8, page_checksum(page));
}

int sb_log_segment_decode(const uint8_t *page, size_t size, struct sb_log_segment_header *out)
{
    struct wire_reader r = wire_reader_of(page, size);
    uint64_t magic = wire_read_u64(&r);
    uint32_t checksum = wire_read_u32(&r);
    uint32_t format = wire_read_u32(&r);

    if (size < SB_LOG_PAGE)
        return WIRE_E_SHORT_INPUT;
    if (magic != SEGMENT_MAGIC)
        return WIRE_E_BAD_FORMAT;
    /* Before the format: its place is the same in all formats, and a flipped bit is not a newer release. */
    if (checksum != page_checksum(page))
        return WIRE_E_BAD_CHECKSUM;
    if (format != SB_LOG_FORMAT)
        return format > SB_LOG_FORMAT ? WIRE_E_BAD_VERSION : WIRE_E_BAD_FORMAT;
    out->identity = wire_read_u64(&r);
    out->sequence = wire_read_u64(&r);
    out->first_batch = wire_read_u64(&r);
    out->size = wire_read_u64(&r);
    out->previous = wire_read_u32(&r);
    return out->first_batch > 0 && out->size >= SB_LOG_PAGE ? WIRE_OK : WIRE_E_BAD_FORMAT;
}

size_t sb_log_record_size(size_t payload)
{
    return (SB_LOG_ENTRY_HEADER + payload + SB_LOG_ALIGN - 1) / SB_LOG_ALIGN * SB_LOG_ALIGN;
}

void sb_log_record_encode(const struct sb_log_record *record, struct sb_log_spot spot, uint8_t *at)
{
    const struct sb_log_entry *entry = &record->entry;
    size_t size = sb_log_record_size(entry->payload.size);
    size_t used = SB_LOG_ENTRY_HEADER + entry->payload.size;
    struct wire_writer w = wire_writer_of(at, size);

    wire_write_u32(&w, 0);
    wire_write_u32(&w, (uint32_t) entry->payload.size);
    wire_write_u64(&w, entry->group);
    wire_write_u64(&w, entry->index);
    wire_write_u64(&w, entry->term);
    wire_write_u64(&w, record->first);
    wire_write_bytes(&w, entry->payload.data, entry->payload.size);
    memset(at + used, 0, size - used);
    put_u32(at, wire_checksum(at + 4, used - 4, seed_of(spot)));
}

/* All but the checksum. */
static int record_parse(const uint8_t *data, size_t size, struct sb_log_record *out)
{
    struct wire_reader r = wire_reader_of(data, size);
    uint32_t payload_size;

    wire_read_u32(&r);
    payload_size = wire_read_u32(&r);
    out->entry.group = wire_read_u64(&r);
    out->entry.index = wire_read_u64(&r);
    out->entry.term = wire_read_u64(&r);
    out->first = wire_read_u64(&r);
    if (!r.failed && payload_size > WIRE_ENTRY_MAX)
        return WIRE_E_BAD_FORMAT;
    out->entry.payload = (struct wire_span){wire_read_bytes(&r, payload_size), payload_size};
    wire_read_bytes(&r, r.failed ? 0 : sb_log_record_size(payload_size) - SB_LOG_ENTRY_HEADER - payload_size);
    if (r.failed)
        return WIRE_E_SHORT_INPUT;
    if (out->entry.index == 0)
        return out->first == 0 && payload_size <= SB_LOG_STATE_MAX ? WIRE_OK : WIRE_E_BAD_FORMAT;
    if (out->first == 0 || out->first > out->entry.index || out->entry.index == UINT64_MAX)
        return WIRE_E_BAD_FORMAT;
    return WIRE_OK;
}

int sb_log_record_decode(const uint8_t *data, size_t size, struct sb_log_spot spot, struct sb_log_record *out)
{
    int status = record_parse(data, size, out);

    if (status != WIRE_OK)
        return status;
    out->offset = spot.offset;
    if (get_u32(data) != wire_checksum(data + 4, SB_LOG_ENTRY_HEADER - 4 + out->entry.payload.size, seed_of(spot)))
        return WIRE_E_BAD_CHECKSUM;
    return WIRE_OK;
}

void sb_log_batch_seal(struct sb_log_batch *batch, struct sb_log_spot spot, uint8_t *data)
{
    struct wire_writer w = wire_writer_of(data, SB_LOG_BATCH_HEADER);

    batch->body_checksum = wire_checksum(data + SB_LOG_BATCH_HEADER, batch->body_size, seed_of(spot));
    wire_write_u32(&w, BATCH_MAGIC);
    wire_write_u32(&w, 0);
    wire_write_u64(&w, spot.segment);
    wire_write_u64(&w, batch->sequence);
    wire_write_u64(&w, batch->synced);
    wire_write_u64(&w, batch->body_size);
    wire_write_u32(&w, batch->count);
    wire_write_u32(&w, batch->body_checksum);
    wire_write_u32(&w, batch->previous);
    wire_write_u32(&w, 0);
    batch->checksum = wire_checksum(data + 8, SB_LOG_BATCH_HEADER - 8, seed_of(spot));
    put_u32(data + 4, batch->checksum);
}

static struct sb_log_spot spot_at(const struct sb_log_walk *walk, uint64_t offset)
{
    return (struct sb_log_spot){walk->identity, walk->segment, offset};
}

bool sb_log_walk_header(const struct sb_log_walk *walk, uint64_t offset, struct sb_log_batch *out)
{
    const uint8_t *at = walk->data + offset;
    struct wire_reader r;

    if (walk->size < SB_LOG_BATCH_HEADER || offset > walk->size - SB_LOG_BATCH_HEADER || get_u32(at) != BATCH_MAGIC)
        return false;
    r = wire_reader_of(at + 4, SB_LOG_BATCH_HEADER - 4);
    out->checksum = wire_read_u32(&r);
    if (out->checksum != wire_checksum(at + 8, SB_LOG_BATCH_HEADER - 8, seed_of(spot_at(walk, offset))) ||
        wire_read_u64(&r) != walk->segment)
        return false;
    out->sequence = wire_read_u64(&r);
    out->synced = wire_read_u64(&r);
    out->body_size = wire_read_u64(&r);
    out->count = wire_read_u32(&r);
    out->body_checksum = wire_read_u32(&r);
    out->previous = wire_read_u32(&r);
    out->offset = offset;
    out->body = at + SB_LOG_BATCH_HEADER;
    return true;
}

int sb_log_walk_next(struct sb_log_walk *walk, struct sb_log_batch *out)
{
    if (!sb_log_walk_header(walk, walk->offset, out) || out->sequence != walk->next_batch ||
        out->previous != walk->previous || out->synced >= out->sequence)
        return WIRE_E_NOT_FOUND;
    if (out->body_size > walk->size - walk->offset - SB_LOG_BATCH_HEADER || out->body_size % SB_LOG_ALIGN != 0)
        return WIRE_E_NOT_FOUND;
    if (wire_checksum(out->body, out->body_size, seed_of(spot_at(walk, walk->offset))) != out->body_checksum)
        return WIRE_E_NOT_FOUND;
    walk->offset += SB_LOG_BATCH_HEADER + out->body_size;
    walk->next_batch++;
    walk->synced = out->synced;
    walk->previous = out->checksum;
    return WIRE_OK;
}

void sb_log_walk_tail(const struct sb_log_walk *walk, struct sb_log_tail *out)
{
    struct sb_log_batch batch;

    *out = (struct sb_log_tail){0};
    for (uint64_t at = walk->offset; at + SB_LOG_BATCH_HEADER <= walk->size; at += SB_LOG_ALIGN) {
        if (!sb_log_walk_header(walk, at, &batch))
            continue;
        if (batch.synced >= walk->next_batch) {
            *out = (struct sb_log_tail){.damaged = true, .proof = at};
            return;
        }
        out->erase_end = at + SB_LOG_BATCH_HEADER;
    }
}

int sb_log_batch_next(const struct sb_log_batch *batch, uint64_t *position, struct sb_log_record *out)
{
    int status;

    if (*position >= batch->body_size)
        return *position == batch->body_size ? WIRE_E_NOT_FOUND : WIRE_E_BAD_FORMAT;
    status = record_parse(batch->body + *position, (size_t) (batch->body_size - *position), out);
    if (status != WIRE_OK)
        return WIRE_E_BAD_FORMAT;
    out->offset = batch->offset + SB_LOG_BATCH_HEADER + *position;
    *position += sb_log_record_size(out->entry.payload.size);
    return WIRE_OK;
}
