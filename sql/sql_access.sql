-- Reading and loading with SQL: by key, by range, in order, by joins, COPY, prepared statements, cursors, plans.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
CREATE SCHEMA sql_access_test;
SET search_path = sql_access_test;

-- hash-partitioned: ordered within a partition key
CREATE TABLE events (device integer, at timestamp, value numeric, note text, PRIMARY KEY (device, at)) USING cairn;
-- range-partitioned: ordered as a whole
CREATE TABLE places (name text COLLATE "C", floor smallint, area integer, PRIMARY KEY (name, floor)) USING cairn WITH (partition_by = 'range');
INSERT INTO events SELECT d, timestamp '2024-01-01' + i * interval '1 hour', i / 4.0, CASE WHEN i % 10 = 0 THEN 'tenth' END
FROM generate_series(1, 5) d, generate_series(1, 200) i;
INSERT INTO places SELECT 'place ' || lpad(i::text, 3, '0'), f, i * f FROM generate_series(1, 100) i, generate_series(-1, 3) f;
ANALYZE events;
ANALYZE places;
SELECT relname, reltuples FROM pg_class WHERE oid IN ('events'::regclass, 'places'::regclass) ORDER BY 1;

-- by the whole key: one request
EXPLAIN (COSTS OFF) SELECT * FROM events WHERE device = 3 AND at = '2024-01-02 00:00';
SELECT * FROM events WHERE device = 3 AND at = '2024-01-02 00:00';
SELECT * FROM events WHERE device = 3 AND at = '2030-01-02 00:00';
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT area FROM places WHERE name = 'place 042' AND floor = 2;

-- by a range of the sort key, both directions, without a sort
EXPLAIN (COSTS OFF) SELECT at, value FROM events WHERE device = 2 AND at >= '2024-01-03' AND at < '2024-01-03 03:00' ORDER BY at;
SELECT at, value FROM events WHERE device = 2 AND at >= '2024-01-03' AND at < '2024-01-03 03:00' ORDER BY at;
EXPLAIN (COSTS OFF) SELECT at, value FROM events WHERE device = 2 AND at <= '2024-01-03' ORDER BY at DESC LIMIT 3;
SELECT at, value FROM events WHERE device = 2 AND at <= '2024-01-03' ORDER BY at DESC LIMIT 3;
SELECT at FROM events WHERE device = 2 AND at > '2024-01-03' AND at > '2024-01-04' AND at < '2024-01-04 02:00' ORDER BY at;
SELECT count(*) FROM events WHERE device = 2 AND at > '2024-01-03' AND at < '2024-01-02';
SELECT min(at), max(at) FROM events WHERE device = 4;

-- range-partitioned tables order across partition keys
EXPLAIN (COSTS OFF) SELECT * FROM places ORDER BY name, floor LIMIT 3;
SELECT * FROM places ORDER BY name, floor LIMIT 3;
SELECT * FROM places ORDER BY name DESC, floor DESC LIMIT 3;
SELECT name, floor FROM places WHERE name > 'place 098' AND floor = 3 ORDER BY name;
SELECT count(*), min(name), max(name) FROM places WHERE name >= 'place 010' AND name < 'place 02';
SELECT name FROM places WHERE name BETWEEN 'place 050' AND 'place 051' AND floor > 2 ORDER BY name;

-- hash-partitioned ones do not: the planner sorts, and where it is kept from that the scan does
EXPLAIN (COSTS OFF) SELECT device, at FROM events ORDER BY device, at LIMIT 2;
SELECT device, at FROM events ORDER BY device, at LIMIT 2;
SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT device, at FROM events WHERE device > 2 ORDER BY device, at LIMIT 2;
SELECT device, at FROM events WHERE device > 2 ORDER BY device, at LIMIT 2;
SELECT device, at FROM events ORDER BY device DESC, at DESC LIMIT 2;
SELECT count(*) FROM (SELECT device, at, lag((device, at)) OVER () AS before FROM (SELECT device, at FROM events ORDER BY device, at) o) x WHERE (device, at) <= before;
BEGIN;
INSERT INTO events VALUES (0, '2024-01-01', 0), (9, '2024-01-01', 9);
DECLARE both_ways SCROLL CURSOR FOR SELECT device, at FROM events ORDER BY device, at;
FETCH 2 FROM both_ways;
FETCH LAST FROM both_ways;
FETCH PRIOR FROM both_ways;
FETCH FIRST FROM both_ways;
FETCH PRIOR FROM both_ways;
FETCH NEXT FROM both_ways;
ROLLBACK;
RESET enable_seqscan;
RESET enable_sort;

-- comparisons across integer types, out of range, with NULL, and what no key can be
SELECT count(*) FROM events WHERE device = 3::bigint;
SELECT count(*) FROM events WHERE device = 3000000000;
SELECT count(*) FROM places WHERE name = 'place 001' AND floor < 100000;
SELECT count(*) FROM places WHERE name = 'place 001' AND floor > -100000 AND floor <= 0::bigint;
SELECT count(*) FROM places WHERE name = 'place 001' AND floor > 100000;
SELECT count(*) FROM events WHERE device = NULL;
SELECT count(*) FROM places WHERE name = '';
SELECT count(*) FROM places WHERE name > '';
SELECT count(*) FROM places WHERE name < repeat('q', 5000);
SELECT count(*) FROM places WHERE name <> 'place 001' AND floor = 1;
SELECT count(*) FROM events WHERE device IN (1, 3, 99);
SELECT count(*) FROM events WHERE (device, at) > (4, '2024-01-09');

-- numeric keys: by value, any scale; bounds that no key can have
CREATE TABLE amounts (n numeric PRIMARY KEY, note text) USING cairn WITH (partition_by = 'range');
INSERT INTO amounts VALUES (1.50, 'a'), (-3, 'b'), (0, 'c'), (1e20, 'd'), (1e-20, 'e');
INSERT INTO amounts VALUES (1.5, 'again');
INSERT INTO amounts VALUES ('NaN', 'x');
INSERT INTO amounts VALUES (1234567890123456789012345678901234567890, 'x');
SELECT * FROM amounts ORDER BY n;
SELECT note FROM amounts WHERE n = 1.5000;
SELECT string_agg(note, '' ORDER BY n) FROM amounts WHERE n < 'NaN';
SELECT string_agg(note, '' ORDER BY n) FROM amounts WHERE n > 0.00000000000000000000000000000000000000000000000001;
SELECT string_agg(note, '' ORDER BY n) FROM amounts WHERE n <= 0;

-- filters on other columns, aggregates, grouping
SELECT count(*), sum(value) FROM events WHERE note = 'tenth';
SELECT device, count(*), max(value) FROM events GROUP BY device ORDER BY device;
SELECT count(*) FROM events;

-- joins with heap and with each other
CREATE TABLE devices (id integer PRIMARY KEY, owner text) USING heap;
INSERT INTO devices VALUES (1, 'ann'), (2, 'bob'), (7, 'eve');
ANALYZE devices;
SELECT owner, count(e.at) FROM devices LEFT JOIN events e ON e.device = id GROUP BY owner ORDER BY owner;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM devices JOIN events ON device = id AND at = '2024-01-01 05:00';
SELECT count(*) FROM devices JOIN events ON device = id AND at = '2024-01-01 05:00';
SET enable_nestloop = off;
SET enable_mergejoin = on;
SELECT count(*) FROM places a JOIN places b USING (name, floor);
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_nestloop;
UPDATE devices SET owner = owner || ' of ' || e.value FROM events e WHERE e.device = id AND e.at = '2024-01-01 04:00' RETURNING *;
SELECT d.id, e.value FROM devices d JOIN events e ON e.device = d.id AND e.at = '2024-01-01 04:00' ORDER BY 1 FOR UPDATE OF d;

-- COPY out and in, with rows in the order of neither
COPY (SELECT device, at, value FROM events WHERE device = 1 AND at < '2024-01-01 04:00' ORDER BY at) TO STDOUT;
COPY (SELECT * FROM places WHERE area = 6 ORDER BY name) TO STDOUT (FORMAT csv);
CREATE TABLE loaded (LIKE places INCLUDING ALL) USING cairn;
COPY loaded FROM STDIN;
z	1	1
a	2	\N
m	3	3
a	1	4
\.
COPY loaded FROM STDIN (FORMAT csv);
new,1,1
twice,1,1
twice,1,2
\.
COPY loaded FROM STDIN (FORMAT csv);
new,1,1
m,3,3
\.
SELECT * FROM loaded ORDER BY name, floor;
INSERT INTO loaded SELECT * FROM places ON CONFLICT DO NOTHING;
INSERT INTO loaded SELECT * FROM places;
SELECT count(*) FROM loaded;

-- prepared statements, generic and custom
PREPARE by_key (integer, timestamp) AS SELECT value FROM events WHERE device = $1 AND at = $2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE by_key(1, '2024-01-01 05:00');
EXECUTE by_key(1, '2024-01-01 05:00');
EXECUTE by_key(2, '2024-01-01 06:00');
EXECUTE by_key(NULL, '2024-01-01 06:00');
RESET plan_cache_mode;
DEALLOCATE by_key;

-- cursors go both ways in a range and over a table
BEGIN;
DECLARE ranged SCROLL CURSOR FOR SELECT floor FROM places WHERE name = 'place 007' ORDER BY floor;
FETCH 3 FROM ranged;
FETCH BACKWARD 2 FROM ranged;
FETCH LAST FROM ranged;
FETCH NEXT FROM ranged;
FETCH PRIOR FROM ranged;
DECLARE point SCROLL CURSOR FOR SELECT area FROM places WHERE name = 'place 007' AND floor = 2;
FETCH NEXT FROM point;
FETCH NEXT FROM point;
FETCH PRIOR FROM point;
FETCH PRIOR FROM point;
FETCH NEXT FROM point;
DECLARE whole SCROLL CURSOR FOR SELECT name FROM places WHERE floor = 0;
FETCH 2 FROM whole;
FETCH PRIOR FROM whole;
FETCH PRIOR FROM whole;
COMMIT;

-- rows are found again by ctid within the transaction, and never another row
SELECT count(*) FROM events a JOIN events b ON a.ctid = b.ctid WHERE a.device <> b.device OR a.at <> b.at;
SELECT count(*) FROM events a JOIN events b ON a.ctid = b.ctid;
SELECT name FROM places WHERE ctid = (SELECT ctid FROM places WHERE name = 'place 003' AND floor = 1);
SELECT name FROM places WHERE ctid = '(0,1)';

-- no parallel workers, even when asked for
SET force_parallel_mode = on;
SELECT count(*) FROM events;
RESET force_parallel_mode;

-- more than a batch, two scans at a time, with own rows and deleted ones between
CREATE TABLE many (p integer, s integer, filler text, PRIMARY KEY (p, s)) USING cairn;
CREATE TABLE many_ranged (p integer, s integer, filler text, PRIMARY KEY (p, s)) USING cairn WITH (partition_by = 'range');
INSERT INTO many SELECT i / 1000, i % 1000, repeat('f', 100) FROM generate_series(0, 4999) i;
BEGIN;
INSERT INTO many_ranged SELECT * FROM many WHERE s % 2 = 0;
SELECT count(*) FROM many a JOIN many_ranged b USING (p, s);
COMMIT;
BEGIN;
INSERT INTO many_ranged SELECT * FROM many WHERE s % 2 = 1;
SELECT count(cairn.delete_item('many_ranged', jsonb_build_object('p', 2, 's', s))) FROM generate_series(100, 899) s;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*), sum(a.s) FROM many_ranged a JOIN many_ranged b USING (p, s);
SELECT count(*), sum(a.s) FROM many_ranged a JOIN many_ranged b USING (p, s);
SELECT count(*), min(s), max(s) FROM many_ranged WHERE p = 2;
SELECT s FROM many_ranged WHERE p = 2 ORDER BY s LIMIT 3 OFFSET 98;
SELECT s FROM many_ranged WHERE p = 2 AND s < 902 ORDER BY s DESC LIMIT 4;
SELECT count(*) FROM (SELECT (p, s) <= lag((p, s)) OVER () AS wrong FROM (SELECT p, s FROM many_ranged ORDER BY p, s) o) x WHERE wrong;
SELECT count(*) FROM (SELECT (p, s) >= lag((p, s)) OVER () AS wrong FROM (SELECT p, s FROM many_ranged ORDER BY p DESC, s DESC) o) x WHERE wrong;
ROLLBACK;
SELECT count(*) FROM many_ranged;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM many_ranged;
SELECT count(*) FROM many_ranged;
RESET enable_seqscan;

-- large values
CREATE TABLE large (id integer PRIMARY KEY, t text) USING cairn;
INSERT INTO large SELECT i, repeat(md5(i::text), 10000) FROM generate_series(1, 5) i;
SELECT id, length(t), md5(t) = md5(repeat(md5(id::text), 10000)) AS whole FROM large ORDER BY id;
INSERT INTO large VALUES (6, repeat('x', 2000000));

-- EXPLAIN (ANALYZE) in other formats has the figures as an object of their own
CREATE FUNCTION explain_keys(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || statement INTO plan;
    RETURN QUERY SELECT json_object_keys(plan -> 1);
END $$;
SELECT explain_keys('SELECT * FROM large WHERE id = 1');

DROP TABLE events, places, amounts, devices, loaded, many, many_ranged, large;
DROP FUNCTION explain_keys(text);
DROP SCHEMA sql_access_test;
