/*
 * The shared region of lanes: its layout, the queues of slot numbers, and the handshake between snapshots and the
 * horizon.
 *
 * Region: struct wire_shared | cells of each queue | published snapshots | lanes; each part begins on a cache line.
 *
 * Queues (D. Vyukov, bounded MPMC): a cell's sequence says whose turn it is. Position p may be filled when its cell's
 * sequence is p, emptied when it is p + 1; emptying sets p + cells, the next lap's p. A position is claimed by
 * compare-and-swap on tail or head, the sequence publishes the content.
 *
 * A consumer interrupted between claim and publication leaves a cell that looks full one lap later, although others
 * were emptied behind it. Push therefore calls the queue full only if tail - head says so; else it waits out these few
 * instructions. A producer interrupted likewise hides what was pushed behind it. Pop then says "nothing"; that
 * producer's own wake, after its push, brings the consumer back.
 *
 * Snapshots and horizon: a reader at T needs every image superseded after T, a horizon H gives up what was superseded
 * at or below it. So no horizon may exceed a snapshot that a lane has published and whose owner has returned from
 * wire_snapshot_take. Neither side locks:
 *
 *   taker     loop: T = applied_version; snapshot = T; if horizon_wanted <= T done          (store, then load)
 *   proposer  floor = horizon_wanted; horizon_wanted = wanted; H = min(wanted, snapshots);
 *             H = max(H, floor); horizon_wanted = H                                         (store, then loads)
 *
 * Why it holds. Stores and loads of snapshot and horizon_wanted are sequentially consistent: in their one total order
 * either the taker's load follows the proposer's first store, or the proposer's load follows the taker's store. Results
 * never decrease (the floor), and horizon_wanted, once proposal k has stored to it, is never again below its result
 * H(k). Suppose a taker returned T and k is the first proposal with H(k) > T. The taker's load found a value <= T <
 * H(k), so it came before proposal k's store, so its own store came before proposal k's scan, which saw T (or found it
 * released, when nobody reads at T any more). Then the minimum is <= T, so H(k) > T can only be the floor, H(k-1) > T:
 * against k being the first.
 *
 * Why the floor. A snapshot below it is no reader's: its taker has loaded applied_version long ago and stored it just
 * now; it will find horizon_wanted above and retry. (Or it was passed over for its age by an earlier call.) Without the
 * floor the proposer would lower horizon_wanted to that stale T, the taker would then accept T, and a horizon above T
 * might be stored already.
 *
 * Why the taker ends. horizon_wanted > applied_version cannot persist: wanted is cut to an applied_version that was
 * loaded before horizon_wanted is stored, applied_version never decreases, and the taker's load of horizon_wanted makes
 * that applied_version visible to its reload. So it goes round once more for each proposal that overtakes it, and
 * proposals are seconds apart.
 *
 * An aged snapshot that was passed over stays published while its owner takes newer ones; of those the last is
 * protected: it is published by the same handshake beside it. Reads below the horizon fail with WIRE_E_SNAPSHOT_TOO_OLD: that is what the age limit is for. Sequentially consistent
 * accesses alone suffice, without a fence: thread sanitizers follow them.
 */
#include "wire_lane.h"

#define CACHE_LINE 64
#define QUEUE_CELLS_MIN 2 /* with one cell "filled" and "free one lap later" were the same sequence */

_Static_assert(sizeof(struct wire_shared) % CACHE_LINE == 0, "parts behind it begin on a cache line");
_Static_assert(sizeof(struct wire_published) == CACHE_LINE, "each is its owner's");
_Static_assert(sizeof(struct wire_lane) % CACHE_LINE == 0, "lanes are an array");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "processes share these atomics");

struct layout {
    uint32_t cells; /* per queue, a power of two */
    uint64_t queue_bytes;
    uint64_t cells_offset;
    uint64_t published_offset;
    uint64_t lanes_offset;
    uint64_t size;
};

static struct layout layout_of(uint32_t lane_count)
{
    uint64_t slots = (uint64_t) lane_count * WIRE_LANE_SLOTS;
    struct layout layout = {.cells = QUEUE_CELLS_MIN};

    while (layout.cells < slots)
        layout.cells *= 2;
    layout.queue_bytes = (layout.cells * sizeof(struct wire_queue_cell) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    layout.cells_offset = sizeof(struct wire_shared);
    layout.published_offset = layout.cells_offset + WIRE_QUEUE_COUNT * layout.queue_bytes;
    layout.lanes_offset =
        layout.published_offset + ((uint64_t) lane_count + WIRE_ENGINE_READERS_MAX) * sizeof(struct wire_published);
    layout.size = layout.lanes_offset + (uint64_t) lane_count * sizeof(struct wire_lane);
    return layout;
}

static struct wire_queue_cell *cell_at(struct wire_shared *shared, const struct wire_queue *queue, uint64_t position)
{
    struct wire_queue_cell *cells = (struct wire_queue_cell *) ((char *) shared + queue->cells_offset);

    return &cells[position & queue->mask];
}

size_t wire_shared_size(uint32_t lane_count)
{
    return layout_of(lane_count).size;
}

static void init_queue(struct wire_shared *shared, struct wire_queue *queue, uint32_t cells, uint64_t cells_offset)
{
    atomic_init(&queue->tail, 0);
    atomic_init(&queue->head, 0);
    atomic_init(&queue->event, 0);
    atomic_init(&queue->sleepers, 0);
    queue->mask = cells - 1;
    queue->cells_offset = cells_offset;
    for (uint32_t i = 0; i < cells; i++) {
        struct wire_queue_cell *cell = cell_at(shared, queue, i);

        atomic_init(&cell->sequence, i);
        cell->slot = 0;
    }
}

static void init_counters(struct wire_counters *counters)
{
    atomic_init(&counters->count, 0);
    atomic_init(&counters->errors, 0);
    atomic_init(&counters->bytes_in, 0);
    atomic_init(&counters->bytes_out, 0);
    atomic_init(&counters->total_us, 0);
    for (uint32_t i = 0; i < WIRE_LATENCY_BUCKETS; i++)
        atomic_init(&counters->latency[i], 0);
}

/* Buffers are left alone: their pages come into being when a backend first uses them. */
static void init_published(struct wire_published *published)
{
    atomic_init(&published->snapshot, 0);
    atomic_init(&published->since_ms, 0);
    atomic_init(&published->newest, 0);
    atomic_init(&published->newest_since_ms, 0);
}

static void init_lane(struct wire_lane *lane)
{
    for (uint32_t i = 0; i < WIRE_LANE_SLOTS; i++) {
        struct wire_slot *slot = &lane->slots[i];

        atomic_init(&slot->state, WIRE_SLOT_FREE);
        slot->purpose = WIRE_SLOT_REQUEST;
        slot->size = 0;
        slot->offset = 0;
        slot->total = 0;
        slot->more = 0;
        slot->submitted_ns = 0;
    }
}

void wire_shared_init(struct wire_shared *shared, uint32_t lane_count)
{
    struct layout layout = layout_of(lane_count);

    shared->size = layout.size;
    shared->lane_count = lane_count;
    shared->slot_count = lane_count * WIRE_LANE_SLOTS;
    shared->lanes_offset = layout.lanes_offset;
    shared->published_offset = layout.published_offset;
    shared->engine_readers = 0;
    atomic_init(&shared->state, WIRE_STORAGE_DOWN);
    atomic_init(&shared->generation, 0);
    atomic_init(&shared->applied_version, 0);
    atomic_init(&shared->horizon, 0);
    atomic_init(&shared->horizon_wanted, 0);
    for (uint32_t i = 0; i < lane_count + WIRE_ENGINE_READERS_MAX; i++)
        init_published(wire_shared_published(shared, i));
    for (uint32_t i = 0; i < WIRE_QUEUE_COUNT; i++)
        init_queue(shared, &shared->queues[i], layout.cells, layout.cells_offset + i * layout.queue_bytes);
    for (uint32_t i = 0; i < WIRE_OPERATION_COUNT; i++)
        init_counters(&shared->counters[i]);
    for (uint32_t i = 0; i < lane_count; i++)
        init_lane(wire_shared_lane(shared, i));
}

struct wire_lane *wire_shared_lane(struct wire_shared *shared, uint32_t lane)
{
    return (struct wire_lane *) ((char *) shared + shared->lanes_offset) + lane;
}

struct wire_published *wire_shared_published(struct wire_shared *shared, uint32_t reader)
{
    return (struct wire_published *) ((char *) shared + shared->published_offset) + reader;
}

struct wire_slot *wire_shared_slot(struct wire_shared *shared, uint32_t slot)
{
    return &wire_shared_lane(shared, slot / WIRE_LANE_SLOTS)->slots[slot % WIRE_LANE_SLOTS];
}

/*
 * "Full" is never said of a queue that has room: whoever sees tail == p (acquire) also sees every pop that made a slot
 * free for the pushes before p, and those leave at most one push a slot unpopped, none of the caller's own. So head is
 * seen within a lap of p.
 */
bool wire_queue_push(struct wire_shared *shared, enum wire_queue_name name, uint32_t slot)
{
    struct wire_queue *queue = &shared->queues[name];
    uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_acquire);

    for (;;) {
        struct wire_queue_cell *cell = cell_at(shared, queue, tail);
        uint64_t sequence = atomic_load_explicit(&cell->sequence, memory_order_acquire);

        if (sequence == tail) {
            if (atomic_compare_exchange_weak_explicit(&queue->tail, &tail, tail + 1, memory_order_acq_rel,
                                                      memory_order_acquire)) {
                cell->slot = slot;
                atomic_store_explicit(&cell->sequence, tail + 1, memory_order_release);
                return true;
            }
            continue; /* the exchange has reloaded tail */
        }
        if (sequence < tail) {
            uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);

            if (head <= tail && tail - head > queue->mask)
                return false;
        }
        /* Someone is about to have emptied this cell, or `tail` is old. */
        tail = atomic_load_explicit(&queue->tail, memory_order_acquire);
    }
}

bool wire_queue_pop(struct wire_shared *shared, enum wire_queue_name name, uint32_t *slot)
{
    struct wire_queue *queue = &shared->queues[name];
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);

    for (;;) {
        struct wire_queue_cell *cell = cell_at(shared, queue, head);
        uint64_t sequence = atomic_load_explicit(&cell->sequence, memory_order_acquire);

        if (sequence == head + 1) {
            if (atomic_compare_exchange_weak_explicit(&queue->head, &head, head + 1, memory_order_relaxed,
                                                      memory_order_relaxed)) {
                *slot = cell->slot;
                atomic_store_explicit(&cell->sequence, head + queue->mask + 1, memory_order_release);
                return true;
            }
            continue; /* the exchange has reloaded head */
        }
        if (sequence < head + 1)
            return false;
        head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    }
}

enum wire_queue_name wire_request_queue(enum wire_operation operation, uint16_t flags)
{
    switch (operation) {
    case WIRE_GET:
    case WIRE_LOOKUP:
    case WIRE_STORAGES:
    case WIRE_STATUS:
        return WIRE_QUEUE_READS;
    case WIRE_SCAN:
        return flags & WIRE_SHORT ? WIRE_QUEUE_READS : WIRE_QUEUE_SCANS;
    default:
        return WIRE_QUEUE_WRITES;
    }
}

uint32_t wire_latency_bucket(uint64_t us)
{
    uint32_t bucket = 0;

    while (us > 1 && bucket < WIRE_LATENCY_BUCKETS - 1) {
        us >>= 1;
        bucket++;
    }
    return bucket;
}

uint64_t wire_snapshot_take(struct wire_shared *shared, struct wire_published *published, uint64_t now_ms)
{
    uint64_t version = atomic_load(&shared->applied_version);
    bool first = atomic_load_explicit(&published->snapshot, memory_order_relaxed) == 0;

    /* Only its owner stores here. Ages before snapshots: who sees a snapshot sees its age, not that of one before it. */
    if (first)
        atomic_store_explicit(&published->since_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&published->newest_since_ms, now_ms, memory_order_relaxed);
    for (;;) {
        atomic_store(&published->newest, version);
        if (first)
            atomic_store(&published->snapshot, version);
        if (atomic_load(&shared->horizon_wanted) <= version)
            return version;
        version = atomic_load(&shared->applied_version);
    }
}

void wire_snapshot_release(struct wire_published *published)
{
    atomic_store_explicit(&published->snapshot, 0, memory_order_release);
    atomic_store_explicit(&published->newest, 0, memory_order_release);
}

/* The lesser of `limit` and a snapshot, unless there is none or it is aged. */
static uint64_t lesser(uint64_t snapshot, const _Atomic uint64_t *since, uint64_t limit, uint64_t now_ms,
                       uint64_t max_age_ms)
{
    uint64_t since_ms;

    if (snapshot == 0 || snapshot >= limit)
        return limit;
    since_ms = atomic_load_explicit(since, memory_order_relaxed);
    return max_age_ms > 0 && now_ms > since_ms && now_ms - since_ms > max_age_ms ? limit : snapshot;
}

static uint64_t least_of(struct wire_published *published, uint64_t limit, uint64_t now_ms, uint64_t max_age_ms)
{
    limit = lesser(atomic_load(&published->newest), &published->newest_since_ms, limit, now_ms, max_age_ms);
    return lesser(atomic_load(&published->snapshot), &published->since_ms, limit, now_ms, max_age_ms);
}

/* The least of `limit` and the published snapshots, aged ones left out. */
static uint64_t least_snapshot(struct wire_shared *shared, uint64_t limit, uint64_t now_ms, uint64_t max_age_ms)
{
    for (uint32_t i = 0; i < shared->lane_count + shared->engine_readers; i++)
        limit = least_of(wire_shared_published(shared, i), limit, now_ms, max_age_ms);
    return limit;
}

uint64_t wire_horizon_propose(struct wire_shared *shared, uint64_t wanted, uint64_t now_ms, uint64_t max_age_ms)
{
    uint64_t applied = atomic_load(&shared->applied_version);
    uint64_t floor = atomic_load(&shared->horizon_wanted);
    uint64_t horizon = atomic_load(&shared->horizon); /* may be the greater after a restart */
    uint64_t result;

    if (wanted > applied)
        wanted = applied;
    if (floor < horizon)
        floor = horizon;
    if (wanted <= floor)
        return wanted;
    atomic_store(&shared->horizon_wanted, wanted);
    result = least_snapshot(shared, wanted, now_ms, max_age_ms);
    if (result < floor)
        result = floor;
    if (result < wanted)
        atomic_store(&shared->horizon_wanted, result);
    return result;
}
