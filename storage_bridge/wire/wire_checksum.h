/*
 * XXH3 of libxxhash (its output is frozen since 0.8.0), as checksum and as partition hash. Caller: anyone.
 */
#ifndef WIRE_CHECKSUM_H
#define WIRE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Low 32 bits of XXH3-64 with seed `seed`: mix position or identity into the seed, so that a right block in a wrong
 * place is found. */
uint32_t wire_checksum(const void *data, size_t size, uint64_t seed);

/* Partition hash of an encoded partition key: high 32 bits of XXH3-64, seed 0. Part of the key format, never to change.
 */
uint32_t wire_partition_hash(const void *encoded_key, size_t size);

#endif
