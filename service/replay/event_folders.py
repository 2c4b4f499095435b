"""Which TensorBoard event files are of one run: those of a folder, of its phases and of its further writers.

Keras writes a folder for each phase (``train``, ``validation``), torch one for each series of `add_scalars`
(``loss_train`` for the series ``train`` of ``loss``), and a job that is restarted one more file in its folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from service.replay.files import EVENTS
from service.replay.head import Head
from service.replay.notes import Unreadable
from service.replay.readers.tensorboard import FORMAT, PHASES, first_tag

Folders = Mapping[Path, Sequence[tuple[Path, str | None]]]
"""By the folder of a run: its files, and the series of `add_scalars` that each is of, if it is of one."""
TRAIN: Final = "train"


def folders_of(paths: Iterable[Path]) -> Folders:
    """The runs that have several event files among these. What is no event file, whatever its name, is left out."""
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        if EVENTS in path.name and _is_event_file(path):
            by_folder.setdefault(path.parent, []).append(path)
    found: dict[Path, list[tuple[Path, str | None]]] = {}
    for folder, files in by_folder.items():
        home, series = _home(folder, files[0], by_folder)
        found.setdefault(home, []).extend((path, series) for path in sorted(files))
    return {home: files for home, files in found.items() if len(files) > 1}


def _home(folder: Path, file: Path, known: Mapping[Path, object]) -> tuple[Path, str | None]:
    """The folder of the run that a folder's files are of, and the series that they are."""
    parent = folder.parent
    phases = {TRAIN, *PHASES}
    if folder.name in phases and any(parent / name in known for name in ("", *(phases - {folder.name}))):
        return parent, None
    if parent in known and (tag := first_tag(file)) is not None:
        series = folder.name.removeprefix(f"{tag.replace('/', '_')}_")
        if series and series != folder.name:
            return parent, series
    return folder, None


def _is_event_file(path: Path) -> bool:
    try:
        return FORMAT.detect(Head.of(path))
    except Unreadable:
        return False
