"""What one call of ``losswatch replay`` asks for, from the words of the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from consumers.rows import Limits
from detectors.evaluation.directions import Direction
from service.replay.engine import Outcome, Replay
from service.replay.event_folders import Folders, folders_of
from service.replay.files import NoSuchFile, files_of
from service.replay.mapping import Options
from service.replay.notes import NoLog
from service.replay.readers import tensorboard
from service.replay.sources import Log, format_names, open_events, open_log
from service.serve import CannotServe, deployed_thresholds
from service.settings import Settings

DIRECTIONS: Final[Mapping[str, Direction]] = {"higher": "higher", "lower": "lower"}


class Unusable(Exception):
    """The call cannot be carried out; the message says why."""


class Mapped(BaseModel):
    """What a mapping file says about the columns: the options of the command line, by name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: str | None = None
    step: str | None = None
    total: str | None = None
    components: dict[str, str] = {}
    """Column by the name of the component."""
    metrics: dict[str, str] = {}
    """Column, or column and better direction, by the name of the metric."""
    weights: dict[str, float | int] = {}
    """Weight in the total by the name of the component."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be read, how, and against which thresholds."""

    paths: Sequence[Path]
    options: Options
    settings: Settings
    thresholds: Mapping[str, float]
    searched: frozenset[Path] = frozenset()
    """Those of the paths that were found in folders."""
    folders: Folders = field(default_factory=dict)
    """Those of the paths that are folders with several event files of one run."""

    @classmethod
    def of(
        cls,
        files: Sequence[str],
        settings: Settings,
        *,
        format: str | None = None,
        step: str | None = None,
        total: str | None = None,
        components: Iterable[str] = (),
        metrics: Iterable[str] = (),
        mapping: Path | None = None,
        config: Path | None = None,
        thresholds: Iterable[str] = (),
    ) -> Request:
        """From the words of the command line. Raises Unusable."""
        own = {name: _finite(name, value) for name, value in map(partial(_pair, "--threshold"), thresholds)}
        try:
            found = files_of(files)
            known = deployed_thresholds(settings)
        except (NoSuchFile, CannotServe) as error:
            raise Unusable(str(error)) from error
        if unknown := sorted(own.keys() - known.keys()):
            raise Unusable(f"No detector has the threshold {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        in_file = Mapped() if mapping is None else _mapped(mapping)
        if (chosen := format or in_file.format) is not None and chosen not in format_names():
            raise Unusable(f"There is no format {chosen!r}; known are {', '.join(format_names())}.")
        named = in_file.metrics | dict(map(partial(_pair, "--metric"), metrics))
        options = Options(
            format=chosen,
            step=step or in_file.step,
            total=total or in_file.total,
            components=in_file.components | dict(map(partial(_pair, "--component"), components)),
            metrics={name: _metric(column) for name, column in named.items()},
            weights=in_file.weights,
            config=config,
        )
        searched = frozenset(path for path, asked in found.items() if not asked)
        folders = folders_of(found) if options.format in (None, tensorboard.FORMAT.name) else {}
        home = {file: folder for folder, files in folders.items() for file, _ in files}
        paths = list(dict.fromkeys(home.get(path, path) for path in found))
        return cls(paths, options, settings, {**known, **own}, searched, folders)

    def open(self, path: Path) -> Log:
        """The log in a file, or in the event files of a folder. Raises Unreadable."""
        if (files := self.folders.get(path)) is not None:
            return open_events(path, files, self.options)
        return open_log(path, self.options)

    def overlooks(self, outcome: Outcome) -> bool:
        """Whether a file is to be left out: it was found in a folder and is no log."""
        return isinstance(outcome.error, NoLog) and outcome.path in self.searched

    def replay(self, *, curves: bool = False) -> Replay:
        """A fleet for the files."""
        limits = Limits(
            runs=max(self.settings.max_runs, len(self.paths)),
            series_per_run=self.settings.max_series_per_run,
            name_length=self.settings.max_label_length,
        )
        return Replay(self.open, self.thresholds, limits, dtype=self.settings.dtype, curves=curves)


def _mapped(path: Path) -> Mapped:
    try:
        return Mapped.model_validate(yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {})
    except OSError as error:
        raise Unusable(f"The mapping {path} could not be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unusable(f"The mapping {path} is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors())
        raise Unusable(f"The mapping {path} cannot be used: {wrong}.") from error


def _pair(option: str, text: str) -> tuple[str, str]:
    """NAME=VALUE; the name ends at the first equals sign."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise Unusable(f"{option} wants NAME=VALUE, not {text!r}.")
    return name, value


def _metric(column: str) -> tuple[str, Direction | None]:
    """COLUMN, or COLUMN:higher, or COLUMN:lower."""
    name, _, direction = column.rpartition(":")
    return (name, DIRECTIONS[direction]) if name and direction in DIRECTIONS else (column, None)


def _finite(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unusable(f"The threshold {name} must be a number, not {text!r}.")
    return value
