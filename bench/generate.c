/*
 * The items that are loaded, as COPY text on standard output: key and ten fields, separated by tabs.
 *
 * generate ITEMS SEED
 *
 * Item i of the file, from 1, has the key of number i (values.h) and fields made from the seed and i: the same
 * arguments give the same bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "values.h"

static int write_item(int64_t number, uint64_t seed)
{
    char line[BENCH_KEY_MAX + BENCH_FIELDS * (BENCH_FIELD_BYTES + 1) + 1];
    uint64_t state = seed + (uint64_t) number;
    uint64_t item = bench_random(&state);
    size_t used = (size_t) snprintf(line, sizeof(line), "user%" PRId64, bench_hash(number));

    for (uint32_t field = 0; field < BENCH_FIELDS; field++) {
        line[used++] = '\t';
        bench_field(item, field, line + used);
        used += BENCH_FIELD_BYTES;
    }
    line[used++] = '\n';
    return fwrite(line, 1, used, stdout) == used ? 0 : -1;
}

int main(int argc, char **argv)
{
    int64_t items = argc == 3 ? strtoll(argv[1], NULL, 10) : 0;
    uint64_t seed = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;

    if (items < 1) {
        fprintf(stderr, "usage: generate ITEMS SEED\n");
        return 2;
    }
    for (int64_t number = 1; number <= items; number++)
        if (write_item(number, seed) != 0) {
            perror("generate");
            return 1;
        }
    if (fflush(stdout) != 0) {
        perror("generate");
        return 1;
    }
    return 0;
}
