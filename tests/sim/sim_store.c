/*
 * See sim_store.h.
 *
 * A family is a sorted array of records. Records and arrays count their references: a view, an iterator or the flushed
 * state shares the array, and the next write copies it first (records are shared on). So a flush or a view costs
 * nothing, and a write costs a move of pointers.
 *
 * Failure modes: none of its own but those asked for; misuse (a pin left at crash or close, a read through a closed
 * store) aborts with a message, since the simulator's user has a bug then.
 */
#include "sim_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "sim_table.h"

#include "wire_clock.h"

struct record {
    size_t references;
    size_t key_size;
    size_t value_size;
    uint8_t bytes[];
};

struct image {
    size_t references;
    size_t count;
    size_t capacity;
    struct record **records;
};

struct sim_view {
    struct image *images[SB_FAMILY_COUNT];
    struct sim_view *next;
};

struct sim_store {
    struct sim_store_options options;
    uint64_t random;
    struct image *newest[SB_FAMILY_COUNT];
    struct image *durable[SB_FAMILY_COUNT];
    struct sim_view *views;
    struct sb_files *files;
    uint64_t horizon;
    uint64_t fail_write;
    int fail_code;
    size_t pins;
    uint64_t flushes, compactions, flushed_bytes, compacted_bytes;
};

struct sim_iterator {
    struct sb_iterator face;
    struct sim_store *store;
    struct image *image;
    size_t low; /* positions: [low, high) is within bounds */
    size_t high;
    size_t at; /* valid if low <= at < high */
};

static void *must(void *memory)
{
    if (memory)
        return memory;
    fputs("sim_store: out of memory\n", stderr);
    abort();
}

static void demand(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "sim_store: %s\n", what);
    abort();
}

/* splitmix64 */
static bool chance(struct sim_store *s, uint32_t per_mille)
{
    uint64_t x = s->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % 1000 < per_mille;
}

/* ---- records and images ---- */

static struct wire_span key_of(const struct record *record)
{
    return (struct wire_span){record->bytes, record->key_size};
}

static struct wire_span value_of(const struct record *record)
{
    return (struct wire_span){record->bytes + record->key_size, record->value_size};
}

static struct record *record_make(struct wire_span key, struct wire_span value)
{
    struct record *record = must(malloc(sizeof(*record) + key.size + value.size));

    *record = (struct record){1, key.size, value.size};
    if (key.size > 0)
        memcpy(record->bytes, key.data, key.size);
    if (value.size > 0)
        memcpy(record->bytes + key.size, value.data, value.size);
    return record;
}

static void record_drop(struct record *record)
{
    if (--record->references == 0)
        free(record);
}

static struct image *image_share(struct image *image)
{
    image->references++;
    return image;
}

static void image_drop(struct image *image)
{
    if (--image->references > 0)
        return;
    for (size_t i = 0; i < image->count; i++)
        record_drop(image->records[i]);
    free(image->records);
    free(image);
}

static struct image *image_make(void)
{
    struct image *image = must(calloc(1, sizeof(*image)));

    image->references = 1;
    return image;
}

/* Makes *image one that nobody else sees. */
static struct image *image_own(struct image **image)
{
    struct image *old = *image;
    struct image *copy;

    if (old->references == 1)
        return old;
    copy = image_make();
    copy->count = copy->capacity = old->count;
    if (old->count > 0) {
        copy->records = must(malloc(old->count * sizeof(*copy->records)));
        memcpy(copy->records, old->records, old->count * sizeof(*copy->records));
    }
    for (size_t i = 0; i < copy->count; i++)
        copy->records[i]->references++;
    image_drop(old);
    return *image = copy;
}

/* Position of the first key >= key. */
static size_t image_find(const struct image *image, struct wire_span key)
{
    size_t low = 0, high = image->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (wire_span_compare(key_of(image->records[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct record *image_get(const struct image *image, struct wire_span key)
{
    size_t at = image_find(image, key);

    if (at == image->count || wire_span_compare(key_of(image->records[at]), key) != 0)
        return NULL;
    return image->records[at];
}

/* Replace the records in [from, to) by `record` or, if that is NULL, by nothing. */
static void image_replace(struct image *image, size_t from, size_t to, struct record *record)
{
    size_t tail = image->count - to;
    size_t added = record ? 1 : 0;

    for (size_t i = from; i < to; i++)
        record_drop(image->records[i]);
    if (from + added + tail > image->capacity) {
        image->capacity = image->capacity ? 2 * image->capacity : 16;
        image->records = must(realloc(image->records, image->capacity * sizeof(*image->records)));
    }
    if (tail > 0)
        memmove(image->records + from + added, image->records + to, tail * sizeof(*image->records));
    if (record)
        image->records[from] = record;
    image->count = from + added + tail;
}

static uint64_t image_bytes(const struct image *image, size_t from, size_t to)
{
    uint64_t bytes = 0;

    for (size_t i = from; i < to; i++)
        bytes += image->records[i]->key_size + image->records[i]->value_size;
    return bytes;
}

/* ---- reads ---- */

static int read_from(struct sim_store *s, const struct image *image, struct wire_span key, struct sb_value *out)
{
    struct record *record = image_get(image, key);

    *out = (struct sb_value){0};
    if (!record)
        return WIRE_E_NOT_FOUND;
    record->references++;
    s->pins++;
    *out = (struct sb_value){value_of(record), record};
    return WIRE_OK;
}

static int sim_get(void *self, enum sb_family family, struct wire_span key, enum sb_tier tier, struct sb_value *out,
                   struct sb_fault *fault)
{
    struct sim_store *s = self;

    (void) fault;
    *out = (struct sb_value){0};
    if (tier == SB_TIER_MEMORY && chance(s, s->options.would_block_per_mille))
        return WIRE_E_WOULD_BLOCK;
    return read_from(s, s->newest[family], key, out);
}

static int sim_multi_get(void *self, enum sb_family family, const struct wire_span *keys, size_t count,
                         struct sb_value *out, int *codes, struct sb_fault *fault)
{
    struct sim_store *s = self;

    (void) fault;
    for (size_t i = 0; i < count; i++)
        codes[i] = read_from(s, s->newest[family], keys[i], &out[i]);
    return WIRE_OK;
}

static void sim_release(void *self, struct sb_value *value)
{
    struct sim_store *s = self;

    if (value->pin) {
        record_drop(value->pin);
        s->pins--;
    }
    *value = (struct sb_value){0};
}

static int sim_persisted(void *self, struct wire_span key, struct sb_value *out, struct sb_fault *fault)
{
    struct sim_store *s = self;

    (void) fault;
    return read_from(s, s->durable[SB_ITEMS], key, out);
}

static int sim_view_open(void *self, void **view, struct sb_fault *fault)
{
    struct sim_store *s = self;
    struct sim_view *v = must(calloc(1, sizeof(*v)));

    (void) fault;
    for (int family = 0; family < SB_FAMILY_COUNT; family++)
        v->images[family] = image_share(s->newest[family]);
    v->next = s->views;
    s->views = v;
    s->pins++;
    *view = v;
    return WIRE_OK;
}

static void sim_view_close(void *self, void *view)
{
    struct sim_store *s = self;
    struct sim_view **at = &s->views;

    if (!view)
        return;
    while (*at && *at != view)
        at = &(*at)->next;
    demand(*at != NULL, "a view that is not open was closed");
    *at = (*at)->next;
    for (int family = 0; family < SB_FAMILY_COUNT; family++)
        image_drop(((struct sim_view *) view)->images[family]);
    free(view);
    s->pins--;
}

static int sim_view_get(void *self, void *view, enum sb_family family, struct wire_span key, struct sb_value *out,
                        struct sb_fault *fault)
{
    struct sim_store *s = self;
    struct sim_view *v = view;

    (void) fault;
    return read_from(s, v ? v->images[family] : s->newest[family], key, out);
}

/* ---- iterators ---- */

static bool iterator_valid(void *self)
{
    struct sim_iterator *it = self;

    return it->at >= it->low && it->at < it->high;
}

static void iterator_seek(void *self, struct wire_span key)
{
    struct sim_iterator *it = self;
    size_t at = image_find(it->image, key);

    it->at = at < it->low ? it->low : at;
}

/* `at` is unsigned: one before position 0 is SIZE_MAX, which is not valid either. */
static void iterator_seek_last(void *self, struct wire_span key)
{
    struct sim_iterator *it = self;
    size_t at = it->high;

    if (key.size > 0) {
        at = image_find(it->image, key);
        if (at < it->image->count && wire_span_compare(key_of(it->image->records[at]), key) == 0)
            at++;
        at = at > it->high ? it->high : at;
    }
    it->at = at - 1;
}

static void iterator_next(void *self)
{
    struct sim_iterator *it = self;

    if (iterator_valid(it))
        it->at++;
}

static void iterator_prev(void *self)
{
    struct sim_iterator *it = self;

    if (iterator_valid(it))
        it->at--;
}

static struct wire_span iterator_key(void *self)
{
    struct sim_iterator *it = self;

    demand(iterator_valid(it), "key of an iterator without position");
    return key_of(it->image->records[it->at]);
}

static struct wire_span iterator_value(void *self)
{
    struct sim_iterator *it = self;

    demand(iterator_valid(it), "value of an iterator without position");
    return value_of(it->image->records[it->at]);
}

static int iterator_status(void *self, struct sb_fault *fault)
{
    (void) self;
    (void) fault;
    return WIRE_OK;
}

static void iterator_close(void *self)
{
    struct sim_iterator *it = self;

    image_drop(it->image);
    it->store->pins--;
    free(it);
}

static int sim_iterate(void *self, void *view, enum sb_family family, struct wire_span low, struct wire_span high,
                       struct sb_iterator **out, struct sb_fault *fault)
{
    struct sim_store *s = self;
    struct sim_view *v = view;
    struct sim_iterator *it = must(calloc(1, sizeof(*it)));

    (void) fault;
    it->store = s;
    it->image = image_share(v ? v->images[family] : s->newest[family]);
    it->low = image_find(it->image, low);
    it->high = high.size > 0 ? image_find(it->image, high) : it->image->count;
    it->at = SIZE_MAX;
    it->face = (struct sb_iterator){
        it,           iterator_seek,  iterator_seek_last, iterator_valid, iterator_next, iterator_prev,
        iterator_key, iterator_value, iterator_status,    iterator_close};
    s->pins++;
    *out = &it->face;
    return WIRE_OK;
}

/* ---- flush and compaction ---- */

static void flush_now(struct sim_store *s)
{
    s->flushes++;
    for (int family = 0; family < SB_FAMILY_COUNT; family++) {
        s->flushed_bytes += image_bytes(s->newest[family], 0, s->newest[family]->count);
        image_drop(s->durable[family]);
        s->durable[family] = image_share(s->newest[family]);
    }
}

static bool droppable(const struct record *record, uint64_t horizon)
{
    struct wire_span value = value_of(record);
    struct wire_reader r = wire_reader_of(value.data, value.size);
    uint64_t superseded_at = wire_read_u64(&r);

    return !r.failed && !wire_version_is_transaction(superseded_at) && superseded_at < horizon;
}

/* What the compaction filter drops of [low, high). */
static void filter(struct image **history, struct wire_span low, struct wire_span high, uint64_t horizon)
{
    struct image *image = image_own(history);
    size_t end = high.size > 0 ? image_find(image, high) : image->count;

    for (size_t at = image_find(image, low); at < end;) {
        if (droppable(image->records[at], horizon)) {
            image_replace(image, at, at + 1, NULL);
            end--;
        } else {
            at++;
        }
    }
}

/* An entry goes from each state by what it says there, as it goes from table files and from views of RocksDB. */
static void compact_now(struct sim_store *s, struct wire_span low, struct wire_span high)
{
    filter(&s->newest[SB_HISTORY], low, high, s->horizon);
    filter(&s->durable[SB_HISTORY], low, high, s->horizon);
    for (struct sim_view *v = s->views; v; v = v->next)
        filter(&v->images[SB_HISTORY], low, high, s->horizon);
    s->compactions++;
    s->compacted_bytes += image_bytes(s->newest[SB_HISTORY], 0, s->newest[SB_HISTORY]->count);
}

static int sim_flush(void *self, struct sb_fault *fault)
{
    (void) fault;
    flush_now(self);
    return WIRE_OK;
}

static bool sim_is_roomy(void *self)
{
    (void) self;
    return true;
}

static void sim_set_horizon(void *self, uint64_t version)
{
    struct sim_store *s = self;

    if (version > s->horizon)
        s->horizon = version;
}

static int sim_compact(void *self, struct wire_span low, struct wire_span high, struct sb_fault *fault)
{
    (void) fault;
    compact_now(self, low, high);
    return WIRE_OK;
}

/* ---- writes ---- */

static int check_change(const struct sb_change *change, struct sb_fault *fault)
{
    if (change->kind < SB_PUT || change->kind > SB_DELETE_RANGE)
        return sb_fault_set(fault, WIRE_E_INTERNAL, "a change of unknown kind %d", (int) change->kind);
    if (change->key.size > SB_STORE_KEY_MAX && change->kind != SB_DELETE_RANGE)
        return sb_fault_set(fault, WIRE_E_KEY_SIZE, "a key of %zu bytes", change->key.size);
    return WIRE_OK;
}

static void apply(struct sim_store *s, const struct sb_change *change)
{
    struct image *image = image_own(&s->newest[change->family]);
    size_t from = image_find(image, change->key);
    size_t to = from;

    if (change->kind == SB_DELETE_RANGE) {
        to = image_find(image, change->value);
        if (from < to)
            image_replace(image, from, to, NULL);
        return;
    }
    if (from < image->count && wire_span_compare(key_of(image->records[from]), change->key) == 0)
        to++;
    image_replace(image, from, to, change->kind == SB_PUT ? record_make(change->key, change->value) : NULL);
}

static bool must_fail(struct sim_store *s)
{
    return s->fail_write > 0 && --s->fail_write == 0;
}

static int sim_write(void *self, const struct sb_change *changes, size_t count, struct sb_fault *fault)
{
    static const struct wire_span everything;
    struct sim_store *s = self;

    if (must_fail(s))
        return sb_fault_set(fault, s->fail_code, "simulated failure of a write");
    for (size_t i = 0; i < count; i++) {
        int status = check_change(&changes[i], fault);

        if (status != WIRE_OK)
            return status;
    }
    for (size_t i = 0; i < count; i++)
        apply(s, &changes[i]);
    if (chance(s, s->options.flush_per_mille))
        flush_now(s);
    if (chance(s, s->options.compact_per_mille))
        compact_now(s, everything, everything);
    return WIRE_OK;
}

/* ---- tables ---- */

static int sim_table_begin(void *self, const char *path, enum sb_family family, struct wire_span low,
                           struct sb_table **out, struct sb_fault *fault)
{
    struct sim_store *s = self;

    demand(s->files != NULL, "a table without a directory, see sim_store_set_files");
    return sim_table_create(s->files, path, family, low, out, fault);
}

static void clear_image(struct image **which, const struct wire_range *range)
{
    struct image *image = image_own(which);
    size_t from = image_find(image, range->low);
    size_t to = range->high.size > 0 ? image_find(image, range->high) : image->count;

    if (from < to)
        image_replace(image, from, to, NULL);
}

/* In the state of now and in the one that survives, as a table file of RocksDB is in both. */
static void take_in(struct sim_store *s, struct sim_table *table)
{
    const struct wire_range *range = &table->range;
    struct wire_span key, value;

    clear_image(&s->newest[range->family], range);
    clear_image(&s->durable[range->family], range);
    while (sim_table_next(table, &key, &value)) {
        struct record *record = record_make(key, value);
        struct image **images[] = {&s->newest[range->family], &s->durable[range->family]};

        demand(wire_range_holds(range, key), "a table with a key outside its range");
        record->references = 2;
        for (int i = 0; i < 2; i++) {
            struct image *image = image_own(images[i]);
            size_t at = image_find(image, key);

            image_replace(image, at, at, record);
        }
    }
}

static int sim_ingest(void *self, const char *const *paths, size_t count, struct sb_fault *fault)
{
    struct sim_store *s = self;
    struct sim_table *tables = must(calloc(count, sizeof(*tables)));
    int status = must_fail(s) ? sb_fault_set(fault, s->fail_code, "simulated failure of an ingestion") : WIRE_OK;

    for (size_t i = 0; i < count && status == WIRE_OK; i++)
        status = sim_table_load(s->files, paths[i], &tables[i], fault);
    if (status == WIRE_OK && chance(s, s->options.flush_per_mille))
        flush_now(s);
    for (size_t i = 0; i < count && status == WIRE_OK; i++) {
        take_in(s, &tables[i]);
        sim_table_remove(s->files, paths[i]);
    }
    for (size_t i = 0; i < count; i++)
        sim_table_unload(&tables[i]);
    free(tables);
    return status;
}

static int sim_clear(void *self, const struct wire_range *ranges, size_t count, struct sb_fault *fault)
{
    struct sim_store *s = self;

    if (must_fail(s))
        return sb_fault_set(fault, s->fail_code, "simulated failure of a clearing");
    for (size_t i = 0; i < count; i++) {
        clear_image(&s->newest[ranges[i].family], &ranges[i]);
        clear_image(&s->durable[ranges[i].family], &ranges[i]);
    }
    if (chance(s, s->options.flush_per_mille))
        flush_now(s);
    return WIRE_OK;
}

/* ---- the rest ---- */

static uint64_t sim_approximate_size(void *self, enum sb_family family, struct wire_span low, struct wire_span high)
{
    struct sim_store *s = self;
    const struct image *image = s->durable[family];
    size_t end = high.size > 0 ? image_find(image, high) : image->count;

    return image_bytes(image, image_find(image, low), end); /* none if the range is reversed */
}

static void sim_give_up(void *self)
{
    (void) self;
}

static void sim_status(void *self, struct sb_store_status *out)
{
    struct sim_store *s = self;

    *out = (struct sb_store_status){
        .items_bytes = image_bytes(s->durable[SB_ITEMS], 0, s->durable[SB_ITEMS]->count),
        .history_bytes = image_bytes(s->durable[SB_HISTORY], 0, s->durable[SB_HISTORY]->count),
        .items_keys = s->newest[SB_ITEMS]->count,
        .history_keys = s->newest[SB_HISTORY]->count,
        .flushes = s->flushes,
        .compactions = s->compactions,
        .flushed_bytes = s->flushed_bytes,
        .compacted_bytes = s->compacted_bytes,
    };
}

static void sim_close(void *self)
{
    struct sim_store *s = self;

    demand(s->pins == 0, "closed while values, views or iterators are not released");
    for (int family = 0; family < SB_FAMILY_COUNT; family++) {
        image_drop(s->newest[family]);
        image_drop(s->durable[family]);
    }
    free(s);
}

void sim_store_open(const struct sim_store_options *options, struct sb_store *out)
{
    struct sim_store *s = must(calloc(1, sizeof(*s)));

    s->options = *options;
    s->random = options->seed;
    for (int family = 0; family < SB_FAMILY_COUNT; family++) {
        s->newest[family] = image_make();
        s->durable[family] = image_make();
    }
    *out = (struct sb_store){
        .self = s,
        .get = sim_get,
        .multi_get = sim_multi_get,
        .release = sim_release,
        .write = sim_write,
        .view_open = sim_view_open,
        .view_close = sim_view_close,
        .view_get = sim_view_get,
        .iterate = sim_iterate,
        .flush = sim_flush,
        .persisted = sim_persisted,
        .table_create = sim_table_begin,
        .ingest = sim_ingest,
        .clear = sim_clear,
        .set_horizon = sim_set_horizon,
        .is_roomy = sim_is_roomy,
        .compact = sim_compact,
        .approximate_size = sim_approximate_size,
        .status = sim_status,
        .give_up = sim_give_up,
        .close = sim_close,
    };
}

void sim_store_tune(struct sb_store *store, const struct sim_store_options *options)
{
    ((struct sim_store *) store->self)->options = *options;
}

void sim_store_set_files(struct sb_store *store, struct sb_files *files)
{
    ((struct sim_store *) store->self)->files = files;
}

void sim_store_crash(struct sb_store *store)
{
    struct sim_store *s = store->self;

    demand(s->pins == 0, "crashed while values, views or iterators are not released");
    for (int family = 0; family < SB_FAMILY_COUNT; family++) {
        image_drop(s->newest[family]);
        s->newest[family] = image_share(s->durable[family]);
    }
    s->horizon = 0;
}

void sim_store_fail_write(struct sb_store *store, uint64_t n, int code)
{
    struct sim_store *s = store->self;

    s->fail_write = n;
    s->fail_code = code;
}

size_t sim_store_pins(const struct sb_store *store)
{
    return ((const struct sim_store *) store->self)->pins;
}
