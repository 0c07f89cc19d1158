/*
 * INSERT and COPY FROM: the callbacks of the table access method.
 *
 * COPY brings rows in batches; those of INSERT ... SELECT and of VALUES with several rows are gathered to batches
 * (cairn_gather.c). A row that is all that its transaction does is evaluated, logged and acknowledged in one hand-over.
 * Failure modes: those of cairn_insert_batch.h; a table without primary key (55000).
 */
#include "cairn_tableam.h"

#include "pgstat.h"
#include "utils/memutils.h"

#include "cairn_error.h"
#include "cairn_gather.h"
#include "cairn_handles.h"
#include "cairn_insert_batch.h"
#include "cairn_item.h"
#include "cairn_lane.h"
#include "cairn_row.h"

static void check_has_key(Relation relation)
{
    if (cairn_table_of(relation)->key_count == 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("table %s has no primary key", cairn_table_name(relation)),
                        errdetail("Rows of a cairn table are stored by their key."),
                        errhint("Add one with ALTER TABLE ... ADD PRIMARY KEY. Restore dumps by section: pre-data, "
                                "post-data, then data.")));
}

/* What the executor finds in the slot of a row that is inserted. */
static void show_inserted(Relation relation, TupleTableSlot *slot, struct wire_span key, CommandId cid)
{
    TriggerDesc *triggers = relation->trigdesc;
    bool fetched_again = triggers && triggers->trig_insert_after_row;

    slot->tts_tableOid = RelationGetRelid(relation);
    slot->tts_tid = fetched_again ? cairn_handle_of_insert(key, cid) : cairn_handle_none();
}

void cairn_insert_multi(Relation relation, TupleTableSlot **slots, int count, CommandId cid, int options,
                        struct BulkInsertStateData *state)
{
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "CairnInsert", ALLOCSET_DEFAULT_SIZES);
    MemoryContext previous = MemoryContextSwitchTo(memory);
    int next = 0;

    check_has_key(relation);
    while (next < count) {
        CairnInsertBatch batch;
        int first = next;

        cairn_insert_batch_begin(&batch, relation, cid, count - next);
        while (next < count && cairn_insert_batch_add(&batch, slots[next]))
            next++;
        cairn_insert_batch_write(&batch);
        for (int i = first; i < next; i++)
            show_inserted(relation, slots[i], batch.rows[i - first].key, cid);
        MemoryContextReset(memory);
    }
    MemoryContextSwitchTo(previous);
    MemoryContextDelete(memory);
}

/* A note of ExecutorStart that nothing else happens in this transaction, and nothing that could make more of it. */
static bool is_bare(Relation relation)
{
    return cairn_item_take_bare_insert() && !relation->trigdesc && !cairn_xact_active() &&
           !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

static void send_item(const CairnInsertBatch *batch, uint64 storage_id, CairnReply *reply)
{
    const CairnInsertRow *row = &batch->rows[0];
    struct wire_request header = {.operation = WIRE_WRITE, .storage_id = storage_id};
    struct wire_write_op op = {
        .kind = WIRE_WRITE_PUT, .flags = WIRE_MUST_NOT_EXIST, .key = row->key, .argument = row->item};
    CairnRequest request;

    cairn_request_begin(&request, &header, 64 + row->key.size + row->item.size);
    wire_write_varint(&request.writer, 1);
    wire_write_op_write(&request.writer, &op);
    cairn_lane_call(&request, reply);
}

/* The row is all that the transaction does: evaluated, logged and acknowledged in one hand-over. */
static void insert_bare(Relation relation, TupleTableSlot *slot)
{
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "CairnInsert", ALLOCSET_DEFAULT_SIZES);
    MemoryContext previous = MemoryContextSwitchTo(memory);
    uint64 storage_id = cairn_table_of(relation)->storage_id;
    CairnInsertBatch batch;
    CairnReply reply;

    cairn_insert_batch_begin(&batch, relation, InvalidCommandId, 1);
    (void) cairn_insert_batch_add(&batch, slot);
    for (send_item(&batch, storage_id, &reply); reply.status == WIRE_E_LOCKED; send_item(&batch, storage_id, &reply))
        cairn_xact_wait_for(&reply.body);
    if (reply.status != WIRE_OK)
        cairn_insert_batch_refuse(&batch, &reply);
    cairn_xact_wrote_bare();
    show_inserted(relation, slot, batch.rows[0].key, InvalidCommandId);
    pgstat_count_heap_insert(relation, 1);
    MemoryContextSwitchTo(previous);
    MemoryContextDelete(memory);
}

void cairn_insert_tuple(Relation relation, TupleTableSlot *slot, CommandId cid, int options,
                        struct BulkInsertStateData *state)
{
    if (is_bare(relation)) {
        check_has_key(relation);
        cairn_xact_check_write();
        insert_bare(relation, slot);
        return;
    }
    if (cairn_gather_wants(relation)) {
        check_has_key(relation);
        cairn_gather_add(relation, slot, cid);
        slot->tts_tableOid = RelationGetRelid(relation);
        slot->tts_tid = cairn_handle_none();
        return;
    }
    cairn_insert_multi(relation, &slot, 1, cid, options, state);
}
