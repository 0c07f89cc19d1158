/*
 * The log store under power loss, process loss and failing disks, by seed.
 *
 * A run appends batches to a few groups (growing, replacing suffixes, jumping ahead behind a truncated prefix, some
 * with new states of groups, among them groups that have nothing else), syncs now and then, truncates prefixes, lets
 * operations fail, and again and again loses power or the process and opens the log anew. After each opening the log
 * must hold what there was after exactly the first k of the batches appended so far, where k is at least the last batch
 * whose sync returned WIRE_OK: synced batches whole, entries equal in order and bytes, the newest state of every group,
 * nothing that was not appended, unsynced batches lost from the end only. What an opening showed counts as synced from
 * then on.
 *
 * sim_log [first seed [last seed]]   default 1 200; prints the seed and the reason of a failure, exit 1.
 * Each run of the program also lets the simulated disk lie about sync_file and about sync_directory: a test that did
 * not notice either within 20 seeds would prove nothing, so that is a failure, too.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sb_log.h"
#include "sim_files.h"

#define GROUPS 4       /* with entries and states */
#define STATE_GROUPS 7 /* with states, the first GROUPS included */
#define INDEX_MAX 4096
#define BATCH_ENTRIES_MAX 6
#define STEPS 400
#define LIE_SEEDS 20
#define IDENTITY 77

/* What a group must hold: ids[i] is the entry at index i. Indexes low .. last are filled; last == 0: none. state_id is
 * its newest state; 0: none. */
struct group_state {
    uint64_t state_id;
    uint64_t low;
    uint64_t last;
    uint64_t ids[INDEX_MAX];
};

struct model_entry {
    unsigned group;
    uint64_t first; /* live index when it was appended */
    uint64_t index; /* 0: a state */
    uint64_t id;
};

struct model_batch {
    struct model_entry entries[BATCH_ENTRIES_MAX];
    size_t count;
};

struct run {
    struct sim_random random;
    struct sim_files *disk;
    struct sb_files files;
    struct sb_log_options options;
    struct sb_log *log;
    struct sb_fault fault;
    struct group_state base[STATE_GROUPS];  /* after the last opening */
    struct group_state state[STATE_GROUPS]; /* scratch: base and the first k batches */
    struct model_batch *batches;            /* appended since */
    size_t batch_count;
    size_t synced_count;
    bool last_unknown;      /* the last batch failed: it may be there or not */
    uint64_t floor[GROUPS]; /* nothing up to here is needed any more */
    uint64_t next_id;
    uint64_t replayed[GROUPS]; /* entries that the opening handed over */
    bool failed;
    char reason[1024];
};

static void fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct run *run, const char *format, ...)
{
    va_list arguments;

    if (run->failed)
        return;
    run->failed = true;
    va_start(arguments, format);
    vsnprintf(run->reason, sizeof(run->reason), format, arguments);
    va_end(arguments);
}

/* A payload follows from its id; most are small, some entries span sectors or outgrow a segment, some states are of the
 * greatest size. */
static size_t payload_of(uint64_t id, bool is_state, uint8_t *out)
{
    struct sim_random random = sim_random_of(id);
    uint64_t kind = sim_random_below(&random, 40);
    size_t most = kind == 0 ? 12000 : kind < 8 ? 1500 : 80;
    size_t size = is_state && kind == 0 ? SB_LOG_STATE_MAX
                                        : (size_t) sim_random_below(&random, is_state && most > 300 ? 300 : most);

    if (sim_random_one_in(&random, 8))
        memset(out, 0, size);
    else
        for (size_t i = 0; i < size; i++)
            out[i] = (uint8_t) sim_random_next(&random);
    return size;
}

static uint64_t term_of(uint64_t id)
{
    return id / 7 + 1;
}

/* --- the model --- */

static void state_apply(struct group_state *state, const struct model_entry *entry)
{
    if (entry->index == 0) {
        state->state_id = entry->id;
        return;
    }
    if (state->last == 0 || entry->first > state->last + 1 || entry->index < state->low)
        state->low = entry->index;
    state->ids[entry->index] = entry->id;
    state->last = entry->index;
}

static void state_after(struct run *run, size_t count)
{
    memcpy(run->state, run->base, sizeof(run->base));
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < run->batches[i].count; j++)
            state_apply(&run->state[run->batches[i].entries[j].group], &run->batches[i].entries[j]);
}

/* --- comparison --- */

static bool entry_equal(struct run *run, unsigned group, uint64_t index, uint64_t id)
{
    static uint8_t expected[16384];
    size_t size = payload_of(id, false, expected);
    struct sb_buffer got = {0};
    uint64_t term = 0;
    int status = sb_log_read(run->log, group, index, &term, &got, &run->fault);
    bool equal = status == WIRE_OK && term == term_of(id) && got.size == size &&
                 (size == 0 || memcmp(got.data, expected, size) == 0);

    if (status != WIRE_OK)
        fail(run, "read of group %u index %llu: %s", group, (unsigned long long) index, run->fault.text);
    sb_buffer_close(&got);
    return equal;
}

/* The newest state of the group, or that it has none. */
static bool newest_equal(struct run *run, unsigned group)
{
    static uint8_t expected[16384];
    uint64_t id = run->state[group].state_id;
    size_t size = id > 0 ? payload_of(id, true, expected) : 0;
    struct sb_buffer got = {0};
    uint64_t term = 0;
    int status = sb_log_state(run->log, group, &term, &got);
    bool equal = id == 0 ? status == WIRE_E_NOT_FOUND
                         : status == WIRE_OK && term == term_of(id) && got.size == size &&
                               (size == 0 || memcmp(got.data, expected, size) == 0);

    sb_buffer_close(&got);
    return equal;
}

/* Does the log hold the entries of run->state of this group, but for truncated entries, which may be there or not? */
static bool group_equal(struct run *run, unsigned group)
{
    const struct group_state *state = &run->state[group];
    uint64_t floor = group < GROUPS ? run->floor[group] : 0;
    uint64_t first;
    uint64_t last;

    sb_log_bounds(run->log, group, &first, &last);
    if (last == 0 || first > last)
        return state->last <= floor;
    if (last != state->last || first < state->low || (first > floor + 1 && first > state->low))
        return false;
    for (uint64_t index = first; index <= last && !run->failed; index++)
        if (!entry_equal(run, group, index, state->ids[index]))
            return false;
    return true;
}

static bool log_equal(struct run *run)
{
    for (unsigned group = 0; group < STATE_GROUPS; group++)
        if (!newest_equal(run, group) || !group_equal(run, group))
            return false;
    return true;
}

/* The largest k that fits; the log's content becomes the base. */
static void check_recovered(struct run *run, size_t least)
{
    size_t k = run->batch_count + 1;

    while (k-- > least && !run->failed) {
        state_after(run, k);
        if (!log_equal(run))
            continue;
        memcpy(run->base, run->state, sizeof(run->base));
        run->batch_count = run->synced_count = 0;
        return;
    }
    fail(run, "the log holds no state from batch %zu (synced) to %zu (appended)", least, run->batch_count);
}

static int count_replayed(void *context, const struct sb_log_entry *entry)
{
    struct run *run = context;

    if (entry->group >= GROUPS)
        return WIRE_E_BAD_FORMAT;
    run->replayed[entry->group]++;
    return WIRE_OK;
}

static void check_replayed(struct run *run)
{
    for (unsigned group = 0; group < GROUPS; group++) {
        uint64_t first;
        uint64_t last;

        sb_log_bounds(run->log, group, &first, &last);
        if (run->replayed[group] != (last > 0 ? last + 1 - first : 0))
            fail(run, "opening handed over %llu entries of group %u, bounds are %llu to %llu",
                 (unsigned long long) run->replayed[group], group, (unsigned long long) first,
                 (unsigned long long) last);
    }
}

/* --- steps --- */

static void arm_fault(struct run *run, uint64_t within)
{
    sim_files_fail_at(run->disk, 1 + sim_random_below(&run->random, within),
                      sim_random_one_in(&run->random, 2) ? WIRE_E_IO : WIRE_E_DISK_FULL);
}

/* Opens after a loss; an opening may itself fail or be cut short, then it is tried again. */
static void open_log(struct run *run, size_t least)
{
    int status = WIRE_E_IO;

    for (int attempt = 0; status != WIRE_OK; attempt++) {
        memset(run->replayed, 0, sizeof(run->replayed));
        if (attempt < 3 && sim_random_one_in(&run->random, 4))
            arm_fault(run, 20);
        status = sb_log_open(&run->files, &run->options, count_replayed, run, &run->log, &run->fault);
        if (status != WIRE_OK && (attempt >= 3 || (status != WIRE_E_IO && status != WIRE_E_DISK_FULL))) {
            fail(run, "open: %s: %s", wire_error_name(status), run->fault.text);
            return;
        }
        if (status != WIRE_OK && sim_files_handles(run->disk) != 0)
            fail(run, "a failed open leaves handles");
        if (status != WIRE_OK && sim_random_one_in(&run->random, 2)) {
            sim_files_crash(run->disk);
            least = run->synced_count;
        } else if (status != WIRE_OK)
            sim_files_restart(run->disk);
    }
    sim_files_fail_at(run->disk, 0, 0);
    check_replayed(run);
    check_recovered(run, least);
    for (unsigned group = 0; group < GROUPS && !run->failed; group++)
        if (run->floor[group] > 0 && sb_log_truncate_prefix(run->log, group, run->floor[group], &run->fault) != WIRE_OK)
            fail(run, "truncate after opening: %s", run->fault.text);
    run->last_unknown = false;
}

static void lose(struct run *run, bool power)
{
    size_t least = run->synced_count;

    sb_log_close(run->log);
    run->log = NULL;
    if (sim_files_handles(run->disk) != 0)
        fail(run, "a closed log leaves handles");
    if (power)
        sim_files_crash(run->disk);
    else {
        sim_files_restart(run->disk);
        least = run->batch_count - (run->last_unknown ? 1 : 0);
    }
    if (least < run->synced_count)
        least = run->synced_count;
    open_log(run, least);
}

/* The groups at the end get a new state rarely, so that the old ones outlive many segments. */
static struct model_entry next_state(struct run *run)
{
    unsigned below = sim_random_one_in(&run->random, 30) ? STATE_GROUPS : GROUPS - 1;

    return (struct model_entry){.group = (unsigned) sim_random_below(&run->random, below), .id = run->next_id++};
}

static struct model_entry next_entry(struct run *run, struct group_state *planned)
{
    struct model_entry entry = {.group = (unsigned) sim_random_below(&run->random, GROUPS), .id = run->next_id++};
    struct group_state *plan = &planned[entry.group];

    if (plan->last == 0)
        plan->low = run->floor[entry.group] + 1 + sim_random_below(&run->random, 3);
    entry.index = plan->last == 0 ? plan->low : plan->last + 1;
    if (plan->last >= plan->low && plan->last > 0 && sim_random_one_in(&run->random, 8))
        entry.index = plan->low + sim_random_below(&run->random, plan->last + 1 - plan->low);
    entry.first = plan->low;
    plan->last = entry.index;
    return entry;
}

static struct model_batch plan_batch(struct run *run)
{
    static struct group_state planned[GROUPS];
    struct model_batch batch = {.count = 1 + (size_t) sim_random_below(&run->random, BATCH_ENTRIES_MAX)};

    for (unsigned group = 0; group < GROUPS; group++)
        sb_log_bounds(run->log, group, &planned[group].low, &planned[group].last);
    for (size_t i = 0; i < batch.count; i++)
        batch.entries[i] = sim_random_one_in(&run->random, 6) ? next_state(run) : next_entry(run, planned);
    return batch;
}

static int append_planned(struct run *run, const struct model_batch *batch)
{
    static uint8_t payloads[BATCH_ENTRIES_MAX][16384];
    struct sb_log_entry entries[BATCH_ENTRIES_MAX];

    for (size_t i = 0; i < batch->count; i++) {
        const struct model_entry *entry = &batch->entries[i];

        entries[i] =
            (struct sb_log_entry){.group = entry->group,
                                  .index = entry->index,
                                  .term = term_of(entry->id),
                                  .payload = {payloads[i], payload_of(entry->id, entry->index == 0, payloads[i])}};
    }
    return sb_log_append(run->log, entries, batch->count, &run->fault);
}

static void note_batch(struct run *run, const struct model_batch *batch)
{
    run->batches = realloc(run->batches, (run->batch_count + 1) * sizeof(*batch));
    if (!run->batches)
        abort();
    run->batches[run->batch_count++] = *batch;
}

static void check_broken(struct run *run)
{
    struct sb_log_entry entry = {.group = 0, .index = 1};

    if (sb_log_append(run->log, &entry, 1, NULL) != WIRE_E_IO || sb_log_sync(run->log, NULL) != WIRE_E_IO)
        fail(run, "a broken log takes calls");
}

static void step_append(struct run *run)
{
    struct model_batch batch = plan_batch(run);
    int status = append_planned(run, &batch);

    if (status == WIRE_OK)
        note_batch(run, &batch);
    else if (status == WIRE_E_IO) {
        note_batch(run, &batch);
        run->last_unknown = true;
        check_broken(run);
        lose(run, sim_random_one_in(&run->random, 2));
    } else if (status != WIRE_E_DISK_FULL)
        fail(run, "append: %s: %s", wire_error_name(status), run->fault.text);
}

static void step_sync(struct run *run)
{
    int status = sb_log_sync(run->log, &run->fault);

    if (status == WIRE_OK)
        run->synced_count = run->batch_count;
    else if (status == WIRE_E_IO) {
        check_broken(run);
        lose(run, sim_random_one_in(&run->random, 2));
    } else
        fail(run, "sync: %s: %s", wire_error_name(status), run->fault.text);
}

/* Mostly keeps a few entries; sometimes to the end, sometimes beyond it, as after a snapshot. */
static void step_truncate(struct run *run)
{
    unsigned group = (unsigned) sim_random_below(&run->random, GROUPS);
    uint64_t first;
    uint64_t last;
    uint64_t to;
    int status;

    sb_log_bounds(run->log, group, &first, &last);
    if (last == 0)
        return;
    to = first - 1 + sim_random_below(&run->random, last + 2 - first);
    if (sim_random_one_in(&run->random, 12))
        to = last + sim_random_below(&run->random, 5);
    status = sb_log_truncate_prefix(run->log, group, to, &run->fault);
    /* The truncation itself holds even when a segment could not be removed. */
    if (to > run->floor[group])
        run->floor[group] = to;
    if (status != WIRE_OK && status != WIRE_E_IO && status != WIRE_E_DISK_FULL)
        fail(run, "truncate: %s: %s", wire_error_name(status), run->fault.text);
}

static bool exhausted(const struct run *run)
{
    for (unsigned group = 0; group < GROUPS; group++) {
        uint64_t first;
        uint64_t last;

        sb_log_bounds(run->log, group, &first, &last);
        if (last + 64 > INDEX_MAX || run->floor[group] + 64 > INDEX_MAX)
            return true;
    }
    return false;
}

static void step(struct run *run)
{
    uint64_t what = sim_random_below(&run->random, 100);

    if (sim_random_one_in(&run->random, 25))
        arm_fault(run, 6);
    if (what < 48)
        step_append(run);
    else if (what < 82)
        step_sync(run);
    else if (what < 92)
        step_truncate(run);
    else
        lose(run, what < 98);
    if (!run->failed)
        sim_files_fail_at(run->disk, 0, 0);
}

/* True if the seed passes; else its reason, printed when `loud`. */
static bool run_seed(uint64_t seed, enum sim_files_lie lie, bool loud)
{
    static struct run run;
    bool passed;

    run = (struct run){.random = sim_random_of(seed), .next_id = 1};
    run.options =
        (struct sb_log_options){.segment_bytes = 8192 + 4096 * sim_random_below(&run.random, 4), .identity = IDENTITY};
    run.disk = sim_files_open(&run.random);
    run.files = sim_files_interface(run.disk);
    sim_files_set_lie(run.disk, lie);
    open_log(&run, 0);
    for (int i = 0; i < STEPS && !run.failed && !exhausted(&run); i++)
        step(&run);
    if (!run.failed)
        lose(&run, true);
    sb_log_close(run.log);
    sim_files_close(run.disk);
    free(run.batches);
    if (sb_memory_blocks() != 0)
        fail(&run, "%llu blocks of memory are left", (unsigned long long) sb_memory_blocks());
    passed = !run.failed;
    if (!passed && loud)
        fprintf(stderr, "sim_log: seed %llu failed: %s\n", (unsigned long long) seed, run.reason);
    return passed;
}

static bool lie_is_caught(enum sim_files_lie lie, const char *name)
{
    for (uint64_t seed = 1; seed <= LIE_SEEDS; seed++)
        if (!run_seed(seed, lie, false)) {
            printf("sim_log: a disk without %s is caught by seed %llu\n", name, (unsigned long long) seed);
            return true;
        }
    fprintf(stderr, "sim_log: a disk without %s is not caught within %d seeds\n", name, LIE_SEEDS);
    return false;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? first : 200;
    uint64_t failures = 0;

    for (uint64_t seed = first; seed <= last; seed++)
        failures += !run_seed(seed, SIM_FILES_HONEST, true);
    printf("sim_log: seeds %llu to %llu, %llu failed\n", (unsigned long long) first, (unsigned long long) last,
           (unsigned long long) failures);
    if (!lie_is_caught(SIM_FILES_NO_FILE_SYNC, "sync_file"))
        failures++;
    if (!lie_is_caught(SIM_FILES_NO_DIRECTORY_SYNC, "sync_directory"))
        failures++;
    return failures > 0;
}
