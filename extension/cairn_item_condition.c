/*
 * Conditions and updates of item functions, from jsonb to the form that the shard evaluates.
 *
 *   condition   {"attribute_exists": "a"}, {"attribute_not_exists": "a"}, {"equals": {"a": value}}; several names in an
 * array, several members in one object, several objects in an array: all must hold
 *
 * Happy path: a name becomes a column's number or stays a name; a key column is settled here, since the shard has it in
 * the key only.
 *
 * Failure modes: what is no condition (22023), an update of a key or generated column (22023, 428C9), of a column that
 * must not be null (23502). Columns with a missing value (ADD COLUMN ... DEFAULT) are absent from older items: by_rules
 * then asks for evaluation on the row as SQL sees it.
 */
#include "cairn_item_parts.h"

#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "cairn_error.h"

#define CONDITION_HINT                                                                                                 \
    "A condition is {\"attribute_exists\": name}, {\"attribute_not_exists\": name} or {\"equals\": {name: value}}, "   \
    "or an array of these."

void cairn_terms_begin(CairnItemTerms *terms)
{
    memset(terms, 0, sizeof(*terms));
    initStringInfo(&terms->condition);
    initStringInfo(&terms->update);
}

static void append_count(StringInfo out, StringInfo body, uint64 count)
{
    struct wire_writer w = cairn_buffer_writer(out, 16);

    wire_write_varint(&w, count);
    cairn_buffer_commit(out, &w);
    appendBinaryStringInfo(out, body->data, body->len);
}

static void raise_condition(const char *what) pg_attribute_noreturn();
static void raise_condition(const char *what)
{
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", what), errhint(CONDITION_HINT)));
}

/* What a name refers to. Columns with a missing value cannot be judged by stored bytes alone. */
static AttrNumber resolve(const CairnItemCall *call, CairnItemTerms *terms, const JsonbValue *name,
                          struct wire_target *target)
{
    AttrNumber column = cairn_item_column(call, name->val.string.val, name->val.string.len);

    memset(target, 0, sizeof(*target));
    if (column == 0 && !call->table->attributes_number)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                        errmsg("table %s has no column \"%.*s\"", cairn_table_name(call->relation),
                               name->val.string.len, name->val.string.val)));
    if (column != 0 && column == call->table->attributes_number)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("attribute \"%.*s\" of table %s is the column that holds all other attributes",
                               name->val.string.len, name->val.string.val, cairn_table_name(call->relation)),
                        errhint("Name the attributes that it holds.")));
    if (column == 0) {
        target->kind = WIRE_TARGET_NAMED;
        target->ref.name = (struct wire_span){(const uint8_t *) name->val.string.val, (size_t) name->val.string.len};
    } else if (call->table->columns[column - 1].key_position == 0) {
        target->kind = WIRE_TARGET_DECLARED;
        target->ref.number = (uint32_t) column;
        if (TupleDescAttr(RelationGetDescr(call->relation), column - 1)->atthasmissing)
            terms->by_rules = true;
    }
    return column;
}

static void add_clause(StringInfo clauses, enum wire_condition_operator operator, struct wire_target target,
                       struct wire_span value)
{
    struct wire_writer w = cairn_buffer_writer(clauses, target.ref.name.size + value.size + 64);

    wire_clause_write(&w, operator, target, value);
    cairn_buffer_commit(clauses, &w);
}

/* --- conditions --- */

/* Key columns: the attribute exists if the item does. */
static int add_existence(const CairnItemCall *call, CairnItemTerms *terms, StringInfo clauses, bool exists,
                         const JsonbValue *name)
{
    struct wire_target target;

    if (name->type != jbvString)
        raise_condition("a condition on existence needs the name of an attribute");
    (void) resolve(call, terms, name, &target);
    add_clause(clauses, exists ? WIRE_CONDITION_EXISTS : WIRE_CONDITION_NOT_EXISTS, target,
               (struct wire_span){NULL, 0});
    return 1;
}

static int add_existences(const CairnItemCall *call, CairnItemTerms *terms, StringInfo clauses, bool exists,
                          JsonbValue *names)
{
    JsonbIterator *it;
    JsonbValue name;
    int count = 0;

    if (names->type != jbvBinary)
        return add_existence(call, terms, clauses, exists, names);
    if (!JsonContainerIsArray(names->val.binary.data))
        raise_condition("a condition on existence needs the name of an attribute");
    it = JsonbIteratorInit(names->val.binary.data);
    (void) JsonbIteratorNext(&it, &name, true);
    while (JsonbIteratorNext(&it, &name, true) == WJB_ELEM)
        count += add_existence(call, terms, clauses, exists, &name);
    return count;
}

/* Would the item under this key have `value` in the key column? */
static bool key_equals(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value,
                       const CairnItemInput *key)
{
    Datum values[WIRE_KEY_COLUMNS_MAX];
    uint8 *encoded = palloc(2 * WIRE_KEY_MAX);
    int count = column->key_position;
    Size size;
    Size other;
    bool null = false;

    if (value->type == jbvNull || !cairn_input_kind_fits(column, value) ||
        (column->codec == CAIRN_CODEC_BINARY && value->type != jbvString))
        return false;
    for (int i = 0; i < count; i++)
        values[i] = key->values[call->table->key[i].number - 1];
    size = cairn_row_key_prefix(call->relation, call->table, values, count, encoded);
    values[count - 1] = cairn_input_datum(call, column, value, &null);
    other = null ? 0 : cairn_row_key_prefix(call->relation, call->table, values, count, encoded + WIRE_KEY_MAX);
    return size == other && memcmp(encoded, encoded + WIRE_KEY_MAX, size) == 0;
}

/* Numbers compare by value, so integer columns take any number; opaque and padded types take what their input makes of
 * the value. */
static struct wire_span comparand(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value,
                                  StringInfo out)
{
    struct wire_writer w = cairn_buffer_writer(out, cairn_jsonb_room(value));
    bool opaque = column && (column->codec >= CAIRN_CODEC_RAW || column->type == BPCHAROID);
    bool null = false;

    if (opaque && value->type != jbvNull && cairn_input_kind_fits(column, value)) {
        Datum datum = cairn_input_typed(call, column, value, &null);

        if (!null)
            cairn_row_write_value(column, datum, out, &w);
    } else
        cairn_jsonb_put(&w, value, true);
    cairn_buffer_commit(out, &w);
    return (struct wire_span){(const uint8_t *) out->data, (size_t) out->len};
}

static void add_equality(const CairnItemCall *call, CairnItemTerms *terms, StringInfo clauses, const JsonbValue *name,
                         JsonbValue *value, const CairnItemInput *key)
{
    struct wire_target target;
    AttrNumber number = resolve(call, terms, name, &target);
    const CairnColumn *column = number ? &call->table->columns[number - 1] : NULL;
    CairnInputContext context;
    StringInfoData encoded;

    cairn_input_enter(&context, call, name->val.string.val, name->val.string.len);
    initStringInfo(&encoded);
    if (column && column->key_position)
        add_clause(clauses, key_equals(call, column, value, key) ? WIRE_CONDITION_EXISTS : WIRE_CONDITION_FALSE, target,
                   (struct wire_span){NULL, 0});
    else
        add_clause(clauses, WIRE_CONDITION_EQUALS, target, comparand(call, column, value, &encoded));
    cairn_input_leave(&context);
}

static int add_equalities(const CairnItemCall *call, CairnItemTerms *terms, StringInfo clauses, JsonbValue *pairs,
                          const CairnItemInput *key)
{
    JsonbIterator *it;
    JsonbValue name;
    JsonbValue value;
    int count = 0;

    if (pairs->type != jbvBinary || !JsonContainerIsObject(pairs->val.binary.data))
        raise_condition("\"equals\" needs an object of names and values");
    it = JsonbIteratorInit(pairs->val.binary.data);
    (void) JsonbIteratorNext(&it, &name, true);
    while (JsonbIteratorNext(&it, &name, true) == WJB_KEY) {
        (void) JsonbIteratorNext(&it, &value, true);
        add_equality(call, terms, clauses, &name, &value, key);
        count++;
    }
    return count;
}

static bool name_is(const JsonbValue *name, const char *text_form)
{
    return name->val.string.len == (int) strlen(text_form) &&
           memcmp(name->val.string.val, text_form, strlen(text_form)) == 0;
}

static int add_object(const CairnItemCall *call, CairnItemTerms *terms, StringInfo clauses, JsonbContainer *object,
                      const CairnItemInput *key)
{
    JsonbIterator *it = JsonbIteratorInit(object);
    JsonbValue name;
    JsonbValue value;
    int count = 0;

    (void) JsonbIteratorNext(&it, &name, true);
    while (JsonbIteratorNext(&it, &name, true) == WJB_KEY) {
        (void) JsonbIteratorNext(&it, &value, true);
        if (name_is(&name, "attribute_exists"))
            count += add_existences(call, terms, clauses, true, &value);
        else if (name_is(&name, "attribute_not_exists"))
            count += add_existences(call, terms, clauses, false, &value);
        else if (name_is(&name, "equals"))
            count += add_equalities(call, terms, clauses, &value, key);
        else
            raise_condition(psprintf("unknown condition \"%.*s\"", name.val.string.len, name.val.string.val));
    }
    return count;
}

void cairn_terms_condition(const CairnItemCall *call, CairnItemTerms *terms, Jsonb *condition,
                           const CairnItemInput *key)
{
    StringInfoData clauses;
    JsonbIterator *it;
    JsonbValue element;
    int count = 0;

    if (!condition)
        return;
    initStringInfo(&clauses);
    if (JB_ROOT_IS_OBJECT(condition))
        count = add_object(call, terms, &clauses, &condition->root, key);
    else if (!JB_ROOT_IS_SCALAR(condition)) {
        it = JsonbIteratorInit(&condition->root);
        (void) JsonbIteratorNext(&it, &element, true);
        while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM) {
            if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
                raise_condition("a condition must be an object");
            count += add_object(call, terms, &clauses, element.val.binary.data, key);
        }
    } else
        raise_condition("a condition must be an object or an array of objects");
    if (count == 0)
        raise_condition("a condition must not be empty");
    append_count(&terms->condition, &clauses, (uint64) count);
}

/* --- updates --- */

static const CairnColumn *updatable(const CairnItemCall *call, CairnItemTerms *terms, const JsonbValue *name,
                                    struct wire_target *target)
{
    AttrNumber number = resolve(call, terms, name, target);
    const CairnColumn *column = number ? &call->table->columns[number - 1] : NULL;

    if (name->val.string.len == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("an attribute must have a name")));
    if (column && column->key_position)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("attribute \"%.*s\" is part of the key of table %s and cannot be updated",
                               name->val.string.len, name->val.string.val, cairn_table_name(call->relation)),
                        errhint("Put an item with the new key and delete the old one.")));
    if (column)
        cairn_item_refuse_generated(call, column);
    terms->columns = bms_add_member(terms->columns, number ? number : call->table->attributes_number);
    return column;
}

static void check_removable(const CairnItemCall *call, const CairnColumn *column)
{
    if (column && TupleDescAttr(RelationGetDescr(call->relation), column->number - 1)->attnotnull)
        cairn_item_raise_null(call, column);
}

static void add_action(StringInfo actions, enum wire_update_kind kind, struct wire_target target,
                       struct wire_span value)
{
    struct wire_writer w = cairn_buffer_writer(actions, target.ref.name.size + value.size + 64);

    wire_action_write(&w, kind, target, value);
    cairn_buffer_commit(actions, &w);
}

static void add_set(const CairnItemCall *call, CairnItemTerms *terms, StringInfo actions, JsonbValue *name,
                    JsonbValue *value)
{
    struct wire_target target;
    const CairnColumn *column = updatable(call, terms, name, &target);
    StringInfoData encoded;
    struct wire_writer w;
    bool null = column && value->type == jbvNull && column->codec != CAIRN_CODEC_JSONB;
    CairnInputContext context;

    initStringInfo(&encoded);
    w = cairn_buffer_writer(&encoded, cairn_jsonb_room(value));
    cairn_input_enter(&context, call, name->val.string.val, name->val.string.len);
    if (column)
        cairn_input_check_kind(call, column, value);
    if (column && !column->is_plain) {
        Datum datum = cairn_input_typed(call, column, value, &null);

        if (!null)
            cairn_row_write_value(column, datum, &encoded, &w);
    } else if (column && !null)
        cairn_input_write(call, column, value, &encoded, &w);
    else if (!column)
        cairn_jsonb_put(&w, value, true);
    cairn_input_leave(&context);
    cairn_buffer_commit(&encoded, &w);
    if (null)
        check_removable(call, column);
    add_action(actions, null ? WIRE_UPDATE_REMOVE : WIRE_UPDATE_SET, target,
               (struct wire_span){(const uint8_t *) encoded.data, (size_t) encoded.len});
}

static int add_sets(const CairnItemCall *call, CairnItemTerms *terms, StringInfo actions, Jsonb *set)
{
    JsonbIterator *it;
    JsonbValue name;
    JsonbValue value;
    int count = 0;

    if (!JB_ROOT_IS_OBJECT(set))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("argument \"set_attributes\" must be a JSON object")));
    it = JsonbIteratorInit(&set->root);
    (void) JsonbIteratorNext(&it, &name, true);
    while (JsonbIteratorNext(&it, &name, true) == WJB_KEY) {
        (void) JsonbIteratorNext(&it, &value, true);
        add_set(call, terms, actions, &name, &value);
        count++;
    }
    return count;
}

static int add_removes(const CairnItemCall *call, CairnItemTerms *terms, StringInfo actions, ArrayType *remove)
{
    Datum *elements;
    bool *nulls;
    int count;

    deconstruct_array(remove, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
    for (int i = 0; i < count; i++) {
        struct wire_target target;
        JsonbValue name = {.type = jbvString};
        const CairnColumn *column;

        if (nulls[i])
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("argument \"remove_attributes\" must not contain nulls")));
        name.val.string.val = TextDatumGetCString(elements[i]);
        name.val.string.len = (int) strlen(name.val.string.val);
        column = updatable(call, terms, &name, &target);
        check_removable(call, column);
        if (column && column->type != TupleDescAttr(RelationGetDescr(call->relation), column->number - 1)->atttypid)
            terms->by_rules = true;
        add_action(actions, WIRE_UPDATE_REMOVE, target, (struct wire_span){NULL, 0});
    }
    return count;
}

/* An update may create the item: then the columns it does not name must bear being absent. */
static bool may_not_create(const CairnItemCall *call, const CairnItemTerms *terms)
{
    for (int i = 0; i < call->table->column_count; i++) {
        const CairnColumn *column = &call->table->columns[i];
        Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(call->relation), i);

        if (column->dropped || column->key_position || column->number == call->table->attributes_number)
            continue;
        if (attribute->atthasmissing)
            return true;
        if ((attribute->attnotnull || attribute->atttypid != column->type) &&
            !bms_is_member(column->number, terms->columns))
            return true;
    }
    return false;
}

void cairn_terms_update(const CairnItemCall *call, CairnItemTerms *terms, Jsonb *set, ArrayType *remove)
{
    StringInfoData actions;
    int count = 0;

    initStringInfo(&actions);
    if (set)
        count += add_sets(call, terms, &actions, set);
    if (remove)
        count += add_removes(call, terms, &actions, remove);
    if (count > WIRE_ACTIONS_MAX)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("an update can change at most %d attributes", WIRE_ACTIONS_MAX)));
    append_count(&terms->update, &actions, (uint64) count);
    if (may_not_create(call, terms))
        terms->by_rules = true;
}
