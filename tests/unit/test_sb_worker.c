/*
 * Which threads answer scans: short ones the readers, long ones the scan thread; and both at a time, many batches of
 * different sizes.
 */
#include "sb_test_client.h"

#include <pthread.h>

#define ITEMS 800

/* Short scans are the readers', long ones the scan thread's; a flag that promises too much is refused by both. */
static void test_short_scans(void **state)
{
    static const struct {
        uint16_t flags;
        enum wire_queue_name queue;
        uint64_t limit;
        uint64_t target;
        int status;
    } cases[] = {
        {WIRE_SHORT, WIRE_QUEUE_READS, 3, WIRE_SCAN_REPLY_TARGET, WIRE_OK},
        {WIRE_SHORT, WIRE_QUEUE_READS, WIRE_SHORT_SCAN_ITEMS, 1, WIRE_OK},
        {0, WIRE_QUEUE_SCANS, 3, WIRE_SCAN_REPLY_TARGET, WIRE_OK},
        {0, WIRE_QUEUE_READS, 3, WIRE_SCAN_REPLY_TARGET, WIRE_E_BAD_FORMAT},
        {WIRE_SHORT, WIRE_QUEUE_SCANS, 3, WIRE_SCAN_REPLY_TARGET, WIRE_E_BAD_FORMAT},
        {WIRE_SHORT, WIRE_QUEUE_READS, 0, WIRE_SCAN_REPLY_TARGET, WIRE_E_BAD_FORMAT},
        {WIRE_SHORT, WIRE_QUEUE_READS, WIRE_SHORT_SCAN_ITEMS + 1, WIRE_SCAN_REPLY_TARGET, WIRE_E_BAD_FORMAT},
        {WIRE_SHORT, WIRE_QUEUE_READS, 3, WIRE_SCAN_REPLY_TARGET + 1, WIRE_E_BAD_FORMAT},
    };
    struct bench b;

    (void) state;
    bench_open(&b);
    for (int i = 0; i < 5; i++)
        assert_int_equal(put(&b.client, b.storage, i, i, 1000), WIRE_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(&b.client, WIRE_SCAN, b.storage, 0, cases[i].flags);
        wire_write_u8(&b.client.w, 0);
        wire_write_span(&b.client.w, NULL, 0);
        wire_write_span(&b.client.w, NULL, 0);
        wire_write_varint(&b.client.w, cases[i].limit);
        wire_write_varint(&b.client.w, cases[i].target);
        assert_int_equal(call_on(&b.client, cases[i].queue), cases[i].status);
        if (cases[i].status == WIRE_OK) {
            assert_int_equal(wire_read_u8(&b.client.reply.body), 1);
            assert_int_equal(wire_read_u32(&b.client.reply.body), cases[i].target == 1 ? 1 : 3);
        }
    }
    assert_int_equal(scan_count(&b.client, b.storage), 5);
    bench_close(&b);
}

struct scanning {
    struct client client;
    uint64_t storage;
    bool backward;
    uint64_t step; /* limits differ from batch to batch by it */
    int errors;
    pthread_t thread;
};

/* The items once each, in order, in batches of 1, 1 + step, ... items, or what fits. */
static int walk(struct scanning *s)
{
    uint8_t low[64];
    uint8_t high[64];
    struct wire_writer l = wire_writer_of(low, sizeof(low));
    struct wire_writer h = wire_writer_of(high, sizeof(high));
    int64_t next = s->backward ? ITEMS - 1 : 0;
    uint64_t limit = 1;

    wire_key_write_prefix(&l, s->storage, 0);
    wire_key_write_prefix(&h, s->storage, 1);
    for (bool more = true; more; limit = (limit + s->step) % (2 * WIRE_SHORT_SCAN_ITEMS)) {
        bool is_short = limit > 0 && limit <= WIRE_SHORT_SCAN_ITEMS;

        begin(&s->client, WIRE_SCAN, s->storage, 0, is_short ? WIRE_SHORT : 0);
        wire_write_u8(&s->client.w, s->backward);
        wire_write_span(&s->client.w, low, l.size);
        wire_write_span(&s->client.w, high, h.size);
        wire_write_varint(&s->client.w, limit);
        wire_write_varint(&s->client.w, WIRE_SCAN_REPLY_TARGET);
        if (call(&s->client) != WIRE_OK)
            return 1;
        more = wire_read_u8(&s->client.reply.body) != 0;
        for (uint32_t left = wire_read_u32(&s->client.reply.body); left > 0; left--) {
            struct wire_span key = wire_read_span(&s->client.reply.body);
            struct wire_span item = wire_read_span(&s->client.reply.body);
            struct wire_writer *edge = s->backward ? &h : &l;
            int64_t number;

            if (s->client.reply.body.failed || item_number(item, &number) != WIRE_OK || number != next)
                return 1;
            next += s->backward ? -1 : 1;
            *edge = wire_writer_of(s->backward ? high : low, sizeof(low));
            wire_write_bytes(edge, key.data, key.size);
            if (!s->backward)
                wire_write_u8(edge, 0); /* behind the last key */
        }
    }
    return next != (s->backward ? -1 : ITEMS);
}

static void *scan_on(void *argument)
{
    struct scanning *s = argument;

    for (int i = 0; i < 3; i++)
        s->errors += walk(s);
    return NULL;
}

static void test_scans_at_a_time(void **state)
{
    static const uint64_t steps[] = {0, 7, 31, 255};
    struct scanning scans[4];
    struct bench b;

    (void) state;
    bench_open(&b);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(put(&b.client, b.storage, i, i, (size_t) (i % 10) * 150), WIRE_OK);
    for (int i = 0; i < 4; i++) {
        scans[i] = (struct scanning){.storage = b.storage, .backward = i % 2, .step = steps[i]};
        client_open(&scans[i].client, b.shared, (uint32_t) i + 1);
        assert_int_equal(pthread_create(&scans[i].thread, NULL, scan_on, &scans[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(scans[i].thread, NULL), 0);
        assert_int_equal(scans[i].errors, 0);
        client_close(&scans[i].client);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_scans),
        cmocka_unit_test(test_scans_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
