/*
 * The collector's eyes: does the file of a storage's relation still exist?
 *
 * Dropping a table only unlinks its file (at commit, or after the checkpoint that follows); the storage goes when the
 * file has been absent in two rounds. A file may lie in the default tablespace or in any other, and a temporary
 * relation's has its backend's number in its name. Nothing is judged from a directory that cannot be read: a tablespace
 * whose file system is not mounted must not look like dropped tables.
 */
#include "cairn_storage.h"

#include <sys/stat.h>

#include "common/relpath.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "cairn_table.h"

static MemoryContext context;
static List *places;   /* char *: directories that hold databases, of this round */
static uint64 *absent; /* storages without a file, ascending or not: of this round */
static int absent_count;
static int absent_capacity;
static uint64 *absent_before; /* of the round before */
static int absent_before_count;
static bool warned;

static bool is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Once, until all is well again. */
static void warn_skipped(const char *path)
{
    if (!warned)
        ereport(WARNING, (errmsg("cairn does not look for dropped tables while directory \"%s\" is missing", path),
                          errdetail("Storage of dropped tables is not freed meanwhile.")));
    warned = true;
}

/* False behind the last entry; *failed if there may be more. */
static bool next_entry(DIR *dir, const char **name, bool *failed)
{
    struct dirent *entry;

    errno = 0;
    entry = readdir(dir);
    *failed = !entry && errno != 0;
    if (entry)
        *name = entry->d_name;
    return entry != NULL;
}

/* The version directory of every tablespace. False if one is missing. */
static bool find_tablespaces(void)
{
    DIR *dir = AllocateDir("pg_tblspc");
    const char *name;
    bool complete = dir != NULL;
    bool failed = false;

    while (complete && next_entry(dir, &name, &failed)) {
        char *path;

        if (name[0] == '.')
            continue;
        path = psprintf("pg_tblspc/%s/%s", name, TABLESPACE_VERSION_DIRECTORY);
        complete = is_directory(path);
        if (complete)
            places = lappend(places, path);
        else
            warn_skipped(path);
    }
    if (dir)
        FreeDir(dir);
    return complete && !failed;
}

bool cairn_collect_begin(void)
{
    MemoryContext old;
    bool complete;

    if (!context)
        context = AllocSetContextCreate(TopMemoryContext, "CairnCollect", ALLOCSET_DEFAULT_SIZES);
    old = MemoryContextSwitchTo(context);
    places = list_make1(pstrdup("base"));
    complete = is_directory("base") && find_tablespaces();
    MemoryContextSwitchTo(old);
    absent_count = 0;
    if (complete)
        warned = false;
    else
        MemoryContextReset(context);
    return complete;
}

/* t<backend>_<relfilenode>, and its forks and segments */
static bool is_temporary_file(const char *name, const char *suffix)
{
    size_t digits;
    const char *rest;

    if (name[0] != 't')
        return false;
    digits = strspn(name + 1, "0123456789");
    rest = name + 1 + digits;
    return digits > 0 && strncmp(rest, suffix, strlen(suffix)) == 0 &&
           !(rest[strlen(suffix)] >= '0' && rest[strlen(suffix)] <= '9');
}

/* Anything that keeps the answer from being certain counts as a file. */
static bool has_temporary_file(const char *directory, Oid relfilenode)
{
    DIR *dir = AllocateDir(directory);
    const char *name;
    char suffix[32];
    bool found = false;
    bool failed = false;

    if (!dir)
        return errno != ENOENT;
    snprintf(suffix, sizeof(suffix), "_%u", relfilenode);
    while (!found && next_entry(dir, &name, &failed))
        found = is_temporary_file(name, suffix);
    FreeDir(dir);
    return found || failed;
}

static bool has_file(Oid database, Oid relfilenode)
{
    ListCell *cell;

    foreach (cell, places) {
        char *directory = psprintf("%s/%u", (char *) lfirst(cell), database);
        char *path = psprintf("%s/%u", directory, relfilenode);
        struct stat st;

        if (stat(path, &st) == 0 || errno != ENOENT || has_temporary_file(directory, relfilenode))
            return true;
        pfree(path);
        pfree(directory);
    }
    return false;
}

static void remember(uint64 storage_id)
{
    if (absent_count == absent_capacity) {
        absent_capacity = Max(64, absent_capacity * 2);
        absent = absent ? repalloc(absent, sizeof(uint64) * absent_capacity)
                        : MemoryContextAlloc(TopMemoryContext, sizeof(uint64) * absent_capacity);
    }
    absent[absent_count++] = storage_id;
}

bool cairn_collect_gone(struct wire_span identity, uint64 storage_id)
{
    struct wire_reader r = wire_reader_of(identity.data, identity.size);
    Oid database = wire_read_u32(&r);
    Oid tablespace = wire_read_u32(&r);
    Oid relfilenode = wire_read_u32(&r);
    MemoryContext old;
    bool found;

    /* An identity of another form is none of ours. */
    if (wire_reader_finish(&r) != WIRE_OK || tablespace != 0 || identity.size != CAIRN_IDENTITY_SIZE)
        return false;
    old = MemoryContextSwitchTo(context);
    found = has_file(database, relfilenode);
    MemoryContextSwitchTo(old);
    if (found)
        return false;
    remember(storage_id);
    for (int i = 0; i < absent_before_count; i++)
        if (absent_before[i] == storage_id)
            return true;
    return false;
}

void cairn_collect_end(void)
{
    if (absent_before)
        pfree(absent_before);
    absent_before = absent;
    absent_before_count = absent_count;
    absent = NULL;
    absent_count = 0;
    absent_capacity = 0;
    MemoryContextReset(context);
    places = NIL;
}
