/*
 * The messages of a simulated node, on their way out: see sim_group_world.h.
 *
 * A message waits for more than its own update's write: for every term and vote noted before, too. A write of entries
 * that is done says nothing about a term that was noted after it, and the message tells of that term. One that waits
 * holds up those behind it to the same node.
 */
#include "sim_group_world.h"

static void note_vote(struct group_world *world, uint64_t term, uint32_t voter, uint64_t candidate)
{
    group_reserve(&world->votes, &world->vote_count, term, sizeof(*world->votes));
    if (world->votes[term][voter] != 0 && world->votes[term][voter] != candidate)
        group_fail(world, "node %u votes for %llu and for %llu in term %llu", voter + 1,
                   (unsigned long long) world->votes[term][voter], (unsigned long long) candidate,
                   (unsigned long long) term);
    world->votes[term][voter] = candidate;
}

/* What the others hold the node to, when it comes back. */
static void leave(struct group_world *world, struct group_node *node, struct group_bytes *bytes)
{
    struct wire_peer_message message;
    struct wire_reader entries;

    int status = wire_peer_open(bytes->data, bytes->size, &message, &entries);

    if (status != WIRE_OK)
        group_fail(world, "node %llu sends a message of kind %u that is malformed: %s", (unsigned long long) node->id,
                   (unsigned) bytes->data[9], wire_error_name(status));
    if (!(message.flags & WIRE_PEER_PRE_VOTE)) {
        if (message.term > node->told_term)
            node->told_term = message.term;
        if (message.kind == WIRE_PEER_VOTE)
            note_vote(world, message.term, bytes->from, message.from);
        else if (message.kind == WIRE_PEER_VOTE_RESULT && (message.flags & WIRE_PEER_GRANTED))
            note_vote(world, message.term, bytes->from, message.to);
    }
    group_link_send(world, bytes);
}

void group_send_flush(struct group_world *world, struct group_node *node)
{
    bool blocked[GROUP_NODES] = {false};
    size_t kept = 0;

    for (size_t i = 0; i < node->outbox_count; i++) {
        struct group_bytes *bytes = node->outbox[i];

        if (bytes->needs > node->durable_write || blocked[bytes->to]) {
            blocked[bytes->to] = true;
            node->outbox[kept++] = bytes;
        } else {
            leave(world, node, bytes);
        }
    }
    node->outbox_count = kept;
}

static void post(struct group_world *world, struct group_node *node, const struct wire_peer_message *message,
                 uint64_t needs)
{
    static uint8_t buffer[64 * 1024];
    struct wire_writer w = wire_writer_of(buffer, sizeof(buffer));
    struct wire_peer_builder builder;
    struct group_bytes *bytes;

    wire_peer_begin(&builder, &w, message);
    for (uint32_t i = 0; i < message->entry_count; i++) {
        struct group_entry *entry = group_log_at(&node->log, message->index + 1 + i);

        if (!entry) {
            group_fail(world, "node %llu is to send entry %llu, its log is [%llu, %llu]", (unsigned long long) node->id,
                       (unsigned long long) (message->index + 1 + i), (unsigned long long) node->log.first,
                       (unsigned long long) group_log_last(&node->log));
            return;
        }
        wire_peer_add(&builder, (struct wire_span){entry->bytes, entry->size});
    }
    if (wire_peer_end(&builder) != WIRE_OK || message->to == 0 || message->to > world->node_count ||
        message->from != node->id || message->to == node->id) {
        group_fail(world, "node %llu has a message of kind %d that cannot be sent", (unsigned long long) node->id,
                   (int) message->kind);
        return;
    }
    bytes = group_allocate(NULL, sizeof(*bytes) + w.size);
    *bytes = (struct group_bytes){
        .from = (uint32_t) (node->id - 1), .to = (uint32_t) (message->to - 1), .needs = needs, .size = w.size};
    memcpy(bytes->data, buffer, w.size);
    group_reserve(&node->outbox, &node->outbox_capacity, node->outbox_count, sizeof(*node->outbox));
    node->outbox[node->outbox_count++] = bytes;
    if (needs > node->durable_write)
        group_count(world, GROUP_MESSAGES_HELD);
}

/* In parts of at most world->part entries. */
static void post_append(struct group_world *world, struct group_node *node, struct wire_peer_message message,
                        uint64_t needs)
{
    uint32_t left = message.entry_count;

    if (left > world->part)
        group_count(world, GROUP_APPENDS_SPLIT);
    do {
        struct group_entry *last;

        message.entry_count = left < world->part ? left : world->part;
        post(world, node, &message, needs);
        left -= message.entry_count;
        message.index += message.entry_count;
        last = group_log_at(&node->log, message.index);
        message.index_term = last ? last->head.term : message.index_term;
    } while (left > 0 && !world->failed);
}

void group_send_messages(struct group_world *world, struct group_node *node, const struct rg_update *update,
                         uint64_t own_write)
{
    for (size_t i = 0; i < update->message_count; i++) {
        const struct wire_peer_message *message = &update->messages[i];
        uint64_t needs = world->fault == GROUP_WAITS_FOR_OWN && !update->state ? 0 : node->state_write;

        if (message->kind != WIRE_PEER_APPEND && own_write > needs)
            needs = own_write;
        if (world->fault == GROUP_VOTES_EARLY)
            needs = 0;
        if (group_node_dies(world, node, POINT_SENDING))
            return;
        if (message->kind == WIRE_PEER_APPEND)
            post_append(world, node, *message, needs);
        else
            post(world, node, message, needs);
        group_send_flush(world, node);
    }
}
