/*
 * The write set's versions: a skip list of keys, each with a chain of versions, newest first. See cairn_writeset.h and
 * cairn_frame.h.
 *
 * Spilling sends every chain that lies within one frame to the storage process as intents and starts a new, smaller
 * map. Completed commands and the running one are spilled under different transaction ids, so that a statement does not
 * meet rows that it wrote itself.
 */
#include "cairn_frame.h"

#include "utils/memutils.h"

#include "cairn_error.h"
#include "cairn_gather.h"
#include "cairn_row.h"
#include "cairn_shared.h"

#define SPILL_CHUNK_BYTES (2 * 1024 * 1024)

static uint64 spill_count;

uint64 cairn_writeset_spills(void)
{
    return spill_count;
}

void cairn_writeset_create(void)
{
    cairn_xact.versions = AllocSetContextCreate(cairn_xact.context, "CairnWriteSet", ALLOCSET_DEFAULT_SIZES);
    cairn_xact.map = cairn_skiplist_create(cairn_xact.versions);
}

Size cairn_writeset_memory(void)
{
    return cairn_xact.versions ? MemoryContextMemAllocated(cairn_xact.versions, false) : 0;
}

CairnFrame *cairn_frame_of(CairnVersion *version)
{
    while (version->frame->merged)
        version->frame = version->frame->merged;
    return version->frame;
}

static void link_version(CairnFrame *frame, CairnVersion *version)
{
    version->frame = frame;
    version->frame_next = frame->versions;
    frame->versions = version;
    if (!frame->versions_end)
        frame->versions_end = version;
}

static void add_version(CairnFrame *frame, CairnSkipNode *node, struct wire_span item, bool deleted, CommandId cid)
{
    CairnVersion *version = MemoryContextAllocHuge(cairn_xact.versions, offsetof(CairnVersion, item) + item.size);

    version->older = node->value;
    version->node = node;
    version->cid = cid;
    version->deleted = deleted;
    version->size = item.size;
    if (item.size > 0)
        memcpy(version->item, item.data, item.size);
    node->value = version;
    link_version(frame, version);
}

void cairn_writeset_put(uint64 storage_id, struct wire_span key, struct wire_span item, CommandId cid)
{
    cairn_writeset_put_in(cairn_xact_frame(), key, item, cid);
}

void cairn_writeset_put_in(CairnFrame *frame, struct wire_span key, struct wire_span item, CommandId cid)
{
    Assert(key.size >= WIRE_KEY_PREFIX_SIZE);
    if (!cairn_xact.map)
        cairn_writeset_create();
    add_version(frame, cairn_skiplist_insert(cairn_xact.map, key), item, item.size == 0, cid);
    cairn_usage.items_written++;
    if (cairn_writeset_memory() > Max((Size) cairn_write_set_kb * 1024, cairn_xact.spill_above))
        cairn_writeset_spill();
}

/* Newest version that `curcid` may see. */
static CairnVersion *visible(CairnVersion *version, CommandId curcid)
{
    while (version && curcid != InvalidCommandId && version->cid >= curcid)
        version = version->older;
    return version;
}

static bool give(CairnVersion *version, CairnOwnVersion *out)
{
    if (!version)
        return false;
    out->deleted = version->deleted;
    out->item = (struct wire_span){version->item, version->size};
    return true;
}

bool cairn_writeset_find(struct wire_span key, CommandId curcid, CairnOwnVersion *out)
{
    CairnSkipNode *node;

    cairn_gather_yield(curcid);
    node = cairn_xact.map ? cairn_skiplist_find(cairn_xact.map, key) : NULL;
    return node && give(visible(node->value, curcid), out);
}

bool cairn_writeset_seek(struct wire_span key, bool exclusive, bool forward, struct wire_span low,
                         struct wire_span high, CommandId curcid, struct wire_span *found, CairnOwnVersion *out)
{
    CairnSkipNode *node;

    cairn_gather_yield(curcid);
    if (!cairn_xact.map)
        return false;
    if (forward)
        node = key.size > 0 && wire_span_compare(key, low) >= 0
                   ? cairn_skiplist_at_least(cairn_xact.map, key, exclusive)
                   : cairn_skiplist_at_least(cairn_xact.map, low, false);
    else if (key.size > 0 && (high.size == 0 || wire_span_compare(key, high) < 0))
        node = cairn_skiplist_at_most(cairn_xact.map, key, exclusive);
    else
        node = cairn_skiplist_at_most(cairn_xact.map, high, true);
    while (node && (forward ? high.size == 0 || wire_span_compare(node->key, high) < 0
                            : wire_span_compare(node->key, low) >= 0)) {
        if (give(visible(node->value, curcid), out)) {
            *found = node->key;
            return true;
        }
        node = forward ? node->next[0] : cairn_skiplist_previous(cairn_xact.map, node);
    }
    return false;
}

bool cairn_writeset_empty(void)
{
    if (!cairn_gather_empty() || (cairn_xact.map && cairn_skiplist_first(cairn_xact.map)))
        return false;
    for (CairnFrame *frame = cairn_xact.newest; frame; frame = frame->parent) {
        if (frame->spill_count > 0)
            return false;
    }
    return true;
}

bool cairn_writeset_has_effects(void)
{
    for (CairnFrame *frame = cairn_xact.newest; frame; frame = frame->parent) {
        if (frame->spill_count > 0)
            return true;
    }
    for (CairnSkipNode *node = cairn_xact.map ? cairn_skiplist_first(cairn_xact.map) : NULL; node;
         node = node->next[0]) {
        if (node->value)
            return true;
    }
    return false;
}

void cairn_writeset_cut(CairnFrame *frame)
{
    for (CairnVersion *version = frame->versions; version; version = version->frame_next) {
        if (!version->node)
            continue; /* spilled */
        /* A frame's versions are newer than all of older frames, so they come off the head. */
        if (version->node->value != version)
            elog(PANIC, "write set of cairn is inconsistent");
        version->node->value = version->older;
    }
    frame->versions = frame->versions_end = NULL;
}

static void append_effect(CairnRequest *request, const CairnSkipNode *node, const CairnVersion *version)
{
    struct wire_effect effect = {.kind = version->deleted ? WIRE_EFFECT_DELETE : WIRE_EFFECT_PUT,
                                 .key = node->key,
                                 .item = {version->item, version->size}};

    cairn_request_reserve(request, wire_effect_size(&effect));
    wire_effect_write(&request->writer, &effect);
}

void cairn_writeset_effects(CairnRequest *request)
{
    uint64 count = 0;

    for (CairnSkipNode *node = cairn_xact.map ? cairn_skiplist_first(cairn_xact.map) : NULL; node; node = node->next[0])
        count += node->value != NULL;
    cairn_request_reserve(request, 10);
    wire_write_varint(&request->writer, count);
    for (CairnSkipNode *node = cairn_xact.map ? cairn_skiplist_first(cairn_xact.map) : NULL; node;
         node = node->next[0]) {
        if (node->value)
            append_effect(request, node, node->value);
    }
}

/* Do all versions of the chain belong to `frame`? *least: the oldest command among them. */
static bool chain_within(CairnVersion *version, const CairnFrame *frame, CommandId *least)
{
    for (; version; version = version->older) {
        if (cairn_frame_of(version) != frame)
            return false;
        *least = version->cid;
    }
    return true;
}

/* One group of chains: those of a frame whose newest version was written before `running`, or by it. */
typedef struct SpillGroup {
    CairnFrame *frame;
    CommandId running;
    bool completed;
    CairnSpill spill;
    bool reused; /* spill.transaction existed */
} SpillGroup;

static bool in_group(const SpillGroup *group, CairnVersion *newest, CommandId *least)
{
    return newest && (newest->cid < group->running) == group->completed && chain_within(newest, group->frame, least);
}

static void send_spill(SpillGroup *group, CairnSkipNode *from, CairnSkipNode *until, uint64 count)
{
    uint8 own[8 * WIRE_OWN_TRANSACTIONS_MAX];
    struct wire_request header = {.operation = WIRE_SPILL};
    struct wire_writer ids = wire_writer_of(own, sizeof(own));
    CairnRequest request;
    CairnReply reply;
    CommandId least;

    cairn_xact_fill_header(&header, 0, 0, InvalidCommandId);
    header.subtransaction = group->frame->subtransaction;
    for (int i = 0; i < group->frame->spill_count; i++)
        wire_write_u64(&ids, group->frame->spills[i].transaction);
    header.transactions = (struct wire_span){own, ids.size};
    cairn_request_begin(&request, &header, SPILL_CHUNK_BYTES);
    cairn_request_reserve(&request, 18);
    wire_write_u64(&request.writer, group->spill.transaction);
    wire_write_varint(&request.writer, count);
    for (CairnSkipNode *node = from; node != until; node = node->next[0]) {
        if (in_group(group, node->value, &least))
            append_effect(&request, node, node->value);
    }
    cairn_lane_call(&request, &reply);
    if (reply.status == WIRE_E_TRANSACTION_EXISTS)
        ereport(
            ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("a savepoint changes a row again that its transaction has written to the storage process already"),
             errdetail("The transaction's writes passed cairn.write_set (%d kB).", cairn_write_set_kb),
             errhint("Raise cairn.write_set, or change the row outside of the savepoint.")));
    if (reply.status != WIRE_OK)
        cairn_error_raise(reply.status, &(CairnSubject){.action = "write a large transaction"});
    group->spill.transaction = wire_read_u64(&reply.body);
    cairn_xact.spill_unread = true;
    if (wire_read_u8(&reply.body)) {
        /* Some keys stayed with the transaction id they had: those ids now hold newer commands too. */
        for (int i = 0; i < group->frame->spill_count; i++)
            group->frame->spills[i].greatest = Max(group->frame->spills[i].greatest, group->spill.greatest);
    }
}

void cairn_writeset_await_spill(void)
{
    struct wire_request header = {.operation = WIRE_SPILL};
    CairnRequest request;
    CairnReply reply;

    cairn_xact_fill_header(&header, 0, 0, InvalidCommandId);
    cairn_request_begin(&request, &header, 16);
    request.changes_nothing = true;
    wire_write_bytes(&request.writer, header.transactions.data, 8); /* any of them */
    wire_write_varint(&request.writer, 0);
    cairn_lane_call(&request, &reply);
    if (reply.status != WIRE_OK)
        cairn_error_raise(reply.status, &(CairnSubject){.action = "read what a large transaction wrote"});
    cairn_xact.spill_unread = false;
}

static void note_spill(SpillGroup *group)
{
    CairnFrame *frame = group->frame;

    for (int i = 0; i < frame->spill_count; i++) {
        if (frame->spills[i].transaction == group->spill.transaction) {
            frame->spills[i].least = Min(frame->spills[i].least, group->spill.least);
            frame->spills[i].greatest = Max(frame->spills[i].greatest, group->spill.greatest);
            return;
        }
    }
    if (frame->spill_count == frame->spill_capacity) {
        frame->spill_capacity = frame->spill_capacity ? frame->spill_capacity * 2 : 4;
        frame->spills = frame->spills
                            ? repalloc(frame->spills, frame->spill_capacity * sizeof(CairnSpill))
                            : MemoryContextAlloc(cairn_xact.context, frame->spill_capacity * sizeof(CairnSpill));
    }
    frame->spills[frame->spill_count++] = group->spill;
}

static Size group_size(const SpillGroup *group)
{
    CommandId least;
    Size size = 0;

    for (CairnSkipNode *node = cairn_skiplist_first(cairn_xact.map); node; node = node->next[0]) {
        CairnVersion *newest = node->value;

        if (in_group(group, newest, &least))
            size += node->key.size + newest->size;
    }
    return size;
}

/* What was sent is in the storage process now: its versions leave the write set. */
static void forget_sent(const SpillGroup *group, CairnSkipNode *from, const CairnSkipNode *until)
{
    CommandId least;

    for (CairnSkipNode *node = from; node != until; node = node->next[0]) {
        CairnVersion *newest = node->value;

        if (!in_group(group, newest, &least))
            continue;
        for (CairnVersion *version = newest; version; version = version->older)
            version->node = NULL;
        node->value = NULL;
    }
}

/* Send one group in chunks. */
static void spill_group(SpillGroup *group)
{
    CairnSkipNode *node = cairn_skiplist_first(cairn_xact.map);

    while (node) {
        CairnSkipNode *from = node;
        uint64 count = 0;
        Size size = 0;

        for (; node && size < SPILL_CHUNK_BYTES; node = node->next[0]) {
            CairnVersion *newest = node->value;
            CommandId least = FirstCommandId;

            if (!in_group(group, newest, &least))
                continue;
            group->spill.least = Min(group->spill.least, least);
            group->spill.greatest = Max(group->spill.greatest, newest->cid);
            size += node->key.size + newest->size;
            count++;
        }
        if (count > 0) {
            send_spill(group, from, node, count);
            note_spill(group);
            forget_sent(group, from, node);
        }
    }
}

/* Continue a transaction id of the frame whose commands are all of the same kind. */
static void choose_transaction(SpillGroup *group)
{
    group->spill = (CairnSpill){.transaction = 0, .least = InvalidCommandId, .greatest = FirstCommandId};
    for (int i = 0; i < group->frame->spill_count; i++) {
        const CairnSpill *spill = &group->frame->spills[i];

        if (group->completed ? spill->greatest < group->running : spill->least >= group->running)
            group->spill.transaction = spill->transaction;
    }
}

/* What was not sent stays (chains that span frames, a few rows of the running command): move it to a new map. */
static void keep_rest(void)
{
    CairnSkipList *old_map = cairn_xact.map;
    MemoryContext old_versions = cairn_xact.versions;

    cairn_writeset_create();
    for (CairnFrame *frame = cairn_xact.newest; frame; frame = frame->parent)
        frame->versions = frame->versions_end = NULL;
    for (CairnSkipNode *node = cairn_skiplist_first(old_map); node; node = node->next[0]) {
        CairnVersion *newest = node->value;
        CairnSkipNode *kept;
        CairnVersion *chain = NULL;

        if (!newest)
            continue;
        kept = cairn_skiplist_insert(cairn_xact.map, node->key);
        /* Oldest first, so that links come out as they were. */
        for (CairnVersion *version = newest, *older; version; version = older) {
            older = version->older;
            version->older = chain;
            chain = version;
        }
        for (CairnVersion *version = chain; version; version = version->older)
            add_version(cairn_frame_of(version), kept, (struct wire_span){version->item, version->size},
                        version->deleted, version->cid);
    }
    MemoryContextDelete(old_versions);
}

void cairn_writeset_spill(void)
{
    CommandId running = GetCurrentCommandId(false);

    spill_count++;
    for (CairnFrame *frame = cairn_xact.newest; frame; frame = frame->parent) {
        for (int completed = 1; completed >= 0; completed--) {
            SpillGroup group = {.frame = frame, .running = running, .completed = completed != 0};
            Size of_running = completed ? 0 : group_size(&group);

            /* A running command's rows take a transaction id of their own: not as long as they fit into memory. */
            if (!completed && of_running <= (Size) cairn_write_set_kb * 1024)
                continue;
            choose_transaction(&group);
            spill_group(&group);
        }
    }
    keep_rest();
    /* What had to stay must not make every further row look for something to spill. */
    cairn_xact.spill_above = 2 * cairn_writeset_memory();
}
