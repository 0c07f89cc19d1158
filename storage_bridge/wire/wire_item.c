/*
 * Items; the format is drawn in wire_item.h.
 *
 * Happy path of a read: verify the checksum, step over the declared attributes to find where the named ones begin, then
 * look for single attributes in their order and stop at the first that lies behind. Of a write: attributes as they
 * come, counts slipped in and checksum set at the end. Failure: a damaged item fails its checksum; what a checksum
 * cannot tell (bytes that were wrong when they were sealed) is found by wire_item_check, or ends a walk with a decoding
 * error, never beyond the item's bytes.
 */
#include "wire_item.h"

#include "wire_checksum.h"

#define FLAGS_AT 1
#define CHECKSUM_AT 4
#define VERSION_AT 8
#define SEALED_AT 16 /* the checksum covers what follows */

/* wire_attr_read or wire_attr_view. */
#define VALUE_READER(name) int (*name)(struct wire_reader *, struct wire_attr *)

static uint32_t item_checksum(const uint8_t *item, size_t size)
{
    return wire_checksum(item + SEALED_AT, size - SEALED_AT, (uint64_t) item[0] << 8 | item[FLAGS_AT]);
}

/* The value of the declared attribute whose number was just read. */
static inline int value_behind(struct wire_reader *r, uint64_t number, struct wire_attr_ref *ref, struct wire_attr *out,
                               VALUE_READER(value))
{
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (number == 0 || number > UINT32_MAX) {
        r->failed = true;
        return WIRE_E_BAD_FORMAT;
    }
    *ref = (struct wire_attr_ref){.number = (uint32_t) number};
    return value(r, out);
}

static inline int next_declared(struct wire_reader *r, struct wire_attr_ref *ref, struct wire_attr *out,
                                VALUE_READER(value))
{
    return value_behind(r, wire_read_varint(r), ref, out, value);
}

static inline int next_named(struct wire_reader *r, struct wire_attr_ref *ref, struct wire_attr *out,
                             VALUE_READER(value))
{
    *ref = (struct wire_attr_ref){.name = wire_read_span(r)};
    return value(r, out);
}

static int open_header(struct wire_reader *r, struct wire_item *out)
{
    uint8_t format = wire_read_u8(r);
    uint16_t reserved;
    uint32_t checksum;

    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (format != WIRE_ITEM_FORMAT)
        return format > WIRE_ITEM_FORMAT ? WIRE_E_BAD_VERSION : WIRE_E_BAD_FORMAT;
    out->flags = wire_read_u8(r);
    reserved = wire_read_u16(r);
    checksum = wire_read_u32(r);
    out->version = wire_read_u64(r);
    out->schema_version = wire_read_u32(r);
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (checksum != item_checksum(r->data, r->size))
        return WIRE_E_BAD_CHECKSUM;
    return reserved != 0 || (out->flags & ~WIRE_ITEM_DELETED) != 0 ? WIRE_E_BAD_FORMAT : WIRE_OK;
}

/* As next_declared, over it: values that are plain bytes need not be taken apart. */
static int skip_declared(struct wire_reader *r)
{
    uint64_t number = wire_read_varint(r);
    struct wire_attr_ref ref;
    struct wire_attr attr;
    uint8_t type;

    if (!r->failed && number > 0 && number <= UINT32_MAX && wire_reader_left(r) > 0) {
        type = r->data[r->position];
        if (type == WIRE_STRING || type == WIRE_BINARY || type == WIRE_OPAQUE) {
            r->position++;
            (void) wire_read_span(r);
            return r->failed ? WIRE_E_SHORT_INPUT : WIRE_OK;
        }
    }
    return value_behind(r, number, &ref, &attr, wire_attr_view);
}

static int locate_declared(struct wire_reader *r, struct wire_item *out)
{
    uint64_t count = wire_read_varint(r);
    size_t start = r->position;

    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (count > WIRE_ATTRIBUTES_MAX)
        return WIRE_E_BAD_FORMAT;
    for (uint64_t i = 0; i < count; i++) {
        int code = skip_declared(r);

        if (code != WIRE_OK)
            return code;
    }
    out->declared_count = (uint32_t) count;
    out->declared = wire_reader_of(r->data + start, r->position - start);
    return WIRE_OK;
}

static int locate_named(struct wire_reader *r, struct wire_item *out)
{
    uint64_t count = wire_read_varint(r);
    size_t left = wire_reader_left(r);

    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (count > WIRE_ATTRIBUTES_MAX - out->declared_count || (count == 0 && left > 0))
        return WIRE_E_BAD_FORMAT;
    if (count > left / 2) /* a name's length and a type at least */
        return WIRE_E_SHORT_INPUT;
    out->named_count = (uint32_t) count;
    out->named = wire_reader_of(r->data + r->position, left);
    return WIRE_OK;
}

int wire_item_verify(const void *data, size_t size)
{
    struct wire_reader r = wire_reader_of(data, size);
    struct wire_item item;

    return open_header(&r, &item);
}

int wire_item_open(const void *data, size_t size, struct wire_item *out)
{
    struct wire_reader r = wire_reader_of(data, size);
    int code;

    *out = (struct wire_item){.encoded = {data, size}};
    code = open_header(&r, out);
    if (code == WIRE_OK)
        code = locate_declared(&r, out);
    if (code == WIRE_OK)
        code = locate_named(&r, out);
    if (code == WIRE_OK && (out->flags & WIRE_ITEM_DELETED) && out->declared_count + out->named_count > 0)
        code = WIRE_E_BAD_FORMAT;
    return code;
}

static int check_declared(struct wire_reader r)
{
    uint32_t last = 0;

    while (r.position < r.size) {
        struct wire_attr_ref ref;
        struct wire_attr attr;
        int code = next_declared(&r, &ref, &attr, wire_attr_read);

        if (code != WIRE_OK)
            return code;
        if (ref.number <= last)
            return WIRE_E_ORDER;
        last = ref.number;
    }
    return WIRE_OK;
}

static int check_named(struct wire_reader r, uint32_t count)
{
    struct wire_span last = {NULL, 0};

    for (uint32_t i = 0; i < count; i++) {
        struct wire_attr_ref ref;
        struct wire_attr attr;
        int code = next_named(&r, &ref, &attr, wire_attr_read);

        if (code != WIRE_OK)
            return code;
        if (i > 0 && wire_name_compare(last, ref.name) >= 0)
            return WIRE_E_ORDER;
        last = ref.name;
    }
    return wire_reader_finish(&r);
}

int wire_item_check(const void *data, size_t size)
{
    struct wire_item item;
    int code = wire_item_open(data, size, &item);

    if (code == WIRE_OK)
        code = check_declared(item.declared);
    if (code == WIRE_OK)
        code = check_named(item.named, item.named_count);
    return code;
}

uint64_t wire_item_version(const void *data)
{
    struct wire_reader r = wire_reader_of((const uint8_t *) data + VERSION_AT, 8);

    return wire_read_u64(&r);
}

void wire_item_set_version(void *data, uint64_t version)
{
    struct wire_writer w = wire_writer_of((uint8_t *) data + VERSION_AT, 8);

    wire_write_u64(&w, version);
}

int wire_item_next(struct wire_item *item, struct wire_attr_ref *ref, struct wire_attr *out)
{
    int code;

    if (item->declared_count > 0) {
        code = next_declared(&item->declared, ref, out, wire_attr_view);
        item->declared_count -= code == WIRE_OK;
        return code;
    }
    if (item->named_count > 0) {
        code = next_named(&item->named, ref, out, wire_attr_view);
        item->named_count -= code == WIRE_OK;
        return code;
    }
    return WIRE_E_NOT_FOUND;
}

/* From the first pair, however far `r` has come. */
static struct wire_reader rewound(const struct wire_reader *r)
{
    return wire_reader_of(r->data, r->size);
}

static int find_declared(struct wire_reader r, uint32_t number, struct wire_attr *out)
{
    while (r.position < r.size) {
        struct wire_attr_ref ref;
        int code = next_declared(&r, &ref, out, wire_attr_view);

        if (code != WIRE_OK || ref.number == number)
            return code;
        if (ref.number > number)
            break;
    }
    return WIRE_E_NOT_FOUND;
}

static int find_named(struct wire_reader r, struct wire_span name, struct wire_attr *out)
{
    while (r.position < r.size) {
        struct wire_attr_ref ref;
        int code = next_named(&r, &ref, out, wire_attr_view);
        int order = code == WIRE_OK ? wire_name_compare(ref.name, name) : 0;

        if (order == 0)
            return code;
        if (order > 0)
            break;
    }
    return WIRE_E_NOT_FOUND;
}

int wire_item_find(const struct wire_item *item, struct wire_attr_ref ref, struct wire_attr *out)
{
    if (ref.number > 0)
        return find_declared(rewound(&item->declared), ref.number, out);
    return find_named(rewound(&item->named), ref.name, out);
}

void wire_item_begin(struct wire_item_builder *b, struct wire_writer *w, uint8_t flags, uint64_t version,
                     uint32_t schema_version)
{
    *b = (struct wire_item_builder){.w = w, .start = w->size, .deleted = (flags & WIRE_ITEM_DELETED) != 0};
    wire_write_u8(w, WIRE_ITEM_FORMAT);
    wire_write_u8(w, flags);
    wire_write_u16(w, 0);
    wire_write_u32(w, 0); /* the checksum, set by the end */
    wire_write_u64(w, version);
    wire_write_u32(w, schema_version);
}

void wire_item_add_declared(struct wire_item_builder *b, uint32_t number)
{
    if (b->named_count > 0 || number <= b->last_number)
        b->disordered = true;
    b->last_number = number;
    b->declared_count++;
    wire_write_varint(b->w, number);
}

void wire_item_add_named(struct wire_item_builder *b, struct wire_span name)
{
    struct wire_writer *w = b->w;

    if (b->named_count == 0)
        b->named_start = w->size;
    else if (w->data && !w->failed) {
        struct wire_span last = {w->data + b->last_name_at, b->last_name_size};

        b->disordered |= wire_name_compare(last, name) >= 0;
    }
    b->named_count++;
    wire_write_varint(w, name.size);
    b->last_name_at = w->size;
    b->last_name_size = name.size;
    wire_write_bytes(w, name.data, name.size);
}

static void insert_count(struct wire_writer *w, size_t at, uint32_t count)
{
    uint8_t room[10];
    struct wire_writer varint = wire_writer_of(room, sizeof(room));

    wire_write_varint(&varint, count);
    wire_write_insert(w, at, room, varint.size);
}

static int builder_result(const struct wire_item_builder *b)
{
    if (b->disordered)
        return WIRE_E_ORDER;
    if (b->declared_count > WIRE_ATTRIBUTES_MAX || b->named_count > WIRE_ATTRIBUTES_MAX - b->declared_count)
        return WIRE_E_TOO_LARGE;
    if (b->deleted && b->declared_count + b->named_count > 0)
        return WIRE_E_BAD_FORMAT;
    return wire_writer_finish(b->w);
}

int wire_item_end(struct wire_item_builder *b)
{
    struct wire_writer *w = b->w;
    int code;

    if (b->named_count == 0)
        b->named_start = w->size;
    insert_count(w, b->named_start, b->named_count);
    insert_count(w, b->start + WIRE_ITEM_HEADER_SIZE, b->declared_count);
    code = builder_result(b);
    if (code != WIRE_OK)
        w->size = b->start;
    else if (w->data) {
        uint8_t *item = w->data + b->start;
        struct wire_writer checksum = wire_writer_of(item + CHECKSUM_AT, 4);

        wire_write_u32(&checksum, item_checksum(item, w->size - b->start));
    }
    return code;
}

int wire_item_counted_size(const struct wire_item *item, size_t *size)
{
    struct wire_reader declared = rewound(&item->declared), named = rewound(&item->named);
    struct wire_attr_ref ref;
    struct wire_attr attr;
    size_t sum = 0;

    while (declared.position < declared.size) {
        int code = next_declared(&declared, &ref, &attr, wire_attr_view);

        if (code != WIRE_OK)
            return code;
        sum += wire_attr_counted_size(&attr);
    }
    while (named.position < named.size) {
        int code = next_named(&named, &ref, &attr, wire_attr_view);

        if (code != WIRE_OK)
            return code;
        sum += ref.name.size + wire_attr_counted_size(&attr);
    }
    *size = sum;
    return WIRE_OK;
}
