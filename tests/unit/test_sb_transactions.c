/* The table of transactions: order, answers, growth, readers beside the writer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "sb_transactions.h"

#define ID(n) (WIRE_TRANSACTION_BIT | (uint64_t) (n))

static struct sb_transactions *table_new(void)
{
    struct sb_transactions *table = NULL;

    assert_int_equal(sb_transactions_open(&table), WIRE_OK);
    return table;
}

static void table_free(struct sb_transactions *table)
{
    sb_transactions_close(table);
    assert_int_equal(sb_memory_blocks(), 0);
}

static void test_order(void **state)
{
    struct sb_transactions *table = table_new();
    struct sb_transaction found = {0};
    uint64_t after = 0;

    (void) state;
    assert_int_equal(sb_transactions_next(table, 0, &found), WIRE_E_NOT_FOUND);
    assert_int_equal(sb_transactions_get(table, ID(1), &found), WIRE_E_NOT_FOUND);
    sb_transactions_remove(table, ID(1));
    /* Out of order, more than the first allocation holds. */
    for (uint64_t i = 0; i < 100; i++) {
        struct sb_transaction row = {.id = ID(i * 37 % 100), .state = SB_TRANSACTION_PENDING, .owner = i};

        assert_int_equal(sb_transactions_put(table, &row), WIRE_OK);
    }
    assert_int_equal(sb_transactions_count(table), 100);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(sb_transactions_next(table, after, &found), WIRE_OK);
        assert_true(found.id == ID(i));
        after = found.id;
    }
    assert_int_equal(sb_transactions_next(table, after, &found), WIRE_E_NOT_FOUND);
    assert_int_equal(sb_transactions_next(table, UINT64_MAX, &found), WIRE_E_NOT_FOUND);
    for (uint64_t i = 0; i < 100; i += 2)
        sb_transactions_remove(table, ID(i));
    assert_int_equal(sb_transactions_count(table), 50);
    assert_int_equal(sb_transactions_get(table, ID(2), &found), WIRE_E_NOT_FOUND);
    assert_int_equal(sb_transactions_get(table, ID(3), &found), WIRE_OK);
    assert_int_equal(sb_transactions_next(table, ID(3), &found), WIRE_OK);
    assert_true(found.id == ID(5));
    table_free(table);
}

static void test_versions(void **state)
{
    struct sb_transactions *table = table_new();
    struct sb_transaction row = {.id = ID(1), .state = SB_TRANSACTION_PENDING};
    enum sb_transaction_state found;

    (void) state;
    assert_true(sb_transactions_version(table, 42, &found) == 42);
    assert_int_equal(found, 0);
    assert_true(sb_transactions_version(table, ID(1), &found) == WIRE_VERSION_MAX);
    assert_int_equal(found, SB_TRANSACTION_UNKNOWN);
    assert_int_equal(sb_transactions_put(table, &row), WIRE_OK);
    assert_true(sb_transactions_version(table, ID(1), &found) == WIRE_VERSION_MAX);
    assert_int_equal(found, SB_TRANSACTION_PENDING);
    row.state = SB_TRANSACTION_COMMITTED;
    row.version = 77;
    assert_int_equal(sb_transactions_put(table, &row), WIRE_OK);
    assert_int_equal(sb_transactions_count(table), 1);
    assert_true(sb_transactions_version(table, ID(1), &found) == 77);
    row.state = SB_TRANSACTION_ABORTED;
    assert_int_equal(sb_transactions_put(table, &row), WIRE_OK);
    assert_true(sb_transactions_version(table, ID(1), &found) == WIRE_VERSION_MAX);
    assert_int_equal(found, SB_TRANSACTION_ABORTED);
    table_free(table);
}

static void test_no_memory(void **state)
{
    struct sb_transactions *table = NULL;
    struct sb_transaction row = {.id = ID(1), .state = SB_TRANSACTION_PENDING};

    (void) state;
    sb_memory_fail_at(1);
    assert_int_equal(sb_transactions_open(&table), WIRE_E_NOMEM);
    table = table_new();
    for (uint64_t i = 0; i < 17; i++) {
        row.id = ID(i);
        if (i == 0 || i == 16) {
            sb_memory_fail_at(1);
            assert_int_equal(sb_transactions_put(table, &row), WIRE_E_NOMEM);
            assert_int_equal(sb_transactions_count(table), i);
        }
        assert_int_equal(sb_transactions_put(table, &row), WIRE_OK);
    }
    table_free(table);
    sb_transactions_close(NULL);
}

struct shared {
    struct sb_transactions *table;
    _Atomic bool stop;
    _Atomic uint64_t bad;
};

/* Rows of the writer below have owner == version: a torn row would not. */
static void *read_rows(void *argument)
{
    struct shared *shared = argument;
    struct sb_transaction found;

    while (!atomic_load(&shared->stop)) {
        for (uint64_t i = 0; i < 64; i++) {
            if (sb_transactions_get(shared->table, ID(i), &found) == WIRE_OK &&
                (found.id != ID(i) || found.owner != found.version))
                atomic_fetch_add(&shared->bad, 1);
        }
    }
    return NULL;
}

static void test_readers(void **state)
{
    struct shared shared = {.table = table_new()};
    pthread_t reader;

    (void) state;
    assert_int_equal(pthread_create(&reader, NULL, read_rows, &shared), 0);
    for (uint64_t i = 0; i < 20000; i++) {
        struct sb_transaction row = {
            .id = ID(i * 31 % 64), .state = SB_TRANSACTION_COMMITTED, .version = i, .owner = i};

        assert_int_equal(sb_transactions_put(shared.table, &row), WIRE_OK);
        if (i % 3 == 0)
            sb_transactions_remove(shared.table, ID(i % 64));
    }
    atomic_store(&shared.stop, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(atomic_load(&shared.bad), 0);
    table_free(shared.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_readers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
