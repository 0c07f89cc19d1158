/*
 * How the items store uses RocksDB: its options, with their reasons. See sb_rocks_internal.h.
 *
 * paranoid_checks is 0. With it (RocksDB 7.8) one damaged block that a compaction meets is an "unrecoverable" error:
 * all writes of all tables end, and again after each start as soon as the compaction is made again; and a table file
 * that is lost or cannot be opened makes the whole store refuse to open. What it would find is found without it, where
 * it matters to one table only:
 *   - lost files and wrong sizes, at open: sb_rocks_check_files() looks at every file and reports it
 *   - damaged blocks, footers, indexes: every read verifies checksums, with or without it, and fails for the keys of
 *     that block or file alone; nothing older is served in their place, for a file that cannot be read ends the search
 *   - failed flushes and compactions: sb_rocks_watch.c. A compaction that meets damage changes nothing
 *   - a damaged MANIFEST or CURRENT: refused at open with or without it
 */
#include "sb_rocks_internal.h"

/*
 * Measured with 400,000 items of 1 KB and one thread; blocks of 4, 8, 16 KiB: a get from the page cache
 * takes 6.0, 8.2, 12.3 us (from the block cache 2.6 to 2.7 us with all three), a scanned item 1.2, 0.9, 0.8 us, the
 * tables 244, 219, 208 MB, and index blocks double with each halving. Restart intervals of 4 and 16 make no difference.
 */
#define MEMTABLE_BLOOM_RATIO 0.05 /* of write_buffer_bytes */
#define BLOCK_BYTES (8 * 1024)
#define BLOOM_BITS 10
/* An index block of a 64 MB table file can take 0.5 MB; a cache shard that holds few of them throws them out all the
 * time (measured: a get then takes 280 us). */
#define CACHE_SHARD_BYTES_MIN (UINT64_C(16) << 20)
#define CACHE_SHARD_BITS_MAX 6
/* Level 1 takes half the time of level 3, RocksDB's default, and 0.8 % more room (8 KiB blocks of the benchmark's items:
 * 122 and 52 MB/s, 1.528 and 1.541 to 1). LZ4 has no levels. */
#define ZSTD_LEVEL 1
#define ZSTD_WINDOW_BITS (-14) /* zlib's, RocksDB's default */
/* RocksDB's default is 4. A COPY of 1,000,000 items of 1 KB compacts 1.02 instead of 1.61 GB, with 40 instead of 49 s of
 * the storage process' CPU; gets and scans of 100 are not slower. */
#define LEVEL_0_FILES 8
#define LEVEL_BASE_BYTES_MIN (UINT64_C(256) << 20)
#define SYNC_EVERY_BYTES (UINT64_C(1) << 20) /* of a table file being written: no burst of dirty pages at its end */

enum { TIER_MEMORY = 1 /* RocksDB's kBlockCacheTier */, TIER_PERSISTED = 2 /* kPersistedTier */, LOG_WARN = 2 };
enum { BOTTOMMOST_SKIP = 0, BOTTOMMOST_FORCE_OPTIMIZED = 3 };

static rocksdb_cache_t *make_cache(uint64_t bytes)
{
    rocksdb_lru_cache_options_t *o = rocksdb_lru_cache_options_create();
    rocksdb_cache_t *cache;
    int bits = 0;

    while (bits < CACHE_SHARD_BITS_MAX && bytes >> (bits + 1) >= CACHE_SHARD_BYTES_MIN)
        bits++;
    rocksdb_lru_cache_options_set_capacity(o, bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(o, bits);
    cache = rocksdb_cache_create_lru_opts(o);
    rocksdb_lru_cache_options_destroy(o);
    return cache;
}

static void set_table_options(struct sb_rocks *r, rocksdb_options_t *o)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_block_cache(table, r->cache);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    rocksdb_block_based_options_set_whole_key_filtering(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(o, table);
    rocksdb_block_based_options_destroy(table);
}

static void set_database_options(struct sb_rocks *r, const struct sb_rocks_options *options, rocksdb_options_t *o)
{
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 0);
    rocksdb_options_set_max_open_files(o, (int) options->max_open_files);
    rocksdb_options_set_max_background_jobs(o, (int) options->background_threads);
    rocksdb_options_set_bytes_per_sync(o, SYNC_EVERY_BYTES);
    /* RocksDB's own LOG: warnings and errors, at most 64 MB; and none of its periodic statistics. */
    rocksdb_options_set_info_log_level(o, LOG_WARN);
    rocksdb_options_set_keep_log_file_num(o, 4);
    rocksdb_options_set_max_log_file_size(o, (size_t) 16 << 20);
    /* Counters for status: 0.1 us per get. */
    rocksdb_options_enable_statistics(o);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    if (options->rate_limit_bytes_per_s > 0) {
        r->limiter = rocksdb_ratelimiter_create((int64_t) options->rate_limit_bytes_per_s, 100 * 1000, 10);
        rocksdb_options_set_ratelimiter(o, r->limiter);
    }
}

/*
 * Memtables take at most write_buffer_bytes * write_buffer_count for both families together (plus the batch that fills
 * one up): beyond it writes wait for flushes.
 *
 * LZ4, and ZSTD (`bottom`) in the lowest level. RocksDB refuses a compression that it was built without if a level's
 * own entry names it, but for bottommost_compression it silently would not compress; so the last level's entry names it
 * too.
 */
void sb_rocks_options_tree(const struct sb_rocks_options *options, rocksdb_options_t *o, int bottom)
{
    const int levels[] = {rocksdb_lz4_compression,
                          rocksdb_lz4_compression,
                          rocksdb_lz4_compression,
                          rocksdb_lz4_compression,
                          rocksdb_lz4_compression,
                          rocksdb_lz4_compression,
                          bottom};
    uint64_t base = 4 * options->write_buffer_bytes;

    rocksdb_options_set_write_buffer_size(o, options->write_buffer_bytes);
    rocksdb_options_set_max_write_buffer_number(o, (int) options->write_buffer_count);
    /* An insert looks its key up before it is there: most look-ups in memtables find nothing. */
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, MEMTABLE_BLOOM_RATIO);
    rocksdb_options_set_memtable_whole_key_filtering(o, 1);
    rocksdb_options_set_compaction_style(o, rocksdb_level_compaction);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, LEVEL_0_FILES);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_max_bytes_for_level_base(o, base > LEVEL_BASE_BYTES_MIN ? base : LEVEL_BASE_BYTES_MIN);
    rocksdb_options_set_num_levels(o, sizeof(levels) / sizeof(levels[0]));
    rocksdb_options_set_compression_per_level(o, levels, sizeof(levels) / sizeof(levels[0]));
    rocksdb_options_set_bottommost_compression(o, bottom);
    rocksdb_options_set_compression_options(o, ZSTD_WINDOW_BITS, ZSTD_LEVEL, 0, 0);
}

static rocksdb_compactoptions_t *make_compact_options(unsigned char bottommost)
{
    rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();

    rocksdb_compactoptions_set_exclusive_manual_compaction(o, 0);
    rocksdb_compactoptions_set_bottommost_level_compaction(o, bottommost);
    return o;
}

int sb_rocks_options_set(struct sb_rocks *r, const struct sb_rocks_options *options, struct sb_fault *fault)
{
    rocksdb_options_t *base;
    char *error = NULL;

    r->cache = make_cache(options->block_cache_bytes);
    r->filter = sb_rocks_filter_make(r);
    rocksdb_compactionfilter_set_ignore_snapshots(r->filter, 1);
    /* At the end the store flushes by itself (rocks_close). The option has no function of its own. */
    base = rocksdb_options_create();
    r->options = rocksdb_options_create();
    rocksdb_get_options_from_string(base, "avoid_flush_during_shutdown=true", r->options, &error);
    rocksdb_options_destroy(base);
    set_database_options(r, options, r->options);
    set_table_options(r, r->options);
    rocksdb_options_set_compaction_filter(r->options, r->filter);

    r->read_all = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(r->read_all, 1);
    r->read_memory = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(r->read_memory, TIER_MEMORY);
    r->read_persisted = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(r->read_persisted, TIER_PERSISTED);
    r->write_now = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(r->write_now, 1);
    rocksdb_writeoptions_set_no_slowdown(r->write_now, 1);
    r->write_slowed = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(r->write_slowed, 1);
    r->flush_wait = rocksdb_flushoptions_create();
    r->flush_begin = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(r->flush_begin, 0);
    /* Tables are linked in, not copied; open views do not see them; and memtables are not flushed while all writes wait,
     * see sb_rocks_table.c. */
    r->ingest = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(r->ingest, 1);
    rocksdb_ingestexternalfileoptions_set_snapshot_consistency(r->ingest, 1);
    rocksdb_ingestexternalfileoptions_set_allow_global_seqno(r->ingest, 1);
    rocksdb_ingestexternalfileoptions_set_allow_blocking_flush(r->ingest, 0);
    r->table_files = rocksdb_envoptions_create();
    /* Old entries of history end up in the lowest level, and there the filter must see them; items have nothing to lose
     * there. */
    r->compact[SB_ITEMS] = make_compact_options(BOTTOMMOST_SKIP);
    r->compact[SB_HISTORY] = make_compact_options(BOTTOMMOST_FORCE_OPTIMIZED);
    r->batch = rocksdb_writebatch_create();
    return error ? sb_rocks_take_error(error, fault) : WIRE_OK;
}
