/* See sb_overlay.h. Chained hash tables that double when they hold as many elements as buckets. */
#include "sb_overlay.h"

#include "wire_checksum.h"

#define INITIAL_BUCKETS 16 /* idle partitions are many */

static uint32_t hash_key(struct wire_span key)
{
    return wire_partition_hash(key.data, key.size);
}

static bool same_key(struct wire_span a, struct wire_span b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

int sb_overlay_open(struct sb_overlay *overlay)
{
    *overlay = (struct sb_overlay){
        .pending_mask = INITIAL_BUCKETS - 1, .lock_mask = INITIAL_BUCKETS - 1, .holder_mask = INITIAL_BUCKETS - 1};
    overlay->pending = sb_alloc(INITIAL_BUCKETS * sizeof(*overlay->pending));
    overlay->locks = sb_alloc(INITIAL_BUCKETS * sizeof(*overlay->locks));
    overlay->holders = sb_alloc(INITIAL_BUCKETS * sizeof(*overlay->holders));
    if (overlay->pending && overlay->locks && overlay->holders)
        return WIRE_OK;
    sb_overlay_close(overlay);
    return WIRE_E_NOMEM;
}

static void free_pending(struct sb_pending *pending)
{
    sb_span_free(&pending->key);
    sb_span_free(&pending->item);
    sb_free(pending);
}

void sb_overlay_close(struct sb_overlay *overlay)
{
    for (uint32_t i = 0; overlay->pending && i <= overlay->pending_mask; i++) {
        while (overlay->pending[i]) {
            struct sb_pending *gone = overlay->pending[i];

            overlay->pending[i] = gone->next;
            free_pending(gone);
        }
    }
    for (uint32_t i = 0; overlay->locks && i <= overlay->lock_mask; i++) {
        while (overlay->locks[i])
            sb_lock_remove(overlay, overlay->locks[i]);
    }
    sb_free(overlay->pending);
    sb_free(overlay->locks);
    sb_free(overlay->holders);
    *overlay = (struct sb_overlay){0};
}

struct sb_pending *sb_overlay_find(const struct sb_overlay *overlay, struct wire_span key)
{
    uint32_t hash = hash_key(key);
    struct sb_pending *at = overlay->pending[hash & overlay->pending_mask];

    while (at && (at->hash != hash || !same_key(at->key, key)))
        at = at->next;
    return at;
}

/* Twice the buckets; a failed allocation leaves longer chains. */
static void grow_pending(struct sb_overlay *overlay)
{
    uint32_t mask = overlay->pending_mask * 2 + 1;
    struct sb_pending **buckets = sb_alloc(((size_t) mask + 1) * sizeof(*buckets));

    if (!buckets)
        return;
    for (uint32_t i = 0; i <= overlay->pending_mask; i++) {
        while (overlay->pending[i]) {
            struct sb_pending *moved = overlay->pending[i];

            overlay->pending[i] = moved->next;
            moved->next = buckets[moved->hash & mask];
            buckets[moved->hash & mask] = moved;
        }
    }
    sb_free(overlay->pending);
    overlay->pending = buckets;
    overlay->pending_mask = mask;
}

static void grow_locks(struct sb_overlay *overlay)
{
    uint32_t mask = overlay->lock_mask * 2 + 1;
    struct sb_lock **buckets = sb_alloc(((size_t) mask + 1) * sizeof(*buckets));

    if (!buckets)
        return;
    for (uint32_t i = 0; i <= overlay->lock_mask; i++) {
        while (overlay->locks[i]) {
            struct sb_lock *moved = overlay->locks[i];

            overlay->locks[i] = moved->next;
            moved->next = buckets[moved->hash & mask];
            buckets[moved->hash & mask] = moved;
        }
    }
    sb_free(overlay->locks);
    overlay->locks = buckets;
    overlay->lock_mask = mask;
}

int sb_overlay_put(struct sb_overlay *overlay, struct wire_span key, struct wire_span item, bool deleted,
                   uint64_t stamp, uint64_t index)
{
    struct sb_pending *at = sb_overlay_find(overlay, key);
    struct wire_span copy;
    int status = sb_span_copy(deleted ? (struct wire_span){NULL, 0} : item, &copy);

    if (status != WIRE_OK)
        return status;
    if (!at) {
        at = sb_alloc(sizeof(*at));
        if (!at || sb_span_copy(key, &at->key) != WIRE_OK) {
            sb_free(at);
            sb_span_free(&copy);
            return WIRE_E_NOMEM;
        }
        if (overlay->pending_count > overlay->pending_mask)
            grow_pending(overlay);
        at->hash = hash_key(key);
        at->next = overlay->pending[at->hash & overlay->pending_mask];
        overlay->pending[at->hash & overlay->pending_mask] = at;
        overlay->pending_count++;
    }
    sb_span_free(&at->item);
    at->item = copy;
    at->deleted = deleted;
    at->stamp = stamp;
    at->index = index;
    return WIRE_OK;
}

void sb_overlay_applied(struct sb_overlay *overlay, struct wire_span key, uint64_t index)
{
    uint32_t hash = hash_key(key);
    struct sb_pending **link = &overlay->pending[hash & overlay->pending_mask];

    while (*link && ((*link)->hash != hash || !same_key((*link)->key, key)))
        link = &(*link)->next;
    if (*link && (*link)->index == index) {
        struct sb_pending *gone = *link;

        *link = gone->next;
        overlay->pending_count--;
        free_pending(gone);
    }
}

struct sb_lock *sb_lock_find(const struct sb_overlay *overlay, struct wire_span key)
{
    uint32_t hash = hash_key(key);
    struct sb_lock *at = overlay->locks[hash & overlay->lock_mask];

    while (at && (at->hash != hash || !same_key(at->key, key)))
        at = at->next;
    return at;
}

static struct sb_holder **holder_link(const struct sb_overlay *overlay, uint64_t owner)
{
    struct sb_holder **link = &overlay->holders[(uint32_t) (owner ^ owner >> 32) & overlay->holder_mask];

    while (*link && (*link)->owner != owner)
        link = &(*link)->next;
    return link;
}

int sb_lock_add(struct sb_overlay *overlay, struct wire_span key, uint64_t owner, uint32_t subtransaction,
                struct sb_lock **out)
{
    struct sb_holder **link = holder_link(overlay, owner);
    struct sb_lock *lock = sb_alloc(sizeof(*lock));

    if (!lock || sb_span_copy(key, &lock->key) != WIRE_OK)
        goto no_memory;
    if (!*link) {
        *link = sb_alloc(sizeof(**link));
        if (!*link)
            goto no_memory;
        (*link)->owner = owner;
    }
    if (overlay->lock_count > overlay->lock_mask)
        grow_locks(overlay);
    lock->hash = hash_key(key);
    lock->owner = owner;
    lock->subtransaction = subtransaction;
    lock->next = overlay->locks[lock->hash & overlay->lock_mask];
    overlay->locks[lock->hash & overlay->lock_mask] = lock;
    lock->owner_next = (*link)->locks;
    if (lock->owner_next)
        lock->owner_next->owner_prev = lock;
    (*link)->locks = lock;
    overlay->lock_count++;
    *out = lock;
    return WIRE_OK;

no_memory:
    if (lock)
        sb_span_free(&lock->key);
    sb_free(lock);
    return WIRE_E_NOMEM;
}

void sb_lock_remove(struct sb_overlay *overlay, struct sb_lock *lock)
{
    struct sb_holder **holder = holder_link(overlay, lock->owner);
    struct sb_lock **link = &overlay->locks[lock->hash & overlay->lock_mask];

    while (*link != lock)
        link = &(*link)->next;
    *link = lock->next;
    if (lock->owner_prev)
        lock->owner_prev->owner_next = lock->owner_next;
    else
        (*holder)->locks = lock->owner_next;
    if (lock->owner_next)
        lock->owner_next->owner_prev = lock->owner_prev;
    if (!(*holder)->locks) {
        struct sb_holder *gone = *holder;

        *holder = gone->next;
        sb_free(gone);
    }
    overlay->lock_count--;
    sb_span_free(&lock->key);
    sb_free(lock);
}

bool sb_lock_release(struct sb_overlay *overlay, uint64_t owner, uint32_t subtransaction)
{
    struct sb_holder *holder = *holder_link(overlay, owner);
    struct sb_lock *at = holder ? holder->locks : NULL;
    bool unwritten = false;

    while (at) {
        struct sb_lock *next = at->owner_next;

        if (subtransaction == 0 || at->subtransaction == subtransaction) {
            unwritten = unwritten || !sb_overlay_find(overlay, at->key);
            sb_lock_remove(overlay, at);
        }
        at = next;
    }
    return unwritten;
}
