/*
 * Plans with cairn tables: no parallel workers, which would not see the leader's uncommitted writes; clear refusals of
 * statements that cannot be executed yet, before anything runs; handles for scans whose rows are asked for again by
 * ctid (cairn_handles.h); and limits that scans size their batches by (cairn_limit.h).
 *
 * Failure modes: UPDATE, DELETE, MERGE, ON CONFLICT, row locks, INSERT ... RETURNING ctid (0A000).
 */
#include "cairn_utility.h"

#include "access/sysattr.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "cairn_limit.h"
#include "cairn_slot.h"

static ExecutorStart_hook_type previous_start;
static set_rel_pathlist_hook_type previous_pathlist;

static bool is_cairn_entry(const RangeTblEntry *entry)
{
    return entry->rtekind == RTE_RELATION && entry->relkind == RELKIND_RELATION &&
           cairn_relation_is_cairn(entry->relid);
}

static void refuse(const RangeTblEntry *entry, const char *what, const char *hint) pg_attribute_noreturn();
static void refuse(const RangeTblEntry *entry, const char *what, const char *hint)
{
    RangeVar name = {.type = T_RangeVar, .relname = get_rel_name(entry->relid)};

    cairn_ddl_refuse(&name, what, hint);
}

static bool mentions_ctid(Node *expression, Index relation)
{
    Bitmapset *columns = NULL;

    pull_varattnos(expression, relation, &columns);
    return bms_is_member(SelfItemPointerAttributeNumber - FirstLowInvalidHeapAttributeNumber, columns);
}

/* --- refusals --- */

static void check_target(const ModifyTable *plan, const RangeTblEntry *entry, Index relation)
{
    switch (plan->operation) {
    case CMD_UPDATE:
        refuse(entry, "UPDATE", "Use cairn.update_item() or cairn.put_item().");
    case CMD_DELETE:
        refuse(entry, "DELETE", "Use cairn.delete_item().");
    case CMD_MERGE:
        refuse(entry, "MERGE", "Use cairn.put_item(), with a condition if need be.");
    default:
        break;
    }
    if (plan->onConflictAction != ONCONFLICT_NONE)
        refuse(entry, "INSERT ... ON CONFLICT", "Use cairn.put_item(), with a condition if need be.");
    if (mentions_ctid((Node *) plan->returningLists, relation))
        refuse(entry, "INSERT ... RETURNING ctid", "Return the primary key.");
}

static void check_plan(const PlannedStmt *statement, Plan *plan)
{
    ListCell *cell;

    /* Only the top of a statement or of a WITH query changes tables. */
    if (!plan || !IsA(plan, ModifyTable))
        return;
    foreach (cell, ((ModifyTable *) plan)->resultRelations) {
        Index relation = (Index) lfirst_int(cell);
        const RangeTblEntry *entry = rt_fetch(relation, statement->rtable);

        if (is_cairn_entry(entry))
            check_target((ModifyTable *) plan, entry, relation);
    }
}

static void check_row_locks(const PlannedStmt *statement)
{
    ListCell *cell;

    foreach (cell, statement->rowMarks) {
        const PlanRowMark *mark = lfirst_node(PlanRowMark, cell);
        const RangeTblEntry *entry = rt_fetch(mark->rti, statement->rtable);

        if (RowMarkRequiresRowShareLock(mark->markType) && is_cairn_entry(entry))
            refuse(entry, "SELECT ... FOR UPDATE or FOR SHARE",
                   "Use the condition of cairn.put_item(), update_item() or delete_item().");
    }
}

static void check_statement(const PlannedStmt *statement)
{
    ListCell *cell;

    check_plan(statement, statement->planTree);
    foreach (cell, statement->subplans)
        check_plan(statement, lfirst(cell));
    check_row_locks(statement);
}

/* --- handles and limits --- */

static bool mark_scans(PlanState *state, void *context)
{
    if (!state)
        return false;
    switch (nodeTag(state)) {
    case T_LimitState:
        cairn_limit_note((LimitState *) state);
        break;
    case T_SeqScanState:
    case T_IndexScanState:
    case T_TidScanState: {
        ScanState *scan = (ScanState *) state;
        Index relation = ((Scan *) state->plan)->scanrelid;

        if (cairn_slot_is_ours(scan->ss_ScanTupleSlot) && (mentions_ctid((Node *) state->plan->targetlist, relation) ||
                                                           mentions_ctid((Node *) state->plan->qual, relation)))
            cairn_slot_need_handles(scan->ss_ScanTupleSlot);
        break;
    }
    default:
        break;
    }
    return planstate_tree_walker(state, mark_scans, context);
}

static void start(QueryDesc *query, int flags)
{
    const PlannedStmt *statement = query->plannedstmt;
    bool concerned = false;
    ListCell *cell;

    foreach (cell, statement->rtable)
        concerned = concerned || is_cairn_entry(lfirst(cell));
    if (concerned)
        check_statement(statement);
    if (previous_start)
        previous_start(query, flags);
    else
        standard_ExecutorStart(query, flags);
    if (concerned)
        (void) mark_scans(query->planstate, NULL);
}

/* --- no parallel workers --- */

static void pathlist(PlannerInfo *root, RelOptInfo *relation, Index index, RangeTblEntry *entry)
{
    ListCell *cell;

    if (previous_pathlist)
        previous_pathlist(root, relation, index, entry);
    if (!is_cairn_entry(entry))
        return;
    relation->consider_parallel = false;
    relation->partial_pathlist = NIL;
    foreach (cell, relation->pathlist)
        ((Path *) lfirst(cell))->parallel_safe = false;
}

void cairn_plan_init(void)
{
    previous_start = ExecutorStart_hook;
    ExecutorStart_hook = start;
    previous_pathlist = set_rel_pathlist_hook;
    set_rel_pathlist_hook = pathlist;
}
