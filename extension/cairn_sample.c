/*
 * Rows for ANALYZE. Postgres picks pseudo-blocks at random, ascending, out of as many as relation_size told it, and
 * scales what it finds by their number.
 *
 * Hash-partitioned tables: keys begin with an evenly spread hash, so a pseudo-block is a slice of the hashes, and only
 * the slices picked are read. Range-partitioned tables have no such measure: there a pseudo-block is the next so many
 * rows of one scan over the table, with more rows than a block of 8 kB holds, so that the last blocks are empty rather
 * than the last rows without a block.
 *
 * Failure modes: those of reading (cairn_range.h).
 */
#include "cairn_tableam.h"

#include "storage/bufmgr.h"

#include "cairn_row.h"
#include "cairn_slot.h"

#define ROWS_PER_BLOCK 256
#define HASHES (UINT64CONST(1) << 32)

/* The key bytes at which slice `slice` of `count` begins; all hashes are below the end of the last. */
static struct wire_span slice_start(const CairnScan *scan, uint64 slice, uint64 count, uint8 *bytes)
{
    struct wire_writer w = wire_writer_of(bytes, WIRE_KEY_PREFIX_SIZE + WIRE_KEY_HASH_SIZE);

    wire_key_write_prefix(&w, scan->view.storage_id, 0);
    if (slice < count)
        wire_write_u32(&w, (uint32) (slice * HASHES / count));
    else
        (void) wire_key_prefix_end(&w);
    return (struct wire_span){bytes, w.size};
}

static bool skip_to(CairnScan *scan, uint64 row_number)
{
    CairnRow row;

    for (; scan->sample_row < row_number; scan->sample_row++) {
        CHECK_FOR_INTERRUPTS();
        if (!cairn_range_next(cairn_scan_range(scan), ForwardScanDirection, &row))
            return false;
    }
    return true;
}

bool cairn_sample_next_block(TableScanDesc base, BlockNumber block, BufferAccessStrategy strategy)
{
    CairnScan *scan = (CairnScan *) base;
    CairnRange *range = cairn_scan_range(scan);
    uint8 low[WIRE_KEY_PREFIX_SIZE + WIRE_KEY_HASH_SIZE];
    uint8 high[WIRE_KEY_PREFIX_SIZE + WIRE_KEY_HASH_SIZE];

    if (scan->sample_blocks == 0)
        scan->sample_blocks = Max(RelationGetNumberOfBlocks(base->rs_rd), block + 1);
    if (cairn_table_of(base->rs_rd)->hashed) {
        cairn_range_set(range, slice_start(scan, block, scan->sample_blocks, low),
                        slice_start(scan, (uint64) block + 1, scan->sample_blocks, high));
        scan->sample_until = PG_UINT64_MAX;
        return true;
    }
    scan->sample_until = block + 1 >= scan->sample_blocks ? PG_UINT64_MAX : ((uint64) block + 1) * ROWS_PER_BLOCK;
    return skip_to(scan, (uint64) block * ROWS_PER_BLOCK);
}

bool cairn_sample_next_tuple(TableScanDesc base, TransactionId oldest_xmin, double *live_rows, double *dead_rows,
                             TupleTableSlot *slot)
{
    CairnScan *scan = (CairnScan *) base;

    if (scan->sample_row >= scan->sample_until || !cairn_scan_next(scan, ForwardScanDirection, slot))
        return false;
    scan->sample_row++;
    *live_rows += 1;
    return true;
}
