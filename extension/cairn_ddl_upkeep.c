/*
 * Rules for VACUUM, CLUSTER and publications.
 *
 * VACUUM FULL passes cairn tables over, with a notice for those it names; CLUSTER of one is refused: nothing needs them. Logical replication reads Postgres' WAL, where items are not: a cairn table cannot be published
 * by name, and a publication of all tables or of a schema says that it publishes nothing of them.
 */
#include "cairn_utility.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define NOT_REWRITTEN "Nothing needs it: rows are clustered by the primary key, and compaction frees space."
#define NOT_IN_WAL "Changes of cairn tables are not in the write-ahead log that logical replication reads."

/* --- VACUUM and CLUSTER --- */

static bool is_full(const VacuumStmt *statement)
{
    bool full = false;
    ListCell *cell;

    foreach (cell, statement->options) {
        DefElem *option = lfirst_node(DefElem, cell);

        if (strcmp(option->defname, "full") == 0)
            full = defGetBoolean(option);
    }
    return full && statement->is_vacuumcmd;
}

/* Every table of the database but ours, as VACUUM itself would list them; Postgres checks who may. */
static bool is_other(const FormData_pg_class *form, Oid ignored)
{
    return (form->relkind == RELKIND_RELATION || form->relkind == RELKIND_MATVIEW) &&
           !cairn_relation_is_cairn(form->oid);
}

static List *other_tables(void)
{
    List *tables = NIL;
    ListCell *cell;

    foreach (cell, cairn_ddl_find_relations(is_other, InvalidOid))
        tables = lappend(tables, makeVacuumRelation(NULL, lfirst_oid(cell), NIL));
    return tables;
}

static List *without_full(const List *options)
{
    List *kept = NIL;
    ListCell *cell;

    foreach (cell, options)
        if (strcmp(lfirst_node(DefElem, cell)->defname, "full") != 0)
            kept = lappend(kept, lfirst(cell));
    return kept;
}

/* Of named tables, those of heap are left for FULL; where there is none, ours are vacuumed and analyzed without it. */
static void vacuum_named(VacuumStmt *statement)
{
    List *others = NIL;
    ListCell *cell;

    foreach (cell, statement->rels) {
        const RangeVar *name = lfirst_node(VacuumRelation, cell)->relation;

        if (!cairn_ddl_names_cairn(name))
            others = lappend(others, lfirst(cell));
        else
            ereport(NOTICE, (errmsg("VACUUM FULL does not rewrite cairn table \"%s\"", name->relname),
                             errdetail(NOT_REWRITTEN)));
    }
    if (others)
        statement->rels = others;
    else
        statement->options = without_full(statement->options);
}

void cairn_ddl_vacuum(VacuumStmt *statement)
{
    if (!is_full(statement))
        return;
    if (statement->rels)
        vacuum_named(statement);
    else
        statement->rels = other_tables();
}

void cairn_ddl_cluster(const ClusterStmt *statement)
{
    if (cairn_ddl_names_cairn(statement->relation))
        cairn_ddl_refuse(statement->relation, "CLUSTER", "Nothing needs it: rows are clustered by the primary key.");
}

/* --- publications --- */

static bool is_cairn_in(const FormData_pg_class *form, Oid schema)
{
    return (!OidIsValid(schema) || form->relnamespace == schema) && cairn_relation_is_cairn(form->oid);
}

/* Does the database, or one schema of it (InvalidOid: any), have a cairn table? */
static bool has_tables(Oid schema)
{
    return cairn_ddl_find_relations(is_cairn_in, schema) != NIL;
}

static void warn_not_published(const char *publication)
{
    ereport(WARNING, (errmsg("publication \"%s\" does not publish changes of cairn tables", publication),
                      errdetail(NOT_IN_WAL)));
}

static Oid schema_of(const PublicationObjSpec *object)
{
    List *path;
    Oid schema;

    if (object->pubobjtype == PUBLICATIONOBJ_TABLES_IN_SCHEMA)
        return get_namespace_oid(object->name, true);
    if (object->pubobjtype != PUBLICATIONOBJ_TABLES_IN_CUR_SCHEMA)
        return InvalidOid;
    path = fetch_search_path(false);
    schema = path ? linitial_oid(path) : InvalidOid;
    list_free(path);
    return schema;
}

static void check_objects(const char *publication, const List *objects)
{
    ListCell *cell;

    foreach (cell, objects) {
        const PublicationObjSpec *object = lfirst_node(PublicationObjSpec, cell);
        Oid schema = schema_of(object);

        if (object->pubobjtype == PUBLICATIONOBJ_TABLE && cairn_ddl_names_cairn(object->pubtable->relation))
            cairn_ddl_refuse(object->pubtable->relation, "logical replication",
                             "Leave the table out: its changes are not in the write-ahead log.");
        if (OidIsValid(schema) && has_tables(schema))
            warn_not_published(publication);
    }
}

void cairn_ddl_create_publication(const CreatePublicationStmt *statement)
{
    if (statement->for_all_tables && has_tables(InvalidOid))
        warn_not_published(statement->pubname);
    check_objects(statement->pubname, statement->pubobjects);
}

void cairn_ddl_alter_publication(const AlterPublicationStmt *statement)
{
    if (statement->action != AP_DropObjects)
        check_objects(statement->pubname, statement->pubobjects);
}
