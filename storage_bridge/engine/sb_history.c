/*
 * See sb_history.h. The cursor visits each key that has images once: it looks at the newest image with a version <=
 * snapshot, judges it, and goes on to the neighbouring key; no further than it is asked to, because most of what lies
 * there is visible to nobody and a scan fetches one batch at a time.
 */
#include "sb_history.h"

#include "wire_item.h"

#define NEXT_BEFORE_SEEK 4

struct wire_span sb_history_key(struct sb_history_key *out, struct wire_span key, uint64_t version)
{
    struct wire_writer w = wire_writer_of(out->data, sizeof(out->data));

    wire_write_bytes(&w, key.data, key.size);
    wire_write_u64(&w, ~version);
    out->size = w.size;
    return (struct wire_span){out->data, out->size};
}

bool sb_history_split_key(struct wire_span history_key, struct wire_span *key, uint64_t *version)
{
    struct wire_reader r;

    if (history_key.size <= SB_HISTORY_SUFFIX || history_key.size > SB_HISTORY_KEY_MAX)
        return false;
    *key = (struct wire_span){history_key.data, history_key.size - SB_HISTORY_SUFFIX};
    r = wire_reader_of(history_key.data + key->size, SB_HISTORY_SUFFIX);
    *version = ~wire_read_u64(&r);
    return true;
}

bool sb_history_split_value(struct wire_span value, uint64_t *superseded_at, struct wire_span *item)
{
    struct wire_reader r = wire_reader_of(value.data, value.size);

    *superseded_at = wire_read_u64(&r);
    if (r.failed || wire_reader_left(&r) < WIRE_ITEM_HEADER_SIZE)
        return false;
    *item = (struct wire_span){value.data + r.position, value.size - r.position};
    return true;
}

static int malformed(struct sb_fault *fault)
{
    return sb_fault_set(fault, WIRE_E_CORRUPT, "an entry of the history family is malformed");
}

/*
 * With the iterator on the newest image of a key with version <= snapshot: report whether it is visible.
 */
static int judge_image(struct sb_iterator *it, struct sb_transactions *transactions, uint64_t snapshot,
                       struct sb_buffer *out, struct sb_fault *fault)
{
    enum sb_transaction_state state;
    struct wire_span item;
    uint64_t superseded_at;

    if (!sb_history_split_value(it->value(it->self), &superseded_at, &item))
        return malformed(fault);
    superseded_at = sb_transactions_version(transactions, superseded_at, &state);
    if (state == SB_TRANSACTION_UNKNOWN)
        return WIRE_E_CHANGED;
    if (superseded_at <= snapshot)
        return WIRE_E_NOT_FOUND;
    return sb_buffer_append(out, item.data, item.size);
}

/*
 * With the iterator anywhere: find the newest image of `key` with version <= snapshot and report whether it is visible.
 * Leaves the iterator among or behind the images of the key.
 */
static int judge(struct sb_iterator *it, struct sb_transactions *transactions, struct wire_span key, uint64_t snapshot,
                 struct sb_buffer *out, uint64_t *version, struct sb_fault *fault)
{
    struct sb_history_key seek;
    struct wire_span found;

    it->seek(it->self, sb_history_key(&seek, key, snapshot));
    if (!it->valid(it->self)) {
        int status = it->status(it->self, fault);

        return status == WIRE_OK ? WIRE_E_NOT_FOUND : status;
    }
    if (!sb_history_split_key(it->key(it->self), &found, version))
        return malformed(fault);
    if (found.size != key.size || memcmp(found.data, key.data, key.size) != 0)
        return WIRE_E_NOT_FOUND;
    return judge_image(it, transactions, snapshot, out, fault);
}

int sb_history_find(struct sb_store *store, void *view, struct sb_transactions *transactions, struct wire_span key,
                    uint64_t snapshot, struct sb_buffer *out, uint64_t *version, struct sb_fault *fault)
{
    struct sb_iterator *it;
    int status = store->iterate(store->self, view, SB_HISTORY, key, (struct wire_span){NULL, 0}, &it, fault);

    if (status != WIRE_OK)
        return status;
    status = judge(it, transactions, key, snapshot, out, version, fault);
    it->close(it->self);
    return status;
}

int sb_history_find_superseded(struct sb_store *store, struct wire_span key, uint64_t stamp, struct sb_buffer *out,
                               uint64_t *version, struct sb_fault *fault)
{
    struct sb_iterator *it;
    int status = store->iterate(store->self, NULL, SB_HISTORY, key, (struct wire_span){NULL, 0}, &it, fault);

    if (status != WIRE_OK)
        return status;
    status = WIRE_E_NOT_FOUND;
    for (it->seek(it->self, key); it->valid(it->self); it->next(it->self)) {
        struct wire_span found;
        struct wire_span item;
        uint64_t superseded_at;

        if (!sb_history_split_key(it->key(it->self), &found, version) ||
            !sb_history_split_value(it->value(it->self), &superseded_at, &item)) {
            status = malformed(fault);
            break;
        }
        if (found.size != key.size || memcmp(found.data, key.data, key.size) != 0)
            break;
        if (superseded_at == stamp) {
            status = sb_buffer_append(out, item.data, item.size);
            break;
        }
    }
    if (status == WIRE_E_NOT_FOUND) {
        int ended = it->status(it->self, fault);

        status = ended == WIRE_OK ? status : ended;
    }
    it->close(it->self);
    return status;
}

/* A few steps, which cost less than a seek. True if they led out of the images of the key, forward. */
static bool step_off_key(struct sb_history_cursor *cursor)
{
    struct sb_iterator *it = cursor->iterator;

    for (int i = 0; i < NEXT_BEFORE_SEEK; i++) {
        struct wire_span found;
        uint64_t version;

        if (!it->valid(it->self) || !sb_history_split_key(it->key(it->self), &found, &version) ||
            wire_span_compare(found, sb_buffer_span(&cursor->key)) != 0)
            return true;
        it->next(it->self);
    }
    return false;
}

/* Move the iterator from the images of cursor->key to an image of the neighbouring key. */
static void leave_key(struct sb_history_cursor *cursor)
{
    struct sb_iterator *it = cursor->iterator;
    struct sb_history_key edge;

    if (cursor->forward) {
        if (step_off_key(cursor))
            return;
        it->seek(it->self, sb_history_key(&edge, sb_buffer_span(&cursor->key), 0));
        if (it->valid(it->self)) {
            struct wire_span found;
            uint64_t version;

            if (sb_history_split_key(it->key(it->self), &found, &version) && version == 0 &&
                wire_span_compare(found, sb_buffer_span(&cursor->key)) == 0)
                it->next(it->self);
        }
    } else {
        it->seek(it->self, sb_buffer_span(&cursor->key));
        if (it->valid(it->self))
            it->prev(it->self);
        else
            it->seek_last(it->self, sb_buffer_span(&cursor->key));
    }
}

static bool is_outside(const struct sb_history_cursor *cursor, struct wire_span key)
{
    return cursor->forward ? cursor->high.size > 0 && wire_span_compare(key, cursor->high) >= 0
                           : wire_span_compare(key, cursor->low) < 0;
}

static bool is_inside(const struct sb_history_cursor *cursor, struct wire_span key)
{
    return wire_span_compare(key, cursor->low) >= 0 &&
           (cursor->high.size == 0 || wire_span_compare(key, cursor->high) < 0);
}

/* The key that the iterator stands on, with `version` the one of that image: is its image at the snapshot visible? */
static int judge_key(struct sb_history_cursor *cursor, uint64_t version, struct sb_fault *fault)
{
    cursor->item.size = 0;
    if (!is_inside(cursor, sb_buffer_span(&cursor->key)))
        return WIRE_E_NOT_FOUND;
    /* Forward it is the newest one of its key. */
    if (cursor->forward && version <= cursor->snapshot)
        return judge_image(cursor->iterator, cursor->transactions, cursor->snapshot, &cursor->item, fault);
    return judge(cursor->iterator, cursor->transactions, sb_buffer_span(&cursor->key), cursor->snapshot, &cursor->item,
                 &version, fault);
}

int sb_history_cursor_reach(struct sb_history_cursor *cursor, const struct wire_span *limit, struct sb_fault *fault)
{
    struct sb_iterator *it = cursor->iterator;

    while (!cursor->valid && it->valid(it->self)) {
        struct wire_span key;
        uint64_t version;
        int status;
        int order;

        if (!sb_history_split_key(it->key(it->self), &key, &version))
            return malformed(fault);
        order = limit ? wire_span_compare(key, *limit) : 0;
        if ((cursor->forward ? order > 0 : order < 0) || is_outside(cursor, key))
            return WIRE_OK;
        cursor->key.size = 0;
        status = sb_buffer_append(&cursor->key, key.data, key.size);
        if (status == WIRE_OK)
            status = judge_key(cursor, version, fault);
        if (status == WIRE_OK)
            cursor->valid = true;
        else if (status == WIRE_E_NOT_FOUND)
            leave_key(cursor);
        else
            return status;
    }
    return cursor->valid ? WIRE_OK : it->status(it->self, fault);
}

/*
 * Backward: from the last image of a key below `high`. Images of a key that is a prefix of the bound lie above the
 * bound.
 */
static int seek_below(struct sb_iterator *it, struct wire_span high, struct sb_fault *fault)
{
    struct wire_span none = {NULL, 0};
    struct wire_span key;
    uint64_t version;

    if (high.size > 0)
        it->seek(it->self, high);
    if (high.size == 0 || !it->valid(it->self)) {
        it->seek_last(it->self, none);
        return WIRE_OK;
    }
    if (!sb_history_split_key(it->key(it->self), &key, &version))
        return malformed(fault);
    if (wire_span_compare(key, high) >= 0)
        it->prev(it->self);
    return WIRE_OK;
}

int sb_history_cursor_open(struct sb_history_cursor *cursor, struct sb_store *store, void *view,
                           struct sb_transactions *transactions, uint64_t snapshot, bool forward, struct wire_span low,
                           struct wire_span high, struct sb_fault *fault)
{
    struct wire_span none = {NULL, 0};
    int status;

    *cursor = (struct sb_history_cursor){
        .transactions = transactions, .snapshot = snapshot, .forward = forward, .low = low, .high = high};
    /* Bounds are judged on item keys: an image's key is longer than the bound it must be compared with. */
    status = store->iterate(store->self, view, SB_HISTORY, low, none, &cursor->iterator, fault);
    if (status != WIRE_OK)
        return status;
    if (forward)
        cursor->iterator->seek(cursor->iterator->self, low);
    else
        status = seek_below(cursor->iterator, high, fault);
    return status;
}

void sb_history_cursor_leave(struct sb_history_cursor *cursor)
{
    leave_key(cursor);
    cursor->valid = false;
}

void sb_history_cursor_close(struct sb_history_cursor *cursor)
{
    if (cursor->iterator)
        cursor->iterator->close(cursor->iterator->self);
    sb_buffer_close(&cursor->key);
    sb_buffer_close(&cursor->item);
    *cursor = (struct sb_history_cursor){0};
}
