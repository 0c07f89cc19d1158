/*
 * The table access method `cairn`: its handler and routine table. Every row of a table is an item of its storage,
 * clustered by the primary key; see ARCHITECTURE.md for the way of a read and of a write.
 *
 * Scans and inserts work as for any table. What changes or locks rows found by a scan is refused (cairn_refuse.c): item
 * functions do it. Bitmap and TID-range callbacks are absent, which keeps the planner from such plans.
 */
#include "cairn_tableam.h"

#include "cairn_fetch.h"
#include "cairn_refuse.h"
#include "cairn_slot.h"

PG_FUNCTION_INFO_V1(cairn_table_handler);

static const TableAmRoutine routine = {
    .type = T_TableAmRoutine,

    .slot_callbacks = cairn_slot_ops,

    .scan_begin = cairn_scan_begin,
    .scan_end = cairn_scan_end,
    .scan_rescan = cairn_scan_rescan,
    .scan_getnextslot = cairn_scan_getnextslot,
    .parallelscan_estimate = cairn_refuse_parallel_estimate,
    .parallelscan_initialize = cairn_refuse_parallel_initialize,
    .parallelscan_reinitialize = cairn_refuse_parallel_reinitialize,
    .scan_analyze_next_block = cairn_sample_next_block,
    .scan_analyze_next_tuple = cairn_sample_next_tuple,
    .scan_sample_next_block = cairn_refuse_sample_block,
    .scan_sample_next_tuple = cairn_refuse_sample_tuple,

    .index_fetch_begin = cairn_fetch_begin,
    .index_fetch_reset = cairn_fetch_reset,
    .index_fetch_end = cairn_fetch_end,
    .index_fetch_tuple = cairn_fetch_tuple,
    .tuple_fetch_row_version = cairn_fetch_row_version,
    .tuple_tid_valid = cairn_fetch_tid_valid,
    .tuple_get_latest_tid = cairn_refuse_latest_tid,
    .tuple_satisfies_snapshot = cairn_refuse_satisfies,
    .index_delete_tuples = cairn_refuse_index_delete,
    .index_build_range_scan = cairn_refuse_index_build,
    .index_validate_scan = cairn_relation_index_validate,

    .tuple_insert = cairn_insert_tuple,
    .multi_insert = cairn_insert_multi,
    .tuple_insert_speculative = cairn_refuse_speculative,
    .tuple_complete_speculative = cairn_refuse_complete,
    .tuple_delete = cairn_refuse_delete,
    .tuple_update = cairn_refuse_update,
    .tuple_lock = cairn_refuse_lock,

    .relation_set_new_filenode = cairn_relation_set_filenode,
    .relation_nontransactional_truncate = cairn_relation_truncate,
    .relation_copy_data = cairn_relation_copy_data,
    .relation_copy_for_cluster = cairn_relation_copy_for_cluster,
    .relation_vacuum = cairn_relation_vacuum,
    .relation_size = cairn_relation_size,
    .relation_needs_toast_table = cairn_relation_needs_toast,
    .relation_estimate_size = cairn_relation_estimate,
};

Datum cairn_table_handler(PG_FUNCTION_ARGS)
{
    PG_RETURN_POINTER(&routine);
}
