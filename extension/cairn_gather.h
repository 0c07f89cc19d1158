/*
 * Rows of one INSERT gathered to batches: INSERT ... SELECT and VALUES with several rows lock a thousand keys by one
 * request instead of one.
 *
 * The executor brings such rows one by one. They are kept here, not yet locked, until the batch is full or the
 * statement's run ends, provided that nothing looks at a row on its own: no row triggers, no RETURNING, no ON CONFLICT.
 * Whatever else the transaction does meanwhile, say a function that the statement calls, and that could see them comes
 * through the write set or sends a request: both write what is gathered first. Reads of the statement itself cannot see
 * its rows and go on.
 *
 * A refused key is reported when its batch is written: by the same statement, later than errors of rows behind it.
 */
#ifndef CAIRN_GATHER_H
#define CAIRN_GATHER_H

#include "cairn_pg.h"

#include "executor/tuptable.h"
#include "utils/rel.h"

/* Does the statement that runs gather rows of `relation`? */
bool cairn_gather_wants(Relation relation);
/* Errors: those of encoding, of cairn_xact_begin_write, and of writing a full batch. */
void cairn_gather_add(Relation relation, TupleTableSlot *slot, CommandId cid);

/* Something looks at the transaction's writes as of command `curcid` (InvalidCommandId: at all, or changes them): write
 * what is gathered unless it cannot be seen. Errors: of cairn_insert_batch_write; the rows stay then, and the
 * statement's end meets the error again. */
void cairn_gather_yield(CommandId curcid);
bool cairn_gather_empty(void);

/* A subtransaction is about to commit. */
void cairn_gather_end_of(SubTransactionId subtransaction);
/* The transaction ended; a subtransaction was aborted. */
void cairn_gather_forget(void);
void cairn_gather_forget_of(SubTransactionId subtransaction);

/* Chain hooks. Caller: _PG_init. */
void cairn_gather_init(void);

#endif
