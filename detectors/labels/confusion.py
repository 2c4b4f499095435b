"""Predictions against labels, class by class. Letters: R rows (phases with labels), K classes, T records.

Case E of the requirements: weighted precision 0.70 against macro 0.15, five classes with no recall at all, and an
accuracy that says little of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.labels.scores import PRESENT, Scores
from detectors.recurrence import decay_of, discounted_sum, last
from detectors.streams import Stream

IMBALANCE = Threshold(
    "class_imbalance_limit", 20.0, "Labels of the most frequent class for one of the rarest, above which it matters."
)
GAP = Threshold(
    "macro_gap_limit", 0.2, "How far weighted scores may lie above macro ones before averages hide classes."
)
RARE = Threshold("rare_class_share", 0.05, "Share of the labels below which a class counts as rare.")
UNPREDICTED = Threshold(
    "class_never_predicted_labels", 50.0, "Samples of a class in a row, none predicted as it, that are too many."
)


def _describe_imbalance(facts: Facts) -> str:
    now = facts.readings
    if facts.state == "resolved":
        return (
            f"The averages of the {facts.phase} predictions no longer hide rare classes: weighted scores are "
            f"{now['macro_gap_ratio']:.2f} above macro ones."
        )
    return (
        f"The most frequent class of the {facts.phase} labels has {now['class_imbalance_ratio']:.0f} samples for one "
        f"of the rarest, and averages hide how the rare ones fare: F1 is {now['weighted_f1_ratio']:.2f} weighted by "
        f"samples but {now['macro_f1_ratio']:.2f} over classes. Weight the loss by class or resample, and judge by "
        "macro scores."
    )


def _describe_unpredicted(facts: Facts) -> str:
    if facts.state == "resolved":
        return f"Class {facts.subject} ({facts.phase}) is predicted again since step {facts.step}."
    return (
        f"Class {facts.subject} ({facts.phase}) was the label of {facts.readings['class_labels_unpredicted']:.0f} "
        "samples in a row without being predicted once. Check that the model can output it and that it is in the "
        "training data; then weight it up."
    )


CLASS_IMBALANCE = Kind(
    "class_imbalance",
    "warning",
    "class_imbalance_ratio",
    IMBALANCE.name,
    10,
    20,
    _describe_imbalance,
    evidence=("macro_gap_ratio", "macro_precision_ratio", "weighted_precision_ratio", "macro_f1_ratio",
              "weighted_f1_ratio", "rare_f1_ratio"),
)  # fmt: skip
NEVER_PREDICTED = Kind(
    "class_never_predicted",
    "warning",
    "class_labels_unpredicted",
    UNPREDICTED.name,
    5,
    1,
    _describe_unpredicted,
    evidence=("class_label_ratio",),
)
AVERAGES = ("precision", "recall", "f1")
COUNTS = ("labelled", "predicted", "hit")
ROWS = ("recent_samples", "all_samples", "recent_right", "all_right")


def counts(block: Block) -> tuple[Tensor, dict[str, Tensor]]:
    """Which records of the row's own phase can be used (R, T), and their counts by class (R, K, T), else 0."""
    values = block.values
    valid = block.mask & (values["judged"] == 1) & (values["samples"] >= 1) & values["right"].isfinite()
    valid &= torch.stack([values[name].isfinite().all(1) for name in COUNTS]).all(0)
    return valid, {name: torch.where(valid[:, None], values[name].clamp(0.0, 2.0**22), 0.0) for name in COUNTS}


@dataclass(frozen=True, slots=True)
class Confusion:
    """Accuracy, precision, recall and F1 of the recent records (memory ``window``) and since the start.

    *Imbalance* is bad where the labels are and the averages hide it: the most frequent class has more than
    ``class_imbalance_limit`` samples for each that the rarest one may have (the upper 3-sigma bound of a Poisson
    count), and a weighted score lies more than ``macro_gap_limit`` above the macro one. *Never predicted* counts the
    labels of a class since it was last predicted. In the training phase, whose first steps predict few classes
    by nature, both take ``patience`` times as many labels.
    """

    window: float = 32.0
    patience: float = 20.0
    labels: float = 200.0
    records: int = 5
    name: str = "confusion"
    stream: Stream = "labels"
    thresholds: tuple[Threshold, ...] = (IMBALANCE, GAP, RARE, UNPREDICTED)
    kinds: tuple[Kind, ...] = (CLASS_IMBALANCE, NEVER_PREDICTED)
    readings: tuple[Reading, ...] = (
        Reading("label_accuracy_ratio", "Share of labelled samples predicted right, recent records."),
        *(Reading(f"macro_{of}_ratio", f"Mean {of} over the classes, recent records.") for of in AVERAGES),
        *(Reading(f"weighted_{of}_ratio", f"Mean {of} over the samples, recent records.") for of in AVERAGES),
        Reading("rare_f1_ratio", "Mean F1 over the classes that are rare among the labels, recent records."),
        Reading("macro_gap_ratio", "How far the weighted average of a score lies above the macro one, at most."),
        Reading("class_imbalance_ratio", "Labels of the most frequent class for one that the rarest may have."),
        Reading("label_accuracy_since_start_ratio", "Share of labelled samples predicted right, of all."),
        Reading("macro_f1_since_start_ratio", "Mean F1 over the classes, of all samples."),
        Reading("weighted_f1_since_start_ratio", "Mean F1 over the samples, of all."),
        Reading("class_label_ratio", "Share of a class in the labels, recent records.", "slot"),
        Reading("class_precision_ratio", "Share of samples predicted as the class that are of it, recent.", "slot"),
        Reading("class_recall_ratio", "Share of samples of the class that are predicted as it, recent.", "slot"),
        Reading("class_f1_ratio", "Harmonic mean of a class's precision and recall, recent records.", "slot"),
        Reading("class_labels_unpredicted", "Labels of a class since it was last predicted.", "slot", exported=False),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Counts by class (R, K), discounted and since the start; of samples and records (R)."""
        state = {f"{of}_{name}": like.new_zeros(rows, slots) for of in ("recent", "all") for name in COUNTS}
        state |= {name: like.new_zeros(rows) for name in (*ROWS, "records")}
        return state | {"unpredicted": like.new_zeros(rows, slots)}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        valid, count = counts(block)
        steps = block.mask.sum(-1)
        for name in ("samples", "right"):
            count[name] = torch.where(valid, block.values[name].clamp(0.0, 1e9), 0.0)
        decay = decay_of(self.window)
        sums = {f"recent_{name}": discounted_sum(state[f"recent_{name}"], x, decay) for name, x in count.items()}
        sums |= {f"all_{name}": state[f"all_{name}"][..., None] + x.cumsum(-1) for name, x in count.items()}
        sums["records"] = state["records"][:, None] + valid.to(sums["all_samples"].dtype).cumsum(-1)
        sums["unpredicted"] = self._unpredicted(state["unpredicted"], count)
        recent, whole = (Scores.of(*(sums[f"{of}_{name}"] for name in COUNTS)) for of in ("recent", "all"))
        macro = {of: recent.macro(getattr(recent, of)) for of in AVERAGES}
        weighted = {of: recent.weighted(getattr(recent, of)) for of in AVERAGES}
        gap = torch.stack([weighted[of] - macro[of] for of in AVERAGES]).amax(0)
        labelled = sums["all_labelled"]  # (R, K, T)
        rarest = torch.where(labelled >= 1, labelled, torch.inf).amin(1)
        imbalance = labelled.amax(1) / (rarest + 4.5 + 3 * (rarest + 2.25).sqrt())  # score bound, Barker 2002
        share = recent.labelled / recent.labelled.sum(1, keepdim=True)
        rare = share < thresholds[RARE.name][:, None, None]
        readings = {
            "label_accuracy_ratio": sums["recent_right"] / sums["recent_samples"],
            **{f"macro_{of}_ratio": value for of, value in macro.items()},
            **{f"weighted_{of}_ratio": value for of, value in weighted.items()},
            "rare_f1_ratio": recent.macro(recent.f1, rare & (recent.labelled >= PRESENT)),
            "macro_gap_ratio": gap,
            "class_imbalance_ratio": torch.where(rarest.isfinite(), imbalance, torch.nan),
            "label_accuracy_since_start_ratio": sums["all_right"] / sums["all_samples"],
            "macro_f1_since_start_ratio": whole.macro(whole.f1),
            "weighted_f1_since_start_ratio": whole.weighted(whole.f1),
            "class_label_ratio": share,
            **{f"class_{of}_ratio": torch.where(recent.present, getattr(recent, of), torch.nan) for of in AVERAGES},
            "class_labels_unpredicted": sums["unpredicted"],
        }
        patience = torch.where(block.facts["training"] > 0, self.patience, 1.0)[:, None]
        warm = valid & (sums["records"] > self.records)
        imbalanced = (imbalance > thresholds[IMBALANCE.name][:, None]) & (gap > thresholds[GAP.name][:, None])
        enough = warm & (labelled.sum(1) >= self.labels * patience) & gap.isfinite()
        limit = (thresholds[UNPREDICTED.name][:, None] * patience)[:, None]
        missed = sums["unpredicted"] >= limit
        told = warm[:, None] & (missed | (sums["all_predicted"] > 0))
        verdicts = {
            "class_imbalance": verdict_of(enough, imbalanced),
            "class_never_predicted": verdict_of(told, missed),
        }
        return Output({name: last(x, steps, state[name]) for name, x in sums.items()}, readings, verdicts)

    def _unpredicted(self, before: Tensor, count: Mapping[str, Tensor]) -> Tensor:
        """Labels of each class since it was last predicted (R, K, T); a record that predicts it starts at 0."""
        labelled = count["labelled"].cumsum(-1)
        newest = torch.where(count["predicted"] > 0, labelled, -before[..., None]).cummax(-1).values
        return labelled - torch.maximum(newest, -before[..., None])
