-- Commands around tables: what maintains, copies, locks, publishes or describes them works on cairn tables, or says why not (refusals.sql).
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
CREATE SCHEMA commands_test;
SET search_path = commands_test;

CREATE TABLE here (id integer PRIMARY KEY, v text, n integer) USING cairn WITH (partition_by = 'range');
CREATE TABLE there (id integer PRIMARY KEY, v text) USING heap;
INSERT INTO here SELECT i, 'v' || i, i % 3 FROM generate_series(1, 10) i;
INSERT INTO there VALUES (1, 'one'), (99, 'none');
CREATE VIEW indexes AS
SELECT c.relname, i.indisprimary, i.indisvalid, c.reloptions FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'here'::regclass;

-- REINDEX, concurrently too: the key is what it was
REINDEX TABLE here;
REINDEX INDEX here_pkey;
REINDEX TABLE CONCURRENTLY here;
REINDEX INDEX CONCURRENTLY here_pkey;
REINDEX SCHEMA CONCURRENTLY commands_test;
REINDEX DATABASE regression;
SELECT * FROM indexes;
SELECT id, v FROM here WHERE id = 7;
SELECT count(*) FROM here;
INSERT INTO here VALUES (7, 'again');
EXPLAIN (COSTS OFF) SELECT * FROM here WHERE id BETWEEN 3 AND 4 ORDER BY id DESC;

-- VACUUM and ANALYZE; FULL passes cairn tables over
VACUUM here;
VACUUM (FREEZE, ANALYZE, PARALLEL 2, INDEX_CLEANUP on, TRUNCATE on) here;
VACUUM FULL there, here;
VACUUM (FULL, ANALYZE) here;
VACUUM FULL;
CLUSTER;
SELECT count(*) FROM here;
ANALYZE here (v, n);
CREATE STATISTICS here_statistics (ndistinct, dependencies, mcv) ON v, n FROM here;
ANALYZE here;
SELECT stxname FROM pg_statistic_ext WHERE stxrelid = 'here'::regclass;
SELECT attname, n_distinct FROM pg_stats WHERE schemaname = 'commands_test' AND tablename = 'here' ORDER BY attname;

-- tables, views and cursors made of a cairn table
CREATE TABLE as_heap USING heap AS SELECT * FROM here;
SELECT * INTO as_heap_too FROM here;
CREATE MATERIALIZED VIEW seen USING heap AS SELECT * FROM here;
CREATE UNIQUE INDEX ON seen (id);
INSERT INTO here VALUES (11, 'v11', 2);
REFRESH MATERIALIZED VIEW seen;
REFRESH MATERIALIZED VIEW CONCURRENTLY seen;
SELECT (SELECT count(*) FROM as_heap), (SELECT count(*) FROM as_heap_too), (SELECT count(*) FROM seen);
CREATE VIEW through AS SELECT * FROM here WHERE n = 2 WITH CHECK OPTION;
INSERT INTO through VALUES (12, 'v12', 2);
INSERT INTO through VALUES (13, 'v13', 1);
BEGIN;
DECLARE up SCROLL CURSOR FOR SELECT id FROM here ORDER BY id;
FETCH 2 FROM up;
FETCH LAST FROM up;
FETCH BACKWARD 1 FROM up;
FETCH FIRST FROM up;
DECLARE kept CURSOR WITH HOLD FOR SELECT id FROM here WHERE id > 8 ORDER BY id;
COMMIT;
FETCH 2 FROM kept;
CLOSE kept;

-- locks on the table
BEGIN;
LOCK TABLE here IN EXCLUSIVE MODE;
LOCK TABLE ONLY here NOWAIT;
INSERT INTO here VALUES (14, 'locked', 0);
ROLLBACK;

-- a source for MERGE, not its target
MERGE INTO there USING here ON there.id = here.id WHEN MATCHED THEN UPDATE SET v = here.v WHEN NOT MATCHED AND here.id < 3 THEN INSERT VALUES (here.id, here.v);
SELECT * FROM there ORDER BY id;

-- COPY FREEZE into a table of this transaction
BEGIN;
TRUNCATE here;
COPY here FROM stdin WITH (FREEZE);
1	frozen	1
\.
SELECT * FROM here;
ROLLBACK;
COPY here (id) FROM stdin WITH (FREEZE);
\.
SELECT count(*) FROM here;

-- logical replication reads Postgres' log, where items are not
SET client_min_messages = error;
CREATE PUBLICATION heap_only FOR TABLE there;
SET client_min_messages = notice;
CREATE PUBLICATION by_name FOR TABLE there, here;
ALTER PUBLICATION heap_only ADD TABLE here;
ALTER PUBLICATION heap_only SET TABLE here;
DO $$
DECLARE
    command text;
BEGIN
    FOREACH command IN ARRAY ARRAY[
        'CREATE PUBLICATION everything FOR ALL TABLES', 'CREATE PUBLICATION whole_schema FOR TABLES IN SCHEMA commands_test',
        'CREATE PUBLICATION this_schema FOR TABLES IN SCHEMA CURRENT_SCHEMA', 'ALTER PUBLICATION heap_only ADD TABLES IN SCHEMA commands_test'
    ] LOOP
        EXECUTE command;
    END LOOP;
END $$;
SET client_min_messages = warning;
DROP PUBLICATION heap_only, everything, whole_schema, this_schema;
ALTER TABLE here REPLICA IDENTITY FULL;
ALTER TABLE here REPLICA IDENTITY USING INDEX here_pkey;
ALTER TABLE here REPLICA IDENTITY DEFAULT;
SET client_min_messages = notice;

-- storage parameters, statistics targets, names and owners
ALTER TABLE here SET (autovacuum_enabled = off, fillfactor = 50);
ALTER TABLE here RESET (fillfactor);
ALTER TABLE here ALTER v SET STATISTICS 10, ALTER v SET STORAGE EXTERNAL, ALTER n SET (n_distinct = 3);
ALTER TABLE here RENAME CONSTRAINT here_pkey TO here_key;
ALTER INDEX here_key RENAME TO here_pkey;
ALTER INDEX here_pkey SET (fillfactor = 50);
ALTER TABLE here SET SCHEMA public;
ALTER TABLE public.here SET SCHEMA commands_test;
COMMENT ON TABLE here IS 'described';
SELECT id, v FROM here WHERE id = 12;

-- a foreign table is no cairn table, whatever the default access method, nor a child of one
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
SET default_table_access_method = cairn;
CREATE FOREIGN TABLE far (id integer) SERVER nowhere;
RESET default_table_access_method;
CREATE FOREIGN TABLE farther () INHERITS (here) SERVER nowhere;
ALTER FOREIGN TABLE far INHERIT here;

-- EXPLAIN (ANALYZE) tells what cairn read and wrote, of prepared statements too and in every format; requests may include those of planning
PREPARE one(integer) AS SELECT * FROM here WHERE id = $1;
PREPARE another AS INSERT INTO here VALUES (30);
PREPARE none AS SELECT 1;
CREATE FUNCTION explained(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE command LOOP
        RETURN NEXT regexp_replace(line, '(requests=|- Cairn Requests: )\d+', '\1N');
    END LOOP;
END $$;
SET enable_seqscan = off;
SELECT explained('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE one(1)');
SELECT explained('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE another');
SELECT explained('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE none');
SELECT explained('EXPLAIN (COSTS OFF) EXECUTE one(1)');
SELECT explained('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE made USING heap AS EXECUTE one(2)');
SELECT explained('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE made_too USING heap AS SELECT * FROM here WHERE id = 2');
SELECT (plan::jsonb -> 1) - 'Cairn Requests' FROM explained('EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE one(1)') plan;
SELECT (plan::jsonb -> 1) - 'Cairn Requests' FROM explained('EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM here WHERE id = 1') plan;
SELECT xpath('/e:explain/e:Cairn/e:Cairn-Items-Read/text()', plan::xml, '{{e,http://www.postgresql.org/2009/explain}}') FROM explained('EXPLAIN (ANALYZE, FORMAT XML) EXECUTE one(1)') plan;
SELECT substring(plan FROM '- Cairn.*') FROM explained('EXPLAIN (ANALYZE, FORMAT YAML) EXECUTE one(1)') plan;
EXPLAIN (ANALYZE) EXECUTE no_such_statement;
RESET enable_seqscan;
DEALLOCATE ALL;

-- two-phase commit: not of items
BEGIN;
INSERT INTO here VALUES (20);
PREPARE TRANSACTION 'items';

SET client_min_messages = warning;
DROP SERVER nowhere CASCADE;
DROP FOREIGN DATA WRAPPER nothing;
DROP SCHEMA commands_test CASCADE;
