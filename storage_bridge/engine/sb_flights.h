/*
 * Entries in flight: from their making, or their arrival from another leader, until they are applied. A ring in index
 * order without gaps.
 *
 * Caller: the shard's thread. Locks: none.
 */
#ifndef SB_FLIGHTS_H
#define SB_FLIGHTS_H

#include "sb_memory.h"

struct sb_flight {
    struct sb_flight *next; /* in a list of dropped ones */
    uint64_t index;
    uint64_t term;
    uint64_t version;
    bool decides; /* commits what was prepared with Postgres */
    bool intents; /* nothing in it is visible to others before its transaction is decided */
    struct sb_buffer bytes;
    struct sb_buffer found; /* uint8_t, an enum sb_found, for each PUT and DELETE; empty: not known */
};

struct sb_flights {
    struct sb_flight **at; /* the i-th of `count` is at[(start + i) & (capacity - 1)] */
    size_t start;
    size_t count;
    size_t capacity; /* a power of two, or 0 */
    uint64_t bytes;  /* of all entries */
};

/* i < count. */
static inline struct sb_flight *sb_flights_at(const struct sb_flights *flights, size_t i)
{
    return flights->at[(flights->start + i) & (flights->capacity - 1)];
}

/* NULL if the index is not in flight. */
struct sb_flight *sb_flights_find(const struct sb_flights *flights, uint64_t index);
/* Takes the flight over. Errors: WIRE_E_NOMEM (it stays the caller's). */
int sb_flights_add(struct sb_flights *flights, struct sb_flight *flight);
/* The oldest is the caller's now. count > 0. */
struct sb_flight *sb_flights_take_first(struct sb_flights *flights);
/* Those from `index` on, newest first, are put before *list. */
void sb_flights_drop(struct sb_flights *flights, uint64_t index, struct sb_flight **list);
void sb_flights_close(struct sb_flights *flights);

void sb_flight_free(struct sb_flight *flight);
/* A list of dropped ones. */
void sb_flights_free(struct sb_flight *list);

#endif
