/*
 * The shard: evaluates writes in arrival order against the newest state, in-flight writes included; turns them into log
 * entries; applies entries once they are durable; then replies.
 *
 * A step function without threads, clock or I/O of its own: what happens comes in as events with the time, what must be
 * done comes out (entries to append and sync, fetches, replies). The items store is called directly (reads of memory,
 * writes to memtables). The same code runs under the simulator (tests/sim).
 *
 *   REQUEST -> evaluate -> entry in flight -> [caller appends and syncs] -> DURABLE -> apply to the store -> reply
 *
 * Rules
 * - A write that needs an item which is not in memory waits as "parked" until the caller has fetched it (FETCHED);
 * others pass it.
 * - Every reply that depended on an in-flight entry, refusals included, waits until that entry is durable and applied.
 * - What a final write supersedes is kept in the history only if a snapshot may need it: the caller says so before each
 * portion of entries is applied. For a minute after a transaction prepared with Postgres was committed all is kept:
 * snapshots that must not see it are fitted below it (design: both or neither).
 * - The lock of a transaction goes when its commit entry enters the in-flight overlay, not after the sync.
 * - After an error from log or store the caller stops the process; nothing in flight is acknowledged.
 *
 * Caller: one thread. Locks: none of its own.
 */
#ifndef SB_SHARD_H
#define SB_SHARD_H

#include "sb_log.h"
#include "sb_meta.h"
#include "sb_read.h"

struct sb_shard;

#define SB_KEEP_AFTER_DECISION_MS UINT64_C(60000) /* see the rules */

/*
 * Around each portion of entries that makes anything visible; may be NULL. `begin`: everything up to `version` is
 * durable and about to be applied: publish it as the newest version, readers of it wait for `end`; or only in `end`,
 * and return 0. Returns H: images
 * that are superseded at or below H may go, nobody reads below H and nobody will (0: keep all). `keep`: no new H, now.
 */
struct sb_portions {
    void *context;
    uint64_t (*begin)(void *context, uint64_t version, bool keep);
    void (*end)(void *context, uint64_t version);
};

struct sb_shard_options {
    struct sb_store *store;
    struct sb_transactions *transactions;
    uint64_t max_in_flight_bytes; /* entries not yet durable; beyond it new requests wait, but for ABORT and DECIDE */
    uint64_t settle_keys_max;     /* a committed transaction with more keys is left unsettled */
    struct sb_portions portions;
};

enum sb_event_kind {
    SB_EVENT_REQUEST = 1, /* token, bytes */
    SB_EVENT_DURABLE = 2, /* index: every entry up to it is synced */
    SB_EVENT_FETCHED = 3, /* token: of the parked request whose keys were read */
    SB_EVENT_TICK = 4,    /* horizon: proposal, 0 = none; also drives settling */
    SB_EVENT_FULL = 5     /* the log finds no room: what waits for entries in flight is refused */
};

struct sb_event {
    enum sb_event_kind kind;
    uint64_t token;
    struct wire_span bytes; /* borrowed for the step */
    uint64_t index;
    uint64_t horizon;
};

struct sb_reply {
    uint64_t token;
    enum wire_operation operation;
    struct wire_span bytes;
};

struct sb_fetch {
    uint64_t token;
    const struct wire_span *keys; /* of SB_ITEMS; valid until FETCHED(token) */
    size_t key_count;
};

/* What a step asks for. Arrays belong to the shard: entries until their DURABLE, fetches until their FETCHED, replies
 * until the next step. */
struct sb_step {
    const struct sb_log_entry *entries;
    size_t entry_count;
    const struct sb_reply *replies;
    size_t reply_count;
    const struct sb_fetch *fetches;
    size_t fetch_count;
    uint64_t applied_version; /* publish before sending replies */
    uint64_t applied_index;
    uint64_t horizon; /* publish before sending replies */
    bool more;        /* call again with TICK even if nothing happens: there is settling to do */
};

/* Opens on a store; reads the applied record and the transactions. Then every live log entry above *applied_index is
 * passed to sb_shard_replay in order, then sb_shard_start. */
int sb_shard_open(const struct sb_shard_options *options, struct sb_shard **out, uint64_t *applied_index,
                  struct sb_fault *fault);
int sb_shard_replay(struct sb_shard *shard, const struct sb_log_entry *entry, struct sb_fault *fault);
/* Ends replay: pending transactions that were not prepared are aborted (their owners are gone). Prepared ones wait for
 * WIRE_DECIDE. term: of new entries. */
int sb_shard_start(struct sb_shard *shard, uint64_t term, uint64_t now_ms, struct sb_fault *fault);
void sb_shard_close(struct sb_shard *shard);

/* Errors: WIRE_E_NOMEM, store errors: the shard is unusable then. Bad requests are answered, never an error. */
int sb_shard_step(struct sb_shard *shard, uint64_t now_ms, const struct sb_event *events, size_t count,
                  struct sb_step *out, struct sb_fault *fault);

/* Prepared transactions whose decision is unknown, ascending by decider: the least above `after`. 0: none. For
 * recovery; caller as for step. */
uint64_t sb_shard_prepared(struct sb_shard *shard, uint64_t after);

/* Counters for WIRE_STATUS. */
struct sb_shard_status {
    uint64_t applied_index;
    uint64_t in_flight_entries;
    uint64_t locks;
    uint64_t parked;
    uint64_t transactions;
    uint64_t user_bytes; /* keys and items of effects applied since open */
};
void sb_shard_status(const struct sb_shard *shard, struct sb_shard_status *out);

#endif
