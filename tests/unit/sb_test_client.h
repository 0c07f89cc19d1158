/*
 * What tests of the engine's server share: a server on a directory of its own, and clients that do with a lane what
 * backends do.
 */
#ifndef SB_TEST_CLIENT_H
#define SB_TEST_CLIENT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "sb_futex.h"
#include "sb_memory.h"
#include "sb_server.h"
#include "wire_eval.h"
#include "wire_item.h"
#include "wire_key.h"

#define LANES 16
#define IDENTITY 4711
#define WAIT_MAX_MS 60000
#define GONE (-1) /* the server is not there any more */

static char base[256]; /* temporary directory of this run */
static int directories;

static inline struct sb_server_options make_options(const char *path, struct wire_shared *shared)
{
    return (struct sb_server_options){
        .path = path,
        .shared = shared,
        .identity = IDENTITY,
        .reader_threads = 2,
        .block_cache_bytes = 8 << 20,
        .write_buffer_bytes = 4 << 20,
        .write_buffer_count = 2,
        .background_threads = 1,
        .max_open_files = 100,
        .log_segment_bytes = (1 << 20) + (64 << 10),
        .log_max_bytes = 4 << 20,
        .history_retention_ms = 3600 * 1000,
        .max_snapshot_age_ms = 3600 * 1000,
    };
}

static inline void new_directory(char path[300])
{
    (void) snprintf(path, 300, "%s/d%d", base, ++directories);
}

static inline void remove_tree(const char *path)
{
    char command[400];

    (void) snprintf(command, sizeof(command), "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static inline struct wire_shared *new_region(void)
{
    size_t size = wire_shared_size(LANES);
    void *region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(region != MAP_FAILED);
    wire_shared_init(region, LANES);
    return region;
}

static inline void drop_region(struct wire_shared *shared)
{
    assert_int_equal(munmap(shared, wire_shared_size(LANES)), 0);
}

static inline struct sb_server *start(const struct sb_server_options *options)
{
    struct sb_server *server = NULL;
    struct sb_fault fault = {0};

    if (sb_server_interface.start(options, &server, &fault) != WIRE_OK)
        fail_msg("start: %s", fault.text);
    return server;
}

static inline void serve(struct sb_server *server)
{
    struct sb_fault fault = {0};

    if (sb_server_interface.serve(server, &fault) != WIRE_OK)
        fail_msg("serve: %s", fault.text);
}

/* ---- a backend ---- */

struct client {
    struct wire_shared *shared;
    uint32_t slot;
    uint64_t owner;
    const _Atomic bool *gone; /* the server was killed; may be NULL */
    uint8_t *request;
    struct wire_writer w;
    struct sb_buffer bytes; /* of the reply */
    struct wire_reply reply;
};

static inline void client_open(struct client *client, struct wire_shared *shared, uint32_t lane)
{
    *client = (struct client){.shared = shared, .slot = lane * WIRE_LANE_SLOTS, .owner = (uint64_t) lane << 32 | 1};
    client->request = malloc(WIRE_MESSAGE_MAX);
}

static inline void client_close(struct client *client)
{
    free(client->request);
    sb_buffer_close(&client->bytes);
}

static inline void begin(struct client *client, enum wire_operation operation, uint64_t storage, uint64_t snapshot,
                         uint16_t flags)
{
    struct wire_request header = {
        .operation = operation, .flags = flags, .snapshot = snapshot, .owner = client->owner, .storage_id = storage};

    client->w = wire_writer_of(client->request, WIRE_MESSAGE_MAX);
    wire_request_write(&client->w, &header);
}

static inline void push(struct client *client, enum wire_queue_name name)
{
    struct wire_queue *queue = &client->shared->queues[name];

    if (!wire_queue_push(client->shared, name, client->slot))
        abort();
    sb_futex_announce(&queue->event, &queue->sleepers, 1);
}

/* Submit what is in the slot and wait for DONE. */
static inline int exchange(struct client *client, enum wire_queue_name queue)
{
    struct wire_slot *slot = wire_shared_slot(client->shared, client->slot);
    uint32_t state = WIRE_SLOT_SUBMITTED;

    atomic_store(&slot->state, WIRE_SLOT_SUBMITTED);
    push(client, queue);
    while (state != WIRE_SLOT_DONE) {
        state = WIRE_SLOT_SUBMITTED;
        (void) atomic_compare_exchange_strong(&slot->state, &state, WIRE_SLOT_SLEEPING);
        if (state != WIRE_SLOT_DONE)
            sb_futex_wait(&slot->state, WIRE_SLOT_SLEEPING, 50 * SB_NS_PER_MS);
        state = atomic_load(&slot->state);
        if (state != WIRE_SLOT_DONE && client->gone && atomic_load(client->gone))
            return GONE;
    }
    return WIRE_OK;
}

static inline int send_pieces(struct client *client, enum wire_queue_name queue)
{
    struct wire_slot *slot = wire_shared_slot(client->shared, client->slot);
    size_t total = client->w.size;

    slot->submitted_ns = sb_monotonic_ns();
    for (size_t offset = 0; offset < total; offset += WIRE_PIECE_MAX) {
        slot->purpose = WIRE_SLOT_REQUEST;
        slot->offset = (uint32_t) offset;
        slot->total = (uint32_t) total;
        slot->size = (uint32_t) (total - offset < WIRE_PIECE_MAX ? total - offset : WIRE_PIECE_MAX);
        memcpy(slot->buffer, client->request + offset, slot->size);
        if (exchange(client, queue) != WIRE_OK)
            return GONE;
        if ((offset + WIRE_PIECE_MAX < total) != (slot->more == 1))
            return slot->more ? WIRE_E_INTERNAL : WIRE_OK; /* refused in the middle: the reply is there */
    }
    return WIRE_OK;
}

/* The reply, all pieces of it; its status, or GONE. */
static inline int call_on(struct client *client, enum wire_queue_name queue)
{
    struct wire_slot *slot = wire_shared_slot(client->shared, client->slot);
    int status = send_pieces(client, queue);

    client->bytes.size = 0;
    while (status == WIRE_OK) {
        if (slot->offset != client->bytes.size || sb_buffer_append(&client->bytes, slot->buffer, slot->size) != WIRE_OK)
            abort();
        if (client->bytes.size >= slot->total)
            break;
        slot->purpose = WIRE_SLOT_FETCH;
        slot->offset = (uint32_t) client->bytes.size;
        status = exchange(client, queue);
    }
    if (status != WIRE_OK)
        return status;
    atomic_store(&slot->state, WIRE_SLOT_FREE);
    status = wire_reply_open(client->bytes.data, client->bytes.size, &client->reply);
    return status == WIRE_OK ? client->reply.status : WIRE_E_INTERNAL;
}

static inline int call(struct client *client)
{
    uint16_t flags = (uint16_t) (client->request[2] << 8 | client->request[3]);

    return call_on(client, wire_request_queue((enum wire_operation) client->request[1], flags));
}

/* ---- requests ---- */

struct key {
    uint8_t bytes[64];
    struct wire_span span;
};

static inline void make_key(struct key *key, uint64_t storage, int64_t number)
{
    struct wire_writer w = wire_writer_of(key->bytes, sizeof(key->bytes));
    struct wire_key_value column = {.type = WIRE_KEY_INTEGER, .integer = number};

    wire_key_write_prefix(&w, storage, 0);
    (void) wire_key_write_column(&w, &column);
    key->span = (struct wire_span){key->bytes, w.size};
}

/* An item: attribute 1 a number, attribute 2 `padding` bytes. */
static inline size_t make_item(uint8_t *out, size_t capacity, int64_t number, size_t padding)
{
    struct wire_writer w = wire_writer_of(out, capacity);
    struct wire_item_builder b;
    uint8_t *bytes = malloc(padding + 1);

    memset(bytes, (int) (number & 0xff), padding + 1);
    wire_item_begin(&b, &w, 0, 0, 0);
    wire_item_add_declared(&b, 1);
    wire_attr_write_integer(&w, number);
    wire_item_add_declared(&b, 2);
    wire_attr_write_bytes(&w, WIRE_BINARY, bytes, padding);
    free(bytes);
    return wire_item_end(&b) == WIRE_OK ? w.size : 0;
}

static inline int item_number(struct wire_span item, int64_t *number)
{
    struct wire_item opened;
    struct wire_attr attr;
    int status = wire_item_open(item.data, item.size, &opened);

    if (status == WIRE_OK)
        status = wire_item_find(&opened, (struct wire_attr_ref){.number = 1}, &attr);
    return status == WIRE_OK ? wire_number_to_integer(&attr.number, number) : status;
}

static inline int make_storage(struct client *client, const char *identity, uint64_t *storage)
{
    int status;

    begin(client, WIRE_STORAGE, 0, 0, 0);
    wire_write_span(&client->w, identity, strlen(identity));
    status = call(client);
    *storage = status == WIRE_OK ? wire_read_u64(&client->reply.body) : 0;
    return status;
}

static inline struct wire_span item_condition(uint8_t *out, size_t capacity, int64_t expected)
{
    struct wire_writer w = wire_writer_of(out, capacity);
    struct wire_target target = {.kind = WIRE_TARGET_DECLARED, .ref = {.number = 1}};
    uint8_t value[32];
    struct wire_writer v = wire_writer_of(value, sizeof(value));

    wire_attr_write_integer(&v, expected);
    wire_write_varint(&w, 1);
    wire_clause_write(&w, WIRE_CONDITION_EQUALS, target, (struct wire_span){value, v.size});
    return (struct wire_span){out, w.size};
}

static inline void write_put(struct client *client, uint64_t storage, int64_t key_number, int64_t value, size_t padding,
                             struct wire_span condition)
{
    struct key key;
    uint8_t *item = malloc(padding + 256);
    struct wire_write_op op = {.kind = WIRE_WRITE_PUT, .condition = condition};

    make_key(&key, storage, key_number);
    op.key = key.span;
    op.argument = (struct wire_span){item, make_item(item, padding + 256, value, padding)};
    wire_write_varint(&client->w, 1);
    wire_write_op_write(&client->w, &op);
    free(item);
}

static inline int put(struct client *client, uint64_t storage, int64_t key, int64_t value, size_t padding)
{
    begin(client, WIRE_WRITE, storage, 0, 0);
    write_put(client, storage, key, value, padding, (struct wire_span){NULL, 0});
    return call(client);
}

/* *item borrows from the reply. WIRE_E_NOT_FOUND: no item. */
static inline int get_at(struct client *client, uint64_t storage, int64_t number, uint64_t snapshot,
                         struct wire_span *item)
{
    struct key key;
    int status;

    make_key(&key, storage, number);
    begin(client, WIRE_GET, storage, snapshot, 0);
    wire_write_varint(&client->w, 1);
    wire_write_span(&client->w, key.span.data, key.span.size);
    status = call(client);
    if (status != WIRE_OK)
        return status;
    if (wire_read_varint(&client->reply.body) != 1)
        return WIRE_E_INTERNAL;
    if (wire_read_u8(&client->reply.body) == 0)
        return WIRE_E_NOT_FOUND;
    *item = wire_read_span(&client->reply.body);
    return wire_reader_finish(&client->reply.body);
}

static inline int get_number(struct client *client, uint64_t storage, int64_t key, int64_t *number)
{
    struct wire_span item;
    int status = get_at(client, storage, key, 0, &item);

    return status == WIRE_OK ? item_number(item, number) : status;
}

/* Items of a storage, counted batch by batch; -1 if a batch is out of order or fails. */
static inline int64_t scan_count(struct client *client, uint64_t storage)
{
    uint8_t low[64];
    uint8_t high[WIRE_KEY_PREFIX_SIZE];
    struct wire_writer w = wire_writer_of(low, sizeof(low));
    struct wire_writer h = wire_writer_of(high, sizeof(high));
    int64_t found = 0;
    bool more = true;

    wire_key_write_prefix(&w, storage, 0);
    wire_key_write_prefix(&h, storage, 1);
    while (more) {
        begin(client, WIRE_SCAN, storage, 0, 0);
        wire_write_u8(&client->w, 0);
        wire_write_span(&client->w, low, w.size);
        wire_write_span(&client->w, high, h.size);
        wire_write_varint(&client->w, 0);
        wire_write_varint(&client->w, WIRE_SCAN_REPLY_TARGET);
        if (call(client) != WIRE_OK)
            return -1;
        more = wire_read_u8(&client->reply.body) != 0;
        for (uint32_t left = wire_read_u32(&client->reply.body); left > 0; left--, found++) {
            struct wire_span key = wire_read_span(&client->reply.body);
            struct wire_span item = wire_read_span(&client->reply.body);

            if (client->reply.body.failed || wire_item_check(item.data, item.size) != WIRE_OK ||
                wire_span_compare(key, (struct wire_span){low, w.size}) < 0 || key.size >= sizeof(low))
                return -1;
            w = wire_writer_of(low, sizeof(low));
            wire_write_bytes(&w, key.data, key.size);
            wire_write_u8(&w, 0); /* behind the last key */
        }
    }
    return found;
}

/* A figure of WIRE_STATUS, UINT64_MAX if it is missing. */
static inline uint64_t status_of(struct client *client, const char *name)
{
    begin(client, WIRE_STATUS, 0, 0, 0);
    assert_int_equal(call(client), WIRE_OK);
    for (uint64_t left = wire_read_varint(&client->reply.body); left > 0; left--) {
        struct wire_span found = wire_read_span(&client->reply.body);
        uint64_t value = wire_read_u64(&client->reply.body);

        assert_false(client->reply.body.failed);
        if (found.size == strlen(name) && memcmp(found.data, name, found.size) == 0)
            return value;
    }
    return UINT64_MAX;
}

/* Poll a condition with a bound that only a hang reaches. */
#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        uint64_t until_ = sb_wall_ms() + WAIT_MAX_MS;                                                                  \
        while (!(condition)) {                                                                                         \
            if (sb_wall_ms() > until_)                                                                                 \
                fail_msg("waited too long for %s", #condition);                                                        \
            (void) usleep(2000);                                                                                       \
        }                                                                                                              \
    } while (0)

/* ---- a served directory of each test's own ---- */

struct bench {
    char path[300];
    struct wire_shared *shared;
    struct sb_server_options options;
    struct sb_server *server;
    struct client client;
    uint64_t storage;
};

static inline void bench_open(struct bench *b)
{
    new_directory(b->path);
    b->shared = new_region();
    b->options = make_options(b->path, b->shared);
    b->server = start(&b->options);
    serve(b->server);
    client_open(&b->client, b->shared, 0);
    assert_int_equal(make_storage(&b->client, "table", &b->storage), WIRE_OK);
    assert_true(b->storage > 0);
}

static inline void bench_stop(struct bench *b)
{
    sb_server_interface.stop(b->server);
    assert_int_equal(atomic_load(&b->shared->state), WIRE_STORAGE_DOWN);
}

static inline void bench_restart(struct bench *b)
{
    bench_stop(b);
    b->server = start(&b->options);
    serve(b->server);
}

static inline void bench_close(struct bench *b)
{
    bench_stop(b);
    client_close(&b->client);
    drop_region(b->shared);
    remove_tree(b->path);
    assert_int_equal(sb_memory_blocks(), 0);
}

#endif
