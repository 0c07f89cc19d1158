/*
 * The sync helper: appends a batch of records to the log and syncs it while the shard goes on, one batch at a time;
 * drops the log's prefix before. What the shard produces meanwhile is the next batch.
 *
 * Everything that appends or truncates is ordered by sync.state: the batch is the helper's while it says WORK, else the
 * shard thread's, which does the work itself while hardly anything is in flight: that saves two wake-ups, and few wait
 * meanwhile. A large batch is handed back in portions, so that requests are evaluated between them.
 *
 * A full disk: the batch is kept and tried again until there is room, new writes are refused meanwhile. Any other error
 * ends the server: nothing in the batch is acknowledged.
 */
#include "sb_host.h"

#include <sys/prctl.h>

#define PORTION_BYTES (64 * 1024) /* durable entries that the shard applies before it looks at requests again */
#define FULL_RETRY_NS (200 * SB_NS_PER_MS)
#define IDLE_NS SB_NS_PER_S

int sb_sync_add(struct sb_server *server, const struct sb_log_entry *entries, size_t count)
{
    struct sb_batch *next = &server->sync.next;
    size_t capacity = next->capacity ? next->capacity : 64;
    struct sb_log_entry *grown;

    if (count == 0)
        return WIRE_OK;
    while (capacity - next->count < count)
        capacity *= 2;
    if (capacity != next->capacity) {
        grown = sb_realloc(next->entries, capacity * sizeof(*grown));
        if (!grown)
            return WIRE_E_NOMEM;
        next->entries = grown;
        next->capacity = capacity;
    }
    memcpy(next->entries + next->count, entries, count * sizeof(*entries));
    next->count += count;
    for (size_t i = 0; i < count; i++)
        next->bytes += entries[i].payload.size;
    return WIRE_OK;
}

bool sb_sync_idle(struct sb_server *server)
{
    return atomic_load_explicit(&server->sync.state, memory_order_acquire) == SB_SYNC_IDLE &&
           server->sync.next.count == 0 && server->sync.handed == server->sync.synced.count;
}

static int append_batch(struct sb_server *server, struct sb_sync *sync)
{
    int status;

    if (sync->batch.count == 0)
        return WIRE_OK;
    status = sb_log_append(server->log, sync->batch.entries, sync->batch.count, &sync->fault);
    return status == WIRE_OK ? sb_log_sync(server->log, &sync->fault) : status;
}

/* A prefix that stays longer costs room only; the next attempt comes with the next flush. */
static void truncate_log(struct sb_server *server, uint64_t index)
{
    struct sb_fault fault = {0};

    if (index > 0 && sb_log_truncate_prefix(server->log, WIRE_GROUP_LOCAL, index, &fault) != WIRE_OK)
        sb_host_line(server, SB_LEVEL_WARNING, "could not shorten the log: %s", fault.text);
}

/* Until there is room again, or the server ends. */
static int retry_full(struct sb_server *server, struct sb_sync *sync)
{
    int status = WIRE_E_DISK_FULL;

    atomic_store(&sync->disk_full, true);
    sb_shard_wake(server); /* it refuses what waits */
    sb_host_line(server, SB_LEVEL_WARNING, "writes wait for room on disk: %s", sync->fault.text);
    while (status == WIRE_E_DISK_FULL && !atomic_load(&server->stopping) && !sb_host_failed(server)) {
        sb_futex_wait(&sync->state, SB_SYNC_WORK, FULL_RETRY_NS);
        truncate_log(server, atomic_load(&sync->truncate_wanted));
        status = append_batch(server, sync);
    }
    if (status == WIRE_OK) {
        atomic_store(&sync->disk_full, false);
        sb_host_line(server, SB_LEVEL_LOG, "there is room on disk again, writes go on");
    }
    return status;
}

static void finish_batch(struct sb_sync *sync, int status)
{
    sync->status = status;
    atomic_store_explicit(&sync->state, SB_SYNC_DONE, memory_order_release);
}

void *sb_sync_main(void *argument)
{
    struct sb_server *server = argument;
    struct sb_sync *sync = &server->sync;
    uint32_t state;
    int status;

    (void) prctl(PR_SET_NAME, "cairn-sync");
    while (!atomic_load_explicit(&server->workers_stop, memory_order_acquire) && !sb_host_failed(server)) {
        state = atomic_load_explicit(&sync->state, memory_order_acquire);
        if (state == SB_SYNC_END)
            break;
        if (state != SB_SYNC_WORK) {
            sb_futex_wait(&sync->state, state, IDLE_NS);
            continue;
        }
        truncate_log(server, sync->truncate);
        status = append_batch(server, sync);
        if (status == WIRE_E_DISK_FULL)
            status = retry_full(server, sync);
        finish_batch(sync, status);
        sb_shard_wake(server);
    }
    return NULL;
}

/* The collected entries become the batch in flight. */
static void fill_batch(struct sb_sync *sync, uint64_t truncate)
{
    struct sb_batch next = sync->next;

    sync->next = sync->batch;
    sync->next.count = sync->next.bytes = 0;
    sync->batch = next;
    sync->truncate = truncate > sync->truncated ? truncate : 0;
    sync->truncated = truncate > sync->truncated ? truncate : sync->truncated;
    sync->fault = (struct sb_fault){0};
}

void sb_sync_start(struct sb_server *server, bool inline_sync)
{
    struct sb_sync *sync = &server->sync;
    uint64_t truncate = atomic_load_explicit(&sync->truncate_wanted, memory_order_relaxed);
    int status;

    if (atomic_load_explicit(&sync->state, memory_order_acquire) != SB_SYNC_IDLE)
        return;
    if (sync->next.count == 0 && truncate <= sync->truncated)
        return;
    fill_batch(sync, truncate);
    if (inline_sync) {
        truncate_log(server, sync->truncate);
        status = append_batch(server, sync);
        if (status != WIRE_E_DISK_FULL) {
            finish_batch(sync, status);
            return;
        }
    }
    atomic_store_explicit(&sync->state, SB_SYNC_WORK, memory_order_release);
    sb_futex_wake(&sync->state, 1);
}

/* A batch that is done becomes the synced one, which has been handed out. */
static void take_batch(struct sb_server *server)
{
    struct sb_sync *sync = &server->sync;
    struct sb_batch batch = sync->batch;

    if (atomic_load_explicit(&sync->state, memory_order_acquire) != SB_SYNC_DONE)
        return;
    if (sync->status != WIRE_OK) {
        if (sync->fault.code == WIRE_OK)
            (void) sb_fault_set(&sync->fault, sync->status, "the log could not be written: %s",
                                wire_error_text(sync->status));
        sb_host_fail(server, &sync->fault);
        return;
    }
    sync->batch = sync->synced;
    sync->batch.count = sync->batch.bytes = 0;
    sync->synced = batch;
    sync->handed = 0;
    atomic_store_explicit(&sync->state, SB_SYNC_IDLE, memory_order_relaxed);
}

bool sb_sync_finished(struct sb_server *server, uint64_t *count)
{
    struct sb_sync *sync = &server->sync;
    size_t before;
    size_t bytes = 0;

    if (sync->handed == sync->synced.count)
        take_batch(server);
    if (sync->handed == sync->synced.count)
        return false;
    before = sync->handed;
    while (sync->handed < sync->synced.count && bytes < PORTION_BYTES)
        bytes += sync->synced.entries[sync->handed++].payload.size;
    *count = sync->handed - before;
    return true;
}

void sb_sync_close(struct sb_server *server)
{
    sb_free(server->sync.batch.entries);
    sb_free(server->sync.synced.entries);
    sb_free(server->sync.next.entries);
}
