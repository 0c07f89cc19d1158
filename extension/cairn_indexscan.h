/*
 * The callbacks of the index access method `cairn_ordered`, one file per concern. Nobody else includes this.
 */
#ifndef CAIRN_INDEXSCAN_H
#define CAIRN_INDEXSCAN_H

#include "cairn_pg.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "nodes/pathnodes.h"

#include "cairn_indexam.h"
#include "cairn_range.h"

#include "wire_limits.h"

/* cairn_bounds.c: from scan keys to key bytes */

typedef enum CairnAccess {
    CAIRN_ACCESS_NOTHING, /* no row can match */
    CAIRN_ACCESS_POINT,   /* all key columns are given: `low` is the key */
    CAIRN_ACCESS_RANGE,   /* [low, high), in the order of the columns */
    CAIRN_ACCESS_SORT     /* the same, but in an order of its own: the partition key of a hash-partitioned table is not
                             given */
} CairnAccess;

typedef struct CairnBounds {
    CairnAccess access;
    bool recheck; /* some scan keys are not in the bounds */
    Size low_size;
    Size high_size;
    uint8 low[WIRE_KEY_MAX + 1];
    uint8 high[WIRE_KEY_MAX + 1];
} CairnBounds;

/* Errors: those of cairn_table_of. */
void cairn_bounds_compute(Relation table, Relation index, ScanKey keys, int key_count, CairnBounds *out);

/* cairn_sort.c: rows of a hash-partitioned table in the order of its key columns */

typedef struct CairnSort CairnSort;
/* Read all rows of the range and sort them. Lives in the current memory context, within work_mem; the rest goes to
 * temporary files. backward: the first step will go backward. */
CairnSort *cairn_sort_begin(CairnRange *range, bool backward);
/* As cairn_range_next; the row lasts until the next call. */
bool cairn_sort_next(CairnSort *sort, ScanDirection direction, CairnRow *row);
MemoryContext cairn_sort_memory(CairnSort *sort);
void cairn_sort_end(CairnSort *sort);

/* cairn_indexscan.c */
IndexScanDesc cairn_index_begin_scan(Relation index, int key_count, int order_by_count);
void cairn_index_rescan(IndexScanDesc scan, ScanKey keys, int key_count, ScanKey order_bys, int order_by_count);
bool cairn_index_gettuple(IndexScanDesc scan, ScanDirection direction);
void cairn_index_end_scan(IndexScanDesc scan);

/* cairn_cost.c */
void cairn_index_cost(struct PlannerInfo *root, struct IndexPath *path, double loop_count, Cost *startup, Cost *total,
                      Selectivity *selectivity, double *correlation, double *pages);

#endif
