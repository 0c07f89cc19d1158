/*
 * Tests of who a storage directory belongs to: made, completed, taken again; and when it is gone, empty or another's,
 * refused without a trace.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sb_host.h"

#define IDENTITY UINT64_C(7001)

struct place {
    char base[200];
    char path[256];
    char marker[256];
};

static void run(const char *format, const char *path)
{
    char command[700];

    snprintf(command, sizeof(command), format, path);
    assert_int_equal(system(command), 0);
}

static struct place make_place(void)
{
    struct place p;

    snprintf(p.base, sizeof(p.base), "%s/test_sb_identity.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(p.base));
    snprintf(p.path, sizeof(p.path), "%s/cairn", p.base);
    snprintf(p.marker, sizeof(p.marker), "%s/marker", p.base);
    return p;
}

/* Open and close. */
static int take(const struct place *p, const char *marker, uint64_t identity, bool *made, struct sb_fault *fault)
{
    int lock, status;

    *fault = (struct sb_fault){0};
    status = sb_identity_open(p->path, marker, identity, &lock, made, fault);
    assert_int_equal(status, fault->code);
    assert_true((status == WIRE_OK) == (lock >= 0));
    if (lock >= 0)
        close(lock);
    return status;
}

/* What a first start does, up to the end. */
static void make_store(const struct place *p, const char *marker)
{
    struct sb_fault fault;
    bool made;

    assert_int_equal(take(p, marker, IDENTITY, &made, &fault), WIRE_OK);
    assert_true(made);
    run("mkdir '%s/items'", p->path);
    run("touch '%s/items/CURRENT'", p->path);
    run("mkdir '%s/log'", p->path);
    run("touch '%s/log/1.log'", p->path);
    assert_int_equal(sb_identity_complete(p->path, marker, IDENTITY, &fault), WIRE_OK);
}

static void want_lost(const struct place *p, const char *says)
{
    struct sb_fault fault;
    bool made;

    assert_int_equal(take(p, p->marker, IDENTITY, &made, &fault), WIRE_E_STORE_LOST);
    assert_non_null(strstr(fault.text, says));
}

static void test_made_and_taken(void **state)
{
    struct place p = make_place();
    struct sb_fault fault;
    bool made;

    (void) state;
    make_store(&p, p.marker);
    assert_int_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_OK);
    assert_false(made);
    assert_int_equal(take(&p, p.marker, IDENTITY + 1, &made, &fault), WIRE_E_CONFIG);
    assert_non_null(strstr(fault.text, "marker"));
    assert_int_equal(take(&p, NULL, IDENTITY + 1, &made, &fault), WIRE_E_CONFIG);
    assert_non_null(strstr(fault.text, "IDENTITY"));
    run("rm -r '%s'", p.base);
}

/* Gone, or another, empty directory in its place, as under a mount point: refused, and nothing is made there. */
static void test_lost(void **state)
{
    struct place p = make_place();
    struct sb_fault fault;
    bool made;

    (void) state;
    make_store(&p, p.marker);
    run("mv '%1$s' '%1$s.away'", p.path);
    want_lost(&p, "is missing");
    assert_int_not_equal(access(p.path, F_OK), 0);
    run("mkdir -p '%s/lost+found'", p.path);
    want_lost(&p, "is empty");
    run("rmdir '%1$s/lost+found' '%1$s'", p.path); /* nothing else in it */
    run("mv '%1$s.away' '%1$s'", p.path);
    assert_int_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_OK);
    run("rm -r '%s/items'", p.path);
    want_lost(&p, "items");
    run("rm -r '%1$s/log' '%1$s/IDENTITY'", p.path);
    want_lost(&p, "is empty");
    run("rm '%s'", p.marker); /* who wants to begin empty says so */
    make_store(&p, p.marker);
    assert_int_equal(access(p.marker, F_OK), 0);
    run("rm -r '%s'", p.base);
}

/* The power fails at any moment of the first start: nothing was acknowledged, so the next one may begin anew, until
 * IDENTITY is complete; then only the marker is left to write. */
static void test_interrupted(void **state)
{
    struct place p = make_place();
    struct sb_fault fault;
    bool made;

    (void) state;
    assert_int_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_OK);
    assert_int_not_equal(access(p.marker, F_OK), 0);
    assert_int_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_OK);
    assert_true(made);
    make_store(&p, NULL); /* as if before the marker */
    assert_int_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_OK);
    assert_true(made);
    assert_int_equal(sb_identity_complete(p.path, p.marker, IDENTITY, &fault), WIRE_OK);
    assert_int_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_OK);
    assert_false(made);
    run("rm -r '%s'", p.base);
}

/* A marker beside a directory that was begun and never finished: the finished one is elsewhere. */
static void test_unfinished_with_marker(void **state)
{
    struct place p = make_place(), other = make_place();
    struct sb_fault fault;
    bool made;

    (void) state;
    make_store(&other, other.marker);
    assert_int_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_OK);
    assert_int_equal(rename(other.marker, p.marker), 0);
    want_lost(&p, "was never completed");
    run("rm -r '%s'", p.base);
    run("rm -r '%s'", other.base);
}

static void test_damaged_marker(void **state)
{
    struct place p = make_place();
    struct sb_fault fault;
    bool made;

    (void) state;
    make_store(&p, p.marker);
    for (int offset = 0; offset < 28; offset++) {
        int file = open(p.marker, O_RDWR);
        unsigned char byte, flipped;

        assert_int_equal(pread(file, &byte, 1, offset), 1);
        flipped = byte ^ 0x10;
        assert_int_equal(pwrite(file, &flipped, 1, offset), 1);
        assert_int_not_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_OK);
        assert_non_null(strstr(fault.text, p.marker));
        assert_int_equal(pwrite(file, &byte, 1, offset), 1);
        close(file);
    }
    for (int size = 0; size < 28; size++) {
        assert_int_equal(truncate(p.marker, size), 0);
        assert_int_equal(take(&p, p.marker, IDENTITY, &made, &fault), WIRE_E_CORRUPT);
        assert_non_null(strstr(fault.text, p.marker));
    }
    run("rm -r '%s'", p.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_and_taken), cmocka_unit_test(test_lost),
        cmocka_unit_test(test_interrupted),    cmocka_unit_test(test_unfinished_with_marker),
        cmocka_unit_test(test_damaged_marker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
