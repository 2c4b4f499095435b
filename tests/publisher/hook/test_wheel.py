"""The wheel is small, imports fast, needs three packages, and works on every Python it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import losswatch
from tests.brokers import start_tansu

PUBLISHER = Path(losswatch.__file__).parents[1]
PORTABLE = Path(__file__).with_name("test_portable.py")
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
BASIC = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_CONSTRAINT", "VIRTUAL"))}


def interpreter(version: str) -> Path | None:
    """A Python of the version: this one, one on the path that works, or one of pyenv's."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = shutil.which(f"python{version}")
    candidates = sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)
    for candidate in [*candidates, *([Path(found)] if found else [])]:
        if subprocess.run([str(candidate), "-c", "import venv, ssl"], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=PUBLISHER, env=BASIC, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_is_smaller_than_a_hundred_kilobytes(wheel: Path) -> None:
    assert wheel.stat().st_size < 100_000


def test_the_import_takes_less_than_thirty_milliseconds() -> None:
    code = "import time; t = time.process_time(); import losswatch; print(time.process_time() - t)"
    environment = BASIC | {"PYTHONPATH": str(PUBLISHER)}
    times = [
        float(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
        for _ in range(7)
    ]
    assert min(times) < 0.030


@pytest.fixture(scope="module")
def outcomes(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What came of the portable tests on each Python that is there: "passed", or what was said."""
    with start_tansu() as broker, ThreadPoolExecutor(2) as pool:
        folder = tmp_path_factory.mktemp("pythons")
        found = {version: path for version in VERSIONS if (path := interpreter(version))}
        ran = pool.map(lambda item: run_on(item[1], folder / item[0], wheel, broker.address), found.items())
        return dict(zip(found, ran, strict=True))


def run_on(python: Path, folder: Path, wheel: Path, broker: str) -> str:
    """Install the wheel into an environment of its own, with nothing but what it asks for, and run the tests."""
    ours = folder / "venv" / "bin" / "python"
    tests = folder / "tests"
    environment = BASIC | {"LOSSWATCH_TEST_BROKER": broker, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    tests.mkdir(parents=True)
    shutil.copy(PORTABLE, tests)
    commands: list[list[str | Path]] = [
        [python, "-m", "venv", folder / "venv"],
        [ours, "-m", "pip", "install", "--quiet", "--prefer-binary", wheel, "pytest"],
        [ours, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error::UserWarning", tests],
    ]
    for command in commands:
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return "passed"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_hook_works_on_this_python(version: str, outcomes: dict[str, str]) -> None:
    if version not in outcomes:
        pytest.skip(f"Python {version} is not on this machine (looked on the path and in pyenv)")
    assert outcomes[version] == "passed"
