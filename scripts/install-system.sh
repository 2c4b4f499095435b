#!/usr/bin/env bash
# Installs the Debian packages that the tests use, those that are not there yet.
# With arguments, only the packages named; all of them must be in the table.
set -euo pipefail

# package | command that shows it is there | why
TABLE='prometheus|promtool|promtool checks the alert rules, and a test starts a real prometheus
prometheus-alertmanager|amtool|amtool checks the routing, and a test receives real notifications
chromium|chromium|a test opens the status page
docker-compose|[[ $(docker-compose version --short) =~ ^v?[2-9] ]]|docker-compose checks the compose file; no daemon is needed
buildah|buildah|make image-test builds the image
mmdebstrap|mmdebstrap|make image-test makes a stand-in for the base image
python3-venv|python3 -c "import ensurepip, venv"|makes .venv'

if [ $# -eq 0 ]; then
    set -- prometheus prometheus-alertmanager chromium docker-compose
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

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@" >/dev/null
}

# Debian 12's docker-compose is version 1, which cannot read today's files. That of Debian 13 is a single program that needs
# nothing but libc. It is fetched with package lists of its own, so that nothing else comes from there, now or later.
install_compose() {
    local mirror folder status=0
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' | head -1)
    [ -n "$mirror" ] || { echo "apt knows no mirror of Debian" >&2; return 1; }
    folder=$(mktemp -d)
    mkdir -p "$folder/lists/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$folder/trixie.list"
    local apart=(-qq -o Dir::Etc::SourceList="$folder/trixie.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$folder/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
    { apt_get "${apart[@]}" update && apt_get "${apart[@]}" install -y --no-install-recommends docker-compose/trixie; } || status=1
    "${as_root[@]}" rm -rf "$folder"
    return $status
}

ordinary=()
for package in "${missing[@]}"; do
    [ "$package" = docker-compose ] || ordinary+=("$package")
done
apt_get update -qq || fail "apt-get update failed; is the network there?"
if [ ${#ordinary[@]} -gt 0 ]; then
    apt_get install -y -qq --no-install-recommends "${ordinary[@]}" || fail "apt-get could not install: ${ordinary[*]}"
fi
if [ ${#ordinary[@]} -lt ${#missing[@]} ]; then
    install_compose || fail "could not install docker-compose of Debian 13. Install Docker Compose 2 or newer as docker-compose"
fi
echo "installed ${missing[*]}"
