/* See sb_meta.h. */
#include "sb_meta.h"

#include "wire_entry.h"

static struct wire_writer begin(struct sb_meta_key *key, uint64_t group, enum sb_meta_kind kind)
{
    struct wire_writer w = wire_writer_of(key->data, sizeof(key->data));

    wire_key_write_prefix(&w, 0, 0);
    wire_write_u64(&w, group);
    wire_write_u8(&w, (uint8_t) kind);
    return w;
}

static struct wire_span finish(struct sb_meta_key *key, const struct wire_writer *w)
{
    key->size = w->size;
    return (struct wire_span){key->data, key->size};
}

struct wire_span sb_meta_key_first(struct sb_meta_key *key, uint64_t group, enum sb_meta_kind kind)
{
    struct wire_writer w = begin(key, group, kind);

    return finish(key, &w);
}

struct wire_span sb_meta_key_applied(struct sb_meta_key *key, uint64_t group)
{
    return sb_meta_key_first(key, group, SB_META_APPLIED);
}

struct wire_span sb_meta_key_configuration(struct sb_meta_key *key, uint64_t group)
{
    return sb_meta_key_first(key, group, SB_META_CONFIGURATION);
}

struct wire_span sb_meta_key_relation(struct sb_meta_key *key, uint64_t group, struct wire_span identity)
{
    struct wire_writer w = begin(key, group, SB_META_RELATION);

    wire_write_bytes(&w, identity.data, identity.size);
    return finish(key, &w);
}

struct wire_span sb_meta_key_storage(struct sb_meta_key *key, uint64_t group, uint64_t storage_id)
{
    struct wire_writer w = begin(key, group, SB_META_STORAGE);

    wire_write_u64(&w, storage_id);
    return finish(key, &w);
}

struct wire_span sb_meta_key_transaction(struct sb_meta_key *key, uint64_t group, uint64_t transaction)
{
    struct wire_writer w = begin(key, group, SB_META_TRANSACTION);

    wire_write_u64(&w, transaction);
    return finish(key, &w);
}

struct wire_span sb_meta_key_intents(struct sb_meta_key *key, uint64_t group, uint64_t transaction, uint64_t number)
{
    struct wire_writer w = begin(key, group, SB_META_INTENTS);

    wire_write_u64(&w, transaction);
    wire_write_u64(&w, number);
    return finish(key, &w);
}

void sb_applied_encode(const struct sb_applied *applied, uint8_t out[SB_APPLIED_RECORD_SIZE])
{
    struct wire_writer w = wire_writer_of(out, SB_APPLIED_RECORD_SIZE);

    wire_write_u64(&w, applied->index);
    wire_write_u64(&w, applied->term);
    wire_write_u64(&w, applied->version);
    wire_write_u64(&w, applied->horizon);
    wire_write_u64(&w, applied->next_storage_id);
    wire_write_u64(&w, applied->next_transaction);
}

int sb_applied_decode(struct wire_span value, struct sb_applied *out)
{
    struct wire_reader r = wire_reader_of(value.data, value.size);

    out->index = wire_read_u64(&r);
    out->term = wire_read_u64(&r);
    out->version = wire_read_u64(&r);
    out->horizon = wire_read_u64(&r);
    out->next_storage_id = wire_read_u64(&r);
    out->next_transaction = wire_read_u64(&r);
    return wire_reader_finish(&r) == WIRE_OK ? WIRE_OK : WIRE_E_CORRUPT;
}

void sb_transaction_encode(const struct sb_transaction *transaction, uint8_t out[SB_TRANSACTION_RECORD_SIZE])
{
    struct wire_writer w = wire_writer_of(out, SB_TRANSACTION_RECORD_SIZE);

    wire_write_u8(&w, (uint8_t) transaction->state);
    wire_write_u64(&w, transaction->version);
    wire_write_u64(&w, transaction->owner);
    wire_write_u64(&w, transaction->decider);
    wire_write_u64(&w, transaction->key_count);
    wire_write_u64(&w, transaction->list_count);
}

int sb_transaction_decode(uint64_t id, struct wire_span value, struct sb_transaction *out)
{
    struct wire_reader r = wire_reader_of(value.data, value.size);
    uint8_t state = wire_read_u8(&r);

    out->id = id;
    out->version = wire_read_u64(&r);
    out->owner = wire_read_u64(&r);
    out->decider = wire_read_u64(&r);
    out->key_count = wire_read_u64(&r);
    out->list_count = wire_read_u64(&r);
    if (wire_reader_finish(&r) != WIRE_OK || state < SB_TRANSACTION_PENDING || state > SB_TRANSACTION_ABORTED)
        return WIRE_E_CORRUPT;
    out->state = (enum sb_transaction_state) state;
    return WIRE_OK;
}

int sb_meta_applied(struct sb_store *store, uint64_t group, bool persisted, struct sb_applied *out,
                    struct sb_fault *fault)
{
    struct sb_meta_key key;
    struct wire_span span = sb_meta_key_applied(&key, group);
    struct sb_value value;
    int status;

    *out = (struct sb_applied){0};
    status = persisted ? store->persisted(store->self, span, &value, fault)
                       : store->get(store->self, SB_ITEMS, span, SB_TIER_ALL, &value, fault);
    if (status == WIRE_E_NOT_FOUND)
        return WIRE_OK;
    if (status != WIRE_OK)
        return status;
    status = sb_applied_decode(value.bytes, out);
    store->release(store->self, &value);
    if (status != WIRE_OK)
        return sb_fault_set(fault, status, "the record of the applied index in the items store is malformed");
    return WIRE_OK;
}

int sb_meta_configuration(struct sb_store *store, uint64_t group, struct wire_configuration *out, uint64_t *index,
                          struct sb_fault *fault)
{
    struct sb_meta_key key;
    struct sb_value value;
    struct wire_reader r;
    struct wire_span bytes;
    int status;

    *out = (struct wire_configuration){0};
    *index = 0;
    status = store->get(store->self, SB_ITEMS, sb_meta_key_configuration(&key, group), SB_TIER_ALL, &value, fault);
    if (status == WIRE_E_NOT_FOUND)
        return WIRE_OK;
    if (status != WIRE_OK)
        return status;
    r = wire_reader_of(value.bytes.data, value.bytes.size);
    *index = wire_read_u64(&r);
    bytes.size = wire_reader_left(&r);
    bytes.data = wire_read_bytes(&r, bytes.size);
    status = r.failed ? WIRE_E_CORRUPT : wire_configuration_open(bytes, out);
    store->release(store->self, &value);
    if (status != WIRE_OK)
        return sb_fault_set(fault, WIRE_E_CORRUPT,
                            "the record of the members of a group in the items store is malformed");
    return WIRE_OK;
}

int sb_meta_lookup(struct sb_store *store, struct wire_span identity, uint64_t *storage_id, struct sb_fault *fault)
{
    struct sb_meta_key key;
    struct sb_value value;
    struct wire_reader r;
    int status;

    *storage_id = 0;
    if (identity.size == 0 || identity.size > SB_IDENTITY_MAX)
        return WIRE_E_BAD_FORMAT;
    status = store->get(store->self, SB_ITEMS, sb_meta_key_relation(&key, WIRE_GROUP_LOCAL, identity), SB_TIER_ALL,
                        &value, fault);
    if (status == WIRE_E_NOT_FOUND)
        return WIRE_OK;
    if (status != WIRE_OK)
        return status;
    r = wire_reader_of(value.bytes.data, value.bytes.size);
    *storage_id = wire_read_u64(&r);
    if (wire_reader_finish(&r) != WIRE_OK || *storage_id == 0)
        status = sb_fault_set(fault, WIRE_E_CORRUPT, "a record of the relation map in the items store is malformed");
    store->release(store->self, &value);
    return status;
}
