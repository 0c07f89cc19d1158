/*
 * Fuzz wire_entry. Invariants: bytes that open as they are, and bytes that open once size and checksum were made right,
 * walk without a refusal through exactly effect_count effects, and built again from what was read they are the same
 * bytes (the form is canonical).
 */
#include <stdlib.h>

#include "wire_checksum.h"
#include "wire_entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void seal(uint8_t *data, size_t size)
{
    struct wire_writer w = wire_writer_of(data, 8);

    wire_write_u32(&w, (uint32_t) size);
    wire_write_u32(&w, wire_checksum(data + 8, size - 8, 0));
}

static void walk(const uint8_t *data, size_t size)
{
    uint8_t *again = malloc(size + 1);
    struct wire_writer w = wire_writer_of(again, size);
    struct wire_entry_builder b;
    struct wire_entry entry;
    struct wire_effect effect;
    uint32_t count = 0;
    int result;

    if (wire_entry_open(data, size, &entry) == WIRE_OK) {
        require(entry.index > 0 && !wire_version_is_transaction(entry.version));
        wire_entry_begin(&b, &w, &entry);
        while ((result = wire_entry_next(&entry, &effect)) == WIRE_OK) {
            count++;
            wire_entry_add(&b, &effect);
        }
        require(result == WIRE_E_NOT_FOUND && count == entry.effect_count);
        require(wire_entry_end(&b) == WIRE_OK);
        require(w.size == size && memcmp(again, data, size) == 0);
    }
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    walk(data, size);
    if (size < 8)
        return 0;
    copy = malloc(size);
    memcpy(copy, data, size);
    seal(copy, size);
    walk(copy, size);
    free(copy);
    return 0;
}
