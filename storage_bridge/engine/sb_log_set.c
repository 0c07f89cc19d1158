/*
 * See sb_log_set.h.
 *
 * Happy path: create turns a spare into the next segment; discard turns the oldest segment into a spare; so a log whose
 * groups truncate steadily writes no zeroes and changes no metadata but two names per segment. Failure modes: a full
 * disk before the rename gives a spare up and leaves all as it was; any failure from the rename on is WIRE_E_IO.
 */
#include "sb_log_set.h"

#include <stdio.h>

#define PREPARE_STEPS 32 /* pieces in which a spare is zeroed */

void sb_log_set_init(struct sb_log_set *set, struct sb_files *files, const struct sb_log_options *options)
{
    *set = (struct sb_log_set){.files = files,
                               .identity = options->identity,
                               .segment_bytes = options->segment_bytes / SB_LOG_PAGE * SB_LOG_PAGE};
    for (size_t i = 0; i < SB_LOG_SPARES; i++)
        set->spares[i].handle = -1;
}

void sb_log_set_close(struct sb_log_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        set->files->close(set->files->self, set->list[i].handle);
    for (size_t i = 0; i < SB_LOG_SPARES; i++)
        if (set->spares[i].handle >= 0)
            set->files->close(set->files->self, set->spares[i].handle);
    sb_free(set->list);
    set->list = NULL;
    set->count = set->capacity = 0;
}

void sb_log_set_name(uint32_t sequence, char *name)
{
    snprintf(name, SB_LOG_NAME_BYTES, "%08x.log", sequence);
}

void sb_log_set_spare_name(size_t slot, char *name)
{
    snprintf(name, SB_LOG_NAME_BYTES, "spare%u.new", (unsigned) slot);
}

bool sb_log_set_parse(const char *name, uint32_t *sequence)
{
    char again[SB_LOG_NAME_BYTES];
    unsigned value;

    if (sscanf(name, "%8x.log", &value) != 1)
        return false;
    sb_log_set_name(value, again);
    *sequence = value;
    return value != 0 && strcmp(name, again) == 0;
}

int sb_log_set_reserve(struct sb_log_set *set)
{
    size_t capacity = set->capacity ? set->capacity * 2 : 8;
    struct sb_log_file *list;

    if (set->count < set->capacity)
        return WIRE_OK;
    list = sb_realloc(set->list, capacity * sizeof(*list));
    if (!list)
        return WIRE_E_NOMEM;
    set->list = list;
    set->capacity = capacity;
    return WIRE_OK;
}

void sb_log_set_push(struct sb_log_set *set, const struct sb_log_file *file)
{
    set->list[set->count++] = *file;
}

struct sb_log_file *sb_log_set_find(const struct sb_log_set *set, uint32_t sequence)
{
    uint32_t at = set->count > 0 ? sequence - set->list[0].sequence : 0;

    return at < set->count ? &set->list[at] : NULL;
}

struct sb_log_file *sb_log_set_active(const struct sb_log_set *set)
{
    return &set->list[set->count - 1];
}

/* The largest spare, or a free slot (handle -1). */
static size_t best_spare(const struct sb_log_set *set)
{
    size_t best = 0;

    for (size_t i = 1; i < SB_LOG_SPARES; i++)
        if (set->spares[i].handle >= 0 &&
            (set->spares[best].handle < 0 || set->spares[i].size > set->spares[best].size))
            best = i;
    return best;
}

/* The handle first, so that the space is free when remove returns. */
static int drop_spare(struct sb_log_set *set, size_t slot)
{
    char name[SB_LOG_NAME_BYTES];
    int status;

    set->files->close(set->files->self, set->spares[slot].handle);
    set->spares[slot].handle = -1;
    sb_log_set_spare_name(slot, name);
    status = set->files->remove(set->files->self, name, NULL);
    return status == WIRE_E_NOT_FOUND ? WIRE_OK : status;
}

static int make_spare(struct sb_log_set *set, size_t slot, struct sb_fault *fault)
{
    char name[SB_LOG_NAME_BYTES];

    sb_log_set_spare_name(slot, name);
    set->spares[slot].size = 0;
    set->spares[slot].renamed = false;
    return set->files->open(set->files->self, name, true, &set->spares[slot].handle, fault);
}

/* Everything that may fail for want of space, on a file that nobody knows yet. */
static int fill_spare(struct sb_log_set *set, struct sb_log_spare *spare, struct sb_log_segment_header *header,
                      struct sb_fault *fault)
{
    struct sb_files *files = set->files;
    uint8_t page[SB_LOG_PAGE];
    int status = WIRE_OK;

    if (spare->renamed)
        status = files->sync_directory(files->self, fault);
    if (status == WIRE_OK && spare->size < header->size)
        status = files->preallocate(files->self, spare->handle, header->size, fault);
    if (status != WIRE_OK)
        return status;
    spare->renamed = false;
    if (spare->size < header->size)
        spare->size = header->size;
    header->size = spare->size;
    sb_log_segment_encode(header, page);
    status = files->write(files->self, spare->handle, 0, page, sizeof(page), fault);
    if (status == WIRE_OK)
        status = files->sync_file(files->self, spare->handle, fault);
    return status;
}

int sb_log_set_create(struct sb_log_set *set, struct sb_log_segment_header *header, struct sb_log_file *out,
                      struct sb_fault *fault)
{
    struct sb_files *files = set->files;
    size_t slot = best_spare(set);
    struct sb_log_spare *spare = &set->spares[slot];
    char spare_name[SB_LOG_NAME_BYTES];
    char name[SB_LOG_NAME_BYTES];
    int status = WIRE_OK;

    if (spare->handle < 0)
        status = make_spare(set, slot, fault);
    if (status != WIRE_OK)
        return status;
    status = fill_spare(set, spare, header, fault);
    sb_log_set_spare_name(slot, spare_name);
    sb_log_set_name((uint32_t) header->sequence, name);
    if (status == WIRE_OK)
        status = files->rename(files->self, spare_name, name, fault);
    if (status != WIRE_OK)
        return drop_spare(set, slot) == WIRE_OK ? status : WIRE_E_IO;
    if (files->sync_directory(files->self, fault) != WIRE_OK)
        return WIRE_E_IO;
    *out = (struct sb_log_file){.size = header->size, .handle = spare->handle, .sequence = (uint32_t) header->sequence};
    spare->handle = -1;
    set->spare_failed = false;
    return WIRE_OK;
}

/* From half of the active segment on, each step zeroes a piece, twice as fast as the rest is used up, and syncs it, so
 * that no sync meets a whole segment of dirty pages. */
void sb_log_set_prepare(struct sb_log_set *set, uint64_t used)
{
    struct sb_files *files = set->files;
    size_t slot = best_spare(set);
    struct sb_log_spare *spare = &set->spares[slot];
    uint64_t half = set->segment_bytes / 2;
    uint64_t step = set->segment_bytes / PREPARE_STEPS / SB_LOG_PAGE * SB_LOG_PAGE + SB_LOG_PAGE;
    uint64_t target = used <= half ? 0 : (used - half) * 2 / step * step + step;
    int status = WIRE_OK;

    if (target > set->segment_bytes)
        target = set->segment_bytes;
    if (target == 0 || set->spare_failed || (spare->handle >= 0 && spare->size >= target))
        return;
    if (spare->handle < 0)
        status = make_spare(set, slot, NULL);
    if (status == WIRE_OK)
        status = files->preallocate(files->self, spare->handle, target, NULL);
    if (status == WIRE_OK)
        status = files->sync_file(files->self, spare->handle, NULL);
    if (status == WIRE_OK) {
        spare->size = target;
        return;
    }
    set->spare_failed = true;
    if (spare->handle >= 0)
        drop_spare(set, slot);
}

/* The slot the first segment may be recycled to; SB_LOG_SPARES if there is none or it is not worth keeping, being of
 * another size for one large batch or from other options. */
static size_t free_slot(const struct sb_log_set *set)
{
    size_t slot = 0;

    if (set->list[0].size != set->segment_bytes)
        return SB_LOG_SPARES;
    while (slot < SB_LOG_SPARES && set->spares[slot].handle >= 0)
        slot++;
    return slot;
}

int sb_log_set_discard(struct sb_log_set *set, struct sb_fault *fault)
{
    struct sb_files *files = set->files;
    struct sb_log_file *first = &set->list[0];
    size_t slot = free_slot(set);
    char spare_name[SB_LOG_NAME_BYTES];
    char name[SB_LOG_NAME_BYTES];
    int status;

    sb_log_set_name(first->sequence, name);
    if (slot < SB_LOG_SPARES) {
        sb_log_set_spare_name(slot, spare_name);
        status = files->rename(files->self, name, spare_name, fault);
        if (status == WIRE_OK)
            set->spares[slot] = (struct sb_log_spare){.handle = first->handle, .size = first->size, .renamed = true};
        if (status != WIRE_E_NOT_FOUND)
            return status;
        /* An earlier attempt that failed had done it all the same. */
    }
    status = files->remove(files->self, name, fault);
    if (status != WIRE_OK && status != WIRE_E_NOT_FOUND)
        return status;
    files->close(files->self, first->handle);
    return WIRE_OK;
}

void sb_log_set_shift(struct sb_log_set *set)
{
    set->count--;
    memmove(set->list, set->list + 1, set->count * sizeof(*set->list));
}
