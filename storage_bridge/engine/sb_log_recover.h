/*
 * Reading a log at start: which files there are, which batches are valid, where the next one goes.
 *
 * Caller: sb_log_open, before any other thread knows the log. Locks: none.
 */
#ifndef SB_LOG_RECOVER_H
#define SB_LOG_RECOVER_H

#include "sb_log_index.h"

/* Where the next batch goes in the active segment. */
struct sb_log_cursor {
    uint64_t offset;
    uint64_t batch;    /* its sequence */
    uint32_t previous; /* checksum of the batch before it */
};

/*
 * Fills the set (empty before) and the index from the directory. On WIRE_OK everything kept is durable, the torn tail
 * is erased durably, and *cursor says where to go on; a directory without segments gets its first. On errors set and
 * index hold what was read so far, for the caller to close. Errors: WIRE_E_CORRUPT, WIRE_E_CONFIG (another identity),
 * WIRE_E_BAD_VERSION, WIRE_E_IO, WIRE_E_DISK_FULL, WIRE_E_NOMEM.
 */
int sb_log_recover(struct sb_log_set *set, struct sb_log_index *index, struct sb_log_cursor *cursor,
                   struct sb_fault *fault);

/* Reads the recovered segments again and calls `each` for every entry that the index points to, in log order. */
int sb_log_replay(struct sb_log_set *set, struct sb_log_index *index,
                  int (*each)(void *context, const struct sb_log_entry *entry), void *context, struct sb_fault *fault);

#endif
