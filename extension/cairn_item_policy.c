/*
 * Row security for item functions: the policies that SQL would apply, evaluated on rows.
 *
 * Happy path: if row security applies to the caller, the policies of a command are taken from the rewriter's own
 * function, prepared once per call, and evaluated on each row read or written: what USING hides does not exist, what
 * WITH CHECK refuses cannot be written.
 *
 * Failure modes: a row that may not be replaced or written (42501), policies with subqueries (0A000: they need a plan).
 */
#include "cairn_item_parts.h"

#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "rewrite/rowsecurity.h"
#include "utils/rls.h"

/* The policies of one command. */
typedef struct PolicySet {
    bool prepared;
    ExprState *visible; /* USING; NULL: every row */
    List *checks;       /* of WithCheckOption, as `check_states` */
    List *check_states;
} PolicySet;

struct CairnItemPolicy {
    MemoryContext memory;
    Oid relid;
    char relkind;
    AclMode needs;
    EState *estate;
    TupleTableSlot *slot;
    PolicySet sets[CMD_DELETE + 1];
};

CairnItemPolicy *cairn_policy_of(const CairnItemCall *call, AclMode needs)
{
    Relation relation = call->relation;
    CairnItemPolicy *policy;

    if (!relation->rd_rel->relrowsecurity ||
        check_enable_rls(RelationGetRelid(relation), InvalidOid, false) != RLS_ENABLED)
        return NULL;
    policy = palloc0(sizeof(*policy));
    policy->memory = CurrentMemoryContext;
    policy->relid = RelationGetRelid(relation);
    policy->relkind = relation->rd_rel->relkind;
    policy->needs = needs;
    policy->estate = CreateExecutorState();
    policy->slot = MakeSingleTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(relation)), &TTSOpsVirtual);
    return policy;
}

static RangeTblEntry *range_entry(const CairnItemPolicy *policy, CmdType command)
{
    RangeTblEntry *entry = makeNode(RangeTblEntry);
    AclMode own = command == CMD_SELECT   ? ACL_SELECT
                  : command == CMD_INSERT ? ACL_INSERT
                  : command == CMD_UPDATE ? ACL_UPDATE
                                          : ACL_DELETE;

    entry->rtekind = RTE_RELATION;
    entry->relid = policy->relid;
    entry->relkind = policy->relkind;
    entry->rellockmode = AccessShareLock;
    entry->requiredPerms = own | (policy->needs & ACL_SELECT);
    return entry;
}

static PolicySet *prepare(CairnItemPolicy *policy, CmdType command)
{
    PolicySet *set = &policy->sets[command];
    Query *query;
    List *quals = NIL;
    bool has_row_security = false;
    bool has_sublinks = false;
    MemoryContext old;
    ListCell *cell;

    if (set->prepared)
        return set;
    old = MemoryContextSwitchTo(policy->memory);
    query = makeNode(Query);
    query->commandType = command;
    query->resultRelation = command == CMD_SELECT ? 0 : 1;
    get_row_security_policies(query, range_entry(policy, command), 1, &quals, &set->checks, &has_row_security,
                              &has_sublinks);
    if (has_sublinks)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("a row security policy of this table contains a subquery"),
                        errdetail("Item functions do not evaluate subqueries in policies."),
                        errhint("Use SQL on this table, or put the subquery into a function.")));
    if (quals)
        set->visible = ExecPrepareQual(quals, policy->estate);
    foreach (cell, set->checks)
        set->check_states = lappend(
            set->check_states, ExecPrepareQual(list_make1(lfirst_node(WithCheckOption, cell)->qual), policy->estate));
    set->prepared = true;
    MemoryContextSwitchTo(old);
    return set;
}

static ExprContext *load_row(CairnItemPolicy *policy, const Datum *values, const bool *nulls)
{
    ExprContext *expression = GetPerTupleExprContext(policy->estate);
    Size count = (Size) policy->slot->tts_tupleDescriptor->natts;

    ResetExprContext(expression);
    ExecClearTuple(policy->slot);
    memcpy(policy->slot->tts_values, values, count * sizeof(Datum));
    memcpy(policy->slot->tts_isnull, nulls, count * sizeof(bool));
    ExecStoreVirtualTuple(policy->slot);
    expression->ecxt_scantuple = policy->slot;
    return expression;
}

bool cairn_policy_shows(CairnItemPolicy *policy, CmdType command, const Datum *values, const bool *nulls)
{
    PolicySet *set;

    if (!policy)
        return true;
    set = prepare(policy, command);
    return !set->visible || ExecQual(set->visible, load_row(policy, values, nulls));
}

bool cairn_policy_shows_item(const CairnItemCall *call, struct wire_span key, struct wire_span item)
{
    Datum *values;
    bool *nulls;

    if (!call->policy || item.size == 0)
        return true;
    values = palloc((Size) call->table->column_count * sizeof(Datum));
    nulls = palloc((Size) call->table->column_count * sizeof(bool));
    cairn_row_decode(call->relation, call->table, key, item, values, nulls);
    return cairn_policy_shows(call->policy, CMD_SELECT, values, nulls);
}

void cairn_policy_check(const CairnItemCall *call, CmdType command, const Datum *values, const bool *nulls)
{
    PolicySet *set;
    ExprContext *expression;
    ListCell *check;
    ListCell *state;

    if (!call->policy)
        return;
    set = prepare(call->policy, command);
    expression = load_row(call->policy, values, nulls);
    forboth(check, set->checks, state, set->check_states)
    {
        const WithCheckOption *option = lfirst(check);

        if (ExecQual(lfirst(state), expression))
            continue;
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        option->polname ? errmsg("new row violates row-level security policy \"%s\" for table \"%s\"",
                                                 option->polname, RelationGetRelationName(call->relation))
                                        : errmsg("new row violates row-level security policy for table \"%s\"",
                                                 RelationGetRelationName(call->relation))));
    }
}
