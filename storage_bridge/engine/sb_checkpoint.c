/*
 * Checkpoints at their source, and the directory they lie in. See sb_checkpoint.h.
 *
 * A checkpoint is made block by block in one buffer. It is synced as it grows, not for its own sake (it does not outlive
 * the process), but so that no burst of dirty pages holds up the log's syncs.
 *
 * Failure modes: whatever fails, the file is removed; what could not be removed is when the directory is next opened.
 */
#include "sb_checkpoint.h"

#include <inttypes.h>
#include <stdio.h>

#include "sb_futex.h"

#define BLOCK_BYTES ((size_t) 256 << 10) /* a block is written when it has passed this */
#define SYNC_EVERY_BYTES (UINT64_C(4) << 20)
#define REOPEN_EVERY_BYTES (UINT64_C(64) << 20) /* an iterator holds on to table files that compactions have replaced */
#define PAUSE_MAX_NS (50 * SB_NS_PER_MS)

/* ---- the directory ---- */

struct stale {
    bool (*is_stale)(void *context, const char *name);
    void *context;
    struct sb_buffer names; /* each with its end */
    int status;
};

static void note_stale(void *context, const char *name)
{
    struct stale *stale = context;

    if (stale->status == WIRE_OK && stale->is_stale(stale->context, name))
        stale->status = sb_buffer_append(&stale->names, name, strlen(name) + 1);
}

int sb_checkpoints_clean(struct sb_checkpoints *home, bool (*is_stale)(void *context, const char *name), void *context,
                         struct sb_fault *fault)
{
    struct stale stale = {.is_stale = is_stale, .context = context};
    int status = home->files->list(home->files->self, note_stale, &stale, fault);

    if (status == WIRE_OK && stale.status != WIRE_OK)
        status = sb_fault_set(fault, stale.status, "out of memory for the names of checkpoints");
    for (size_t at = 0; at < stale.names.size && status == WIRE_OK;) {
        const char *name = (const char *) stale.names.data + at;

        at += strlen(name) + 1;
        status = home->files->remove(home->files->self, name, fault);
    }
    sb_buffer_close(&stale.names);
    return status;
}

struct kept {
    const uint64_t *ids;
    size_t count;
};

/* All but what a receiver of a kept id left. */
static bool is_leftover(void *context, const char *name)
{
    const struct kept *kept = context;

    for (size_t i = 0; i < kept->count; i++) {
        char prefix[SB_CHECKPOINT_NAME_MAX];
        size_t size = (size_t) snprintf(prefix, sizeof(prefix), "%016" PRIx64, kept->ids[i]);

        if (strncmp(name, prefix, size) == 0 && (strcmp(name + size, ".state") == 0 || name[size] == '-'))
            return false;
    }
    return true;
}

int sb_checkpoints_open(struct sb_checkpoints *checkpoints, struct sb_store *store, struct sb_files *files,
                        const char *path, uint64_t table_bytes, const uint64_t *keep, size_t count,
                        struct sb_fault *fault)
{
    struct kept kept = {keep, count};

    *checkpoints = (struct sb_checkpoints){store, files, path, table_bytes};
    return sb_checkpoints_clean(checkpoints, is_leftover, &kept, fault);
}

/* ---- making ---- */

struct maker {
    struct sb_checkpoints *home;
    const struct sb_checkpoint_order *order;
    struct sb_checkpoint *out;
    struct sb_buffer block;
    struct sb_buffer last; /* the key written last, to go on behind it */
    uint64_t records;
    uint64_t synced;
    uint64_t started_ns;
    struct sb_fault *fault;
};

static void name_of(uint64_t id, char name[SB_CHECKPOINT_NAME_MAX])
{
    (void) snprintf(name, SB_CHECKPOINT_NAME_MAX, "%016" PRIx64 ".checkpoint", id);
}

static int no_memory(struct sb_fault *fault)
{
    return sb_fault_set(fault, WIRE_E_NOMEM, "out of memory for a checkpoint");
}

static bool must_stop(const struct maker *maker)
{
    return maker->order->stop && atomic_load_explicit(maker->order->stop, memory_order_relaxed);
}

/* Wait until the bytes written so far are not ahead of the rate. */
static int keep_pace(struct maker *maker)
{
    uint64_t rate = maker->order->rate_bytes_per_s;
    uint64_t due_ns = maker->started_ns;

    if (rate > 0)
        due_ns += (uint64_t) ((double) maker->out->size / (double) rate * (double) SB_NS_PER_S);
    while (!must_stop(maker)) {
        uint64_t now_ns = rate > 0 ? sb_monotonic_ns() : due_ns;

        if (now_ns >= due_ns)
            return WIRE_OK;
        (void) usleep((useconds_t) ((due_ns - now_ns < PAUSE_MAX_NS ? due_ns - now_ns : PAUSE_MAX_NS) / 1000 + 1));
    }
    return sb_fault_set(maker->fault, WIRE_E_STOPPING, "a checkpoint was given up");
}

static void block_begin(struct maker *maker)
{
    maker->block.size = WIRE_CHECKPOINT_HEADER_SIZE;
}

/* Write the block in the buffer, and go on to the next. */
static int block_end(struct maker *maker, enum wire_checkpoint_kind kind)
{
    struct sb_files *files = maker->home->files;
    struct sb_checkpoint *out = maker->out;
    int status;

    out->checksum = wire_checkpoint_seal(maker->block.data, maker->block.size, kind, out->checksum);
    status = files->write(files->self, out->file, out->size, maker->block.data, maker->block.size, maker->fault);
    out->size += maker->block.size;
    block_begin(maker);
    if (status == WIRE_OK && out->size >= maker->synced + SYNC_EVERY_BYTES) {
        maker->synced = out->size;
        status = files->sync_file(files->self, out->file, maker->fault);
    }
    return status == WIRE_OK ? keep_pace(maker) : status;
}

/* What write makes of its arguments, appended to the block. */
static struct wire_writer writer_of(struct maker *maker, size_t size)
{
    if (maker->block.size + size > WIRE_CHECKPOINT_BLOCK_MAX || sb_buffer_reserve(&maker->block, size) != WIRE_OK)
        return (struct wire_writer){.failed = true};
    return wire_writer_of(maker->block.data + maker->block.size, size);
}

static int write_head(struct maker *maker)
{
    struct wire_writer w = {0};

    wire_checkpoint_write_head(&w, maker->order->ranges, maker->order->count);
    if (w.size > WIRE_CHECKPOINT_BLOCK_MAX - WIRE_CHECKPOINT_HEADER_SIZE)
        return sb_fault_set(maker->fault, WIRE_E_TOO_LARGE, "the ranges of a checkpoint take %zu bytes", w.size);
    w = writer_of(maker, w.size);
    wire_checkpoint_write_head(&w, maker->order->ranges, maker->order->count);
    if (w.failed)
        return no_memory(maker->fault);
    maker->block.size += w.size;
    return block_end(maker, WIRE_CHECKPOINT_HEAD);
}

static int add_record(struct maker *maker, size_t range, struct wire_span key, struct wire_span value)
{
    struct wire_writer w = {0};
    bool first = maker->block.size == WIRE_CHECKPOINT_HEADER_SIZE;

    if (key.size + value.size > WIRE_CHECKPOINT_BLOCK_MAX - BLOCK_BYTES - 64)
        return sb_fault_set(maker->fault, WIRE_E_TOO_LARGE, "a record of %zu bytes is too large for a checkpoint",
                            key.size + value.size);
    if (first)
        wire_write_varint(&w, range);
    wire_checkpoint_write_record(&w, key, value);
    w = writer_of(maker, w.size);
    if (first)
        wire_write_varint(&w, range);
    wire_checkpoint_write_record(&w, key, value);
    maker->last.size = 0;
    if (w.failed || sb_buffer_append(&maker->last, key.data, key.size) != WIRE_OK)
        return no_memory(maker->fault);
    maker->block.size += w.size;
    maker->records++;
    return maker->block.size >= BLOCK_BYTES ? block_end(maker, WIRE_CHECKPOINT_DATA) : WIRE_OK;
}

/* What an iterator over [low, range's high) gives, until it has been open for long; then *more. */
static int write_stretch(struct maker *maker, size_t range, struct wire_span low, bool *more)
{
    struct sb_store *store = maker->home->store;
    const struct wire_range *bounds = &maker->order->ranges[range];
    uint64_t end = maker->out->size + REOPEN_EVERY_BYTES;
    struct sb_iterator *it;
    int status = store->iterate(store->self, maker->order->view, (enum sb_family) bounds->family, low, bounds->high,
                                &it, maker->fault);

    *more = false;
    if (status != WIRE_OK)
        return status;
    for (it->seek(it->self, low); status == WIRE_OK && it->valid(it->self) && !*more; it->next(it->self)) {
        status = add_record(maker, range, it->key(it->self), it->value(it->self));
        *more = maker->out->size >= end;
    }
    if (status == WIRE_OK && !*more)
        status = it->status(it->self, maker->fault);
    it->close(it->self);
    return status;
}

static int write_range(struct maker *maker, size_t range)
{
    bool more = true;
    int status = WIRE_OK;

    for (struct wire_span low = maker->order->ranges[range].low; status == WIRE_OK && more;) {
        status = write_stretch(maker, range, low, &more);
        if (status == WIRE_OK && more) { /* behind the last key comes that key with a zero byte */
            status = sb_buffer_append(&maker->last, "", 1) == WIRE_OK ? WIRE_OK : no_memory(maker->fault);
            low = sb_buffer_span(&maker->last);
        }
    }
    if (status == WIRE_OK && maker->block.size > WIRE_CHECKPOINT_HEADER_SIZE)
        status = block_end(maker, WIRE_CHECKPOINT_DATA);
    return status;
}

static int write_all(struct maker *maker)
{
    struct wire_writer w;
    int status;

    if (sb_buffer_reserve(&maker->block, BLOCK_BYTES + BLOCK_BYTES / 2) != WIRE_OK)
        return no_memory(maker->fault);
    block_begin(maker);
    status = write_head(maker);
    for (size_t i = 0; i < maker->order->count && status == WIRE_OK; i++)
        status = write_range(maker, i);
    if (status != WIRE_OK)
        return status;
    w = writer_of(maker, sizeof(maker->records));
    wire_write_u64(&w, maker->records);
    maker->block.size += sizeof(maker->records);
    return block_end(maker, WIRE_CHECKPOINT_END);
}

/* With a view: the one ordered, or one of now. */
static int make_viewed(struct maker *maker)
{
    struct sb_store *store = maker->home->store;
    struct sb_checkpoint_order order = *maker->order;
    int status = order.view ? WIRE_OK : store->view_open(store->self, &order.view, maker->fault);

    if (status != WIRE_OK)
        return status;
    if (maker->order->view)
        return write_all(maker);
    maker->order = &order;
    status = write_all(maker);
    store->view_close(store->self, order.view);
    return status;
}

static int check_order(const struct sb_checkpoint_order *order, struct sb_fault *fault)
{
    int status = wire_checkpoint_check_ranges(order->ranges, order->count);

    if (status == WIRE_OK && order->ranges[order->count - 1].family >= SB_FAMILY_COUNT)
        status = WIRE_E_BAD_FORMAT;
    return status == WIRE_OK ? status : sb_fault_set(fault, status, "the ranges of a checkpoint are not in order");
}

int sb_checkpoint_make(struct sb_checkpoints *home, const struct sb_checkpoint_order *order, struct sb_checkpoint *out,
                       struct sb_fault *fault)
{
    struct maker maker = {.home = home, .order = order, .out = out, .fault = fault};
    char name[SB_CHECKPOINT_NAME_MAX];
    int status = check_order(order, fault);

    *out = (struct sb_checkpoint){.home = home, .id = order->id, .file = -1};
    name_of(order->id, name);
    if (status == WIRE_OK)
        status = home->files->open(home->files->self, name, true, &out->file, fault);
    if (status != WIRE_OK)
        return status;
    maker.started_ns = order->rate_bytes_per_s > 0 ? sb_monotonic_ns() : 0;
    status = make_viewed(&maker);
    sb_buffer_close(&maker.block);
    sb_buffer_close(&maker.last);
    if (status != WIRE_OK)
        sb_checkpoint_close(out);
    return status;
}

int sb_checkpoint_read(const struct sb_checkpoint *checkpoint, uint64_t offset, void *data, size_t size, size_t *got,
                       struct sb_fault *fault)
{
    struct sb_files *files = checkpoint->home->files;

    return files->read(files->self, checkpoint->file, offset, data, size, got, fault);
}

void sb_checkpoint_close(struct sb_checkpoint *checkpoint)
{
    struct sb_files *files = checkpoint->home->files;
    char name[SB_CHECKPOINT_NAME_MAX];

    if (checkpoint->file < 0)
        return;
    name_of(checkpoint->id, name);
    (void) files->close(files->self, checkpoint->file);
    (void) files->remove(files->self, name, NULL);
    checkpoint->file = -1;
}
