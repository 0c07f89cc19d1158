/*
 * A replication group without threads, files or sockets, by seed: three to five nodes, each with a real rg_group, a
 * disk, a clock and links to the others. All of it is one queue of events in simulated time.
 *
 *   sim_group_world.c   events, clocks, links (messages go through wire_peer as bytes)
 *   sim_group_disk.c    what is durable when: writes in order, checkpoints, crashes
 *   sim_group_send.c    messages wait for what must be durable
 *   sim_group_node.c    the caller's protocol of rg_group.h: updates, applying, checkpoints, installs
 *   sim_group_serve.c   requests at a node: writes, conditional writes, reads under the lease and by ReadIndex
 *   sim_group_client.c  clients, operators (transfer, members) and what goes wrong when
 *   sim_group_history.c is what the clients were told linearizable?
 *
 * Checked on the way: one leader per term, who has all that is committed; one vote per node and term, as the others saw
 * it; terms and commit indexes that never fall, over crashes too; equal (index, term), equal entry and equal
 * predecessor; one entry per applied index everywhere.
 */
#ifndef SIM_GROUP_WORLD_H
#define SIM_GROUP_WORLD_H

#include <stdio.h>
#include <stdlib.h>

#include "rg_group.h"
#include "sim_files.h"
#include "sim_group_history.h"

#define GROUP_ID 7
#define GROUP_NODES 5
#define GROUP_KEYS 12
#define GROUP_CLIENTS 8
#define GROUP_ENTRY_SIZE 192

/* Planted on purpose, at the boundary of rg_group.h: each must be seen. */
enum group_fault {
    GROUP_HONEST,
    GROUP_OLD_TERM,               /* a leader counts replicas of entries of earlier terms as committed (figure 8) */
    GROUP_FORGETS_STATE,          /* the newest term and vote are not durable */
    GROUP_FORGETS_VOTE,           /* the vote alone is not */
    GROUP_VOTES_EARLY,            /* messages do not wait for term and vote to be durable */
    GROUP_WAITS_FOR_OWN,          /* messages wait for the write of their own update only */
    GROUP_PERSISTED_EARLY,        /* entries are reported as persisted before they are */
    GROUP_ACKNOWLEDGES_EARLY,     /* writes are answered before they are committed */
    GROUP_ACKNOWLEDGES_UNAPPLIED, /* writes are answered before they are applied */
    GROUP_REFUSES_EARLY,          /* refusals do not wait for the entry they depended on */
    GROUP_REFUSES_UNSURE,         /* refusals do not ask whether the node still leads */
    GROUP_LEASE_LONG,             /* the lease is taken to last two election timeouts longer */
    GROUP_LEASE_UNCHECKED,        /* readers believe the last update that there is a lease, not the clock */
    GROUP_CLOCKS_DRIFT,           /* clocks drift by more than half */
    GROUP_CLOCK_STOPS,            /* clocks do not run while a node is suspended */
    GROUP_READS_UNSETTLED,        /* reads before an entry of the own term is applied */
    GROUP_READS_UNCONFIRMED,      /* ReadIndex without asking the others */
    GROUP_NO_MARKER,              /* an install that a crash broke off is not noticed */
    GROUP_KEEPS_STALE_LOG,        /* a log that the applied state contradicts is not dropped at start */
    GROUP_CUTS_EARLY,             /* the log is cut before the checkpoint is durable */
    GROUP_FAULT_COUNT
};

/* How often what was reached, over all seeds. FAULT_: done to the group. AT_: crashes between two steps of a node. */
#define GROUP_COUNTERS(X)                                                                                              \
    X(FAULT_LOSS)                                                                                                      \
    X(FAULT_SLOW_LINK)                                                                                                 \
    X(FAULT_RECONNECT)                                                                                                 \
    X(FAULT_PARTITION)                                                                                                 \
    X(FAULT_ONE_WAY)                                                                                                   \
    X(FAULT_CRASH)                                                                                                     \
    X(FAULT_CRASH_ALL)                                                                                                 \
    X(FAULT_CRASH_LEADER)                                                                                              \
    X(FAULT_CRASH_AT)                                                                                                  \
    X(FAULT_SLOW_DISK)                                                                                                 \
    X(FAULT_DISK_STALL)                                                                                                \
    X(FAULT_DRIFT)                                                                                                     \
    X(FAULT_PAUSE)                                                                                                     \
    X(FAULT_PAUSE_READER)                                                                                              \
    X(FAULT_TRANSFER)                                                                                                  \
    X(FAULT_CHECKPOINT)                                                                                                \
    X(FAULT_INSTALL)                                                                                                   \
    X(FAULT_MEMBERS)                                                                                                   \
    X(FAULT_EARLY_TIMEOUT)                                                                                             \
    X(FAULT_QUIET)                                                                                                     \
    X(AT_NOTED)                                                                                                        \
    X(AT_QUEUED)                                                                                                       \
    X(AT_SENDING)                                                                                                      \
    X(AT_DURABLE)                                                                                                      \
    X(AT_TOLD)                                                                                                         \
    X(AT_APPLYING)                                                                                                     \
    X(AT_CHECKPOINTED)                                                                                                 \
    X(AT_MARKED)                                                                                                       \
    X(AT_INSTALLED)                                                                                                    \
    X(AT_UNMARKED)                                                                                                     \
    X(AT_STARTED)                                                                                                      \
    X(ELECTIONS)                                                                                                       \
    X(MESSAGES)                                                                                                        \
    X(MESSAGES_HELD)                                                                                                   \
    X(MESSAGES_DROPPED)                                                                                                \
    X(APPENDS_SPLIT)                                                                                                   \
    X(LOGS_REPLACED)                                                                                                   \
    X(WRITES_LOST)                                                                                                     \
    X(WRITES_SURVIVED)                                                                                                 \
    X(STARTS)                                                                                                          \
    X(STARTS_AHEAD_OF_LOG)                                                                                             \
    X(STARTS_BESIDE_LOG)                                                                                               \
    X(STARTS_MARKED)                                                                                                   \
    X(REBOOTS)                                                                                                         \
    X(APPLIED)                                                                                                         \
    X(APPLIED_UNDURABLE)                                                                                               \
    X(CONFIGURATIONS)                                                                                                  \
    X(CHECKPOINTS)                                                                                                     \
    X(LOGS_CUT)                                                                                                        \
    X(INSTALLS)                                                                                                        \
    X(INSTALLS_BEGUN)                                                                                                  \
    X(INSTALLS_FAILED)                                                                                                 \
    X(SUBMITTED_TOGETHER)                                                                                              \
    X(WRITES_DONE)                                                                                                     \
    X(CONDITIONAL_DONE)                                                                                                \
    X(REFUSED_AFTER_ENTRY)                                                                                             \
    X(REFUSED_BY_LEASE)                                                                                                \
    X(REFUSED_BY_PROBE)                                                                                                \
    X(LEASE_READS)                                                                                                     \
    X(LEASE_READS_TOO_LATE)                                                                                            \
    X(INDEX_READS)                                                                                                     \
    X(READS_TOO_EARLY)                                                                                                 \
    X(READS_WITHOUT_LEASE)                                                                                             \
    X(NOT_LEADER)                                                                                                      \
    X(UNKNOWN_DEPOSED)                                                                                                 \
    X(UNKNOWN_CRASHED)                                                                                                 \
    X(UNKNOWN_TIMED_OUT)                                                                                               \
    X(TRANSFERS_REFUSED)                                                                                               \
    X(LEARNERS_ADDED)                                                                                                  \
    X(LEARNERS_PROMOTED)                                                                                               \
    X(VOTERS_DEMOTED)                                                                                                  \
    X(MEMBERS_REMOVED)                                                                                                 \
    X(MEMBERS_REFUSED)                                                                                                 \
    X(OPERATIONS)

enum group_counter {
#define X(name) GROUP_##name,
    GROUP_COUNTERS(X)
#undef X
        GROUP_COUNTER_COUNT
};

struct group_entry {
    struct group_entry *other; /* of the same index and another term */
    uint64_t committed_term;   /* of whom applied it first: leaders of later terms must have it */
    struct rg_entry head;
    struct wire_configuration configuration; /* head's, RG_CONFIGURATION */
    uint64_t previous_term;
    uint32_t key; /* RG_EFFECTS */
    uint64_t value;
    uint32_t size;
    uint8_t bytes[GROUP_ENTRY_SIZE]; /* as wire_entry */
};

struct group_log {
    struct group_entry **entries;
    uint64_t first; /* >= 1 */
    size_t count;
    size_t capacity;
};

struct group_checkpoint {
    uint64_t index; /* 0: none */
    uint64_t term;
    struct wire_configuration configuration;
    uint64_t configuration_index;
    uint64_t values[GROUP_KEYS];
};

/* What a crash leaves. */
struct group_disk {
    uint64_t term;
    uint64_t old_term; /* before that; GROUP_FORGETS_STATE */
    uint64_t voted_for;
    struct group_log log;
    struct group_checkpoint checkpoint;
    bool marked; /* an install was under way */
};

enum group_write_kind { WRITE_LOG, WRITE_CUT, WRITE_MARK, WRITE_UNMARK, WRITE_CHECKPOINT, WRITE_INSTALL };

struct group_write {
    enum group_write_kind kind;
    uint64_t id;
    uint64_t at;
    bool state; /* WRITE_LOG: term and vote, and entries if count > 0 */
    uint64_t term;
    uint64_t voted_for;
    uint64_t first; /* WRITE_CUT: of the log from then on */
    struct group_entry **entries;
    size_t count;
    struct group_checkpoint *checkpoint;
};

/* Done in order. The log and the store of a node are a disk each. */
struct group_queue {
    struct group_write *writes;
    size_t head;
    size_t tail;
    size_t capacity;
    uint64_t last_at;
};
enum { LOG_DISK, STORE_DISK, DISKS };

struct group_bytes {
    uint32_t from; /* nodes by number, 0 .. */
    uint32_t to;
    uint64_t epoch;
    uint64_t needs; /* write that must be durable before it goes */
    size_t size;
    uint8_t data[];
};

enum group_pending_kind { PENDING_ENTRY, PENDING_REFUSAL, PENDING_READ_PROBE };

struct group_pending {
    enum group_pending_kind kind;
    size_t operation;
    uint64_t index;    /* to be applied */
    uint64_t sequence; /* to be confirmed */
    uint64_t observed; /* refusals */
};

enum group_point {
    POINT_NONE,
    POINT_NOTED,
    POINT_QUEUED,
    POINT_SENDING,
    POINT_DURABLE,
    POINT_TOLD,
    POINT_APPLYING,
    POINT_CHECKPOINTED,
    POINT_MARKED,
    POINT_INSTALLED,
    POINT_UNMARKED,
    POINT_STARTED,
    POINT_COUNT
};

#define GROUP_PENDING 64

struct group_node {
    uint64_t id; /* number + 1 */
    struct group_disk disk;
    struct group_queue queues[DISKS];
    uint32_t incarnation;
    bool up;
    bool doomed; /* crashes as soon as the event is over; nothing has an effect until then */
    enum group_point armed;
    uint64_t clock_us; /* local, at world time clock_at */
    uint64_t clock_at;
    uint64_t rate; /* local microseconds per second of the world */
    uint64_t paused_until;
    uint64_t slow_until;
    uint64_t stalled_until;
    uint64_t told_term; /* greatest in a message that left it */
    /* What follows is lost in a crash. */
    struct rg_group *group;
    struct group_log log;
    uint64_t values[GROUP_KEYS];
    uint64_t applied;
    uint64_t applied_term;
    struct wire_configuration configuration; /* as of applied */
    uint64_t configuration_index;
    uint64_t next_checkpoint; /* applied index */
    bool checkpointing;
    bool applying; /* an event is under way */
    bool turning;
    uint64_t install; /* index of the checkpoint being installed, 0: none */
    struct group_checkpoint *incoming;
    uint32_t source;
    uint64_t write_id; /* last given, over crashes too */
    uint64_t state_write;
    uint64_t durable_write;
    uint64_t timer_at;
    uint64_t timer_id;
    uint64_t seen_term;
    uint64_t seen_commit;
    uint64_t lead_term; /* 0: does not lead */
    bool leased;        /* after the last update; GROUP_LEASE_UNCHECKED */
    struct group_bytes **outbox;
    size_t outbox_count;
    size_t outbox_capacity;
    size_t mailbox[GROUP_PENDING];
    size_t mailbox_count;
    struct group_pending pending[GROUP_PENDING];
    size_t pending_count;
};

struct group_link {
    uint64_t epoch;
    uint64_t last_at; /* delivery of the newest */
    uint64_t blocked_until;
    uint64_t slow_until;
    uint64_t lossy_until;
};

struct group_client {
    size_t operation; /* under way, SIZE_MAX: none */
    uint32_t node;    /* to ask next */
    uint64_t wait_id;
    uint64_t seen[GROUP_KEYS];
};

enum group_event_kind {
    EVENT_MESSAGE,
    EVENT_DISK,
    EVENT_TIMER,
    EVENT_APPLY,
    EVENT_TURN,
    EVENT_READ,
    EVENT_ANSWER,
    EVENT_FETCHED,
    EVENT_RESTART,
    EVENT_CLIENT,
    EVENT_CLIENT_GIVES_UP,
    EVENT_OPERATOR,
    EVENT_FAULT
};

struct group_event {
    uint64_t at;
    uint64_t order;
    enum group_event_kind kind;
    uint32_t node;
    uint32_t incarnation;
    uint64_t a;
    uint64_t b;
    uint64_t c;
    void *data;
};

struct group_world {
    struct sim_random random;
    enum group_fault fault;
    uint64_t seed;
    uint64_t now; /* microseconds */
    uint64_t order;
    struct group_event *events;
    size_t event_count;
    size_t event_capacity;
    struct rg_options options;
    uint32_t node_count;
    struct group_node nodes[GROUP_NODES];
    struct group_link links[GROUP_NODES][GROUP_NODES];
    struct group_client clients[GROUP_CLIENTS];
    struct group_history history;
    uint64_t next_value;
    uint64_t tick; /* of the history */
    bool calm;     /* the end: nothing goes wrong any more */
    bool serving;  /* clients ask */
    bool members;  /* members change */
    bool stormy;   /* new leaders die young */
    uint32_t part; /* entries of a message at most */
    uint64_t quiet_until;
    uint64_t checkpoint_every;     /* entries */
    struct group_entry **registry; /* by index */
    size_t registry_count;
    struct group_entry **committed; /* by index: what somebody has applied */
    size_t committed_count;
    uint64_t *leaders; /* by term: node */
    size_t leader_count;
    uint64_t (*votes)[GROUP_NODES]; /* by term: whom each voted for, as seen by others */
    size_t vote_count;
    uint64_t counters[GROUP_COUNTER_COUNT];
    bool failed;
    char reason[512];
};

/* ---- sim_group_world.c ---- */

void group_fail(struct group_world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *group_allocate(void *pointer, size_t size); /* never fails; size > 0 */
/* *pointer has room for more than `index` elements of `size`; new ones are zero. */
void group_reserve(void *pointer, size_t *count, size_t index, size_t size);
void group_push(struct group_world *world, struct group_event event);
/* False: nothing left. */
bool group_pop(struct group_world *world, struct group_event *out);
void group_world_release(struct group_world *world);

static inline uint64_t group_below(struct group_world *world, uint64_t bound)
{
    return sim_random_below(&world->random, bound);
}

static inline bool group_one_in(struct group_world *world, uint64_t n)
{
    return sim_random_one_in(&world->random, n);
}

static inline uint64_t group_between(struct group_world *world, uint64_t low, uint64_t high)
{
    return low + group_below(world, high - low + 1);
}

static inline void group_count(struct group_world *world, enum group_counter counter)
{
    world->counters[counter]++;
}

uint64_t group_clock_us(const struct group_world *world, const struct group_node *node);
static inline uint64_t group_clock_ms(const struct group_world *world, const struct group_node *node)
{
    return group_clock_us(world, node) / 1000;
}
void group_clock_set_rate(struct group_world *world, struct group_node *node, uint64_t rate);
/* When the node's clock will show `local_ms`, not before now. */
uint64_t group_clock_when(const struct group_world *world, const struct group_node *node, uint64_t local_ms);
/* Suspended until `until`: events for it wait. */
void group_pause(struct group_world *world, struct group_node *node, uint64_t until);

/* Onto the link; what it carries is delivered in order or not at all. Takes the bytes. */
void group_link_send(struct group_world *world, struct group_bytes *bytes);
/* Both directions: what they carry is lost. */
void group_link_reconnect(struct group_world *world, uint32_t a, uint32_t b);
bool group_link_is_open(const struct group_world *world, uint32_t from, uint32_t to);

/* The one entry (index, term). NULL if there is none. */
struct group_entry *group_entry_find(const struct group_world *world, uint64_t index, uint64_t term);
struct group_entry *group_entry_make(struct group_world *world, const struct rg_entry *head, uint64_t previous_term,
                                     uint32_t key, uint64_t value);

/* ---- sim_group_disk.c ---- */

static inline uint64_t group_log_last(const struct group_log *log)
{
    return log->first + log->count - 1;
}
struct group_entry *group_log_at(const struct group_log *log, uint64_t index); /* NULL: not there */
void group_log_drop_from(struct group_log *log, uint64_t index);
void group_log_append(struct group_log *log, struct group_entry *entry);
void group_log_cut(struct group_log *log, uint64_t first); /* entries below go */
void group_log_copy(struct group_log *to, const struct group_log *from);

/* In order after what was queued for the same disk. Takes write.entries and write.checkpoint. */
void group_disk_write(struct group_world *world, struct group_node *node, int disk, struct group_write write);
/* The oldest write of a disk becomes durable; the caller releases it. */
struct group_write group_disk_finish(struct group_world *world, struct group_node *node, int disk);
void group_write_release(struct group_write *write);
/* A prefix of what was under way has become durable, the rest is lost. */
void group_disk_crash(struct group_world *world, struct group_node *node);

/* ---- sim_group_send.c ---- */

/* own_write: that of the update, 0: none. */
void group_send_messages(struct group_world *world, struct group_node *node, const struct rg_update *update,
                         uint64_t own_write);
/* Something has become durable. */
void group_send_flush(struct group_world *world, struct group_node *node);

/* ---- sim_group_node.c ---- */

/* Is this where the node dies? Then nothing it does has an effect any more. */
bool group_node_dies(struct group_world *world, struct group_node *node, enum group_point point);
void group_node_start(struct group_world *world, struct group_node *node);
void group_node_crash(struct group_world *world, struct group_node *node);
/* What rg_... returned. staged: entries given to it, by ascending index. */
void group_node_update(struct group_world *world, struct group_node *node, int status, const struct rg_update *update,
                       struct group_entry *const *staged, size_t staged_count);
void group_node_event(struct group_world *world, struct group_node *node, struct group_event *event);

/* ---- sim_group_serve.c ---- */

/* A request has arrived; the node is up. */
void group_serve_request(struct group_world *world, struct group_node *node, size_t operation);
void group_serve_turn(struct group_world *world, struct group_node *node);
bool group_serve_has_lease(const struct group_world *world, const struct group_node *node);
/* A read under the lease: a reader, which is a thread of its own, takes the value, then looks whether it may tell. */
void group_serve_read(struct group_world *world, struct group_node *node, const struct group_event *event);
void group_serve_answer(struct group_world *world, struct group_node *node, const struct group_event *event);
/* Something was applied or confirmed. */
void group_serve_progress(struct group_world *world, struct group_node *node);
/* It leads no more, or is gone: whatever waits will never know. */
void group_serve_deposed(struct group_world *world, struct group_node *node, enum group_counter why);

/* ---- sim_group_client.c ---- */

void group_client_event(struct group_world *world, struct group_event *event);
void group_client_answer(struct group_world *world, size_t operation, enum group_outcome outcome, uint64_t observed);
void group_operator_event(struct group_world *world);
void group_fault_event(struct group_world *world, const struct group_event *event);
/* A node has just become leader. */
void group_fault_leader(struct group_world *world, struct group_node *node);
/* Everybody is up and reachable, and nothing goes wrong any more. */
void group_fault_calm(struct group_world *world);

#endif
