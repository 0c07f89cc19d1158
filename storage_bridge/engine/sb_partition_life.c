/*
 * A partition's life: opened on what its store holds, following, leading, following again, closed.
 *
 * What leading makes (overlay, locks, the evaluated table of transactions, requests that wait) is made anew by
 * sb_partition_lead and given up by sb_partition_lose; entries in flight belong to the group's log and stay.
 */
#include "sb_partition_internal.h"

#define TERM_SHIFT 32 /* numbers of transactions are those of a term, above all of terms before */

static int load_transactions(struct sb_partition *partition)
{
    struct sb_meta_key low;
    struct sb_meta_key high;
    struct wire_span low_span = sb_meta_key_transaction(&low, partition->options.group, 0);
    struct wire_span high_span = sb_meta_key_first(&high, partition->options.group, SB_META_TRANSACTION + 1);
    struct sb_iterator *it;
    int status =
        partition->store->iterate(partition->store->self, NULL, SB_ITEMS, low_span, high_span, &it, partition->fault);

    if (status != WIRE_OK)
        return status;
    for (it->seek(it->self, low_span); status == WIRE_OK && it->valid(it->self); it->next(it->self)) {
        struct wire_span key = it->key(it->self);
        struct sb_transaction transaction;
        struct wire_reader r = wire_reader_of(key.data, key.size);

        wire_read_bytes(&r, low.size - 8);
        status = sb_transaction_decode(wire_read_u64(&r), it->value(it->self), &transaction);
        if (status != WIRE_OK || wire_reader_finish(&r) != WIRE_OK)
            status = sb_fault_set(partition->fault, WIRE_E_CORRUPT,
                                  "a record of a transaction in the items store is malformed");
        if (status == WIRE_OK)
            status = sb_transactions_put(partition->applied_transactions, &transaction);
    }
    if (status == WIRE_OK)
        status = it->status(it->self, partition->fault);
    it->close(it->self);
    return status;
}

/* What the store holds of the group. */
static int load(struct sb_partition *partition)
{
    int status =
        sb_meta_applied(partition->store, partition->options.group, false, &partition->applied, partition->fault);

    if (status == WIRE_OK)
        status = load_transactions(partition);
    if (status != WIRE_OK)
        return status;
    if (partition->applied.horizon)
        partition->store->set_horizon(partition->store->self, partition->applied.horizon);
    partition->last_index = partition->applied.index;
    partition->last_version = partition->applied.version;
    return WIRE_OK;
}

int sb_partition_reload(struct sb_partition *partition)
{
    struct sb_transaction found;
    int status;

    while (sb_transactions_next(partition->applied_transactions, 0, &found) == WIRE_OK)
        sb_transactions_remove(partition->applied_transactions, found.id);
    partition->configured_index = 0;
    status = load(partition);
    /* The source kept only what its own readers needed. */
    if (partition->applied.version > partition->given_up)
        partition->given_up = partition->applied.version;
    return status;
}

int sb_partition_open(const struct sb_partition_options *options, struct sb_partition **out, struct sb_fault *fault)
{
    struct sb_partition *partition = sb_alloc(sizeof(*partition));
    int status;

    if (!partition)
        return WIRE_E_NOMEM;
    partition->options = *options;
    partition->store = options->store;
    partition->applied_transactions = options->transactions;
    partition->waiting_end = &partition->waiting;
    partition->deferred_end = &partition->deferred;
    partition->fault = fault;
    status = sb_overlay_open(&partition->overlay);
    if (status == WIRE_OK)
        status = sb_transactions_open(&partition->evaluated_transactions);
    if (status == WIRE_OK)
        status = load(partition);
    if (status != WIRE_OK) {
        sb_partition_close(partition);
        return status;
    }
    *out = partition;
    return WIRE_OK;
}

/* Is this what the log says it is? */
static int open_entry(struct sb_partition *partition, const struct sb_log_entry *entry, struct wire_span bytes,
                      struct wire_entry *out)
{
    int status = wire_entry_open(bytes.data, bytes.size, out);

    if (status == WIRE_OK && (out->index != entry->index || out->term != entry->term || out->group != entry->group ||
                              out->version <= partition->last_version))
        status = WIRE_E_BAD_FORMAT;
    return status == WIRE_OK ? WIRE_OK
                             : sb_fault_set(partition->fault, WIRE_E_CORRUPT, "log entry %llu is malformed: %s",
                                            (unsigned long long) entry->index, wire_error_text(status));
}

int sb_partition_replay(struct sb_partition *partition, const struct sb_log_entry *entry, struct sb_fault *fault)
{
    struct wire_entry opened;
    int status;

    partition->fault = fault;
    status = open_entry(partition, entry, entry->payload, &opened);
    if (status == WIRE_OK)
        status = sb_apply(partition, &opened, (struct wire_span){NULL, 0}, 0);
    partition->last_index = partition->applied.index;
    partition->last_version = partition->applied.version;
    return status;
}

int sb_partition_append(struct sb_partition *partition, const struct sb_log_entry *entry, struct sb_buffer *bytes)
{
    struct sb_flight *flight = sb_alloc(sizeof(*flight));
    struct wire_entry opened;
    struct wire_entry walk;
    struct wire_effect effect;
    int status = flight ? open_entry(partition, entry, sb_buffer_span(bytes), &opened) : WIRE_E_NOMEM;

    if (status == WIRE_OK && entry->index != partition->last_index + 1)
        status = sb_fault_set(partition->fault, WIRE_E_INTERNAL, "log entry %llu does not follow the last one",
                              (unsigned long long) entry->index);
    if (status != WIRE_OK) {
        sb_free(flight);
        return status;
    }
    *flight = (struct sb_flight){.index = opened.index,
                                 .term = opened.term,
                                 .version = opened.version,
                                 .intents = opened.transaction != 0,
                                 .bytes = *bytes};
    *bytes = (struct sb_buffer){0};
    walk = opened;
    while (wire_entry_next(&walk, &effect) == WIRE_OK)
        flight->decides |= effect.kind == WIRE_EFFECT_COMMIT;
    status = sb_flights_add(&partition->flights, flight);
    if (status != WIRE_OK) {
        sb_flight_free(flight);
        return status;
    }
    partition->last_index = opened.index;
    partition->last_version = opened.version;
    return WIRE_OK;
}

void sb_partition_truncate(struct sb_partition *partition, uint64_t index, struct sb_flight **dropped)
{
    const struct sb_flight *last;

    sb_flights_drop(&partition->flights, index, dropped);
    partition->last_index = partition->applied.index;
    partition->last_version = partition->applied.version;
    if (partition->flights.count == 0)
        return;
    last = sb_flights_at(&partition->flights, partition->flights.count - 1);
    partition->last_index = last->index;
    partition->last_version = last->version;
}

int sb_partition_flight(const struct sb_partition *partition, uint64_t index, struct wire_span *bytes, uint64_t *term)
{
    const struct sb_flight *flight = sb_flights_find(&partition->flights, index);

    if (!flight)
        return WIRE_E_NOT_FOUND;
    *bytes = sb_buffer_span(&flight->bytes);
    *term = flight->term;
    return WIRE_OK;
}

uint64_t sb_partition_version(const struct sb_partition *partition, uint64_t index, uint64_t term)
{
    const struct sb_flight *flight = sb_flights_find(&partition->flights, index);

    if (flight)
        return flight->term == term ? flight->version : 0;
    return index == partition->applied.index && term == partition->applied.term ? partition->applied.version : 0;
}

/* Nobody holds their locks any more; what was prepared is for its decider to decide. */
static int abort_orphans(struct sb_partition *partition)
{
    struct sb_transaction found;
    struct sb_draft draft;
    uint64_t after = 0;
    bool begun = false;
    int status = WIRE_OK;

    while (status == WIRE_OK && sb_transactions_next(partition->applied_transactions, after, &found) == WIRE_OK) {
        after = found.id;
        status = sb_transactions_put(partition->evaluated_transactions, &found);
        if (status != WIRE_OK || found.state != SB_TRANSACTION_PENDING)
            continue;
        if (!begun)
            status = sb_draft_begin(partition, 0, &draft);
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

int sb_partition_lead(struct sb_partition *partition, uint64_t term)
{
    int status;

    if (partition->leads || partition->flights.count > 0)
        return sb_fault_set(partition->fault, WIRE_E_INTERNAL,
                            "a replica was told to lead before it had applied its log");
    sb_transactions_close(partition->evaluated_transactions);
    partition->evaluated_transactions = NULL;
    status = sb_transactions_open(&partition->evaluated_transactions);
    if (status != WIRE_OK)
        return status;
    partition->leads = true;
    partition->paused = false;
    partition->term = term;
    partition->horizon = partition->applied.horizon;
    partition->next_storage_id = partition->applied.next_storage_id ? partition->applied.next_storage_id : 1;
    /* What a leader before has told of may be lost, and its asker not know it: no number is given twice. */
    partition->next_transaction = partition->applied.next_transaction;
    if (partition->next_transaction < term << TERM_SHIFT)
        partition->next_transaction = term << TERM_SHIFT;
    status = abort_orphans(partition);
    return status == WIRE_OK ? sb_partition_resume(partition) : status;
}

int sb_partition_lose(struct sb_partition *partition, uint64_t leader)
{
    struct sb_flight *dropped = NULL;
    int status;

    partition->leads = partition->paused = false;
    if (!partition->handed_out && partition->entry_count > 0) {
        sb_partition_truncate(partition, partition->entries[0].index, &dropped);
        partition->entry_count = 0;
        sb_flights_free(dropped);
    }
    partition->settling = (struct sb_settling){0};
    partition->settled_through = 0;
    partition->unwritten_release = 0;
    sb_overlay_close(&partition->overlay);
    status = sb_overlay_open(&partition->overlay);
    return status == WIRE_OK ? sb_partition_dismiss(partition, leader) : status;
}

const struct sb_applied *sb_partition_applied(const struct sb_partition *partition)
{
    return &partition->applied;
}

uint64_t sb_partition_last_version(const struct sb_partition *partition)
{
    return partition->last_version;
}

bool sb_partition_leads(const struct sb_partition *partition)
{
    return partition->leads;
}

uint64_t sb_partition_term(const struct sb_partition *partition)
{
    return partition->leads ? partition->term : 0;
}

void sb_partition_pause(struct sb_partition *partition)
{
    partition->paused = true;
}

bool sb_partition_waits(const struct sb_partition *partition)
{
    const struct sb_parked *at = partition->parked;

    while (at && at->dismissed)
        at = at->next;
    return at || partition->waiting || partition->deferred;
}

uint64_t sb_partition_configured(struct sb_partition *partition, struct wire_configuration *out)
{
    uint64_t index = partition->configured_index;

    *out = partition->configuration;
    partition->configured_index = 0;
    return index;
}

void sb_partition_close(struct sb_partition *partition)
{
    if (!partition)
        return;
    sb_partition_begin(partition, 0, NULL);
    sb_flight_free(partition->drafting);
    sb_flights_close(&partition->flights);
    while (partition->waiting) {
        struct sb_waiting *gone = partition->waiting;

        partition->waiting = gone->next;
        sb_buffer_close(&gone->bytes);
        sb_free(gone);
    }
    for (int i = 0; i < 2; i++) {
        struct sb_parked **list = i ? &partition->parked : &partition->deferred;

        while (*list) {
            struct sb_parked *gone = *list;

            *list = gone->next;
            sb_parked_free(gone);
        }
    }
    sb_overlay_close(&partition->overlay);
    sb_transactions_close(partition->evaluated_transactions);
    sb_free(partition->entries);
    sb_free(partition->replies);
    sb_free(partition->reply_buffers);
    sb_free(partition->fetches);
    sb_free(partition);
}

uint64_t sb_partition_prepared(struct sb_partition *partition, uint64_t after)
{
    struct sb_transaction found;
    struct sb_transactions *table =
        partition->leads ? partition->evaluated_transactions : partition->applied_transactions;
    uint64_t least = 0;
    uint64_t id = 0;

    while (sb_transactions_next(table, id, &found) == WIRE_OK) {
        id = found.id;
        if (found.state == SB_TRANSACTION_PREPARED && found.decider > after && (least == 0 || found.decider < least))
            least = found.decider;
    }
    return least;
}

void sb_partition_status(const struct sb_partition *partition, struct sb_partition_status *out)
{
    uint64_t parked = 0;

    for (const struct sb_parked *at = partition->parked; at; at = at->next)
        parked++;
    *out = (struct sb_partition_status){.applied_index = partition->applied.index,
                                        .in_flight_entries = partition->last_index - partition->applied.index,
                                        .locks = partition->overlay.lock_count,
                                        .parked = parked,
                                        .transactions = sb_transactions_count(partition->applied_transactions),
                                        .user_bytes = partition->user_bytes};
}
