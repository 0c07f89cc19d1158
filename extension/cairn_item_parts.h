/*
 * What the item functions' files share: the call, its input, conditions and updates, writes. Not for other parts of the
 * extension.
 */
#ifndef CAIRN_ITEM_PARTS_H
#define CAIRN_ITEM_PARTS_H

#include "cairn_row.h"

#include "nodes/bitmapset.h"
#include "nodes/nodes.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/jsonb.h"

#include "cairn_lane.h"

#include "wire_eval.h"

/* Row security as it applies to the caller: see below. */
typedef struct CairnItemPolicy CairnItemPolicy;

/* One call of an item function. */
typedef struct CairnItemCall {
    Relation relation;
    CairnTable *table;       /* a copy: it lasts as long as the memory context of the call */
    CairnItemPolicy *policy; /* NULL: none applies */
    const char *action;      /* for messages: "put item" */
    bool bare;               /* see cairn_item.h */
} CairnItemCall;

/*
 * Open the table in argument 0, lock it as `needs` asks (reading or writing), check the caller's privileges, row
 * security and read-only transactions. Errors: 22004, 42P01, 42809, 55000, 42501, 25006, 0A000 (rewrite rules).
 */
void cairn_item_begin(CairnItemCall *call, FunctionCallInfo fcinfo, const char *action, AclMode needs);
void cairn_item_end(CairnItemCall *call);
void cairn_item_raise(const CairnItemCall *call, int code, struct wire_span key) pg_attribute_noreturn();
/* Argument `index` as jsonb, NULL if it is null. */
Jsonb *cairn_item_argument(FunctionCallInfo fcinfo, int index);
Jsonb *cairn_item_required(FunctionCallInfo fcinfo, int index, const char *name); /* Errors: 22004 */
/* A column that must not be null is absent. Errors: 23502, with a hint if the column has a default. */
void cairn_item_raise_null(const CairnItemCall *call, const CairnColumn *column) pg_attribute_noreturn();
/* May the caller give the column a value? Errors: 428C9. */
void cairn_item_refuse_generated(const CairnItemCall *call, const CairnColumn *column);
const char *cairn_item_column_name(const CairnItemCall *call, AttrNumber number);

/* --- input: cairn_item_input.c, cairn_item_convert.c --- */

/* A jsonb object taken apart by the table's columns. */
typedef struct CairnItemInput {
    JsonbValue *columns; /* by attribute number - 1 */
    bool *present;
    JsonbPair *named; /* in name order */
    int named_count;
    Datum *values; /* by attribute number - 1, as far as converted */
    bool *nulls;
} CairnItemInput;

/* Errors: 22023 (no object, a reserved or empty name), 42703 (no column of that name and no catch-all). `what`: "item"
 * or "key". */
void cairn_input_split(const CairnItemCall *call, Jsonb *object, const char *what, CairnItemInput *out);
/* Convert key columns and encode the key. Errors: 22023 missing, 42804 mistyped, and those of cairn_row_key. */
Size cairn_input_key(const CairnItemCall *call, CairnItemInput *input, uint8 *key);
/* A key alone: as the two above, and other attributes are refused (22023) unless `lenient`. */
Size cairn_input_key_object(const CairnItemCall *call, Jsonb *object, bool lenient, CairnItemInput *out, uint8 *key);
/* Convert what needs the types' own input (typmods, domains, opaque types), or with `all` every column. Absent is NULL.
 */
void cairn_input_values(const CairnItemCall *call, CairnItemInput *input, bool all);
/* The encoded item; key and values were converted. Errors: 23502, 428C9, 22003, 42804, 54000. */
void cairn_input_encode(const CairnItemCall *call, CairnItemInput *input, StringInfo out);
/* DynamoDB's limit on the item as a whole. Errors: 54000 naming table, key and limit. */
void cairn_item_check_size(const CairnItemCall *call, struct wire_span key, struct wire_span item);

/* The column of a name; 0: none. */
AttrNumber cairn_item_column(const CairnItemCall *call, const char *name, int size);
/* Is the kind of `value` right for the column, and if not, raise 42804. */
void cairn_input_check_kind(const CairnItemCall *call, const CairnColumn *column, const JsonbValue *value);
bool cairn_input_kind_fits(const CairnColumn *column, const JsonbValue *value);
/* A value of a plain column. Errors: 22003. Its kind fits. */
Datum cairn_input_plain(const CairnColumn *column, JsonbValue *value);
/* A value of one column by its type's own input, typmod and domain included; *null as the type sees it. */
Datum cairn_input_typed(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value, bool *null);
/* One of the two. */
Datum cairn_input_datum(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value, bool *null);
/* Append one column's value as attribute. */
void cairn_input_write(const CairnItemCall *call, const CairnColumn *column, JsonbValue *value, StringInfo out,
                       struct wire_writer *w);
/* Errors raised meanwhile name this attribute in their context. Give the result back to _leave. */
typedef struct CairnInputContext {
    ErrorContextCallback callback;
    const CairnItemCall *call;
    const char *name;
    int size;
} CairnInputContext;
void cairn_input_enter(CairnInputContext *context, const CairnItemCall *call, const char *name, int size);
void cairn_input_leave(CairnInputContext *context);

/* --- conditions and updates: cairn_item_condition.c --- */

typedef struct CairnItemTerms {
    StringInfoData condition;
    StringInfoData update;
    Bitmapset *columns; /* attribute numbers that the update may change */
    bool by_rules;      /* only the SQL way evaluates this rightly */
} CairnItemTerms;

void cairn_terms_begin(CairnItemTerms *terms);
/* condition: NULL for none. key: as converted by cairn_input_key. Errors: 22023, 42703. */
void cairn_terms_condition(const CairnItemCall *call, CairnItemTerms *terms, Jsonb *condition,
                           const CairnItemInput *key);
/* Errors: 22023 (key attribute, named twice), 42703, 428C9, 23502, those of conversion. */
void cairn_terms_update(const CairnItemCall *call, CairnItemTerms *terms, Jsonb *set, ArrayType *remove);

/* --- writes: cairn_item_write.c, cairn_item_rules.c --- */

typedef struct CairnItemImages {
    bool existed;
    struct wire_span old; /* as far as asked for; empty: none */
    struct wire_span new_item;
} CairnItemImages;

/* Send operations (keys, arguments, conditions; overlays are added here), wait for locks, add the effects to the write
 * set unless bare. images: array[count]. A bare update of an item near the limit of its size ceases to be bare. */
void cairn_item_write(CairnItemCall *call, struct wire_write_op *ops, int count, CairnItemImages *images);

/* The SQL way of one write: lock, read, condition, triggers, generated columns, constraints, write set. new_item empty:
 * nothing was written (delete, or a trigger said so). */
typedef struct CairnRuleWrite {
    enum wire_write_kind kind;
    struct wire_span key;
    CairnItemInput *input; /* PUT */
    const CairnItemTerms *terms;
} CairnRuleWrite;
void cairn_item_write_by_rules(const CairnItemCall *call, const CairnRuleWrite *write, CairnItemImages *images);

/* --- row security: cairn_item_policy.c --- */

/* The policies that apply to the caller; NULL: none. Lives in the current memory context. needs: what the call needs
 * privileges for. */
CairnItemPolicy *cairn_policy_of(const CairnItemCall *call, AclMode needs);
/* May the command see this row? policy NULL: yes. Errors: 0A000 subqueries. */
bool cairn_policy_shows(CairnItemPolicy *policy, CmdType command, const Datum *values, const bool *nulls);
bool cairn_policy_shows_item(const CairnItemCall *call, struct wire_span key, struct wire_span item); /* to SELECT */
/* May the command (INSERT, UPDATE) write this row? Errors: 42501. */
void cairn_policy_check(const CairnItemCall *call, CmdType command, const Datum *values, const bool *nulls);

/* --- reads: cairn_item_read.c, cairn_item_range.c --- */

/* The command id up to which own writes are visible to a read that begins now. */
CommandId cairn_item_read_command(void);
/* Elements of a JSON array. Errors: 22023, 54000. */
int cairn_item_array(Jsonb *array, const char *name, int most, Jsonb ***elements);
/* Errors: 22023 naming a key that occurs twice. */
void cairn_item_refuse_twice(const CairnItemCall *call, const struct wire_span *keys, int count);
/* An encoded key of its own size. */
struct wire_span cairn_item_key_copy(const CairnItemCall *call, Jsonb *object, CairnItemInput *input, bool lenient);

/* One image as the function's result. */
Datum cairn_item_result(const CairnItemCall *call, FunctionCallInfo fcinfo, struct wire_span key,
                        struct wire_span item);

#endif
