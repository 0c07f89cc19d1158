/*
 * See sim_cluster_world.h. A checkpoint is everything that a source has applied, at one moment; it travels for a while,
 * and is put in the place of what the target had, durably, when the target's shard says so. Either may fail or go down
 * meanwhile.
 */
#include "sim_cluster_world.h"

static const struct wire_span none;

static struct wire_span copy_of(struct wire_span bytes)
{
    uint8_t *copy = malloc(bytes.size + 1);

    if (!copy)
        abort();
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return (struct wire_span){copy, bytes.size};
}

static void add(struct sim_checkpoint *checkpoint, enum sb_change_kind kind, enum sb_family family,
                struct wire_span key, struct wire_span value)
{
    checkpoint->changes =
        sim_grown(checkpoint->changes, &checkpoint->capacity, checkpoint->count + 1, sizeof(*checkpoint->changes));
    checkpoint->changes[checkpoint->count++] = (struct sb_change){kind, family, copy_of(key), copy_of(value)};
}

static void drop(struct sim_checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->count; i++) {
        free((void *) checkpoint->changes[i].key.data);
        free((void *) checkpoint->changes[i].value.data);
    }
    checkpoint->count = 0;
}

static void copy_store(struct sim_node *source, struct sim_checkpoint *out)
{
    static const uint8_t last[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    drop(out);
    for (int family = 0; family < SB_FAMILY_COUNT; family++) {
        struct sb_iterator *it;

        add(out, SB_DELETE_RANGE, (enum sb_family) family, none, (struct wire_span){last, sizeof(last)});
        if (source->store.iterate(source->store.self, NULL, (enum sb_family) family, none, none, &it,
                                  &source->cluster->error) != WIRE_OK)
            abort(); /* a store in memory */
        for (it->seek(it->self, none); it->valid(it->self); it->next(it->self))
            add(out, SB_PUT, (enum sb_family) family, it->key(it->self), it->value(it->self));
        it->close(it->self);
    }
}

void sim_install_ask(struct sim_node *node, const struct sb_install *install)
{
    struct sim_cluster *cluster = node->cluster;
    struct sim_checkpoint *checkpoint = &node->checkpoint;

    checkpoint->go = install->go;
    checkpoint->from = install->from;
    checkpoint->wanted = install->index;
    checkpoint->due_us = cluster->now_us + (install->go              ? sim_between(cluster, 1000, 100000)
                                            : sim_one_in(cluster, 4) ? sim_between(cluster, 1000, 3000000)
                                                                     : sim_between(cluster, 1000, 100000));
}

static void tell(struct sim_node *node, enum sb_event_kind kind, uint64_t index)
{
    sim_node_tell(node, (struct sb_event){.kind = kind, .group = WIRE_GROUP_LOCAL, .index = index});
}

static bool can_be_had(const struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    const struct sim_checkpoint *checkpoint = &node->checkpoint;
    const struct sim_node *source;

    if (checkpoint->from == 0 || checkpoint->from > NODES || checkpoint->from == node->id || sim_one_in(cluster, 6))
        return false;
    source = &cluster->nodes[checkpoint->from - 1];
    return source->up && !source->checkpoint.go && source->status.applied.index >= checkpoint->wanted &&
           cluster->links[source->id - 1][node->id - 1].cut_us <= cluster->now_us;
}

void sim_install_act(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    struct sim_checkpoint *checkpoint = &node->checkpoint;

    checkpoint->due_us = NEVER_US;
    if (!checkpoint->go && can_be_had(node)) {
        struct sim_node *source = &cluster->nodes[checkpoint->from - 1];

        copy_store(source, checkpoint);
        checkpoint->index = source->status.applied.index;
        tell(node, SB_EVENT_RECEIVED, checkpoint->index);
        return;
    }
    if (!checkpoint->go || checkpoint->wanted != checkpoint->index || sim_one_in(cluster, 10)) {
        if (checkpoint->go && checkpoint->wanted != checkpoint->index)
            sim_cluster_fail(cluster, "node %llu installs a checkpoint that it has not", (unsigned long long) node->id);
        checkpoint->go = false;
        cluster->counts[MISFORTUNE_INSTALL_FAILED]++;
        tell(node, SB_EVENT_INSTALLED, 0);
        return;
    }
    if (node->store.write(node->store.self, checkpoint->changes, checkpoint->count, &cluster->error) != WIRE_OK ||
        node->store.flush(node->store.self, &cluster->error) != WIRE_OK)
        abort();
    drop(checkpoint);
    memset(node->held, 0, sizeof(node->held));
    node->checked = checkpoint->index;
    cluster->counts[MISFORTUNE_INSTALLED]++;
    tell(node, SB_EVENT_INSTALLED, checkpoint->index);
    sim_faults_tempt(node, 4);
}

void sim_install_forget(struct sim_node *node)
{
    drop(&node->checkpoint);
    node->checkpoint.due_us = NEVER_US;
    node->checkpoint.go = false;
}
