/*
 * What every struct sb_store must do, whatever it stands on: run by test_sb_rocks.c against RocksDB and by
 * test_sim_store.c against the simulator's store, so that both keep the same contract.
 *
 * Each check takes an empty store that flushes only when asked to, and closes nothing.
 */
#ifndef CHECK_STORE_H
#define CHECK_STORE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sb_store.h"
#include "wire_clock.h"

static const struct wire_span nothing;

static inline struct wire_span text(const char *string)
{
    return (struct wire_span){(const uint8_t *) string, strlen(string)};
}

static inline struct sb_change put(enum sb_family family, const char *key, const char *value)
{
    return (struct sb_change){SB_PUT, family, text(key), text(value)};
}

static inline struct sb_change drop(enum sb_family family, const char *key)
{
    return (struct sb_change){SB_DELETE, family, text(key), nothing};
}

static inline struct sb_change drop_range(enum sb_family family, const char *low, const char *high)
{
    return (struct sb_change){SB_DELETE_RANGE, family, text(low), text(high)};
}

#define write_all(store, ...)                                                                                          \
    do {                                                                                                               \
        const struct sb_change changes_[] = {__VA_ARGS__};                                                             \
        struct sb_fault fault_ = {0};                                                                                  \
        int status_ = (store)->write((store)->self, changes_, sizeof(changes_) / sizeof(changes_[0]), &fault_);        \
        if (status_ != WIRE_OK)                                                                                        \
            print_error("%s\n", fault_.text);                                                                          \
        assert_int_equal(status_, WIRE_OK);                                                                            \
    } while (0)

static inline void must_flush(struct sb_store *s)
{
    struct sb_fault fault = {0};
    int status = s->flush(s->self, &fault);

    if (status != WIRE_OK)
        print_error("%s\n", fault.text);
    assert_int_equal(status, WIRE_OK);
}

static inline void must_compact(struct sb_store *s)
{
    struct sb_fault fault = {0};

    assert_int_equal(s->compact(s->self, nothing, nothing, &fault), WIRE_OK);
}

/* `expected` NULL: no such key. */
static inline void want_value(struct sb_store *s, int status, struct sb_value *value, const char *expected)
{
    assert_int_equal(status, expected ? WIRE_OK : WIRE_E_NOT_FOUND);
    if (expected) {
        assert_int_equal(value->bytes.size, strlen(expected));
        assert_memory_equal(value->bytes.data, expected, value->bytes.size);
    }
    s->release(s->self, value);
    assert_null(value->pin);
}

static inline void want_get(struct sb_store *s, enum sb_family family, const char *key, const char *expected)
{
    struct sb_value value;
    struct sb_fault fault = {0};
    int status = s->get(s->self, family, text(key), SB_TIER_ALL, &value, &fault);

    want_value(s, status, &value, expected);
}

static inline void want_persisted(struct sb_store *s, const char *key, const char *expected)
{
    struct sb_value value;
    struct sb_fault fault = {0};
    int status = s->persisted(s->self, text(key), &value, &fault);

    want_value(s, status, &value, expected);
}

/* The keys of an iteration, concatenated with blanks. */
static inline void want_keys(struct sb_iterator *it, bool forward, const char *expected)
{
    struct sb_fault fault = {0};
    char seen[256] = "";
    size_t size = 0;

    while (it->valid(it->self)) {
        struct wire_span key = it->key(it->self);

        size += (size_t) snprintf(seen + size, sizeof(seen) - size, "%s%.*s", size ? " " : "", (int) key.size,
                                  (const char *) key.data);
        if (forward)
            it->next(it->self);
        else
            it->prev(it->self);
    }
    assert_int_equal(it->status(it->self, &fault), WIRE_OK);
    assert_string_equal(seen, expected);
}

static inline void want_range(struct sb_store *s, void *view, enum sb_family family, const char *low, const char *high,
                              const char *forward, const char *backward)
{
    struct sb_iterator *it;
    struct sb_fault fault = {0};

    assert_int_equal(s->iterate(s->self, view, family, text(low), text(high), &it, &fault), WIRE_OK);
    it->seek(it->self, nothing);
    want_keys(it, true, forward);
    it->seek_last(it->self, nothing);
    want_keys(it, false, backward);
    it->close(it->self);
}

static inline void check_get(struct sb_store *s)
{
    want_get(s, SB_ITEMS, "k1", NULL);
    write_all(s, put(SB_ITEMS, "k1", "one"), put(SB_HISTORY, "k1", "old"), put(SB_ITEMS, "k2", ""));
    want_get(s, SB_ITEMS, "k1", "one");
    want_get(s, SB_HISTORY, "k1", "old");
    want_get(s, SB_ITEMS, "k2", "");
    want_get(s, SB_HISTORY, "k2", NULL);
    want_get(s, SB_ITEMS, "k", NULL);
    want_get(s, SB_ITEMS, "k11", NULL);
    write_all(s, drop(SB_ITEMS, "k1"), drop(SB_ITEMS, "absent"));
    want_get(s, SB_ITEMS, "k1", NULL);
    want_get(s, SB_HISTORY, "k1", "old");
}

/* A value read stays as it was while later writes and flushes go on. */
static inline void check_pins(struct sb_store *s)
{
    struct sb_value value;
    struct sb_fault fault = {0};

    write_all(s, put(SB_ITEMS, "pin", "before"));
    must_flush(s);
    assert_int_equal(s->get(s->self, SB_ITEMS, text("pin"), SB_TIER_ALL, &value, &fault), WIRE_OK);
    write_all(s, put(SB_ITEMS, "pin", "after!"));
    must_flush(s);
    must_compact(s);
    want_value(s, WIRE_OK, &value, "before");
    want_get(s, SB_ITEMS, "pin", "after!");
}

/* Changes of a batch take effect in their order. */
static inline void check_batch_order(struct sb_store *s)
{
    write_all(s, put(SB_ITEMS, "b1", "x"), put(SB_ITEMS, "b2", "x"), put(SB_ITEMS, "b3", "x"));
    write_all(s, put(SB_ITEMS, "b1", "first"), drop(SB_ITEMS, "b1"), drop(SB_ITEMS, "b2"), put(SB_ITEMS, "b2", "again"),
              put(SB_ITEMS, "b0", "gone"), drop_range(SB_ITEMS, "b0", "b2"), put(SB_ITEMS, "b00", "stays"));
    want_range(s, NULL, SB_ITEMS, "", "", "b00 b2 b3", "b3 b2 b00");
    want_get(s, SB_ITEMS, "b2", "again");
    /* Ranges that are empty or reversed delete nothing; the end is not part of a range; other families are not touched.
     */
    write_all(s, put(SB_HISTORY, "b2", "h"), drop_range(SB_ITEMS, "b3", "b2"), drop_range(SB_ITEMS, "b3", "b3"),
              drop_range(SB_ITEMS, "b1", "b3"));
    want_range(s, NULL, SB_ITEMS, "", "", "b00 b3", "b3 b00");
    want_get(s, SB_HISTORY, "b2", "h");
    assert_int_equal(s->write(s->self, NULL, 0, NULL), WIRE_OK);
}

/* A batch with a key or kind that no caller may use changes nothing at all; the shortest and the longest key, and bytes
 * at the ends of the order, are like any other. */
static inline void check_refused(struct sb_store *s)
{
    uint8_t *longest = malloc(SB_STORE_KEY_MAX + 1);
    struct sb_change changes[2] = {put(SB_ITEMS, "r1", "x"),
                                   {SB_PUT, SB_ITEMS, {longest, SB_STORE_KEY_MAX + 1}, text("x")}};
    struct sb_fault fault = {0};
    struct sb_value value;

    assert_non_null(longest);
    memset(longest, 0xff, SB_STORE_KEY_MAX + 1);
    assert_int_equal(s->write(s->self, changes, 2, &fault), WIRE_E_KEY_SIZE);
    assert_int_equal(fault.code, WIRE_E_KEY_SIZE);
    changes[1].kind = SB_DELETE;
    assert_int_equal(s->write(s->self, changes, 2, &fault), WIRE_E_KEY_SIZE);
    changes[1] = put(SB_ITEMS, "r2", "x");
    changes[1].kind = (enum sb_change_kind) 4;
    assert_int_equal(s->write(s->self, changes, 2, &fault), WIRE_E_INTERNAL);
    want_range(s, NULL, SB_ITEMS, "", "", "", "");

    changes[0] = (struct sb_change){SB_PUT, SB_ITEMS, {longest, SB_STORE_KEY_MAX}, text("longest")};
    changes[1] = (struct sb_change){SB_PUT, SB_ITEMS, nothing, text("shortest")};
    assert_int_equal(s->write(s->self, changes, 2, &fault), WIRE_OK);
    must_flush(s);
    want_value(s, s->get(s->self, SB_ITEMS, changes[0].key, SB_TIER_ALL, &value, &fault), &value, "longest");
    want_value(s, s->get(s->self, SB_ITEMS, nothing, SB_TIER_ALL, &value, &fault), &value, "shortest");
    want_value(s, s->get(s->self, SB_HISTORY, nothing, SB_TIER_ALL, &value, &fault), &value, NULL);
    changes[0].key.size++; /* longer than any key there is */
    want_value(s, s->get(s->self, SB_ITEMS, changes[0].key, SB_TIER_ALL, &value, &fault), &value, NULL);
    assert_int_equal(s->multi_get(s->self, SB_ITEMS, &changes[0].key, 1, &value, &(int){0}, &fault), WIRE_OK);
    changes[0] = (struct sb_change){SB_DELETE_RANGE, SB_ITEMS, nothing, {longest, SB_STORE_KEY_MAX + 1}};
    assert_int_equal(s->write(s->self, changes, 1, &fault), WIRE_OK);
    want_range(s, NULL, SB_ITEMS, "", "", "", "");
    free(longest);
}

static inline void check_multi_get(struct sb_store *s)
{
    enum { COUNT = 70 };
    char names[COUNT][16];
    struct wire_span keys[COUNT];
    struct sb_value values[COUNT];
    int codes[COUNT];
    struct sb_fault fault = {0};

    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "m%d", i * 7 % 40); /* unordered, some twice */
        keys[i] = text(names[i]);
        if (i * 7 % 40 % 3 != 0)
            write_all(s, put(SB_ITEMS, names[i], names[i]));
        if (i == COUNT / 2)
            must_flush(s);
    }
    assert_int_equal(s->multi_get(s->self, SB_ITEMS, keys, 0, values, codes, &fault), WIRE_OK);
    for (size_t count = 1; count <= COUNT; count += 23) {
        assert_int_equal(s->multi_get(s->self, SB_ITEMS, keys, count, values, codes, &fault), WIRE_OK);
        for (size_t i = 0; i < count; i++)
            want_value(s, codes[i], &values[i], i * 7 % 40 % 3 ? names[i] : NULL);
    }
    assert_int_equal(s->multi_get(s->self, SB_HISTORY, keys, 1, values, codes, &fault), WIRE_OK);
    assert_int_equal(codes[0], WIRE_E_NOT_FOUND);
}

static inline void check_iterate(struct sb_store *s)
{
    struct sb_iterator *it;
    struct sb_fault fault = {0};

    write_all(s, put(SB_ITEMS, "a", "1"), put(SB_ITEMS, "c", "3"), put(SB_ITEMS, "e", "5"));
    must_flush(s);
    write_all(s, put(SB_ITEMS, "b", "2"), put(SB_ITEMS, "d", "4"), put(SB_ITEMS, "bb", "2"), put(SB_HISTORY, "x", "h"));
    want_range(s, NULL, SB_ITEMS, "", "", "a b bb c d e", "e d c bb b a");
    want_range(s, NULL, SB_ITEMS, "b", "d", "b bb c", "c bb b");
    want_range(s, NULL, SB_ITEMS, "ba", "", "bb c d e", "e d c bb");
    want_range(s, NULL, SB_ITEMS, "", "b", "a", "a");
    want_range(s, NULL, SB_ITEMS, "c", "c", "", "");
    want_range(s, NULL, SB_ITEMS, "d", "b", "", "");
    want_range(s, NULL, SB_ITEMS, "f", "", "", "");
    want_range(s, NULL, SB_HISTORY, "", "", "x", "x");

    assert_int_equal(s->iterate(s->self, NULL, SB_ITEMS, text("b"), text("e"), &it, &fault), WIRE_OK);
    it->seek(it->self, text("bc")); /* between keys */
    want_keys(it, true, "c d");
    it->seek(it->self, text("a")); /* below the bound */
    want_keys(it, true, "b bb c d");
    it->seek(it->self, text("e")); /* at the end */
    assert_false(it->valid(it->self));
    it->next(it->self);
    assert_false(it->valid(it->self));
    it->seek_last(it->self, text("bc"));
    want_keys(it, false, "bb b");
    it->seek_last(it->self, text("c")); /* a key that exists */
    want_keys(it, false, "c bb b");
    it->seek_last(it->self, text("zz")); /* beyond the bound */
    want_keys(it, false, "d c bb b");
    it->seek_last(it->self, text("a"));
    assert_false(it->valid(it->self));
    it->prev(it->self);
    assert_false(it->valid(it->self));
    it->seek(it->self, text("c")); /* turning round */
    it->prev(it->self);
    assert_int_equal(wire_span_compare(it->key(it->self), text("bb")), 0);
    assert_int_equal(wire_span_compare(it->value(it->self), text("2")), 0);
    it->next(it->self);
    assert_int_equal(wire_span_compare(it->key(it->self), text("c")), 0);
    it->close(it->self);
}

static inline void want_view_get(struct sb_store *s, void *view, enum sb_family family, const char *key,
                                 const char *expected)
{
    struct sb_value value;
    struct sb_fault fault = {0};
    int status = s->view_get(s->self, view, family, text(key), &value, &fault);

    want_value(s, status, &value, expected);
}

/* A view shows one moment of both families, across flushes and compactions; so does an iterator without one, from its
 * opening on. */
static inline void check_views(struct sb_store *s)
{
    struct sb_fault fault = {0};
    struct sb_iterator *it;
    void *view;

    write_all(s, put(SB_ITEMS, "v1", "old"), put(SB_HISTORY, "h1", "xxxxxxxxold"));
    assert_int_equal(s->view_open(s->self, &view, &fault), WIRE_OK);
    assert_int_equal(s->iterate(s->self, NULL, SB_ITEMS, nothing, nothing, &it, &fault), WIRE_OK);
    write_all(s, put(SB_ITEMS, "v1", "new"), put(SB_ITEMS, "v2", "new"), drop(SB_HISTORY, "h1"),
              put(SB_HISTORY, "h2", "xxxxxxxxnew"));
    want_view_get(s, view, SB_ITEMS, "v1", "old");
    want_view_get(s, view, SB_ITEMS, "v2", NULL);
    want_view_get(s, NULL, SB_ITEMS, "v1", "new");
    must_flush(s);
    write_all(s, drop_range(SB_ITEMS, "v", "w"));
    must_flush(s);
    must_compact(s);
    want_view_get(s, view, SB_ITEMS, "v1", "old");
    want_range(s, view, SB_ITEMS, "", "", "v1", "v1");
    want_range(s, view, SB_HISTORY, "", "", "h1", "h1");
    want_range(s, NULL, SB_ITEMS, "", "", "", "");
    want_range(s, NULL, SB_HISTORY, "", "", "h2", "h2");
    it->seek(it->self, nothing);
    want_keys(it, true, "v1");
    it->close(it->self);
    s->view_close(s->self, view);
    s->view_close(s->self, NULL);
}

static inline void check_persisted(struct sb_store *s)
{
    must_flush(s); /* of an empty store */
    write_all(s, put(SB_ITEMS, "p1", "one"));
    want_persisted(s, "p1", NULL);
    must_flush(s);
    want_persisted(s, "p1", "one");
    write_all(s, put(SB_ITEMS, "p1", "two"), put(SB_ITEMS, "p2", "two"));
    want_persisted(s, "p1", "one");
    want_persisted(s, "p2", NULL);
    want_get(s, SB_ITEMS, "p1", "two");
    must_flush(s);
    want_persisted(s, "p1", "two");
    write_all(s, drop(SB_ITEMS, "p1"), drop_range(SB_ITEMS, "p2", "p3"));
    want_persisted(s, "p1", "two");
    want_persisted(s, "p2", "two");
    must_flush(s);
    want_persisted(s, "p1", NULL);
    want_persisted(s, "p2", NULL);
    must_flush(s); /* with nothing to do */
    want_persisted(s, "p1", NULL);
}

static inline void put_history(struct sb_store *s, enum sb_family family, const char *key, uint64_t superseded_at)
{
    uint8_t value[12];
    struct wire_writer w = wire_writer_of(value, sizeof(value));
    struct sb_change change = {SB_PUT, family, text(key), {value, sizeof(value)}};
    struct sb_fault fault = {0};

    wire_write_u64(&w, superseded_at);
    wire_write_bytes(&w, "item", 4);
    assert_int_equal(s->write(s->self, &change, 1, &fault), WIRE_OK);
}

static inline uint64_t superseded_at_of(struct sb_store *s, const char *key)
{
    struct sb_value value;
    struct sb_fault fault = {0};
    struct wire_reader r;
    uint64_t superseded_at;

    if (s->get(s->self, SB_HISTORY, text(key), SB_TIER_ALL, &value, &fault) != WIRE_OK)
        return UINT64_MAX;
    r = wire_reader_of(value.bytes.data, value.bytes.size);
    superseded_at = wire_read_u64(&r);
    s->release(s->self, &value);
    return superseded_at;
}

/* Exactly the entries superseded below the horizon go, and what an entry hid does not come back with it. */
static inline void check_horizon(struct sb_store *s)
{
    put_history(s, SB_HISTORY, "h1", 99);
    put_history(s, SB_HISTORY, "h2", 100);
    put_history(s, SB_HISTORY, "h3", 101);
    put_history(s, SB_HISTORY, "h4", WIRE_TRANSACTION_BIT | 5);
    put_history(s, SB_HISTORY, "h6", 150); /* an older put of the same key, further down */
    put_history(s, SB_HISTORY, "h7", 50);
    put_history(s, SB_HISTORY, "h8", 0);
    write_all(s, put(SB_HISTORY, "h5", "1234567"), put(SB_HISTORY, "h55", "")); /* ill-formed */
    put_history(s, SB_ITEMS, "h1", 1);
    must_flush(s);
    must_compact(s);
    want_range(s, NULL, SB_HISTORY, "", "", "h1 h2 h3 h4 h5 h55 h6 h7 h8", "h8 h7 h6 h55 h5 h4 h3 h2 h1");
    put_history(s, SB_HISTORY, "h6", 60);
    put_history(s, SB_HISTORY, "h7", 160);
    must_flush(s);
    s->set_horizon(s->self, 100);
    s->set_horizon(s->self, 40); /* never moves back */
    must_compact(s);
    want_range(s, NULL, SB_HISTORY, "", "", "h2 h3 h4 h5 h55 h7", "h7 h55 h5 h4 h3 h2");
    assert_int_equal(superseded_at_of(s, "h7"), 160);
    want_range(s, NULL, SB_ITEMS, "", "", "h1", "h1");
    s->set_horizon(s->self, 101);
    assert_int_equal(s->compact(s->self, text("h3"), text("h9"), NULL), WIRE_OK);
    must_compact(s);
    want_range(s, NULL, SB_HISTORY, "", "", "h3 h4 h5 h55 h7", "h7 h55 h5 h4 h3");
}

static inline void check_status(struct sb_store *s)
{
    struct sb_store_status before, after;
    char key[32];

    s->status(s->self, &before);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "s%03d", i);
        write_all(s, put(SB_ITEMS, key, "a value of some bytes, so that there is more than one block of each family"),
                  put(SB_HISTORY, key, "another value of some bytes, so that there is more than one block of them"));
    }
    must_flush(s);
    must_compact(s);
    s->status(s->self, &after);
    assert_true(after.items_bytes > before.items_bytes);
    assert_true(after.history_bytes > before.history_bytes);
    assert_int_equal(after.items_keys + after.history_keys, 2000);
    assert_in_range(after.items_keys, 800, 1200);
    assert_true(after.flushes > before.flushes);
    assert_true(after.compactions > before.compactions);
    assert_true(after.flushed_bytes > before.flushed_bytes);
    assert_true(after.compacted_bytes > before.compacted_bytes);
    assert_true(s->approximate_size(s->self, SB_ITEMS, nothing, nothing) > 0);
    assert_true(s->approximate_size(s->self, SB_ITEMS, text("s"), text("t")) > 0);
    assert_int_equal(s->approximate_size(s->self, SB_ITEMS, text("t"), nothing), 0);
    assert_int_equal(s->approximate_size(s->self, SB_ITEMS, text("t"), text("a")), 0);
    assert_int_equal(s->compact(s->self, text("t"), text("a"), NULL), WIRE_OK);
}

/* ---- against a model ---- */

enum { MODEL_KEYS = 48, MODEL_KEY_SIZE = 16 };

struct model {
    int values[SB_FAMILY_COUNT][MODEL_KEYS]; /* 0: absent */
};

static inline uint64_t model_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline struct wire_span model_key(int n, char buffer[MODEL_KEY_SIZE])
{
    snprintf(buffer, MODEL_KEY_SIZE, "k%02d", n);
    return text(buffer);
}

static inline void model_batch(struct sb_store *s, struct model *m, uint64_t *random, int serial)
{
    enum { CHANGES = 8 };
    struct sb_change changes[CHANGES];
    char keys[CHANGES][2][MODEL_KEY_SIZE], values[CHANGES][32];
    size_t count = 1 + model_random(random) % CHANGES;
    struct sb_fault fault = {0};

    for (size_t i = 0; i < count; i++) {
        enum sb_family family = model_random(random) % SB_FAMILY_COUNT;
        int n = (int) (model_random(random) % MODEL_KEYS), end = n + (int) (model_random(random) % 6);
        enum sb_change_kind kind = model_random(random) % 8 ? SB_PUT : SB_DELETE + model_random(random) % 2;
        int number = serial * CHANGES + (int) i + 1;

        snprintf(values[i], sizeof(values[i]), "\x7f value %d", number); /* no entry below a horizon */
        changes[i] = (struct sb_change){kind, family, model_key(n, keys[i][0]), text(values[i])};
        if (kind == SB_DELETE_RANGE)
            changes[i].value = model_key(end, keys[i][1]);
        for (int k = n; k < (kind == SB_DELETE_RANGE ? end : n + 1) && k < MODEL_KEYS; k++)
            m->values[family][k] = kind == SB_PUT ? number : 0;
    }
    assert_int_equal(s->write(s->self, changes, count, &fault), WIRE_OK);
}

static inline void model_want(struct sb_store *s, void *view, const struct model *m, bool forward)
{
    struct sb_fault fault = {0};

    for (int family = 0; family < SB_FAMILY_COUNT; family++) {
        struct sb_iterator *it;

        assert_int_equal(s->iterate(s->self, view, (enum sb_family) family, nothing, nothing, &it, &fault), WIRE_OK);
        if (forward)
            it->seek(it->self, nothing);
        else
            it->seek_last(it->self, nothing);
        for (int i = 0; i < MODEL_KEYS; i++) {
            int n = forward ? i : MODEL_KEYS - 1 - i;
            struct sb_value value;
            char key[MODEL_KEY_SIZE], expected[32];

            snprintf(expected, sizeof(expected), "\x7f value %d", m->values[family][n]);
            want_value(s, s->view_get(s->self, view, (enum sb_family) family, model_key(n, key), &value, &fault),
                       &value, m->values[family][n] ? expected : NULL);
            if (m->values[family][n] == 0)
                continue;
            assert_true(it->valid(it->self));
            assert_int_equal(wire_span_compare(it->key(it->self), text(key)), 0);
            assert_int_equal(wire_span_compare(it->value(it->self), text(expected)), 0);
            if (forward)
                it->next(it->self);
            else
                it->prev(it->self);
        }
        assert_false(it->valid(it->self));
        it->close(it->self);
    }
}

static inline void check_model(struct sb_store *s, uint64_t seed)
{
    struct model m = {0}, viewed = {0};
    uint64_t random = seed;
    void *view = NULL;

    s->set_horizon(s->self, 1000);
    for (int serial = 0; serial < 600; serial++) {
        uint64_t dice = model_random(&random) % 40;

        model_batch(s, &m, &random, serial);
        if (dice == 0)
            must_flush(s);
        else if (dice == 1)
            must_compact(s);
        else if (dice == 2 && !view) {
            assert_int_equal(s->view_open(s->self, &view, NULL), WIRE_OK);
            viewed = m;
        } else if (dice == 3 && view) {
            model_want(s, view, &viewed, serial % 2 == 0);
            s->view_close(s->self, view);
            view = NULL;
        } else if (dice < 8)
            model_want(s, NULL, &m, serial % 2 == 0);
    }
    model_want(s, NULL, &m, true);
    model_want(s, NULL, &m, false);
    s->view_close(s->self, view);
}

#endif
