/*
 * See cairn_gather.h. One batch at most, of one table, command and subtransaction. While it has rows, the frame of its
 * subtransaction is the newest: an inner frame begins with a write, before which the batch is written.
 */
#include "cairn_gather.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "parser/parsetree.h"
#include "utils/memutils.h"

#include "cairn_insert_batch.h"

static ExecutorRun_hook_type previous_run;

static Oid target; /* of the statement that runs, if it gathers, else InvalidOid */

/* Memory of the batch is below the transaction's: rows outlive the statements nested in theirs. */
static MemoryContext memory; /* NULL: nothing gathered */
static CairnInsertBatch gathered;
static CairnFrame *frame;
static bool writing;

bool cairn_gather_wants(Relation relation)
{
    const TriggerDesc *triggers = relation->trigdesc;

    return RelationGetRelid(relation) == target &&
           !(triggers && (triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
                          triggers->trig_insert_instead_row || triggers->trig_insert_new_table));
}

bool cairn_gather_empty(void)
{
    return memory == NULL;
}

void cairn_gather_forget(void)
{
    memory = NULL;
    writing = false;
}

static void drop(void)
{
    MemoryContextDelete(memory);
    cairn_gather_forget();
}

void cairn_gather_end_of(SubTransactionId subtransaction)
{
    if (memory && frame->subtransaction == subtransaction)
        cairn_gather_yield(InvalidCommandId);
}

void cairn_gather_forget_of(SubTransactionId subtransaction)
{
    if (memory && frame->subtransaction == subtransaction)
        drop();
}

static void write_gathered(void)
{
    MemoryContext previous = MemoryContextSwitchTo(memory);

    writing = true;
    PG_TRY();
    {
        cairn_insert_batch_write_for(&gathered, frame);
    }
    PG_FINALLY();
    {
        writing = false;
    }
    PG_END_TRY();
    MemoryContextSwitchTo(previous);
    drop();
}

void cairn_gather_yield(CommandId curcid)
{
    if (memory && !writing && (curcid == InvalidCommandId || curcid > gathered.cid))
        write_gathered();
}

static void begin(Relation relation, CommandId cid)
{
    MemoryContext previous;

    cairn_xact_check_write();
    frame = cairn_xact_frame();
    memory = AllocSetContextCreate(cairn_xact.context, "CairnGather", ALLOCSET_DEFAULT_SIZES);
    previous = MemoryContextSwitchTo(memory);
    cairn_insert_batch_begin(&gathered, relation, cid, INT_MAX);
    MemoryContextSwitchTo(previous);
}

static bool add(TupleTableSlot *slot)
{
    MemoryContext previous = MemoryContextSwitchTo(memory);
    bool added = cairn_insert_batch_add(&gathered, slot);

    MemoryContextSwitchTo(previous);
    return added;
}

void cairn_gather_add(Relation relation, TupleTableSlot *slot, CommandId cid)
{
    if (memory &&
        (gathered.relation != relation || gathered.cid != cid || frame->subtransaction != GetCurrentSubTransactionId()))
        write_gathered();
    if (!memory)
        begin(relation, cid);
    if (add(slot))
        return;
    write_gathered();
    begin(relation, cid);
    (void) add(slot);
}

/* The table into which the statement inserts several rows that nothing looks at one by one, or InvalidOid. */
static Oid target_of(const QueryDesc *query)
{
    const PlannedStmt *statement = query->plannedstmt;
    const ModifyTable *modify = (const ModifyTable *) statement->planTree;
    const Plan *source;

    if (query->operation != CMD_INSERT || statement->hasReturning || statement->hasModifyingCTE ||
        !IsA(modify, ModifyTable) || modify->operation != CMD_INSERT || modify->onConflictAction != ONCONFLICT_NONE ||
        modify->withCheckOptionLists != NIL || list_length(modify->resultRelations) != 1)
        return InvalidOid;
    source = outerPlan(modify);
    if (!source || (IsA(source, Result) && !source->lefttree))
        return InvalidOid; /* one row */
    return rt_fetch(linitial_int(modify->resultRelations), statement->rtable)->relid;
}

static void run_query(QueryDesc *query, ScanDirection direction, uint64 count, bool once)
{
    if (previous_run)
        previous_run(query, direction, count, once);
    else
        standard_ExecutorRun(query, direction, count, once);
}

static void run(QueryDesc *query, ScanDirection direction, uint64 count, bool once)
{
    Oid outer = target;
    Oid own = target_of(query);

    if (outer == InvalidOid && own == InvalidOid) {
        run_query(query, direction, count, once);
        return;
    }
    target = own;
    PG_TRY();
    {
        run_query(query, direction, count, once);
        if (own != InvalidOid)
            cairn_gather_yield(InvalidCommandId);
    }
    PG_FINALLY();
    {
        target = outer;
    }
    PG_END_TRY();
}

void cairn_gather_init(void)
{
    previous_run = ExecutorRun_hook;
    ExecutorRun_hook = run;
}
