/* See sim_cluster_log.h. */
#include "sim_cluster_log.h"

#include <stdlib.h>

static void grow(struct sim_record **array, size_t *capacity, size_t count)
{
    if (count < *capacity)
        return;
    *capacity = *capacity ? *capacity * 2 : 64;
    *array = realloc(*array, *capacity * sizeof(**array));
    if (!*array)
        abort();
}

void sim_journal_add(struct sim_journal *journal, const struct sb_log_entry *records, size_t count)
{
    journal->batch++;
    for (size_t i = 0; i < count; i++) {
        struct sim_record record = {.index = records[i].index,
                                    .term = records[i].term,
                                    .batch = journal->batch,
                                    .bytes = malloc(records[i].payload.size),
                                    .size = records[i].payload.size};

        if (!record.bytes)
            abort();
        memcpy(record.bytes, records[i].payload.data, record.size);
        grow(&journal->pending, &journal->pending_capacity, journal->pending_count);
        journal->pending[journal->pending_count++] = record;
    }
}

void sim_journal_start_sync(struct sim_journal *journal)
{
    journal->syncing = journal->pending_count;
}

uint64_t sim_journal_last(const struct sim_journal *journal)
{
    return journal->count > 0 ? journal->first + journal->count - 1 : 0;
}

static void drop_from(struct sim_journal *journal, uint64_t index)
{
    while (journal->count > 0 && sim_journal_last(journal) >= index)
        free(journal->entries[--journal->count].bytes);
}

static void write_state(struct sim_journal *journal, struct sim_record record)
{
    if (journal->forgets_term && journal->state.bytes) {
        free(record.bytes);
        return;
    }
    if (journal->forgets_vote)
        memset(record.bytes + 8, 0, 8);
    free(journal->state.bytes);
    journal->state = record;
}

static void write_record(struct sim_journal *journal, struct sim_record record)
{
    if (record.index == 0) {
        write_state(journal, record);
        return;
    }
    if (journal->keeps_suffix && sim_journal_find(journal, record.index)) {
        struct sim_record *at = &journal->entries[record.index - journal->first];

        free(at->bytes);
        *at = record;
        return;
    }
    drop_from(journal, record.index);
    if (journal->count == 0)
        journal->first = record.index;
    if (record.index != journal->first + journal->count)
        abort(); /* a gap */
    grow(&journal->entries, &journal->capacity, journal->count);
    journal->entries[journal->count++] = record;
}

static void write_first(struct sim_journal *journal, size_t count)
{
    for (size_t i = 0; i < count; i++)
        write_record(journal, journal->pending[i]);
    journal->pending_count -= count;
    if (journal->pending_count > 0)
        memmove(journal->pending, journal->pending + count, journal->pending_count * sizeof(*journal->pending));
}

size_t sim_journal_end_sync(struct sim_journal *journal)
{
    size_t count = journal->syncing;

    journal->syncing = 0;
    write_first(journal, count);
    return count;
}

/* Batches may have reached the disk without anybody knowing. */
void sim_journal_crash(struct sim_journal *journal, struct sim_random *random)
{
    size_t survive = sim_random_below(random, journal->pending_count + 1);

    while (survive > 0 && survive < journal->pending_count &&
           journal->pending[survive].batch == journal->pending[survive - 1].batch)
        survive--;
    write_first(journal, survive);
    for (size_t i = 0; i < journal->pending_count; i++)
        free(journal->pending[i].bytes);
    journal->pending_count = journal->syncing = 0;
    if (journal->loses_batches && journal->count > 1) {
        uint64_t last = journal->entries[journal->count - 1].batch;

        while (journal->count > 1 && journal->entries[journal->count - 1].batch == last)
            free(journal->entries[--journal->count].bytes);
    }
}

void sim_journal_cut(struct sim_journal *journal, uint64_t index)
{
    size_t gone = 0;

    while (gone < journal->count && journal->entries[gone].index <= index)
        free(journal->entries[gone++].bytes);
    journal->count -= gone;
    journal->first += gone;
    if (journal->count > 0 && gone > 0)
        memmove(journal->entries, journal->entries + gone, journal->count * sizeof(*journal->entries));
}

const struct sim_record *sim_journal_find(const struct sim_journal *journal, uint64_t index)
{
    if (journal->count == 0 || index < journal->first || index - journal->first >= journal->count)
        return NULL;
    return &journal->entries[index - journal->first];
}

const struct sim_record *sim_journal_newest(const struct sim_journal *journal, uint64_t index)
{
    for (size_t i = journal->pending_count; i-- > 0;) {
        if (journal->pending[i].index == index)
            return &journal->pending[i];
    }
    return sim_journal_find(journal, index);
}

static uint64_t state_word(const struct sim_journal *journal, size_t at)
{
    struct wire_reader r = wire_reader_of(journal->state.bytes, journal->state.size);

    if (!journal->state.bytes)
        return 0;
    wire_read_bytes(&r, at);
    return wire_read_u64(&r);
}

uint64_t sim_journal_term(const struct sim_journal *journal)
{
    return state_word(journal, 0);
}

uint64_t sim_journal_vote(const struct sim_journal *journal)
{
    return state_word(journal, 8);
}

void sim_journal_close(struct sim_journal *journal)
{
    for (size_t i = 0; i < journal->pending_count; i++)
        free(journal->pending[i].bytes);
    for (size_t i = 0; i < journal->count; i++)
        free(journal->entries[i].bytes);
    free(journal->state.bytes);
    free(journal->pending);
    free(journal->entries);
    *journal = (struct sim_journal){0};
}
