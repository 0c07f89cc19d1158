/*
 * See sb_log.h. The bytes are in sb_log_segment.h, the files in sb_log_set.h, the index in sb_log_index.h, start-up in
 * sb_log_recover.h.
 *
 * Happy path: append checks the batch against the index, builds it in one buffer with its checksums, writes it at the
 * cursor and puts it in the index; sync is one fdatasync of the active segment. A batch that does not fit syncs the
 * active segment and goes to a new one, so unsynced batches lie in the last segment only. A segment without a live entry
 * is given up once the states that are only in it have been appended again and synced.
 *
 * Failure modes: memory is reserved before the write. A full disk undoes the batch: its header is zeroed and that is
 * synced, or the log is broken. Any other failed write, and every failed sync, breaks the log: all later calls fail
 * with WIRE_E_IO and the first fault's text.
 *
 * Locks: `writer` serialises append, sync and the removal of segments and is held across I/O; `lock` guards index, list
 * of segments, counters and `broken` and is never held across I/O. writer before lock. Fields of neither are the
 * writer's.
 */
#include "sb_log.h"

#include <pthread.h>

#include "sb_log_recover.h"
#include "wire_limits.h"

#define BUFFER_KEEP_BYTES (8 * 1024 * 1024)
#define SEGMENT_LEAST_BYTES (2 * SB_LOG_PAGE)
#define STATES_BATCH_BYTES (256 * 1024)
#define STATES_RESERVE_SHARE 8 /* a segment keeps at most this part of it free for states */

struct sb_log {
    struct sb_files *files;
    pthread_mutex_t writer;
    pthread_mutex_t lock;
    struct sb_log_set set;
    struct sb_log_index index;
    struct sb_log_cursor cursor;
    struct sb_buffer batch;     /* the one being built */
    uint64_t synced;            /* sequence of the last batch known to be synced */
    uint64_t attempt;           /* marks what the check of one append noted in the groups */
    struct sb_log_status count; /* lock; without segments and bytes */
    bool broken;                /* lock */
    struct sb_fault reason;     /* of the break */
};

/* The fault of a broken log, or WIRE_OK. */
static int check_broken(struct sb_log *log, struct sb_fault *fault)
{
    bool broken;

    pthread_mutex_lock(&log->lock);
    broken = log->broken;
    pthread_mutex_unlock(&log->lock);
    return broken ? sb_fault_set(fault, WIRE_E_IO, "%s", log->reason.text) : WIRE_OK;
}

static int break_log(struct sb_log *log, const struct sb_fault *fault)
{
    pthread_mutex_lock(&log->lock);
    if (!log->broken)
        sb_fault_set(&log->reason, WIRE_E_IO, "the log stopped after a failed write: %s", fault ? fault->text : "");
    log->broken = true;
    pthread_mutex_unlock(&log->lock);
    return WIRE_E_IO;
}

static uint64_t appended(const struct sb_log *log)
{
    return log->cursor.batch - 1;
}

static int check_options(const struct sb_log_options *options, struct sb_fault *fault)
{
    if (options->segment_bytes < SEGMENT_LEAST_BYTES || options->segment_bytes > SB_LOG_BODY_MAX)
        return sb_fault_set(fault, WIRE_E_CONFIG, "log segments of %llu bytes: not between %d and %d",
                            (unsigned long long) options->segment_bytes, SEGMENT_LEAST_BYTES, SB_LOG_BODY_MAX);
    return WIRE_OK;
}

int sb_log_open(struct sb_files *files, const struct sb_log_options *options,
                int (*each)(void *context, const struct sb_log_entry *entry), void *context, struct sb_log **out,
                struct sb_fault *fault)
{
    struct sb_log *log;
    int status = check_options(options, fault);

    *out = NULL;
    if (status != WIRE_OK)
        return status;
    log = sb_alloc(sizeof(*log));
    if (!log)
        return sb_fault_set(fault, WIRE_E_NOMEM, "open log: out of memory");
    log->files = files;
    pthread_mutex_init(&log->writer, NULL);
    pthread_mutex_init(&log->lock, NULL);
    sb_log_set_init(&log->set, files, options);
    log->index.set = &log->set;
    status = sb_log_recover(&log->set, &log->index, &log->cursor, fault);
    if (status == WIRE_OK && each)
        status = sb_log_replay(&log->set, &log->index, each, context, fault);
    if (status != WIRE_OK) {
        sb_log_close(log);
        return status;
    }
    log->synced = appended(log);
    *out = log;
    return WIRE_OK;
}

void sb_log_close(struct sb_log *log)
{
    if (!log)
        return;
    sb_log_index_close(&log->index);
    sb_log_set_close(&log->set);
    sb_buffer_close(&log->batch);
    pthread_mutex_destroy(&log->writer);
    pthread_mutex_destroy(&log->lock);
    sb_free(log);
}

/* Syncs the active segment, writer held. */
static int sync_active(struct sb_log *log, struct sb_fault *fault)
{
    int status;

    if (log->synced == appended(log))
        return WIRE_OK;
    status = log->files->sync_file(log->files->self, sb_log_set_active(&log->set)->handle, fault);
    if (status != WIRE_OK)
        return WIRE_E_IO;
    log->synced = appended(log);
    pthread_mutex_lock(&log->lock);
    log->count.syncs++;
    pthread_mutex_unlock(&log->lock);
    return WIRE_OK;
}

/* Lock held: any state may follow what there is. Reserves its memory in the index. */
static int check_state(struct sb_log_group *group, const struct sb_log_entry *entry, struct sb_fault *fault)
{
    if (entry->payload.size > SB_LOG_STATE_MAX)
        return sb_fault_set(fault, WIRE_E_BAD_FORMAT, "append: state of %zu bytes", entry->payload.size);
    if (sb_log_group_reserve_state(group, entry->payload.size) != WIRE_OK)
        return sb_fault_set(fault, WIRE_E_NOMEM, "append: out of memory");
    return WIRE_OK;
}

/* Lock held: may this entry follow what the batch has made of its group so far? Reserves its place in the index. */
static int check_entry(struct sb_log *log, const struct sb_log_entry *entry, struct sb_fault *fault)
{
    struct sb_log_group *group = sb_log_index_get(&log->index, entry->group);

    if (!group)
        return sb_fault_set(fault, WIRE_E_NOMEM, "append: out of memory");
    if (entry->index == 0)
        return check_state(group, entry, fault);
    if (group->check_attempt != log->attempt) {
        group->check_attempt = log->attempt;
        group->check_first = group->first;
        group->check_next = group->next;
    }
    if (entry->payload.size > WIRE_ENTRY_MAX || entry->index == UINT64_MAX)
        return sb_fault_set(fault, WIRE_E_BAD_FORMAT, "append: entry of %zu bytes with index %llu", entry->payload.size,
                            (unsigned long long) entry->index);
    if (group->check_first == 0)
        group->check_first = group->check_next = entry->index;
    if (entry->index < group->check_first || entry->index > group->check_next)
        return sb_fault_set(fault, WIRE_E_BAD_FORMAT,
                            "append: index %llu to group %llu, whose log is from %llu to %llu",
                            (unsigned long long) entry->index, (unsigned long long) entry->group,
                            (unsigned long long) group->check_first, (unsigned long long) (group->check_next - 1));
    group->check_next = entry->index + 1;
    if (sb_log_group_reserve(group, group->check_next - group->check_first) != WIRE_OK)
        return sb_fault_set(fault, WIRE_E_NOMEM, "append: out of memory");
    return WIRE_OK;
}

/* The whole batch; its size, header included, in *size. Afterwards nothing but the files can fail. */
static int check_batch(struct sb_log *log, const struct sb_log_entry *entries, size_t count, size_t *size,
                       struct sb_fault *fault)
{
    int status = WIRE_OK;

    *size = SB_LOG_BATCH_HEADER;
    log->attempt++;
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; status == WIRE_OK && i < count; i++) {
        status = check_entry(log, &entries[i], fault);
        if (status == WIRE_OK)
            *size += sb_log_record_size(entries[i].payload.size);
        if (*size > SB_LOG_BODY_MAX)
            status = sb_fault_set(fault, WIRE_E_BAD_FORMAT, "append: a batch of more than %d bytes", SB_LOG_BODY_MAX);
    }
    if (status == WIRE_OK && sb_log_set_reserve(&log->set) != WIRE_OK)
        status = sb_fault_set(fault, WIRE_E_NOMEM, "append: out of memory");
    pthread_mutex_unlock(&log->lock);
    log->batch.size = 0;
    if (status == WIRE_OK && sb_buffer_reserve(&log->batch, *size) != WIRE_OK)
        status = sb_fault_set(fault, WIRE_E_NOMEM, "append: out of memory");
    return status;
}

/* What a batch leaves free behind itself, so that a full disk does not stop the states of older segments from being
 * moved and those segments from giving room. */
static uint64_t reserve_for_states(const struct sb_log *log)
{
    uint64_t bytes = log->index.state_bytes > 0 ? SB_LOG_BATCH_HEADER + log->index.state_bytes : 0;
    uint64_t most = log->set.segment_bytes / STATES_RESERVE_SHARE;

    return bytes < most ? bytes : most;
}

/* A segment with room for `size` bytes at the cursor. */
static int make_room(struct sb_log *log, uint64_t size, struct sb_fault *fault)
{
    const struct sb_log_file *active = sb_log_set_active(&log->set);
    struct sb_log_segment_header header = {.identity = log->set.identity,
                                           .sequence = active->sequence + (uint64_t) 1,
                                           .first_batch = log->cursor.batch,
                                           .previous = log->cursor.previous};
    uint64_t least = (SB_LOG_PAGE + size + SB_LOG_PAGE - 1) / SB_LOG_PAGE * SB_LOG_PAGE;
    struct sb_log_file file;
    int status;

    if (size <= active->size - log->cursor.offset)
        return WIRE_OK;
    status = sync_active(log, fault);
    if (status != WIRE_OK)
        return status;
    if (header.sequence > UINT32_MAX)
        return sb_fault_set(fault, WIRE_E_IO, "append: all segment numbers are used up");
    header.size = least > log->set.segment_bytes ? least : log->set.segment_bytes;
    status = sb_log_set_create(&log->set, &header, &file, fault);
    if (status != WIRE_OK)
        return status;
    pthread_mutex_lock(&log->lock);
    sb_log_set_push(&log->set, &file);
    pthread_mutex_unlock(&log->lock);
    log->cursor.offset = SB_LOG_PAGE;
    return WIRE_OK;
}

static struct sb_log_spot spot_at(const struct sb_log *log, uint64_t offset)
{
    return (struct sb_log_spot){log->set.identity, sb_log_set_active(&log->set)->sequence, offset};
}

/* What the record of a checked entry says about its group. Read without the lock: only this side changes it. */
static uint64_t first_of(const struct sb_log *log, const struct sb_log_entry *entry)
{
    return entry->index > 0 ? sb_log_index_find(&log->index, entry->group)->check_first : 0;
}

/* The bytes of the batch, for the place the cursor points to. */
static uint32_t build_batch(struct sb_log *log, const struct sb_log_entry *entries, size_t count, size_t size)
{
    struct sb_log_batch batch = {.sequence = log->cursor.batch,
                                 .synced = log->synced,
                                 .body_size = size - SB_LOG_BATCH_HEADER,
                                 .count = (uint32_t) count,
                                 .previous = log->cursor.previous};
    size_t at = SB_LOG_BATCH_HEADER;

    for (size_t i = 0; i < count; i++) {
        struct sb_log_record record = {.entry = entries[i], .first = first_of(log, &entries[i])};

        sb_log_record_encode(&record, spot_at(log, log->cursor.offset + at), log->batch.data + at);
        at += sb_log_record_size(entries[i].payload.size);
    }
    sb_log_batch_seal(&batch, spot_at(log, log->cursor.offset), log->batch.data);
    return batch.checksum;
}

/* A full disk may have taken any part of the batch: it is made invalid for good, so that a batch reported as failed is
 * never found later. */
static int write_batch(struct sb_log *log, size_t size, struct sb_fault *fault)
{
    static const uint8_t zeroes[SB_LOG_BATCH_HEADER];
    struct sb_files *files = log->files;
    int handle = sb_log_set_active(&log->set)->handle;
    int status = files->write(files->self, handle, log->cursor.offset, log->batch.data, size, fault);

    if (status != WIRE_E_DISK_FULL)
        return status;
    if (files->write(files->self, handle, log->cursor.offset, zeroes, sizeof(zeroes), NULL) != WIRE_OK ||
        files->sync_file(files->self, handle, NULL) != WIRE_OK)
        return WIRE_E_IO;
    log->synced = appended(log);
    return status;
}

/* The batch is in the file: makes it part of the log. */
static int publish_batch(struct sb_log *log, const struct sb_log_entry *entries, size_t count, size_t size,
                         struct sb_fault *fault)
{
    uint64_t offset = log->cursor.offset + SB_LOG_BATCH_HEADER;
    uint32_t segment = sb_log_set_active(&log->set)->sequence;
    int status = WIRE_OK;

    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; status == WIRE_OK && i < count; i++) {
        struct sb_log_place place = {
            .term = entries[i].term, .offset = offset, .segment = segment, .size = (uint32_t) entries[i].payload.size};
        struct sb_log_group *group = sb_log_index_find(&log->index, entries[i].group);

        if (entries[i].index == 0)
            status = sb_log_group_put_state(&log->index, group, place.term, entries[i].payload, segment);
        else
            status = sb_log_group_put(&log->index, group, group->check_first, entries[i].index, &place);
        offset += sb_log_record_size(entries[i].payload.size);
    }
    log->count.appends++;
    log->count.appended_bytes += size;
    pthread_mutex_unlock(&log->lock);
    /* Checked and reserved before; a caller that truncates during an append could still get here. */
    if (status != WIRE_OK)
        return sb_fault_set(fault, WIRE_E_IO, "append: the index does not take a batch that was checked");
    return WIRE_OK;
}

/* reserve: room to be left behind the batch in its segment. */
static int append_batch(struct sb_log *log, const struct sb_log_entry *entries, size_t count, uint64_t reserve,
                        struct sb_fault *fault)
{
    size_t size;
    uint32_t checksum;
    int status = check_batch(log, entries, count, &size, fault);

    if (status == WIRE_OK)
        status = make_room(log, size + reserve, fault);
    if (status != WIRE_OK)
        return status;
    checksum = build_batch(log, entries, count, size);
    status = write_batch(log, size, fault);
    if (status == WIRE_OK)
        status = publish_batch(log, entries, count, size, fault);
    if (status != WIRE_OK)
        return status;
    log->cursor.offset += size;
    log->cursor.batch++;
    log->cursor.previous = checksum;
    if (log->batch.capacity > BUFFER_KEEP_BYTES)
        sb_buffer_close(&log->batch);
    return WIRE_OK;
}

int sb_log_append(struct sb_log *log, const struct sb_log_entry *entries, size_t count, struct sb_fault *fault)
{
    struct sb_fault own = {0};
    int status;

    pthread_mutex_lock(&log->writer);
    status = check_broken(log, &own);
    if (status == WIRE_OK && count > 0) {
        status = append_batch(log, entries, count, reserve_for_states(log), &own);
        if (status != WIRE_OK && status != WIRE_E_DISK_FULL && status != WIRE_E_NOMEM && status != WIRE_E_BAD_FORMAT)
            status = break_log(log, &own);
    }
    pthread_mutex_unlock(&log->writer);
    return status == WIRE_OK ? WIRE_OK : sb_fault_set(fault, status, "%s", own.text);
}

/* Lock held: how many segments at the front hold no live entry, and so few states that moving these frees at least
 * twice the room it takes. Without that bound a log of little but states would be written round and round. */
static size_t dead_segments(const struct sb_log *log)
{
    uint64_t states = 0;
    uint64_t room = 0;
    size_t count = 0;
    size_t dead = 0;

    while (count + 1 < log->set.count && log->set.list[count].live == 0 && log->set.list[count].pins == 0) {
        states += log->set.list[count].state_bytes;
        room += log->set.list[count].size - SB_LOG_PAGE;
        count++;
        if (2 * states <= room)
            dead = count;
    }
    return dead;
}

/* The newest states that are in segments before `end`, into *out (the caller's to free). Their payloads are those of the
 * index, which only the writer changes. */
static int collect_states(struct sb_log *log, uint32_t end, struct sb_log_entry **out, size_t *count)
{
    int status = WIRE_E_NOMEM;

    *count = 0;
    pthread_mutex_lock(&log->lock);
    *out = sb_alloc(log->index.count * sizeof(**out));
    for (size_t i = 0; *out && i < log->index.count; i++) {
        const struct sb_log_group *group = log->index.groups[i];

        if (group->state.segment > 0 && group->state.segment < end)
            (*out)[(*count)++] = (struct sb_log_entry){
                .group = group->id, .term = group->state.term, .payload = {group->state.bytes, group->state.size}};
    }
    if (*out)
        status = WIRE_OK;
    pthread_mutex_unlock(&log->lock);
    return status;
}

/* How many of the states make a batch: as many as a segment takes, but for a buffer of moderate size. */
static size_t count_for_batch(const struct sb_log *log, const struct sb_log_entry *states, size_t count)
{
    uint64_t most = log->set.segment_bytes - SB_LOG_PAGE;
    uint64_t size = SB_LOG_BATCH_HEADER;
    size_t fit = 0;

    if (most > STATES_BATCH_BYTES)
        most = STATES_BATCH_BYTES;
    while (fit < count && (fit == 0 || size + sb_log_record_size(states[fit].payload.size) <= most))
        size += sb_log_record_size(states[fit++].payload.size);
    return fit;
}

/* Appends the states of the first `segments` segments again and syncs them; writer held. A crash on the way finds them
 * at the old place or at both. WIRE_E_DISK_FULL and WIRE_E_NOMEM leave the log usable, with some of them moved. */
static int move_states(struct sb_log *log, size_t segments, struct sb_fault *fault)
{
    struct sb_log_entry *states;
    struct sb_fault own = {0};
    size_t count;
    size_t moved = 0;
    int status = collect_states(log, log->set.list[0].sequence + (uint32_t) segments, &states, &count);

    while (status == WIRE_OK && moved < count) {
        size_t fit = count_for_batch(log, states + moved, count - moved);

        status = append_batch(log, states + moved, fit, 0, &own);
        moved += fit;
    }
    if (status == WIRE_OK)
        status = sync_active(log, &own);
    sb_free(states);
    if (status != WIRE_OK && status != WIRE_E_DISK_FULL && status != WIRE_E_NOMEM)
        return sb_fault_set(fault, break_log(log, &own), "%s", log->reason.text);
    return status;
}

/* Gives up the first segment; writer held. Nothing can begin to need it: nothing in the index is there. */
static int discard_first(struct sb_log *log, struct sb_fault *fault)
{
    int status = sb_log_set_discard(&log->set, fault);

    if (status != WIRE_OK)
        return status;
    pthread_mutex_lock(&log->lock);
    sb_log_set_shift(&log->set);
    pthread_mutex_unlock(&log->lock);
    return WIRE_OK;
}

/*
 * Frees the segments at the front that nobody needs; writer held. Not while batches are unsynced: one of them may have
 * replaced the entries that made a segment needless, and a power loss would take both. States are moved once; if there
 * is no room for them, the segments stay for now.
 */
static int reclaim(struct sb_log *log, struct sb_fault *fault)
{
    bool moved = false;
    int status = WIRE_OK;

    while (status == WIRE_OK && log->synced == appended(log)) {
        size_t dead;
        bool states;

        pthread_mutex_lock(&log->lock);
        dead = dead_segments(log);
        states = log->set.list[0].state_bytes > 0;
        pthread_mutex_unlock(&log->lock);
        if (dead == 0 || (states && moved))
            break;
        status = states ? move_states(log, dead, fault) : discard_first(log, fault);
        if (states && (status == WIRE_E_DISK_FULL || status == WIRE_E_NOMEM))
            return WIRE_OK;
        moved |= states;
    }
    return status;
}

int sb_log_sync(struct sb_log *log, struct sb_fault *fault)
{
    struct sb_fault own = {0};
    int status;

    pthread_mutex_lock(&log->writer);
    status = check_broken(log, &own);
    if (status == WIRE_OK) {
        status = sync_active(log, &own);
        if (status != WIRE_OK)
            status = break_log(log, &own);
    }
    if (status == WIRE_OK) {
        /* Housekeeping; a failure here is met again where it matters. */
        reclaim(log, NULL);
        sb_log_set_prepare(&log->set, log->cursor.offset);
    }
    pthread_mutex_unlock(&log->writer);
    return status == WIRE_OK ? WIRE_OK : sb_fault_set(fault, status, "%s", own.text);
}

int sb_log_state(struct sb_log *log, uint64_t group, uint64_t *term, struct sb_buffer *out)
{
    const struct sb_log_group *found;
    int status = WIRE_E_NOT_FOUND;

    pthread_mutex_lock(&log->lock);
    found = sb_log_index_find(&log->index, group);
    if (found && found->state.segment > 0) {
        status = sb_buffer_append(out, found->state.bytes, found->state.size);
        *term = found->state.term;
    }
    pthread_mutex_unlock(&log->lock);
    return status;
}

void sb_log_bounds(struct sb_log *log, uint64_t group, uint64_t *first, uint64_t *last)
{
    const struct sb_log_group *found;

    pthread_mutex_lock(&log->lock);
    found = sb_log_index_find(&log->index, group);
    *first = found ? found->first : 0;
    *last = found && found->first > 0 ? found->next - 1 : 0;
    pthread_mutex_unlock(&log->lock);
}

/* Where the entry is, and its segment pinned. */
static int pin(struct sb_log *log, uint64_t group, uint64_t index, struct sb_log_place *place, int *handle)
{
    const struct sb_log_group *found;
    const struct sb_log_place *at = NULL;
    struct sb_log_file *file = NULL;

    pthread_mutex_lock(&log->lock);
    found = sb_log_index_find(&log->index, group);
    if (found)
        at = sb_log_group_place(found, index);
    if (at)
        file = sb_log_set_find(&log->set, at->segment);
    if (file) {
        *place = *at;
        *handle = file->handle;
        file->pins++;
    }
    pthread_mutex_unlock(&log->lock);
    return file ? WIRE_OK : WIRE_E_NOT_FOUND;
}

static void unpin(struct sb_log *log, uint32_t segment)
{
    pthread_mutex_lock(&log->lock);
    sb_log_set_find(&log->set, segment)->pins--;
    pthread_mutex_unlock(&log->lock);
}

/* Reads the entry behind out->size and verifies it against the place. On WIRE_OK out->data + out->size +
 * SB_LOG_ENTRY_HEADER is its payload. */
static int read_entry(struct sb_log *log, uint64_t group, uint64_t index, const struct sb_log_place *place, int handle,
                      struct sb_buffer *out, struct sb_fault *fault)
{
    struct sb_log_spot spot = {log->set.identity, place->segment, place->offset};
    size_t size = sb_log_record_size(place->size);
    struct sb_log_record record;
    char name[SB_LOG_NAME_BYTES];
    size_t got = 0;
    int status;

    if (sb_buffer_reserve(out, size) != WIRE_OK)
        return sb_fault_set(fault, WIRE_E_NOMEM, "read: out of memory");
    status = log->files->read(log->files->self, handle, place->offset, out->data + out->size, size, &got, fault);
    if (status != WIRE_OK)
        return WIRE_E_IO;
    status = sb_log_record_decode(out->data + out->size, got, spot, &record);
    if (status == WIRE_OK && record.entry.group == group && record.entry.index == index &&
        record.entry.term == place->term && record.entry.payload.size == place->size)
        return WIRE_OK;
    sb_log_set_name(place->segment, name);
    return sb_fault_set(fault, WIRE_E_CORRUPT, "log segment \"%s\", offset %llu: the entry is damaged", name,
                        (unsigned long long) place->offset);
}

int sb_log_read(struct sb_log *log, uint64_t group, uint64_t index, uint64_t *term, struct sb_buffer *out,
                struct sb_fault *fault)
{
    struct sb_log_place place = {0};
    int handle = -1;
    int status = check_broken(log, fault);

    if (status != WIRE_OK)
        return status;
    if (pin(log, group, index, &place, &handle) != WIRE_OK)
        return sb_fault_set(fault, WIRE_E_NOT_FOUND, "read: the log has no entry %llu of group %llu",
                            (unsigned long long) index, (unsigned long long) group);
    status = read_entry(log, group, index, &place, handle, out, fault);
    unpin(log, place.segment);
    if (status != WIRE_OK)
        return status;
    memmove(out->data + out->size, out->data + out->size + SB_LOG_ENTRY_HEADER, place.size);
    out->size += place.size;
    *term = place.term;
    return WIRE_OK;
}

int sb_log_truncate_prefix(struct sb_log *log, uint64_t group, uint64_t index, struct sb_fault *fault)
{
    struct sb_log_group *found;
    int status = check_broken(log, fault);

    if (status != WIRE_OK)
        return status;
    if (index >= UINT64_MAX - 1)
        return sb_fault_set(fault, WIRE_E_BAD_FORMAT, "truncate: index %llu", (unsigned long long) index);
    pthread_mutex_lock(&log->lock);
    found = sb_log_index_get(&log->index, group);
    if (found)
        sb_log_group_truncate_prefix(&log->index, found, index);
    pthread_mutex_unlock(&log->lock);
    if (!found)
        return sb_fault_set(fault, WIRE_E_NOMEM, "truncate: out of memory");
    /* While a sync is under way the segments stay: the sync itself reclaims when it is done. */
    if (pthread_mutex_trylock(&log->writer) == 0) {
        status = check_broken(log, fault);
        if (status == WIRE_OK)
            status = reclaim(log, fault);
        pthread_mutex_unlock(&log->writer);
    }
    return status;
}

void sb_log_status(struct sb_log *log, struct sb_log_status *out)
{
    pthread_mutex_lock(&log->lock);
    *out = log->count;
    out->segments = log->set.count;
    for (size_t i = 0; i < log->set.count; i++)
        out->bytes += log->set.list[i].size;
    pthread_mutex_unlock(&log->lock);
}
