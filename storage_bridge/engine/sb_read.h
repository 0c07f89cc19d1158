/*
 * Reads at a snapshot: the newest version of a key at or below T, from the items store and its history, own intents
 * included.
 *
 * A key's item is in SB_ITEMS when its stamp resolves to a version <= T or is an own intent; else the newest image in
 * SB_HISTORY with version <= T whose superseded-at resolves above T; else the key has no item at T. Own intents:
 * transactions in `own` count as committed at once.
 *
 * Caller: reader and scan threads, the simulator. Locks: none held; the transaction table's lock
 * for moments.
 */
#ifndef SB_READ_H
#define SB_READ_H

#include "sb_store.h"
#include "sb_transactions.h"
#include "wire_request.h"

struct sb_reader {
    struct sb_store *store;
    struct sb_transactions *transactions;
    const _Atomic uint64_t *newest;   /* version published: everything at or below is durable */
    const _Atomic uint64_t *readable; /* and applied: a moment behind it */
};

/*
 * Answer a GET, SCAN, LOOKUP or STORAGES request: append the reply's body to `out`.
 * snapshot: in: request->snapshot, which the caller has found readable; 0 = newest committed: of one key what the store
 * has, without any version in mind; else what was published when the read began (a key without an item may have lost it
 * since). *snapshot_read: what GET and SCAN read at, 0 of others. WIRE_E_WOULD_BLOCK (one key, snapshot 0): a commit is
 * being applied; ask again when *snapshot_read is readable. Errors:   WIRE_E_NO_STORAGE
 * (GET/SCAN of a key outside the request's storage id), decoding errors, store errors, WIRE_E_CORRUPT (an item fails
 * its checksum: fault names the storage id and key). *detail: the key's index. The caller checks the horizon, after
 * this returned.
 */
/* A GET of one key: at snapshot 0 it needs none, and no horizon can pass it. */
bool sb_read_is_single(const struct wire_request *request);

int sb_read_request(struct sb_reader *reader, const struct wire_request *request, struct sb_buffer *out,
                    uint32_t *detail, uint64_t *snapshot_read, struct sb_fault *fault);

#endif
