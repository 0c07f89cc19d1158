/* See sim_cluster_world.h. */
#include "sim_cluster_world.h"

#include "wire_peer.h"

#define WALL_MS UINT64_C(1700000000000)

void *sim_grown(void *array, size_t *capacity, size_t wanted, size_t element)
{
    if (wanted <= *capacity)
        return array;
    while (*capacity < wanted)
        *capacity = *capacity ? *capacity * 2 : 16;
    array = realloc(array, *capacity * element);
    if (!array)
        abort();
    return array;
}

/* ---- clocks ---- */

uint64_t sim_node_boot_ms(const struct sim_node *node)
{
    uint64_t now_ms = node->cluster->now_us / 1000;

    return node->boot_ms + now_ms + (uint64_t) ((int64_t) now_ms * node->drift_ppm / 1000000);
}

static struct sb_now now_of(const struct sim_node *node)
{
    return (struct sb_now){.wall_ms = (uint64_t) ((int64_t) (WALL_MS + node->cluster->now_us / 1000) + node->skew_ms),
                           .boot_ms = sim_node_boot_ms(node)};
}

static void wake(struct sim_node *node, uint64_t in_us)
{
    if (node->step_us > node->cluster->now_us + in_us)
        node->step_us = node->cluster->now_us + in_us;
}

struct sim_node *sim_cluster_leader(struct sim_cluster *cluster)
{
    struct sim_node *found = NULL;

    for (size_t i = 0; i < NODES; i++) {
        struct sim_node *node = &cluster->nodes[i];

        if (node->up && node->status.leads && (!found || node->status.term > found->status.term))
            found = node;
    }
    return found;
}

/* ---- what is committed ---- */

static const struct sim_record *record_of(const struct sim_node *node, uint64_t index)
{
    enum sim_plant plant = node->cluster->plant;

    return plant == PLANT_DURABLE_EARLY || plant == PLANT_MESSAGE_EARLY ? sim_journal_newest(&node->journal, index)
                                                                        : sim_journal_find(&node->journal, index);
}

/* Entries that the node has applied since the last look are everybody's. */
static void check_applied(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    const struct sb_applied *applied = &node->status.applied;

    while (node->checked < applied->index && !cluster->failed) {
        const struct sim_record *record = record_of(node, ++node->checked);
        uint64_t last = sim_model_last(cluster->model);

        if (!record)
            sim_cluster_fail(cluster, "node %llu has applied entry %llu, which is not durable there",
                             (unsigned long long) node->id, (unsigned long long) node->checked);
        else if (node->checked <= last ? !sim_model_same(cluster->model, node->checked, sim_record_span(record))
                                       : !sim_model_add(cluster->model, node->checked, sim_record_span(record)))
            sim_cluster_fail(cluster, "node %llu has applied an entry %llu that %s", (unsigned long long) node->id,
                             (unsigned long long) node->checked,
                             node->checked <= last ? "is another elsewhere" : "makes no sense");
    }
    if (!cluster->failed && applied->version != sim_model_version_of(cluster->model, applied->index))
        sim_cluster_fail(cluster, "node %llu is at version %llx after entry %llu", (unsigned long long) node->id,
                         (unsigned long long) applied->version, (unsigned long long) applied->index);
}

static void check_leader(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    uint64_t *leader;

    if (node->status.role != RG_LEADER)
        return;
    if (node->status.term >= TERMS_MAX) {
        sim_cluster_fail(cluster, "term %llu", (unsigned long long) node->status.term);
        return;
    }
    leader = &cluster->leaders[node->status.term];
    if (*leader != 0 && *leader != node->id)
        sim_cluster_fail(cluster, "nodes %llu and %llu lead in term %llu", (unsigned long long) *leader,
                         (unsigned long long) node->id, (unsigned long long) node->status.term);
    *leader = node->id;
}

/* What the node knows after a step, or at its start. */
static void observe(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    bool led = node->status.leads;

    if (!sb_shard_status(node->shard, WIRE_GROUP_LOCAL, &node->status)) {
        sim_cluster_fail(cluster, "node %llu has lost its group", (unsigned long long) node->id);
        return;
    }
    if (led && !node->status.leads) {
        cluster->counts[MISFORTUNE_LEADER_LOST]++;
        cluster->counts[MISFORTUNE_FETCH_ORPHANED] += node->fetching_count;
        cluster->counts[MISFORTUNE_HANDED_OVER] += node->stopping;
    }
    if (!led && node->status.leads)
        sim_faults_tempt(node, 10);
    check_leader(node);
    check_applied(node);
    node->applied_version = node->readable_version = node->status.applied.version;
    if (node->checkpoint.go && node->checkpoint.due_us == NEVER_US && !node->status.installing) {
        node->checkpoint.go = false;
        node->given_up = node->applied_version;
    }
    for (size_t i = 0; i < HELD_MAX; i++) {
        if (node->held[i] < node->status.applied.horizon)
            node->held[i] = 0;
    }
}

/* ---- portions ---- */

static uint64_t begin_portion(void *context, uint64_t version, bool keep)
{
    struct sim_node *node = context;
    uint64_t least = version;

    if (version <= node->applied_version)
        sim_cluster_fail(node->cluster, "node %llu: version %llx comes after %llx", (unsigned long long) node->id,
                         (unsigned long long) version, (unsigned long long) node->applied_version);
    node->applied_version = version;
    if (keep || !node->gives_up || sim_one_in(node->cluster, 4))
        return 0;
    for (size_t i = 0; i < HELD_MAX; i++)
        least = node->held[i] != 0 && node->held[i] < least ? node->held[i] : least;
    if (least > node->given_up)
        node->given_up = least;
    return node->given_up;
}

static void end_portion(void *context, uint64_t version)
{
    struct sim_node *node = context;

    node->readable_version = version;
}

/* ---- up and down ---- */

static int read_log(void *context, uint64_t group, uint64_t index, uint64_t *term, struct sb_buffer *out,
                    struct sb_fault *fault)
{
    const struct sim_record *record = record_of(context, index);

    (void) group;
    (void) fault;
    if (!record)
        return WIRE_E_NOT_FOUND;
    *term = record->term;
    return sb_buffer_append(out, record->bytes, record->size);
}

void sim_node_open(struct sim_cluster *cluster, size_t at)
{
    struct sim_node *node = &cluster->nodes[at];
    struct sim_store_options options = {.seed = sim_random_next(&cluster->random),
                                        .flush_per_mille = (uint32_t) sim_below(cluster, 10),
                                        .compact_per_mille = (uint32_t) sim_below(cluster, 10),
                                        .would_block_per_mille = (uint32_t) sim_below(cluster, 200)};

    node->cluster = cluster;
    node->id = at + 1;
    node->checkpoint.due_us = NEVER_US;
    node->step_us = node->sync_us = node->stop_us = node->doom_us = NEVER_US;
    node->skew_ms = (int64_t) sim_below(cluster, 4000) - 2000;
    node->boot_ms = sim_below(cluster, 1000000);
    node->drift_ppm = sim_one_in(cluster, 2) ? (int64_t) sim_below(cluster, 40000) - 20000 : 0;
    cluster->counts[MISFORTUNE_DRIFTED] += node->drift_ppm != 0;
    node->gives_up = sim_one_in(cluster, 2);
    node->journal.keeps_suffix = cluster->plant == PLANT_SUFFIX_KEPT;
    node->journal.forgets_term = cluster->plant == PLANT_TERM_FORGOTTEN;
    node->journal.forgets_vote = cluster->plant == PLANT_VOTE_FORGOTTEN;
    node->journal.loses_batches = cluster->plant == PLANT_BATCH_LOST;
    sim_store_open(&options, &node->store);
}

static int open_shard(struct sim_node *node, struct sb_digest *digest)
{
    struct sim_cluster *cluster = node->cluster;
    struct wire_configuration members = {.count = NODES};
    struct sb_shard_options options = {.node = node->id,
                                       .seed = (uint32_t) sim_random_next(&cluster->random),
                                       .election_timeout_ms = ELECTION_MS,
                                       .heartbeat_ms = 100,
                                       .lease_ms = 900,
                                       .install_timeout_ms = 5000,
                                       .trailing_entries = cluster->trailing,
                                       .store = &node->store,
                                       .max_in_flight_bytes = sim_one_in(cluster, 3) ? 3000 : UINT64_C(16) << 20,
                                       .settle_keys_max = 1000,
                                       .portions = {node, begin_portion, end_portion},
                                       .read_log = read_log,
                                       .log = node};
    int status = sb_transactions_open(&node->transactions);

    for (uint32_t i = 0; i < NODES; i++)
        members.members[i] = (struct wire_member){i + 1, WIRE_MEMBER_VOTER};
    if (status == WIRE_OK)
        status = sb_shard_open(&options, &node->shard);
    for (size_t i = 0; i < node->journal.count && status == WIRE_OK; i++) {
        const struct sim_record *record = &node->journal.entries[i];
        struct sb_log_entry entry = {.group = WIRE_GROUP_LOCAL,
                                     .index = record->index,
                                     .term = record->term,
                                     .payload = sim_record_span(record)};

        status = sb_digest_add(digest, &entry, &cluster->error);
    }
    return status == WIRE_OK
               ? sb_shard_add(node->shard, now_of(node), WIRE_GROUP_LOCAL, sim_record_span(&node->journal.state),
                              digest, &members, node->transactions, &cluster->error)
               : status;
}

void sim_node_start(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    struct sb_applied applied;
    struct sb_digest digest = {0};
    int status = sb_meta_applied(&node->store, WIRE_GROUP_LOCAL, false, &applied, &cluster->error);

    node->up = true;
    node->stopping = node->more = false;
    node->stop_us = NEVER_US;
    node->status = (struct sb_group_status){0};
    node->checked = applied.index;
    node->applied_version = node->readable_version = node->given_up = applied.version;
    if (status == WIRE_OK)
        status = open_shard(node, &digest);
    sb_digest_close(&digest);
    if (status != WIRE_OK) {
        sim_cluster_fail(cluster, "node %llu does not start: %s: %s", (unsigned long long) node->id,
                         wire_error_name(status), cluster->error.text);
        return;
    }
    node->reader =
        (struct sb_reader){&node->store, node->transactions, &node->applied_version, &node->readable_version};
    observe(node);
    wake(node, 0);
}

static void shut(struct sim_node *node)
{
    sb_shard_close(node->shard);
    sb_transactions_close(node->transactions);
    node->shard = NULL;
    node->transactions = NULL;
    for (size_t i = 0; i < node->inbox_count; i++)
        free((void *) node->inbox[i].bytes.data);
    node->inbox_count = node->fetching_count = node->told = 0;
    sim_install_forget(node);
    node->step_us = node->sync_us = node->doom_us = NEVER_US;
    memset(node->held, 0, sizeof(node->held));
    node->up = node->stopping = false;
}

void sim_node_crash(struct sim_node *node, bool power, uint64_t pause_us)
{
    struct sim_cluster *cluster = node->cluster;

    shut(node);
    node->status = (struct sb_group_status){0};
    node->restart_us = cluster->now_us + pause_us;
    node->resume_us = node->full_us = 0;
    if (!power) {
        sim_journal_start_sync(&node->journal);
        (void) sim_journal_end_sync(&node->journal);
        (void) node->store.flush(node->store.self, &cluster->error);
    } else {
        sim_journal_crash(&node->journal, &cluster->random);
        sim_store_crash(&node->store);
    }
    for (size_t i = 0; i < NODES; i++) {
        sim_network_reset(cluster, node->id - 1, i);
        sim_network_reset(cluster, i, node->id - 1);
    }
    sim_clients_lost(node);
}

void sim_node_close(struct sim_node *node)
{
    shut(node);
    free(node->inbox);
    free(node->fetching);
    free(node->checkpoint.changes);
    sim_journal_close(&node->journal);
    node->store.close(node->store.self);
}

/* ---- steps ---- */

void sim_node_tell(struct sim_node *node, struct sb_event event)
{
    if (event.bytes.size > 0) {
        uint8_t *copy = malloc(event.bytes.size);

        if (!copy)
            abort();
        memcpy(copy, event.bytes.data, event.bytes.size);
        event.bytes.data = copy;
    }
    node->inbox = sim_grown(node->inbox, &node->inbox_capacity, node->inbox_count + 1, sizeof(*node->inbox));
    node->inbox[node->inbox_count++] = event;
    wake(node, sim_below(node->cluster, 150));
}

/* Others have what this leader has. */
static void forge_results(struct sim_node *node)
{
    for (uint64_t from = 1; from <= NODES && node->status.role == RG_LEADER; from++) {
        struct wire_peer_message message = {.kind = WIRE_PEER_APPEND_RESULT,
                                            .group = WIRE_GROUP_LOCAL,
                                            .from = from,
                                            .to = node->id,
                                            .term = node->status.term,
                                            .index = node->status.durable_index};
        uint8_t bytes[256];
        struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
        struct wire_peer_builder builder;

        wire_peer_begin(&builder, &w, &message);
        if (from != node->id && wire_peer_end(&builder) == WIRE_OK)
            sim_node_tell(node, (struct sb_event){.kind = SB_EVENT_MESSAGE, .token = from, .bytes = {bytes, w.size}});
    }
}

static void start_sync(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;

    if (node->sync_us != NEVER_US || node->journal.pending_count == 0)
        return;
    sim_journal_start_sync(&node->journal);
    node->sync_us = cluster->now_us + 100 + sim_below(cluster, 3000);
    if (node->sync_us < node->stalled_us)
        node->sync_us = node->stalled_us;
}

void sim_node_synced(struct sim_node *node)
{
    size_t count = sim_journal_end_sync(&node->journal);
    size_t told = node->told < count ? node->told : count;

    node->sync_us = NEVER_US;
    node->told -= told;
    if (count > told)
        sim_node_tell(node, (struct sb_event){.kind = SB_EVENT_DURABLE, .index = count - told});
    start_sync(node);
}

void sim_node_fetched(struct sim_node *node, size_t at)
{
    uint64_t token = node->fetching[at].token;

    node->fetching[at] = node->fetching[--node->fetching_count];
    sim_node_tell(node, (struct sb_event){.kind = SB_EVENT_FETCHED, .group = WIRE_GROUP_LOCAL, .token = token});
}

static void take_records(struct sim_node *node, const struct sb_step *step)
{
    struct sim_cluster *cluster = node->cluster;
    bool states_only = true;

    if (step->record_count == 0)
        return;
    for (size_t i = 0; i < step->record_count; i++) {
        states_only = states_only && step->records[i].index == 0;
        if (step->records[i].index > 0 && sim_journal_newest(&node->journal, step->records[i].index)) {
            cluster->counts[MISFORTUNE_SUFFIX_REPLACED]++;
            sim_faults_tempt(node, 3);
        }
    }
    if (cluster->plant == PLANT_DURABLE_EARLY ||
        (cluster->plant == PLANT_MESSAGE_EARLY && states_only && node->told == node->journal.pending_count)) {
        sim_node_tell(node, (struct sb_event){.kind = SB_EVENT_DURABLE, .index = step->record_count});
        node->told += step->record_count;
    }
    sim_journal_add(&node->journal, step->records, step->record_count);
    if (states_only)
        sim_faults_tempt(node, 20);
    start_sync(node);
}

static void take_fetches(struct sim_node *node, const struct sb_step *step)
{
    struct sim_cluster *cluster = node->cluster;

    for (size_t i = 0; i < step->fetch_count; i++) {
        uint64_t lasts = sim_one_in(cluster, 20) ? 2000000 : 20000;

        node->fetching =
            sim_grown(node->fetching, &node->fetching_capacity, node->fetching_count + 1, sizeof(*node->fetching));
        node->fetching[node->fetching_count++] =
            (struct sim_fetching){step->fetches[i].token, cluster->now_us + 100 + sim_below(cluster, lasts)};
    }
}

static void take_cuts(struct sim_node *node, const struct sb_step *step)
{
    for (size_t i = 0; i < step->cut_count; i++) {
        if (step->cuts[i].index < sim_journal_last(&node->journal) && sim_one_in(node->cluster, 4))
            continue; /* not now: the log may keep what is not needed */
        sim_journal_cut(&node->journal, step->cuts[i].index);
        node->cluster->counts[MISFORTUNE_LOG_CUT]++;
    }
}

static void schedule(struct sim_node *node, const struct sb_step *step)
{
    uint64_t boot_ms = sim_node_boot_ms(node);

    node->more = step->more;
    if (node->inbox_count > 0)
        wake(node, sim_below(node->cluster, 150));
    if (step->more)
        wake(node, 1000);
    if (step->timeout_ms != UINT64_MAX)
        wake(node, (step->timeout_ms > boot_ms ? step->timeout_ms - boot_ms : 1) * 1000);
}

/* A horizon that nobody who holds a snapshot anywhere minds; one in a while that some do. */
static uint64_t propose_horizon(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    uint64_t horizon = node->status.applied.version;

    if (!node->status.leads || !sim_one_in(cluster, 10))
        return 0;
    for (size_t i = 0; i < NODES; i++) {
        for (size_t k = 0; k < HELD_MAX && !sim_one_in(cluster, 20); k++) {
            uint64_t held = cluster->nodes[i].held[k];

            horizon = held != 0 && held < horizon ? held : horizon;
        }
    }
    return horizon;
}

void sim_node_step(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    size_t count = node->inbox_count;
    struct sb_step step = {0};
    struct sb_event *events;
    bool forge = cluster->plant == PLANT_COMMIT_EARLY;
    uint64_t durable = node->status.durable_index;
    int status;

    node->step_us = NEVER_US;
    if (count > 1 && sim_one_in(cluster, 8))
        count = 1 + sim_below(cluster, count);
    if (node->full_us > cluster->now_us)
        sim_node_tell(node, (struct sb_event){.kind = SB_EVENT_FULL});
    if (count == 0 && (node->more || sim_one_in(cluster, 20)))
        sim_node_tell(node, (struct sb_event){.kind = SB_EVENT_TICK, .horizon = propose_horizon(node)});
    if (count == 0)
        count = node->inbox_count;
    events = node->inbox;
    status = sb_shard_step(node->shard, now_of(node), events, count, &step, &cluster->error);
    for (size_t i = 0; i < count; i++)
        free((void *) events[i].bytes.data);
    node->inbox_count -= count;
    if (node->inbox_count > 0)
        memmove(node->inbox, node->inbox + count, node->inbox_count * sizeof(*node->inbox));
    cluster->steps++;
    node->step_us = NEVER_US;
    if (status != WIRE_OK) {
        sim_cluster_fail(cluster, "node %llu cannot go on: %s: %s", (unsigned long long) node->id,
                         wire_error_name(status), cluster->error.text);
        return;
    }
    take_cuts(node, &step);
    take_records(node, &step);
    observe(node);
    take_fetches(node, &step);
    for (size_t i = 0; i < step.install_count; i++)
        sim_install_ask(node, &step.installs[i]);
    for (size_t i = 0; i < step.message_count && !cluster->failed; i++)
        sim_network_send(node, &step.messages[i]);
    for (size_t i = 0; i < step.reply_count && !cluster->failed; i++)
        sim_clients_answer(node, &step.replies[i]);
    if (forge && node->status.durable_index != durable)
        forge_results(node);
    schedule(node, &step);
}

void sim_node_resign(struct sim_node *node)
{
    node->stopping = true;
    node->stop_us = node->cluster->now_us + 3000000;
    node->cluster->counts[MISFORTUNE_RESIGNED]++;
    sim_node_tell(node, (struct sb_event){.kind = SB_EVENT_RESIGN});
}

void sim_node_flush(struct sim_node *node)
{
    struct sim_cluster *cluster = node->cluster;
    struct sb_applied applied;

    (void) node->store.flush(node->store.self, &cluster->error);
    cluster->counts[MISFORTUNE_FLUSHED]++;
    if (sim_one_in(cluster, 3)) {
        (void) node->store.compact(node->store.self, (struct wire_span){NULL, 0}, (struct wire_span){NULL, 0},
                                   &cluster->error);
        cluster->counts[MISFORTUNE_COMPACTED]++;
    }
    if (sb_meta_applied(&node->store, WIRE_GROUP_LOCAL, true, &applied, &cluster->error) != WIRE_OK)
        sim_cluster_fail(cluster, "what is durable cannot be read");
    sim_node_tell(
        node, (struct sb_event){
                  .kind = SB_EVENT_FLUSHED, .group = WIRE_GROUP_LOCAL, .index = applied.index, .token = applied.term});
}
