"""Do predictions and labels speak of the same classes? Letters: R rows (phases with labels), K classes, T records.

Case E of the requirements: predicted [0 1 2 5 7 8 9], labelled [-1 0 2 6 102 106 107]. Two maps between names and
places were in use, and every score was computed all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.labels.codes import majority
from detectors.labels.confusion import counts
from detectors.recurrence import decay_of, discounted_sum, last
from detectors.streams import CODE_BITS, Stream

TOLERANCE = Threshold("label_space_tolerance", 0.05, "Share of samples whose class may be strange to the other side.")
UNLABELLED: Final = 1
UNPREDICTED: Final = 2
UNDECLARED: Final = 4
UNTRAINED: Final = 8
MOVED: Final = 16
"""Flags of a class: predicted and never a label; a label and never predicted; not declared; never a label in the
training phase; predicted as another one."""
NAMED: Final = 8
"""Most classes that a text names of each sort."""


def _names(names: Sequence[str]) -> str:
    shown = " ".join(names[:NAMED])
    return f"[{shown} and {len(names) - NAMED} more]" if len(names) > NAMED else f"[{shown}]"


def _describe(facts: Facts) -> str:
    if facts.state == "resolved":
        return f"Predictions and labels of phase {facts.phase} are of the same classes again since step {facts.step}."
    flags = {name: int(flag) for name, flag in facts.slots.get("class_space_flags", {}).items() if isfinite(flag)}
    places = facts.slots.get("class_space_place", {})
    order = list(flags)

    def those(flag: int) -> list[str]:
        return [name for name, flagged in flags.items() if flagged & flag]

    said = []
    if moved := those(MOVED):
        pairs = [f"{name} as {order[int(places[name])]}" for name in moved if int(places[name]) < len(order)]
        said.append(f"the labels are permuted: {', '.join(pairs[:NAMED])} is predicted")
    if (unlabelled := those(UNLABELLED)) and (unpredicted := those(UNPREDICTED)):
        said.append(f"classes {_names(unlabelled)} are predicted but never a label, {_names(unpredicted)} the reverse")
    if undeclared := those(UNDECLARED):
        said.append(f"classes {_names(undeclared)} are not declared")
    if untrained := those(UNTRAINED):
        said.append(f"classes {_names(untrained)} are never a label in the training phase")
    what = "; ".join(said) or "predictions and labels are of different classes"
    return (
        f"In phase {facts.phase} {what}. This concerns {facts.readings['label_space_mismatch_ratio']:.0%} of the "
        "samples; every score is computed over the wrong pairs. Use one map from class names to places everywhere."
    )


MISMATCH = Kind(
    "label_space_mismatch",
    "critical",
    "label_space_mismatch_ratio",
    TOLERANCE.name,
    5,
    20,
    _describe,
    evidence=("label_space_overlap_ratio",),
    slots=("class_space_flags", "class_space_place"),
)


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """Compares the classes that are predicted, labelled, declared and known from the training phase.

    Over the recent records (memory ``window``), a class is *there* on one side and *missing* on the other where it
    has ``enough`` samples here and less than a fiftieth of them there. Bad where more than
    ``label_space_tolerance`` of the samples are of classes that are predicted but no labels (and at least one label
    is never predicted), not declared, or no labels of the training phase; or whose samples are mostly, beyond two
    standard errors, predicted as one other class, in turn for all of a cycle: a permuted map (`majority`).
    """

    window: float = 32.0
    enough: float = 20.0
    fraction: float = 0.02
    labels: float = 100.0
    patience: float = 20.0
    records: int = 5
    name: str = "label_space"
    stream: Stream = "labels"
    thresholds: tuple[Threshold, ...] = (TOLERANCE,)
    kinds: tuple[Kind, ...] = (MISMATCH,)
    readings: tuple[Reading, ...] = (
        Reading("label_space_mismatch_ratio", "Share of samples whose class is strange to the other side."),
        Reading("label_space_overlap_ratio", "Classes both predicted and labelled among those that are either."),
        Reading("class_space_flags", "What is wrong with a class, bit by bit.", "slot", exported=False),
        Reading(
            "class_space_place", "The class that samples of a class are mostly predicted as.", "slot", exported=False
        ),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Discounted counts by class (R, K), those of the codes among them, and of records (R)."""
        names = ("labelled", "predicted", "trained", *(f"code_{bit}" for bit in range(CODE_BITS)))
        return {name: like.new_zeros(rows, slots) for name in names} | {
            name: like.new_zeros(rows) for name in ("records", "all")
        }

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        values, steps = block.values, block.mask.sum(-1)
        valid, count = counts(block)
        del count["hit"]
        for bit in range(CODE_BITS):
            name = f"code_{bit}"
            count[name] = torch.where(valid[:, None], values[name].nan_to_num(0.0).clamp(0.0, 1e9), 0.0)
        trained = block.mask & (values["judged"] == 0)
        given = values["labelled"].nan_to_num(0.0).clamp(0.0, 1e9)
        decay = decay_of(self.window)
        sums = {name: discounted_sum(state[name], x, decay) for name, x in count.items()}
        sums["trained"] = state["trained"][..., None] + torch.where(trained[:, None], given, 0.0).cumsum(-1)
        sums["records"] = state["records"][:, None] + valid.to(given.dtype).cumsum(-1)
        sums["all"] = state["all"][:, None] + count["labelled"].sum(1).cumsum(-1)
        flags, place = self._flags(sums, block.facts["declared_class"])
        labelled, predicted = sums["labelled"], sums["predicted"]

        def share(flag: int, of: Tensor) -> Tensor:
            return torch.where((flags & flag) > 0, of, 0.0).sum(1) / of.sum(1)

        strange = torch.where(((flags & UNPREDICTED) > 0).any(1), share(UNLABELLED, predicted), 0.0)
        shares = (
            strange,
            *(share(flag, labelled) for flag in (UNDECLARED, UNTRAINED, MOVED)),
            share(UNDECLARED, predicted),
        )
        worst = torch.stack(shares).amax(0)
        either = (labelled >= 1e-3) | (predicted >= 1e-3)
        both = (labelled >= 1e-3) & (predicted >= 1e-3)
        patience = torch.where(block.facts["training"] > 0, self.patience, 1.0)[:, None]
        known = valid & (sums["records"] > self.records) & (sums["all"] >= self.labels * patience) & worst.isfinite()
        verdict = verdict_of(known, worst > thresholds[TOLERANCE.name][:, None])
        there = either & block.mask[:, None]
        readings = {
            "label_space_mismatch_ratio": worst,
            "label_space_overlap_ratio": both.sum(1) / either.sum(1).to(given.dtype),
            "class_space_flags": torch.where(there, flags.to(given.dtype), torch.nan),
            "class_space_place": torch.where(there, place.to(given.dtype), torch.nan),
        }
        end = {name: last(x, steps, state[name]) for name, x in sums.items()}
        return Output(end, readings, {"label_space_mismatch": verdict})

    def _flags(self, sums: Mapping[str, Tensor], declared: Tensor) -> tuple[Tensor, Tensor]:
        """The flags of each class, and the place of the one its samples are mostly predicted as: (R, K, T) int64."""
        labelled, predicted, trained = sums["labelled"], sums["predicted"], sums["trained"]
        place, most = majority(torch.stack([sums[f"code_{bit}"] for bit in range(CODE_BITS)]), labelled)
        unlabelled = (predicted >= self.enough) & (labelled < self.fraction * predicted)
        unpredicted = (labelled >= self.enough) & (predicted < self.fraction * labelled)
        undeclared = (declared == 0)[..., None].expand_as(labelled)
        untrained = (labelled >= self.enough) & (trained < 0.5) & (trained.sum(1, keepdim=True) >= self.labels)
        sure = most - 2 * (most * (1 - most) / labelled).sqrt() > 0.5
        here = torch.arange(labelled.shape[1], device=labelled.device)[:, None]
        away = (labelled >= self.enough) & sure & (place != here) & (place < labelled.shape[1])
        target = torch.where(away, place, 0)
        alone = torch.zeros_like(place).scatter_add(1, target, away.long()).gather(1, target) == 1
        vacant = (labelled < 1e-3).gather(1, target)
        moved = away & alone & (away.gather(1, target) | vacant)
        moved &= moved.sum(1, keepdim=True) >= 2
        flags = (
            UNLABELLED * unlabelled.long()
            | UNPREDICTED * unpredicted.long()
            | UNDECLARED * undeclared.long()
            | UNTRAINED * untrained.long()
            | MOVED * moved.long()
        )
        return flags, place
