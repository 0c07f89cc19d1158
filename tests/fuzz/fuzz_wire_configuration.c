/* Fuzz wire_configuration. Invariant: bytes that open are, written again from what was read, the same bytes. */
#include <stdlib.h>

#include "wire_configuration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[WIRE_CONFIGURATION_SIZE_MAX];
    struct wire_writer w = wire_writer_of(again, sizeof again);
    struct wire_configuration configuration;

    if (wire_configuration_open((struct wire_span){data, size}, &configuration) != WIRE_OK)
        return 0;
    wire_configuration_write(&w, &configuration);
    if (wire_writer_finish(&w) != WIRE_OK || w.size != size || memcmp(again, data, size) != 0)
        abort();
    if (wire_configuration_voters(&configuration) > configuration.count)
        abort();
    return 0;
}
