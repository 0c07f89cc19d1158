/*
 * Slots: requests out of them, whole or piece by piece, and replies into them, whole or fetched piece by piece.
 *
 * Happy path: a request that fits a piece is read where it lies, and its reply copied over it; nothing is allocated.
 * Sizes and offsets come from a backend: each is read once and checked before it is used; what does not continue what
 * is held here is refused with WIRE_E_BAD_FORMAT, and whatever was held of the message is dropped.
 */
#include "sb_host.h"

static void drop_kept(struct sb_kept *kept)
{
    sb_buffer_close(&kept->request);
    sb_buffer_close(&kept->reply);
    kept->total = 0;
    kept->sent = 0;
}

/* The slot goes back: DONE, or FREE if its backend gave it up. */
static void hand_back(struct wire_slot *slot, struct sb_kept *kept)
{
    uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
    uint32_t next;

    do {
        if (state == WIRE_SLOT_FREE || state == WIRE_SLOT_DONE)
            return;
        next = WIRE_SLOT_DONE;
        if (state == WIRE_SLOT_ABANDONED) {
            next = WIRE_SLOT_FREE;
            drop_kept(kept);
        }
    } while (!atomic_compare_exchange_weak(&slot->state, &state, next));
    if (state == WIRE_SLOT_SLEEPING)
        sb_futex_wake(&slot->state, 1);
}

static void put_piece(struct wire_slot *slot, struct wire_span whole, uint32_t offset)
{
    size_t left = whole.size - offset;

    slot->size = (uint32_t) (left < WIRE_PIECE_MAX ? left : WIRE_PIECE_MAX);
    slot->offset = offset;
    slot->total = (uint32_t) whole.size;
    slot->more = 0;
    memcpy(slot->buffer, whole.data + offset, slot->size);
}

static void count_reply(struct wire_shared *shared, const struct wire_slot *slot, enum wire_operation operation,
                        uint64_t bytes_in, struct wire_span reply)
{
    struct wire_counters *counters = &shared->counters[operation];
    uint64_t now = sb_monotonic_ns();
    uint64_t us = now > slot->submitted_ns ? (now - slot->submitted_ns) / 1000 : 0;
    bool error = reply.size >= WIRE_REPLY_HEADER_SIZE && (reply.data[2] | reply.data[3]) != 0;

    atomic_fetch_add_explicit(&counters->count, 1, memory_order_relaxed);
    if (error)
        atomic_fetch_add_explicit(&counters->errors, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->bytes_in, bytes_in, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->bytes_out, reply.size, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->total_us, us, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->latency[wire_latency_bucket(us)], 1, memory_order_relaxed);
}

void sb_slots_reply_code(struct sb_server *server, uint32_t number, enum wire_operation operation, int code,
                         uint32_t detail)
{
    struct wire_reply header = {.status = code, .detail = detail};
    uint8_t bytes[WIRE_REPLY_HEADER_SIZE];
    struct wire_writer w = wire_writer_of(bytes, sizeof(bytes));

    wire_reply_write(&w, &header);
    sb_slots_reply(server, number, operation, (struct wire_span){bytes, w.size});
}

void sb_slots_reply(struct sb_server *server, uint32_t number, enum wire_operation operation, struct wire_span reply)
{
    struct wire_slot *slot = wire_shared_slot(server->shared, number);
    struct sb_kept *kept = &server->kept[number];
    uint32_t request_size = kept->total;

    drop_kept(kept);
    if (reply.size > WIRE_MESSAGE_MAX) {
        sb_slots_reply_code(server, number, operation, WIRE_E_TOO_LARGE, 0);
        return;
    }
    if (reply.size > WIRE_PIECE_MAX) {
        if (sb_buffer_append(&kept->reply, reply.data, reply.size) != WIRE_OK) {
            sb_slots_reply_code(server, number, operation, WIRE_E_NOMEM, 0);
            return;
        }
        kept->sent = WIRE_PIECE_MAX;
    }
    put_piece(slot, reply, 0);
    count_reply(server->shared, slot, operation, request_size, reply);
    hand_back(slot, kept);
}

static void answer_fetch(struct sb_server *server, uint32_t number)
{
    struct wire_slot *slot = wire_shared_slot(server->shared, number);
    struct sb_kept *kept = &server->kept[number];
    uint32_t offset = slot->offset;

    if (!kept->reply.data || offset != kept->sent || offset >= kept->reply.size) {
        sb_slots_reply_code(server, number, 0, WIRE_E_BAD_FORMAT, 0);
        return;
    }
    put_piece(slot, sb_buffer_span(&kept->reply), offset);
    kept->sent += slot->size;
    if (kept->sent == kept->reply.size)
        drop_kept(kept);
    hand_back(slot, kept);
}

/* One piece of several. WIRE_OK: taken, the slot waits for the next or the request is whole. */
static int add_piece(struct sb_kept *kept, const struct wire_slot *slot, uint32_t size, uint32_t offset, uint32_t total)
{
    if (size == 0 || offset != kept->request.size || (offset > 0 && total != kept->total))
        return WIRE_E_BAD_FORMAT;
    kept->total = total;
    return sb_buffer_append(&kept->request, slot->buffer, size);
}

static bool take_request(struct sb_server *server, uint32_t number, struct wire_span *request)
{
    struct wire_slot *slot = wire_shared_slot(server->shared, number);
    struct sb_kept *kept = &server->kept[number];
    uint32_t size = slot->size;
    uint32_t offset = slot->offset;
    uint32_t total = slot->total;
    int code = WIRE_E_BAD_FORMAT;

    if (offset == 0)
        drop_kept(kept);
    if (size <= WIRE_PIECE_MAX && total <= WIRE_MESSAGE_MAX && size <= total && offset <= total - size) {
        if (offset == 0 && size == total) {
            kept->total = total;
            *request = (struct wire_span){slot->buffer, size};
            return true;
        }
        code = add_piece(kept, slot, size, offset, total);
    }
    if (code != WIRE_OK) {
        sb_slots_reply_code(server, number, 0, code, 0);
        return false;
    }
    *request = sb_buffer_span(&kept->request);
    if (request->size == total)
        return true;
    slot->more = 1;
    slot->size = 0;
    hand_back(slot, kept);
    return false;
}

bool sb_slots_take(struct sb_server *server, enum wire_queue_name queue, uint32_t number, struct wire_span *request)
{
    struct wire_slot *slot;
    uint32_t state;

    if (number >= server->shared->slot_count)
        return false;
    slot = wire_shared_slot(server->shared, number);
    state = atomic_load_explicit(&slot->state, memory_order_acquire);
    if (state == WIRE_SLOT_FREE || state == WIRE_SLOT_DONE)
        return false;
    /* A write is done even if nobody waits: what a leaving backend sends last lets go of its locks. */
    if (state == WIRE_SLOT_ABANDONED && (queue != WIRE_QUEUE_WRITES || slot->purpose == WIRE_SLOT_FETCH)) {
        hand_back(slot, &server->kept[number]);
        return false;
    }
    if (slot->purpose == WIRE_SLOT_FETCH) {
        answer_fetch(server, number);
        return false;
    }
    return take_request(server, number, request);
}

void sb_slots_refuse_all(struct sb_server *server)
{
    uint32_t number;

    for (int queue = 0; queue < WIRE_QUEUE_COUNT; queue++)
        while (wire_queue_pop(server->shared, (enum wire_queue_name) queue, &number))
            if (number < server->shared->slot_count)
                sb_slots_reply_code(server, number, 0, WIRE_E_STOPPING, 0);
}
