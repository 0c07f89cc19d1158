/*
 * Bytes to rows: keys and items as tuples, as jsonb and as text for messages. cairn_row.c is the way there.
 *
 * Happy path: the checksum is verified once, then key columns and attributes are read in order, each by its column's
 * codec.
 *
 * Failure modes: bytes that do not decode raise XX001 with table and key; attributes of dropped columns are passed
 * over; columns that are younger than the row take their missing value.
 */
#include "cairn_row.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "cairn_error.h"
#include "cairn_opaque.h"

#define SHOWN_BYTES_MAX 60

/* Where a damaged value was found, for the message. */
typedef struct RowSource {
    Relation relation;
    CairnTable *table;
    struct wire_span key;
} RowSource;

static void raise_damage(const RowSource *source, int code) pg_attribute_noreturn();
static void raise_damage(const RowSource *source, int code)
{
    CairnSubject subject = {cairn_table_name(source->relation), NULL, "read item"};

    if (source->table)
        subject.key = cairn_row_key_text(source->relation, source->table, source->key);
    cairn_error_raise(code == WIRE_E_TYPE || code == WIRE_E_NOT_FOUND ? WIRE_E_CORRUPT : code, &subject);
}

/* --- values --- */

static Datum varlena_of(struct wire_span bytes)
{
    struct varlena *result = palloc(VARHDRSZ + bytes.size);

    SET_VARSIZE(result, VARHDRSZ + bytes.size);
    memcpy(VARDATA(result), bytes.data, bytes.size);
    return PointerGetDatum(result);
}

static int integer_in_range(const CairnColumn *column, const struct wire_number *number, Datum *out)
{
    int64_t value = 0;
    int code = wire_number_to_integer(number, &value);

    if (code == WIRE_OK && ((column->codec == CAIRN_CODEC_INT2 && (value < PG_INT16_MIN || value > PG_INT16_MAX)) ||
                            (column->codec == CAIRN_CODEC_INT4 && (value < PG_INT32_MIN || value > PG_INT32_MAX))))
        code = WIRE_E_NUMBER_RANGE;
    *out = column->codec == CAIRN_CODEC_INT2   ? Int16GetDatum((int16) value)
           : column->codec == CAIRN_CODEC_INT4 ? Int32GetDatum((int32) value)
                                               : Int64GetDatum(value);
    return code;
}

static Datum jsonb_datum(JsonbValue *value)
{
    return JsonbPGetDatum(JsonbValueToJsonb(value));
}

static enum wire_type codec_type(CairnColumnCodec codec)
{
    switch (codec) {
    case CAIRN_CODEC_BOOLEAN:
        return WIRE_BOOLEAN;
    case CAIRN_CODEC_INT2:
    case CAIRN_CODEC_INT4:
    case CAIRN_CODEC_INT8:
    case CAIRN_CODEC_NUMERIC:
        return WIRE_NUMBER;
    case CAIRN_CODEC_TEXT:
        return WIRE_STRING;
    case CAIRN_CODEC_BYTEA:
        return WIRE_BINARY;
    default:
        return WIRE_OPAQUE;
    }
}

static int read_value(const CairnColumn *column, struct wire_attr *attr, Datum *out)
{
    if (column->codec == CAIRN_CODEC_JSONB) {
        *out = jsonb_datum(cairn_jsonb_read(attr));
        return WIRE_OK;
    }
    if (attr->type != codec_type(column->codec))
        return WIRE_E_CORRUPT;
    switch (column->codec) {
    case CAIRN_CODEC_BOOLEAN:
        *out = BoolGetDatum(attr->boolean);
        return WIRE_OK;
    case CAIRN_CODEC_INT2:
    case CAIRN_CODEC_INT4:
    case CAIRN_CODEC_INT8:
        return integer_in_range(column, &attr->number, out) == WIRE_OK ? WIRE_OK : WIRE_E_CORRUPT;
    case CAIRN_CODEC_NUMERIC:
        *out = cairn_jsonb_numeric(&attr->number);
        return WIRE_OK;
    case CAIRN_CODEC_TEXT:
    case CAIRN_CODEC_BYTEA:
        *out = varlena_of(attr->bytes);
        return WIRE_OK;
    default:
        *out = cairn_opaque_value(column, attr->bytes);
        return WIRE_OK;
    }
}

Datum cairn_row_read_value(Relation relation, const CairnColumn *column, struct wire_attr *attr)
{
    RowSource source = {.relation = relation};
    Datum value;
    int code = read_value(column, attr, &value);

    if (code != WIRE_OK)
        raise_damage(&source, code);
    return value;
}

bool cairn_row_is_null_marker(const CairnColumn *column, const struct wire_attr *attr)
{
    if (column->codec == CAIRN_CODEC_JSONB)
        return attr->type == WIRE_OPAQUE && attr->bytes.size == 0;
    return attr->type == WIRE_NULL;
}

/* --- keys --- */

static int key_datum(const CairnTable *table, const CairnKeyColumn *key, const struct wire_key_value *value, Datum *out)
{
    const CairnColumn *column = &table->columns[key->number - 1];
    struct wire_number number = {.form = WIRE_NUMBER_INTEGER, .integer = value->integer};
    pg_uuid_t *uuid;

    if (value->type != key->type)
        return WIRE_E_CORRUPT;
    switch (key->type) {
    case WIRE_KEY_BOOLEAN:
        *out = BoolGetDatum(value->boolean);
        return WIRE_OK;
    case WIRE_KEY_INTEGER:
        return integer_in_range(column, &number, out) == WIRE_OK ? WIRE_OK : WIRE_E_CORRUPT;
    case WIRE_KEY_NUMBER:
        *out = cairn_jsonb_numeric(&value->number);
        return WIRE_OK;
    case WIRE_KEY_DATE:
        *out = DateADTGetDatum((DateADT) value->integer);
        return WIRE_OK;
    case WIRE_KEY_TIMESTAMP:
        *out = TimestampTzGetDatum(value->integer);
        return WIRE_OK;
    case WIRE_KEY_UUID:
        uuid = palloc(sizeof(*uuid));
        memcpy(uuid->data, value->bytes.data, UUID_LEN);
        *out = UUIDPGetDatum(uuid);
        return WIRE_OK;
    case WIRE_KEY_BYTES:
    case WIRE_KEY_TEXT:
        *out = varlena_of(value->bytes);
        return WIRE_OK;
    }
    return WIRE_E_CORRUPT;
}

static int decode_key(CairnTable *table, struct wire_span key, Datum *values, bool *nulls)
{
    struct wire_reader r = wire_reader_of(key.data, key.size);
    Size room = key.size * 2 + 64;
    struct wire_writer scratch = wire_writer_of(palloc(room), room);
    int code = WIRE_OK;

    (void) wire_read_bytes(&r, WIRE_KEY_PREFIX_SIZE + (table->hashed ? WIRE_KEY_HASH_SIZE : 0));
    for (int i = 0; i < table->key_count && code == WIRE_OK; i++) {
        AttrNumber number = table->key[i].number;
        struct wire_key_value value;

        scratch.size = 0;
        code = wire_key_read_column(&r, &scratch, &value);
        if (code == WIRE_OK)
            code = key_datum(table, &table->key[i], &value, &values[number - 1]);
        nulls[number - 1] = code != WIRE_OK;
    }
    pfree(scratch.data);
    return code == WIRE_OK ? wire_reader_finish(&r) : code;
}

/* --- whole rows --- */

/* Members of the catch-all column, gathered from the named attributes. */
typedef struct NamedMembers {
    JsonbPair *pairs;
    uint32 count;
    bool empty_marker; /* an empty object was written */
    bool null_marker;
} NamedMembers;

static void add_named(NamedMembers *named, struct wire_span name, struct wire_attr *attr)
{
    JsonbPair *pair = &named->pairs[named->count];

    memset(pair, 0, sizeof(*pair));
    pair->key.type = jbvString;
    pair->key.val.string.val = (char *) name.data;
    pair->key.val.string.len = (int) name.size;
    pair->value = *cairn_jsonb_read(attr);
    pair->order = named->count++;
}

static int read_attributes(const RowSource *source, struct wire_item *item, Datum *values, bool *nulls, bool *found,
                           NamedMembers *named)
{
    CairnTable *table = source->table;
    struct wire_attr_ref ref;
    struct wire_attr attr;
    int code;

    while ((code = wire_item_next(item, &ref, &attr)) == WIRE_OK) {
        const CairnColumn *column;

        if (ref.number == 0) {
            /* A column that was added or renamed later hides a member of its name. */
            if (named->pairs &&
                !cairn_table_column(source->relation, table, (const char *) ref.name.data, ref.name.size))
                add_named(named, ref.name, &attr);
            continue;
        }
        if (ref.number > (uint32) table->column_count || table->columns[ref.number - 1].dropped)
            continue;
        column = &table->columns[ref.number - 1];
        found[ref.number - 1] = true;
        if (cairn_row_is_null_marker(column, &attr)) {
            if (column->number == table->attributes_number)
                named->null_marker = true;
        } else if (column->number == table->attributes_number)
            named->empty_marker = true;
        else {
            code = read_value(column, &attr, &values[ref.number - 1]);
            if (code != WIRE_OK)
                return code;
            nulls[ref.number - 1] = false;
        }
    }
    return code == WIRE_E_NOT_FOUND ? WIRE_OK : code;
}

static void settle_attributes(Relation relation, CairnTable *table, const NamedMembers *named, Datum *values,
                              bool *nulls)
{
    int i = table->attributes_number - 1;
    JsonbValue object = {.type = jbvObject};

    /* Nothing stored: NULL, or its missing value, which stands in values[] already, or the empty object where NULL
     * cannot be. */
    if (named->count == 0 && !named->empty_marker &&
        (named->null_marker || !nulls[i] || !TupleDescAttr(RelationGetDescr(relation), i)->attnotnull))
        return;
    object.val.object.pairs = named->pairs;
    object.val.object.nPairs = (int) named->count;
    values[i] = jsonb_datum(&object);
    nulls[i] = false;
}

static void open_item(const RowSource *source, struct wire_span bytes, struct wire_item *item)
{
    int code = wire_item_open(bytes.data, bytes.size, item);

    if (code != WIRE_OK)
        raise_damage(source, code);
}

/* Everything but the catch-all column, whose members go to named->pairs (room for all of them) unless that is NULL. */
static void decode_row(const RowSource *source, struct wire_item *item, bool stored, Datum *values, bool *nulls,
                       NamedMembers *named, bool *found)
{
    CairnTable *table = source->table;
    TupleDesc descriptor = RelationGetDescr(source->relation);
    int code;

    for (int i = 0; i < table->column_count; i++) {
        values[i] = (Datum) 0;
        nulls[i] = true;
        found[i] = false;
    }
    code = decode_key(table, source->key, values, nulls);
    if (code == WIRE_OK)
        code = read_attributes(source, item, values, nulls, found, named);
    if (code != WIRE_OK)
        raise_damage(source, code);
    for (int i = 0; i < table->column_count && stored; i++)
        if (!found[i] && !table->columns[i].key_position && TupleDescAttr(descriptor, i)->atthasmissing &&
            !table->columns[i].dropped && !(i + 1 == table->attributes_number && named->count > 0))
            values[i] = getmissingattr(descriptor, i + 1, &nulls[i]);
}

void cairn_row_decode_as(Relation relation, CairnTable *table, struct wire_span key, struct wire_span item_bytes,
                         bool stored, Datum *values, bool *nulls)
{
    RowSource source = {relation, table, key};
    bool *found = palloc((Size) table->column_count * sizeof(bool));
    NamedMembers named = {0};
    struct wire_item item;

    open_item(&source, item_bytes, &item);
    if (table->attributes_number)
        named.pairs = palloc((Size) Max(item.named_count, 1) * sizeof(*named.pairs));
    decode_row(&source, &item, stored, values, nulls, &named, found);
    if (table->attributes_number)
        settle_attributes(relation, table, &named, values, nulls);
    pfree(found);
}

void cairn_row_decode(Relation relation, CairnTable *table, struct wire_span key, struct wire_span item, Datum *values,
                      bool *nulls)
{
    cairn_row_decode_as(relation, table, key, item, true, values, nulls);
}

/* --- rows as jsonb --- */

/* to_jsonb() for a type that the item model lacks: it reads its argument's type from the calling expression, so one is
 * made for it. */
static Datum generic_jsonb(Oid type, Datum value)
{
    FmgrInfo function;
    Node *argument = (Node *) makeNullConst(type, -1, InvalidOid);
    FuncExpr *call =
        makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(argument), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);

    fmgr_info(F_TO_JSONB, &function);
    fmgr_info_set_expr((Node *) call, &function);
    return FunctionCall1(&function, value);
}

static void jsonb_value_of(Datum datum, JsonbValue *out)
{
    Jsonb *jsonb = DatumGetJsonbP(datum);

    if (!JsonbExtractScalar(&jsonb->root, out)) {
        out->type = jbvBinary;
        out->val.binary.data = &jsonb->root;
        out->val.binary.len = (int) VARSIZE(jsonb) - VARHDRSZ;
    }
}

static void number_value(Datum numeric, JsonbValue *out)
{
    JsonbValue payload = {.type = jbvString};

    if (!numeric_is_nan(DatumGetNumeric(numeric)) && !numeric_is_inf(DatumGetNumeric(numeric))) {
        out->type = jbvNumeric;
        out->val.numeric = DatumGetNumeric(numeric);
        return;
    }
    payload.val.string.val = DatumGetCString(DirectFunctionCall1(numeric_out, numeric));
    payload.val.string.len = (int) strlen(payload.val.string.val);
    cairn_jsonb_tagged(out, "$N", &payload);
}

/* A column's Datum as the item API shows it. */
static void column_value(const CairnColumn *column, Datum value, JsonbValue *out)
{
    struct varlena *bytes;

    switch (column->codec) {
    case CAIRN_CODEC_BOOLEAN:
        out->type = jbvBool;
        out->val.boolean = DatumGetBool(value);
        return;
    case CAIRN_CODEC_INT2:
        out->type = jbvNumeric;
        out->val.numeric = int64_to_numeric(DatumGetInt16(value));
        return;
    case CAIRN_CODEC_INT4:
        out->type = jbvNumeric;
        out->val.numeric = int64_to_numeric(DatumGetInt32(value));
        return;
    case CAIRN_CODEC_INT8:
        out->type = jbvNumeric;
        out->val.numeric = int64_to_numeric(DatumGetInt64(value));
        return;
    case CAIRN_CODEC_NUMERIC:
        number_value(value, out);
        return;
    case CAIRN_CODEC_TEXT:
        bytes = PG_DETOAST_DATUM_PACKED(value);
        out->type = jbvString;
        out->val.string.val = VARDATA_ANY(bytes);
        out->val.string.len = (int) VARSIZE_ANY_EXHDR(bytes);
        return;
    case CAIRN_CODEC_BYTEA:
        bytes = PG_DETOAST_DATUM_PACKED(value);
        cairn_jsonb_binary_value(out,
                                 (struct wire_span){(const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)});
        return;
    case CAIRN_CODEC_JSONB:
        jsonb_value_of(value, out);
        return;
    case CAIRN_CODEC_RAW:
    case CAIRN_CODEC_BINARY:
    case CAIRN_CODEC_STRING:
        jsonb_value_of(generic_jsonb(column->type, value), out);
        return;
    }
}

Datum cairn_row_to_jsonb(Relation relation, CairnTable *table, struct wire_span key, struct wire_span item_bytes)
{
    RowSource source = {relation, table, key};
    Datum *values = palloc((Size) table->column_count * sizeof(Datum));
    bool *nulls = palloc((Size) table->column_count * sizeof(bool));
    bool *found = palloc((Size) table->column_count * sizeof(bool));
    NamedMembers named = {0};
    struct wire_item item;
    int count;

    open_item(&source, item_bytes, &item);
    named.pairs = palloc0((Size) (table->column_count + (int) item.named_count) * sizeof(JsonbPair));
    decode_row(&source, &item, true, values, nulls, &named, found);
    count = table->attributes_number ? (int) named.count : 0;
    for (int i = 0; i < table->column_count; i++) {
        JsonbPair *pair = &named.pairs[count];
        NameData *name = &TupleDescAttr(RelationGetDescr(relation), i)->attname;

        if (nulls[i] || (table->columns[i].number == table->attributes_number && !table->columns[i].dropped))
            continue;
        pair->key.type = jbvString;
        pair->key.val.string.val = NameStr(*name);
        pair->key.val.string.len = (int) strlen(NameStr(*name));
        column_value(&table->columns[i], values[i], &pair->value);
        count++;
    }
    cairn_jsonb_sort(named.pairs, count);
    return cairn_jsonb_object(named.pairs, count);
}

/* --- keys as text --- */

static void append_shown(StringInfo out, const uint8_t *bytes, size_t size)
{
    int shown = (int) Min(size, SHOWN_BYTES_MAX);

    if (!pg_verify_mbstr(GetDatabaseEncoding(), (const char *) bytes, (int) size, true)) {
        appendStringInfoString(out, "\\x");
        for (int i = 0; i < Min(shown, SHOWN_BYTES_MAX / 2); i++)
            appendStringInfo(out, "%02x", bytes[i]);
        if (size > SHOWN_BYTES_MAX / 2)
            appendStringInfoString(out, "...");
        return;
    }
    shown = pg_mbcliplen((const char *) bytes, (int) size, shown);
    appendBinaryStringInfo(out, (const char *) bytes, shown);
    if ((size_t) shown < size)
        appendStringInfoString(out, "...");
}

static void append_bytes(StringInfo out, struct wire_span bytes)
{
    appendStringInfoString(out, "\\x");
    for (size_t i = 0; i < Min(bytes.size, SHOWN_BYTES_MAX / 2); i++)
        appendStringInfo(out, "%02x", bytes.data[i]);
    if (bytes.size > SHOWN_BYTES_MAX / 2)
        appendStringInfoString(out, "...");
}

static void append_key_value(StringInfo out, const CairnTable *table, const CairnKeyColumn *key,
                             const struct wire_key_value *value)
{
    char digits[256];
    size_t size;

    switch (value->type) {
    case WIRE_KEY_TEXT:
        append_shown(out, value->bytes.data, value->bytes.size);
        return;
    case WIRE_KEY_NUMBER:
        if (wire_number_to_text(&value->number, digits, sizeof(digits), &size) == WIRE_OK)
            append_shown(out, (const uint8_t *) digits, size);
        else
            appendStringInfoString(out, "(a long number)");
        return;
    case WIRE_KEY_BOOLEAN:
        appendStringInfoString(out, value->boolean ? "true" : "false");
        return;
    case WIRE_KEY_DATE:
        if (IS_VALID_DATE(value->integer) || DATE_NOT_FINITE(value->integer))
            appendStringInfoString(
                out, DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum((DateADT) value->integer))));
        return;
    case WIRE_KEY_TIMESTAMP:
        if (!IS_VALID_TIMESTAMP(value->integer) && !TIMESTAMP_NOT_FINITE(value->integer))
            return;
        appendStringInfoString(
            out, DatumGetCString(DirectFunctionCall1(
                     table->columns[key->number - 1].type == TIMESTAMPOID ? timestamp_out : timestamptz_out,
                     TimestampTzGetDatum(value->integer))));
        return;
    case WIRE_KEY_INTEGER:
        appendStringInfo(out, INT64_FORMAT, (int64) value->integer);
        return;
    case WIRE_KEY_UUID:
    case WIRE_KEY_BYTES:
        append_bytes(out, value->bytes);
        return;
    }
}

char *cairn_row_key_text(Relation relation, CairnTable *table, struct wire_span key)
{
    struct wire_reader r = wire_reader_of(key.data, key.size);
    Size room = key.size * 2 + 64;
    struct wire_writer scratch = wire_writer_of(palloc(room), room);
    StringInfoData names;
    StringInfoData out;
    struct wire_key_value value;

    initStringInfo(&names);
    initStringInfo(&out);
    (void) wire_read_bytes(&r, WIRE_KEY_PREFIX_SIZE + (table->hashed ? WIRE_KEY_HASH_SIZE : 0));
    for (int i = 0; i < table->key_count; i++) {
        scratch.size = 0;
        if (wire_key_read_column(&r, &scratch, &value) != WIRE_OK || value.type != table->key[i].type) {
            resetStringInfo(&out);
            append_bytes(&out, key);
            return out.data;
        }
        appendStringInfo(&names, "%s%s", i ? ", " : "(",
                         NameStr(TupleDescAttr(RelationGetDescr(relation), table->key[i].number - 1)->attname));
        appendStringInfoString(&out, i ? ", " : "(");
        append_key_value(&out, table, &table->key[i], &value);
    }
    if (table->key_count == 0)
        append_bytes(&out, key);
    else
        appendStringInfo(&names, ")=%s)", out.data);
    return table->key_count ? names.data : out.data;
}
