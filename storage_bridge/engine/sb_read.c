/*
 * See sb_read.h. A point read looks at SB_ITEMS and, if what it finds is not for this snapshot, at SB_HISTORY. A scan
 * merges both families through one view.
 *
 * An intent whose transaction is unknown was settled between reading the item and asking for the transaction: the item
 * is read again (a scan takes a new view and goes on behind the last key it returned). If it is unknown still, the
 * store is damaged.
 */
#include "sb_read.h"

#include "sb_history.h"
#include "sb_meta.h"
#include "wire_item.h"
#include "wire_key.h"

#include <stdatomic.h>

#define SETTLED_RETRIES                                                                                                \
    1000 /* each needs a change in the very moment between two steps of a read; damage is always met again */

#define NO_SNAPSHOT (WIRE_VERSION_MAX - 1) /* every version there is, none that is undecided */
#define SPAN_ROOM 10                       /* a span's length at most */
#define SCAN_HEADER_SIZE 5                 /* before the rows of a scan */

/* What an item found in SB_ITEMS means to a reader. */
enum verdict {
    SHOW,    /* this is the item */
    GONE,    /* the key has no item at this snapshot, history cannot say otherwise */
    HISTORY, /* look there */
    AGAIN,   /* settled meanwhile */
    WAIT,    /* committed meanwhile, by an entry that may write this key again */
    DAMAGED
};

/* What was readable before the item was read, for who reads the newest item without a snapshot: a transaction that
 * committed later may have changed it in the same entry. Snapshots are readable before they are used. */
static uint64_t certain_now(const struct sb_reader *reader, uint64_t snapshot)
{
    return snapshot == NO_SNAPSHOT ? atomic_load(reader->readable) : snapshot;
}

static enum verdict judge_item(struct sb_reader *reader, struct wire_span item, uint64_t snapshot, uint64_t certain,
                               const struct wire_request *request, uint64_t *version)
{
    struct sb_transaction transaction;
    uint64_t stamp;

    if (item.size < WIRE_ITEM_HEADER_SIZE)
        return DAMAGED;
    stamp = wire_item_version(item.data);
    *version = stamp;
    if (wire_version_is_transaction(stamp)) {
        if (request && wire_request_owns(request, stamp))
            *version = 0;
        else if (sb_transactions_get(reader->transactions, stamp, &transaction) != WIRE_OK)
            return AGAIN;
        else if (transaction.state != SB_TRANSACTION_COMMITTED)
            return HISTORY;
        else
            *version = transaction.version;
        if (snapshot == NO_SNAPSHOT && *version > certain)
            return WAIT;
    }
    if (*version > snapshot)
        return HISTORY;
    return item.data[1] & WIRE_ITEM_DELETED ? GONE : SHOW;
}

static int corrupt_item(struct wire_span key, struct sb_fault *fault)
{
    struct wire_reader r = wire_reader_of(key.data, key.size);
    uint64_t storage_id = wire_read_u64(&r);
    char hex[2 * 48 + 1] = "";

    for (size_t i = 0; i < key.size && i < 48; i++) {
        hex[2 * i] = "0123456789abcdef"[key.data[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[key.data[i] & 15];
        hex[2 * i + 2] = '\0';
    }
    return sb_fault_set(fault, WIRE_E_CORRUPT, "an item of storage %llu fails its checksum, key %s",
                        (unsigned long long) storage_id, hex);
}

/* Append a checked item with its version. */
static int append_item(struct sb_buffer *out, struct wire_span key, struct wire_span item, uint64_t version,
                       struct sb_fault *fault)
{
    struct wire_item opened;
    size_t at = out->size;
    int status = wire_item_open(item.data, item.size, &opened);

    if (status != WIRE_OK)
        return corrupt_item(key, fault);
    status = sb_buffer_append(out, item.data, item.size);
    if (status == WIRE_OK)
        wire_item_set_version(out->data + at, version);
    return status;
}

/*
 * No image in the history, but an intent in the way: right only if the intent still stands as it was judged. Else it
 * was undone (its image went back to the items) or, for who reads the newest state, committed meanwhile.
 */
static int confirm_absent(struct sb_reader *reader, struct wire_span key, uint64_t stamp, uint64_t snapshot,
                          const struct wire_request *request, bool *again, struct sb_fault *fault)
{
    uint64_t certain = certain_now(reader, snapshot);
    struct sb_value value;
    uint64_t version;
    int status = reader->store->get(reader->store->self, SB_ITEMS, key, SB_TIER_ALL, &value, fault);

    *again = status == WIRE_E_NOT_FOUND;
    if (status != WIRE_OK)
        return status;
    *again = value.bytes.size < WIRE_ITEM_HEADER_SIZE || wire_item_version(value.bytes.data) != stamp ||
             judge_item(reader, value.bytes, snapshot, certain, request, &version) != HISTORY;
    reader->store->release(reader->store->self, &value);
    return WIRE_E_NOT_FOUND;
}

static int read_once(struct sb_reader *reader, struct wire_span key, uint64_t snapshot,
                     const struct wire_request *request, struct sb_buffer *out, uint64_t *version, bool *again,
                     struct sb_fault *fault)
{
    struct sb_store *store = reader->store;
    uint64_t certain = certain_now(reader, snapshot);
    struct sb_value value;
    enum verdict verdict;
    size_t at = out->size;
    uint64_t stamp = 0;
    int status = store->get(store->self, SB_ITEMS, key, SB_TIER_ALL, &value, fault);

    *again = false;
    if (status == WIRE_E_NOT_FOUND) {
        if (request->snapshot == 0)
            return status; /* what it may have had at `snapshot` is gone now, durably */
    } else if (status != WIRE_OK)
        return status;
    else {
        verdict = judge_item(reader, value.bytes, snapshot, certain, request, version);
        if (verdict != DAMAGED)
            stamp = wire_item_version(value.bytes.data);
        if (verdict == SHOW)
            status = append_item(out, key, value.bytes, *version, fault);
        store->release(store->self, &value);
        if (verdict == SHOW)
            return status;
        if (verdict == DAMAGED)
            return corrupt_item(key, fault);
        if (verdict == GONE)
            return WIRE_E_NOT_FOUND;
        if (verdict == WAIT)
            return WIRE_E_WOULD_BLOCK;
        if (verdict == AGAIN) {
            *again = true;
            return WIRE_E_NOT_FOUND;
        }
    }
    status = sb_history_find(store, NULL, reader->transactions, key, snapshot, out, version, fault);
    *again = status == WIRE_E_CHANGED;
    if (status == WIRE_E_NOT_FOUND && wire_version_is_transaction(stamp))
        return confirm_absent(reader, key, stamp, snapshot, request, again, fault);
    if (status == WIRE_OK) {
        struct wire_item opened;

        if (wire_item_open(out->data + at, out->size - at, &opened) != WIRE_OK)
            return corrupt_item(key, fault);
    }
    return status;
}

/* One key; WIRE_E_NOT_FOUND if there is no item. *version: of the item, or to wait for. */
static int read_item(struct sb_reader *reader, struct wire_span key, uint64_t snapshot,
                     const struct wire_request *request, struct sb_buffer *out, uint64_t *version,
                     struct sb_fault *fault)
{
    bool again;

    for (int i = 0; i < SETTLED_RETRIES; i++) {
        int status = read_once(reader, key, snapshot, request, out, version, &again, fault);

        if (!again)
            return status;
    }
    return corrupt_item(key, fault);
}

/* Appends through the writer interface. */
static int append_varint(struct sb_buffer *out, uint64_t value)
{
    uint8_t bytes[10];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));

    wire_write_varint(&w, value);
    return sb_buffer_append(out, bytes, w.size);
}

static int append_span(struct sb_buffer *out, struct wire_span span)
{
    int status = append_varint(out, span.size);

    return status == WIRE_OK ? sb_buffer_append(out, span.data, span.size) : status;
}

/* *wait_for: with WIRE_E_WOULD_BLOCK. */
static int read_get(struct sb_reader *reader, const struct wire_request *request, uint64_t snapshot,
                    struct sb_buffer *out, uint32_t *detail, uint64_t *wait_for, struct sb_fault *fault)
{
    struct wire_reader body = request->body;
    uint64_t count = wire_read_varint(&body);
    struct sb_buffer item = {0};
    int status = append_varint(out, count);

    for (uint64_t i = 0; i < count && status == WIRE_OK; i++) {
        struct wire_span key = wire_read_span(&body);
        uint64_t version = 0;
        uint8_t present;

        *detail = (uint32_t) i;
        if (body.failed)
            status = WIRE_E_SHORT_INPUT;
        else if (!wire_key_belongs(key, request->storage_id))
            status = WIRE_E_NO_STORAGE;
        else {
            item.size = 0;
            status = read_item(reader, key, snapshot, request, &item, &version, fault);
        }
        if (status == WIRE_E_WOULD_BLOCK)
            *wait_for = version;
        if (status != WIRE_OK && status != WIRE_E_NOT_FOUND)
            break;
        present = status == WIRE_OK;
        status = sb_buffer_append(out, &present, 1);
        if (status == WIRE_OK && present)
            status = append_span(out, sb_buffer_span(&item));
        if (out->size > WIRE_MESSAGE_MAX)
            status = WIRE_E_TOO_LARGE;
    }
    sb_buffer_close(&item);
    return status != WIRE_OK ? status : wire_reader_finish(&body);
}

/* A scan in progress: one batch, possibly over several views. */
struct scan {
    struct sb_reader *reader;
    const struct wire_request *request;
    struct sb_fault *fault;
    uint64_t snapshot;
    bool forward;
    struct wire_span low;
    struct wire_span high;
    uint64_t limit;
    uint64_t target;
    uint32_t count;
    struct sb_buffer *out;
    size_t start; /* of the reply's body in `out` */
    size_t last;  /* of the last key returned, in `out` */
    size_t last_size;
    struct sb_buffer bound; /* low or high after a new view, owned */
    bool full;
};

/* The checksum is verified here, where the key is known; who reads the item takes it apart. */
static int emit(struct scan *scan, struct wire_span key, struct wire_span item, uint64_t version)
{
    struct sb_buffer *out = scan->out;
    int status = sb_buffer_reserve(out, SPAN_ROOM + key.size + SPAN_ROOM + item.size);
    struct wire_writer w;

    if (status != WIRE_OK)
        return status;
    if (wire_item_verify(item.data, item.size) != WIRE_OK)
        return corrupt_item(key, scan->fault);
    w = wire_writer_of(out->data + out->size, out->capacity - out->size);
    wire_write_span(&w, key.data, key.size);
    scan->last = out->size + w.size - key.size;
    scan->last_size = key.size;
    wire_write_span(&w, item.data, item.size);
    out->size += w.size;
    wire_item_set_version(out->data + out->size - item.size, version);
    scan->count++;
    scan->full = out->size - scan->start >= scan->target || (scan->limit > 0 && scan->count >= scan->limit);
    return WIRE_OK;
}

/* Merge one item key with the history cursor. *again: take a new view. */
static int merge_item(struct scan *scan, struct wire_span key, struct wire_span item,
                      const struct sb_history_cursor *history, bool same, bool *again)
{
    uint64_t version = 0;

    switch (judge_item(scan->reader, item, scan->snapshot, scan->snapshot, scan->request, &version)) {
    case SHOW:
        return emit(scan, key, item, version);
    case GONE:
        return WIRE_OK;
    case HISTORY:
        return same ? emit(scan, key, sb_buffer_span(&history->item), wire_item_version(history->item.data)) : WIRE_OK;
    case AGAIN:
        *again = true;
        return WIRE_OK;
    case WAIT: /* has a snapshot */
    case DAMAGED:
        break;
    }
    return corrupt_item(key, scan->fault);
}

static int scan_merge(struct scan *scan, struct sb_iterator *items, struct sb_history_cursor *history, bool *again)
{
    int status = WIRE_OK;

    while (!scan->full && !*again && status == WIRE_OK) {
        bool has_item = items->valid(items->self);
        struct wire_span key = has_item ? items->key(items->self) : (struct wire_span){NULL, 0};
        int order;

        status = sb_history_cursor_reach(history, has_item ? &key : NULL, scan->fault);
        if (status != WIRE_OK || (!has_item && !history->valid))
            break;
        if (!has_item)
            order = 1;
        else if (!history->valid)
            order = -1;
        else {
            order = wire_span_compare(key, sb_buffer_span(&history->key));
            order = scan->forward ? order : -order;
        }
        if (order <= 0)
            status = merge_item(scan, key, items->value(items->self), history, order == 0, again);
        else if (history->item.size < WIRE_ITEM_HEADER_SIZE)
            status = corrupt_item(sb_buffer_span(&history->key), scan->fault);
        else
            status = emit(scan, sb_buffer_span(&history->key), sb_buffer_span(&history->item),
                          wire_item_version(history->item.data));
        if (status != WIRE_OK || *again)
            break;
        if (order <= 0) {
            if (scan->forward)
                items->next(items->self);
            else
                items->prev(items->self);
        }
        if (order >= 0)
            sb_history_cursor_leave(history);
    }
    return status == WIRE_OK && !*again ? items->status(items->self, scan->fault) : status;
}

/* One pass over one view. */
static int scan_view(struct scan *scan, bool *again)
{
    struct sb_store *store = scan->reader->store;
    struct sb_history_cursor history = {0};
    struct sb_iterator *items = NULL;
    void *view = NULL;
    int status = store->view_open(store->self, &view, scan->fault);

    if (status != WIRE_OK)
        return status;
    status = store->iterate(store->self, view, SB_ITEMS, scan->low, scan->high, &items, scan->fault);
    if (status == WIRE_OK) {
        if (scan->forward)
            items->seek(items->self, scan->low);
        else
            items->seek_last(items->self, (struct wire_span){NULL, 0});
        status = sb_history_cursor_open(&history, store, view, scan->reader->transactions, scan->snapshot,
                                        scan->forward, scan->low, scan->high, scan->fault);
        if (status == WIRE_OK)
            status = scan_merge(scan, items, &history, again);
        if (status == WIRE_E_CHANGED) {
            *again = true;
            status = WIRE_OK;
        }
        sb_history_cursor_close(&history);
        items->close(items->self);
    }
    store->view_close(store->self, view);
    return status;
}

/* After the last key returned: the new bound of what is left. */
static int scan_advance(struct scan *scan)
{
    static const uint8_t zero;
    int status;

    if (scan->count == 0)
        return WIRE_OK;
    scan->bound.size = 0;
    status = sb_buffer_append(&scan->bound, scan->out->data + scan->last, scan->last_size);
    if (status == WIRE_OK && scan->forward)
        status = sb_buffer_append(&scan->bound, &zero, 1);
    if (scan->forward)
        scan->low = sb_buffer_span(&scan->bound);
    else
        scan->high = sb_buffer_span(&scan->bound);
    return status;
}

static int scan_run(struct scan *scan)
{
    for (int i = 0; i < SETTLED_RETRIES; i++) {
        uint32_t before = scan->count;
        bool again = false;
        int status = scan_view(scan, &again);

        if (status != WIRE_OK || !again)
            return status;
        if (scan->count > before)
            i = 0;
        status = scan_advance(scan);
        if (status != WIRE_OK)
            return status;
    }
    return sb_fault_set(scan->fault, WIRE_E_CORRUPT, "an intent of storage %llu belongs to no transaction",
                        (unsigned long long) scan->request->storage_id);
}

static int open_scan(struct scan *scan)
{
    const struct wire_request *request = scan->request;
    struct wire_reader body = request->body;
    uint8_t direction = wire_read_u8(&body);
    int status;

    scan->forward = direction == 0;
    scan->low = wire_read_span(&body);
    scan->high = wire_read_span(&body);
    scan->limit = wire_read_varint(&body);
    scan->target = wire_read_varint(&body);
    status = wire_reader_finish(&body);
    if (status != WIRE_OK)
        return status;
    if (direction > 1 || request->storage_id == 0 || scan->low.size > WIRE_KEY_MAX + 1 ||
        scan->high.size > WIRE_KEY_MAX + 1)
        return WIRE_E_BAD_FORMAT;
    if ((request->flags & WIRE_SHORT) &&
        (scan->limit == 0 || scan->limit > WIRE_SHORT_SCAN_ITEMS || scan->target > WIRE_SCAN_REPLY_TARGET))
        return WIRE_E_BAD_FORMAT;
    if (scan->target > WIRE_MESSAGE_MAX / 2)
        scan->target = WIRE_MESSAGE_MAX / 2;
    return WIRE_OK;
}

static int read_scan(struct sb_reader *reader, const struct wire_request *request, uint64_t snapshot,
                     struct sb_buffer *out, struct sb_fault *fault)
{
    uint8_t prefix_bytes[WIRE_KEY_PREFIX_SIZE];
    uint8_t end_bytes[WIRE_KEY_PREFIX_SIZE];
    struct wire_writer prefix = wire_writer_of(prefix_bytes, sizeof(prefix_bytes));
    struct wire_writer end = wire_writer_of(end_bytes, sizeof(end_bytes));
    struct scan scan = {.reader = reader, .request = request, .fault = fault, .snapshot = snapshot, .out = out};
    uint8_t header[SCAN_HEADER_SIZE] = {0};
    struct wire_writer w;
    int status = open_scan(&scan);

    if (status != WIRE_OK)
        return status;
    wire_key_write_prefix(&prefix, request->storage_id, 0);
    wire_key_write_prefix(&end, request->storage_id, 1);
    if (wire_span_compare(scan.low, (struct wire_span){prefix.data, prefix.size}) < 0)
        scan.low = (struct wire_span){prefix.data, prefix.size};
    if (scan.high.size == 0 || wire_span_compare(scan.high, (struct wire_span){end.data, end.size}) > 0)
        scan.high = (struct wire_span){end.data, end.size};
    scan.start = out->size;
    status = sb_buffer_append(out, header, sizeof(header));
    if (status == WIRE_OK && wire_span_compare(scan.low, scan.high) < 0)
        status = scan_run(&scan);
    sb_buffer_close(&scan.bound);
    if (status != WIRE_OK)
        return status;
    w = wire_writer_of(out->data + scan.start, sizeof(header));
    wire_write_u8(&w, scan.full);
    wire_write_u32(&w, scan.count);
    return WIRE_OK;
}

static int read_lookup(struct sb_reader *reader, const struct wire_request *request, struct sb_buffer *out,
                       struct sb_fault *fault)
{
    struct wire_reader body = request->body;
    struct wire_span identity = wire_read_span(&body);
    uint8_t bytes[8];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    uint64_t storage_id;
    int status = wire_reader_finish(&body);

    if (status == WIRE_OK)
        status = sb_meta_lookup(reader->store, identity, &storage_id, fault);
    if (status != WIRE_OK)
        return status;
    wire_write_u64(&w, storage_id);
    return sb_buffer_append(out, bytes, w.size);
}

static uint64_t storage_size(struct sb_store *store, enum sb_family family, uint64_t storage_id)
{
    uint8_t low_bytes[8];
    uint8_t high_bytes[8];
    struct wire_writer low = wire_writer_of(low_bytes, 8);
    struct wire_writer high = wire_writer_of(high_bytes, 8);

    wire_write_u64(&low, storage_id);
    wire_write_u64(&high, storage_id + 1);
    return store->approximate_size(store->self, family, (struct wire_span){low_bytes, 8},
                                   (struct wire_span){high_bytes, 8});
}

static int append_storage(struct sb_reader *reader, struct wire_span key, struct wire_span value,
                          struct sb_buffer *rows)
{
    struct wire_span identity = {key.data + SB_META_PREFIX_SIZE, key.size - SB_META_PREFIX_SIZE};
    struct wire_reader r = wire_reader_of(value.data, value.size);
    uint64_t storage_id = wire_read_u64(&r);
    uint8_t bytes[24];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status = append_span(rows, identity);

    wire_write_u64(&w, storage_id);
    wire_write_u64(&w, storage_size(reader->store, SB_ITEMS, storage_id));
    wire_write_u64(&w, storage_size(reader->store, SB_HISTORY, storage_id));
    return status == WIRE_OK ? sb_buffer_append(rows, bytes, w.size) : status;
}

static int read_storages(struct sb_reader *reader, const struct wire_request *request, struct sb_buffer *out,
                         struct sb_fault *fault)
{
    struct wire_reader body = request->body;
    struct wire_span after = wire_read_span(&body);
    struct sb_store *store = reader->store;
    struct sb_buffer rows = {0};
    struct sb_iterator *it;
    struct sb_meta_key low;
    struct sb_meta_key high;
    uint64_t count = 0;
    int status = wire_reader_finish(&body);

    if (status == WIRE_OK && after.size > SB_IDENTITY_MAX)
        status = WIRE_E_BAD_FORMAT;
    if (status != WIRE_OK)
        return status;
    sb_meta_key_relation(&low, WIRE_GROUP_LOCAL, after);
    sb_meta_key_storage(&high, WIRE_GROUP_LOCAL, 0);
    status = store->iterate(store->self, NULL, SB_ITEMS, (struct wire_span){low.data, low.size},
                            (struct wire_span){high.data, high.size}, &it, fault);
    if (status != WIRE_OK)
        return status;
    for (it->seek(it->self, (struct wire_span){low.data, low.size}); it->valid(it->self) && status == WIRE_OK;
         it->next(it->self)) {
        struct wire_span key = it->key(it->self);

        if (key.size <= SB_META_PREFIX_SIZE || (key.size == low.size && memcmp(key.data, low.data, low.size) == 0))
            continue;
        if (rows.size > WIRE_MESSAGE_MAX / 2)
            break;
        status = append_storage(reader, key, it->value(it->self), &rows);
        count++;
    }
    if (status == WIRE_OK)
        status = it->status(it->self, fault);
    it->close(it->self);
    if (status == WIRE_OK)
        status = append_varint(out, count);
    if (status == WIRE_OK)
        status = sb_buffer_append(out, rows.data, rows.size);
    sb_buffer_close(&rows);
    return status;
}

bool sb_read_is_single(const struct wire_request *request)
{
    struct wire_reader body = request->body;

    return request->operation == WIRE_GET && wire_read_varint(&body) == 1;
}

int sb_read_request(struct sb_reader *reader, const struct wire_request *request, struct sb_buffer *out,
                    uint32_t *detail, uint64_t *snapshot_read, struct sb_fault *fault)
{
    bool rows = request->operation == WIRE_GET || request->operation == WIRE_SCAN;
    uint64_t snapshot = request->snapshot;

    if (snapshot == 0)
        snapshot = sb_read_is_single(request) ? NO_SNAPSHOT : atomic_load(reader->newest);
    if (snapshot == 0)
        snapshot = 1; /* nothing was ever written */
    *detail = 0;
    *snapshot_read = rows ? snapshot : 0;
    switch (request->operation) {
    case WIRE_GET:
        return read_get(reader, request, snapshot, out, detail, snapshot_read, fault);
    case WIRE_SCAN:
        return read_scan(reader, request, snapshot, out, fault);
    case WIRE_LOOKUP:
        return read_lookup(reader, request, out, fault);
    case WIRE_STORAGES:
        return read_storages(reader, request, out, fault);
    default:
        return WIRE_E_BAD_FORMAT;
    }
}
