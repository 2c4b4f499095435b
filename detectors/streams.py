"""What a row can be, and the numbers that are known about it: streams, facts and the values of records.

Letters: R rows, T steps, K slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import torch

Pair = Literal["generalization", "decoupling", "slices", "formulas"]
"""Streams whose rows are two series of one run: one that is judged, and one that it is judged against.

- generalization: a loss or metric of another phase against the same of the training phase.
- decoupling: a metric whose better direction is known against the training total, or else the total of its phase.
- slices: a metric of a part of the data against the same metric, or else the total, of the whole.
- formulas: how a phase's total is made against how the training phase's is.
"""
Sampled = Literal["predictions", "labels", "scores", "representation", "proxy", "coverage", "declaration"]
"""Streams whose rows are about the predictions of a phase; a step is a record.

- predictions: what is predicted; slots are the classes.
- labels: predictions against labels, and the labels of the training phase; slots are the classes of the run.
- scores: anomaly scores and labels of single samples; slots are the samples.
- representation: embeddings.
- proxy: two errors of the same samples.
- coverage: the samples of a slice, and how near the reference samples are to them.
- declaration: what the run declared about a phase and about its training phase; a step is a declaration.
"""
Stream = Literal["series", "objective"] | Sampled | Pair
"""What a row is: one series of one run; one phase's total and components; its predictions; a pair of series."""
SAMPLED: Final[tuple[Sampled, ...]] = get_args(Sampled)
PAIRS: Final[tuple[Pair, ...]] = get_args(Pair)
Role = Literal["total", "component", "metric", "slice", "reading"]
"""What a series is to its run; a reading is one that losswatch made itself, such as the class entropy."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
FORMS: Final = ("undeclared", "sum", "mean", "weighted_sum", "kendall", "ratio")
"""How an objective says that its total is made; the fact ``form`` is the place in this list."""
VARIANTS: Final = ("half", "full", "half_log")
"""Of uncertainty weighting; the fact ``variant`` is the place in this list."""
MEASURED: Final = ("step", "mean_since_last", "running_mean", "epoch_mean", "median", "mixed")
"""What a reported number stands for; the value ``measured`` is the place in this list."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number that is known about a row (R) or slot (R, K), not about a step."""

    name: str
    default: float
    help: str
    per: Literal["row", "slot"] = "row"


FORMULA: Final = (
    Fact("form", 0.0, "Place of the declared form in FORMS."),
    Fact("variant", 0.0, "Kendall: place of the variant in VARIANTS."),
    Fact("scale", 1.0, "Declared constant factor of the total."),
    Fact("regularizer", 0.0, "Kendall: declared weight of sum s^2."),
    Fact("base", -1.0, "Ratio: the slot of the base; -1 where it has none."),
    Fact("factor", -1.0, "Ratio: the slot of the factor; -1 where it has none."),
    Fact("declared", torch.nan, "The declared weight, without the scale; NaN where none is declared.", "slot"),
)
"""What an objective's declaration says."""
_DIRECTION: Final = "-1 where lower is better, 1 where higher is, 0 where that is not known."
FACTS: Final[Mapping[Stream, tuple[Fact, ...]]] = {
    "series": (
        Fact("role", float(ROLES.index("metric")), "Place of the series' role in ROLES."),
        Fact("direction", 0.0, _DIRECTION),
        Fact("alone", 0.0, "1 where the series is a component of a phase that reports no total, else 0."),
    ),
    "objective": (
        *FORMULA,
        *(replace(fact, name=f"train_{fact.name}") for fact in FORMULA),
        Fact("components", 0.0, "How many slots are taken: the first ones."),
    ),
    "predictions": (),
    "labels": (
        Fact("training", 0.0, "1 where the phase is the training phase, else 0."),
        Fact("declared_class", torch.nan, "1 where the class is declared, 0 where only others are.", "slot"),
    ),
    "scores": (),
    "representation": (),
    "proxy": (),
    "coverage": (),
    "declaration": (),
    "generalization": (
        Fact("direction", -1.0, _DIRECTION),
        Fact("floor", 1.0, "0 where zero is not the least that is possible, as of totals with log variances, else 1."),
    ),
    "decoupling": (Fact("direction", -1.0, _DIRECTION),),
    "slices": (Fact("direction", -1.0, _DIRECTION), Fact("reference_direction", -1.0, _DIRECTION)),
    "formulas": (Fact("unlike", 0.0, "1 where both phases declare the same form with other numbers in it, else 0."),),
}
"""What every stream's blocks say about their rows. An objective's ``train_*`` are those of the training phase of its
run, by which totals of other phases are made comparable."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the values of a stream, by shape."""

    row: tuple[str, ...]
    """(R, T)."""
    slot: tuple[str, ...] = ()
    """(R, K, T)."""
    elsewhere: float = 0.0
    """What a record has in the slots that it says nothing of. NaN: its block may do without the last slots."""


CODE_BITS: Final = 14
"""Of the code of a class in ``labels``: ten of its slot and four that check them, see `detectors.labels.codes`."""
VALUES: Final[Mapping[Stream, Columns]] = {
    "series": Columns(("value",)),
    "predictions": Columns(
        (
            "samples",
            "classes",
            "class_entropy",
            "sample_entropy",
            "sharpness",
            "collision",
            "surprise",
            "max_class_probability",
            "unique_classes",
            "calibration_error",
            "label_entropy",
        ),
        ("mean", "predicted"),
    ),
    "labels": Columns(
        ("samples", "right", "judged"), ("labelled", "predicted", "hit", *(f"code_{bit}" for bit in range(CODE_BITS)))
    ),
    "scores": Columns((), ("score", "positive"), torch.nan),
    "representation": Columns(
        ("samples", "dimensions", "spread", "effective_rank", "cosine", "alignment", "uniformity")
    ),
    "proxy": Columns(("samples", "pearson", "spearman")),
    "coverage": Columns(
        (
            "samples",
            "references",
            "distance",
            "density",
            "own_distance",
            "own_density",
            "error_ratio",
            "error_near",
            "error_between",
            "error_far",
            "model_error",
            "model_error_near",
            "model_error_between",
            "model_error_far",
            "copied_error",
            "copied_error_near",
            "copied_error_between",
            "copied_error_far",
        )
    ),
    "declaration": Columns(("overlap", "parameters", "samples", "precision_differs")),
}
"""What the blocks of series and records hold. Each is explained where it is made: `detectors.predictions.distribution`,
`detectors.labels.counts`, `detectors.representation.geometry`, `detectors.proxy.correlation`,
`detectors.coverage.neighbours`. ``judged`` is 1 for a record of the row's phase, 0 for one of the training phase;
``right`` counts the samples whose class is predicted, those of classes without a slot too."""
