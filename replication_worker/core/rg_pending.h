/*
 * What the caller was asked to append and has not yet reported durable, oldest first.
 *
 * Caller: rg_group.c. Locks: none.
 */
#ifndef RG_PENDING_H
#define RG_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rg_pending_range {
    uint64_t first;
    uint64_t last;  /* names the range, with term; stays when entries at the end are replaced */
    uint64_t term;  /* of the entry at last */
    uint64_t valid; /* up to here its entries are still those of the log; < first: none */
};

struct rg_pending {
    struct rg_pending_range *ranges;
    size_t first;
    size_t count;
    size_t capacity;
};

/* Room for one more. Errors: WIRE_E_NOMEM. */
int rg_pending_reserve(struct rg_pending *pending);
/* Entries [first, last] are to be appended, replacing whatever was at `first` and behind. */
void rg_pending_add(struct rg_pending *pending, uint64_t first, uint64_t last, uint64_t term);
/* The oldest range that ends with (last, term), and all before it, are durable: takes them away. *durable is the
 * greatest index that they made durable and that is still in the log, 0 for none. The oldest, because an entry may be
 * replaced and come back: what was reported is its first coming. */
void rg_pending_done(struct rg_pending *pending, uint64_t last, uint64_t term, uint64_t *durable);
void rg_pending_clear(struct rg_pending *pending);
void rg_pending_close(struct rg_pending *pending);

#endif
