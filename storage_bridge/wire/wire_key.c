/*
 * Order-preserving keys: columns to bytes and back.
 *
 * Happy path: a column is its tag and a body whose bytes order as its values do; text without zero bytes is one copy in
 * and no copy out. Failure modes: values that the form cannot hold are refused before a byte is written. Reading
 * accepts exactly what writing makes, so that a key which decodes encodes to the same bytes again; anything else is
 * WIRE_E_BAD_FORMAT and fails the reader.
 */
#include "wire_key.h"

#include <endian.h>

#define ESCAPE 0x00
#define ESCAPED_ZERO 0xff
#define TERMINATOR 0x01
#define NUMBER_NEGATIVE 0x01
#define NUMBER_ZERO 0x02
#define NUMBER_POSITIVE 0x03
#define EXPONENT_BIAS 0x800000
#define PAIRS_MAX (WIRE_NUMBER_DIGITS_MAX / 2)
#define NUMBER_BODY_MAX (1 + 3 + PAIRS_MAX + 1)
#define UUID_SIZE 16
#define SIGN_BIT_64 (UINT64_C(1) << 63)
#define SIGN_BIT_32 (UINT32_C(1) << 31)

_Static_assert(WIRE_NUMBER_DIGITS_MAX % 2 == 0, "digits come in pairs");
_Static_assert(WIRE_NUMBER_MAGNITUDE_MAX < EXPONENT_BIAS, "exponents fit three bytes");

/* A number's column taken apart. */
struct key_number {
    bool negative;
    int32_t exponent;
    uint32_t count; /* digits; 0 for zero */
    uint8_t packed[PAIRS_MAX];
};

void wire_key_write_prefix(struct wire_writer *w, uint64_t storage_id, uint16_t index_id)
{
    uint8_t *at = wire_write_room(w, WIRE_KEY_PREFIX_SIZE);
    uint64_t storage = htobe64(storage_id);
    uint16_t index = htobe16(index_id);

    if (!at)
        return;
    memcpy(at, &storage, sizeof(storage));
    memcpy(at + sizeof(storage), &index, sizeof(index));
}

bool wire_key_belongs(struct wire_span key, uint64_t storage_id)
{
    struct wire_reader r = wire_reader_of(key.data, key.size);
    uint64_t found;
    uint16_t index_id;

    return key.size <= WIRE_KEY_MAX && storage_id != 0 && wire_key_read_prefix(&r, &found, &index_id) == WIRE_OK &&
           found == storage_id;
}

static void write_tagged_64(struct wire_writer *w, enum wire_key_type type, int64_t value)
{
    uint8_t *at = wire_write_room(w, 1 + sizeof(uint64_t));
    uint64_t flipped = htobe64((uint64_t) value ^ SIGN_BIT_64);

    if (!at)
        return;
    *at = (uint8_t) type;
    memcpy(at + 1, &flipped, sizeof(flipped));
}

static int write_date(struct wire_writer *w, int64_t days)
{
    if (days < INT32_MIN || days > INT32_MAX)
        return WIRE_E_NUMBER_RANGE;
    wire_write_u8(w, WIRE_KEY_DATE);
    wire_write_u32(w, (uint32_t) days ^ SIGN_BIT_32);
    return WIRE_OK;
}

static void write_escaped(struct wire_writer *w, struct wire_span bytes)
{
    static const uint8_t escaped[] = {ESCAPE, ESCAPED_ZERO};

    while (bytes.size > 0) {
        const uint8_t *zero = memchr(bytes.data, 0, bytes.size);
        size_t plain = zero ? (size_t) (zero - bytes.data) : bytes.size;

        wire_write_bytes(w, bytes.data, plain);
        if (!zero)
            return;
        wire_write_bytes(w, escaped, sizeof(escaped));
        bytes.data += plain + 1;
        bytes.size -= plain + 1;
    }
}

/* The needed scale bounds the exponent from below; both bounds are wire_number's, so that what is read back is a number
 * it accepts. */
static bool number_in_bounds(uint32_t count, int32_t exponent)
{
    return exponent <= WIRE_NUMBER_MAGNITUDE_MAX && (int64_t) count - exponent <= WIRE_NUMBER_SCALE_MAX;
}

static int write_number(struct wire_writer *w, const struct wire_number *number)
{
    uint8_t digits[WIRE_NUMBER_DIGITS_MAX + 1], body[1 + NUMBER_BODY_MAX];
    uint32_t count, biased;
    int32_t exponent;
    size_t size = 0;
    bool negative;
    int rc = wire_number_digits(number, digits, WIRE_NUMBER_DIGITS_MAX, &count, &exponent, &negative);

    if (rc != WIRE_OK)
        return rc;
    if (!number_in_bounds(count, exponent))
        return WIRE_E_NUMBER_RANGE;
    body[size++] = WIRE_KEY_NUMBER;
    body[size++] = count == 0 ? NUMBER_ZERO : negative ? NUMBER_NEGATIVE : NUMBER_POSITIVE;
    if (count > 0) {
        uint8_t flip = negative ? 0xff : 0;

        biased = (uint32_t) (exponent + EXPONENT_BIAS);
        body[size++] = (uint8_t) (biased >> 16) ^ flip;
        body[size++] = (uint8_t) (biased >> 8) ^ flip;
        body[size++] = (uint8_t) biased ^ flip;
        digits[count] = 0; /* pads an odd last digit */
        for (uint32_t i = 0; i < count; i += 2)
            body[size++] = (uint8_t) (digits[i] * 10 + digits[i + 1] + 1) ^ flip;
        body[size++] = flip;
    }
    wire_write_bytes(w, body, size);
    return WIRE_OK;
}

int wire_key_write_column(struct wire_writer *w, const struct wire_key_value *value)
{
    static const uint8_t terminator[] = {ESCAPE, TERMINATOR};
    int rc = WIRE_OK;

    switch (value->type) {
    case WIRE_KEY_TEXT:
    case WIRE_KEY_BYTES:
        wire_write_u8(w, (uint8_t) value->type);
        write_escaped(w, value->bytes);
        wire_write_bytes(w, terminator, sizeof(terminator));
        break;
    case WIRE_KEY_INTEGER:
    case WIRE_KEY_TIMESTAMP:
        write_tagged_64(w, value->type, value->integer);
        break;
    case WIRE_KEY_NUMBER:
        rc = write_number(w, &value->number);
        break;
    case WIRE_KEY_DATE:
        rc = write_date(w, value->integer);
        break;
    case WIRE_KEY_UUID:
        if (value->bytes.size != UUID_SIZE)
            return WIRE_E_BAD_FORMAT;
        wire_write_u8(w, WIRE_KEY_UUID);
        wire_write_bytes(w, value->bytes.data, UUID_SIZE);
        break;
    case WIRE_KEY_BOOLEAN:
        wire_write_u8(w, WIRE_KEY_BOOLEAN);
        wire_write_u8(w, value->boolean);
        break;
    default:
        return WIRE_E_BAD_FORMAT;
    }
    return rc == WIRE_OK ? wire_writer_finish(w) : rc;
}

int wire_key_write_column_prefix(struct wire_writer *w, const struct wire_key_value *value)
{
    if (value->type != WIRE_KEY_TEXT && value->type != WIRE_KEY_BYTES)
        return WIRE_E_TYPE;
    wire_write_u8(w, (uint8_t) value->type);
    write_escaped(w, value->bytes);
    return wire_writer_finish(w);
}

/* Pass an escaped column. out: its bytes without the end mark, still escaped, and how many escapes they hold. */
static int scan_escaped(struct wire_reader *r, struct wire_span *escaped, size_t *escapes)
{
    const uint8_t *start = r->data + r->position, *end = r->data + r->size, *at = start;

    *escapes = 0;
    for (;;) {
        at = at < end ? memchr(at, ESCAPE, (size_t) (end - at)) : NULL;
        if (!at || end - at < 2)
            return WIRE_E_SHORT_INPUT;
        if (at[1] == TERMINATOR)
            break;
        if (at[1] != ESCAPED_ZERO)
            return WIRE_E_BAD_FORMAT;
        ++*escapes;
        at += 2;
    }
    *escaped = (struct wire_span){start, (size_t) (at - start)};
    r->position += escaped->size + 2;
    return WIRE_OK;
}

/* Form was checked by scan_escaped: each 00 is followed by FF. */
static int unescape(struct wire_span escaped, size_t escapes, struct wire_writer *scratch, struct wire_span *out)
{
    uint8_t *to;

    *out = escaped;
    if (escapes == 0)
        return WIRE_OK;
    out->size = escaped.size - escapes;
    out->data = to = wire_write_room(scratch, out->size);
    if (!to)
        return WIRE_E_SHORT_BUFFER;
    for (size_t i = 0; i < escaped.size; i++) {
        *to++ = escaped.data[i];
        i += escaped.data[i] == ESCAPE;
    }
    return WIRE_OK;
}

/* Digit pairs up to the end mark. */
static int scan_pairs(struct wire_reader *r, uint8_t flip, struct key_number *out)
{
    uint32_t pairs = 0;

    for (;;) {
        uint8_t byte = wire_read_u8(r) ^ flip;

        if (r->failed)
            return WIRE_E_SHORT_INPUT;
        if (byte == 0)
            break;
        if (pairs == PAIRS_MAX || byte > 100)
            return WIRE_E_BAD_FORMAT;
        byte--;
        out->packed[pairs++] = (uint8_t) (byte / 10 << 4 | byte % 10);
    }
    /* The first digit and the last pair are not 0, or the same number would have two forms. */
    if (pairs == 0 || out->packed[0] < 0x10 || out->packed[pairs - 1] == 0)
        return WIRE_E_BAD_FORMAT;
    out->count = pairs * 2 - ((out->packed[pairs - 1] & 0x0f) == 0);
    return WIRE_OK;
}

static int scan_number(struct wire_reader *r, struct key_number *out)
{
    uint8_t sign = wire_read_u8(r), flip = sign == NUMBER_NEGATIVE ? 0xff : 0;
    uint32_t biased;
    int rc;

    out->count = 0;
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (sign == NUMBER_ZERO)
        return WIRE_OK;
    if (sign != NUMBER_NEGATIVE && sign != NUMBER_POSITIVE)
        return WIRE_E_BAD_FORMAT;
    biased = (uint32_t) wire_read_fixed(r, 3) ^ (flip ? 0xffffff : 0);
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    out->negative = sign == NUMBER_NEGATIVE;
    out->exponent = (int32_t) biased - EXPONENT_BIAS;
    rc = scan_pairs(r, flip, out);
    if (rc != WIRE_OK)
        return rc;
    return number_in_bounds(out->count, out->exponent) ? WIRE_OK : WIRE_E_BAD_FORMAT;
}

/* The digits go to scratch only if the number is not an INTEGER. */
static int number_of(const struct key_number *key, struct wire_writer *scratch, struct wire_number *out)
{
    size_t size = (key->count + 1) / 2;
    int64_t integer = 0;
    uint8_t *digits;

    *out = (struct wire_number){.form = WIRE_NUMBER_INTEGER};
    if (key->count == 0)
        return WIRE_OK;
    out->form = key->negative ? WIRE_NUMBER_NEGATIVE : WIRE_NUMBER_POSITIVE;
    out->exponent = key->exponent;
    out->digit_count = key->count;
    out->digits = key->packed;
    if (wire_number_to_integer(out, &integer) == WIRE_OK) {
        *out = (struct wire_number){.form = WIRE_NUMBER_INTEGER, .integer = integer};
        return WIRE_OK;
    }
    if ((int64_t) key->count > key->exponent)
        out->scale = (uint32_t) ((int64_t) key->count - key->exponent);
    out->digits = digits = wire_write_room(scratch, size);
    if (!digits)
        return WIRE_E_SHORT_BUFFER;
    memcpy(digits, key->packed, size);
    return WIRE_OK;
}

/* Columns of fixed size. Any other tag is not a column. */
static int read_fixed_column(struct wire_reader *r, struct wire_key_value *value)
{
    uint8_t boolean = 0;

    switch (value->type) {
    case WIRE_KEY_INTEGER:
    case WIRE_KEY_TIMESTAMP:
        value->integer = (int64_t) (wire_read_u64(r) ^ SIGN_BIT_64);
        break;
    case WIRE_KEY_DATE:
        value->integer = (int32_t) (wire_read_u32(r) ^ SIGN_BIT_32);
        break;
    case WIRE_KEY_UUID:
        value->bytes.data = wire_read_bytes(r, UUID_SIZE);
        value->bytes.size = UUID_SIZE;
        break;
    case WIRE_KEY_BOOLEAN:
        boolean = wire_read_u8(r);
        value->boolean = boolean == 1;
        break;
    default:
        return WIRE_E_BAD_FORMAT;
    }
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    return boolean <= 1 ? WIRE_OK : WIRE_E_BAD_FORMAT;
}

/* With scratch NULL only the form is checked. */
static int read_body(struct wire_reader *r, struct wire_writer *scratch, struct wire_key_value *value)
{
    struct key_number number;
    struct wire_span escaped;
    size_t escapes;
    int rc;

    switch (value->type) {
    case WIRE_KEY_TEXT:
    case WIRE_KEY_BYTES:
        rc = scan_escaped(r, &escaped, &escapes);
        return rc == WIRE_OK && scratch ? unescape(escaped, escapes, scratch, &value->bytes) : rc;
    case WIRE_KEY_NUMBER:
        rc = scan_number(r, &number);
        return rc == WIRE_OK && scratch ? number_of(&number, scratch, &value->number) : rc;
    default:
        return read_fixed_column(r, value);
    }
}

int wire_key_read_column(struct wire_reader *r, struct wire_writer *scratch, struct wire_key_value *value)
{
    int rc;

    *value = (struct wire_key_value){.type = wire_read_u8(r)};
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    rc = read_body(r, scratch, value);
    if (rc == WIRE_E_SHORT_INPUT || rc == WIRE_E_BAD_FORMAT)
        r->failed = true;
    return rc;
}

int wire_key_skip_column(struct wire_reader *r)
{
    struct wire_key_value value = {.type = wire_read_u8(r)};
    int rc;

    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    rc = read_body(r, NULL, &value);
    if (rc != WIRE_OK)
        r->failed = true;
    return rc;
}

bool wire_key_prefix_end(struct wire_writer *w)
{
    if (!w->data) /* measuring: the bound is never longer than the prefix */
        return w->size > 0;
    while (w->size > 0 && w->data[w->size - 1] == 0xff)
        w->size--;
    if (w->size == 0)
        return false;
    w->data[w->size - 1]++;
    return true;
}

int wire_key_read_prefix(struct wire_reader *r, uint64_t *storage_id, uint16_t *index_id)
{
    *storage_id = wire_read_u64(r);
    *index_id = wire_read_u16(r);
    return r->failed ? WIRE_E_SHORT_INPUT : WIRE_OK;
}
