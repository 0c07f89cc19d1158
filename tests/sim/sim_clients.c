/*
 * See sim_clients.h. A client has one request under way at a time. Every value it writes is unique, so that finding a
 * value in the model tells whose write it was.
 */
#include "sim_clients.h"

static const struct wire_span none;

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
        sim_world_fail(&run->world, "version %llx is not above %llx, which was there before",
                       (unsigned long long) version, (unsigned long long) op->after);
    for (size_t i = 0; i < op->count; i++) {
        const struct change *change = &op->changes[i];
        long long key = change->key;

        if (!sim_model_at(model, change->key, version, &value) || value != change->value)
            sim_world_fail(&run->world, "key %lld lacks value %lld, promised at %llx", key, (long long) change->value,
                           (unsigned long long) version);
        value = sim_model_value(model, change->key, version - 1, NULL);
        if (change->old_known && value != change->old)
            sim_world_fail(&run->world, "key %lld was said to have %lld before %llx, but had %lld", key,
                           (long long) change->old, (unsigned long long) version, (long long) value);
        if (op->snapshot && !unchanged_since(run, change->key, op->snapshot, version))
            sim_world_fail(&run->world, "key %lld had changed after the snapshot %llx", key,
                           (unsigned long long) op->snapshot);
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

void sim_clients_verify(struct run *run)
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
            sim_world_fail(&run->world, "key %lld has a value that was refused or aborted",
                           (long long) op->changes[0].key);
        if (op->fate == UNKNOWN && op->decided && found != wanted)
            sim_world_fail(&run->world, "a transaction that Postgres committed is not there");
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
    begin_request(run, client, WIRE_WRITE,
                  (uint16_t) (WIRE_TRANSACTIONAL | (client->snapshot ? WIRE_FIRST_UPDATER : 0)));
    sim_count(1);
    wire_write_op_write(&sim_request, &op);
    send(run, client);
}

/* Many keys with large items, locked by one request. */
static void send_bulk(struct run *run, struct client *client)
{
    int64_t first = (int64_t) below(run, KEYS);

    client->kind = BULK;
    begin_request(run, client, WIRE_WRITE,
                  (uint16_t) (WIRE_TRANSACTIONAL | (client->snapshot ? WIRE_FIRST_UPDATER : 0)));
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

static void send_await(struct run *run, struct client *client)
{
    client->kind = AWAIT;
    begin_request(run, client, WIRE_SPILL, 0);
    wire_write_u64(&sim_request, client->spilled[client->spilled[2] && one_in(run, 2) ? 2
                                                 : client->spilled[1]                 ? 1
                                                                                      : 2]);
    sim_count(0);
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
            op->changes[op->count++] =
                (struct change){.old_known = true, .old = own->old, .key = key, .value = own->value};
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

void sim_client_act(struct run *run, struct client *client)
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
    } else if (dice < 77 && client->subtransaction == 2)
        send_abort(run, client, true);
    else if (dice < 80 && client->unread)
        send_await(run, client);
    else if (dice < 84)
        send_abort(run, client, false);
    else if (dice < 100)
        send_commit(run, client);
}

/* ---- replies ---- */

/* What a reply tells was so while it was asked for, and is durable. */
static void check_told(struct run *run, const struct client *client, int64_t key, int64_t value)
{
    const struct sim_world *world = &run->world;

    if (!sim_model_had(world->model, key, value, client->asked, sim_model_version_of(world->model, world->durable)))
        sim_world_fail(&run->world, "key %lld was said to have %lld, which is not durable", (long long) key,
                       (long long) value);
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
            sim_world_fail(&run->world, "key %lld had %lld, the condition wanted %lld", (long long) change->key,
                           (long long) change->old, (long long) client->expected);
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

        if (holder > 0 && holder != client->op + 1 && run->ops[holder - 1].fate == OPEN &&
            run->world.fault != SIM_FORGETFUL_LOCK)
            sim_world_fail(&run->world, "key %lld is granted before the commit that released it is",
                           (long long) client->key);
        own->old = old;
        check_told(run, client, client->key, old);
    }
    if (!own->locked)
        own->subtransaction = client->subtransaction;
    own->locked = true;
    if (client->write_kind == WIRE_WRITE_LOCK)
        return;
    if (new != client->value)
        sim_world_fail(&run->world, "key %lld got %lld instead of %lld", (long long) client->key, (long long) new,
                       (long long) client->value);
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
        *own = (struct own_key){
            .locked = true, .changed = true, .subtransaction = 1, .changer = 1, .value = client->sent[i].value};
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

    if (reply->status == WIRE_E_DISK_FULL)
        return;
    if (reply->status != WIRE_OK || (*spilled && *spilled != id))
        sim_world_fail(&run->world, "spill: %s", wire_error_name(reply->status));
    *spilled = id;
    client->unread = true;
    for (size_t i = 0; i < client->sent_count; i++)
        client->keys[client->sent[i].key].spilled = true;
}

static void rolled_back(struct client *client)
{
    client->subtransaction = 1;
    client->spilled[2] = 0;
    client->unread = client->unread && client->spilled[1];
    memcpy(client->keys, client->outer, sizeof(client->keys));
}

static void commit_reply(struct run *run, struct client *client, const struct wire_reply *reply)
{
    struct op *op = &run->ops[client->op];
    struct wire_reader body = reply->body;
    uint64_t version = wire_read_u64(&body);

    if (reply->status == WIRE_E_DISK_FULL) {
        op->sent = false;
        op->decider = client->decider = 0;
        send_abort(run, client, false);
        return;
    }
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

void sim_clients_reply(void *context, uint64_t token, const struct wire_reply *reply)
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
    case AWAIT:
        if (reply->status != WIRE_OK && reply->status != WIRE_E_DISK_FULL)
            sim_world_fail(&run->world, "wait for a spill: %s", wire_error_name(reply->status));
        client->unread = reply->status != WIRE_OK;
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

/* The clients went down with the node; what Postgres had committed stays committed, whatever else was prepared is
 * aborted. */
void sim_clients_restarted(void *context)
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
    while ((decider = sb_shard_prepared(run->world.shard, WIRE_GROUP_LOCAL, decider)) != 0) {
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

bool sim_client_end(struct run *run, struct client *client)
{
    if (!client->waiting && client->prepared)
        send_decide(run, client);
    else if (!client->waiting && client->in_transaction)
        send_abort(run, client, false);
    return client->in_transaction || client->waiting;
}
