/*
 * Pieces of the storage process's main thread; nobody else includes this.
 */
#ifndef CAIRN_STORAGE_H
#define CAIRN_STORAGE_H

#include "cairn_pg.h"

#include "storage/latch.h"

#include "wire_bytes.h"

/* cairn_thread_latch.c: bind before any engine thread exists; _set is then called by any thread. */
void cairn_thread_latch_bind(Latch *latch);
void cairn_thread_latch_set(void);

/*
 * The collector (cairn_collect.c): which storages have lost their relation.
 *
 * A round: begin -> gone() for each storage, drop those for which it says true -> end. A storage is gone when the file
 * of its relation was absent in this round and in the one before.
 */

/* False: this round must be skipped, because a tablespace cannot be looked into. */
bool cairn_collect_begin(void);
bool cairn_collect_gone(struct wire_span identity, uint64 storage_id);
void cairn_collect_end(void);

#endif
