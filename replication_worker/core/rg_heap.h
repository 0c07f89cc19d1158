/*
 * Memory of the core and of the library under it. The library does not survive a failed allocation everywhere, so it
 * never sees one: before it is entered a chunk is set aside that holds whatever the call can need, and what the heap
 * refuses then comes from there. Memory runs out at rg_heap_enter or not at all.
 *
 * Caller: the thread that owns the group. Locks: none; the chunk in use is the thread's own.
 */
#ifndef RG_HEAP_H
#define RG_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Process-wide, before anything else. */
void rg_heap_set(void *(*allocate)(size_t size), void *(*reallocate)(void *pointer, size_t size),
                 void (*release)(void *pointer));
bool rg_heap_is_set(void);

/* From here to rg_heap_leave allocations of `size` bytes in all cannot fail (each takes RG_HEAP_OVERHEAD more). Not
 * nested. Errors: WIRE_E_NOMEM. */
#define RG_HEAP_OVERHEAD 32
int rg_heap_enter(size_t size);
void rg_heap_leave(void);

/* As malloc, realloc and free. */
void *rg_heap_allocate(size_t size);
void *rg_heap_resize(void *pointer, size_t size);
void rg_heap_release(void *pointer);

#endif
