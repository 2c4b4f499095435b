#!/usr/bin/env bash
# Builds the image where there is no Docker daemon and no registry, as in CI: with buildah, on a stand-in for the base image
# that is made of Debian packages. With Docker, `docker build .` does the same on the real base.
# usage: build-image.sh [FOLDER] [TARGET]     FOLDER (build/image) holds buildah's storage; TARGET is service or demo
# Build arguments are taken from the environment: TORCH, TORCH_INDEX_URL. pip's configuration is that of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${1:-build/image}"
folder=$(realpath "${1:-build/image}")
target=${2:-service}
base=docker.io/library/python:3.11-slim-bookworm

fail() { echo "build-image: $*" >&2; exit 1; }
for tool in buildah mmdebstrap; do
    command -v $tool >/dev/null || fail "no $tool here; run: scripts/install-system.sh buildah mmdebstrap"
done
[ "$(id -u)" -eq 0 ] || fail "needs root, to make the files of the image"

# chroot isolation needs no right to make containers.
export BUILDAH_ISOLATION=chroot
buildah=(buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver overlay)

make_base() {
    local root=$folder/base
    rm -rf "$root"
    # From the Debian mirror that this machine uses; nothing of it lasts, so nothing has to be synced to disk.
    grep -hE '^(Types|URIs|Suites|Components|Signed-By):|^$' /etc/apt/sources.list.d/debian.sources |
        mmdebstrap --quiet --mode=root --variant=minbase --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
            --include=ca-certificates,python3-pip,python3-venv bookworm "$root" -
    local container
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$container" "$root" / >/dev/null
    "${buildah[@]}" config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    "${buildah[@]}" commit --quiet --rm "$container" $base >/dev/null
    rm -rf "$root"
}

"${buildah[@]}" inspect --type image $base >/dev/null 2>&1 || make_base

# What pip is told on this machine it is told in the build; the folders with packages that it names are there, too.
python3 -m pip config list | python3 -c '
import ast, sys
settings = {}
for line in sorted(sys.stdin, key=lambda line: line.startswith(":env:")):
    name, _, value = line.partition("=")
    settings[name.rsplit(".", 1)[1]] = ast.literal_eval(value.strip())
print("[global]")
for name, value in settings.items():
    print(name, "=", "\n    ".join(value.split()))
' >"$folder/pip.conf"
volumes=(--volume /etc/ssl/certs:/etc/ssl/certs:ro --volume /etc/resolv.conf:/etc/resolv.conf:ro
    --volume "$folder/pip.conf:/etc/pip.conf:ro")
for word in $(<"$folder/pip.conf"); do
    case $word in
        file:///*/simple) path=$(dirname "${word#file://}") ;; # the index; its files are beside it
        *) path=${word#file://} ;;
    esac
    if [[ $path == /* && -d $path ]]; then volumes+=(--volume "$path:$path:ro"); fi
done

arguments=(--build-arg "VERSION=$(sed -nE 's/^version = "(.*)"$/\1/p' pyproject.toml)"
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")
for name in TORCH TORCH_INDEX_URL; do
    if [ -n "${!name:-}" ]; then arguments+=(--build-arg "$name=${!name}"); fi
done

# Only the docker format knows HEALTHCHECK.
"${buildah[@]}" bud --quiet --format docker --layers --pull=never --network=host --target "$target" \
    "${volumes[@]}" "${arguments[@]}" --tag "losswatch-$target" . >"$folder/build-$target.log" 2>&1 ||
    { tail -40 "$folder/build-$target.log" >&2; fail "the build of $target failed"; }
"${buildah[@]}" images --format '{{.Name}}:{{.Tag}} {{.Size}}' "losswatch-$target"
