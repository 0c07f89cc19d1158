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
 * Failure modes: RocksDB's error text, which names the file, is handed up in the fault with a code of ours. What fails
 * in the background is the watch's (sb_rocks_watch.c): a write or flush waits for room on disk, and ends with the reason
 * if there is nothing to wait for.
 */
#include "sb_rocks_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH_KEEP_BYTES (UINT64_C(4) << 20) /* a batch buffer that grew larger is not kept */

/* ---- reads ---- */

static int get_as(struct sb_rocks *r, const rocksdb_readoptions_t *how, enum sb_family family, struct wire_span key,
                  struct sb_value *out, struct sb_fault *fault)
{
    rocksdb_pinnableslice_t *slice;
    struct sb_rocks_key stored;
    char *error = NULL;

    *out = (struct sb_value){0};
    sb_rocks_key(family, key, &stored);
    slice = rocksdb_get_pinned(r->db, how, stored.data, stored.size, &error);
    if (error) {
        struct wire_span at = {(const uint8_t *) stored.data, stored.size};

        return sb_rocks_read_error(r, error, at, at, fault);
    }
    if (!slice)
        return WIRE_E_NOT_FOUND;
    out->bytes.data = (const uint8_t *) rocksdb_pinnableslice_value(slice, &out->bytes.size);
    out->pin = slice;
    return WIRE_OK;
}

static int rocks_get(void *self, enum sb_family family, struct wire_span key, enum sb_tier tier, struct sb_value *out,
                     struct sb_fault *fault)
{
    struct sb_rocks *r = self;

    return get_as(r, tier == SB_TIER_MEMORY ? r->read_memory : r->read_all, family, key, out, fault);
}

static int rocks_persisted(void *self, struct wire_span key, struct sb_value *out, struct sb_fault *fault)
{
    struct sb_rocks *r = self;

    return get_as(r, r->read_persisted, SB_ITEMS, key, out, fault);
}

static int rocks_view_get(void *self, void *view, enum sb_family family, struct wire_span key, struct sb_value *out,
                          struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    struct sb_rocks_view *v = view;

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
        *at++ = (char) sb_rocks_prefixes[family];
        memcpy(at, sb_rocks_chars(keys[i]), keys[i].size);
        at += keys[i].size;
    }
    return l->slices;
}

static int rocks_multi_get(void *self, enum sb_family family, const struct wire_span *keys, size_t count,
                           struct sb_value *out, int *codes, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    int status = WIRE_OK;
    struct lookup l;

    if (count == 0)
        return WIRE_OK;
    if (!lookup_make(family, keys, count, &l)) {
        for (size_t i = 0; i < count; i++)
            codes[i] = WIRE_E_NOMEM;
        return sb_rocks_no_memory(fault);
    }
    rocksdb_batched_multi_get_cf(r->db, r->read_all, r->family, count, l.keys, l.sizes, l.slices, l.errors, false);
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct sb_value){0};
        if (l.errors[i]) {
            struct wire_span at = {(const uint8_t *) l.keys[i], l.sizes[i]};

            codes[i] = sb_rocks_read_error(r, l.errors[i], at, at, status == WIRE_OK ? fault : NULL);
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

/* ---- writes ---- */

static int add_change(struct sb_rocks *r, const struct sb_change *change, struct sb_fault *fault)
{
    struct sb_rocks_key key, end;

    if (change->key.size > SB_STORE_KEY_MAX && change->kind != SB_DELETE_RANGE)
        return sb_fault_set(fault, WIRE_E_KEY_SIZE, "a key of %zu bytes for the items store", change->key.size);
    sb_rocks_key(change->family, change->key, &key);
    switch (change->kind) {
    case SB_PUT:
        rocksdb_writebatch_put(r->batch, key.data, key.size, sb_rocks_chars(change->value), change->value.size);
        return WIRE_OK;
    case SB_DELETE:
        rocksdb_writebatch_delete(r->batch, key.data, key.size);
        return WIRE_OK;
    case SB_DELETE_RANGE:
        sb_rocks_key(change->family, change->value, &end);
        /* RocksDB finds out that a range ends before it begins when half of the batch is in the memtable. */
        if (wire_span_compare(change->key, change->value) < 0)
            rocksdb_writebatch_delete_range(r->batch, key.data, key.size, end.data, end.size);
        return WIRE_OK;
    }
    return sb_fault_set(fault, WIRE_E_INTERNAL, "a change of unknown kind %d for the items store", (int) change->kind);
}

static void batch_reset(struct sb_rocks *r)
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

static int write_once(struct sb_rocks *r, const rocksdb_writeoptions_t *how, rocksdb_writebatch_t *batch,
                      struct sb_fault *fault)
{
    char *error = NULL;

    rocksdb_write(r->db, how, batch, &error);
    return error ? sb_rocks_work_error(r, error, fault) : WIRE_OK;
}

/*
 * RocksDB stops writes while all memtables wait for flushes. Waited for inside, that would end only with a flush, and
 * keep the watch from changing the options that let it begin one; so it is waited for here. A mere slowing down is left
 * to RocksDB: it is short.
 */
int sb_rocks_write_batch(struct sb_rocks *r, rocksdb_writebatch_t *batch, struct sb_fault *fault)
{
    for (;;) {
        int status = write_once(r, r->write_now, batch, fault);

        if (status == WIRE_E_WOULD_BLOCK && sb_rocks_property(r, "rocksdb.is-write-stopped") == 0)
            status = write_once(r, r->write_slowed, batch, fault);
        if (status != WIRE_E_WOULD_BLOCK && status != WIRE_E_DISK_FULL)
            return status;
        if (atomic_load(&r->failed))
            return sb_rocks_failure(r, fault);
        if (status == WIRE_E_DISK_FULL && atomic_load(&r->giving_up))
            return status;
        sb_rocks_pause();
    }
}

static int rocks_write(void *self, const struct sb_change *changes, size_t count, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    int status = sb_rocks_failure(r, fault);

    for (size_t i = 0; i < count && status == WIRE_OK; i++)
        status = add_change(r, &changes[i], fault);
    if (status == WIRE_OK)
        status = sb_rocks_write_batch(r, r->batch, fault);
    batch_reset(r);
    return status;
}

/* One memtable may fill up without a wait for a flush. */
static bool rocks_is_roomy(void *self)
{
    struct sb_rocks *r = self;

    return sb_rocks_property(r, "rocksdb.num-immutable-mem-table") + 2 <= r->write_buffers &&
           sb_rocks_property(r, "rocksdb.is-write-stopped") == 0 &&
           sb_rocks_property(r, "rocksdb.actual-delayed-write-rate") == 0;
}

int sb_rocks_flush(void *self, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    int failure = sb_rocks_failure(r, fault);
    char *error = NULL;

    if (failure != WIRE_OK)
        return failure;
    rocksdb_flush(r->db, r->flush_wait, &error);
    return error ? sb_rocks_work_error(r, error, fault) : WIRE_OK;
}

/* ---- sizes, status ---- */

static uint64_t rocks_approximate_size(void *self, enum sb_family family, struct wire_span low, struct wire_span high)
{
    struct sb_rocks *r = self;
    struct sb_rocks_key from, to;
    const char *from_data = from.data, *to_data = to.data;
    uint64_t size = 0;
    char *error = NULL;

    if (high.size > 0 && wire_span_compare(low, high) >= 0)
        return 0;
    sb_rocks_key(family, low, &from);
    sb_rocks_key_end(family, high, &to);
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
    struct sb_rocks *r = self;
    char *text = rocksdb_options_statistics_get_string(r->options);
    uint64_t keys = sb_rocks_property(r, "rocksdb.estimate-num-keys");
    uint64_t bytes = sb_rocks_property(r, "rocksdb.live-sst-files-size");

    *out = (struct sb_store_status){0};
    out->history_bytes = rocks_approximate_size(r, SB_HISTORY, all, all);
    if (out->history_bytes > bytes)
        out->history_bytes = bytes;
    out->items_bytes = bytes - out->history_bytes;
    if (bytes > 0)
        out->history_keys = (uint64_t) ((double) keys * ((double) out->history_bytes / (double) bytes));
    out->items_keys = keys - out->history_keys;
    out->memtable_bytes = sb_rocks_property(r, "rocksdb.cur-size-all-mem-tables");
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
    struct sb_rocks *r = self;

    if (r->db) {
        if (atomic_load(&r->watch_state) == SB_WATCH_RUN) {
            /* RocksDB's own flush at its end could not be called off. */
            sb_rocks_give_up(r);
            (void) sb_rocks_flush(r, NULL);
            sb_rocks_watch_stop(r);
        }
        rocksdb_cancel_all_background_work(r->db, 1);
        rocksdb_column_family_handle_destroy(r->family);
        rocksdb_close(r->db);
    }
    rocksdb_writebatch_destroy(r->batch);
    for (int family = 0; family < SB_FAMILY_COUNT; family++)
        rocksdb_compactoptions_destroy(r->compact[family]);
    rocksdb_ingestexternalfileoptions_destroy(r->ingest);
    rocksdb_envoptions_destroy(r->table_files);
    rocksdb_flushoptions_destroy(r->flush_begin);
    rocksdb_flushoptions_destroy(r->flush_wait);
    rocksdb_writeoptions_destroy(r->write_slowed);
    rocksdb_writeoptions_destroy(r->write_now);
    rocksdb_readoptions_destroy(r->read_persisted);
    rocksdb_readoptions_destroy(r->read_memory);
    rocksdb_readoptions_destroy(r->read_all);
    rocksdb_options_destroy(r->options);
    rocksdb_compactionfilter_destroy(r->filter);
    if (r->limiter)
        rocksdb_ratelimiter_destroy(r->limiter);
    rocksdb_cache_destroy(r->cache);
    (void) pthread_mutex_destroy(&r->lock);
    sb_free(r->path);
    sb_free(r);
}

static int open_database(struct sb_rocks *r, const struct sb_rocks_options *options, struct sb_fault *fault)
{
    const char *name = "default";
    const rocksdb_options_t *o = r->options;
    char *error = NULL;

    sb_rocks_options_tree(options, r->options, rocksdb_zstd_compression);
    r->db = rocksdb_open_column_families(o, options->path, 1, &name, &o, &r->family, &error);
    if (error && strstr(error, "is not linked")) {
        rocksdb_free(error);
        error = NULL;
        sb_rocks_options_tree(options, r->options, rocksdb_lz4_compression);
        r->db = rocksdb_open_column_families(o, options->path, 1, &name, &o, &r->family, &error);
    }
    return error ? sb_rocks_take_error(error, fault) : WIRE_OK;
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

static struct sb_rocks *make(const struct sb_rocks_options *options)
{
    struct sb_rocks *r = sb_alloc(sizeof(*r));
    size_t size = strlen(options->path) + 1;

    if (!r)
        return NULL;
    r->path = sb_alloc(size);
    if (!r->path) {
        sb_free(r);
        return NULL;
    }
    memcpy(r->path, options->path, size);
    r->write_buffer_bytes = options->write_buffer_bytes;
    r->write_buffers = options->write_buffer_count;
    (void) snprintf(r->write_buffer_count, sizeof(r->write_buffer_count), "%u", options->write_buffer_count);
    r->report = options->report;
    r->report_context = options->report_context;
    (void) pthread_mutex_init(&r->lock, NULL);
    return r;
}

int sb_rocks_open(const struct sb_rocks_options *options, struct sb_store *out, struct sb_fault *fault)
{
    struct sb_rocks *r;
    int status = check_options(options, fault);

    if (status != WIRE_OK)
        return status;
    r = make(options);
    if (!r)
        return sb_rocks_no_memory(fault);
    status = sb_rocks_options_set(r, options, fault);
    if (status == WIRE_OK)
        status = open_database(r, options, fault);
    if (status == WIRE_OK)
        status = sb_rocks_watch_start(r, fault);
    if (status == WIRE_OK)
        sb_rocks_check_files(r);
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
        .view_open = sb_rocks_view_open,
        .view_close = sb_rocks_view_close,
        .view_get = rocks_view_get,
        .iterate = sb_rocks_iterate,
        .flush = sb_rocks_flush,
        .persisted = rocks_persisted,
        .table_create = sb_rocks_table_create,
        .ingest = sb_rocks_ingest,
        .clear = sb_rocks_clear,
        .set_horizon = sb_rocks_set_horizon,
        .is_roomy = rocks_is_roomy,
        .compact = sb_rocks_compact,
        .approximate_size = rocks_approximate_size,
        .status = rocks_status,
        .give_up = sb_rocks_give_up,
        .close = rocks_close,
    };
    return WIRE_OK;
}
