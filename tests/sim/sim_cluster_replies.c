/* See sim_cluster_world.h. */
#include "sim_cluster_world.h"

/* ---- what was promised ---- */

static void verify_done(struct sim_cluster *cluster, const struct sim_op *op, uint64_t version)
{
    int64_t value;

    if (op->count > 0 && version <= op->after)
        sim_cluster_fail(cluster, "version %llx is not above %llx, which was acknowledged before",
                         (unsigned long long) version, (unsigned long long) op->after);
    for (size_t i = 0; i < op->count; i++) {
        const struct sim_change *change = &op->changes[i];
        long long key = change->key;

        if (!sim_model_at(cluster->model, change->key, version, &value) || value != change->value)
            sim_cluster_fail(cluster, "key %lld lacks value %lld, promised at %llx", key, (long long) change->value,
                             (unsigned long long) version);
        value = sim_model_value(cluster->model, change->key, version - 1, NULL);
        if (change->old_known && value != change->old)
            sim_cluster_fail(cluster, "key %lld was said to have %lld before %llx, but had %lld", key,
                             (long long) change->old, (unsigned long long) version, (long long) value);
    }
}

/* How many of its values are there, and since when. */
static size_t count_found(struct sim_cluster *cluster, const struct sim_op *op, size_t *wanted, uint64_t *version)
{
    size_t found = 0;
    uint64_t since;

    *wanted = 0;
    for (size_t i = 0; i < op->count; i++) {
        if (op->changes[i].value == SIM_ABSENT)
            continue;
        ++*wanted;
        if (!sim_model_find(cluster->model, op->changes[i].key, op->changes[i].value, &since))
            continue;
        if (found > 0 && since != *version)
            sim_cluster_fail(cluster, "a transaction has two versions");
        *version = since;
        found++;
    }
    return found;
}

void sim_cluster_verify(struct sim_cluster *cluster)
{
    for (size_t i = 0; i < cluster->op_count && !cluster->failed; i++) {
        const struct sim_op *op = &cluster->ops[i];
        uint64_t version = 0;
        size_t wanted;
        size_t found;

        if (op->fate == DONE && op->version != 0) {
            verify_done(cluster, op, op->version);
            continue;
        }
        found = count_found(cluster, op, &wanted, &version);
        if (op->fate == OPEN)
            sim_cluster_fail(cluster, "write %zu has not ended", i);
        if (op->fate == DONE && found != wanted)
            sim_cluster_fail(cluster, "a transaction that Postgres committed is not there");
        if (op->fate == NEVER && found > 0)
            sim_cluster_fail(cluster, "key %lld has a value that was refused or aborted",
                             (long long) op->changes[0].key);
        if (found != 0 && found != wanted)
            sim_cluster_fail(cluster, "%zu of %zu values of one transaction survived", found, wanted);
        if (op->fate == MAYBE && found > 0)
            verify_done(cluster, op, version);
    }
}

/* ---- answers on their way ---- */

static void answer(struct sim_cluster *cluster, struct sim_client *client, struct wire_span bytes, int lost)
{
    free(client->reply);
    client->reply = NULL;
    client->lost = lost;
    if (bytes.size > 0) {
        client->reply = malloc(bytes.size);
        if (!client->reply)
            abort();
        memcpy(client->reply, bytes.data, bytes.size);
    }
    client->reply_size = bytes.size;
    client->reply_us = cluster->now_us + sim_between(cluster, 50, 1500);
}

void sim_clients_answer(struct sim_node *node, const struct sb_reply *reply)
{
    struct sim_cluster *cluster = node->cluster;
    size_t at = reply->token & 0xff; /* nobody's: of a decision by recovery */
    struct sim_client *client = &cluster->clients[at < CLIENTS ? at : 0];
    struct wire_reply opened;

    if (wire_reply_open(reply->bytes.data, reply->bytes.size, &opened) != WIRE_OK) {
        sim_cluster_fail(cluster, "a reply is malformed");
        return;
    }
    if (at >= CLIENTS || !client->waiting || client->token != reply->token)
        return;
    if (client->reply_us != NEVER_US)
        sim_cluster_fail(cluster, "a request is answered twice");
    if (opened.status == WIRE_OK &&
        opened.snapshot > sim_model_version_of(cluster->model, sim_model_last(cluster->model)))
        sim_cluster_fail(cluster, "version %llx is acknowledged and not applied anywhere",
                         (unsigned long long) opened.snapshot);
    if (opened.status == WIRE_OK && opened.snapshot > cluster->acknowledged)
        cluster->acknowledged = opened.snapshot;
    answer(cluster, client, reply->bytes, WIRE_OK);
}

void sim_clients_lost(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;

    for (size_t i = 0; i < CLIENTS; i++) {
        struct sim_client *client = &cluster->clients[i];

        if (client->waiting && client->asked + 1 == node->id && client->arrival_us == NEVER_US &&
            client->reply_us == NEVER_US)
            answer(cluster, client, (struct wire_span){NULL, 0}, WIRE_E_UNKNOWN_OUTCOME);
    }
}

/* Planted: a condition is refused by the newest value that is on its way to the log. */
static bool refuse_early(struct sim_cluster *cluster, struct sim_client *client)
{
    const struct sim_node *node = &cluster->nodes[client->asked];
    uint8_t bytes[4096];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_reply header = {.status = WIRE_E_CONDITION};

    if (client->stage != WRITING || !client->conditional || !node->status.leads)
        return false;
    for (uint64_t index = node->status.last_index; index > node->status.applied.index; index--) {
        const struct sim_record *record = sim_journal_newest(&node->journal, index);
        struct wire_effect effect;
        struct wire_entry entry;

        if (!record || wire_entry_open(record->bytes, record->size, &entry) != WIRE_OK || entry.transaction != 0)
            continue;
        while (wire_entry_next(&entry, &effect) == WIRE_OK) {
            if (effect.kind != WIRE_EFFECT_PUT || sim_key_number(effect.key) != client->sent[0].key)
                continue;
            wire_reply_write(&w, &header);
            wire_write_u8(&w, 1);
            wire_write_span(&w, effect.item.data, effect.item.size);
            answer(cluster, client, (struct wire_span){bytes, w.size}, WIRE_OK);
            return true;
        }
    }
    return false;
}

void sim_cluster_client_arrive(struct sim_cluster *cluster, struct sim_client *client)
{
    struct sim_node *node = &cluster->nodes[client->asked];

    client->arrival_us = NEVER_US;
    if (!node->up)
        answer(cluster, client, (struct wire_span){NULL, 0}, WIRE_E_DOWN);
    else if (cluster->plant != PLANT_REFUSAL_EARLY || !refuse_early(cluster, client))
        sim_node_tell(node, (struct sb_event){.kind = SB_EVENT_REQUEST,
                                              .group = WIRE_GROUP_LOCAL,
                                              .token = client->token,
                                              .bytes = {client->request, client->request_size}});
    free(client->request);
    client->request = NULL;
}

/* ---- answers taken ---- */

static int64_t image_value(struct wire_reader *body)
{
    return wire_read_u8(body) ? sim_item_value(wire_read_span(body)) : SIM_ABSENT;
}

/* What a reply tells was so between question and answer. */
static void check_told(struct sim_cluster *cluster, const struct sim_client *client, int64_t key, int64_t value)
{
    if (!sim_model_had(cluster->model, key, value, client->floor, UINT64_MAX))
        sim_cluster_fail(cluster, "node %zu says that key %lld has %lld, which it had not since %llx",
                         client->asked + 1, (long long) key, (long long) value, (unsigned long long) client->floor);
}

static void unexpected(struct sim_cluster *cluster, const struct sim_client *client, int status)
{
    sim_cluster_fail(cluster, "a client in stage %d is told %s", (int) client->stage, wire_error_name(status));
}

static bool knows_no_leader(int status)
{
    return status == WIRE_E_NOT_LEADER || status == WIRE_E_DOWN || status == WIRE_E_UNKNOWN_OUTCOME;
}

static void follow_hint(struct sim_cluster *cluster, struct sim_client *client, int status, uint64_t leader)
{
    if (!knows_no_leader(status))
        return;
    if (leader >= 1 && leader <= NODES && !sim_one_in(cluster, 10))
        client->believed = leader - 1;
    else
        client->believed = sim_below(cluster, NODES);
}

static void written(struct sim_cluster *cluster, struct sim_client *client, const struct wire_reply *reply)
{
    struct sim_op *op = &cluster->ops[client->op];
    struct wire_reader body = reply->body;
    bool changed = false;

    if (wire_read_varint(&body) != client->sent_count)
        sim_cluster_fail(cluster, "a reply has another count");
    op->count = 0;
    for (size_t i = 0; i < client->sent_count; i++) {
        struct sim_change *change = &client->sent[i];
        bool existed = wire_read_u8(&body);

        change->old_known = true;
        change->old = image_value(&body);
        if ((change->old != SIM_ABSENT) != existed || image_value(&body) != change->value)
            sim_cluster_fail(cluster, "a reply contradicts itself");
        if (i == 0 && client->conditional && change->old != client->expected)
            sim_cluster_fail(cluster, "key %lld had %lld, the condition wanted %lld", (long long) change->key,
                             (long long) change->old, (long long) client->expected);
        if (change->value == SIM_ABSENT && !existed) {
            check_told(cluster, client, change->key, SIM_ABSENT);
            continue;
        }
        changed = true;
        op->changes[op->count++] = *change;
    }
    op->version = reply->snapshot;
    op->fate = DONE;
    cluster->counts[MISFORTUNE_WRITE_DONE]++;
    if (changed != (reply->snapshot != 0))
        sim_cluster_fail(cluster, "a write has a version and no changes, or changes and no version");
    verify_done(cluster, op, op->version);
}

static void take_write(struct sim_cluster *cluster, struct sim_client *client, const struct wire_reply *reply)
{
    struct sim_op *op = &cluster->ops[client->op];
    struct wire_reader body = reply->body;

    switch (reply->status) {
    case WIRE_OK:
        written(cluster, client, reply);
        break;
    case WIRE_E_CONDITION:
        check_told(cluster, client, client->sent[0].key, image_value(&body));
        op->fate = NEVER;
        cluster->counts[MISFORTUNE_REFUSED]++;
        break;
    case WIRE_E_UNKNOWN_OUTCOME:
        op->fate = MAYBE;
        cluster->counts[MISFORTUNE_UNKNOWN]++;
        break;
    case WIRE_E_NOT_LEADER:
    case WIRE_E_DOWN:
    case WIRE_E_LOCKED:
    case WIRE_E_DISK_FULL:
        op->fate = NEVER;
        cluster->counts[MISFORTUNE_REFUSED]++;
        break;
    default:
        unexpected(cluster, client, reply->status);
    }
    sim_client_rest(cluster, client);
}

static void give_up(struct sim_cluster *cluster, struct sim_client *client, int status)
{
    cluster->ops[client->op].fate = NEVER;
    cluster->counts[MISFORTUNE_ORPHANED] += client->spilled != 0;
    if (knows_no_leader(status))
        sim_client_rest(cluster, client);
    else
        client->stage = ABORTING;
}

static void take_lock(struct sim_cluster *cluster, struct sim_client *client, const struct wire_reply *reply)
{
    struct wire_reader body = reply->body;

    if (reply->status != WIRE_OK) {
        if (!knows_no_leader(reply->status) && reply->status != WIRE_E_LOCKED && reply->status != WIRE_E_DISK_FULL)
            unexpected(cluster, client, reply->status);
        give_up(cluster, client, reply->status);
        return;
    }
    if (wire_read_varint(&body) != client->at_once)
        sim_cluster_fail(cluster, "a reply has another count");
    for (size_t i = 0; i < client->at_once; i++) {
        struct sim_change *change = &client->sent[client->locked++];

        wire_read_u8(&body);
        change->old = image_value(&body);
        wire_read_u8(&body);
        check_told(cluster, client, change->key, change->old);
    }
    if (client->locked == client->sent_count && client->idles)
        client->next_us = cluster->now_us + sim_between(cluster, 100000, 4000000);
}

static void take_spill(struct sim_cluster *cluster, struct sim_client *client, const struct wire_reply *reply)
{
    struct wire_reader body = reply->body;

    if (reply->status == WIRE_OK) {
        client->spilled = wire_read_u64(&body);
        if (sim_one_in(cluster, 4))
            client->next_us = cluster->now_us + sim_between(cluster, 100000, 5000000);
        return;
    }
    if (!knows_no_leader(reply->status) && reply->status != WIRE_E_NOT_LOCKED && reply->status != WIRE_E_DISK_FULL)
        unexpected(cluster, client, reply->status);
    give_up(cluster, client, reply->status);
}

static void committed(struct sim_cluster *cluster, struct sim_client *client, uint64_t version)
{
    struct sim_op *op = &cluster->ops[client->op];

    op->fate = DONE;
    op->version = version;
    if (version != 0)
        verify_done(cluster, op, version);
    cluster->counts[MISFORTUNE_TRANSFER_DONE]++;
    cluster->counts[MISFORTUNE_PREPARED_DONE] += op->prepares;
    cluster->counts[MISFORTUNE_SPILLED_DONE] += client->spilled != 0;
    sim_client_rest(cluster, client);
}

static void take_commit(struct sim_cluster *cluster, struct sim_client *client, const struct wire_reply *reply)
{
    struct sim_op *op = &cluster->ops[client->op];
    struct wire_reader body = reply->body;

    switch (reply->status) {
    case WIRE_OK:
        if (!client->prepares) {
            committed(cluster, client, wire_read_u64(&body));
            break;
        }
        client->stage = DECIDING;
        client->prepared = true;
        op->decided = !sim_one_in(cluster, 6);
        op->fate = op->decided ? OPEN : NEVER;
        if (client->vanishes) { /* who recovers tells the decision */
            op->fate = op->decided ? DONE : NEVER;
            sim_client_rest(cluster, client);
        }
        break;
    case WIRE_E_UNKNOWN_OUTCOME:
        cluster->counts[MISFORTUNE_UNKNOWN]++;
        op->fate = client->prepares ? NEVER : MAYBE;
        client->prepared = false;
        if (client->prepares)
            client->stage = DECIDING; /* Postgres aborts what it is not sure of */
        else
            sim_client_rest(cluster, client);
        break;
    case WIRE_E_NOT_LEADER:
    case WIRE_E_DOWN:
    case WIRE_E_NOT_LOCKED:
    case WIRE_E_NO_TRANSACTION:
    case WIRE_E_DISK_FULL:
        give_up(cluster, client, reply->status);
        break;
    default:
        unexpected(cluster, client, reply->status);
    }
}

static void take_decision(struct sim_cluster *cluster, struct sim_client *client, const struct wire_reply *reply)
{
    struct sim_op *op = &cluster->ops[client->op];
    struct wire_reader body = reply->body;

    if (reply->status == WIRE_OK && op->decided)
        committed(cluster, client, wire_read_u64(&body));
    else if (reply->status == WIRE_OK)
        sim_client_rest(cluster, client);
    else if (reply->status == WIRE_E_NO_TRANSACTION) {
        if (client->prepared)
            sim_cluster_fail(cluster, "node %zu does not know what was prepared", client->asked + 1);
        if (op->decided)
            committed(cluster, client, 0);
        else
            sim_client_rest(cluster, client);
    } else if (knows_no_leader(reply->status) || reply->status == WIRE_E_DISK_FULL) {
        if (reply->status == WIRE_E_UNKNOWN_OUTCOME)
            client->prepared = false; /* or not any more */
        client->next_us = cluster->now_us + sim_between(cluster, 1000, 300000);
    } else
        unexpected(cluster, client, reply->status);
}

static void take_abort(struct sim_cluster *cluster, struct sim_client *client, const struct wire_reply *reply)
{
    if (reply->status == WIRE_E_DISK_FULL) { /* it waited for the replica to lead */
        client->next_us = cluster->now_us + sim_between(cluster, 1000, 300000);
        return;
    }
    if (reply->status != WIRE_OK && reply->status != WIRE_E_NO_TRANSACTION && !knows_no_leader(reply->status))
        unexpected(cluster, client, reply->status);
    cluster->ops[client->op].fate = NEVER;
    sim_client_rest(cluster, client);
}

void sim_client_take(struct sim_cluster *cluster, struct sim_client *client)
{
    struct wire_reply reply = {.status = client->lost};

    client->reply_us = NEVER_US;
    client->waiting = false;
    if (client->lost == WIRE_OK)
        (void) wire_reply_open(client->reply, client->reply_size, &reply);
    follow_hint(cluster, client, reply.status, reply.status == WIRE_E_NOT_LEADER ? reply.snapshot : 0);
    client->next_us = cluster->now_us + sim_between(cluster, 100, 20000);
    switch (client->stage) {
    case WRITING:
        take_write(cluster, client, &reply);
        break;
    case LOCKING:
        take_lock(cluster, client, &reply);
        break;
    case SPILLING:
        take_spill(cluster, client, &reply);
        break;
    case COMMITTING:
        take_commit(cluster, client, &reply);
        break;
    case ABORTING:
        take_abort(cluster, client, &reply);
        break;
    case DECIDING:
        take_decision(cluster, client, &reply);
        break;
    case IDLE:
    case READING:
        break;
    }
    free(client->reply);
    client->reply = NULL;
}
