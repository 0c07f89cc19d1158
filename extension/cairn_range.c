/*
 * See cairn_range.h.
 *
 * Happy path of a walk: a batch arrives, is checked, and its rows are merged with the write set key by key; an own
 * version wins, an own delete hides. While a batch is read the next one is asked for:
 *
 *   how many rows are wanted     first batch               next is asked for
 *   known, n                     n, or what fits           at once, if n are not here yet; else not at all
 *   not known, perhaps few       first_count rows, small   not while the first is read; then halfway
 *   not known, perhaps all       what fits                 halfway
 *
 * A batch with a small limit is a short scan, which reader threads answer; the scan thread has the long ones.
 *
 * A batch is dropped and asked for again from the last row returned when the direction changes, and when the write set
 * has spilled: own versions that would have been merged into this batch are in the storage process then.
 *
 * Failure modes: the storage process down (57P03), cancelled (57014), a snapshot older than the retained history
 * (72000), a storage dropped meanwhile (42P01), bytes that are no batch (XX001).
 */
#include "cairn_range.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "cairn_error.h"
#include "cairn_gather.h"
#include "cairn_lane.h"
#include "cairn_row.h"
#include "cairn_writeset.h"

#define REQUEST_ROOM 64 /* what a request needs beside its keys */
#define SEND_NEVER PG_UINT64_MAX

typedef enum CairnPlace {
    PLACE_START,  /* nothing was returned yet */
    PLACE_AT,     /* on the row with the key `at` */
    PLACE_BEFORE, /* went backward past the first row */
    PLACE_BEHIND  /* went forward past the last row */
} CairnPlace;

struct CairnRange {
    CairnView view;
    MemoryContext home;       /* of the walk itself */
    MemoryContext memory;     /* of the batch, unless it is in `room` */
    MemoryContext row_memory; /* of what is decoded from the row last returned, or copied for it */
    uint8 *room;              /* for batches */
    MemoryContextCallback callback;
    uint64 serial; /* tells whose the prefetch is */
    int first_count;
    uint64 expected; /* rows wanted as far as known, 0: not known */
    uint64 returned; /* of them */

    Size low_size;
    Size high_size;
    Size at_size;
    Size last_size; /* 0: the next batch begins at the bound */
    CairnPlace place;

    bool loaded; /* a batch is here, in `forward` direction */
    bool forward;
    bool more;
    bool peeked;    /* `stored` is the batch's next row, not returned yet */
    uint64 left;    /* rows of the batch behind it */
    uint64 send_at; /* the next batch is asked for when so many are left */
    struct wire_reader rows;
    CairnRow stored;
    int loads;
    uint64 spills;

    uint8 low[WIRE_KEY_MAX + 1];
    uint8 high[WIRE_KEY_MAX + 1];
    uint8 at[WIRE_KEY_MAX];
    uint8 last[WIRE_KEY_MAX + 1]; /* last key of the batch */
};

/* A buffer for batches that no walk has: kept, because new memory of this size costs a page fault for each 4 KB. */
static uint8 *spare_room;
static uint64 serial_counter;
static uint64 prefetch_serial;

static void raise_fault(const CairnView *view, int code) pg_attribute_noreturn();
static void raise_fault(const CairnView *view, int code)
{
    CairnSubject subject = {cairn_table_name(view->relation), NULL, "read table"};

    cairn_error_raise(code, &subject);
}

static struct wire_span copy_span(struct wire_span span)
{
    uint8 *copy = palloc(Max(span.size, 1));

    memcpy(copy, span.data, span.size);
    return (struct wire_span){copy, span.size};
}

void cairn_view_init(CairnView *view, Relation relation, Snapshot snapshot)
{
    bool mvcc = snapshot && snapshot->snapshot_type == SNAPSHOT_MVCC;

    if (snapshot && snapshot->snapshot_type == SNAPSHOT_HISTORIC_MVCC)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("cairn tables cannot be read during logical decoding")));
    view->relation = relation;
    view->storage_id = cairn_table_of(relation)->storage_id;
    view->snapshot = cairn_xact_snapshot(snapshot);
    view->curcid = mvcc ? snapshot->curcid : InvalidCommandId;
}

/* --- one key --- */

bool cairn_get(const CairnView *view, struct wire_span key, CairnRow *row)
{
    struct wire_request header = {.operation = WIRE_GET};
    CairnRequest request;
    CairnReply reply;
    CairnOwnVersion own;
    bool found;

    if (cairn_writeset_find(key, view->curcid, &own)) {
        if (!own.deleted)
            *row = (CairnRow){copy_span(key), copy_span(own.item), true};
        return !own.deleted;
    }
    cairn_xact_fill_header(&header, view->storage_id, view->snapshot, view->curcid);
    cairn_request_begin(&request, &header, key.size + REQUEST_ROOM);
    wire_write_varint(&request.writer, 1);
    wire_write_span(&request.writer, key.data, key.size);
    cairn_lane_call(&request, &reply);
    if (reply.status != WIRE_OK)
        raise_fault(view, reply.status);
    if (wire_read_varint(&reply.body) != 1)
        raise_fault(view, WIRE_E_BAD_FORMAT);
    found = wire_read_u8(&reply.body) != 0;
    if (found)
        *row = (CairnRow){copy_span(key), wire_read_span(&reply.body), false};
    if (wire_reader_finish(&reply.body) != WIRE_OK)
        raise_fault(view, WIRE_E_BAD_FORMAT);
    return found;
}

/* --- batches --- */

static struct wire_span low_of(const CairnRange *range)
{
    return (struct wire_span){range->low, range->low_size};
}

static struct wire_span high_of(const CairnRange *range)
{
    return (struct wire_span){range->high, range->high_size};
}

/* How much to ask for when `ahead` rows are here that were not returned yet. */
static void size_batch(const CairnRange *range, uint64 ahead, uint64 *limit, uint64 *target)
{
    *limit = 0;
    *target = WIRE_SCAN_REPLY_TARGET;
    if (range->expected > range->returned + ahead)
        *limit = range->expected - range->returned - ahead;
    else if (range->loads == 0 && range->first_count > 0) {
        *limit = (uint64) range->first_count;
        *target = WIRE_SCAN_FIRST_TARGET;
    }
}

static void begin_request(CairnRange *range, CairnRequest *request)
{
    struct wire_request header = {.operation = WIRE_SCAN};
    struct wire_span low = low_of(range);
    struct wire_span high = high_of(range);
    uint64 limit;
    uint64 target;

    if (range->last_size > 0 && range->forward) {
        range->last[range->last_size] = 0; /* the least key behind it */
        low = (struct wire_span){range->last, range->last_size + 1};
    } else if (range->last_size > 0)
        high = (struct wire_span){range->last, range->last_size};
    size_batch(range, range->left, &limit, &target);
    cairn_xact_fill_header(&header, range->view.storage_id, range->view.snapshot, range->view.curcid);
    if (limit > 0 && limit <= WIRE_SHORT_SCAN_ITEMS)
        header.flags |= WIRE_SHORT;
    cairn_request_begin(request, &header, low.size + high.size + REQUEST_ROOM);
    request->room = range->room;
    wire_write_u8(&request->writer, range->forward ? 0 : 1);
    wire_write_span(&request->writer, low.data, low.size);
    wire_write_span(&request->writer, high.data, high.size);
    wire_write_varint(&request->writer, limit);
    wire_write_varint(&request->writer, target);
}

static bool prefetching(const CairnRange *range)
{
    return prefetch_serial == range->serial && cairn_lane_pending();
}

static void forget_prefetch(CairnRange *range)
{
    if (prefetching(range))
        cairn_lane_forget();
}

/* Check the whole batch and note its last key, behind which the next one begins. */
static void check_batch(CairnRange *range)
{
    struct wire_reader rows = range->rows;
    struct wire_span key = {NULL, 0};

    for (uint64 i = 0; i < range->left && !rows.failed; i++) {
        key = wire_read_span(&rows);
        (void) wire_read_span(&rows);
    }
    if (wire_reader_finish(&rows) != WIRE_OK || (range->more && range->left == 0) || key.size > WIRE_KEY_MAX ||
        (range->left > 0 && key.size < WIRE_KEY_PREFIX_SIZE))
        raise_fault(&range->view, WIRE_E_BAD_FORMAT);
    if (range->left > 0)
        memcpy(range->last, key.data, key.size);
    range->last_size = range->left > 0 ? key.size : range->last_size;
}

static void send_ahead(CairnRange *range)
{
    MemoryContext previous;
    CairnRequest request;

    if (cairn_lane_pending())
        return;
    previous = MemoryContextSwitchTo(range->memory);
    begin_request(range, &request);
    cairn_lane_send(&request);
    pfree(request.writer.data);
    prefetch_serial = range->serial;
    MemoryContextSwitchTo(previous);
}

/* When to ask for the batch behind the one that has just arrived. */
static uint64 send_moment(const CairnRange *range)
{
    if (!range->more)
        return SEND_NEVER;
    if (range->expected > range->returned)
        return range->expected > range->returned + range->left ? range->left : SEND_NEVER;
    return range->first_count > 0 && range->loads == 1 ? SEND_NEVER : range->left / 2;
}

static void load(CairnRange *range)
{
    MemoryContext previous;
    CairnRequest request;
    CairnReply reply;

    MemoryContextReset(range->memory);
    previous = MemoryContextSwitchTo(range->memory);
    if (prefetching(range))
        cairn_lane_collect(&reply);
    else {
        begin_request(range, &request);
        cairn_lane_call(&request, &reply);
    }
    if (reply.status != WIRE_OK)
        raise_fault(&range->view, reply.status);
    range->more = wire_read_u8(&reply.body) != 0;
    range->left = wire_read_u32(&reply.body);
    range->rows =
        wire_reader_of(reply.body.failed ? NULL : reply.body.data + reply.body.position, wire_reader_left(&reply.body));
    check_batch(range);
    range->loaded = true;
    range->loads++;
    range->send_at = send_moment(range);
    MemoryContextSwitchTo(previous);
}

/* The next stored row, which stays next until it is taken; NULL if there is none. */
static const CairnRow *peek_stored(CairnRange *range)
{
    while (!range->peeked) {
        if (range->left == 0) {
            if (range->loaded && !range->more)
                return NULL;
            load(range);
            continue;
        }
        if (range->left == range->send_at)
            send_ahead(range);
        range->stored.key = wire_read_span(&range->rows);
        range->stored.item = wire_read_span(&range->rows);
        range->stored.own = false;
        range->left--;
        range->peeked = true;
    }
    return &range->stored;
}

/* --- merging --- */

static struct wire_span place_key(const CairnRange *range)
{
    return (struct wire_span){range->at, range->place == PLACE_AT ? range->at_size : 0};
}

static bool seek_own(CairnRange *range, struct wire_span *key, CairnOwnVersion *own)
{
    if (cairn_writeset_empty())
        return false;
    return cairn_writeset_seek(place_key(range), true, range->forward, low_of(range), high_of(range),
                               range->view.curcid, key, own);
}

static void set_place(CairnRange *range, struct wire_span key)
{
    if (key.size > WIRE_KEY_MAX)
        raise_fault(&range->view, WIRE_E_KEY_SIZE);
    memcpy(range->at, key.data, key.size);
    range->at_size = key.size;
    range->place = PLACE_AT;
}

/* Forget the batch; the next one begins behind the row last returned. */
static void restart(CairnRange *range, bool forward)
{
    forget_prefetch(range);
    MemoryContextReset(range->memory);
    range->loaded = range->more = range->peeked = false;
    range->left = 0;
    range->loads = 0;
    range->forward = forward;
    range->spills = cairn_writeset_spills();
    range->last_size = range->place == PLACE_AT ? range->at_size : 0;
    if (range->last_size > 0)
        memcpy(range->last, range->at, range->at_size);
}

static void take_own(CairnRange *range, struct wire_span key, const CairnOwnVersion *own, CairnRow *row)
{
    MemoryContext previous = MemoryContextSwitchTo(range->row_memory);

    *row = (CairnRow){copy_span(key), copy_span(own->item), true};
    MemoryContextSwitchTo(previous);
}

bool cairn_range_next(CairnRange *range, ScanDirection direction, CairnRow *row)
{
    bool forward = !ScanDirectionIsBackward(direction);

    /* May spill, what this walk is to merge too: now, while it can still begin its batch anew. */
    cairn_gather_yield(range->view.curcid);
    MemoryContextReset(range->row_memory);
    if (range->place == (forward ? PLACE_BEHIND : PLACE_BEFORE))
        return false;
    if (forward != range->forward || range->spills != cairn_writeset_spills()) {
        if (range->place != PLACE_START && forward != range->forward)
            range->expected = 0; /* who turns round is not counting */
        restart(range, forward);
    }
    for (;;) {
        const CairnRow *stored = peek_stored(range);
        struct wire_span own_key;
        CairnOwnVersion own;
        bool has_own = seek_own(range, &own_key, &own);
        int order;

        if (range->spills != cairn_writeset_spills())
            elog(ERROR, "cairn: own rows were spilled in the middle of a step");

        if (!stored && !has_own) {
            range->place = forward ? PLACE_BEHIND : PLACE_BEFORE;
            return false;
        }
        order = !has_own ? -1 : !stored ? 1 : wire_span_compare(stored->key, own_key);
        if (has_own && stored && !forward)
            order = -order;
        if (order <= 0)
            range->peeked = false;
        if (order < 0) {
            set_place(range, stored->key);
            range->returned++;
            *row = *stored;
            return true;
        }
        set_place(range, own_key);
        if (own.deleted)
            continue;
        take_own(range, own_key, &own, row);
        range->returned++;
        return true;
    }
}

/* --- life --- */

/* However the walk ends, by an error too. */
static void leave(void *argument)
{
    CairnRange *range = argument;

    forget_prefetch(range);
    if (spare_room)
        pfree(range->room);
    else
        spare_room = range->room;
}

static void take_room(CairnRange *range)
{
    range->room = spare_room ? spare_room : MemoryContextAlloc(TopMemoryContext, WIRE_PIECE_MAX);
    spare_room = NULL;
    range->callback.func = leave;
    range->callback.arg = range;
    MemoryContextRegisterResetCallback(range->home, &range->callback);
}

CairnRange *cairn_range_begin(const CairnView *view, int first_count)
{
    MemoryContext home = AllocSetContextCreate(CurrentMemoryContext, "CairnRange", ALLOCSET_SMALL_SIZES);
    CairnRange *range = MemoryContextAlloc(home, sizeof(CairnRange));
    struct wire_writer low = wire_writer_of(range->low, sizeof(range->low));
    struct wire_writer high = wire_writer_of(range->high, sizeof(range->high));

    memset(range, 0, offsetof(CairnRange, low));
    range->view = *view;
    range->home = home;
    range->memory = AllocSetContextCreate(home, "CairnScanBatch", ALLOCSET_DEFAULT_SIZES);
    range->row_memory = AllocSetContextCreate(home, "CairnScanRow", ALLOCSET_DEFAULT_SIZES);
    take_room(range);
    range->serial = ++serial_counter;
    range->first_count = first_count;
    wire_key_write_prefix(&low, view->storage_id, 0);
    wire_key_write_prefix(&high, view->storage_id, 0);
    (void) wire_key_prefix_end(&high);
    range->low_size = low.size;
    range->high_size = high.size;
    cairn_range_rewind(range);
    return range;
}

void cairn_range_rewind(CairnRange *range)
{
    range->place = PLACE_START;
    range->expected = range->returned = 0;
    restart(range, true);
}

void cairn_range_set(CairnRange *range, struct wire_span low, struct wire_span high)
{
    if (low.size > sizeof(range->low) || high.size > sizeof(range->high))
        raise_fault(&range->view, WIRE_E_KEY_SIZE);
    memcpy(range->low, low.data, low.size);
    memcpy(range->high, high.data, high.size);
    range->low_size = low.size;
    range->high_size = high.size;
    cairn_range_rewind(range);
}

void cairn_range_expect(CairnRange *range, uint64 rows)
{
    range->expected = rows;
}

MemoryContext cairn_range_memory(CairnRange *range)
{
    return range->row_memory;
}

const CairnView *cairn_range_view(const CairnRange *range)
{
    return &range->view;
}

void cairn_range_end(CairnRange *range)
{
    MemoryContextDelete(range->home);
}
