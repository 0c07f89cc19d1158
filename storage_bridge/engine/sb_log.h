/*
 * The log store: entries of all groups of a shard, appended in batches, one sync a batch.
 *
 * An own append-only file set, not RocksDB: a synced batch costs one write and one fdatasync into preallocated, zeroed
 * segments (no growth of the file, no memtable, no second copy at flush), and start-up can tell a torn tail (the last
 * batch of the last segment, never acknowledged) from damage in the middle, which RocksDB's recovery modes cannot for a
 * checksum mismatch. Figures: storage_bridge/README.md.
 *
 * Batches are the unit of tearing: a batch is valid whole or not at all. Each batch carries the sequence of the last
 * batch known to be synced when it was written. A batch that fails its checksum is a torn tail only if no batch behind
 * it knew it as synced and no later segment exists (a segment is synced before the next one is begun); it is dropped
 * then, with the unsynced batches behind it. Anything else is WIRE_E_CORRUPT with file and offset, and the log does not
 * open. What no check can tell: a batch damaged after its sync with no later batch that was written after that sync; it
 * looks like a torn tail. A sector (512 bytes) is taken to be written whole or not at all when its other bytes do not
 * change.
 *
 * Threads: append and sync are called by one thread at a time (the sync helper); read, first, last by any (internal
 * mutex); truncate by the appending side, between appends. Payloads are opaque here; (group, index, term) are not.
 */
#ifndef SB_LOG_H
#define SB_LOG_H

#include "sb_files.h"

#define SB_LOG_FORMAT 1

struct sb_log;

struct sb_log_entry {
    uint64_t group;
    uint64_t index; /* 1-based; appended entries of a group continue its last index, or replace a suffix (index <=
                       last): then all from index on go, in the same batch. 0: the group's state */
    uint64_t term;
    struct wire_span payload; /* <= WIRE_ENTRY_MAX, a state <= SB_LOG_STATE_MAX */
};

/*
 * State: a few bytes per group that are replaced as a whole (term and vote, for instance), durable with the batch that
 * carries them; of several in a batch the last one counts. The log keeps the newest of each group in memory and writes
 * it again, in a synced batch, before it gives up the segment that holds it: a state is never lost by truncation, and
 * does not stand in its way: segments whose entries nobody needs stay only while more than half of them is states.
 */
#define SB_LOG_STATE_MAX 1024

struct sb_log_options {
    uint64_t segment_bytes; /* of a segment file, >= 1 MiB + 64 KiB unless a test wants less, 8 KiB to 1 GiB; a larger
                               batch gets a larger segment */
    uint64_t identity; /* of node and storage directory; a segment of another identity is refused with WIRE_E_CONFIG */
};

struct sb_log_status {
    uint64_t segments;
    uint64_t bytes;          /* of all segment files, without the spare ones, two at most */
    uint64_t appended_bytes; /* since open */
    uint64_t appends;
    uint64_t syncs;
};

/* Opens or creates; reads every segment, drops a torn tail (erasing it durably before anything is appended). What is
 * found is durable when this returns. `each` (may be NULL) is called for every live entry, not for states, in log order
 * (the segments that hold any are read a second time for it), payload borrowed for the call; a non-zero result stops and
 * fails the open. `files` is borrowed until close. One log per directory. Errors: WIRE_E_CORRUPT, WIRE_E_CONFIG (identity,
 * options), WIRE_E_BAD_VERSION, WIRE_E_IO, WIRE_E_DISK_FULL, WIRE_E_NOMEM, that of `each`. */
int sb_log_open(struct sb_files *files, const struct sb_log_options *options,
                int (*each)(void *context, const struct sb_log_entry *entry), void *context, struct sb_log **out,
                struct sb_fault *fault);
void sb_log_close(struct sb_log *log);

/* Write one batch to the file, not synced. entries borrowed. Errors: WIRE_E_IO, WIRE_E_DISK_FULL (the file is truncated
 * back or the log is broken, see below), WIRE_E_NOMEM, WIRE_E_BAD_FORMAT (gap in a group's indexes, index below its
 * first, payload too large). A group without entries may begin at any index. count == 0 does nothing. A batch that does
 * not fit its segment syncs it first and opens the next one. After WIRE_E_IO every further call fails the same way:
 * what reached the disk is unknown, only a restart can tell. After WIRE_E_DISK_FULL the log is as before and may be
 * used again. */
int sb_log_append(struct sb_log *log, const struct sb_log_entry *entries, size_t count, struct sb_fault *fault);

/* All batches appended before this call are durable when it returns WIRE_OK. A failed sync breaks the log for good (the
 * kernel may have dropped the pages). */
int sb_log_sync(struct sb_log *log, struct sb_fault *fault);

/* The newest state of a group, appended to `out`; *term as it was given. Errors: WIRE_E_NOT_FOUND (never had any),
 * WIRE_E_NOMEM. */
int sb_log_state(struct sb_log *log, uint64_t group, uint64_t *term, struct sb_buffer *out);

/* First and last live index of a group; both 0 if it has none (after a prefix truncation to the very end: first = last
 * + 1). */
void sb_log_bounds(struct sb_log *log, uint64_t group, uint64_t *first, uint64_t *last);

/* Append the payload of one entry to `out`. Errors: WIRE_E_NOT_FOUND, WIRE_E_CORRUPT (checked again on each read),
 * WIRE_E_IO, WIRE_E_NOMEM. */
int sb_log_read(struct sb_log *log, uint64_t group, uint64_t index, uint64_t *term, struct sb_buffer *out,
                struct sb_fault *fault);

/* The group needs no entry <= index any more: segments in which no group needs anything are removed (recycled or
 * deleted), the states in them appended again and synced before. Forgetting it in a crash is harmless. Segments go from
 * the oldest on and only while nothing is unsynced (else the next sync does it); while there is no room for the states,
 * they stay. `index` may lie beyond the last (after a snapshot): the group goes on at index + 1. Every entry appended
 * later makes the truncation durable. A WIRE_E_IO from the removal of files does not break the log. */
int sb_log_truncate_prefix(struct sb_log *log, uint64_t group, uint64_t index, struct sb_fault *fault);

void sb_log_status(struct sb_log *log, struct sb_log_status *out);

#endif
