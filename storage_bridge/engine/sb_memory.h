/*
 * The engine's allocator: malloc with a count, so that a test can assert that nothing is left and can fail the n-th
 * allocation; and a growing byte buffer.
 *
 * Caller: any engine thread. Locks: none (atomic counters).
 */
#ifndef SB_MEMORY_H
#define SB_MEMORY_H

#include "wire_bytes.h"

/* Zeroed memory, or NULL. size > 0. */
void *sb_alloc(size_t size);
/* As realloc; on NULL the old block stays. New bytes are not zeroed. */
void *sb_realloc(void *block, size_t size);
/* NULL is allowed. */
void sb_free(void *block);

/* Blocks and bytes allocated and not freed. */
uint64_t sb_memory_blocks(void);
uint64_t sb_memory_bytes(void);
/* Tests: the n-th allocation from now on fails once (1 = the next); 0 turns it off. */
void sb_memory_fail_at(uint64_t n);

/* A buffer that grows. Zero-initialised is empty and valid. */
struct sb_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* Room for `more` bytes behind size. Errors: WIRE_E_NOMEM, the buffer is unchanged. */
int sb_buffer_reserve(struct sb_buffer *buffer, size_t more);
int sb_buffer_append(struct sb_buffer *buffer, const void *data, size_t size);
void sb_buffer_close(struct sb_buffer *buffer);

static inline struct wire_span sb_buffer_span(const struct sb_buffer *buffer)
{
    return (struct wire_span){buffer->data, buffer->size};
}

/* Copy of a span; *out owns it (sb_free(out->data) by sb_span_free). An empty span gives data == NULL. */
int sb_span_copy(struct wire_span span, struct wire_span *out);
void sb_span_free(struct wire_span *span);

/* Room for one more element behind `count`: *array is the caller's, of *capacity elements, and at least doubles. Errors:
 * WIRE_E_NOMEM (nothing has changed). */
int sb_array_grow(void **array, size_t *capacity, size_t count, size_t element);

#endif
