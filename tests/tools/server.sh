#!/bin/bash
# A private server that stays: start, stop, psql. CAIRN_DATA: its directory; CAIRN_PORT: its port (also the name of its socket).
set -eu
. "$(dirname "$0")/common.sh"
home=${CAIRN_DATA:-${TMPDIR:-/tmp}/cairn-server-$(id -un)}

start() {
    build_and_install
    if [ ! -d "$home/data" ]; then
        as_user mkdir -p "$home"
        as_user chmod 700 "$home"
        new_cluster "$home"
    fi
    as_user "$bindir/pg_ctl" -D "$home/data" -l "$home/log" -w -s start || { tail -n 20 "$home/log" >&2; exit 1; }
    as_user "$bindir/psql" -X -q -h "$home" -p "$port" -U postgres -c 'SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS cairn'
    echo "directory $home   port $port   connect: make psql   or: psql -h $home -p $port -U postgres"
}

case ${1:-} in
start) start ;;
stop) as_user "$bindir/pg_ctl" -D "$home/data" -m fast -w -s stop && echo "stopped; the data stays in $home" ;;
psql) as_user "$bindir/psql" -X -h "$home" -p "$port" -U postgres ;;
*) echo "usage: $0 start|stop|psql" >&2; exit 2 ;;
esac
