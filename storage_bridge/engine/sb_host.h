/*
 * The server from within: what its threads share. Private to sb_server.c, sb_worker.c, sb_shard_thread.c, sb_sync.c,
 * sb_start.c, sb_keep.c, sb_slots.c, sb_lines.c, sb_status.c, sb_replica.c, sb_identity.c.
 *
 *   backend -> queue -> reader or scan thread ------------------------------> slot
 *   backend -> queue -> shard thread -> [sync helper: append, sync] -> shard thread: apply -> slot
 *                            |   ^
 *                            v   | fetches and fetched tokens
 *                         reader threads
 *
 * The shard thread sleeps on one futex word, the event of the writes queue: backends, the sync helper, readers, the
 * keep thread and commands of the main thread all announce themselves there. Readers sleep on the event of the reads
 * queue, for which fetches of the shard are announced too.
 *
 * Locks: `lock` guards the three lists (commands, fetches, fetched), lines.lock the log lines and the fault. Both are
 * leaves: nothing is called while they are held.
 */
#ifndef SB_HOST_H
#define SB_HOST_H

#include <pthread.h>

#include "sb_futex.h"
#include "sb_rocks.h"
#include "sb_server.h"
#include "sb_shard.h"

#define SB_READERS_MAX 64
#define SB_THREADS_MAX (SB_READERS_MAX + 4)
_Static_assert(SB_READERS_MAX + 1 <= WIRE_ENGINE_READERS_MAX, "readers and the scan thread take snapshots");
#define SB_LINES_MAX 256                              /* log lines kept until the main thread takes them */
#define SB_IN_FLIGHT_MAX (UINT64_C(16) * 1024 * 1024) /* bytes of entries not yet durable */
#define SB_SETTLE_KEYS_MAX 65536                      /* a larger committed transaction keeps its record instead */
#define SB_COMMAND_BIT (UINT64_C(1) << 63)            /* tokens of commands; those of slots are slot numbers */
#define SB_COMMAND_SIZE 64

/* The engine's side of a slot. Belongs to the thread that popped the slot's number, as the slot's buffer does. */
struct sb_kept {
    struct sb_buffer request; /* pieces so far */
    struct sb_buffer reply;   /* of which the backend has not fetched all */
    uint32_t total;           /* of the request */
    uint32_t sent;            /* bytes of the reply that were handed over */
};

/* A fetch on its way from the shard to a reader and back. */
struct sb_fetch_node {
    struct sb_fetch_node *next;
    struct sb_fetch fetch;
};

/* First in, first out. Guarded by sb_server.lock; `count` may be peeked at without. */
struct sb_fetch_list {
    struct sb_fetch_node *first;
    struct sb_fetch_node *last;
    _Atomic uint32_t count;
};

/* What the main thread wants of the shard. */
enum sb_command_kind {
    SB_COMMAND_REQUEST = 1, /* `bytes` is a request as a backend would send it */
    SB_COMMAND_PREPARED = 2 /* sb_shard_prepared(number) */
};

struct sb_command {
    struct sb_command *next;
    enum sb_command_kind kind;
    bool waited; /* the submitter waits and frees; else it is freed when done */
    uint8_t bytes[SB_COMMAND_SIZE];
    size_t size;
    uint64_t token;
    uint64_t number;       /* PREPARED: in and out */
    int status;            /* of the reply */
    _Atomic uint32_t done; /* futex word */
};

struct sb_lines {
    pthread_mutex_t lock;
    struct sb_line ring[SB_LINES_MAX];
    uint64_t written;
    uint64_t taken;
    struct sb_fault fault; /* the first failure */
};

enum sb_sync_state {
    SB_SYNC_IDLE = 0, /* the batch belongs to the shard thread */
    SB_SYNC_WORK = 1, /* to the helper */
    SB_SYNC_DONE = 2, /* to the shard thread again, with status and fault set */
    SB_SYNC_END = 3   /* the shard thread is gone: end */
};

/* Entries, their payloads borrowed from the shard. */
struct sb_batch {
    struct sb_log_entry *entries;
    size_t count;
    size_t capacity;
    size_t bytes; /* of all payloads */
};

struct sb_sync {
    _Atomic uint32_t state; /* enum sb_sync_state; futex word of the helper */
    struct sb_batch batch;  /* in flight */
    struct sb_batch next;   /* collects while one is in flight; shard thread only */
    struct sb_batch synced; /* handed to the shard in portions; payloads may be gone; shard thread only */
    size_t handed;          /* entries of `synced` */
    uint64_t truncate;      /* prefix to drop with this batch, 0 = none */
    uint64_t truncated;     /* shard thread only */
    int status;
    struct sb_fault fault;
    _Atomic uint64_t truncate_wanted; /* set by the shard thread */
    _Atomic bool disk_full;
};

/* Written by the shard thread after each step, read by anyone. */
struct sb_published {
    _Atomic uint64_t applied_index;
    _Atomic uint64_t in_flight_entries;
    _Atomic uint64_t locks;
    _Atomic uint64_t parked;
    _Atomic uint64_t transactions;
    _Atomic uint64_t user_bytes;
    _Atomic uint64_t durable_index; /* of the items store: set by the keep thread */
    _Atomic uint64_t horizon;       /* logged: table files lose what was superseded below it */
    /* The member of the local group; also by the main thread, before there is a shard thread. */
    _Atomic uint64_t role; /* enum rg_role */
    _Atomic uint64_t answers;
    _Atomic uint64_t leader;
    _Atomic uint64_t term;
    _Atomic uint64_t last_index;
    _Atomic uint64_t logged_index; /* durable in the log */
    _Atomic uint64_t commit_index;
    _Atomic uint64_t behind_since_ms; /* wall clock: since when not all is applied that is committed; 0: all is */
};

/* What the server log says of the local group's member; shard thread only. */
struct sb_told {
    enum rg_role role;
    bool answers;
    uint64_t leader;
    uint64_t term;
};

struct sb_worker {
    struct sb_server *server;
    enum wire_queue_name queue;
    uint32_t number;
    struct sb_buffer out;
};

struct sb_server {
    struct sb_server_options options; /* path: a copy of our own */
    char *path;
    struct wire_shared *shared;

    int directory_lock; /* descriptor of the file LOCK */
    bool store_open;
    bool files_open;
    struct sb_store store;
    struct sb_files files;
    struct sb_log *log;
    struct sb_transactions *transactions;
    struct sb_shard *shard;
    struct sb_reader reader;

    struct sb_kept *kept; /* array[shared->slot_count] */
    struct sb_lines lines;
    struct sb_sync sync;
    struct sb_published published;
    struct sb_told told;
    _Atomic bool careful;              /* a portion is being applied whose version is published behind it */
    _Atomic uint64_t readable_version; /* applied_version in shared memory may be ahead of it for a moment */
    _Atomic uint32_t readable_event;   /* futex word, grows with each portion applied while somebody waits */
    _Atomic uint32_t readable_sleepers;

    pthread_mutex_t lock;
    struct sb_command *commands;
    struct sb_command **commands_tail;
    struct sb_fetch_list fetches;
    struct sb_fetch_list fetched;
    _Atomic uint32_t command_count;
    uint64_t flushed_index; /* by the keep thread: applied durably by the items store; guarded by lock */
    uint64_t flushed_term;
    _Atomic bool flushed;       /* it has changed since the shard thread looked */
    struct sb_command *running; /* commands whose reply is awaited; shard thread only */
    uint64_t command_number;    /* shard thread only */

    _Atomic bool serving;      /* slots are taken */
    _Atomic bool stopping;     /* drain */
    _Atomic bool workers_stop; /* readers, scans, sync, keep: end */
    _Atomic bool failed;
    _Atomic bool short_of_room;      /* by the keep thread: new writes are refused */
    _Atomic bool replayed_unflushed; /* set before the keep thread starts, which clears it */
    _Atomic bool store_full;         /* by the items store: it cannot flush, so the keep thread keeps short_of_room */
    _Atomic uint64_t horizon_wanted; /* by the keep thread, 0 = nothing new */
    _Atomic uint32_t keep_event;     /* futex word of the keep thread */
    uint64_t outstanding;            /* requests in the shard without a reply; shard thread only */
    bool more;                       /* the shard has settling to do; shard thread only */
    uint64_t timeout_ms;             /* boot clock: the shard is to be stepped by then; shard thread only */
    bool full_told;                  /* the shard knows that the disk is full; shard thread only */

    pthread_t threads[SB_THREADS_MAX];
    size_t thread_count;
    pthread_t shard_thread;
    bool shard_running;
    struct sb_worker workers[SB_READERS_MAX + 1];
};

/* sb_lines.c: any thread. */
void sb_host_line(struct sb_server *server, enum sb_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The server is at its end: the first fault is kept, logged and notified; every thread leaves its loop. */
void sb_host_fail(struct sb_server *server, const struct sb_fault *fault);
bool sb_host_failed(struct sb_server *server);

/* sb_slots.c: the thread that popped the slot. */

/* Look at a popped slot. True: *request is whole and borrowed until the reply. False: the slot was answered here (a
 * piece, a fetch, nonsense) or given up by its backend. */
bool sb_slots_take(struct sb_server *server, enum wire_queue_name queue, uint32_t number, struct wire_span *request);
/* Answer, count, hand the slot back and wake its backend. `operation` 0: the request could not be read. */
void sb_slots_reply(struct sb_server *server, uint32_t number, enum wire_operation operation, struct wire_span reply);
void sb_slots_reply_code(struct sb_server *server, uint32_t number, enum wire_operation operation, int code,
                         uint32_t detail);
/* Answer whatever lies in the queues with WIRE_E_STOPPING. No thread takes slots any more. */
void sb_slots_refuse_all(struct sb_server *server);

/* sb_status.c: the body of a STATUS reply, appended. */
int sb_status_reply(struct sb_server *server, struct sb_buffer *out);

/* sb_worker.c */
void *sb_worker_main(void *worker);
/* Shard thread: have the keys of a parked request read. Errors: WIRE_E_NOMEM. */
int sb_worker_fetch(struct sb_server *server, const struct sb_fetch *fetch);
/* Shard thread: the next fetch that is done, or false. */
bool sb_worker_fetched(struct sb_server *server, uint64_t *group, uint64_t *token);

/* sb_sync.c: shard thread, but for _main. */
void *sb_sync_main(void *server);
/* Entries join the next batch. Errors: WIRE_E_NOMEM. */
int sb_sync_add(struct sb_server *server, const struct sb_log_entry *entries, size_t count);
bool sb_sync_idle(struct sb_server *server);
/* Idle, and something to append or to truncate: hand it to the helper, or (inline_sync) do it here and now. */
void sb_sync_start(struct sb_server *server, bool inline_sync);
/* *count more of the records that were added are durable: all of a batch or, if it is large, a portion; ask again. The
 * next batch may be under way meanwhile. Failure of the log fails the server. */
bool sb_sync_finished(struct sb_server *server, uint64_t *count);
void sb_sync_close(struct sb_server *server);

/* sb_shard_thread.c */

/* The shard's portions, on the server: publish, give up images that no snapshot needs, let readers in. */
struct sb_portions sb_shard_portions(struct sb_server *server);
void *sb_shard_main(void *server);
/* Any thread: there is something for the shard thread. */
void sb_shard_wake(struct sb_server *server);
/* Main thread: give a command to the shard thread; wait for it. _wait returns WIRE_OK or the server's failure; then the
 * command stays the shard's. */
void sb_command_submit(struct sb_server *server, struct sb_command *command);
int sb_command_wait(struct sb_server *server, struct sb_command *command, struct sb_fault *fault);

/* sb_start.c: main thread. */

/* Run in a thread of its own with all signals blocked. */
int sb_start_call_blocked(int (*run)(struct sb_server *server, struct sb_fault *fault), struct sb_server *server,
                          struct sb_fault *fault);
/* Open everything and start the threads. On an error sb_start_close is still to be called. Caller: through
 * sb_start_call_blocked. */
int sb_start_open(struct sb_server *server, struct sb_fault *fault);
/* Drain, then end all threads. May be called again. */
void sb_start_join(struct sb_server *server);
/* Join, then close what is open. Caller: through sb_start_call_blocked. */
void sb_start_close(struct sb_server *server);
void sb_start_wake_all(struct sb_server *server);

/* sb_keep.c */
void *sb_keep_main(void *server);

/* sb_identity.c */

/* Lock the directory and check that it is ours; a new one gets an IDENTITY that says "being made". `marker`: a file
 * elsewhere that says that there was a complete one (NULL: none is kept). *made: it or its marker is to be completed.
 * Errors: WIRE_E_CONFIG (another identity, in use, parts missing), WIRE_E_STORE_LOST (a marker, but nothing there),
 * WIRE_E_CORRUPT, WIRE_E_BAD_VERSION, WIRE_E_IO. */
int sb_identity_open(const char *path, const char *marker, uint64_t identity, int *lock, bool *made,
                     struct sb_fault *fault);
/* Both stores exist durably: say so, here and in the marker. */
int sb_identity_complete(const char *path, const char *marker, uint64_t identity, struct sb_fault *fault);

#endif
