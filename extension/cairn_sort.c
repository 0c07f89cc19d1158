/*
 * Sorted reading of a hash-partitioned table, for scans that must return the order of the index without a partition key
 * to hold on to. Such scans are dear and planned only where sequential scans are switched off; their answer is right
 * all the same.
 *
 * Happy path: each row becomes a pair of bytea, key without the hash and the row, and goes through Postgres' own sort.
 * Without the hash the bytes of keys order as their columns.
 */
#include "cairn_indexscan.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "wire_key.h"

#define HASH_END (WIRE_KEY_PREFIX_SIZE + WIRE_KEY_HASH_SIZE)
#define BYTEA_LESS 1957
#define BYTEA_GREATER 1959

struct CairnSort {
    MemoryContext memory;
    MemoryContext row_memory;
    Tuplesortstate *state;
    TupleTableSlot *slot;
    bool reversed; /* sorted descending */
};

static bytea *bytea_of(const void *first, Size first_size, const void *second, Size second_size)
{
    bytea *out = palloc(VARHDRSZ + first_size + second_size);

    SET_VARSIZE(out, VARHDRSZ + first_size + second_size);
    memcpy(VARDATA(out), first, first_size);
    if (second_size > 0)
        memcpy(VARDATA(out) + first_size, second, second_size);
    return out;
}

/* The pair: key behind the hash; u8 own, u32 key size, key, item. */
static void put_row(CairnSort *sort, const CairnRow *row)
{
    uint8 head[5 + WIRE_KEY_MAX];
    struct wire_writer w = wire_writer_of(head, sizeof(head));

    if (row->key.size < HASH_END || row->key.size > WIRE_KEY_MAX)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("a stored key is of %zu bytes", row->key.size)));
    wire_write_u8(&w, row->own);
    wire_write_u32(&w, (uint32) row->key.size);
    wire_write_bytes(&w, row->key.data, row->key.size);
    ExecClearTuple(sort->slot);
    sort->slot->tts_values[0] = PointerGetDatum(bytea_of(row->key.data + HASH_END, row->key.size - HASH_END, NULL, 0));
    sort->slot->tts_values[1] = PointerGetDatum(bytea_of(head, w.size, row->item.data, row->item.size));
    sort->slot->tts_isnull[0] = sort->slot->tts_isnull[1] = false;
    ExecStoreVirtualTuple(sort->slot);
    tuplesort_puttupleslot(sort->state, sort->slot);
}

static TupleDesc pair_descriptor(void)
{
    TupleDesc descriptor = CreateTemplateTupleDesc(2);

    TupleDescInitEntry(descriptor, 1, "key", BYTEAOID, -1, 0);
    TupleDescInitEntry(descriptor, 2, "row", BYTEAOID, -1, 0);
    return descriptor;
}

static void read_all(CairnSort *sort, CairnRange *range)
{
    TupleDesc descriptor = pair_descriptor();
    AttrNumber attribute = 1;
    Oid operator= sort->reversed ? BYTEA_GREATER : BYTEA_LESS;
    Oid collation = InvalidOid;
    bool nulls_first = false;
    MemoryContext previous;
    CairnRow row;

    sort->state = tuplesort_begin_heap(descriptor, 1, &attribute, &operator, & collation, &nulls_first, work_mem, NULL,
                                       TUPLESORT_RANDOMACCESS);
    sort->slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
    cairn_range_rewind(range);
    previous = MemoryContextSwitchTo(sort->row_memory);
    while (cairn_range_next(range, ForwardScanDirection, &row)) {
        CHECK_FOR_INTERRUPTS();
        MemoryContextReset(sort->row_memory);
        put_row(sort, &row);
    }
    MemoryContextSwitchTo(previous);
    tuplesort_performsort(sort->state);
    ExecDropSingleTupleTableSlot(sort->slot);
    sort->slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
}

CairnSort *cairn_sort_begin(CairnRange *range, bool backward)
{
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "CairnSort", ALLOCSET_DEFAULT_SIZES);
    MemoryContext previous = MemoryContextSwitchTo(memory);
    CairnSort *sort = palloc0(sizeof(CairnSort));

    sort->memory = memory;
    sort->row_memory = AllocSetContextCreate(memory, "CairnSortRow", ALLOCSET_DEFAULT_SIZES);
    sort->reversed = backward;
    read_all(sort, range);
    MemoryContextSwitchTo(previous);
    return sort;
}

bool cairn_sort_next(CairnSort *sort, ScanDirection direction, CairnRow *row)
{
    bool forward = ScanDirectionIsBackward(direction) == sort->reversed;
    bool is_null;
    bytea *stored;
    struct wire_reader r;

    MemoryContextReset(sort->row_memory);
    if (!tuplesort_gettupleslot(sort->state, forward, true, sort->slot, NULL))
        return false;
    stored = DatumGetByteaPP(slot_getattr(sort->slot, 2, &is_null));
    r = wire_reader_of(VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(stored));
    row->own = wire_read_u8(&r) != 0;
    row->key.size = wire_read_u32(&r);
    row->key.data = wire_read_bytes(&r, row->key.size);
    row->item.size = wire_reader_left(&r);
    row->item.data = wire_read_bytes(&r, row->item.size);
    return true;
}

MemoryContext cairn_sort_memory(CairnSort *sort)
{
    return sort->row_memory;
}

void cairn_sort_end(CairnSort *sort)
{
    tuplesort_end(sort->state);
    ExecDropSingleTupleTableSlot(sort->slot);
    MemoryContextDelete(sort->memory);
}
