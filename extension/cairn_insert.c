/*
 * INSERT and COPY FROM.
 *
 * Happy path: the rows of a batch are encoded, their keys go to the storage process in one request that locks them all
 * and refuses keys that exist, and the items join the write set. A key that this transaction has deleted itself travels
 * with that knowledge, since the storage process does not know it.
 *
 * Failure modes: a key that exists, in the table, in this transaction or twice in the batch (23505, as a btree says
 * it); a key locked by another transaction (wait, then again); a table without primary key (55000).
 */
#include "cairn_tableam.h"

#include "access/genam.h"
#include "lib/stringinfo.h"
#include "pgstat.h"
#include "utils/memutils.h"

#include "cairn_error.h"
#include "cairn_handles.h"
#include "cairn_item.h"
#include "cairn_lane.h"
#include "cairn_row.h"
#include "cairn_slot.h"
#include "cairn_writeset.h"

/* Rows and key bytes in one request, at most: keys of a batch are locked together, and the request must fit a message.
 */
#define BATCH_ROWS 1000
#define BATCH_KEY_BYTES (1024 * 1024)

typedef struct InsertRow {
    struct wire_span key;
    struct wire_span item;
    int slot;     /* index in the batch */
    bool deleted; /* by this transaction, before */
} InsertRow;

typedef struct InsertBatch {
    Relation relation;
    TupleTableSlot **slots;
    CommandId cid;
    int count;
    Size key_bytes;
    InsertRow *rows; /* [count], in the order of the slots */
} InsertBatch;

static void raise_duplicate(const InsertBatch *batch, int row) pg_attribute_noreturn();
static void raise_duplicate(const InsertBatch *batch, int row)
{
    TupleTableSlot *slot = batch->slots[batch->rows[row].slot];
    Relation index = index_open(RelationGetPrimaryKeyIndex(batch->relation), AccessShareLock);
    Datum values[INDEX_MAX_KEYS];
    bool nulls[INDEX_MAX_KEYS];
    char *key;

    for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
        values[i] = slot_getattr(slot, index->rd_index->indkey.values[i], &nulls[i]);
    key = BuildIndexValueDescription(index, values, nulls);
    ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
                    errmsg("duplicate key value violates unique constraint \"%s\"", RelationGetRelationName(index)),
                    key ? errdetail("Key %s already exists.", key) : 0,
                    errtableconstraint(batch->relation, RelationGetRelationName(index))));
}

static void encode_row(InsertBatch *batch, int slot_number)
{
    TupleTableSlot *slot = batch->slots[slot_number];
    InsertRow *row = &batch->rows[batch->count];
    uint8 key[WIRE_KEY_MAX];
    uint8 *copy;
    StringInfoData item;

    slot_getallattrs(slot);
    row->slot = slot_number;
    row->deleted = false;
    row->key.size =
        cairn_row_key(batch->relation, cairn_table_of(batch->relation), slot->tts_values, slot->tts_isnull, key);
    copy = palloc(row->key.size);
    memcpy(copy, key, row->key.size);
    row->key.data = copy;
    initStringInfo(&item);
    cairn_row_item(batch->relation, cairn_table_of(batch->relation), slot->tts_values, slot->tts_isnull, &item);
    row->item = (struct wire_span){(const uint8_t *) item.data, (size_t) item.len};
    batch->key_bytes += row->key.size;
    batch->count++;
}

static int compare_rows(const void *a, const void *b)
{
    const InsertRow *first = *(InsertRow *const *) a;
    const InsertRow *second = *(InsertRow *const *) b;
    int order = wire_span_compare(first->key, second->key);

    return order ? order : first->slot - second->slot;
}

/* The storage process sees each key of a request once, so it cannot tell. */
static void check_within_batch(const InsertBatch *batch)
{
    InsertRow **sorted;

    if (batch->count < 2)
        return;
    sorted = palloc(batch->count * sizeof(InsertRow *));
    for (int i = 0; i < batch->count; i++)
        sorted[i] = &batch->rows[i];
    qsort(sorted, batch->count, sizeof(InsertRow *), compare_rows);
    for (int i = 1; i < batch->count; i++) {
        if (wire_span_compare(sorted[i - 1]->key, sorted[i]->key) == 0)
            raise_duplicate(batch, (int) (sorted[i] - batch->rows));
    }
}

static void check_own_writes(InsertBatch *batch)
{
    CairnOwnVersion own;

    if (cairn_writeset_empty())
        return;
    for (int i = 0; i < batch->count; i++) {
        if (!cairn_writeset_find(batch->rows[i].key, InvalidCommandId, &own))
            continue;
        if (!own.deleted)
            raise_duplicate(batch, i);
        batch->rows[i].deleted = true;
    }
}

static void send_keys(const InsertBatch *batch, uint64 storage_id, CairnReply *reply)
{
    struct wire_request header = {.operation = WIRE_WRITE, .flags = WIRE_TRANSACTIONAL};
    CairnRequest request;

    cairn_xact_fill_header(&header, storage_id, 0, InvalidCommandId);
    cairn_request_begin(&request, &header, 16 + (Size) batch->count * 16 + batch->key_bytes);
    wire_write_varint(&request.writer, (uint64) batch->count);
    for (int i = 0; i < batch->count; i++) {
        struct wire_write_op op = {.kind = WIRE_WRITE_LOCK, .flags = WIRE_MUST_NOT_EXIST, .key = batch->rows[i].key};

        if (batch->rows[i].deleted)
            op.flags |= WIRE_HAS_OVERLAY;
        wire_write_op_write(&request.writer, &op);
    }
    cairn_lane_call(&request, reply);
}

static void raise_refusal(const InsertBatch *batch, const CairnReply *reply) pg_attribute_noreturn();
static void raise_refusal(const InsertBatch *batch, const CairnReply *reply)
{
    CairnSubject subject = {NULL, NULL, "insert"};

    if (reply->status == WIRE_E_EXISTS && reply->detail < (uint32) batch->count)
        raise_duplicate(batch, (int) reply->detail);
    subject.table = cairn_table_name(batch->relation);
    if (reply->detail < (uint32) batch->count)
        subject.key =
            cairn_row_key_text(batch->relation, cairn_table_of(batch->relation), batch->rows[reply->detail].key);
    cairn_error_raise(reply->status, &subject);
}

/* Lock all keys, none of which may exist. */
static void lock_keys(const InsertBatch *batch, uint64 storage_id)
{
    CairnReply reply;

    for (;;) {
        send_keys(batch, storage_id, &reply);
        if (reply.status == WIRE_OK)
            return;
        if (reply.status == WIRE_E_LOCKED) {
            cairn_xact_wait_for(&reply.body);
            continue;
        }
        raise_refusal(batch, &reply);
    }
}

static void join_write_set(const InsertBatch *batch, uint64 storage_id)
{
    TriggerDesc *triggers = batch->relation->trigdesc;
    bool fetched_again = triggers && triggers->trig_insert_after_row;

    for (int i = 0; i < batch->count; i++) {
        const InsertRow *row = &batch->rows[i];
        TupleTableSlot *slot = batch->slots[row->slot];

        cairn_writeset_put(storage_id, row->key, row->item, batch->cid);
        slot->tts_tableOid = RelationGetRelid(batch->relation);
        slot->tts_tid = fetched_again ? cairn_handle_of_insert(row->key, batch->cid) : cairn_handle_none();
    }
    pgstat_count_heap_insert(batch->relation, batch->count);
}

static void write_batch(InsertBatch *batch)
{
    uint64 storage_id = cairn_table_of(batch->relation)->storage_id;

    check_within_batch(batch);
    cairn_xact_begin_write();
    check_own_writes(batch);
    lock_keys(batch, storage_id);
    join_write_set(batch, storage_id);
}

static void check_has_key(Relation relation)
{
    if (cairn_table_of(relation)->key_count == 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("table %s has no primary key", cairn_table_name(relation)),
                        errdetail("Rows of a cairn table are stored by their key."),
                        errhint("Add one with ALTER TABLE ... ADD PRIMARY KEY. Restore dumps by section: pre-data, "
                                "post-data, then data.")));
}

void cairn_insert_multi(Relation relation, TupleTableSlot **slots, int count, CommandId cid, int options,
                        struct BulkInsertStateData *state)
{
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "CairnInsert", ALLOCSET_DEFAULT_SIZES);
    MemoryContext previous = MemoryContextSwitchTo(memory);
    int next = 0;

    check_has_key(relation);
    while (next < count) {
        InsertBatch batch = {.relation = relation, .slots = slots, .cid = cid};

        batch.rows = palloc(Min(count - next, BATCH_ROWS) * sizeof(InsertRow));
        while (next < count && batch.count < BATCH_ROWS && batch.key_bytes < BATCH_KEY_BYTES)
            encode_row(&batch, next++);
        write_batch(&batch);
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

static void send_item(const InsertBatch *batch, uint64 storage_id, CairnReply *reply)
{
    const InsertRow *row = &batch->rows[0];
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
    InsertRow row;
    InsertBatch batch = {.relation = relation, .slots = &slot, .rows = &row};
    CairnReply reply;

    encode_row(&batch, 0);
    for (send_item(&batch, storage_id, &reply); reply.status == WIRE_E_LOCKED; send_item(&batch, storage_id, &reply))
        cairn_xact_wait_for(&reply.body);
    if (reply.status != WIRE_OK)
        raise_refusal(&batch, &reply);
    cairn_xact_wrote_bare();
    slot->tts_tableOid = RelationGetRelid(relation);
    slot->tts_tid = cairn_handle_none();
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
    cairn_insert_multi(relation, &slot, 1, cid, options, state);
}
