/*
 * The log of a simulated replica, in memory: what is handed out waits, in order, and becomes durable batch by batch; a
 * crash loses what waits, from some batch on. Entries and the newest state of one group.
 *
 * Caller: one thread. Memory is malloc's.
 */
#ifndef SIM_CLUSTER_LOG_H
#define SIM_CLUSTER_LOG_H

#include "sb_log.h"
#include "sim_files.h"

struct sim_record {
    uint64_t index; /* 0: a state */
    uint64_t term;
    uint64_t batch; /* records of a batch survive together */
    uint8_t *bytes; /* owned */
    size_t size;
};

struct sim_journal {
    struct sim_record *entries; /* durable: the i-th has index first + i */
    uint64_t first;
    size_t count;
    size_t capacity;
    struct sim_record state; /* durable; bytes NULL: none */
    struct sim_record *pending;
    size_t pending_count;
    size_t pending_capacity;
    size_t syncing; /* so many of the pending ones are being synced */
    uint64_t batch;
    /* Planted faults. */
    bool keeps_suffix;  /* entries behind a replaced one stay */
    bool forgets_term;  /* states after the first are not written */
    bool forgets_vote;  /* states are written without their vote */
    bool loses_batches; /* a crash takes the last durable batch too */
};

/* One batch. */
void sim_journal_add(struct sim_journal *journal, const struct sb_log_entry *records, size_t count);
/* What waits is durable when the sync that starts now ends. */
void sim_journal_start_sync(struct sim_journal *journal);
/* How many records are durable by it. */
size_t sim_journal_end_sync(struct sim_journal *journal);
void sim_journal_crash(struct sim_journal *journal, struct sim_random *random);
/* Durable entries up to `index` go. */
void sim_journal_cut(struct sim_journal *journal, uint64_t index);
/* 0 if there is none. */
uint64_t sim_journal_last(const struct sim_journal *journal);
/* Durable; NULL: no such entry. */
const struct sim_record *sim_journal_find(const struct sim_journal *journal, uint64_t index);
/* Durable or waiting. */
const struct sim_record *sim_journal_newest(const struct sim_journal *journal, uint64_t index);
/* Term and vote as they are durable, 0 if none is. */
uint64_t sim_journal_term(const struct sim_journal *journal);
uint64_t sim_journal_vote(const struct sim_journal *journal);
void sim_journal_close(struct sim_journal *journal);

static inline struct wire_span sim_record_span(const struct sim_record *record)
{
    return (struct wire_span){record->bytes, record->size};
}

#endif
