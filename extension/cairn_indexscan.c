/*
 * Scans of the primary key. The index has no bytes of its own: it is the order in which the rows lie. A scan therefore
 * reads rows, and leaves the one it is on with the table's half of the scan.
 *
 * Happy path: scan keys become a key (one GET) or a range of keys (batches). Where Postgres may count on the order of
 * the index and the bytes do not have it, rows are sorted first (cairn_sort.c).
 *
 * Failure modes: those of reading (cairn_range.h).
 */
#include "cairn_indexscan.h"

#include "access/itup.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "cairn_fetch.h"
#include "cairn_limit.h"
#include "cairn_row.h"

/* Rows in a scan's first batch: many scans end early. */
#define FIRST_ROWS 32

/* Where a scan of one key stands. */
typedef enum PointPlace { POINT_START, POINT_AT, POINT_BEFORE, POINT_BEHIND } PointPlace;

typedef struct CairnIndexScan {
    MemoryContext memory;
    MemoryContext row_memory; /* of a row read by its whole key */
    bool viewed;
    bool planned; /* the bounds are those of the scan keys */
    PointPlace place;
    CairnView view;
    CairnRange *range; /* made at need */
    CairnSort *sort;
    HeapTuple nothing; /* what index-only scans get: no column of the index can be returned */
    CairnBounds bounds;
} CairnIndexScan;

IndexScanDesc cairn_index_begin_scan(Relation index, int key_count, int order_by_count)
{
    IndexScanDesc scan = RelationGetIndexScan(index, key_count, order_by_count);
    CairnIndexScan *own = palloc(sizeof(CairnIndexScan));

    memset(own, 0, offsetof(CairnIndexScan, bounds));
    own->memory = AllocSetContextCreate(CurrentMemoryContext, "CairnIndexScan", ALLOCSET_SMALL_SIZES);
    own->row_memory = AllocSetContextCreate(own->memory, "CairnIndexScanRow", ALLOCSET_SMALL_SIZES);
    scan->xs_hitupdesc = RelationGetDescr(index);
    scan->opaque = own;
    return scan;
}

static void end_sort(CairnIndexScan *own)
{
    if (own->sort)
        cairn_sort_end(own->sort);
    own->sort = NULL;
}

void cairn_index_rescan(IndexScanDesc scan, ScanKey keys, int key_count, ScanKey order_bys, int order_by_count)
{
    CairnIndexScan *own = scan->opaque;

    if (keys && scan->numberOfKeys > 0)
        memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
    own->planned = false;
    own->place = POINT_START;
    end_sort(own);
    if (own->range)
        cairn_range_rewind(own->range);
}

void cairn_index_end_scan(IndexScanDesc scan)
{
    CairnIndexScan *own = scan->opaque;

    end_sort(own);
    if (own->range)
        cairn_range_end(own->range);
    MemoryContextDelete(own->memory);
    pfree(own);
}

static void plan_access(IndexScanDesc scan, CairnIndexScan *own)
{
    const CairnBounds *bounds = &own->bounds;
    MemoryContext previous = MemoryContextSwitchTo(own->row_memory);

    MemoryContextReset(own->row_memory);
    pgstat_count_index_scan(scan->indexRelation);
    if (!own->viewed)
        cairn_view_init(&own->view, scan->heapRelation, scan->xs_snapshot);
    own->viewed = true;
    cairn_bounds_compute(scan->heapRelation, scan->indexRelation, scan->keyData, scan->numberOfKeys, &own->bounds);
    MemoryContextSwitchTo(own->memory);
    if (bounds->access == CAIRN_ACCESS_RANGE || bounds->access == CAIRN_ACCESS_SORT) {
        if (!own->range)
            own->range = cairn_range_begin(&own->view, bounds->access == CAIRN_ACCESS_SORT ? 0 : FIRST_ROWS);
        cairn_range_set(own->range, (struct wire_span){bounds->low, bounds->low_size},
                        (struct wire_span){bounds->high, bounds->high_size});
        if (bounds->access == CAIRN_ACCESS_RANGE)
            cairn_range_expect(own->range, cairn_limit_of(scan));
    }
    MemoryContextSwitchTo(previous);
    own->planned = true;
}

static bool point_next(CairnIndexScan *own, bool forward, CairnRow *row)
{
    MemoryContext previous;
    bool found;

    if (own->place != POINT_START && own->place != (forward ? POINT_BEFORE : POINT_BEHIND)) {
        own->place = forward ? POINT_BEHIND : POINT_BEFORE;
        return false;
    }
    MemoryContextReset(own->row_memory);
    previous = MemoryContextSwitchTo(own->row_memory);
    found = cairn_get(&own->view, (struct wire_span){own->bounds.low, own->bounds.low_size}, row);
    MemoryContextSwitchTo(previous);
    own->place = found ? POINT_AT : forward ? POINT_BEHIND : POINT_BEFORE;
    return found;
}

static bool sort_next(CairnIndexScan *own, ScanDirection direction, CairnRow *row)
{
    MemoryContext previous;

    if (!own->sort) {
        previous = MemoryContextSwitchTo(own->memory);
        own->sort = cairn_sort_begin(own->range, ScanDirectionIsBackward(direction));
        MemoryContextSwitchTo(previous);
    }
    return cairn_sort_next(own->sort, direction, row);
}

static bool next_row(CairnIndexScan *own, ScanDirection direction, CairnRow *row, MemoryContext *memory)
{
    switch (own->bounds.access) {
    case CAIRN_ACCESS_POINT:
        *memory = own->row_memory;
        return point_next(own, !ScanDirectionIsBackward(direction), row);
    case CAIRN_ACCESS_RANGE:
        *memory = cairn_range_memory(own->range);
        return cairn_range_next(own->range, direction, row);
    case CAIRN_ACCESS_SORT: {
        bool found = sort_next(own, direction, row);

        *memory = cairn_sort_memory(own->sort);
        return found;
    }
    case CAIRN_ACCESS_NOTHING:
        break;
    }
    return false;
}

/* A count(*) may be planned as an index-only scan: it needs a tuple, but no column. */
static HeapTuple empty_tuple(CairnIndexScan *own, TupleDesc descriptor)
{
    if (!own->nothing) {
        MemoryContext previous = MemoryContextSwitchTo(own->memory);
        Datum *values = palloc0(descriptor->natts * sizeof(Datum));
        bool *nulls = palloc(descriptor->natts * sizeof(bool));

        memset(nulls, true, descriptor->natts * sizeof(bool));
        own->nothing = heap_form_tuple(descriptor, values, nulls);
        MemoryContextSwitchTo(previous);
    }
    return own->nothing;
}

bool cairn_index_gettuple(IndexScanDesc scan, ScanDirection direction)
{
    CairnIndexScan *own = scan->opaque;
    MemoryContext memory = NULL;
    CairnRow row;

    if (!own->planned)
        plan_access(scan, own);
    if (!next_row(own, direction, &row, &memory))
        return false;
    cairn_fetch_stash(scan, &own->view, &row, memory);
    scan->xs_recheck = own->bounds.recheck;
    if (scan->xs_want_itup)
        scan->xs_hitup = empty_tuple(own, scan->xs_hitupdesc);
    return true;
}
