/*
 * The clients of the simulated node: what they do next, what their replies must say, and what they were promised (see
 * sim_shard.c).
 */
#ifndef SIM_CLIENTS_H
#define SIM_CLIENTS_H

#include "sim_requests.h"
#include "sim_world.h"

#define CLIENTS 6
#define KEYS 24
#define SNAPSHOTS 8
#define OPS_MAX 8192
#define BULKY (INT64_C(1) << 40) /* values from here on have large items: a few of them outgrow a log entry */
#define BULK_KEYS 11

/* What became of a write, as its client knows it. */
enum fate {
    OPEN,    /* being prepared, or under way */
    DONE,    /* acknowledged at `version` */
    NEVER,   /* refused or aborted */
    UNKNOWN, /* under way in a crash */
};

struct change {
    bool old_known;
    int64_t old; /* what the client was told the key had before */
    int64_t key;
    int64_t value;
};

/* Changes that belong together. */
struct op {
    enum fate fate;
    bool sent; /* its last request is under way */
    uint64_t version;
    uint64_t after;    /* acknowledged versions when it was sent: its own must be above */
    uint64_t snapshot; /* FIRST_UPDATER, else 0 */
    uint64_t decider;
    bool decided; /* Postgres has committed it */
    struct change changes[KEYS];
    size_t count;
};

enum request_kind { BARE, LOCK, BULK, SPILL, AWAIT, COMMIT, ABORT, ROLLBACK, DECIDE };

/* What a transaction knows of a key. */
struct own_key {
    bool locked;
    bool changed;
    bool spilled;            /* the newest change is an intent */
    uint32_t subtransaction; /* that locked it */
    uint32_t changer;        /* that changed it last */
    int64_t value;           /* SIM_ABSENT: deleted */
    int64_t old;             /* at its first lock */
};

struct client {
    bool waiting;
    bool in_transaction;
    bool prepared;
    enum request_kind kind;
    uint64_t number; /* makes the owner */
    uint64_t asked;  /* applied version when it sent what it waits for */
    uint32_t subtransaction;
    uint64_t spilled[3]; /* by subtransaction; 0: none */
    bool unread;         /* spilled, and has not waited until it can be read */
    uint64_t snapshot;   /* FIRST_UPDATER, else 0 */
    uint64_t decider;
    size_t op;
    struct own_key keys[KEYS];
    struct own_key outer[KEYS]; /* keys when the inner subtransaction began */
    int64_t key;                /* of a LOCK under way */
    enum wire_write_kind write_kind;
    int64_t value;
    int64_t expected; /* condition of a bare write: the value there, or SIM_ABSENT for "must not exist" */
    bool conditional;
    struct change sent[KEYS]; /* BARE, BULK, SPILL */
    size_t sent_count;
};

struct scan {
    bool running;
    bool backward;
    uint64_t snapshot;
    int64_t low; /* in numbers of keys, [low, high) */
    int64_t high;
};

struct run {
    struct sim_world world;
    struct sim_random random;
    struct client clients[CLIENTS];
    struct op *ops;
    size_t op_count;
    int64_t next_value;
    uint64_t next_decider;
    uint64_t snapshots[SNAPSHOTS];
    size_t snapshot_count;
    struct scan scan;
    size_t last_holder[KEYS]; /* op + 1 whose commit last had the key locked */
};

static inline uint64_t below(struct run *run, uint64_t bound)
{
    return sim_random_below(&run->random, bound);
}

static inline bool one_in(struct run *run, uint64_t n)
{
    return sim_random_one_in(&run->random, n);
}

static inline uint64_t owner_of(const struct run *run, const struct client *client)
{
    return (uint64_t) (client - run->clients + 1) << 32 | client->number;
}

/* Unique, and its size follows from it. */
static inline struct wire_span item_of(int64_t value)
{
    return sim_item(value, value >= BULKY ? 110000 : value % 97 == 0 ? 60000 : value % 7 == 0 ? 1500 : 0);
}

static inline struct wire_span key_of(const struct run *run, int64_t key)
{
    return sim_key(run->world.storage_id, key);
}

/* A value that no key ever has stands for an image that is there and cannot be read, a deletion for instance. */
#define UNREADABLE (-1)

static inline int64_t item_value(struct wire_span item)
{
    int64_t value = sim_item_value(item);

    return value == SIM_ABSENT ? UNREADABLE : value;
}

static inline int64_t image_value(struct wire_reader *body)
{
    return wire_read_u8(body) ? item_value(wire_read_span(body)) : SIM_ABSENT;
}

/* What `client` does next, unless it waits. */
void sim_client_act(struct run *run, struct client *client);
/* Its transaction ends; false if there is nothing to end. */
bool sim_client_end(struct run *run, struct client *client);
/* See struct sim_events. */
void sim_clients_reply(void *context, uint64_t token, const struct wire_reply *reply);
void sim_clients_restarted(void *context);
/* Every promise, against the model. */
void sim_clients_verify(struct run *run);

#endif
