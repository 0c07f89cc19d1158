/*
 * What commands may do to cairn tables: checks and adaptions before a utility command runs. cairn_utility.c finds the
 * commands, cairn_ddl_table.c, cairn_ddl_alter.c and cairn_ddl_type.c know the rules.
 */
#ifndef CAIRN_UTILITY_H
#define CAIRN_UTILITY_H

#include "cairn_pg.h"

#include "catalog/pg_class.h"
#include "nodes/parsenodes.h"
#include "tcop/dest.h"

/* Chain ProcessUtility, and the hooks of cairn_plan.c and cairn_explain.c. Caller: _PG_init. */
void cairn_utility_init(void);

/* By catalog, without opening: is this a table of ours? False for anything that is no relation. */
bool cairn_relation_is_cairn(Oid relation);

/*
 * May a column be part of a key? collation: of the column.
 * Errors: 0A000, with the supported types, or the collation to use, as hint.
 */
void cairn_key_column_check(const char *name, Oid type, Oid collation);

/* The rules, by command; statements are changed in place. */
void cairn_ddl_create_table(CreateStmt *statement);
void cairn_ddl_create_other(const CreateStmt *statement); /* of another access method, or foreign */
void cairn_ddl_create_as(const CreateTableAsStmt *statement);
void cairn_ddl_create_index(IndexStmt *statement);
void cairn_ddl_alter_table(AlterTableStmt *statement);
/* Columns of a type or table that cairn columns hold as values. */
void cairn_ddl_alter_row_type(const AlterTableStmt *statement, Oid relation);
void cairn_ddl_alter_enum(const AlterEnumStmt *statement);
void cairn_ddl_rename(const RenameStmt *statement);
void cairn_ddl_vacuum(VacuumStmt *statement);
void cairn_ddl_cluster(const ClusterStmt *statement);
void cairn_ddl_create_publication(const CreatePublicationStmt *statement);
void cairn_ddl_alter_publication(const AlterPublicationStmt *statement);
/* 0A000 if the template database has cairn tables. */
void cairn_ddl_create_database(const CreatedbStmt *statement);

/* Shared by the rules. */
bool cairn_ddl_names_cairn(const RangeVar *name); /* false if there is no such relation */
/* The relations of this database that are wanted, by oid: a look at all of pg_class. */
List *cairn_ddl_find_relations(bool (*wanted)(const FormData_pg_class *form, Oid argument), Oid argument);
/* Errors: 0A000 "<what> is not supported for cairn tables", with the table as detail. */
void cairn_ddl_refuse(const RangeVar *table, const char *what, const char *hint) pg_attribute_noreturn();
/* Is it the column that holds all attributes that no column declares? */
bool cairn_ddl_is_catch_all(Oid relation, const char *column);
/* A constraint of a cairn table: give a primary key our access method, refuse what is not supported. */
void cairn_ddl_adapt_constraint(const RangeVar *table, Constraint *constraint);
/* A column that is part of the primary key: collation by bytes. True if COLLATE "C" was added. */
bool cairn_ddl_adapt_key_column(ColumnDef *column);
/* Refuse foreign keys of any table that refer to a cairn table. */
void cairn_ddl_check_reference(const Constraint *constraint);

/* cairn_plan.c, cairn_explain.c */
void cairn_plan_init(void);
void cairn_explain_init(void);
/* Where an EXPLAIN sends its output: `next`, or for EXECUTE what adds the usage on the way there. */
DestReceiver *cairn_explain_receiver(const ExplainStmt *statement, DestReceiver *next);

#endif
