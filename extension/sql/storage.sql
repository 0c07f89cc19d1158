-- What the storage process does and holds: functions in C, views over them.

CREATE FUNCTION cairn.request_counters(
    OUT operation text,
    OUT calls bigint,
    OUT errors bigint,
    OUT bytes_in bigint,
    OUT bytes_out bigint,
    OUT mean_us double precision,
    OUT p50_us double precision,
    OUT p95_us double precision,
    OUT p99_us double precision,
    OUT latency bigint[]
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cairn_request_counters'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cairn.request_counters() IS
'Requests to the storage process since the server started or last recovered from a crash, one row per operation. Behind the view cairn.requests. Errors: 55000 without shared_preload_libraries. DynamoDB: the CloudWatch metrics SuccessfulRequestLatency and SystemErrors.';

CREATE FUNCTION cairn.storage_status(OUT name text, OUT value bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cairn_storage_status'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION cairn.storage_status() IS
'Figures of the storage process, one row each. Behind the views cairn.storage and cairn.replicas. Errors: 55000 without shared_preload_libraries, 57P03 while the storage process is not ready. DynamoDB: no counterpart.';

CREATE FUNCTION cairn.storages(
    OUT database oid,
    OUT relfilenode oid,
    OUT storage_id bigint,
    OUT items_bytes bigint,
    OUT history_bytes bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cairn_storages'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED
ROWS 100;

COMMENT ON FUNCTION cairn.storages() IS
'Storages of all databases: the relation file each belongs to and its approximate size. Behind the view cairn.tables. Errors: 55000 without shared_preload_libraries, 57P03 while the storage process is not ready. DynamoDB: DescribeTable, TableSizeBytes.';

CREATE VIEW cairn.requests AS
SELECT operation, calls, errors, bytes_in, bytes_out, mean_us, p50_us, p95_us, p99_us, latency
FROM cairn.request_counters();

COMMENT ON VIEW cairn.requests IS
'Requests to the storage process by operation, with latency in microseconds from the hand-over of the request to its reply.';
COMMENT ON COLUMN cairn.requests.errors IS 'requests that were refused or failed, conditions that were not met included';
COMMENT ON COLUMN cairn.requests.p50_us IS 'median, estimated from the histogram';
COMMENT ON COLUMN cairn.requests.latency IS 'histogram: element n counts requests of 2^(n-1) to 2^n microseconds, the first also shorter ones';

CREATE VIEW cairn.storage AS
SELECT
    max(value) FILTER (WHERE name = 'items_bytes') AS items_bytes,
    max(value) FILTER (WHERE name = 'history_bytes') AS history_bytes,
    max(value) FILTER (WHERE name = 'items_keys') AS items_keys,
    max(value) FILTER (WHERE name = 'history_keys') AS history_keys,
    max(value) FILTER (WHERE name = 'memtable_bytes') AS memtable_bytes,
    max(value) FILTER (WHERE name = 'cache_bytes') AS cache_bytes,
    max(value) FILTER (WHERE name = 'engine_memory_bytes') AS engine_memory_bytes,
    max(value) FILTER (WHERE name = 'flushes') AS flushes,
    max(value) FILTER (WHERE name = 'compactions') AS compactions,
    max(value) FILTER (WHERE name = 'flushed_bytes') AS flushed_bytes,
    max(value) FILTER (WHERE name = 'compacted_bytes') AS compacted_bytes,
    max(value) FILTER (WHERE name = 'user_bytes') AS user_bytes,
    max(value) FILTER (WHERE name = 'log_segments') AS log_segments,
    max(value) FILTER (WHERE name = 'log_bytes') AS log_bytes,
    max(value) FILTER (WHERE name = 'log_appended_bytes') AS log_appended_bytes,
    max(value) FILTER (WHERE name = 'log_appends') AS log_appends,
    max(value) FILTER (WHERE name = 'log_syncs') AS log_syncs,
    max(value) FILTER (WHERE name = 'log_disk_full') = 1 AS log_disk_full,
    max(value) FILTER (WHERE name = 'applied_index') AS applied_index,
    max(value) FILTER (WHERE name = 'durable_index') AS durable_index,
    max(value) FILTER (WHERE name = 'in_flight_entries') AS in_flight_entries,
    max(value) FILTER (WHERE name = 'locks') AS locks,
    max(value) FILTER (WHERE name = 'parked') AS parked,
    max(value) FILTER (WHERE name = 'transactions') AS transactions,
    to_timestamp((nullif(max(value) FILTER (WHERE name = 'applied_version'), 0) >> 20) / 1000.0) AS applied_time,
    to_timestamp((nullif(max(value) FILTER (WHERE name = 'horizon'), 0) >> 20) / 1000.0) AS horizon_time
FROM cairn.storage_status();

COMMENT ON VIEW cairn.storage IS
'State of the storage process, one row: sizes of items and history on disk, memory, log, work in flight. Counters begin with the start of the storage process.';
COMMENT ON COLUMN cairn.storage.user_bytes IS 'keys and items written; flushed_bytes + compacted_bytes + log_appended_bytes against it is the write amplification';
COMMENT ON COLUMN cairn.storage.applied_index IS 'last log entry that reads see';
COMMENT ON COLUMN cairn.storage.durable_index IS 'last log entry whose effect is flushed to the items store: a restart replays what is behind it';
COMMENT ON COLUMN cairn.storage.parked IS 'writes that wait for an item to be read from disk';
COMMENT ON COLUMN cairn.storage.transactions IS 'transactions whose writes are not settled yet';
COMMENT ON COLUMN cairn.storage.horizon_time IS 'reads as of a time before this fail with 72000';

CREATE VIEW cairn.replicas AS
SELECT
    f.group_id,
    f.node_id,
    CASE f.role WHEN 1 THEN 'follower' WHEN 2 THEN 'candidate' WHEN 3 THEN 'leader' END AS role,
    f.answers_requests,
    nullif(f.leader_node_id, 0) AS leader_node_id,
    f.term,
    nullif(f.first_index, 0) AS first_index,
    f.last_index,
    f.durable_index,
    f.commit_index,
    f.applied_index,
    f.flushed_index,
    f.commit_index - f.applied_index AS lag_entries,
    CASE
        WHEN f.behind_since_ms = 0 THEN 0
        ELSE greatest(0, extract(epoch FROM clock_timestamp() - greatest(to_timestamp(f.behind_since_ms / 1000.0), v.applied_time)))
    END::double precision AS lag_seconds,
    v.applied_time
FROM (
    SELECT
        max(value) FILTER (WHERE name = 'replica_group') AS group_id,
        max(value) FILTER (WHERE name = 'replica_node') AS node_id,
        max(value) FILTER (WHERE name = 'replica_role') AS role,
        max(value) FILTER (WHERE name = 'replica_answers') = 1 AS answers_requests,
        max(value) FILTER (WHERE name = 'replica_leader') AS leader_node_id,
        max(value) FILTER (WHERE name = 'replica_term') AS term,
        max(value) FILTER (WHERE name = 'replica_first_index') AS first_index,
        max(value) FILTER (WHERE name = 'replica_last_index') AS last_index,
        max(value) FILTER (WHERE name = 'replica_durable_index') AS durable_index,
        max(value) FILTER (WHERE name = 'replica_commit_index') AS commit_index,
        max(value) FILTER (WHERE name = 'replica_applied_index') AS applied_index,
        max(value) FILTER (WHERE name = 'replica_flushed_index') AS flushed_index,
        max(value) FILTER (WHERE name = 'replica_behind_since_ms') AS behind_since_ms,
        max(value) FILTER (WHERE name = 'applied_version') AS applied_version
    FROM cairn.storage_status()
) f
CROSS JOIN LATERAL (SELECT to_timestamp((nullif(f.applied_version, 0) >> 20) / 1000.0) AS applied_time) v;

COMMENT ON VIEW cairn.replicas IS
'Members of replication groups that this server holds, one row each. Today a server has one group with one member, itself.';
COMMENT ON COLUMN cairn.replicas.group_id IS 'replication group; its number also stands in the server log';
COMMENT ON COLUMN cairn.replicas.node_id IS 'node that holds the replica';
COMMENT ON COLUMN cairn.replicas.role IS 'leader, follower or candidate';
COMMENT ON COLUMN cairn.replicas.answers_requests IS 'it leads and has applied an entry of its own term';
COMMENT ON COLUMN cairn.replicas.leader_node_id IS 'node that leads the group as far as this replica knows; null: unknown';
COMMENT ON COLUMN cairn.replicas.term IS 'term of the replica; each start of a server that has the group alone begins a new one';
COMMENT ON COLUMN cairn.replicas.first_index IS 'first entry in the log; null: the log has none';
COMMENT ON COLUMN cairn.replicas.last_index IS 'last entry in the log, synced or not';
COMMENT ON COLUMN cairn.replicas.durable_index IS 'last entry that is synced in this replica''s log';
COMMENT ON COLUMN cairn.replicas.commit_index IS 'last entry that this replica knows to be durable on a majority: it is never lost or replaced';
COMMENT ON COLUMN cairn.replicas.applied_index IS 'last entry that reads see';
COMMENT ON COLUMN cairn.replicas.flushed_index IS 'last entry whose effect is flushed to the items store: a restart replays what is behind it';
COMMENT ON COLUMN cairn.replicas.lag_entries IS 'entries known to be committed and not applied yet';
COMMENT ON COLUMN cairn.replicas.lag_seconds IS 'time since everything known to be committed was applied, or since the last applied entry was made if that is less; 0 while nothing is behind';
COMMENT ON COLUMN cairn.replicas.applied_time IS 'when the last applied entry was made, by the clock of its leader';

CREATE VIEW cairn.tables AS
SELECT
    n.nspname AS schema_name,
    c.relname AS table_name,
    k.columns[1] AS partition_key,
    k.columns[2:] AS sort_key,
    coalesce(o.partition_by, 'hash') AS partition_by,
    s.storage_id,
    s.items_bytes,
    s.history_bytes
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'cairn' AND m.amtype = 't'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
LEFT JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
LEFT JOIN LATERAL (
    SELECT array_agg(a.attname ORDER BY p.position) AS columns
    FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS p(number, position)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.number
    WHERE p.position <= i.indnkeyatts
) k ON true
LEFT JOIN LATERAL (
    SELECT max(option_value) AS partition_by
    FROM pg_catalog.pg_options_to_table(coalesce(c.reloptions, '{}') || coalesce(x.reloptions, '{}'))
    WHERE option_name = 'partition_by'
) o ON true
LEFT JOIN cairn.storages() s
    ON s.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
    AND s.relfilenode = pg_catalog.pg_relation_filenode(c.oid)
WHERE c.relkind IN ('r', 'm');

COMMENT ON VIEW cairn.tables IS
'Tables of this database that cairn keeps: their key, partitioning, storage and its approximate size. DynamoDB: ListTables, DescribeTable.';
COMMENT ON COLUMN cairn.tables.partition_key IS 'first column of the primary key; null if the table has none';
COMMENT ON COLUMN cairn.tables.sort_key IS 'the other columns of the primary key, in order';
COMMENT ON COLUMN cairn.tables.storage_id IS 'storage that holds the rows; TRUNCATE and rewrites give the table a new one';
COMMENT ON COLUMN cairn.tables.items_bytes IS 'estimate for current items';
COMMENT ON COLUMN cairn.tables.history_bytes IS 'estimate for superseded versions that are still kept';

GRANT SELECT ON cairn.replicas, cairn.requests, cairn.storage, cairn.tables TO PUBLIC;
