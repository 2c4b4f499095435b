"""How much does one service need for R runs: memory, series, scrape time, page, view, snapshots?

For each number of runs a process of its own, pinned to one core with torch on one thread, takes the
records of R jobs from memory (no Kafka: bench.worker measures that), each with 6 components, 2 metrics,
a declaration and, every fourth, predictions. Then it serves them and is asked over loopback.

    python -m bench.sizing --write            # bench/results/sizing.md, about 3 minutes
    python -m bench.sizing --runs 10 100
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.machine import machine, resident
from consumers.checkpoint import CHUNK
from consumers.decode import Decoded
from consumers.fleet import Fleet
from consumers.memory import Record as StoredRecord
from consumers.picture import Painter
from consumers.snapshots import snapshot
from consumers.telemetry import Telemetry
from consumers.view import View
from losswatch.schema import Objective, Predictions, Record, RunStart, Steps
from losswatch.topics import PREDICTIONS, STEPS
from service.http import Web
from service.memory import keep_memory
from service.metrics import Exposition
from service.page import Pages
from service.server import Server

RUNS: Final = (10, 100, 1_000, 10_000)
BLOCK: Final = 64
BLOCKS: Final = 4
COMPONENTS: Final = 6
BATCH: Final = 500
PREDICTING: Final = 4
REPEAT: Final = 5
RESULTS: Final = Path(__file__).parent / "results" / "sizing.md"


def records(run: int) -> Iterator[tuple[str, Record]]:
    """Topic and record of everything that one job sends."""
    noise = np.random.default_rng(run)
    common: dict[str, Any] = {"run": f"run-{run:05}", "session": "bench", "time": time.time()}
    weights = {f"loss_{k}": 1.0 for k in range(COMPONENTS)}
    objective = {"train": Objective(form="weighted_sum", weights=weights)}
    yield STEPS, RunStart(**common, seq=0, job="bench", labels={"team": "bench"}, objective=objective)
    for block in range(BLOCKS):
        step = np.arange(block * BLOCK, (block + 1) * BLOCK)
        level = np.exp(-step / 2000)
        components = {name: level * noise.lognormal(0, 0.1, BLOCK) for name in weights}
        metrics = {name: level * noise.lognormal(0, 0.1, BLOCK) for name in ("accuracy", "lr")}
        total = np.sum(list(components.values()), axis=0)
        yield (
            STEPS,
            Steps(**common, seq=1 + 2 * block, step=step, total=total, components=components, metrics=metrics),
        )
        if run % PREDICTING == 0:
            values = noise.dirichlet(np.ones(10), 64)
            yield (
                PREDICTIONS,
                Predictions(**common, seq=2 + 2 * block, step=int(step[-1]), kind="probabilities", values=values),
            )


def measure(runs: int) -> dict[str, float]:
    """Everything about a fleet of so many runs, in this process."""
    import torch

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    keep_memory()
    telemetry = Telemetry()
    fleet = Fleet(telemetry)
    small = Fleet(Telemetry())
    small.take([Decoded(record, _message(topic, 0, 0)) for topic, record in records(0)])  # loads everything
    before = resident()
    _fill(fleet, runs)
    view = [View()]
    painter = Painter(fleet, 300.0)
    view[0] = painter.paint(time.time())
    out: dict[str, float] = {"bytes": resident() - before, "idle": before}
    out["paint"] = _timed(lambda: view.__setitem__(0, painter.paint(time.time())))
    packed = 0
    started = time.process_time()
    for first in range(0, runs, CHUNK):
        packed += sum(len(data) for data in snapshot(fleet, list(fleet.runs.values())[first : first + CHUNK]))
    out |= {"snapshot": time.process_time() - started, "snapshot_bytes": packed}
    telemetry.ready = True
    exposition = Exposition(lambda: view[0], telemetry, {}, "bench")
    web = Web(lambda: view[0], telemetry, exposition, Pages({}, "bench", "bench"))
    with Server(web.application(), "127.0.0.1", 0) as server:
        text = _get(f"{server.url}/metrics")
        out |= {"exposition": len(text), "series": sum(not line.startswith(b"#") for line in text.splitlines())}
        out["scrape"] = _timed(lambda: _get(f"{server.url}/metrics"))
        out["page"] = _timed(lambda: _get(f"{server.url}/"))
        out["resident"] = resident()
    return out


def _fill(fleet: Fleet, runs: int) -> None:
    offset, batch = 0, list[Decoded]()
    for run in range(runs):
        for topic, record in records(run):
            batch.append(Decoded(record, _message(topic, run % 12, offset := offset + 1)))
        if len(batch) >= BATCH or run == runs - 1:
            fleet.take(batch)
            batch = []


def _message(topic: str, partition: int, offset: int) -> StoredRecord:
    return StoredRecord(topic, partition, offset, timestamp=0, key=b"", value=b"", headers=())


def _timed(call: Callable[[], object]) -> float:
    """Seconds of CPU, the median of several times: other load on the machine does not count."""
    seconds = []
    for _ in range(REPEAT):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        body: bytes = answer.read()
    return body


def table(measured: dict[int, dict[str, float]]) -> str:
    """The results as Markdown."""
    lines = [
        "| runs | memory of the process | memory per run | series | /metrics | scrape | fleet page | view | "
        "snapshots of all runs |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for runs, m in measured.items():
        lines.append(
            f"| {runs:,} | {m['resident'] / 1e6:,.0f} MB | {m['bytes'] / runs / 1e3:,.0f} kB | {m['series']:,.0f} "
            f"| {m['exposition'] / 1e6:,.2f} MB | {m['scrape'] * 1e3:,.0f} ms | {m['page'] * 1e3:,.0f} ms "
            f"| {m['paint'] * 1e3:,.0f} ms | {m['snapshot_bytes'] / 1e6:,.2f} MB, {m['snapshot'] * 1e3:,.0f} ms |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write it where it is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=RUNS, help="numbers of runs to measure")
    parser.add_argument("--write", action="store_true", help=f"keep the table in bench/results/{RESULTS.name}")
    parser.add_argument("--one", type=int, metavar="RUNS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    measured: dict[int, dict[str, float]] = {}
    for runs in options.runs:
        print(f"{runs:,} runs ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "bench.sizing", "--one", str(runs)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        measured[runs] = json.loads(done.stdout.splitlines()[-1])
    text = (
        f"{machine()}, torch on one thread, pinned to one core.\n\n"
        f"Command: `python -m bench.sizing`. Each run has {COMPONENTS} components, 2 metrics, {BLOCK * BLOCKS} steps "
        f"and, in every {PREDICTING}th, predictions of 10 classes. Times are CPU time, medians of {REPEAT}; the scrape "
        f"and the page are asked over loopback.\n\n{table(measured)}\n"
    )
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"# What one service needs\n\n{text}")


if __name__ == "__main__":
    main()
