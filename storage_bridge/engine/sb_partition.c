/*
 * See sb_partition.h. Events in; entries, fetches and replies out. Evaluation is in sb_evaluate.c, applying in sb_apply.c.
 *
 * An entry's life: drafted (index and version taken) -> sealed (in the overlay, handed out to be logged) -> COMMITTED
 * -> applied (left the overlay) -> freed. Replies wait in index order for what they depend on.
 */
#include "sb_partition_internal.h"

#define PORTION_ENTRIES 32
#define PORTION_BYTES ((size_t) 256 * 1024)

/* ---- entries ---- */

int sb_draft_begin(struct sb_partition *partition, uint64_t transaction, struct sb_draft *draft)
{
    struct wire_entry_builder builder;
    struct wire_writer w;
    int status;

    *draft = (struct sb_draft){.partition = partition, .last_version = partition->last_version};
    draft->flight = sb_alloc(sizeof(*draft->flight));
    if (!draft->flight)
        return WIRE_E_NOMEM;
    status = sb_buffer_reserve(&draft->flight->bytes, 1024);
    if (status != WIRE_OK) {
        sb_free(draft->flight);
        return status;
    }
    partition->drafting = draft->flight;
    draft->header = (struct wire_entry){.group = partition->options.group,
                                        .term = partition->term,
                                        .index = partition->last_index + 1,
                                        .version = wire_clock_next(partition->last_version, partition->now_ms),
                                        .transaction = transaction};
    draft->flight->index = draft->header.index;
    draft->flight->term = draft->header.term;
    draft->flight->version = draft->header.version;
    draft->flight->intents = transaction != 0;
    partition->last_index = draft->header.index;
    partition->last_version = draft->header.version;
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
static int overlay_entry(struct sb_partition *partition, const struct wire_entry *header, struct wire_span bytes)
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
            status = sb_overlay_put(&partition->overlay, effect.key, effect.item, false, stamp, header->index);
        else if (effect.kind == WIRE_EFFECT_DELETE)
            status = sb_overlay_put(&partition->overlay, effect.key, effect.item, true, stamp, header->index);
    }
    return status;
}

int sb_draft_seal(struct sb_draft *draft)
{
    struct sb_partition *partition = draft->partition;
    struct sb_flight *flight = draft->flight;
    struct wire_writer w = wire_writer_of(flight->bytes.data, flight->bytes.capacity);
    struct wire_entry_builder builder = {.w = &w, .start = 0, .effect_count = draft->effect_count};
    int status;

    w.size = flight->bytes.size;
    status = wire_entry_end(&builder);
    flight->bytes.size = w.size;
    if (status == WIRE_OK)
        status = sb_flights_add(&partition->flights, flight);
    if (status == WIRE_OK)
        partition->drafting = NULL;
    if (status == WIRE_OK)
        status = overlay_entry(partition, &draft->header, sb_buffer_span(&flight->bytes));
    if (status == WIRE_OK)
        status = sb_array_grow((void **) &partition->entries, &partition->entry_capacity, partition->entry_count,
                               sizeof(*partition->entries));
    if (status != WIRE_OK)
        return status == WIRE_E_NOMEM
                   ? status
                   : sb_fault_set(partition->fault, WIRE_E_INTERNAL, "a log entry could not be built");
    partition->entries[partition->entry_count++] = (struct sb_log_entry){.group = draft->header.group,
                                                                         .index = draft->header.index,
                                                                         .term = draft->header.term,
                                                                         .payload = sb_buffer_span(&flight->bytes)};
    return WIRE_OK;
}

void sb_draft_drop(struct sb_draft *draft)
{
    draft->partition->last_index--;
    draft->partition->last_version = draft->last_version; /* another leader's entry may come next, and be of less */
    draft->partition->drafting = NULL;
    sb_flight_free(draft->flight);
    draft->flight = NULL;
}

/* ---- replies ---- */

/* One that tells of no change may come from a leader that was deposed and does not know: that an entry it depended on
 * is committed proves nothing, for others may have gone on from that entry. */
static int send_reply(struct sb_partition *partition, uint64_t token, enum wire_operation operation, bool undone,
                      struct sb_buffer *bytes)
{
    size_t capacity = partition->reply_capacity;
    int status =
        sb_array_grow((void **) &partition->replies, &capacity, partition->reply_count, sizeof(*partition->replies));

    if (status == WIRE_OK && capacity != partition->reply_capacity) {
        struct sb_buffer *buffers = sb_realloc(partition->reply_buffers, capacity * sizeof(*buffers));

        if (!buffers)
            return WIRE_E_NOMEM;
        partition->reply_buffers = buffers;
        partition->reply_capacity = capacity;
    }
    if (status != WIRE_OK)
        return status;
    partition->reply_buffers[partition->reply_count] = *bytes;
    partition->replies[partition->reply_count] = (struct sb_reply){
        .token = token,
        .operation = operation,
        .believed = undone && partition->leads && (operation == WIRE_WRITE || operation == WIRE_DECIDE),
        .bytes = sb_buffer_span(bytes)};
    partition->reply_count++;
    *bytes = (struct sb_buffer){0};
    return WIRE_OK;
}

int sb_partition_reply(struct sb_partition *partition, uint64_t token, enum wire_operation operation, int status,
                       uint32_t detail, uint64_t snapshot, struct wire_span body, uint64_t depends)
{
    struct wire_reply header = {.status = status, .detail = detail, .snapshot = snapshot};
    bool undone = status != WIRE_OK || (operation == WIRE_WRITE && snapshot == 0);
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
    if (depends <= partition->applied.index) {
        result = send_reply(partition, token, operation, undone, &bytes);
        sb_buffer_close(&bytes);
        return result;
    }
    waiting = sb_alloc(sizeof(*waiting));
    if (!waiting) {
        sb_buffer_close(&bytes);
        return WIRE_E_NOMEM;
    }
    *waiting =
        (struct sb_waiting){.index = depends, .token = token, .operation = operation, .undone = undone, .bytes = bytes};
    /* Nearly always the newest; a refusal may depend on an older entry and goes before. */
    link = depends >= partition->waiting_newest ? partition->waiting_end : &partition->waiting;
    while (*link && (*link)->index <= depends)
        link = &(*link)->next;
    waiting->next = *link;
    *link = waiting;
    if (!waiting->next) {
        partition->waiting_end = &waiting->next;
        partition->waiting_newest = depends;
    }
    return WIRE_OK;
}

static int release_replies(struct sb_partition *partition)
{
    while (partition->waiting && partition->waiting->index <= partition->applied.index) {
        struct sb_waiting *ready = partition->waiting;
        int status = send_reply(partition, ready->token, ready->operation, ready->undone, &ready->bytes);

        if (status != WIRE_OK)
            return status;
        partition->waiting = ready->next;
        if (!partition->waiting) {
            partition->waiting_end = &partition->waiting;
            partition->waiting_newest = 0;
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

int sb_park(struct sb_partition *partition, uint64_t token, struct wire_span bytes, struct sb_parked *parked,
            struct sb_parked **out)
{
    if (!parked) {
        parked = sb_alloc(sizeof(*parked));
        if (!parked || sb_span_copy(bytes, &parked->bytes) != WIRE_OK) {
            sb_free(parked);
            return WIRE_E_NOMEM;
        }
        parked->token = token;
    } else {
        for (size_t i = 0; i < parked->key_count; i++)
            sb_span_free(&parked->keys[i]);
        sb_free(parked->keys);
        parked->keys = NULL;
        parked->key_count = parked->key_capacity = 0;
    }
    if (parked->ticket == 0)
        parked->ticket = ++partition->tickets;
    parked->index = 0;
    parked->next = partition->parked;
    partition->parked = parked;
    *out = parked;
    return WIRE_OK;
}

/* Judge a waiting request again. It is off its list. */
static int resume(struct sb_partition *partition, struct sb_parked *parked)
{
    int status = sb_evaluate(partition, parked->token, parked->bytes, parked);

    for (struct sb_parked *at = partition->parked; at; at = at->next) {
        if (at == parked)
            return status;
    }
    sb_parked_free(parked);
    return status;
}

static int defer(struct sb_partition *partition, uint64_t token, struct wire_span bytes)
{
    struct sb_parked *deferred = sb_alloc(sizeof(*deferred));

    if (!deferred || sb_span_copy(bytes, &deferred->bytes) != WIRE_OK) {
        sb_free(deferred);
        return WIRE_E_NOMEM;
    }
    deferred->token = token;
    *partition->deferred_end = deferred;
    partition->deferred_end = &deferred->next;
    return WIRE_OK;
}

static bool takes_requests(const struct sb_partition *partition)
{
    return partition->leads && !partition->paused && partition->flights.bytes < partition->options.max_in_flight_bytes;
}

int sb_partition_resume(struct sb_partition *partition)
{
    int status = WIRE_OK;

    while (partition->deferred && takes_requests(partition) && status == WIRE_OK) {
        struct sb_parked *next = partition->deferred;

        partition->deferred = next->next;
        if (!partition->deferred)
            partition->deferred_end = &partition->deferred;
        next->next = NULL;
        status = resume(partition, next);
    }
    return status;
}

/* Take one parked request off the list: whose keys were fetched, or (ticket 0) the oldest of those whose entry is
 * applied. */
static struct sb_parked *unpark(struct sb_partition *partition, uint64_t ticket)
{
    struct sb_parked **found = NULL;
    struct sb_parked *at;

    for (struct sb_parked **link = &partition->parked; *link; link = &(*link)->next) {
        if (ticket == 0 ? (*link)->key_count > 0 || (*link)->index > partition->applied.index
                        : (*link)->ticket != ticket || (*link)->key_count == 0)
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

static int resume_applied(struct sb_partition *partition)
{
    struct sb_parked *parked;
    int status = WIRE_OK;

    while (status == WIRE_OK && (parked = unpark(partition, 0)))
        status = resume(partition, parked);
    return status;
}

/* What ends a transaction helps others on, and its own owner has nothing else under way. */
static bool ends_transaction(struct wire_span request)
{
    return request.size > 1 && (request.data[1] == WIRE_ABORT || request.data[1] == WIRE_DECIDE);
}

static int refuse(struct sb_partition *partition, const struct sb_parked *parked, int code, uint64_t leader)
{
    struct wire_request request;
    struct wire_span none = {NULL, 0};
    int opened = wire_request_open(parked->bytes.data, parked->bytes.size, &request);

    return sb_partition_reply(partition, parked->token, opened == WIRE_OK ? request.operation : WIRE_WRITE, code, 0,
                              leader, none, 0);
}

/* On a full disk what ends a transaction goes on waiting. */
static int refuse_deferred(struct sb_partition *partition, int code, uint64_t leader)
{
    struct sb_parked **link = &partition->deferred;
    int status = WIRE_OK;

    while (*link && status == WIRE_OK) {
        struct sb_parked *at = *link;

        if (code == WIRE_E_DISK_FULL && ends_transaction(at->bytes)) {
            link = &at->next;
            continue;
        }
        *link = at->next;
        status = refuse(partition, at, code, leader);
        sb_parked_free(at);
    }
    while (*link)
        link = &(*link)->next;
    partition->deferred_end = link;
    return status;
}

/* Requests that are not evaluated yet, and would not be before there is room on disk. */
static int refuse_waiting(struct sb_partition *partition)
{
    int status = WIRE_OK;

    for (struct sb_parked **link = &partition->parked; *link && status == WIRE_OK;) {
        struct sb_parked *at = *link;

        if (at->key_count > 0) {
            link = &at->next;
            continue;
        }
        *link = at->next;
        status = refuse(partition, at, WIRE_E_DISK_FULL, 0);
        sb_parked_free(at);
    }
    return status == WIRE_OK ? refuse_deferred(partition, WIRE_E_DISK_FULL, 0) : status;
}

/* The locks are gone, and with them every promise that is not in the log. Keys that are being fetched stay until that
 * is done. */
int sb_partition_dismiss(struct sb_partition *partition, uint64_t leader)
{
    int status = WIRE_OK;

    if (leader == SB_LEADER_SOON)
        leader = 0;
    else
        status = refuse_deferred(partition, WIRE_E_NOT_LEADER, leader);
    for (struct sb_parked **link = &partition->parked; *link && status == WIRE_OK;) {
        struct sb_parked *at = *link;

        if (!at->dismissed)
            status = refuse(partition, at, WIRE_E_NOT_LEADER, leader);
        at->dismissed = true;
        if (at->key_count > 0 && at->fetched) {
            link = &at->next;
            continue;
        }
        *link = at->next;
        sb_parked_free(at);
    }
    while (partition->waiting && status == WIRE_OK) {
        struct sb_waiting *gone = partition->waiting;
        struct wire_span none = {NULL, 0};

        partition->waiting = gone->next;
        status = sb_partition_reply(partition, gone->token, gone->operation,
                                    gone->undone ? WIRE_E_NOT_LEADER : WIRE_E_UNKNOWN_OUTCOME, 0, leader, none, 0);
        sb_buffer_close(&gone->bytes);
        sb_free(gone);
    }
    partition->waiting_end = &partition->waiting;
    partition->waiting_newest = 0;
    return status;
}

/* Ask for what requests parked in this step are missing. */
static int collect_fetches(struct sb_partition *partition)
{
    int status = WIRE_OK;

    for (struct sb_parked *at = partition->parked; at && status == WIRE_OK; at = at->next) {
        if (at->key_count == 0 || at->fetched)
            continue;
        status = sb_array_grow((void **) &partition->fetches, &partition->fetch_capacity, partition->fetch_count,
                               sizeof(*partition->fetches));
        if (status == WIRE_OK) {
            at->fetched = true;
            partition->fetches[partition->fetch_count++] = (struct sb_fetch){
                .group = partition->options.group, .token = at->ticket, .keys = at->keys, .key_count = at->key_count};
        }
    }
    return status;
}

/* ---- events ---- */

static int apply_flight(struct sb_partition *partition, uint64_t unneeded)
{
    const struct sb_flight *flight = sb_flights_at(&partition->flights, 0);
    struct wire_entry entry;
    int status = wire_entry_open(flight->bytes.data, flight->bytes.size, &entry);

    if (status == WIRE_OK)
        status = sb_apply(partition, &entry, sb_buffer_span(&flight->found), unneeded);
    if (status == WIRE_OK)
        sb_flight_free(sb_flights_take_first(&partition->flights));
    return status;
}

/* How many entries are applied as one portion: few, because readers of the newest version wait for it. */
static size_t portion_size(const struct sb_flights *flights, uint64_t index)
{
    const struct sb_flight *first = sb_flights_at(flights, 0);
    size_t bytes = first->bytes.size;
    size_t count = 1;

    while (!first->intents && count < flights->count && count < PORTION_ENTRIES) {
        const struct sb_flight *next = sb_flights_at(flights, count);

        bytes += next->bytes.size;
        if (next->index > index || next->intents || bytes > PORTION_BYTES)
            break;
        count++;
    }
    return count;
}

/* A decision may have waited for the log for long. */
static bool must_keep_images(struct sb_partition *partition, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sb_flights_at(&partition->flights, i)->decides)
            partition->decided_ms = partition->now_ms;
    }
    return partition->decided_ms != 0 && partition->now_ms < partition->decided_ms + SB_KEEP_AFTER_DECISION_MS;
}

static int apply_committed(struct sb_partition *partition, uint64_t index)
{
    const struct sb_portions *portions = &partition->options.portions;
    int status = WIRE_OK;

    while (partition->applied.index < index && partition->flights.count > 0 && status == WIRE_OK) {
        size_t count = portion_size(&partition->flights, index);
        const struct sb_flight *last = sb_flights_at(&partition->flights, count - 1);
        uint64_t version = last->version;
        bool visible = portions->begin && !last->intents;
        uint64_t unneeded = 0;

        if (visible)
            unneeded = portions->begin(portions->context, version, must_keep_images(partition, count));
        if (unneeded > partition->given_up)
            partition->given_up = unneeded;
        while (count-- > 0 && status == WIRE_OK)
            status = apply_flight(partition, unneeded);
        if (visible && status == WIRE_OK)
            portions->end(portions->context, version);
    }
    return status;
}

static int log_horizon(struct sb_partition *partition, uint64_t horizon)
{
    struct wire_effect effect = {.kind = WIRE_EFFECT_HORIZON, .number = horizon};
    struct sb_draft draft;
    int status;

    if (!partition->leads || horizon <= partition->horizon || horizon > partition->applied.version)
        return WIRE_OK;
    partition->horizon = horizon;
    status = sb_draft_begin(partition, 0, &draft);
    if (status == WIRE_OK)
        status = sb_draft_add(&draft, &effect, SB_FOUND_UNKNOWN);
    return status == WIRE_OK ? sb_draft_seal(&draft) : status;
}

int sb_partition_event(struct sb_partition *partition, const struct sb_event *event)
{
    struct sb_parked *parked;
    int status;

    switch (event->kind) {
    case SB_EVENT_REQUEST:
        if (!partition->leads ||
            ((partition->deferred || !takes_requests(partition)) && !ends_transaction(event->bytes)))
            return defer(partition, event->token, event->bytes);
        return sb_evaluate(partition, event->token, event->bytes, NULL);
    case SB_EVENT_COMMITTED:
        partition->full = false;
        status = apply_committed(partition, event->index);
        if (status == WIRE_OK)
            status = release_replies(partition);
        if (status == WIRE_OK)
            status = resume_applied(partition);
        return status == WIRE_OK ? sb_partition_resume(partition) : status;
    case SB_EVENT_FETCHED:
        parked = unpark(partition, event->token);
        if (!parked || parked->dismissed) {
            if (parked)
                sb_parked_free(parked);
            return WIRE_OK;
        }
        if (!partition->full)
            return resume(partition, parked);
        status = refuse(partition, parked, WIRE_E_DISK_FULL, 0);
        sb_parked_free(parked);
        return status;
    case SB_EVENT_TICK:
        return log_horizon(partition, event->horizon);
    case SB_EVENT_FULL:
        partition->full = true;
        return refuse_waiting(partition);
    default:
        return WIRE_E_INTERNAL;
    }
}

void sb_partition_begin(struct sb_partition *partition, uint64_t now_ms, struct sb_fault *fault)
{
    for (size_t i = 0; i < partition->reply_count; i++)
        sb_buffer_close(&partition->reply_buffers[i]);
    partition->reply_count = 0;
    partition->fetch_count = 0;
    if (partition->handed_out)
        partition->entry_count = 0;
    partition->handed_out = false;
    partition->fault = fault;
    partition->now_ms = now_ms;
}

int sb_partition_end(struct sb_partition *partition, struct sb_outcome *out)
{
    bool more = false;
    int status = partition->leads && !partition->paused ? sb_settle(partition, &more) : WIRE_OK;

    if (status == WIRE_OK)
        status = collect_fetches(partition);
    *out = (struct sb_outcome){.entries = partition->entries,
                               .entry_count = partition->entry_count,
                               .replies = partition->replies,
                               .reply_count = partition->reply_count,
                               .fetches = partition->fetches,
                               .fetch_count = partition->fetch_count,
                               .more = more};
    partition->handed_out = true;
    return status;
}
