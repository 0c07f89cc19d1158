\set ECHO queries
\pset footer off
\pset null '(null)'
\echo
\echo '-- 1. One item by its key: one request to the storage process.'
SELECT jsonb_pretty(cairn.get_item('packages', jsonb_build_object('Package', 'bash', 'Version', (SELECT min("Version") FROM packages WHERE "Package" = 'bash')))) AS bash;
\echo
\echo '-- 2. Put an item. It is durable when the answer comes.'
SELECT cairn.put_item('packages', '{"Package": "cairn", "Version": "0.1", "Section": "database", "Size": 1, "Tags": {"$SS": ["postgresql", "rocksdb"]}}');
\echo
\echo '-- 3. Put it again, but only if it is not there: the condition is judged where the item lives.'
\set ON_ERROR_STOP off
SELECT cairn.put_item('packages', '{"Package": "cairn", "Version": "0.1"}', condition => '{"attribute_not_exists": "Package"}');
\set ON_ERROR_STOP on
\echo
\echo '-- 4. Change two attributes, remove one, and see the item that results.'
SELECT cairn.update_item('packages', '{"Package": "cairn", "Version": "0.1"}', set_attributes => '{"Size": 2, "Priority": "optional"}', remove_attributes => '{Tags}', return_values => 'ALL_NEW');
\echo
\echo '-- 5. All versions of one package: a query by partition key, newest sort key first.'
SELECT item ->> 'Version' AS version, item ->> 'Section' AS section FROM cairn.query('packages', '{"Package": "cairn"}', forward => false) AS item;
\echo
\echo '-- 6. The same with a condition on the sort key.'
SELECT item ->> 'Version' AS version FROM cairn.query('packages', '{"Package": "bash"}', sort_condition => '{"begins_with": "5."}') AS item;
\echo
\echo '-- 7. It is a table: SQL by primary key ...'
SELECT "Package", "Version", attributes ->> 'Installed-Size' AS kb FROM packages WHERE "Package" = 'bash';
\echo
\echo '-- 8. ... and by any other attribute, with a scan.'
SELECT attributes ->> 'Section' AS section, count(*), sum((attributes ->> 'Size')::bigint) / 1000000 AS mb FROM packages WHERE attributes ->> 'Section' IS NOT NULL GROUP BY 1 ORDER BY 2 DESC LIMIT 5;
\echo
\echo '-- 9. Join it with a heap table.'
CREATE TABLE wanted (package text PRIMARY KEY, why text);
INSERT INTO wanted VALUES ('bash', 'a shell'), ('gcc', 'a compiler'), ('make', 'a builder');
SELECT w.package, w.why, p."Version" FROM wanted w JOIN packages p ON p."Package" = w.package ORDER BY 1;
\echo
\echo '-- 10. One transaction over both kinds of table: all of it or nothing.'
BEGIN;
INSERT INTO wanted VALUES ('cairn', 'tables that stay flat');
SELECT cairn.put_item('packages', '{"Package": "cairn", "Version": "0.2"}');
ROLLBACK;
SELECT (SELECT count(*) FROM wanted WHERE package = 'cairn') AS heap, (SELECT count(*) FROM packages WHERE "Package" = 'cairn' AND "Version" = '0.2') AS cairn;
\echo
\echo '-- 11. What the planner does, and what was read.'
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM packages WHERE "Package" = 'bash';
\echo
\echo '-- 12. What there is, and what it did.'
SELECT * FROM cairn.tables;
SELECT * FROM cairn.storage \gx
SELECT operation, calls, errors, round(mean_us::numeric) AS mean_us, round(p50_us::numeric) AS p50_us, round(p99_us::numeric) AS p99_us FROM cairn.requests WHERE calls > 0;
\unset ECHO
