/* Tests of the real directory (sb_files.h): what each call does, and the code and text of each refusal. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sb_files.h"

static char parent[64];
static char path[80];

static int setup(void **state)
{
    (void) state;
    snprintf(parent, sizeof(parent), "/tmp/test_sb_files.XXXXXX");
    if (!mkdtemp(parent))
        return -1;
    snprintf(path, sizeof(path), "%s/log", parent);
    return 0;
}

static int teardown(void **state)
{
    char command[160];

    (void) state;
    snprintf(command, sizeof(command), "rm -rf '%s'", parent);
    return system(command) == 0 && sb_memory_blocks() == 0 ? 0 : -1;
}

static struct sb_files open_files(void)
{
    struct sb_files files;
    struct sb_fault fault;

    assert_int_equal(sb_files_system_open(path, &files, &fault), WIRE_OK);
    return files;
}

static void count_name(void *context, const char *name)
{
    size_t *count = context;

    assert_string_not_equal(name, ".");
    assert_string_not_equal(name, "..");
    (*count)++;
}

static size_t names(struct sb_files *files)
{
    size_t count = 0;

    assert_int_equal(files->list(files->self, count_name, &count, NULL), WIRE_OK);
    return count;
}

static void test_write_read(void **state)
{
    struct sb_files f = open_files();
    uint8_t data[16];
    uint64_t size = 1;
    size_t got;
    int handle;

    (void) state;
    assert_int_equal(f.open(f.self, "a", true, &handle, NULL), WIRE_OK);
    assert_int_equal(f.write(f.self, handle, 5, "hello", 5, NULL), WIRE_OK);
    assert_int_equal(f.sync_file(f.self, handle, NULL), WIRE_OK);
    assert_int_equal(f.size(f.self, handle, &size, NULL), WIRE_OK);
    assert_int_equal(size, 10);
    assert_int_equal(f.read(f.self, handle, 0, data, sizeof(data), &got, NULL), WIRE_OK);
    assert_int_equal(got, 10);
    assert_memory_equal(data, "\0\0\0\0\0hello", 10);
    assert_int_equal(f.read(f.self, handle, 10, data, sizeof(data), &got, NULL), WIRE_OK);
    assert_int_equal(got, 0);
    assert_int_equal(f.close(f.self, handle), WIRE_OK);
    sb_files_system_close(&f);
}

static void test_sizes(void **state)
{
    struct sb_files f = open_files();
    size_t large = 600 * 1024;
    uint8_t *data = malloc(large);
    uint64_t size = 1;
    size_t got;
    int handle;

    (void) state;
    assert_non_null(data);
    assert_int_equal(f.open(f.self, "a", true, &handle, NULL), WIRE_OK);
    assert_int_equal(f.write(f.self, handle, 0, "hello", 5, NULL), WIRE_OK);
    assert_int_equal(f.preallocate(f.self, handle, large, NULL), WIRE_OK);
    assert_int_equal(f.preallocate(f.self, handle, 100, NULL), WIRE_OK);
    assert_int_equal(f.size(f.self, handle, &size, NULL), WIRE_OK);
    assert_int_equal(size, large);
    assert_int_equal(f.read(f.self, handle, 0, data, large, &got, NULL), WIRE_OK);
    assert_int_equal(got, large);
    assert_memory_equal(data, "hello", 5);
    for (size_t i = 5; i < large; i++)
        assert_int_equal(data[i], 0);
    assert_int_equal(f.truncate(f.self, handle, 3, NULL), WIRE_OK);
    assert_int_equal(f.size(f.self, handle, &size, NULL), WIRE_OK);
    assert_int_equal(size, 3);
    f.close(f.self, handle);
    sb_files_system_close(&f);
    free(data);
}

static void test_names(void **state)
{
    struct sb_files f = open_files();
    struct sb_fault fault = {0};
    int handle;

    (void) state;
    assert_int_equal(names(&f), 0);
    assert_int_equal(f.open(f.self, "a", false, &handle, &fault), WIRE_E_NOT_FOUND);
    assert_int_equal(fault.code, WIRE_E_NOT_FOUND);
    assert_non_null(strstr(fault.text, "\"a\""));
    assert_int_equal(f.open(f.self, "a", true, &handle, NULL), WIRE_OK);
    f.close(f.self, handle);
    assert_int_equal(f.open(f.self, "a", true, &handle, &fault), WIRE_E_IO);
    assert_int_equal(f.rename(f.self, "a", "b", NULL), WIRE_OK);
    assert_int_equal(f.rename(f.self, "a", "b", &fault), WIRE_E_NOT_FOUND);
    assert_int_equal(f.sync_directory(f.self, NULL), WIRE_OK);
    assert_int_equal(names(&f), 1);
    assert_int_equal(f.open(f.self, "b", false, &handle, NULL), WIRE_OK);
    f.close(f.self, handle);
    assert_int_equal(f.remove(f.self, "b", NULL), WIRE_OK);
    assert_int_equal(f.remove(f.self, "b", NULL), WIRE_E_NOT_FOUND);
    assert_int_equal(names(&f), 0);
    sb_files_system_close(&f);
}

/* A second opening finds the directory made by the first; a path that cannot be one is refused and named. */
static void test_directory(void **state)
{
    struct sb_files f = open_files();
    struct sb_files again = open_files();
    struct sb_files none;
    struct sb_fault fault = {0};
    char bad[96];
    int handle;

    (void) state;
    assert_int_equal(f.open(f.self, "file", true, &handle, NULL), WIRE_OK);
    f.close(f.self, handle);
    assert_int_equal(names(&again), 1);
    snprintf(bad, sizeof(bad), "%s/file", path);
    assert_int_equal(sb_files_system_open(bad, &none, &fault), WIRE_E_IO);
    assert_non_null(strstr(fault.text, bad));
    snprintf(bad, sizeof(bad), "%s/absent/log", path);
    assert_int_equal(sb_files_system_open(bad, &none, &fault), WIRE_E_NOT_FOUND);
    sb_files_system_close(&again);
    sb_files_system_close(&f);
}

/* A failing call on a handle still names the file. */
static void test_fault_names_file(void **state)
{
    struct sb_files f = open_files();
    struct sb_fault fault = {0};
    int handle;

    (void) state;
    assert_int_equal(f.open(f.self, "named", true, &handle, NULL), WIRE_OK);
    assert_int_equal(f.truncate(f.self, handle, UINT64_MAX, &fault), WIRE_E_IO);
    assert_non_null(strstr(fault.text, "named"));
    f.close(f.self, handle);
    sb_files_system_close(&f);
}

/* /dev/full is the one file on which every write finds a full disk. */
static void test_disk_full(void **state)
{
    struct sb_files f = open_files();
    struct sb_fault fault = {0};
    char link[96];
    int handle;

    (void) state;
    snprintf(link, sizeof(link), "%s/full", path);
    assert_int_equal(symlink("/dev/full", link), 0);
    assert_int_equal(f.open(f.self, "full", false, &handle, NULL), WIRE_OK);
    assert_int_equal(f.write(f.self, handle, 0, "x", 1, &fault), WIRE_E_DISK_FULL);
    assert_int_equal(fault.code, WIRE_E_DISK_FULL);
    f.close(f.self, handle);
    sb_files_system_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fault_names_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_full, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
