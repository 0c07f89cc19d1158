/*
 * Attribute values: one type byte, then
 *
 *   NULL none | BOOLEAN 00 or 01 | NUMBER wire_number | STRING, BINARY, OPAQUE varint length, bytes
 *   LIST     varint body size, varint count, values
 *   MAP      varint body size, varint count, (varint length, name, value) in name order
 *   STRING_SET, NUMBER_SET, BINARY_SET  varint body size, varint count, members without type byte: span, wire_number, span; ascending, no two equal, never empty;
 *            spans in byte order, a prefix first (wire_span_compare), numbers by value
 *
 * The body size counts everything after itself. Name order is PostgreSQL's jsonb order: the shorter first, equal lengths by bytes. The order makes the form canonical but for
 * the scale of numbers. OPAQUE carries a SQL type that the item model lacks; only the column's type can read it. STRING is valid UTF-8 without zero
 * bytes (not checked here: the Postgres side checks what enters, and a corrupted store is found by checksums).
 * Nesting is at most WIRE_NESTING_MAX; a scalar or set has depth 0, an empty list or map 1, another one more than its deepest member.
 *
 * Caller: anyone. Locks: none. Views borrow from the bytes read.
 */
#ifndef WIRE_ATTR_H
#define WIRE_ATTR_H

#include "wire_bytes.h"
#include "wire_limits.h"
#include "wire_number.h"

enum wire_type {
    WIRE_NULL = 1,
    WIRE_BOOLEAN = 2,
    WIRE_NUMBER = 3,
    WIRE_STRING = 4,
    WIRE_BINARY = 5,
    WIRE_LIST = 6,
    WIRE_MAP = 7,
    WIRE_STRING_SET = 8,
    WIRE_NUMBER_SET = 9,
    WIRE_BINARY_SET = 10,
    WIRE_OPAQUE = 11
};

/* One value, taken apart one level deep. */
struct wire_attr {
    enum wire_type type;
    struct wire_span encoded;  /* the whole value, type byte included */
    bool boolean;              /* BOOLEAN */
    struct wire_number number; /* NUMBER */
    struct wire_span bytes;    /* STRING, BINARY, OPAQUE */
    uint32_t count;            /* LIST, MAP and sets: members */
    struct wire_reader body;   /* LIST, MAP and sets: positioned at the first member */
};

/*
 * Read one value and check it completely, members included.
 * Errors:   WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT, WIRE_E_NESTING, WIRE_E_ORDER (a name or member twice as well). r->failed is set on each.
 */
int wire_attr_read(struct wire_reader *r, struct wire_attr *out);

/* As wire_attr_read for bytes that were checked before (item checksum verified): checks bounds only, does not descend. */
int wire_attr_view(struct wire_reader *r, struct wire_attr *out);

/* Members, in order, after wire_attr_read or wire_attr_view; each returns WIRE_E_NOT_FOUND behind the last. The body advances, the count stays.
 * Errors:   WIRE_E_TYPE if it is no such container; after wire_attr_view also those of wire_attr_view. */
int wire_attr_next_element(struct wire_attr *list, struct wire_attr *out);
int wire_attr_next_entry(struct wire_attr *map, struct wire_span *name, struct wire_attr *out);
int wire_attr_next_bytes(struct wire_attr *set, struct wire_span *out);    /* string and binary sets */
int wire_attr_next_number(struct wire_attr *set, struct wire_number *out); /* number sets */

/* Name order of maps and items: <0, 0, >0. */
int wire_name_compare(struct wire_span a, struct wire_span b);

/* Equality as DynamoDB's "=": same type, numbers by value, sets and maps by members. Both must have been checked; neither is advanced, but lists, maps and sets are compared from where their
 * bodies stand. */
bool wire_attr_equal(const struct wire_attr *a, const struct wire_attr *b);

/* Size as DynamoDB counts it (docs: "Item sizes and formats"): strings and binary their bytes; numbers (significant digits + 1) / 2 + 1, one more if negative;
 * null and boolean 1; lists and maps 3, plus 1 a member, plus the members with their names; sets their members; opaque its bytes. Members are
 * counted from where the body stands. It must have been checked. */
size_t wire_attr_counted_size(const struct wire_attr *attr);

/* Scalars. wire_attr_write_number: errors as wire_number_write_text, and then nothing is appended. wire_attr_write_bytes fails the writer on another type. */
void wire_attr_write_null(struct wire_writer *w);
void wire_attr_write_boolean(struct wire_writer *w, bool value);
void wire_attr_write_integer(struct wire_writer *w, int64_t value);
int wire_attr_write_number(struct wire_writer *w, const char *text, size_t size);
void wire_attr_write_bytes(struct wire_writer *w, enum wire_type type, const void *data,
                           size_t size); /* STRING, BINARY, OPAQUE */

/*
 * Containers: begin, write the members (for a map: wire_write_span(name) and a value each, in name order; for sets: members without type byte, sorted), end.
 * The count and the body size are patched by the end, which moves the body by the bytes they need. On a measuring writer both are right too.
 */
struct wire_container {
    size_t start; /* writer size at the type byte */
};
struct wire_container wire_attr_begin(struct wire_writer *w, enum wire_type type);
void wire_attr_end(struct wire_writer *w, struct wire_container container, uint32_t count);

/* Sort and write a set from members; duplicates (by value) fail. For NUMBER_SET each member is an encoded wire_number; else raw bytes. On error nothing is appended.
 * members:  array[count], reordered in place; count >= 1. Errors: WIRE_E_DUPLICATE, WIRE_E_BAD_FORMAT (empty, or a bad number), WIRE_E_SHORT_BUFFER. */
int wire_attr_write_set(struct wire_writer *w, enum wire_type type, struct wire_span *members, uint32_t count);

#endif
