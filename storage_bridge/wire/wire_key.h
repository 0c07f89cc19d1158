/*
 * Keys: order-preserving bytes. memcmp order of two keys of one table is the order of their columns.
 *
 *   u64 storage id | u16 index id (0 = the item itself) | [u32 partition hash, hash-partitioned tables only] | column | column ...
 *
 *   column = tag byte (enum wire_key_type) and
 *     TEXT, BYTES   the bytes with 00 written as 00 FF, then 00 01
 *     INTEGER       int64, sign bit flipped, 8 bytes (smallint, integer, bigint alike)
 *     NUMBER        01 negative, 02 zero, 03 positive; then, but for zero, exponent + 0x800000 in 3 bytes, digits in base 100 as 1..100 (an odd last digit
 *                   is padded with 0), then 00; of a negative number all bytes after the first are inverted. Scale is not kept: at most 38 digits
 *     TIMESTAMP     int64 microseconds, sign bit flipped;  DATE  int32 days, sign bit flipped, 4 bytes
 *     UUID          16 bytes;  BOOLEAN  00 or 01
 *
 * The tag makes keys readable without a schema; tags of one column are always equal, so they do not disturb the order. Tags 01 and FF stay free
 * for NULL first and last of secondary indexes. The partition hash is wire_partition_hash over the bytes of the partition key's column, tag included.
 * Storage id 0 is the group's own range (see sb_meta.h).
 *
 * Caller: anyone. Locks: none.
 */
#ifndef WIRE_KEY_H
#define WIRE_KEY_H

#include "wire_bytes.h"
#include "wire_limits.h"
#include "wire_number.h"

enum wire_key_type {
    WIRE_KEY_BOOLEAN = 0x10,
    WIRE_KEY_INTEGER = 0x20,
    WIRE_KEY_NUMBER = 0x28,
    WIRE_KEY_DATE = 0x30,
    WIRE_KEY_TIMESTAMP = 0x38,
    WIRE_KEY_UUID = 0x40,
    WIRE_KEY_BYTES = 0x50,
    WIRE_KEY_TEXT = 0x60
};

#define WIRE_KEY_PREFIX_SIZE 10 /* storage id and index id */
#define WIRE_KEY_HASH_SIZE 4

struct wire_key_value {
    enum wire_key_type type;
    bool boolean;
    int64_t integer;           /* INTEGER, DATE, TIMESTAMP */
    struct wire_span bytes;    /* TEXT, BYTES, UUID (16): raw, not escaped */
    struct wire_number number; /* NUMBER, any finite form of at most 38 digits */
};

void wire_key_write_prefix(struct wire_writer *w, uint64_t storage_id, uint16_t index_id);

/* Does a key that a client sent lie in this storage, whole prefix and at most WIRE_KEY_MAX bytes? Nothing lies in
 * storage 0, which is the group's own. */
bool wire_key_belongs(struct wire_span key, uint64_t storage_id);

/* Append one column. Errors: WIRE_E_NUMBER_DIGITS, WIRE_E_NUMBER_RANGE, WIRE_E_NUMBER_NOT_FINITE, WIRE_E_BAD_FORMAT (type, UUID size), WIRE_E_SHORT_BUFFER. */
int wire_key_write_column(struct wire_writer *w, const struct wire_key_value *value);

/* Append the common prefix of all TEXT or BYTES columns that begin with `bytes` (no terminator). Errors: WIRE_E_TYPE for other types, WIRE_E_SHORT_BUFFER. */
int wire_key_write_column_prefix(struct wire_writer *w, const struct wire_key_value *value);

/*
 * Read one column.
 * scratch:  receives unescaped bytes and digits; the result borrows from it or from the reader. Must not be NULL-backed.
 * NUMBER:   comes back without scale beyond what its digits need: form INTEGER if it is a whole int64, else POSITIVE or NEGATIVE.
 * Errors:   WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT (not what wire_key_write_column writes), WIRE_E_SHORT_BUFFER.
 */
int wire_key_read_column(struct wire_reader *r, struct wire_writer *scratch, struct wire_key_value *value);

/* Skip one column: the same checks of form, no scratch. Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT. */
int wire_key_skip_column(struct wire_reader *r);

/*
 * The least key greater than every key that begins with the writer's bytes, in place: an exclusive upper bound.
 * out:      false if there is none (all bytes FF); then the writer is empty, which stands for "no bound".
 */
bool wire_key_prefix_end(struct wire_writer *w);

/* The parts of an encoded key that every reader of the stores needs. Errors: WIRE_E_SHORT_INPUT. */
int wire_key_read_prefix(struct wire_reader *r, uint64_t *storage_id, uint16_t *index_id);

#endif
