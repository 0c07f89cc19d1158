/*
 * What clients asked and were told, and whether registers with one copy could have told it: linearizability, key by
 * key.
 *
 * Every value is written once at most. That makes the search short: who saw a value stands between its write and the
 * next one, so a write can take effect only when nobody is left who saw the value before it.
 */
#ifndef SIM_GROUP_HISTORY_H
#define SIM_GROUP_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum group_operation_kind {
    GROUP_WRITE,
    GROUP_CONDITIONAL, /* write if the value is `expected`; refused: `observed` was another */
    GROUP_LEASE_READ,
    GROUP_INDEX_READ
};

enum group_outcome {
    GROUP_OPEN,
    GROUP_DONE,
    GROUP_REFUSED, /* GROUP_CONDITIONAL: has seen `observed` */
    GROUP_NEVER,   /* did not happen and will not */
    GROUP_UNKNOWN  /* has happened, will happen, or not */
};

struct group_operation {
    enum group_operation_kind kind;
    enum group_outcome outcome;
    uint32_t key;
    uint32_t client;
    uint64_t begin; /* of a clock that never shows the same twice */
    uint64_t end;   /* DONE, REFUSED */
    uint64_t value; /* written, > 0 */
    uint64_t expected;
    uint64_t observed; /* reads and refusals; 0: the key has no value yet */
};

struct group_history {
    struct group_operation *operations;
    size_t count;
    size_t capacity;
};

/* Checks one key. False: *reason (of `size` bytes) tells why. */
bool group_history_check(const struct group_history *history, uint32_t key, char *reason, size_t size);
/* Good and bad histories written by hand: does the checker tell them apart? False: which one is printed. */
bool group_history_self_test(void);

#endif
