/*
 * The member of the local group as operators see it: figures for WIRE_STATUS, lines in the server log.
 *
 * Locks: none; struct sb_published has the figures. Private to the server, as sb_host.h.
 */
#ifndef SB_REPLICA_H
#define SB_REPLICA_H

#include "sb_host.h"

/* The member as STATUS shows it: applied <= commit <= last, flushed <= applied. */
struct sb_replica_figures {
    uint64_t role;
    uint64_t answers;
    uint64_t leader;
    uint64_t term;
    uint64_t first_index;
    uint64_t last_index;
    uint64_t logged_index;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t flushed_index;
    uint64_t behind_since_ms;
};

/* How it stands after a step. Shard thread, or main thread before there is one. */
void sb_replica_publish(struct sb_server *server, const struct sb_group_status *status);
/* Log lines for what has changed since the last call. Shard thread. */
void sb_replica_tell(struct sb_server *server, const struct sb_group_status *status);
void sb_replica_tell_cut(struct sb_server *server, const struct sb_cut *cut);
/* Any thread. */
void sb_replica_figures(struct sb_server *server, struct sb_replica_figures *out);

#endif
