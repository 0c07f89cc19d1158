-- What cairn tables cannot do yet, or never: each says so, with what to do instead, and leaves everything as it was.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
CREATE SCHEMA refusals_test;
SET search_path = refusals_test;

CREATE TABLE here (id integer PRIMARY KEY, v text) USING cairn;
CREATE TABLE there (id integer PRIMARY KEY, v text) USING heap;
INSERT INTO here VALUES (1, 'one'), (2, 'two');
INSERT INTO there VALUES (1, 'eins');

-- changing rows with SQL
UPDATE here SET v = 'x';
UPDATE here SET v = 'x' WHERE false;
DELETE FROM here WHERE id = 1;
MERGE INTO here USING there ON here.id = there.id WHEN MATCHED THEN UPDATE SET v = there.v;
INSERT INTO here VALUES (1, 'x') ON CONFLICT DO NOTHING;
INSERT INTO here VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET v = 'x';
WITH gone AS (DELETE FROM here RETURNING *) SELECT * FROM gone;
SELECT * FROM here FOR UPDATE;
SELECT * FROM here JOIN there USING (id) FOR SHARE OF here;
INSERT INTO here VALUES (3, 'x') RETURNING ctid;
EXPLAIN UPDATE here SET v = 'x';
SELECT * FROM here TABLESAMPLE SYSTEM (50);

-- other constraints and indexes
CREATE TABLE no (a integer PRIMARY KEY, b integer UNIQUE) USING cairn;
CREATE TABLE no (a integer PRIMARY KEY, b integer, UNIQUE (a, b)) USING cairn;
CREATE TABLE no (a integer PRIMARY KEY, b integer, EXCLUDE (b WITH =)) USING cairn;
CREATE TABLE no (a integer PRIMARY KEY DEFERRABLE) USING cairn;
CREATE TABLE no (a integer, b integer, PRIMARY KEY (a) INCLUDE (b)) USING cairn;
CREATE INDEX ON here (v);
CREATE UNIQUE INDEX ON here (v);
CREATE INDEX ON here USING hash (v);
CREATE INDEX CONCURRENTLY ON here (v);
CREATE INDEX ON here USING cairn_ordered (v);
CREATE INDEX ON there USING cairn_ordered (v);
ALTER TABLE here ADD UNIQUE (v);
ALTER TABLE here ADD COLUMN u integer UNIQUE;
ALTER TABLE here ADD EXCLUDE (v WITH =);

-- foreign keys
CREATE TABLE no (a integer PRIMARY KEY REFERENCES there) USING cairn;
CREATE TABLE no (a integer PRIMARY KEY, FOREIGN KEY (a) REFERENCES there) USING cairn;
CREATE TABLE no (a integer REFERENCES here) USING heap;
CREATE TABLE no (a integer, FOREIGN KEY (a) REFERENCES here) USING heap;
ALTER TABLE here ADD FOREIGN KEY (id) REFERENCES there;
ALTER TABLE there ADD FOREIGN KEY (id) REFERENCES here;
ALTER TABLE there ADD COLUMN r integer REFERENCES here;

-- key columns
CREATE TABLE no (a point PRIMARY KEY) USING cairn;
CREATE TABLE no (a char(10) PRIMARY KEY) USING cairn;
CREATE TABLE no (a integer[], b integer, PRIMARY KEY (b, a)) USING cairn;
CREATE TABLE no (a double precision PRIMARY KEY) USING cairn;
CREATE TABLE no (a jsonb PRIMARY KEY) USING cairn;
CREATE TABLE no (a text COLLATE "C.utf8" PRIMARY KEY) USING cairn;
CREATE TABLE no (a int, b int, c int, d int, e int, f int, g int, h int, i int, PRIMARY KEY (a, b, c, d, e, f, g, h, i)) USING cairn;
ALTER TABLE here ALTER COLUMN id TYPE bigint;
ALTER TABLE here DROP COLUMN id;
ALTER TABLE here DROP CONSTRAINT here_pkey;
DROP INDEX here_pkey;
ALTER TABLE here ALTER COLUMN id DROP NOT NULL;

-- kinds of tables
CREATE TEMP TABLE no (a integer PRIMARY KEY) USING cairn;
CREATE TABLE pg_temp.no (a integer PRIMARY KEY) USING cairn;
CREATE UNLOGGED TABLE no (a integer PRIMARY KEY) USING cairn;
CREATE TABLE no (a integer PRIMARY KEY) PARTITION BY RANGE (a) USING cairn;
CREATE TABLE parent (a integer PRIMARY KEY) PARTITION BY RANGE (a);
CREATE TABLE no PARTITION OF parent FOR VALUES FROM (1) TO (9) USING cairn;
CREATE TABLE shaped (a integer PRIMARY KEY) USING cairn;
ALTER TABLE parent ATTACH PARTITION shaped FOR VALUES FROM (1) TO (9);
CREATE TABLE no () INHERITS (there) USING cairn;
CREATE TABLE no () INHERITS (here) USING heap;
ALTER TABLE here INHERIT there;
ALTER TABLE there INHERIT here;
CREATE TABLE no USING cairn AS SELECT 1 AS a;
CREATE MATERIALIZED VIEW no USING cairn AS SELECT 1 AS a;
CREATE TABLE no (a integer PRIMARY KEY) USING cairn TABLESPACE pg_global;
SET default_table_access_method = cairn;
CREATE TEMP TABLE no (a integer);
SELECT 1 AS a INTO no;
CREATE MATERIALIZED VIEW no AS SELECT 1 AS a;
CREATE TABLE partitioned (a integer) PARTITION BY LIST (a);
CREATE TABLE no PARTITION OF partitioned DEFAULT;
RESET default_table_access_method;

-- rewriting, moving, reordering
ALTER TABLE here SET ACCESS METHOD heap;
ALTER TABLE there SET ACCESS METHOD cairn;
ALTER TABLE here SET UNLOGGED;
ALTER TABLE here SET TABLESPACE pg_default;
ALTER TABLE here ADD COLUMN r double precision DEFAULT random();
ALTER TABLE here ADD COLUMN g text GENERATED ALWAYS AS (v || v) STORED;
ALTER TABLE here ALTER COLUMN v TYPE varchar(2);
ALTER TABLE here ALTER COLUMN v TYPE integer USING length(v);
ALTER TABLE here CLUSTER ON here_pkey;
ALTER INDEX here_pkey SET (partition_by = 'range');
ALTER INDEX here_pkey RESET (partition_by);
ALTER TABLE here_pkey SET (partition_by = 'range');
ALTER TABLE here SET (partition_by = 'range');
CLUSTER here USING here_pkey;
CREATE TABLE rowless (a integer) USING cairn;
CREATE UNIQUE INDEX rowless_index ON rowless (a);
ALTER TABLE rowless ADD CONSTRAINT rowless_pkey PRIMARY KEY USING INDEX there_pkey;

-- isolation
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM here;
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO here VALUES (3, 'x');
ROLLBACK;
BEGIN READ ONLY;
INSERT INTO here VALUES (3, 'x');
ROLLBACK;

-- nothing of it happened
SELECT * FROM here ORDER BY id;
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'here'::regclass AND attnum > 0 ORDER BY attnum;
SELECT indexrelid::regclass, indisvalid FROM pg_index WHERE indrelid = 'here'::regclass;
DROP TABLE here, there, parent, shaped, partitioned, rowless;
DROP SCHEMA refusals_test;
