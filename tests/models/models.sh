#!/bin/bash
# Verify the models: every honest one wholly and without an error, and in every mutant an error. One line each, then
# status 0 if all did as they should. Builds in build/models. README.md says what is modelled.
# usage: models.sh [MODEL]
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/../.." && pwd)/build/models
depth=2000000 # -m: a search that gets there is truncated and fails
memory_mb=900
seconds=300
bad=0

# model ; what: honest, or what a mutant does wrong ; switches
runs='lease;honest;
lease;honest, three terms;-DVARIANT_THREE_TERMS
lease;honest, one check that is newer than the request;-DVARIANT_FRESH_CHECK -DVARIANT_READER_LEADS
lease;mutant: a lease too long for the drift;-DMUTANT_LONG_LEASE -DVARIANT_READER_LEADS
lease;mutant: a clock that stops in suspend;-DMUTANT_CLOCK_STOPS -DVARIANT_READER_LEADS
lease;mutant: no second check;-DMUTANT_NO_SECOND_CHECK -DVARIANT_READER_LEADS
lease;mutant: no first check;-DMUTANT_NO_FIRST_CHECK -DVARIANT_READER_FOLLOWS
lease;mutant: leadership handed over with the lease kept;-DMUTANT_KEEPS_LEASE -DVARIANT_READER_LEADS
lease;mutant: the lease comes back because the transfer took too long;-DMUTANT_LEASE_AFTER_TRANSFER -DVARIANT_READER_LEADS
lease;mutant: a restarted member votes at once;-DMUTANT_RESTARTED_VOTES -DVARIANT_READER_LEADS
quiescence;honest;
quiescence;honest, every execution ends;-DCYCLES
quiescence;mutant: one agreement is enough;-DMUTANT_ONE_IS_ENOUGH
quiescence;mutant: the loss of a link does not wake;-DMUTANT_LOSS_DOES_NOT_WAKE
quiescence;mutant: a write does not wake;-DMUTANT_WRITE_DOES_NOT_WAKE
quiescence;mutant: the lease is kept asleep;-DMUTANT_KEEPS_LEASE
commit;honest;
commit;honest, every execution ends;-DCYCLES
commit;honest, one row at the clock of its own leader;-DVARIANT_ONE_ROW
commit;mutant: two-phase commit without a record;-DMUTANT_NO_RECORD
commit;mutant: reply before the record is durable;-DMUTANT_EARLY_REPLY
commit;mutant: a resolver aborts what is committed;-DMUTANT_RESOLVER_ABORTS
commit;mutant: commit version below a prepare;-DMUTANT_VERSION_BELOW
commit;mutant: a reader returns the pre-image of what is committed;-DMUTANT_PRE_IMAGE
commit;mutant: a new leader forgets the clock;-DMUTANT_CLOCK_RESTARTS
commit;mutant: one row, and T is not raised;-DMUTANT_T_NOT_RAISED -DVARIANT_ONE_ROW'

# verify MODEL WHAT SWITCHES: print the line of this run; 1 if it did not end as it should.
verify() {
    local model=$1 what=$2 directory states log search=-DSAFETY options= optimize=-O1
    directory=$build/$model-$(tr -c 'a-z0-9\n' '-' <<<"$what")
    log=$directory/log
    rm -rf "$directory" && mkdir -p "$directory" && cd "$directory" || return 1
    # Without progress labels every cycle is one without progress.
    [[ $3 != *CYCLES* ]] || search=-DNP options=-l
    # These are found within a thousand states: the compiler is what takes time.
    [[ $what == honest* || $model == lease ]] || optimize=-O0
    # shellcheck disable=SC2086 # the switches are several words
    if ! { spin -a $3 "$here/$model.pml" && gcc -w $optimize $search -DNOREDUCE -DMEMLIM=$memory_mb -o pan pan.c; } >"$log" 2>&1; then
        tail -n 20 "$log"
        echo "FAILED: $model: $what: it does not build"
        return 1
    fi
    timeout "$seconds" ./pan -m$depth $options >>"$log" 2>&1
    states=$(awk '/states, stored/ {print $1}' "$log")
    if [[ $what == honest* ]]; then
        if grep -q 'errors: 0$' "$log" && ! grep -qE 'max search depth too small|Search not completed|out of memory|MEMLIM' "$log"; then
            echo "$model: $what: verified, $states states"
            rm -f pan
            return 0
        fi
    elif grep -qE '^pan:[0-9]+: (assertion violated|invalid end state)' "$log" && [ -f "$model.pml.trail" ]; then
        echo "$model: $what: found, $states states"
        rm -f pan
        return 0
    fi
    tail -n 20 "$log"
    echo "FAILED: $model: $what: see $log"
    return 1
}

while IFS=';' read -r model what switches; do
    [ $# -eq 0 ] || [ "$1" = "$model" ] || continue
    verify "$model" "$what" "$switches" || bad=1
done <<<"$runs"
exit $bad
