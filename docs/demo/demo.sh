#!/bin/bash
# The demo: a private server, the package records of this machine in a cairn table, a dozen queries, and a crash in the middle of writes.
# CAIRN_DEMO_ROWS limits the records. Everything lives in a directory of its own and is removed at the end.
set -eu
. "$(dirname "$0")/../../tests/tools/common.sh"
limit=${CAIRN_DEMO_ROWS:-0}
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "Building and installing cairn"
build_and_install
home=$(private_directory demo)
cleanup() {
    as_user "$bindir/pg_ctl" -D "$home/data" -m immediate -s stop >/dev/null 2>&1 || true
    as_user rm -rf "$home"
}
trap cleanup EXIT
run_psql() { as_user "$bindir/psql" -X -q -v ON_ERROR_STOP=1 -h "$home" -p "$port" -U postgres "$@"; }

say "Starting a private server in $home"
new_cluster "$home"
as_user "$bindir/pg_ctl" -D "$home/data" -l "$home/log" -w -s start
run_psql -f - <"$top/docs/demo/create.sql"

records() {
    local available
    available=$(apt-cache dumpavail 2>/dev/null | head -c 1 | wc -c)
    if [ "$available" -gt 0 ]; then apt-cache dumpavail; else cat /var/lib/dpkg/status; fi
}

say "Loading the Debian package records of this machine"
records | perl "$top/docs/demo/packages.pl" "$limit" >"$top/build/packages.copy"
total=$(wc -l <"$top/build/packages.copy")
begin=$(date +%s.%N)
run_psql -c 'COPY packages FROM STDIN' <"$top/build/packages.copy" &
loader=$!
while kill -0 "$loader" 2>/dev/null; do
    rows=$(run_psql -At -c 'SELECT tuples_processed FROM pg_stat_progress_copy' || true)
    [ -n "$rows" ] && printf '\r  %s of %s records' "$rows" "$total"
    sleep 0.2
done
wait "$loader"
printf '\r  %s of %s records in %.1f s\n' "$total" "$total" "$(echo "$(date +%s.%N) - $begin" | bc -l 2>/dev/null || awk "BEGIN {print $(date +%s.%N) - $begin}")"
rm -f "$top/build/packages.copy"

run_psql -f - <"$top/docs/demo/queries.sql"

say "Killing the storage process with SIGKILL while four clients write"
acknowledged=$home/acknowledged
as_user touch "$acknowledged".{1,2,3,4}
writer() { # puts numbered items and notes each only after the server has answered
    local i=0
    while [ ! -e "$home/stop" ]; do
        i=$((i + 1))
        run_psql -At -c "SELECT cairn.put_item('demo_writes', '{\"Writer\": $1, \"Number\": $i}')" >/dev/null 2>&1 &&
            echo "$1 $i" | as_user tee -a "$acknowledged.$1" >/dev/null || sleep 0.05
    done
}
for w in 1 2 3 4; do writer $w & done
while [ "$(cat "$acknowledged".* | wc -l)" -lt 100 ]; do sleep 0.1; done
storage=$(ps -o pid=,args= --ppid "$(head -n 1 "$home/data/postmaster.pid")" | awk '/cairn storage/ {print $1}')
as_user kill -9 "$storage"
echo "  killed process $storage after $(cat "$acknowledged".* | wc -l) acknowledged writes"
before=$(cat "$acknowledged".* | wc -l)
while [ "$(cat "$acknowledged".* | wc -l)" -lt $((before + 50)) ]; do sleep 0.1; done
as_user touch "$home/stop"
wait
cat "$acknowledged".* | tr ' ' '\t' >"$top/build/acknowledged"
run_psql -q -c 'CREATE TEMP TABLE acknowledged (w bigint, n bigint)' -c '\copy acknowledged FROM STDIN' -c "
    SELECT count(*) AS acknowledged, count(d.\"Writer\") AS found, count(*) - count(d.\"Writer\") AS lost
    FROM acknowledged a LEFT JOIN demo_writes d ON d.\"Writer\" = a.w AND d.\"Number\" = a.n" <"$top/build/acknowledged" | tee "$top/build/verdict"
rm -f "$top/build/acknowledged"
lost=$(awk -F'|' 'NR == 3 {print $3 + 0}' "$top/build/verdict")
[ "$lost" = 0 ] || { echo "acknowledged writes are missing" >&2; exit 1; }
say "Every acknowledged write is there. To keep a server: make start, make psql, make stop."
