/*
 * See cairn_handles.h. An array of handles, and a hash table over it to find the handle of a version again; both go
 * with the transaction.
 *
 * Failure modes: too many handles (54000), a ctid that is none of this transaction's and this table's (55000).
 */
#include "cairn_handles.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "cairn_error.h"
#include "cairn_lane.h"
#include "cairn_row.h"
#include "cairn_writeset.h"

#include "wire_item.h"

#define NUMBER_START_MAX (UINT64CONST(1) << 38) /* numbers fit 39 bits: 32 of a block number, 7 within it */
#define NUMBER_WRAP (UINT64CONST(7) << 36)
#define NO_HANDLE (CAIRN_HANDLES_PER_BLOCK + 1)
#define NO_ENTRY PG_UINT32_MAX

typedef struct CairnHandle {
    uint64 version;   /* 0: written by this transaction */
    CommandId curcid; /* of an own version: the command that sees it */
    uint32 hash;
    uint32 next; /* in its bucket */
    Size key_size;
    uint8 key[FLEXIBLE_ARRAY_MEMBER];
} CairnHandle;

typedef struct HandleSet {
    MemoryContext memory; /* NULL: no handle in this transaction yet */
    uint64 start;         /* number of the first */
    uint32 count;
    uint32 capacity; /* a power of two, of both arrays */
    CairnHandle **handles;
    uint32 *buckets;
} HandleSet;

static HandleSet set;
static uint64 next_number;

static void at_xact_event(XactEvent event, void *argument)
{
    if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
        return;
    next_number = set.start + set.count;
    set = (HandleSet){.start = next_number};
}

static void begin_set(void)
{
    static bool registered;

    if (!registered) {
        RegisterXactCallback(at_xact_event, NULL);
        registered = true;
    }
    if (next_number == 0 || next_number > NUMBER_WRAP)
        next_number = CAIRN_HANDLES_PER_BLOCK + pg_prng_uint64(&pg_global_prng_state) % NUMBER_START_MAX;
    set = (HandleSet){.start = next_number};
    set.memory = AllocSetContextCreate(TopTransactionContext, "CairnHandles", ALLOCSET_DEFAULT_SIZES);
}

static void grow_set(void)
{
    uint32 capacity = set.capacity ? set.capacity * 2 : 256;

    set.handles = set.handles ? repalloc_huge(set.handles, capacity * sizeof(CairnHandle *))
                              : MemoryContextAllocHuge(set.memory, capacity * sizeof(CairnHandle *));
    if (set.buckets)
        pfree(set.buckets);
    set.buckets = MemoryContextAllocHuge(set.memory, capacity * sizeof(uint32));
    memset(set.buckets, 0xff, capacity * sizeof(uint32));
    set.capacity = capacity;
    for (uint32 i = 0; i < set.count; i++) {
        uint32 *bucket = &set.buckets[set.handles[i]->hash & (capacity - 1)];

        set.handles[i]->next = *bucket;
        *bucket = i;
    }
}

static uint32 find_handle(const CairnHandle *wanted, const uint8 *key)
{
    uint32 i = set.buckets[wanted->hash & (set.capacity - 1)];

    for (; i != NO_ENTRY; i = set.handles[i]->next) {
        const CairnHandle *handle = set.handles[i];

        if (handle->hash == wanted->hash && handle->version == wanted->version && handle->curcid == wanted->curcid &&
            handle->key_size == wanted->key_size && memcmp(handle->key, key, wanted->key_size) == 0)
            break;
    }
    return i;
}

static uint32 add_handle(const CairnHandle *wanted, const uint8 *key)
{
    CairnHandle *handle;
    uint32 *bucket;

    if (set.count >= CAIRN_HANDLES_MAX)
        ereport(
            ERROR,
            (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
             errmsg("more than %d rows of cairn tables would need a ctid in one transaction", CAIRN_HANDLES_MAX),
             errhint(
                 "Select fewer rows at a time, do without ctid, or lock rows of other tables in smaller portions.")));
    if (set.count == set.capacity)
        grow_set();
    handle = MemoryContextAlloc(set.memory, offsetof(CairnHandle, key) + wanted->key_size);
    *handle = *wanted;
    memcpy(handle->key, key, wanted->key_size);
    bucket = &set.buckets[handle->hash & (set.capacity - 1)];
    handle->next = *bucket;
    set.handles[set.count] = handle;
    *bucket = set.count;
    return set.count++;
}

static ItemPointerData handle_of(struct wire_span key, uint64 version, CommandId curcid)
{
    CairnHandle wanted = {.version = version, .curcid = curcid, .key_size = key.size};
    ItemPointerData tid;
    uint64 number;
    uint32 i;

    wanted.hash = hash_combine(hash_bytes(key.data, (int) key.size),
                               murmurhash32((uint32) version ^ (uint32) (version >> 32) ^ curcid));
    if (!set.memory)
        begin_set();
    if (set.count == 0)
        grow_set();
    i = find_handle(&wanted, key.data);
    if (i == NO_ENTRY)
        i = add_handle(&wanted, key.data);
    number = set.start + i;
    ItemPointerSet(&tid, (BlockNumber) (number / CAIRN_HANDLES_PER_BLOCK),
                   (OffsetNumber) (number % CAIRN_HANDLES_PER_BLOCK + 1));
    return tid;
}

ItemPointerData cairn_handle_none(void)
{
    ItemPointerData tid;

    ItemPointerSet(&tid, MaxBlockNumber, NO_HANDLE);
    return tid;
}

ItemPointerData cairn_handle_of_row(const CairnView *view, const CairnRow *row)
{
    uint64 version = row->own ? 0 : wire_item_version(row->item.data);

    return handle_of(row->key, version, version == 0 ? view->curcid : FirstCommandId);
}

ItemPointerData cairn_handle_of_insert(struct wire_span key, CommandId cid)
{
    return handle_of(key, 0, cid + 1);
}

static const CairnHandle *find_number(Relation relation, const ItemPointerData *tid)
{
    OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);
    uint64 number = (uint64) ItemPointerGetBlockNumberNoCheck(tid) * CAIRN_HANDLES_PER_BLOCK + offset - 1;
    const CairnHandle *handle = NULL;
    struct wire_reader key;

    if (set.memory && offset >= 1 && offset <= CAIRN_HANDLES_PER_BLOCK && number >= set.start &&
        number - set.start < set.count) {
        handle = set.handles[number - set.start];
        key = wire_reader_of(handle->key, handle->key_size);
        if (wire_read_u64(&key) == cairn_table_of(relation)->storage_id)
            return handle;
    }
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("ctid (%u,%u) does not name a row of table %s in this transaction",
                           ItemPointerGetBlockNumberNoCheck(tid), offset, cairn_table_name(relation)),
                    errdetail("The ctid of a row of a cairn table is valid only in the transaction that has read it."),
                    errhint("Use the primary key.")));
}

bool cairn_handle_fetch(Relation relation, const ItemPointerData *tid, Snapshot snapshot, CairnRow *row)
{
    const CairnHandle *handle = find_number(relation, tid);
    bool mvcc = snapshot && snapshot->snapshot_type == SNAPSHOT_MVCC;
    CairnView view;

    cairn_view_init(&view, relation, snapshot);
    if (!mvcc && handle->version != 0) {
        /* What the running statement has seen, whatever this transaction or others have done to the row since: its own
         * version is less than anything that is kept for it. */
        view.snapshot = cairn_xact_snapshot(ActiveSnapshotSet() ? GetActiveSnapshot() : NULL);
        view.curcid = FirstCommandId;
    } else if (!mvcc)
        view.curcid = handle->curcid;
    if (!cairn_get(&view, (struct wire_span){handle->key, handle->key_size}, row))
        return false;
    return (row->own ? 0 : wire_item_version(row->item.data)) == handle->version;
}
