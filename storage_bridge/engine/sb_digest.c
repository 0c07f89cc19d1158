/* What the log holds of a group, for the member that starts on it (sb_shard.h). */
#include "sb_group.h"

#include "wire_entry.h"

int sb_entry_kind(struct wire_entry entry, struct wire_configuration *configuration, enum rg_entry_kind *kind)
{
    struct wire_effect effect;
    int status = wire_entry_next(&entry, &effect);

    *kind = status == WIRE_E_NOT_FOUND ? RG_BARRIER : RG_EFFECTS;
    if (status != WIRE_OK || effect.kind != WIRE_EFFECT_CONFIGURATION)
        return status == WIRE_E_NOT_FOUND ? WIRE_OK : status;
    *kind = RG_CONFIGURATION;
    return wire_configuration_open(effect.key, configuration);
}

/* Entries point to their configurations when the array no longer moves: until then by place. */
static int keep_configuration(struct sb_digest *digest, struct rg_entry *entry,
                              const struct wire_configuration *configuration)
{
    int status = sb_array_grow((void **) &digest->configurations, &digest->configuration_capacity,
                               digest->configuration_count, sizeof(*configuration));

    if (status != WIRE_OK)
        return status;
    digest->configurations[digest->configuration_count++] = *configuration;
    entry->configuration = NULL;
    return WIRE_OK;
}

static void point_to_configurations(struct sb_digest *digest)
{
    size_t at = 0;

    for (size_t i = 0; i < digest->count; i++) {
        if (digest->entries[i].kind == RG_CONFIGURATION)
            digest->entries[i].configuration = &digest->configurations[at++];
    }
}

int sb_digest_add(struct sb_digest *digest, const struct sb_log_entry *entry, struct sb_fault *fault)
{
    struct rg_entry *added;
    struct wire_configuration configuration;
    struct wire_entry opened;
    enum rg_entry_kind kind;
    int status = wire_entry_open(entry->payload.data, entry->payload.size, &opened);

    if (status == WIRE_OK &&
        (opened.index != entry->index || opened.term != entry->term || opened.group != entry->group ||
         (digest->count > 0 && entry->index != digest->first_index + digest->count)))
        status = WIRE_E_BAD_FORMAT;
    if (status == WIRE_OK)
        status = sb_entry_kind(opened, &configuration, &kind);
    if (status != WIRE_OK)
        return sb_fault_set(fault, WIRE_E_CORRUPT, "log entry %llu of group %llu is malformed: %s",
                            (unsigned long long) entry->index, (unsigned long long) entry->group,
                            wire_error_text(status));
    status = sb_array_grow((void **) &digest->entries, &digest->capacity, digest->count, sizeof(*digest->entries));
    if (status != WIRE_OK)
        return status;
    added = &digest->entries[digest->count];
    *added = (struct rg_entry){.index = entry->index, .term = entry->term, .kind = kind};
    if (kind == RG_CONFIGURATION)
        status = keep_configuration(digest, added, &configuration);
    if (status != WIRE_OK)
        return status;
    if (digest->count++ == 0)
        digest->first_index = entry->index;
    if (kind == RG_CONFIGURATION)
        point_to_configurations(digest);
    return WIRE_OK;
}

void sb_digest_close(struct sb_digest *digest)
{
    sb_free(digest->entries);
    sb_free(digest->configurations);
    *digest = (struct sb_digest){0};
}
