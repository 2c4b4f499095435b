"""Images built by ``scripts/build-image.sh``, and processes in them as a container runtime would start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
SCRIPT: Final = ROOT / "scripts" / "build-image.sh"
ISOLATED: Final = """
root=$1 user=$2; shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
"""
"""Gives the command a read-only root of its own, in which only /tmp can be written, and an unprivileged user."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image, mounted: its configuration and where its files are."""

    config: Mapping[str, Any]
    files: Path

    def command(
        self, *arguments: str, user: str | None = None, environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """What runs ``arguments`` as the image's user (or ``UID:GID``) in the image's environment."""
        isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ISOLATED, "sh"]
        given = [f"{name}={value}" for name, value in (environment or {}).items()]
        return [
            *isolate,
            str(self.files),
            user or self.config["User"],
            "env",
            "-i",
            *self.config["Env"],
            *given,
            *arguments,
        ]

    def run(self, *arguments: str, user: str | None = None) -> str:
        """What the command printed. AssertionError if it failed."""
        done = subprocess.run(
            self.command(*arguments, user=user), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def started(self, environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The container's own command, entrypoint and all, until the block ends."""
        command: Sequence[str] = [*self.config["Entrypoint"], *(self.config["Cmd"] or [])]
        with log.open("wb") as output:
            process = subprocess.Popen(self.command(*command, environment=environment), stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()  # the kernel ends the container with it
            process.wait()


def stop(process: subprocess.Popen[bytes], signal_name: str, limit: float) -> int:
    """Stop the container as its image asks for, and return its exit status."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    assert len(children) == 1, children
    os.kill(int(children[0]), signal.Signals[signal_name])
    return process.wait(limit)


@contextmanager
def built(target: str, folder: Path) -> Iterator[Image]:
    """The image of a target of the Dockerfile, built with its storage in ``folder``."""
    done = subprocess.run([SCRIPT, folder, target], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    buildah = ["buildah", "--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--storage-driver", "overlay"]

    def ask(*arguments: str) -> str:
        return subprocess.run([*buildah, *arguments], capture_output=True, text=True, timeout=120, check=True).stdout

    image = f"localhost/losswatch-{target}"
    config = json.loads(ask("inspect", "--type", "image", image))["Docker"]["config"]
    container = ask("from", "--pull=never", image).strip()
    try:
        yield Image(config, Path(ask("mount", container).strip()))
    finally:
        ask("rm", container)
