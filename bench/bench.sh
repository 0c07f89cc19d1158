#!/bin/bash
# cairn against heap tables on one private server, in one run: prints a table, writes build/bench.json. See README.md.
#
# CAIRN_BENCH_SMOKE=1: all of it in little more than a minute, to see that it works; its figures mean nothing.
set -eu
. "$(dirname "$0")/../tests/tools/common.sh"

if [ -n "${CAIRN_BENCH_SMOKE:-}" ]; then
    : "${CAIRN_BENCH_ITEMS:=20000}" "${CAIRN_BENCH_SECONDS:=1}" "${CAIRN_BENCH_ROUNDS:=1}" "${CAIRN_BENCH_CLIENTS:=4}"
    : "${CAIRN_BENCH_DISTRIBUTIONS:=zipfian}" "${CAIRN_BENCH_SETTLE:=1}"
fi
: "${CAIRN_BENCH_ITEMS:=1000000}" "${CAIRN_BENCH_SECONDS:=5}" "${CAIRN_BENCH_ROUNDS:=3}" "${CAIRN_BENCH_CLIENTS:=1 8 16 32}"
: "${CAIRN_BENCH_DISTRIBUTIONS:=uniform zipfian}" "${CAIRN_BENCH_SETTLE:=10}" "${CAIRN_BENCH_SEED:=1}" "${CAIRN_BENCH_WORKLOADS:=}"

# Each contender may hold twice the items in memory, up to a quarter of the machine's.
memory_mb=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
cache_mb=$((CAIRN_BENCH_ITEMS * 2 / 1024))
[ "$cache_mb" -ge 128 ] || cache_mb=128
[ "$cache_mb" -le $((memory_mb / 4)) ] || cache_mb=$((memory_mb / 4))
: "${CAIRN_BENCH_CACHE_MB:=$cache_mb}"

build=$top/build/bench
mkdir -p "$build"
echo "Building"
build_and_install
plain="gcc -std=gnu11 -O2 -g -D_GNU_SOURCE -Wall -Wextra"
$plain -o "$build/generate" "$top/bench/generate.c"
$plain -o "$build/rocks_limit" "$top/bench/rocks_limit.c" -lrocksdb -lpthread
gcc -std=gnu11 -O2 -g -fPIC -shared -Wall -I"$("$pg_config" --includedir-server)" -o "$build/bench_functions.so" "$top/bench/bench_functions.c"

home=$(private_directory bench)
cleanup() {
    as_user "$bindir/pg_ctl" -D "$home/data" -m immediate -s stop >/dev/null 2>&1 || true
    [ -z "${CAIRN_BENCH_KEEP_LOG:-}" ] || cp "$home/log" "$build/server.log" 2>/dev/null || true
    as_user rm -rf "$home"
    rm -rf "$build/run" "$build/rocks"
}
trap cleanup EXIT

echo "Making $CAIRN_BENCH_ITEMS items"
"$build/generate" "$CAIRN_BENCH_ITEMS" "$CAIRN_BENCH_SEED" | as_user tee "$home/items.copy" >/dev/null
as_user tee "$home/bench_functions.so" <"$build/bench_functions.so" >/dev/null

new_cluster "$home"
as_user tee -a "$home/data/postgresql.conf" >/dev/null <<CONF
synchronous_commit = on
shared_buffers = ${CAIRN_BENCH_CACHE_MB}MB
cairn.block_cache = ${CAIRN_BENCH_CACHE_MB}MB
max_wal_size = 8GB
checkpoint_timeout = 15min
CONF
[ -z "${CAIRN_BENCH_CONF:-}" ] || printf '%s\n' "$CAIRN_BENCH_CONF" | as_user tee -a "$home/data/postgresql.conf" >/dev/null
as_user "$bindir/pg_ctl" -D "$home/data" -l "$home/log" -w -s start || { tail -n 20 "$home/log" >&2; exit 1; }

export CAIRN_BENCH_ITEMS CAIRN_BENCH_SECONDS CAIRN_BENCH_ROUNDS CAIRN_BENCH_CLIENTS CAIRN_BENCH_DISTRIBUTIONS CAIRN_BENCH_SETTLE CAIRN_BENCH_SEED CAIRN_BENCH_WORKLOADS
export BENCH_HOME=$home BENCH_BINDIR=$bindir BENCH_PORT=$port BENCH_USER=$server_user BENCH_BUILD=$build
perl "$top/bench/measure.pl"
