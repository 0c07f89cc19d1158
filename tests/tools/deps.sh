#!/bin/bash
# Install what cairn is built and tested with: Debian packages, only those that are missing.
set -eu
packages='postgresql-15 postgresql-server-dev-15 postgresql-client-15 librocksdb-dev libxxhash-dev libcmocka-dev
clang clang-format libclang-rt-14-dev libipc-run-perl gcc make perl procps'
missing=
for package in $packages; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
    installed) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -z "$missing" ] && exit 0
as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "cairn needs these packages:$missing. Install them, or run as root or a user with sudo." >&2; exit 1; }
    as_root=sudo
fi
echo "installing:$missing"
$as_root apt-get update -qq
# --no-install-recommends keeps a server small; policy-rc.d is left alone: Debian may start its own cluster, which cairn does not touch.
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
