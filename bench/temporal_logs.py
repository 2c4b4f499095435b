"""Series of real training logs for bench.temporal, as they are and with anomalies put in. Split by repository."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from bench.temporal_runs import CHANGES, WARM_UP, Base, Floats, Labelled, Window, name_of
from detectors.evaluation.directions import direction_of
from losswatch.arrays import reported
from losswatch.schema import Steps
from service.replay.notes import Unreadable
from service.replay.sources import open_log

Part = Literal["development", "test"]
INJECTED: Final = ("spike", "divergence", "too_good", "shift")
SMOOTH: Final = 15


@dataclass(frozen=True, slots=True)
class LoggedSeries:
    """A series of a log, with what the log is labelled as."""

    part: Part
    labels: str
    series: Labelled


def read(folder: Path) -> list[LoggedSeries]:
    """All series of 20 values or more that the manifest's logs have; only finite values."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        part: Part = "test" if zlib.crc32(row["repo"].encode()) % 2 else "development"
        try:
            series = list(_series(folder / row["file"]))
        except Unreadable:
            continue
        found += [LoggedSeries(part, row["labels"], each) for each in series if len(each.values) >= 20]
    return found


def _series(path: Path) -> Iterator[Labelled]:
    parts: dict[tuple[str, str, str, int], list[Floats]] = {}
    for record in open_log(path).records():
        if not isinstance(record, Steps):
            continue
        losses = dict(record.components) | ({} if record.total is None else {"total": record.total})
        named = [(name, -1, values) for name, values in losses.items()]
        named += [
            (name, {"lower": -1, "higher": 1}.get(direction_of(name) or "", 0), values)
            for name, values in record.metrics.items()
        ]
        for name, direction, values in named:
            given = np.asarray(values, dtype=np.float64)
            given = given[reported(given)]
            parts.setdefault((record.run, record.phase, name, direction), []).append(given[np.isfinite(given)])
    for (run, phase, name, direction), pieces in parts.items():
        yield Labelled(f"{run}:{phase}:{name}", np.concatenate(pieces), direction)


def injected(logs: list[LoggedSeries], seed: int) -> list[Labelled]:
    """Healthy losses and metrics whose direction is known; an anomaly in every second one."""
    changes = [change for change in CHANGES if name_of(change) in INJECTED]
    found = []
    for i, log in enumerate(logs):
        series, length = log.series, len(log.series.values)
        if log.labels != "healthy" or not series.direction or length < 2 * WARM_UP:
            continue
        rng = np.random.default_rng([seed, i])
        if rng.random() < 0.5:
            found.append(series)
            continue
        mean = np.convolve(np.pad(series.values, SMOOTH // 2, mode="edge"), np.ones(SMOOTH) / SMOOTH, "valid")
        noise = np.full(length, np.median(np.abs(series.values - mean)) * 1.4826)
        start = int(rng.integers(WARM_UP, int(length * 0.85)))
        change = changes[int(rng.integers(len(changes)))]
        base = Base(series.name, series.direction, mean, noise + 1e-3 * np.abs(mean))
        values, end = change(rng, base, series.values.copy(), start)
        found.append(replace(series, values=values, windows=(Window(name_of(change), start, min(end, length)),)))
    return found
