/*
 * The end of history: superseded images below the horizon are dropped as RocksDB compacts, here by its own doing or on
 * demand. See sb_rocks_internal.h.
 */
#include "sb_rocks_internal.h"

#include "wire_clock.h"

void sb_rocks_set_horizon(void *self, uint64_t version)
{
    struct sb_rocks *r = self;
    uint64_t now = atomic_load(&r->horizon);

    while (version > now && !atomic_compare_exchange_weak(&r->horizon, &now, version))
        ;
}

/*
 * Compaction filter, of history only. An entry goes by its own superseded-at, so no state is kept between calls;
 * RocksDB writes a tombstone for it unless nothing older can lie below, so an older put of the same key does not come
 * back. RocksDB asks without regard to snapshots, so an entry may vanish from an open view: no reader needs it, since a
 * snapshot that could is above the horizon or refused.
 */
static unsigned char drop_superseded(void *state, int level, const char *key, size_t key_size, const char *value,
                                     size_t value_size, char **new_value, size_t *new_size, unsigned char *changed)
{
    const struct sb_rocks *r = state;
    struct wire_reader reader = wire_reader_of(value, value_size);
    uint64_t superseded_at = wire_read_u64(&reader);

    (void) level;
    (void) new_value;
    (void) new_size;
    *changed = 0;
    if (reader.failed || key_size == 0 || (uint8_t) key[0] != sb_rocks_prefixes[SB_HISTORY])
        return 0;
    return !wire_version_is_transaction(superseded_at) &&
           superseded_at < atomic_load_explicit(&r->horizon, memory_order_relaxed);
}

static const char *filter_name(void *state)
{
    (void) state;
    return "cairn.history";
}

static void filter_destroyed(void *state)
{
    (void) state;
}

rocksdb_compactionfilter_t *sb_rocks_filter_make(struct sb_rocks *r)
{
    return rocksdb_compactionfilter_create(r, filter_destroyed, drop_superseded, filter_name);
}

static bool reversed(struct wire_span low, struct wire_span high)
{
    return high.size > 0 && wire_span_compare(low, high) >= 0;
}

int sb_rocks_compact(void *self, struct wire_span low, struct wire_span high, struct sb_fault *fault)
{
    struct sb_rocks *r = self;
    uint64_t errors = sb_rocks_property(r, "rocksdb.background-errors");

    for (enum sb_family family = 0; family < SB_FAMILY_COUNT && !reversed(low, high); family++) {
        struct sb_rocks_key from, to;

        sb_rocks_key(family, low, &from);
        sb_rocks_key_end(family, high, &to);
        rocksdb_compact_range_opt(r->db, r->compact[family], from.data, from.size, to.data, to.size);
    }
    /* The calls do not say how they ended. */
    if (sb_rocks_property(r, "rocksdb.background-errors") != errors)
        return sb_rocks_compaction_error(r, fault);
    return WIRE_OK;
}
