/*
 * Input: u16 size of the condition, u16 size of the update, both, and the rest is the body of an item (declared count
 * onwards). Whatever conditions and updates the checks accept must evaluate against a good item without a decoding
 * error, and what an update writes must pass wire_item_check and not change when the update is applied again.
 */
#include <stdlib.h>

#include "wire_checksum.h"
#include "wire_eval.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* An item around `body`, on the heap. */
static struct wire_span item_around(const uint8_t *body, size_t size)
{
    uint8_t *item = calloc(1, WIRE_ITEM_HEADER_SIZE + size);
    uint32_t checksum;

    require(item != NULL);
    item[0] = WIRE_ITEM_FORMAT;
    if (size > 0)
        memcpy(item + WIRE_ITEM_HEADER_SIZE, body, size);
    checksum = wire_checksum(item + 16, WIRE_ITEM_HEADER_SIZE - 16 + size, (uint64_t) item[0] << 8);
    for (int i = 0; i < 4; i++)
        item[4 + i] = (uint8_t) (checksum >> (24 - 8 * i));
    return (struct wire_span){item, WIRE_ITEM_HEADER_SIZE + size};
}

static void eval_condition(struct wire_span condition, const struct wire_item *item, bool good)
{
    bool checked = wire_condition_check(condition) == WIRE_OK;
    int code = wire_condition_eval(condition, item);

    if (checked && good)
        require(code == WIRE_OK || code == WIRE_E_CONDITION);
}

/* The result on the heap, or nothing. */
static struct wire_span eval_update(struct wire_span update, const struct wire_item *item, bool good)
{
    bool checked = wire_update_check(update) == WIRE_OK;
    struct wire_writer measure = wire_writer_of(NULL, 0), w;
    int measured = wire_update_eval(update, item, 3, &measure);
    size_t capacity = measured == WIRE_OK ? measure.size : 4096;
    int code;

    w = wire_writer_of(malloc(capacity), capacity);
    code = wire_update_eval(update, item, 3, &w);
    if (!checked || !good || code != WIRE_OK) {
        require(!checked || !good || code == WIRE_E_DUPLICATE || code == WIRE_E_TOO_LARGE);
        require(code == WIRE_OK || w.size == 0);
        free(w.data);
        return (struct wire_span){NULL, 0};
    }
    require(measured == WIRE_OK && w.size == capacity);
    require(wire_item_check(w.data, w.size) == WIRE_OK);
    return (struct wire_span){w.data, w.size};
}

static void update_twice(struct wire_span update, const struct wire_item *item, bool good)
{
    struct wire_span once = eval_update(update, item, good), twice;
    struct wire_item result;

    if (!once.data)
        return;
    require(wire_item_open(once.data, once.size, &result) == WIRE_OK);
    twice = eval_update(update, &result, true);
    require(twice.data && wire_span_compare(once, twice) == 0);
    free((void *) twice.data);
    free((void *) once.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reader r = wire_reader_of(data, size);
    size_t condition_size = wire_read_u16(&r), update_size = wire_read_u16(&r);
    struct wire_span condition = {wire_read_bytes(&r, condition_size), condition_size};
    struct wire_span update = {wire_read_bytes(&r, update_size), update_size};
    struct wire_span bytes;
    struct wire_item item;

    if (r.failed)
        return 0;
    bytes = item_around(data + r.position, size - r.position);
    eval_condition(condition, NULL, true);
    update_twice(update, NULL, true);
    if (wire_item_open(bytes.data, bytes.size, &item) == WIRE_OK) {
        bool good = wire_item_check(bytes.data, bytes.size) == WIRE_OK;

        eval_condition(condition, &item, good);
        update_twice(update, &item, good);
    }
    free((void *) bytes.data);
    return 0;
}
