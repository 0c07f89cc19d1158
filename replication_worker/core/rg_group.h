/*
 * One member of a replication group: consensus on a log (Raft), leases, ReadIndex. Event in, update out: no I/O, no
 * clock, no threads, no randomness but its seed. The core of the consensus is libraft (rg_group.c is the only file that
 * knows it); what it lacks, and the rules that make it safe, are here.
 *
 *   rg_open -> { rg_receive | rg_timeout | rg_submit | rg_persisted | ... -> struct rg_update } -> rg_close
 *
 * After each call that fills an update the caller, in this order:
 *   1. drops its log from update.entries[0].index on, and appends update.entries;
 *   2. notes rg_term() and rg_voted_for() if update.state;
 *   3. makes both durable, in one batch with those of other groups, and tells by rg_persisted (entries only);
 *   4. sends update.messages: each not before every state noted so far and the entries of its own update are durable,
 *      but for an APPEND of a leader, which needs only the states (Raft thesis 10.2.1);
 *   5. applies entries up to rg_commit(), never beyond what it has, and not while rg_installing(); tells by
 *      rg_configured about each configuration entry it applies.
 * An update is valid until the next call for the same group.
 *
 * Rules kept inside (each has a test that fails without it):
 * - The version of the library is checked when compiled; its tracer is off; every member has its own seed.
 * - leader_commit of a received APPEND is clamped to what the message covers; a configuration entry is always the first
 *   of the part that the core sees; the term of an ungranted pre-vote result is raised to our own.
 * - Timeouts fire only when due. Pre-vote is on, before each election. For one election timeout after rg_open votes are
 *   refused, but to one that its leader told to stand.
 * - Persisted entries are reported in order, never those that were replaced, none while a checkpoint is installed.
 * - A configuration changes by one member at a time, behind a committed entry of the own term; a learner becomes voter
 *   only when it has all that is committed; a voter goes only while more than three vote, the leader not before it has
 *   handed over. Of two changes in one message the first is committed.
 * - A leader's term begins with an entry of its own: rg_submit works, but nothing is read under the lease before that
 *   entry is committed.
 * - A duplicate or late INSTALL is dropped; entries from before the log count from the commit index on; votes and
 *   refusals that come late are dropped.
 * - A sole voter begins a new term with each rg_open: in the old one it may have sent what it then lost.
 * - An error of the core stops the group: every later call fails with WIRE_E_INTERNAL.
 *
 * The lease: a leader may serve reads without asking until `sent + lease_ms`, where `sent` is when it sent the newest
 * APPEND that a majority has echoed. Followers that heard it at that time refuse votes for election_timeout_ms of their
 * own clock after; so lease_ms must be shorter than that by whatever clocks may drift in it. `now_ms` is of a clock
 * that runs through suspend. No lease while leadership is handed over, nor after that has failed until whoever was told
 * to stand has echoed a later message: until then it may still win. A sole voter's has no end. Look at rg_lease_until
 * after each call, before the messages of its update are sent.
 *
 * Caller: the one thread that owns the group. Locks: none. Memory: rg_set_heap's.
 * Errors of all calls: WIRE_E_NOMEM (nothing has happened: call again), WIRE_E_INTERNAL (the group has stopped, rg_fault tells why), WIRE_E_BAD_FORMAT for
 * arguments from a peer that cannot be.
 */
#ifndef RG_GROUP_H
#define RG_GROUP_H

#include "wire_peer.h"

struct rg_group;

struct rg_options {
    uint64_t group;
    uint64_t node; /* who this member is, > 0 */
    uint32_t seed;
    uint32_t election_timeout_ms; /* a follower stands for election after 1 to 2 of these without its leader */
    uint32_t heartbeat_ms;
    uint32_t lease_ms;           /* < election_timeout_ms; 0: never a lease */
    uint32_t install_timeout_ms; /* more than the transfer of a checkpoint takes */
    uint32_t in_flight_max;      /* entries sent to a follower and not acknowledged */
};

enum rg_entry_kind { RG_EFFECTS = 1, RG_BARRIER = 2, RG_CONFIGURATION = 3 };

struct rg_entry {
    uint64_t index;
    uint64_t term;
    enum rg_entry_kind kind;
    /* RG_CONFIGURATION; borrowed for the call, or until the next one for an update */
    const struct wire_configuration *configuration;
};

/* What was durable when the process ended. All zero: a member that knows nothing yet and waits to be told (a learner),
 * or has not yet been given entry 1: of term 1, the configuration, alike at all first members. */
struct rg_start {
    uint64_t term; /* may be behind applied_term, for the log and the state machine are made durable each by itself */
    uint64_t voted_for;
    /* What the state machine has applied durably; 0: nothing. Every entry up to it was committed. */
    uint64_t applied_index;
    uint64_t applied_term;
    struct wire_configuration configuration; /* as of applied_index */
    uint64_t configuration_index;
    /* The log: entries [first_index, first_index + entry_count). If it ends before applied_index, or has an entry of
     * another term there, the caller must have dropped it (first_index = applied_index + 1, no entries): a commit index
     * may run ahead of the durable log. With applied_index 0, first_index is 1 and entry 1 a configuration, unless there is none. */
    uint64_t first_index;
    const struct rg_entry *entries;
    size_t entry_count;
};

enum rg_role { RG_FOLLOWER = 1, RG_CANDIDATE = 2, RG_LEADER = 3 };

struct rg_update {
    bool state; /* term or vote have changed */
    bool role;  /* rg_role or rg_leader may have changed */
    bool commit;
    bool timeout; /* rg_next_timeout has changed */
    bool install; /* a checkpoint is to be fetched from rg_leader: installed below. Its entries replace the log. */
    const struct rg_entry *entries; /* to append; those of the caller (rg_submit, rg_receive) by index, or a barrier */
    size_t entry_count;
    const struct wire_peer_message *messages; /* an APPEND's entries [index + 1, index + entry_count] are for the
                                                 caller to add; it may split it, with consecutive indexes */
    size_t message_count;
    struct {
        uint64_t index;
        uint64_t term;
        struct wire_configuration configuration;
        uint64_t configuration_index;
    } checkpoint;
};

/* For all allocations: process-wide, before the first rg_open. */
void rg_set_heap(void *(*allocate)(size_t size), void *(*reallocate)(void *pointer, size_t size),
                 void (*release)(void *pointer));

/* Starts the member. A sole voter leads at once, in a new term. Errors: WIRE_E_CONFIG (options), WIRE_E_BAD_FORMAT (a
 * start that cannot be). */
int rg_open(const struct rg_options *options, const struct rg_start *start, uint64_t now_ms, struct rg_group **out,
            struct rg_update *update);
void rg_close(struct rg_group *group);

/* A message from a member, opened. entries: of an APPEND, message->entry_count of them. Messages for another group or
 * node, or from this one, are dropped: WIRE_OK with nothing to do. */
int rg_receive(struct rg_group *group, uint64_t now_ms, const struct wire_peer_message *message,
               const struct rg_entry *entries, struct rg_update *update);
/* Does nothing before rg_next_timeout. */
int rg_timeout(struct rg_group *group, uint64_t now_ms, struct rg_update *update);
/* Leader: append entries of kind RG_EFFECTS, of index rg_last_index() + 1 on and of rg_term(). Errors:
 * WIRE_E_NOT_LEADER (also while leadership is handed over). */
int rg_submit(struct rg_group *group, uint64_t now_ms, const struct rg_entry *entries, size_t count,
              struct rg_update *update);
/* Everything that updates asked to append, up to the one whose last entry is (index, term), is durable. */
int rg_persisted(struct rg_group *group, uint64_t now_ms, uint64_t index, uint64_t term, struct rg_update *update);
/* The configuration entry at `index` was applied. */
int rg_configured(struct rg_group *group, uint64_t now_ms, const struct rg_entry *entry, struct rg_update *update);
/* Everything up to `index` is durably applied and the log is going to be cut: entries below `first_index` go. Errors:
 * WIRE_E_MEMBERSHIP: the configuration as of `index` is not known to be committed: do not cut, ask again later. */
int rg_checkpointed(struct rg_group *group, uint64_t now_ms, uint64_t index, uint64_t term, uint64_t first_index,
                    struct rg_update *update);
/* The checkpoint of update.install is durably in place (the log is empty behind it), or could not be had: then what was
 * there is untouched, all goes on as before, and the leader offers one again. A caller that cannot promise that closes
 * the group. */
int rg_installed(struct rg_group *group, uint64_t now_ms, bool success, struct rg_update *update);
/* Leader: hand leadership to a voter, 0: to whom it likes. Ends by itself after an election timeout. Errors:
 * WIRE_E_NOT_LEADER, WIRE_E_MEMBERSHIP (nobody to hand it to). */
int rg_transfer(struct rg_group *group, uint64_t now_ms, uint64_t node, struct rg_update *update);
/* Leader: append a new configuration; differs by one member from the present one. Errors: WIRE_E_NOT_LEADER,
 * WIRE_E_MEMBERSHIP (see the rules; ask again later). */
int rg_change(struct rg_group *group, uint64_t now_ms, const struct wire_configuration *configuration,
              struct rg_update *update);

/* Leader: ask the members whether we still lead; *sequence names the question. Reads at rg_commit() as of now are
 * strongly consistent once rg_confirmed() >= *sequence in the same term: a question ends with the leadership it was asked
 * in, and if its messages are lost it is asked again. Errors: WIRE_E_NOT_LEADER (also before rg_is_settled). */
int rg_probe(struct rg_group *group, uint64_t now_ms, uint64_t *sequence, struct rg_update *update);
uint64_t rg_confirmed(const struct rg_group *group);
/* Until when reads are safe, exclusive; 0: no lease; UINT64_MAX: without end. Check it again after the data was read. */
uint64_t rg_lease_until(const struct rg_group *group);
/* A leader that has committed an entry of its own term: what it has applied up to rg_commit() is the newest. */
bool rg_is_settled(const struct rg_group *group);

enum rg_role rg_role(const struct rg_group *group);
uint64_t rg_leader(const struct rg_group *group); /* node; 0: unknown */
uint64_t rg_term(const struct rg_group *group);
uint64_t rg_voted_for(const struct rg_group *group);
uint64_t rg_commit(const struct rg_group *group);
uint64_t rg_last_index(const struct rg_group *group);
bool rg_installing(const struct rg_group *group);
bool rg_transferring(const struct rg_group *group);     /* leader: rg_transfer has not ended */
uint64_t rg_next_timeout(const struct rg_group *group); /* ms; UINT64_MAX: none (a sole voter that leads) */
void rg_configuration(const struct rg_group *group, struct wire_configuration *out, uint64_t *index);
/* Leader: how far a member is known to be durable, and when it was last heard of (0: never). False: no member. */
bool rg_progress(const struct rg_group *group, uint64_t node, uint64_t *match, uint64_t *heard_ms);
const char *rg_fault(const struct rg_group *group); /* "" if it has not stopped */

#endif
