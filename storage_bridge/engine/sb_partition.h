/*
 * A partition: the state machine of one replication group. Where its replica leads it evaluates writes in arrival order
 * against the newest state, in-flight writes included, and turns them into log entries; everywhere it applies entries
 * once they are committed; then it replies.
 *
 * A step function without threads, clock or I/O of its own: what happens comes in as events with the time, what must be
 * done comes out (entries to log, fetches, replies). The items store is called directly (reads of memory, writes to
 * memtables). The same code runs under the simulator (tests/sim).
 *
 *   REQUEST -> evaluate -> entry in flight -> [the group logs, syncs and replicates it] -> COMMITTED -> apply to the
 *   store -> reply
 *
 * Rules
 * - A write that needs an item which is not in memory waits as "parked" until the caller has fetched it (FETCHED);
 * others pass it.
 * - Every reply that depended on an in-flight entry, refusals included, waits until that entry is applied.
 * - What a final write supersedes is kept in the history only if a snapshot may need it: the caller says so before each
 * portion of entries is applied. For a minute after a transaction prepared with Postgres was committed all is kept:
 * snapshots that must not see it are fitted below it (design: both or neither).
 * - The lock of a transaction goes when its commit entry enters the in-flight overlay, not after the sync.
 * - Locks and what is not yet logged live and die with a leadership. A transaction that spilled and did not prepare
 * does not survive its leader: the next one aborts it.
 * - Requests that come before the replica leads wait for it (sb_partition_lead); when it has ceased to
 * (sb_partition_lose) all that wait are answered: WIRE_E_UNKNOWN_OUTCOME where an entry in flight may still be
 * committed, else WIRE_E_NOT_LEADER.
 * - After an error from log or store the caller stops the process; nothing in flight is acknowledged.
 *
 * Caller: one thread. Locks: none of its own.
 */
#ifndef SB_PARTITION_H
#define SB_PARTITION_H

#include "sb_log.h"
#include "sb_meta.h"
#include "sb_read.h"

struct sb_partition;

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

struct sb_partition_options {
    uint64_t group;
    struct sb_store *store;
    struct sb_transactions *transactions;
    uint64_t max_in_flight_bytes; /* entries not yet applied; beyond it new requests wait, but for ABORT and DECIDE */
    uint64_t settle_keys_max;     /* a committed transaction with more keys is left unsettled */
    struct sb_portions portions;
};

enum sb_event_kind {
    SB_EVENT_REQUEST = 1,   /* token, bytes */
    SB_EVENT_COMMITTED = 2, /* index: every entry up to it is committed, and durable here */
    SB_EVENT_FETCHED = 3,   /* token: of the fetch whose keys were read */
    SB_EVENT_TICK = 4,      /* horizon: proposal, 0 = none */
    SB_EVENT_FULL = 5,      /* the log finds no room: what waits for entries in flight is refused */
    /* Of the shard alone, see sb_shard.h. */
    SB_EVENT_DURABLE = 6,
    SB_EVENT_MESSAGE = 7,
    SB_EVENT_FLUSHED = 8,
    SB_EVENT_RESIGN = 9,
    SB_EVENT_RECEIVED = 10,
    SB_EVENT_INSTALLED = 11
};

struct sb_event {
    enum sb_event_kind kind;
    uint64_t group; /* 0 (TICK, FULL): all */
    uint64_t token;
    struct wire_span bytes; /* borrowed for the step */
    uint64_t index;
    uint64_t horizon;
};

struct sb_reply {
    uint64_t token;
    enum wire_operation operation;
    bool believed; /* tells of what is applied here, and no entry stands behind it: true if the replica still leads */
    struct wire_span bytes;
};

struct sb_fetch {
    uint64_t group;
    uint64_t token;               /* unique in the group */
    const struct wire_span *keys; /* of SB_ITEMS; valid until FETCHED(token) */
    size_t key_count;
};

/* What a step asks for. Arrays belong to the partition: entries until they are applied or dropped, fetches until their
 * FETCHED, replies until the next step. */
struct sb_outcome {
    const struct sb_log_entry *entries; /* to be logged; all of the term of this leadership */
    size_t entry_count;
    const struct sb_reply *replies;
    size_t reply_count;
    const struct sb_fetch *fetches;
    size_t fetch_count;
    bool more; /* step again even if nothing happens: there is settling to do */
};

/* Opens on a store; reads the applied record and the transactions. */
int sb_partition_open(const struct sb_partition_options *options, struct sb_partition **out, struct sb_fault *fault);
void sb_partition_close(struct sb_partition *partition);

/* A step is begin, events, end. Errors: WIRE_E_NOMEM, store errors: the partition is unusable then. Bad requests are
 * answered, never an error. */
void sb_partition_begin(struct sb_partition *partition, uint64_t now_ms, struct sb_fault *fault);
int sb_partition_event(struct sb_partition *partition, const struct sb_event *event);
int sb_partition_end(struct sb_partition *partition, struct sb_outcome *out);

/*
 * The replica leads in `term`: everything in its log is applied. Transactions that are pending are aborted; prepared
 * ones wait for WIRE_DECIDE. Requests that waited go on. Within a step.
 */
int sb_partition_lead(struct sb_partition *partition, uint64_t term);
#define SB_LEADER_SOON UINT64_MAX
/* The replica leads no more: entries in flight stay, everything else that leading has made goes. Entries that were not
 * given out by a step are dropped. Within a step. `leader`: the node that leads now, for those who asked; 0: unknown;
 * SB_LEADER_SOON: requests that were not judged yet wait on. */
int sb_partition_lose(struct sb_partition *partition, uint64_t leader);

/* Entries of another leader, or a barrier: they follow what is in flight. Takes over *bytes. Errors: WIRE_E_NOMEM,
 * WIRE_E_CORRUPT. */
int sb_partition_append(struct sb_partition *partition, const struct sb_log_entry *entry, struct sb_buffer *bytes);
/* Entries from `index` on were replaced by another leader. Their bytes are appended to *dropped (who is still writing
 * them frees the list with sb_flights_free). index > applied index. */
struct sb_flight;
void sb_partition_truncate(struct sb_partition *partition, uint64_t index, struct sb_flight **dropped);
void sb_flights_free(struct sb_flight *list);
/* The next entry, out of the log: committed, applied at once. Only while nothing is in flight. */
int sb_partition_replay(struct sb_partition *partition, const struct sb_log_entry *entry, struct sb_fault *fault);
/* A checkpoint was put in the place of what the store had: what is known of it is read again. Nothing is in flight, and
 * the replica does not lead. */
int sb_partition_reload(struct sb_partition *partition);
/* Bytes of an entry in flight; WIRE_E_NOT_FOUND. */
int sb_partition_flight(const struct sb_partition *partition, uint64_t index, struct wire_span *bytes, uint64_t *term);

/* Of the entry (index, term), if it is in flight or the last that was applied; else 0. */
uint64_t sb_partition_version(const struct sb_partition *partition, uint64_t index, uint64_t term);

const struct sb_applied *sb_partition_applied(const struct sb_partition *partition);
/* Of the newest entry in flight, else of what is applied. */
uint64_t sb_partition_last_version(const struct sb_partition *partition);
/* Leads, and answers requests. */
bool sb_partition_leads(const struct sb_partition *partition);
uint64_t sb_partition_term(const struct sb_partition *partition); /* in which it leads, else 0 */
/* Leads, but no new request is judged until it is told to lead again, or loses. */
void sb_partition_pause(struct sb_partition *partition);
/* Does any request wait here? */
bool sb_partition_waits(const struct sb_partition *partition);
/* Members were set by an applied entry since the last call: its index, else 0. */
uint64_t sb_partition_configured(struct sb_partition *partition, struct wire_configuration *out);

/* Prepared transactions whose decision is unknown, ascending by decider: the least above `after`. 0: none. For
 * recovery; caller as for steps. While it does not lead: as of what is applied. */
uint64_t sb_partition_prepared(struct sb_partition *partition, uint64_t after);

/* Counters for WIRE_STATUS. */
struct sb_partition_status {
    uint64_t applied_index;
    uint64_t in_flight_entries;
    uint64_t locks;
    uint64_t parked;
    uint64_t transactions;
    uint64_t user_bytes; /* keys and items of effects applied since open */
};
void sb_partition_status(const struct sb_partition *partition, struct sb_partition_status *out);

#endif
