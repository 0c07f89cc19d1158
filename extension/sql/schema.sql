-- Everything of cairn lives in the schema that the control file names. What a user may do to a table's items, the table's own privileges say.

\echo Use "CREATE EXTENSION cairn" to load this file. \quit

COMMENT ON SCHEMA cairn IS
'cairn: key-value tables in the manner of DynamoDB. Item functions, views on the storage process, and what the access methods need.';

GRANT USAGE ON SCHEMA cairn TO PUBLIC;
