/*
 * The bytes of a log segment: how batches are written, checked, walked and, behind the last valid one, searched.
 *
 * A segment file "%08x.log" is a header page and batches, each aligned to 8 bytes, then zeroes or the stale bytes of
 * the segment whose file was recycled. All integers big-endian.
 *
 *   header page, 4096 bytes
 *      0  u64 magic "CAIRNLOG"   8  u32 checksum of the other bytes, 0 in its own place     12  u32 format,
 * SB_LOG_FORMAT 16  u64 identity          24  u64 sequence of the segment, as in its name             32  u64 sequence
 * of its first batch 40  u64 size of the file  48  u32 checksum of the batch before its first (0: none)    52  zeroes
 *   batch
 *      0  u32 magic              4  u32 checksum of the bytes 8..55                           8  u64 sequence of the
 * segment 16  u64 sequence          24  u64 the last batch known to be synced when this was written 32  u64 size of the
 * entries, a multiple of 8                                           40  u32 entry count 44  u32 checksum of the
 * entries                48  u32 checksum field of the batch before this    52  u32 0 56  entries entry 0  u32 checksum
 * of the bytes 4..39 and the payload                                     4  u32 payload size 8  u64 group 16  u64 index
 * 24  u64 term    32  u64 first live index of the group when this was written 40  payload, zeroes up to a multiple of 8
 *   A state is an entry with index 0 and first live index 0.
 *
 * Every checksum of a batch is seeded with identity, segment and offset, so stale bytes of another segment, another
 * place or another log are never valid; batches are chained by their checksums, so a batch is valid only behind the one
 * it was written behind.
 *
 * Pure functions over the caller's bytes. Caller: anyone. Locks: none.
 */
#ifndef SB_LOG_SEGMENT_H
#define SB_LOG_SEGMENT_H

#include "sb_log.h"

#define SB_LOG_PAGE 4096
#define SB_LOG_BATCH_HEADER 56
#define SB_LOG_ENTRY_HEADER 40
#define SB_LOG_ALIGN 8
#define SB_LOG_BODY_MAX (1024 * 1024 * 1024)

struct sb_log_segment_header {
    uint64_t identity;
    uint64_t sequence;
    uint64_t first_batch;
    uint64_t size;
    uint32_t previous;
};

/* page: SB_LOG_PAGE bytes. */
void sb_log_segment_encode(const struct sb_log_segment_header *header, uint8_t *page);
/* Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT, WIRE_E_BAD_CHECKSUM, WIRE_E_BAD_VERSION. */
int sb_log_segment_decode(const uint8_t *page, size_t size, struct sb_log_segment_header *out);

/* Where bytes belong: what their checksums are seeded with. */
struct sb_log_spot {
    uint64_t identity;
    uint64_t segment;
    uint64_t offset;
};

struct sb_log_record {
    struct sb_log_entry entry;
    uint64_t first;  /* of the group, when the entry was written; 1 .. entry.index, of a state 0 */
    uint64_t offset; /* of the entry header in the segment */
};

/* Bytes of an entry with its header and padding. payload <= WIRE_ENTRY_MAX. */
size_t sb_log_record_size(size_t payload);
/* at: sb_log_record_size bytes, zeroed or not. spot.offset: of the entry. */
void sb_log_record_encode(const struct sb_log_record *record, struct sb_log_spot spot, uint8_t *at);
/* Verifies the entry's own checksum. Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT, WIRE_E_BAD_CHECKSUM. */
int sb_log_record_decode(const uint8_t *data, size_t size, struct sb_log_spot spot, struct sb_log_record *out);

struct sb_log_batch {
    uint64_t sequence;
    uint64_t synced;
    uint64_t body_size;
    uint32_t count;
    uint32_t body_checksum;
    uint32_t previous;
    uint32_t checksum;
    uint64_t offset;     /* of the batch in the segment; set by the walk */
    const uint8_t *body; /* set by the walk */
};

/* Completes a batch whose entries stand at data + SB_LOG_BATCH_HEADER: writes the header and fills both checksums of
 * *batch. */
void sb_log_batch_seal(struct sb_log_batch *batch, struct sb_log_spot spot, uint8_t *data);

/* A walk over the batches of one segment held in memory. */
struct sb_log_walk {
    const uint8_t *data; /* the file from offset 0 */
    uint64_t size;
    uint64_t identity;
    uint64_t segment;
    uint64_t offset;     /* of the next batch; begin with SB_LOG_PAGE */
    uint64_t next_batch; /* the sequence it must have */
    uint64_t synced;     /* what the last batch walked over knew as synced */
    uint32_t previous;   /* the checksum it must be chained to */
};

/* The next batch, whole and verified, or WIRE_E_NOT_FOUND: what stands there is not the expected batch. */
int sb_log_walk_next(struct sb_log_walk *walk, struct sb_log_batch *out);
/* The batch header at `offset`, verified alone. */
bool sb_log_walk_header(const struct sb_log_walk *walk, uint64_t offset, struct sb_log_batch *out);

/*
 * What stands behind the last valid batch. A later header that knew the missing batch as synced proves that it was
 * there whole: damage. Any other header is an unsynced batch that outlived its predecessor in a power loss; it must be
 * erased before the log goes on.
 */
struct sb_log_tail {
    bool damaged;
    uint64_t proof;     /* damaged: offset of the header that proves it */
    uint64_t erase_end; /* not damaged: bytes from walk->offset up to here hold all stale headers; 0: there is none */
};
void sb_log_walk_tail(const struct sb_log_walk *walk, struct sb_log_tail *out);

/* The entries of a verified batch: *position starts at 0. WIRE_E_NOT_FOUND behind the last; WIRE_E_BAD_FORMAT when they
 * do not fill the body. Entry checksums are not looked at: the batch's covers the same bytes. */
int sb_log_batch_next(const struct sb_log_batch *batch, uint64_t *position, struct sb_log_record *out);

#endif
