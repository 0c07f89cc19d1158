/*
 * What the ExecutorStart hook tells the item functions: whether the running top-level statement is exactly one
 * item-function call ("bare"), so that one hand-over does it.
 */
#ifndef CAIRN_ITEM_H
#define CAIRN_ITEM_H

#include "cairn_pg.h"

/* Decided in ExecutorStart on the plan; consumed by the function on entry, so that nothing nested sees it. */
bool cairn_item_take_bare(Oid function);

/* The same for an INSERT of one row, asked by the table access method when the row comes. */
bool cairn_item_take_bare_insert(void);

/* A utility command starts: whatever it writes (COPY has no executor of its own) is not the statement that was noted.
 */
void cairn_item_forget_bare(void);

void cairn_item_init(void); /* chains ExecutorStart/ExecutorEnd */

#endif
