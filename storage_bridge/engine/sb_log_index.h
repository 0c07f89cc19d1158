/*
 * Where the entries of each group are: an array of places per group, from its first to its last index; and the newest
 * state of each group, its bytes and where they are.
 *
 * All calls: under the log's index lock. Every place in the index counts as one live entry of its segment, every newest
 * state counts its bytes there.
 */
#ifndef SB_LOG_INDEX_H
#define SB_LOG_INDEX_H

#include "sb_log_set.h"

struct sb_log_place {
    uint64_t term;
    uint64_t offset; /* of the entry header */
    uint32_t segment;
    uint32_t size; /* of the payload */
};

struct sb_log_newest {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    uint64_t term;
    uint32_t segment; /* 0: the group never had a state */
};

struct sb_log_group {
    uint64_t id;
    uint64_t first; /* 0: no entry was ever known; live indexes are first .. next - 1 */
    uint64_t next;
    struct sb_log_place *places; /* [start] is of `first` */
    size_t start;
    size_t capacity;
    struct sb_log_newest state;
    /* What the append under way makes of it; of use to sb_log.c alone. */
    uint64_t check_attempt;
    uint64_t check_first;
    uint64_t check_next;
};

struct sb_log_index {
    struct sb_log_set *set;       /* borrowed */
    struct sb_log_group **groups; /* ordered by id */
    size_t count;
    size_t capacity;
    uint64_t state_bytes; /* of the newest states, in all segments */
};

void sb_log_index_close(struct sb_log_index *index);

struct sb_log_group *sb_log_index_find(const struct sb_log_index *index, uint64_t id);
/* Makes it if absent. NULL: out of memory. */
struct sb_log_group *sb_log_index_get(struct sb_log_index *index, uint64_t id);

/* Room for `count` live places in all. Errors: WIRE_E_NOMEM. */
int sb_log_group_reserve(struct sb_log_group *group, uint64_t count);
/* NULL if the index is not live. */
const struct sb_log_place *sb_log_group_place(const struct sb_log_group *group, uint64_t index);

/*
 * Puts the entry at `place` at `index`, as its record says: the group's first live index was `first` at that time; a
 * suffix from index on goes. An index below all known ones is the start anew of a group whose older segments are gone.
 * Errors: WIRE_E_BAD_FORMAT (a gap), WIRE_E_NOMEM (not after sb_log_group_reserve). The entry is not in then.
 */
int sb_log_group_put(struct sb_log_index *index, struct sb_log_group *group, uint64_t first, uint64_t entry_index,
                     const struct sb_log_place *place);
/* Room for a state of `size` bytes; the one there is stays. Errors: WIRE_E_NOMEM. */
int sb_log_group_reserve_state(struct sb_log_group *group, size_t size);
/* The newest state of the group, in `segment`; the bytes may be those that the group has. Errors: WIRE_E_NOMEM (not
 * after sb_log_group_reserve_state). */
int sb_log_group_put_state(struct sb_log_index *index, struct sb_log_group *group, uint64_t term,
                           struct wire_span state, uint32_t segment);
/* Nothing <= entry_index is live any more; beyond the last index this moves the group's position. entry_index <
 * UINT64_MAX. */
void sb_log_group_truncate_prefix(struct sb_log_index *index, struct sb_log_group *group, uint64_t entry_index);

#endif
