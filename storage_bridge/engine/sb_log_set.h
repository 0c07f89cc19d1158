/*
 * The segment files of a log: a run of consecutive sequences, the last one being appended to, and up to two spare
 * files.
 *
 * The list is guarded by the log's index lock: functions that say "lock held" need it, the others do file work without
 * it and are called by the appending side alone. Segments are removed from the front only, so the files left always
 * continue each other, whatever a crash forgets.
 *
 * A spare, "spare0.new" or "spare1.new", is a segment no longer needed or a new file, zeroed piece by piece ahead of
 * need. It becomes a segment by a header page, a sync, a rename and a sync of the directory; only then is it used. Left
 * over from a crash it is removed. Two, because segments become free and are used up at different moments: with one, a
 * log that truncates steadily would zero a new file while it throws an old one away.
 */
#ifndef SB_LOG_SET_H
#define SB_LOG_SET_H

#include "sb_log_segment.h"

#define SB_LOG_NAME_BYTES 16
#define SB_LOG_SPARES 2

struct sb_log_file {
    uint64_t size;
    uint64_t live;        /* entries that the index points to */
    uint64_t state_bytes; /* of the states here that are the newest of their groups, with their headers */
    int handle;
    uint32_t sequence;
    uint32_t pins; /* readers at work */
};

struct sb_log_spare {
    int handle; /* -1: none */
    uint64_t size;
    bool renamed; /* its old name may come back in a crash: the directory is to be synced before its bytes change */
};

struct sb_log_set {
    struct sb_files *files; /* borrowed */
    uint64_t identity;
    uint64_t segment_bytes;
    struct sb_log_file *list; /* consecutive sequences */
    size_t count;
    size_t capacity;
    struct sb_log_spare spares[SB_LOG_SPARES];
    bool spare_failed; /* do not try again before the next segment */
};

void sb_log_set_init(struct sb_log_set *set, struct sb_files *files, const struct sb_log_options *options);
/* Closes all handles. */
void sb_log_set_close(struct sb_log_set *set);

/* name: SB_LOG_NAME_BYTES. */
void sb_log_set_name(uint32_t sequence, char *name);
void sb_log_set_spare_name(size_t slot, char *name);
/* False for any name that sb_log_set_name does not make. */
bool sb_log_set_parse(const char *name, uint32_t *sequence);

/* Room for one more. Lock held. Errors: WIRE_E_NOMEM. */
int sb_log_set_reserve(struct sb_log_set *set);
/* After sb_log_set_reserve. Lock held. The set owns the handle. */
void sb_log_set_push(struct sb_log_set *set, const struct sb_log_file *file);
/* NULL if there is none. Lock held; valid while it is held. */
struct sb_log_file *sb_log_set_find(const struct sb_log_set *set, uint32_t sequence);
/* The last one; the set is not empty. */
struct sb_log_file *sb_log_set_active(const struct sb_log_set *set);

/* Makes the durable file of a segment (header->size is at least this, and filled). Not in the list yet. On
 * WIRE_E_DISK_FULL nothing has changed; after WIRE_E_IO what is on the disk is unknown. */
int sb_log_set_create(struct sb_log_set *set, struct sb_log_segment_header *header, struct sb_log_file *out,
                      struct sb_fault *fault);
/* After a sync, with the active segment filled up to `used`: a step towards a spare, in proportion. Failures are met
 * again, and reported, by create. */
void sb_log_set_prepare(struct sb_log_set *set, uint64_t used);
/* Recycle or delete the file of the first segment; the caller takes it out of the list on WIRE_OK (sb_log_set_shift,
 * lock held). */
int sb_log_set_discard(struct sb_log_set *set, struct sb_fault *fault);
void sb_log_set_shift(struct sb_log_set *set);

#endif
