-- What an item can hold, and that nothing is lost between jsonb, bytes and columns.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';

SELECT cairn.create_table('model', 'id text');
-- put a value, get it back: equal, and printed alike (numbers keep their scale)
CREATE FUNCTION round_trip(value jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    back jsonb;
BEGIN
    PERFORM cairn.put_item('model', jsonb_build_object('id', 'x', 'v', value));
    back := cairn.get_item('model', '{"id": "x"}')->'v';
    RETURN CASE WHEN back::text = value::text THEN 'same' ELSE back::text END;
EXCEPTION WHEN others THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

SELECT v, round_trip(v) FROM (VALUES
    ('null'::jsonb), ('true'), ('false'),
    ('""'), ('"text"'), ('"Zürich \u20ac \ud83d\ude00"'),
    ('0'), ('0.00'), ('-1'), ('1.50'), ('100'), ('1e3'), ('9223372036854775807'), ('9223372036854775808'), ('-9223372036854775809'),
    ('12345678901234567890123456789012345678'), ('-0.00000000000000000000000000000000000001'), ('0.12345678901234567890123456789012345678'),
    ('[]'), ('{}'), ('[1, "a", null, [2, {"b": []}]]'), ('{"a": {"b": {"c": [true]}}, "aa": 1, "b": 2}'),
    ('{"$B": ""}'), ('{"$B": "AA=="}'), ('{"$B": "AAECAwQFBgcICQ=="}'),
    ('{"$SS": ["a"]}'), ('{"$SS": ["", "a", "ab", "b"]}'), ('{"$NS": [-1, 0, 1.50, 2]}'), ('{"$BS": ["", "AA==", "/w=="]}'),
    ('{"$M": {"$B": "AA=="}}'), ('{"$M": {"$M": 1}}'), ('{"$M": {"$SS": ["a"]}}'), ('{"$M": {"$NEW": 1}}'),
    ('{"$ref": "x"}'), ('{"$": 1}'), ('{"$B": "AA==", "b": 1}'), ('{"$b": 1}'), ('{"$B1": 1}'),
    ('[{"$B": "AA=="}, {"$M": {"$B": {"$SS": ["a"]}}}]')
) AS t(v);

-- sets come back in order: strings and binary by bytes, numbers by value
SELECT v, round_trip(v) FROM (VALUES ('{"$SS": ["b", "a", "aa"]}'::jsonb), ('{"$NS": [10, 9, -3, 2.5]}'), ('{"$BS": ["/w==", "AA=="]}')) AS t(v);

-- payloads that a tag cannot have, and tags that do not exist
SELECT v, round_trip(v) FROM (VALUES
    ('{"$B": 1}'::jsonb), ('{"$B": "A"}'), ('{"$B": "AA"}'), ('{"$B": "A A=="}'), ('{"$B": "AB=="}'), ('{"$B": null}'),
    ('{"$SS": []}'), ('{"$SS": "a"}'), ('{"$SS": ["a", "a"]}'), ('{"$SS": [1]}'), ('{"$NS": ["1"]}'), ('{"$NS": [1, 1.0]}'), ('{"$NS": {}}'), ('{"$BS": ["A"]}'),
    ('{"$M": {"a": 1}}'), ('{"$M": {}}'), ('{"$M": 1}'), ('{"$X": 1}'), ('{"$N": "NaN"}'), ('[{"$LIST": []}]')
) AS t(v);

-- numbers: 38 digits, 1E-130 to 9.99E+125
SELECT round_trip('1e125'), round_trip('-9.99e125') IS NOT NULL AS fits, round_trip('1e-130') = 'same' AS least;
SELECT left(round_trip(v), 60) FROM (VALUES ('123456789012345678901234567890123456789'::jsonb), ('1e126'), ('1e-131'), ('1.00000000000000000000000000000000000001')) AS t(v);
SELECT round_trip('1000000000000000000000000000000000000000');

-- 32 levels
SELECT round_trip((repeat('[', 32) || repeat(']', 32))::jsonb), round_trip((repeat('{"a":', 31) || '[]' || repeat('}', 31))::jsonb);
SELECT round_trip((repeat('[', 33) || repeat(']', 33))::jsonb), round_trip((repeat('{"a":', 32) || '[]' || repeat('}', 32))::jsonb);

-- at the top level a name is a name
SELECT cairn.put_item('model', '{"id": "y", "$B": "no tag", "a b": 1, "Ä": 2, "$M": {"x": 1}}');
SELECT cairn.get_item('model', '{"id": "y"}');
SELECT cairn.delete_item('model', '{"id": "y"}', '{"equals": {"$B": "no tag", "$M": {"x": 1.0}}}', 'ALL_OLD') IS NOT NULL AS deleted;

-- equality in conditions: same type, numbers by value, sets by members
SELECT cairn.put_item('model', '{"id": "z", "n": 1.50, "s": "1.5", "l": [1, 2], "ns": {"$NS": [1, 2]}, "m": {"a": 1}, "nil": null}');
CREATE FUNCTION holds(condition jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM cairn.update_item('model', '{"id": "z"}', condition => condition);
    RETURN true;
EXCEPTION WHEN integrity_constraint_violation THEN
    RETURN false;
END $$;
SELECT c, holds(jsonb_build_object('equals', c)) FROM (VALUES
    ('{"n": 1.5}'::jsonb), ('{"n": "1.5"}'), ('{"s": "1.5"}'), ('{"s": 1.5}'), ('{"l": [1, 2.0]}'), ('{"l": [2, 1]}'),
    ('{"ns": {"$NS": [2, 1]}}'), ('{"ns": [1, 2]}'), ('{"m": {"a": 1}}'), ('{"m": {}}'), ('{"nil": null}'), ('{"none": null}')) AS t(c);
SELECT holds('{"attribute_exists": "nil"}'), holds('{"attribute_not_exists": "none"}'), holds('{"attribute_exists": "none"}');

-- columns of every kind are attributes, too
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a integer, b text);
CREATE TABLE kinds (
    id integer PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint, n numeric, t text, v varchar(5), c char(4), y bytea, j jsonb,
    ts timestamptz, d date, iv interval, f float8, u uuid, arr integer[], texts text[], m mood, p pair, r int4range, ip inet, money numeric(6,2), attributes jsonb
) USING cairn;
SELECT cairn.put_item('kinds', '{"id": 1, "b": true, "i2": -32768, "i4": 2147483647, "i8": -9223372036854775808, "n": 1.10, "t": "text", "v": "vc", "c": "ab", "y": {"$B": "AP8="},
    "j": {"x": {"$SS": ["q"]}}, "ts": "2024-02-29 12:00:00+02", "d": "2024-02-29", "iv": "1 day 02:03", "f": 1.5, "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "arr": [1, null, 3],
    "texts": ["a,b", "c\"d"], "m": "ok", "p": {"a": 1, "b": "two"}, "r": "[1,5)", "ip": "10.0.0.1/8", "money": 12.345, "more": {"a": 1}}');
SELECT jsonb_pretty(cairn.get_item('kinds', '{"id": 1}'));
-- and what was read can be written again
SELECT cairn.put_item('kinds', cairn.get_item('kinds', '{"id": 1}'), return_values => 'ALL_OLD') = cairn.get_item('kinds', '{"id": 1}') AS same;
SELECT cairn.put_item('kinds', '{"id": 2, "t": null, "j": null}');
SELECT cairn.get_item('kinds', '{"id": 2}');
SELECT cairn.update_item('kinds', '{"id": 1}', '{"i4": 7, "c": "xyz", "arr": [[1, 2], [3, 4]], "j": null, "new": 1}', '{n, ts, more}', '{"equals": {"d": "2024-02-29", "m": "ok", "c": "ab", "i4": 2147483647.0}}', 'ALL_NEW') ->> 'arr' AS arr;
SELECT cairn.get_item('kinds', '{"id": 1}') - '{arr,texts,p,r,ip,u,y,iv,f,u,money,d,m}'::text[];

-- SQL and item functions see the same rows
SELECT id, n, t, v, c, y, j, m, p, arr, texts, r, ip, money, attributes FROM kinds ORDER BY id;
INSERT INTO kinds (id, n, f, y, j, d, arr, p, ts, attributes) VALUES
    (3, 'NaN', 'NaN', '\x00', '{"$SS": ["b", "a"]}', 'infinity', '{{1,2},{3,4}}', '(1,"x,y")', '-infinity', '{"aa": {"$B": "AA=="}, "bb": {"$ref": 1}}'),
    (4, 1e200, '-Infinity', '', 'null', '2024-01-01 BC', '{}', NULL, '2024-01-01 00:00:00.123456+00', '{}');
SELECT cairn.get_item('kinds', '{"id": 3}');
SELECT cairn.get_item('kinds', '{"id": 4}') - 'n' AS item, cairn.get_item('kinds', '{"id": 4}')->'n' = '1e200' AS n;
SELECT id, n = 1e200 AS n, f, y, j, d, arr, p, ts, attributes FROM kinds WHERE id IN (3, 4) ORDER BY id;
SELECT cairn.put_item('kinds', '{"id": 5, "aa": {"$NS": [3, 1, 2]}, "bb": [null]}');
SELECT id, attributes, attributes->'bb' AS bb FROM kinds WHERE id = 5;

-- the catch-all column in SQL: NULL and empty are two things, members cannot have a column's name, it must be an object
CREATE TABLE catch_all (id integer PRIMARY KEY, n integer, attributes jsonb) USING cairn;
INSERT INTO catch_all VALUES (1, 1, NULL), (2, 2, '{}'), (3, 3, '{"x": 1}');
SELECT cairn.put_item('catch_all', '{"id": 4, "n": 4}');
SELECT cairn.update_item('catch_all', '{"id": 3}', remove_attributes => '{x}');
SELECT id, n, attributes FROM catch_all ORDER BY id;
SELECT * FROM cairn.scan('catch_all') i ORDER BY i->'id';
INSERT INTO catch_all VALUES (5, 5, '{"n": 1}');
INSERT INTO catch_all VALUES (5, 5, '[1]');
INSERT INTO catch_all VALUES (5, 5, '{"x": {"$B": 1}}');

-- settings that change how values print do not change what is stored
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'iso_8601';
SET extra_float_digits = 0;
CREATE TABLE printed (id integer PRIMARY KEY, ds date[], iv interval[], fs float8[]) USING cairn;
INSERT INTO printed VALUES (1, '{2024-02-03}', ARRAY[interval '-1 day 2 hours'], ARRAY[0.1::float8 + 0.2::float8]);
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
RESET extra_float_digits;
SELECT id, ds, iv, fs, fs[1] = 0.1::float8 + 0.2::float8 AS exact FROM printed;

DROP TABLE model, kinds, catch_all, printed;
DROP FUNCTION round_trip, holds;
DROP TYPE mood, pair;
