-- Scans over many batches: sizes of batches, directions, limits, cursors, own writes, spills in between.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
CREATE SCHEMA scans_test;
SET search_path = scans_test;

CREATE TABLE wide (p integer, s integer, filler text, PRIMARY KEY (p, s)) USING cairn WITH (partition_by = 'range');
CREATE TABLE hashed (p integer, s integer, filler text, PRIMARY KEY (p, s)) USING cairn;
INSERT INTO wide SELECT 1, s, repeat('f', 100 * (s % 20)) FROM generate_series(1, 3000) s;
INSERT INTO wide SELECT 2, s, repeat('g', 1000) FROM generate_series(1, 300) s;
INSERT INTO hashed SELECT 1, s, repeat('f', 100 * (s % 20)) FROM generate_series(1, 3000) s;
CREATE TABLE sizes (n integer);
INSERT INTO sizes VALUES (0), (1), (31), (32), (33), (100), (255), (256), (257), (1000), (2999), (3000), (3001), (NULL);

-- every limit, one after the other over the same scan, both ways
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT s FROM wide WHERE p = 1 ORDER BY s DESC LIMIT 10;
SELECT n, x.*, y.* FROM sizes,
    LATERAL (SELECT count(*), min(s), max(s) FROM (SELECT s FROM wide WHERE p = 1 ORDER BY s LIMIT n) o) x,
    LATERAL (SELECT count(*), min(s), max(s) FROM (SELECT s FROM wide WHERE p = 1 ORDER BY s DESC LIMIT n) o) y;
SELECT n, x.*, y.* FROM sizes,
    LATERAL (SELECT count(*), min(s), max(s) FROM (SELECT s FROM hashed WHERE p = 1 ORDER BY s LIMIT n OFFSET 50) o) x,
    LATERAL (SELECT count(*), min(s), max(s) FROM (SELECT s FROM hashed WHERE p = 1 ORDER BY s DESC LIMIT n OFFSET 50) o) y;
SELECT s FROM wide WHERE p = 1 AND s > 2990 ORDER BY p FETCH FIRST 3 ROWS WITH TIES;
RESET enable_seqscan;
SELECT n, x.count FROM sizes, LATERAL (SELECT count(*) FROM (SELECT s FROM wide LIMIT n) o) x;

-- a limit is one request; a filter between makes it unknown: few rows first, then what fits
CREATE FUNCTION requests(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || statement INTO plan;
    RETURN format('%s requests, %s items', plan -> 1 ->> 'Cairn Requests', plan -> 1 ->> 'Cairn Items Read');
END $$;
SELECT requests('SELECT * FROM wide WHERE p = 2 ORDER BY s LIMIT 100');
SELECT requests('SELECT * FROM wide WHERE p = 2 ORDER BY s DESC LIMIT 60 OFFSET 40');
SELECT requests('SELECT * FROM wide LIMIT 7');
SELECT requests('SELECT * FROM wide WHERE p = 2 AND s % 2 = 0 ORDER BY s LIMIT 10');
SELECT requests('SELECT * FROM wide WHERE p = 2 AND s % 2 = 0 ORDER BY s LIMIT 50');
SELECT requests('SELECT * FROM wide WHERE p = 2 ORDER BY s LIMIT 250');
PREPARE first_rows(integer) AS SELECT count(*), max(s) FROM (SELECT s FROM wide WHERE p = 2 ORDER BY s LIMIT $1) o;
SET plan_cache_mode = force_generic_plan;
EXECUTE first_rows(70);
EXECUTE first_rows(NULL);
RESET plan_cache_mode;
DEALLOCATE first_rows;

-- the item functions, both ways
SELECT n, x.*, y.* FROM sizes,
    LATERAL (SELECT count(*), min(item ->> 's'), max((item ->> 's')::integer) FROM cairn.query('wide', '{"p": 1}', max_items => n) item) x,
    LATERAL (SELECT count(*), min((item ->> 's')::integer), max(item ->> 's') FROM cairn.query('wide', '{"p": 1}', max_items => n, forward => false) item) y
WHERE n IN (1, 32, 257, 3001);
SELECT n, x.count FROM sizes, LATERAL (SELECT count(*) FROM cairn.scan('hashed', n)) x;

-- a cursor wanders about in rows of many batches while the transaction writes and spills
CREATE FUNCTION wander(steps integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    rows SCROLL CURSOR FOR SELECT s FROM wide WHERE p = 1 ORDER BY s;
    place integer := 0;
    step integer;
    seen integer;
    wrong integer := 0;
BEGIN
    OPEN rows;
    FOR i IN 1..steps LOOP
        step := (i * 7919) % 601 - 250;
        CONTINUE WHEN place + step NOT BETWEEN 1 AND 3000;
        MOVE RELATIVE step - sign(step) FROM rows;
        IF step < 0 THEN
            FETCH PRIOR FROM rows INTO seen;
        ELSIF step > 0 THEN
            FETCH NEXT FROM rows INTO seen;
        ELSE
            CONTINUE;
        END IF;
        place := place + step;
        IF seen IS DISTINCT FROM place THEN wrong := wrong + 1; END IF;
        IF i % 10 = 0 THEN
            INSERT INTO wide SELECT 3, i * 1000 + n, repeat('h', 1000) FROM generate_series(1, 100) n;
        END IF;
    END LOOP;
    CLOSE rows;
    RETURN format('%s wrong, ends at %s', wrong, place);
END $$;
BEGIN;
SELECT wander(200);
ROLLBACK;
SET cairn.write_set = '64kB';
BEGIN;
SELECT wander(200);
SELECT count(*), sum(s) FROM wide WHERE p = 3;
ROLLBACK;
RESET cairn.write_set;

-- own rows and own deletes among those of a batch, before the limit is reached
BEGIN;
SELECT count(cairn.delete_item('wide', jsonb_build_object('p', 2, 's', s))) FROM generate_series(1, 200) s;
INSERT INTO wide SELECT 2, -s, 'own' FROM generate_series(1, 40) s;
SELECT array_agg(s) FROM (SELECT s FROM wide WHERE p = 2 ORDER BY s LIMIT 43) o;
SELECT array_agg(s) FROM (SELECT s FROM wide WHERE p = 2 ORDER BY s DESC LIMIT 103) o WHERE s < 205;
SELECT array_agg((item ->> 's')::integer) FROM cairn.query('wide', '{"p": 2}', max_items => 43) WITH ORDINALITY AS q(item, i) WHERE i > 38;
ROLLBACK;

-- a statement that fails within a scan leaves the next one everything it needs
DO $$
BEGIN
    FOR i IN 1..5 LOOP
        BEGIN
            PERFORM 1 / (s - 2000) FROM wide WHERE p = 1 ORDER BY s;
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END LOOP;
END $$;
SELECT count(*), sum(a.s) FROM wide a JOIN wide b ON a.p = b.p AND a.s = b.s;

DROP TABLE wide, hashed, sizes;
DROP FUNCTION requests(text), wander(integer);
DROP SCHEMA scans_test;
