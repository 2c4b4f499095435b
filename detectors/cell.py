"""The contract every detector keeps: a cell, like an RNN cell, batched over the fleet.

A cell is pure mathematics. ``init`` makes the state of a number of rows; ``update`` takes the state
and a block of steps and returns the new state, the readings and the verdicts. It knows no run, no
Kafka, no clock and no setting. Rows never see each other: one run is a batch of one.

Letters: R rows, T steps (time is the last dimension), K slots (the components of an objective).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

import torch
from torch import Tensor

from detectors.kinds import Kind, Reading, Threshold
from detectors.streams import Stream

State = dict[str, Tensor]
"""A cell's memory: flat, the first dimension of every tensor is the row (R) or (R, K, ...)."""
BAD: Final = 1
GOOD: Final = 0
UNKNOWN: Final = -1
"""Verdicts, int8. UNKNOWN (warming up, input missing) neither confirms nor clears anything."""


def verdict_of(known: Tensor, bad: Tensor) -> Tensor:
    """int8: BAD or GOOD where it is known which, else UNKNOWN.

    >>> verdict_of(torch.tensor([True, True, False]), torch.tensor([True, False, True]))
    tensor([ 1,  0, -1], dtype=torch.int8)
    """
    # 1 or 2 where it is known, else 0, and one less: bytes all along, ten times as fast as a choice of numbers.
    return (bad.to(torch.int8) + (1 + GOOD)).mul_(known).add_(UNKNOWN)


@dataclass(frozen=True, slots=True)
class Block:
    """T steps of R rows, padded on the right.

    ``values`` by stream, NaN and infinities included:

    - series: ``value`` (R, T). A series has only the steps at which it was reported. ``low`` and ``high`` (R, T):
      the band that the job expects it in, NaN where it expects nothing.
    - objective: ``total`` (R, T), ``component`` and ``weight`` (R, K, T); NaN where not reported.
      ``reported`` tells that NaN from one that the job computed. ``log_var`` (R, K, T): Kendall's s, the newest
      that any phase of the run reported, NaN where there is none; ``reported`` says where it is this step's own.
      ``measured`` and ``divided_by`` (R, T): see `MEASURED` and ``losswatch.schema.Steps``.
    - pairs: ``reference`` and ``judged`` (R, T). Their phases take turns, so that most steps bring one of the two;
      ``reported`` says which. formulas has ``reference_scale`` and ``judged_scale`` as well.
    - predictions: see `VALUES`. Slots are classes; a stream of more than a thousand has none.
    """

    step: Tensor
    """(R, T) int64, the job's step numbers."""
    mask: Tensor
    """(R, T) bool, false on the padding."""
    values: Mapping[str, Tensor]
    reported: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    """(R) or (R, K), by name: see `FACTS`."""


@dataclass(frozen=True, slots=True)
class Output:
    """What an update returns."""

    state: State
    readings: Mapping[str, Tensor] = field(default_factory=dict)
    """By name, (R, T) or (R, K, T); NaN means not known."""
    verdicts: Mapping[str, Tensor] = field(default_factory=dict)
    """By kind of finding, int8, (R, T) or (R, K, T)."""


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
        """The state of fresh rows, on the device of ``like`` and in its dtype, or a narrower one where that is enough:
        a cell that may lose digits of its memory takes half of it in float32. Readings have the dtype of ``like``."""

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """Take T steps of each row. ``thresholds`` are (R), by name.

        Neither ``state`` nor ``block`` is changed. The result must not depend on how a row's
        steps are cut into blocks, on the other rows or on the padding.
        """


@runtime_checkable
class Deferred(Cell, Protocol):
    """A cell without verdicts whose readings follow from its state, and are dear: they are made when somebody looks.

    ``update`` is `advance` and then, for every step, what `read` makes of the state.
    """

    def advance(self, state: State, block: Block) -> State:
        """The state that ``update`` returns."""

    def read(self, state: State, thresholds: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The readings (R) at the last step."""


@runtime_checkable
class Rewinding(Protocol):
    """A cell that knows of some of its state which step it is from.

    When a job goes back to a checkpoint, the state of a row becomes what it was at an earlier step; a cell of this sort
    keeps what is from before the step that the job goes back to.
    """

    @property
    def at_points(self) -> bool:
        """Whether its state is kept at earlier steps; if not, ``then`` is fresh."""

    def rewind(self, now: State, then: State, step: int) -> State:
        """The state of rows (R) whose job took back ``step`` and all later ones; ``then`` is from some time before."""


def joined(**parts: State) -> State:
    """The states of a cell's parts as one, each name behind that of its part.

    >>> joined(total={"mean": torch.zeros(2)}, component={"mean": torch.ones(2)})
    {'total_mean': tensor([0., 0.]), 'component_mean': tensor([1., 1.])}
    """
    return {f"{part}_{name}": value for part, state in parts.items() for name, value in state.items()}


def part_of(state: State, part: str) -> State:
    """The state of a part, out of that which `joined` made of it."""
    return {name.removeprefix(f"{part}_"): value for name, value in state.items() if name.startswith(f"{part}_")}


def from_before(now: State, then: State, step: int, groups: Mapping[str, Sequence[str]]) -> State:
    """``then``, but of each group what ``now`` has where the step it is from, the group's name, is before ``step``.

    >>> now = {"best": torch.tensor([0.2, 0.1]), "best_step": torch.tensor([40.0, 70.0])}
    >>> then = {"best": torch.tensor([0.5, 0.5]), "best_step": torch.tensor([10.0, 10.0])}
    >>> from_before(now, then, 50, {"best_step": ["best"]})["best"]
    tensor([0.2000, 0.5000])
    """
    found = dict(then)
    for at, names in groups.items():
        for name in (at, *names):
            found[name] = torch.where(now[at] < step, now[name], then[name])
    return found
