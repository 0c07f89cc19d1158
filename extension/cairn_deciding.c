/*
 * Transactions that change heap tables and cairn tables become visible in two steps: the heap changes when Postgres commits, the items a moment later, when the decision is in the storage process' log.
 *
 * Happy path: a committing backend writes its full transaction id into its lane before Postgres commits and clears it when the storage process has answered. A backend whose heap snapshot sees such a transaction as
 * committed waits until it is cleared, and only then takes its snapshot of cairn's tables. Failure: a backend that dies in between takes the server through a crash restart, which decides from pg_xact.
 */
#include "cairn_frame.h"

#include "access/transam.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

#include "cairn_shared.h"

#define POLL_US 50

static struct wire_lane *own_lane(void)
{
    return wire_shared_lane(cairn_shared(), cairn_lane_number());
}

void cairn_deciding_set(FullTransactionId transaction)
{
    atomic_fetch_add(&cairn_shared()->deciding_count, 1);
    atomic_store(&own_lane()->deciding, U64FromFullTransactionId(transaction));
}

void cairn_deciding_clear(void)
{
    if (atomic_exchange(&own_lane()->deciding, 0) != 0)
        atomic_fetch_sub(&cairn_shared()->deciding_count, 1);
}

/* Does the heap side of the snapshot see the transaction? */
static bool seen_as_committed(uint64 deciding, Snapshot snapshot)
{
    TransactionId xid = XidFromFullTransactionId(FullTransactionIdFromU64(deciding));

    if (TransactionIdFollowsOrEquals(xid, snapshot->xmax) || XidInMVCCSnapshot(xid, snapshot))
        return false;
    return TransactionIdDidCommit(xid);
}

void cairn_deciding_wait(Snapshot snapshot)
{
    struct wire_shared *shared = cairn_shared();

    if (atomic_load(&shared->deciding_count) == 0 || snapshot->snapshot_type != SNAPSHOT_MVCC)
        return;
    for (uint32 i = 0; i < shared->lane_count; i++) {
        struct wire_lane *lane = wire_shared_lane(shared, i);
        uint64 deciding = atomic_load(&lane->deciding);

        if (deciding == 0 || i == cairn_lane_number() || !seen_as_committed(deciding, snapshot))
            continue;
        while (atomic_load(&lane->deciding) == deciding) {
            CHECK_FOR_INTERRUPTS();
            pg_usleep(POLL_US);
        }
    }
}
