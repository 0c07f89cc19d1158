/* The counters that WIRE_STATUS tells: of the items store, the log, the shard, its replica, and of memory. */
#include "sb_replica.h"

struct figure {
    const char *name;
    uint64_t value;
};

static uint64_t get(_Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static int write_figures(const struct figure *figures, size_t count, struct sb_buffer *out)
{
    uint8_t bytes[4096];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));

    wire_write_varint(&w, count);
    for (size_t i = 0; i < count; i++) {
        wire_write_span(&w, figures[i].name, strlen(figures[i].name));
        wire_write_u64(&w, figures[i].value);
    }
    return w.failed ? WIRE_E_INTERNAL : sb_buffer_append(out, bytes, w.size);
}

int sb_status_reply(struct sb_server *server, struct sb_buffer *out)
{
    struct sb_published *shard = &server->published;
    struct sb_store_status store = {0};
    struct sb_log_status log = {0};
    struct sb_replica_figures replica;

    sb_replica_figures(server, &replica);
    server->store.status(server->store.self, &store);
    sb_log_status(server->log, &log);
    const struct figure figures[] = {
        {"items_bytes", store.items_bytes},
        {"history_bytes", store.history_bytes},
        {"items_keys", store.items_keys},
        {"history_keys", store.history_keys},
        {"memtable_bytes", store.memtable_bytes},
        {"cache_bytes", store.cache_bytes},
        {"flushes", store.flushes},
        {"compactions", store.compactions},
        {"flushed_bytes", store.flushed_bytes},
        {"compacted_bytes", store.compacted_bytes},
        {"log_segments", log.segments},
        {"log_bytes", log.bytes},
        {"log_appended_bytes", log.appended_bytes},
        {"log_appends", log.appends},
        {"log_syncs", log.syncs},
        {"log_disk_full", atomic_load(&server->sync.disk_full)},
        {"applied_index", get(&shard->applied_index)},
        {"applied_version", get(&server->shared->applied_version)},
        {"durable_index", get(&shard->durable_index)},
        {"in_flight_entries", get(&shard->in_flight_entries)},
        {"locks", get(&shard->locks)},
        {"parked", get(&shard->parked)},
        {"transactions", get(&shard->transactions)},
        {"user_bytes", get(&shard->user_bytes)},
        {"engine_memory_bytes", sb_memory_bytes()},
        {"horizon", get(&server->shared->horizon)},
        {"replica_group", WIRE_GROUP_LOCAL},
        {"replica_node", WIRE_NODE_LOCAL},
        {"replica_role", replica.role},
        {"replica_answers", replica.answers},
        {"replica_leader", replica.leader},
        {"replica_term", replica.term},
        {"replica_first_index", replica.first_index},
        {"replica_last_index", replica.last_index},
        {"replica_durable_index", replica.logged_index},
        {"replica_commit_index", replica.commit_index},
        {"replica_applied_index", replica.applied_index},
        {"replica_flushed_index", replica.flushed_index},
        {"replica_behind_since_ms", replica.behind_since_ms},
    };

    return write_figures(figures, sizeof(figures) / sizeof(figures[0]), out);
}
