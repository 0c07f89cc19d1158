/* The shared region: layout, queues (alone and between threads), latency buckets, snapshots against the horizon (alone
 * and between threads). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "wire_lane.h"

/* In exactly the bytes that wire_shared_size asks for, dirty, so that a sanitizer and a forgotten field both show. */
static struct wire_shared *region_of(uint32_t lane_count)
{
    size_t size = wire_shared_size(lane_count);
    struct wire_shared *shared = aligned_alloc(64, size);

    assert_non_null(shared);
    memset(shared, 0xa5, size);
    wire_shared_init(shared, lane_count);
    return shared;
}

static void test_init_sets_everything(void **state)
{
    struct wire_shared *shared = region_of(3);

    (void) state;
    assert_true(shared->size == wire_shared_size(3));
    assert_int_equal(shared->lane_count, 3);
    assert_int_equal(shared->slot_count, 3 * WIRE_LANE_SLOTS);
    assert_int_equal(atomic_load(&shared->state), WIRE_STORAGE_DOWN);
    assert_int_equal(atomic_load(&shared->generation), 0);
    assert_true(atomic_load(&shared->applied_version) == 0);
    assert_true(atomic_load(&shared->horizon) == 0 && atomic_load(&shared->horizon_wanted) == 0);
    for (uint32_t i = 0; i < WIRE_OPERATION_COUNT; i++) {
        assert_true(atomic_load(&shared->counters[i].count) == 0 && atomic_load(&shared->counters[i].errors) == 0);
        assert_true(atomic_load(&shared->counters[i].bytes_in) == 0 &&
                    atomic_load(&shared->counters[i].bytes_out) == 0);
        assert_true(atomic_load(&shared->counters[i].total_us) == 0);
        for (uint32_t b = 0; b < WIRE_LATENCY_BUCKETS; b++)
            assert_true(atomic_load(&shared->counters[i].latency[b]) == 0);
    }
    for (uint32_t i = 0; i < WIRE_QUEUE_COUNT; i++)
        assert_true(atomic_load(&shared->queues[i].event) == 0 && atomic_load(&shared->queues[i].sleepers) == 0);
    for (uint32_t i = 0; i < shared->slot_count; i++) {
        struct wire_slot *slot = wire_shared_slot(shared, i);

        assert_int_equal(atomic_load(&slot->state), WIRE_SLOT_FREE);
        assert_int_equal(slot->purpose | slot->size | slot->offset | slot->total | slot->more, 0);
        assert_true(slot->submitted_ns == 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(atomic_load(&wire_shared_published(shared, i)->snapshot) == 0);
        assert_true(atomic_load(&wire_shared_published(shared, i)->since_ms) == 0);
    }
    free(shared);
}

static void test_parts_are_aligned_and_apart(void **state)
{
    (void) state;
    for (uint32_t lanes = 0; lanes <= 70; lanes++) {
        struct wire_shared *shared = region_of(lanes);
        uint64_t cells = shared->queues[0].mask + UINT64_C(1);
        uint64_t slots = lanes * WIRE_LANE_SLOTS;
        uint64_t end = sizeof *shared;

        assert_true(cells >= slots && (cells & (cells - 1)) == 0);
        assert_true(cells == 2 || cells / 2 < slots); /* the next power of two, no more */
        for (uint32_t i = 0; i < WIRE_QUEUE_COUNT; i++) {
            assert_int_equal(shared->queues[i].mask + UINT64_C(1), cells);
            assert_true(shared->queues[i].cells_offset >= end);
            assert_int_equal(shared->queues[i].cells_offset % 64, 0);
            end = shared->queues[i].cells_offset + cells * sizeof(struct wire_queue_cell);
        }
        assert_true(shared->lanes_offset >= end);
        assert_int_equal(shared->lanes_offset % 64, 0);
        assert_true(shared->lanes_offset + lanes * sizeof(struct wire_lane) == shared->size);
        free(shared);
    }
}

static void test_slots_are_numbered_by_lane(void **state)
{
    struct wire_shared *shared = region_of(5);

    (void) state;
    for (uint32_t i = 0; i < shared->slot_count; i++) {
        struct wire_lane *lane = wire_shared_lane(shared, i / WIRE_LANE_SLOTS);
        struct wire_slot *slot = wire_shared_slot(shared, i);

        assert_ptr_equal(slot, &lane->slots[i % WIRE_LANE_SLOTS]);
        assert_int_equal((uintptr_t) slot % 64, 0);
        memset(slot->buffer, (int) i, sizeof slot->buffer);
    }
    for (uint32_t i = 0; i < shared->slot_count; i++)
        assert_int_equal(wire_shared_slot(shared, i)->buffer[WIRE_PIECE_MAX - 1], i);
    free(shared);
}

static void test_size_of_many_lanes(void **state)
{
    uint64_t lanes = UINT64_C(1) << 20;

    (void) state;
    assert_true(wire_shared_size(1 << 20) > lanes * WIRE_LANE_SLOTS * WIRE_PIECE_MAX); /* does not wrap at 32 bits */
}

static void test_queue_holds_every_slot_in_order(void **state)
{
    (void) state;
    for (uint32_t lanes = 1; lanes <= 4; lanes++) {
        struct wire_shared *shared = region_of(lanes);
        uint32_t cells = shared->queues[WIRE_QUEUE_SCANS].mask + 1;
        uint32_t slot = 99;

        for (int lap = 0; lap < 5; lap++) {
            assert_false(wire_queue_pop(shared, WIRE_QUEUE_SCANS, &slot));
            for (uint32_t i = 0; i < cells; i++)
                assert_true(wire_queue_push(shared, WIRE_QUEUE_SCANS, i));
            assert_false(wire_queue_push(shared, WIRE_QUEUE_SCANS, 0));    /* full: more than there are slots */
            assert_false(wire_queue_pop(shared, WIRE_QUEUE_READS, &slot)); /* queues are apart */
            for (uint32_t i = 0; i < cells; i++) {
                assert_true(wire_queue_pop(shared, WIRE_QUEUE_SCANS, &slot));
                assert_int_equal(slot, i);
            }
        }
        free(shared);
    }
}

static void test_operations_have_queues(void **state)
{
    static const enum wire_queue_name expected[WIRE_OPERATION_COUNT] = {
        [WIRE_GET] = WIRE_QUEUE_READS,     [WIRE_SCAN] = WIRE_QUEUE_SCANS,     [WIRE_WRITE] = WIRE_QUEUE_WRITES,
        [WIRE_COMMIT] = WIRE_QUEUE_WRITES, [WIRE_SPILL] = WIRE_QUEUE_WRITES,   [WIRE_ABORT] = WIRE_QUEUE_WRITES,
        [WIRE_DECIDE] = WIRE_QUEUE_WRITES, [WIRE_STORAGE] = WIRE_QUEUE_WRITES, [WIRE_LOOKUP] = WIRE_QUEUE_READS,
        [WIRE_DROP] = WIRE_QUEUE_WRITES,   [WIRE_STORAGES] = WIRE_QUEUE_READS, [WIRE_STATUS] = WIRE_QUEUE_READS};

    (void) state;
    for (int operation = WIRE_GET; operation < WIRE_OPERATION_COUNT; operation++)
        assert_int_equal(wire_request_queue((enum wire_operation) operation, 0), expected[operation]);
    for (int operation = WIRE_GET; operation < WIRE_OPERATION_COUNT; operation++)
        assert_int_equal(wire_request_queue((enum wire_operation) operation, WIRE_SHORT),
                         operation == WIRE_SCAN ? WIRE_QUEUE_READS : expected[operation]);
}

static void test_latency_buckets(void **state)
{
    (void) state;
    assert_int_equal(wire_latency_bucket(0), 0);
    for (uint32_t b = 0; b < WIRE_LATENCY_BUCKETS; b++) {
        assert_int_equal(wire_latency_bucket(UINT64_C(1) << b), b);
        assert_int_equal(wire_latency_bucket((UINT64_C(2) << b) - 1), b);
    }
    assert_int_equal(wire_latency_bucket(UINT64_C(1) << WIRE_LATENCY_BUCKETS), WIRE_LATENCY_BUCKETS - 1);
    assert_int_equal(wire_latency_bucket(UINT64_MAX), WIRE_LATENCY_BUCKETS - 1);
}

/*
 * Queue between threads. Each producer owns lanes, as backends do: it numbers its messages per slot, hands a slot over
 * by the queue and uses it again when it is FREE. A consumer expects of each slot exactly the number after the last.
 */
#define PRODUCERS 4
#define CONSUMERS 3

struct queue_run {
    struct wire_shared *shared;
    uint32_t messages; /* per slot */
    _Atomic uint64_t received;
    _Atomic uint32_t wrong_order;
    _Atomic uint32_t refused;
    uint32_t *last; /* per slot: last number received; guarded by the slot's hand-over */
};

struct queue_producer {
    struct queue_run *run;
    uint32_t number;
};

static void *produce(void *argument)
{
    struct queue_producer *producer = argument;
    struct queue_run *run = producer->run;
    uint64_t left = 0;
    uint32_t sent[64] = {0};

    for (uint32_t i = producer->number; i < run->shared->slot_count; i += PRODUCERS)
        left += run->messages;
    while (left > 0) {
        for (uint32_t i = producer->number; i < run->shared->slot_count; i += PRODUCERS) {
            struct wire_slot *slot = wire_shared_slot(run->shared, i);

            if (sent[i] == run->messages || atomic_load_explicit(&slot->state, memory_order_acquire) != WIRE_SLOT_FREE)
                continue;
            slot->total = ++sent[i];
            atomic_store_explicit(&slot->state, WIRE_SLOT_SUBMITTED, memory_order_relaxed);
            if (!wire_queue_push(run->shared, WIRE_QUEUE_WRITES, i))
                atomic_fetch_add(&run->refused, 1);
            left--;
        }
        if (run->shared->slot_count <= 2 * PRODUCERS)
            sched_yield();
    }
    return NULL;
}

static void *consume(void *argument)
{
    struct queue_run *run = argument;
    uint64_t expected = (uint64_t) run->messages * run->shared->slot_count;
    uint32_t number;

    while (atomic_load(&run->received) + atomic_load(&run->refused) < expected) {
        struct wire_slot *slot;

        if (!wire_queue_pop(run->shared, WIRE_QUEUE_WRITES, &number)) {
            sched_yield();
            continue;
        }
        slot = wire_shared_slot(run->shared, number);
        if (slot->total != run->last[number] + 1)
            atomic_fetch_add(&run->wrong_order, 1);
        run->last[number] = slot->total;
        atomic_fetch_add(&run->received, 1);
        atomic_store_explicit(&slot->state, WIRE_SLOT_FREE, memory_order_release);
    }
    return NULL;
}

static void run_queue(uint32_t lanes, uint32_t messages)
{
    struct queue_run run = {.shared = region_of(lanes), .messages = messages};
    struct queue_producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS + CONSUMERS];
    uint32_t rest;

    run.last = calloc(run.shared->slot_count, sizeof *run.last);
    for (uint32_t i = 0; i < CONSUMERS; i++)
        assert_int_equal(pthread_create(&threads[PRODUCERS + i], NULL, consume, &run), 0);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct queue_producer){&run, i};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (uint32_t i = 0; i < PRODUCERS + CONSUMERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&run.refused), 0);
    assert_int_equal(atomic_load(&run.wrong_order), 0);
    assert_true(atomic_load(&run.received) == (uint64_t) messages * run.shared->slot_count);
    for (uint32_t i = 0; i < run.shared->slot_count; i++)
        assert_int_equal(run.last[i], messages);
    assert_false(wire_queue_pop(run.shared, WIRE_QUEUE_WRITES, &rest));
    free(run.last);
    free(run.shared);
}

static void test_queue_between_threads(void **state)
{
    (void) state;
    run_queue(1, 60000); /* as many cells as slots: every message is a new lap of the one before but one */
    run_queue(2, 40000);
    run_queue(4, 20000);
    run_queue(24, 4000); /* fewer slots than cells */
}

static void test_full_and_empty_with_a_producer_interrupted(void **state)
{
    struct wire_shared *shared = region_of(2);
    struct wire_queue *queue = &shared->queues[WIRE_QUEUE_READS];
    struct wire_queue_cell *cells = (struct wire_queue_cell *) ((char *) shared + queue->cells_offset);
    uint32_t slot;

    (void) state;
    assert_int_equal(queue->mask, 3);
    for (uint32_t i = 0; i < 4; i++)
        assert_true(wire_queue_push(shared, WIRE_QUEUE_READS, i));
    assert_true(wire_queue_pop(shared, WIRE_QUEUE_READS, &slot));
    /* What is full is told by head and tail: with slot 0 popped there is room for one, not for two. */
    assert_true(atomic_load(&cells[0].sequence) == 4);
    assert_true(wire_queue_push(shared, WIRE_QUEUE_READS, 0));
    assert_false(wire_queue_push(shared, WIRE_QUEUE_READS, 0));
    /* A producer that has claimed its cell and not yet filled it hides those behind it, and no more than that. */
    for (uint32_t i = 0; i < 4; i++)
        assert_true(wire_queue_pop(shared, WIRE_QUEUE_READS, &slot));
    atomic_fetch_add(&queue->tail, 1); /* claims position 5, cell 1 */
    assert_true(wire_queue_push(shared, WIRE_QUEUE_READS, 3));
    assert_false(wire_queue_pop(shared, WIRE_QUEUE_READS, &slot));
    cells[1].slot = 2;
    atomic_store(&cells[1].sequence, 6);
    assert_true(wire_queue_pop(shared, WIRE_QUEUE_READS, &slot));
    assert_int_equal(slot, 2);
    assert_true(wire_queue_pop(shared, WIRE_QUEUE_READS, &slot));
    assert_int_equal(slot, 3);
    free(shared);
}

struct late_consumer {
    struct wire_shared *shared;
    struct wire_queue_cell *cell;
    _Atomic uint32_t pushing;
};

static void *finish_late(void *argument)
{
    struct late_consumer *late = argument;

    while (!atomic_load(&late->pushing))
        sched_yield();
    for (int i = 0; i < 1000; i++)
        sched_yield();
    atomic_store_explicit(&late->cell->sequence, 4, memory_order_release);
    return NULL;
}

/* A consumer stopped between claiming cell 0 and giving it up; the other slots go round to it. */
static void test_push_waits_for_an_interrupted_consumer(void **state)
{
    struct late_consumer late = {.shared = region_of(2)};
    struct wire_queue *queue = &late.shared->queues[WIRE_QUEUE_READS];
    pthread_t thread;
    uint32_t slot;

    (void) state;
    late.cell = (struct wire_queue_cell *) ((char *) late.shared + queue->cells_offset);
    for (uint32_t i = 0; i < 4; i++)
        assert_true(wire_queue_push(late.shared, WIRE_QUEUE_READS, i));
    atomic_fetch_add(&queue->head, 1); /* its claim */
    assert_true(wire_queue_pop(late.shared, WIRE_QUEUE_READS, &slot));
    assert_int_equal(slot, 1);
    assert_int_equal(pthread_create(&thread, NULL, finish_late, &late), 0);
    atomic_store(&late.pushing, 1);
    assert_true(wire_queue_push(late.shared, WIRE_QUEUE_READS, 1));
    pthread_join(thread, NULL);
    for (uint32_t i = 2; i < 5; i++) {
        assert_true(wire_queue_pop(late.shared, WIRE_QUEUE_READS, &slot));
        assert_int_equal(slot, i < 4 ? i : 1);
    }
    free(late.shared);
}

static void test_snapshot_is_published_until_released(void **state)
{
    struct wire_shared *shared = region_of(2);
    struct wire_published *lane = wire_shared_published(shared, 0);

    (void) state;
    atomic_store(&shared->applied_version, 100);
    assert_true(wire_snapshot_take(shared, lane, 5000) == 100);
    assert_true(atomic_load(&lane->snapshot) == 100 && atomic_load(&lane->since_ms) == 5000);
    atomic_store(&shared->applied_version, 200);
    assert_true(wire_snapshot_take(shared, lane, 6000) == 200);
    assert_true(atomic_load(&lane->snapshot) == 100 && atomic_load(&lane->since_ms) == 5000);
    wire_snapshot_release(lane);
    assert_true(atomic_load(&lane->snapshot) == 0);
    assert_true(wire_snapshot_take(shared, lane, 7000) == 200);
    assert_true(atomic_load(&lane->snapshot) == 200 && atomic_load(&lane->since_ms) == 7000);
    assert_true(atomic_load(&wire_shared_published(shared, 1)->snapshot) == 0);
    free(shared);
}

static void test_snapshot_of_nothing(void **state)
{
    struct wire_shared *shared = region_of(1);

    (void) state;
    assert_true(wire_snapshot_take(shared, wire_shared_published(shared, 0), 1) == 0);
    assert_true(atomic_load(&wire_shared_published(shared, 0)->snapshot) == 0);
    free(shared);
}

static void test_proposal_is_the_least_snapshot(void **state)
{
    struct wire_shared *shared = region_of(3);
    struct wire_published *last = wire_shared_published(shared, 2);

    (void) state;
    assert_true(wire_horizon_propose(shared, 50, 0, 0) == 0); /* nothing is applied */
    atomic_store(&shared->applied_version, 100);
    wire_snapshot_take(shared, last, 0);
    atomic_store(&shared->applied_version, 300);
    wire_snapshot_take(shared, wire_shared_published(shared, 0), 0);
    assert_true(wire_horizon_propose(shared, 50, 0, 0) == 50);
    assert_true(atomic_load(&shared->horizon_wanted) == 50);
    assert_true(wire_horizon_propose(shared, 100, 0, 0) == 100);
    assert_true(wire_horizon_propose(shared, 250, 0, 0) == 100);
    assert_true(atomic_load(&shared->horizon_wanted) == 100); /* lowered again: new snapshots need no more than that */
    wire_snapshot_release(last);
    assert_true(wire_horizon_propose(shared, 250, 0, 0) == 250);
    assert_true(wire_horizon_propose(shared, 999, 0, 0) == 300); /* as far as is applied, where lane 0 reads too */
    assert_true(atomic_load(&shared->horizon_wanted) == 300);
    assert_true(wire_horizon_propose(shared, 120, 0, 0) == 120); /* less than before, and nothing moves */
    assert_true(atomic_load(&shared->horizon_wanted) == 300);
    free(shared);
}

static void test_aged_snapshots_do_not_count(void **state)
{
    struct wire_shared *shared = region_of(2);

    (void) state;
    atomic_store(&shared->applied_version, 100);
    wire_snapshot_take(shared, wire_shared_published(shared, 0), 10000);
    atomic_store(&shared->applied_version, 200);
    wire_snapshot_take(shared, wire_shared_published(shared, 1), 15000);
    atomic_store(&shared->applied_version, 300);
    assert_true(wire_horizon_propose(shared, 300, 20000, 0) == 100);
    assert_true(wire_horizon_propose(shared, 300, 9000, 5000) == 100);  /* taken "later than now": young */
    assert_true(wire_horizon_propose(shared, 300, 15000, 5000) == 100); /* exactly the limit is not over it */
    assert_true(wire_horizon_propose(shared, 300, 15001, 5000) == 200);
    assert_true(wire_horizon_propose(shared, 300, 20001, 5000) == 300);
    free(shared);
}

/* Who has held a snapshot for too long still reads at a new one undisturbed. */
static void test_newest_stands_beside_an_aged_one(void **state)
{
    struct wire_shared *shared = region_of(1);
    struct wire_published *reader = wire_shared_published(shared, 0);

    (void) state;
    atomic_store(&shared->applied_version, 100);
    assert_true(wire_snapshot_take(shared, reader, 10000) == 100);
    atomic_store(&shared->applied_version, 200);
    assert_true(wire_snapshot_take(shared, reader, 20000) == 200);
    atomic_store(&shared->applied_version, 300);
    assert_true(wire_horizon_propose(shared, 300, 12000, 5000) == 100);
    assert_true(wire_horizon_propose(shared, 300, 21000, 5000) == 200);
    assert_true(wire_snapshot_take(shared, reader, 22000) == 300);
    assert_true(wire_horizon_propose(shared, 300, 23000, 5000) == 300);
    wire_snapshot_release(reader);
    assert_true(atomic_load(&reader->newest) == 0);
    free(shared);
}

/* The state in which a taker is that loaded applied_version before the first proposal and stores it after: nobody reads
 * at 90, and a second proposal must not take the first one back for its sake, or the taker would come to read there. */
static void test_stale_store_does_not_lower_a_proposal(void **state)
{
    struct wire_shared *shared = region_of(2);
    struct wire_published *lane = wire_shared_published(shared, 0);

    (void) state;
    atomic_store(&shared->applied_version, 100);
    assert_true(wire_horizon_propose(shared, 100, 0, 0) == 100);
    atomic_store(&shared->horizon, 100);
    atomic_store(&lane->snapshot, 90);
    atomic_store(&shared->applied_version, 120);
    assert_true(wire_horizon_propose(shared, 120, 0, 0) == 100);
    assert_true(atomic_load(&shared->horizon_wanted) == 100); /* the taker finds it above 90 and retries */
    atomic_store(&lane->snapshot, 0);
    /* After a restart only the horizon itself is known. */
    atomic_store(&shared->horizon_wanted, 0);
    atomic_store(&lane->snapshot, 90);
    assert_true(wire_horizon_propose(shared, 120, 0, 0) == 100);
    free(shared);
}

struct waiting_taker {
    struct wire_shared *shared;
    _Atomic uint64_t taken;
};

static void *take_once(void *argument)
{
    struct waiting_taker *taker = argument;

    atomic_store(&taker->taken, wire_snapshot_take(taker->shared, wire_shared_published(taker->shared, 0), 1));
    return NULL;
}

/* A taker behind horizon_wanted retries until applied_version has passed it, and publishes what it then returns. */
static void test_taker_retries_below_the_wanted_horizon(void **state)
{
    struct waiting_taker taker = {.shared = region_of(1)};
    struct wire_published *lane = wire_shared_published(taker.shared, 0);
    pthread_t thread;

    (void) state;
    atomic_store(&taker.shared->applied_version, 80);
    atomic_store(&taker.shared->horizon_wanted, 100);
    assert_int_equal(pthread_create(&thread, NULL, take_once, &taker), 0);
    while (atomic_load(&lane->snapshot) != 80)
        sched_yield();
    assert_true(atomic_load(&taker.taken) == 0);
    atomic_store(&taker.shared->applied_version, 101);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&taker.taken) == 101);
    assert_true(atomic_load(&lane->snapshot) == 101);
    free(taker.shared);
}

/*
 * The handshake between threads. Takers hold snapshots for a while and look at the stored horizon all the time; one
 * thread applies, one proposes and stores, as eagerly as the contract allows. A horizon above a held snapshot, or one
 * that goes back, is a fault.
 */
#define TAKERS_MAX 3

struct horizon_run {
    struct wire_shared *shared;
    uint32_t takes; /* per taker */
    bool proposer_applies;
    _Atomic uint32_t takers_left;
    _Atomic uint64_t passed; /* horizons seen above a held snapshot */
    _Atomic uint64_t went_back;
    _Atomic uint64_t not_published;
    uint64_t moves; /* proposer only: how often the horizon rose */
};

struct horizon_taker {
    struct horizon_run *run;
    uint32_t lane;
};

static void *take_snapshots(void *argument)
{
    struct horizon_taker *taker = argument;
    struct horizon_run *run = taker->run;
    struct wire_published *lane = wire_shared_published(run->shared, taker->lane);

    for (uint32_t i = 0; i < run->takes; i++) {
        uint64_t snapshot = wire_snapshot_take(run->shared, lane, 0);

        if (atomic_load(&lane->snapshot) != snapshot)
            atomic_fetch_add(&run->not_published, 1);
        for (uint32_t look = 0; look < 2 + i % 7; look++)
            if (atomic_load(&run->shared->horizon) > snapshot)
                atomic_fetch_add(&run->passed, 1);
        if (i % 5 == 0 && wire_snapshot_take(run->shared, lane, 0) < snapshot)
            atomic_fetch_add(&run->went_back, 1);
        if (i % 64 == 0)
            sched_yield();
        if (atomic_load(&run->shared->horizon) > snapshot)
            atomic_fetch_add(&run->passed, 1);
        wire_snapshot_release(lane);
    }
    atomic_fetch_sub(&run->takers_left, 1);
    return NULL;
}

static void *apply_versions(void *argument)
{
    struct horizon_run *run = argument;

    while (atomic_load(&run->takers_left) > 0)
        for (int i = 0; i < 16; i++)
            atomic_fetch_add(&run->shared->applied_version, 1);
    return NULL;
}

static void *propose_horizons(void *argument)
{
    struct horizon_run *run = argument;
    uint64_t last = 0;

    while (atomic_load(&run->takers_left) > 0) {
        uint64_t horizon;

        if (run->proposer_applies)
            atomic_fetch_add(&run->shared->applied_version, 1);
        horizon = wire_horizon_propose(run->shared, atomic_load(&run->shared->applied_version), 0, 0);
        if (horizon < last)
            atomic_fetch_add(&run->went_back, 1);
        run->moves += horizon > last;
        last = horizon;
        atomic_store(&run->shared->horizon, horizon);
    }
    return NULL;
}

static void run_horizon(uint32_t taker_count, uint32_t takes, bool proposer_applies)
{
    struct horizon_run run = {
        .shared = region_of(taker_count * 2 - 1), .takes = takes, .proposer_applies = proposer_applies};
    struct horizon_taker takers[TAKERS_MAX];
    pthread_t threads[TAKERS_MAX + 2];
    uint32_t count = 0;
    uint64_t applied;

    atomic_store(&run.takers_left, taker_count);
    atomic_store(&run.shared->applied_version, 1);
    for (; count < taker_count; count++) {
        takers[count] = (struct horizon_taker){&run, count * 2}; /* lanes between them stay empty */
        assert_int_equal(pthread_create(&threads[count], NULL, take_snapshots, &takers[count]), 0);
    }
    assert_int_equal(pthread_create(&threads[count++], NULL, propose_horizons, &run), 0);
    if (!proposer_applies)
        assert_int_equal(pthread_create(&threads[count++], NULL, apply_versions, &run), 0);
    while (count > 0)
        pthread_join(threads[--count], NULL);
    assert_true(atomic_load(&run.passed) == 0);
    assert_true(atomic_load(&run.went_back) == 0);
    assert_true(atomic_load(&run.not_published) == 0);
    assert_true(run.moves > 0); /* it did move, or nothing was tested */
    applied = atomic_load(&run.shared->applied_version);
    assert_true(wire_horizon_propose(run.shared, applied, 0, 0) == applied);
    free(run.shared);
}

static void test_horizon_never_passes_a_snapshot(void **state)
{
    (void) state;
    run_horizon(3, 60000, false);
}

/* Two threads only, each on a processor of its own, nose to nose: here a store that is late behind a load shows. */
static void test_horizon_and_snapshot_nose_to_nose(void **state)
{
    (void) state;
    run_horizon(1, 1000000, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_sets_everything),
        cmocka_unit_test(test_parts_are_aligned_and_apart),
        cmocka_unit_test(test_slots_are_numbered_by_lane),
        cmocka_unit_test(test_size_of_many_lanes),
        cmocka_unit_test(test_queue_holds_every_slot_in_order),
        cmocka_unit_test(test_operations_have_queues),
        cmocka_unit_test(test_latency_buckets),
        cmocka_unit_test(test_queue_between_threads),
        cmocka_unit_test(test_full_and_empty_with_a_producer_interrupted),
        cmocka_unit_test(test_push_waits_for_an_interrupted_consumer),
        cmocka_unit_test(test_snapshot_is_published_until_released),
        cmocka_unit_test(test_snapshot_of_nothing),
        cmocka_unit_test(test_proposal_is_the_least_snapshot),
        cmocka_unit_test(test_aged_snapshots_do_not_count),
        cmocka_unit_test(test_newest_stands_beside_an_aged_one),
        cmocka_unit_test(test_stale_store_does_not_lower_a_proposal),
        cmocka_unit_test(test_taker_retries_below_the_wanted_horizon),
        cmocka_unit_test(test_horizon_never_passes_a_snapshot),
        cmocka_unit_test(test_horizon_and_snapshot_nose_to_nose),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
