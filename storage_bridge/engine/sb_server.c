/*
 * The server's interface: start, commands of the main thread, log lines, stop. What happens inside is in sb_start.c.
 */
#include "sb_host.h"

#include <signal.h>
#include <stdio.h>

#include "sb_meta.h"
#include "wire_key.h"

#define PATH_MAX_SIZE 1100

static void free_server(struct sb_server *server)
{
    for (uint32_t i = 0; server->kept && i < server->shared->slot_count; i++) {
        sb_buffer_close(&server->kept[i].request);
        sb_buffer_close(&server->kept[i].reply);
    }
    sb_free(server->kept);
    sb_free(server->path);
    (void) pthread_mutex_destroy(&server->lock);
    (void) pthread_mutex_destroy(&server->lines.lock);
    sb_free(server);
}

static int close_after_failure(struct sb_server *server, struct sb_fault *fault)
{
    (void) fault;
    sb_start_close(server);
    return WIRE_OK;
}

static int check_options(const struct sb_server_options *options, struct sb_fault *fault)
{
    if (!options->path || !*options->path || strlen(options->path) >= PATH_MAX_SIZE || !options->shared)
        return sb_fault_set(fault, WIRE_E_CONFIG, "the storage directory or the shared memory is not given");
    if (options->reader_threads < 1 || options->reader_threads > SB_READERS_MAX)
        return sb_fault_set(fault, WIRE_E_CONFIG, "the number of reader threads is %u, not between 1 and %d",
                            options->reader_threads, SB_READERS_MAX);
    return WIRE_OK;
}

static int make_server(const struct sb_server_options *options, struct sb_server **out, struct sb_fault *fault)
{
    struct sb_server *server = sb_alloc(sizeof(*server));
    size_t path_size = strlen(options->path) + 1;

    if (!server)
        return sb_fault_set(fault, WIRE_E_NOMEM, "out of memory");
    server->options = *options;
    server->shared = options->shared;
    server->directory_lock = -1;
    server->commands_tail = &server->commands;
    (void) pthread_mutex_init(&server->lock, NULL);
    (void) pthread_mutex_init(&server->lines.lock, NULL);
    server->path = sb_alloc(path_size);
    server->kept = sb_alloc(sizeof(*server->kept) * (server->shared->slot_count + (size_t) 1));
    if (!server->path || !server->kept) {
        free_server(server);
        return sb_fault_set(fault, WIRE_E_NOMEM, "out of memory");
    }
    memcpy(server->path, options->path, path_size);
    server->options.path = server->path;
    *out = server;
    return WIRE_OK;
}

static int server_start(const struct sb_server_options *options, struct sb_server **out, struct sb_fault *fault)
{
    struct sb_server *server = NULL;
    struct sb_fault local = {0};
    int status;

    if (!fault)
        fault = &local;
    *fault = (struct sb_fault){0};
    *out = NULL;
    status = check_options(options, fault);
    if (status == WIRE_OK)
        status = make_server(options, &server, fault);
    if (status != WIRE_OK)
        return status;
    atomic_store(&server->shared->state, WIRE_STORAGE_STARTING);
    status = sb_start_call_blocked(sb_start_open, server, fault);
    if (status == WIRE_OK) {
        *out = server;
        return WIRE_OK;
    }
    if (fault->code == WIRE_OK)
        (void) sb_fault_set(fault, status, "could not start: %s", wire_error_text(status));
    (void) sb_start_call_blocked(close_after_failure, server, NULL);
    atomic_store(&server->shared->state, WIRE_STORAGE_FAILED);
    sb_futex_wake(&server->shared->state, INT_MAX);
    free_server(server);
    return status;
}

static uint64_t server_prepared(struct sb_server *server, uint64_t after)
{
    struct sb_command *command = sb_alloc(sizeof(*command));
    struct sb_fault fault = {0};
    uint64_t number;

    if (!command) {
        sb_fault_set(&fault, WIRE_E_NOMEM, "out of memory while asking for prepared transactions");
        sb_host_fail(server, &fault);
        return 0;
    }
    command->kind = SB_COMMAND_PREPARED;
    command->waited = true;
    command->number = after;
    sb_command_submit(server, command);
    if (sb_command_wait(server, command, &fault) != WIRE_OK)
        return 0;
    number = command->number;
    sb_free(command);
    return number;
}

/* A command that carries a request with a body. */
static struct sb_command *make_request(enum wire_operation operation, uint64_t number, const uint8_t *flag)
{
    struct wire_request header = {.operation = operation};
    struct sb_command *command = sb_alloc(sizeof(*command));
    struct wire_writer w;

    if (!command)
        return NULL;
    w = wire_writer_of(command->bytes, sizeof(command->bytes));
    if (operation == WIRE_DROP)
        header.storage_id = number;
    wire_request_write(&w, &header);
    wire_write_u64(&w, number);
    if (flag)
        wire_write_u8(&w, *flag);
    command->kind = SB_COMMAND_REQUEST;
    command->size = w.size;
    return command;
}

static int server_decide(struct sb_server *server, uint64_t decider, bool commit, struct sb_fault *fault)
{
    uint8_t flag = commit;
    struct sb_command *command = make_request(WIRE_DECIDE, decider, &flag);
    struct sb_fault local = {0};
    int status;

    if (!command)
        return sb_fault_set(fault, WIRE_E_NOMEM, "out of memory");
    command->waited = true;
    sb_command_submit(server, command);
    status = sb_command_wait(server, command, fault ? fault : &local);
    if (status != WIRE_OK)
        return status;
    status = command->status;
    sb_free(command);
    if (status != WIRE_OK)
        (void) sb_fault_set(fault, status, "could not decide the prepared transaction of %llu: %s",
                            (unsigned long long) decider, wire_error_text(status));
    return status;
}

/* What was replayed is flushed first: a disk that cannot be written then fails the start, which harms nobody else,
 * rather than ending the whole server as soon as it serves, again and again. For room nobody waits here. */
static void await_first_flush(struct sb_server *server)
{
    const struct timespec pause = {0, (long) SB_NS_PER_MS};

    while (atomic_load(&server->replayed_unflushed) && !atomic_load(&server->store_full) && !sb_host_failed(server))
        (void) nanosleep(&pause, NULL);
}

static int server_serve(struct sb_server *server, struct sb_fault *fault)
{
    await_first_flush(server);
    if (sb_host_failed(server)) {
        pthread_mutex_lock(&server->lines.lock);
        if (fault)
            *fault = server->lines.fault;
        pthread_mutex_unlock(&server->lines.lock);
        return WIRE_E_DOWN;
    }
    atomic_store(&server->serving, true);
    atomic_fetch_add(&server->shared->generation, 1);
    atomic_store(&server->shared->state, WIRE_STORAGE_READY);
    sb_futex_wake(&server->shared->state, INT_MAX);
    sb_start_wake_all(server);
    return WIRE_OK;
}

static bool server_line(struct sb_server *server, struct sb_line *out)
{
    struct sb_lines *lines = &server->lines;
    bool found;

    pthread_mutex_lock(&lines->lock);
    found = lines->taken < lines->written;
    if (lines->written - lines->taken > SB_LINES_MAX) {
        out->level = SB_LEVEL_WARNING;
        (void) snprintf(out->text, sizeof(out->text), "%llu log lines were lost",
                        (unsigned long long) (lines->written - lines->taken - SB_LINES_MAX));
        lines->taken = lines->written - SB_LINES_MAX;
    } else if (found)
        *out = lines->ring[lines->taken++ % SB_LINES_MAX];
    pthread_mutex_unlock(&lines->lock);
    return found;
}

static bool server_failed(struct sb_server *server, struct sb_fault *fault)
{
    if (!sb_host_failed(server))
        return false;
    pthread_mutex_lock(&server->lines.lock);
    if (fault)
        *fault = server->lines.fault;
    pthread_mutex_unlock(&server->lines.lock);
    return true;
}

/* The end of a healthy server saves the next start its replay; a flush that fails loses nothing. */
static int stop_inside(struct sb_server *server, struct sb_fault *fault)
{
    sb_start_join(server);
    sb_slots_refuse_all(server);
    if (!sb_host_failed(server))
        (void) server->store.flush(server->store.self, fault);
    sb_start_close(server);
    return WIRE_OK;
}

static void server_stop(struct sb_server *server)
{
    struct sb_fault fault = {0};

    atomic_store(&server->shared->state, WIRE_STORAGE_DOWN);
    sb_futex_wake(&server->shared->state, INT_MAX);
    (void) sb_start_call_blocked(stop_inside, server, &fault);
    free_server(server);
}

/* One step of the relation map, from the key behind `after` on. */
static int next_relation(struct sb_server *server, struct wire_span after, uint8_t *identity, size_t capacity,
                         size_t *size, uint64_t *storage_id)
{
    struct sb_store *store = &server->store;
    struct sb_meta_key low;
    struct sb_meta_key high;
    struct wire_span start = sb_meta_key_relation(&low, WIRE_GROUP_LOCAL, after);
    struct wire_span end = sb_meta_key_first(&high, WIRE_GROUP_LOCAL, SB_META_RELATION + 1);
    struct sb_iterator *iterator;
    struct wire_reader r;
    struct wire_span key;
    int status;

    status = store->iterate(store->self, NULL, SB_ITEMS, start, end, &iterator, NULL);
    if (status != WIRE_OK)
        return status;
    iterator->seek(iterator->self, start);
    if (iterator->valid(iterator->self) && wire_span_compare(iterator->key(iterator->self), start) == 0)
        iterator->next(iterator->self);
    status = iterator->status(iterator->self, NULL);
    if (status == WIRE_OK && !iterator->valid(iterator->self))
        status = WIRE_E_NOT_FOUND;
    if (status == WIRE_OK) {
        key = iterator->key(iterator->self);
        r = wire_reader_of(iterator->value(iterator->self).data, iterator->value(iterator->self).size);
        *storage_id = wire_read_u64(&r);
        *size = key.size - SB_META_PREFIX_SIZE;
        if (wire_reader_finish(&r) != WIRE_OK)
            status = WIRE_E_CORRUPT;
        else if (*size > capacity)
            status = WIRE_E_SHORT_BUFFER;
        else
            memcpy(identity, key.data + SB_META_PREFIX_SIZE, *size);
    }
    iterator->close(iterator->self);
    return status;
}

static int server_storage_next(struct sb_server *server, struct wire_span after, uint8_t *identity, size_t capacity,
                               size_t *size, uint64_t *storage_id)
{
    sigset_t all;
    sigset_t before;
    int status;

    if (after.size > SB_IDENTITY_MAX)
        return WIRE_E_BAD_FORMAT;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    status = next_relation(server, after, identity, capacity, size, storage_id);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

static int server_storage_drop(struct sb_server *server, uint64_t storage_id)
{
    struct sb_command *command = make_request(WIRE_DROP, storage_id, NULL);

    if (!command)
        return WIRE_E_NOMEM;
    sb_command_submit(server, command);
    return WIRE_OK;
}

const struct sb_server_interface sb_server_interface = {
    .version = SB_SERVER_INTERFACE_VERSION,
    .start = server_start,
    .prepared = server_prepared,
    .decide = server_decide,
    .serve = server_serve,
    .line = server_line,
    .failed = server_failed,
    .stop = server_stop,
    .storage_next = server_storage_next,
    .storage_drop = server_storage_drop,
};
