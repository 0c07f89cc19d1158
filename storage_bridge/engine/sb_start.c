/*
 * Start and end from within: what is opened in which order, recovery, threads; and the same backwards.
 *
 * Identity -> items store -> log -> shard, whose group applies the entries above the applied index -> threads.
 * Everything that can make RocksDB start a thread happens in a thread whose signals are all blocked, for its threads
 * inherit the mask. Failure modes: what does not fit together is refused (another identity, a log that does not contain
 * what the items store has applied); sb_start_close undoes whatever was opened.
 */
#include "sb_replica.h"

#include <signal.h>
#include <stdio.h>

#include "sb_meta.h"

#define PATH_SIZE 1200
/* A group of one has no elections to wait for; these matter with more members. */
#define ELECTION_TIMEOUT_MS 1000
#define HEARTBEAT_MS 100
#define INSTALL_TIMEOUT_MS 30000

/* A call made in a thread of its own with all signals blocked. */
struct blocked_call {
    int (*run)(struct sb_server *server, struct sb_fault *fault);
    struct sb_server *server;
    struct sb_fault *fault;
    int status;
};

static void *run_blocked_call(void *argument)
{
    struct blocked_call *call = argument;

    call->status = call->run(call->server, call->fault);
    return NULL;
}

int sb_start_call_blocked(int (*run)(struct sb_server *server, struct sb_fault *fault), struct sb_server *server,
                          struct sb_fault *fault)
{
    struct blocked_call call = {run, server, fault, WIRE_E_INTERNAL};
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    int failed;

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&thread, NULL, run_blocked_call, &call);
    if (failed == 0)
        (void) pthread_join(thread, NULL);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0 ? call.status
                       : sb_fault_set(fault, WIRE_E_NOMEM, "could not start a thread: %s", strerror(failed));
}

/* From a thread of the items store, or during its open. */
static void report_items(void *context, enum sb_rocks_event event, const struct sb_fault *fault)
{
    struct sb_server *server = context;

    switch (event) {
    case SB_ROCKS_DAMAGED:
        sb_host_line(server, SB_LEVEL_WARNING, "reads of some keys will fail: %s", fault->text);
        break;
    case SB_ROCKS_PAUSED:
        sb_host_line(server, SB_LEVEL_WARNING, "compactions pause, everything else goes on: %s", fault->text);
        break;
    case SB_ROCKS_NO_ROOM:
        atomic_store(&server->store_full, true);
        atomic_store(&server->short_of_room, true);
        sb_host_line(server, SB_LEVEL_WARNING, "writes are refused until there is room on disk: %s", fault->text);
        break;
    case SB_ROCKS_ROOM:
        atomic_store(&server->store_full, false);
        break;
    case SB_ROCKS_FAILED:
        sb_host_fail(server, fault);
        break;
    }
}

static int open_items(struct sb_server *server, struct sb_fault *fault)
{
    char path[PATH_SIZE + 16];
    struct sb_rocks_options options = {
        .path = path,
        .block_cache_bytes = server->options.block_cache_bytes,
        .write_buffer_bytes = server->options.write_buffer_bytes,
        .write_buffer_count = server->options.write_buffer_count,
        .background_threads = server->options.background_threads,
        .rate_limit_bytes_per_s = server->options.rate_limit_bytes_per_s,
        .max_open_files = server->options.max_open_files,
        .report = report_items,
        .report_context = server,
    };
    int status;

    (void) snprintf(path, sizeof(path), "%s/items", server->path);
    status = sb_rocks_open(&options, &server->store, fault);
    server->store_open = status == WIRE_OK;
    return status;
}

static int read_log(void *context, uint64_t group, uint64_t index, uint64_t *term, struct sb_buffer *out,
                    struct sb_fault *fault)
{
    return sb_log_read(context, group, index, term, out, fault);
}

static int open_shard(struct sb_server *server, struct sb_fault *fault)
{
    struct sb_shard_options options = {
        .node = WIRE_NODE_LOCAL,
        .seed = (uint32_t) sb_boot_ms(),
        .election_timeout_ms = ELECTION_TIMEOUT_MS,
        .heartbeat_ms = HEARTBEAT_MS,
        .install_timeout_ms = INSTALL_TIMEOUT_MS,
        .store = &server->store,
        .max_in_flight_bytes = SB_IN_FLIGHT_MAX,
        .settle_keys_max = SB_SETTLE_KEYS_MAX,
        .portions = sb_shard_portions(server),
        .read_log = read_log,
        .log = server->log,
    };
    int status = sb_transactions_open(&server->transactions);

    if (status == WIRE_OK)
        status = sb_shard_open(&options, &server->shard);
    if (status != WIRE_OK)
        return sb_fault_set(fault, status, "could not open the shard: %s", wire_error_text(status));
    server->reader = (struct sb_reader){&server->store, server->transactions, &server->shared->applied_version,
                                        &server->readable_version};
    return WIRE_OK;
}

struct found {
    uint64_t applied_index;  /* by the items store: entries below are of no use here */
    struct sb_digest digest; /* of the local group */
    struct sb_fault fault;   /* why an entry was refused */
};

static int find_entry(void *context, const struct sb_log_entry *entry)
{
    struct found *found = context;

    if (entry->group != WIRE_GROUP_LOCAL || entry->index < found->applied_index)
        return WIRE_OK;
    return sb_digest_add(&found->digest, entry, &found->fault);
}

static int open_log(struct sb_server *server, struct found *found, struct sb_fault *fault)
{
    struct sb_log_options options = {server->options.log_segment_bytes, server->options.identity};
    char path[PATH_SIZE + 16];
    int status;

    (void) snprintf(path, sizeof(path), "%s/log", server->path);
    status = sb_files_system_open(path, &server->files, fault);
    server->files_open = status == WIRE_OK;
    if (status == WIRE_OK)
        status = sb_log_open(&server->files, &options, find_entry, found, &server->log, fault);
    if (found->fault.code != WIRE_OK)
        *fault = found->fault;
    return status;
}

/* The member applies what its log holds beyond the items store before this returns. */
static int open_group(struct sb_server *server, const struct found *found, struct sb_fault *fault)
{
    struct wire_configuration alone = {.count = 1, .members = {{WIRE_NODE_LOCAL, WIRE_MEMBER_VOTER}}};
    struct sb_now now = {sb_wall_ms(), sb_boot_ms()};
    struct sb_buffer state = {0};
    uint64_t term;
    int status = sb_log_state(server->log, WIRE_GROUP_LOCAL, &term, &state);

    if (status == WIRE_OK || status == WIRE_E_NOT_FOUND)
        status = sb_shard_add(server->shard, now, WIRE_GROUP_LOCAL, sb_buffer_span(&state), &found->digest, &alone,
                              server->transactions, fault);
    sb_buffer_close(&state);
    return status;
}

/* The state that replay has led to, for whoever comes before the first step. */
static int publish_start(struct sb_server *server, const struct sb_applied *before, struct sb_fault *fault)
{
    struct sb_group_status replica;
    struct sb_applied applied;
    int status = sb_meta_applied(&server->store, WIRE_GROUP_LOCAL, false, &applied, fault);

    if (status != WIRE_OK)
        return status;
    /* No snapshot has outlived the last process; images that only older ones needed may be missing. */
    atomic_store(&server->shared->horizon, applied.version);
    atomic_store(&server->published.horizon, applied.horizon);
    atomic_store(&server->shared->applied_version, applied.version);
    atomic_store(&server->readable_version, applied.version);
    server->shared->engine_readers = server->options.reader_threads + 1;
    if (sb_shard_status(server->shard, WIRE_GROUP_LOCAL, &replica))
        sb_replica_publish(server, &replica);
    atomic_store(&server->replayed_unflushed, applied.index > before->index);
    if (applied.index > before->index)
        sb_host_line(server, SB_LEVEL_LOG, "replayed log entries %llu to %llu", (unsigned long long) before->index + 1,
                     (unsigned long long) applied.index);
    return WIRE_OK;
}

static int start_thread(void *(*run)(void *), void *argument, pthread_t *thread, struct sb_fault *fault)
{
    int failed = pthread_create(thread, NULL, run, argument);

    return failed == 0 ? WIRE_OK : sb_fault_set(fault, WIRE_E_NOMEM, "could not start a thread: %s", strerror(failed));
}

static int start_threads(struct sb_server *server, struct sb_fault *fault)
{
    uint32_t readers = server->options.reader_threads;
    int status = WIRE_OK;

    for (uint32_t i = 0; i < readers + 3 && status == WIRE_OK; i++) {
        struct sb_worker *worker = i <= readers ? &server->workers[i] : NULL;
        void *(*run)(void *) = worker ? sb_worker_main : i == readers + 1 ? sb_sync_main : sb_keep_main;

        if (worker) {
            worker->server = server;
            worker->number = i;
            worker->queue = i < readers ? WIRE_QUEUE_READS : WIRE_QUEUE_SCANS;
        }
        status = start_thread(run, worker ? (void *) worker : server, &server->threads[i], fault);
        server->thread_count += status == WIRE_OK;
    }
    if (status == WIRE_OK)
        status = start_thread(sb_shard_main, server, &server->shard_thread, fault);
    server->shard_running = status == WIRE_OK;
    return status;
}

static int open_stores(struct sb_server *server, struct found *found, struct sb_applied *before, struct sb_fault *fault)
{
    int status = open_items(server, fault);

    if (status == WIRE_OK)
        status = sb_meta_applied(&server->store, WIRE_GROUP_LOCAL, false, before, fault);
    found->applied_index = before->index;
    return status == WIRE_OK ? open_log(server, found, fault) : status;
}

int sb_start_open(struct sb_server *server, struct sb_fault *fault)
{
    struct found found = {0};
    struct sb_applied before = {0};
    bool made = false;
    int status = sb_identity_open(server->path, server->options.marker, server->options.identity,
                                  &server->directory_lock, &made, fault);

    if (status == WIRE_OK)
        status = open_stores(server, &found, &before, fault);
    if (status == WIRE_OK)
        status = open_shard(server, fault);
    if (status == WIRE_OK)
        status = open_group(server, &found, fault);
    sb_digest_close(&found.digest);
    if (status == WIRE_OK && made)
        status = sb_identity_complete(server->path, server->options.marker, server->options.identity, fault);
    if (status == WIRE_OK)
        status = publish_start(server, &before, fault);
    return status == WIRE_OK ? start_threads(server, fault) : status;
}

/* Wake every thread, whatever it sleeps on. */
void sb_start_wake_all(struct sb_server *server)
{
    for (int i = 0; i < WIRE_QUEUE_COUNT; i++) {
        struct wire_queue *queue = &server->shared->queues[i];

        sb_futex_announce(&queue->event, &queue->sleepers, INT_MAX);
    }
    atomic_fetch_add(&server->keep_event, 1);
    sb_futex_wake(&server->keep_event, 1);
    sb_futex_wake(&server->sync.state, 1);
}

void sb_start_join(struct sb_server *server)
{
    atomic_store(&server->serving, false);
    atomic_store(&server->stopping, true);
    if (server->store_open)
        server->store.give_up(server->store.self);
    sb_start_wake_all(server);
    if (server->shard_running)
        (void) pthread_join(server->shard_thread, NULL);
    atomic_store(&server->workers_stop, true);
    atomic_store(&server->sync.state, SB_SYNC_END);
    sb_start_wake_all(server);
    for (size_t i = 0; i < server->thread_count; i++)
        (void) pthread_join(server->threads[i], NULL);
    server->shard_running = false;
    server->thread_count = 0;
}

/* Lists left over by a failure. */
static void free_lists(struct sb_server *server)
{
    struct sb_command *lists[2] = {server->commands, server->running};
    struct sb_fetch_node *fetches[2] = {server->fetches.first, server->fetched.first};

    for (int i = 0; i < 2; i++) {
        for (struct sb_command *at = lists[i], *next; at; at = next) {
            next = at->next;
            sb_free(at);
        }
        for (struct sb_fetch_node *at = fetches[i], *next; at; at = next) {
            next = at->next;
            sb_free(at);
        }
    }
}

/* Everything but the server itself; what was never opened is skipped. */
void sb_start_close(struct sb_server *server)
{
    sb_start_join(server);
    free_lists(server);
    sb_sync_close(server);
    if (server->shard)
        sb_shard_close(server->shard);
    if (server->transactions)
        sb_transactions_close(server->transactions);
    if (server->store_open)
        server->store.close(server->store.self);
    if (server->log)
        sb_log_close(server->log);
    if (server->files_open)
        sb_files_system_close(&server->files);
    if (server->directory_lock >= 0)
        (void) close(server->directory_lock);
}
