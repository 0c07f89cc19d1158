-- What callers can do wrong, and what they are told: SQLSTATE, message, detail and hint.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;

CREATE FUNCTION told(statement text) RETURNS TABLE (said text) LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
    state text;
BEGIN
    EXECUTE statement;
    said := 'no error';
    RETURN NEXT;
EXCEPTION WHEN others THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    said := state || ' ' || regexp_replace(message, 'OID \d+', 'OID N');
    RETURN NEXT;
    FOR said IN SELECT x FROM unnest(ARRAY[detail, hint]) x WHERE x <> '' LOOP
        said := '      ' || said;
        RETURN NEXT;
    END LOOP;
END $$;
CREATE FUNCTION put_told(item text) RETURNS TABLE (said text) LANGUAGE sql AS $$ SELECT told(format('SELECT cairn.put_item(%L, %L)', 'bad', item)) $$;
CREATE FUNCTION get_told(key text) RETURNS TABLE (said text) LANGUAGE sql AS $$ SELECT told(format('SELECT cairn.get_item(%L, %L)', 'bad', key)) $$;
CREATE TABLE bad (p text COLLATE "C", s integer, n integer, t text, b bytea, f boolean, d date, num numeric, attributes jsonb, PRIMARY KEY (p, s)) USING cairn;

-- items that are no items
SELECT put_told(x) FROM unnest(ARRAY['[]', '"text"', '1', 'null', '[{"p": "x", "s": 1}]']) x;
SELECT put_told('{"p": "x", "s": 1, "": 2}');
SELECT put_told('{"p": "x", "s": 1, "attributes": {"a": 1}}');
SELECT told('SELECT cairn.put_item(NULL, NULL)');
SELECT told('SELECT cairn.put_item(''bad'', NULL)');
SELECT told('SELECT cairn.get_item(''bad'', NULL)');

-- keys: missing, extra, mistyped, empty
SELECT put_told('{"p": "x"}');
SELECT put_told('{"s": 1}');
SELECT get_told('{"p": "x"}');
SELECT get_told('{"p": "x", "s": 1, "n": 1}');
SELECT get_told('{"p": "x", "s": 1, "other": 1}');
SELECT get_told('[]');
SELECT put_told('{"p": 1, "s": 1}');
SELECT put_told('{"p": null, "s": 1}');
SELECT put_told('{"p": "x", "s": "1"}');
SELECT put_told('{"p": {"a": 1}, "s": 1}');
SELECT put_told('{"p": "x", "s": 1.5}');
SELECT put_told('{"p": "x", "s": 2147483648}');
SELECT put_told('{"p": "", "s": 1}');
SELECT get_told('{"p": "", "s": 1}');

-- sizes: partition key 2048 bytes, sort key 1024 bytes, item 400 KB
SELECT put_told(format('{"p": "%s", "s": 1}', repeat('k', 2048)));
SELECT put_told(format('{"p": "%s", "s": 1}', repeat('k', 2049)));
SELECT put_told(format('{"p": "%s", "s": 1}', repeat('ü', 1025)));
SELECT cairn.create_table('by_text', 'p bytea', 's text');
SELECT told(format('SELECT cairn.put_item(''by_text'', %L)', format('{"p": {"$B": "AA=="}, "s": "%s"}', repeat('s', 1024))));
SELECT told(format('SELECT cairn.put_item(''by_text'', %L)', format('{"p": {"$B": "AA=="}, "s": "%s"}', repeat('s', 1025))));
SELECT told('SELECT cairn.put_item(''by_text'', ''{"p": {"$B": ""}, "s": "x"}'')');
SELECT told('SELECT cairn.put_item(''by_text'', ''{"p": "text", "s": "x"}'')');
-- p 1+1, s 1+2 (a number), v 1+409595: exactly 400 KB
SELECT put_told(format('{"p": "x", "s": 1, "v": "%s"}', repeat('v', 409600 - 2 - 3 - 1)));
SELECT put_told(format('{"p": "x", "s": 1, "v": "%s"}', repeat('v', 409600 - 2 - 3)));
SELECT put_told(format('{"p": "x", "s": 1, "t": "%s"}', repeat('v', 409600 - 2 - 3 - 1)));
SELECT put_told(format('{"p": "x", "s": 1, "t": "%s"}', repeat('v', 409600 - 2 - 3)));
SELECT put_told(format('{"p": "x", "s": 1, "v": "%s"}', repeat('v', 2000000)));
SELECT told(format('SELECT cairn.update_item(''bad'', ''{"p": "x", "s": 1}'', %L)', format('{"more": "%s"}', repeat('v', 300000))));
SELECT cairn.update_item('bad', '{"p": "x", "s": 1}', jsonb_build_object('more', repeat('v', 300000)));
SELECT length(cairn.get_item('bad', '{"p": "x", "s": 1}')::text);

-- values
SELECT put_told('{"p": "x", "s": 1, "n": "1"}');
SELECT put_told('{"p": "x", "s": 1, "n": 1.5}');
SELECT put_told('{"p": "x", "s": 1, "n": 3000000000}');
SELECT put_told('{"p": "x", "s": 1, "t": 1}');
SELECT put_told('{"p": "x", "s": 1, "b": "AA=="}');
SELECT put_told('{"p": "x", "s": 1, "f": "true"}');
SELECT put_told('{"p": "x", "s": 1, "d": "no date"}');
SELECT put_told('{"p": "x", "s": 1, "num": "NaN"}');
SELECT put_told('{"p": "x", "s": 1, "num": {"$N": "NaN"}}');
SELECT put_told('{"p": "x", "s": 1, "v": {"$N": "NaN"}}');
SELECT put_told('{"p": "x", "s": 1, "num": 123456789012345678901234567890123456789}');
SELECT put_told('{"p": "x", "s": 1, "v": 123456789012345678901234567890123456789}');
SELECT put_told('{"p": "x", "s": 1, "v": [1e126]}');
SELECT put_told('{"p": "x", "s": 1, "v": ' || repeat('[', 33) || repeat(']', 33) || '}');
SELECT put_told('{"p": "x", "s": 1, "v": ' || repeat('[', 32) || repeat(']', 32) || '}');
SELECT put_told('{"p": "x", "s": 1, "v": ' || repeat('{"m": ', 33) || 'null' || repeat('}', 34));
SELECT told(format('INSERT INTO bad (p, s, attributes) VALUES (''x'', 9, %L)', '{"v": ' || repeat('[', 33) || repeat(']', 33) || '}'));
SELECT told(format('INSERT INTO bad (p, s, attributes) VALUES (''x'', 9, %L)', x)) FROM unnest(ARRAY['[]', '1', '{"p": 1}', '{"v": {"$XX": 1}}']) x;
SELECT told($$INSERT INTO bad (p, s) VALUES ('', 9)$$);
SELECT told(format('INSERT INTO bad (p, s) VALUES (%L, 9)', repeat('k', 2049)));
SELECT put_told('{"p": "x", "s": 1, "v": {"$SS": []}}');
SELECT told($$SELECT cairn.put_item('bad', '{"p": "x", "s": 1, "v": NaN}')$$);
SELECT told($$SELECT cairn.put_item('bad', convert_from('\x7b2270223a22ff227d', 'UTF8')::jsonb)$$);
SELECT told($$SELECT cairn.put_item('bad', '{"p": "\u0000", "s": 1}')$$);
SELECT told($$SELECT cairn.put_item('bad', E'{"p": "\xff", "s": 1}')$$);

-- numeric keys
SELECT cairn.create_table('by_number', 'id N');
SELECT told('SELECT cairn.put_item(''by_number'', ''{"id": 123456789012345678901234567890123456789}'')');
SELECT told('SELECT cairn.put_item(''by_number'', ''{"id": {"$N": "NaN"}}'')');
SELECT told('SELECT cairn.put_item(''by_number'', ''{"id": "1"}'')');
SELECT told(format('INSERT INTO by_number VALUES (%L)', x)) FROM unnest(ARRAY['NaN', '-Infinity', repeat('9', 39), '1e127']) x;
SELECT * FROM by_number WHERE id IN ('NaN', repeat('9', 39)::numeric);

-- conditions, updates, choices
SELECT told(format('SELECT cairn.put_item(''bad'', ''{"p": "x", "s": 1}'', %L)', x))
FROM unnest(ARRAY['{}', '[]', '1', '[1]', '{"exists": "n"}', '{"attribute_exists": 1}', '{"attribute_exists": {"a": 1}}', '{"equals": "n"}', '{"equals": {"attributes": {}}}']) x;
SELECT told($$SELECT cairn.put_item('bad', '{"p": "x", "s": 1}', return_values => 'ALL_NEW')$$);
SELECT told($$SELECT cairn.update_item('bad', '{"p": "x", "s": 1}', '{"p": "y"}')$$);
SELECT told($$SELECT cairn.update_item('bad', '{"p": "x", "s": 1}', remove_attributes => '{s}')$$);
SELECT told($$SELECT cairn.update_item('bad', '{"p": "x", "s": 1}', '{"v": 1}', '{v}')$$);
SELECT told($$SELECT cairn.update_item('bad', '{"p": "x", "s": 1}', '[]')$$);
SELECT told($$SELECT cairn.update_item('bad', '{"p": "x", "s": 1}', remove_attributes => '{NULL}')$$);
SELECT told($$SELECT cairn.update_item('bad', '{"p": "x", "s": 1}', return_values => 'UPDATED_NEW')$$);
SELECT told(format('SELECT cairn.query(''bad'', ''"x"'', %L)', x))
FROM unnest(ARRAY['{}', '1', '{"=": 1, ">": 0}', '{"<>": 1}', '{"between": [1]}', '{"begins_with": "a"}', '{"=": "a"}', '{"=": null}']) x;
SELECT told(format('SELECT cairn.query(''bad'', %L)', x)) FROM unnest(ARRAY['1', '""', '{}', '{"s": 1}', '{"p": "x", "n": 1}', 'null']) x;
SELECT told($$SELECT cairn.query('bad', '{"p": "x", "s": 1}', '{"=": 1}')$$);
SELECT told($$SELECT cairn.query('bad', '"x"', max_items => -1)$$);
SELECT told($$SELECT cairn.query('bad', '"x"', start_key => '{"p": "x"}')$$);
SELECT told(format('SELECT cairn.scan(''bad'', segment => %s, total_segments => %s)', s, t)) FROM (VALUES (-1, 1), (1, 1), (0, 0)) AS x(s, t);

-- batches
SELECT told($$SELECT cairn.batch_get_item('bad', '{}')$$);
SELECT told($$SELECT cairn.batch_get_item('bad', '[1]')$$);
SELECT told($$SELECT cairn.batch_get_item('bad', '[{"p": "x", "s": 1}, {"p": "x", "s": 1.0}]')$$);
SELECT told($$SELECT cairn.batch_get_item('bad', (SELECT jsonb_agg(jsonb_build_object('p', 'x', 's', i)) FROM generate_series(1, 101) i))$$);
SELECT told($$SELECT cairn.batch_write_item('bad', (SELECT jsonb_agg(jsonb_build_object('p', 'x', 's', i)) FROM generate_series(1, 26) i))$$);
SELECT told($$SELECT cairn.batch_write_item('bad', '[{"p": "x", "s": 1}]', '[{"p": "x", "s": 1}]')$$);

-- tables: another access method, none, no key, dropped
CREATE TABLE heap_table (p text PRIMARY KEY);
CREATE VIEW some_view AS SELECT 1 AS p;
CREATE TABLE keyless (p text) USING cairn;
CREATE TABLE no_catch_all (p text COLLATE "C" PRIMARY KEY) USING cairn;
SELECT told(format('SELECT cairn.get_item(%L, ''{"p": "x"}'')', x)) FROM unnest(ARRAY['heap_table', 'some_view', 'heap_table_pkey', 'no_such_table', 'keyless']) x;
SELECT told($$SELECT cairn.get_item(99999999::oid::regclass, '{"p": "x"}')$$);
CREATE TABLE short_lived (p text COLLATE "C" PRIMARY KEY) USING cairn;
PREPARE reads AS SELECT cairn.get_item('short_lived', '{"p": "x"}');
EXECUTE reads;
DROP TABLE short_lived;
EXECUTE reads;
DEALLOCATE reads;
SELECT told($$SELECT cairn.put_item('no_catch_all', '{"p": "x", "other": 1}')$$);
SELECT told($$SELECT cairn.update_item('no_catch_all', '{"p": "x"}', '{"other": 1}')$$);
SELECT told($$SELECT cairn.put_item('no_catch_all', '{"p": "x"}', '{"attribute_exists": "other"}')$$);

-- create_table
SELECT told(format('SELECT cairn.create_table(''created'', %L)', x)) FROM unnest(ARRAY['Artist', '', 'Artist no_type', 'Artist jsonb', '"Artist text', 'Artist float8', 'attributes text']) x;
SELECT told($$SELECT cairn.create_table('created', 'p text', 's text', 'list')$$);
SELECT told($$SELECT cairn.create_table('created', 'p text', 'p text')$$);
SELECT told($$SELECT cairn.create_table('bad', 'p text')$$);
SELECT told($$SELECT cairn.create_table(NULL, 'p text')$$);
SELECT cairn.create_table('"Quoted Name"', '"a ""b"" c" text', 'n numeric(5,2)');
SELECT cairn.put_item('"Quoted Name"', '{"a \"b\" c": "x", "n": 1.239}');
SELECT * FROM cairn.scan('"Quoted Name"');

DROP TABLE bad, by_text, by_number, heap_table, keyless, no_catch_all, "Quoted Name" CASCADE;
DROP FUNCTION told, put_told, get_told;
