/*
 * The table of transactions that have intents in the items store. Readers ask it what an intent's transaction id stands
 * for; the shard changes it, only when it applies the entry that says so.
 *
 *   PENDING  -> PREPARED -> COMMITTED | ABORTED        PENDING -> COMMITTED | ABORTED
 *
 * A record stays until no intent refers to it (SETTLE of each key, then FORGET). Large committed transactions are not
 * settled: their record of 41 bytes stays, and readers go on looking the version up here.
 *
 * Locks: one reader-writer lock inside, rank: leaf. Any engine thread may call.
 */
#ifndef SB_TRANSACTIONS_H
#define SB_TRANSACTIONS_H

#include "sb_memory.h"
#include "wire_clock.h"

enum sb_transaction_state {
    SB_TRANSACTION_PENDING = 1,
    SB_TRANSACTION_PREPARED = 2,
    SB_TRANSACTION_COMMITTED = 3,
    SB_TRANSACTION_ABORTED = 4,
    SB_TRANSACTION_UNKNOWN = 5 /* never stored: an answer only */
};

struct sb_transaction {
    uint64_t id; /* top bit set */
    enum sb_transaction_state state;
    uint64_t version; /* COMMITTED */
    uint64_t owner;
    uint64_t decider; /* PREPARED: full transaction id of Postgres */
    uint64_t key_count;
    uint64_t list_count; /* key lists written so far */
};

struct sb_transactions;

int sb_transactions_open(struct sb_transactions **out);
void sb_transactions_close(struct sb_transactions *table);

/* Copy of the record. Errors: WIRE_E_NOT_FOUND. */
int sb_transactions_get(struct sb_transactions *table, uint64_t id, struct sb_transaction *out);
/* Insert or replace. Errors: WIRE_E_NOMEM. Caller: shard. */
int sb_transactions_put(struct sb_transactions *table, const struct sb_transaction *transaction);
void sb_transactions_remove(struct sb_transactions *table, uint64_t id);
size_t sb_transactions_count(struct sb_transactions *table);
/* The record with the least id above `after` (0: the first). Errors: WIRE_E_NOT_FOUND. */
int sb_transactions_next(struct sb_transactions *table, uint64_t after, struct sb_transaction *out);

/*
 * The version that `stamp` (a version, or a transaction id) stands for: itself; the commit version; or WIRE_VERSION_MAX
 * ("after every snapshot") while pending or prepared, and for good when aborted. *state is 0 for a plain version.
 * SB_TRANSACTION_UNKNOWN: the intent was settled and its transaction forgotten after the caller read the stamp: it must
 * read again.
 */
uint64_t sb_transactions_version(struct sb_transactions *table, uint64_t stamp, enum sb_transaction_state *state);

#endif
