/*
 * Items from any bytes, as they are and with format and checksum made right, so that the decoders behind them are
 * reached. What wire_item_check accepts must come out of the builder byte for byte, and every attribute must be found
 * where the walk saw it.
 */
#include <stdlib.h>

#include "wire_checksum.h"
#include "wire_item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void use_anything(const uint8_t *data, size_t size)
{
    struct wire_item item;
    struct wire_attr_ref ref;
    struct wire_attr attr;
    size_t counted;

    if (wire_item_open(data, size, &item) != WIRE_OK) {
        require(wire_item_check(data, size) != WIRE_OK);
        return;
    }
    require(wire_item_verify(data, size) == WIRE_OK);
    (void) wire_item_counted_size(&item, &counted);
    (void) wire_item_find(&item, (struct wire_attr_ref){.number = 5}, &attr);
    (void) wire_item_find(&item, (struct wire_attr_ref){.name = {data, size > 30 ? 30 : size}}, &attr);
    while (wire_item_next(&item, &ref, &attr) == WIRE_OK)
        require(ref.number > 0 || ref.name.data);
}

static void rebuild(const uint8_t *data, size_t size)
{
    struct wire_writer w = wire_writer_of(malloc(size), size);
    struct wire_item_builder b;
    struct wire_item item, whole;
    struct wire_attr_ref ref;
    struct wire_attr attr, found;
    size_t finds = 64; /* of many attributes the first: searching all of them takes time by their square */
    int code;

    require(wire_item_open(data, size, &item) == WIRE_OK);
    whole = item;
    wire_item_begin(&b, &w, item.flags, item.version, item.schema_version);
    while ((code = wire_item_next(&item, &ref, &attr)) == WIRE_OK) {
        if (finds > 0 && finds--)
            require(wire_item_find(&whole, ref, &found) == WIRE_OK && found.encoded.data == attr.encoded.data);
        if (ref.number > 0)
            wire_item_add_declared(&b, ref.number);
        else
            wire_item_add_named(&b, ref.name);
        wire_write_bytes(&w, attr.encoded.data, attr.encoded.size);
    }
    require(code == WIRE_E_NOT_FOUND);
    require(wire_item_end(&b) == WIRE_OK && w.size == size && memcmp(w.data, data, size) == 0);
    free(w.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *sealed;
    uint32_t checksum;

    use_anything(data, size);
    if (size < WIRE_ITEM_HEADER_SIZE)
        return 0;
    sealed = malloc(size);
    require(sealed != NULL);
    memcpy(sealed, data, size);
    sealed[0] = WIRE_ITEM_FORMAT;
    checksum = wire_checksum(sealed + 16, size - 16, (uint64_t) sealed[0] << 8 | sealed[1]);
    for (int i = 0; i < 4; i++)
        sealed[4 + i] = (uint8_t) (checksum >> (24 - 8 * i));
    use_anything(sealed, size);
    if (wire_item_check(sealed, size) == WIRE_OK)
        rebuild(sealed, size);
    free(sealed);
    return 0;
}
