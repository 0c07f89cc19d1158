/*
 * What the ExecutorStart hook tells the item functions: whether the running top-level statement is exactly one
 * item-function call ("bare"), so that one hand-over does it.
 */
#ifndef CAIRN_ITEM_H
#define CAIRN_ITEM_H

#include "cairn_pg.h"

/* Decided in ExecutorStart on the plan; consumed by the function on entry, so that nothing nested sees it. */
bool cairn_item_take_bare(Oid function);

void cairn_item_init(void); /* chains ExecutorStart/ExecutorEnd */

#endif
