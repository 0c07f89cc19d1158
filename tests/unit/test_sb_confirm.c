/*
 * Replies that no entry stands behind: they leave under the lease, or when a majority has confirmed the leader; never
 * from one that was deposed meanwhile.
 */
#include "shard_bed.h"

#define LEASE_MS 800

/* Refused, unless key 1 has the value. */
static uint64_t put_if(struct bed_node *node, int64_t wanted, int64_t value)
{
    return bed_request_to(
        node, 1, bed_write_request(node->bed->storage, WIRE_WRITE_PUT, 1, sim_item(value, 0), sim_equals(wanted)));
}

static struct bed *bed_with_value(uint32_t lease_ms, struct bed_node **leader)
{
    struct bed *bed = bed_new(3);
    uint64_t token;

    bed->trailing_entries = 1000;
    bed->lease_ms = lease_ms;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(bed_open(&bed->nodes[i], 1), WIRE_OK);
    *leader = bed_leader(bed);
    bed->storage = bed_new_storage(*leader, 1, "relation");
    token = bed_put(*leader, 1, 10);
    bed_run(bed);
    assert_int_equal(bed_result(bed, token), WIRE_OK);
    bed_elapse(bed, 2 * BED_HEARTBEAT_MS);
    return bed;
}

static void test_under_the_lease(void **state)
{
    struct bed_node *leader;
    struct bed *bed = bed_with_value(LEASE_MS, &leader);
    uint64_t token;

    (void) state;
    assert_true(bed_status(leader, 1).lease_until_ms > bed->now_ms);
    token = put_if(leader, 9, 11);
    assert_int_equal(bed_result(bed, token), WIRE_E_CONDITION); /* in the very step */
    bed_isolate(leader, true);
    bed->now_ms = bed_status(leader, 1).lease_until_ms - 1;
    token = put_if(leader, 9, 11);
    assert_int_equal(bed_result(bed, token), WIRE_E_CONDITION);
    bed->now_ms++;
    token = put_if(leader, 9, 11);
    assert_int_equal(bed_result(bed, token), -1);
    bed_isolate(leader, false);
    bed_elapse(bed, 2 * BED_HEARTBEAT_MS);
    assert_int_equal(bed_result(bed, token), WIRE_E_CONDITION);
    bed_free(bed);
}

static void test_confirmed(void **state)
{
    struct bed_node *leader;
    struct bed *bed = bed_with_value(0, &leader);
    uint64_t first;
    uint64_t second;

    (void) state;
    first = put_if(leader, 9, 11);
    second = put_if(leader, 8, 11);
    assert_int_equal(bed_result(bed, first), -1);
    bed_run(bed);
    assert_int_equal(bed_result(bed, first), WIRE_E_CONDITION);
    assert_int_equal(bed_result(bed, second), WIRE_E_CONDITION);
    assert_true(bed_value(leader, bed->storage, 1) == 10);
    /* What an entry stands behind asks nobody. */
    bed->dropped_kind = WIRE_PEER_PROBE;
    first = put_if(leader, 10, 11);
    bed_run(bed);
    assert_int_equal(bed_result(bed, first), WIRE_OK);
    bed_free(bed);
}

/* That the entry is committed which a refusal depended on does not say who leads now. */
static void test_refused_by_what_was_in_flight(void **state)
{
    struct bed_node *leader;
    struct bed *bed = bed_with_value(0, &leader);
    uint64_t written;
    uint64_t refused;

    (void) state;
    bed->dropped_kind = WIRE_PEER_PROBE;
    written = put_if(leader, 10, 20);
    refused = put_if(leader, 10, 30);
    assert_int_equal(bed_result(bed, written), -1);
    bed_run(bed);
    assert_int_equal(bed_result(bed, written), WIRE_OK);
    assert_int_equal(bed_result(bed, refused), -1);
    bed->dropped_kind = 0;
    bed_elapse(bed, 2 * BED_HEARTBEAT_MS);
    assert_int_equal(bed_result(bed, refused), WIRE_E_CONDITION);
    bed_free(bed);
}

static void test_question_lost(void **state)
{
    struct bed_node *leader;
    struct bed *bed = bed_with_value(0, &leader);
    uint64_t token;

    (void) state;
    bed->dropped_kind = WIRE_PEER_PROBE;
    token = put_if(leader, 9, 11);
    bed_run(bed);
    assert_int_equal(bed_result(bed, token), -1);
    bed->dropped_kind = 0;
    bed_elapse(bed, 2 * BED_HEARTBEAT_MS);
    assert_int_equal(bed_result(bed, token), WIRE_E_CONDITION);
    bed_free(bed);
}

/* A refusal, a lock and a decision of something unknown, by who was deposed. */
static void test_deposed(void **state)
{
    struct bed_node *old;
    struct bed *bed = bed_with_value(0, &old);
    struct bed_node *leader;
    uint64_t refused;
    uint64_t locked;
    uint64_t decided;
    uint64_t written;

    (void) state;
    bed_isolate(old, true);
    refused = put_if(old, 11, 12);
    sim_begin((struct wire_request){.operation = WIRE_WRITE,
                                    .flags = WIRE_TRANSACTIONAL,
                                    .subtransaction = 1,
                                    .owner = 7,
                                    .storage_id = bed->storage},
              NULL, 0);
    sim_count(1);
    sim_op(WIRE_WRITE_LOCK, WIRE_RETURN_OLD, sim_key(bed->storage, 2), none, none);
    locked = bed_request_to(old, 1, sim_end());
    sim_begin((struct wire_request){.operation = WIRE_DECIDE}, NULL, 0);
    wire_write_u64(&sim_request, 77);
    wire_write_u8(&sim_request, 1);
    decided = bed_request_to(old, 1, sim_end());
    bed_run(bed);
    leader = bed_leader_but(bed, old);
    written = put_if(leader, 10, 11);
    bed_run(bed);
    assert_int_equal(bed_result(bed, written), WIRE_OK);
    if (bed_status(old, 1).leads) {
        assert_int_equal(bed_result(bed, refused), -1);
        assert_int_equal(bed_result(bed, locked), -1);
        assert_int_equal(bed_result(bed, decided), -1);
    }
    bed_isolate(old, false);
    bed_elapse(bed, 4 * BED_ELECTION_MS);
    assert_int_equal(bed_result(bed, refused), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_result(bed, locked), WIRE_E_NOT_LEADER);
    assert_int_equal(bed_result(bed, decided), WIRE_E_NOT_LEADER);
    bed_check_alike(bed);
    bed_free(bed);
}

static void test_ends_while_replies_wait(void **state)
{
    struct bed_node *leader;
    struct bed *bed = bed_with_value(0, &leader);

    (void) state;
    bed_isolate(leader, true);
    (void) put_if(leader, 9, 11);
    bed_free(bed); /* nothing is left */
}

static void test_alone(void **state)
{
    struct bed *bed = bed_of_one();
    uint64_t token = put_if(&bed->nodes[0], 9, 11);

    (void) state;
    assert_int_equal(bed_result(bed, token), WIRE_E_CONDITION);
    bed_free(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_under_the_lease),
        cmocka_unit_test(test_confirmed),
        cmocka_unit_test(test_refused_by_what_was_in_flight),
        cmocka_unit_test(test_question_lost),
        cmocka_unit_test(test_deposed),
        cmocka_unit_test(test_ends_while_replies_wait),
        cmocka_unit_test(test_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
