/*
 * The partition's inside, shared by its files: sb_partition.c (events, entries, replies), sb_evaluate.c and sb_decide.c
 * (requests), sb_apply.c (entries to the store), sb_settle.c (intents of decided transactions).
 *
 * Two tables of transactions: `applied` is what readers see; `evaluated` runs ahead by the entries in flight, and is
 * what evaluation believes.
 */
#ifndef SB_PARTITION_INTERNAL_H
#define SB_PARTITION_INTERNAL_H

#include "sb_flights.h"
#include "sb_overlay.h"
#include "sb_partition.h"
#include "wire_item.h"

/* What lies under a key that an effect writes, as far as evaluation knows: spares applying a look of its own. Holds
 * until the effect is applied, for whatever changes the key before is known to evaluation too. */
enum sb_found {
    SB_FOUND_UNKNOWN = 0,
    SB_FOUND_NOTHING = 1,
    SB_FOUND_FINAL = 2 /* an item with a version, not an intent */
};

/* A reply that waits for an entry to be applied. */
struct sb_waiting {
    struct sb_waiting *next;
    uint64_t index; /* deliver when applied >= index */
    uint64_t token;
    enum wire_operation operation;
    bool undone; /* tells of no change of its own: may be asked again should the leadership end */
    struct sb_buffer bytes;
};

/* A request that waits: for keys to be fetched (key_count > 0), or for an entry to be applied (index > 0), or for room
 * in flight. */
struct sb_parked {
    struct sb_parked *next;
    uint64_t token;
    uint64_t ticket; /* the order in which requests were parked first, and are judged again */
    uint64_t index;
    bool spill;
    bool dismissed; /* answered; only its keys are still in use */
    bool fetched;   /* its keys were read once: now read them here if memory lost them again */
    struct wire_span *keys;
    size_t key_count;
    size_t key_capacity;
    struct wire_span bytes; /* owned copy of the request */
};

struct sb_settling {
    uint64_t transaction; /* 0: nothing is being settled */
    uint64_t list;        /* the key list at work */
    uint64_t position;    /* bytes of it that are done */
    uint64_t waiting_for; /* index of the last SETTLE or FORGET entry */
    bool forgetting;
};

struct sb_partition {
    struct sb_partition_options options;
    struct sb_store *store;
    struct sb_transactions *applied_transactions;
    struct sb_transactions *evaluated_transactions;
    struct sb_overlay overlay;
    struct sb_applied applied;
    bool leads;
    bool paused;
    uint64_t term;       /* of the leadership */
    uint64_t last_index; /* of the newest entry in flight, else of what is applied */
    uint64_t last_version;
    uint64_t next_storage_id;
    uint64_t next_transaction;
    uint64_t horizon;    /* logged */
    uint64_t given_up;   /* greatest answer of portions.begin: snapshots below it are too old */
    uint64_t decided_ms; /* when a prepared transaction was last committed, 0: not yet */
    uint64_t tickets;
    bool full; /* the log found no room, and nothing has become durable since */
    uint64_t now_ms;
    uint64_t serial;            /* of requests */
    uint64_t unwritten_release; /* newest commit entry that released a lock on a key it did not write */
    uint64_t user_bytes;
    struct sb_flight *drafting; /* the one entry under construction: freed at close if an error left it */
    struct sb_flights flights;
    struct sb_waiting *waiting; /* index order */
    struct sb_waiting **waiting_end;
    uint64_t waiting_newest; /* index of the last of them */
    struct sb_parked *parked;
    struct sb_parked *deferred; /* for room, oldest first */
    struct sb_parked **deferred_end;
    uint64_t configured_index; /* not told yet, 0: none */
    struct wire_configuration configuration;
    struct sb_settling settling;
    uint64_t settled_through; /* transactions up to this id need no look for settling */
    /* What the running step gives back. */
    struct sb_log_entry *entries;
    size_t entry_count;
    size_t entry_capacity;
    bool handed_out; /* the entries belong to the last step */
    struct sb_reply *replies;
    size_t reply_count;
    size_t reply_capacity;
    struct sb_buffer *reply_buffers; /* owners of the replies' bytes */
    struct sb_fetch *fetches;
    size_t fetch_count;
    size_t fetch_capacity;
    struct sb_fault *fault; /* of the running step */
};

/* An entry under construction: effects are collected, then sealed with the next index and version. */
#define SB_DRAFT_MARGIN 64 /* bytes that an entry stays below its limit */

struct sb_draft {
    struct sb_partition *partition;
    uint64_t last_version; /* before it */
    struct sb_flight *flight;
    struct wire_entry header;
    uint32_t effect_count;
};

/* Start an entry, the only one until it is sealed or dropped; transaction 0: effects are final. Version and index are
 * taken at once. Errors: WIRE_E_NOMEM. */
int sb_draft_begin(struct sb_partition *partition, uint64_t transaction, struct sb_draft *draft);
/* found: of PUT and DELETE. Errors: WIRE_E_NOMEM, WIRE_E_TOO_LARGE (the draft is unchanged). */
int sb_draft_add(struct sb_draft *draft, const struct wire_effect *effect, enum sb_found found);
/* Seal and hand over to be logged; puts PUT and DELETE into the overlay. Errors: WIRE_E_NOMEM: the partition is broken. */
int sb_draft_seal(struct sb_draft *draft);
/* Nothing else was drafted since. */
void sb_draft_drop(struct sb_draft *draft);

/* Queue a reply: status, detail, snapshot and body; goes out when `depends` is applied (0: at once). Errors:
 * WIRE_E_NOMEM. */
int sb_partition_reply(struct sb_partition *partition, uint64_t token, enum wire_operation operation, int status,
                       uint32_t detail, uint64_t snapshot, struct wire_span body, uint64_t depends);

/* The newest state of one key, as evaluation sees it. */
struct sb_current {
    bool exists;
    enum sb_found found;
    bool foreign;          /* an undecided intent of another transaction */
    uint64_t own;          /* the asker's transaction whose undecided intent this is, or 0 */
    uint64_t holder;       /* its owner */
    uint64_t version;      /* of the item; 0 for an own intent */
    uint64_t depends;      /* entry that must be applied before a reply may tell of this */
    struct wire_span item; /* borrowed from the overlay, or from `owned` */
    struct sb_buffer owned;
};

/* Errors: WIRE_E_WOULD_BLOCK: with out->depends, wait for that entry to be applied; with 0, the key is not in memory.
 * out->owned must be closed whatever the result. */
int sb_current_find(struct sb_partition *partition, const struct wire_request *request, struct wire_span key,
                    enum sb_tier tier, struct sb_current *out);

/* Errors of reading are the request's; only running out of memory may have left something half done. */
static inline bool sb_breaks_partition(int status)
{
    return status == WIRE_E_NOMEM;
}

/* Evaluate one request. parked: its record if it was parked before, else NULL. Errors break the partition. */
int sb_evaluate(struct sb_partition *partition, uint64_t token, struct wire_span bytes, struct sb_parked *parked);
/* Keep a request for later. Takes over `parked` or makes a record. */
int sb_park(struct sb_partition *partition, uint64_t token, struct wire_span bytes, struct sb_parked *parked,
            struct sb_parked **out);
void sb_parked_free(struct sb_parked *parked);
/* Evaluate a COMMIT, SPILL, ABORT or DECIDE. Errors break the partition. */
int sb_evaluate_commit(struct sb_partition *partition, uint64_t token, const struct wire_request *request);
int sb_evaluate_spill(struct sb_partition *partition, uint64_t token, const struct wire_request *request,
                      struct wire_span bytes, struct sb_parked *parked);
int sb_evaluate_abort(struct sb_partition *partition, uint64_t token, const struct wire_request *request);
int sb_evaluate_decide(struct sb_partition *partition, uint64_t token, const struct wire_request *request);
/* Log the decision of a transaction (commit or abort) in the draft and in the evaluated table. */
int sb_decide(struct sb_draft *draft, struct sb_transaction *transaction, enum sb_transaction_state state);

/* Apply one entry to the store. found: see sb_flight, may be empty; unneeded: images that final writes supersede at or
 * below this version are not kept. Errors break the partition. */
int sb_apply(struct sb_partition *partition, const struct wire_entry *entry, struct wire_span found, uint64_t unneeded);

/* sb_partition.c: all requests that wait to be judged, or for an entry, are answered: see sb_partition_lose. */
int sb_partition_dismiss(struct sb_partition *partition, uint64_t leader);
/* Those that waited for the replica to lead. */
int sb_partition_resume(struct sb_partition *partition);

/* One step of settling, if there is any to do. *more: call again soon. */
int sb_settle(struct sb_partition *partition, bool *more);

#endif
