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
lease;mutant: a restarted member votes at once;-DMUTANT_RESTARTED_VOTES -DVARIANT_READER_LEADS'

# verify MODEL WHAT SWITCHES: print the line of this run; 1 if it did not end as it should.
verify() {
    local model=$1 what=$2 directory states log
    directory=$build/$model-$(tr -c 'a-z0-9\n' '-' <<<"$what")
    log=$directory/log
    rm -rf "$directory" && mkdir -p "$directory" && cd "$directory" || return 1
    # shellcheck disable=SC2086 # the switches are several words
    if ! { spin -a $3 "$here/$model.pml" && gcc -w -O1 -DSAFETY -DNOREDUCE -DMEMLIM=$memory_mb -o pan pan.c; } >"$log" 2>&1; then
        tail -n 20 "$log"
        echo "FAILED: $model: $what: it does not build"
        return 1
    fi
    timeout "$seconds" ./pan -m$depth >>"$log" 2>&1
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
