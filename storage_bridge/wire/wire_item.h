/*
 * Items: the value under a key of the items store.
 *
 *   0  u8   format, 1
 *   1  u8   flags: 01 DELETED (an undecided delete: no attributes)
 *   2  u16  0
 *   4  u32  checksum of the bytes from 16 on, seeded with the format and flags (not with the version, which is stamped when the entry gets its place)
 *   8  u64  version, or a transaction id (top bit set) while the item is an intent
 *  16  u32  schema version of the table (0 in this release)
 *  20  declared attributes: varint count, then (varint attribute number >= 1, value) ascending
 *      named attributes:    varint count, then (varint length, name, value) in name order
 *
 * A declared attribute has the number of its column and is absent when the column is NULL. Key columns are in the key; one whose
 * key form is not injective (numeric: its scale) is kept here as well.
 *
 * Caller: anyone. Locks: none. Views borrow from the bytes read.
 */
#ifndef WIRE_ITEM_H
#define WIRE_ITEM_H

#include "wire_attr.h"
#include "wire_clock.h"

#define WIRE_ITEM_FORMAT 1
#define WIRE_ITEM_HEADER_SIZE 20
#define WIRE_ITEM_DELETED 0x01

struct wire_item {
    uint8_t flags;
    uint64_t version; /* or transaction id */
    uint32_t schema_version;
    uint32_t declared_count;
    uint32_t named_count;
    struct wire_reader declared; /* at the first pair */
    struct wire_reader named;    /* at the first pair */
    struct wire_span encoded;    /* the whole item */
};

/* A reference to one attribute: by number if number > 0, else by name. */
struct wire_attr_ref {
    uint32_t number;
    struct wire_span name;
};

/*
 * Take an item apart. `_open` verifies checksum and header and locates both lists (bounds only); `_check` verifies everything, every value included.
 * More than WIRE_ATTRIBUTES_MAX attributes are a bad format.
 * Errors:   WIRE_E_SHORT_INPUT, WIRE_E_BAD_VERSION, WIRE_E_BAD_CHECKSUM, WIRE_E_BAD_FORMAT; `_check` also WIRE_E_ORDER, WIRE_E_NESTING.
 */
int wire_item_open(const void *data, size_t size, struct wire_item *out);
/* Header and checksum alone, as `_open` does it. */
int wire_item_verify(const void *data, size_t size);
int wire_item_check(const void *data, size_t size);

/* The version field alone, without a check. size >= WIRE_ITEM_HEADER_SIZE must hold. */
uint64_t wire_item_version(const void *data);
/* Stamp a version into an encoded item; the checksum is unaffected. */
void wire_item_set_version(void *data, uint64_t version);

/* Iterate: declared first, then named; WIRE_E_NOT_FOUND behind the last. Advances item->declared and item->named and their counts.
 * Values are viewed, not checked (see wire_attr_view). Errors: those of wire_attr_view. */
int wire_item_next(struct wire_item *item, struct wire_attr_ref *ref, struct wire_attr *out);

/* Find one attribute from the start of the item (does not advance it). Errors: WIRE_E_NOT_FOUND, decoding errors. */
int wire_item_find(const struct wire_item *item, struct wire_attr_ref ref, struct wire_attr *out);

/*
 * Build: begin, declared attributes in ascending number, named ones in name order, end. Each `_add_` is followed by writing exactly one value to the writer.
 * A wrong order makes the end fail with WIRE_E_ORDER (a measuring writer does not see the order of names). Counts are patched by the end (which moves bytes: do not keep
 * pointers).
 */
struct wire_item_builder {
    struct wire_writer *w;
    size_t start;
    size_t named_start;
    uint32_t declared_count;
    uint32_t named_count;
    uint32_t last_number;
    size_t last_name_at; /* offsets in the writer */
    size_t last_name_size;
    bool deleted;
    bool disordered;
};
void wire_item_begin(struct wire_item_builder *b, struct wire_writer *w, uint8_t flags, uint64_t version,
                     uint32_t schema_version);
void wire_item_add_declared(struct wire_item_builder *b, uint32_t number);
void wire_item_add_named(struct wire_item_builder *b, struct wire_span name);
/* On error nothing is appended. Errors: WIRE_E_SHORT_BUFFER, WIRE_E_ORDER, WIRE_E_TOO_LARGE (more than WIRE_ATTRIBUTES_MAX), WIRE_E_BAD_FORMAT (DELETED with attributes). */
int wire_item_end(struct wire_item_builder *b);

/* Sum of counted sizes of all values plus the names of named attributes (declared names and key columns are added by the caller, who knows them).
 * From the start of the item, which is not advanced. Errors: those of wire_attr_view. */
int wire_item_counted_size(const struct wire_item *item, size_t *size);

#endif
