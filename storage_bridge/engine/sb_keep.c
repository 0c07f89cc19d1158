/*
 * The keep thread, once a second: how much of the items store is durable, and so how much of the log may go; a flush
 * when the log has grown past its size; the horizon, as writes and retention move it.
 *
 * The log keeps its last durable entry: an items store whose applied index the log does not contain has lost its log,
 * and start-up refuses it.
 */
#include "sb_host.h"

#include "sb_meta.h"

#include <sys/prctl.h>

#define PERIOD_NS SB_NS_PER_S
#define HORIZON_PERIOD_MAX_MS 60000

struct keep {
    struct sb_server *server;
    uint64_t flushed_index; /* applied index at the last flush asked for */
    uint64_t user_bytes;    /* at the last look */
    uint64_t written_ms;    /* when user_bytes last changed */
    uint64_t proposed_ms;
};

static int look_at_durable(struct keep *keep, struct sb_fault *fault)
{
    struct sb_server *server = keep->server;
    struct sb_applied applied;
    int status = sb_meta_applied(&server->store, true, &applied, fault);

    if (status != WIRE_OK)
        return status;
    atomic_store_explicit(&server->published.durable_index, applied.index, memory_order_relaxed);
    if (applied.index > 1 && applied.index - 1 > atomic_load(&server->sync.truncate_wanted)) {
        atomic_store(&server->sync.truncate_wanted, applied.index - 1);
        sb_shard_wake(server);
    }
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
    return status == WIRE_OK ? look_at_durable(keep, fault) : status;
}

/* Images become superseded by writes only: once the horizon has passed the last write there is nothing to propose. */
static void propose_horizon(struct keep *keep)
{
    struct sb_server *server = keep->server;
    uint64_t retention = server->options.history_retention_ms;
    uint64_t period = retention / 10 < HORIZON_PERIOD_MAX_MS ? retention / 10 : HORIZON_PERIOD_MAX_MS;
    uint64_t bytes = atomic_load_explicit(&server->published.user_bytes, memory_order_relaxed);
    uint64_t applied = atomic_load(&server->shared->applied_version);
    uint64_t now = sb_wall_ms();
    uint64_t wanted;

    if (bytes != keep->user_bytes) {
        keep->user_bytes = bytes;
        keep->written_ms = now;
    }
    if (now <= retention || now - keep->proposed_ms < period)
        return;
    if (wire_clock_ms(atomic_load(&server->shared->horizon)) > keep->written_ms)
        return;
    wanted = (now - retention) << 20;
    wanted = wanted < applied ? wanted : applied;
    if (wanted <= atomic_load(&server->shared->horizon))
        return;
    keep->proposed_ms = now;
    atomic_store(&server->horizon_wanted, wanted);
    sb_shard_wake(server);
}

void *sb_keep_main(void *argument)
{
    struct keep keep = {.server = argument, .written_ms = sb_wall_ms()};
    struct sb_server *server = keep.server;
    struct sb_fault fault = {0};
    uint32_t event;

    (void) prctl(PR_SET_NAME, "cairn-keep");
    for (;;) {
        event = atomic_load_explicit(&server->keep_event, memory_order_acquire);
        if (atomic_load_explicit(&server->workers_stop, memory_order_acquire) || sb_host_failed(server))
            return NULL;
        sb_futex_wait(&server->keep_event, event, PERIOD_NS);
        if (!atomic_load_explicit(&server->serving, memory_order_acquire))
            continue;
        if (look_at_durable(&keep, &fault) != WIRE_OK || flush_if_long(&keep, &fault) != WIRE_OK) {
            sb_host_fail(server, &fault);
            return NULL;
        }
        propose_horizon(&keep);
    }
}
