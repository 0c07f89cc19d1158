/* See wire_checksum.h. */
#include "wire_checksum.h"

#include <xxhash.h>

uint32_t wire_checksum(const void *data, size_t size, uint64_t seed)
{
    return (uint32_t) XXH3_64bits_withSeed(data, size, seed);
}

uint32_t wire_partition_hash(const void *encoded_key, size_t size)
{
    return (uint32_t) (XXH3_64bits(encoded_key, size) >> 32);
}
