/*
 * EXPLAIN (ANALYZE): what the statement asked of the storage process, as a line behind the plan, or as an object of its
 * own in the other formats.
 *
 * Postgres asks its hook for every query but that of EXECUTE, whose plan is made already: there the same words are added
 * to the output on its way to the client.
 */
#include "cairn_utility.h"

#include "commands/defrem.h"
#include "commands/explain.h"
#include "executor/instrument.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"

#include "cairn_lane.h"

static ExplainOneQuery_hook_type previous_hook;

/* As Postgres does it without a hook. *before: what was used when the plan was ready. */
static void explain_plainly(Query *query, int cursor_options, IntoClause *into, ExplainState *es,
                            const char *query_text, ParamListInfo params, QueryEnvironment *environment,
                            CairnUsage *before)
{
    BufferUsage buffers_before = pgBufferUsage;
    BufferUsage buffers = {0};
    PlannedStmt *plan;
    instr_time begun;
    instr_time duration;

    INSTR_TIME_SET_CURRENT(begun);
    plan = pg_plan_query(query, query_text, cursor_options, params);
    INSTR_TIME_SET_CURRENT(duration);
    INSTR_TIME_SUBTRACT(duration, begun);
    BufferUsageAccumDiff(&buffers, &pgBufferUsage, &buffers_before);
    *before = cairn_usage;
    ExplainOnePlan(plan, into, es, query_text, params, environment, &duration, es->buffers ? &buffers : NULL);
}

static CairnUsage usage_since(const CairnUsage *before)
{
    return (CairnUsage){.requests = cairn_usage.requests - before->requests,
                        .items_read = cairn_usage.items_read - before->items_read,
                        .bytes_read = cairn_usage.bytes_read - before->bytes_read,
                        .items_written = cairn_usage.items_written - before->items_written};
}

static void show_usage(ExplainState *es, const CairnUsage *used)
{
    if (es->format == EXPLAIN_FORMAT_TEXT) {
        ExplainPropertyText("Cairn",
                            psprintf("requests=" UINT64_FORMAT " items read=" UINT64_FORMAT " bytes read=" UINT64_FORMAT
                                     " items written=" UINT64_FORMAT,
                                     used->requests, used->items_read, used->bytes_read, used->items_written),
                            es);
        return;
    }
    ExplainOpenGroup("Cairn", NULL, true, es);
    ExplainPropertyUInteger("Cairn Requests", NULL, used->requests, es);
    ExplainPropertyUInteger("Cairn Items Read", NULL, used->items_read, es);
    ExplainPropertyUInteger("Cairn Bytes Read", "bytes", used->bytes_read, es);
    ExplainPropertyUInteger("Cairn Items Written", NULL, used->items_written, es);
    ExplainCloseGroup("Cairn", NULL, true, es);
}

static void explain(Query *query, int cursor_options, IntoClause *into, ExplainState *es, const char *query_text,
                    ParamListInfo params, QueryEnvironment *environment)
{
    CairnUsage before = cairn_usage;
    CairnUsage used;

    if (previous_hook)
        previous_hook(query, cursor_options, into, es, query_text, params, environment);
    else
        explain_plainly(query, cursor_options, into, es, query_text, params, environment, &before);
    used = usage_since(&before);
    if (es->analyze && used.requests > 0)
        show_usage(es, &used);
}

/* --- EXPLAIN EXECUTE --- */

/* Takes what EXPLAIN sends and sends it on. */
typedef struct UsageReceiver {
    DestReceiver receiver;
    DestReceiver *next;
    ExplainFormat format;
    CairnUsage before;
    TupleDesc descriptor;
} UsageReceiver;

/* Put the usage in front of what closes a whole explanation, as if it had been explained behind the query. */
static Datum with_usage(const UsageReceiver *own, const CairnUsage *used, Datum explanation)
{
    ExplainState *es = NewExplainState();
    char *given = TextDatumGetCString(explanation);
    StringInfoData result;
    int start;
    int end;

    es->format = own->format;
    ExplainBeginOutput(es);
    ExplainOpenGroup("Query", NULL, true, es);
    ExplainCloseGroup("Query", NULL, true, es);
    start = es->str->len;
    show_usage(es, used);
    end = es->str->len;
    ExplainEndOutput(es);
    initStringInfo(&result);
    appendBinaryStringInfo(&result, given, (int) strlen(given) - (es->str->len - end));
    appendStringInfoString(&result, es->str->data + start);
    return CStringGetTextDatum(result.data);
}

static bool send_line(UsageReceiver *own, Datum line)
{
    TupleTableSlot *slot = MakeSingleTupleTableSlot(own->descriptor, &TTSOpsVirtual);
    bool more;

    slot->tts_values[0] = line;
    slot->tts_isnull[0] = false;
    more = own->next->receiveSlot(ExecStoreVirtualTuple(slot), own->next);
    ExecDropSingleTupleTableSlot(slot);
    return more;
}

static bool receive(TupleTableSlot *slot, DestReceiver *self)
{
    UsageReceiver *own = (UsageReceiver *) self;
    CairnUsage used = usage_since(&own->before);

    if (own->format == EXPLAIN_FORMAT_TEXT || used.requests == 0)
        return own->next->receiveSlot(slot, own->next);
    slot_getallattrs(slot);
    return send_line(own, with_usage(own, &used, slot->tts_values[0]));
}

static void startup(DestReceiver *self, int operation, TupleDesc descriptor)
{
    UsageReceiver *own = (UsageReceiver *) self;

    own->descriptor = descriptor;
    own->next->rStartup(own->next, operation, descriptor);
}

static void shutdown(DestReceiver *self)
{
    UsageReceiver *own = (UsageReceiver *) self;
    CairnUsage used = usage_since(&own->before);

    if (own->format == EXPLAIN_FORMAT_TEXT && used.requests > 0) {
        ExplainState *es = NewExplainState();

        show_usage(es, &used);
        (void) send_line(own, PointerGetDatum(cstring_to_text_with_len(es->str->data, es->str->len - 1)));
    }
    own->next->rShutdown(own->next);
}

static void destroy(DestReceiver *self)
{
    pfree(self);
}

static bool executes(const Query *query)
{
    const Node *statement = query->commandType == CMD_UTILITY ? query->utilityStmt : NULL;

    if (statement && IsA(statement, CreateTableAsStmt))
        return executes(castNode(Query, ((const CreateTableAsStmt *) statement)->query));
    return statement && IsA(statement, ExecuteStmt);
}

DestReceiver *cairn_explain_receiver(const ExplainStmt *statement, DestReceiver *next)
{
    static const struct {
        const char *name;
        ExplainFormat format;
    } formats[] = {{"xml", EXPLAIN_FORMAT_XML}, {"json", EXPLAIN_FORMAT_JSON}, {"yaml", EXPLAIN_FORMAT_YAML}};
    UsageReceiver *own = palloc0(sizeof(*own));
    bool analyze = false;
    ListCell *cell;

    foreach (cell, statement->options) {
        DefElem *option = lfirst_node(DefElem, cell);

        if (strcmp(option->defname, "analyze") == 0)
            analyze = defGetBoolean(option);
        for (int i = 0; strcmp(option->defname, "format") == 0 && i < (int) lengthof(formats); i++)
            if (strcmp(defGetString(option), formats[i].name) == 0)
                own->format = formats[i].format;
    }
    if (!analyze || !executes(castNode(Query, statement->query)))
        return next;
    own->receiver = (DestReceiver){receive, startup, shutdown, destroy, next->mydest};
    own->next = next;
    own->before = cairn_usage;
    return &own->receiver;
}

void cairn_explain_init(void)
{
    previous_hook = ExplainOneQuery_hook;
    ExplainOneQuery_hook = explain;
}
