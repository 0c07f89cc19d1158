/*
 * The values of the benchmark's items, made from a number: the same in the file that is loaded, in the server's bench_*
 * functions and in rocks_limit.c.
 *
 * An item is a key and ten fields of 100 bytes; fields of even number are random letters and digits, those of odd
 * number are words (words.h). Keys are as YCSB's: "user" and a hash of the item's number, so that the order of numbers,
 * of loading and of popularity has nothing to do with the order of keys. The hash is pgbench's hash(number, 0), cut to
 * be positive.
 */
#ifndef BENCH_VALUES_H
#define BENCH_VALUES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "words.h"

#define BENCH_FIELDS 10
#define BENCH_FIELD_BYTES 100
#define BENCH_KEY_MAX 24 /* "user", at most 19 digits, the end */

/* splitmix64 */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* pgbench's abs(hash(number, 0)): its hash is 64-bit MurmurHash2 of one value. */
static inline int64_t bench_hash(int64_t number)
{
    const uint64_t multiplier = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t result = 8 * multiplier;
    uint64_t k = (uint64_t) number * multiplier;

    k ^= k >> 47;
    k *= multiplier;
    result ^= k;
    result *= multiplier;
    result ^= result >> 47;
    result *= multiplier;
    result ^= result >> 47;
    return (int64_t) result < 0 ? -(int64_t) result : (int64_t) result;
}

static inline void bench_alphanumeric(uint64_t *state, char *out)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (size_t i = 0; i < BENCH_FIELD_BYTES;) {
        uint64_t bits = bench_random(state);

        /* Eight characters of 8 bits each, scaled to the 62 digits. */
        for (int j = 0; j < 8 && i < BENCH_FIELD_BYTES; j++, bits >>= 8)
            out[i++] = digits[((bits & 255) * 62) >> 8];
    }
}

static inline uint32_t bench_word_start(uint32_t index, uint32_t *size)
{
    static uint16_t starts[BENCH_WORD_COUNT + 1];

    if (starts[BENCH_WORD_COUNT] == 0) {
        uint32_t word = 0;

        for (uint32_t at = 0; at < sizeof(bench_words) && word < BENCH_WORD_COUNT; at++)
            if (bench_words[at] == ' ' || bench_words[at] == '\0')
                starts[++word] = (uint16_t) (at + 1);
    }
    *size = (uint32_t) (starts[index + 1] - 1 - starts[index]);
    return starts[index];
}

/* Words and blanks, cut at the field's end; frequent words come more often, about as in text. */
static inline void bench_text(uint64_t *state, char *out)
{
    size_t used = 0;

    while (used < BENCH_FIELD_BYTES) {
        uint64_t bits = bench_random(state);
        uint32_t index = (uint32_t) (((bits & 1023) * ((bits >> 10) & 1023)) >> 10);
        uint32_t size;
        uint32_t start = bench_word_start(index, &size);

        if (size > BENCH_FIELD_BYTES - used)
            size = (uint32_t) (BENCH_FIELD_BYTES - used);
        memcpy(out + used, bench_words + start, size);
        used += size;
        if (used < BENCH_FIELD_BYTES)
            out[used++] = ' ';
    }
}

/* BENCH_FIELD_BYTES bytes, no end mark. */
static inline void bench_field(uint64_t seed, uint32_t number, char *out)
{
    uint64_t state = seed ^ ((uint64_t) (number + 1) << 56);

    (void) bench_random(&state);
    if (number % 2 == 0)
        bench_alphanumeric(&state, out);
    else
        bench_text(&state, out);
}

#endif
