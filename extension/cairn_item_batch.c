/*
 * batch_write_item: several puts and deletes in one call.
 *
 * Happy path: up to 25 keys, none twice, become operations of one request; bare, all of them are one log entry. On
 * tables that need SQL's rules each goes its way through them. Either way all happen or none, which is more than
 * DynamoDB promises.
 *
 * Failure modes: those of put_item and delete_item, and a key that occurs twice (22023). A batch that does not fit one
 * log entry goes through the transaction, whose commit may take several.
 */
#include "cairn_item_parts.h"

#include "utils/builtins.h"

#include "cairn_error.h"

PG_FUNCTION_INFO_V1(cairn_batch_write_item);

#define ENTRY_ROOM (WIRE_ENTRY_MAX - 16 * 1024)
#define REQUEST_ROOM (2 * 1024 * 1024)

typedef struct Batch {
    struct wire_write_op ops[WIRE_BATCH_WRITE_MAX];
    struct wire_span keys[WIRE_BATCH_WRITE_MAX];
    CairnItemInput inputs[WIRE_BATCH_WRITE_MAX];
    CairnItemImages images[WIRE_BATCH_WRITE_MAX];
    int count;
    Size size;
} Batch;

static void add_put(const CairnItemCall *call, Batch *batch, Jsonb *object)
{
    struct wire_write_op *op = &batch->ops[batch->count];
    CairnItemInput *input = &batch->inputs[batch->count];
    StringInfoData item;

    op->kind = WIRE_WRITE_PUT;
    op->key = cairn_item_key_copy(call, object, input, true);
    cairn_input_values(call, input, call->table->sql_way);
    if (!call->table->sql_way) {
        initStringInfo(&item);
        cairn_input_encode(call, input, &item);
        op->argument = (struct wire_span){(const uint8_t *) item.data, (size_t) item.len};
        cairn_item_check_size(call, op->key, op->argument);
    }
    batch->size += op->key.size + op->argument.size + 32;
    batch->keys[batch->count++] = op->key;
}

static void add_delete(const CairnItemCall *call, Batch *batch, Jsonb *object)
{
    struct wire_write_op *op = &batch->ops[batch->count];

    op->kind = WIRE_WRITE_DELETE;
    op->key = cairn_item_key_copy(call, object, &batch->inputs[batch->count], false);
    batch->size += op->key.size + 32;
    batch->keys[batch->count++] = op->key;
}

static void write_batch(CairnItemCall *call, Batch *batch)
{
    int start = 0;

    if (batch->size > ENTRY_ROOM)
        call->bare = false;
    while (start < batch->count) {
        Size size = 0;
        int end = start;

        while (end < batch->count && (end == start || size + batch->ops[end].argument.size < REQUEST_ROOM))
            size += batch->ops[end++].argument.size;
        cairn_item_write(call, &batch->ops[start], end - start, &batch->images[start]);
        start = end;
    }
}

static void write_by_rules(const CairnItemCall *call, Batch *batch)
{
    CairnItemTerms terms;

    cairn_terms_begin(&terms);
    for (int i = 0; i < batch->count; i++) {
        CairnRuleWrite write = {
            .kind = batch->ops[i].kind, .key = batch->ops[i].key, .input = &batch->inputs[i], .terms = &terms};

        cairn_item_write_by_rules(call, &write, &batch->images[i]);
    }
}

Datum cairn_batch_write_item(PG_FUNCTION_ARGS)
{
    CairnItemCall call;
    Batch *batch = palloc0(sizeof(*batch));
    Jsonb **puts = NULL;
    Jsonb **deletes = NULL;
    int put_count = 0;
    int delete_count = 0;

    if (!PG_ARGISNULL(1))
        put_count = cairn_item_array(PG_GETARG_JSONB_P(1), "puts", WIRE_BATCH_WRITE_MAX, &puts);
    if (!PG_ARGISNULL(2))
        delete_count = cairn_item_array(PG_GETARG_JSONB_P(2), "deletes", WIRE_BATCH_WRITE_MAX, &deletes);
    cairn_item_begin(&call, fcinfo, "write items",
                     (put_count ? ACL_INSERT | ACL_UPDATE : 0) | (delete_count || !put_count ? ACL_DELETE : 0));
    if (put_count + delete_count > WIRE_BATCH_WRITE_MAX)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("a batch has %d writes, more than %d", put_count + delete_count, WIRE_BATCH_WRITE_MAX)));
    for (int i = 0; i < put_count; i++)
        add_put(&call, batch, puts[i]);
    for (int i = 0; i < delete_count; i++)
        add_delete(&call, batch, deletes[i]);
    cairn_item_refuse_twice(&call, batch->keys, batch->count);
    if (call.table->sql_way)
        write_by_rules(&call, batch);
    else
        write_batch(&call, batch);
    cairn_item_end(&call);
    PG_RETURN_INT32(batch->count);
}
