/*
 * The keep thread, once a second: how much of the items store is durable, and so how much of the log may go; a flush
 * when the log has grown past its size; the horizon, as writes and retention move it; the room left on disk.
 *
 * Writes are refused before the disk is full, because RocksDB does not take that well: as Debian builds it, with
 * assertions, a flush that finds no room can end the process. What is kept free lets it flush what it holds in memory;
 * compactions may need more. Should others take that room, a flush waits (sb_rocks_watch.c), and with it this thread.
 *
 * Before anything is served it flushes what a start has replayed: server_serve() says why.
 *
 * The log keeps its last durable entry: an items store whose applied index the log does not contain has lost its log,
 * and start-up refuses it.
 */
#include "sb_host.h"

#include "sb_meta.h"

#include <sys/prctl.h>
#include <sys/statvfs.h>

#define PERIOD_NS SB_NS_PER_S
#define SHORT_PERIOD_NS (50 * SB_NS_PER_MS) /* while room gets scarce */
#define SCARCE_FACTOR 4
#define HORIZON_PERIOD_MAX_MS 60000

struct keep {
    struct sb_server *server;
    uint64_t flushed_index; /* applied index at the last flush asked for */
    uint64_t user_bytes;    /* at the last look */
    uint64_t written_ms;    /* when user_bytes last changed */
    uint64_t proposed_ms;
    bool scarce; /* look often */
};

static int look_at_durable(struct keep *keep, struct sb_fault *fault)
{
    struct sb_server *server = keep->server;
    struct sb_applied applied;
    int status = sb_meta_applied(&server->store, WIRE_GROUP_LOCAL, true, &applied, fault);

    if (status != WIRE_OK)
        return status;
    atomic_store_explicit(&server->published.durable_index, applied.index, memory_order_relaxed);
    if (applied.index == server->flushed_index)
        return WIRE_OK;
    pthread_mutex_lock(&server->lock);
    server->flushed_index = applied.index;
    server->flushed_term = applied.term;
    pthread_mutex_unlock(&server->lock);
    atomic_store_explicit(&server->flushed, true, memory_order_release);
    sb_shard_wake(server);
    return WIRE_OK;
}

static int flush_if_long(struct keep *keep, struct sb_fault *fault)
{
    struct sb_server *server = keep->server;
    uint64_t applied = atomic_load_explicit(&server->published.applied_index, memory_order_relaxed);
    struct sb_log_status log = {0};
    int status;

    sb_log_status(server->log, &log);
    if (log.bytes <= server->options.log_max_bytes || log.segments < 2 || applied == keep->flushed_index)
        return WIRE_OK;
    keep->flushed_index = applied;
    sb_host_line(server, SB_LEVEL_DEBUG, "the log has %llu bytes, flushing the items store",
                 (unsigned long long) log.bytes);
    status = server->store.flush(server->store.self, fault);
    if (status == WIRE_E_DISK_FULL) {
        keep->flushed_index = 0;
        return WIRE_OK;
    }
    return status == WIRE_OK ? look_at_durable(keep, fault) : status;
}

/* The other place where a full disk is met, and reported, is the log. */
static void look_at_room(struct keep *keep)
{
    struct sb_server *server = keep->server;
    uint64_t reserve = server->options.write_buffer_bytes * (server->options.write_buffer_count + 1) +
                       server->options.log_segment_bytes;
    struct statvfs disk;
    uint64_t room;
    bool is_short;

    if (statvfs(server->path, &disk) != 0)
        return;
    room = (uint64_t) disk.f_bavail * disk.f_frsize;
    is_short = room < reserve || atomic_load(&server->store_full);
    keep->scarce = is_short || room < SCARCE_FACTOR * reserve;
    if (is_short == atomic_load(&server->short_of_room))
        return;
    atomic_store(&server->short_of_room, is_short);
    if (is_short)
        sb_host_line(server, SB_LEVEL_WARNING,
                     "writes are refused: the file system of \"%s\" has room for %llu MB, %llu MB must stay free",
                     server->path, (unsigned long long) (room >> 20), (unsigned long long) (reserve >> 20));
    else
        sb_host_line(server, SB_LEVEL_LOG, "there is room on disk again, writes go on");
}

/* Images become superseded by writes only: once the horizon has passed the last write there is nothing to propose. */
static void propose_horizon(struct keep *keep)
{
    struct sb_server *server = keep->server;
    uint64_t setting = server->options.history_retention_ms;
    uint64_t retention = setting > 0 ? setting : SB_KEEP_AFTER_DECISION_MS;
    uint64_t period = retention / 10 < HORIZON_PERIOD_MAX_MS ? retention / 10 : HORIZON_PERIOD_MAX_MS;
    uint64_t bytes = atomic_load_explicit(&server->published.user_bytes, memory_order_relaxed);
    uint64_t applied = atomic_load(&server->shared->applied_version);
    uint64_t given_up = atomic_load(&server->shared->horizon);
    uint64_t logged = atomic_load_explicit(&server->published.horizon, memory_order_relaxed);
    uint64_t now = sb_wall_ms();
    uint64_t wanted;

    if (bytes != keep->user_bytes) {
        keep->user_bytes = bytes;
        keep->written_ms = now;
    }
    if (now <= retention || now - keep->proposed_ms < period)
        return;
    if (wire_clock_ms(logged) > keep->written_ms)
        return;
    wanted = (now - retention) << 20;
    wanted = wanted < applied ? wanted : applied;
    /* What readers cannot ask for any more may go from the table files too. */
    if (setting == 0 && wanted < given_up)
        wanted = given_up;
    if (wanted <= logged)
        return;
    keep->proposed_ms = now;
    atomic_store(&server->horizon_wanted, wanted);
    sb_shard_wake(server);
}

static void flush_replayed(struct sb_server *server)
{
    struct sb_fault fault = {0};
    int status = WIRE_OK;

    if (atomic_load(&server->replayed_unflushed))
        status = server->store.flush(server->store.self, &fault);
    if (status != WIRE_OK && status != WIRE_E_DISK_FULL)
        sb_host_fail(server, &fault);
    atomic_store(&server->replayed_unflushed, false);
}

void *sb_keep_main(void *argument)
{
    struct keep keep = {.server = argument, .written_ms = sb_wall_ms()};
    struct sb_server *server = keep.server;
    struct sb_fault fault = {0};
    uint32_t event;

    (void) prctl(PR_SET_NAME, "cairn-keep");
    flush_replayed(server);
    for (;;) {
        event = atomic_load_explicit(&server->keep_event, memory_order_acquire);
        if (atomic_load_explicit(&server->workers_stop, memory_order_acquire) || sb_host_failed(server))
            return NULL;
        sb_futex_wait(&server->keep_event, event, keep.scarce ? SHORT_PERIOD_NS : PERIOD_NS);
        look_at_room(&keep);
        if (!atomic_load_explicit(&server->serving, memory_order_acquire))
            continue;
        if (look_at_durable(&keep, &fault) != WIRE_OK || flush_if_long(&keep, &fault) != WIRE_OK) {
            sb_host_fail(server, &fault);
            return NULL;
        }
        propose_horizon(&keep);
    }
}
