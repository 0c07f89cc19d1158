/*
 * Sizes of storages, for the planner: approximate, and up to some seconds old.
 */
#ifndef CAIRN_SIZE_H
#define CAIRN_SIZE_H

#include "cairn_pg.h"

/* Bytes of current items, 0 if the storage was made since the last look. Errors: 57P03. */
uint64 cairn_size_bytes(uint64 storage_id);

#endif
