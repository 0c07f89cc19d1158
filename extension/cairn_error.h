/*
 * The one place where a code of the plain side becomes an ereport.
 */
#ifndef CAIRN_ERROR_H
#define CAIRN_ERROR_H

#include "cairn_pg.h"

#include "utils/rel.h"

#include "wire_error.h"

/* What the user asked for: filled in as far as known, shown in message and detail. */
typedef struct CairnSubject {
    const char *table;  /* qualified name, or NULL */
    const char *key;    /* printable key, or NULL */
    const char *action; /* e.g. "put item", or NULL */
} CairnSubject;

/* Raise `code` (not WIRE_OK) as ERROR with its SQLSTATE, the subject, and a hint where a user can act. */
void cairn_error_raise(int code, const CairnSubject *subject) pg_attribute_noreturn();

#endif
