/*
 * A server whose log finds no room for its next segment, and one that starts in that state: it reads and serves, writes
 * go on when there is room again, and nothing acknowledged is lost.
 *
 * There is no room for any segment while `no_room` is set: this program's fallocate says so.
 */
#include "sb_test_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic bool no_room;

int fallocate(int file, int mode, off_t offset, off_t length)
{
    if (atomic_load(&no_room)) {
        errno = ENOSPC;
        return -1;
    }
    return (int) syscall(SYS_fallocate, file, mode, offset, length);
}

/* Dies, as by kill -9, when the log is known to wait for room. */
static void *die_when_full(void *argument)
{
    struct client client;

    client_open(&client, argument, 1);
    while (status_of(&client, "log_disk_full") != 1)
        (void) poll(NULL, 0, 5);
    _exit(0);
    return NULL;
}

/* What is acknowledged goes through the pipe. */
static void write_until_full(const char *path, int acknowledged)
{
    struct wire_shared *shared = new_region();
    struct sb_server_options options = make_options(path, shared);
    struct sb_server *server = start(&options);
    struct client client;
    uint64_t storage;
    pthread_t watcher;

    serve(server);
    client_open(&client, shared, 0);
    if (make_storage(&client, "table", &storage) != WIRE_OK)
        _exit(2);
    atomic_store(&no_room, true);
    if (pthread_create(&watcher, NULL, die_when_full, shared) != 0)
        _exit(3);
    for (int64_t i = 0;; i++) {
        if (put(&client, storage, i, i, 2000) == WIRE_OK && write(acknowledged, &i, sizeof(i)) != sizeof(i))
            _exit(4);
    }
}

static int64_t last_acknowledged(int from)
{
    int64_t last = -1;
    int64_t next;

    while (read(from, &next, sizeof(next)) == sizeof(next))
        last = next;
    return last;
}

static void test_start_on_a_full_log(void **state)
{
    struct sb_server_options options;
    struct wire_shared *shared;
    struct sb_server *server;
    struct client client;
    char path[300];
    int ends[2];
    int status;
    int64_t last;
    int64_t value;
    bool leads = true;
    pid_t child;

    (void) state;
    new_directory(path);
    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0)
        write_until_full(path, ends[1]);
    assert_int_equal(close(ends[1]), 0);
    last = last_acknowledged(ends[0]);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(last > 100);

    /* The segment in use has room for the first batch of a start, or has not: both are met on the way here. */
    atomic_store(&no_room, true);
    shared = new_region();
    options = make_options(path, shared);
    for (int starts = 0; leads; starts++) {
        assert_true(starts < 10000);
        server = start(&options);
        assert_int_equal(sb_server_interface.prepared(server, 0), 0);
        serve(server);
        client_open(&client, shared, 0);
        assert_int_equal(get_number(&client, 1, last, &value), WIRE_OK);
        assert_int_equal(value, last);
        WAIT_FOR(status_of(&client, "log_disk_full") == 1 || status_of(&client, "replica_answers") == 1);
        leads = status_of(&client, "replica_answers") == 1;
        if (leads) {
            client_close(&client);
            sb_server_interface.stop(server);
        }
    }
    atomic_store(&no_room, false);
    WAIT_FOR(status_of(&client, "log_disk_full") == 0);
    WAIT_FOR(put(&client, 1, last, -1, 2000) == WIRE_OK);
    for (int64_t i = 0; i < last; i++) {
        assert_int_equal(get_number(&client, 1, i, &value), WIRE_OK);
        assert_int_equal(value, i);
    }
    client_close(&client);
    sb_server_interface.stop(server);
    drop_region(shared);
    remove_tree(path);
    assert_int_equal(sb_memory_blocks(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_on_a_full_log),
    };
    const char *temporary = getenv("TMPDIR");

    (void) snprintf(base, sizeof(base), "%s/test_sb_full_log.XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(base))
        return 1;
    if (cmocka_run_group_tests(tests, NULL, NULL) != 0)
        return 1;
    return rmdir(base) == 0 ? 0 : 1;
}
