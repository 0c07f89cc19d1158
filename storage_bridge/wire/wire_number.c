/*
 * Decimal numbers: text to bytes, bytes to view, view to text, integer and order.
 *
 * Happy path: a text is scanned once for its shape (sign, first and last digit that is not 0, scale), checked against
 * the bounds, and packed; a read checks the same bounds and that the form is the only one its number has, so equal
 * numbers of equal scale have equal bytes. Failure modes: malformed text and numbers out of bounds are refused before a
 * byte is written; malformed bytes are refused before a digit is looked at that the reader does not hold.
 */
#include "wire_number.h"

#include "wire_limits.h"

#define INTEGER_DIGITS_MAX 20 /* of a uint64 */
#define INT64_DIGITS_MAX 19   /* 19 digits never overflow a uint64 */
#define EXPONENT_CLAMP INT64_C(1000000000000000)

/* What a text says, positions counted in digits of the mantissa, the point left out. */
struct text_shape {
    bool negative;
    const char *first; /* first digit that is not 0; NULL for zero */
    uint64_t count;    /* digits from the first to the last that is not 0 */
    int64_t exponent;
    int64_t scale;
};

/* A finite number that is not zero, whatever its form. */
struct decimal {
    int32_t exponent;
    uint32_t count;
    const uint8_t *packed;
    uint8_t own[INTEGER_DIGITS_MAX / 2]; /* where packed points for an INTEGER */
};

static uint64_t magnitude_of(int64_t value)
{
    return value < 0 ? 0 - (uint64_t) value : (uint64_t) value;
}

/* Digits of a magnitude, highest first; none for 0. */
static uint32_t integer_digits(uint64_t magnitude, uint8_t *digits)
{
    uint8_t reversed[INTEGER_DIGITS_MAX];
    uint32_t count = 0;

    for (; magnitude > 0; magnitude /= 10)
        reversed[count++] = (uint8_t) (magnitude % 10);
    for (uint32_t i = 0; i < count; i++)
        digits[i] = reversed[count - 1 - i];
    return count;
}

static uint8_t packed_digit(const uint8_t *packed, uint32_t index)
{
    return index & 1 ? packed[index / 2] & 0x0f : packed[index / 2] >> 4;
}

void wire_number_write_integer(struct wire_writer *w, int64_t value)
{
    uint64_t rest = wire_zigzag(value);
    size_t size = 2 + (size_t) (63 - __builtin_clzll(rest | 1)) / 7;
    uint8_t *at = wire_write_room(w, size);

    if (!at)
        return;
    *at++ = WIRE_NUMBER_INTEGER;
    for (; rest >= 0x80; rest >>= 7)
        *at++ = (uint8_t) (rest | 0x80);
    *at = (uint8_t) rest;
}

static bool is_word(const char *text, size_t size, const char *lower_word)
{
    for (size_t i = 0; i < size; i++) {
        char c = text[i] >= 'A' && text[i] <= 'Z' ? (char) (text[i] - 'A' + 'a') : text[i];

        if (lower_word[i] == '\0' || c != lower_word[i])
            return false;
    }
    return lower_word[size] == '\0';
}

static bool special_form(const char *text, size_t size, enum wire_number_form *form)
{
    if (is_word(text, size, "nan"))
        *form = WIRE_NUMBER_NAN;
    else if (is_word(text, size, "infinity"))
        *form = WIRE_NUMBER_INFINITY;
    else if (is_word(text, size, "-infinity"))
        *form = WIRE_NUMBER_MINUS_INFINITY;
    else
        return false;
    return true;
}

/* The part behind e or E. Clamped: beyond the clamp no text is long enough to bring the number back into range. */
static int scan_exponent(const char *at, const char *end, int64_t *exponent)
{
    bool negative = at < end && *at == '-';
    int64_t value = 0;

    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return WIRE_E_NUMBER_SYNTAX;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return WIRE_E_NUMBER_SYNTAX;
        if (value < EXPONENT_CLAMP)
            value = value * 10 + (*at - '0');
    }
    *exponent = negative ? -value : value;
    return WIRE_OK;
}

static int scan_text(const char *text, size_t size, struct text_shape *shape)
{
    const char *at = text, *end = text + size;
    int64_t seen = 0, point = -1, first = 0, last = 0, shift = 0;
    int rc;

    *shape = (struct text_shape){.negative = *at == '-'};
    if (*at == '-' || *at == '+')
        at++;
    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.' && point < 0) {
            point = seen;
            continue;
        }
        if (*at < '0' || *at > '9')
            return WIRE_E_NUMBER_SYNTAX;
        if (*at != '0') {
            if (!shape->first) {
                shape->first = at;
                first = seen;
            }
            last = seen;
        }
        seen++;
    }
    if (seen == 0)
        return WIRE_E_NUMBER_SYNTAX;
    if (at < end && (rc = scan_exponent(at + 1, end, &shift)) != WIRE_OK)
        return rc;
    if (point < 0)
        point = seen;
    shape->count = (uint64_t) (last - first + 1);
    shape->exponent = point - first + shift;
    shape->scale = seen - point - shift > 0 ? seen - point - shift : 0;
    return WIRE_OK;
}

static void pack_text(const struct text_shape *shape, uint8_t *packed)
{
    const char *at = shape->first;

    for (uint64_t i = 0; i < shape->count; at++) {
        if (*at == '.')
            continue;
        if (i & 1)
            packed[i / 2] |= (uint8_t) (*at - '0');
        else
            packed[i / 2] = (uint8_t) ((*at - '0') << 4);
        i++;
    }
}

/* Is the text's number one that must be written as INTEGER? */
static bool text_to_integer(const struct text_shape *shape, int64_t *value)
{
    uint8_t packed[INTEGER_DIGITS_MAX / 2];
    struct wire_number number = {.form = shape->negative ? WIRE_NUMBER_NEGATIVE : WIRE_NUMBER_POSITIVE,
                                 .digits = packed};

    *value = 0;
    if (shape->scale > 0)
        return false;
    if (!shape->first)
        return true;
    if (shape->exponent > INT64_DIGITS_MAX) /* scale 0: there are no more digits than the exponent says */
        return false;
    pack_text(shape, packed);
    number.exponent = (int32_t) shape->exponent;
    number.digit_count = (uint32_t) shape->count;
    return wire_number_to_integer(&number, value) == WIRE_OK;
}

static void write_decimal(struct wire_writer *w, const struct text_shape *shape)
{
    uint8_t *packed;

    wire_write_u8(w, shape->negative ? WIRE_NUMBER_NEGATIVE : WIRE_NUMBER_POSITIVE);
    wire_write_varint(w, (uint64_t) shape->scale);
    wire_write_varint(w, wire_zigzag(shape->exponent));
    wire_write_varint(w, shape->count);
    packed = wire_write_room(w, (size_t) (shape->count + 1) / 2);
    if (packed)
        pack_text(shape, packed);
}

int wire_number_write_text(struct wire_writer *w, const char *text, size_t size)
{
    struct text_shape shape;
    enum wire_number_form special;
    int64_t integer;
    int rc;

    if (special_form(text, size, &special)) {
        wire_write_u8(w, (uint8_t) special);
        return wire_writer_finish(w);
    }
    rc = size > 0 ? scan_text(text, size, &shape) : WIRE_E_NUMBER_SYNTAX;
    if (rc != WIRE_OK)
        return rc;
    /* The scale bounds the digits behind the point, and so the exponent from below. */
    if (shape.scale > WIRE_NUMBER_SCALE_MAX || (shape.first && shape.exponent > WIRE_NUMBER_MAGNITUDE_MAX))
        return WIRE_E_NUMBER_RANGE;
    if (text_to_integer(&shape, &integer))
        wire_number_write_integer(w, integer);
    else if (shape.first)
        write_decimal(w, &shape);
    else {
        wire_write_u8(w, WIRE_NUMBER_ZERO);
        wire_write_varint(w, (uint64_t) shape.scale);
    }
    return wire_writer_finish(w);
}

static bool packed_is_canonical(const uint8_t *packed, uint32_t count)
{
    for (uint32_t i = 0; i < (count + 1) / 2; i++)
        if (packed[i] >> 4 > 9 || (packed[i] & 0x0f) > 9)
            return false;
    if ((count & 1) != 0 && (packed[count / 2] & 0x0f) != 0)
        return false;
    return packed_digit(packed, 0) != 0 && packed_digit(packed, count - 1) != 0;
}

static int read_decimal(struct wire_reader *r, enum wire_number_form form, struct wire_number *out)
{
    uint64_t scale = wire_read_varint(r);
    int64_t exponent = wire_unzigzag(wire_read_varint(r));
    uint64_t count = wire_read_varint(r);
    struct wire_number number = {.form = form};
    int64_t integer;

    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (scale > WIRE_NUMBER_SCALE_MAX || exponent < -WIRE_NUMBER_MAGNITUDE_MAX || exponent > WIRE_NUMBER_MAGNITUDE_MAX)
        return WIRE_E_BAD_FORMAT;
    if (count == 0 || count > WIRE_NUMBER_SCALE_MAX + WIRE_NUMBER_MAGNITUDE_MAX ||
        (int64_t) count - exponent > (int64_t) scale)
        return WIRE_E_BAD_FORMAT;
    number.scale = (uint32_t) scale;
    number.exponent = (int32_t) exponent;
    number.digit_count = (uint32_t) count;
    number.digits = wire_read_bytes(r, (size_t) (count + 1) / 2);
    if (!number.digits)
        return WIRE_E_SHORT_INPUT;
    if (!packed_is_canonical(number.digits, number.digit_count))
        return WIRE_E_BAD_FORMAT;
    if (scale == 0 && wire_number_to_integer(&number, &integer) == WIRE_OK)
        return WIRE_E_BAD_FORMAT; /* should have been an INTEGER */
    *out = number;
    return WIRE_OK;
}

int wire_number_read(struct wire_reader *r, struct wire_number *out)
{
    uint8_t form = wire_read_u8(r);
    uint64_t scale;
    int rc = WIRE_OK;

    *out = (struct wire_number){.form = WIRE_NUMBER_INTEGER};
    switch (form) {
    case WIRE_NUMBER_INTEGER:
        out->integer = wire_unzigzag(wire_read_varint(r));
        break;
    case WIRE_NUMBER_POSITIVE:
    case WIRE_NUMBER_NEGATIVE:
        rc = read_decimal(r, form, out);
        break;
    case WIRE_NUMBER_ZERO:
        scale = wire_read_varint(r);
        if (scale == 0 || scale > WIRE_NUMBER_SCALE_MAX)
            rc = WIRE_E_BAD_FORMAT;
        else
            *out = (struct wire_number){.form = WIRE_NUMBER_ZERO, .scale = (uint32_t) scale};
        break;
    case WIRE_NUMBER_NAN:
    case WIRE_NUMBER_INFINITY:
    case WIRE_NUMBER_MINUS_INFINITY:
        out->form = form;
        break;
    default:
        rc = WIRE_E_BAD_FORMAT;
    }
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    r->failed = rc != WIRE_OK;
    return rc;
}

/* Copy what fits and say how long it is. */
static int put_text(const char *source, size_t length, char *text, size_t capacity, size_t *size)
{
    *size = length;
    if (length > capacity)
        return WIRE_E_SHORT_BUFFER;
    memcpy(text, source, length);
    return WIRE_OK;
}

static int integer_to_text(int64_t value, char *text, size_t capacity, size_t *size)
{
    uint8_t digits[INTEGER_DIGITS_MAX];
    char buffer[INTEGER_DIGITS_MAX + 1];
    uint32_t count = integer_digits(magnitude_of(value), digits);
    size_t length = 0;

    if (value < 0)
        buffer[length++] = '-';
    if (count == 0)
        buffer[length++] = '0';
    for (uint32_t i = 0; i < count; i++)
        buffer[length++] = (char) ('0' + digits[i]);
    return put_text(buffer, length, text, capacity, size);
}

/* ZERO has no digits: all positions are read as 0. */
static int decimal_to_text(const struct wire_number *number, char *text, size_t capacity, size_t *size)
{
    bool negative = number->form == WIRE_NUMBER_NEGATIVE;
    int64_t whole = number->exponent > 0 ? number->exponent : 0, stop = (int64_t) number->exponent + number->scale;
    char *at = text;

    *size = (size_t) negative + (size_t) (whole > 0 ? whole : 1) + (number->scale > 0 ? 1 + (size_t) number->scale : 0);
    if (*size > capacity)
        return WIRE_E_SHORT_BUFFER;
    if (negative)
        *at++ = '-';
    if (whole == 0)
        *at++ = '0';
    for (int64_t i = whole > 0 ? 0 : number->exponent; i < stop; i++) {
        if (i == number->exponent)
            *at++ = '.';
        *at++ = i >= 0 && i < number->digit_count ? (char) ('0' + packed_digit(number->digits, (uint32_t) i)) : '0';
    }
    return WIRE_OK;
}

int wire_number_to_text(const struct wire_number *number, char *text, size_t capacity, size_t *size)
{
    switch (number->form) {
    case WIRE_NUMBER_INTEGER:
        return integer_to_text(number->integer, text, capacity, size);
    case WIRE_NUMBER_POSITIVE:
    case WIRE_NUMBER_NEGATIVE:
    case WIRE_NUMBER_ZERO:
        return decimal_to_text(number, text, capacity, size);
    case WIRE_NUMBER_NAN:
        return put_text("NaN", 3, text, capacity, size);
    case WIRE_NUMBER_INFINITY:
        return put_text("Infinity", 8, text, capacity, size);
    case WIRE_NUMBER_MINUS_INFINITY:
        return put_text("-Infinity", 9, text, capacity, size);
    }
    *size = 0;
    return WIRE_E_BAD_FORMAT;
}

static int decimal_to_integer(const struct wire_number *number, int64_t *out)
{
    bool negative = number->form == WIRE_NUMBER_NEGATIVE;
    uint64_t magnitude = 0;

    /* More digits than the exponent: a fraction. */
    if (number->exponent > INT64_DIGITS_MAX || (int64_t) number->digit_count > number->exponent)
        return WIRE_E_NUMBER_RANGE;
    for (uint32_t i = 0; i < (uint32_t) number->exponent; i++)
        magnitude = magnitude * 10 + (i < number->digit_count ? packed_digit(number->digits, i) : 0);
    if (magnitude > (uint64_t) INT64_MAX + negative)
        return WIRE_E_NUMBER_RANGE;
    *out = (int64_t) (negative ? 0 - magnitude : magnitude);
    return WIRE_OK;
}

int wire_number_to_integer(const struct wire_number *number, int64_t *out)
{
    switch (number->form) {
    case WIRE_NUMBER_INTEGER:
        *out = number->integer;
        return WIRE_OK;
    case WIRE_NUMBER_ZERO:
        *out = 0;
        return WIRE_OK;
    case WIRE_NUMBER_POSITIVE:
    case WIRE_NUMBER_NEGATIVE:
        return decimal_to_integer(number, out);
    default:
        return WIRE_E_NUMBER_NOT_FINITE;
    }
}

int wire_number_digits(const struct wire_number *number, uint8_t *digits, uint32_t capacity, uint32_t *count,
                       int32_t *exponent, bool *negative)
{
    uint8_t all[INTEGER_DIGITS_MAX];
    uint32_t found = 0;

    *exponent = 0;
    *negative = false;
    if (number->form == WIRE_NUMBER_INTEGER) {
        found = integer_digits(magnitude_of(number->integer), all);
        *exponent = (int32_t) found;
        *negative = number->integer < 0;
        while (found > 0 && all[found - 1] == 0)
            found--;
    } else if (number->form == WIRE_NUMBER_POSITIVE || number->form == WIRE_NUMBER_NEGATIVE) {
        found = number->digit_count;
        *exponent = number->exponent;
        *negative = number->form == WIRE_NUMBER_NEGATIVE;
    } else if (number->form != WIRE_NUMBER_ZERO)
        return WIRE_E_NUMBER_NOT_FINITE;
    *count = found;
    if (found > capacity)
        return WIRE_E_NUMBER_DIGITS;
    for (uint32_t i = 0; i < found; i++)
        digits[i] = number->form == WIRE_NUMBER_INTEGER ? all[i] : packed_digit(number->digits, i);
    return WIRE_OK;
}

/* Place in the order of values that no digits are needed for; -1 and 1 are those that they are needed for. */
static int rank_of(const struct wire_number *number)
{
    switch (number->form) {
    case WIRE_NUMBER_INTEGER:
        return (number->integer > 0) - (number->integer < 0);
    case WIRE_NUMBER_POSITIVE:
        return 1;
    case WIRE_NUMBER_NEGATIVE:
        return -1;
    case WIRE_NUMBER_ZERO:
        return 0;
    case WIRE_NUMBER_INFINITY:
        return 2;
    case WIRE_NUMBER_MINUS_INFINITY:
        return -2;
    case WIRE_NUMBER_NAN:
        break;
    }
    return 3;
}

static void decimal_of(const struct wire_number *number, struct decimal *out)
{
    uint8_t digits[INTEGER_DIGITS_MAX];
    bool negative;

    out->exponent = number->exponent;
    out->count = number->digit_count;
    out->packed = number->digits;
    if (number->form != WIRE_NUMBER_INTEGER)
        return;
    memset(out->own, 0, sizeof(out->own));
    out->packed = out->own;
    wire_number_digits(number, digits, INTEGER_DIGITS_MAX, &out->count, &out->exponent, &negative);
    for (uint32_t i = 0; i < out->count; i++)
        out->own[i / 2] |= (uint8_t) (i & 1 ? digits[i] : digits[i] << 4);
}

/* The last digit is not 0, so of two that agree as far as both go the longer is the greater. */
static int compare_magnitude(const struct decimal *a, const struct decimal *b)
{
    uint32_t least = a->count < b->count ? a->count : b->count;
    int order;

    if (a->exponent != b->exponent)
        return a->exponent < b->exponent ? -1 : 1;
    order = memcmp(a->packed, b->packed, (least + 1) / 2);
    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a->count > b->count) - (a->count < b->count);
}

int wire_number_compare(const struct wire_number *a, const struct wire_number *b)
{
    int rank = rank_of(a), other = rank_of(b);
    struct decimal left, right;

    if (a->form == WIRE_NUMBER_INTEGER && b->form == WIRE_NUMBER_INTEGER)
        return (a->integer > b->integer) - (a->integer < b->integer);
    if (rank != other)
        return rank < other ? -1 : 1;
    if (rank != 1 && rank != -1)
        return 0;
    decimal_of(a, &left);
    decimal_of(b, &right);
    return rank * compare_magnitude(&left, &right);
}

int wire_number_check_limits(const struct wire_number *number)
{
    switch (number->form) {
    case WIRE_NUMBER_INTEGER:
    case WIRE_NUMBER_ZERO:
        return WIRE_OK;
    case WIRE_NUMBER_POSITIVE:
    case WIRE_NUMBER_NEGATIVE:
        if (number->digit_count > WIRE_NUMBER_DIGITS_MAX)
            return WIRE_E_NUMBER_DIGITS;
        /* 0.d1d2.. x 10^n is d1.d2.. x 10^(n-1). */
        if (number->exponent - 1 < WIRE_NUMBER_EXPONENT_MIN || number->exponent - 1 > WIRE_NUMBER_EXPONENT_MAX)
            return WIRE_E_NUMBER_RANGE;
        return WIRE_OK;
    default:
        return WIRE_E_NUMBER_NOT_FINITE;
    }
}
