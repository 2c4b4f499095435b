"""Make every picture of the README and the documents: ``python -m scripts.screenshots``.

Runs the demo (three minutes), leaves it up, and takes pictures of its page with the system's Chromium.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

ROOT: Final = Path(__file__).parent.parent
TARGET: Final = ROOT / "docs" / "images"
OPTIONS: Final = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
"""What keeps Chromium to itself."""
PICTURES: Final = {"fleet": ("/", 420), "run": ("/runs/{run}", 1180)}
"""By file name: the page, and its height in pixels."""
DEMO_SECONDS: Final = 400.0
UP: Final = re.compile(r"Still up: (http://\S+)")


@contextmanager
def demo() -> Iterator[str]:
    """The demo, finished and left up; its address."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "publisher")])
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "service.cli", "demo", "--keep"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        watchdog = time.monotonic() + DEMO_SECONDS
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                if found := UP.search(line):
                    yield found[1]
                    return
                if time.monotonic() > watchdog:
                    break
            sys.exit("the demo did not come to its end")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def take(browser: Browser, url: str) -> None:
    """All pictures, each in the light and in the dark scheme."""
    for dark in (False, True):
        context = browser.new_context(color_scheme="dark" if dark else "light", device_scale_factor=1.5)
        page = context.new_page()
        page.goto(url)
        run = page.locator(".rows .name").first.inner_text()
        for name, (path, height) in PICTURES.items():
            page.set_viewport_size({"width": 1200, "height": height})
            page.goto(url + path.format(run=run))
            page.wait_for_selector("svg.spark")
            file = TARGET / f"{name}{'-dark' if dark else ''}.png"
            page.screenshot(path=file)
            print(f"wrote {file.relative_to(ROOT)}")
        context.close()


def main() -> None:
    """Start the demo and take the pictures."""
    binary = shutil.which("chromium")
    if binary is None:
        sys.exit("chromium is missing: scripts/install-system.sh installs it")
    TARGET.mkdir(parents=True, exist_ok=True)
    with demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=OPTIONS)
        take(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
