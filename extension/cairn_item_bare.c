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
static LocalTransactionId noted_transaction;

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

/* The client's own statement: neither in a function, nor a cursor, nor under EXPLAIN, COPY or EXECUTE. */
static bool is_top_level(const QueryDesc *query)
{
    return ActivePortal && ActivePortal->name[0] == '\0' && ActivePortal->strategy == PORTAL_ONE_SELECT &&
           list_length(ActivePortal->stmts) == 1 && linitial(ActivePortal->stmts) == query->plannedstmt;
}

static void start(QueryDesc *query, int flags)
{
    Oid function = InvalidOid;

    noted_function = InvalidOid;
    if (!(flags & EXEC_FLAG_EXPLAIN_ONLY) && is_top_level(query) && !IsInTransactionBlock(true))
        function = only_call(query->plannedstmt);
    if (OidIsValid(function) && cairn_writeset_empty() && !cairn_xact_active() &&
        !TransactionIdIsValid(GetTopTransactionIdIfAny())) {
        /* In a pipeline the statement commits by itself, as it will have. */
        MyXactFlags |= XACT_FLAGS_NEEDIMMEDIATECOMMIT;
        noted_function = function;
        noted_transaction = MyProc->lxid;
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
