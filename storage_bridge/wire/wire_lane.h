/*
 * Lanes: the shared memory between backends and the storage process.
 *
 * Each backend owns a lane of WIRE_LANE_SLOTS slots; slot number = lane * WIRE_LANE_SLOTS + k. A slot is single
 * producer (the backend), single consumer (the engine thread that popped its number), and changes hands by its state
 * word only:
 *
 *   FREE -> (backend fills buffer) -> SUBMITTED [-> SLEEPING, backend in futex wait] -> DONE -> (backend reads buffer)
 * -> FREE SUBMITTED | SLEEPING -> ABANDONED (backend cancelled a read) -> FREE (engine, when it is done with it)
 *
 * Messages over WIRE_PIECE_MAX travel in pieces: the backend submits pieces in order, `offset` and `total` telling
 * where each belongs, and gets DONE with piece_status MORE for each but the last; the engine assembles them in memory
 * of its own. A reply larger than a piece: DONE with the first piece and the reply's total; the backend submits FETCH
 * with the next offset. A piece that does not continue what the engine holds is refused with WIRE_E_BAD_FORMAT.
 *
 * A lane takes 2 * (WIRE_PIECE_MAX + 64) + 64 bytes: the region has 32 MB for 100 connections (122 lanes, of every
 * process that may have one) and 268 MB for 1000. Its pages come into being when they are first used, and a lane that
 * carries small messages uses two pages a slot; with huge pages all of it is there from the start.
 *
 * Queues carry slot numbers, one for reads, one for scans, one for writes: bounded, many producers, many consumers (D.
 * Vyukov's). A queue has room for every slot that exists, so a push never fails. A slot number is in at most one queue,
 * at most once.
 *
 * Futex words: wire_slot.state (backend sleeps: value SLEEPING), wire_queue.event (engine threads sleep). Waiting and
 * waking is done by the two sides; here are only the atomics.
 *
 * Guarded by: every _Atomic field by itself; slot buffer and plain slot fields by slot.state as above; the rest is
 * written once before the postmaster forks.
 */
#ifndef WIRE_LANE_H
#define WIRE_LANE_H

#include <stdalign.h>
#include <stdatomic.h>

#include "wire_bytes.h"
#include "wire_limits.h"
#include "wire_request.h"

#define WIRE_LANE_SLOTS 2
#define WIRE_ENGINE_READERS_MAX 65 /* threads of the engine that take snapshots themselves */
#define WIRE_LATENCY_BUCKETS                                                                                           \
    32 /* bucket b counts requests of [2^b, 2^(b+1)) microseconds; the first also those below */

enum wire_slot_state {
    WIRE_SLOT_FREE = 0,
    WIRE_SLOT_SUBMITTED = 1,
    WIRE_SLOT_SLEEPING = 2,
    WIRE_SLOT_DONE = 3,
    WIRE_SLOT_ABANDONED = 4
};

enum wire_slot_purpose {
    WIRE_SLOT_REQUEST = 0, /* buffer holds a request or a piece of one */
    WIRE_SLOT_FETCH = 1    /* asks for the reply's bytes from `offset` on */
};

enum wire_queue_name { WIRE_QUEUE_READS = 0, WIRE_QUEUE_SCANS = 1, WIRE_QUEUE_WRITES = 2, WIRE_QUEUE_COUNT = 3 };

enum wire_storage_state {
    WIRE_STORAGE_DOWN = 0,
    WIRE_STORAGE_STARTING = 1,
    WIRE_STORAGE_READY = 2,
    WIRE_STORAGE_FAILED = 3 /* refuses to serve: see the server log */
};

struct wire_slot {
    alignas(64) _Atomic uint32_t state;
    uint32_t purpose;      /* enum wire_slot_purpose */
    uint32_t size;         /* bytes in buffer, request or reply piece */
    uint32_t offset;       /* of these bytes in the whole message */
    uint32_t total;        /* of the whole message */
    uint32_t more;         /* engine: 1 = piece taken, send the next */
    uint64_t submitted_ns; /* CLOCK_MONOTONIC at the first piece: for the latency histogram */
    alignas(64) uint8_t buffer[WIRE_PIECE_MAX];
};

/* The oldest snapshot somebody may still read at, 0 = none, and the newest, which alone counts when the oldest has become
 * too old. Written by their reader, read by the storage process for the horizon. */
struct wire_published {
    alignas(64) _Atomic uint64_t snapshot;
    _Atomic uint64_t since_ms; /* wall time when it was taken */
    _Atomic uint64_t newest;
    _Atomic uint64_t newest_since_ms;
};

struct wire_lane {
    /* Full transaction id whose Postgres commit may be visible before its items are: set before the commit, 0 again
     * when the items are. Written by the backend, read by others that take snapshots. */
    alignas(64) _Atomic uint64_t deciding;
    struct wire_slot slots[WIRE_LANE_SLOTS];
};

struct wire_queue_cell {
    _Atomic uint64_t sequence;
    uint32_t slot;
};

struct wire_queue {
    alignas(64) _Atomic uint64_t tail;
    alignas(64) _Atomic uint64_t head;
    alignas(64) _Atomic uint32_t event; /* futex word, grows with every wake */
    _Atomic uint32_t sleepers;
    uint32_t mask;         /* cells - 1 */
    uint64_t cells_offset; /* of the first cell from the start of struct wire_shared */
};

struct wire_counters {
    _Atomic uint64_t count;
    _Atomic uint64_t errors;
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t bytes_out;
    _Atomic uint64_t total_us;
    _Atomic uint64_t latency[WIRE_LATENCY_BUCKETS];
};

struct wire_shared {
    uint64_t size; /* of the whole region */
    uint32_t lane_count;
    uint32_t slot_count;
    uint64_t lanes_offset;
    uint64_t published_offset;        /* side by side: the horizon looks at all of them */
    uint32_t engine_readers;          /* in use */
    _Atomic uint32_t state;           /* enum wire_storage_state; futex word for those who wait for READY */
    _Atomic uint32_t generation;      /* grows with each start of the storage process */
    _Atomic uint64_t applied_version; /* every version at or below is durable, and applied before it is read: a
                                         snapshot for free */
    _Atomic uint64_t horizon;         /* reads below it fail */
    _Atomic uint32_t deciding_count;  /* lanes with `deciding` set */
    _Atomic uint64_t horizon_wanted;  /* published before it is used: see wire_snapshot_take */
    struct wire_queue queues[WIRE_QUEUE_COUNT];
    struct wire_counters counters[WIRE_OPERATION_COUNT];
};

/* Bytes for `lane_count` lanes; and set the region up (all FREE, queues empty, state DOWN). Memory must be 64-byte
 * aligned. */
size_t wire_shared_size(uint32_t lane_count);
void wire_shared_init(struct wire_shared *shared, uint32_t lane_count);
/* After a crash of the storage process in a surviving region is impossible (Postgres resets shared memory), so there is
 * no repair. */

struct wire_lane *wire_shared_lane(struct wire_shared *shared, uint32_t lane);
/* Whose snapshots: those of the lanes by their number, behind them those of the engine's readers. */
struct wire_published *wire_shared_published(struct wire_shared *shared, uint32_t reader);
struct wire_slot *wire_shared_slot(struct wire_shared *shared, uint32_t slot);

/*
 * Push or pop a slot number. Push returns false only if the queue is full, which its size excludes. Pop returns false
 * if nothing is there, or if the producer that is next has claimed its cell and not yet filled it: so every push is
 * followed by a wake, and a consumer pops until false before it sleeps.
 */
bool wire_queue_push(struct wire_shared *shared, enum wire_queue_name name, uint32_t slot);
bool wire_queue_pop(struct wire_shared *shared, enum wire_queue_name name, uint32_t *slot);

/* Which queue a request belongs to, by its operation and flags. */
enum wire_queue_name wire_request_queue(enum wire_operation operation, uint16_t flags);

/* The bucket of a latency. */
uint32_t wire_latency_bucket(uint64_t us);

/*
 * Take the newest snapshot: publishes it and returns it. The handshake with wire_horizon_propose guarantees that the
 * horizon does not pass a published snapshot. Called by its owner, a lane's backend or a thread of the engine, while
 * the state is READY (applied_version is not below the horizon then). An older snapshot already published stays
 * published, with its age; once it is aged, of its owner's snapshots only the one taken last is protected. 0: nothing was
 * ever applied, nothing is published.
 */
uint64_t wire_snapshot_take(struct wire_shared *shared, struct wire_published *published, uint64_t now_ms);
void wire_snapshot_release(struct wire_published *published);

/*
 * The greatest horizon <= wanted that no published snapshot younger than max_age_ms stands against (0 age limit: none
 * ignored). Called before a HORIZON effect is logged, by one thread at a time; the caller stores the result in
 * shared->horizon before the effect can be applied: images below it may go at that moment, and readers look there after
 * they have read. The result is what earlier calls returned, or more, unless `wanted` itself is less: a result not
 * above the horizon is nothing to log. A `wanted` above applied_version counts as applied_version.
 */
uint64_t wire_horizon_propose(struct wire_shared *shared, uint64_t wanted, uint64_t now_ms, uint64_t max_age_ms);

#endif
