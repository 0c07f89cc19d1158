/*
 * Fetching single rows for the executor: after an index scan, and by handle.
 */
#ifndef CAIRN_FETCH_H
#define CAIRN_FETCH_H

#include "cairn_pg.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "executor/tuptable.h"

#include "cairn_range.h"

/* The table's half of an index scan. The index access method puts the row it has read in here, so that index and table
 * cost one request. */
typedef struct CairnFetch {
    IndexFetchTableData base;
    bool stashed;
    CairnView view;
    CairnRow row;
    MemoryContext memory;
} CairnFetch;

/* For the access method: the row that the scan is on. row, memory: last until the scan goes on. */
void cairn_fetch_stash(IndexScanDesc scan, const CairnView *view, const CairnRow *row, MemoryContext memory);

/* Callbacks of the table access method. */
struct IndexFetchTableData *cairn_fetch_begin(Relation relation);
void cairn_fetch_reset(struct IndexFetchTableData *fetch);
void cairn_fetch_end(struct IndexFetchTableData *fetch);
bool cairn_fetch_tuple(struct IndexFetchTableData *fetch, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot,
                       bool *call_again, bool *all_dead);
bool cairn_fetch_row_version(Relation relation, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot);
bool cairn_fetch_tid_valid(TableScanDesc scan, ItemPointer tid);

#endif
