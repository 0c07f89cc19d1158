/*
 * The backend's end of its lane: slots, queues, futexes.
 *
 * Happy path: wait until the storage process is ready (one atomic read) -> take a free slot -> copy the request in,
 * piece by piece -> push the slot's number, wake a thread if one sleeps -> sleep on the slot's state -> copy the reply
 * out, piece by piece -> free the slot.
 *
 * Sleeping watches three words at once: the slot, whose change the engine announces; MyLatch, which every signal
 * handler sets; and the word that tells of the postmaster's death. A signal that comes before the system call has
 * changed a word and is not missed.
 *
 * Failure modes: cancelled reads leave their slot ABANDONED and go on with the other one, the engine frees it; a crash
 * of the storage process reaches a waiting backend as SIGQUIT, as for any process of the server; a clean stop of it
 * happens only when nobody is attached.
 */
#include "cairn_lane.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "cairn_error.h"
#include "cairn_shared.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef FUTEX_32
#define FUTEX_32 2
struct futex_waitv {
    uint64_t val;
    uint64_t uaddr;
    uint32_t flags;
    uint32_t __reserved;
};
#endif

#define NS_PER_S UINT64CONST(1000000000)
#define NS_PER_MS UINT64CONST(1000000)
#define POLL_NS (100 * NS_PER_MS) /* without futex_waitv: how late a latch or the postmaster's death is noticed */
#define FREE_POLL_US 200          /* an abandoned slot becomes free without a wake-up */
#define CALL_SLOT 0
#define PREFETCH_SLOT 1

/* How a wait takes interrupts. */
typedef enum LaneManner {
    LANE_READ,  /* cancellable */
    LANE_WRITE, /* interrupts are held until the outcome is known */
    LANE_QUIET  /* as LANE_WRITE, and nothing is ever raised */
} LaneManner;

/* A message on its way through a slot. */
typedef struct Exchange {
    uint32 slot_number;
    struct wire_slot *slot;
    enum wire_queue_name queue;
    LaneManner manner;
    uint32 generation; /* of the storage process that got the first piece */
    uint8 *room;       /* for the reply, or NULL */
} Exchange;

CairnUsage cairn_usage;

static struct wire_shared *shared; /* NULL: no lane yet */
static struct wire_lane *lane;
static struct wire_published *published;
static uint32 lane_number;
static bool pending; /* a prefetch is out on PREFETCH_SLOT */
static Exchange pending_exchange;
static enum wire_operation pending_operation;
static bool waitv_missing;

static uint64 clock_ns(clockid_t clock)
{
    struct timespec now;

    (void) clock_gettime(clock, &now);
    return (uint64) now.tv_sec * NS_PER_S + (uint64) now.tv_nsec;
}

/* --- sleeping --- */

/* The kernel has futex_waitv and the word was waited for; deadline_ns by CLOCK_MONOTONIC, 0 = none. */
static bool sleep_on_words(_Atomic uint32_t *word, uint32 value, uint64 deadline_ns)
{
    struct futex_waitv words[3] = {
        {.val = value, .uaddr = (uintptr_t) word, .flags = FUTEX_32},
        {.val = 0, .uaddr = (uintptr_t) &MyLatch->is_set, .flags = FUTEX_32},
        {.val = 0, .uaddr = (uintptr_t) &postmaster_possibly_dead, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG},
    };
    struct timespec deadline = {(time_t) (deadline_ns / NS_PER_S), (long) (deadline_ns % NS_PER_S)};

    StaticAssertStmt(sizeof(MyLatch->is_set) == 4, "a latch's word must be a futex");
    StaticAssertStmt(sizeof(postmaster_possibly_dead) == 4, "the postmaster's word must be a futex");
    if (syscall(SYS_futex_waitv, words, 3, 0, deadline_ns ? &deadline : NULL, CLOCK_MONOTONIC) >= 0)
        return true;
    return errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT;
}

/* Until `word` is no longer `value`, a signal came, the postmaster died, the deadline passed, or for no reason. */
static void sleep_on(_Atomic uint32_t *word, uint32 value, uint64 deadline_ns)
{
    uint64 wait_ns = POLL_NS;
    struct timespec timeout;

    if (!waitv_missing) {
        if (sleep_on_words(word, value, deadline_ns))
            return;
        waitv_missing = true;
    }
    if (deadline_ns) {
        uint64 now = clock_ns(CLOCK_MONOTONIC);

        wait_ns = deadline_ns > now ? Min(deadline_ns - now, POLL_NS) : 0;
    }
    timeout.tv_sec = (time_t) (wait_ns / NS_PER_S);
    timeout.tv_nsec = (long) (wait_ns % NS_PER_S);
    if (!MyLatch->is_set)
        (void) syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

static bool slot_is(struct wire_slot *slot, enum wire_slot_state state)
{
    return atomic_load_explicit(&slot->state, memory_order_acquire) == (uint32) state;
}

/* The slot is the engine's: it frees it when it is done with it. One that is done already is freed here. */
static void abandon(struct wire_slot *slot)
{
    uint32_t state = atomic_load(&slot->state);

    while (state == WIRE_SLOT_SUBMITTED || state == WIRE_SLOT_SLEEPING)
        if (atomic_compare_exchange_weak(&slot->state, &state, WIRE_SLOT_ABANDONED))
            return;
    if (state == WIRE_SLOT_DONE)
        atomic_store(&slot->state, WIRE_SLOT_FREE);
}

/*
 * After a wake-up: false if the postmaster is gone and the wait must end quietly. Raises only in manner LANE_READ, with
 * `slot` (may be NULL) abandoned.
 */
static bool heed(LaneManner manner, struct wire_slot *slot)
{
    if (MyLatch->is_set)
        ResetLatch(MyLatch);
    if (!PostmasterIsAlive()) {
        if (manner == LANE_QUIET || proc_exit_inprogress)
            return false;
        proc_exit(1);
    }
    if (manner != LANE_READ || !InterruptPending)
        return true;
    PG_TRY();
    {
        CHECK_FOR_INTERRUPTS();
    }
    PG_CATCH();
    {
        if (slot)
            abandon(slot);
        PG_RE_THROW();
    }
    PG_END_TRY();
    return true;
}

/* --- attaching --- */

static void detach(int code, Datum argument)
{
    CairnControl *control = cairn_control();

    for (uint32 i = 0; i < WIRE_LANE_SLOTS; i++)
        abandon(&lane->slots[i]);
    wire_snapshot_release(published);
    shared = NULL;
    pg_atomic_sub_fetch_u32(&control->attached, 1);
    /* A storage process that waits for the last of us looks again. */
    if (control->storage_latch)
        SetLatch(control->storage_latch);
}

static void at_transaction_end(XactEvent event, void *argument)
{
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
        cairn_lane_forget();
}

/* The lane stays ours until every before_shmem_exit callback has run: aborting the last transaction needs it. */
static bool attach(bool quiet)
{
    struct wire_shared *region = quiet ? cairn_shared_or_null() : cairn_shared();

    if (!region || !MyProc || (uint32) MyProc->pgprocno >= region->lane_count || (quiet && proc_exit_inprogress)) {
        if (!quiet)
            ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                            errmsg("cairn tables cannot be used in this process")));
        return false;
    }
    on_shmem_exit(detach, (Datum) 0);
    RegisterXactCallback(at_transaction_end, NULL);
    lane_number = (uint32) MyProc->pgprocno;
    lane = wire_shared_lane(region, lane_number);
    published = wire_shared_published(region, lane_number);
    /* Counted before the state is looked at: the storage process closes its door, then counts. */
    pg_atomic_add_fetch_u32(&cairn_control()->attached, 1);
    shared = region;
    return true;
}

static bool attached(bool quiet)
{
    return shared != NULL || attach(quiet);
}

/* --- readiness --- */

static void raise_down(const char *detail) pg_attribute_noreturn();

static void raise_down(const char *detail)
{
    ereport(ERROR, (errcode(ERRCODE_CANNOT_CONNECT_NOW), errmsg("the storage process of cairn is not ready"),
                    detail ? errdetail_internal("%s", detail) : 0,
                    errhint("Try again when it is ready; if it does not start, the server log says why.")));
    pg_unreachable();
}

static void wait_ready(void)
{
    uint64 deadline = clock_ns(CLOCK_MONOTONIC) + (uint64) cairn_start_timeout_s * NS_PER_S;
    uint32 state;

    if (!IsUnderPostmaster)
        raise_down("It does not run in single-user mode.");
    if (RecoveryInProgress())
        raise_down("It does not run while the server is in recovery.");
    pgstat_report_wait_start(PG_WAIT_EXTENSION);
    while ((state = atomic_load(&shared->state)) != WIRE_STORAGE_READY) {
        if (state == WIRE_STORAGE_FAILED || clock_ns(CLOCK_MONOTONIC) >= deadline) {
            pgstat_report_wait_end();
            raise_down(state == WIRE_STORAGE_FAILED ? "Its last start failed."
                                                    : "It was not ready within \"cairn.start_timeout\".");
        }
        sleep_on(&shared->state, state, deadline);
        (void) heed(LANE_READ, NULL);
    }
    pgstat_report_wait_end();
}

static bool ready(bool quiet)
{
    if (!attached(quiet))
        return false;
    if (likely(atomic_load_explicit(&shared->state, memory_order_acquire) == WIRE_STORAGE_READY))
        return true;
    if (quiet)
        return false;
    wait_ready();
    return true;
}

/* --- slots --- */

/* Free now, or freed here because nobody waits for its reply any more. */
static bool slot_free(uint32 k)
{
    struct wire_slot *slot = &lane->slots[k];

    if (likely(slot_is(slot, WIRE_SLOT_FREE)))
        return true;
    if (pending && k == PREFETCH_SLOT)
        return false;
    abandon(slot);
    return slot_is(slot, WIRE_SLOT_FREE);
}

/* A slot of ours that is free; waits for the engine if both hang. Returns false only when quiet. */
static bool take_slot(Exchange *x, uint32 preferred, bool any)
{
    for (;;) {
        for (uint32 i = 0; i < (any ? WIRE_LANE_SLOTS : 1); i++) {
            uint32 k = (preferred + i) % WIRE_LANE_SLOTS;

            if (slot_free(k)) {
                x->slot = &lane->slots[k];
                x->slot_number = lane_number * WIRE_LANE_SLOTS + k;
                return true;
            }
        }
        pg_usleep(FREE_POLL_US);
        if (x->manner == LANE_WRITE)
            CHECK_FOR_INTERRUPTS(); /* nothing was sent yet */
        if (!heed(x->manner, NULL))
            return false;
    }
}

static void submit(Exchange *x, enum wire_slot_purpose purpose, uint32 size, uint32 offset, uint32 total)
{
    struct wire_slot *slot = x->slot;
    struct wire_queue *queue = &shared->queues[x->queue];

    slot->purpose = (uint32) purpose;
    slot->size = size;
    slot->offset = offset;
    slot->total = total;
    slot->more = 0;
    atomic_store_explicit(&slot->state, WIRE_SLOT_SUBMITTED, memory_order_release);
    /* A queue has room for every slot. */
    if (!wire_queue_push(shared, x->queue, x->slot_number))
        elog(PANIC, "cairn: queue %d has lost count of its slots", (int) x->queue);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&queue->sleepers, memory_order_relaxed) > 0) {
        atomic_fetch_add_explicit(&queue->event, 1, memory_order_release);
        (void) syscall(SYS_futex, &queue->event, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

/* Until the slot is DONE. Returns false only when quiet and the postmaster is gone. */
static bool wait_done(Exchange *x)
{
    struct wire_slot *slot = x->slot;
    bool alive = true;

    if (slot_is(slot, WIRE_SLOT_DONE))
        return true;
    pgstat_report_wait_start(PG_WAIT_EXTENSION);
    while (alive) {
        uint32_t state = WIRE_SLOT_SUBMITTED;

        if (!atomic_compare_exchange_strong(&slot->state, &state, WIRE_SLOT_SLEEPING) && state == WIRE_SLOT_DONE)
            break;
        sleep_on(&slot->state, WIRE_SLOT_SLEEPING, 0);
        if (slot_is(slot, WIRE_SLOT_DONE))
            break;
        alive = heed(x->manner, slot);
    }
    pgstat_report_wait_end();
    return alive;
}

/* --- messages --- */

/* Send all pieces; stops early if the engine answers before the last one. The last piece's answer is not waited for. */
static bool send_pieces(Exchange *x, const uint8 *data, uint32 total)
{
    uint32 offset = 0;

    x->generation = atomic_load(&shared->generation);
    x->slot->submitted_ns = clock_ns(CLOCK_MONOTONIC);
    for (;;) {
        uint32 size = Min(total - offset, WIRE_PIECE_MAX);

        memcpy(x->slot->buffer, data + offset, size);
        submit(x, WIRE_SLOT_REQUEST, size, offset, total);
        offset += size;
        if (offset == total)
            return true;
        if (!wait_done(x))
            return false;
        if (!x->slot->more)
            return true;
    }
}

/* Fetch what is behind the first piece of a long reply into data[total]. */
static int fetch_rest(Exchange *x, uint8 *data, uint32 have, uint32 total)
{
    while (have < total) {
        uint32 size;

        submit(x, WIRE_SLOT_FETCH, 0, have, total);
        if (!wait_done(x))
            return WIRE_E_DOWN;
        size = x->slot->size;
        if (x->slot->more || size == 0 || size > WIRE_PIECE_MAX || x->slot->offset != have || x->slot->total != total ||
            size > total - have)
            return WIRE_E_BAD_FORMAT;
        memcpy(data + have, x->slot->buffer, size);
        have += size;
    }
    return WIRE_OK;
}

/* Wait for the reply and copy it into its room or the current memory context. Codes other than those of the reply: WIRE_E_DOWN,
 * WIRE_E_NOMEM, decoding errors. */
static int receive(Exchange *x, CairnReply *reply)
{
    struct wire_reply header;
    uint32 size;
    uint32 total;
    uint8 *data;
    int code;

    if (!wait_done(x))
        return WIRE_E_DOWN;
    size = x->slot->size;
    total = x->slot->total;
    if (x->slot->more || x->slot->offset != 0 || size > WIRE_PIECE_MAX || total > WIRE_MESSAGE_MAX || size > total)
        return WIRE_E_BAD_FORMAT;
    data = x->room && total <= WIRE_PIECE_MAX
               ? x->room
               : MemoryContextAllocExtended(CurrentMemoryContext, Max(total, 1), MCXT_ALLOC_NO_OOM);
    if (!data)
        return WIRE_E_NOMEM;
    memcpy(data, x->slot->buffer, size);
    code = fetch_rest(x, data, size, total);
    if (code == WIRE_OK)
        code = wire_reply_open(data, total, &header);
    if (code != WIRE_OK)
        return code;
    reply->status = header.status;
    reply->detail = header.detail;
    reply->snapshot = header.snapshot;
    reply->body = header.body;
    return WIRE_OK;
}

/*
 * As receive, and the slot is free again. Returns what befell the transport: the reply is lost then, and what became of
 * a write is unknown; reply->status tells the same.
 */
static int finish(Exchange *x, CairnReply *reply)
{
    int code = receive(x, reply);

    abandon(x->slot);
    if (code != WIRE_OK) {
        reply->status = code;
        reply->detail = 0;
        reply->snapshot = 0;
        reply->body = wire_reader_of(NULL, 0);
    }
    /* Pieces that the storage process's predecessor held are gone with it. */
    if (reply->status == WIRE_E_BAD_FORMAT && x->generation != atomic_load(&shared->generation))
        code = reply->status = WIRE_E_DOWN;
    if (reply->status == WIRE_E_STOPPING)
        code = WIRE_E_STOPPING;
    return code;
}

static void count_usage(enum wire_operation operation, const CairnReply *reply, const CairnRequest *request)
{
    struct wire_reader body = reply->body;
    struct wire_request sent;

    cairn_usage.requests++;
    if (reply->status != WIRE_OK)
        return;
    switch (operation) {
    case WIRE_SCAN:
        (void) wire_read_u8(&body);
        cairn_usage.items_read += wire_read_u32(&body);
        cairn_usage.bytes_read += reply->body.size - reply->body.position;
        break;
    case WIRE_GET:
        cairn_usage.items_read += wire_read_varint(&body);
        cairn_usage.bytes_read += reply->body.size - reply->body.position;
        break;
    case WIRE_WRITE:
        /* What a transaction writes is counted when it joins the write set. */
        if (wire_request_open(request->writer.data, request->writer.size, &sent) == WIRE_OK &&
            !(sent.flags & WIRE_TRANSACTIONAL))
            cairn_usage.items_written += wire_read_varint(&sent.body);
        break;
    default:
        break;
    }
}

/* --- requests --- */

void cairn_request_begin(CairnRequest *request, const struct wire_request *header, Size body_estimate)
{
    struct wire_writer measure = wire_writer_of(NULL, 0);
    Size capacity;

    wire_request_write(&measure, header);
    capacity = measure.size + body_estimate;
    request->operation = header->operation;
    request->flags = header->flags;
    request->room = NULL;
    request->changes_nothing = false;
    request->writer = wire_writer_of(palloc(capacity), capacity);
    wire_request_write(&request->writer, header);
}

void cairn_request_reserve(CairnRequest *request, Size more)
{
    struct wire_writer *w = &request->writer;
    Size capacity = w->capacity;

    if (w->failed || more > WIRE_MESSAGE_MAX || w->size + more > WIRE_MESSAGE_MAX)
        cairn_error_raise(WIRE_E_TOO_LARGE, NULL);
    if (more <= capacity - w->size)
        return;
    capacity = Max(w->size + more, Min(capacity * 2, WIRE_MESSAGE_MAX));
    w->data = repalloc(w->data, capacity);
    w->capacity = capacity;
}

/* WIRE_OK if the request may be sent. */
static int check_request(const CairnRequest *request)
{
    if (request->writer.failed)
        return WIRE_E_SHORT_BUFFER;
    return request->writer.size > WIRE_MESSAGE_MAX ? WIRE_E_TOO_LARGE : WIRE_OK;
}

static enum wire_queue_name queue_of(const CairnRequest *request)
{
    return wire_request_queue(request->operation, request->flags);
}

static void start_exchange(Exchange *x, const CairnRequest *request, LaneManner manner)
{
    x->queue = queue_of(request);
    x->manner = manner;
    x->generation = 0;
    x->room = request->room;
}

/* What the caller need not know by table and key. */
static void raise_transport(int code, int status)
{
    if (code == WIRE_E_STOPPING || code == WIRE_E_DOWN)
        raise_down(NULL);
    if (code != WIRE_OK || status == WIRE_E_TOO_LARGE)
        cairn_error_raise(code != WIRE_OK ? code : status, NULL);
}

void cairn_lane_call(CairnRequest *request, CairnReply *reply)
{
    bool is_write = queue_of(request) == WIRE_QUEUE_WRITES && !request->changes_nothing;
    int code = check_request(request);
    Exchange x;

    if (code != WIRE_OK)
        cairn_error_raise(code, NULL);
    (void) ready(false);
    start_exchange(&x, request, is_write ? LANE_WRITE : LANE_READ);
    (void) take_slot(&x, CALL_SLOT, true);
    if (is_write)
        HOLD_INTERRUPTS();
    (void) send_pieces(&x, request->writer.data, (uint32) request->writer.size);
    code = finish(&x, reply);
    if (is_write)
        RESUME_INTERRUPTS();
    count_usage(request->operation, reply, request);
    raise_transport(code, reply->status);
}

bool cairn_lane_call_quietly(CairnRequest *request, CairnReply *reply)
{
    int code = check_request(request);
    Exchange x;

    memset(reply, 0, sizeof(*reply));
    reply->status = code;
    if (code != WIRE_OK)
        return true;
    if (!ready(true))
        return false;
    start_exchange(&x, request, LANE_QUIET);
    HOLD_INTERRUPTS();
    code = WIRE_E_DOWN;
    if (take_slot(&x, CALL_SLOT, true) && send_pieces(&x, request->writer.data, (uint32) request->writer.size))
        code = finish(&x, reply);
    RESUME_INTERRUPTS();
    count_usage(request->operation, reply, request);
    return code != WIRE_E_DOWN && code != WIRE_E_STOPPING;
}

/* --- prefetch --- */

void cairn_lane_send(CairnRequest *request)
{
    int code = check_request(request);

    if (code != WIRE_OK)
        cairn_error_raise(code, NULL);
    if (queue_of(request) == WIRE_QUEUE_WRITES)
        elog(ERROR, "cairn: a write cannot be sent ahead");
    (void) ready(false);
    cairn_lane_forget();
    start_exchange(&pending_exchange, request, LANE_READ);
    (void) take_slot(&pending_exchange, PREFETCH_SLOT, false);
    (void) send_pieces(&pending_exchange, request->writer.data, (uint32) request->writer.size);
    pending_operation = request->operation;
    pending = true;
}

void cairn_lane_collect(CairnReply *reply)
{
    int code;

    if (!pending)
        elog(ERROR, "cairn: no request was sent ahead");
    /* Whatever happens now, the slot is nobody's afterwards. */
    pending = false;
    code = finish(&pending_exchange, reply);
    count_usage(pending_operation, reply, NULL);
    raise_transport(code, reply->status);
}

void cairn_lane_forget(void)
{
    if (!pending)
        return;
    pending = false;
    if (shared)
        abandon(pending_exchange.slot);
}

bool cairn_lane_pending(void)
{
    return pending;
}

/* --- lane and snapshot --- */

uint32 cairn_lane_number(void)
{
    (void) attached(false);
    return lane_number;
}

uint64 cairn_lane_snapshot_take(void)
{
    /* Until the storage process is ready there is no newest version. */
    (void) ready(false);
    return wire_snapshot_take(shared, published, clock_ns(CLOCK_REALTIME) / NS_PER_MS);
}

void cairn_lane_snapshot_lower(uint64 version)
{
    if (atomic_load(&published->snapshot) > version)
        atomic_store(&published->snapshot, version);
}

void cairn_lane_snapshot_release(void)
{
    if (shared)
        wire_snapshot_release(published);
}
