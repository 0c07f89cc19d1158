/*
 * See sb_transactions.h. An array sorted by id: ids grow, so inserts are appends, and look-ups are a binary search
 * under a shared lock.
 */
#include "sb_transactions.h"

#include <pthread.h>

struct sb_transactions {
    pthread_rwlock_t lock;
    struct sb_transaction *rows;
    size_t count;
    size_t capacity;
};

int sb_transactions_open(struct sb_transactions **out)
{
    struct sb_transactions *table = sb_alloc(sizeof(*table));

    if (!table)
        return WIRE_E_NOMEM;
    pthread_rwlock_init(&table->lock, NULL);
    *out = table;
    return WIRE_OK;
}

void sb_transactions_close(struct sb_transactions *table)
{
    if (!table)
        return;
    pthread_rwlock_destroy(&table->lock);
    sb_free(table->rows);
    sb_free(table);
}

/* Position of the first row with an id >= id. */
static size_t lower_bound(const struct sb_transactions *table, uint64_t id)
{
    size_t low = 0;
    size_t high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (table->rows[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int sb_transactions_get(struct sb_transactions *table, uint64_t id, struct sb_transaction *out)
{
    int status = WIRE_E_NOT_FOUND;
    size_t at;

    pthread_rwlock_rdlock(&table->lock);
    at = lower_bound(table, id);
    if (at < table->count && table->rows[at].id == id) {
        *out = table->rows[at];
        status = WIRE_OK;
    }
    pthread_rwlock_unlock(&table->lock);
    return status;
}

static int grow(struct sb_transactions *table)
{
    size_t capacity = table->capacity ? table->capacity * 2 : 16;
    struct sb_transaction *rows = sb_realloc(table->rows, capacity * sizeof(*rows));

    if (!rows)
        return WIRE_E_NOMEM;
    table->rows = rows;
    table->capacity = capacity;
    return WIRE_OK;
}

int sb_transactions_put(struct sb_transactions *table, const struct sb_transaction *transaction)
{
    int status = WIRE_OK;
    size_t at;

    pthread_rwlock_wrlock(&table->lock);
    at = lower_bound(table, transaction->id);
    if (at == table->count || table->rows[at].id != transaction->id) {
        if (table->count == table->capacity)
            status = grow(table);
        if (status == WIRE_OK) {
            memmove(table->rows + at + 1, table->rows + at, (table->count - at) * sizeof(*table->rows));
            table->count++;
        }
    }
    if (status == WIRE_OK)
        table->rows[at] = *transaction;
    pthread_rwlock_unlock(&table->lock);
    return status;
}

void sb_transactions_remove(struct sb_transactions *table, uint64_t id)
{
    size_t at;

    pthread_rwlock_wrlock(&table->lock);
    at = lower_bound(table, id);
    if (at < table->count && table->rows[at].id == id) {
        memmove(table->rows + at, table->rows + at + 1, (table->count - at - 1) * sizeof(*table->rows));
        table->count--;
    }
    pthread_rwlock_unlock(&table->lock);
}

size_t sb_transactions_count(struct sb_transactions *table)
{
    size_t count;

    pthread_rwlock_rdlock(&table->lock);
    count = table->count;
    pthread_rwlock_unlock(&table->lock);
    return count;
}

int sb_transactions_next(struct sb_transactions *table, uint64_t after, struct sb_transaction *out)
{
    int status = WIRE_E_NOT_FOUND;
    size_t at;

    pthread_rwlock_rdlock(&table->lock);
    at = after == UINT64_MAX ? table->count : lower_bound(table, after + 1);
    if (at < table->count) {
        *out = table->rows[at];
        status = WIRE_OK;
    }
    pthread_rwlock_unlock(&table->lock);
    return status;
}

uint64_t sb_transactions_version(struct sb_transactions *table, uint64_t stamp, enum sb_transaction_state *state)
{
    struct sb_transaction found;

    *state = 0;
    if (!wire_version_is_transaction(stamp))
        return stamp;
    if (sb_transactions_get(table, stamp, &found) != WIRE_OK) {
        *state = SB_TRANSACTION_UNKNOWN;
        return WIRE_VERSION_MAX;
    }
    *state = found.state;
    return found.state == SB_TRANSACTION_COMMITTED ? found.version : WIRE_VERSION_MAX;
}
