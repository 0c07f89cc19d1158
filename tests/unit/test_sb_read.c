/*
 * Reads: scans in both directions with limits, targets and resumption over items and history, own intents, hostile
 * requests, damage; and what happens when the node goes on between two steps of a read.
 */
#include "partition_node.h"

#include <stdio.h>

#include "sb_history.h"

#define KEYS 20

static int read_bytes(struct node *node, struct wire_span bytes, struct sb_buffer *out, uint32_t *detail,
                      uint64_t *snapshot)
{
    struct wire_request request;
    int status = wire_request_open(bytes.data, bytes.size, &request);

    out->size = 0;
    return status == WIRE_OK ? sb_read_request(&node->reader, &request, out, detail, snapshot, &node->fault) : status;
}

/* Scan [low, high) at `snapshot`, batch by batch; the result as values by key. */
static void scan_all(struct node *node, struct who who, bool backward, int64_t low, int64_t high, uint64_t limit,
                     uint64_t target, int64_t *values)
{
    struct wire_span low_key = sim_key(node->storage, low);
    struct wire_span high_key = sim_key(node->storage, high);
    struct sb_buffer out = {0};
    int64_t last = backward ? INT64_MAX : INT64_MIN;
    bool more = true;

    for (int64_t key = 0; key < KEYS; key++)
        values[key] = ABSENT;
    while (more) {
        struct wire_request header = {.snapshot = who.snapshot, .owner = who.owner, .storage_id = node->storage};
        struct wire_reader r;
        uint64_t rows;
        uint64_t snapshot;
        uint32_t detail;

        if (limit % 2 == 1)
            header.flags = WIRE_SHORT;
        assert_int_equal(read_bytes(node,
                                    sim_scan_request(header, who.transactions, who.count, backward, low_key, high_key,
                                                     limit, target),
                                    &out, &detail, &snapshot),
                         WIRE_OK);
        r = wire_reader_of(out.data, out.size);
        more = wire_read_u8(&r);
        rows = wire_read_u32(&r);
        assert_true(limit == 0 || rows <= limit);
        assert_true(!more || rows > 0);
        for (uint64_t i = 0; i < rows; i++) {
            struct wire_span key = wire_read_span(&r);
            int64_t number = sim_key_number(key);

            assert_true(backward ? number < last : number > last);
            last = number;
            values[number] = sim_item_value(wire_read_span(&r));
            assert_true(values[number] != ABSENT);
            if (backward)
                high_key = sim_key(node->storage, number);
            else {
                uint8_t *behind = sim_arena_take(key.size + 1);

                memcpy(behind, key.data, key.size);
                behind[key.size] = 0;
                low_key = (struct wire_span){behind, key.size + 1};
            }
        }
        assert_int_equal(wire_reader_finish(&r), WIRE_OK);
    }
    sb_buffer_close(&out);
}

static void check_scans(struct node *node, struct who who, const int64_t expected[KEYS])
{
    int64_t values[KEYS];

    for (int backward = 0; backward < 2; backward++) {
        for (uint64_t limit = 0; limit < 4; limit++) {
            for (uint64_t target = 0; target <= 10000; target += 5000) {
                int64_t low = (int64_t) limit;
                int64_t high = KEYS - (int64_t) limit;

                scan_all(node, who, backward, low, high, limit, target, values);
                for (int64_t key = 0; key < KEYS; key++)
                    assert_true(values[key] == (key >= low && key < high ? expected[key] : ABSENT));
            }
        }
    }
    for (int64_t key = 0; key < KEYS; key++) {
        int64_t value;

        assert_int_equal(read_at(node, who, key, &value), WIRE_OK);
        assert_true(value == expected[key]);
    }
}

/* The state after each of several rounds of puts and deletes can be read for good; also beside intents. */
static void test_snapshots(void **state)
{
    struct node *node = node_ready();
    int64_t now[KEYS];
    int64_t then[6][KEYS];
    uint64_t versions[6];
    uint64_t own;
    uint64_t other;

    (void) state;
    for (int64_t key = 0; key < KEYS; key++)
        now[key] = ABSENT;
    for (int64_t round = 0; round < 6; round++) {
        for (int64_t key = round; key < KEYS; key += round + 1) {
            if ((key + round) % 4 == 0)
                assert_int_equal(drop(node, key), WIRE_OK);
            else
                assert_int_equal(put(node, key, 100 * round + key), WIRE_OK);
            now[key] = (key + round) % 4 == 0 ? ABSENT : 100 * round + key;
        }
        memcpy(then[round], now, sizeof(now));
        versions[round] = node->version;
    }
    own = spill(node, ALICE, 0, 3, 5, 1000, 0);
    other = spill(node, ALICE + 1, 0, 10, 5, ABSENT, 0);
    for (int round = 0; round < 6; round++)
        check_scans(node, (struct who){.snapshot = versions[round]}, then[round]);
    check_scans(node, (struct who){0}, now);
    for (int64_t key = 3; key < 8; key++)
        now[key] = 1000 + key - 3;
    check_scans(node, (struct who){.transactions = &own, .count = 1}, now);
    assert_int_equal(commit_spilled(node, ALICE, own), WIRE_OK);
    assert_int_equal(commit_spilled(node, ALICE + 1, other), WIRE_OK);
    for (int64_t key = 10; key < 15; key++)
        now[key] = ABSENT;
    for (int i = 0; i < 2; i++) {
        check_scans(node, (struct who){0}, now);
        for (int round = 0; round < 6; round++)
            check_scans(node, (struct who){.snapshot = versions[round]}, then[round]);
        assert_int_equal(node_quiesce(node), WIRE_OK);
    }
    node_free(node);
}

/* ---- the node goes on while it is read ---- */

static struct node *around;
static int countdown; /* calls of the reader until it happens */
static void (*happening)(void);
static struct sb_store plain;

static void perhaps(void)
{
    if (countdown > 0 && --countdown == 0)
        happening();
}

static int slow_get(void *self, enum sb_family family, struct wire_span key, enum sb_tier tier, struct sb_value *out,
                    struct sb_fault *fault)
{
    int status = plain.get(self, family, key, tier, out, fault);

    perhaps();
    return status;
}

static int slow_iterate(void *self, void *view, enum sb_family family, struct wire_span low, struct wire_span high,
                        struct sb_iterator **out, struct sb_fault *fault)
{
    int status;

    perhaps();
    status = plain.iterate(self, view, family, low, high, out, fault);
    perhaps();
    return status;
}

static int slow_view_open(void *self, void **view, struct sb_fault *fault)
{
    int status = plain.view_open(self, view, fault);

    perhaps();
    return status;
}

static uint64_t undecided;

static void abort_and_settle(void)
{
    (void) node_submit(around, abort_request(around, ALICE, undecided));
    (void) node_quiesce(around);
}

static void commit_and_settle(void)
{
    (void) commit_spilled(around, ALICE, undecided);
    (void) node_quiesce(around);
}

/* Key 1 had 10, key 2 nothing; a transaction deletes 1 and puts 2 to 20, and ends at any moment of a read. */
static void race(void (*ending)(void), bool commits, bool scan, bool at_snapshot)
{
    for (int moment = 1; moment < 12; moment++) {
        struct node *node = node_ready();
        struct sb_store slow;
        struct who who = {0};
        int64_t values[KEYS];
        bool before;

        assert_int_equal(put(node, 1, 10), WIRE_OK);
        undecided = spill(node, ALICE, 0, 1, 1, ABSENT, 0);
        assert_true(spill(node, ALICE, undecided, 2, 1, 20, 0) == undecided);
        plain = slow = node->store;
        slow.get = slow_get;
        slow.iterate = slow_iterate;
        slow.view_open = slow_view_open;
        node->reader.store = &slow;
        around = node;
        happening = ending;
        who.snapshot = at_snapshot ? node->version : 0;
        for (int64_t key = 0; key < KEYS; key++)
            values[key] = ABSENT;
        countdown = moment;
        /* The helpers build requests in the one buffer: what is read must be read from it before that. */
        if (scan) {
            struct sb_buffer out = {0};
            struct wire_span request =
                sim_scan_request((struct wire_request){.snapshot = who.snapshot, .storage_id = node->storage}, NULL, 0,
                                 moment % 2, sim_key(node->storage, 0), none, 0, 10000);
            uint8_t *copy = sim_arena_take(request.size);
            struct wire_reader r;
            uint64_t snapshot;
            uint64_t rows;
            uint32_t detail;

            memcpy(copy, request.data, request.size);
            assert_int_equal(read_bytes(node, (struct wire_span){copy, request.size}, &out, &detail, &snapshot),
                             WIRE_OK);
            r = wire_reader_of(out.data, out.size);
            wire_read_u8(&r);
            rows = wire_read_u32(&r);
            for (uint64_t i = 0; i < rows; i++) {
                int64_t number = sim_key_number(wire_read_span(&r));

                assert_true(values[number] == ABSENT);
                values[number] = sim_item_value(wire_read_span(&r));
            }
            sb_buffer_close(&out);
        } else {
            for (int64_t key = 1; key <= 2; key++)
                assert_int_equal(read_at(node, who, key, &values[key]), WIRE_OK);
        }
        countdown = 0;
        before = values[1] == 10 && values[2] == ABSENT;
        /* One or the other; gets one by one may see the end in between. */
        if (!commits || at_snapshot)
            assert_true(before);
        else if (scan)
            assert_true(before || (values[1] == ABSENT && values[2] == 20));
        else
            assert_true((values[1] == 10 || values[1] == ABSENT) && (values[2] == ABSENT || values[2] == 20));
        node->reader.store = &node->store;
        node_free(node);
    }
}

static void test_races(void **state)
{
    (void) state;
    for (int i = 0; i < 4; i++) {
        race(abort_and_settle, false, i & 1, i & 2);
        race(commit_and_settle, true, i & 1, i & 2);
    }
}

static void overwrite_and_commit(void)
{
    struct who who = {.owner = ALICE, .subtransaction = 1, .transactions = &undecided, .count = 1};

    (void) node_call(around, commit_request(around, who, 0, 1, 2, 500, 0));
    (void) node_quiesce(around);
}

/* The commit brings newer values than the intents had: those never show. */
static void test_intermediate_values(void **state)
{
    (void) state;
    for (int moment = 1; moment < 8; moment++) {
        struct node *node = node_ready();
        struct sb_store slow;
        int64_t value;

        assert_int_equal(put(node, 1, 10), WIRE_OK);
        undecided = spill(node, ALICE, 0, 1, 2, 100, 0);
        plain = slow = node->store;
        slow.get = slow_get;
        slow.iterate = slow_iterate;
        node->reader.store = &slow;
        around = node;
        happening = overwrite_and_commit;
        countdown = moment;
        assert_int_equal(read_at(node, (struct who){0}, 1, &value), WIRE_OK);
        countdown = 0;
        assert_true(value == 10 || value == 500);
        node->reader.store = &node->store;
        node_free(node);
    }
}

/* ---- storages ---- */

static void test_storages(void **state)
{
    struct node *node = node_ready();
    struct sb_buffer out = {0};
    const char *names[] = {"a", "ab", "b", "relation"};
    char after[16] = "";
    uint64_t snapshot;
    uint32_t detail;

    (void) state;
    assert_true(new_storage(node, "b") && new_storage(node, "ab") && new_storage(node, "a"));
    for (size_t first = 0; first <= 4; first++) {
        struct wire_reader r;

        node_begin(node, WIRE_STORAGES, (struct who){0});
        wire_write_span(&sim_request, after, strlen(after));
        assert_int_equal(read_bytes(node, sim_end(), &out, &detail, &snapshot), WIRE_OK);
        r = wire_reader_of(out.data, out.size);
        assert_int_equal(wire_read_varint(&r), 4 - first);
        for (size_t i = first; i < 4; i++) {
            struct wire_span name = wire_read_span(&r);

            assert_int_equal(name.size, strlen(names[i]));
            assert_memory_equal(name.data, names[i], name.size);
            assert_true(wire_read_u64(&r) != 0);
            wire_read_u64(&r);
            wire_read_u64(&r);
        }
        assert_int_equal(wire_reader_finish(&r), WIRE_OK);
        if (first < 4)
            (void) snprintf(after, sizeof(after), "%s", names[first]);
    }
    sb_buffer_close(&out);
    node_free(node);
}

/* ---- hostile requests ---- */

static void test_short_requests(void **state)
{
    struct node *node = node_ready();
    struct sb_buffer out = {0};
    uint64_t own = WIRE_TRANSACTION_BIT | 1;
    uint64_t snapshot;
    uint32_t detail;

    (void) state;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    for (int kind = 0; kind < 4; kind++) {
        struct wire_request header = {.snapshot = 5, .storage_id = node->storage};
        struct wire_span request;
        uint8_t *whole;
        size_t total;

        if (kind == 0)
            request = sim_get_request(header, &own, 1, sim_key(node->storage, 1));
        else if (kind == 1)
            request =
                sim_scan_request(header, &own, 1, true, sim_key(node->storage, 0), sim_key(node->storage, 9), 3, 100);
        else {
            node_begin(node, kind == 2 ? WIRE_LOOKUP : WIRE_STORAGES, (struct who){0});
            wire_write_span(&sim_request, "relation", 8);
            request = sim_end();
        }
        total = request.size;
        whole = malloc(total + 1);
        memcpy(whole, request.data, total);
        whole[total] = 0;
        assert_int_equal(read_bytes(node, (struct wire_span){whole, total}, &out, &detail, &snapshot), WIRE_OK);
        assert_true(read_bytes(node, (struct wire_span){whole, total + 1}, &out, &detail, &snapshot) != WIRE_OK);
        for (size_t size = 0; size < total; size++) {
            uint8_t *exact = malloc(size ? size : 1);

            memcpy(exact, whole, size);
            assert_true(read_bytes(node, (struct wire_span){exact, size}, &out, &detail, &snapshot) != WIRE_OK);
            free(exact);
        }
        free(whole);
    }
    sb_buffer_close(&out);
    node_free(node);
}

static void test_hostile_requests(void **state)
{
    struct node *node = node_ready();
    struct wire_request header = {.storage_id = node->storage};
    struct sb_buffer out = {0};
    uint8_t *big = calloc(1, WIRE_KEY_MAX + 2);
    uint64_t snapshot;
    uint32_t detail;

    (void) state;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    /* Keys of others, of the group itself, too short, too long. */
    assert_int_equal(
        read_bytes(node, sim_get_request(header, NULL, 0, sim_key(node->storage + 1, 1)), &out, &detail, &snapshot),
        WIRE_E_NO_STORAGE);
    assert_int_equal(
        read_bytes(node, sim_get_request((struct wire_request){0}, NULL, 0, sim_key(0, 1)), &out, &detail, &snapshot),
        WIRE_E_NO_STORAGE);
    assert_int_equal(read_bytes(node,
                                sim_get_request(header, NULL, 0, (struct wire_span){sim_key(node->storage, 1).data, 9}),
                                &out, &detail, &snapshot),
                     WIRE_E_NO_STORAGE);
    memcpy(big, sim_key(node->storage, 1).data, 10);
    assert_int_equal(read_bytes(node, sim_get_request(header, NULL, 0, (struct wire_span){big, WIRE_KEY_MAX + 1}), &out,
                                &detail, &snapshot),
                     WIRE_E_NO_STORAGE);
    assert_int_equal(
        read_bytes(node,
                   sim_scan_request(header, NULL, 0, false, (struct wire_span){big, WIRE_KEY_MAX + 2}, none, 0, 0),
                   &out, &detail, &snapshot),
        WIRE_E_BAD_FORMAT);
    /* A scan stays within its storage, whatever the bounds. */
    for (int backward = 0; backward < 2; backward++) {
        assert_int_equal(read_bytes(node, sim_scan_request(header, NULL, 0, backward, none, none, 0, UINT64_MAX), &out,
                                    &detail, &snapshot),
                         WIRE_OK);
        assert_int_equal(out.data[4], 1);
        assert_int_equal(read_bytes(node,
                                    sim_scan_request(header, NULL, 0, backward, sim_key(node->storage, 5),
                                                     sim_key(node->storage, 2), 0, 9),
                                    &out, &detail, &snapshot),
                         WIRE_OK);
        assert_int_equal(out.data[4], 0);
        assert_int_equal(
            read_bytes(node, sim_scan_request(header, NULL, 0, backward, sim_key(node->storage + 1, 1), none, 0, 9),
                       &out, &detail, &snapshot),
            WIRE_OK);
        assert_int_equal(out.data[4], 0);
    }
    assert_int_equal(read_bytes(node, sim_scan_request((struct wire_request){0}, NULL, 0, false, none, none, 0, 9),
                                &out, &detail, &snapshot),
                     WIRE_E_BAD_FORMAT);
    /* The last storage there can be. */
    assert_int_equal(
        read_bytes(node,
                   sim_scan_request((struct wire_request){.storage_id = UINT64_MAX}, NULL, 0, true, none, none, 0, 9),
                   &out, &detail, &snapshot),
        WIRE_OK);
    node_begin(node, WIRE_GET, (struct who){0});
    sim_count(UINT64_MAX);
    assert_int_equal(read_bytes(node, sim_end(), &out, &detail, &snapshot), WIRE_E_SHORT_INPUT);
    assert_true(read_bytes(node, put_request(node, 1, 1), &out, &detail, &snapshot) != WIRE_OK);
    sb_buffer_close(&out);
    free(big);
    node_free(node);
}

/* More than a message holds: refused, at the key that passed the limit. */
static void test_too_large(void **state)
{
    struct node *node = node_ready();
    struct sb_buffer out = {0};
    struct wire_span key = sim_key(node->storage, 1);
    uint64_t snapshot;
    uint32_t detail;

    (void) state;
    assert_int_equal(
        node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_PUT, 0, 1, sim_item(1, 800 * 1024), none)),
        WIRE_OK);
    node_begin(node, WIRE_GET, (struct who){0});
    sim_count(20);
    for (int i = 0; i < 20; i++)
        wire_write_span(&sim_request, key.data, key.size);
    assert_int_equal(read_bytes(node, sim_end(), &out, &detail, &snapshot), WIRE_E_TOO_LARGE);
    assert_int_equal(detail, 10);
    assert_true(out.size < WIRE_MESSAGE_MAX + 1024 * 1024);
    sb_buffer_close(&out);
    node_free(node);
}

/* ---- damage ---- */

static void damage(struct node *node, enum sb_family family, struct wire_span key, struct wire_span value)
{
    struct sb_change change = {.kind = SB_PUT, .family = family, .key = key, .value = value};

    assert_int_equal(node->store.write(node->store.self, &change, 1, &node->fault), WIRE_OK);
}

static void test_damage(void **state)
{
    struct node *node = node_ready();
    struct wire_span key = sim_key(node->storage, 1);
    struct sb_history_key old;
    uint64_t first;
    int64_t value;

    (void) state;
    assert_int_equal(put(node, 1, 1), WIRE_OK);
    first = node->version;
    assert_int_equal(put(node, 1, 2), WIRE_OK);
    for (int kind = 0; kind < 4; kind++) {
        struct wire_span item = sim_item(3, 10);
        uint8_t *bytes = sim_arena_take(item.size + 8);
        struct wire_writer w = wire_writer_of(bytes, item.size + 8);
        struct sb_buffer out = {0};
        uint64_t snapshot;
        uint32_t detail;
        struct wire_request header = {.storage_id = node->storage, .snapshot = kind == 3 ? first : 0};

        if (kind == 0) /* a bit flipped */
            ((uint8_t *) item.data)[item.size - 1] ^= 1;
        if (kind == 1) /* cut off */
            item.size = 7;
        if (kind == 2) /* an intent of nobody */
            wire_item_set_version((void *) item.data, WIRE_TRANSACTION_BIT | 99);
        if (kind < 3)
            damage(node, SB_ITEMS, key, item);
        else { /* in the history, below a newer item */
            assert_int_equal(node->store.flush(node->store.self, &node->fault), WIRE_OK);
            wire_item_set_version((void *) item.data, node->version);
            damage(node, SB_ITEMS, key, item);
            wire_write_u64(&w, node->version);
            wire_write_bytes(&w, item.data, item.size);
            bytes[w.size - 1] ^= 1;
            damage(node, SB_HISTORY, sb_history_key(&old, key, first), (struct wire_span){bytes, w.size});
        }
        node->fault = (struct sb_fault){0};
        assert_int_equal(read_at(node, (struct who){.snapshot = header.snapshot}, 1, &value), WIRE_E_CORRUPT);
        assert_int_equal(node->fault.code, WIRE_E_CORRUPT);
        assert_true(strlen(node->fault.text) > 20);
        for (int backward = 0; backward < 2; backward++)
            assert_int_equal(read_bytes(node, sim_scan_request(header, NULL, 0, backward, none, none, 0, 9999), &out,
                                        &detail, &snapshot),
                             WIRE_E_CORRUPT);
        sb_buffer_close(&out);
        /* A write that meets it is refused; the node goes on. */
        if (kind != 3)
            assert_int_equal(
                node_call(node, write_request(node, (struct who){0}, WIRE_WRITE_UPDATE, 0, 1, sim_update(1), none)),
                WIRE_E_CORRUPT);
        assert_int_equal(put(node, 2, 1), WIRE_OK);
    }
    node_free(node);
}

/* Each allocation of a read fails once: an error, and nothing is left. */
static void test_no_memory(void **state)
{
    struct node *node = node_ready();
    bool failed = true;

    (void) state;
    for (int64_t key = 0; key < KEYS; key++) {
        assert_int_equal(put(node, key, key), WIRE_OK);
        if (key % 2)
            assert_int_equal(drop(node, key), WIRE_OK);
    }
    for (int kind = 0; kind < 4; kind++) {
        failed = true;
        for (uint64_t n = 1; failed; n++) {
            struct wire_request header = {.storage_id = node->storage, .snapshot = kind < 2 ? 0 : node->version - 1};
            struct wire_span request = kind & 1 ? sim_scan_request(header, NULL, 0, n & 1, none, none, 0, 3000)
                                                : sim_get_request(header, NULL, 0, sim_key(node->storage, 3));
            struct sb_buffer out = {0};
            uint64_t blocks = sb_memory_blocks();
            uint64_t snapshot;
            uint32_t detail;
            int status;

            sb_memory_fail_at(n);
            status = read_bytes(node, request, &out, &detail, &snapshot);
            sb_memory_fail_at(0);
            failed = status != WIRE_OK;
            assert_true(!failed || status == WIRE_E_NOMEM);
            sb_buffer_close(&out);
            assert_int_equal(sb_memory_blocks(), blocks);
        }
    }
    node_free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshots),           cmocka_unit_test(test_races),
        cmocka_unit_test(test_intermediate_values), cmocka_unit_test(test_storages),
        cmocka_unit_test(test_short_requests),      cmocka_unit_test(test_hostile_requests),
        cmocka_unit_test(test_too_large),           cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
