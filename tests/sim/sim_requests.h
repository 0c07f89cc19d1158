/*
 * Requests, keys and items for tests of the shard and its readers, and what comes back taken apart.
 *
 * A request is built in one static buffer: sim_begin, the body, sim_end; the next sim_begin overwrites it. Items live
 * in an arena until sim_arena_reset. Memory is malloc's, so that the engine's counts stay its own. One thread.
 */
#ifndef SIM_REQUESTS_H
#define SIM_REQUESTS_H

#include <stdlib.h>

#include "wire_entry.h"
#include "wire_eval.h"
#include "wire_item.h"
#include "wire_key.h"
#include "wire_request.h"

#define SIM_REQUEST_MAX (WIRE_MESSAGE_MAX + 65536)

struct sim_arena_block {
    struct sim_arena_block *next;
    uint8_t bytes[];
};

extern struct sim_arena_block *sim_arena;
extern uint8_t sim_request_bytes[SIM_REQUEST_MAX];
extern struct wire_writer sim_request;

static inline uint8_t *sim_arena_take(size_t size)
{
    struct sim_arena_block *block = malloc(sizeof(*block) + size);

    if (!block)
        abort();
    block->next = sim_arena;
    sim_arena = block;
    return block->bytes;
}

static inline void sim_arena_reset(void)
{
    while (sim_arena) {
        struct sim_arena_block *gone = sim_arena;

        sim_arena = gone->next;
        free(gone);
    }
}

static inline struct wire_span sim_text(const char *text)
{
    return (struct wire_span){(const uint8_t *) text, strlen(text)};
}

/* ---- keys and items ---- */

/* Key `number` of a storage: one integer column, so no key is a prefix of another. */
static inline struct wire_span sim_key(uint64_t storage_id, int64_t number)
{
    uint8_t *bytes = sim_arena_take(32);
    struct wire_writer w = wire_writer_of(bytes, 32);
    struct wire_key_value column = {.type = WIRE_KEY_INTEGER, .integer = number};

    wire_key_write_prefix(&w, storage_id, 0);
    if (wire_key_write_column(&w, &column) != WIRE_OK)
        abort();
    return (struct wire_span){bytes, w.size};
}

static inline int64_t sim_key_number(struct wire_span key)
{
    uint8_t scratch[16];
    struct wire_reader r = wire_reader_of(key.data, key.size);
    struct wire_writer w = wire_writer_of(scratch, sizeof(scratch));
    struct wire_key_value column;
    uint64_t storage_id;
    uint16_t index_id;

    if (wire_key_read_prefix(&r, &storage_id, &index_id) != WIRE_OK || wire_key_read_column(&r, &w, &column) != WIRE_OK)
        abort();
    return column.integer;
}

/* An item whose attribute 1 is `value`, with `padding` bytes in attribute 2. */
static inline struct wire_span sim_item(int64_t value, size_t padding)
{
    uint8_t *bytes = sim_arena_take(padding + 128);
    struct wire_writer w = wire_writer_of(bytes, padding + 128);
    struct wire_item_builder builder;

    wire_item_begin(&builder, &w, 0, 0, 0);
    wire_item_add_declared(&builder, 1);
    wire_attr_write_integer(&w, value);
    if (padding > 0) {
        uint8_t *zeros = sim_arena_take(padding);

        memset(zeros, (int) (value & 0xff), padding);
        wire_item_add_declared(&builder, 2);
        wire_attr_write_bytes(&w, WIRE_BINARY, zeros, padding);
    }
    if (wire_item_end(&builder) != WIRE_OK)
        abort();
    return (struct wire_span){bytes, w.size};
}

/* Attribute 1; INT64_MIN if the item is malformed. */
static inline int64_t sim_item_value(struct wire_span item)
{
    struct wire_attr_ref ref = {.number = 1};
    struct wire_item opened;
    struct wire_attr attr;
    int64_t value = INT64_MIN;

    if (wire_item_open(item.data, item.size, &opened) != WIRE_OK || wire_item_find(&opened, ref, &attr) != WIRE_OK ||
        wire_number_to_integer(&attr.number, &value) != WIRE_OK)
        return INT64_MIN;
    return value;
}

static inline struct wire_span sim_condition(enum wire_condition_operator op)
{
    uint8_t *bytes = sim_arena_take(16);
    struct wire_writer w = wire_writer_of(bytes, 16);
    struct wire_target target = {.kind = WIRE_TARGET_ITEM};

    wire_write_varint(&w, 1);
    wire_clause_write(&w, op, target, (struct wire_span){NULL, 0});
    return (struct wire_span){bytes, w.size};
}

/* Attribute 1 of the item equals `value`. */
static inline struct wire_span sim_equals(int64_t value)
{
    uint8_t *bytes = sim_arena_take(64);
    struct wire_writer w = wire_writer_of(bytes, 64);
    struct wire_target target = {.kind = WIRE_TARGET_DECLARED, .ref = {.number = 1}};
    uint8_t encoded[32];
    struct wire_writer v = wire_writer_of(encoded, sizeof(encoded));

    wire_attr_write_integer(&v, value);
    wire_write_varint(&w, 1);
    wire_clause_write(&w, WIRE_CONDITION_EQUALS, target, (struct wire_span){encoded, v.size});
    return (struct wire_span){bytes, w.size};
}

/* Set attribute 1 to `value`. */
static inline struct wire_span sim_update(int64_t value)
{
    uint8_t *bytes = sim_arena_take(64);
    struct wire_writer w = wire_writer_of(bytes, 64);
    struct wire_target target = {.kind = WIRE_TARGET_DECLARED, .ref = {.number = 1}};
    uint8_t encoded[32];
    struct wire_writer v = wire_writer_of(encoded, sizeof(encoded));

    wire_attr_write_integer(&v, value);
    wire_write_varint(&w, 1);
    wire_action_write(&w, WIRE_UPDATE_SET, target, (struct wire_span){encoded, v.size});
    return (struct wire_span){bytes, w.size};
}

/* ---- requests ---- */

static inline void sim_begin(struct wire_request header, const uint64_t *transactions, size_t count)
{
    uint8_t *ids = sim_arena_take(8 * count + 1);
    struct wire_writer w = wire_writer_of(ids, 8 * count + 1);

    for (size_t i = 0; i < count; i++)
        wire_write_u64(&w, transactions[i]);
    header.transactions = (struct wire_span){ids, w.size};
    sim_request = wire_writer_of(sim_request_bytes, sizeof(sim_request_bytes));
    wire_request_write(&sim_request, &header);
}

static inline void sim_count(uint64_t count)
{
    wire_write_varint(&sim_request, count);
}

static inline void sim_op(enum wire_write_kind kind, uint8_t flags, struct wire_span key, struct wire_span argument,
                          struct wire_span condition)
{
    struct wire_write_op op = {.kind = kind, .flags = flags, .key = key, .argument = argument, .condition = condition};

    wire_write_op_write(&sim_request, &op);
}

static inline void sim_effect(struct wire_span key, struct wire_span item)
{
    struct wire_effect effect = {
        .kind = item.size > 0 ? WIRE_EFFECT_PUT : WIRE_EFFECT_DELETE, .key = key, .item = item};

    wire_effect_write(&sim_request, &effect);
}

static inline struct wire_span sim_end(void)
{
    if (sim_request.failed)
        abort();
    return (struct wire_span){sim_request_bytes, sim_request.size};
}

/* A whole GET of one key, or a SCAN. */
static inline struct wire_span sim_get_request(struct wire_request header, const uint64_t *transactions, size_t count,
                                               struct wire_span key)
{
    header.operation = WIRE_GET;
    sim_begin(header, transactions, count);
    sim_count(1);
    wire_write_span(&sim_request, key.data, key.size);
    return sim_end();
}

static inline struct wire_span sim_scan_request(struct wire_request header, const uint64_t *transactions, size_t count,
                                                bool backward, struct wire_span low, struct wire_span high,
                                                uint64_t limit, uint64_t target)
{
    header.operation = WIRE_SCAN;
    sim_begin(header, transactions, count);
    wire_write_u8(&sim_request, backward);
    wire_write_span(&sim_request, low.data, low.size);
    wire_write_span(&sim_request, high.data, high.size);
    wire_write_varint(&sim_request, limit);
    wire_write_varint(&sim_request, target);
    return sim_end();
}

#endif
