/*
 * See sb_shard.h. Events in; entries, fetches and replies out. Evaluation is in sb_evaluate.c, applying in sb_apply.c.
 *
 * An entry's life: drafted (index and version taken) -> sealed (in the overlay, handed out to be logged) -> DURABLE ->
 * applied (left the overlay) -> freed. Replies wait in index order for what they depend on.
 */
#include "sb_shard_internal.h"

#define PORTION_ENTRIES 32
#define PORTION_BYTES ((size_t) 256 * 1024)

static int grow_array(void **array, size_t *capacity, size_t count, size_t element)
{
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *grown;

    if (count < *capacity)
        return WIRE_OK;
    grown = sb_realloc(*array, wanted * element);
    if (!grown)
        return WIRE_E_NOMEM;
    *array = grown;
    *capacity = wanted;
    return WIRE_OK;
}

/* ---- entries ---- */

int sb_draft_begin(struct sb_shard *shard, uint64_t transaction, struct sb_draft *draft)
{
    struct wire_entry_builder builder;
    struct wire_writer w;
    int status;

    *draft = (struct sb_draft){.shard = shard};
    draft->flight = sb_alloc(sizeof(*draft->flight));
    if (!draft->flight)
        return WIRE_E_NOMEM;
    status = sb_buffer_reserve(&draft->flight->bytes, 1024);
    if (status != WIRE_OK) {
        sb_free(draft->flight);
        return status;
    }
    shard->drafting = draft->flight;
    draft->header = (struct wire_entry){.group = WIRE_GROUP_LOCAL,
                                        .term = shard->term,
                                        .index = shard->last_index + 1,
                                        .version = wire_clock_next(shard->last_version, shard->now_ms),
                                        .transaction = transaction};
    draft->flight->index = draft->header.index;
    draft->flight->version = draft->header.version;
    draft->flight->intents = transaction != 0;
    shard->last_index = draft->header.index;
    shard->last_version = draft->header.version;
    w = wire_writer_of(draft->flight->bytes.data, draft->flight->bytes.capacity);
    wire_entry_begin(&builder, &w, &draft->header);
    draft->flight->bytes.size = w.size;
    return WIRE_OK;
}

int sb_draft_add(struct sb_draft *draft, const struct wire_effect *effect, enum sb_found found)
{
    struct sb_buffer *bytes = &draft->flight->bytes;
    size_t size = wire_effect_size(effect);
    uint8_t hint = (uint8_t) found;
    struct wire_writer w;
    int status;

    if (bytes->size + size + SB_DRAFT_MARGIN > WIRE_ENTRY_MAX)
        return WIRE_E_TOO_LARGE;
    status = sb_buffer_reserve(bytes, size + SB_DRAFT_MARGIN);
    if (status == WIRE_OK && (effect->kind == WIRE_EFFECT_PUT || effect->kind == WIRE_EFFECT_DELETE))
        status = sb_buffer_append(&draft->flight->found, &hint, 1);
    if (status != WIRE_OK)
        return status;
    w = wire_writer_of(bytes->data, bytes->capacity);
    w.size = bytes->size;
    wire_effect_write(&w, effect);
    if (w.failed)
        return WIRE_E_INTERNAL;
    bytes->size = w.size;
    draft->effect_count++;
    return WIRE_OK;
}

/* What is in flight is what later requests are judged against. */
static int overlay_entry(struct sb_shard *shard, const struct wire_entry *header, struct wire_span bytes)
{
    struct wire_entry entry;
    struct wire_effect effect;
    uint64_t stamp = header->transaction ? header->transaction : header->version;
    int status = wire_entry_open(bytes.data, bytes.size, &entry);
    int next;

    while (status == WIRE_OK && (next = wire_entry_next(&entry, &effect)) != WIRE_E_NOT_FOUND) {
        if (next != WIRE_OK)
            return next;
        if (effect.kind == WIRE_EFFECT_PUT)
            status = sb_overlay_put(&shard->overlay, effect.key, effect.item, false, stamp, header->index);
        else if (effect.kind == WIRE_EFFECT_DELETE)
            status = sb_overlay_put(&shard->overlay, effect.key, effect.item, true, stamp, header->index);
    }
    return status;
}

int sb_draft_seal(struct sb_draft *draft)
{
    struct sb_shard *shard = draft->shard;
    struct sb_flight *flight = draft->flight;
    struct wire_writer w = wire_writer_of(flight->bytes.data, flight->bytes.capacity);
    struct wire_entry_builder builder = {.w = &w, .start = 0, .effect_count = draft->effect_count};
    int status;

    w.size = flight->bytes.size;
    status = wire_entry_end(&builder);
    flight->bytes.size = w.size;
    shard->drafting = NULL;
    *shard->flights_end = flight;
    shard->flights_end = &flight->next;
    shard->in_flight_bytes += flight->bytes.size;
    if (status == WIRE_OK)
        status = overlay_entry(shard, &draft->header, sb_buffer_span(&flight->bytes));
    if (status == WIRE_OK)
        status =
            grow_array((void **) &shard->entries, &shard->entry_capacity, shard->entry_count, sizeof(*shard->entries));
    if (status != WIRE_OK)
        return status == WIRE_E_NOMEM ? status
                                      : sb_fault_set(shard->fault, WIRE_E_INTERNAL, "a log entry could not be built");
    shard->entries[shard->entry_count++] = (struct sb_log_entry){.group = draft->header.group,
                                                                 .index = draft->header.index,
                                                                 .term = draft->header.term,
                                                                 .payload = sb_buffer_span(&flight->bytes)};
    return WIRE_OK;
}

static void free_flight(struct sb_flight *flight)
{
    if (flight) {
        sb_buffer_close(&flight->bytes);
        sb_buffer_close(&flight->found);
    }
    sb_free(flight);
}

void sb_draft_drop(struct sb_draft *draft)
{
    draft->shard->last_index--;
    draft->shard->drafting = NULL;
    free_flight(draft->flight);
    draft->flight = NULL;
}

/* ---- replies ---- */

static int send_reply(struct sb_shard *shard, uint64_t token, enum wire_operation operation, struct sb_buffer *bytes)
{
    size_t capacity = shard->reply_capacity;
    int status = grow_array((void **) &shard->replies, &capacity, shard->reply_count, sizeof(*shard->replies));

    if (status == WIRE_OK && capacity != shard->reply_capacity) {
        struct sb_buffer *buffers = sb_realloc(shard->reply_buffers, capacity * sizeof(*buffers));

        if (!buffers)
            return WIRE_E_NOMEM;
        shard->reply_buffers = buffers;
        shard->reply_capacity = capacity;
    }
    if (status != WIRE_OK)
        return status;
    shard->reply_buffers[shard->reply_count] = *bytes;
    shard->replies[shard->reply_count] =
        (struct sb_reply){.token = token, .operation = operation, .bytes = sb_buffer_span(bytes)};
    shard->reply_count++;
    *bytes = (struct sb_buffer){0};
    return WIRE_OK;
}

int sb_shard_reply(struct sb_shard *shard, uint64_t token, enum wire_operation operation, int status, uint32_t detail,
                   uint64_t snapshot, struct wire_span body, uint64_t depends)
{
    struct wire_reply header = {.status = status, .detail = detail, .snapshot = snapshot};
    struct sb_buffer bytes = {0};
    struct sb_waiting *waiting;
    struct sb_waiting **link;
    struct wire_writer w;
    int result = sb_buffer_reserve(&bytes, WIRE_REPLY_HEADER_SIZE + body.size);

    if (result != WIRE_OK)
        return result;
    w = wire_writer_of(bytes.data, bytes.capacity);
    wire_reply_write(&w, &header);
    wire_write_bytes(&w, body.data, body.size);
    bytes.size = w.size;
    if (depends <= shard->applied.index) {
        result = send_reply(shard, token, operation, &bytes);
        sb_buffer_close(&bytes);
        return result;
    }
    waiting = sb_alloc(sizeof(*waiting));
    if (!waiting) {
        sb_buffer_close(&bytes);
        return WIRE_E_NOMEM;
    }
    *waiting = (struct sb_waiting){.index = depends, .token = token, .operation = operation, .bytes = bytes};
    /* Nearly always the newest; a refusal may depend on an older entry and goes before. */
    link = depends >= shard->waiting_newest ? shard->waiting_end : &shard->waiting;
    while (*link && (*link)->index <= depends)
        link = &(*link)->next;
    waiting->next = *link;
    *link = waiting;
    if (!waiting->next) {
        shard->waiting_end = &waiting->next;
        shard->waiting_newest = depends;
    }
    return WIRE_OK;
}

static int release_replies(struct sb_shard *shard)
{
    while (shard->waiting && shard->waiting->index <= shard->applied.index) {
        struct sb_waiting *ready = shard->waiting;
        int status = send_reply(shard, ready->token, ready->operation, &ready->bytes);

        if (status != WIRE_OK)
            return status;
        shard->waiting = ready->next;
        if (!shard->waiting) {
            shard->waiting_end = &shard->waiting;
            shard->waiting_newest = 0;
        }
        sb_free(ready);
    }
    return WIRE_OK;
}

/* ---- requests that wait ---- */

void sb_parked_free(struct sb_parked *parked)
{
    for (size_t i = 0; i < parked->key_count; i++)
        sb_span_free(&parked->keys[i]);
    sb_free(parked->keys);
    sb_span_free(&parked->bytes);
    sb_free(parked);
}

int sb_park(struct sb_shard *shard, uint64_t token, struct wire_span bytes, struct sb_parked *parked,
            struct sb_parked **out)
{
    if (!parked) {
        parked = sb_alloc(sizeof(*parked));
        if (!parked || sb_span_copy(bytes, &parked->bytes) != WIRE_OK) {
            sb_free(parked);
            return WIRE_E_NOMEM;
        }
        parked->token = token;
        parked->ticket = ++shard->tickets;
    } else {
        for (size_t i = 0; i < parked->key_count; i++)
            sb_span_free(&parked->keys[i]);
        sb_free(parked->keys);
        parked->keys = NULL;
        parked->key_count = parked->key_capacity = 0;
    }
    parked->index = 0;
    parked->next = shard->parked;
    shard->parked = parked;
    *out = parked;
    return WIRE_OK;
}

/* Judge a waiting request again. It is off its list. */
static int resume(struct sb_shard *shard, struct sb_parked *parked)
{
    int status = sb_evaluate(shard, parked->token, parked->bytes, parked);

    for (struct sb_parked *at = shard->parked; at; at = at->next) {
        if (at == parked)
            return status;
    }
    sb_parked_free(parked);
    return status;
}

static int defer(struct sb_shard *shard, uint64_t token, struct wire_span bytes)
{
    struct sb_parked *deferred = sb_alloc(sizeof(*deferred));

    if (!deferred || sb_span_copy(bytes, &deferred->bytes) != WIRE_OK) {
        sb_free(deferred);
        return WIRE_E_NOMEM;
    }
    deferred->token = token;
    *shard->deferred_end = deferred;
    shard->deferred_end = &deferred->next;
    return WIRE_OK;
}

static bool has_room(const struct sb_shard *shard)
{
    return shard->in_flight_bytes < shard->options.max_in_flight_bytes;
}

static int resume_deferred(struct sb_shard *shard)
{
    int status = WIRE_OK;

    while (shard->deferred && has_room(shard) && status == WIRE_OK) {
        struct sb_parked *next = shard->deferred;

        shard->deferred = next->next;
        if (!shard->deferred)
            shard->deferred_end = &shard->deferred;
        next->next = NULL;
        status = resume(shard, next);
    }
    return status;
}

/* Take one parked request off the list: by token, or (applied) the oldest of those whose entry is applied. */
static struct sb_parked *unpark(struct sb_shard *shard, uint64_t token, bool applied)
{
    struct sb_parked **found = NULL;
    struct sb_parked *at;

    for (struct sb_parked **link = &shard->parked; *link; link = &(*link)->next) {
        if (applied ? (*link)->key_count > 0 || (*link)->index > shard->applied.index
                    : (*link)->token != token || (*link)->key_count == 0)
            continue;
        if (!found || (*link)->ticket < (*found)->ticket)
            found = link;
    }
    if (!found)
        return NULL;
    at = *found;
    *found = at->next;
    at->next = NULL;
    return at;
}

static int resume_applied(struct sb_shard *shard)
{
    struct sb_parked *parked;
    int status = WIRE_OK;

    while (status == WIRE_OK && (parked = unpark(shard, 0, true)))
        status = resume(shard, parked);
    return status;
}

/* What ends a transaction helps others on, and its own owner has nothing else under way. */
static bool ends_transaction(struct wire_span request)
{
    return request.size > 1 && (request.data[1] == WIRE_ABORT || request.data[1] == WIRE_DECIDE);
}

static int refuse(struct sb_shard *shard, struct sb_parked *parked)
{
    struct wire_request request;
    struct wire_span none = {NULL, 0};
    int opened = wire_request_open(parked->bytes.data, parked->bytes.size, &request);
    int status = sb_shard_reply(shard, parked->token, opened == WIRE_OK ? request.operation : WIRE_WRITE,
                                WIRE_E_DISK_FULL, 0, 0, none, 0);

    sb_parked_free(parked);
    return status;
}

/* Requests that are not evaluated yet, and would not be before there is room on disk. */
static int refuse_waiting(struct sb_shard *shard)
{
    int status = WIRE_OK;

    for (struct sb_parked **link = &shard->parked; *link && status == WIRE_OK;) {
        struct sb_parked *at = *link;

        if (at->key_count > 0) {
            link = &at->next;
            continue;
        }
        *link = at->next;
        status = refuse(shard, at);
    }
    while (shard->deferred && status == WIRE_OK) {
        struct sb_parked *at = shard->deferred;

        shard->deferred = at->next;
        if (!shard->deferred)
            shard->deferred_end = &shard->deferred;
        status = refuse(shard, at);
    }
    return status;
}

/* Ask for what requests parked in this step are missing. */
static int collect_fetches(struct sb_shard *shard)
{
    int status = WIRE_OK;

    for (struct sb_parked *at = shard->parked; at && status == WIRE_OK; at = at->next) {
        if (at->key_count == 0 || at->fetched)
            continue;
        status =
            grow_array((void **) &shard->fetches, &shard->fetch_capacity, shard->fetch_count, sizeof(*shard->fetches));
        if (status == WIRE_OK) {
            at->fetched = true;
            shard->fetches[shard->fetch_count++] =
                (struct sb_fetch){.token = at->token, .keys = at->keys, .key_count = at->key_count};
        }
    }
    return status;
}

/* ---- events ---- */

static int apply_flight(struct sb_shard *shard, uint64_t unneeded)
{
    struct sb_flight *flight = shard->flights;
    struct wire_entry entry;
    int status = wire_entry_open(flight->bytes.data, flight->bytes.size, &entry);

    if (status == WIRE_OK)
        status = sb_apply(shard, &entry, sb_buffer_span(&flight->found), unneeded);
    if (status != WIRE_OK)
        return status;
    shard->flights = flight->next;
    if (!shard->flights)
        shard->flights_end = &shard->flights;
    shard->in_flight_bytes -= flight->bytes.size;
    free_flight(flight);
    return WIRE_OK;
}

/* The last of the entries that are applied as one portion: small, because readers of the newest version wait for it. */
static const struct sb_flight *portion_end(const struct sb_flight *from, uint64_t index)
{
    size_t bytes = from->bytes.size;
    size_t count = 1;

    while (!from->intents && from->next && from->next->index <= index && !from->next->intents &&
           count < PORTION_ENTRIES && bytes + from->next->bytes.size <= PORTION_BYTES) {
        from = from->next;
        bytes += from->bytes.size;
        count++;
    }
    return from;
}

/* A decision may have waited for the log for long. */
static bool must_keep_images(struct sb_shard *shard, const struct sb_flight *last)
{
    for (const struct sb_flight *at = shard->flights; at != last->next; at = at->next) {
        if (at->decides)
            shard->decided_ms = shard->now_ms;
    }
    return shard->decided_ms != 0 && shard->now_ms < shard->decided_ms + SB_KEEP_AFTER_DECISION_MS;
}

static int apply_durable(struct sb_shard *shard, uint64_t index)
{
    const struct sb_portions *portions = &shard->options.portions;
    int status = WIRE_OK;

    while (shard->flights && shard->flights->index <= index && status == WIRE_OK) {
        const struct sb_flight *last = portion_end(shard->flights, index);
        uint64_t last_index = last->index;
        uint64_t version = last->version;
        bool visible = portions->begin && !last->intents;
        uint64_t unneeded = visible ? portions->begin(portions->context, version, must_keep_images(shard, last)) : 0;

        if (unneeded > shard->given_up)
            shard->given_up = unneeded;
        while (shard->flights && shard->flights->index <= last_index && status == WIRE_OK)
            status = apply_flight(shard, unneeded);
        if (visible && status == WIRE_OK)
            portions->end(portions->context, version);
    }
    return status;
}

static int log_horizon(struct sb_shard *shard, uint64_t horizon)
{
    struct wire_effect effect = {.kind = WIRE_EFFECT_HORIZON, .number = horizon};
    struct sb_draft draft;
    int status;

    if (horizon <= shard->horizon || horizon > shard->applied.version)
        return WIRE_OK;
    shard->horizon = horizon;
    status = sb_draft_begin(shard, 0, &draft);
    if (status == WIRE_OK)
        status = sb_draft_add(&draft, &effect, SB_FOUND_UNKNOWN);
    return status == WIRE_OK ? sb_draft_seal(&draft) : status;
}

static int handle(struct sb_shard *shard, const struct sb_event *event)
{
    struct sb_parked *parked;
    int status;

    switch (event->kind) {
    case SB_EVENT_REQUEST:
        if ((shard->deferred || !has_room(shard)) && !ends_transaction(event->bytes))
            return defer(shard, event->token, event->bytes);
        return sb_evaluate(shard, event->token, event->bytes, NULL);
    case SB_EVENT_DURABLE:
        shard->full = false;
        status = apply_durable(shard, event->index);
        if (status == WIRE_OK)
            status = release_replies(shard);
        if (status == WIRE_OK)
            status = resume_applied(shard);
        return status == WIRE_OK ? resume_deferred(shard) : status;
    case SB_EVENT_FETCHED:
        parked = unpark(shard, event->token, false);
        if (!parked)
            return WIRE_OK;
        return shard->full ? refuse(shard, parked) : resume(shard, parked);
    case SB_EVENT_TICK:
        return log_horizon(shard, event->horizon);
    case SB_EVENT_FULL:
        shard->full = true;
        return refuse_waiting(shard);
    }
    return WIRE_OK;
}

static void begin_step(struct sb_shard *shard, uint64_t now_ms, struct sb_fault *fault)
{
    for (size_t i = 0; i < shard->reply_count; i++)
        sb_buffer_close(&shard->reply_buffers[i]);
    shard->reply_count = 0;
    shard->fetch_count = 0;
    if (shard->handed_out)
        shard->entry_count = 0; /* what was sealed before the first step is still to be handed out */
    shard->handed_out = false;
    shard->fault = fault;
    shard->now_ms = now_ms;
}

int sb_shard_step(struct sb_shard *shard, uint64_t now_ms, const struct sb_event *events, size_t count,
                  struct sb_step *out, struct sb_fault *fault)
{
    bool more = false;
    int status = WIRE_OK;

    begin_step(shard, now_ms, fault);
    for (size_t i = 0; i < count && status == WIRE_OK; i++)
        status = handle(shard, &events[i]);
    if (status == WIRE_OK)
        status = sb_settle(shard, &more);
    if (status == WIRE_OK)
        status = collect_fetches(shard);
    *out = (struct sb_step){.entries = shard->entries,
                            .entry_count = shard->entry_count,
                            .replies = shard->replies,
                            .reply_count = shard->reply_count,
                            .fetches = shard->fetches,
                            .fetch_count = shard->fetch_count,
                            .applied_version = shard->applied.version,
                            .applied_index = shard->applied.index,
                            .horizon = shard->applied.horizon,
                            .more = more};
    shard->handed_out = true;
    return status;
}

/* ---- life ---- */

static int load_transactions(struct sb_shard *shard)
{
    struct sb_meta_key low;
    struct sb_meta_key high;
    struct wire_span low_span = sb_meta_key_transaction(&low, 0);
    struct wire_span high_span = sb_meta_key_intents(&high, 0, 0);
    struct sb_iterator *it;
    int status = shard->store->iterate(shard->store->self, NULL, SB_ITEMS, low_span, high_span, &it, shard->fault);

    if (status != WIRE_OK)
        return status;
    for (it->seek(it->self, low_span); status == WIRE_OK && it->valid(it->self); it->next(it->self)) {
        struct wire_span key = it->key(it->self);
        struct sb_transaction transaction;
        struct wire_reader r = wire_reader_of(key.data, key.size);

        wire_read_bytes(&r, low.size - 8);
        status = sb_transaction_decode(wire_read_u64(&r), it->value(it->self), &transaction);
        if (status != WIRE_OK || wire_reader_finish(&r) != WIRE_OK)
            status =
                sb_fault_set(shard->fault, WIRE_E_CORRUPT, "a record of a transaction in the items store is malformed");
        if (status == WIRE_OK)
            status = sb_transactions_put(shard->applied_transactions, &transaction);
    }
    if (status == WIRE_OK)
        status = it->status(it->self, shard->fault);
    it->close(it->self);
    return status;
}

int sb_shard_open(const struct sb_shard_options *options, struct sb_shard **out, uint64_t *applied_index,
                  struct sb_fault *fault)
{
    struct sb_shard *shard = sb_alloc(sizeof(*shard));
    int status;

    if (!shard)
        return WIRE_E_NOMEM;
    shard->options = *options;
    shard->store = options->store;
    shard->applied_transactions = options->transactions;
    shard->flights_end = &shard->flights;
    shard->waiting_end = &shard->waiting;
    shard->deferred_end = &shard->deferred;
    shard->fault = fault;
    status = sb_overlay_open(&shard->overlay);
    if (status == WIRE_OK)
        status = sb_transactions_open(&shard->evaluated_transactions);
    if (status == WIRE_OK)
        status = sb_meta_applied(shard->store, false, &shard->applied, fault);
    if (status == WIRE_OK)
        status = load_transactions(shard);
    if (status != WIRE_OK) {
        sb_shard_close(shard);
        return status;
    }
    if (shard->applied.horizon)
        shard->store->set_horizon(shard->store->self, shard->applied.horizon);
    *applied_index = shard->applied.index;
    *out = shard;
    return WIRE_OK;
}

int sb_shard_replay(struct sb_shard *shard, const struct sb_log_entry *entry, struct sb_fault *fault)
{
    struct wire_entry opened;
    int status = wire_entry_open(entry->payload.data, entry->payload.size, &opened);

    shard->fault = fault;
    if (status != WIRE_OK || opened.index != entry->index || opened.term != entry->term || opened.group != entry->group)
        return sb_fault_set(fault, WIRE_E_CORRUPT, "log entry %llu is malformed: %s", (unsigned long long) entry->index,
                            wire_error_text(status == WIRE_OK ? WIRE_E_BAD_FORMAT : status));
    if (opened.index <= shard->applied.index)
        return WIRE_OK;
    return sb_apply(shard, &opened, (struct wire_span){NULL, 0}, 0);
}

/* Owners of undecided transactions are gone with the last process; what was prepared is for Postgres to decide. */
static int abort_orphans(struct sb_shard *shard)
{
    struct sb_transaction found;
    struct sb_draft draft;
    uint64_t after = 0;
    bool begun = false;
    int status = WIRE_OK;

    while (status == WIRE_OK && sb_transactions_next(shard->applied_transactions, after, &found) == WIRE_OK) {
        after = found.id;
        status = sb_transactions_put(shard->evaluated_transactions, &found);
        if (status != WIRE_OK || found.state != SB_TRANSACTION_PENDING)
            continue;
        if (!begun)
            status = sb_draft_begin(shard, 0, &draft);
        begun = true;
        if (status == WIRE_OK)
            status = sb_decide(&draft, &found, SB_TRANSACTION_ABORTED);
        if (status != WIRE_E_TOO_LARGE)
            continue;
        status = sb_draft_seal(&draft);
        begun = false;
        after = found.id - 1;
    }
    return status == WIRE_OK && begun ? sb_draft_seal(&draft) : status;
}

int sb_shard_start(struct sb_shard *shard, uint64_t term, uint64_t now_ms, struct sb_fault *fault)
{
    shard->fault = fault;
    shard->now_ms = now_ms;
    shard->term = term > shard->applied.term ? term : shard->applied.term;
    shard->last_index = shard->applied.index;
    shard->last_version = shard->applied.version;
    shard->horizon = shard->applied.horizon;
    shard->next_storage_id = shard->applied.next_storage_id ? shard->applied.next_storage_id : 1;
    shard->next_transaction = shard->applied.next_transaction ? shard->applied.next_transaction : 1;
    return abort_orphans(shard);
}

void sb_shard_close(struct sb_shard *shard)
{
    if (!shard)
        return;
    begin_step(shard, 0, NULL);
    free_flight(shard->drafting);
    while (shard->flights) {
        struct sb_flight *gone = shard->flights;

        shard->flights = gone->next;
        free_flight(gone);
    }
    while (shard->waiting) {
        struct sb_waiting *gone = shard->waiting;

        shard->waiting = gone->next;
        sb_buffer_close(&gone->bytes);
        sb_free(gone);
    }
    for (int i = 0; i < 2; i++) {
        struct sb_parked **list = i ? &shard->parked : &shard->deferred;

        while (*list) {
            struct sb_parked *gone = *list;

            *list = gone->next;
            sb_parked_free(gone);
        }
    }
    sb_overlay_close(&shard->overlay);
    sb_transactions_close(shard->evaluated_transactions);
    sb_free(shard->entries);
    sb_free(shard->replies);
    sb_free(shard->reply_buffers);
    sb_free(shard->fetches);
    sb_free(shard);
}

uint64_t sb_shard_prepared(struct sb_shard *shard, uint64_t after)
{
    struct sb_transaction found;
    uint64_t least = 0;
    uint64_t id = 0;

    while (sb_transactions_next(shard->evaluated_transactions, id, &found) == WIRE_OK) {
        id = found.id;
        if (found.state == SB_TRANSACTION_PREPARED && found.decider > after && (least == 0 || found.decider < least))
            least = found.decider;
    }
    return least;
}

void sb_shard_status(const struct sb_shard *shard, struct sb_shard_status *out)
{
    uint64_t parked = 0;

    for (const struct sb_parked *at = shard->parked; at; at = at->next)
        parked++;
    *out = (struct sb_shard_status){.applied_index = shard->applied.index,
                                    .in_flight_entries = shard->last_index - shard->applied.index,
                                    .locks = shard->overlay.lock_count,
                                    .parked = parked,
                                    .transactions = sb_transactions_count(shard->applied_transactions),
                                    .user_bytes = shard->user_bytes};
}
