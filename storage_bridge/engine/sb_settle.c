/*
 * Settling: after a transaction is decided, its intents are stamped with the commit version or undone, a few hundred
 * keys an entry, then the transaction is forgotten. Readers and writers do not wait for it: they ask the table of
 * transactions. A large committed transaction is left as it is; an aborted one is always undone.
 *
 * One SETTLE entry is under way at a time. A crash in between starts over at the first key: settling a settled key
 * changes nothing.
 */
#include "sb_partition_internal.h"

#define SETTLE_KEYS 256 /* of one entry: each costs a read of both families when it is applied */

/* The next decided transaction to settle: its decision must be applied. */
static bool choose(struct sb_partition *partition)
{
    struct sb_transaction found;
    uint64_t after = partition->settled_through;

    while (sb_transactions_next(partition->applied_transactions, after, &found) == WIRE_OK) {
        bool large = found.state == SB_TRANSACTION_COMMITTED && found.key_count > partition->options.settle_keys_max;

        if (found.state >= SB_TRANSACTION_COMMITTED && !large) {
            partition->settling = (struct sb_settling){.transaction = found.id};
            return true;
        }
        after = found.id;
    }
    return false;
}

/* Skip what never needs settling again: large committed transactions at the front. */
static void advance(struct sb_partition *partition)
{
    struct sb_transaction found;

    while (sb_transactions_next(partition->applied_transactions, partition->settled_through, &found) == WIRE_OK &&
           found.state == SB_TRANSACTION_COMMITTED && found.key_count > partition->options.settle_keys_max)
        partition->settled_through = found.id;
}

static int log_forget(struct sb_partition *partition)
{
    struct wire_effect effect = {.kind = WIRE_EFFECT_FORGET, .number = partition->settling.transaction};
    struct sb_draft draft;
    int status = sb_draft_begin(partition, 0, &draft);

    if (status == WIRE_OK)
        status = sb_draft_add(&draft, &effect, SB_FOUND_UNKNOWN);
    if (status != WIRE_OK)
        return status;
    partition->settling.waiting_for = draft.header.index;
    partition->settling.forgetting = true;
    return sb_draft_seal(&draft);
}

/* The next keys of the list at work, as many as one entry may hold without keeping others waiting. */
static int log_settle(struct sb_partition *partition, struct wire_span list)
{
    struct sb_settling *settling = &partition->settling;
    struct wire_reader keys = wire_reader_of(list.data, list.size);
    struct wire_effect effect = {.kind = WIRE_EFFECT_SETTLE, .number = settling->transaction};
    struct sb_draft draft;
    int status = sb_draft_begin(partition, 0, &draft);

    wire_read_bytes(&keys, settling->position);
    while (status == WIRE_OK && wire_reader_left(&keys) > 0 && draft.effect_count < SETTLE_KEYS) {
        effect.key = wire_read_span(&keys);
        if (!keys.failed)
            status = sb_draft_add(&draft, &effect, SB_FOUND_UNKNOWN);
        if (status == WIRE_OK)
            settling->position = keys.position;
    }
    if (keys.failed)
        return sb_fault_set(partition->fault, WIRE_E_CORRUPT, "a key list of a transaction is malformed");
    if (status != WIRE_OK && (status != WIRE_E_TOO_LARGE || draft.effect_count == 0))
        return status;
    if (settling->position == list.size) {
        settling->list++;
        settling->position = 0;
    }
    settling->waiting_for = draft.header.index;
    return sb_draft_seal(&draft);
}

int sb_settle(struct sb_partition *partition, bool *more)
{
    struct sb_settling *settling = &partition->settling;
    struct sb_transaction transaction;
    struct sb_meta_key key;
    struct sb_value list;
    int status;

    *more = false;
    if (settling->waiting_for > partition->applied.index)
        return WIRE_OK;
    if (settling->forgetting)
        *settling = (struct sb_settling){0};
    advance(partition);
    if (settling->transaction == 0 && !choose(partition))
        return WIRE_OK;
    *more = true;
    status = sb_transactions_get(partition->applied_transactions, settling->transaction, &transaction);
    if (status != WIRE_OK)
        return sb_fault_set(partition->fault, WIRE_E_INTERNAL, "a transaction vanished while it was settled");
    if (settling->list >= transaction.list_count)
        return log_forget(partition);
    status = partition->store->get(partition->store->self, SB_ITEMS,
                                   sb_meta_key_intents(&key, partition->options.group, transaction.id, settling->list),
                                   SB_TIER_ALL, &list, partition->fault);
    if (status != WIRE_OK)
        return status == WIRE_E_NOT_FOUND
                   ? sb_fault_set(partition->fault, WIRE_E_CORRUPT, "a key list of a transaction is missing")
                   : status;
    status = log_settle(partition, list.bytes);
    partition->store->release(partition->store->self, &list);
    return status;
}
