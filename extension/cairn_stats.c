/*
 * What the views show: request counters out of shared memory, the status and the storages as the storage process tells
 * them.
 *
 * Failure modes: 55000 without shared_preload_libraries; 57P03 while the storage process is down (not for the
 * counters); XX001 for a reply that does not follow its format.
 */
#include "cairn_pg.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "cairn_error.h"
#include "cairn_lane.h"
#include "cairn_shared.h"
#include "cairn_table.h"

#define REQUEST_COLUMNS 10
#define STORAGE_COLUMNS 5
#define STATUS_COLUMNS 2

PG_FUNCTION_INFO_V1(cairn_request_counters);
PG_FUNCTION_INFO_V1(cairn_storage_status);
PG_FUNCTION_INFO_V1(cairn_storages);

static const char *const operation_names[WIRE_OPERATION_COUNT] = {
    [WIRE_GET] = "get",
    [WIRE_SCAN] = "scan",
    [WIRE_WRITE] = "write",
    [WIRE_COMMIT] = "commit",
    [WIRE_SPILL] = "spill",
    [WIRE_ABORT] = "abort",
    [WIRE_DECIDE] = "decide",
    [WIRE_STORAGE] = "create storage",
    [WIRE_LOOKUP] = "look up storage",
    [WIRE_DROP] = "drop storage",
    [WIRE_STORAGES] = "list storages",
    [WIRE_STATUS] = "status",
};

/* A copy of one operation's latency buckets, so that the figures of a row agree. */
typedef struct Histogram {
    uint64 counts[WIRE_LATENCY_BUCKETS];
    uint64 total;
} Histogram;

static uint64 load(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static Histogram histogram_of(struct wire_counters *counters)
{
    Histogram h = {{0}, 0};

    for (int b = 0; b < WIRE_LATENCY_BUCKETS; b++) {
        h.counts[b] = load(&counters->latency[b]);
        h.total += h.counts[b];
    }
    return h;
}

/* The latency below which a share of the requests lies, taking those of a bucket as spread evenly over it. */
static double percentile_us(const Histogram *h, double share)
{
    double wanted = share * (double) h->total;
    double below = 0;

    for (int b = 0; b < WIRE_LATENCY_BUCKETS; b++) {
        double count = (double) h->counts[b];
        double low = b == 0 ? 0 : (double) (UINT64CONST(1) << b);
        double high = (double) (UINT64CONST(1) << (b + 1));

        if (count > 0 && below + count >= wanted)
            return low + (high - low) * (wanted - below) / count;
        below += count;
    }
    return 0;
}

static Datum histogram_array(const Histogram *h)
{
    Datum elements[WIRE_LATENCY_BUCKETS];

    for (int b = 0; b < WIRE_LATENCY_BUCKETS; b++)
        elements[b] = Int64GetDatum((int64) h->counts[b]);
    return PointerGetDatum(
        construct_array(elements, WIRE_LATENCY_BUCKETS, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void put_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
    ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void put_counters(FunctionCallInfo fcinfo, const char *name, struct wire_counters *counters)
{
    Histogram h = histogram_of(counters);
    uint64 count = load(&counters->count);
    bool none = h.total == 0;
    bool nulls[REQUEST_COLUMNS] = {[5] = count == 0, [6] = none, [7] = none, [8] = none};
    Datum values[REQUEST_COLUMNS] = {
        CStringGetTextDatum(name),
        Int64GetDatum((int64) count),
        Int64GetDatum((int64) load(&counters->errors)),
        Int64GetDatum((int64) load(&counters->bytes_in)),
        Int64GetDatum((int64) load(&counters->bytes_out)),
        Float8GetDatum(count ? (double) load(&counters->total_us) / (double) count : 0),
        Float8GetDatum(percentile_us(&h, 0.5)),
        Float8GetDatum(percentile_us(&h, 0.95)),
        Float8GetDatum(percentile_us(&h, 0.99)),
        histogram_array(&h),
    };

    put_row(fcinfo, values, nulls);
}

Datum cairn_request_counters(PG_FUNCTION_ARGS)
{
    struct wire_shared *shared = cairn_shared();

    InitMaterializedSRF(fcinfo, 0);
    for (int operation = 1; operation < WIRE_OPERATION_COUNT; operation++)
        put_counters(fcinfo, operation_names[operation], &shared->counters[operation]);
    return (Datum) 0;
}

/* Ask for a list; *count rows follow in reply->body. */
static uint64 ask(enum wire_operation operation, struct wire_span *after, const char *action, CairnReply *reply)
{
    struct wire_request header = {.operation = operation};
    CairnSubject subject = {.action = action};
    CairnRequest request;

    cairn_request_begin(&request, &header, after ? after->size + 10 : 0);
    if (after)
        wire_write_span(&request.writer, after->data, after->size);
    cairn_lane_call(&request, reply);
    if (reply->status != WIRE_OK)
        cairn_error_raise(reply->status, &subject);
    return wire_read_varint(&reply->body);
}

static void check_body(const CairnReply *reply, const char *action)
{
    CairnSubject subject = {.action = action};

    if (reply->body.failed)
        cairn_error_raise(WIRE_E_BAD_FORMAT, &subject);
}

Datum cairn_storage_status(PG_FUNCTION_ARGS)
{
    static const char *const action = "read the status of the storage process";
    CairnReply reply;
    uint64 count;

    InitMaterializedSRF(fcinfo, 0);
    count = ask(WIRE_STATUS, NULL, action, &reply);
    for (uint64 i = 0; i < count; i++) {
        struct wire_span name = wire_read_span(&reply.body);
        uint64 value = wire_read_u64(&reply.body);
        Datum values[STATUS_COLUMNS];
        bool nulls[STATUS_COLUMNS] = {false};

        check_body(&reply, action);
        values[0] = PointerGetDatum(cstring_to_text_with_len((const char *) name.data, (int) name.size));
        values[1] = Int64GetDatum((int64) value);
        put_row(fcinfo, values, nulls);
    }
    return (Datum) 0;
}

/* One storage into the result; identities of another form than a relation's are passed over. */
static void put_storage(FunctionCallInfo fcinfo, struct wire_span identity, struct wire_reader *body)
{
    struct wire_reader r = wire_reader_of(identity.data, identity.size);
    Oid database = wire_read_u32(&r);
    Oid relfilenode = (wire_read_u32(&r), wire_read_u32(&r));
    Datum values[STORAGE_COLUMNS] = {ObjectIdGetDatum(database), ObjectIdGetDatum(relfilenode)};
    bool nulls[STORAGE_COLUMNS] = {false};

    for (int i = 2; i < STORAGE_COLUMNS; i++)
        values[i] = Int64GetDatum((int64) wire_read_u64(body));
    if (!body->failed && wire_reader_finish(&r) == WIRE_OK)
        put_row(fcinfo, values, nulls);
}

Datum cairn_storages(PG_FUNCTION_ARGS)
{
    static const char *const action = "list the storages";
    struct wire_span after = {(const uint8 *) "", 0};
    CairnReply reply;
    uint64 count;

    InitMaterializedSRF(fcinfo, 0);
    /* A reply holds as many as fit; an empty one ends the list. */
    while ((count = ask(WIRE_STORAGES, &after, action, &reply)) > 0) {
        for (uint64 i = 0; i < count; i++) {
            after = wire_read_span(&reply.body);
            put_storage(fcinfo, after, &reply.body);
            check_body(&reply, action);
        }
        CHECK_FOR_INTERRUPTS();
    }
    check_body(&reply, action);
    return (Datum) 0;
}
