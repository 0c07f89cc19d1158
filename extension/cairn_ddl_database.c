/*
 * CREATE DATABASE copies the files of its template, and a cairn table's rows are in none of them: a template with cairn
 * tables is refused.
 *
 * Happy path: the storage process is asked for the first storage of the template database; there is none. Failure
 * modes: while the storage process is not ready nothing is asked; tables of such a copy then say that their storage is
 * gone.
 */
#include "cairn_utility.h"

#include "commands/dbcommands.h"
#include "commands/defrem.h"

#include "cairn_error.h"
#include "cairn_lane.h"
#include "cairn_shared.h"
#include "cairn_table.h"

static bool has_storages(Oid database)
{
    struct wire_request header = {.operation = WIRE_STORAGES};
    uint8 identity[CAIRN_IDENTITY_SIZE];
    struct wire_reader first;
    CairnRequest request;
    CairnReply reply;

    cairn_table_identity(database, InvalidOid, identity);
    cairn_request_begin(&request, &header, 64);
    cairn_request_reserve(&request, sizeof(identity) + 10);
    wire_write_span(&request.writer, identity, sizeof(identity));
    cairn_lane_call(&request, &reply);
    if (reply.status != WIRE_OK)
        cairn_error_raise(reply.status, &(CairnSubject){.action = "list storages"});
    if (wire_read_varint(&reply.body) == 0)
        return false;
    first = wire_reader_of(wire_read_span(&reply.body).data, reply.body.failed ? 0 : sizeof(uint32));
    return wire_read_u32(&first) == database;
}

void cairn_ddl_create_database(const CreatedbStmt *statement)
{
    const char *template = "template1";
    struct wire_shared *shared = cairn_shared_or_null();
    ListCell *cell;
    Oid database;

    foreach (cell, statement->options) {
        DefElem *option = lfirst_node(DefElem, cell);

        if (strcmp(option->defname, "template") == 0 && option->arg)
            template = defGetString(option);
    }
    database = get_database_oid(template, true);
    if (!OidIsValid(database) || !shared || atomic_load(&shared->state) != WIRE_STORAGE_READY ||
        !has_storages(database))
        return;
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot create a database from template \"%s\": it has cairn tables", template),
                    errdetail("A copy of the template's files holds none of their rows."),
                    errhint("Use another template, and copy the tables with pg_dump.")));
}
