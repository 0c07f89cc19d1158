/*
 * Conditions and updates: what a write asks of the item it finds. Evaluated once, in the shard's loop, by this plain code; followers evaluate nothing.
 *
 * A condition is a list of clauses that must all hold; an update a list of actions that replace or remove top-level attributes.
 *
 *   condition = varint count, clauses;  clause = u8 operator, target, [value if EQUALS]
 *   update    = varint count, actions;  action = u8 kind, target, [value if SET]
 *   target    = u8 0: the item as a whole | u8 1: varint attribute number | u8 2: span name
 *
 * Equality on key columns and typed constants is settled by the backend, which knows the key; it sends ALWAYS_FALSE where that fails (so that the refusal is
 * still ordered with other writes).
 *
 * Caller: anyone (writing: backend; evaluating: shard). Locks: none.
 */
#ifndef WIRE_EVAL_H
#define WIRE_EVAL_H

#include "wire_item.h"

#define WIRE_ACTIONS_MAX 1024 /* actions of one update: they are put in order on the stack */

enum wire_condition_operator {
    WIRE_CONDITION_EXISTS = 1,
    WIRE_CONDITION_NOT_EXISTS = 2,
    WIRE_CONDITION_EQUALS = 3, /* target must be an attribute; an absent one equals nothing */
    WIRE_CONDITION_FALSE = 4   /* target must be the item */
};

enum wire_update_kind { WIRE_UPDATE_SET = 1, WIRE_UPDATE_REMOVE = 2 };

enum wire_target_kind { WIRE_TARGET_ITEM = 0, WIRE_TARGET_DECLARED = 1, WIRE_TARGET_NAMED = 2 };

struct wire_target {
    enum wire_target_kind kind;
    struct wire_attr_ref ref;
};

/* Append one clause or action; `value` is an encoded attribute value (or empty). The caller writes the count first. */
void wire_clause_write(struct wire_writer *w, enum wire_condition_operator op, struct wire_target target,
                       struct wire_span value);
void wire_action_write(struct wire_writer *w, enum wire_update_kind kind, struct wire_target target,
                       struct wire_span value);

/* Check a whole condition or update for form (bounded, every value checked). An empty span is "no condition", but is no update. Actions must target attributes.
 * Errors:   decoding errors, WIRE_E_BAD_FORMAT, WIRE_E_TOO_LARGE (more than WIRE_ACTIONS_MAX actions). */
int wire_condition_check(struct wire_span condition);
int wire_update_check(struct wire_span update);

/* Does the item meet the condition? item NULL or DELETED: there is none. An empty span is met. Both were checked before. Errors: WIRE_E_CONDITION, decoding errors. */
int wire_condition_eval(struct wire_span condition, const struct wire_item *item);

/*
 * Apply an update to an item (NULL: to an empty one, as DynamoDB's UpdateItem creates what it does not find) and write the encoded result, with schema_version,
 * version 0, to `w`. Actions name each attribute at most once (checked: WIRE_E_DUPLICATE). Removing what is absent is no error.
 * The update and the item were checked before, and the item has not been advanced (wire_item_next). On error nothing is appended.
 * Errors:   WIRE_E_DUPLICATE, WIRE_E_SHORT_BUFFER, WIRE_E_TOO_LARGE (more than WIRE_ACTIONS_MAX actions, or than WIRE_ATTRIBUTES_MAX attributes), decoding errors.
 */
int wire_update_eval(struct wire_span update, const struct wire_item *item, uint32_t schema_version,
                     struct wire_writer *w);

#endif
