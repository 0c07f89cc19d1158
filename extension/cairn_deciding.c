/*
 * Transactions that change heap tables and cairn tables become visible in two steps: the heap changes when Postgres
 * commits, the items a moment later, when the decision is applied by the storage process. A snapshot of both must show
 * both or neither, and Postgres' side of it is given: the version is fitted to the heap snapshot.
 *
 * Happy path of a commit: `set` before Postgres commits, `send` just before the decision is sent, `finish` when it is
 * applied: the version goes into a ring of the last decisions, then the lane's mark goes.
 *
 * Happy path of a snapshot:
 *   1 transactions in between that the heap snapshot sees as committed: wait until they are finished; their versions
 * are applied then 2 the version is taken: it covers everything applied 3 transactions whose decision was sent before
 * that: wait until they are in the ring (one sync) 4 decisions in the ring at or below the version that the heap
 * snapshot does not see: the version is lowered below the least of them. It still covers every write acknowledged
 * before the heap snapshot was taken, for such a decision was applied after that
 *
 * Failures: a backend that dies in between takes the server through a crash restart, which decides from pg_xact. A
 * snapshot so old that the ring may have lost a decision that it must not see is refused (40001).
 */
#include "cairn_frame.h"

#include "access/transam.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

#include "cairn_shared.h"

#define POLL_US 50
#define SENT (UINT64CONST(1) << 63)

static struct wire_lane *own_lane(void)
{
    return wire_shared_lane(cairn_shared(), cairn_lane_number());
}

void cairn_deciding_set(FullTransactionId transaction)
{
    atomic_fetch_add(&cairn_shared()->deciding_count, 1);
    atomic_store(&own_lane()->deciding, U64FromFullTransactionId(transaction));
}

void cairn_deciding_send(void)
{
    struct wire_lane *lane = own_lane();

    if (atomic_load(&lane->deciding) != 0)
        atomic_fetch_or(&lane->deciding, SENT);
}

/* version 0: aborted. */
void cairn_deciding_finish(uint64 version)
{
    CairnControl *control = cairn_control();
    uint64 deciding = atomic_load(&own_lane()->deciding);

    if (deciding == 0)
        return;
    if (version != 0) {
        SpinLockAcquire(&control->decided_lock);
        control->decided[control->decided_next++ % CAIRN_DECIDED_MAX] =
            (CairnDecided){.transaction = deciding & ~SENT, .version = version};
        if ((deciding & ~SENT) > pg_atomic_read_u64(&control->decided_newest))
            pg_atomic_write_u64(&control->decided_newest, deciding & ~SENT);
        SpinLockRelease(&control->decided_lock);
    }
    atomic_store(&own_lane()->deciding, 0);
    atomic_fetch_sub(&cairn_shared()->deciding_count, 1);
}

static bool in_snapshot(uint64 transaction, Snapshot snapshot)
{
    TransactionId xid = XidFromFullTransactionId(FullTransactionIdFromU64(transaction));

    return !TransactionIdFollowsOrEquals(xid, snapshot->xmax) && !XidInMVCCSnapshot(xid, snapshot);
}

/* Must a snapshot wait for the transaction in this lane? */
static bool must_wait(uint64 deciding, Snapshot snapshot, bool sent)
{
    uint64 transaction = deciding & ~SENT;

    if (deciding == 0)
        return false;
    if (sent)
        return (deciding & SENT) != 0;
    return in_snapshot(transaction, snapshot) &&
           TransactionIdDidCommit(XidFromFullTransactionId(FullTransactionIdFromU64(transaction)));
}

/* sent: wait for decisions under way; else for those that the snapshot sees as committed. */
static void wait_for_lanes(Snapshot snapshot, bool sent)
{
    struct wire_shared *shared = cairn_shared();

    if (atomic_load(&shared->deciding_count) == 0)
        return;
    for (uint32 i = 0; i < shared->lane_count; i++) {
        struct wire_lane *lane = wire_shared_lane(shared, i);
        uint64 deciding = atomic_load(&lane->deciding);

        if (i == cairn_lane_number() || !must_wait(deciding, snapshot, sent))
            continue;
        while ((atomic_load(&lane->deciding) & ~SENT) == (deciding & ~SENT)) {
            CHECK_FOR_INTERRUPTS();
            pg_usleep(POLL_US);
        }
    }
}

/* Below the least decision that the heap snapshot does not see. */
static uint64 fit(Snapshot snapshot, uint64 version)
{
    CairnControl *control = cairn_control();
    CairnDecided decided[CAIRN_DECIDED_MAX];
    uint64 newest;
    uint32 count;
    bool full;

    newest = pg_atomic_read_u64(&control->decided_newest);
    if (newest == 0 ||
        TransactionIdPrecedes(XidFromFullTransactionId(FullTransactionIdFromU64(newest)), snapshot->xmin))
        return version; /* the usual case: all of them are over for this snapshot */
    SpinLockAcquire(&control->decided_lock);
    count = Min(control->decided_next, CAIRN_DECIDED_MAX);
    full = control->decided_next > CAIRN_DECIDED_MAX;
    memcpy(decided, control->decided, count * sizeof(CairnDecided));
    SpinLockRelease(&control->decided_lock);
    for (uint32 i = 0; i < count; i++) {
        if (in_snapshot(decided[i].transaction, snapshot)) {
            full = false; /* the ring reaches back to a decision that the snapshot sees */
            continue;
        }
        if (decided[i].version <= version)
            version = decided[i].version - 1;
    }
    if (full)
        ereport(ERROR,
                (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("the snapshot is too old for cairn tables"),
                 errdetail("More than %d transactions over heap and cairn tables were committed since it was taken.",
                           CAIRN_DECIDED_MAX),
                 errhint("Run the statement again.")));
    return version;
}

uint64 cairn_deciding_snapshot(Snapshot snapshot)
{
    uint64 version;
    uint64 fitted;

    wait_for_lanes(snapshot, false);
    version = cairn_lane_snapshot_take();
    wait_for_lanes(snapshot, true);
    fitted = fit(snapshot, version);
    if (fitted != version)
        cairn_lane_snapshot_lower(fitted);
    return fitted;
}
