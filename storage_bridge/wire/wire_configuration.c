/*
 * See wire_configuration.h.
 *
 * Happy path: write, and open what was written. Failure: a writer is failed by a configuration that no reader would
 * take; a reader refuses too many members, nodes out of order and unknown roles, so equal configurations have equal
 * bytes.
 */
#include "wire_configuration.h"

static bool is_member(const struct wire_member *member, uint64_t before)
{
    return member->node > before && (member->role == WIRE_MEMBER_VOTER || member->role == WIRE_MEMBER_LEARNER);
}

void wire_configuration_write(struct wire_writer *w, const struct wire_configuration *configuration)
{
    uint64_t before = 0;

    if (configuration->count > WIRE_MEMBERS_MAX) {
        w->failed = true;
        return;
    }
    wire_write_u8(w, WIRE_CONFIGURATION_FORMAT);
    wire_write_u8(w, (uint8_t) configuration->count);
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct wire_member *member = &configuration->members[i];

        w->failed |= !is_member(member, before);
        wire_write_u64(w, member->node);
        wire_write_u8(w, (uint8_t) member->role);
        before = member->node;
    }
}

int wire_configuration_open(struct wire_span data, struct wire_configuration *out)
{
    struct wire_reader r = wire_reader_of(data.data, data.size);
    uint8_t format = wire_read_u8(&r);
    uint64_t before = 0;

    memset(out, 0, sizeof *out);
    out->count = wire_read_u8(&r);
    if (r.failed)
        return WIRE_E_SHORT_INPUT;
    if (format > WIRE_CONFIGURATION_FORMAT)
        return WIRE_E_BAD_VERSION;
    if (format != WIRE_CONFIGURATION_FORMAT || out->count > WIRE_MEMBERS_MAX)
        return WIRE_E_BAD_FORMAT;
    for (uint32_t i = 0; i < out->count; i++) {
        struct wire_member *member = &out->members[i];

        member->node = wire_read_u64(&r);
        member->role = (enum wire_member_role) wire_read_u8(&r);
        if (r.failed)
            return WIRE_E_SHORT_INPUT;
        if (!is_member(member, before))
            return WIRE_E_BAD_FORMAT;
        before = member->node;
    }
    return wire_reader_finish(&r);
}

const struct wire_member *wire_configuration_find(const struct wire_configuration *configuration, uint64_t node)
{
    for (uint32_t i = 0; i < configuration->count; i++)
        if (configuration->members[i].node == node)
            return &configuration->members[i];
    return NULL;
}

uint32_t wire_configuration_voters(const struct wire_configuration *configuration)
{
    uint32_t voters = 0;

    for (uint32_t i = 0; i < configuration->count; i++)
        voters += configuration->members[i].role == WIRE_MEMBER_VOTER;
    return voters;
}
