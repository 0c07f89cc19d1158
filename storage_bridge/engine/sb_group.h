/*
 * The shard's inside, shared by sb_shard.c (events, records, timeouts) and sb_group.c (one group: what its member of
 * the consensus wants is carried to its partition, to the log and to other nodes).
 */
#ifndef SB_GROUP_H
#define SB_GROUP_H

#include "sb_flights.h"
#include "sb_shard.h"
#include "wire_entry.h"

struct sb_outbound {
    struct sb_outbound *next;
    uint64_t to;
    uint64_t record; /* leaves when so many records are durable */
    struct sb_buffer bytes;
};

struct sb_group {
    uint64_t id;
    struct sb_shard *shard;
    struct rg_group *member;
    struct sb_partition *partition;
    uint64_t durable_index;   /* entries up to it are in the log, as they are in flight or applied */
    uint64_t replaced_record; /* records up to this one, of entries from replaced_index on, were replaced */
    uint64_t replaced_index;
    uint64_t state_record;      /* number of the newest state that was handed out */
    struct sb_outbound *outbox; /* in order: nothing overtakes */
    struct sb_outbound **outbox_end;
    struct sb_held *held; /* replies that wait until it is sure who leads, in order */
    struct sb_held **held_end;
    struct sb_group *next_active; /* in this step */
    struct sb_group *next_outgoing;
    bool active;
    bool outgoing;
    bool more;                /* the partition has settling to do */
    uint64_t installed_index; /* of a checkpoint that may be in the store: if so, the log is void; 0: none */
    uint64_t void_index;      /* the same, of the one that was installed before and is the store's until then */
    uint64_t install_record;  /* a checkpoint may be installed when this record is durable; 0: none waits */
    bool installing;          /* from the asking to INSTALLED */
    bool resigning;           /* no new requests; when all is applied leadership is handed over */
    bool handing_over;
    uint64_t patience_ms; /* handed over: who waits is told by then, with or without a hint */
    uint64_t timeout_ms;
    size_t heap_at; /* place in the shard's heap */
};

/* A record that was handed out and is not durable yet. */
struct sb_record {
    struct sb_group *group;
    uint64_t index; /* 0: a state */
    uint64_t term;
};

struct sb_shard {
    struct sb_shard_options options;
    struct sb_now now;
    struct sb_fault *fault;
    struct sb_group **groups; /* ordered by id */
    size_t group_count;
    size_t group_capacity;
    struct sb_group **heap; /* by timeout_ms */
    struct sb_group *active;
    struct sb_group *outgoing; /* groups with messages */
    size_t unsettled;          /* groups with `more` */
    struct sb_record *pending; /* ring, oldest at pending_start */
    size_t pending_start;
    size_t pending_count;
    size_t pending_capacity;
    uint64_t handed_out;      /* records ever */
    uint64_t durable;         /* of these */
    struct sb_flight *graves; /* bytes that the log may still be writing, until record `version` is durable */
    struct sb_flight **graves_end;
    /* Of a message being received. */
    struct rg_entry *received;
    struct wire_span *received_bytes;
    struct wire_configuration *received_configurations;
    size_t received_count;
    /* What the running step gives back. */
    bool given; /* the arrays belong to the last step */
    struct sb_log_entry *records;
    size_t record_count;
    size_t record_capacity;
    struct sb_message *messages;
    size_t message_count;
    size_t message_capacity;
    struct sb_outbound *sent; /* owners of the messages' bytes */
    struct sb_reply *replies;
    size_t reply_count;
    size_t reply_capacity;
    struct sb_flight *refusals; /* owners of the bytes of replies of the shard's own making */
    struct sb_fetch *fetches;
    size_t fetch_count;
    size_t fetch_capacity;
    struct sb_cut *cuts;
    size_t cut_count;
    size_t cut_capacity;
    struct sb_install *installs;
    size_t install_count;
    size_t install_capacity;
};

/* ---- sb_shard.c ---- */

/* A record for the log. Errors: WIRE_E_NOMEM. */
int sb_shard_record(struct sb_group *group, uint64_t index, uint64_t term, struct wire_span payload);
/* Bytes of records that are not needed here any more, but perhaps being written. */
void sb_shard_bury(struct sb_shard *shard, struct sb_flight *list);
/* The member of a group that has applied, durably, what its partition says, and whose log goes on behind that. */
int sb_shard_member(struct sb_group *group, struct rg_start *start, struct rg_update *update);
/* Entries of the group up to `index` may go. */
int sb_shard_cut(struct sb_group *group, uint64_t index);
/* The group's timeout has changed. */
void sb_shard_schedule(struct sb_group *group);

/* ---- sb_group.c; errors break the shard ---- */

/* Take part in the running step. */
void sb_group_activate(struct sb_group *group);
/* Its member was opened; durable_index: the last entry in the log. */
int sb_group_start(struct sb_group *group, const struct rg_update *update);
/* Its term 1 and its first entry are to be logged. */
int sb_group_bootstrap(struct sb_group *group, const struct rg_entry *entry);
/* An event of its partition. */
int sb_group_pass(struct sb_group *group, const struct sb_event *event);
/* An opened message; entries are in the shard's `received`. */
int sb_group_receive(struct sb_group *group, const struct wire_peer_message *message);
/* A record of an entry is durable, the `number`th of all. */
int sb_group_durable(struct sb_group *group, uint64_t index, uint64_t term, uint64_t number);
int sb_group_timeout(struct sb_group *group);
int sb_group_flushed(struct sb_group *group, uint64_t index, uint64_t term);
int sb_group_resign(struct sb_group *group);
/* RECEIVED and INSTALLED. */
int sb_group_checkpoint(struct sb_group *group, uint64_t index);
int sb_group_installed(struct sb_group *group, uint64_t index);
/* Its records are durable so far: a checkpoint that waits for that may go on. */
int sb_group_settled(struct sb_group *group);
/* What its partition has made in this step is logged and sent. */
int sb_group_finish(struct sb_group *group);
void sb_group_close(struct sb_group *group);

/* ---- sb_confirm.c; errors break the shard ---- */

/* Must the reply wait? Then it is copied. */
bool sb_group_must_hold(const struct sb_group *group, const struct sb_reply *reply);
int sb_group_hold(struct sb_group *group, const struct sb_reply *reply);
/* What need not wait any more becomes replies of the step. */
int sb_group_release(struct sb_group *group);
/* Ask the members whether we still lead, if any reply waits that was not asked for, or any at all (`again`): *update is
 * to be carried out, empty if there was nothing to ask. */
int sb_group_ask(struct sb_group *group, bool again, struct rg_update *update);
void sb_group_drop_held(struct sb_group *group);

/* ---- sb_digest.c ---- */

/* What consensus needs to know of an entry. *configuration is set for RG_CONFIGURATION. */
int sb_entry_kind(struct wire_entry entry, struct wire_configuration *configuration, enum rg_entry_kind *kind);

#endif
