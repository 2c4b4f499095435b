"""What a format says about its numbers beyond the general rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from losswatch.fields import Measured
from service.replay.rules import Rule


@dataclass(frozen=True, slots=True)
class Scheme:
    """The format's own rules."""

    steps: tuple[str, ...] = ()
    """Columns that hold the step, best first, before the general ones."""
    rules: tuple[Rule, ...] = ()
    """Tried before the general ones."""
    measured: Mapping[str, Measured] = field(default_factory=dict)
    """What the numbers of a phase are; a phase that is not named has those of the epoch if its step is an epoch or
    it is an evaluation, and else those of each step."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of the parts in the total, where the configuration of the job says them."""
    sums: bool = False
    """Whether the framework makes the total as the sum of the parts it logs."""
    adds: bool = False
    """Whether it does not log that total, so that it has to be added up."""

    def measured_in(self, phase: str, by_epoch: bool) -> Measured:
        """What the numbers of a phase are.

        >>> Scheme().measured_in("val", by_epoch=False)
        'epoch_mean'
        """
        default: Measured = "epoch_mean" if by_epoch or phase != "train" else "step"
        return self.measured.get(phase, default)
