/*
 * Rules for making tables and indexes.
 *
 * Happy path of CREATE TABLE ... USING cairn: the primary key gets the access method cairn_ordered, WITH (partition_by
 * = ...) moves from the table to it, and its text columns order by bytes.
 *
 * Failure modes: what a cairn table cannot have yet (0A000, with what to do instead).
 */
#include "cairn_utility.h"

#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "parser/parse_type.h"
#include "utils/lsyscache.h"
#include "utils/pg_locale.h"
#include "utils/syscache.h"

#include "cairn_table.h"

#define TABLE_AM "cairn"
#define INDEX_AM "cairn_ordered"
#define PARTITION_BY "partition_by"
#define USE_HEAP "Use heap: CREATE TABLE ... USING heap."

static bool chooses_cairn(const char *access_method)
{
    return strcmp(access_method ? access_method : default_table_access_method, TABLE_AM) == 0;
}

/* --- constraints and key columns --- */

void cairn_ddl_check_reference(const Constraint *constraint)
{
    if (constraint->contype == CONSTR_FOREIGN && cairn_ddl_names_cairn(constraint->pktable))
        cairn_ddl_refuse(constraint->pktable, "a foreign key that refers to the table",
                         "Check the reference in the application or in a trigger.");
}

void cairn_ddl_adapt_constraint(const RangeVar *table, Constraint *constraint)
{
    switch (constraint->contype) {
    case CONSTR_PRIMARY:
        if (constraint->indexname)
            cairn_ddl_refuse(table, "ADD CONSTRAINT ... USING INDEX", "Use ADD PRIMARY KEY.");
        if (constraint->deferrable)
            cairn_ddl_refuse(table, "a DEFERRABLE primary key", NULL);
        if (constraint->including != NIL)
            cairn_ddl_refuse(table, "INCLUDE in a primary key", "Nothing needs it: rows are clustered by the key.");
        constraint->access_method = INDEX_AM;
        break;
    case CONSTR_UNIQUE:
        cairn_ddl_refuse(table, "a UNIQUE constraint", "Only the primary key is unique in this release.");
    case CONSTR_EXCLUSION:
        cairn_ddl_refuse(table, "an exclusion constraint", "Only the primary key is indexed in this release.");
    case CONSTR_FOREIGN:
        cairn_ddl_refuse(table, "a foreign key", "Check the reference in the application or in a trigger.");
    default:
        break;
    }
}

static Oid declared_collation(const ColumnDef *column, Oid type)
{
    if (column->collClause)
        return get_collation_oid(column->collClause->collname, true);
    return get_typcollation(type);
}

bool cairn_ddl_adapt_key_column(ColumnDef *column)
{
    Type type = column->typeName ? LookupTypeName(NULL, column->typeName, NULL, true) : NULL;
    Oid type_oid;
    Oid collation;

    if (!type)
        return false; /* serial, which is an integer, or a mistake that Postgres reports */
    type_oid = typeTypeId(type);
    ReleaseSysCache(type);
    collation = declared_collation(column, type_oid);
    if (collation != DEFAULT_COLLATION_OID || lc_collate_is_c(DEFAULT_COLLATION_OID)) {
        cairn_key_column_check(column->colname, type_oid, collation);
        return false;
    }
    cairn_key_column_check(column->colname, type_oid, InvalidOid);
    column->collClause = makeNode(CollateClause);
    column->collClause->collname = list_make2(makeString("pg_catalog"), makeString("C"));
    column->collClause->location = -1;
    return true;
}

static ColumnDef *find_column(const List *elements, const char *name)
{
    ListCell *cell;

    foreach (cell, elements) {
        if (IsA(lfirst(cell), ColumnDef) && strcmp(lfirst_node(ColumnDef, cell)->colname, name) == 0)
            return lfirst(cell);
    }
    return NULL;
}

/* Names of the key columns, as constraint of the table or of a column says. */
static List *key_names(const Constraint *key, const ColumnDef *of_column)
{
    List *names = NIL;
    ListCell *cell;

    if (of_column)
        return list_make1(of_column->colname);
    foreach (cell, key->keys)
        names = lappend(names, strVal(lfirst(cell)));
    return names;
}

static void adapt_key_columns(const CreateStmt *statement, List *names)
{
    StringInfoData changed;
    ListCell *cell;

    initStringInfo(&changed);
    foreach (cell, names) {
        ColumnDef *column = find_column(statement->tableElts, lfirst(cell));

        /* A column that comes by LIKE or from a type is checked when the key is made. */
        if (column && cairn_ddl_adapt_key_column(column))
            appendStringInfo(&changed, "%s\"%s\"", changed.len ? ", " : "", column->colname);
    }
    if (changed.len > 0)
        ereport(NOTICE, (errmsg("key columns of table \"%s\" get COLLATE \"C\": %s", statement->relation->relname,
                                changed.data),
                         errdetail("Keys are ordered by bytes.")));
}

/* --- CREATE TABLE --- */

/* Take partition_by out of the table's options; NULL if it is not there. */
static DefElem *take_partition_by(CreateStmt *statement)
{
    ListCell *cell;

    foreach (cell, statement->options) {
        DefElem *option = lfirst(cell);

        if (!option->defnamespace && strcmp(option->defname, PARTITION_BY) == 0) {
            statement->options = foreach_delete_current(statement->options, cell);
            return option;
        }
    }
    return NULL;
}

static void check_kind(const CreateStmt *statement)
{
    if (statement->relation->relpersistence == RELPERSISTENCE_TEMP ||
        (statement->relation->schemaname && strcmp(statement->relation->schemaname, "pg_temp") == 0))
        cairn_ddl_refuse(statement->relation, "TEMPORARY", USE_HEAP);
    if (statement->relation->relpersistence == RELPERSISTENCE_UNLOGGED)
        cairn_ddl_refuse(statement->relation, "UNLOGGED", USE_HEAP);
    if (statement->partspec)
        cairn_ddl_refuse(statement->relation, "PARTITION BY",
                         "Nothing needs it: rows are partitioned by the partition key, see partition_by.");
    if (statement->partbound)
        cairn_ddl_refuse(statement->relation, "PARTITION OF", USE_HEAP);
    if (statement->inhRelations != NIL)
        cairn_ddl_refuse(statement->relation, "INHERITS", USE_HEAP);
    if (statement->tablespacename)
        cairn_ddl_refuse(statement->relation, "TABLESPACE",
                         "Items live in the storage directory, see cairn.storage_directory.");
}

/* Adapt all constraints; the primary key is returned, and by its columns. */
static Constraint *adapt_constraints(CreateStmt *statement, List **names)
{
    Constraint *key = NULL;
    ListCell *cell;
    ListCell *inner;

    foreach (cell, statement->tableElts) {
        ColumnDef *column = IsA(lfirst(cell), ColumnDef) ? lfirst(cell) : NULL;
        List *constraints = column                          ? column->constraints
                            : IsA(lfirst(cell), Constraint) ? list_make1(lfirst(cell))
                                                            : NIL;

        foreach (inner, constraints) {
            Constraint *constraint = lfirst_node(Constraint, inner);

            cairn_ddl_adapt_constraint(statement->relation, constraint);
            if (constraint->contype == CONSTR_PRIMARY) {
                key = constraint;
                *names = key_names(constraint, column);
            }
        }
    }
    return key;
}

static void adapt_table(CreateStmt *statement)
{
    DefElem *partition_by = take_partition_by(statement);
    List *names = NIL;
    Constraint *key;

    check_kind(statement);
    key = adapt_constraints(statement, &names);
    if (partition_by && !key)
        ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                        errmsg("partition_by is given for table \"%s\", which has no primary key",
                               statement->relation->relname),
                        errhint("Declare the primary key in the same command, or give partition_by with it: ADD "
                                "PRIMARY KEY (...) WITH "
                                "(partition_by = ...).")));
    if (partition_by)
        key->options = lappend(key->options, partition_by);
    adapt_key_columns(statement, names);
}

void cairn_ddl_create_other(const CreateStmt *statement)
{
    ListCell *cell;
    ListCell *inner;

    foreach (cell, statement->inhRelations) {
        if (cairn_ddl_names_cairn(lfirst(cell)))
            cairn_ddl_refuse(lfirst(cell), "INHERITS", "Use LIKE to copy the columns.");
    }
    foreach (cell, statement->tableElts) {
        if (IsA(lfirst(cell), Constraint))
            cairn_ddl_check_reference(lfirst(cell));
        else if (IsA(lfirst(cell), ColumnDef))
            foreach (inner, lfirst_node(ColumnDef, cell)->constraints)
                cairn_ddl_check_reference(lfirst(inner));
    }
}

void cairn_ddl_create_table(CreateStmt *statement)
{
    /* A partitioned parent has no access method unless it names one, which Postgres refuses itself. */
    if (chooses_cairn(statement->accessMethod) && !(statement->partspec && !statement->accessMethod))
        adapt_table(statement);
    else
        cairn_ddl_create_other(statement);
}

void cairn_ddl_create_as(const CreateTableAsStmt *statement)
{
    const IntoClause *into = statement->into;

    if (!chooses_cairn(into->accessMethod))
        return;
    if (statement->objtype == OBJECT_MATVIEW)
        cairn_ddl_refuse(into->rel, "a materialized view", "Use heap: CREATE MATERIALIZED VIEW ... USING heap.");
    cairn_ddl_refuse(into->rel, "CREATE TABLE AS",
                     "Rows are stored by their key: CREATE TABLE with a primary key, then INSERT ... SELECT.");
}

/* --- CREATE INDEX, and the primary keys of LIKE ... INCLUDING INDEXES --- */

static List *without_partition_by(List *options)
{
    List *kept = NIL;
    ListCell *cell;

    foreach (cell, options) {
        if (strcmp(((DefElem *) lfirst(cell))->defname, PARTITION_BY) != 0)
            kept = lappend(kept, lfirst(cell));
    }
    return kept;
}

void cairn_ddl_create_index(IndexStmt *statement)
{
    bool ours = statement->accessMethod && strcmp(statement->accessMethod, INDEX_AM) == 0;

    if (!cairn_ddl_names_cairn(statement->relation)) {
        if (ours && statement->primary) {
            statement->accessMethod = DEFAULT_INDEX_TYPE;
            statement->options = without_partition_by(statement->options);
        }
        return;
    }
    if (!statement->primary)
        cairn_ddl_refuse(statement->relation, statement->isconstraint ? "a UNIQUE constraint" : "CREATE INDEX",
                         "Only the primary key is indexed in this release.");
    statement->accessMethod = INDEX_AM;
}
