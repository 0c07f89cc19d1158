/*
 * Descriptors of cairn tables, built from the relation cache.
 *
 * Happy path: a relation is opened, its descriptor hangs in rd_amcache already and is handed out. Otherwise columns and
 * primary key are read from the relation cache, the storage id is asked for once, and the whole is kept as one chunk
 * that goes with the next invalidation.
 *
 * Failure modes: another access method (42809), a table dropped meanwhile (42P01), no primary key (55000, only where
 * one is needed), a key column of a type without an order-preserving form (0A000), the storage process down (57P03).
 */
#include "cairn_table.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "cairn_error.h"
#include "cairn_indexam.h"
#include "cairn_lane.h"

typedef struct KeyTypeName {
    Oid type;
    enum wire_key_type key_type;
} KeyTypeName;

static const KeyTypeName key_types[] = {
    {TEXTOID, WIRE_KEY_TEXT},           {VARCHAROID, WIRE_KEY_TEXT},
    {BYTEAOID, WIRE_KEY_BYTES},         {INT2OID, WIRE_KEY_INTEGER},
    {INT4OID, WIRE_KEY_INTEGER},        {INT8OID, WIRE_KEY_INTEGER},
    {NUMERICOID, WIRE_KEY_NUMBER},      {TIMESTAMPTZOID, WIRE_KEY_TIMESTAMP},
    {TIMESTAMPOID, WIRE_KEY_TIMESTAMP}, {DATEOID, WIRE_KEY_DATE},
    {UUIDOID, WIRE_KEY_UUID},           {BOOLOID, WIRE_KEY_BOOLEAN},
};

bool cairn_table_key_type(Oid type, enum wire_key_type *out)
{
    Oid base = getBaseType(type);

    for (int i = 0; i < (int) lengthof(key_types); i++) {
        if (key_types[i].type == base) {
            *out = key_types[i].key_type;
            return true;
        }
    }
    return false;
}

bool cairn_table_is_cairn(Relation relation)
{
    static const TableAmRoutine *routine;

    if (!relation->rd_tableam)
        return false;
    if (!routine && relation->rd_rel->relam == get_table_am_oid("cairn", true))
        routine = relation->rd_tableam;
    return relation->rd_tableam == routine;
}

char *cairn_table_name(Relation relation)
{
    return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
                                      RelationGetRelationName(relation));
}

AttrNumber cairn_table_column(Relation relation, const CairnTable *table, const char *name, Size size)
{
    for (int i = 0; i < table->column_count && size > 0; i++)
        if (table->columns[i].name_size == size &&
            memcmp(NameStr(TupleDescAttr(RelationGetDescr(relation), i)->attname), name, size) == 0)
            return (AttrNumber) (i + 1);
    return 0;
}

void cairn_table_identity(Oid database, Oid relfilenode, uint8 out[CAIRN_IDENTITY_SIZE])
{
    struct wire_writer w = wire_writer_of(out, CAIRN_IDENTITY_SIZE);

    wire_write_u32(&w, database);
    wire_write_u32(&w, 0);
    wire_write_u32(&w, relfilenode);
}

/* STORAGE and LOOKUP: an identity goes, an id comes back. */
static uint64 ask_for_storage(enum wire_operation operation, Oid database, Oid relfilenode, const CairnSubject *subject)
{
    struct wire_request header = {.operation = operation};
    uint8 identity[CAIRN_IDENTITY_SIZE];
    CairnRequest request;
    CairnReply reply;
    uint64 storage_id;

    cairn_table_identity(database, relfilenode, identity);
    cairn_request_begin(&request, &header, 2 * CAIRN_IDENTITY_SIZE);
    wire_write_span(&request.writer, identity, CAIRN_IDENTITY_SIZE);
    cairn_lane_call(&request, &reply);
    if (reply.status != WIRE_OK)
        cairn_error_raise(reply.status, subject);
    storage_id = wire_read_u64(&reply.body);
    if (reply.body.failed)
        cairn_error_raise(WIRE_E_INTERNAL, subject);
    return storage_id;
}

void cairn_table_create_storage(Oid database, Oid relfilenode)
{
    CairnSubject subject = {NULL, NULL, "create the storage of the table"};

    (void) ask_for_storage(WIRE_STORAGE, database, relfilenode, &subject);
}

static uint64 find_storage(Relation relation)
{
    CairnSubject subject = {cairn_table_name(relation), NULL, "open table"};
    uint64 storage_id = ask_for_storage(WIRE_LOOKUP, relation->rd_node.dbNode, relation->rd_node.relNode, &subject);

    if (storage_id == 0)
        cairn_error_raise(WIRE_E_NO_STORAGE, &subject);
    return storage_id;
}

/* Types whose text depends on settings or on names that others may change. */
static bool has_unstable_text(Oid type)
{
    switch (type) {
    case CASHOID:
    case REGPROCOID:
    case REGPROCEDUREOID:
    case REGOPEROID:
    case REGOPERATOROID:
    case REGCLASSOID:
    case REGCOLLATIONOID:
    case REGTYPEOID:
    case REGCONFIGOID:
    case REGDICTIONARYOID:
    case REGROLEOID:
    case REGNAMESPACEOID:
        return true;
    default:
        return false;
    }
}

/* Types that cross by send and receive: base types whose binary form holds no oids of user-defined types. */
static bool has_stable_binary_form(Oid type)
{
    HeapTuple tuple;
    Form_pg_type form;
    bool stable;

    if (has_unstable_text(get_element_type(type)))
        return true;
    tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));

    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for type %u", type);
    form = (Form_pg_type) GETSTRUCT(tuple);
    stable = form->typtype == TYPTYPE_BASE && form->typcategory != TYPCATEGORY_ARRAY && !OidIsValid(form->typelem) &&
             OidIsValid(form->typsend) && OidIsValid(form->typreceive);
    ReleaseSysCache(tuple);
    return stable;
}

static void describe_opaque(CairnColumn *column)
{
    bool varlena;

    if (has_stable_binary_form(column->type)) {
        column->codec = CAIRN_CODEC_BINARY;
        getTypeBinaryOutputInfo(column->type, &column->out_function, &varlena);
        getTypeBinaryInputInfo(column->type, &column->in_function, &column->io_parameter);
    } else {
        column->codec = CAIRN_CODEC_STRING;
        getTypeOutputInfo(column->type, &column->out_function, &varlena);
        getTypeInputInfo(column->type, &column->in_function, &column->io_parameter);
    }
}

static void describe_codec(CairnColumn *column)
{
    switch (column->type) {
    case BOOLOID:
        column->codec = CAIRN_CODEC_BOOLEAN;
        break;
    case INT2OID:
        column->codec = CAIRN_CODEC_INT2;
        break;
    case INT4OID:
        column->codec = CAIRN_CODEC_INT4;
        break;
    case INT8OID:
        column->codec = CAIRN_CODEC_INT8;
        break;
    case NUMERICOID:
        column->codec = CAIRN_CODEC_NUMERIC;
        break;
    case TEXTOID:
    case VARCHAROID:
    case BPCHAROID:
        column->codec = CAIRN_CODEC_TEXT;
        break;
    case BYTEAOID:
        column->codec = CAIRN_CODEC_BYTEA;
        break;
    case JSONBOID:
        column->codec = CAIRN_CODEC_JSONB;
        break;
    case JSONOID:
    case XMLOID:
        column->codec = CAIRN_CODEC_RAW;
        break;
    default:
        describe_opaque(column);
    }
}

static void describe_column(CairnTable *table, Form_pg_attribute attribute)
{
    CairnColumn *column = &table->columns[attribute->attnum - 1];

    column->number = attribute->attnum;
    column->dropped = attribute->attisdropped;
    if (column->dropped)
        return;
    column->name_size = (uint8) strlen(NameStr(attribute->attname));
    column->typmod = attribute->atttypmod;
    column->type = getBaseTypeAndTypmod(attribute->atttypid, &column->typmod);
    column->generated = attribute->attgenerated != '\0';
    describe_codec(column);
    column->is_plain = column->codec < CAIRN_CODEC_RAW && column->type == attribute->atttypid && column->typmod == -1 &&
                       !column->generated;
    if (attribute->atttypid == JSONBOID && strcmp(NameStr(attribute->attname), CAIRN_ATTRIBUTES_COLUMN) == 0 &&
        !column->generated)
        table->attributes_number = attribute->attnum;
}

static void describe_key(Relation relation, Relation index, CairnTable *table)
{
    const CairnIndexOptions *options = (const CairnIndexOptions *) index->rd_options;

    table->hashed = !options || options->partition_by == CAIRN_PARTITION_BY_HASH;
    if (index->rd_index->indnkeyatts > WIRE_KEY_COLUMNS_MAX)
        ereport(ERROR,
                (errcode(ERRCODE_TOO_MANY_COLUMNS), errmsg("the primary key of table %s has more than %d columns",
                                                           cairn_table_name(relation), WIRE_KEY_COLUMNS_MAX)));
    for (int i = 0; i < index->rd_index->indnkeyatts; i++) {
        AttrNumber number = index->rd_index->indkey.values[i];
        CairnKeyColumn *key = &table->key[i];

        if (number <= 0 ||
            !cairn_table_key_type(TupleDescAttr(RelationGetDescr(relation), number - 1)->atttypid, &key->type))
            ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                            errmsg("column %d of the primary key of table %s has a type that cannot be part of a key",
                                   i + 1, cairn_table_name(relation)),
                            errhint("Key columns can be text, bytea, smallint, integer, bigint, numeric, timestamp, "
                                    "date, uuid and boolean.")));
        key->number = number;
        key->keep_value = key->type == WIRE_KEY_NUMBER;
        table->columns[number - 1].key_position = (int16) (i + 1);
    }
    table->key_count = index->rd_index->indnkeyatts;
}

static bool goes_sql_way(Relation relation)
{
    TupleConstr *constraints = RelationGetDescr(relation)->constr;

    return relation->trigdesc != NULL || relation->rd_rel->relrowsecurity || relation->rd_rel->relispartition ||
           (constraints && (constraints->num_check > 0 || constraints->has_generated_stored));
}

static CairnTable *describe(Relation relation)
{
    TupleDesc descriptor = RelationGetDescr(relation);
    Size size = offsetof(CairnTable, columns) + (Size) descriptor->natts * sizeof(CairnColumn);
    CairnTable *table = palloc0(size);
    Oid key_index = RelationGetPrimaryKeyIndex(relation);

    table->chunk_size = size;
    table->relation = RelationGetRelid(relation);
    table->hashed = true;
    table->column_count = descriptor->natts;
    for (int i = 0; i < descriptor->natts; i++)
        describe_column(table, TupleDescAttr(descriptor, i));
    if (OidIsValid(key_index)) {
        Relation index = index_open(key_index, AccessShareLock);

        describe_key(relation, index, table);
        index_close(index, AccessShareLock);
    }
    table->sql_way = goes_sql_way(relation);
    table->storage_id = find_storage(relation);
    return table;
}

CairnTable *cairn_table_of(Relation relation)
{
    if (!relation->rd_amcache) {
        CairnTable *built;
        CairnTable *kept;

        if (!cairn_table_is_cairn(relation))
            ereport(ERROR,
                    (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("%s is not a cairn table", cairn_table_name(relation)),
                     errhint("Create it with CREATE TABLE ... USING cairn or with cairn.create_table().")));
        built = describe(relation);
        kept = MemoryContextAlloc(CacheMemoryContext, built->chunk_size);
        memcpy(kept, built, built->chunk_size);
        pfree(built);
        if (relation->rd_amcache)
            pfree(relation->rd_amcache);
        relation->rd_amcache = kept;
    }
    return relation->rd_amcache;
}

Relation cairn_table_open(Oid relid, LOCKMODE mode)
{
    Relation relation = try_table_open(relid, mode);
    CairnTable *table;

    if (!relation)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table with OID %u does not exist", relid),
                        errdetail("It was dropped after the name was looked up.")));
    if (!cairn_table_is_cairn(relation))
        ereport(ERROR,
                (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("%s is not a cairn table", cairn_table_name(relation)),
                 errhint("Create it with CREATE TABLE ... USING cairn or with cairn.create_table().")));
    table = cairn_table_of(relation);
    if (table->key_count == 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("table %s has no primary key", cairn_table_name(relation)),
                        errhint("Add one with ALTER TABLE ... ADD PRIMARY KEY while the table is empty.")));
    return relation;
}
