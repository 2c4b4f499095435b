"""The loss gets better and a metric worse. Letters: R rows (a metric and a total), T steps.

Case A of the requirements: the total fell from 0.3127 to 0.0226 while accuracy went from 0.8614 to 0.7470. The sign
matters: a correlation of loss and metric, however strong, is as high when both get worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.evaluation.since_best import SinceBest
from detectors.kinds import Advice, Facts, Kind, Reading, Threshold
from detectors.streams import Stream

WORSE = Threshold("decoupling_metric_loss", 0.10, "A metric this far behind its best, relative, has become worse.")
FALL = Threshold("decoupling_total_fall", 0.10, "Fall of the total meanwhile, relative, that counts as improving.")


def _describe(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is close to its best again, or {facts.reference} no longer falls without it."
    saved = facts.checkpoint(now["metric_best_step"])
    best = f"step {now['metric_best_step']:.0f}" + (f", checkpoint {saved}" if saved else "")
    return (
        f"{name} ({facts.phase}) is {now['metric_loss_ratio']:.0%} worse than at its best ({best}) although "
        f"{facts.reference} fell by another {now['total_fall_ratio']:.0%} since, seen since step {facts.began}: the "
        f"loss does not measure what you want. Choose the checkpoint by {name}, or change the loss."
    )


def _advise(facts: Facts) -> Advice | None:
    return None if facts.state == "resolved" else Advice("stop")


DECOUPLING = Kind(
    "loss_metric_decoupling",
    "warning",
    value="metric_loss_ratio",
    threshold=WORSE.name,
    confirm=4,
    release=4,
    describe=_describe,
    advise=_advise,
    evidence=("metric_loss_ratio", "total_fall_ratio", "metric_best_step"),
)


@dataclass(frozen=True, slots=True)
class Decoupling:
    """A metric whose better direction is known against the training total, or else the total of its phase.

    Bad where the metric is behind its best (see `SinceBest`) while the total went on falling. Unknown until
    ``warm_up`` values of the metric, and at steps without one.
    """

    compare: SinceBest = field(default_factory=SinceBest)
    at_points: bool = True
    warm_up: int = 5
    name: str = "decoupling"
    stream: Stream = "decoupling"
    thresholds: tuple[Threshold, ...] = (WORSE, FALL)
    kinds: tuple[Kind, ...] = (DECOUPLING,)
    readings: tuple[Reading, ...] = (
        Reading("metric_loss_ratio", "A metric behind its best, relative."),
        Reading("total_fall_ratio", "By how much the total fell since the metric was best, relative.", exported=False),
        Reading("metric_best_step", "Step at which a metric was best."),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Every tensor (R)."""
        del slots
        return self.compare.init(rows, like)

    def rewind(self, now: State, then: State, step: int) -> State:
        """See `detectors.cell.Rewinding`."""
        return self.compare.rewind(now, then, step)

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        sign = -block.facts["direction"]
        state, now = self.compare.update(state, block, sign, torch.ones_like(sign))
        known, compared = now.known(self.warm_up)
        bad = now.level.worse(thresholds[WORSE.name]) & now.level.better(thresholds[FALL.name])
        readings = {
            "metric_loss_ratio": now.rise_ratio(),
            "total_fall_ratio": now.fall_ratio(),
            "metric_best_step": now.best_step,
        }
        return Output(
            state,
            {name: torch.where(known, value, torch.nan) for name, value in readings.items()},
            {"loss_metric_decoupling": verdict_of(compared, bad)},
        )
