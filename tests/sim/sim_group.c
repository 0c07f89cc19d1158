/*
 * Replication groups in simulated time, by seed: three to five nodes (sim_group_world.h), eight clients that write,
 * write conditionally and read, an operator who moves leadership and members, and a world where messages are lost and
 * late, links part, disks are slow, clocks drift, and nodes stop, crash and crash between any two steps of what they do.
 *
 * Checked: what sim_group_world.h says; what clients were told is linearizable, key by key; when the world has calmed
 * down there is a leader, writes succeed, and all members come to have the same registers; no group stops by itself, no
 * memory is left. A seed is at least 60 simulated seconds, 1,000 operations and five kinds of faults.
 *
 * sim_group [first seed [count [fault]]]   default 1 150; prints the seed and the reason of a failure, exit 1. Then
 * each fault of enum group_fault is planted, and must be seen within 500 seeds; with a fault given, 0 is none, it is the
 * only one. Prints how often what was reached; from 100 seeds on nothing may be missing. With SIM_GROUP_STATISTICS set
 * it tells of every seed.
 */
#include "sim_group_world.h"

#define SECOND UINT64_C(1000000)
#define DURATION (60 * SECOND)
#define DURATION_MAX (400 * SECOND)
#define OPERATIONS_MIN 1000
#define FAULT_KINDS_MIN 5
#define FAULT_SEEDS 500
#define COUNTED_SEEDS 100

static const char *const counter_names[] = {
#define X(name) #name,
    GROUP_COUNTERS(X)
#undef X
};

static const char *const fault_names[GROUP_FAULT_COUNT] = {
    "honest",          "old term",          "forgets state",      "forgets vote",           "votes early",
    "waits for own",   "persisted early",   "acknowledges early", "acknowledges unapplied", "refuses early",
    "refuses unsure",  "lease long",        "lease unchecked",    "clocks drift",           "clock stops",
    "reads unsettled", "reads unconfirmed", "no marker",          "keeps stale log",        "cuts early",
};

/* Seeds that found a fault. They are new ones as soon as the simulation draws otherwise; the unit tests have them too. */
static const uint64_t kept_seeds[] = {
    692, 920, 1319, /* a leader is lost while a member is promoted: who does not know yet that it votes did not */
    342, 500,       /* applied durably before the term of it was durable: the node did not start */
};

static uint64_t totals[GROUP_COUNTER_COUNT];

/* ---- memory of the groups ---- */

static uint64_t blocks;

static void *heap_allocate(size_t size)
{
    blocks++;
    return group_allocate(NULL, size > 0 ? size : 1);
}

static void *heap_reallocate(void *pointer, size_t size)
{
    blocks += !pointer;
    return group_allocate(pointer, size > 0 ? size : 1);
}

static void heap_release(void *pointer)
{
    blocks -= pointer != NULL;
    free(pointer);
}

/* ---- a world ---- */

/* Entry 1 of every first member's log. */
static struct group_entry *first_entry(struct group_world *world, uint32_t voters)
{
    struct wire_configuration configuration = {.count = voters};
    struct rg_entry head = {.index = 1, .term = 1, .kind = RG_CONFIGURATION, .configuration = &configuration};

    for (uint32_t i = 0; i < voters; i++)
        configuration.members[i] = (struct wire_member){i + 1, WIRE_MEMBER_VOTER};
    return group_entry_make(world, &head, 0, 0, 0);
}

static void open_nodes(struct group_world *world)
{
    uint32_t voters = world->members ? (uint32_t) group_between(world, 3, world->node_count) : world->node_count;
    struct group_entry *first = first_entry(world, voters);
    uint64_t most = world->fault == GROUP_CLOCKS_DRIFT ? 600000 : 10000;

    for (uint32_t i = 0; i < world->node_count; i++) {
        struct group_node *node = &world->nodes[i];

        node->id = i + 1;
        node->log.first = node->disk.log.first = 1;
        node->clock_us = group_below(world, 100 * SECOND);
        node->rate = group_between(world, SECOND - most, SECOND + most);
        if (i < voters) {
            node->disk.term = node->disk.old_term = 1;
            group_log_append(&node->disk.log, first);
        }
        group_node_start(world, node);
    }
}

static void open_world(struct group_world *world, uint64_t seed, enum group_fault fault)
{
    uint32_t election;

    *world = (struct group_world){
        .random = sim_random_of(seed * 7919), .fault = fault, .seed = seed, .next_value = 1, .serving = true};
    election = (uint32_t) group_between(world, 150, 500);
    world->now = SECOND;
    world->options = (struct rg_options){.group = GROUP_ID,
                                         .election_timeout_ms = election,
                                         .heartbeat_ms = election / (uint32_t) group_between(world, 4, 8),
                                         .lease_ms = group_one_in(world, 10) ? 0 : election * 97 / 100 - 3,
                                         .install_timeout_ms = 3000,
                                         .in_flight_max = (uint32_t) group_between(world, 8, 256)};
    world->members = group_one_in(world, 3);
    world->stormy = group_one_in(world, 4);
    world->node_count = world->members ? (uint32_t) group_between(world, 4, 5) : group_one_in(world, 3) ? 5 : 3;
    world->part = group_one_in(world, 3) ? 1 : (uint32_t) group_between(world, 1, 32);
    world->checkpoint_every = group_between(world, 20, 300);
    open_nodes(world);
    for (uint32_t i = 0; i < GROUP_CLIENTS; i++) {
        world->clients[i].operation = SIZE_MAX;
        group_push(world,
                   (struct group_event){.at = world->now + group_below(world, SECOND), .kind = EVENT_CLIENT, .a = i});
    }
    group_push(world, (struct group_event){.at = 2 * SECOND, .kind = EVENT_OPERATOR});
    group_push(world, (struct group_event){.at = 2 * SECOND, .kind = EVENT_FAULT});
}

static void close_world(struct group_world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct group_node *node = &world->nodes[i];

        if (node->up)
            group_node_crash(world, node);
        free(node->outbox);
        free(node->log.entries);
        free(node->disk.log.entries);
        for (int disk = 0; disk < DISKS; disk++)
            free(node->queues[disk].writes);
    }
    group_world_release(world);
    if (blocks != 0)
        group_fail(world, "the groups leave %llu blocks of memory", (unsigned long long) blocks);
    blocks = 0;
}

static void dispatch(struct group_world *world, struct group_event *event)
{
    struct group_node *node = &world->nodes[event->node];

    switch (event->kind) {
    case EVENT_RESTART:
        if (!node->up)
            group_node_start(world, node);
        break;
    case EVENT_CLIENT:
    case EVENT_CLIENT_GIVES_UP:
        group_client_event(world, event);
        break;
    case EVENT_OPERATOR:
        group_operator_event(world);
        break;
    case EVENT_FAULT:
        group_fault_event(world, event);
        break;
    case EVENT_MESSAGE:
        group_node_event(world, node, event);
        break;
    default:
        if (node->up && event->incarnation == node->incarnation)
            group_node_event(world, node, event);
        break;
    }
}

static void run_until(struct group_world *world, uint64_t until)
{
    struct group_event event;

    while (!world->failed && world->event_count > 0 && world->events[0].at <= until && group_pop(world, &event))
        dispatch(world, &event);
    if (world->now < until)
        world->now = until;
}

/* ---- the end of a seed ---- */

static struct group_node *newest_leader(struct group_world *world)
{
    struct group_node *leader = NULL;

    for (uint32_t i = 0; i < world->node_count; i++) {
        struct group_node *node = &world->nodes[i];

        if (node->up && node->lead_term != 0 && (!leader || node->lead_term > leader->lead_term))
            leader = node;
    }
    return leader;
}

/* NULL, or what is amiss. */
static const char *not_converged(struct group_world *world)
{
    const struct group_node *leader = newest_leader(world);
    struct wire_configuration configuration;
    uint64_t index;

    if (!leader)
        return "no node leads";
    rg_configuration(leader->group, &configuration, &index);
    if (leader->applied != group_log_last(&leader->log))
        return "the leader has not applied all it has";
    for (uint32_t i = 0; i < configuration.count; i++) {
        const struct group_node *node = &world->nodes[configuration.members[i].node - 1];

        if (!node->up || node->applied != leader->applied)
            return "a member has not applied all that the leader has";
        if (memcmp(node->values, leader->values, sizeof(node->values)) != 0)
            return "two members have different registers";
    }
    return NULL;
}

static void calm_down(struct group_world *world)
{
    uint64_t deadline;
    uint64_t written;
    const char *amiss;

    group_fault_calm(world);
    run_until(world, world->now + 5 * SECOND);
    written = world->counters[GROUP_WRITES_DONE];
    for (deadline = world->now + 20 * SECOND; world->counters[GROUP_WRITES_DONE] < written + 20;) {
        if (world->failed || world->now >= deadline)
            break;
        run_until(world, world->now + SECOND / 10);
    }
    if (world->counters[GROUP_WRITES_DONE] < written + 20)
        group_fail(world, "all is calm, and writes do not succeed: %s", newest_leader(world) ? "" : "no node leads");
    world->serving = false;
    for (deadline = world->now + 30 * SECOND; (amiss = not_converged(world)) != NULL && !world->failed;) {
        if (world->now >= deadline)
            group_fail(world, "all is calm, but %s", amiss);
        run_until(world, world->now + SECOND / 10);
    }
}

static void check_history(struct group_world *world)
{
    const struct group_node *leader = newest_leader(world);
    struct group_history *history = &world->history;
    char reason[256];

    for (uint32_t key = 0; key < GROUP_KEYS && !world->failed; key++) {
        group_reserve(&history->operations, &history->capacity, history->count, sizeof(*history->operations));
        history->operations[history->count++] = (struct group_operation){.kind = GROUP_INDEX_READ,
                                                                         .outcome = GROUP_DONE,
                                                                         .key = key,
                                                                         .begin = world->tick + 1,
                                                                         .end = world->tick + 2,
                                                                         .observed = leader->values[key]};
        world->tick += 2;
        if (!group_history_check(history, key, reason, sizeof(reason)))
            group_fail(world, "%s", reason);
    }
}

static void check_amounts(struct group_world *world)
{
    uint32_t kinds = 0;

    for (int counter = GROUP_FAULT_LOSS; counter <= GROUP_FAULT_QUIET; counter++)
        kinds += world->counters[counter] > 0;
    if (world->now < DURATION || world->counters[GROUP_OPERATIONS] < OPERATIONS_MIN || kinds < FAULT_KINDS_MIN)
        group_fail(world, "%llu operations and %u kinds of faults in %llu s are too little",
                   (unsigned long long) world->counters[GROUP_OPERATIONS], kinds,
                   (unsigned long long) (world->now / SECOND));
}

static bool run_seed(uint64_t seed, enum group_fault fault, bool loud)
{
    static struct group_world world;

    open_world(&world, seed, fault);
    while (!world.failed && world.now < DURATION_MAX &&
           (world.now < DURATION || world.counters[GROUP_OPERATIONS] < OPERATIONS_MIN))
        run_until(&world, world.now + SECOND);
    if (!world.failed)
        calm_down(&world);
    if (!world.failed)
        check_history(&world);
    if (!world.failed && fault == GROUP_HONEST)
        check_amounts(&world);
    close_world(&world);
    for (int i = 0; i < GROUP_COUNTER_COUNT && fault == GROUP_HONEST; i++)
        totals[i] += world.counters[i];
    if (getenv("SIM_GROUP_STATISTICS"))
        fprintf(stderr, "seed %llu, %s: %llu operations, %llu elections, %s\n", (unsigned long long) seed,
                fault_names[fault], (unsigned long long) world.counters[GROUP_OPERATIONS],
                (unsigned long long) world.counters[GROUP_ELECTIONS], world.failed ? world.reason : "passed");
    if (world.failed && loud)
        fprintf(stderr, "sim_group: seed %llu failed %s\n", (unsigned long long) seed, world.reason);
    return !world.failed;
}

static bool fault_is_seen(enum group_fault fault)
{
    for (uint64_t seed = 1; seed <= FAULT_SEEDS; seed++) {
        if (!run_seed(seed, fault, false)) {
            printf("planted: %s: seen with seed %llu\n", fault_names[fault], (unsigned long long) seed);
            return true;
        }
    }
    fprintf(stderr, "sim_group: fault \"%s\" was not seen within %d seeds\n", fault_names[fault], FAULT_SEEDS);
    return false;
}

static bool print_counters(uint64_t seeds)
{
    bool complete = true;

    for (int i = 0; i < GROUP_COUNTER_COUNT; i++) {
        printf("%-24s %12llu\n", counter_names[i], (unsigned long long) totals[i]);
        if (totals[i] == 0 && seeds >= COUNTED_SEEDS) {
            fprintf(stderr, "sim_group: %s was never reached\n", counter_names[i]);
            complete = false;
        }
    }
    return complete;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 150;

    int only = argc > 3 ? atoi(argv[3]) : -1;

    rg_set_heap(heap_allocate, heap_reallocate, heap_release);
    if (!group_history_self_test())
        return 1;
    for (size_t i = 0; i < sizeof(kept_seeds) / sizeof(kept_seeds[0]) && only < 0; i++) {
        if (!run_seed(kept_seeds[i], GROUP_HONEST, true))
            return 1;
    }
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (!run_seed(seed, only > 0 ? (enum group_fault)(only % GROUP_FAULT_COUNT) : GROUP_HONEST, true))
            return 1;
    }
    if (!print_counters(count))
        return 1;
    if (only >= 0)
        return 0;
    for (int fault = GROUP_HONEST + 1; fault < GROUP_FAULT_COUNT; fault++) {
        if (!fault_is_seen((enum group_fault) fault))
            return 1;
    }
    printf("sim_group: %llu seeds, %d planted faults seen\n", (unsigned long long) count, GROUP_FAULT_COUNT - 1);
    return 0;
}
