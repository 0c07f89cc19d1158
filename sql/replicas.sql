-- cairn.replicas: how this server's members of replication groups stand.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;

-- One group, this server alone: it leads, and everything committed is applied.
SELECT group_id, node_id, role, answers_requests, leader_node_id, lag_entries, lag_seconds FROM cairn.replicas;

SELECT term > 0 AS term, first_index BETWEEN 1 AND applied_index + 1 AS first, flushed_index <= applied_index AS flushed,
    applied_index <= commit_index AS applied, applied_index <= durable_index AS durable, commit_index <= last_index AS commit,
    durable_index <= last_index AS last, applied_time <= clock_timestamp() AS applied_time
FROM cairn.replicas;

-- A write is an entry of the same term; who has its answer finds it applied.
CREATE TABLE replicated (k integer PRIMARY KEY) USING cairn;
SELECT term, applied_index, applied_time FROM cairn.replicas \gset before_
SELECT cairn.put_item('replicated', '{"k": 1}');
SELECT term = :before_term AS same_term, applied_index > :before_applied_index AS one_more, applied_time >= :'before_applied_time' AS later
FROM cairn.replicas;

-- Anybody may look.
CREATE ROLE regress_replicas_reader;
SET ROLE regress_replicas_reader;
SELECT count(*) FROM cairn.replicas;
RESET ROLE;
DROP ROLE regress_replicas_reader;
DROP TABLE replicated;
