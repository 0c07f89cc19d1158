/*
 * Who a storage directory belongs to, checked before anything in it is opened.
 *
 *   LOCK      held (flock) while a process uses the directory
 *   IDENTITY  28 bytes, see below
 *   items/    the items store
 *   log/      the log
 *
 *   0  "cairnsto"
 *   8  u32 format, 2
 *   12 u32 state: 1 being made, 2 complete
 *   16 u64 identity
 *   24 u32 checksum of the bytes before, seeded with 0
 *
 * IDENTITY is replaced by write, sync, rename, sync of the directory. "Being made" until both stores exist durably:
 * before that nothing was acknowledged, so what lies there may be begun anew. After that a missing store is a loss, and
 * refused rather than made again empty.
 *
 * That the directory as a whole is missing (removed, not mounted) only something outside of it can tell: the marker, a
 * file of the same form in the data directory, written once the store is complete. With it, an empty directory is
 * refused and nothing is written there. Who wants to begin empty removes the marker.
 */
#include "sb_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "wire_checksum.h"

#define IDENTITY_MAGIC "cairnsto"
#define IDENTITY_FORMAT 2 /* 1: before replication, another layout of the items store */
#define IDENTITY_SIZE 28
#define PATH_SIZE 1200

enum identity_state { BEING_MADE = 1, COMPLETE = 2 };

static int fail_io(struct sb_fault *fault, const char *what, const char *path, const char *name)
{
    return sb_fault_set(fault, errno == ENOSPC ? WIRE_E_DISK_FULL : WIRE_E_IO, "could not %s \"%s%s%s\": %s", what,
                        path, *name ? "/" : "", name, strerror(errno));
}

static int sync_directory(const char *path, struct sb_fault *fault)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = WIRE_OK;

    if (descriptor < 0)
        return fail_io(fault, "open directory", path, "");
    if (fsync(descriptor) != 0)
        status = fail_io(fault, "sync directory", path, "");
    (void) close(descriptor);
    return status;
}

static int sync_parent(const char *path, struct sb_fault *fault)
{
    char parent[PATH_SIZE + 16];
    char *slash;

    (void) snprintf(parent, sizeof(parent), "%s", path);
    slash = strrchr(parent, '/');
    if (slash == parent)
        slash[1] = '\0';
    else if (slash)
        *slash = '\0';
    return sync_directory(slash ? parent : ".", fault);
}

/* The directory, made if absent, its name durable in its parent. */
static int make_directory(const char *path, struct sb_fault *fault)
{
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? WIRE_OK : fail_io(fault, "make directory", path, "");
    return sync_parent(path, fault);
}

static int lock_directory(const char *path, int *lock, struct sb_fault *fault)
{
    char name[PATH_SIZE + 16];
    int status = WIRE_OK;

    (void) snprintf(name, sizeof(name), "%s/LOCK", path);
    *lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*lock < 0)
        return fail_io(fault, "open", path, "LOCK");
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0)
        return WIRE_OK;
    if (errno == EWOULDBLOCK)
        status = sb_fault_set(fault, WIRE_E_CONFIG, "storage directory \"%s\" is in use by another process", path);
    else
        status = fail_io(fault, "lock", path, "LOCK");
    (void) close(*lock);
    *lock = -1;
    return status;
}

static int write_file(const char *path, const uint8_t *data, size_t size, struct sb_fault *fault)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int status = WIRE_OK;
    ssize_t written;

    if (descriptor < 0)
        return fail_io(fault, "create", path, "");
    errno = ENOSPC; /* what a short write means */
    written = write(descriptor, data, size);
    if (written != (ssize_t) size)
        status = fail_io(fault, "write", path, "");
    else if (fsync(descriptor) != 0)
        status = fail_io(fault, "sync", path, "");
    (void) close(descriptor);
    return status;
}

static int write_identity(const char *path, uint64_t identity, enum identity_state state, struct sb_fault *fault)
{
    char temporary[PATH_SIZE + 16];
    uint8_t bytes[IDENTITY_SIZE];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    int status;

    wire_write_bytes(&w, IDENTITY_MAGIC, 8);
    wire_write_u32(&w, IDENTITY_FORMAT);
    wire_write_u32(&w, state);
    wire_write_u64(&w, identity);
    wire_write_u32(&w, wire_checksum(bytes, w.size, 0));
    (void) snprintf(temporary, sizeof(temporary), "%s.new", path);
    status = write_file(temporary, bytes, sizeof(bytes), fault);
    if (status != WIRE_OK)
        return status;
    if (rename(temporary, path) != 0)
        return fail_io(fault, "rename", temporary, "");
    return sync_parent(path, fault);
}

/* *state 0: there is no file. */
static int read_identity(const char *path, uint64_t identity, enum identity_state *state, struct sb_fault *fault)
{
    uint8_t bytes[IDENTITY_SIZE + 1];
    struct wire_reader r = wire_reader_of(bytes, IDENTITY_SIZE);
    uint64_t found;
    uint32_t format;
    ssize_t size;
    int descriptor;

    *state = (enum identity_state) 0;
    descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return errno == ENOENT || errno == ENOTDIR ? WIRE_OK : fail_io(fault, "open", path, "");
    size = read(descriptor, bytes, sizeof(bytes));
    (void) close(descriptor);
    if (size < 0)
        return fail_io(fault, "read", path, "");
    if (size < 12 || memcmp(wire_read_bytes(&r, 8), IDENTITY_MAGIC, 8) != 0)
        return sb_fault_set(fault, WIRE_E_CORRUPT, "file \"%s\" is not an identity file", path);
    format = wire_read_u32(&r);
    if (format != IDENTITY_FORMAT)
        return sb_fault_set(fault, WIRE_E_BAD_VERSION, "file \"%s\" has format %u, this release reads %u only", path,
                            format, IDENTITY_FORMAT);
    *state = (enum identity_state) wire_read_u32(&r);
    found = wire_read_u64(&r);
    if (size != IDENTITY_SIZE || format == 0 || wire_read_u32(&r) != wire_checksum(bytes, IDENTITY_SIZE - 4, 0) ||
        (*state != BEING_MADE && *state != COMPLETE))
        return sb_fault_set(fault, WIRE_E_CORRUPT, "file \"%s\" is damaged", path);
    if (found != identity)
        return sb_fault_set(fault, WIRE_E_CONFIG,
                            "file \"%s\" says that it belongs to database system %llu, not to %llu", path,
                            (unsigned long long) found, (unsigned long long) identity);
    return WIRE_OK;
}

static bool is_any(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* A log never gives up its last segment. */
static bool is_segment(const char *name)
{
    size_t size = strlen(name);

    return size > 4 && strcmp(name + size - 4, ".log") == 0;
}

/* Without it RocksDB would make a new database. */
static bool is_current(const char *name)
{
    return strcmp(name, "CURRENT") == 0;
}

/* Is there such a file in path/name? */
static bool has_file(const char *path, const char *name, bool (*accept)(const char *name))
{
    char full[PATH_SIZE + 16];
    struct dirent *entry;
    bool found = false;
    DIR *directory;

    (void) snprintf(full, sizeof(full), "%s/%s", path, name);
    directory = opendir(full);
    while (directory && !found && (entry = readdir(directory)) != NULL)
        found = accept(entry->d_name);
    if (directory)
        (void) closedir(directory);
    return found;
}

static int check_parts(const char *path, enum identity_state state, struct sb_fault *fault)
{
    bool items = has_file(path, "items", is_current);
    bool log = has_file(path, "log", is_segment);

    if (state == (enum identity_state) 0 && (has_file(path, "items", is_any) || has_file(path, "log", is_any)))
        return sb_fault_set(fault, WIRE_E_CONFIG, "storage directory \"%s\" has data but no file IDENTITY", path);
    if (state == COMPLETE && (!items || !log))
        return sb_fault_set(
            fault, WIRE_E_STORE_LOST,
            "storage directory \"%s\" has lost what was in its subdirectory \"%s\": it must be restored", path,
            items ? "log" : "items");
    return WIRE_OK;
}

static bool is_ours(const char *name)
{
    return strcmp(name, "IDENTITY") == 0 || strcmp(name, "items") == 0 || strcmp(name, "log") == 0;
}

/* Nothing of ours lies there, as far as one may look. */
static bool is_empty(const char *path)
{
    return access(path, R_OK | X_OK) == 0 ? !has_file(path, "", is_ours) : errno == ENOENT || errno == ENOTDIR;
}

static int lost(const char *path, const char *marker, const char *how, struct sb_fault *fault)
{
    return sb_fault_set(fault, WIRE_E_STORE_LOST,
                        "storage directory \"%s\" %s, but file \"%s\" says that it held the rows of this server's "
                        "cairn tables",
                        path, how, marker);
}

static int open_locked(const char *path, const char *marker, uint64_t identity, bool marked, bool *made,
                       struct sb_fault *fault)
{
    char name[PATH_SIZE + 16];
    enum identity_state state;
    int status;

    (void) snprintf(name, sizeof(name), "%s/IDENTITY", path);
    status = read_identity(name, identity, &state, fault);
    if (status == WIRE_OK)
        status = check_parts(path, state, fault);
    if (status == WIRE_OK && marked && state != COMPLETE)
        status = lost(path, marker, "was never completed", fault);
    if (status == WIRE_OK && state == (enum identity_state) 0)
        status = write_identity(name, identity, BEING_MADE, fault);
    *made = state != COMPLETE || (marker && !marked);
    return status;
}

int sb_identity_open(const char *path, const char *marker, uint64_t identity, int *lock, bool *made,
                     struct sb_fault *fault)
{
    enum identity_state marked = (enum identity_state) 0;
    int status = WIRE_OK;

    *lock = -1;
    if (strlen(path) >= PATH_SIZE - 64 || (marker && strlen(marker) >= PATH_SIZE - 64))
        return sb_fault_set(fault, WIRE_E_CONFIG, "the path of the storage directory is too long");
    if (marker)
        status = read_identity(marker, identity, &marked, fault);
    if (status == WIRE_OK && marked && is_empty(path))
        status = lost(path, marker, access(path, F_OK) == 0 ? "is empty" : "is missing", fault);
    if (status == WIRE_OK)
        status = make_directory(path, fault);
    if (status == WIRE_OK)
        status = lock_directory(path, lock, fault);
    if (status == WIRE_OK)
        status = open_locked(path, marker, identity, marked != (enum identity_state) 0, made, fault);
    if (status != WIRE_OK && *lock >= 0) {
        (void) close(*lock);
        *lock = -1;
    }
    return status;
}

int sb_identity_complete(const char *path, const char *marker, uint64_t identity, struct sb_fault *fault)
{
    char name[PATH_SIZE + 16];
    int status = sync_directory(path, fault);

    (void) snprintf(name, sizeof(name), "%s/IDENTITY", path);
    if (status == WIRE_OK)
        status = write_identity(name, identity, COMPLETE, fault);
    if (status == WIRE_OK && marker)
        status = write_identity(marker, identity, COMPLETE, fault);
    return status;
}
