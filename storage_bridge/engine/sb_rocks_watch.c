/*
 * The watch over RocksDB's background work: a thread that learns what has failed there, says so, and sees to it that
 * nobody waits for what will not come.
 *
 * RocksDB 7.8 counts a flush or compaction that failed and writes why into its file LOG; with paranoid_checks = 0
 * (sb_rocks_options.c) nothing else happens. A failed flush is not made again by itself, and whoever waits for it, a
 * write that finds all memtables full included, waits for ever. The C API has no callbacks. So the thread looks at the
 * counter, reads what LOG has gained, and judges:
 *
 *   flush, no room      reported; made again every second until there is room. Writes wait in the meantime
 *   flush, otherwise    reported, the store has failed: all background work is called off, which ends every wait
 *   compaction          loses nothing, for its inputs stay: reported with the file and whose keys it has, and compactions
 *                       pause. Else RocksDB would make the same one again every second, and end by stopping all writes
 *                       because the tree is not in shape. After the pause they are tried again.
 *
 * Failure modes: an error that LOG does not tell (it may be on the disk that is full) is judged by what is left undone.
 */
#include "sb_rocks_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sb_futex.h"

#define PERIOD_NS (100 * SB_NS_PER_MS)
#define RETRY_NS SB_NS_PER_S                       /* between flushes that find no room */
#define PAUSE_NS (UINT64_C(600) * SB_NS_PER_S)     /* of compactions after damage */
#define PAUSE_ROOM_NS (UINT64_C(10) * SB_NS_PER_S) /* of compactions that found no room */
#define LOG_PATIENCE 30                            /* looks until an error that LOG does not tell is judged without */
#define LOG_RESERVE (1 << 20)
#define UNLIMITED_BUFFERS "100000"

enum { LOG_LINE_MAX = 2048 };

static const char flush_words[] = "Waiting after background flush error: ";
static const char compaction_words[] = "Waiting after background compaction error: ";

/* The thread's own. */
struct watch {
    struct sb_rocks *r;
    int log;                 /* descriptor of LOG, -1: none yet */
    off_t reserved;          /* LOG has room on disk up to here */
    char line[LOG_LINE_MAX]; /* being read */
    size_t size;
    uint64_t seen; /* background errors judged */
    int patience;
    uint64_t retry_ns;  /* when to flush again, 0: no flush has failed */
    uint64_t resume_ns; /* when to compact again, 0: no pause */
};

/* ---- whose file is it ---- */

static void report(struct sb_rocks *r, enum sb_rocks_event event, const struct sb_fault *fault)
{
    if (r->report)
        r->report(r->report_context, event, fault);
}

static uint64_t storage_of(const char *key, size_t size)
{
    uint64_t storage_id = 0;

    for (size_t i = 1; i < size && i <= sizeof(storage_id); i++)
        storage_id = storage_id << 8 | (uint8_t) key[i];
    return storage_id;
}

static void describe(const rocksdb_livefiles_t *files, int i, char *out, size_t capacity)
{
    size_t low_size = 0, high_size = 0;
    const char *low = rocksdb_livefiles_smallestkey(files, i, &low_size);
    const char *high = rocksdb_livefiles_largestkey(files, i, &high_size);
    bool one_family = low_size > 0 && high_size > 0 && low[0] == high[0];

    if (one_family)
        (void) snprintf(out, capacity, " (it has keys of storages %llu to %llu, see cairn.tables)",
                        (unsigned long long) storage_of(low, low_size),
                        (unsigned long long) storage_of(high, high_size));
    else
        (void) snprintf(out, capacity, " (it has keys of any storage)");
}

static void name_storages(struct sb_rocks *r, struct sb_fault *fault)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(r->db);
    char whose[128] = "";
    size_t size = strlen(fault->text);

    for (int i = 0; i < rocksdb_livefiles_count(files) && !*whose; i++) {
        if (strstr(fault->text, rocksdb_livefiles_name(files, i)))
            describe(files, i, whose, sizeof(whose));
    }
    rocksdb_livefiles_destroy(files);
    if (size + strlen(whose) >= sizeof(fault->text))
        size = sizeof(fault->text) - 1 - strlen(whose);
    memcpy(fault->text + size, whose, strlen(whose) + 1);
}

void sb_rocks_check_files(struct sb_rocks *r)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(r->db);
    char path[1400];
    struct stat found;

    for (int i = 0; i < rocksdb_livefiles_count(files); i++) {
        struct sb_fault fault = {0};

        (void) snprintf(path, sizeof(path), "%s%s", r->path, rocksdb_livefiles_name(files, i));
        if (stat(path, &found) != 0)
            (void) sb_fault_set(&fault, WIRE_E_CORRUPT, "table file \"%s\" is lost: %s", path, strerror(errno));
        else if ((uint64_t) found.st_size != rocksdb_livefiles_size(files, i))
            (void) sb_fault_set(&fault, WIRE_E_CORRUPT, "table file \"%s\" has %lld bytes instead of %llu", path,
                                (long long) found.st_size, (unsigned long long) rocksdb_livefiles_size(files, i));
        if (fault.code == WIRE_OK)
            continue;
        name_storages(r, &fault);
        report(r, SB_ROCKS_DAMAGED, &fault);
    }
    rocksdb_livefiles_destroy(files);
}

/* ---- judging ---- */

void sb_rocks_fail(struct sb_rocks *r, const struct sb_fault *fault)
{
    bool is_first;

    (void) pthread_mutex_lock(&r->lock);
    is_first = !atomic_load(&r->failed);
    if (is_first)
        r->failure = *fault;
    atomic_store(&r->failed, true);
    (void) pthread_mutex_unlock(&r->lock);
    if (!is_first)
        return;
    if (!atomic_load(&r->giving_up))
        report(r, SB_ROCKS_FAILED, fault);
    rocksdb_cancel_all_background_work(r->db, 0);
}

static void set_option(struct sb_rocks *r, const char *name, const char *value)
{
    char *error = NULL;

    rocksdb_set_options(r->db, 1, &name, &value, &error);
    rocksdb_free(error); /* at worst it stays as it was, and is tried again */
}

static void flush_failed(struct watch *watch, struct sb_fault *fault)
{
    bool is_new = watch->retry_ns == 0;

    if (fault->code != WIRE_E_DISK_FULL) {
        sb_rocks_fail(watch->r, fault);
        return;
    }
    watch->retry_ns = sb_monotonic_ns() + RETRY_NS;
    if (is_new)
        report(watch->r, SB_ROCKS_NO_ROOM, fault);
    if (atomic_load(&watch->r->giving_up))
        sb_rocks_fail(watch->r, fault);
}

static void compaction_failed(struct watch *watch, struct sb_fault *fault)
{
    struct sb_rocks *r = watch->r;

    name_storages(r, fault);
    (void) pthread_mutex_lock(&r->lock);
    r->compaction_failure = *fault;
    (void) pthread_mutex_unlock(&r->lock);
    if (watch->resume_ns == 0) {
        set_option(r, "disable_auto_compactions", "true");
        report(r, SB_ROCKS_PAUSED, fault);
    }
    watch->resume_ns = sb_monotonic_ns() + (fault->code == WIRE_E_DISK_FULL ? PAUSE_ROOM_NS : PAUSE_NS);
}

/* One whole line of LOG. */
static void judge_line(struct watch *watch, char *line)
{
    char *flush = strstr(line, flush_words);
    char *compaction = strstr(line, compaction_words);
    char *end = strstr(line, "Accumulated background error counts");
    struct sb_fault fault = {0};

    if (!flush && !compaction)
        return;
    while (end && end > line && (end[-1] == ',' || end[-1] == ' '))
        end--;
    if (end)
        *end = '\0';
    line = flush ? flush + strlen(flush_words) : compaction + strlen(compaction_words);
    watch->seen++;
    watch->patience = LOG_PATIENCE;
    if (flush) {
        (void) sb_rocks_tell("a flush of the items store failed: ", line, &fault);
        flush_failed(watch, &fault);
    } else {
        (void) sb_rocks_tell("a compaction of the items store failed: ", line, &fault);
        compaction_failed(watch, &fault);
    }
}

bool sb_rocks_has_room(const struct sb_rocks *r)
{
    struct statvfs disk;

    return statvfs(r->path, &disk) != 0 || (uint64_t) disk.f_bavail * disk.f_frsize > r->write_buffer_bytes;
}

/* LOG does not say what failed. */
static void judge_blindly(struct watch *watch, uint64_t errors)
{
    bool flush = sb_rocks_property(watch->r, "rocksdb.num-immutable-mem-table") > 0;
    struct sb_fault fault;

    (void) sb_fault_set(&fault, sb_rocks_has_room(watch->r) ? WIRE_E_IO : WIRE_E_DISK_FULL,
                        "a %s of the items store in \"%s\" failed, and its file LOG does not say why",
                        flush ? "flush" : "compaction", watch->r->path);
    watch->seen = errors;
    watch->patience = LOG_PATIENCE;
    if (flush)
        flush_failed(watch, &fault);
    else
        compaction_failed(watch, &fault);
}

/* ---- reading LOG ---- */

static void read_lines(struct watch *watch)
{
    char bytes[4096];
    ssize_t size;

    while (watch->log >= 0 && (size = read(watch->log, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < size; i++) {
            if (bytes[i] != '\n') {
                if (watch->size < LOG_LINE_MAX - 1)
                    watch->line[watch->size++] = bytes[i];
                continue;
            }
            watch->line[watch->size] = '\0';
            watch->size = 0;
            judge_line(watch, watch->line);
        }
    }
}

/*
 * Have room for what LOG will say. As Debian builds RocksDB, with assertions, the process ends at the first line for
 * which there is none: just when the disk is full, in the middle of an orderly retreat.
 */
static void reserve_log(struct watch *watch)
{
    struct stat ours;

    if (watch->log < 0 || fstat(watch->log, &ours) != 0 || ours.st_size < watch->reserved - LOG_RESERVE / 2)
        return;
    if (fallocate(watch->log, FALLOC_FL_KEEP_SIZE, ours.st_size, LOG_RESERVE) == 0)
        watch->reserved = ours.st_size + LOG_RESERVE;
}

/* RocksDB renames LOG when it has grown, and begins another. */
static void follow_log(struct watch *watch)
{
    char path[1400];
    struct stat ours, current;

    (void) snprintf(path, sizeof(path), "%s/LOG", watch->r->path);
    if (watch->log >= 0 &&
        (stat(path, &current) != 0 || (fstat(watch->log, &ours) == 0 && ours.st_ino == current.st_ino)))
        return;
    read_lines(watch);
    if (watch->log >= 0)
        (void) close(watch->log);
    watch->size = 0;
    watch->reserved = 0;
    watch->log = open(path, O_RDWR | O_CLOEXEC);
}

/* ---- the thread ---- */

/*
 * Begin a flush. While writes are stopped, or would be with one memtable more, RocksDB refuses or, worse, waits for work
 * that may just have failed; so for this moment nothing stops them.
 */
static void flush_again(struct watch *watch)
{
    static const char *const names[] = {"max_write_buffer_number", "disable_auto_compactions"};
    const char *const open[] = {UNLIMITED_BUFFERS, "true"};
    const char *const usual[] = {watch->r->write_buffer_count, watch->resume_ns != 0 ? "true" : "false"};
    char *error = NULL;

    rocksdb_set_options(watch->r->db, 2, names, open, &error);
    if (!error)
        rocksdb_flush(watch->r->db, watch->r->flush_begin, &error);
    rocksdb_free(error); /* the failure of a flush is counted like any other's */
    error = NULL;
    rocksdb_set_options(watch->r->db, 2, names, usual, &error);
    rocksdb_free(error);
}

static void look_at_flush(struct watch *watch, uint64_t now_ns)
{
    struct sb_fault fault = {0};

    if (watch->retry_ns == 0)
        return;
    if (sb_rocks_property(watch->r, "rocksdb.num-immutable-mem-table") == 0) {
        watch->retry_ns = 0;
        report(watch->r, SB_ROCKS_ROOM, &fault);
    } else if (atomic_load(&watch->r->giving_up)) {
        (void) sb_fault_set(&fault, WIRE_E_DISK_FULL, "no room on disk for what the items store has in memory");
        sb_rocks_fail(watch->r, &fault);
    } else if (now_ns >= watch->retry_ns && sb_rocks_property(watch->r, "rocksdb.num-running-flushes") == 0) {
        watch->retry_ns = now_ns + RETRY_NS;
        if (sb_rocks_has_room(watch->r))
            flush_again(watch);
    }
}

static void look_at_compactions(struct watch *watch, uint64_t now_ns)
{
    if (watch->resume_ns == 0 || now_ns < watch->resume_ns)
        return;
    watch->resume_ns = 0;
    set_option(watch->r, "disable_auto_compactions", "false");
}

static void look(struct watch *watch)
{
    struct sb_rocks *r = watch->r;
    uint64_t errors = sb_rocks_property(r, "rocksdb.background-errors");
    uint64_t now_ns = sb_monotonic_ns();

    follow_log(watch);
    reserve_log(watch);
    if (errors > watch->seen) {
        read_lines(watch);
        errors = sb_rocks_property(r, "rocksdb.background-errors");
        if (watch->seen > errors) /* LOG told late what was judged without it */
            watch->seen = errors;
        else if (watch->seen < errors && --watch->patience <= 0)
            judge_blindly(watch, errors);
    }
    atomic_store(&r->errors_judged, watch->seen);
    look_at_flush(watch, now_ns);
    look_at_compactions(watch, now_ns);
}

static void *watch_main(void *argument)
{
    struct watch *watch = argument;
    struct sb_rocks *r = watch->r;

    (void) prctl(PR_SET_NAME, "cairn-watch");
    while (atomic_load(&r->watch_state) != SB_WATCH_END) {
        look(watch);
        sb_futex_wait(&r->watch_state, SB_WATCH_RUN, PERIOD_NS);
    }
    if (watch->log >= 0)
        (void) close(watch->log);
    sb_free(watch);
    return NULL;
}

int sb_rocks_watch_start(struct sb_rocks *r, struct sb_fault *fault)
{
    struct watch *watch = sb_alloc(sizeof(*watch));

    if (!watch)
        return sb_rocks_no_memory(fault);
    watch->r = r;
    watch->patience = LOG_PATIENCE;
    watch->log = -1;
    follow_log(watch);
    reserve_log(watch);
    atomic_store(&r->watch_state, SB_WATCH_RUN);
    if (pthread_create(&r->watch_thread, NULL, watch_main, watch) == 0)
        return WIRE_OK;
    atomic_store(&r->watch_state, SB_WATCH_NONE);
    if (watch->log >= 0)
        (void) close(watch->log);
    sb_free(watch);
    return sb_fault_set(fault, WIRE_E_NOMEM, "could not start a thread");
}

void sb_rocks_watch_stop(struct sb_rocks *r)
{
    if (atomic_load(&r->watch_state) != SB_WATCH_RUN)
        return;
    atomic_store(&r->watch_state, SB_WATCH_END);
    sb_futex_wake(&r->watch_state, 1);
    (void) pthread_join(r->watch_thread, NULL);
}

void sb_rocks_give_up(void *self)
{
    struct sb_rocks *r = self;

    atomic_store(&r->giving_up, true);
}

/* ---- for those who wait ---- */

int sb_rocks_failure(struct sb_rocks *r, struct sb_fault *fault)
{
    if (!atomic_load(&r->failed))
        return WIRE_OK;
    if (fault)
        *fault = r->failure; /* does not change any more */
    return r->failure.code;
}

int sb_rocks_work_error(struct sb_rocks *r, char *text, struct sb_fault *fault)
{
    int code = sb_rocks_take_error(text, fault);
    int failure = code == WIRE_E_STOPPING ? sb_rocks_failure(r, fault) : WIRE_OK;

    return failure != WIRE_OK ? failure : code;
}

int sb_rocks_compaction_error(struct sb_rocks *r, struct sb_fault *fault)
{
    uint64_t errors = sb_rocks_property(r, "rocksdb.background-errors");
    int code;

    while (atomic_load(&r->errors_judged) < errors)
        sb_rocks_pause();
    (void) pthread_mutex_lock(&r->lock);
    if (fault)
        *fault = r->compaction_failure;
    code = r->compaction_failure.code;
    (void) pthread_mutex_unlock(&r->lock);
    return code;
}

void sb_rocks_pause(void)
{
    (void) usleep(1000);
}
