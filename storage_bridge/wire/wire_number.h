/*
 * Decimal numbers of any length, exact and with their scale, so that 1.0 and 1.00 come back as they were written.
 *
 *   form byte   0 integer: zigzag varint (every int64 of scale 0, and only those)
 *               1 positive decimal, 2 negative decimal: varint scale, zigzag varint exponent, varint digit count, digits packed two to a byte,
 *                 high nibble first, last nibble 0 if the count is odd; the first and last digit are not 0
 *               3 zero with a scale > 0: varint scale
 *               4 NaN, 5 +Infinity, 6 -Infinity
 *
 * A decimal is 0.d1 d2 ... dn x 10^exponent. The form is canonical: equal number and scale have equal bytes. NaN is greater than all and equal to itself,
 * as in PostgreSQL.
 *
 * Caller: anyone. Locks: none. Results borrow from the bytes read.
 */
#ifndef WIRE_NUMBER_H
#define WIRE_NUMBER_H

#include "wire_bytes.h"

enum wire_number_form {
    WIRE_NUMBER_INTEGER = 0,
    WIRE_NUMBER_POSITIVE = 1,
    WIRE_NUMBER_NEGATIVE = 2,
    WIRE_NUMBER_ZERO = 3,
    WIRE_NUMBER_NAN = 4,
    WIRE_NUMBER_INFINITY = 5,
    WIRE_NUMBER_MINUS_INFINITY = 6
};

#define WIRE_NUMBER_SCALE_MAX 16383
#define WIRE_NUMBER_MAGNITUDE_MAX 131072 /* bound of |exponent|, PostgreSQL's numeric */

struct wire_number {
    enum wire_number_form form;
    int64_t integer;       /* INTEGER only */
    uint32_t scale;        /* decimal digits after the point */
    int32_t exponent;      /* POSITIVE, NEGATIVE */
    uint32_t digit_count;  /* POSITIVE, NEGATIVE: >= 1 */
    const uint8_t *digits; /* packed, (digit_count + 1) / 2 bytes, borrowed */
};

void wire_number_write_integer(struct wire_writer *w, int64_t value);

/*
 * Parse decimal text: optional sign, digits with at most one point, optional exponent (e or E, signed); or NaN, Infinity, -Infinity in any case.
 * Errors:   WIRE_E_NUMBER_SYNTAX, WIRE_E_NUMBER_RANGE (scale or magnitude), WIRE_E_SHORT_BUFFER.
 */
int wire_number_write_text(struct wire_writer *w, const char *text, size_t size);

/* Read one number; checks form, canonical digits and bounds. Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_FORMAT (r->failed is set too). */
int wire_number_read(struct wire_reader *r, struct wire_number *out);

/*
 * Plain decimal text without exponent, as numeric_out writes it, no terminating zero.
 * out:      *size is set to the length (also on WIRE_E_SHORT_BUFFER: the length needed).
 */
int wire_number_to_text(const struct wire_number *number, char *text, size_t capacity, size_t *size);

/* Errors: WIRE_E_NUMBER_RANGE if it is not a whole number within int64, WIRE_E_NUMBER_NOT_FINITE. 3.00 is a whole number. */
int wire_number_to_integer(const struct wire_number *number, int64_t *out);

/* By value, scale ignored: <0, 0, >0. */
int wire_number_compare(const struct wire_number *a, const struct wire_number *b);

/* DynamoDB's limits: finite, at most 38 significant digits, magnitude 0 or 1E-130 .. 9.99E+125. Errors: the three WIRE_E_NUMBER_ codes. */
int wire_number_check_limits(const struct wire_number *number);

/* Significant digits (0 for zero) and exponent in the sense of the header comment, of any finite form. Digits as values 0-9 into digits[capacity];
 * Errors: WIRE_E_NUMBER_DIGITS if there are more than capacity, WIRE_E_NUMBER_NOT_FINITE. */
int wire_number_digits(const struct wire_number *number, uint8_t *digits, uint32_t capacity, uint32_t *count,
                       int32_t *exponent, bool *negative);

#endif
