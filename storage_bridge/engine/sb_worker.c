/*
 * Reader and scan threads: take a slot, answer it from the items store, sleep when there is none. Readers also read
 * what parked writes wait for, so that the shard finds it in memory.
 *
 * A read that fails, damage included, answers its own request with its code and is logged; the thread goes on.
 */
#include "sb_host.h"

#include <stdlib.h>
#include <stdio.h>
#include <sys/prctl.h>

#define FETCH_KEYS 64                       /* keys of one multi_get */
#define OUT_KEEP_BYTES (WIRE_PIECE_MAX * 2) /* a larger reply buffer is given back */
#define IDLE_NS SB_NS_PER_S
#define APPLIED_WAIT_NS (100 * SB_NS_PER_MS) /* each wait; how late a failed server is noticed */

struct work {
    struct sb_fetch_node *fetch; /* or */
    uint32_t slot;
};

static void list_push(struct sb_fetch_list *list, struct sb_fetch_node *node)
{
    node->next = NULL;
    if (list->last)
        list->last->next = node;
    else
        list->first = node;
    list->last = node;
    atomic_fetch_add_explicit(&list->count, 1, memory_order_release);
}

static struct sb_fetch_node *list_pop(struct sb_server *server, struct sb_fetch_list *list)
{
    struct sb_fetch_node *node;

    if (atomic_load_explicit(&list->count, memory_order_acquire) == 0)
        return NULL;
    pthread_mutex_lock(&server->lock);
    node = list->first;
    if (node) {
        list->first = node->next;
        if (!list->first)
            list->last = NULL;
        atomic_fetch_sub_explicit(&list->count, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&server->lock);
    return node;
}

int sb_worker_fetch(struct sb_server *server, const struct sb_fetch *fetch)
{
    struct wire_queue *queue = &server->shared->queues[WIRE_QUEUE_READS];
    struct sb_fetch_node *node = sb_alloc(sizeof(*node));

    if (!node)
        return WIRE_E_NOMEM;
    node->fetch = *fetch;
    pthread_mutex_lock(&server->lock);
    list_push(&server->fetches, node);
    pthread_mutex_unlock(&server->lock);
    sb_futex_announce(&queue->event, &queue->sleepers, 1);
    return WIRE_OK;
}

bool sb_worker_fetched(struct sb_server *server, uint64_t *group, uint64_t *token)
{
    struct sb_fetch_node *node = list_pop(server, &server->fetched);

    if (!node)
        return false;
    *group = node->fetch.group;
    *token = node->fetch.token;
    sb_free(node);
    return true;
}

/* What cannot be read here the shard will fail to read too, and judge. */
static void read_keys(struct sb_server *server, const struct sb_fetch *fetch)
{
    struct sb_value values[FETCH_KEYS];
    int codes[FETCH_KEYS];
    struct sb_fault fault = {0};

    for (size_t at = 0, count; at < fetch->key_count; at += count) {
        count = fetch->key_count - at < FETCH_KEYS ? fetch->key_count - at : FETCH_KEYS;
        if (server->store.multi_get(server->store.self, SB_ITEMS, fetch->keys + at, count, values, codes, &fault) !=
            WIRE_OK) {
            sb_host_line(server, SB_LEVEL_WARNING, "could not read ahead of a write: %s", fault.text);
            return;
        }
        for (size_t i = 0; i < count; i++) {
            if (codes[i] == WIRE_OK)
                server->store.release(server->store.self, &values[i]);
            else if (codes[i] != WIRE_E_NOT_FOUND)
                sb_host_line(server, SB_LEVEL_WARNING, "could not read ahead of a write: %s", fault.text);
        }
    }
}

static void do_fetch(struct sb_server *server, struct sb_fetch_node *node)
{
    read_keys(server, &node->fetch);
    pthread_mutex_lock(&server->lock);
    list_push(&server->fetched, node);
    pthread_mutex_unlock(&server->lock);
    sb_shard_wake(server);
}

/* `version` is published before it is applied: until that is done. */
static void wait_applied(struct sb_server *server, uint64_t version)
{
    uint32_t event;

    while (atomic_load(&server->readable_version) < version && !sb_host_failed(server)) {
        event = sb_futex_sleep_begin(&server->readable_event, &server->readable_sleepers);
        if (atomic_load(&server->readable_version) < version)
            sb_futex_wait(&server->readable_event, event, APPLIED_WAIT_NS);
        sb_futex_sleep_end(&server->readable_sleepers);
    }
}

/* The newest item of one key, without a snapshot. False: something is being applied that is not published yet, and it
 * may be what was read. */
static bool read_newest(struct sb_worker *worker, const struct wire_request *request, struct wire_reply *header,
                        int *status, struct sb_fault *fault)
{
    struct sb_server *server = worker->server;

    for (;;) {
        *status = sb_read_request(&server->reader, request, &worker->out, &header->detail, &header->snapshot, fault);
        if (atomic_load(&server->careful))
            return false;
        if (*status != WIRE_E_WOULD_BLOCK || sb_host_failed(server))
            return true;
        wait_applied(server, header->snapshot);
        worker->out.size = WIRE_REPLY_HEADER_SIZE;
    }
}

/* At the request's snapshot, or at one of our own, so that several keys fit together. */
static int read_at_snapshot(struct sb_worker *worker, const struct wire_request *request, struct wire_reply *header,
                            struct sb_fault *fault)
{
    struct sb_server *server = worker->server;
    struct wire_shared *shared = server->shared;
    struct wire_published *own = wire_shared_published(shared, shared->lane_count + worker->number);
    struct wire_request at = *request;
    int status;

    if (at.snapshot == 0)
        at.snapshot = wire_snapshot_take(shared, own, sb_wall_ms());
    else if (at.snapshot > atomic_load(&shared->applied_version))
        return WIRE_E_BAD_FORMAT;
    wait_applied(server, at.snapshot);
    worker->out.size = WIRE_REPLY_HEADER_SIZE;
    status = sb_read_request(&server->reader, &at, &worker->out, &header->detail, &header->snapshot, fault);
    /* The horizon is published before any image below it goes: a read that saw one missing sees the horizon here. */
    atomic_thread_fence(memory_order_seq_cst);
    if (status == WIRE_OK && header->snapshot < atomic_load(&shared->horizon))
        status = WIRE_E_SNAPSHOT_TOO_OLD;
    wire_snapshot_release(own);
    return status;
}

static int read_rows(struct sb_worker *worker, const struct wire_request *request, struct wire_reply *header,
                     struct sb_fault *fault)
{
    int status;

    if (request->snapshot != 0 || !sb_read_is_single(request) || !read_newest(worker, request, header, &status, fault))
        status = read_at_snapshot(worker, request, header, fault);
    /* What was promised to be applied may be missing, or there by half. */
    return sb_host_failed(worker->server) ? WIRE_E_STOPPING : status;
}

/* Answer the request behind the reply header in worker->out. */
static int read_body(struct sb_worker *worker, const struct wire_request *request, struct wire_reply *header,
                     struct sb_fault *fault)
{
    struct sb_server *server = worker->server;

    if (request->operation == WIRE_STATUS)
        return sb_status_reply(server, &worker->out);
    if (request->operation == WIRE_GET || request->operation == WIRE_SCAN)
        return read_rows(worker, request, header, fault);
    return sb_read_request(&server->reader, request, &worker->out, &header->detail, &header->snapshot, fault);
}

static bool is_machine_fault(int status)
{
    return status == WIRE_E_IO || status == WIRE_E_CORRUPT || status == WIRE_E_INTERNAL;
}

static void answer(struct sb_worker *worker, uint32_t slot, struct wire_span bytes)
{
    struct sb_server *server = worker->server;
    struct wire_request request = {0};
    struct wire_reply header = {0};
    struct sb_fault fault = {0};
    struct wire_writer w;
    int status = wire_request_open(bytes.data, bytes.size, &request);

    if (status != WIRE_OK || wire_request_queue(request.operation, request.flags) != worker->queue) {
        sb_slots_reply_code(server, slot, 0, status != WIRE_OK ? status : WIRE_E_BAD_FORMAT, 0);
        return;
    }
    worker->out.size = 0;
    status = sb_buffer_reserve(&worker->out, WIRE_REPLY_HEADER_SIZE);
    if (status == WIRE_OK) {
        worker->out.size = WIRE_REPLY_HEADER_SIZE;
        status = read_body(worker, &request, &header, &fault);
    }
    if (is_machine_fault(status))
        sb_host_line(server, SB_LEVEL_WARNING, "a read failed: %s", fault.code ? fault.text : wire_error_text(status));
    if (status != WIRE_OK) {
        sb_slots_reply_code(server, slot, request.operation, status, header.detail);
    } else {
        w = wire_writer_of(worker->out.data, WIRE_REPLY_HEADER_SIZE);
        wire_reply_write(&w, &header);
        sb_slots_reply(server, slot, request.operation, sb_buffer_span(&worker->out));
    }
    if (worker->out.capacity > OUT_KEEP_BYTES)
        sb_buffer_close(&worker->out);
}

static bool next_work(struct sb_worker *worker, struct work *out)
{
    struct sb_server *server = worker->server;

    out->fetch = worker->queue == WIRE_QUEUE_READS ? list_pop(server, &server->fetches) : NULL;
    return out->fetch || (atomic_load_explicit(&server->serving, memory_order_acquire) &&
                          wire_queue_pop(server->shared, worker->queue, &out->slot));
}

static bool must_end(struct sb_server *server)
{
    return atomic_load_explicit(&server->workers_stop, memory_order_acquire) || sb_host_failed(server);
}

static bool next_work_or_sleep(struct sb_worker *worker, struct work *out)
{
    struct wire_queue *queue = &worker->server->shared->queues[worker->queue];
    uint32_t event;
    bool found;

    if (next_work(worker, out))
        return true;
    event = sb_futex_sleep_begin(&queue->event, &queue->sleepers);
    found = next_work(worker, out);
    if (!found && !must_end(worker->server))
        sb_futex_wait(&queue->event, event, IDLE_NS);
    sb_futex_sleep_end(&queue->sleepers);
    return found;
}

void *sb_worker_main(void *argument)
{
    struct sb_worker *worker = argument;
    struct wire_span request;
    struct work work;
    char name[16];

    if (worker->queue == WIRE_QUEUE_SCANS)
        (void) snprintf(name, sizeof(name), "cairn-scan");
    else
        (void) snprintf(name, sizeof(name), "cairn-read-%u", worker->number % 100);
    (void) prctl(PR_SET_NAME, name);
    while (!must_end(worker->server)) {
        if (!next_work_or_sleep(worker, &work))
            continue;
        if (work.fetch)
            do_fetch(worker->server, work.fetch);
        else if (sb_slots_take(worker->server, worker->queue, work.slot, &request))
            answer(worker, work.slot, request);
    }
    sb_buffer_close(&worker->out);
    return NULL;
}
