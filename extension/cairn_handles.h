/*
 * Row handles: what stands in ctid for a row of a cairn table, which has no place of its own.
 *
 * A handle names one version of one row (its key, and the version or, for own writes, the command that saw it) and is
 * valid in the transaction that made it. The same version always gets the same handle, so ctids can be compared. 128
 * handles make a pseudo-block. Numbers go on from transaction to transaction and begin at a random one, so that a
 * handle kept from elsewhere is an error, never another row.
 *
 * Who gets one. Handles cost memory for as long as the transaction lives, so rows get one only where the row can be
 * asked for by it again:
 *   - rows of a scan whose plan node computes ctid: the query names it, or Postgres does, to find rows again after
 * waiting for a lock on a row of another table (row marks). The plan hook tells the scan's slot;
 *   - inserted rows of a table with AFTER ROW triggers, which fetch the row when they fire.
 * All other rows carry cairn_handle_none(), also what index scans pass on to the table: the row itself waits in the
 * scan (cairn_fetch.h). At most CAIRN_HANDLES_MAX per transaction.
 */
#ifndef CAIRN_HANDLES_H
#define CAIRN_HANDLES_H

#include "cairn_pg.h"

#include "storage/itemptr.h"

#include "cairn_range.h"

#define CAIRN_HANDLES_PER_BLOCK 128
#define CAIRN_HANDLES_MAX (4 * 1024 * 1024)

/* A well-formed item pointer that is no handle. */
ItemPointerData cairn_handle_none(void);

/* The handle of a row that `view` showed. Errors: 54000 too many. */
ItemPointerData cairn_handle_of_row(const CairnView *view, const CairnRow *row);

/* The handle of a row of the running transaction as a command after `cid` sees it. */
ItemPointerData cairn_handle_of_insert(struct wire_span key, CommandId cid);

/*
 * The row version that a handle names. The row lives in the current memory context.
 * snapshot: as cairn_view_init takes it; an MVCC snapshot to which another version is visible, or none, finds nothing.
 * Errors: 55000 if it is no handle of this transaction and this table.
 */
bool cairn_handle_fetch(Relation relation, const ItemPointerData *tid, Snapshot snapshot, CairnRow *row);

#endif
