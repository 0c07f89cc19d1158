/*
 * sb_store on RocksDB. Only sb_rocks_internal.h includes rocksdb/c.h.
 */
#ifndef SB_ROCKS_H
#define SB_ROCKS_H

#include "sb_store.h"

struct sb_rocks_options {
    const char *path;            /* directory, made if absent */
    uint64_t block_cache_bytes;  /* LRU block cache, index and filter blocks included: they count against it */
    uint64_t write_buffer_bytes; /* of one memtable; up to write_buffer_count of them, for both families together */
    uint32_t write_buffer_count;
    uint32_t background_threads;     /* flushes and compactions */
    uint64_t rate_limit_bytes_per_s; /* of background writes, 0 = none */
    uint32_t max_open_files;
    bool verify_all_checksums; /* at open: read every table file's footer and index (paranoid) */
};

/* Opens or creates. Threads that RocksDB makes inherit the caller's signal mask: all signals must be blocked. Errors:
 * WIRE_E_IO, WIRE_E_CORRUPT (file named), WIRE_E_CONFIG. */
int sb_rocks_open(const struct sb_rocks_options *options, struct sb_store *out, struct sb_fault *fault);

#endif
