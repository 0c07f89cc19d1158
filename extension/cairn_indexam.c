/*
 * The index access method `cairn_ordered`: the primary key of a cairn table as Postgres' planner and catalogs see it.
 * The index has no bytes: rows are clustered by it. Nothing is inserted, nothing is built; whether a key exists was
 * judged when the row was locked.
 *
 * Failure modes: any other table, another kind of index, a key of unsupported types or collations, rows that are there
 * already (0A000).
 */
#include "cairn_indexam.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/reloptions.h"
#include "access/stratnum.h"
#include "catalog/index.h"
#include "commands/vacuum.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "cairn_indexscan.h"
#include "cairn_refuse.h"
#include "cairn_row.h"
#include "cairn_tableam.h"
#include "cairn_utility.h"

PG_FUNCTION_INFO_V1(cairn_ordered_handler);

static int partitioning_of(Relation index)
{
    const CairnIndexOptions *options = (const CairnIndexOptions *) index->rd_options;

    return options ? options->partition_by : CAIRN_PARTITION_BY_HASH;
}

/* REINDEX CONCURRENTLY makes a second index like the first, which then takes its place. */
static bool is_like_primary_key(Relation table, Relation index)
{
    Oid primary = RelationGetPrimaryKeyIndex(table);
    Relation key;
    bool like;

    if (!OidIsValid(primary))
        return false;
    key = index_open(primary, AccessShareLock);
    like = index->rd_index->indisunique && key->rd_index->indnkeyatts == index->rd_index->indnkeyatts &&
           memcmp(key->rd_index->indkey.values, index->rd_index->indkey.values,
                  (Size) key->rd_index->indnkeyatts * sizeof(int16)) == 0 &&
           partitioning_of(key) == partitioning_of(index);
    index_close(key, AccessShareLock);
    return like;
}

static void check_table(Relation table, Relation index)
{
    if (!cairn_table_is_cairn(table))
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                        errmsg("access method \"cairn_ordered\" is for primary keys of cairn tables"),
                        errdetail("Table %s is not one.", cairn_table_name(table))));
    if (!index->rd_index->indisprimary && !is_like_primary_key(table, index))
        cairn_refuse(table, "an index beside the primary key", "Only the primary key is indexed in this release.");
    if (!index->rd_index->indimmediate)
        cairn_refuse(table, "a DEFERRABLE primary key", "Declare it NOT DEFERRABLE.");
}

/* Types and collations were checked when the command was read; this stands behind it. */
static void check_columns(Relation table, Relation index)
{
    for (int i = 0; i < index->rd_index->indnkeyatts; i++) {
        AttrNumber number = index->rd_index->indkey.values[i];
        Form_pg_attribute attribute;

        if (number <= 0)
            cairn_refuse(table, "an expression in the primary key", NULL);
        attribute = TupleDescAttr(RelationGetDescr(table), number - 1);
        cairn_key_column_check(NameStr(attribute->attname), attribute->atttypid, attribute->attcollation);
    }
}

static IndexBuildResult *build(Relation table, Relation index, IndexInfo *info)
{
    check_table(table, index);
    check_columns(table, index);
    /* REINDEX, and TRUNCATE, which reindexes: the key is what it was. */
    if (index->rd_index->indisprimary && !ReindexIsProcessingIndex(RelationGetRelid(index)) &&
        cairn_relation_has_rows(table))
        cairn_refuse(table, "adding a primary key to a table with rows",
                     "Create a new table with the key and copy the rows with INSERT ... SELECT.");
    return palloc0(sizeof(IndexBuildResult));
}

static void build_empty(Relation index)
{
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("UNLOGGED is not supported for cairn tables")));
}

static bool insert(Relation index, Datum *values, bool *nulls, ItemPointer tid, Relation table, IndexUniqueCheck check,
                   bool unchanged, IndexInfo *info)
{
    return false;
}

static IndexBulkDeleteResult *bulk_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *result,
                                          IndexBulkDeleteCallback callback, void *state)
{
    return result;
}

static IndexBulkDeleteResult *vacuum_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *result)
{
    return result;
}

static bytea *options(Datum reloptions, bool validate)
{
    static relopt_enum_elt_def values[] = {
        {"hash", CAIRN_PARTITION_BY_HASH},
        {"range", CAIRN_PARTITION_BY_RANGE},
        {NULL, 0},
    };
    static const relopt_parse_elt table[] = {
        {"partition_by", RELOPT_TYPE_ENUM, offsetof(CairnIndexOptions, partition_by)}};
    static relopt_kind kind;

    if (kind == 0) {
        kind = add_reloption_kind();
        add_enum_reloption(kind, "partition_by",
                           "How rows are spread: by a hash of the partition key, or in its order.", values,
                           CAIRN_PARTITION_BY_HASH, "Valid values are \"hash\" and \"range\".", AccessExclusiveLock);
    }
    return build_reloptions(reloptions, validate, kind, sizeof(CairnIndexOptions), table, lengthof(table));
}

static bool validate(Oid opclass)
{
    return true;
}

Datum cairn_ordered_handler(PG_FUNCTION_ARGS)
{
    IndexAmRoutine *am = makeNode(IndexAmRoutine);

    am->amstrategies = BTMaxStrategyNumber;
    am->amsupport = 1; /* comparison, as for btree */
    am->amcanorder = true;
    am->amcanbackward = true;
    am->amcanunique = true;
    am->amcanmulticol = true;
    am->amoptionalkey = true;
    am->amkeytype = InvalidOid;
    am->ambuild = build;
    am->ambuildempty = build_empty;
    am->aminsert = insert;
    am->ambulkdelete = bulk_delete;
    am->amvacuumcleanup = vacuum_cleanup;
    am->amcostestimate = cairn_index_cost;
    am->amoptions = options;
    am->amvalidate = validate;
    am->ambeginscan = cairn_index_begin_scan;
    am->amrescan = cairn_index_rescan;
    am->amgettuple = cairn_index_gettuple;
    am->amendscan = cairn_index_end_scan;
    PG_RETURN_POINTER(am);
}
