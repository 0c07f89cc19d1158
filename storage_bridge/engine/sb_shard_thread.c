/*
 * The shard's thread: collects what happened (a durable batch, fetched keys, commands, requests of backends, the
 * clock), steps the shard, has its entries appended and synced, publishes how far it has applied, and answers.
 *
 * Happy path of a write: request popped -> step gives an entry -> sync helper -> durable -> step applies it and gives
 * the reply -> slot handed back. A failure of a step or of the log ends the server; what is in flight then is never
 * acknowledged.
 */
#include "sb_replica.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define TURN_REQUESTS 256
#define TURN_EVENTS (TURN_REQUESTS + 4) /* and what is durable, a flush, a tick, and word of a full disk */
#define IDLE_NS SB_NS_PER_S
#define INLINE_SYNC_BYTES (64 * 1024) /* more takes so long that requests should be evaluated meanwhile */
#define INLINE_SYNC_MAX                                                                                                \
    2 /* requests in flight with which this thread syncs itself: measured 135 us a write instead of 150 at one client, \
         no gain beyond two */

struct turn {
    struct sb_event events[TURN_EVENTS];
    size_t count;
};

void sb_shard_wake(struct sb_server *server)
{
    struct wire_queue *queue = &server->shared->queues[WIRE_QUEUE_WRITES];

    sb_futex_announce(&queue->event, &queue->sleepers, 1);
}

void sb_command_submit(struct sb_server *server, struct sb_command *command)
{
    command->next = NULL;
    pthread_mutex_lock(&server->lock);
    *server->commands_tail = command;
    server->commands_tail = &command->next;
    atomic_fetch_add_explicit(&server->command_count, 1, memory_order_release);
    pthread_mutex_unlock(&server->lock);
    sb_shard_wake(server);
}

int sb_command_wait(struct sb_server *server, struct sb_command *command, struct sb_fault *fault)
{
    while (atomic_load_explicit(&command->done, memory_order_acquire) == 0) {
        if (sb_host_failed(server)) {
            pthread_mutex_lock(&server->lines.lock);
            *fault = server->lines.fault;
            pthread_mutex_unlock(&server->lines.lock);
            return fault->code;
        }
        sb_futex_wait(&command->done, 0, 100 * SB_NS_PER_MS);
    }
    return WIRE_OK;
}

static struct sb_command *pop_command(struct sb_server *server)
{
    struct sb_command *command;

    if (atomic_load_explicit(&server->command_count, memory_order_acquire) == 0)
        return NULL;
    pthread_mutex_lock(&server->lock);
    command = server->commands;
    if (command) {
        server->commands = command->next;
        if (!server->commands)
            server->commands_tail = &server->commands;
        atomic_fetch_sub_explicit(&server->command_count, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&server->lock);
    return command;
}

static void end_command(struct sb_server *server, struct sb_command *command)
{
    if (command->waited) {
        atomic_store_explicit(&command->done, 1, memory_order_release);
        sb_futex_wake(&command->done, 1);
        return;
    }
    if (command->status != WIRE_OK && command->status != WIRE_E_NO_STORAGE)
        sb_host_line(server, SB_LEVEL_WARNING, "could not drop a storage: %s", wire_error_text(command->status));
    sb_free(command);
}

static void add_request(struct sb_server *server, struct turn *turn, uint64_t token, struct wire_span bytes)
{
    turn->events[turn->count++] =
        (struct sb_event){.kind = SB_EVENT_REQUEST, .group = WIRE_GROUP_LOCAL, .token = token, .bytes = bytes};
    server->outstanding++;
}

static void add_commands(struct sb_server *server, struct turn *turn)
{
    struct sb_command *command;

    while (turn->count < TURN_REQUESTS && (command = pop_command(server)) != NULL) {
        if (command->kind == SB_COMMAND_PREPARED) {
            command->number = sb_shard_prepared(server->shard, WIRE_GROUP_LOCAL, command->number);
            end_command(server, command);
            continue;
        }
        command->token = SB_COMMAND_BIT | ++server->command_number;
        command->next = server->running;
        server->running = command;
        add_request(server, turn, command->token, (struct wire_span){command->bytes, command->size});
    }
}

/* While the disk is full, or nearly, only what makes no entries, or helps others on, is let in. */
static bool refused_for_room(struct sb_server *server, struct wire_span request)
{
    uint8_t operation = request.size > 1 ? request.data[1] : 0;

    return (atomic_load_explicit(&server->sync.disk_full, memory_order_relaxed) ||
            atomic_load_explicit(&server->short_of_room, memory_order_relaxed)) &&
           operation != WIRE_ABORT && operation != WIRE_DECIDE;
}

static void add_slots(struct sb_server *server, struct turn *turn)
{
    struct wire_span request;
    uint32_t slot;

    while (turn->count < TURN_REQUESTS && atomic_load_explicit(&server->serving, memory_order_acquire) &&
           wire_queue_pop(server->shared, WIRE_QUEUE_WRITES, &slot)) {
        if (!sb_slots_take(server, WIRE_QUEUE_WRITES, slot, &request))
            continue;
        if (refused_for_room(server, request))
            sb_slots_reply_code(server, slot, 0, WIRE_E_DISK_FULL, 0);
        else
            add_request(server, turn, slot, request);
    }
}

/* The greatest horizon up to `wanted`. Published before the shard makes use of it: images below it may go from now on,
 * and a reader looks here after it has read. */
static uint64_t raise_horizon(struct sb_server *server, uint64_t wanted)
{
    uint64_t now = atomic_load(&server->shared->horizon);
    uint64_t horizon = wire_horizon_propose(server->shared, wanted, sb_wall_ms(), server->options.max_snapshot_age_ms);

    if (horizon <= now)
        return now;
    atomic_store(&server->shared->horizon, horizon);
    return horizon;
}

/* Readers of what is published first wait until it is applied. Where that may last, because the store must flush first,
 * all is kept and nothing published before; who reads the newest item then takes a snapshot. */
static uint64_t begin_portion(void *context, uint64_t version, bool keep)
{
    struct sb_server *server = context;

    if (!server->store.is_roomy(server->store.self)) {
        atomic_store(&server->careful, true);
        return 0;
    }
    atomic_store(&server->shared->applied_version, version);
    return keep || server->options.history_retention_ms > 0 ? 0 : raise_horizon(server, version);
}

static void end_portion(void *context, uint64_t version)
{
    struct sb_server *server = context;

    atomic_store(&server->readable_version, version);
    atomic_store(&server->shared->applied_version, version);
    atomic_store(&server->careful, false);
    sb_futex_announce(&server->readable_event, &server->readable_sleepers, INT_MAX);
}

struct sb_portions sb_shard_portions(struct sb_server *server)
{
    return (struct sb_portions){server, begin_portion, end_portion};
}

static void add_tick(struct sb_server *server, struct turn *turn)
{
    uint64_t wanted = atomic_exchange(&server->horizon_wanted, 0);
    uint64_t horizon = wanted != 0 ? raise_horizon(server, wanted) : 0;

    turn->events[turn->count++] = (struct sb_event){.kind = SB_EVENT_TICK, .horizon = horizon};
}

/* So much of the log is not needed here any more. */
static void add_flushed(struct sb_server *server, struct turn *turn)
{
    struct sb_event *event = &turn->events[turn->count];

    if (!atomic_exchange_explicit(&server->flushed, false, memory_order_acquire))
        return;
    *event = (struct sb_event){.kind = SB_EVENT_FLUSHED, .group = WIRE_GROUP_LOCAL};
    pthread_mutex_lock(&server->lock);
    event->index = server->flushed_index;
    event->token = server->flushed_term;
    pthread_mutex_unlock(&server->lock);
    turn->count++;
}

/* Word goes to the shard when the log begins to wait for room, and behind whatever comes meanwhile. */
static void add_full(struct sb_server *server, struct turn *turn)
{
    bool full = atomic_load_explicit(&server->sync.disk_full, memory_order_relaxed);

    if (full && (turn->count > 0 || !server->full_told))
        turn->events[turn->count++] = (struct sb_event){.kind = SB_EVENT_FULL};
    server->full_told = full;
}

/* What has happened since the last turn; a tick is added if there is a horizon to propose or something to settle. */
static void collect(struct sb_server *server, struct turn *turn)
{
    uint64_t number;
    uint64_t group;

    if (sb_sync_finished(server, &number))
        turn->events[turn->count++] = (struct sb_event){.kind = SB_EVENT_DURABLE, .index = number};
    add_flushed(server, turn);
    while (turn->count < TURN_REQUESTS && sb_worker_fetched(server, &group, &number))
        turn->events[turn->count++] = (struct sb_event){.kind = SB_EVENT_FETCHED, .group = group, .token = number};
    add_commands(server, turn);
    add_slots(server, turn);
    sb_sync_start(server, false); /* a prefix to truncate, if nothing else is going on */
    if (atomic_load_explicit(&server->horizon_wanted, memory_order_relaxed) != 0 ||
        (server->more && (turn->count > 0 || sb_sync_idle(server))))
        add_tick(server, turn);
    add_full(server, turn);
}

static bool must_end(struct sb_server *server)
{
    return sb_host_failed(server) || (atomic_load_explicit(&server->stopping, memory_order_acquire) &&
                                      server->outstanding == 0 && sb_sync_idle(server));
}

static uint64_t pause_ns(const struct sb_server *server)
{
    uint64_t now = sb_boot_ms();
    uint64_t left = server->timeout_ms > now ? server->timeout_ms - now : 0;

    return left < IDLE_NS / SB_NS_PER_MS ? left * SB_NS_PER_MS : IDLE_NS;
}

/* At least one event, after a pause of at most a second. */
static void collect_or_sleep(struct sb_server *server, struct turn *turn)
{
    struct wire_queue *queue = &server->shared->queues[WIRE_QUEUE_WRITES];
    uint32_t event;

    turn->count = 0;
    collect(server, turn);
    if (turn->count > 0)
        return;
    event = sb_futex_sleep_begin(&queue->event, &queue->sleepers);
    collect(server, turn);
    if (turn->count == 0 && !must_end(server))
        sb_futex_wait(&queue->event, event, pause_ns(server));
    sb_futex_sleep_end(&queue->sleepers);
    if (turn->count == 0)
        collect(server, turn);
    if (turn->count == 0)
        add_tick(server, turn);
}

/* The version before replies: who has a reply takes snapshots that contain what it answers. */
static void publish(struct sb_server *server)
{
    struct sb_published *published = &server->published;
    struct sb_group_status status;
    const struct sb_partition_status *counters = &status.partition;

    if (!sb_shard_status(server->shard, WIRE_GROUP_LOCAL, &status))
        return;
    if (status.applied.horizon > atomic_load(&server->shared->horizon))
        atomic_store(&server->shared->horizon, status.applied.horizon);
    atomic_store(&server->readable_version, status.applied.version);
    atomic_store(&server->shared->applied_version, status.applied.version);
    atomic_store_explicit(&published->horizon, status.applied.horizon, memory_order_relaxed);
    atomic_store_explicit(&published->in_flight_entries, counters->in_flight_entries, memory_order_relaxed);
    atomic_store_explicit(&published->locks, counters->locks, memory_order_relaxed);
    atomic_store_explicit(&published->parked, counters->parked, memory_order_relaxed);
    atomic_store_explicit(&published->transactions, counters->transactions, memory_order_relaxed);
    atomic_store_explicit(&published->user_bytes, counters->user_bytes, memory_order_relaxed);
    sb_replica_publish(server, &status);
    sb_replica_tell(server, &status);
}

static void reply_command(struct sb_server *server, const struct sb_reply *reply)
{
    struct sb_command **at = &server->running;
    struct sb_command *command;
    struct wire_reply opened;
    int status;

    while (*at && (*at)->token != reply->token)
        at = &(*at)->next;
    command = *at;
    if (!command)
        return;
    *at = command->next;
    status = wire_reply_open(reply->bytes.data, reply->bytes.size, &opened);
    command->status = status == WIRE_OK ? opened.status : status;
    end_command(server, command);
}

static void deliver(struct sb_server *server, const struct sb_step *step)
{
    for (size_t i = 0; i < step->reply_count; i++) {
        const struct sb_reply *reply = &step->replies[i];

        server->outstanding--;
        if (reply->token & SB_COMMAND_BIT)
            reply_command(server, reply);
        else
            sb_slots_reply(server, (uint32_t) reply->token, reply->operation, reply->bytes);
    }
}

static int hand_out(struct sb_server *server, const struct sb_step *step)
{
    int status = sb_sync_add(server, step->records, step->record_count);

    for (size_t i = 0; i < step->cut_count; i++) {
        atomic_store(&server->sync.truncate_wanted, step->cuts[i].index);
        sb_replica_tell_cut(server, &step->cuts[i]);
    }
    for (size_t i = 0; i < step->fetch_count && status == WIRE_OK; i++)
        status = sb_worker_fetch(server, &step->fetches[i]);
    return status;
}

static int take_turn(struct sb_server *server, const struct turn *turn, struct sb_fault *fault)
{
    struct sb_step step = {0};
    bool quiet;
    int status = sb_shard_step(server->shard, (struct sb_now){sb_wall_ms(), sb_boot_ms()}, turn->events, turn->count,
                               &step, fault);

    if (status == WIRE_OK)
        status = hand_out(server, &step);
    if (status != WIRE_OK)
        return status;
    server->more = step.more;
    server->timeout_ms = step.timeout_ms;
    quiet = server->outstanding - step.reply_count <= INLINE_SYNC_MAX && server->sync.next.bytes <= INLINE_SYNC_BYTES;
    if (!quiet)
        sb_sync_start(server, false);
    publish(server);
    deliver(server, &step);
    if (quiet)
        sb_sync_start(server, true);
    return WIRE_OK;
}

void *sb_shard_main(void *argument)
{
    struct sb_server *server = argument;
    struct turn *turn = sb_alloc(sizeof(*turn));
    struct sb_fault fault = {0};
    int status = turn ? WIRE_OK : WIRE_E_NOMEM;

    (void) prctl(PR_SET_NAME, "cairn-shard");
    server->more = true; /* the first turn publishes what start-up has left, whatever happens */
    while (status == WIRE_OK && !must_end(server)) {
        collect_or_sleep(server, turn);
        if (!sb_host_failed(server))
            status = take_turn(server, turn, &fault);
    }
    if (status != WIRE_OK) {
        if (fault.code == WIRE_OK)
            (void) sb_fault_set(&fault, status, "the shard cannot go on: %s", wire_error_text(status));
        sb_host_fail(server, &fault);
    }
    sb_free(turn);
    return NULL;
}
