#include "rg_lease.h"

static struct rg_lease_peer *find(struct rg_lease *lease, uint64_t node)
{
    for (uint32_t i = 0; i < lease->peer_count; i++)
        if (lease->peers[i].node == node)
            return &lease->peers[i];
    return NULL;
}

const struct rg_lease_peer *rg_lease_find(const struct rg_lease *lease, uint64_t node)
{
    return find((struct rg_lease *) lease, node);
}

void rg_lease_begin(struct rg_lease *lease, const struct wire_configuration *configuration)
{
    *lease = (struct rg_lease){.node = lease->node, .lease_ms = lease->lease_ms, .probe = lease->probe};
    rg_lease_members(lease, configuration);
}

void rg_lease_members(struct rg_lease *lease, const struct wire_configuration *configuration)
{
    struct rg_lease_peer peers[WIRE_MEMBERS_MAX];

    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct wire_member *member = &configuration->members[i];
        const struct rg_lease_peer *known = find(lease, member->node);

        peers[i] = known ? *known : (struct rg_lease_peer){.node = member->node};
        peers[i].voter = member->role == WIRE_MEMBER_VOTER;
    }
    for (uint32_t i = 0; i < lease->peer_count; i++)
        if (lease->peers[i].handed > 0 && wire_configuration_find(configuration, lease->peers[i].node) == NULL)
            lease->lost = true;
    lease->peer_count = configuration->count;
    memcpy(lease->peers, peers, configuration->count * sizeof(peers[0]));
}

/* Within one place of the ring all messages count as sent with the first. */
uint64_t rg_lease_send(struct rg_lease *lease, uint64_t now_ms)
{
    uint64_t newest =
        lease->sent_count > 0 ? lease->sent[(lease->sent_first + lease->sent_count - 1) % RG_LEASE_SENT].sent_ms : 0;
    size_t place;

    lease->sequence++;
    if (lease->sent_count > 0 && (now_ms == newest || (now_ms - newest) * (RG_LEASE_SENT / 2) < lease->lease_ms))
        return lease->sequence;
    if (lease->sent_count == RG_LEASE_SENT)
        lease->sent_first = (lease->sent_first + 1) % RG_LEASE_SENT;
    else
        lease->sent_count++;
    place = (lease->sent_first + lease->sent_count - 1) % RG_LEASE_SENT;
    lease->sent[place].sequence = lease->sequence;
    lease->sent[place].sent_ms = now_ms;
    return lease->sequence;
}

void rg_lease_echo(struct rg_lease *lease, uint64_t node, uint64_t sequence, uint64_t now_ms)
{
    struct rg_lease_peer *peer = find(lease, node);

    if (peer == NULL)
        return;
    peer->heard_ms = now_ms;
    if (sequence > lease->sequence)
        return;
    if (sequence >= peer->handed)
        peer->handed = 0;
    for (size_t i = lease->sent_count; i > 0; i--) {
        size_t place = (lease->sent_first + i - 1) % RG_LEASE_SENT;

        if (lease->sent[place].sequence > sequence)
            continue;
        if (!peer->echoed || peer->echoed_ms < lease->sent[place].sent_ms)
            peer->echoed_ms = lease->sent[place].sent_ms;
        peer->echoed = true;
        return;
    }
}

/* Nor does what was sent until now count any more. */
static void forget_echoes(struct rg_lease *lease)
{
    lease->sent_count = 0;
    for (uint32_t i = 0; i < lease->peer_count; i++)
        lease->peers[i].echoed = false;
}

void rg_lease_hand(struct rg_lease *lease)
{
    lease->handing = true;
    forget_echoes(lease);
}

void rg_lease_keep(struct rg_lease *lease)
{
    lease->handing = false;
    forget_echoes(lease);
}

void rg_lease_told(struct rg_lease *lease, uint64_t node)
{
    struct rg_lease_peer *peer = find(lease, node);

    if (peer != NULL)
        peer->handed = lease->sequence + 1;
    else
        lease->lost = true;
}

/* The `rank`-th greatest (from 1) of what the other voters have; false if fewer have anything. */
static bool ranked(const uint64_t *values, uint32_t count, uint32_t rank, uint64_t *out)
{
    if (rank > count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t greater = 0, equal = 0;

        for (uint32_t k = 0; k < count; k++) {
            greater += values[k] > values[i];
            equal += values[k] == values[i];
        }
        if (greater < rank && rank <= greater + equal) {
            *out = values[i];
            return true;
        }
    }
    return false;
}

/* How many other voters make a majority with ourselves. */
static uint32_t others_needed(const struct rg_lease *lease)
{
    uint32_t voters = 0, self = 0;

    for (uint32_t i = 0; i < lease->peer_count; i++) {
        voters += lease->peers[i].voter;
        self += lease->peers[i].voter && lease->peers[i].node == lease->node;
    }
    return voters / 2 + 1 - self;
}

uint64_t rg_lease_end(const struct rg_lease *lease)
{
    uint64_t times[WIRE_MEMBERS_MAX], start;
    uint32_t needed = others_needed(lease), count = 0;

    if (lease->lease_ms == 0 || lease->handing || lease->lost)
        return 0;
    for (uint32_t i = 0; i < lease->peer_count; i++) {
        const struct rg_lease_peer *peer = &lease->peers[i];

        if (peer->handed > 0)
            return 0;
        if (peer->voter && peer->node != lease->node && peer->echoed)
            times[count++] = peer->echoed_ms;
    }
    if (needed == 0)
        return UINT64_MAX;
    return ranked(times, count, needed, &start) ? start + lease->lease_ms : 0;
}

void rg_lease_answer(struct rg_lease *lease, uint64_t node, uint64_t probe)
{
    struct rg_lease_peer *peer = find(lease, node);

    if (peer != NULL && probe <= lease->probe && probe > peer->probe)
        peer->probe = probe;
}

uint64_t rg_lease_answered(const struct rg_lease *lease)
{
    uint64_t probes[WIRE_MEMBERS_MAX], answered;
    uint32_t needed = others_needed(lease), count = 0;

    for (uint32_t i = 0; i < lease->peer_count; i++)
        if (lease->peers[i].voter && lease->peers[i].node != lease->node)
            probes[count++] = lease->peers[i].probe;
    if (needed == 0)
        return lease->probe;
    return ranked(probes, count, needed, &answered) ? answered : 0;
}
