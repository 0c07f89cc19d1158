/*
 * Fuzz wire_key. Invariants: a column that decodes encodes to the same bytes; skipping answers and moves as reading
 * does; of two columns of one type that decode, bytes order as values; raw bytes taken as text come back as they were,
 * and lie in the range of each of their prefixes.
 */
#include <stdlib.h>

#include "wire_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static int sign_of(int order)
{
    return (order > 0) - (order < 0);
}

static int compare_values(const struct wire_key_value *a, const struct wire_key_value *b)
{
    switch (a->type) {
    case WIRE_KEY_BOOLEAN:
        return a->boolean - b->boolean;
    case WIRE_KEY_INTEGER:
    case WIRE_KEY_TIMESTAMP:
    case WIRE_KEY_DATE:
        return (a->integer > b->integer) - (a->integer < b->integer);
    case WIRE_KEY_NUMBER:
        return wire_number_compare(&a->number, &b->number);
    default:
        return wire_span_compare(a->bytes, b->bytes);
    }
}

static void check_rewrite(const struct wire_key_value *value, const uint8_t *bytes, size_t size)
{
    uint8_t *again = malloc(size);
    struct wire_writer w = wire_writer_of(again, size);

    require(wire_key_write_column(&w, value) == WIRE_OK);
    require(w.size == size && memcmp(again, bytes, size) == 0);
    free(again);
}

static void fuzz_columns(const uint8_t *data, size_t size)
{
    uint8_t *room = malloc(size + 1);
    struct wire_writer scratch = wire_writer_of(room, size);
    struct wire_reader r = wire_reader_of(data, size), skip = r;
    struct wire_key_value value, last = {0};
    struct wire_span encoded, last_encoded = {NULL, 0};
    int rc;

    for (;;) {
        size_t start = r.position;

        rc = wire_key_read_column(&r, &scratch, &value);
        require(wire_key_skip_column(&skip) == rc && skip.failed == r.failed && r.failed == (rc != WIRE_OK));
        if (rc != WIRE_OK)
            break;
        require(skip.position == r.position);
        encoded = (struct wire_span){data + start, r.position - start};
        check_rewrite(&value, encoded.data, encoded.size);
        if (last_encoded.data && last.type == value.type)
            require(sign_of(wire_span_compare(last_encoded, encoded)) == sign_of(compare_values(&last, &value)));
        last = value;
        last_encoded = encoded;
    }
    require(rc == WIRE_E_SHORT_INPUT ||
            rc == WIRE_E_BAD_FORMAT); /* scratch never is too small: no column grows when read */
    free(room);
}

static void fuzz_text(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size * 2 + 3), *low = malloc(size * 2 + 3), *room = malloc(size + 1);
    struct wire_writer w = wire_writer_of(bytes, size * 2 + 3), bound = wire_writer_of(low, size * 2 + 3);
    struct wire_writer scratch = wire_writer_of(room, size);
    struct wire_key_value value = {.type = WIRE_KEY_TEXT, .bytes = {data, size}}, back;
    struct wire_reader r;

    require(wire_key_write_column(&w, &value) == WIRE_OK);
    r = wire_reader_of(bytes, w.size);
    require(wire_key_read_column(&r, &scratch, &back) == WIRE_OK && wire_reader_finish(&r) == WIRE_OK);
    require(wire_span_compare(value.bytes, back.bytes) == 0);
    value.bytes.size = size ? data[0] % (size + 1) : 0;
    require(wire_key_write_column_prefix(&bound, &value) == WIRE_OK);
    require(wire_span_compare((struct wire_span){low, bound.size}, (struct wire_span){bytes, w.size}) < 0);
    require(wire_key_prefix_end(&bound)); /* the tag is not FF */
    require(wire_span_compare((struct wire_span){bytes, w.size}, (struct wire_span){low, bound.size}) < 0);
    free(bytes);
    free(low);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    fuzz_columns(data, size);
    fuzz_text(data, size);
    return 0;
}
