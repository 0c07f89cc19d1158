/*
 * Three replicas of one group without threads: every node has a real shard, a store and a log in memory, and clocks of
 * its own; what they say to each other travels as bytes. Shared by the files of the simulated cluster:
 *
 *   sim_cluster_node.c      a node: steps its shard and carries out what a step asks for; crashes, and starts again
 *   sim_cluster_install.c   checkpoints that nodes get from each other
 *   sim_cluster_network.c   connections between nodes, and what may be said on them
 *   sim_cluster_clients.c   what clients do; sim_cluster_replies.c: what they are told, and what must be true of it
 *   sim_cluster_reads.c     reads of leaders and followers; replicas compared
 *   sim_cluster_faults.c    what goes wrong, and when
 *   sim_cluster.c           time, seeds, statistics
 *
 * What the cluster has committed is what any node has applied: the first to apply an entry adds it to the model, all
 * others must apply the same bytes.
 */
#ifndef SIM_CLUSTER_WORLD_H
#define SIM_CLUSTER_WORLD_H

#include "sb_shard.h"
#include "sim_cluster_log.h"
#include "sim_model.h"
#include "sim_requests.h"
#include "sim_store.h"

#define NODES 3
#define CLIENTS 6
#define ACCOUNTS 10 /* keys 0 .. : their balances add up to TOTAL, or there are none yet */
#define KEYS 22     /* those behind the accounts are written on their own */
#define OPENING 1000
#define TOTAL (OPENING * ACCOUNTS)
#define UNIT INT64_C(1000000) /* a value is a serial number times UNIT, plus a balance */
#define OPS_MAX 16384
#define CHANGES_MAX 4
#define HELD_MAX 3
#define TERMS_MAX 4096
#define NEVER_US UINT64_MAX
#define ELECTION_MS 1000
#define STORAGE 1

/* Planted on purpose, at the border of the shard: each must be seen. */
enum sim_plant {
    PLANT_NONE,
    PLANT_COMMIT_EARLY,    /* a leader is told by forged results that others have what it has */
    PLANT_DURABLE_EARLY,   /* records count as durable when they are handed out */
    PLANT_MESSAGE_EARLY,   /* states alone count as durable when they are handed out */
    PLANT_TERM_FORGOTTEN,  /* see sim_cluster_log.h */
    PLANT_VOTE_FORGOTTEN,  /* dito */
    PLANT_SUFFIX_KEPT,     /* dito */
    PLANT_BATCH_LOST,      /* dito */
    PLANT_REFUSAL_EARLY,   /* conditions are refused by what is not committed yet */
    PLANT_LEASE_UNCHECKED, /* leaders read without a lease */
    PLANT_LEASE_LONG,      /* or long after it */
    PLANT_WRONG_DECISION,  /* what Postgres decided is told by a coin */
    PLANT_COUNT
};

/* What must have happened in a run. */
#define MISFORTUNES(X)                                                                                                 \
    X(LEADER_CRASHED, "crashes of leaders")                                                                            \
    X(FOLLOWER_CRASHED, "of followers")                                                                                \
    X(ALL_CRASHED, "of all")                                                                                           \
    X(STOPPED, "stops")                                                                                                \
    X(RESIGNED, "leaders resigned")                                                                                    \
    X(HANDED_OVER, "handed over")                                                                                      \
    X(PAUSED, "pauses")                                                                                                \
    X(LEADER_LOST, "leaderships lost")                                                                                 \
    X(LOST, "messages lost")                                                                                           \
    X(DELAYED, "delays")                                                                                               \
    X(RECONNECTED, "reconnects")                                                                                       \
    X(PARTITIONED, "partitions")                                                                                       \
    X(ONE_WAY, "one-way partitions")                                                                                   \
    X(STALLED, "disk stalls")                                                                                          \
    X(FULL, "full disks")                                                                                              \
    X(JUMPED, "wall clocks jumped")                                                                                    \
    X(DRIFTED, "boot clocks drifted")                                                                                  \
    X(LOG_CUT, "log cuts")                                                                                             \
    X(INSTALLED, "checkpoints installed")                                                                              \
    X(INSTALL_FAILED, "checkpoints not to be had")                                                                     \
    X(SUFFIX_REPLACED, "suffixes replaced")                                                                            \
    X(FLUSHED, "flushes")                                                                                              \
    X(COMPACTED, "compactions")                                                                                        \
    X(FETCH_ORPHANED, "fetches under way when leadership was lost")                                                    \
    X(ORPHANED, "transactions orphaned")                                                                               \
    X(UNKNOWN, "unknown outcomes")                                                                                     \
    X(REFUSED, "writes refused")                                                                                       \
    X(RECOVERED, "prepared transactions decided by recovery")                                                          \
    X(STRONG_READ, "strong reads")                                                                                     \
    X(LEASELESS, "strong reads refused for want of a lease")                                                           \
    X(STALE_READ, "stale reads")                                                                                       \
    X(OWN_READ, "reads of own intents")                                                                                \
    X(OLD_READ, "reads of old snapshots")                                                                              \
    X(WRITE_DONE, "writes done")                                                                                       \
    X(TRANSFER_DONE, "transfers done")                                                                                 \
    X(PREPARED_DONE, "prepared and done")                                                                              \
    X(SPILLED_DONE, "spilled and done")

enum sim_misfortune {
#define SIM_MISFORTUNE_NAME(name, text) MISFORTUNE_##name,
    MISFORTUNES(SIM_MISFORTUNE_NAME)
#undef SIM_MISFORTUNE_NAME
        MISFORTUNE_COUNT
};

/* ---- nodes ---- */

struct sim_fetching {
    uint64_t token;
    uint64_t due_us;
};

/* On its way to a node, or about to be installed there. */
struct sim_checkpoint {
    uint64_t due_us; /* NEVER_US: the shard has the word */
    bool go;         /* it is being installed: the node answers nobody until its shard knows of it */
    uint64_t from;
    uint64_t wanted;
    uint64_t index;
    struct sb_change *changes; /* own their bytes */
    size_t count;
    size_t capacity;
};

struct sim_node {
    struct sim_cluster *cluster;
    uint64_t id;
    bool up;
    bool stopping; /* asked to resign; stops when it has, or by stop_us */
    uint64_t stop_us;
    uint64_t restart_us; /* while it is down */
    uint64_t resume_us;  /* does nothing before */
    uint64_t drowsy_us;  /* and its shard still less */
    uint64_t doom_us;    /* crashes then, NEVER_US: not planned */
    uint64_t step_us;    /* its next step, NEVER_US: nothing to do */
    uint64_t sync_us;    /* a sync ends, NEVER_US: none is under way */
    uint64_t stalled_us; /* no sync ends before */
    uint64_t full_us;    /* the disk is full until then */
    int64_t skew_ms;     /* of the wall clock */
    uint64_t boot_ms;    /* of the boot clock when the world began */
    int64_t drift_ppm;
    struct sim_journal journal;
    struct sim_checkpoint checkpoint;
    size_t told; /* planted: of what waits, so much was called durable */
    struct sb_store store;
    struct sb_transactions *transactions;
    struct sb_shard *shard;
    struct sb_reader reader;
    struct sb_event *inbox; /* owns messages and requests */
    size_t inbox_count;
    size_t inbox_capacity;
    struct sim_fetching *fetching;
    size_t fetching_count;
    size_t fetching_capacity;
    struct sb_group_status status; /* after the last step */
    uint64_t checked;              /* entries up to it are compared with the model */
    uint64_t sent_term;            /* greatest that it has sent anything in */
    uint64_t vote_term;            /* its newest vote that anybody knows of */
    uint64_t vote;
    bool more;
    bool gives_up; /* images that no snapshot here needs */
    _Atomic uint64_t applied_version;
    _Atomic uint64_t readable_version;
    uint64_t given_up;       /* reads below it are not answered */
    uint64_t held[HELD_MAX]; /* snapshots that somebody reads at now and then, 0: none */
};

/* ---- network ---- */

struct sim_packet {
    uint8_t *bytes;
    size_t size;
    uint64_t due_us;
};

/* One direction. */
struct sim_link {
    struct sim_packet *packets; /* in order */
    size_t count;
    size_t capacity;
    uint64_t delay_us;
    uint64_t cut_us;  /* nothing gets through until then */
    uint64_t slow_us; /* slow until then */
    uint64_t lossy_us;
};

/* ---- clients ---- */

/* What became of a write, as its client knows it. */
enum sim_fate {
    OPEN,  /* being prepared, or under way */
    DONE,  /* acknowledged at `version` */
    NEVER, /* refused or aborted */
    MAYBE  /* nobody knows */
};

struct sim_change {
    int64_t key;
    int64_t old; /* what the client was told the key had before, if old_known */
    int64_t value;
    bool old_known;
};

struct sim_op {
    enum sim_fate fate;
    uint64_t version; /* DONE; 0: not told */
    uint64_t after;   /* acknowledged when it was sent: its own version is above */
    bool prepares;
    bool decided; /* Postgres has committed it */
    struct sim_change changes[CHANGES_MAX];
    size_t count;
};

enum sim_stage { IDLE, WRITING, LOCKING, SPILLING, COMMITTING, ABORTING, DECIDING, READING };

struct sim_client {
    uint64_t next_us; /* acts then, or gives up waiting */
    enum sim_stage stage;
    bool waiting;    /* for the reply to `token` */
    size_t believed; /* who leads */
    size_t asked;    /* the node whose reply it waits for */
    uint64_t token;
    uint64_t floor;   /* acknowledged when it asked */
    uint8_t *request; /* on its way until arrival_us, NEVER_US: none is */
    size_t request_size;
    uint64_t arrival_us;
    uint8_t *reply; /* dito */
    size_t reply_size;
    uint64_t reply_us;
    int lost; /* the reply is WIRE_E_DOWN (nothing was done), or WIRE_E_UNKNOWN_OUTCOME */
    size_t op;
    struct sim_change sent[CHANGES_MAX];
    size_t sent_count;
    bool conditional;
    int64_t expected;
    /* Of a transaction. */
    uint64_t number; /* makes the owner */
    size_t home;     /* node with its locks */
    size_t locked;   /* of the keys in `sent` */
    size_t at_once;  /* keys locked by one request */
    uint64_t spilled;
    bool spills;
    bool prepares;
    bool aborts;
    bool idles;    /* for long, holding its locks */
    bool vanishes; /* when it has prepared */
    bool prepared; /* for sure, and not decided */
    /* Of a read. */
    uint64_t read_term;
    uint64_t read_version;
    int64_t read_key; /* -1: all */
    int64_t read_values[KEYS];
    bool has_read;
};

struct sim_cluster {
    struct sim_random random;
    enum sim_plant plant;
    uint64_t seed;
    uint64_t now_us;
    bool calm; /* nothing goes wrong any more, nothing new begins */
    struct sim_node nodes[NODES];
    struct sim_link links[NODES][NODES];
    struct sim_client clients[CLIENTS];
    struct sim_model *model;
    struct sim_op *ops;
    size_t op_count;
    int64_t next_serial;
    uint64_t next_token;
    uint64_t acknowledged;       /* greatest version that anybody was told of as done, or has read at a leader */
    uint64_t leaders[TERMS_MAX]; /* by term; 0: none seen */
    uint64_t fault_us;           /* the next fault */
    uint64_t recover_us;         /* the next look for prepared transactions */
    uint64_t keep_us;            /* the next flush of a store */
    uint64_t fault_every_us;
    uint64_t trailing;
    uint64_t steps;
    uint64_t entries; /* committed, in the end */
    uint64_t counts[MISFORTUNE_COUNT];
    bool failed;
    char reason[512];
    struct sb_fault error;
};

static inline uint64_t sim_below(struct sim_cluster *cluster, uint64_t bound)
{
    return sim_random_below(&cluster->random, bound);
}

static inline bool sim_one_in(struct sim_cluster *cluster, uint64_t n)
{
    return sim_random_one_in(&cluster->random, n);
}

static inline uint64_t sim_between(struct sim_cluster *cluster, uint64_t low, uint64_t high)
{
    return low + sim_below(cluster, high - low + 1);
}

static inline int64_t sim_balance(int64_t value)
{
    return value == SIM_ABSENT ? 0 : value % UNIT;
}

/* The first failure counts. */
void sim_cluster_fail(struct sim_cluster *cluster, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *sim_grown(void *array, size_t *capacity, size_t wanted, size_t element);

/* ---- sim_cluster_node.c ---- */

void sim_node_open(struct sim_cluster *cluster, size_t at);
void sim_node_close(struct sim_node *node);
uint64_t sim_node_boot_ms(const struct sim_node *node);
/* Up again, from what is durable. */
void sim_node_start(struct sim_node *node);
/* Its process ends; with `power` its store and log fall back to what is durable, else they keep all. Up again in
 * `pause_us`. */
void sim_node_crash(struct sim_node *node, bool power, uint64_t pause_us);
/* Give it an event; bytes are copied. */
void sim_node_tell(struct sim_node *node, struct sb_event event);
void sim_node_step(struct sim_node *node);
void sim_node_synced(struct sim_node *node);
void sim_node_fetched(struct sim_node *node, size_t at);
void sim_node_resign(struct sim_node *node);
/* Its store is flushed, and its shard told. */
void sim_node_flush(struct sim_node *node);
/* NULL: nobody leads. */
struct sim_node *sim_cluster_leader(struct sim_cluster *cluster);

/* ---- sim_cluster_install.c ---- */

void sim_install_ask(struct sim_node *node, const struct sb_install *install);
/* It has come, or is installed. */
void sim_install_act(struct sim_node *node);
void sim_install_forget(struct sim_node *node);

/* ---- sim_cluster_network.c ---- */

void sim_network_send(struct sim_node *from, const struct sb_message *message);
void sim_network_deliver(struct sim_cluster *cluster, size_t from, size_t to);
/* What a connection carries is gone. */
void sim_network_reset(struct sim_cluster *cluster, size_t from, size_t to);

/* ---- sim_cluster_clients.c ---- */

void sim_clients_open(struct sim_cluster *cluster);
void sim_clients_close(struct sim_cluster *cluster);
void sim_cluster_client_act(struct sim_cluster *cluster, struct sim_client *client);
/* Its request reaches the node. */
void sim_cluster_client_arrive(struct sim_cluster *cluster, struct sim_client *client);
/* The request under construction goes to a node. */
void sim_client_send(struct sim_cluster *cluster, struct sim_client *client, size_t node);
void sim_client_rest(struct sim_cluster *cluster, struct sim_client *client);
struct wire_request sim_client_header(const struct sim_cluster *cluster, const struct sim_client *client,
                                      enum wire_operation operation);
/* A request that nobody waits for decides what is prepared and has lost its client. */
void sim_clients_recover(struct sim_cluster *cluster);

/* ---- sim_cluster_replies.c ---- */

/* A node answers, or went down. */
void sim_clients_answer(struct sim_node *node, const struct sb_reply *reply);
void sim_clients_lost(struct sim_node *node);
/* The answer reaches its client. */
void sim_client_take(struct sim_cluster *cluster, struct sim_client *client);
/* All promises, against the model. */
void sim_cluster_verify(struct sim_cluster *cluster);

/* ---- sim_cluster_reads.c ---- */

void sim_client_begin_read(struct sim_cluster *cluster, struct sim_client *client);
void sim_client_go_on_reading(struct sim_cluster *cluster, struct sim_client *client);
/* At the node's own applied version, or at a snapshot that is held there. */
void sim_read_stale(struct sim_node *node);
/* Of a client that has spilled, on any node. */
void sim_read_own(struct sim_cluster *cluster, const struct sim_client *client);
void sim_node_compare(struct sim_node *left, struct sim_node *right);

/* ---- sim_cluster_faults.c ---- */

void sim_faults_open(struct sim_cluster *cluster);
void sim_faults_act(struct sim_cluster *cluster);
/* A node has done something delicate: one in `n` times it crashes soon. */
void sim_faults_tempt(struct sim_node *node, uint64_t n);
/* The crash. */
void sim_faults_strike(struct sim_node *node);
void sim_faults_end(struct sim_cluster *cluster);

#endif
