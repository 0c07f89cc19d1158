/*
 * get_item, batch_get_item, key_of: reads by key, with this transaction's own writes laid over.
 *
 * Happy path: a bare get_item reads the newest version in one request; other reads take the snapshot of their
 * statement. batch_get_item asks for all keys that the transaction has not written itself in one request.
 *
 * Failure modes: a snapshot older than the retained history (72000), a batch over its limits (54000) or with a key
 * twice (22023), the storage process down (57P03). A batch whose items do not fit a reply is asked for in halves.
 */
#include "cairn_item_parts.h"

#include "access/xact.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "cairn_error.h"
#include "cairn_writeset.h"

PG_FUNCTION_INFO_V1(cairn_get_item);
PG_FUNCTION_INFO_V1(cairn_batch_get_item);
PG_FUNCTION_INFO_V1(cairn_key_of);

/* --- one item --- */

CommandId cairn_item_read_command(void)
{
    /* As for any volatile function: what this transaction did up to here is visible. */
    if (!cairn_writeset_empty() && !IsInParallelMode())
        CommandCounterIncrement();
    return GetCurrentCommandId(false);
}

/* The newest own version, copied; false: the transaction has not written the key. */
static bool own_item(struct wire_span key, CommandId command, struct wire_span *item)
{
    CairnOwnVersion own;
    uint8 *copy;

    if (!cairn_writeset_find(key, command, &own))
        return false;
    *item = (struct wire_span){NULL, 0};
    if (own.deleted)
        return true;
    copy = palloc(own.item.size);
    memcpy(copy, own.item.data, own.item.size);
    *item = (struct wire_span){copy, own.item.size};
    return true;
}

/* Several keys in one request; in halves if their items do not fit one reply. */
static void fetch_items(const CairnItemCall *call, CommandId command, const struct wire_span *keys,
                        struct wire_span *items, const int *wanted, int count)
{
    struct wire_request header = {.operation = WIRE_GET};
    CairnRequest request;
    CairnReply reply;
    Size size = 64;

    for (int i = 0; i < count; i++)
        size += keys[wanted[i]].size + 16;
    cairn_xact_fill_header(&header, call->table->storage_id, call->bare ? 0 : cairn_xact_snapshot(GetActiveSnapshot()),
                           command);
    cairn_request_begin(&request, &header, size);
    wire_write_varint(&request.writer, (uint64_t) count);
    for (int i = 0; i < count; i++)
        wire_write_span(&request.writer, keys[wanted[i]].data, keys[wanted[i]].size);
    cairn_lane_call(&request, &reply);
    if (reply.status == WIRE_E_TOO_LARGE && count > 1) {
        fetch_items(call, command, keys, items, wanted, count / 2);
        fetch_items(call, command, keys, items, wanted + count / 2, count - count / 2);
        return;
    }
    if (reply.status != WIRE_OK)
        cairn_item_raise(call, reply.status, count == 1 ? keys[wanted[0]] : (struct wire_span){NULL, 0});
    if (wire_read_varint(&reply.body) != (uint64_t) count)
        cairn_item_raise(call, WIRE_E_INTERNAL, keys[wanted[0]]);
    for (int i = 0; i < count; i++) {
        if (wire_read_u8(&reply.body))
            items[wanted[i]] = wire_read_span(&reply.body);
    }
    if (wire_reader_finish(&reply.body) != WIRE_OK)
        cairn_item_raise(call, WIRE_E_INTERNAL, keys[wanted[0]]);
}

static struct wire_span fetch_item(const CairnItemCall *call, struct wire_span key)
{
    struct wire_span item = {NULL, 0};
    CommandId command = cairn_item_read_command();
    int first = 0;

    if (call->bare || !own_item(key, command, &item))
        fetch_items(call, command, &key, &item, &first, 1);
    return item;
}

Datum cairn_get_item(PG_FUNCTION_ARGS)
{
    CairnItemCall call;
    CairnItemInput input;
    uint8 *key = palloc(WIRE_KEY_MAX);
    struct wire_span span = {key, 0};
    struct wire_span item;
    Datum result;

    cairn_item_begin(&call, fcinfo, "get item", ACL_SELECT);
    span.size = cairn_input_key_object(&call, cairn_item_required(fcinfo, 1, "key"), false, &input, key);
    item = fetch_item(&call, span);
    if (!cairn_policy_shows_item(&call, span, item))
        item.size = 0;
    result = cairn_item_result(&call, fcinfo, span, item);
    cairn_item_end(&call);
    return result;
}

Datum cairn_key_of(PG_FUNCTION_ARGS)
{
    CairnItemCall call;
    CairnItemInput input;
    uint8 *key = palloc(WIRE_KEY_MAX);
    JsonbParseState *state = NULL;
    Jsonb *item;

    cairn_item_begin(&call, fcinfo, "take the key of an item", ACL_SELECT);
    item = cairn_item_required(fcinfo, 1, "item");
    (void) cairn_input_key_object(&call, item, true, &input, key);
    (void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
    for (int i = 0; i < call.table->key_count; i++) {
        AttrNumber number = call.table->key[i].number;
        JsonbValue name = {.type = jbvString};

        name.val.string.val = (char *) cairn_item_column_name(&call, number);
        name.val.string.len = (int) strlen(name.val.string.val);
        (void) pushJsonbValue(&state, WJB_KEY, &name);
        (void) pushJsonbValue(&state, WJB_VALUE, &input.columns[number - 1]);
    }
    cairn_item_end(&call);
    PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* --- batches --- */

int cairn_item_array(Jsonb *array, const char *name, int most, Jsonb ***elements)
{
    JsonbIterator *it;
    JsonbValue element;
    int count = 0;
    int size = (int) JB_ROOT_COUNT(array);

    if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"%s\" must be a JSON array", name)));
    if (size > most)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("argument \"%s\" has %d elements, more than %d", name, size, most)));
    *elements = palloc((Size) Max(size, 1) * sizeof(Jsonb *));
    it = JsonbIteratorInit(&array->root);
    (void) JsonbIteratorNext(&it, &element, true);
    while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
        (*elements)[count++] = JsonbValueToJsonb(&element);
    return count;
}

typedef struct KeyPlace {
    struct wire_span key;
    int index;
} KeyPlace;

static int compare_places(const void *a, const void *b)
{
    return wire_span_compare(((const KeyPlace *) a)->key, ((const KeyPlace *) b)->key);
}

void cairn_item_refuse_twice(const CairnItemCall *call, const struct wire_span *keys, int count)
{
    KeyPlace *places = palloc((Size) Max(count, 1) * sizeof(*places));

    for (int i = 0; i < count; i++)
        places[i] = (KeyPlace){keys[i], i};
    qsort(places, (size_t) count, sizeof(*places), compare_places);
    for (int i = 1; i < count; i++)
        if (wire_span_compare(places[i - 1].key, places[i].key) == 0)
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a key occurs twice in one batch"),
                            errdetail("Table %s, key %s.", cairn_table_name(call->relation),
                                      cairn_row_key_text(call->relation, call->table, places[i].key))));
    pfree(places);
}

struct wire_span cairn_item_key_copy(const CairnItemCall *call, Jsonb *object, CairnItemInput *input, bool lenient)
{
    uint8 *key = palloc(WIRE_KEY_MAX);
    struct wire_span span = {key, cairn_input_key_object(call, object, lenient, input, key)};

    span.data = repalloc(key, span.size);
    return span;
}

typedef struct BatchGet {
    Datum *items;
    int count;
    int next;
} BatchGet;

static BatchGet *batch_get(FunctionCallInfo fcinfo)
{
    CairnItemCall call;
    CairnItemInput input;
    Jsonb **elements;
    BatchGet *batch = palloc0(sizeof(*batch));
    struct wire_span *keys;
    struct wire_span *items;
    CommandId command;
    int *wanted;
    int wanted_count = 0;
    int count;

    cairn_item_begin(&call, fcinfo, "get items", ACL_SELECT);
    count = cairn_item_array(cairn_item_required(fcinfo, 1, "keys"), "keys", WIRE_BATCH_GET_MAX, &elements);
    keys = palloc((Size) Max(count, 1) * sizeof(*keys));
    items = palloc0((Size) Max(count, 1) * sizeof(*items));
    wanted = palloc((Size) Max(count, 1) * sizeof(*wanted));
    command = cairn_item_read_command();
    for (int i = 0; i < count; i++) {
        keys[i] = cairn_item_key_copy(&call, elements[i], &input, false);
        if (!own_item(keys[i], command, &items[i]))
            wanted[wanted_count++] = i;
    }
    cairn_item_refuse_twice(&call, keys, count);
    if (wanted_count > 0)
        fetch_items(&call, command, keys, items, wanted, wanted_count);
    batch->items = palloc((Size) Max(count, 1) * sizeof(Datum));
    for (int i = 0; i < count; i++)
        if (items[i].size > 0 && cairn_policy_shows_item(&call, keys[i], items[i]))
            batch->items[batch->count++] = cairn_row_to_jsonb(call.relation, call.table, keys[i], items[i]);
    cairn_item_end(&call);
    return batch;
}

Datum cairn_batch_get_item(PG_FUNCTION_ARGS)
{
    FuncCallContext *context;
    BatchGet *batch;

    if (SRF_IS_FIRSTCALL()) {
        MemoryContext old;

        context = SRF_FIRSTCALL_INIT();
        old = MemoryContextSwitchTo(context->multi_call_memory_ctx);
        context->user_fctx = batch_get(fcinfo);
        MemoryContextSwitchTo(old);
    }
    context = SRF_PERCALL_SETUP();
    batch = context->user_fctx;
    if (batch->next == batch->count)
        SRF_RETURN_DONE(context);
    SRF_RETURN_NEXT(context, batch->items[batch->next++]);
}
