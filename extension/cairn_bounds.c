/*
 * Scan keys to key bytes: an equality prefix of the key columns, then at most one column with bounds. Since a column's
 * encoding delimits itself, all rows with given leading columns are exactly the keys that begin with these columns'
 * bytes.
 *
 * What the bytes cannot say is left to the executor's recheck; leaving a key out only widens the range.
 */
#include "cairn_indexscan.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

#include "cairn_row.h"

/* Scan keys under translation. */
typedef struct Bounding {
    Relation table;
    CairnTable *descriptor;
    Relation index;
    ScanKey keys;
    int key_count;
    Datum equal[WIRE_KEY_COLUMNS_MAX]; /* values of the leading columns given by equality */
    int equal_count;
    int used; /* scan keys that are in the bounds */
    CairnBounds *out;
} Bounding;

/* What a comparison value is to the column's type. */
typedef enum Fit {
    FIT_EXACT,
    FIT_BELOW, /* less than every value of the type */
    FIT_ABOVE
} Fit;

static int64 integer_of(Oid type, Datum value)
{
    return type == INT2OID ? DatumGetInt16(value) : type == INT4OID ? DatumGetInt32(value) : DatumGetInt64(value);
}

static bool is_integer(Oid type)
{
    return type == INT2OID || type == INT4OID || type == INT8OID;
}

/* The scan key's value in the column's own type: operators of the integer family take any two integer types. */
static Fit fit_value(const Bounding *b, ScanKey key, Datum *value)
{
    Oid column = b->index->rd_opcintype[key->sk_attno - 1];
    Oid type = OidIsValid(key->sk_subtype) ? key->sk_subtype : column;
    int64 number;

    *value = key->sk_argument;
    if (type == column || !is_integer(column) || !is_integer(type))
        return FIT_EXACT;
    number = integer_of(type, key->sk_argument);
    if (column == INT2OID)
        *value = Int16GetDatum((int16) number);
    else if (column == INT4OID)
        *value = Int32GetDatum((int32) number);
    else
        *value = Int64GetDatum(number);
    if (integer_of(column, *value) == number)
        return FIT_EXACT;
    return number < 0 ? FIT_BELOW : FIT_ABOVE;
}

static bool is_usable(ScanKey key)
{
    return !(key->sk_flags & (SK_ISNULL | SK_ROW_HEADER | SK_ROW_MEMBER | SK_SEARCHARRAY | SK_SEARCHNULL |
                              SK_SEARCHNOTNULL | SK_ORDER_BY));
}

/* Take leading columns given by equality. False: no row can match. */
static bool take_equalities(Bounding *b)
{
    for (int column = 0; column < b->descriptor->key_count; column++) {
        int found = -1;

        for (int i = 0; i < b->key_count && found < 0; i++) {
            if (b->keys[i].sk_attno == column + 1 && b->keys[i].sk_strategy == BTEqualStrategyNumber &&
                is_usable(&b->keys[i]))
                found = i;
        }
        if (found < 0)
            return true;
        if (fit_value(b, &b->keys[found], &b->equal[column]) != FIT_EXACT)
            return false;
        b->equal_count++;
        b->used++;
    }
    return true;
}

static struct wire_span low_of(const CairnBounds *out)
{
    return (struct wire_span){out->low, out->low_size};
}

static struct wire_span high_of(const CairnBounds *out)
{
    return (struct wire_span){out->high, out->high_size};
}

static void raise_low(CairnBounds *out, struct wire_span bytes)
{
    if (wire_span_compare(bytes, low_of(out)) <= 0)
        return;
    memcpy(out->low, bytes.data, bytes.size);
    out->low_size = bytes.size;
}

static void lower_high(CairnBounds *out, struct wire_span bytes)
{
    if (out->high_size > 0 && wire_span_compare(bytes, high_of(out)) >= 0)
        return;
    memcpy(out->high, bytes.data, bytes.size);
    out->high_size = bytes.size;
}

/* One comparison on the first column not given by equality. False: no row can match. */
static bool take_comparison(Bounding *b, ScanKey key)
{
    StrategyNumber strategy = key->sk_strategy;
    bool wants_less = strategy == BTLessStrategyNumber || strategy == BTLessEqualStrategyNumber;
    Datum values[WIRE_KEY_COLUMNS_MAX];
    uint8 bytes[WIRE_KEY_MAX];
    struct wire_writer w;
    Fit fit;

    memcpy(values, b->equal, sizeof(values));
    fit = fit_value(b, key, &values[b->equal_count]);
    if (fit != FIT_EXACT) {
        b->used++;
        return wants_less == (fit == FIT_ABOVE);
    }
    w = wire_writer_of(bytes, sizeof(bytes));
    w.size = cairn_row_key_prefix(b->table, b->descriptor, values, b->equal_count + 1, bytes);
    if (w.size == 0)
        return true; /* such a value is in no key; where it would stand among them, the recheck knows */
    b->used++;
    if ((strategy == BTLessEqualStrategyNumber || strategy == BTGreaterStrategyNumber) && !wire_key_prefix_end(&w))
        return wants_less;
    if (wants_less)
        lower_high(b->out, (struct wire_span){bytes, w.size});
    else
        raise_low(b->out, (struct wire_span){bytes, w.size});
    return true;
}

/* The range of all keys that begin with the equality prefix. False: no key does. */
static bool take_prefix(Bounding *b)
{
    CairnBounds *out = b->out;
    struct wire_writer high;

    out->low_size = cairn_row_key_prefix(b->table, b->descriptor, b->equal, b->equal_count, out->low);
    if (out->low_size == 0)
        return false;
    high = wire_writer_of(out->high, sizeof(out->high));
    wire_write_bytes(&high, out->low, out->low_size);
    (void) wire_key_prefix_end(&high);
    out->high_size = high.size;
    return true;
}

static bool any_null(const Bounding *b)
{
    for (int i = 0; i < b->key_count; i++) {
        if (b->keys[i].sk_flags & SK_ISNULL)
            return true;
    }
    return false;
}

static bool compute(Bounding *b)
{
    CairnTable *table = b->descriptor;
    CairnBounds *out = b->out;

    /* All operators of our classes are strict. */
    if (any_null(b) || !take_equalities(b) || !take_prefix(b))
        return false;
    if (b->equal_count == table->key_count) {
        out->access = CAIRN_ACCESS_POINT;
        return true;
    }
    out->access = CAIRN_ACCESS_RANGE;
    if (table->hashed && b->equal_count == 0) {
        out->access = CAIRN_ACCESS_SORT;
        return true;
    }
    for (int i = 0; i < b->key_count; i++) {
        ScanKey key = &b->keys[i];

        if (key->sk_attno == b->equal_count + 1 && key->sk_strategy != BTEqualStrategyNumber && is_usable(key) &&
            !take_comparison(b, key))
            return false;
    }
    return wire_span_compare(low_of(out), high_of(out)) < 0;
}

void cairn_bounds_compute(Relation table, Relation index, ScanKey keys, int key_count, CairnBounds *out)
{
    Bounding b = {.table = table, .index = index, .keys = keys, .key_count = key_count, .out = out};

    b.descriptor = cairn_table_of(table);
    out->low_size = out->high_size = 0;
    if (!compute(&b))
        out->access = CAIRN_ACCESS_NOTHING;
    out->recheck = b.used < key_count;
}
