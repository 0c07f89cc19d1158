/* See sim_world.h. */
#include "sim_world.h"

#include <stdarg.h>
#include <stdio.h>

#include "sim_requests.h"

#define IDENTITY 4711
#define STORAGE_TOKEN UINT64_MAX

/* The store's own write, behind one that errs. */
static struct {
    int (*write)(void *self, const struct sb_change *changes, size_t count, struct sb_fault *fault);
    uint64_t images;
} beneath;

void sim_world_fail(struct sim_world *world, const char *format, ...)
{
    va_list arguments;

    if (world->failed)
        return;
    world->failed = true;
    va_start(arguments, format);
    vsnprintf(world->reason, sizeof(world->reason), format, arguments);
    va_end(arguments);
}

/* The applied index, last of its batch, comes first and alone. */
static int write_apart(void *self, const struct sb_change *changes, size_t count, struct sb_fault *fault)
{
    int status = beneath.write(self, changes + count - 1, 1, fault);

    return status == WIRE_OK ? beneath.write(self, changes, count - 1, fault) : status;
}

static int write_losing(void *self, const struct sb_change *changes, size_t count, struct sb_fault *fault)
{
    int status = WIRE_OK;

    for (size_t i = 0; i < count && status == WIRE_OK; i++) {
        if (changes[i].family != SB_HISTORY || ++beneath.images % 8 != 0)
            status = beneath.write(self, changes + i, 1, fault);
    }
    return status;
}

/* ---- readers, disturbed ---- */

static struct sim_world *around; /* the world whose reader is running */

static void disturb(void)
{
    struct sim_world *world = around;

    while (!world->down && !world->failed && sim_random_one_in(&world->random, 6)) {
        sim_world_step(world);
        sim_world_append(world);
        sim_world_sync(world);
        if (world->more)
            sim_world_tick(world, 0);
        sim_world_step(world);
    }
}

/* ---- portions ---- */

static uint64_t begin_portion(void *context, uint64_t version, bool keep)
{
    struct sim_world *world = context;
    uint64_t least = world->events.least_snapshot(world->events.context);

    if (version <= world->applied_version)
        sim_world_fail(world, "version %llx comes after %llx", (unsigned long long) version,
                       (unsigned long long) world->applied_version);
    if (sim_random_one_in(&world->random, 4)) /* the store is not roomy */
        return 0;
    world->applied_version = version;
    if (keep || !world->gives_up || sim_random_one_in(&world->random, 4))
        return 0;
    if (world->reading != 0 && world->reading < least)
        least = world->reading;
    least = least < version ? least : version;
    if (least > world->horizon)
        world->horizon = least;
    return world->fault == SIM_GIVE_UP_ALL ? version : world->horizon;
}

static void end_portion(void *context, uint64_t version)
{
    struct sim_world *world = context;
    struct sb_applied applied;

    world->readable_version = world->applied_version = version;
    if (sb_meta_applied(&world->store, WIRE_GROUP_LOCAL, false, &applied, &world->error) == WIRE_OK &&
        applied.version != version)
        sim_world_fail(world, "version %llx was promised, %llx is applied", (unsigned long long) version,
                       (unsigned long long) applied.version);
}

struct disturbed_iterator {
    struct sb_iterator face;
    struct sb_iterator *inner;
};

static void disturbed_seek(void *self, struct wire_span key)
{
    struct sb_iterator *inner = ((struct disturbed_iterator *) self)->inner;

    inner->seek(inner->self, key);
    disturb();
}

static void disturbed_seek_last(void *self, struct wire_span key)
{
    struct sb_iterator *inner = ((struct disturbed_iterator *) self)->inner;

    inner->seek_last(inner->self, key);
    disturb();
}

static bool disturbed_valid(void *self)
{
    struct sb_iterator *inner = ((struct disturbed_iterator *) self)->inner;

    return inner->valid(inner->self);
}

static void disturbed_next(void *self)
{
    struct sb_iterator *inner = ((struct disturbed_iterator *) self)->inner;

    inner->next(inner->self);
    disturb();
}

static void disturbed_prev(void *self)
{
    struct sb_iterator *inner = ((struct disturbed_iterator *) self)->inner;

    inner->prev(inner->self);
    disturb();
}

static struct wire_span disturbed_key(void *self)
{
    struct sb_iterator *inner = ((struct disturbed_iterator *) self)->inner;

    return inner->key(inner->self);
}

static struct wire_span disturbed_value(void *self)
{
    struct sb_iterator *inner = ((struct disturbed_iterator *) self)->inner;

    return inner->value(inner->self);
}

static int disturbed_status(void *self, struct sb_fault *fault)
{
    struct sb_iterator *inner = ((struct disturbed_iterator *) self)->inner;

    return inner->status(inner->self, fault);
}

static void disturbed_close(void *self)
{
    struct disturbed_iterator *it = self;

    it->inner->close(it->inner->self);
    free(it);
}

static int disturbed_iterate(void *self, void *view, enum sb_family family, struct wire_span low, struct wire_span high,
                             struct sb_iterator **out, struct sb_fault *fault)
{
    struct disturbed_iterator *it = calloc(1, sizeof(*it));
    int status;

    if (!it)
        abort();
    it->face = (struct sb_iterator){it,
                                    disturbed_seek,
                                    disturbed_seek_last,
                                    disturbed_valid,
                                    disturbed_next,
                                    disturbed_prev,
                                    disturbed_key,
                                    disturbed_value,
                                    disturbed_status,
                                    disturbed_close};
    disturb();
    status = around->store.iterate(self, view, family, low, high, &it->inner, fault);
    if (status != WIRE_OK) {
        free(it);
        return status;
    }
    disturb();
    *out = &it->face;
    return WIRE_OK;
}

static int disturbed_get(void *self, enum sb_family family, struct wire_span key, enum sb_tier tier,
                         struct sb_value *out, struct sb_fault *fault)
{
    int status;

    disturb();
    status = around->store.get(self, family, key, tier, out, fault);
    disturb();
    return status;
}

static int disturbed_view_open(void *self, void **view, struct sb_fault *fault)
{
    int status = around->store.view_open(self, view, fault);

    disturb();
    return status;
}

static void open_store(struct sim_world *world)
{
    struct sim_store_options options = {.seed = sim_random_next(&world->random),
                                        .flush_per_mille = (uint32_t) sim_random_below(&world->random, 100),
                                        .compact_per_mille = (uint32_t) sim_random_below(&world->random, 100),
                                        .would_block_per_mille = (uint32_t) sim_random_below(&world->random, 300)};

    sim_store_open(&options, &world->store);
    beneath.write = world->store.write;
    if (world->fault == SIM_APPLIED_APART)
        world->store.write = write_apart;
    if (world->fault == SIM_LOSE_HISTORY)
        world->store.write = write_losing;
    around = world;
    world->reader_store = world->store;
    world->reader_store.get = disturbed_get;
    world->reader_store.iterate = disturbed_iterate;
    world->reader_store.view_open = disturbed_view_open;
}

/* ---- up and down ---- */

/* What the log of a reopened node holds, against what was ever appended. */
struct found {
    struct sim_world *world;
    struct sb_digest digest;
    struct sb_fault fault;
};

static int find_entry(void *context, const struct sb_log_entry *entry)
{
    struct found *found = context;
    struct sim_world *world = found->world;

    if (!sim_model_same(world->model, entry->index, entry->payload))
        sim_world_fail(world, "the log holds an entry %llu that was never appended", (unsigned long long) entry->index);
    return sb_digest_add(&found->digest, entry, &found->fault);
}

static int read_log(void *context, uint64_t group, uint64_t index, uint64_t *term, struct sb_buffer *out,
                    struct sb_fault *fault)
{
    struct sim_world *world = context;

    return sb_log_read(world->log, group, index, term, out, fault);
}

static void shut(struct sim_world *world)
{
    sb_shard_close(world->shard);
    sb_transactions_close(world->transactions);
    sb_log_close(world->log);
    world->shard = NULL;
    world->transactions = NULL;
    world->log = NULL;
    for (size_t i = 0; i < world->queued; i++)
        free((void *) world->queue[i].bytes.data);
    world->queued = world->entry_count = world->fetch_count = 0;
}

static int open_group(struct sim_world *world, const struct sb_digest *digest)
{
    struct wire_configuration alone = {.count = 1, .members = {{WIRE_NODE_LOCAL, WIRE_MEMBER_VOTER}}};
    struct sb_buffer state = {0};
    uint64_t term;
    int status = sb_log_state(world->log, WIRE_GROUP_LOCAL, &term, &state);

    if (status == WIRE_OK || status == WIRE_E_NOT_FOUND)
        status = sb_shard_add(world->shard, (struct sb_now){world->now_ms, world->now_ms}, WIRE_GROUP_LOCAL,
                              sb_buffer_span(&state), digest, &alone, world->transactions, &world->error);
    sb_buffer_close(&state);
    return status;
}

static int open_node(struct sim_world *world)
{
    struct found found = {.world = world};
    int status = sb_transactions_open(&world->transactions);

    if (status != WIRE_OK)
        return status;
    world->shard_options.store = &world->store;
    world->reader = (struct sb_reader){&world->reader_store, world->transactions, &world->applied_version,
                                       &world->readable_version};
    status = sb_log_open(&world->files, &world->log_options, find_entry, &found, &world->log, &world->error);
    if (status != WIRE_OK)
        world->log = NULL;
    if (found.fault.code != WIRE_OK)
        sim_world_fail(world, "start: %s", found.fault.text);
    if (status == WIRE_OK)
        status = sb_shard_open(&world->shard_options, &world->shard);
    if (status == WIRE_OK)
        status = open_group(world, &found.digest);
    sb_digest_close(&found.digest);
    return status;
}

/* What the reopened node knows, against what it had promised. */
static void check_start(struct sim_world *world, const struct sb_applied *applied)
{
    uint64_t first;
    uint64_t last;

    sb_log_bounds(world->log, WIRE_GROUP_LOCAL, &first, &last);
    if (last != applied->index)
        sim_world_fail(world, "applied entry %llu, the log ends at %llu", (unsigned long long) applied->index,
                       (unsigned long long) last);
    if (last < world->durable)
        sim_world_fail(world, "durable up to entry %llu, the log ends at %llu", (unsigned long long) world->durable,
                       (unsigned long long) last);
    if (last > sim_model_last(world->model))
        sim_world_fail(world, "the log ends at entry %llu, of %llu that were made", (unsigned long long) last,
                       (unsigned long long) sim_model_last(world->model));
    if (world->failed)
        return;
    sim_model_truncate(world->model, last);
    if (applied->version != sim_model_version_of(world->model, last) || applied->version < world->applied_version)
        sim_world_fail(world, "applied version %llx after entry %llu, published was %llx",
                       (unsigned long long) applied->version, (unsigned long long) last,
                       (unsigned long long) world->applied_version);
    if (applied->horizon != sim_model_horizon(world->model))
        sim_world_fail(world, "the horizon is %llx", (unsigned long long) applied->horizon);
}

static void start(struct sim_world *world)
{
    struct sb_applied applied = {0};
    int status = WIRE_E_IO;

    for (int attempt = 0; status != WIRE_OK && !world->failed; attempt++) {
        sim_files_fail_at(world->disk,
                          attempt < 3 && sim_random_one_in(&world->random, 4) ? 1 + sim_random_below(&world->random, 20)
                                                                              : 0,
                          WIRE_E_IO);
        status = open_node(world);
        if (status == WIRE_OK)
            break;
        if (attempt >= 3 || status != WIRE_E_IO)
            sim_world_fail(world, "start: %s: %s", wire_error_name(status), world->error.text);
        shut(world);
        if (sim_random_one_in(&world->random, 2))
            sim_files_crash(world->disk);
        else
            sim_files_restart(world->disk);
        sim_store_crash(&world->store);
    }
    sim_files_fail_at(world->disk, 0, 0);
    if (world->failed)
        return;
    status = sb_meta_applied(&world->store, WIRE_GROUP_LOCAL, false, &applied, &world->error);
    if (status == WIRE_OK)
        check_start(world, &applied);
    world->appended = world->durable = applied.index;
    world->appended_records = world->durable_records = 0;
    world->applied_version = world->readable_version = applied.version;
    world->horizon = applied.horizon > world->horizon ? applied.horizon : world->horizon;
    if (world->gives_up) /* replay writes what it finds; older snapshots are gone with the process */
        world->horizon = applied.version;
    world->more = true;
    if (status != WIRE_OK)
        sim_world_fail(world, "start: %s", wire_error_name(status));
}

static bool leads(const struct sim_world *world)
{
    struct sb_group_status status;

    return sb_shard_status(world->shard, WIRE_GROUP_LOCAL, &status) && status.leads;
}

struct sb_partition_status sim_world_status(const struct sim_world *world)
{
    struct sb_group_status status = {0};

    (void) sb_shard_status(world->shard, WIRE_GROUP_LOCAL, &status);
    return status.partition;
}

/* The barrier of the new term is logged, unless that is when it goes down again. */
static void take_lead(struct sim_world *world)
{
    while (!world->failed && !leads(world)) {
        sim_world_step(world);
        sim_world_append(world);
        if (sim_random_one_in(&world->random, 8)) {
            shut(world);
            if (sim_random_one_in(&world->random, 2))
                sim_files_crash(world->disk);
            else
                sim_files_restart(world->disk);
            sim_store_crash(&world->store);
            start(world);
        } else
            sim_world_sync(world);
    }
}

void sim_world_crash(struct sim_world *world, bool power)
{
    if (world->failed)
        return;
    shut(world);
    world->crashes++;
    world->down = world->armed = false;
    sim_store_fail_write(&world->store, 0, 0);
    if (sim_files_handles(world->disk) != 0)
        sim_world_fail(world, "a closed log leaves handles");
    if (power)
        sim_files_crash(world->disk);
    else
        sim_files_restart(world->disk);
    sim_store_crash(&world->store);
    start(world);
    take_lead(world);
    if (!world->failed)
        world->events.restarted(world->events.context);
}

static void make_storage(struct sim_world *world)
{
    sim_begin((struct wire_request){.operation = WIRE_STORAGE}, NULL, 0);
    wire_write_span(&sim_request, "relation", 8);
    sim_world_request(world, STORAGE_TOKEN, sim_end());
    sim_world_quiesce(world);
}

void sim_world_open(struct sim_world *world, uint64_t seed, enum sim_fault fault, struct sim_events events)
{
    *world = (struct sim_world){
        .random = sim_random_of(seed), .fault = fault, .events = events, .now_ms = 1000, .storage_id = 1};
    world->disk = sim_files_open(&world->random);
    world->files = sim_files_interface(world->disk);
    if (fault == SIM_LYING_DISK)
        sim_files_set_lie(world->disk, SIM_FILES_NO_FILE_SYNC);
    world->log_options = (struct sb_log_options){.segment_bytes = 8192 + 16384 * sim_random_below(&world->random, 4),
                                                 .identity = IDENTITY};
    world->shard_options.max_in_flight_bytes = sim_random_one_in(&world->random, 3) ? 2000 : UINT64_C(16) << 20;
    world->gives_up = fault == SIM_GIVE_UP_ALL || sim_random_one_in(&world->random, 2);
    world->shard_options.node = WIRE_NODE_LOCAL;
    world->shard_options.election_timeout_ms = 1000;
    world->shard_options.heartbeat_ms = 100;
    world->shard_options.install_timeout_ms = 30000;
    world->shard_options.read_log = read_log;
    world->shard_options.log = world;
    world->shard_options.portions = (struct sb_portions){world, begin_portion, end_portion};
    world->shard_options.settle_keys_max = sim_random_one_in(&world->random, 3) ? 4 : 1000;
    world->model = sim_model_open(world->storage_id);
    open_store(world);
    start(world);
    if (!world->failed)
        make_storage(world);
}

void sim_world_close(struct sim_world *world)
{
    shut(world);
    free(world->entries);
    free(world->fetches);
    world->store.close(world->store.self);
    sim_files_close(world->disk);
    sim_model_close(world->model);
    sim_arena_reset();
}

void sim_world_arm(struct sim_world *world)
{
    world->armed = true;
    if (sim_random_one_in(&world->random, 3))
        sim_store_fail_write(&world->store, 1 + sim_random_below(&world->random, 10), WIRE_E_IO);
    else
        sim_files_fail_at(world->disk, 1 + sim_random_below(&world->random, 30),
                          sim_random_one_in(&world->random, 3) ? WIRE_E_DISK_FULL : WIRE_E_IO);
}

/* ---- steps ---- */

static void *grown(void *array, size_t *capacity, size_t wanted, size_t element)
{
    while (*capacity < wanted)
        *capacity = *capacity ? *capacity * 2 : 64;
    array = realloc(array, *capacity * element);
    if (!array)
        abort();
    return array;
}

static void broken(struct sim_world *world, int status, const char *what)
{
    if (!world->armed || (status != WIRE_E_IO && status != WIRE_E_DISK_FULL))
        sim_world_fail(world, "%s: %s: %s", what, wire_error_name(status), world->error.text);
    world->down = true;
}

static void queue_event(struct sim_world *world, struct sb_event event)
{
    if (world->queued == SIM_EVENTS_MAX)
        sim_world_step(world);
    if (world->down || world->failed)
        free((void *) event.bytes.data);
    else
        world->queue[world->queued++] = event;
}

void sim_world_request(struct sim_world *world, uint64_t token, struct wire_span bytes)
{
    uint8_t *copy = malloc(bytes.size);

    if (!copy)
        abort();
    memcpy(copy, bytes.data, bytes.size);
    queue_event(world,
                (struct sb_event){
                    .kind = SB_EVENT_REQUEST, .group = WIRE_GROUP_LOCAL, .token = token, .bytes = {copy, bytes.size}});
}

/* Published before it is logged, as the shard's thread does. */
void sim_world_tick(struct sim_world *world, uint64_t horizon)
{
    if (horizon > world->horizon)
        world->horizon = horizon;
    if (world->fault == SIM_HORIZON_EARLY)
        world->store.set_horizon(world->store.self, world->applied_version);
    queue_event(world, (struct sb_event){.kind = SB_EVENT_TICK, .horizon = horizon});
}

void sim_world_full(struct sim_world *world)
{
    queue_event(world, (struct sb_event){.kind = SB_EVENT_FULL});
}

static void take_records(struct sim_world *world, const struct sb_step *step)
{
    if (step->record_count == 0)
        return;
    world->entries =
        grown(world->entries, &world->entry_capacity, world->entry_count + step->record_count, sizeof(*world->entries));
    for (size_t i = 0; i < step->record_count; i++) {
        struct sb_log_entry *entry = &world->entries[world->entry_count++];

        *entry = step->records[i];
        if (world->fault == SIM_REPLY_EARLY) { /* the shard frees what it believes durable */
            uint8_t *copy = sim_arena_take(entry->payload.size);

            memcpy(copy, entry->payload.data, entry->payload.size);
            entry->payload.data = copy;
        }
        if (entry->index > 0 && !sim_model_add(world->model, entry->index, entry->payload))
            sim_world_fail(world, "entry %llu makes no sense", (unsigned long long) entry->index);
    }
    if (world->fault == SIM_REPLY_EARLY)
        queue_event(world, (struct sb_event){.kind = SB_EVENT_DURABLE, .index = step->record_count});
}

static void take_cuts(struct sim_world *world, const struct sb_step *step)
{
    for (size_t i = 0; i < step->cut_count; i++) {
        int status = sb_log_truncate_prefix(world->log, step->cuts[i].group, step->cuts[i].index, &world->error);

        if (status != WIRE_OK && !(world->armed && (status == WIRE_E_IO || status == WIRE_E_DISK_FULL)))
            sim_world_fail(world, "cut: %s: %s", wire_error_name(status), world->error.text);
    }
}

static void take_replies(struct sim_world *world, const struct sb_step *step)
{
    for (size_t i = 0; i < step->reply_count && !world->failed; i++) {
        struct wire_reply reply;

        if (wire_reply_open(step->replies[i].bytes.data, step->replies[i].bytes.size, &reply) != WIRE_OK)
            sim_world_fail(world, "a reply is malformed");
        else if (step->replies[i].token == STORAGE_TOKEN) {
            if (reply.status != WIRE_OK || wire_read_u64(&reply.body) != world->storage_id)
                sim_world_fail(world, "the storage was not made");
        } else
            world->events.reply(world->events.context, step->replies[i].token, &reply);
    }
}

void sim_world_step(struct sim_world *world)
{
    struct sb_event events[SIM_EVENTS_MAX];
    struct sb_group_status group = {0};
    struct sb_step step = {0};
    size_t count = world->queued;
    int status;

    if (world->down || world->failed)
        return;
    memcpy(events, world->queue, count * sizeof(*events));
    world->queued = 0;
    world->now_ms += sim_random_below(&world->random, 3);
    status =
        sb_shard_step(world->shard, (struct sb_now){world->now_ms, world->now_ms}, events, count, &step, &world->error);
    for (size_t i = 0; i < count; i++)
        free((void *) events[i].bytes.data);
    if (status != WIRE_OK) {
        broken(world, status, "step");
        return;
    }
    take_records(world, &step);
    take_cuts(world, &step);
    if (step.fetch_count > 0)
        world->fetches = grown(world->fetches, &world->fetch_capacity, world->fetch_count + step.fetch_count,
                               sizeof(*world->fetches));
    for (size_t i = 0; i < step.fetch_count; i++)
        world->fetches[world->fetch_count++] = step.fetches[i].token;
    if (!sb_shard_status(world->shard, WIRE_GROUP_LOCAL, &group) || step.message_count > 0)
        sim_world_fail(world, "a group of one is not alone");
    world->applied_version = world->readable_version = group.applied.version;
    world->horizon = group.applied.horizon > world->horizon ? group.applied.horizon : world->horizon;
    world->more = step.more;
    take_replies(world, &step);
}

void sim_world_append(struct sim_world *world)
{
    int status;

    if (world->entry_count == 0 || world->down || world->failed)
        return;
    status = sb_log_append(world->log, world->entries, world->entry_count, &world->error);
    if (status == WIRE_E_DISK_FULL && world->armed)
        return; /* the batch is kept */
    if (status != WIRE_OK) {
        broken(world, status, "append");
        return;
    }
    for (size_t i = 0; i < world->entry_count; i++)
        world->appended = world->entries[i].index > 0 ? world->entries[i].index : world->appended;
    world->appended_records += world->entry_count;
    world->entry_count = 0;
}

void sim_world_sync(struct sim_world *world)
{
    uint64_t count;
    bool skip = world->fault == SIM_SKIP_SYNC && sim_random_one_in(&world->random, 4);
    int status;

    if (world->appended_records == world->durable_records || world->down || world->failed)
        return;
    status = skip ? WIRE_OK : sb_log_sync(world->log, &world->error);
    if (status != WIRE_OK) {
        broken(world, status, "sync");
        return;
    }
    count = world->appended_records - world->durable_records;
    world->durable = world->appended;
    world->durable_records = world->appended_records;
    if (world->fault != SIM_REPLY_EARLY)
        queue_event(world, (struct sb_event){.kind = SB_EVENT_DURABLE, .index = count});
}

void sim_world_fetch(struct sim_world *world)
{
    size_t at;
    uint64_t token;

    if (world->fetch_count == 0 || world->down || world->failed)
        return;
    at = sim_random_below(&world->random, world->fetch_count);
    token = world->fetches[at];
    world->fetches[at] = world->fetches[--world->fetch_count];
    queue_event(world, (struct sb_event){.kind = SB_EVENT_FETCHED, .group = WIRE_GROUP_LOCAL, .token = token});
}

void sim_world_keep(struct sim_world *world)
{
    struct sb_applied applied;
    int status;

    if (world->down || world->failed)
        return;
    status = sb_meta_applied(&world->store, WIRE_GROUP_LOCAL, true, &applied, &world->error);
    if (status != WIRE_OK)
        sim_world_fail(world, "keep: %s: %s", wire_error_name(status), world->error.text);
    else if (applied.index > 0)
        queue_event(world, (struct sb_event){.kind = SB_EVENT_FLUSHED,
                                             .group = WIRE_GROUP_LOCAL,
                                             .index = applied.index,
                                             .token = applied.term});
}

void sim_world_quiesce(struct sim_world *world)
{
    for (int i = 0; i < 100000 && !world->failed; i++) {
        bool busy = world->queued > 0 || world->entry_count > 0 || world->fetch_count > 0 ||
                    world->appended_records > world->durable_records || world->more;

        if (world->down)
            sim_world_crash(world, true);
        else if (!busy)
            return;
        sim_world_fetch(world);
        if (world->more && world->queued == 0)
            sim_world_tick(world, 0);
        sim_world_step(world);
        sim_world_append(world);
        sim_world_sync(world);
    }
    sim_world_fail(world, "does not come to rest");
}
