"""Are the predictions collapsing onto few classes? Letters: R rows (prediction streams), T steps.

Class entropy is the entropy of the *mean* predicted distribution: a model may be rightly sure of
each sample and still predict every class. Case A of the requirements: it fell 0.9640 to 0.8937
while the total loss fell by 93 %, and accuracy went with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from detectors.cell import BAD, GOOD, UNKNOWN, Advice, Block, Facts, Kind, Output, Reading, State, Stream, Threshold
from detectors.predictions.distribution import sampling_deficit
from detectors.predictions.regression import Regression
from detectors.recurrence import decay_of, discounted_sum, last, packed, previous, unpacked

FLOOR = Threshold("class_entropy_floor", 0.85, "Class entropy (0 to 1) below which predictions count as collapsed.")
HORIZON = Threshold("class_entropy_horizon_steps", 200.0, "Warn when the floor is forecast to be crossed this soon.")
TARGET = Threshold("class_entropy_target", 0.85, "Class entropy below which a larger diversity weight is advised.")
GAIN = Threshold("diversity_weight_gain", 0.5, "How much weight is advised per unit of missing class entropy.")


def adaptive_weight(entropy: float, base: float, gain: float, target: float) -> float:
    """``base + gain * (target - entropy)`` below the target, ``base`` above it.

    >>> round(adaptive_weight(0.70, base=0.1, gain=0.5, target=0.85), 4)
    0.175
    """
    return base + gain * max(0.0, target - entropy)


def _diversity_term(facts: Facts) -> str | None:
    return next((name for name in facts.weights if "divers" in name.lower()), None)


def _advise(facts: Facts) -> Advice | None:
    if facts.state == "resolved":
        return None
    term, now = _diversity_term(facts), facts.readings["class_entropy_ratio"]
    if term is None:
        return Advice("stop")
    base, target = facts.weights[term], facts.thresholds[TARGET.name]
    weight = adaptive_weight(now, base, facts.thresholds[GAIN.name], target)
    return Advice("set_weight", term, weight) if weight > base else None


def _describe_collapse(facts: Facts) -> str:
    now, floor = facts.readings["class_entropy_ratio"], facts.thresholds[FLOOR.name]
    if facts.state == "resolved":
        return (
            f"Class entropy of the {facts.phase} predictions is no longer clearly below its floor "
            f"({now:.2f}, floor {floor:.2f})."
        )
    top = facts.readings["max_class_probability_ratio"]
    return (
        f"Class entropy of the {facts.phase} predictions fell to {now:.2f} (floor {floor:.2f}) at step {facts.began}; "
        f"the most predicted class now holds {top:.0%} of the probability. Raise the diversity weight, or stop here "
        "and keep an earlier checkpoint."
    )


def _describe_decline(facts: Facts) -> str:
    now, floor = facts.readings["class_entropy_ratio"], facts.thresholds[FLOOR.name]
    if facts.state == "resolved":
        return f"Class entropy of the {facts.phase} predictions no longer heads for its floor ({now:.2f}, {floor:.2f})."
    left = facts.readings["class_entropy_steps_to_floor"]
    when = f"in about {left:.0f} steps" if left > 0 else "now"
    return (
        f"Class entropy of the {facts.phase} predictions is {now:.2f} and declining (seen at step "
        f"{facts.began}); at this pace it crosses its floor of {floor:.2f} {when}."
    )


_EVIDENCE = (
    "class_entropy_ratio",
    "class_entropy_slope",
    "class_entropy_steps_to_floor",
    "sample_entropy_ratio",
    "max_class_probability_ratio",
    "unique_classes",
)
COLLAPSE = Kind(
    "diversity_collapse", "critical", "class_entropy_ratio", FLOOR.name, 5, 10, _describe_collapse, _advise, _EVIDENCE
)
DECLINE = Kind(
    "diversity_decline",
    "warning",
    "class_entropy_steps_to_floor",
    HORIZON.name,
    5,
    20,
    _describe_decline,
    _advise,
    _EVIDENCE,
)


@dataclass(frozen=True, slots=True)
class Diversity:
    """Class entropy against its floor, now and by forecast.

    Both judge the class entropy raised by what few samples take from it (`sampling_deficit`).
    *Collapse* is bad where it is below the floor and further below 1 than ``sigmas`` standard
    deviations of what a uniform predictor shows by chance. *Decline* fits a line (exponentially
    weighted least squares, memory 24 records) and asks when it crosses the floor; only a slope
    beyond ``sigmas`` standard errors counts. Unknown where a record has so few samples that not even
    a single predicted class would be bad, and where its entropy is not finite.
    """

    regression: Regression = field(default_factory=Regression)
    sigmas: float = 4.0
    warm_up: int = 16
    name: str = "diversity"
    stream: Stream = "predictions"
    thresholds: tuple[Threshold, ...] = (FLOOR, HORIZON, TARGET, GAIN)
    kinds: tuple[Kind, ...] = (DECLINE, COLLAPSE)
    readings: tuple[Reading, ...] = (
        Reading("class_entropy_ratio", "Entropy of the mean predicted distribution by log C (0 one class, 1 uniform)."),
        Reading("sample_entropy_ratio", "Mean entropy of a sample's predicted distribution by log C."),
        Reading("max_class_probability_ratio", "Largest mean class probability."),
        Reading("unique_classes", "Classes that are the argmax of at least one sample."),
        Reading("class_entropy_slope", "Change of the class entropy per step, fitted.", exported=False),
        Reading("class_entropy_steps_to_floor", "Steps until the class entropy is forecast to cross its floor."),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Every tensor (R)."""
        del slots
        line = self.regression.init(rows, like)
        return line | {name: like.new_zeros(rows) for name in ("interval", "interval_weight", "newest_step")}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        values, floor = block.values, thresholds[FLOOR.name][:, None]
        entropy = values["class_entropy"]  # (R, T)
        expected, deviation = sampling_deficit(values["samples"], values["classes"])
        corrected = entropy + expected
        valid = block.mask & corrected.isfinite()
        limit = torch.minimum(floor, 1 - self.sigmas * deviation)
        telling = valid & (expected < limit)
        taken, steps = packed(valid, valid), valid.sum(-1)
        fitted = {name: state[name] for name in self.regression.init(0, entropy)}
        line_state, line = self.regression.update(fitted, packed(corrected, valid), taken)
        pace_state, pace = self._pace(state, packed(block.step, valid), taken, line.count)
        level, slope, error = (unpacked(x, valid) for x in (line.level, line.slope, line.slope_error))
        slope, error = slope / unpacked(pace, valid), error / unpacked(pace, valid)
        warm = telling & (unpacked(line.count, valid) >= self.warm_up)
        declines = warm & (slope < -self.sigmas * error)
        to_floor = torch.where(declines, ((level - floor) / -slope).clamp(min=0.0), torch.nan)
        soon = to_floor <= thresholds[HORIZON.name][:, None]
        readings = {
            "class_entropy_ratio": entropy,
            "sample_entropy_ratio": values["sample_entropy"],
            "max_class_probability_ratio": values["max_class_probability"],
            "unique_classes": values["unique_classes"],
            "class_entropy_slope": torch.where(warm, slope, torch.nan),
            "class_entropy_steps_to_floor": to_floor,
        }
        verdicts = {
            "diversity_decline": _verdict(soon, warm),
            "diversity_collapse": _verdict(corrected < limit, telling),
        }
        state = line_state | {name: last(x, steps, state[name]) for name, x in pace_state.items()}
        return Output(state, readings, verdicts)

    def _pace(self, state: State, steps: Tensor, taken: Tensor, count: Tensor) -> tuple[State, Tensor]:
        """Steps between two records, a mean with the memory of the regression: (R, T)."""
        decay, step = decay_of(self.regression.tau), steps.to(count.dtype)
        counted = taken & (count > 1)
        passed = torch.where(counted, (step - previous(step, state["newest_step"])).clamp(min=0.0), 0.0)
        interval = discounted_sum(state["interval"], passed, decay)
        weight = discounted_sum(state["interval_weight"], counted.to(step.dtype), decay)
        pace = torch.where(interval > 0, interval / weight, 1.0)
        return {"interval": interval, "interval_weight": weight, "newest_step": step}, pace


def _verdict(bad: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, torch.where(bad, BAD, GOOD), UNKNOWN).to(torch.int8)
