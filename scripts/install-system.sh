#!/usr/bin/env bash
# Installs the Debian packages that the tests use, those that are not there yet.
# With arguments, only the packages named; all of them must be in the table.
set -euo pipefail

# package | command that shows it is there | why
TABLE='prometheus|promtool|promtool checks the alert rules, and a test starts a real prometheus
prometheus-alertmanager|amtool|amtool checks the routing, and a test receives real notifications
chromium|chromium|a test opens the status page
python3-venv|python3 -c "import ensurepip, venv"|makes .venv'

if [ $# -eq 0 ]; then
    set -- prometheus prometheus-alertmanager chromium
fi

fail() { echo "install-system: $*" >&2; exit 1; }

missing=()
for package in "$@"; do
    line=$(grep "^$package|" <<<"$TABLE") || fail "unknown package '$package'"
    IFS='|' read -r _ probe why <<<"$line"
    case $probe in
        *' '*) bash -c "$probe" >/dev/null 2>&1 && continue ;;
        *) command -v "$probe" >/dev/null && continue ;;
    esac
    echo "will install $package: $why"
    missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || fail "no apt-get here. Install by hand what your system calls: ${missing[*]}"
if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif command -v sudo >/dev/null; then
    as_root=(sudo)
else
    fail "needs root. As root, run: apt-get install --no-install-recommends ${missing[*]}"
fi

# Debian starts a daemon when it installs one, unless this policy forbids it; only the programs are wanted.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '"${as_root[@]}" rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod 755 $policy
fi

"${as_root[@]}" apt-get update -qq || fail "apt-get update failed; is the network there?"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
echo "installed ${missing[*]}"
