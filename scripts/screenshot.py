"""Make a PNG of a page with headless Chromium: ``python -m scripts.screenshot URL FILE [--dark]``."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

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


def main(
    url: str,
    file: Path,
    width: int = 1200,
    height: int = 900,
    scale: float = 1.5,
    dark: Annotated[bool, typer.Option("--dark")] = False,
    browser: str = "chromium",
) -> None:
    """Take a picture of URL, in the light or the dark scheme, and write it to FILE."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            *OPTIONS,
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--user-data-dir={profile}",
            f"--force-device-scale-factor={scale}",
            f"--window-size={width},{height}",
            f"--screenshot={file.resolve()}",
            url,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    typer.run(main)
