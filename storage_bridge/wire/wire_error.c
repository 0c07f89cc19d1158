/* The table of wire_error.h as arrays. */
#include "wire_error.h"

struct error_row {
    const char *name;
    const char *text;
    const char *sqlstate;
    int retry;
};

static const struct error_row rows[] = {
#define WIRE_ERROR_ROW(name, text, sqlstate, retry) {#name, text, sqlstate, retry},
    WIRE_ERRORS(WIRE_ERROR_ROW)
#undef WIRE_ERROR_ROW
};

static const struct error_row *row_of(int code)
{
    if (code < 0 || code >= WIRE_ERROR_COUNT)
        code = WIRE_E_INTERNAL;
    return &rows[code];
}

const char *wire_error_name(int code)
{
    return row_of(code)->name;
}

const char *wire_error_text(int code)
{
    return row_of(code)->text;
}

const char *wire_error_sqlstate(int code)
{
    return row_of(code)->sqlstate;
}

int wire_error_retry(int code)
{
    return row_of(code)->retry;
}
