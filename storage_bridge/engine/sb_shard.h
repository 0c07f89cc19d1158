/*
 * The shard: the groups of a node, each a partition (sb_partition.h) behind a member of a replication group
 * (rg_group.h). It steps them, and turns what they want into one batch of log records for all of them, messages to
 * other nodes, and replies.
 *
 *   REQUEST -> the partition's leader evaluates -> entry -> [appended and synced here] -> DURABLE
 *                                                   \-> message -> [members' logs] -> MESSAGE (result) -> committed
 *   -> applied -> reply. A group of one takes the same way: its own log is the majority.
 *
 * Rules (see also rg_group.h)
 * - Records are appended in the order they are handed out, those of a step in one batch; DURABLE counts them. A
 * message leaves the shard only when its member's term and vote are durable. What members claim to hold is durable:
 * the core counts nothing else. So a leader's entries may reach its followers before its own disk has them.
 * - Entries are applied when they are committed and durable here: the items store never knows more than the log.
 * - A leader evaluates requests when it has applied an entry of its own term. Nobody else does.
 * - A reply that no entry stands behind (a refused condition, a granted lock) leaves under the lease, or when a majority
 * has said meanwhile that the replica still leads: who was deposed and does not know it must not tell what it believes.
 * - A replica whose log begins behind what its leader still has gets a checkpoint (sb_checkpoint.h) instead: what it
 * has stays until the checkpoint is whole, then is replaced in one step of the store. Its group says in its state,
 * before that, that the log is void if the store is found to be that checkpoint, and takes it back with the first entry
 * that follows: else a store ahead of its log is a lost log.
 * - The log is cut below what the items store has made durable (FLUSHED); members of larger groups keep some entries
 * more for others that fell behind.
 *
 * A step function: no threads, clock or I/O but reads of log and store. The same code runs under the simulator.
 *
 * Caller: one thread. Locks: none of its own. After an error the process stops; nothing in flight is acknowledged.
 */
#ifndef SB_SHARD_H
#define SB_SHARD_H

#include "rg_group.h"
#include "sb_partition.h"

struct sb_shard;

/* wall_ms: of versions. boot_ms: of timeouts and leases, a clock that runs through suspend and never goes back. */
struct sb_now {
    uint64_t wall_ms;
    uint64_t boot_ms;
};

struct sb_shard_options {
    uint64_t node;
    uint32_t seed;
    uint32_t election_timeout_ms;
    uint32_t heartbeat_ms;
    uint32_t lease_ms; /* see rg_group.h */
    uint32_t install_timeout_ms;
    uint64_t trailing_entries; /* that a group of several members keeps in the log behind what is durably applied */
    struct sb_store *store;
    uint64_t max_in_flight_bytes; /* of a group */
    uint64_t settle_keys_max;
    struct sb_portions portions;
    /* The payload of an entry that was handed out and is durable, appended to `out`. Errors: as sb_log_read. */
    int (*read_log)(void *context, uint64_t group, uint64_t index, uint64_t *term, struct sb_buffer *out,
                    struct sb_fault *fault);
    void *log;
};

/* What the log holds of a group, collected while it is opened: call sb_digest_add for each entry, in log order. */
struct sb_digest {
    uint64_t first_index;
    struct rg_entry *entries;
    size_t count;
    size_t capacity;
    struct wire_configuration *configurations; /* that entries point to */
    size_t configuration_count;
    size_t configuration_capacity;
};
/* Errors: WIRE_E_NOMEM, WIRE_E_CORRUPT (no entry, or one that does not follow). */
int sb_digest_add(struct sb_digest *digest, const struct sb_log_entry *entry, struct sb_fault *fault);
void sb_digest_close(struct sb_digest *digest);

/* A message to another node, whole bytes of wire_peer.h. */
struct sb_message {
    uint64_t to;
    struct wire_span bytes;
};

/* Entries of `group` up to `index` may go from the log. */
struct sb_cut {
    uint64_t group;
    uint64_t index;
};

/* A checkpoint is wanted (go: false) from node `from`, of an applied index not below `index`; or (go: true) the one that
 * was RECEIVED is to be installed. Answered by RECEIVED, then INSTALLED; by INSTALLED 0 when it cannot be had. */
struct sb_install {
    uint64_t group;
    uint64_t from;
    uint64_t index;
    bool go;
};

/*
 * Events, beside those of a partition (REQUEST, FETCHED with their group; TICK; FULL):
 *   DURABLE   index: how many more of the records handed out are durable
 *   MESSAGE   bytes: of wire_peer.h, from another node; `token`: the node that the link has authenticated
 *   FLUSHED   group, index, token: an entry that the items store has applied durably, and its term
 *   RECEIVED  group, index: a checkpoint that was asked for is whole here; its applied index
 *   INSTALLED group, index: it is in the store, durably; 0: there is none, and the store is as it was
 *   RESIGN    planned stop: new requests wait; when what is in flight is applied, each group's leadership is handed over
 *             and who waits is told to whom; nobody takes it, or there is nobody: the group goes on
 */

/* What a step asks for. Arrays belong to the shard: the bytes of records until their DURABLE, fetches until their
 * FETCHED, everything else until the next step or sb_shard_add. */
struct sb_step {
    const struct sb_log_entry *records; /* entries and states (index 0), for sb_log_append */
    size_t record_count;
    const struct sb_message *messages;
    size_t message_count;
    const struct sb_reply *replies;
    size_t reply_count;
    const struct sb_fetch *fetches;
    size_t fetch_count;
    const struct sb_cut *cuts; /* to be made before the records are appended: a group may go on behind its cut */
    size_t cut_count;
    const struct sb_install *installs;
    size_t install_count;
    uint64_t timeout_ms; /* boot clock: step again by then; UINT64_MAX: no need */
    bool more;           /* step again with TICK even if nothing happens: there is settling to do */
};

int sb_shard_open(const struct sb_shard_options *options, struct sb_shard **out);
void sb_shard_close(struct sb_shard *shard);

/*
 * Open a member: from its durable state in the log (`state`, empty if there is none), its entries there, and what the
 * store has applied. One that knows nothing is made new with `members` (of count 0: it waits to be told). What is known
 * to be committed is applied at once. `transactions`: the table that readers use, borrowed. What it has to log is handed
 * out by the next step.
 * Errors: WIRE_E_CORRUPT (store and log are not of one state), those of log and store, WIRE_E_NOMEM.
 */
int sb_shard_add(struct sb_shard *shard, struct sb_now now, uint64_t group, struct wire_span state,
                 const struct sb_digest *digest, const struct wire_configuration *members,
                 struct sb_transactions *transactions, struct sb_fault *fault);

int sb_shard_step(struct sb_shard *shard, struct sb_now now, const struct sb_event *events, size_t count,
                  struct sb_step *out, struct sb_fault *fault);

struct sb_group_status {
    enum rg_role role;
    bool leads;      /* answers requests */
    bool installing; /* a checkpoint was asked for, and INSTALLED is awaited */
    uint64_t leader;
    uint64_t term;
    uint64_t commit_index;
    uint64_t last_index;
    uint64_t durable_index;
    uint64_t lease_until_ms; /* boot clock, exclusive; 0: none */
    struct sb_applied applied;
    struct sb_partition_status partition;
};
/* False: no such group here. */
bool sb_shard_status(const struct sb_shard *shard, uint64_t group, struct sb_group_status *out);
/* See sb_partition_prepared. */
uint64_t sb_shard_prepared(struct sb_shard *shard, uint64_t group, uint64_t after);

#endif
