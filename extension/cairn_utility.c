/*
 * The ProcessUtility hook: hands each command that may concern a cairn table to its rules before it runs.
 *
 * Failure modes: those of the rules. Commands that no rule knows pass unchanged; what must never happen to a cairn
 * table is refused by the access methods too (cairn_relation.c, cairn_refuse.c, cairn_indexam.c).
 */
#include "cairn_utility.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "commands/defrem.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/pg_locale.h"
#include "utils/syscache.h"

#include "cairn_item.h"
#include "cairn_table.h"

static ProcessUtility_hook_type previous_hook;

bool cairn_relation_is_cairn(Oid relation)
{
    HeapTuple tuple;
    Form_pg_class form;
    bool is_cairn;

    if (!OidIsValid(relation))
        return false;
    tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        return false;
    form = (Form_pg_class) GETSTRUCT(tuple);
    is_cairn =
        form->relkind == RELKIND_RELATION && OidIsValid(form->relam) && form->relam == get_table_am_oid("cairn", true);
    ReleaseSysCache(tuple);
    return is_cairn;
}

void cairn_key_column_check(const char *name, Oid type, Oid collation)
{
    enum wire_key_type key_type;

    if (!cairn_table_key_type(type, &key_type))
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("column \"%s\" has a type that cannot be part of a cairn key", name),
                        errdetail("Its type is %s.", format_type_be(type)),
                        errhint("Key columns can be text, varchar, bytea, smallint, integer, bigint, numeric, "
                                "timestamp, date, uuid and "
                                "boolean.")));
    if (OidIsValid(collation) && !lc_collate_is_c(collation))
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("key column \"%s\" has a collation that does not order by bytes", name),
                        errhint("Declare the column with COLLATE \"C\".")));
}

bool cairn_ddl_names_cairn(const RangeVar *name)
{
    return name && cairn_relation_is_cairn(RangeVarGetRelid(name, NoLock, true));
}

List *cairn_ddl_find_relations(bool (*wanted)(const FormData_pg_class *form, Oid argument), Oid argument)
{
    Relation classes = table_open(RelationRelationId, AccessShareLock);
    SysScanDesc scan = systable_beginscan(classes, InvalidOid, false, NULL, 0, NULL);
    List *found = NIL;
    HeapTuple tuple;

    while (HeapTupleIsValid(tuple = systable_getnext(scan))) {
        Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

        if (wanted(form, argument))
            found = lappend_oid(found, form->oid);
    }
    systable_endscan(scan);
    table_close(classes, AccessShareLock);
    return found;
}

void cairn_ddl_refuse(const RangeVar *table, const char *what, const char *hint)
{
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s is not supported for cairn tables", what),
                    errdetail("Table %s.", quote_qualified_identifier(table->schemaname, table->relname)),
                    hint ? errhint("%s", hint) : 0));
}

/* Is it a command that a rule changes? */
static bool is_adapted(const Node *statement)
{
    return IsA(statement, CreateStmt) || IsA(statement, IndexStmt) || IsA(statement, AlterTableStmt) ||
           IsA(statement, VacuumStmt);
}

static void apply_rules(Node *statement)
{
    switch (nodeTag(statement)) {
    case T_CreateStmt:
        cairn_ddl_create_table((CreateStmt *) statement);
        break;
    case T_CreateForeignTableStmt:
        cairn_ddl_create_other(&((CreateForeignTableStmt *) statement)->base);
        break;
    case T_CreateTableAsStmt:
        cairn_ddl_create_as((CreateTableAsStmt *) statement);
        break;
    case T_IndexStmt:
        cairn_ddl_create_index((IndexStmt *) statement);
        break;
    case T_AlterTableStmt:
        cairn_ddl_alter_table((AlterTableStmt *) statement);
        break;
    case T_AlterEnumStmt:
        cairn_ddl_alter_enum((AlterEnumStmt *) statement);
        break;
    case T_RenameStmt:
        cairn_ddl_rename((RenameStmt *) statement);
        break;
    case T_VacuumStmt:
        cairn_ddl_vacuum((VacuumStmt *) statement);
        break;
    case T_ClusterStmt:
        cairn_ddl_cluster((ClusterStmt *) statement);
        break;
    case T_CreatePublicationStmt:
        cairn_ddl_create_publication((CreatePublicationStmt *) statement);
        break;
    case T_AlterPublicationStmt:
        cairn_ddl_alter_publication((AlterPublicationStmt *) statement);
        break;
    default:
        break;
    }
}

static bool has_rules(const Node *statement)
{
    switch (nodeTag(statement)) {
    case T_CreateForeignTableStmt:
    case T_CreateTableAsStmt:
    case T_AlterEnumStmt:
    case T_RenameStmt:
    case T_ClusterStmt:
    case T_CreatePublicationStmt:
    case T_AlterPublicationStmt:
        return true;
    default:
        return is_adapted(statement);
    }
}

static void utility(PlannedStmt *plan, const char *query, bool read_only, ProcessUtilityContext context,
                    ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination,
                    QueryCompletion *completion)
{
    cairn_item_forget_bare();
    if (IsA(plan->utilityStmt, CreatedbStmt)) /* the template is another database: whatever this one has */
        cairn_ddl_create_database((const CreatedbStmt *) plan->utilityStmt);
    if (has_rules(plan->utilityStmt) && OidIsValid(get_table_am_oid("cairn", true))) {
        if (read_only && is_adapted(plan->utilityStmt)) {
            plan = copyObject(plan);
            read_only = false;
        }
        apply_rules(plan->utilityStmt);
    }
    if (IsA(plan->utilityStmt, ExplainStmt))
        destination = cairn_explain_receiver((const ExplainStmt *) plan->utilityStmt, destination);
    if (previous_hook)
        previous_hook(plan, query, read_only, context, params, environment, destination, completion);
    else
        standard_ProcessUtility(plan, query, read_only, context, params, environment, destination, completion);
}

void cairn_utility_init(void)
{
    previous_hook = ProcessUtility_hook;
    ProcessUtility_hook = utility;
    cairn_plan_init();
    cairn_explain_init();
}
