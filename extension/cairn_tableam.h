/*
 * The callbacks of the table access method, one file per concern; cairn_tableam.c puts them into the routine table.
 * Nobody else includes this.
 */
#ifndef CAIRN_TABLEAM_H
#define CAIRN_TABLEAM_H

#include "cairn_pg.h"

#include "access/relscan.h"
#include "access/tableam.h"

#include "cairn_range.h"

/* A sequential scan, also the one over which ANALYZE samples. */
typedef struct CairnScan {
    TableScanDescData base;
    MemoryContext memory; /* CairnScan: what lives as long as the scan */
    CairnRange *range;    /* NULL: nothing was read yet */
    CairnView view;
    bool started;              /* since the last rescan */
    bool keyless;              /* the table has no primary key, and must be empty */
    BlockNumber sample_blocks; /* ANALYZE: of so many pseudo-blocks */
    uint64 sample_row;         /* rows read so far */
    uint64 sample_until;       /* where the current pseudo-block ends */
} CairnScan;

/* cairn_scan.c */
TableScanDesc cairn_scan_begin(Relation relation, Snapshot snapshot, int key_count, struct ScanKeyData *keys,
                               ParallelTableScanDesc parallel, uint32 flags);
void cairn_scan_end(TableScanDesc scan);
void cairn_scan_rescan(TableScanDesc scan, struct ScanKeyData *keys, bool set_parameters, bool allow_strategy,
                       bool allow_sync, bool allow_pagemode);
bool cairn_scan_getnextslot(TableScanDesc scan, ScanDirection direction, TupleTableSlot *slot);
/* The walk under a scan, made at need. */
CairnRange *cairn_scan_range(CairnScan *scan);
/* Next row into the slot. */
bool cairn_scan_next(CairnScan *scan, ScanDirection direction, TupleTableSlot *slot);

/* cairn_sample.c */
bool cairn_sample_next_block(TableScanDesc scan, BlockNumber block, BufferAccessStrategy strategy);
bool cairn_sample_next_tuple(TableScanDesc scan, TransactionId oldest_xmin, double *live_rows, double *dead_rows,
                             TupleTableSlot *slot);

/* cairn_insert.c */
void cairn_insert_tuple(Relation relation, TupleTableSlot *slot, CommandId cid, int options,
                        struct BulkInsertStateData *state);
void cairn_insert_multi(Relation relation, TupleTableSlot **slots, int count, CommandId cid, int options,
                        struct BulkInsertStateData *state);

/* cairn_relation.c: files, storages, sizes */
void cairn_relation_set_filenode(Relation relation, const RelFileNode *node, char persistence,
                                 TransactionId *freeze_xid, MultiXactId *least_multi);
void cairn_relation_truncate(Relation relation);
void cairn_relation_copy_data(Relation relation, const RelFileNode *node);
void cairn_relation_copy_for_cluster(Relation old_table, Relation new_table, Relation old_index, bool use_sort,
                                     TransactionId oldest_xmin, TransactionId *xid_cutoff, MultiXactId *multi_cutoff,
                                     double *tuple_count, double *vacuumed, double *recently_dead);
void cairn_relation_vacuum(Relation relation, struct VacuumParams *parameters, BufferAccessStrategy strategy);
/* Nothing to do: an index of a cairn table has no bytes. */
void cairn_relation_index_validate(Relation table, Relation index, struct IndexInfo *info, Snapshot snapshot,
                                   struct ValidateIndexState *state);
uint64 cairn_relation_size(Relation relation, ForkNumber fork);
bool cairn_relation_needs_toast(Relation relation);
void cairn_relation_estimate(Relation relation, int32 *widths, BlockNumber *pages, double *tuples, double *all_visible);
/* Is a row stored, or written by this transaction? */
bool cairn_relation_has_rows(Relation relation);

#endif
