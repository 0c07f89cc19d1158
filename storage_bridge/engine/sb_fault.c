/* See sb_fault.h. */
#include "sb_fault.h"

#include <stdarg.h>
#include <stdio.h>

int sb_fault_set(struct sb_fault *fault, int code, const char *format, ...)
{
    va_list arguments;

    if (!fault)
        return code;
    fault->code = code;
    va_start(arguments, format);
    vsnprintf(fault->text, sizeof(fault->text), format, arguments);
    va_end(arguments);
    return code;
}
