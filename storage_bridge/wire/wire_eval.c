/*
 * Conditions and updates; the format is drawn in wire_eval.h.
 *
 * Happy path: a condition is walked clause by clause, each looked up in the item. An update's actions, which come in
 * any order, are put in item order and merged with the item's attributes into a new item. Failure: a malformed clause
 * or action ends the walk with a decoding error; an update that fails takes back what it wrote.
 */
#include "wire_eval.h"

/* wire_attr_read or wire_attr_view. */
#define VALUE_READER(name) int (*name)(struct wire_reader *, struct wire_attr *)

struct clause {
    uint8_t operator;
    struct wire_target target;
    struct wire_attr value; /* EQUALS */
};

struct action {
    struct wire_attr_ref ref;
    struct wire_span value; /* empty: remove */
};

/* 42 kB of stack, touched as far as there are actions. */
struct plan {
    uint32_t count;
    uint16_t order[WIRE_ACTIONS_MAX]; /* actions in item order */
    struct action actions[WIRE_ACTIONS_MAX];
};

static void write_target(struct wire_writer *w, struct wire_target target)
{
    wire_write_u8(w, target.kind);
    if (target.kind == WIRE_TARGET_DECLARED)
        wire_write_varint(w, target.ref.number);
    else if (target.kind == WIRE_TARGET_NAMED)
        wire_write_span(w, target.ref.name.data, target.ref.name.size);
}

void wire_clause_write(struct wire_writer *w, enum wire_condition_operator op, struct wire_target target,
                       struct wire_span value)
{
    wire_write_u8(w, op);
    write_target(w, target);
    wire_write_bytes(w, value.data, value.size);
}

void wire_action_write(struct wire_writer *w, enum wire_update_kind kind, struct wire_target target,
                       struct wire_span value)
{
    wire_write_u8(w, kind);
    write_target(w, target);
    wire_write_bytes(w, value.data, value.size);
}

static int read_target(struct wire_reader *r, struct wire_target *out)
{
    uint8_t kind = wire_read_u8(r);
    uint64_t number;

    *out = (struct wire_target){.kind = (enum wire_target_kind) kind};
    if (kind > WIRE_TARGET_NAMED)
        return WIRE_E_BAD_FORMAT;
    if (kind == WIRE_TARGET_DECLARED) {
        number = wire_read_varint(r);
        if (!r->failed && (number == 0 || number > UINT32_MAX))
            return WIRE_E_BAD_FORMAT;
        out->ref.number = (uint32_t) number;
    } else if (kind == WIRE_TARGET_NAMED)
        out->ref.name = wire_read_span(r);
    return r->failed ? WIRE_E_SHORT_INPUT : WIRE_OK;
}

static int read_clause(struct wire_reader *r, struct clause *out, VALUE_READER(value))
{
    bool item;
    int code;

    out->operator= wire_read_u8(r);
    code = read_target(r, &out->target);
    if (code != WIRE_OK)
        return code;
    item = out->target.kind == WIRE_TARGET_ITEM;
    switch (out->operator) {
    case WIRE_CONDITION_EXISTS:
    case WIRE_CONDITION_NOT_EXISTS:
        return WIRE_OK;
    case WIRE_CONDITION_EQUALS:
        return item ? WIRE_E_BAD_FORMAT : value(r, &out->value);
    case WIRE_CONDITION_FALSE:
        return item ? WIRE_OK : WIRE_E_BAD_FORMAT;
    default:
        return WIRE_E_BAD_FORMAT;
    }
}

static int read_action(struct wire_reader *r, struct action *out, VALUE_READER(value))
{
    uint8_t kind = wire_read_u8(r);
    struct wire_target target;
    struct wire_attr attr;
    int code = read_target(r, &target);

    if (code != WIRE_OK)
        return code;
    if (target.kind == WIRE_TARGET_ITEM || (kind != WIRE_UPDATE_SET && kind != WIRE_UPDATE_REMOVE))
        return WIRE_E_BAD_FORMAT;
    *out = (struct action){.ref = target.ref};
    if (kind == WIRE_UPDATE_SET) {
        code = value(r, &attr);
        out->value = attr.encoded;
    }
    return code;
}

/* How many follow; each takes two bytes at least. */
static int read_count(struct wire_reader *r, uint64_t *count)
{
    *count = wire_read_varint(r);
    return r->failed || *count > wire_reader_left(r) / 2 ? WIRE_E_SHORT_INPUT : WIRE_OK;
}

static int read_action_count(struct wire_reader *r, uint64_t *count)
{
    int code = read_count(r, count);

    return code == WIRE_OK && *count > WIRE_ACTIONS_MAX ? WIRE_E_TOO_LARGE : code;
}

int wire_condition_check(struct wire_span condition)
{
    struct wire_reader r = wire_reader_of(condition.data, condition.size);
    struct clause clause;
    uint64_t count;
    int code;

    if (condition.size == 0)
        return WIRE_OK;
    code = read_count(&r, &count);
    for (uint64_t i = 0; code == WIRE_OK && i < count; i++)
        code = read_clause(&r, &clause, wire_attr_read);
    return code == WIRE_OK ? wire_reader_finish(&r) : code;
}

int wire_update_check(struct wire_span update)
{
    struct wire_reader r = wire_reader_of(update.data, update.size);
    struct action action;
    uint64_t count;
    int code = read_action_count(&r, &count);

    for (uint64_t i = 0; code == WIRE_OK && i < count; i++)
        code = read_action(&r, &action, wire_attr_read);
    return code == WIRE_OK ? wire_reader_finish(&r) : code;
}

static const struct wire_item *existing(const struct wire_item *item)
{
    return item && !(item->flags & WIRE_ITEM_DELETED) ? item : NULL;
}

static int eval_clause(const struct clause *clause, const struct wire_item *item)
{
    bool met = item != NULL;
    struct wire_attr attr;

    if (clause->operator== WIRE_CONDITION_FALSE)
        return WIRE_E_CONDITION;
    if (item && clause->target.kind != WIRE_TARGET_ITEM) {
        int code = wire_item_find(item, clause->target.ref, &attr);

        if (code != WIRE_OK && code != WIRE_E_NOT_FOUND)
            return code;
        met = code == WIRE_OK;
    }
    if (clause->operator== WIRE_CONDITION_NOT_EXISTS)
        met = !met;
    else if (clause->operator== WIRE_CONDITION_EQUALS)
        met = met && wire_attr_equal(&attr, &clause->value);
    return met ? WIRE_OK : WIRE_E_CONDITION;
}

int wire_condition_eval(struct wire_span condition, const struct wire_item *item)
{
    struct wire_reader r = wire_reader_of(condition.data, condition.size);
    struct clause clause;
    uint64_t count;
    int code;

    if (condition.size == 0)
        return WIRE_OK;
    code = read_count(&r, &count);
    for (uint64_t i = 0; code == WIRE_OK && i < count; i++) {
        code = read_clause(&r, &clause, wire_attr_view);
        if (code == WIRE_OK)
            code = eval_clause(&clause, existing(item));
    }
    return code;
}

/* Item order: declared attributes by number, then named ones by name. */
static int ref_compare(const struct wire_attr_ref *a, const struct wire_attr_ref *b)
{
    if (a->number != b->number) {
        if (a->number == 0 || b->number == 0)
            return a->number == 0 ? 1 : -1;
        return a->number < b->number ? -1 : 1;
    }
    return a->number > 0 ? 0 : wire_name_compare(a->name, b->name);
}

/* Find the place of the action behind the last and put it there. */
static int plan_insert(struct plan *plan)
{
    uint32_t low = 0, high = plan->count;
    const struct action *action = &plan->actions[plan->count];

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = ref_compare(&plan->actions[plan->order[middle]].ref, &action->ref);

        if (order == 0)
            return WIRE_E_DUPLICATE;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(&plan->order[low + 1], &plan->order[low], (plan->count - low) * sizeof(plan->order[0]));
    plan->order[low] = (uint16_t) plan->count++;
    return WIRE_OK;
}

static int plan_read(struct wire_span update, struct plan *plan)
{
    struct wire_reader r = wire_reader_of(update.data, update.size);
    uint64_t count;
    int code = read_action_count(&r, &count);

    plan->count = 0;
    for (uint64_t i = 0; code == WIRE_OK && i < count; i++) {
        code = read_action(&r, &plan->actions[plan->count], wire_attr_view);
        if (code == WIRE_OK)
            code = plan_insert(plan);
    }
    return code;
}

static void add_attribute(struct wire_item_builder *b, const struct wire_attr_ref *ref, struct wire_span value)
{
    if (value.size == 0)
        return;
    if (ref->number > 0)
        wire_item_add_declared(b, ref->number);
    else
        wire_item_add_named(b, ref->name);
    wire_write_bytes(b->w, value.data, value.size);
}

/* Both sides ascend in item order; of a tie the action stands. */
static int merge(const struct plan *plan, struct wire_item *rest, struct wire_item_builder *b)
{
    struct wire_attr_ref ref;
    struct wire_attr attr;
    uint32_t at = 0;
    int code = wire_item_next(rest, &ref, &attr);

    while (code == WIRE_OK || (code == WIRE_E_NOT_FOUND && at < plan->count)) {
        const struct action *action = at < plan->count ? &plan->actions[plan->order[at]] : NULL;
        int order = code != WIRE_OK ? 1 : !action ? -1 : ref_compare(&ref, &action->ref);

        if (order < 0)
            add_attribute(b, &ref, attr.encoded);
        else {
            add_attribute(b, &action->ref, action->value);
            at++;
        }
        if (order <= 0)
            code = wire_item_next(rest, &ref, &attr);
    }
    return code == WIRE_E_NOT_FOUND ? WIRE_OK : code;
}

int wire_update_eval(struct wire_span update, const struct wire_item *item, uint32_t schema_version,
                     struct wire_writer *w)
{
    struct wire_item rest = {.flags = 0}; /* nothing */
    struct wire_item_builder b;
    struct plan plan;
    int code = plan_read(update, &plan);

    if (code != WIRE_OK)
        return code;
    if (existing(item))
        rest = *item;
    wire_item_begin(&b, w, 0, WIRE_VERSION_NONE, schema_version);
    code = merge(&plan, &rest, &b);
    if (code != WIRE_OK) {
        w->size = b.start;
        return code;
    }
    return wire_item_end(&b);
}
