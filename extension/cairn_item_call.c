/*
 * The frame of every item function: table, privileges, row security, arguments.
 *
 * Happy path: the table is opened and locked, the caller may do what the equivalent SQL would need, the descriptor is
 * copied for the call.
 *
 * Failure modes: null where a value is needed (22004), no privilege (42501), rewrite rules (0A000), a read-only
 * transaction (25006).
 */
#include "cairn_item_parts.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"

#include "cairn_error.h"
#include "cairn_item.h"

#define WRITES (ACL_INSERT | ACL_UPDATE | ACL_DELETE)

static void check_privileges(Relation relation, AclMode needs)
{
    static const AclMode modes[] = {ACL_SELECT, ACL_INSERT, ACL_UPDATE, ACL_DELETE};
    Oid relid = RelationGetRelid(relation);

    for (int i = 0; i < (int) lengthof(modes); i++) {
        AclResult result;

        if (!(needs & modes[i]) || pg_class_aclcheck(relid, GetUserId(), modes[i]) == ACLCHECK_OK)
            continue;
        result = modes[i] == ACL_DELETE ? ACLCHECK_NO_PRIV
                                        : pg_attribute_aclcheck_all(relid, GetUserId(), modes[i], ACLMASK_ALL);
        if (result != ACLCHECK_OK)
            aclcheck_error(result, OBJECT_TABLE, RelationGetRelationName(relation));
    }
}

static void check_rewriting(Relation relation, AclMode needs)
{
    if ((needs & WRITES) && relation->rd_rules)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("table %s has rewrite rules", cairn_table_name(relation)),
                        errdetail("Item functions do not apply them."),
                        errhint("Use SQL on this table, or triggers instead of rules.")));
}

void cairn_item_begin(CairnItemCall *call, FunctionCallInfo fcinfo, const char *action, AclMode needs)
{
    bool writes = (needs & WRITES) != 0;
    CairnTable *table;

    call->bare = cairn_item_take_bare(fcinfo->flinfo->fn_oid);
    call->action = action;
    if (PG_ARGISNULL(0))
        ereport(ERROR,
                (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("could not %s: the table must not be null", action)));
    if (writes)
        PreventCommandIfReadOnly(get_func_name(fcinfo->flinfo->fn_oid));
    call->relation = cairn_table_open(PG_GETARG_OID(0), writes ? RowExclusiveLock : AccessShareLock);
    check_privileges(call->relation, needs);
    check_rewriting(call->relation, needs);
    call->policy = cairn_policy_of(call, needs);
    table = cairn_table_of(call->relation);
    call->table = palloc(table->chunk_size);
    memcpy(call->table, table, table->chunk_size);
}

void cairn_item_end(CairnItemCall *call)
{
    table_close(call->relation, NoLock);
    call->relation = NULL;
}

void cairn_item_raise(const CairnItemCall *call, int code, struct wire_span key)
{
    CairnSubject subject = {cairn_table_name(call->relation), NULL, call->action};

    if (key.size > 0)
        subject.key = cairn_row_key_text(call->relation, call->table, key);
    cairn_error_raise(code, &subject);
}

Jsonb *cairn_item_argument(FunctionCallInfo fcinfo, int index)
{
    return PG_ARGISNULL(index) ? NULL : PG_GETARG_JSONB_P(index);
}

Jsonb *cairn_item_required(FunctionCallInfo fcinfo, int index, const char *name)
{
    if (PG_ARGISNULL(index))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be null", name)));
    return PG_GETARG_JSONB_P(index);
}

const char *cairn_item_column_name(const CairnItemCall *call, AttrNumber number)
{
    return NameStr(TupleDescAttr(RelationGetDescr(call->relation), number - 1)->attname);
}

void cairn_item_raise_null(const CairnItemCall *call, const CairnColumn *column)
{
    Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(call->relation), column->number - 1);
    const char *hint = attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS
                           ? "Item functions do not apply column defaults: write the row with INSERT."
                       : attribute->atthasdef || attribute->attidentity
                           ? "Item functions do not apply column defaults: give the attribute."
                           : NULL;

    ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
                    errmsg("null value in column \"%s\" of relation \"%s\" violates not-null constraint",
                           NameStr(attribute->attname), RelationGetRelationName(call->relation)),
                    hint ? errhint("%s", hint) : 0, errtablecol(call->relation, column->number)));
}

void cairn_item_refuse_generated(const CairnItemCall *call, const CairnColumn *column)
{
    bool identity =
        TupleDescAttr(RelationGetDescr(call->relation), column->number - 1)->attidentity == ATTRIBUTE_IDENTITY_ALWAYS;

    if (!column->generated && !identity)
        return;
    ereport(ERROR, (errcode(ERRCODE_GENERATED_ALWAYS),
                    errmsg("attribute \"%s\" of table %s is generated", cairn_item_column_name(call, column->number),
                           cairn_table_name(call->relation)),
                    errhint(identity ? "Write the row with INSERT, or declare the column GENERATED BY DEFAULT."
                                     : "Leave it out.")));
}

Datum cairn_item_result(const CairnItemCall *call, FunctionCallInfo fcinfo, struct wire_span key, struct wire_span item)
{
    if (item.size == 0) {
        fcinfo->isnull = true;
        return (Datum) 0;
    }
    return cairn_row_to_jsonb(call->relation, call->table, key, item);
}
