"""Spikes, divergence, plateaus, oscillation and collapse of a series: five kinds on one memory.

Letters: R rows, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Kind, Reading, Threshold
from detectors.series import collapse, divergence, oscillation, plateau, spike
from detectors.series.past import Memory
from detectors.streams import Stream

JUDGES = (spike, divergence, plateau, oscillation, collapse)


@dataclass(frozen=True, slots=True)
class Health:
    """Judges a series by its own past: what is far above a noise of 0.3 % is nothing beside one of 50 %.

    Spikes and oscillation are judged for losses; spikes for metrics and slices too, where the better direction is
    known; collapse for those metrics and slices; plateaus for totals only; divergence for totals and for the components
    of a phase that reports no total. All else is unknown.

    >>> import torch
    >>> from detectors.streams import ROLES
    >>> value = torch.tensor([[2.0, 1.9, 2.1, 2.0, 1.8, 1.9, 1.8, 1.9, 1.7, 1.8, 9.0, 1.8]], dtype=torch.float64)
    >>> mask = torch.ones_like(value, dtype=torch.bool)
    >>> facts = {"role": torch.tensor([float(ROLES.index("total"))]), "direction": torch.tensor([-1.0])}
    >>> facts["alone"] = torch.zeros(1)
    >>> block = Block(torch.arange(12)[None], mask, {"value": value}, facts=facts)
    >>> cell = Health()
    >>> thresholds = {t.name: torch.tensor([t.default], dtype=torch.float64) for t in cell.thresholds}
    >>> cell.update(cell.init(1, 0, value), block, thresholds).verdicts["spike"].tolist()
    [[-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 1, 0]]
    """

    memory: Memory = field(default_factory=Memory)
    name: str = "health"
    stream: Stream = "series"
    thresholds: tuple[Threshold, ...] = (
        spike.RISE,
        divergence.RISE,
        plateau.IMPROVEMENT,
        oscillation.ALTERNATION,
        collapse.LOST,
    )
    kinds: tuple[Kind, ...] = (
        spike.SPIKE,
        divergence.DIVERGENCE,
        plateau.PLATEAU,
        oscillation.OSCILLATION,
        collapse.PERFORMANCE_COLLAPSE,
    )
    readings: tuple[Reading, ...] = tuple(reading for judge in JUDGES for reading in judge.READINGS)

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """See `detectors.series.past.Memory`."""
        del slots
        return self.memory.init(rows, like)

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        state, past, valid = self.memory.update(state, block)
        place = (valid.cumsum(-1) - 1).clamp_(min=0)
        readings: dict[str, Tensor] = {}
        verdicts: dict[str, Tensor] = {}
        for judge, kind in zip(JUDGES, self.kinds, strict=True):
            found, bad, known = judge.judge(past, thresholds)
            known = known.gather(1, place) & valid
            readings |= {name: torch.where(known, value.gather(1, place), torch.nan) for name, value in found.items()}
            verdicts[kind.name] = verdict_of(known, bad.gather(1, place))
        return Output(state, readings, verdicts)
