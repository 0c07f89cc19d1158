/*
 * The own range of a group in the items store: one run of keys under storage id 0, index id 0, the group and a kind.
 *
 *   kind 1                               -> u64 applied index | u64 term | u64 version | u64 horizon |
 *                                           u64 next storage id | u64 next transaction number
 *   kind 2 | identity of a relation      -> u64 storage id
 *   kind 3 | u64 storage id              -> identity
 *   kind 4 | u64 transaction             -> u8 state (enum sb_transaction_state) | u64 version | u64 owner |
 *                                           u64 decider | u64 keys | u64 next list number
 *   kind 5 | u64 transaction | u64 number -> (span key)*: keys of the intents of one entry
 *   kind 6                               -> u64 index of the entry | configuration (wire_configuration.h)
 *
 * Written only by applying log entries, in the same batch as the items they go with. Relations are mapped by
 * WIRE_GROUP_LOCAL alone. Errors of reading: as struct sb_store, WIRE_E_CORRUPT for a value of another form.
 */
#ifndef SB_META_H
#define SB_META_H

#include "sb_store.h"
#include "sb_transactions.h"
#include "wire_configuration.h"
#include "wire_key.h"

#define SB_META_KEY_MAX 512
#define SB_META_PREFIX_SIZE (WIRE_KEY_PREFIX_SIZE + 9) /* of all keys of a kind */
#define SB_IDENTITY_MAX 64
#define SB_TRANSACTION_RECORD_SIZE 41
#define SB_APPLIED_RECORD_SIZE 48

enum sb_meta_kind {
    SB_META_APPLIED = 1,
    SB_META_RELATION = 2,
    SB_META_STORAGE = 3,
    SB_META_TRANSACTION = 4,
    SB_META_INTENTS = 5,
    SB_META_CONFIGURATION = 6,
    SB_META_KIND_COUNT
};

struct sb_applied {
    uint64_t index;
    uint64_t term;
    uint64_t version;
    uint64_t horizon;
    uint64_t next_storage_id;
    uint64_t next_transaction;
};

/* A key of the range, in a buffer of its own. */
struct sb_meta_key {
    uint8_t data[SB_META_KEY_MAX];
    size_t size;
};

struct wire_span sb_meta_key_applied(struct sb_meta_key *key, uint64_t group);
struct wire_span sb_meta_key_relation(struct sb_meta_key *key, uint64_t group, struct wire_span identity);
struct wire_span sb_meta_key_storage(struct sb_meta_key *key, uint64_t group, uint64_t storage_id);
struct wire_span sb_meta_key_transaction(struct sb_meta_key *key, uint64_t group, uint64_t transaction);
struct wire_span sb_meta_key_intents(struct sb_meta_key *key, uint64_t group, uint64_t transaction, uint64_t number);
struct wire_span sb_meta_key_configuration(struct sb_meta_key *key, uint64_t group);
/* The first key of a kind; of SB_META_KIND_COUNT: what lies behind the group's range. */
struct wire_span sb_meta_key_first(struct sb_meta_key *key, uint64_t group, enum sb_meta_kind kind);

void sb_applied_encode(const struct sb_applied *applied, uint8_t out[SB_APPLIED_RECORD_SIZE]);
int sb_applied_decode(struct wire_span value, struct sb_applied *out);
void sb_transaction_encode(const struct sb_transaction *transaction, uint8_t out[SB_TRANSACTION_RECORD_SIZE]);
int sb_transaction_decode(uint64_t id, struct wire_span value, struct sb_transaction *out);

/* What the group has applied: of the newest state, or (persisted) of what survives a power loss. A store that never
 * applied anything gives zeros. */
int sb_meta_applied(struct sb_store *store, uint64_t group, bool persisted, struct sb_applied *out,
                    struct sb_fault *fault);
/* The members as of what is applied, and the entry that said so; none and 0 before the first. */
int sb_meta_configuration(struct sb_store *store, uint64_t group, struct wire_configuration *out, uint64_t *index,
                          struct sb_fault *fault);
/* The storage id of a relation, 0 if none. */
int sb_meta_lookup(struct sb_store *store, struct wire_span identity, uint64_t *storage_id, struct sb_fault *fault);

#endif
