/*
 * LIMIT as scans see it: how many rows the node above a scan will take, so that the first batch can be that large. A
 * hint, good for sizes only.
 */
#ifndef CAIRN_LIMIT_H
#define CAIRN_LIMIT_H

#include "cairn_pg.h"

#include "nodes/execnodes.h"

/* At the start of a statement, for each LimitState of its plan: remembered, if it lies directly on a scan without a
 * filter, as long as the statement's memory lasts. */
void cairn_limit_note(LimitState *limit);

/* Rows that the statement wants of a running scan, an IndexScanDesc or a TableScanDesc; 0: not known. */
uint64 cairn_limit_of(const void *scan);

#endif
