/*
 * See sb_log_index.h.
 *
 * Happy path: put at the end of a group's array, truncate by moving its start; a state replaces the one before it.
 * Failure modes: memory; a gap.
 */
#include "sb_log_index.h"

#define PLACES_MIN 16

void sb_log_index_close(struct sb_log_index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        sb_free(index->groups[i]->places);
        sb_free(index->groups[i]->state.bytes);
        sb_free(index->groups[i]);
    }
    sb_free(index->groups);
    *index = (struct sb_log_index){0};
}

/* Where the group is or would be. */
static size_t position_of(const struct sb_log_index *index, uint64_t id)
{
    size_t low = 0;
    size_t high = index->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (index->groups[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sb_log_group *sb_log_index_find(const struct sb_log_index *index, uint64_t id)
{
    size_t at = position_of(index, id);

    return at < index->count && index->groups[at]->id == id ? index->groups[at] : NULL;
}

struct sb_log_group *sb_log_index_get(struct sb_log_index *index, uint64_t id)
{
    size_t at = position_of(index, id);
    struct sb_log_group *group;

    if (at < index->count && index->groups[at]->id == id)
        return index->groups[at];
    if (index->count == index->capacity) {
        size_t capacity = index->capacity ? index->capacity * 2 : 8;
        struct sb_log_group **groups = sb_realloc(index->groups, capacity * sizeof(struct sb_log_group *));

        if (!groups)
            return NULL;
        index->groups = groups;
        index->capacity = capacity;
    }
    group = sb_alloc(sizeof(*group));
    if (!group)
        return NULL;
    group->id = id;
    memmove(index->groups + at + 1, index->groups + at, (index->count - at) * sizeof(struct sb_log_group *));
    index->groups[at] = group;
    index->count++;
    return group;
}

static void to_front(struct sb_log_group *group)
{
    if (group->start > 0)
        memmove(group->places, group->places + group->start, (group->next - group->first) * sizeof(*group->places));
    group->start = 0;
}

int sb_log_group_reserve(struct sb_log_group *group, uint64_t count)
{
    size_t capacity = group->capacity > PLACES_MIN ? group->capacity : PLACES_MIN;
    struct sb_log_place *places;

    if (count <= group->capacity - group->start)
        return WIRE_OK;
    /* Moving is worth it only when it makes much room. */
    if (count <= group->capacity && group->start >= group->capacity / 2) {
        to_front(group);
        return WIRE_OK;
    }
    if (count > SIZE_MAX / sizeof(*places) / 4)
        return WIRE_E_NOMEM;
    while (capacity < group->start + count)
        capacity *= 2;
    places = sb_realloc(group->places, capacity * sizeof(*places));
    if (!places)
        return WIRE_E_NOMEM;
    group->places = places;
    group->capacity = capacity;
    return WIRE_OK;
}

const struct sb_log_place *sb_log_group_place(const struct sb_log_group *group, uint64_t index)
{
    if (index < group->first || index >= group->next)
        return NULL;
    return &group->places[group->start + (size_t) (index - group->first)];
}

/* The places [from, from + count) of the array no longer count. */
static void release(struct sb_log_index *index, struct sb_log_group *group, size_t from, uint64_t count)
{
    for (size_t i = from; i < from + count; i++) {
        struct sb_log_file *file = sb_log_set_find(index->set, group->places[i].segment);

        if (file)
            file->live--;
    }
}

/* Gives memory back after a truncation; that it may fail does no harm. */
static void shrink(struct sb_log_group *group)
{
    uint64_t count = group->next - group->first;
    size_t capacity = group->capacity / 2;
    struct sb_log_place *places;

    if (group->capacity <= 64 * PLACES_MIN || count > group->capacity / 4)
        return;
    to_front(group);
    places = sb_realloc(group->places, capacity * sizeof(*places));
    if (places) {
        group->places = places;
        group->capacity = capacity;
    }
}

void sb_log_group_truncate_prefix(struct sb_log_index *index, struct sb_log_group *group, uint64_t entry_index)
{
    uint64_t live = group->next - group->first;
    uint64_t gone;

    if (group->first == 0) {
        group->first = group->next = entry_index + 1;
        return;
    }
    if (entry_index < group->first)
        return;
    gone = entry_index + 1 - group->first;
    if (gone > live)
        gone = live;
    release(index, group, group->start, gone);
    group->first = entry_index + 1;
    if (gone == live) {
        group->start = 0;
        group->next = group->first;
    } else
        group->start += (size_t) gone;
    shrink(group);
}

int sb_log_group_put(struct sb_log_index *index, struct sb_log_group *group, uint64_t first, uint64_t entry_index,
                     const struct sb_log_place *place)
{
    struct sb_log_file *file = sb_log_set_find(index->set, place->segment);
    int status;

    if (group->first == 0)
        group->first = group->next = entry_index;
    else if (first > group->first)
        sb_log_group_truncate_prefix(index, group, first - 1);
    if (entry_index > group->next)
        return WIRE_E_BAD_FORMAT;
    if (entry_index < group->first) {
        release(index, group, group->start, group->next - group->first);
        group->first = group->next = entry_index;
    }
    status = sb_log_group_reserve(group, entry_index + 1 - group->first);
    if (status != WIRE_OK)
        return status;
    release(index, group, group->start + (size_t) (entry_index - group->first), group->next - entry_index);
    group->places[group->start + (size_t) (entry_index - group->first)] = *place;
    group->next = entry_index + 1;
    if (file)
        file->live++;
    return WIRE_OK;
}

int sb_log_group_reserve_state(struct sb_log_group *group, size_t size)
{
    struct sb_log_newest *state = &group->state;
    uint8_t *bytes;

    if (size <= state->capacity)
        return WIRE_OK;
    bytes = sb_realloc(state->bytes, size);
    if (!bytes)
        return WIRE_E_NOMEM;
    state->bytes = bytes;
    state->capacity = size;
    return WIRE_OK;
}

int sb_log_group_put_state(struct sb_log_index *index, struct sb_log_group *group, uint64_t term,
                           struct wire_span state, uint32_t segment)
{
    struct sb_log_newest *newest = &group->state;
    struct sb_log_file *before = newest->segment ? sb_log_set_find(index->set, newest->segment) : NULL;
    struct sb_log_file *file = sb_log_set_find(index->set, segment);
    int status = sb_log_group_reserve_state(group, state.size);

    if (status != WIRE_OK)
        return status;
    if (before) {
        before->state_bytes -= sb_log_record_size(newest->size);
        index->state_bytes -= sb_log_record_size(newest->size);
    }
    if (state.size > 0)
        memmove(newest->bytes, state.data, state.size);
    newest->size = state.size;
    newest->term = term;
    newest->segment = segment;
    if (file) {
        file->state_bytes += sb_log_record_size(state.size);
        index->state_bytes += sb_log_record_size(state.size);
    }
    return WIRE_OK;
}
