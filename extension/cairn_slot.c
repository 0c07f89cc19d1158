/*
 * See cairn_slot.h. The operations are those of virtual slots, with decoding put in front.
 *
 * Failure modes: a stored row that does not decode (XX001, with table and key).
 */
#include "cairn_slot.h"

#include "access/sysattr.h"
#include "access/transam.h"

#include "cairn_handles.h"
#include "cairn_row.h"

typedef struct CairnSlot {
    VirtualTupleTableSlot base;
    bool needs_handles;
    bool stored; /* what follows is the row, not all of it decoded yet */
    Relation relation;
    CairnRow row;
    MemoryContext memory;
} CairnSlot;

static void row_slot_clear(TupleTableSlot *slot)
{
    ((CairnSlot *) slot)->stored = false;
    TTSOpsVirtual.clear(slot);
}

static void row_slot_release(TupleTableSlot *slot)
{
    row_slot_clear(slot);
    TTSOpsVirtual.release(slot);
}

/* All columns at once: an item is one piece of bytes. */
static void row_slot_getsomeattrs(TupleTableSlot *slot, int count)
{
    CairnSlot *own = (CairnSlot *) slot;
    MemoryContext previous;

    if (!own->stored)
        elog(ERROR, "column %d of an empty slot was asked for", count);
    previous = MemoryContextSwitchTo(own->memory);
    cairn_row_decode(own->relation, cairn_table_of(own->relation), own->row.key, own->row.item, slot->tts_values,
                     slot->tts_isnull);
    MemoryContextSwitchTo(previous);
    slot->tts_nvalid = slot->tts_tupleDescriptor->natts;
}

static Datum row_slot_getsysattr(TupleTableSlot *slot, int number, bool *is_null)
{
    *is_null = false;
    switch (number) {
    case MinTransactionIdAttributeNumber:
        return TransactionIdGetDatum(FrozenTransactionId);
    case MaxTransactionIdAttributeNumber:
        return TransactionIdGetDatum(InvalidTransactionId);
    default:
        return CommandIdGetDatum(FirstCommandId);
    }
}

static void row_slot_materialize(TupleTableSlot *slot)
{
    if (TTS_SHOULDFREE(slot))
        return;
    slot_getallattrs(slot);
    TTSOpsVirtual.materialize(slot);
    ((CairnSlot *) slot)->stored = false;
}

static void row_slot_copyslot(TupleTableSlot *to, TupleTableSlot *from)
{
    ((CairnSlot *) to)->stored = false;
    TTSOpsVirtual.copyslot(to, from);
    to->tts_tid = from->tts_tid;
    to->tts_tableOid = from->tts_tableOid;
}

static HeapTuple row_slot_copy_heap_tuple(TupleTableSlot *slot)
{
    HeapTuple tuple;

    slot_getallattrs(slot);
    tuple = TTSOpsVirtual.copy_heap_tuple(slot);
    tuple->t_self = slot->tts_tid;
    tuple->t_tableOid = slot->tts_tableOid;
    return tuple;
}

static MinimalTuple row_slot_copy_minimal_tuple(TupleTableSlot *slot)
{
    slot_getallattrs(slot);
    return TTSOpsVirtual.copy_minimal_tuple(slot);
}

static TupleTableSlotOps slot_ops = {
    .base_slot_size = sizeof(CairnSlot),
    .release = row_slot_release,
    .clear = row_slot_clear,
    .getsomeattrs = row_slot_getsomeattrs,
    .getsysattr = row_slot_getsysattr,
    .materialize = row_slot_materialize,
    .copyslot = row_slot_copyslot,
    .copy_heap_tuple = row_slot_copy_heap_tuple,
    .copy_minimal_tuple = row_slot_copy_minimal_tuple,
};

const TupleTableSlotOps *cairn_slot_ops(Relation relation)
{
    slot_ops.init = TTSOpsVirtual.init;
    return &slot_ops;
}

bool cairn_slot_is_ours(const TupleTableSlot *slot)
{
    return slot->tts_ops == &slot_ops;
}

void cairn_slot_need_handles(TupleTableSlot *slot)
{
    ((CairnSlot *) slot)->needs_handles = true;
}

void cairn_slot_store(TupleTableSlot *slot, const CairnView *view, const CairnRow *row, MemoryContext memory)
{
    CairnSlot *own = (CairnSlot *) slot;

    if (!cairn_slot_is_ours(slot))
        elog(ERROR, "a row of a cairn table was asked for in a slot of another kind");
    ExecClearTuple(slot);
    own->stored = true;
    own->relation = view->relation;
    own->row = *row;
    own->memory = memory;
    slot->tts_flags &= ~TTS_FLAG_EMPTY;
    slot->tts_tableOid = RelationGetRelid(view->relation);
    slot->tts_tid = own->needs_handles ? cairn_handle_of_row(view, row) : cairn_handle_none();
}
