/*
 * Superseded images that nobody needs are not written: portions of entries, what they publish and give up, and what must
 * be kept whatever they say. Readers against a moving horizon are in test_sb_server.c and tests/sim.
 */
#include "partition_node.h"

static uint64_t images(struct node *node)
{
    return count_keys(node, SB_HISTORY, node->storage);
}

static void test_nothing_is_kept_for_nobody(void **state)
{
    struct node *node = node_ready();

    (void) state;
    node->gives_up = UINT64_MAX;
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(put(node, 1, i), WIRE_OK);
        assert_int_equal(value_of_key(node, 1), i);
    }
    assert_int_equal(drop(node, 1), WIRE_OK);
    assert_true(value_of_key(node, 1) == ABSENT);
    assert_int_equal(count_keys(node, SB_ITEMS, node->storage), 0);
    assert_int_equal(images(node), 0);
    /* Over a key that another entry in flight writes too. */
    (void) node_submit(node, put_request(node, 2, 1));
    (void) node_submit(node, drop_request(node, 2));
    (void) node_submit(node, put_request(node, 2, 2));
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_int_equal(value_of_key(node, 2), 2);
    assert_int_equal(images(node), 0);
    /* What a replay supersedes it cannot know to be unneeded. */
    assert_int_equal(node_restart(node, true), WIRE_OK);
    assert_int_equal(value_of_key(node, 2), 2);
    assert_true(value_of_key(node, 1) == ABSENT);
    node_free(node);
}

static void test_a_snapshot_keeps_its_images(void **state)
{
    struct node *node = node_ready();
    struct who who = alice;
    uint64_t snapshot;
    uint64_t below;

    (void) state;
    node->gives_up = UINT64_MAX;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    below = node->version;
    assert_int_equal(put(node, 1, 2), WIRE_OK);
    assert_int_equal(put(node, 2, 2), WIRE_OK);
    snapshot = node->version;
    node->gives_up = snapshot;
    assert_int_equal(put(node, 1, 3), WIRE_OK);
    assert_int_equal(drop(node, 2), WIRE_OK);
    assert_int_equal(put(node, 1, 4), WIRE_OK);
    assert_int_equal(value_at(node, 1, snapshot), 2);
    assert_int_equal(value_at(node, 2, snapshot), 2);
    assert_int_equal(value_of_key(node, 1), 4);
    assert_int_equal(images(node), 3);
    node->gives_up = UINT64_MAX;
    assert_int_equal(put(node, 1, 5), WIRE_OK);
    assert_int_equal(images(node), 3);
    /* Who is below what was given up cannot be told whether a key has changed. */
    who.flags |= WIRE_FIRST_UPDATER;
    who.snapshot = below;
    assert_int_equal(node_call(node, write_request(node, who, WIRE_WRITE_PUT, 0, 3, sim_item(1, 0), none)),
                     WIRE_E_SNAPSHOT_TOO_OLD);
    node_free(node);
}

static void test_intents_keep_what_they_replace(void **state)
{
    struct node *node = node_ready();
    uint64_t transaction;

    (void) state;
    node->gives_up = UINT64_MAX;
    node->settle_keys_max = 0;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    assert_int_equal(put(node, 2, 2), WIRE_OK);
    transaction = spill(node, ALICE, 0, 1, 3, 100, 0);
    assert_int_equal(value_of_key(node, 1), 1);
    assert_int_equal(value_of_key(node, 2), 2);
    assert_int_equal(own_value(node, 1, transaction), 100);
    /* Over aborted intents, before they are settled, and away again: nothing of theirs comes back. */
    (void) node_submit(node, abort_request(node, ALICE, transaction));
    (void) node_submit(node, put_request(node, 1, 11));
    (void) node_submit(node, drop_request(node, 1));
    (void) node_submit(node, drop_request(node, 2));
    (void) node_submit(node, put_request(node, 3, 13));
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_true(value_of_key(node, 1) == ABSENT);
    assert_true(value_of_key(node, 2) == ABSENT);
    assert_int_equal(value_of_key(node, 3), 13);
    /* Nor to who looks into the history. */
    assert_true(value_at(node, 1, node->version) == ABSENT);
    assert_true(value_at(node, 2, node->version) == ABSENT);
    assert_int_equal(node_quiesce(node), WIRE_OK);
    assert_true(value_of_key(node, 1) == ABSENT);
    assert_true(value_of_key(node, 2) == ABSENT);
    assert_int_equal(value_of_key(node, 3), 13);
    node_free(node);
}

static void test_all_is_kept_after_a_decision(void **state)
{
    struct node *node = node_ready();
    uint64_t snapshot;

    (void) state;
    node->gives_up = UINT64_MAX;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    assert_false(node->keep);
    assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 2, 1)), WIRE_OK);
    assert_int_equal(node_call(node, commit_request(node, alice, 77, 2, 1, 20, 0)), WIRE_OK);
    snapshot = node->version;
    assert_int_equal(node_call(node, decide_request(node, 77, 1)), WIRE_OK);
    assert_true(node->keep);
    assert_int_equal(put(node, 1, 2), WIRE_OK);
    assert_true(node->keep);
    assert_int_equal(value_at(node, 1, snapshot), 1);
    assert_true(value_at(node, 2, snapshot) == ABSENT);
    node->now_ms += SB_KEEP_AFTER_DECISION_MS;
    assert_int_equal(put(node, 1, 3), WIRE_OK);
    assert_false(node->keep);
    /* An abort makes nothing visible. */
    assert_int_equal(node_call(node, lock_request(node, ALICE, 1, 3, 1)), WIRE_OK);
    assert_int_equal(node_call(node, commit_request(node, alice, 78, 3, 1, 20, 0)), WIRE_OK);
    assert_int_equal(node_call(node, decide_request(node, 78, 0)), WIRE_OK);
    assert_false(node->keep);
    node_free(node);
}

/* Portions are small, in order, and intents alone are none. */
static void test_portions(void **state)
{
    struct node *node = node_ready();
    uint64_t portions;

    (void) state;
    portions = node->portions;
    for (int i = 0; i < 100; i++)
        (void) node_submit(node, put_request(node, i, i));
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_true(node->portions >= portions + 4 && node->portions < portions + 20);
    portions = node->portions;
    for (int i = 0; i < 4; i++)
        (void) node_submit(node, write_request(node, (struct who){.owner = 99}, WIRE_WRITE_PUT, 0, 200 + i,
                                               sim_item(1, 200000), none));
    assert_int_equal(node_sync(node), WIRE_OK);
    assert_int_equal(node->portions, portions + 4);
    portions = node->portions;
    (void) spill(node, ALICE, 0, 500, 10, 1, 0);
    assert_int_equal(node->portions, portions);
    node_free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_kept_for_nobody),
        cmocka_unit_test(test_a_snapshot_keeps_its_images),
        cmocka_unit_test(test_intents_keep_what_they_replace),
        cmocka_unit_test(test_all_is_kept_after_a_decision),
        cmocka_unit_test(test_portions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
