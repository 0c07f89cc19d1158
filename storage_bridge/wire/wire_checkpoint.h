/*
 * A checkpoint: all that some ranges of the items store hold at one moment, as a sequence of blocks. It lies in one file
 * at its source, travels in pieces of any size, and is taken apart by whoever receives it: what comes from a peer is
 * bytes that are decoded here, never a table file that the store's own library would have to trust.
 *
 *   block   u32 checksum of all behind it | u32 size of the body | u8 kind | body
 *           The seed of a block's checksum is the checksum of the block before (of the first one 0): a block in a wrong
 *           place is found, and the last checksum stands for the whole.
 *
 *   HEAD    u8 format 1 | varint count | (u8 family, span low, span high)*
 *           ranges [low, high), high empty: to the end of the family; ascending by family and key, disjoint
 *   DATA    varint number of a range | (span key, span value)+, keys ascending through all blocks of a range, ranges in
 *           their order
 *   END     u64 records
 *   STATE   never part of a checkpoint: how far a receiver has come, in a file of its own
 *           u64 size of the checkpoint | u32 checksum | u64 offset | u32 checksum of the block before it | u64 records |
 *           varint range | varint tables | span cut | the body of HEAD
 *
 * One HEAD, any DATA, one END. Caller: anyone. Locks: none.
 */
#ifndef WIRE_CHECKPOINT_H
#define WIRE_CHECKPOINT_H

#include "wire_bytes.h"

#define WIRE_CHECKPOINT_FORMAT 1
#define WIRE_CHECKPOINT_HEADER_SIZE 9
#define WIRE_CHECKPOINT_BLOCK_MAX (2 * 1024 * 1024) /* header included: a record is less than a log entry */
#define WIRE_CHECKPOINT_RANGES_MAX 1024

enum wire_checkpoint_kind {
    WIRE_CHECKPOINT_HEAD = 1,
    WIRE_CHECKPOINT_DATA = 2,
    WIRE_CHECKPOINT_END = 3,
    WIRE_CHECKPOINT_STATE = 4
};

/* Keys of one family from low on, below high (empty: no bound). */
struct wire_range {
    uint8_t family;
    struct wire_span low;
    struct wire_span high;
};

struct wire_checkpoint_block {
    enum wire_checkpoint_kind kind;
    uint32_t checksum;
    size_t size;           /* header included */
    struct wire_span body; /* borrowed */
};

struct wire_checkpoint_state {
    uint64_t size;
    uint32_t checksum;
    uint64_t offset;
    uint32_t before;
    uint64_t records;
    uint32_t range;
    uint32_t tables;
    struct wire_span cut; /* borrowed, as head */
    struct wire_span head;
};

/* Blocks are written in place: begin leaves room for the header, the body follows, seal fills the header in. */
void wire_checkpoint_begin(struct wire_writer *w);
/* block: array[size], begun at 0, WIRE_CHECKPOINT_HEADER_SIZE <= size <= WIRE_CHECKPOINT_BLOCK_MAX. Returns its checksum,
 * the seed of the next one. */
uint32_t wire_checkpoint_seal(uint8_t *block, size_t size, enum wire_checkpoint_kind kind, uint32_t before);
/* The block that `data` begins with. Errors: WIRE_E_SHORT_INPUT with out->size how many bytes are needed at least,
 * WIRE_E_BAD_FORMAT, WIRE_E_BAD_CHECKSUM. */
int wire_checkpoint_open(struct wire_span data, uint32_t before, struct wire_checkpoint_block *out);

/* WIRE_OK, or WIRE_E_BAD_FORMAT if there are too few or too many, or they are not ascending, disjoint and not empty. */
int wire_checkpoint_check_ranges(const struct wire_range *ranges, size_t count);
void wire_checkpoint_write_head(struct wire_writer *w, const struct wire_range *ranges, size_t count);
/* Is a body of HEAD the one of these ranges? Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_VERSION, WIRE_E_BAD_FORMAT, also if
 * it is of others. */
int wire_checkpoint_match_head(struct wire_span body, const struct wire_range *ranges, size_t count);

void wire_checkpoint_write_record(struct wire_writer *w, struct wire_span key, struct wire_span value);
/* The next record of DATA; key.data == NULL at its end. Errors: WIRE_E_SHORT_INPUT. */
int wire_checkpoint_read_record(struct wire_reader *r, struct wire_span *key, struct wire_span *value);

/* state->head is not looked at: it is the ranges'. */
void wire_checkpoint_write_state(struct wire_writer *w, const struct wire_checkpoint_state *state,
                                 const struct wire_range *ranges, size_t count);
/* The body of HEAD is not looked into. Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT. */
int wire_checkpoint_open_state(struct wire_span body, struct wire_checkpoint_state *out);

static inline bool wire_range_holds(const struct wire_range *range, struct wire_span key)
{
    return wire_span_compare(key, range->low) >= 0 &&
           (range->high.size == 0 || wire_span_compare(key, range->high) < 0);
}

#endif
