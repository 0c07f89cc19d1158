/*
 * The shard of groups, in small cases: a group of one through starts and crashes, several groups, three members, a
 * leadership that is lost or handed over, cuts, checkpoints, messages and logs that are not what they should be. The
 * same at random: tests/sim/sim_cluster.c.
 */
#include "shard_bed.h"

/* ---- a group of one ---- */

/* What a new group stands on is one batch; requests wait until it leads, and for their own record. */
static void test_new_group(void **state)
{
    struct bed *bed = bed_new(1);
    struct bed_node *node = &bed->nodes[0];
    struct wire_entry entry;
    uint64_t token;

    (void) state;
    assert_int_equal(bed_open(node, 1), WIRE_OK);
    sim_begin((struct wire_request){.operation = WIRE_STORAGE}, NULL, 0);
    wire_write_span(&sim_request, "early", 5);
    token = bed_request_to(node, 1, sim_end());
    assert_int_equal(node->record_count, 4);
    assert_int_equal(node->records[0].index, 0); /* a state stands before the entries of its term */
    assert_int_equal(node->records[1].index, 1);
    assert_int_equal(node->records[2].index, 0);
    assert_int_equal(node->records[3].index, 2);
    assert_true(node->records[3].term > node->records[1].term);
    assert_int_equal(wire_entry_open(node->records[1].payload.data, node->records[1].payload.size, &entry), WIRE_OK);
    assert_int_equal(entry.effect_count, 1);
    assert_int_equal(wire_entry_open(node->records[3].payload.data, node->records[3].payload.size, &entry), WIRE_OK);
    assert_int_equal(entry.effect_count, 0);
    assert_false(bed_status(node, 1).leads);
    assert_int_equal(bed_result(bed, token), -1);

    bed_sync(node);
    assert_true(bed_status(node, 1).leads);
    assert_int_equal(bed_result(bed, token), -1); /* evaluated, not durable */
    assert_int_equal(node->record_count, 1);
    bed_sync(node);
    assert_int_equal(bed_result(bed, token), WIRE_OK);
    assert_int_equal(node->timeout_ms, UINT64_MAX); /* nobody to hear of */
    bed_free(bed);
}

static void test_not_before_durable(void **state)
{
    struct bed *bed = bed_of_one();
    struct bed_node *node = &bed->nodes[0];
    uint64_t first = bed_put(node, 1, 10);
    uint64_t second = bed_put(node, 1, 11);

    (void) state;
    assert_int_equal(node->record_count, 2);
    assert_int_equal(bed_idle(node), WIRE_OK);
    assert_int_equal(bed_result(bed, first), -1);
    assert_int_equal(bed_value(node, bed->storage, 1), BED_ABSENT);
    bed_sync_some(node, 1);
    assert_int_equal(bed_result(bed, first), WIRE_OK);
    assert_int_equal(bed_result(bed, second), -1);
    assert_int_equal(bed_value(node, bed->storage, 1), 10);
    bed_sync(node);
    assert_int_equal(bed_result(bed, second), WIRE_OK);
    bed_free(bed);
}

static void test_restart(void **state)
{
    struct bed *bed = bed_of_one();
    struct bed_node *node = &bed->nodes[0];
    uint64_t kept = bed_put(node, 1, 10);
    uint64_t lost;
    uint64_t term = bed_status(node, 1).term;
    size_t answers;

    (void) state;
    bed_run(bed);
    assert_int_equal(bed_result(bed, kept), WIRE_OK);
    lost = bed_put(node, 2, 20);
    answers = bed->answer_count;
    bed_crash(node);
    assert_int_equal(bed_value(node, bed->storage, 1), BED_ABSENT); /* the store has forgotten */
    assert_int_equal(bed_open(node, 1), WIRE_OK);
    assert_int_equal(bed_value(node, bed->storage, 1), 10); /* before the first step */
    assert_int_equal(bed_status(node, 1).term, term + 1);
    bed_run(bed);
    bed_idle(node);
    bed_run(bed);
    assert_true(bed_status(node, 1).leads);
    assert_int_equal(bed->answer_count, answers);
    assert_int_equal(bed_result(bed, lost), -1);
    assert_int_equal(bed_value(node, bed->storage, 2), BED_ABSENT);
    /* What is flushed is not applied again, and the log may end there. */
    bed_flush(node, 1);
    node->log_reads = 0;
    bed_crash(node);
    assert_int_equal(bed_open(node, 1), WIRE_OK);
    assert_int_equal(node->log_reads, 0);
    bed_idle(node);
    bed_run(bed);
    assert_int_equal(bed_status(node, 1).term, term + 2);
    /* The new state and barrier are lost: the term is taken again, and goes on. */
    bed_crash(node);
    assert_int_equal(bed_open(node, 1), WIRE_OK);
    bed_idle(node);
    bed_crash(node);
    assert_int_equal(bed_open(node, 1), WIRE_OK);
    bed_idle(node);
    bed_run(bed);
    kept = bed_put(node, 3, 30);
    bed_run(bed);
    assert_int_equal(bed_result(bed, kept), WIRE_OK);
    bed_free(bed);
}

/* ---- starts that are refused ---- */

static void refused(struct bed *bed, const char *text)
{
    struct bed_node *node = &bed->nodes[0];

    assert_int_equal(bed_open(node, 1), WIRE_E_CORRUPT);
    if (!strstr(node->fault.text, text))
        fail_msg("%s", node->fault.text);
    bed_free(bed);
}

/* A group of one with entries in log and store, down. */
static struct bed *bed_down(void)
{
    struct bed *bed = bed_of_one();

    for (int64_t key = 0; key < 4; key++)
        (void) bed_put(&bed->nodes[0], key, key);
    bed_run(bed);
    bed_flush(&bed->nodes[0], 1);
    bed_crash(&bed->nodes[0]);
    return bed;
}

static void test_log_ends_early(void **state)
{
    struct bed *bed = bed_down();
    struct bed_log *log = &bed->nodes[0].logs[1];

    (void) state;
    free((void *) log->entries[--log->count].payload.data);
    refused(bed, "but the items store has applied entry");
    bed = bed_down();
    bed_log_clear(&bed->nodes[0].logs[1]);
    refused(bed, "but the items store has applied entry");
}

static void test_no_state(void **state)
{
    struct bed *bed = bed_down();

    (void) state;
    bed->nodes[0].logs[1].state_size = 0;
    refused(bed, "has no state");
    bed = bed_down();
    bed->nodes[0].logs[1].state_size = 0;
    bed_log_clear(&bed->nodes[0].logs[1]);
    refused(bed, "has no state");
    bed = bed_down();
    bed->nodes[0].logs[1].state_size--;
    refused(bed, "malformed");
    bed = bed_down();
    bed->nodes[0].logs[1].state_size++;
    refused(bed, "malformed");
}

/* An entry's bytes with another term in them, as if another leader had made it. */
static void rewrite(struct sb_log_entry *entry, uint64_t term)
{
    struct wire_entry opened;
    struct wire_entry_builder builder;
    struct wire_effect effect;
    uint8_t *bytes = malloc(entry->payload.size + 64);
    struct wire_writer w = wire_writer_of(bytes, entry->payload.size + 64);

    assert_int_equal(wire_entry_open(entry->payload.data, entry->payload.size, &opened), WIRE_OK);
    opened.term = entry->term = term;
    wire_entry_begin(&builder, &w, &opened);
    while (wire_entry_next(&opened, &effect) == WIRE_OK)
        wire_entry_add(&builder, &effect);
    assert_int_equal(wire_entry_end(&builder), WIRE_OK);
    free((void *) entry->payload.data);
    entry->payload = (struct wire_span){bytes, w.size};
}

static void test_another_log(void **state)
{
    struct bed *bed = bed_down();
    struct bed_log *log = &bed->nodes[0].logs[1];

    (void) state;
    rewrite(&log->entries[log->count - 1], log->entries[log->count - 1].term + 1);
    refused(bed, "not of one state");
    /* It begins behind what the store has: what lies between is gone. */
    bed = bed_down();
    log = &bed->nodes[0].logs[1];
    assert_true(log->count > 0);
    for (size_t i = 0; i < log->count; i++)
        log->entries[i].index += 20;
    log->first += 20;
    for (size_t i = 0; i < log->count; i++) {
        struct wire_entry opened;
        uint8_t *bytes = malloc(256);
        struct wire_writer w = wire_writer_of(bytes, 256);
        struct wire_entry_builder builder;

        assert_int_equal(wire_entry_open(log->entries[i].payload.data, log->entries[i].payload.size, &opened), WIRE_OK);
        opened.index += 20;
        wire_entry_begin(&builder, &w, &opened);
        assert_int_equal(wire_entry_end(&builder), WIRE_OK);
        free((void *) log->entries[i].payload.data);
        log->entries[i].payload = (struct wire_span){bytes, w.size};
    }
    refused(bed, "not of one state");
}

static void test_digest(void **state)
{
    struct bed *bed = bed_of_one();
    struct bed_log *log = &bed->nodes[0].logs[1];
    struct sb_digest digest = {0};
    struct sb_fault fault = {0};
    struct sb_log_entry wrong;
    uint8_t *bytes;

    (void) state;
    assert_int_equal(log->count, 3);
    assert_int_equal(sb_digest_add(&digest, &log->entries[0], &fault), WIRE_OK);
    assert_int_equal(digest.entries[0].kind, RG_CONFIGURATION);
    assert_int_equal(digest.entries[0].configuration->members[0].node, 1);
    assert_int_equal(sb_digest_add(&digest, &log->entries[2], &fault), WIRE_E_CORRUPT); /* a gap */
    assert_int_equal(sb_digest_add(&digest, &log->entries[0], &fault), WIRE_E_CORRUPT);
    assert_int_equal(sb_digest_add(&digest, &log->entries[1], &fault), WIRE_OK);
    assert_int_equal(digest.entries[1].kind, RG_BARRIER);
    for (int i = 0; i < 3; i++) { /* the record says another thing than the entry in it */
        wrong = log->entries[2];
        *(i == 0 ? &wrong.group : i == 1 ? &wrong.term : &wrong.index) += 1;
        assert_int_equal(sb_digest_add(&digest, &wrong, &fault), WIRE_E_CORRUPT);
    }
    for (size_t size = 0; size < log->entries[2].payload.size; size++) {
        wrong = log->entries[2];
        bytes = malloc(size + 1);
        memcpy(bytes, wrong.payload.data, size);
        wrong.payload = (struct wire_span){bytes, size};
        assert_int_equal(sb_digest_add(&digest, &wrong, &fault), WIRE_E_CORRUPT);
        free(bytes);
    }
    assert_int_equal(sb_digest_add(&digest, &log->entries[2], &fault), WIRE_OK);
    assert_int_equal(digest.entries[2].kind, RG_EFFECTS);
    assert_int_equal(digest.count, 3);
    assert_int_equal(digest.first_index, 1);
    assert_int_equal(digest.entries[0].configuration->count, 1); /* it still points to it */
    sb_digest_close(&digest);
    bed_free(bed);
}

/* ---- several groups ---- */

/* Two groups of one; group 2 uses its second storage, for ids are each group's own. */
static struct bed *bed_of_two_groups(uint64_t *second)
{
    struct bed *bed = bed_new(1);
    struct bed_node *node = &bed->nodes[0];

    assert_int_equal(bed_open(node, 2), WIRE_OK);
    (void) bed_idle(node);
    assert_int_equal(node->record_count, 8); /* of both */
    bed_run(bed);
    bed->storage = bed_new_storage(node, 1, "one");
    (void) bed_new_storage(node, 2, "unused");
    *second = bed_new_storage(node, 2, "two");
    assert_true(*second != bed->storage);
    return bed;
}

static void test_batch_of_groups(void **state)
{
    uint64_t second;
    struct bed *bed = bed_of_two_groups(&second);
    struct bed_node *node = &bed->nodes[0];
    struct sb_event events[3] = {{.kind = SB_EVENT_REQUEST, .group = 2, .token = 1001},
                                 {.kind = SB_EVENT_REQUEST, .group = 1, .token = 1002},
                                 {.kind = SB_EVENT_REQUEST, .group = 2, .token = 1003}};

    (void) state;
    for (int i = 0; i < 3; i++) {
        uint64_t storage = i == 1 ? bed->storage : second;

        events[i].bytes = bed_copy(bed_write_request(storage, WIRE_WRITE_PUT, i, sim_item(100 + i, 0), none));
    }
    assert_int_equal(bed_step(node, events, 3), WIRE_OK);
    assert_int_equal(node->step_records, 3); /* one batch */
    for (size_t synced = 0; synced < 3; synced++) {
        uint64_t group = node->records[0].group;
        uint64_t index = node->records[0].index;

        bed_sync_some(node, 1);
        assert_true(bed_status(node, group).durable_index == index);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(bed_result(bed, 1001 + (uint64_t) i), WIRE_OK);
    assert_int_equal(bed_value(node, second, 0), 100);
    assert_int_equal(bed_value(node, bed->storage, 1), 101);
    assert_int_equal(bed_value(node, second, 2), 102);
    bed_free(bed);
}

/* Records count across groups in the order in which they were handed out. */
static void test_partial_counts(void **state)
{
    uint64_t second;
    struct bed *bed = bed_of_two_groups(&second);
    struct bed_node *node = &bed->nodes[0];
    uint64_t a = bed_put(node, 1, 1);
    uint64_t b;
    uint64_t c;

    (void) state;
    b = bed_request_to(node, 2, bed_write_request(second, WIRE_WRITE_PUT, 1, sim_item(2, 0), none));
    c = bed_put(node, 1, 3);
    assert_int_equal(node->record_count, 3);
    bed_sync_some(node, 2);
    assert_int_equal(bed_result(bed, a), WIRE_OK);
    assert_int_equal(bed_result(bed, b), WIRE_OK);
    assert_int_equal(bed_result(bed, c), -1);
    bed_crash(node);
    assert_int_equal(bed_open(node, 2), WIRE_OK);
    assert_int_equal(bed_value(node, bed->storage, 1), 1);
    assert_int_equal(bed_value(node, second, 1), 2);
    bed_free(bed);
}

/* A group is added while the others are at work: nothing of what it has to log is lost. */
static void test_added_later(void **state)
{
    struct bed *bed = bed_of_one();
    struct bed_node *node = &bed->nodes[0];
    uint64_t token = bed_put(node, 1, 1);

    (void) state;
    assert_int_equal(bed_open_group(node, 2), WIRE_OK);
    assert_int_equal(node->record_count, 1);
    (void) bed_idle(node);
    assert_int_equal(node->step_records, 4);
    bed_run(bed);
    assert_int_equal(bed_result(bed, token), WIRE_OK);
    assert_true(bed_status(node, 2).leads);
    assert_true(bed_new_storage(node, 2, "two") != 0);
    assert_int_equal(sb_shard_status(node->shard, 3, &(struct sb_group_status){0}), false);
    bed_free(bed);
}

static void test_more_than_handed_out(void **state)
{
    struct bed *bed = bed_of_one();
    struct bed_node *node = &bed->nodes[0];

    (void) state;
    bed->may_fail = true;
    (void) bed_put(node, 1, 1);
    assert_int_equal(bed_event(node, (struct sb_event){.kind = SB_EVENT_DURABLE, .index = 2}), WIRE_E_INTERNAL);
    assert_non_null(strstr(node->fault.text, "more records"));
    bed_free(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_group),
        cmocka_unit_test(test_not_before_durable),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_log_ends_early),
        cmocka_unit_test(test_no_state),
        cmocka_unit_test(test_another_log),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_batch_of_groups),
        cmocka_unit_test(test_partial_counts),
        cmocka_unit_test(test_added_later),
        cmocka_unit_test(test_more_than_handed_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
