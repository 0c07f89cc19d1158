#include "rg_pending.h"

#include <string.h>

#include "rg_heap.h"
#include "wire_error.h"

int rg_pending_reserve(struct rg_pending *pending)
{
    size_t capacity = pending->capacity ? 2 * pending->capacity : 4;
    struct rg_pending_range *ranges;

    if (pending->first + pending->count < pending->capacity)
        return WIRE_OK;
    if (pending->first > 0) {
        memmove(pending->ranges, pending->ranges + pending->first, pending->count * sizeof(*pending->ranges));
        pending->first = 0;
        return WIRE_OK;
    }
    ranges = rg_heap_resize(pending->ranges, capacity * sizeof(*ranges));
    if (ranges == NULL)
        return WIRE_E_NOMEM;
    pending->ranges = ranges;
    pending->capacity = capacity;
    return WIRE_OK;
}

void rg_pending_add(struct rg_pending *pending, uint64_t first, uint64_t last, uint64_t term)
{
    for (size_t i = 0; i < pending->count; i++) {
        struct rg_pending_range *range = &pending->ranges[pending->first + i];

        if (range->valid >= first)
            range->valid = first - 1;
    }
    pending->ranges[pending->first + pending->count++] = (struct rg_pending_range){first, last, term, last};
}

void rg_pending_done(struct rg_pending *pending, uint64_t last, uint64_t term, uint64_t *durable)
{
    size_t done = 0;

    *durable = 0;
    while (done < pending->count) {
        const struct rg_pending_range *range = &pending->ranges[pending->first + done];

        if (range->last == last && range->term == term)
            break;
        done++;
    }
    if (done == pending->count)
        return;
    for (size_t i = 0; i <= done; i++) {
        const struct rg_pending_range *range = &pending->ranges[pending->first + i];

        if (range->valid >= range->first && range->valid > *durable)
            *durable = range->valid;
    }
    pending->first += done + 1;
    pending->count -= done + 1;
    if (pending->count == 0)
        pending->first = 0;
}

void rg_pending_clear(struct rg_pending *pending)
{
    pending->first = 0;
    pending->count = 0;
}

void rg_pending_close(struct rg_pending *pending)
{
    rg_heap_release(pending->ranges);
    *pending = (struct rg_pending){0};
}
