"""What Docker Compose makes of the files in deploy/compose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.deploy.commands import ROOT

FOLDER: Final = ROOT / "deploy" / "compose"
FILE: Final = FOLDER / "compose.yaml"
GPU_FILE: Final = FOLDER / "compose.gpu.yaml"
EXAMPLE: Final = FOLDER / ".env.example"


def compose(*arguments: str, files: Sequence[Path] = (FILE,), environment: Mapping[str, str] | None = None) -> str:
    """What docker-compose prints, seeing no variables but those given. AssertionError if it fails."""
    named = [word for path in files for word in ("--file", str(path))]
    done = subprocess.run(
        ["docker-compose", *named, "--env-file", os.devnull, "--profile", "demo", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def resolved(files: Sequence[Path] = (FILE,), environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every service by name, the demo's included, with everything filled in."""
    services: dict[str, Any] = json.loads(compose("config", "--format", "json", files=files, environment=environment))[
        "services"
    ]
    return services


def binds(service: Mapping[str, Any]) -> dict[str, Path]:
    """What of this machine a container sees, by the path it sees it at."""
    return {mount["target"]: Path(mount["source"]) for mount in service["volumes"] if mount["type"] == "bind"}


def copied(service: Mapping[str, Any], folder: str, target: Path) -> Path:
    """``folder`` as the container sees it, as a copy in ``target``."""
    for path, source in binds(service).items():
        if path.startswith(f"{folder}/") and source.exists():
            here = target / path.removeprefix(f"{folder}/")
            here.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, here)
            else:
                shutil.copy(source, here)
    return target
