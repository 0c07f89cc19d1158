/*
 * jsonb and attribute values, both ways.
 *
 * Happy path: jsonb's objects are in the order of our maps already, so writing is one walk, and reading builds the tree
 * that jsonb is made from without sorting. What JSON lacks travels as an object with one key of "$" and capital
 * letters: {"$B": base64}, {"$SS": [...]},
 * {"$NS": [...]}, {"$BS": [...]}; a user's own object of that look is {"$M": {...}}. docs/item-model.md is the
 * contract.
 *
 * Failure modes: a tag that is not known or has another payload than it needs (22023), nesting (54000), numbers beyond
 * DynamoDB's limits when they come through the item API (22003). Reading checks what it gets and raises XX001.
 */
#include "cairn_row.h"

#include "common/base64.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "cairn_error.h"

#define TAG_HINT                                                                                                       \
    "See docs/item-model.md for tagged values; an object of your own whose only key is \"$\" and capital letters is "  \
    "written {\"$M\": {...}}."

bool cairn_jsonb_is_tag(const char *name, int size)
{
    if (size < 2 || name[0] != '$')
        return false;
    for (int i = 1; i < size; i++)
        if (name[i] < 'A' || name[i] > 'Z')
            return false;
    return true;
}

Size cairn_jsonb_room(JsonbValue *value)
{
    switch (value->type) {
    case jbvString:
        return (Size) value->val.string.len + 16;
    case jbvNumeric:
        return (Size) VARSIZE_ANY(value->val.numeric) * 2 + 64;
    case jbvBinary:
        return (Size) value->val.binary.len * 3 + 64;
    default:
        return 64;
    }
}

/* --- jsonb to attribute --- */

static void check_number(struct wire_writer *w, size_t start, bool item_api)
{
    struct wire_reader r = wire_reader_of(w->data + start, w->size - start);
    struct wire_number number;
    int code = wire_number_read(&r, &number);

    if (code == WIRE_OK && item_api)
        code = wire_number_check_limits(&number);
    if (code != WIRE_OK)
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("%s", wire_error_text(code)),
                        errdetail("A number has at most %d significant digits and a magnitude of 1E%d to 9.99E+%d.",
                                  WIRE_NUMBER_DIGITS_MAX, WIRE_NUMBER_EXPONENT_MIN, WIRE_NUMBER_EXPONENT_MAX)));
}

void cairn_jsonb_put_number(struct wire_writer *w, Datum numeric, bool item_api)
{
    char *text = DatumGetCString(DirectFunctionCall1(numeric_out, numeric));
    size_t start = w->size;
    int code = wire_attr_write_number(w, text, strlen(text));

    if (code != WIRE_OK)
        cairn_error_raise(code, NULL);
    check_number(w, start + 1, item_api);
    pfree(text);
}

static void refuse_tag(const JsonbValue *name, const char *needs) pg_attribute_noreturn();
static void refuse_tag(const JsonbValue *name, const char *needs)
{
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("invalid value of tag \"%.*s\"", name->val.string.len, name->val.string.val),
                    errdetail("%s", needs), errhint(TAG_HINT)));
}

/* Strict base64: only what we would write ourselves, so that a value keeps its one form. */
static struct wire_span decode_base64(const JsonbValue *name, const JsonbValue *value)
{
    static const char needs[] = "It must be a string in base64, with padding.";
    struct wire_span out;
    uint8 *bytes;
    char *again;
    int size;
    int length;

    if (value->type != jbvString)
        refuse_tag(name, needs);
    length = pg_b64_dec_len(value->val.string.len);
    bytes = palloc(length + 1);
    size = pg_b64_decode(value->val.string.val, value->val.string.len, (char *) bytes, length);
    if (size < 0)
        refuse_tag(name, needs);
    length = pg_b64_enc_len(size);
    again = palloc(length + 1);
    if (pg_b64_encode((const char *) bytes, size, again, length) != value->val.string.len ||
        memcmp(again, value->val.string.val, (size_t) value->val.string.len) != 0)
        refuse_tag(name, needs);
    pfree(again);
    out.data = bytes;
    out.size = (size_t) size;
    return out;
}

/* The only pair of a one-key object whose key looks like a tag. */
static bool tag_of(JsonbValue *value, JsonbValue *name, JsonbValue *payload)
{
    JsonbIterator *it;

    if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data) ||
        JsonContainerSize(value->val.binary.data) != 1)
        return false;
    it = JsonbIteratorInit(value->val.binary.data);
    (void) JsonbIteratorNext(&it, name, true);
    (void) JsonbIteratorNext(&it, name, true);
    (void) JsonbIteratorNext(&it, payload, true);
    return cairn_jsonb_is_tag(name->val.string.val, name->val.string.len);
}

static bool tag_is(const JsonbValue *name, const char *tag)
{
    return name->val.string.len == (int) strlen(tag) && memcmp(name->val.string.val, tag, strlen(tag)) == 0;
}

bool cairn_jsonb_binary(JsonbValue *value, struct wire_span *out)
{
    JsonbValue name;
    JsonbValue payload;

    if (!tag_of(value, &name, &payload) || !tag_is(&name, "$B"))
        return false;
    *out = decode_base64(&name, &payload);
    return true;
}

static struct wire_span set_member(enum wire_type type, const JsonbValue *name, const JsonbValue *value, bool item_api)
{
    struct wire_span member;
    struct wire_writer w;
    uint8 *room;

    switch (type) {
    case WIRE_STRING_SET:
        if (value->type != jbvString)
            refuse_tag(name, "It must be an array of strings.");
        member.data = (const uint8_t *) value->val.string.val;
        member.size = (size_t) value->val.string.len;
        return member;
    case WIRE_NUMBER_SET:
        if (value->type != jbvNumeric)
            refuse_tag(name, "It must be an array of numbers.");
        room = palloc(cairn_jsonb_room((JsonbValue *) value));
        w = wire_writer_of(room, cairn_jsonb_room((JsonbValue *) value));
        cairn_jsonb_put_number(&w, NumericGetDatum(value->val.numeric), item_api);
        member.data = room + 1; /* without the type byte */
        member.size = w.size - 1;
        return member;
    default:
        return decode_base64(name, value);
    }
}

static void put_set(struct wire_writer *w, enum wire_type type, const JsonbValue *name, JsonbValue *payload,
                    bool item_api)
{
    struct wire_span *members;
    uint32 count = 0;
    JsonbIterator *it;
    JsonbValue element;
    int code;

    if (payload->type != jbvBinary || !JsonContainerIsArray(payload->val.binary.data) ||
        JsonContainerSize(payload->val.binary.data) == 0)
        refuse_tag(name, "It must be an array with at least one member.");
    members = palloc(JsonContainerSize(payload->val.binary.data) * sizeof(*members));
    it = JsonbIteratorInit(payload->val.binary.data);
    (void) JsonbIteratorNext(&it, &element, true);
    while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
        members[count++] = set_member(type, name, &element, item_api);
    code = wire_attr_write_set(w, type, members, count);
    if (code == WIRE_E_DUPLICATE)
        refuse_tag(name, "It must not contain a member twice.");
    if (code != WIRE_OK)
        cairn_error_raise(code, NULL);
    pfree(members);
}

static void put_value(struct wire_writer *w, JsonbValue *value, int depth, bool item_api);

static void put_container(struct wire_writer *w, JsonbContainer *data, int depth, bool item_api)
{
    bool map = JsonContainerIsObject(data);
    struct wire_container container;
    JsonbIterator *it = JsonbIteratorInit(data);
    JsonbIteratorToken token;
    JsonbValue value;

    if (depth >= WIRE_NESTING_MAX)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("value is nested deeper than %d levels", WIRE_NESTING_MAX)));
    container = wire_attr_begin(w, map ? WIRE_MAP : WIRE_LIST);
    (void) JsonbIteratorNext(&it, &value, true);
    while ((token = JsonbIteratorNext(&it, &value, true)) == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM) {
        if (token == WJB_KEY)
            wire_write_span(w, value.val.string.val, (size_t) value.val.string.len);
        else
            put_value(w, &value, depth + 1, item_api);
    }
    wire_attr_end(w, container, JsonContainerSize(data));
}

/* {"$M": {"$X": ...}}: a map that would read as a tag without it, and only that. */
static void put_escaped(struct wire_writer *w, const JsonbValue *name, JsonbValue *payload, int depth, bool item_api)
{
    JsonbValue inner_name;
    JsonbValue inner;

    if (!tag_of(payload, &inner_name, &inner))
        refuse_tag(name, "It must be an object whose only key is \"$\" and capital letters.");
    put_container(w, payload->val.binary.data, depth, item_api);
}

static void put_tagged(struct wire_writer *w, const JsonbValue *name, JsonbValue *payload, int depth, bool item_api)
{
    if (tag_is(name, "$B")) {
        struct wire_span bytes = decode_base64(name, payload);

        wire_attr_write_bytes(w, WIRE_BINARY, bytes.data, bytes.size);
    } else if (tag_is(name, "$SS"))
        put_set(w, WIRE_STRING_SET, name, payload, item_api);
    else if (tag_is(name, "$NS"))
        put_set(w, WIRE_NUMBER_SET, name, payload, item_api);
    else if (tag_is(name, "$BS"))
        put_set(w, WIRE_BINARY_SET, name, payload, item_api);
    else if (tag_is(name, "$M"))
        put_escaped(w, name, payload, depth, item_api);
    else if (tag_is(name, "$N"))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("number is not finite"),
                        errdetail("\"$N\" shows NaN and infinities of numeric columns; they cannot be written through "
                                  "item functions.")));
    else
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("unknown tag \"%.*s\"", name->val.string.len, name->val.string.val), errhint(TAG_HINT)));
}

static void put_value(struct wire_writer *w, JsonbValue *value, int depth, bool item_api)
{
    JsonbValue name;
    JsonbValue payload;

    switch (value->type) {
    case jbvNull:
        wire_attr_write_null(w);
        break;
    case jbvBool:
        wire_attr_write_boolean(w, value->val.boolean);
        break;
    case jbvNumeric:
        cairn_jsonb_put_number(w, NumericGetDatum(value->val.numeric), item_api);
        break;
    case jbvString:
        wire_attr_write_bytes(w, WIRE_STRING, value->val.string.val, (size_t) value->val.string.len);
        break;
    case jbvBinary:
        check_stack_depth();
        if (tag_of(value, &name, &payload))
            put_tagged(w, &name, &payload, depth, item_api);
        else
            put_container(w, value->val.binary.data, depth, item_api);
        break;
    default:
        elog(ERROR, "unexpected jsonb value of type %d", (int) value->type);
    }
}

void cairn_jsonb_put(struct wire_writer *w, JsonbValue *value, bool item_api)
{
    if (value->type == jbvArray || value->type == jbvObject) {
        Jsonb *built = JsonbValueToJsonb(value);
        JsonbValue binary = {.type = jbvBinary};

        binary.val.binary.data = &built->root;
        binary.val.binary.len = VARSIZE(built) - VARHDRSZ;
        put_value(w, &binary, 0, item_api);
    } else
        put_value(w, value, 0, item_api);
}

void cairn_jsonb_write(StringInfo out, JsonbValue *value, bool item_api)
{
    struct wire_writer w = cairn_buffer_writer(out, cairn_jsonb_room(value));

    cairn_jsonb_put(&w, value, item_api);
    cairn_buffer_commit(out, &w);
}

/* --- attribute to jsonb --- */

static void set_string(JsonbValue *out, const char *text, size_t size)
{
    out->type = jbvString;
    out->val.string.val = (char *) text;
    out->val.string.len = (int) size;
}

void cairn_jsonb_tagged(JsonbValue *out, const char *tag, JsonbValue *payload)
{
    JsonbPair *pair = palloc0(sizeof(*pair));

    set_string(&pair->key, tag, strlen(tag));
    pair->value = *payload;
    out->type = jbvObject;
    out->val.object.nPairs = 1;
    out->val.object.pairs = pair;
}

static void read_base64(JsonbValue *out, struct wire_span bytes)
{
    int length = pg_b64_enc_len((int) bytes.size);
    char *text = palloc(length + 1);

    length = pg_b64_encode((const char *) bytes.data, (int) bytes.size, text, length);
    if (length < 0)
        elog(ERROR, "could not encode base64");
    set_string(out, text, (size_t) length);
}

void cairn_jsonb_binary_value(JsonbValue *out, struct wire_span bytes)
{
    JsonbValue payload;

    read_base64(&payload, bytes);
    cairn_jsonb_tagged(out, "$B", &payload);
}

Datum cairn_jsonb_numeric(const struct wire_number *number)
{
    char local[64];
    char *text = local;
    size_t size = 0;
    Datum result;
    int code;

    if (number->form == WIRE_NUMBER_INTEGER)
        return NumericGetDatum(int64_to_numeric(number->integer));
    code = wire_number_to_text(number, text, sizeof(local) - 1, &size);
    if (code == WIRE_E_SHORT_BUFFER) {
        text = palloc(size + 1);
        code = wire_number_to_text(number, text, size, &size);
    }
    if (code != WIRE_OK)
        cairn_error_raise(code, NULL);
    text[size] = '\0';
    result = DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
    if (text != local)
        pfree(text);
    return result;
}

static void must(int code)
{
    if (code != WIRE_OK)
        cairn_error_raise(code, NULL);
}

static void read_value(struct wire_attr *attr, int depth, JsonbValue *out);

static void read_number(const struct wire_number *number, JsonbValue *out)
{
    Datum numeric = cairn_jsonb_numeric(number);

    if (number->form >= WIRE_NUMBER_NAN) {
        JsonbValue payload;
        char *text = DatumGetCString(DirectFunctionCall1(numeric_out, numeric));

        set_string(&payload, text, strlen(text));
        cairn_jsonb_tagged(out, "$N", &payload);
        return;
    }
    out->type = jbvNumeric;
    out->val.numeric = DatumGetNumeric(numeric);
}

/* Bounds were viewed only: a count cannot be trusted beyond the bytes that carry it. */
static JsonbValue *member_array(const struct wire_attr *attr)
{
    if (attr->count > wire_reader_left(&attr->body))
        cairn_error_raise(WIRE_E_CORRUPT, NULL);
    return palloc(Max(attr->count, 1) * sizeof(JsonbValue));
}

static void read_set(struct wire_attr *attr, JsonbValue *out)
{
    JsonbValue list = {.type = jbvArray};
    struct wire_number number;
    struct wire_span bytes;

    list.val.array.elems = member_array(attr);
    list.val.array.nElems = (int) attr->count;
    list.val.array.rawScalar = false;
    for (uint32 i = 0; i < attr->count; i++) {
        if (attr->type == WIRE_NUMBER_SET) {
            must(wire_attr_next_number(attr, &number));
            read_number(&number, &list.val.array.elems[i]);
            continue;
        }
        must(wire_attr_next_bytes(attr, &bytes));
        if (attr->type == WIRE_STRING_SET)
            set_string(&list.val.array.elems[i], (const char *) bytes.data, bytes.size);
        else
            read_base64(&list.val.array.elems[i], bytes);
    }
    cairn_jsonb_tagged(out,
                       attr->type == WIRE_STRING_SET   ? "$SS"
                       : attr->type == WIRE_NUMBER_SET ? "$NS"
                                                       : "$BS",
                       &list);
}

static void read_list(struct wire_attr *attr, int depth, JsonbValue *out)
{
    struct wire_attr member;

    out->type = jbvArray;
    out->val.array.elems = member_array(attr);
    out->val.array.nElems = (int) attr->count;
    out->val.array.rawScalar = false;
    for (uint32 i = 0; i < attr->count; i++) {
        must(wire_attr_next_element(attr, &member));
        read_value(&member, depth + 1, &out->val.array.elems[i]);
    }
}

static void read_map(struct wire_attr *attr, int depth, JsonbValue *out)
{
    JsonbPair *pairs;
    struct wire_attr member;
    struct wire_span name;

    if (attr->count > wire_reader_left(&attr->body))
        cairn_error_raise(WIRE_E_CORRUPT, NULL);
    pairs = palloc0(Max(attr->count, 1) * sizeof(*pairs));
    for (uint32 i = 0; i < attr->count; i++) {
        must(wire_attr_next_entry(attr, &name, &member));
        set_string(&pairs[i].key, (const char *) name.data, name.size);
        read_value(&member, depth + 1, &pairs[i].value);
        pairs[i].order = i;
    }
    out->type = jbvObject;
    out->val.object.pairs = pairs;
    out->val.object.nPairs = (int) attr->count;
    if (attr->count == 1 && cairn_jsonb_is_tag(pairs[0].key.val.string.val, pairs[0].key.val.string.len)) {
        JsonbValue escaped = *out;

        cairn_jsonb_tagged(out, "$M", &escaped);
    }
}

static void read_value(struct wire_attr *attr, int depth, JsonbValue *out)
{
    if (depth > WIRE_NESTING_MAX)
        cairn_error_raise(WIRE_E_CORRUPT, NULL);
    switch (attr->type) {
    case WIRE_NULL:
        out->type = jbvNull;
        return;
    case WIRE_BOOLEAN:
        out->type = jbvBool;
        out->val.boolean = attr->boolean;
        return;
    case WIRE_NUMBER:
        read_number(&attr->number, out);
        return;
    case WIRE_STRING:
        set_string(out, (const char *) attr->bytes.data, attr->bytes.size);
        return;
    case WIRE_BINARY:
        cairn_jsonb_binary_value(out, attr->bytes);
        return;
    case WIRE_LIST:
        read_list(attr, depth, out);
        return;
    case WIRE_MAP:
        read_map(attr, depth, out);
        return;
    case WIRE_STRING_SET:
    case WIRE_NUMBER_SET:
    case WIRE_BINARY_SET:
        read_set(attr, out);
        return;
    case WIRE_OPAQUE:
        break;
    }
    cairn_error_raise(WIRE_E_CORRUPT, NULL);
}

/* Parts of other jsonb must be copied value by value; a tree of our own is converted as it is. */
static int compare_names(const void *a, const void *b)
{
    const JsonbValue *left = &((const JsonbPair *) a)->key;
    const JsonbValue *right = &((const JsonbPair *) b)->key;

    return wire_name_compare(
        (struct wire_span){(const uint8_t *) left->val.string.val, (size_t) left->val.string.len},
        (struct wire_span){(const uint8_t *) right->val.string.val, (size_t) right->val.string.len});
}

void cairn_jsonb_sort(JsonbPair *pairs, int count)
{
    qsort(pairs, (size_t) count, sizeof(JsonbPair), compare_names);
}

Datum cairn_jsonb_object(JsonbPair *pairs, int count)
{
    JsonbValue object = {.type = jbvObject};
    JsonbParseState *state = NULL;
    bool borrowed = false;

    for (int i = 0; i < count; i++)
        borrowed = borrowed || pairs[i].value.type == jbvBinary;
    if (!borrowed) {
        object.val.object.pairs = pairs;
        object.val.object.nPairs = count;
        return JsonbPGetDatum(JsonbValueToJsonb(&object));
    }
    (void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
    for (int i = 0; i < count; i++) {
        (void) pushJsonbValue(&state, WJB_KEY, &pairs[i].key);
        (void) pushJsonbValue(&state, WJB_VALUE, &pairs[i].value);
    }
    return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

JsonbValue *cairn_jsonb_read(struct wire_attr *attr)
{
    JsonbValue *out = palloc(sizeof(*out));

    read_value(attr, 0, out);
    return out;
}
