-- The table access method, and the index access method that makes its primary keys known to the planner.

CREATE FUNCTION cairn.table_handler(internal) RETURNS table_am_handler
AS 'MODULE_PATHNAME', 'cairn_table_handler'
LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION cairn.table_handler(internal) IS
'Handler of the table access method cairn. Not to be called.';

CREATE FUNCTION cairn.ordered_handler(internal) RETURNS index_am_handler
AS 'MODULE_PATHNAME', 'cairn_ordered_handler'
LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION cairn.ordered_handler(internal) IS
'Handler of the index access method cairn_ordered. Not to be called.';

CREATE ACCESS METHOD cairn TYPE TABLE HANDLER cairn.table_handler;

COMMENT ON ACCESS METHOD cairn IS
'tables whose rows are items, clustered by the primary key and spread by its first column: CREATE TABLE ... USING cairn WITH (partition_by = ''hash'' or ''range'')';

CREATE ACCESS METHOD cairn_ordered TYPE INDEX HANDLER cairn.ordered_handler;

COMMENT ON ACCESS METHOD cairn_ordered IS
'primary keys of cairn tables: the order in which their rows lie';

-- Operators and comparison functions are those of btree.

CREATE OPERATOR CLASS cairn.bool_ops DEFAULT FOR TYPE boolean USING cairn_ordered AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 btboolcmp(boolean, boolean);

CREATE OPERATOR CLASS cairn.numeric_ops DEFAULT FOR TYPE numeric USING cairn_ordered AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 numeric_cmp(numeric, numeric);

CREATE OPERATOR CLASS cairn.text_ops DEFAULT FOR TYPE text USING cairn_ordered AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 bttextcmp(text, text);

CREATE OPERATOR CLASS cairn.bytea_ops DEFAULT FOR TYPE bytea USING cairn_ordered AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 byteacmp(bytea, bytea);

CREATE OPERATOR CLASS cairn.date_ops DEFAULT FOR TYPE date USING cairn_ordered AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 date_cmp(date, date);

CREATE OPERATOR CLASS cairn.timestamp_ops DEFAULT FOR TYPE timestamp USING cairn_ordered AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 timestamp_cmp(timestamp, timestamp);

CREATE OPERATOR CLASS cairn.timestamptz_ops DEFAULT FOR TYPE timestamptz USING cairn_ordered AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 timestamptz_cmp(timestamptz, timestamptz);

CREATE OPERATOR CLASS cairn.uuid_ops DEFAULT FOR TYPE uuid USING cairn_ordered AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 uuid_cmp(uuid, uuid);

-- smallint, integer and bigint are one kind of key: they compare with each other.
CREATE OPERATOR FAMILY cairn.integer_ops USING cairn_ordered;

CREATE OPERATOR CLASS cairn.int2_ops DEFAULT FOR TYPE int2 USING cairn_ordered FAMILY cairn.integer_ops AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 btint2cmp(int2, int2);

CREATE OPERATOR CLASS cairn.int4_ops DEFAULT FOR TYPE int4 USING cairn_ordered FAMILY cairn.integer_ops AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 btint4cmp(int4, int4);

CREATE OPERATOR CLASS cairn.int8_ops DEFAULT FOR TYPE int8 USING cairn_ordered FAMILY cairn.integer_ops AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 btint8cmp(int8, int8);

ALTER OPERATOR FAMILY cairn.integer_ops USING cairn_ordered ADD
    OPERATOR 1 < (int2, int4), OPERATOR 2 <= (int2, int4), OPERATOR 3 = (int2, int4), OPERATOR 4 >= (int2, int4), OPERATOR 5 > (int2, int4),
    FUNCTION 1 (int2, int4) btint24cmp(int2, int4),
    OPERATOR 1 < (int2, int8), OPERATOR 2 <= (int2, int8), OPERATOR 3 = (int2, int8), OPERATOR 4 >= (int2, int8), OPERATOR 5 > (int2, int8),
    FUNCTION 1 (int2, int8) btint28cmp(int2, int8),
    OPERATOR 1 < (int4, int2), OPERATOR 2 <= (int4, int2), OPERATOR 3 = (int4, int2), OPERATOR 4 >= (int4, int2), OPERATOR 5 > (int4, int2),
    FUNCTION 1 (int4, int2) btint42cmp(int4, int2),
    OPERATOR 1 < (int4, int8), OPERATOR 2 <= (int4, int8), OPERATOR 3 = (int4, int8), OPERATOR 4 >= (int4, int8), OPERATOR 5 > (int4, int8),
    FUNCTION 1 (int4, int8) btint48cmp(int4, int8),
    OPERATOR 1 < (int8, int2), OPERATOR 2 <= (int8, int2), OPERATOR 3 = (int8, int2), OPERATOR 4 >= (int8, int2), OPERATOR 5 > (int8, int2),
    FUNCTION 1 (int8, int2) btint82cmp(int8, int2),
    OPERATOR 1 < (int8, int4), OPERATOR 2 <= (int8, int4), OPERATOR 3 = (int8, int4), OPERATOR 4 >= (int8, int4), OPERATOR 5 > (int8, int4),
    FUNCTION 1 (int8, int4) btint84cmp(int8, int4);

COMMENT ON OPERATOR FAMILY cairn.integer_ops USING cairn_ordered IS 'smallint, integer and bigint in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.bool_ops USING cairn_ordered IS 'boolean in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.numeric_ops USING cairn_ordered IS 'numeric in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.text_ops USING cairn_ordered IS 'text in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.bytea_ops USING cairn_ordered IS 'bytea in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.date_ops USING cairn_ordered IS 'date in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.timestamp_ops USING cairn_ordered IS 'timestamp in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.timestamptz_ops USING cairn_ordered IS 'timestamptz in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.uuid_ops USING cairn_ordered IS 'uuid in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.int2_ops USING cairn_ordered IS 'int2 in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.int4_ops USING cairn_ordered IS 'int4 in keys of cairn tables';
COMMENT ON OPERATOR CLASS cairn.int8_ops USING cairn_ordered IS 'int8 in keys of cairn tables';
