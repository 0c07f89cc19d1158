/*
 * Fuzz wire_number, as bytes and as text. Invariants: a number that decodes writes a text that encodes to the same
 * bytes; a text that encodes decodes whole, and its plain form encodes to the same bytes; order is antisymmetric and
 * agrees with integers.
 */
#include <stdlib.h>

#include "wire_limits.h"
#include "wire_number.h"

#define TEXT_CAPACITY (2 + WIRE_NUMBER_MAGNITUDE_MAX + WIRE_NUMBER_SCALE_MAX)
#define ENCODED_CAPACITY (TEXT_CAPACITY / 2 + 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char text[TEXT_CAPACITY];
static uint8_t encoded[ENCODED_CAPACITY];

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_text(const struct wire_number *number, const uint8_t *bytes, size_t size)
{
    struct wire_writer w = wire_writer_of(encoded, sizeof(encoded));
    size_t length, short_length;

    require(wire_number_to_text(number, text, sizeof(text), &length) == WIRE_OK);
    require(wire_number_to_text(number, text, length - 1, &short_length) == WIRE_E_SHORT_BUFFER &&
            short_length == length);
    require(wire_number_write_text(&w, text, length) == WIRE_OK);
    require(w.size == size && memcmp(encoded, bytes, size) == 0);
}

static void check_values(const struct wire_number *number)
{
    uint8_t digits[WIRE_NUMBER_DIGITS_MAX];
    struct wire_number whole = {.form = WIRE_NUMBER_INTEGER};
    uint32_t count;
    int32_t exponent;
    bool negative;
    int rc;

    require(wire_number_compare(number, number) == 0);
    if (wire_number_to_integer(number, &whole.integer) == WIRE_OK)
        require(wire_number_compare(number, &whole) == 0 && wire_number_compare(&whole, number) == 0);
    rc = wire_number_digits(number, digits, sizeof(digits), &count, &exponent, &negative);
    if (rc == WIRE_OK && count > 0)
        require(digits[0] != 0 && digits[count - 1] != 0);
    if (wire_number_check_limits(number) == WIRE_OK)
        require(rc == WIRE_OK);
}

static void fuzz_bytes(const uint8_t *data, size_t size)
{
    struct wire_reader r = wire_reader_of(data, size);
    struct wire_number number, next;
    size_t end;
    int rc = wire_number_read(&r, &number);

    require(rc == WIRE_OK || rc == WIRE_E_SHORT_INPUT || rc == WIRE_E_BAD_FORMAT);
    require(r.failed == (rc != WIRE_OK));
    if (rc != WIRE_OK)
        return;
    end = r.position;
    check_text(&number, data, end);
    check_values(&number);
    if (wire_number_read(&r, &next) == WIRE_OK)
        require(wire_number_compare(&number, &next) == -wire_number_compare(&next, &number));
}

static void fuzz_text(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 16);
    struct wire_writer w = wire_writer_of(bytes, size + 16), measure = wire_writer_of(NULL, 0);
    struct wire_number number;
    struct wire_reader r;
    int rc = wire_number_write_text(&w, (const char *) data, size);

    require(rc == WIRE_OK || rc == WIRE_E_NUMBER_SYNTAX || rc == WIRE_E_NUMBER_RANGE);
    require(wire_number_write_text(&measure, (const char *) data, size) == rc && measure.size == w.size);
    if (rc == WIRE_OK) {
        r = wire_reader_of(bytes, w.size);
        require(wire_number_read(&r, &number) == WIRE_OK && wire_reader_finish(&r) == WIRE_OK);
        check_text(&number, bytes, w.size);
        check_values(&number);
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        fuzz_bytes(data + 1, size - 1);
    else
        fuzz_text(data + 1, size - 1);
    return 0;
}
