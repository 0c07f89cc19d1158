/*
 * Sequential scans: a walk over the whole key range of the table (cairn_range.h), rows put into slots undecoded.
 *
 * Failure modes: a parallel worker, which would not see the leader's uncommitted writes (0A000); rows under a table
 * that lost its primary key and cannot be read any more (55000).
 */
#include "cairn_tableam.h"

#include "access/parallel.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "cairn_limit.h"
#include "cairn_refuse.h"
#include "cairn_row.h"
#include "cairn_slot.h"

TableScanDesc cairn_scan_begin(Relation relation, Snapshot snapshot, int key_count, struct ScanKeyData *keys,
                               ParallelTableScanDesc parallel, uint32 flags)
{
    CairnScan *scan;

    if (parallel || IsParallelWorker())
        cairn_refuse(relation, "a parallel scan", NULL);
    if (key_count > 0)
        cairn_refuse(relation, "a table scan with scan keys", NULL);
    scan = palloc0(sizeof(CairnScan));
    RelationIncrementReferenceCount(relation);
    scan->base.rs_rd = relation;
    scan->base.rs_snapshot = snapshot;
    scan->base.rs_flags = flags;
    scan->memory = AllocSetContextCreate(CurrentMemoryContext, "CairnScan", ALLOCSET_DEFAULT_SIZES);
    if (flags & SO_TYPE_SEQSCAN)
        pgstat_count_heap_scan(relation);
    return &scan->base;
}

void cairn_scan_end(TableScanDesc base)
{
    CairnScan *scan = (CairnScan *) base;

    if (scan->range)
        cairn_range_end(scan->range);
    RelationDecrementReferenceCount(base->rs_rd);
    if (base->rs_flags & SO_TEMP_SNAPSHOT)
        UnregisterSnapshot(base->rs_snapshot);
    MemoryContextDelete(scan->memory);
    pfree(scan);
}

void cairn_scan_rescan(TableScanDesc base, struct ScanKeyData *keys, bool set_parameters, bool allow_strategy,
                       bool allow_sync, bool allow_pagemode)
{
    CairnScan *scan = (CairnScan *) base;

    scan->started = false;
    if (scan->range)
        cairn_range_rewind(scan->range);
    if (base->rs_flags & SO_TYPE_SEQSCAN)
        pgstat_count_heap_scan(base->rs_rd);
}

CairnRange *cairn_scan_range(CairnScan *scan)
{
    if (!scan->range) {
        MemoryContext previous = MemoryContextSwitchTo(scan->memory);

        cairn_view_init(&scan->view, scan->base.rs_rd, scan->base.rs_snapshot);
        scan->keyless = cairn_table_of(scan->base.rs_rd)->key_count == 0;
        scan->range = cairn_range_begin(&scan->view, 0);
        MemoryContextSwitchTo(previous);
    }
    return scan->range;
}

bool cairn_scan_next(CairnScan *scan, ScanDirection direction, TupleTableSlot *slot)
{
    CairnRange *range = cairn_scan_range(scan);
    CairnRow row;

    if (!scan->started)
        cairn_range_expect(range, cairn_limit_of(scan));
    scan->started = true;
    if (!cairn_range_next(range, direction, &row)) {
        ExecClearTuple(slot);
        return false;
    }
    if (scan->keyless)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("table %s has rows but no primary key", cairn_table_name(scan->base.rs_rd)),
                        errdetail("Its primary key was dropped; without it the stored rows cannot be read."),
                        errhint("Restore the table from a backup, or TRUNCATE it.")));
    cairn_slot_store(slot, &scan->view, &row, cairn_range_memory(range));
    return true;
}

bool cairn_scan_getnextslot(TableScanDesc base, ScanDirection direction, TupleTableSlot *slot)
{
    if (!cairn_scan_next((CairnScan *) base, direction, slot))
        return false;
    pgstat_count_heap_getnext(base->rs_rd);
    return true;
}
