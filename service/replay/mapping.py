"""From the name of a column to its place in a record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2s
from pathlib import Path
from typing import Final

from detectors.evaluation.directions import Direction, direction_of
from losswatch.fields import MAX_NAME, MAX_SERIES
from service.replay.rules import GENERAL, PHASES, TOTALS, Role, Rule

_WORD: Final = "|".join(PHASES)
_AFTER: Final = "|".join(word for word in PHASES if word != "dev")  # std_dev
_BETWEEN: Final = "|".join(word for word, phase in PHASES.items() if phase != "train")
_PLACES: Final = (
    re.compile(rf"(?P<word>{_WORD})[/_.\-: ]+(?P<b>.+)", re.IGNORECASE),
    re.compile(rf"(?P<word>(?i:{_WORD}))(?P<b>[A-Z].*)"),
    re.compile(rf"(?P<a>.+?)[/_.\-: ]+\(?(?P<word>{_AFTER})\)?", re.IGNORECASE),
    re.compile(
        rf"(?P<a>.+[/_. ])(?P<word>{_BETWEEN})[/_. ](?P<b>.+)|(?P<c>.+/)(?P<w>{_WORD})/(?P<d>.+)", re.IGNORECASE
    ),
)
"""Where a name says its phase: before the rest, before a capital, behind it, or between."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says about the columns; it wins over every rule."""

    format: str | None = None
    """A name of `service.replay.readers.FORMATS`; None: detected by content."""
    step: str | None = None
    """The column that holds the step."""
    total: str | None = None
    """The column that holds the total."""
    components: Mapping[str, str] = field(default_factory=dict)
    """Column by the name of the component. Where any is given, no other column is a component."""
    metrics: Mapping[str, tuple[str, Direction | None]] = field(default_factory=dict)
    """Column and the better direction (None: the one its name tells), by the name of the metric."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """The weight of each component in the total."""
    config: Path | None = None
    """The configuration of the job, where it is not beside the log."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a column is, and by which rule."""

    role: Role
    phase: str
    name: str
    why: str


def split_phase(name: str) -> tuple[str | None, str]:
    """The phase that a name says, and the rest of it.

    >>> [split_phase(name) for name in ("val/box_loss", "loss_eval", "trainLoss", "a/test/acc", "total_val_loss")]
    [('val', 'box_loss'), ('val', 'loss'), ('train', 'Loss'), ('test', 'a/acc'), ('val', 'total_loss')]
    >>> [split_phase(name) for name in ("value_loss", "std_dev")]
    [(None, 'value_loss'), (None, 'std_dev')]
    """
    for pattern in _PLACES:
        if found := pattern.fullmatch(name):
            parts = found.groupdict()
            word = parts["word"] or parts["w"]
            return PHASES[word.lower()], "".join(parts.get(part) or "" for part in "abcd")
    return None, name


class Namer:
    """Gives every column of one run its place; a column keeps the place it once got.

    Parameters
    ----------
    rules
        The format's own rules, tried before the general ones.
    known
        The names that stand at the head of the file: the total is the best of them.
    options
        What the user says.
    aside
        Columns that say the step.
    texts
        Columns that hold no numbers.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        known: Iterable[str],
        options: Options,
        aside: Iterable[str] = (),
        texts: Iterable[str] = (),
    ) -> None:
        self._rules = rules
        self._known = tuple(dict.fromkeys(known))
        self._said = _said(options)
        self._any_component = bool(options.components)
        self._totals: dict[str, str] = {}
        """The column of the total, by phase."""
        self._taken: set[tuple[str, str]] = set()
        self.places = {column: Place("left out", "train", column, "it says the step") for column in aside}
        self.places |= {column: Place("left out", "train", column, "it holds no numbers") for column in sorted(texts)}
        """What every column seen so far is."""
        self.phases: dict[str, None] = {}
        """The phases that have a series, in the order in which they were seen."""
        if options.total:
            self._totals[self._split(options.total)[0] or "train"] = options.total
        candidates = [(name, found) for name in self._known if (found := self._total(name)) is not None]
        for name, (_, phase) in sorted(candidates, key=lambda item: item[1][0]):
            self._totals.setdefault(phase, name)
        if not self._totals and not options.components:
            self._totals = self._only_loss()
        for name in self._known:
            self.place(name)

    def place(self, column: str) -> Place:
        """What the column is."""
        if (place := self.places.get(column)) is None:
            place = self._unique(column, self._new(column))
            self.places[column] = place
            if place.role in ("total", "component", "metric"):
                self.phases.setdefault(place.phase)
        return place

    def directions(self) -> dict[str, Direction]:
        """The better direction of every metric so far that has one."""
        out: dict[str, Direction] = {}
        for column, place in self.places.items():
            if place.role == "metric":
                said = self._said.get(column)
                direction = (said[2] if said is not None else None) or direction_of(place.name)
                if direction is not None:
                    out[place.name] = direction
        return out

    @property
    def telling(self) -> bool:
        """Whether a name tells that there is something to watch: a loss, or a metric with a better direction."""
        return bool(self.directions()) or any(place.role in ("total", "component") for place in self.places.values())

    @property
    def summed(self) -> list[str]:
        """The phases that have components."""
        return sorted({place.phase for place in self.places.values() if place.role == "component"})

    def _new(self, column: str) -> Place:
        phase, rest = self._split(column)
        if column in self._said:
            role, name, _ = self._said[column]
            return Place(role, phase or "train", name, "as you said")
        if (special := self._first(self._rules, column)) is not None:
            return special
        phase = phase or "train"
        if rest.endswith("_epoch") and rest == self._base(column, rest):
            return Place("left out", phase, rest, "the mean over the epoch of what is there for each step")
        rest = self._base(column, rest)
        if (found := self._total(column)) is not None:
            if self._totals.setdefault(phase, column) == column:
                return Place("total", phase, "total", f'"{TOTALS[found[0]]}" is a name of the total')
            return Place("metric", phase, rest, f'another total beside "{self._totals[phase]}"')
        if self._totals.get(phase) == column:
            return Place("total", phase, "total", "the only loss in the log")
        place = self._first(GENERAL, rest) or Place("metric", phase, rest, "any other number")
        if place.role == "component" and self._any_component:
            return Place("metric", phase, rest, "you said which columns are components")
        return Place(place.role, phase, place.name, place.why)

    def _only_loss(self) -> dict[str, str]:
        """The column of the one loss that the log has, by phase; empty where it has none or several."""
        columns: dict[str, str] = {}
        names = set()
        for column in self._known:
            phase, rest = self._split(column)
            if column not in self.places and column not in self._said and self._first(self._rules, column) is None:
                place = self._first(GENERAL, self._base(column, rest))
                if place is not None and place.role == "component":
                    names.add(place.name)
                    columns.setdefault(phase or "train", column)
        return columns if len(names) == 1 else {}

    def _total(self, column: str) -> tuple[int, str] | None:
        """The rank of the column among totals, and its phase; None where it is none."""
        if column in self.places or column in self._said or self._first(self._rules, column) is not None:
            return None
        phase, rest = self._split(column)
        plain = re.sub(r"[^a-z0-9]+", "_", self._base(column, rest).lower()).strip("_").removeprefix("metrics_")
        return (TOTALS.index(plain), phase or "train") if plain in TOTALS else None

    def _base(self, column: str, rest: str) -> str:
        """The name without what a logger adds where it logs both each step's value and the epoch's mean."""
        if rest.endswith("_step"):
            return rest.removesuffix("_step")
        if rest.endswith("_epoch"):
            base = column.removesuffix("_epoch")
            if base not in self._known and f"{base}_step" not in self._known:
                return rest.removesuffix("_epoch")
        return rest

    def _split(self, column: str) -> tuple[str | None, str]:
        """As `split_phase`; ``valid`` is a phase only where ``train`` or a loss says so: an action may be valid too."""
        phase, rest = split_phase(column)
        if phase == "val" and "validation" not in (low := column.lower()) and "valid" in low:
            names = {name.lower() for name in self._known}
            if low.replace("valid", "train") not in names and not any("valid" in n and "loss" in n for n in names):
                return None, column
        return phase, rest

    def _first(self, rules: Sequence[Rule], name: str) -> Place | None:
        for rule in rules:
            if found := rule.pattern.fullmatch(name):
                said, rest = self._split(name)
                phase = rule.phase or said or "train"
                return Place(rule.role, phase, found.expand(rule.name) if rule.name else rest, rule.why)
        return None

    def _unique(self, column: str, place: Place) -> Place:
        """The place, under the whole name of the column where its own is taken or longer than a name may be."""
        if place.role in ("left out", "at"):
            return place
        if sum(other.role == place.role and other.phase == place.phase for other in self.places.values()) >= MAX_SERIES:
            return Place("left out", place.phase, place.name, f"more than {MAX_SERIES} series")
        for name in (place.name, column, f"{column} (2)"):
            short = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}~{hash_of(name)}"
            if short and (place.phase, short) not in self._taken:
                self._taken.add((place.phase, short))
                return Place(place.role, place.phase, short, place.why)
        return Place("left out", place.phase, place.name, "another column has its name")


def hash_of(text: str) -> str:
    """Eight characters that stand for a text."""
    return blake2s(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()


def _said(options: Options) -> dict[str, tuple[Role, str, Direction | None]]:
    """Role, name and direction by column."""
    out: dict[str, tuple[Role, str, Direction | None]] = {}
    if options.total:
        out[options.total] = ("total", "total", None)
    out |= {column: ("component", name, None) for name, column in options.components.items()}
    return out | {column: ("metric", name, better) for name, (column, better) in options.metrics.items()}
