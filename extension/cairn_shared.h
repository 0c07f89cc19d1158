/*
 * Shared memory and settings: what every process of the server sees.
 */
#ifndef CAIRN_SHARED_H
#define CAIRN_SHARED_H

#include "cairn_pg.h"

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/spin.h"

#include "wire_lane.h"

/* Settings, all in one sorted table in cairn_settings.c; sizes in kB or MB as their GUC unit says. */
extern int cairn_background_threads;
extern int cairn_block_cache_mb;
extern int cairn_collect_interval_s; /* how often storages without a relation are looked for */
extern int cairn_history_retention_s;
extern int cairn_log_max_mb;
extern int cairn_log_segment_mb;
extern int cairn_max_open_files;
extern int cairn_max_snapshot_age_s;
extern int cairn_rate_limit_mb_per_s;
extern int cairn_reader_threads;
extern int cairn_start_timeout_s;     /* how long a request waits for the storage process */
extern char *cairn_storage_directory; /* empty: "cairn" in the data directory */
extern int cairn_write_buffer_count;
extern int cairn_write_buffer_mb;
extern int cairn_write_set_kb; /* what a transaction holds back before it spills */

void cairn_settings_define(void);

/* Chain the shared memory hooks. Caller: _PG_init while shared_preload_libraries are loaded. */
void cairn_shared_request(void);

/*
 * The region. Errors: 55000 if the library was not loaded by shared_preload_libraries, with the line to add to
 * postgresql.conf as hint.
 */
struct wire_shared *cairn_shared(void);
/* As above, NULL instead of an error. */
struct wire_shared *cairn_shared_or_null(void);

/* Transactions over heap and cairn tables that were decided lately, for snapshots taken in between. */
#define CAIRN_DECIDED_MAX 256

typedef struct CairnDecided {
    uint64 transaction; /* full transaction id */
    uint64 version;     /* of its items */
} CairnDecided;

/* What backends and the storage process's main thread tell each other beside the lanes. */
typedef struct CairnControl {
    pg_atomic_uint32 attached;       /* processes that have a lane; changed by themselves */
    pg_atomic_uint64 decided_newest; /* greatest full transaction id that was ever in the ring; read without a lock */
    slock_t decided_lock;            /* guards the next two */
    uint32 decided_next;             /* grows for ever; the last CAIRN_DECIDED_MAX are in the ring */
    CairnDecided decided[CAIRN_DECIDED_MAX];
    Latch *storage_latch; /* of the storage process; NULL before its first start. Written by it, read without a lock: a
                             latch in shared memory stays valid after its owner is gone */
} CairnControl;

/* NULL if the library was not loaded by shared_preload_libraries. */
CairnControl *cairn_control(void);

/* Set shared->state and wake who waits for it. Caller: main thread of the storage process. */
void cairn_shared_set_state(enum wire_storage_state state);

#endif
