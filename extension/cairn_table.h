/*
 * The descriptor of a cairn table: what both entrances, SQL and item functions, know of it.
 *
 * Built once per relcache entry, kept in rd_amcache as one chunk, gone with relcache invalidation (DDL, rename,
 * TRUNCATE).
 */
#ifndef CAIRN_TABLE_H
#define CAIRN_TABLE_H

#include "cairn_pg.h"

#include "utils/rel.h"

#include "wire_key.h"

/* The column that, if its type is jsonb, holds all attributes that no column declares. */
#define CAIRN_ATTRIBUTES_COLUMN "attributes"

/* How a column's Datum becomes an attribute value. */
typedef enum CairnColumnCodec {
    CAIRN_CODEC_BOOLEAN,
    CAIRN_CODEC_INT2,
    CAIRN_CODEC_INT4,
    CAIRN_CODEC_INT8,
    CAIRN_CODEC_NUMERIC,
    CAIRN_CODEC_TEXT, /* text and varchar, bpchar: S */
    CAIRN_CODEC_BYTEA,
    CAIRN_CODEC_JSONB, /* any attribute value */
    CAIRN_CODEC_RAW,   /* OPAQUE, the bytes of the value itself: json, xml, which their receive functions would parse */
    CAIRN_CODEC_BINARY, /* OPAQUE by the type's send and receive functions */
    CAIRN_CODEC_STRING  /* OPAQUE by its output and input functions: arrays, composites, ranges, enums and what has no
                           send */
} CairnColumnCodec;

typedef struct CairnColumn {
    AttrNumber number;
    Oid type; /* base type of a domain */
    int32 typmod;
    CairnColumnCodec codec;
    bool is_plain; /* item API may write it without Postgres' input functions: no domain, no typmod, not generated, not
                      opaque */
    Oid out_function; /* BINARY: send, STRING: output */
    Oid in_function;  /* BINARY: receive, STRING: input */
    Oid io_parameter;
    bool dropped;
    bool generated;
    int16 key_position; /* 0 = not in the key; else 1-based */
    uint8 name_size;    /* 0: dropped */
} CairnColumn;

typedef struct CairnKeyColumn {
    AttrNumber number;
    enum wire_key_type type;
    bool keep_value; /* numeric: the original is stored in the item too */
} CairnKeyColumn;

typedef struct CairnTable {
    Size chunk_size;
    Oid relation;
    uint64 storage_id;
    bool hashed;                  /* partition_by = 'hash' */
    int key_count;                /* >= 1; 0: the table has no primary key yet, only its row number (hidden key) */
    AttrNumber attributes_number; /* the jsonb catch-all column, 0 = none */
    bool sql_way;     /* triggers, CHECK, foreign keys, generated columns, row security: item writes go through the
                         executor's checks */
    int column_count; /* natts */
    CairnKeyColumn key[WIRE_KEY_COLUMNS_MAX];
    CairnColumn columns[FLEXIBLE_ARRAY_MEMBER]; /* by attribute number - 1 */
} CairnTable;

/*
 * The descriptor of an open relation. Looks the storage up at first use. The pointer is valid until the next
 * invalidation: copy what must last, or ask again. Errors:   42809 not a cairn table; 42P01 storage gone; 57P03 storage
 * process down; 0A000 unsupported key type (checked at CREATE already).
 */
CairnTable *cairn_table_of(Relation relation);

/* Open a table by name for item functions: lock mode, cairn table, has a primary key. Errors: 42P01, 42809, 55000 (no
 * key; hint). Caller closes it. */
Relation cairn_table_open(Oid relation, LOCKMODE mode);

/* "schema"."name" for messages, palloc'd. */
char *cairn_table_name(Relation relation);

/* The column of a name; 0: none. */
AttrNumber cairn_table_column(Relation relation, const CairnTable *table, const char *name, Size size);

/* Identity under which the storage process knows a relation: u32 database, u32 tablespace (0), u32 relfilenumber,
 * big-endian: 12 bytes. */
#define CAIRN_IDENTITY_SIZE 12
void cairn_table_identity(Oid database, Oid relfilenode, uint8 out[CAIRN_IDENTITY_SIZE]);

/* A new, empty storage for a relation that was just given a new file (CREATE, TRUNCATE, rewrite). Durable when it
 * returns. */
void cairn_table_create_storage(Oid database, Oid relfilenode);

/* Which key type a column type has; false if it cannot be part of a key. */
bool cairn_table_key_type(Oid type, enum wire_key_type *out);

/* Is `relation` of our table access method? */
bool cairn_table_is_cairn(Relation relation);

#endif
