/*
 * The slot of cairn tables: shows one row, decoded when a column is first asked for.
 *
 * A slot is filled either by the executor, as a virtual one (INSERT, COPY), or by a scan, with the bytes of a row.
 * Those bytes are borrowed: they last until the next row of the scan, as with any scan slot; materializing copies.
 */
#ifndef CAIRN_SLOT_H
#define CAIRN_SLOT_H

#include "cairn_pg.h"

#include "executor/tuptable.h"
#include "utils/rel.h"

#include "cairn_range.h"

/* slot_callbacks of the table access method. System columns: xmin is frozen, xmax and the command ids are 0: the real
 * ones live in no heap tuple. */
const TupleTableSlotOps *cairn_slot_ops(Relation relation);

bool cairn_slot_is_ours(const TupleTableSlot *slot);

/* Show `row`. memory: where columns are decoded to; must live as long as the row. ctid is a handle if the slot needs
 * them (cairn_handles.h), else no valid one. */
void cairn_slot_store(TupleTableSlot *slot, const CairnView *view, const CairnRow *row, MemoryContext memory);

/* From now on rows of this slot get handles: something looks at ctid. */
void cairn_slot_need_handles(TupleTableSlot *slot);

#endif
