/* What a server tells of the member of its group: figures that agree with each other at any time, and log lines. */
#include "sb_test_client.h"

#include "rg_group.h"

#include <pthread.h>

struct figures {
    uint64_t role;
    uint64_t answers;
    uint64_t leader;
    uint64_t term;
    uint64_t first;
    uint64_t last;
    uint64_t durable;
    uint64_t commit;
    uint64_t applied;
    uint64_t flushed;
    uint64_t behind;
};

static bool is_named(struct wire_span name, const char *wanted)
{
    return name.size == strlen(wanted) && memcmp(name.data, wanted, name.size) == 0;
}

/* All of one reply. */
static struct figures figures_of(struct client *client)
{
    struct figures f;
    const struct {
        const char *name;
        uint64_t *value;
    } wanted[] = {{"replica_role", &f.role},
                  {"replica_answers", &f.answers},
                  {"replica_leader", &f.leader},
                  {"replica_term", &f.term},
                  {"replica_first_index", &f.first},
                  {"replica_last_index", &f.last},
                  {"replica_durable_index", &f.durable},
                  {"replica_commit_index", &f.commit},
                  {"replica_applied_index", &f.applied},
                  {"replica_flushed_index", &f.flushed},
                  {"replica_behind_since_ms", &f.behind}};
    size_t found = 0;

    memset(&f, 0xff, sizeof(f));
    begin(client, WIRE_STATUS, 0, 0, 0);
    assert_int_equal(call(client), WIRE_OK);
    for (uint64_t left = wire_read_varint(&client->reply.body); left > 0; left--) {
        struct wire_span name = wire_read_span(&client->reply.body);
        uint64_t value = wire_read_u64(&client->reply.body);

        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
            if (!is_named(name, wanted[i].name))
                continue;
            *wanted[i].value = value;
            found++;
        }
    }
    assert_false(client->reply.body.failed);
    assert_int_equal(found, sizeof(wanted) / sizeof(wanted[0]));
    return f;
}

static bool agree(const struct figures *f)
{
    return f->first > 0 && f->first <= f->applied + 1 && f->flushed <= f->applied && f->applied <= f->durable &&
           f->applied <= f->commit && f->commit <= f->last && f->durable <= f->last;
}

struct expected {
    char text[120];
    enum sb_level level;
    bool seen;
};

/* Each of three lines comes, in any order: the log is cut when the keep thread looks. */
static void expect_lines(struct sb_server *server, struct expected expected[3])
{
    struct sb_line line;

    while (sb_server_interface.line(server, &line))
        for (int i = 0; i < 3; i++)
            if (strstr(line.text, expected[i].text)) {
                assert_int_equal(line.level, expected[i].level);
                assert_false(expected[i].seen);
                expected[i].seen = true;
            }
}

static void test_a_start_is_told(void **state)
{
    struct bench b;
    struct figures before;
    struct figures after;
    struct sb_line line;
    struct expected expected[3] = {{.level = SB_LEVEL_LOG}, {.level = SB_LEVEL_LOG}, {.level = SB_LEVEL_DEBUG}};

    (void) state;
    bench_open(&b);
    for (int i = 0; i < 10; i++)
        assert_int_equal(put(&b.client, b.storage, i, i, 100), WIRE_OK);
    before = figures_of(&b.client);
    assert_true(agree(&before));
    assert_int_equal(before.role, RG_LEADER);
    assert_int_equal(before.answers, 1);
    assert_int_equal(before.leader, 1);
    assert_int_equal(before.behind, 0);
    assert_int_equal(before.applied, before.commit);
    bench_stop(&b);

    b.server = start(&b.options);
    serve(b.server);
    /* A new term, which begins with an entry of its own behind all others; the clean stop has flushed what was before. */
    (void) snprintf(expected[0].text, sizeof(expected[0].text),
                    "group 1: node 1 leads in term %llu from log entry %llu on", (unsigned long long) before.term + 1,
                    (unsigned long long) before.last + 1);
    (void) snprintf(expected[1].text, sizeof(expected[1].text),
                    "group 1: node 1 answers requests in term %llu, log entry %llu is applied",
                    (unsigned long long) before.term + 1, (unsigned long long) before.last + 1);
    (void) snprintf(expected[2].text, sizeof(expected[2].text),
                    "group 1: the log needs no entries up to %llu any more, in term %llu",
                    (unsigned long long) before.last - 1, (unsigned long long) before.term + 1);
    WAIT_FOR((expect_lines(b.server, expected), expected[0].seen && expected[1].seen && expected[2].seen));
    after = figures_of(&b.client);
    assert_true(agree(&after));
    assert_int_equal(after.term, before.term + 1);
    assert_true(after.last > before.last);
    assert_int_equal(after.flushed, before.last);
    /* Nothing more is said while nothing changes. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(put(&b.client, b.storage, i, i, 100), WIRE_OK);
    while (sb_server_interface.line(b.server, &line))
        assert_null(strstr(line.text, "replication group"));
    bench_close(&b);
}

struct running {
    struct client client;
    struct bench *bench;
    const _Atomic bool *stop;
    int status;
};

static void *write_on(void *argument)
{
    struct running *r = argument;

    for (int64_t i = 0; !atomic_load(r->stop) && r->status == WIRE_OK; i++)
        r->status = put(&r->client, r->bench->storage, i % 50, i, 2000);
    return NULL;
}

/* Whatever is written, flushed and cut meanwhile. */
static void test_figures_agree_at_any_time(void **state)
{
    _Atomic bool stop = false;
    struct running running = {.stop = &stop};
    struct bench b;
    struct figures f = {0};
    pthread_t thread;
    uint64_t looks = 0;

    (void) state;
    bench_open(&b);
    running.bench = &b;
    client_open(&running.client, b.shared, 1);
    assert_int_equal(pthread_create(&thread, NULL, write_on, &running), 0);
    while (looks < 2000 || f.applied < 3000 || f.flushed == 0 || f.first == 1) {
        f = figures_of(&b.client);
        if (!agree(&f))
            fail_msg("first %llu flushed %llu applied %llu commit %llu durable %llu last %llu",
                     (unsigned long long) f.first, (unsigned long long) f.flushed, (unsigned long long) f.applied,
                     (unsigned long long) f.commit, (unsigned long long) f.durable, (unsigned long long) f.last);
        looks++;
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(running.status, WIRE_OK);
    client_close(&running.client);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_start_is_told),
        cmocka_unit_test(test_figures_agree_at_any_time),
    };
    const char *temporary = getenv("TMPDIR");
    int failures;

    (void) snprintf(base, sizeof(base), "%s/test_sb_replica.XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(base))
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    if (failures == 0)
        (void) rmdir(base);
    return failures;
}
