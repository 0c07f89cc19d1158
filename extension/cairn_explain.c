/*
 * EXPLAIN (ANALYZE): what the statement asked of the storage process, as a line behind the plan, or as an object of its
 * own in the other formats.
 */
#include "cairn_utility.h"

#include "commands/explain.h"
#include "executor/instrument.h"
#include "tcop/tcopprot.h"

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
    used.requests = cairn_usage.requests - before.requests;
    used.items_read = cairn_usage.items_read - before.items_read;
    used.bytes_read = cairn_usage.bytes_read - before.bytes_read;
    used.items_written = cairn_usage.items_written - before.items_written;
    if (es->analyze && used.requests > 0)
        show_usage(es, &used);
}

void cairn_explain_init(void)
{
    previous_hook = ExplainOneQuery_hook;
    ExplainOneQuery_hook = explain;
}
