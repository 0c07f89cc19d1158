/*
 * Linearizability of one register after the other: see sim_group_history.h.
 *
 * A write takes effect at a moment between its begin and its end, after it whoever saw its value, then the next write.
 * For a given order of the writes it is best to take every moment as early as possible, so a state of the search is the
 * set of writes done, the last of them, and the moment. Depth first; states that failed are remembered.
 *
 * Writes whose outcome is not known count only if somebody saw their value, and end no later than who saw it.
 */
#include "sim_group_history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILED_MAX 8192
#define STEPS_MAX 2000000
#define NOBODY SIZE_MAX

struct cluster {
    uint64_t value; /* 0: before the first write */
    uint64_t begin; /* of the write */
    uint64_t end;
    bool conditional;
    uint64_t expected;
    bool unknown;
    bool seen;
    bool done;
    uint64_t least_end;      /* of those who saw it */
    uint64_t greatest_begin; /* the same */
};

struct failed {
    uint64_t state; /* set and last write, hashed; 0: empty */
    uint64_t moment;
};

struct search {
    struct cluster *clusters; /* [0] is the initial value; by begin */
    size_t count;
    struct failed *failed;
    uint64_t steps;
    size_t most_done;
    size_t stuck; /* at best, what could not be done any more */
};

static struct cluster *find(struct search *search, uint64_t value)
{
    for (size_t i = 0; i < search->count; i++) {
        if (search->clusters[i].value == value)
            return &search->clusters[i];
    }
    return NULL;
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return value ^ value >> 29;
}

/* ---- the search ---- */

/* When `next` would take effect behind `last`, 0: it cannot. */
static uint64_t moment_of(const struct cluster *last, const struct cluster *next, uint64_t moment)
{
    uint64_t at = next->begin > moment ? next->begin : moment;

    if (next->conditional && next->expected != last->value)
        return 0;
    return at < next->end && at < next->least_end ? at : 0;
}

static bool search_from(struct search *search, size_t first, size_t done, const struct cluster *last, uint64_t moment,
                        uint64_t set)
{
    uint64_t state = (set ^ mix(last->value)) | 1;
    struct failed *failed = &search->failed[mix(state) % FAILED_MAX];
    uint64_t least_end = UINT64_MAX;
    size_t urgent = NOBODY;

    while (first < search->count && search->clusters[first].done)
        first++;
    if (first == search->count)
        return true;
    if (++search->steps > STEPS_MAX || (failed->state == state && failed->moment <= moment))
        return false;
    for (size_t i = first; i < search->count && search->clusters[i].begin < least_end; i++) {
        const struct cluster *one = &search->clusters[i];

        if (!one->done && (one->end < least_end || one->least_end < least_end)) {
            least_end = one->end < one->least_end ? one->end : one->least_end;
            urgent = i;
        }
    }
    if (done >= search->most_done) {
        search->most_done = done;
        search->stuck = urgent;
    }
    for (size_t i = first; i < search->count && search->clusters[i].begin < least_end; i++) {
        struct cluster *next = &search->clusters[i];
        uint64_t at = next->done ? 0 : moment_of(last, next, moment);

        if (at == 0 || (at >= least_end && i != urgent))
            continue;
        next->done = true;
        if (search_from(search, first, done + 1, next, at > next->greatest_begin ? at : next->greatest_begin,
                        set + mix(next->value)))
            return true;
        next->done = false;
    }
    *failed = (struct failed){state, moment};
    return false;
}

/* ---- what the search is given ---- */

static bool sees(const struct group_operation *operation)
{
    return operation->outcome == GROUP_REFUSED || (operation->outcome == GROUP_DONE && operation->value == 0);
}

static void seen_by(struct cluster *cluster, uint64_t begin, uint64_t end, bool *changed)
{
    if (!cluster->seen || end < cluster->least_end || begin > cluster->greatest_begin)
        *changed = true;
    cluster->seen = true;
    cluster->least_end = end < cluster->least_end ? end : cluster->least_end;
    cluster->greatest_begin = begin > cluster->greatest_begin ? begin : cluster->greatest_begin;
    if (cluster->unknown && end < cluster->end)
        cluster->end = end;
}

static void collect(struct search *search, const struct group_history *history, uint32_t key)
{
    search->clusters[search->count++] = (struct cluster){.end = UINT64_MAX, .done = true, .least_end = UINT64_MAX};
    for (size_t i = 0; i < history->count; i++) {
        const struct group_operation *one = &history->operations[i];
        bool unknown = one->outcome == GROUP_OPEN || one->outcome == GROUP_UNKNOWN;

        if (one->key != key || one->value == 0 || (!unknown && one->outcome != GROUP_DONE))
            continue;
        search->clusters[search->count++] = (struct cluster){.value = one->value,
                                                             .begin = one->begin,
                                                             .end = unknown ? UINT64_MAX : one->end,
                                                             .conditional = one->kind == GROUP_CONDITIONAL,
                                                             .expected = one->expected,
                                                             .unknown = unknown,
                                                             .least_end = UINT64_MAX};
    }
}

/* False: somebody saw what nobody wrote. */
static bool note_seen(struct search *search, const struct group_history *history, uint32_t key, char *reason,
                      size_t size)
{
    bool changed = false;

    for (size_t i = 0; i < history->count; i++) {
        const struct group_operation *one = &history->operations[i];
        struct cluster *cluster;

        if (one->key != key || !sees(one))
            continue;
        cluster = find(search, one->observed);
        if (!cluster || (one->outcome == GROUP_REFUSED && one->observed == one->expected)) {
            snprintf(reason, size, "key %u: operation %zu sees %llu, which nobody wrote or it expected", key, i,
                     (unsigned long long) one->observed);
            return false;
        }
        seen_by(cluster, one->begin, one->end, &changed);
    }
    /* A conditional write that happened saw the one before. */
    do {
        changed = false;
        for (size_t i = 1; i < search->count; i++) {
            struct cluster *one = &search->clusters[i];
            struct cluster *before =
                one->conditional && (!one->unknown || one->seen) ? find(search, one->expected) : one;

            if (!before) {
                snprintf(reason, size, "key %u: %llu replaces %llu, which nobody wrote", key,
                         (unsigned long long) one->value, (unsigned long long) one->expected);
                return false;
            }
            if (before != one)
                seen_by(before, 0, one->end < one->least_end ? one->end : one->least_end, &changed);
        }
    } while (changed);
    return true;
}

bool group_history_check(const struct group_history *history, uint32_t key, char *reason, size_t size)
{
    struct search search = {.stuck = NOBODY};
    size_t kept = 1;
    bool good;

    search.clusters = malloc((history->count + 1) * sizeof(*search.clusters));
    search.failed = calloc(FAILED_MAX, sizeof(*search.failed));
    if (!search.clusters || !search.failed)
        abort();
    collect(&search, history, key);
    good = note_seen(&search, history, key, reason, size);
    for (size_t i = 1; i < search.count; i++) {
        if (!search.clusters[i].unknown || search.clusters[i].seen)
            search.clusters[kept++] = search.clusters[i];
    }
    search.count = kept;
    if (good && !search_from(&search, 1, 0, &search.clusters[0], search.clusters[0].greatest_begin, 0)) {
        good = false;
        snprintf(reason, size, "key %u: no order of the writes explains what was seen; %zu of %zu fit, not %llu%s", key,
                 search.most_done, search.count - 1,
                 search.stuck == NOBODY ? 0ULL : (unsigned long long) search.clusters[search.stuck].value,
                 search.steps > STEPS_MAX ? " (given up)" : "");
    }
    free(search.clusters);
    free(search.failed);
    return good;
}

/* ---- is the checker any good? ---- */

#define HAND_MAX 6

struct by_hand {
    const char *what;
    bool good;
    struct group_operation operations[HAND_MAX];
};

#define W(from, to, written)                                                                                           \
    {                                                                                                                  \
        .kind = GROUP_WRITE, .outcome = GROUP_DONE, .begin = from, .end = to, .value = written                         \
    }
#define W_UNKNOWN(from, written)                                                                                       \
    {                                                                                                                  \
        .kind = GROUP_WRITE, .outcome = GROUP_UNKNOWN, .begin = from, .value = written                                 \
    }
#define C(from, to, old, written)                                                                                      \
    {                                                                                                                  \
        .kind = GROUP_CONDITIONAL, .outcome = GROUP_DONE, .begin = from, .end = to, .value = written, .expected = old  \
    }
#define C_UNKNOWN(from, old, written)                                                                                  \
    {                                                                                                                  \
        .kind = GROUP_CONDITIONAL, .outcome = GROUP_UNKNOWN, .begin = from, .value = written, .expected = old          \
    }
#define REFUSED(from, to, old, written, saw)                                                                           \
    {                                                                                                                  \
        .kind = GROUP_CONDITIONAL, .outcome = GROUP_REFUSED, .begin = from, .end = to, .value = written,               \
        .expected = old, .observed = saw                                                                               \
    }
#define R(from, to, saw)                                                                                               \
    {                                                                                                                  \
        .kind = GROUP_INDEX_READ, .outcome = GROUP_DONE, .begin = from, .end = to, .observed = saw                     \
    }

static const struct by_hand hands[] = {
    {"one after the other", true, {W(1, 2, 10), R(3, 4, 10), W(5, 6, 11), R(7, 8, 11)}},
    {"nothing yet", true, {R(1, 2, 0), W(3, 4, 10), R(5, 6, 10)}},
    {"a read beside a write sees either", true, {W(1, 2, 10), W(3, 8, 11), R(4, 5, 10), R(6, 7, 11)}},
    {"writes beside each other in any order", true, {W(1, 6, 10), W(2, 5, 11), R(7, 8, 10), R(9, 10, 10)}},
    {"an unknown write that happens late", true, {W_UNKNOWN(1, 10), W(2, 3, 11), R(4, 5, 11), R(6, 7, 10)}},
    {"an unknown write that never happens", true, {W_UNKNOWN(1, 10), W(2, 3, 11), R(4, 5, 11), R(6, 7, 11)}},
    {"conditional writes in a row", true, {C(1, 10, 0, 10), C(2, 9, 10, 11), C(3, 8, 11, 12), R(11, 12, 12)}},
    {"an unknown conditional write that was seen", true, {W(1, 2, 10), C_UNKNOWN(3, 10, 11), R(4, 5, 10), R(6, 7, 11)}},
    {"a refusal saw a write beside it", true, {W(1, 4, 10), REFUSED(2, 3, 0, 11, 10), R(5, 6, 10)}},
    {"a stale read", false, {W(1, 2, 10), W(3, 4, 11), R(5, 6, 10)}},
    {"a lost write", false, {W(1, 2, 10), R(3, 4, 0)}},
    {"a read from the future", false, {R(1, 2, 10), W(3, 4, 10)}},
    {"a value that nobody wrote", false, {W(1, 2, 10), R(3, 4, 12)}},
    {"reads that go back", false, {W(1, 2, 10), W(3, 10, 11), R(4, 5, 11), R(6, 7, 10)}},
    {"two readers that disagree about the order", false, {W(1, 10, 10), W(2, 9, 11), R(11, 12, 10), R(13, 14, 11)}},
    {"two conditional writes over one value", false, {W(1, 2, 10), C(3, 6, 10, 11), C(4, 5, 10, 12)}},
    {"a conditional write over a value that is gone", false, {W(1, 2, 10), W(3, 4, 11), C(5, 6, 10, 12)}},
    {"a refusal that saw what never happened",
     false,
     {W(1, 2, 10), {.outcome = GROUP_NEVER, .begin = 3, .value = 11}, REFUSED(4, 5, 10, 12, 11)}},
    {"a refusal that saw what was lost",
     false,
     {W(1, 2, 10), W_UNKNOWN(3, 11), REFUSED(4, 5, 10, 12, 11), R(6, 7, 10)}},
    {"a refusal that saw what it expected", false, {W(1, 2, 10), REFUSED(3, 4, 10, 11, 10)}},
    {"a refused write that shows", false, {W(1, 2, 10), REFUSED(3, 4, 9, 11, 10), R(5, 6, 11)}},
    {"an unknown write that comes and goes",
     false,
     {W(1, 2, 10), W_UNKNOWN(3, 11), R(4, 5, 11), R(6, 7, 10), R(8, 9, 11)}},
    {"an unknown conditional write too late",
     false,
     {W(1, 2, 10), C_UNKNOWN(3, 10, 11), W(4, 5, 12), R(6, 7, 12), R(8, 9, 11)}},
};

bool group_history_self_test(void)
{
    for (size_t i = 0; i < sizeof(hands) / sizeof(hands[0]); i++) {
        struct group_operation operations[HAND_MAX];
        struct group_history history = {.operations = operations};
        char reason[256];

        memcpy(operations, hands[i].operations, sizeof(operations));
        while (history.count < HAND_MAX && operations[history.count].begin != 0)
            history.count++;
        if (group_history_check(&history, 0, reason, sizeof(reason)) != hands[i].good) {
            fprintf(stderr, "sim_group: the checker misjudges \"%s\"\n", hands[i].what);
            return false;
        }
    }
    return true;
}
