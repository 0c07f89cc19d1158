/* See sb_flights.h. */
#include "sb_flights.h"

#include "wire_error.h"

struct sb_flight *sb_flights_find(const struct sb_flights *flights, uint64_t index)
{
    uint64_t first;

    if (flights->count == 0)
        return NULL;
    first = sb_flights_at(flights, 0)->index;
    return index >= first && index - first < flights->count ? sb_flights_at(flights, (size_t) (index - first)) : NULL;
}

int sb_flights_add(struct sb_flights *flights, struct sb_flight *flight)
{
    size_t capacity = flights->capacity ? 2 * flights->capacity : 16;
    struct sb_flight **grown;

    if (flights->count == flights->capacity) {
        grown = sb_alloc(capacity * sizeof(*grown));
        if (!grown)
            return WIRE_E_NOMEM;
        for (size_t i = 0; i < flights->count; i++)
            grown[i] = sb_flights_at(flights, i);
        sb_free(flights->at);
        flights->at = grown;
        flights->start = 0;
        flights->capacity = capacity;
    }
    flights->at[(flights->start + flights->count) & (flights->capacity - 1)] = flight;
    flights->count++;
    flights->bytes += flight->bytes.size;
    return WIRE_OK;
}

struct sb_flight *sb_flights_take_first(struct sb_flights *flights)
{
    struct sb_flight *first = sb_flights_at(flights, 0);

    flights->start = (flights->start + 1) & (flights->capacity - 1);
    flights->count--;
    flights->bytes -= first->bytes.size;
    return first;
}

void sb_flights_drop(struct sb_flights *flights, uint64_t index, struct sb_flight **list)
{
    while (flights->count > 0) {
        struct sb_flight *last = sb_flights_at(flights, flights->count - 1);

        if (last->index < index)
            return;
        flights->count--;
        flights->bytes -= last->bytes.size;
        last->next = *list;
        *list = last;
    }
}

void sb_flights_close(struct sb_flights *flights)
{
    while (flights->count > 0)
        sb_flight_free(sb_flights_take_first(flights));
    sb_free(flights->at);
    *flights = (struct sb_flights){0};
}

void sb_flight_free(struct sb_flight *flight)
{
    if (flight) {
        sb_buffer_close(&flight->bytes);
        sb_buffer_close(&flight->found);
    }
    sb_free(flight);
}

void sb_flights_free(struct sb_flight *list)
{
    while (list) {
        struct sb_flight *gone = list;

        list = gone->next;
        sb_flight_free(gone);
    }
}
