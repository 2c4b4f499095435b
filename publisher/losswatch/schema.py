"""The wire schema: every record that travels over Kafka, as pydantic models.

This is the code of ``docs/wire.md``; the JSON Schemas and the AsyncAPI document under ``docs/`` are
generated from it. Unknown fields are ignored, so that a newer publisher can talk to an older
service. Values are not converted: a number in quotes or ``true`` for a number is refused. Numeric
arrays are numpy (see `losswatch.arrays`).

>>> record = Steps(run="ttt-42", time=0.0, step=[0, 1], total=[0.3127, None])
>>> record.total
array([0.3127,    nan])
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from losswatch.fields import (
    MAX_NAME,
    MAX_SERIES,
    MAX_STEPS,
    MAX_VALUES,
    PREDICTED_BY_KIND,
    WHOLE_LIMIT,
    Few,
    Indices,
    Labels,
    Matrix,
    Measured,
    Name,
    Number,
    Predicted,
    SampleLabels,
    Series,
    SeriesByName,
    Slices,
    StepNumbers,
    Text,
    Values,
    ValuesByName,
    Whole,
    few_in_all,
)


class Part(BaseModel):
    """What records and the objects in them share."""

    model_config = ConfigDict(
        extra="ignore",
        ser_json_inf_nan="strings",
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )


class Record(Part):
    """What every record has. ``session`` and ``seq`` together make duplicates and gaps known."""

    v: Literal[1] = 1
    """Version of the wire."""
    type: str
    run: Name
    """Id of the run, the same in all of its records and processes."""
    session: Annotated[str, Field(strict=True, min_length=1, max_length=64)] | None = None
    """Random id of the publishing process; without it nothing is deduplicated."""
    seq: Whole | None = None
    """0, 1, 2, ... per session and over all of its records."""
    time: Annotated[float, Field(strict=True, allow_inf_nan=False)]
    """Unix seconds at which the record was made."""
    dropped: Annotated[dict[Name, Whole], Few, Field(max_length=64)] = Field(default_factory=dict)
    """How many of the job's calls, each a step or a batch, the publisher had to drop so far, by reason."""


class Objective(Part):
    """How a phase adds its components up: the declared formula of the total."""

    form: Literal["sum", "mean", "weighted_sum", "kendall", "ratio"]
    """How the parts make the total."""
    weights: Annotated[dict[Name, Number], Few, Field(max_length=MAX_SERIES)] = Field(default_factory=dict)
    """Factor of each component; one that is not named has 1."""
    variant: Literal["half", "full", "half_log"] = "half"
    """Kendall: ``half`` is 1/2 e^-s L + 1/2 s, ``full`` e^-s L + s, ``half_log`` e^-s L + 1/2 s."""
    regularizer: Number = 0.0
    """Kendall: the weight of sum s^2."""
    base: Name | None = None
    factor: Name | None = None
    """Ratio: the total is base * (1 + factor)."""
    scale: Number = 1.0
    """Constant factor of the total."""


class Expectation(Part):
    """A band the job expects a series to keep to from a step on."""

    series: Name
    """A component or a metric, or ``total``."""
    phase: Name = "train"
    from_step: Whole = 0
    """First step that it holds for."""
    low: Number | None = None
    """Lowest value expected."""
    high: Number | None = None
    """Highest value expected."""


class RunStart(Record):
    """What a job declares about itself; every field is optional."""

    type: Literal["run_start"] = "run_start"
    job: Name | None = None
    """What the run is a run of."""
    labels: Annotated[
        dict[Name, Annotated[str, Field(strict=True, max_length=MAX_NAME)]], Few, Field(max_length=64)
    ] = Field(default_factory=dict)
    """Anything that helps to find its owner."""
    objective: Annotated[dict[Name, Objective], Few, Field(max_length=16)] = Field(default_factory=dict)
    """Formula of the total, by phase."""
    metrics: Annotated[dict[Name, Literal["higher", "lower"]], Few, Field(max_length=MAX_SERIES)] = Field(
        default_factory=dict
    )
    """Which way is better, by metric."""
    classes: Labels | None = None
    """The classes in the order of the model's outputs."""
    split: Annotated[dict[Name, tuple[Number, Number]], Few, Field(max_length=16)] = Field(default_factory=dict)
    """First and last Unix second of the data of each part."""
    precision: Annotated[dict[Name, Name], Few, Field(max_length=16)] = Field(default_factory=dict)
    """Number format, by phase."""
    parameters: Whole | None = None
    """How many parameters the model has."""
    samples: Annotated[dict[Name, Whole], Few, Field(max_length=16)] = Field(default_factory=dict)
    """How many samples each part of the data has."""
    thresholds: Annotated[dict[Name, Number], Few, Field(max_length=256)] = Field(default_factory=dict)
    """The run's own thresholds; they win over the deployment's."""
    expect: Annotated[list[Expectation], Field(max_length=256)] = []
    """What the job expects of its series."""


class Steps(Record):
    """A block of T steps, columnar: every array has the length of ``step``."""

    type: Literal["steps"] = "steps"
    phase: Name = "train"
    """``train``, ``val``, ``test`` or any other word."""
    step: StepNumbers
    """The step numbers, usually rising."""
    at: Series | None = None
    """Unix seconds of each step."""
    total: Series | None = None
    """The loss that is minimised."""
    components: SeriesByName = Field(default_factory=dict)
    """The parts of the total before their weights, by name."""
    weights: SeriesByName = Field(default_factory=dict)
    """Weight of each component, where it changes from step to step."""
    log_vars: SeriesByName = Field(default_factory=dict)
    """Kendall's s = log sigma^2, by component."""
    metrics: SeriesByName = Field(default_factory=dict)
    """Anything else that is measured, by name."""
    slices: Annotated[dict[Name, SeriesByName], BeforeValidator(few_in_all), Field(max_length=MAX_SERIES)] = Field(
        default_factory=dict
    )
    """Metrics of a part of the data, by slice and metric."""
    checkpoint: Annotated[list[Text | None], Field(max_length=MAX_STEPS)] | None = None
    """Name of the checkpoint saved at each step, or null."""
    measured: Measured = "step"
    """What the numbers are: of each step alone, or means or a median over several."""
    divided_by: Annotated[Whole, Field(ge=1)] = 1
    """What the job had divided the total by, as for gradient accumulation: total * divided_by is the loss."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> Steps:
        length = len(self.step)
        if not 1 <= length <= MAX_STEPS:
            raise ValueError(f"a record holds 1 to {MAX_STEPS} steps, this one {length}")
        groups = (self.components, self.weights, self.log_vars, self.metrics, *self.slices.values())
        single = (values for values in (self.at, self.total, self.checkpoint) if values is not None)
        if not {length}.issuperset(map(len, chain(single, *(group.values() for group in groups)))):
            where, values = next(item for item in self.arrays() if len(item[1]) != length)
            raise ValueError(f"{where} has {len(values)} values for {length} steps")
        return self

    def arrays(self) -> list[tuple[str, Any]]:
        """Every array but ``step``, with the place it stands at."""
        out = [(name, value) for name in ("at", "total", "checkpoint") if (value := getattr(self, name)) is not None]
        for group in ("components", "weights", "log_vars", "metrics"):
            out += [(f"{group}.{name}", values) for name, values in getattr(self, group).items()]
        for part, series in self.slices.items():
            out += [(f"slices.{part}.{name}", values) for name, values in series.items()]
        return out


class Predictions(Record):
    """What the model predicted for N samples at one step, or a summary of it.

    Without a ``kind`` it says nothing of classes, as of a regressor: it then has embeddings, features or errors.
    """

    model_config = ConfigDict(json_schema_extra={"allOf": PREDICTED_BY_KIND})

    type: Literal["predictions"] = "predictions"
    phase: Name = "test"
    """As in ``steps``."""
    step: Whole
    """The step of the model that predicted."""
    kind: Literal["probabilities", "logits", "classes", "summary"] | None = None
    """What ``values`` holds."""
    values: Predicted = None
    """Floats (N, C) for probabilities and logits; N labels for classes. Summary: N predicted classes where labels,
    slices, embeddings, features or errors go with it, else nothing."""
    labels: SampleLabels | None = None
    """N true classes."""
    slices: Slices | None = None
    """The slice of each of N samples, or null."""
    embeddings: Matrix | None = None
    """N rows of what the model made of its inputs."""
    features: Matrix | None = None
    """N rows of inputs, or of what stands for them."""
    errors: ValuesByName = Field(default_factory=dict)
    """Errors of each of N samples, by what they are errors of."""
    targets: ValuesByName = Field(default_factory=dict)
    """True values of each of N samples, by the names of their errors."""
    n: Annotated[int, Field(strict=True, ge=1, lt=WHOLE_LIMIT)] | None = None
    """Summary: how many samples it stands for."""
    mean: Values | None = None
    """Summary: float64 (C), the mean probability per class."""
    counts: Indices | None = None
    """Summary: int64 (C), how often each class was the argmax."""
    mean_entropy: Number | None = None
    """Summary: mean over samples of the entropy in nats."""
    mean_max: Number | None = None
    """Summary: mean over samples of the largest probability."""
    confidence: Values | None = None
    """Summary: the largest probability of each sample of ``values``."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Predictions:
        if self.kind == "summary":
            self._check_summary()
        elif self.kind is not None and self.values is None:
            raise ValueError(f"values are missing, kind {self.kind!r} needs them")
        elif self.kind is None and self.embeddings is None and self.features is None and not self.errors:
            raise ValueError("kind is missing; without one embeddings, features or errors are needed")
        named = {name: getattr(self, name) for name in ("labels", "slices", "embeddings", "features", "confidence")}
        _check_lengths(self.size, named, errors=self.errors, targets=self.targets)
        return self

    @property
    def size(self) -> int:
        """N, of which a summary may be of very many."""
        if self.values is not None:
            return len(self.values)
        if self.kind is not None:
            return self.n or 0
        arrays = (self.embeddings, self.features, *self.errors.values())
        return next(len(array) for array in arrays if array is not None)

    def _check_summary(self) -> None:
        if self.n is None or self.mean is None or self.counts is None:
            raise ValueError("a summary needs n, mean and counts")
        classes, counted = len(self.mean), len(self.counts)
        if not 2 <= classes == counted <= MAX_VALUES:
            raise ValueError(f"mean has {classes} and counts {counted} entries, expected 2 or more, as many in both")


class Reference(Record):
    """Training samples that coverage is measured against."""

    type: Literal["reference"] = "reference"
    features: Matrix
    """N rows of F features."""
    slices: Slices | None = None
    """The slice of each of N samples, or null."""
    labels: SampleLabels | None = None
    """N true classes."""
    targets: ValuesByName = Field(default_factory=dict)
    """True values of each of N samples, by the names that ``predictions`` gives their errors."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Reference:
        _check_lengths(len(self.features), {"slices": self.slices, "labels": self.labels}, targets=self.targets)
        return self


class Heartbeat(Record):
    """Says that the job is alive while it has nothing else to say."""

    type: Literal["heartbeat"] = "heartbeat"
    every: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    """A job that is alive says something at least once in so many seconds."""


class RunEnd(Record):
    """The job's last word."""

    type: Literal["run_end"] = "run_end"
    status: Literal["finished", "failed", "stopped"] = "finished"
    error: Text | None = None
    """What went wrong, in a line or a few."""


class Advice(Part):
    """What the service would do; it never does it itself."""

    action: Literal["stop", "set_weight"]
    """Stop the job, or give a component a weight."""
    component: Name | None = None
    """The component whose weight is meant."""
    value: Number | None = None
    """The weight."""


class Alike(Part):
    """Another series in which the same was found at the same step."""

    subject: Text
    """The series."""
    value: Number | None
    """The reading that is out of bounds."""
    evidence: Annotated[dict[Text, Number], Few, Field(max_length=MAX_SERIES)] = Field(default_factory=dict)
    """Other readings that bear on it."""


class Finding(Record):
    """A change of state of a finding: what is wrong, since when, how sure."""

    type: Literal["finding"] = "finding"
    id: Text
    """``run/phase/kind/subject/began``: the same for every state of one finding."""
    kind: Name
    """What is wrong."""
    phase: Name
    """The phase it is wrong in."""
    subject: Text | None
    """The component, series, class or slice it is about."""
    severity: Literal["info", "warning", "critical"]
    """How bad it is."""
    state: Literal["pending", "firing", "resolved"]
    """Suspected, sure or over."""
    began: Whole
    """The first step at which the verdict was bad."""
    confirmed: Whole | None
    """The step at which it was sure enough to fire."""
    step: Whole
    """The step of this change of state."""
    value: Number | None
    """The reading that is out of bounds."""
    threshold: Number | None
    """Its bound."""
    message: Text
    """What is wrong, for people."""
    evidence: Annotated[dict[Text, Number], Few, Field(max_length=MAX_SERIES)] = Field(default_factory=dict)
    """Other readings that bear on it."""
    advice: Advice | None = None
    """What would help, where the service knows."""
    also: Annotated[list[Alike], Few] = Field(default_factory=list)
    """The other series in which it was found at that step, the most out of bounds first; at most 16 are named."""
    series: Whole = 1
    """In how many series it was found, the subject among them."""


def _check_lengths(count: int, single: dict[str, Any], **groups: dict[str, Any]) -> None:
    """Raise ValueError where an array has not one entry per sample."""
    named = {f"{group}.{name}": values for group, by_name in groups.items() for name, values in by_name.items()}
    for where, values in (single | named).items():
        if values is not None and len(values) != count:
            raise ValueError(f"{where} has {len(values)} entries for {count} samples")


INBOUND: Final[tuple[type[Record], ...]] = (RunStart, Steps, Predictions, Reference, Heartbeat, RunEnd)
"""What jobs publish."""
RECORDS: Final[tuple[type[Record], ...]] = (*INBOUND, Finding)
"""Every record there is."""
BY_TYPE: Final[dict[str, type[Record]]] = {str(model.model_fields["type"].default): model for model in RECORDS}
