/*
 * What a node does with its rg_group, as rg_group.h asks: see sim_group_world.h.
 */
#include "sim_group_world.h"

static bool is_dead(const struct group_world *world, const struct group_node *node)
{
    return node->doomed || !node->up || world->failed;
}

bool group_node_dies(struct group_world *world, struct group_node *node, enum group_point point)
{
    if (node->armed == point && !node->doomed && node->up) {
        node->doomed = true;
        node->armed = POINT_NONE;
        group_count(world, GROUP_FAULT_CRASH_AT);
        world->counters[GROUP_AT_NOTED + (point - POINT_NOTED)]++;
    }
    return is_dead(world, node);
}

/* ---- entries ---- */

static struct group_entry *entry_of(struct group_world *world, struct group_node *node, const struct rg_entry *head,
                                    struct group_entry *const *staged, size_t staged_count)
{
    struct group_entry *before = group_log_at(&node->log, head->index - 1);

    for (size_t i = 0; i < staged_count; i++) {
        if (staged[i]->head.index == head->index && staged[i]->head.term == head->term)
            return staged[i];
    }
    if (head->kind == RG_EFFECTS) {
        group_fail(world, "node %llu is to append entry %llu that nobody gave it", (unsigned long long) node->id,
                   (unsigned long long) head->index);
        return NULL;
    }
    return group_entry_make(world, head, before ? before->head.term : node->applied_term, 0, 0);
}

/* The end of the log is replaced: now and then what replaces it is applied durably before the log has it. */
static void outrun_log(struct group_world *world, struct group_node *node, uint64_t index)
{
    if (world->calm || !group_one_in(world, 3))
        return;
    node->stalled_until = world->now + group_between(world, 100000, 1000000);
    node->next_checkpoint = index;
    node->armed = POINT_CHECKPOINTED;
}

static bool append(struct group_world *world, struct group_node *node, const struct rg_update *update,
                   struct group_entry *const *staged, size_t staged_count, struct group_write *write)
{
    if (update->entries[0].index <= group_log_last(&node->log)) {
        group_count(world, GROUP_LOGS_REPLACED);
        outrun_log(world, node, update->entries[0].index);
    }
    if (update->entries[0].index <= node->applied)
        group_fail(world, "node %llu is to drop entry %llu, which it has applied", (unsigned long long) node->id,
                   (unsigned long long) update->entries[0].index);
    group_log_drop_from(&node->log, update->entries[0].index);
    write->entries = group_allocate(NULL, update->entry_count * sizeof(struct group_entry *));
    for (size_t i = 0; i < update->entry_count && !world->failed; i++) {
        struct group_entry *entry = entry_of(world, node, &update->entries[i], staged, staged_count);
        struct group_entry *before = group_log_at(&node->log, update->entries[i].index - 1);

        if (!entry)
            break;
        if (entry->head.index != group_log_last(&node->log) + 1)
            group_fail(world, "node %llu is to append %llu to a log that ends with %llu", (unsigned long long) node->id,
                       (unsigned long long) entry->head.index, (unsigned long long) group_log_last(&node->log));
        if (before && before->head.term != entry->previous_term)
            group_fail(world, "entry %llu of term %llu follows terms %llu and %llu",
                       (unsigned long long) entry->head.index, (unsigned long long) entry->head.term,
                       (unsigned long long) entry->previous_term, (unsigned long long) before->head.term);
        group_log_append(&node->log, entry);
        write->entries[write->count++] = entry;
    }
    return !world->failed;
}

/* ---- what everybody can see ---- */

static void check_leader(struct group_world *world, struct group_node *node, uint64_t term)
{
    group_reserve(&world->leaders, &world->leader_count, term, sizeof(*world->leaders));
    if (world->leaders[term] != 0 && world->leaders[term] != node->id)
        group_fail(world, "%llu and %llu lead in term %llu", (unsigned long long) world->leaders[term],
                   (unsigned long long) node->id, (unsigned long long) term);
    world->leaders[term] = node->id;
    for (uint64_t index = node->log.first; index < world->committed_count; index++) {
        if (world->committed[index] && world->committed[index]->committed_term < term &&
            group_log_at(&node->log, index) != world->committed[index])
            group_fail(world, "node %llu leads in term %llu without entry %llu of term %llu, which was applied",
                       (unsigned long long) node->id, (unsigned long long) term, (unsigned long long) index,
                       (unsigned long long) world->committed[index]->head.term);
    }
}

static void observe(struct group_world *world, struct group_node *node)
{
    uint64_t term = rg_term(node->group);
    uint64_t commit = rg_commit(node->group);
    bool leads = rg_role(node->group) == RG_LEADER;

    if (term < node->seen_term || commit < node->seen_commit)
        group_fail(world, "node %llu goes back from term %llu, commit %llu to %llu, %llu",
                   (unsigned long long) node->id, (unsigned long long) node->seen_term,
                   (unsigned long long) node->seen_commit, (unsigned long long) term, (unsigned long long) commit);
    node->seen_term = term;
    node->seen_commit = commit;
    node->leased = group_serve_has_lease(world, node);
    if (node->lead_term != 0 && (!leads || term != node->lead_term)) {
        group_serve_deposed(world, node, GROUP_UNKNOWN_DEPOSED);
        node->lead_term = 0;
    }
    if (leads && node->lead_term == 0) {
        node->lead_term = term;
        check_leader(world, node, term);
        group_count(world, GROUP_ELECTIONS);
        group_fault_leader(world, node);
    }
}

/* ---- updates ---- */

static void schedule_timer(struct group_world *world, struct group_node *node)
{
    uint64_t at = group_clock_when(world, node, rg_next_timeout(node->group));

    if (at == UINT64_MAX)
        return;
    at += group_below(world, group_one_in(world, 100) ? 20000 : 1000);
    if (at >= node->timer_at)
        return;
    node->timer_at = at;
    group_push(world, (struct group_event){.at = at,
                                           .kind = EVENT_TIMER,
                                           .node = (uint32_t) (node->id - 1),
                                           .incarnation = node->incarnation,
                                           .a = ++node->timer_id});
}

static void schedule_apply(struct group_world *world, struct group_node *node)
{
    uint64_t delay = group_one_in(world, 3) ? group_below(world, 3000) : 0;

    if (node->applying || node->install != 0 ||
        (rg_commit(node->group) <= node->applied && world->fault != GROUP_OLD_TERM))
        return;
    node->applying = true;
    group_push(world, (struct group_event){.at = world->now + delay,
                                           .kind = EVENT_APPLY,
                                           .node = (uint32_t) (node->id - 1),
                                           .incarnation = node->incarnation});
}

static void begin_install(struct group_world *world, struct group_node *node, const struct rg_update *update)
{
    uint64_t delay = group_one_in(world, 4) ? group_between(world, 100000, 1000000) : group_between(world, 2000, 60000);

    if (node->install != 0 || update->checkpoint.index <= node->applied) {
        group_fail(world, "node %llu, applied %llu, is to install %llu again", (unsigned long long) node->id,
                   (unsigned long long) node->applied, (unsigned long long) update->checkpoint.index);
        return;
    }
    node->install = update->checkpoint.index;
    node->source = (uint32_t) (rg_leader(node->group) - 1);
    node->incoming = group_allocate(NULL, sizeof(*node->incoming));
    *node->incoming = (struct group_checkpoint){.index = update->checkpoint.index,
                                                .term = update->checkpoint.term,
                                                .configuration = update->checkpoint.configuration,
                                                .configuration_index = update->checkpoint.configuration_index};
    group_count(world, GROUP_INSTALLS_BEGUN);
    if (!world->calm && group_one_in(world, 3))
        node->armed = (enum group_point) group_between(world, POINT_MARKED, POINT_UNMARKED);
    group_push(world, (struct group_event){.at = world->now + delay,
                                           .kind = EVENT_FETCHED,
                                           .node = (uint32_t) (node->id - 1),
                                           .incarnation = node->incarnation});
}

static void persisted(struct group_world *world, struct group_node *node, const struct group_entry *last)
{
    struct rg_update update;
    int status = rg_persisted(node->group, group_clock_ms(world, node), last->head.index, last->head.term, &update);

    group_node_update(world, node, status, &update, NULL, 0);
}

void group_node_update(struct group_world *world, struct group_node *node, int status, const struct rg_update *update,
                       struct group_entry *const *staged, size_t staged_count)
{
    struct group_write write = {.kind = WRITE_LOG};
    struct group_entry *early = NULL;
    uint64_t own = 0;

    if (status != WIRE_OK)
        group_fail(world, "node %llu: %s: %s", (unsigned long long) node->id, wire_error_name(status),
                   rg_fault(node->group));
    if (is_dead(world, node))
        return;
    if (update->entry_count > 0 && !append(world, node, update, staged, staged_count, &write)) {
        group_write_release(&write);
        return;
    }
    if (update->state || write.count > 0) {
        if (group_node_dies(world, node, POINT_NOTED)) {
            group_write_release(&write);
            return;
        }
        own = write.id = ++node->write_id;
        write.state = update->state;
        write.term = rg_term(node->group);
        write.voted_for = rg_voted_for(node->group);
        if (update->state)
            node->state_write = own;
        if (write.count > 0 && world->fault == GROUP_PERSISTED_EARLY)
            early = write.entries[write.count - 1];
        group_disk_write(world, node, LOG_DISK, write);
        if (group_node_dies(world, node, POINT_QUEUED))
            return;
    }
    group_send_messages(world, node, update, own);
    if (is_dead(world, node))
        return;
    observe(world, node);
    if (is_dead(world, node))
        return;
    if (update->install)
        begin_install(world, node, update);
    schedule_apply(world, node);
    schedule_timer(world, node);
    if (early)
        persisted(world, node, early);
    group_serve_progress(world, node);
}

/* ---- applying and checkpoints ---- */

static bool is_durable_at(const struct group_node *node, const struct group_entry *entry)
{
    return group_log_at(&node->disk.log, entry->head.index) == entry ||
           node->disk.checkpoint.index >= entry->head.index;
}

/* GROUP_OLD_TERM: what a majority has, whatever its term. */
static uint64_t counted(const struct group_world *world, const struct group_node *node, uint64_t commit)
{
    struct wire_configuration configuration;
    uint64_t index;

    rg_configuration(node->group, &configuration, &index);
    for (index = commit + 1; index <= group_log_last(&node->log); index++) {
        const struct group_entry *entry = group_log_at(&node->log, index);
        uint32_t have = 0;

        for (uint32_t i = 0; i < configuration.count; i++)
            have += configuration.members[i].role == WIRE_MEMBER_VOTER &&
                    is_durable_at(&world->nodes[configuration.members[i].node - 1], entry);
        if (2 * have <= wire_configuration_voters(&configuration) || entry->head.kind == RG_CONFIGURATION)
            break;
        commit = index;
    }
    return commit;
}

static uint64_t applicable(const struct group_world *world, const struct group_node *node)
{
    uint64_t commit = rg_commit(node->group);

    if (world->fault == GROUP_OLD_TERM && rg_role(node->group) == RG_LEADER)
        return counted(world, node, commit > node->applied ? commit : node->applied);
    return commit;
}

static void checkpoint_done(struct group_world *world, struct group_node *node, uint64_t index, uint64_t term)
{
    uint64_t keep = group_one_in(world, 3) ? 0 : group_below(world, world->checkpoint_every / 2);
    uint64_t first = index + 1 > keep + node->log.first ? index + 1 - keep : node->log.first;
    struct rg_update update;
    int status;

    node->checkpointing = false;
    if (node->install != 0)
        return;
    group_count(world, GROUP_CHECKPOINTS);
    status = rg_checkpointed(node->group, group_clock_ms(world, node), index, term, first, &update);
    if (first > node->log.first) {
        group_count(world, GROUP_LOGS_CUT);
        group_count(world, GROUP_FAULT_CHECKPOINT);
    }
    group_node_update(world, node, status, &update, NULL, 0);
    if (is_dead(world, node))
        return;
    group_log_cut(&node->log, first);
    group_disk_write(world, node, LOG_DISK,
                     (struct group_write){.kind = WRITE_CUT, .id = ++node->write_id, .first = first});
}

static void maybe_checkpoint(struct group_world *world, struct group_node *node)
{
    struct group_write write = {.kind = WRITE_CHECKPOINT};

    if (node->checkpointing || node->install != 0 || node->applied < node->next_checkpoint ||
        node->applied > rg_commit(node->group))
        return;
    node->checkpointing = true;
    node->next_checkpoint = node->applied + group_between(world, world->checkpoint_every / 2, world->checkpoint_every);
    write.checkpoint = group_allocate(NULL, sizeof(*write.checkpoint));
    *write.checkpoint = (struct group_checkpoint){.index = node->applied,
                                                  .term = node->applied_term,
                                                  .configuration = node->configuration,
                                                  .configuration_index = node->configuration_index};
    memcpy(write.checkpoint->values, node->values, sizeof(node->values));
    group_disk_write(world, node, STORE_DISK, write);
    if (world->fault == GROUP_CUTS_EARLY)
        checkpoint_done(world, node, node->applied, node->applied_term);
}

static void apply_entry(struct group_world *world, struct group_node *node, struct group_entry *entry)
{
    struct group_entry **committed;

    group_reserve(&world->committed, &world->committed_count, entry->head.index, sizeof(*world->committed));
    committed = &world->committed[entry->head.index];
    if (!*committed) {
        *committed = entry;
        entry->committed_term = rg_term(node->group);
    } else if (*committed != entry)
        group_fail(world, "node %llu applies entry %llu of term %llu, elsewhere it was of term %llu",
                   (unsigned long long) node->id, (unsigned long long) entry->head.index,
                   (unsigned long long) entry->head.term, (unsigned long long) (*committed)->head.term);
    if (!is_durable_at(node, entry))
        group_count(world, GROUP_APPLIED_UNDURABLE);
    group_count(world, GROUP_APPLIED);
    node->applied = entry->head.index;
    node->applied_term = entry->head.term;
    if (entry->head.kind == RG_EFFECTS)
        node->values[entry->key] = entry->value;
    if (entry->head.kind == RG_CONFIGURATION) {
        struct rg_update update;
        int status;

        node->configuration = entry->configuration;
        node->configuration_index = entry->head.index;
        group_count(world, GROUP_CONFIGURATIONS);
        status = rg_configured(node->group, group_clock_ms(world, node), &entry->head, &update);
        group_node_update(world, node, status, &update, NULL, 0);
    }
}

static void apply(struct group_world *world, struct group_node *node)
{
    uint64_t batch = group_one_in(world, 4) ? 1 + group_below(world, 4) : UINT64_MAX;

    node->applying = false;
    for (; batch > 0 && !is_dead(world, node) && !rg_installing(node->group); batch--) {
        struct group_entry *entry = group_log_at(&node->log, node->applied + 1);

        if (!entry || node->applied >= applicable(world, node))
            break;
        apply_entry(world, node, entry);
        if (group_node_dies(world, node, POINT_APPLYING))
            break;
        maybe_checkpoint(world, node);
    }
    if (is_dead(world, node))
        return;
    group_serve_progress(world, node);
    if (batch == 0 && !is_dead(world, node))
        schedule_apply(world, node);
}

/* ---- installs ---- */

static void fetched(struct group_world *world, struct group_node *node)
{
    uint32_t self = (uint32_t) (node->id - 1);
    const struct group_node *source = node->source < world->node_count ? &world->nodes[node->source] : NULL;
    struct rg_update update;
    int status;

    if (source && source->up && group_link_is_open(world, self, node->source) &&
        group_link_is_open(world, node->source, self) && source->disk.checkpoint.index == node->install &&
        (world->calm || !group_one_in(world, 8))) {
        if (source->disk.checkpoint.term != node->incoming->term ||
            source->disk.checkpoint.configuration_index != node->incoming->configuration_index)
            group_fail(world, "node %llu announces checkpoint %llu with another term or configuration",
                       (unsigned long long) source->id, (unsigned long long) node->install);
        *node->incoming = source->disk.checkpoint;
        group_disk_write(world, node, LOG_DISK, (struct group_write){.kind = WRITE_MARK, .id = ++node->write_id});
        return;
    }
    free(node->incoming);
    node->incoming = NULL;
    node->install = 0;
    group_count(world, GROUP_INSTALLS_FAILED);
    status = rg_installed(node->group, group_clock_ms(world, node), false, &update);
    group_node_update(world, node, status, &update, NULL, 0);
}

static void load(struct group_node *node, const struct group_checkpoint *checkpoint)
{
    node->applied = checkpoint->index;
    node->applied_term = checkpoint->term;
    node->configuration = checkpoint->configuration;
    node->configuration_index = checkpoint->configuration_index;
    memset(node->values, 0, sizeof(node->values));
    if (checkpoint->index > 0)
        memcpy(node->values, checkpoint->values, sizeof(node->values));
}

static void installed(struct group_world *world, struct group_node *node)
{
    struct rg_update update;
    int status;

    load(node, node->incoming);
    node->log.first = node->applied + 1;
    node->log.count = 0;
    node->next_checkpoint = node->applied + world->checkpoint_every;
    free(node->incoming);
    node->incoming = NULL;
    node->install = 0;
    group_count(world, GROUP_INSTALLS);
    group_count(world, GROUP_FAULT_INSTALL);
    status = rg_installed(node->group, group_clock_ms(world, node), true, &update);
    group_node_update(world, node, status, &update, NULL, 0);
}

/* ---- events ---- */

static void written(struct group_world *world, struct group_node *node, int disk)
{
    struct group_write write = group_disk_finish(world, node, disk);
    const struct group_queue *queue = &node->queues[disk];
    /* Of what is done at the same time the last may speak for all. */
    bool silent = queue->head < queue->tail && queue->writes[queue->head].at <= world->now &&
                  queue->writes[queue->head].count > 0;

    if (disk == LOG_DISK)
        node->durable_write = write.id;
    switch (write.kind) {
    case WRITE_LOG:
        if (group_node_dies(world, node, POINT_DURABLE))
            break;
        if (write.count > 0 && !silent && world->fault != GROUP_PERSISTED_EARLY)
            persisted(world, node, write.entries[write.count - 1]);
        if (!group_node_dies(world, node, POINT_TOLD))
            group_send_flush(world, node);
        break;
    case WRITE_CUT:
        group_send_flush(world, node);
        break;
    case WRITE_MARK:
        if (is_dead(world, node))
            break;
        group_disk_write(world, node, STORE_DISK,
                         (struct group_write){.kind = WRITE_INSTALL,
                                              .checkpoint = memcpy(group_allocate(NULL, sizeof(*write.checkpoint)),
                                                                   node->incoming, sizeof(*write.checkpoint))});
        if (!group_node_dies(world, node, POINT_MARKED))
            group_send_flush(world, node);
        break;
    case WRITE_INSTALL:
        if (!group_node_dies(world, node, POINT_INSTALLED))
            group_disk_write(world, node, LOG_DISK,
                             (struct group_write){
                                 .kind = WRITE_UNMARK, .id = ++node->write_id, .first = write.checkpoint->index + 1});
        break;
    case WRITE_UNMARK:
        if (group_node_dies(world, node, POINT_UNMARKED))
            break;
        installed(world, node);
        group_send_flush(world, node);
        break;
    case WRITE_CHECKPOINT:
        if (!group_node_dies(world, node, POINT_CHECKPOINTED) && world->fault != GROUP_CUTS_EARLY)
            checkpoint_done(world, node, write.checkpoint->index, write.checkpoint->term);
        break;
    }
    group_write_release(&write);
}

static void receive(struct group_world *world, struct group_node *node, struct group_bytes *bytes)
{
    static struct rg_entry heads[WIRE_PEER_ENTRIES_MAX];
    static struct group_entry *staged[WIRE_PEER_ENTRIES_MAX];
    struct wire_peer_message message;
    struct wire_reader entries;
    struct wire_entry opened;
    struct wire_span span;
    struct rg_update update;
    uint32_t count = 0;
    int status = wire_peer_open(bytes->data, bytes->size, &message, &entries);

    while (status == WIRE_OK && count < message.entry_count) {
        status = wire_peer_next(&entries, &span, &opened);
        staged[count] = status == WIRE_OK ? group_entry_find(world, opened.index, opened.term) : NULL;
        if (!staged[count] || staged[count]->size != span.size ||
            memcmp(staged[count]->bytes, span.data, span.size) != 0)
            status = WIRE_E_CORRUPT;
        else
            heads[count] = staged[count]->head;
        count++;
    }
    if (status != WIRE_OK) {
        group_fail(world, "a message from %u to %u: %s", bytes->from + 1, bytes->to + 1, wire_error_name(status));
        return;
    }
    status = rg_receive(node->group, group_clock_ms(world, node), &message, heads, &update);
    group_node_update(world, node, status, &update, staged, count);
}

static void timer(struct group_world *world, struct group_node *node, uint64_t id)
{
    struct rg_update update;
    int status;

    if (id != node->timer_id && id != 0)
        return;
    if (id != 0)
        node->timer_at = UINT64_MAX;
    else if (rg_next_timeout(node->group) > group_clock_ms(world, node))
        group_count(world, GROUP_FAULT_EARLY_TIMEOUT);
    status = rg_timeout(node->group, group_clock_ms(world, node), &update);
    group_node_update(world, node, status, &update, NULL, 0);
}

void group_node_event(struct group_world *world, struct group_node *node, struct group_event *event)
{
    switch (event->kind) {
    case EVENT_MESSAGE: {
        struct group_bytes *bytes = event->data;

        if (node->up && bytes->epoch == world->links[bytes->from][bytes->to].epoch &&
            group_link_is_open(world, bytes->from, bytes->to))
            receive(world, node, bytes);
        else
            group_count(world, GROUP_MESSAGES_DROPPED);
        free(bytes);
        break;
    }
    case EVENT_DISK:
        written(world, node, (int) event->a);
        break;
    case EVENT_TIMER:
        timer(world, node, event->a);
        break;
    case EVENT_APPLY:
        apply(world, node);
        break;
    case EVENT_TURN:
        group_serve_turn(world, node);
        break;
    case EVENT_READ:
        group_serve_read(world, node, event);
        break;
    case EVENT_ANSWER:
        group_serve_answer(world, node, event);
        break;
    case EVENT_FETCHED:
        fetched(world, node);
        break;
    default:
        abort();
    }
    if (node->doomed)
        group_node_crash(world, node);
}

/* ---- start and crash ---- */

/* Makes of what a crash left what rg_start asks for. */
static void recover(struct group_world *world, struct group_node *node)
{
    struct group_disk *disk = &node->disk;
    const struct group_entry *at = group_log_at(&disk->log, disk->checkpoint.index);

    if (disk->marked && world->fault != GROUP_NO_MARKER) {
        disk->checkpoint = (struct group_checkpoint){0};
        disk->log.first = 1;
        disk->log.count = 0;
        group_count(world, GROUP_STARTS_MARKED);
        at = NULL;
    }
    disk->marked = false;
    if (disk->log.first > disk->checkpoint.index + 1)
        group_fail(world, "node %llu has applied %llu, its log begins with %llu", (unsigned long long) node->id,
                   (unsigned long long) disk->checkpoint.index, (unsigned long long) disk->log.first);
    if (group_log_last(&disk->log) < disk->checkpoint.index) {
        group_count(world, GROUP_STARTS_AHEAD_OF_LOG);
    } else if (at && at->head.term != disk->checkpoint.term && world->fault != GROUP_KEEPS_STALE_LOG) {
        group_count(world, GROUP_STARTS_BESIDE_LOG);
    } else {
        return;
    }
    disk->log.first = disk->checkpoint.index + 1;
    disk->log.count = 0;
}

void group_node_start(struct group_world *world, struct group_node *node)
{
    struct rg_options options = world->options;
    struct group_disk *disk = &node->disk;
    struct rg_entry *entries;
    struct rg_start start;
    struct rg_update update;
    int status;

    recover(world, node);
    if (disk->term < node->told_term)
        group_fail(world, "node %llu comes back with term %llu, it has spoken of %llu", (unsigned long long) node->id,
                   (unsigned long long) disk->term, (unsigned long long) node->told_term);
    if (world->failed)
        return;
    load(node, &disk->checkpoint);
    group_log_copy(&node->log, &disk->log);
    entries = group_allocate(NULL, (disk->log.count + 1) * sizeof(*entries));
    for (size_t i = 0; i < disk->log.count; i++)
        entries[i] = disk->log.entries[i]->head;
    start = (struct rg_start){.term = disk->term,
                              .voted_for = disk->voted_for,
                              .applied_index = node->applied,
                              .applied_term = node->applied_term,
                              .configuration = node->configuration,
                              .configuration_index = node->configuration_index,
                              .first_index = node->log.first,
                              .entries = entries,
                              .entry_count = node->log.count};
    options.node = node->id;
    options.seed = (uint32_t) sim_random_next(&world->random);
    if (node->incarnation > 0 && group_one_in(world, 3)) {
        group_count(world, GROUP_REBOOTS);
        node->clock_us = group_below(world, 100000000);
        node->clock_at = world->now;
    }
    node->up = true;
    node->paused_until = 0;
    node->timer_at = UINT64_MAX;
    node->seen_term = disk->term;
    node->next_checkpoint = node->applied + group_between(world, 1, world->checkpoint_every);
    group_count(world, GROUP_STARTS);
    status = rg_open(&options, &start, group_clock_ms(world, node), &node->group, &update);
    free(entries);
    if (status != WIRE_OK) {
        node->group = NULL;
        node->up = false;
        group_fail(world, "node %llu does not start: %s", (unsigned long long) node->id, wire_error_name(status));
    } else if (!group_node_dies(world, node, POINT_STARTED)) {
        group_node_update(world, node, status, &update, NULL, 0);
    }
    if (node->doomed)
        group_node_crash(world, node);
}

void group_node_crash(struct group_world *world, struct group_node *node)
{
    uint32_t self = (uint32_t) (node->id - 1);

    if (!node->up)
        return;
    group_serve_deposed(world, node, GROUP_UNKNOWN_CRASHED);
    group_disk_crash(world, node);
    rg_close(node->group);
    node->group = NULL;
    for (size_t i = 0; i < node->outbox_count; i++)
        free(node->outbox[i]);
    node->outbox_count = 0;
    free(node->incoming);
    node->incoming = NULL;
    node->install = 0;
    node->up = node->doomed = node->checkpointing = node->applying = node->turning = false;
    node->state_write = node->durable_write = node->write_id;
    node->seen_commit = node->lead_term = 0;
    node->paused_until = 0;
    node->armed = POINT_NONE;
    node->incarnation++;
    for (uint32_t i = 0; i < world->node_count; i++)
        group_link_reconnect(world, self, i);
    group_push(world, (struct group_event){.at = world->now +
                                                 group_between(world, 1000, group_one_in(world, 3) ? 3000000 : 300000),
                                           .kind = EVENT_RESTART,
                                           .node = self});
}
