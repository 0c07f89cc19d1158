/*
 * The items store: ordered bytes in two families, written in atomic batches without a log of its own.
 *
 *   SB_ITEMS     newest version (or intent) of each key, see wire_item.h; and the group's own range, see sb_meta.h
 *   SB_HISTORY   superseded images: key = item key + u64 inverted version of the image, value = u64 superseded-at (a
 * version, or a transaction id while that is undecided) + item
 *
 * An interface, so that the simulator can swap in a store in memory that falls back to its last flush. The real one, on
 * RocksDB, is sb_rocks_open() (sb_rocks.h).
 *
 * Durability: batches become durable by `flush` (atomically across both families), or when the store flushes by itself;
 * nothing is durable before. `persisted` reads what would survive. A clean close makes all durable.
 *
 * Keys: at most SB_STORE_KEY_MAX bytes; a batch that puts or deletes a longer one is refused (WIRE_E_KEY_SIZE).
 *
 * Threads: `write` by one thread at a time (the shard); everything else by any, an iterator by one at a time; close
 * when all values, views, iterators and tables are released. Errors: WIRE_E_IO, WIRE_E_DISK_FULL, WIRE_E_CORRUPT, WIRE_E_NOMEM
 * with *fault filled (file named where RocksDB names it).
 */
#ifndef SB_STORE_H
#define SB_STORE_H

#include "sb_fault.h"
#include "sb_memory.h"
#include "wire_checkpoint.h"
#include "wire_limits.h"

#define SB_STORE_KEY_MAX (WIRE_KEY_MAX + 64) /* an encoded key and what history appends to it */

enum sb_family { SB_ITEMS = 0, SB_HISTORY = 1, SB_FAMILY_COUNT = 2 };

enum sb_tier {
    SB_TIER_ALL = 0,
    SB_TIER_MEMORY = 1 /* memtables and block cache only: WIRE_E_WOULD_BLOCK if that does not tell */
};

/* A value read: borrowed from the store until released. */
struct sb_value {
    struct wire_span bytes;
    void *pin;
};

/* One change of a batch. */
enum sb_change_kind {
    SB_PUT = 1,
    SB_DELETE = 2,
    SB_DELETE_RANGE = 3 /* [key, value); nothing if value <= key */
};

struct sb_change {
    enum sb_change_kind kind;
    enum sb_family family;
    struct wire_span key;
    struct wire_span value;
};

struct sb_store_status {
    uint64_t items_bytes; /* table files on disk; divided between the families to the block */
    uint64_t history_bytes;
    uint64_t items_keys; /* estimates: of both together, divided by bytes */
    uint64_t history_keys;
    uint64_t memtable_bytes;
    uint64_t cache_bytes;
    uint64_t flushes;         /* since open */
    uint64_t compactions;     /* since open; files moved down unchanged do not count */
    uint64_t flushed_bytes;   /* written by flushes since open */
    uint64_t compacted_bytes; /* written by compactions since open */
};

struct sb_iterator;

/*
 * A table: all that is to be in one range of a family, written to a file of its own for `ingest`. One thread at a time;
 * it touches nothing of the store.
 */
struct sb_table {
    void *self;
    /* Keys ascending, not below the table's low. */
    int (*put)(void *self, struct wire_span key, struct wire_span value, struct sb_fault *fault);
    uint64_t (*size)(void *self); /* of the file so far, about */
    /* The range ends here (empty: with the family), above all keys; the file is whole and synced, its name is not. */
    int (*finish)(void *self, struct wire_span high, struct sb_fault *fault);
    void (*close)(void *self); /* frees the table too; the file stays */
};

struct sb_store {
    void *self;

    /* WIRE_OK with *out (release it), WIRE_E_NOT_FOUND, WIRE_E_WOULD_BLOCK. */
    int (*get)(void *self, enum sb_family family, struct wire_span key, enum sb_tier tier, struct sb_value *out,
               struct sb_fault *fault);
    /* keys: array[count]; out and codes: array[count]; each out with code WIRE_OK must be released. Returns WIRE_OK if
     * every code is WIRE_OK or WIRE_E_NOT_FOUND, else the first other one. */
    int (*multi_get)(void *self, enum sb_family family, const struct wire_span *keys, size_t count,
                     struct sb_value *out, int *codes, struct sb_fault *fault);
    void (*release)(void *self, struct sb_value *value);

    /* All changes or none, in order, visible at once to every later read. Changes borrowed. */
    int (*write)(void *self, const struct sb_change *changes, size_t count, struct sb_fault *fault);

    /* A view of both families at one moment; iterators and gets through it agree, but for images below the horizon,
     * which may vanish from it. NULL view = newest at the time of the call. */
    int (*view_open)(void *self, void **view, struct sb_fault *fault);
    void (*view_close)(void *self, void *view);
    int (*view_get)(void *self, void *view, enum sb_family family, struct wire_span key, struct sb_value *out,
                    struct sb_fault *fault);

    /* Iterate keys in [low, high) (high empty: no bound). Position with seek or seek_last before use. `view` may be
     * NULL. */
    int (*iterate)(void *self, void *view, enum sb_family family, struct wire_span low, struct wire_span high,
                   struct sb_iterator **out, struct sb_fault *fault);

    /* Make everything written so far durable; returns when it is. */
    int (*flush)(void *self, struct sb_fault *fault);
    /* The value of `key` in SB_ITEMS as it would be read after losing everything that is not flushed. WIRE_E_NOT_FOUND
     * if none. */
    int (*persisted)(void *self, struct wire_span key, struct sb_value *out, struct sb_fault *fault);

    /* Begin a table of `family` from `low` on, in a new file. */
    int (*table_create)(void *self, const char *path, enum sb_family family, struct wire_span low,
                        struct sb_table **out, struct sb_fault *fault);
    /* Take finished tables in, their ranges disjoint: afterwards what they hold is all that is in their ranges, for reads
     * that begin from now on, all tables at once. Durable when it returns; a crash before leaves all as it was. Their
     * files are gone afterwards. On an error nothing has changed; after WIRE_E_IO or WIRE_E_CORRUPT the files may not be
     * used again. Nobody may write within the ranges meanwhile (WIRE_E_BUSY if it was noticed); other ranges: see
     * sb_checkpoint.h. */
    int (*ingest)(void *self, const char *const *paths, size_t count, struct sb_fault *fault);
    /* Delete all that is in the ranges, durably when it returns, and give its room back. Nobody may write within them
     * meanwhile. */
    int (*clear)(void *self, const struct wire_range *ranges, size_t count, struct sb_fault *fault);

    /* Superseded images whose superseded-at is a version below this may be dropped at compaction. Never moves back. */
    void (*set_horizon)(void *self, uint64_t version);
    /* A few batches would be taken at once: no flush or compaction must come first. */
    bool (*is_roomy)(void *self);
    /* Compact [low, high) of both families now (empty: all). */
    int (*compact)(void *self, struct wire_span low, struct wire_span high, struct sb_fault *fault);
    /* Approximate bytes of [low, high) (empty: no bound) in table files; what is not flushed does not count. */
    uint64_t (*approximate_size)(void *self, enum sb_family family, struct wire_span low, struct wire_span high);
    void (*status)(void *self, struct sb_store_status *out);
    /* The end is near: from now on writes and flushes that wait for room on disk end with WIRE_E_DISK_FULL. */
    void (*give_up)(void *self);
    void (*close)(void *self);
};

struct sb_iterator {
    void *self;
    /* First key >= key (within bounds) / last key <= key. */
    void (*seek)(void *self, struct wire_span key);
    void (*seek_last)(void *self, struct wire_span key); /* empty key: the last of all */
    bool (*valid)(void *self);
    void (*next)(void *self);
    void (*prev)(void *self);
    struct wire_span (*key)(void *self); /* borrowed until the iterator moves */
    struct wire_span (*value)(void *self);
    /* WIRE_OK unless the iteration ended by an error. */
    int (*status)(void *self, struct sb_fault *fault);
    void (*close)(void *self); /* frees the iterator too */
};

#endif
