/* See sim_model.h. Entries are kept as they came, so that a loss of the log's tail is told by telling the rest again.
 */
#include "sim_model.h"

#include "sim_requests.h"

struct change {
    uint64_t version;
    int64_t value;
};

struct history {
    struct change *changes;
    size_t count;
    size_t capacity;
};

struct transaction {
    uint64_t id;
    bool decided;
    bool touched[SIM_MODEL_KEYS];
    int64_t values[SIM_MODEL_KEYS];
};

struct kept_entry {
    uint8_t *bytes;
    size_t size;
    uint64_t version;
};

struct sim_model {
    uint64_t storage_id;
    struct kept_entry *entries;
    size_t entry_count;
    size_t entry_capacity;
    struct history keys[SIM_MODEL_KEYS];
    struct transaction *transactions;
    size_t transaction_count;
    size_t transaction_capacity;
    uint64_t horizon;
};

static void *grown(void *array, size_t *capacity, size_t count, size_t element)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? *capacity * 2 : 16;
    array = realloc(array, *capacity * element);
    if (!array)
        abort();
    return array;
}

struct sim_model *sim_model_open(uint64_t storage_id)
{
    struct sim_model *model = calloc(1, sizeof(*model));

    if (!model)
        abort();
    model->storage_id = storage_id;
    return model;
}

void sim_model_close(struct sim_model *model)
{
    for (size_t i = 0; i < model->entry_count; i++)
        free(model->entries[i].bytes);
    for (size_t i = 0; i < SIM_MODEL_KEYS; i++)
        free(model->keys[i].changes);
    free(model->entries);
    free(model->transactions);
    free(model);
}

static struct transaction *find_transaction(const struct sim_model *model, uint64_t id)
{
    for (size_t i = 0; i < model->transaction_count; i++) {
        if (model->transactions[i].id == id)
            return &model->transactions[i];
    }
    return NULL;
}

static void commit_value(struct sim_model *model, size_t key, uint64_t version, int64_t value)
{
    struct history *history = &model->keys[key];

    if (history->count > 0 && history->changes[history->count - 1].version == version)
        history->count--; /* the transaction's newer word on the key */
    history->changes = grown(history->changes, &history->capacity, history->count, sizeof(*history->changes));
    history->changes[history->count++] = (struct change){version, value};
}

static bool apply_write(struct sim_model *model, const struct wire_entry *entry, const struct wire_effect *effect)
{
    struct wire_reader r = wire_reader_of(effect->key.data, effect->key.size);
    int64_t value = effect->kind == WIRE_EFFECT_PUT ? sim_item_value(effect->item) : SIM_ABSENT;
    struct transaction *transaction;
    int64_t key;

    if (wire_read_u64(&r) != model->storage_id)
        return true;
    key = sim_key_number(effect->key);
    if (key < 0 || key >= SIM_MODEL_KEYS)
        return false;
    if (entry->transaction == 0) {
        commit_value(model, (size_t) key, entry->version, value);
        return true;
    }
    transaction = find_transaction(model, entry->transaction);
    if (!transaction || transaction->decided)
        return false;
    transaction->touched[key] = true;
    transaction->values[key] = value;
    return true;
}

static bool decide(struct sim_model *model, const struct wire_entry *entry, uint64_t id, bool commit)
{
    struct transaction *transaction = find_transaction(model, id);

    if (!transaction || transaction->decided)
        return false;
    transaction->decided = true;
    for (size_t i = 0; i < SIM_MODEL_KEYS && commit; i++) {
        if (transaction->touched[i])
            commit_value(model, i, entry->version, transaction->values[i]);
    }
    return true;
}

static bool apply_effect(struct sim_model *model, const struct wire_entry *entry, const struct wire_effect *effect)
{
    struct transaction *transaction = find_transaction(model, effect->number);

    switch (effect->kind) {
    case WIRE_EFFECT_PUT:
    case WIRE_EFFECT_DELETE:
        return apply_write(model, entry, effect);
    case WIRE_EFFECT_BEGIN:
        if (transaction)
            return false;
        model->transactions = grown(model->transactions, &model->transaction_capacity, model->transaction_count,
                                    sizeof(*model->transactions));
        model->transactions[model->transaction_count++] = (struct transaction){.id = effect->number};
        return true;
    case WIRE_EFFECT_COMMIT:
    case WIRE_EFFECT_ABORT:
        return decide(model, entry, effect->number, effect->kind == WIRE_EFFECT_COMMIT);
    case WIRE_EFFECT_PREPARE:
        return transaction && !transaction->decided;
    case WIRE_EFFECT_SETTLE:
    case WIRE_EFFECT_FORGET:
        return transaction && transaction->decided;
    case WIRE_EFFECT_HORIZON:
        model->horizon = effect->number > model->horizon ? effect->number : model->horizon;
        return true;
    default:
        return true;
    }
}

static bool apply(struct sim_model *model, size_t at)
{
    struct wire_entry entry;
    struct wire_effect effect;

    if (wire_entry_open(model->entries[at].bytes, model->entries[at].size, &entry) != WIRE_OK || entry.index != at + 1)
        return false;
    if (at > 0 && entry.version <= model->entries[at - 1].version)
        return false;
    model->entries[at].version = entry.version;
    while (wire_entry_next(&entry, &effect) == WIRE_OK) {
        if (!apply_effect(model, &entry, &effect))
            return false;
    }
    return true;
}

bool sim_model_add(struct sim_model *model, uint64_t index, struct wire_span payload)
{
    struct kept_entry kept = {.bytes = malloc(payload.size), .size = payload.size};

    if (!kept.bytes)
        abort();
    memcpy(kept.bytes, payload.data, payload.size);
    model->entries = grown(model->entries, &model->entry_capacity, model->entry_count, sizeof(*model->entries));
    model->entries[model->entry_count++] = kept;
    return index == model->entry_count && apply(model, model->entry_count - 1);
}

void sim_model_truncate(struct sim_model *model, uint64_t last)
{
    while (model->entry_count > last)
        free(model->entries[--model->entry_count].bytes);
    for (size_t i = 0; i < SIM_MODEL_KEYS; i++)
        model->keys[i].count = 0;
    model->transaction_count = 0;
    model->horizon = 0;
    for (size_t i = 0; i < model->entry_count; i++) {
        if (!apply(model, i))
            abort(); /* it made sense before */
    }
}

uint64_t sim_model_last(const struct sim_model *model)
{
    return model->entry_count;
}

uint64_t sim_model_version_of(const struct sim_model *model, uint64_t index)
{
    return index == 0 || index > model->entry_count ? 0 : model->entries[index - 1].version;
}

bool sim_model_same(const struct sim_model *model, uint64_t index, struct wire_span payload)
{
    const struct kept_entry *kept;

    if (index == 0 || index > model->entry_count)
        return false;
    kept = &model->entries[index - 1];
    return kept->size == payload.size && memcmp(kept->bytes, payload.data, payload.size) == 0;
}

int64_t sim_model_value(const struct sim_model *model, int64_t key, uint64_t snapshot, uint64_t *version)
{
    const struct history *history = &model->keys[key];

    for (size_t i = history->count; i-- > 0;) {
        if (history->changes[i].version > snapshot)
            continue;
        if (version)
            *version = history->changes[i].version;
        return history->changes[i].value;
    }
    if (version)
        *version = 0;
    return SIM_ABSENT;
}

bool sim_model_find(const struct sim_model *model, int64_t key, int64_t value, uint64_t *version)
{
    const struct history *history = &model->keys[key];

    for (size_t i = 0; i < history->count; i++) {
        if (history->changes[i].value == value) {
            *version = history->changes[i].version;
            return true;
        }
    }
    return false;
}

bool sim_model_at(const struct sim_model *model, int64_t key, uint64_t version, int64_t *value)
{
    uint64_t since;

    *value = sim_model_value(model, key, version, &since);
    return since == version;
}

bool sim_model_had(const struct sim_model *model, int64_t key, int64_t value, uint64_t from, uint64_t to)
{
    const struct history *history = &model->keys[key];

    if (sim_model_value(model, key, from, NULL) == value)
        return true;
    for (size_t i = 0; i < history->count; i++) {
        if (history->changes[i].value == value && history->changes[i].version > from &&
            history->changes[i].version <= to)
            return true;
    }
    return false;
}

bool sim_model_intent(const struct sim_model *model, uint64_t transaction, int64_t key, int64_t *value)
{
    const struct transaction *found = find_transaction(model, transaction);

    if (!found || found->decided || !found->touched[key])
        return false;
    *value = found->values[key];
    return true;
}

uint64_t sim_model_horizon(const struct sim_model *model)
{
    return model->horizon;
}
