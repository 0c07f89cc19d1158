/*
 * Rows and bytes: a tuple's key and value as the stores have them, and back.
 *
 * A row = encoded key (wire_key.h) + encoded item (wire_item.h). Key columns live in the key; a numeric key column's
 * original scale also in the item.
 */
#ifndef CAIRN_ROW_H
#define CAIRN_ROW_H

#include "cairn_table.h"

#include "executor/tuptable.h"
#include "lib/stringinfo.h"

#include "wire_item.h"

/*
 * Encode the key of a row (values, nulls: arrays by attribute number - 1) into key[WIRE_KEY_MAX]. Returns its size.
 * Errors:   23502 null key column; 22P02/22003 NaN, infinity or more than 38 digits; 54000 key limits (DynamoDB's,
 * naming table, column and limit); 22023 empty text or bytea key.
 */
Size cairn_row_key(Relation relation, CairnTable *table, const Datum *values, const bool *nulls, uint8 *key);

/*
 * As above for some leading columns given as key-column datums (index scans): `count` columns in key order; 0 columns
 * give the prefix of the whole table, without a partition hash. Returns 0, and raises nothing, if no stored key can
 * have these values (empty, too large, not finite, more than 38 digits).
 */
Size cairn_row_key_prefix(Relation relation, CairnTable *table, const Datum *values, int count, uint8 *key);

/* The size of the partition key and of the sort key (all further columns) as DynamoDB counts them. Errors: XX001. */
void cairn_row_key_sizes(Relation relation, CairnTable *table, struct wire_span key, Size *partition, Size *sort);

/* Append the item (version 0) to `out`. detoasts. Errors: 54000 if the encoded item passes WIRE_STORED_ITEM_MAX; 22023
 * jsonb that the item model cannot hold. */
void cairn_row_item(Relation relation, CairnTable *table, const Datum *values, const bool *nulls, StringInfo out);

/*
 * As above with a choice. stored: what cairn_row_item writes, where a column that has a missing value (ADD COLUMN ...
 * DEFAULT) and the catch-all column tell NULL from absent by a marker. Otherwise exactly the attributes that the item
 * API shows, as conditions and updates want them: absent is NULL, no markers; cairn_row_decode_as(stored = false) reads
 * that form back.
 */
void cairn_row_item_as(Relation relation, CairnTable *table, const Datum *values, const bool *nulls, bool stored,
                       StringInfo out);
void cairn_row_decode_as(Relation relation, CairnTable *table, struct wire_span key, struct wire_span item, bool stored,
                         Datum *values, bool *nulls);

/* Append one column's value, not null, to an item under construction; the attribute number was added. `out` is what `w`
 * writes to (cairn_buffer_writer): it grows as needed. */
void cairn_row_write_value(const CairnColumn *column, Datum value, StringInfo out, struct wire_writer *w);
/* The marker "this column is NULL" where absent would mean its missing value. */
void cairn_row_write_null(const CairnColumn *column, StringInfo out, struct wire_writer *w);
bool cairn_row_is_null_marker(const CairnColumn *column, const struct wire_attr *attr);
/* Finish an item that was built at the end of `out`. Errors: 54000, 22023. */
void cairn_row_finish_item(Relation relation, struct wire_item_builder *builder, StringInfo out, struct wire_writer *w);
/* One attribute as the column's Datum. Errors: XX001. */
Datum cairn_row_read_value(Relation relation, const CairnColumn *column, struct wire_attr *attr);

/*
 * Decode into values/nulls (natts). Datums are allocated in the current memory context. needed: attribute numbers
 * wanted as a bitmap, NULL = all. Columns added after the row was written come back as their missing value (ADD COLUMN
 * ... DEFAULT). Errors: XX001 with table and key.
 */
void cairn_row_decode(Relation relation, CairnTable *table, struct wire_span key, struct wire_span item, Datum *values,
                      bool *nulls);

/* A key printed for messages: (Artist, SongTitle)=(No One You Know, Call Me Today), long values cut. palloc'd. Never
 * fails: bytes that are no key print as hex. */
char *cairn_row_key_text(Relation relation, CairnTable *table, struct wire_span key);

/* jsonb <-> attribute values (cairn_jsonb.c). See docs/item-model.md for the tags. */
struct JsonbValue;
/* Append the encoding of one jsonb value. Errors: 22003 number limits if item_api, 54000 nesting, 22023 bad tag. */
void cairn_jsonb_write(StringInfo out, struct JsonbValue *value, bool item_api);
/* The same through a writer that has room for cairn_jsonb_room bytes. */
void cairn_jsonb_put(struct wire_writer *w, struct JsonbValue *value, bool item_api);
Size cairn_jsonb_room(struct JsonbValue *value);
/* Append a number. Errors: 22003 DynamoDB's limits if item_api. */
void cairn_jsonb_put_number(struct wire_writer *w, Datum numeric, bool item_api);
/* Is `name` of the form that marks a tagged value: "$" and capital letters? */
bool cairn_jsonb_is_tag(const char *name, int size);
/* If `value` is {"$B": ...}: its bytes in *out, palloc'd. Errors: 22023 bad base64. */
bool cairn_jsonb_binary(struct JsonbValue *value, struct wire_span *out);
/* Push one value to a JsonbParseState-like builder: returns a JsonbValue in the current context. */
struct JsonbValue *cairn_jsonb_read(struct wire_attr *attr);
/* A number as a numeric Datum. */
Datum cairn_jsonb_numeric(const struct wire_number *number);
/* An object from pairs in name order; their values may be parts of other jsonb. */
struct JsonbPair;
void cairn_jsonb_sort(struct JsonbPair *pairs, int count);
Datum cairn_jsonb_object(struct JsonbPair *pairs, int count);
/* {"tag": payload}. */
void cairn_jsonb_tagged(struct JsonbValue *out, const char *tag, struct JsonbValue *payload);
/* {"$B": base64}. */
void cairn_jsonb_binary_value(struct JsonbValue *out, struct wire_span bytes);

/* A whole item as a jsonb object, as get_item returns it: key columns, declared columns that are not null, named
 * attributes, all at top level. */
Datum cairn_row_to_jsonb(Relation relation, CairnTable *table, struct wire_span key, struct wire_span item);

/* Write through a StringInfo with the wire functions: reserve, write, commit. */
struct wire_writer cairn_buffer_writer(StringInfo out, Size room);
void cairn_buffer_reserve(StringInfo out, struct wire_writer *writer,
                          Size more); /* what is written stays; offsets stay, pointers do not */
void cairn_buffer_commit(StringInfo out, const struct wire_writer *writer); /* raises 54000 if it overflowed */

#endif
