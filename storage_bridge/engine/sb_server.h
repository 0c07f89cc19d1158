/*
 * The engine as the storage process sees it: start, stop, log lines, recovery of prepared transactions. This header is
 * the engine library's whole surface; exactly one Postgres-side file includes it.
 *
 * Threads (all signals blocked in all of them, also in RocksDB's; sb_server_start blocks them while it makes threads
 * and restores the caller's mask):
 *
 *   cairn-read-N   take WIRE_QUEUE_READS: GET, short SCANs, LOOKUP, STORAGES, STATUS; also fetch for parked writes
 *   cairn-scan     takes WIRE_QUEUE_SCANS: the batches of long scans
 *   cairn-shard    takes WIRE_QUEUE_WRITES, steps the shard, applies, replies
 *   cairn-sync     appends to the log and syncs while the shard goes on; truncates the log
 *   cairn-watch    one of the items store: what fails in RocksDB's background
 *   cairn-keep     once a second and on demand: durable applied index -> log truncation, flush when the log passes its
 * size, horizon proposals (via the shard)
 *
 * Start: open store -> open log, replaying every entry above the applied index -> threads for writes run only for
 * DECIDE until sb_server_serve. Stop:  no new slots are taken -> in-flight entries are synced, applied and answered ->
 * threads joined -> store flushed, closed -> log closed. A fault in any thread (I/O, corruption of the log or of the
 * shard's own reads) is logged, answered with no acknowledgement, and reported by `failed`: the process exits at once,
 * with a status that makes Postgres reset shared memory and restart every process (slots and queues may be in any
 * state). A log that finds no room on disk is no fault: what is in flight waits until there is room, new writes are
 * refused with WIRE_E_DISK_FULL, reads go on. So they are while the file system has less free than the write buffers
 * and a log segment take, and while the items store cannot flush for want of room.
 */
#ifndef SB_SERVER_H
#define SB_SERVER_H

#include "sb_fault.h"
#include "wire_lane.h"

struct sb_server_options {
    const char *path; /* storage directory, made if absent; holds items/ and log/ */
    /* File outside of it that says that it was complete: then it is not made anew. Borrowed for the start. NULL: none */
    const char *marker;
    struct wire_shared *shared;
    uint64_t identity; /* of the Postgres cluster (system identifier); another one's directory is refused */
    uint32_t reader_threads;
    uint64_t block_cache_bytes;
    uint64_t write_buffer_bytes;
    uint32_t write_buffer_count;
    uint32_t background_threads;
    uint64_t rate_limit_bytes_per_s;
    uint32_t max_open_files;
    uint64_t log_segment_bytes;
    uint64_t log_max_bytes; /* flush the items store when the log has grown past it */
    uint64_t history_retention_ms;
    uint64_t max_snapshot_age_ms;
    void (*notify)(void); /* called from any thread when there is a log line or a failure: sets a latch, nothing else */
};

enum sb_level { SB_LEVEL_DEBUG = 0, SB_LEVEL_LOG = 1, SB_LEVEL_WARNING = 2 };

struct sb_line {
    enum sb_level level;
    char text[SB_FAULT_TEXT];
};

struct sb_server;

/* The one exported symbol of the engine library. */
struct sb_server_interface {
    uint32_t version; /* SB_SERVER_INTERFACE_VERSION */
    int (*start)(const struct sb_server_options *options, struct sb_server **out, struct sb_fault *fault);
    /* Prepared transactions left by a crash, ascending: the least decider above `after`, 0 = none. Between start and
     * serve only. */
    uint64_t (*prepared)(struct sb_server *server, uint64_t after);
    /* Decide one of them; returns when that is durable. Between start and serve only. */
    int (*decide)(struct sb_server *server, uint64_t decider, bool commit, struct sb_fault *fault);
    /* Take requests; sets shared->state READY and the next generation, and wakes who waits for it. */
    int (*serve)(struct sb_server *server, struct sb_fault *fault);
    /* Next log line, or false. */
    bool (*line)(struct sb_server *server, struct sb_line *out);
    /* Has a thread failed? Then *fault says how; the caller logs it and exits at once, without stop, as crashed. */
    bool (*failed)(struct sb_server *server, struct sb_fault *fault);
    /* Clean end as above; frees the server. */
    void (*stop)(struct sb_server *server);
    /* For the collector of storages without a relation: the storages, in identity order, from the one behind `after` on
     * (empty: first). WIRE_E_NOT_FOUND behind the last. */
    int (*storage_next)(struct sb_server *server, struct wire_span after, uint8_t *identity, size_t capacity,
                        size_t *size, uint64_t *storage_id);
    /* Drop a storage if `identity` still maps to it; returns at once. Any time after serve. */
    int (*storage_drop)(struct sb_server *server, uint64_t storage_id);
};

#define SB_SERVER_INTERFACE_VERSION 2

extern const struct sb_server_interface sb_server_interface;

#endif
