/* What a server tells of the member of its group: figures that agree with each other at any time, and log lines. */
#include "sb_test_client.h"

#include "sb_replica.h"

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

/* A server of which nothing runs. */
struct idle {
    struct sb_server *server;
    _Atomic bool stop;
};

static void *publish_on(void *argument)
{
    struct idle *idle = argument;

    for (uint64_t index = 1; !atomic_load_explicit(&idle->stop, memory_order_relaxed); index++) {
        struct sb_group_status status = {.role = RG_LEADER,
                                         .commit_index = index,
                                         .last_index = index,
                                         .durable_index = index,
                                         .applied = {.index = index}};

        atomic_store(&idle->server->published.durable_index, index);
        sb_replica_publish(idle->server, &status);
    }
    return NULL;
}

/* Between any two stores of a publication. */
static void test_looks_while_it_is_published(void **state)
{
    struct idle idle = {.server = calloc(1, sizeof(*idle.server))};
    struct bench b;
    pthread_t thread;
    uint64_t wrong = 0;
    uint64_t last = 0;

    (void) state;
    bench_open(&b);
    assert_non_null(idle.server);
    idle.server->log = b.server->log;
    assert_int_equal(pthread_create(&thread, NULL, publish_on, &idle), 0);
    while (last < 3000000) {
        struct sb_replica_figures f;

        sb_replica_figures(idle.server, &f);
        wrong += f.flushed_index > f.applied_index || f.applied_index > f.commit_index ||
                 f.applied_index > f.logged_index || f.commit_index > f.last_index || f.logged_index > f.last_index;
        last = f.last_index;
    }
    atomic_store(&idle.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(wrong, 0);
    free(idle.server);
    bench_close(&b);
}

/* How long it has been behind begins when it falls behind and ends when it has caught up. */
static void test_behind_since(void **state)
{
    struct sb_group_status status = {.commit_index = 5, .applied = {.index = 5}};
    struct sb_server *server = calloc(1, sizeof(*server));
    uint64_t since;

    (void) state;
    assert_non_null(server);
    sb_replica_publish(server, &status);
    assert_int_equal(server->published.behind_since_ms, 0);
    status.commit_index = 7;
    sb_replica_publish(server, &status);
    since = server->published.behind_since_ms;
    assert_true(since > 0 && since <= sb_wall_ms());
    (void) usleep(5000);
    status.applied.index = 6;
    sb_replica_publish(server, &status);
    assert_int_equal(server->published.behind_since_ms, since);
    status.applied.index = 7;
    sb_replica_publish(server, &status);
    assert_int_equal(server->published.behind_since_ms, 0);
    free(server);
}

/* Lines of members that are not alone; none while nothing changes. */
static void test_roles_are_told(void **state)
{
    static const struct {
        struct sb_group_status status;
        const char *lines[2];
    } steps[] = {
        {{.role = RG_FOLLOWER, .term = 4, .last_index = 9},
         {"node 1 knows no leader in term 4, its log ends at entry 9"}},
        {{.role = RG_CANDIDATE, .term = 5, .last_index = 9},
         {"node 1 stands for election in term 5, its log ends at entry 9"}},
        {{.role = RG_FOLLOWER, .term = 5, .leader = 3, .last_index = 12},
         {"node 1 follows node 3 in term 5, its log ends at entry 12"}},
        {{.role = RG_FOLLOWER, .term = 5, .leader = 3, .last_index = 20}, {NULL}},
        {{.role = RG_LEADER, .leads = true, .term = 6, .leader = 1, .last_index = 21, .applied = {.index = 21}},
         {"node 1 leads in term 6 from log entry 21 on", "node 1 answers requests in term 6, log entry 21 is applied"}},
        {{.role = RG_FOLLOWER, .term = 7, .last_index = 30, .applied = {.index = 29}},
         {"node 1 knows no leader in term 7, its log ends at entry 30",
          "node 1 answers no requests any more in term 7, log entry 29 is applied"}},
    };
    struct sb_server *server = calloc(1, sizeof(*server));
    struct sb_line line;

    (void) state;
    assert_non_null(server);
    assert_int_equal(pthread_mutex_init(&server->lines.lock, NULL), 0);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        sb_replica_tell(server, &steps[i].status);
        for (int l = 0; l < 2 && steps[i].lines[l]; l++) {
            assert_true(sb_server_interface.line(server, &line));
            if (!strstr(line.text, steps[i].lines[l]))
                fail_msg("\"%s\" does not say: %s", line.text, steps[i].lines[l]);
        }
        assert_false(sb_server_interface.line(server, &line));
    }
    (void) pthread_mutex_destroy(&server->lines.lock);
    free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_behind_since),
        cmocka_unit_test(test_roles_are_told),
        cmocka_unit_test(test_looks_while_it_is_published),
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
