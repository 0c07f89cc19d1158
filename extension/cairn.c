/*
 * Loading of the library: settings, shared memory, hooks, the storage process.
 *
 * All of it happens in the postmaster while shared_preload_libraries are loaded. A library that is loaded later, by a
 * function of the extension, defines nothing: every function then fails with 55000 and names the line that is missing
 * in postgresql.conf (cairn_shared()).
 */
#include "cairn_pg.h"

#include "postmaster/bgworker.h"

#include "cairn_item.h"
#include "cairn_shared.h"
#include "cairn_utility.h"
#include "cairn_writeset.h"

#define RESTART_S 1

PG_MODULE_MAGIC;

void _PG_init(void);

static void register_storage_process(void)
{
    BackgroundWorker worker = {0};

    worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = RESTART_S;
    strlcpy(worker.bgw_library_name, "cairn", BGW_MAXLEN);
    strlcpy(worker.bgw_function_name, "cairn_storage_main", BGW_MAXLEN);
    strlcpy(worker.bgw_name, "cairn storage", BGW_MAXLEN);
    strlcpy(worker.bgw_type, "cairn storage", BGW_MAXLEN);
    RegisterBackgroundWorker(&worker);
}

void _PG_init(void)
{
    if (!process_shared_preload_libraries_in_progress)
        return;
    cairn_settings_define();
    cairn_shared_request();
    cairn_xact_init();
    cairn_item_init();
    cairn_utility_init();
    register_storage_process();
}
