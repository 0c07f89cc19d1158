/*
 * A whole node without threads, by seed: clients write, lock, spill, prepare, commit, abort; the log is appended to and synced when chance says so; power is lost at any moment. See sim_world.h for the node, sim_model.h for
 * what its log means.
 *
 * Checked: whatever was acknowledged is there, at the version it was promised, and on top of what its client had been told; what was refused or aborted never shows; what was in flight in a crash happened whole or not at all;
 * every read, of the newest state or of an old snapshot, of own intents, forward or backward, before and after crashes and settling, gives what the model gives.
 *
 * sim_shard [first seed [count]]   default 1 300; prints the seed and the reason of a failure, exit 1. Then each fault of enum sim_fault is planted, and must be seen within 20 seeds.
 */
#include <stdio.h>

#include "sim_requests.h"
#include "sim_world.h"

#define CLIENTS 6
#define KEYS 24
#define ACTIONS 5000
#define SNAPSHOTS 8
#define FAULT_SEEDS 20
#define OPS_MAX 8192
#define BULKY (INT64_C(1) << 40) /* values from here on have large items: a few of them outgrow a log entry */
#define BULK_KEYS 11

static const struct wire_span none;

/* What became of a write, as its client knows it. */
enum fate {
    OPEN,    /* being prepared, or under way */
    DONE,    /* acknowledged at `version` */
    NEVER,   /* refused or aborted */
    UNKNOWN, /* under way in a crash */
};

struct change {
    bool old_known;
    int64_t old; /* what the client was told the key had before */
    int64_t key;
    int64_t value;
};

/* Changes that belong together. */
struct op {
    enum fate fate;
    bool sent; /* its last request is under way */
    uint64_t version;
    uint64_t after;    /* acknowledged versions when it was sent: its own must be above */
    uint64_t snapshot; /* FIRST_UPDATER, else 0 */
    uint64_t decider;
    bool decided; /* Postgres has committed it */
    struct change changes[KEYS];
    size_t count;
};

enum request_kind { BARE, LOCK, BULK, SPILL, COMMIT, ABORT, ROLLBACK, DECIDE };

/* What a transaction knows of a key. */
struct own_key {
    bool locked;
    bool changed;
    bool spilled; /* the newest change is an intent */
    uint32_t subtransaction; /* that locked it */
    uint32_t changer;        /* that changed it last */
    int64_t value;           /* SIM_ABSENT: deleted */
    int64_t old;   /* at its first lock */
};

struct client {
    bool waiting;
    bool in_transaction;
    bool prepared;
    enum request_kind kind;
    uint64_t number; /* makes the owner */
    uint64_t asked;  /* applied version when it sent what it waits for */
    uint32_t subtransaction;
    uint64_t spilled[3]; /* by subtransaction; 0: none */
    uint64_t snapshot;   /* FIRST_UPDATER, else 0 */
    uint64_t decider;
    size_t op;
    struct own_key keys[KEYS];
    struct own_key outer[KEYS]; /* keys when the inner subtransaction began */
    int64_t key; /* of a LOCK under way */
    enum wire_write_kind write_kind;
    int64_t value;
    int64_t expected; /* condition of a bare write: the value there, or SIM_ABSENT for "must not exist" */
    bool conditional;
    struct change sent[KEYS]; /* BARE, BULK, SPILL */
    size_t sent_count;
};

struct scan {
    bool running;
    bool backward;
    uint64_t snapshot;
    int64_t low; /* in numbers of keys, [low, high) */
    int64_t high;
};

struct run {
    struct sim_world world;
    struct sim_random random;
    struct client clients[CLIENTS];
    struct op *ops;
    size_t op_count;
    int64_t next_value;
    uint64_t next_decider;
    uint64_t snapshots[SNAPSHOTS];
    size_t snapshot_count;
    struct scan scan;
    size_t last_holder[KEYS]; /* op + 1 whose commit last had the key locked */
};

static uint64_t below(struct run *run, uint64_t bound)
{
    return sim_random_below(&run->random, bound);
}

static bool one_in(struct run *run, uint64_t n)
{
    return sim_random_one_in(&run->random, n);
}

static uint64_t owner_of(const struct run *run, const struct client *client)
{
    return (uint64_t) (client - run->clients + 1) << 32 | client->number;
}

/* Unique, and its size follows from it. */
static struct wire_span item_of(int64_t value)
{
    return sim_item(value, value >= BULKY ? 110000 : value % 97 == 0 ? 60000 : value % 7 == 0 ? 1500 : 0);
}

static struct wire_span key_of(const struct run *run, int64_t key)
{
    return sim_key(run->world.storage_id, key);
}

/* ---- what was promised ---- */

static size_t new_op(struct run *run)
{
    if (run->op_count == OPS_MAX)
        abort();
    run->ops[run->op_count] = (struct op){.fate = OPEN};
    return run->op_count++;
}

/* A first updater's key: unchanged since its snapshot, or absent both times. */
static bool unchanged_since(const struct run *run, int64_t key, uint64_t snapshot, uint64_t version)
{
    const struct sim_model *model = run->world.model;
    uint64_t since;
    int64_t before = sim_model_value(model, key, version - 1, &since);

    return since <= snapshot || (before == SIM_ABSENT && sim_model_value(model, key, snapshot, NULL) == SIM_ABSENT);
}

static void verify_done(struct run *run, const struct op *op, uint64_t version)
{
    const struct sim_model *model = run->world.model;
    int64_t value;

    if (op->count > 0 && version <= op->after)
        sim_world_fail(&run->world, "version %llx is not above %llx, which was there before", (unsigned long long) version, (unsigned long long) op->after);
    for (size_t i = 0; i < op->count; i++) {
        const struct change *change = &op->changes[i];
        long long key = change->key;

        if (!sim_model_at(model, change->key, version, &value) || value != change->value)
            sim_world_fail(&run->world, "key %lld lacks value %lld, promised at %llx", key, (long long) change->value, (unsigned long long) version);
        value = sim_model_value(model, change->key, version - 1, NULL);
        if (change->old_known && value != change->old)
            sim_world_fail(&run->world, "key %lld was said to have %lld before %llx, but had %lld", key, (long long) change->old,
                           (unsigned long long) version, (long long) value);
        if (op->snapshot && !unchanged_since(run, change->key, op->snapshot, version))
            sim_world_fail(&run->world, "key %lld had changed after the snapshot %llx", key, (unsigned long long) op->snapshot);
    }
}

/* How many of its values are there, and since when. */
static size_t count_found(struct run *run, const struct op *op, size_t *wanted, uint64_t *version)
{
    size_t found = 0;
    uint64_t since;

    *wanted = 0;
    for (size_t i = 0; i < op->count; i++) {
        if (op->changes[i].value == SIM_ABSENT)
            continue;
        ++*wanted;
        if (!sim_model_find(run->world.model, op->changes[i].key, op->changes[i].value, &since))
            continue;
        if (found > 0 && since != *version)
            sim_world_fail(&run->world, "a transaction has two versions");
        *version = since;
        found++;
    }
    return found;
}

static void verify(struct run *run)
{
    for (size_t i = 0; i < run->op_count && !run->world.failed; i++) {
        const struct op *op = &run->ops[i];
        uint64_t version = 0;
        size_t wanted;
        size_t found;

        if (op->fate == DONE) {
            verify_done(run, op, op->version);
            continue;
        }
        found = count_found(run, op, &wanted, &version);
        if (op->fate == NEVER && found > 0)
            sim_world_fail(&run->world, "key %lld has a value that was refused or aborted", (long long) op->changes[0].key);
        if (op->fate == UNKNOWN && found != 0 && found != wanted)
            sim_world_fail(&run->world, "%zu of %zu values of one transaction survived", found, wanted);
        if (op->fate == UNKNOWN && found > 0)
            verify_done(run, op, version);
    }
}

/* ---- clients ---- */

static void begin_request(struct run *run, struct client *client, enum wire_operation operation, uint16_t flags)
{
    uint64_t own[2];
    size_t count = 0;

    for (int i = 1; i <= 2; i++) {
        if (client->spilled[i] && !(operation == WIRE_ABORT && client->kind == ROLLBACK && i == 1))
            own[count++] = client->spilled[i];
    }
    sim_begin((struct wire_request){.operation = operation,
                                    .flags = flags,
                                    .subtransaction = client->subtransaction,
                                    .snapshot = client->snapshot,
                                    .owner = owner_of(run, client),
                                    .storage_id = run->world.storage_id},
              own, count);
}

static void send(struct run *run, struct client *client)
{
    client->waiting = true;
    client->asked = run->world.applied_version;
    sim_world_request(&run->world, (uint64_t) (client - run->clients), sim_end());
}

static void forget_transaction(struct client *client)
{
    *client = (struct client){.number = client->number + 1};
}

/* One to three changes of different keys, acknowledged at once. */
static void send_bare(struct run *run, struct client *client)
{
    static const enum wire_write_kind kinds[] = {WIRE_WRITE_PUT, WIRE_WRITE_UPDATE, WIRE_WRITE_DELETE};
    size_t count = 1 + below(run, 3);
    int64_t first = (int64_t) below(run, KEYS);

    client->kind = BARE;
    client->op = new_op(run);
    client->write_kind = kinds[below(run, 3)];
    client->conditional = one_in(run, 3);
    client->sent_count = count;
    begin_request(run, client, WIRE_WRITE, 0);
    sim_count(count);
    for (size_t i = 0; i < count; i++) {
        int64_t key = (first + (int64_t) i * 7) % KEYS;
        int64_t value = client->write_kind == WIRE_WRITE_DELETE ? SIM_ABSENT : run->next_value++;
        uint8_t flags = WIRE_RETURN_OLD | WIRE_RETURN_NEW;
        struct wire_span condition = none;

        if (client->conditional && i == 0) {
            client->expected = sim_model_value(run->world.model, key, UINT64_MAX, NULL);
            if (one_in(run, 4))
                client->expected = sim_model_value(run->world.model, key, run->world.applied_version, NULL);
            condition = client->expected == SIM_ABSENT ? none : sim_equals(client->expected);
            flags |= client->expected == SIM_ABSENT ? WIRE_MUST_NOT_EXIST : 0;
        }
        client->sent[i] = (struct change){.key = key, .value = value};
        sim_op(client->write_kind, flags, key_of(run, key),
               client->write_kind == WIRE_WRITE_PUT      ? item_of(value)
               : client->write_kind == WIRE_WRITE_UPDATE ? sim_update(value)
                                                         : none,
               condition);
        if (value != SIM_ABSENT)
            run->ops[client->op].changes[run->ops[client->op].count++] = client->sent[i];
    }
    run->ops[client->op].sent = true;
    run->ops[client->op].after = run->world.applied_version;
    send(run, client);
}

static void begin_transaction(struct run *run, struct client *client)
{
    forget_transaction(client);
    client->in_transaction = true;
    client->subtransaction = 1;
    client->op = new_op(run);
    if (one_in(run, 3) && run->snapshot_count > 0)
        client->snapshot = run->snapshots[below(run, run->snapshot_count)];
}

/* Half of the time one that is locked already. */
static int64_t choose_key(struct run *run, const struct client *client)
{
    int64_t key = (int64_t) below(run, KEYS);

    if (one_in(run, 2))
        return key;
    for (int64_t i = 0; i < KEYS; i++) {
        if (client->keys[(key + i) % KEYS].locked)
            return (key + i) % KEYS;
    }
    return key;
}

/* Lock a key and change it, or only lock it. The inner subtransaction leaves intents of the outer one alone: they could
 * not be rolled back. */
static void send_lock(struct run *run, struct client *client)
{
    static const enum wire_write_kind kinds[] = {WIRE_WRITE_PUT, WIRE_WRITE_UPDATE, WIRE_WRITE_DELETE, WIRE_WRITE_LOCK};
    int64_t key = choose_key(run, client);
    struct own_key *own = &client->keys[key];
    struct wire_write_op op = {.flags = WIRE_RETURN_OLD};

    if (client->subtransaction == 2 && client->outer[key].spilled)
        return;
    client->kind = LOCK;
    client->key = key;
    client->write_kind = kinds[below(run, 4)];
    client->value = client->write_kind == WIRE_WRITE_DELETE ? SIM_ABSENT : run->next_value++;
    op.kind = client->write_kind;
    op.key = key_of(run, key);
    if (op.kind == WIRE_WRITE_PUT)
        op.argument = item_of(client->value);
    if (op.kind == WIRE_WRITE_UPDATE)
        op.argument = sim_update(client->value);
    if (own->changed && !own->spilled) {
        op.flags |= WIRE_HAS_OVERLAY;
        op.overlay = own->value == SIM_ABSENT ? none : item_of(own->value);
    }
    begin_request(run, client, WIRE_WRITE, (uint16_t) (WIRE_TRANSACTIONAL | (client->snapshot ? WIRE_FIRST_UPDATER : 0)));
    sim_count(1);
    wire_write_op_write(&sim_request, &op);
    send(run, client);
}

/* Many keys with large items, locked by one request. */
static void send_bulk(struct run *run, struct client *client)
{
    int64_t first = (int64_t) below(run, KEYS);

    client->kind = BULK;
    begin_request(run, client, WIRE_WRITE, (uint16_t) (WIRE_TRANSACTIONAL | (client->snapshot ? WIRE_FIRST_UPDATER : 0)));
    sim_count(BULK_KEYS);
    client->sent_count = BULK_KEYS;
    for (int64_t i = 0; i < BULK_KEYS; i++) {
        int64_t key = (first + i) % KEYS;

        client->sent[i] = (struct change){.key = key, .value = BULKY + run->next_value++};
        sim_op(WIRE_WRITE_PUT, WIRE_RETURN_OLD, key_of(run, key), item_of(client->sent[i].value), none);
    }
    send(run, client);
}

static bool must_send(const struct client *client, int64_t key, bool this_subtransaction)
{
    const struct own_key *own = &client->keys[key];

    return own->changed && !own->spilled && (!this_subtransaction || own->changer == client->subtransaction);
}

static void add_effects(struct run *run, struct client *client, bool this_subtransaction)
{
    size_t count = 0;

    for (int64_t key = 0; key < KEYS; key++)
        count += must_send(client, key, this_subtransaction);
    sim_count(count);
    client->sent_count = 0;
    for (int64_t key = 0; key < KEYS; key++) {
        if (!must_send(client, key, this_subtransaction))
            continue;
        client->sent[client->sent_count++] = (struct change){.key = key};
        sim_effect(key_of(run, key), client->keys[key].value == SIM_ABSENT ? none : item_of(client->keys[key].value));
    }
}

static void send_spill(struct run *run, struct client *client)
{
    client->kind = SPILL;
    begin_request(run, client, WIRE_SPILL, 0);
    wire_write_u64(&sim_request, client->spilled[client->subtransaction]);
    add_effects(run, client, true);
    if (client->sent_count > 0)
        send(run, client);
}

static void send_abort(struct run *run, struct client *client, bool inner)
{
    client->kind = inner ? ROLLBACK : ABORT;
    begin_request(run, client, WIRE_ABORT, 0);
    sim_count(inner);
    if (inner)
        wire_write_u32(&sim_request, 2);
    send(run, client);
}

/* Planted fault: locks go as soon as they are granted .. */
static void unlock(struct run *run, const struct client *client)
{
    sim_begin((struct wire_request){.operation = WIRE_ABORT, .owner = owner_of(run, client)}, NULL, 0);
    sim_count(0);
    sim_world_request(&run->world, CLIENTS, sim_end());
}

/* .. and are taken again for the commit, as if nothing had happened. The request under construction is kept. */
static void lock_again(struct run *run, const struct client *client)
{
    size_t size = sim_request.size;
    uint8_t *kept = sim_arena_take(size);

    if (client->sent_count == 0)
        return;
    memcpy(kept, sim_request_bytes, size);
    sim_begin((struct wire_request){.operation = WIRE_WRITE,
                                    .flags = WIRE_TRANSACTIONAL,
                                    .subtransaction = 1,
                                    .owner = owner_of(run, client),
                                    .storage_id = run->world.storage_id},
              NULL, 0);
    sim_count(client->sent_count);
    for (size_t i = 0; i < client->sent_count; i++)
        sim_op(WIRE_WRITE_LOCK, 0, key_of(run, client->sent[i].key), none, none);
    sim_world_request(&run->world, CLIENTS, sim_end());
    memcpy(sim_request_bytes, kept, size);
    sim_request.size = size;
}

static void send_commit(struct run *run, struct client *client)
{
    struct op *op = &run->ops[client->op];

    client->kind = COMMIT;
    client->decider = one_in(run, 3) ? run->next_decider++ : 0;
    begin_request(run, client, WIRE_COMMIT, 0);
    wire_write_u64(&sim_request, client->decider);
    add_effects(run, client, false);
    op->count = 0;
    op->snapshot = client->snapshot;
    op->decider = client->decider;
    for (int64_t key = 0; key < KEYS; key++) {
        const struct own_key *own = &client->keys[key];

        if (own->locked)
            run->last_holder[key] = client->op + 1;
        if (own->changed)
            op->changes[op->count++] = (struct change){.old_known = true, .old = own->old, .key = key, .value = own->value};
    }
    op->sent = true;
    op->after = run->world.applied_version;
    if (run->world.fault == SIM_FORGETFUL_LOCK)
        lock_again(run, client);
    send(run, client);
}

static void send_decide(struct run *run, struct client *client)
{
    struct op *op = &run->ops[client->op];

    if (!op->decided && one_in(run, 3)) {
        op->decided = true; /* Postgres commits now; it tells in a while */
        return;
    }
    client->kind = DECIDE;
    if (!op->decided)
        op->fate = NEVER;
    sim_begin((struct wire_request){.operation = WIRE_DECIDE}, NULL, 0);
    wire_write_u64(&sim_request, op->decider);
    wire_write_u8(&sim_request, op->decided);
    send(run, client);
}

static bool holds_any(const struct client *client)
{
    bool any = false;

    for (int64_t key = 0; key < KEYS; key++)
        any = any || client->keys[key].locked;
    return any;
}

static void act(struct run *run, struct client *client)
{
    uint64_t dice = below(run, 100);

    if (client->waiting)
        return;
    if (client->prepared)
        send_decide(run, client);
    else if (!client->in_transaction && dice < 50)
        send_bare(run, client);
    else if (!client->in_transaction)
        begin_transaction(run, client);
    else if (dice < 4 && client->subtransaction == 1 && !holds_any(client))
        send_bulk(run, client);
    else if (dice < 55)
        send_lock(run, client);
    else if (dice < 67 && run->world.fault != SIM_FORGETFUL_LOCK)
        send_spill(run, client);
    else if (dice < 72 && client->subtransaction == 1) {
        client->subtransaction = 2;
        memcpy(client->outer, client->keys, sizeof(client->outer));
    }
    else if (dice < 77 && client->subtransaction == 2)
        send_abort(run, client, true);
    else if (dice < 84)
        send_abort(run, client, false);
    else if (dice < 100)
        send_commit(run, client);
}

/* ---- replies ---- */

/* A value that no key ever has stands for an image that is there and cannot be read, a deletion for instance. */
#define UNREADABLE (-1)

static int64_t item_value(struct wire_span item)
{
    int64_t value = sim_item_value(item);

    return value == SIM_ABSENT ? UNREADABLE : value;
}

static int64_t image_value(struct wire_reader *body)
{
    return wire_read_u8(body) ? item_value(wire_read_span(body)) : SIM_ABSENT;
}

/* What a reply tells was so while it was asked for, and is durable. */
static void check_told(struct run *run, const struct client *client, int64_t key, int64_t value)
{
    const struct sim_world *world = &run->world;

    if (!sim_model_had(world->model, key, value, client->asked, sim_model_version_of(world->model, world->durable)))
        sim_world_fail(&run->world, "key %lld was said to have %lld, which is not durable", (long long) key, (long long) value);
}

static void bare_reply(struct run *run, struct client *client, const struct wire_reply *reply)
{
    struct op *op = &run->ops[client->op];
    struct wire_reader body = reply->body;
    size_t told = 0;

    if (reply->status != WIRE_OK) {
        op->fate = NEVER;
        if (reply->status == WIRE_E_CONDITION)
            check_told(run, client, client->sent[0].key, image_value(&body));
        return;
    }
    if (wire_read_varint(&body) != client->sent_count)
        sim_world_fail(&run->world, "a reply has another count");
    op->count = 0;
    for (size_t i = 0; i < client->sent_count; i++) {
        struct change *change = &client->sent[i];
        bool existed = wire_read_u8(&body);

        change->old_known = true;
        change->old = image_value(&body);
        if ((change->old != SIM_ABSENT) != existed || image_value(&body) != change->value)
            sim_world_fail(&run->world, "a reply contradicts itself");
        if (i == 0 && client->conditional && change->old != client->expected)
            sim_world_fail(&run->world, "key %lld had %lld, the condition wanted %lld", (long long) change->key, (long long) change->old,
                           (long long) client->expected);
        told += change->value != SIM_ABSENT || existed;
        if (change->value != SIM_ABSENT || existed)
            op->changes[op->count++] = *change;
    }
    op->version = reply->snapshot;
    op->fate = DONE;
    if ((told > 0) != (reply->snapshot != 0))
        sim_world_fail(&run->world, "a write has a version and no changes, or changes and no version");
    verify_done(run, op, op->version);
}

static void lock_reply(struct run *run, struct client *client, const struct wire_reply *reply)
{
    struct own_key *own = &client->keys[client->key];
    struct wire_reader body = reply->body;
    int64_t old;
    int64_t new;

    if (reply->status != WIRE_OK) {
        if (reply->status == WIRE_E_LOCKED && own->locked)
            sim_world_fail(&run->world, "somebody else has the lock on key %lld", (long long) client->key);
        if (reply->status == WIRE_E_SNAPSHOT_TOO_OLD && client->snapshot >= run->world.horizon)
            sim_world_fail(&run->world, "a snapshot above the horizon is too old");
        if (one_in(run, 2))
            send_abort(run, client, false);
        return;
    }
    if (run->world.fault == SIM_FORGETFUL_LOCK)
        unlock(run, client);
    wire_read_varint(&body);
    wire_read_u8(&body);
    old = image_value(&body);
    new = image_value(&body);
    if (own->locked && old != (own->changed ? own->value : own->old))
        sim_world_fail(&run->world, "key %lld had %lld under its lock, now %lld", (long long) client->key,
                       (long long) (own->changed ? own->value : own->old), (long long) old);
    if (!own->locked) {
        size_t holder = run->last_holder[client->key];

        if (holder > 0 && holder != client->op + 1 && run->ops[holder - 1].fate == OPEN && run->world.fault != SIM_FORGETFUL_LOCK)
            sim_world_fail(&run->world, "key %lld is granted before the commit that released it is", (long long) client->key);
        own->old = old;
        check_told(run, client, client->key, old);
    }
    if (!own->locked)
        own->subtransaction = client->subtransaction;
    own->locked = true;
    if (client->write_kind == WIRE_WRITE_LOCK)
        return;
    if (new != client->value)
        sim_world_fail(&run->world, "key %lld got %lld instead of %lld", (long long) client->key, (long long) new, (long long) client->value);
    if (client->write_kind == WIRE_WRITE_DELETE && old == SIM_ABSENT)
        return;
    own->changed = true;
    own->spilled = false;
    own->changer = client->subtransaction;
    own->value = client->value;
}

static void bulk_reply(struct run *run, struct client *client, const struct wire_reply *reply)
{
    struct wire_reader body = reply->body;

    if (reply->status != WIRE_OK)
        return;
    if (run->world.fault == SIM_FORGETFUL_LOCK)
        unlock(run, client);
    wire_read_varint(&body);
    for (size_t i = 0; i < client->sent_count; i++) {
        struct own_key *own = &client->keys[client->sent[i].key];

        wire_read_u8(&body);
        *own = (struct own_key){.locked = true, .changed = true, .subtransaction = 1, .changer = 1, .value = client->sent[i].value};
        own->old = image_value(&body);
        if (image_value(&body) != own->value)
            sim_world_fail(&run->world, "a bulk write got another value");
    }
}

static void spill_reply(struct run *run, struct client *client, const struct wire_reply *reply)
{
    struct wire_reader body = reply->body;
    uint64_t *spilled = &client->spilled[client->subtransaction];
    uint64_t id = wire_read_u64(&body);

    if (reply->status != WIRE_OK || (*spilled && *spilled != id))
        sim_world_fail(&run->world, "spill: %s", wire_error_name(reply->status));
    *spilled = id;
    for (size_t i = 0; i < client->sent_count; i++)
        client->keys[client->sent[i].key].spilled = true;
}

static void rolled_back(struct client *client)
{
    client->subtransaction = 1;
    client->spilled[2] = 0;
    memcpy(client->keys, client->outer, sizeof(client->keys));
}

static void commit_reply(struct run *run, struct client *client, const struct wire_reply *reply)
{
    struct op *op = &run->ops[client->op];
    struct wire_reader body = reply->body;
    uint64_t version = wire_read_u64(&body);

    if (reply->status != WIRE_OK) {
        if (run->world.fault != SIM_FORGETFUL_LOCK)
            sim_world_fail(&run->world, "commit: %s", wire_error_name(reply->status));
        op->fate = NEVER;
    } else if (client->decider && (client->sent_count > 0 || client->spilled[1] || client->spilled[2])) {
        client->prepared = true;
        return;
    } else {
        op->version = version;
        op->fate = DONE;
        verify_done(run, op, version);
    }
    forget_transaction(client);
}

static void decide_reply(struct run *run, struct client *client, const struct wire_reply *reply)
{
    struct op *op = &run->ops[client->op];
    struct wire_reader body = reply->body;

    if (reply->status != WIRE_OK)
        sim_world_fail(&run->world, "decide: %s", wire_error_name(reply->status));
    if (op->decided) {
        op->version = wire_read_u64(&body);
        op->fate = DONE;
        verify_done(run, op, op->version);
    }
    forget_transaction(client);
}

static void on_reply(void *context, uint64_t token, const struct wire_reply *reply)
{
    struct run *run = context;
    struct client *client = &run->clients[token];

    if (token >= CLIENTS)
        return; /* of a decision after a crash, or of a planted fault */
    client->waiting = false;
    switch (client->kind) {
    case BARE:
        bare_reply(run, client, reply);
        break;
    case LOCK:
        lock_reply(run, client, reply);
        break;
    case BULK:
        bulk_reply(run, client, reply);
        break;
    case SPILL:
        spill_reply(run, client, reply);
        break;
    case COMMIT:
        commit_reply(run, client, reply);
        break;
    case ROLLBACK:
    case ABORT:
        if (reply->status != WIRE_OK)
            sim_world_fail(&run->world, "abort: %s", wire_error_name(reply->status));
        if (client->kind == ROLLBACK) {
            rolled_back(client);
            break;
        }
        run->ops[client->op].fate = NEVER;
        forget_transaction(client);
        break;
    case DECIDE:
        decide_reply(run, client, reply);
        break;
    }
}

/* The clients went down with the node; what Postgres had committed stays committed, whatever else was prepared is aborted. */
static void on_restarted(void *context)
{
    struct run *run = context;
    uint64_t decider = 0;

    for (size_t i = 0; i < run->op_count; i++) {
        struct op *op = &run->ops[i];

        if (op->fate == OPEN && op->decider)
            op->fate = op->decided ? OPEN : NEVER;
        else if (op->fate == OPEN)
            op->fate = op->sent ? UNKNOWN : NEVER;
    }
    for (size_t i = 0; i < CLIENTS; i++)
        forget_transaction(&run->clients[i]);
    run->scan.running = false;
    memset(run->last_holder, 0, sizeof(run->last_holder));
    while ((decider = sb_shard_prepared(run->world.shard, decider)) != 0) {
        bool commit = false;

        for (size_t i = 0; i < run->op_count; i++)
            commit = commit || (run->ops[i].decider == decider && run->ops[i].decided);
        if (run->world.fault == SIM_WRONG_DECISION)
            commit = one_in(run, 2);
        sim_begin((struct wire_request){.operation = WIRE_DECIDE}, NULL, 0);
        wire_write_u64(&sim_request, decider);
        wire_write_u8(&sim_request, commit);
        sim_world_request(&run->world, CLIENTS, sim_end());
    }
    if (one_in(run, 4)) {
        sim_world_step(&run->world);
        sim_world_append(&run->world);
        if (one_in(run, 2))
            sim_world_crash(&run->world, true);
        else
            sim_world_quiesce(&run->world);
    } else
        sim_world_quiesce(&run->world);
    /* Decisions of Postgres have come true. */
    for (size_t i = 0; i < run->op_count; i++) {
        if (run->ops[i].fate == OPEN && run->ops[i].decided)
            run->ops[i].fate = UNKNOWN;
    }
}

/* What Postgres committed must be there after a restart, not only may. */
static void verify_decided(struct run *run)
{
    for (size_t i = 0; i < run->op_count && !run->world.failed; i++) {
        const struct op *op = &run->ops[i];
        uint64_t version;
        size_t wanted;

        if (op->fate == UNKNOWN && op->decided && count_found(run, op, &wanted, &version) != wanted)
            sim_world_fail(&run->world, "a transaction that Postgres committed is not there");
    }
}

/* ---- reads ---- */

static void keep_snapshots(struct run *run)
{
    size_t kept = 0;

    for (size_t i = 0; i < run->snapshot_count; i++) {
        if (run->snapshots[i] >= run->world.horizon)
            run->snapshots[kept++] = run->snapshots[i];
    }
    run->snapshot_count = kept;
    if (run->world.applied_version < run->world.horizon)
        return;
    if (kept == SNAPSHOTS)
        run->snapshots[below(run, SNAPSHOTS)] = run->world.applied_version;
    else
        run->snapshots[run->snapshot_count++] = run->world.applied_version;
}

/* The node goes on while this reads; *from, *to: the newest version at its begin and end. */
static int read_request(struct run *run, struct wire_span bytes, struct sb_buffer *out, uint64_t *from, uint64_t *to)
{
    struct wire_request request;
    uint64_t snapshot;
    uint32_t detail;
    uint8_t *copy = malloc(bytes.size);
    int status;

    if (!copy)
        abort();
    memcpy(copy, bytes.data, bytes.size);
    *from = run->world.applied_version;
    status = wire_request_open(copy, bytes.size, &request);
    if (status == WIRE_OK)
        status = sb_read_request(&run->world.reader, &request, out, &detail, &snapshot, &run->world.error);
    *to = run->world.applied_version;
    if (run->world.down) /* in the middle of applying: what is durable may show */
        *to = sim_model_version_of(run->world.model, run->world.durable);
    free(copy);
    if (status != WIRE_OK)
        sim_world_fail(&run->world, "read: %s: %s", wire_error_name(status), run->world.error.text);
    return status;
}

/* A moment, or the newest state in a span of time. */
struct moment {
    uint64_t from;
    uint64_t to;
};

static struct moment moment_of(uint64_t snapshot, uint64_t from, uint64_t to)
{
    return snapshot ? (struct moment){snapshot, snapshot} : (struct moment){from, to};
}

static void check_value(struct run *run, const struct client *own, int64_t key, struct moment moment, int64_t value)
{
    const struct sim_model *model = run->world.model;
    int64_t intent;

    for (int i = 1; own && i <= 2; i++) {
        if (!own->spilled[i] || !sim_model_intent(model, own->spilled[i], key, &intent))
            continue;
        if (value != intent)
            sim_world_fail(&run->world, "key %lld reads %lld, its own intent is %lld", (long long) key, (long long) value, (long long) intent);
        return;
    }
    if (!sim_model_had(model, key, value, moment.from, moment.to))
        sim_world_fail(&run->world, "key %lld at %llx to %llx reads %lld, should %lld", (long long) key, (unsigned long long) moment.from,
                       (unsigned long long) moment.to, (long long) value, (long long) sim_model_value(model, key, moment.from, NULL));
}

/* Whose own intents the reader may see. A client that waits may have intents under way. */
static const struct client *choose_reader(struct run *run, uint64_t own[2], size_t *count)
{
    const struct client *client = &run->clients[below(run, CLIENTS)];

    *count = 0;
    if (run->world.fault == SIM_DIRTY_READ) {
        for (size_t i = 0; i < CLIENTS && *count < 2; i++) {
            if (run->clients[i].spilled[1] && !run->clients[i].waiting)
                own[(*count)++] = run->clients[i].spilled[1];
        }
        return NULL;
    }
    if (client->waiting || !client->in_transaction || client->prepared)
        return NULL;
    for (int i = 1; i <= 2; i++) {
        if (client->spilled[i])
            own[(*count)++] = client->spilled[i];
    }
    return client;
}

static uint64_t choose_snapshot(struct run *run)
{
    return run->snapshot_count == 0 || one_in(run, 3) ? 0 : run->snapshots[below(run, run->snapshot_count)];
}

static void read_keys(struct run *run)
{
    uint64_t own[2];
    size_t own_count;
    const struct client *client = choose_reader(run, own, &own_count);
    uint64_t snapshot = choose_snapshot(run);
    struct sb_buffer out = {0};
    struct wire_reader r;
    uint64_t from;
    uint64_t to;

    sim_begin((struct wire_request){.operation = WIRE_GET, .snapshot = snapshot, .storage_id = run->world.storage_id}, own, own_count);
    sim_count(KEYS);
    for (int64_t key = 0; key < KEYS; key++) {
        struct wire_span span = key_of(run, key);

        wire_write_span(&sim_request, span.data, span.size);
    }
    if (read_request(run, sim_end(), &out, &from, &to) == WIRE_OK) {
        r = wire_reader_of(out.data, out.size);
        wire_read_varint(&r);
        for (int64_t key = 0; key < KEYS; key++)
            check_value(run, client, key, moment_of(snapshot, from, to), image_value(&r));
        if (wire_reader_finish(&r) != WIRE_OK)
            sim_world_fail(&run->world, "a GET's reply is malformed");
    }
    sb_buffer_close(&out);
}

/* Keys between the last row and the next one have no item. */
static void check_gap(struct run *run, const struct client *own, struct moment moment, int64_t low, int64_t high)
{
    for (int64_t key = low; key < high; key++)
        check_value(run, own, key, moment, SIM_ABSENT);
}

/* One batch; the rest of the range is in *scan. */
static void scan_batch(struct run *run, struct scan *scan, const uint64_t *transactions, size_t count, const struct client *own)
{
    struct wire_request header = {.snapshot = scan->snapshot, .storage_id = run->world.storage_id};
    struct sb_buffer out = {0};
    struct wire_reader r;
    struct moment moment;
    uint64_t from;
    uint64_t to;
    uint64_t rows;
    bool more;

    (void) sim_scan_request(header, transactions, count, scan->backward, key_of(run, scan->low), key_of(run, scan->high), below(run, 5),
                            1 + below(run, 500));
    if (read_request(run, sim_end(), &out, &from, &to) != WIRE_OK) {
        sb_buffer_close(&out);
        return;
    }
    moment = moment_of(scan->snapshot, from, to);
    r = wire_reader_of(out.data, out.size);
    more = wire_read_u8(&r);
    rows = wire_read_varint(&r);
    for (uint64_t i = 0; i < rows && !run->world.failed; i++) {
        struct wire_span key_span = wire_read_span(&r);
        int64_t key = r.failed ? -1 : sim_key_number(key_span);

        if (key < scan->low || key >= scan->high) {
            sim_world_fail(&run->world, "a scan returns key %lld out of order or range", (long long) key);
            break;
        }
        check_value(run, own, key, moment, item_value(wire_read_span(&r)));
        if (scan->backward)
            check_gap(run, own, moment, key + 1, scan->high);
        else
            check_gap(run, own, moment, scan->low, key);
        *(scan->backward ? &scan->high : &scan->low) = scan->backward ? key : key + 1;
    }
    if (!more)
        check_gap(run, own, moment, scan->low, scan->high);
    if (wire_reader_finish(&r) != WIRE_OK || (more && rows == 0))
        sim_world_fail(&run->world, "a SCAN's reply is malformed");
    scan->running = more;
    sb_buffer_close(&out);
}

static struct scan new_scan(struct run *run, uint64_t snapshot)
{
    return (struct scan){.running = true,
                         .backward = one_in(run, 2),
                         .snapshot = snapshot,
                         .low = (int64_t) below(run, KEYS / 2),
                         .high = (int64_t) (KEYS / 2 + below(run, KEYS / 2 + 1))};
}

static void scan_at_once(struct run *run)
{
    uint64_t own[2];
    size_t count;
    const struct client *client = choose_reader(run, own, &count);
    struct scan scan = new_scan(run, choose_snapshot(run));

    while (scan.running && !run->world.failed)
        scan_batch(run, &scan, own, count, client);
}

/* A scan at a snapshot that lasts while the world goes on. */
static void scan_slowly(struct run *run)
{
    if (run->scan.running && run->scan.snapshot < run->world.horizon)
        run->scan.running = false;
    if (!run->scan.running && run->snapshot_count > 0)
        run->scan = new_scan(run, run->snapshots[below(run, run->snapshot_count)]);
    if (run->scan.running)
        scan_batch(run, &run->scan, NULL, 0, NULL);
}

/* ---- a run ---- */

static void crash(struct run *run, bool power)
{
    sim_world_crash(&run->world, power);
    keep_snapshots(run);
    if (!run->world.failed)
        verify(run);
    if (!run->world.failed)
        verify_decided(run);
    if (!run->world.failed)
        read_keys(run);
}

static void tick(struct run *run)
{
    uint64_t horizon = one_in(run, 3) && run->snapshot_count > 0 ? run->snapshots[below(run, run->snapshot_count)] : 0;

    sim_world_tick(&run->world, horizon);
    keep_snapshots(run);
}

static void action(struct run *run)
{
    uint64_t dice = below(run, 1000);
    struct sim_world *world = &run->world;

    if (world->fault != SIM_REPLY_EARLY)
        sim_arena_reset();
    if (world->down)
        crash(run, one_in(run, 2));
    else if (dice < 460)
        act(run, &run->clients[below(run, CLIENTS)]);
    else if (dice < 620)
        sim_world_step(world);
    else if (dice < 740)
        sim_world_append(world);
    else if (dice < 840)
        sim_world_sync(world);
    else if (dice < 900)
        sim_world_fetch(world);
    else if (dice < 920)
        read_keys(run);
    else if (dice < 930)
        scan_at_once(run);
    else if (dice < 950)
        scan_slowly(run);
    else if (dice < 970)
        keep_snapshots(run);
    else if (dice < 990)
        tick(run);
    else if (dice < 994)
        sim_world_keep(world);
    else if (dice < 997)
        crash(run, !one_in(run, 4));
    else if (dice < 998)
        sim_world_arm(world);
    else
        sim_world_quiesce(world);
}

/* Every transaction ends: no lock may be left. */
static void retire(struct run *run)
{
    struct sb_shard_status status;
    bool busy = true;

    for (int round = 0; round < 100 && busy && !run->world.failed; round++) {
        busy = false;
        for (size_t i = 0; i < CLIENTS; i++) {
            struct client *client = &run->clients[i];

            if (!client->waiting && client->prepared)
                send_decide(run, client);
            else if (!client->waiting && client->in_transaction)
                send_abort(run, client, false);
            busy = busy || client->in_transaction || client->waiting;
        }
        sim_world_quiesce(&run->world);
    }
    if (run->world.failed)
        return;
    sb_shard_status(run->world.shard, &status);
    if (busy || (status.locks != 0 && run->world.fault != SIM_FORGETFUL_LOCK))
        sim_world_fail(&run->world, "%llu locks are left when all transactions have ended", (unsigned long long) status.locks);
}

/* Nothing is left but what must be. */
static void finish(struct run *run)
{
    struct sb_shard_status status;

    for (int round = 0; round < 2 && !run->world.failed; round++) {
        crash(run, true);
        sim_world_quiesce(&run->world);
        sb_shard_status(run->world.shard, &status);
        if (status.locks != 0 || status.parked != 0 || status.in_flight_entries != 0)
            sim_world_fail(&run->world, "locks, parked requests or entries are left");
        if (run->world.shard_options.settle_keys_max > KEYS * 100 && status.transactions != 0)
            sim_world_fail(&run->world, "%llu transactions are not settled", (unsigned long long) status.transactions);
        sim_world_tick(&run->world, run->world.applied_version);
        sim_world_quiesce(&run->world);
        (void) run->world.store.compact(run->world.store.self, none, none, &run->world.error);
        keep_snapshots(run);
        verify(run);
        for (int i = 0; i < 5 && !run->world.failed; i++) {
            read_keys(run);
            scan_at_once(run);
        }
    }
}

static bool run_seed(uint64_t seed, enum sim_fault fault, bool loud)
{
    static struct run run;
    struct op *ops = run.ops ? run.ops : malloc(OPS_MAX * sizeof(*ops));
    struct sim_events events = {&run, on_reply, on_restarted};
    bool passed;

    run = (struct run){.random = sim_random_of(seed * 7919), .ops = ops, .next_value = 1, .next_decider = 1};
    sim_world_open(&run.world, seed, fault, events);
    for (int i = 0; i < ACTIONS && !run.world.failed; i++)
        action(&run);
    if (!run.world.failed)
        retire(&run);
    if (!run.world.failed)
        finish(&run);
    sim_world_close(&run.world);
    if (sb_memory_blocks() != 0)
        sim_world_fail(&run.world, "%llu blocks of memory are left", (unsigned long long) sb_memory_blocks());
    passed = !run.world.failed;
    if (getenv("SIM_SHARD_STATISTICS")) {
        size_t fates[4] = {0};

        for (size_t i = 0; i < run.op_count; i++)
            fates[run.ops[i].fate]++;
        fprintf(stderr, "seed %llu fault %d: %zu done, %zu never, %zu unknown, %llu crashes, %s\n", (unsigned long long) seed, (int) fault,
                fates[DONE], fates[NEVER], fates[UNKNOWN], (unsigned long long) run.world.crashes, passed ? "passed" : run.world.reason);
    }
    if (!passed && loud)
        fprintf(stderr, "sim_shard: seed %llu failed: %s\n", (unsigned long long) seed, run.world.reason);
    return passed;
}

static bool fault_is_seen(enum sim_fault fault)
{
    for (uint64_t seed = 1; seed <= FAULT_SEEDS; seed++) {
        if (!run_seed(seed, fault, false))
            return true;
    }
    fprintf(stderr, "sim_shard: fault %d was not seen within %d seeds\n", (int) fault, FAULT_SEEDS);
    return false;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 300;

    for (uint64_t seed = first; seed < first + count; seed++) {
        if (!run_seed(seed, SIM_HONEST, true))
            return 1;
    }
    for (int fault = SIM_HONEST + 1; fault < SIM_FAULT_COUNT; fault++) {
        if (!fault_is_seen((enum sim_fault) fault))
            return 1;
    }
    printf("sim_shard: %llu seeds, %d planted faults seen\n", (unsigned long long) count, SIM_FAULT_COUNT - 1);
    return 0;
}
