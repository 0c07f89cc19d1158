/* See sb_memory.h. Each block is preceded by its size, so that frees can be counted. */
#include "sb_memory.h"

#include <stdatomic.h>
#include <stdlib.h>

struct header {
    size_t size;
    size_t unused; /* keeps what follows aligned to 16 bytes */
};

static _Atomic uint64_t blocks;
static _Atomic uint64_t bytes;
static _Atomic uint64_t fail_at;

static bool must_fail(void)
{
    return atomic_load_explicit(&fail_at, memory_order_relaxed) != 0 && atomic_fetch_sub(&fail_at, 1) == 1;
}

void *sb_alloc(size_t size)
{
    struct header *h = must_fail() ? NULL : calloc(1, sizeof(*h) + size);

    if (!h)
        return NULL;
    h->size = size;
    atomic_fetch_add_explicit(&blocks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes, size, memory_order_relaxed);
    return h + 1;
}

void *sb_realloc(void *block, size_t size)
{
    struct header *old = block ? (struct header *) block - 1 : NULL;
    size_t old_size = old ? old->size : 0;
    struct header *h;

    if (!block)
        return sb_alloc(size);
    h = must_fail() ? NULL : realloc(old, sizeof(*h) + size);
    if (!h)
        return NULL;
    h->size = size;
    atomic_fetch_add_explicit(&bytes, size - old_size, memory_order_relaxed);
    return h + 1;
}

void sb_free(void *block)
{
    struct header *h = block ? (struct header *) block - 1 : NULL;

    if (!h)
        return;
    atomic_fetch_sub_explicit(&blocks, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&bytes, h->size, memory_order_relaxed);
    free(h);
}

uint64_t sb_memory_blocks(void)
{
    return atomic_load(&blocks);
}

uint64_t sb_memory_bytes(void)
{
    return atomic_load(&bytes);
}

void sb_memory_fail_at(uint64_t n)
{
    atomic_store(&fail_at, n);
}

int sb_buffer_reserve(struct sb_buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    uint8_t *data;

    if (more <= buffer->capacity - buffer->size)
        return WIRE_OK;
    if (more > SIZE_MAX / 4 - buffer->size)
        return WIRE_E_NOMEM;
    while (capacity - buffer->size < more)
        capacity *= 2;
    data = sb_realloc(buffer->data, capacity);
    if (!data)
        return WIRE_E_NOMEM;
    buffer->data = data;
    buffer->capacity = capacity;
    return WIRE_OK;
}

int sb_buffer_append(struct sb_buffer *buffer, const void *data, size_t size)
{
    int status = sb_buffer_reserve(buffer, size);

    if (status == WIRE_OK && size > 0) {
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
    }
    return status;
}

void sb_buffer_close(struct sb_buffer *buffer)
{
    sb_free(buffer->data);
    *buffer = (struct sb_buffer){0};
}

int sb_span_copy(struct wire_span span, struct wire_span *out)
{
    uint8_t *data = NULL;

    if (span.size > 0) {
        data = sb_alloc(span.size);
        if (!data)
            return WIRE_E_NOMEM;
        memcpy(data, span.data, span.size);
    }
    *out = (struct wire_span){data, span.size};
    return WIRE_OK;
}

void sb_span_free(struct wire_span *span)
{
    sb_free((void *) span->data);
    *span = (struct wire_span){0};
}

int sb_array_grow(void **array, size_t *capacity, size_t count, size_t element)
{
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *grown;

    if (count < *capacity)
        return WIRE_OK;
    grown = sb_realloc(*array, wanted * element);
    if (!grown)
        return WIRE_E_NOMEM;
    *array = grown;
    *capacity = wanted;
    return WIRE_OK;
}
