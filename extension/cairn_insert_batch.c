/*
 * See cairn_insert_batch.h. A key that this transaction has deleted itself travels with that knowledge, since the
 * storage process does not know it.
 */
#include "cairn_insert_batch.h"

#include "access/genam.h"
#include "lib/stringinfo.h"
#include "pgstat.h"

#include "cairn_error.h"
#include "cairn_row.h"

/* Rows and bytes in one request, at most: keys of a batch are locked together, and the request must fit a message. */
#define BATCH_ROWS 1000
#define BATCH_BYTES (1024 * 1024)

static void raise_duplicate(const CairnInsertBatch *batch, int row) pg_attribute_noreturn();
static void raise_duplicate(const CairnInsertBatch *batch, int row)
{
    const CairnInsertRow *refused = &batch->rows[row];
    Relation index = index_open(RelationGetPrimaryKeyIndex(batch->relation), AccessShareLock);
    int natts = RelationGetDescr(batch->relation)->natts;
    Datum *columns = palloc(natts * sizeof(Datum));
    bool *columns_null = palloc(natts * sizeof(bool));
    Datum values[INDEX_MAX_KEYS];
    bool nulls[INDEX_MAX_KEYS];
    char *key;

    cairn_row_decode(batch->relation, cairn_table_of(batch->relation), refused->key, refused->item, columns,
                     columns_null);
    for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++) {
        values[i] = columns[index->rd_index->indkey.values[i] - 1];
        nulls[i] = columns_null[index->rd_index->indkey.values[i] - 1];
    }
    key = BuildIndexValueDescription(index, values, nulls);
    ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
                    errmsg("duplicate key value violates unique constraint \"%s\"", RelationGetRelationName(index)),
                    key ? errdetail("Key %s already exists.", key) : 0,
                    errtableconstraint(batch->relation, RelationGetRelationName(index))));
}

void cairn_insert_batch_refuse(const CairnInsertBatch *batch, const CairnReply *reply)
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

void cairn_insert_batch_begin(CairnInsertBatch *batch, Relation relation, CommandId cid, int count)
{
    *batch = (CairnInsertBatch){.relation = relation, .cid = cid, .capacity = Min(count, BATCH_ROWS)};
    batch->rows = palloc(batch->capacity * sizeof(CairnInsertRow));
}

bool cairn_insert_batch_add(CairnInsertBatch *batch, TupleTableSlot *slot)
{
    CairnTable *table = cairn_table_of(batch->relation);
    CairnInsertRow *row = &batch->rows[batch->count];
    uint8 key[WIRE_KEY_MAX];
    uint8 *copy;
    StringInfoData item;

    if (batch->count == batch->capacity || batch->bytes >= BATCH_BYTES)
        return false;
    slot_getallattrs(slot);
    row->deleted = false;
    row->key.size = cairn_row_key(batch->relation, table, slot->tts_values, slot->tts_isnull, key);
    copy = palloc(row->key.size);
    memcpy(copy, key, row->key.size);
    row->key.data = copy;
    initStringInfo(&item);
    cairn_row_item(batch->relation, table, slot->tts_values, slot->tts_isnull, &item);
    row->item = (struct wire_span){(const uint8_t *) item.data, (size_t) item.len};
    batch->bytes += row->key.size + row->item.size;
    batch->count++;
    return true;
}

static int compare_rows(const void *a, const void *b)
{
    const CairnInsertRow *first = *(CairnInsertRow *const *) a;
    const CairnInsertRow *second = *(CairnInsertRow *const *) b;
    int order = wire_span_compare(first->key, second->key);

    return order ? order : (first > second) - (first < second);
}

/* The storage process sees each key of a request once, so it cannot tell. */
static void check_within_batch(const CairnInsertBatch *batch)
{
    CairnInsertRow **sorted;

    if (batch->count < 2)
        return;
    sorted = palloc(batch->count * sizeof(CairnInsertRow *));
    for (int i = 0; i < batch->count; i++)
        sorted[i] = &batch->rows[i];
    qsort(sorted, batch->count, sizeof(CairnInsertRow *), compare_rows);
    for (int i = 1; i < batch->count; i++) {
        if (wire_span_compare(sorted[i - 1]->key, sorted[i]->key) == 0)
            raise_duplicate(batch, (int) (sorted[i] - batch->rows));
    }
    pfree(sorted);
}

static void check_own_writes(CairnInsertBatch *batch)
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

static void send_keys(const CairnInsertBatch *batch, SubTransactionId subtransaction, CairnReply *reply)
{
    struct wire_request header = {.operation = WIRE_WRITE, .flags = WIRE_TRANSACTIONAL};
    CairnRequest request;
    Size room = 16;

    for (int i = 0; i < batch->count; i++)
        room += batch->rows[i].key.size + 16;
    cairn_xact_fill_header(&header, cairn_table_of(batch->relation)->storage_id, 0, InvalidCommandId);
    header.subtransaction = subtransaction;
    cairn_request_begin(&request, &header, room);
    wire_write_varint(&request.writer, (uint64) batch->count);
    for (int i = 0; i < batch->count; i++) {
        struct wire_write_op op = {.kind = WIRE_WRITE_LOCK, .flags = WIRE_MUST_NOT_EXIST, .key = batch->rows[i].key};

        if (batch->rows[i].deleted)
            op.flags |= WIRE_HAS_OVERLAY;
        wire_write_op_write(&request.writer, &op);
    }
    cairn_lane_call(&request, reply);
    pfree(request.writer.data);
}

/* Lock all keys, none of which may exist. */
static void lock_keys(const CairnInsertBatch *batch, SubTransactionId subtransaction)
{
    CairnReply reply;

    for (;;) {
        send_keys(batch, subtransaction, &reply);
        if (reply.status == WIRE_OK)
            return;
        if (reply.status != WIRE_E_LOCKED)
            cairn_insert_batch_refuse(batch, &reply);
        cairn_xact_wait_for(&reply.body);
    }
}

void cairn_insert_batch_write_for(CairnInsertBatch *batch, CairnFrame *frame)
{
    if (!batch->locked) {
        check_within_batch(batch);
        check_own_writes(batch);
        lock_keys(batch, frame->subtransaction);
        pgstat_count_heap_insert(batch->relation, batch->count);
        batch->locked = true;
    }
    for (; batch->joined < batch->count; batch->joined++)
        cairn_writeset_put_in(frame, batch->rows[batch->joined].key, batch->rows[batch->joined].item, batch->cid);
}

void cairn_insert_batch_write(CairnInsertBatch *batch)
{
    cairn_xact_check_write();
    cairn_insert_batch_write_for(batch, cairn_xact_frame());
}
