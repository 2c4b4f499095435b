#!/usr/bin/env bash
# Writes constraints.txt: the version of every package, as a clean environment resolves them today.
# torch is moved by hand, here: it is most of the download, and the tests' tolerances were measured with it.
set -euo pipefail
cd "$(dirname "$0")/.."
torch=2.13.0

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet hatchling editables "torch==$torch" -e 'publisher[binary]' -e '.[embedded,demo,replay,dev,bench]'
{
    echo "# Exact versions for a reproducible environment, made by \`make lock\`: do not edit."
    echo "# Any build of torch will do; a CUDA one brings packages that it pins itself, left out here."
    "$venv/bin/pip" freeze --exclude-editable |
        sed -E -e '/^(cuda-|nvidia-|triton==)/d' -e 's/^(torch==[0-9.]+)\+.*/\1/' | LC_ALL=C sort -f
} > constraints.txt
echo "constraints.txt: $(grep -c == constraints.txt) packages"
