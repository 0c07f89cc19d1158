/*
 * Readers of the newest state and of snapshots, while writers move it on and nothing that nobody needs is kept: what
 * was written together is read together, nothing goes back, no read is too old, and what a transaction undoes in the
 * entry that commits it never shows.
 *
 * Client threads count what goes wrong; the main thread asserts.
 */
#include "sb_test_client.h"

#include <pthread.h>

#define TOGETHER 4 /* keys 1 .. 4 always have the same value */
#define UNDONE 10  /* a key that no committed state has */
#define ROUNDS 300 /* of each reader, while the writers go on */

struct running {
    struct client client;
    struct bench *bench;
    uint32_t lane;
    pthread_t thread;
    const _Atomic bool *stop;
    int64_t seen; /* greatest value so far */
    uint64_t reads;
    uint32_t together_broken;
    uint32_t went_back;
    uint32_t showed_undone;
    int status; /* the first that is not as it should be */
};

static void note(struct running *r, int status)
{
    if (r->status == WIRE_OK)
        r->status = status;
}

/* ---- writers ---- */

static void *write_together(void *argument)
{
    struct running *r = argument;
    uint8_t item[256];

    for (int64_t value = 1; !atomic_load(r->stop); value++) {
        struct wire_span image = {item, make_item(item, sizeof(item), value, 20)};

        begin(&r->client, WIRE_WRITE, r->bench->storage, 0, 0);
        wire_write_varint(&r->client.w, TOGETHER);
        for (int64_t i = 1; i <= TOGETHER; i++) {
            struct wire_write_op op = {.kind = WIRE_WRITE_PUT, .argument = image};
            struct key key;

            make_key(&key, r->bench->storage, i);
            op.key = key.span;
            wire_write_op_write(&r->client.w, &op);
        }
        note(r, call(&r->client));
    }
    return NULL;
}

static void add_effect(struct client *client, uint64_t storage, int64_t number, struct wire_span item)
{
    struct wire_effect effect = {.kind = item.size > 0 ? WIRE_EFFECT_PUT : WIRE_EFFECT_DELETE, .item = item};
    struct key key;

    make_key(&key, storage, number);
    effect.key = key.span;
    wire_write_varint(&client->w, 1);
    wire_effect_write(&client->w, &effect);
}

static void begin_owned(struct client *client, enum wire_operation operation, uint64_t storage, uint64_t transaction)
{
    uint8_t id[8];
    struct wire_writer w = wire_writer_of(id, sizeof(id));
    struct wire_request header = {.operation = operation,
                                  .flags = operation == WIRE_WRITE ? WIRE_TRANSACTIONAL : 0,
                                  .subtransaction = 1,
                                  .owner = client->owner,
                                  .storage_id = storage};

    if (transaction)
        wire_write_u64(&w, transaction);
    header.transactions = (struct wire_span){id, w.size};
    client->w = wire_writer_of(client->request, WIRE_MESSAGE_MAX);
    wire_request_write(&client->w, &header);
}

/* Lock a key, write it as an intent, and commit with its deletion. */
static void undo_one(struct running *r, int64_t value)
{
    struct wire_write_op op = {.kind = WIRE_WRITE_LOCK};
    uint64_t storage = r->bench->storage;
    uint64_t transaction;
    struct key key;
    uint8_t item[256];

    make_key(&key, storage, UNDONE);
    op.key = key.span;
    begin_owned(&r->client, WIRE_WRITE, storage, 0);
    wire_write_varint(&r->client.w, 1);
    wire_write_op_write(&r->client.w, &op);
    note(r, call(&r->client));
    begin_owned(&r->client, WIRE_SPILL, storage, 0);
    wire_write_u64(&r->client.w, 0);
    add_effect(&r->client, storage, UNDONE, (struct wire_span){item, make_item(item, sizeof(item), value, 20)});
    note(r, call(&r->client));
    transaction = wire_read_u64(&r->client.reply.body);
    begin_owned(&r->client, WIRE_COMMIT, storage, transaction);
    wire_write_u64(&r->client.w, 0);
    add_effect(&r->client, storage, UNDONE, (struct wire_span){NULL, 0});
    note(r, call(&r->client));
}

static void *write_and_undo(void *argument)
{
    struct running *r = argument;

    for (int64_t value = 1; !atomic_load(r->stop); value++)
        undo_one(r, value);
    return NULL;
}

/* ---- readers ---- */

static void see(struct running *r, int64_t value)
{
    if (value < r->seen)
        r->went_back++;
    else
        r->seen = value;
    r->reads++;
}

/* All keys in one GET or SCAN, at a snapshot or (0) at the newest. */
static void read_together(struct running *r, enum wire_operation operation, uint64_t snapshot)
{
    uint64_t storage = r->bench->storage;
    struct client *client = &r->client;
    /* Every other scan is the readers'. */
    bool is_short = operation == WIRE_SCAN && r->reads % 2;
    int64_t first = 0;
    struct key low;
    struct key high;
    uint64_t found;
    int status;

    make_key(&low, storage, 1);
    make_key(&high, storage, TOGETHER + 1);
    begin(client, operation, storage, snapshot, is_short ? WIRE_SHORT : 0);
    if (operation == WIRE_SCAN) {
        wire_write_u8(&client->w, 0);
        wire_write_span(&client->w, low.span.data, low.span.size);
        wire_write_span(&client->w, high.span.data, high.span.size);
        wire_write_varint(&client->w, is_short ? TOGETHER : 0);
        wire_write_varint(&client->w, WIRE_SCAN_REPLY_TARGET);
    } else {
        wire_write_varint(&client->w, TOGETHER);
        for (int64_t i = 1; i <= TOGETHER; i++) {
            make_key(&low, storage, i);
            wire_write_span(&client->w, low.span.data, low.span.size);
        }
    }
    status = call(client);
    note(r, status);
    if (status != WIRE_OK)
        return;
    if (operation == WIRE_SCAN)
        (void) wire_read_u8(&client->reply.body);
    found = operation == WIRE_SCAN ? wire_read_u32(&client->reply.body) : wire_read_varint(&client->reply.body);
    if (found != TOGETHER)
        note(r, WIRE_E_NOT_FOUND);
    for (int i = 0; i < TOGETHER; i++) {
        int64_t value = 0;

        if (operation == WIRE_SCAN)
            (void) wire_read_span(&client->reply.body);
        else
            (void) wire_read_u8(&client->reply.body);
        note(r, item_number(wire_read_span(&client->reply.body), &value));
        if (i == 0)
            first = value;
        else if (value != first)
            r->together_broken++;
    }
    see(r, first);
}

static void read_single(struct running *r)
{
    int64_t value = 0;
    int status = get_number(&r->client, r->bench->storage, 1 + (int64_t) (r->reads % TOGETHER), &value);

    note(r, status);
    if (status == WIRE_OK)
        see(r, value);
}

static void *read_on(void *argument)
{
    struct running *r = argument;
    struct wire_published *published = wire_shared_published(r->bench->shared, r->lane);
    struct wire_span item;

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t snapshot;

        read_single(r);
        read_together(r, WIRE_GET, 0);
        read_single(r);
        read_together(r, WIRE_SCAN, 0);
        snapshot = wire_snapshot_take(r->bench->shared, published, sb_wall_ms());
        read_together(r, WIRE_SCAN, snapshot);
        read_together(r, WIRE_GET, snapshot);
        wire_snapshot_release(published);
        if (get_at(&r->client, r->bench->storage, UNDONE, 0, &item) != WIRE_E_NOT_FOUND)
            r->showed_undone++;
    }
    return NULL;
}

static void test_readers_of_what_is_given_up(void **state)
{
    void *(*const roles[])(void *) = {write_together, write_and_undo, read_on, read_on, read_on};
    struct running running[5] = {0};
    _Atomic bool stop = false;
    struct bench b;

    (void) state;
    bench_open(&b);
    bench_stop(&b);
    b.options.history_retention_ms = 0;
    b.server = start(&b.options);
    serve(b.server);
    for (int64_t i = 1; i <= TOGETHER; i++)
        assert_int_equal(put(&b.client, b.storage, i, 0, 20), WIRE_OK);
    for (uint32_t i = 0; i < 5; i++) {
        running[i] = (struct running){.bench = &b, .lane = i + 1, .stop = &stop};
        client_open(&running[i].client, b.shared, i + 1);
        assert_int_equal(pthread_create(&running[i].thread, NULL, roles[i], &running[i]), 0);
    }
    for (int i = 4; i >= 0; i--) {
        if (i == 1)
            atomic_store(&stop, true);
        assert_int_equal(pthread_join(running[i].thread, NULL), 0);
        client_close(&running[i].client);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(running[i].status, WIRE_OK);
        assert_int_equal(running[i].together_broken, 0);
        assert_int_equal(running[i].went_back, 0);
        assert_int_equal(running[i].showed_undone, 0);
    }
    assert_true(running[2].reads > 0 && running[2].seen > 0);
    /* Given up indeed, while others read: the horizon follows the last write. */
    assert_true(atomic_load(&b.shared->horizon) > 0);
    assert_int_equal(put(&b.client, b.storage, 1, 0, 20), WIRE_OK);
    assert_true(atomic_load(&b.shared->horizon) >= b.client.reply.snapshot);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_of_what_is_given_up),
    };
    const char *temporary = getenv("TMPDIR");
    int failures;

    (void) snprintf(base, sizeof(base), "%s/test_sb_readers.XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(base))
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    if (failures == 0)
        (void) rmdir(base);
    return failures;
}
