"""Write ``deploy/grafana/dashboards`` from the code beside: ``python -m scripts.generate_dashboards [--check]``."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.grafana import fleet, publishers, run, service

TARGET: Final = Path(__file__).parent.parent / "deploy" / "grafana" / "dashboards"


def render() -> Mapping[str, str]:
    """Every dashboard as Grafana reads it, by file name."""
    boards = {board.uid: board.render() for board in (fleet.board(), run.board(), publishers.board())}
    known = set(re.findall(r"\blosswatch_\w+", "".join(boards.values())))
    last = service.board(known)
    return {f"{uid}.json": text for uid, text in (boards | {last.uid: last.render()}).items()}


def stale() -> list[str]:
    """The files that are not what the code makes, or that no code makes."""
    made = render()
    there = {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.json")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main() -> None:
    """Write the dashboards, or with --check say whether they are up to date."""
    if "--check" in sys.argv[1:]:
        if found := stale():
            sys.exit(f"out of date: {', '.join(found)}. Run python -m scripts.generate_dashboards")
        return
    made = render()
    for path in TARGET.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (TARGET / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
