/* Views and iterators of the items store. See sb_rocks_internal.h. */
#include "sb_rocks_internal.h"

struct rocks_iterator {
    struct sb_iterator face;
    struct sb_rocks *rocks;
    rocksdb_iterator_t *iterator;
    rocksdb_readoptions_t *read;
    enum sb_family family;
    size_t low_size;
    size_t high_size;
    char bounds[]; /* RocksDB borrows them for the iterator's life */
};

int sb_rocks_view_open(void *self, void **view, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    struct sb_rocks_view *v = sb_alloc(sizeof(*v));

    if (!v)
        return sb_rocks_no_memory(fault);
    v->snapshot = rocksdb_create_snapshot(r->db);
    v->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(v->read, v->snapshot);
    *view = v;
    return WIRE_OK;
}

void sb_rocks_view_close(void *self, void *view)
{
    struct sb_rocks *r = self;
    struct sb_rocks_view *v = view;

    if (!v)
        return;
    rocksdb_readoptions_destroy(v->read);
    rocksdb_release_snapshot(r->db, v->snapshot);
    sb_free(v);
}

static void iterator_seek(void *self, struct wire_span key)
{
    struct rocks_iterator *it = self;
    struct sb_rocks_key stored;

    sb_rocks_key(it->family, key, &stored);
    rocksdb_iter_seek(it->iterator, stored.data, stored.size);
}

static void iterator_seek_last(void *self, struct wire_span key)
{
    struct rocks_iterator *it = self;
    struct sb_rocks_key stored;

    sb_rocks_key_end(it->family, key, &stored);
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
    if (!error)
        return WIRE_OK;
    return sb_rocks_read_error(it->rocks, error, (struct wire_span){(const uint8_t *) it->bounds, it->low_size},
                               (struct wire_span){(const uint8_t *) it->bounds + it->low_size, it->high_size}, fault);
}

static void iterator_close(void *self)
{
    struct rocks_iterator *it = self;

    rocksdb_iter_destroy(it->iterator);
    rocksdb_readoptions_destroy(it->read);
    sb_free(it);
}

int sb_rocks_iterate(void *self, void *view, enum sb_family family, struct wire_span low, struct wire_span high,
                     struct sb_iterator **out, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    struct sb_rocks_view *v = view;
    struct rocks_iterator *it;
    struct sb_rocks_key from, to;

    sb_rocks_key(family, low, &from);
    sb_rocks_key_end(family, high, &to);
    it = sb_alloc(sizeof(*it) + from.size + to.size);
    if (!it)
        return sb_rocks_no_memory(fault);
    it->rocks = r;
    it->family = family;
    it->low_size = from.size;
    it->high_size = to.size;
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
