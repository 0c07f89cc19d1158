/*
 * What tests of the shard share: up to three nodes, each a shard on the simulated store with a log of arrays, and the
 * links between them.
 *
 * Nothing happens by itself. Records are durable when the test says so (bed_sync), taken from the shard's own memory
 * only then: bytes that are gone too early are found. Messages of a pair of nodes keep their order. A crash forgets
 * what is not durable. Clocks stand still but for bed_elapse.
 */
#ifndef SHARD_BED_H
#define SHARD_BED_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sb_shard.h"
#include "sim_requests.h"
#include "sim_store.h"

#define BED_NODES 3
#define BED_GROUPS 3 /* of ids 1 .. */
#define BED_ENTRIES_MAX 1024
#define BED_ABSENT INT64_MIN
#define BED_ELECTION_MS 1000
#define BED_HEARTBEAT_MS 100
#define BED_INSTALL_MS 20000

static const struct wire_span none;

/* What survives of a group. */
struct bed_log {
    uint8_t state[SB_LOG_STATE_MAX];
    size_t state_size;
    uint64_t first; /* of the entries, or where they will go on; 0: anywhere */
    size_t count;
    struct sb_log_entry entries[BED_ENTRIES_MAX]; /* payloads are copies */
};

struct bed_answer {
    uint64_t token;
    struct wire_reply reply;
    uint64_t number; /* body of the answer to a STORAGE */
};

struct bed_message {
    uint64_t from;
    uint64_t to;
    uint8_t *bytes;
    size_t size;
};

struct bed_node {
    struct bed *bed;
    uint64_t id;
    bool up;
    int status;
    struct sb_fault fault;
    struct sb_store store;
    struct sb_shard *shard;
    struct sb_transactions *transactions[BED_GROUPS + 1];
    struct bed_log logs[BED_GROUPS + 1];
    struct sb_log_entry records[4096]; /* handed out, not durable; payloads are the shard's */
    uint64_t sums[4096];               /* of them, when they were handed out */
    size_t record_count;
    struct sb_fetch fetches[64];
    size_t fetch_count;
    struct sb_install installs[16];
    size_t install_count;
    size_t cut_count;
    size_t log_reads;
    bool more;
    /* Of the last step. */
    size_t step_records;
    size_t step_messages;
    size_t step_replies;
    uint64_t timeout_ms;
};

struct bed {
    size_t node_count;
    struct bed_node nodes[BED_NODES];
    struct wire_configuration members;
    uint64_t trailing_entries;
    uint64_t max_in_flight_bytes;
    uint32_t lease_ms; /* 0: none */
    uint64_t now_ms;
    uint64_t token;
    uint64_t storage;
    bool cut[BED_NODES + 1][BED_NODES + 1]; /* from, to */
    bool hold_fetches;
    enum wire_peer_kind dropped_kind; /* messages of it are lost; 0: none */
    bool may_fail;                    /* a step that fails ends its node, not the test */
    struct bed_message messages[4096];
    size_t message_count;
    struct bed_answer answers[4096];
    size_t answer_count;
};

static inline struct bed_node *bed_node(struct bed *bed, uint64_t id)
{
    return &bed->nodes[id - 1];
}

/* ---- the log ---- */

static inline uint64_t bed_last(const struct bed_log *log)
{
    return log->count > 0 ? log->first + log->count - 1 : log->first > 0 ? log->first - 1 : 0;
}

static inline void bed_log_clear(struct bed_log *log)
{
    while (log->count > 0)
        free((void *) log->entries[--log->count].payload.data);
}

static inline void bed_log_cut(struct bed_log *log, uint64_t index)
{
    size_t gone = 0;

    if (log->first > index)
        return;
    while (gone < log->count && log->entries[gone].index <= index)
        free((void *) log->entries[gone++].payload.data);
    memmove(log->entries, log->entries + gone, (log->count - gone) * sizeof(log->entries[0]));
    log->count -= gone;
    log->first = index + 1;
}

static inline void bed_log_append(struct bed_log *log, const struct sb_log_entry *record)
{
    uint8_t *copy = malloc(record->payload.size);

    memcpy(copy, record->payload.data, record->payload.size);
    if (record->index == 0) {
        assert_true(record->payload.size <= SB_LOG_STATE_MAX);
        memcpy(log->state, copy, record->payload.size);
        log->state_size = record->payload.size;
        free(copy);
        return;
    }
    if (log->first == 0)
        log->first = record->index;
    assert_true(record->index >= log->first && record->index <= bed_last(log) + 1);
    while (bed_last(log) >= record->index)
        free((void *) log->entries[--log->count].payload.data);
    assert_true(log->count < BED_ENTRIES_MAX);
    log->entries[log->count] = *record;
    log->entries[log->count++].payload.data = copy;
}

static inline int bed_read_log(void *context, uint64_t group, uint64_t index, uint64_t *term, struct sb_buffer *out,
                               struct sb_fault *fault)
{
    struct bed_node *node = context;
    struct bed_log *log = &node->logs[group];

    node->log_reads++;
    if (log->count == 0 || index < log->first || index > bed_last(log))
        return WIRE_E_NOT_FOUND;
    *term = log->entries[index - log->first].term;
    return sb_buffer_append(out, log->entries[index - log->first].payload.data,
                            log->entries[index - log->first].payload.size);
}

/* ---- life ---- */

/* Wall clocks differ. */
static inline struct sb_now bed_now(const struct bed_node *node)
{
    return (struct sb_now){.wall_ms = node->bed->now_ms + 3000 * node->id, .boot_ms = node->bed->now_ms};
}

static inline int bed_digest(struct bed_node *node, uint64_t group, struct sb_digest *digest)
{
    struct bed_log *log = &node->logs[group];
    int status = WIRE_OK;

    for (size_t i = 0; i < log->count && status == WIRE_OK; i++)
        status = sb_digest_add(digest, &log->entries[i], &node->fault);
    return status;
}

static inline int bed_open_group(struct bed_node *node, uint64_t group)
{
    struct bed_log *log = &node->logs[group];
    struct sb_digest digest = {0};
    int status = sb_transactions_open(&node->transactions[group]);

    if (status == WIRE_OK)
        status = bed_digest(node, group, &digest);
    if (status == WIRE_OK)
        status = sb_shard_add(node->shard, bed_now(node), group, (struct wire_span){log->state, log->state_size},
                              &digest, &node->bed->members, node->transactions[group], &node->fault);
    sb_digest_close(&digest);
    node->status = status;
    return status;
}

static inline int bed_open(struct bed_node *node, uint64_t groups)
{
    struct bed *bed = node->bed;
    struct sb_shard_options options = {.node = node->id,
                                       .seed = 7 * (uint32_t) node->id,
                                       .election_timeout_ms = BED_ELECTION_MS,
                                       .heartbeat_ms = BED_HEARTBEAT_MS,
                                       .lease_ms = bed->lease_ms,
                                       .install_timeout_ms = BED_INSTALL_MS,
                                       .trailing_entries = bed->trailing_entries,
                                       .store = &node->store,
                                       .max_in_flight_bytes = bed->max_in_flight_bytes,
                                       .settle_keys_max = UINT64_MAX,
                                       .read_log = bed_read_log,
                                       .log = node};

    node->fault = (struct sb_fault){0};
    node->status = sb_shard_open(&options, &node->shard);
    node->up = true;
    for (uint64_t group = 1; group <= groups && node->status == WIRE_OK; group++)
        (void) bed_open_group(node, group);
    return node->status;
}

/* Power loss: what is not durable is gone, answers never given are never given. */
static inline void bed_crash(struct bed_node *node)
{
    sb_shard_close(node->shard);
    node->shard = NULL;
    for (size_t i = 0; i <= BED_GROUPS; i++) {
        sb_transactions_close(node->transactions[i]);
        node->transactions[i] = NULL;
    }
    node->record_count = node->fetch_count = node->install_count = 0;
    node->up = node->more = false;
    sim_store_crash(&node->store);
}

static inline struct bed *bed_new(size_t nodes)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    bed->node_count = nodes;
    bed->now_ms = 100000;
    bed->max_in_flight_bytes = 1024 * 1024;
    for (size_t i = 0; i < nodes; i++) {
        struct sim_store_options options = {.seed = i + 1};

        bed->nodes[i].bed = bed;
        bed->nodes[i].id = i + 1;
        sim_store_open(&options, &bed->nodes[i].store);
        bed->members.members[bed->members.count++] = (struct wire_member){i + 1, WIRE_MEMBER_VOTER};
    }
    return bed;
}

static inline void bed_free(struct bed *bed)
{
    for (size_t i = 0; i < bed->node_count; i++) {
        struct bed_node *node = &bed->nodes[i];

        bed_crash(node);
        for (size_t group = 0; group <= BED_GROUPS; group++)
            bed_log_clear(&node->logs[group]);
        assert_int_equal(sim_store_pins(&node->store), 0);
        node->store.close(node->store.self);
    }
    for (size_t i = 0; i < bed->message_count; i++)
        free(bed->messages[i].bytes);
    free(bed);
    sim_arena_reset();
    assert_int_equal(sb_memory_blocks(), 0);
}

/* ---- steps ---- */

static inline uint64_t bed_sum(struct wire_span bytes)
{
    uint64_t sum = bytes.size;

    for (size_t i = 0; i < bytes.size; i++)
        sum = sum * 31 + bytes.data[i];
    return sum;
}

static inline void bed_send(struct bed_node *node, const struct sb_message *message)
{
    struct bed *bed = node->bed;
    struct wire_peer_message opened;
    struct wire_reader entries;

    assert_int_equal(wire_peer_open(message->bytes.data, message->bytes.size, &opened, &entries), WIRE_OK);
    assert_true(opened.from == node->id && opened.to == message->to && message->to != node->id);
    if (message->to > bed->node_count || bed->cut[node->id][message->to] || opened.kind == bed->dropped_kind)
        return;
    assert_true(bed->message_count < 4096);
    bed->messages[bed->message_count] =
        (struct bed_message){node->id, message->to, malloc(message->bytes.size), message->bytes.size};
    memcpy(bed->messages[bed->message_count++].bytes, message->bytes.data, message->bytes.size);
}

static inline void bed_answer(struct bed *bed, const struct sb_reply *reply)
{
    struct bed_answer *answer = &bed->answers[bed->answer_count++];

    assert_true(bed->answer_count < 4096);
    for (size_t i = 0; i + 1 < bed->answer_count; i++)
        assert_true(bed->answers[i].token != reply->token); /* never twice */
    answer->token = reply->token;
    assert_int_equal(wire_reply_open(reply->bytes.data, reply->bytes.size, &answer->reply), WIRE_OK);
    if (wire_reader_left(&answer->reply.body) == 8)
        answer->number = wire_read_u64(&answer->reply.body);
}

static inline void bed_take(struct bed_node *node, const struct sb_step *step)
{
    for (size_t i = 0; i < step->cut_count; i++)
        bed_log_cut(&node->logs[step->cuts[i].group], step->cuts[i].index);
    node->cut_count += step->cut_count;
    for (size_t i = 0; i < step->record_count; i++) {
        assert_true(node->record_count < 4096);
        node->sums[node->record_count] = bed_sum(step->records[i].payload);
        node->records[node->record_count++] = step->records[i];
    }
    for (size_t i = 0; i < step->message_count; i++)
        bed_send(node, &step->messages[i]);
    for (size_t i = 0; i < step->reply_count; i++)
        bed_answer(node->bed, &step->replies[i]);
    for (size_t i = 0; i < step->fetch_count; i++)
        node->fetches[node->fetch_count++] = step->fetches[i];
    for (size_t i = 0; i < step->install_count; i++)
        node->installs[node->install_count++] = step->installs[i];
    assert_true(node->fetch_count < 64 && node->install_count < 16);
    node->step_records = step->record_count;
    node->step_messages = step->message_count;
    node->step_replies = step->reply_count;
    node->timeout_ms = step->timeout_ms;
    node->more = step->more;
}

static inline int bed_step(struct bed_node *node, const struct sb_event *events, size_t count)
{
    struct sb_step step;

    if (!node->up || node->status != WIRE_OK)
        return node->status;
    node->status = sb_shard_step(node->shard, bed_now(node), events, count, &step, &node->fault);
    if (node->status == WIRE_OK)
        bed_take(node, &step);
    else if (!node->bed->may_fail)
        fail_msg("node %d: %s: %s", (int) node->id, wire_error_name(node->status), node->fault.text);
    return node->status;
}

static inline int bed_event(struct bed_node *node, struct sb_event event)
{
    return bed_step(node, &event, 1);
}

static inline int bed_idle(struct bed_node *node)
{
    return bed_step(node, NULL, 0);
}

/* The first `count` records are in the log, durably; the shard is told. */
static inline void bed_sync_some(struct bed_node *node, size_t count)
{
    assert_true(count <= node->record_count);
    if (count == 0 || !node->up || node->status != WIRE_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        assert_true(bed_sum(node->records[i].payload) == node->sums[i]);
        bed_log_append(&node->logs[node->records[i].group], &node->records[i]);
    }
    node->record_count -= count;
    memmove(node->records, node->records + count, node->record_count * sizeof(node->records[0]));
    memmove(node->sums, node->sums + count, node->record_count * sizeof(node->sums[0]));
    (void) bed_event(node, (struct sb_event){.kind = SB_EVENT_DURABLE, .index = count});
}

static inline void bed_sync(struct bed_node *node)
{
    bed_sync_some(node, node->record_count);
}

static inline void bed_fetched(struct bed_node *node)
{
    struct sb_fetch fetch = node->fetches[--node->fetch_count];

    for (size_t i = 0; i < fetch.key_count; i++)
        assert_true(bed_sum(fetch.keys[i]) != 0); /* they are still there */
    (void) bed_event(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .group = fetch.group, .token = fetch.token});
}

/* The oldest message reaches its node, if that is up. */
static inline void bed_deliver(struct bed *bed)
{
    struct bed_message message = bed->messages[0];

    memmove(bed->messages, bed->messages + 1, --bed->message_count * sizeof(message));
    if (!bed->cut[message.from][message.to])
        (void) bed_event(
            bed_node(bed, message.to),
            (struct sb_event){.kind = SB_EVENT_MESSAGE, .token = message.from, .bytes = {message.bytes, message.size}});
    free(message.bytes);
}

/* Everything that is under way arrives, nothing is synced. */
static inline void bed_deliver_all(struct bed *bed)
{
    while (bed->message_count > 0)
        bed_deliver(bed);
}

/* Messages of a kind that are under way. */
static inline size_t bed_under_way(struct bed *bed, enum wire_peer_kind kind, uint16_t flags)
{
    struct wire_peer_message opened;
    struct wire_reader entries;
    size_t count = 0;

    for (size_t i = 0; i < bed->message_count; i++) {
        assert_int_equal(wire_peer_open(bed->messages[i].bytes, bed->messages[i].size, &opened, &entries), WIRE_OK);
        count += opened.kind == kind && opened.flags == flags;
    }
    return count;
}

/* Until nothing is left to do without the clock. */
static inline void bed_run(struct bed *bed)
{
    for (int i = 0; i < 100000; i++) {
        bool busy = bed->message_count > 0;

        for (size_t n = 0; n < bed->node_count; n++) {
            struct bed_node *node = &bed->nodes[n];

            if (!node->up || node->status != WIRE_OK)
                continue;
            busy |= node->record_count > 0 || node->more || (node->fetch_count > 0 && !bed->hold_fetches);
            if (node->fetch_count > 0 && !bed->hold_fetches)
                bed_fetched(node);
            if (node->more)
                (void) bed_event(node, (struct sb_event){.kind = SB_EVENT_TICK});
            bed_sync(node);
        }
        if (bed->message_count > 0)
            bed_deliver(bed);
        if (!busy)
            return;
    }
    fail_msg("the nodes do not come to rest");
}

static inline void bed_elapse(struct bed *bed, uint64_t ms)
{
    for (uint64_t end = bed->now_ms + ms; bed->now_ms < end;) {
        bed->now_ms += 20;
        for (size_t i = 0; i < bed->node_count; i++)
            (void) bed_idle(&bed->nodes[i]);
        bed_run(bed);
    }
}

static inline struct sb_group_status bed_status(const struct bed_node *node, uint64_t group)
{
    struct sb_group_status status;

    assert_true(sb_shard_status(node->shard, group, &status));
    return status;
}

/* The node that answers for group 1, not being `not`. */
static inline struct bed_node *bed_leader_but(struct bed *bed, const struct bed_node * not )
{
    for (int i = 0; i < 1000; i++) {
        for (size_t n = 0; n < bed->node_count; n++) {
            struct bed_node *node = &bed->nodes[n];

            if (node != not &&node->up && node->status == WIRE_OK && bed_status(node, 1).leads)
                return node;
        }
        bed_elapse(bed, 20);
    }
    fail_msg("nobody leads");
    return NULL;
}

static inline struct bed_node *bed_leader(struct bed *bed)
{
    return bed_leader_but(bed, NULL);
}

/* Alone: nothing comes in or goes out. */
static inline void bed_isolate(struct bed_node *node, bool cut)
{
    for (size_t i = 1; i <= BED_NODES; i++)
        node->bed->cut[node->id][i] = node->bed->cut[i][node->id] = cut;
}

/* ---- requests ---- */

static inline uint64_t bed_request_to(struct bed_node *node, uint64_t group, struct wire_span request)
{
    uint8_t *exact = malloc(request.size);

    memcpy(exact, request.data, request.size);
    (void) bed_event(node, (struct sb_event){.kind = SB_EVENT_REQUEST,
                                             .group = group,
                                             .token = ++node->bed->token,
                                             .bytes = {exact, request.size}});
    free(exact);
    return node->bed->token;
}

static inline struct bed_answer *bed_find(struct bed *bed, uint64_t token)
{
    for (size_t i = 0; i < bed->answer_count; i++) {
        if (bed->answers[i].token == token)
            return &bed->answers[i];
    }
    return NULL;
}

/* The status of the answer, or -1 while there is none. */
static inline int bed_result(struct bed *bed, uint64_t token)
{
    struct bed_answer *answer = bed_find(bed, token);

    return answer ? answer->reply.status : -1;
}

static inline uint64_t bed_hint(struct bed *bed, uint64_t token)
{
    return bed_find(bed, token)->reply.snapshot;
}

static inline struct wire_span bed_write_request(uint64_t storage, enum wire_write_kind kind, int64_t key,
                                                 struct wire_span argument, struct wire_span condition)
{
    sim_begin((struct wire_request){.operation = WIRE_WRITE, .owner = 99, .storage_id = storage}, NULL, 0);
    sim_count(1);
    sim_op(kind, 0, sim_key(storage, key), argument, condition);
    return sim_end();
}

/* Its answer is not awaited. */
static inline uint64_t bed_put_padded(struct bed_node *node, int64_t key, int64_t value, size_t padding)
{
    uint64_t storage = node->bed->storage;

    return bed_request_to(node, 1, bed_write_request(storage, WIRE_WRITE_PUT, key, sim_item(value, padding), none));
}

static inline uint64_t bed_put(struct bed_node *node, int64_t key, int64_t value)
{
    return bed_put_padded(node, key, value, 0);
}

static inline uint64_t bed_new_storage(struct bed_node *node, uint64_t group, const char *identity)
{
    uint64_t token;

    sim_begin((struct wire_request){.operation = WIRE_STORAGE}, NULL, 0);
    wire_write_span(&sim_request, identity, strlen(identity));
    token = bed_request_to(node, group, sim_end());
    bed_run(node->bed);
    return bed_result(node->bed, token) == WIRE_OK ? bed_find(node->bed, token)->number : 0;
}

/* What the node has applied of a key. */
static inline int64_t bed_value(struct bed_node *node, uint64_t storage, int64_t key)
{
    struct sb_value value;
    int64_t number = BED_ABSENT;

    if (node->store.get(node->store.self, SB_ITEMS, sim_key(storage, key), SB_TIER_ALL, &value, &node->fault) !=
        WIRE_OK)
        return BED_ABSENT;
    number = sim_item_value(value.bytes);
    node->store.release(node->store.self, &value);
    return number;
}

/* ---- whole stores ---- */

static inline struct wire_span bed_copy(struct wire_span bytes)
{
    uint8_t *copy = sim_arena_take(bytes.size + 1);

    memcpy(copy, bytes.data, bytes.size);
    return (struct wire_span){copy, bytes.size};
}

/* Everything in a store, as changes; in the arena. */
static inline size_t bed_contents(struct bed_node *node, struct sb_change *out, size_t max)
{
    size_t count = 0;

    for (int family = 0; family < SB_FAMILY_COUNT; family++) {
        struct sb_iterator *it;

        assert_int_equal(
            node->store.iterate(node->store.self, NULL, (enum sb_family) family, none, none, &it, &node->fault),
            WIRE_OK);
        for (it->seek(it->self, none); it->valid(it->self); it->next(it->self)) {
            assert_true(count < max);
            out[count++] = (struct sb_change){SB_PUT, (enum sb_family) family, bed_copy(it->key(it->self)),
                                              bed_copy(it->value(it->self))};
        }
        it->close(it->self);
    }
    return count;
}

/* The checkpoint of one store takes the place of another, durably. */
static inline void bed_copy_store(struct bed_node *from, struct bed_node *to)
{
    static const uint8_t last[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct sb_change changes[2048] = {{SB_DELETE_RANGE, SB_ITEMS, none, {last, sizeof(last)}},
                                      {SB_DELETE_RANGE, SB_HISTORY, none, {last, sizeof(last)}}};
    size_t count = 2 + bed_contents(from, changes + 2, 2046);

    assert_int_equal(to->store.write(to->store.self, changes, count, &to->fault), WIRE_OK);
    assert_int_equal(to->store.flush(to->store.self, &to->fault), WIRE_OK);
}

/* All nodes that are up have applied the same, to the byte. */
static inline void bed_check_alike(struct bed *bed)
{
    static struct sb_change first[2048];
    static struct sb_change other[2048];
    size_t count = 0;
    bool any = false;

    for (size_t n = 0; n < bed->node_count; n++) {
        size_t found;

        if (!bed->nodes[n].up)
            continue;
        found = bed_contents(&bed->nodes[n], any ? other : first, 2048);
        if (any) {
            assert_int_equal(found, count);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(first[i].key.size, other[i].key.size);
                assert_int_equal(first[i].value.size, other[i].value.size);
                assert_memory_equal(first[i].key.data, other[i].key.data, first[i].key.size);
                assert_memory_equal(first[i].value.data, other[i].value.data, first[i].value.size);
            }
        }
        count = found;
        any = true;
    }
}

/* Flush a node's store and tell its shard, as its keeper would. */
static inline void bed_flush(struct bed_node *node, uint64_t group)
{
    struct sb_applied applied;

    assert_int_equal(node->store.flush(node->store.self, &node->fault), WIRE_OK);
    assert_int_equal(sb_meta_applied(&node->store, group, true, &applied, &node->fault), WIRE_OK);
    (void) bed_event(
        node,
        (struct sb_event){.kind = SB_EVENT_FLUSHED, .group = group, .index = applied.index, .token = applied.term});
}

/* ---- ready made ---- */

/* A group of one that leads, with a storage. */
static inline struct bed *bed_of_one(void)
{
    struct bed *bed = bed_new(1);

    assert_int_equal(bed_open(&bed->nodes[0], 1), WIRE_OK);
    (void) bed_idle(&bed->nodes[0]);
    bed_run(bed);
    bed->storage = bed_new_storage(&bed->nodes[0], 1, "relation");
    assert_true(bed->storage != 0);
    return bed;
}

/* Three members, one of which leads. */
static inline struct bed *bed_of_three(uint64_t trailing_entries)
{
    struct bed *bed = bed_new(3);

    bed->trailing_entries = trailing_entries;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(bed_open(&bed->nodes[i], 1), WIRE_OK);
    bed->storage = bed_new_storage(bed_leader(bed), 1, "relation");
    assert_true(bed->storage != 0);
    bed_elapse(bed, 2 * BED_HEARTBEAT_MS); /* all have heard that it is committed */
    return bed;
}

#endif
