/*
 * What a power failure leaves of a recorded directory (poweroff.h).
 *
 *   poweroff_apply snapshot ROOT DIR            copy ROOT to DIR/base, note inode numbers, begin a new record: when no
 *                                               process uses ROOT
 *   poweroff_apply crash DIR OUT SEED STRICT    make OUT: a disk that had DIR/base, and to which the record happened
 *   poweroff_apply verify ROOT OUT              say in which files below ROOT and OUT, present in both, contents differ
 *
 * Happy path: all records in the order of their numbers go to a simulated disk, where each file has durable contents
 * and a list of changes since its last sync, each directory durable names and a list of changes since its last sync. In
 * the end a random part of the changes survives, by SEED: of a file's, each is kept, dropped, or torn at sectors of 512
 * bytes; of a directory's, a prefix. SEED "all" keeps everything, "none" nothing.
 *
 * A truncation that is dropped takes with it what was written to the file later, as it does on file systems that
 * journal. Below STRICT (a path) only a sync of the directory makes a name durable; elsewhere, as on ext4, XFS and
 * Btrfs, a sync of the file does it as well for the name the file was made under, with the changes of that directory
 * before it: Postgres relies on that for its relations.
 *
 * Failure modes: anything unexpected ends the program with a message and status 1.
 */
#include "poweroff.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512
#define COPY_BYTES (1024 * 1024)
#define NONE UINT32_MAX

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "poweroff_apply: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static void *grow(void *array, size_t count, size_t size)
{
    /* Doubled whenever the count is a power of two. */
    if (count == 0 || (count & (count - 1)) == 0) {
        array = realloc(array, (count ? count * 2 : 1) * size);
        if (!array)
            fail("grow", "array");
    }
    return array;
}

#define PUSH(array, count, value) ((array) = grow((array), (count), sizeof(*(array))), (array)[(count)++] = (value))

static char *join(const char *directory, const char *name)
{
    char *path;

    if (asprintf(&path, "%s%s%s", directory, *directory && *name ? "/" : "", name) < 0)
        fail("join", name);
    return path;
}

/* ---- files ---- */

static void copy_file(const char *from, const char *to)
{
    static char buffer[COPY_BYTES];
    int in = open(from, O_RDONLY);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t size;

    if (in < 0)
        fail("open", from);
    if (out < 0)
        fail("create", to);
    while ((size = read(in, buffer, sizeof(buffer))) > 0)
        if (write(out, buffer, (size_t) size) != size)
            fail("write", to);
    if (size < 0)
        fail("read", from);
    close(in);
    close(out);
}

static const char *walk_from;
static const char *walk_to;
static FILE *walk_list;
static int walk_result;

static int snapshot_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *rest = path + strlen(walk_from);
    char *to = join(walk_to, *rest == '/' ? rest + 1 : rest);

    (void) ftw;
    if (type == FTW_D && mkdir(to, 0700) != 0)
        fail("make directory", to);
    if (type == FTW_F)
        copy_file(path, to);
    if (type != FTW_D && type != FTW_F)
        fail("neither file nor directory:", path);
    if (*rest)
        fprintf(walk_list, "%c %llu %s\n", type == FTW_D ? 'd' : 'f', (unsigned long long) st->st_ino, rest + 1);
    free(to);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st, (void) type, (void) ftw;
    return remove(path);
}

static void snapshot(const char *root, const char *dir)
{
    char *control = join(dir, "control");
    struct poweroff_control blank = {0, -1};
    glob_t found;
    FILE *file;

    walk_from = root;
    walk_to = join(dir, "base");
    if (access(walk_to, F_OK) == 0 && nftw(walk_to, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0)
        fail("remove", walk_to);
    if (glob(join(dir, "*.journal"), 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
    walk_list = fopen(join(dir, "list"), "w");
    if (!walk_list || nftw(root, snapshot_one, 32, FTW_PHYS) != 0 || fclose(walk_list) != 0)
        fail("copy", root);
    file = fopen(control, "w");
    if (!file || fwrite(&blank, sizeof(blank), 1, file) != 1 || fclose(file) != 0)
        fail("write", control);
}

static bool same_contents(const char *a, const char *b)
{
    static char buffers[2][COPY_BYTES];
    FILE *files[2] = {fopen(a, "r"), fopen(b, "r")};
    bool same = true;
    size_t size;

    if (!files[0] || !files[1])
        fail("open", files[0] ? b : a);
    do {
        size = fread(buffers[0], 1, COPY_BYTES, files[0]);
        same = fread(buffers[1], 1, COPY_BYTES, files[1]) == size && memcmp(buffers[0], buffers[1], size) == 0;
    } while (same && size > 0);
    fclose(files[0]);
    fclose(files[1]);
    return same;
}

static int verify_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *rest = path + strlen(walk_from);
    char *other = join(walk_to, *rest == '/' ? rest + 1 : rest);
    bool present = access(other, F_OK) == 0;

    (void) st, (void) ftw;
    if (type == FTW_F && (!present || !same_contents(path, other))) {
        printf("%s %s\n", present ? "differs" : "absent", rest + 1);
        walk_result = 1;
    }
    free(other);
    return 0;
}

/* ---- the simulated disk ---- */

struct file {
    char *path; /* where its durable contents lie */
    bool own;   /* path is a copy that may be changed */
    int fd;     /* of the copy, or -1 */
    const struct poweroff_record **changes;
    size_t change_count;
};

/* What a name stands for: a file, or NONE for no file, DIRECTORY for a directory. */
#define DIRECTORY (UINT32_MAX - 1)

struct name {
    char *path;
    uint32_t now;
    uint32_t durable;
};

struct name_change {
    uint32_t directory;
    uint32_t name[2]; /* the second NONE: there is none */
    uint32_t value[2];
};

struct disk {
    const char *dir;
    const char *strict;
    struct file *files;
    size_t file_count;
    struct name *names;
    size_t name_count;
    uint32_t *slots; /* hash table of names */
    size_t slot_count;
    struct name_change *changes; /* of all directories, in order */
    size_t change_count;
    uint64_t *inodes; /* pairs: inode number, file; the last one counts */
    size_t inode_count;
};

static struct disk disk;

/* The slot of a name, or the free one where it belongs. */
static size_t slot_of(const char *path, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    size_t slot;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t) path[i]) * 1099511628211u;
    for (slot = hash % disk.slot_count; disk.slots[slot] != NONE; slot = (slot + 1) % disk.slot_count) {
        const char *have = disk.names[disk.slots[slot]].path;

        if (strncmp(have, path, size) == 0 && have[size] == '\0')
            break;
    }
    return slot;
}

static void grow_slots(void)
{
    disk.slot_count = disk.slot_count ? disk.slot_count * 4 : 8192;
    free(disk.slots);
    disk.slots = malloc(disk.slot_count * sizeof(*disk.slots));
    if (!disk.slots)
        fail("grow", "names");
    memset(disk.slots, 0xff, disk.slot_count * sizeof(*disk.slots));
    for (uint32_t i = 0; i < disk.name_count; i++)
        disk.slots[slot_of(disk.names[i].path, strlen(disk.names[i].path))] = i;
}

static uint32_t name_of(const char *path, size_t size)
{
    size_t slot;

    if (disk.name_count * 2 >= disk.slot_count)
        grow_slots();
    slot = slot_of(path, size);
    if (disk.slots[slot] == NONE) {
        disk.slots[slot] = (uint32_t) disk.name_count;
        PUSH(disk.names, disk.name_count, ((struct name){strndup(path, size), NONE, NONE}));
    }
    return disk.slots[slot];
}

static uint32_t directory_of(uint32_t name)
{
    const char *path = disk.names[name].path;
    const char *slash = strrchr(path, '/');

    return name_of(path, slash ? (size_t) (slash - path) : 0);
}

static uint32_t file_new(char *path)
{
    PUSH(disk.files, disk.file_count, ((struct file){path, false, -1, NULL, 0}));
    return (uint32_t) disk.file_count - 1;
}

static void inode_bind(uint64_t ino, uint32_t file)
{
    PUSH(disk.inodes, disk.inode_count, ino);
    PUSH(disk.inodes, disk.inode_count, file);
}

static uint32_t file_of(uint64_t ino)
{
    static uint64_t cached_ino;
    static size_t cached_at, cached_count;

    if (cached_count == disk.inode_count && cached_ino == ino)
        return (uint32_t) disk.inodes[cached_at];
    for (size_t i = disk.inode_count; i > 0; i -= 2)
        if (disk.inodes[i - 2] == ino) {
            cached_ino = ino;
            cached_at = i - 1;
            cached_count = disk.inode_count;
            return (uint32_t) disk.inodes[i - 1];
        }
    return NONE;
}

/* A copy of the durable contents that may be changed. */
static int file_fd(struct file *file)
{
    char *path;

    if (file->fd >= 0)
        return file->fd;
    if (asprintf(&path, "%s/stage/%zu", disk.dir, (size_t) (file - disk.files)) < 0)
        fail("name", "stage");
    copy_file(file->path ? file->path : "/dev/null", path);
    file->path = path;
    file->own = true;
    file->fd = open(path, O_RDWR);
    if (file->fd < 0)
        fail("open", path);
    return file->fd;
}

static const uint8_t *data_of(const struct poweroff_record *r)
{
    return (const uint8_t *) (r + 1) + r->path_size + r->other_size;
}

static void write_part(struct file *file, const struct poweroff_record *r, uint64_t from, uint64_t to)
{
    static const uint8_t zeroes[COPY_BYTES];
    int fd = file_fd(file);

    while (from < to) {
        size_t size = to - from < COPY_BYTES ? (size_t) (to - from) : COPY_BYTES;
        const uint8_t *data = r->kind == POWEROFF_ZERO ? zeroes : data_of(r) + (from - r->offset);

        if (pwrite(fd, data, size, (off_t) from) != (ssize_t) size)
            fail("write", file->path);
        from += size;
    }
}

static void change_apply(struct file *file, const struct poweroff_record *r)
{
    struct stat st;

    if (r->kind == POWEROFF_WRITE || r->kind == POWEROFF_ZERO)
        write_part(file, r, r->offset, r->offset + r->length);
    else if (fstat(file_fd(file), &st) != 0 || ((r->kind == POWEROFF_TRUNCATE || (uint64_t) st.st_size < r->length) &&
                                                ftruncate(file->fd, (off_t) r->length) != 0))
        fail("truncate", file->path);
}

static void file_sync(struct file *file)
{
    for (size_t i = 0; i < file->change_count; i++)
        change_apply(file, file->changes[i]);
    file->change_count = 0;
}

static void name_apply(const struct name_change *change)
{
    for (int i = 0; i < 2 && change->name[i] != NONE; i++)
        disk.names[change->name[i]].durable = change->value[i];
}

/* Make the changes of a directory durable, the first `count` of them. */
static void directory_sync(uint32_t directory, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < disk.change_count; i++) {
        if (disk.changes[i].directory == directory && count > 0) {
            name_apply(&disk.changes[i]);
            count--;
        } else
            disk.changes[kept++] = disk.changes[i];
    }
    disk.change_count = kept;
}

static bool is_strict(const char *path)
{
    size_t size = strlen(disk.strict);

    return size > 0 && strncmp(path, disk.strict, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

/* The sync of a file that is not below STRICT takes its name along. */
static void sync_name(uint32_t file, const struct poweroff_record *r)
{
    uint32_t name = name_of((const char *) (r + 1), r->path_size);
    uint32_t directory = directory_of(name);
    size_t count = 0;

    if (is_strict(disk.names[name].path))
        return;
    for (size_t i = 0; i < disk.change_count; i++) {
        count += disk.changes[i].directory == directory;
        if (disk.changes[i].name[0] == name && disk.changes[i].value[0] == file) {
            directory_sync(directory, count);
            return;
        }
    }
}

static void name_change(uint32_t name, uint32_t value, uint32_t second, uint32_t second_value)
{
    struct name_change change = {directory_of(name), {name, second}, {value, second_value}};

    disk.names[name].now = value;
    if (second != NONE)
        disk.names[second].now = second_value;
    if (second != NONE && directory_of(second) != change.directory) {
        /* Two directories: not recorded anywhere so far, so simply durable. */
        directory_sync(change.directory, SIZE_MAX);
        directory_sync(directory_of(second), SIZE_MAX);
        name_apply(&change);
    } else
        PUSH(disk.changes, disk.change_count, change);
}

static void replay_names(const struct poweroff_record *r)
{
    const char *path = (const char *) (r + 1);
    uint32_t name = name_of(path, r->path_size);
    uint32_t other = r->other_size ? name_of(path + r->path_size, r->other_size) : NONE;
    uint32_t file;

    switch (r->kind) {
    case POWEROFF_CREATE:
        file = file_new(NULL);
        inode_bind(r->ino, file);
        name_change(name, file, NONE, NONE);
        break;
    case POWEROFF_MKDIR:
        name_change(name, DIRECTORY, NONE, NONE);
        break;
    case POWEROFF_REMOVE:
        name_change(name, NONE, NONE, NONE);
        break;
    case POWEROFF_RENAME:
        if (disk.names[name].now == DIRECTORY)
            fail("a directory was renamed:", disk.names[name].path);
        name_change(other, disk.names[name].now, name, NONE);
        break;
    case POWEROFF_LINK:
        name_change(other, disk.names[name].now, NONE, NONE);
        break;
    default:
        directory_sync(name, SIZE_MAX);
    }
}

static void replay(const struct poweroff_record *r)
{
    uint32_t file;

    if (r->kind < POWEROFF_WRITE) {
        replay_names(r);
        return;
    }
    file = file_of(r->ino);
    if (file == NONE)
        return; /* made by stdio */
    if (r->kind != POWEROFF_SYNC)
        PUSH(disk.files[file].changes, disk.files[file].change_count, r);
    else {
        file_sync(&disk.files[file]);
        sync_name(file, r);
    }
}

/* ---- the end ---- */

enum fate { KEEP_NONE, KEEP_ALL, KEEP_PREFIX, KEEP_SOME, KEEP_TORN, FATES };

static uint64_t random_state;
static int random_mood; /* an enum fate, or FATES: another for each file and directory */

static uint64_t random_below(uint64_t limit)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % limit;
}

static void random_begin(const char *seed)
{
    static const int moods[] = {KEEP_NONE, KEEP_ALL, FATES, FATES, FATES, FATES, KEEP_PREFIX, KEEP_TORN};

    random_state = strtoull(seed, NULL, 10);
    random_mood = moods[random_below(sizeof(moods) / sizeof(*moods))];
    if (strcmp(seed, "all") == 0 || strcmp(seed, "none") == 0)
        random_mood = *seed == 'a' ? KEEP_ALL : KEEP_NONE;
}

static enum fate random_fate(void)
{
    return random_mood == FATES ? (enum fate) random_below(FATES) : (enum fate) random_mood;
}

static void tear(struct file *file, const struct poweroff_record *r)
{
    uint64_t end = r->offset + r->length;

    for (uint64_t at = r->offset, next; at < end; at = next) {
        next = (at / SECTOR + 1) * SECTOR;
        next = next < end ? next : end;
        if (random_below(2))
            write_part(file, r, at, next);
    }
}

static void file_end(struct file *file)
{
    enum fate fate = random_fate();
    size_t prefix = fate == KEEP_PREFIX ? random_below(file->change_count + 1) : fate == KEEP_NONE ? 0 : SIZE_MAX;

    for (size_t i = 0; i < file->change_count && i < prefix; i++) {
        const struct poweroff_record *r = file->changes[i];
        bool write = r->kind == POWEROFF_WRITE || r->kind == POWEROFF_ZERO;
        uint64_t luck = random_below(3);

        if (fate < KEEP_SOME || luck == 0)
            change_apply(file, r);
        else if (write && fate == KEEP_TORN)
            tear(file, r);
        else if (r->kind == POWEROFF_TRUNCATE)
            break;
    }
    /* Of a prefix, the change at its end is torn, too. */
    if (fate == KEEP_PREFIX && prefix < file->change_count && file->changes[prefix]->kind == POWEROFF_WRITE)
        tear(file, file->changes[prefix]);
}

static void names_end(void)
{
    while (disk.change_count > 0) {
        uint32_t directory = disk.changes[0].directory;
        enum fate fate = random_fate();
        size_t count = 0;
        size_t kept = 0;

        for (size_t i = 0; i < disk.change_count; i++)
            count += disk.changes[i].directory == directory;
        directory_sync(directory, fate == KEEP_NONE ? 0 : fate == KEEP_ALL ? count : random_below(count + 1));
        for (size_t i = 0; i < disk.change_count; i++)
            if (disk.changes[i].directory != directory)
                disk.changes[kept++] = disk.changes[i];
        disk.change_count = kept;
    }
}

/* Is every directory above there? */
static bool is_reachable(uint32_t name)
{
    while (*disk.names[name].path) {
        if (disk.names[name].durable == NONE)
            return false;
        name = directory_of(name);
        if (*disk.names[name].path && disk.names[name].durable != DIRECTORY)
            return false;
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(disk.names[*(const uint32_t *) a].path, disk.names[*(const uint32_t *) b].path);
}

static void write_out(const char *out)
{
    size_t count = disk.name_count;
    uint32_t *order = malloc((count + 1) * sizeof(*order));

    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    qsort(order, count, sizeof(*order), compare_names);
    if (mkdir(out, 0700) != 0)
        fail("make directory", out);
    for (size_t i = 0; i < count; i++) {
        const struct name *name = &disk.names[order[i]];
        char *path = join(out, name->path);

        if (*name->path && is_reachable(order[i])) {
            if (name->durable == DIRECTORY ? mkdir(path, 0700) != 0 : false)
                fail("make directory", path);
            if (name->durable != DIRECTORY)
                copy_file(disk.files[name->durable].path ? disk.files[name->durable].path : "/dev/null", path);
        }
        free(path);
    }
    free(order);
}

/* ---- the record ---- */

static const struct poweroff_record **records;
static size_t record_count;

static void read_journal(const char *path)
{
    int fd = open(path, O_RDONLY);
    const uint8_t *data;
    uint64_t at = 0;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        fail("open", path);
    if (st.st_size == 0)
        return;
    data = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        fail("map", path);
    close(fd);
    while (at + sizeof(struct poweroff_record) <= (uint64_t) st.st_size) {
        const struct poweroff_record *r = (const struct poweroff_record *) (data + at);

        if (r->magic != POWEROFF_MAGIC)
            fail("malformed record in", path);
        at += sizeof(*r) + r->path_size + r->other_size + r->data_size;
        if (at > (uint64_t) st.st_size)
            break;
        PUSH(records, record_count, r);
    }
}

static int compare_records(const void *a, const void *b)
{
    uint64_t left = (*(const struct poweroff_record *const *) a)->sequence;
    uint64_t right = (*(const struct poweroff_record *const *) b)->sequence;

    return left < right ? -1 : left > right;
}

static void read_base(void)
{
    FILE *list = fopen(join(disk.dir, "list"), "r");
    char path[PATH_MAX];
    unsigned long long ino;
    char type;

    if (!list)
        fail("open", "list");
    while (fscanf(list, "%c %llu %4095[^\n]\n", &type, &ino, path) == 3) {
        uint32_t name = name_of(path, strlen(path));
        uint32_t value = type == 'd' ? DIRECTORY : file_new(join(join(disk.dir, "base"), path));

        disk.names[name].now = disk.names[name].durable = value;
        if (type == 'f')
            inode_bind(ino, value);
    }
    fclose(list);
}

static void crash(const char *dir, const char *out, const char *seed, const char *strict)
{
    char *stage = join(dir, "stage");
    struct rlimit files;
    glob_t found;

    disk.dir = dir;
    disk.strict = strict;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &files);
    }
    if (mkdir(stage, 0700) != 0)
        fail("make directory", stage);
    read_base();
    if (glob(join(dir, "*.journal"), 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            read_journal(found.gl_pathv[i]);
    qsort(records, record_count, sizeof(*records), compare_records);
    for (size_t i = 0; i < record_count; i++)
        replay(records[i]);
    random_begin(seed);
    names_end();
    for (size_t i = 0; i < disk.file_count; i++)
        if (disk.files[i].change_count > 0)
            file_end(&disk.files[i]);
    write_out(out);
    if (nftw(stage, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0)
        fail("remove", stage);
    printf("%zu records\n", record_count);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "snapshot") == 0)
        snapshot(argv[2], argv[3]);
    else if (argc == 6 && strcmp(argv[1], "crash") == 0)
        crash(argv[2], argv[3], argv[4], argv[5]);
    else if (argc == 4 && strcmp(argv[1], "verify") == 0) {
        walk_from = argv[2];
        walk_to = argv[3];
        if (nftw(argv[2], verify_one, 32, FTW_PHYS) != 0)
            fail("compare", argv[2]);
    } else {
        fprintf(stderr, "usage: poweroff_apply snapshot ROOT DIR | crash DIR OUT SEED STRICT | verify ROOT OUT\n");
        return 2;
    }
    return walk_result;
}
