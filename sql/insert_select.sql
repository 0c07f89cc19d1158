-- INSERT of many rows: gathered to batches, and nothing tells
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
CREATE SCHEMA insert_select_test;
SET search_path = insert_select_test;
\set VERBOSITY terse
CREATE TABLE t (k integer PRIMARY KEY, v text) USING cairn;
CREATE TABLE h (k integer PRIMARY KEY, v text);

-- a thousand keys are locked by one request, then comes the commit
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) INSERT INTO t SELECT g, 'first' FROM generate_series(1, 1500) g;
SELECT count(*), min(k), max(k) FROM t;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) INSERT INTO t VALUES (1501, 'a'), (1502, 'b'), (1503, 'c');
-- from cairn tables, the table itself too: it does not meet its own rows
INSERT INTO t SELECT k + 10000, v FROM t;
SELECT count(*) FROM t;

-- keys that exist, in the table, in the transaction, in the statement: nothing stays
\set VERBOSITY default
INSERT INTO t SELECT g, 'again' FROM generate_series(5000, 6500) g UNION ALL SELECT 1400, 'again';
INSERT INTO t SELECT g % 700 + 5000, 'twice' FROM generate_series(0, 1000) g;
BEGIN;
INSERT INTO t SELECT g, 'own' FROM generate_series(5000, 5010) g;
SAVEPOINT s;
INSERT INTO t SELECT g, 'own' FROM generate_series(5005, 5020) g;
ROLLBACK TO s;
INSERT INTO t SELECT g, 'own' FROM generate_series(5011, 5020) g;
ROLLBACK TO s;
COMMIT;
\set VERBOSITY terse
SELECT count(*), max(v) FROM t WHERE k BETWEEN 5000 AND 9999;

-- other errors of the statement
INSERT INTO t SELECT CASE WHEN g < 50 THEN g + 6000 END, 'null' FROM generate_series(1, 50) g;
BEGIN READ ONLY;
INSERT INTO t SELECT g, 'x' FROM generate_series(6000, 6001) g;
ROLLBACK;
SELECT count(*) FROM t WHERE k BETWEEN 6000 AND 9999;

-- functions that the statement calls see its rows as those of a heap table
CREATE FUNCTION rows_of(relation text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %I WHERE k >= 7000 AND k < 8000', relation) INTO n;
    RETURN n;
END $$;
CREATE FUNCTION try_insert(relation text, key integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I VALUES ($1, ''nested'')', relation) USING key;
    RETURN 'inserted ' || key;
EXCEPTION WHEN unique_violation THEN RETURN 'there is ' || key;
END $$;
INSERT INTO t SELECT g, CASE WHEN g % 3 = 0 THEN rows_of('t') END FROM generate_series(7000, 7009) g;
INSERT INTO h SELECT g, CASE WHEN g % 3 = 0 THEN rows_of('h') END FROM generate_series(7000, 7009) g;
INSERT INTO t SELECT g, try_insert('t', g - 1 + 100 * (g % 2)) FROM generate_series(7020, 7029) g;
INSERT INTO h SELECT g, try_insert('h', g - 1 + 100 * (g % 2)) FROM generate_series(7020, 7029) g;
SELECT * FROM h WHERE k BETWEEN 7000 AND 7200 AND k IN (7002, 7005, 7020, 7021, 7022, 7120) ORDER BY k;
SELECT count(*) AS differences FROM (SELECT * FROM t WHERE k BETWEEN 7000 AND 7200) t FULL JOIN (SELECT * FROM h) h USING (k)
    WHERE t.v IS DISTINCT FROM h.v;
-- an error of the statement's own rows that a nested block swallows comes back at its end
CREATE FUNCTION swallow() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN 'count ' || (SELECT count(*) FROM t WHERE k >= 7300 AND k < 7400);
EXCEPTION WHEN unique_violation THEN RETURN 'swallowed';
END $$;
INSERT INTO t SELECT CASE WHEN g = 7302 THEN 7000 ELSE g END, swallow() FROM generate_series(7300, 7309) g;
SELECT count(*) FROM t WHERE k BETWEEN 7300 AND 7400;
INSERT INTO t SELECT g, swallow() FROM generate_series(7300, 7303) g;
SELECT * FROM t WHERE k BETWEEN 7300 AND 7400 ORDER BY k;
-- rolled back inside, the statement's own rows stay
CREATE FUNCTION insert_and_fail(key integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO t SELECT key + g, 'lost' FROM generate_series(1, 5) g;
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN RETURN 'failed';
END $$;
INSERT INTO t SELECT g, insert_and_fail(g + 50) FROM generate_series(7400, 7403) g;
SELECT * FROM t WHERE k BETWEEN 7400 AND 7499 ORDER BY k;

-- what looks at each row gets it at once
INSERT INTO t SELECT g, 'returned' FROM generate_series(7500, 7502) g RETURNING k, v;
INSERT INTO t SELECT g, 'conflict' FROM generate_series(7502, 7503) g ON CONFLICT DO NOTHING;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % %', TG_WHEN, TG_LEVEL, (SELECT count(*) FROM t WHERE k BETWEEN 7600 AND 7699);
    RETURN NEW;
END $$;
CREATE TRIGGER statement_end AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION tell();
INSERT INTO t SELECT g, 'statement' FROM generate_series(7600, 7602) g;
CREATE TRIGGER row_begin BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell();
INSERT INTO t SELECT g, 'row' FROM generate_series(7603, 7604) g;
DROP TRIGGER row_begin ON t;
DROP TRIGGER statement_end ON t;

-- more than the write set: what was spilled is read, rolled back and committed, right behind
SET cairn.write_set = '64kB';
BEGIN;
INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(20001, 25000) g;
SELECT count(*), sum(length(v)) FROM t WHERE k > 20000;
SELECT v = repeat('x', 100) AS same FROM t WHERE k = 24999;
SAVEPOINT s;
INSERT INTO t SELECT g, repeat('y', 100) FROM generate_series(25001, 28000) g;
SELECT count(*), sum(length(v)) FROM t WHERE k > 20000;
INSERT INTO t SELECT g, 'dup' FROM generate_series(24990, 25500) g;
ROLLBACK TO s;
SELECT count(*), sum(length(v)) FROM t WHERE k > 20000;
INSERT INTO t SELECT g, repeat('z', 100) FROM generate_series(25001, 27000) g;
SELECT count(*), max(v) = repeat('z', 100) AS newest FROM t WHERE k > 20000;
COMMIT;
SELECT count(*), max(v) = repeat('z', 100) AS newest FROM t WHERE k > 20000;
BEGIN;
INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(30001, 33000) g;
ROLLBACK;
INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(30001, 33000) g;
SELECT count(*) FROM t WHERE k > 30000;
RESET cairn.write_set;

-- A walk in the target list, and inserts between its steps that make the write set spill: the walk misses none of its rows.
CREATE TABLE walked (k integer PRIMARY KEY, v text) USING cairn;
CREATE TABLE copied (k integer PRIMARY KEY, v text) USING cairn;
INSERT INTO walked SELECT g, repeat('w', 50) FROM generate_series(1, 400, 2) g;
SET cairn.write_set = '64kB';
BEGIN;
INSERT INTO walked SELECT g, repeat('x', 50) FROM generate_series(2, 400, 2) g;
INSERT INTO copied SELECT (item ->> 'k')::integer, repeat('y', 400) FROM (SELECT cairn.scan('walked') AS item) s;
SELECT (SELECT count(*) FROM walked) AS walked, (SELECT count(*) FROM copied) AS copied;
COMMIT;
SELECT count(*), count(*) FILTER (WHERE k % 2 = 0) AS own FROM copied;
RESET cairn.write_set;
DROP TABLE walked, copied;

DROP TABLE t, h;
DROP FUNCTION rows_of, try_insert, swallow, insert_and_fail, tell;
DROP SCHEMA insert_select_test;
