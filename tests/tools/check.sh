#!/bin/bash
# Run test suites, each within its time budget, and end with one line: N passed, N failed.
# usage: check.sh all | SUITE...      CAIRN_CHECK: default, ci (fuzzes and simulates longer) or long (no budgets)
set -u
. "$(dirname "$0")/common.sh"
cd "$top" || exit 1
level=${CAIRN_CHECK:-default}
logs=$top/build/logs
mkdir -p "$logs"
passed=0
failed=0

# Seconds a suite may take (tests/README.md has the table); what a suite does longer in ci and long.
budget() {
    local default ci
    case $1 in
    lint) default=120 ci=120 ;;
    unit) default=480 ci=900 ;;
    thread) default=240 ci=480 ;;
    fuzz) default=180 ci=780 ;;
    sim) default=240 ci=1200 ;;
    models) default=360 ci=360 ;;
    regress) default=240 ci=300 ;;
    tap) default=600 ci=3000 ;;
    bench) default=300 ci=600 ;;
    esac
    case $level in default) echo $default ;; ci) echo $ci ;; *) echo 0 ;; esac
}

fuzz_seconds() { case $level in default) echo 5 ;; ci) echo 60 ;; *) echo 1800 ;; esac; }
sim_seeds() { # sim_seeds PROGRAM
    case $level-$1 in
    default-sim_group) echo 150 ;;
    ci-sim_group | ci-sim_cluster) echo 2000 ;;
    default-*) echo 100 ;;
    ci-*) echo 400 ;;
    *) echo 100000 ;;
    esac
}

count() { # count PASSED FAILED
    passed=$((passed + $1))
    failed=$((failed + $2))
}

build() { # build TARGET: of the test makefile, quietly
    make -j"$(nproc)" "$1" >"$logs/build-$1.log" 2>&1 || {
        grep -E 'error|undefined' "$logs/build-$1.log" | head -n 20
        echo "$1: the build failed, see build/logs/build-$1.log"
        count 0 1
        return 1
    }
}

# Run cmocka programs and add up their groups. A program that ends without a verdict has failed.
run_cmocka() {
    local program log ok bad
    for program in "$@"; do
        log=$logs/$(basename "$(dirname "$program")")-$(basename "$program").log
        timeout -k 10 300 "$program" >"$log" 2>&1
        if [ $? -eq 0 ]; then
            ok=$(grep -aoE '\[  PASSED  \] [0-9]+' "$log" | awk '{n += $4} END {print n + 0}')
            count "$ok" $((ok == 0))
        else
            ok=$(grep -aoE '\[  PASSED  \] [0-9]+' "$log" | awk '{n += $4} END {print n + 0}')
            bad=$(grep -acE '^\[  FAILED  \] [a-z]' "$log")
            count "$ok" $((bad ? bad : 1))
            tail -n 30 "$log"
            echo "FAILED: $program"
        fi
    done
}

suite_lint() {
    build_and_install || { count 0 1; return; }
    if tests/lint/lint.sh; then count 1 0; else count 0 1; fi
}

suite_unit() {
    build unit-tests || return
    run_cmocka $(find build/unit -name 'test_*' -type f -perm -u+x | sort)
}

suite_thread() {
    build thread-tests || return
    TSAN_OPTIONS="report_thread_leaks=0 suppressions=$top/tests/unit/tsan.supp" \
        run_cmocka $(find build/thread build/plain -name 'test_*' -type f -perm -u+x | sort)
}

suite_fuzz() {
    local target log seconds
    seconds=$(fuzz_seconds)
    build fuzz-targets || return
    for target in $(find build/fuzz -name 'fuzz_*' -type f -perm -u+x | sort); do
        (
            log=$logs/$(basename "$target").log
            "$target" -max_total_time="$seconds" -max_len=4096 -print_final_stats=0 -artifact_prefix="$logs/" >"$log" 2>&1
            echo $? >"$log.status"
        ) &
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    done
    wait
    for target in $(find build/fuzz -name 'fuzz_*' -type f -perm -u+x | sort); do
        log=$logs/$(basename "$target").log
        if [ "$(cat "$log.status")" = 0 ]; then count 1 0; else
            tail -n 30 "$log"
            echo "FAILED: $target"
            count 0 1
        fi
    done
}

suite_sim() {
    local program log
    build simulations || return
    for program in $(find build/sim -name 'sim_*' -type f -perm -u+x | sort); do
        (
            log=$logs/$(basename "$program").log
            "$program" 1 "$(sim_seeds "$(basename "$program")")" >"$log" 2>&1
            echo $? >"$log.status"
        ) &
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    done
    wait
    for program in $(find build/sim -name 'sim_*' -type f -perm -u+x | sort); do
        log=$logs/$(basename "$program").log
        if [ "$(cat "$log.status")" = 0 ]; then count 1 0; else
            tail -n 30 "$log"
            echo "FAILED: $program"
            count 0 1
        fi
    done
}

# Each model and each of its mutants is a test.
suite_models() {
    tests/models/models.sh >"$logs/models.log" 2>&1
    count "$(grep -cE '^[a-z]+: .*: (verified|found), [0-9]+ states$' "$logs/models.log")" "$(grep -c '^FAILED: ' "$logs/models.log")"
    grep -q '^FAILED: ' "$logs/models.log" && cat "$logs/models.log"
    grep -q ', [0-9]* states$' "$logs/models.log" || count 0 1
}

suite_regress() {
    local work tests status
    build_and_install || { count 0 1; return; }
    work=$(private_directory regress)
    tar -C "$top" -cf - sql expected | as_user tar -C "$work" -xf -
    tests=$(cd sql && ls *.sql | sed 's/\.sql$//' | sort)
    as_user tee "$work/cairn.conf" >/dev/null <<<"shared_preload_libraries = 'cairn'"
    as_user "$("$pg_config" --pkglibdir)/pgxs/src/test/regress/pg_regress" --inputdir="$work" --outputdir="$work" \
        --bindir="$bindir" --temp-instance="$work/server" --temp-config="$work/cairn.conf" --no-locale --encoding=UTF8 \
        --port="$port" --user=postgres $tests >"$logs/regress.log" 2>&1
    status=$?
    count "$(grep -cE '^(test|ok) .*\bok\b' "$logs/regress.log")" "$(grep -cE '\bFAILED\b' "$logs/regress.log")"
    if [ $status -ne 0 ]; then
        cat "$logs/regress.log"
        cat "$work/regression.diffs" 2>/dev/null | head -n 200
        grep -qE '\bFAILED\b' "$logs/regress.log" || count 0 1
    fi
    as_user rm -rf "$work"
}

suite_tap() {
    local work file log seeds=default
    [ "$level" = long ] && seeds=long # ci has the default's seeds, within its time
    build_and_install || { count 0 1; return; }
    make interposer >"$logs/interposer.log" 2>&1 || { cat "$logs/interposer.log"; count 0 1; return; }
    work=$(private_directory tap)
    tar -C "$top" -cf - tests/tap build/interposer docs | as_user tar -C "$work" -xf -
    for file in tests/tap/[0-9]*.pl; do
        log=$logs/$(basename "$file").log
        (cd "$work" && as_user env PATH="$bindir:$PATH" CAIRN_CHECK="$seeds" TMPDIR="$work" TESTDIR="$work" PG_CONFIG="$pg_config" CAIRN_INTERPOSER="$work/build/interposer" \
            PERL5LIB="$work/tests/tap" PG_REGRESS="$("$pg_config" --pkglibdir)/pgxs/src/test/regress/pg_regress" \
            timeout -k 10 "$(file_seconds)" perl "$work/$file") >"$log" 2>&1
        local status=$? ok bad
        ok=$(grep -cE '^ok [0-9]+' "$log")
        bad=$(grep -cE '^not ok [0-9]+|^ok [0-9]+.*# skip' "$log")
        [ $status -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
        count $((ok - $(grep -cE '^ok [0-9]+.*# skip' "$log"))) "$bad"
        if [ "$bad" -gt 0 ]; then
            grep -vE '^ok ' "$log" | tail -n 40
            echo "FAILED: $file"
        fi
    done
    as_user rm -rf "$work"
}

# That the benchmark works, and that both contenders give the same answers: it judges no figures.
suite_bench() {
    if CAIRN_BENCH_SMOKE=1 timeout -k 10 600 bench/bench.sh >"$logs/bench.log" 2>&1; then count 1 0; else
        tail -n 30 "$logs/bench.log"
        echo "FAILED: bench/bench.sh"
        count 0 1
    fi
}

file_seconds() { case $level in default) echo 300 ;; ci) echo 1500 ;; *) echo 7200 ;; esac; }

run_suite() {
    local begin seconds limit before=$passed wrong=$failed
    begin=$(date +%s)
    "suite_$1"
    seconds=$(($(date +%s) - begin))
    limit=$(budget "$1")
    if [ "$limit" -gt 0 ] && [ "$seconds" -gt "$limit" ]; then
        echo "$1: took $seconds s, its budget is $limit s"
        count 0 1
    fi
    echo "$1: $((passed - before)) passed, $((failed - wrong)) failed in $seconds s"
}

if [ "${1:-all}" = all ]; then
    set -- lint unit thread fuzz sim models regress tap
    [ "$level" = default ] || set -- "$@" bench
fi
for suite in "$@"; do run_suite "$suite"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
