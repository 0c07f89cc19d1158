/* Limits: DynamoDB's for what users store, our own for what travels. Bytes unless the name says otherwise. */
#ifndef WIRE_LIMITS_H
#define WIRE_LIMITS_H

/* DynamoDB's, "Quotas and constraints": item and key sizes are counted as DynamoDB counts them (names plus values). */
#define WIRE_ITEM_SIZE_MAX (400 * 1024)
/* Values and names of named attributes up to this are within the limit whatever the key and the names of columns (at
 * most 1,600 of 63 bytes) add. */
#define WIRE_ITEM_SIZE_SURE (WIRE_ITEM_SIZE_MAX / 2)
#define WIRE_PARTITION_KEY_SIZE_MAX 2048
#define WIRE_SORT_KEY_SIZE_MAX 1024
#define WIRE_NESTING_MAX 32
#define WIRE_NUMBER_DIGITS_MAX 38
#define WIRE_NUMBER_EXPONENT_MIN (-130) /* 1E-130 is the least magnitude */
#define WIRE_NUMBER_EXPONENT_MAX 125    /* 9.99..E+125 the greatest */
#define WIRE_BATCH_GET_MAX 100
#define WIRE_BATCH_WRITE_MAX 25

/* Ours. */
#define WIRE_KEY_MAX (8 * 1024)              /* an encoded key, escapes and prefix included */
#define WIRE_KEY_COLUMNS_MAX 8               /* columns of a primary key */
#define WIRE_ATTRIBUTES_MAX 16384            /* attributes of one item */
#define WIRE_STORED_ITEM_MAX (900 * 1024)    /* an encoded item; SQL rows may exceed 400 KB up to here */
#define WIRE_ENTRY_MAX (1024 * 1024)         /* a log entry, header included */
#define WIRE_WRITE_SET_MAX (4 * 1024 * 1024) /* what a backend holds back before it spills */
#define WIRE_MESSAGE_MAX (8 * 1024 * 1024)   /* a request or a reply, all pieces together */
#define WIRE_PIECE_MAX (128 * 1024)          /* payload of a lane's slot */
#define WIRE_SCAN_REPLY_TARGET (120 * 1024)  /* a scan batch ends with the item that passes this */
#define WIRE_SCAN_FIRST_TARGET (30 * 1024)   /* the first one, if it is not known how many rows are wanted */
#define WIRE_SHORT_SCAN_ITEMS 256            /* a scan with a limit up to this may go to the readers */

#endif
