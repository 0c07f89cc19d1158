/* See sb_shard.h. Events are given to their groups (sb_group.c); what these want is collected. */
#include "sb_group.h"

/* ---- records ---- */

static int grow_pending(struct sb_shard *shard)
{
    size_t capacity = shard->pending_capacity ? 2 * shard->pending_capacity : 64;
    struct sb_record *grown;

    if (shard->pending_count < shard->pending_capacity)
        return WIRE_OK;
    grown = sb_alloc(capacity * sizeof(*grown));
    if (!grown)
        return WIRE_E_NOMEM;
    for (size_t i = 0; i < shard->pending_count; i++)
        grown[i] = shard->pending[(shard->pending_start + i) & (shard->pending_capacity - 1)];
    sb_free(shard->pending);
    shard->pending = grown;
    shard->pending_start = 0;
    shard->pending_capacity = capacity;
    return WIRE_OK;
}

int sb_shard_record(struct sb_group *group, uint64_t index, uint64_t term, struct wire_span payload)
{
    struct sb_shard *shard = group->shard;
    int status = grow_pending(shard);

    if (status == WIRE_OK)
        status = sb_array_grow((void **) &shard->records, &shard->record_capacity, shard->record_count,
                               sizeof(*shard->records));
    if (status != WIRE_OK)
        return status;
    shard->records[shard->record_count++] =
        (struct sb_log_entry){.group = group->id, .index = index, .term = term, .payload = payload};
    shard->pending[(shard->pending_start + shard->pending_count++) & (shard->pending_capacity - 1)] =
        (struct sb_record){group, index, term};
    shard->handed_out++;
    return WIRE_OK;
}

void sb_shard_bury(struct sb_shard *shard, struct sb_flight *list)
{
    while (list) {
        struct sb_flight *buried = list;

        list = buried->next;
        buried->next = NULL;
        buried->version = shard->handed_out;
        *shard->graves_end = buried;
        shard->graves_end = &buried->next;
    }
}

static void clear_graves(struct sb_shard *shard)
{
    while (shard->graves && shard->graves->version <= shard->durable) {
        struct sb_flight *gone = shard->graves;

        shard->graves = gone->next;
        sb_flight_free(gone);
    }
    if (!shard->graves)
        shard->graves_end = &shard->graves;
}

/* Of each group the last of its entries counts: the ones before it are in the log as well. */
static int take_durable(struct sb_shard *shard, uint64_t count)
{
    uint64_t number = shard->durable;
    int status = WIRE_OK;

    if (count > shard->pending_count)
        return sb_fault_set(shard->fault, WIRE_E_INTERNAL, "more records are durable than were handed out");
    shard->durable += count;
    while (count > 0 && status == WIRE_OK) {
        struct sb_record record = shard->pending[shard->pending_start];

        shard->pending_start = (shard->pending_start + 1) & (shard->pending_capacity - 1);
        shard->pending_count--;
        number++;
        count--;
        if (count > 0) {
            const struct sb_record *next = &shard->pending[shard->pending_start];

            if (next->group == record.group && next->index == record.index + 1 && next->term == record.term)
                continue;
        }
        status = record.index > 0 ? sb_group_durable(record.group, record.index, record.term, number)
                                  : sb_group_settled(record.group);
    }
    clear_graves(shard);
    return status;
}

/* ---- timeouts: a heap ---- */

static void place(struct sb_shard *shard, struct sb_group *group, size_t at)
{
    shard->heap[at] = group;
    group->heap_at = at;
}

void sb_shard_schedule(struct sb_group *group)
{
    struct sb_shard *shard = group->shard;
    size_t at = group->heap_at;

    group->timeout_ms = rg_next_timeout(group->member);
    while (at > 0 && shard->heap[(at - 1) / 2]->timeout_ms > group->timeout_ms) {
        place(shard, shard->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < shard->group_count && shard->heap[child + 1]->timeout_ms < shard->heap[child]->timeout_ms)
            child++;
        if (child >= shard->group_count || shard->heap[child]->timeout_ms >= group->timeout_ms)
            break;
        place(shard, shard->heap[child], at);
        at = child;
    }
    place(shard, group, at);
}

static int fire_timeouts(struct sb_shard *shard)
{
    int status = WIRE_OK;

    /* A group whose timeout stays due is fired once. */
    for (size_t i = 0; i < shard->group_count && status == WIRE_OK && shard->heap[0]->timeout_ms <= shard->now.boot_ms;
         i++)
        status = sb_group_timeout(shard->heap[0]);
    return status;
}

/* ---- what a step gives back ---- */

static void free_outbound(struct sb_outbound *list)
{
    while (list) {
        struct sb_outbound *gone = list;

        list = gone->next;
        sb_buffer_close(&gone->bytes);
        sb_free(gone);
    }
}

/* The last step's. What sb_shard_add has left since is still to be handed out. */
static void forget_given(struct sb_shard *shard)
{
    if (!shard->given)
        return;
    free_outbound(shard->sent);
    sb_flights_free(shard->refusals);
    shard->sent = NULL;
    shard->refusals = NULL;
    shard->record_count = shard->message_count = shard->reply_count = shard->fetch_count = shard->cut_count =
        shard->install_count = 0;
    shard->given = false;
}

/* ---- groups ---- */

/* The place of a group, or where it would be. */
static size_t group_place(const struct sb_shard *shard, uint64_t id)
{
    size_t low = 0;
    size_t high = shard->group_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (shard->groups[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct sb_group *find_group(const struct sb_shard *shard, uint64_t id)
{
    size_t at = group_place(shard, id);

    return at < shard->group_count && shard->groups[at]->id == id ? shard->groups[at] : NULL;
}

static int enlist(struct sb_shard *shard, struct sb_group *group)
{
    size_t capacity = shard->group_capacity;
    size_t at = group_place(shard, group->id);
    int status = sb_array_grow((void **) &shard->groups, &capacity, shard->group_count, sizeof(*shard->groups));
    struct sb_group **heap;

    if (status == WIRE_OK && capacity != shard->group_capacity) {
        heap = sb_realloc(shard->heap, capacity * sizeof(*heap));
        if (!heap)
            return WIRE_E_NOMEM;
        shard->heap = heap;
        shard->group_capacity = capacity;
    }
    if (status != WIRE_OK)
        return status;
    memmove(&shard->groups[at + 1], &shard->groups[at], (shard->group_count - at) * sizeof(*shard->groups));
    shard->groups[at] = group;
    group->heap_at = shard->group_count++;
    group->timeout_ms = UINT64_MAX;
    shard->heap[group->heap_at] = group;
    return WIRE_OK;
}

static int read_state(struct sb_group *group, struct wire_span state, struct rg_start *start)
{
    struct wire_reader r = wire_reader_of(state.data, state.size);

    if (state.size == 0)
        return WIRE_OK;
    start->term = wire_read_u64(&r);
    start->voted_for = wire_read_u64(&r);
    group->installed_index = wire_read_u64(&r);
    group->void_index = wire_read_u64(&r);
    return wire_reader_finish(&r) == WIRE_OK ? WIRE_OK
                                             : sb_fault_set(group->shard->fault, WIRE_E_CORRUPT,
                                                            "the state of a replication group in the log is malformed");
}

/* Does the log go on where the store has got to? */
static bool log_has_applied(const struct sb_digest *digest, const struct sb_applied *applied)
{
    uint64_t last = digest->first_index + digest->count - 1;

    if (digest->count == 0)
        return applied->index == 0;
    if (applied->index + 1 == digest->first_index)
        return true;
    return applied->index >= digest->first_index && applied->index <= last &&
           digest->entries[applied->index - digest->first_index].term == applied->term;
}

/* Store and log must be of one state, unless the store is that of a checkpoint: then what is in the log is of before. */
static int check_log(struct sb_group *group, const struct sb_digest *digest, const struct rg_start *start, bool *usable)
{
    const struct sb_applied *applied = sb_partition_applied(group->partition);
    struct sb_fault *fault = group->shard->fault;
    uint64_t last = digest->count > 0 ? digest->first_index + digest->count - 1 : 0;

    *usable = applied->index == 0 || (applied->index != group->installed_index && applied->index != group->void_index);
    if ((digest->count > 0 || applied->index > 0) && start->term == 0)
        return sb_fault_set(fault, WIRE_E_CORRUPT,
                            "the log has no state of a replication group that has applied entry %llu: log files are "
                            "missing",
                            (unsigned long long) applied->index);
    if (!*usable || log_has_applied(digest, applied))
        return WIRE_OK;
    if (last < applied->index)
        return sb_fault_set(fault, WIRE_E_CORRUPT,
                            "the log ends at entry %llu, but the items store has applied entry %llu: log files are "
                            "missing",
                            (unsigned long long) last, (unsigned long long) applied->index);
    return sb_fault_set(fault, WIRE_E_CORRUPT,
                        "the items store has applied log entry %llu of term %llu, which the log does not have: the two "
                        "are not of one state",
                        (unsigned long long) applied->index, (unsigned long long) applied->term);
}

/* The first entry of a new group, alike in all its members, and its first term. */
static int make_new(struct sb_group *group, const struct wire_configuration *members, struct rg_entry *entry,
                    struct rg_start *start)
{
    *entry = (struct rg_entry){.index = 1, .term = 1, .kind = RG_CONFIGURATION, .configuration = members};
    start->term = 1;
    start->first_index = 1;
    start->entries = entry;
    start->entry_count = 1;
    return sb_group_bootstrap(group, entry);
}

int sb_shard_member(struct sb_group *group, struct rg_start *start, struct rg_update *update)
{
    const struct sb_shard_options *shard = &group->shard->options;
    const struct sb_applied *applied = sb_partition_applied(group->partition);
    struct rg_options options = {.group = group->id,
                                 .node = shard->node,
                                 .seed = shard->seed + (uint32_t) group->id * 2654435761u,
                                 .election_timeout_ms = shard->election_timeout_ms,
                                 .heartbeat_ms = shard->heartbeat_ms,
                                 .lease_ms = shard->lease_ms,
                                 .install_timeout_ms = shard->install_timeout_ms,
                                 .in_flight_max = WIRE_PEER_ENTRIES_MAX};
    int status = sb_meta_configuration(shard->store, group->id, &start->configuration, &start->configuration_index,
                                       group->shard->fault);

    if (status != WIRE_OK)
        return status;
    start->applied_index = applied->index;
    start->applied_term = applied->term;
    if (start->entry_count == 0)
        start->first_index = applied->index + 1;
    return rg_open(&options, start, group->shard->now.boot_ms, &group->member, update);
}

int sb_shard_cut(struct sb_group *group, uint64_t index)
{
    struct sb_shard *shard = group->shard;
    int status = sb_array_grow((void **) &shard->cuts, &shard->cut_capacity, shard->cut_count, sizeof(*shard->cuts));

    if (status == WIRE_OK)
        shard->cuts[shard->cut_count++] = (struct sb_cut){.group = group->id, .index = index};
    return status;
}

/* What the member is told of its log: not more of what is applied than it may have to send to others. */
static void take_log(struct sb_group *group, const struct sb_digest *digest, struct rg_start *start)
{
    uint64_t applied = sb_partition_applied(group->partition)->index;
    uint64_t trailing = group->shard->options.trailing_entries + 1;
    size_t skip = 0;

    if (applied > trailing && digest->first_index < applied + 1 - trailing)
        skip = (size_t) (applied + 1 - trailing - digest->first_index);
    start->first_index = digest->first_index + skip;
    start->entries = digest->entries + skip;
    start->entry_count = digest->count - skip;
    group->durable_index = digest->first_index + digest->count - 1;
}

static int open_member(struct sb_group *group, struct wire_span state, const struct sb_digest *digest,
                       const struct wire_configuration *members)
{
    struct rg_start start = {0};
    struct rg_update update = {0};
    struct rg_entry first;
    bool usable;
    int status = read_state(group, state, &start);

    if (status == WIRE_OK)
        status = check_log(group, digest, &start, &usable);
    if (status != WIRE_OK)
        return status;
    group->durable_index = sb_partition_applied(group->partition)->index;
    if (usable && digest->count > 0)
        take_log(group, digest, &start);
    else if (!usable) {
        group->void_index = group->durable_index; /* should another checkpoint come before an entry */
        status = sb_shard_cut(group, group->durable_index);
    } else if (start.term == 0 && members->count > 0)
        status = make_new(group, members, &first, &start);
    else if (members->count > 0)
        status = sb_fault_set(group->shard->fault, WIRE_E_CORRUPT,
                              "the log has the state of replication group %llu, but no entries: log files are missing",
                              (unsigned long long) group->id);
    if (status == WIRE_OK)
        status = sb_shard_member(group, &start, &update);
    return status == WIRE_OK ? sb_group_start(group, &update) : status;
}

int sb_shard_add(struct sb_shard *shard, struct sb_now now, uint64_t id, struct wire_span state,
                 const struct sb_digest *digest, const struct wire_configuration *members,
                 struct sb_transactions *transactions, struct sb_fault *fault)
{
    struct sb_partition_options options = {.group = id,
                                           .store = shard->options.store,
                                           .transactions = transactions,
                                           .max_in_flight_bytes = shard->options.max_in_flight_bytes,
                                           .settle_keys_max = shard->options.settle_keys_max,
                                           .portions = shard->options.portions};
    struct sb_group *group = sb_alloc(sizeof(*group));
    int status = WIRE_E_NOMEM;

    if (!group)
        return status;
    forget_given(shard);
    shard->now = now;
    shard->fault = fault;
    *group = (struct sb_group){.id = id, .shard = shard};
    group->outbox_end = &group->outbox;
    group->held_end = &group->held;
    status = sb_partition_open(&options, &group->partition, fault);
    if (status == WIRE_OK)
        status = enlist(shard, group);
    if (status != WIRE_OK) {
        sb_group_close(group);
        return status;
    }
    status = open_member(group, state, digest, members);
    if (status != WIRE_OK && fault->code == WIRE_OK)
        return sb_fault_set(fault, status, "replication group %llu could not start: %s", (unsigned long long) id,
                            wire_error_text(status));
    return status;
}

/* ---- events ---- */

static int make_received(struct sb_shard *shard)
{
    if (!shard->received)
        shard->received = sb_alloc(WIRE_PEER_ENTRIES_MAX * sizeof(*shard->received));
    if (!shard->received_bytes)
        shard->received_bytes = sb_alloc(WIRE_PEER_ENTRIES_MAX * sizeof(*shard->received_bytes));
    if (!shard->received_configurations)
        shard->received_configurations = sb_alloc(WIRE_PEER_ENTRIES_MAX * sizeof(*shard->received_configurations));
    return shard->received && shard->received_bytes && shard->received_configurations ? WIRE_OK : WIRE_E_NOMEM;
}

/* The entries of a message, as the consensus wants them. Versions that do not grow would make them none for the
 * partition. Errors: WIRE_E_BAD_FORMAT. */
static int open_received(struct sb_shard *shard, const struct sb_group *group, const struct wire_peer_message *message,
                         struct wire_reader *entries)
{
    uint64_t term = message->index_term;
    uint64_t version = 0;
    struct wire_entry entry;

    for (size_t i = 0; i < message->entry_count; i++) {
        struct rg_entry *received = &shard->received[i];
        uint64_t known = sb_partition_version(group->partition, message->index + i, term);
        int status = wire_peer_next(entries, &shard->received_bytes[i], &entry);

        if (status == WIRE_OK && (entry.version <= version || entry.version <= known))
            status = WIRE_E_BAD_FORMAT;
        if (status != WIRE_OK)
            return status;
        term = entry.term;
        version = entry.version;
        *received = (struct rg_entry){.index = entry.index, .term = entry.term};
        received->configuration = &shard->received_configurations[i];
        status = sb_entry_kind(entry, &shard->received_configurations[i], &received->kind);
        if (status != WIRE_OK)
            return status;
    }
    return WIRE_OK;
}

/* What a peer sends is dropped when it is not what it should be: the link, and the sender's log, know more of it. */
static int receive(struct sb_shard *shard, const struct sb_event *event)
{
    struct wire_peer_message message;
    struct wire_reader entries;
    struct sb_group *group;
    int status = wire_peer_open(event->bytes.data, event->bytes.size, &message, &entries);

    shard->received_count = 0;
    if (status != WIRE_OK || message.from != event->token || message.to != shard->options.node)
        return WIRE_OK;
    group = find_group(shard, message.group);
    if (!group)
        return WIRE_OK;
    status = message.entry_count > 0 ? make_received(shard) : WIRE_OK;
    if (status != WIRE_OK)
        return status;
    if (open_received(shard, group, &message, &entries) != WIRE_OK)
        return WIRE_OK;
    shard->received_count = message.entry_count;
    return sb_group_receive(group, &message);
}

static int refuse(struct sb_shard *shard, const struct sb_event *event, int code, uint64_t leader)
{
    struct wire_reply header = {.status = code, .snapshot = leader};
    struct sb_flight *owner = sb_alloc(sizeof(*owner));
    struct wire_request request;
    struct wire_writer w;
    int status = owner ? sb_buffer_reserve(&owner->bytes, WIRE_REPLY_HEADER_SIZE) : WIRE_E_NOMEM;

    if (status == WIRE_OK)
        status = sb_array_grow((void **) &shard->replies, &shard->reply_capacity, shard->reply_count,
                               sizeof(*shard->replies));
    if (status != WIRE_OK) {
        sb_flight_free(owner);
        return status;
    }
    w = wire_writer_of(owner->bytes.data, owner->bytes.capacity);
    wire_reply_write(&w, &header);
    owner->bytes.size = w.size;
    owner->next = shard->refusals;
    shard->refusals = owner;
    status = wire_request_open(event->bytes.data, event->bytes.size, &request);
    shard->replies[shard->reply_count++] =
        (struct sb_reply){.token = event->token,
                          .operation = status == WIRE_OK ? request.operation : WIRE_WRITE,
                          .bytes = sb_buffer_span(&owner->bytes)};
    return WIRE_OK;
}

static int request(struct sb_shard *shard, const struct sb_event *event)
{
    struct sb_group *group = find_group(shard, event->group);

    if (!group || rg_role(group->member) != RG_LEADER)
        return refuse(shard, event, WIRE_E_NOT_LEADER, group ? rg_leader(group->member) : 0);
    return sb_group_pass(group, event);
}

/* To every group that may care. */
static int broadcast(struct sb_shard *shard, const struct sb_event *event)
{
    int status = WIRE_OK;

    for (size_t i = 0; i < shard->group_count && status == WIRE_OK; i++) {
        struct sb_group *group = shard->groups[i];

        if (event->kind == SB_EVENT_FULL || group->more || (event->horizon > 0 && sb_partition_leads(group->partition)))
            status = sb_group_pass(group, event);
    }
    return status;
}

static int resign(struct sb_shard *shard)
{
    int status = WIRE_OK;

    for (size_t i = 0; i < shard->group_count && status == WIRE_OK; i++)
        status = sb_group_resign(shard->groups[i]);
    return status;
}

static int handle(struct sb_shard *shard, const struct sb_event *event)
{
    struct sb_group *group;

    switch (event->kind) {
    case SB_EVENT_REQUEST:
        return request(shard, event);
    case SB_EVENT_MESSAGE:
        return receive(shard, event);
    case SB_EVENT_DURABLE:
        return take_durable(shard, event->index);
    case SB_EVENT_TICK:
    case SB_EVENT_FULL:
        return broadcast(shard, event);
    case SB_EVENT_FETCHED:
        group = find_group(shard, event->group);
        return group ? sb_group_pass(group, event) : WIRE_OK;
    case SB_EVENT_FLUSHED:
        group = find_group(shard, event->group);
        return group ? sb_group_flushed(group, event->index, event->token) : WIRE_OK;
    case SB_EVENT_RECEIVED:
        group = find_group(shard, event->group);
        return group ? sb_group_checkpoint(group, event->index) : WIRE_OK;
    case SB_EVENT_INSTALLED:
        group = find_group(shard, event->group);
        return group ? sb_group_installed(group, event->index) : WIRE_OK;
    case SB_EVENT_RESIGN:
        return resign(shard);
    case SB_EVENT_COMMITTED:
        break;
    }
    return sb_fault_set(shard->fault, WIRE_E_INTERNAL, "an event of kind %d is not for a shard", (int) event->kind);
}

/* ---- steps ---- */

static void begin_step(struct sb_shard *shard, struct sb_now now, struct sb_fault *fault)
{
    forget_given(shard);
    shard->now = now;
    shard->fault = fault;
    for (struct sb_group *group = shard->active; group; group = group->next_active)
        sb_partition_begin(group->partition, now.wall_ms, fault); /* sb_shard_add had begun */
}

/* Messages whose term and vote are durable leave, in order. */
static int collect_messages(struct sb_shard *shard, struct sb_group *group)
{
    while (group->outbox && group->outbox->record <= shard->durable) {
        struct sb_outbound *ready = group->outbox;
        int status = sb_array_grow((void **) &shard->messages, &shard->message_capacity, shard->message_count,
                                   sizeof(*shard->messages));

        if (status != WIRE_OK)
            return status;
        group->outbox = ready->next;
        if (!group->outbox)
            group->outbox_end = &group->outbox;
        ready->next = shard->sent;
        shard->sent = ready;
        shard->messages[shard->message_count++] = (struct sb_message){ready->to, sb_buffer_span(&ready->bytes)};
    }
    return WIRE_OK;
}

/* Everything that was touched in this step. Groups whose messages wait for a record are visited each time. */
static int finish_groups(struct sb_shard *shard, bool *more)
{
    int status = WIRE_OK;

    while (shard->active && status == WIRE_OK) {
        struct sb_group *group = shard->active;

        status = sb_group_finish(group);
        shard->active = group->next_active;
        group->active = false;
    }
    for (struct sb_group **link = &shard->outgoing; *link && status == WIRE_OK;) {
        struct sb_group *group = *link;

        status = collect_messages(shard, group);
        if (group->outbox)
            link = &group->next_outgoing;
        else {
            *link = group->next_outgoing;
            group->outgoing = false;
        }
    }
    *more = shard->unsettled > 0;
    return status;
}

int sb_shard_step(struct sb_shard *shard, struct sb_now now, const struct sb_event *events, size_t count,
                  struct sb_step *out, struct sb_fault *fault)
{
    bool more = false;
    int status = WIRE_OK;

    begin_step(shard, now, fault);
    for (size_t i = 0; i < count && status == WIRE_OK; i++)
        status = handle(shard, &events[i]);
    if (status == WIRE_OK)
        status = fire_timeouts(shard);
    if (status == WIRE_OK)
        status = finish_groups(shard, &more);
    *out = (struct sb_step){.records = shard->records,
                            .record_count = shard->record_count,
                            .messages = shard->messages,
                            .message_count = shard->message_count,
                            .replies = shard->replies,
                            .reply_count = shard->reply_count,
                            .fetches = shard->fetches,
                            .fetch_count = shard->fetch_count,
                            .cuts = shard->cuts,
                            .cut_count = shard->cut_count,
                            .installs = shard->installs,
                            .install_count = shard->install_count,
                            .timeout_ms = shard->group_count > 0 ? shard->heap[0]->timeout_ms : UINT64_MAX,
                            .more = more};
    shard->given = true;
    return status;
}

/* ---- life ---- */

int sb_shard_open(const struct sb_shard_options *options, struct sb_shard **out)
{
    struct sb_shard *shard = sb_alloc(sizeof(*shard));

    if (!shard)
        return WIRE_E_NOMEM;
    shard->options = *options;
    shard->graves_end = &shard->graves;
    rg_set_heap(sb_alloc, sb_realloc, sb_free);
    *out = shard;
    return WIRE_OK;
}

void sb_shard_close(struct sb_shard *shard)
{
    if (!shard)
        return;
    begin_step(shard, shard->now, NULL);
    for (size_t i = 0; i < shard->group_count; i++)
        sb_group_close(shard->groups[i]);
    sb_flights_free(shard->graves);
    sb_free(shard->groups);
    sb_free(shard->heap);
    sb_free(shard->pending);
    sb_free(shard->received);
    sb_free(shard->received_bytes);
    sb_free(shard->received_configurations);
    sb_free(shard->records);
    sb_free(shard->messages);
    sb_free(shard->replies);
    sb_free(shard->fetches);
    sb_free(shard->cuts);
    sb_free(shard->installs);
    sb_free(shard);
}

bool sb_shard_status(const struct sb_shard *shard, uint64_t id, struct sb_group_status *out)
{
    const struct sb_group *group = find_group(shard, id);

    if (!group)
        return false;
    *out = (struct sb_group_status){.role = rg_role(group->member),
                                    .leads = sb_partition_leads(group->partition),
                                    .installing = group->installing,
                                    .leader = rg_leader(group->member),
                                    .term = rg_term(group->member),
                                    .commit_index = rg_commit(group->member),
                                    .last_index = rg_last_index(group->member),
                                    .durable_index = group->durable_index,
                                    .lease_until_ms = rg_lease_until(group->member),
                                    .applied = *sb_partition_applied(group->partition)};
    sb_partition_status(group->partition, &out->partition);
    return true;
}

uint64_t sb_shard_prepared(struct sb_shard *shard, uint64_t id, uint64_t after)
{
    struct sb_group *group = find_group(shard, id);

    return group ? sb_partition_prepared(group->partition, after) : 0;
}
