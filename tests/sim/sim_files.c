/*
 * See sim_files.h.
 *
 * Happy path: every call changes what programs see and notes the change; a sync applies the notes to what the disk
 * holds. A crash applies a random part of them and makes that the new truth. Failure modes: only those asked for.
 */
#include "sim_files.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES 32
#define SECTOR 512
#define HANDLES_MAX 4096

struct bytes {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

struct change {
    bool resize; /* to offset; else a write of data at offset */
    uint64_t offset;
    size_t size;
    uint8_t *data;
};

struct inode {
    struct bytes seen;
    struct bytes disk;
    struct change *changes;
    size_t change_count;
    size_t change_capacity;
    size_t uses; /* names in either map; handles do not keep a file over a crash */
};

struct name {
    char text[NAME_BYTES];
    struct inode *inode;
};

struct names {
    struct name *list;
    size_t count;
};

enum name_kind { NAME_CREATE, NAME_RENAME, NAME_REMOVE };

struct name_change {
    enum name_kind kind;
    char from[NAME_BYTES];
    char to[NAME_BYTES];
    struct inode *inode; /* NAME_CREATE */
};

struct sim_files {
    struct sim_random *random;
    struct inode **inodes;
    size_t inode_count;
    struct names seen;
    struct names disk;
    struct name_change *changes;
    size_t change_count;
    struct inode *handles[HANDLES_MAX];
    uint64_t operations;
    uint64_t fail_at;
    int fail_code;
    enum sim_files_lie lie;
};

static void *grow(void *block, size_t size)
{
    void *new = realloc(block, size ? size : 1);

    if (!new)
        abort();
    return new;
}

static void bytes_resize(struct bytes *bytes, size_t size)
{
    if (size > bytes->capacity) {
        bytes->capacity = size + size / 2;
        bytes->data = grow(bytes->data, bytes->capacity);
    }
    if (size > bytes->size)
        memset(bytes->data + bytes->size, 0, size - bytes->size);
    bytes->size = size;
}

static void bytes_write(struct bytes *bytes, uint64_t offset, const void *data, size_t size)
{
    if (size == 0)
        return;
    if (offset + size > bytes->size)
        bytes_resize(bytes, (size_t) offset + size);
    memcpy(bytes->data + offset, data, size);
}

static void bytes_copy(struct bytes *to, const struct bytes *from)
{
    bytes_resize(to, 0);
    bytes_write(to, 0, from->data, from->size);
}

static void change_apply(struct bytes *bytes, const struct change *change)
{
    if (change->resize)
        bytes_resize(bytes, (size_t) change->offset);
    else
        bytes_write(bytes, change->offset, change->data, change->size);
}

/* A write that the power loss caught: up to some byte, or some of its sectors in any order. */
static void change_tear(struct sim_random *random, struct bytes *bytes, const struct change *change)
{
    if (sim_random_one_in(random, 2)) {
        bytes_write(bytes, change->offset, change->data, (size_t) sim_random_below(random, change->size + 1));
        return;
    }
    for (size_t at = 0; at < change->size;) {
        size_t piece = SECTOR - (size_t) ((change->offset + at) % SECTOR);

        if (piece > change->size - at)
            piece = change->size - at;
        if (sim_random_one_in(random, 2))
            bytes_write(bytes, change->offset + at, change->data + at, piece);
        at += piece;
    }
}

static void inode_clear_changes(struct inode *inode)
{
    for (size_t i = 0; i < inode->change_count; i++)
        free(inode->changes[i].data);
    inode->change_count = 0;
}

/* Changes what programs see and notes it. */
static void inode_change(struct inode *inode, struct change change)
{
    if (inode->change_count == inode->change_capacity) {
        inode->change_capacity = inode->change_capacity * 2 + 8;
        inode->changes = grow(inode->changes, inode->change_capacity * sizeof(struct change));
    }
    if (!change.resize) {
        const uint8_t *data = change.data;

        change.data = memcpy(grow(NULL, change.size), data, change.size);
    }
    inode->changes[inode->change_count++] = change;
    change_apply(&inode->seen, &change);
}

/* The disk catches up; `part`: each change by chance only. */
static void inode_settle(struct sim_files *sim, struct inode *inode, bool part)
{
    for (size_t i = 0; i < inode->change_count; i++)
        if (!part || sim_random_one_in(sim->random, 2))
            change_apply(&inode->disk, &inode->changes[i]);
    inode_clear_changes(inode);
}

static void inode_crash(struct sim_files *sim, struct inode *inode)
{
    /* Often all or nothing, so that long unsynced runs survive or vanish together, too. */
    uint64_t mode = sim_random_below(sim->random, 4);

    for (size_t i = 0; i < inode->change_count; i++) {
        const struct change *change = &inode->changes[i];
        uint64_t fate = mode < 2 ? mode : sim_random_below(sim->random, 3);

        if (fate == 1)
            change_apply(&inode->disk, change);
        else if (fate == 2 && !change->resize)
            change_tear(sim->random, &inode->disk, change);
    }
    inode_clear_changes(inode);
    bytes_copy(&inode->seen, &inode->disk);
}

static void inode_free(struct inode *inode)
{
    inode_clear_changes(inode);
    free(inode->changes);
    free(inode->seen.data);
    free(inode->disk.data);
    free(inode);
}

static struct name *names_find(const struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i].text, text) == 0)
            return &names->list[i];
    return NULL;
}

static void names_drop(struct names *names, const char *text)
{
    struct name *found = names_find(names, text);

    if (found)
        *found = names->list[--names->count];
}

static void names_put(struct names *names, const char *text, struct inode *inode)
{
    names_drop(names, text);
    names->list = grow(names->list, (names->count + 1) * sizeof(struct name));
    snprintf(names->list[names->count].text, NAME_BYTES, "%s", text);
    names->list[names->count++].inode = inode;
}

static void name_change_apply(struct names *names, const struct name_change *change)
{
    const struct name *from = names_find(names, change->from);
    struct inode *inode = from ? from->inode : NULL;

    switch (change->kind) {
    case NAME_CREATE:
        names_put(names, change->from, change->inode);
        break;
    case NAME_RENAME:
        names_drop(names, change->from);
        names_put(names, change->to, inode);
        break;
    case NAME_REMOVE:
        names_drop(names, change->from);
        break;
    }
}

static void name_change(struct sim_files *sim, enum name_kind kind, const char *from, const char *to,
                        struct inode *inode)
{
    struct name_change change = {.kind = kind, .inode = inode};

    snprintf(change.from, NAME_BYTES, "%s", from);
    snprintf(change.to, NAME_BYTES, "%s", to);
    sim->changes = grow(sim->changes, (sim->change_count + 1) * sizeof(struct name_change));
    sim->changes[sim->change_count++] = change;
    name_change_apply(&sim->seen, &change);
}

/* The first `count` name operations reach the disk; the rest stays noted. */
static void names_settle(struct sim_files *sim, size_t count)
{
    for (size_t i = 0; i < count; i++)
        name_change_apply(&sim->disk, &sim->changes[i]);
    sim->change_count -= count;
    if (sim->change_count > 0)
        memmove(sim->changes, sim->changes + count, sim->change_count * sizeof(struct name_change));
}

/* Counts the operation; the code it must fail with, or WIRE_OK. */
static int begin(struct sim_files *sim)
{
    sim->operations++;
    if (sim->fail_at == 0 || --sim->fail_at > 0)
        return WIRE_OK;
    return sim->fail_code;
}

static int refuse(struct sb_fault *fault, int code, const char *operation, const char *name)
{
    return sb_fault_set(fault, code, "simulated: %s \"%s\": %s", operation, name, wire_error_text(code));
}

static struct inode *inode_of(struct sim_files *sim, int handle)
{
    if (handle < 0 || handle >= HANDLES_MAX || !sim->handles[handle]) {
        fprintf(stderr, "simulated files: handle %d is not open\n", handle);
        abort();
    }
    return sim->handles[handle];
}

static int sim_list(void *self, void (*each)(void *context, const char *name), void *context, struct sb_fault *fault)
{
    struct sim_files *sim = self;
    int status = begin(sim);

    if (status != WIRE_OK)
        return refuse(fault, WIRE_E_IO, "list", ".");
    for (size_t i = 0; i < sim->seen.count; i++)
        each(context, sim->seen.list[i].text);
    return WIRE_OK;
}

static struct inode *create(struct sim_files *sim, const char *name)
{
    struct inode *inode = calloc(1, sizeof(*inode));

    if (!inode)
        abort();
    sim->inodes = grow(sim->inodes, (sim->inode_count + 1) * sizeof(struct inode *));
    sim->inodes[sim->inode_count++] = inode;
    name_change(sim, NAME_CREATE, name, "", inode);
    return inode;
}

static int sim_open(void *self, const char *name, bool make, int *handle, struct sb_fault *fault)
{
    struct sim_files *sim = self;
    int status = begin(sim);
    const struct name *found = names_find(&sim->seen, name);
    struct inode *inode = found ? found->inode : NULL;
    int at = 0;

    if (status == WIRE_OK && !make && !found)
        status = WIRE_E_NOT_FOUND;
    if (status == WIRE_OK && make && found)
        status = WIRE_E_IO;
    if (status != WIRE_OK)
        return refuse(fault, status, make ? "create" : "open", name);
    if (make)
        inode = create(sim, name);
    while (sim->handles[at])
        if (++at == HANDLES_MAX)
            abort();
    sim->handles[at] = inode;
    *handle = at;
    return WIRE_OK;
}

static int sim_close(void *self, int handle)
{
    struct sim_files *sim = self;

    inode_of(sim, handle);
    sim->handles[handle] = NULL;
    return WIRE_OK;
}

static int sim_size(void *self, int handle, uint64_t *size, struct sb_fault *fault)
{
    struct sim_files *sim = self;

    if (begin(sim) != WIRE_OK)
        return refuse(fault, WIRE_E_IO, "stat", "");
    *size = inode_of(sim, handle)->seen.size;
    return WIRE_OK;
}

static int sim_write(void *self, int handle, uint64_t offset, const void *data, size_t size, struct sb_fault *fault)
{
    struct sim_files *sim = self;
    int status = begin(sim);

    if (status != WIRE_OK)
        size = (size_t) sim_random_below(sim->random, size + 1);
    if (size > 0)
        inode_change(inode_of(sim, handle), (struct change){.offset = offset, .size = size, .data = (uint8_t *) data});
    return status == WIRE_OK ? WIRE_OK : refuse(fault, status, "write", "");
}

static int sim_read(void *self, int handle, uint64_t offset, void *data, size_t size, size_t *got,
                    struct sb_fault *fault)
{
    struct sim_files *sim = self;
    const struct inode *inode = inode_of(sim, handle);

    if (begin(sim) != WIRE_OK)
        return refuse(fault, WIRE_E_IO, "read", "");
    *got = offset >= inode->seen.size         ? 0
           : size < inode->seen.size - offset ? size
                                              : (size_t) (inode->seen.size - offset);
    if (*got > 0)
        memcpy(data, inode->seen.data + offset, *got);
    return WIRE_OK;
}

static int resize(struct sim_files *sim, int handle, uint64_t size, const char *operation, struct sb_fault *fault)
{
    struct inode *inode = inode_of(sim, handle);
    int status = begin(sim);

    if (status != WIRE_OK && size > inode->seen.size)
        size = inode->seen.size + sim_random_below(sim->random, size - inode->seen.size + 1);
    else if (status != WIRE_OK)
        return refuse(fault, status, operation, "");
    inode_change(inode, (struct change){.resize = true, .offset = size});
    return status == WIRE_OK ? WIRE_OK : refuse(fault, status, operation, "");
}

static int sim_preallocate(void *self, int handle, uint64_t size, struct sb_fault *fault)
{
    struct sim_files *sim = self;
    uint64_t least = inode_of(sim, handle)->seen.size;

    return resize(sim, handle, size > least ? size : least, "preallocate", fault);
}

static int sim_truncate(void *self, int handle, uint64_t size, struct sb_fault *fault)
{
    return resize(self, handle, size, "truncate", fault);
}

static int sim_sync_file(void *self, int handle, struct sb_fault *fault)
{
    struct sim_files *sim = self;
    struct inode *inode = inode_of(sim, handle);
    int status = begin(sim);

    if (status == WIRE_OK && sim->lie == SIM_FILES_NO_FILE_SYNC)
        return WIRE_OK;
    inode_settle(sim, inode, status != WIRE_OK);
    return status == WIRE_OK ? WIRE_OK : refuse(fault, status, "sync", "");
}

static int change_name(struct sim_files *sim, enum name_kind kind, const char *from, const char *to,
                       struct sb_fault *fault)
{
    int status = begin(sim);
    bool done = status == WIRE_OK || (status == WIRE_E_IO && sim_random_one_in(sim->random, 2));

    if (!names_find(&sim->seen, from))
        return refuse(fault, WIRE_E_NOT_FOUND, kind == NAME_RENAME ? "rename" : "remove", from);
    if (done)
        name_change(sim, kind, from, to, NULL);
    return status == WIRE_OK ? WIRE_OK : refuse(fault, status, kind == NAME_RENAME ? "rename" : "remove", from);
}

static int sim_rename(void *self, const char *from, const char *to, struct sb_fault *fault)
{
    return change_name(self, NAME_RENAME, from, to, fault);
}

static int sim_remove(void *self, const char *name, struct sb_fault *fault)
{
    return change_name(self, NAME_REMOVE, name, "", fault);
}

static int sim_sync_directory(void *self, struct sb_fault *fault)
{
    struct sim_files *sim = self;
    int status = begin(sim);

    if (status == WIRE_OK && sim->lie == SIM_FILES_NO_DIRECTORY_SYNC)
        return WIRE_OK;
    names_settle(sim,
                 status == WIRE_OK ? sim->change_count : (size_t) sim_random_below(sim->random, sim->change_count + 1));
    return status == WIRE_OK ? WIRE_OK : refuse(fault, status, "sync directory", "");
}

struct sim_files *sim_files_open(struct sim_random *random)
{
    struct sim_files *sim = calloc(1, sizeof(*sim));

    if (!sim)
        abort();
    sim->random = random;
    return sim;
}

void sim_files_close(struct sim_files *sim)
{
    for (size_t i = 0; i < sim->inode_count; i++)
        inode_free(sim->inodes[i]);
    free(sim->inodes);
    free(sim->seen.list);
    free(sim->disk.list);
    free(sim->changes);
    free(sim);
}

struct sb_files sim_files_interface(struct sim_files *sim)
{
    return (struct sb_files){.self = sim,
                             .list = sim_list,
                             .open = sim_open,
                             .close = sim_close,
                             .size = sim_size,
                             .write = sim_write,
                             .read = sim_read,
                             .preallocate = sim_preallocate,
                             .truncate = sim_truncate,
                             .sync_file = sim_sync_file,
                             .rename = sim_rename,
                             .remove = sim_remove,
                             .sync_directory = sim_sync_directory};
}

/* Files without a name and without a handle are gone. */
static void collect(struct sim_files *sim)
{
    size_t kept = 0;

    for (size_t i = 0; i < sim->inode_count; i++)
        sim->inodes[i]->uses = 0;
    for (size_t i = 0; i < sim->disk.count; i++)
        sim->disk.list[i].inode->uses++;
    for (size_t i = 0; i < sim->inode_count; i++) {
        if (sim->inodes[i]->uses > 0)
            sim->inodes[kept++] = sim->inodes[i];
        else
            inode_free(sim->inodes[i]);
    }
    sim->inode_count = kept;
}

void sim_files_crash(struct sim_files *sim)
{
    sim_files_restart(sim);
    names_settle(sim, (size_t) sim_random_below(sim->random, sim->change_count + 1));
    sim->change_count = 0;
    sim->seen.count = 0;
    for (size_t i = 0; i < sim->disk.count; i++)
        names_put(&sim->seen, sim->disk.list[i].text, sim->disk.list[i].inode);
    collect(sim);
    for (size_t i = 0; i < sim->inode_count; i++)
        inode_crash(sim, sim->inodes[i]);
}

void sim_files_restart(struct sim_files *sim)
{
    memset(sim->handles, 0, sizeof(sim->handles));
    sim->fail_at = 0;
}

void sim_files_fail_at(struct sim_files *sim, uint64_t n, int code)
{
    sim->fail_at = n;
    sim->fail_code = code;
}

void sim_files_set_lie(struct sim_files *sim, enum sim_files_lie lie)
{
    sim->lie = lie;
}

uint64_t sim_files_operations(const struct sim_files *sim)
{
    return sim->operations;
}

size_t sim_files_handles(const struct sim_files *sim)
{
    size_t count = 0;

    for (size_t i = 0; i < HANDLES_MAX; i++)
        count += sim->handles[i] != NULL;
    return count;
}

const uint8_t *sim_files_get(const struct sim_files *sim, const char *name, size_t *size)
{
    const struct name *found = names_find(&sim->seen, name);

    *size = found ? found->inode->seen.size : 0;
    return found ? found->inode->seen.data : NULL;
}

void sim_files_put(struct sim_files *sim, const char *name, const void *data, size_t size)
{
    const struct name *found = names_find(&sim->seen, name);
    struct inode *inode = found ? found->inode : create(sim, name);

    names_settle(sim, sim->change_count);
    inode_clear_changes(inode);
    bytes_resize(&inode->seen, 0);
    bytes_write(&inode->seen, 0, data, size);
    bytes_copy(&inode->disk, &inode->seen);
}
