/*
 * Checkpoints: all that a partition has in the items store at one moment, for a replica that fell too far behind the
 * log. A partition is a list of ranges (ranges of item keys in both families, one per index id, and the group's own
 * range of SB_ITEMS), ascending and disjoint (wire_checkpoint.h).
 *
 *   source   make: from a view of the store to one file            read it, as often as wanted      close: it is gone
 *   target   open: begin or resume          write what comes, in order, from `have` on          install          close
 *
 * The file is of our own format, not a table file of RocksDB: bytes of a peer are decoded by wire_checkpoint.c, which
 * bounds and checks everything, while RocksDB asserts what it finds in a table. The target makes the tables as the bytes
 * come in, so it needs the room only once, and the source spends nothing on compressing.
 *
 * What a target has durably is whole tables, with a note of where the next one begins; a broken link loses nothing, a
 * restart at most the table in the making. Contents that are refused are never taken for right later: have falls back
 * to the last whole table.
 *
 * Install takes all tables in by one atomic step, durable when it returns (struct sb_store, ingest). A crash before
 * leaves the ranges as they were, and the received tables are not used again. What the ranges had is replaced; a replica
 * keeps it until then, for a checkpoint that does not arrive must leave it as it was. Over old data tables go to level
 * 0, from where all of them are compacted again, and where more than 20 files slow all writes down; and the room is
 * needed twice. Into ranges that hold nothing (a new replica's; or after store->clear, where what they hold is void)
 * tables go to the lowest level at once.
 *
 * Threads: a checkpoint or a receiver is used by one thread at a time, not the shard's: make, write and install wait for
 * the disk; read by several at once. The directory may be used by all of them. While clear or install run, nobody
 * writes within the ranges; views and iterators opened before show what they showed. Neighbours: gets and iterators
 * never wait. Writes, and opening and closing views, wait while install adds the tables, about as long as one small sync
 * for each (measured with 11 tables: 30 to 45 ms, on a disk whose small syncs take 0.2 to 4 ms); there is one for each
 * range, and up to 16 more for large ranges.
 *
 * Errors: as struct sb_store and sb_files, and as each function says. WIRE_E_BAD_FORMAT for ranges that are not
 * ascending and disjoint.
 */
#ifndef SB_CHECKPOINT_H
#define SB_CHECKPOINT_H

#include <stdatomic.h>

#include "sb_files.h"
#include "sb_store.h"

#define SB_CHECKPOINT_TABLE_BYTES (UINT64_C(256) << 20) /* of a table file, before the next one is begun; at least */

/* A directory of checkpoints, for one store. Open before, close after all that is in it. */
struct sb_checkpoints {
    struct sb_store *store;
    struct sb_files *files;
    const char *path;
    uint64_t table_bytes;
};

/* store, files and path (the directory of `files`, as the store is to name it) are borrowed until the end. Removes what
 * is there but for what came in for the ids in keep: array[count]. table_bytes: SB_CHECKPOINT_TABLE_BYTES but for tests. */
int sb_checkpoints_open(struct sb_checkpoints *checkpoints, struct sb_store *store, struct sb_files *files,
                        const char *path, uint64_t table_bytes, const uint64_t *keep, size_t count,
                        struct sb_fault *fault);

/* ---- source ---- */

struct sb_checkpoint {
    struct sb_checkpoints *home;
    uint64_t id;
    int file;
    uint64_t size;
    uint32_t checksum; /* of all: with the size, what a target asks for and checks */
};

struct sb_checkpoint_order {
    uint64_t id; /* of no other checkpoint of this directory that is open */
    const struct wire_range *ranges;
    size_t count;
    void *view;                /* of the store, borrowed; NULL: of now */
    uint64_t rate_bytes_per_s; /* 0: as fast as it goes */
    const _Atomic bool *stop;  /* may be NULL; when true, make ends soon with WIRE_E_STOPPING */
};

/* On an error nothing is left. Memory: a few blocks, whatever the size. Errors: WIRE_E_STOPPING. */
int sb_checkpoint_make(struct sb_checkpoints *home, const struct sb_checkpoint_order *order, struct sb_checkpoint *out,
                       struct sb_fault *fault);
/* *got < size only at the end. */
int sb_checkpoint_read(const struct sb_checkpoint *checkpoint, uint64_t offset, void *data, size_t size, size_t *got,
                       struct sb_fault *fault);
void sb_checkpoint_close(struct sb_checkpoint *checkpoint);

/* ---- target ---- */

struct sb_receiver;

struct sb_receiver_order {
    uint64_t id; /* of no other receiver of this directory that is open */
    uint64_t size;
    uint32_t checksum;
    const struct wire_range *ranges; /* must be those of the checkpoint; borrowed until close */
    size_t count;
};

/* Goes on with what is there of the same checkpoint, else begins anew. */
int sb_receiver_open(struct sb_checkpoints *home, const struct sb_receiver_order *order, struct sb_receiver **out,
                     struct sb_fault *fault);
/* Bytes that need not be sent again: from where to go on, the size when all is there. Falls back after an error. */
uint64_t sb_receiver_have(const struct sb_receiver *receiver);
/* Bytes of the checkpoint from offset on; what lies below have is passed over. Errors: WIRE_E_BAD_FORMAT (also: bytes
 * left out before offset, keys outside the ranges or out of order), WIRE_E_BAD_CHECKSUM, WIRE_E_BAD_VERSION,
 * WIRE_E_SHORT_INPUT, WIRE_E_DISK_FULL ... */
int sb_receiver_write(struct sb_receiver *receiver, uint64_t offset, const void *data, size_t size,
                      struct sb_fault *fault);
/* All must be there. After WIRE_E_BUSY, WIRE_E_DISK_FULL and WIRE_E_NOMEM it may be tried again; after others the
 * receiver is of no use any more. */
int sb_receiver_install(struct sb_receiver *receiver, struct sb_fault *fault);
/* keep: what is durable stays, to be resumed; unless install was begun. */
void sb_receiver_close(struct sb_receiver *receiver, bool keep);

/* ---- for sb_receiver.c ---- */

#define SB_CHECKPOINT_NAME_MAX 48

/* Remove the files of the directory whose names are stale. */
int sb_checkpoints_clean(struct sb_checkpoints *home, bool (*is_stale)(void *context, const char *name), void *context,
                         struct sb_fault *fault);

#endif
