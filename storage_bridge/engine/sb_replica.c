/*
 * See sb_replica.h. A line is written when the member's role, term or leader changes, when it begins or ceases to answer
 * requests, and when its log is cut.
 *
 * Indexes are published from the greatest to the least and read from the least to the greatest: who reads between two
 * steps may see a commit index that is newer than the applied one, never the other way round.
 */
#include "sb_replica.h"

static void put(_Atomic uint64_t *figure, uint64_t value)
{
    atomic_store_explicit(figure, value, memory_order_release);
}

static uint64_t get(_Atomic uint64_t *figure)
{
    return atomic_load_explicit(figure, memory_order_acquire);
}

void sb_replica_publish(struct sb_server *server, const struct sb_group_status *status)
{
    struct sb_published *published = &server->published;

    put(&published->role, status->role);
    put(&published->answers, status->leads);
    put(&published->leader, status->leader);
    put(&published->term, status->term);
    put(&published->last_index, status->last_index);
    put(&published->logged_index, status->durable_index);
    put(&published->commit_index, status->commit_index);
    put(&published->applied_index, status->applied.index);
    if (status->applied.index == status->commit_index)
        put(&published->behind_since_ms, 0);
    else if (get(&published->behind_since_ms) == 0)
        put(&published->behind_since_ms, sb_wall_ms());
}

void sb_replica_figures(struct sb_server *server, struct sb_replica_figures *out)
{
    struct sb_published *published = &server->published;
    uint64_t flushed = get(&published->durable_index);
    uint64_t last;

    sb_log_bounds(server->log, WIRE_GROUP_LOCAL, &out->first_index, &last);
    out->applied_index = get(&published->applied_index);
    out->flushed_index = flushed < out->applied_index ? flushed : out->applied_index;
    out->commit_index = get(&published->commit_index);
    out->logged_index = get(&published->logged_index);
    out->last_index = get(&published->last_index);
    out->behind_since_ms = get(&published->behind_since_ms);
    out->term = get(&published->term);
    out->leader = get(&published->leader);
    out->answers = get(&published->answers);
    out->role = get(&published->role);
}

/* ---- log lines ---- */

static void tell_role(struct sb_server *server, const struct sb_group_status *status)
{
    unsigned long long term = status->term;
    unsigned long long last = status->last_index;

    switch (status->role) {
    case RG_LEADER:
        sb_host_line(server, SB_LEVEL_LOG, "replication group %d: node %d leads in term %llu from log entry %llu on",
                     WIRE_GROUP_LOCAL, WIRE_NODE_LOCAL, term, last);
        break;
    case RG_CANDIDATE:
        sb_host_line(server, SB_LEVEL_LOG,
                     "replication group %d: node %d stands for election in term %llu, its log ends at entry %llu",
                     WIRE_GROUP_LOCAL, WIRE_NODE_LOCAL, term, last);
        break;
    case RG_FOLLOWER:
        if (status->leader == 0)
            sb_host_line(server, SB_LEVEL_LOG,
                         "replication group %d: node %d knows no leader in term %llu, its log ends at entry %llu",
                         WIRE_GROUP_LOCAL, WIRE_NODE_LOCAL, term, last);
        else
            sb_host_line(server, SB_LEVEL_LOG,
                         "replication group %d: node %d follows node %llu in term %llu, its log ends at entry %llu",
                         WIRE_GROUP_LOCAL, WIRE_NODE_LOCAL, (unsigned long long) status->leader, term, last);
        break;
    }
}

void sb_replica_tell(struct sb_server *server, const struct sb_group_status *status)
{
    struct sb_told *told = &server->told;

    if (status->role != told->role || status->term != told->term || status->leader != told->leader)
        tell_role(server, status);
    if (status->leads != told->answers)
        sb_host_line(server, SB_LEVEL_LOG, "replication group %d: node %d %s in term %llu, log entry %llu is applied",
                     WIRE_GROUP_LOCAL, WIRE_NODE_LOCAL,
                     status->leads ? "answers requests" : "answers no requests any more",
                     (unsigned long long) status->term, (unsigned long long) status->applied.index);
    *told = (struct sb_told){status->role, status->leads, status->leader, status->term};
}

void sb_replica_tell_cut(struct sb_server *server, const struct sb_cut *cut)
{
    sb_host_line(
        server, SB_LEVEL_DEBUG, "replication group %llu: the log needs no entries up to %llu any more, in term %llu",
        (unsigned long long) cut->group, (unsigned long long) cut->index, (unsigned long long) server->told.term);
}
