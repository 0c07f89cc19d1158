/*
 * LD_PRELOAD library of the crash tests: records what a power failure could take from a directory, and plays a full
 * disk.
 *
 *   CAIRN_POWEROFF_ROOT  the directory (of a server), without symbolic links in its path
 *   CAIRN_POWEROFF_DIR   where the record goes, see poweroff.h; `control` must exist
 *   CAIRN_POWEROFF_SKIP  pattern (fnmatch) of paths below the root: their syncs succeed and do nothing. With it a test
 *                        shows that it would notice a missing sync
 *   CAIRN_POWEROFF_FULL  pattern of paths whose files may grow by control.room bytes only; what is more fails with
 *                        ENOSPC. Removing files gives nothing back
 *   CAIRN_POWEROFF_ERROR as a number, the errno that it fails with instead: a disk that is broken, not full
 *
 * Happy path: every call that changes files or names below the root is made, then recorded; one mutex of the process is
 * held over both. A sync is recorded and not made, for what the disk keeps is decided by poweroff_apply: it takes a
 * random moment instead, so that others come between.
 *
 * What goes past it: stdio (a file that fopen made is not in the record at all), mappings, sync_file_range (promises
 * nothing), renames of directories.
 *
 * Failure modes: a record that cannot be written, or a descriptor too high for the table, aborts the process: a record
 * with holes proves nothing.
 */
#include "poweroff.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS 65536
#define SYNC_NS_MAX 400000
#define ZERO_LEAST 64 /* shorter writes of zeroes are recorded as they are */

#define EXPORT __attribute__((visibility("default")))

struct descriptor {
    uint64_t ino; /* 0: not ours */
    bool directory;
    bool limited; /* counts against control.room */
    bool synchronous;
};

static char root[PATH_MAX];
static size_t root_size;
static const char *directory;
static const char *skipped;
static const char *limited;
static int no_room = ENOSPC; /* errno of growing further */
static struct poweroff_control *control;
static struct descriptor table[DESCRIPTORS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;

static void give_up(const char *why)
{
    dprintf(STDERR_FILENO, "poweroff: %s: %s\n", why, strerror(errno));
    abort();
}

/* ---- start ---- */

/* The child has its parent's descriptors, and must have a journal of its own. */
static void after_fork(void)
{
    pthread_mutex_init(&mutex, NULL);
    if (journal >= 0)
        syscall(SYS_close, journal);
    journal = -1;
}

/* A copy: Postgres writes its process title over the environment. */
static char *environment(const char *name)
{
    const char *value = getenv(name);

    return value ? strdup(value) : NULL;
}

__attribute__((constructor)) static void begin(void)
{
    const char *wanted = environment("CAIRN_POWEROFF_ROOT");
    char path[PATH_MAX];
    int fd;

    directory = environment("CAIRN_POWEROFF_DIR");
    if (!wanted || !directory)
        return;
    skipped = environment("CAIRN_POWEROFF_SKIP");
    limited = environment("CAIRN_POWEROFF_FULL");
    if (environment("CAIRN_POWEROFF_ERROR"))
        no_room = atoi(environment("CAIRN_POWEROFF_ERROR"));
    snprintf(path, sizeof(path), "%s/control", directory);
    fd = (int) syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        give_up(path);
    control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED)
        give_up(path);
    syscall(SYS_close, fd);
    pthread_atfork(NULL, NULL, after_fork);
    root_size = (size_t) snprintf(root, sizeof(root), "%s", wanted);
}

/* ---- the record ---- */

static uint64_t next_sequence(void)
{
    return atomic_fetch_add(&control->sequence, 1) + 1;
}

static void open_journal(void)
{
    struct timespec now;
    char path[PATH_MAX];

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(path, sizeof(path), "%s/%d.%ld.%ld.journal", directory, (int) getpid(), (long) now.tv_sec, now.tv_nsec);
    journal = (int) syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (journal < 0)
        give_up(path);
}

/* Mutex held. The record's number is drawn here unless it has one. */
static void record(struct poweroff_record r, const char *path, const char *other, const void *data)
{
    struct iovec parts[4] = {{&r, sizeof(r)}, {(void *) path, 0}, {(void *) other, 0}, {(void *) data, r.data_size}};
    int saved = errno;
    size_t total;

    if (journal < 0)
        open_journal();
    r.magic = POWEROFF_MAGIC;
    if (r.sequence == 0)
        r.sequence = next_sequence();
    r.path_size = path ? (uint32_t) strlen(path) : 0;
    r.other_size = other ? (uint32_t) strlen(other) : 0;
    parts[1].iov_len = r.path_size;
    parts[2].iov_len = r.other_size;
    total = sizeof(r) + r.path_size + r.other_size + r.data_size;
    if (syscall(SYS_writev, journal, parts, 4) != (long) total)
        give_up("could not write the record");
    errno = saved;
}

static bool all_zero(const uint8_t *data, size_t size)
{
    return size >= ZERO_LEAST && data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

static void record_write(uint64_t ino, uint64_t offset, const void *data, size_t size)
{
    bool zero = all_zero(data, size);

    record((struct poweroff_record){.kind = zero ? POWEROFF_ZERO : POWEROFF_WRITE,
                                    .ino = ino,
                                    .offset = offset,
                                    .length = size,
                                    .data_size = zero ? 0 : size},
           NULL, NULL, data);
}

static void record_size(enum poweroff_kind kind, uint64_t ino, uint64_t length)
{
    record((struct poweroff_record){.kind = kind, .ino = ino, .length = length}, NULL, NULL, NULL);
}

/* ---- paths and descriptors ---- */

/* The part of an absolute path below the root, or NULL. */
static const char *below(const char *path)
{
    if (strncmp(path, root, root_size) != 0)
        return NULL;
    if (path[root_size] == '\0')
        return path + root_size;
    return path[root_size] == '/' ? path + root_size + 1 : NULL;
}

static const char *path_of_descriptor(int fd, char *buffer)
{
    char link[64];
    ssize_t size;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    size = readlink(link, buffer, PATH_MAX - 1);
    if (size < 0)
        return NULL;
    buffer[size] = '\0';
    return below(buffer);
}

/* Of a name that may not exist: the real path of its directory, and its last part. */
static const char *path_of_name(int dirfd, const char *name, char *buffer)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    size_t size;

    if (!control)
        return NULL;
    if (dirfd == AT_FDCWD || *name == '/')
        snprintf(parent, sizeof(parent), "%.*s", slash ? (int) (slash - name + 1) : 1, slash ? name : ".");
    else
        snprintf(parent, sizeof(parent), "/proc/self/fd/%d/%.*s", dirfd, slash ? (int) (slash - name) : 0, name);
    if (!realpath(parent, buffer))
        return NULL;
    size = strlen(buffer);
    snprintf(buffer + size, PATH_MAX - size, "/%s", last);
    return below(buffer);
}

static void track(int fd, int flags)
{
    char buffer[PATH_MAX];
    const char *path = path_of_descriptor(fd, buffer);
    struct stat st;

    if (fd >= DESCRIPTORS) {
        if (path)
            give_up("a descriptor beyond the table");
        return;
    }
    table[fd] = (struct descriptor){0};
    if (!path || fstat(fd, &st) != 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        return;
    table[fd] = (struct descriptor){.ino = st.st_ino,
                                    .directory = S_ISDIR(st.st_mode),
                                    .limited = limited && fnmatch(limited, path, 0) == 0,
                                    .synchronous = (flags & O_DSYNC) != 0};
}

/* Descriptors may be closed behind our back (fclose, closedir) and given out again: the inode tells. */
static struct descriptor *tracked(int fd, struct stat *st)
{
    if (!control || fd < 0 || fd >= DESCRIPTORS || table[fd].ino == 0)
        return NULL;
    if (fstat(fd, st) == 0 && st->st_ino == table[fd].ino && S_ISDIR(st->st_mode) == table[fd].directory)
        return &table[fd];
    table[fd] = (struct descriptor){0};
    return NULL;
}

/* ---- opening ---- */

/* Mutex held. */
static int open_creating(int dirfd, const char *path, int flags, mode_t mode, bool *made)
{
    int fd = (int) syscall(SYS_openat, dirfd, path, flags | O_EXCL, mode);

    *made = fd >= 0;
    if (fd < 0 && errno == EEXIST && !(flags & O_EXCL))
        fd = (int) syscall(SYS_openat, dirfd, path, flags, mode);
    return fd;
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
    bool temporary = (flags & O_TMPFILE) == O_TMPFILE;
    bool changes = !temporary && (flags & (O_CREAT | O_TRUNC)) != 0;
    char buffer[PATH_MAX];
    bool made = false;
    int fd;

    if (!control || temporary)
        return (int) syscall(SYS_openat, dirfd, path, flags, mode);
    if (changes)
        pthread_mutex_lock(&mutex);
    fd = flags & O_CREAT ? open_creating(dirfd, path, flags, mode, &made)
                         : (int) syscall(SYS_openat, dirfd, path, flags, mode);
    if (fd >= 0)
        track(fd, flags);
    if (fd >= 0 && changes && fd < DESCRIPTORS && table[fd].ino != 0) {
        if (made)
            record((struct poweroff_record){.kind = POWEROFF_CREATE, .ino = table[fd].ino},
                   path_of_descriptor(fd, buffer), NULL, NULL);
        else if (flags & O_TRUNC)
            record_size(POWEROFF_TRUNCATE, table[fd].ino, 0);
    }
    if (changes)
        pthread_mutex_unlock(&mutex);
    return fd;
}

static mode_t mode_argument(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t) va_arg(arguments, int) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_any(dirfd, path, flags, mode);
}

EXPORT int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int close(int fd)
{
    if (control && fd >= 0 && fd < DESCRIPTORS)
        table[fd] = (struct descriptor){0};
    return (int) syscall(SYS_close, fd);
}

/* ---- contents ---- */

/* How many of `size` bytes at `offset` there is room for. Mutex held. */
static size_t take_room(const struct descriptor *d, const struct stat *st, uint64_t offset, size_t size)
{
    uint64_t have = (uint64_t) st->st_size;
    uint64_t grows = offset + size > have ? offset + size - (offset > have ? offset : have) : 0;
    int64_t room = atomic_load(&control->room);
    int64_t taken;

    do {
        if (!d->limited || room < 0 || grows == 0)
            return size;
        taken = (uint64_t) room < grows ? room : (int64_t) grows;
    } while (!atomic_compare_exchange_weak(&control->room, &room, room - taken));
    return size - (size_t) (grows - (uint64_t) taken);
}

static int sync_any(int fd, long number);

/* offset -1: at the descriptor's own position. */
static ssize_t write_any(int fd, const void *data, size_t size, off_t offset)
{
    struct stat st;
    struct descriptor *d;
    bool synchronous = false;
    uint64_t at;
    ssize_t done;

    if (!control || fd < 0 || fd >= DESCRIPTORS || table[fd].ino == 0 || !(d = tracked(fd, &st)))
        return offset < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&mutex);
    if (d->limited) {
        at = offset >= 0                     ? (uint64_t) offset
             : fcntl(fd, F_GETFL) & O_APPEND ? (uint64_t) st.st_size
                                             : (uint64_t) lseek(fd, 0, SEEK_CUR);
        if (size > 0 && (size = take_room(d, &st, at, size)) == 0) {
            pthread_mutex_unlock(&mutex);
            errno = no_room;
            return -1;
        }
    }
    done = offset < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, offset);
    if (done > 0) {
        at = offset < 0 ? (uint64_t) (lseek(fd, 0, SEEK_CUR) - done) : (uint64_t) offset;
        record_write(d->ino, at, data, (size_t) done);
        synchronous = d->synchronous;
    }
    pthread_mutex_unlock(&mutex);
    if (synchronous)
        (void) sync_any(fd, SYS_fdatasync);
    return done;
}

EXPORT ssize_t write(int fd, const void *data, size_t size)
{
    return write_any(fd, data, size, -1);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return write_any(fd, data, size, offset);
}

/* Piece by piece, as the caller must expect of short writes anyway. */
static ssize_t write_pieces(int fd, const struct iovec *pieces, int count, off_t offset)
{
    ssize_t total = 0;

    for (int i = 0; i < count; i++) {
        ssize_t done = write_any(fd, pieces[i].iov_base, pieces[i].iov_len, offset < 0 ? -1 : offset + total);

        if (done < 0)
            return total > 0 ? total : done;
        total += done;
        if ((size_t) done < pieces[i].iov_len)
            break;
    }
    return total;
}

EXPORT ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    struct stat st;

    return tracked(fd, &st) ? write_pieces(fd, pieces, count, -1) : syscall(SYS_writev, fd, pieces, count);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    struct stat st;

    return tracked(fd, &st) ? write_pieces(fd, pieces, count, offset)
                            : syscall(SYS_pwritev, fd, pieces, count, offset, 0);
}

EXPORT int ftruncate(int fd, off_t length)
{
    struct stat st;
    struct descriptor *d = tracked(fd, &st);
    int result;

    if (!d)
        return (int) syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&mutex);
    result = (int) syscall(SYS_ftruncate, fd, length);
    if (result == 0)
        record_size(POWEROFF_TRUNCATE, d->ino, (uint64_t) length);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int truncate(const char *path, off_t length)
{
    int fd = open_any(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    int result = fd < 0 ? -1 : ftruncate(fd, length);
    int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = saved;
    return result;
}

/* Holes are not known to the tool. */
static int allocate(int fd, int mode, off_t offset, off_t length)
{
    struct stat st;
    struct descriptor *d = tracked(fd, &st);
    int result = 0;

    if (d && mode & ~FALLOC_FL_KEEP_SIZE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (!d || mode & FALLOC_FL_KEEP_SIZE)
        return (int) syscall(SYS_fallocate, fd, mode, offset, length);
    pthread_mutex_lock(&mutex);
    if (take_room(d, &st, (uint64_t) offset, (size_t) length) < (size_t) length) {
        errno = no_room;
        result = -1;
    }
    if (result == 0)
        result = (int) syscall(SYS_fallocate, fd, mode, offset, length);
    if (result == 0)
        record_size(POWEROFF_EXTEND, d->ino, (uint64_t) (offset + length));
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
    return allocate(fd, mode, offset, length);
}

EXPORT int posix_fallocate(int fd, off_t offset, off_t length)
{
    int saved = errno;
    int result = allocate(fd, 0, offset, length) == 0 ? 0 : errno;

    errno = saved;
    return result;
}

/* ---- syncs ---- */

static int sync_any(int fd, long number)
{
    struct stat st;
    struct descriptor *d = tracked(fd, &st);
    char buffer[PATH_MAX];
    struct poweroff_record r = {0};
    struct timespec pause = {0};
    const char *path;

    if (!d)
        return (int) syscall(number, fd);
    r.sequence = next_sequence();
    r.kind = d->directory ? POWEROFF_SYNC_NAMES : POWEROFF_SYNC;
    r.ino = d->ino;
    clock_gettime(CLOCK_MONOTONIC, &pause);
    pause = (struct timespec){0, pause.tv_nsec * 7919 % SYNC_NS_MAX};
    nanosleep(&pause, NULL);
    path = path_of_descriptor(fd, buffer);
    if (!path || (skipped && fnmatch(skipped, path, 0) == 0))
        return 0;
    pthread_mutex_lock(&mutex);
    record(r, path, NULL, NULL);
    pthread_mutex_unlock(&mutex);
    return 0;
}

EXPORT int fsync(int fd)
{
    return sync_any(fd, SYS_fsync);
}

EXPORT int fdatasync(int fd)
{
    return sync_any(fd, SYS_fdatasync);
}

/* ---- the file system ---- */

/* The room that is left where files are limited. */
EXPORT int statvfs(const char *path, struct statvfs *out)
{
    char buffer[PATH_MAX + 2];
    const char *rest = control && realpath(path, buffer) ? below(buffer) : NULL;
    struct statfs have;

    if (syscall(SYS_statfs, path, &have) != 0)
        return -1;
    memset(out, 0, sizeof(*out));
    out->f_bsize = (unsigned long) have.f_bsize;
    out->f_frsize = (unsigned long) (have.f_frsize ? have.f_frsize : have.f_bsize);
    out->f_blocks = have.f_blocks;
    out->f_bfree = have.f_bfree;
    out->f_bavail = have.f_bavail;
    out->f_namemax = (unsigned long) have.f_namelen;
    if (rest && limited && atomic_load(&control->room) >= 0) {
        strcat(buffer, "/.");
        if (fnmatch(limited, rest, 0) == 0)
            out->f_bavail = out->f_bfree = (fsblkcnt_t) atomic_load(&control->room) / out->f_frsize;
    }
    return 0;
}

/* ---- names ---- */

/* result: of the call that was made with the mutex held. Both paths were made out before it. */
static int record_names(int result, enum poweroff_kind kind, const char *path, const char *other)
{
    bool two = kind == POWEROFF_RENAME || kind == POWEROFF_LINK;

    if (result == 0 && two && (path != NULL) != (other != NULL))
        give_up("a file gets a name across the border of the recorded directory");
    if (result == 0 && path)
        record((struct poweroff_record){.kind = (uint32_t) kind}, path, other, NULL);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char buffers[2][PATH_MAX];
    const char *path = path_of_name(from_dir, from, buffers[0]);
    const char *other = path_of_name(to_dir, to, buffers[1]);

    pthread_mutex_lock(&mutex);
    return record_names((int) syscall(SYS_renameat, from_dir, from, to_dir, to), POWEROFF_RENAME, path, other);
}

EXPORT int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

EXPORT int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    char buffers[2][PATH_MAX];
    const char *path = path_of_name(from_dir, from, buffers[0]);
    const char *other = path_of_name(to_dir, to, buffers[1]);

    pthread_mutex_lock(&mutex);
    return record_names((int) syscall(SYS_linkat, from_dir, from, to_dir, to, flags), POWEROFF_LINK, path, other);
}

EXPORT int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int unlinkat(int dirfd, const char *name, int flags)
{
    char buffer[PATH_MAX];
    const char *path = path_of_name(dirfd, name, buffer);

    pthread_mutex_lock(&mutex);
    return record_names((int) syscall(SYS_unlinkat, dirfd, name, flags), POWEROFF_REMOVE, path, NULL);
}

EXPORT int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

EXPORT int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

EXPORT int remove(const char *name)
{
    int result = unlinkat(AT_FDCWD, name, 0);

    return result != 0 && errno == EISDIR ? unlinkat(AT_FDCWD, name, AT_REMOVEDIR) : result;
}

EXPORT int mkdirat(int dirfd, const char *name, mode_t mode)
{
    char buffer[PATH_MAX];
    const char *path = path_of_name(dirfd, name, buffer);

    pthread_mutex_lock(&mutex);
    return record_names((int) syscall(SYS_mkdirat, dirfd, name, mode), POWEROFF_MKDIR, path, NULL);
}

EXPORT int mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}

/* ---- other names of the same ---- */

EXPORT int open64(const char *path, int flags, ...) __attribute__((alias("open")));
EXPORT int openat64(int dirfd, const char *path, int flags, ...) __attribute__((alias("openat")));
EXPORT int creat64(const char *path, mode_t mode) __attribute__((alias("creat")));
EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) __attribute__((alias("pwrite")));
EXPORT ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off_t offset) __attribute__((alias("pwritev")));
EXPORT int ftruncate64(int fd, off_t length) __attribute__((alias("ftruncate")));
EXPORT int truncate64(const char *path, off_t length) __attribute__((alias("truncate")));
EXPORT int fallocate64(int fd, int mode, off_t offset, off_t length) __attribute__((alias("fallocate")));
EXPORT int statvfs64(const char *path, struct statvfs64 *out) __attribute__((alias("statvfs")));
EXPORT int posix_fallocate64(int fd, off_t offset, off_t length) __attribute__((alias("posix_fallocate")));

int __open_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
    return open_any(dirfd, path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags) __attribute__((alias("__open_2")));
EXPORT int __openat64_2(int dirfd, const char *path, int flags) __attribute__((alias("__openat_2")));
