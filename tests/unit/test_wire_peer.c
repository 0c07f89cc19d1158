/* Messages between members: bytes as drawn in wire_peer.h, every kind there and back, damage, fields a kind has not and
 * entries that do not continue each other refused. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wire_checksum.h"
#include "wire_peer.h"

#define GROUP 5
#define TERM 9
#define INDEX 41
#define INDEX_TERM 7
#define ROOM 4096

/* Where fields of the message stand. */
#define AT_FORMAT 8
#define AT_KIND 9
#define AT_FLAGS 10
#define AT_COUNT 12
#define AT_FROM 24
#define AT_TO 32
#define AT_TERM 40
#define AT_SEQUENCE 48
#define AT_INDEX 56
#define AT_INDEX_TERM 64
#define AT_COMMIT 72

static const struct wire_configuration members = {.count = 2,
                                                  .members = {{1, WIRE_MEMBER_VOTER}, {2, WIRE_MEMBER_LEARNER}}};

/* One of each kind, all that it may have filled in. */
static struct wire_peer_message message_of(enum wire_peer_kind kind)
{
    struct wire_peer_message message = {.kind = kind, .group = GROUP, .from = 1, .to = 2, .term = TERM};

    switch (kind) {
    case WIRE_PEER_INSTALL:
        message.configuration = members;
        /* fallthrough */
    case WIRE_PEER_APPEND:
        message.sequence = 77;
        message.index = INDEX;
        message.index_term = INDEX_TERM;
        message.commit = 40;
        break;
    case WIRE_PEER_APPEND_RESULT:
        message.sequence = 77;
        message.index = INDEX;
        message.commit = 43;
        break;
    case WIRE_PEER_VOTE:
        message.flags = WIRE_PEER_PRE_VOTE | WIRE_PEER_DISRUPT;
        message.index = INDEX;
        message.index_term = INDEX_TERM;
        break;
    case WIRE_PEER_VOTE_RESULT:
        message.flags = WIRE_PEER_PRE_VOTE | WIRE_PEER_GRANTED;
        break;
    case WIRE_PEER_TIMEOUT_NOW:
        message.index = INDEX;
        message.index_term = INDEX_TERM;
        break;
    default:
        message.sequence = 78;
        break;
    }
    return message;
}

static void write_entry(struct wire_writer *w, uint64_t group, uint64_t index, uint64_t term)
{
    struct wire_entry header = {.group = group, .term = term, .index = index, .version = index << 16};
    struct wire_effect effect = {.kind = WIRE_EFFECT_HORIZON, .number = index};
    struct wire_entry_builder b;

    wire_entry_begin(&b, w, &header);
    if (index % 2 == 0)
        wire_entry_add(&b, &effect);
    assert_int_equal(wire_entry_end(&b), WIRE_OK);
}

static void add_entry(struct wire_peer_builder *b, uint64_t group, uint64_t index, uint64_t term)
{
    uint8_t bytes[128];
    struct wire_writer w = wire_writer_of(bytes, sizeof bytes);

    write_entry(&w, group, index, term);
    wire_peer_add(b, (struct wire_span){bytes, w.size});
}

/* The message and, if it is an APPEND, `count` entries that continue it. */
static size_t build(uint8_t *data, const struct wire_peer_message *message, uint32_t count)
{
    struct wire_writer w = wire_writer_of(data, ROOM);
    struct wire_peer_builder b;

    wire_peer_begin(&b, &w, message);
    for (uint32_t i = 0; message->kind == WIRE_PEER_APPEND && i < count; i++)
        add_entry(&b, message->group, message->index + 1 + i, INDEX_TERM + i);
    assert_int_equal(wire_peer_end(&b), WIRE_OK);
    return w.size;
}

static void set_u32(uint8_t *at, uint32_t value)
{
    struct wire_writer w = wire_writer_of(at, 4);

    wire_write_u32(&w, value);
}

static void seal(uint8_t *data, size_t size)
{
    set_u32(data, (uint32_t) size);
    set_u32(data + 4, wire_checksum(data + 8, size - 8, 0));
}

/* Open a copy of exactly `size` bytes, so that a sanitizer sees any overrun. */
static int open_exact(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct wire_peer_message message;
    struct wire_reader entries;
    int result;

    memcpy(copy, data, size);
    result = wire_peer_open(size ? copy : NULL, size, &message, &entries);
    free(copy);
    return result;
}

/* One byte of a message set under a right checksum. */
static int open_with_byte(enum wire_peer_kind kind, size_t offset, uint8_t value)
{
    struct wire_peer_message message = message_of(kind);
    uint8_t data[ROOM];
    size_t size = build(data, &message, 3);

    data[offset] = value;
    seal(data, size);
    return open_exact(data, size);
}

static void test_bytes_as_drawn(void **state)
{
    static const uint8_t expected[] = {1,  5, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1,
                                       0,  0, 0, 0, 0, 0, 0, 2,  0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 77,
                                       0,  0, 0, 0, 0, 0, 0, 41, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 40,
                                       20, 1, 2, 0, 0, 0, 0, 0,  0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 2};
    struct wire_peer_message message = message_of(WIRE_PEER_INSTALL);
    uint8_t data[ROOM];
    size_t size = build(data, &message, 0);
    struct wire_reader r = wire_reader_of(data, size);

    (void) state;
    assert_int_equal(size, 8 + sizeof expected);
    assert_int_equal(wire_read_u32(&r), size);
    assert_int_equal(wire_read_u32(&r), wire_checksum(expected, sizeof expected, 0));
    assert_memory_equal(data + 8, expected, sizeof expected);
}

static void assert_same(const struct wire_peer_message *a, const struct wire_peer_message *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->flags, b->flags);
    assert_true(a->group == b->group && a->from == b->from && a->to == b->to && a->term == b->term);
    assert_true(a->sequence == b->sequence && a->index == b->index && a->index_term == b->index_term);
    assert_true(a->commit == b->commit);
    assert_int_equal(a->configuration.count, b->configuration.count);
    for (uint32_t i = 0; i < a->configuration.count; i++) {
        assert_true(a->configuration.members[i].node == b->configuration.members[i].node);
        assert_int_equal(a->configuration.members[i].role, b->configuration.members[i].role);
    }
}

static void test_every_kind_round_trip(void **state)
{
    (void) state;
    for (enum wire_peer_kind kind = WIRE_PEER_APPEND; kind < WIRE_PEER_KIND_COUNT; kind++) {
        struct wire_peer_message message = message_of(kind);
        struct wire_peer_message again;
        struct wire_reader entries;
        struct wire_span bytes;
        struct wire_entry entry;
        uint8_t data[ROOM];
        size_t size = build(data, &message, 3);

        assert_int_equal(wire_peer_open(data, size, &again, &entries), WIRE_OK);
        assert_same(&again, &message);
        assert_int_equal(again.entry_count, kind == WIRE_PEER_APPEND ? 3 : 0);
        for (uint32_t i = 0; i < again.entry_count; i++) {
            uint8_t expected[128];
            struct wire_writer w = wire_writer_of(expected, sizeof expected);

            write_entry(&w, GROUP, INDEX + 1 + i, INDEX_TERM + i);
            assert_int_equal(wire_peer_next(&entries, &bytes, &entry), WIRE_OK);
            assert_int_equal(bytes.size, w.size);
            assert_memory_equal(bytes.data, expected, w.size);
            assert_true(entry.index == INDEX + 1 + i && entry.term == INDEX_TERM + i && entry.group == GROUP);
        }
        assert_int_equal(wire_peer_next(&entries, &bytes, &entry), WIRE_E_NOT_FOUND);
        assert_int_equal(wire_peer_next(&entries, &bytes, &entry), WIRE_E_NOT_FOUND);
    }
}

/* A heartbeat, a log's very first entries, and a configuration without members. */
static void test_least_messages(void **state)
{
    struct wire_peer_message message = {.kind = WIRE_PEER_APPEND, .group = GROUP, .from = 2, .to = 1};
    struct wire_peer_message again;
    struct wire_reader entries;
    struct wire_span bytes;
    struct wire_entry entry;
    uint8_t data[ROOM];
    size_t size = build(data, &message, 0);

    (void) state;
    assert_int_equal(size, WIRE_PEER_HEADER_SIZE);
    assert_int_equal(wire_peer_open(data, size, &again, &entries), WIRE_OK);
    assert_same(&again, &message);
    assert_int_equal(wire_peer_next(&entries, &bytes, &entry), WIRE_E_NOT_FOUND);
    message.term = TERM;
    size = build(data, &message, 2);
    assert_int_equal(open_exact(data, size), WIRE_OK);
    message.kind = WIRE_PEER_INSTALL;
    size = build(data, &message, 0);
    assert_int_equal(size, WIRE_PEER_HEADER_SIZE + 3);
    assert_int_equal(open_exact(data, size), WIRE_OK);
}

static void test_messages_follow_each_other(void **state)
{
    struct wire_peer_message message = message_of(WIRE_PEER_APPEND);
    uint8_t data[ROOM];
    struct wire_writer w = wire_writer_of(data, sizeof data);
    struct wire_peer_builder b;
    size_t second;

    (void) state;
    message.entry_count = 99; /* not looked at */
    wire_peer_begin(&b, &w, &message);
    add_entry(&b, GROUP, INDEX + 1, TERM);
    assert_int_equal(wire_peer_end(&b), WIRE_OK);
    second = w.size;
    wire_peer_begin(&b, &w, &message);
    assert_int_equal(wire_peer_end(&b), WIRE_OK);
    assert_int_equal(open_exact(data, second), WIRE_OK);
    assert_int_equal(open_exact(data + second, w.size - second), WIRE_OK);
    assert_int_equal(open_exact(data, w.size), WIRE_E_BAD_FORMAT); /* not one message */
}

static void test_every_short_length(void **state)
{
    (void) state;
    for (enum wire_peer_kind kind = WIRE_PEER_APPEND; kind < WIRE_PEER_KIND_COUNT; kind++) {
        struct wire_peer_message message = message_of(kind);
        uint8_t data[ROOM];
        uint8_t cut[ROOM];
        size_t size = build(data, &message, 3);

        assert_int_equal(open_exact(data, size), WIRE_OK);
        for (size_t length = 0; length < size; length++) {
            assert_int_equal(open_exact(data, length), WIRE_E_SHORT_INPUT);
            if (length < 8)
                continue;
            /* Cut and sealed again. */
            memcpy(cut, data, length);
            seal(cut, length);
            assert_int_equal(open_exact(cut, length), WIRE_E_SHORT_INPUT);
        }
        /* One byte too many. */
        data[size] = 0;
        assert_int_equal(open_exact(data, size + 1), WIRE_E_BAD_FORMAT);
        seal(data, size + 1);
        assert_int_equal(open_exact(data, size + 1), WIRE_E_BAD_FORMAT);
    }
}

static void test_every_flipped_bit(void **state)
{
    (void) state;
    for (enum wire_peer_kind kind = WIRE_PEER_APPEND; kind < WIRE_PEER_KIND_COUNT; kind++) {
        struct wire_peer_message message = message_of(kind);
        uint8_t data[ROOM];
        size_t size = build(data, &message, 3);

        for (size_t i = 0; i < size * 8; i++) {
            int result;

            data[i / 8] ^= (uint8_t) (1 << i % 8);
            result = open_exact(data, size);
            data[i / 8] ^= (uint8_t) (1 << i % 8);
            if (i / 8 >= 4)
                assert_int_equal(result, WIRE_E_BAD_CHECKSUM);
            else
                assert_true(result == WIRE_E_SHORT_INPUT || result == WIRE_E_BAD_FORMAT);
        }
        assert_int_equal(open_exact(data, size), WIRE_OK);
    }
}

static void test_every_short_buffer(void **state)
{
    struct wire_peer_message messages[] = {message_of(WIRE_PEER_APPEND), message_of(WIRE_PEER_INSTALL)};
    uint8_t whole[ROOM];

    (void) state;
    for (size_t i = 0; i < 2; i++) {
        size_t size = build(whole, &messages[i], 2);
        struct wire_writer measure = wire_writer_of(NULL, 0);
        struct wire_peer_builder b;

        for (size_t capacity = 0; capacity < size; capacity++) {
            uint8_t *data = malloc(capacity ? capacity : 1);
            struct wire_writer w = wire_writer_of(data, capacity);

            wire_peer_begin(&b, &w, &messages[i]);
            for (uint64_t j = 1; i == 0 && j <= 2; j++)
                add_entry(&b, GROUP, INDEX + j, INDEX_TERM + j - 1);
            assert_int_equal(wire_peer_end(&b), WIRE_E_SHORT_BUFFER);
            free(data);
        }
        wire_peer_begin(&b, &measure, &messages[i]);
        for (uint64_t j = 1; i == 0 && j <= 2; j++)
            add_entry(&b, GROUP, INDEX + j, INDEX_TERM + j - 1);
        assert_int_equal(wire_peer_end(&b), WIRE_OK);
        assert_int_equal(measure.size, size);
    }
}

/* Whatever a kind has not is 0, each bit of it. */
static void test_fields_a_kind_has_not(void **state)
{
    static const struct {
        uint16_t flags;
        const char *fields; /* s i t c: sequence, index, index term, commit */
    } has[WIRE_PEER_KIND_COUNT] = {
        [WIRE_PEER_APPEND] = {0, "sitc"},  [WIRE_PEER_APPEND_RESULT] = {0, "sic"}, [WIRE_PEER_VOTE] = {3, "it"},
        [WIRE_PEER_VOTE_RESULT] = {5, ""}, [WIRE_PEER_INSTALL] = {0, "sitc"},      [WIRE_PEER_TIMEOUT_NOW] = {0, "it"},
        [WIRE_PEER_PROBE] = {0, "s"},      [WIRE_PEER_PROBE_RESULT] = {0, "s"},
    };
    static const struct {
        char name;
        size_t offset;
    } fields[] = {{'s', AT_SEQUENCE}, {'i', AT_INDEX}, {'t', AT_INDEX_TERM}, {'c', AT_COMMIT}};

    (void) state;
    for (enum wire_peer_kind kind = WIRE_PEER_APPEND; kind < WIRE_PEER_KIND_COUNT; kind++) {
        for (unsigned bit = 0; bit < 16; bit++)
            assert_int_equal(open_with_byte(kind, AT_FLAGS + (bit < 8), (uint8_t) (1 << bit % 8)),
                             has[kind].flags & 1 << bit ? WIRE_OK : WIRE_E_BAD_FORMAT);
        for (size_t i = 0; i < 4; i++)
            for (size_t byte = 0; byte < 8 && !strchr(has[kind].fields, fields[i].name); byte++)
                assert_int_equal(open_with_byte(kind, fields[i].offset + byte, 1), WIRE_E_BAD_FORMAT);
        if (kind != WIRE_PEER_APPEND)
            assert_int_equal(open_with_byte(kind, AT_COUNT + 3, 1), WIRE_E_BAD_FORMAT);
    }
}

static void test_hostile_header(void **state)
{
    (void) state;
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_FORMAT, 1), WIRE_OK);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_FORMAT, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_FORMAT, 2), WIRE_E_BAD_VERSION);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_KIND, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_KIND, WIRE_PEER_KIND_COUNT), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_KIND, 0xff), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_COUNT, 0xff), WIRE_E_TOO_LARGE);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_COUNT + 3, 4), WIRE_E_SHORT_INPUT);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, AT_COUNT + 3, 2), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_PROBE, AT_FROM + 7, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_PROBE, AT_TO + 7, 0), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_VOTE, AT_TERM + 7, INDEX_TERM), WIRE_OK);
    assert_int_equal(open_with_byte(WIRE_PEER_VOTE, AT_TERM + 7, INDEX_TERM - 1), WIRE_E_BAD_FORMAT);
    /* An entry's length that is overlong, and one that reaches behind the end. */
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, WIRE_PEER_HEADER_SIZE, 0xff), WIRE_E_SHORT_INPUT);
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, WIRE_PEER_HEADER_SIZE, 0), WIRE_E_SHORT_INPUT);
}

static void test_hostile_configuration(void **state)
{
    (void) state;
    assert_int_equal(open_with_byte(WIRE_PEER_INSTALL, WIRE_PEER_HEADER_SIZE, 19), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_INSTALL, WIRE_PEER_HEADER_SIZE, 21), WIRE_E_SHORT_INPUT);
    assert_int_equal(open_with_byte(WIRE_PEER_INSTALL, WIRE_PEER_HEADER_SIZE + 1, 2), WIRE_E_BAD_VERSION);
    assert_int_equal(open_with_byte(WIRE_PEER_INSTALL, WIRE_PEER_HEADER_SIZE + 2, 3), WIRE_E_SHORT_INPUT);
    assert_int_equal(open_with_byte(WIRE_PEER_INSTALL, WIRE_PEER_HEADER_SIZE + 2, 1), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_with_byte(WIRE_PEER_INSTALL, WIRE_PEER_HEADER_SIZE + 11, 3), WIRE_E_BAD_FORMAT);
}

/* An APPEND with two entries of these places. */
static int open_pair(uint64_t group, uint64_t index, const uint64_t indexes[2], const uint64_t terms[2])
{
    struct wire_peer_message message = message_of(WIRE_PEER_APPEND);
    uint8_t data[ROOM];
    struct wire_writer w = wire_writer_of(data, sizeof data);
    struct wire_peer_builder b;

    message.index = index;
    wire_peer_begin(&b, &w, &message);
    add_entry(&b, GROUP, indexes[0], terms[0]);
    add_entry(&b, group, indexes[1], terms[1]);
    assert_int_equal(wire_peer_end(&b), WIRE_OK);
    return open_exact(data, w.size);
}

#define PAIR(a, b) ((const uint64_t[2]){a, b})

static void test_entries_continue_each_other(void **state)
{
    const uint64_t *in_order = PAIR(INDEX + 1, INDEX + 2);
    const uint64_t *terms = PAIR(INDEX_TERM, TERM);

    (void) state;
    assert_int_equal(open_pair(GROUP, INDEX, in_order, terms), WIRE_OK);
    assert_int_equal(open_pair(GROUP, INDEX, in_order, PAIR(TERM, TERM)), WIRE_OK);
    assert_int_equal(open_pair(GROUP + 1, INDEX, in_order, terms), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, INDEX - 1, in_order, terms), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, INDEX + 1, in_order, terms), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, INDEX, PAIR(INDEX + 1, INDEX + 3), terms), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, INDEX, PAIR(INDEX + 1, INDEX + 1), terms), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, INDEX, PAIR(INDEX + 2, INDEX + 1), terms), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, INDEX, in_order, PAIR(TERM, TERM - 1)), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, INDEX, in_order, PAIR(INDEX_TERM - 1, TERM)), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, INDEX, in_order, PAIR(INDEX_TERM, TERM + 1)), WIRE_E_BAD_FORMAT);
    /* Index UINT64_MAX + 1 is 0, which no entry has. */
    assert_int_equal(open_pair(GROUP, UINT64_MAX, PAIR(0, 1), terms), WIRE_E_BAD_FORMAT);
    assert_int_equal(open_pair(GROUP, UINT64_MAX - 1, PAIR(UINT64_MAX, 0), terms), WIRE_E_BAD_FORMAT);
}

/* A whole message's checksum does not excuse an entry's. */
static void test_damaged_entry(void **state)
{
    (void) state;
    assert_int_equal(open_with_byte(WIRE_PEER_APPEND, WIRE_PEER_HEADER_SIZE + 1 + 40, 1), WIRE_E_BAD_CHECKSUM);
}

static void test_limits(void **state)
{
    struct wire_peer_message message = message_of(WIRE_PEER_APPEND);
    size_t room = WIRE_PEER_MESSAGE_MAX + 64;
    uint8_t *data = malloc(room);
    uint8_t *zeroes = calloc(1, room);
    struct wire_writer w = wire_writer_of(data, room);
    struct wire_peer_builder b;

    (void) state;
    wire_peer_begin(&b, &w, &message);
    for (uint64_t i = 1; i <= WIRE_PEER_ENTRIES_MAX; i++)
        add_entry(&b, GROUP, INDEX + i, TERM);
    assert_int_equal(wire_peer_end(&b), WIRE_OK);
    assert_int_equal(open_exact(data, w.size), WIRE_OK);
    add_entry(&b, GROUP, INDEX + WIRE_PEER_ENTRIES_MAX + 1, TERM);
    assert_int_equal(wire_peer_end(&b), WIRE_E_TOO_LARGE);
    set_u32(data + AT_COUNT, WIRE_PEER_ENTRIES_MAX + 1);
    seal(data, w.size);
    assert_int_equal(open_exact(data, w.size), WIRE_E_TOO_LARGE);
    /* By bytes: what is in the span does not matter to the builder. */
    for (size_t over = 0; over < 2; over++) {
        w = wire_writer_of(over ? NULL : data, room);
        wire_peer_begin(&b, &w, &message);
        wire_peer_add(&b, (struct wire_span){zeroes, WIRE_PEER_MESSAGE_MAX - WIRE_PEER_HEADER_SIZE - 4});
        assert_int_equal(w.size, WIRE_PEER_MESSAGE_MAX);
        assert_int_equal(wire_peer_end(&b), WIRE_OK);
        wire_write_u8(&w, 0);
        assert_int_equal(wire_peer_end(&b), WIRE_E_TOO_LARGE);
    }
    w = wire_writer_of(data, room);
    wire_peer_begin(&b, &w, &message);
    seal(data, WIRE_PEER_MESSAGE_MAX + 1);
    assert_int_equal(open_exact(data, WIRE_PEER_MESSAGE_MAX + 1), WIRE_E_TOO_LARGE);
    free(zeroes);
    free(data);
}

/* The largest entry there is fits a message. */
static void test_largest_entry(void **state)
{
    struct wire_peer_message message = message_of(WIRE_PEER_APPEND);
    struct wire_entry header = {.group = GROUP, .term = TERM, .index = INDEX + 1, .version = 1};
    uint8_t *entry = calloc(1, WIRE_ENTRY_MAX);
    uint8_t *data = malloc(WIRE_PEER_MESSAGE_MAX);
    struct wire_writer entry_writer = wire_writer_of(entry, WIRE_ENTRY_MAX);
    struct wire_writer w = wire_writer_of(data, WIRE_PEER_MESSAGE_MAX);
    struct wire_effect put = {.kind = WIRE_EFFECT_PUT, .key = {(const uint8_t *) "\0\0\0\0\0\0\0\1\0\0", 10}};
    struct wire_entry_builder eb;
    struct wire_peer_builder b;

    (void) state;
    put.item = (struct wire_span){data, WIRE_ENTRY_MAX - WIRE_ENTRY_HEADER_SIZE - 1 - 11 - 3};
    memset(data, 0, put.item.size);
    wire_entry_begin(&eb, &entry_writer, &header);
    wire_entry_add(&eb, &put);
    assert_int_equal(wire_entry_end(&eb), WIRE_OK);
    assert_int_equal(entry_writer.size, WIRE_ENTRY_MAX);
    wire_peer_begin(&b, &w, &message);
    wire_peer_add(&b, (struct wire_span){entry, WIRE_ENTRY_MAX});
    assert_int_equal(wire_peer_end(&b), WIRE_OK);
    assert_int_equal(open_exact(data, w.size), WIRE_OK);
    free(entry);
    free(data);
}

static void test_what_none_would_read_is_not_written(void **state)
{
    static const enum wire_peer_kind kinds[] = {(enum wire_peer_kind) 0, WIRE_PEER_KIND_COUNT, WIRE_PEER_INSTALL};
    uint8_t data[ROOM];

    (void) state;
    for (size_t i = 0; i < 3; i++) {
        struct wire_peer_message message = message_of(kinds[i]);
        struct wire_writer w = wire_writer_of(data, sizeof data);
        struct wire_peer_builder b;

        message.configuration.count = WIRE_MEMBERS_MAX + 1;
        wire_peer_begin(&b, &w, &message);
        assert_int_equal(wire_peer_end(&b), WIRE_E_SHORT_BUFFER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_as_drawn),
        cmocka_unit_test(test_every_kind_round_trip),
        cmocka_unit_test(test_least_messages),
        cmocka_unit_test(test_messages_follow_each_other),
        cmocka_unit_test(test_every_short_length),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_every_short_buffer),
        cmocka_unit_test(test_fields_a_kind_has_not),
        cmocka_unit_test(test_hostile_header),
        cmocka_unit_test(test_hostile_configuration),
        cmocka_unit_test(test_entries_continue_each_other),
        cmocka_unit_test(test_damaged_entry),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_largest_entry),
        cmocka_unit_test(test_what_none_would_read_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
