/*
 * What tests of the partition share: a partition on the simulated store with a log that is an array, and helpers that send one
 * request and say what came of it.
 *
 * Entries are durable when the test says so (node_sync); fetches are answered at once unless `hold_fetches`.
 */
#ifndef PARTITION_NODE_H
#define PARTITION_NODE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sb_partition.h"
#include "sim_requests.h"
#include "sim_store.h"

#define NODE_ENTRIES_MAX 8192
#define NODE_ANSWERS_MAX 8192
#define ABSENT INT64_MIN

/* Owners: lane and number of the transaction. */
#define ALICE ((uint64_t) 1 << 32 | 7)
#define BOB ((uint64_t) 2 << 32 | 7)

static const struct wire_span none;

struct node_answer {
    uint64_t token;
    enum wire_operation operation;
    struct wire_reply reply;
    uint8_t *bytes;
};

struct node {
    struct sb_store store;
    struct sb_transactions *transactions;
    struct sb_partition *partition;
    struct sb_reader reader;
    uint64_t settle_keys_max;
    uint64_t max_in_flight_bytes;
    struct sb_log_entry entries[NODE_ENTRIES_MAX]; /* payloads are copies */
    size_t entry_count;
    uint64_t durable; /* index */
    uint64_t fetches[256];
    size_t fetch_count;
    bool hold_fetches;
    struct node_answer answers[NODE_ANSWERS_MAX];
    size_t answer_count;
    uint64_t now_ms;
    uint64_t token;
    _Atomic uint64_t version; /* published */
    uint64_t horizon;
    uint64_t gives_up; /* images superseded up to here; 0: none */
    bool keep;         /* what the partition said of the last portion */
    uint64_t portions;
    bool in_portion;
    uint64_t starts;
    uint64_t storage; /* of the helpers below */
    bool more;
    int status; /* of the last step */
    struct sb_fault fault;
};

/* ---- life ---- */

static inline uint64_t node_portion_begin(void *context, uint64_t version, bool keep)
{
    struct node *node = context;

    assert_false(node->in_portion);
    assert_true(version > node->version);
    node->in_portion = true;
    node->version = version;
    node->keep = keep;
    node->portions++;
    return keep ? 0 : node->gives_up < version ? node->gives_up : version;
}

static inline void node_portion_end(void *context, uint64_t version)
{
    struct node *node = context;

    assert_true(node->in_portion && node->version == version);
    node->in_portion = false;
}

static inline void node_take(struct node *node, const struct sb_outcome *outcome);

/* What the log holds is applied, then it leads. */
static inline int node_open(struct node *node)
{
    struct sb_partition_options options = {.group = WIRE_GROUP_LOCAL,
                                           .store = &node->store,
                                           .max_in_flight_bytes = node->max_in_flight_bytes,
                                           .settle_keys_max = node->settle_keys_max,
                                           .portions = {node, node_portion_begin, node_portion_end}};
    struct sb_outcome outcome = {0};
    int status = sb_transactions_open(&node->transactions);

    node->partition = NULL;
    if (status != WIRE_OK)
        return status;
    options.transactions = node->transactions;
    node->reader = (struct sb_reader){&node->store, node->transactions, &node->version, &node->version};
    status = sb_partition_open(&options, &node->partition, &node->fault);
    if (status != WIRE_OK)
        node->partition = NULL;
    for (size_t i = 0; i < node->entry_count && status == WIRE_OK; i++) {
        if (node->entries[i].index > sb_partition_applied(node->partition)->index)
            status = sb_partition_replay(node->partition, &node->entries[i], &node->fault);
    }
    node->durable = node->entry_count > 0 ? node->entries[node->entry_count - 1].index : 0;
    node->fetch_count = 0;
    node->in_portion = false;
    if (status != WIRE_OK)
        return status;
    sb_partition_begin(node->partition, node->now_ms, &node->fault);
    status = sb_partition_lead(node->partition, ++node->starts);
    if (status == WIRE_OK)
        status = sb_partition_end(node->partition, &outcome);
    if (status == WIRE_OK)
        node_take(node, &outcome);
    node->more = true;
    return status;
}

static inline void node_shut(struct node *node)
{
    sb_partition_close(node->partition);
    sb_transactions_close(node->transactions);
    node->partition = NULL;
    node->transactions = NULL;
}

/* Power loss: what is not durable in the log is gone, the store is back at its last flush. Without `crash` a clean
 * stop, all entries synced. */
static inline int node_restart(struct node *node, bool crash)
{
    node_shut(node);
    while (crash && node->entry_count > 0 && node->entries[node->entry_count - 1].index > node->durable)
        free((void *) node->entries[--node->entry_count].payload.data);
    if (crash)
        sim_store_crash(&node->store);
    return node_open(node);
}

static inline void node_free(struct node *node)
{
    node_shut(node);
    for (size_t i = 0; i < node->entry_count; i++)
        free((void *) node->entries[i].payload.data);
    for (size_t i = 0; i < node->answer_count; i++)
        free(node->answers[i].bytes);
    assert_int_equal(sim_store_pins(&node->store), 0);
    node->store.close(node->store.self);
    free(node);
    sim_arena_reset();
    assert_int_equal(sb_memory_blocks(), 0);
}

/* ---- steps ---- */

static inline void node_take(struct node *node, const struct sb_outcome *step)
{
    for (size_t i = 0; i < step->entry_count; i++) {
        struct sb_log_entry entry = step->entries[i];
        uint8_t *copy = malloc(entry.payload.size);

        assert_true(node->entry_count < NODE_ENTRIES_MAX);
        assert_true(entry.payload.size <= WIRE_ENTRY_MAX);
        if (node->entry_count > 0)
            assert_int_equal(entry.index, node->entries[node->entry_count - 1].index + 1);
        memcpy(copy, entry.payload.data, entry.payload.size);
        entry.payload.data = copy;
        node->entries[node->entry_count++] = entry;
    }
    for (size_t i = 0; i < step->reply_count; i++) {
        struct node_answer *answer = &node->answers[node->answer_count++];
        size_t size = step->replies[i].bytes.size;

        assert_true(node->answer_count < NODE_ANSWERS_MAX);
        answer->token = step->replies[i].token;
        answer->operation = step->replies[i].operation;
        answer->bytes = malloc(size);
        memcpy(answer->bytes, step->replies[i].bytes.data, size);
        assert_int_equal(wire_reply_open(answer->bytes, size, &answer->reply), WIRE_OK);
    }
    for (size_t i = 0; i < step->fetch_count; i++) {
        assert_true(step->fetches[i].key_count > 0);
        node->fetches[node->fetch_count++] = step->fetches[i].token;
    }
    node->version = sb_partition_applied(node->partition)->version;
    node->horizon = sb_partition_applied(node->partition)->horizon;
    node->more = step->more;
}

static inline int node_step(struct node *node, struct sb_event event)
{
    struct sb_outcome outcome = {0};

    node->now_ms++;
    sb_partition_begin(node->partition, node->now_ms, &node->fault);
    node->status = sb_partition_event(node->partition, &event);
    if (node->status == WIRE_OK)
        node->status = sb_partition_end(node->partition, &outcome);
    if (node->status == WIRE_OK)
        node_take(node, &outcome);
    return node->status;
}

/* Everything logged up to `index` is durable. */
static inline int node_durable(struct node *node, uint64_t index)
{
    if (index > node->durable)
        node->durable = index;
    return node_step(node, (struct sb_event){.kind = SB_EVENT_COMMITTED, .index = index});
}

static inline uint64_t node_last(const struct node *node)
{
    return node->entry_count > 0 ? node->entries[node->entry_count - 1].index : 0;
}

static inline int node_sync(struct node *node)
{
    return node_durable(node, node_last(node));
}

static inline int node_fetched(struct node *node)
{
    int status = WIRE_OK;

    while (node->fetch_count > 0 && status == WIRE_OK)
        status =
            node_step(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .token = node->fetches[--node->fetch_count]});
    return status;
}

/* Until nothing is in flight, parked or to be settled. */
static inline int node_quiesce(struct node *node)
{
    for (int i = 0; i < 10000; i++) {
        if (node->fetch_count > 0 && !node->hold_fetches)
            (void) node_fetched(node);
        else if (node->durable < node_last(node))
            (void) node_sync(node);
        else if (node->more)
            (void) node_step(node, (struct sb_event){.kind = SB_EVENT_TICK});
        else
            return WIRE_OK;
        if (node->status != WIRE_OK)
            return node->status;
    }
    fail_msg("the partition does not come to rest");
    return WIRE_E_INTERNAL;
}

/* ---- requests ---- */

static inline uint64_t node_submit(struct node *node, struct wire_span request)
{
    uint8_t *exact = malloc(request.size ? request.size : 1);

    memcpy(exact, request.data, request.size);
    (void) node_step(
        node, (struct sb_event){.kind = SB_EVENT_REQUEST, .token = ++node->token, .bytes = {exact, request.size}});
    free(exact);
    return node->token;
}

static inline struct node_answer *node_answer(struct node *node, uint64_t token)
{
    for (size_t i = node->answer_count; i-- > 0;) {
        if (node->answers[i].token == token)
            return &node->answers[i];
    }
    return NULL;
}

static inline bool node_answered(struct node *node, uint64_t token)
{
    return node_answer(node, token) != NULL;
}

/* Status of the reply, or -1 if there is none yet. */
static inline int node_result(struct node *node, uint64_t token)
{
    struct node_answer *answer = node_answer(node, token);

    return answer ? answer->reply.status : -1;
}

/* Send, sync until answered: the status. */
static inline int node_call(struct node *node, struct wire_span request)
{
    uint64_t token = node_submit(node, request);

    for (int i = 0; i < 1000 && node->status == WIRE_OK; i++) {
        if (node_answered(node, token))
            return node_result(node, token);
        if (node->fetch_count > 0 && !node->hold_fetches)
            (void) node_fetched(node);
        else
            (void) node_sync(node);
    }
    if (node->status == WIRE_OK)
        fail_msg("no reply");
    return node->status;
}

static inline struct wire_reply *node_reply(struct node *node)
{
    return &node_answer(node, node->token)->reply;
}

/* ---- one key ---- */

struct who {
    uint64_t owner;
    uint32_t subtransaction;
    uint64_t snapshot;
    uint16_t flags;
    const uint64_t *transactions;
    size_t count;
};

static const struct who alice = {.owner = ALICE, .subtransaction = 1, .flags = WIRE_TRANSACTIONAL};
static const struct who bob = {.owner = BOB, .subtransaction = 1, .flags = WIRE_TRANSACTIONAL};

static inline void node_begin(struct node *node, enum wire_operation operation, struct who who)
{
    sim_begin((struct wire_request){.operation = operation,
                                    .flags = who.flags,
                                    .subtransaction = who.subtransaction,
                                    .snapshot = who.snapshot,
                                    .owner = who.owner,
                                    .storage_id = node->storage},
              who.transactions, who.count);
}

static inline struct wire_span write_request(struct node *node, struct who who, enum wire_write_kind kind,
                                             uint8_t flags, int64_t key, struct wire_span argument,
                                             struct wire_span condition)
{
    node_begin(node, WIRE_WRITE, who);
    sim_count(1);
    sim_op(kind, flags, sim_key(node->storage, key), argument, condition);
    return sim_end();
}

static inline struct wire_span put_request(struct node *node, int64_t key, int64_t value)
{
    return write_request(node, (struct who){.owner = 99}, WIRE_WRITE_PUT, 0, key, sim_item(value, 0), none);
}

static inline int put(struct node *node, int64_t key, int64_t value)
{
    return node_call(node, put_request(node, key, value));
}

static inline struct wire_span drop_request(struct node *node, int64_t key)
{
    return write_request(node, (struct who){.owner = 99}, WIRE_WRITE_DELETE, 0, key, none, none);
}

static inline int drop(struct node *node, int64_t key)
{
    return node_call(node, drop_request(node, key));
}

static inline int lock_key(struct node *node, uint64_t owner, uint32_t subtransaction, int64_t key)
{
    return node_call(
        node,
        write_request(node, (struct who){.owner = owner, .subtransaction = subtransaction, .flags = WIRE_TRANSACTIONAL},
                      WIRE_WRITE_LOCK, 0, key, none, none));
}

static inline int read_at(struct node *node, struct who who, int64_t key, int64_t *value)
{
    struct wire_request request;
    struct sb_buffer out = {0};
    struct wire_span bytes;
    struct wire_reader r;
    uint8_t *copy;
    uint64_t snapshot;
    uint32_t detail;
    int status;

    bytes = sim_get_request(
        (struct wire_request){.snapshot = who.snapshot, .owner = who.owner, .storage_id = node->storage},
        who.transactions, who.count, sim_key(node->storage, key));
    /* The node may go on meanwhile and build requests of its own. */
    copy = sim_arena_take(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    assert_int_equal(wire_request_open(copy, bytes.size, &request), WIRE_OK);
    status = sb_read_request(&node->reader, &request, &out, &detail, &snapshot, &node->fault);
    r = wire_reader_of(out.data, out.size);
    *value = ABSENT;
    if (status == WIRE_OK) {
        assert_int_equal(wire_read_varint(&r), 1);
        if (wire_read_u8(&r) == 1) {
            *value = sim_item_value(wire_read_span(&r));
            assert_true(*value != ABSENT);
        }
        assert_int_equal(wire_reader_finish(&r), WIRE_OK);
    }
    sb_buffer_close(&out);
    return status;
}

static inline int64_t value_at(struct node *node, int64_t key, uint64_t snapshot)
{
    int64_t value;

    assert_int_equal(read_at(node, (struct who){.snapshot = snapshot}, key, &value), WIRE_OK);
    return value;
}

static inline int64_t value_of_key(struct node *node, int64_t key)
{
    return value_at(node, key, 0);
}

/* The value that the intents of `transaction` give. */
static inline int64_t own_value(struct node *node, int64_t key, uint64_t transaction)
{
    int64_t value;

    assert_int_equal(read_at(node, (struct who){.transactions = &transaction, .count = 1}, key, &value), WIRE_OK);
    return value;
}

/* ---- transactions: owner's effects of keys first .. first + count - 1, values value + i; value ABSENT deletes ---- */

static inline void add_effects(struct node *node, int64_t first, int64_t count, int64_t value, size_t padding)
{
    sim_count((uint64_t) count);
    for (int64_t i = 0; i < count; i++)
        sim_effect(sim_key(node->storage, first + i), value == ABSENT ? none : sim_item(value + i, padding));
}

static inline struct wire_span commit_request(struct node *node, struct who who, uint64_t decider, int64_t first,
                                              int64_t count, int64_t value, size_t padding)
{
    node_begin(node, WIRE_COMMIT, who);
    wire_write_u64(&sim_request, decider);
    add_effects(node, first, count, value, padding);
    return sim_end();
}

static inline struct wire_span spill_request(struct node *node, struct who who, uint64_t transaction, int64_t first,
                                             int64_t count, int64_t value, size_t padding)
{
    node_begin(node, WIRE_SPILL, who);
    wire_write_u64(&sim_request, transaction);
    add_effects(node, first, count, value, padding);
    return sim_end();
}

static inline struct wire_span lock_request(struct node *node, uint64_t owner, uint32_t subtransaction, int64_t first,
                                            int64_t count)
{
    node_begin(node, WIRE_WRITE,
               (struct who){.owner = owner, .subtransaction = subtransaction, .flags = WIRE_TRANSACTIONAL});
    sim_count((uint64_t) count);
    for (int64_t i = 0; i < count; i++)
        sim_op(WIRE_WRITE_LOCK, 0, sim_key(node->storage, first + i), none, none);
    return sim_end();
}

/* Answered when readers find what was spilled. */
static inline struct wire_span await_request(struct node *node, uint64_t owner, uint64_t transaction)
{
    node_begin(node, WIRE_SPILL, (struct who){.owner = owner, .transactions = &transaction, .count = 1});
    wire_write_u64(&sim_request, transaction);
    sim_count(0);
    return sim_end();
}

/* Lock and spill, and wait until it can be read: the transaction id. */
static inline uint64_t spill(struct node *node, uint64_t owner, uint64_t transaction, int64_t first, int64_t count,
                             int64_t value, size_t padding)
{
    struct who who = {.owner = owner, .subtransaction = 1, .transactions = &transaction, .count = transaction ? 1 : 0};
    uint64_t id;

    assert_int_equal(node_call(node, lock_request(node, owner, 1, first, count)), WIRE_OK);
    assert_int_equal(node_call(node, spill_request(node, who, transaction, first, count, value, padding)), WIRE_OK);
    id = wire_read_u64(&node_reply(node)->body);
    assert_true(wire_version_is_transaction(id));
    assert_int_equal(node_call(node, await_request(node, owner, id)), WIRE_OK);
    return id;
}

static inline int commit_spilled(struct node *node, uint64_t owner, uint64_t transaction)
{
    return node_call(
        node,
        commit_request(node, (struct who){.owner = owner, .transactions = &transaction, .count = transaction ? 1 : 0},
                       0, 0, 0, 0, 0));
}

static inline struct wire_span abort_request(struct node *node, uint64_t owner, uint64_t transaction)
{
    node_begin(node, WIRE_ABORT,
               (struct who){.owner = owner, .transactions = &transaction, .count = transaction ? 1 : 0});
    sim_count(0);
    return sim_end();
}

static inline struct wire_span decide_request(struct node *node, uint64_t decider, uint8_t commit)
{
    node_begin(node, WIRE_DECIDE, (struct who){0});
    wire_write_u64(&sim_request, decider);
    wire_write_u8(&sim_request, commit);
    return sim_end();
}

static inline int lock_and_commit(struct node *node, uint64_t owner, uint64_t decider, int64_t first, int64_t count,
                                  int64_t value, size_t padding)
{
    assert_int_equal(node_call(node, lock_request(node, owner, 1, first, count)), WIRE_OK);
    return node_call(node, commit_request(node, (struct who){.owner = owner, .subtransaction = 1}, decider, first,
                                          count, value, padding));
}

static inline struct sb_partition_status node_status(const struct node *node)
{
    struct sb_partition_status status;

    sb_partition_status(node->partition, &status);
    return status;
}

/* ---- a node with one storage ---- */

static inline uint64_t new_storage(struct node *node, const char *identity)
{
    node_begin(node, WIRE_STORAGE, (struct who){0});
    wire_write_span(&sim_request, identity, strlen(identity));
    if (node_call(node, sim_end()) != WIRE_OK)
        return 0;
    return wire_read_u64(&node_reply(node)->body);
}

static inline struct node *node_new(void)
{
    struct node *node = calloc(1, sizeof(*node));
    struct sim_store_options options = {.seed = 1};

    sim_store_open(&options, &node->store);
    node->settle_keys_max = UINT64_MAX;
    node->max_in_flight_bytes = UINT64_C(64) << 20;
    node->now_ms = 1000;
    return node;
}

/* Entries of a family under a storage. */
static inline size_t count_keys(struct node *node, enum sb_family family, uint64_t storage)
{
    uint8_t low[8];
    uint8_t high[8];
    struct wire_writer l = wire_writer_of(low, 8);
    struct wire_writer h = wire_writer_of(high, 8);
    struct sb_iterator *it;
    size_t count = 0;

    wire_write_u64(&l, storage);
    wire_write_u64(&h, storage + 1);
    assert_int_equal(node->store.iterate(node->store.self, NULL, family, (struct wire_span){low, 8},
                                         (struct wire_span){high, 8}, &it, &node->fault),
                     WIRE_OK);
    for (it->seek(it->self, (struct wire_span){low, 8}); it->valid(it->self); it->next(it->self))
        count++;
    it->close(it->self);
    return count;
}

static inline struct node *node_ready(void)
{
    struct node *node = node_new();

    assert_int_equal(node_open(node), WIRE_OK);
    node->storage = new_storage(node, "relation");
    assert_true(node->storage != 0);
    return node;
}

#endif
