/*
 * The callbacks of the table access method for what comes later, and says so until then. Nobody but the access method
 * includes this.
 */
#ifndef CAIRN_REFUSE_H
#define CAIRN_REFUSE_H

#include "cairn_pg.h"

#include "access/tableam.h"

TM_Result cairn_refuse_delete(Relation relation, ItemPointer tid, CommandId cid, Snapshot snapshot, Snapshot crosscheck,
                              bool wait, TM_FailureData *failure, bool changing_partition);
TM_Result cairn_refuse_update(Relation relation, ItemPointer tid, TupleTableSlot *slot, CommandId cid,
                              Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *failure,
                              LockTupleMode *mode, bool *update_indexes);
TM_Result cairn_refuse_lock(Relation relation, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot, CommandId cid,
                            LockTupleMode mode, LockWaitPolicy policy, uint8 flags, TM_FailureData *failure);
void cairn_refuse_speculative(Relation relation, TupleTableSlot *slot, CommandId cid, int options,
                              struct BulkInsertStateData *state, uint32 token);
void cairn_refuse_complete(Relation relation, TupleTableSlot *slot, uint32 token, bool succeeded);
void cairn_refuse_latest_tid(TableScanDesc scan, ItemPointer tid);
bool cairn_refuse_satisfies(Relation relation, TupleTableSlot *slot, Snapshot snapshot);
TransactionId cairn_refuse_index_delete(Relation relation, TM_IndexDeleteOp *operation);
Size cairn_refuse_parallel_estimate(Relation relation);
Size cairn_refuse_parallel_initialize(Relation relation, ParallelTableScanDesc scan);
void cairn_refuse_parallel_reinitialize(Relation relation, ParallelTableScanDesc scan);
double cairn_refuse_index_build(Relation table, Relation index, struct IndexInfo *info, bool allow_sync,
                                bool anyvisible, bool progress, BlockNumber start, BlockNumber count,
                                IndexBuildCallback callback, void *state, TableScanDesc scan);
bool cairn_refuse_sample_block(TableScanDesc scan, struct SampleScanState *state);
bool cairn_refuse_sample_tuple(TableScanDesc scan, struct SampleScanState *state, TupleTableSlot *slot);
/* Errors: 0A000 "<what> is not supported for cairn tables", with the table in the detail. */
void cairn_refuse(Relation relation, const char *what, const char *hint) pg_attribute_noreturn();

#endif
