/*
 * What a scan of the primary key costs. Costs are relative to the reading of pages, which cost_index() adds for the
 * rows: what comes from here is the hand-over to the storage process, and the dearness of orders that have to be made
 * by sorting.
 */
#include "cairn_indexscan.h"

#include <math.h>

#include "access/stratnum.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

/* A hand-over, in the unit of seq_page_cost. */
#define REQUEST_COST 2.0
/* Puts a scan that must sort the whole table behind every sequential scan, with a sort on top, that is not switched
 * off. */
#define SORT_PENALTY 1.0e6

static bool gives_equality(const IndexOptInfo *index, const IndexClause *clause)
{
    ListCell *cell;

    foreach (cell, clause->indexquals) {
        Expr *expression = lfirst_node(RestrictInfo, cell)->clause;

        if (IsA(expression, OpExpr) &&
            get_op_opfamily_strategy(((OpExpr *) expression)->opno, index->opfamily[clause->indexcol]) ==
                BTEqualStrategyNumber)
            return true;
    }
    return false;
}

/* How many leading columns are given by equality. */
static int equal_columns(const IndexPath *path)
{
    int column;

    for (column = 0; column < path->indexinfo->nkeycolumns; column++) {
        bool found = false;
        ListCell *cell;

        foreach (cell, path->indexclauses) {
            const IndexClause *clause = lfirst_node(IndexClause, cell);

            found = found || (clause->indexcol == column && gives_equality(path->indexinfo, clause));
        }
        if (!found)
            break;
    }
    return column;
}

static bool is_hashed(Oid index_oid)
{
    Relation index = index_open(index_oid, NoLock);
    const CairnIndexOptions *options = (const CairnIndexOptions *) index->rd_options;
    bool hashed = !options || options->partition_by == CAIRN_PARTITION_BY_HASH;

    index_close(index, NoLock);
    return hashed;
}

static Cost whole_sort_cost(const IndexOptInfo *index)
{
    double rows = Max(index->rel->tuples, 2.0);

    return SORT_PENALTY +
           10.0 * (index->rel->pages * seq_page_cost + rows * (cpu_tuple_cost + 2.0 * cpu_operator_cost * log2(rows)));
}

void cairn_index_cost(struct PlannerInfo *root, struct IndexPath *path, double loop_count, Cost *startup, Cost *total,
                      Selectivity *selectivity, double *correlation, double *pages)
{
    IndexOptInfo *index = path->indexinfo;
    List *quals = get_quals_from_indexclauses(path->indexclauses);
    int equal_count = equal_columns(path);
    double rows;

    *selectivity = clauselist_selectivity(root, quals, (int) index->rel->relid, JOIN_INNER, NULL);
    if (equal_count == index->nkeycolumns)
        *selectivity = Min(*selectivity, 1.0 / Max(index->rel->tuples, 1.0));
    rows = clamp_row_est(*selectivity * index->rel->tuples);
    *startup = REQUEST_COST;
    if (equal_count == 0 && is_hashed(index->indexoid)) {
        *startup += whole_sort_cost(index);
        *selectivity = 1.0;
    }
    *total = *startup + rows * (cpu_index_tuple_cost + list_length(quals) * cpu_operator_cost);
    *correlation = 1.0;
    *pages = 0;
}
