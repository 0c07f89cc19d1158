/*
 * The members of a replication group, as a configuration entry of its log and a checkpoint carry them.
 *
 *   u8 format 1 | u8 count, 0 .. WIRE_MEMBERS_MAX | (u64 node, u8 role)*, nodes ascending and > 0
 *
 * Caller: anyone. Locks: none.
 */
#ifndef WIRE_CONFIGURATION_H
#define WIRE_CONFIGURATION_H

#include "wire_bytes.h"

#define WIRE_CONFIGURATION_FORMAT 1
#define WIRE_MEMBERS_MAX 9
#define WIRE_CONFIGURATION_SIZE_MAX (2 + 9 * WIRE_MEMBERS_MAX)
#define WIRE_NODE_LOCAL 1 /* the only node of a server that belongs to no cluster */

enum wire_member_role {
    WIRE_MEMBER_VOTER = 1,
    WIRE_MEMBER_LEARNER = 2 /* has the log, does not vote */
};

struct wire_member {
    uint64_t node;
    enum wire_member_role role;
};

struct wire_configuration {
    uint32_t count;
    struct wire_member members[WIRE_MEMBERS_MAX];
};

void wire_configuration_write(struct wire_writer *w, const struct wire_configuration *configuration);
/* `data` is exactly one configuration. Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_VERSION, WIRE_E_BAD_FORMAT. */
int wire_configuration_open(struct wire_span data, struct wire_configuration *out);
/* NULL if the node is no member. */
const struct wire_member *wire_configuration_find(const struct wire_configuration *configuration, uint64_t node);
uint32_t wire_configuration_voters(const struct wire_configuration *configuration);

#endif
