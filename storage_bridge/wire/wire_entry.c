/*
 * Log entries and their effects: building, verifying, walking.
 *
 * Happy path: begin writes a header with holes, add appends effects, end patches count, size and, last, the checksum.
 * Open goes the other way: size, checksum, header, then every effect once, so that a walk with wire_entry_next meets
 * nothing it has to refuse. Failure: any byte changed is WIRE_E_BAD_CHECKSUM; a header or effect that a correct
 * checksum covers and this release does not know is WIRE_E_BAD_VERSION or WIRE_E_BAD_FORMAT. The checksum is judged
 * before the format byte, so damage never reads as "newer release".
 */
#include "wire_entry.h"

#include "wire_checksum.h"
#include "wire_configuration.h"
#include "wire_key.h"

#define CHECKSUM_OFFSET 4
#define BODY_OFFSET 8 /* where the checksummed bytes begin */
#define COUNT_OFFSET 12

int wire_entry_check_key(struct wire_span key)
{
    struct wire_reader r = wire_reader_of(key.data, key.size);

    if (key.size < WIRE_KEY_PREFIX_SIZE || key.size > WIRE_KEY_MAX)
        return WIRE_E_KEY_SIZE;
    /* Storage id 0 holds the group's own records: an item there would overwrite them. */
    return wire_read_u64(&r) != 0 ? WIRE_OK : WIRE_E_BAD_FORMAT;
}

void wire_effect_write(struct wire_writer *w, const struct wire_effect *effect)
{
    wire_write_u8(w, (uint8_t) effect->kind);
    switch (effect->kind) {
    case WIRE_EFFECT_PUT:
        wire_write_span(w, effect->key.data, effect->key.size);
        wire_write_span(w, effect->item.data, effect->item.size);
        return;
    case WIRE_EFFECT_DELETE:
    case WIRE_EFFECT_CONFIGURATION:
        wire_write_span(w, effect->key.data, effect->key.size);
        return;
    case WIRE_EFFECT_STORAGE:
        wire_write_span(w, effect->key.data, effect->key.size);
        wire_write_u64(w, effect->number);
        return;
    case WIRE_EFFECT_BEGIN:
    case WIRE_EFFECT_PREPARE:
        wire_write_u64(w, effect->number);
        wire_write_u64(w, effect->argument);
        return;
    case WIRE_EFFECT_SETTLE:
        wire_write_u64(w, effect->number);
        wire_write_span(w, effect->key.data, effect->key.size);
        return;
    case WIRE_EFFECT_DROP:
    case WIRE_EFFECT_COMMIT:
    case WIRE_EFFECT_ABORT:
    case WIRE_EFFECT_FORGET:
    case WIRE_EFFECT_HORIZON:
        wire_write_u64(w, effect->number);
        return;
    }
    w->failed = true;
}

size_t wire_effect_size(const struct wire_effect *effect)
{
    struct wire_writer measure = wire_writer_of(NULL, 0);

    wire_effect_write(&measure, effect);
    return measure.size;
}

/* The members of out->kind. False if there is no such kind. */
static bool read_members(struct wire_reader *r, struct wire_effect *out)
{
    switch (out->kind) {
    case WIRE_EFFECT_PUT:
        out->key = wire_read_span(r);
        out->item = wire_read_span(r);
        return true;
    case WIRE_EFFECT_DELETE:
    case WIRE_EFFECT_CONFIGURATION:
        out->key = wire_read_span(r);
        return true;
    case WIRE_EFFECT_STORAGE:
        out->key = wire_read_span(r);
        out->number = wire_read_u64(r);
        return true;
    case WIRE_EFFECT_BEGIN:
    case WIRE_EFFECT_PREPARE:
        out->number = wire_read_u64(r);
        out->argument = wire_read_u64(r);
        return true;
    case WIRE_EFFECT_SETTLE:
        out->number = wire_read_u64(r);
        out->key = wire_read_span(r);
        return true;
    case WIRE_EFFECT_DROP:
    case WIRE_EFFECT_COMMIT:
    case WIRE_EFFECT_ABORT:
    case WIRE_EFFECT_FORGET:
    case WIRE_EFFECT_HORIZON:
        out->number = wire_read_u64(r);
        return true;
    }
    return false;
}

static int check_members(const struct wire_effect *effect)
{
    struct wire_configuration configuration;

    switch (effect->kind) {
    case WIRE_EFFECT_PUT:
    case WIRE_EFFECT_DELETE:
    case WIRE_EFFECT_SETTLE:
        return wire_entry_check_key(effect->key);
    case WIRE_EFFECT_STORAGE:
    case WIRE_EFFECT_DROP:
        return effect->number != 0 ? WIRE_OK : WIRE_E_BAD_FORMAT;
    case WIRE_EFFECT_CONFIGURATION:
        return wire_configuration_open(effect->key, &configuration);
    default:
        return WIRE_OK;
    }
}

int wire_effect_read(struct wire_reader *r, struct wire_effect *out)
{
    int result;

    memset(out, 0, sizeof *out);
    out->kind = (enum wire_effect_kind) wire_read_u8(r);
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (!read_members(r, out))
        result = WIRE_E_BAD_FORMAT;
    else if (r->failed)
        result = WIRE_E_SHORT_INPUT;
    else
        result = check_members(out);
    if (result != WIRE_OK)
        r->failed = true;
    return result;
}

void wire_entry_begin(struct wire_entry_builder *b, struct wire_writer *w, const struct wire_entry *header)
{
    *b = (struct wire_entry_builder){.w = w, .start = w->size, .effect_count = 0};
    wire_write_u32(w, 0); /* size, checksum and count: wire_entry_end */
    wire_write_u32(w, 0);
    wire_write_u8(w, WIRE_ENTRY_FORMAT);
    wire_write_u8(w, 0);
    wire_write_u16(w, 0);
    wire_write_u32(w, 0);
    wire_write_u64(w, header->group);
    wire_write_u64(w, header->term);
    wire_write_u64(w, header->index);
    wire_write_u64(w, header->version);
    wire_write_u64(w, header->transaction);
}

void wire_entry_add(struct wire_entry_builder *b, const struct wire_effect *effect)
{
    wire_effect_write(b->w, effect);
    b->effect_count++;
}

static void patch_u32(uint8_t *at, uint32_t value)
{
    struct wire_writer w = wire_writer_of(at, sizeof value);

    wire_write_u32(&w, value);
}

int wire_entry_end(struct wire_entry_builder *b)
{
    size_t size = b->w->size - b->start;
    uint8_t *entry;

    if (b->w->failed)
        return WIRE_E_SHORT_BUFFER;
    if (size > WIRE_ENTRY_MAX)
        return WIRE_E_TOO_LARGE;
    if (!b->w->data)
        return WIRE_OK;
    entry = b->w->data + b->start;
    patch_u32(entry, (uint32_t) size);
    patch_u32(entry + COUNT_OFFSET, b->effect_count);
    patch_u32(entry + CHECKSUM_OFFSET, wire_checksum(entry + BODY_OFFSET, size - BODY_OFFSET, 0));
    return WIRE_OK;
}

/* The fixed part, r at its first byte; size and checksum are verified here. */
static int read_header(struct wire_reader *r, struct wire_entry *out)
{
    uint32_t size = wire_read_u32(r);
    uint32_t checksum = wire_read_u32(r);
    uint8_t format;
    bool reserved;

    if (r->size < WIRE_ENTRY_HEADER_SIZE || size > r->size)
        return WIRE_E_SHORT_INPUT;
    if (r->size > WIRE_ENTRY_MAX)
        return WIRE_E_TOO_LARGE;
    if (size != r->size)
        return WIRE_E_BAD_FORMAT;
    if (wire_checksum(r->data + BODY_OFFSET, size - BODY_OFFSET, 0) != checksum)
        return WIRE_E_BAD_CHECKSUM;
    format = wire_read_u8(r);
    if (format > WIRE_ENTRY_FORMAT)
        return WIRE_E_BAD_VERSION;
    reserved = wire_read_u8(r) != 0;
    reserved |= wire_read_u16(r) != 0;
    out->effect_count = wire_read_u32(r);
    out->group = wire_read_u64(r);
    out->term = wire_read_u64(r);
    out->index = wire_read_u64(r);
    out->version = wire_read_u64(r);
    out->transaction = wire_read_u64(r);
    if (format != WIRE_ENTRY_FORMAT || reserved || out->index == 0 || wire_version_is_transaction(out->version))
        return WIRE_E_BAD_FORMAT;
    return WIRE_OK;
}

int wire_entry_open(const void *data, size_t size, struct wire_entry *out)
{
    struct wire_reader r = wire_reader_of(data, size);
    struct wire_effect effect;
    int result = read_header(&r, out);

    if (result != WIRE_OK)
        return result;
    out->effects = wire_reader_of(r.data + r.position, size - r.position);
    /* A hostile count ends with the bytes: no effect is empty. */
    for (uint32_t i = 0; i < out->effect_count; i++) {
        result = wire_effect_read(&r, &effect);
        if (result != WIRE_OK)
            return result;
        if (effect.kind == WIRE_EFFECT_CONFIGURATION && out->effect_count != 1)
            return WIRE_E_BAD_FORMAT;
    }
    return wire_reader_finish(&r);
}

int wire_entry_next(struct wire_entry *entry, struct wire_effect *out)
{
    if (!entry->effects.failed && entry->effects.position == entry->effects.size)
        return WIRE_E_NOT_FOUND;
    return wire_effect_read(&entry->effects, out);
}
