/*
 * Three replicas of a group over the real shard, by seed: clients write, lock, spill, prepare, commit and read, while
 * nodes crash, pause, resign and are cut off from each other, disks stall and clocks differ. See sim_cluster_world.h.
 *
 * Checked: all nodes apply the same entries; a term has one leader; what was acknowledged is there, at the version it was
 * promised, above everything acknowledged before it was sent, on top of what its client had been told; what was refused
 * or aborted never shows; what nobody knows happened whole or not at all; what a leader reads under its lease is not
 * older than what was acknowledged before; every snapshot, at leaders and followers, adds up; versions grow across
 * leaders. In the end, when nothing goes wrong any more, everything ends, all replicas are alike, and no lock, entry or
 * block of memory is left.
 *
 * sim_cluster [first seed [count]]   default 1 100; prints the seed and the reason of a failure, exit 1. Before them run
 * seeds that once failed; after them each fault of enum sim_plant is planted, and must be seen.
 */
#include "sim_cluster_world.h"

#include <stdarg.h>
#include <stdio.h>

#define LASTS_US UINT64_C(60000000)
#define CALMS_US UINT64_C(40000000)
#define PLANT_SEEDS 500

/* Each was a fault of the shard once. */
static const uint64_t regressions[] = {111, 165, 510, 530, 1713};

void sim_cluster_fail(struct sim_cluster *cluster, const char *format, ...)
{
    va_list arguments;
    int length;

    if (cluster->failed)
        return;
    cluster->failed = true;
    length = snprintf(cluster->reason, sizeof(cluster->reason), "at %.6f s: ", (double) cluster->now_us / 1e6);
    va_start(arguments, format);
    vsnprintf(cluster->reason + length, sizeof(cluster->reason) - (size_t) length, format, arguments);
    va_end(arguments);
}

/* ---- time ---- */

/* What happens next, and to whom. */
struct next {
    uint64_t due_us;
    enum {
        NOTHING,
        PACKET,
        STEP,
        SYNCED,
        FETCHED,
        RESTART,
        STOP,
        DOOM,
        INSTALL,
        ACT,
        ARRIVE,
        TAKE,
        FAULT,
        RECOVER,
        FLUSH
    } kind;
    size_t who;
    size_t which;
};

static void consider(struct next *next, uint64_t due_us, int kind, size_t who, size_t which)
{
    if (due_us < next->due_us)
        *next = (struct next){due_us, kind, who, which};
}

static void consider_node(struct next *next, const struct sim_cluster *cluster, size_t at)
{
    const struct sim_node *node = &cluster->nodes[at];
    uint64_t awake = node->resume_us > 0 ? node->resume_us + node->drowsy_us : 0;

    if (!node->up) {
        consider(next, node->restart_us, RESTART, at, 0);
        return;
    }
    consider(next, node->doom_us, DOOM, at, 0);
    consider(next, node->checkpoint.due_us, INSTALL, at, 0);
    consider(next, node->sync_us, SYNCED, at, 0);
    consider(next, node->step_us > awake ? node->step_us : awake, STEP, at, 0);
    consider(next, node->stop_us > awake ? node->stop_us : awake, STOP, at, 0);
    for (size_t i = 0; i < node->fetching_count; i++)
        consider(next, node->fetching[i].due_us > awake ? node->fetching[i].due_us : awake, FETCHED, at, i);
}

static struct next find_next(const struct sim_cluster *cluster)
{
    struct next next = {.due_us = NEVER_US};

    for (size_t i = 0; i < NODES; i++) {
        consider_node(&next, cluster, i);
        for (size_t k = 0; k < NODES; k++) {
            if (cluster->links[i][k].count > 0)
                consider(&next, cluster->links[i][k].packets[0].due_us, PACKET, i, k);
        }
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct sim_client *client = &cluster->clients[i];

        consider(&next, client->next_us, ACT, i, 0);
        consider(&next, client->arrival_us, ARRIVE, i, 0);
        consider(&next, client->reply_us, TAKE, i, 0);
    }
    consider(&next, cluster->fault_us, FAULT, 0, 0);
    consider(&next, cluster->recover_us, RECOVER, 0, 0);
    consider(&next, cluster->keep_us, FLUSH, 0, 0);
    return next;
}

static void stop(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;

    if (node->status.role == RG_LEADER && node->stop_us > cluster->now_us) {
        node->stop_us += 100000;
        return;
    }
    cluster->counts[MISFORTUNE_STOPPED]++;
    sim_node_crash(node, false, sim_between(cluster, 1000, 3000000));
}

static void advance(struct sim_cluster *cluster)
{
    struct next next = find_next(cluster);
    struct sim_node *node = next.kind >= STEP && next.kind <= INSTALL ? &cluster->nodes[next.who] : NULL;
    struct sim_client *client = next.kind >= ACT && next.kind <= TAKE ? &cluster->clients[next.who] : NULL;

    if (next.due_us > cluster->now_us)
        cluster->now_us = next.due_us;
    switch (next.kind) {
    case NOTHING:
        sim_cluster_fail(cluster, "nothing happens any more");
        break;
    case PACKET:
        sim_network_deliver(cluster, next.who, next.which);
        break;
    case STEP:
        sim_node_step(node);
        break;
    case SYNCED:
        sim_node_synced(node);
        break;
    case FETCHED:
        sim_node_fetched(node, next.which);
        break;
    case RESTART:
        sim_node_start(node);
        break;
    case STOP:
        stop(node);
        break;
    case DOOM:
        sim_faults_strike(node);
        break;
    case INSTALL:
        sim_install_act(node);
        break;
    case ACT:
        sim_cluster_client_act(cluster, client);
        break;
    case ARRIVE:
        sim_cluster_client_arrive(cluster, client);
        break;
    case TAKE:
        sim_client_take(cluster, client);
        break;
    case FAULT:
        sim_faults_act(cluster);
        break;
    case RECOVER:
        sim_clients_recover(cluster);
        cluster->recover_us = cluster->now_us + sim_between(cluster, 100000, 2000000);
        break;
    case FLUSH:
        node = &cluster->nodes[sim_below(cluster, NODES)];
        if (node->up)
            sim_node_flush(node);
        cluster->keep_us = cluster->now_us + sim_between(cluster, 100000, 2000000);
        break;
    }
    sim_arena_reset();
}

static void pass(struct sim_cluster *cluster, uint64_t lasts_us)
{
    uint64_t end = cluster->now_us + lasts_us;

    while (!cluster->failed && cluster->now_us < end)
        advance(cluster);
}

/* ---- a run ---- */

/* Sent until a node says that it was done; true: *body follows. */
static void insist(struct sim_cluster *cluster)
{
    struct sim_client *client = &cluster->clients[0];
    size_t size = sim_request.size;
    uint8_t *bytes = malloc(size);

    if (!bytes)
        abort();
    memcpy(bytes, sim_request_bytes, size);
    for (int attempt = 0; attempt < 1000 && !cluster->failed; attempt++) {
        struct sim_node *leader = sim_cluster_leader(cluster);
        uint64_t acknowledged = cluster->acknowledged;

        if (leader) {
            memcpy(sim_request_bytes, bytes, size);
            sim_request = wire_writer_of(sim_request_bytes, sizeof(sim_request_bytes));
            sim_request.size = size;
            sim_client_send(cluster, client, leader->id - 1);
        }
        for (int i = 0; i < 2000 && (!leader || client->waiting) && !cluster->failed; i++)
            advance(cluster);
        if (cluster->acknowledged != acknowledged)
            break;
    }
    free(bytes);
}

/* A storage, and the accounts in it. */
static void prepare(struct sim_cluster *cluster)
{
    sim_begin((struct wire_request){.operation = WIRE_STORAGE}, NULL, 0);
    wire_write_span(&sim_request, "relation", 8);
    insist(cluster);
    sim_begin((struct wire_request){.operation = WIRE_WRITE, .owner = 1, .storage_id = STORAGE}, NULL, 0);
    sim_count(ACCOUNTS);
    for (int64_t key = 0; key < ACCOUNTS; key++)
        sim_op(WIRE_WRITE_PUT, 0, sim_key(STORAGE, key), sim_item(cluster->next_serial++ * UNIT + OPENING, 0),
               (struct wire_span){NULL, 0});
    insist(cluster);
}

static bool is_at_rest(struct sim_cluster *cluster)
{
    struct sim_node *leader = sim_cluster_leader(cluster);

    if (!leader || leader->status.partition.locks != 0)
        return false;
    for (size_t i = 0; i < CLIENTS; i++) {
        if (cluster->clients[i].stage != IDLE)
            return false;
    }
    for (size_t i = 0; i < NODES; i++) {
        const struct sim_node *node = &cluster->nodes[i];

        if (!node->up || node->stopping || node->more || node->status.installing ||
            node->status.applied.index != leader->status.last_index || node->status.partition.parked != 0 ||
            node->status.partition.in_flight_entries != 0 || node->status.partition.transactions != 0 ||
            node->status.leader != leader->id)
            return false;
    }
    return true;
}

static void describe_unrest(struct sim_cluster *cluster)
{
    char text[400] = "";
    size_t at = 0;

    for (size_t i = 0; i < NODES; i++) {
        const struct sim_node *node = &cluster->nodes[i];

        at += (size_t) snprintf(
            text + at, sizeof(text) - at,
            "; node %zu %s term %llu of %llu applied %llu commit %llu last %llu, %llu locks, %llu "
            "parked, %llu transactions",
            i + 1, node->up ? node->status.leads ? "leads" : "follows" : "down", (unsigned long long) node->status.term,
            (unsigned long long) node->status.leader, (unsigned long long) node->status.applied.index,
            (unsigned long long) node->status.commit_index, (unsigned long long) node->status.last_index,
            (unsigned long long) node->status.partition.locks, (unsigned long long) node->status.partition.parked,
            (unsigned long long) node->status.partition.transactions);
        if (at >= sizeof(text))
            break;
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        if (cluster->clients[i].stage != IDLE && at < sizeof(text))
            at += (size_t) snprintf(text + at, sizeof(text) - at, "; client %zu in stage %d", i,
                                    (int) cluster->clients[i].stage);
    }
    sim_cluster_fail(cluster, "does not come to rest%s", text);
}

/* Nothing goes wrong any more. */
static void finish(struct sim_cluster *cluster)
{
    uint64_t end = cluster->now_us + CALMS_US;

    cluster->calm = true;
    sim_faults_end(cluster);
    while (!cluster->failed && !is_at_rest(cluster) && cluster->now_us < end)
        advance(cluster);
    if (!cluster->failed && !is_at_rest(cluster))
        describe_unrest(cluster);
    if (cluster->failed)
        return;
    sim_cluster_verify(cluster);
    for (size_t i = 0; i < NODES && !cluster->failed; i++) {
        sim_node_compare(&cluster->nodes[0], &cluster->nodes[i]);
        for (int k = 0; k < 5 && !cluster->failed; k++)
            sim_read_stale(&cluster->nodes[i]);
    }
}

static void begin_run(struct sim_cluster *cluster, uint64_t seed, enum sim_plant plant, struct sim_op *ops)
{
    *cluster = (struct sim_cluster){.random = sim_random_of(seed * 104729),
                                    .plant = plant,
                                    .seed = seed,
                                    .ops = ops,
                                    .next_serial = 1,
                                    .fault_us = NEVER_US,
                                    .recover_us = NEVER_US,
                                    .keep_us = NEVER_US};
    cluster->model = sim_model_open(STORAGE);
    cluster->trailing = sim_one_in(cluster, 2) ? sim_below(cluster, 50) : 100000;
    sim_faults_open(cluster);
    cluster->fault_us = NEVER_US;
    for (size_t i = 0; i < NODES; i++)
        sim_node_open(cluster, i);
    for (size_t i = 0; i < NODES && !cluster->failed; i++)
        sim_node_start(&cluster->nodes[i]);
    for (size_t i = 0; i < CLIENTS; i++)
        cluster->clients[i] = (struct sim_client){.next_us = NEVER_US, .arrival_us = NEVER_US, .reply_us = NEVER_US};
    prepare(cluster);
    sim_clients_open(cluster);
    cluster->fault_us = cluster->recover_us = cluster->keep_us = cluster->now_us + cluster->fault_every_us;
}

static void end_run(struct sim_cluster *cluster)
{
    for (size_t i = 0; i < NODES; i++) {
        sim_node_close(&cluster->nodes[i]);
        for (size_t k = 0; k < NODES; k++) {
            sim_network_reset(cluster, i, k);
            free(cluster->links[i][k].packets);
        }
    }
    sim_clients_close(cluster);
    cluster->entries = sim_model_last(cluster->model);
    sim_model_close(cluster->model);
    sim_arena_reset();
    if (sb_memory_blocks() != 0)
        sim_cluster_fail(cluster, "%llu blocks of memory are left", (unsigned long long) sb_memory_blocks());
}

static uint64_t totals[MISFORTUNE_COUNT];
static uint64_t total_ops;
static uint64_t total_steps;
static uint64_t total_entries;

static bool run_seed(uint64_t seed, enum sim_plant plant, bool loud)
{
    static struct sim_cluster cluster;
    static struct sim_op ops[OPS_MAX];

    begin_run(&cluster, seed, plant, ops);
    if (!cluster.failed)
        pass(&cluster, LASTS_US);
    if (!cluster.failed)
        finish(&cluster);
    end_run(&cluster);
    if (plant == PLANT_NONE) {
        for (size_t i = 0; i < MISFORTUNE_COUNT; i++)
            totals[i] += cluster.counts[i];
        total_ops += cluster.op_count + cluster.counts[MISFORTUNE_STRONG_READ] + cluster.counts[MISFORTUNE_STALE_READ];
        total_steps += cluster.steps;
        total_entries += cluster.entries;
    }
    if (getenv("SIM_CLUSTER_STATISTICS"))
        fprintf(stderr, "seed %llu plant %d: %zu writes, %llu strong reads, %llu steps: %s\n",
                (unsigned long long) seed, (int) plant, cluster.op_count,
                (unsigned long long) cluster.counts[MISFORTUNE_STRONG_READ], (unsigned long long) cluster.steps,
                cluster.failed ? cluster.reason : "passed");
    if (cluster.failed && loud)
        fprintf(stderr, "sim_cluster: seed %llu failed %s\n", (unsigned long long) seed, cluster.reason);
    return !cluster.failed;
}

static bool plant_is_seen(enum sim_plant plant)
{
    for (uint64_t seed = 1; seed <= PLANT_SEEDS; seed++) {
        if (!run_seed(seed, plant, false))
            return true;
    }
    fprintf(stderr, "sim_cluster: planted fault %d was not seen within %d seeds\n", (int) plant, PLANT_SEEDS);
    return false;
}

static bool report(uint64_t seeds)
{
    static const char *const texts[] = {
#define SIM_MISFORTUNE_TEXT(name, text) text,
        MISFORTUNES(SIM_MISFORTUNE_TEXT)
#undef SIM_MISFORTUNE_TEXT
    };
    bool all = true;

    printf("sim_cluster: %llu seeds, %llu operations, %llu steps, %llu entries", (unsigned long long) seeds,
           (unsigned long long) total_ops, (unsigned long long) total_steps, (unsigned long long) total_entries);
    for (size_t i = 0; i < MISFORTUNE_COUNT; i++) {
        printf("; %llu %s", (unsigned long long) totals[i], texts[i]);
        all = all && totals[i] > 0;
    }
    printf("\n");
    if (!all && seeds >= 10)
        fprintf(stderr, "sim_cluster: something that must happen never did\n");
    return all || seeds < 10;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;

    for (size_t i = 0; i < sizeof(regressions) / sizeof(regressions[0]); i++) {
        if (!run_seed(regressions[i], PLANT_NONE, true))
            return 1;
    }
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (!run_seed(seed, PLANT_NONE, true))
            return 1;
    }
    if (!report(count))
        return 1;
    for (int plant = PLANT_NONE + 1; plant < PLANT_COUNT; plant++) {
        if (!plant_is_seen((enum sim_plant) plant))
            return 1;
    }
    printf("sim_cluster: %d planted faults seen\n", PLANT_COUNT - 1);
    return 0;
}
