/*
 * query and scan: ranges of keys, with this transaction's own writes laid over.
 *
 * Happy path: the arguments become bounds on encoded keys, low inclusive and high exclusive; a walk over them
 * (cairn_range.h) merges stored items and own writes; one item is returned per call.
 *
 * Failure modes: a condition or segment that makes no sense (22023), segments of a range table (0A000), a snapshot
 * older than the retained history (72000), the storage process down (57P03). A call that is not read to its end is
 * closed with its expression context.
 */
#include "cairn_item_parts.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "cairn_error.h"
#include "cairn_range.h"

#define SORT_HINT                                                                                                      \
    "A sort condition is {\"=\": v}, {\"<\": v}, {\"<=\": v}, {\">\": v}, {\">=\": v}, {\"between\": [a, b]} or "      \
    "{\"begins_with\": prefix}."

#define SEGMENTS_MAX 1000000 /* DynamoDB's */

PG_FUNCTION_INFO_V1(cairn_query);
PG_FUNCTION_INFO_V1(cairn_scan);

typedef struct Bound {
    uint8 data[WIRE_KEY_MAX + 1];
    Size size;
} Bound;

/* A set-returning read between two calls. Lives in the function's multi-call context; the relation stays open until the
 * end. */
typedef struct ItemScan {
    CairnItemCall call;
    ExprContext *expression;
    CairnRange *range;
    Bound low;
    Bound high;
    bool forward;
    bool limited;
    int64 remaining;
} ItemScan;

static struct wire_span span_of(const Bound *bound)
{
    return (struct wire_span){bound->data, bound->size};
}

/* --- starting and returning --- */

/* Continue strictly behind the key that the caller got last. */
static void apply_start_key(ItemScan *scan, Jsonb *start)
{
    CairnItemInput input;
    Bound key;

    if (!start)
        return;
    key.size = cairn_input_key_object(&scan->call, start, true, &input, key.data);
    if (scan->forward) {
        key.data[key.size++] = 0;
        if (wire_span_compare(span_of(&key), span_of(&scan->low)) > 0)
            scan->low = key;
    } else if (wire_span_compare(span_of(&key), span_of(&scan->high)) < 0)
        scan->high = key;
}

static void apply_limit(ItemScan *scan, FunctionCallInfo fcinfo, int index)
{
    scan->limited = !PG_ARGISNULL(index);
    if (!scan->limited)
        return;
    scan->remaining = PG_GETARG_INT32(index);
    if (scan->remaining < 0)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"max_items\" must not be negative")));
}

static void close_scan(Datum argument)
{
    ItemScan *scan = (ItemScan *) DatumGetPointer(argument);

    if (scan->range)
        cairn_range_end(scan->range);
    cairn_item_end(&scan->call);
}

static void start_scan(FunctionCallInfo fcinfo, ItemScan *scan)
{
    CommandId command = cairn_item_read_command();
    CairnView view;

    cairn_view_init(&view, scan->call.relation, GetActiveSnapshot());
    view.curcid = command;
    if (wire_span_compare(span_of(&scan->low), span_of(&scan->high)) < 0) {
        scan->range = cairn_range_begin(&view, 0);
        cairn_range_set(scan->range, span_of(&scan->low), span_of(&scan->high));
        if (scan->limited)
            cairn_range_expect(scan->range, (uint64) scan->remaining);
    }
    scan->expression = ((ReturnSetInfo *) fcinfo->resultinfo)->econtext;
    RegisterExprContextCallback(scan->expression, close_scan, PointerGetDatum(scan));
}

/* The next item that the caller may see. */
static bool next_item(ItemScan *scan, CairnRow *row)
{
    if (!scan->range || (scan->limited && scan->remaining == 0))
        return false;
    do {
        CHECK_FOR_INTERRUPTS();
        if (!cairn_range_next(scan->range, scan->forward ? ForwardScanDirection : BackwardScanDirection, row))
            return false;
    } while (!cairn_policy_shows_item(&scan->call, row->key, row->item));
    scan->remaining -= scan->limited;
    return true;
}

static Datum return_next(FunctionCallInfo fcinfo, FuncCallContext *context)
{
    ItemScan *scan = context->user_fctx;
    CairnRow row;

    if (!next_item(scan, &row)) {
        UnregisterExprContextCallback(scan->expression, close_scan, PointerGetDatum(scan));
        close_scan(PointerGetDatum(scan));
        SRF_RETURN_DONE(context);
    }
    SRF_RETURN_NEXT(context, cairn_row_to_jsonb(scan->call.relation, scan->call.table, row.key, row.item));
}

/* --- bounds of a query --- */

static void prefix_end(Bound *bound)
{
    struct wire_writer w = wire_writer_of(bound->data, sizeof(bound->data));

    w.size = bound->size;
    (void) wire_key_prefix_end(&w);
    bound->size = w.size;
}

static void append_column(const ItemScan *scan, int index, JsonbValue *value, Bound *bound);

/* {"Artist": "x"}, further leading key columns allowed; or the partition key's value alone. Returns how many columns
 * are given. */
static int partition_bounds(ItemScan *scan, Jsonb *partition)
{
    const CairnTable *table = scan->call.table;
    CairnItemInput input;
    JsonbValue value;
    struct wire_span ignored;
    int count = 0;
    bool alone = JsonbExtractScalar(&partition->root, &value);

    if (!alone) {
        value.type = jbvBinary;
        value.val.binary.data = &partition->root;
        value.val.binary.len = (int) VARSIZE(partition) - VARHDRSZ;
        alone = cairn_jsonb_binary(&value, &ignored);
    }
    if (alone) {
        append_column(scan, 0, &value, &scan->low);
        return 1;
    }
    cairn_input_split(&scan->call, partition, "partition key", &input);
    for (; count < table->key_count && input.present[table->key[count].number - 1]; count++)
        append_column(scan, count, &input.columns[table->key[count].number - 1], &scan->low);
    for (int i = 0, given = 0; i <= table->column_count; i++) {
        given += i < table->column_count ? input.present[i] : input.named_count;
        if (i == table->column_count && (count == 0 || given != count))
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("partition key for table %s must consist of \"%s\"%s",
                                   cairn_table_name(scan->call.relation),
                                   cairn_item_column_name(&scan->call, table->key[0].number),
                                   table->key_count > 1 ? " and, as far as given, the key columns behind it" : "")));
    }
    return count;
}

/* The value of one key column, checked and converted. */
static Datum key_datum(const ItemScan *scan, int index, JsonbValue *value)
{
    const CairnItemCall *call = &scan->call;
    const CairnColumn *column = &call->table->columns[call->table->key[index].number - 1];
    bool null = false;
    Datum datum;

    if (value->type == jbvNull || (column->codec == CAIRN_CODEC_BINARY && value->type != jbvString))
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("key attribute \"%s\" of table %s cannot have this value",
                               cairn_item_column_name(call, column->number), cairn_table_name(call->relation))));
    cairn_input_check_kind(call, column, value);
    datum = cairn_input_datum(call, column, value, &null);
    if (null)
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("key attribute \"%s\" must not be null", cairn_item_column_name(call, column->number))));
    return datum;
}

/* Encode key columns 0..index with `value` last, the ones before it as the bound has them. */
static void append_column(const ItemScan *scan, int index, JsonbValue *value, Bound *bound)
{
    CairnTable *table = scan->call.table;
    AttrNumber number = table->key[index].number;
    Bound *whole = palloc(sizeof(*whole));
    struct wire_reader r;
    Datum values[WIRE_KEY_COLUMNS_MAX];
    CairnTable *one = table;
    Size start;

    values[0] = key_datum(scan, index, value);
    if (index > 0) {
        /* The encoding of a column does not depend on the others: encode it as the first of a key without hash. */
        one = palloc(table->chunk_size);
        memcpy(one, table, table->chunk_size);
        one->hashed = false;
        one->key[0] = table->key[index];
    }
    whole->size = cairn_row_key_prefix(scan->call.relation, one, values, 1, whole->data);
    if (whole->size == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("key attribute \"%s\" of table %s cannot have this value",
                               cairn_item_column_name(&scan->call, number), cairn_table_name(scan->call.relation)),
                        errdetail("It is empty, not finite or too large.")));
    start = index == 0 ? 0 : WIRE_KEY_PREFIX_SIZE;
    if (index == 0)
        bound->size = 0;
    r = wire_reader_of(whole->data, whole->size);
    (void) wire_read_bytes(&r, start);
    if (bound->size + whole->size - start > WIRE_KEY_MAX)
        cairn_item_raise(&scan->call, WIRE_E_KEY_SIZE, (struct wire_span){NULL, 0});
    memcpy(bound->data + bound->size, whole->data + start, whole->size - start);
    bound->size += whole->size - start;
    pfree(whole);
}

static void raise_sort_condition(const char *what) pg_attribute_noreturn();
static void raise_sort_condition(const char *what)
{
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", what), errhint(SORT_HINT)));
}

static void apply_begins_with(ItemScan *scan, int index, JsonbValue *value)
{
    const CairnKeyColumn *key = &scan->call.table->key[index];
    struct wire_writer w = wire_writer_of(scan->low.data, WIRE_KEY_MAX);
    struct wire_key_value prefix = {.type = key->type};

    if (key->type == WIRE_KEY_TEXT && value->type == jbvString)
        prefix.bytes = (struct wire_span){(const uint8_t *) value->val.string.val, (size_t) value->val.string.len};
    else if (key->type != WIRE_KEY_BYTES || !cairn_jsonb_binary(value, &prefix.bytes))
        raise_sort_condition("\"begins_with\" needs a text or bytea sort key and a prefix of its type");
    w.size = scan->low.size;
    if (wire_key_write_column_prefix(&w, &prefix) != WIRE_OK)
        cairn_item_raise(&scan->call, WIRE_E_KEY_SIZE, (struct wire_span){NULL, 0});
    scan->low.size = w.size;
    scan->high = scan->low;
    prefix_end(&scan->high);
}

static void apply_between(ItemScan *scan, int index, JsonbValue *value)
{
    JsonbIterator *it;
    JsonbValue ends[2];
    JsonbValue ignored;

    if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
        JsonContainerSize(value->val.binary.data) != 2)
        raise_sort_condition("\"between\" needs an array of two values");
    it = JsonbIteratorInit(value->val.binary.data);
    (void) JsonbIteratorNext(&it, &ignored, true);
    (void) JsonbIteratorNext(&it, &ends[0], true);
    (void) JsonbIteratorNext(&it, &ends[1], true);
    scan->high = scan->low;
    append_column(scan, index, &ends[0], &scan->low);
    append_column(scan, index, &ends[1], &scan->high);
    prefix_end(&scan->high);
}

/* low holds the given columns and high is yet unset. */
static void apply_comparison(ItemScan *scan, int index, const char *operator, JsonbValue * value)
{
    Bound at = scan->low;

    append_column(scan, index, value, &at);
    scan->high = scan->low;
    prefix_end(&scan->high);
    if (strcmp(operator, "=") == 0 || strcmp(operator, "<=") == 0) {
        scan->high = at;
        prefix_end(&scan->high);
    } else if (strcmp(operator, "<") == 0)
        scan->high = at;
    if (strcmp(operator, "=") == 0 || strcmp(operator, ">=") == 0)
        scan->low = at;
    else if (strcmp(operator, ">") == 0) {
        scan->low = at;
        prefix_end(&scan->low);
    }
}

static void sort_bounds(ItemScan *scan, int index, Jsonb *condition)
{
    static const char *const comparisons[] = {"=", "<", "<=", ">", ">="};
    JsonbIterator *it;
    JsonbValue name;
    JsonbValue value;
    char *operator;

    if (index >= scan->call.table->key_count)
        raise_sort_condition(
            psprintf("table %s has no sort key left for a sort condition", cairn_table_name(scan->call.relation)));
    if (!JB_ROOT_IS_OBJECT(condition) || JB_ROOT_COUNT(condition) != 1)
        raise_sort_condition("a sort condition must be an object with one member");
    it = JsonbIteratorInit(&condition->root);
    (void) JsonbIteratorNext(&it, &name, true);
    (void) JsonbIteratorNext(&it, &name, true);
    (void) JsonbIteratorNext(&it, &value, true);
    operator= pnstrdup(name.val.string.val, (Size) name.val.string.len);
    if (strcmp(operator, "begins_with") == 0) {
        apply_begins_with(scan, index, &value);
        return;
    }
    if (strcmp(operator, "between") == 0) {
        apply_between(scan, index, &value);
        return;
    }
    for (int i = 0; i < (int) lengthof(comparisons); i++) {
        if (strcmp(operator, comparisons[i]) == 0) {
            apply_comparison(scan, index, operator, & value);
            return;
        }
    }
    raise_sort_condition(psprintf("unknown sort condition \"%s\"", operator));
}

static void begin_query(FunctionCallInfo fcinfo, ItemScan *scan)
{
    Jsonb *partition;
    int given;

    cairn_item_begin(&scan->call, fcinfo, "query items", ACL_SELECT);
    partition = cairn_item_required(fcinfo, 1, "partition_key");
    scan->forward = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
    given = partition_bounds(scan, partition);
    if (PG_ARGISNULL(2)) {
        scan->high = scan->low;
        prefix_end(&scan->high);
    } else
        sort_bounds(scan, given, PG_GETARG_JSONB_P(2));
    apply_limit(scan, fcinfo, 4);
    apply_start_key(scan, cairn_item_argument(fcinfo, 5));
    start_scan(fcinfo, scan);
}

/* --- bounds of a scan --- */

static void hash_bound(const CairnTable *table, uint64 hash, Bound *bound)
{
    struct wire_writer w = wire_writer_of(bound->data, sizeof(bound->data));

    wire_key_write_prefix(&w, table->storage_id, 0);
    if (hash > PG_UINT32_MAX)
        (void) wire_key_prefix_end(&w);
    else
        wire_write_u32(&w, (uint32_t) hash);
    bound->size = w.size;
}

static void begin_scan(FunctionCallInfo fcinfo, ItemScan *scan)
{
    int64 segment;
    int64 total;

    cairn_item_begin(&scan->call, fcinfo, "scan items", ACL_SELECT);
    segment = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3);
    total = PG_ARGISNULL(4) ? 1 : PG_GETARG_INT32(4);
    if (total < 1 || total > SEGMENTS_MAX || segment < 0 || segment >= total)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("segment must be from 0 to total_segments - 1, and total_segments from 1 to %d",
                               SEGMENTS_MAX)));
    if (total > 1 && !scan->call.table->hashed)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("table %s is partitioned by range and cannot be scanned in segments",
                               cairn_table_name(scan->call.relation)),
                        errhint("Scan it in one segment.")));
    scan->forward = true;
    if (scan->call.table->hashed) {
        hash_bound(scan->call.table, ((UINT64CONST(1) << 32) * (uint64) segment + (uint64) total - 1) / (uint64) total,
                   &scan->low);
        hash_bound(scan->call.table,
                   ((UINT64CONST(1) << 32) * (uint64) (segment + 1) + (uint64) total - 1) / (uint64) total,
                   &scan->high);
    } else {
        scan->low.size = cairn_row_key_prefix(scan->call.relation, scan->call.table, NULL, 0, scan->low.data);
        scan->high = scan->low;
        prefix_end(&scan->high);
    }
    apply_limit(scan, fcinfo, 1);
    apply_start_key(scan, cairn_item_argument(fcinfo, 2));
    start_scan(fcinfo, scan);
}

static Datum run(FunctionCallInfo fcinfo, void (*begin)(FunctionCallInfo, ItemScan *))
{
    FuncCallContext *context;

    if (SRF_IS_FIRSTCALL()) {
        MemoryContext old;

        context = SRF_FIRSTCALL_INIT();
        old = MemoryContextSwitchTo(context->multi_call_memory_ctx);
        context->user_fctx = palloc0(sizeof(ItemScan));
        begin(fcinfo, context->user_fctx);
        MemoryContextSwitchTo(old);
    }
    context = SRF_PERCALL_SETUP();
    return return_next(fcinfo, context);
}

Datum cairn_query(PG_FUNCTION_ARGS)
{
    return run(fcinfo, begin_query);
}

Datum cairn_scan(PG_FUNCTION_ARGS)
{
    return run(fcinfo, begin_scan);
}
