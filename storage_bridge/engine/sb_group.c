/*
 * One group of the shard: events go to its member of the consensus, whose updates are carried out here: entries join
 * the partition's flights and the log, state is recorded, messages are filled with entries and queued, what is
 * committed and durable is applied, the partition learns when it leads and when it ceases to.
 *
 * An update is carried out whole before the member is called again. Failure modes: errors of memory, log and store
 * break the shard; a member that stops (rg_fault) does so, too: a replica that does not know what it knows must not go
 * on.
 */
#include "sb_group.h"

#define APPEND_BYTES ((size_t) 512 * 1024) /* of entries in one message, unless a single one is larger */

static int stopped(struct sb_group *group, int status)
{
    if (status == WIRE_E_NOMEM || (group->shard->fault && group->shard->fault->code != WIRE_OK))
        return status;
    return sb_fault_set(group->shard->fault, status == WIRE_OK ? WIRE_E_INTERNAL : status,
                        "replication group %llu cannot go on: %s", (unsigned long long) group->id,
                        rg_fault(group->member)[0] ? rg_fault(group->member) : wire_error_text(status));
}

void sb_group_activate(struct sb_group *group)
{
    struct sb_shard *shard = group->shard;

    if (group->active)
        return;
    group->active = true;
    group->next_active = shard->active;
    shard->active = group;
    sb_partition_begin(group->partition, shard->now.wall_ms, shard->fault);
}

/* ---- state ---- */

static int take_state(struct sb_group *group, uint64_t term, uint64_t voted_for)
{
    struct sb_flight *owner = sb_alloc(sizeof(*owner));
    uint8_t bytes[32];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status = owner ? WIRE_OK : WIRE_E_NOMEM;

    if (status != WIRE_OK)
        return status;
    wire_write_u64(&w, term);
    wire_write_u64(&w, voted_for);
    wire_write_u64(&w, group->installed_index);
    wire_write_u64(&w, group->void_index);
    status = sb_buffer_append(&owner->bytes, bytes, w.size);
    if (status == WIRE_OK)
        status = sb_shard_record(group, 0, term, sb_buffer_span(&owner->bytes));
    if (status != WIRE_OK) {
        sb_flight_free(owner);
        return status;
    }
    group->state_record = group->shard->handed_out;
    sb_shard_bury(group->shard, owner);
    return WIRE_OK;
}

/* ---- entries ---- */

/* An entry that the consensus itself makes: the barrier of a new leader, a configuration. */
static int make_entry(struct sb_group *group, const struct rg_entry *entry, struct sb_buffer *out)
{
    uint8_t configuration[WIRE_CONFIGURATION_SIZE_MAX];
    struct wire_writer c = wire_writer_of(configuration, sizeof(configuration));
    struct wire_effect effect = {.kind = WIRE_EFFECT_CONFIGURATION};
    uint64_t wall_ms = entry->index > 1 ? group->shard->now.wall_ms : 0; /* members make the first entry alike */
    struct wire_entry header = {.group = group->id,
                                .term = entry->term,
                                .index = entry->index,
                                .version = wire_clock_next(sb_partition_last_version(group->partition), wall_ms)};
    struct wire_entry_builder builder;
    struct wire_writer w;
    int status = sb_buffer_reserve(out, WIRE_ENTRY_HEADER_SIZE + WIRE_CONFIGURATION_SIZE_MAX + 64);

    if (status != WIRE_OK)
        return status;
    w = wire_writer_of(out->data, out->capacity);
    wire_entry_begin(&builder, &w, &header);
    if (entry->kind == RG_CONFIGURATION) {
        wire_configuration_write(&c, entry->configuration);
        effect.key = (struct wire_span){configuration, c.size};
        wire_entry_add(&builder, &effect);
    }
    status = wire_entry_end(&builder);
    out->size = w.size;
    return status;
}

/* The bytes of an entry that the partition does not have yet. */
static int find_bytes(struct sb_group *group, const struct rg_entry *entry, struct sb_buffer *out)
{
    struct sb_shard *shard = group->shard;
    uint64_t first = shard->received_count > 0 ? shard->received[0].index : 0;

    if (first > 0 && entry->index >= first && entry->index - first < shard->received_count &&
        shard->received[entry->index - first].term == entry->term) {
        struct wire_span bytes = shard->received_bytes[entry->index - first];

        return sb_buffer_append(out, bytes.data, bytes.size);
    }
    return make_entry(group, entry, out);
}

static int append_entry(struct sb_group *group, const struct rg_entry *entry)
{
    struct sb_log_entry header = {.group = group->id, .index = entry->index, .term = entry->term};
    struct sb_buffer bytes = {0};
    int status = find_bytes(group, entry, &bytes);

    if (status == WIRE_OK)
        status = sb_partition_append(group->partition, &header, &bytes);
    sb_buffer_close(&bytes);
    return status;
}

/* Entries from `index` on go. Their records are not to be taken for those of the same entries, should these come back:
 * what the log holds until then is something else. */
static void drop_entries(struct sb_group *group, uint64_t index)
{
    struct sb_shard *shard = group->shard;
    struct sb_flight *dropped = NULL;

    sb_partition_truncate(group->partition, index, &dropped);
    sb_shard_bury(shard, dropped);
    if (group->replaced_record <= shard->durable || index < group->replaced_index)
        group->replaced_index = index;
    group->replaced_record = shard->handed_out;
}

static int take_entries(struct sb_group *group, const struct rg_update *update)
{
    uint64_t first = update->entries[0].index;
    struct wire_span bytes;
    uint64_t term;
    int status = WIRE_OK;

    if (group->installed_index > 0 || group->void_index > 0) { /* from here on the log is what the store goes on with */
        group->installed_index = group->void_index = 0;
        status = take_state(group, rg_term(group->member), rg_voted_for(group->member));
    }
    /* What the partition has drafted in this step is in flight already. */
    if (sb_partition_flight(group->partition, first, &bytes, &term) == WIRE_OK && term != update->entries[0].term)
        drop_entries(group, first);
    if (group->durable_index >= first)
        group->durable_index = first - 1;
    for (size_t i = 0; i < update->entry_count && status == WIRE_OK; i++) {
        const struct rg_entry *entry = &update->entries[i];

        if (sb_partition_flight(group->partition, entry->index, &bytes, &term) != WIRE_OK)
            status = append_entry(group, entry);
        if (status == WIRE_OK)
            status = sb_partition_flight(group->partition, entry->index, &bytes, &term);
        if (status == WIRE_OK)
            status = sb_shard_record(group, entry->index, entry->term, bytes);
    }
    return status;
}

/* ---- messages ---- */

/* From what is in flight, else from the log. *end: of the entries put in. */
static int add_entries(struct sb_group *group, struct wire_peer_builder *builder, struct sb_buffer *room, uint64_t from,
                       uint64_t last, uint64_t *end)
{
    struct sb_shard *shard = group->shard;
    struct sb_buffer loaded = {0};
    struct wire_span bytes;
    uint64_t term;
    int status = WIRE_OK;

    for (*end = from; *end <= last; ++*end) {
        loaded.size = 0;
        status = sb_partition_flight(group->partition, *end, &bytes, &term);
        if (status == WIRE_E_NOT_FOUND) {
            status = shard->options.read_log(shard->options.log, group->id, *end, &term, &loaded, shard->fault);
            bytes = sb_buffer_span(&loaded);
        }
        if (status != WIRE_OK || (*end > from && builder->w->size + bytes.size > APPEND_BYTES))
            break;
        builder->w->size = room->size = builder->w->size;
        status = sb_buffer_reserve(room, bytes.size + 16);
        if (status != WIRE_OK)
            break;
        builder->w->data = room->data;
        builder->w->capacity = room->capacity;
        wire_peer_add(builder, bytes);
        room->size = builder->w->size;
    }
    sb_buffer_close(&loaded);
    return status;
}

static int queue_message(struct sb_group *group, const struct wire_peer_message *message, uint64_t last, uint64_t *next)
{
    struct sb_outbound *outbound = sb_alloc(sizeof(*outbound));
    struct wire_peer_builder builder;
    struct wire_writer w;
    int status = outbound ? sb_buffer_reserve(&outbound->bytes, WIRE_PEER_HEADER_SIZE + 256) : WIRE_E_NOMEM;

    if (status == WIRE_OK) {
        w = wire_writer_of(outbound->bytes.data, outbound->bytes.capacity);
        wire_peer_begin(&builder, &w, message);
        outbound->bytes.size = w.size;
        if (message->kind == WIRE_PEER_APPEND && message->index < last)
            status = add_entries(group, &builder, &outbound->bytes, message->index + 1, last, next);
        else
            *next = last + 1;
    }
    if (status == WIRE_OK)
        status = wire_peer_end(&builder);
    if (status != WIRE_OK) {
        if (outbound)
            sb_buffer_close(&outbound->bytes);
        sb_free(outbound);
        return status;
    }
    outbound->bytes.size = w.size;
    outbound->to = message->to;
    outbound->record = group->state_record;
    *group->outbox_end = outbound;
    group->outbox_end = &outbound->next;
    if (!group->outgoing) {
        group->outgoing = true;
        group->next_outgoing = group->shard->outgoing;
        group->shard->outgoing = group;
    }
    return WIRE_OK;
}

/* A large APPEND becomes several, each behind the one before. */
static int take_message(struct sb_group *group, const struct wire_peer_message *message)
{
    struct wire_peer_message part = *message;
    uint64_t last = message->index + message->entry_count;
    uint64_t next = 0;
    struct wire_span bytes;
    int status;

    for (;;) {
        status = queue_message(group, &part, message->kind == WIRE_PEER_APPEND ? last : 0, &next);
        if (status != WIRE_OK || message->kind != WIRE_PEER_APPEND || next > last)
            return status;
        part.index = next - 1;
        status = sb_partition_flight(group->partition, part.index, &bytes, &part.index_term);
        if (status == WIRE_E_NOT_FOUND) {
            struct sb_buffer loaded = {0};

            status = group->shard->options.read_log(group->shard->options.log, group->id, part.index, &part.index_term,
                                                    &loaded, group->shard->fault);
            sb_buffer_close(&loaded);
        }
        if (status != WIRE_OK)
            return status;
    }
}

/* ---- applying and leading ---- */

/* Out of the log: at start, and where a replica learns late that entries are committed. */
static int replay_next(struct sb_group *group)
{
    struct sb_shard *shard = group->shard;
    struct sb_log_entry entry = {.group = group->id, .index = sb_partition_applied(group->partition)->index + 1};
    struct sb_buffer bytes = {0};
    int status = shard->options.read_log(shard->options.log, group->id, entry.index, &entry.term, &bytes, shard->fault);

    entry.payload = sb_buffer_span(&bytes);
    if (status == WIRE_OK)
        status = sb_partition_replay(group->partition, &entry, shard->fault);
    else if (status == WIRE_E_NOT_FOUND)
        status = sb_fault_set(shard->fault, WIRE_E_CORRUPT, "log entry %llu of group %llu is missing",
                              (unsigned long long) entry.index, (unsigned long long) group->id);
    sb_buffer_close(&bytes);
    return status;
}

static int apply_committed(struct sb_group *group)
{
    struct sb_event committed = {.kind = SB_EVENT_COMMITTED, .index = rg_commit(group->member)};
    const struct sb_applied *applied = sb_partition_applied(group->partition);
    struct wire_span bytes;
    uint64_t term;
    int status = WIRE_OK;

    if (committed.index > group->durable_index)
        committed.index = group->durable_index;
    if (rg_installing(group->member) || applied->index >= committed.index)
        return WIRE_OK;
    sb_group_activate(group);
    while (status == WIRE_OK && applied->index < committed.index &&
           sb_partition_flight(group->partition, applied->index + 1, &bytes, &term) != WIRE_OK)
        status = replay_next(group);
    return status == WIRE_OK && applied->index < committed.index ? sb_partition_event(group->partition, &committed)
                                                                 : status;
}

static int carry_out(struct sb_group *group, const struct rg_update *update);
static int follow_role(struct sb_group *group);

/* The members that an applied entry has set are told to the consensus. */
static int tell_configuration(struct sb_group *group)
{
    struct rg_entry entry = {.kind = RG_CONFIGURATION};
    struct wire_configuration configuration;
    struct rg_update update = {0};
    int status;

    entry.index = sb_partition_configured(group->partition, &configuration);
    if (entry.index == 0)
        return WIRE_OK;
    entry.configuration = &configuration;
    status = rg_configured(group->member, group->shard->now.boot_ms, &entry, &update);
    return status == WIRE_OK ? carry_out(group, &update) : stopped(group, status);
}

static int hand_over(struct sb_group *group)
{
    struct rg_update update = {0};
    int status;

    group->handing_over = true;
    status = sb_partition_lose(group->partition, SB_LEADER_SOON);
    if (status != WIRE_OK)
        return status;
    status = rg_transfer(group->member, group->shard->now.boot_ms, 0, &update);
    if (status == WIRE_E_MEMBERSHIP)
        return follow_role(group); /* it is alone by now */
    return status == WIRE_OK ? carry_out(group, &update) : stopped(group, status);
}

/* The partition leads when the member does, and has applied everything up to an entry of its own. */
static int follow_role(struct sb_group *group)
{
    bool leads = sb_partition_leads(group->partition);
    bool leader = rg_role(group->member) == RG_LEADER;
    uint64_t applied = sb_partition_applied(group->partition)->index;
    struct wire_span bytes;
    uint64_t term;
    int status = WIRE_OK;

    if (group->handing_over)
        group->patience_ms = group->shard->now.boot_ms + group->shard->options.election_timeout_ms;
    if (!leader || (group->handing_over && !rg_transferring(group->member)))
        group->resigning = group->handing_over = false; /* in vain: it goes on */
    if (leads && (!leader || sb_partition_term(group->partition) != rg_term(group->member))) {
        sb_group_activate(group);
        status = sb_partition_lose(group->partition, leader ? 0 : rg_leader(group->member));
        leads = false;
    } else if (!leads && !leader && sb_partition_waits(group->partition) &&
               (rg_leader(group->member) > 0 || group->shard->now.boot_ms >= group->patience_ms)) {
        sb_group_activate(group);
        status = sb_partition_lose(group->partition, rg_leader(group->member));
    }
    if (status != WIRE_OK || !leader || !rg_is_settled(group->member) || applied != rg_last_index(group->member))
        return status;
    if (!leads && !group->resigning) {
        sb_group_activate(group);
        return sb_partition_lead(group->partition, rg_term(group->member));
    }
    /* What was drafted in this step the member does not know yet. */
    if (leads && group->resigning && !group->handing_over &&
        sb_partition_flight(group->partition, applied + 1, &bytes, &term) != WIRE_OK) {
        sb_group_activate(group);
        return hand_over(group);
    }
    return WIRE_OK;
}

static int ask_for_checkpoint(struct sb_group *group, uint64_t index, bool go)
{
    struct sb_shard *shard = group->shard;
    int status = sb_array_grow((void **) &shard->installs, &shard->install_capacity, shard->install_count,
                               sizeof(*shard->installs));

    if (status == WIRE_OK)
        shard->installs[shard->install_count++] =
            (struct sb_install){.group = group->id, .from = rg_leader(group->member), .index = index, .go = go};
    return status;
}

static int carry_out(struct sb_group *group, const struct rg_update *update)
{
    bool timeout = update->timeout || update->role;
    bool state = update->state;
    int status = WIRE_OK;

    /* A leader of a former term must not take the entries of a new one for its own. */
    if (update->role || update->entry_count > 0) {
        bool own = rg_role(group->member) == RG_LEADER && sb_partition_term(group->partition) == rg_term(group->member);

        if (sb_partition_leads(group->partition) && !own) {
            sb_group_activate(group);
            status = sb_partition_lose(group->partition, rg_leader(group->member));
        }
    }
    if (status == WIRE_OK && update->install) {
        group->installing = true;
        status = ask_for_checkpoint(group, update->checkpoint.index, false);
    }
    if (status == WIRE_OK && state)
        status = take_state(group, rg_term(group->member), rg_voted_for(group->member));
    if (status == WIRE_OK && update->entry_count > 0)
        status = take_entries(group, update);
    for (size_t i = 0; i < update->message_count && status == WIRE_OK; i++)
        status = take_message(group, &update->messages[i]);
    group->shard->received_count = 0;
    if (timeout)
        sb_shard_schedule(group);
    if (status == WIRE_OK)
        status = apply_committed(group);
    if (status == WIRE_OK)
        status = tell_configuration(group);
    if (group->held)
        sb_group_activate(group);
    return status == WIRE_OK ? follow_role(group) : status;
}

/* ---- events ---- */

/* Entries of the log that are not applied yet join the flights again. */
static int load_tail(struct sb_group *group, uint64_t last)
{
    struct sb_shard *shard = group->shard;
    int status = WIRE_OK;

    for (uint64_t at = sb_partition_applied(group->partition)->index + 1; at <= last && status == WIRE_OK; at++) {
        struct sb_log_entry entry = {.group = group->id, .index = at};
        struct sb_buffer bytes = {0};

        status = shard->options.read_log(shard->options.log, group->id, at, &entry.term, &bytes, shard->fault);
        if (status == WIRE_OK)
            status = sb_partition_append(group->partition, &entry, &bytes);
        sb_buffer_close(&bytes);
    }
    return status;
}

int sb_group_bootstrap(struct sb_group *group, const struct rg_entry *entry)
{
    struct rg_update update = {.entries = entry, .entry_count = 1};
    int status = take_state(group, entry->term, 0);

    return status == WIRE_OK ? take_entries(group, &update) : status;
}

int sb_group_start(struct sb_group *group, const struct rg_update *update)
{
    uint64_t last = group->durable_index;
    int status = apply_committed(group);

    sb_shard_schedule(group);
    if (status == WIRE_OK)
        status = load_tail(group, last);
    return status == WIRE_OK ? carry_out(group, update) : status;
}

int sb_group_pass(struct sb_group *group, const struct sb_event *event)
{
    sb_group_activate(group);
    return sb_partition_event(group->partition, event);
}

int sb_group_receive(struct sb_group *group, const struct wire_peer_message *message)
{
    struct sb_shard *shard = group->shard;
    struct rg_update update = {0};
    int status = rg_receive(group->member, shard->now.boot_ms, message, shard->received, &update);

    if (status == WIRE_OK)
        return carry_out(group, &update);
    shard->received_count = 0; /* their bytes are gone when this returns */
    return status == WIRE_E_BAD_FORMAT ? WIRE_OK : stopped(group, status);
}

int sb_group_durable(struct sb_group *group, uint64_t index, uint64_t term, uint64_t number)
{
    struct rg_update update = {0};
    struct wire_span bytes;
    uint64_t present;
    int status;

    /* Replaced meanwhile: the record of its successor follows. */
    if ((number <= group->replaced_record && index >= group->replaced_index) ||
        sb_partition_flight(group->partition, index, &bytes, &present) != WIRE_OK || present != term)
        return WIRE_OK;
    group->durable_index = index;
    status = rg_persisted(group->member, group->shard->now.boot_ms, index, term, &update);
    return status == WIRE_OK ? carry_out(group, &update) : stopped(group, status);
}

/* For replies that wait: do we still lead? */
static int ask(struct sb_group *group, bool again)
{
    struct rg_update update = {0};
    int status = sb_group_ask(group, again, &update);

    if (status != WIRE_OK)
        return stopped(group, status);
    return update.message_count > 0 ? carry_out(group, &update) : sb_group_release(group); /* nobody to ask */
}

int sb_group_timeout(struct sb_group *group)
{
    struct rg_update update = {0};
    int status = rg_timeout(group->member, group->shard->now.boot_ms, &update);

    if (status != WIRE_OK)
        return stopped(group, status);
    sb_shard_schedule(group);
    status = carry_out(group, &update);
    return status == WIRE_OK && group->held ? ask(group, true) : status;
}

int sb_group_flushed(struct sb_group *group, uint64_t index, uint64_t term)
{
    struct sb_shard *shard = group->shard;
    struct wire_configuration configuration;
    struct rg_update update = {0};
    uint64_t configuration_index;
    uint64_t kept = 1; /* the last one stays: a store whose applied index the log does not have has lost its log */
    int status;

    rg_configuration(group->member, &configuration, &configuration_index);
    if (configuration.count > 1)
        kept += shard->options.trailing_entries;
    if (index <= kept || index > sb_partition_applied(group->partition)->index)
        return WIRE_OK;
    status = rg_checkpointed(group->member, shard->now.boot_ms, index, term, index - kept + 1, &update);
    if (status == WIRE_E_MEMBERSHIP)
        return WIRE_OK; /* the members are being changed: later */
    if (status != WIRE_OK)
        return stopped(group, status);
    status = sb_shard_cut(group, index - kept);
    return status == WIRE_OK ? carry_out(group, &update) : status;
}

int sb_group_checkpoint(struct sb_group *group, uint64_t index)
{
    int status;

    if (!group->installing || index <= sb_partition_applied(group->partition)->index)
        return sb_group_installed(group, 0);
    group->installed_index = index;
    status = take_state(group, rg_term(group->member), rg_voted_for(group->member));
    group->install_record = group->state_record;
    return status;
}

int sb_group_settled(struct sb_group *group)
{
    if (group->install_record == 0 || group->install_record > group->shard->durable)
        return WIRE_OK;
    group->install_record = 0;
    return ask_for_checkpoint(group, group->installed_index, true);
}

/* The member begins anew behind the checkpoint: what its log had is in there, or was never committed. */
int sb_group_installed(struct sb_group *group, uint64_t index)
{
    struct sb_shard *shard = group->shard;
    struct rg_start start = {0};
    struct rg_update update = {0};
    int status;

    if (!group->installing)
        return WIRE_OK;
    group->installing = false;
    group->install_record = 0;
    if (index == 0) {
        status = rg_installed(group->member, shard->now.boot_ms, false, &update);
        return status == WIRE_OK ? carry_out(group, &update) : stopped(group, status);
    }
    sb_group_activate(group);
    drop_entries(group, sb_partition_applied(group->partition)->index + 1);
    status = sb_partition_reload(group->partition);
    if (status == WIRE_OK && sb_partition_applied(group->partition)->index != group->installed_index)
        status =
            sb_fault_set(shard->fault, WIRE_E_CORRUPT, "a checkpoint of entry %llu was received, one of %llu installed",
                         (unsigned long long) group->installed_index,
                         (unsigned long long) sb_partition_applied(group->partition)->index);
    if (status != WIRE_OK)
        return status;
    group->durable_index = group->void_index = index;
    start.term = rg_term(group->member);
    start.voted_for = rg_voted_for(group->member);
    rg_close(group->member);
    group->member = NULL;
    status = sb_shard_cut(group, index);
    if (status == WIRE_OK)
        status = sb_shard_member(group, &start, &update);
    if (status != WIRE_OK)
        return status;
    sb_shard_schedule(group);
    return carry_out(group, &update);
}

int sb_group_resign(struct sb_group *group)
{
    struct wire_configuration members;
    uint64_t index;

    rg_configuration(group->member, &members, &index);
    if (rg_role(group->member) != RG_LEADER || group->resigning || wire_configuration_voters(&members) < 2)
        return WIRE_OK;
    group->resigning = true;
    sb_group_activate(group);
    sb_partition_pause(group->partition);
    return follow_role(group);
}

/* The member takes what its partition has drafted. */
static int submit(struct sb_group *group, const struct sb_outcome *outcome)
{
    struct rg_update update = {0};
    struct rg_entry *entries = sb_alloc(outcome->entry_count * sizeof(*entries));
    int status = WIRE_E_NOMEM;

    if (!entries)
        return status;
    for (size_t i = 0; i < outcome->entry_count; i++)
        entries[i] =
            (struct rg_entry){.index = outcome->entries[i].index, .term = outcome->entries[i].term, .kind = RG_EFFECTS};
    status = rg_submit(group->member, group->shard->now.boot_ms, entries, outcome->entry_count, &update);
    if (status == WIRE_OK)
        status = carry_out(group, &update);
    else
        status = stopped(group, status);
    sb_free(entries);
    return status;
}

/* Replies leave, or wait until the members are asked. */
static int take_replies(struct sb_group *group, const struct sb_outcome *outcome)
{
    struct sb_shard *shard = group->shard;
    int status = WIRE_OK;

    for (size_t i = 0; i < outcome->reply_count && status == WIRE_OK; i++) {
        if (sb_group_must_hold(group, &outcome->replies[i])) {
            status = sb_group_hold(group, &outcome->replies[i]);
            continue;
        }
        status = sb_array_grow((void **) &shard->replies, &shard->reply_capacity, shard->reply_count,
                               sizeof(*shard->replies));
        if (status == WIRE_OK)
            shard->replies[shard->reply_count++] = outcome->replies[i];
    }
    return status == WIRE_OK && group->held ? sb_group_release(group) : status;
}

int sb_group_finish(struct sb_group *group)
{
    struct sb_shard *shard = group->shard;
    struct sb_outcome outcome = {0};
    int status = sb_partition_end(group->partition, &outcome);

    shard->unsettled += outcome.more - group->more;
    group->more = outcome.more;
    if (status == WIRE_OK)
        status = take_replies(group, &outcome);
    for (size_t i = 0; i < outcome.fetch_count && status == WIRE_OK; i++) {
        status = sb_array_grow((void **) &shard->fetches, &shard->fetch_capacity, shard->fetch_count,
                               sizeof(*shard->fetches));
        if (status == WIRE_OK)
            shard->fetches[shard->fetch_count++] = outcome.fetches[i];
    }
    if (status == WIRE_OK && outcome.entry_count > 0)
        status = submit(group, &outcome);
    return status == WIRE_OK && group->held ? ask(group, false) : status;
}

void sb_group_close(struct sb_group *group)
{
    if (!group)
        return;
    sb_partition_close(group->partition);
    rg_close(group->member);
    sb_group_drop_held(group);
    while (group->outbox) {
        struct sb_outbound *gone = group->outbox;

        group->outbox = gone->next;
        sb_buffer_close(&gone->bytes);
        sb_free(gone);
    }
    sb_free(group);
}
