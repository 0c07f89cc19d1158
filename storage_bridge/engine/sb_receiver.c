/*
 * Checkpoints at their target. See sb_checkpoint.h.
 *
 * Bytes are gathered until a block is whole, and its records go into the open table. A table ends with its range, or
 * with the first block behind table_bytes: then the key that this block begins with is the cut, the end of one table and
 * the beginning of the next. Whenever a table has been finished, what is needed to go on with the next is written to a
 * file of its own, the state; `saved` is the same in memory.
 *
 * Failure modes: after any error the open table is thrown away and `saved` is where to go on. Should the bytes be a whole
 * checkpoint, but not the one ordered, that is the beginning.
 */
#include "sb_checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TABLES_MAX 16 /* for ranges as large as they may be; writes wait a little for each, and level 0 holds few */

struct sb_receiver {
    struct sb_checkpoints *home;
    struct sb_receiver_order order;
    struct wire_checkpoint_state saved; /* without cut and head */
    struct sb_buffer cut;               /* where its next table begins; empty: with its range */
    uint64_t table_bytes;               /* a table ends behind so many */
    bool spent;                         /* install was begun */

    /* Since then: */
    uint64_t offset; /* of the first byte of `bytes` */
    uint32_t before;
    uint64_t records;
    uint32_t range;
    struct sb_table *table;
    uint32_t tables; /* finished */
    struct sb_buffer bytes;
    struct sb_buffer last; /* the last key of the range */
    bool has_last;
};

static int no_memory(struct sb_fault *fault)
{
    return sb_fault_set(fault, WIRE_E_NOMEM, "out of memory for a checkpoint that comes in");
}

static int bad(const struct sb_receiver *r, int code, const char *what, struct sb_fault *fault)
{
    return sb_fault_set(fault, code, "checkpoint %016" PRIx64 ", block at offset %llu: %s", r->order.id,
                        (unsigned long long) r->offset, what);
}

/* ---- names and files ---- */

static void state_name(uint64_t id, const char *suffix, char name[SB_CHECKPOINT_NAME_MAX])
{
    (void) snprintf(name, SB_CHECKPOINT_NAME_MAX, "%016" PRIx64 ".state%s", id, suffix);
}

/* With the directory's path before it if `path` is not NULL. Returns its size without the end. */
static size_t table_name(const struct sb_receiver *r, const char *path, uint32_t number, char *name, size_t capacity)
{
    return (size_t) snprintf(name, capacity, "%s%s%016" PRIx64 "-%" PRIu32 ".sst", path ? path : "", path ? "/" : "",
                             r->order.id, number);
}

struct tables {
    const struct sb_receiver *receiver;
    uint32_t below; /* those from this number on are stale */
    uint32_t found; /* of the others */
};

static bool is_stale_table(void *context, const char *name)
{
    struct tables *tables = context;
    char prefix[SB_CHECKPOINT_NAME_MAX];
    size_t size = (size_t) snprintf(prefix, sizeof(prefix), "%016" PRIx64 "-", tables->receiver->order.id);

    if (strncmp(name, prefix, size) != 0)
        return false;
    if (strtoull(name + size, NULL, 10) >= tables->below)
        return true;
    tables->found++;
    return false;
}

/* Leave the first `below` tables. */
static int clean_tables(const struct sb_receiver *r, uint32_t below, uint32_t *found, struct sb_fault *fault)
{
    struct tables tables = {r, below, 0};
    int status = sb_checkpoints_clean(r->home, is_stale_table, &tables, fault);

    *found = tables.found;
    return status;
}

static int remove_state(const struct sb_receiver *r, struct sb_fault *fault)
{
    struct sb_files *files = r->home->files;
    char name[SB_CHECKPOINT_NAME_MAX];
    int status;

    state_name(r->order.id, "", name);
    status = files->remove(files->self, name, fault);
    if (status == WIRE_OK)
        status = files->sync_directory(files->self, fault);
    return status == WIRE_E_NOT_FOUND ? WIRE_OK : status;
}

/* ---- the state ---- */

static void table_drop(struct sb_receiver *r)
{
    if (r->table)
        r->table->close(r->table->self);
    r->table = NULL;
}

/* Go on from what is durable. */
static void rewind_to_saved(struct sb_receiver *r)
{
    uint32_t found;

    table_drop(r);
    r->offset = r->saved.offset;
    r->before = r->saved.before;
    r->records = r->saved.records;
    r->range = r->saved.range;
    r->tables = r->saved.tables;
    r->bytes.size = 0;
    r->has_last = false;
    (void) clean_tables(r, r->tables, &found, NULL); /* one that stays is written over */
}

static int begin_anew(struct sb_receiver *r, struct sb_fault *fault)
{
    int status = remove_state(r, fault);

    r->saved = (struct wire_checkpoint_state){.size = r->order.size, .checksum = r->order.checksum};
    r->cut.size = 0;
    rewind_to_saved(r);
    return status;
}

static int encode_state(const struct sb_receiver *r, const struct wire_checkpoint_state *state, struct sb_buffer *out)
{
    struct wire_writer w = {0};

    wire_checkpoint_begin(&w);
    wire_checkpoint_write_state(&w, state, r->order.ranges, r->order.count);
    if (w.size > WIRE_CHECKPOINT_BLOCK_MAX)
        return WIRE_E_TOO_LARGE;
    if (sb_buffer_reserve(out, w.size) != WIRE_OK)
        return WIRE_E_NOMEM;
    w = wire_writer_of(out->data, out->capacity);
    wire_checkpoint_begin(&w);
    wire_checkpoint_write_state(&w, state, r->order.ranges, r->order.count);
    out->size = w.size;
    (void) wire_checkpoint_seal(out->data, out->size, WIRE_CHECKPOINT_STATE, 0);
    return WIRE_OK;
}

/* A new file in the place of the old one: after a crash it is the one or the other. */
static int replace_file(struct sb_files *files, const char *name, const char *draft, struct wire_span bytes,
                        struct sb_fault *fault)
{
    int file;
    int status = files->remove(files->self, draft, fault);

    if (status == WIRE_OK || status == WIRE_E_NOT_FOUND)
        status = files->open(files->self, draft, true, &file, fault);
    if (status != WIRE_OK)
        return status;
    status = files->write(files->self, file, 0, bytes.data, bytes.size, fault);
    if (status == WIRE_OK)
        status = files->sync_file(files->self, file, fault);
    (void) files->close(files->self, file);
    if (status == WIRE_OK)
        status = files->rename(files->self, draft, name, fault);
    return status == WIRE_OK ? files->sync_directory(files->self, fault) : status;
}

/* All tables are finished: this is from where to go on. The next table begins at `cut`. */
static int save(struct sb_receiver *r, uint64_t offset, uint32_t before, struct wire_span cut, struct sb_fault *fault)
{
    struct wire_checkpoint_state state = {.size = r->order.size,
                                          .checksum = r->order.checksum,
                                          .offset = offset,
                                          .before = before,
                                          .records = r->records,
                                          .range = r->range,
                                          .tables = r->tables,
                                          .cut = cut};
    char name[SB_CHECKPOINT_NAME_MAX], draft[SB_CHECKPOINT_NAME_MAX];
    struct sb_buffer bytes = {0};
    int status = encode_state(r, &state, &bytes);

    if (status == WIRE_OK)
        status = sb_buffer_reserve(&r->cut, SB_STORE_KEY_MAX);
    state_name(r->order.id, "", name);
    state_name(r->order.id, ".new", draft);
    if (status != WIRE_OK)
        (void) sb_fault_set(fault, status, "no memory for the state of a checkpoint that comes in");
    else
        status = replace_file(r->home->files, name, draft, sb_buffer_span(&bytes), fault);
    sb_buffer_close(&bytes);
    if (status != WIRE_OK)
        return status;
    r->saved = state;
    r->saved.cut = (struct wire_span){0};
    r->cut.size = 0;
    return sb_buffer_append(&r->cut, cut.data, cut.size); /* there is room */
}

/* Is it of the checkpoint ordered? */
static bool is_ours(const struct sb_receiver *r, const struct wire_checkpoint_state *state)
{
    return state->size == r->order.size && state->checksum == r->order.checksum && state->offset <= state->size &&
           state->range <= r->order.count && state->cut.size <= SB_STORE_KEY_MAX &&
           wire_checkpoint_match_head(state->head, r->order.ranges, r->order.count) == WIRE_OK;
}

static int read_file(struct sb_files *files, const char *name, struct sb_buffer *out, struct sb_fault *fault)
{
    uint64_t size = 0;
    int file;
    int status = files->open(files->self, name, false, &file, fault);

    if (status != WIRE_OK)
        return status;
    status = files->size(files->self, file, &size, fault);
    if (status == WIRE_OK && size <= WIRE_CHECKPOINT_BLOCK_MAX && sb_buffer_reserve(out, size + 1) != WIRE_OK)
        status = no_memory(fault);
    if (status == WIRE_OK && size <= WIRE_CHECKPOINT_BLOCK_MAX)
        status = files->read(files->self, file, 0, out->data, (size_t) size, &out->size, fault);
    (void) files->close(files->self, file);
    return status;
}

/* What is there is of no use if anything about it is not as it should be: then all comes in again. */
static int resume(struct sb_receiver *r, struct sb_fault *fault)
{
    char name[SB_CHECKPOINT_NAME_MAX];
    struct wire_checkpoint_block block;
    struct wire_checkpoint_state state;
    struct sb_buffer bytes = {0};
    uint32_t found = 0;
    int status;

    state_name(r->order.id, "", name);
    status = read_file(r->home->files, name, &bytes, fault);
    if (status == WIRE_OK && wire_checkpoint_open(sb_buffer_span(&bytes), 0, &block) == WIRE_OK &&
        block.kind == WIRE_CHECKPOINT_STATE && wire_checkpoint_open_state(block.body, &state) == WIRE_OK &&
        is_ours(r, &state)) {
        status = clean_tables(r, state.tables, &found, fault);
        if (status == WIRE_OK && found == state.tables)
            status = sb_buffer_append(&r->cut, state.cut.data, state.cut.size);
        if (status == WIRE_OK && found == state.tables) {
            r->saved = state;
            r->saved.cut = r->saved.head = (struct wire_span){0};
            rewind_to_saved(r);
            sb_buffer_close(&bytes);
            return WIRE_OK;
        }
    }
    sb_buffer_close(&bytes);
    return status == WIRE_OK || status == WIRE_E_NOT_FOUND ? begin_anew(r, fault) : status;
}

int sb_receiver_open(struct sb_checkpoints *home, const struct sb_receiver_order *order, struct sb_receiver **out,
                     struct sb_fault *fault)
{
    struct sb_receiver *r;
    int status = wire_checkpoint_check_ranges(order->ranges, order->count);

    if (status != WIRE_OK || order->ranges[order->count - 1].family >= SB_FAMILY_COUNT)
        return sb_fault_set(fault, WIRE_E_BAD_FORMAT, "the ranges of a checkpoint are not in order");
    r = sb_alloc(sizeof(*r));
    if (!r)
        return no_memory(fault);
    r->home = home;
    r->order = *order;
    r->table_bytes = order->size / TABLES_MAX > home->table_bytes ? order->size / TABLES_MAX : home->table_bytes;
    status = resume(r, fault);
    if (status != WIRE_OK) {
        sb_receiver_close(r, true);
        return status;
    }
    *out = r;
    return WIRE_OK;
}

uint64_t sb_receiver_have(const struct sb_receiver *receiver)
{
    return receiver->offset + receiver->bytes.size;
}

/* ---- tables ---- */

static int table_begin(struct sb_receiver *r, struct wire_span low, struct sb_fault *fault)
{
    struct sb_store *store = r->home->store;
    char path[1024];

    if (table_name(r, r->home->path, r->tables, path, sizeof(path)) >= sizeof(path))
        return sb_fault_set(fault, WIRE_E_IO, "the path of checkpoints \"%s\" is too long", r->home->path);
    return store->table_create(store->self, path, (enum sb_family) r->order.ranges[r->range].family, low, &r->table,
                               fault);
}

static int table_end(struct sb_receiver *r, struct wire_span high, struct sb_fault *fault)
{
    int status = r->table->finish(r->table->self, high, fault);

    if (status != WIRE_OK)
        return status;
    table_drop(r);
    r->tables++;
    return WIRE_OK;
}

/* Where a table of the present range begins that none was begun for yet. */
static struct wire_span low_of(const struct sb_receiver *r)
{
    bool cut = r->cut.size > 0 && r->saved.range == r->range;

    return cut ? sb_buffer_span(&r->cut) : r->order.ranges[r->range].low;
}

/* The ranges before `range` are over: a range without records has a table without any, which empties it. */
static int go_to_range(struct sb_receiver *r, uint32_t range, struct sb_fault *fault)
{
    int status = WIRE_OK;

    while (r->range < range && status == WIRE_OK) {
        if (!r->table)
            status = table_begin(r, low_of(r), fault);
        if (status == WIRE_OK)
            status = table_end(r, r->order.ranges[r->range].high, fault);
        r->range++;
        r->has_last = false;
    }
    return status;
}

/* ---- blocks ---- */

/* Ends what ends before this record, the first of a block. */
static int make_way(struct sb_receiver *r, uint64_t range, struct wire_span key, struct sb_fault *fault)
{
    struct wire_span cut = {0};
    uint32_t tables = r->tables;
    int status;

    if (range >= r->order.count || range < r->range)
        return bad(r, WIRE_E_BAD_FORMAT, "it belongs to a range that is over or that there is not", fault);
    status = go_to_range(r, (uint32_t) range, fault);
    if (status == WIRE_OK && r->table && r->table->size(r->table->self) >= r->table_bytes) {
        if (!r->has_last || wire_span_compare(key, sb_buffer_span(&r->last)) <= 0)
            return bad(r, WIRE_E_BAD_FORMAT, "its keys do not ascend", fault);
        status = table_end(r, key, fault);
        cut = key;
    }
    if (status == WIRE_OK && r->tables > tables)
        status = save(r, r->offset, r->before, cut, fault);
    return status == WIRE_OK && !r->table ? table_begin(r, low_of(r), fault) : status;
}

static int take_record(struct sb_receiver *r, struct wire_span key, struct wire_span value, struct sb_fault *fault)
{
    if (!wire_range_holds(&r->order.ranges[r->range], key) || wire_span_compare(key, low_of(r)) < 0)
        return bad(r, WIRE_E_BAD_FORMAT, "a key lies outside its range", fault);
    if (r->has_last && wire_span_compare(key, sb_buffer_span(&r->last)) <= 0)
        return bad(r, WIRE_E_BAD_FORMAT, "its keys do not ascend", fault);
    r->last.size = 0;
    r->has_last = true;
    if (sb_buffer_append(&r->last, key.data, key.size) != WIRE_OK)
        return no_memory(fault);
    r->records++;
    return r->table->put(r->table->self, key, value, fault);
}

static int take_data(struct sb_receiver *r, struct wire_span body, struct sb_fault *fault)
{
    struct wire_reader reader = wire_reader_of(body.data, body.size);
    uint64_t range = wire_read_varint(&reader);
    struct wire_span key, value;
    int status = wire_checkpoint_read_record(&reader, &key, &value);

    if (status != WIRE_OK || !key.data)
        return bad(r, WIRE_E_BAD_FORMAT, "its records are cut off", fault);
    status = make_way(r, range, key, fault);
    while (status == WIRE_OK && key.data) {
        status = take_record(r, key, value, fault);
        if (status == WIRE_OK && wire_checkpoint_read_record(&reader, &key, &value) != WIRE_OK)
            status = bad(r, WIRE_E_BAD_FORMAT, "its records are cut off", fault);
    }
    return status;
}

static int take_end(struct sb_receiver *r, const struct wire_checkpoint_block *block, struct sb_fault *fault)
{
    struct wire_reader reader = wire_reader_of(block->body.data, block->body.size);
    uint64_t records = wire_read_u64(&reader);
    uint64_t end = r->offset + block->size;
    int status;

    if (wire_reader_finish(&reader) != WIRE_OK || records != r->records)
        return bad(r, WIRE_E_BAD_FORMAT, "it ends a checkpoint of another number of records", fault);
    if (end != r->order.size || block->checksum != r->order.checksum) {
        status = bad(r, WIRE_E_BAD_CHECKSUM, "it ends another checkpoint than the one ordered", fault);
        (void) begin_anew(r, NULL);
        return status;
    }
    status = go_to_range(r, (uint32_t) r->order.count, fault);
    return status == WIRE_OK ? save(r, end, block->checksum, (struct wire_span){0}, fault) : status;
}

static int take_block(struct sb_receiver *r, const struct wire_checkpoint_block *block, struct sb_fault *fault)
{
    int status;

    if ((block->kind == WIRE_CHECKPOINT_HEAD) != (r->offset == 0))
        return bad(r, WIRE_E_BAD_FORMAT, "a checkpoint begins with its ranges, and has them once", fault);
    switch (block->kind) {
    case WIRE_CHECKPOINT_HEAD:
        status = wire_checkpoint_match_head(block->body, r->order.ranges, r->order.count);
        return status == WIRE_OK ? status : bad(r, status, "it is of other ranges than the ones ordered", fault);
    case WIRE_CHECKPOINT_DATA:
        return take_data(r, block->body, fault);
    case WIRE_CHECKPOINT_END:
        return take_end(r, block, fault);
    case WIRE_CHECKPOINT_STATE:
        break;
    }
    return bad(r, WIRE_E_BAD_FORMAT, "it is of no kind that a checkpoint has", fault);
}

/* All blocks that are whole. */
static int take_blocks(struct sb_receiver *r, struct sb_fault *fault)
{
    struct wire_span left = sb_buffer_span(&r->bytes);
    struct wire_checkpoint_block block;
    int status = wire_checkpoint_open(left, r->before, &block);

    while (status == WIRE_OK) {
        status = take_block(r, &block, fault);
        if (status != WIRE_OK)
            return status;
        left = (struct wire_span){left.data + block.size, left.size - block.size};
        r->offset += block.size;
        r->before = block.checksum;
        if (block.kind == WIRE_CHECKPOINT_END)
            break;
        status = wire_checkpoint_open(left, r->before, &block);
    }
    if (status != WIRE_OK && (status != WIRE_E_SHORT_INPUT || r->offset + block.size > r->order.size))
        return bad(r, status, "it is damaged, or the checkpoint ends before it does", fault);
    if (left.size > 0)
        memmove(r->bytes.data, left.data, left.size);
    r->bytes.size = left.size;
    return WIRE_OK;
}

int sb_receiver_write(struct sb_receiver *receiver, uint64_t offset, const void *data, size_t size,
                      struct sb_fault *fault)
{
    uint64_t have = sb_receiver_have(receiver);
    int status;

    if (offset > have)
        return bad(receiver, WIRE_E_BAD_FORMAT, "bytes before it were left out", fault);
    if (size <= have - offset)
        return WIRE_OK;
    if (receiver->spent || size - (have - offset) > receiver->order.size - have)
        return bad(receiver, WIRE_E_BAD_FORMAT, "more bytes come than the checkpoint has", fault);
    status =
        sb_buffer_append(&receiver->bytes, (const uint8_t *) data + (have - offset), size - (size_t) (have - offset));
    status = status == WIRE_OK ? take_blocks(receiver, fault) : no_memory(fault);
    if (status != WIRE_OK)
        rewind_to_saved(receiver);
    return status;
}

/* ---- the end ---- */

static int ingest(struct sb_receiver *r, struct sb_fault *fault)
{
    struct sb_store *store = r->home->store;
    size_t size = strlen(r->home->path) + 1 + SB_CHECKPOINT_NAME_MAX;
    const char **paths = sb_alloc(r->tables * (sizeof(*paths) + size));
    int status;

    if (!paths)
        return no_memory(fault);
    for (uint32_t i = 0; i < r->tables; i++) {
        char *path = (char *) (paths + r->tables) + i * size;

        (void) table_name(r, r->home->path, i, path, size);
        paths[i] = path;
    }
    status = store->ingest(store->self, paths, r->tables, fault);
    sb_free(paths);
    return status;
}

/* RocksDB writes into tables as it takes them in: were it killed then, it would refuse them the next time. So from here
 * on they are not resumed. */
int sb_receiver_install(struct sb_receiver *receiver, struct sb_fault *fault)
{
    int status;

    if (receiver->saved.offset != receiver->order.size)
        return bad(receiver, WIRE_E_BAD_FORMAT, "not all of the checkpoint is there", fault);
    receiver->spent = true;
    status = remove_state(receiver, fault);
    return status == WIRE_OK ? ingest(receiver, fault) : status;
}

void sb_receiver_close(struct sb_receiver *receiver, bool keep)
{
    if (receiver->spent || !keep)
        (void) begin_anew(receiver, NULL);
    else
        rewind_to_saved(receiver);
    sb_buffer_close(&receiver->bytes);
    sb_buffer_close(&receiver->cut);
    sb_buffer_close(&receiver->last);
    sb_free(receiver);
}
