/*
 * The shard of groups: a member whose log ends before that of the others begins is given a checkpoint, whatever happens
 * meanwhile; and memory that ends anywhere.
 */
#include "shard_bed.h"

/* A follower that the others have left behind: what it needs is cut off their logs. It has asked for a checkpoint. */
struct left_behind {
    struct bed *bed;
    struct bed_node *leader;
    struct bed_node *slow;
    uint64_t before; /* what it has applied */
};

static void await_install(struct left_behind *left)
{
    for (int i = 0; i < 2000 && left->slow->install_count == 0; i++)
        bed_elapse(left->bed, 20);
    assert_int_equal(left->slow->install_count, 1);
    assert_int_equal(left->slow->installs[0].group, 1);
    assert_int_equal(left->slow->installs[0].from, left->leader->id);
    assert_true(left->slow->installs[0].index > left->before);
    assert_false(left->slow->installs[0].go);
    assert_true(bed_status(left->slow, 1).installing);
    assert_true(bed_status(left->slow, 1).applied.index == left->before);
    left->slow->install_count = 0;
}

/* own: so many entries of its own that nobody else has, of the time when it led. */
static struct left_behind leave_behind(int own)
{
    struct left_behind left = {.bed = bed_of_three(0)};
    struct bed_node *led = bed_leader(left.bed);
    struct sb_store *store;

    (void) bed_put(led, 1, 1);
    bed_elapse(left.bed, 3 * BED_HEARTBEAT_MS);
    left.leader = led;
    left.slow = bed_node(left.bed, led->id % 3 + 1);
    if (own > 0) {
        left.slow = led;
        for (size_t i = 0; i < 3; i++)
            left.bed->nodes[i].up = &left.bed->nodes[i] == led;
        for (int i = 0; i < own; i++)
            (void) bed_put(led, 100 + i, 100);
        bed_run(left.bed);
        assert_true(bed_last(&led->logs[1]) >= left.before + (uint64_t) own);
        for (size_t i = 0; i < 3; i++)
            left.bed->nodes[i].up = &left.bed->nodes[i] != led;
        left.leader = bed_leader_but(left.bed, led);
    }
    store = &left.slow->store;
    assert_int_equal(store->flush(store->self, &left.slow->fault), WIRE_OK);
    left.slow->up = false;
    left.before = bed_status(left.slow, 1).applied.index;
    for (int64_t key = 1; key < 6; key++)
        (void) bed_put(left.leader, key, 10 * key);
    bed_elapse(left.bed, 2 * BED_HEARTBEAT_MS);
    for (size_t i = 0; i < 3; i++) {
        if (&left.bed->nodes[i] != left.slow)
            bed_flush(&left.bed->nodes[i], 1);
    }
    assert_int_equal(left.leader->logs[1].count, 1);
    left.slow->up = true;
    await_install(&left);
    return left;
}

static uint64_t applied_by(struct bed_node *node)
{
    return bed_status(node, 1).applied.index;
}

/* The checkpoint arrives: the state that says so is durable before it may take the place of the store. */
static void receive(struct left_behind *left)
{
    struct bed_node *slow = left->slow;

    (void) bed_event(slow, (struct sb_event){.kind = SB_EVENT_RECEIVED, .group = 1, .index = applied_by(left->leader)});
    assert_int_equal(slow->install_count, 0);
    assert_int_equal(slow->record_count, 1);
    assert_int_equal(slow->records[0].index, 0);
    bed_sync(slow);
    assert_int_equal(slow->install_count, 1);
    assert_true(slow->installs[0].go);
    slow->install_count = 0;
}

static void installed(struct left_behind *left)
{
    (void) bed_event(left->slow,
                     (struct sb_event){.kind = SB_EVENT_INSTALLED, .group = 1, .index = applied_by(left->leader)});
    assert_false(bed_status(left->slow, 1).installing);
    assert_true(applied_by(left->slow) == applied_by(left->leader));
}

/* As often as it asks, it gets what it wants. */
static void serve(struct left_behind *left)
{
    struct bed_node *slow = left->slow;

    if (slow->install_count == 0)
        return;
    slow->install_count--;
    assert_false(slow->installs[slow->install_count].go);
    receive(left);
    bed_copy_store(left->leader, slow);
    installed(left);
}

/* All is well in the end, and stays so. */
static void converges(struct left_behind *left)
{
    struct bed *bed = left->bed;
    uint64_t token = bed_put(left->leader, 9, 90);

    bed_elapse(bed, 2 * BED_HEARTBEAT_MS);
    assert_int_equal(bed_result(bed, token), WIRE_OK);
    for (int i = 0; i < 4000 && applied_by(left->slow) != applied_by(left->leader); i++) {
        serve(left);
        bed_elapse(bed, 20);
        left->leader = bed_leader(bed);
    }
    bed_elapse(bed, 5 * BED_HEARTBEAT_MS);
    bed_check_alike(bed);
    assert_int_equal(bed_value(left->slow, bed->storage, 5), 50);
    assert_int_equal(bed_value(left->slow, bed->storage, 9), 90);
    assert_int_equal(bed_value(left->slow, bed->storage, 100), BED_ABSENT);
    /* It counts: with it and without the other one writes are answered, after one more start too. */
    for (size_t i = 0; i < 3; i++) {
        if (&bed->nodes[i] != left->slow && &bed->nodes[i] != left->leader)
            bed->nodes[i].up = false;
    }
    token = bed_put(left->leader, 8, 80);
    bed_elapse(bed, 2 * BED_HEARTBEAT_MS);
    assert_int_equal(bed_result(bed, token), WIRE_OK);
    for (int flushed = 0; flushed < 2; flushed++) {
        bed_crash(left->slow);
        assert_int_equal(bed_open(left->slow, 1), WIRE_OK);
        bed_elapse(bed, 3 * BED_HEARTBEAT_MS);
        assert_int_equal(bed_value(left->slow, bed->storage, 8), 80);
        bed_flush(left->slow, 1);
    }
    for (size_t i = 0; i < 3; i++)
        bed->nodes[i].up = true;
    bed_elapse(bed, 5 * BED_HEARTBEAT_MS);
    bed_check_alike(bed);
    bed_free(bed);
}

static void restart(struct left_behind *left)
{
    bed_crash(left->slow);
    assert_int_equal(bed_open(left->slow, 1), WIRE_OK);
}

static void test_install(void **state)
{
    struct left_behind left = leave_behind(0);

    (void) state;
    receive(&left);
    bed_copy_store(left.leader, left.slow);
    installed(&left);
    converges(&left);
}

/* What it had behind the checkpoint, of a leadership that is over, is not taken for what follows it. */
static void test_longer_log(void **state)
{
    struct left_behind left = leave_behind(30);

    (void) state;
    receive(&left);
    bed_copy_store(left.leader, left.slow);
    installed(&left);
    converges(&left);
    left = leave_behind(30);
    receive(&left);
    bed_copy_store(left.leader, left.slow);
    installed(&left);
    assert_true(bed_last(&left.slow->logs[1]) > applied_by(left.slow)); /* still in the log */
    restart(&left);
    assert_true(bed_status(left.slow, 1).last_index == applied_by(left.slow));
    converges(&left);
}

/* It cannot be had: everything is as it was, and it is asked for again. */
static void test_install_fails(void **state)
{
    for (int point = 0; point < 2; point++) {
        struct left_behind left = leave_behind(point * 30);

        if (point > 0)
            receive(&left);
        (void) bed_event(left.slow, (struct sb_event){.kind = SB_EVENT_INSTALLED, .group = 1, .index = 0});
        assert_false(bed_status(left.slow, 1).installing);
        assert_true(applied_by(left.slow) == left.before);
        assert_int_equal(bed_value(left.slow, left.bed->storage, 1), 1);
        await_install(&left);
        /* One that is older than what is here is none. */
        (void) bed_event(left.slow, (struct sb_event){.kind = SB_EVENT_RECEIVED, .group = 1, .index = left.before});
        assert_false(bed_status(left.slow, 1).installing);
        assert_int_equal(left.slow->install_count, 0);
        await_install(&left);
        receive(&left);
        bed_copy_store(left.leader, left.slow);
        installed(&left);
        /* Once more: there is nothing to install. */
        (void) bed_event(left.slow, (struct sb_event){.kind = SB_EVENT_INSTALLED, .group = 1, .index = left.before});
        converges(&left);
    }
    (void) state;
}

/* A crash at every point: what it starts from is the old or the new, and it is never refused. */
static void test_install_crashes(void **state)
{
    (void) state;
    for (int point = 0; point < 12; point++) {
        struct left_behind left = leave_behind(point < 6 ? 0 : 30);
        struct bed_node *slow = left.slow;

        switch (point % 6) {
        case 0:
            break;
        case 1: /* the state is not durable */
            (void) bed_event(
                slow, (struct sb_event){.kind = SB_EVENT_RECEIVED, .group = 1, .index = applied_by(left.leader)});
            break;
        case 2:
            receive(&left);
            break;
        case 3:
            receive(&left);
            bed_copy_store(left.leader, slow);
            break;
        case 4:
            receive(&left);
            bed_copy_store(left.leader, slow);
            installed(&left);
            break;
        case 5: /* entries that follow it are applied, and some are durable */
            receive(&left);
            bed_copy_store(left.leader, slow);
            installed(&left);
            (void) bed_put(left.leader, 4, 44);
            (void) bed_put(left.leader, 4, 45);
            bed_elapse(left.bed, 2 * BED_HEARTBEAT_MS);
            assert_int_equal(bed_value(slow, left.bed->storage, 4), 45);
            break;
        }
        restart(&left);
        if (point % 6 < 3)
            assert_true(applied_by(slow) == left.before);
        else
            assert_true(applied_by(slow) >= left.before + 5);
        restart(&left); /* before it has said anything */
        converges(&left);
    }
}

/* A second checkpoint is on its way before anything follows the first one: the log is void all the same. */
static void second_checkpoint(bool started_between)
{
    struct left_behind left = leave_behind(30);
    uint64_t first;

    receive(&left);
    bed_copy_store(left.leader, left.slow);
    installed(&left);
    if (started_between)
        restart(&left);
    first = left.before = applied_by(left.slow);
    left.slow->up = false;
    for (int64_t key = 1; key < 6; key++)
        (void) bed_put(left.leader, key, 10 * key);
    bed_elapse(left.bed, 2 * BED_HEARTBEAT_MS);
    for (size_t i = 0; i < 3; i++) {
        if (&left.bed->nodes[i] != left.slow)
            bed_flush(&left.bed->nodes[i], 1);
    }
    left.slow->up = true;
    await_install(&left);
    receive(&left);
    restart(&left);
    assert_true(bed_status(left.slow, 1).applied.index == first);
    assert_true(bed_status(left.slow, 1).last_index == first);
    assert_true(started_between || bed_last(&left.slow->logs[1]) > first);
    converges(&left);
}

static void test_second_checkpoint(void **state)
{
    (void) state;
    second_checkpoint(false);
    second_checkpoint(true);
}

/* An older state that becomes durable is not the one that the checkpoint waits for. */
static void test_state_before(void **state)
{
    struct left_behind left = leave_behind(0);
    struct bed_node *slow = left.slow;
    uint8_t bytes[WIRE_PEER_HEADER_SIZE];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));
    struct wire_peer_message message = {.kind = WIRE_PEER_VOTE,
                                        .group = 1,
                                        .from = left.leader->id,
                                        .to = slow->id,
                                        .term = bed_status(slow, 1).term + 5,
                                        .flags = WIRE_PEER_DISRUPT,
                                        .index = 1,
                                        .index_term = 1};
    struct wire_peer_builder builder;

    (void) state;
    wire_peer_begin(&builder, &w, &message);
    assert_int_equal(wire_peer_end(&builder), WIRE_OK);
    (void) bed_event(
        slow, (struct sb_event){.kind = SB_EVENT_MESSAGE, .token = left.leader->id, .bytes = {bytes, sizeof(bytes)}});
    assert_int_equal(slow->record_count, 1);
    (void) bed_event(slow, (struct sb_event){.kind = SB_EVENT_RECEIVED, .group = 1, .index = applied_by(left.leader)});
    assert_int_equal(slow->record_count, 2);
    bed_sync_some(slow, 1);
    assert_int_equal(slow->install_count, 0);
    bed_sync_some(slow, 1);
    assert_int_equal(slow->install_count, 1);
    assert_true(slow->installs[0].go);
    bed_free(left.bed);
}

/* The same store without the state that says so is a store whose log was lost. */
static void test_copied_without_install(void **state)
{
    struct left_behind left = leave_behind(0);

    (void) state;
    bed_copy_store(left.leader, left.slow);
    bed_crash(left.slow);
    assert_int_equal(bed_open(left.slow, 1), WIRE_E_CORRUPT);
    assert_non_null(strstr(left.slow->fault.text, "but the items store has applied entry"));
    bed_free(left.bed);
    /* Nor is it allowed for ever after an install. */
    left = leave_behind(0);
    receive(&left);
    bed_copy_store(left.leader, left.slow);
    installed(&left);
    for (int64_t key = 1; key < 6; key++)
        (void) bed_put(left.leader, key, 11 * key);
    bed_elapse(left.bed, 3 * BED_HEARTBEAT_MS);
    bed_flush(left.slow, 1);
    bed_crash(left.slow);
    bed_log_clear(&left.slow->logs[1]);
    assert_int_equal(bed_open(left.slow, 1), WIRE_E_CORRUPT);
    bed_free(left.bed);
}

/* Another checkpoint than the one that was announced must not stay unseen. */
static void test_another_checkpoint(void **state)
{
    struct left_behind left = leave_behind(0);

    (void) state;
    receive(&left);
    (void) bed_put(left.leader, 1, 12);
    bed_run(left.bed);
    bed_copy_store(left.leader, left.slow);
    left.bed->may_fail = true;
    assert_int_equal(
        bed_event(left.slow,
                  (struct sb_event){.kind = SB_EVENT_INSTALLED, .group = 1, .index = applied_by(left.leader)}),
        WIRE_E_CORRUPT);
    assert_non_null(strstr(left.slow->fault.text, "was received"));
    bed_free(left.bed);
}

/* ---- memory that ends ---- */

static bool is_broken(struct bed *bed)
{
    for (size_t i = 0; i < bed->node_count; i++) {
        if (bed->nodes[i].status != WIRE_OK)
            return true;
    }
    return false;
}

static struct bed_node *find_leader(struct bed *bed)
{
    for (int i = 0; i < 200 && !is_broken(bed); i++) {
        for (size_t n = 0; n < bed->node_count; n++) {
            if (bed->nodes[n].up && !is_broken(bed) && bed_status(&bed->nodes[n], 1).leads)
                return &bed->nodes[n];
        }
        bed_elapse(bed, 20);
    }
    return NULL;
}

/* Two groups of one: writes, one that fetches, a cut, a start. */
static void all_of_one(struct bed *bed)
{
    struct bed_node *node = &bed->nodes[0];
    struct sim_store_options blocks = {.would_block_per_mille = 1000};
    struct sim_store_options open = {0};

    if (bed_open(node, 2) != WIRE_OK || bed_idle(node) != WIRE_OK)
        return;
    bed->storage = bed_new_storage(node, 1, "relation");
    (void) bed_new_storage(node, 2, "another"); /* relations are mapped by one group */
    (void) bed_put(node, 1, 10);
    bed_run(bed);
    if (is_broken(bed))
        return;
    sim_store_tune(&node->store, &blocks);
    (void) bed_request_to(node, 1,
                          bed_write_request(bed->storage, WIRE_WRITE_UPDATE, 2, sim_update(20),
                                            sim_condition(WIRE_CONDITION_NOT_EXISTS)));
    sim_store_tune(&node->store, &open);
    (void) bed_request_to(node, 7, bed_write_request(bed->storage, WIRE_WRITE_PUT, 1, sim_item(1, 0), none));
    bed_run(bed);
    if (is_broken(bed))
        return;
    bed_flush(node, 1);
    (void) bed_put(node, 3, 30);
    bed_run(bed);
    if (is_broken(bed))
        return;
    bed_crash(node);
    if (bed_open(node, 2) == WIRE_OK)
        bed_run(bed);
}

/* Three members: an election, writes that are split, one left behind, a checkpoint, a leadership handed over. */
static void all_of_three(struct bed *bed)
{
    struct bed_node *leader;
    struct bed_node *slow;

    for (size_t i = 0; i < 3; i++) {
        if (bed_open(&bed->nodes[i], 1) != WIRE_OK)
            return;
    }
    leader = find_leader(bed);
    if (!leader)
        return;
    bed->storage = bed_new_storage(leader, 1, "relation");
    slow = bed_node(bed, leader->id % 3 + 1);
    slow->up = false;
    for (int64_t key = 1; key < 6; key++)
        (void) bed_put_padded(leader, key, 10 * key, key < 4 ? 0 : 300 * 1024);
    bed_elapse(bed, 2 * BED_HEARTBEAT_MS);
    slow->up = true;
    for (size_t i = 0; i < 3 && !is_broken(bed); i++) {
        if (&bed->nodes[i] != slow)
            bed_flush(&bed->nodes[i], 1);
    }
    for (int i = 0; i < 100 && !is_broken(bed) && slow->install_count == 0; i++)
        bed_elapse(bed, 20);
    if (!is_broken(bed)) {
        assert_int_equal(slow->install_count, 1);
        (void) bed_event(slow, (struct sb_event){.kind = SB_EVENT_RECEIVED, .group = 1, .index = applied_by(leader)});
        bed_run(bed);
    }
    if (!is_broken(bed)) {
        bed_copy_store(leader, slow);
        (void) bed_event(slow, (struct sb_event){.kind = SB_EVENT_INSTALLED, .group = 1, .index = applied_by(leader)});
    }
    (void) bed_event(leader, (struct sb_event){.kind = SB_EVENT_RESIGN});
    (void) bed_put(leader, 7, 70);
    bed_elapse(bed, 3 * BED_HEARTBEAT_MS);
}

/* All start again. What was answered is there. */
static void recovers(struct bed *bed, uint64_t groups)
{
    struct bed_node *leader;

    for (size_t i = 0; i < bed->node_count; i++) {
        struct bed_node *node = &bed->nodes[i];

        assert_true(node->status == WIRE_OK || node->status == WIRE_E_NOMEM);
        bed_crash(node);
        assert_int_equal(bed_open(node, groups), WIRE_OK);
    }
    bed->may_fail = false;
    leader = find_leader(bed);
    assert_non_null(leader);
    for (uint64_t token = 1; token <= bed->token; token++) {
        int64_t key = (int64_t) token - (groups == 2 ? 2 : 1);

        if (key > 0 && key < 4 && bed_result(bed, token) == WIRE_OK)
            assert_int_equal(bed_value(leader, bed->storage, key), 10 * key);
    }
}

/* The core of the consensus has some memory in reserve: many in a row that do no harm are the end. */
static void fails_everywhere(size_t nodes, void (*all)(struct bed *bed), uint64_t groups, uint64_t density)
{
    uint64_t harmless = 0;
    uint64_t failures = 0;

    for (uint64_t n = 1; harmless < 50; n += 1 + n / density) {
        struct bed *bed = bed_new(nodes);

        bed->may_fail = true;
        sb_memory_fail_at(n);
        all(bed);
        sb_memory_fail_at(0);
        harmless = is_broken(bed) ? 0 : harmless + 1;
        failures += is_broken(bed);
        recovers(bed, groups);
        bed_free(bed);
    }
    assert_true(failures > 100);
}

static void test_memory_of_one(void **state)
{
    (void) state;
    fails_everywhere(1, all_of_one, 2, UINT64_MAX);
}

static void test_memory_of_three(void **state)
{
    (void) state;
    fails_everywhere(3, all_of_three, 1, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_install),
        cmocka_unit_test(test_longer_log),
        cmocka_unit_test(test_install_fails),
        cmocka_unit_test(test_install_crashes),
        cmocka_unit_test(test_second_checkpoint),
        cmocka_unit_test(test_state_before),
        cmocka_unit_test(test_copied_without_install),
        cmocka_unit_test(test_another_checkpoint),
        cmocka_unit_test(test_memory_of_one),
        cmocka_unit_test(test_memory_of_three),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
