"""The topics of losswatch: names, what each carries and how each is kept."""

from __future__ import annotations

from typing import Final, NamedTuple

STEPS: Final = "losswatch.steps"
PREDICTIONS: Final = "losswatch.predictions"
FINDINGS: Final = "losswatch.findings"
STATE: Final = "losswatch.state"
DLQ: Final = "losswatch.dlq"

HOUR: Final = 3_600_000
"""An hour in milliseconds, the unit of Kafka's ``retention.ms``."""


class Topic(NamedTuple):
    """One topic as it is created. Record keys are run ids everywhere but in the dead letters."""

    name: str
    carries: str
    config: tuple[tuple[str, str], ...]
    """Kafka topic settings, name and value."""
    types: tuple[str, ...] = ()
    """The ``type`` of the records of `losswatch.schema` in it."""


LARGEST: Final = ("max.message.bytes", str(16 * 1024 * 1024))
"""Snapshots, and letters of any size, do not fit into the megabyte that Kafka allows by default."""


def _kept(hours: int) -> tuple[tuple[str, str], ...]:
    return (("cleanup.policy", "delete"), ("retention.ms", str(hours * HOUR)))


TOPICS: Final = (
    Topic(
        STEPS,
        "steps, run_start, heartbeat and run_end records",
        _kept(24),
        ("run_start", "steps", "heartbeat", "run_end"),
    ),
    Topic(
        PREDICTIONS,
        "predictions, reference, run_start and run_end records",
        _kept(24),
        ("run_start", "predictions", "reference", "run_end"),
    ),
    Topic(FINDINGS, "findings, one record per change of state", _kept(30 * 24), ("finding",)),
    Topic(STATE, "snapshots of runs, and one marker per partition", (("cleanup.policy", "compact"), LARGEST)),
    Topic(DLQ, "records that could not be used, with the reason", (*_kept(7 * 24), LARGEST)),
)
"""All topics."""
ALIKE: Final = (STEPS, PREDICTIONS, FINDINGS, STATE)
"""Topics that have equally many partitions, so that a run has the same partition number in each."""
