/*
 * The items store of the simulator: a struct sb_store in memory that forgets, on a crash, what was not flushed.
 *
 * Everything the engine may not rely on happens at random, from the seed alone: spontaneous flushes, background
 * compactions (history entries below the horizon vanish, from open views too), reads of the memory tier that would
 * block. Writes fail on demand, leaving nothing behind.
 *
 * Caller: one thread. Memory: its own, not sb_memory's, so that failing the engine's n-th allocation never hits the
 * store; running out of memory ends the process.
 */
#ifndef SIM_STORE_H
#define SIM_STORE_H

#include "sb_files.h"
#include "sb_store.h"

struct sim_store_options {
    uint64_t seed;
    uint32_t flush_per_mille;       /* of writes that the store follows by a flush of its own */
    uint32_t compact_per_mille;     /* of writes that it follows by a compaction */
    uint32_t would_block_per_mille; /* of gets in SB_TIER_MEMORY that answer WIRE_E_WOULD_BLOCK */
};

/* An empty store. store->close frees it. */
void sim_store_open(const struct sim_store_options *options, struct sb_store *out);

/* Other probabilities from now on; the seed goes on. */
void sim_store_tune(struct sb_store *store, const struct sim_store_options *options);

/* The directory that tables are made in; of their paths the last part counts. Borrowed until close. Tables taken in are
 * durable, whatever else is not. */
void sim_store_set_files(struct sb_store *store, struct sb_files *files);

/* Power loss and reopening: back to the last flush; the horizon is 0 again. Values, views and iterators must be
 * released: they belonged to the process that died. */
void sim_store_crash(struct sb_store *store);

/* The n-th write, ingest or clear from now on (1 = the next) fails once with `code` and changes nothing; 0 turns it off. */
void sim_store_fail_write(struct sb_store *store, uint64_t n, int code);

/* Values, views and iterators not yet released: a test asserts 0. */
size_t sim_store_pins(const struct sb_store *store);

#endif
