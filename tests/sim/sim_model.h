/*
 * What a log of entries means, told a second time and as simply as possible: for every key the list of its committed
 * versions. The simulation of the shard compares what it reads, and what it was promised, with this.
 *
 * Knows one storage; its keys are sim_key(storage, 0 .. SIM_MODEL_KEYS - 1). A deleted key has the value SIM_ABSENT.
 * Memory is malloc's.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "wire_entry.h"

#define SIM_MODEL_KEYS 32
#define SIM_ABSENT INT64_MIN

struct sim_model;

struct sim_model *sim_model_open(uint64_t storage_id);
void sim_model_close(struct sim_model *model);

/* The next entry of the log. False: it makes no sense where it stands. */
bool sim_model_add(struct sim_model *model, uint64_t index, struct wire_span payload);
/* The log lost everything behind `last`. */
void sim_model_truncate(struct sim_model *model, uint64_t last);
uint64_t sim_model_last(const struct sim_model *model);
/* Version of entry `index`, 0 for index 0. */
uint64_t sim_model_version_of(const struct sim_model *model, uint64_t index);
/* Is this the payload that entry `index` had? */
bool sim_model_same(const struct sim_model *model, uint64_t index, struct wire_span payload);

/* The value of a key at `snapshot`, SIM_ABSENT if it has none; *version (may be NULL): since when, 0 if it never had
 * any. */
int64_t sim_model_value(const struct sim_model *model, int64_t key, uint64_t snapshot, uint64_t *version);
/* Was `value` ever committed under the key? */
bool sim_model_find(const struct sim_model *model, int64_t key, int64_t value, uint64_t *version);
/* Was the key changed at exactly `version`, and to what? */
bool sim_model_at(const struct sim_model *model, int64_t key, uint64_t version, int64_t *value);
/* Had the key this value at any moment in [from, to]? */
bool sim_model_had(const struct sim_model *model, int64_t key, int64_t value, uint64_t from, uint64_t to);
/* The undecided intent of a transaction on a key. */
bool sim_model_intent(const struct sim_model *model, uint64_t transaction, int64_t key, int64_t *value);
uint64_t sim_model_horizon(const struct sim_model *model);

#endif
