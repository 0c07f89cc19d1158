/*
 * A whole node without threads, by seed: clients write, lock, spill, prepare, commit, abort; the log is appended to and
 * synced when chance says so; power is lost at any moment. See sim_world.h for the node, sim_model.h for what its log
 * means.
 *
 * Checked: whatever was acknowledged is there, at the version it was promised, and on top of what its client had been
 * told; what was refused or aborted never shows; what was in flight in a crash happened whole or not at all; every
 * read, of the newest state or of an old snapshot, of own intents, forward or backward, before and after crashes and
 * settling, gives what the model gives.
 *
 * sim_shard [first seed [count]]   default 1 300; prints the seed and the reason of a failure, exit 1. Then each fault
 * of enum sim_fault is planted, and must be seen within 20 seeds.
 */
#include <stdio.h>

#include "sim_clients.h"

#define ACTIONS 5000
#define FAULT_SEEDS 20

static const struct wire_span none;

/* ---- reads ---- */

static void keep_snapshots(struct run *run)
{
    size_t kept = 0;

    /* Mostly nobody reads: then nothing superseded is kept. */
    if (run->world.gives_up && !one_in(run, 4)) {
        run->snapshot_count = 0;
        run->scan.running = false;
        return;
    }
    for (size_t i = 0; i < run->snapshot_count; i++) {
        if (run->snapshots[i] >= run->world.horizon)
            run->snapshots[kept++] = run->snapshots[i];
    }
    run->snapshot_count = kept;
    if (run->world.applied_version < run->world.horizon)
        return;
    if (kept == SNAPSHOTS)
        run->snapshots[below(run, SNAPSHOTS)] = run->world.applied_version;
    else
        run->snapshots[run->snapshot_count++] = run->world.applied_version;
}

/* The node goes on while this reads, and may go down; one that is down already answers nothing, for what it has promised
 * to apply may be missing. *from, *to: the newest version at its begin and end. */
static int read_request(struct run *run, struct wire_span bytes, struct sb_buffer *out, uint64_t *from, uint64_t *to)
{
    struct wire_request request;
    uint64_t snapshot;
    uint32_t detail;
    uint8_t *copy;
    int status;

    if (run->world.down)
        return WIRE_E_STOPPING;
    copy = malloc(bytes.size);
    if (!copy)
        abort();
    memcpy(copy, bytes.data, bytes.size);
    *from = run->world.applied_version;
    status = wire_request_open(copy, bytes.size, &request);
    /* As a reader thread, which holds a snapshot of its own unless it reads a single key. */
    if (status == WIRE_OK && request.snapshot == 0 && !sb_read_is_single(&request))
        run->world.reading = *from;
    if (status == WIRE_OK) {
        do {
            out->size = 0;
            status = sb_read_request(&run->world.reader, &request, out, &detail, &snapshot, &run->world.error);
        } while (status == WIRE_E_WOULD_BLOCK && snapshot <= run->world.readable_version);
    }
    run->world.reading = 0;
    if (status == WIRE_E_WOULD_BLOCK && run->world.down)
        status = WIRE_E_STOPPING;
    *to = run->world.applied_version;
    if (run->world.down) /* in the middle of applying: what is durable may show */
        *to = sim_model_version_of(run->world.model, run->world.durable);
    free(copy);
    if (status != WIRE_OK && status != WIRE_E_STOPPING)
        sim_world_fail(&run->world, "read: %s: %s", wire_error_name(status), run->world.error.text);
    return status;
}

/* A moment, or the newest state in a span of time. */
struct moment {
    uint64_t from;
    uint64_t to;
};

static struct moment moment_of(uint64_t snapshot, uint64_t from, uint64_t to)
{
    return snapshot ? (struct moment){snapshot, snapshot} : (struct moment){from, to};
}

static void check_value(struct run *run, const struct client *own, int64_t key, struct moment moment, int64_t value)
{
    const struct sim_model *model = run->world.model;
    int64_t intent;

    for (int i = 1; own && i <= 2; i++) {
        if (!own->spilled[i] || !sim_model_intent(model, own->spilled[i], key, &intent))
            continue;
        if (value != intent)
            sim_world_fail(&run->world, "key %lld reads %lld, its own intent is %lld", (long long) key,
                           (long long) value, (long long) intent);
        return;
    }
    if (!sim_model_had(model, key, value, moment.from, moment.to))
        sim_world_fail(&run->world, "key %lld at %llx to %llx reads %lld, should %lld", (long long) key,
                       (unsigned long long) moment.from, (unsigned long long) moment.to, (long long) value,
                       (long long) sim_model_value(model, key, moment.from, NULL));
}

/* Whose own intents the reader may see. A client that waits may have intents under way, and so may one that has
 * spilled and not waited. */
static const struct client *choose_reader(struct run *run, uint64_t own[2], size_t *count)
{
    const struct client *client = &run->clients[below(run, CLIENTS)];

    *count = 0;
    if (run->world.fault == SIM_DIRTY_READ) {
        for (size_t i = 0; i < CLIENTS && *count < 2; i++) {
            if (run->clients[i].spilled[1] && !run->clients[i].waiting)
                own[(*count)++] = run->clients[i].spilled[1];
        }
        return NULL;
    }
    if (client->waiting || !client->in_transaction || client->prepared)
        return NULL;
    if (client->unread && run->world.fault != SIM_UNREAD_SPILL)
        return NULL;
    for (int i = 1; i <= 2; i++) {
        if (client->spilled[i])
            own[(*count)++] = client->spilled[i];
    }
    return client;
}

static uint64_t choose_snapshot(struct run *run)
{
    return run->snapshot_count == 0 || one_in(run, 3) ? 0 : run->snapshots[below(run, run->snapshot_count)];
}

static void read_keys(struct run *run)
{
    uint64_t own[2];
    size_t own_count;
    const struct client *client = choose_reader(run, own, &own_count);
    uint64_t snapshot = choose_snapshot(run);
    struct sb_buffer out = {0};
    struct wire_reader r;
    uint64_t from;
    uint64_t to;

    sim_begin((struct wire_request){.operation = WIRE_GET, .snapshot = snapshot, .storage_id = run->world.storage_id},
              own, own_count);
    sim_count(KEYS);
    for (int64_t key = 0; key < KEYS; key++) {
        struct wire_span span = key_of(run, key);

        wire_write_span(&sim_request, span.data, span.size);
    }
    if (read_request(run, sim_end(), &out, &from, &to) == WIRE_OK) {
        r = wire_reader_of(out.data, out.size);
        wire_read_varint(&r);
        for (int64_t key = 0; key < KEYS; key++)
            check_value(run, client, key, moment_of(snapshot, from, to), image_value(&r));
        if (wire_reader_finish(&r) != WIRE_OK)
            sim_world_fail(&run->world, "a GET's reply is malformed");
    }
    sb_buffer_close(&out);
}

/* The newest item of one key, at no snapshot. */
static void read_one(struct run *run)
{
    int64_t key = (int64_t) below(run, KEYS);
    struct wire_span span = key_of(run, key);
    struct sb_buffer out = {0};
    struct wire_reader r;
    uint64_t from;
    uint64_t to;

    sim_begin((struct wire_request){.operation = WIRE_GET, .storage_id = run->world.storage_id}, NULL, 0);
    sim_count(1);
    wire_write_span(&sim_request, span.data, span.size);
    if (read_request(run, sim_end(), &out, &from, &to) == WIRE_OK) {
        r = wire_reader_of(out.data, out.size);
        wire_read_varint(&r);
        check_value(run, NULL, key, (struct moment){from, to}, image_value(&r));
        if (wire_reader_finish(&r) != WIRE_OK)
            sim_world_fail(&run->world, "a GET's reply is malformed");
    }
    sb_buffer_close(&out);
}

/* Keys between the last row and the next one have no item. */
static void check_gap(struct run *run, const struct client *own, struct moment moment, int64_t low, int64_t high)
{
    for (int64_t key = low; key < high; key++)
        check_value(run, own, key, moment, SIM_ABSENT);
}

/* One batch; the rest of the range is in *scan. */
static void scan_batch(struct run *run, struct scan *scan, const uint64_t *transactions, size_t count,
                       const struct client *own)
{
    struct wire_request header = {.snapshot = scan->snapshot, .storage_id = run->world.storage_id};
    struct sb_buffer out = {0};
    struct wire_reader r;
    struct moment moment;
    uint64_t from;
    uint64_t to;
    uint64_t rows;
    bool more;

    (void) sim_scan_request(header, transactions, count, scan->backward, key_of(run, scan->low),
                            key_of(run, scan->high), below(run, 5), 1 + below(run, 500));
    if (read_request(run, sim_end(), &out, &from, &to) != WIRE_OK) {
        scan->running = false;
        sb_buffer_close(&out);
        return;
    }
    moment = moment_of(scan->snapshot, from, to);
    r = wire_reader_of(out.data, out.size);
    more = wire_read_u8(&r);
    rows = wire_read_u32(&r);
    for (uint64_t i = 0; i < rows && !run->world.failed; i++) {
        struct wire_span key_span = wire_read_span(&r);
        int64_t key = r.failed ? -1 : sim_key_number(key_span);

        if (key < scan->low || key >= scan->high) {
            sim_world_fail(&run->world, "a scan returns key %lld out of order or range", (long long) key);
            break;
        }
        check_value(run, own, key, moment, item_value(wire_read_span(&r)));
        if (scan->backward)
            check_gap(run, own, moment, key + 1, scan->high);
        else
            check_gap(run, own, moment, scan->low, key);
        *(scan->backward ? &scan->high : &scan->low) = scan->backward ? key : key + 1;
    }
    if (!more)
        check_gap(run, own, moment, scan->low, scan->high);
    if (wire_reader_finish(&r) != WIRE_OK || (more && rows == 0))
        sim_world_fail(&run->world, "a SCAN's reply is malformed");
    scan->running = more;
    sb_buffer_close(&out);
}

static struct scan new_scan(struct run *run, uint64_t snapshot)
{
    return (struct scan){.running = true,
                         .backward = one_in(run, 2),
                         .snapshot = snapshot,
                         .low = (int64_t) below(run, KEYS / 2),
                         .high = (int64_t) (KEYS / 2 + below(run, KEYS / 2 + 1))};
}

static void scan_at_once(struct run *run)
{
    uint64_t own[2];
    size_t count;
    const struct client *client = choose_reader(run, own, &count);
    struct scan scan = new_scan(run, choose_snapshot(run));

    while (scan.running && !run->world.failed)
        scan_batch(run, &scan, own, count, client);
}

/* A scan at a snapshot that lasts while the world goes on. */
static void scan_slowly(struct run *run)
{
    if (run->scan.running && run->scan.snapshot < run->world.horizon)
        run->scan.running = false;
    if (!run->scan.running && run->snapshot_count > 0)
        run->scan = new_scan(run, run->snapshots[below(run, run->snapshot_count)]);
    if (run->scan.running)
        scan_batch(run, &run->scan, NULL, 0, NULL);
}

/* See struct sim_events. */
static uint64_t least_snapshot(void *context)
{
    const struct run *run = context;
    uint64_t least = run->scan.running ? run->scan.snapshot : UINT64_MAX;

    for (size_t i = 0; i < run->snapshot_count; i++)
        least = run->snapshots[i] < least ? run->snapshots[i] : least;
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct client *client = &run->clients[i];

        if (client->in_transaction && client->snapshot != 0 && client->snapshot < least)
            least = client->snapshot;
    }
    return least;
}

/* ---- a run ---- */

static void crash(struct run *run, bool power)
{
    sim_world_crash(&run->world, power);
    keep_snapshots(run);
    if (!run->world.failed)
        sim_clients_verify(run);
    if (!run->world.failed)
        read_keys(run);
}

static void tick(struct run *run)
{
    uint64_t horizon = one_in(run, 3) && run->snapshot_count > 0 ? run->snapshots[below(run, run->snapshot_count)] : 0;

    sim_world_tick(&run->world, horizon);
    keep_snapshots(run);
}

static void action(struct run *run)
{
    uint64_t dice = below(run, 1000);
    struct sim_world *world = &run->world;

    if (world->fault != SIM_REPLY_EARLY)
        sim_arena_reset();
    if (world->down)
        crash(run, one_in(run, 2));
    else if (dice < 460)
        sim_client_act(run, &run->clients[below(run, CLIENTS)]);
    else if (dice < 620)
        sim_world_step(world);
    else if (dice < 740)
        sim_world_append(world);
    else if (dice < 840)
        sim_world_sync(world);
    else if (dice < 900)
        sim_world_fetch(world);
    else if (dice < 915)
        read_keys(run);
    else if (dice < 920)
        read_one(run);
    else if (dice < 930)
        scan_at_once(run);
    else if (dice < 950)
        scan_slowly(run);
    else if (dice < 970)
        keep_snapshots(run);
    else if (dice < 987)
        tick(run);
    else if (dice < 990)
        sim_world_full(world);
    else if (dice < 994)
        sim_world_keep(world);
    else if (dice < 997)
        crash(run, !one_in(run, 4));
    else if (dice < 998)
        sim_world_arm(world);
    else
        sim_world_quiesce(world);
}

/* Every transaction ends: no lock may be left. */
static void retire(struct run *run)
{
    struct sb_partition_status status;
    bool busy = true;

    for (int round = 0; round < 100 && busy && !run->world.failed; round++) {
        busy = false;
        for (size_t i = 0; i < CLIENTS; i++) {
            if (sim_client_end(run, &run->clients[i]))
                busy = true;
        }
        sim_world_quiesce(&run->world);
    }
    if (run->world.failed)
        return;
    status = sim_world_status(&run->world);
    if (busy || (status.locks != 0 && run->world.fault != SIM_FORGETFUL_LOCK))
        sim_world_fail(&run->world, "%llu locks are left when all transactions have ended",
                       (unsigned long long) status.locks);
}

/* Nothing is left but what must be. */
static void finish(struct run *run)
{
    struct sb_partition_status status;

    for (int round = 0; round < 2 && !run->world.failed; round++) {
        crash(run, true);
        sim_world_quiesce(&run->world);
        status = sim_world_status(&run->world);
        if (status.locks != 0 || status.parked != 0 || status.in_flight_entries != 0)
            sim_world_fail(&run->world, "locks, parked requests or entries are left");
        if (run->world.shard_options.settle_keys_max > KEYS * 100 && status.transactions != 0)
            sim_world_fail(&run->world, "%llu transactions are not settled", (unsigned long long) status.transactions);
        sim_world_tick(&run->world, run->world.applied_version);
        sim_world_quiesce(&run->world);
        (void) run->world.store.compact(run->world.store.self, none, none, &run->world.error);
        keep_snapshots(run);
        sim_clients_verify(run);
        for (int i = 0; i < 5 && !run->world.failed; i++) {
            read_keys(run);
            scan_at_once(run);
        }
    }
}

static bool run_seed(uint64_t seed, enum sim_fault fault, bool loud)
{
    static struct run run;
    struct op *ops = run.ops ? run.ops : malloc(OPS_MAX * sizeof(*ops));
    struct sim_events events = {&run, sim_clients_reply, sim_clients_restarted, least_snapshot};
    bool passed;

    run = (struct run){.random = sim_random_of(seed * 7919), .ops = ops, .next_value = 1, .next_decider = 1};
    sim_world_open(&run.world, seed, fault, events);
    for (int i = 0; i < ACTIONS && !run.world.failed; i++)
        action(&run);
    if (!run.world.failed)
        retire(&run);
    if (!run.world.failed)
        finish(&run);
    sim_world_close(&run.world);
    if (sb_memory_blocks() != 0)
        sim_world_fail(&run.world, "%llu blocks of memory are left", (unsigned long long) sb_memory_blocks());
    passed = !run.world.failed;
    if (getenv("SIM_SHARD_STATISTICS")) {
        size_t fates[4] = {0};

        for (size_t i = 0; i < run.op_count; i++)
            fates[run.ops[i].fate]++;
        fprintf(stderr, "seed %llu fault %d: %zu done, %zu never, %zu unknown, %llu crashes, %s\n",
                (unsigned long long) seed, (int) fault, fates[DONE], fates[NEVER], fates[UNKNOWN],
                (unsigned long long) run.world.crashes, passed ? "passed" : run.world.reason);
    }
    if (!passed && loud)
        fprintf(stderr, "sim_shard: seed %llu failed: %s\n", (unsigned long long) seed, run.world.reason);
    return passed;
}

static bool fault_is_seen(enum sim_fault fault)
{
    for (uint64_t seed = 1; seed <= FAULT_SEEDS; seed++) {
        if (!run_seed(seed, fault, false))
            return true;
    }
    fprintf(stderr, "sim_shard: fault %d was not seen within %d seeds\n", (int) fault, FAULT_SEEDS);
    return false;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 300;

    for (uint64_t seed = first; seed < first + count; seed++) {
        if (!run_seed(seed, SIM_HONEST, true))
            return 1;
    }
    for (int fault = SIM_HONEST + 1; fault < SIM_FAULT_COUNT; fault++) {
        if (!fault_is_seen((enum sim_fault) fault))
            return 1;
    }
    printf("sim_shard: %llu seeds, %d planted faults seen\n", (unsigned long long) count, SIM_FAULT_COUNT - 1);
    return 0;
}
