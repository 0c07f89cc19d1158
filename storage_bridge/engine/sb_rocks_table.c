/*
 * Tables: files of RocksDB's own format that are made beside the store and taken in at once. See sb_rocks_internal.h.
 *
 * Each is the table of one range: a range tombstone over [low, high), and the keys in it. RocksDB gives all of a table
 * taken in one sequence number, and a tombstone hides only what is older: so it hides what the store had in the range,
 * and nothing of the table's own. Both families lie in one column family, so all tables of a checkpoint are taken in by
 * one record of the MANIFEST: all or none.
 *
 * Ingestion. What memtables have in a range must be in files first, or it would be the newer. RocksDB can flush for
 * that while it holds up all writes; then the flush of other partitions' memtables is what everybody waits for, and a
 * flush that finds no room never ends, nor can the watch begin it again, which needs the place in the queue of writes
 * that the ingestion holds. So RocksDB is told not to (allow_blocking_flush = 0): it refuses, and the flush is made here
 * like any other. A second refusal means that somebody writes in the range. It is also why each range has a table of
 * its own: one from the lowest to the highest key of a partition, in two families, would cover what others write.
 *
 * All writes wait while RocksDB looks for overlaps, writes the sequence number into each file and syncs it, and adds a
 * record to the MANIFEST. What takes time is done before: linking, syncing the data.
 *
 * Failure modes: a lack of room is looked for before anything is begun, since RocksDB does not recover from a record of
 * the MANIFEST that cannot be written: then the store has failed, and a restart finds the one state or the other. Damage
 * in a table's footer, index or properties is found when it is taken in, in its blocks by the read that meets it, as in
 * any table file.
 */
#include "sb_rocks_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SYNC_EVERY_BYTES (UINT64_C(1) << 20) /* no burst of dirty pages at the end, as for the store's own files */
#define INGEST_TRIES 16

struct rocks_table {
    struct sb_table face;
    rocksdb_sstfilewriter_t *writer;
    enum sb_family family;
    int file;
    uint64_t synced;
    struct sb_rocks_key low;
};

static uint64_t table_size(void *self)
{
    struct rocks_table *table = self;
    uint64_t size = 0;

    rocksdb_sstfilewriter_file_size(table->writer, &size);
    return size;
}

static int table_put(void *self, struct wire_span key, struct wire_span value, struct sb_fault *fault)
{
    struct rocks_table *table = self;
    struct sb_rocks_key stored;
    char *error = NULL;
    uint64_t size;

    if (key.size > SB_STORE_KEY_MAX)
        return sb_fault_set(fault, WIRE_E_KEY_SIZE, "a key of %zu bytes for the items store", key.size);
    sb_rocks_key(table->family, key, &stored);
    rocksdb_sstfilewriter_put(table->writer, stored.data, stored.size, sb_rocks_chars(value), value.size, &error);
    if (error)
        return sb_rocks_take_error(error, fault);
    size = table_size(table);
    if (size >= table->synced + SYNC_EVERY_BYTES && table->file >= 0) {
        (void) sync_file_range(table->file, (off_t) table->synced, (off_t) (size - table->synced),
                               SYNC_FILE_RANGE_WRITE);
        table->synced = size;
    }
    return WIRE_OK;
}

static int table_finish(void *self, struct wire_span high, struct sb_fault *fault)
{
    struct rocks_table *table = self;
    struct sb_rocks_key end;
    char *error = NULL;

    sb_rocks_key_end(table->family, high, &end);
    rocksdb_sstfilewriter_delete_range(table->writer, table->low.data, table->low.size, end.data, end.size, &error);
    if (!error)
        rocksdb_sstfilewriter_finish(table->writer, &error);
    return error ? sb_rocks_take_error(error, fault) : WIRE_OK;
}

static void table_close(void *self)
{
    struct rocks_table *table = self;

    rocksdb_sstfilewriter_destroy(table->writer);
    if (table->file >= 0)
        (void) close(table->file);
    sb_free(table);
}

int sb_rocks_table_create(void *self, const char *path, enum sb_family family, struct wire_span low,
                          struct sb_table **out, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    struct rocks_table *table = sb_alloc(sizeof(*table));
    char *error = NULL;

    if (!table)
        return sb_rocks_no_memory(fault);
    table->family = family;
    sb_rocks_key(family, low, &table->low);
    table->writer = rocksdb_sstfilewriter_create(r->table_files, r->options);
    rocksdb_sstfilewriter_open(table->writer, path, &error);
    table->file = error ? -1 : open(path, O_WRONLY | O_CLOEXEC); /* without it, all is synced at the end */
    table->face = (struct sb_table){table, table_put, table_size, table_finish, table_close};
    if (error) {
        table_close(table);
        return sb_rocks_take_error(error, fault);
    }
    *out = &table->face;
    return WIRE_OK;
}

/* ---- taking in ---- */

static bool needs_flush(const char *error)
{
    return strstr(error, "requires flush") != NULL;
}

/* After a record that could not be added to the MANIFEST, RocksDB takes no writes any more, also when there is room
 * again: that is the end, as for a flush that fails so. A write of nothing tells. */
static bool is_stuck(struct sb_rocks *r)
{
    rocksdb_writebatch_t *nothing = rocksdb_writebatch_create();
    char *error = NULL;
    bool stuck;

    rocksdb_write(r->db, r->write_slowed, nothing, &error);
    rocksdb_writebatch_destroy(nothing);
    stuck = error != NULL;
    rocksdb_free(error);
    return stuck;
}

/* Of damage in a footer RocksDB does not say the file. */
static int ingest_error(struct sb_rocks *r, char *error, const char *const *paths, size_t count, struct sb_fault *fault)
{
    struct sb_fault unwanted = {0};
    size_t size;
    int code;

    fault = fault ? fault : &unwanted;
    code = sb_rocks_work_error(r, error, fault);
    if ((code == WIRE_E_IO || code == WIRE_E_DISK_FULL) && is_stuck(r)) {
        code = fault->code = WIRE_E_IO;
        sb_rocks_fail(r, fault);
    }
    size = strlen(fault->text);
    if (code == WIRE_E_CORRUPT && !strstr(fault->text, ".sst"))
        (void) snprintf(fault->text + size, sizeof(fault->text) - size,
                        ", in one of %zu tables, the first of them \"%s\"", count, paths[0]);
    return code;
}

int sb_rocks_ingest(void *self, const char *const *paths, size_t count, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    int status = sb_rocks_failure(r, fault);

    for (int i = 0; i < INGEST_TRIES && status == WIRE_OK; i++) {
        char *error = NULL;

        if (!sb_rocks_has_room(r))
            return sb_fault_set(fault, WIRE_E_DISK_FULL, "no room on disk to take tables into the items store");
        rocksdb_ingest_external_file(r->db, paths, count, r->ingest, &error);
        if (!error)
            return WIRE_OK;
        if (!needs_flush(error))
            return ingest_error(r, error, paths, count, fault);
        rocksdb_free(error);
        status = sb_rocks_flush(r, fault);
    }
    return status != WIRE_OK ? status
                             : sb_fault_set(fault, WIRE_E_BUSY, "keys are written where tables are to be taken in");
}

/* ---- clearing ---- */

static int delete_ranges(struct sb_rocks *r, const struct wire_range *ranges, size_t count, struct sb_fault *fault)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create(); /* the store's own is the writing thread's */
    int status;

    for (size_t i = 0; i < count; i++) {
        struct sb_rocks_key low, high;

        sb_rocks_key((enum sb_family) ranges[i].family, ranges[i].low, &low);
        sb_rocks_key_end((enum sb_family) ranges[i].family, ranges[i].high, &high);
        rocksdb_writebatch_delete_range(batch, low.data, low.size, high.data, high.size);
    }
    status = sb_rocks_write_batch(r, batch, fault);
    rocksdb_writebatch_destroy(batch);
    return status;
}

int sb_rocks_clear(void *self, const struct wire_range *ranges, size_t count, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    int status = sb_rocks_failure(r, fault);

    if (status == WIRE_OK)
        status = delete_ranges(r, ranges, count, fault);
    if (status == WIRE_OK)
        status = sb_rocks_flush(r, fault);
    /* A compaction that fails is the watch's: what it would have dropped is hidden already. */
    for (size_t i = 0; i < count && status == WIRE_OK; i++) {
        enum sb_family family = (enum sb_family) ranges[i].family;
        struct sb_rocks_key low, high;

        sb_rocks_key(family, ranges[i].low, &low);
        sb_rocks_key_end(family, ranges[i].high, &high);
        rocksdb_compact_range_opt(r->db, r->compact[family], low.data, low.size, high.data, high.size);
    }
    return status;
}
