/*
 * Superseded images: keys and values of SB_HISTORY, and a cursor over the images that are visible at one snapshot.
 *
 *   key:   item key | u64 ~version of the image          value: u64 superseded-at | item
 *
 * Keys of one storage are prefix-free (wire_key.h), so the images of a key lie together, newest first, and in the order
 * of the keys. An image is visible at T when its version <= T and its superseded-at resolves above T. WIRE_E_CHANGED
 * from any of these: an intent was settled and its transaction forgotten meanwhile; read again, with a new view.
 */
#ifndef SB_HISTORY_H
#define SB_HISTORY_H

#include "sb_store.h"
#include "sb_transactions.h"
#include "wire_limits.h"

#define SB_HISTORY_SUFFIX 8
#define SB_HISTORY_KEY_MAX (WIRE_KEY_MAX + SB_HISTORY_SUFFIX)

struct sb_history_key {
    uint8_t data[SB_HISTORY_KEY_MAX];
    size_t size;
};

/* Key of the image of `key` with `version`. key.size <= WIRE_KEY_MAX. */
struct wire_span sb_history_key(struct sb_history_key *out, struct wire_span key, uint64_t version);
/* Take apart; false if malformed. */
bool sb_history_split_key(struct wire_span history_key, struct wire_span *key, uint64_t *version);
bool sb_history_split_value(struct wire_span value, uint64_t *superseded_at, struct wire_span *item);

struct sb_history_cursor {
    struct sb_transactions *transactions;
    struct sb_iterator *iterator;
    uint64_t snapshot;
    bool forward;
    bool valid;           /* key and item hold a visible image */
    struct wire_span low; /* [low, high) over item keys, high empty: no bound; borrowed */
    struct wire_span high;
    struct sb_buffer key;
    struct sb_buffer item; /* its version field holds its version */
};

/* Opens before the first image in direction. The cursor must be closed whatever the result. Errors, here and below:
 * store errors, WIRE_E_CORRUPT, WIRE_E_NOMEM. */
int sb_history_cursor_open(struct sb_history_cursor *cursor, struct sb_store *store, void *view,
                           struct sb_transactions *transactions, uint64_t snapshot, bool forward, struct wire_span low,
                           struct wire_span high, struct sb_fault *fault);
/* Unless the cursor holds a visible image (valid), look for the next one, but not beyond item key *limit; NULL: to the
 * end. */
int sb_history_cursor_reach(struct sb_history_cursor *cursor, const struct wire_span *limit, struct sb_fault *fault);
/* Give up the image it holds. */
void sb_history_cursor_leave(struct sb_history_cursor *cursor);
void sb_history_cursor_close(struct sb_history_cursor *cursor);

/* The image of one key visible at `snapshot`, appended to `out`. Errors: WIRE_E_NOT_FOUND, store errors. *superseded_at
 * may be NULL. */
int sb_history_find(struct sb_store *store, void *view, struct sb_transactions *transactions, struct wire_span key,
                    uint64_t snapshot, struct sb_buffer *out, uint64_t *version, struct sb_fault *fault);

/* The image of one key superseded by exactly `stamp`. For undoing and settling intents. Errors: WIRE_E_NOT_FOUND, store
 * errors. */
int sb_history_find_superseded(struct sb_store *store, struct wire_span key, uint64_t stamp, struct sb_buffer *out,
                               uint64_t *version, struct sb_fault *fault);

#endif
