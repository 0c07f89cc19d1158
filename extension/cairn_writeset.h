/*
 * The write set: what the current transaction has written to cairn tables and not yet committed, newest last per key,
 * tagged (subtransaction, command).
 *
 * An ordered map in memory of its own (context CairnWriteSet): key -> chain of versions. Laid over what scans return;
 * sent as one COMMIT when the transaction commits; versions of an aborted subtransaction are cut. Above cairn.write_set
 * it spills: completed versions go to the storage process as intents and are forgotten here; the storage process then
 * shows them to this transaction's own reads by their transaction ids.
 *
 * Happy path: lock (the storage process holds row locks for us) -> put -> ... -> commit at PRE_COMMIT.
 */
#ifndef CAIRN_WRITESET_H
#define CAIRN_WRITESET_H

#include "cairn_pg.h"

#include "access/xact.h"
#include "utils/snapshot.h"

#include "wire_request.h"

/* The newest version of a key in this transaction that `curcid` may see (own command ids < curcid; pass
 * InvalidCommandId to see all). */
typedef struct CairnOwnVersion {
    bool deleted;
    struct wire_span item; /* borrowed until the next change of the write set */
} CairnOwnVersion;

/* Record a version of `key` (encoded, copied). item empty: deleted. The lock must be held. May spill. */
void cairn_writeset_put(uint64 storage_id, struct wire_span key, struct wire_span item, CommandId cid);

bool cairn_writeset_find(struct wire_span key, CommandId curcid, CairnOwnVersion *out);

/* Ordered walk: the first key >= key (forward) or <= key (backward), strictly beyond it if `exclusive`, within [low,
 * high); visible at curcid. False if none. The found key is borrowed. */
bool cairn_writeset_seek(struct wire_span key, bool exclusive, bool forward, struct wire_span low,
                         struct wire_span high, CommandId curcid, struct wire_span *found, CairnOwnVersion *out);

/* Does the transaction have uncommitted writes (in memory or spilled)? Locks? */
bool cairn_writeset_empty(void);
/* Is there anything to commit? Not if savepoints took all of it back, which leaves keys without a version. Looks at
 * every such key. */
bool cairn_writeset_has_effects(void);
/* Grows with each spill of this backend. A reader that merges stored batches with own versions must fetch again what it
 * got before a spill: versions that it meant to merge are in the storage process now. */
uint64 cairn_writeset_spills(void);
bool cairn_xact_active(void);

/* Header fields for a request of this transaction: owner, subtransaction, snapshot, own intents visible at curcid.
 * Errors: 0A000 when a cursor is older than a spill that hides commands it may not see. */
void cairn_xact_fill_header(struct wire_request *header, uint64 storage_id, uint64 snapshot, CommandId curcid);

/* Must be called before a TRANSACTIONAL write is sent: takes the heavyweight lock that others wait on, registers
 * callbacks, refuses what is unsupported (SERIALIZABLE 0A000, PREPARE TRANSACTION later, parallel worker). */
void cairn_xact_begin_write(void);

/* The refusals of cairn_xact_begin_write alone, for bare writes. */
void cairn_xact_check_write(void);

/* A bare write was carried out: what is left of its transaction must not be cancelled, for the write stays. */
void cairn_xact_wrote_bare(void);

/* After WIRE_E_LOCKED: wait until the holder's (sub)transaction ends; the deadlock detector and lock_timeout see it.
 * Then the caller sends its request again. */
void cairn_xact_wait_for(struct wire_reader *locked_body);

/* The version to read at for a Postgres snapshot: assigned at its first use (ExecutorStart or the first read), the same
 * for the same snapshot until the transaction ends. 0 for snapshots that want the newest (SnapshotAny, dirty). */
uint64 cairn_xact_snapshot(Snapshot snapshot);

/* Chain hooks and callbacks. Caller: _PG_init. */
void cairn_xact_init(void);

#endif
