-- The item API: DynamoDB's operations as functions on cairn tables.

GRANT USAGE ON SCHEMA cairn TO PUBLIC;

CREATE FUNCTION cairn.create_table(
    name text,
    partition_key text,
    sort_key text DEFAULT NULL,
    partition_by text DEFAULT 'hash'
) RETURNS regclass
AS 'MODULE_PATHNAME', 'cairn_create_table'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION cairn.create_table(text, text, text, text) IS
'Create a cairn table. name: as SQL reads it (quote it to keep capitals). partition_key, sort_key: a column name, kept as given, and its type, for example ''Artist text''; S, N and B stand for text, numeric and bytea. partition_by: hash or range. All other attributes live in the column "attributes". Result: the table. Errors: 22023 malformed argument, 0A000 type that cannot be a key, those of CREATE TABLE. DynamoDB: CreateTable.';

CREATE FUNCTION cairn.put_item(
    "table" regclass,
    item jsonb,
    condition jsonb DEFAULT NULL,
    return_values text DEFAULT 'NONE'
) RETURNS jsonb
AS 'MODULE_PATHNAME', 'cairn_put_item'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION cairn.put_item(regclass, jsonb, jsonb, text) IS
'Write a whole item, replacing the one under its key. item: all key attributes and any others. condition: {"attribute_exists": name}, {"attribute_not_exists": name}, {"equals": {name: value}} or an array of these. return_values: NONE or ALL_OLD. Result: the replaced item for ALL_OLD, else NULL. Needs INSERT and UPDATE; with a condition or a result also SELECT. Errors: 23000 condition not met, 22023 malformed item, missing or empty key, 42804 mistyped attribute, 22003 number, 54000 limits, 23502 and 23514 constraints, 428C9 generated column, 42501 privileges, 40001 changed since the snapshot, 0A000 rules that item functions cannot apply yet. DynamoDB: PutItem.';

CREATE FUNCTION cairn.get_item("table" regclass, key jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'cairn_get_item'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION cairn.get_item(regclass, jsonb) IS
'Read one item. key: exactly the key attributes. Result: the item, or NULL if there is none. Needs SELECT. Errors: 22023 missing, extra or empty key attribute, 42804 mistyped, 42501 privileges, 72000 snapshot too old. DynamoDB: GetItem with ConsistentRead.';

CREATE FUNCTION cairn.delete_item(
    "table" regclass,
    key jsonb,
    condition jsonb DEFAULT NULL,
    return_values text DEFAULT 'NONE'
) RETURNS jsonb
AS 'MODULE_PATHNAME', 'cairn_delete_item'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION cairn.delete_item(regclass, jsonb, jsonb, text) IS
'Delete the item under a key; without one, nothing happens. condition: see put_item. return_values: NONE or ALL_OLD. Result: the deleted item for ALL_OLD, else NULL. Needs DELETE; with a condition or a result also SELECT. Errors: 23000 condition not met, 22023 malformed key, 42804 mistyped, 42501 privileges, 40001 changed since the snapshot, 0A000 rules that item functions cannot apply yet. DynamoDB: DeleteItem.';

CREATE FUNCTION cairn.update_item(
    "table" regclass,
    key jsonb,
    set_attributes jsonb DEFAULT '{}',
    remove_attributes text[] DEFAULT '{}',
    condition jsonb DEFAULT NULL,
    return_values text DEFAULT 'NONE'
) RETURNS jsonb
AS 'MODULE_PATHNAME', 'cairn_update_item'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION cairn.update_item(regclass, jsonb, jsonb, text[], jsonb, text) IS
'Replace and remove top-level attributes of the item under a key, creating it if there is none. set_attributes: names and new values. remove_attributes: names. condition: see put_item. return_values: NONE, ALL_OLD or ALL_NEW. Result: that image of the item, or NULL. Needs INSERT and UPDATE; with a condition or a result also SELECT. Errors: those of put_item; 22023 also for a key attribute or one named twice. DynamoDB: UpdateItem with SET and REMOVE of whole attributes.';

CREATE FUNCTION cairn.query(
    "table" regclass,
    partition_key jsonb,
    sort_condition jsonb DEFAULT NULL,
    forward boolean DEFAULT true,
    max_items integer DEFAULT NULL,
    start_key jsonb DEFAULT NULL
) RETURNS SETOF jsonb
AS 'MODULE_PATHNAME', 'cairn_query'
LANGUAGE C VOLATILE PARALLEL RESTRICTED
ROWS 100;

COMMENT ON FUNCTION cairn.query(regclass, jsonb, jsonb, boolean, integer, jsonb) IS
'Items of one partition key in the order of the sort key. partition_key: {name: value}, or the value alone. sort_condition: {"=": v}, {"<": v}, {"<=": v}, {">": v}, {">=": v}, {"between": [a, b]} or {"begins_with": prefix}. forward: ascending. max_items: stop after so many. start_key: begin behind this key or item, the last one of an earlier call (see key_of). Result: the items. Needs SELECT. Errors: 22023 malformed condition or key, 42804 mistyped value, 42501 privileges, 72000 snapshot too old. DynamoDB: Query.';

CREATE FUNCTION cairn.scan(
    "table" regclass,
    max_items integer DEFAULT NULL,
    start_key jsonb DEFAULT NULL,
    segment integer DEFAULT 0,
    total_segments integer DEFAULT 1
) RETURNS SETOF jsonb
AS 'MODULE_PATHNAME', 'cairn_scan'
LANGUAGE C VOLATILE PARALLEL RESTRICTED
ROWS 1000;

COMMENT ON FUNCTION cairn.scan(regclass, integer, jsonb, integer, integer) IS
'All items of a table in the order of their encoded keys (hash-partitioned tables: by hash). max_items: stop after so many. start_key: begin behind this key or item. segment, total_segments: one of several disjoint parts of a hash-partitioned table, for workers side by side. Result: the items. Needs SELECT. Errors: 22023 malformed argument, 0A000 segments of a range table, 42501 privileges, 72000 snapshot too old. DynamoDB: Scan.';

CREATE FUNCTION cairn.batch_get_item("table" regclass, keys jsonb)
RETURNS SETOF jsonb
AS 'MODULE_PATHNAME', 'cairn_batch_get_item'
LANGUAGE C VOLATILE PARALLEL RESTRICTED
ROWS 25;

COMMENT ON FUNCTION cairn.batch_get_item(regclass, jsonb) IS
'Read up to 100 items of one table. keys: an array of keys, none twice. Result: the items that exist, in the order asked. Needs SELECT. Errors: 22023 malformed key or a key twice, 54000 more than 100 keys, 42804 mistyped, 42501 privileges, 72000 snapshot too old. DynamoDB: BatchGetItem on one table.';

CREATE FUNCTION cairn.batch_write_item(
    "table" regclass,
    puts jsonb DEFAULT '[]',
    deletes jsonb DEFAULT '[]'
) RETURNS integer
AS 'MODULE_PATHNAME', 'cairn_batch_write_item'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION cairn.batch_write_item(regclass, jsonb, jsonb) IS
'Write up to 25 items of one table, all or none. puts: an array of items. deletes: an array of keys. No key may occur twice. Result: the number of writes. Needs INSERT and UPDATE for puts, DELETE for deletes. Errors: those of put_item and delete_item; 54000 more than 25 writes. DynamoDB: BatchWriteItem on one table.';

CREATE FUNCTION cairn.key_of("table" regclass, item jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'cairn_key_of'
LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION cairn.key_of(regclass, jsonb) IS
'The key attributes of an item: what get_item, and start_key of query and scan, take. item: an item, or any object with the key attributes. Result: an object with the key attributes alone. Needs SELECT. Errors: 22023 missing or empty key attribute, 42804 mistyped, 42501 privileges. DynamoDB: LastEvaluatedKey.';
