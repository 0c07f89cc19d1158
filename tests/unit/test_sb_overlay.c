/* The overlay and the row locks, against plain arrays. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "sb_overlay.h"

#define KEYS 5000 /* several times the first number of buckets */

static struct wire_span text(const char *bytes)
{
    return (struct wire_span){(const uint8_t *) bytes, strlen(bytes)};
}

static struct wire_span key_of(char buffer[32], unsigned number)
{
    (void) snprintf(buffer, 32, "key %u", number);
    return text(buffer);
}

static void close_all(struct sb_overlay *overlay)
{
    sb_overlay_close(overlay);
    assert_int_equal(sb_memory_blocks(), 0);
}

static void test_pending(void **state)
{
    struct sb_overlay overlay;
    struct sb_pending *found;
    char buffer[32];

    (void) state;
    assert_int_equal(sb_overlay_open(&overlay), WIRE_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(sb_overlay_put(&overlay, key_of(buffer, i), text("first"), false, 100 + i, 10), WIRE_OK);
        if (i % 2 == 0)
            assert_int_equal(sb_overlay_put(&overlay, key_of(buffer, i), text("second"), i % 4 == 0, 200 + i, 11),
                             WIRE_OK);
    }
    assert_int_equal(overlay.pending_count, KEYS);
    assert_null(sb_overlay_find(&overlay, text("key")));
    for (unsigned i = 0; i < KEYS; i++) {
        found = sb_overlay_find(&overlay, key_of(buffer, i));
        assert_non_null(found);
        assert_true(found->stamp == (i % 2 ? 100 : 200) + i);
        assert_true(found->deleted == (i % 4 == 0));
        assert_int_equal(found->item.size, i % 4 == 0 ? 0 : i % 2 ? 5 : 6);
    }
    /* The older entry is applied: what the newer one made stays. */
    for (unsigned i = 0; i < KEYS; i++)
        sb_overlay_applied(&overlay, key_of(buffer, i), 10);
    assert_int_equal(overlay.pending_count, KEYS / 2);
    assert_null(sb_overlay_find(&overlay, key_of(buffer, 1)));
    assert_non_null(sb_overlay_find(&overlay, key_of(buffer, 2)));
    sb_overlay_applied(&overlay, text("never there"), 11);
    for (unsigned i = 0; i < KEYS / 2; i++)
        sb_overlay_applied(&overlay, key_of(buffer, i), 11);
    assert_int_equal(overlay.pending_count, KEYS / 4);
    close_all(&overlay);
}

static void test_locks(void **state)
{
    struct sb_overlay overlay;
    struct sb_lock *lock;
    char buffer[32];

    (void) state;
    assert_int_equal(sb_overlay_open(&overlay), WIRE_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        assert_null(sb_lock_find(&overlay, key_of(buffer, i)));
        assert_int_equal(sb_lock_add(&overlay, key_of(buffer, i), (uint64_t) (i % 7) << 32 | 1, 1 + i % 3, &lock),
                         WIRE_OK);
        assert_true(lock == sb_lock_find(&overlay, key_of(buffer, i)));
    }
    assert_int_equal(overlay.lock_count, KEYS);
    sb_lock_release(&overlay, (uint64_t) 99 << 32, 0);
    assert_int_equal(overlay.lock_count, KEYS);
    sb_lock_release(&overlay, 1, 2);
    for (unsigned i = 0; i < KEYS; i++) {
        lock = sb_lock_find(&overlay, key_of(buffer, i));
        assert_true((lock == NULL) == (i % 7 == 0 && i % 3 == 1));
        assert_true(!lock || (lock->owner >> 32 == i % 7 && lock->subtransaction == 1 + i % 3));
    }
    sb_lock_release(&overlay, 1, 0);
    sb_lock_release(&overlay, 1, 0);
    assert_int_equal(overlay.lock_count, KEYS - (KEYS + 6) / 7);
    for (unsigned i = 0; i < KEYS; i++) {
        lock = sb_lock_find(&overlay, key_of(buffer, i));
        if (lock && i % 5 == 0)
            sb_lock_remove(&overlay, lock);
    }
    for (unsigned i = 1; i < 7; i++)
        sb_lock_release(&overlay, (uint64_t) i << 32 | 1, i == 6 ? 1 : 0);
    assert_true(overlay.lock_count > 0);
    close_all(&overlay);
}

/* Each allocation fails once: nothing changes but what was asked for, nothing leaks. */
static void test_no_memory(void **state)
{
    struct sb_overlay overlay;
    struct sb_lock *lock;

    (void) state;
    for (uint64_t n = 1; n <= 3; n++) {
        sb_memory_fail_at(n);
        assert_int_equal(sb_overlay_open(&overlay), WIRE_E_NOMEM);
        assert_int_equal(sb_memory_blocks(), 0);
    }
    assert_int_equal(sb_overlay_open(&overlay), WIRE_OK);
    for (uint64_t n = 1; n <= 3; n++) {
        sb_memory_fail_at(n);
        assert_int_equal(sb_overlay_put(&overlay, text("key"), text("item"), false, 1, 1), WIRE_E_NOMEM);
        assert_null(sb_overlay_find(&overlay, text("key")));
        sb_memory_fail_at(n);
        assert_int_equal(sb_lock_add(&overlay, text("key"), 1, 1, &lock), WIRE_E_NOMEM);
        assert_null(sb_lock_find(&overlay, text("key")));
    }
    sb_memory_fail_at(0);
    assert_int_equal(sb_overlay_put(&overlay, text("key"), text("item"), false, 1, 1), WIRE_OK);
    sb_memory_fail_at(1);
    assert_int_equal(sb_overlay_put(&overlay, text("key"), text("other"), false, 2, 2), WIRE_E_NOMEM);
    assert_int_equal(sb_overlay_find(&overlay, text("key"))->stamp, 1);
    /* Growing fails: the table goes on with longer chains. */
    for (unsigned i = 0; i < KEYS; i++) {
        char buffer[32];

        sb_memory_fail_at(i % 2 ? 4 : 0);
        assert_int_equal(sb_overlay_put(&overlay, key_of(buffer, i), text("item"), false, 1, 1), WIRE_OK);
        sb_memory_fail_at(i % 2 ? 4 : 0);
        assert_int_equal(sb_lock_add(&overlay, key_of(buffer, i), 1, 1, &lock), WIRE_OK);
        sb_memory_fail_at(0);
    }
    assert_int_equal(overlay.pending_count, KEYS + 1);
    close_all(&overlay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pending),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
