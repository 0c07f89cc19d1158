/*
 * Tests of checkpoints, on RocksDB and on the simulator's store alike: what is made, what comes in, what is installed.
 * Kills and crashes: test_sb_checkpoint_crash.c.
 */
#include "checkpoint_bed.h"

#define BOTH(name)                                                                                                     \
    static void test_##name(void **state)                                                                              \
    {                                                                                                                  \
        (void) state;                                                                                                  \
        for (int sim = 0; sim < 2; sim++) {                                                                            \
            struct bed bed;                                                                                            \
                                                                                                                       \
            open_bed(&bed, sim);                                                                                       \
            check_##name(&bed);                                                                                        \
            close_bed(&bed);                                                                                           \
        }                                                                                                              \
    }

enum { COUNT = 200 }; /* about five blocks of each family */

/* ---- happy ---- */

/* Old data of every kind is replaced, in files and in memory, in some keys and in others; neighbours are not touched. */
static void check_round_trip(struct bed *bed)
{
    struct sb_store *target = &bed->target.store;
    struct bytes bytes;

    fill_around(&bed->source.store);
    fill(&bed->source.store, "new", COUNT);
    must_flush(&bed->source.store);
    write_all(&bed->source.store, put(SB_ITEMS, "p99", "x"), drop(SB_ITEMS, "p99"));
    bytes = make(bed, NULL);

    fill_around(target);
    fill(target, "old", COUNT / 2);
    must_flush(target);
    must_compact(target);
    write_all(target, put(SB_ITEMS, "p000001", "between"), put(SB_ITEMS, "g2", "gone"), put(SB_HISTORY, "pz", "gone"));
    must_flush(target);
    write_all(target, put(SB_ITEMS, "p00007", "memory"), put(SB_ITEMS, "pzz", "memory"),
              drop_range(SB_ITEMS, "p00010", "p00020"));
    install(bed, &bytes);
    want_filled(target, NULL, "new", COUNT);
    want_around(target);
    want_range(target, NULL, SB_ITEMS, "g", "h", "g1", "g1");
    want_persisted(target, "g1", "new");
    want_get(target, SB_ITEMS, "p00007x", NULL);

    write_all(target, put(SB_ITEMS, "g1", "newer"), drop(SB_ITEMS, "p00000")); /* the partition goes on */
    want_get(target, SB_ITEMS, "g1", "newer");
    must_flush(target);
    must_compact(target);
    want_get(target, SB_ITEMS, "g1", "newer");
    want_get(target, SB_ITEMS, "p00000", NULL);
    write_all(target, put(SB_ITEMS, "g1", "new"));
    install(bed, &bytes); /* over itself */
    want_filled(target, NULL, "new", COUNT);
    must_compact(target);
    want_filled(target, NULL, "new", COUNT);
    want_around(target);
    free(bytes.data);
}

/* Ranges without records are emptied, and a checkpoint may have none at all. */
static void check_empty(struct bed *bed)
{
    struct bytes bytes = make(bed, NULL);

    fill_around(&bed->target.store);
    fill(&bed->target.store, "old", 3);
    install(bed, &bytes);
    want_range(&bed->target.store, NULL, SB_ITEMS, "g", "h", "", "");
    want_range(&bed->target.store, NULL, SB_ITEMS, "p", "q", "", "");
    want_range(&bed->target.store, NULL, SB_HISTORY, "p", "q", "", "");
    want_around(&bed->target.store);
    free(bytes.data);
    write_all(&bed->source.store, put(SB_HISTORY, "p1", "\x7f history alone"));
    bytes = make(bed, NULL);
    install(bed, &bytes);
    want_range(&bed->target.store, NULL, SB_HISTORY, "p", "q", "p1", "p1");
    free(bytes.data);
}

/* The view ordered is what is in it, whatever happens to the store before and while it is made. */
static void check_view(struct bed *bed)
{
    struct sb_store *source = &bed->source.store;
    struct bytes bytes;
    void *view;

    fill(source, "then", COUNT);
    assert_int_equal(source->view_open(source->self, &view, NULL), WIRE_OK);
    fill(source, "now", COUNT + 3);
    write_all(source, drop_range(SB_ITEMS, "p00005", "p00050"));
    must_flush(source);
    must_compact(source);
    bytes = make(bed, view);
    source->view_close(source->self, view);
    install(bed, &bytes);
    want_filled(&bed->target.store, NULL, "then", COUNT);
    free(bytes.data);
}

/* Views and iterators of before show what they showed. */
static void check_readers(struct bed *bed)
{
    struct sb_store *target = &bed->target.store;
    struct sb_fault fault = {0};
    struct sb_iterator *it;
    struct sb_value pinned;
    struct bytes bytes;
    void *view;

    fill(&bed->source.store, "new", COUNT);
    bytes = make(bed, NULL);
    fill(target, "old", 20);
    must_flush(target);
    write_all(target, put(SB_ITEMS, "g1", "old"));
    assert_int_equal(target->view_open(target->self, &view, &fault), WIRE_OK);
    assert_int_equal(target->iterate(target->self, NULL, SB_ITEMS, text("g"), text("p00001"), &it, &fault), WIRE_OK);
    assert_int_equal(target->get(target->self, SB_ITEMS, text("g1"), SB_TIER_ALL, &pinned, &fault), WIRE_OK);
    install(bed, &bytes);
    want_filled(target, NULL, "new", COUNT);
    must_flush(target);
    must_compact(target);
    want_filled(target, view, "old", 20);
    it->seek(it->self, nothing);
    want_keys(it, true, "g1 p00000");
    it->close(it->self);
    want_value(target, WIRE_OK, &pinned, "old");
    target->view_close(target->self, view);
    want_filled(target, NULL, "new", COUNT);
    free(bytes.data);
}

/* Superseded images that came in go like any others. */
static void check_collected(struct bed *bed)
{
    struct bytes bytes;

    put_history(&bed->source.store, SB_HISTORY, "p1", 100);
    put_history(&bed->source.store, SB_HISTORY, "p2", 200);
    put_history(&bed->source.store, SB_HISTORY, "p3", WIRE_TRANSACTION_BIT | 5);
    bytes = make(bed, NULL);
    install(bed, &bytes);
    want_range(&bed->target.store, NULL, SB_HISTORY, "", "", "p1 p2 p3", "p3 p2 p1");
    bed->target.store.set_horizon(bed->target.store.self, 150);
    must_compact(&bed->target.store);
    want_range(&bed->target.store, NULL, SB_HISTORY, "", "", "p2 p3", "p3 p2");
    free(bytes.data);
}

static void check_clear(struct bed *bed)
{
    struct sb_store *s = &bed->target.store;
    struct sb_fault fault = {0};
    struct bytes bytes;

    fill_around(s);
    fill(s, "old", COUNT);
    must_flush(s);
    write_all(s, put(SB_ITEMS, "pm", "memory"), put(SB_ITEMS, "g1", "memory"));
    must(s->clear(s->self, bed->ranges, RANGES, &fault), &fault);
    want_filled(s, NULL, NULL, 0);
    want_persisted(s, "g1", NULL);
    want_around(s);
    assert_int_equal(s->approximate_size(s->self, SB_ITEMS, text("p"), text("q")), 0);
    fill(&bed->source.store, "new", COUNT);
    bytes = make(bed, NULL);
    install(bed, &bytes);
    want_filled(s, NULL, "new", COUNT);
    want_around(s);
    free(bytes.data);
}

/* ---- making ---- */

static void check_given_up(struct bed *bed)
{
    struct sb_checkpoint_order order = order_of(bed, NULL);
    struct sb_checkpoint checkpoint;
    struct sb_fault fault = {0};
    _Atomic bool stop = true;

    fill(&bed->source.store, "x", COUNT);
    order.stop = &stop;
    order.rate_bytes_per_s = 1; /* would take weeks */
    assert_int_equal(sb_checkpoint_make(&bed->source.home, &order, &checkpoint, &fault), WIRE_E_STOPPING);
    assert_int_equal(files_of(&bed->source), 0);
    order.rate_bytes_per_s = UINT64_C(1) << 40;
    stop = false;
    must(sb_checkpoint_make(&bed->source.home, &order, &checkpoint, &fault), &fault);
    assert_int_equal(files_of(&bed->source), 1);
    sb_checkpoint_close(&checkpoint);
    sb_checkpoint_close(&checkpoint); /* twice is once */
}

static void check_bad_ranges(struct bed *bed)
{
    const struct wire_range swapped[] = {{SB_HISTORY, text("p"), text("q")}, {SB_ITEMS, text("p"), text("q")}};
    const struct wire_range unknown[] = {{SB_FAMILY_COUNT, text("p"), text("q")}};
    struct sb_checkpoint_order order = {.id = 1, .ranges = swapped, .count = 2};
    struct sb_receiver_order incoming = {1, 100, 1, swapped, 2};
    struct sb_checkpoint checkpoint;
    struct sb_receiver *r;
    struct sb_fault fault = {0};

    assert_int_equal(sb_checkpoint_make(&bed->source.home, &order, &checkpoint, &fault), WIRE_E_BAD_FORMAT);
    assert_int_equal(sb_receiver_open(&bed->target.home, &incoming, &r, &fault), WIRE_E_BAD_FORMAT);
    order.ranges = incoming.ranges = unknown;
    order.count = incoming.count = 1;
    assert_int_equal(sb_checkpoint_make(&bed->source.home, &order, &checkpoint, &fault), WIRE_E_BAD_FORMAT);
    assert_int_equal(sb_receiver_open(&bed->target.home, &incoming, &r, &fault), WIRE_E_BAD_FORMAT);
    order.count = 0;
    assert_int_equal(sb_checkpoint_make(&bed->source.home, &order, &checkpoint, &fault), WIRE_E_BAD_FORMAT);
}

/* ---- coming in ---- */

/* A break at any place: a link's loses nothing, a restart what is not in whole tables. */
static void check_resume(struct bed *bed)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;
    bool kept_some = false;

    fill(&bed->source.store, "new", COUNT);
    bytes = make(bed, NULL);
    for (uint64_t at = 0; at <= bytes.size; at += bytes.size / 7) {
        must(open_receiver(bed, &bytes, &r, &fault), &fault);
        must(feed(r, &bytes, at, &fault), &fault);
        assert_true(sb_receiver_have(r) >= at);
        /* Sent again from the start, or with a gap. */
        must(sb_receiver_write(r, 0, bytes.data, at, &fault), &fault);
        if (sb_receiver_have(r) + 1 < bytes.size)
            assert_int_equal(sb_receiver_write(r, sb_receiver_have(r) + 1, bytes.data, 1, &fault), WIRE_E_BAD_FORMAT);
        if (at + 10 < bytes.size)
            assert_int_equal(sb_receiver_install(r, &fault), WIRE_E_BAD_FORMAT);
        sb_receiver_close(r, true);
        open_home(bed, &bed->target, true);
        must(open_receiver(bed, &bytes, &r, &fault), &fault);
        assert_true(sb_receiver_have(r) <= at);
        kept_some = kept_some || sb_receiver_have(r) > bytes.size / 2;
        sb_receiver_close(r, true);
    }
    assert_true(kept_some);
    want_filled(&bed->target.store, NULL, NULL, 0);
    install(bed, &bytes);
    want_filled(&bed->target.store, NULL, "new", COUNT);
    free(bytes.data);
}

/* What is there of another checkpoint, or not asked for at the start, is of no use. */
static void check_leftovers(struct bed *bed)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes one, two;

    fill(&bed->source.store, "one", COUNT);
    one = make(bed, NULL);
    fill(&bed->source.store, "two", COUNT);
    two = make(bed, NULL);
    assert_int_equal(one.size, two.size);
    must(open_receiver(bed, &one, &r, &fault), &fault);
    must(feed(r, &one, one.size - 20, &fault), &fault);
    sb_receiver_close(r, true);
    assert_true(files_of(&bed->target) > 2);
    must(open_receiver(bed, &two, &r, &fault), &fault);
    assert_int_equal(sb_receiver_have(r), 0);
    assert_int_equal(files_of(&bed->target), 0);
    must(feed(r, &two, two.size, &fault), &fault);
    sb_receiver_close(r, true); /* all of it is there */
    open_home(bed, &bed->target, true);
    must(open_receiver(bed, &two, &r, &fault), &fault);
    assert_int_equal(sb_receiver_have(r), two.size);
    sb_receiver_close(r, true);
    open_home(bed, &bed->target, false);
    assert_int_equal(files_of(&bed->target), 0);
    must(open_receiver(bed, &two, &r, &fault), &fault);
    must(feed(r, &two, two.size / 2, &fault), &fault);
    sb_receiver_close(r, false);
    assert_int_equal(files_of(&bed->target), 0);
    free(one.data);
    free(two.data);
}

/* A table that got lost, or a state that is not one, means from the start. */
static void check_lost_files(struct bed *bed)
{
    static const char *const names[] = {"000000000000002a-0.sst", "000000000000002a.state"};
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;

    fill(&bed->source.store, "new", COUNT);
    bytes = make(bed, NULL);
    for (int i = 0; i < 2; i++) {
        must(open_receiver(bed, &bytes, &r, &fault), &fault);
        must(feed(r, &bytes, bytes.size / 2, &fault), &fault);
        sb_receiver_close(r, true);
        must(bed->target.files.remove(bed->target.files.self, names[i], &fault), &fault);
        must(open_receiver(bed, &bytes, &r, &fault), &fault);
        assert_int_equal(sb_receiver_have(r), 0);
        assert_int_equal(files_of(&bed->target), 0);
        sb_receiver_close(r, true);
    }
    install(bed, &bytes);
    want_filled(&bed->target.store, NULL, "new", COUNT);
    free(bytes.data);
}

/* However large it is, it becomes few tables. */
static void check_few_tables(struct bed *bed)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;

    fill(&bed->source.store, "new", 10 * COUNT);
    bytes = make(bed, NULL);
    assert_true(bytes.size > (UINT64_C(40) << 18)); /* blocks */
    must(open_receiver(bed, &bytes, &r, &fault), &fault);
    must(feed(r, &bytes, bytes.size, &fault), &fault);
    assert_in_range(files_of(&bed->target), 1 + 10, 1 + RANGES + 16);
    must(sb_receiver_install(r, &fault), &fault);
    sb_receiver_close(r, true);
    want_filled(&bed->target.store, NULL, "new", 10 * COUNT);
    free(bytes.data);
}

/* ---- hostile ---- */

/* A flipped bit anywhere is found before anything is changed, and the right bytes are taken afterwards. */
static void check_damage(struct bed *bed)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;

    fill(&bed->source.store, "new", COUNT);
    bytes = make(bed, NULL);
    fill(&bed->target.store, "old", 5);
    must(open_receiver(bed, &bytes, &r, &fault), &fault);
    for (size_t at = 0; at < bytes.size; at += at < 60 ? 1 : bytes.size / 41) {
        int status = feed(r, &bytes, at, &fault);

        must(status, &fault);
        bytes.data[at] ^= 4;
        status = feed(r, &bytes, bytes.size, &fault);
        assert_true(status == WIRE_E_BAD_CHECKSUM || status == WIRE_E_BAD_FORMAT || status == WIRE_E_SHORT_INPUT);
        assert_non_null(strstr(fault.text, "offset"));
        assert_true(sb_receiver_have(r) <= at);
        assert_int_equal(sb_receiver_install(r, &fault), WIRE_E_BAD_FORMAT);
        bytes.data[at] ^= 4;
    }
    want_filled(&bed->target.store, NULL, "old", 5);
    must(feed(r, &bytes, bytes.size, &fault), &fault);
    assert_int_equal(sb_receiver_write(r, bytes.size, "x", 1, &fault), WIRE_E_BAD_FORMAT);
    must(sb_receiver_install(r, &fault), &fault);
    sb_receiver_close(r, true);
    want_filled(&bed->target.store, NULL, "new", COUNT);
    free(bytes.data);
}

/* Blocks with right checksums, one after the other. */
struct forger {
    uint8_t data[4096];
    size_t size;
    uint32_t checksum;
};

static void forge(struct forger *f, enum wire_checkpoint_kind kind, const void *body, size_t size)
{
    struct wire_writer w = wire_writer_of(f->data + f->size, sizeof(f->data) - f->size);

    wire_checkpoint_begin(&w);
    wire_write_bytes(&w, body, size);
    f->checksum = wire_checkpoint_seal(f->data + f->size, w.size, kind, f->checksum);
    f->size += w.size;
}

static void forge_head(struct forger *f, const struct wire_range *ranges, size_t count)
{
    uint8_t body[256];
    struct wire_writer w = wire_writer_of(body, sizeof(body));

    wire_checkpoint_write_head(&w, ranges, count);
    forge(f, WIRE_CHECKPOINT_HEAD, body, w.size);
}

static void forge_data(struct forger *f, uint64_t range, const char *first, const char *second)
{
    uint8_t body[256];
    struct wire_writer w = wire_writer_of(body, sizeof(body));

    wire_write_varint(&w, range);
    wire_checkpoint_write_record(&w, text(first), text("value"));
    if (second)
        wire_checkpoint_write_record(&w, text(second), text("value"));
    forge(f, WIRE_CHECKPOINT_DATA, body, w.size);
}

static void forge_end(struct forger *f, uint8_t records)
{
    const uint8_t body[8] = {[7] = records};

    forge(f, WIRE_CHECKPOINT_END, body, sizeof(body));
}

/* The n-th forgery; false: there is none. */
static bool forge_one(int n, struct bed *bed, struct forger *f)
{
    const struct wire_range others[] = {{SB_ITEMS, text("a"), text("z")}};

    *f = (struct forger){.size = 0};
    if (n != 0 && n != 1)
        forge_head(f, bed->ranges, RANGES);
    switch (n) {
    case 0:
        forge_data(f, 0, "g1", NULL);
        break; /* no head */
    case 1:
        forge_head(f, others, 1);
        break; /* other ranges */
    case 2:
        forge_head(f, bed->ranges, RANGES);
        break; /* two heads */
    case 3:
        forge_data(f, 0, "f", NULL);
        break; /* below its range */
    case 4:
        forge_data(f, 0, "h", NULL);
        break; /* above */
    case 5:
        forge_data(f, 1, "g1", NULL);
        break; /* of another range */
    case 6:
        forge_data(f, 3, "p1", NULL);
        break; /* of no range */
    case 7:
        forge_data(f, UINT64_MAX, "p1", NULL);
        break;
    case 8:
        forge_data(f, 1, "p2", "p1");
        break; /* not ascending */
    case 9:
        forge_data(f, 1, "p1", "p1");
        break; /* twice */
    case 10:
        forge_data(f, 1, "p2", NULL), forge_data(f, 1, "p1", NULL);
        break;
    case 11:
        forge_data(f, 1, "p1", NULL), forge_data(f, 1, "p1", NULL);
        break;
    case 12:
        forge_data(f, 1, "p1", NULL), forge_data(f, 0, "g1", NULL);
        break; /* back */
    case 13:
        forge(f, WIRE_CHECKPOINT_DATA, "\1", 1);
        break; /* no records */
    case 14:
        forge(f, WIRE_CHECKPOINT_DATA, "\1\2p", 3);
        break; /* cut off */
    case 15:
        forge(f, WIRE_CHECKPOINT_DATA, "\1\2p1\0\2p", 7);
        break;
    case 16:
        forge(f, WIRE_CHECKPOINT_DATA, "", 0);
        break;
    case 17:
        forge(f, WIRE_CHECKPOINT_STATE, "", 0);
        break;
    case 18:
        forge_data(f, 1, "p1", NULL), forge_end(f, 2);
        return true; /* a record too few */
    case 19:
        forge(f, WIRE_CHECKPOINT_END, "", 0);
        break;
    case 20:
        return true; /* no end */
    case 21:
        forge_end(f, 0), forge_data(f, 1, "p1", NULL);
        break; /* more behind the end */
    default:
        return false;
    }
    forge_end(f, 1);
    return true;
}

static void check_forgeries(struct bed *bed)
{
    struct forger *f = malloc(sizeof(*f));
    int n;

    fill(&bed->target.store, "old", 5);
    for (n = 0; forge_one(n, bed, f); n++) {
        const struct bytes bytes = {f->data, f->size, f->checksum};
        struct sb_fault fault = {0};
        struct sb_receiver *r;
        int status;

        must(open_receiver(bed, &bytes, &r, &fault), &fault);
        status = feed(r, &bytes, bytes.size, &fault);
        if (status != WIRE_E_BAD_FORMAT && status != WIRE_E_SHORT_INPUT && status != WIRE_E_BAD_CHECKSUM)
            fail_msg("forgery %d: %s", n, wire_error_name(status));
        assert_int_equal(fault.code, status);
        assert_int_equal(sb_receiver_install(r, &fault), WIRE_E_BAD_FORMAT);
        sb_receiver_close(r, false);
        want_filled(&bed->target.store, NULL, "old", 5);
    }
    assert_int_equal(n, 22);
    free(f);
}

/* A whole checkpoint, but another one than ordered. */
static void check_another(struct bed *bed)
{
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;

    fill(&bed->source.store, "new", COUNT);
    bytes = make(bed, NULL);
    bytes.checksum++;
    must(open_receiver(bed, &bytes, &r, &fault), &fault);
    assert_int_equal(feed(r, &bytes, bytes.size, &fault), WIRE_E_BAD_CHECKSUM);
    assert_int_equal(sb_receiver_have(r), 0);
    sb_receiver_close(r, true);
    bytes.checksum--;
    bytes.size++;
    must(open_receiver(bed, &bytes, &r, &fault), &fault);
    assert_int_equal(feed(r, &bytes, bytes.size - 1, &fault), WIRE_E_BAD_CHECKSUM);
    sb_receiver_close(r, true);
    free(bytes.data);
}

/* ---- memory ---- */

static int make_and_install(struct bed *bed)
{
    struct sb_checkpoint_order order = order_of(bed, NULL);
    struct sb_checkpoint checkpoint;
    struct sb_fault fault = {0};
    struct sb_receiver *r;
    struct bytes bytes;
    size_t got;
    int status = sb_checkpoint_make(&bed->source.home, &order, &checkpoint, &fault);

    if (status != WIRE_OK)
        return status;
    bytes = (struct bytes){malloc(checkpoint.size), checkpoint.size, checkpoint.checksum};
    must(sb_checkpoint_read(&checkpoint, 0, bytes.data, bytes.size, &got, &fault), &fault);
    sb_checkpoint_close(&checkpoint);
    status = open_receiver(bed, &bytes, &r, &fault);
    if (status == WIRE_OK) {
        status = feed(r, &bytes, bytes.size, &fault);
        if (status == WIRE_OK)
            status = sb_receiver_install(r, &fault);
        sb_receiver_close(r, false);
    }
    free(bytes.data);
    return status;
}

/* Whichever allocation fails: nothing is left, nothing changed, and the next time it works. */
static void check_no_memory(struct bed *bed)
{
    uint64_t blocks = sb_memory_blocks();
    int failures = 0;

    fill(&bed->source.store, "new", COUNT);
    fill(&bed->target.store, "old", 5);
    for (uint64_t n = 1;; n++) {
        int status;

        sb_memory_fail_at(n);
        status = make_and_install(bed);
        sb_memory_fail_at(0);
        assert_int_equal(sb_memory_blocks(), blocks);
        if (status == WIRE_OK)
            break;
        assert_int_equal(status, WIRE_E_NOMEM);
        open_home(bed, &bed->target, false);
        assert_int_equal(files_of(&bed->source) + files_of(&bed->target), 0);
        want_filled(&bed->target.store, NULL, "old", 5);
        failures++;
    }
    assert_true(failures > 10);
    want_filled(&bed->target.store, NULL, "new", COUNT);
}

BOTH(round_trip)
BOTH(empty)
BOTH(view)
BOTH(readers)
BOTH(collected)
BOTH(clear)
BOTH(given_up)
BOTH(bad_ranges)
BOTH(resume)
BOTH(leftovers)
BOTH(lost_files)
BOTH(few_tables)
BOTH(damage)
BOTH(forgeries)
BOTH(another)
BOTH(no_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_empty),      cmocka_unit_test(test_view),
        cmocka_unit_test(test_readers),    cmocka_unit_test(test_collected),  cmocka_unit_test(test_clear),
        cmocka_unit_test(test_given_up),   cmocka_unit_test(test_bad_ranges), cmocka_unit_test(test_resume),
        cmocka_unit_test(test_leftovers),  cmocka_unit_test(test_lost_files), cmocka_unit_test(test_few_tables),
        cmocka_unit_test(test_damage),     cmocka_unit_test(test_forgeries),  cmocka_unit_test(test_another),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, make_base, remove_base);
}
