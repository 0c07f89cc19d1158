/*
 * What went wrong, for the people who must mend it: a code and one sentence that names file and offset. Filled by the
 * lowest function that knows; passed up unchanged.
 */
#ifndef SB_FAULT_H
#define SB_FAULT_H

#include "wire_error.h"

#define SB_FAULT_TEXT 512

struct sb_fault {
    int code;
    char text[SB_FAULT_TEXT];
};

/* Fill (fault may be NULL) and return the code. */
int sb_fault_set(struct sb_fault *fault, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
