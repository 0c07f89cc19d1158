/*
 * What the files of a group share. rg_group.c is the library's side: it steps it, copies what it says (rg_take_*) and
 * notes what it knows in struct rg_view. The others are ours: rg_receive.c what comes from members, rg_calls.c what
 * comes from the caller, rg_update.c the frame of a call.
 *
 * A call: rg_begin (memory for all that can come of it), steps, rg_leave (what has changed). Nothing fails in between
 * but the library itself, and then the group has stopped: rg_stop, and a step returns false.
 */
#ifndef RG_INTERNAL_H
#define RG_INTERNAL_H

#include "rg_group.h"
#include "rg_lease.h"
#include "rg_pending.h"

#define RG_STEP_MESSAGES_MAX 32 /* more than one step with WIRE_MEMBERS_MAX members sends */

struct rg_checkpoint {
    uint64_t index;
    uint64_t term;
    uint64_t configuration_index;
    struct wire_configuration configuration;
};

struct rg_applied_change {
    uint64_t index;
    struct wire_configuration configuration;
};

/* The library's state, as of its last step. */
struct rg_view {
    enum rg_role role;
    uint64_t term;
    uint64_t voted_for;
    uint64_t commit;
    uint64_t last;                /* index of the log */
    uint64_t stored;              /* durable up to here */
    uint64_t offset;              /* terms are known of what is behind it, */
    uint64_t snapshot;            /* and of this one: the checkpoint's last */
    uint64_t change;              /* index of a configuration that may be uncommitted; 0: none */
    uint64_t configuration_index; /* of the committed one */
    uint64_t timeout;
    uint64_t follows;    /* follower: the leader it has heard, of whatever term */
    uint64_t transferee; /* leader: who takes over */
    bool pre_vote;       /* candidate: asks before it stands */
    bool installing;
    bool term_known; /* the entry at commit is of this term */
};

/* What the caller was told, to tell what has changed. */
struct rg_told {
    uint64_t term;
    uint64_t voted_for;
    uint64_t commit;
    uint64_t leader;
    uint64_t timeout;
    enum rg_role role;
};

/* What a call brings: entries, and terms and configurations among them. */
struct rg_load {
    size_t entries;
    size_t terms;
    size_t configurations;
};

struct rg_library;

struct rg_group {
    struct rg_library *library;
    struct rg_view view;
    struct rg_options options;
    bool stopped;
    char fault[160];
    uint64_t now_ms;
    uint64_t opened_ms;
    uint64_t led_term;     /* the last that we have led */
    uint64_t begun_term;   /* the last that we have begun with an entry */
    uint64_t heard_term;   /* the last that we have heard a leader of, */
    uint64_t heard_leader; /* who it was, */
    uint64_t heard_number; /* the greatest sequence number it sent, */
    uint64_t heard_ms;     /* and when */
    struct rg_lease lease;
    struct rg_pending pending;
    struct wire_configuration configuration; /* in force */

    struct rg_checkpoint checkpoint;   /* the newest: what INSTALL offers */
    struct rg_applied_change *changes; /* behind it */
    size_t change_count;
    size_t change_capacity;
    struct rg_checkpoint incoming; /* being installed */
    uint64_t stored_meanwhile;

    /* The update. */
    struct rg_entry *entries;
    size_t entry_count;
    size_t entry_capacity;
    struct wire_configuration *configurations; /* of entries */
    size_t configuration_count;
    size_t configuration_capacity;
    struct wire_peer_message *messages;
    size_t message_count;
    size_t message_capacity;
    bool install;
    struct rg_told told;
};

/* --- rg_update.c --- */

int rg_stop(struct rg_group *group, const char *what, const char *why);
struct rg_load rg_load_of(const struct rg_entry *entries, size_t count);
/* *update is empty. Errors: WIRE_E_NOMEM (nothing has happened), WIRE_E_INTERNAL. */
int rg_begin(struct rg_group *group, uint64_t now_ms, struct rg_load load, struct rg_update *update);
int rg_leave(struct rg_group *group, struct rg_update *update);
/* Nothing came of the call but rc. */
int rg_leave_with(struct rg_group *group, int rc);
/* Room was made in rg_begin; NULL: the group has stopped. */
struct rg_entry *rg_add_entry(struct rg_group *group, uint64_t index, uint64_t term, enum rg_entry_kind kind);
struct wire_peer_message *rg_add_message(struct rg_group *group, enum wire_peer_kind kind, uint64_t to, uint64_t term);
void rg_update_close(struct rg_group *group);

static inline bool rg_leads(const struct rg_group *group)
{
    return group->view.role == RG_LEADER;
}
bool rg_is_sole_voter(const struct wire_configuration *configuration, uint64_t node);

/* --- rg_group.c --- */

/* An APPEND, or a part of one. */
struct rg_append {
    uint64_t from;
    uint64_t term;
    uint64_t index;
    uint64_t index_term;
    uint64_t commit;
    const struct rg_entry *entries;
    size_t count;
};

/* The term of the entry at index; 0: not known here. */
uint64_t rg_term_of(const struct rg_group *group, uint64_t index);
/* Leader: how far a member has the log; false: no member. */
bool rg_match_of(const struct rg_group *group, uint64_t node, uint64_t *match);
int rg_library_reserve(struct rg_group *group, size_t entries);
size_t rg_library_heap(const struct rg_group *group, struct rg_load load);

bool rg_step_append(struct rg_group *group, const struct rg_append *part);
bool rg_step_install(struct rg_group *group, const struct wire_peer_message *message);
/* APPEND_RESULT, VOTE, VOTE_RESULT, TIMEOUT_NOW */
bool rg_step_message(struct rg_group *group, const struct wire_peer_message *message);
/* `configuration` is that of the entry at `index`, which is committed. */
bool rg_step_configured(struct rg_group *group, uint64_t index, const struct wire_configuration *configuration);
bool rg_step_submit(struct rg_group *group, const struct rg_entry *entries, size_t count);
bool rg_step_persisted(struct rg_group *group, uint64_t index);
bool rg_step_timeout(struct rg_group *group);
/* group->checkpoint is in place and the log begins at first_index. */
bool rg_step_checkpointed(struct rg_group *group, uint64_t first_index);
/* group->incoming is in place; it is not and will not be: back to before the INSTALL. */
bool rg_step_installed(struct rg_group *group);
void rg_step_not_installed(struct rg_group *group);
bool rg_step_transfer(struct rg_group *group, uint64_t node);
/* A term of leadership begins with an entry of its own. */
void rg_begin_term(struct rg_group *group);

#endif
