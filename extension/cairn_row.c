/*
 * Rows to bytes: a tuple's key and item as the stores have them. cairn_row_read.c is the way back.
 *
 * Happy path: key columns go through wire_key in key order, all other columns that are not null through wire_item by
 * attribute number, and the members of the catch-all column by name. Conversion follows the column's codec, chosen when
 * the table was described.
 *
 * Failure modes: keys that cannot be (null 23502, NaN 22003, empty 22023, too large 54000), a catch-all value that is
 * no object or names a declared column (22023), an item over the storage limit (54000). Messages name table, column and
 * limit.
 */
#include "cairn_row.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/float.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "cairn_error.h"
#include "cairn_opaque.h"

#include "wire_checksum.h"

/* --- growing buffers --- */

struct wire_writer cairn_buffer_writer(StringInfo out, Size room)
{
    enlargeStringInfo(out, (int) Min(room, MaxAllocSize));
    return wire_writer_of(out->data + out->len, (size_t) (out->maxlen - out->len - 1));
}

void cairn_buffer_reserve(StringInfo out, struct wire_writer *w, Size more)
{
    int base = out->len;

    if (w->capacity - w->size >= more)
        return;
    out->len = base + (int) w->size;
    enlargeStringInfo(out, (int) Min(more, MaxAllocSize));
    out->len = base;
    w->data = (uint8_t *) out->data + base;
    w->capacity = (size_t) (out->maxlen - base - 1);
}

void cairn_buffer_commit(StringInfo out, const struct wire_writer *w)
{
    if (w->failed)
        cairn_error_raise(WIRE_E_TOO_LARGE, NULL);
    out->len += (int) w->size;
    out->data[out->len] = '\0';
}

/* --- keys --- */

/* Why a value cannot be a key column; NULL: it can. */
typedef struct KeyFault {
    int sqlstate;
    const char *message;
} KeyFault;

static const char *column_name(Relation relation, AttrNumber number)
{
    return NameStr(TupleDescAttr(RelationGetDescr(relation), number - 1)->attname);
}

static int64 integer_of(Oid type, Datum value)
{
    switch (type) {
    case INT2OID:
        return DatumGetInt16(value);
    case INT4OID:
        return DatumGetInt32(value);
    default:
        return DatumGetInt64(value);
    }
}

static struct wire_span varlena_span(Datum value)
{
    struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);

    return (struct wire_span){(const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};
}

static struct wire_number number_of(Datum value)
{
    char *digits = DatumGetCString(DirectFunctionCall1(numeric_out, value));
    size_t size = strlen(digits) + 32;
    struct wire_writer w = wire_writer_of(palloc(size), size);
    struct wire_reader r;
    struct wire_number number;
    int code = wire_number_write_text(&w, digits, strlen(digits));

    if (code == WIRE_OK) {
        r = wire_reader_of(w.data, w.size);
        code = wire_number_read(&r, &number);
    }
    if (code != WIRE_OK)
        cairn_error_raise(code, NULL);
    return number;
}

static struct wire_key_value key_value_of(const CairnTable *table, const CairnKeyColumn *key, Datum value)
{
    struct wire_key_value out = {.type = key->type};

    switch (key->type) {
    case WIRE_KEY_BOOLEAN:
        out.boolean = DatumGetBool(value);
        break;
    case WIRE_KEY_INTEGER:
        out.integer = integer_of(table->columns[key->number - 1].type, value);
        break;
    case WIRE_KEY_NUMBER:
        out.number = number_of(value);
        break;
    case WIRE_KEY_DATE:
        out.integer = DatumGetDateADT(value);
        break;
    case WIRE_KEY_TIMESTAMP:
        out.integer = DatumGetTimestampTz(value);
        break;
    case WIRE_KEY_UUID:
        out.bytes = (struct wire_span){DatumGetUUIDP(value)->data, UUID_LEN};
        break;
    case WIRE_KEY_BYTES:
    case WIRE_KEY_TEXT:
        out.bytes = varlena_span(value);
        break;
    }
    return out;
}

static Size counted_key_size(const struct wire_key_value *value)
{
    struct wire_attr attr = {.type = WIRE_NUMBER, .number = value->number};

    switch (value->type) {
    case WIRE_KEY_BOOLEAN:
        return 1;
    case WIRE_KEY_INTEGER:
        attr.number = (struct wire_number){.form = WIRE_NUMBER_INTEGER, .integer = value->integer};
        return wire_attr_counted_size(&attr);
    case WIRE_KEY_NUMBER:
        return wire_attr_counted_size(&attr);
    case WIRE_KEY_DATE:
        return 4;
    case WIRE_KEY_TIMESTAMP:
        return 8;
    default:
        return value->bytes.size;
    }
}

static KeyFault check_key_value(const struct wire_key_value *value, bool partition, Size *total)
{
    Size limit = partition ? WIRE_PARTITION_KEY_SIZE_MAX : WIRE_SORT_KEY_SIZE_MAX;

    if ((value->type == WIRE_KEY_TEXT || value->type == WIRE_KEY_BYTES) && value->bytes.size == 0)
        return (KeyFault){ERRCODE_INVALID_PARAMETER_VALUE, "must not be empty"};
    if (value->type == WIRE_KEY_NUMBER && value->number.form >= WIRE_NUMBER_NAN)
        return (KeyFault){ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "must be a finite number"};
    *total += counted_key_size(value);
    if (*total > limit)
        return (KeyFault){ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL};
    return (KeyFault){0, NULL};
}

static void raise_key_fault(Relation relation, AttrNumber number, bool partition, Size size, KeyFault fault)
    pg_attribute_noreturn();
static void raise_key_fault(Relation relation, AttrNumber number, bool partition, Size size, KeyFault fault)
{
    if (fault.message)
        ereport(ERROR, (errcode(fault.sqlstate),
                        errmsg("key column \"%s\" of table %s %s", column_name(relation, number),
                               cairn_table_name(relation), fault.message),
                        errtablecol(relation, number)));
    ereport(ERROR,
            (errcode(fault.sqlstate),
             errmsg("%s key of table %s is larger than %d bytes", partition ? "partition" : "sort",
                    cairn_table_name(relation), partition ? WIRE_PARTITION_KEY_SIZE_MAX : WIRE_SORT_KEY_SIZE_MAX),
             errdetail("It has %zu bytes with column \"%s\".", size, column_name(relation, number)),
             errtablecol(relation, number)));
}

static int write_key_column(struct wire_writer *w, const CairnTable *table, int index,
                            const struct wire_key_value *value)
{
    bool hashed = index == 0 && table->hashed;
    size_t start = w->size;
    struct wire_writer hash;
    int code;

    if (hashed)
        wire_write_u32(w, 0);
    code = wire_key_write_column(w, value);
    if (code == WIRE_OK && hashed && !w->failed) {
        hash = wire_writer_of(w->data + start, WIRE_KEY_HASH_SIZE);
        start += WIRE_KEY_HASH_SIZE;
        wire_write_u32(&hash, wire_partition_hash(w->data + start, w->size - start));
    }
    return code == WIRE_OK ? wire_writer_finish(w) : code;
}

Size cairn_row_key(Relation relation, CairnTable *table, const Datum *values, const bool *nulls, uint8 *key)
{
    struct wire_writer w = wire_writer_of(key, WIRE_KEY_MAX);
    Size total = 0;

    wire_key_write_prefix(&w, table->storage_id, 0);
    for (int i = 0; i < table->key_count; i++) {
        AttrNumber number = table->key[i].number;
        struct wire_key_value value;
        KeyFault fault;
        int code;

        if (nulls[number - 1])
            ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
                            errmsg("null value in key column \"%s\" of table %s", column_name(relation, number),
                                   cairn_table_name(relation)),
                            errtablecol(relation, number)));
        value = key_value_of(table, &table->key[i], values[number - 1]);
        if (i == 1)
            total = 0;
        fault = check_key_value(&value, i == 0, &total);
        if (fault.sqlstate)
            raise_key_fault(relation, number, i == 0, total, fault);
        code = write_key_column(&w, table, i, &value);
        if (code != WIRE_OK)
            ereport(ERROR, (errcode(code == WIRE_E_SHORT_BUFFER ? ERRCODE_PROGRAM_LIMIT_EXCEEDED
                                                                : ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                            errmsg("key column \"%s\" of table %s: %s", column_name(relation, number),
                                   cairn_table_name(relation),
                                   wire_error_text(code == WIRE_E_SHORT_BUFFER ? WIRE_E_KEY_SIZE : code)),
                            errtablecol(relation, number)));
    }
    return w.size;
}

Size cairn_row_key_prefix(Relation relation, CairnTable *table, const Datum *values, int count, uint8 *key)
{
    struct wire_writer w = wire_writer_of(key, WIRE_KEY_MAX);
    Size total = 0;

    wire_key_write_prefix(&w, table->storage_id, 0);
    for (int i = 0; i < count; i++) {
        struct wire_key_value value = key_value_of(table, &table->key[i], values[i]);

        if (i == 1)
            total = 0;
        if (check_key_value(&value, i == 0, &total).sqlstate || write_key_column(&w, table, i, &value) != WIRE_OK)
            return 0;
    }
    return w.size;
}

void cairn_row_key_sizes(Relation relation, CairnTable *table, struct wire_span key, Size *partition, Size *sort)
{
    struct wire_reader r = wire_reader_of(key.data, key.size);
    struct wire_writer scratch = wire_writer_of(palloc(WIRE_KEY_MAX), WIRE_KEY_MAX);

    *partition = *sort = 0;
    (void) wire_read_bytes(&r, WIRE_KEY_PREFIX_SIZE + (table->hashed ? WIRE_KEY_HASH_SIZE : 0));
    for (int i = 0; i < table->key_count; i++) {
        struct wire_key_value value;
        int code = wire_key_read_column(&r, &scratch, &value);

        if (code != WIRE_OK) {
            CairnSubject subject = {cairn_table_name(relation), NULL, "read key"};

            cairn_error_raise(WIRE_E_CORRUPT, &subject);
        }
        *(i == 0 ? partition : sort) += counted_key_size(&value);
    }
    pfree(scratch.data);
}

/* --- items --- */

static void write_opaque(StringInfo out, struct wire_writer *w, const void *bytes, size_t size)
{
    cairn_buffer_reserve(out, w, size + 16);
    wire_attr_write_bytes(w, WIRE_OPAQUE, bytes, size);
}

static void write_jsonb(Datum value, StringInfo out, struct wire_writer *w)
{
    Jsonb *jsonb = DatumGetJsonbP(value);
    JsonbValue root;

    if (!JsonbExtractScalar(&jsonb->root, &root)) {
        root.type = jbvBinary;
        root.val.binary.data = &jsonb->root;
        root.val.binary.len = (int) VARSIZE(jsonb) - VARHDRSZ;
    }
    cairn_buffer_reserve(out, w, cairn_jsonb_room(&root));
    cairn_jsonb_put(w, &root, false);
}

static void write_numeric(Datum value, StringInfo out, struct wire_writer *w)
{
    char *digits = DatumGetCString(DirectFunctionCall1(numeric_out, value));
    int code;

    cairn_buffer_reserve(out, w, strlen(digits) + 32);
    code = wire_attr_write_number(w, digits, strlen(digits));
    if (code != WIRE_OK)
        cairn_error_raise(code, NULL);
    pfree(digits);
}

void cairn_row_write_value(const CairnColumn *column, Datum value, StringInfo out, struct wire_writer *w)
{
    struct wire_span bytes;

    cairn_buffer_reserve(out, w, 16);
    switch (column->codec) {
    case CAIRN_CODEC_BOOLEAN:
        wire_attr_write_boolean(w, DatumGetBool(value));
        break;
    case CAIRN_CODEC_INT2:
    case CAIRN_CODEC_INT4:
    case CAIRN_CODEC_INT8:
        wire_attr_write_integer(w, integer_of(column->type, value));
        break;
    case CAIRN_CODEC_NUMERIC:
        write_numeric(value, out, w);
        break;
    case CAIRN_CODEC_TEXT:
    case CAIRN_CODEC_BYTEA:
        bytes = varlena_span(value);
        cairn_buffer_reserve(out, w, bytes.size + 16);
        wire_attr_write_bytes(w, column->codec == CAIRN_CODEC_TEXT ? WIRE_STRING : WIRE_BINARY, bytes.data, bytes.size);
        break;
    case CAIRN_CODEC_JSONB:
        write_jsonb(value, out, w);
        break;
    case CAIRN_CODEC_RAW:
    case CAIRN_CODEC_BINARY:
    case CAIRN_CODEC_STRING:
        bytes = cairn_opaque_bytes(column, value);
        write_opaque(out, w, bytes.data, bytes.size);
        break;
    }
}

void cairn_row_write_null(const CairnColumn *column, StringInfo out, struct wire_writer *w)
{
    /* A jsonb column may hold JSON's null itself: its marker is what no jsonb can be. */
    if (column->codec == CAIRN_CODEC_JSONB)
        write_opaque(out, w, "", 0);
    else {
        cairn_buffer_reserve(out, w, 16);
        wire_attr_write_null(w);
    }
}

/* Where in a row a jsonb value is that the item model cannot hold. */
typedef struct RowPlace {
    ErrorContextCallback callback;
    Relation relation;
    AttrNumber column;
} RowPlace;

static void tell_place(void *argument)
{
    const RowPlace *place = argument;

    errcontext("column \"%s\" of table %s", column_name(place->relation, place->column),
               cairn_table_name(place->relation));
}

static void enter_place(RowPlace *place, Relation relation, AttrNumber column)
{
    place->callback = (ErrorContextCallback){error_context_stack, tell_place, place};
    place->relation = relation;
    place->column = column;
    error_context_stack = &place->callback;
}

static void leave_place(const RowPlace *place)
{
    error_context_stack = place->callback.previous;
}

/* The catch-all column's object, or NULL if there are no members to store. */
static Jsonb *attributes_object(Relation relation, const CairnTable *table, Datum value)
{
    Jsonb *jsonb = DatumGetJsonbP(value);

    if (!JB_ROOT_IS_OBJECT(jsonb))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("column \"%s\" of table %s must be a JSON object",
                               column_name(relation, table->attributes_number), cairn_table_name(relation)),
                        errdetail("It holds the attributes that no column declares."),
                        errtablecol(relation, table->attributes_number)));
    return JB_ROOT_COUNT(jsonb) > 0 ? jsonb : NULL;
}

/* A null column, or an empty catch-all, as far as it must be told from an absent one. */
static void write_absent(Relation relation, CairnTable *table, int i, bool null, struct wire_item_builder *builder,
                         StringInfo out, struct wire_writer *w)
{
    Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), i);

    cairn_buffer_reserve(out, w, 16);
    if (null && attribute->atthasmissing) {
        wire_item_add_declared(builder, (uint32) (i + 1));
        cairn_row_write_null(&table->columns[i], out, w);
    } else if (!null && !attribute->attnotnull) {
        wire_item_add_declared(builder, (uint32) (i + 1));
        wire_attr_end(w, wire_attr_begin(w, WIRE_MAP), 0);
    }
}

static void write_named(Relation relation, CairnTable *table, Jsonb *object, struct wire_item_builder *builder,
                        StringInfo out, struct wire_writer *w)
{
    JsonbIterator *it = JsonbIteratorInit(&object->root);
    JsonbIteratorToken token;
    JsonbValue value;
    AttrNumber column;

    (void) JsonbIteratorNext(&it, &value, true);
    while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_END_OBJECT) {
        if (token == WJB_VALUE) {
            cairn_buffer_reserve(out, w, cairn_jsonb_room(&value));
            cairn_jsonb_put(w, &value, false);
            continue;
        }
        column = cairn_table_column(relation, table, value.val.string.val, (Size) value.val.string.len);
        if (column)
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("attribute \"%s\" in column \"%s\" of table %s is a column of its own",
                                   column_name(relation, column), column_name(relation, table->attributes_number),
                                   cairn_table_name(relation)),
                            errtablecol(relation, table->attributes_number)));
        cairn_buffer_reserve(out, w, (Size) value.val.string.len + 16);
        wire_item_add_named(builder,
                            (struct wire_span){(const uint8_t *) value.val.string.val, (size_t) value.val.string.len});
    }
}

void cairn_row_finish_item(Relation relation, struct wire_item_builder *builder, StringInfo out, struct wire_writer *w)
{
    int code;

    cairn_buffer_reserve(out, w, 16);
    code = wire_item_end(builder);
    if (code == WIRE_OK && w->size > WIRE_STORED_ITEM_MAX)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("row of table %s is larger than %d kB", cairn_table_name(relation),
                               WIRE_STORED_ITEM_MAX / 1024),
                        errdetail("It has %zu bytes as stored.", w->size)));
    if (code != WIRE_OK) {
        CairnSubject subject = {cairn_table_name(relation), NULL, "encode item"};

        cairn_error_raise(code, &subject);
    }
    cairn_buffer_commit(out, w);
}

void cairn_row_item_as(Relation relation, CairnTable *table, const Datum *values, const bool *nulls, bool stored,
                       StringInfo out)
{
    struct wire_writer w = cairn_buffer_writer(out, 1024);
    struct wire_item_builder builder;
    Jsonb *named = NULL;
    RowPlace place;

    wire_item_begin(&builder, &w, 0, 0, 0);
    for (int i = 0; i < table->column_count; i++) {
        const CairnColumn *column = &table->columns[i];
        bool attributes = column->number == table->attributes_number && !column->dropped;

        if (column->dropped || (column->key_position && !table->key[column->key_position - 1].keep_value))
            continue;
        if (attributes && !nulls[i])
            named = attributes_object(relation, table, values[i]);
        if (nulls[i] || (attributes && !named)) {
            if (stored)
                write_absent(relation, table, i, nulls[i], &builder, out, &w);
        } else if (!attributes) {
            cairn_buffer_reserve(out, &w, 16);
            wire_item_add_declared(&builder, (uint32) (i + 1));
            enter_place(&place, relation, column->number);
            cairn_row_write_value(column, values[i], out, &w);
            leave_place(&place);
        }
    }
    if (named) {
        enter_place(&place, relation, table->attributes_number);
        write_named(relation, table, named, &builder, out, &w);
        leave_place(&place);
    }
    cairn_row_finish_item(relation, &builder, out, &w);
}

void cairn_row_item(Relation relation, CairnTable *table, const Datum *values, const bool *nulls, StringInfo out)
{
    cairn_row_item_as(relation, table, values, nulls, true, out);
}
