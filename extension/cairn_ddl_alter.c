/*
 * Rules for changing tables that exist.
 *
 * What leaves stored rows as they are is allowed: new columns with or without default, dropped columns, constraints,
 * triggers, row security, names. What would store rows anew, or read stored ones differently, is refused.
 */
#include "cairn_utility.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/bitmapset.h"
#include "parser/parse_type.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "cairn_table.h"

#define USE_LIKE "Use LIKE to copy the columns."
#define USE_HEAP_PARTITION "Use heap for partitions: a cairn table partitions its rows itself."
#define COPY_ROWS "Create a new table and copy the rows with INSERT ... SELECT."

/* ALTER of one cairn table. */
typedef struct Altering {
    const RangeVar *name;
    Oid relation;
} Altering;

static bool is_key_column(const Altering *table, const char *column)
{
    AttrNumber number = get_attnum(table->relation, column);
    Oid constraint;
    Bitmapset *key = get_primary_key_attnos(table->relation, true, &constraint);

    return number != InvalidAttrNumber && bms_is_member(number - FirstLowInvalidHeapAttributeNumber, key);
}

static bool is_primary_key(const Altering *table, const char *constraint)
{
    Oid oid = get_relation_constraint_oid(table->relation, constraint, true);
    HeapTuple tuple;
    bool primary;

    if (!OidIsValid(oid))
        return false;
    tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(oid));
    primary = HeapTupleIsValid(tuple) && ((Form_pg_constraint) GETSTRUCT(tuple))->contype == CONSTRAINT_PRIMARY;
    if (HeapTupleIsValid(tuple))
        ReleaseSysCache(tuple);
    return primary;
}

static bool is_text(Oid type)
{
    return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

/* Stored values are read by the column's type: it may only change to one that is stored alike. */
static void check_type_change(const Altering *table, const AlterTableCmd *command)
{
    const ColumnDef *definition = castNode(ColumnDef, command->def);
    Oid old_type = get_atttype(table->relation, get_attnum(table->relation, command->name));
    Type type = LookupTypeName(NULL, definition->typeName, NULL, true);
    Oid new_type;

    if (is_key_column(table, command->name))
        cairn_ddl_refuse(table->name, "changing the type of a key column", COPY_ROWS);
    if (strcmp(command->name, CAIRN_ATTRIBUTES_COLUMN) == 0)
        cairn_ddl_refuse(table->name, "changing the type of the column \"attributes\"", COPY_ROWS);
    if (!type || !OidIsValid(old_type))
        return;
    new_type = getBaseType(typeTypeId(type));
    ReleaseSysCache(type);
    old_type = getBaseType(old_type);
    if (old_type != new_type && !(is_text(old_type) && is_text(new_type)))
        cairn_ddl_refuse(table->name, "changing the type of a column",
                         "Add a column of the new type, or create a new table and copy the rows.");
}

static void add_column(const Altering *table, ColumnDef *column)
{
    ListCell *cell;

    foreach (cell, column->constraints) {
        Constraint *constraint = lfirst_node(Constraint, cell);

        cairn_ddl_adapt_constraint(table->name, constraint);
        if (constraint->contype == CONSTR_PRIMARY && cairn_ddl_adapt_key_column(column))
            ereport(NOTICE, (errmsg("key column \"%s\" of table \"%s\" gets COLLATE \"C\"", column->colname,
                                    table->name->relname),
                             errdetail("Keys are ordered by bytes.")));
    }
}

static void alter_cairn(const Altering *table, AlterTableCmd *command)
{
    switch (command->subtype) {
    case AT_AddConstraint:
        cairn_ddl_adapt_constraint(table->name, castNode(Constraint, command->def));
        break;
    case AT_AddColumn:
        add_column(table, castNode(ColumnDef, command->def));
        break;
    case AT_AlterColumnType:
        check_type_change(table, command);
        break;
    case AT_DropColumn:
        if (is_key_column(table, command->name))
            cairn_ddl_refuse(table->name, "dropping a key column", COPY_ROWS);
        if (cairn_ddl_is_catch_all(table->relation, command->name))
            cairn_ddl_refuse(table->name, "dropping the column \"attributes\"", COPY_ROWS);
        break;
    case AT_DropExpression:
        if (strcmp(command->name, CAIRN_ATTRIBUTES_COLUMN) == 0)
            cairn_ddl_refuse(table->name, "DROP EXPRESSION of the column \"attributes\"", COPY_ROWS);
        break;
    case AT_DropConstraint:
        if (is_primary_key(table, command->name))
            cairn_ddl_refuse(table->name, "dropping the primary key", COPY_ROWS);
        break;
    case AT_SetAccessMethod:
        cairn_ddl_refuse(table->name, "SET ACCESS METHOD", COPY_ROWS);
    case AT_SetTableSpace:
        cairn_ddl_refuse(table->name, "SET TABLESPACE",
                         "Items live in the storage directory, see cairn.storage_directory.");
    case AT_SetUnLogged:
    case AT_SetLogged:
        cairn_ddl_refuse(table->name, "SET LOGGED or UNLOGGED", "Nothing needs it: cairn tables are always logged.");
    case AT_AddInherit:
        cairn_ddl_refuse(table->name, "INHERIT", USE_LIKE);
    case AT_ClusterOn:
        cairn_ddl_refuse(table->name, "CLUSTER ON", "Nothing needs it: rows are clustered by the primary key.");
    default:
        break;
    }
}

/* Commands on other tables that would bring a cairn table where it cannot be. */
static void alter_other(const Altering *table, const AlterTableCmd *command)
{
    ListCell *cell;

    switch (command->subtype) {
    case AT_AddConstraint:
        cairn_ddl_check_reference(castNode(Constraint, command->def));
        break;
    case AT_AddColumn:
        foreach (cell, castNode(ColumnDef, command->def)->constraints)
            cairn_ddl_check_reference(lfirst(cell));
        break;
    case AT_SetAccessMethod:
        if (command->name && strcmp(command->name, "cairn") == 0)
            cairn_ddl_refuse(table->name, "SET ACCESS METHOD", COPY_ROWS);
        break;
    case AT_AddInherit:
        if (cairn_ddl_names_cairn((RangeVar *) command->def))
            cairn_ddl_refuse((RangeVar *) command->def, "INHERIT", USE_LIKE);
        break;
    case AT_AttachPartition:
        if (cairn_ddl_names_cairn(castNode(PartitionCmd, command->def)->name))
            cairn_ddl_refuse(castNode(PartitionCmd, command->def)->name, "ATTACH PARTITION", USE_HEAP_PARTITION);
        break;
    default:
        break;
    }
}

static bool is_ordered_index(Oid relation)
{
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    Form_pg_class form;
    bool ordered;

    if (!HeapTupleIsValid(tuple))
        return false;
    form = (Form_pg_class) GETSTRUCT(tuple);
    ordered = form->relkind == RELKIND_INDEX && form->relam == get_index_am_oid("cairn_ordered", true);
    ReleaseSysCache(tuple);
    return ordered;
}

/* Rows lie as the options said when they were stored. */
static void alter_index(const Altering *index, const AlterTableCmd *command)
{
    switch (command->subtype) {
    case AT_SetRelOptions:
    case AT_ResetRelOptions:
    case AT_ReplaceRelOptions:
        cairn_ddl_refuse(index->name, "changing options of the primary key", COPY_ROWS);
    case AT_SetTableSpace:
        cairn_ddl_refuse(index->name, "SET TABLESPACE", "The primary key has no bytes of its own.");
    default:
        break;
    }
}

void cairn_ddl_alter_table(AlterTableStmt *statement)
{
    Altering table = {statement->relation, RangeVarGetRelid(statement->relation, NoLock, true)};
    bool is_cairn = cairn_relation_is_cairn(table.relation);
    bool is_index = OidIsValid(table.relation) && is_ordered_index(table.relation);
    ListCell *cell;

    cairn_ddl_alter_row_type(statement, table.relation);
    foreach (cell, statement->cmds) {
        AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

        if (is_cairn)
            alter_cairn(&table, command);
        else if (is_index)
            alter_index(&table, command);
        else
            alter_other(&table, command);
    }
}
