/*
 * Applying log entries to the store: one atomic batch per entry, the applied index in it. Deterministic: depends on the
 * entry and the state before it only.
 *
 * PUT and DELETE move what they supersede to the history family, unless the write is final and no snapshot needs the
 * image: that alone is each node's own affair, and no read at or above its horizon can tell. A transaction's intents are stamped with its id
 * instead of a version; its decision changes the table of transactions only; SETTLE then rewrites the stamps one by
 * one. No entry names a key twice.
 */
#include "sb_partition_internal.h"

#include "sb_history.h"
#include "wire_key.h"

/* The batch of one entry: changes whose bytes live in `bytes` at offsets, because the buffer moves while it grows. */
struct pending_change {
    enum sb_change_kind kind;
    enum sb_family family;
    size_t key_at;
    size_t key_size;
    size_t value_at;
    size_t value_size;
};

struct batch {
    struct sb_partition *partition;
    const struct wire_entry *entry;
    struct wire_span found; /* of the PUTs and DELETEs from the next one on */
    uint64_t unneeded;
    struct sb_buffer bytes;
    struct sb_buffer changes; /* struct pending_change[] */
    struct sb_buffer intents; /* (span key)* of this entry's transaction */
    uint64_t intent_count;
};

static int add(struct batch *batch, enum sb_change_kind kind, enum sb_family family, struct wire_span key,
               struct wire_span value)
{
    struct pending_change change = {.kind = kind, .family = family, .key_at = batch->bytes.size, .key_size = key.size};
    int status = sb_buffer_append(&batch->bytes, key.data, key.size);

    change.value_at = batch->bytes.size;
    change.value_size = value.size;
    if (status == WIRE_OK)
        status = sb_buffer_append(&batch->bytes, value.data, value.size);
    return status == WIRE_OK ? sb_buffer_append(&batch->changes, &change, sizeof(change)) : status;
}

/* Put an item with another stamp than the bytes carry. */
static int add_item(struct batch *batch, struct wire_span key, struct wire_span item, uint64_t stamp)
{
    size_t at = batch->bytes.size + key.size;
    int status = add(batch, SB_PUT, SB_ITEMS, key, item);

    if (status == WIRE_OK)
        wire_item_set_version(batch->bytes.data + at, stamp);
    return status;
}

/* An image into the history family. */
static int add_history(struct batch *batch, struct wire_span key, struct wire_span item, uint64_t version,
                       uint64_t superseded_at)
{
    struct sb_history_key history_key;
    struct wire_span at_key = sb_history_key(&history_key, key, version);
    struct pending_change change = {
        .kind = SB_PUT, .family = SB_HISTORY, .key_at = batch->bytes.size, .key_size = at_key.size};
    uint8_t stamp[8];
    struct wire_writer w = wire_writer_of(stamp, sizeof(stamp));
    int status = sb_buffer_append(&batch->bytes, at_key.data, at_key.size);

    wire_write_u64(&w, superseded_at);
    change.value_at = batch->bytes.size;
    change.value_size = sizeof(stamp) + item.size;
    if (status == WIRE_OK)
        status = sb_buffer_append(&batch->bytes, stamp, sizeof(stamp));
    if (status == WIRE_OK)
        status = sb_buffer_append(&batch->bytes, item.data, item.size);
    if (status == WIRE_OK)
        wire_item_set_version(batch->bytes.data + change.value_at + sizeof(stamp), version);
    return status == WIRE_OK ? sb_buffer_append(&batch->changes, &change, sizeof(change)) : status;
}

static int damaged(struct batch *batch, const char *what)
{
    return sb_fault_set(batch->partition->fault, WIRE_E_CORRUPT, "log entry %llu cannot be applied: %s",
                        (unsigned long long) batch->entry->index, what);
}

/* The image that an aborted intent replaced is current again: whoever supersedes it does so now. */
static int supersede_before_aborted(struct batch *batch, struct wire_span key, uint64_t aborted, uint64_t stamp)
{
    struct sb_buffer image = {0};
    uint64_t version;
    int status =
        sb_history_find_superseded(batch->partition->store, key, aborted, &image, &version, batch->partition->fault);

    if (status == WIRE_OK)
        status = add_history(batch, key, sb_buffer_span(&image), version, stamp);
    else if (status == WIRE_E_NOT_FOUND)
        status = WIRE_OK;
    sb_buffer_close(&image);
    return status;
}

/* What evaluation knew of the key of the next PUT or DELETE. */
static enum sb_found next_found(struct batch *batch)
{
    enum sb_found found = SB_FOUND_UNKNOWN;

    if (batch->found.size > 0) {
        found = (enum sb_found) batch->found.data[0];
        batch->found.data++;
        batch->found.size--;
    }
    return found;
}

/* Move what lies under `key` to the history, superseded by `stamp`. *present: SB_ITEMS has something under the key. */
static int supersede(struct batch *batch, struct wire_span key, uint64_t stamp, bool *present)
{
    struct sb_partition *partition = batch->partition;
    bool unneeded = stamp <= batch->unneeded; /* no intent's stamp is */
    enum sb_found known = next_found(batch);
    enum sb_transaction_state state;
    struct sb_value value;
    uint64_t found;
    uint64_t version;
    int status;

    *present = known == SB_FOUND_FINAL;
    if (known == SB_FOUND_NOTHING || (known == SB_FOUND_FINAL && unneeded))
        return WIRE_OK;
    status = partition->store->get(partition->store->self, SB_ITEMS, key, SB_TIER_ALL, &value, partition->fault);
    *present = status == WIRE_OK;
    if (status != WIRE_OK)
        return status == WIRE_E_NOT_FOUND ? WIRE_OK : status;
    if (value.bytes.size < WIRE_ITEM_HEADER_SIZE)
        status = damaged(batch, "the item it replaces is malformed");
    else {
        found = wire_item_version(value.bytes.data);
        version = sb_transactions_version(partition->applied_transactions, found, &state);
        if (found == stamp)
            status = WIRE_OK; /* the transaction rewrites its own intent */
        else if (state == SB_TRANSACTION_ABORTED)
            status = supersede_before_aborted(batch, key, found, stamp);
        else if (state != 0 && state != SB_TRANSACTION_COMMITTED)
            status = damaged(batch, "it replaces the intent of another transaction");
        else if (!unneeded && !(value.bytes.data[1] & WIRE_ITEM_DELETED) && version != stamp)
            status = add_history(batch, key, value.bytes, version, stamp);
    }
    partition->store->release(partition->store->self, &value);
    return status;
}

static int note_intent(struct batch *batch, struct wire_span key)
{
    uint8_t size[10];
    struct wire_writer w = wire_writer_of(size, sizeof(size));
    int status;

    wire_write_varint(&w, key.size);
    batch->intent_count++;
    status = sb_buffer_append(&batch->intents, size, w.size);
    return status == WIRE_OK ? sb_buffer_append(&batch->intents, key.data, key.size) : status;
}

/* An undecided delete is an item without attributes that says so. */
static int add_deleted_intent(struct batch *batch, struct wire_span key, uint64_t transaction)
{
    uint8_t bytes[64];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_item_builder builder;
    int status;

    wire_item_begin(&builder, &w, WIRE_ITEM_DELETED, transaction, 0);
    status = wire_item_end(&builder);
    return status == WIRE_OK ? add_item(batch, key, (struct wire_span){bytes, w.size}, transaction) : status;
}

static int apply_write(struct batch *batch, const struct wire_effect *effect)
{
    uint64_t transaction = batch->entry->transaction;
    uint64_t stamp = transaction ? transaction : batch->entry->version;
    struct wire_span none = {NULL, 0};
    bool present;
    int status;

    if (effect->key.size < WIRE_KEY_PREFIX_SIZE || effect->key.size > WIRE_KEY_MAX)
        return damaged(batch, "a key has a wrong size");
    if (effect->kind == WIRE_EFFECT_PUT && effect->item.size < WIRE_ITEM_HEADER_SIZE)
        return damaged(batch, "an item is malformed");
    batch->partition->user_bytes += effect->key.size + effect->item.size;
    status = supersede(batch, effect->key, stamp, &present);
    if (status == WIRE_OK && transaction)
        status = note_intent(batch, effect->key);
    if (status != WIRE_OK)
        return status;
    if (effect->kind == WIRE_EFFECT_PUT)
        return add_item(batch, effect->key, effect->item, stamp);
    if (transaction)
        return add_deleted_intent(batch, effect->key, transaction);
    return present ? add(batch, SB_DELETE, SB_ITEMS, effect->key, none) : WIRE_OK;
}

static int save_transaction(struct batch *batch, const struct sb_transaction *transaction)
{
    uint8_t record[SB_TRANSACTION_RECORD_SIZE];
    struct sb_meta_key key;
    int status = sb_transactions_put(batch->partition->applied_transactions, transaction);

    sb_transaction_encode(transaction, record);
    if (status != WIRE_OK)
        return status;
    return add(batch, SB_PUT, SB_ITEMS, sb_meta_key_transaction(&key, batch->partition->options.group, transaction->id),
               (struct wire_span){record, sizeof(record)});
}

static int apply_decision(struct batch *batch, const struct wire_effect *effect)
{
    struct sb_transaction transaction;

    if (sb_transactions_get(batch->partition->applied_transactions, effect->number, &transaction) != WIRE_OK)
        return damaged(batch, "it decides an unknown transaction");
    switch (effect->kind) {
    case WIRE_EFFECT_PREPARE:
        transaction.state = SB_TRANSACTION_PREPARED;
        transaction.decider = effect->argument;
        break;
    case WIRE_EFFECT_COMMIT:
        transaction.state = SB_TRANSACTION_COMMITTED;
        transaction.version = batch->entry->version;
        break;
    default:
        transaction.state = SB_TRANSACTION_ABORTED;
        break;
    }
    return save_transaction(batch, &transaction);
}

/* Stamp or undo one intent, and close the interval of the image it superseded. */
static int apply_settle(struct batch *batch, const struct wire_effect *effect)
{
    struct sb_partition *partition = batch->partition;
    struct sb_transaction transaction;
    struct sb_buffer image = {0};
    struct sb_history_key history_key;
    struct wire_span none = {NULL, 0};
    struct sb_value value = {{NULL, 0}, NULL};
    uint64_t version;
    bool ours;
    bool committed;
    int had_image;
    int status;

    if (sb_transactions_get(partition->applied_transactions, effect->number, &transaction) != WIRE_OK)
        return damaged(batch, "it settles an unknown transaction");
    if (transaction.state < SB_TRANSACTION_COMMITTED)
        return damaged(batch, "it settles an undecided transaction");
    committed = transaction.state == SB_TRANSACTION_COMMITTED;
    status =
        partition->store->get(partition->store->self, SB_ITEMS, effect->key, SB_TIER_ALL, &value, partition->fault);
    if (status != WIRE_OK && status != WIRE_E_NOT_FOUND)
        return status;
    ours = status == WIRE_OK && value.bytes.size >= WIRE_ITEM_HEADER_SIZE &&
           wire_item_version(value.bytes.data) == transaction.id;
    had_image =
        sb_history_find_superseded(partition->store, effect->key, transaction.id, &image, &version, partition->fault);
    status = had_image == WIRE_OK || had_image == WIRE_E_NOT_FOUND ? WIRE_OK : had_image;
    if (status == WIRE_OK && ours) {
        if (committed && !(value.bytes.data[1] & WIRE_ITEM_DELETED))
            status = add_item(batch, effect->key, value.bytes, transaction.version);
        else if (!committed && had_image == WIRE_OK)
            status = add_item(batch, effect->key, sb_buffer_span(&image), version);
        else
            status = add(batch, SB_DELETE, SB_ITEMS, effect->key, none);
    }
    if (status == WIRE_OK && had_image == WIRE_OK) {
        if (committed)
            status = add_history(batch, effect->key, sb_buffer_span(&image), version, transaction.version);
        else
            status = add(batch, SB_DELETE, SB_HISTORY, sb_history_key(&history_key, effect->key, version), none);
    }
    if (value.pin || value.bytes.data)
        partition->store->release(partition->store->self, &value);
    sb_buffer_close(&image);
    return status;
}

static int apply_forget(struct batch *batch, uint64_t id)
{
    struct sb_transaction transaction;
    struct wire_span none = {NULL, 0};
    struct sb_meta_key key;
    int status = WIRE_OK;

    if (sb_transactions_get(batch->partition->applied_transactions, id, &transaction) != WIRE_OK)
        return damaged(batch, "it forgets an unknown transaction");
    for (uint64_t i = 0; i < transaction.list_count && status == WIRE_OK; i++)
        status =
            add(batch, SB_DELETE, SB_ITEMS, sb_meta_key_intents(&key, batch->partition->options.group, id, i), none);
    if (status == WIRE_OK)
        status =
            add(batch, SB_DELETE, SB_ITEMS, sb_meta_key_transaction(&key, batch->partition->options.group, id), none);
    return status;
}

/* Delete every key of a storage in both families. */
static int drop_keys(struct batch *batch, uint64_t storage_id)
{
    uint8_t low_bytes[8];
    uint8_t high_bytes[8];
    struct wire_writer low = wire_writer_of(low_bytes, sizeof(low_bytes));
    struct wire_writer high = wire_writer_of(high_bytes, sizeof(high_bytes));
    struct wire_span low_span = {low_bytes, sizeof(low_bytes)};
    struct wire_span high_span = {high_bytes, sizeof(high_bytes)};
    int status;

    wire_write_u64(&low, storage_id);
    wire_write_u64(&high, storage_id + 1);
    status = add(batch, SB_DELETE_RANGE, SB_ITEMS, low_span, high_span);
    return status == WIRE_OK ? add(batch, SB_DELETE_RANGE, SB_HISTORY, low_span, high_span) : status;
}

static int apply_drop(struct batch *batch, uint64_t storage_id)
{
    struct sb_partition *partition = batch->partition;
    struct wire_span none = {NULL, 0};
    struct sb_meta_key key;
    struct sb_meta_key relation;
    struct sb_value value;
    uint64_t mapped = 0;
    int status;

    if (storage_id == 0)
        return damaged(batch, "it drops the group's own range");
    status = partition->store->get(partition->store->self, SB_ITEMS,
                                   sb_meta_key_storage(&key, partition->options.group, storage_id), SB_TIER_ALL, &value,
                                   partition->fault);
    if (status == WIRE_E_NOT_FOUND)
        return drop_keys(batch, storage_id);
    if (status != WIRE_OK)
        return status;
    status = sb_meta_lookup(partition->store, value.bytes, &mapped, partition->fault);
    if (status == WIRE_OK && mapped == storage_id)
        status = add(batch, SB_DELETE, SB_ITEMS, sb_meta_key_relation(&relation, partition->options.group, value.bytes),
                     none);
    partition->store->release(partition->store->self, &value);
    if (status == WIRE_OK)
        status = add(batch, SB_DELETE, SB_ITEMS, sb_meta_key_storage(&key, partition->options.group, storage_id), none);
    return status == WIRE_OK ? drop_keys(batch, storage_id) : status;
}

static int apply_storage(struct batch *batch, const struct wire_effect *effect)
{
    struct sb_partition *partition = batch->partition;
    uint8_t id[8];
    struct wire_writer w = wire_writer_of(id, sizeof(id));
    struct wire_span none = {NULL, 0};
    struct sb_meta_key key;
    uint64_t old;
    int status;

    if (effect->key.size == 0 || effect->key.size > SB_IDENTITY_MAX || effect->number == 0)
        return damaged(batch, "it maps a malformed relation");
    status = sb_meta_lookup(partition->store, effect->key, &old, partition->fault);
    if (status == WIRE_OK && old != 0) {
        status = add(batch, SB_DELETE, SB_ITEMS, sb_meta_key_storage(&key, partition->options.group, old), none);
        if (status == WIRE_OK)
            status = drop_keys(batch, old);
    }
    wire_write_u64(&w, effect->number);
    if (status == WIRE_OK)
        status = add(batch, SB_PUT, SB_ITEMS, sb_meta_key_relation(&key, partition->options.group, effect->key),
                     (struct wire_span){id, sizeof(id)});
    if (status == WIRE_OK)
        status = add(batch, SB_PUT, SB_ITEMS, sb_meta_key_storage(&key, partition->options.group, effect->number),
                     effect->key);
    if (partition->applied.next_storage_id <= effect->number)
        partition->applied.next_storage_id = effect->number + 1;
    return status;
}

static int apply_configuration(struct batch *batch, struct wire_span configuration)
{
    uint8_t bytes[8 + WIRE_CONFIGURATION_SIZE_MAX];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct sb_meta_key key;

    wire_write_u64(&w, batch->entry->index);
    wire_write_bytes(&w, configuration.data, configuration.size);
    if (w.failed || wire_configuration_open(configuration, &batch->partition->configuration) != WIRE_OK)
        return damaged(batch, "its members are malformed");
    batch->partition->configured_index = batch->entry->index;
    return add(batch, SB_PUT, SB_ITEMS, sb_meta_key_configuration(&key, batch->partition->options.group),
               (struct wire_span){bytes, w.size});
}

static int apply_effect(struct batch *batch, const struct wire_effect *effect)
{
    struct sb_partition *partition = batch->partition;
    struct sb_transaction begun = {.id = effect->number, .state = SB_TRANSACTION_PENDING, .owner = effect->argument};

    switch (effect->kind) {
    case WIRE_EFFECT_PUT:
    case WIRE_EFFECT_DELETE:
        return apply_write(batch, effect);
    case WIRE_EFFECT_STORAGE:
        return apply_storage(batch, effect);
    case WIRE_EFFECT_DROP:
        return apply_drop(batch, effect->number);
    case WIRE_EFFECT_BEGIN:
        if (!wire_version_is_transaction(effect->number))
            return damaged(batch, "it begins a malformed transaction");
        if (partition->applied.next_transaction <= (effect->number & ~WIRE_TRANSACTION_BIT))
            partition->applied.next_transaction = (effect->number & ~WIRE_TRANSACTION_BIT) + 1;
        return save_transaction(batch, &begun);
    case WIRE_EFFECT_PREPARE:
    case WIRE_EFFECT_COMMIT:
    case WIRE_EFFECT_ABORT:
        return apply_decision(batch, effect);
    case WIRE_EFFECT_SETTLE:
        return apply_settle(batch, effect);
    case WIRE_EFFECT_FORGET:
        return apply_forget(batch, effect->number);
    case WIRE_EFFECT_HORIZON:
        if (effect->number > partition->applied.horizon)
            partition->applied.horizon = effect->number;
        return WIRE_OK;
    case WIRE_EFFECT_CONFIGURATION:
        return apply_configuration(batch, effect->key);
    }
    return damaged(batch, "an effect is unknown");
}

/* The keys of this entry's intents, kept to settle them later. */
static int save_intents(struct batch *batch)
{
    struct sb_transaction transaction;
    struct sb_meta_key key;
    int status;

    if (batch->intent_count == 0)
        return WIRE_OK;
    if (sb_transactions_get(batch->partition->applied_transactions, batch->entry->transaction, &transaction) != WIRE_OK)
        return damaged(batch, "its intents belong to an unknown transaction");
    status = add(batch, SB_PUT, SB_ITEMS,
                 sb_meta_key_intents(&key, batch->partition->options.group, transaction.id, transaction.list_count),
                 sb_buffer_span(&batch->intents));
    transaction.list_count++;
    transaction.key_count += batch->intent_count;
    return status == WIRE_OK ? save_transaction(batch, &transaction) : status;
}

static int write_batch(struct batch *batch)
{
    struct sb_partition *partition = batch->partition;
    size_t count = batch->changes.size / sizeof(struct pending_change);
    const struct pending_change *pending = (const struct pending_change *) batch->changes.data;
    struct sb_change *changes = sb_alloc(count * sizeof(*changes));
    int status;

    if (!changes)
        return WIRE_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        changes[i].kind = pending[i].kind;
        changes[i].family = pending[i].family;
        changes[i].key = (struct wire_span){batch->bytes.data + pending[i].key_at, pending[i].key_size};
        changes[i].value = (struct wire_span){batch->bytes.data + pending[i].value_at, pending[i].value_size};
    }
    status = partition->store->write(partition->store->self, changes, count, partition->fault);
    sb_free(changes);
    return status;
}

/* After the batch is in the store: what no longer exists for readers either. */
static void forget_applied(struct sb_partition *partition, const struct wire_entry *entry)
{
    struct wire_entry again = *entry;
    struct wire_effect effect;

    while (wire_entry_next(&again, &effect) == WIRE_OK) {
        if (effect.kind == WIRE_EFFECT_FORGET) {
            sb_transactions_remove(partition->applied_transactions, effect.number);
            sb_transactions_remove(partition->evaluated_transactions, effect.number);
        } else if (effect.kind == WIRE_EFFECT_PUT || effect.kind == WIRE_EFFECT_DELETE)
            sb_overlay_applied(&partition->overlay, effect.key, entry->index);
        else if (effect.kind == WIRE_EFFECT_HORIZON)
            partition->store->set_horizon(partition->store->self, partition->applied.horizon);
    }
}

int sb_apply(struct sb_partition *partition, const struct wire_entry *entry, struct wire_span found, uint64_t unneeded)
{
    struct batch batch = {.partition = partition, .entry = entry, .found = found, .unneeded = unneeded};
    struct wire_entry walk = *entry;
    struct wire_effect effect;
    struct sb_meta_key key;
    uint8_t applied[SB_APPLIED_RECORD_SIZE];
    int status = WIRE_OK;
    int next;

    if (entry->index != partition->applied.index + 1)
        return damaged(&batch, "it does not follow the last one");
    while (status == WIRE_OK && (next = wire_entry_next(&walk, &effect)) != WIRE_E_NOT_FOUND)
        status = next == WIRE_OK ? apply_effect(&batch, &effect) : damaged(&batch, "an effect is malformed");
    if (status == WIRE_OK)
        status = save_intents(&batch);
    partition->applied.index = entry->index;
    partition->applied.term = entry->term;
    partition->applied.version = entry->version;
    sb_applied_encode(&partition->applied, applied);
    if (status == WIRE_OK)
        status = add(&batch, SB_PUT, SB_ITEMS, sb_meta_key_applied(&key, partition->options.group),
                     (struct wire_span){applied, sizeof(applied)});
    if (status == WIRE_OK)
        status = write_batch(&batch);
    if (status == WIRE_OK)
        forget_applied(partition, entry);
    sb_buffer_close(&batch.bytes);
    sb_buffer_close(&batch.changes);
    sb_buffer_close(&batch.intents);
    return status;
}
