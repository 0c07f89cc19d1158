/*
 * Requests that make a transaction's writes durable, or end it: COMMIT, SPILL, ABORT, DECIDE.
 *
 * A small transaction commits as one entry. A larger one, and one that prepares, writes its effects as intents first
 * and decides them by a later entry of the same step; what a crash leaves undecided between the two is aborted at the
 * next start. A request is judged whole before anything of it is logged: after that only a broken partition can fail it.
 */
#include "sb_partition_internal.h"

#include "wire_key.h"

#define EFFECT_SIZE_MIN 12 /* kind, length, a key */
#define INTENTS_ENTRY_BYTES                                                                                            \
    (64 * 1024) /* an entry of intents that is as long takes no more: entries are applied whole, requests wait */

/* COMMIT and SPILL: effects whose locks the owner holds, as one or several entries. */
struct effects {
    struct wire_effect *list;
    uint8_t *found; /* enum sb_found, of each */
    size_t count;
    size_t size; /* encoded */
};

/* The own transaction whose intent the key carries; without a lock there must be one, and the key is locked, so that a
 * second effect on it is noticed. */
static int find_own_intent(struct sb_partition *partition, const struct wire_request *request, struct wire_span key,
                           struct sb_lock **lock, uint64_t *own)
{
    struct sb_current current;
    int status = sb_current_find(partition, request, key, SB_TIER_ALL, &current);

    sb_buffer_close(&current.owned);
    if (status == WIRE_E_WOULD_BLOCK)
        status = WIRE_OK; /* aborted, the intent in flight still */
    if (status != WIRE_OK)
        return status;
    if (current.foreign) /* prepared: it waits for its decision, nothing may be added */
        return WIRE_E_NOT_LOCKED;
    *own = current.own;
    if (*lock)
        return WIRE_OK;
    if (!*own)
        return WIRE_E_NOT_LOCKED;
    if (sb_lock_add(&partition->overlay, key, request->owner, request->subtransaction, lock) != WIRE_OK)
        return WIRE_E_NOMEM;
    (*lock)->intent = *own;
    return WIRE_OK;
}

/* effect->argument: the own transaction whose intent the key carries already, or 0. *found: what it carries, if its
 * lock tells. */
static int check_effect(struct sb_partition *partition, const struct wire_request *request, struct wire_effect *effect,
                        uint8_t *found)
{
    struct sb_lock *lock = sb_lock_find(&partition->overlay, effect->key);
    struct wire_item item;
    int status;

    if (effect->kind != WIRE_EFFECT_PUT && effect->kind != WIRE_EFFECT_DELETE)
        return WIRE_E_BAD_FORMAT;
    if (effect->kind == WIRE_EFFECT_PUT &&
        (effect->item.size > WIRE_STORED_ITEM_MAX ||
         wire_item_open(effect->item.data, effect->item.size, &item) != WIRE_OK || item.flags & WIRE_ITEM_DELETED))
        return WIRE_E_BAD_FORMAT;
    if (lock && lock->owner != request->owner)
        return WIRE_E_NOT_LOCKED;
    if (lock && lock->mark == partition->serial)
        return WIRE_E_DUPLICATE;
    effect->argument = 0;
    *found = lock && !lock->intent ? lock->found : SB_FOUND_UNKNOWN;
    if (!lock || lock->intent) {
        status = find_own_intent(partition, request, effect->key, &lock, &effect->argument);
        if (status != WIRE_OK)
            return status;
        if (effect->argument && !wire_request_owns(request, effect->argument))
            return WIRE_E_TRANSACTION_EXISTS;
    }
    lock->mark = partition->serial;
    return WIRE_OK;
}

static void close_effects(struct effects *effects)
{
    sb_free(effects->list);
    sb_free(effects->found);
}

static int read_effects(struct sb_partition *partition, const struct wire_request *request, struct wire_reader *body,
                        struct effects *out, uint32_t *detail)
{
    uint64_t count = wire_read_varint(body);
    int status;

    if (body->failed || count > wire_reader_left(body) / EFFECT_SIZE_MIN)
        return WIRE_E_SHORT_INPUT;
    if (count == 0)
        return wire_reader_finish(body);
    out->list = sb_alloc((size_t) count * sizeof(*out->list));
    out->found = sb_alloc((size_t) count);
    if (!out->list || !out->found)
        return WIRE_E_NOMEM;
    for (uint64_t i = 0; i < count; i++) {
        *detail = (uint32_t) i;
        status = wire_effect_read(body, &out->list[i]);
        if (status == WIRE_OK)
            status = check_effect(partition, request, &out->list[i], &out->found[i]);
        if (status != WIRE_OK)
            return status;
        out->count++;
        out->size += wire_effect_size(&out->list[i]);
    }
    return wire_reader_finish(body);
}

/* The transaction whose intent an effect becomes: the one that the key carries already, so that a key never has two. */
static uint64_t transaction_of(const struct wire_effect *effect, uint64_t transaction)
{
    return effect->argument ? effect->argument : transaction;
}

/* Locks that stay on keys with intents now say so. */
static void note_intents(struct sb_partition *partition, const struct effects *effects, uint64_t transaction)
{
    for (size_t i = 0; i < effects->count; i++) {
        struct sb_lock *lock = sb_lock_find(&partition->overlay, effects->list[i].key);

        if (lock)
            lock->intent = transaction_of(&effects->list[i], transaction);
    }
}

/* Write effects as intents of `transaction`, or of the own transaction that a key has an intent of already, in as many
 * entries as they need; the first begins it if `begin`. */
static int log_intents(struct sb_partition *partition, const struct wire_request *request,
                       const struct effects *effects, uint64_t transaction, bool begin, uint64_t *last)
{
    struct wire_effect start = {.kind = WIRE_EFFECT_BEGIN, .number = transaction, .argument = request->owner};
    struct sb_transaction record = {.id = transaction, .state = SB_TRANSACTION_PENDING, .owner = request->owner};
    struct sb_draft draft;
    int status = sb_draft_begin(partition, transaction, &draft);

    if (status == WIRE_OK && begin) {
        status = sb_draft_add(&draft, &start, SB_FOUND_UNKNOWN);
        if (status == WIRE_OK)
            status = sb_transactions_put(partition->evaluated_transactions, &record);
    }
    for (size_t i = 0; i < effects->count && status == WIRE_OK; i++) {
        uint64_t wanted = transaction_of(&effects->list[i], transaction);
        bool other = draft.header.transaction != wanted || draft.flight->bytes.size >= INTENTS_ENTRY_BYTES;

        if (!other)
            status = sb_draft_add(&draft, &effects->list[i], effects->found[i]);
        if (other || status == WIRE_E_TOO_LARGE) {
            status = sb_draft_seal(&draft);
            if (status == WIRE_OK)
                status = sb_draft_begin(partition, wanted, &draft);
            if (status == WIRE_OK)
                status = sb_draft_add(&draft, &effects->list[i], effects->found[i]);
        }
    }
    if (status == WIRE_OK) {
        *last = draft.header.index;
        status = sb_draft_seal(&draft);
        note_intents(partition, effects, transaction);
    }
    return status;
}

static uint64_t new_transaction(struct sb_partition *partition)
{
    return WIRE_TRANSACTION_BIT | partition->next_transaction++;
}

int sb_decide(struct sb_draft *draft, struct sb_transaction *transaction, enum sb_transaction_state state)
{
    struct wire_effect effect = {.number = transaction->id, .argument = transaction->decider};
    int status;

    effect.kind = state == SB_TRANSACTION_COMMITTED  ? WIRE_EFFECT_COMMIT
                  : state == SB_TRANSACTION_PREPARED ? WIRE_EFFECT_PREPARE
                                                     : WIRE_EFFECT_ABORT;
    transaction->state = state;
    transaction->version = state == SB_TRANSACTION_COMMITTED ? draft->header.version : 0;
    status = sb_draft_add(draft, &effect, SB_FOUND_UNKNOWN);
    if (status == WIRE_OK)
        status = sb_transactions_put(draft->partition->evaluated_transactions, transaction);
    if (transaction->id <= draft->partition->settled_through)
        draft->partition->settled_through = transaction->id - 1;
    return status;
}

/* The undecided transaction `id` of the request's owner. */
static int own_transaction(struct sb_partition *partition, const struct wire_request *request, uint64_t id,
                           struct sb_transaction *out)
{
    if (sb_transactions_get(partition->evaluated_transactions, id, out) != WIRE_OK || out->owner != request->owner ||
        (out->state != SB_TRANSACTION_PENDING && out->state != SB_TRANSACTION_PREPARED))
        return WIRE_E_NO_TRANSACTION;
    return WIRE_OK;
}

static int check_own_transactions(struct sb_partition *partition, const struct wire_request *request)
{
    struct wire_reader ids = wire_reader_of(request->transactions.data, request->transactions.size);
    struct sb_transaction found;

    while (wire_reader_left(&ids) > 0) {
        int status = own_transaction(partition, request, wire_read_u64(&ids), &found);

        if (status != WIRE_OK)
            return status;
    }
    return WIRE_OK;
}

static int decide_own(struct sb_draft *draft, const struct wire_request *request, uint64_t decider,
                      enum sb_transaction_state state)
{
    struct wire_reader ids = wire_reader_of(request->transactions.data, request->transactions.size);
    struct sb_transaction found;
    int status = WIRE_OK;

    while (wire_reader_left(&ids) > 0 && status == WIRE_OK) {
        status = own_transaction(draft->partition, request, wire_read_u64(&ids), &found);
        if (status == WIRE_E_NO_TRANSACTION) {
            status = WIRE_OK; /* named twice */
            continue;
        }
        found.decider = decider;
        status = sb_decide(draft, &found, state);
    }
    return status;
}

/* Intents, if needed, and the entry that decides or prepares. */
static int log_commit(struct sb_partition *partition, const struct wire_request *request, uint64_t decider,
                      const struct effects *effects, uint64_t *version, uint64_t *last)
{
    size_t fixed = WIRE_ENTRY_HEADER_SIZE + SB_DRAFT_MARGIN + 32 * (request->transactions.size / 8 + 1);
    bool intents = effects->count > 0 && (decider != 0 || effects->size + fixed > WIRE_ENTRY_MAX);
    enum sb_transaction_state state = decider ? SB_TRANSACTION_PREPARED : SB_TRANSACTION_COMMITTED;
    uint64_t transaction = intents ? new_transaction(partition) : 0;
    struct sb_transaction record;
    struct sb_draft draft;
    int status = WIRE_OK;

    if (intents)
        status = log_intents(partition, request, effects, transaction, true, last);
    if (status == WIRE_OK)
        status = sb_draft_begin(partition, 0, &draft);
    if (status == WIRE_OK && intents) {
        status = sb_transactions_get(partition->evaluated_transactions, transaction, &record);
        record.decider = decider;
        if (status == WIRE_OK)
            status = sb_decide(&draft, &record, state);
    }
    if (status == WIRE_OK)
        status = decide_own(&draft, request, decider, state);
    for (size_t i = 0; i < effects->count && !intents && status == WIRE_OK; i++)
        status = sb_draft_add(&draft, &effects->list[i], effects->found[i]);
    if (status != WIRE_OK)
        return status;
    *version = decider ? 0 : draft.header.version;
    *last = draft.header.index;
    return sb_draft_seal(&draft);
}

/*
 * The commit entry `index` is in the overlay: locks go. Whoever takes one of them must not be answered before the entry
 * is applied, or its next snapshot would miss it. Keys that were written tell so by their image in flight; for others
 * the partition remembers the index.
 */
static void release_after(struct sb_partition *partition, uint64_t owner, uint64_t index)
{
    if (sb_lock_release(&partition->overlay, owner, 0) && index > partition->unwritten_release)
        partition->unwritten_release = index;
}

int sb_evaluate_commit(struct sb_partition *partition, uint64_t token, const struct wire_request *request)
{
    struct wire_reader body = request->body;
    struct effects effects = {0};
    uint64_t decider = wire_read_u64(&body);
    uint64_t version = 0;
    uint64_t last = 0;
    uint32_t detail = 0;
    uint8_t bytes[8];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status = read_effects(partition, request, &body, &effects, &detail);

    if (status == WIRE_OK)
        status = check_own_transactions(partition, request);
    if (status == WIRE_OK && (effects.count > 0 || request->transactions.size > 0)) {
        status = log_commit(partition, request, decider, &effects, &version, &last);
        if (status != WIRE_OK) {
            close_effects(&effects);
            return status; /* entries may be under way: only a restart can tell */
        }
    }
    /* A prepared transaction keeps its locks until it is decided: intents stand for the keys that it wrote only. What
     * prepared nothing will not be decided. */
    if (status == WIRE_OK && (decider == 0 || last == 0))
        release_after(partition, request->owner, last);
    close_effects(&effects);
    if (sb_breaks_partition(status))
        return status;
    if (status == WIRE_OK)
        wire_write_u64(&w, version);
    return sb_partition_reply(partition, token, WIRE_COMMIT, status, detail, version, (struct wire_span){bytes, w.size},
                              last);
}

/* The entry that must be applied before a spill is evaluated, 0 if none: while more than a quarter of what may be in
 * flight is, a spill waits. Whoever spills faster than the disk takes it leaves room for others. */
static uint64_t spill_depends(const struct sb_partition *partition)
{
    uint64_t ahead = partition->options.max_in_flight_bytes / 4;
    uint64_t left = partition->flights.bytes;
    uint64_t depends = 0;

    for (size_t i = 0; i < partition->flights.count && left > ahead; i++) {
        const struct sb_flight *flight = sb_flights_at(&partition->flights, i);

        left -= flight->bytes.size;
        depends = flight->index;
    }
    return depends;
}

/* Without effects: answered when all that was evaluated is applied, so that readers find what was spilled. */
static int await_spilled(struct sb_partition *partition, uint64_t token, const struct wire_request *request,
                         uint64_t transaction)
{
    struct sb_transaction record;
    uint8_t bytes[9];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status = transaction ? own_transaction(partition, request, transaction, &record) : WIRE_E_BAD_FORMAT;

    if (status == WIRE_OK) {
        wire_write_u64(&w, transaction);
        wire_write_u8(&w, 0);
    }
    return sb_partition_reply(partition, token, WIRE_SPILL, status, 0, 0, (struct wire_span){bytes, w.size},
                              status == WIRE_OK ? partition->last_index : 0);
}

static int evaluate_spill(struct sb_partition *partition, uint64_t token, const struct wire_request *request)
{
    struct wire_reader body = request->body;
    struct effects effects = {0};
    uint64_t transaction = wire_read_u64(&body);
    bool begin = transaction == 0;
    uint64_t last;
    uint32_t detail = 0;
    struct sb_transaction record;
    bool rewrites = false;
    uint8_t bytes[9];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status = read_effects(partition, request, &body, &effects, &detail);

    if (status == WIRE_OK && effects.count == 0)
        return await_spilled(partition, token, request, transaction);
    if (status == WIRE_OK && !begin)
        status = own_transaction(partition, request, transaction, &record);
    for (size_t i = 0; i < effects.count && status == WIRE_OK; i++)
        rewrites = rewrites || effects.list[i].argument;
    if (status == WIRE_OK) {
        if (begin)
            transaction = new_transaction(partition);
        status = log_intents(partition, request, &effects, transaction, begin, &last);
        if (status != WIRE_OK) {
            close_effects(&effects);
            return status;
        }
        /* From here on the intents are the locks, but for locks of outer subtransactions, which outlive a rollback of
         * this one. */
        for (size_t i = 0; i < effects.count; i++) {
            struct sb_lock *lock = sb_lock_find(&partition->overlay, effects.list[i].key);

            if (lock && lock->subtransaction == request->subtransaction)
                sb_lock_remove(&partition->overlay, lock);
        }
    }
    close_effects(&effects);
    if (sb_breaks_partition(status))
        return status;
    if (status == WIRE_OK) {
        wire_write_u64(&w, transaction);
        wire_write_u8(&w, rewrites);
    }
    /* Answered before it is durable: the commit comes behind it in the log, nobody is told of anything before that. */
    return sb_partition_reply(partition, token, WIRE_SPILL, status, detail, 0, (struct wire_span){bytes, w.size}, 0);
}

int sb_evaluate_spill(struct sb_partition *partition, uint64_t token, const struct wire_request *request,
                      struct wire_span bytes, struct sb_parked *parked)
{
    uint64_t depends = spill_depends(partition);
    struct sb_parked *kept;
    int status;

    /* First come, first served. */
    for (const struct sb_parked *at = parked ? NULL : partition->parked; at; at = at->next) {
        if (at->spill && at->index > depends)
            depends = at->index;
    }
    if (depends == 0)
        return evaluate_spill(partition, token, request);
    status = sb_park(partition, token, bytes, parked, &kept);
    if (status == WIRE_OK) {
        kept->index = depends;
        kept->spill = true;
    }
    return status;
}

static int check_abort(const struct wire_request *request)
{
    struct wire_reader body = request->body;
    uint64_t count = wire_read_varint(&body);

    if (body.failed || count > wire_reader_left(&body) / sizeof(uint32_t))
        return WIRE_E_SHORT_INPUT;
    for (uint64_t i = 0; i < count; i++) {
        if (wire_read_u32(&body) == 0)
            return WIRE_E_BAD_FORMAT;
    }
    return wire_reader_finish(&body);
}

static void release_locks(struct sb_partition *partition, const struct wire_request *request)
{
    struct wire_reader body = request->body;
    uint64_t count = wire_read_varint(&body);

    if (count == 0)
        sb_lock_release(&partition->overlay, request->owner, 0);
    for (uint64_t i = 0; i < count; i++)
        sb_lock_release(&partition->overlay, request->owner, wire_read_u32(&body));
}

/* Does what it can: a transaction that is decided already keeps none of the locks and none of the others. */
int sb_evaluate_abort(struct sb_partition *partition, uint64_t token, const struct wire_request *request)
{
    struct wire_span none = {NULL, 0};
    struct sb_draft draft;
    int unknown = WIRE_OK;
    int status = check_abort(request);

    if (status != WIRE_OK)
        return sb_partition_reply(partition, token, WIRE_ABORT, status, 0, 0, none, 0);
    release_locks(partition, request);
    if (request->transactions.size > 0) {
        unknown = check_own_transactions(partition, request);
        status = sb_draft_begin(partition, 0, &draft);
        if (status == WIRE_OK)
            status = decide_own(&draft, request, 0, SB_TRANSACTION_ABORTED);
        if (status == WIRE_OK && draft.effect_count == 0)
            sb_draft_drop(&draft);
        else if (status == WIRE_OK)
            status = sb_draft_seal(&draft);
        if (status != WIRE_OK)
            return status;
    }
    /* Nobody needs to wait for an abort to be durable: a crash aborts too. */
    return sb_partition_reply(partition, token, WIRE_ABORT, unknown, 0, 0, none, 0);
}

int sb_evaluate_decide(struct sb_partition *partition, uint64_t token, const struct wire_request *request)
{
    struct wire_reader body = request->body;
    uint64_t decider = wire_read_u64(&body);
    uint8_t commit = wire_read_u8(&body);
    struct sb_transaction found = {0};
    struct sb_draft draft;
    uint64_t after = 0;
    uint64_t owner = 0;
    uint8_t bytes[8];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status = wire_reader_finish(&body);

    if (status == WIRE_OK && (decider == 0 || commit > 1))
        status = WIRE_E_BAD_FORMAT;
    if (status != WIRE_OK)
        return sb_partition_reply(partition, token, WIRE_DECIDE, status, 0, 0, (struct wire_span){NULL, 0}, 0);
    status = sb_draft_begin(partition, 0, &draft);
    while (status == WIRE_OK && sb_transactions_next(partition->evaluated_transactions, after, &found) == WIRE_OK) {
        after = found.id;
        if (found.state != SB_TRANSACTION_PREPARED || found.decider != decider)
            continue;
        owner = found.owner;
        status = sb_decide(&draft, &found, commit ? SB_TRANSACTION_COMMITTED : SB_TRANSACTION_ABORTED);
    }
    if (status != WIRE_OK)
        return status;
    if (commit && draft.effect_count > 0) {
        partition->decided_ms = partition->now_ms;
        draft.flight->decides = true;
    }
    if (draft.effect_count == 0) {
        sb_draft_drop(&draft);
        return sb_partition_reply(partition, token, WIRE_DECIDE, WIRE_E_NO_TRANSACTION, 0, 0,
                                  (struct wire_span){NULL, 0}, 0);
    }
    wire_write_u64(&w, draft.header.version);
    status = sb_draft_seal(&draft);
    if (status != WIRE_OK)
        return status;
    release_after(partition, owner, draft.header.index);
    return sb_partition_reply(partition, token, WIRE_DECIDE, WIRE_OK, 0, draft.header.version,
                              (struct wire_span){bytes, w.size}, draft.header.index);
}
