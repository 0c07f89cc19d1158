/*
 * See cairn_fetch.h.
 *
 * Failure modes: a ctid that is no handle of this transaction (55000), and those of reading (cairn_range.h).
 */
#include "cairn_fetch.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "cairn_handles.h"
#include "cairn_slot.h"

struct IndexFetchTableData *cairn_fetch_begin(Relation relation)
{
    CairnFetch *fetch = palloc0(sizeof(CairnFetch));

    fetch->base.rel = relation;
    return &fetch->base;
}

void cairn_fetch_reset(struct IndexFetchTableData *fetch)
{
    ((CairnFetch *) fetch)->stashed = false;
}

void cairn_fetch_end(struct IndexFetchTableData *fetch)
{
    pfree(fetch);
}

void cairn_fetch_stash(IndexScanDesc scan, const CairnView *view, const CairnRow *row, MemoryContext memory)
{
    CairnFetch *fetch = (CairnFetch *) scan->xs_heapfetch;

    fetch->stashed = true;
    fetch->view = *view;
    fetch->row = *row;
    fetch->memory = memory;
    scan->xs_heaptid = cairn_handle_none();
}

/* Read by handle into the slot, which keeps a copy. */
static bool fetch_by_handle(Relation relation, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "CairnFetch", ALLOCSET_SMALL_SIZES);
    MemoryContext previous = MemoryContextSwitchTo(memory);
    CairnView view = {.relation = relation};
    CairnRow row;
    bool found;

    ExecClearTuple(slot);
    found = cairn_handle_fetch(relation, tid, snapshot, &row);
    if (found) {
        cairn_slot_store(slot, &view, &row, memory);
        slot->tts_tid = *tid;
        ExecMaterializeSlot(slot);
    }
    MemoryContextSwitchTo(previous);
    MemoryContextDelete(memory);
    return found;
}

bool cairn_fetch_tuple(struct IndexFetchTableData *base, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot,
                       bool *call_again, bool *all_dead)
{
    CairnFetch *fetch = (CairnFetch *) base;

    *call_again = false;
    if (all_dead)
        *all_dead = false;
    if (snapshot && snapshot->snapshot_type == SNAPSHOT_DIRTY) {
        snapshot->xmin = snapshot->xmax = InvalidTransactionId;
        snapshot->speculativeToken = 0;
    }
    if (!fetch->stashed)
        return fetch_by_handle(base->rel, tid, snapshot, slot);
    cairn_slot_store(slot, &fetch->view, &fetch->row, fetch->memory);
    return true;
}

bool cairn_fetch_row_version(Relation relation, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
    return fetch_by_handle(relation, tid, snapshot, slot);
}

bool cairn_fetch_tid_valid(TableScanDesc scan, ItemPointer tid)
{
    /* One that is not valid is an error when it is fetched: skipping it would look like a row that is gone. */
    return true;
}
