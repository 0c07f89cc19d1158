/*
 * What is durable when, on a simulated node: see sim_group_world.h.
 *
 * A node has two disks that know nothing of each other: the log's (entries, term and vote, cuts, the marker of an
 * install) and the store's (checkpoints). Each does its writes in order, each write whole or not at all, but for an
 * install, which is long: a crash may leave half of it.
 */
#include "sim_group_world.h"

struct group_entry *group_log_at(const struct group_log *log, uint64_t index)
{
    return index >= log->first && index - log->first < log->count ? log->entries[index - log->first] : NULL;
}

void group_log_drop_from(struct group_log *log, uint64_t index)
{
    if (index <= group_log_last(log))
        log->count = index > log->first ? (size_t) (index - log->first) : 0;
}

void group_log_append(struct group_log *log, struct group_entry *entry)
{
    group_reserve(&log->entries, &log->capacity, log->count, sizeof(struct group_entry *));
    log->entries[log->count++] = entry;
}

void group_log_cut(struct group_log *log, uint64_t first)
{
    size_t gone;

    if (first <= log->first)
        return;
    gone = first - log->first < log->count ? (size_t) (first - log->first) : log->count;
    memmove(log->entries, log->entries + gone, (log->count - gone) * sizeof(struct group_entry *));
    log->count -= gone;
    log->first = first;
}

void group_log_copy(struct group_log *to, const struct group_log *from)
{
    to->first = from->first;
    to->count = 0;
    for (size_t i = 0; i < from->count; i++)
        group_log_append(to, from->entries[i]);
}

/* ---- writes ---- */

static uint64_t duration(struct group_world *world, const struct group_node *node, int disk)
{
    uint64_t usual = disk == LOG_DISK ? group_between(world, 50, 1500) : group_between(world, 2000, 200000);

    return node->slow_until > world->now ? usual + group_between(world, 5000, 200000) : usual;
}

void group_disk_write(struct group_world *world, struct group_node *node, int disk, struct group_write write)
{
    struct group_queue *queue = &node->queues[disk];

    if (queue->head == queue->tail)
        queue->head = queue->tail = 0;
    write.at = (queue->last_at > world->now ? queue->last_at : world->now) + duration(world, node, disk);
    /* A slow disk does more at once. */
    if (write.at > world->now + 400000 && disk == LOG_DISK && queue->last_at > world->now)
        write.at = queue->last_at;
    if (write.at < node->stalled_until)
        write.at = node->stalled_until;
    queue->last_at = write.at;
    group_reserve(&queue->writes, &queue->capacity, queue->tail, sizeof(*queue->writes));
    queue->writes[queue->tail++] = write;
    group_push(world, (struct group_event){.at = write.at,
                                           .kind = EVENT_DISK,
                                           .node = (uint32_t) (node->id - 1),
                                           .incarnation = node->incarnation,
                                           .a = (uint64_t) disk});
}

static void log_take(struct group_world *world, struct group_log *log, const struct group_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        struct group_entry *entry = write->entries[i];

        if (entry->head.index < log->first)
            continue;
        if (i == 0 || entry->head.index == log->first)
            group_log_drop_from(log, entry->head.index);
        if (entry->head.index != group_log_last(log) + 1)
            group_fail(world, "a log that ends with %llu is to have %llu next",
                       (unsigned long long) group_log_last(log), (unsigned long long) entry->head.index);
        group_log_append(log, entry);
    }
}

static void take(struct group_world *world, struct group_node *node, const struct group_write *write)
{
    struct group_disk *disk = &node->disk;

    switch (write->kind) {
    case WRITE_LOG:
        if (write->state) {
            disk->old_term = disk->term;
            disk->term = write->term;
            disk->voted_for = write->voted_for;
        }
        log_take(world, &disk->log, write);
        break;
    case WRITE_CUT:
        group_log_cut(&disk->log, write->first);
        break;
    case WRITE_MARK:
        disk->marked = true;
        break;
    case WRITE_UNMARK:
        disk->marked = false;
        disk->log.first = write->first;
        disk->log.count = 0;
        break;
    case WRITE_CHECKPOINT:
    case WRITE_INSTALL:
        disk->checkpoint = *write->checkpoint;
        break;
    }
}

void group_write_release(struct group_write *write)
{
    free(write->entries);
    free(write->checkpoint);
}

struct group_write group_disk_finish(struct group_world *world, struct group_node *node, int disk)
{
    struct group_queue *queue = &node->queues[disk];
    struct group_write write = queue->writes[queue->head++];

    take(world, node, &write);
    return write;
}

/* Wiped, and some of what is new is there. */
static void tear(struct group_world *world, struct group_node *node, const struct group_write *write)
{
    struct group_checkpoint before = node->disk.checkpoint;

    node->disk.checkpoint = group_one_in(world, 2) ? *write->checkpoint : before;
    for (uint32_t key = 0; key < GROUP_KEYS; key++)
        node->disk.checkpoint.values[key] = group_one_in(world, 2) ? write->checkpoint->values[key] : 0;
}

void group_disk_crash(struct group_world *world, struct group_node *node)
{
    for (int disk = 0; disk < DISKS; disk++) {
        struct group_queue *queue = &node->queues[disk];
        uint64_t count = queue->tail - queue->head;
        uint64_t mode = group_below(world, 4); /* often all or nothing */
        uint64_t survive = mode == 0 ? 0 : mode == 1 ? count : group_below(world, count + 1);

        for (; queue->head < queue->tail; queue->head++) {
            struct group_write *write = &queue->writes[queue->head];

            if (survive > 0) {
                survive--;
                take(world, node, write);
                group_count(world, GROUP_WRITES_SURVIVED);
            } else {
                if (write->kind == WRITE_INSTALL)
                    tear(world, node, write);
                group_count(world, GROUP_WRITES_LOST);
            }
            group_write_release(write);
        }
        queue->last_at = 0;
    }
    if (world->fault == GROUP_FORGETS_VOTE || world->fault == GROUP_FORGETS_STATE)
        node->disk.voted_for = 0;
    if (world->fault == GROUP_FORGETS_STATE)
        node->disk.term = node->disk.old_term;
}
