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

-- Operators and comparison functions are those of btree. smallint, integer and bigint are one kind of key: they compare with each other.
CREATE OPERATOR FAMILY cairn.integer_ops USING cairn_ordered;
COMMENT ON OPERATOR FAMILY cairn.integer_ops USING cairn_ordered IS 'smallint, integer and bigint in keys of cairn tables';

DO $$
DECLARE
    class record;
BEGIN
    FOR class IN
        SELECT name, type::text, compare, CASE WHEN type::text IN ('smallint', 'integer', 'bigint') THEN 'FAMILY cairn.integer_ops' ELSE '' END AS family
        FROM (VALUES
            ('bool', 'bool'::regtype, 'btboolcmp'), ('numeric', 'numeric', 'numeric_cmp'), ('text', 'text', 'bttextcmp'),
            ('bytea', 'bytea', 'byteacmp'), ('date', 'date', 'date_cmp'), ('timestamp', 'timestamp', 'timestamp_cmp'),
            ('timestamptz', 'timestamptz', 'timestamptz_cmp'), ('uuid', 'uuid', 'uuid_cmp'),
            ('int2', 'int2', 'btint2cmp'), ('int4', 'int4', 'btint4cmp'), ('int8', 'int8', 'btint8cmp')
        ) AS classes(name, type, compare)
    LOOP
        EXECUTE format('CREATE OPERATOR CLASS cairn.%I DEFAULT FOR TYPE %s USING cairn_ordered %s AS
            OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 %s(%2$s, %2$s)',
            class.name || '_ops', class.type, class.family, class.compare);
        EXECUTE format('COMMENT ON OPERATOR CLASS cairn.%I USING cairn_ordered IS %L', class.name || '_ops',
            class.name || ' in keys of cairn tables');
    END LOOP;
    FOR class IN
        SELECT format('(%s, %s)', l, r) AS types, format('btint%s%scmp', substr(l, 4), substr(r, 4)) AS compare
        FROM unnest(ARRAY['int2', 'int4', 'int8']) l, unnest(ARRAY['int2', 'int4', 'int8']) r WHERE l <> r
    LOOP
        EXECUTE format('ALTER OPERATOR FAMILY cairn.integer_ops USING cairn_ordered ADD
            OPERATOR 1 < %1$s, OPERATOR 2 <= %1$s, OPERATOR 3 = %1$s, OPERATOR 4 >= %1$s, OPERATOR 5 > %1$s,
            FUNCTION 1 %1$s %2$s%1$s', class.types, class.compare);
    END LOOP;
END $$;
