/*
 * See sim_cluster_world.h. A client has one request under way at a time, at one node; it waits until the node answers or
 * goes down, but may give up a bare write. Values are unique.
 */
#include "sim_cluster_world.h"

static const struct wire_span none;

/* ---- requests ---- */

static uint64_t owner_of(const struct sim_cluster *cluster, const struct sim_client *client)
{
    return (uint64_t) (client - cluster->clients + 1) << 32 | client->number;
}

struct wire_request sim_client_header(const struct sim_cluster *cluster, const struct sim_client *client,
                                      enum wire_operation operation)
{
    return (struct wire_request){
        .operation = operation, .subtransaction = 1, .owner = owner_of(cluster, client), .storage_id = STORAGE};
}

/* Two clients never wait for long, and find a new leader while the old one still believes in itself; two read most of
 * the time. */
static bool is_hasty(const struct sim_cluster *cluster, const struct sim_client *client)
{
    return client - cluster->clients < 2;
}

static bool is_reader(const struct sim_cluster *cluster, const struct sim_client *client)
{
    return client - cluster->clients >= CLIENTS - 2;
}

static void begin(struct sim_cluster *cluster, struct sim_client *client, enum wire_operation operation, uint16_t flags)
{
    struct wire_request header = sim_client_header(cluster, client, operation);

    header.flags = flags;
    sim_begin(header, &client->spilled, client->spilled != 0);
}

void sim_client_send(struct sim_cluster *cluster, struct sim_client *client, size_t node)
{
    struct wire_span bytes = sim_end();

    free(client->request);
    client->request = malloc(bytes.size);
    if (!client->request)
        abort();
    memcpy(client->request, bytes.data, bytes.size);
    client->request_size = bytes.size;
    client->arrival_us = cluster->now_us + sim_between(cluster, 50, 1500);
    client->asked = node;
    client->token = ++cluster->next_token << 8 | (uint64_t) (client - cluster->clients);
    client->waiting = true;
    client->floor = cluster->acknowledged;
    client->next_us = NEVER_US;
    if (client->stage == WRITING && is_hasty(cluster, client))
        client->next_us = cluster->now_us + sim_between(cluster, 20000, 300000);
    else if (client->stage == WRITING && sim_one_in(cluster, 2))
        client->next_us = cluster->now_us + sim_between(cluster, 20000, 3000000);
}

void sim_client_rest(struct sim_cluster *cluster, struct sim_client *client)
{
    client->stage = IDLE;
    client->waiting = client->has_read = false;
    client->spilled = 0;
    client->locked = 0;
    client->next_us = cluster->now_us + sim_between(cluster, 1000, sim_one_in(cluster, 4) ? 100000 : 20000);
}

static size_t new_op(struct sim_cluster *cluster)
{
    if (cluster->op_count == OPS_MAX)
        abort();
    cluster->ops[cluster->op_count] = (struct sim_op){.fate = OPEN};
    return cluster->op_count++;
}

static struct wire_span item_of(int64_t value)
{
    return sim_item(value, value / UNIT % 31 == 0 ? 1500 : 0);
}

/* ---- bare writes ---- */

static void send_write(struct sim_cluster *cluster, struct sim_client *client)
{
    static const enum wire_write_kind kinds[] = {WIRE_WRITE_PUT, WIRE_WRITE_PUT, WIRE_WRITE_UPDATE, WIRE_WRITE_DELETE};
    enum wire_write_kind kind = kinds[sim_below(cluster, 4)];
    int64_t first = (int64_t) sim_below(cluster, KEYS - ACCOUNTS);
    struct sim_op *op;

    client->stage = WRITING;
    client->op = new_op(cluster);
    op = &cluster->ops[client->op];
    client->sent_count = sim_one_in(cluster, 4) ? 2 : 1;
    client->conditional = !sim_one_in(cluster, 4);
    begin(cluster, client, WIRE_WRITE, 0);
    sim_count(client->sent_count);
    for (size_t i = 0; i < client->sent_count; i++) {
        int64_t key = ACCOUNTS + (first + (int64_t) i * 5) % (KEYS - ACCOUNTS);
        int64_t value = kind == WIRE_WRITE_DELETE ? SIM_ABSENT : cluster->next_serial++ * UNIT;
        uint8_t flags = WIRE_RETURN_OLD | WIRE_RETURN_NEW;
        struct wire_span condition = none;

        if (client->conditional && i == 0) {
            client->expected = sim_model_value(cluster->model, key, UINT64_MAX, NULL);
            condition = client->expected == SIM_ABSENT ? sim_condition(WIRE_CONDITION_NOT_EXISTS)
                                                       : sim_equals(client->expected);
        }
        client->sent[i] = (struct sim_change){.key = key, .value = value};
        sim_op(kind, flags, sim_key(STORAGE, key),
               kind == WIRE_WRITE_PUT      ? item_of(value)
               : kind == WIRE_WRITE_UPDATE ? sim_update(value)
                                           : none,
               condition);
        if (value != SIM_ABSENT)
            op->changes[op->count++] = client->sent[i];
    }
    op->after = cluster->acknowledged;
    sim_client_send(cluster, client, client->believed);
}

/* ---- transactions ---- */

static void begin_transfer(struct sim_cluster *cluster, struct sim_client *client)
{
    int64_t first = (int64_t) sim_below(cluster, ACCOUNTS);

    client->number++;
    client->op = new_op(cluster);
    client->home = client->believed;
    client->sent_count = sim_one_in(cluster, 3) ? 3 : 2;
    client->at_once = sim_one_in(cluster, 2) ? client->sent_count : 1;
    for (size_t i = 0; i < client->sent_count; i++)
        client->sent[i] = (struct sim_change){.key = (first + (int64_t) i * 3) % ACCOUNTS, .old_known = true};
    client->spills = sim_one_in(cluster, 3);
    client->prepares = sim_one_in(cluster, 3);
    client->aborts = sim_one_in(cluster, 8);
    client->idles = sim_one_in(cluster, 12);
    client->vanishes = sim_one_in(cluster, 8);
}

static void send_lock(struct sim_cluster *cluster, struct sim_client *client)
{
    size_t count = client->at_once;

    client->stage = LOCKING;
    begin(cluster, client, WIRE_WRITE, WIRE_TRANSACTIONAL);
    sim_count(count);
    for (size_t i = 0; i < count; i++)
        sim_op(WIRE_WRITE_LOCK, WIRE_RETURN_OLD, sim_key(STORAGE, client->sent[client->locked + i].key), none, none);
    sim_client_send(cluster, client, client->home);
}

/* Money moves from the first account to the others; what there is stays. */
static void choose_values(struct sim_cluster *cluster, struct sim_client *client)
{
    int64_t left = sim_balance(client->sent[0].old);

    for (size_t i = 1; i < client->sent_count; i++) {
        int64_t amount = (int64_t) sim_below(cluster, (uint64_t) left + 1);

        left -= amount;
        client->sent[i].value = cluster->next_serial++ * UNIT + sim_balance(client->sent[i].old) + amount;
    }
    client->sent[0].value = cluster->next_serial++ * UNIT + left;
}

static void add_effects(const struct sim_client *client, size_t from, size_t to)
{
    sim_count(to - from);
    for (size_t i = from; i < to; i++)
        sim_effect(sim_key(STORAGE, client->sent[i].key), item_of(client->sent[i].value));
}

static void send_spill(struct sim_cluster *cluster, struct sim_client *client)
{
    client->stage = SPILLING;
    begin(cluster, client, WIRE_SPILL, 0);
    wire_write_u64(&sim_request, client->spilled);
    add_effects(client, 0, client->sent_count - 1);
    sim_client_send(cluster, client, client->home);
}

static void send_abort(struct sim_cluster *cluster, struct sim_client *client)
{
    client->stage = ABORTING;
    begin(cluster, client, WIRE_ABORT, 0);
    sim_count(0);
    sim_client_send(cluster, client, client->home);
}

static void send_commit(struct sim_cluster *cluster, struct sim_client *client)
{
    struct sim_op *op = &cluster->ops[client->op];

    client->stage = COMMITTING;
    op->prepares = client->prepares;
    begin(cluster, client, WIRE_COMMIT, 0);
    wire_write_u64(&sim_request, client->prepares ? client->op + 1 : 0);
    add_effects(client, client->spilled ? client->sent_count - 1 : 0, client->sent_count);
    memcpy(op->changes, client->sent, sizeof(op->changes));
    op->count = client->sent_count;
    op->after = cluster->acknowledged;
    sim_client_send(cluster, client, client->home);
}

static void build_decision(struct sim_cluster *cluster, uint64_t decider)
{
    bool commit = cluster->ops[decider - 1].decided;

    if (cluster->plant == PLANT_WRONG_DECISION)
        commit = sim_one_in(cluster, 2);
    sim_begin((struct wire_request){.operation = WIRE_DECIDE}, NULL, 0);
    wire_write_u64(&sim_request, decider);
    wire_write_u8(&sim_request, commit);
}

/* Postgres has decided. Any leader may be asked, as often as it takes. */
static void send_decide(struct sim_cluster *cluster, struct sim_client *client)
{
    build_decision(cluster, client->op + 1);
    sim_client_send(cluster, client, client->believed);
}

static void go_on_with_transfer(struct sim_cluster *cluster, struct sim_client *client)
{
    if (client->locked < client->sent_count)
        send_lock(cluster, client);
    else if (client->spills && !client->spilled) {
        choose_values(cluster, client);
        send_spill(cluster, client);
    } else if (client->spilled && !cluster->calm && !sim_one_in(cluster, 3)) {
        sim_read_own(cluster, client);
        client->next_us = cluster->now_us + sim_between(cluster, 1000, 500000);
    } else if (client->aborts)
        send_abort(cluster, client);
    else {
        if (!client->spilled)
            choose_values(cluster, client);
        send_commit(cluster, client);
    }
}

void sim_clients_recover(struct sim_cluster *cluster)
{
    struct sim_node *node = sim_cluster_leader(cluster);
    uint64_t decider = 0;

    if (!node || node->resume_us > cluster->now_us)
        return;
    while ((decider = sb_shard_prepared(node->shard, WIRE_GROUP_LOCAL, decider)) != 0) {
        bool cared = false;

        for (size_t i = 0; i < CLIENTS; i++)
            cared = cared || (cluster->clients[i].stage >= COMMITTING && cluster->clients[i].stage <= DECIDING &&
                              cluster->clients[i].op + 1 == decider);
        if (cared)
            continue;
        build_decision(cluster, decider);
        cluster->counts[MISFORTUNE_RECOVERED]++;
        sim_node_tell(
            node, (struct sb_event){
                      .kind = SB_EVENT_REQUEST, .group = WIRE_GROUP_LOCAL, .token = UINT64_MAX, .bytes = sim_end()});
    }
}

/* ---- what a client does ---- */

/* One in a while anybody is asked; more often anyone who claims to lead: most interesting when two do. */
static void choose_leader(struct sim_cluster *cluster, struct sim_client *client)
{
    size_t at = sim_below(cluster, NODES);

    if ((sim_one_in(cluster, 3) && cluster->nodes[at].up && cluster->nodes[at].status.leads) || sim_one_in(cluster, 30))
        client->believed = at;
}

static void begin_something(struct sim_cluster *cluster, struct sim_client *client)
{
    uint64_t dice = sim_below(cluster, 100);

    if (is_hasty(cluster, client) && dice < 75)
        dice = 0;
    if (is_reader(cluster, client) && !sim_one_in(cluster, 3))
        dice = 80;
    choose_leader(cluster, client);
    if (dice < 45)
        send_write(cluster, client);
    else if (dice < 75) {
        begin_transfer(cluster, client);
        go_on_with_transfer(cluster, client);
    } else if (dice < 92)
        sim_client_begin_read(cluster, client);
    else {
        sim_read_stale(&cluster->nodes[sim_below(cluster, NODES)]);
        sim_client_rest(cluster, client);
    }
}

void sim_cluster_client_act(struct sim_cluster *cluster, struct sim_client *client)
{
    if (client->waiting) { /* no longer: who knows what becomes of it */
        cluster->ops[client->op].fate = MAYBE;
        cluster->counts[MISFORTUNE_UNKNOWN]++;
        free(client->request);
        client->request = NULL;
        if (client->arrival_us != NEVER_US)
            cluster->ops[client->op].fate = NEVER;
        client->arrival_us = client->reply_us = NEVER_US;
        client->believed = sim_below(cluster, NODES);
        sim_client_rest(cluster, client);
        return;
    }
    client->next_us = NEVER_US;
    if (client->stage == READING)
        sim_client_go_on_reading(cluster, client);
    else if (client->stage == DECIDING)
        send_decide(cluster, client);
    else if (client->stage == ABORTING)
        send_abort(cluster, client);
    else if (client->stage != IDLE)
        go_on_with_transfer(cluster, client);
    else if (!cluster->calm)
        begin_something(cluster, client);
}

void sim_clients_open(struct sim_cluster *cluster)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        struct sim_client *client = &cluster->clients[i];

        client->arrival_us = client->reply_us = NEVER_US;
        client->next_us = cluster->now_us + sim_between(cluster, 1000, 100000);
        client->believed = sim_below(cluster, NODES);
    }
}

void sim_clients_close(struct sim_cluster *cluster)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        free(cluster->clients[i].request);
        free(cluster->clients[i].reply);
    }
}
