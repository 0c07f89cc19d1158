#!/bin/bash
# Install what cairn is built and tested with: Debian packages, only those that are missing.
set -eu
packages='postgresql-15 postgresql-server-dev-15 postgresql-client-15 librocksdb-dev libxxhash-dev libcmocka-dev
clang clang-format libclang-rt-14-dev libipc-run-perl gcc make perl procps spin'
# Older ones lose acknowledged writes (replication_worker/README.md).
raft_least=0.22.1

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }
is_enough() { dpkg --compare-versions "$1" ge "$raft_least"; }
raft_is_installed() { is_installed libraft-dev && is_enough "$(dpkg-query -W -f '${Version}' libraft-dev)"; }

missing=
for package in $packages; do
    is_installed "$package" || missing="$missing $package"
done
raft=
raft_is_installed || raft=libraft-dev
[ -z "$missing$raft" ] && exit 0
as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "cairn needs these packages:$missing${raft:+ libraft-dev ($raft_least or later)}. Install them, or run as root or a user with sudo." >&2; exit 1; }
    as_root=sudo
fi

# The newest libraft-dev that is new enough, of the suites that apt knows; nothing if there is none.
raft_version() {
    local version
    apt-cache madison libraft-dev 2>/dev/null | awk -F'|' '{gsub(/ /, "", $2); print $2}' | while read -r version; do
        if is_enough "$version"; then
            echo "$version"
            break
        fi
    done
}

# apt's own entry for the suite of the release $1, with its suite $2 instead: of deb822 files (.sources) the stanza, of
# one-line files (.list) the line. The first there is.
entry_of() { # entry_of RELEASE SUITE FILE...
    local release=$1 suite=$2 file found
    shift 2
    for file; do
        [ -f "$file" ] || continue
        case $file in
        *.sources)
            found=$(awk -v release="$release" -v suite="$suite" '
                function flush(   i, n, words, is_deb, is_ours) {
                    n = split(types, words)
                    for (i = 1; i <= n; i++) is_deb = is_deb || words[i] == "deb"
                    n = split(suites, words)
                    for (i = 1; i <= n; i++) is_ours = is_ours || words[i] == release
                    if (is_deb && is_ours && enabled != "no" && !printed) { printf "Types: deb\nSuites: %s\n%s", suite, rest; printed = 1 }
                    types = suites = rest = field = ""; enabled = "yes"
                }
                BEGIN { enabled = "yes" }
                /^#/ { next }
                /^[ \t]*$/ { flush(); next }
                /^[^ \t]/ { field = tolower($0); sub(/:.*/, "", field) }
                {
                    value = $0; sub(/^[^ \t:]*:/, "", value)
                    if (field == "types") types = types " " value
                    else if (field == "suites") suites = suites " " value
                    else if (field == "enabled") enabled = tolower($2)
                    else rest = rest $0 "\n"
                }
                END { flush() }' "$file") ;;
        *)
            found=$(awk -v release="$release" -v suite="$suite" '
                $1 == "deb" {
                    line = $0; options = ""
                    sub(/^[ \t]*deb[ \t]+/, "", line)
                    if (match(line, /^\[[^]]*\][ \t]*/)) { options = substr(line, 1, RLENGTH); line = substr(line, RLENGTH + 1) }
                    n = split(line, words)
                    if (n >= 2 && words[2] == release) {
                        printf "deb %s%s %s", options, words[1], suite
                        for (i = 3; i <= n && words[i] !~ /^#/; i++) printf " %s", words[i]
                        printf "\n"; exit
                    }
                }' "$file") ;;
        esac
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
    done
}

# The release's own backports, from where the machine has the release from: a file of ours in apt's directory.
enable_backports() {
    local release suite entry target
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ -n "$release" ] || return 1
    suite=$release-backports
    entry=$(entry_of "$release" "$suite" /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list)
    [ -n "$entry" ] || return 1
    target=/etc/apt/sources.list.d/cairn-backports.list
    [[ $entry == deb\ * ]] || target=/etc/apt/sources.list.d/cairn-backports.sources
    echo "enabling $suite for libraft-dev: $target"
    echo "$entry" | $as_root tee "$target" >/dev/null
    if ! $as_root apt-get update -qq || [ -z "$(raft_version)" ]; then
        $as_root rm -f "$target"
        return 1
    fi
}

echo "installing:$missing${raft:+ $raft}"
$as_root apt-get update -qq
if [ -n "$raft" ]; then
    if [ -z "$(raft_version)" ] && ! enable_backports; then
        echo "cairn needs libraft-dev $raft_least or later, which neither the suites of this machine nor its release's backports have." >&2
        echo "Use Debian 12 with its backports or a later release, or build libraft (of cowsql) from source." >&2
        exit 1
    fi
    version=$(raft_version)
    missing="$missing libraft-dev=$version libraft0=$version"
fi
# --no-install-recommends keeps a server small; policy-rc.d is left alone: Debian may start its own cluster, which cairn does not touch.
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
