"""What is known of one run outside of the detectors' tensors: identity, declaration, rows, counts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from consumers.classes import Classes
from consumers.courses import History, Restart
from consumers.pools import Pool
from consumers.references import References
from consumers.sessions import Sessions
from detectors.aggregation.formulas import declared_weights
from detectors.streams import Pair, Role, Sampled
from losswatch.arrays import Bools, Ints
from losswatch.schema import Finding, Objective, Predictions, RunStart, Steps
from losswatch.topics import PREDICTIONS, STEPS

Status = Literal["running", "finished", "failed", "stopped"]
MAX_FINDINGS: Final = 200
"""Findings kept per run for the page and the API; resolved ones go first, the oldest before others."""
MAX_CHECKPOINTS: Final = 200
"""Names of checkpoints kept per run: the newest."""
SUM: Final = Objective(form="sum")
"""What an undeclared objective is read as."""


class SeriesKey(NamedTuple):
    """One series of a run."""

    phase: str
    role: Role
    name: str
    slice: str | None = None

    @property
    def label(self) -> str:
        """As metrics and findings name it."""
        return self.name if self.slice is None else f"{self.slice}/{self.name}"


class PairKey(NamedTuple):
    """One series judged against another."""

    stream: Pair
    judged: SeriesKey


class StreamKey(NamedTuple):
    """A stream of records of a phase; ``subject`` is the slice, or the pair of errors, where it is of one."""

    stream: Sampled
    phase: str
    subject: str | None = None


@dataclass(slots=True)
class StreamRow:
    """The row of a stream of records."""

    pool: Pool
    row: int


class Places(NamedTuple):
    """The rows that prediction records of one sort have, as long as the run's rows stay what they are."""

    predictions: StreamRow | None = None
    labels: StreamRow | None = None
    judged: Sequence[StreamRow] = ()
    """Rows of other phases that are judged against this one's labels."""
    scores: StreamRow | None = None
    representation: StreamRow | None = None
    proxies: Sequence[tuple[StreamRow, str, str]] = ()


class Together(NamedTuple):
    """A finding in several series that is not over."""

    kind: str
    phase: str
    lead: str
    """Its subject."""
    began: int
    series: int
    """In how many series it was found."""


class RowKey(NamedTuple):
    """What a row of a pool stands for: a series, a pair, the objective of a phase, or a stream of its records."""

    run: str
    phase: str
    series: SeriesKey | None = None
    reference: SeriesKey | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class PairRow:
    """The row of a pair, and what its series is judged against."""

    stream: Pair
    row: int
    reference: SeriesKey


@dataclass(slots=True)
class ObjectiveRow:
    """The row of a phase's total and components, and which slot each component has."""

    pool: Pool
    row: int
    slots: dict[str, int]
    weights: npt.NDArray[np.float64]
    """(K) declared weight by slot."""
    series: npt.NDArray[np.int64]
    """(1 + K) series rows of the total and of each slot; -1 where there is none."""


@dataclass(slots=True)
class Run:
    """One run. Belongs to one partition and to the worker's thread."""

    run: str
    partition: int
    started: float
    seen: float
    """When its newest record was made, by the job's clock, Unix seconds."""
    heard: float = 0.0
    """When a record of it was last used here, by this machine's clock, Unix seconds."""
    reported: float = 0.0
    """As ``seen``, of records that are more than a sign of life."""
    told: float = 0.0
    """As ``heard``, of records that are more than a sign of life."""
    beats_every: float | None = None
    """How often it is heard of while it lives, in seconds; None where it promised nothing."""
    declared: RunStart | None = None
    status: Status = "running"
    ended: float | None = None
    """When its run_end was made, Unix seconds."""
    sessions: Sessions = field(default_factory=Sessions)
    next_offset: dict[str, int] = field(default_factory=dict)
    """By topic: records below it are in the state already."""
    objectives: dict[str, ObjectiveRow] = field(default_factory=dict)
    series: dict[SeriesKey, int] = field(default_factory=dict)
    streams: dict[StreamKey, StreamRow] = field(default_factory=dict)
    """Of its prediction records and declarations."""
    places: dict[tuple[Hashable, ...], Places] = field(default_factory=dict)
    """By what prediction records have in common; forgotten where any of its rows is a new one, or moves."""
    classes: Classes = field(default_factory=Classes)
    references: References | None = None
    pairs: dict[PairKey, PairRow] = field(default_factory=dict)
    log_vars: dict[str, float] = field(default_factory=dict)
    """The newest log variance of each component, of whichever phase."""
    formula: tuple[float, float] = (nan, nan)
    """How the training phase makes its total, and with which constant factor, as the detectors found."""
    checkpoints: dict[int, str] = field(default_factory=dict)
    """The newest that the job named, by step."""
    newest_step: dict[str, int] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)
    """How far it has come and where it went back, by topic."""
    phase: str = "train"
    """The one it reported last."""
    pace: float = 0.0
    """The longest recent time between two of its reports, in seconds of the job's clock."""
    reports: int = 0
    """Records of it that are more than a sign of life, until the pace is known."""
    stalled: bool = False
    records: int = 0
    steps: int = 0
    duplicates: int = 0
    late_steps: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    """The newest state of each finding, by id."""
    together: dict[tuple[str, SeriesKey], Together] = field(default_factory=dict)
    """Which finding is not over because of a series, by kind and series, where a finding may be about several."""

    def objective(self, phase: str) -> Objective:
        """What the run declared about the phase; a plain sum where it said nothing."""
        declared = self.declared.objective if self.declared else {}
        return declared.get(phase, SUM)

    def follow(self, record: Steps | Predictions, steps: Ints, *, tells: bool = True) -> tuple[Bools, Restart | None]:
        """Take the steps of a record as `consumers.courses.History.follow` does. ``tells`` is whether what the record
        says of its steps can be that the job went back."""
        topic = STEPS if isinstance(record, Steps) else PREDICTIONS
        session = self.sessions.of(record)
        own = None if session is None else session.course(topic)
        in_order = session is None or record.seq is None or session.in_order(topic, record.seq)
        history = self.histories.setdefault(topic, History())
        return history.follow(topic, record.phase, steps, record.time, own, may_turn=tells and in_order)

    @property
    def restarts(self) -> tuple[int, Restart | None]:
        """How often it went back, and the last time: as its steps say, or its predictions where those say nothing."""
        found = [history for topic in (STEPS, PREDICTIONS) if (history := self.histories.get(topic)) is not None]
        return next(((history.restarts, history.last) for history in found if history.restarts), (0, None))

    def name_checkpoint(self, step: int, name: str) -> None:
        """Remember where a checkpoint was made."""
        self.checkpoints.pop(step, None)
        self.checkpoints[step] = name
        if len(self.checkpoints) > MAX_CHECKPOINTS:
            del self.checkpoints[next(iter(self.checkpoints))]

    def thresholds(self) -> Mapping[str, float]:
        """The run's own thresholds."""
        return self.declared.thresholds if self.declared else {}

    def weigh(self, phase: str, row: ObjectiveRow) -> None:
        """Set the declared weight of every slot of a phase's objective."""
        objective = self.objective(phase)
        names = list(row.slots)
        row.weights = np.ones(row.pool.slots)
        row.weights[: len(names)] = declared_weights(objective.form, objective.weights, objective.scale, names)

    def forget_findings(self, phase: str, pool: Pool) -> None:
        """Without the memory of who made them, findings would fire for ever: nobody could resolve them."""
        kinds = {kind.name for cell in pool.cells for kind in cell.kinds}
        self.findings = {
            key: kept
            for key, kept in self.findings.items()
            if kept.state == "resolved" or kept.phase != phase or kept.kind not in kinds
        }
        self.together = {
            key: kept for key, kept in self.together.items() if kept.phase != phase or kept.kind not in kinds
        }

    def note(self, finding: Finding) -> None:
        """Keep the newest state of a finding."""
        self.findings.pop(finding.id, None)
        self.findings[finding.id] = finding
        if len(self.findings) > MAX_FINDINGS:
            resolved = (key for key, kept in self.findings.items() if kept.state == "resolved")
            del self.findings[next(resolved, next(iter(self.findings)))]
