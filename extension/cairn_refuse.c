/*
 * Callbacks of the table access method for what this release cannot do. The plan hook refuses the same earlier and for
 * whole statements; these stand behind it, so that no path gives a wrong answer.
 */
#include "cairn_refuse.h"

#include "cairn_row.h"

void cairn_refuse(Relation relation, const char *what, const char *hint)
{
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s is not supported for cairn tables", what),
                    errdetail("Table %s.", cairn_table_name(relation)), hint ? errhint("%s", hint) : 0));
}

TM_Result cairn_refuse_delete(Relation relation, ItemPointer tid, CommandId cid, Snapshot snapshot, Snapshot crosscheck,
                              bool wait, TM_FailureData *failure, bool changing_partition)
{
    cairn_refuse(relation, "DELETE", "Use cairn.delete_item().");
}

TM_Result cairn_refuse_update(Relation relation, ItemPointer tid, TupleTableSlot *slot, CommandId cid,
                              Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *failure,
                              LockTupleMode *mode, bool *update_indexes)
{
    cairn_refuse(relation, "UPDATE", "Use cairn.update_item() or cairn.put_item().");
}

TM_Result cairn_refuse_lock(Relation relation, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot, CommandId cid,
                            LockTupleMode mode, LockWaitPolicy policy, uint8 flags, TM_FailureData *failure)
{
    cairn_refuse(relation, "locking rows", "Use the condition of cairn.put_item(), update_item() or delete_item().");
}

void cairn_refuse_speculative(Relation relation, TupleTableSlot *slot, CommandId cid, int options,
                              struct BulkInsertStateData *state, uint32 token)
{
    cairn_refuse(relation, "INSERT ... ON CONFLICT", "Use cairn.put_item(), with a condition if need be.");
}

void cairn_refuse_complete(Relation relation, TupleTableSlot *slot, uint32 token, bool succeeded)
{
    cairn_refuse(relation, "INSERT ... ON CONFLICT", "Use cairn.put_item(), with a condition if need be.");
}

void cairn_refuse_latest_tid(TableScanDesc scan, ItemPointer tid)
{
    cairn_refuse(scan->rs_rd, "asking for the latest version of a ctid", "Use the primary key.");
}

bool cairn_refuse_satisfies(Relation relation, TupleTableSlot *slot, Snapshot snapshot)
{
    cairn_refuse(relation, "checking a row against another snapshot", NULL);
}

TransactionId cairn_refuse_index_delete(Relation relation, TM_IndexDeleteOp *operation)
{
    cairn_refuse(relation, "an index of another access method", NULL);
}

Size cairn_refuse_parallel_estimate(Relation relation)
{
    cairn_refuse(relation, "a parallel scan", NULL);
}

Size cairn_refuse_parallel_initialize(Relation relation, ParallelTableScanDesc scan)
{
    cairn_refuse(relation, "a parallel scan", NULL);
}

void cairn_refuse_parallel_reinitialize(Relation relation, ParallelTableScanDesc scan)
{
    cairn_refuse(relation, "a parallel scan", NULL);
}

double cairn_refuse_index_build(Relation table, Relation index, struct IndexInfo *info, bool allow_sync,
                                bool anyvisible, bool progress, BlockNumber start, BlockNumber count,
                                IndexBuildCallback callback, void *state, TableScanDesc scan)
{
    cairn_refuse(table, "an index of another access method", "Only the primary key is indexed in this release.");
}

bool cairn_refuse_sample_block(TableScanDesc scan, struct SampleScanState *state)
{
    cairn_refuse(scan->rs_rd, "TABLESAMPLE", "Filter by random(), or use cairn.scan() with a segment.");
}

bool cairn_refuse_sample_tuple(TableScanDesc scan, struct SampleScanState *state, TupleTableSlot *slot)
{
    cairn_refuse(scan->rs_rd, "TABLESAMPLE", NULL);
}
