/*
 * A directory in memory behind struct sb_files, for the simulator and for unit tests: it can lose power, lose its
 * process, and fail any operation.
 *
 * Two states are kept: what programs see, and what the disk holds. Between them stand, per file, the writes and size
 * changes since its last sync and, for the directory, the creations, renames and removals since its last sync. A crash
 * decides for each of them what became of it.
 *
 * One thread. Memory is malloc's, so that the engine's counts stay its own. Running out of it aborts.
 */
#ifndef SIM_FILES_H
#define SIM_FILES_H

#include "sb_files.h"

/* xorshift64*: the only source of chance, so that a seed is a run. state != 0. */
struct sim_random {
    uint64_t state;
};

static inline struct sim_random sim_random_of(uint64_t seed)
{
    return (struct sim_random){(seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1};
}

static inline uint64_t sim_random_next(struct sim_random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * UINT64_C(0x2545f4914f6cdd1d);
}

/* 0 .. bound - 1; bound > 0. */
static inline uint64_t sim_random_below(struct sim_random *random, uint64_t bound)
{
    return (sim_random_next(random) >> 16) % bound;
}

static inline bool sim_random_one_in(struct sim_random *random, uint64_t n)
{
    return sim_random_below(random, n) == 0;
}

/* Faults of the disk itself, to prove that the tests would notice. */
enum sim_files_lie {
    SIM_FILES_HONEST,
    SIM_FILES_NO_FILE_SYNC,     /* sync_file returns WIRE_OK and does nothing */
    SIM_FILES_NO_DIRECTORY_SYNC /* the same for sync_directory */
};

struct sim_files;

/* random is borrowed until close. */
struct sim_files *sim_files_open(struct sim_random *random);
void sim_files_close(struct sim_files *sim);
struct sb_files sim_files_interface(struct sim_files *sim);

/*
 * Power loss. Each write, size change since the file's last sync is kept or dropped, a write may also be torn: at a
 * byte, or to any subset of its 512-byte sectors. Of the name operations since the last sync of the directory a random
 * number survives, the oldest first. All handles are gone.
 */
void sim_files_crash(struct sim_files *sim);
/* Loss of the process alone: what it saw stays, synced or not. All handles are gone. */
void sim_files_restart(struct sim_files *sim);

/*
 * The n-th operation from now on (1 = the next; close does not count) fails with `code`, WIRE_E_IO or WIRE_E_DISK_FULL;
 * 0 turns it off. A failing write or preallocation is done in part; with WIRE_E_IO a name operation may have happened,
 * and a failing sync_file has reached the disk in part while the rest is never written again, as with kernels that mark
 * the pages clean.
 */
void sim_files_fail_at(struct sim_files *sim, uint64_t n, int code);
void sim_files_set_lie(struct sim_files *sim, enum sim_files_lie lie);

uint64_t sim_files_operations(const struct sim_files *sim); /* so far; close does not count */
size_t sim_files_handles(const struct sim_files *sim);      /* open now */

/* The bytes of a file as programs see them. NULL if there is no such file. Valid until the next operation. */
const uint8_t *sim_files_get(const struct sim_files *sim, const char *name, size_t *size);
/* Makes or replaces a file, durably: for tests that damage one. */
void sim_files_put(struct sim_files *sim, const char *name, const void *data, size_t size);

#endif
