/*
 * The shard of groups with three members: what leaves when, what is answered when, a leadership that is lost or handed
 * over, and what members may say that they should not.
 */
#include "shard_bed.h"

static struct bed_node *follower_of(struct bed_node *leader)
{
    return bed_node(leader->bed, leader->id % 3 + 1);
}

static struct bed_node *other_follower_of(struct bed_node *leader)
{
    return bed_node(leader->bed, (leader->id + 1) % 3 + 1);
}

/* A process that is stopped for a while: it learns of nothing, and what is sent to it is lost. */
static void sleep_node(struct bed_node *node, bool asleep)
{
    node->up = !asleep;
}

/* ---- writes ---- */

/* Entries leave the leader before its own sync; a member's result does not leave before its own. Answered when two have
 * it and it is durable here: what is applied is in the log. */
static void test_replicated(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *leader = bed_leader(bed);
    uint64_t token = bed_put(leader, 1, 10);
    uint64_t index = bed_status(leader, 1).last_index;

    (void) state;
    assert_int_equal(leader->record_count, 1);
    assert_int_equal(bed_under_way(bed, WIRE_PEER_APPEND, 0), 2);
    bed_deliver_all(bed);
    assert_int_equal(follower_of(leader)->record_count, 1);
    assert_int_equal(bed_under_way(bed, WIRE_PEER_APPEND_RESULT, 0), 0);
    bed_sync(follower_of(leader));
    bed_deliver_all(bed);
    assert_true(bed_status(leader, 1).commit_index < index); /* one has it */
    bed_sync(other_follower_of(leader));
    bed_deliver_all(bed);
    assert_true(bed_status(leader, 1).commit_index == index);
    assert_true(bed_status(leader, 1).applied.index < index);
    assert_int_equal(bed_result(bed, token), -1);
    bed_sync(leader);
    assert_int_equal(bed_result(bed, token), WIRE_OK);
    assert_int_equal(bed_value(leader, bed->storage, 1), 10);
    assert_int_equal(bed_value(follower_of(leader), bed->storage, 1), BED_ABSENT); /* not told yet */
    bed_elapse(bed, BED_HEARTBEAT_MS);
    assert_int_equal(bed_value(follower_of(leader), bed->storage, 1), 10);
    bed_check_alike(bed);
    bed_free(bed);
}

/* One follower is enough, and none is not. */
static void test_majority(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *leader = bed_leader(bed);
    uint64_t token;

    (void) state;
    sleep_node(follower_of(leader), true);
    token = bed_put(leader, 1, 1);
    bed_run(bed);
    assert_int_equal(bed_result(bed, token), WIRE_OK);
    sleep_node(other_follower_of(leader), true);
    token = bed_put(leader, 1, 2);
    bed_run(bed);
    assert_int_equal(bed_result(bed, token), -1);
    assert_int_equal(leader->record_count, 0);
    bed_free(bed);
}

/* A vote is nothing before the disk has it: neither the one for oneself nor the one for another. */
static void test_votes_are_durable(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *asleep = bed_leader(bed);
    struct bed_node *candidate = NULL;
    struct bed_node *voter;

    (void) state;
    sleep_node(asleep, true);
    for (int i = 0; i < 1000 && !candidate; i++) {
        bed->now_ms += 20;
        for (size_t n = 0; n < 3; n++) {
            (void) bed_idle(&bed->nodes[n]);
            if (bed->nodes[n].record_count > 0)
                candidate = &bed->nodes[n];
        }
        while (bed->message_count > 0 && !candidate) {
            bed_deliver(bed);
            for (size_t n = 0; n < 3; n++)
                candidate = bed->nodes[n].record_count > 0 ? &bed->nodes[n] : candidate;
        }
    }
    assert_non_null(candidate);
    bed_deliver_all(bed);
    assert_int_equal(candidate->records[0].index, 0);
    assert_int_equal(bed_under_way(bed, WIRE_PEER_VOTE, 0), 0);
    bed_sync(candidate);
    assert_int_equal(bed_under_way(bed, WIRE_PEER_VOTE, 0), 2);
    bed_deliver_all(bed);
    voter = follower_of(candidate) == asleep ? other_follower_of(candidate) : follower_of(candidate);
    assert_int_equal(voter->record_count, 1);
    assert_int_equal(bed_under_way(bed, WIRE_PEER_VOTE_RESULT, WIRE_PEER_GRANTED), 0);
    bed_sync(voter);
    assert_int_equal(bed_under_way(bed, WIRE_PEER_VOTE_RESULT, WIRE_PEER_GRANTED), 1);
    bed_deliver_all(bed);
    assert_int_equal(bed_status(candidate, 1).role, RG_LEADER);
    assert_false(bed_status(candidate, 1).leads); /* its barrier is not committed */
    bed_run(bed);
    assert_true(bed_status(candidate, 1).leads);
    bed_free(bed);
}

/* What a follower has missed comes in several messages, and out of the log: it is applied here. */
static void test_large_and_late(void **state)
{
    struct bed *bed = bed_of_three(100);
    struct bed_node *leader = bed_leader(bed);
    struct bed_node *slow = follower_of(leader);
    size_t appends = 0;

    (void) state;
    sleep_node(slow, true);
    for (int64_t key = 0; key < 8; key++)
        (void) bed_put_padded(leader, key, key, 200 * 1024);
    bed_run(bed);
    assert_int_equal(bed_value(leader, bed->storage, 7), 7);
    leader->log_reads = 0;
    sleep_node(slow, false);
    for (int i = 0; i < 200 && bed_value(slow, bed->storage, 7) != 7; i++) {
        bed->now_ms += 20;
        for (size_t n = 0; n < 3; n++)
            (void) bed_idle(&bed->nodes[n]);
        while (bed->message_count > 0) {
            assert_true(bed->messages[0].size < 512 * 1024 + 4096);
            appends += bed->messages[0].size > 200 * 1024;
            bed_deliver(bed);
            for (size_t n = 0; n < 3; n++)
                bed_sync(&bed->nodes[n]);
        }
    }
    assert_true(appends >= 4);
    assert_true(leader->log_reads >= 8);
    bed_elapse(bed, BED_HEARTBEAT_MS);
    bed_check_alike(bed);
    /* More than fits a message at once, while it is in flight. */
    for (int64_t key = 10; key < 14; key++)
        (void) bed_put_padded(leader, key, key, 300 * 1024);
    bed_elapse(bed, BED_HEARTBEAT_MS);
    bed_check_alike(bed);
    bed_free(bed);
}

static void test_members_restart(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *leader = bed_leader(bed);
    uint64_t token;

    (void) state;
    for (int64_t key = 0; key < 5; key++)
        (void) bed_put(leader, key, key);
    bed_run(bed);
    for (size_t i = 0; i < 3; i++) {
        bed_crash(&bed->nodes[i]);
        assert_int_equal(bed_open(&bed->nodes[i], 1), WIRE_OK);
    }
    leader = bed_leader(bed);
    token = bed_put(leader, 9, 9);
    bed_elapse(bed, BED_HEARTBEAT_MS);
    assert_int_equal(bed_result(bed, token), WIRE_OK);
    for (int64_t key = 0; key < 5; key++)
        assert_int_equal(bed_value(leader, bed->storage, key), key);
    bed_check_alike(bed);
    bed_free(bed);
}

/* ---- leadership lost ---- */

/* Whoever waits is told what is known. The keys of a fetch and the bytes of records outlive all that. */
static void test_deposed(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *old = bed_leader(bed);
    struct bed_node *leader;
    struct sim_store_options blocks = {.would_block_per_mille = 1000};
    struct sim_store_options open = {0};
    uint64_t parked, flight, refused, large, deferred;

    (void) state;
    bed->hold_fetches = true;
    sim_store_tune(&old->store, &blocks);
    parked = bed_request_to(old, 1,
                            bed_write_request(bed->storage, WIRE_WRITE_UPDATE, 50, sim_update(1),
                                              sim_condition(WIRE_CONDITION_NOT_EXISTS)));
    sim_store_tune(&old->store, &open);
    assert_int_equal(old->fetch_count, 1);
    flight = bed_put(old, 1, 10);
    refused = bed_request_to(
        old, 1,
        bed_write_request(bed->storage, WIRE_WRITE_PUT, 1, sim_item(2, 0), sim_condition(WIRE_CONDITION_NOT_EXISTS)));
    large = bed_put_padded(old, 2, 20, 300 * 1024);
    for (int i = 0; i < 5; i++)
        deferred = bed_put_padded(old, 3, 30, 300 * 1024);
    assert_true(old->record_count > 2);
    for (size_t i = 0; i < bed->message_count; i++)
        free(bed->messages[i].bytes);
    bed->message_count = 0;
    sleep_node(old, true);
    leader = bed_leader_but(bed, old);
    (void) bed_put(leader, 1, 11);
    bed_run(bed);
    sleep_node(old, false);
    for (int i = 0; i < 100 && bed_result(bed, flight) == -1; i++) { /* without a sync there */
        bed->now_ms += 20;
        (void) bed_idle(leader);
        while (bed->message_count > 0) {
            bed_deliver(bed);
            bed_sync(leader);
        }
    }
    assert_int_equal(bed_result(bed, flight), WIRE_E_UNKNOWN_OUTCOME);
    assert_int_equal(bed_result(bed, large), WIRE_E_UNKNOWN_OUTCOME);
    assert_int_equal(bed_result(bed, refused), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_result(bed, parked), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_result(bed, deferred), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_hint(bed, flight), leader->id);
    assert_int_equal(bed_hint(bed, parked), leader->id);
    assert_int_equal(bed_hint(bed, deferred), leader->id);
    bed_fetched(old);
    /* New requests are told at once where to go, groups that are not here as well. */
    assert_int_equal(bed_result(bed, bed_put(old, 1, 5)), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_hint(bed, bed->token), leader->id);
    (void) bed_request_to(old, 2, bed_write_request(bed->storage, WIRE_WRITE_PUT, 1, sim_item(1, 0), none));
    assert_int_equal(bed_result(bed, bed->token), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_hint(bed, bed->token), 0);
    bed_elapse(bed, 5 * BED_HEARTBEAT_MS); /* syncs the old records, then those that replace them */
    assert_int_equal(bed_value(old, bed->storage, 1), 11);
    assert_int_equal(bed_value(old, bed->storage, 2), BED_ABSENT);
    bed_check_alike(bed);
    bed_free(bed);
}

/* ---- leadership handed over ---- */

/* What is in flight is answered, what comes then waits and is told where to go. */
static void test_resign(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *old = bed_leader(bed);
    struct bed_node *leader;
    uint64_t term = bed_status(old, 1).term;
    uint64_t flight = ++bed->token;
    struct sb_event events[2] = {{.kind = SB_EVENT_REQUEST, .group = 1, .token = flight}, {.kind = SB_EVENT_RESIGN}};
    uint64_t waits, later;

    (void) state;
    events[0].bytes = bed_copy(bed_write_request(bed->storage, WIRE_WRITE_PUT, 1, sim_item(1, 0), none));
    (void) bed_step(old, events, 2); /* not even logged */
    waits = bed_put(old, 1, 2);
    assert_int_equal(bed_result(bed, flight), -1);
    bed_sync(old);
    bed_deliver_all(bed);
    bed_sync(follower_of(old));
    while (bed_result(bed, flight) == -1)
        bed_deliver(bed);
    assert_int_equal(bed_result(bed, flight), WIRE_OK);
    later = bed_put(old, 1, 3);
    assert_int_equal(bed_result(bed, waits), -1);
    leader = bed_leader_but(bed, old);
    bed_run(bed);
    assert_int_equal(bed_status(leader, 1).term, term + 1);
    assert_int_equal(bed_result(bed, waits), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_hint(bed, waits), leader->id);
    assert_int_equal(bed_result(bed, later), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_hint(bed, later), leader->id);
    bed_elapse(bed, BED_HEARTBEAT_MS);
    assert_int_equal(bed_value(old, bed->storage, 1), 1);
    bed_check_alike(bed);
    bed_free(bed);
}

/* Nobody takes it: the leader goes on, and what has waited is done. */
static void test_resign_in_vain(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *leader = bed_leader(bed);
    uint64_t term = bed_status(leader, 1).term;
    uint64_t waits;

    (void) state;
    bed->dropped_kind = WIRE_PEER_TIMEOUT_NOW;
    (void) bed_event(leader, (struct sb_event){.kind = SB_EVENT_RESIGN});
    assert_false(bed_status(leader, 1).leads);
    waits = bed_put(leader, 1, 2);
    bed_run(bed);
    assert_int_equal(bed_result(bed, waits), -1);
    bed_elapse(bed, 3 * BED_ELECTION_MS);
    assert_true(bed_status(leader, 1).leads);
    assert_int_equal(bed_status(leader, 1).term, term);
    assert_int_equal(bed_result(bed, waits), WIRE_OK);
    bed_free(bed);
    /* A group of one has nobody to give it to. */
    bed = bed_of_one();
    (void) bed_event(&bed->nodes[0], (struct sb_event){.kind = SB_EVENT_RESIGN});
    waits = bed_put(&bed->nodes[0], 1, 2);
    bed_run(bed);
    assert_int_equal(bed_result(bed, waits), WIRE_OK);
    bed_free(bed);
}

/* The others are gone: who waits is not kept waiting. */
static void test_resign_alone(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *leader = bed_leader(bed);
    uint64_t waits;

    (void) state;
    sleep_node(follower_of(leader), true);
    sleep_node(other_follower_of(leader), true);
    (void) bed_event(leader, (struct sb_event){.kind = SB_EVENT_RESIGN});
    waits = bed_put(leader, 1, 2);
    bed_elapse(bed, 6 * BED_ELECTION_MS);
    assert_int_equal(bed_status(leader, 1).role == RG_LEADER, false);
    assert_int_equal(bed_result(bed, waits), WIRE_E_UNKNOWN_OUTCOME); /* it led again for a while */
    bed_free(bed);
}

/* ---- what others say ---- */

/* One real node, whose peers are the test. */
static struct bed *bed_of_node(void)
{
    struct bed *bed = bed_new(3);

    assert_int_equal(bed_open(&bed->nodes[0], 1), WIRE_OK);
    (void) bed_idle(&bed->nodes[0]);
    bed_sync(&bed->nodes[0]);
    return bed;
}

struct draft {
    uint64_t term;
    uint64_t version;
};

/* An APPEND behind (index, index_term) of entries without effects; in the arena. */
static struct wire_span make_append(struct wire_peer_message message, const struct draft *drafts, size_t count)
{
    uint8_t *bytes = sim_arena_take(4096);
    uint8_t *entry_bytes = sim_arena_take(1024);
    struct wire_writer w = wire_writer_of(bytes, 4096);
    struct wire_peer_builder builder;

    message.kind = WIRE_PEER_APPEND;
    message.sequence = 1;
    wire_peer_begin(&builder, &w, &message);
    for (size_t i = 0; i < count; i++) {
        struct wire_writer e = wire_writer_of(entry_bytes, 1024);
        struct wire_entry entry = {.group = message.group,
                                   .index = message.index + 1 + i,
                                   .term = drafts[i].term,
                                   .version = drafts[i].version};
        struct wire_entry_builder made;

        wire_entry_begin(&made, &e, &entry);
        assert_int_equal(wire_entry_end(&made), WIRE_OK);
        wire_peer_add(&builder, (struct wire_span){entry_bytes, e.size});
    }
    assert_int_equal(wire_peer_end(&builder), WIRE_OK);
    return (struct wire_span){bytes, w.size};
}

static void hear(struct bed_node *node, uint64_t token, struct wire_span bytes)
{
    uint8_t *exact = malloc(bytes.size + 1);

    memcpy(exact, bytes.data, bytes.size);
    (void) bed_event(node, (struct sb_event){.kind = SB_EVENT_MESSAGE, .token = token, .bytes = {exact, bytes.size}});
    free(exact);
}

/* An append of `from` to node 1, group 1, behind its first entry. */
static void append_first(struct bed_node *node, uint64_t from, uint64_t term, uint64_t commit,
                         const struct draft *drafts, size_t count)
{
    struct wire_peer_message message = {
        .group = 1, .from = from, .to = 1, .term = term, .index = 1, .index_term = 1, .commit = commit};

    hear(node, from, make_append(message, drafts, count));
}

/* Replaced, and back again: the log has the entry for good only when the last of its records is durable. */
static void test_entry_comes_back(void **state)
{
    struct bed *bed = bed_of_node();
    struct bed_node *node = &bed->nodes[0];
    uint64_t version = bed_status(node, 1).applied.version + 100;

    (void) state;
    append_first(node, 2, 5, 1, (struct draft[]){{5, version}}, 1);
    append_first(node, 3, 6, 1, (struct draft[]){{6, version + 7}}, 1);
    append_first(node, 2, 7, 3, (struct draft[]){{5, version}, {7, version + 9}}, 2);
    assert_int_equal(node->record_count, 7); /* with three states */
    assert_int_equal(node->records[1].index, 2);
    assert_int_equal(node->records[5].index, 2);
    bed_sync_some(node, 2);
    assert_int_equal(bed_status(node, 1).durable_index, 1);
    assert_int_equal(bed_status(node, 1).applied.index, 1);
    bed_sync_some(node, 2);
    assert_int_equal(bed_status(node, 1).applied.index, 1);
    bed_sync(node);
    assert_int_equal(bed_status(node, 1).applied.index, 3);
    bed_free(bed);
}

/* The log had an entry, and has another one in its place only when that is durable: it is not applied before. */
static void test_durable_entry_replaced(void **state)
{
    struct bed *bed = bed_of_node();
    struct bed_node *node = &bed->nodes[0];

    (void) state;
    append_first(node, 2, 5, 1, (struct draft[]){{5, 1000}, {5, 1001}}, 2);
    bed_sync(node);
    assert_int_equal(bed_status(node, 1).durable_index, 3);
    append_first(node, 3, 6, 3, (struct draft[]){{6, 1002}, {6, 1003}}, 2);
    assert_int_equal(bed_status(node, 1).durable_index, 1);
    assert_int_equal(bed_status(node, 1).applied.index, 1);
    bed_sync_some(node, 2); /* a state and the first of them */
    assert_int_equal(bed_status(node, 1).durable_index, 2);
    bed_sync(node);
    assert_int_equal(bed_status(node, 1).applied.index, 3);
    bed_free(bed);
}

/* A request, and in the same step the news that another leads and has an entry in its place. */
static void test_deposed_in_a_step(void **state)
{
    struct bed *bed = bed_of_three(0);
    struct bed_node *old = bed_leader(bed);
    struct sb_group_status before = bed_status(old, 1);
    struct wire_peer_message message = {.group = 1,
                                        .from = follower_of(old)->id,
                                        .to = old->id,
                                        .term = before.term + 1,
                                        .index = before.last_index,
                                        .index_term = before.term,
                                        .commit = before.commit_index};
    struct draft barrier = {before.term + 1, before.applied.version + (UINT64_C(1) << 30)};
    struct sb_event events[2] = {{.kind = SB_EVENT_REQUEST, .group = 1, .token = ++bed->token},
                                 {.kind = SB_EVENT_MESSAGE, .token = message.from}};

    (void) state;
    events[0].bytes = bed_copy(bed_write_request(bed->storage, WIRE_WRITE_PUT, 1, sim_item(1, 0), none));
    events[1].bytes = make_append(message, &barrier, 1);
    (void) bed_step(old, events, 2);
    assert_true(bed_result(bed, bed->token) == WIRE_E_UNKNOWN_OUTCOME);
    assert_int_equal(bed_hint(bed, bed->token), message.from);
    assert_int_equal(old->record_count, 2); /* its state, and the other's entry alone */
    assert_true(old->records[1].term == message.term);
    assert_true(bed_status(old, 1).last_index == before.last_index + 1);
    bed_free(bed);
}

static void test_hostile_messages(void **state)
{
    struct bed *bed = bed_of_node();
    struct bed_node *node = &bed->nodes[0];
    uint64_t version = bed_status(node, 1).applied.version + 100;
    struct draft drafts[] = {{5, version}, {5, version + 1}};
    struct wire_peer_message message = {
        .group = 1, .from = 2, .to = 1, .term = 5, .index = 1, .index_term = 1, .commit = 1};
    struct wire_peer_message wrong;
    struct wire_span bytes;

    (void) state;
    bed->now_ms += 100;
    hear(node, 3, make_append(message, drafts, 2)); /* another has sent it */
    for (int i = 0; i < 4; i++) {
        wrong = message;
        if (i == 0)
            wrong.to = 3;
        else if (i == 1)
            wrong.group = 2;
        else if (i == 2)
            wrong.from = 3;
        else
            wrong.index = 0;
        hear(node, 2, make_append(wrong, drafts, 2));
    }
    assert_int_equal(bed_status(node, 1).last_index, 1);
    bytes = make_append(message, drafts, 2);
    for (size_t size = 0; size < bytes.size; size++)
        hear(node, 2, (struct wire_span){bytes.data, size});
    for (size_t at = 0; at < bytes.size; at++) {
        ((uint8_t *) bytes.data)[at] ^= 0x10;
        hear(node, 2, bytes);
        ((uint8_t *) bytes.data)[at] ^= 0x10;
    }
    assert_int_equal(bed_status(node, 1).last_index, 1);
    /* Versions that do not grow: among themselves, behind what is applied, behind what is in flight. */
    append_first(node, 2, 5, 1, (struct draft[]){{5, version}, {5, version}}, 2);
    append_first(node, 2, 5, 1, (struct draft[]){{5, 1}}, 1);
    assert_int_equal(bed_status(node, 1).last_index, 1);
    append_first(node, 2, 5, 1, drafts, 1);
    assert_int_equal(bed_status(node, 1).last_index, 2);
    append_first(node, 2, 5, 1, (struct draft[]){{5, version - 2}, {5, version - 1}}, 2);
    assert_int_equal(bed_status(node, 1).last_index, 2);
    hear(node, 2, bytes);
    assert_int_equal(bed_status(node, 1).last_index, 3);
    bed_sync(node);
    bed_free(bed);
}

/* ---- the log is cut ---- */

static void test_cut_alone(void **state)
{
    struct bed *bed = bed_of_one();
    struct bed_node *node = &bed->nodes[0];
    struct bed_log *log = &node->logs[1];

    (void) state;
    for (int64_t key = 0; key < 5; key++)
        (void) bed_put(node, key, key);
    bed_run(bed);
    bed_flush(node, 1);
    assert_int_equal(log->count, 1); /* the last one stays */
    assert_int_equal(bed_last(log), bed_status(node, 1).applied.index);
    /* Nothing of what is not durable in the store goes. */
    (void) bed_put(node, 7, 7);
    bed_run(bed);
    (void) bed_event(node, (struct sb_event){.kind = SB_EVENT_FLUSHED, .group = 1, .index = log->first, .token = 2});
    assert_int_equal(log->count, 2);
    (void) bed_event(node, (struct sb_event){.kind = SB_EVENT_FLUSHED, .group = 1, .index = 1000, .token = 2});
    (void) bed_event(node, (struct sb_event){.kind = SB_EVENT_FLUSHED, .group = 9, .index = 5, .token = 2});
    assert_int_equal(log->count, 2);
    bed_crash(node);
    assert_int_equal(bed_open(node, 1), WIRE_OK);
    assert_int_equal(bed_value(node, bed->storage, 7), 7);
    bed_free(bed);
}

static void test_cut_with_others(void **state)
{
    struct bed *bed = bed_of_three(3);
    struct bed_node *leader = bed_leader(bed);
    struct bed_node *slow = follower_of(leader);
    struct bed_log *log = &leader->logs[1];

    (void) state;
    sleep_node(slow, true);
    for (int64_t key = 0; key < 3; key++)
        (void) bed_put(leader, key, key);
    bed_run(bed);
    bed_flush(leader, 1);
    assert_int_equal(log->count, 4);
    assert_int_equal(leader->cut_count, 1);
    sleep_node(slow, false); /* what it is missing was kept for it */
    bed_elapse(bed, 3 * BED_HEARTBEAT_MS);
    assert_int_equal(slow->install_count, 0);
    bed_check_alike(bed);
    bed_crash(leader);
    assert_int_equal(bed_open(leader, 1), WIRE_OK);
    bed_elapse(bed, 3 * BED_ELECTION_MS);
    bed_check_alike(bed);
    bed_free(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replicated),
        cmocka_unit_test(test_majority),
        cmocka_unit_test(test_votes_are_durable),
        cmocka_unit_test(test_large_and_late),
        cmocka_unit_test(test_members_restart),
        cmocka_unit_test(test_deposed),
        cmocka_unit_test(test_resign),
        cmocka_unit_test(test_resign_in_vain),
        cmocka_unit_test(test_resign_alone),
        cmocka_unit_test(test_entry_comes_back),
        cmocka_unit_test(test_hostile_messages),
        cmocka_unit_test(test_durable_entry_replaced),
        cmocka_unit_test(test_deposed_in_a_step),
        cmocka_unit_test(test_cut_alone),
        cmocka_unit_test(test_cut_with_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
