/*
 * The real directory behind struct sb_files.
 *
 * Happy path: one directory descriptor, names opened relative to it, pread/pwrite at offsets, fdatasync for a file,
 * fsync for the directory. A handle is the file descriptor itself, so calls on different handles, and reads on the same
 * one, need no lock.
 *
 * Failure modes: errno becomes WIRE_E_NOT_FOUND (ENOENT), WIRE_E_DISK_FULL (ENOSPC, EDQUOT) or WIRE_E_IO; the fault
 * names operation, file, offset and errno's text. Nothing is retried but EINTR: after a failed fdatasync the kernel may
 * have dropped the pages, so a second success would prove nothing.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fallocate */
#endif

#include "sb_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZEROES_BYTES (256 * 1024)

struct directory {
    int fd;
};

static int fail(struct sb_fault *fault, const char *operation, const char *name, uint64_t offset, int error)
{
    int code = error == ENOENT ? WIRE_E_NOT_FOUND : error == ENOSPC || error == EDQUOT ? WIRE_E_DISK_FULL : WIRE_E_IO;
    char text[128];

    return sb_fault_set(fault, code, "%s \"%s\" at offset %llu: %s", operation, name, (unsigned long long) offset,
                        strerror_r(error, text, sizeof(text)));
}

/* The same for an open file, whose name only the kernel remembers. */
static int fail_handle(struct sb_fault *fault, const char *operation, int handle, uint64_t offset, int error)
{
    char link[64];
    char name[256];
    ssize_t size;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", handle);
    size = readlink(link, name, sizeof(name) - 1);
    if (size < 0)
        size = snprintf(name, sizeof(name), "descriptor %d", handle);
    name[size] = '\0';
    return fail(fault, operation, name, offset, error);
}

static int directory_fd(void *self)
{
    return ((struct directory *) self)->fd;
}

static int system_list(void *self, void (*each)(void *context, const char *name), void *context, struct sb_fault *fault)
{
    int fd = openat(directory_fd(self), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int error;

    if (!stream) {
        error = errno;
        if (fd >= 0)
            close(fd);
        return fail(fault, "list", ".", 0, error);
    }
    errno = 0;
    while ((entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(context, entry->d_name);
        errno = 0;
    }
    error = errno;
    closedir(stream);
    return error ? fail(fault, "list", ".", 0, error) : WIRE_OK;
}

static int system_open(void *self, const char *name, bool create, int *handle, struct sb_fault *fault)
{
    int fd = openat(directory_fd(self), name, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0600);

    if (fd < 0)
        return fail(fault, create ? "create" : "open", name, 0, errno);
    *handle = fd;
    return WIRE_OK;
}

static int system_close(void *self, int handle)
{
    (void) self;
    return close(handle) == 0 ? WIRE_OK : WIRE_E_IO;
}

static int system_size(void *self, int handle, uint64_t *size, struct sb_fault *fault)
{
    struct stat status;

    (void) self;
    if (fstat(handle, &status) != 0)
        return fail_handle(fault, "stat", handle, 0, errno);
    *size = (uint64_t) status.st_size;
    return WIRE_OK;
}

static int system_write(void *self, int handle, uint64_t offset, const void *data, size_t size, struct sb_fault *fault)
{
    const uint8_t *at = data;

    (void) self;
    while (size > 0) {
        ssize_t done = pwrite(handle, at, size, (off_t) offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail_handle(fault, "write", handle, offset, done < 0 ? errno : EIO);
        at += done;
        offset += (uint64_t) done;
        size -= (size_t) done;
    }
    return WIRE_OK;
}

static int system_read(void *self, int handle, uint64_t offset, void *data, size_t size, size_t *got,
                       struct sb_fault *fault)
{
    size_t total = 0;

    (void) self;
    while (total < size) {
        ssize_t done = pread(handle, (uint8_t *) data + total, size - total, (off_t) (offset + total));

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail_handle(fault, "read", handle, offset + total, errno);
        if (done == 0)
            break;
        total += (size_t) done;
    }
    *got = total;
    return WIRE_OK;
}

/*
 * fallocate alone would leave unwritten extents, whose conversion is a journal commit at every later sync; so zeroes
 * are written too. It comes first because it finds a full disk before anything is written, and gives one extent.
 */
static int system_preallocate(void *self, int handle, uint64_t size, struct sb_fault *fault)
{
    static uint8_t zeroes[ZEROES_BYTES]; /* never written */
    uint64_t at = 0;
    int status = system_size(self, handle, &at, fault);

    if (status != WIRE_OK || at >= size)
        return status;
    if (fallocate(handle, 0, (off_t) at, (off_t) (size - at)) != 0 && errno != EOPNOTSUPP && errno != EINTR)
        return fail_handle(fault, "allocate", handle, at, errno);
    while (status == WIRE_OK && at < size) {
        size_t piece = size - at < ZEROES_BYTES ? (size_t) (size - at) : ZEROES_BYTES;

        status = system_write(self, handle, at, zeroes, piece, fault);
        at += piece;
    }
    return status;
}

static int system_truncate(void *self, int handle, uint64_t size, struct sb_fault *fault)
{
    (void) self;
    return ftruncate(handle, (off_t) size) == 0 ? WIRE_OK : fail_handle(fault, "truncate", handle, size, errno);
}

static int system_sync_file(void *self, int handle, struct sb_fault *fault)
{
    (void) self;
    return fdatasync(handle) == 0 ? WIRE_OK : fail_handle(fault, "sync", handle, 0, errno);
}

static int system_rename(void *self, const char *from, const char *to, struct sb_fault *fault)
{
    int fd = directory_fd(self);

    return renameat(fd, from, fd, to) == 0 ? WIRE_OK : fail(fault, "rename", from, 0, errno);
}

static int system_remove(void *self, const char *name, struct sb_fault *fault)
{
    return unlinkat(directory_fd(self), name, 0) == 0 ? WIRE_OK : fail(fault, "remove", name, 0, errno);
}

static int system_sync_directory(void *self, struct sb_fault *fault)
{
    int fd = directory_fd(self);

    return fsync(fd) == 0 ? WIRE_OK : fail_handle(fault, "sync directory", fd, 0, errno);
}

/* Makes `path` and, because a new directory is a name in its parent, has the parent synced. */
static int open_directory(const char *path, int *out, struct sb_fault *fault)
{
    bool made = mkdir(path, 0700) == 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int parent;
    int status = WIRE_OK;

    if (fd < 0)
        return fail(fault, "open directory", path, 0, errno);
    if (made) {
        parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (parent < 0 || fsync(parent) != 0)
            status = fail(fault, "sync parent directory", path, 0, errno);
        if (parent >= 0)
            close(parent);
    }
    if (status != WIRE_OK)
        close(fd);
    else
        *out = fd;
    return status;
}

int sb_files_system_open(const char *path, struct sb_files *out, struct sb_fault *fault)
{
    struct directory *directory = sb_alloc(sizeof(*directory));
    int status;

    if (!directory)
        return sb_fault_set(fault, WIRE_E_NOMEM, "open directory \"%s\": out of memory", path);
    status = open_directory(path, &directory->fd, fault);
    if (status != WIRE_OK) {
        sb_free(directory);
        return status;
    }
    *out = (struct sb_files){.self = directory,
                             .list = system_list,
                             .open = system_open,
                             .close = system_close,
                             .size = system_size,
                             .write = system_write,
                             .read = system_read,
                             .preallocate = system_preallocate,
                             .truncate = system_truncate,
                             .sync_file = system_sync_file,
                             .rename = system_rename,
                             .remove = system_remove,
                             .sync_directory = system_sync_directory};
    return WIRE_OK;
}

void sb_files_system_close(struct sb_files *files)
{
    struct directory *directory = files->self;

    if (directory)
        close(directory->fd);
    sb_free(directory);
    *files = (struct sb_files){0};
}
