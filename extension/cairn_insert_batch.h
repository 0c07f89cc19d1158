/*
 * A batch of rows to insert: encoded, their keys locked by one request that refuses keys that exist, then put into the
 * write set. For the insert callbacks (cairn_insert.c) and for gathered rows (cairn_gather.c).
 */
#ifndef CAIRN_INSERT_BATCH_H
#define CAIRN_INSERT_BATCH_H

#include "cairn_frame.h"

#include "executor/tuptable.h"
#include "utils/rel.h"

typedef struct CairnInsertRow {
    struct wire_span key;
    struct wire_span item;
    bool deleted; /* by this transaction, before */
} CairnInsertRow;

typedef struct CairnInsertBatch {
    Relation relation;
    CommandId cid;
    int count;
    int capacity;
    bool locked; /* all keys */
    int joined;  /* rows that are in the write set */
    Size bytes;  /* of keys and items */
    CairnInsertRow *rows;
} CairnInsertBatch;

/* An empty batch in the current memory context, where its rows will live too; room for count rows, or for as many as
 * one request may have. */
void cairn_insert_batch_begin(CairnInsertBatch *batch, Relation relation, CommandId cid, int count);
/* Encode the row in `slot`. False if the batch is full: write it first. Errors: those of cairn_row_key and
 * cairn_row_item. */
bool cairn_insert_batch_add(CairnInsertBatch *batch, TupleTableSlot *slot);
/*
 * Lock all keys, wait for who holds one, put the rows into the write set. For the current subtransaction: _write. For
 * `frame`, which has to be the newest frame: _write_for; after an error it may be called again.
 * Errors: 23505 as a btree says it, for a key in the table, in this transaction, or twice in the batch; those of waiting.
 */
void cairn_insert_batch_write(CairnInsertBatch *batch);
void cairn_insert_batch_write_for(CairnInsertBatch *batch, CairnFrame *frame);
/* Raise what the storage process said of a batch. */
void cairn_insert_batch_refuse(const CairnInsertBatch *batch, const CairnReply *reply) pg_attribute_noreturn();

#endif
