/*
 * Files and storages of a table: made together, known by the same number; and what the planner asks about its size.
 *
 * A table has an empty file, so that Postgres does not give its number to another relation and removes it when the
 * table goes or its creation is rolled back; the storage process drops storages whose file is gone.
 *
 * Failure modes: what would need a copy of the rows (rewrites, tablespaces, VACUUM FULL: 0A000), no permanent table
 * (0A000), the storage process down (57P03).
 */
#include "cairn_tableam.h"

#include "access/multixact.h"
#include "catalog/pg_class.h"
#include "catalog/storage.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "port.h"
#include "storage/fd.h"
#include "storage/smgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "cairn_refuse.h"
#include "cairn_row.h"
#include "cairn_size.h"

/* What a row costs beside its columns, for the planner's first guess. */
#define ROW_OVERHEAD 48

/* ALTER TABLE and VACUUM FULL copy a table into a transient one that is named so after it. */
static void refuse_rewrite(Relation relation)
{
    Oid original;
    char tail;
    char *name;

    if (sscanf(RelationGetRelationName(relation), "pg_temp_%u%c", &original, &tail) != 1)
        return;
    name = get_rel_name(original);
    if (!name)
        return;
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("a change that rewrites the table is not supported for cairn tables"),
             errdetail("Table %s.", quote_qualified_identifier(get_namespace_name(get_rel_namespace(original)), name)),
             errhint("Create a new table and copy the rows with INSERT ... SELECT.")));
}

static void check_can_be_cairn(Relation relation, const RelFileNode *node, char persistence)
{
    if (IsBinaryUpgrade)
        cairn_refuse(relation, "pg_upgrade", "It does not carry rows over: use pg_dump and pg_restore.");
    if (relation->rd_rel->relkind != RELKIND_RELATION)
        cairn_refuse(relation, "a materialized view", "Use heap for materialized views.");
    if (persistence != RELPERSISTENCE_PERMANENT)
        cairn_refuse(relation, persistence == RELPERSISTENCE_TEMP ? "TEMPORARY" : "UNLOGGED",
                     "Use heap for such tables.");
    if (node->spcNode != MyDatabaseTableSpace)
        cairn_refuse(relation, "a tablespace", "Items live in the storage directory, see cairn.storage_directory.");
    refuse_rewrite(relation);
}

/*
 * The file says that the relation lives: the collector drops the storage of one whose file is gone. Postgres syncs a
 * new file when it first writes to it, and nobody ever writes to this one: it must not vanish in a power loss after the
 * checkpoint that ends its redo.
 */
static void create_durable_file(const RelFileNode *node, char persistence)
{
    SMgrRelation file = RelationCreateStorage(*node, persistence, true);
    char *path = relpathperm(*node, MAIN_FORKNUM);

    smgrimmedsync(file, MAIN_FORKNUM);
    smgrclose(file);
    get_parent_directory(path);
    fsync_fname(path, true);
    pfree(path);
}

void cairn_relation_set_filenode(Relation relation, const RelFileNode *node, char persistence,
                                 TransactionId *freeze_xid, MultiXactId *least_multi)
{
    *freeze_xid = InvalidTransactionId;
    *least_multi = InvalidMultiXactId;
    check_can_be_cairn(relation, node, persistence);
    create_durable_file(node, persistence);
    cairn_table_create_storage(node->dbNode, node->relNode);
}

/* Of a table that this very (sub)transaction created: rows need not come back on rollback. */
void cairn_relation_truncate(Relation relation)
{
    cairn_table_create_storage(relation->rd_node.dbNode, relation->rd_node.relNode);
    /* The descriptor names the old storage. Nobody else can have one yet. */
    if (relation->rd_amcache)
        pfree(relation->rd_amcache);
    relation->rd_amcache = NULL;
    CacheInvalidateRelcache(relation);
}

void cairn_relation_copy_data(Relation relation, const RelFileNode *node)
{
    cairn_refuse(relation, "SET TABLESPACE", "Items live in the storage directory, see cairn.storage_directory.");
}

void cairn_relation_copy_for_cluster(Relation old_table, Relation new_table, Relation old_index, bool use_sort,
                                     TransactionId oldest_xmin, TransactionId *xid_cutoff, MultiXactId *multi_cutoff,
                                     double *tuple_count, double *vacuumed, double *recently_dead)
{
    cairn_refuse(old_table, "VACUUM FULL",
                 "Nothing needs it: rows are clustered by the primary key, and compaction frees space.");
}

void cairn_relation_vacuum(Relation relation, struct VacuumParams *parameters, BufferAccessStrategy strategy)
{
    /* Superseded versions are collected by the storage process. */
}

void cairn_relation_index_validate(Relation table, Relation index, struct IndexInfo *info, Snapshot snapshot,
                                   struct ValidateIndexState *state)
{
    /* The index that REINDEX CONCURRENTLY makes has no bytes that rows could be missing in. */
}

bool cairn_relation_needs_toast(Relation relation)
{
    return false;
}

/* At least one block: ANALYZE looks at no table that has none, and what is only in memory yet counts as nothing. */
uint64 cairn_relation_size(Relation relation, ForkNumber fork)
{
    uint64 bytes;

    if (fork != MAIN_FORKNUM && fork != InvalidForkNumber)
        return 0;
    bytes = cairn_size_bytes(cairn_table_of(relation)->storage_id);
    return Max(TYPEALIGN64(BLCKSZ, bytes), BLCKSZ);
}

void cairn_relation_estimate(Relation relation, int32 *widths, BlockNumber *pages, double *tuples, double *all_visible)
{
    table_block_relation_estimate_size(relation, widths, pages, tuples, all_visible, ROW_OVERHEAD, BLCKSZ);
}

bool cairn_relation_has_rows(Relation relation)
{
    CairnView view;
    CairnRange *range;
    CairnRow row;
    bool found;

    cairn_view_init(&view, relation, NULL);
    range = cairn_range_begin(&view, 1);
    found = cairn_range_next(range, ForwardScanDirection, &row);
    cairn_range_end(range);
    return found;
}
