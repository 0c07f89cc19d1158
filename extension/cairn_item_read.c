/*
 * get_item, query, scan, key_of: reads, with this transaction's own writes laid over.
 *
 * Happy path: a bare get_item reads the newest version in one request; other reads take the snapshot of their statement. query and scan are
 * bounds on encoded keys: batches come from the storage process and are merged, key by key, with the write set.
 *
 * Failure modes: a snapshot older than the retained history (72000), a range or segment that makes no sense (22023), the storage process down
 * (57P03). A set-returning call that is not read to its end leaves nothing behind but memory.
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
PG_FUNCTION_INFO_V1(cairn_key_of);
PG_FUNCTION_INFO_V1(cairn_query);
PG_FUNCTION_INFO_V1(cairn_scan);

/* --- one item --- */

CommandId cairn_item_read_command(void)
{
    /* As for any volatile function: what this transaction did up to here is visible. */
    if (!cairn_writeset_empty() && !IsInParallelMode())
        CommandCounterIncrement();
    return GetCurrentCommandId(false);
}

static struct wire_span fetch_item(const CairnItemCall *call, struct wire_span key)
{
    struct wire_request header = {0};
    struct wire_span item = {NULL, 0};
    CairnOwnVersion own;
    CairnRequest request;
    CairnReply reply;
    CommandId command = cairn_item_read_command();

    if (!call->bare && cairn_writeset_find(key, command, &own)) {
        uint8 *copy = palloc(own.item.size + 1);

        if (!own.deleted)
            memcpy(copy, own.item.data, own.item.size);
        return own.deleted ? item : (struct wire_span){copy, own.item.size};
    }
    cairn_xact_fill_header(&header, call->table->storage_id, call->bare ? 0 : cairn_xact_snapshot(GetActiveSnapshot()), command);
    header.operation = WIRE_GET;
    cairn_request_begin(&request, &header, key.size + 32);
    wire_write_varint(&request.writer, 1);
    wire_write_span(&request.writer, key.data, key.size);
    cairn_lane_call(&request, &reply);
    if (reply.status != WIRE_OK)
        cairn_item_raise(call, reply.status, key);
    if (wire_read_varint(&reply.body) == 1 && wire_read_u8(&reply.body))
        item = wire_read_span(&reply.body);
    if (wire_reader_finish(&reply.body) != WIRE_OK)
        cairn_item_raise(call, WIRE_E_INTERNAL, key);
    cairn_usage.items_read += item.size > 0;
    cairn_usage.bytes_read += item.size;
    return item;
}

Datum cairn_get_item(PG_FUNCTION_ARGS)
{
    CairnItemCall call;
    CairnItemInput input;
    uint8 *key = palloc(WIRE_KEY_MAX);
    struct wire_span span = {key, 0};
    Datum result;

    cairn_item_begin(&call, fcinfo, "get item", ACL_SELECT);
    span.size = cairn_input_key_object(&call, cairn_item_required(fcinfo, 1, "key"), false, &input, key);
    result = cairn_item_result(&call, fcinfo, span, fetch_item(&call, span));
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

/* --- ranges --- */

/* A set-returning read between two calls. Lives in the function's multi-call context. */
typedef struct ItemScan {
    CairnItemCall call;
    MemoryContext batch_context;
    uint8 low[WIRE_KEY_MAX + 1];
    uint8 high[WIRE_KEY_MAX + 1];
    Size low_size;
    Size high_size;
    bool forward;
    bool limited;
    int64 remaining;
    uint64 snapshot;
    CommandId command;
    bool overlay;     /* the transaction has writes of its own */
    CairnReply batch; /* what is left of the last batch, in batch_context */
    uint64 batch_left;
    bool more;
    bool stored_ready; /* the next stored item, if it was read ahead */
    struct wire_span stored_key;
    struct wire_span stored_item;
    bool own_ended;
    bool own_started;
    bool own_ready;
    uint8 own_key[WIRE_KEY_MAX];
    Size own_key_size;
} ItemScan;

static struct wire_span low_of(const ItemScan *scan)
{
    return (struct wire_span){scan->low, scan->low_size};
}

static struct wire_span high_of(const ItemScan *scan)
{
    return (struct wire_span){scan->high, scan->high_size};
}

static bool is_empty(const ItemScan *scan)
{
    return wire_span_compare(low_of(scan), high_of(scan)) >= 0;
}

static void fetch_batch(ItemScan *scan)
{
    struct wire_request header = {0};
    CairnRequest request;
    MemoryContext old;

    MemoryContextReset(scan->batch_context);
    old = MemoryContextSwitchTo(scan->batch_context);
    cairn_xact_fill_header(&header, scan->call.table->storage_id, scan->snapshot, scan->command);
    header.operation = WIRE_SCAN;
    cairn_request_begin(&request, &header, scan->low_size + scan->high_size + 64);
    wire_write_u8(&request.writer, scan->forward ? 0 : 1);
    wire_write_span(&request.writer, scan->low, scan->low_size);
    wire_write_span(&request.writer, scan->high, scan->high_size);
    wire_write_varint(&request.writer, scan->limited && !scan->overlay ? (uint64_t) scan->remaining : 0);
    wire_write_varint(&request.writer, WIRE_SCAN_REPLY_TARGET);
    cairn_lane_call(&request, &scan->batch);
    MemoryContextSwitchTo(old);
    if (scan->batch.status != WIRE_OK)
        cairn_item_raise(&scan->call, scan->batch.status, (struct wire_span){NULL, 0});
    scan->more = wire_read_u8(&scan->batch.body) != 0;
    scan->batch_left = wire_read_varint(&scan->batch.body);
    if (scan->batch.body.failed)
        cairn_item_raise(&scan->call, WIRE_E_INTERNAL, (struct wire_span){NULL, 0});
}

/* The rest of the range begins behind `key`. */
static void pass(ItemScan *scan, struct wire_span key)
{
    if (scan->forward) {
        memcpy(scan->low, key.data, key.size);
        scan->low[key.size] = 0;
        scan->low_size = key.size + 1;
    } else {
        memcpy(scan->high, key.data, key.size);
        scan->high_size = key.size;
    }
}

static bool stored_next(ItemScan *scan)
{
    while (!scan->stored_ready) {
        if (scan->batch_left == 0) {
            if (!scan->more || is_empty(scan))
                return false;
            fetch_batch(scan);
            continue;
        }
        scan->batch_left--;
        scan->stored_key = wire_read_span(&scan->batch.body);
        scan->stored_item = wire_read_span(&scan->batch.body);
        if (scan->batch.body.failed || scan->stored_key.size > WIRE_KEY_MAX)
            cairn_item_raise(&scan->call, WIRE_E_INTERNAL, (struct wire_span){NULL, 0});
        if (scan->batch_left == 0 && scan->more)
            pass(scan, scan->stored_key);
        cairn_usage.items_read++;
        cairn_usage.bytes_read += scan->stored_item.size;
        scan->stored_ready = true;
    }
    return true;
}

/* The next own version at or behind the last own key; the bounds of the whole range are kept by own_key alone once it has started. */
static bool own_next(ItemScan *scan, struct wire_span low, struct wire_span high, CairnOwnVersion *own)
{
    struct wire_span from = scan->own_started ? (struct wire_span){scan->own_key, scan->own_key_size} : scan->forward ? low : high;
    struct wire_span found;
    bool exclusive = scan->own_started ? !scan->own_ready : !scan->forward;

    if (!scan->overlay || scan->own_ended)
        return false;
    if (!cairn_writeset_seek(from, exclusive, scan->forward, low, high, scan->command, &found, own) || found.size > WIRE_KEY_MAX) {
        scan->own_ended = true;
        return false;
    }
    memcpy(scan->own_key, found.data, found.size);
    scan->own_key_size = found.size;
    scan->own_started = scan->own_ready = true;
    return true;
}

/* The next item of the merged range, or false. The spans last until the next call. */
static bool scan_next(ItemScan *scan, struct wire_span *key, struct wire_span *item)
{
    for (;;) {
        struct wire_span all_low = low_of(scan);
        struct wire_span all_high = high_of(scan);
        CairnOwnVersion own;
        bool has_stored = stored_next(scan);
        bool has_own;
        int order;

        /* Own keys before the stored one were delivered already; bounds moved by a batch must not hide those within it. */
        if (scan->overlay && scan->forward)
            all_low = (struct wire_span){scan->low, WIRE_KEY_PREFIX_SIZE};
        else if (scan->overlay)
            all_high.size = all_high.size;
        has_own = own_next(scan, all_low, all_high, &own);
        if (!has_stored && !has_own)
            return false;
        order = !has_own ? -1 : !has_stored ? 1 : wire_span_compare(scan->stored_key, (struct wire_span){scan->own_key, scan->own_key_size});
        if (has_own && has_stored && !scan->forward)
            order = -order;
        if (order <= 0)
            scan->stored_ready = false;
        if (order < 0) {
            *key = scan->stored_key;
            *item = scan->stored_item;
            return true;
        }
        scan->own_ready = false;
        if (own.deleted)
            continue;
        *key = (struct wire_span){scan->own_key, scan->own_key_size};
        *item = own.item;
        return true;
    }
}
