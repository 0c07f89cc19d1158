/*
 * Evaluating requests, in arrival order, against the newest state: the overlay of what is in flight, else the items
 * store. Here: WRITE, STORAGE, DROP; what ends or spills transactions is in sb_decide.c.
 *
 * A request is judged in two passes: first all the items it needs are brought together (if one is not in memory, or its
 * state is about to change in a way that only applying can settle, the request is parked and judged again later); then
 * it is evaluated without a further wait, so that it happens at one moment: all of it or, refused, nothing.
 */
#include "sb_partition_internal.h"

#include "sb_history.h"
#include "wire_eval.h"
#include "wire_key.h"

#define BARE_OPERATIONS_MAX 1000
#define OPERATION_SIZE_MIN 16 /* kind, flags, four lengths, a key */

/* An intent: what it stands for. Errors: WIRE_E_WOULD_BLOCK: wait for *depends to be applied. */
static int judge_intent(struct sb_partition *partition, const struct wire_request *request, struct wire_span key,
                        uint64_t stamp, bool deleted, bool in_flight, struct sb_current *out)
{
    struct sb_transaction transaction;
    int status;

    if (sb_transactions_get(partition->evaluated_transactions, stamp, &transaction) != WIRE_OK)
        return sb_fault_set(partition->fault, WIRE_E_CORRUPT, "an intent belongs to no transaction");
    out->exists = !deleted;
    switch (transaction.state) {
    case SB_TRANSACTION_COMMITTED:
        out->version = transaction.version;
        if (transaction.version > partition->applied.version)
            out->depends = partition->last_index;
        return WIRE_OK;
    case SB_TRANSACTION_ABORTED:
        if (in_flight) {
            out->depends = partition->last_index;
            return WIRE_E_WOULD_BLOCK;
        }
        out->owned.size = 0;
        status = sb_history_find_superseded(partition->store, key, stamp, &out->owned, &out->version, partition->fault);
        out->exists = status == WIRE_OK;
        out->item = sb_buffer_span(&out->owned);
        return status == WIRE_E_NOT_FOUND ? WIRE_OK : status;
    default:
        /* What is prepared is no longer its owner's. */
        if (transaction.state == SB_TRANSACTION_PENDING && transaction.owner == request->owner)
            out->own = stamp;
        out->foreign = !out->own;
        out->holder = transaction.owner;
        out->version = 0;
        return WIRE_OK;
    }
}

int sb_current_find(struct sb_partition *partition, const struct wire_request *request, struct wire_span key,
                    enum sb_tier tier, struct sb_current *out)
{
    const struct sb_pending *pending = sb_overlay_find(&partition->overlay, key);
    struct sb_value value;
    uint64_t stamp;
    bool deleted;
    int status;

    *out = (struct sb_current){0};
    if (pending) {
        out->depends = pending->index;
        out->exists = !pending->deleted;
        out->version = pending->stamp;
        out->item = pending->item;
        if (wire_version_is_transaction(pending->stamp))
            return judge_intent(partition, request, key, pending->stamp, pending->deleted, true, out);
        out->found = pending->deleted ? SB_FOUND_NOTHING : SB_FOUND_FINAL;
        return WIRE_OK;
    }
    status = partition->store->get(partition->store->self, SB_ITEMS, key, tier, &value, partition->fault);
    if (status == WIRE_E_NOT_FOUND) {
        out->found = SB_FOUND_NOTHING;
        return WIRE_OK;
    }
    if (status != WIRE_OK)
        return status;
    status = value.bytes.size < WIRE_ITEM_HEADER_SIZE
                 ? WIRE_E_CORRUPT
                 : sb_buffer_append(&out->owned, value.bytes.data, value.bytes.size);
    partition->store->release(partition->store->self, &value);
    if (status != WIRE_OK)
        return status;
    stamp = wire_item_version(out->owned.data);
    deleted = (out->owned.data[1] & WIRE_ITEM_DELETED) != 0;
    out->exists = !deleted;
    out->version = stamp;
    out->item = sb_buffer_span(&out->owned);
    if (wire_version_is_transaction(stamp))
        return judge_intent(partition, request, key, stamp, deleted, false, out);
    out->found = deleted ? SB_FOUND_UNKNOWN : SB_FOUND_FINAL;
    return WIRE_OK;
}

/* Everything one WRITE needs, and what it produces. */
struct operation {
    struct wire_write_op op;
    struct sb_current current;
    struct sb_buffer result; /* new image */
    bool changes;
    bool result_exists;
};

struct evaluation {
    struct sb_partition *partition;
    const struct wire_request *request;
    uint64_t token;
    struct operation *operations;
    size_t count;
    uint64_t depends;
    uint32_t detail;
    uint64_t holder;
    uint32_t holder_subtransaction;
    struct sb_buffer body;
};

static void close_operations(struct evaluation *e)
{
    for (size_t i = 0; i < e->count; i++) {
        sb_buffer_close(&e->operations[i].current.owned);
        sb_buffer_close(&e->operations[i].result);
    }
    sb_free(e->operations);
    sb_buffer_close(&e->body);
}

static int read_operations(struct evaluation *e)
{
    struct wire_reader body = e->request->body;
    uint64_t count = wire_read_varint(&body);
    bool bare = !(e->request->flags & WIRE_TRANSACTIONAL);

    if (body.failed || count > wire_reader_left(&body) / OPERATION_SIZE_MIN)
        return WIRE_E_SHORT_INPUT;
    if (count == 0)
        return WIRE_E_BAD_FORMAT;
    if (bare && count > BARE_OPERATIONS_MAX)
        return WIRE_E_TOO_LARGE;
    e->operations = sb_alloc((size_t) count * sizeof(*e->operations));
    if (!e->operations)
        return WIRE_E_NOMEM;
    e->count = (size_t) count;
    for (size_t i = 0; i < e->count; i++) {
        struct wire_write_op *op = &e->operations[i].op;
        int status = wire_write_op_read(&body, op);

        e->detail = (uint32_t) i;
        if (status == WIRE_OK && !wire_key_belongs(op->key, e->request->storage_id))
            status = WIRE_E_NO_STORAGE;
        if (status == WIRE_OK && bare && (op->kind == WIRE_WRITE_LOCK || op->flags & WIRE_HAS_OVERLAY))
            status = WIRE_E_BAD_FORMAT;
        if (status == WIRE_OK)
            status = wire_condition_check(op->condition);
        if (status == WIRE_OK && op->kind == WIRE_WRITE_UPDATE)
            status = wire_update_check(op->argument);
        if (status != WIRE_OK)
            return status;
    }
    return wire_reader_finish(&body);
}

static int note_key(struct sb_parked *parked, struct wire_span key)
{
    if (parked->key_count == parked->key_capacity) {
        size_t capacity = parked->key_capacity ? parked->key_capacity * 2 : 8;
        struct wire_span *keys = sb_realloc(parked->keys, capacity * sizeof(*keys));

        if (!keys)
            return WIRE_E_NOMEM;
        parked->keys = keys;
        parked->key_capacity = capacity;
    }
    if (sb_span_copy(key, &parked->keys[parked->key_count]) != WIRE_OK)
        return WIRE_E_NOMEM;
    parked->key_count++;
    return WIRE_OK;
}

/* Bring all items together; *missing collects keys that are not in memory. Errors: WIRE_E_WOULD_BLOCK: park. */
static int gather(struct evaluation *e, struct sb_parked *parked, struct sb_parked *missing)
{
    enum sb_tier tier = parked && parked->fetched ? SB_TIER_ALL : SB_TIER_MEMORY;
    bool wait = false;

    for (size_t i = 0; i < e->count; i++) {
        struct operation *operation = &e->operations[i];
        int status = sb_current_find(e->partition, e->request, operation->op.key, tier, &operation->current);

        e->detail = (uint32_t) i;
        if (status == WIRE_E_WOULD_BLOCK) {
            wait = true;
            if (operation->current.depends > missing->index)
                missing->index = operation->current.depends;
            else if (operation->current.depends == 0)
                status = note_key(missing, operation->op.key);
            if (status == WIRE_E_NOMEM)
                return status;
        } else if (status != WIRE_OK)
            return status;
    }
    return wait ? WIRE_E_WOULD_BLOCK : WIRE_OK;
}

/* Refuse keys that others hold. An intent of the asker's transaction is no place for a bare write either: it would be
 * final before the transaction is. */
static int check_locks(struct evaluation *e)
{
    bool bare = !(e->request->flags & WIRE_TRANSACTIONAL);

    for (size_t i = 0; i < e->count; i++) {
        const struct operation *operation = &e->operations[i];
        struct sb_lock *lock = sb_lock_find(&e->partition->overlay, operation->op.key);

        e->detail = (uint32_t) i;
        if (operation->current.foreign) {
            e->holder = operation->current.holder;
            e->holder_subtransaction = 1;
            return WIRE_E_LOCKED;
        }
        if (lock && lock->owner != e->request->owner) {
            e->holder = lock->owner;
            e->holder_subtransaction = lock->subtransaction;
            return WIRE_E_LOCKED;
        }
        if (bare && operation->current.own)
            return WIRE_E_TRANSACTION_EXISTS;
        if (bare && lock)
            lock->found = SB_FOUND_UNKNOWN; /* it is about to change under its owner's own lock */
    }
    if (e->partition->unwritten_release > e->depends)
        e->depends = e->partition->unwritten_release;
    return WIRE_OK;
}

/* REPEATABLE READ: nobody else may have changed the key after the snapshot, by deleting it neither. */
static int check_first_updater(struct evaluation *e, const struct operation *operation)
{
    struct sb_partition *partition = e->partition;
    uint64_t horizon =
        partition->applied.horizon > partition->given_up ? partition->applied.horizon : partition->given_up;
    struct sb_buffer image = {0};
    uint64_t version;
    int status;

    if (operation->current.version > e->request->snapshot)
        return WIRE_E_CHANGED;
    if (e->request->snapshot < horizon)
        return WIRE_E_SNAPSHOT_TOO_OLD; /* what tells of a deletion may be gone */
    if (operation->current.exists || operation->current.own)
        return WIRE_OK;
    status = sb_history_find(partition->store, NULL, partition->applied_transactions, operation->op.key,
                             e->request->snapshot, &image, &version, partition->fault);
    sb_buffer_close(&image);
    if (status == WIRE_OK)
        return WIRE_E_CHANGED;
    return status == WIRE_E_NOT_FOUND ? WIRE_OK : status;
}

static int evaluate_operation(struct evaluation *e, struct operation *operation)
{
    const struct wire_write_op *op = &operation->op;
    const struct sb_current *current = &operation->current;
    struct wire_span image = current->item;
    bool exists = current->exists;
    struct wire_item item;
    struct wire_writer w;
    size_t size;
    int status = WIRE_OK;

    if (current->depends > e->depends)
        e->depends = current->depends;
    if (op->flags & WIRE_HAS_OVERLAY) {
        image = op->overlay;
        exists = image.size > 0;
    } else if (e->request->flags & WIRE_FIRST_UPDATER) {
        status = check_first_updater(e, operation);
        if (status != WIRE_OK)
            return status;
    }
    if (exists && (wire_item_open(image.data, image.size, &item) != WIRE_OK || item.flags & WIRE_ITEM_DELETED))
        return op->flags & WIRE_HAS_OVERLAY ? WIRE_E_BAD_FORMAT : WIRE_E_CORRUPT;
    if (op->flags & WIRE_MUST_NOT_EXIST && exists)
        return WIRE_E_EXISTS;
    status = wire_condition_eval(op->condition, exists ? &item : NULL);
    if (status != WIRE_OK)
        return status;
    operation->result_exists = exists;
    switch (op->kind) {
    case WIRE_WRITE_PUT:
        operation->changes = operation->result_exists = true;
        status = sb_buffer_append(&operation->result, op->argument.data, op->argument.size);
        break;
    case WIRE_WRITE_DELETE:
        operation->changes = exists;
        operation->result_exists = false;
        break;
    case WIRE_WRITE_UPDATE:
        operation->changes = operation->result_exists = true;
        size = image.size + op->argument.size + 64;
        status = sb_buffer_reserve(&operation->result, size);
        w = wire_writer_of(operation->result.data, operation->result.capacity);
        if (status == WIRE_OK)
            status = wire_update_eval(op->argument, exists ? &item : NULL, exists ? item.schema_version : 0, &w);
        operation->result.size = w.size;
        break;
    case WIRE_WRITE_LOCK:
        break;
    }
    if (status != WIRE_OK || !operation->changes || !operation->result_exists)
        return status;
    if (wire_item_open(operation->result.data, operation->result.size, &item) != WIRE_OK ||
        item.flags & WIRE_ITEM_DELETED)
        return WIRE_E_BAD_FORMAT;
    /* The backend counts exactly: it knows names and types. What it will not see again must be sure to be in the limit. */
    if (op->kind == WIRE_WRITE_UPDATE && !(e->request->flags & WIRE_TRANSACTIONAL)) {
        status = wire_item_counted_size(&item, &size);
        if (status == WIRE_OK && size > WIRE_ITEM_SIZE_SURE)
            status = WIRE_E_ITEM_SIZE;
    }
    return operation->result.size > WIRE_STORED_ITEM_MAX ? WIRE_E_ITEM_SIZE : status;
}

static int body_span(struct sb_buffer *body, bool present, struct wire_span span)
{
    uint8_t head[11] = {present};
    struct wire_writer w = wire_writer_of(head + 1, 10);
    int status;

    if (!present)
        return sb_buffer_append(body, head, 1);
    wire_write_varint(&w, span.size);
    status = sb_buffer_append(body, head, 1 + w.size);
    return status == WIRE_OK ? sb_buffer_append(body, span.data, span.size) : status;
}

/* The image the operation found, overlay included. */
static struct wire_span found_image(const struct operation *operation)
{
    if (operation->op.flags & WIRE_HAS_OVERLAY)
        return operation->op.overlay;
    return operation->current.exists ? operation->current.item : (struct wire_span){NULL, 0};
}

static int write_results(struct evaluation *e)
{
    bool transactional = (e->request->flags & WIRE_TRANSACTIONAL) != 0;
    uint8_t bytes[10];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status;

    wire_write_varint(&w, e->count);
    status = sb_buffer_append(&e->body, bytes, w.size);
    for (size_t i = 0; i < e->count && status == WIRE_OK; i++) {
        const struct operation *operation = &e->operations[i];
        struct wire_span found = found_image(operation);
        uint8_t existed = found.size > 0;
        bool give_new =
            (transactional || operation->op.flags & WIRE_RETURN_NEW) && operation->changes && operation->result_exists;

        status = sb_buffer_append(&e->body, &existed, 1);
        if (status == WIRE_OK)
            status = body_span(&e->body, existed && operation->op.flags & WIRE_RETURN_OLD, found);
        if (status == WIRE_OK)
            status = body_span(&e->body, give_new, sb_buffer_span(&operation->result));
    }
    return status;
}

/* A refusal tells what it found, where asked. */
static int write_refusal(struct evaluation *e, int code)
{
    uint8_t holder[12];
    struct wire_writer w = wire_writer_of(holder, sizeof(holder));
    const struct operation *operation;

    e->body.size = 0;
    if (code == WIRE_E_LOCKED) {
        wire_write_u64(&w, e->holder);
        wire_write_u32(&w, e->holder_subtransaction);
        return sb_buffer_append(&e->body, holder, w.size);
    }
    if (code != WIRE_E_CONDITION || e->detail >= e->count)
        return WIRE_OK;
    operation = &e->operations[e->detail];
    if (!(operation->op.flags & WIRE_RETURN_OLD))
        return WIRE_OK;
    return body_span(&e->body, found_image(operation).size > 0, found_image(operation));
}

static int take_locks(struct evaluation *e)
{
    struct sb_overlay *overlay = &e->partition->overlay;

    for (size_t i = 0; i < e->count; i++) {
        struct sb_lock *lock = sb_lock_find(overlay, e->operations[i].op.key);

        if (lock)
            continue;
        if (sb_lock_add(overlay, e->operations[i].op.key, e->request->owner, e->request->subtransaction, &lock) !=
            WIRE_OK)
            return WIRE_E_NOMEM;
        lock->intent = e->operations[i].current.own;
        lock->found = (uint8_t) e->operations[i].current.found;
    }
    return WIRE_OK;
}

/* Bare writes: one entry with all effects. */
static int log_operations(struct evaluation *e, uint64_t *version)
{
    struct sb_draft draft;
    bool any = false;
    int status;

    for (size_t i = 0; i < e->count; i++) {
        any = any || e->operations[i].changes;
        for (size_t j = 0; j < i; j++) {
            if (wire_span_compare(e->operations[i].op.key, e->operations[j].op.key) == 0) {
                e->detail = (uint32_t) i;
                return WIRE_E_DUPLICATE;
            }
        }
    }
    if (!any)
        return WIRE_OK;
    status = sb_draft_begin(e->partition, 0, &draft);
    for (size_t i = 0; i < e->count && status == WIRE_OK; i++) {
        const struct operation *operation = &e->operations[i];
        struct wire_effect effect = {.kind = operation->result_exists ? WIRE_EFFECT_PUT : WIRE_EFFECT_DELETE,
                                     .key = operation->op.key,
                                     .item = sb_buffer_span(&operation->result)};

        e->detail = (uint32_t) i;
        if (operation->changes)
            status = sb_draft_add(&draft, &effect, operation->current.found);
        if (status != WIRE_OK)
            sb_draft_drop(&draft);
    }
    if (status != WIRE_OK)
        return status;
    *version = draft.header.version;
    e->depends = draft.header.index;
    return sb_draft_seal(&draft);
}

static int evaluate_all(struct evaluation *e)
{
    for (size_t i = 0; i < e->count; i++) {
        int status;

        e->detail = (uint32_t) i;
        status = evaluate_operation(e, &e->operations[i]);
        if (status != WIRE_OK)
            return status;
    }
    return WIRE_OK;
}

static int evaluate_write(struct evaluation *e, struct wire_span bytes, struct sb_parked *parked)
{
    struct sb_parked missing = {0};
    uint64_t version = 0;
    int status = read_operations(e);
    int broken = WIRE_OK;

    if (status == WIRE_OK)
        status = gather(e, parked, &missing);
    if (status == WIRE_E_WOULD_BLOCK) {
        struct sb_parked *kept;

        status = sb_park(e->partition, e->token, bytes, parked, &kept);
        if (status == WIRE_OK) {
            kept->keys = missing.keys;
            kept->key_count = missing.key_count;
            kept->key_capacity = missing.key_capacity;
            kept->index = missing.index;
            return WIRE_OK;
        }
    }
    for (size_t i = 0; i < missing.key_count; i++)
        sb_span_free(&missing.keys[i]);
    sb_free(missing.keys);
    if (status == WIRE_OK)
        status = check_locks(e);
    if (status == WIRE_OK)
        status = evaluate_all(e);
    /* Before anything is logged: what was found may lie in the overlay, where it is replaced then. */
    if (status == WIRE_OK)
        status = write_results(e);
    if (status == WIRE_OK)
        status = e->request->flags & WIRE_TRANSACTIONAL ? take_locks(e) : log_operations(e, &version);
    if (!sb_breaks_partition(status) && status != WIRE_OK)
        broken = write_refusal(e, status);
    if (sb_breaks_partition(status) || broken != WIRE_OK)
        return WIRE_E_NOMEM;
    return sb_partition_reply(e->partition, e->token, WIRE_WRITE, status, status == WIRE_OK ? 0 : e->detail, version,
                              sb_buffer_span(&e->body), e->depends);
}

/* STORAGE and DROP: one effect, one entry. */
static int evaluate_storage(struct sb_partition *partition, uint64_t token, const struct wire_request *request)
{
    struct wire_reader body = request->body;
    struct wire_effect effect = {0};
    struct sb_draft draft;
    uint8_t bytes[8];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status;

    if (request->operation == WIRE_STORAGE) {
        effect.kind = WIRE_EFFECT_STORAGE;
        effect.key = wire_read_span(&body);
    } else {
        effect.kind = WIRE_EFFECT_DROP;
        effect.number = wire_read_u64(&body);
    }
    status = wire_reader_finish(&body);
    if (status == WIRE_OK &&
        (effect.kind == WIRE_EFFECT_STORAGE ? effect.key.size == 0 || effect.key.size > SB_IDENTITY_MAX
                                            : effect.number == 0))
        status = WIRE_E_BAD_FORMAT;
    if (status != WIRE_OK)
        return sb_partition_reply(partition, token, request->operation, status, 0, 0, (struct wire_span){NULL, 0}, 0);
    if (effect.kind == WIRE_EFFECT_STORAGE)
        effect.number = partition->next_storage_id++;
    status = sb_draft_begin(partition, 0, &draft);
    if (status == WIRE_OK)
        status = sb_draft_add(&draft, &effect, SB_FOUND_UNKNOWN);
    if (status == WIRE_OK)
        status = sb_draft_seal(&draft);
    if (status != WIRE_OK)
        return status;
    wire_write_u64(&w, effect.number);
    return sb_partition_reply(partition, token, request->operation, WIRE_OK, 0, draft.header.version,
                              effect.kind == WIRE_EFFECT_STORAGE ? (struct wire_span){bytes, w.size}
                                                                 : (struct wire_span){NULL, 0},
                              draft.header.index);
}

int sb_evaluate(struct sb_partition *partition, uint64_t token, struct wire_span bytes, struct sb_parked *parked)
{
    struct evaluation e = {.partition = partition, .token = token};
    struct wire_request request;
    int status = wire_request_open(bytes.data, bytes.size, &request);

    partition->serial++;
    if (status != WIRE_OK)
        return sb_partition_reply(partition, token, WIRE_WRITE, status, 0, 0, (struct wire_span){NULL, 0}, 0);
    switch (request.operation) {
    case WIRE_WRITE:
        e.request = &request;
        status = evaluate_write(&e, bytes, parked);
        close_operations(&e);
        return status;
    case WIRE_COMMIT:
        return sb_evaluate_commit(partition, token, &request);
    case WIRE_SPILL:
        return sb_evaluate_spill(partition, token, &request, bytes, parked);
    case WIRE_ABORT:
        return sb_evaluate_abort(partition, token, &request);
    case WIRE_DECIDE:
        return sb_evaluate_decide(partition, token, &request);
    case WIRE_STORAGE:
    case WIRE_DROP:
        return evaluate_storage(partition, token, &request);
    default:
        return sb_partition_reply(partition, token, request.operation, WIRE_E_BAD_FORMAT, 0, 0,
                                  (struct wire_span){NULL, 0}, 0);
    }
}
