/*
 * Fuzz wire_peer, with the bytes as a message, as its configuration and as the effects of its entries. Invariants: bytes that open
 * as they are, that open once the sizes and checksums of the message and of its entries were made right, and that open
 * once group, indexes and terms of the entries were, too, walk without a refusal through exactly entry_count entries,
 * and built again from what was read they are the same bytes (the form is canonical).
 */
#include <stdlib.h>

#include "wire_checksum.h"
#include "wire_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Entry and message alike. */
static void seal(uint8_t *data, size_t size)
{
    struct wire_writer w = wire_writer_of(data, 8);

    wire_write_u32(&w, (uint32_t) size);
    wire_write_u32(&w, wire_checksum(data + 8, size - 8, 0));
}

/* Makes entry `number` of the message continue what is before it. */
static void place(const uint8_t *message, uint8_t *entry, uint64_t number)
{
    struct wire_reader index = wire_reader_of(message + 56, 8);
    struct wire_writer w = wire_writer_of(entry + 32, 8);

    memcpy(entry + 16, message + 16, 8);
    memcpy(entry + 24, message + 40, 8);
    wire_write_u64(&w, wire_read_u64(&index) + 1 + number);
}

static void seal_entries(uint8_t *data, size_t size, bool placed)
{
    struct wire_reader r = wire_reader_of(data + WIRE_PEER_HEADER_SIZE, size - WIRE_PEER_HEADER_SIZE);

    for (uint64_t i = 0; wire_reader_left(&r) > 0; i++) {
        struct wire_span bytes = wire_read_span(&r);
        uint8_t *entry = data + (bytes.data - data);

        if (bytes.size < WIRE_ENTRY_HEADER_SIZE)
            return;
        if (placed)
            place(data, entry, i);
        seal(entry, bytes.size);
    }
}

static void walk(const uint8_t *data, size_t size)
{
    uint8_t *again = malloc(size + 1);
    struct wire_writer w = wire_writer_of(again, size);
    struct wire_peer_builder b;
    struct wire_peer_message message;
    struct wire_reader entries;
    struct wire_entry entry;
    struct wire_span bytes;
    uint32_t count = 0;
    int result;

    if (wire_peer_open(data, size, &message, &entries) == WIRE_OK) {
        require(message.from > 0 && message.to > 0 && message.index_term <= message.term);
        wire_peer_begin(&b, &w, &message);
        while ((result = wire_peer_next(&entries, &bytes, &entry)) == WIRE_OK) {
            count++;
            require(entry.group == message.group && entry.index == message.index + count);
            require(entry.term <= message.term);
            wire_peer_add(&b, bytes);
        }
        require(result == WIRE_E_NOT_FOUND && count == message.entry_count);
        require(wire_peer_end(&b) == WIRE_OK);
        require(w.size == size && memcmp(again, data, size) == 0);
    }
    free(again);
}

/* copy: a message but for what seal and place set. */
static void walk_sealed(uint8_t *copy, size_t size)
{
    seal(copy, size);
    walk(copy, size);
    for (int placed = 0; placed < 2; placed++) {
        seal_entries(copy, size, placed);
        seal(copy, size);
        walk(copy, size);
    }
}

/* An entry whose effects are the next bytes: how many bytes and how many effects they are said to be, then they. */
static void add_entry(struct wire_peer_builder *b, struct wire_reader *r, uint64_t index)
{
    struct wire_entry header = {.group = 1, .term = 9, .index = index, .version = 1};
    uint8_t bytes[WIRE_ENTRY_HEADER_SIZE + UINT8_MAX];
    struct wire_writer w = wire_writer_of(bytes, sizeof bytes);
    struct wire_entry_builder eb;
    size_t size = wire_read_u8(r);
    uint32_t count = wire_read_u8(r);

    if (size > wire_reader_left(r))
        size = wire_reader_left(r);
    wire_entry_begin(&eb, &w, &header);
    wire_write_bytes(&w, wire_read_bytes(r, size), size);
    eb.effect_count = count;
    require(wire_entry_end(&eb) == WIRE_OK);
    wire_peer_add(b, (struct wire_span){bytes, w.size});
}

/* The first byte chooses the kind, the others are a configuration or entries. */
static void walk_body(const uint8_t *data, size_t size)
{
    struct wire_peer_message header = {.kind = WIRE_PEER_APPEND, .group = 1, .from = 1, .to = 2, .term = 9};
    size_t room = WIRE_PEER_HEADER_SIZE + 64 + 40 * size;
    uint8_t *message = malloc(room);
    struct wire_writer w = wire_writer_of(message, room);
    struct wire_reader r = wire_reader_of(data + 1, size - 1);
    struct wire_peer_builder b;

    wire_peer_begin(&b, &w, &header);
    if (data[0] % 2) {
        message[9] = WIRE_PEER_INSTALL;
        wire_write_span(&w, data + 1, size - 1);
    }
    for (uint64_t i = 1; data[0] % 2 == 0 && wire_reader_left(&r) >= 2; i++)
        add_entry(&b, &r, i);
    require(wire_peer_end(&b) == WIRE_OK);
    walk(message, w.size);
    free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    walk(data, size);
    if (size > 0)
        walk_body(data, size);
    if (size < WIRE_PEER_HEADER_SIZE)
        return 0;
    copy = malloc(size);
    memcpy(copy, data, size);
    walk_sealed(copy, size);
    free(copy);
    return 0;
}
