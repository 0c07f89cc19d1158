/*
 * Versions: hybrid logical clock timestamps of 64 bits, 44 bits of milliseconds since 1970 and 20 bits of counter. They
 * are total, strictly increasing per group and close to wall time. The top bit is never set (the other 43 bits of
 * milliseconds last until the year 2248), which leaves it to mark a transaction id standing in for a version that is
 * not decided yet.
 *
 * Source: Kulkarni et al., "Logical Physical Clocks", 2014.
 */
#ifndef WIRE_CLOCK_H
#define WIRE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define WIRE_VERSION_NONE UINT64_C(0)
#define WIRE_VERSION_MAX (UINT64_C(1) << 63)
#define WIRE_TRANSACTION_BIT (UINT64_C(1) << 63)

/* The version after `last` at wall time `now_ms`: never below either. */
static inline uint64_t wire_clock_next(uint64_t last, uint64_t now_ms)
{
    uint64_t wall = now_ms << 20;

    return wall > last ? wall : last + 1;
}

static inline uint64_t wire_clock_ms(uint64_t version)
{
    return version >> 20;
}

static inline bool wire_version_is_transaction(uint64_t version)
{
    return (version & WIRE_TRANSACTION_BIT) != 0;
}

#endif
