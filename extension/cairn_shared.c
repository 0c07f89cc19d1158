/*
 * The shared memory: the region of lanes, and a little control structure beside it. Both are made by the postmaster,
 * again after every crash, and never change place.
 *
 * A lane per PGPROC of a backend: the process number is the lane number, free again only after the process has let go
 * of its lane.
 */
#include "cairn_shared.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

static shmem_request_hook_type previous_request;
static shmem_startup_hook_type previous_startup;
static struct wire_shared *region;
static CairnControl *control;

static void request_memory(void)
{
    if (previous_request)
        previous_request();
    RequestAddinShmemSpace(CACHELINEALIGN(wire_shared_size((uint32) MaxBackends)) +
                           CACHELINEALIGN(sizeof(CairnControl)));
}

static void make_memory(void)
{
    struct wire_shared *lanes;
    bool found;

    if (previous_startup)
        previous_startup();
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    lanes = ShmemInitStruct("cairn lanes", wire_shared_size((uint32) MaxBackends), &found);
    if (!found)
        wire_shared_init(lanes, (uint32) MaxBackends);
    control = ShmemInitStruct("cairn control", sizeof(CairnControl), &found);
    if (!found) {
        pg_atomic_init_u32(&control->attached, 0);
        control->storage_latch = NULL;
        pg_atomic_init_u64(&control->decided_newest, 0);
        SpinLockInit(&control->decided_lock);
        control->decided_next = 0;
    }
    LWLockRelease(AddinShmemInitLock);
    region = lanes;
}

void cairn_shared_request(void)
{
    previous_request = shmem_request_hook;
    shmem_request_hook = request_memory;
    previous_startup = shmem_startup_hook;
    shmem_startup_hook = make_memory;
}

struct wire_shared *cairn_shared(void)
{
    if (!region)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("cairn must be loaded via shared_preload_libraries"),
                        errhint("Add the line \"shared_preload_libraries = 'cairn'\" to postgresql.conf, or \"cairn\" "
                                "to the list there, and restart the server.")));
    return region;
}

struct wire_shared *cairn_shared_or_null(void)
{
    return region;
}

CairnControl *cairn_control(void)
{
    return control;
}

void cairn_shared_set_state(enum wire_storage_state state)
{
    atomic_store(&region->state, (uint32) state);
    (void) syscall(SYS_futex, &region->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
