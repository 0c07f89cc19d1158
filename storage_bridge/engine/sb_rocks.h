/*
 * sb_store on RocksDB. Only sb_rocks_internal.h includes rocksdb/c.h.
 */
#ifndef SB_ROCKS_H
#define SB_ROCKS_H

#include "sb_store.h"

/* What happens in the background, each with a fault that says more but for ROOM. */
enum sb_rocks_event {
    SB_ROCKS_DAMAGED = 1, /* at open: a table file is lost or has another size; reads of its keys will fail */
    SB_ROCKS_PAUSED = 2,  /* a compaction has failed; none is made for some minutes */
    SB_ROCKS_NO_ROOM = 3, /* a flush finds no room on disk; writes wait until ROOM */
    SB_ROCKS_ROOM = 4,
    SB_ROCKS_FAILED = 5 /* a flush has failed for good: every write and flush from now on says so, reads go on */
};

struct sb_rocks_options {
    const char *path;            /* directory, made if absent */
    uint64_t block_cache_bytes;  /* LRU block cache, index and filter blocks included: they count against it */
    uint64_t write_buffer_bytes; /* of one memtable; up to write_buffer_count of them, for both families together */
    uint32_t write_buffer_count;
    uint32_t background_threads;     /* flushes and compactions */
    uint64_t rate_limit_bytes_per_s; /* of background writes, 0 = none */
    uint32_t max_open_files;
    /* Called from a thread of the store, and during open: takes no lock that is held over a call of the store. May be
     * NULL. */
    void (*report)(void *context, enum sb_rocks_event event, const struct sb_fault *fault);
    void *report_context;
};

/* Opens or creates. Threads that RocksDB makes inherit the caller's signal mask: all signals must be blocked. Errors:
 * WIRE_E_IO, WIRE_E_CORRUPT (file named), WIRE_E_CONFIG. */
int sb_rocks_open(const struct sb_rocks_options *options, struct sb_store *out, struct sb_fault *fault);

#endif
