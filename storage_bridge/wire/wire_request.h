/*
 * Requests of backends to the storage process, and its replies.
 *
 *   request: u8 format 1 | u8 operation | u16 flags | u32 subtransaction | u64 snapshot | u64 owner | u64 storage id |
 *            span transactions | body
 *
 *   snapshot      version to read at; 0 = the newest committed
 *   owner         who asks: lane number in the high 32 bits, the backend's transaction counter in the low; lock owners
 *                 are (owner, subtransaction)
 *   storage id    of the table the request is about; keys in the body carry it too and must agree
 *   transactions  array of u64: ids of the asker's own intents that the request may see (they count as committed to it)
 *
 * Operations, their queue, body and reply body:
 *
 *   GET        reads   varint count, (span key)*  ->  varint count, (u8 present, [span item])* in the order asked
 *   SCAN       scans   u8 direction (0 forward, 1 backward), span low (inclusive), span high (exclusive, empty: none),
 *                      varint limit (items, 0: none), varint target bytes
 *                      ->  u8 more, u32 count, (span key, span item)*; if more: resume behind the last key returned
 *                      With the flag SHORT: reads; the limit is from 1 to WIRE_SHORT_SCAN_ITEMS, the target at most
 *                      WIRE_SCAN_REPLY_TARGET.
 *   WRITE      writes  varint count, (operation)*, see below
 *                      ->  varint count, (u8 existed, u8 has_old, [span old], u8 has_new, [span new])*
 *   COMMIT     writes  u64 decider (0: commit now; else prepare), varint count, (effect PUT/DELETE as in wire_entry.h)*
 *                      ->  u64 version (0 if prepared)
 *                      `transactions` lists intents to commit with it. With decider, or beyond one entry, the effects
 *                      become intents first. A key that carries an own intent whose transaction is not listed:
 *                      WIRE_E_TRANSACTION_EXISTS. Locks go at once; what is prepared keeps them until it is decided.
 *   SPILL      writes  u64 transaction (0: begin one), varint count, (effect PUT/DELETE)*
 *                      ->  u64 transaction, u8 rewrote
 *                      A key that carries an own intent already keeps its transaction (rewrote = 1), which must be in
 *                      `transactions`, else WIRE_E_TRANSACTION_EXISTS. The intents replace the subtransaction's locks.
 *                      Answered as soon as it is evaluated, durable or not: before the asker reads with its transactions
 *                      in the header it sends a SPILL without effects that names one of them, which is answered when
 *                      all that was evaluated is applied.
 *   ABORT      writes  varint count, (u32 subtransaction)*: release locks of these owners (count 0: all of the owner),
 *                      and abort `transactions`  ->  nothing
 *                      WIRE_E_NO_TRANSACTION: one of them was not the owner's, or decided; the rest is done.
 *   DECIDE     writes  u64 decider, u8 commit: resolve what was prepared for it  ->  u64 version
 *   STORAGE    writes  span identity  ->  u64 storage id: a new storage for the relation
 *   LOOKUP     reads   span identity  ->  u64 storage id (0: none)
 *   DROP       writes  u64 storage id  ->  nothing
 *   STORAGES   reads   span identity after which to start
 *                      ->  varint count, (span identity, u64 storage id, u64 approximate bytes items, u64 history)*
 *   STATUS     reads   nothing  ->  varint count, (span name, u64 value)*
 *
 * A WRITE operation: u8 kind | u8 flags | span key | span argument | span condition | span overlay
 *
 *   kind       PUT (argument: item), DELETE, UPDATE (argument: update), LOCK (nothing changes; the lock stays;
 *              transactional only)
 *   flags      RETURN_OLD, RETURN_NEW; MUST_NOT_EXIST (refused with WIRE_E_EXISTS instead of WIRE_E_CONDITION: SQL's
 *              INSERT); HAS_OVERLAY: the asker's transaction has changed this key: evaluate against `overlay` (an item;
 *              empty: deleted) instead of the newest version
 *
 * Without the flag TRANSACTIONAL a WRITE is evaluated, logged and acknowledged at once, all operations or none; a key
 * with an own intent is refused with WIRE_E_TRANSACTION_EXISTS, an UPDATE whose item counts more than
 * WIRE_ITEM_SIZE_SURE with WIRE_E_ITEM_SIZE: the backend, which knows names and key, counts it in a transaction. With it
 * every key is locked for (owner, subtransaction) and only evaluated; the effect comes back in `new` (RETURN_NEW implied; an absent new image means "no item") and
 * joins the backend's write set. With FIRST_UPDATER a key whose newest version is above `snapshot` is refused with
 * WIRE_E_CHANGED (REPEATABLE READ), with WIRE_E_SNAPSHOT_TOO_OLD where a snapshot below the horizon can not tell.
 *
 *   reply: u8 format 1 | u8 0 | u16 status (enum wire_error) | u32 detail | u64 snapshot | body
 *
 *   detail     index of the operation or key that failed
 *   snapshot   the version read at, or the version written
 *   body       empty unless status is WIRE_OK, but:
 *              on WIRE_E_LOCKED: u64 owner, u32 subtransaction of the holder;
 *              on WIRE_E_CONDITION with RETURN_OLD: one (u8 has_old, [span old]) of the operation that failed.
 *
 * Caller: anyone. Locks: none. Views borrow.
 */
#ifndef WIRE_REQUEST_H
#define WIRE_REQUEST_H

#include "wire_bytes.h"
#include "wire_entry.h"
#include "wire_limits.h"

#define WIRE_REQUEST_FORMAT 1
#define WIRE_REPLY_HEADER_SIZE 16
#define WIRE_OWN_TRANSACTIONS_MAX 1024

enum wire_operation {
    WIRE_GET = 1,
    WIRE_SCAN = 2,
    WIRE_WRITE = 3,
    WIRE_COMMIT = 4,
    WIRE_SPILL = 5,
    WIRE_ABORT = 6,
    WIRE_DECIDE = 7,
    WIRE_STORAGE = 8,
    WIRE_LOOKUP = 9,
    WIRE_DROP = 10,
    WIRE_STORAGES = 11,
    WIRE_STATUS = 12,
    WIRE_OPERATION_COUNT
};

enum wire_request_flags { WIRE_TRANSACTIONAL = 0x01, WIRE_FIRST_UPDATER = 0x02, WIRE_SHORT = 0x04 };

enum wire_write_kind { WIRE_WRITE_PUT = 1, WIRE_WRITE_DELETE = 2, WIRE_WRITE_UPDATE = 3, WIRE_WRITE_LOCK = 4 };

enum wire_write_flags {
    WIRE_RETURN_OLD = 0x01,
    WIRE_RETURN_NEW = 0x02,
    WIRE_MUST_NOT_EXIST = 0x04,
    WIRE_HAS_OVERLAY = 0x08
};

struct wire_request {
    enum wire_operation operation;
    uint16_t flags;
    uint32_t subtransaction;
    uint64_t snapshot;
    uint64_t owner;
    uint64_t storage_id;
    struct wire_span transactions; /* count * 8 bytes, big-endian */
    struct wire_reader body;
};

struct wire_write_op {
    enum wire_write_kind kind;
    uint8_t flags;
    struct wire_span key;
    struct wire_span argument;
    struct wire_span condition;
    struct wire_span overlay;
};

struct wire_reply {
    int status;
    uint32_t detail;
    uint64_t snapshot;
    struct wire_reader body;
};

/* Write the header; the body follows by the writer. `body` of the header is ignored. */
void wire_request_write(struct wire_writer *w, const struct wire_request *header);
/* Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_VERSION, WIRE_E_BAD_FORMAT (operation, flags, transactions not a multiple of 8
 * or too many). The body is checked by who reads it. */
int wire_request_open(const void *data, size_t size, struct wire_request *out);
/* Is `transaction` in the request's list? */
bool wire_request_owns(const struct wire_request *request, uint64_t transaction);

void wire_write_op_write(struct wire_writer *w, const struct wire_write_op *op);
/* Checks bounds, kind, flags (no overlay without its flag), key (wire_entry_check_key). Sets r->failed on error.
 * Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT, WIRE_E_KEY_SIZE. */
int wire_write_op_read(struct wire_reader *r, struct wire_write_op *out);

/* Effects in bodies: wire_effect_write and wire_effect_read of wire_entry.h. */

/* Write the header; the body follows by the writer. `body` of the header is ignored; a status that is no code travels
 * as WIRE_E_INTERNAL. */
void wire_reply_write(struct wire_writer *w, const struct wire_reply *header);
/* Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_VERSION, WIRE_E_BAD_FORMAT (status). The body is checked by who reads it. */
int wire_reply_open(const void *data, size_t size, struct wire_reply *out);

#endif
