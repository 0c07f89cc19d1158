/*
 * Reading rows as one statement sees them: what is stored, at a snapshot, with the transaction's own writes laid over
 * it.
 *
 * A view says which table, at which version, up to which own command. cairn_get reads one key; a range walks keys in
 * either direction, in batches; the next batch is on its way while the second half of one is being read (one prefetch per
 * backend: a second walk does without while the first has it).
 */
#ifndef CAIRN_RANGE_H
#define CAIRN_RANGE_H

#include "cairn_pg.h"

#include "access/sdir.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "wire_bytes.h"

typedef struct CairnView {
    Relation relation;
    uint64 storage_id;
    uint64 snapshot;  /* version to read at; 0: the newest */
    CommandId curcid; /* own commands before it are visible; InvalidCommandId: all */
} CairnView;

/* A row as the stores have it. */
typedef struct CairnRow {
    struct wire_span key;
    struct wire_span item;
    bool own; /* written by this transaction */
} CairnRow;

/* snapshot: NULL, or one that is no MVCC snapshot, sees the newest version of everything. Errors: those of
 * cairn_table_of and cairn_xact_snapshot. */
void cairn_view_init(CairnView *view, Relation relation, Snapshot snapshot);

/* Read one key. The row lives in the current memory context. Errors: 57P03, 57014, 72000, XX001. */
bool cairn_get(const CairnView *view, struct wire_span key, CairnRow *row);

typedef struct CairnRange CairnRange;

/* A walk over the whole table, positioned before its first row; lives in the current memory context. first_count: rows
 * in the first batch, the guess of who may not need many; 0: as many as fit. */
CairnRange *cairn_range_begin(const CairnView *view, int first_count);

/* Restrict to [low, high) (copied; high empty: no bound; at most WIRE_KEY_MAX + 1 bytes each) and go back to the start.
 */
void cairn_range_set(CairnRange *range, struct wire_span low, struct wire_span high);
void cairn_range_rewind(CairnRange *range);
/* The caller will take so many rows from the start, as far as it knows: batches are sized by it, more may be read.
 * Forgotten by _set and _rewind. */
void cairn_range_expect(CairnRange *range, uint64 rows);

/*
 * The next row in a direction; the direction may change at any time. From the start, backward begins at the end. False:
 * no more rows; a step in the other direction is then at the row last seen. The row, and what was decoded into
 * cairn_range_memory, lasts until the next call.
 */
bool cairn_range_next(CairnRange *range, ScanDirection direction, CairnRow *row);

/* Reset by each cairn_range_next. */
MemoryContext cairn_range_memory(CairnRange *range);
const CairnView *cairn_range_view(const CairnRange *range);

void cairn_range_end(CairnRange *range);

#endif
