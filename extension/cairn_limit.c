/*
 * See cairn_limit.h. Postgres tells access methods nothing of a LIMIT, but the plan's nodes are there before the scan
 * begins, and when its first row is asked for, the node below the LIMIT holds the scan's descriptor and the LIMIT its
 * count.
 *
 * A note lives in the memory of the statement's execution, with the nodes that it points to, and leaves the list when
 * that memory goes, however the statement ends.
 */
#include "cairn_limit.h"

#include "lib/ilist.h"

typedef struct LimitNote {
    dlist_node node;
    const LimitState *limit;
    MemoryContextCallback callback;
} LimitNote;

static dlist_head notes = DLIST_STATIC_INIT(notes);

static void forget(void *argument)
{
    dlist_delete(&((LimitNote *) argument)->node);
}

void cairn_limit_note(LimitState *limit)
{
    const PlanState *below = outerPlanState(limit);
    MemoryContext memory = limit->ps.state->es_query_cxt;
    LimitNote *note;

    if (!(IsA(below, IndexScanState) || IsA(below, SeqScanState)) || below->qual)
        return;
    note = MemoryContextAllocZero(memory, sizeof(LimitNote));
    note->limit = limit;
    note->callback.func = forget;
    note->callback.arg = note;
    MemoryContextRegisterResetCallback(memory, &note->callback);
    dlist_push_head(&notes, &note->node);
}

/* The descriptor of the scan below, NULL before it has begun. */
static const void *scan_below(const LimitState *limit)
{
    const PlanState *below = outerPlanState(limit);

    if (IsA(below, IndexScanState))
        return ((const IndexScanState *) below)->iss_ScanDesc;
    return ((const SeqScanState *) below)->ss.ss_currentScanDesc;
}

uint64 cairn_limit_of(const void *scan)
{
    dlist_iter iter;

    dlist_foreach(iter, &notes)
    {
        const LimitState *limit = dlist_container(LimitNote, node, iter.cur)->limit;

        if (scan_below(limit) != scan)
            continue;
        if (limit->lstate == LIMIT_INITIAL || limit->noCount || limit->count <= 0)
            return 0;
        /* One more tells where the ties end. */
        return (uint64) limit->offset + (uint64) limit->count + (limit->limitOption == LIMIT_OPTION_WITH_TIES);
    }
    return 0;
}
