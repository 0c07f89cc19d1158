/*
 * See wire_peer.h.
 *
 * Happy path: begin writes a header with holes and what the kind has behind it, add appends entries, end patches count,
 * size and, last, the checksum. Open goes the other way: size, checksum, header, the fields against the table of what
 * the kind has, then every entry once, so that a walk with wire_peer_next meets nothing it has to refuse. Failure: any
 * byte changed is WIRE_E_BAD_CHECKSUM; what a correct checksum covers and this release does not know is
 * WIRE_E_BAD_VERSION or WIRE_E_BAD_FORMAT. The checksum is judged before the format byte, so damage never reads as
 * "newer release".
 */
#include "wire_peer.h"

#include "wire_checksum.h"

#define CHECKSUM_OFFSET 4
#define BODY_OFFSET 8 /* where the checksummed bytes begin */
#define COUNT_OFFSET 12

/* What a message of a kind may have in it; the rest is 0. */
struct kind_form {
    uint16_t flags;
    bool sequence;
    bool index;
    bool index_term;
    bool commit;
};

static const struct kind_form forms[WIRE_PEER_KIND_COUNT] = {
    [WIRE_PEER_APPEND] = {.sequence = true, .index = true, .index_term = true, .commit = true},
    [WIRE_PEER_APPEND_RESULT] = {.sequence = true, .index = true, .commit = true},
    [WIRE_PEER_VOTE] = {.flags = WIRE_PEER_PRE_VOTE | WIRE_PEER_DISRUPT, .index = true, .index_term = true},
    [WIRE_PEER_VOTE_RESULT] = {.flags = WIRE_PEER_PRE_VOTE | WIRE_PEER_GRANTED},
    [WIRE_PEER_INSTALL] = {.sequence = true, .index = true, .index_term = true, .commit = true},
    [WIRE_PEER_TIMEOUT_NOW] = {.index = true, .index_term = true},
    [WIRE_PEER_PROBE] = {.sequence = true},
    [WIRE_PEER_PROBE_RESULT] = {.sequence = true},
};

static bool is_kind(uint32_t kind)
{
    return kind >= WIRE_PEER_APPEND && kind < WIRE_PEER_KIND_COUNT;
}

void wire_peer_begin(struct wire_peer_builder *b, struct wire_writer *w, const struct wire_peer_message *message)
{
    *b = (struct wire_peer_builder){.w = w, .start = w->size, .entry_count = 0};
    w->failed |= !is_kind(message->kind);
    wire_write_u32(w, 0); /* size, checksum and count: wire_peer_end */
    wire_write_u32(w, 0);
    wire_write_u8(w, WIRE_PEER_FORMAT);
    wire_write_u8(w, (uint8_t) message->kind);
    wire_write_u16(w, message->flags);
    wire_write_u32(w, 0);
    wire_write_u64(w, message->group);
    wire_write_u64(w, message->from);
    wire_write_u64(w, message->to);
    wire_write_u64(w, message->term);
    wire_write_u64(w, message->sequence);
    wire_write_u64(w, message->index);
    wire_write_u64(w, message->index_term);
    wire_write_u64(w, message->commit);
    if (message->kind == WIRE_PEER_INSTALL) {
        struct wire_writer measure = wire_writer_of(NULL, 0);

        wire_configuration_write(&measure, &message->configuration);
        wire_write_varint(w, measure.size);
        wire_configuration_write(w, &message->configuration);
    }
}

void wire_peer_add(struct wire_peer_builder *b, struct wire_span entry)
{
    wire_write_span(b->w, entry.data, entry.size);
    b->entry_count++;
}

static void patch_u32(uint8_t *at, uint32_t value)
{
    struct wire_writer w = wire_writer_of(at, sizeof value);

    wire_write_u32(&w, value);
}

int wire_peer_end(struct wire_peer_builder *b)
{
    size_t size = b->w->size - b->start;
    uint8_t *message;

    if (b->w->failed)
        return WIRE_E_SHORT_BUFFER;
    if (size > WIRE_PEER_MESSAGE_MAX || b->entry_count > WIRE_PEER_ENTRIES_MAX)
        return WIRE_E_TOO_LARGE;
    if (!b->w->data)
        return WIRE_OK;
    message = b->w->data + b->start;
    patch_u32(message, (uint32_t) size);
    patch_u32(message + COUNT_OFFSET, b->entry_count);
    patch_u32(message + CHECKSUM_OFFSET, wire_checksum(message + BODY_OFFSET, size - BODY_OFFSET, 0));
    return WIRE_OK;
}

/* Size and checksum; r is left at the format byte. */
static int check_frame(struct wire_reader *r)
{
    uint32_t size = wire_read_u32(r);
    uint32_t checksum = wire_read_u32(r);

    if (r->size < WIRE_PEER_HEADER_SIZE || size > r->size)
        return WIRE_E_SHORT_INPUT;
    if (r->size > WIRE_PEER_MESSAGE_MAX)
        return WIRE_E_TOO_LARGE;
    if (size != r->size)
        return WIRE_E_BAD_FORMAT;
    return wire_checksum(r->data + BODY_OFFSET, size - BODY_OFFSET, 0) == checksum ? WIRE_OK : WIRE_E_BAD_CHECKSUM;
}

static int check_fields(const struct wire_peer_message *message)
{
    const struct kind_form *form = &forms[message->kind];

    if ((message->flags & ~form->flags) != 0 || (!form->sequence && message->sequence != 0) ||
        (!form->index && message->index != 0) || (!form->index_term && message->index_term != 0) ||
        (!form->commit && message->commit != 0))
        return WIRE_E_BAD_FORMAT;
    if (message->from == 0 || message->to == 0 || message->index_term > message->term)
        return WIRE_E_BAD_FORMAT;
    if (message->kind != WIRE_PEER_APPEND && message->entry_count != 0)
        return WIRE_E_BAD_FORMAT;
    return message->entry_count <= WIRE_PEER_ENTRIES_MAX ? WIRE_OK : WIRE_E_TOO_LARGE;
}

/* The fixed part behind size and checksum. */
static int read_header(struct wire_reader *r, struct wire_peer_message *out)
{
    uint8_t format = wire_read_u8(r);
    uint8_t kind = wire_read_u8(r);

    if (format > WIRE_PEER_FORMAT)
        return WIRE_E_BAD_VERSION;
    if (format != WIRE_PEER_FORMAT || !is_kind(kind))
        return WIRE_E_BAD_FORMAT;
    out->kind = (enum wire_peer_kind) kind;
    out->flags = wire_read_u16(r);
    out->entry_count = wire_read_u32(r);
    out->group = wire_read_u64(r);
    out->from = wire_read_u64(r);
    out->to = wire_read_u64(r);
    out->term = wire_read_u64(r);
    out->sequence = wire_read_u64(r);
    out->index = wire_read_u64(r);
    out->index_term = wire_read_u64(r);
    out->commit = wire_read_u64(r);
    return check_fields(out);
}

/* r at the first entry; all of them are walked, so that *r then stands behind them. */
static int check_entries(struct wire_reader *r, const struct wire_peer_message *message)
{
    uint64_t least_term = message->index_term;

    for (uint32_t i = 0; i < message->entry_count; i++) {
        struct wire_span bytes = wire_read_span(r);
        struct wire_entry entry;
        int result = r->failed ? WIRE_E_SHORT_INPUT : wire_entry_open(bytes.data, bytes.size, &entry);

        if (result != WIRE_OK)
            return result;
        if (entry.group != message->group || entry.index != message->index + 1 + i || entry.term < least_term ||
            entry.term > message->term)
            return WIRE_E_BAD_FORMAT;
        least_term = entry.term;
    }
    return wire_reader_finish(r);
}

static int read_configuration(struct wire_reader *r, struct wire_configuration *out)
{
    struct wire_span bytes = wire_read_span(r);
    int result = wire_reader_finish(r);

    return result == WIRE_OK ? wire_configuration_open(bytes, out) : result;
}

int wire_peer_open(const void *data, size_t size, struct wire_peer_message *out, struct wire_reader *entries)
{
    struct wire_reader r = wire_reader_of(data, size);
    int result = check_frame(&r);

    memset(out, 0, sizeof *out);
    *entries = wire_reader_of(NULL, 0);
    if (result == WIRE_OK)
        result = read_header(&r, out);
    if (result != WIRE_OK)
        return result;
    if (out->kind == WIRE_PEER_INSTALL)
        return read_configuration(&r, &out->configuration);
    if (out->kind == WIRE_PEER_APPEND)
        *entries = wire_reader_of(r.data + r.position, size - r.position);
    return check_entries(&r, out);
}

int wire_peer_next(struct wire_reader *entries, struct wire_span *bytes, struct wire_entry *entry)
{
    if (!entries->failed && entries->position == entries->size)
        return WIRE_E_NOT_FOUND;
    *bytes = wire_read_span(entries);
    return entries->failed ? WIRE_E_SHORT_INPUT : wire_entry_open(bytes->data, bytes->size, entry);
}
