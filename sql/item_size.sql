-- The limit of 400 KB on an item counts the same whichever way it is written: names and values, key included.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
CREATE SCHEMA item_size_test;
SET search_path = item_size_test;
\set VERBOSITY terse

-- key: names 2 x 9 bytes, values 3 and 4 (a number of five digits); "text_column" 11; "named" 5
CREATE TABLE sized (
    key_first text COLLATE "C", key_other numeric, text_column text, dropped text, hidden_too text, attributes jsonb,
    PRIMARY KEY (key_first, key_other)
) USING cairn;
\set fixed 18 + 3 + 4
CREATE FUNCTION key_of(n integer) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT jsonb_build_object('key_first', 'abc', 'key_other', 12340 + n) $$;
CREATE FUNCTION text_of(n integer) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT jsonb_build_object('text_column', repeat('x', n)) $$;
CREATE FUNCTION named_of(n integer) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT jsonb_build_object('named', repeat('x', n)) $$;
SELECT 409600 - (:fixed) - 11 AS text_most, 409600 - (:fixed) - 5 AS named_most, 409600 - (:fixed) - 16 AS both_most
\gset

-- put_item: bare, and in a transaction
SELECT cairn.put_item('sized', key_of(1) || text_of(:text_most));
SELECT cairn.put_item('sized', key_of(1) || text_of(:text_most + 1));
SELECT cairn.put_item('sized', key_of(2) || named_of(:named_most));
SELECT cairn.put_item('sized', key_of(2) || named_of(:named_most + 1));
BEGIN;
SELECT cairn.put_item('sized', key_of(1) || text_of(:text_most));
SAVEPOINT s;
SELECT cairn.put_item('sized', key_of(1) || text_of(:text_most + 1));
ROLLBACK;

-- update_item: bare, creating the item or changing it, and in a transaction
SELECT cairn.update_item('sized', key_of(3), text_of(:text_most));
SELECT cairn.update_item('sized', key_of(4), text_of(:text_most + 1));
SELECT cairn.update_item('sized', key_of(4), named_of(:named_most));
SELECT cairn.update_item('sized', key_of(5), named_of(:named_most + 1));
SELECT cairn.update_item('sized', key_of(3), '{"named": ""}');
SELECT cairn.update_item('sized', key_of(3), '{"text_column": ""}' || named_of(:both_most));
SELECT cairn.update_item('sized', key_of(3), named_of(:both_most + 1));
SELECT cairn.update_item('sized', key_of(3), named_of(:named_most), '{text_column}');
BEGIN;
SELECT cairn.update_item('sized', key_of(3), text_of(:text_most), '{named}');
SAVEPOINT s;
SELECT cairn.update_item('sized', key_of(3), text_of(:text_most + 1));
ROLLBACK TO s;
SELECT cairn.update_item('sized', key_of(3), '{"named": ""}');
ROLLBACK;
SELECT cairn.update_item('sized', key_of(3), text_of(1), condition => '{"attribute_exists": "none"}');

-- a near miss leaves the old item, and the transaction's own rules hold: conditions and results are those of one update
SELECT key_other, length(text_column) AS text_column, length(attributes ->> 'named') AS named FROM sized ORDER BY key_other;
SELECT length(cairn.update_item('sized', key_of(2), '{"text_column": "y"}', '{named}', '{"attribute_exists": "named"}', 'ALL_OLD') ->> 'named');
SELECT length(cairn.update_item('sized', key_of(2), named_of(300000), '{}', '{"equals": {"text_column": "y"}}', 'ALL_NEW') ->> 'named');

-- batch_write_item: bare, and in a transaction
SELECT cairn.batch_write_item('sized', jsonb_build_array(key_of(1) || text_of(:text_most)));
SELECT cairn.batch_write_item('sized', jsonb_build_array(key_of(1) || text_of(:text_most + 1)));
BEGIN;
SELECT cairn.batch_write_item('sized', jsonb_build_array(key_of(1) || named_of(:named_most)));
SELECT cairn.batch_write_item('sized', jsonb_build_array(key_of(1) || named_of(:named_most + 1)));
ROLLBACK;

-- the scale of a numeric key that is kept beside it, NULL of a column with a missing value, dropped columns and hidden attributes count nothing
SELECT cairn.put_item('sized', '{"key_first": "abc", "key_other": 1234.50}' || text_of(:text_most + 1));
SELECT cairn.put_item('sized', '{"key_first": "abc", "key_other": 1234.50}' || text_of(:text_most));
SELECT cairn.put_item('sized', key_of(6) || jsonb_build_object('dropped', repeat('x', 100000), 'hidden', repeat('x', 100000)));
ALTER TABLE sized DROP COLUMN dropped;
ALTER TABLE sized RENAME COLUMN hidden_too TO hidden;
SELECT cairn.update_item('sized', key_of(6), text_of(:text_most));
SELECT cairn.update_item('sized', key_of(6), text_of(:text_most + 1));
ALTER TABLE sized ADD COLUMN missing text DEFAULT 'there';
SELECT cairn.put_item('sized', key_of(7) || text_of(:text_most));
SELECT cairn.update_item('sized', key_of(7), text_of(:text_most), '{missing}');
SELECT cairn.update_item('sized', key_of(7), '{"missing": ""}');
SELECT cairn.update_item('sized', key_of(8), text_of(:text_most + 1));

-- the SQL way of tables with rules
CREATE TABLE ruled (key_first text COLLATE "C", key_other numeric, text_column text CHECK (text_column <> 'z'), attributes jsonb, PRIMARY KEY (key_first, key_other)) USING cairn;
SELECT cairn.put_item('ruled', key_of(1) || text_of(:text_most));
SELECT cairn.put_item('ruled', key_of(1) || text_of(:text_most + 1));
SELECT cairn.update_item('ruled', key_of(2), named_of(:named_most));
SELECT cairn.update_item('ruled', key_of(2), named_of(:named_most + 1));
SELECT cairn.batch_write_item('ruled', jsonb_build_array(key_of(1) || text_of(:text_most + 1)));

-- rows that SQL writes may be larger, up to 900 KB of stored bytes; an update must bring them below the limit
INSERT INTO sized (key_first, key_other, text_column) VALUES ('sql', 1, repeat('x', 900 * 1024 - 100));
INSERT INTO sized (key_first, key_other, text_column) VALUES ('sql', 2, repeat('x', 900 * 1024));
SELECT length(text_column) FROM sized WHERE key_first = 'sql' AND key_other = 1;
SELECT length(cairn.get_item('sized', '{"key_first": "sql", "key_other": 1}')::text);
SELECT cairn.update_item('sized', '{"key_first": "sql", "key_other": 1}', '{"named": 1}');
SELECT cairn.update_item('sized', '{"key_first": "sql", "key_other": 1}', '{"text_column": "short"}');
SELECT cairn.get_item('sized', '{"key_first": "sql", "key_other": 1}');

SET client_min_messages = warning;
DROP SCHEMA item_size_test CASCADE;
