/*
 * Attribute values from any bytes. What wire_attr_read accepts must be walked to the end by the views, equal itself,
 * and come out of the writers byte for byte as it went in. What it refuses must still be safe to view.
 */
#include <stdlib.h>

#include "wire_attr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Write `attr` again, member by member. */
static void rewrite(struct wire_writer *w, struct wire_attr attr, unsigned depth)
{
    struct wire_container container;
    struct wire_span bytes;
    struct wire_attr member;
    uint32_t count = 0;
    int code = WIRE_OK;

    require(depth <= WIRE_NESTING_MAX);
    if (attr.type < WIRE_LIST || attr.type == WIRE_OPAQUE) {
        wire_write_bytes(w, attr.encoded.data, attr.encoded.size);
        return;
    }
    container = wire_attr_begin(w, attr.type);
    for (;; count++) {
        struct wire_reader before = attr.body;
        struct wire_number number;

        if (attr.type == WIRE_LIST)
            code = wire_attr_next_element(&attr, &member);
        else if (attr.type == WIRE_MAP)
            code = wire_attr_next_entry(&attr, &bytes, &member);
        else if (attr.type == WIRE_NUMBER_SET)
            code = wire_attr_next_number(&attr, &number);
        else
            code = wire_attr_next_bytes(&attr, &bytes);
        if (code != WIRE_OK)
            break;
        if (attr.type == WIRE_NUMBER_SET)
            wire_write_bytes(w, before.data + before.position, attr.body.position - before.position);
        else if (attr.type != WIRE_LIST)
            wire_write_span(w, bytes.data, bytes.size);
        if (attr.type == WIRE_LIST || attr.type == WIRE_MAP)
            rewrite(w, member, depth + 1);
    }
    require(code == WIRE_E_NOT_FOUND && count == attr.count);
    wire_attr_end(w, container, count);
}

static void view_anything(const uint8_t *data, size_t size)
{
    struct wire_reader r = wire_reader_of(data, size);
    struct wire_attr attr, member, other;
    struct wire_span bytes;
    struct wire_number number;

    if (wire_attr_view(&r, &attr) != WIRE_OK) {
        require(r.failed);
        return;
    }
    other = attr;
    (void) wire_attr_equal(&attr, &other);
    (void) wire_attr_counted_size(&attr);
    while (wire_attr_next_element(&attr, &member) == WIRE_OK ||
           wire_attr_next_entry(&attr, &bytes, &member) == WIRE_OK || wire_attr_next_bytes(&attr, &bytes) == WIRE_OK ||
           wire_attr_next_number(&attr, &number) == WIRE_OK)
        continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reader r = wire_reader_of(data, size);
    struct wire_writer w, measure = wire_writer_of(NULL, 0);
    struct wire_attr attr, other;

    view_anything(data, size);
    if (wire_attr_read(&r, &attr) != WIRE_OK) {
        require(r.failed);
        return 0;
    }
    require(attr.encoded.data == data && attr.encoded.size == r.position);
    w = wire_writer_of(malloc(r.position), r.position);
    rewrite(&w, attr, 0);
    rewrite(&measure, attr, 0);
    require(!w.failed && w.size == r.position && measure.size == w.size && memcmp(w.data, data, w.size) == 0);
    r = wire_reader_of(w.data, w.size);
    require(wire_attr_read(&r, &other) == WIRE_OK && wire_attr_equal(&attr, &other));
    require(wire_attr_counted_size(&attr) == wire_attr_counted_size(&other));
    free(w.data);
    return 0;
}
