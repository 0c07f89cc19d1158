/*
 * Bounded reading and writing of bytes, the only way in which cairn's formats are parsed and built.
 *
 * Both sides fail stickily: after the first overrun every call is a no-op (reads return 0 or NULL), so a codec runs
 * straight through and checks `failed` once. A writer without a buffer (data == NULL) measures: it counts size and
 * never fails. Integers are big-endian (so that keys compare as bytes) unless written as varint (LEB128, at most 10
 * bytes, shortest form only).
 *
 * Caller: anyone. Locks: none. Nothing allocates.
 */
#ifndef WIRE_BYTES_H
#define WIRE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire_error.h"

/* Borrowed bytes. */
struct wire_span {
    const uint8_t *data;
    size_t size;
};

struct wire_reader {
    const uint8_t *data;
    size_t size;
    size_t position;
    bool failed;
};

struct wire_writer {
    uint8_t *data; /* NULL: measure only */
    size_t capacity;
    size_t size;
    bool failed;
};

static inline struct wire_reader wire_reader_of(const void *data, size_t size)
{
    return (struct wire_reader){.data = data, .size = size, .position = 0, .failed = false};
}

static inline struct wire_writer wire_writer_of(void *data, size_t capacity)
{
    return (struct wire_writer){.data = data, .capacity = capacity, .size = 0, .failed = false};
}

static inline size_t wire_reader_left(const struct wire_reader *r)
{
    return r->failed ? 0 : r->size - r->position;
}

/* The next `size` bytes, borrowed, or NULL (and failed). A NULL result with size 0 does not happen. */
static inline const uint8_t *wire_read_bytes(struct wire_reader *r, size_t size)
{
    static const uint8_t nothing[1];
    const uint8_t *at;

    if (r->failed || size > r->size - r->position) {
        r->failed = true;
        return NULL;
    }
    at = r->data ? r->data + r->position : nothing;
    r->position += size;
    return at;
}

static inline uint64_t wire_read_fixed(struct wire_reader *r, size_t width)
{
    const uint8_t *at = wire_read_bytes(r, width);
    uint64_t value = 0;

    for (size_t i = 0; at && i < width; i++)
        value = value << 8 | at[i];
    return value;
}

static inline uint8_t wire_read_u8(struct wire_reader *r)
{
    const uint8_t *at = wire_read_bytes(r, 1);

    return at ? *at : 0;
}

static inline uint16_t wire_read_u16(struct wire_reader *r)
{
    return (uint16_t) wire_read_fixed(r, 2);
}

static inline uint32_t wire_read_u32(struct wire_reader *r)
{
    return (uint32_t) wire_read_fixed(r, 4);
}

static inline uint64_t wire_read_u64(struct wire_reader *r)
{
    return wire_read_fixed(r, 8);
}

/* Refuses overlong forms, so that equal values have equal bytes. */
static inline uint64_t wire_read_varint(struct wire_reader *r)
{
    uint64_t value = 0;

    /* Nearly all are of one byte. */
    if (!r->failed && r->position < r->size && r->data[r->position] < 0x80)
        return r->data[r->position++];
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = wire_read_u8(r);

        if (r->failed || (shift == 63 && byte > 1) || (shift > 0 && byte == 0))
            break;
        value |= (uint64_t) (byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    r->failed = true;
    return 0;
}

/* A varint length and that many bytes, borrowed. data == NULL only on failure. */
static inline struct wire_span wire_read_span(struct wire_reader *r)
{
    uint64_t size = wire_read_varint(r);
    struct wire_span span = {NULL, 0};

    if (size > wire_reader_left(r))
        r->failed = true;
    else {
        span.data = wire_read_bytes(r, (size_t) size);
        span.size = span.data ? (size_t) size : 0;
    }
    return span;
}

/* WIRE_OK, or WIRE_E_SHORT_INPUT after a failure, or WIRE_E_BAD_FORMAT when bytes are left over. */
static inline int wire_reader_finish(const struct wire_reader *r)
{
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    return r->position == r->size ? WIRE_OK : WIRE_E_BAD_FORMAT;
}

/* Room for `size` bytes to be filled by the caller; NULL when measuring or full. */
static inline uint8_t *wire_write_room(struct wire_writer *w, size_t size)
{
    uint8_t *at;

    if (w->failed)
        return NULL;
    if (!w->data) {
        w->size += size;
        return NULL;
    }
    if (size > w->capacity - w->size) {
        w->failed = true;
        return NULL;
    }
    at = w->data + w->size;
    w->size += size;
    return at;
}

static inline void wire_write_bytes(struct wire_writer *w, const void *data, size_t size)
{
    uint8_t *at = wire_write_room(w, size);

    if (at && size > 0)
        memcpy(at, data, size);
}

static inline void wire_write_fixed(struct wire_writer *w, uint64_t value, size_t width)
{
    uint8_t *at = wire_write_room(w, width);

    for (size_t i = 0; at && i < width; i++)
        at[i] = (uint8_t) (value >> 8 * (width - 1 - i));
}

static inline void wire_write_u8(struct wire_writer *w, uint8_t value)
{
    wire_write_fixed(w, value, 1);
}

static inline void wire_write_u16(struct wire_writer *w, uint16_t value)
{
    wire_write_fixed(w, value, 2);
}

static inline void wire_write_u32(struct wire_writer *w, uint32_t value)
{
    wire_write_fixed(w, value, 4);
}

static inline void wire_write_u64(struct wire_writer *w, uint64_t value)
{
    wire_write_fixed(w, value, 8);
}

static inline void wire_write_varint(struct wire_writer *w, uint64_t value)
{
    while (value >= 0x80) {
        wire_write_u8(w, (uint8_t) (value | 0x80));
        value >>= 7;
    }
    wire_write_u8(w, (uint8_t) value);
}

static inline void wire_write_span(struct wire_writer *w, const void *data, size_t size)
{
    wire_write_varint(w, size);
    wire_write_bytes(w, data, size);
}

/* Put `size` bytes in at offset `at`, moving what follows: for counts known only after what they count. at <= w->size
 * unless failed. */
static inline void wire_write_insert(struct wire_writer *w, size_t at, const void *data, size_t size)
{
    size_t end = w->size;

    if (!wire_write_room(w, size))
        return;
    memmove(w->data + at + size, w->data + at, end - at);
    memcpy(w->data + at, data, size);
}

static inline int wire_writer_finish(const struct wire_writer *w)
{
    return w->failed ? WIRE_E_SHORT_BUFFER : WIRE_OK;
}

static inline uint64_t wire_zigzag(int64_t value)
{
    return (uint64_t) value << 1 ^ (uint64_t) (value < 0 ? -1 : 0);
}

static inline int64_t wire_unzigzag(uint64_t value)
{
    return (int64_t) (value >> 1 ^ (0 - (value & 1)));
}

/* Bytewise order, a prefix first: <0, 0, >0. */
static inline int wire_span_compare(struct wire_span a, struct wire_span b)
{
    size_t least = a.size < b.size ? a.size : b.size;
    int order = least ? memcmp(a.data, b.data, least) : 0;

    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

#endif
