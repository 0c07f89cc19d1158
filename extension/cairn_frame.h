/*
 * The state of the current transaction, shared by its three files: cairn_writeset.c (versions and spilling),
 * cairn_xact.c (locks, callbacks, commit), cairn_snapshot.c (snapshots).
 *
 * One frame per subtransaction that wrote or locked something, newest first. A version belongs to a frame; when a
 * subtransaction commits, its frame is merged into its parent's; when it aborts, the versions of its frame, always the
 * newest of their chains, are cut, its locks released and its spilled intents aborted.
 */
#ifndef CAIRN_FRAME_H
#define CAIRN_FRAME_H

#include "cairn_lane.h"
#include "cairn_skiplist.h"
#include "cairn_writeset.h"

/* One transaction id under which intents of a frame were spilled, and whose commands they are. */
typedef struct CairnSpill {
    uint64 transaction;
    CommandId least;
    CommandId greatest;
} CairnSpill;

typedef struct CairnFrame {
    struct CairnFrame *parent; /* the next older frame */
    struct CairnFrame *merged; /* not NULL: this frame's subtransaction committed into that one */
    SubTransactionId subtransaction;
    struct CairnVersion *versions; /* newest first */
    struct CairnVersion *versions_end;
    SubTransactionId *owners; /* subtransactions under which locks were taken */
    int owner_count;
    int owner_capacity;
    CairnSpill *spills;
    int spill_count;
    int spill_capacity;
} CairnFrame;

/* One version of a key in the write set. */
typedef struct CairnVersion {
    struct CairnVersion *older;      /* of the same key */
    struct CairnVersion *frame_next; /* older one of the same frame */
    CairnSkipNode *node;
    CairnFrame *frame;
    CommandId cid;
    bool deleted;
    Size size;
    uint8 item[FLEXIBLE_ARRAY_MEMBER];
} CairnVersion;

typedef struct CairnXact {
    MemoryContext context;  /* frames and spills; child of TopTransactionContext; NULL: nothing yet */
    MemoryContext versions; /* the map and the versions; replaced by each spill */
    CairnSkipList *map;
    CairnFrame *newest;
    uint64 owner;      /* 0: none yet */
    uint64 decider;    /* full transaction id once prepared, else 0 */
    Size spill_above;  /* memory of the write set at which to spill again, if above cairn.write_set */
    bool spill_unread; /* spilled since the last wait for spills to be readable */
    bool committed;    /* the COMMIT request was answered, or may have been carried out */
} CairnXact;

extern CairnXact cairn_xact;

/* The frame of the current subtransaction, made at need. */
CairnFrame *cairn_xact_frame(void);
/* Follow merges. */
CairnFrame *cairn_frame_of(CairnVersion *version);
/* All spilled transaction ids of all frames, big-endian, into out[8 * WIRE_OWN_TRANSACTIONS_MAX]; those a snapshot with
 * curcid may see, or all (InvalidCommandId). Returns the size. */
Size cairn_xact_own_transactions(uint8 *out, CommandId curcid);

void cairn_writeset_create(void);
/* As cairn_writeset_put, for a subtransaction that is not the current one; no frame with a version of the key is newer.
 */
void cairn_writeset_put_in(CairnFrame *frame, struct wire_span key, struct wire_span item, CommandId cid);
void cairn_writeset_cut(CairnFrame *frame);
/* Write all to the storage process as intents. */
void cairn_writeset_spill(void);
/* Wait until readers find what was spilled: a spill is answered before it is durable. */
void cairn_writeset_await_spill(void);
/* Append `varint count, effects` of the newest versions of every key. */
void cairn_writeset_effects(CairnRequest *request);
Size cairn_writeset_memory(void);

/* cairn_snapshot.c */
void cairn_snapshot_init(void);
void cairn_snapshot_at_xact_end(void);
void cairn_snapshot_at_subxact_abort(SubTransactionId subtransaction);
void cairn_snapshot_at_subxact_commit(SubTransactionId subtransaction, SubTransactionId parent);

/* cairn_deciding.c: heap changes and items of one transaction become visible at two moments; snapshots are made to see
 * both or neither. */
void cairn_deciding_set(FullTransactionId transaction);
void cairn_deciding_send(void);
void cairn_deciding_finish(uint64 version);
/* The version that goes with a heap snapshot: takes it and publishes it in the lane. */
uint64 cairn_deciding_snapshot(Snapshot snapshot);

#endif
