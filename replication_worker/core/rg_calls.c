/* What the caller does, has done and wants to know. */
#include "rg_check.h"
#include "rg_heap.h"
#include "rg_internal.h"

int rg_timeout(struct rg_group *group, uint64_t now_ms, struct rg_update *update)
{
    int rc = rg_begin(group, now_ms, (struct rg_load){.terms = 1}, update);

    if (rc != WIRE_OK)
        return rc;
    /* Early ones would make a leader stop sending ahead to its followers. */
    if (group->now_ms >= rg_next_timeout(group) && rg_step_timeout(group))
        rg_begin_term(group);
    return rg_leave(group, update);
}

int rg_submit(struct rg_group *group, uint64_t now_ms, const struct rg_entry *entries, size_t count,
              struct rg_update *update)
{
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (!rg_leads(group) || group->view.transferee != 0)
        return WIRE_E_NOT_LEADER;
    if (count == 0 || count > UINT32_MAX)
        return WIRE_E_BAD_FORMAT;
    for (size_t i = 0; i < count; i++)
        if (entries[i].kind != RG_EFFECTS || entries[i].term != group->view.term ||
            entries[i].index != group->view.last + 1 + i)
            return WIRE_E_BAD_FORMAT;
    rc = rg_begin(group, now_ms, rg_load_of(entries, count), update);
    if (rc != WIRE_OK)
        return rc;
    rg_step_submit(group, entries, count);
    return rg_leave(group, update);
}

int rg_persisted(struct rg_group *group, uint64_t now_ms, uint64_t index, uint64_t term, struct rg_update *update)
{
    uint64_t durable;
    int rc = rg_begin(group, now_ms, (struct rg_load){0}, update);

    if (rc != WIRE_OK)
        return rc;
    rg_pending_done(&group->pending, index, term, &durable);
    if (!group->view.installing)
        rg_step_persisted(group, durable);
    else if (durable > group->stored_meanwhile)
        group->stored_meanwhile = durable;
    return rg_leave(group, update);
}

/* --- configurations and checkpoints --- */

static int reserve_change(struct rg_group *group)
{
    size_t capacity = group->change_capacity + 4;
    struct rg_applied_change *changes;

    if (group->change_count < group->change_capacity)
        return WIRE_OK;
    changes = rg_heap_resize(group->changes, capacity * sizeof(*changes));
    if (changes == NULL)
        return WIRE_E_NOMEM;
    group->changes = changes;
    group->change_capacity = capacity;
    return WIRE_OK;
}

int rg_configured(struct rg_group *group, uint64_t now_ms, const struct rg_entry *entry, struct rg_update *update)
{
    uint64_t newest =
        group->change_count > 0 ? group->changes[group->change_count - 1].index : group->checkpoint.configuration_index;
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (entry->kind != RG_CONFIGURATION || entry->index == 0 || entry->index > group->view.commit ||
        group->view.installing || rg_check_configuration(entry->configuration) != WIRE_OK)
        return WIRE_E_BAD_FORMAT;
    rc = reserve_change(group);
    if (rc == WIRE_OK)
        rc = rg_begin(group, now_ms, (struct rg_load){.configurations = 1}, update);
    if (rc != WIRE_OK)
        return rc;
    if (entry->index > newest)
        group->changes[group->change_count++] = (struct rg_applied_change){entry->index, *entry->configuration};
    rg_step_configured(group, entry->index, entry->configuration);
    return rg_leave(group, update);
}

/* The checkpoint at `index` is the newest, with the members as of there. */
static void note_checkpoint(struct rg_group *group, uint64_t index, uint64_t term)
{
    struct rg_checkpoint *checkpoint = &group->checkpoint;
    size_t kept = 0;

    checkpoint->index = index;
    checkpoint->term = term;
    for (size_t i = 0; i < group->change_count; i++) {
        if (group->changes[i].index <= index) {
            checkpoint->configuration_index = group->changes[i].index;
            checkpoint->configuration = group->changes[i].configuration;
        } else {
            group->changes[kept++] = group->changes[i];
        }
    }
    group->change_count = kept;
}

int rg_checkpointed(struct rg_group *group, uint64_t now_ms, uint64_t index, uint64_t term, uint64_t first_index,
                    struct rg_update *update)
{
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (index == 0 || index > group->view.commit || first_index == 0 || first_index > index + 1)
        return WIRE_E_BAD_FORMAT;
    if (group->view.installing || (group->view.change != 0 && group->view.change <= index))
        return WIRE_E_MEMBERSHIP;
    if (index > group->view.snapshot && rg_term_of(group, index) != term)
        return WIRE_E_BAD_FORMAT;
    rc = rg_begin(group, now_ms, (struct rg_load){.configurations = 1}, update);
    if (rc != WIRE_OK)
        return rc;
    /* What is applied for good is durable, whether or not the log is: a commit index may run ahead of it. */
    if (!rg_step_persisted(group, index))
        return rg_leave(group, update);
    if (index > group->view.snapshot) {
        note_checkpoint(group, index, term);
        rg_step_checkpointed(group, first_index);
    } else if (first_index > group->view.offset + 1) {
        rg_step_checkpointed(group, first_index);
    }
    return rg_leave(group, update);
}

int rg_installed(struct rg_group *group, uint64_t now_ms, bool success, struct rg_update *update)
{
    int rc = rg_begin(group, now_ms, (struct rg_load){.configurations = 1}, update);

    if (rc != WIRE_OK)
        return rc;
    if (!group->view.installing)
        return rg_leave_with(group, WIRE_E_BAD_FORMAT);
    if (!success) {
        rg_step_not_installed(group);
        rg_step_persisted(group, group->stored_meanwhile);
        return rg_leave(group, update);
    }
    rg_pending_clear(&group->pending);
    group->checkpoint = group->incoming;
    group->change_count = 0;
    rg_step_installed(group);
    return rg_leave(group, update);
}

/* --- what a leader is asked to do --- */

int rg_transfer(struct rg_group *group, uint64_t now_ms, uint64_t node, struct rg_update *update)
{
    const struct wire_member *member = wire_configuration_find(&group->configuration, node);
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (!rg_leads(group) || group->view.transferee != 0)
        return WIRE_E_NOT_LEADER;
    if (node == 0 ? rg_is_sole_voter(&group->configuration, group->options.node)
                  : member == NULL || member->role != WIRE_MEMBER_VOTER || node == group->options.node)
        return WIRE_E_MEMBERSHIP;
    rc = rg_begin(group, now_ms, (struct rg_load){0}, update);
    if (rc != WIRE_OK)
        return rc;
    rg_lease_hand(&group->lease);
    rg_step_transfer(group, node);
    return rg_leave(group, update);
}

static bool is_allowed(const struct rg_group *group, const struct wire_configuration *configuration)
{
    uint64_t node, match;

    if (group->view.change != 0 || !rg_is_settled(group))
        return false;
    switch (rg_difference(&group->configuration, configuration, &node)) {
    case RG_ADDS_LEARNER:
    case RG_REMOVES_LEARNER:
        return true;
    case RG_PROMOTES:
        return rg_match_of(group, node, &match) && match >= group->view.commit;
    case RG_DEMOTES:
    case RG_REMOVES_VOTER:
        /* One that leads hands over first. */
        return wire_configuration_voters(&group->configuration) > 3 && node != group->options.node;
    case RG_SAME:
    case RG_DIFFERS_MORE:
        break;
    }
    return false;
}

int rg_change(struct rg_group *group, uint64_t now_ms, const struct wire_configuration *configuration,
              struct rg_update *update)
{
    struct rg_entry entry = {.kind = RG_CONFIGURATION, .configuration = configuration};
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (!rg_leads(group) || group->view.transferee != 0)
        return WIRE_E_NOT_LEADER;
    if (rg_check_configuration(configuration) != WIRE_OK)
        return WIRE_E_BAD_FORMAT;
    if (!is_allowed(group, configuration))
        return WIRE_E_MEMBERSHIP;
    entry.index = group->view.last + 1;
    entry.term = group->view.term;
    rc = rg_begin(group, now_ms, rg_load_of(&entry, 1), update);
    if (rc != WIRE_OK)
        return rc;
    rg_step_submit(group, &entry, 1);
    return rg_leave(group, update);
}

int rg_probe(struct rg_group *group, uint64_t now_ms, uint64_t *sequence, struct rg_update *update)
{
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (!rg_is_settled(group))
        return WIRE_E_NOT_LEADER;
    rc = rg_begin(group, now_ms, (struct rg_load){0}, update);
    if (rc != WIRE_OK)
        return rc;
    *sequence = ++group->lease.probe;
    for (uint32_t i = 0; i < group->configuration.count; i++) {
        const struct wire_member *member = &group->configuration.members[i];
        struct wire_peer_message *message;

        if (member->role != WIRE_MEMBER_VOTER || member->node == group->options.node)
            continue;
        message = rg_add_message(group, WIRE_PEER_PROBE, member->node, group->view.term);
        if (message == NULL)
            break;
        message->sequence = *sequence;
    }
    return rg_leave(group, update);
}

/* --- what there is to know --- */

uint64_t rg_confirmed(const struct rg_group *group)
{
    return !group->stopped && rg_leads(group) ? rg_lease_answered(&group->lease) : 0;
}

uint64_t rg_lease_until(const struct rg_group *group)
{
    return rg_is_settled(group) ? rg_lease_end(&group->lease) : 0;
}

bool rg_is_settled(const struct rg_group *group)
{
    return !group->stopped && rg_leads(group) && group->view.term_known;
}

enum rg_role rg_role(const struct rg_group *group)
{
    return group->view.role;
}

uint64_t rg_term(const struct rg_group *group)
{
    return group->view.term;
}

uint64_t rg_voted_for(const struct rg_group *group)
{
    return group->view.voted_for;
}

uint64_t rg_commit(const struct rg_group *group)
{
    return group->view.commit;
}

uint64_t rg_last_index(const struct rg_group *group)
{
    return group->view.last;
}

bool rg_installing(const struct rg_group *group)
{
    return group->view.installing;
}

bool rg_transferring(const struct rg_group *group)
{
    return rg_leads(group) && group->view.transferee != 0;
}

void rg_configuration(const struct rg_group *group, struct wire_configuration *out, uint64_t *index)
{
    *out = group->configuration;
    *index = group->view.change != 0 ? group->view.change : group->view.configuration_index;
}

bool rg_progress(const struct rg_group *group, uint64_t node, uint64_t *match, uint64_t *heard_ms)
{
    const struct rg_lease_peer *peer = rg_lease_find(&group->lease, node);

    *match = 0;
    *heard_ms = 0;
    if (!rg_leads(group) || peer == NULL || !rg_match_of(group, node, match))
        return false;
    *heard_ms = node == group->options.node ? group->now_ms : peer->heard_ms;
    return true;
}

const char *rg_fault(const struct rg_group *group)
{
    return group->fault;
}
