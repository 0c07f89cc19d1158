/*
 * Files as the log store sees them: an interface, so that the simulator can lose what was not synced. The real one is
 * sb_files_system(); the simulated one lives in tests/sim.
 *
 * A directory is opened once; names are relative to it, without slashes. Every call returns WIRE_OK, WIRE_E_IO,
 * WIRE_E_DISK_FULL or WIRE_E_NOT_FOUND, and fills *fault with operation, file, offset and errno's text.
 *
 * Durability: what `write` wrote survives a power loss after `sync_file` of that file returned; creation, renames and
 * removals of names after `sync_directory` returned.
 */
#ifndef SB_FILES_H
#define SB_FILES_H

#include "sb_fault.h"
#include "sb_memory.h"

struct sb_files {
    void *self;
    int (*list)(void *self, void (*each)(void *context, const char *name), void *context, struct sb_fault *fault);
    /* Opens for reading and writing; `create` also makes it (WIRE_E_IO if it exists). *handle >= 0. */
    int (*open)(void *self, const char *name, bool create, int *handle, struct sb_fault *fault);
    int (*close)(void *self, int handle);
    int (*size)(void *self, int handle, uint64_t *size, struct sb_fault *fault);
    /* Writes all or fails. */
    int (*write)(void *self, int handle, uint64_t offset, const void *data, size_t size, struct sb_fault *fault);
    /* *got < size only at the end of the file. */
    int (*read)(void *self, int handle, uint64_t offset, void *data, size_t size, size_t *got, struct sb_fault *fault);
    /* Extends the file to `size` with room that is really there and zeroed, so that later writes within change no
     * metadata. Never shrinks; what the file holds stays. */
    int (*preallocate)(void *self, int handle, uint64_t size, struct sb_fault *fault);
    int (*truncate)(void *self, int handle, uint64_t size, struct sb_fault *fault);
    int (*sync_file)(void *self, int handle,
                     struct sb_fault *fault); /* data and what is needed to read it: fdatasync */
    int (*rename)(void *self, const char *from, const char *to, struct sb_fault *fault);
    int (*remove)(void *self, const char *name, struct sb_fault *fault);
    int (*sync_directory)(void *self, struct sb_fault *fault);
};

/* The real directory `path`, made if absent. close with sb_files_system_close. */
int sb_files_system_open(const char *path, struct sb_files *out, struct sb_fault *fault);
void sb_files_system_close(struct sb_files *files);

#endif
