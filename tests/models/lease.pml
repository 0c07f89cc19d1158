/*
 * The lease of a leader: reads without a round trip, checked for staleness. Contract: replication_worker/core/rg_group.h.
 *
 * Three members; the lease of a leader runs LEASE from when it sent the newest APPEND that a majority (one follower)
 * echoed. A member refuses votes for ELECTION of its own clock after it heard a leader, and after it started. Then it
 * may stand at any time. Clocks run between SLOW and FAST per unit of time: LEASE lasts at most LEASE / SLOW = 2 units,
 * ELECTION at least ELECTION / FAST = 2. A longer lease and a shorter refusal only allow more, so leases on the slowest
 * clock and refusals on the fastest stand for every drift. Leadership is handed over by TIMEOUT_NOW, whose
 * candidate is allowed to disrupt (voters that hear a leader grant it as well). Two rules make that safe:
 *   - the lease is given up before TIMEOUT_NOW leaves;
 *   - it does not come back, however long ago that was, until the member that was to take over has echoed an APPEND sent
 *     after it (messages of a pair are FIFO): the message may be on its way for any time.
 * That a candidate which stands again in later terms still has the permission (libraft) is safe: it lacks the first
 * entry of every later leader that could serve.
 *
 * A read: the turn of a reader begins with a check of the lease and one reading of the clock, requests join the turn,
 * the data is read, the lease is checked again with the clock of then and for the same term. The first check is older
 * than the request and proves nothing by itself. VARIANT_FRESH_CHECK: one check is enough if clock and lease are read
 * after the request came and before the data is.
 *
 * What is abstract: one write (its copies are one bit per log); the log is (term of last entry, write in it), and an
 * APPEND carries all of it; standing, asking and being granted are one step, with whichever voter would grant it (a vote
 * that is lost or late elects nobody or somebody later), but for who was told to stand, who may ask at any later time;
 * pre-vote, which only forbids; time, as what is left of each deadline, so that it is unbounded. One message per pair
 * of members is in flight; any may be lost, or late for ever. Term, vote and log are durable at once.
 *
 * Properties: an answered read has the write if that was acknowledged before the read began; at most one member can
 * serve reads.
 */
#define N 3
#ifdef VARIANT_THREE_TERMS /* two leaders after the first: that one alone serves, no data, nobody restarts */
#define TERMS 3
#define READS 0
#define RESTARTS 0
#else
#define TERMS 2
#define READS 1
#define RESTARTS 1
#endif
#define SLOW 2
#define FAST 3
#define ELECTION 6
#ifdef MUTANT_LONG_LEASE /* shorter than the election timeout, but not by the drift */
#define LEASE 5
#else
#define LEASE 4
#endif
#ifdef MUTANT_CLOCK_STOPS /* the clock does not run through suspend */
#define SLOWEST 0
#else
#define SLOWEST SLOW
#endif

#define FOLLOWER 0
#define CANDIDATE 1 /* told to stand by a leader: may disrupt */
#define LEADER 2

#define NOTHING 0
#define APPEND 1
#define RESULT 2
#define TIMEOUT_NOW 3

#define LEADS 0
#define LEASELESS 1 /* leadership is being handed over: nothing is submitted */
#define GIVEN_UP 2  /* that took too long: writes go on, the lease waits for the echo */

byte role[N], term[N];
bit voted[N];    /* in this term */
byte hears[N];   /* for how long it still refuses votes */
byte log_term[N];
bit log_has[N];  /* the write is in the log */
bit applied;     /* ... and in the items store of member 0, where followers bring it as late as can be */
byte lease[N];   /* what is left of it */
bit settled[N];  /* an entry of the own term is committed */
byte handing[N];
byte heir[N];    /* who got TIMEOUT_NOW in this term; N: nobody */

typedef Message {
    byte kind;
    byte to;
    byte term;
    byte left; /* APPEND, RESULT: of the lease that this message gives */
    bit has
}
Message wire[N]; /* of the pair i, j: wire[i + j - 1] */
#define PAIR(i, j) wire[(i) + (j)-1]

bit acknowledged;
byte read_phase, read_term;
bit needs, value;

#define READER 0 /* the member that is read from */
#define CAN_SERVE(i) (role[i] == LEADER && settled[i] && lease[i] > 0)

inline drop(k)
{
    wire[k].kind = NOTHING;
    wire[k].to = 0;
    wire[k].term = 0;
    wire[k].left = 0;
    wire[k].has = 0
}

/* What nobody would heed is gone: fewer states, nothing else. */
inline sweep(k, j)
{
    if
    :: wire[k].kind != NOTHING && wire[k].to == j &&
       (wire[k].term < term[j] || (wire[k].kind == RESULT && role[j] != LEADER) ||
        (wire[k].kind == TIMEOUT_NOW && (role[j] != FOLLOWER || log_term[j] != wire[k].term))) ->
        drop(k)
    :: else
    fi
}

#define SWEEP sweep(0, 0); sweep(0, 1); sweep(1, 0); sweep(1, 2); sweep(2, 1); sweep(2, 2)

inline follow(i, new_term)
{
    if
    :: new_term > term[i] ->
        term[i] = new_term;
        voted[i] = 0
    :: else
    fi;
    role[i] = FOLLOWER;
    lease[i] = 0;
    settled[i] = 0;
    handing[i] = LEADS;
    heir[i] = N;
    SWEEP
}

inline forget_read()
{
    read_phase = 0;
    read_term = 0;
    needs = 0;
    value = 0
}

inline restart(i)
{
    follow(i, term[i]);
#ifdef MUTANT_RESTARTED_VOTES
    hears[i] = 0;
#else
    hears[i] = ELECTION;
#endif
    if
    :: i == READER -> forget_read()
    :: else
    fi
}

/* i leads its term: its first entry is a barrier. */
inline win(i)
{
    role[i] = LEADER;
    voted[i] = 1;
    hears[i] = 0;
    log_term[i] = term[i];
    SWEEP
}

/* j votes for i in new_term. */
inline grant(j, new_term)
{
    follow(j, new_term);
    voted[j] = 1;
    hears[j] = 0
}

#define LOG_SUFFICES(i, j) (log_term[i] > log_term[j] || (log_term[i] == log_term[j] && log_has[i] >= log_has[j]))
#define VOTE_IS_FREE(j, in_term) (term[j] < in_term || (term[j] == in_term && !voted[j]))

inline send(i, j, what)
{
    PAIR(i, j).kind = what;
    PAIR(i, j).to = j;
    PAIR(i, j).term = term[i];
    PAIR(i, j).left = (what == APPEND -> LEASE : 0);
    PAIR(i, j).has = log_has[i];
    SWEEP
}

inline receive_append(k, i, j)
{
    follow(j, wire[k].term);
    hears[j] = ELECTION;
    log_term[j] = wire[k].term;
    log_has[j] = wire[k].has;
    wire[k].kind = RESULT;
    wire[k].to = i;
    SWEEP
}

inline receive_result(k, i, j)
{
    if
    :: wire[k].term == term[j] ->
        if
        :: handing[j] == GIVEN_UP && heir[j] == i ->
            handing[j] = LEADS;
            heir[j] = N
        :: else
        fi;
        if
#ifdef MUTANT_KEEPS_LEASE
        :: wire[k].left > lease[j] -> lease[j] = wire[k].left
#else
        :: handing[j] == LEADS && wire[k].left > lease[j] -> lease[j] = wire[k].left
#endif
        :: else
        fi;
        settled[j] = 1;
        applied = applied | (j == READER && wire[k].has);
        acknowledged = acknowledged | wire[k].has;
        assert(CAN_SERVE(0) + CAN_SERVE(1) + CAN_SERVE(2) <= 1) /* nowhere else does anybody come to serve */
    :: else
    fi;
    drop(k)
}

inline receive_timeout_now(k, j)
{
    if
    :: wire[k].has == log_has[j] && term[j] < TERMS ->
        follow(j, term[j] + 1);
        role[j] = CANDIDATE;
        voted[j] = 1;
        hears[j] = 0
    :: else
    fi;
    drop(k)
}

inline age(k)
{
    wire[k].left = (wire[k].left > d -> wire[k].left - d : 0)
}

inline pass(i)
{
    lease[i] = (lease[i] > d -> lease[i] - d : 0);
    hears[i] = (hears[i] > FAST -> hears[i] - FAST : 0)
}

#define PASS pass(0); pass(1); pass(2); age(0); age(1); age(2); d = 0

#define BETWEEN(i, j)                                                                                                   \
    :: d_step { role[i] == LEADER && PAIR(i, j).kind == NOTHING -> send(i, j, APPEND) }                                 \
    :: d_step {                                                                                                         \
        handing[i] == LEASELESS && heir[i] == N && PAIR(i, j).kind == NOTHING ->                                        \
        heir[i] = j;                                                                                                    \
        send(i, j, TIMEOUT_NOW)                                                                                         \
    }                                                                                                                   \
    :: d_step { /* i was told nothing and stands, j hears nobody and grants it */                                       \
        role[i] == FOLLOWER && hears[i] == 0 && term[i] < TERMS && role[j] != LEADER && hears[j] == 0 &&                \
        VOTE_IS_FREE(j, term[i] + 1) && LOG_SUFFICES(i, j) ->                                                           \
        follow(i, term[i] + 1);                                                                                         \
        grant(j, term[i]);                                                                                              \
        win(i)                                                                                                          \
    }                                                                                                                   \
    :: d_step { /* i was told to stand: nothing but a vote or the log stops j */                                        \
        role[i] == CANDIDATE && VOTE_IS_FREE(j, term[i]) && LOG_SUFFICES(i, j) ->                                       \
        grant(j, term[i]);                                                                                              \
        win(i)                                                                                                          \
    }                                                                                                                   \
    :: d_step { /* ... and if it is the log, j takes the term all the same */                                           \
        role[i] == CANDIDATE && term[j] < term[i] && !LOG_SUFFICES(i, j) -> follow(j, term[i])                          \
    }                                                                                                                   \
    :: d_step { PAIR(i, j).kind == APPEND && PAIR(i, j).to == j -> receive_append((i) + (j)-1, i, j) }                  \
    :: d_step { PAIR(i, j).kind == RESULT && PAIR(i, j).to == j -> receive_result((i) + (j)-1, i, j) }                  \
    :: d_step { PAIR(i, j).kind == TIMEOUT_NOW && PAIR(i, j).to == j -> receive_timeout_now((i) + (j)-1, j) }

#ifdef MUTANT_KEEPS_LEASE
#define AT_TRANSFER(i) lease[i]
#else
#define AT_TRANSFER(i) 0
#endif
#ifdef MUTANT_LEASE_AFTER_TRANSFER /* the lease is back when the transfer has taken too long */
#define TOOK_TOO_LONG(i) LEADS
#else
#define TOOK_TOO_LONG(i) (heir[i] == N -> LEADS : GIVEN_UP)
#endif

#define MEMBER(i)                                                                                                       \
    :: d_step { role[i] == CANDIDATE && term[i] < TERMS -> term[i]++; SWEEP }                                            \
    :: d_step { RESTARTS -> restart(i) }                                                                                            \
    :: d_step {                                                                                                         \
        role[i] == LEADER -> /* it has not heard a majority */                                                          \
        follow(i, term[i]);                                                                                             \
        hears[i] = 0                                                                                                    \
    }                                                                                                                   \
    :: d_step {                                                                                                         \
        role[i] == LEADER && handing[i] == LEADS && settled[i] && term[i] < TERMS ->                                    \
        handing[i] = LEASELESS;                                                                                         \
        lease[i] = AT_TRANSFER(i)                                                                                       \
    }                                                                                                                   \
    :: d_step {                                                                                                         \
        handing[i] == LEASELESS ->                                                                                      \
        handing[i] = TOOK_TOO_LONG(i);                                                                                  \
        heir[i] = (handing[i] == LEADS -> N : heir[i])                                                                  \
    }                                                                                                                   \
    :: d_step { role[i] == LEADER && handing[i] != LEASELESS && !log_has[i] && READS -> log_has[i] = 1 }

/* What the read has to see is fixed when it begins. */
#ifdef VARIANT_FRESH_CHECK
#define FIRST_CHECK CAN_SERVE(READER)
#define NEEDED_AT_CHECK needs = acknowledged
#define NEEDED_LATER skip
#define SECOND_CHECK 1
#else
#ifdef MUTANT_NO_FIRST_CHECK
#define FIRST_CHECK 1
#else
#define FIRST_CHECK CAN_SERVE(READER)
#endif
#define NEEDED_AT_CHECK skip
#define NEEDED_LATER needs = acknowledged
#if defined(MUTANT_NO_SECOND_CHECK)
#define SECOND_CHECK 1
#elif defined(MUTANT_NO_FIRST_CHECK)
#define SECOND_CHECK CAN_SERVE(READER)
#else
#define SECOND_CHECK (CAN_SERVE(READER) && term[READER] == read_term)
#endif
#endif

active proctype group()
{
    byte d;
    if
#ifndef VARIANT_READER_FOLLOWS
    :: d = READER
#endif
#ifndef VARIANT_READER_LEADS
    :: d = 1
#endif
    fi;
    d_step {
        role[d] = LEADER;
        settled[d] = 1;
        for (d : 0 .. N - 1) {
            term[d] = 1;
            voted[d] = 1;
            log_term[d] = 1;
            heir[d] = N
        }
        d = 0
    }
    do
    BETWEEN(0, 1)
    BETWEEN(1, 0)
    BETWEEN(0, 2)
    BETWEEN(2, 0)
    BETWEEN(1, 2)
    BETWEEN(2, 1)
    MEMBER(0)
    MEMBER(1)
    MEMBER(2)
    :: d_step { wire[0].kind != NOTHING -> drop(0) }
    :: d_step { wire[1].kind != NOTHING -> drop(1) }
    :: d_step { wire[2].kind != NOTHING -> drop(2) }
    :: d_step {
        READS && read_phase == 0 && FIRST_CHECK ->
        read_term = term[READER];
        read_phase = 1;
        NEEDED_AT_CHECK
    }
    :: d_step { read_phase == 1 -> NEEDED_LATER; read_phase = 2 }
    :: d_step { read_phase == 2 -> value = applied; read_phase = 3 }
    :: d_step {
        read_phase == 3 ->
        assert(!SECOND_CHECK || !needs || value); /* no stale read */
        forget_read()
    }
    :: d_step { SLOWEST == 0 -> d = 0; PASS }
    :: d_step { d = SLOW; PASS }
    od
}
