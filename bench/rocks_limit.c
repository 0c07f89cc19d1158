/*
 * RocksDB alone, without Postgres, lanes or versions: what the items store could do at most.
 *
 * rocks_limit DIRECTORY ITEMS SECONDS CACHE_MB WRITE_BUFFER_MB THREADS...
 *
 * Happy path: the benchmark's items (values.h) are put without a write-ahead log into a new store in DIRECTORY, with
 * the items store's options (sb_rocks_options.c), flushed and compacted. Then, for each of THREADS, so many threads get
 * uniformly chosen items for SECONDS. Then, for each of THREADS as batch size, one thread writes batches of so many new
 * items, each batch synced to the write-ahead log: what so many clients could reach who share each sync. It prints one
 * line per measurement, separated by tabs: operation, threads or batch size, operations per second, median and 99th
 * percentile in microseconds (of a get, or of a batch), CPU microseconds per operation.
 *
 * Failure modes: any error of RocksDB, and a get that finds nothing, end the program with 1.
 */
#include <inttypes.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "values.h"

#define THREADS_MAX 256
#define SAMPLES_MAX (1 << 18) /* of latencies, per thread; the first ones */
#define VALUE_BYTES (BENCH_FIELDS * BENCH_FIELD_BYTES)
#define MB (UINT64_C(1) << 20)

struct plan {
    const char *directory;
    int64_t items;
    double seconds;
    uint64_t cache_bytes;
    uint64_t write_buffer_bytes;
};

struct store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *unlogged;
    rocksdb_writeoptions_t *synced;
};

struct getter {
    pthread_t thread;
    const struct store *store;
    const struct plan *plan;
    uint64_t seed;
    uint64_t count;
    uint32_t *samples; /* nanoseconds */
    size_t sample_count;
};

static void check(char *error)
{
    if (!error)
        return;
    fprintf(stderr, "rocks_limit: %s\n", error);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static double cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static size_t make_key(int64_t number, char *key)
{
    return (size_t) snprintf(key, BENCH_KEY_MAX, "user%" PRId64, bench_hash(number));
}

static void make_value(int64_t number, char *value)
{
    for (uint32_t field = 0; field < BENCH_FIELDS; field++)
        bench_field((uint64_t) number, field, value + field * BENCH_FIELD_BYTES);
}

/* As the items store: blocks of 8 KiB, bloom filters, LZ4 and in the lowest level ZSTD, dynamic levels. */
static void open_store(const struct plan *plan, struct store *store)
{
    const int levels[] = {rocksdb_lz4_compression, rocksdb_lz4_compression, rocksdb_lz4_compression,
                          rocksdb_lz4_compression, rocksdb_lz4_compression, rocksdb_lz4_compression,
                          rocksdb_zstd_compression};
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_options_t *options = rocksdb_options_create();
    char *error = NULL;

    rocksdb_block_based_options_set_block_size(table, 8 * 1024);
    rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru(plan->cache_bytes));
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_write_buffer_size(options, plan->write_buffer_bytes);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_num_levels(options, (int) (sizeof(levels) / sizeof(levels[0])));
    rocksdb_options_set_compression_per_level(options, levels, sizeof(levels) / sizeof(levels[0]));
    rocksdb_options_set_bottommost_compression(options, rocksdb_zstd_compression);
    store->options = options;
    store->db = rocksdb_open(options, plan->directory, &error);
    check(error);
    store->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->read, 1);
    store->unlogged = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(store->unlogged, 1);
    store->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->synced, 1);
    rocksdb_block_based_options_destroy(table);
}

static void load(const struct plan *plan, struct store *store)
{
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    char value[VALUE_BYTES];
    char key[BENCH_KEY_MAX];
    char *error = NULL;

    for (int64_t number = 1; number <= plan->items; number++) {
        size_t key_size = make_key(number, key);

        make_value(number, value);
        rocksdb_put(store->db, store->unlogged, key, key_size, value, sizeof(value), &error);
        check(error);
    }
    rocksdb_flush(store->db, flush, &error);
    check(error);
    rocksdb_compact_range(store->db, NULL, 0, NULL, 0);
    rocksdb_flushoptions_destroy(flush);
}

static void get_one(const struct store *store, int64_t number)
{
    char key[BENCH_KEY_MAX];
    size_t key_size = make_key(number, key);
    char *error = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(store->db, store->read, key, key_size, &error);

    check(error);
    if (!slice) {
        fprintf(stderr, "rocks_limit: item %" PRId64 " is missing\n", number);
        exit(1);
    }
    rocksdb_pinnableslice_destroy(slice);
}

static void *get_main(void *argument)
{
    struct getter *g = argument;
    uint64_t end = now_ns() + (uint64_t) (g->plan->seconds * 1e9);
    uint64_t before = now_ns();

    while (before < end) {
        uint64_t after;

        get_one(g->store, (int64_t) (bench_random(&g->seed) % (uint64_t) g->plan->items) + 1);
        after = now_ns();
        if (g->sample_count < SAMPLES_MAX)
            g->samples[g->sample_count++] = (uint32_t) (after - before);
        before = after;
        g->count++;
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *) a;
    uint32_t right = *(const uint32_t *) b;

    return left < right ? -1 : left > right;
}

static void print_line(const char *operation, int size, double per_s, uint32_t *samples, size_t count, double cpu)
{
    qsort(samples, count, sizeof(*samples), compare);
    printf("%s\t%d\t%.0f\t%.1f\t%.1f\t%.2f\n", operation, size, per_s, samples[count / 2] / 1e3,
           samples[count - 1 - count / 100] / 1e3, cpu);
    fflush(stdout);
}

static uint32_t *new_samples(size_t count)
{
    uint32_t *samples = malloc(count * sizeof(*samples));

    if (!samples) {
        fprintf(stderr, "rocks_limit: out of memory\n");
        exit(1);
    }
    return samples;
}

static void measure_gets(const struct plan *plan, const struct store *store, int threads)
{
    static struct getter getters[THREADS_MAX];
    uint32_t *samples = new_samples((size_t) threads * SAMPLES_MAX);
    uint64_t begin = now_ns();
    double cpu = cpu_us();
    size_t sampled = 0;
    uint64_t count = 0;

    for (int i = 0; i < threads; i++) {
        getters[i] = (struct getter){
            .store = store, .plan = plan, .seed = begin + (uint64_t) i, .samples = new_samples(SAMPLES_MAX)};
        if (pthread_create(&getters[i].thread, NULL, get_main, &getters[i]) != 0) {
            fprintf(stderr, "rocks_limit: could not make a thread\n");
            exit(1);
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(getters[i].thread, NULL);
        count += getters[i].count;
        memcpy(samples + sampled, getters[i].samples, getters[i].sample_count * sizeof(*samples));
        sampled += getters[i].sample_count;
        free(getters[i].samples);
    }
    print_line("get", threads, (double) count * 1e9 / (double) (now_ns() - begin), samples, sampled,
               (cpu_us() - cpu) / (double) count);
    free(samples);
}

static void measure_batches(const struct plan *plan, const struct store *store, int batch_size, int64_t *next)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    uint32_t *samples = new_samples(SAMPLES_MAX);
    uint64_t begin = now_ns();
    uint64_t end = begin + (uint64_t) (plan->seconds * 1e9);
    double cpu = cpu_us();
    size_t batches = 0;
    char *error = NULL;

    for (uint64_t before = begin; before < end && batches < SAMPLES_MAX; before = now_ns()) {
        rocksdb_writebatch_clear(batch);
        for (int i = 0; i < batch_size; i++) {
            char key[BENCH_KEY_MAX];
            char value[VALUE_BYTES];
            size_t key_size = make_key(*next, key);

            make_value((*next)++, value);
            rocksdb_writebatch_put(batch, key, key_size, value, sizeof(value));
        }
        rocksdb_write(store->db, store->synced, batch, &error);
        check(error);
        samples[batches++] = (uint32_t) (now_ns() - before);
    }
    print_line("put", batch_size, (double) batches * batch_size * 1e9 / (double) (now_ns() - begin), samples, batches,
               (cpu_us() - cpu) / (double) batches / batch_size);
    rocksdb_writebatch_destroy(batch);
    free(samples);
}

int main(int argc, char **argv)
{
    struct plan plan;
    struct store store;
    int64_t next;

    if (argc < 7 || strtoll(argv[2], NULL, 10) < 1 || strtod(argv[3], NULL) <= 0) {
        fprintf(stderr, "usage: rocks_limit DIRECTORY ITEMS SECONDS CACHE_MB WRITE_BUFFER_MB THREADS...\n");
        return 2;
    }
    plan = (struct plan){.directory = argv[1],
                         .items = strtoll(argv[2], NULL, 10),
                         .seconds = strtod(argv[3], NULL),
                         .cache_bytes = strtoull(argv[4], NULL, 10) * MB,
                         .write_buffer_bytes = strtoull(argv[5], NULL, 10) * MB};
    for (int i = 6; i < argc; i++)
        if (atoi(argv[i]) < 1 || atoi(argv[i]) > THREADS_MAX) {
            fprintf(stderr, "rocks_limit: THREADS must be from 1 to %d\n", THREADS_MAX);
            return 2;
        }
    open_store(&plan, &store);
    load(&plan, &store);
    for (int64_t number = 1; number <= plan.items; number++)
        get_one(&store, number); /* warm */
    for (int i = 6; i < argc; i++)
        measure_gets(&plan, &store, atoi(argv[i]));
    next = plan.items + 1;
    for (int i = 6; i < argc; i++)
        measure_batches(&plan, &store, atoi(argv[i]), &next);
    rocksdb_close(store.db);
    return 0;
}
