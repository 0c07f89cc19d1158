/* Values of types that the item model lacks, as the bytes of an OPAQUE attribute. For columns with the codecs RAW,
 * BINARY and STRING. */
#ifndef CAIRN_OPAQUE_H
#define CAIRN_OPAQUE_H

#include "cairn_table.h"

/* The bytes of a value, palloc'd or within it: the same whatever the session's settings. */
struct wire_span cairn_opaque_bytes(const CairnColumn *column, Datum value);

/* A value from its bytes. Errors: those of the type's functions. */
Datum cairn_opaque_value(const CairnColumn *column, struct wire_span bytes);

#endif
