/*
 * Are arguments possible at all? The library asserts or worse on what is refused here. Pure.
 *
 * Errors of all: WIRE_E_BAD_FORMAT; rg_check_options: WIRE_E_CONFIG.
 */
#ifndef RG_CHECK_H
#define RG_CHECK_H

#include "rg_group.h"

#define RG_NUMBER_MAX (UINT64_MAX / 4) /* terms, indexes, sequence numbers: sums of them do not overflow */

int rg_check_options(const struct rg_options *options);
int rg_check_start(const struct rg_start *start);
int rg_check_configuration(const struct wire_configuration *configuration);
/* Entries from `index` on, the one before it of `term_before` (0: there is none), none above `term_max`. */
int rg_check_entries(const struct rg_entry *entries, size_t count, uint64_t index, uint64_t term_before,
                     uint64_t term_max);
/* Fields by kind; group and nodes are the caller's to check. */
int rg_check_message(const struct wire_peer_message *message, const struct rg_entry *entries);

/* How a configuration differs from the one before. */
enum rg_difference {
    RG_SAME,
    RG_ADDS_LEARNER,
    RG_PROMOTES,
    RG_DEMOTES,
    RG_REMOVES_LEARNER,
    RG_REMOVES_VOTER,
    RG_DIFFERS_MORE /* in more than one member, or adds a voter */
};
/* *node: the member it differs in. */
enum rg_difference rg_difference(const struct wire_configuration *before, const struct wire_configuration *after,
                                 uint64_t *node);

#endif
