/*
 * jsonb items and keys, taken apart by the table's columns and put together as bytes.
 *
 * Happy path: one walk over the object finds each name's column; names without one are named attributes, which jsonb
 * has in our order already. Key columns are converted and encoded, plain columns go from jsonb to attribute directly,
 * the others through their types' input.
 *
 * Failure modes: everything a caller can do wrong with an item, each with table and attribute in the message.
 */
#include "cairn_item_parts.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "cairn_error.h"

static void name_context(void *argument)
{
    const CairnInputContext *context = argument;
    const CairnInputContext *outer = context->callback.previous && context->callback.previous->callback == name_context
                                         ? context->callback.previous->arg
                                         : NULL;

    /* One line for an attribute, however deep its conversion nests. */
    if (outer && outer->size == context->size && memcmp(outer->name, context->name, (size_t) context->size) == 0)
        return;
    errcontext("attribute \"%.*s\" of table %s", context->size, context->name,
               RelationGetRelationName(context->call->relation));
}

void cairn_input_enter(CairnInputContext *context, const CairnItemCall *call, const char *name, int size)
{
    context->callback.callback = name_context;
    context->callback.arg = context;
    context->callback.previous = error_context_stack;
    context->call = call;
    context->name = name;
    context->size = size;
    error_context_stack = &context->callback;
}

void cairn_input_leave(CairnInputContext *context)
{
    error_context_stack = context->callback.previous;
}

AttrNumber cairn_item_column(const CairnItemCall *call, const char *name, int size)
{
    return cairn_table_column(call->relation, call->table, name, (Size) size);
}

static void check_name(const CairnItemCall *call, const char *what, AttrNumber column, const JsonbValue *name)
{
    if (name->val.string.len == 0)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("%s for table %s has an attribute without a name", what, cairn_table_name(call->relation))));
    if (column && column == call->table->attributes_number)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("attribute \"%.*s\" of table %s is the column that holds all other attributes",
                               name->val.string.len, name->val.string.val, cairn_table_name(call->relation)),
                        errhint("Give the other attributes at the top level of the item.")));
    if (!column && !call->table->attributes_number)
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_COLUMN),
                 errmsg("table %s has no column \"%.*s\"", cairn_table_name(call->relation), name->val.string.len,
                        name->val.string.val),
                 errhint("To keep attributes that no column declares, add a column \"attributes\" of type jsonb.")));
}

static void prepare(const CairnItemCall *call, CairnItemInput *out, int pairs)
{
    Size count = (Size) call->table->column_count;

    out->columns = palloc(count * sizeof(JsonbValue));
    out->present = palloc0(count * sizeof(bool));
    out->named = palloc((Size) Max(pairs, 1) * sizeof(JsonbPair));
    out->named_count = 0;
    out->values = palloc0(count * sizeof(Datum));
    out->nulls = palloc(count * sizeof(bool));
    memset(out->nulls, true, count);
}

static const char *kind_of(const JsonbValue *value)
{
    switch (value->type) {
    case jbvNull:
        return "null";
    case jbvString:
        return "a string";
    case jbvNumeric:
        return "a number";
    case jbvBool:
        return "a boolean";
    default:
        return JsonContainerIsArray(value->val.binary.data) ? "an array" : "an object";
    }
}

void cairn_input_split(const CairnItemCall *call, Jsonb *object, const char *what, CairnItemInput *out)
{
    JsonbIterator *it;
    JsonbIteratorToken token;
    JsonbValue name;
    JsonbValue value;

    if (!JB_ROOT_IS_OBJECT(object)) {
        if (!JsonbExtractScalar(&object->root, &value)) {
            value.type = jbvBinary;
            value.val.binary.data = &object->root;
        }
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s for table %s must be a JSON object, not %s", what,
                                                                  cairn_table_name(call->relation), kind_of(&value))));
    }
    prepare(call, out, (int) JB_ROOT_COUNT(object));
    it = JsonbIteratorInit(&object->root);
    (void) JsonbIteratorNext(&it, &name, true);
    while ((token = JsonbIteratorNext(&it, &name, true)) == WJB_KEY) {
        AttrNumber column = cairn_item_column(call, name.val.string.val, name.val.string.len);

        (void) JsonbIteratorNext(&it, &value, true);
        check_name(call, what, column, &name);
        if (column) {
            out->columns[column - 1] = value;
            out->present[column - 1] = true;
        } else {
            JsonbPair *pair = &out->named[out->named_count];

            pair->key = name;
            pair->value = value;
            pair->order = (uint32) out->named_count++;
        }
    }
}

void cairn_input_check_kind(const CairnItemCall *call, const CairnColumn *column, const JsonbValue *value)
{
    static const char *const kinds[] = {
        [CAIRN_CODEC_BOOLEAN] = "a boolean",
        [CAIRN_CODEC_INT2] = "a number",
        [CAIRN_CODEC_INT4] = "a number",
        [CAIRN_CODEC_INT8] = "a number",
        [CAIRN_CODEC_NUMERIC] = "a number",
        [CAIRN_CODEC_TEXT] = "a string",
        [CAIRN_CODEC_BYTEA] = "binary, {\"$B\": base64}",
        [CAIRN_CODEC_JSONB] = "a value",
        [CAIRN_CODEC_RAW] = "a value",
        [CAIRN_CODEC_BINARY] = "a value",
        [CAIRN_CODEC_STRING] = "a value",
    };

    if (!cairn_input_kind_fits(column, value))
        ereport(ERROR,
                (errcode(ERRCODE_DATATYPE_MISMATCH),
                 errmsg("attribute \"%s\" of table %s must be %s, not %s", cairn_item_column_name(call, column->number),
                        cairn_table_name(call->relation), kinds[column->codec], kind_of(value)),
                 errdetail("The column has type %s.", format_type_be(column->type)),
                 errtablecol(call->relation, column->number)));
}

Size cairn_input_key(const CairnItemCall *call, CairnItemInput *input, uint8 *key)
{
    for (int i = 0; i < call->table->key_count; i++) {
        const CairnColumn *column = &call->table->columns[call->table->key[i].number - 1];
        int at = column->number - 1;

        if (!input->present[at])
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("key attribute \"%s\" of table %s is missing",
                                   cairn_item_column_name(call, column->number), cairn_table_name(call->relation)),
                            errdetail("Its type is %s.", format_type_be(column->type)),
                            errtablecol(call->relation, column->number)));
        if (input->columns[at].type == jbvNull ||
            (column->codec == CAIRN_CODEC_BINARY && input->columns[at].type != jbvString))
            ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                            errmsg("key attribute \"%s\" of table %s must not be %s",
                                   cairn_item_column_name(call, column->number), cairn_table_name(call->relation),
                                   kind_of(&input->columns[at])),
                            errdetail("The column has type %s.", format_type_be(column->type)),
                            errtablecol(call->relation, column->number)));
        cairn_input_check_kind(call, column, &input->columns[at]);
        input->values[at] = cairn_input_datum(call, column, &input->columns[at], &input->nulls[at]);
    }
    return cairn_row_key(call->relation, call->table, input->values, input->nulls, key);
}

Size cairn_input_key_object(const CairnItemCall *call, Jsonb *object, bool lenient, CairnItemInput *out, uint8 *key)
{
    cairn_input_split(call, object, lenient ? "item" : "key", out);
    for (int i = 0; i < call->table->column_count && !lenient; i++)
        if (out->present[i] && !call->table->columns[i].key_position)
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                     errmsg("attribute \"%s\" is not part of the key of table %s",
                            cairn_item_column_name(call, (AttrNumber) (i + 1)), cairn_table_name(call->relation))));
    if (out->named_count > 0 && !lenient)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("attribute \"%.*s\" is not part of the key of table %s", out->named[0].key.val.string.len,
                        out->named[0].key.val.string.val, cairn_table_name(call->relation))));
    return cairn_input_key(call, out, key);
}

/* --- encoding --- */

static void write_absent(const CairnItemCall *call, const CairnColumn *column, struct wire_item_builder *builder,
                         StringInfo out, struct wire_writer *w)
{
    Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(call->relation), column->number - 1);

    if (attribute->attnotnull && column->number != call->table->attributes_number)
        cairn_item_raise_null(call, column);
    if (attribute->atthasmissing) {
        cairn_buffer_reserve(out, w, 16);
        wire_item_add_declared(builder, (uint32) column->number);
        cairn_row_write_null(column, out, w);
    }
}

static void write_named(const CairnItemCall *call, const CairnItemInput *input, struct wire_item_builder *builder,
                        StringInfo out, struct wire_writer *w)
{
    for (int i = 0; i < input->named_count; i++) {
        JsonbValue *name = &input->named[i].key;
        CairnInputContext context;

        cairn_input_enter(&context, call, name->val.string.val, name->val.string.len);
        cairn_buffer_reserve(out, w, (Size) name->val.string.len + cairn_jsonb_room(&input->named[i].value) + 16);
        wire_item_add_named(builder,
                            (struct wire_span){(const uint8_t *) name->val.string.val, (size_t) name->val.string.len});
        cairn_jsonb_put(w, &input->named[i].value, true);
        cairn_input_leave(&context);
    }
}

void cairn_input_encode(const CairnItemCall *call, CairnItemInput *input, StringInfo out)
{
    struct wire_writer w = cairn_buffer_writer(out, 1024);
    struct wire_item_builder builder;

    wire_item_begin(&builder, &w, 0, 0, 0);
    for (int i = 0; i < call->table->column_count; i++) {
        const CairnColumn *column = &call->table->columns[i];
        bool null =
            column->key_position || !column->is_plain
                ? input->nulls[i]
                : !input->present[i] || (input->columns[i].type == jbvNull && column->codec != CAIRN_CODEC_JSONB);

        if (column->dropped || (column->key_position && !call->table->key[column->key_position - 1].keep_value))
            continue;
        if (null) {
            write_absent(call, column, &builder, out, &w);
            continue;
        }
        cairn_buffer_reserve(out, &w, 16);
        wire_item_add_declared(&builder, (uint32) column->number);
        if (column->key_position || !column->is_plain)
            cairn_row_write_value(column, input->values[i], out, &w);
        else
            cairn_input_write(call, column, &input->columns[i], out, &w);
    }
    write_named(call, input, &builder, out, &w);
    cairn_row_finish_item(call->relation, &builder, out, &w);
}

/* --- size as DynamoDB counts it --- */

/* An attribute as readers see it: the markers of absent columns, attributes that a column hides and those of dropped
 * columns are none, and key columns that are kept for their scale count with the key. */
static Size attribute_size(const CairnItemCall *call, const struct wire_attr_ref *ref, const struct wire_attr *attr)
{
    const CairnColumn *column;

    if (ref->number == 0)
        return cairn_item_column(call, (const char *) ref->name.data, (int) ref->name.size)
                   ? 0
                   : ref->name.size + wire_attr_counted_size(attr);
    if (ref->number > (uint32) call->table->column_count)
        return 0;
    column = &call->table->columns[ref->number - 1];
    if (column->dropped || column->key_position || column->number == call->table->attributes_number ||
        cairn_row_is_null_marker(column, attr))
        return 0;
    return column->name_size + wire_attr_counted_size(attr);
}

static int count_attributes(const CairnItemCall *call, struct wire_span bytes, Size *size)
{
    struct wire_item item;
    struct wire_attr_ref ref;
    struct wire_attr attr;
    int code = wire_item_open(bytes.data, bytes.size, &item);

    if (code != WIRE_OK)
        return code;
    while ((code = wire_item_next(&item, &ref, &attr)) == WIRE_OK)
        *size += attribute_size(call, &ref, &attr);
    return code == WIRE_E_NOT_FOUND ? WIRE_OK : code;
}

void cairn_item_check_size(const CairnItemCall *call, struct wire_span key, struct wire_span bytes)
{
    Size partition;
    Size sort;
    Size size = 0;
    int code;

    /* Encoded bytes and counted bytes differ by little: what is far below the limit need not be counted. */
    if (bytes.size < WIRE_ITEM_SIZE_MAX / 4)
        return;
    code = count_attributes(call, bytes, &size);
    if (code != WIRE_OK)
        cairn_item_raise(call, code, key);
    cairn_row_key_sizes(call->relation, call->table, key, &partition, &sort);
    size += partition + sort;
    for (int i = 0; i < call->table->key_count; i++)
        size += call->table->columns[call->table->key[i].number - 1].name_size;
    if (size > WIRE_ITEM_SIZE_MAX)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("item of table %s is larger than %d bytes", cairn_table_name(call->relation),
                               WIRE_ITEM_SIZE_MAX),
                        errdetail("Key %s: the item has %zu bytes, names, values and key counted.",
                                  cairn_row_key_text(call->relation, call->table, key), size),
                        errhint("Split the item, or keep large values elsewhere and refer to them.")));
}
