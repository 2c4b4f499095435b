"""What a cell says in words: its thresholds, its readings, and the kinds of findings it may make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from detectors.streams import Role

Severity = Literal["info", "warning", "critical"]
NAMED: Final = 3
"""Further series that a text names."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number a verdict is measured against; set per deployment and per run."""

    name: str
    default: float
    help: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A number per row (or slot) and step, exported as the metric ``losswatch_<name>``."""

    name: str
    help: str
    per: Literal["row", "slot"] = "row"
    roles: tuple[Role, ...] = ()
    """Series only: export it for series of these roles; all where empty."""
    exported: bool = True
    """False for numbers that only serve as a finding's value or evidence."""
    feeds: Literal["series", "formulas"] | None = None
    """The stream that goes on with it: a reading is a series too, and a phase's formula is compared with another's."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What the job could do. The service itself never acts."""

    action: Literal["stop", "set_weight"]
    component: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the moment a finding changes its state: the text is made of it."""

    phase: str
    subject: str | None
    state: Literal["pending", "firing", "resolved"]
    began: int
    step: int
    readings: Mapping[str, float]
    thresholds: Mapping[str, float]
    weights: Mapping[str, float]
    """The declared weights of the phase's objective, by component."""
    reference: str | None = None
    """Pairs only: what the subject is judged against, e.g. ``train total``."""
    checkpoints: Mapping[int, str] = field(default_factory=dict)
    """The checkpoints that the run named, by step."""
    slots: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The readings of `Kind.slots`, each by the name of the slot."""
    role: Role | None = None
    """Series and pairs only: what the subject is to its run."""
    others: Sequence[Facts] = ()
    """`Kind.together` only: the other series in which it was found at that step, the most out of bounds first."""
    series: int = 1
    """In how many series it was found, the subject among them."""

    def listed(self, say: Callable[[Facts], str]) -> str:
        """The other series, the first of many, each with what ``say`` makes of it: ``: seg (a spike)``."""
        named = ", ".join(f"{other.subject} ({say(other)})" for other in self.others[:NAMED])
        return f"{', among them' if self.series - 1 > NAMED else ':'} {named}"

    def checkpoint(self, step: float) -> str | None:
        """The newest checkpoint at or before a step."""
        return next((self.checkpoints[at] for at in sorted(self.checkpoints, reverse=True) if at <= step), None)


def no_advice(facts: Facts) -> None:
    """For kinds that have none to give."""
    del facts


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding: how it is judged over time and how it is told."""

    name: str
    severity: Severity
    value: str
    """The reading that is the finding's value."""
    threshold: str | None
    """The threshold that the value is measured against."""
    confirm: int
    """Bad verdicts in a row until it fires."""
    release: int
    """Good verdicts in a row until it is resolved."""
    describe: Callable[[Facts], str]
    advise: Callable[[Facts], Advice | None] = no_advice
    evidence: tuple[str, ...] = ()
    """Readings that go with the finding: of its own cell, or of one before it in the catalog."""
    roles: tuple[Role, ...] = ()
    """Series only: it judges series of these roles; all where empty."""
    conditional: bool = False
    """It needs something that not every run gives, such as a declared band: unknown is then no warm-up."""
    slots: tuple[str, ...] = ()
    """Readings per slot that the text of a row's finding is made of."""
    together: str | None = None
    """Series only, and those that are confirmed at once: what is found in several series at one step is one finding,
    about the series with the largest of this reading."""
