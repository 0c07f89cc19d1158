/*
 * See cairn_size.h. One request tells the sizes of all storages; the answer is kept in this backend for
 * CAIRN_SIZE_AGE_MS, so that planning costs no hand-over.
 *
 * Failure modes: the storage process down (57P03), a reply that is no list (XX001).
 */
#include "cairn_size.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "cairn_error.h"
#include "cairn_lane.h"
#include "cairn_table.h"

#define CAIRN_SIZE_AGE_MS 5000

typedef struct SizeEntry {
    uint64 storage_id;
    uint64 bytes;
} SizeEntry;

static HTAB *sizes;
static TimestampTz sizes_taken;

static void clear_sizes(void)
{
    HASHCTL control = {.keysize = sizeof(uint64), .entrysize = sizeof(SizeEntry), .hcxt = TopMemoryContext};

    if (sizes)
        hash_destroy(sizes);
    sizes = hash_create("CairnSizes", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* One reply's worth of storages behind `after`, which moves on. False: there are no more. */
static bool take_sizes(struct wire_span *after)
{
    struct wire_request header = {.operation = WIRE_STORAGES};
    CairnRequest request;
    CairnReply reply;
    uint64 count;

    cairn_request_begin(&request, &header, after->size + 16);
    wire_write_span(&request.writer, after->data, after->size);
    cairn_lane_call(&request, &reply);
    if (reply.status != WIRE_OK)
        cairn_error_raise(reply.status, &(CairnSubject){.action = "look up table sizes"});
    count = wire_read_varint(&reply.body);
    for (uint64 i = 0; i < count && !reply.body.failed; i++) {
        struct wire_span identity = wire_read_span(&reply.body);
        uint64 storage_id = wire_read_u64(&reply.body);
        SizeEntry *entry = hash_search(sizes, &storage_id, HASH_ENTER, NULL);

        entry->bytes = wire_read_u64(&reply.body);
        (void) wire_read_u64(&reply.body);
        *after = identity;
    }
    if (wire_reader_finish(&reply.body) != WIRE_OK)
        cairn_error_raise(WIRE_E_BAD_FORMAT, &(CairnSubject){.action = "look up table sizes"});
    /* A reply that is far from full was the last. */
    return count > 0 && reply.body.size > WIRE_MESSAGE_MAX / 4;
}

static void refresh(void)
{
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "CairnSizes", ALLOCSET_DEFAULT_SIZES);
    MemoryContext previous = MemoryContextSwitchTo(memory);
    struct wire_span after = {NULL, 0};

    clear_sizes();
    while (take_sizes(&after))
        CHECK_FOR_INTERRUPTS();
    sizes_taken = GetCurrentTimestamp();
    MemoryContextSwitchTo(previous);
    MemoryContextDelete(memory);
}

uint64 cairn_size_bytes(uint64 storage_id)
{
    SizeEntry *entry;

    if (!sizes || TimestampDifferenceExceeds(sizes_taken, GetCurrentTimestamp(), CAIRN_SIZE_AGE_MS))
        refresh();
    entry = hash_search(sizes, &storage_id, HASH_FIND, NULL);
    return entry ? entry->bytes : 0;
}
