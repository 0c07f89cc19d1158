/*
 * Futexes and clocks, as the engine's threads use them. Words in shared memory are waited on by other processes too, so
 * nothing here is FUTEX_PRIVATE.
 *
 * A word is waited on by this protocol, which loses no wake-up: the sleeper reads the word, counts itself as a sleeper,
 * looks for work again, waits for the word to change; the waker makes the work visible, then, if there are sleepers,
 * changes the word and wakes.
 */
#ifndef SB_FUTEX_H
#define SB_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SB_NS_PER_S UINT64_C(1000000000)
#define SB_NS_PER_MS UINT64_C(1000000)

/* Returns when woken, after timeout_ns, or for no reason. */
static inline void sb_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
    struct timespec timeout = {(time_t) (timeout_ns / SB_NS_PER_S), (long) (timeout_ns % SB_NS_PER_S)};

    (void) syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

static inline void sb_futex_wake(_Atomic uint32_t *word, int count)
{
    (void) syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

/* The waker's half; the work must have been published before. Adding nothing orders this look at `sleepers` with the
 * sleeper's: one of the two sees the other. */
static inline void sb_futex_announce(_Atomic uint32_t *word, _Atomic uint32_t *sleepers, int count)
{
    if (atomic_fetch_add(sleepers, 0) == 0)
        return;
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    sb_futex_wake(word, count);
}

/* The sleeper's half: between _begin and _end it looks for work again and, finding none, waits. The fence is for wakers
 * that look by fence and load. */
static inline uint32_t sb_futex_sleep_begin(_Atomic uint32_t *word, _Atomic uint32_t *sleepers)
{
    uint32_t value = atomic_load_explicit(word, memory_order_acquire);

    atomic_fetch_add(sleepers, 1);
    atomic_thread_fence(memory_order_seq_cst);
    return value;
}

static inline void sb_futex_sleep_end(_Atomic uint32_t *sleepers)
{
    atomic_fetch_sub_explicit(sleepers, 1, memory_order_relaxed);
}

static inline uint64_t sb_monotonic_ns(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * SB_NS_PER_S + (uint64_t) now.tv_nsec;
}

/* Runs through suspend and never goes back. */
static inline uint64_t sb_boot_ms(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

static inline uint64_t sb_wall_ms(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / SB_NS_PER_MS;
}

#endif
