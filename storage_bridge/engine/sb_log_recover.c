/*
 * See sb_log_recover.h.
 *
 * Happy path: list, sort, and for each segment: read it whole, check the header page against name, identity and the
 * segment before it, walk the batches into the index, in log order, so that a group's last state is its newest. In the
 * last segment the walk ends at the tail: batches that no
 * later one knew as synced are written again (after a process crash they may stand in the page cache alone, and after a
 * failed fsync the kernel would call them clean), stale headers behind are zeroed, both are synced.
 *
 * Failure modes: a bad batch is the torn tail only in the last segment and only if no header behind it proves that it
 * was once synced. A segment becomes the last but one only after it was synced, so there every bad batch is damage; so
 * are missing, shortened and unreadable files. All name file and offset.
 */
#include "sb_log_recover.h"

#include <stdlib.h>

struct names {
    uint32_t *sequences;
    size_t count;
    size_t capacity;
    bool spares[SB_LOG_SPARES];
    bool failed;
};

struct recovery {
    struct sb_log_set *set;
    struct sb_log_index *index;
    struct sb_fault *fault;
    struct sb_buffer data; /* the segment at hand */
    struct sb_log_walk walk;
    char name[SB_LOG_NAME_BYTES];
};

static int corrupt(struct recovery *r, uint64_t offset, const char *what)
{
    return sb_fault_set(r->fault, WIRE_E_CORRUPT, "log segment \"%s\", offset %llu: %s", r->name,
                        (unsigned long long) offset, what);
}

static int no_memory(struct recovery *r)
{
    return sb_fault_set(r->fault, WIRE_E_NOMEM, "log segment \"%s\": out of memory", r->name);
}

static void note_name(void *context, const char *name)
{
    struct names *names = context;
    char spare[SB_LOG_NAME_BYTES];
    uint32_t sequence;

    for (size_t i = 0; i < SB_LOG_SPARES; i++) {
        sb_log_set_spare_name(i, spare);
        names->spares[i] |= strcmp(name, spare) == 0;
    }
    if (!sb_log_set_parse(name, &sequence))
        return;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? names->capacity * 2 : 64;
        uint32_t *sequences = sb_realloc(names->sequences, capacity * sizeof(*sequences));

        if (!sequences) {
            names->failed = true;
            return;
        }
        names->sequences = sequences;
        names->capacity = capacity;
    }
    names->sequences[names->count++] = sequence;
}

static int compare_sequences(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *) a;
    uint32_t right = *(const uint32_t *) b;

    return left < right ? -1 : left > right;
}

/* What is in them is not known after a crash, so they are not worth keeping. */
static int remove_spares(struct recovery *r, const struct names *names)
{
    int status = WIRE_OK;

    for (size_t i = 0; status == WIRE_OK && i < SB_LOG_SPARES; i++) {
        sb_log_set_spare_name(i, r->name);
        if (names->spares[i])
            status = r->set->files->remove(r->set->files->self, r->name, r->fault);
    }
    return status;
}

static int list_segments(struct recovery *r, struct names *names)
{
    struct sb_files *files = r->set->files;
    int status = files->list(files->self, note_name, names, r->fault);

    if (status == WIRE_OK && names->failed)
        return no_memory(r);
    if (status == WIRE_OK)
        status = remove_spares(r, names);
    if (status != WIRE_OK)
        return status;
    if (names->count > 0)
        qsort(names->sequences, names->count, sizeof(*names->sequences), compare_sequences);
    for (size_t i = 1; i < names->count; i++)
        if (names->sequences[i] != names->sequences[i - 1] + 1) {
            sb_log_set_name(names->sequences[i - 1] + 1, r->name);
            return corrupt(r, 0, "the file is missing");
        }
    return WIRE_OK;
}

/* The whole segment into r->data; fewer bytes than `size` is an error of the file system. */
static int read_segment(struct recovery *r, int handle, uint64_t size)
{
    struct sb_files *files = r->set->files;
    size_t got = 0;
    int status;

    r->data.size = 0;
    if (size > SIZE_MAX || sb_buffer_reserve(&r->data, (size_t) size) != WIRE_OK)
        return no_memory(r);
    status = files->read(files->self, handle, 0, r->data.data, (size_t) size, &got, r->fault);
    if (status != WIRE_OK)
        return status;
    r->data.size = got;
    return got == size ? WIRE_OK : corrupt(r, got, "the file ends early");
}

/* The header page against everything it is known to agree with. */
static int check_header(struct recovery *r, const struct sb_log_segment_header *header, uint32_t sequence,
                        uint64_t file_size)
{
    if (header->sequence != sequence)
        return corrupt(r, 0, "the header is of another segment");
    if (header->identity != r->set->identity)
        return sb_fault_set(r->fault, WIRE_E_CONFIG,
                            "log segment \"%s\" belongs to identity %016llx, this directory is of %016llx", r->name,
                            (unsigned long long) header->identity, (unsigned long long) r->set->identity);
    if (file_size < header->size)
        return corrupt(r, file_size, "the file was shortened");
    if (r->set->count == 1) {
        r->walk.next_batch = header->first_batch;
        r->walk.previous = header->previous;
    } else if (header->first_batch != r->walk.next_batch || header->previous != r->walk.previous) {
        sb_log_set_name(sequence - 1, r->name);
        return corrupt(r, r->walk.offset, "the batch here is damaged: the next segment continues a later one");
    }
    return WIRE_OK;
}

/* Opens, reads and checks one segment and puts the walk at its first batch. */
static int open_segment(struct recovery *r, uint32_t sequence)
{
    struct sb_files *files = r->set->files;
    struct sb_log_file file = {.sequence = sequence};
    struct sb_log_segment_header header;
    uint64_t size = 0;
    int status;

    sb_log_set_name(sequence, r->name);
    if (sb_log_set_reserve(r->set) != WIRE_OK)
        return no_memory(r);
    status = files->open(files->self, r->name, false, &file.handle, r->fault);
    if (status != WIRE_OK)
        return status;
    sb_log_set_push(r->set, &file);
    status = files->size(files->self, file.handle, &size, r->fault);
    if (status == WIRE_OK)
        status = read_segment(r, file.handle, size);
    if (status != WIRE_OK)
        return status;
    status = sb_log_segment_decode(r->data.data, r->data.size, &header);
    if (status == WIRE_E_BAD_VERSION)
        return sb_fault_set(r->fault, status, "log segment \"%s\": %s", r->name, wire_error_text(status));
    if (status != WIRE_OK)
        return corrupt(r, 0, "the header is damaged");
    status = check_header(r, &header, sequence, size);
    if (status != WIRE_OK)
        return status;
    sb_log_set_active(r->set)->size = header.size;
    r->walk.data = r->data.data;
    r->walk.size = header.size;
    r->walk.identity = header.identity;
    r->walk.segment = sequence;
    r->walk.offset = SB_LOG_PAGE;
    return WIRE_OK;
}

static int index_record(struct recovery *r, const struct sb_log_record *record)
{
    struct sb_log_place place = {.term = record->entry.term,
                                 .offset = record->offset,
                                 .segment = (uint32_t) r->walk.segment,
                                 .size = (uint32_t) record->entry.payload.size};
    struct sb_log_group *group = sb_log_index_get(r->index, record->entry.group);
    int status = WIRE_E_NOMEM;

    if (group && record->entry.index == 0)
        status = sb_log_group_put_state(r->index, group, place.term, record->entry.payload, place.segment);
    else if (group)
        status = sb_log_group_put(r->index, group, record->first, record->entry.index, &place);
    if (status == WIRE_E_NOMEM)
        return no_memory(r);
    return status == WIRE_OK ? WIRE_OK : corrupt(r, record->offset, "the entry leaves a gap in its group");
}

static int index_batch(struct recovery *r, const struct sb_log_batch *batch)
{
    struct sb_log_record record;
    uint64_t position = 0;
    uint32_t count = 0;
    int status;

    while ((status = sb_log_batch_next(batch, &position, &record)) == WIRE_OK) {
        status = index_record(r, &record);
        if (status != WIRE_OK)
            return status;
        count++;
    }
    return status == WIRE_E_NOT_FOUND && count == batch->count
               ? WIRE_OK
               : corrupt(r, batch->offset, "the batch does not follow its format");
}

static int index_segment(struct recovery *r)
{
    struct sb_log_batch batch;
    int status = WIRE_OK;

    while (status == WIRE_OK && sb_log_walk_next(&r->walk, &batch) == WIRE_OK)
        status = index_batch(r, &batch);
    return status;
}

/* Where the batches start that no later one knew as synced; the walk's offset if there is none. */
static uint64_t unproven_offset(const struct recovery *r)
{
    uint64_t at = SB_LOG_PAGE;
    struct sb_log_batch batch;

    while (at < r->walk.offset && sb_log_walk_header(&r->walk, at, &batch) && batch.sequence <= r->walk.synced)
        at += SB_LOG_BATCH_HEADER + batch.body_size;
    return at;
}

/* The walk stands at the end of the last segment's valid batches. */
static int settle_tail(struct recovery *r)
{
    struct sb_files *files = r->set->files;
    int handle = sb_log_set_active(r->set)->handle;
    uint64_t from = unproven_offset(r);
    uint64_t to = r->walk.offset;
    struct sb_log_tail tail;
    int status = WIRE_OK;

    sb_log_walk_tail(&r->walk, &tail);
    if (tail.damaged)
        return sb_fault_set(r->fault, WIRE_E_CORRUPT,
                            "log segment \"%s\", offset %llu: the batch here is damaged: the one at offset %llu was "
                            "written after it had been synced",
                            r->name, (unsigned long long) to, (unsigned long long) tail.proof);
    if (tail.erase_end > to) {
        memset(r->data.data + to, 0, (size_t) (tail.erase_end - to));
        to = tail.erase_end;
    }
    if (to > from)
        status = files->write(files->self, handle, from, r->data.data + from, (size_t) (to - from), r->fault);
    if (status == WIRE_OK)
        status = files->sync_file(files->self, handle, r->fault);
    return status;
}

static int first_segment(struct recovery *r)
{
    struct sb_log_segment_header header = {
        .identity = r->set->identity, .sequence = 1, .first_batch = 1, .size = r->set->segment_bytes};
    struct sb_log_file file;
    int status;

    if (sb_log_set_reserve(r->set) != WIRE_OK)
        return no_memory(r);
    status = sb_log_set_create(r->set, &header, &file, r->fault);
    if (status == WIRE_OK)
        sb_log_set_push(r->set, &file);
    r->walk.offset = SB_LOG_PAGE;
    r->walk.next_batch = 1;
    return status;
}

static int recover_all(struct recovery *r, const struct names *names)
{
    struct sb_files *files = r->set->files;
    int status = WIRE_OK;

    for (size_t i = 0; status == WIRE_OK && i < names->count; i++) {
        status = open_segment(r, names->sequences[i]);
        if (status == WIRE_OK)
            status = index_segment(r);
    }
    if (status != WIRE_OK)
        return status;
    if (names->count == 0)
        return first_segment(r);
    status = settle_tail(r);
    /* The last segment's own name may not be durable yet. */
    if (status == WIRE_OK)
        status = files->sync_directory(files->self, r->fault);
    return status;
}

int sb_log_recover(struct sb_log_set *set, struct sb_log_index *index, struct sb_log_cursor *cursor,
                   struct sb_fault *fault)
{
    struct recovery r = {.set = set, .index = index, .fault = fault};
    struct names names = {0};
    int status = list_segments(&r, &names);

    if (status == WIRE_OK)
        status = recover_all(&r, &names);
    if (status == WIRE_OK)
        *cursor =
            (struct sb_log_cursor){.offset = r.walk.offset, .batch = r.walk.next_batch, .previous = r.walk.previous};
    sb_buffer_close(&r.data);
    sb_free(names.sequences);
    return status;
}

static bool is_live(struct recovery *r, const struct sb_log_record *record)
{
    const struct sb_log_group *group = sb_log_index_find(r->index, record->entry.group);
    const struct sb_log_place *place = group ? sb_log_group_place(group, record->entry.index) : NULL;

    return place && place->segment == r->walk.segment && place->offset == record->offset;
}

static int replay_batch(struct recovery *r, const struct sb_log_batch *batch, uint64_t *live,
                        int (*each)(void *context, const struct sb_log_entry *entry), void *context)
{
    struct sb_log_record record;
    uint64_t position = 0;

    while (sb_log_batch_next(batch, &position, &record) == WIRE_OK) {
        int status;

        if (!is_live(r, &record))
            continue;
        status = each(context, &record.entry);
        if (status != WIRE_OK)
            return sb_fault_set(r->fault, status, "log segment \"%s\", offset %llu: entry refused", r->name,
                                (unsigned long long) record.offset);
        (*live)++;
    }
    return WIRE_OK;
}

/* The bytes were verified a moment ago and are verified again: what no longer walks is missed by the count of live
 * entries. */
static int replay_segment(struct recovery *r, const struct sb_log_file *file,
                          int (*each)(void *context, const struct sb_log_entry *entry), void *context)
{
    struct sb_log_segment_header header;
    struct sb_log_batch batch;
    uint64_t live = 0;
    int status;

    sb_log_set_name(file->sequence, r->name);
    status = read_segment(r, file->handle, file->size);
    if (status != WIRE_OK)
        return status;
    if (sb_log_segment_decode(r->data.data, r->data.size, &header) != WIRE_OK)
        return corrupt(r, 0, "the header changed while the log was opened");
    r->walk = (struct sb_log_walk){.data = r->data.data,
                                   .size = file->size,
                                   .identity = r->set->identity,
                                   .segment = file->sequence,
                                   .offset = SB_LOG_PAGE,
                                   .next_batch = header.first_batch,
                                   .previous = header.previous};
    while (status == WIRE_OK && sb_log_walk_next(&r->walk, &batch) == WIRE_OK)
        status = replay_batch(r, &batch, &live, each, context);
    if (status == WIRE_OK && live != file->live)
        return corrupt(r, r->walk.offset, "the batch here changed while the log was opened");
    return status;
}

int sb_log_replay(struct sb_log_set *set, struct sb_log_index *index,
                  int (*each)(void *context, const struct sb_log_entry *entry), void *context, struct sb_fault *fault)
{
    struct recovery r = {.set = set, .index = index, .fault = fault};
    int status = WIRE_OK;

    for (size_t i = 0; status == WIRE_OK && i < set->count; i++)
        if (set->list[i].live > 0)
            status = replay_segment(&r, &set->list[i], each, context);
    sb_buffer_close(&r.data);
    return status;
}
