/*
 * What the shard knows of keys beyond the stores: the overlay (newest in-flight image per key) and the row locks. Two
 * hash tables keyed by encoded keys; memory of the shard's thread alone.
 */
#ifndef SB_OVERLAY_H
#define SB_OVERLAY_H

#include "sb_memory.h"

/* Newest image of a key among entries not yet applied. */
struct sb_pending {
    struct sb_pending *next; /* in its bucket */
    uint32_t hash;
    uint64_t index; /* of the entry that made it */
    uint64_t stamp; /* version, or transaction id of an intent */
    bool deleted;
    struct wire_span key;  /* owned */
    struct wire_span item; /* owned; empty if deleted */
};

struct sb_lock {
    struct sb_lock *next;       /* in its bucket */
    struct sb_lock *owner_next; /* among the locks of its owner */
    struct sb_lock *owner_prev;
    uint32_t hash;
    uint64_t owner;
    uint32_t subtransaction;
    uint64_t mark;        /* serial of the last request that named it: finds a key named twice */
    uint64_t intent;      /* the owner's own transaction whose intent the key carried when it was locked, or 0 */
    uint8_t found;        /* enum sb_found: what it carried, if no intent */
    struct wire_span key; /* owned */
};

/* Locks of one owner. */
struct sb_holder {
    struct sb_holder *next;
    uint64_t owner;
    struct sb_lock *locks;
};

struct sb_overlay {
    struct sb_pending **pending;
    struct sb_lock **locks;
    struct sb_holder **holders;
    uint32_t pending_mask;
    uint32_t lock_mask;
    uint32_t holder_mask;
    uint64_t pending_count;
    uint64_t lock_count;
};

int sb_overlay_open(struct sb_overlay *overlay);
void sb_overlay_close(struct sb_overlay *overlay);

/* NULL if none. */
struct sb_pending *sb_overlay_find(const struct sb_overlay *overlay, struct wire_span key);
/* Insert or replace the image of `key`; both copied. Errors: WIRE_E_NOMEM, nothing changed. */
int sb_overlay_put(struct sb_overlay *overlay, struct wire_span key, struct wire_span item, bool deleted,
                   uint64_t stamp, uint64_t index);
/* The entry `index` was applied: forget the image of `key` if that entry made it. */
void sb_overlay_applied(struct sb_overlay *overlay, struct wire_span key, uint64_t index);

/* NULL if the key is free. */
struct sb_lock *sb_lock_find(const struct sb_overlay *overlay, struct wire_span key);
/* The key must be free. Errors: WIRE_E_NOMEM. */
int sb_lock_add(struct sb_overlay *overlay, struct wire_span key, uint64_t owner, uint32_t subtransaction,
                struct sb_lock **out);
void sb_lock_remove(struct sb_overlay *overlay, struct sb_lock *lock);
/* All locks of `owner`; of one subtransaction if `subtransaction` is not 0. True if a released key has no image in
 * flight. */
bool sb_lock_release(struct sb_overlay *overlay, uint64_t owner, uint32_t subtransaction);

#endif
