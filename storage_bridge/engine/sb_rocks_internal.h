/*
 * The items store on RocksDB from within: what its files share, and the only place that includes rocksdb/c.h.
 *
 *   sb_rocks.c           open, reads, writes, sizes, close
 *   sb_rocks_options.c   options of the database, and why they are as they are
 *   sb_rocks_iterator.c  views and iterators
 *   sb_rocks_table.c     tables: written, taken in, and ranges cleared for them
 *   sb_rocks_compact.c   the end of history: horizon, compaction filter, compactions on demand
 *   sb_rocks_watch.c     what fails in the background
 *   sb_rocks_error.c     stored keys, and RocksDB's errors as ours
 *
 * `lock` guards compaction_failure, and who is the first to set failure; it is a leaf.
 */
#ifndef SB_ROCKS_INTERNAL_H
#define SB_ROCKS_INTERNAL_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "sb_rocks.h"

#define SB_ROCKS_KEY_MAX (1 + SB_STORE_KEY_MAX)

/* Of each family, the first byte of its stored keys. Changing it changes the format of the directory. */
extern const uint8_t sb_rocks_prefixes[SB_FAMILY_COUNT];

/* The prefix and a key, cut off one byte behind the longest key there is: that changes no comparison with a key in the
 * store. */
struct sb_rocks_key {
    size_t size;
    char data[SB_ROCKS_KEY_MAX + 1];
};

struct sb_rocks {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family; /* the default one, which batched multi-get asks for */
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_ratelimiter_t *limiter;
    rocksdb_compactionfilter_t *filter;
    rocksdb_readoptions_t *read_all;
    rocksdb_readoptions_t *read_memory;
    rocksdb_readoptions_t *read_persisted;
    rocksdb_writeoptions_t *write_now; /* or not at all */
    rocksdb_writeoptions_t *write_slowed;
    rocksdb_flushoptions_t *flush_wait;
    rocksdb_flushoptions_t *flush_begin; /* do not wait */
    rocksdb_compactoptions_t *compact[SB_FAMILY_COUNT];
    rocksdb_ingestexternalfileoptions_t *ingest;
    rocksdb_envoptions_t *table_files;
    rocksdb_writebatch_t *batch; /* the writing thread's */
    _Atomic uint64_t horizon;

    char *path;
    uint64_t write_buffer_bytes;
    uint32_t write_buffers;
    char write_buffer_count[16]; /* the same, as an option is set */
    void (*report)(void *context, enum sb_rocks_event event, const struct sb_fault *fault);
    void *report_context;
    pthread_t watch_thread;
    _Atomic uint32_t watch_state; /* enum sb_watch_state; futex word of the watch */
    _Atomic uint64_t errors_judged;
    _Atomic bool giving_up;
    _Atomic bool failed; /* `failure` is set, for good */
    pthread_mutex_t lock;
    struct sb_fault failure;            /* the store's end; written before `failed` is */
    struct sb_fault compaction_failure; /* the last one */
};

enum sb_watch_state { SB_WATCH_NONE = 0, SB_WATCH_RUN = 1, SB_WATCH_END = 2 };

struct sb_rocks_view {
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read;
};

/* sb_rocks_error.c */

void sb_rocks_key(enum sb_family family, struct wire_span key, struct sb_rocks_key *out);
/* The stored end of a range that ends before `high`, or with the family if that is empty. */
void sb_rocks_key_end(enum sb_family family, struct wire_span high, struct sb_rocks_key *out);
/* Never NULL, as RocksDB wants it. */
static inline const char *sb_rocks_chars(struct wire_span span)
{
    return span.size > 0 ? (const char *) span.data : "";
}
/* Takes over `text`, RocksDB's. That data is not in memory is an answer, not a fault. */
int sb_rocks_take_error(char *text, struct sb_fault *fault);
/* As sb_rocks_take_error, of a read of stored keys in [low, high]: if RocksDB does not name the damaged file, as of
 * damage in its footer, the fault names those that hold the range, three at most. */
int sb_rocks_read_error(struct sb_rocks *r, char *text, struct wire_span low, struct wire_span high,
                        struct sb_fault *fault);
/* Makes a fault of RocksDB's text, after a few words of ours. */
int sb_rocks_tell(const char *what, const char *text, struct sb_fault *fault);
int sb_rocks_no_memory(struct sb_fault *fault);
/* A number that RocksDB tells by name; 0 if it does not. */
uint64_t sb_rocks_property(struct sb_rocks *r, const char *name);

/* sb_rocks.c: a write waits for room in memory and on disk, see there */
int sb_rocks_write_batch(struct sb_rocks *r, rocksdb_writebatch_t *batch, struct sb_fault *fault);
int sb_rocks_flush(void *self, struct sb_fault *fault);

/* sb_rocks_options.c: make all option objects, and the cache and the filter they name; the tree's, with the compression
 * of its lowest level. */
int sb_rocks_options_set(struct sb_rocks *r, const struct sb_rocks_options *options, struct sb_fault *fault);
void sb_rocks_options_tree(const struct sb_rocks_options *options, rocksdb_options_t *o, int bottom);

/* sb_rocks_iterator.c: of struct sb_store */
int sb_rocks_view_open(void *self, void **view, struct sb_fault *fault);
void sb_rocks_view_close(void *self, void *view);
int sb_rocks_iterate(void *self, void *view, enum sb_family family, struct wire_span low, struct wire_span high,
                     struct sb_iterator **out, struct sb_fault *fault);

/* sb_rocks_table.c: of struct sb_store */
int sb_rocks_table_create(void *self, const char *path, enum sb_family family, struct wire_span low,
                          struct sb_table **out, struct sb_fault *fault);
int sb_rocks_ingest(void *self, const char *const *paths, size_t count, struct sb_fault *fault);
int sb_rocks_clear(void *self, const struct wire_range *ranges, size_t count, struct sb_fault *fault);

/* sb_rocks_compact.c: the filter, and of struct sb_store */
rocksdb_compactionfilter_t *sb_rocks_filter_make(struct sb_rocks *r);
void sb_rocks_set_horizon(void *self, uint64_t version);
int sb_rocks_compact(void *self, struct wire_span low, struct wire_span high, struct sb_fault *fault);

/* sb_rocks_watch.c */

/* After open, before close. */
int sb_rocks_watch_start(struct sb_rocks *r, struct sb_fault *fault);
void sb_rocks_watch_stop(struct sb_rocks *r);
/* Report table files that are not as the MANIFEST has them. */
void sb_rocks_check_files(struct sb_rocks *r);
void sb_rocks_give_up(void *self);
/* The store's end: reported, and nobody waits any more. */
void sb_rocks_fail(struct sb_rocks *r, const struct sb_fault *fault);
/* The store's end, if it has come, or WIRE_OK. */
int sb_rocks_failure(struct sb_rocks *r, struct sb_fault *fault);
/* As sb_rocks_take_error, of a write or flush: that the watch called off background work is told as its reason. */
int sb_rocks_work_error(struct sb_rocks *r, char *text, struct sb_fault *fault);
/* Why the last compaction failed; waits until the watch knows. */
int sb_rocks_compaction_error(struct sb_rocks *r, struct sb_fault *fault);
void sb_rocks_pause(void);
/* There is room on disk for another memtable. */
bool sb_rocks_has_room(const struct sb_rocks *r);

#endif
