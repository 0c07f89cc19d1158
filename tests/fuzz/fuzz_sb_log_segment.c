/* Any bytes as header page, as entry, as the body of a batch whose checksums are right, and as a whole segment: nothing
 * is read behind the end, every walk ends. */
#include <stdlib.h>

/* The one engine file with a decoder, and it needs no other: the fuzzing library holds wire/ alone. */
#include "sb_log_segment.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_all(const uint8_t *data, size_t size)
{
    struct sb_log_walk walk = {
        .data = data, .size = size, .identity = 1, .segment = 1, .offset = SB_LOG_PAGE, .next_batch = 1};
    struct sb_log_record record;
    struct sb_log_batch batch;
    struct sb_log_tail tail;

    while (sb_log_walk_next(&walk, &batch) == WIRE_OK) {
        uint64_t position = 0;

        while (sb_log_batch_next(&batch, &position, &record) == WIRE_OK)
            if (record.entry.payload.data + record.entry.payload.size > data + size)
                abort();
    }
    sb_log_walk_tail(&walk, &tail);
    if (tail.erase_end > size || (tail.erase_end > 0 && tail.erase_end < walk.offset))
        abort();
}

/* A segment of exactly the bytes needed, with `data` as the body of its one batch. */
static void walk_sealed(const uint8_t *data, size_t size)
{
    size_t body = size / SB_LOG_ALIGN * SB_LOG_ALIGN;
    size_t total = SB_LOG_PAGE + SB_LOG_BATCH_HEADER + body;
    struct sb_log_batch batch = {.sequence = 1, .body_size = body, .count = 1};
    uint8_t *segment = calloc(1, total);

    if (!segment)
        abort();
    if (body > 0)
        memcpy(segment + SB_LOG_PAGE + SB_LOG_BATCH_HEADER, data, body);
    sb_log_batch_seal(&batch, (struct sb_log_spot){1, 1, SB_LOG_PAGE}, segment + SB_LOG_PAGE);
    walk_all(segment, total);
    free(segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sb_log_segment_header header;
    struct sb_log_record record;

    sb_log_segment_decode(data, size, &header);
    sb_log_record_decode(data, size, (struct sb_log_spot){1, 1, SB_LOG_PAGE}, &record);
    walk_sealed(data, size);
    if (size >= SB_LOG_PAGE)
        walk_all(data, size);
    return 0;
}
