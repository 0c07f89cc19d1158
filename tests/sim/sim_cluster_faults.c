/* See sim_cluster_world.h. Faults end by themselves. */
#include "sim_cluster_world.h"

static struct sim_node *any_node(struct sim_cluster *cluster)
{
    struct sim_node *leader = sim_cluster_leader(cluster);

    return leader && sim_one_in(cluster, 2) ? leader : &cluster->nodes[sim_below(cluster, NODES)];
}

/* Mostly short; sometimes several election timeouts. */
static uint64_t some_time_us(struct sim_cluster *cluster)
{
    return sim_one_in(cluster, 3) ? sim_between(cluster, 1000000, 6000000) : sim_between(cluster, 5000, 1500000);
}

static void crash(struct sim_cluster *cluster)
{
    struct sim_node *node = any_node(cluster);

    if (!node->up)
        return;
    cluster->counts[node->status.leads ? MISFORTUNE_LEADER_CRASHED : MISFORTUNE_FOLLOWER_CRASHED]++;
    sim_node_crash(node, !sim_one_in(cluster, 4), some_time_us(cluster));
}

void sim_faults_strike(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;

    cluster->counts[node->status.leads ? MISFORTUNE_LEADER_CRASHED : MISFORTUNE_FOLLOWER_CRASHED]++;
    sim_node_crash(node, true, sim_between(cluster, 1000, 200000));
}

void sim_faults_tempt(struct sim_node *node, uint64_t n)
{
    struct sim_cluster *cluster = node->cluster;

    if (!cluster->calm && cluster->fault_us != NEVER_US && node->doom_us == NEVER_US && sim_one_in(cluster, n))
        node->doom_us = cluster->now_us + sim_below(cluster, 5000);
}

static void crash_all(struct sim_cluster *cluster)
{
    cluster->counts[MISFORTUNE_ALL_CRASHED]++;
    for (size_t i = 0; i < NODES; i++) {
        if (cluster->nodes[i].up)
            sim_node_crash(&cluster->nodes[i], true, some_time_us(cluster));
    }
}

static void partition(struct sim_cluster *cluster)
{
    struct sim_node *node = any_node(cluster);
    uint64_t until =
        cluster->now_us + (sim_one_in(cluster, 2) ? sim_between(cluster, 1200000, 4000000) : some_time_us(cluster));
    bool drops = sim_one_in(cluster, 2);

    cluster->counts[MISFORTUNE_PARTITIONED]++;
    for (size_t i = 0; i < NODES; i++) {
        cluster->links[node->id - 1][i].cut_us = cluster->links[i][node->id - 1].cut_us = until;
        if (drops) {
            sim_network_reset(cluster, node->id - 1, i);
            sim_network_reset(cluster, i, node->id - 1);
        }
    }
}

static void partition_one_way(struct sim_cluster *cluster)
{
    size_t from = sim_below(cluster, NODES);
    uint64_t until = cluster->now_us + some_time_us(cluster);

    cluster->counts[MISFORTUNE_ONE_WAY]++;
    if (sim_one_in(cluster, 2)) { /* nobody hears it, or it hears nobody */
        bool deaf = sim_one_in(cluster, 2);

        for (size_t i = 0; i < NODES; i++)
            *(deaf ? &cluster->links[i][from].cut_us : &cluster->links[from][i].cut_us) = until;
        return;
    }
    cluster->links[from][(from + 1 + sim_below(cluster, NODES - 1)) % NODES].cut_us = until;
}

static void disturb_link(struct sim_cluster *cluster, uint64_t kind)
{
    size_t from = sim_below(cluster, NODES);
    size_t to = (from + 1 + sim_below(cluster, NODES - 1)) % NODES;
    uint64_t until = cluster->now_us + some_time_us(cluster);

    if (kind == 0) {
        cluster->links[from][to].slow_us = until;
        cluster->counts[MISFORTUNE_DELAYED]++;
    } else if (kind == 1)
        cluster->links[from][to].lossy_us = until;
    else {
        sim_network_reset(cluster, from, to);
        if (sim_one_in(cluster, 2))
            sim_network_reset(cluster, to, from);
        cluster->counts[MISFORTUNE_RECONNECTED]++;
    }
}

static void disturb_disk(struct sim_cluster *cluster)
{
    struct sim_node *node = any_node(cluster);
    uint64_t until = cluster->now_us + some_time_us(cluster);

    if (!node->up)
        return;
    node->stalled_us = until;
    if (node->sync_us != NEVER_US && node->sync_us < until)
        node->sync_us = until;
    cluster->counts[MISFORTUNE_STALLED]++;
    if (!sim_one_in(cluster, 4))
        return;
    node->full_us = until;
    cluster->counts[MISFORTUNE_FULL]++;
}

static void pause_node(struct sim_cluster *cluster)
{
    struct sim_node *node = any_node(cluster);

    if (!node->up)
        return;
    node->resume_us = cluster->now_us + some_time_us(cluster);
    node->drowsy_us = sim_below(cluster, sim_one_in(cluster, 3) ? 100000 : 3000);
    cluster->counts[MISFORTUNE_PAUSED]++;
}

static void resign(struct sim_cluster *cluster)
{
    struct sim_node *node = sim_cluster_leader(cluster);

    if (node && !node->stopping)
        sim_node_resign(node);
}

static void jump(struct sim_cluster *cluster)
{
    cluster->nodes[sim_below(cluster, NODES)].skew_ms = (int64_t) sim_below(cluster, 20000) - 10000;
    cluster->counts[MISFORTUNE_JUMPED]++;
}

void sim_faults_act(struct sim_cluster *cluster)
{
    uint64_t dice = sim_below(cluster, 100);

    cluster->fault_us = cluster->now_us + 1 + sim_below(cluster, 2 * cluster->fault_every_us);
    if (dice < 14)
        crash(cluster);
    else if (dice < 17)
        crash_all(cluster);
    else if (dice < 31)
        partition(cluster);
    else if (dice < 41)
        partition_one_way(cluster);
    else if (dice < 60)
        disturb_link(cluster, sim_below(cluster, 3));
    else if (dice < 74)
        disturb_disk(cluster);
    else if (dice < 84)
        pause_node(cluster);
    else if (dice < 92)
        resign(cluster);
    else
        jump(cluster);
}

void sim_faults_open(struct sim_cluster *cluster)
{
    cluster->fault_every_us = sim_between(cluster, 300000, 3000000);
    cluster->fault_us = cluster->now_us + cluster->fault_every_us;
    for (size_t from = 0; from < NODES; from++) {
        for (size_t to = 0; to < NODES; to++)
            cluster->links[from][to].delay_us = sim_between(cluster, 50, 3000);
    }
}

void sim_faults_end(struct sim_cluster *cluster)
{
    cluster->fault_us = NEVER_US;
    for (size_t i = 0; i < NODES; i++) {
        struct sim_node *node = &cluster->nodes[i];

        for (size_t to = 0; to < NODES; to++)
            cluster->links[i][to].cut_us = cluster->links[i][to].slow_us = cluster->links[i][to].lossy_us = 0;
        node->resume_us = node->full_us = node->stalled_us = 0;
        node->doom_us = NEVER_US;
        if (!node->up)
            node->restart_us = cluster->now_us;
        if (node->sync_us != NEVER_US)
            node->sync_us = cluster->now_us;
    }
}
