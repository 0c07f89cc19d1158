/*
 * The backend's end of its lane: send a request, wait, copy the reply out. The only file on the Postgres side that
 * touches a ring or a slot.
 *
 * A request is built in a buffer that the lane lends (it grows beyond a piece in memory of its own), sent, and answered
 * into a CairnReply whose bytes live in the caller's memory context. Waiting watches slot, latch and postmaster death
 * at once (futex_waitv; 100 ms FUTEX_WAIT where the kernel lacks it). A read is cancellable: the slot is abandoned. A
 * write holds interrupts until its outcome is known, unless it changes nothing. While the storage process is down or starting, sending waits up to
 * cairn.start_timeout, then fails with 57P03.
 */
#ifndef CAIRN_LANE_H
#define CAIRN_LANE_H

#include "cairn_pg.h"

#include "lib/stringinfo.h"

#include "wire_request.h"

typedef struct CairnReply {
    int status; /* enum wire_error */
    uint32 detail;
    uint64 snapshot;
    struct wire_reader body; /* over bytes in the request's room, or palloc'd in the context current at the call */
} CairnReply;

/* Start a request in `request` (initialised here, in the current context): header written, body to be appended with the
 * wire functions through cairn_request_writer. */
typedef struct CairnRequest {
    struct wire_writer writer; /* data grows: use cairn_request_reserve before writing more than what is left */
    enum wire_operation operation;
    uint16 flags;
    uint8 *room;          /* WIRE_PIECE_MAX bytes for a reply that fits them, NULL at first: none */
    bool changes_nothing; /* of a write: cancellable as a read is */
} CairnRequest;

void cairn_request_begin(CairnRequest *request, const struct wire_request *header, Size body_estimate);
/* Make room for `more` bytes. Errors: 54000 beyond WIRE_MESSAGE_MAX. */
void cairn_request_reserve(CairnRequest *request, Size more);

/* Send and wait. Errors raised: 57P03 (down), 57014 (cancelled, reads only), 54000; 53200 or XX001 when the reply was
 * lost on its way (what became of a write is unknown then). All other results are in reply->status: the caller knows
 * the table and the key. */
void cairn_lane_call(CairnRequest *request, CairnReply *reply);
/* As above, but never raises and is never interrupted: returns false if the storage process is gone. For commit and
 * abort callbacks. */
bool cairn_lane_call_quietly(CairnRequest *request, CairnReply *reply);

/* Asynchronous: submit on slot 1 (prefetch), collect later. At most one outstanding per backend; a pending one is
 * abandoned by _forget, at transaction end, and by a later _send. */
void cairn_lane_send(CairnRequest *request);
void cairn_lane_collect(CairnReply *reply);
void cairn_lane_forget(void);
/* Is a prefetch outstanding? */
bool cairn_lane_pending(void);

/* Number of this backend's lane. */
uint32 cairn_lane_number(void);

/* Newest snapshot; published in the lane until released (transaction end). Costs no hand-over. */
uint64 cairn_lane_snapshot_take(void);
void cairn_lane_snapshot_release(void);
/* Read a little below the snapshot just taken: publish that. Should the horizon be above already, reads at it fail with
 * 72000. */
void cairn_lane_snapshot_lower(uint64 version);

/* Totals of this backend since the last reset, for EXPLAIN. */
typedef struct CairnUsage {
    uint64 requests;
    uint64 items_read;
    uint64 bytes_read;
    uint64 items_written;
} CairnUsage;
extern CairnUsage cairn_usage;

#endif
