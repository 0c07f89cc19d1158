/*
 * Log entries: what was decided, to be applied in order by everyone who has the log.
 *
 *   0  u32 size of the whole entry      4  u32 checksum of the bytes from 8 on, seeded with 0
 *   8  u8  format, 1    9  u8 0    10 u16 0    12  u32 effect count
 *  16  u64 group       24  u64 term           32  u64 index (1-based, without gaps per group)
 *  40  u64 version: hybrid logical clock, strictly increasing per group
 *  48  u64 transaction: 0, or the id whose intents PUT and DELETE of this entry are
 *  56  effects: u8 kind, then
 *        PUT          span key, span item (its version field is set from the entry when applied)
 *        DELETE       span key
 *        STORAGE      span identity (relation), u64 storage id: maps the relation to the storage; replaces and drops
 *                     what it mapped to before
 *        DROP         u64 storage id: deletes all keys of the storage and its mapping
 *        BEGIN        u64 transaction, u64 owner lane and number: a transaction that writes intents
 *        PREPARE      u64 transaction, u64 decider: intents are complete; the decision is the commit state of Postgres
 *                     transaction `decider`
 *        COMMIT       u64 transaction: its intents have the version of this entry from now on
 *        ABORT        u64 transaction: its intents never were
 *        SETTLE       u64 transaction, span key: stamp (committed) or undo (aborted) one intent
 *        FORGET       u64 transaction: no intent refers to it any more
 *        HORIZON      u64 version: reads below it fail from now on, superseded images below it may go
 *        CONFIGURATION  span (wire_configuration.h): the group's members from this entry on; the only effect of its
 *                     entry
 *
 * An entry without effects is a barrier: the first of a leader's term.
 *
 * A key is an item's (wire_entry_check_key); a storage id is never 0, the group's own range. COMMIT stands before the
 * PUT and DELETE of newer values for its keys.
 * No entry exceeds WIRE_ENTRY_MAX. Applying is deterministic: it depends on the entry and on the state that the entries
 * before it made.
 *
 * Caller: anyone. Locks: none.
 */
#ifndef WIRE_ENTRY_H
#define WIRE_ENTRY_H

#include "wire_bytes.h"
#include "wire_clock.h"
#include "wire_limits.h"

#define WIRE_ENTRY_FORMAT 1
#define WIRE_ENTRY_HEADER_SIZE 56
#define WIRE_GROUP_LOCAL 1 /* the only group of a node without replication */

enum wire_effect_kind {
    WIRE_EFFECT_PUT = 1,
    WIRE_EFFECT_DELETE = 2,
    WIRE_EFFECT_STORAGE = 3,
    WIRE_EFFECT_DROP = 4,
    WIRE_EFFECT_BEGIN = 5,
    WIRE_EFFECT_PREPARE = 6,
    WIRE_EFFECT_COMMIT = 7,
    WIRE_EFFECT_ABORT = 8,
    WIRE_EFFECT_SETTLE = 9,
    WIRE_EFFECT_FORGET = 10,
    WIRE_EFFECT_HORIZON = 11,
    WIRE_EFFECT_CONFIGURATION = 12
};

struct wire_effect {
    enum wire_effect_kind kind;
    struct wire_span key;  /* PUT, DELETE, SETTLE; STORAGE: the relation's identity; CONFIGURATION: its bytes */
    struct wire_span item; /* PUT */
    uint64_t number;       /* storage id, transaction or version */
    uint64_t argument;     /* BEGIN: owner; PREPARE: decider */
};

struct wire_entry {
    uint64_t group;
    uint64_t term;
    uint64_t index;
    uint64_t version;
    uint64_t transaction;
    uint32_t effect_count;
    struct wire_reader effects;
};

/* Build: begin, effects, end (patches size, count and checksum). w->data must start at the entry's first byte or the
 * entry may follow others. */
struct wire_entry_builder {
    struct wire_writer *w;
    size_t start;
    uint32_t effect_count;
};
void wire_entry_begin(struct wire_entry_builder *b, struct wire_writer *w, const struct wire_entry *header);
void wire_entry_add(struct wire_entry_builder *b, const struct wire_effect *effect);
/* Errors: WIRE_E_SHORT_BUFFER, WIRE_E_TOO_LARGE (of a measuring writer too): the bytes from b->start on are then no
 * entry. */
int wire_entry_end(struct wire_entry_builder *b);

/* One effect, as entries and requests carry it. A kind that is not in the enum fails the writer. */
void wire_effect_write(struct wire_writer *w, const struct wire_effect *effect);
/* Sets r->failed on error; members that the kind has not are empty or 0. Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT,
 * WIRE_E_KEY_SIZE, WIRE_E_BAD_VERSION (of a configuration). */
int wire_effect_read(struct wire_reader *r, struct wire_effect *out);
/* Encoded size of one effect. */
size_t wire_effect_size(const struct wire_effect *effect);
/* Can this be the key of an item: whole prefix, at most WIRE_KEY_MAX, storage id not 0? Errors: WIRE_E_KEY_SIZE,
 * WIRE_E_BAD_FORMAT. */
int wire_entry_check_key(struct wire_span key);

/* `size` is of exactly one entry. Open verifies size, checksum, header and every effect's form (not the items inside).
 * Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_CHECKSUM, WIRE_E_BAD_VERSION, WIRE_E_BAD_FORMAT, WIRE_E_TOO_LARGE,
 * WIRE_E_KEY_SIZE. *out is valid on WIRE_OK only. */
int wire_entry_open(const void *data, size_t size, struct wire_entry *out);
/* WIRE_E_NOT_FOUND behind the last effect. */
int wire_entry_next(struct wire_entry *entry, struct wire_effect *out);

#endif
