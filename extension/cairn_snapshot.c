/*
 * From Postgres' snapshots to versions. Postgres has no hook on taking a snapshot; ExecutorStart is the first moment at
 * which the snapshot of a statement is known, so the version is taken there and kept, one row for each running
 * executor, until ExecutorEnd, or the end of the subtransaction that started it: after an error ExecutorEnd is not
 * called. Below REPEATABLE READ a statement that names no relation takes its version when it first needs one: a call of
 * an item function mostly needs none, and each published snapshot has the storage process keep what writes supersede.
 *
 * REPEATABLE READ: one version for the transaction. A snapshot that did not come through the executor (COPY TO,
 * expressions of PL/pgSQL) gets the newest version when it is first asked for; its caller keeps it.
 */
#include "cairn_frame.h"

#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "cairn_shared.h"

typedef struct KnownSnapshot {
    Snapshot snapshot;
    uint64 version;                  /* 0: not taken yet */
    SubTransactionId subtransaction; /* that started the executor */
} KnownSnapshot;

static ExecutorStart_hook_type previous_start;
static ExecutorEnd_hook_type previous_end;
static ProcessUtility_hook_type previous_utility;
static KnownSnapshot *known; /* oldest first */
static int known_count;
static int known_capacity;
static uint64 transaction_version; /* REPEATABLE READ */
static bool held_outside;          /* a snapshot that no executor holds was given out in this transaction */
static bool imported;              /* SET TRANSACTION SNAPSHOT: the exporter's heap snapshot came without its version */

static KnownSnapshot *find_known(Snapshot snapshot)
{
    for (int i = known_count - 1; i >= 0; i--) {
        if (known[i].snapshot == snapshot)
            return &known[i];
    }
    return NULL;
}

static uint64 newest(Snapshot snapshot)
{
    if (IsolationIsSerializable())
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("cairn tables cannot be used in a SERIALIZABLE transaction"),
                        errhint("Use REPEATABLE READ or READ COMMITTED.")));
    if (imported)
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("cairn tables cannot be read at an imported snapshot"),
                 errhint("Read them in the transaction that exported it; run pg_dump without --jobs.")));
    if (!IsolationUsesXactSnapshot())
        return cairn_deciding_snapshot(snapshot);
    if (transaction_version == 0)
        transaction_version = cairn_deciding_snapshot(snapshot);
    return transaction_version;
}

uint64 cairn_xact_snapshot(Snapshot snapshot)
{
    KnownSnapshot *found;

    if (!snapshot || snapshot->snapshot_type != SNAPSHOT_MVCC)
        return 0;
    found = find_known(snapshot);
    if (!found) {
        held_outside = true;
        return newest(snapshot);
    }
    if (found->version == 0)
        found->version = newest(snapshot);
    return found->version;
}

/* A version for a statement that may touch cairn tables, as near to its heap snapshot as can be; `later`: when it is
 * asked for. A nested executor on the same snapshot reads at the same version. */
static void remember(Snapshot snapshot, bool later)
{
    KnownSnapshot *found = find_known(snapshot);
    struct wire_shared *shared = cairn_shared_or_null();
    uint64 version = found ? found->version : 0;

    if (version == 0 && !later && atomic_load(&shared->state) == WIRE_STORAGE_READY && !IsolationIsSerializable() &&
        !imported)
        version = newest(snapshot);
    if (known_count == known_capacity) {
        known_capacity = known_capacity ? known_capacity * 2 : 16;
        known = known ? repalloc(known, known_capacity * sizeof(*known))
                      : MemoryContextAlloc(TopMemoryContext, known_capacity * sizeof(*known));
    }
    known[known_count++] =
        (KnownSnapshot){.snapshot = snapshot, .version = version, .subtransaction = GetCurrentSubTransactionId()};
}

static void forget_at(int i)
{
    memmove(known + i, known + i + 1, (known_count - i - 1) * sizeof(*known));
    known_count--;
}

static void release_if_idle(void)
{
    if (known_count == 0 && transaction_version == 0 && !held_outside)
        cairn_lane_snapshot_release();
}

static bool tracked(const QueryDesc *query, int flags)
{
    return !(flags & EXEC_FLAG_EXPLAIN_ONLY) && query->snapshot && query->snapshot->snapshot_type == SNAPSHOT_MVCC &&
           query->plannedstmt->rtable != NIL && cairn_shared_or_null();
}

static bool names_no_relation(const PlannedStmt *statement)
{
    ListCell *cell;

    foreach (cell, statement->rtable) {
        if (lfirst_node(RangeTblEntry, cell)->rtekind != RTE_RESULT)
            return false;
    }
    return true;
}

static void start(QueryDesc *query, int flags)
{
    if (tracked(query, flags))
        remember(query->snapshot, !IsolationUsesXactSnapshot() && names_no_relation(query->plannedstmt));
    if (previous_start)
        previous_start(query, flags);
    else
        standard_ExecutorStart(query, flags);
}

static void end(QueryDesc *query)
{
    Snapshot snapshot = tracked(query, query->estate->es_top_eflags) ? query->snapshot : NULL;
    KnownSnapshot *found;

    if (previous_end)
        previous_end(query);
    else
        standard_ExecutorEnd(query);
    found = snapshot ? find_known(snapshot) : NULL;
    if (found) {
        forget_at((int) (found - known));
        release_if_idle();
    }
}

static void utility(PlannedStmt *statement, const char *text, bool read_only, ProcessUtilityContext context,
                    ParamListInfo params, QueryEnvironment *environment, DestReceiver *receiver,
                    QueryCompletion *completion)
{
    const VariableSetStmt *set = (const VariableSetStmt *) statement->utilityStmt;

    if (IsA(set, VariableSetStmt) && set->kind == VAR_SET_MULTI && strcmp(set->name, "TRANSACTION SNAPSHOT") == 0)
        imported = true;
    if (previous_utility)
        previous_utility(statement, text, read_only, context, params, environment, receiver, completion);
    else
        standard_ProcessUtility(statement, text, read_only, context, params, environment, receiver, completion);
}

void cairn_snapshot_init(void)
{
    previous_start = ExecutorStart_hook;
    ExecutorStart_hook = start;
    previous_end = ExecutorEnd_hook;
    ExecutorEnd_hook = end;
    previous_utility = ProcessUtility_hook;
    ProcessUtility_hook = utility;
}

void cairn_snapshot_at_xact_end(void)
{
    known_count = 0;
    transaction_version = 0;
    held_outside = false;
    imported = false;
    if (cairn_shared_or_null())
        cairn_lane_snapshot_release();
}

void cairn_snapshot_at_subxact_abort(SubTransactionId subtransaction)
{
    for (int i = known_count - 1; i >= 0; i--) {
        if (known[i].subtransaction == subtransaction)
            forget_at(i);
    }
}

void cairn_snapshot_at_subxact_commit(SubTransactionId subtransaction, SubTransactionId parent)
{
    for (int i = 0; i < known_count; i++) {
        if (known[i].subtransaction == subtransaction)
            known[i].subtransaction = parent;
    }
}
