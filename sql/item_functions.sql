-- The item functions, each as a newcomer would use it, and how they join transactions.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
SET timezone = 'UTC';

SELECT cairn.create_table('music', 'Artist text', 'SongTitle text');
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'music'::regclass AND attnum > 0 ORDER BY attnum;

-- put and get: the item comes back as it was given
SELECT cairn.put_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today", "Year": 2015, "Price": 1.50}');
SELECT cairn.get_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today"}');
SELECT cairn.get_item('music', '{"Artist": "No One You Know", "SongTitle": "Nothing"}') IS NULL AS none;

-- a put replaces the whole item; ALL_OLD returns the one before
SELECT cairn.put_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today", "Year": 2016}', return_values => 'ALL_OLD');
SELECT cairn.put_item('music', '{"Artist": "No One You Know", "SongTitle": "My Dog Spot"}', return_values => 'ALL_OLD') IS NULL AS new_item;

-- conditions, evaluated where the item is
SELECT cairn.put_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today"}', '{"attribute_not_exists": "Artist"}');
SELECT cairn.put_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today", "Year": 2017}', '{"equals": {"Year": 2016}}');
SELECT cairn.put_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today", "Year": 1}', '{"equals": {"Year": 2016}}');
SELECT cairn.delete_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today"}', '[{"attribute_exists": "Year"}, {"attribute_exists": "Price"}]');
SELECT cairn.put_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today", "Year": 2018}',
                      '{"attribute_exists": ["Artist", "Year"], "attribute_not_exists": "Price", "equals": {"Artist": "No One You Know", "Year": 2017.0}}');
SELECT cairn.put_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today"}', '{"equals": {"Artist": "Somebody"}}');
SELECT cairn.put_item('music', '{"Artist": "Nobody", "SongTitle": "New"}', '{"equals": {"Artist": "Nobody"}}');
SELECT cairn.get_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today"}');

-- update: replace and remove attributes, create what is not there
SELECT cairn.update_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today"}', '{"Genre": "Country", "Ratings": [5, 4]}', '{Year}', return_values => 'ALL_NEW');
SELECT cairn.update_item('music', '{"Artist": "No One You Know", "SongTitle": "Call Me Today"}', remove_attributes => '{Ratings, "not there"}', return_values => 'ALL_OLD');
SELECT cairn.update_item('music', '{"Artist": "Acme", "SongTitle": "Happy Day"}', '{"Year": 2020}', return_values => 'ALL_NEW');
SELECT cairn.update_item('music', '{"Artist": "Acme", "SongTitle": "Happy Day"}', '{"Year": 2021}', condition => '{"equals": {"Year": 2019}}');
SELECT cairn.update_item('music', '{"Artist": "Acme", "SongTitle": "Empty"}', return_values => 'ALL_NEW');

-- delete
SELECT cairn.delete_item('music', '{"Artist": "Acme", "SongTitle": "Happy Day"}', return_values => 'ALL_OLD');
SELECT cairn.delete_item('music', '{"Artist": "Acme", "SongTitle": "Happy Day"}', return_values => 'ALL_OLD') IS NULL AS nothing_left;

-- query: one partition key, in the order of the sort key
SELECT cairn.batch_write_item('music', (SELECT jsonb_agg(jsonb_build_object('Artist', 'Band', 'SongTitle', 'song ' || lpad(i::text, 2, '0'), 'n', i)) FROM generate_series(1, 20) i));
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '{"Artist": "Band"}', '{"between": ["song 03", "song 05"]}') q;
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '"Band"', '{"<": "song 03"}') q;
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '"Band"', '{"<=": "song 02"}') q;
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '"Band"', '{">": "song 18"}') q;
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '"Band"', '{">=": "song 19"}', forward => false) q;
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '"Band"', '{"=": "song 07"}') q;
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '"Band"', '{"begins_with": "song 1"}', max_items => 3) q;
SELECT count(*) FROM cairn.query('music', '"Band"');
SELECT count(*) FROM cairn.query('music', '"Ban"');
SELECT count(*) FROM cairn.query('music', '{"Artist": "Band", "SongTitle": "song 07"}');
SELECT count(*) FROM cairn.query('music', '"Band"', '{"between": ["song 05", "song 03"]}');

-- pages: the key of the last item, or the item itself, is where the next page starts
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '"Band"', max_items => 2, start_key => '{"Artist": "Band", "SongTitle": "song 02"}') q;
SELECT q->>'SongTitle' AS song FROM cairn.query('music', '"Band"', forward => false, max_items => 2, start_key => '{"Artist": "Band", "SongTitle": "song 03", "n": 3}') q;
SELECT cairn.key_of('music', '{"Artist": "Band", "SongTitle": "song 02", "n": 2}');

-- scan: everything, or disjoint segments of it
SELECT count(*) FROM cairn.scan('music');
SELECT count(*) FROM cairn.scan('music', 5);
SELECT count(*) AS items, count(DISTINCT cairn.key_of('music', i)) AS keys FROM generate_series(0, 6) s, cairn.scan('music', segment => s, total_segments => 7) i;
WITH RECURSIVE page AS (
    SELECT 1 AS number, array(SELECT cairn.scan('music', 4)) AS items
    UNION ALL
    SELECT number + 1, array(SELECT cairn.scan('music', 4, items[4])) FROM page WHERE cardinality(items) = 4
)
SELECT number, cardinality(items) FROM page ORDER BY number;

-- batches
SELECT * FROM cairn.batch_get_item('music', '[{"Artist": "Band", "SongTitle": "song 03"}, {"Artist": "Band", "SongTitle": "none"}, {"Artist": "Band", "SongTitle": "song 01"}]');
SELECT cairn.batch_write_item('music', deletes => (SELECT jsonb_agg(cairn.key_of('music', i)) FROM cairn.query('music', '"Band"', '{">": "song 04"}') i));
SELECT count(*) FROM cairn.query('music', '"Band"');

-- range-partitioned tables, and keys of every type
SELECT cairn.create_table('events', 'day date', 'at timestamptz', 'range');
SELECT cairn.put_item('events', jsonb_build_object('day', d, 'at', d + time '12:00' AT TIME ZONE 'UTC', 'n', n)) IS NULL AS put
FROM (SELECT date '2024-01-01' + n AS d, n FROM generate_series(3, 1, -1) n) x;
SELECT * FROM cairn.scan('events');
SELECT * FROM cairn.scan('events', start_key => '{"day": "2024-01-02", "at": "2024-01-02 12:00:00+00"}');
SELECT * FROM cairn.query('events', '"2024-01-03"', '{">": "2024-01-03 11:00:00+00"}');
SELECT * FROM cairn.scan('events', segment => 0, total_segments => 2);
CREATE TABLE every_key (b bytea, i integer, n numeric, s smallint, l bigint, u uuid, t boolean, d timestamp, v text, PRIMARY KEY (b, i, n, s, l, u, t, d)) USING cairn WITH (partition_by = 'range');
SELECT cairn.put_item('every_key', jsonb_build_object('b', '{"$B": "AAH/"}'::jsonb, 'i', i, 'n', 1.50, 's', -1, 'l', 9223372036854775807, 'u', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 't', true, 'd', '2024-02-29 01:02:03', 'v', 'x')) IS NULL AS put
FROM unnest(ARRAY[2147483647, 0, -2147483648]) i;
SELECT * FROM cairn.scan('every_key');
SELECT cairn.get_item('every_key', cairn.key_of('every_key', i)) = i AS found FROM cairn.scan('every_key') i;
SELECT count(*) FROM cairn.query('every_key', '{"b": {"$B": "AAH/"}, "i": 0}', '{"=": 1.5}');
SELECT cairn.create_table('by_number', 'Id N');
SELECT cairn.put_item('by_number', '{"Id": 1.50, "a": 1}'), cairn.update_item('by_number', '{"Id": 2.00}', '{"a": 2}');
SELECT cairn.get_item('by_number', '{"Id": 1.5}'), cairn.get_item('by_number', '{"Id": 2}');
SELECT * FROM cairn.query('by_number', '1.5000');

-- A bare call is one hand-over; any other joins its transaction.
CREATE FUNCTION calls(name text) RETURNS bigint LANGUAGE sql AS $$ SELECT coalesce(sum(calls), 0)::bigint FROM cairn.request_counters() WHERE operation = name $$;
SELECT calls('write') AS writes, calls('commit') AS commits, calls('get') AS gets \gset
SELECT cairn.put_item('music', '{"Artist": "Bare", "SongTitle": "1"}');
SELECT cairn.update_item('music', '{"Artist": "Bare", "SongTitle": "1"}', jsonb_build_object('n', 1));
SELECT cairn.get_item('music', '{"Artist": "Bare", "SongTitle": "1"}');
PREPARE bare(text, jsonb) AS SELECT cairn.put_item('music', jsonb_build_object('Artist', $1, 'v', $2, 'SongTitle', 'p'));
EXECUTE bare('Bare', '1');
SELECT calls('write') - :writes AS writes, calls('commit') - :commits AS commits, calls('get') - :gets AS gets;

-- all or nothing
SELECT cairn.put_item('music', '{"Artist": "Bare", "SongTitle": "2"}'), 1 / 0;
SELECT cairn.put_item('music', '{"Artist": "Bare", "SongTitle": "2"}'), cairn.put_item('music', '{"Artist": "Bare", "SongTitle": ""}');
SELECT cairn.get_item('music', '{"Artist": "Bare", "SongTitle": "2"}') IS NULL AS not_there;
DO $$ BEGIN PERFORM cairn.put_item('music', '{"Artist": "Bare", "SongTitle": "2"}'); PERFORM 1 / 0; END $$;
SELECT cairn.get_item('music', '{"Artist": "Bare", "SongTitle": "2"}') IS NULL AS not_there;
BEGIN;
SELECT cairn.put_item('music', '{"Artist": "Bare", "SongTitle": "2"}');
ROLLBACK;
SELECT cairn.get_item('music', '{"Artist": "Bare", "SongTitle": "2"}') IS NULL AS not_there;

-- two item functions in one statement: the second sees the first
SELECT cairn.update_item('music', '{"Artist": "Bare", "SongTitle": "3"}', '{"n": 1}', return_values => 'ALL_NEW') AS first,
       cairn.update_item('music', '{"Artist": "Bare", "SongTitle": "3"}', '{"m": 1}', condition => '{"equals": {"n": 1}}', return_values => 'ALL_NEW') AS second,
       cairn.get_item('music', '{"Artist": "Bare", "SongTitle": "3"}') AS third;
SELECT cairn.put_item('music', '{"Artist": "Bare", "SongTitle": "4"}'), (SELECT count(*) FROM cairn.query('music', '"Bare"'));

-- savepoints, own writes laid over what is stored
BEGIN;
SELECT cairn.put_item('music', '{"Artist": "Band", "SongTitle": "song 021", "own": 1}');
SELECT cairn.delete_item('music', '{"Artist": "Band", "SongTitle": "song 03"}');
SAVEPOINT one;
SELECT cairn.update_item('music', '{"Artist": "Band", "SongTitle": "song 021"}', '{"own": 2}', return_values => 'ALL_NEW');
SELECT cairn.put_item('music', '{"Artist": "Band", "SongTitle": "song 99"}');
SELECT * FROM cairn.query('music', '"Band"');
SELECT * FROM cairn.query('music', '"Band"', forward => false, max_items => 3);
ROLLBACK TO one;
SELECT * FROM cairn.query('music', '"Band"', start_key => '{"Artist": "Band", "SongTitle": "song 01"}');
SELECT * FROM cairn.batch_get_item('music', '[{"Artist": "Band", "SongTitle": "song 021"}, {"Artist": "Band", "SongTitle": "song 03"}, {"Artist": "Band", "SongTitle": "song 04"}]');
COMMIT;
SELECT count(*) FROM cairn.query('music', '"Band"');

-- PL/pgSQL: each statement sees the ones before; an exception takes its block back
DO $$
DECLARE
    item jsonb;
BEGIN
    PERFORM cairn.put_item('music', '{"Artist": "Bare", "SongTitle": "5", "n": 1}');
    BEGIN
        PERFORM cairn.update_item('music', '{"Artist": "Bare", "SongTitle": "5"}', '{"n": 2}');
        PERFORM cairn.put_item('music', '{"Artist": "Bare", "SongTitle": "5"}', '{"attribute_not_exists": "Artist"}');
    EXCEPTION WHEN integrity_constraint_violation THEN
        RAISE NOTICE 'refused: %', SQLERRM;
    END;
    item := cairn.get_item('music', '{"Artist": "Bare", "SongTitle": "5"}');
    RAISE NOTICE '%', item;
    FOR item IN SELECT cairn.query('music', '"Bare"') LOOP
        PERFORM cairn.update_item('music', cairn.key_of('music', item), '{"seen": true}');
    END LOOP;
    RAISE NOTICE 'seen: %', (SELECT count(*) FROM cairn.query('music', '"Bare"') i WHERE i ? 'seen');
END $$;

-- with changes of heap tables, both or neither
CREATE TABLE heap_log (line text);
BEGIN;
INSERT INTO heap_log VALUES ('both');
SELECT cairn.put_item('music', '{"Artist": "Mixed", "SongTitle": "1"}');
COMMIT;
BEGIN;
INSERT INTO heap_log VALUES ('neither');
SELECT cairn.put_item('music', '{"Artist": "Mixed", "SongTitle": "2"}');
ROLLBACK;
SELECT (SELECT array_agg(line) FROM heap_log), array(SELECT cairn.query('music', '"Mixed"'));

-- many items: more than one batch of a range
SELECT cairn.create_table('many', 'p text', 's integer');
SELECT count(cairn.put_item('many', jsonb_build_object('p', 'x', 's', s, 'text', repeat('t', 500)))) FROM generate_series(1, 1000) s;
SELECT count(*), min((q->>'s')::int), max((q->>'s')::int), bool_and((q->>'s')::int = n) AS in_order FROM cairn.query('many', '"x"') WITH ORDINALITY AS r(q, n);
SELECT count(*), bool_and((q->>'s')::int = 1001 - n) AS in_order FROM cairn.query('many', '"x"', forward => false) WITH ORDINALITY AS r(q, n);
BEGIN;
SELECT count(cairn.put_item('many', jsonb_build_object('p', 'x', 's', s, 'own', true))) FROM generate_series(0, 1002, 3) s;
SELECT count(*), count(*) FILTER (WHERE q ? 'own') AS own, bool_and((q->>'s')::int = n - 1) AS in_order FROM cairn.query('many', '"x"', '{"<=": 1000}') WITH ORDINALITY AS r(q, n);
SELECT count(*), bool_and((q->>'s')::int = 1001 - n) AS in_order FROM cairn.query('many', '"x"', '{"<=": 1000}', forward => false) WITH ORDINALITY AS r(q, n);
ROLLBACK;

DROP TABLE music, events, every_key, by_number, many, heap_log;
DROP FUNCTION calls;
