/*
 * Events, clocks, links and entries of the simulated group: see sim_group_world.h.
 */
#include "sim_group_world.h"

#include <stdarg.h>

#include "wire_key.h"

void group_fail(struct group_world *world, const char *format, ...)
{
    va_list arguments;
    int size;

    if (world->failed)
        return;
    world->failed = true;
    size = snprintf(world->reason, sizeof(world->reason), "at %.6f s: ", (double) world->now / 1e6);
    va_start(arguments, format);
    vsnprintf(world->reason + size, sizeof(world->reason) - (size_t) size, format, arguments);
    va_end(arguments);
}

void *group_allocate(void *pointer, size_t size)
{
    void *result = realloc(pointer, size);

    if (!result)
        abort();
    return result;
}

void group_reserve(void *pointer, size_t *count, size_t index, size_t size)
{
    char **array = pointer;
    size_t more = *count ? *count : 64;

    if (index < *count)
        return;
    while (more <= index)
        more *= 2;
    *array = group_allocate(*array, more * size);
    memset(*array + *count * size, 0, (more - *count) * size);
    *count = more;
}

/* ---- events: a heap by time, then by order of pushing ---- */

static bool event_before(const struct group_event *a, const struct group_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct group_world *world, struct group_event event)
{
    size_t at = world->event_count++;

    group_reserve(&world->events, &world->event_capacity, at, sizeof(*world->events));
    while (at > 0 && event_before(&event, &world->events[(at - 1) / 2])) {
        world->events[at] = world->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->events[at] = event;
}

static struct group_event heap_pop(struct group_world *world)
{
    struct group_event first = world->events[0];
    struct group_event last = world->events[--world->event_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= world->event_count)
            break;
        if (child + 1 < world->event_count && event_before(&world->events[child + 1], &world->events[child]))
            child++;
        if (!event_before(&world->events[child], &last))
            break;
        world->events[at] = world->events[child];
        at = child;
    }
    world->events[at] = last;
    return first;
}

void group_push(struct group_world *world, struct group_event event)
{
    event.order = world->order++;
    heap_push(world, event);
}

static bool is_of_node(enum group_event_kind kind)
{
    return kind <= EVENT_FETCHED;
}

bool group_pop(struct group_world *world, struct group_event *out)
{
    while (world->event_count > 0) {
        struct group_event event = heap_pop(world);
        struct group_node *node = &world->nodes[event.node];

        if (event.at > world->now)
            world->now = event.at;
        /* What a suspended node should see it sees when it goes on, in the same order. */
        if (is_of_node(event.kind) && node->paused_until > world->now) {
            event.at = node->paused_until;
            /* Readers are threads of their own; they and requests may be first. */
            if ((event.kind == EVENT_READ || event.kind == EVENT_ANSWER || event.kind == EVENT_TURN) &&
                group_one_in(world, 2))
                event.order = 0;
            heap_push(world, event);
            continue;
        }
        *out = event;
        return true;
    }
    return false;
}

void group_world_release(struct group_world *world)
{
    while (world->event_count > 0)
        free(heap_pop(world).data);
    for (size_t i = 0; i < world->registry_count; i++) {
        while (world->registry[i]) {
            struct group_entry *entry = world->registry[i];

            world->registry[i] = entry->other;
            free(entry);
        }
    }
    free(world->events);
    free(world->registry);
    free(world->committed);
    free(world->leaders);
    free(world->votes);
    free(world->history.operations);
}

/* ---- clocks ---- */

uint64_t group_clock_us(const struct group_world *world, const struct group_node *node)
{
    return node->clock_us + (world->now - node->clock_at) * node->rate / 1000000;
}

void group_clock_set_rate(struct group_world *world, struct group_node *node, uint64_t rate)
{
    node->clock_us = group_clock_us(world, node);
    node->clock_at = world->now;
    node->rate = rate;
}

uint64_t group_clock_when(const struct group_world *world, const struct group_node *node, uint64_t local_ms)
{
    uint64_t local_us = group_clock_us(world, node);

    if (local_ms >= UINT64_MAX / 1000000)
        return UINT64_MAX;
    if (local_ms * 1000 <= local_us)
        return world->now;
    return world->now + (local_ms * 1000 - local_us) * 1000000 / node->rate + 2;
}

void group_pause(struct group_world *world, struct group_node *node, uint64_t until)
{
    if (!node->up || node->paused_until > world->now)
        return;
    node->paused_until = until;
    if (world->fault != GROUP_CLOCK_STOPS)
        return;
    node->clock_us = group_clock_us(world, node) - (until - world->now) * node->rate / 1000000;
    node->clock_at = world->now;
}

/* ---- links ---- */

bool group_link_is_open(const struct group_world *world, uint32_t from, uint32_t to)
{
    return world->links[from][to].blocked_until <= world->now;
}

void group_link_reconnect(struct group_world *world, uint32_t a, uint32_t b)
{
    world->links[a][b].epoch++;
    world->links[b][a].epoch++;
}

void group_link_send(struct group_world *world, struct group_bytes *bytes)
{
    struct group_link *link = &world->links[bytes->from][bytes->to];
    uint64_t at = world->now + group_between(world, 100, 1000);

    if (!group_link_is_open(world, bytes->from, bytes->to)) {
        group_count(world, GROUP_MESSAGES_DROPPED);
        free(bytes);
        return;
    }
    if (link->lossy_until > world->now && group_one_in(world, 4)) {
        group_count(world, GROUP_FAULT_LOSS);
        free(bytes);
        return;
    }
    if (link->slow_until > world->now)
        at += group_between(world, 1000, 4000 * (uint64_t) world->options.heartbeat_ms);
    if (at < link->last_at)
        at = link->last_at;
    link->last_at = at;
    bytes->epoch = link->epoch;
    group_count(world, GROUP_MESSAGES);
    group_push(world, (struct group_event){.at = at, .kind = EVENT_MESSAGE, .node = bytes->to, .data = bytes});
}

/* ---- entries ---- */

struct group_entry *group_entry_find(const struct group_world *world, uint64_t index, uint64_t term)
{
    struct group_entry *entry = index < world->registry_count ? world->registry[index] : NULL;

    while (entry && entry->head.term != term)
        entry = entry->other;
    return entry;
}

static void entry_write(struct group_entry *entry)
{
    struct wire_writer w = wire_writer_of(entry->bytes, sizeof(entry->bytes));
    struct wire_entry header = {
        .group = GROUP_ID, .term = entry->head.term, .index = entry->head.index, .version = entry->head.index};
    struct wire_key_value column = {.type = WIRE_KEY_INTEGER, .integer = entry->key};
    uint8_t body[WIRE_CONFIGURATION_SIZE_MAX + 32];
    struct wire_writer b = wire_writer_of(body, sizeof(body));
    uint8_t item[8];
    struct wire_writer i = wire_writer_of(item, sizeof(item));
    struct wire_effect effect = {.kind = WIRE_EFFECT_PUT};
    struct wire_entry_builder builder;

    wire_entry_begin(&builder, &w, &header);
    if (entry->head.kind == RG_EFFECTS) {
        wire_write_u64(&i, entry->value);
        wire_key_write_prefix(&b, 1, 0);
        if (wire_key_write_column(&b, &column) != WIRE_OK)
            abort();
        effect.item = (struct wire_span){item, i.size};
    } else if (entry->head.kind == RG_CONFIGURATION) {
        wire_configuration_write(&b, &entry->configuration);
        effect.kind = WIRE_EFFECT_CONFIGURATION;
    }
    effect.key = (struct wire_span){body, b.size};
    if (entry->head.kind != RG_BARRIER)
        wire_entry_add(&builder, &effect);
    if (wire_entry_end(&builder) != WIRE_OK)
        abort();
    entry->size = (uint32_t) w.size;
}

struct group_entry *group_entry_make(struct group_world *world, const struct rg_entry *head, uint64_t previous_term,
                                     uint32_t key, uint64_t value)
{
    struct group_entry *entry = group_allocate(NULL, sizeof(*entry));

    if (group_entry_find(world, head->index, head->term))
        group_fail(world, "a second entry %llu of term %llu is made", (unsigned long long) head->index,
                   (unsigned long long) head->term);
    *entry = (struct group_entry){.head = *head, .previous_term = previous_term, .key = key, .value = value};
    if (head->kind == RG_CONFIGURATION) {
        entry->configuration = *head->configuration;
        entry->head.configuration = &entry->configuration;
    }
    entry_write(entry);
    group_reserve(&world->registry, &world->registry_count, head->index, sizeof(*world->registry));
    entry->other = world->registry[head->index];
    world->registry[head->index] = entry;
    return entry;
}
