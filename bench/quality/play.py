"""Stories through a fleet, as records, all of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from bench.quality.synthetic import Phase, Story
from consumers.feed import Feed
from consumers.fleet import Fleet
from consumers.rows import Limits
from consumers.telemetry import Telemetry
from losswatch.schema import Finding, Predictions, Record, RunStart, Steps

BLOCK: Final = 60
"""Steps of a record: a multiple of the steps from one validation to the next."""
SAMPLES: Final = 256
LIMITS: Final = Limits(runs=100_000)


def play(stories: Sequence[Story], seed: int = 0) -> list[list[Finding]]:
    """What was found in each story, in order; firing findings only."""
    feed, rng = Feed(Fleet(Telemetry(), limits=LIMITS)), np.random.default_rng(seed)
    found: list[list[Finding]] = [[] for _ in stories]
    streams = [_records(str(place), story, rng) for place, story in enumerate(stories)]
    while batch := [record for stream in streams for record in next(stream, ())]:
        findings, unusable = feed.take(batch)
        if unusable:
            raise ValueError(f"a made-up record could not be used: {unusable[0].detail}")
        for finding in findings:
            if finding.state == "firing":
                found[int(finding.run)].append(finding)
    return found


def _records(run: str, story: Story, rng: np.random.Generator) -> Iterator[list[Record]]:
    """The story's records, block by block; the first one has the declaration."""
    head: list[Record] = [RunStart(run=run, time=0.0, **story.declared)]
    lengths = [len(phase.fields["total"]) for phase in story.phases]
    length = max(lengths, default=0 if story.predicted is None else len(story.predicted))
    for first in range(0, length, BLOCK):
        stop = min(first + BLOCK, length)
        body: list[Record] = [_steps(run, phase, first, stop) for phase in story.phases]
        if story.predicted is not None:
            body += [_predictions(run, step, story.predicted[step], rng) for step in range(first, stop)]
        yield head + body
        head = []


def _steps(run: str, phase: Phase, first: int, stop: int) -> Steps:
    places = np.arange(first, stop)[:: phase.every]
    fields = {name: _at(values, places) for name, values in phase.fields.items()}
    return Steps(run=run, time=float(first), phase=phase.name, step=places, **fields)


def _at(values: Any, places: Any) -> Any:
    return {name: _at(each, places) for name, each in values.items()} if isinstance(values, Mapping) else values[places]


def _predictions(run: str, step: int, mean: Any, rng: np.random.Generator) -> Predictions:
    counts = rng.multinomial(SAMPLES, mean)
    values = 0.1 * mean + 0.9 * np.repeat(np.eye(len(mean)), counts, axis=0)
    return Predictions(run=run, time=float(step), phase="test", step=step, kind="probabilities", values=values)
