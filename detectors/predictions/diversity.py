"""Are the predictions collapsing onto few classes? Letters: R rows (prediction streams), T steps.

Class entropy is the entropy of the *mean* predicted distribution: a model may be rightly sure of
each sample and still predict every class. Case A of the requirements: it fell 0.9640 to 0.8937
while the total loss fell by 93 %, and accuracy went with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Advice, Facts, Kind, Reading, Threshold
from detectors.predictions.distribution import moments_of, sampling_deficit, sampling_error
from detectors.predictions.regression import Regression
from detectors.recurrence import decay_of, discounted_sum, last, packed, previous, unpacked
from detectors.streams import Stream

FLOOR = Threshold("class_entropy_floor", 0.85, "Class entropy (0 to 1) below which predictions count as collapsed.")
HORIZON = Threshold("class_entropy_horizon_steps", 200.0, "Warn when the floor is forecast to be crossed this soon.")
TARGET = Threshold("class_entropy_target", 0.85, "Class entropy below which a larger diversity weight is advised.")
_SUMS = ("size", "size_square", "sharpness")
_MEANS = ("entropy", "expected", "deviation", "collision", "surprise")
"""Of records without slots: what is averaged over the recent ones."""
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
    now, floor = facts.readings["class_entropy_ratio"], facts.readings["class_entropy_bound_ratio"]
    if facts.state == "resolved":
        return (
            f"Class entropy of the {facts.phase} predictions is no longer clearly below its floor "
            f"({now:.2f}, floor {floor:.2f})."
        )
    top, window = facts.readings["max_class_probability_ratio"], facts.readings["class_entropy_window_ratio"]
    recent = f", {window:.2f} over the recent records" if isfinite(window) else ""
    return (
        f"Class entropy of the {facts.phase} predictions fell to {now:.2f}{recent} (floor {floor:.2f}) at step "
        f"{facts.began}; "
        f"the most predicted class now holds {top:.0%} of the probability. Raise the diversity weight, or stop here "
        "and keep an earlier checkpoint."
    )


def _describe_decline(facts: Facts) -> str:
    now, floor = facts.readings["class_entropy_ratio"], facts.readings["class_entropy_bound_ratio"]
    if facts.state == "resolved":
        if now < floor:
            return (
                f"Class entropy of the {facts.phase} predictions falls no further; it is {now:.2f}, below {floor:.2f}."
            )
        return f"Class entropy of the {facts.phase} predictions no longer heads for its floor ({now:.2f}, {floor:.2f})."
    left = facts.readings["class_entropy_steps_to_floor"]
    when = f"in about {left:.0f} steps" if left > 0 else "now"
    return (
        f"Class entropy of the {facts.phase} predictions is {now:.2f} and declining (seen at step "
        f"{facts.began}); at this pace it crosses its floor of {floor:.2f} {when}."
    )


_EVIDENCE = (
    "class_entropy_ratio",
    "class_entropy_window_ratio",
    "class_entropy_bound_ratio",
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
    """Class entropy against its floor: in a record, over the recent records, and by forecast.

    The *bound* is the floor times the class entropy of the labels of the recent records, 1 where none come: predictions
    that are as diverse as what there is to predict have not collapsed.

    Entropies are judged raised by what few samples take from them (`sampling_deficit`). *Collapse* is bad where that
    of one record, or of the mean distribution of the recent ones (memory ``window`` records), is below the floor
    by more than ``sigmas`` standard errors (`sampling_error`), and further below 1 than ``chance`` standard
    deviations of what a uniform predictor shows. A record or window of fewer than ``samples`` samples says
    nothing. *Decline* fits a line (exponentially weighted least squares, memory 24 records) to the records and
    asks when it crosses the floor; only a slope beyond ``chance`` standard errors counts.
    """

    regression: Regression = field(default_factory=Regression)
    window: float = 16.0
    sigmas: float = 3.0
    chance: float = 4.0
    samples: float = 64.0
    warm_up: int = 16
    name: str = "diversity"
    stream: Stream = "predictions"
    thresholds: tuple[Threshold, ...] = (FLOOR, HORIZON, TARGET, GAIN)
    kinds: tuple[Kind, ...] = (DECLINE, COLLAPSE)
    readings: tuple[Reading, ...] = (
        Reading(
            "class_entropy_ratio",
            "Entropy of the mean predicted distribution by log C (0 one class, 1 uniform).",
            feeds="series",
        ),
        Reading("class_entropy_window_ratio", "Class entropy of the mean distribution over the recent records."),
        Reading("class_perplexity_ratio", "Perplexity of the mean distribution: (e^H - 1) / (C - 1)."),
        Reading("sample_entropy_ratio", "Mean entropy of a sample's predicted distribution by log C."),
        Reading(
            "mutual_information_ratio", "Class entropy less sample entropy: what a prediction says about its sample."
        ),
        Reading("max_class_probability_ratio", "Largest mean class probability."),
        Reading("unique_classes", "Classes that are the argmax of at least one sample."),
        Reading("calibration_error_ratio", "Expected calibration error of a record with labels, 15 bins."),
        Reading(
            "class_entropy_bound_ratio",
            "Class entropy below which predictions count as collapsed: the floor times that of the labels, if any.",
        ),
        Reading("class_predicted_ratio", "Share of samples whose argmax is the class, recent records.", "slot"),
        Reading("class_entropy_slope", "Change of the class entropy per step, fitted.", exported=False),
        Reading("class_entropy_steps_to_floor", "Steps until the class entropy is forecast to cross its floor."),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """The line and the sums of the recent records (R); their mean distributions and argmax counts (R, K)."""
        line = self.regression.init(rows, like)
        names = ("interval", "interval_weight", "newest_step", *_SUMS, *_MEANS, "label_weight", "label_entropy")
        scalars = {name: like.new_zeros(rows) for name in names}
        return line | scalars | {name: like.new_zeros(rows, slots) for name in ("mean", "predicted")}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        values = block.values
        told = values["class_entropy"]  # (R, T)
        samples, classes = values["samples"].clamp(1.0, 1e9), values["classes"].clamp(2.0, 1e9)
        sharpness = values["sharpness"].clamp(0.0, 1.0)
        deficit = sampling_deficit(samples, classes, sharpness)
        expected = deficit[0]
        corrected = told.clamp(0.0, 1.0) + expected
        valid = block.mask & told.isfinite() & corrected.isfinite()
        moments = (values["collision"].clamp(0.0, 1.0), values["surprise"].clamp(0.0, 1e9))
        error = sampling_error(samples, classes, sharpness, told, moments)
        size = torch.where(valid, samples, 0.0)
        label_state, diversity = self._of_labels(state, block, size)
        floor = thresholds[FLOOR.name][:, None] * diversity
        record = self._judged(told, floor, samples, deficit, error)
        whole = {"entropy": told, "expected": expected, "deviation": deficit[1]}
        whole |= {"sharpness": sharpness, "collision": moments[0], "surprise": moments[1]}
        of_recent = self._recent if values["mean"].shape[1] else self._recent_without_slots
        window_state, window, recent, predicted = of_recent(state, block, size, floor, whole)
        bad = (record[0] & record[1]) | (window[0] & window[1])
        telling = valid & (record[1] | window[1])
        taken, steps = packed(valid, valid), valid.sum(-1)
        fitted = {name: state[name] for name in self.regression.init(0, told)}
        line_state, line = self.regression.update(fitted, packed(corrected, valid), taken)
        pace_state, pace = self._pace(state, packed(block.step, valid), taken, line.count)
        level, slope, error = (unpacked(x, valid) for x in (line.level, line.slope, line.slope_error))
        slope, error = slope / unpacked(pace, valid), error / unpacked(pace, valid)
        warm = valid & record[1] & (unpacked(line.count, valid) >= self.warm_up)
        declines = warm & (slope < -self.chance * error)
        to_floor = torch.where(declines, ((level - floor) / -slope).clamp(min=0.0), torch.nan)
        soon = to_floor <= thresholds[HORIZON.name][:, None]
        nats = told.clamp(0.0, 1.0) * classes.log()
        readings = {
            "class_entropy_ratio": told,
            "class_entropy_window_ratio": recent,
            "class_perplexity_ratio": nats.expm1() / (classes - 1),
            "sample_entropy_ratio": values["sample_entropy"],
            "mutual_information_ratio": told - values["sample_entropy"],
            "max_class_probability_ratio": values["max_class_probability"],
            "unique_classes": values["unique_classes"],
            "calibration_error_ratio": values["calibration_error"],
            "class_entropy_bound_ratio": torch.where(block.mask, floor, torch.nan),
            "class_predicted_ratio": predicted,
            "class_entropy_slope": torch.where(warm, slope, torch.nan),
            "class_entropy_steps_to_floor": to_floor,
        }
        verdicts = {"diversity_decline": verdict_of(warm, soon), "diversity_collapse": verdict_of(telling, bad)}
        line_end = line_state | {name: last(x, steps, state[name]) for name, x in pace_state.items()}
        return Output(line_end | window_state | label_state, readings, verdicts)

    def _of_labels(self, state: State, block: Block, size: Tensor) -> tuple[State, Tensor]:
        """Class entropy of the labels of the recent records; 1 where none came (R, T)."""
        told, decay, steps = block.values["label_entropy"], decay_of(self.window), block.mask.sum(-1)
        weight = torch.where(told.isfinite(), size, 0.0)
        terms = {"label_weight": weight, "label_entropy": weight * told.nan_to_num(0.0).clamp(0.0, 1.0)}
        sums = {name: discounted_sum(state[name], term, decay) for name, term in terms.items()}
        mean = torch.where(sums["label_weight"] > 0, sums["label_entropy"] / sums["label_weight"], 1.0)
        return {name: last(x, steps, state[name]) for name, x in sums.items()}, mean

    def _judged(
        self, told: Tensor, floor: Tensor, samples: Tensor, deficit: tuple[Tensor, Tensor], error: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where a class entropy is surely below the floor, and where it would be known if it were: (R, T) each."""
        expected, deviation = deficit
        limit = torch.minimum(floor - self.sigmas * error, 1 - self.chance * deviation)
        known = (samples >= self.samples) & (expected < torch.minimum(floor, 1 - self.chance * deviation))
        return told + expected < limit, known & told.isfinite()

    def _recent(
        self, state: State, block: Block, size: Tensor, floor: Tensor, whole: Mapping[str, Tensor]
    ) -> tuple[State, tuple[Tensor, Tensor], Tensor, Tensor]:
        """The sums over the recent records, and their verdict, class entropy (R, T) and argmax shares (R, K, T).

        ``size`` (R, T) samples count of each record; ``whole`` are its numbers by the names of the state.
        """
        values, steps = block.values, block.mask.sum(-1)
        valid = (size > 0) & values["mean"].isfinite().all(1)
        size = torch.where(valid, size, 0.0)
        by_slot = {
            name: torch.where(valid[:, None], values[name].nan_to_num(0.0).clamp(0.0, most), 0.0)
            for name, most in (("mean", 1.0), ("predicted", 1e9))
        }
        terms = {
            "size": size,
            "sharpness": size * whole["sharpness"].nan_to_num(1.0),
            "mean": by_slot["mean"] * size[:, None],
            "predicted": by_slot["predicted"],
        }
        sums, effective = self._summed(state, terms)
        total = sums["mean"].sum(1, keepdim=True)
        mean = torch.where(total > 0, sums["mean"] / total, 0.0)  # (R, K, T)
        classes, sharpness = values["classes"].clamp(2.0, 1e9), sums["sharpness"] / sums["size"]
        told = torch.special.entr(mean).sum(1) / classes.log()
        told = torch.where(block.mask & (total[:, 0] > 0), told, torch.nan)
        error = sampling_error(effective, classes, sharpness, told, moments_of(mean.transpose(1, 2)))
        judged = self._judged(told, floor, effective, sampling_deficit(effective, classes, sharpness), error)
        share = sums["predicted"] / sums["predicted"].sum(1, keepdim=True)
        end = {name: last(x, steps, state[name]) for name, x in sums.items()}
        kept = {name: state[name] for name in _MEANS}
        return end | kept, judged, told, torch.where(block.mask[:, None], share, torch.nan)

    def _recent_without_slots(
        self, state: State, block: Block, size: Tensor, floor: Tensor, whole: Mapping[str, Tensor]
    ) -> tuple[State, tuple[Tensor, Tensor], Tensor, Tensor]:
        """As `_recent`, by the mean entropy of the recent records: that of their mean distribution is no smaller."""
        steps, names = block.mask.sum(-1), ("sharpness", *_MEANS)
        size = torch.where(torch.stack([whole[name].isfinite() for name in names]).all(0), size, 0.0)
        terms = {name: torch.where(size > 0, whole[name] * size, 0.0) for name in names}
        sums, effective = self._summed(state, {"size": size} | terms)
        mean = {name: sums[name] / sums["size"] for name in names}
        told = torch.where(block.mask, mean["entropy"], torch.nan)
        classes, moments = block.values["classes"].clamp(2.0, 1e9), (mean["collision"], mean["surprise"])
        error = sampling_error(effective, classes, mean["sharpness"], told, moments)
        judged = self._judged(told, floor, effective, (mean["expected"], mean["deviation"]), error)
        end = {name: last(x, steps, state[name]) for name, x in sums.items()}
        slots = {name: state[name] for name in ("mean", "predicted")}
        return end | slots, judged, told, block.values["predicted"]

    def _summed(self, state: State, terms: Mapping[str, Tensor]) -> tuple[State, Tensor]:
        """The terms over the recent records, and their effective number of samples (R, T): Kish 1965."""
        decay = decay_of(self.window)
        sums = {name: discounted_sum(state[name], term, decay) for name, term in terms.items()}
        sums["size_square"] = discounted_sum(state["size_square"], terms["size"], decay**2)
        return sums, sums["size"].square() / sums["size_square"]

    def _pace(self, state: State, steps: Tensor, taken: Tensor, count: Tensor) -> tuple[State, Tensor]:
        """Steps between two records, a mean with the memory of the regression: (R, T)."""
        decay, step = decay_of(self.regression.tau), steps.to(count.dtype)
        counted = taken & (count > 1)
        passed = torch.where(counted, (step - previous(step, state["newest_step"])).clamp(min=0.0), 0.0)
        interval = discounted_sum(state["interval"], passed, decay)
        weight = discounted_sum(state["interval_weight"], counted.to(step.dtype), decay)
        pace = torch.where(interval > 0, interval / weight, 1.0)
        return {"interval": interval, "interval_weight": weight, "newest_step": step}, pace
