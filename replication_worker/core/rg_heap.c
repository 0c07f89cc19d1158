#include "rg_heap.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "wire_error.h"

/* What was set aside for one call; blocks of it may outlive the call, and then it does. */
struct chunk {
    size_t capacity; /* of bytes */
    size_t used;
    size_t live; /* blocks not released */
    bool open;
    _Alignas(16) uint8_t bytes[];
};

struct block {
    struct chunk *chunk; /* NULL: of the heap */
    size_t size;
    _Alignas(16) uint8_t bytes[];
};

/* Set again by each shard, to the same. */
static void *(*_Atomic set_allocate)(size_t size);
static void *(*_Atomic set_reallocate)(void *pointer, size_t size);
static void (*_Atomic set_release)(void *pointer);
static _Thread_local struct chunk *current;

void rg_heap_set(void *(*allocate)(size_t size), void *(*reallocate)(void *pointer, size_t size),
                 void (*release)(void *pointer))
{
    atomic_store(&set_allocate, allocate);
    atomic_store(&set_reallocate, reallocate);
    atomic_store(&set_release, release);
}

bool rg_heap_is_set(void)
{
    return atomic_load(&set_allocate) != NULL && atomic_load(&set_reallocate) != NULL &&
           atomic_load(&set_release) != NULL;
}

static void *heap_allocate(size_t size)
{
    return atomic_load_explicit(&set_allocate, memory_order_relaxed)(size);
}

static void *heap_reallocate(void *pointer, size_t size)
{
    return atomic_load_explicit(&set_reallocate, memory_order_relaxed)(pointer, size);
}

static void heap_release(void *pointer)
{
    atomic_load_explicit(&set_release, memory_order_relaxed)(pointer);
}

int rg_heap_enter(size_t size)
{
    struct chunk *chunk = heap_allocate(sizeof(*chunk) + size);

    if (chunk == NULL)
        return WIRE_E_NOMEM;
    *chunk = (struct chunk){.capacity = size, .open = true};
    current = chunk;
    return WIRE_OK;
}

void rg_heap_leave(void)
{
    struct chunk *chunk = current;

    current = NULL;
    chunk->open = false;
    if (chunk->live == 0)
        heap_release(chunk);
}

static struct block *block_of(void *pointer)
{
    return (struct block *) ((uint8_t *) pointer - offsetof(struct block, bytes));
}

static void *carve(size_t size)
{
    size_t whole = (sizeof(struct block) + size + 15) / 16 * 16;
    struct block *block;

    if (current == NULL || whole > current->capacity - current->used)
        return NULL;
    block = (struct block *) (current->bytes + current->used);
    *block = (struct block){.chunk = current, .size = size};
    current->used += whole;
    current->live++;
    return block->bytes;
}

void *rg_heap_allocate(size_t size)
{
    struct block *block;

    if (size > SIZE_MAX / 2)
        return NULL;
    block = heap_allocate(sizeof(*block) + size);
    if (block == NULL)
        return carve(size);
    block->chunk = NULL;
    block->size = size;
    return block->bytes;
}

void *rg_heap_resize(void *pointer, size_t size)
{
    struct block *block, *resized;
    void *copy;

    if (pointer == NULL)
        return rg_heap_allocate(size);
    block = block_of(pointer);
    if (block->chunk == NULL && size <= SIZE_MAX / 2) {
        resized = heap_reallocate(block, sizeof(*block) + size);
        if (resized != NULL) {
            resized->size = size;
            return resized->bytes;
        }
    }
    copy = rg_heap_allocate(size);
    if (copy == NULL)
        return NULL;
    memcpy(copy, pointer, block->size < size ? block->size : size);
    rg_heap_release(pointer);
    return copy;
}

void rg_heap_release(void *pointer)
{
    struct block *block;
    struct chunk *chunk;

    if (pointer == NULL)
        return;
    block = block_of(pointer);
    chunk = block->chunk;
    if (chunk == NULL)
        heap_release(block);
    else if (--chunk->live == 0 && !chunk->open)
        heap_release(chunk);
}
