/*
 * Who uses the simulated group, who runs it, and what goes wrong when: see sim_group_world.h.
 */
#include "sim_group_world.h"

static void client_later(struct group_world *world, uint64_t client, uint64_t delay)
{
    group_push(world, (struct group_event){.at = world->now + delay, .kind = EVENT_CLIENT, .a = client});
}

/* ---- clients ---- */

static size_t new_operation(struct group_world *world, uint32_t number)
{
    struct group_history *history = &world->history;
    struct group_client *client = &world->clients[number];
    uint64_t dice = group_below(world, 100);
    struct group_operation *operation;

    group_reserve(&history->operations, &history->capacity, history->count, sizeof(*history->operations));
    operation = &history->operations[history->count];
    *operation = (struct group_operation){
        .kind = dice < 40   ? GROUP_WRITE
                : dice < 65 ? GROUP_CONDITIONAL
                : dice < 85 ? GROUP_LEASE_READ
                            : GROUP_INDEX_READ,
        .key = (uint32_t) (group_one_in(world, 2) ? group_below(world, 3) : group_below(world, GROUP_KEYS)),
        .client = number,
        .begin = ++world->tick,
    };
    if (operation->kind == GROUP_WRITE || operation->kind == GROUP_CONDITIONAL)
        operation->value = world->next_value++;
    if (operation->kind == GROUP_CONDITIONAL)
        operation->expected = group_one_in(world, 5) ? 0 : client->seen[operation->key];
    return history->count++;
}

static void look_elsewhere(struct group_world *world, struct group_client *client)
{
    const struct group_node *node = &world->nodes[client->node];
    uint64_t leader = node->up && node->paused_until <= world->now ? rg_leader(node->group) : 0;

    client->node = (uint32_t) (leader != 0 && leader != node->id ? leader - 1 : group_below(world, world->node_count));
}

static void ask(struct group_world *world, uint32_t number)
{
    uint64_t patience;
    struct group_client *client = &world->clients[number];
    struct group_node *node = &world->nodes[client->node];

    if (!world->serving)
        return;
    client->operation = new_operation(world, number);
    client->wait_id++;
    patience = world->history.operations[client->operation].value == 0 ? group_between(world, 5000, 100000)
                                                                       : group_between(world, 20000, 300000);
    if (group_one_in(world, 4))
        patience *= 10;
    group_push(world,
               (struct group_event){
                   .at = world->now + patience, .kind = EVENT_CLIENT_GIVES_UP, .a = number, .b = client->wait_id});
    if (node->up)
        group_serve_request(world, node, client->operation);
    else
        group_client_answer(world, client->operation, GROUP_NEVER, 0);
}

void group_client_answer(struct group_world *world, size_t number, enum group_outcome outcome, uint64_t observed)
{
    struct group_operation *operation = &world->history.operations[number];
    struct group_client *client = &world->clients[operation->client];

    /* Nobody is there any more to hear it; but what never happened is better known than not. */
    if (operation->outcome != GROUP_OPEN) {
        if (outcome == GROUP_NEVER)
            operation->outcome = GROUP_NEVER;
        return;
    }
    operation->outcome = outcome;
    operation->end = ++world->tick;
    if (outcome == GROUP_REFUSED || operation->value == 0)
        operation->observed = observed;
    if (outcome != GROUP_NEVER)
        group_count(world, GROUP_OPERATIONS);
    if (outcome == GROUP_DONE || outcome == GROUP_REFUSED)
        client->seen[operation->key] = operation->value != 0 && outcome == GROUP_DONE ? operation->value : observed;
    if (client->operation != number)
        return;
    client->operation = SIZE_MAX;
    if (outcome == GROUP_NEVER || outcome == GROUP_UNKNOWN)
        look_elsewhere(world, client);
    client_later(world, operation->client,
                 outcome == GROUP_NEVER ? group_between(world, 2000, 40000) : group_between(world, 1000, 160000));
}

static void give_up(struct group_world *world, uint32_t number, uint64_t wait_id)
{
    struct group_client *client = &world->clients[number];
    struct group_operation *operation;

    if (client->operation == SIZE_MAX || client->wait_id != wait_id)
        return;
    operation = &world->history.operations[client->operation];
    operation->outcome = operation->value != 0 ? GROUP_UNKNOWN : GROUP_NEVER;
    client->operation = SIZE_MAX;
    group_count(world, GROUP_UNKNOWN_TIMED_OUT);
    client->node = (uint32_t) group_below(world, world->node_count);
    client_later(world, number, group_between(world, 1000, 100000));
}

void group_client_event(struct group_world *world, struct group_event *event)
{
    if (event->kind == EVENT_CLIENT)
        ask(world, (uint32_t) event->a);
    else
        give_up(world, (uint32_t) event->a, event->b);
}

/* ---- operators ---- */

static struct group_node *some_leader(struct group_world *world)
{
    uint32_t from = (uint32_t) group_below(world, world->node_count);

    for (uint32_t i = 0; i < world->node_count; i++) {
        struct group_node *node = &world->nodes[(from + i) % world->node_count];

        if (node->up && node->paused_until <= world->now && node->lead_term != 0)
            return node;
    }
    return NULL;
}

static void transfer(struct group_world *world, struct group_node *node)
{
    struct rg_update update;
    uint64_t to = group_one_in(world, 2) ? 0 : 1 + group_below(world, world->node_count);
    int status = rg_transfer(node->group, group_clock_ms(world, node), to, &update);

    if (status == WIRE_E_MEMBERSHIP || status == WIRE_E_NOT_LEADER) {
        group_count(world, GROUP_TRANSFERS_REFUSED);
        return;
    }
    group_count(world, GROUP_FAULT_TRANSFER);
    group_node_update(world, node, status, &update, NULL, 0);
}

/* Adds, promotes, demotes or removes `node`. */
static enum group_counter alter(struct group_world *world, struct wire_configuration *configuration, uint64_t node)
{
    uint32_t at = 0;

    while (at < configuration->count && configuration->members[at].node < node)
        at++;
    if (at == configuration->count || configuration->members[at].node != node) {
        memmove(&configuration->members[at + 1], &configuration->members[at],
                (configuration->count - at) * sizeof(configuration->members[0]));
        configuration->members[at] = (struct wire_member){node, WIRE_MEMBER_LEARNER};
        configuration->count++;
        return GROUP_LEARNERS_ADDED;
    }
    if (group_one_in(world, 4)) {
        configuration->count--;
        memmove(&configuration->members[at], &configuration->members[at + 1],
                (configuration->count - at) * sizeof(configuration->members[0]));
        return GROUP_MEMBERS_REMOVED;
    }
    if (configuration->members[at].role == WIRE_MEMBER_LEARNER) {
        configuration->members[at].role = WIRE_MEMBER_VOTER;
        return GROUP_LEARNERS_PROMOTED;
    }
    configuration->members[at].role = WIRE_MEMBER_LEARNER;
    return GROUP_VOTERS_DEMOTED;
}

static void change_members(struct group_world *world, struct group_node *node)
{
    struct wire_configuration configuration;
    enum group_counter what;
    struct rg_update update;
    uint64_t index;
    int status;

    rg_configuration(node->group, &configuration, &index);
    what = alter(world, &configuration, 1 + group_below(world, world->node_count));
    status = rg_change(node->group, group_clock_ms(world, node), &configuration, &update);
    if (status == WIRE_E_MEMBERSHIP || status == WIRE_E_NOT_LEADER) {
        group_count(world, GROUP_MEMBERS_REFUSED);
        return;
    }
    group_count(world, what);
    group_count(world, GROUP_FAULT_MEMBERS);
    group_node_update(world, node, status, &update, NULL, 0);
}

void group_operator_event(struct group_world *world)
{
    struct group_node *node = some_leader(world);

    if (world->calm)
        return;
    if (node && world->members && !group_one_in(world, 5))
        change_members(world, node);
    else if (node)
        transfer(world, node);
    if (node && node->doomed)
        group_node_crash(world, node);
    group_push(world,
               (struct group_event){.at = world->now + group_between(world, 50000, world->members ? 600000 : 4000000),
                                    .kind = EVENT_OPERATOR});
}

/* ---- faults ---- */

static struct group_node *some_node(struct group_world *world)
{
    struct group_node *leader = some_leader(world);

    return leader && group_one_in(world, 2) ? leader : &world->nodes[group_below(world, world->node_count)];
}

static uint64_t for_a_while(struct group_world *world)
{
    return world->now + 1000 * group_between(world, 5, 5 * (uint64_t) world->options.election_timeout_ms);
}

static void block(struct group_world *world, uint32_t from, uint32_t to, uint64_t until)
{
    world->links[from][to].blocked_until = until;
    world->links[from][to].epoch++;
}

/* One side of the group does not reach the other, or not even that way round. */
static void partition(struct group_world *world, bool one_way)
{
    uint64_t until = for_a_while(world);
    uint32_t alone = (uint32_t) (some_node(world)->id - 1);
    uint64_t side = UINT64_C(1) << alone;
    bool outward = group_one_in(world, 2);

    if (group_one_in(world, 3))
        side |= UINT64_C(1) << group_below(world, world->node_count);
    for (uint32_t a = 0; a < world->node_count; a++) {
        for (uint32_t b = 0; b < world->node_count; b++) {
            if (!(side >> a & 1) || (side >> b & 1))
                continue;
            if (!one_way || outward)
                block(world, a, b, until);
            if (!one_way || !outward)
                block(world, b, a, until);
        }
    }
    group_count(world, one_way ? GROUP_FAULT_ONE_WAY : GROUP_FAULT_PARTITION);
}

static void crash(struct group_world *world, struct group_node *node, enum group_counter why)
{
    if (!node->up)
        return;
    group_count(world, why);
    group_node_crash(world, node);
}

static void drift(struct group_world *world, struct group_node *node)
{
    uint64_t most = world->fault == GROUP_CLOCKS_DRIFT ? 600000 : 10000;

    group_count(world, GROUP_FAULT_DRIFT);
    group_clock_set_rate(world, node, group_between(world, 1000000 - most, 1000000 + most));
}

static void disturb_links(struct group_world *world, bool lossy)
{
    uint64_t until = for_a_while(world);

    for (uint32_t a = 0; a < world->node_count; a++) {
        for (uint32_t b = 0; b < world->node_count; b++) {
            if (!group_one_in(world, 2))
                continue;
            if (lossy)
                world->links[a][b].lossy_until = until;
            else
                world->links[a][b].slow_until = until;
        }
    }
    if (!lossy)
        group_count(world, GROUP_FAULT_SLOW_LINK);
}

static void quiet(struct group_world *world)
{
    world->quiet_until = world->now + group_between(world, 500000, 3000000);
    group_count(world, GROUP_FAULT_QUIET);
}

static void reconnect(struct group_world *world)
{
    uint32_t a = (uint32_t) group_below(world, world->node_count);
    uint32_t b = (uint32_t) group_below(world, world->node_count);

    if (a == b)
        return;
    group_link_reconnect(world, a, b);
    group_count(world, GROUP_FAULT_RECONNECT);
}

static void wake_early(struct group_world *world, struct group_node *node)
{
    if (node->up)
        group_push(world, (struct group_event){.at = world->now,
                                               .kind = EVENT_TIMER,
                                               .node = (uint32_t) (node->id - 1),
                                               .incarnation = node->incarnation});
}

static void disturb(struct group_world *world, uint64_t dice)
{
    struct group_node *node = some_node(world);

    switch (dice) {
    case 0:
        crash(world, node, GROUP_FAULT_CRASH);
        break;
    case 1:
    case 2:
    case 3:
        node->armed = (enum group_point) group_between(world, POINT_NOTED, POINT_COUNT - 1);
        break;
    case 4:
        partition(world, false);
        break;
    case 5:
        partition(world, true);
        break;
    case 6:
        reconnect(world);
        break;
    case 7:
        disturb_links(world, true);
        break;
    case 8:
        disturb_links(world, false);
        break;
    case 9:
        node->slow_until = for_a_while(world);
        group_count(world, GROUP_FAULT_SLOW_DISK);
        break;
    case 10:
        node->stalled_until = for_a_while(world);
        group_count(world, GROUP_FAULT_DISK_STALL);
        break;
    case 11:
        drift(world, node);
        break;
    case 12:
        group_count(world, GROUP_FAULT_PAUSE);
        group_pause(world, node, for_a_while(world));
        break;
    case 13:
        wake_early(world, node);
        break;
    case 14:
        if (group_one_in(world, 4))
            quiet(world);
        break;
    default:
        for (uint32_t i = 0; i < world->node_count && group_one_in(world, 2); i++)
            crash(world, &world->nodes[i], GROUP_FAULT_CRASH_ALL);
        break;
    }
}

void group_fault_event(struct group_world *world, const struct group_event *event)
{
    struct group_node *node = &world->nodes[event->node];

    if (world->calm)
        return;
    if (event->a != 0) { /* group_fault_leader */
        if (node->incarnation == event->incarnation)
            crash(world, node, GROUP_FAULT_CRASH_LEADER);
        return;
    }
    if (world->quiet_until <= world->now)
        disturb(world, group_below(world, 16));
    group_push(world,
               (struct group_event){.at = world->now + group_between(world, 20000, 700000), .kind = EVENT_FAULT});
}

void group_fault_leader(struct group_world *world, struct group_node *node)
{
    if (!world->stormy || world->calm || group_one_in(world, 3))
        return;
    group_push(world, (struct group_event){.at = world->now + group_between(world, 0, 6000),
                                           .kind = EVENT_FAULT,
                                           .node = (uint32_t) (node->id - 1),
                                           .incarnation = node->incarnation,
                                           .a = 1});
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (group_one_in(world, 3))
            block(world, (uint32_t) (node->id - 1), i, for_a_while(world));
    }
}

void group_fault_calm(struct group_world *world)
{
    world->calm = true;
    for (uint32_t a = 0; a < world->node_count; a++) {
        struct group_node *node = &world->nodes[a];

        node->armed = POINT_NONE;
        node->slow_until = node->stalled_until = 0;
        for (uint32_t b = 0; b < world->node_count; b++)
            world->links[a][b] = (struct group_link){.epoch = world->links[a][b].epoch + 1};
    }
}
