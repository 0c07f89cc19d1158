/*
 * The transaction of a backend as the storage process sees it: owner, locks, commit, abort. See cairn_writeset.h.
 *
 * Commit, cairn tables only: one COMMIT request at PRE_COMMIT; its reply means durable. No xid, no WAL.
 *
 * Commit with changes of Postgres' own (the transaction has an xid): the commit record in Postgres' WAL decides.
 *   1 WAL up to the transaction's own last record is flushed: from here on no crash can give its xid to another
 * transaction 2 COMMIT request with the full transaction id as decider: the writes are durable intents, prepared 3
 * Postgres commits, synchronously 4 DECIDE commit: the intents are visible. A crash between 2 and 4: the storage
 * process asks pg_xact when it starts, before it serves
 *
 * PRE_COMMIT is not Postgres' last chance to fail: after it come on-commit actions of temporary tables, which take the
 * second way, and NOTIFY, whose queue can be full: then the client is told of an error after cairn's side is committed.
 * Interrupts are held between the two commits.
 *
 * Failures: refused at PRE_COMMIT -> the transaction aborts; a crash at 1 -> neither side; at 2, 3 -> pg_xact decides
 * for both. An error between 2 and 3 ends in the abort callback: DECIDE abort.
 */
#include "cairn_frame.h"

#include "access/parallel.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "replication/message.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "cairn_error.h"
#include "cairn_gather.h"
#include "cairn_shared.h"

/* Kind of advisory lock that stands for "this (sub)transaction is running": the SQL functions use 1 and 2. */
#define LOCK_KIND 0xCA1

#define HOLDER_GONE_US 1000

CairnXact cairn_xact;

static uint32 transaction_counter;
static bool interrupts_held; /* until the transaction ends */

static void lock_tag(LOCKTAG *tag, uint64 owner, uint32 subtransaction)
{
    SET_LOCKTAG_ADVISORY(*tag, (uint32) (owner >> 32), (uint32) owner, subtransaction, LOCK_KIND);
}

/* Held until the (sub)transaction of `holder` ends: others wait on it, so that Postgres' deadlock detector sees them.
 */
static void hold_lock(SubTransactionId subtransaction, ResourceOwner holder)
{
    ResourceOwner current = CurrentResourceOwner;
    LOCKTAG tag;

    lock_tag(&tag, cairn_xact.owner, subtransaction);
    PG_TRY();
    {
        CurrentResourceOwner = holder;
        (void) LockAcquire(&tag, ExclusiveLock, false, false);
    }
    PG_FINALLY();
    {
        CurrentResourceOwner = current;
    }
    PG_END_TRY();
}

static void begin_transaction(void)
{
    if (cairn_xact.owner != 0)
        return;
    if (transaction_counter == 0)
        transaction_counter = (uint32) GetCurrentTimestamp();
    transaction_counter++;
    if (transaction_counter == 0)
        transaction_counter = 1;
    cairn_xact.context = AllocSetContextCreate(TopTransactionContext, "CairnTransaction", ALLOCSET_SMALL_SIZES);
    cairn_xact.owner = (uint64) cairn_lane_number() << 32 | transaction_counter;
}

static void add_owner(CairnFrame *frame, SubTransactionId subtransaction)
{
    if (frame->owner_count == frame->owner_capacity) {
        frame->owner_capacity = frame->owner_capacity ? frame->owner_capacity * 2 : 4;
        frame->owners = frame->owners
                            ? repalloc(frame->owners, frame->owner_capacity * sizeof(SubTransactionId))
                            : MemoryContextAlloc(cairn_xact.context, frame->owner_capacity * sizeof(SubTransactionId));
    }
    frame->owners[frame->owner_count++] = subtransaction;
}

static bool has_owner(const CairnFrame *frame, SubTransactionId subtransaction)
{
    for (int i = frame->owner_count - 1; i >= 0; i--) {
        if (frame->owners[i] == subtransaction)
            return true;
    }
    return false;
}

CairnFrame *cairn_xact_frame(void)
{
    SubTransactionId current = GetCurrentSubTransactionId();
    CairnFrame *frame = cairn_xact.newest;

    cairn_gather_yield(InvalidCommandId);
    begin_transaction();
    if (frame && frame->subtransaction == current && has_owner(frame, current))
        return frame;
    if (!frame)
        hold_lock(TopSubTransactionId, TopTransactionResourceOwner);
    if (current != TopSubTransactionId)
        hold_lock(current, CurTransactionResourceOwner);
    if (!frame || frame->subtransaction != current) {
        frame = MemoryContextAllocZero(cairn_xact.context, sizeof(*frame));
        frame->subtransaction = current;
        frame->parent = cairn_xact.newest;
        cairn_xact.newest = frame;
    }
    /* Else the frame came to this subtransaction from an inner one that committed: locks from now on are its own. */
    add_owner(frame, current);
    return frame;
}

void cairn_xact_check_write(void)
{
    PreventCommandIfReadOnly("writing to a cairn table");
    PreventCommandIfParallelMode("writing to a cairn table");
    PreventCommandDuringRecovery("writing to a cairn table");
    if (IsolationIsSerializable())
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("cairn tables cannot be used in a SERIALIZABLE transaction"),
                        errhint("Use REPEATABLE READ or READ COMMITTED.")));
}

void cairn_xact_begin_write(void)
{
    cairn_xact_check_write();
    (void) cairn_xact_frame();
}

bool cairn_xact_active(void)
{
    return cairn_xact.newest != NULL;
}

Size cairn_xact_own_transactions(uint8 *out, CommandId curcid)
{
    struct wire_writer w = wire_writer_of(out, 8 * WIRE_OWN_TRANSACTIONS_MAX);

    for (CairnFrame *frame = cairn_xact.newest; frame; frame = frame->parent) {
        for (int i = 0; i < frame->spill_count; i++) {
            const CairnSpill *spill = &frame->spills[i];

            if (curcid != InvalidCommandId && spill->least >= curcid)
                continue;
            if (curcid != InvalidCommandId && spill->greatest >= curcid)
                ereport(
                    ERROR,
                    (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                     errmsg(
                         "a query that was opened earlier cannot tell its transaction's older writes from newer ones"),
                     errdetail("The transaction's writes passed cairn.write_set (%d kB) while the query was open.",
                               cairn_write_set_kb),
                     errhint("Raise cairn.write_set, or close the cursor before writing so much.")));
            wire_write_u64(&w, spill->transaction);
        }
    }
    if (w.failed)
        ereport(ERROR,
                (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                 errmsg("a transaction wrote to the storage process more than %d times", WIRE_OWN_TRANSACTIONS_MAX),
                 errhint("Raise cairn.write_set, or use fewer savepoints.")));
    return w.size;
}

void cairn_xact_fill_header(struct wire_request *header, uint64 storage_id, uint64 snapshot, CommandId curcid)
{
    static uint8 own[8 * WIRE_OWN_TRANSACTIONS_MAX];

    Assert(header->operation != 0);
    cairn_gather_yield(wire_request_queue(header->operation, header->flags) == WIRE_QUEUE_WRITES ? InvalidCommandId
                                                                                                 : curcid);
    /* Readers look into the items store; what is evaluated in order sees what was spilled anyway. */
    if (cairn_xact.spill_unread && wire_request_queue(header->operation, header->flags) != WIRE_QUEUE_WRITES &&
        cairn_xact_own_transactions(own, curcid) > 0)
        cairn_writeset_await_spill();
    header->subtransaction = GetCurrentSubTransactionId();
    header->snapshot = snapshot;
    header->owner = cairn_xact.owner;
    header->storage_id = storage_id;
    header->transactions = (struct wire_span){own, cairn_xact.newest ? cairn_xact_own_transactions(own, curcid) : 0};
}

void cairn_xact_wait_for(struct wire_reader *locked_body)
{
    uint64 owner = wire_read_u64(locked_body);
    uint32 subtransaction = wire_read_u32(locked_body);
    LOCKTAG tag;

    if (locked_body->failed)
        elog(ERROR, "malformed reply of the storage process");
    lock_tag(&tag, owner, subtransaction);
    if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
        (void) LockAcquire(&tag, ShareLock, false, false);
    else {
        /* The holder has just ended; what it left is being cleared away. */
        CHECK_FOR_INTERRUPTS();
        pg_usleep(HOLDER_GONE_US);
    }
    LockRelease(&tag, ShareLock, false);
}

/* What was written is durable: no cancel may turn that into an error. Given back in at_xact_event; after an error
 * Postgres forgets holds by itself. */
static void hold_interrupts(void)
{
    if (!interrupts_held)
        HOLD_INTERRUPTS();
    interrupts_held = true;
}

void cairn_xact_wrote_bare(void)
{
    MyXactFlags |= XACT_FLAGS_NEEDIMMEDIATECOMMIT;
    hold_interrupts();
}

/*
 * Make sure that no crash gives our xid to another transaction: a record that carries it must be on disk.
 * XactLastRecEnd would not do: pruning sets it without any record of ours.
 */
static void flush_own_xid(void)
{
    XLogFlush(LogLogicalMessage("cairn", "", 0, true));
}

static void send_commit(uint64 decider)
{
    struct wire_request header = {.operation = WIRE_COMMIT};
    CairnRequest request;
    CairnReply reply;

    cairn_xact_fill_header(&header, 0, 0, InvalidCommandId);
    cairn_request_begin(&request, &header, 4096);
    cairn_request_reserve(&request, 8);
    wire_write_u64(&request.writer, decider);
    cairn_writeset_effects(&request);
    cairn_xact.decider = decider;
    cairn_lane_call(&request, &reply);
    if (reply.status != WIRE_OK) {
        cairn_xact.decider = 0;
        cairn_error_raise(reply.status, &(CairnSubject){.action = "commit"});
    }
}

static void commit_writes(void)
{
    FullTransactionId transaction = GetTopFullTransactionIdIfAny();

    if (cairn_writeset_memory() > WIRE_MESSAGE_MAX / 2)
        cairn_writeset_spill();
    if (!FullTransactionIdIsValid(transaction) && !(MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE)) {
        send_commit(0);
        cairn_xact.committed = true;
        hold_interrupts();
        return;
    }
    /* On-commit actions of temporary tables can still fail: then Postgres' commit record has to decide. */
    transaction = GetTopFullTransactionId();
    flush_own_xid();
    send_commit(U64FromFullTransactionId(transaction));
    cairn_deciding_set(transaction);
    ForceSyncCommit();
}

/* Forget the transaction; its memory goes with TopTransactionContext. */
static void forget(void)
{
    cairn_gather_forget();
    cairn_xact = (CairnXact){0};
}

static void decide(bool commit)
{
    struct wire_request header = {.operation = WIRE_DECIDE, .owner = cairn_xact.owner};
    CairnRequest request;
    CairnReply reply;

    cairn_request_begin(&request, &header, 64);
    cairn_request_reserve(&request, 9);
    wire_write_u64(&request.writer, cairn_xact.decider);
    wire_write_u8(&request.writer, commit);
    cairn_deciding_send();
    if (!cairn_lane_call_quietly(&request, &reply) || reply.status != WIRE_OK) {
        elog(LOG, "the storage process did not take the decision of transaction " UINT64_FORMAT "; its restart will",
             cairn_xact.decider);
        reply.snapshot = 0;
    }
    cairn_deciding_finish(commit ? reply.snapshot : 0);
}

/* One request: release the locks of some subtransactions, or of all (count 0), and undo some spilled intents. */
static void send_abort_of(const SubTransactionId *owners, int owner_count, const CairnSpill *spills, int spill_count)
{
    uint8 ids[8 * WIRE_OWN_TRANSACTIONS_MAX];
    struct wire_writer w = wire_writer_of(ids, sizeof(ids));
    struct wire_request header = {.operation = WIRE_ABORT, .owner = cairn_xact.owner};
    CairnRequest request;
    CairnReply reply;

    for (int i = 0; i < spill_count; i++)
        wire_write_u64(&w, spills[i].transaction);
    header.transactions = (struct wire_span){ids, w.size};
    cairn_request_begin(&request, &header, 64);
    cairn_request_reserve(&request, 10 + 4 * (Size) owner_count);
    wire_write_varint(&request.writer, owner_count);
    for (int i = 0; i < owner_count; i++)
        wire_write_u32(&request.writer, owners[i]);
    (void) cairn_lane_call_quietly(&request, &reply);
}

static void send_abort(const SubTransactionId *owners, int owner_count, const CairnSpill *spills, int spill_count)
{
    do {
        int part = Min(spill_count, WIRE_OWN_TRANSACTIONS_MAX);

        send_abort_of(owners, owner_count, spills, part);
        spills += part;
        spill_count -= part;
    } while (spill_count > 0);
}

static void abort_transaction(void)
{
    if (cairn_xact.decider != 0)
        decide(false);
    for (CairnFrame *frame = cairn_xact.newest; frame; frame = frame->parent) {
        if (frame->spill_count > 0)
            send_abort(frame->owners, frame->owner_count, frame->spills, frame->spill_count);
    }
    send_abort(NULL, 0, NULL, 0);
}

static void at_xact_event(XactEvent event, void *argument)
{
    switch (event) {
    case XACT_EVENT_PRE_COMMIT:
        Assert(cairn_gather_empty());
        if (cairn_writeset_has_effects())
            commit_writes();
        break;
    case XACT_EVENT_PRE_PREPARE:
        if (cairn_xact.newest)
            ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                            errmsg("cannot PREPARE a transaction that has changed or locked items of cairn tables"),
                            errhint("Use COMMIT, or keep changes of cairn tables out of prepared transactions.")));
        break;
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_ABORT:
        cairn_lane_forget();
        if (interrupts_held && event == XACT_EVENT_COMMIT)
            RESUME_INTERRUPTS();
        interrupts_held = false;
        if (cairn_xact.newest && event == XACT_EVENT_COMMIT) {
            if (cairn_xact.decider != 0)
                decide(true);
            else if (!cairn_xact.committed)
                send_abort(NULL, 0, NULL, 0); /* locks without writes */
        } else if (cairn_xact.newest && !cairn_xact.committed)
            abort_transaction();
        forget();
        cairn_snapshot_at_xact_end();
        break;
    default:
        break;
    }
}

static void merge_owners(CairnFrame *into, const CairnFrame *from)
{
    for (int i = 0; i < from->owner_count; i++)
        add_owner(into, from->owners[i]);
}

static void merge_spills(CairnFrame *into, const CairnFrame *from)
{
    int count = into->spill_count + from->spill_count;

    if (count > into->spill_capacity) {
        into->spills = into->spills ? repalloc(into->spills, count * sizeof(CairnSpill))
                                    : MemoryContextAlloc(cairn_xact.context, count * sizeof(CairnSpill));
        into->spill_capacity = count;
    }
    if (from->spill_count > 0)
        memcpy(into->spills + into->spill_count, from->spills, from->spill_count * sizeof(CairnSpill));
    into->spill_count = count;
}

static void commit_subtransaction(SubTransactionId subtransaction, SubTransactionId parent)
{
    CairnFrame *frame = cairn_xact.newest;
    CairnFrame *into;

    if (!frame || frame->subtransaction != subtransaction)
        return;
    into = frame->parent;
    if (!into || into->subtransaction != parent) {
        frame->subtransaction = parent;
        return;
    }
    if (frame->versions_end) {
        frame->versions_end->frame_next = into->versions;
        into->versions = frame->versions;
        if (!into->versions_end)
            into->versions_end = frame->versions_end;
    }
    merge_owners(into, frame);
    merge_spills(into, frame);
    frame->merged = into;
    cairn_xact.newest = into;
}

static void abort_subtransaction(SubTransactionId subtransaction)
{
    CairnFrame *frame = cairn_xact.newest;

    cairn_gather_forget_of(subtransaction);
    if (!frame || frame->subtransaction != subtransaction)
        return;
    cairn_writeset_cut(frame);
    send_abort(frame->owners, frame->owner_count, frame->spills, frame->spill_count);
    cairn_xact.newest = frame->parent;
}

static void at_subxact_event(SubXactEvent event, SubTransactionId subtransaction, SubTransactionId parent,
                             void *argument)
{
    if (event == SUBXACT_EVENT_PRE_COMMIT_SUB)
        cairn_gather_end_of(subtransaction);
    else if (event == SUBXACT_EVENT_COMMIT_SUB) {
        commit_subtransaction(subtransaction, parent);
        cairn_snapshot_at_subxact_commit(subtransaction, parent);
    } else if (event == SUBXACT_EVENT_ABORT_SUB) {
        cairn_lane_forget();
        abort_subtransaction(subtransaction);
        cairn_snapshot_at_subxact_abort(subtransaction);
    }
}

void cairn_xact_init(void)
{
    RegisterXactCallback(at_xact_event, NULL);
    RegisterSubXactCallback(at_subxact_event, NULL);
    cairn_snapshot_init();
    cairn_gather_init();
}
