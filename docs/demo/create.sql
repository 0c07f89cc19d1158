SET client_min_messages = warning;
CREATE EXTENSION cairn;
\echo
\echo '-- a table with a partition key and a sort key; every other field of a record is an attribute of its item'
\echo 'SELECT cairn.create_table(''packages'', ''Package text'', ''Version text'');'
SELECT cairn.create_table('packages', 'Package text', 'Version text');
SELECT cairn.create_table('demo_writes', 'Writer bigint', 'Number bigint');
\d packages
