/*
 * Quiescence: the members of an idle group stop their timers by agreement. Not built yet: this is its protocol.
 *
 * Messages, beside those of consensus: QUIET and SLEEP (leader to member), AGREE and WAKE (member to leader). QUIET,
 * AGREE and SLEEP carry term and number of the proposal; QUIET also the leader's last index and commit. All members
 * means all: voters and learners.
 *
 * 1. The leader proposes when it has settled, nothing was written or read under the lease for some heartbeats, nothing
 *    is in flight, no change, transfer or install is under way, the links to all members are up, and every member has
 *    confirmed on this connection its last index and, applied, its commit, which are equal. It sends QUIET to all. A
 *    write, a lost link, WAKE or a vote request cancels the proposal; heartbeats go on.
 * 2. A member agrees if it follows this leader in this term, has exactly that index durable and that commit applied,
 *    and has nothing to do itself. It remembers the number and sends AGREE; its timer goes on. Else it sends WAKE.
 * 3. When all have agreed to this proposal the leader gives up its lease for good: no echo of an APPEND sent before
 *    now counts any more. Then it sends SLEEP to all and stops its timers.
 * 4. A member that gets SLEEP stops its timer if it still agrees (same leader, term, number, nothing appended since).
 *    Else it sends WAKE. It still knows its leader and refuses votes.
 * 5. Asleep, a member wakes by anything: a write or read that is submitted (the leader wakes first, then appends; a
 *    read waits for a lease or ReadIndex), any message for the group but the echo of an APPEND sent before SLEEP, and
 *    the loss of the link to any member. A loss is latched: it is told although the link is up again before the group
 *    runs, and nothing of the new connection is told before it.
 * 6. A leader that wakes sends APPEND to all at once. A follower that wakes by anything but an APPEND of its leader
 *    sends WAKE to the leader and runs its timer anew; if it was the link to its leader that was lost it may stand
 *    after a random part of the election timeout, for no lease depends on it (3).
 * A group with a dead member does not sleep.
 *
 * Model: three members; FIFO queues that a lost link empties; budgets: one write, one lost link, the death of one
 * member, one refusal of QUIET for a reason of its own. A timer fires only when the leader is gone or silent and its
 * messages are not just under way. Pre-vote, vote and answer are one step, repeated by the candidate; a request wakes
 * who sleeps. Executions are finite (no cycle: checked), so what holds in every last state happens in the end, without
 * any assumption of fairness but that what can be done is done.
 *
 * Not modelled: heartbeats while a proposal is out, and with them echoes that arrive after SLEEP (3, 5).
 *
 * Properties: who goes to sleep knows that all have agreed and have everything; no lease while asleep, or while another
 * is elected; in the end a submitted write is committed, one living member leads, and all sleep if none is dead.
 */
#define N 3
#define FOLLOWER 0
#define LEADER 1

mtype = { APPEND, RESULT, QUIET, AGREE, SLEEP, WAKE };
/* q[3 * from + to]: kind, term, has, committed, number */
chan q[9] = [6] of { mtype, byte, bit, bit, byte };
#define Q(i, j) q[3 * (i) + (j)]

bit alive[N], awake[N], role[N];
byte term[N];
byte leads[N]; /* whom it follows; N: unknown */
bit hears[N];  /* refuses votes */
bit has[N], committed[N];
byte log_term[N];
byte agreed[N]; /* to which proposal; 0: none, or not any more */
byte said[N];   /* the last one that it agreed to */
/* Of a leader: */
byte lease[N]; /* bits of the members whose echo gives one */
byte same[N];  /* bits of those known to be where the leader is */
byte agree[N];
bit proposes[N];
byte number[N];

bit up[9], lost[9]; /* lost[3 * i + j]: i is still to be told */
bit want, done, died;
bit may_write = 1, may_lose = 1, may_die = 1, may_refuse = 1;
byte highest = 1;
#define UP(i, j) up[3 * (i) + (j)]
#define LOST(i, j) lost[3 * (i) + (j)]
#define BIT(i) (1 << (i))
#define OTHERS(i) (7 - BIT(i))

inline post(i, j, what, x)
{
    if
    :: UP(i, j) && !LOST(i, j) -> Q(i, j)!what(term[i], has[i], committed[i], x)
    :: else
    fi
}

inline append_all(i)
{
    post(i, ((i) + 1) % 3, APPEND, 0);
    post(i, ((i) + 2) % 3, APPEND, 0)
}

inline say_wake(i)
{
    if
    :: leads[i] != N && leads[i] != i -> post(i, leads[i], WAKE, 0)
    :: else
    fi
}

/* By anything but an APPEND of its leader. */
inline wake(i)
{
    agreed[i] = 0;
    if
    :: !awake[i] ->
        awake[i] = 1;
        same[i] = 0;
        if
        :: role[i] == LEADER -> append_all(i)
        :: else ->
            hears[i] = 1;
            say_wake(i)
        fi
    :: else -> proposes[i] = 0
    fi
}

inline follow(i, new_term)
{
    term[i] = new_term;
    role[i] = FOLLOWER;
    lease[i] = 0;
    same[i] = 0;
    agree[i] = 0;
    proposes[i] = 0;
    number[i] = 0;
    agreed[i] = 0
}

inline fall_asleep(i, l)
{
    assert(said[(l + 1) % 3] == n && said[(l + 2) % 3] == n && committed[i] == has[i]);
    awake[i] = 0
}

inline receive_append(i, j)
{
    if
    :: t >= term[j] ->
        if
        :: t > term[j] || h != has[j] || leads[j] != i -> follow(j, t)
        :: else
        fi;
        leads[j] = i;
        awake[j] = 1;
        hears[j] = 1;
        agreed[j] = 0;
        log_term[j] = t;
        has[j] = h;
        committed[j] = c
    :: else
    fi;
    post(j, i, RESULT, 0)
}

/* j leads, i echoes. */
inline receive_result(i, j)
{
    if
    :: t > term[j] ->
        follow(j, t);
        leads[j] = N;
        hears[j] = 0;
        awake[j] = 1
    :: role[j] == LEADER && t == term[j] ->
        if
        :: hears[i] && awake[j] -> lease[j] = lease[j] | BIT(i)
        :: else
        fi;
        assert(awake[j] || lease[j] == 0);
        if
        :: h && has[j] && !committed[j] ->
            committed[j] = 1;
            done = 1;
            same[j] = 0;
            append_all(j)
        :: else ->
            if
            :: h == has[j] && c == committed[j] && c == h -> same[j] = same[j] | BIT(i)
            :: else
            fi
        fi
    :: else
    fi
}

#define MAY_AGREE(i, j) (t == term[j] && role[j] == FOLLOWER && leads[j] == i && h == has[j] && c == committed[j] && awake[j])
inline receive_quiet(i, j)
{
    if
    :: MAY_AGREE(i, j) ->
        agreed[j] = n;
        said[j] = n;
        post(j, i, AGREE, n)
    :: !MAY_AGREE(i, j) -> post(j, i, WAKE, 0)
    :: may_refuse ->
        may_refuse = 0;
        post(j, i, WAKE, 0)
    fi
}

#ifdef MUTANT_ONE_IS_ENOUGH
#define ALL_AGREE(j) (agree[j] != 0)
#else
#define ALL_AGREE(j) (agree[j] == OTHERS(j))
#endif
#ifdef MUTANT_KEEPS_LEASE
#define LEASE_ASLEEP(j) lease[j]
#else
#define LEASE_ASLEEP(j) 0
#endif
inline receive_agree(i, j)
{
    if
    :: proposes[j] && t == term[j] && n == number[j] ->
        agree[j] = agree[j] | BIT(i);
        if
        :: ALL_AGREE(j) ->
            proposes[j] = 0;
            agree[j] = 0;
            lease[j] = LEASE_ASLEEP(j);
            assert(has[0] == has[1] && has[1] == has[2] && committed[0] == has[0] && committed[1] == has[1] &&
                   committed[2] == has[2]);
            assert(lease[j] == 0);
            fall_asleep(j, j);
            post(j, (j + 1) % 3, SLEEP, n);
            post(j, (j + 2) % 3, SLEEP, n)
        :: else
        fi
    :: else
    fi
}

inline receive_sleep(i, j)
{
    if
    :: t == term[j] && leads[j] == i && agreed[j] == n && role[j] == FOLLOWER ->
        fall_asleep(j, i)
    :: else -> post(j, i, WAKE, 0)
    fi
}

inline receive(i, j)
{
    Q(i, j)?k(t, h, c, n);
    if
    :: k == APPEND -> receive_append(i, j)
    :: k == RESULT -> receive_result(i, j)
    :: k == QUIET -> receive_quiet(i, j)
    :: k == AGREE -> receive_agree(i, j)
    :: k == SLEEP -> receive_sleep(i, j)
    :: k == WAKE -> wake(j)
    fi;
    k = 0;
    t = 0;
    h = 0;
    c = 0;
    n = 0
}

inline empty_queue(i, j)
{
    do
    :: len(Q(i, j)) > 0 -> Q(i, j)?k(t, h, c, n)
    :: else -> break
    od;
    k = 0;
    t = 0;
    h = 0;
    c = 0;
    n = 0
}

inline cut(i, j)
{
    if
    :: UP(i, j) ->
        UP(i, j) = 0;
        UP(j, i) = 0;
        LOST(i, j) = alive[i];
        LOST(j, i) = alive[j];
        empty_queue(i, j);
        empty_queue(j, i)
    :: else
    fi
}

inline hear_of_loss(i, j)
{
    LOST(i, j) = 0;
    same[i] = same[i] & (7 - BIT(j));
#ifdef MUTANT_LOSS_DOES_NOT_WAKE
    proposes[i] = 0;
#else
    if
    :: !awake[i] && leads[i] == j ->
        wake(i);
        hears[i] = 0; /* may stand */
        leads[i] = N
    :: else -> wake(i)
    fi;
#endif
    if
    :: role[i] == LEADER && awake[i] -> post(i, j, APPEND, 0)
    :: else
    fi
}

#ifdef MUTANT_WRITE_DOES_NOT_WAKE
#define WAKE_TO_WRITE(i) skip
#define APPEND_WRITE(i)                                                                                                 \
    if                                                                                                                  \
    :: awake[i] -> append_all(i)                                                                                        \
    :: else                                                                                                             \
    fi
#else
#define WAKE_TO_WRITE(i) awake[i] = 1; proposes[i] = 0; agreed[i] = 0
#define APPEND_WRITE(i) append_all(i)
#endif

#define NOTHING_UNDER_WAY(i, j) (empty(Q(i, j)) && empty(Q(j, i)) && !LOST(i, j) && !LOST(j, i))

/* Its leader is gone, cut off, silent, or none any more. */
#define SILENT(i)                                                                                                       \
    (leads[i] == N || !alive[leads[i]] || !UP(i, leads[i]) ||                                                           \
     ((!awake[leads[i]] || role[leads[i]] != LEADER || term[leads[i]] < term[i]) && NOTHING_UNDER_WAY(i, leads[i])))

inline win(i, j)
{
    highest = (term[i] > term[j] -> term[i] : term[j]) + 1;
    follow(i, highest);
    follow(j, highest);
    leads[i] = i;
    leads[j] = N;
    role[i] = LEADER;
    log_term[i] = highest;
    hears[i] = 0;
    assert(lease[0] == 0 && lease[1] == 0 && lease[2] == 0);
    append_all(i)
}

#define BETWEEN(i, j)                                                                                                   \
    :: atomic { alive[j] && nempty(Q(i, j)) && !LOST(j, i) -> receive(i, j) }                                           \
    :: d_step { LOST(i, j) -> hear_of_loss(i, j) }                                                                      \
    :: d_step { /* elected */                                                                                           \
        alive[i] && alive[j] && awake[i] && awake[j] && UP(i, j) && !LOST(i, j) && !LOST(j, i) && !hears[i] &&          \
        !hears[j] && role[i] == FOLLOWER && role[j] == FOLLOWER &&                                                      \
        (log_term[i] > log_term[j] || (log_term[i] == log_term[j] && has[i] >= has[j])) -> win(i, j)                    \
    }                                                                                                                   \
    :: d_step { /* asked for a vote in its sleep */                                                                     \
        alive[i] && awake[i] && role[i] == FOLLOWER && !hears[i] && alive[j] && !awake[j] && UP(i, j) &&                \
        !LOST(i, j) && !LOST(j, i) -> wake(j)                                                                           \
    }

#define LINK(i, j)                                                                                                      \
    :: d_step { may_lose && UP(i, j) -> may_lose = 0; cut(i, j) }                                                       \
    :: d_step {                                                                                                         \
        alive[i] && alive[j] && !UP(i, j) ->                                                                            \
        UP(i, j) = 1;                                                                                                   \
        UP(j, i) = 1;                                                                                                   \
        meet(i, j);                                                                                                     \
        meet(j, i)                                                                                                      \
    }

inline meet(i, j)
{
    if
    :: role[i] == LEADER && awake[i] -> post(i, j, APPEND, 0)
    :: else
    fi
}

inline die(i)
{
    cut(i, ((i) + 1) % 3);
    cut(i, ((i) + 2) % 3);
    alive[i] = 0;
    LOST(i, ((i) + 1) % 3) = 0;
    LOST(i, ((i) + 2) % 3) = 0;
    follow(i, term[i]);
    awake[i] = 0;
    hears[i] = 0
}

#define IS_WITHOUT(l, i) lease[l] = lease[l] & (7 - BIT(i))

#define MEMBER(i)                                                                                                       \
    :: d_step { may_die -> may_die = 0; died = 1; die(i) }                                                              \
    :: d_step { /* the client asks again while it has no answer */                                                      \
        want && !done && alive[i] && role[i] == LEADER && !has[i] ->                                                    \
        has[i] = 1;                                                                                                     \
        same[i] = 0;                                                                                                    \
        WAKE_TO_WRITE(i);                                                                                               \
        APPEND_WRITE(i)                                                                                                 \
    }                                                                                                                   \
    :: d_step {                                                                                                         \
        role[i] == LEADER && awake[i] && !proposes[i] && same[i] == OTHERS(i) && has[i] == committed[i] &&              \
        UP(i, (i + 1) % 3) && UP(i, (i + 2) % 3) && !LOST(i, (i + 1) % 3) && !LOST(i, (i + 2) % 3) ->                   \
        proposes[i] = 1;                                                                                                \
        number[i]++;                                                                                                    \
        agree[i] = 0;                                                                                                   \
        post(i, (i + 1) % 3, QUIET, number[i]);                                                                         \
        post(i, (i + 2) % 3, QUIET, number[i])                                                                          \
    }                                                                                                                   \
    :: d_step { /* the election timer: leases that rest on it are over */                                               \
        alive[i] && awake[i] && role[i] == FOLLOWER && hears[i] && SILENT(i) ->                                         \
        hears[i] = 0;                                                                                                   \
        agreed[i] = 0;                                                                                                  \
        IS_WITHOUT(0, i);                                                                                               \
        IS_WITHOUT(1, i);                                                                                               \
        IS_WITHOUT(2, i)                                                                                                \
    }

#define LEADS_ALIVE(i) (alive[i] && role[i] == LEADER && term[i] == highest)

active proctype group()
{
    mtype k;
    byte t, n;
    bit h, c;
    d_step {
        for (n : 0 .. N - 1) {
            alive[n] = 1;
            awake[n] = 1;
            term[n] = 1;
            log_term[n] = 1;
            hears[n] = n > 0
        }
        for (n : 0 .. 8) {
            up[n] = 1
        }
        n = 0;
        role[0] = LEADER;
        append_all(0)
    }
    do
    BETWEEN(0, 1)
    BETWEEN(1, 0)
    BETWEEN(0, 2)
    BETWEEN(2, 0)
    BETWEEN(1, 2)
    BETWEEN(2, 1)
    LINK(0, 1)
    LINK(0, 2)
    LINK(1, 2)
    MEMBER(0)
    MEMBER(1)
    MEMBER(2)
    :: d_step { may_write -> may_write = 0; want = 1 }
    :: d_step { may_die -> may_die = 0 }
    :: timeout -> break
    od;
    assert(done == want);
    assert(LEADS_ALIVE(0) + LEADS_ALIVE(1) + LEADS_ALIVE(2) == 1);
    assert(awake[0] + awake[1] + awake[2] == (died -> 2 : 0))
}
