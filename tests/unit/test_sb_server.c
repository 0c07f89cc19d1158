/*
 * The whole engine behind its interface: a real server on a temporary directory, and clients that do what backends do,
 * on lanes in shared memory.
 *
 * The server that gets killed runs in a process of its own: this program again, with --serve and the name of the file
 * that both map. Client threads count what goes wrong; the main thread asserts.
 */
#include "sb_test_client.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- tests ---- */

static void test_put_get_scan(void **state)
{
    struct bench b;
    struct wire_span item;
    int64_t number;

    (void) state;
    bench_open(&b);
    assert_int_equal(atomic_load(&b.shared->state), WIRE_STORAGE_READY);
    assert_int_equal(get_at(&b.client, b.storage, 1, 0, &item), WIRE_E_NOT_FOUND);
    for (int i = 0; i < 500; i++)
        assert_int_equal(put(&b.client, b.storage, i, i * 7, 300), WIRE_OK);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(get_number(&b.client, b.storage, i, &number), WIRE_OK);
        assert_int_equal(number, i * 7);
    }
    assert_int_equal(scan_count(&b.client, b.storage), 500);
    assert_int_equal(atomic_load(&b.shared->counters[WIRE_WRITE].count), 500);
    assert_int_equal(atomic_load(&b.shared->counters[WIRE_GET].count), 501);
    assert_int_equal(atomic_load(&b.shared->counters[WIRE_GET].errors), 0);
    assert_true(atomic_load(&b.shared->counters[WIRE_WRITE].bytes_in) > 500 * 300);
    bench_close(&b);
}

static void test_large_items(void **state)
{
    static const size_t sizes[] = {WIRE_PIECE_MAX - 200, WIRE_PIECE_MAX, 2 * WIRE_PIECE_MAX, 300000, 800000};
    struct bench b;
    struct wire_span item;
    int64_t number;

    (void) state;
    bench_open(&b);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(put(&b.client, b.storage, i, i + 1, sizes[i]), WIRE_OK);
        assert_int_equal(get_at(&b.client, b.storage, i, 0, &item), WIRE_OK);
        assert_true(item.size > sizes[i]);
        assert_int_equal(wire_item_check(item.data, item.size), WIRE_OK);
        assert_int_equal(item_number(item, &number), WIRE_OK);
        assert_int_equal(number, i + 1);
    }
    assert_int_equal(scan_count(&b.client, b.storage), 5);
    bench_close(&b);
}

struct counting {
    struct client client;
    uint64_t storage;
    int rounds;
    int errors;
    pthread_t thread;
};

/* Add one `rounds` times by compare and set. */
static void *count_up(void *argument)
{
    struct counting *c = argument;
    uint8_t bytes[128];
    int64_t value;

    for (int done = 0; done < c->rounds && c->errors == 0;) {
        int status = get_number(&c->client, c->storage, 1, &value);

        if (status == WIRE_OK) {
            begin(&c->client, WIRE_WRITE, c->storage, 0, 0);
            write_put(&c->client, c->storage, 1, value + 1, 10, item_condition(bytes, sizeof(bytes), value));
            status = call(&c->client);
        }
        if (status == WIRE_OK)
            done++;
        else if (status != WIRE_E_CONDITION)
            c->errors++;
    }
    return NULL;
}

static void test_conflicting_counters(void **state)
{
    struct counting counters[8] = {0};
    struct bench b;
    int64_t value;

    (void) state;
    bench_open(&b);
    assert_int_equal(put(&b.client, b.storage, 1, 0, 10), WIRE_OK);
    for (uint32_t i = 0; i < 8; i++) {
        counters[i].storage = b.storage;
        counters[i].rounds = 50;
        client_open(&counters[i].client, b.shared, i + 1);
        assert_int_equal(pthread_create(&counters[i].thread, NULL, count_up, &counters[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(counters[i].thread, NULL), 0);
        assert_int_equal(counters[i].errors, 0);
        client_close(&counters[i].client);
    }
    assert_int_equal(get_number(&b.client, b.storage, 1, &value), WIRE_OK);
    assert_int_equal(value, 400);
    bench_close(&b);
}

/* The request of the client's writer, given up before the engine sees it. */
static void abandon(struct client *client, enum wire_queue_name queue)
{
    struct wire_slot *slot = wire_shared_slot(client->shared, client->slot);

    slot->purpose = WIRE_SLOT_REQUEST;
    slot->offset = 0;
    slot->size = (uint32_t) client->w.size;
    slot->total = (uint32_t) client->w.size;
    memcpy(slot->buffer, client->request, client->w.size);
    atomic_store(&slot->state, WIRE_SLOT_ABANDONED);
    push(client, queue);
}

static void test_abandoned_slots_become_free(void **state)
{
    struct bench b;
    struct wire_slot *slot;
    int64_t value;

    (void) state;
    bench_open(&b);
    slot = wire_shared_slot(b.shared, b.client.slot);
    begin(&b.client, WIRE_STATUS, 0, 0, 0);
    abandon(&b.client, WIRE_QUEUE_READS);
    WAIT_FOR(atomic_load(&slot->state) == WIRE_SLOT_FREE);
    begin(&b.client, WIRE_WRITE, b.storage, 0, 0);
    write_put(&b.client, b.storage, 5, 55, 10, (struct wire_span){NULL, 0});
    abandon(&b.client, WIRE_QUEUE_WRITES);
    WAIT_FOR(atomic_load(&slot->state) == WIRE_SLOT_FREE);
    /* A write that was sent is done, though nobody waits. */
    assert_int_equal(get_number(&b.client, b.storage, 5, &value), WIRE_OK);
    assert_int_equal(value, 55);
    bench_close(&b);
}

/* What the slot says, whatever it is; the status of the answer. */
static int send_raw(struct client *client, enum wire_queue_name queue, uint32_t purpose, uint32_t size, uint32_t offset,
                    uint32_t total)
{
    struct wire_slot *slot = wire_shared_slot(client->shared, client->slot);
    struct wire_reply reply;

    slot->purpose = purpose;
    slot->size = size;
    slot->offset = offset;
    slot->total = total;
    slot->submitted_ns = UINT64_MAX;
    assert_int_equal(exchange(client, queue), WIRE_OK);
    atomic_store(&slot->state, WIRE_SLOT_FREE);
    if (slot->more)
        return WIRE_OK;
    assert_true(slot->size <= WIRE_PIECE_MAX);
    assert_int_equal(wire_reply_open(slot->buffer, slot->size, &reply), WIRE_OK);
    return reply.status;
}

static void test_hostile_pieces(void **state)
{
    static const uint32_t bad[][3] = {{WIRE_PIECE_MAX + 1, 0, WIRE_PIECE_MAX + 1},
                                      {UINT32_MAX, 0, UINT32_MAX},
                                      {10, 0, WIRE_MESSAGE_MAX + 1},
                                      {10, UINT32_MAX - 5, WIRE_MESSAGE_MAX},
                                      {10, 5, 10},
                                      {10, 20, 40},
                                      {0, 0, 100},
                                      {11, 0, 10},
                                      {UINT32_MAX, UINT32_MAX, UINT32_MAX}};
    struct bench b;
    int64_t value;

    (void) state;
    bench_open(&b);
    memset(wire_shared_slot(b.shared, b.client.slot)->buffer, 0xee, WIRE_PIECE_MAX);
    for (int queue = 0; queue < WIRE_QUEUE_COUNT; queue++) {
        enum wire_queue_name name = (enum wire_queue_name) queue;

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
            assert_int_equal(send_raw(&b.client, name, WIRE_SLOT_REQUEST, bad[i][0], bad[i][1], bad[i][2]),
                             WIRE_E_BAD_FORMAT);
        assert_int_equal(send_raw(&b.client, name, WIRE_SLOT_FETCH, 0, 0, 0), WIRE_E_BAD_FORMAT);
        assert_int_equal(send_raw(&b.client, name, WIRE_SLOT_FETCH, 0, WIRE_PIECE_MAX, 0), WIRE_E_BAD_FORMAT);
        /* A good first piece, then one that does not continue it, or another total. */
        assert_int_equal(send_raw(&b.client, name, WIRE_SLOT_REQUEST, 100, 0, 300), WIRE_OK);
        assert_int_equal(send_raw(&b.client, name, WIRE_SLOT_REQUEST, 100, 200, 300), WIRE_E_BAD_FORMAT);
        assert_int_equal(send_raw(&b.client, name, WIRE_SLOT_REQUEST, 100, 0, 300), WIRE_OK);
        assert_int_equal(send_raw(&b.client, name, WIRE_SLOT_REQUEST, 100, 100, 400), WIRE_E_BAD_FORMAT);
        /* Whole, but nonsense; and nothing at all. */
        memset(wire_shared_slot(b.shared, b.client.slot)->buffer, 0xee, WIRE_PIECE_MAX);
        assert_int_not_equal(send_raw(&b.client, name, WIRE_SLOT_REQUEST, 50, 0, 50), WIRE_OK);
        assert_int_not_equal(send_raw(&b.client, name, WIRE_SLOT_REQUEST, 0, 0, 0), WIRE_OK);
    }
    /* Numbers of slots that do not exist are passed over. */
    assert_true(wire_queue_push(b.shared, WIRE_QUEUE_READS, LANES * WIRE_LANE_SLOTS));
    assert_true(wire_queue_push(b.shared, WIRE_QUEUE_WRITES, UINT32_MAX));
    /* The wrong queue. */
    begin(&b.client, WIRE_STATUS, 0, 0, 0);
    assert_int_equal(call_on(&b.client, WIRE_QUEUE_SCANS), WIRE_E_BAD_FORMAT);
    begin(&b.client, WIRE_STATUS, 0, 0, 0);
    assert_int_not_equal(call_on(&b.client, WIRE_QUEUE_WRITES), WIRE_OK);
    begin(&b.client, WIRE_WRITE, b.storage, 0, 0);
    write_put(&b.client, b.storage, 1, 1, 10, (struct wire_span){NULL, 0});
    assert_int_equal(call_on(&b.client, WIRE_QUEUE_READS), WIRE_E_BAD_FORMAT);
    /* After all that it serves. */
    assert_int_equal(put(&b.client, b.storage, 1, 42, 100), WIRE_OK);
    assert_int_equal(get_number(&b.client, b.storage, 1, &value), WIRE_OK);
    assert_int_equal(value, 42);
    assert_false(sb_server_interface.failed(b.server, NULL));
    bench_close(&b);
}

static void test_fetch_must_continue(void **state)
{
    struct bench b;
    struct wire_slot *slot;
    struct key key;

    (void) state;
    bench_open(&b);
    slot = wire_shared_slot(b.shared, b.client.slot);
    assert_int_equal(put(&b.client, b.storage, 1, 1, 3 * WIRE_PIECE_MAX), WIRE_OK);
    make_key(&key, b.storage, 1);
    begin(&b.client, WIRE_GET, b.storage, 0, 0);
    wire_write_varint(&b.client.w, 1);
    wire_write_span(&b.client.w, key.span.data, key.span.size);
    assert_int_equal(send_pieces(&b.client, WIRE_QUEUE_READS), WIRE_OK);
    assert_int_equal(slot->size, WIRE_PIECE_MAX);
    assert_true(slot->total > 3 * WIRE_PIECE_MAX);
    assert_int_equal(send_raw(&b.client, WIRE_QUEUE_READS, WIRE_SLOT_FETCH, 0, 2 * WIRE_PIECE_MAX, 0),
                     WIRE_E_BAD_FORMAT);
    /* Refusing dropped the rest. */
    assert_int_equal(send_raw(&b.client, WIRE_QUEUE_READS, WIRE_SLOT_FETCH, 0, WIRE_PIECE_MAX, 0), WIRE_E_BAD_FORMAT);
    bench_close(&b);
}

static void test_restart_keeps_everything(void **state)
{
    struct bench b;
    uint32_t generation;
    uint64_t storage;
    int64_t value;

    (void) state;
    bench_open(&b);
    generation = atomic_load(&b.shared->generation);
    for (int i = 0; i < 200; i++)
        assert_int_equal(put(&b.client, b.storage, i, i + 1, 50), WIRE_OK);
    bench_restart(&b);
    assert_true(atomic_load(&b.shared->generation) > generation);
    assert_int_equal(scan_count(&b.client, b.storage), 200);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(get_number(&b.client, b.storage, i, &value), WIRE_OK);
        assert_int_equal(value, i + 1);
    }
    begin(&b.client, WIRE_LOOKUP, 0, 0, 0);
    wire_write_span(&b.client.w, "table", 5);
    assert_int_equal(call(&b.client), WIRE_OK);
    assert_int_equal(wire_read_u64(&b.client.reply.body), b.storage);
    assert_int_equal(make_storage(&b.client, "other", &storage), WIRE_OK);
    assert_true(storage != b.storage);
    bench_close(&b);
}

/* Writes whose items are on disk only: parked until a reader has fetched them. */
static void test_cold_writes(void **state)
{
    struct bench b;
    uint8_t condition[128];
    int64_t value;

    (void) state;
    bench_open(&b);
    for (int i = 0; i < 300; i++)
        assert_int_equal(put(&b.client, b.storage, i, i, 3000), WIRE_OK);
    bench_restart(&b);
    for (int i = 0; i < 300; i++) {
        begin(&b.client, WIRE_WRITE, b.storage, 0, 0);
        write_put(&b.client, b.storage, i, i + 1000, 10,
                  item_condition(condition, sizeof(condition), i + (i % 3 == 0)));
        assert_int_equal(call(&b.client), i % 3 == 0 ? WIRE_E_CONDITION : WIRE_OK);
    }
    for (int i = 0; i < 300; i++) {
        assert_int_equal(get_number(&b.client, b.storage, i, &value), WIRE_OK);
        assert_int_equal(value, i % 3 == 0 ? i : i + 1000);
    }
    WAIT_FOR(status_of(&b.client, "parked") == 0 && status_of(&b.client, "in_flight_entries") == 0);
    bench_close(&b);
}

static int start_code(const struct sb_server_options *options, struct sb_fault *fault)
{
    struct sb_server *server = NULL;
    int status = sb_server_interface.start(options, &server, fault);

    if (status == WIRE_OK)
        sb_server_interface.stop(server);
    else
        assert_int_equal(atomic_load(&options->shared->state), WIRE_STORAGE_FAILED);
    return status;
}

static void move(const char *path, const char *from, const char *to)
{
    char a[400];
    char z[400];

    (void) snprintf(a, sizeof(a), "%s/%s", path, from);
    (void) snprintf(z, sizeof(z), "%s/%s", path, to);
    assert_int_equal(rename(a, z), 0);
}

static void test_wrong_directories_are_refused(void **state)
{
    static const char *const parts[] = {"items", "log"};
    struct sb_fault fault = {0};
    struct sb_server_options other;
    struct bench b;
    char name[400];
    FILE *file;

    (void) state;
    bench_open(&b);
    assert_int_equal(put(&b.client, b.storage, 1, 1, 10), WIRE_OK);
    other = b.options;
    assert_int_equal(start_code(&other, &fault), WIRE_E_CONFIG); /* in use */
    assert_non_null(strstr(fault.text, "in use"));
    bench_stop(&b);
    other.identity++;
    assert_int_equal(start_code(&other, &fault), WIRE_E_CONFIG);
    assert_non_null(strstr(fault.text, "belongs to"));
    other.identity--;
    for (int i = 0; i < 2; i++) {
        move(b.path, parts[i], "away");
        assert_int_equal(start_code(&other, &fault), WIRE_E_STORE_LOST);
        assert_non_null(strstr(fault.text, parts[i]));
        move(b.path, "away", parts[i]);
    }
    move(b.path, "IDENTITY", "away");
    assert_int_equal(start_code(&other, &fault), WIRE_E_CONFIG);
    (void) snprintf(name, sizeof(name), "%s/IDENTITY", b.path);
    file = fopen(name, "w");
    assert_non_null(file);
    assert_int_equal(fwrite("cairnsto\0\0\0\2\0\0\0\2", 1, 16, file), 16);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(start_code(&other, &fault), WIRE_E_CORRUPT);
    move(b.path, "away", "IDENTITY");
    other.reader_threads = 0;
    assert_int_equal(start_code(&other, &fault), WIRE_E_CONFIG);
    b.server = start(&b.options);
    bench_close(&b);
}

/* The log of another, younger directory under the items store. */
static void test_log_of_another_state_is_refused(void **state)
{
    struct sb_fault fault = {0};
    struct bench b;
    struct bench young;
    char command[1300];

    (void) state;
    bench_open(&b);
    for (int i = 0; i < 20; i++)
        assert_int_equal(put(&b.client, b.storage, i, i, 10), WIRE_OK);
    bench_stop(&b);
    bench_open(&young);
    bench_stop(&young);
    (void) snprintf(command, sizeof(command), "mv '%s/log' '%s/kept' && cp -r '%s/log' '%s/log'", b.path, b.path,
                    young.path, b.path);
    assert_int_equal(system(command), 0);
    assert_int_equal(start_code(&b.options, &fault), WIRE_E_CORRUPT);
    assert_non_null(strstr(fault.text, "log files are missing"));
    (void) snprintf(command, sizeof(command), "rm -r '%s/log' && mv '%s/kept' '%s/log'", b.path, b.path, b.path);
    assert_int_equal(system(command), 0);
    young.server = start(&young.options);
    b.server = start(&b.options);
    sb_server_interface.stop(young.server);
    client_close(&young.client);
    drop_region(young.shared);
    remove_tree(young.path);
    bench_close(&b);
}

static void test_log_is_truncated(void **state)
{
    struct bench b;
    int64_t value;

    (void) state;
    bench_open(&b);
    for (int i = 0; i < 300; i++)
        assert_int_equal(put(&b.client, b.storage, i % 20, i, 50000), WIRE_OK);
    assert_true(status_of(&b.client, "log_appended_bytes") > 15000000);
    WAIT_FOR(status_of(&b.client, "durable_index") > 200);
    WAIT_FOR(status_of(&b.client, "log_bytes") < 6000000);
    bench_restart(&b);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(get_number(&b.client, b.storage, i, &value), WIRE_OK);
        assert_int_equal(value, 280 + i);
    }
    bench_close(&b);
}

static void test_horizon_moves_and_refuses(void **state)
{
    struct bench b;
    struct wire_span item;
    struct wire_published *reader;
    uint64_t first;
    uint64_t kept;
    int64_t value;

    (void) state;
    bench_open(&b);
    bench_stop(&b);
    b.options.history_retention_ms = 1;
    b.server = start(&b.options);
    serve(b.server);
    reader = wire_shared_published(b.shared, 3);
    assert_int_equal(put(&b.client, b.storage, 1, 1, 10), WIRE_OK);
    first = b.client.reply.snapshot;
    assert_true(first > 0 && first <= atomic_load(&b.shared->applied_version));
    assert_int_equal(put(&b.client, b.storage, 1, 2, 10), WIRE_OK);
    kept = wire_snapshot_take(b.shared, reader, sb_wall_ms());
    assert_int_equal(put(&b.client, b.storage, 1, 3, 10), WIRE_OK);
    /* The published snapshot holds the horizon; what is older goes. */
    WAIT_FOR(atomic_load(&b.shared->horizon) == kept);
    assert_int_equal(get_at(&b.client, b.storage, 1, first, &item), WIRE_E_SNAPSHOT_TOO_OLD);
    assert_int_equal(get_at(&b.client, b.storage, 1, kept, &item), WIRE_OK);
    assert_int_equal(item_number(item, &value), WIRE_OK);
    assert_int_equal(value, 2);
    wire_snapshot_release(reader);
    WAIT_FOR(atomic_load(&b.shared->horizon) > kept);
    assert_int_equal(get_at(&b.client, b.storage, 1, kept, &item), WIRE_E_SNAPSHOT_TOO_OLD);
    bench_restart(&b);
    assert_int_equal(get_at(&b.client, b.storage, 1, kept, &item), WIRE_E_SNAPSHOT_TOO_OLD);
    bench_close(&b);
}

/* Lock key, write it as prepared under `decider`. */
static int prepare(struct client *client, uint64_t storage, int64_t key_number, int64_t value, uint64_t decider)
{
    uint8_t item[256];
    struct key key;
    struct wire_effect effect = {.kind = WIRE_EFFECT_PUT};
    int status;

    begin(client, WIRE_WRITE, storage, 0, WIRE_TRANSACTIONAL);
    write_put(client, storage, key_number, value, 10, (struct wire_span){NULL, 0});
    status = call(client);
    if (status != WIRE_OK)
        return status;
    make_key(&key, storage, key_number);
    effect.key = key.span;
    effect.item = (struct wire_span){item, make_item(item, sizeof(item), value, 10)};
    begin(client, WIRE_COMMIT, storage, 0, 0);
    wire_write_u64(&client->w, decider);
    wire_write_varint(&client->w, 1);
    wire_effect_write(&client->w, &effect);
    return call(client);
}

static void test_prepared_transactions(void **state)
{
    struct sb_fault fault = {0};
    struct bench b;
    int64_t value;

    (void) state;
    bench_open(&b);
    assert_int_equal(put(&b.client, b.storage, 1, 1, 10), WIRE_OK);
    assert_int_equal(prepare(&b.client, b.storage, 1, 100, 70), WIRE_OK);
    assert_int_equal(prepare(&b.client, b.storage, 2, 200, 80), WIRE_OK);
    assert_int_equal(get_number(&b.client, b.storage, 1, &value), WIRE_OK);
    assert_int_equal(value, 1);
    bench_stop(&b);
    b.server = start(&b.options);
    assert_int_equal(sb_server_interface.prepared(b.server, 0), 70);
    assert_int_equal(sb_server_interface.prepared(b.server, 70), 80);
    assert_int_equal(sb_server_interface.prepared(b.server, 80), 0);
    assert_int_equal(sb_server_interface.decide(b.server, 70, true, &fault), WIRE_OK);
    assert_int_equal(sb_server_interface.decide(b.server, 80, false, &fault), WIRE_OK);
    assert_int_equal(sb_server_interface.prepared(b.server, 0), 0);
    serve(b.server);
    assert_int_equal(get_number(&b.client, b.storage, 1, &value), WIRE_OK);
    assert_int_equal(value, 100);
    assert_int_equal(get_number(&b.client, b.storage, 2, &value), WIRE_E_NOT_FOUND);
    bench_close(&b);
}

static void test_storages(void **state)
{
    struct bench b;
    uint8_t identity[64];
    size_t size;
    uint64_t found;
    uint64_t second;
    struct wire_span item;

    (void) state;
    bench_open(&b);
    assert_int_equal(make_storage(&b.client, "zebra", &second), WIRE_OK);
    assert_int_equal(put(&b.client, second, 1, 1, 10), WIRE_OK);
    assert_int_equal(sb_server_interface.storage_next(b.server, (struct wire_span){NULL, 0}, identity, sizeof(identity),
                                                      &size, &found),
                     WIRE_OK);
    assert_int_equal(size, 5);
    assert_memory_equal(identity, "table", 5);
    assert_int_equal(found, b.storage);
    assert_int_equal(
        sb_server_interface.storage_next(b.server, (struct wire_span){identity, size}, identity, 3, &size, &found),
        WIRE_E_SHORT_BUFFER);
    assert_int_equal(sb_server_interface.storage_next(b.server, (struct wire_span){(const uint8_t *) "table", 5},
                                                      identity, sizeof(identity), &size, &found),
                     WIRE_OK);
    assert_memory_equal(identity, "zebra", 5);
    assert_int_equal(found, second);
    assert_int_equal(sb_server_interface.storage_next(b.server, (struct wire_span){identity, size}, identity,
                                                      sizeof(identity), &size, &found),
                     WIRE_E_NOT_FOUND);
    assert_int_equal(sb_server_interface.storage_drop(b.server, second), WIRE_OK);
    WAIT_FOR(sb_server_interface.storage_next(b.server, (struct wire_span){(const uint8_t *) "table", 5}, identity,
                                              sizeof(identity), &size, &found) == WIRE_E_NOT_FOUND);
    assert_int_not_equal(get_at(&b.client, second, 1, 0, &item), WIRE_OK);
    assert_int_equal(sb_server_interface.storage_drop(b.server, second), WIRE_OK); /* again: nothing happens */
    assert_int_equal(put(&b.client, b.storage, 1, 1, 10), WIRE_OK);
    bench_close(&b);
}

static void test_status_names(void **state)
{
    static const char *const names[] = {"items_bytes",
                                        "history_bytes",
                                        "memtable_bytes",
                                        "cache_bytes",
                                        "flushes",
                                        "compactions",
                                        "flushed_bytes",
                                        "compacted_bytes",
                                        "log_segments",
                                        "log_bytes",
                                        "log_appended_bytes",
                                        "log_appends",
                                        "log_syncs",
                                        "applied_index",
                                        "applied_version",
                                        "durable_index",
                                        "in_flight_entries",
                                        "locks",
                                        "parked",
                                        "transactions",
                                        "user_bytes",
                                        "engine_memory_bytes",
                                        "horizon",
                                        "replica_group",
                                        "replica_node",
                                        "replica_role",
                                        "replica_answers",
                                        "replica_leader",
                                        "replica_term",
                                        "replica_first_index",
                                        "replica_last_index",
                                        "replica_durable_index",
                                        "replica_commit_index",
                                        "replica_applied_index",
                                        "replica_flushed_index",
                                        "replica_behind_since_ms"};
    struct bench b;

    (void) state;
    bench_open(&b);
    assert_int_equal(put(&b.client, b.storage, 1, 1, 1000), WIRE_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (status_of(&b.client, names[i]) == UINT64_MAX)
            fail_msg("%s is missing", names[i]);
    assert_true(status_of(&b.client, "log_syncs") >= 2);
    assert_true(status_of(&b.client, "applied_index") >= 2);
    assert_true(status_of(&b.client, "user_bytes") > 1000);
    assert_true(status_of(&b.client, "engine_memory_bytes") > 0);
    bench_close(&b);
}

/* Whichever allocation of the start fails: an error, or a server that says it failed, and nothing left behind. */
static void test_start_without_memory(void **state)
{
    struct sb_fault fault;
    struct bench b;
    int refused = 0;

    (void) state;
    bench_open(&b);
    bench_stop(&b);
    sb_buffer_close(&b.client.bytes);
    for (uint64_t n = 1; n <= 40; n++) {
        struct sb_server *server = NULL;
        int status;

        fault = (struct sb_fault){0};
        sb_memory_fail_at(n);
        status = sb_server_interface.start(&b.options, &server, &fault);
        sb_memory_fail_at(0);
        if (status == WIRE_OK) {
            sb_server_interface.stop(server);
        } else {
            assert_int_equal(status, WIRE_E_NOMEM);
            assert_int_equal(fault.code, WIRE_E_NOMEM);
            refused++;
        }
        assert_int_equal(sb_memory_blocks(), 0);
    }
    assert_true(refused > 5 && refused < 40);
    b.server = start(&b.options);
    bench_close(&b);
}

/* Requests that lie in the queues when the server stops are answered. */
static void test_stop_answers_what_waits(void **state)
{
    struct bench b;
    struct wire_slot *slot;
    struct wire_reply reply;

    (void) state;
    bench_open(&b);
    bench_stop(&b);
    slot = wire_shared_slot(b.shared, b.client.slot);
    b.server = start(&b.options); /* started, does not serve */
    begin(&b.client, WIRE_STATUS, 0, 0, 0);
    abandon(&b.client, WIRE_QUEUE_READS);
    atomic_store(&slot->state, WIRE_SLOT_SLEEPING);
    sb_server_interface.stop(b.server);
    assert_int_equal(atomic_load(&slot->state), WIRE_SLOT_DONE);
    assert_int_equal(wire_reply_open(slot->buffer, slot->size, &reply), WIRE_OK);
    assert_int_equal(reply.status, WIRE_E_STOPPING);
    atomic_store(&slot->state, WIRE_SLOT_FREE);
    b.server = start(&b.options);
    bench_close(&b);
}

/* ---- a server in a process of its own ---- */

/* The file that a served process and this one map: a page for control, then the region. */
struct control {
    _Atomic uint32_t file_limit; /* set by the test: no file may grow beyond it */
    _Atomic int failed;          /* set by the server's process: code of its failure */
};
#define CONTROL_SIZE 4096

struct served {
    char path[300];
    char file[320];
    struct control *control;
    struct wire_shared *shared;
    pid_t process;
    _Atomic bool gone;
};

static void map_file(const char *file, struct control **control, struct wire_shared **shared, bool create)
{
    size_t size = CONTROL_SIZE + wire_shared_size(LANES);
    int descriptor = open(file, O_RDWR | (create ? O_CREAT : 0), 0600);
    char *region;

    if (descriptor < 0 || (create && ftruncate(descriptor, (off_t) size) != 0))
        abort();
    region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (region == MAP_FAILED)
        abort();
    (void) close(descriptor);
    *control = (struct control *) region;
    *shared = (struct wire_shared *) (region + CONTROL_SIZE);
}

/* The process that --serve makes: until it is killed, or fails. */
static int serve_main(const char *path, const char *file)
{
    struct control *control;
    struct wire_shared *shared;
    struct sb_server_options options;
    struct sb_server *server;
    struct sb_fault fault = {0};

    map_file(file, &control, &shared, false);
    options = make_options(path, shared);
    if (sb_server_interface.start(&options, &server, &fault) != WIRE_OK ||
        sb_server_interface.serve(server, &fault) != WIRE_OK) {
        (void) fprintf(stderr, "served process: %s\n", fault.text);
        return 2;
    }
    while (getppid() != 1) {
        struct rlimit limit = {atomic_load(&control->file_limit), RLIM_INFINITY};

        if (limit.rlim_cur != 0) {
            (void) signal(SIGXFSZ, SIG_IGN);
            (void) setrlimit(RLIMIT_FSIZE, &limit);
        }
        if (sb_server_interface.failed(server, &fault)) {
            atomic_store(&control->failed, fault.code);
            _exit(1);
        }
        (void) usleep(5000);
    }
    _exit(3);
}

static void served_start(struct served *s)
{
    wire_shared_init(s->shared, LANES);
    atomic_store(&s->control->file_limit, 0);
    atomic_store(&s->control->failed, 0);
    atomic_store(&s->gone, false);
    s->process = fork();
    assert_true(s->process >= 0);
    if (s->process == 0) {
        (void) execl("/proc/self/exe", "test_sb_server", "--serve", s->path, s->file, (char *) NULL);
        _exit(4);
    }
    WAIT_FOR(atomic_load(&s->shared->state) == WIRE_STORAGE_READY);
}

static void served_open(struct served *s)
{
    new_directory(s->path);
    (void) snprintf(s->file, sizeof(s->file), "%s.shared", s->path);
    map_file(s->file, &s->control, &s->shared, true);
    served_start(s);
}

static void served_kill(struct served *s)
{
    int status;

    assert_int_equal(kill(s->process, SIGKILL), 0);
    assert_int_equal(waitpid(s->process, &status, 0), s->process);
    assert_true(WIFSIGNALED(status));
    atomic_store(&s->gone, true);
}

static void served_close(struct served *s)
{
    assert_int_equal(munmap(s->control, CONTROL_SIZE + wire_shared_size(LANES)), 0);
    assert_int_equal(unlink(s->file), 0);
    remove_tree(s->path);
}

#define KILL_KEYS 20
struct writing {
    struct client client;
    uint64_t storage;
    int64_t first_key;
    int64_t acknowledged[KILL_KEYS]; /* value of each key */
    int64_t sent[KILL_KEYS];
    _Atomic int64_t count;
    int errors;
    pthread_t thread;
};

/* Ever greater values into keys of its own, until the server is gone. */
static void *write_on(void *argument)
{
    struct writing *w = argument;

    for (int64_t n = atomic_load(&w->count) + 1;; n++) {
        int key = (int) (n % KILL_KEYS);
        int status;

        w->sent[key] = n;
        status = put(&w->client, w->storage, w->first_key + key, n, n % 50 == 0 ? 60000 : 100);
        if (status == GONE)
            return NULL;
        if (status != WIRE_OK)
            w->errors++;
        else
            w->acknowledged[key] = n;
        atomic_store(&w->count, n);
    }
}

/* What was acknowledged is there; what was only sent may be. */
static void check_written(struct client *client, struct writing *w)
{
    for (int key = 0; key < KILL_KEYS; key++) {
        int64_t value = 0;
        int status = get_number(client, w->storage, w->first_key + key, &value);

        if (status == WIRE_E_NOT_FOUND)
            status = WIRE_OK;
        assert_int_equal(status, WIRE_OK);
        if (value != w->acknowledged[key] && value != w->sent[key])
            fail_msg("key %d: %lld, acknowledged %lld, sent %lld", key, (long long) value,
                     (long long) w->acknowledged[key], (long long) w->sent[key]);
        w->acknowledged[key] = value;
    }
}

static void test_kill_loses_nothing_acknowledged(void **state)
{
    struct writing writers[6] = {0};
    struct served s = {0};
    struct client client;
    uint64_t storage;

    (void) state;
    served_open(&s);
    client_open(&client, s.shared, 15);
    assert_int_equal(make_storage(&client, "table", &storage), WIRE_OK);
    for (uint32_t i = 0; i < 6; i++) {
        client_open(&writers[i].client, s.shared, i);
        writers[i].client.gone = &s.gone;
        writers[i].storage = storage;
        writers[i].first_key = i * 1000;
    }
    for (int round = 0; round < 4; round++) {
        int64_t before = atomic_load(&writers[0].count);

        for (int i = 0; i < 6; i++)
            assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
        WAIT_FOR(atomic_load(&writers[0].count) > before + 100 + 37 * round);
        served_kill(&s);
        for (int i = 0; i < 6; i++)
            assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
        served_start(&s);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(writers[i].errors, 0);
            check_written(&client, &writers[i]);
        }
    }
    served_kill(&s);
    for (int i = 0; i < 6; i++)
        client_close(&writers[i].client);
    client_close(&client);
    served_close(&s);
}

/* A log that cannot be written: the server fails, and nothing that waits is acknowledged. */
static void test_failed_log_acknowledges_nothing(void **state)
{
    struct writing writer = {0};
    struct served s = {0};
    int status;

    (void) state;
    served_open(&s);
    client_open(&writer.client, s.shared, 0);
    writer.client.gone = &s.gone;
    assert_int_equal(make_storage(&writer.client, "table", &writer.storage), WIRE_OK);
    atomic_store(&s.control->file_limit, 4096);
    assert_int_equal(pthread_create(&writer.thread, NULL, write_on, &writer), 0);
    WAIT_FOR(atomic_load(&s.control->failed) != 0);
    assert_int_equal(atomic_load(&s.shared->state), WIRE_STORAGE_FAILED);
    assert_int_equal(waitpid(s.process, &status, 0), s.process);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    atomic_store(&s.gone, true);
    assert_int_equal(pthread_join(writer.thread, NULL), 0);
    assert_int_equal(writer.errors, 0);
    served_start(&s);
    check_written(&writer.client, &writer);
    served_kill(&s);
    client_close(&writer.client);
    served_close(&s);
}

/* ---- figures: printed, never judged ---- */

struct timing {
    struct client client;
    uint64_t storage;
    bool writes;
    int rounds;
    uint64_t *ns;
    int errors;
    pthread_t thread;
};

static void *run_timing(void *argument)
{
    struct timing *t = argument;
    struct wire_span item;

    for (int i = 0; i < t->rounds; i++) {
        int64_t key = (int64_t) t->client.slot * 100000 + i % 100;
        uint64_t before = sb_monotonic_ns();
        int status =
            t->writes ? put(&t->client, t->storage, key, i, 100) : get_at(&t->client, t->storage, key, 0, &item);

        t->ns[i] = sb_monotonic_ns() - before;
        t->errors += status != WIRE_OK;
    }
    return NULL;
}

static int compare_ns(const void *a, const void *z)
{
    uint64_t x = *(const uint64_t *) a;
    uint64_t y = *(const uint64_t *) z;

    return x < y ? -1 : x > y;
}

static void time_clients(struct bench *b, uint32_t clients, bool writes, int rounds)
{
    struct timing timings[LANES] = {0};
    uint64_t begun = sb_monotonic_ns();
    double seconds;

    for (uint32_t i = 0; i < clients; i++) {
        timings[i] = (struct timing){.storage = b->storage, .writes = writes, .rounds = rounds};
        timings[i].ns = malloc(sizeof(uint64_t) * (size_t) rounds);
        client_open(&timings[i].client, b->shared, i + 1);
        assert_int_equal(pthread_create(&timings[i].thread, NULL, run_timing, &timings[i]), 0);
    }
    for (uint32_t i = 0; i < clients; i++)
        assert_int_equal(pthread_join(timings[i].thread, NULL), 0);
    seconds = (double) (sb_monotonic_ns() - begun) / 1e9;
    qsort(timings[0].ns, (size_t) rounds, sizeof(uint64_t), compare_ns);
    print_message("%u client%s, %s: %.0f/s, p50 %.1f us\n", clients, clients == 1 ? "" : "s",
                  writes ? "PUT synced" : "GET", clients * (double) rounds / seconds,
                  (double) timings[0].ns[rounds / 2] / 1000);
    for (uint32_t i = 0; i < clients; i++) {
        assert_int_equal(timings[i].errors, 0);
        free(timings[i].ns);
        client_close(&timings[i].client);
    }
}

static void test_figures(void **state)
{
    struct bench b;

    (void) state;
    bench_open(&b);
    time_clients(&b, 1, true, 500);
    time_clients(&b, 1, false, 2000);
    time_clients(&b, 8, true, 500);
    time_clients(&b, 8, false, 2000);
    bench_close(&b);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_scan),
        cmocka_unit_test(test_large_items),
        cmocka_unit_test(test_conflicting_counters),
        cmocka_unit_test(test_abandoned_slots_become_free),
        cmocka_unit_test(test_hostile_pieces),
        cmocka_unit_test(test_fetch_must_continue),
        cmocka_unit_test(test_restart_keeps_everything),
        cmocka_unit_test(test_cold_writes),
        cmocka_unit_test(test_wrong_directories_are_refused),
        cmocka_unit_test(test_log_of_another_state_is_refused),
        cmocka_unit_test(test_log_is_truncated),
        cmocka_unit_test(test_horizon_moves_and_refuses),
        cmocka_unit_test(test_prepared_transactions),
        cmocka_unit_test(test_storages),
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_start_without_memory),
        cmocka_unit_test(test_stop_answers_what_waits),
        cmocka_unit_test(test_kill_loses_nothing_acknowledged),
        cmocka_unit_test(test_failed_log_acknowledges_nothing),
        cmocka_unit_test(test_figures),
    };
    const char *temporary = getenv("TMPDIR");
    int failures;

    if (count == 4 && strcmp(arguments[1], "--serve") == 0)
        return serve_main(arguments[2], arguments[3]);
    if (count == 2)
        cmocka_set_test_filter(arguments[1]);
    (void) snprintf(base, sizeof(base), "%s/test_sb_server.XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(base))
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    if (failures == 0)
        (void) rmdir(base);
    return failures;
}
