/* The frame of a call: memory before it, the update after. */
#include <inttypes.h>
#include <stdio.h>

#include "rg_heap.h"
#include "rg_internal.h"

#define RETAINED_ENTRIES_MAX 256 /* arrays that grew larger are given back */

bool rg_is_sole_voter(const struct wire_configuration *configuration, uint64_t node)
{
    const struct wire_member *member = wire_configuration_find(configuration, node);

    return member != NULL && member->role == WIRE_MEMBER_VOTER && wire_configuration_voters(configuration) == 1;
}

/* A follower remembers the leader of an old term until it hears of another: such is none. */
uint64_t rg_leader(const struct rg_group *group)
{
    if (rg_leads(group))
        return group->options.node;
    if (group->view.role != RG_FOLLOWER || group->heard_term != group->view.term)
        return 0;
    return group->view.follows;
}

/* With nobody to hear from there is nothing to wait for. */
uint64_t rg_next_timeout(const struct rg_group *group)
{
    if (group->stopped || (rg_leads(group) && group->configuration.count == 1 &&
                           rg_is_sole_voter(&group->configuration, group->options.node)))
        return UINT64_MAX;
    return group->view.timeout;
}

int rg_stop(struct rg_group *group, const char *what, const char *why)
{
    if (!group->stopped)
        snprintf(group->fault, sizeof(group->fault), "%s: %s (term %" PRIu64 ", commit %" PRIu64 ")", what, why,
                 group->view.term, group->view.commit);
    group->stopped = true;
    return WIRE_E_INTERNAL;
}

struct rg_load rg_load_of(const struct rg_entry *entries, size_t count)
{
    struct rg_load load = {.entries = count, .terms = count > 0};

    for (size_t i = 0; i < count; i++) {
        load.terms += i > 0 && entries[i].term != entries[i - 1].term;
        load.configurations += entries[i].kind == RG_CONFIGURATION;
    }
    return load;
}

/* *array of *capacity elements has at least `count`. */
static int reserve(void **array, size_t *capacity, size_t count, size_t size)
{
    void *resized;

    if (count <= *capacity)
        return WIRE_OK;
    resized = rg_heap_resize(*array, count * size);
    if (resized == NULL)
        return WIRE_E_NOMEM;
    *array = resized;
    *capacity = count;
    return WIRE_OK;
}

static int reserve_all(struct rg_group *group, struct rg_load load)
{
    void *entries = group->entries, *configurations = group->configurations, *messages = group->messages;
    int rc;

    rc = reserve(&entries, &group->entry_capacity, load.entries + 1, sizeof(*group->entries));
    group->entries = entries;
    if (rc == WIRE_OK)
        rc = reserve(&configurations, &group->configuration_capacity, load.configurations,
                     sizeof(*group->configurations));
    group->configurations = configurations;
    if (rc == WIRE_OK)
        rc = reserve(&messages, &group->message_capacity, 2 * RG_STEP_MESSAGES_MAX + load.configurations,
                     sizeof(*group->messages));
    group->messages = messages;
    if (rc == WIRE_OK)
        rc = rg_library_reserve(group, load.entries + 1);
    return rc != WIRE_OK ? rc : rg_pending_reserve(&group->pending);
}

static void give_back(struct rg_group *group)
{
    if (group->entry_capacity > RETAINED_ENTRIES_MAX) {
        rg_heap_release(group->entries);
        group->entries = NULL;
        group->entry_capacity = 0;
    }
    if (group->configuration_capacity > WIRE_MEMBERS_MAX) {
        rg_heap_release(group->configurations);
        group->configurations = NULL;
        group->configuration_capacity = 0;
    }
}

int rg_begin(struct rg_group *group, uint64_t now_ms, struct rg_load load, struct rg_update *update)
{
    int rc;

    *update = (struct rg_update){0};
    if (group->stopped)
        return WIRE_E_INTERNAL;
    give_back(group);
    group->entry_count = 0;
    group->configuration_count = 0;
    group->message_count = 0;
    group->install = false;
    rc = reserve_all(group, load);
    if (rc == WIRE_OK)
        rc = rg_heap_enter(rg_library_heap(group, load));
    if (rc != WIRE_OK)
        return rc;
    /* The library relies on time not going back. */
    if (now_ms > group->now_ms)
        group->now_ms = now_ms;
    return WIRE_OK;
}

int rg_leave_with(struct rg_group *group, int rc)
{
    rg_heap_leave();
    return group->stopped ? WIRE_E_INTERNAL : rc;
}

static void tell(struct rg_group *group, struct rg_update *update)
{
    struct rg_told now = {.term = group->view.term,
                          .voted_for = group->view.voted_for,
                          .commit = group->view.commit,
                          .leader = rg_leader(group),
                          .timeout = rg_next_timeout(group),
                          .role = group->view.role};

    update->state = now.term != group->told.term || now.voted_for != group->told.voted_for;
    update->role = now.role != group->told.role || now.leader != group->told.leader;
    update->commit = now.commit != group->told.commit;
    update->timeout = now.timeout != group->told.timeout;
    group->told = now;
}

int rg_leave(struct rg_group *group, struct rg_update *update)
{
    rg_heap_leave();
    if (group->stopped)
        return WIRE_E_INTERNAL;
    if (group->entry_count > 0) {
        const struct rg_entry *last = &group->entries[group->entry_count - 1];

        rg_pending_add(&group->pending, group->entries[0].index, last->index, last->term);
    }
    tell(group, update);
    update->entries = group->entries;
    update->entry_count = group->entry_count;
    update->messages = group->messages;
    update->message_count = group->message_count;
    update->install = group->install;
    if (group->install) {
        update->checkpoint.index = group->incoming.index;
        update->checkpoint.term = group->incoming.term;
        update->checkpoint.configuration = group->incoming.configuration;
        update->checkpoint.configuration_index = group->incoming.configuration_index;
    }
    return WIRE_OK;
}

struct rg_entry *rg_add_entry(struct rg_group *group, uint64_t index, uint64_t term, enum rg_entry_kind kind)
{
    struct rg_entry *entry = &group->entries[group->entry_count];

    if (group->entry_count == group->entry_capacity || (group->entry_count > 0 && entry[-1].index + 1 != index) ||
        (kind == RG_CONFIGURATION && group->configuration_count == group->configuration_capacity)) {
        rg_stop(group, "entries to append", "not those that were given");
        return NULL;
    }
    *entry = (struct rg_entry){.index = index, .term = term, .kind = kind};
    if (kind == RG_CONFIGURATION) {
        /* Of each step only the first entry is one: it is in force. */
        group->configurations[group->configuration_count] = group->configuration;
        entry->configuration = &group->configurations[group->configuration_count++];
    }
    group->entry_count++;
    return entry;
}

struct wire_peer_message *rg_add_message(struct rg_group *group, enum wire_peer_kind kind, uint64_t to, uint64_t term)
{
    struct wire_peer_message *message = &group->messages[group->message_count];

    if (group->message_count == group->message_capacity) {
        rg_stop(group, "messages to send", "more than there is room for");
        return NULL;
    }
    group->message_count++;
    *message = (struct wire_peer_message){
        .kind = kind, .group = group->options.group, .from = group->options.node, .to = to, .term = term};
    return message;
}

void rg_update_close(struct rg_group *group)
{
    rg_heap_release(group->entries);
    rg_heap_release(group->configurations);
    rg_heap_release(group->messages);
    rg_heap_release(group->changes);
    rg_pending_close(&group->pending);
}
