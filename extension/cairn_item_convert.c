/*
 * jsonb values as values of columns.
 *
 * Happy path: boolean, number, string and binary columns without typmod or domain take their value as it is. Other
 * scalars go through the input of their column's type, arrays and objects through jsonb_populate_record on the table's
 * row type, which knows arrays, composites, typmods and domains as SQL does.
 *
 * Failure modes: another kind of value (42804), a number that is no whole number or out of the column's range (22003),
 * whatever the type's input raises.
 */
#include "cairn_item_parts.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "cairn_error.h"

bool cairn_input_kind_fits(const CairnColumn *column, const JsonbValue *value)
{
    struct wire_span ignored;

    if (value->type == jbvNull)
        return true;
    switch (column->codec) {
    case CAIRN_CODEC_BOOLEAN:
        return value->type == jbvBool;
    case CAIRN_CODEC_INT2:
    case CAIRN_CODEC_INT4:
    case CAIRN_CODEC_INT8:
    case CAIRN_CODEC_NUMERIC:
        return value->type == jbvNumeric;
    case CAIRN_CODEC_TEXT:
        return value->type == jbvString;
    case CAIRN_CODEC_BYTEA:
        return cairn_jsonb_binary((JsonbValue *) value, &ignored);
    default:
        return true;
    }
}

static void raise_integer(const CairnColumn *column, const JsonbValue *value) pg_attribute_noreturn();
static void raise_integer(const CairnColumn *column, const JsonbValue *value)
{
    ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                    errmsg("%s is no value of type %s",
                           DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))),
                           format_type_be(column->type))));
}

static int64 whole_number(const CairnColumn *column, JsonbValue *value)
{
    Size room = cairn_jsonb_room(value);
    struct wire_writer w = wire_writer_of(palloc(room), room);
    struct wire_reader r;
    struct wire_number number;
    int64_t result;

    cairn_jsonb_put_number(&w, NumericGetDatum(value->val.numeric), true);
    r = wire_reader_of(w.data + 1, w.size - 1);
    if (wire_number_read(&r, &number) != WIRE_OK || wire_number_to_integer(&number, &result) != WIRE_OK)
        raise_integer(column, value);
    pfree(w.data);
    return result;
}

static Datum integer_datum(const CairnColumn *column, JsonbValue *value)
{
    int64 number = whole_number(column, value);

    switch (column->codec) {
    case CAIRN_CODEC_INT2:
        if (number < PG_INT16_MIN || number > PG_INT16_MAX)
            raise_integer(column, value);
        return Int16GetDatum((int16) number);
    case CAIRN_CODEC_INT4:
        if (number < PG_INT32_MIN || number > PG_INT32_MAX)
            raise_integer(column, value);
        return Int32GetDatum((int32) number);
    default:
        return Int64GetDatum(number);
    }
}

/* DynamoDB's limits on numbers hold for numeric columns too when they come through the item API. */
static void check_number(JsonbValue *value)
{
    Size room = cairn_jsonb_room(value);
    struct wire_writer w = wire_writer_of(palloc(room), room);

    cairn_jsonb_put_number(&w, NumericGetDatum(value->val.numeric), true);
    pfree(w.data);
}

/* Tags inside are checked by encoding the value once. */
static Datum jsonb_datum(JsonbValue *value)
{
    Size room = cairn_jsonb_room(value);
    struct wire_writer w = wire_writer_of(palloc(room), room);

    cairn_jsonb_put(&w, value, true);
    pfree(w.data);
    return JsonbPGetDatum(JsonbValueToJsonb(value));
}

Datum cairn_input_plain(const CairnColumn *column, JsonbValue *value)
{
    struct wire_span bytes;

    switch (column->codec) {
    case CAIRN_CODEC_BOOLEAN:
        return BoolGetDatum(value->val.boolean);
    case CAIRN_CODEC_INT2:
    case CAIRN_CODEC_INT4:
    case CAIRN_CODEC_INT8:
        return integer_datum(column, value);
    case CAIRN_CODEC_NUMERIC:
        check_number(value);
        return NumericGetDatum(value->val.numeric);
    case CAIRN_CODEC_TEXT:
        return PointerGetDatum(cstring_to_text_with_len(value->val.string.val, value->val.string.len));
    case CAIRN_CODEC_BYTEA:
        if (!cairn_jsonb_binary(value, &bytes))
            break;
        return PointerGetDatum(cstring_to_text_with_len((const char *) bytes.data, (int) bytes.size));
    case CAIRN_CODEC_JSONB:
        return jsonb_datum(value);
    default:
        break;
    }
    elog(ERROR, "column %d is not plain", column->number);
}

/* --- through the types' own input --- */

/* Binary as bytea's input reads it. */
static void binary_as_hex(JsonbValue *value)
{
    struct wire_span bytes;
    char *text_form;

    if (!cairn_jsonb_binary(value, &bytes))
        return;
    text_form = palloc(bytes.size * 2 + 3);
    strcpy(text_form, "\\x");
    (void) hex_encode((const char *) bytes.data, bytes.size, text_form + 2);
    value->type = jbvString;
    value->val.string.val = text_form;
    value->val.string.len = (int) bytes.size * 2 + 2;
}

/* A row of nulls, whose columns nobody asks their domains about. */
static Datum unasked_row(const CairnItemCall *call)
{
    TupleDesc descriptor = RelationGetDescr(call->relation);
    Datum *values = palloc0((Size) descriptor->natts * sizeof(Datum));
    bool *nulls = palloc((Size) descriptor->natts * sizeof(bool));

    memset(nulls, true, (Size) descriptor->natts * sizeof(bool));
    return heap_copy_tuple_as_datum(heap_form_tuple(descriptor, values, nulls), descriptor);
}

/* A row of the table's type from an object of some columns; the others are NULL. */
static HeapTupleHeader populate(const CairnItemCall *call, JsonbPair *pairs, int count)
{
    Oid row_type = call->relation->rd_rel->reltype;
    LOCAL_FCINFO(fcinfo, 2);
    FmgrInfo function;
    Node *row = (Node *) makeNullConst(row_type, -1, InvalidOid);
    Node *json = (Node *) makeNullConst(JSONBOID, -1, InvalidOid);
    Datum result;

    fmgr_info(F_JSONB_POPULATE_RECORD, &function);
    fmgr_info_set_expr((Node *) makeFuncExpr(F_JSONB_POPULATE_RECORD, row_type, list_make2(row, json), InvalidOid,
                                             InvalidOid, COERCE_EXPLICIT_CALL),
                       &function);
    InitFunctionCallInfoData(*fcinfo, &function, 2, InvalidOid, NULL, NULL);
    fcinfo->args[0].isnull = false;
    fcinfo->args[0].value = unasked_row(call);
    fcinfo->args[1].isnull = false;
    fcinfo->args[1].value = cairn_jsonb_object(pairs, count);
    result = FunctionCallInvoke(fcinfo);
    if (fcinfo->isnull)
        elog(ERROR, "jsonb_populate_record returned null");
    return DatumGetHeapTupleHeader(result);
}

static void add_pair(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value, JsonbPair *pairs,
                     int *count)
{
    JsonbPair *pair = &pairs[*count];
    const char *name = cairn_item_column_name(call, column->number);

    memset(pair, 0, sizeof(*pair));
    pair->key.type = jbvString;
    pair->key.val.string.val = (char *) name;
    pair->key.val.string.len = (int) strlen(name);
    pair->value = *value;
    if (column->codec == CAIRN_CODEC_NUMERIC && value->type == jbvNumeric)
        check_number(value);
    else if (column->codec == CAIRN_CODEC_BYTEA)
        binary_as_hex(&pair->value);
    else if (column->codec == CAIRN_CODEC_JSONB)
        (void) jsonb_datum(value);
    pair->order = (uint32) (*count)++;
}

static void take_column(const CairnItemCall *call, HeapTupleHeader row, AttrNumber number, Datum *value, bool *null)
{
    HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};

    ItemPointerSetInvalid(&tuple.t_self);
    *value = heap_getattr(&tuple, number, RelationGetDescr(call->relation), null);
}

Datum cairn_input_typed(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value, bool *null)
{
    JsonbPair pair;
    int count = 0;
    CairnInputContext context;
    const char *name = cairn_item_column_name(call, column->number);
    HeapTupleHeader row;
    Oid type = TupleDescAttr(RelationGetDescr(call->relation), column->number - 1)->atttypid;
    int32 typmod = TupleDescAttr(RelationGetDescr(call->relation), column->number - 1)->atttypmod;
    Datum result;

    cairn_input_enter(&context, call, name, (int) strlen(name));
    /* Scalars without the detour over a row. */
    if (value->type == jbvString || value->type == jbvNumeric || value->type == jbvBool) {
        Oid input;
        Oid parameter;
        char *string = value->type == jbvString ? pnstrdup(value->val.string.val, (Size) value->val.string.len)
                       : value->type == jbvNumeric
                           ? DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)))
                           : pstrdup(value->val.boolean ? "true" : "false");

        if (column->codec != CAIRN_CODEC_JSONB && column->type != JSONOID) {
            if (column->codec == CAIRN_CODEC_NUMERIC)
                check_number(value);
            getTypeInputInfo(type, &input, &parameter);
            result = OidInputFunctionCall(input, string, parameter, typmod);
            *null = false;
            cairn_input_leave(&context);
            return result;
        }
    }
    add_pair(call, column, value, &pair, &count);
    row = populate(call, &pair, count);
    take_column(call, row, column->number, &result, null);
    cairn_input_leave(&context);
    return result;
}

Datum cairn_input_datum(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value, bool *null)
{
    CairnInputContext context;
    const char *name = cairn_item_column_name(call, column->number);
    Datum result;

    if (!column->is_plain)
        return cairn_input_typed(call, column, value, null);
    cairn_input_enter(&context, call, name, (int) strlen(name));
    result = cairn_input_plain(column, value);
    cairn_input_leave(&context);
    *null = false;
    return result;
}

/* A domain may refuse NULL. */
static void check_absent(const CairnItemCall *call, const CairnColumn *column)
{
    Oid type = TupleDescAttr(RelationGetDescr(call->relation), column->number - 1)->atttypid;
    CairnInputContext context;
    const char *name = cairn_item_column_name(call, column->number);

    if (type == column->type)
        return;
    cairn_input_enter(&context, call, name, (int) strlen(name));
    domain_check((Datum) 0, true, type, NULL, CurrentMemoryContext);
    cairn_input_leave(&context);
}

/* Tags and numbers of a named attribute, before SQL sees it as part of the catch-all column. */
static void check_named(const CairnItemCall *call, JsonbPair *pair)
{
    CairnInputContext context;

    cairn_input_enter(&context, call, pair->key.val.string.val, pair->key.val.string.len);
    (void) jsonb_datum(&pair->value);
    cairn_input_leave(&context);
}

void cairn_input_values(const CairnItemCall *call, CairnItemInput *input, bool all)
{
    CairnTable *table = call->table;

    for (int i = 0; i < table->column_count; i++) {
        const CairnColumn *column = &table->columns[i];

        if (column->dropped || column->key_position || column->number == table->attributes_number)
            continue;
        if (!input->present[i]) {
            if (!column->generated)
                check_absent(call, column);
            continue;
        }
        cairn_item_refuse_generated(call, column);
        cairn_input_check_kind(call, column, &input->columns[i]);
        if (!column->is_plain || (all && (input->columns[i].type != jbvNull || column->codec == CAIRN_CODEC_JSONB)))
            input->values[i] = cairn_input_datum(call, column, &input->columns[i], &input->nulls[i]);
    }
    if (all && table->attributes_number &&
        (input->named_count > 0 ||
         TupleDescAttr(RelationGetDescr(call->relation), table->attributes_number - 1)->attnotnull)) {
        for (int i = 0; i < input->named_count; i++)
            check_named(call, &input->named[i]);
        input->values[table->attributes_number - 1] = cairn_jsonb_object(input->named, input->named_count);
        input->nulls[table->attributes_number - 1] = false;
    }
}

void cairn_input_write(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value, StringInfo out,
                       struct wire_writer *w)
{
    CairnInputContext context;
    const char *name = cairn_item_column_name(call, column->number);

    cairn_input_enter(&context, call, name, (int) strlen(name));
    cairn_input_check_kind(call, column, value);
    cairn_buffer_reserve(out, w, cairn_jsonb_room(value));
    if (column->codec == CAIRN_CODEC_INT2 || column->codec == CAIRN_CODEC_INT4 || column->codec == CAIRN_CODEC_INT8)
        cairn_row_write_value(column, integer_datum(column, value), out, w);
    else
        cairn_jsonb_put(w, value, true);
    cairn_input_leave(&context);
}
