/*
 * What comes from other members. A message is refused (WIRE_E_BAD_FORMAT) if it cannot be, dropped if it says nothing
 * any more, and else goes to the library in the shape that it is safe with.
 */
#include "rg_check.h"
#include "rg_internal.h"

/* From a leader that can be one: nobody else leads that term. */
static bool is_believable(const struct rg_group *group, const struct wire_peer_message *message)
{
    if (message->term < group->view.term)
        return true;
    return message->term != group->led_term &&
           (message->term != group->heard_term || message->from == group->heard_leader);
}

/* The answer echoes it. */
static void hear(struct rg_group *group, const struct wire_peer_message *message)
{
    if (message->term < group->view.term)
        return;
    if (group->heard_term != message->term)
        group->heard_number = 0;
    group->heard_term = message->term;
    group->heard_leader = message->from;
    group->heard_ms = group->now_ms;
    if (message->sequence > group->heard_number)
        group->heard_number = message->sequence;
}

/* A leader may send what is below everything this member has a term of: committed entries, which the library would
 * refuse or, from the first one on, append at its end. What is committed is the same at both, so the message counts
 * from the commit index on. */
static void skip_committed(const struct rg_group *group, struct rg_append *append)
{
    uint64_t commit = group->view.commit, last = append->index + append->count;

    if (append->term < group->view.term || group->view.installing || group->view.offset == 0 ||
        append->index > group->view.offset || rg_term_of(group, append->index) != 0)
        return;
    if (last <= commit) {
        append->count = 0;
        append->index_term = rg_term_of(group, commit);
    } else {
        append->entries += commit - append->index;
        append->count = last - commit;
        append->index_term = append->entries[-1].term;
    }
    append->index = commit;
}

/* The library takes a configuration for that of the first entry it appends, wherever it stands: each begins a part. */
static size_t part_of(const struct rg_append *append)
{
    size_t count = append->count > 0;

    while (count < append->count && append->entries[count].kind != RG_CONFIGURATION)
        count++;
    return count;
}

/* A leader changes the members only when the change before is committed. The library learns of that when the caller has
 * applied it, which may be later; until then it would roll back to the one before both. */
static bool commit_change_before(struct rg_group *group, const struct rg_append *part)
{
    uint64_t change = group->view.change;

    if (part->count == 0 || part->entries[0].kind != RG_CONFIGURATION || change == 0 || change > part->index)
        return true;
    if (rg_term_of(group, part->index) != part->index_term ||
        rg_term_of(group, part->index + 1) == part->entries[0].term)
        return true;
    return rg_step_configured(group, change, &group->configuration);
}

/* Beyond what a message covers the library may take the commit index back; and while a checkpoint is installed nothing
 * is known of what lies before it. */
static uint64_t commit_of(const struct rg_group *group, const struct rg_append *part, uint64_t commit)
{
    uint64_t covered = part->index + part->count;

    if (commit > covered)
        commit = covered;
    return group->view.installing && commit > group->view.commit ? group->view.commit : commit;
}

static int receive_append(struct rg_group *group, const struct wire_peer_message *message,
                          const struct rg_entry *entries)
{
    struct rg_append rest = {.from = message->from,
                             .term = message->term,
                             .index = message->index,
                             .index_term = message->index_term,
                             .entries = entries,
                             .count = message->entry_count};
    bool goes_on;

    if (!is_believable(group, message))
        return WIRE_E_BAD_FORMAT;
    /* The first entry is the same in every log. */
    if (rest.index == 0 && rest.count > 0 && rg_term_of(group, 1) != 0 && rg_term_of(group, 1) != entries[0].term)
        return WIRE_E_BAD_FORMAT;
    hear(group, message);
    if (rest.term < group->view.term)
        rest.count = 0;
    skip_committed(group, &rest);
    do {
        struct rg_append part = rest;

        part.count = part_of(&rest);
        part.commit = commit_of(group, &part, message->commit);
        if (!commit_change_before(group, &part) || !rg_step_append(group, &part))
            return WIRE_E_INTERNAL;
        rest.index += part.count;
        rest.entries += part.count;
        rest.count -= part.count;
        goes_on = rest.count > 0 && rg_term_of(group, rest.index) == rest.entries[-1].term;
        rest.index_term = goes_on ? rest.entries[-1].term : 0;
    } while (goes_on);
    return WIRE_OK;
}

static int receive_install(struct rg_group *group, const struct wire_peer_message *message)
{
    uint64_t known = rg_term_of(group, message->index);

    if (group->view.installing)
        return WIRE_OK;
    if (!is_believable(group, message))
        return WIRE_E_BAD_FORMAT;
    if (message->term >= group->view.term && message->index <= group->view.commit && known != 0 &&
        known != message->index_term)
        return WIRE_E_BAD_FORMAT;
    hear(group, message);
    if (!rg_step_install(group, message))
        return WIRE_E_INTERNAL;
    if (group->install) {
        group->incoming =
            (struct rg_checkpoint){message->index, message->index_term, message->commit, message->configuration};
        group->stored_meanwhile = 0;
    }
    return WIRE_OK;
}

static int receive_append_result(struct rg_group *group, const struct wire_peer_message *message)
{
    uint64_t match;

    if (!rg_leads(group) || message->term < group->view.term)
        return WIRE_OK;
    if (message->term == group->view.term) {
        if (!rg_match_of(group, message->from, &match))
            return WIRE_OK;
        rg_lease_echo(&group->lease, message->from, message->sequence, group->now_ms);
        /* Late: it has what it refused then. */
        if (message->commit != 0 && message->commit <= match)
            return WIRE_OK;
    }
    return rg_step_message(group, message) ? WIRE_OK : WIRE_E_INTERNAL;
}

static int receive_vote(struct rg_group *group, const struct wire_peer_message *message)
{
    /* A member that restarts has forgotten whom it follows, and with that what it owes that leader's lease. One that was
     * told to stand may: its leader has given the lease up. */
    if (group->now_ms < group->opened_ms + group->options.election_timeout_ms &&
        (message->flags & WIRE_PEER_DISRUPT) == 0)
        return WIRE_OK;
    return rg_step_message(group, message) ? WIRE_OK : WIRE_E_INTERNAL;
}

static int receive_vote_result(struct rg_group *group, const struct wire_peer_message *message)
{
    bool pre_vote = (message->flags & WIRE_PEER_PRE_VOTE) != 0, granted = (message->flags & WIRE_PEER_GRANTED) != 0;

    /* Late ones would raise the term of a member that does not ask any more. */
    if (group->view.role != RG_CANDIDATE || pre_vote != group->view.pre_vote)
        return WIRE_OK;
    if (granted && message->term != group->view.term + pre_vote)
        return WIRE_OK;
    return rg_step_message(group, message) ? WIRE_OK : WIRE_E_INTERNAL;
}

static int receive_timeout_now(struct rg_group *group, const struct wire_peer_message *message)
{
    if (rg_is_sole_voter(&group->configuration, group->options.node) || message->term != group->view.term)
        return WIRE_OK;
    return rg_step_message(group, message) ? WIRE_OK : WIRE_E_INTERNAL;
}

static int receive_probe(struct rg_group *group, const struct wire_peer_message *message)
{
    struct wire_peer_message *answer;

    if (message->term != group->view.term || rg_leader(group) != message->from)
        return WIRE_OK;
    answer = rg_add_message(group, WIRE_PEER_PROBE_RESULT, message->from, message->term);
    if (answer == NULL)
        return WIRE_E_INTERNAL;
    answer->sequence = message->sequence;
    return WIRE_OK;
}

static int receive(struct rg_group *group, const struct wire_peer_message *message, const struct rg_entry *entries)
{
    switch (message->kind) {
    case WIRE_PEER_APPEND:
        return receive_append(group, message, entries);
    case WIRE_PEER_APPEND_RESULT:
        return receive_append_result(group, message);
    case WIRE_PEER_VOTE:
        return receive_vote(group, message);
    case WIRE_PEER_VOTE_RESULT:
        return receive_vote_result(group, message);
    case WIRE_PEER_INSTALL:
        return receive_install(group, message);
    case WIRE_PEER_TIMEOUT_NOW:
        return receive_timeout_now(group, message);
    case WIRE_PEER_PROBE:
        return receive_probe(group, message);
    case WIRE_PEER_PROBE_RESULT:
        if (rg_leads(group) && message->term == group->view.term)
            rg_lease_answer(&group->lease, message->from, message->sequence);
        return WIRE_OK;
    case WIRE_PEER_KIND_COUNT:
        break;
    }
    return WIRE_E_BAD_FORMAT;
}

int rg_receive(struct rg_group *group, uint64_t now_ms, const struct wire_peer_message *message,
               const struct rg_entry *entries, struct rg_update *update)
{
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (message->group != group->options.group || message->to != group->options.node || message->from == 0 ||
        message->from == group->options.node)
        return WIRE_OK;
    rc = rg_check_message(message, entries);
    if (rc != WIRE_OK)
        return rc;
    rc = rg_begin(group, now_ms, rg_load_of(entries, message->entry_count), update);
    if (rc != WIRE_OK)
        return rc;
    rc = receive(group, message, entries);
    if (rc != WIRE_OK)
        return rg_leave_with(group, rc);
    rg_begin_term(group);
    return rg_leave(group, update);
}
