"""A metric that loses what it had gained, for good. Letters: R rows (series), T steps.

Reinforcement learning calls it performance or policy collapse (Dohare, Lan and Mahmood, Overcoming Policy Collapse in
Deep Reinforcement Learning, 2023), fine-tuning catastrophic forgetting: the policy or the model is as it was before it
learned, while losses, which follow the data that it makes itself, may look as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.kinds import Advice, Facts, Kind, Reading, Threshold
from detectors.series.past import ROOM, Past
from detectors.streams import ROLES

LOST: Final = Threshold(
    "performance_collapse_lost", 0.7, "Part of what a metric had gained that is a collapse if it is lost."
)
SCALES: Final = 16.0
"""Standard deviations that the gain has to be above what noise makes of a best: noise that remembers 0.95 and more of
itself gains and loses 12 of them, by this estimate, once in 100,000 values."""
CLEAR: Final = 4.0
"""And so many of the noise that there is now, by the estimate that the fall matters less to."""
SEEN: Final = 0.1
"""And so much of where the metric began."""
FROM: Final = 48
"""Values of which the slow mean is made: before, it cannot tell what is lost from what is lost for good."""

READINGS: Final = (
    Reading("metric_lost_ratio", "Part of what a metric had gained that is lost again.", roles=("metric", "slice")),
    Reading("metric_best_mean", "The metric's best recent mean.", exported=False),
    Reading("metric_recent_mean", "The metric's recent mean.", exported=False),
    Reading("metric_best_mean_step", "The step at which it was best.", exported=False),
)


def _describe(facts: Facts) -> str:
    name, now = f"{facts.subject} ({facts.phase})", facts.readings
    if facts.state == "resolved":
        return f"{name} has learned again what it had lost, at step {facts.step}."
    best, saved = now["metric_best_mean_step"], facts.checkpoint(now["metric_best_mean_step"])
    checkpoint = f"checkpoint {saved}" if saved else "a checkpoint of that time"
    return (
        f"{name} lost {now['metric_lost_ratio']:.0%} of what it had gained and does not come back, seen since step "
        f"{facts.began}: its mean is {now['metric_recent_mean']:.4g} and was {now['metric_best_mean']:.4g} at step "
        f"{best:.0f}. Stop, and go on from {checkpoint} with a lower learning rate or smaller updates."
    )


def _advise(facts: Facts) -> Advice | None:
    return None if facts.state == "resolved" else Advice("stop")


PERFORMANCE_COLLAPSE: Final = Kind(
    "performance_collapse",
    "warning",
    value="metric_lost_ratio",
    threshold=LOST.name,
    confirm=16,
    release=16,
    describe=_describe,
    advise=_advise,
    evidence=("metric_lost_ratio", "metric_best_mean", "metric_recent_mean", "metric_best_mean_step"),
    roles=("metric", "slice"),
    conditional=True,
)


def judge(past: Past, thresholds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The readings, where it is bad, and where that is known, each (R, T)."""
    gain = past.start - past.best
    least = torch.maximum((SCALES * ROOM) * past.best_noise, CLEAR * torch.minimum(past.noise, past.surprise))
    least = torch.maximum(least, SEEN * past.start.abs() + torch.finfo(gain.dtype).tiny)
    lost = (torch.minimum(past.slow, past.fast) - past.best) / torch.maximum(gain, least)
    bad = (lost > thresholds[LOST.name][:, None]) & (gain > least)
    metric = (past.role == ROLES.index("metric")) | (past.role == ROLES.index("slice"))
    known = (past.number >= FROM) & metric & (past.direction != 0)
    sign = torch.where(past.direction > 0, -1.0, 1.0).to(lost.dtype)
    readings = {
        "metric_lost_ratio": lost,
        "metric_best_mean": past.best * sign,
        "metric_recent_mean": past.fast * sign,
        "metric_best_mean_step": past.best_step,
    }
    return readings, bad, known
