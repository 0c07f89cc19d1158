/*
 * Tables of the simulator's store, as files behind struct sb_files: a table of one range, see struct sb_table.
 *
 *   u8 family | u32 size, low | (u8 1, u32 size, key, u32 size, value)* | u8 2, u32 size, high
 *
 * Caller: one thread. Memory is malloc's.
 */
#ifndef SIM_TABLE_H
#define SIM_TABLE_H

#include "sb_files.h"
#include "sb_store.h"

int sim_table_create(struct sb_files *files, const char *path, enum sb_family family, struct wire_span low,
                     struct sb_table **out, struct sb_fault *fault);

/* A table read: its range, and a reader on its records. */
struct sim_table {
    uint8_t *bytes;
    size_t size;
    struct wire_range range;
    struct wire_reader records;
};

/* WIRE_E_CORRUPT for a file that is not a whole table. */
int sim_table_load(struct sb_files *files, const char *path, struct sim_table *out, struct sb_fault *fault);
/* False at the end. */
bool sim_table_next(struct sim_table *table, struct wire_span *key, struct wire_span *value);
void sim_table_unload(struct sim_table *table);
/* Removes the file; it stays if that fails. */
void sim_table_remove(struct sb_files *files, const char *path);

#endif
