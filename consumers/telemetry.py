"""What the service counts about itself: plain numbers, read by the metrics collector at scrape time.

Names are the keys of `COUNTERS` and `HISTOGRAMS`; a typo is a type error. ``docs/metrics.md`` and the
exposition are derived from these tables.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

CounterName = Literal[
    "records",
    "steps",
    "samples",
    "dead_letters",
    "duplicates",
    "late_steps",
    "hook_drops",
    "refused",
    "session_conflicts",
    "detector_errors",
    "findings",
    "findings_suppressed",
    "checkpoints",
    "checkpoint_failures",
    "commits_refused",
    "snapshots",
    "snapshots_restored",
    "snapshots_unusable",
    "rebalances",
    "broker_errors",
    "runs_evicted",
    "notifications",
    "notification_failures",
]
HistogramName = Literal["batch_records", "stage_seconds", "event_age_seconds"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """One metric of the service's own: its help text and its labels."""

    help: str
    labels: tuple[str, ...] = ()


COUNTERS: Final[dict[CounterName, Meaning]] = {
    "records": Meaning("Records decoded, by topic and type.", ("topic", "type")),
    "steps": Meaning("Training steps taken in."),
    "samples": Meaning("Prediction samples taken in."),
    "dead_letters": Meaning("Records sent to the dead letter topic, by topic and reason.", ("topic", "reason")),
    "duplicates": Meaning("Records skipped because their session and seq were seen before."),
    "late_steps": Meaning("Steps skipped because their session already reported a later one."),
    "hook_drops": Meaning("Records that publishers had to drop, as they report it, by reason.", ("reason",)),
    "refused": Meaning("What was refused because a cap was reached, by cap.", ("cap",)),
    "session_conflicts": Meaning("Records from a second live session of the same run."),
    "detector_errors": Meaning("Blocks that a detector could not judge; a fault of the service."),
    "findings": Meaning("Changes of state of findings, by kind and state.", ("kind", "state")),
    "findings_suppressed": Meaning("Findings made again by a replay and not published twice."),
    "checkpoints": Meaning("Checkpoints completed."),
    "checkpoint_failures": Meaning("Checkpoints that could not be completed and will be tried again."),
    "commits_refused": Meaning("Offset commits refused because the partition had moved."),
    "snapshots": Meaning("Snapshots of runs written."),
    "snapshots_restored": Meaning("Snapshots of runs restored after an assignment."),
    "snapshots_unusable": Meaning("Snapshots that could not be restored, by reason.", ("reason",)),
    "rebalances": Meaning("Partitions gained or given up, by change.", ("change",)),
    "broker_errors": Meaning("Calls to the broker that failed and will be tried again."),
    "runs_evicted": Meaning("Runs dropped, by reason.", ("reason",)),
    "notifications": Meaning("Alerts handed to an Alertmanager, repeats included."),
    "notification_failures": Meaning("Attempts to hand alerts to an Alertmanager that failed and will be made again."),
}
HISTOGRAMS: Final[dict[HistogramName, tuple[Meaning, tuple[float, ...]]]] = {
    "batch_records": (Meaning("Records per poll that returned any."), (1, 3, 10, 30, 100, 300, 1000, 3000)),
    "stage_seconds": (
        Meaning("Seconds spent per batch in each stage.", ("stage",)),
        (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
    ),
    "event_age_seconds": (
        Meaning("Seconds between a record being made by its job and being used here."),
        (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600),
    ),
}


@dataclass(slots=True)
class Histogram:
    """Counts per bucket; the last is everything above the highest bound."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value in the bucket whose upper bound is the first not below it."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value


class Telemetry:
    """The service's own numbers. Written by the worker's thread, read by any.

    >>> telemetry = Telemetry()
    >>> telemetry.count("dead_letters", "losswatch.steps", "not_json")
    >>> telemetry.counters["dead_letters"]["losswatch.steps", "not_json"]
    1
    """

    def __init__(self) -> None:
        self.counters: dict[CounterName, Counter[tuple[str, ...]]] = {name: Counter() for name in get_args(CounterName)}
        self.histograms: dict[HistogramName, dict[tuple[str, ...], Histogram]] = {
            name: {} for name in get_args(HistogramName)
        }
        self.heartbeat: float = 0.0
        """Monotonic seconds of the last turn of the loop."""
        self.checkpointed: float = 0.0
        """Monotonic seconds of the last completed checkpoint."""
        self.lag: dict[tuple[str, int], int] = {}
        """Records between position and end, by topic and partition."""
        self.ready: bool = False
        """Whether partitions are assigned and restored."""
        self.status: str = "starting"
        """What the worker is doing, in a few words: shown on the page and by ``/readyz``."""

    def count(self, name: CounterName, *labels: str, by: int = 1) -> None:
        """Add to a counter; labels in the order of its `Meaning`."""
        self.counters[name][labels] += by

    def observe(self, name: HistogramName, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        by_labels = self.histograms[name]
        if labels not in by_labels:
            by_labels[labels] = Histogram(HISTOGRAMS[name][1])
        by_labels[labels].observe(value)

    def total(self, name: CounterName, labels: Sequence[str] | None = None) -> int:
        """A counter's value for these labels, or over all of them."""
        return self.counters[name][tuple(labels)] if labels is not None else self.counters[name].total()
