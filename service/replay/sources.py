"""From a log file to the records that its job would have published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from losswatch.fields import MAX_NAME
from losswatch.schema import Record
from service.replay.assembly import Assembly, Origin
from service.replay.columns import Columns
from service.replay.head import Head
from service.replay.mapping import Namer, Options, Place, hash_of
from service.replay.notes import NoLog, Notes, Unreadable
from service.replay.readers import FORMATS, tensorboard, wire
from service.replay.readers.format import Format
from service.replay.scheme import Scheme
from service.replay.steps import StepColumn, Stepper, find
from service.replay.weights import Weights, weights_for


class Log(Protocol):
    """A log file that can be read."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def run(self) -> str:
        """The id of its run, made from the path. Further runs in the file have `#2`, `#3` or `#NAME` after it."""
        ...

    @property
    def format(self) -> str:
        """The name of its format."""
        ...

    @property
    def warnings(self) -> Mapping[str, int]:
        """What was ordinary mess in the file, by reason: counted while `records` is read."""
        ...

    def records(self) -> Iterator[Record]:
        """The records of every run in it: a run_start, blocks of at most 64 steps a phase, a run_end.

        Every call reads the file anew. Raises Unreadable where the file turns out not to be readable further on.
        """
        ...

    def explain(self) -> str:
        """How every column is used and by which rule, and what is left out; complete once `records` is read."""
        ...


def format_names() -> list[str]:
    """What `--format` takes."""
    return [wire.NAME, *(each.name for each in FORMATS)]


def open_log(path: Path, options: Options | None = None) -> Log:
    """The log in a file. Raises Unreadable, one sentence that names the first line at fault."""
    chosen = options or Options()
    head = Head.of(path)
    if chosen.format is not None and chosen.format not in format_names():
        raise Unreadable(path, None, f"there is no format {chosen.format!r}; known are {', '.join(format_names())}")
    if chosen.format == wire.NAME or (chosen.format is None and wire.detect(head)):
        return WireLog(path)
    for each in FORMATS:
        if chosen.format == each.name or (chosen.format is None and each.detect(head)):
            return TableLog(path, head, each, chosen)
    raise NoLog(path, 1, _strange(head))


def open_events(folder: Path, files: Sequence[tuple[Path, str | None]], options: Options | None = None) -> Log:
    """The log in the event files of a run: see `service.replay.event_folders.Folders`. Raises Unreadable."""
    return TableLog(folder, Head.of(files[0][0]), tensorboard.of_files(files), options or Options())


class WireLog:
    """Records as they were published."""

    format: Final = wire.NAME

    def __init__(self, path: Path) -> None:
        self.path = path
        self._said = Notes()
        self.run = next(wire.records(path, Notes())).run

    @property
    def warnings(self) -> Mapping[str, int]:
        """See `Log`."""
        return self._said.counts

    def records(self) -> Iterator[Record]:
        """See `Log`."""
        self._said.clear()
        return wire.records(self.path, self._said)

    def explain(self) -> str:
        """See `Log`."""
        return f"{self.path}: {wire.TITLE}\n  everything is used as it was published"


class TableLog:
    """Rows and columns, made into records by the rules."""

    def __init__(self, path: Path, head: Head, form: Format, options: Options) -> None:
        self.path, self.run, self.format = path, run_of(path), form.name
        self._head, self._form, self._options = head, form, options
        self._said = Notes()
        self._parts: dict[str, tuple[Namer, Stepper]] = {}
        first = next(self._columns(), None)
        if first is None:
            raise Unreadable(path, self._said.first_odd, f"it looks like {form.title}, but no line of it is a row")
        self._check(first)
        self._scheme, self._weighed = self._scheme_of(first)
        namer, _ = self._part(first)
        if not namer.phases:
            raise Unreadable(path, 1, f"it has no column of numbers to watch among {_some(first)}")
        if form.anything and not first.part and not namer.telling and options == Options():
            reason = "no name in it is that of a loss or a metric; if it is a log, say what is what, as with --total"
            raise NoLog(path, 1, f"{reason}: it has {_some(first)}")

    @property
    def warnings(self) -> Mapping[str, int]:
        """See `Log`."""
        return self._said.counts

    def records(self) -> Iterator[Record]:
        """See `Log`."""
        self._said.clear()
        self._parts.clear()
        assemblies: dict[str, Assembly] = {}
        labels = {"format": self._form.name, "file": self.path.name[-MAX_NAME:]}
        damaged: list[Unreadable] = []
        for columns in self._until_damaged(damaged):
            if columns.part not in assemblies:
                run = f"{self.run}#{columns.part}" if columns.part else self.run
                origin = Origin(shortened(run, MAX_NAME - 8), self.path.stat().st_mtime, labels)
                namer, stepper = self._part(columns)
                assemblies[columns.part] = Assembly(origin, namer, self._scheme, stepper, self._said)
            yield from assemblies[columns.part].take(columns)
        for assembly in assemblies.values():
            yield from assembly.close()
        if damaged:
            raise damaged[0]
        if not any(assembly.published for assembly in assemblies.values()):
            raise Unreadable(self.path, self._said.first_odd, "no row of it has both a step and a number to watch")

    def explain(self) -> str:
        """See `Log`."""
        lines = [f"{self.path}: {self._form.title}"]
        for part, (namer, stepper) in self._parts.items():
            lines += [f"  run {part}:"] if part else []
            lines.append(f"  step: {stepper.why}")
            lines += _described(namer.places)
            for phase in namer.phases:
                measured = self._form.scheme.measured_in(phase, stepper.by_epoch)
                lines.append(f"  {phase}: the numbers are {MEANING[measured]}")
            lines += ["  the total is the sum of the components"] if self._form.scheme.adds else []
            lines += [f"  {self._weighed}"] if self._weighed else []
        return "\n".join(lines)

    def _columns(self) -> Iterator[Columns]:
        try:
            yield from self._form.read(self.path, self._head, self._said)
        except OSError as error:
            raise Unreadable(self.path, None, f"it cannot be read: {error.strerror or error}") from None

    def _until_damaged(self, damaged: list[Unreadable]) -> Iterator[Columns]:
        """The rows; what keeps further ones from being read is put to ``damaged``: those before it count."""
        try:
            yield from self._columns()
        except Unreadable as error:
            damaged.append(error)

    def _part(self, columns: Columns) -> tuple[Namer, Stepper]:
        """How the columns of one run are used, decided by the first of its rows."""
        stepper = self._stepper(columns)
        namer = Namer(self._scheme.rules, columns.values, self._options, stepper.columns, columns.texts)
        self._parts[columns.part] = namer, stepper
        return namer, stepper

    def _stepper(self, columns: Columns) -> Stepper:
        if self._options.step:
            return StepColumn(self._options.step, ", as you said")
        if self._form.stepper is not None:
            return self._form.stepper(columns)
        return find(columns.values, columns, self._form.scheme.steps)

    def _scheme_of(self, first: Columns) -> tuple[Scheme, str | None]:
        """The scheme of the format, with the weights of the losses where they are known, and a sentence on those."""
        scheme, said = self._form.scheme, self._options.weights
        given = Weights(said, "your mapping") if said else None
        if self._form.weighed is None:
            return (replace(scheme, weights=said), f"weights from {given.source}") if given else (scheme, None)
        weights = given or weights_for(self.path, self._head.text, self._options.config)
        return self._form.weighed(scheme, first, weights) if weights else (scheme, None)

    def _check(self, first: Columns) -> None:
        """Raise Unreadable where a column that the user named is not there."""
        said = [self._options.step, self._options.total, *self._options.components.values()]
        for column in [*said, *(column for column, _ in self._options.metrics.values())]:
            if column and column not in first.values:
                raise Unreadable(self.path, 1, f"it has no column {column!r} of numbers; it has {_some(first)}")


MEANING: Final = {
    "step": "those of each step",
    "mean_since_last": "means since the row before",
    "running_mean": "running means over the epoch",
    "epoch_mean": "means over the epoch or the evaluation",
    "median": "medians, each by itself: parts need not add up to the total",
    "mixed": "of the last minibatch for the total and means for its parts: they need not add up",
}
"""What `losswatch.fields.Measured` says, in words."""


def run_of(path: Path) -> str:
    """The id of a file's run: its path as it was given.

    >>> run_of(Path("exp/train3/results.csv"))
    'exp/train3/results.csv'
    """
    return shortened(path.as_posix() if path.name else path.resolve().name, MAX_NAME - 8)


def shortened(name: str, most: int) -> str:
    """A name of at most so many characters, which keeps its end and stays one of its own."""
    return name if len(name) <= most else f"{hash_of(name)}~{name[9 - most :]}"


def _described(places: Mapping[str, Place]) -> list[str]:
    """A line for every column: what it is, and by which rule."""
    width = min(40, max((len(name) for name in places), default=0))
    out = []
    for name, place in places.items():
        series = place.phase if place.role == "total" else f"{place.phase} {place.role} {place.name}"
        what = {"total": f"{place.phase} total", "at": "time", "left out": "left out"}.get(place.role, series)
        out.append(f"  {name:{width}}  {what}: {place.why}")
    return out


def _some(columns: Columns) -> str:
    names = [*columns.values, *columns.texts]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _strange(head: Head) -> str:
    if b"\0" in head.data[:1024]:
        return "it is binary and no TensorBoard event file"
    return "no format recognises it: neither a header with numbers below it nor JSON objects; --format forces one"
