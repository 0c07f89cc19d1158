/*
 * put_item, delete_item and update_item, and the writes beneath them and batch_write_item.
 *
 * Happy path, bare: key and item are encoded, one WRITE request is evaluated, logged and acknowledged. Otherwise the
 * same request is sent TRANSACTIONAL: the shard locks the key and evaluates against the newest version, or against this
 * transaction's own; the effect joins the write set. Tables with triggers, CHECK, generated columns and the like go
 * through cairn_item_rules.c.
 *
 * Failure modes: the key is locked (wait for the holder, then send again), the condition is not met (23000), somebody
 * else changed the item after the snapshot of a REPEATABLE READ transaction (40001).
 */
#include "cairn_item_parts.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "cairn_error.h"
#include "cairn_item.h"
#include "cairn_writeset.h"

PG_FUNCTION_INFO_V1(cairn_put_item);
PG_FUNCTION_INFO_V1(cairn_delete_item);
PG_FUNCTION_INFO_V1(cairn_update_item);

/* --- sending --- */

static Size request_size(const struct wire_write_op *ops, int count)
{
    Size size = 64;

    for (int i = 0; i < count; i++)
        size += ops[i].key.size + ops[i].argument.size + ops[i].condition.size + ops[i].overlay.size + 64;
    return size;
}

static void send_write(const CairnItemCall *call, const struct wire_write_op *ops, int count, CairnReply *reply)
{
    struct wire_request header = {0};
    CairnRequest request;
    bool first_updater = !call->bare && IsolationUsesXactSnapshot();

    cairn_xact_fill_header(&header, call->table->storage_id,
                           first_updater ? cairn_xact_snapshot(GetActiveSnapshot()) : 0, InvalidCommandId);
    header.operation = WIRE_WRITE;
    header.flags = call->bare ? 0 : (uint16_t) (WIRE_TRANSACTIONAL | (first_updater ? WIRE_FIRST_UPDATER : 0));
    cairn_request_begin(&request, &header, request_size(ops, count));
    wire_write_varint(&request.writer, (uint64_t) count);
    for (int i = 0; i < count; i++)
        wire_write_op_write(&request.writer, &ops[i]);
    cairn_lane_call(&request, reply);
}

static void read_images(const CairnItemCall *call, CairnReply *reply, int count, CairnItemImages *images)
{
    if (wire_read_varint(&reply->body) != (uint64_t) count)
        cairn_item_raise(call, WIRE_E_INTERNAL, (struct wire_span){NULL, 0});
    for (int i = 0; i < count; i++) {
        memset(&images[i], 0, sizeof(images[i]));
        images[i].existed = wire_read_u8(&reply->body) != 0;
        if (wire_read_u8(&reply->body))
            images[i].old = wire_read_span(&reply->body);
        if (wire_read_u8(&reply->body))
            images[i].new_item = wire_read_span(&reply->body);
    }
    if (wire_reader_finish(&reply->body) != WIRE_OK)
        cairn_item_raise(call, WIRE_E_INTERNAL, (struct wire_span){NULL, 0});
}

/* What this transaction made of the keys so far is evaluated instead of the stored items. */
static void lay_over(struct wire_write_op *ops, int count)
{
    for (int i = 0; i < count; i++) {
        CairnOwnVersion own;

        if (!cairn_writeset_find(ops[i].key, InvalidCommandId, &own))
            continue;
        ops[i].flags |= WIRE_HAS_OVERLAY;
        ops[i].overlay = own.deleted ? (struct wire_span){NULL, 0} : own.item;
    }
}

static void keep_effects(const CairnItemCall *call, const struct wire_write_op *ops, int count,
                         const CairnItemImages *images)
{
    for (int i = 0; i < count; i++) {
        bool nothing = ops[i].kind == WIRE_WRITE_LOCK || (ops[i].kind == WIRE_WRITE_DELETE && !images[i].existed);

        if (nothing)
            continue;
        if (ops[i].kind == WIRE_WRITE_UPDATE)
            cairn_item_check_size(call, ops[i].key, images[i].new_item);
        cairn_writeset_put(call->table->storage_id, ops[i].key, images[i].new_item, GetCurrentCommandId(true));
    }
}

static void send_until_unlocked(const CairnItemCall *call, struct wire_write_op *ops, int count, CairnReply *reply)
{
    if (!call->bare) {
        cairn_xact_begin_write();
        lay_over(ops, count);
    }
    for (;;) {
        send_write(call, ops, count, reply);
        if (reply->status != WIRE_E_LOCKED)
            return;
        cairn_xact_wait_for(&reply->body);
        CHECK_FOR_INTERRUPTS();
    }
}

void cairn_item_write(CairnItemCall *call, struct wire_write_op *ops, int count, CairnItemImages *images)
{
    CairnReply reply;

    send_until_unlocked(call, ops, count, &reply);
    if (reply.status == WIRE_E_ITEM_SIZE && call->bare) {
        /* An update whose item may pass the limit: only here it can be counted, before it is written. */
        call->bare = false;
        send_until_unlocked(call, ops, count, &reply);
    }
    if (reply.status != WIRE_OK)
        cairn_item_raise(call, reply.status,
                         reply.detail < (uint32) count ? ops[reply.detail].key : (struct wire_span){NULL, 0});
    read_images(call, &reply, count, images);
    cairn_usage.items_written += (uint64) count;
    if (call->bare)
        cairn_xact_wrote_bare();
    else
        keep_effects(call, ops, count, images);
}

/* --- arguments and results --- */

typedef enum ReturnValues { RETURN_NONE, RETURN_OLD, RETURN_NEW } ReturnValues;

static ReturnValues return_values(FunctionCallInfo fcinfo, int index, bool update)
{
    char *given = PG_ARGISNULL(index) ? "NONE" : text_to_cstring(PG_GETARG_TEXT_PP(index));

    if (strcmp(given, "NONE") == 0)
        return RETURN_NONE;
    if (strcmp(given, "ALL_OLD") == 0)
        return RETURN_OLD;
    if (strcmp(given, "ALL_NEW") == 0 && update)
        return RETURN_NEW;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown value \"%s\" for return_values", given),
                    errhint(update ? "Use NONE, ALL_OLD or ALL_NEW." : "Use NONE or ALL_OLD.")));
}

static struct wire_span span_of(const StringInfoData *bytes)
{
    return (struct wire_span){(const uint8_t *) bytes->data, (size_t) bytes->len};
}

/* One operation either way. */
static void write_one(CairnItemCall *call, struct wire_write_op *op, CairnItemInput *input, const CairnItemTerms *terms,
                      ReturnValues returns, CairnItemImages *images)
{
    if (call->table->sql_way || terms->by_rules) {
        CairnRuleWrite write = {.kind = op->kind, .key = op->key, .input = input, .terms = terms};

        cairn_item_write_by_rules(call, &write, images);
        return;
    }
    op->condition = span_of(&terms->condition);
    op->flags = returns == RETURN_OLD ? WIRE_RETURN_OLD : returns == RETURN_NEW ? WIRE_RETURN_NEW : 0;
    cairn_item_write(call, op, 1, images);
}

/* A numeric key keeps its scale beside the key: an update that creates the item must write it, which only the SQL way
 * does. */
static bool key_has_scale(const CairnItemCall *call, const CairnItemInput *input)
{
    for (int i = 0; i < call->table->key_count; i++)
        if (call->table->key[i].keep_value &&
            strchr(DatumGetCString(DirectFunctionCall1(numeric_out, input->values[call->table->key[i].number - 1])),
                   '.'))
            return true;
    return false;
}

/* --- the functions --- */

/* One call of put_item, delete_item or update_item. */
typedef struct SingleWrite {
    CairnItemCall call;
    CairnItemInput input;
    CairnItemTerms terms;
    CairnItemImages images;
    struct wire_write_op op;
    ReturnValues returns;
    uint8 key[WIRE_KEY_MAX];
} SingleWrite;

/* Table, key and condition, which is argument `condition_at` and return_values behind it. */
static SingleWrite *begin_write(FunctionCallInfo fcinfo, enum wire_write_kind kind, const char *action, AclMode needs,
                                int condition_at)
{
    SingleWrite *write = palloc0(sizeof(*write));
    CairnItemCall *call = &write->call;
    bool reads;

    write->op.kind = kind;
    write->returns = return_values(fcinfo, condition_at + 1, kind == WIRE_WRITE_UPDATE);
    reads = !PG_ARGISNULL(condition_at) || write->returns != RETURN_NONE;
    cairn_item_begin(call, fcinfo, action, needs | (reads ? ACL_SELECT : 0));
    write->op.key.data = write->key;
    write->op.key.size =
        cairn_input_key_object(call, cairn_item_required(fcinfo, 1, kind == WIRE_WRITE_PUT ? "item" : "key"),
                               kind == WIRE_WRITE_PUT, &write->input, write->key);
    cairn_terms_begin(&write->terms);
    cairn_terms_condition(call, &write->terms, cairn_item_argument(fcinfo, condition_at), &write->input);
    return write;
}

static Datum end_write(FunctionCallInfo fcinfo, SingleWrite *write)
{
    Datum result = (Datum) 0;

    write_one(&write->call, &write->op, &write->input, &write->terms, write->returns, &write->images);
    if (write->returns == RETURN_NONE)
        fcinfo->isnull = true;
    else
        result = cairn_item_result(&write->call, fcinfo, write->op.key,
                                   write->returns == RETURN_OLD ? write->images.old : write->images.new_item);
    cairn_item_end(&write->call);
    return result;
}

Datum cairn_put_item(PG_FUNCTION_ARGS)
{
    SingleWrite *write = begin_write(fcinfo, WIRE_WRITE_PUT, "put item", ACL_INSERT | ACL_UPDATE, 2);
    bool by_rules = write->call.table->sql_way || write->terms.by_rules;
    StringInfoData item;

    cairn_input_values(&write->call, &write->input, by_rules);
    if (!by_rules) {
        initStringInfo(&item);
        cairn_input_encode(&write->call, &write->input, &item);
        write->op.argument = span_of(&item);
        cairn_item_check_size(&write->call, write->op.key, write->op.argument);
    }
    return end_write(fcinfo, write);
}

Datum cairn_delete_item(PG_FUNCTION_ARGS)
{
    return end_write(fcinfo, begin_write(fcinfo, WIRE_WRITE_DELETE, "delete item", ACL_DELETE, 2));
}

Datum cairn_update_item(PG_FUNCTION_ARGS)
{
    SingleWrite *write = begin_write(fcinfo, WIRE_WRITE_UPDATE, "update item", ACL_INSERT | ACL_UPDATE, 4);

    cairn_terms_update(&write->call, &write->terms, cairn_item_argument(fcinfo, 2),
                       PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3));
    write->terms.by_rules = write->terms.by_rules || key_has_scale(&write->call, &write->input);
    write->op.argument = span_of(&write->terms.update);
    return end_write(fcinfo, write);
}
