/*
 * create_table: DynamoDB's way of making a table, as one CREATE TABLE statement.
 *
 * Happy path: 'Artist text' and 'SongTitle text' become two columns with their names as given, a catch-all column, a
 * primary key, and USING cairn. The table's own name is read as SQL reads one, so that item functions find it under the
 * same spelling.
 *
 * Failure modes: a column specification without a type (22023), a type that cannot be a key (0A000), and what CREATE
 * TABLE raises.
 */
#include "cairn_item_parts.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(cairn_create_table);

typedef struct KeySpecification {
    char *name;
    char *type;
    bool collatable;
} KeySpecification;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A leading name, quoted or not, as given; what follows it is left in *rest. */
static char *take_name(char *text_form, char **rest)
{
    StringInfoData name;
    char *at = text_form;

    initStringInfo(&name);
    if (*at != '"') {
        while (*at && !is_blank(*at))
            appendStringInfoChar(&name, *at++);
        *rest = at;
        return name.data;
    }
    for (at++; *at && !(at[0] == '"' && at[1] != '"'); at++) {
        at += *at == '"';
        appendStringInfoChar(&name, *at);
    }
    if (*at != '"')
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unterminated quoted name: %s", text_form)));
    *rest = at + 1;
    return name.data;
}

static KeySpecification parse_key(char *given, const char *argument)
{
    static const char *const letters[][2] = {{"S", "text"}, {"N", "numeric"}, {"B", "bytea"}};
    KeySpecification key;
    enum wire_key_type key_type;
    char *rest;
    Oid type;
    int32 typmod;

    while (is_blank(*given))
        given++;
    key.name = take_name(given, &rest);
    while (is_blank(*rest))
        rest++;
    if (key.name[0] == '\0' || *rest == '\0')
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("argument \"%s\" must be a name and a type, not \"%s\"", argument, given),
                        errhint("For example 'Artist text'.")));
    if (strlen(key.name) >= NAMEDATALEN)
        ereport(ERROR, (errcode(ERRCODE_NAME_TOO_LONG),
                        errmsg("name \"%s\" is longer than %d bytes", key.name, NAMEDATALEN - 1)));
    for (int i = 0; i < (int) lengthof(letters); i++)
        if (strcmp(rest, letters[i][0]) == 0)
            rest = (char *) letters[i][1];
    parseTypeString(rest, &type, &typmod, false);
    if (!cairn_table_key_type(type, &key_type))
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("type %s of \"%s\" cannot be part of a key", format_type_be(type), key.name),
                        errhint("Key columns can be text, bytea, smallint, integer, bigint, numeric, timestamp, date, "
                                "uuid and boolean.")));
    key.type = format_type_with_typemod(type, typmod);
    key.collatable = type_is_collatable(type);
    return key;
}

static void append_column(StringInfo statement, const KeySpecification *key)
{
    appendStringInfo(statement, "%s %s%s, ", quote_identifier(key->name), key->type,
                     key->collatable ? " COLLATE \"C\"" : "");
}

static char *required_text(FunctionCallInfo fcinfo, int index, const char *name)
{
    if (PG_ARGISNULL(index))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be null", name)));
    return text_to_cstring(PG_GETARG_TEXT_PP(index));
}

/* The statement, with the table's name parsed and quoted again. */
static char *statement_of(FunctionCallInfo fcinfo, RangeVar *table)
{
    StringInfoData statement;
    KeySpecification partition = parse_key(required_text(fcinfo, 1, "partition_key"), "partition_key");
    KeySpecification sort = {NULL, NULL, false};

    if (!PG_ARGISNULL(2))
        sort = parse_key(text_to_cstring(PG_GETARG_TEXT_PP(2)), "sort_key");
    initStringInfo(&statement);
    appendStringInfo(&statement, "CREATE TABLE %s (", quote_qualified_identifier(table->schemaname, table->relname));
    append_column(&statement, &partition);
    if (sort.name)
        append_column(&statement, &sort);
    appendStringInfo(&statement, "attributes jsonb NOT NULL DEFAULT '{}', PRIMARY KEY (%s",
                     quote_identifier(partition.name));
    if (sort.name)
        appendStringInfo(&statement, ", %s", quote_identifier(sort.name));
    appendStringInfo(&statement, ")) USING cairn WITH (partition_by = %s)",
                     quote_literal_cstr(required_text(fcinfo, 3, "partition_by")));
    return statement.data;
}

Datum cairn_create_table(PG_FUNCTION_ARGS)
{
    RangeVar *table = makeRangeVarFromNameList(stringToQualifiedNameList(required_text(fcinfo, 0, "name")));
    char *statement = statement_of(fcinfo, table);
    int code;

    if (SPI_connect() != SPI_OK_CONNECT)
        elog(ERROR, "SPI_connect failed");
    code = SPI_execute(statement, false, 0);
    if (code != SPI_OK_UTILITY)
        elog(ERROR, "could not create the table: %s", SPI_result_code_string(code));
    (void) SPI_finish();
    PG_RETURN_OID(RangeVarGetRelid(table, NoLock, false));
}
