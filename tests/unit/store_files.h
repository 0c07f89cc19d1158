/*
 * Directories of items stores on RocksDB, for tests: made fresh, copied as a power loss would leave them, listed.
 */
#ifndef STORE_FILES_H
#define STORE_FILES_H

#include "check_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sb_rocks.h"

static char base[256]; /* a directory of this run */

struct names {
    char list[256][64];
    size_t count;
};

/* ---- files ---- */

static inline const char *path_of(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
    return path;
}

static inline void list_files(const char *directory, const char *suffix, struct names *out)
{
    DIR *d = opendir(directory);
    struct dirent *e;

    out->count = 0;
    while (d && (e = readdir(d))) {
        size_t size = strlen(e->d_name);

        if (e->d_name[0] == '.' || size < strlen(suffix) || strcmp(e->d_name + size - strlen(suffix), suffix) != 0)
            continue;
        assert_true(out->count < 256 && size < sizeof(out->list[0]));
        memcpy(out->list[out->count++], e->d_name, size + 1);
    }
    if (d)
        closedir(d);
}

static inline void remove_directory(const char *directory)
{
    struct names files;
    char path[1024];

    list_files(directory, "", &files);
    for (size_t i = 0; i < files.count; i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, files.list[i]);
        unlink(path);
    }
    rmdir(directory);
}

static inline void copy_file(const char *from, const char *to)
{
    char block[65536];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t size;

    assert_non_null(in);
    assert_non_null(out);
    while ((size = fread(block, 1, sizeof(block), in)) > 0)
        assert_int_equal(fwrite(block, 1, size, out), size);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* What the files of a store say, as a power loss would leave them: nothing of the process's memory. */
static inline void copy_directory(const char *from, const char *to)
{
    struct names files;
    char source[1024], target[1024];

    remove_directory(to);
    assert_int_equal(mkdir(to, 0700), 0);
    list_files(from, "", &files);
    for (size_t i = 0; i < files.count; i++) {
        snprintf(source, sizeof(source), "%s/%s", from, files.list[i]);
        snprintf(target, sizeof(target), "%s/%s", to, files.list[i]);
        copy_file(source, target);
    }
}

static inline struct sb_rocks_options options_of(const char *path)
{
    return (struct sb_rocks_options){.path = path,
                                     .block_cache_bytes = 8 << 20,
                                     .write_buffer_bytes = 1 << 20,
                                     .write_buffer_count = 2,
                                     .background_threads = 2,
                                     .max_open_files = 100};
}

static inline void open_store(const char *path, struct sb_store *out)
{
    struct sb_rocks_options options = options_of(path);
    struct sb_fault fault = {0};
    int status = sb_rocks_open(&options, out, &fault);

    if (status != WIRE_OK)
        print_error("%s\n", fault.text);
    assert_int_equal(status, WIRE_OK);
}

static inline const char *fresh(const char *name)
{
    const char *path = path_of(name);

    remove_directory(path);
    return path;
}

static inline int make_base(void **state)
{
    (void) state;
    snprintf(base, sizeof(base), "%s/test_sb_store.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(base) ? 0 : -1;
}

static inline int remove_base(void **state)
{
    struct names names;
    char path[512];

    (void) state;
    list_files(base, "", &names);
    for (size_t i = 0; i < names.count; i++) {
        snprintf(path, sizeof(path), "%s/%s", base, names.list[i]);
        remove_directory(path);
    }
    return rmdir(base);
}

#endif
