/*
 * Requests and replies: headers, and the operations of a WRITE.
 *
 * Happy path: the asker writes a header and its body behind it; the other side opens the header and reads the body with
 * the readers of its parts. Failure: a header that does not follow its format is refused before anything of it is used;
 * a later format is told apart from damage. Nothing here knows whether a request makes sense: who serves the operation
 * judges that.
 */
#include "wire_request.h"

#define REQUEST_FLAGS (WIRE_TRANSACTIONAL | WIRE_FIRST_UPDATER | WIRE_SHORT)
#define WRITE_FLAGS (WIRE_RETURN_OLD | WIRE_RETURN_NEW | WIRE_MUST_NOT_EXIST | WIRE_HAS_OVERLAY)
#define TRANSACTION_SIZE 8

/* The first byte of requests and replies. */
static int read_format(struct wire_reader *r)
{
    uint8_t format = wire_read_u8(r);

    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    if (format > WIRE_REQUEST_FORMAT)
        return WIRE_E_BAD_VERSION;
    return format == WIRE_REQUEST_FORMAT ? WIRE_OK : WIRE_E_BAD_FORMAT;
}

static struct wire_reader rest_of(const struct wire_reader *r)
{
    return wire_reader_of(r->data + r->position, r->size - r->position);
}

void wire_request_write(struct wire_writer *w, const struct wire_request *header)
{
    wire_write_u8(w, WIRE_REQUEST_FORMAT);
    wire_write_u8(w, (uint8_t) header->operation);
    wire_write_u16(w, header->flags);
    wire_write_u32(w, header->subtransaction);
    wire_write_u64(w, header->snapshot);
    wire_write_u64(w, header->owner);
    wire_write_u64(w, header->storage_id);
    wire_write_span(w, header->transactions.data, header->transactions.size);
}

static bool request_valid(const struct wire_request *request)
{
    return request->operation >= WIRE_GET && request->operation < WIRE_OPERATION_COUNT &&
           (request->flags & ~REQUEST_FLAGS) == 0 && request->transactions.size % TRANSACTION_SIZE == 0 &&
           request->transactions.size / TRANSACTION_SIZE <= WIRE_OWN_TRANSACTIONS_MAX;
}

int wire_request_open(const void *data, size_t size, struct wire_request *out)
{
    struct wire_reader r = wire_reader_of(data, size);
    int result = read_format(&r);

    if (result != WIRE_OK)
        return result;
    out->operation = (enum wire_operation) wire_read_u8(&r);
    out->flags = wire_read_u16(&r);
    out->subtransaction = wire_read_u32(&r);
    out->snapshot = wire_read_u64(&r);
    out->owner = wire_read_u64(&r);
    out->storage_id = wire_read_u64(&r);
    out->transactions = wire_read_span(&r);
    if (r.failed)
        return WIRE_E_SHORT_INPUT;
    if (!request_valid(out))
        return WIRE_E_BAD_FORMAT;
    out->body = rest_of(&r);
    return WIRE_OK;
}

bool wire_request_owns(const struct wire_request *request, uint64_t transaction)
{
    struct wire_reader r = wire_reader_of(request->transactions.data, request->transactions.size);

    while (wire_reader_left(&r) >= TRANSACTION_SIZE)
        if (wire_read_u64(&r) == transaction)
            return true;
    return false;
}

void wire_write_op_write(struct wire_writer *w, const struct wire_write_op *op)
{
    wire_write_u8(w, (uint8_t) op->kind);
    wire_write_u8(w, op->flags);
    wire_write_span(w, op->key.data, op->key.size);
    wire_write_span(w, op->argument.data, op->argument.size);
    wire_write_span(w, op->condition.data, op->condition.size);
    wire_write_span(w, op->overlay.data, op->overlay.size);
}

static int check_write_op(const struct wire_write_op *op)
{
    if (op->kind < WIRE_WRITE_PUT || op->kind > WIRE_WRITE_LOCK || (op->flags & ~WRITE_FLAGS) != 0)
        return WIRE_E_BAD_FORMAT;
    if (op->overlay.size > 0 && !(op->flags & WIRE_HAS_OVERLAY))
        return WIRE_E_BAD_FORMAT;
    return wire_entry_check_key(op->key);
}

int wire_write_op_read(struct wire_reader *r, struct wire_write_op *out)
{
    int result;

    out->kind = (enum wire_write_kind) wire_read_u8(r);
    out->flags = wire_read_u8(r);
    out->key = wire_read_span(r);
    out->argument = wire_read_span(r);
    out->condition = wire_read_span(r);
    out->overlay = wire_read_span(r);
    if (r->failed)
        return WIRE_E_SHORT_INPUT;
    result = check_write_op(out);
    if (result != WIRE_OK)
        r->failed = true;
    return result;
}

void wire_reply_write(struct wire_writer *w, const struct wire_reply *header)
{
    bool known = header->status >= 0 && header->status < WIRE_ERROR_COUNT;

    wire_write_u8(w, WIRE_REQUEST_FORMAT);
    wire_write_u8(w, 0);
    wire_write_u16(w, (uint16_t) (known ? header->status : WIRE_E_INTERNAL));
    wire_write_u32(w, header->detail);
    wire_write_u64(w, header->snapshot);
}

int wire_reply_open(const void *data, size_t size, struct wire_reply *out)
{
    struct wire_reader r = wire_reader_of(data, size);
    int result = read_format(&r);
    uint8_t reserved;

    if (result != WIRE_OK)
        return result;
    reserved = wire_read_u8(&r);
    out->status = wire_read_u16(&r);
    out->detail = wire_read_u32(&r);
    out->snapshot = wire_read_u64(&r);
    if (r.failed)
        return WIRE_E_SHORT_INPUT;
    if (reserved != 0 || out->status >= WIRE_ERROR_COUNT)
        return WIRE_E_BAD_FORMAT;
    out->body = rest_of(&r);
    return WIRE_OK;
}
