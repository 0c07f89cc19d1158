/*
 * Synced appends: the log store (sb_log.h) against RocksDB used as a log, on the same directory, in alternation.
 *
 * log_append <directory> <batch bytes> <count>
 *
 * A batch is <batch bytes> of payload in entries of 256 bytes (the last may be shorter). One operation: append the
 * batch and have it synced. The log store: one batch, one sync. RocksDB: one write batch with a put per entry (key:
 * group and index, big-endian), WAL, sync = 1; its options are chosen for the purpose and printed. Both truncate: the
 * log store by prefix, RocksDB by delete-range in the same write batch, so that neither keeps what a log would have
 * dropped. Rounds of 1/20 of <count> alternate, so that a drift of the machine meets both; the first round of each is
 * not counted.
 */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sb_log.h"

#define ENTRY_BYTES 256
#define ROUNDS 20
#define KEEP_ENTRIES 65536
#define TRUNCATE_EVERY 1024 /* operations */
#define SEGMENT_BYTES (64 * 1024 * 1024)
#define WRITE_BUFFER_BYTES (64 * 1024 * 1024)
#define RECYCLED_WALS 4

struct plan {
    size_t batch_bytes;
    size_t entries;
    size_t count;
    uint8_t *payload;
};

struct engine {
    const char *name;
    void *self;
    void (*append)(void *self, const struct plan *plan);
    double *samples_us;
    size_t sample_count;
    double total_us;
};

static void stop(const char *what, const char *why)
{
    fprintf(stderr, "log_append: %s: %s\n", what, why);
    exit(1);
}

static double now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

static struct wire_span payload_at(const struct plan *plan, size_t i)
{
    size_t from = i * ENTRY_BYTES;
    size_t size = plan->batch_bytes - from < ENTRY_BYTES ? plan->batch_bytes - from : ENTRY_BYTES;

    return (struct wire_span){plan->payload + from, size};
}

/* --- the log store --- */

struct own {
    struct sb_files files;
    struct sb_log *log;
    struct sb_log_entry *entries;
    uint64_t next;
    uint64_t operations;
};

static void own_open(struct own *own, const char *path, const struct plan *plan)
{
    struct sb_log_options options = {.segment_bytes = SEGMENT_BYTES, .identity = 1};
    struct sb_fault fault = {0};

    if (sb_files_system_open(path, &own->files, &fault) != WIRE_OK ||
        sb_log_open(&own->files, &options, NULL, NULL, &own->log, &fault) != WIRE_OK)
        stop("open log", fault.text);
    own->next = 1;
    own->entries = calloc(plan->entries, sizeof(*own->entries));
    if (!own->entries)
        stop("open log", "out of memory");
}

static void own_append(void *self, const struct plan *plan)
{
    struct own *own = self;
    struct sb_fault fault = {0};

    for (size_t i = 0; i < plan->entries; i++)
        own->entries[i] =
            (struct sb_log_entry){.group = 1, .index = own->next++, .term = 1, .payload = payload_at(plan, i)};
    if (sb_log_append(own->log, own->entries, plan->entries, &fault) != WIRE_OK ||
        sb_log_sync(own->log, &fault) != WIRE_OK)
        stop("append", fault.text);
    if (++own->operations % TRUNCATE_EVERY == 0 && own->next > KEEP_ENTRIES &&
        sb_log_truncate_prefix(own->log, 1, own->next - KEEP_ENTRIES, &fault) != WIRE_OK)
        stop("truncate", fault.text);
}

static void own_close(struct own *own)
{
    sb_log_close(own->log);
    sb_files_system_close(&own->files);
    free(own->entries);
}

/* --- RocksDB --- */

struct rocks {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *synced;
    rocksdb_writebatch_t *batch;
    uint64_t next;
    uint64_t operations;
};

static void rocks_key(uint64_t index, uint8_t key[16])
{
    struct wire_writer w = wire_writer_of(key, 16);

    wire_write_u64(&w, 1);
    wire_write_u64(&w, index);
}

static void rocks_open(struct rocks *rocks, const char *path)
{
    char *error = NULL;

    rocks->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(rocks->options, 1);
    rocksdb_options_set_compression(rocks->options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(rocks->options, WRITE_BUFFER_BYTES);
    rocksdb_options_set_recycle_log_file_num(rocks->options, RECYCLED_WALS);
    rocks->db = rocksdb_open(rocks->options, path, &error);
    if (error)
        stop("open RocksDB", error);
    rocks->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocks->synced, 1);
    rocks->batch = rocksdb_writebatch_create();
    rocks->next = 1;
}

static void rocks_append(void *self, const struct plan *plan)
{
    struct rocks *rocks = self;
    char *error = NULL;
    uint8_t key[16];
    uint8_t to[16];

    rocksdb_writebatch_clear(rocks->batch);
    for (size_t i = 0; i < plan->entries; i++) {
        struct wire_span payload = payload_at(plan, i);

        rocks_key(rocks->next++, key);
        rocksdb_writebatch_put(rocks->batch, (char *) key, sizeof(key), (const char *) payload.data, payload.size);
    }
    if (++rocks->operations % TRUNCATE_EVERY == 0 && rocks->next > KEEP_ENTRIES) {
        rocks_key(0, key);
        rocks_key(rocks->next - KEEP_ENTRIES, to);
        rocksdb_writebatch_delete_range(rocks->batch, (char *) key, sizeof(key), (char *) to, sizeof(to));
    }
    rocksdb_write(rocks->db, rocks->synced, rocks->batch, &error);
    if (error)
        stop("write to RocksDB", error);
}

static void rocks_close(struct rocks *rocks)
{
    rocksdb_writebatch_destroy(rocks->batch);
    rocksdb_writeoptions_destroy(rocks->synced);
    rocksdb_close(rocks->db);
    rocksdb_options_destroy(rocks->options);
}

/* --- measuring --- */

static void run_round(struct engine *engine, const struct plan *plan, bool counted)
{
    for (size_t i = 0; i < plan->count / ROUNDS; i++) {
        double start = now_us();
        double took;

        engine->append(engine->self, plan);
        took = now_us() - start;
        if (!counted)
            continue;
        engine->samples_us[engine->sample_count++] = took;
        engine->total_us += took;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *) a;
    double right = *(const double *) b;

    return left < right ? -1 : left > right;
}

static void report(struct engine *engine, const struct plan *plan)
{
    size_t n = engine->sample_count;
    double per_s = (double) n / engine->total_us * 1e6;

    qsort(engine->samples_us, n, sizeof(double), compare_doubles);
    printf("%-8s  %8zu appends  %8.0f /s  %7.1f MB/s  median %7.0f us  p99 %7.0f us  max %8.0f us\n", engine->name, n,
           per_s, per_s * (double) plan->batch_bytes / 1e6, engine->samples_us[n / 2], engine->samples_us[n * 99 / 100],
           engine->samples_us[n - 1]);
}

static struct plan make_plan(char **argv)
{
    struct plan plan = {.batch_bytes = strtoull(argv[2], NULL, 10), .count = strtoull(argv[3], NULL, 10)};
    uint32_t noise = 1;

    if (plan.batch_bytes == 0 || plan.batch_bytes > 64 << 20 || plan.count < ROUNDS * 10)
        stop("arguments", "1 byte to 64 MiB a batch, at least 200 batches");
    plan.entries = (plan.batch_bytes + ENTRY_BYTES - 1) / ENTRY_BYTES;
    plan.payload = malloc(plan.batch_bytes);
    if (!plan.payload)
        stop("arguments", "out of memory");
    for (size_t i = 0; i < plan.batch_bytes; i++) {
        noise = noise * 1664525 + 1013904223;
        plan.payload[i] = (uint8_t) (noise >> 24);
    }
    return plan;
}

int main(int argc, char **argv)
{
    struct own own = {0};
    struct rocks rocks = {0};
    struct engine engines[2] = {{.name = "sb_log", .self = &own, .append = own_append},
                                {.name = "RocksDB", .self = &rocks, .append = rocks_append}};
    struct plan plan;
    char path[4096];

    if (argc != 4)
        stop("usage", "log_append <directory> <batch bytes> <count>");
    plan = make_plan(argv);
    snprintf(path, sizeof(path), "%s/sb_log", argv[1]);
    own_open(&own, path, &plan);
    snprintf(path, sizeof(path), "%s/rocksdb", argv[1]);
    rocks_open(&rocks, path);
    printf("batch %zu bytes in %zu entries, %zu appends each, %d rounds, segment %d MiB; RocksDB: write buffer %d MiB, "
           "%d recycled WALs, "
           "no compression, sync\n",
           plan.batch_bytes, plan.entries, plan.count, ROUNDS, SEGMENT_BYTES >> 20, WRITE_BUFFER_BYTES >> 20,
           RECYCLED_WALS);
    for (int i = 0; i < 2; i++)
        engines[i].samples_us = malloc(plan.count * sizeof(double));
    if (!engines[0].samples_us || !engines[1].samples_us)
        stop("start", "out of memory");
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 2; i++)
            run_round(&engines[(i + round) % 2], &plan, round > 0);
    for (int i = 0; i < 2; i++) {
        report(&engines[i], &plan);
        free(engines[i].samples_us);
    }
    free(plan.payload);
    own_close(&own);
    rocks_close(&rocks);
    return 0;
}
