/*
 * Rules for changing types whose values cairn tables hold, and for renaming columns.
 *
 * Opaque values are stored by the labels of enums and the attributes of composite types, in order: after another label
 * or another list of attributes they could not be read, or would be read as something else. The column "attributes" is
 * known by its name. What would change either is refused.
 *
 * Happy path: no column of a cairn table has the type, be it in an array, a domain, a range or another composite type.
 */
#include "cairn_utility.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_type.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "cairn_table.h"

/* A column that was found. */
typedef struct TypeUse {
    Oid relation;
    AttrNumber column;
} TypeUse;

static bool is_used(Oid type, TypeUse *use);

/* A column of the type: of a cairn table, or of a row type that may be used in turn. */
static bool is_used_by_column(Oid relation, AttrNumber column, TypeUse *use)
{
    if (cairn_relation_is_cairn(relation)) {
        *use = (TypeUse){relation, column};
        return true;
    }
    return is_used(get_rel_type_id(relation), use);
}

/* Does a column of a cairn table hold values of the type, or of a type made of it? */
static bool is_used(Oid type, TypeUse *use)
{
    Relation depends;
    SysScanDesc scan;
    ScanKeyData keys[2];
    HeapTuple tuple;
    bool found = false;

    if (!OidIsValid(type))
        return false;
    check_stack_depth();
    ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(TypeRelationId));
    ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(type));
    depends = table_open(DependRelationId, AccessShareLock);
    scan = systable_beginscan(depends, DependReferenceIndexId, true, NULL, 2, keys);
    while (!found && HeapTupleIsValid(tuple = systable_getnext(scan))) {
        Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);

        if (depend->classid == TypeRelationId)
            found = is_used(depend->objid, use);
        else if (depend->classid == RelationRelationId && depend->objsubid > 0)
            found = is_used_by_column(depend->objid, (AttrNumber) depend->objsubid, use);
    }
    systable_endscan(scan);
    table_close(depends, AccessShareLock);
    return found;
}

static void refuse_use(const TypeUse *use, const char *what, const char *hint) pg_attribute_noreturn();
static void refuse_use(const TypeUse *use, const char *what, const char *hint)
{
    RangeVar *table =
        makeRangeVar(get_namespace_name(get_rel_namespace(use->relation)), get_rel_name(use->relation), -1);

    if (use->column > 0)
        what = psprintf("%s that column \"%s\" holds", what, get_attname(use->relation, use->column, false));
    cairn_ddl_refuse(table, what, hint);
}

void cairn_ddl_alter_enum(const AlterEnumStmt *statement)
{
    Oid type = statement->oldVal ? typenameTypeId(NULL, makeTypeNameFromNameList(statement->typeName)) : InvalidOid;
    TypeUse use;

    if (is_used(type, &use))
        refuse_use(&use, "renaming a label of an enum type",
                   "Rows hold the label. Add a new one with ALTER TYPE ... ADD VALUE.");
}

/* --- composite types, and tables as such --- */

static bool changes_attributes(const List *commands)
{
    ListCell *cell;

    foreach (cell, commands) {
        AlterTableType kind = lfirst_node(AlterTableCmd, cell)->subtype;

        if (kind == AT_AddColumn || kind == AT_DropColumn || kind == AT_AlterColumnType)
            return true;
    }
    return false;
}

static bool is_cairn_of(const FormData_pg_class *form, Oid type)
{
    return form->reloftype == type && cairn_relation_is_cairn(form->oid);
}

/* A cairn table of a composite type, by CREATE TABLE ... OF. */
static bool find_typed_table(Oid type, TypeUse *use)
{
    List *tables = cairn_ddl_find_relations(is_cairn_of, type);

    *use = (TypeUse){tables ? linitial_oid(tables) : InvalidOid, 0};
    return tables != NIL;
}

void cairn_ddl_alter_row_type(const AlterTableStmt *statement, Oid relation)
{
    TypeUse use;
    ListCell *cell;

    if (!OidIsValid(relation) || !changes_attributes(statement->cmds))
        return;
    foreach (cell, find_all_inheritors(relation, NoLock, NULL)) {
        if (is_used(get_rel_type_id(lfirst_oid(cell)), &use))
            refuse_use(&use, "changing the attributes of a row type",
                       "Rows hold all attributes in order. Create a new type and a new column of it.");
    }
    if (statement->objtype == OBJECT_TYPE && find_typed_table(get_rel_type_id(relation), &use))
        refuse_use(&use, "changing the type that the table is made of", "Use ALTER TABLE ... NOT OF first.");
}

/* --- names --- */

bool cairn_ddl_is_catch_all(Oid relation, const char *column)
{
    AttrNumber number = strcmp(column, CAIRN_ATTRIBUTES_COLUMN) == 0 ? get_attnum(relation, column) : 0;

    return number > 0 && get_atttype(relation, number) == JSONBOID && !get_attgenerated(relation, number);
}

static void check_rename(Oid relation, const char *old_name, const char *new_name)
{
    TypeUse use = {relation, 0};
    AttrNumber number = get_attnum(relation, old_name);

    if (cairn_ddl_is_catch_all(relation, old_name))
        refuse_use(&use, "renaming the column \"attributes\"", "It holds all attributes that no column declares.");
    if (strcmp(new_name, CAIRN_ATTRIBUTES_COLUMN) == 0 && number > 0 && get_atttype(relation, number) == JSONBOID)
        refuse_use(&use, "renaming a column of type jsonb to \"attributes\"",
                   "A column of that name and type holds all attributes that no column declares.");
}

void cairn_ddl_rename(const RenameStmt *statement)
{
    Oid relation;
    TypeUse use;

    if (statement->renameType != OBJECT_COLUMN && statement->renameType != OBJECT_ATTRIBUTE)
        return;
    relation = RangeVarGetRelid(statement->relation, NoLock, true);
    if (cairn_relation_is_cairn(relation))
        check_rename(relation, statement->subname, statement->newname);
    else if (statement->renameType == OBJECT_ATTRIBUTE && OidIsValid(relation) &&
             find_typed_table(get_rel_type_id(relation), &use))
        check_rename(use.relation, statement->subname, statement->newname);
}
