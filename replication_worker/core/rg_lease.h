/*
 * What a leader knows of who still follows it: when the messages were sent that members have echoed (the lease), and
 * which of its questions they have answered (ReadIndex).
 *
 * A lease starts when the newest APPEND was sent that a majority has echoed: everyone who echoed it heard the leader
 * then or later, and refuses to vote for one election timeout after that. Handing leadership over lets a member disturb
 * that peace, so nothing is counted from before that, nor until whoever was told to stand (TIMEOUT_NOW) has echoed a
 * later message in the same term: only then can it not stand any more.
 *
 * Caller: rg_group.c. Locks: none.
 */
#ifndef RG_LEASE_H
#define RG_LEASE_H

#include "wire_configuration.h"

#define RG_LEASE_SENT 32

struct rg_lease_peer {
    uint64_t node;
    bool voter;
    bool echoed;
    uint64_t heard_ms;
    uint64_t echoed_ms; /* when the newest message was sent that it has echoed */
    uint64_t handed;    /* sequence number after which it was told to stand, + 1; 0: was not */
    uint64_t probe;     /* newest question it has answered */
};

struct rg_lease {
    uint64_t node; /* ourselves */
    uint32_t lease_ms;
    bool handing; /* leadership is being handed over */
    bool lost;    /* no lease any more in this term: one that was told to stand is no member now */
    uint64_t sequence;
    struct {
        uint64_t sequence; /* the first that was sent at sent_ms */
        uint64_t sent_ms;
    } sent[RG_LEASE_SENT]; /* a ring, spaced so that it covers more than a lease */
    size_t sent_first;
    size_t sent_count;
    uint64_t probe; /* newest question: never falls, whatever the term */
    uint32_t peer_count;
    struct rg_lease_peer peers[WIRE_MEMBERS_MAX];
};

/* A term of leadership begins. */
void rg_lease_begin(struct rg_lease *lease, const struct wire_configuration *configuration);
/* The configuration may have changed. */
void rg_lease_members(struct rg_lease *lease, const struct wire_configuration *configuration);
/* A number for a message that is sent now. */
uint64_t rg_lease_send(struct rg_lease *lease, uint64_t now_ms);
/* A member answers in this term; sequence: what it echoes, 0 for nothing. */
void rg_lease_echo(struct rg_lease *lease, uint64_t node, uint64_t sequence, uint64_t now_ms);
/* Leadership begins to be handed over; ends without success; `node` is told to stand. */
void rg_lease_hand(struct rg_lease *lease);
void rg_lease_keep(struct rg_lease *lease);
void rg_lease_told(struct rg_lease *lease, uint64_t node);
/* Exclusive; 0: none. UINT64_MAX: without end, while nobody else votes. */
uint64_t rg_lease_end(const struct rg_lease *lease);

void rg_lease_answer(struct rg_lease *lease, uint64_t node, uint64_t probe);
uint64_t rg_lease_answered(const struct rg_lease *lease);

const struct rg_lease_peer *rg_lease_find(const struct rg_lease *lease, uint64_t node);

#endif
