/*
 * See sim_cluster_world.h. One connection per direction: in order, but what a cut or a reset hits is gone. What is said
 * must be true of who says it: a vote once per term, no falling terms, and (but where a fault is planted, which is to be
 * seen by what follows from it) nothing that is not durable.
 */
#include "sim_cluster_world.h"

#include "wire_peer.h"

static void check_vote(struct sim_node *node, uint64_t term, uint64_t vote)
{
    if (node->vote_term == term && node->vote != vote)
        sim_cluster_fail(node->cluster, "node %llu votes for %llu and %llu in term %llu", (unsigned long long) node->id,
                         (unsigned long long) node->vote, (unsigned long long) vote, (unsigned long long) term);
    node->vote_term = term;
    node->vote = vote;
}

/* In the log, or in a checkpoint that was installed. */
static uint64_t durable_index(const struct sim_node *node)
{
    uint64_t last = sim_journal_last(&node->journal);
    struct sb_store store = node->store;
    struct sb_applied applied;

    if (sb_meta_applied(&store, WIRE_GROUP_LOCAL, true, &applied, &node->cluster->error) != WIRE_OK)
        abort(); /* a store in memory */
    return last > applied.index ? last : applied.index;
}

static void check_durable(const struct sim_node *node, const struct wire_peer_message *message)
{
    const struct sim_journal *journal = &node->journal;
    uint64_t term = sim_journal_term(journal);

    if (term < message->term)
        sim_cluster_fail(node->cluster, "node %llu speaks in term %llu, durable is %llu", (unsigned long long) node->id,
                         (unsigned long long) message->term, (unsigned long long) term);
    if (term != message->term)
        return;
    if ((message->kind == WIRE_PEER_VOTE_RESULT && message->flags & WIRE_PEER_GRANTED &&
         sim_journal_vote(journal) != message->to) ||
        (message->kind == WIRE_PEER_VOTE && sim_journal_vote(journal) != node->id))
        sim_cluster_fail(node->cluster, "a vote of node %llu is not durable", (unsigned long long) node->id);
    if (message->kind == WIRE_PEER_APPEND_RESULT && message->commit == 0 && message->index > durable_index(node))
        sim_cluster_fail(node->cluster, "node %llu claims entry %llu, durable is %llu", (unsigned long long) node->id,
                         (unsigned long long) message->index, (unsigned long long) durable_index(node));
}

static void check(struct sim_node *node, const struct sb_message *sent)
{
    struct wire_peer_message message;
    struct wire_reader entries;
    int status = wire_peer_open(sent->bytes.data, sent->bytes.size, &message, &entries);

    if (status != WIRE_OK || message.from != node->id || message.to != sent->to || message.to == 0 ||
        message.to > NODES || message.to == node->id) {
        sim_cluster_fail(node->cluster, "node %llu sends a malformed message: %s", (unsigned long long) node->id,
                         wire_error_name(status));
        return;
    }
    if (message.flags & WIRE_PEER_PRE_VOTE)
        return;
    if (message.term < node->sent_term)
        sim_cluster_fail(node->cluster, "node %llu falls back from term %llu to %llu", (unsigned long long) node->id,
                         (unsigned long long) node->sent_term, (unsigned long long) message.term);
    node->sent_term = message.term;
    if (message.kind == WIRE_PEER_VOTE)
        check_vote(node, message.term, node->id);
    if (message.kind == WIRE_PEER_VOTE_RESULT && message.flags & WIRE_PEER_GRANTED)
        check_vote(node, message.term, message.to);
    if (node->cluster->plant == PLANT_NONE)
        check_durable(node, &message);
}

void sim_network_send(struct sim_node *from, const struct sb_message *message)
{
    struct sim_cluster *cluster = from->cluster;
    struct sim_link *link;
    uint64_t due;
    uint8_t *bytes;

    check(from, message);
    if (cluster->failed)
        return;
    link = &cluster->links[from->id - 1][message->to - 1];
    if (link->cut_us > cluster->now_us || (link->lossy_us > cluster->now_us && sim_one_in(cluster, 5))) {
        cluster->counts[MISFORTUNE_LOST]++;
        return;
    }
    due = cluster->now_us + link->delay_us + sim_below(cluster, link->delay_us + 1);
    if (link->slow_us > cluster->now_us)
        due += sim_below(cluster, 400000);
    if (link->count > 0 && link->packets[link->count - 1].due_us > due)
        due = link->packets[link->count - 1].due_us;
    bytes = malloc(message->bytes.size);
    if (!bytes)
        abort();
    memcpy(bytes, message->bytes.data, message->bytes.size);
    link->packets = sim_grown(link->packets, &link->capacity, link->count + 1, sizeof(*link->packets));
    link->packets[link->count++] = (struct sim_packet){bytes, message->bytes.size, due};
}

void sim_network_deliver(struct sim_cluster *cluster, size_t from, size_t to)
{
    struct sim_link *link = &cluster->links[from][to];
    struct sim_packet packet = link->packets[0];

    link->count--;
    memmove(link->packets, link->packets + 1, link->count * sizeof(*link->packets));
    if (cluster->nodes[to].up)
        sim_node_tell(
            &cluster->nodes[to],
            (struct sb_event){.kind = SB_EVENT_MESSAGE, .token = from + 1, .bytes = {packet.bytes, packet.size}});
    else
        cluster->counts[MISFORTUNE_LOST]++;
    free(packet.bytes);
}

void sim_network_reset(struct sim_cluster *cluster, size_t from, size_t to)
{
    struct sim_link *link = &cluster->links[from][to];

    for (size_t i = 0; i < link->count; i++)
        free(link->packets[i].bytes);
    cluster->counts[MISFORTUNE_LOST] += link->count;
    link->count = 0;
}
