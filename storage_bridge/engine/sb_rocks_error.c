/* Small things that all of sb_rocks*.c need: stored keys, errors, properties. See sb_rocks_internal.h. */
#include "sb_rocks_internal.h"

#include <stdio.h>

#define FILES_NAMED 3

const uint8_t sb_rocks_prefixes[SB_FAMILY_COUNT] = {1, 2};

void sb_rocks_key(enum sb_family family, struct wire_span key, struct sb_rocks_key *out)
{
    size_t size = key.size < sizeof(out->data) - 1 ? key.size : sizeof(out->data) - 1;

    out->data[0] = (char) sb_rocks_prefixes[family];
    memcpy(out->data + 1, sb_rocks_chars(key), size);
    out->size = 1 + size;
}

void sb_rocks_key_end(enum sb_family family, struct wire_span high, struct sb_rocks_key *out)
{
    sb_rocks_key(family, high, out);
    if (high.size == 0)
        out->data[0]++;
}

/* RocksDB tries a lost table file by its name of old last, and complains of that one. */
static const char *lost_table(const char *text)
{
    return strstr(text, ".ldb: No such file");
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static int code_of(const char *text)
{
    if (begins(text, "Corruption") || lost_table(text))
        return WIRE_E_CORRUPT;
    if (begins(text, "Result incomplete"))
        return WIRE_E_WOULD_BLOCK;
    if (strstr(text, "No space left") || strstr(text, "Space limit reached"))
        return WIRE_E_DISK_FULL;
    if (strstr(text, "Memory limit reached"))
        return WIRE_E_NOMEM;
    if (begins(text, "Shutdown in progress"))
        return WIRE_E_STOPPING;
    if (begins(text, "Invalid argument") || begins(text, "Not implemented"))
        return WIRE_E_CONFIG;
    return WIRE_E_IO;
}

int sb_rocks_tell(const char *what, const char *text, struct sb_fault *fault)
{
    int code = code_of(text);
    char *old_name;

    (void) sb_fault_set(fault, code, "%s%s", what, text);
    for (old_name = fault ? strstr(fault->text, ".ldb") : NULL; old_name; old_name = strstr(old_name, ".ldb"))
        memcpy(old_name, ".sst", 4);
    return code;
}

int sb_rocks_take_error(char *text, struct sb_fault *fault)
{
    int code = code_of(text);

    if (code != WIRE_E_WOULD_BLOCK)
        (void) sb_rocks_tell("", text, fault);
    rocksdb_free(text);
    return code;
}

static bool overlaps(const rocksdb_livefiles_t *files, int i, struct wire_span low, struct wire_span high)
{
    struct wire_span smallest;
    struct wire_span largest;

    smallest.data = (const uint8_t *) rocksdb_livefiles_smallestkey(files, i, &smallest.size);
    largest.data = (const uint8_t *) rocksdb_livefiles_largestkey(files, i, &largest.size);
    return wire_span_compare(smallest, high) <= 0 && wire_span_compare(largest, low) >= 0;
}

int sb_rocks_read_error(struct sb_rocks *r, char *text, struct wire_span low, struct wire_span high,
                        struct sb_fault *fault)
{
    int code = sb_rocks_take_error(text, fault);
    const rocksdb_livefiles_t *files;
    int named = 0;

    if (code != WIRE_E_CORRUPT || !fault || strstr(fault->text, ".sst"))
        return code;
    files = rocksdb_livefiles(r->db);
    for (int i = 0; i < rocksdb_livefiles_count(files) && named < FILES_NAMED; i++) {
        size_t size = strlen(fault->text);

        if (overlaps(files, i, low, high))
            (void) snprintf(fault->text + size, sizeof(fault->text) - size, "%s%s", named++ ? ", " : ", in one of ",
                            rocksdb_livefiles_name(files, i) + 1);
    }
    rocksdb_livefiles_destroy(files);
    return code;
}

int sb_rocks_no_memory(struct sb_fault *fault)
{
    return sb_fault_set(fault, WIRE_E_NOMEM, "out of memory in the items store");
}

uint64_t sb_rocks_property(struct sb_rocks *r, const char *name)
{
    uint64_t value = 0;

    return rocksdb_property_int(r->db, name, &value) == 0 ? value : 0;
}
