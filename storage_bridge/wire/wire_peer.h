/*
 * What members of replication groups say to each other: the messages of consensus, of leases and of ReadIndex.
 *
 *   message:  0  u32 size of the whole message      4  u32 checksum of the bytes from 8 on, seeded with 0
 *             8  u8  format, 1     9  u8 kind      10  u16 flags     12  u32 entry count (APPEND), else 0
 *            16  u64 group        24  u64 from     32  u64 to        40  u64 term
 *            48  u64 sequence     56  u64 index    64  u64 index_term   72  u64 commit
 *            80  APPEND: (span entry)*, each a whole wire_entry; INSTALL: span configuration; else nothing
 *
 *   kind            index                 index_term      commit               sequence
 *   APPEND          of the entry before   its term        leader's commit      number of this message, grows per term
 *   APPEND_RESULT   last that matches and is durable, a   rejected index, 0:   greatest APPEND sequence of this term
 *                   hint if rejected      0               accepted             that was received, 0: none
 *   VOTE            last durable entry    its term        0                    0
 *   VOTE_RESULT     0                     0               0                    0
 *   INSTALL         last of the checkpoint its term       configuration index  as APPEND
 *   TIMEOUT_NOW     leader's last         its term        0                    0
 *   PROBE           0                     0               0                    of the probe
 *   PROBE_RESULT    0                     0               0                    of the probe
 *
 *   flags: VOTE and VOTE_RESULT: PRE_VOTE; VOTE: DISRUPT (the leader asked for it); VOTE_RESULT: GRANTED
 *
 * Bytes from a peer are hostile until opened: wire_peer_open checks size, checksum, kind, that flags and fields a kind
 * has not are 0, that nodes are not and index_term is at most term, every entry (wire_entry_open; group, and indexes
 * that follow `index` without a gap; terms that do not fall and lie in [index_term, term]) and the configuration. Who
 * sent it is for the link to check.
 *
 * Caller: anyone. Locks: none. Views borrow.
 */
#ifndef WIRE_PEER_H
#define WIRE_PEER_H

#include "wire_bytes.h"
#include "wire_configuration.h"
#include "wire_entry.h"
#include "wire_limits.h"

#define WIRE_PEER_FORMAT 1
#define WIRE_PEER_HEADER_SIZE 80
#define WIRE_PEER_MESSAGE_MAX (4 * 1024 * 1024) /* a sender splits APPENDs well below; a single entry always fits */
#define WIRE_PEER_ENTRIES_MAX 4096

enum wire_peer_kind {
    WIRE_PEER_APPEND = 1,
    WIRE_PEER_APPEND_RESULT = 2,
    WIRE_PEER_VOTE = 3,
    WIRE_PEER_VOTE_RESULT = 4,
    WIRE_PEER_INSTALL = 5,
    WIRE_PEER_TIMEOUT_NOW = 6,
    WIRE_PEER_PROBE = 7,
    WIRE_PEER_PROBE_RESULT = 8,
    WIRE_PEER_KIND_COUNT
};

enum wire_peer_flags { WIRE_PEER_PRE_VOTE = 0x01, WIRE_PEER_DISRUPT = 0x02, WIRE_PEER_GRANTED = 0x04 };

struct wire_peer_message {
    enum wire_peer_kind kind;
    uint16_t flags;
    uint64_t group;
    uint64_t from; /* node */
    uint64_t to;   /* node */
    uint64_t term;
    uint64_t sequence;
    uint64_t index;
    uint64_t index_term;
    uint64_t commit;
    uint32_t entry_count;                    /* APPEND */
    struct wire_configuration configuration; /* INSTALL */
};

/* Write a message: begin, entries of an APPEND (as wire_entry bytes), end (patches size, entry count and checksum: the
 * count is of what was added, message->entry_count is not looked at). A kind that is not in the enum and a configuration
 * that cannot be written fail the writer. */
struct wire_peer_builder {
    struct wire_writer *w;
    size_t start;
    uint32_t entry_count;
};
void wire_peer_begin(struct wire_peer_builder *b, struct wire_writer *w, const struct wire_peer_message *message);
void wire_peer_add(struct wire_peer_builder *b, struct wire_span entry);
/* Errors: WIRE_E_SHORT_BUFFER, WIRE_E_TOO_LARGE (bytes or entries; of a measuring writer too): the bytes from b->start
 * on are then no message. */
int wire_peer_end(struct wire_peer_builder *b);

/* `size` is of exactly one message. *entries: reads entry_count entries by wire_peer_next. Both are valid on WIRE_OK
 * only. Errors: WIRE_E_SHORT_INPUT, WIRE_E_BAD_CHECKSUM, WIRE_E_BAD_VERSION, WIRE_E_BAD_FORMAT, WIRE_E_TOO_LARGE, those
 * of wire_entry_open and wire_configuration_open. */
int wire_peer_open(const void *data, size_t size, struct wire_peer_message *out, struct wire_reader *entries);
/* The next entry's bytes and header of an opened APPEND. WIRE_E_NOT_FOUND behind the last. */
int wire_peer_next(struct wire_reader *entries, struct wire_span *bytes, struct wire_entry *entry);

#endif
