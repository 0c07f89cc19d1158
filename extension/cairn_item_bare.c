/*
 * Bare calls: is the running top-level statement exactly one item-function call?
 *
 * Happy path: ExecutorStart sees a plan that only evaluates one call of an item function with constants, parameters and
 * what is computed from them without side effects, as the whole of a client's statement outside a transaction block,
 * while this transaction has written nothing. It notes the function; the function takes the note on entry. One
 * hand-over then evaluates, logs and acknowledges.
 *
 * Failure modes: none raise. In doubt a call is not bare, and the write joins the transaction. The note is bound to the
 * local transaction id and cleared by the next ExecutorStart, so that nothing nested and nothing later takes it.
 */
#include "cairn_item.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/syscache.h"

#include "cairn_writeset.h"

static ExecutorStart_hook_type previous_start;

static Oid noted_function;
static bool noted_insert;
static LocalTransactionId noted_transaction;

void cairn_item_forget_bare(void)
{
    noted_function = InvalidOid;
    noted_insert = false;
}

bool cairn_item_take_bare_insert(void)
{
    bool bare = noted_insert && noted_transaction == MyProc->lxid;

    noted_insert = false;
    return bare;
}

/* Names of functions that ask for it; all of them are in C in schema cairn. */
static const char *const bare_functions[] = {"put_item", "get_item", "delete_item", "update_item", "batch_write_item"};

bool cairn_item_take_bare(Oid function)
{
    bool bare = OidIsValid(noted_function) && noted_function == function && noted_transaction == MyProc->lxid;

    noted_function = InvalidOid;
    return bare;
}

static bool is_item_function(Oid function)
{
    HeapTuple tuple;
    Form_pg_proc form;
    bool found = false;

    if (function < FirstNormalObjectId)
        return false;
    tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(tuple))
        return false;
    form = (Form_pg_proc) GETSTRUCT(tuple);
    if (form->prolang == ClanguageId && form->pronamespace == get_namespace_oid("cairn", true))
        for (int i = 0; i < (int) lengthof(bare_functions); i++)
            found = found || strcmp(NameStr(form->proname), bare_functions[i]) == 0;
    ReleaseSysCache(tuple);
    return found;
}

/* Arguments that cannot have done anything by themselves. */
static bool is_harmless(List *arguments)
{
    ListCell *cell;

    foreach (cell, arguments) {
        Node *node = lfirst(cell);

        if (IsA(node, Const) || (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN))
            continue;
        if (contain_subplans(node) || contain_volatile_functions(node))
            return false;
    }
    return true;
}

/* The one function that the plan calls, or InvalidOid. */
static Oid only_call(const PlannedStmt *statement)
{
    const Plan *plan = statement->planTree;
    const TargetEntry *entry;
    const FuncExpr *call;

    if (statement->commandType != CMD_SELECT || statement->hasModifyingCTE || statement->subplans != NIL ||
        !IsA(plan, Result) || plan->lefttree || plan->qual != NIL || ((const Result *) plan)->resconstantqual ||
        list_length(plan->targetlist) != 1)
        return InvalidOid;
    entry = linitial_node(TargetEntry, plan->targetlist);
    if (!IsA(entry->expr, FuncExpr))
        return InvalidOid;
    call = (const FuncExpr *) entry->expr;
    if (call->funcretset || !is_item_function(call->funcid) || !is_harmless(call->args))
        return InvalidOid;
    return call->funcid;
}

/*
 * INSERT of one row, with nothing that could fail behind it: no RETURNING, no check of a view, no subplan. (What
 * triggers could do the table access method knows.)
 */
static bool only_insert(const PlannedStmt *statement)
{
    const ModifyTable *modify = (const ModifyTable *) statement->planTree;
    const Plan *source;

    if (statement->commandType != CMD_INSERT || statement->hasModifyingCTE || statement->hasReturning ||
        statement->subplans != NIL || !IsA(modify, ModifyTable) || modify->operation != CMD_INSERT ||
        modify->onConflictAction != ONCONFLICT_NONE || modify->withCheckOptionLists != NIL || modify->rowMarks != NIL)
        return false;
    source = outerPlan(modify);
    return source && IsA(source, Result) && !source->lefttree && source->qual == NIL;
}

/* The client's own statement: neither in a function, nor a cursor, nor under EXPLAIN, COPY or EXECUTE. */
static bool is_top_level(const QueryDesc *query)
{
    return ActivePortal && ActivePortal->name[0] == '\0' &&
           ActivePortal->strategy == (query->operation == CMD_INSERT ? PORTAL_MULTI_QUERY : PORTAL_ONE_SELECT) &&
           list_length(ActivePortal->stmts) == 1 && linitial(ActivePortal->stmts) == query->plannedstmt;
}

/* The statement is alone in its transaction, which has done nothing yet. */
static bool is_alone(const QueryDesc *query, int flags)
{
    return !(flags & EXEC_FLAG_EXPLAIN_ONLY) && is_top_level(query) && !IsInTransactionBlock(true) &&
           cairn_writeset_empty() && !cairn_xact_active() && !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

static void start(QueryDesc *query, int flags)
{
    noted_function = InvalidOid;
    noted_insert = false;
    if ((query->operation == CMD_SELECT || query->operation == CMD_INSERT) && is_alone(query, flags)) {
        noted_function = only_call(query->plannedstmt);
        noted_insert = only_insert(query->plannedstmt);
        noted_transaction = MyProc->lxid;
        /* In a pipeline the statement commits by itself, as it will have. */
        if (OidIsValid(noted_function))
            MyXactFlags |= XACT_FLAGS_NEEDIMMEDIATECOMMIT;
    }
    if (previous_start)
        previous_start(query, flags);
    else
        standard_ExecutorStart(query, flags);
}

void cairn_item_init(void)
{
    previous_start = ExecutorStart_hook;
    ExecutorStart_hook = start;
}
