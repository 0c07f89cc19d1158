/*
 * What the interposer (poweroff.c) records and the tool (poweroff_apply.c) replays.
 *
 * A directory, outside of the one that is recorded, holds `control` and one file "*.journal" per process. A journal is
 * a run of records, each followed by its path, its other path and its data. A record stands behind the operation it
 * tells of, and its number, one sequence for all processes, was drawn after the operation: whoever has seen the effect
 * of an operation draws a greater number. A sync's number is drawn before the sync, so that what ran beside it counts
 * as not synced. The last record of a process that was killed may be cut off: then nobody was told that the operation
 * had been done.
 *
 * Paths are relative to the recorded directory, files are named by inode number.
 */
#ifndef POWEROFF_H
#define POWEROFF_H

#include <stdatomic.h>
#include <stdint.h>

#define POWEROFF_MAGIC 0x706f7766

enum poweroff_kind {
    POWEROFF_CREATE = 1, /* path, ino */
    POWEROFF_MKDIR,      /* path */
    POWEROFF_REMOVE,     /* path: of a file or an empty directory */
    POWEROFF_RENAME,     /* path to other */
    POWEROFF_LINK,       /* other is a second name of path */
    POWEROFF_SYNC_NAMES, /* path of a directory, "" is the recorded one itself */
    POWEROFF_WRITE,      /* ino, offset, data */
    POWEROFF_ZERO,       /* ino, offset, length: a write of zeroes */
    POWEROFF_TRUNCATE,   /* ino, length */
    POWEROFF_EXTEND,     /* ino, length: at least so long, zeroes behind the old end */
    POWEROFF_SYNC        /* ino, path */
};

struct poweroff_record {
    uint32_t magic;
    uint32_t kind;
    uint64_t sequence;
    uint64_t ino;
    uint64_t offset;
    uint64_t length;
    uint32_t path_size;
    uint32_t other_size;
    uint64_t data_size;
} __attribute__((packed));

/* Mapped by every process. */
struct poweroff_control {
    _Atomic uint64_t sequence;
    _Atomic int64_t room; /* bytes that files below CAIRN_POWEROFF_FULL may still grow by; negative: no limit */
};

#endif
