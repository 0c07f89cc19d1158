/*
 * Requests at a simulated node: see sim_group_world.h.
 *
 * Conditions are judged against the newest value that the log has, committed or not. A success is answered when its
 * entry is applied. A refusal waits until the entry it saw is applied, and needs the node to lead when it is judged: by
 * its lease, or the others say so. Reads need an applied entry of the own term; under the lease it is checked after the
 * read.
 */
#include "sim_group_world.h"

struct turn {
    struct group_entry *staged[GROUP_PENDING];
    size_t operations[GROUP_PENDING];
    size_t count;
};

static struct group_operation *operation_of(struct group_world *world, size_t operation)
{
    return &world->history.operations[operation];
}

static bool reads_are_safe(const struct group_world *world, const struct group_node *node)
{
    return world->fault == GROUP_READS_UNSETTLED ||
           (rg_is_settled(node->group) && node->applied_term == rg_term(node->group));
}

bool group_serve_has_lease(const struct group_world *world, const struct group_node *node)
{
    uint64_t until = rg_lease_until(node->group);

    if (world->fault == GROUP_LEASE_LONG && until != 0)
        until += 2 * (uint64_t) world->options.election_timeout_ms;
    return until > group_clock_ms(world, node);
}

static void wait_for(struct group_world *world, struct group_node *node, struct group_pending pending)
{
    if (node->pending_count == GROUP_PENDING)
        abort(); /* group_serve_request sees to it */
    node->pending[node->pending_count++] = pending;
}

void group_serve_request(struct group_world *world, struct group_node *node, size_t operation)
{
    if (operation_of(world, operation)->kind == GROUP_LEASE_READ) {
        group_push(world, (struct group_event){.at = world->now + group_below(world, 300),
                                               .kind = EVENT_READ,
                                               .node = (uint32_t) (node->id - 1),
                                               .incarnation = node->incarnation,
                                               .a = operation});
        return;
    }
    if (node->mailbox_count + node->pending_count >= GROUP_PENDING) {
        group_client_answer(world, operation, GROUP_NEVER, 0);
        return;
    }
    node->mailbox[node->mailbox_count++] = operation;
    if (node->turning)
        return;
    node->turning = true;
    group_push(world, (struct group_event){.at = world->now + group_below(world, 400),
                                           .kind = EVENT_TURN,
                                           .node = (uint32_t) (node->id - 1),
                                           .incarnation = node->incarnation});
}

/* ---- conditions ---- */

/* *seen: index of the entry that has it, 0: it is applied. */
static uint64_t newest(const struct group_node *node, const struct turn *turn, uint32_t key, uint64_t *seen)
{
    for (size_t i = turn->count; i > 0; i--) {
        *seen = turn->staged[i - 1]->head.index;
        if (turn->staged[i - 1]->key == key)
            return turn->staged[i - 1]->value;
    }
    for (*seen = group_log_last(&node->log); *seen > node->applied; (*seen)--) {
        const struct group_entry *entry = group_log_at(&node->log, *seen);

        if (entry && entry->head.kind == RG_EFFECTS && entry->key == key)
            return entry->value;
    }
    *seen = 0;
    return node->values[key];
}

static bool probe(struct group_world *world, struct group_node *node, struct group_pending pending)
{
    struct rg_update update;
    int status = rg_probe(node->group, group_clock_ms(world, node), &pending.sequence, &update);

    if (status == WIRE_E_NOT_LEADER)
        return false;
    if (status == WIRE_OK)
        wait_for(world, node, pending);
    group_node_update(world, node, status, &update, NULL, 0);
    return true;
}

/* That the entry it saw is committed tells nothing of now: members may have had it long before they chose another
 * leader. So all refusals ask whether this is the leader still. */
static void refuse(struct group_world *world, struct group_node *node, size_t operation, uint64_t observed,
                   uint64_t seen)
{
    struct group_pending pending = {
        .kind = PENDING_REFUSAL, .operation = operation, .index = seen, .observed = observed};

    /* What was committed before this term may be in the log only. */
    if (seen == 0 && !reads_are_safe(world, node))
        pending.index = group_log_last(&node->log);
    if (world->fault == GROUP_REFUSES_EARLY)
        pending.index = 0;
    if (pending.index != 0)
        group_count(world, GROUP_REFUSED_AFTER_ENTRY);
    if (!group_serve_has_lease(world, node) && world->fault != GROUP_REFUSES_UNSURE) {
        group_count(world, GROUP_REFUSED_BY_PROBE);
        if (!probe(world, node, pending))
            group_client_answer(world, operation, GROUP_NEVER, 0);
        return;
    }
    group_count(world, GROUP_REFUSED_BY_LEASE);
    if (pending.index == 0)
        group_client_answer(world, operation, GROUP_REFUSED, observed);
    else
        wait_for(world, node, pending);
}

static void stage(struct group_world *world, struct group_node *node, struct turn *turn, size_t operation)
{
    const struct group_operation *wanted = operation_of(world, operation);
    const struct group_entry *before =
        turn->count > 0 ? turn->staged[turn->count - 1] : group_log_at(&node->log, group_log_last(&node->log));
    struct rg_entry head = {
        .index = group_log_last(&node->log) + turn->count + 1, .term = rg_term(node->group), .kind = RG_EFFECTS};

    turn->operations[turn->count] = operation;
    turn->staged[turn->count++] =
        group_entry_make(world, &head, before ? before->head.term : node->applied_term, wanted->key, wanted->value);
}

/* ---- reads ---- */

/* The value is read, event->c: may it be told? */
void group_serve_answer(struct group_world *world, struct group_node *node, const struct group_event *event)
{
    bool leased = world->fault == GROUP_LEASE_UNCHECKED ? node->leased : group_serve_has_lease(world, node);

    if (rg_role(node->group) == RG_LEADER && rg_term(node->group) == event->b && leased) {
        group_count(world, GROUP_LEASE_READS);
        group_client_answer(world, event->a, GROUP_DONE, event->c);
    } else {
        group_count(world, GROUP_LEASE_READS_TOO_LATE);
        group_client_answer(world, event->a, GROUP_NEVER, 0);
    }
}

/* A reader has picked the request up. */
void group_serve_read(struct group_world *world, struct group_node *node, const struct group_event *event)
{
    struct group_operation *wanted = operation_of(world, event->a);
    struct group_event answer = *event;

    if (rg_role(node->group) != RG_LEADER || !reads_are_safe(world, node)) {
        group_count(world, rg_role(node->group) != RG_LEADER ? GROUP_NOT_LEADER : GROUP_READS_TOO_EARLY);
        group_client_answer(world, event->a, GROUP_NEVER, 0);
        return;
    }
    if (rg_lease_until(node->group) == 0) {
        group_count(world, GROUP_READS_WITHOUT_LEASE);
        wanted->kind = GROUP_INDEX_READ;
        group_serve_request(world, node, event->a);
        return;
    }
    answer.kind = EVENT_ANSWER;
    answer.b = rg_term(node->group);
    answer.c = node->values[wanted->key];
    answer.at = world->now + group_below(world, 300);
    if (group_one_in(world, 2)) {
        group_serve_answer(world, node, &answer);
        return;
    }
    group_push(world, answer);
    if (!world->calm && group_one_in(world, 100)) {
        group_count(world, GROUP_FAULT_PAUSE_READER);
        group_pause(world, node, world->now + 1000 * group_between(world, 1, 4 * world->options.election_timeout_ms));
    }
}

static void read_confirmed(struct group_world *world, struct group_node *node, size_t operation)
{
    struct group_pending pending = {
        .kind = PENDING_READ_PROBE, .operation = operation, .index = rg_commit(node->group)};

    if (!reads_are_safe(world, node)) {
        group_count(world, GROUP_READS_TOO_EARLY);
        group_client_answer(world, operation, GROUP_NEVER, 0);
    } else if (!probe(world, node, pending)) {
        group_client_answer(world, operation, GROUP_NEVER, 0);
    }
}

/* ---- turns ---- */

static void submit(struct group_world *world, struct group_node *node, struct turn *turn)
{
    struct rg_entry heads[GROUP_PENDING];
    struct rg_update update;
    int status;

    for (size_t i = 0; i < turn->count; i++)
        heads[i] = turn->staged[i]->head;
    status = rg_submit(node->group, group_clock_ms(world, node), heads, turn->count, &update);
    if (turn->count > 1)
        group_count(world, GROUP_SUBMITTED_TOGETHER);
    for (size_t i = 0; i < turn->count; i++) {
        struct group_pending pending = {
            .kind = PENDING_ENTRY, .operation = turn->operations[i], .index = heads[i].index};

        if (status == WIRE_E_NOT_LEADER)
            group_client_answer(world, turn->operations[i], GROUP_NEVER, 0);
        else if (world->fault == GROUP_ACKNOWLEDGES_EARLY && group_one_in(world, 2))
            group_client_answer(world, turn->operations[i], GROUP_DONE, 0);
        else
            wait_for(world, node, pending);
    }
    if (status == WIRE_E_NOT_LEADER)
        group_count(world, GROUP_NOT_LEADER);
    else
        group_node_update(world, node, status, &update, turn->staged, turn->count);
}

static void serve(struct group_world *world, struct group_node *node, struct turn *turn, size_t operation)
{
    const struct group_operation *wanted = operation_of(world, operation);
    uint64_t observed;
    uint64_t seen;

    if (wanted->kind == GROUP_INDEX_READ) {
        read_confirmed(world, node, operation);
        return;
    }
    observed = newest(node, turn, wanted->key, &seen);
    if (wanted->kind == GROUP_CONDITIONAL && observed != wanted->expected)
        refuse(world, node, operation, observed, seen);
    else
        stage(world, node, turn, operation);
}

/* What was staged and not accepted never was, nor the refusals that saw it. */
static void forget(struct group_world *world, struct group_node *node, struct turn *turn)
{
    size_t kept = 0;

    for (size_t i = 0; i < node->pending_count; i++) {
        if (node->pending[i].kind == PENDING_REFUSAL && node->pending[i].index > group_log_last(&node->log))
            group_client_answer(world, node->pending[i].operation, GROUP_NEVER, 0);
        else
            node->pending[kept++] = node->pending[i];
    }
    node->pending_count = kept;
    for (size_t i = turn->count; i > 0; i--) {
        struct group_entry *entry = turn->staged[i - 1];

        world->registry[entry->head.index] = entry->other;
        free(entry);
    }
}

void group_serve_turn(struct group_world *world, struct group_node *node)
{
    struct turn turn = {.count = 0};
    size_t waiting[GROUP_PENDING];
    size_t count = node->mailbox_count;
    bool accepted;

    memcpy(waiting, node->mailbox, count * sizeof(*waiting));
    node->mailbox_count = 0;
    node->turning = false;
    for (size_t i = 0; i < count; i++) {
        if (node->doomed || world->failed)
            group_client_answer(world, waiting[i], GROUP_NEVER, 0);
        else if (rg_role(node->group) != RG_LEADER) {
            group_count(world, GROUP_NOT_LEADER);
            group_client_answer(world, waiting[i], GROUP_NEVER, 0);
        } else
            serve(world, node, &turn, waiting[i]);
    }
    if (turn.count == 0)
        return;
    accepted = !node->doomed && !world->failed;
    if (accepted) {
        uint64_t last = group_log_last(&node->log);

        submit(world, node, &turn);
        accepted = group_log_last(&node->log) != last || node->doomed;
    } else {
        for (size_t i = 0; i < turn.count; i++)
            group_client_answer(world, turn.operations[i], GROUP_NEVER, 0);
    }
    if (!accepted)
        forget(world, node, &turn);
}

/* ---- answers ---- */

static void answer_entry(struct group_world *world, const struct group_node *node, const struct group_pending *pending)
{
    const struct group_operation *wanted = operation_of(world, pending->operation);
    const struct group_entry *entry = group_log_at(&node->log, pending->index);

    if (entry && (entry->key != wanted->key || entry->value != wanted->value))
        group_fail(world, "node %llu answers a write with entry %llu, which is another", (unsigned long long) node->id,
                   (unsigned long long) pending->index);
    group_count(world, wanted->kind == GROUP_WRITE ? GROUP_WRITES_DONE : GROUP_CONDITIONAL_DONE);
    group_client_answer(world, pending->operation, GROUP_DONE, 0);
}

static bool try_answer(struct group_world *world, struct group_node *node, const struct group_pending *pending)
{
    const struct group_operation *wanted = operation_of(world, pending->operation);
    uint64_t applied = node->applied;
    bool confirmed = rg_confirmed(node->group) >= pending->sequence || world->fault == GROUP_READS_UNCONFIRMED;

    if (pending->kind == PENDING_ENTRY && world->fault == GROUP_ACKNOWLEDGES_UNAPPLIED)
        applied = rg_commit(node->group);
    if (applied < pending->index || !confirmed)
        return false;
    switch (pending->kind) {
    case PENDING_ENTRY:
        answer_entry(world, node, pending);
        break;
    case PENDING_REFUSAL:
        group_client_answer(world, pending->operation, GROUP_REFUSED, pending->observed);
        break;
    case PENDING_READ_PROBE:
        group_count(world, GROUP_INDEX_READS);
        group_client_answer(world, pending->operation, GROUP_DONE, node->values[wanted->key]);
        break;
    }
    return true;
}

void group_serve_progress(struct group_world *world, struct group_node *node)
{
    size_t kept = 0;

    if (node->doomed || world->failed)
        return;
    for (size_t i = 0; i < node->pending_count; i++) {
        if (!try_answer(world, node, &node->pending[i]))
            node->pending[kept++] = node->pending[i];
    }
    node->pending_count = kept;
}

void group_serve_deposed(struct group_world *world, struct group_node *node, enum group_counter why)
{
    for (size_t i = 0; i < node->pending_count; i++) {
        bool writes = node->pending[i].kind == PENDING_ENTRY;

        if (writes)
            group_count(world, why);
        group_client_answer(world, node->pending[i].operation, writes ? GROUP_UNKNOWN : GROUP_NEVER, 0);
    }
    node->pending_count = 0;
    if (why != GROUP_UNKNOWN_CRASHED)
        return;
    for (size_t i = 0; i < node->mailbox_count; i++)
        group_client_answer(world, node->mailbox[i], GROUP_NEVER, 0);
    node->mailbox_count = 0;
}
