# The rules of lint.sh, one function each.

sources() { find "$@" -name '*.[ch]' 2>/dev/null | sort; }

# directory ; our headers it may include ; Postgres headers? ; threads and RocksDB? 
layers='storage_bridge/wire;^wire_;no;no
storage_bridge/engine;^(wire|sb|rg)_;no;yes
replication_worker/core;^(wire|rg)_;no;no
extension;^(wire|cairn)_;yes;no'

layering() {
    local dir own postgres threads file header
    while IFS=';' read -r dir own postgres threads; do
        while IFS=: read -r file header; do
            header=$(sed -E 's/.*#include *[<"]([^>"]+)[>"].*/\1/' <<<"$header")
            case $header in
            postgres.h | fmgr.h | miscadmin.h | pgstat.h | funcapi.h | access/* | storage/* | utils/* | executor/* | postmaster/* | catalog/* | nodes/* | commands/* | libpq/* | lib/* | optimizer/* | parser/* | tcop/* | replication/*)
                [ "$postgres" = yes ] || say "$file includes the Postgres header $header" ;;
            rocksdb/c.h) [ "$file" = storage_bridge/engine/sb_rocks_internal.h ] || say "$file includes rocksdb/c.h, only sb_rocks_internal.h may" ;;
            sb_rocks_internal.h) [[ $file == storage_bridge/engine/sb_rocks*.c ]] || say "$file includes sb_rocks_internal.h, only sb_rocks*.c may" ;;
            raft.h) [ "$file" = replication_worker/core/rg_group.c ] || say "$file includes raft.h, only rg_group.c may" ;;
            libpq-fe.h) say "$file includes $header" ;;
            pthread.h) [ "$threads" = yes ] || say "$file includes pthread.h" ;;
            sb_server.h) [[ $file == storage_bridge/engine/* || $file == extension/cairn_storage_main.c ]] || say "$file includes sb_server.h, only cairn_storage_main.c may" ;;
            wire_* | sb_* | cairn_* | rg_* | rl_*) [[ $header =~ $own ]] || say "$file may not include $header" ;;
            esac
        done < <(grep -nE '^ *# *include' $(sources "$dir") /dev/null | sed -E 's/^([^:]+):[0-9]+:/\1:/')
    done <<<"$layers"
}

forbid() { # forbid PATTERN MESSAGE FILES...
    local pattern=$1 message=$2 found
    shift 2
    found=$(grep -nE "$pattern" "$@" /dev/null | grep -vE ':[0-9]+: *(/?\*|//)')
    [ -z "$found" ] || say "$message:"$'\n'"$found"
}

words() {
    local plain backend
    plain=$(sources storage_bridge replication_worker/core)
    backend=$(sources extension)
    forbid '\b(ereport|elog|palloc0?|pfree|CHECK_FOR_INTERRUPTS|LWLockAcquire)\b *\(' 'Postgres call in plain C' $plain
    forbid '\b(malloc|calloc|realloc|free|abort)\b *\(' 'heap call outside sb_memory.c (core: rg_heap.c, which is told)' $(grep -v '/sb_memory.c$\|/sb_rocks' <<<"$plain") $backend
    forbid '\b(printf|fprintf|fopen|fputs|puts)\b *\(' 'stdio in wire' $(sources storage_bridge/wire)
    forbid 'SetLatch' 'SetLatch called for an engine thread outside cairn_thread_latch.c' $(grep 'cairn_storage_main\|cairn_collect' <<<"$backend")
    forbid '[-]>buffer\b|wire_queue_(push|pop)' 'a ring or slot touched outside cairn_lane.c' $(grep -v '/cairn_lane.c$' <<<"$backend")
    forbid 'wire_error_sqlstate' 'error codes become ereports in cairn_error.c only' $(grep -v '/cairn_error.[ch]$' <<<"$backend")
    forbid '\b(TODO|FIXME|XXX|HACK)\b' 'unfinished work' $plain $backend
}

names() {
    local twice file base
    twice=$(find extension storage_bridge replication_worker tests bench -name '*.c' -exec basename {} \; | sort | uniq -d)
    [ -z "$twice" ] || say "base names that occur twice: $twice"
    for file in $(sources storage_bridge/wire storage_bridge/engine replication_worker/core extension); do
        base=$(basename "$file")
        case $file in
        storage_bridge/wire/*) [[ $base == wire_* ]] ;;
        storage_bridge/engine/*) [[ $base == sb_* ]] ;;
        replication_worker/core/*) [[ $base == rg_* ]] ;;
        extension/*) [[ $base == cairn_* || $base == cairn.c ]] ;;
        esac || say "$file lacks its layer's prefix"
    done
    forbid '^typedef struct (wire|sb|rg)_' 'plain-C types are not typedef-ed' $(sources storage_bridge replication_worker/core)
}

sizes() {
    local file lines prototypes
    for file in $(sources storage_bridge extension replication_worker tests bench); do
        lines=$(wc -l <"$file")
        [ "$lines" -le 1000 ] || say "$file has $lines lines"
    done
    for file in $(sources storage_bridge replication_worker extension | grep '\.h$'); do
        prototypes=$(grep -cE '^[a-z].*\b[a-z0-9_]+\(.*(\);|,$)' "$file")
        [ "$prototypes" -le 30 ] || say "$file has $prototypes prototypes"
    done
    perl tests/lint/function_lengths.pl 70 $(sources storage_bridge extension replication_worker | grep '\.c$') || bad=1
}

format() {
    local file
    for file in $(sources storage_bridge extension replication_worker tests bench); do
        clang-format --style=file --dry-run --Werror "$file" 2>/dev/null || say "$file is not formatted: make format"
    done
}

symbols() {
    local other
    [ -f cairn.so ] && [ -f cairn_engine.so ] || return 0
    other=$(nm -D --defined-only cairn.so | awk '{print $3}' | grep -vE '^(_PG_init|Pg_magic_func|cairn_|pg_finfo_cairn_)')
    [ -z "$other" ] || say "cairn.so exports $other"
    other=$(nm -D --defined-only cairn_engine.so | awk '{print $3}' | grep -v '^sb_server_interface$')
    [ -z "$other" ] || say "cairn_engine.so exports $other"
    other=$(nm -D --undefined-only cairn_engine.so | awk '{print $2}' | grep -E '^(palloc|errstart|MemoryContext|LWLock|SetLatch|elog)')
    [ -z "$other" ] || say "cairn_engine.so needs Postgres: $other"
    ldd cairn.so | grep -q rocksdb && say "cairn.so links RocksDB: every backend would map it"
}

metadata() {
    perl -MJSON::PP -e '
        local $/; open my $f, "<", "META.json" or die "META.json: $!\n";
        my $m = decode_json(<$f>);
        for my $k (qw(name abstract version maintainer license provides meta-spec)) { die "META.json lacks $k\n" unless defined $m->{$k} }
        die "META.json: version is not semantic\n" unless $m->{version} =~ /^\d+\.\d+\.\d+$/;
        for my $p (values %{$m->{provides}}) { die "META.json: provides lacks file or version\n" unless $p->{file} && $p->{version} }
    ' || say "META.json is not valid"
}
