"""The contract every detector keeps: a cell, like an RNN cell, batched over the fleet.

A cell is pure mathematics. ``init`` makes the state of a number of rows; ``update`` takes the state
and a block of steps and returns the new state, the readings and the verdicts. It knows no run, no
Kafka, no clock and no setting. Rows never see each other: one run is a batch of one.

Letters: R rows, T steps (time is the last dimension), K slots (the components of an objective).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from torch import Tensor

State = dict[str, Tensor]
"""A cell's memory: flat, the first dimension of every tensor is the row (R) or (R, K, ...)."""

Stream = Literal["series", "objective", "predictions"]
"""What a row is: one series of one run; one phase's total and components; one phase's predictions."""

BAD: Final = 1
GOOD: Final = 0
UNKNOWN: Final = -1
"""Verdicts, int8. UNKNOWN (warming up, input missing) neither confirms nor clears anything."""

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Block:
    """T steps of R rows, padded on the right.

    ``values`` by stream, NaN and infinities included:

    - series: ``value`` (R, T). A series has only the steps at which it was reported.
    - objective: ``total`` (R, T), ``component`` and ``weight`` (R, K, T); NaN where not reported.
      ``reported`` tells that NaN from one that the job computed.
    - predictions: ``class_entropy``, ``sample_entropy``, ``max_class_probability``,
      ``unique_classes``, ``samples``, ``classes``, all (R, T).
    """

    step: Tensor
    """(R, T) int64, the job's step numbers."""
    mask: Tensor
    """(R, T) bool, false on the padding."""
    values: Mapping[str, Tensor]
    reported: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """What an update returns."""

    state: State
    readings: Mapping[str, Tensor] = field(default_factory=dict)
    """By name, (R, T) or (R, K, T); NaN means not known."""
    verdicts: Mapping[str, Tensor] = field(default_factory=dict)
    """By kind of finding, int8, (R, T) or (R, K, T)."""


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
    roles: tuple[str, ...] = ()
    """Series only: export it for series of these roles; all where empty."""
    exported: bool = True
    """False for numbers that only serve as a finding's value or evidence."""


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


class Cell(Protocol):
    """A detector."""

    @property
    def name(self) -> str:
        """Unique; names the cell's state in snapshots."""

    @property
    def stream(self) -> Stream: ...
    @property
    def thresholds(self) -> tuple[Threshold, ...]: ...
    @property
    def readings(self) -> tuple[Reading, ...]: ...
    @property
    def kinds(self) -> tuple[Kind, ...]: ...

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """The state of fresh rows, with the dtype and device of ``like``."""

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """Take T steps of each row. ``thresholds`` are (R), by name.

        Neither ``state`` nor ``block`` is changed. The result must not depend on how a row's
        steps are cut into blocks, on the other rows or on the padding.
        """
