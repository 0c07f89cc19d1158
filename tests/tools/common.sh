# Shared by the scripts: sourced, not run. Sets top, bindir and port; defines as_user, build_and_install.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pg_config=${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}
bindir=$("$pg_config" --bindir)
port=${CAIRN_PORT:-54015}

# Postgres refuses to run as root: then the servers run as the user that Debian's package made for it.
if [ "$(id -u)" -eq 0 ]; then
    server_user=postgres
    as_user() { (cd / && runuser -u "$server_user" -- env HOME=/tmp "$@"); }
else
    server_user=$(id -un)
    as_user() { "$@"; }
fi

# A directory of the server user's own, printed.
private_directory() {
    as_user mktemp -d "${TMPDIR:-/tmp}/cairn-$1-XXXXXX"
}

build_and_install() {
    local log=$top/build/make.log
    mkdir -p "$top/build"
    if ! make -C "$top" -j"$(nproc)" PG_CONFIG="$pg_config" all >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "the build failed: see build/make.log" >&2
        return 1
    fi
    local install=
    [ "$(id -u)" -eq 0 ] || install=sudo
    if ! $install make -C "$top" PG_CONFIG="$pg_config" install >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        return 1
    fi
}

# new_cluster DIRECTORY: initdb and the settings that cairn needs; the socket lies in the directory too.
new_cluster() {
    as_user "$bindir/initdb" -D "$1/data" -A trust -U postgres --no-sync --locale=C.UTF-8 --encoding=UTF8 >"$1.initdb.log" 2>&1 ||
        { cat "$1.initdb.log" >&2; return 1; }
    rm -f "$1.initdb.log"
    as_user tee -a "$1/data/postgresql.conf" >/dev/null <<CONF
shared_preload_libraries = 'cairn'
listen_addresses = ''
unix_socket_directories = '$1'
port = $port
max_connections = 100
CONF
}
