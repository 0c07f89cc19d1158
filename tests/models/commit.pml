/*
 * A transaction over several partitions: row intents, one record, and whoever meets an intent decides.
 *
 * Transaction a (0) and b (1) each write one row in partition 0 and one in partition 1. The record lies in partition 0.
 *   - Prepare (in any order, by messages that may be late for ever): the leader gives the intent the next version of
 *     its clock. An intent of the other transaction in the way: this one aborts (no wait).
 *   - When both prepares are durable the coordinator commits: the record, if it is not there yet, becomes COMMITTED with
 *     the greatest of the two prepare versions. When that is durable, and not before, it replies.
 *   - Whoever meets an intent may write the record's abortion if it is still absent, and does to intents what the
 *     record says: stamp with its version, or undo. Stamping moves the partition's clock to the version. Prepares of a
 *     transaction whose record says ABORTED come too late: the intent is undone the same way.
 * A partition's log: what is evaluated is durable later; a change of the leader loses what is not durable. Its clock
 * does not go back (a ceiling is logged ahead of use). Nothing answers on what is not durable.
 *
 * A read has T, the greatest clock of both leaders as it begins. Serving T moves a clock past T. An intent with prepare
 * version <= T has to be decided first; one above T cannot matter, for the commit version is not below. It reads row 0,
 * row 1, row 0 again. VARIANT_ONE_ROW: it reads row 1 only, and T is the clock of that leader alone, which may be behind
 * the version of an acknowledged commit (the maximum of prepares elsewhere): then T is raised to the version of what it
 * meets. A statement that has given out rows at T cannot do that: its T comes from all leaders.
 *
 * Abstract: a transaction's locks are its intents; settling is durable at once; records are not collected. One death of
 * a coordinator, one change of a leader.
 *
 * Properties: both rows show the same transactions (atomic visibility), row 0 twice the same (repeatable), all that was
 * acknowledged before the read began; a transaction has one outcome, once committed never aborted; in every last state
 * no intent is undecided and acknowledged means stamped in both partitions. Executions are finite: every step changes
 * something for good (checked: no cycle).
 */
#define NO_RECORD 0
#define COMMITTED 1
#define ABORTED 2

/* Of transaction x in partition p: [2 * x + p] */
#define NOT_YET 0
#define INTENT 1  /* durable */
#define STAMPED 2
#define UNDONE 3
#define IN_FLIGHT 4 /* evaluated, not durable */
#define WAY(x, p) way[2 * (x) + (p)]
#define PREPARED(x, p) prepared[2 * (x) + (p)]
#define SEEN(x, p) seen[2 * (x) + (p)]
byte way[4];
byte prepared[4]; /* version of the intent */
byte final[4];    /* version of the stamped row */
bit seen[4];      /* the coordinator knows that it is durable */
#define FINAL(x, p) final[2 * (x) + (p)]

byte record[2], version[2];
bit record_durable[2];
byte outcome[2]; /* of the first durable record: there must be no other */
bit replied[2], gone[2]; /* the client has COMMIT; the coordinator is dead */
bit gave_up[2];        /* the coordinator met another's intent */
byte clock[2];
bit may_die = 1, may_change = 1;

byte read_step, T;
byte must_see; /* bits */
byte row[3];   /* what was read */

#define MAX(x, y) ((x) > (y) -> (x) : (y))
#define MIN(x, y) ((x) < (y) -> (x) : (y))
#define MOVE_CLOCK(p, v) clock[p] = MAX(clock[p], v)

#ifdef MUTANT_VERSION_BELOW
#define COMMIT_VERSION(x) MIN(PREPARED(x, 0), PREPARED(x, 1))
#else
#define COMMIT_VERSION(x) MAX(PREPARED(x, 0), PREPARED(x, 1))
#endif
#ifdef MUTANT_EARLY_REPLY
#define MAY_REPLY(x) 1
#else
#define MAY_REPLY(x) record_durable[x]
#endif
#ifdef MUTANT_RESOLVER_ABORTS
#define MAY_ABORT(x) (record[x] != ABORTED)
#else
#define MAY_ABORT(x) (record[x] == NO_RECORD)
#endif

inline decide(x, what)
{
    record[x] = what;
    record_durable[x] = 0
}

inline prepare(x, p)
{
    if
    :: WAY(1 - (x), p) == INTENT || WAY(1 - (x), p) == IN_FLIGHT ->
        WAY(x, p) = UNDONE;
        gave_up[x] = 1
    :: else ->
        clock[p]++;
        PREPARED(x, p) = clock[p];
        WAY(x, p) = IN_FLIGHT
    fi
}

inline settle(x, p)
{
    if
    :: record[x] == COMMITTED ->
        WAY(x, p) = STAMPED;
        FINAL(x, p) = version[x];
        assert(WAY(1 - (x), p) != STAMPED || FINAL(1 - (x), p) < version[x]); /* over what it was prepared on */
        MOVE_CLOCK(p, version[x])
    :: else -> WAY(x, p) = UNDONE
    fi
}

inline lose_in_flight(x, p)
{
    if
    :: WAY(x, p) == IN_FLIGHT ->
        WAY(x, p) = NOT_YET;
        PREPARED(x, p) = 0
    :: else
    fi;
    if
    :: p == 0 && !record_durable[x] ->
        record[x] = NO_RECORD;
        version[x] = 0
    :: else
    fi;
#ifdef MUTANT_CLOCK_RESTARTS
    clock[p] = MAX(clock[p], PREPARED(x, p));
    clock[p] = MAX(clock[p], FINAL(x, p))
#endif
}

inline change_leader(p)
{
#ifdef MUTANT_CLOCK_RESTARTS
    clock[p] = 0;
#endif
    lose_in_flight(0, p);
    lose_in_flight(1, p)
}

inline die(x)
{
    gone[x] = 1;
#ifdef MUTANT_NO_RECORD /* the decision was in the coordinator's memory only */
    if
    :: record[x] == COMMITTED ->
        record[x] = NO_RECORD;
        record_durable[x] = 0;
        version[x] = 0
    :: else
    fi
#endif
}

/* A read at T has to wait for x in p. */
#define WAITS(x, p)                                                                                                     \
    (PREPARED(x, p) <= T && (WAY(x, p) == IN_FLIGHT || (ASKS && WAY(x, p) == INTENT && !record_durable[x])))
#ifdef MUTANT_PRE_IMAGE
#define ASKS 0
#else
#define ASKS 1
#endif
#define INTENT_COUNTS(x, p)                                                                                             \
    (ASKS && WAY(x, p) == INTENT && PREPARED(x, p) <= T && record_durable[x] && record[x] == COMMITTED)
#define VISIBLE(x, p) ((WAY(x, p) == STAMPED && FINAL(x, p) <= T) || (INTENT_COUNTS(x, p) && version[x] <= T))

inline raise(x)
{
#ifndef MUTANT_T_NOT_RAISED
    if
    :: WAY(x, 1) == STAMPED -> T = MAX(T, FINAL(x, 1))
    :: INTENT_COUNTS(x, 1) -> T = MAX(T, version[x])
    :: else
    fi
#else
    skip
#endif
}

inline read(p)
{
    row[read_step - 1] = VISIBLE(0, p) + 2 * VISIBLE(1, p);
    read_step++
}

#ifdef VARIANT_ONE_ROW
#define FIRST_ROW 1
#define READ_CLOCK clock[1]
#define LAST_STEP 2
#define AS_MET raise(0); raise(1)
#else
#define FIRST_ROW 0
#define READ_CLOCK MAX(clock[0], clock[1])
#define LAST_STEP 4
#define AS_MET skip
#endif
#define ROW (FIRST_ROW | (read_step == 2))

#define TRANSACTION(x)                                                                                                  \
    :: d_step { WAY(x, 0) == NOT_YET -> prepare(x, 0) }                                                                 \
    :: d_step { WAY(x, 1) == NOT_YET -> prepare(x, 1) }                                                                 \
    :: d_step { WAY(x, 0) == IN_FLIGHT -> WAY(x, 0) = INTENT; SEEN(x, 0) = 1 }                                          \
    :: d_step { WAY(x, 1) == IN_FLIGHT -> WAY(x, 1) = INTENT; SEEN(x, 1) = 1 }                                          \
    :: d_step {                                                                                                         \
        !gone[x] && !gave_up[x] && SEEN(x, 0) && SEEN(x, 1) && record[x] == NO_RECORD ->                                \
        decide(x, COMMITTED);                                                                                           \
        version[x] = COMMIT_VERSION(x)                                                                                  \
    }                                                                                                                   \
    :: d_step { !gone[x] && !replied[x] && record[x] == COMMITTED && MAY_REPLY(x) -> replied[x] = 1 }                   \
    :: d_step { /* whoever meets an intent, or the coordinator that met another's */                                    \
        (WAY(x, 0) == INTENT || WAY(x, 1) == INTENT) && MAY_ABORT(x) -> decide(x, ABORTED)                              \
    }                                                                                                                   \
    :: d_step {                                                                                                         \
        record[x] != NO_RECORD && !record_durable[x] ->                                                                 \
        record_durable[x] = 1;                                                                                          \
        assert(outcome[x] == NO_RECORD || outcome[x] == record[x]);                                                     \
        assert(record[x] == COMMITTED || !replied[x]);                                                                  \
        outcome[x] = record[x]                                                                                          \
    }                                                                                                                   \
    :: d_step { WAY(x, 0) == INTENT && record_durable[x] -> settle(x, 0) }                                              \
    :: d_step { WAY(x, 1) == INTENT && record_durable[x] -> settle(x, 1) }                                              \
    :: d_step { may_die && !gone[x] -> may_die = 0; die(x) }

#define ENDED(x, p) (WAY(x, p) == STAMPED || WAY(x, p) == UNDONE)

active proctype cluster()
{
    do
    TRANSACTION(0)
    TRANSACTION(1)
    :: d_step { may_change -> may_change = 0; change_leader(0) }
    :: d_step { may_change -> may_change = 0; change_leader(1) }
    :: d_step {
        read_step == 0 ->
        T = READ_CLOCK;
        must_see = replied[0] + 2 * replied[1];
        read_step = 1
    }
    :: d_step { /* serving T: no prepare comes at or below it any more */
        read_step > 0 && read_step < LAST_STEP && clock[ROW] < T -> clock[ROW] = T
    }
    :: d_step {
        read_step > 0 && read_step < LAST_STEP && clock[ROW] >= T && !WAITS(0, ROW) && !WAITS(1, ROW) ->
        AS_MET;
        read(ROW)
    }
    :: d_step {
        read_step == LAST_STEP ->
#ifdef VARIANT_ONE_ROW
        assert((must_see & row[0]) == must_see);
#else
        assert(row[0] == row[1] && row[0] == row[2]);
        assert((must_see & row[0]) == must_see);
#endif
        read_step = 5
    }
    :: timeout -> break
    od;
    assert(read_step == 5);
    assert(ENDED(0, 0) && ENDED(0, 1) && ENDED(1, 0) && ENDED(1, 1));
    assert(WAY(0, 0) == WAY(0, 1) && WAY(1, 0) == WAY(1, 1));
    assert((!replied[0] || WAY(0, 0) == STAMPED) && (!replied[1] || WAY(1, 0) == STAMPED))
}
