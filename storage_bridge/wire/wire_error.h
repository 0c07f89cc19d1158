/*
 * Result codes of all plain-C code: one table, from which the names, the texts, the SQLSTATEs and the advice to retry
 * come.
 *
 * X(name, text, sqlstate, retry): `text` names the fault without table or key (the Postgres side adds both), `sqlstate`
 * is what the user sees, `retry` is 1 when the same request may succeed if it is sent again unchanged.
 */
#ifndef WIRE_ERROR_H
#define WIRE_ERROR_H

#define WIRE_ERRORS(X)                                                                                                 \
    X(WIRE_OK, "ok", "00000", 0)                                                                                       \
    /* bytes */                                                                                                        \
    X(WIRE_E_SHORT_INPUT, "input ends before its structure does", "XX001", 0)                                          \
    X(WIRE_E_SHORT_BUFFER, "output buffer is too small", "54000", 0)                                                   \
    X(WIRE_E_BAD_FORMAT, "bytes do not follow their format", "XX001", 0)                                               \
    X(WIRE_E_BAD_VERSION, "format version is newer than this release", "0A000", 0)                                     \
    X(WIRE_E_BAD_CHECKSUM, "checksum does not match", "XX001", 0)                                                      \
    /* values */                                                                                                       \
    X(WIRE_E_NUMBER_SYNTAX, "not a decimal number", "22P02", 0)                                                        \
    X(WIRE_E_NUMBER_DIGITS, "number has more than 38 significant digits", "22003", 0)                                  \
    X(WIRE_E_NUMBER_RANGE, "number is out of range", "22003", 0)                                                       \
    X(WIRE_E_NUMBER_NOT_FINITE, "number is not finite", "22003", 0)                                                    \
    X(WIRE_E_NESTING, "value is nested deeper than 32 levels", "54000", 0)                                             \
    X(WIRE_E_ORDER, "names or set members are not in canonical order", "XX001", 0)                                     \
    X(WIRE_E_DUPLICATE, "name or set member occurs twice", "22023", 0)                                                 \
    X(WIRE_E_TYPE, "attribute has another type", "42804", 0)                                                           \
    X(WIRE_E_KEY_SIZE, "key is larger than its limit", "54000", 0)                                                     \
    X(WIRE_E_ITEM_SIZE, "item is larger than 400 KB", "54000", 0)                                                      \
    X(WIRE_E_TOO_LARGE, "request or reply is larger than its limit", "54000", 0)                                       \
    /* evaluation */                                                                                                   \
    X(WIRE_E_CONDITION, "condition is not met", "23000", 0)                                                            \
    X(WIRE_E_EXISTS, "an item with this key exists", "23505", 0)                                                       \
    X(WIRE_E_LOCKED, "item is locked by another transaction", "55P03", 1)                                              \
    X(WIRE_E_NOT_LOCKED, "transaction does not hold the lock it relies on", "40001", 1)                                \
    X(WIRE_E_CHANGED, "item changed after the transaction's snapshot", "40001", 1)                                     \
    X(WIRE_E_SNAPSHOT_TOO_OLD, "snapshot is older than the retained history", "72000", 1)                              \
    X(WIRE_E_NO_STORAGE, "storage of the table is gone", "42P01", 0)                                                   \
    X(WIRE_E_NO_TRANSACTION, "transaction is not known", "25000", 0)                                                   \
    X(WIRE_E_TRANSACTION_EXISTS, "transaction is prepared already", "42710", 0)                                        \
    X(WIRE_E_BUSY, "too many writes in flight", "53000", 1)                                                            \
    /* replication */                                                                                                  \
    X(WIRE_E_NOT_LEADER, "replica does not lead its partition", "57P03", 1)                                            \
    X(WIRE_E_UNKNOWN_OUTCOME, "leadership was lost: the outcome of the write is unknown", "08007", 0)                  \
    X(WIRE_E_NO_QUORUM, "too few replicas are reachable", "57P03", 1)                                                  \
    X(WIRE_E_MEMBERSHIP, "change of members is not possible now", "55000", 1)                                          \
    /* machine */                                                                                                      \
    X(WIRE_E_NOMEM, "out of memory", "53200", 1)                                                                       \
    X(WIRE_E_IO, "input/output error", "58030", 0)                                                                     \
    X(WIRE_E_DISK_FULL, "disk is full", "53100", 1)                                                                    \
    X(WIRE_E_CORRUPT, "stored data is corrupted", "XX001", 0)                                                          \
    X(WIRE_E_WOULD_BLOCK, "data is not in memory", "XX000", 1)                                                         \
    X(WIRE_E_NOT_FOUND, "not found", "02000", 0)                                                                       \
    X(WIRE_E_STOPPING, "storage process is stopping", "57P03", 1)                                                      \
    X(WIRE_E_DOWN, "storage process is not running", "57P03", 1)                                                       \
    X(WIRE_E_CONFIG, "setting is out of bounds", "22023", 0)                                                           \
    X(WIRE_E_STORE_LOST, "storage directory is lost", "58P01", 0)                                                      \
    X(WIRE_E_INTERNAL, "internal error", "XX000", 0)

enum wire_error {
#define WIRE_ERROR_NAME(name, text, sqlstate, retry) name,
    WIRE_ERRORS(WIRE_ERROR_NAME)
#undef WIRE_ERROR_NAME
        WIRE_ERROR_COUNT
};

/* Each returns a constant for any int: an unknown code reads as WIRE_E_INTERNAL. Caller: anyone. */
const char *wire_error_name(int code);
const char *wire_error_text(int code);
const char *wire_error_sqlstate(int code);
int wire_error_retry(int code);

#endif
