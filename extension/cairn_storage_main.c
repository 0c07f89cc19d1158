/*
 * The storage process: a background worker whose main thread obeys Postgres' rules and whose other threads, the
 * engine's, know nothing of Postgres.
 *
 * Happy path: load the engine's library -> start (replays the log) -> decide the transactions that a crash left
 * prepared, by the commit log -> serve -> pump the engine's log lines, collect storages without a relation, until the
 * server shuts down -> wait until no process has a lane -> stop.
 *
 * Failure modes
 * - A start that fails: state FAILED, requests are refused, exit code 1, the postmaster tries again. Nothing else of
 * the server suffers.
 * - A fault while serving: threads may be anywhere and slots in any state, so only new shared memory helps. Exit code 2
 * makes the postmaster restart every process, as for any crash; nothing acknowledged is lost.
 * - An ERROR in the main thread while lanes are attached: likewise. A clean stop with transactions in progress would
 * let the next start take their prepared writes for aborted ones.
 * - Postmaster death: gone at once; the log has what was acknowledged.
 */
#include "cairn_storage.h"

#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include "access/transam.h"
#include "access/xlog.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "cairn_shared.h"
#include "cairn_table.h"
#include "sb_server.h"

#define ENGINE_LIBRARY "cairn_engine.so"
#define MARKER "cairn.storage" /* in the data directory: there is a storage directory that is complete */
#define EXIT_RESTART 1         /* the postmaster starts the process again; 0 would mean "never again" */
#define EXIT_CRASH 2           /* the postmaster resets shared memory and restarts every process */
#define DOOR_POLL_MS 1000
#define MB UINT64CONST(1048576)
#define MS_PER_S UINT64CONST(1000)

PGDLLEXPORT void cairn_storage_main(Datum argument);

static const struct sb_server_interface *engine;
static struct sb_server *server;
static bool served;
static bool may_stop; /* no process has a lane, or none was served yet */

/* --- log lines --- */

static void report_line(const struct sb_line *line)
{
    int level = line->level == SB_LEVEL_WARNING ? WARNING : line->level == SB_LEVEL_LOG ? LOG : DEBUG1;

    ereport(level, (errmsg_internal("cairn storage: %s", line->text)));
}

static void pump_lines(void)
{
    struct sb_line line;

    while (engine->line(server, &line))
        report_line(&line);
}

/* --- start --- */

static void load_engine(void)
{
    char path[MAXPGPATH];
    sigset_t all;
    sigset_t before;
    void *library;

    snprintf(path, sizeof(path), "%s/%s", pkglib_path, ENGINE_LIBRARY);
    /* A library may start threads as it is loaded; none of them may take a signal. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (!library)
        ereport(FATAL, (errcode(ERRCODE_UNDEFINED_FILE), errmsg("could not load library \"%s\": %s", path, dlerror())));
    engine = dlsym(library, "sb_server_interface");
    if (!engine || engine->version != SB_SERVER_INTERFACE_VERSION)
        ereport(FATAL, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("library \"%s\" is of another release of cairn", path),
                        errhint("Install both libraries of one release and restart the server.")));
}

static void raise_fault(const char *action, int code, const struct sb_fault *fault) pg_attribute_noreturn();

static void raise_fault(const char *action, int code, const struct sb_fault *fault)
{
    ereport(FATAL,
            (errmsg("cairn storage could not %s: %s", action, fault->text[0] ? fault->text : wire_error_text(code)),
             code == WIRE_E_STORE_LOST
                 ? errhint("Mount or restore the storage directory, or correct cairn.storage_directory. To begin with "
                           "an empty one, which loses the rows of all cairn tables, remove what is left of it and the "
                           "file \"%s\" in the data directory.",
                           MARKER)
                 : 0));
    pg_unreachable();
}

static void start_engine(void)
{
    struct sb_server_options options = {
        .path = cairn_storage_directory[0] ? cairn_storage_directory : psprintf("%s/cairn", DataDir),
        .marker = psprintf("%s/" MARKER, DataDir),
        .shared = cairn_shared(),
        .identity = GetSystemIdentifier(),
        .reader_threads = (uint32_t) cairn_reader_threads,
        .block_cache_bytes = (uint64_t) cairn_block_cache_mb * MB,
        .write_buffer_bytes = (uint64_t) cairn_write_buffer_mb * MB,
        .write_buffer_count = (uint32_t) cairn_write_buffer_count,
        .background_threads = (uint32_t) cairn_background_threads,
        .rate_limit_bytes_per_s = (uint64_t) cairn_rate_limit_mb_per_s * MB,
        .max_open_files = (uint32_t) cairn_max_open_files,
        .log_segment_bytes = (uint64_t) cairn_log_segment_mb * MB,
        .log_max_bytes = (uint64_t) cairn_log_max_mb * MB,
        .history_retention_ms = (uint64_t) cairn_history_retention_s * MS_PER_S,
        .max_snapshot_age_ms = (uint64_t) cairn_max_snapshot_age_s * MS_PER_S,
        .notify = cairn_thread_latch_set,
    };
    struct sb_fault fault = {0};
    int code;

    cairn_thread_latch_bind(MyLatch);
    /* One arena: blocks that one thread of the engine frees for another come back (measured: 336 MB instead of 451 MB
     * at a cache of 200 MB). */
    (void) mallopt(M_ARENA_MAX, 1);
    code = engine->start(&options, &server, &fault);
    if (code != WIRE_OK) {
        server = NULL;
        raise_fault("start", code, &fault);
    }
}

/* --- transactions that a crash left prepared --- */

/*
 * Did the Postgres transaction commit? Its process is gone, for lanes are given up after the last callback and the
 * process that decides here started when there were none. Its id was in durable WAL before its writes were prepared;
 * one that this cluster has not given out yet, or no longer remembers, means that the data directory is not the one the
 * storage belongs to, or lost WAL.
 */
static bool decider_committed(uint64 decider)
{
    FullTransactionId id = FullTransactionIdFromU64(decider);
    FullTransactionId next = ReadNextFullTransactionId();
    TransactionId xid = XidFromFullTransactionId(id);
    TransactionId oldest;
    bool forgotten;
    bool committed;

    if (!TransactionIdIsNormal(xid) || !FullTransactionIdPrecedes(id, next))
        ereport(
            FATAL,
            (errcode(ERRCODE_DATA_CORRUPTED),
             errmsg("cairn storage has prepared writes of transaction " UINT64_FORMAT
                    ", which this server has not started yet",
                    decider),
             errdetail("The next transaction is " UINT64_FORMAT ".", U64FromFullTransactionId(next)),
             errhint(
                 "The data directory may have been restored from a backup that is older than the storage directory.")));
    /* As in pg_xact_status(): the lock keeps the commit log from being truncated under us. */
    LWLockAcquire(XactTruncationLock, LW_SHARED);
    oldest = ShmemVariableCache->oldestClogXid;
    forgotten = U64FromFullTransactionId(next) - decider > (uint64) PG_INT32_MAX || TransactionIdPrecedes(xid, oldest);
    committed = !forgotten && TransactionIdDidCommit(xid);
    LWLockRelease(XactTruncationLock);
    if (forgotten)
        ereport(FATAL, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("cairn storage has prepared writes of transaction " UINT64_FORMAT
                               ", whose outcome this server no longer knows",
                               decider),
                        errdetail("The oldest transaction in the commit log is %u.", oldest)));
    return committed;
}

static void decide_prepared(void)
{
    struct sb_fault fault = {0};
    uint64 decider = 0;
    int committed = 0;
    int aborted = 0;

    while ((decider = engine->prepared(server, decider)) != 0) {
        bool commit = decider_committed(decider);
        int code = engine->decide(server, decider, commit, &fault);

        if (code != WIRE_OK)
            raise_fault("decide a prepared transaction", code, &fault);
        if (commit)
            committed++;
        else
            aborted++;
    }
    if (committed + aborted > 0)
        ereport(LOG,
                (errmsg("cairn storage decided prepared transactions: %d committed, %d aborted", committed, aborted)));
}

static void serve(void)
{
    struct sb_fault fault = {0};
    int code;

    /* From here on processes rely on us. */
    may_stop = false;
    code = engine->serve(server, &fault);
    if (code != WIRE_OK) {
        may_stop = true;
        raise_fault("serve", code, &fault);
    }
    served = true;
}

/* --- end --- */

/*
 * Close the door: true if no process has a lane, and none will get past the state. A process counts itself before it
 * looks at the state, we set the state before we count: one of us sees the other.
 */
static bool close_door(void)
{
    if (pg_atomic_read_u32(&cairn_control()->attached) > 0)
        return false;
    cairn_shared_set_state(WIRE_STORAGE_DOWN);
    pg_memory_barrier();
    if (pg_atomic_read_u32(&cairn_control()->attached) == 0)
        return true;
    cairn_shared_set_state(WIRE_STORAGE_READY);
    return false;
}

/* before_shmem_exit, registered last, so it runs first. */
static void stop_engine(int code, Datum argument)
{
    struct sb_server *stopped = server;

    if (!may_stop && !close_door())
        _exit(EXIT_CRASH);
    cairn_shared_set_state(WIRE_STORAGE_DOWN);
    if (stopped) {
        pump_lines();
        server = NULL;
        engine->stop(stopped);
    }
    if (!served && !ShutdownRequestPending)
        cairn_shared_set_state(WIRE_STORAGE_FAILED);
}

/* A thread of the engine has failed: say how, then make the postmaster start afresh. */
static void crash_if_failed(void)
{
    struct sb_fault fault = {0};

    if (!engine->failed(server, &fault))
        return;
    ereport(LOG, (errmsg("cairn storage failed: %s", fault.text[0] ? fault.text : wire_error_text(fault.code)),
                  errdetail("All processes of the server are restarted; no acknowledged write is lost.")));
    _exit(EXIT_CRASH);
}

/* --- collector --- */

static void collect_round(void)
{
    uint8_t bytes[2][64];
    struct wire_span after = {bytes[1], 0};
    uint64_t storage_id;
    size_t size;
    int turn = 0;

    if (!cairn_collect_begin())
        return;
    while (engine->storage_next(server, after, bytes[turn], sizeof(bytes[turn]), &size, &storage_id) == WIRE_OK) {
        after = (struct wire_span){bytes[turn], size};
        turn = !turn;
        if (!cairn_collect_gone(after, storage_id))
            continue;
        ereport(DEBUG1,
                (errmsg_internal("cairn storage drops storage " UINT64_FORMAT ", whose relation is gone", storage_id)));
        if (engine->storage_drop(server, storage_id) != WIRE_OK)
            break;
    }
    cairn_collect_end();
}

/* Returns how long until the next round. */
static long collect_if_due(void)
{
    static TimestampTz last;
    TimestampTz now = GetCurrentTimestamp();
    long interval_ms = (long) cairn_collect_interval_s * (long) MS_PER_S;
    long passed_ms;

    if (last == 0)
        last = now;
    passed_ms = (long) ((now - last) / 1000);
    if (passed_ms >= 0 && passed_ms < interval_ms)
        return interval_ms - passed_ms;
    collect_round();
    last = GetCurrentTimestamp();
    return interval_ms;
}

/* --- main --- */

static void wait_for_work(long timeout_ms)
{
    int events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_POSTMASTER_DEATH, timeout_ms, PG_WAIT_EXTENSION);

    if (events & WL_POSTMASTER_DEATH)
        _exit(EXIT_RESTART);
    if (events & WL_LATCH_SET)
        ResetLatch(MyLatch);
}

/* Until the server shuts down and nobody needs us: a fast shutdown signals everyone at the same time, and those who end
 * their transactions still ask. */
static void main_loop(void)
{
    for (;;) {
        long timeout_ms = DOOR_POLL_MS;

        pump_lines();
        crash_if_failed();
        if (ConfigReloadPending) {
            ConfigReloadPending = false;
            ProcessConfigFile(PGC_SIGHUP);
        }
        if (!ShutdownRequestPending)
            timeout_ms = collect_if_due();
        else if (close_door())
            break;
        wait_for_work(timeout_ms);
    }
    may_stop = true;
}

void cairn_storage_main(Datum argument)
{
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
    cairn_control()->storage_latch = MyLatch;
    may_stop = true;
    cairn_shared_set_state(WIRE_STORAGE_STARTING);
    before_shmem_exit(stop_engine, (Datum) 0);
    load_engine();
    start_engine();
    pump_lines();
    decide_prepared();
    if (!ShutdownRequestPending) {
        serve();
        main_loop();
    }
    proc_exit(EXIT_RESTART);
}
