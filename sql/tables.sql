-- Cairn tables as tables: creation, keys, partitioning, collation, DDL, dropping.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
CREATE SCHEMA tables_test;
SET search_path = tables_test;

-- a table is an ordinary relation; its primary key is of the access method cairn_ordered, without being asked for
CREATE TABLE plain (id integer PRIMARY KEY, name text NOT NULL, note text DEFAULT 'none') USING cairn;
CREATE VIEW key_of AS
SELECT t.relname AS table_name, ta.amname AS table_am, i.relname AS index_name, ia.amname AS index_am, i.reloptions
FROM pg_class t JOIN pg_am ta ON ta.oid = t.relam LEFT JOIN pg_index x ON x.indrelid = t.oid AND x.indisprimary
LEFT JOIN pg_class i ON i.oid = x.indexrelid LEFT JOIN pg_am ia ON ia.oid = i.relam
WHERE t.relnamespace = current_schema()::regnamespace;
SELECT * FROM key_of WHERE table_name = 'plain';
INSERT INTO plain VALUES (1, 'one', DEFAULT), (2, 'two', 'second') RETURNING *;
SELECT * FROM plain ORDER BY id;
SELECT tableoid::regclass, xmin, cmin, xmax, id FROM plain WHERE id = 1;

-- by the default access method too, and with a named constraint and a key of several columns
SET default_table_access_method = cairn;
CREATE TABLE songs (
    artist text COLLATE "C", song text COLLATE "C", year smallint, price numeric(8, 2), tags text[], attributes jsonb,
    CONSTRAINT songs_key PRIMARY KEY (artist, song)
);
RESET default_table_access_method;
SELECT * FROM key_of WHERE table_name = 'songs';
INSERT INTO songs VALUES ('No One You Know', 'Call Me Today', 2015, 1.5, '{blues,rock}', '{"label": "ours", "rank": 1}');
INSERT INTO songs (artist, song, attributes) VALUES ('No One You Know', 'My Dog Spot', NULL), ('The Acme Band', 'Still in Love', '{}');
SELECT * FROM songs ORDER BY artist, song;

-- partitioning is chosen with the table and kept with the key
CREATE TABLE ranged (a bigint, b text COLLATE "C", PRIMARY KEY (a, b)) USING cairn WITH (partition_by = 'range');
CREATE TABLE hashed (a bigint PRIMARY KEY WITH (partition_by = 'hash')) USING cairn;
SELECT * FROM key_of WHERE table_name IN ('ranged', 'hashed') ORDER BY 1;
CREATE TABLE strange (a bigint PRIMARY KEY) USING cairn WITH (partition_by = 'round robin');
CREATE TABLE keyless_range (a bigint) USING cairn WITH (partition_by = 'range');
SELECT table_name, partition_key, sort_key, partition_by FROM cairn.tables WHERE schema_name = current_schema() AND table_name IN ('plain', 'songs', 'ranged', 'hashed') ORDER BY 1;

-- key types: all of them in one key, and back
CREATE TABLE all_types (
    i2 smallint, i4 integer, i8 bigint, n numeric, t text COLLATE "C", v varchar(10) COLLATE "C", b bytea, d date,
    PRIMARY KEY (i2, i4, i8, n, t, v, b, d)
) USING cairn;
CREATE TABLE more_types (z timestamptz, u uuid, f boolean, s timestamp, PRIMARY KEY (z, u, f, s)) USING cairn;
INSERT INTO all_types VALUES
    (-32768, -2147483648, -9223372036854775808, -1e-30, E'a\u0001b', 'x', '\x00ff', '0044-03-15 BC'),
    (32767, 2147483647, 9223372036854775807, 12345678901234567890.50, 'ü', 'y', '\x00', 'infinity');
INSERT INTO more_types VALUES ('2020-02-29 12:00+00', '00000000-0000-0000-0000-000000000001', true, '-infinity');
SELECT * FROM all_types ORDER BY i2;
SET timezone = 'UTC';
SELECT * FROM more_types;
SELECT n FROM all_types WHERE i2 = 32767 AND i4 = 2147483647 AND i8 = 9223372036854775807 AND n = 12345678901234567890.5;

-- domains, generated columns, identity, CHECK and NOT NULL hold
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE ruled (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, p positive, doubled integer GENERATED ALWAYS AS (p * 2) STORED,
    word varchar(4) CHECK (word <> 'bad')
) USING cairn;
INSERT INTO ruled (p, word) VALUES (1, 'good'), (2, NULL);
INSERT INTO ruled (p) VALUES (0);
INSERT INTO ruled (p, word) VALUES (1, 'bad');
INSERT INTO ruled (p, word) VALUES (1, 'too long');
INSERT INTO plain (id) VALUES (3);
SELECT * FROM ruled ORDER BY id;

-- a table without key may exist, and waits for one
CREATE TABLE keyless (a integer, b text) USING cairn;
SELECT * FROM keyless;
INSERT INTO keyless VALUES (1, 'x');
ALTER TABLE keyless ADD PRIMARY KEY (a) WITH (partition_by = 'range');
INSERT INTO keyless VALUES (1, 'x');
SELECT * FROM keyless;
SELECT * FROM key_of WHERE table_name = 'keyless';
CREATE TABLE keyless_too (b text) USING cairn;
ALTER TABLE keyless_too ADD COLUMN id integer PRIMARY KEY;
INSERT INTO keyless_too VALUES ('x', 1);
SELECT * FROM keyless_too;

-- LIKE takes the key along, in the form that the new table needs
CREATE TABLE like_cairn (LIKE ranged INCLUDING ALL) USING cairn;
CREATE TABLE like_heap (LIKE ranged INCLUDING ALL) USING heap;
CREATE TABLE like_btree (LIKE like_heap INCLUDING ALL) USING cairn;
SELECT * FROM key_of WHERE table_name LIKE 'like%' AND index_name IS NOT NULL ORDER BY 1;

-- columns come and go
INSERT INTO ranged VALUES (1, 'old');
ALTER TABLE ranged ADD COLUMN c integer DEFAULT 7, ADD COLUMN d text;
INSERT INTO ranged VALUES (2, 'new', NULL, 'd'), (3, 'new', DEFAULT, DEFAULT);
SELECT * FROM ranged ORDER BY a;
ALTER TABLE ranged DROP COLUMN c;
ALTER TABLE ranged ADD COLUMN c text DEFAULT 'again';
SELECT * FROM ranged ORDER BY a;
ALTER TABLE ranged RENAME COLUMN a TO aa;
ALTER TABLE ranged RENAME TO ranged_too;
ALTER TABLE ranged_too ALTER COLUMN d SET NOT NULL;
ALTER TABLE ranged_too ALTER COLUMN d TYPE varchar, ALTER COLUMN c SET DEFAULT 'other', ADD CHECK (aa < 100);
INSERT INTO ranged_too VALUES (100, 'x');
SELECT * FROM ranged_too WHERE aa = 1;

-- maintenance commands do no harm
VACUUM ranged_too;
VACUUM (ANALYZE, VERBOSE off) ranged_too;
ANALYZE ranged_too;
SELECT reltuples FROM pg_class WHERE oid = 'ranged_too'::regclass;
REINDEX TABLE ranged_too;
SELECT count(*) FROM ranged_too;
TRUNCATE ranged_too, plain;
SELECT count(*) FROM ranged_too;
INSERT INTO ranged_too VALUES (1, 'anew', 'x');
SELECT aa FROM ranged_too WHERE aa = 1 AND b = 'anew';

-- triggers see rows, also later
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % %', TG_WHEN, TG_OP, NEW;
    RETURN NEW;
END $$;
CREATE TRIGGER before_row BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER after_row AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION tell();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON plain DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell();
BEGIN;
INSERT INTO plain VALUES (1, 'one'), (2, 'two');
COMMIT;

-- a key column that goes by another door leaves a table that refuses to answer rather than answer wrongly
CREATE DOMAIN key_domain AS integer;
CREATE TABLE bereft (a key_domain PRIMARY KEY, b text) USING cairn;
INSERT INTO bereft VALUES (1, 'x');
SET client_min_messages = warning;
DROP DOMAIN key_domain CASCADE;
SET client_min_messages = notice;
SELECT * FROM bereft;
ALTER TABLE bereft ADD COLUMN c integer PRIMARY KEY;
TRUNCATE bereft;
SELECT * FROM bereft;

-- where the database does not order by bytes, text keys do, and say so
CREATE DATABASE cairn_utf8 TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';
\c cairn_utf8
SET client_min_messages = warning;
CREATE EXTENSION cairn;
SET client_min_messages = notice;
CREATE TABLE words (a text, b varchar(10), c text, n integer, PRIMARY KEY (a, b, n)) USING cairn;
SELECT attname, collname FROM pg_attribute a JOIN pg_collation c ON c.oid = attcollation WHERE attrelid = 'words'::regclass ORDER BY attnum;
CREATE TABLE posix (a text COLLATE "POSIX" PRIMARY KEY) USING cairn;
CREATE TABLE other (a text COLLATE "C.utf8" PRIMARY KEY) USING cairn;
CREATE TABLE later (a text, b text COLLATE "C") USING cairn;
ALTER TABLE later ADD PRIMARY KEY (a);
ALTER TABLE later ADD PRIMARY KEY (b);
ALTER TABLE later ADD COLUMN c text;
CREATE TABLE heap_words (a text PRIMARY KEY) USING heap;
CREATE TABLE words_like (LIKE heap_words INCLUDING ALL) USING cairn;
\c regression
SET search_path = tables_test;
DROP DATABASE cairn_utf8;

DROP TABLE plain, songs, hashed, ranged_too, keyless, keyless_too, all_types, more_types, ruled, bereft, like_cairn, like_heap, like_btree CASCADE;
DROP VIEW IF EXISTS key_of;
DROP FUNCTION tell();
DROP DOMAIN positive;
SELECT count(*) FROM cairn.tables WHERE schema_name = current_schema();
DROP SCHEMA tables_test;
