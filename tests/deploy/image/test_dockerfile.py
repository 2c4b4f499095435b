"""What can be said of the image without building it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from service.settings import Settings
from tests.deploy.image.container import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_hadolint_has_nothing_to_complain_about() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_stage_starts_from_the_one_base_or_from_another_stage() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    assert len(stages) == len(re.findall(r"^FROM ", DOCKERFILE, flags=re.MULTILINE))
    assert {base for base, _ in stages} <= {"${PYTHON_IMAGE}"} | {name for _, name in stages}


def test_the_port_is_the_one_that_the_settings_have() -> None:
    port = Settings.model_fields["http_port"].default
    assert f"LOSSWATCH_HTTP_PORT={port}\nEXPOSE {port}\n" in DOCKERFILE


def test_what_is_copied_from_the_context_is_there_and_let_through() -> None:
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), flags=re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, flags=re.MULTILINE)
    assert {path for path in copied if path != "."} <= set(allowed)
    assert [path for path in allowed if not (ROOT / path).exists()] == []
