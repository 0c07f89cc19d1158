/*
 * The only Postgres call that an engine thread causes: setting the latch of the storage process's main thread.
 *
 * In a process's own case SetLatch is a store, a barrier and kill(): safe in any thread. The signal is blocked in every
 * thread and read from a signalfd by the main one.
 */
#include "cairn_storage.h"

static Latch *target;

void cairn_thread_latch_bind(Latch *latch)
{
    target = latch;
}

void cairn_thread_latch_set(void)
{
    int saved_errno = errno;

    SetLatch(target);
    errno = saved_errno;
}
