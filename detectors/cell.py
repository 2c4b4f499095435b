"""The contract every detector keeps: a cell, like an RNN cell, batched over the fleet.

A cell is pure mathematics. ``init`` makes the state of a number of rows; ``update`` takes the state
and a block of steps and returns the new state, the readings and the verdicts. It knows no run, no
Kafka, no clock and no setting. Rows never see each other: one run is a batch of one.

Letters: R rows, T steps (time is the last dimension), K slots (the components of an objective).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

State = dict[str, Tensor]
"""A cell's memory: flat, the first dimension of every tensor is the row (R) or (R, K, ...)."""

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


Severity = Literal["info", "warning", "critical"]

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
    "generalization": (Fact("direction", -1.0, _DIRECTION),),
    "decoupling": (Fact("direction", -1.0, _DIRECTION),),
    "slices": (Fact("direction", -1.0, _DIRECTION), Fact("reference_direction", -1.0, _DIRECTION)),
    "formulas": (),
}
"""What every stream's blocks say about their rows. An objective's ``train_*`` are those of the training phase of its
run, by which totals of other phases are made comparable."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the values of a stream of records, by shape."""

    row: tuple[str, ...]
    """(R, T)."""
    slot: tuple[str, ...] = ()
    """(R, K, T)."""


CODE_BITS: Final = 14
"""Of the code of a class in ``labels``: ten of its slot and four that check them, see `detectors.labels.codes`."""
VALUES: Final[Mapping[Sampled, Columns]] = {
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
        ),
        ("mean", "predicted"),
    ),
    "labels": Columns(
        ("samples", "right", "judged"), ("labelled", "predicted", "hit", *(f"code_{bit}" for bit in range(CODE_BITS)))
    ),
    "scores": Columns((), ("score", "positive")),
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
"""What the blocks of records hold. Each is explained where it is made: `detectors.predictions.distribution`,
`detectors.labels.counts`, `detectors.representation.geometry`, `detectors.proxy.correlation`,
`detectors.coverage.neighbours`. ``judged`` is 1 for a record of the row's phase, 0 for one of the training phase;
``right`` counts the samples whose class is predicted, those of classes without a slot too."""


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


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number a verdict is measured against; set per deployment and per run."""

    name: str
    default: float
    help: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A number per row (or slot) and step, exported as the metric ``losswatch_<name>``."""

    name: str
    help: str
    per: Literal["row", "slot"] = "row"
    roles: tuple[Role, ...] = ()
    """Series only: export it for series of these roles; all where empty."""
    exported: bool = True
    """False for numbers that only serve as a finding's value or evidence."""
    feeds: Literal["series", "formulas"] | None = None
    """The stream that goes on with it: a reading is a series too, and a phase's formula is compared with another's."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What the job could do. The service itself never acts."""

    action: Literal["stop", "set_weight"]
    component: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the moment a finding changes its state: the text is made of it."""

    phase: str
    subject: str | None
    state: Literal["pending", "firing", "resolved"]
    began: int
    step: int
    readings: Mapping[str, float]
    thresholds: Mapping[str, float]
    weights: Mapping[str, float]
    """The declared weights of the phase's objective, by component."""
    reference: str | None = None
    """Pairs only: what the subject is judged against, e.g. ``train total``."""
    checkpoints: Mapping[int, str] = field(default_factory=dict)
    """The checkpoints that the run named, by step."""
    slots: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The readings of `Kind.slots`, each by the name of the slot."""
    role: Role | None = None
    """Series and pairs only: what the subject is to its run."""
    others: Sequence[Facts] = ()
    """`Kind.together` only: the other series in which it was found at that step, the most out of bounds first."""
    series: int = 1
    """In how many series it was found, the subject among them."""

    def checkpoint(self, step: float) -> str | None:
        """The newest checkpoint at or before a step."""
        return next((self.checkpoints[at] for at in sorted(self.checkpoints, reverse=True) if at <= step), None)


def no_advice(facts: Facts) -> None:
    """For kinds that have none to give."""
    del facts


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding: how it is judged over time and how it is told."""

    name: str
    severity: Severity
    value: str
    """The reading that is the finding's value."""
    threshold: str | None
    """The threshold that the value is measured against."""
    confirm: int
    """Bad verdicts in a row until it fires."""
    release: int
    """Good verdicts in a row until it is resolved."""
    describe: Callable[[Facts], str]
    advise: Callable[[Facts], Advice | None] = no_advice
    evidence: tuple[str, ...] = ()
    """Readings that go with the finding: of its own cell, or of one before it in the catalog."""
    roles: tuple[Role, ...] = ()
    """Series only: it judges series of these roles; all where empty."""
    conditional: bool = False
    """It needs something that not every run gives, such as a declared band: unknown is then no warm-up."""
    slots: tuple[str, ...] = ()
    """Readings per slot that the text of a row's finding is made of."""
    together: str | None = None
    """Series only, and those that are confirmed at once: what is found in several series at one step is one finding,
    about the series with the largest of this reading."""


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
