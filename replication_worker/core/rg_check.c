#include "rg_check.h"

#define TIMEOUT_MAX_MS (24 * 60 * 60 * 1000)

int rg_check_options(const struct rg_options *options)
{
    if (options->group == 0 || options->node == 0 || options->heartbeat_ms == 0 || options->in_flight_max == 0 ||
        options->install_timeout_ms == 0)
        return WIRE_E_CONFIG;
    if (options->election_timeout_ms > TIMEOUT_MAX_MS || options->heartbeat_ms >= options->election_timeout_ms ||
        options->lease_ms >= options->election_timeout_ms)
        return WIRE_E_CONFIG;
    return WIRE_OK;
}

int rg_check_configuration(const struct wire_configuration *configuration)
{
    if (configuration == NULL || configuration->count == 0 || configuration->count > WIRE_MEMBERS_MAX ||
        wire_configuration_voters(configuration) == 0)
        return WIRE_E_BAD_FORMAT;
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct wire_member *member = &configuration->members[i];

        if (member->node <= (i > 0 ? member[-1].node : 0))
            return WIRE_E_BAD_FORMAT;
        if (member->role != WIRE_MEMBER_VOTER && member->role != WIRE_MEMBER_LEARNER)
            return WIRE_E_BAD_FORMAT;
    }
    return WIRE_OK;
}

int rg_check_entries(const struct rg_entry *entries, size_t count, uint64_t index, uint64_t term_before,
                     uint64_t term_max)
{
    uint64_t term = term_before > 0 ? term_before : 1;

    for (size_t i = 0; i < count; i++) {
        const struct rg_entry *entry = &entries[i];

        if (entry->index != index + i || entry->term < term || entry->term > term_max)
            return WIRE_E_BAD_FORMAT;
        term = entry->term;
        if (entry->kind == RG_CONFIGURATION && rg_check_configuration(entry->configuration) != WIRE_OK)
            return WIRE_E_BAD_FORMAT;
        if (entry->kind != RG_EFFECTS && entry->kind != RG_BARRIER && entry->kind != RG_CONFIGURATION)
            return WIRE_E_BAD_FORMAT;
        /* Every log begins with its members. */
        if (entry->index == 1 && entry->kind != RG_CONFIGURATION)
            return WIRE_E_BAD_FORMAT;
    }
    return WIRE_OK;
}

int rg_check_start(const struct rg_start *start)
{
    uint64_t applied = start->applied_index, first = start->first_index ? start->first_index : 1;
    uint64_t last = first - 1 + start->entry_count;

    if (start->term > RG_NUMBER_MAX || applied > RG_NUMBER_MAX || first > RG_NUMBER_MAX ||
        start->entry_count > UINT32_MAX)
        return WIRE_E_BAD_FORMAT;
    if (start->term == 0 && (start->voted_for != 0 || applied > 0 || start->entry_count > 0))
        return WIRE_E_BAD_FORMAT;
    if ((applied == 0) != (start->applied_term == 0) || first > applied + 1 || last < applied)
        return WIRE_E_BAD_FORMAT;
    if (applied > 0 && (start->configuration_index == 0 || start->configuration_index > applied ||
                        rg_check_configuration(&start->configuration) != WIRE_OK))
        return WIRE_E_BAD_FORMAT;
    if (applied >= first && start->entries[applied - first].term != start->applied_term)
        return WIRE_E_BAD_FORMAT;
    return rg_check_entries(start->entries, start->entry_count, first, first == applied + 1 ? start->applied_term : 0,
                            start->term);
}

static bool has_flags(const struct wire_peer_message *message, uint16_t allowed)
{
    return (message->flags & ~allowed) == 0;
}

/* An entry that precedes others or ends a checkpoint: both numbers or neither, not of a later term. */
static bool is_position(const struct wire_peer_message *message)
{
    return (message->index == 0) == (message->index_term == 0) && message->index_term <= message->term;
}

int rg_check_message(const struct wire_peer_message *message, const struct rg_entry *entries)
{
    bool possible = false;

    if (message->term == 0 || message->term > RG_NUMBER_MAX || message->index > RG_NUMBER_MAX ||
        message->index_term > RG_NUMBER_MAX || message->commit > RG_NUMBER_MAX || message->sequence > RG_NUMBER_MAX)
        return WIRE_E_BAD_FORMAT;
    if (message->kind != WIRE_PEER_APPEND && message->entry_count != 0)
        return WIRE_E_BAD_FORMAT;
    switch (message->kind) {
    case WIRE_PEER_APPEND:
        possible = has_flags(message, 0) && is_position(message) && message->entry_count <= WIRE_PEER_ENTRIES_MAX &&
                   rg_check_entries(entries, message->entry_count, message->index + 1, message->index_term,
                                    message->term) == WIRE_OK;
        break;
    case WIRE_PEER_APPEND_RESULT:
        /* commit is what was rejected: the hint lies below it. */
        possible = has_flags(message, 0) && message->index_term == 0 &&
                   (message->commit == 0 || message->index < message->commit);
        break;
    case WIRE_PEER_VOTE:
        possible = has_flags(message, WIRE_PEER_PRE_VOTE | WIRE_PEER_DISRUPT) && is_position(message);
        break;
    case WIRE_PEER_VOTE_RESULT:
        possible = has_flags(message, WIRE_PEER_PRE_VOTE | WIRE_PEER_GRANTED);
        break;
    case WIRE_PEER_INSTALL:
        possible = has_flags(message, 0) && is_position(message) && message->index > 0 && message->commit > 0 &&
                   message->commit <= message->index && rg_check_configuration(&message->configuration) == WIRE_OK;
        break;
    case WIRE_PEER_TIMEOUT_NOW:
        possible = has_flags(message, 0) && is_position(message);
        break;
    case WIRE_PEER_PROBE:
    case WIRE_PEER_PROBE_RESULT:
        possible = has_flags(message, 0);
        break;
    case WIRE_PEER_KIND_COUNT:
        break;
    }
    return possible ? WIRE_OK : WIRE_E_BAD_FORMAT;
}

static enum rg_difference of_member(const struct wire_member *before, const struct wire_member *after)
{
    if (before == NULL)
        return after->role == WIRE_MEMBER_LEARNER ? RG_ADDS_LEARNER : RG_DIFFERS_MORE;
    if (after == NULL)
        return before->role == WIRE_MEMBER_LEARNER ? RG_REMOVES_LEARNER : RG_REMOVES_VOTER;
    if (before->role == after->role)
        return RG_SAME;
    return after->role == WIRE_MEMBER_VOTER ? RG_PROMOTES : RG_DEMOTES;
}

enum rg_difference rg_difference(const struct wire_configuration *before, const struct wire_configuration *after,
                                 uint64_t *node)
{
    enum rg_difference found = RG_SAME, one;
    const struct wire_configuration *sides[2] = {before, after};

    *node = 0;
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < sides[side]->count; i++) {
            uint64_t member = sides[side]->members[i].node;

            one = of_member(wire_configuration_find(before, member), wire_configuration_find(after, member));
            if (one == RG_SAME || member == *node)
                continue;
            if (found != RG_SAME)
                return RG_DIFFERS_MORE;
            found = one;
            *node = member;
        }
    }
    return found;
}
