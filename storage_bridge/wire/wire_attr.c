/*
 * Attribute values; the format is drawn in wire_attr.h.
 *
 * Happy path: wire_attr_view takes a value apart one level deep, wire_attr_read also walks everything below it. A
 * container is written by putting its members down first and slipping count and size in front of them at the end.
 * Failure: a decoder reports the first fault and sets r->failed; a writer fails stickily or, where a code is returned,
 * takes back what it began. Recursion is bounded by WIRE_NESTING_MAX, also on bytes that were never checked.
 */
#include "wire_attr.h"

static bool is_set(enum wire_type type)
{
    return type == WIRE_STRING_SET || type == WIRE_NUMBER_SET || type == WIRE_BINARY_SET;
}

static int view_container(struct wire_reader *r, struct wire_attr *out)
{
    struct wire_span body = wire_read_span(r);
    uint64_t count;

    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    out->body = wire_reader_of(body.data, body.size);
    count = wire_read_varint(&out->body);
    /* Each member takes a byte at least. */
    if (out->body.failed || count > wire_reader_left(&out->body) || count > UINT32_MAX)
        return WIRE_E_BAD_FORMAT;
    if (count == 0 && (is_set(out->type) || wire_reader_left(&out->body) > 0))
        return WIRE_E_BAD_FORMAT;
    out->count = (uint32_t) count;
    return WIRE_OK;
}

static int view_boolean(struct wire_reader *r, struct wire_attr *out)
{
    uint8_t byte = wire_read_u8(r);

    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    out->boolean = byte == 1;
    return byte <= 1 ? WIRE_OK : WIRE_E_BAD_FORMAT;
}

static int view_payload(struct wire_reader *r, struct wire_attr *out)
{
    switch (out->type) {
    case WIRE_NULL:
        return WIRE_OK;
    case WIRE_BOOLEAN:
        return view_boolean(r, out);
    case WIRE_NUMBER:
        return wire_number_read(r, &out->number);
    case WIRE_STRING:
    case WIRE_BINARY:
    case WIRE_OPAQUE:
        out->bytes = wire_read_span(r);
        return r->failed ? WIRE_E_SHORT_INPUT : WIRE_OK;
    case WIRE_LIST:
    case WIRE_MAP:
    case WIRE_STRING_SET:
    case WIRE_NUMBER_SET:
    case WIRE_BINARY_SET:
        return view_container(r, out);
    default:
        return WIRE_E_BAD_FORMAT;
    }
}

int wire_attr_view(struct wire_reader *r, struct wire_attr *out)
{
    size_t start = r->position;
    uint8_t type = wire_read_u8(r);
    int code = WIRE_E_SHORT_INPUT;

    *out = (struct wire_attr){.type = (enum wire_type) type};
    if (!r->failed)
        code = view_payload(r, out);
    if (code != WIRE_OK) {
        r->failed = true;
        return code;
    }
    out->encoded = (struct wire_span){r->data + start, r->position - start};
    return WIRE_OK;
}

static int check_value(struct wire_reader *r, unsigned enclosing, struct wire_attr *out);

/* Members of a list or map that lies in `enclosing` others. */
static int check_nested(struct wire_reader *body, bool named, uint32_t count, unsigned enclosing)
{
    struct wire_span last = {NULL, 0};
    struct wire_attr member;

    if (enclosing >= WIRE_NESTING_MAX)
        return WIRE_E_NESTING;
    for (uint32_t i = 0; i < count; i++) {
        int code;

        if (named) {
            struct wire_span name = wire_read_span(body);

            if (!body->failed && i > 0 && wire_name_compare(last, name) >= 0)
                return WIRE_E_ORDER;
            last = name;
        }
        code = check_value(body, enclosing + 1, &member);
        if (code != WIRE_OK)
            return code;
    }
    return WIRE_OK;
}

static int check_spans(struct wire_reader *body, uint32_t count)
{
    struct wire_span last = {NULL, 0};

    for (uint32_t i = 0; i < count; i++) {
        struct wire_span member = wire_read_span(body);

        if (body->failed)
            return WIRE_E_SHORT_INPUT;
        if (i > 0 && wire_span_compare(last, member) >= 0)
            return WIRE_E_ORDER;
        last = member;
    }
    return WIRE_OK;
}

static int check_numbers(struct wire_reader *body, uint32_t count)
{
    struct wire_number last, member;

    for (uint32_t i = 0; i < count; i++) {
        int code = wire_number_read(body, &member);

        if (code != WIRE_OK)
            return code;
        if (i > 0 && wire_number_compare(&last, &member) >= 0)
            return WIRE_E_ORDER;
        last = member;
    }
    return WIRE_OK;
}

static int check_members(const struct wire_attr *attr, unsigned enclosing)
{
    struct wire_reader body = attr->body;
    int code;

    switch (attr->type) {
    case WIRE_LIST:
    case WIRE_MAP:
        code = check_nested(&body, attr->type == WIRE_MAP, attr->count, enclosing);
        break;
    case WIRE_STRING_SET:
    case WIRE_BINARY_SET:
        code = check_spans(&body, attr->count);
        break;
    case WIRE_NUMBER_SET:
        code = check_numbers(&body, attr->count);
        break;
    default:
        return WIRE_OK;
    }
    if (code == WIRE_OK && body.position != body.size)
        return WIRE_E_BAD_FORMAT;
    return code;
}

static int check_value(struct wire_reader *r, unsigned enclosing, struct wire_attr *out)
{
    int code = wire_attr_view(r, out);

    if (code == WIRE_OK)
        code = check_members(out, enclosing);
    if (code != WIRE_OK)
        r->failed = true;
    return code;
}

int wire_attr_read(struct wire_reader *r, struct wire_attr *out)
{
    return check_value(r, 0, out);
}

/* The end is told by the body, not the count, so that it holds however often it is asked. */
static bool at_end(const struct wire_attr *attr)
{
    return !attr->body.failed && attr->body.position == attr->body.size;
}

int wire_attr_next_element(struct wire_attr *list, struct wire_attr *out)
{
    if (list->type != WIRE_LIST)
        return WIRE_E_TYPE;
    return at_end(list) ? WIRE_E_NOT_FOUND : wire_attr_view(&list->body, out);
}

int wire_attr_next_entry(struct wire_attr *map, struct wire_span *name, struct wire_attr *out)
{
    if (map->type != WIRE_MAP)
        return WIRE_E_TYPE;
    if (at_end(map))
        return WIRE_E_NOT_FOUND;
    *name = wire_read_span(&map->body);
    return wire_attr_view(&map->body, out);
}

int wire_attr_next_bytes(struct wire_attr *set, struct wire_span *out)
{
    if (set->type != WIRE_STRING_SET && set->type != WIRE_BINARY_SET)
        return WIRE_E_TYPE;
    if (at_end(set))
        return WIRE_E_NOT_FOUND;
    *out = wire_read_span(&set->body);
    return set->body.failed ? WIRE_E_SHORT_INPUT : WIRE_OK;
}

int wire_attr_next_number(struct wire_attr *set, struct wire_number *out)
{
    if (set->type != WIRE_NUMBER_SET)
        return WIRE_E_TYPE;
    return at_end(set) ? WIRE_E_NOT_FOUND : wire_number_read(&set->body, out);
}

int wire_name_compare(struct wire_span a, struct wire_span b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size ? memcmp(a.data, b.data, a.size) : 0;
}

static bool spans_equal(struct wire_span a, struct wire_span b)
{
    return wire_name_compare(a, b) == 0;
}

static bool equal_at(const struct wire_attr *a, const struct wire_attr *b, unsigned enclosing);

/* The next pair of members, of two containers of one type. */
static bool equal_next(struct wire_attr *a, struct wire_attr *b, unsigned enclosing)
{
    struct wire_span name_a = {NULL, 0}, name_b = {NULL, 0};
    struct wire_attr value_a, value_b;

    if (a->type == WIRE_NUMBER_SET) {
        struct wire_number number_a, number_b;

        return wire_attr_next_number(a, &number_a) == WIRE_OK && wire_attr_next_number(b, &number_b) == WIRE_OK &&
               wire_number_compare(&number_a, &number_b) == 0;
    }
    if (a->type == WIRE_LIST) {
        if (wire_attr_next_element(a, &value_a) != WIRE_OK || wire_attr_next_element(b, &value_b) != WIRE_OK)
            return false;
    } else if (wire_attr_next_entry(a, &name_a, &value_a) != WIRE_OK ||
               wire_attr_next_entry(b, &name_b, &value_b) != WIRE_OK)
        return false;
    return spans_equal(name_a, name_b) && equal_at(&value_a, &value_b, enclosing);
}

/* Both are canonical but for the scale of numbers, so members pair up in order and only numbers need more than their
 * bytes. */
static bool equal_members(struct wire_attr a, struct wire_attr b, unsigned enclosing)
{
    if (a.count != b.count || enclosing >= WIRE_NESTING_MAX)
        return false;
    while (!at_end(&a)) {
        if (!equal_next(&a, &b, enclosing + 1))
            return false;
    }
    return at_end(&b);
}

static bool equal_at(const struct wire_attr *a, const struct wire_attr *b, unsigned enclosing)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case WIRE_NUMBER:
        return wire_number_compare(&a->number, &b->number) == 0;
    case WIRE_LIST:
    case WIRE_MAP:
    case WIRE_NUMBER_SET:
        return equal_members(*a, *b, enclosing);
    default:
        return spans_equal(a->encoded, b->encoded);
    }
}

bool wire_attr_equal(const struct wire_attr *a, const struct wire_attr *b)
{
    return equal_at(a, b, 0);
}

static size_t number_size(const struct wire_number *number)
{
    uint8_t digits[20]; /* every int64 */
    uint32_t count = 0;
    int32_t exponent;
    bool negative = number->form == WIRE_NUMBER_NEGATIVE;

    if (number->form == WIRE_NUMBER_INTEGER)
        (void) wire_number_digits(number, digits, sizeof(digits), &count, &exponent, &negative);
    else if (number->form == WIRE_NUMBER_POSITIVE || number->form == WIRE_NUMBER_NEGATIVE)
        count = number->digit_count;
    return ((size_t) count + 1) / 2 + 1 + (negative ? 1 : 0);
}

static size_t counted_at(const struct wire_attr *attr, unsigned enclosing);

static size_t counted_set(struct wire_attr set)
{
    struct wire_number number;
    struct wire_span bytes;
    size_t size = 0;

    if (set.type == WIRE_NUMBER_SET) {
        while (wire_attr_next_number(&set, &number) == WIRE_OK)
            size += number_size(&number);
    } else {
        while (wire_attr_next_bytes(&set, &bytes) == WIRE_OK)
            size += bytes.size;
    }
    return size;
}

static size_t counted_nested(struct wire_attr attr, unsigned enclosing)
{
    struct wire_span name = {NULL, 0};
    struct wire_attr member;
    size_t size = 3;

    if (enclosing >= WIRE_NESTING_MAX)
        return attr.encoded.size;
    if (attr.type == WIRE_LIST) {
        while (wire_attr_next_element(&attr, &member) == WIRE_OK)
            size += 1 + counted_at(&member, enclosing + 1);
    } else {
        while (wire_attr_next_entry(&attr, &name, &member) == WIRE_OK)
            size += 1 + name.size + counted_at(&member, enclosing + 1);
    }
    return size;
}

static size_t counted_at(const struct wire_attr *attr, unsigned enclosing)
{
    switch (attr->type) {
    case WIRE_NUMBER:
        return number_size(&attr->number);
    case WIRE_STRING:
    case WIRE_BINARY:
    case WIRE_OPAQUE:
        return attr->bytes.size;
    case WIRE_LIST:
    case WIRE_MAP:
        return counted_nested(*attr, enclosing);
    case WIRE_STRING_SET:
    case WIRE_NUMBER_SET:
    case WIRE_BINARY_SET:
        return counted_set(*attr);
    default:
        return 1;
    }
}

size_t wire_attr_counted_size(const struct wire_attr *attr)
{
    return counted_at(attr, 0);
}

void wire_attr_write_null(struct wire_writer *w)
{
    wire_write_u8(w, WIRE_NULL);
}

void wire_attr_write_boolean(struct wire_writer *w, bool value)
{
    wire_write_u8(w, WIRE_BOOLEAN);
    wire_write_u8(w, value ? 1 : 0);
}

void wire_attr_write_integer(struct wire_writer *w, int64_t value)
{
    wire_write_u8(w, WIRE_NUMBER);
    wire_number_write_integer(w, value);
}

int wire_attr_write_number(struct wire_writer *w, const char *text, size_t size)
{
    size_t start = w->size;
    int code;

    wire_write_u8(w, WIRE_NUMBER);
    code = wire_number_write_text(w, text, size);
    if (code != WIRE_OK)
        w->size = start;
    return code;
}

void wire_attr_write_bytes(struct wire_writer *w, enum wire_type type, const void *data, size_t size)
{
    if (type != WIRE_STRING && type != WIRE_BINARY && type != WIRE_OPAQUE) {
        w->failed = true;
        return;
    }
    wire_write_u8(w, type);
    wire_write_span(w, data, size);
}

struct wire_container wire_attr_begin(struct wire_writer *w, enum wire_type type)
{
    struct wire_container container = {.start = w->size};

    wire_write_u8(w, type);
    return container;
}

void wire_attr_end(struct wire_writer *w, struct wire_container container, uint32_t count)
{
    uint8_t room[20]; /* two varints */
    struct wire_writer head = wire_writer_of(room, sizeof(room));
    struct wire_writer measure = wire_writer_of(NULL, 0);
    size_t body = container.start + 1;

    if (w->failed)
        return;
    wire_write_varint(&measure, count);
    wire_write_varint(&head, measure.size + (w->size - body));
    wire_write_varint(&head, count);
    wire_write_insert(w, body, room, head.size);
}

/* Of a set's members, which are good numbers when the set is one of numbers. */
static int member_compare(enum wire_type type, struct wire_span a, struct wire_span b)
{
    struct wire_reader reader_a = wire_reader_of(a.data, a.size);
    struct wire_reader reader_b = wire_reader_of(b.data, b.size);
    struct wire_number number_a, number_b;

    if (type != WIRE_NUMBER_SET)
        return wire_span_compare(a, b);
    (void) wire_number_read(&reader_a, &number_a);
    (void) wire_number_read(&reader_b, &number_b);
    return wire_number_compare(&number_a, &number_b);
}

static void sift(enum wire_type type, struct wire_span *members, uint32_t root, uint32_t count)
{
    struct wire_span sinking = members[root];

    while (root < count / 2) {
        uint32_t child = 2 * root + 1;

        if (child + 1 < count && member_compare(type, members[child], members[child + 1]) < 0)
            child++;
        if (member_compare(type, sinking, members[child]) >= 0)
            break;
        members[root] = members[child];
        root = child;
    }
    members[root] = sinking;
}

/* Heap sort, because qsort may allocate and a set may have 100,000 members in the worst order. */
static void sort_members(enum wire_type type, struct wire_span *members, uint32_t count)
{
    for (uint32_t root = count / 2; root-- > 0;)
        sift(type, members, root, count);
    for (uint32_t last = count; last-- > 1;) {
        struct wire_span greatest = members[0];

        members[0] = members[last];
        members[last] = greatest;
        sift(type, members, 0, last);
    }
}

static int prepare_members(enum wire_type type, struct wire_span *members, uint32_t count)
{
    if (!is_set(type) || count == 0)
        return WIRE_E_BAD_FORMAT;
    for (uint32_t i = 0; type == WIRE_NUMBER_SET && i < count; i++) {
        struct wire_reader r = wire_reader_of(members[i].data, members[i].size);
        struct wire_number number;

        if (wire_number_read(&r, &number) != WIRE_OK || wire_reader_finish(&r) != WIRE_OK)
            return WIRE_E_BAD_FORMAT;
    }
    sort_members(type, members, count);
    for (uint32_t i = 1; i < count; i++) {
        if (member_compare(type, members[i - 1], members[i]) == 0)
            return WIRE_E_DUPLICATE;
    }
    return WIRE_OK;
}

int wire_attr_write_set(struct wire_writer *w, enum wire_type type, struct wire_span *members, uint32_t count)
{
    struct wire_container container;
    int code = prepare_members(type, members, count);

    if (code != WIRE_OK)
        return code;
    container = wire_attr_begin(w, type);
    for (uint32_t i = 0; i < count; i++) {
        if (type == WIRE_NUMBER_SET)
            wire_write_bytes(w, members[i].data, members[i].size);
        else
            wire_write_span(w, members[i].data, members[i].size);
    }
    wire_attr_end(w, container, count);
    if (w->failed)
        w->size = container.start;
    return wire_writer_finish(w);
}
