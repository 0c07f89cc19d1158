/*
 * The library's side of a group: opening and closing, steps of libraft, and what each says, copied at once into the
 * update. Of the library only raft_step is used, with no I/O object under it. What its version does wrong or leaves out
 * is made up for here or before it is called, and said where that is.
 */
#include <inttypes.h>
#include <raft.h>
#include <stdio.h>

#include "rg_check.h"
#include "rg_heap.h"
#include "rg_internal.h"

/* 0.15 loses acknowledged writes; and what is reached into below was read in 0.22.1. */
_Static_assert(RAFT_VERSION_NUMBER >= 2201 && RAFT_VERSION_NUMBER < 2300, "libraft is not 0.22, from 0.22.1 on");

#define CAPACITY 0xffff /* of disk, as members tell each other: never short, the threshold is off */
#define RESULT_VERSION 2
#define RESULT_FEATURES 1
#define ADDRESS_SIZE 24           /* decimal node */
#define RETAINED_ENTRIES_MAX 256U /* an array that grew larger is given back */

/* What a step may allocate at most, see rg_heap.h: a configuration, and all but what depends on the call. */
#define HEAP_CONFIGURATION                                                                                             \
    (WIRE_MEMBERS_MAX * (WIRE_MEMBERS_MAX * sizeof(struct raft_server) + ADDRESS_SIZE + 4 * RG_HEAP_OVERHEAD))
#define HEAP_STEP (2048 + 2 * HEAP_CONFIGURATION)
#define HEAP_MESSAGES (3 * 16 * sizeof(struct raft_message) + 2 * RG_HEAP_OVERHEAD)

struct rg_library {
    struct raft raft;
    struct raft_trail saved; /* what it forgot when a checkpoint began to be installed */
    uint64_t saved_stored;
    struct raft_entry *entries; /* for a step */
    size_t entry_capacity;
};

/* --- what the library knows --- */

static unsigned record_count(const struct raft_trail *trail)
{
    return trail->size > 0 ? (trail->back + trail->size - trail->front) % trail->size : 0;
}

uint64_t rg_term_of(const struct rg_group *group, uint64_t index)
{
    const struct raft_trail *trail = &group->library->raft.trail;
    uint64_t term = 0;

    if (index > 0 && index == trail->snapshot.index)
        return trail->snapshot.term;
    if (index <= trail->offset)
        return 0;
    for (unsigned left = record_count(trail); left > 0; left--) {
        unsigned place = (trail->front + left - 1) % trail->size;

        if (trail->records[place].index < index)
            break;
        term = trail->records[place].term;
    }
    return term;
}

bool rg_match_of(const struct rg_group *group, uint64_t node, uint64_t *match)
{
    raft_index index = 0;
    bool found = raft_match_index(&group->library->raft, node, &index) == 0;

    *match = index;
    return found;
}

static enum rg_role role_of(const struct raft *raft)
{
    if (raft->state == RAFT_LEADER)
        return RG_LEADER;
    return raft->state == RAFT_CANDIDATE ? RG_CANDIDATE : RG_FOLLOWER;
}

static void look(struct rg_group *group)
{
    struct raft *raft = &group->library->raft;
    struct rg_view *view = &group->view;

    *view = (struct rg_view){.role = role_of(raft),
                             .term = raft->current_term,
                             .voted_for = raft->voted_for,
                             .commit = raft->commit_index,
                             .last = raft_last_index(raft),
                             .stored = raft->last_stored,
                             .offset = raft->trail.offset,
                             .snapshot = raft->trail.snapshot.index,
                             .change = raft->configuration_uncommitted_index,
                             .configuration_index = raft->configuration_committed_index,
                             .timeout = raft_timeout(raft),
                             .transferee = raft_transferee(raft),
                             .installing = raft->snapshot.installing};
    if (view->role == RG_FOLLOWER)
        view->follows = raft->follower_state.current_leader.id;
    if (view->role == RG_CANDIDATE)
        view->pre_vote = raft->candidate_state.in_pre_vote;
    view->term_known = rg_term_of(group, view->commit) == view->term;
    group->configuration.count = raft->configuration.n;
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];

        group->configuration.members[i].node = server->id;
        group->configuration.members[i].role = server->role == RAFT_VOTER ? WIRE_MEMBER_VOTER : WIRE_MEMBER_LEARNER;
    }
}

int rg_library_reserve(struct rg_group *group, size_t entries)
{
    struct rg_library *library = group->library;
    struct raft_entry *resized;

    if (entries <= library->entry_capacity && library->entry_capacity <= RETAINED_ENTRIES_MAX)
        return WIRE_OK;
    if (entries < RETAINED_ENTRIES_MAX)
        entries = RETAINED_ENTRIES_MAX / 16 > entries ? RETAINED_ENTRIES_MAX / 16 : entries;
    resized = rg_heap_resize(library->entries, entries * sizeof(*resized));
    if (resized == NULL)
        return WIRE_E_NOMEM;
    library->entries = resized;
    library->entry_capacity = entries;
    return WIRE_OK;
}

/* The records of terms double as they grow; all else is bounded by the number of members. */
size_t rg_library_heap(const struct rg_group *group, struct rg_load load)
{
    const struct raft_trail *trail = &group->library->raft.trail;
    size_t records = record_count(trail) + load.terms + 2;
    size_t size = HEAP_STEP + load.configurations * 4 * HEAP_CONFIGURATION;

    if (group->library->raft.n_messages_cap < RG_STEP_MESSAGES_MAX)
        size += HEAP_MESSAGES;
    if (records >= trail->size) /* also to save them, and to begin a term */
        size += 1024 + 5 * (records + 2) * sizeof(*trail->records);
    return size + (trail->size + 2) * sizeof(*trail->records);
}

/* --- emptying a step --- */

static enum rg_entry_kind kind_of(enum raft_entry_type type)
{
    if (type == RAFT_CHANGE)
        return RG_CONFIGURATION;
    return type == RAFT_BARRIER ? RG_BARRIER : RG_EFFECTS;
}

static void take_entries(struct rg_group *group, const struct raft_update *update)
{
    for (unsigned i = 0; i < update->entries.n; i++) {
        const struct raft_entry *entry = &update->entries.batch[i];

        if (rg_add_entry(group, update->entries.index + i, entry->term, kind_of(entry->type)) == NULL)
            break;
    }
    raft_free(update->entries.batch[0].batch);
}

static void take_append_result(const struct rg_group *group, const struct raft_append_entries_result *from,
                               struct wire_peer_message *to)
{
    to->term = from->term;
    to->commit = from->rejected;
    /* To one of an old term the library leaves the index unset. */
    if (group->heard_leader == to->to && group->heard_term == from->term) {
        to->index = from->last_log_index;
        to->sequence = group->heard_number;
    }
}

static void take_vote_result(const struct rg_group *group, const struct raft_request_vote_result *from,
                             struct wire_peer_message *to)
{
    to->term = from->term;
    to->flags = (from->pre_vote ? WIRE_PEER_PRE_VOTE : 0) | (from->vote_granted ? WIRE_PEER_GRANTED : 0);
    /* A candidate with a term behind ours must learn it, or it asks in vain for ever. */
    if (from->pre_vote && !from->vote_granted && to->term < group->view.term)
        to->term = group->view.term;
}

static void take_position(struct wire_peer_message *to, uint64_t term, uint64_t index, uint64_t index_term)
{
    to->term = term;
    to->index = index;
    to->index_term = index_term;
}

static void take_message(struct rg_group *group, const struct raft_message *from)
{
    struct wire_peer_message *to = rg_add_message(group, WIRE_PEER_APPEND, from->server_id, 0);

    if (to == NULL)
        return;
    switch (from->type) {
    case RAFT_APPEND_ENTRIES:
        take_position(to, from->append_entries.term, from->append_entries.prev_log_index,
                      from->append_entries.prev_log_term);
        to->commit = from->append_entries.leader_commit;
        to->entry_count = from->append_entries.n_entries;
        to->sequence = rg_lease_send(&group->lease, group->now_ms);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        to->kind = WIRE_PEER_APPEND_RESULT;
        take_append_result(group, &from->append_entries_result, to);
        break;
    case RAFT_REQUEST_VOTE:
        to->kind = WIRE_PEER_VOTE;
        to->flags = (from->request_vote.pre_vote ? WIRE_PEER_PRE_VOTE : 0) |
                    (from->request_vote.disrupt_leader ? WIRE_PEER_DISRUPT : 0);
        take_position(to, from->request_vote.term, from->request_vote.last_log_index, from->request_vote.last_log_term);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        to->kind = WIRE_PEER_VOTE_RESULT;
        take_vote_result(group, &from->request_vote_result, to);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        /* Of the configuration the library fills in only where it stands. */
        to->kind = WIRE_PEER_INSTALL;
        take_position(to, from->install_snapshot.term, from->install_snapshot.last_index,
                      from->install_snapshot.last_term);
        to->commit = group->checkpoint.configuration_index;
        to->configuration = group->checkpoint.configuration;
        to->sequence = rg_lease_send(&group->lease, group->now_ms);
        break;
    case RAFT_TIMEOUT_NOW:
        to->kind = WIRE_PEER_TIMEOUT_NOW;
        take_position(to, from->timeout_now.term, from->timeout_now.last_log_index, from->timeout_now.last_log_term);
        rg_lease_told(&group->lease, to->to);
        break;
    }
}

/* Who leads and who is a member decides about leases, and about the numbers of the messages that follow. */
static void follow_leadership(struct rg_group *group)
{
    if (!rg_leads(group))
        return;
    if (group->led_term != group->view.term) {
        group->led_term = group->view.term;
        rg_lease_begin(&group->lease, &group->configuration);
    }
    rg_lease_members(&group->lease, &group->configuration);
    if (group->lease.handing && group->view.transferee == 0)
        rg_lease_keep(&group->lease);
}

static bool step(struct rg_group *group, struct raft_event *event, const char *what)
{
    struct raft_update update;
    int rc;

    event->time = group->now_ms;
    event->capacity = CAPACITY;
    rc = raft_step(&group->library->raft, event, &update);
    look(group);
    if (rc != 0) {
        rg_stop(group, what, raft_strerror(rc));
        return false;
    }
    follow_leadership(group);
    if ((update.flags & RAFT_UPDATE_ENTRIES) != 0)
        take_entries(group, &update);
    if ((update.flags & RAFT_UPDATE_SNAPSHOT) != 0) {
        group->install = true;
        raft_configuration_close(&update.snapshot.metadata.configuration);
    }
    for (unsigned i = 0; (update.flags & RAFT_UPDATE_MESSAGES) != 0 && i < update.messages.n; i++)
        take_message(group, &update.messages.batch[i]);
    return !group->stopped;
}

/* --- filling a step --- */

static bool fill_configuration(struct rg_group *group, const struct wire_configuration *from,
                               struct raft_configuration *to)
{
    char address[ADDRESS_SIZE];
    int rc = 0;

    raft_configuration_init(to);
    for (uint32_t i = 0; i < from->count && rc == 0; i++) {
        snprintf(address, sizeof(address), "%" PRIu64, from->members[i].node);
        rc = raft_configuration_add(to, from->members[i].node, address,
                                    from->members[i].role == WIRE_MEMBER_VOTER ? RAFT_VOTER : RAFT_STANDBY);
    }
    if (rc == 0)
        return true;
    raft_configuration_close(to);
    raft_configuration_init(to);
    rg_stop(group, "configuration", raft_strerror(rc));
    return false;
}

static bool encode_configuration(struct rg_group *group, const struct wire_configuration *from, struct raft_buffer *to)
{
    struct raft_configuration configuration;
    int rc;

    *to = (struct raft_buffer){0};
    if (!fill_configuration(group, from, &configuration))
        return false;
    rc = raft_configuration_encode(&configuration, to);
    raft_configuration_close(&configuration);
    if (rc != 0)
        rg_stop(group, "configuration", raft_strerror(rc));
    return rc == 0;
}

static enum raft_entry_type type_of(enum rg_entry_kind kind)
{
    if (kind == RG_CONFIGURATION)
        return RAFT_CHANGE;
    return kind == RG_BARRIER ? RAFT_BARRIER : RAFT_COMMAND;
}

/* The library sees what entries are, but what is in them only of configurations, of which none but the first is one.
 * They share one block of memory, which is the library's from the step on, and ours again with an update's entries. */
static bool fill_entries(struct rg_group *group, const struct rg_entry *entries, size_t count)
{
    struct raft_buffer buffer = {0};

    if (entries[0].kind == RG_CONFIGURATION) {
        if (!encode_configuration(group, entries[0].configuration, &buffer))
            return false;
    } else {
        buffer.base = raft_malloc(1);
        if (buffer.base == NULL) {
            rg_stop(group, "entries", raft_strerror(RAFT_NOMEM));
            return false;
        }
    }
    for (size_t i = 0; i < count; i++)
        group->library->entries[i] = (struct raft_entry){.term = entries[i].term,
                                                         .type = type_of(entries[i].kind),
                                                         .buf = i == 0 ? buffer : (struct raft_buffer){0},
                                                         .batch = buffer.base};
    return true;
}

bool rg_step_submit(struct rg_group *group, const struct rg_entry *entries, size_t count)
{
    struct raft_event event = {.type = RAFT_SUBMIT};

    if (!fill_entries(group, entries, count))
        return false;
    event.submit.entries = group->library->entries;
    event.submit.n = (unsigned) count;
    return step(group, &event, "submit");
}

/* The library sees to that only if entries of other terms are uncommitted. */
void rg_begin_term(struct rg_group *group)
{
    struct rg_entry barrier = {.index = group->view.last + 1, .term = group->view.term, .kind = RG_BARRIER};

    if (group->stopped || !rg_leads(group) || group->begun_term == group->view.term)
        return;
    group->begun_term = group->view.term;
    if (group->entry_count == 0 || group->entries[group->entry_count - 1].term != group->view.term)
        rg_step_submit(group, &barrier, 1);
}

static bool step_received(struct rg_group *group, uint64_t from, struct raft_message *message, const char *what)
{
    struct raft_event event = {.type = RAFT_RECEIVE};
    char address[ADDRESS_SIZE];

    snprintf(address, sizeof(address), "%" PRIu64, from);
    message->server_id = from;
    message->server_address = address;
    event.receive.message = message;
    return step(group, &event, what);
}

bool rg_step_append(struct rg_group *group, const struct rg_append *part)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES};

    message.append_entries.term = part->term;
    message.append_entries.prev_log_index = part->index;
    message.append_entries.prev_log_term = part->index_term;
    message.append_entries.leader_commit = part->commit;
    if (part->count > 0) {
        if (!fill_entries(group, part->entries, part->count))
            return false;
        message.append_entries.entries = group->library->entries;
        message.append_entries.n_entries = (unsigned) part->count;
    }
    return step_received(group, part->from, &message, "append");
}

/* Who is asked may be a voter already and not know it yet. The library has it refuse, and never forget a leader, and a
 * group that loses its leader then may never have another; the thesis (4.1) lets the one who asks decide whose votes
 * count. */
static bool step_vote(struct rg_group *group, uint64_t from, struct raft_message *message)
{
    const struct raft_configuration *known = &group->library->raft.configuration;
    struct raft_server *self = NULL;
    bool stepped;

    for (unsigned i = 0; i < known->n; i++)
        if (known->servers[i].id == group->options.node && known->servers[i].role != RAFT_VOTER)
            self = &known->servers[i];
    if (self == NULL)
        return step_received(group, from, message, "vote");
    if (group->view.role == RG_FOLLOWER && group->now_ms >= group->heard_ms + group->options.election_timeout_ms) {
        struct raft *raft = &group->library->raft;

        raft_free(raft->follower_state.current_leader.address);
        raft->follower_state.current_leader.id = 0;
        raft->follower_state.current_leader.address = NULL;
    }
    self->role = RAFT_VOTER;
    stepped = step_received(group, from, message, "vote");
    self->role = RAFT_STANDBY;
    look(group);
    return stepped;
}

bool rg_step_message(struct rg_group *group, const struct wire_peer_message *message)
{
    struct raft_message to = {.type = RAFT_APPEND_ENTRIES_RESULT};

    if (message->kind == WIRE_PEER_APPEND_RESULT) {
        to.append_entries_result = (struct raft_append_entries_result){RESULT_VERSION, message->term,   message->commit,
                                                                       message->index, RESULT_FEATURES, CAPACITY};
    } else if (message->kind == WIRE_PEER_VOTE) {
        to.type = RAFT_REQUEST_VOTE;
        to.request_vote = (struct raft_request_vote){RESULT_VERSION,
                                                     message->term,
                                                     message->from,
                                                     message->index,
                                                     message->index_term,
                                                     (message->flags & WIRE_PEER_DISRUPT) != 0,
                                                     (message->flags & WIRE_PEER_PRE_VOTE) != 0};
        return step_vote(group, message->from, &to);
    } else if (message->kind == WIRE_PEER_VOTE_RESULT) {
        to.type = RAFT_REQUEST_VOTE_RESULT;
        to.request_vote_result = (struct raft_request_vote_result){RESULT_VERSION,
                                                                   message->term,
                                                                   (message->flags & WIRE_PEER_GRANTED) != 0,
                                                                   (message->flags & WIRE_PEER_PRE_VOTE) != 0,
                                                                   RESULT_FEATURES,
                                                                   CAPACITY};
    } else {
        to.type = RAFT_TIMEOUT_NOW;
        to.timeout_now = (struct raft_timeout_now){0, message->term, message->index, message->index_term};
    }
    return step_received(group, message->from, &to, "message");
}

bool rg_step_configured(struct rg_group *group, uint64_t index, const struct wire_configuration *configuration)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};

    if (!fill_configuration(group, configuration, &event.configuration.conf))
        return false;
    event.configuration.index = index;
    return step(group, &event, "configuration");
}

bool rg_step_persisted(struct rg_group *group, uint64_t index)
{
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};

    if (index <= group->view.stored)
        return true;
    event.persisted_entries.index = index;
    return step(group, &event, "persisted");
}

bool rg_step_timeout(struct rg_group *group)
{
    struct raft *raft = &group->library->raft;
    struct raft_event event = {.type = RAFT_TIMEOUT};

    /* A candidate would stand again without asking first, and with the leave to disturb that a leader gave for one
     * term only: a later leader has its lease. */
    if (raft->state == RAFT_CANDIDATE) {
        raft->candidate_state.in_pre_vote = true;
        raft->candidate_state.disrupt_leader = false;
    }
    return step(group, &event, "timeout");
}

bool rg_step_transfer(struct rg_group *group, uint64_t node)
{
    struct raft_event event = {.type = RAFT_TRANSFER};

    event.transfer.server_id = node;
    return step(group, &event, "transfer");
}

/* --- checkpoints --- */

bool rg_step_checkpointed(struct rg_group *group, uint64_t first_index)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    struct raft_trail *trail = &group->library->raft.trail;
    const struct rg_checkpoint *checkpoint = &group->checkpoint;
    uint64_t trailing = checkpoint->index + 1 - first_index;

    if (!fill_configuration(group, &checkpoint->configuration, &event.snapshot.metadata.configuration))
        return false;
    /* The library cuts the log with a new checkpoint only: make this one new. It has the entry, for there is something
     * to cut. */
    if (trail->snapshot.index == checkpoint->index)
        trail->snapshot.index--;
    event.snapshot.metadata.index = checkpoint->index;
    event.snapshot.metadata.term = checkpoint->term;
    event.snapshot.metadata.configuration_index = checkpoint->configuration_index;
    event.snapshot.trailing = trailing < UINT32_MAX ? (unsigned) trailing : UINT32_MAX;
    return step(group, &event, "checkpoint");
}

/* The library forgets the log when it accepts a checkpoint, and never looks back. This is what it knew, should the
 * checkpoint not arrive. */
static bool save_log(struct rg_group *group)
{
    struct rg_library *library = group->library;
    const struct raft_trail *trail = &library->raft.trail;

    library->saved = *trail;
    library->saved_stored = library->raft.last_stored;
    library->saved.records = NULL;
    if (trail->size == 0)
        return true;
    library->saved.records = raft_malloc(trail->size * sizeof(*trail->records));
    if (library->saved.records == NULL) {
        rg_stop(group, "install", raft_strerror(RAFT_NOMEM));
        return false;
    }
    memcpy(library->saved.records, trail->records, trail->size * sizeof(*trail->records));
    return true;
}

static void forget_saved_log(struct rg_group *group)
{
    raft_free(group->library->saved.records);
    group->library->saved = (struct raft_trail){0};
}

bool rg_step_install(struct rg_group *group, const struct wire_peer_message *message)
{
    struct raft_message to = {.type = RAFT_INSTALL_SNAPSHOT};
    bool stepped;

    if (!fill_configuration(group, &message->configuration, &to.install_snapshot.conf))
        return false;
    if (!save_log(group)) {
        raft_configuration_close(&to.install_snapshot.conf);
        return false;
    }
    to.install_snapshot.term = message->term;
    to.install_snapshot.last_index = message->index;
    to.install_snapshot.last_term = message->index_term;
    to.install_snapshot.conf_index = message->commit;
    stepped = step_received(group, message->from, &to, "install");
    if (!stepped || !group->install)
        forget_saved_log(group);
    return stepped;
}

bool rg_step_installed(struct rg_group *group)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};

    forget_saved_log(group);
    if (!fill_configuration(group, &group->incoming.configuration, &event.persisted_snapshot.metadata.configuration))
        return false;
    event.persisted_snapshot.metadata.index = group->incoming.index;
    event.persisted_snapshot.metadata.term = group->incoming.term;
    event.persisted_snapshot.metadata.configuration_index = group->incoming.configuration_index;
    event.persisted_snapshot.last = true;
    return step(group, &event, "installed");
}

void rg_step_not_installed(struct rg_group *group)
{
    struct rg_library *library = group->library;

    raft_free(library->raft.trail.records);
    library->raft.trail = library->saved;
    library->saved = (struct raft_trail){0};
    library->raft.last_stored = library->saved_stored;
    library->raft.snapshot.installing = false;
    /* What was found to match was the checkpoint. */
    library->raft.follower_state.match = 0;
    look(group);
}

/* --- opening and closing --- */

static const struct wire_configuration *newest_configuration(const struct rg_start *start)
{
    for (size_t i = start->entry_count; i > 0; i--)
        if (start->entries[i - 1].kind == RG_CONFIGURATION)
            return start->entries[i - 1].configuration;
    return &start->configuration;
}

static bool fill_start_entries(struct rg_group *group, const struct rg_start *start, struct raft_entry *entries)
{
    bool filled = true;

    for (size_t i = 0; i < start->entry_count; i++) {
        entries[i] = (struct raft_entry){.term = start->entries[i].term, .type = type_of(start->entries[i].kind)};
        if (entries[i].type == RAFT_CHANGE && filled)
            filled = encode_configuration(group, start->entries[i].configuration, &entries[i].buf);
    }
    return filled;
}

static bool start_raft(struct rg_group *group, const struct rg_start *start, struct raft_entry *entries)
{
    struct raft_event event = {.type = RAFT_START};
    struct raft_snapshot_metadata metadata = {
        .index = start->applied_index, .term = start->applied_term, .configuration_index = start->configuration_index};
    bool sole = rg_is_sole_voter(newest_configuration(start), group->options.node);
    bool started = fill_start_entries(group, start, entries);

    if (started && start->applied_index > 0)
        started = fill_configuration(group, &start->configuration, &metadata.configuration);
    /* A sole voter leads at once, and for the library in the term that was: there it may have sent entries that it then
     * lost. It elects itself for the next one. */
    event.start.term = start->term + sole;
    event.start.voted_for = sole ? group->options.node : start->voted_for;
    event.start.metadata = start->applied_index > 0 ? &metadata : NULL;
    event.start.start_index = start->first_index ? start->first_index : 1;
    event.start.entries = entries;
    event.start.n_entries = (unsigned) start->entry_count;
    started = started && step(group, &event, "start");
    for (size_t i = 0; i < start->entry_count; i++)
        raft_free(entries[i].buf.base);
    return started;
}

static bool init_raft(struct rg_group *group)
{
    const struct rg_options *options = &group->options;
    struct raft *raft = &group->library->raft;
    char address[ADDRESS_SIZE];

    snprintf(address, sizeof(address), "%" PRIu64, options->node);
    if (raft_init(raft, NULL, NULL, options->node, address) != 0) {
        rg_stop(group, "init", raft_strerror(RAFT_NOMEM));
        return false;
    }
    raft->tracer = NULL;
    raft_seed(raft, options->seed);
    raft_set_pre_vote(raft, true);
    raft_set_heartbeat_timeout(raft, options->heartbeat_ms);
    raft_set_election_timeout(raft, options->election_timeout_ms);
    raft_set_install_snapshot_timeout(raft, options->install_timeout_ms);
    raft_set_max_inflight_entries(raft, options->in_flight_max);
    return true;
}

static int start_group(struct rg_group *group, const struct rg_start *start, uint64_t now_ms, struct rg_update *update)
{
    struct rg_load load = rg_load_of(start->entries, start->entry_count);
    struct raft_entry *entries = rg_heap_allocate((start->entry_count + 1) * sizeof(*entries));
    int rc;

    if (entries == NULL)
        return WIRE_E_NOMEM;
    load.entries = 0;
    load.configurations += 2;
    rc = rg_begin(group, now_ms, load, update);
    if (rc == WIRE_OK) {
        group->opened_ms = group->now_ms;
        if (init_raft(group) && start_raft(group, start, entries))
            rg_begin_term(group);
        rc = rg_leave(group, update);
    }
    rg_heap_release(entries);
    return rc;
}

static struct rg_group *make_group(const struct rg_options *options, const struct rg_start *start)
{
    struct rg_group *group = rg_heap_allocate(sizeof(*group));
    struct rg_library *library = rg_heap_allocate(sizeof(*library));

    if (group == NULL || library == NULL) {
        rg_heap_release(group);
        rg_heap_release(library);
        return NULL;
    }
    memset(group, 0, sizeof(*group));
    memset(library, 0, sizeof(*library));
    group->library = library;
    group->options = *options;
    group->lease.node = options->node;
    group->lease.lease_ms = options->lease_ms;
    group->told = (struct rg_told){.term = start->term, .voted_for = start->voted_for, .role = RG_FOLLOWER};
    group->checkpoint = (struct rg_checkpoint){start->applied_index, start->applied_term, start->configuration_index,
                                               start->configuration};
    return group;
}

int rg_open(const struct rg_options *options, const struct rg_start *start, uint64_t now_ms, struct rg_group **out,
            struct rg_update *update)
{
    struct rg_start known = *start;
    struct rg_group *group;
    int rc = rg_heap_is_set() ? rg_check_options(options) : WIRE_E_INTERNAL;

    *update = (struct rg_update){0};
    *out = NULL;
    /* Nobody was told of that term, nor given a vote in it. */
    if (known.applied_term > known.term) {
        known.term = known.applied_term;
        known.voted_for = 0;
    }
    if (rc == WIRE_OK)
        rc = rg_check_start(&known);
    if (rc != WIRE_OK)
        return rc;
    group = make_group(options, start);
    if (group == NULL)
        return WIRE_E_NOMEM;
    rc = start_group(group, &known, now_ms, update);
    if (rc != WIRE_OK) {
        *update = (struct rg_update){0};
        rg_close(group);
        return rc;
    }
    *out = group;
    return WIRE_OK;
}

void rg_close(struct rg_group *group)
{
    if (group == NULL)
        return;
    if (group->library->raft.address != NULL)
        raft_close(&group->library->raft, NULL);
    forget_saved_log(group);
    rg_heap_release(group->library->entries);
    rg_heap_release(group->library);
    rg_update_close(group);
    rg_heap_release(group);
}

/* --- memory of the library --- */

static void *library_allocate(void *data, size_t size)
{
    return rg_heap_allocate(size);
}

static void library_release(void *data, void *pointer)
{
    rg_heap_release(pointer);
}

static void *library_allocate_zeroed(void *data, size_t count, size_t size)
{
    void *block = size > 0 && count > SIZE_MAX / size ? NULL : rg_heap_allocate(count * size);

    return block == NULL ? NULL : memset(block, 0, count * size);
}

static void *library_resize(void *data, void *pointer, size_t size)
{
    return rg_heap_resize(pointer, size);
}

void rg_set_heap(void *(*allocate)(size_t size), void *(*reallocate)(void *pointer, size_t size),
                 void (*release)(void *pointer))
{
    static struct raft_heap heap = {.malloc = library_allocate,
                                    .free = library_release,
                                    .calloc = library_allocate_zeroed,
                                    .realloc = library_resize};

    rg_heap_set(allocate, reallocate, release);
    raft_heap_set(&heap);
}
