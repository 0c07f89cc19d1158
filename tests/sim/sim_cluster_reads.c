/*
 * See sim_cluster_world.h. Histories of replicas are compared by what can be read from them: which superseded images a
 * node still has depends on its own readers and compactions. The newest items, and the group's own range, are alike
 * byte for byte.
 */
#include "sim_cluster_world.h"

static int read_body(struct sim_node *node, struct wire_span bytes, struct sb_buffer *out)
{
    struct wire_request request;
    uint64_t snapshot;
    uint32_t detail;
    int status = wire_request_open(bytes.data, bytes.size, &request);

    if (status == WIRE_OK)
        status = sb_read_request(&node->reader, &request, out, &detail, &snapshot, &node->cluster->error);
    if (status != WIRE_OK)
        sim_cluster_fail(node->cluster, "node %llu cannot read: %s: %s", (unsigned long long) node->id,
                         wire_error_name(status), node->cluster->error.text);
    return status;
}

/* Keys [first, last), at a snapshot or (0) the newest; with intents of transaction `own`, unless that is 0. */
static bool read_keys(struct sim_node *node, uint64_t snapshot, uint64_t own, int64_t first, int64_t last,
                      int64_t *values)
{
    struct sb_buffer out = {0};
    struct wire_reader r;

    sim_begin((struct wire_request){.operation = WIRE_GET, .snapshot = snapshot, .storage_id = STORAGE}, &own,
              own != 0);
    sim_count((uint64_t) (last - first));
    for (int64_t key = first; key < last; key++) {
        struct wire_span span = sim_key(STORAGE, key);

        wire_write_span(&sim_request, span.data, span.size);
    }
    if (read_body(node, sim_end(), &out) != WIRE_OK) {
        sb_buffer_close(&out);
        return false;
    }
    r = wire_reader_of(out.data, out.size);
    wire_read_varint(&r);
    for (int64_t key = first; key < last; key++)
        values[key - first] = wire_read_u8(&r) ? sim_item_value(wire_read_span(&r)) : SIM_ABSENT;
    if (wire_reader_finish(&r) != WIRE_OK)
        sim_cluster_fail(node->cluster, "a GET's reply is malformed");
    sb_buffer_close(&out);
    return !node->cluster->failed;
}

/* All keys by a SCAN. */
static bool scan_keys(struct sim_node *node, uint64_t snapshot, int64_t *values)
{
    struct wire_request header = {.snapshot = snapshot, .storage_id = STORAGE};
    struct sb_buffer out = {0};
    struct wire_reader r;
    uint64_t rows;

    for (int64_t key = 0; key < KEYS; key++)
        values[key] = SIM_ABSENT;
    (void) sim_scan_request(header, NULL, 0, sim_one_in(node->cluster, 2), sim_key(STORAGE, 0), sim_key(STORAGE, KEYS),
                            0, 1 << 20);
    if (read_body(node, sim_end(), &out) == WIRE_OK) {
        r = wire_reader_of(out.data, out.size);
        if (wire_read_u8(&r))
            sim_cluster_fail(node->cluster, "a SCAN has more");
        rows = wire_read_u32(&r);
        for (uint64_t i = 0; i < rows && !r.failed; i++) {
            struct wire_span key = wire_read_span(&r);

            values[r.failed ? 0 : sim_key_number(key)] = sim_item_value(wire_read_span(&r));
        }
        if (wire_reader_finish(&r) != WIRE_OK)
            sim_cluster_fail(node->cluster, "a SCAN's reply is malformed");
    }
    sb_buffer_close(&out);
    return !node->cluster->failed;
}

static void check_snapshot(struct sim_cluster *cluster, uint64_t node, uint64_t snapshot, const int64_t *values)
{
    int64_t sum = 0;
    size_t accounts = 0;

    for (int64_t key = 0; key < KEYS; key++) {
        int64_t wanted = sim_model_value(cluster->model, key, snapshot, NULL);

        if (values[key] != wanted)
            sim_cluster_fail(cluster, "node %llu reads %lld from key %lld at %llx, should %lld",
                             (unsigned long long) node, (long long) values[key], (long long) key,
                             (unsigned long long) snapshot, (long long) wanted);
        if (key < ACCOUNTS) {
            sum += sim_balance(values[key]);
            accounts += values[key] != SIM_ABSENT;
        }
    }
    if (sum != (accounts > 0 ? TOTAL : 0) || accounts % ACCOUNTS != 0)
        sim_cluster_fail(cluster, "node %llu finds %lld at %llx", (unsigned long long) node, (long long) sum,
                         (unsigned long long) snapshot);
}

static bool read_snapshot(struct sim_node *node, uint64_t snapshot, int64_t *values)
{
    if (sim_one_in(node->cluster, 3))
        return scan_keys(node, snapshot, values);
    return read_keys(node, snapshot, 0, 0, KEYS, values);
}

/* ---- stale reads ---- */

void sim_read_stale(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    uint64_t *held = &node->held[sim_below(cluster, HELD_MAX)];
    uint64_t snapshot = node->applied_version;
    int64_t values[KEYS];

    if (!node->up || node->resume_us > cluster->now_us || node->checkpoint.go || snapshot == 0)
        return;
    if (read_snapshot(node, snapshot, values))
        check_snapshot(cluster, node->id, snapshot, values);
    cluster->counts[MISFORTUNE_STALE_READ]++;
    if (*held != 0 && read_snapshot(node, *held, values)) {
        check_snapshot(cluster, node->id, *held, values);
        cluster->counts[MISFORTUNE_OLD_READ]++;
    }
    if (*held == 0 || sim_one_in(cluster, 4))
        *held = sim_one_in(cluster, 4) ? 0 : snapshot;
}

/* ---- own intents ---- */

/* Whoever has spilled sees that, where it is applied, and what is committed; nothing of anybody else's. */
void sim_read_own(struct sim_cluster *cluster, const struct sim_client *client)
{
    struct sim_node *node = &cluster->nodes[sim_below(cluster, NODES)];
    uint64_t snapshot = node->applied_version;
    int64_t values[ACCOUNTS];

    if (!node->up || node->resume_us > cluster->now_us || node->checkpoint.go || snapshot == 0 ||
        !read_keys(node, snapshot, client->spilled, 0, ACCOUNTS, values))
        return;
    cluster->counts[MISFORTUNE_OWN_READ]++;
    for (int64_t key = 0; key < ACCOUNTS; key++) {
        bool right = values[key] == sim_model_value(cluster->model, key, snapshot, NULL);

        for (size_t i = 0; i + 1 < client->sent_count; i++)
            right = right || (client->sent[i].key == key && client->sent[i].value == values[key]);
        if (!right)
            sim_cluster_fail(cluster, "a transaction reads %lld from key %lld on node %llu, which is not its own",
                             (long long) values[key], (long long) key, (unsigned long long) node->id);
    }
}

/* ---- strong reads ---- */

void sim_client_begin_read(struct sim_cluster *cluster, struct sim_client *client)
{
    client->stage = READING;
    client->asked = client->believed;
    client->floor = cluster->acknowledged;
    client->read_key = sim_one_in(cluster, 3) ? -1 : (int64_t) sim_below(cluster, KEYS);
    client->has_read = false;
    client->next_us = cluster->now_us + sim_between(cluster, 50, 2000);
}

static void fail_to_read(struct sim_cluster *cluster, struct sim_client *client, const struct sim_node *node)
{
    if (node->up && node->status.leader != 0 && node->status.leader != node->id)
        client->believed = node->status.leader - 1;
    else if (!node->up || !node->status.leads)
        client->believed = sim_below(cluster, NODES);
    sim_client_rest(cluster, client);
}

/* The data first, then the lease. */
static void read_data(struct sim_cluster *cluster, struct sim_client *client, struct sim_node *node)
{
    bool whole = client->read_key < 0;

    client->has_read = true;
    client->read_term = node->status.term;
    client->read_version = node->applied_version;
    client->next_us = cluster->now_us + sim_below(cluster, 2000);
    if (whole)
        (void) read_snapshot(node, client->read_version, client->read_values);
    else
        (void) read_keys(node, 0, 0, client->read_key, client->read_key + 1, client->read_values);
}

static bool has_lease(const struct sim_node *node)
{
    uint64_t now = sim_node_boot_ms(node);
    struct sb_group_status status;

    if (node->cluster->plant == PLANT_LEASE_UNCHECKED)
        return true;
    (void) sb_shard_status(node->shard, WIRE_GROUP_LOCAL, &status);
    return now < status.lease_until_ms + (node->cluster->plant == PLANT_LEASE_LONG ? 3 * ELECTION_MS : 0);
}

static void check_read(struct sim_cluster *cluster, struct sim_client *client)
{
    cluster->counts[MISFORTUNE_STRONG_READ]++;
    if (client->read_key >= 0) {
        if (!sim_model_had(cluster->model, client->read_key, client->read_values[0], client->floor, UINT64_MAX))
            sim_cluster_fail(cluster, "node %zu reads %lld from key %lld, which it had not since %llx",
                             client->asked + 1, (long long) client->read_values[0], (long long) client->read_key,
                             (unsigned long long) client->floor);
        return;
    }
    if (client->read_version < client->floor)
        sim_cluster_fail(cluster, "node %zu reads at %llx, acknowledged was %llx", client->asked + 1,
                         (unsigned long long) client->read_version, (unsigned long long) client->floor);
    check_snapshot(cluster, client->asked + 1, client->read_version, client->read_values);
    if (client->read_version > cluster->acknowledged)
        cluster->acknowledged = client->read_version;
}

void sim_client_go_on_reading(struct sim_cluster *cluster, struct sim_client *client)
{
    struct sim_node *node = &cluster->nodes[client->asked];

    if (node->up && node->resume_us > cluster->now_us) {
        client->next_us = node->resume_us + sim_below(cluster, 1000);
        return;
    }
    if (!node->up || !node->status.leads || (client->has_read && node->status.term != client->read_term)) {
        fail_to_read(cluster, client, node);
        return;
    }
    if (!client->has_read) {
        read_data(cluster, client, node);
        return;
    }
    if (!has_lease(node)) {
        cluster->counts[MISFORTUNE_LEASELESS]++;
        fail_to_read(cluster, client, node);
        return;
    }
    check_read(cluster, client);
    sim_client_rest(cluster, client);
}

/* ---- replicas ---- */

void sim_node_compare(struct sim_node *left, struct sim_node *right)
{
    struct sim_cluster *cluster = left->cluster;
    struct wire_span none = {NULL, 0};
    struct sb_iterator *l;
    struct sb_iterator *r;
    int status = left->store.iterate(left->store.self, NULL, SB_ITEMS, none, none, &l, &cluster->error);

    if (status == WIRE_OK)
        status = right->store.iterate(right->store.self, NULL, SB_ITEMS, none, none, &r, &cluster->error);
    if (status != WIRE_OK)
        abort(); /* a store in memory */
    l->seek(l->self, none);
    r->seek(r->self, none);
    while (l->valid(l->self) && r->valid(r->self) && !cluster->failed) {
        if (wire_span_compare(l->key(l->self), r->key(r->self)) != 0 ||
            wire_span_compare(l->value(l->self), r->value(r->self)) != 0)
            sim_cluster_fail(cluster, "nodes %llu and %llu differ at entry %llu", (unsigned long long) left->id,
                             (unsigned long long) right->id, (unsigned long long) left->status.applied.index);
        l->next(l->self);
        r->next(r->self);
    }
    if (l->valid(l->self) || r->valid(r->self))
        sim_cluster_fail(cluster, "nodes %llu and %llu differ at entry %llu", (unsigned long long) left->id,
                         (unsigned long long) right->id, (unsigned long long) left->status.applied.index);
    l->close(l->self);
    r->close(r->self);
}
