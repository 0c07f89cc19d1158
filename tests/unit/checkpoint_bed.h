/*
 * Two stores with a directory of checkpoints each, on RocksDB or in the simulator, for tests that take a partition from
 * one to the other.
 *
 * The partition is three ranges: "g" (of the group) and "p" of items, "p" of history. What lies around them is others'.
 */
#ifndef CHECKPOINT_BED_H
#define CHECKPOINT_BED_H

#include "store_files.h"

#include "sb_checkpoint.h"
#include "sim_files.h"
#include "sim_store.h"

enum { RANGES = 3, ID = 42 };

struct side {
    bool sim;
    struct sb_store store;
    struct sb_files files;
    struct sim_files *sim_files;
    char store_path[512];
    char path[512];
    struct sb_checkpoints home;
};

struct bed {
    struct side source;
    struct side target;
    struct wire_range ranges[RANGES];
    struct sim_random random;
    uint64_t table_bytes;
};

struct bytes {
    uint8_t *data;
    size_t size;
    uint32_t checksum;
};

static inline void must(int status, const struct sb_fault *fault)
{
    if (status != WIRE_OK)
        print_error("%s: %s\n", wire_error_name(status), fault->text);
    assert_int_equal(status, WIRE_OK);
}

static inline void open_home(struct bed *bed, struct side *side, bool keep)
{
    const uint64_t id = ID;
    struct sb_fault fault = {0};

    must(sb_checkpoints_open(&side->home, &side->store, &side->files, side->path, bed->table_bytes, &id, keep, &fault),
         &fault);
}

static inline void open_side(struct bed *bed, struct side *side, bool sim, const char *name)
{
    const struct sim_store_options quiet = {.seed = 1};
    struct sb_fault fault = {0};

    side->sim = sim;
    snprintf(side->store_path, sizeof(side->store_path), "%s", path_of(name));
    snprintf(side->path, sizeof(side->path), "%s-checkpoints", path_of(name));
    if (sim) {
        sim_store_open(&quiet, &side->store);
        side->sim_files = sim_files_open(&bed->random);
        side->files = sim_files_interface(side->sim_files);
        sim_store_set_files(&side->store, &side->files);
    } else {
        remove_directory(side->store_path);
        remove_directory(side->path);
        open_store(side->store_path, &side->store);
        must(sb_files_system_open(side->path, &side->files, &fault), &fault);
    }
    open_home(bed, side, false);
}

static inline size_t files_of(struct side *side);

static inline void close_side(struct side *side)
{
    if (side->sim)
        assert_int_equal(sim_store_pins(&side->store), 0);
    side->store.close(side->store.self);
    assert_int_equal(files_of(side), 0);
    if (side->sim) {
        assert_int_equal(sim_files_handles(side->sim_files), 0);
        sim_files_close(side->sim_files);
    } else {
        sb_files_system_close(&side->files);
    }
}

static inline void count_name(void *context, const char *name)
{
    (void) name;
    ++*(size_t *) context;
}

static inline size_t files_of(struct side *side)
{
    size_t count = 0;

    assert_int_equal(side->files.list(side->files.self, count_name, &count, NULL), WIRE_OK);
    return count;
}

static inline void open_bed(struct bed *bed, bool sim)
{
    *bed = (struct bed){.ranges = {{SB_ITEMS, text("g"), text("h")},
                                   {SB_ITEMS, text("p"), text("q")},
                                   {SB_HISTORY, text("p"), text("q")}},
                        .random = sim_random_of(1),
                        .table_bytes = 1};
    open_side(bed, &bed->source, sim, "source");
    open_side(bed, &bed->target, sim, "target");
}

static inline void close_bed(struct bed *bed)
{
    close_side(&bed->source);
    close_side(&bed->target);
    assert_int_equal(sb_memory_blocks(), 0);
}

/* ---- contents ---- */

enum { LARGE = 3000 };

static inline void fill_value(char value[LARGE + 1], const char *tag, int n)
{
    uint64_t random = (uint64_t) n + 1; /* does not compress, so that tables get as large as what is in them */

    for (int i = 0; i < LARGE; i++)
        value[i] = (char) ('0' + model_random(&random) % 64);
    value[LARGE] = 0;
    value[0] = '\x7f'; /* of history: above all horizons */
    memcpy(value + 8, tag, strlen(tag));
}

/* "g1", and `count` large records each of "p" items and history. */
static inline void fill(struct sb_store *s, const char *tag, int count)
{
    char key[16], value[LARGE + 1];

    write_all(s, put(SB_ITEMS, "g1", tag));
    for (int n = 0; n < count; n++) {
        snprintf(key, sizeof(key), "p%05d", n);
        fill_value(value, tag, n);
        write_all(s, put(SB_ITEMS, key, value), put(SB_HISTORY, key, value));
    }
}

static inline void want_family(struct sb_store *s, void *view, enum sb_family family, const char *tag, int count)
{
    struct sb_fault fault = {0};
    struct sb_iterator *it;
    char key[16], value[LARGE + 1];
    int n = 0;

    assert_int_equal(s->iterate(s->self, view, family, text("p"), text("q"), &it, &fault), WIRE_OK);
    for (it->seek(it->self, nothing); it->valid(it->self); it->next(it->self), n++) {
        snprintf(key, sizeof(key), "p%05d", n);
        fill_value(value, tag, n);
        assert_int_equal(wire_span_compare(it->key(it->self), text(key)), 0);
        assert_int_equal(wire_span_compare(it->value(it->self), text(value)), 0);
    }
    must(it->status(it->self, &fault), &fault);
    it->close(it->self);
    assert_int_equal(n, count);
}

/* Exactly what fill() made, NULL: nothing. */
static inline void want_filled(struct sb_store *s, void *view, const char *tag, int count)
{
    struct sb_value value;
    struct sb_fault fault = {0};

    want_value(s, s->view_get(s->self, view, SB_ITEMS, text("g1"), &value, &fault), &value, tag);
    want_family(s, view, SB_ITEMS, tag, count);
    want_family(s, view, SB_HISTORY, tag, count);
}

/* What lies around the ranges, at their very ends too. */
static inline void fill_around(struct sb_store *s)
{
    write_all(s, put(SB_ITEMS, "a", "other"), put(SB_ITEMS, "h", "other"), put(SB_ITEMS, "o", "other"),
              put(SB_ITEMS, "q", "other"), put(SB_HISTORY, "a", "\x7f other"), put(SB_HISTORY, "g1", "\x7f other"),
              put(SB_HISTORY, "q", "\x7f other"));
}

static inline void want_around(struct sb_store *s)
{
    want_range(s, NULL, SB_ITEMS, "", "g", "a", "a");
    want_range(s, NULL, SB_ITEMS, "h", "p", "h o", "o h");
    want_range(s, NULL, SB_ITEMS, "q", "", "q", "q");
    want_range(s, NULL, SB_HISTORY, "", "p", "a g1", "g1 a");
    want_range(s, NULL, SB_HISTORY, "q", "", "q", "q");
}

/* ---- from one to the other ---- */

static inline struct sb_checkpoint_order order_of(struct bed *bed, void *view)
{
    return (struct sb_checkpoint_order){.id = ID, .ranges = bed->ranges, .count = RANGES, .view = view};
}

/* A checkpoint of the source, read as a whole. Free data. */
static inline struct bytes make(struct bed *bed, void *view)
{
    struct sb_checkpoint_order order = order_of(bed, view);
    struct sb_checkpoint checkpoint;
    struct sb_fault fault = {0};
    struct bytes bytes;
    size_t got;

    must(sb_checkpoint_make(&bed->source.home, &order, &checkpoint, &fault), &fault);
    bytes = (struct bytes){malloc(checkpoint.size + 1), checkpoint.size, checkpoint.checksum};
    must(sb_checkpoint_read(&checkpoint, 0, bytes.data, bytes.size + 1, &got, &fault), &fault);
    assert_int_equal(got, bytes.size);
    sb_checkpoint_close(&checkpoint);
    assert_int_equal(files_of(&bed->source), 0);
    return bytes;
}

static inline int open_receiver(struct bed *bed, const struct bytes *bytes, struct sb_receiver **out,
                                struct sb_fault *fault)
{
    const struct sb_receiver_order order = {ID, bytes->size, bytes->checksum, bed->ranges, RANGES};

    return sb_receiver_open(&bed->target.home, &order, out, fault);
}

/* From where it stands to `end`, in pieces of changing size. */
static inline int feed(struct sb_receiver *r, const struct bytes *bytes, uint64_t end, struct sb_fault *fault)
{
    static const size_t sizes[] = {70000, 1, 300001, 9, 4096};
    int status = WIRE_OK;

    for (int i = 0; status == WIRE_OK && sb_receiver_have(r) < end; i++) {
        uint64_t at = sb_receiver_have(r);
        size_t size = sizes[i % 5] < end - at ? sizes[i % 5] : (size_t) (end - at);

        status = sb_receiver_write(r, at, bytes->data + at, size, fault);
    }
    return status;
}

static inline void install(struct bed *bed, const struct bytes *bytes)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;

    must(open_receiver(bed, bytes, &r, &fault), &fault);
    must(feed(r, bytes, bytes->size, &fault), &fault);
    assert_int_equal(sb_receiver_have(r), bytes->size);
    must(sb_receiver_install(r, &fault), &fault);
    sb_receiver_close(r, true);
    assert_int_equal(files_of(&bed->target), 0);
}

#endif
