from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from consumers.telemetry import Telemetry
from consumers.view import View
from scripts.screenshots import OPTIONS
from service.http import Web
from service.metrics import Exposition
from service.page import Pages
from service.server import Server
from tests.service.sample_view import NOW, THRESHOLDS, sample_view


def test_the_page_refreshes_in_place(tmp_path: Path) -> None:
    """The first answer has one run, all later ones two: a browser must come to show both."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: scripts/install-system.sh installs it"
    sample = sample_view()
    first = replace(sample, runs={"ttt-collapse": sample.runs["ttt-collapse"]})
    later = replace(sample, runs={**first.runs, "ttt-healthy": sample.runs["ttt-healthy"]})
    asked: list[View] = []

    def view() -> View:
        asked.append(later if asked else first)
        return asked[-1]

    telemetry = Telemetry()
    telemetry.ready = True
    web = Web(
        view, telemetry, Exposition(view, telemetry, {}, "1"), Pages(THRESHOLDS, "kafka:9092", "1"), clock=lambda: NOW
    )
    with Server(web.application(), "127.0.0.1", 0) as server:
        shown = subprocess.run(
            [browser, *OPTIONS, f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000", "--dump-dom", server.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    assert len(asked) >= 2
    assert "ttt-healthy" in shown
    assert 'id="live" role="status"' in shown
    assert "trying again" not in shown
