/*
 * The one place where a code of the plain side becomes an ereport: text and SQLSTATE from the table of wire_error.h,
 * the subject from the caller, a hint from the code.
 */
#include "cairn_error.h"

static int sqlstate_of(int code)
{
    const char *state = wire_error_sqlstate(code);

    /* Classes 00 to 02 are no errors to clients: raised at all, such a code is a fault of ours. */
    if (state[0] == '0' && state[1] <= '2')
        return ERRCODE_INTERNAL_ERROR;
    return MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
}

static const char *hint_of(int code)
{
    switch (code) {
    case WIRE_E_LOCKED:
        return "Try again when the other transaction has ended.";
    case WIRE_E_NOT_LOCKED:
    case WIRE_E_CHANGED:
        return "Run the transaction again.";
    case WIRE_E_SNAPSHOT_TOO_OLD:
        return "Run the transaction again; if it must stay open for long, raise cairn.max_snapshot_age.";
    case WIRE_E_NO_STORAGE:
        return "The table was dropped, truncated or rewritten meanwhile; run the statement again.";
    case WIRE_E_ITEM_SIZE:
        return "Split the item, or keep large values elsewhere and refer to them.";
    case WIRE_E_TOO_LARGE:
        return "Ask for fewer or smaller items at a time.";
    case WIRE_E_BUSY:
        return "Try again after a short while.";
    case WIRE_E_DISK_FULL:
        return "Free some space in the file system of the storage directory.";
    case WIRE_E_STOPPING:
    case WIRE_E_DOWN:
        return "Try again when the storage process is ready; if it does not start, the server log says why.";
    case WIRE_E_BAD_VERSION:
        return "Use the release of cairn that wrote the data, or a newer one.";
    case WIRE_E_IO:
        return "The server log has more about this.";
    default:
        return wire_error_retry(code) ? "Try again." : NULL;
    }
}

static int subject_detail(const CairnSubject *subject)
{
    if (subject->table && subject->key)
        return errdetail("Table %s, key %s.", subject->table, subject->key);
    if (subject->table)
        return errdetail("Table %s.", subject->table);
    return subject->key ? errdetail("Key %s.", subject->key) : 0;
}

void cairn_error_raise(int code, const CairnSubject *subject)
{
    static const CairnSubject nothing = {NULL, NULL, NULL};
    const char *hint = hint_of(code);
    const char *text = wire_error_text(code);

    if (!subject)
        subject = &nothing;
    ereport(ERROR, (errcode(sqlstate_of(code)),
                    subject->action ? errmsg("could not %s: %s", subject->action, text) : errmsg_internal("%s", text),
                    subject_detail(subject), hint ? errhint("%s", hint) : 0));
    pg_unreachable();
}
