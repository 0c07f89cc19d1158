/*
 * sb_store on RocksDB, without a write-ahead log: a batch goes to the memtable; a full one becomes a table file,
 * recorded in the MANIFEST; reads pin blocks of the cache or memtables.
 *
 * Both families lie in one column family, told apart by the first byte of a stored key, so that every flush takes both
 * to the same batch. Two column families with atomic_flush do not do that in RocksDB 7.8: a manual flush (which
 * rocksdb_flush_cf restricts to one family; rocksdb_flush_cfs does not exist) or compaction chooses the families to
 * flush before it stops writes, and leaves out one whose memtable the batch being written has not reached yet. With
 * flushes all the time, one kill in about a thousand then left one family a batch ahead of the other (test_kill in
 * test_sb_rocks.c, over many rounds); with one family, none. The files of one key range hardly mix with the other's:
 * each family has its own part of every level.
 *
 * Failure modes: RocksDB's error text, which names the file, is handed up in the fault with a code of ours. A flush or
 * compaction that fails in the background stops RocksDB's writes: the next write or flush says why.
 */
#include "sb_rocks.h"

#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire_clock.h"

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
#define LEVEL_BASE_BYTES_MIN (UINT64_C(256) << 20)
#define SYNC_EVERY_BYTES (UINT64_C(1) << 20) /* of a table file being written: no burst of dirty pages at its end */
#define BATCH_KEEP_BYTES (UINT64_C(4) << 20) /* a batch buffer that grew larger is not kept */

enum {
    TIER_MEMORY = 1,    /* RocksDB's kBlockCacheTier */
    TIER_PERSISTED = 2, /* kPersistedTier */
    LOG_WARN = 2,
    BOTTOMMOST_SKIP = 0,
    BOTTOMMOST_FORCE_OPTIMIZED = 3
};

#define STORED_KEY_MAX (1 + SB_STORE_KEY_MAX)

/* Of each family, the first byte of its stored keys. Changing it changes the format of the directory. */
static const uint8_t prefixes[SB_FAMILY_COUNT] = {1, 2};

/* The prefix and a key, cut off one byte behind the longest key there is: that changes no comparison with a key in the
 * store. */
struct stored_key {
    size_t size;
    char data[STORED_KEY_MAX + 1];
};

struct rocks {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family; /* the default one, which batched multi-get asks for */
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_ratelimiter_t *limiter;
    rocksdb_compactionfilter_t *filter;
    rocksdb_readoptions_t *read_all;
    rocksdb_readoptions_t *read_memory;
    rocksdb_readoptions_t *read_persisted;
    rocksdb_writeoptions_t *write_plain;
    rocksdb_flushoptions_t *flush_wait;
    rocksdb_compactoptions_t *compact[SB_FAMILY_COUNT];
    rocksdb_writebatch_t *batch; /* the writing thread's */
    _Atomic uint64_t horizon;
};

struct rocks_view {
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read;
};

struct rocks_iterator {
    struct sb_iterator face;
    rocksdb_iterator_t *iterator;
    rocksdb_readoptions_t *read;
    enum sb_family family;
    char bounds[]; /* RocksDB borrows them for the iterator's life */
};

static const char *chars(struct wire_span span)
{
    return span.size > 0 ? (const char *) span.data : "";
}

static void stored_key(enum sb_family family, struct wire_span key, struct stored_key *out)
{
    size_t size = key.size < sizeof(out->data) - 1 ? key.size : sizeof(out->data) - 1;

    out->data[0] = (char) prefixes[family];
    memcpy(out->data + 1, chars(key), size);
    out->size = 1 + size;
}

/* The stored end of a range that ends before `high`, or with the family if that is empty. */
static void stored_end(enum sb_family family, struct wire_span high, struct stored_key *out)
{
    stored_key(family, high, out);
    if (high.size == 0)
        out->data[0]++;
}

/* ---- errors ---- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static int code_of(const char *text)
{
    if (begins(text, "Corruption"))
        return WIRE_E_CORRUPT;
    if (begins(text, "Result incomplete"))
        return WIRE_E_WOULD_BLOCK;
    if (strstr(text, "No space left") || strstr(text, "Space limit reached"))
        return WIRE_E_DISK_FULL;
    if (strstr(text, "Memory limit reached"))
        return WIRE_E_NOMEM;
    if (begins(text, "Shutdown in progress"))
        return WIRE_E_STOPPING;
    if (begins(text, "Invalid argument") || begins(text, "Not implemented"))
        return WIRE_E_CONFIG;
    return WIRE_E_IO;
}

/* Takes over `text`, RocksDB's. That data is not in memory is an answer, not a fault. */
static int take_error(char *text, struct sb_fault *fault)
{
    int code = code_of(text);

    if (code != WIRE_E_WOULD_BLOCK)
        sb_fault_set(fault, code, "%s", text);
    rocksdb_free(text);
    return code;
}

static int no_memory(struct sb_fault *fault)
{
    return sb_fault_set(fault, WIRE_E_NOMEM, "out of memory in the items store");
}

/* Why background work has stopped, which a flush tells. `what` did not happen, so this is never WIRE_OK. */
static int background_error(struct rocks *r, const char *what, struct sb_fault *fault)
{
    char *error = NULL;

    rocksdb_flush(r->db, r->flush_wait, &error);
    if (error)
        return take_error(error, fault);
    return sb_fault_set(fault, WIRE_E_IO, "%s of the items store failed; its LOG file says why", what);
}

/* ---- reads ---- */

static int get_as(struct rocks *r, const rocksdb_readoptions_t *how, enum sb_family family, struct wire_span key,
                  struct sb_value *out, struct sb_fault *fault)
{
    rocksdb_pinnableslice_t *slice;
    struct stored_key stored;
    char *error = NULL;

    *out = (struct sb_value){0};
    stored_key(family, key, &stored);
    slice = rocksdb_get_pinned(r->db, how, stored.data, stored.size, &error);
    if (error)
        return take_error(error, fault);
    if (!slice)
        return WIRE_E_NOT_FOUND;
    out->bytes.data = (const uint8_t *) rocksdb_pinnableslice_value(slice, &out->bytes.size);
    out->pin = slice;
    return WIRE_OK;
}

static int rocks_get(void *self, enum sb_family family, struct wire_span key, enum sb_tier tier, struct sb_value *out,
                     struct sb_fault *fault)
{
    struct rocks *r = self;

    return get_as(r, tier == SB_TIER_MEMORY ? r->read_memory : r->read_all, family, key, out, fault);
}

static int rocks_persisted(void *self, struct wire_span key, struct sb_value *out, struct sb_fault *fault)
{
    struct rocks *r = self;

    return get_as(r, r->read_persisted, SB_ITEMS, key, out, fault);
}

static int rocks_view_get(void *self, void *view, enum sb_family family, struct wire_span key, struct sb_value *out,
                          struct sb_fault *fault)
{
    struct rocks *r = self;
    struct rocks_view *v = view;

    return get_as(r, v ? v->read : r->read_all, family, key, out, fault);
}

static void rocks_release(void *self, struct sb_value *value)
{
    (void) self;
    if (value->pin)
        rocksdb_pinnableslice_destroy(value->pin);
    *value = (struct sb_value){0};
}

/* What RocksDB's multi-get takes and gives: arrays of one block, the keys' bytes behind them. */
struct lookup {
    rocksdb_pinnableslice_t **slices;
    char **errors;
    const char **keys;
    size_t *sizes;
};

static void *lookup_make(enum sb_family family, const struct wire_span *keys, size_t count, struct lookup *l)
{
    size_t bytes = 0;
    char *at;

    for (size_t i = 0; i < count; i++)
        bytes += 1 + keys[i].size;
    l->slices = sb_alloc(count * (3 * sizeof(void *) + sizeof(size_t)) + bytes);
    if (!l->slices)
        return NULL;
    l->errors = (char **) (l->slices + count);
    l->keys = (const char **) (l->errors + count);
    l->sizes = (size_t *) (l->keys + count);
    at = (char *) (l->sizes + count);
    for (size_t i = 0; i < count; i++) {
        l->keys[i] = at;
        l->sizes[i] = 1 + keys[i].size;
        *at++ = (char) prefixes[family];
        memcpy(at, chars(keys[i]), keys[i].size);
        at += keys[i].size;
    }
    return l->slices;
}

static int rocks_multi_get(void *self, enum sb_family family, const struct wire_span *keys, size_t count,
                           struct sb_value *out, int *codes, struct sb_fault *fault)
{
    struct rocks *r = self;
    int status = WIRE_OK;
    struct lookup l;

    if (count == 0)
        return WIRE_OK;
    if (!lookup_make(family, keys, count, &l)) {
        for (size_t i = 0; i < count; i++)
            codes[i] = WIRE_E_NOMEM;
        return no_memory(fault);
    }
    rocksdb_batched_multi_get_cf(r->db, r->read_all, r->family, count, l.keys, l.sizes, l.slices, l.errors, false);
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct sb_value){0};
        if (l.errors[i]) {
            codes[i] = take_error(l.errors[i], status == WIRE_OK ? fault : NULL);
            status = status == WIRE_OK ? codes[i] : status;
        } else if (!l.slices[i]) {
            codes[i] = WIRE_E_NOT_FOUND;
        } else {
            out[i].bytes.data = (const uint8_t *) rocksdb_pinnableslice_value(l.slices[i], &out[i].bytes.size);
            out[i].pin = l.slices[i];
            codes[i] = WIRE_OK;
        }
    }
    sb_free(l.slices);
    return status;
}

/* ---- views and iterators ---- */

static int rocks_view_open(void *self, void **view, struct sb_fault *fault)
{
    struct rocks *r = self;
    struct rocks_view *v = sb_alloc(sizeof(*v));

    if (!v)
        return no_memory(fault);
    v->snapshot = rocksdb_create_snapshot(r->db);
    v->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(v->read, v->snapshot);
    *view = v;
    return WIRE_OK;
}

static void rocks_view_close(void *self, void *view)
{
    struct rocks *r = self;
    struct rocks_view *v = view;

    if (!v)
        return;
    rocksdb_readoptions_destroy(v->read);
    rocksdb_release_snapshot(r->db, v->snapshot);
    sb_free(v);
}

static void iterator_seek(void *self, struct wire_span key)
{
    struct rocks_iterator *it = self;
    struct stored_key stored;

    stored_key(it->family, key, &stored);
    rocksdb_iter_seek(it->iterator, stored.data, stored.size);
}

static void iterator_seek_last(void *self, struct wire_span key)
{
    struct rocks_iterator *it = self;
    struct stored_key stored;

    stored_end(it->family, key, &stored);
    rocksdb_iter_seek_for_prev(it->iterator, stored.data, stored.size);
}

static bool iterator_valid(void *self)
{
    struct rocks_iterator *it = self;

    return rocksdb_iter_valid(it->iterator) != 0;
}

static void iterator_next(void *self)
{
    struct rocks_iterator *it = self;

    if (iterator_valid(it))
        rocksdb_iter_next(it->iterator);
}

static void iterator_prev(void *self)
{
    struct rocks_iterator *it = self;

    if (iterator_valid(it))
        rocksdb_iter_prev(it->iterator);
}

static struct wire_span iterator_key(void *self)
{
    struct rocks_iterator *it = self;
    struct wire_span key;

    key.data = (const uint8_t *) rocksdb_iter_key(it->iterator, &key.size) + 1;
    key.size--;
    return key;
}

static struct wire_span iterator_value(void *self)
{
    struct rocks_iterator *it = self;
    struct wire_span value;

    value.data = (const uint8_t *) rocksdb_iter_value(it->iterator, &value.size);
    return value;
}

static int iterator_status(void *self, struct sb_fault *fault)
{
    struct rocks_iterator *it = self;
    char *error = NULL;

    rocksdb_iter_get_error(it->iterator, &error);
    return error ? take_error(error, fault) : WIRE_OK;
}

static void iterator_close(void *self)
{
    struct rocks_iterator *it = self;

    rocksdb_iter_destroy(it->iterator);
    rocksdb_readoptions_destroy(it->read);
    sb_free(it);
}

static int rocks_iterate(void *self, void *view, enum sb_family family, struct wire_span low, struct wire_span high,
                         struct sb_iterator **out, struct sb_fault *fault)
{
    struct rocks *r = self;
    struct rocks_view *v = view;
    struct rocks_iterator *it;
    struct stored_key from, to;

    stored_key(family, low, &from);
    stored_end(family, high, &to);
    it = sb_alloc(sizeof(*it) + from.size + to.size);
    if (!it)
        return no_memory(fault);
    it->family = family;
    memcpy(it->bounds, from.data, from.size);
    memcpy(it->bounds + from.size, to.data, to.size);
    it->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_background_purge_on_iterator_cleanup(it->read, 1);
    rocksdb_readoptions_set_iterate_lower_bound(it->read, it->bounds, from.size);
    rocksdb_readoptions_set_iterate_upper_bound(it->read, it->bounds + from.size, to.size);
    if (v)
        rocksdb_readoptions_set_snapshot(it->read, v->snapshot);
    it->iterator = rocksdb_create_iterator(r->db, it->read);
    it->face = (struct sb_iterator){
        it,           iterator_seek,  iterator_seek_last, iterator_valid, iterator_next, iterator_prev,
        iterator_key, iterator_value, iterator_status,    iterator_close};
    *out = &it->face;
    return WIRE_OK;
}

/* ---- writes ---- */

static int add_change(struct rocks *r, const struct sb_change *change, struct sb_fault *fault)
{
    struct stored_key key, end;

    if (change->key.size > SB_STORE_KEY_MAX && change->kind != SB_DELETE_RANGE)
        return sb_fault_set(fault, WIRE_E_KEY_SIZE, "a key of %zu bytes for the items store", change->key.size);
    stored_key(change->family, change->key, &key);
    switch (change->kind) {
    case SB_PUT:
        rocksdb_writebatch_put(r->batch, key.data, key.size, chars(change->value), change->value.size);
        return WIRE_OK;
    case SB_DELETE:
        rocksdb_writebatch_delete(r->batch, key.data, key.size);
        return WIRE_OK;
    case SB_DELETE_RANGE:
        stored_key(change->family, change->value, &end);
        /* RocksDB finds out that a range ends before it begins when half of the batch is in the memtable. */
        if (wire_span_compare(change->key, change->value) < 0)
            rocksdb_writebatch_delete_range(r->batch, key.data, key.size, end.data, end.size);
        return WIRE_OK;
    }
    return sb_fault_set(fault, WIRE_E_INTERNAL, "a change of unknown kind %d for the items store", (int) change->kind);
}

static void batch_reset(struct rocks *r)
{
    size_t size = 0;

    rocksdb_writebatch_data(r->batch, &size);
    if (size <= BATCH_KEEP_BYTES) {
        rocksdb_writebatch_clear(r->batch);
        return;
    }
    rocksdb_writebatch_destroy(r->batch);
    r->batch = rocksdb_writebatch_create();
}

static int rocks_write(void *self, const struct sb_change *changes, size_t count, struct sb_fault *fault)
{
    struct rocks *r = self;
    int status = WIRE_OK;
    char *error = NULL;

    for (size_t i = 0; i < count && status == WIRE_OK; i++)
        status = add_change(r, &changes[i], fault);
    if (status == WIRE_OK)
        rocksdb_write(r->db, r->write_plain, r->batch, &error);
    batch_reset(r);
    return error ? take_error(error, fault) : status;
}

static int rocks_flush(void *self, struct sb_fault *fault)
{
    struct rocks *r = self;
    char *error = NULL;

    rocksdb_flush(r->db, r->flush_wait, &error);
    return error ? take_error(error, fault) : WIRE_OK;
}

/* ---- history's end ---- */

static void rocks_set_horizon(void *self, uint64_t version)
{
    struct rocks *r = self;
    uint64_t now = atomic_load(&r->horizon);

    while (version > now && !atomic_compare_exchange_weak(&r->horizon, &now, version))
        ;
}

/*
 * Compaction filter, of history only. An entry goes by its own superseded-at, so no state is kept between calls;
 * RocksDB writes a tombstone for it unless nothing older can lie below, so an older put of the same key does not come
 * back. RocksDB asks without regard to snapshots, so an entry may vanish from an open view: no reader needs it, since a
 * snapshot that could is above the horizon or refused.
 */
static unsigned char drop_superseded(void *state, int level, const char *key, size_t key_size, const char *value,
                                     size_t value_size, char **new_value, size_t *new_size, unsigned char *changed)
{
    const struct rocks *r = state;
    struct wire_reader reader = wire_reader_of(value, value_size);
    uint64_t superseded_at = wire_read_u64(&reader);

    (void) level;
    (void) new_value;
    (void) new_size;
    *changed = 0;
    if (reader.failed || key_size == 0 || (uint8_t) key[0] != prefixes[SB_HISTORY])
        return 0;
    return !wire_version_is_transaction(superseded_at) &&
           superseded_at < atomic_load_explicit(&r->horizon, memory_order_relaxed);
}

static const char *filter_name(void *state)
{
    (void) state;
    return "cairn.history";
}

static void filter_destroyed(void *state)
{
    (void) state;
}

/* ---- compaction, sizes, status ---- */

static bool reversed(struct wire_span low, struct wire_span high)
{
    return high.size > 0 && wire_span_compare(low, high) >= 0;
}

static uint64_t property(struct rocks *r, const char *name)
{
    uint64_t value = 0;

    return rocksdb_property_int(r->db, name, &value) == 0 ? value : 0;
}

static int rocks_compact(void *self, struct wire_span low, struct wire_span high, struct sb_fault *fault)
{
    struct rocks *r = self;
    uint64_t errors = property(r, "rocksdb.background-errors");

    for (enum sb_family family = 0; family < SB_FAMILY_COUNT && !reversed(low, high); family++) {
        struct stored_key from, to;

        stored_key(family, low, &from);
        stored_end(family, high, &to);
        rocksdb_compact_range_opt(r->db, r->compact[family], from.data, from.size, to.data, to.size);
    }
    /* The calls do not say how they ended. */
    if (property(r, "rocksdb.background-errors") != errors)
        return background_error(r, "a compaction", fault);
    return WIRE_OK;
}

static uint64_t rocks_approximate_size(void *self, enum sb_family family, struct wire_span low, struct wire_span high)
{
    struct rocks *r = self;
    struct stored_key from, to;
    const char *from_data = from.data, *to_data = to.data;
    uint64_t size = 0;
    char *error = NULL;

    if (reversed(low, high))
        return 0;
    stored_key(family, low, &from);
    stored_end(family, high, &to);
    rocksdb_approximate_sizes(r->db, 1, &from_data, &from.size, &to_data, &to.size, &size, &error);
    if (!error)
        return size;
    rocksdb_free(error);
    return 0;
}

/* The count of a ticker or histogram in RocksDB's statistics, since open; `name` with the line break before and the
 * blank behind it. The C API has no getters. */
static uint64_t statistic(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    const char *count = at ? strstr(at + strlen(name), "COUNT : ") : NULL;

    return count ? strtoull(count + strlen("COUNT : "), NULL, 10) : 0;
}

static void rocks_status(void *self, struct sb_store_status *out)
{
    static const struct wire_span all;
    struct rocks *r = self;
    char *text = rocksdb_options_statistics_get_string(r->options);
    uint64_t keys = property(r, "rocksdb.estimate-num-keys");
    uint64_t bytes = property(r, "rocksdb.live-sst-files-size");

    *out = (struct sb_store_status){0};
    out->history_bytes = rocks_approximate_size(r, SB_HISTORY, all, all);
    if (out->history_bytes > bytes)
        out->history_bytes = bytes;
    out->items_bytes = bytes - out->history_bytes;
    if (bytes > 0)
        out->history_keys = (uint64_t) ((double) keys * ((double) out->history_bytes / (double) bytes));
    out->items_keys = keys - out->history_keys;
    out->memtable_bytes = property(r, "rocksdb.cur-size-all-mem-tables");
    out->cache_bytes = rocksdb_cache_get_usage(r->cache);
    if (text) {
        out->flushes = statistic(text, "\nrocksdb.db.flush.micros ");
        out->compactions = statistic(text, "\nrocksdb.compaction.times.micros ");
        out->flushed_bytes = statistic(text, "\nrocksdb.flush.write.bytes ");
        out->compacted_bytes = statistic(text, "\nrocksdb.compact.write.bytes ");
        rocksdb_free(text);
    }
}

/* ---- open and close ---- */

static void rocks_close(void *self)
{
    struct rocks *r = self;

    if (r->db) {
        rocksdb_cancel_all_background_work(r->db, 1); /* flushes what is not flushed, too */
        rocksdb_column_family_handle_destroy(r->family);
        rocksdb_close(r->db);
    }
    rocksdb_writebatch_destroy(r->batch);
    for (int family = 0; family < SB_FAMILY_COUNT; family++)
        rocksdb_compactoptions_destroy(r->compact[family]);
    rocksdb_flushoptions_destroy(r->flush_wait);
    rocksdb_writeoptions_destroy(r->write_plain);
    rocksdb_readoptions_destroy(r->read_persisted);
    rocksdb_readoptions_destroy(r->read_memory);
    rocksdb_readoptions_destroy(r->read_all);
    rocksdb_options_destroy(r->options);
    rocksdb_compactionfilter_destroy(r->filter);
    if (r->limiter)
        rocksdb_ratelimiter_destroy(r->limiter);
    rocksdb_cache_destroy(r->cache);
    sb_free(r);
}

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

static void set_table_options(struct rocks *r, rocksdb_options_t *o)
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

static void set_database_options(struct rocks *r, const struct sb_rocks_options *options, rocksdb_options_t *o)
{
    rocksdb_options_set_create_if_missing(o, 1);
    /* With it a compaction that meets a damaged block, or finds no room, ends all writes, of every table: and again
     * after each start. Without it the compaction is tried again; reads verify checksums in either case. */
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
static void set_tree_options(const struct sb_rocks_options *options, rocksdb_options_t *o, int bottom)
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
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_max_bytes_for_level_base(o, base > LEVEL_BASE_BYTES_MIN ? base : LEVEL_BASE_BYTES_MIN);
    rocksdb_options_set_num_levels(o, sizeof(levels) / sizeof(levels[0]));
    rocksdb_options_set_compression_per_level(o, levels, sizeof(levels) / sizeof(levels[0]));
    rocksdb_options_set_bottommost_compression(o, bottom);
}

static rocksdb_compactoptions_t *make_compact_options(unsigned char bottommost)
{
    rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();

    rocksdb_compactoptions_set_exclusive_manual_compaction(o, 0);
    rocksdb_compactoptions_set_bottommost_level_compaction(o, bottommost);
    return o;
}

static void set_options(struct rocks *r, const struct sb_rocks_options *options)
{
    r->cache = make_cache(options->block_cache_bytes);
    r->filter = rocksdb_compactionfilter_create(r, filter_destroyed, drop_superseded, filter_name);
    rocksdb_compactionfilter_set_ignore_snapshots(r->filter, 1);
    r->options = rocksdb_options_create();
    set_database_options(r, options, r->options);
    set_table_options(r, r->options);
    rocksdb_options_set_compaction_filter(r->options, r->filter);

    r->read_all = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(r->read_all, 1);
    r->read_memory = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(r->read_memory, TIER_MEMORY);
    r->read_persisted = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(r->read_persisted, TIER_PERSISTED);
    r->write_plain = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(r->write_plain, 1);
    r->flush_wait = rocksdb_flushoptions_create();
    /* Old entries of history end up in the lowest level, and there the filter must see them; items have nothing to lose
     * there. */
    r->compact[SB_ITEMS] = make_compact_options(BOTTOMMOST_SKIP);
    r->compact[SB_HISTORY] = make_compact_options(BOTTOMMOST_FORCE_OPTIMIZED);
    r->batch = rocksdb_writebatch_create();
}

static int open_database(struct rocks *r, const struct sb_rocks_options *options, struct sb_fault *fault)
{
    const char *name = "default";
    const rocksdb_options_t *o = r->options;
    char *error = NULL;

    set_tree_options(options, r->options, rocksdb_zstd_compression);
    r->db = rocksdb_open_column_families(o, options->path, 1, &name, &o, &r->family, &error);
    if (error && strstr(error, "is not linked")) {
        rocksdb_free(error);
        error = NULL;
        set_tree_options(options, r->options, rocksdb_lz4_compression);
        r->db = rocksdb_open_column_families(o, options->path, 1, &name, &o, &r->family, &error);
    }
    return error ? take_error(error, fault) : WIRE_OK;
}

/* Position at the first key of every table file: opens each, reading footer, index and filter. */
static int verify_tables(struct rocks *r, struct sb_fault *fault)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(r->db);
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    int status = WIRE_OK;

    rocksdb_readoptions_set_fill_cache(read, 0);
    for (int i = 0; i < rocksdb_livefiles_count(files) && status == WIRE_OK; i++) {
        rocksdb_iterator_t *it = rocksdb_create_iterator(r->db, read);
        size_t size = 0;
        const char *smallest = rocksdb_livefiles_smallestkey(files, i, &size);
        char *error = NULL;

        rocksdb_iter_seek(it, smallest, size);
        rocksdb_iter_get_error(it, &error);
        if (error)
            status = take_error(error, fault);
        rocksdb_iter_destroy(it);
    }
    rocksdb_readoptions_destroy(read);
    rocksdb_livefiles_destroy(files);
    return status;
}

static int check_options(const struct sb_rocks_options *o, struct sb_fault *fault)
{
    if (o->write_buffer_bytes < (64 << 10) || o->write_buffer_bytes > (UINT64_C(1) << 40) ||
        o->write_buffer_count < 2 || o->write_buffer_count > 1024 || o->background_threads < 1 ||
        o->background_threads > 1024 || o->max_open_files < 16 || o->max_open_files > INT32_MAX ||
        o->rate_limit_bytes_per_s > INT64_MAX)
        return sb_fault_set(fault, WIRE_E_CONFIG, "an option of the items store is out of bounds");
    return WIRE_OK;
}

int sb_rocks_open(const struct sb_rocks_options *options, struct sb_store *out, struct sb_fault *fault)
{
    struct rocks *r;
    int status = check_options(options, fault);

    if (status != WIRE_OK)
        return status;
    r = sb_alloc(sizeof(*r));
    if (!r)
        return no_memory(fault);
    set_options(r, options);
    status = open_database(r, options, fault);
    if (status == WIRE_OK && options->verify_all_checksums)
        status = verify_tables(r, fault);
    if (status != WIRE_OK) {
        rocks_close(r);
        return status;
    }
    *out = (struct sb_store){
        .self = r,
        .get = rocks_get,
        .multi_get = rocks_multi_get,
        .release = rocks_release,
        .write = rocks_write,
        .view_open = rocks_view_open,
        .view_close = rocks_view_close,
        .view_get = rocks_view_get,
        .iterate = rocks_iterate,
        .flush = rocks_flush,
        .persisted = rocks_persisted,
        .set_horizon = rocks_set_horizon,
        .compact = rocks_compact,
        .approximate_size = rocks_approximate_size,
        .status = rocks_status,
        .close = rocks_close,
    };
    return WIRE_OK;
}
