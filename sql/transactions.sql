-- Transactions: own writes, savepoints, rollback of rows and tables, cairn and heap together.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
CREATE SCHEMA transactions_test;
SET search_path = transactions_test;

CREATE TABLE c (a integer PRIMARY KEY, b text) USING cairn WITH (partition_by = 'range');
CREATE TABLE h (a integer PRIMARY KEY, b text) USING heap;
INSERT INTO c SELECT i, 'row ' || i FROM generate_series(1, 10) i;

-- own writes are seen, laid over what is stored, in both directions, by key and by scan
BEGIN;
INSERT INTO c VALUES (0, 'own'), (11, 'own');
SELECT a FROM c WHERE a < 3 ORDER BY a;
SELECT a FROM c WHERE a > 8 ORDER BY a DESC;
SELECT * FROM c WHERE a = 11;
SELECT count(*) FROM c;
INSERT INTO c VALUES (11, 'twice');
ROLLBACK;
SELECT count(*) FROM c;

-- a statement does not see its own rows
BEGIN;
INSERT INTO c SELECT a + 100, b FROM c;
SELECT count(*) FROM c;
INSERT INTO c SELECT a + 1000, b FROM c;
SELECT count(*) FROM c;
ROLLBACK;

-- nor does a cursor that was opened before see later ones
BEGIN;
DECLARE early CURSOR FOR SELECT a FROM c WHERE a >= 9 ORDER BY a;
INSERT INTO c VALUES (11, 'later');
FETCH ALL FROM early;
DECLARE late CURSOR FOR SELECT a FROM c WHERE a >= 9 ORDER BY a;
FETCH ALL FROM late;
ROLLBACK;

-- savepoints
BEGIN;
INSERT INTO c VALUES (20, 'before');
SAVEPOINT one;
INSERT INTO c VALUES (21, 'within one');
SAVEPOINT two;
INSERT INTO c VALUES (22, 'within two');
SELECT a FROM c WHERE a >= 20 ORDER BY a;
ROLLBACK TO two;
SELECT a FROM c WHERE a >= 20 ORDER BY a;
INSERT INTO c VALUES (22, 'again');
RELEASE two;
ROLLBACK TO one;
SELECT a FROM c WHERE a >= 20 ORDER BY a;
INSERT INTO c VALUES (21, 'at last');
COMMIT;
SELECT * FROM c WHERE a >= 20 ORDER BY a;

-- an error undoes its statement's rows only up to the savepoint
BEGIN;
SAVEPOINT s;
INSERT INTO c VALUES (30, 'x'), (31, 'x'), (1, 'exists');
ROLLBACK TO s;
INSERT INTO c VALUES (31, 'y');
COMMIT;
SELECT * FROM c WHERE a >= 30;
DO $$
BEGIN
    FOR i IN 29..32 LOOP
        BEGIN
            INSERT INTO c VALUES (i, 'loop');
        EXCEPTION WHEN unique_violation THEN
            RAISE NOTICE '% exists', i;
        END;
    END LOOP;
END $$;
SELECT * FROM c WHERE a BETWEEN 29 AND 32 ORDER BY a;

-- delete and insert of the same key, item functions and SQL in one transaction
BEGIN;
SELECT cairn.delete_item('c', '{"a": 5}');
SELECT count(*) FROM c WHERE a = 5;
SELECT a FROM c WHERE a BETWEEN 4 AND 6 ORDER BY a;
INSERT INTO c VALUES (5, 'anew');
INSERT INTO c VALUES (5, 'twice');
ROLLBACK;
BEGIN;
SELECT cairn.delete_item('c', '{"a": 5}');
INSERT INTO c VALUES (5, 'anew');
SELECT cairn.update_item('c', '{"a": 5}', '{"b": "anew and changed"}');
SELECT * FROM c WHERE a = 5;
COMMIT;
SELECT * FROM c WHERE a = 5;

-- a function's writes are seen by the statement after it
CREATE FUNCTION add_row(a integer) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO c VALUES (a, 'by function');
    RETURN (SELECT count(*) FROM c WHERE b = 'by function');
END $$;
SELECT add_row(40), add_row(41);
SELECT add_row(42), 1 / 0;
SELECT count(*) FROM c WHERE b = 'by function';

-- heap and cairn commit together or not at all
BEGIN;
INSERT INTO h VALUES (1, 'both');
INSERT INTO c VALUES (50, 'both');
COMMIT;
SELECT * FROM h JOIN c ON c.a = h.a + 49;
BEGIN;
INSERT INTO h VALUES (2, 'neither');
INSERT INTO c VALUES (51, 'neither');
ROLLBACK;
BEGIN;
INSERT INTO c VALUES (51, 'neither');
INSERT INTO h VALUES (1, 'exists');
COMMIT;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'at the last moment'; END $$;
CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON h DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail();
BEGIN;
INSERT INTO c VALUES (51, 'neither');
INSERT INTO h VALUES (3, 'neither');
COMMIT;
DROP TRIGGER fail ON h;
SELECT (SELECT count(*) FROM h) AS heap_rows, (SELECT count(*) FROM c WHERE a > 50) AS cairn_rows;

-- tables come and go with their transaction, rows included
BEGIN;
CREATE TABLE d (a integer PRIMARY KEY) USING cairn;
INSERT INTO d VALUES (1), (2);
SELECT count(*) FROM d;
ROLLBACK;
SELECT count(*) FROM d;
BEGIN;
CREATE TABLE d (a integer PRIMARY KEY) USING cairn;
COPY d FROM STDIN;
1
2
3
\.
SAVEPOINT s;
DROP TABLE d;
ROLLBACK TO s;
SELECT count(*) FROM d;
COMMIT;
SELECT count(*) FROM d;

-- TRUNCATE, and its rollback; in the transaction that created the table too
BEGIN;
INSERT INTO d VALUES (4);
TRUNCATE d;
SELECT count(*) FROM d;
INSERT INTO d VALUES (1), (9);
SELECT count(*) FROM d;
ROLLBACK;
SELECT * FROM d ORDER BY a;
BEGIN;
TRUNCATE d;
INSERT INTO d VALUES (7);
COMMIT;
SELECT * FROM d ORDER BY a;
BEGIN;
CREATE TABLE e (a integer PRIMARY KEY) USING cairn;
INSERT INTO e VALUES (1);
TRUNCATE e;
SELECT count(*) FROM e;
INSERT INTO e VALUES (1), (2);
SAVEPOINT s;
TRUNCATE e;
INSERT INTO e VALUES (3);
ROLLBACK TO s;
COMMIT;
SELECT * FROM e ORDER BY a;
BEGIN;
DROP TABLE e;
ROLLBACK;
SELECT count(*) FROM e;
BEGIN;
ALTER TABLE e ADD COLUMN b text DEFAULT 'x';
INSERT INTO e VALUES (4, 'y');
SELECT * FROM e ORDER BY a;
ROLLBACK;
SELECT * FROM e ORDER BY a;

-- repeatable read keeps its snapshot; two-phase commit is refused once something was written
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM d;
INSERT INTO d VALUES (8);
SELECT count(*) FROM d;
COMMIT;
BEGIN;
INSERT INTO d VALUES (10);
PREPARE TRANSACTION 'cairn';
SELECT * FROM d ORDER BY a;

-- more than the write set holds: what was written is seen, can be rolled back, and is not seen by its own statement
SET cairn.write_set = '64kB';
BEGIN;
INSERT INTO c SELECT i, repeat('x', 100) FROM generate_series(1001, 3000) i;
SELECT count(*), min(a), max(a) FROM c WHERE a > 1000;
INSERT INTO c SELECT a + 10000, b FROM c WHERE a > 1000;
SELECT count(*), min(a), max(a) FROM c WHERE a > 1000;
SAVEPOINT s;
INSERT INTO c SELECT a + 20000, b FROM c WHERE a > 1000;
SELECT count(*) FROM c WHERE a > 1000;
ROLLBACK TO s;
SELECT count(*), min(a), max(a) FROM c WHERE a > 1000;
SAVEPOINT s;
INSERT INTO c VALUES (1001, 'exists');
ROLLBACK TO s;
ROLLBACK;
SELECT count(*) FROM c WHERE a > 1000;
BEGIN;
INSERT INTO c SELECT i, repeat('x', 100) FROM generate_series(1001, 3000) i;
INSERT INTO h SELECT i, 'with many' FROM generate_series(1001, 1003) i;
COMMIT;
SELECT (SELECT count(*) FROM h WHERE a > 1000) AS heap_rows, (SELECT count(*) FROM c WHERE a > 1000) AS cairn_rows;
-- own rows that spill while a scan merges them are neither lost nor doubled
BEGIN;
INSERT INTO c SELECT i, repeat('y', 100) FROM generate_series(5001, 5300) i;
INSERT INTO d SELECT a FROM c WHERE a > 1000 ORDER BY a;
SELECT count(*), min(a), max(a) FROM d WHERE a > 1000;
ROLLBACK;
RESET cairn.write_set;

DROP TABLE c, d, e, h;
DROP FUNCTION add_row(integer);
DROP FUNCTION fail();
DROP SCHEMA transactions_test;
