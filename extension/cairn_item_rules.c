/*
 * Item writes on tables with triggers, CHECK, generated columns, partition bounds, or columns whose absence has a
 * meaning: the SQL way.
 *
 * Happy path: the key is locked and the item read in one request, the condition and the update are evaluated here on
 * the row as SQL sees it, BEFORE triggers fire, generated columns are computed, constraints are checked by the
 * executor, and the new row joins the write set; AFTER triggers, foreign keys among them, get handles of the old and
 * the new row. The transaction's commit logs it.
 *
 * Failure modes: the condition is not met (23000), a constraint is violated (23502, 23514), row security forbids it
 * (42501), a trigger changes the key (27000), transition tables (0A000). No rule is skipped.
 */
#include "cairn_item_parts.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "cairn_error.h"
#include "cairn_handles.h"
#include "cairn_writeset.h"

/* One write on its way through the executor's checks. */
typedef struct RuleState {
    const CairnItemCall *call;
    const CairnRuleWrite *write;
    struct wire_span old; /* as stored; empty: none */
    bool old_is_own;      /* written by this transaction */
    Datum *old_values;
    bool *old_nulls;
    Datum *values; /* the new row */
    bool *nulls;
    EState *estate;
    ResultRelInfo *target;
    TupleTableSlot *slot;
} RuleState;

static void allocate_row(const CairnItemCall *call, Datum **values, bool **nulls)
{
    *values = palloc0((Size) call->table->column_count * sizeof(Datum));
    *nulls = palloc((Size) call->table->column_count * sizeof(bool));
    memset(*nulls, true, (Size) call->table->column_count * sizeof(bool));
}

/* --- locking and evaluating --- */

static void lock_and_read(RuleState *state, CairnItemImages *images)
{
    struct wire_write_op op = {.kind = WIRE_WRITE_LOCK, .flags = WIRE_RETURN_OLD, .key = state->write->key};
    CairnItemCall call = *state->call;
    CairnOwnVersion own;

    call.bare = false;
    state->old_is_own = cairn_writeset_find(op.key, InvalidCommandId, &own);
    if (state->old_is_own)
        CommandCounterIncrement(); /* so that a command tells the new row from the old one */
    cairn_item_write(&call, &op, 1, images);
    state->old = images->old;
    if (state->old.size > 0) {
        allocate_row(&call, &state->old_values, &state->old_nulls);
        cairn_row_decode(call.relation, call.table, state->write->key, state->old, state->old_values, state->old_nulls);
    }
}

/* What row security hides does not exist for a delete; for a put or update it stands in the way, as for INSERT ... ON
 * CONFLICT DO UPDATE. */
static void check_old_row(RuleState *state, CairnItemImages *images)
{
    bool delete = state->write->kind == WIRE_WRITE_DELETE;

    if (state->old.size == 0 ||
        cairn_policy_shows(state->call->policy, delete ? CMD_DELETE : CMD_UPDATE, state->old_values, state->old_nulls))
        return;
    if (!delete)
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("existing row violates row-level security policy (USING expression) for table \"%s\"",
                               RelationGetRelationName(state->call->relation))));
    state->old.size = images->old.size = 0;
}

/* The old row as the item API shows it, for conditions and updates; NULL if there is none. */
static struct wire_item *shown_item(RuleState *state, struct wire_item *item)
{
    const CairnItemCall *call = state->call;
    StringInfoData bytes;
    int code;

    if (state->old.size == 0)
        return NULL;
    initStringInfo(&bytes);
    cairn_row_item_as(call->relation, call->table, state->old_values, state->old_nulls, false, &bytes);
    code = wire_item_open(bytes.data, (size_t) bytes.len, item);
    if (code != WIRE_OK)
        cairn_item_raise(call, code, state->write->key);
    return item;
}

static void apply_update(RuleState *state, const struct wire_item *old)
{
    const CairnItemCall *call = state->call;
    const StringInfoData *update = &state->write->terms->update;
    Size room = (old ? old->encoded.size : 0) + (Size) update->len + 64;
    struct wire_writer w = wire_writer_of(palloc(room), room);
    int code = wire_update_eval((struct wire_span){(const uint8_t *) update->data, (size_t) update->len}, old, 0, &w);

    if (code != WIRE_OK)
        cairn_item_raise(call, code, state->write->key);
    cairn_row_decode_as(call->relation, call->table, state->write->key, (struct wire_span){w.data, w.size}, false,
                        state->values, state->nulls);
    for (int i = 0; i < call->table->key_count; i++) {
        int at = call->table->key[i].number - 1;

        /* The scale of a numeric key is the stored item's, or else the caller's. */
        state->values[at] = old ? state->old_values[at] : state->write->input->values[at];
        state->nulls[at] = false;
    }
}

static void evaluate(RuleState *state)
{
    const StringInfoData *condition = &state->write->terms->condition;
    struct wire_item item;
    struct wire_item *old = shown_item(state, &item);
    int code = wire_condition_eval((struct wire_span){(const uint8_t *) condition->data, (size_t) condition->len}, old);

    if (code != WIRE_OK)
        cairn_item_raise(state->call, code, state->write->key);
    if (state->write->kind == WIRE_WRITE_PUT) {
        state->values = state->write->input->values;
        state->nulls = state->write->input->nulls;
    } else if (state->write->kind == WIRE_WRITE_UPDATE) {
        allocate_row(state->call, &state->values, &state->nulls);
        apply_update(state, old);
    }
}

/* An update that creates its item puts NULL in columns that nobody named: their domains have a say. */
static void check_domains(RuleState *state)
{
    TupleDesc descriptor = RelationGetDescr(state->call->relation);

    for (int i = 0; i < state->call->table->column_count; i++)
        if (!state->call->table->columns[i].dropped &&
            TupleDescAttr(descriptor, i)->atttypid != state->call->table->columns[i].type)
            domain_check(state->values[i], state->nulls[i], TupleDescAttr(descriptor, i)->atttypid, NULL,
                         CurrentMemoryContext);
}

/* --- the executor's part --- */

/* Rows for transition tables would have to be gathered over the statement, which an item function is only a part of. */
static void refuse_transition_tables(const CairnItemCall *call, CmdType command)
{
    TriggerDesc *triggers = call->relation->trigdesc;
    int16 event = command == CMD_INSERT   ? TRIGGER_TYPE_INSERT
                  : command == CMD_UPDATE ? TRIGGER_TYPE_UPDATE
                                          : TRIGGER_TYPE_DELETE;

    for (int i = 0; triggers && i < triggers->numtriggers; i++) {
        const Trigger *trigger = &triggers->triggers[i];

        if ((trigger->tgtype & event) && trigger->tgenabled != TRIGGER_DISABLED &&
            (trigger->tgoldtable || trigger->tgnewtable))
            ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                            errmsg("trigger \"%s\" of table %s has transition tables, which item functions cannot fill",
                                   trigger->tgname, cairn_table_name(call->relation)),
                            errhint("Write to this table by SQL, or use a row trigger.")));
    }
}

/* Permissions were checked on entry; the range table entry tells triggers and generated columns what changes. */
static RangeTblEntry *range_entry(const RuleState *state)
{
    RangeTblEntry *entry = makeNode(RangeTblEntry);
    TupleDesc descriptor = RelationGetDescr(state->call->relation);

    entry->rtekind = RTE_RELATION;
    entry->relid = RelationGetRelid(state->call->relation);
    entry->relkind = state->call->relation->rd_rel->relkind;
    entry->rellockmode = RowExclusiveLock;
    entry->checkAsUser = GetUserId();
    for (int i = 0; i < descriptor->natts; i++) {
        int number = i + 1;
        bool changes = state->write->kind != WIRE_WRITE_UPDATE || bms_is_member(number, state->write->terms->columns);

        if (TupleDescAttr(descriptor, i)->attisdropped)
            continue;
        entry->insertedCols = bms_add_member(entry->insertedCols, number - FirstLowInvalidHeapAttributeNumber);
        if (changes && !state->call->table->columns[i].generated)
            entry->updatedCols = bms_add_member(entry->updatedCols, number - FirstLowInvalidHeapAttributeNumber);
    }
    return entry;
}

static void start_executor(RuleState *state)
{
    state->estate = CreateExecutorState();
    ExecInitRangeTable(state->estate, list_make1(range_entry(state)));
    state->target = makeNode(ResultRelInfo);
    InitResultRelInfo(state->target, state->call->relation, 1, NULL, 0);
    state->estate->es_output_cid = GetCurrentCommandId(true);
    state->slot = MakeSingleTupleTableSlot(RelationGetDescr(state->call->relation), &TTSOpsHeapTuple);
    AfterTriggerBeginQuery();
}

static void end_executor(RuleState *state)
{
    AfterTriggerEndQuery(state->estate);
    ExecCloseResultRelations(state->estate);
    ExecDropSingleTupleTableSlot(state->slot);
    ExecResetTupleTable(state->estate->es_tupleTable, false);
    FreeExecutorState(state->estate);
}

static HeapTuple row_tuple(const RuleState *state, const Datum *values, const bool *nulls)
{
    HeapTuple tuple = heap_form_tuple(RelationGetDescr(state->call->relation), (Datum *) values, (bool *) nulls);

    tuple->t_tableOid = RelationGetRelid(state->call->relation);
    return tuple;
}

/* BEFORE triggers; false: one of them said to do nothing. They may replace the row in the slot. */
static bool fire_before(RuleState *state, CmdType command)
{
    TriggerDesc *triggers = state->call->relation->trigdesc;
    TM_FailureData failure;

    if (!triggers)
        return true;
    switch (command) {
    case CMD_INSERT:
        ExecBSInsertTriggers(state->estate, state->target);
        return !triggers->trig_insert_before_row || ExecBRInsertTriggers(state->estate, state->target, state->slot);
    case CMD_UPDATE:
        ExecBSUpdateTriggers(state->estate, state->target);
        return !triggers->trig_update_before_row ||
               ExecBRUpdateTriggers(state->estate, NULL, state->target, NULL,
                                    row_tuple(state, state->old_values, state->old_nulls), state->slot, &failure);
    default:
        ExecBSDeleteTriggers(state->estate, state->target);
        return !triggers->trig_delete_before_row ||
               ExecBRDeleteTriggers(state->estate, NULL, state->target, NULL,
                                    row_tuple(state, state->old_values, state->old_nulls), NULL);
    }
}

static bool fires_after_row(const RuleState *state, CmdType command)
{
    const TriggerDesc *triggers = state->call->relation->trigdesc;

    if (!triggers)
        return false;
    return command == CMD_INSERT   ? triggers->trig_insert_after_row
           : command == CMD_UPDATE ? triggers->trig_update_after_row
                                   : triggers->trig_delete_after_row;
}

/*
 * Make sure that an AFTER trigger finds the old row by a handle, and return the command id for the new one. A row of
 * the past is found only as long as its version is retained; so it becomes a version of this transaction, one command
 * before the new one.
 */
static CommandId separate_old(RuleState *state, CmdType command)
{
    if (!state->old_is_own && command != CMD_INSERT && fires_after_row(state, command)) {
        cairn_writeset_put(state->call->table->storage_id, state->write->key, state->old, GetCurrentCommandId(true));
        CommandCounterIncrement();
    }
    return GetCurrentCommandId(true);
}

static void fire_after_row(RuleState *state, CmdType command, CommandId cid)
{
    ItemPointerData old;

    if (!fires_after_row(state, command))
        return;
    if (command != CMD_DELETE)
        state->slot->tts_tid = cairn_handle_of_insert(state->write->key, cid);
    if (command != CMD_INSERT)
        old = cairn_handle_of_insert(state->write->key, cid - 1);
    if (command == CMD_INSERT)
        ExecARInsertTriggers(state->estate, state->target, state->slot, NIL, NULL);
    else if (command == CMD_UPDATE)
        ExecARUpdateTriggers(state->estate, state->target, NULL, NULL, &old, NULL, state->slot, NIL, NULL, false);
    else
        ExecARDeleteTriggers(state->estate, state->target, &old, NULL, NULL, false);
}

static void fire_after_statement(RuleState *state, CmdType command)
{
    if (!state->call->relation->trigdesc)
        return;
    if (command == CMD_INSERT)
        ExecASInsertTriggers(state->estate, state->target, NULL);
    else if (command == CMD_UPDATE)
        ExecASUpdateTriggers(state->estate, state->target, NULL);
    else
        ExecASDeleteTriggers(state->estate, state->target, NULL);
}

static void check_row(RuleState *state, CmdType command)
{
    Relation relation = state->call->relation;
    TupleConstr *constraints = RelationGetDescr(relation)->constr;

    state->slot->tts_tableOid = RelationGetRelid(relation);
    if (constraints && constraints->has_generated_stored)
        ExecComputeStoredGenerated(state->target, state->estate, state->slot, command);
    slot_getallattrs(state->slot);
    cairn_policy_check(state->call, command, state->slot->tts_values, state->slot->tts_isnull);
    if (constraints)
        ExecConstraints(state->target, state->slot, state->estate);
    if (relation->rd_rel->relispartition)
        ExecPartitionCheck(state->target, state->slot, state->estate, true);
}

/* Encode what the checks left in the slot; the key must have stayed. */
static struct wire_span encode_row(RuleState *state)
{
    const CairnItemCall *call = state->call;
    uint8 *key = palloc(WIRE_KEY_MAX);
    struct wire_span now = {key, 0};
    StringInfoData out;

    slot_getallattrs(state->slot);
    now.size = cairn_row_key(call->relation, call->table, state->slot->tts_values, state->slot->tts_isnull, key);
    if (wire_span_compare(now, state->write->key) != 0)
        ereport(ERROR,
                (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
                 errmsg("a trigger of table %s changed the key of the item", cairn_table_name(call->relation)),
                 errdetail("Key %s became %s.", cairn_row_key_text(call->relation, call->table, state->write->key),
                           cairn_row_key_text(call->relation, call->table, now))));
    initStringInfo(&out);
    cairn_row_item(call->relation, call->table, state->slot->tts_values, state->slot->tts_isnull, &out);
    cairn_item_check_size(call, now, (struct wire_span){(const uint8_t *) out.data, (size_t) out.len});
    return (struct wire_span){(const uint8_t *) out.data, (size_t) out.len};
}

void cairn_item_write_by_rules(const CairnItemCall *call, const CairnRuleWrite *write, CairnItemImages *images)
{
    RuleState state = {.call = call, .write = write};
    CmdType command;

    lock_and_read(&state, images);
    check_old_row(&state, images);
    evaluate(&state);
    if (write->kind == WIRE_WRITE_DELETE && state.old.size == 0)
        return;
    command = write->kind == WIRE_WRITE_DELETE ? CMD_DELETE : state.old.size > 0 ? CMD_UPDATE : CMD_INSERT;
    refuse_transition_tables(call, command);
    if (write->kind == WIRE_WRITE_UPDATE)
        check_domains(&state);
    start_executor(&state);
    if (command != CMD_DELETE)
        ExecForceStoreHeapTuple(row_tuple(&state, state.values, state.nulls), state.slot, false);
    if (fire_before(&state, command)) {
        CommandId cid = separate_old(&state, command);

        if (command != CMD_DELETE) {
            check_row(&state, command);
            images->new_item = encode_row(&state);
        }
        cairn_writeset_put(call->table->storage_id, write->key, images->new_item, cid);
        fire_after_row(&state, command, cid);
    }
    fire_after_statement(&state, command);
    end_executor(&state);
}
