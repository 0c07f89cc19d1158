/*
 * Replies that no entry stands behind: a refused condition, a granted lock, a decision of something unknown. They tell
 * what this replica has applied, and another one may lead by now and know better. Under the lease they leave at once;
 * else they wait until the lease is back, or a majority has answered a question that was asked after they were made.
 * When leadership is lost first, nothing was done: WIRE_E_NOT_LEADER.
 */
#include "sb_group.h"

#include "wire_request.h"

#define NOT_ASKED UINT64_MAX

struct sb_held {
    struct sb_held *next;
    uint64_t token;
    enum wire_operation operation;
    uint64_t term;
    uint64_t sequence;       /* of the question */
    struct sb_flight *owner; /* of the bytes */
};

/* A sole voter that leads, which alone waits for nobody, needs none. */
static bool has_lease(const struct sb_group *group)
{
    return rg_next_timeout(group->member) == UINT64_MAX || group->shard->now.boot_ms < rg_lease_until(group->member);
}

bool sb_group_must_hold(const struct sb_group *group, const struct sb_reply *reply)
{
    return reply->believed && (group->held || !has_lease(group));
}

int sb_group_hold(struct sb_group *group, const struct sb_reply *reply)
{
    struct sb_held *held = sb_alloc(sizeof(*held));
    struct sb_flight *owner = sb_alloc(sizeof(*owner));
    int status = held && owner ? sb_buffer_append(&owner->bytes, reply->bytes.data, reply->bytes.size) : WIRE_E_NOMEM;

    if (status != WIRE_OK) {
        sb_flight_free(owner);
        sb_free(held);
        return status;
    }
    *held = (struct sb_held){.token = reply->token,
                             .operation = reply->operation,
                             .term = sb_partition_term(group->partition),
                             .sequence = NOT_ASKED,
                             .owner = owner};
    *group->held_end = held;
    group->held_end = &held->next;
    return WIRE_OK;
}

static void write_refusal(struct sb_buffer *bytes, uint64_t leader)
{
    struct wire_reply header = {.status = WIRE_E_NOT_LEADER, .snapshot = leader};
    struct wire_writer w = wire_writer_of(bytes->data, bytes->capacity); /* it held a reply */

    wire_reply_write(&w, &header);
    bytes->size = w.size;
}

/* The oldest leaves. */
static int let_go(struct sb_group *group)
{
    struct sb_shard *shard = group->shard;
    struct sb_held *held = group->held;
    int status =
        sb_array_grow((void **) &shard->replies, &shard->reply_capacity, shard->reply_count, sizeof(*shard->replies));

    if (status != WIRE_OK)
        return status;
    group->held = held->next;
    if (!group->held)
        group->held_end = &group->held;
    held->owner->next = shard->refusals;
    shard->refusals = held->owner;
    shard->replies[shard->reply_count++] = (struct sb_reply){
        .token = held->token, .operation = held->operation, .bytes = sb_buffer_span(&held->owner->bytes)};
    sb_free(held);
    return WIRE_OK;
}

int sb_group_release(struct sb_group *group)
{
    uint64_t term = sb_partition_term(group->partition);
    uint64_t confirmed = rg_confirmed(group->member);
    bool lease = has_lease(group);
    int status = WIRE_OK;

    while (group->held && status == WIRE_OK) {
        struct sb_held *held = group->held;

        if (term == 0 || held->term != term)
            write_refusal(&held->owner->bytes, rg_role(group->member) == RG_LEADER ? 0 : rg_leader(group->member));
        else if (!lease && held->sequence > confirmed)
            return WIRE_OK;
        status = let_go(group);
    }
    return status;
}

int sb_group_ask(struct sb_group *group, bool again, struct rg_update *update)
{
    bool asked = !again;
    uint64_t sequence;
    int status;

    for (const struct sb_held *held = group->held; held; held = held->next)
        asked = asked && held->sequence != NOT_ASKED;
    if (!group->held || asked)
        return WIRE_OK;
    status = rg_probe(group->member, group->shard->now.boot_ms, &sequence, update);
    if (status == WIRE_E_NOT_LEADER)
        return WIRE_OK; /* the partition will learn it */
    for (struct sb_held *held = group->held; held && status == WIRE_OK; held = held->next) {
        if (held->sequence == NOT_ASKED)
            held->sequence = sequence;
    }
    return status;
}

void sb_group_drop_held(struct sb_group *group)
{
    while (group->held) {
        struct sb_held *gone = group->held;

        group->held = gone->next;
        sb_flight_free(gone->owner);
        sb_free(gone);
    }
    group->held_end = &group->held;
}
