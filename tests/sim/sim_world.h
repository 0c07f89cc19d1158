/*
 * One node without threads, for the simulation of the shard: simulated disk, real log, simulated items store, real
 * shard. Everything that threads would do is a call: step, append, sync, fetch. The caller decides when, by chance; a
 * failure or a crash takes the node down and up again as sb_start.c would.
 *
 * Readers run in threads of their own: between any two things a reader does with the store the node may take some
 * steps.
 *
 * Faults planted on purpose prove that the simulation sees them.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sb_shard.h"
#include "sim_files.h"
#include "sim_model.h"
#include "sim_store.h"

#define SIM_EVENTS_MAX 64

enum sim_fault {
    SIM_HONEST,
    SIM_REPLY_EARLY,    /* entries count as durable before they are appended */
    SIM_SKIP_SYNC,      /* one sync in four is left out */
    SIM_LYING_DISK,     /* the disk acknowledges syncs and does nothing */
    SIM_APPLIED_APART,  /* the applied index is written before its batch, not in it */
    SIM_LOSE_HISTORY,   /* the store loses one superseded image in eight */
    SIM_HORIZON_EARLY,  /* the store collects history up to now whatever the log says */
    SIM_DIRTY_READ,     /* readers see an undecided transaction of somebody else */
    SIM_WRONG_DECISION, /* after a crash prepared transactions are decided by a coin */
    SIM_FORGETFUL_LOCK, /* a transaction's locks are released before it commits */
    SIM_GIVE_UP_ALL,    /* superseded images go although snapshots need them */
    SIM_UNREAD_SPILL,   /* own intents are read without waiting until they can be */
    SIM_FAULT_COUNT
};

struct sim_world;

struct sim_events {
    void *context;
    void (*reply)(void *context, uint64_t token, const struct wire_reply *reply);
    /* The node is up again, the model cut back to what survived; nothing has been sent yet. */
    void (*restarted)(void *context);
    /* The least snapshot that somebody reads at, UINT64_MAX: nobody. */
    uint64_t (*least_snapshot)(void *context);
};

struct sim_world {
    struct sim_random random;
    enum sim_fault fault;
    struct sim_events events;
    struct sim_files *disk;
    struct sb_files files;
    struct sb_log_options log_options;
    struct sb_shard_options shard_options;
    struct sb_log *log;
    struct sb_store store;
    struct sb_store reader_store; /* the same, but the node goes on between two calls of a reader */
    struct sb_transactions *transactions;
    struct sb_shard *shard;
    struct sb_reader reader;
    struct sim_model *model;
    uint64_t storage_id;
    uint64_t now_ms;
    struct sb_event queue[SIM_EVENTS_MAX];
    size_t queued;
    struct sb_log_entry *entries; /* to be appended */
    size_t entry_count;
    size_t entry_capacity;
    uint64_t appended;         /* last index in the log */
    uint64_t appended_records; /* states included, since the start */
    uint64_t durable_records;
    uint64_t durable; /* last index known to be synced */
    uint64_t *fetches;
    size_t fetch_count;
    size_t fetch_capacity;
    _Atomic uint64_t applied_version;
    uint64_t horizon; /* published */
    _Atomic uint64_t readable_version;
    bool gives_up;    /* images that no snapshot needs */
    uint64_t reading; /* snapshot of a read under way, 0: none */
    uint64_t crashes;
    bool more;
    bool down; /* a part failed: only sim_world_crash helps */
    bool armed;
    bool failed;
    char reason[512];
    struct sb_fault error;
};

/* events and model state start empty; the storage is made. */
void sim_world_open(struct sim_world *world, uint64_t seed, enum sim_fault fault, struct sim_events events);
void sim_world_close(struct sim_world *world);
void sim_world_fail(struct sim_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Queue a request for the next step; bytes are copied. Steps by itself when the queue is full. */
void sim_world_request(struct sim_world *world, uint64_t token, struct wire_span bytes);
void sim_world_tick(struct sim_world *world, uint64_t horizon);
/* The log finds no room for a while. */
void sim_world_full(struct sim_world *world);
void sim_world_step(struct sim_world *world);
/* What is handed out goes into the log; and is synced, then DURABLE is queued. */
void sim_world_append(struct sim_world *world);
void sim_world_sync(struct sim_world *world);
/* Some parked request's keys were read. */
void sim_world_fetch(struct sim_world *world);
/* The keep thread: drop the log's prefix that the store has made durable. */
void sim_world_keep(struct sim_world *world);
/* Everything goes on until nothing is left to do. */
void sim_world_quiesce(struct sim_world *world);
struct sb_partition_status sim_world_status(const struct sim_world *world);
/* Loss of power (or of the process alone), and up again, leading. */
void sim_world_crash(struct sim_world *world, bool power);
/* Arm the failure of a coming operation of disk or store. */
void sim_world_arm(struct sim_world *world);

#endif
