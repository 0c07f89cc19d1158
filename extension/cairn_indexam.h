/*
 * The index access method `cairn_ordered`: what other files need to know of it.
 */
#ifndef CAIRN_INDEXAM_H
#define CAIRN_INDEXAM_H

#include "cairn_pg.h"

#define CAIRN_PARTITION_BY_HASH 0
#define CAIRN_PARTITION_BY_RANGE 1

/* rd_options of an index of this access method. The table's WITH (partition_by = ...) is moved to its primary key by
 * the utility hook. NULL rd_options mean the defaults. */
typedef struct CairnIndexOptions {
    int32 vl_len_;
    int partition_by; /* CAIRN_PARTITION_BY_ */
} CairnIndexOptions;

#endif
