"""How fast do prediction records go through the worker, against a bare poll loop and per-run code?

For each shape of a batch (N samples of C classes) and each number of runs an embedded broker holds the records, the
same for all three: (a) a bare poll loop takes them from it and drops them; (b) the whole worker polls, decodes,
reduces, judges, tells and writes checkpoints, at its usual pace; (c) per-run code, in NumPy and scikit-learn, decodes
records that it has in memory already and computes the same numbers one record after the other. It does less: it checks
no record, keeps no windows over records but the newest scores, and looks for no findings; of a summary it makes a few
sums, which the worker's checks, trends and verdicts outweigh. All three run in one process as the service sets it up
(`service.memory`). The hook sends batches of more than 65,536 numbers as summaries; those shapes are measured as such
and as whole batches too. Times of (a) and (b) are those after the first poll that brought records. Each repetition has
a broker of its own; medians are told.

    python -m bench.predictions --write     # bench/results/predictions.md, about 6 minutes
    python -m bench.predictions --quick     # once, and fewer records, about 1 minute
    python -m bench.predictions --cases 256x10 --runs 1000
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import torch

from bench.machine import machine
from bench.prediction_peers import PerRun
from bench.prediction_records import Case
from consumers.fleet import Fleet
from consumers.kafka import KafkaBroker
from consumers.source import Slot
from consumers.telemetry import Telemetry
from consumers.worker import Policy, Worker
from losswatch.topics import PREDICTIONS
from service.broker import EmbeddedBroker
from service.memory import keep_memory

SHAPES: Final = ((256, 10), (256, 1_000), (32, 50_000))
RUNS: Final = (1, 100, 1_000)
PARTITIONS: Final = 12
MOST_RECORDS: Final = 20_000
MOST_IN_PARTITION: Final = 4_000
"""Beyond some thousands the embedded broker finds the records of one partition ever more slowly."""
MOST_BYTES: Final = 128_000_000
"""Published for each line of the table, unless a record of each run is more."""
ONCE: Final = 300_000_000
"""Bytes from which on a line is measured once: it would take too long."""
PEER_SECONDS: Final = 1.0
"""So long per-run code may take; it stands for all records."""
SESSION_SECONDS: Final = 3.0
"""The embedded broker takes half of it for every join."""
TARGET: Final = Case(256, 10, 1_000, "probabilities")
TARGET_TIMES: Final = 20.0
TARGET_SHARE: Final = 0.5
"""Of the bare loop's MB/s."""
RESULTS: Final = Path(__file__).parent / "results" / "predictions.md"


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of a case, in seconds for each of its records."""

    count: int
    size: float
    """Bytes of a record."""
    bare: float
    worker: float
    per_run: float

    @property
    def times(self) -> float:
        """How many times as many records the worker takes as per-run code does."""
        return self.per_run / self.worker

    @property
    def share(self) -> float:
        """The worker's MB/s by the bare loop's."""
        return self.bare / self.worker


def seconds_each(turn: Callable[[], int], count: int) -> float:
    """Let turns take ``count`` records; the seconds for each after those of the first turn that brought any."""
    got = 0
    while not got:
        got = turn()
    started, first = time.perf_counter(), got
    while got < count:
        got += turn()
    return (time.perf_counter() - started) / max(1, count - first)


def time_bare(broker: KafkaBroker, count: int) -> float:
    """Poll everything and drop it."""
    source, policy = broker.source("bare", [PREDICTIONS]), Policy()
    try:
        return seconds_each(lambda: len(source.poll(policy.poll_timeout, policy.poll_records)), count)
    finally:
        source.close()


def time_worker(broker: KafkaBroker, count: int) -> float:
    """The whole worker, one turn of its loop after another."""
    telemetry = Telemetry()
    worker = Worker(broker, Fleet(telemetry))

    with worker.connected() as loop:

        def turn() -> int:
            before = telemetry.total("records")
            worker.turn(loop)
            return int(telemetry.total("records") - before)

        found = seconds_each(turn, count)
    if telemetry.total("dead_letters") or telemetry.total("detector_errors"):
        raise RuntimeError("the worker could not use every record: what it took is no measure")
    return found


def time_per_run(values: Sequence[bytes]) -> float:
    """Run by run and record by record, for as long as `PEER_SECONDS` or once all of them."""
    peer, started = PerRun(), time.perf_counter()
    taken = 0
    while taken < len(values) and time.perf_counter() - started < PEER_SECONDS:
        peer.take(values[taken])
        taken += 1
    return (time.perf_counter() - started) / taken


def measure(case: Case, most_records: int, most_bytes: int, repeat: int) -> Figures:
    """Publish and consume ``repeat`` times; less often where it is much."""
    size = sum(len(each.value) for each in islice(case.records(8), 8)) / 8
    most = min(most_records, int(most_bytes / size), MOST_IN_PARTITION * min(case.runs, PARTITIONS))
    count = max(case.runs, 20, most)
    bare, worker = [], []
    for _ in range(repeat if count * size < ONCE else 1):
        with EmbeddedBroker() as embedded:
            broker = KafkaBroker(embedded.address, session_timeout=SESSION_SECONDS)
            publish(broker, case, count)
            bare.append(time_bare(broker, count))
            worker.append(time_worker(broker, count))
    alone = [time_per_run([each.value for each in case.records(min(count, 400))]) for _ in range(repeat)]
    return Figures(count, size, *(statistics.median(seconds) for seconds in (bare, worker, alone)))


def publish(broker: KafkaBroker, case: Case, count: int) -> None:
    """Write all records; the partition goes by the run."""
    broker.create_topics(PARTITIONS)
    sink = broker.sink()
    for i, each in enumerate(case.records(count)):
        sink.send(Slot(PREDICTIONS, (i % case.runs) % PARTITIONS), each.run.encode(), each.value, each.headers)
    sink.flush(60)
    sink.close()


def table(found: dict[Case, Figures]) -> str:
    """The figures as Markdown."""
    lines = [
        "| N x C | sent as | runs | records | bytes each | bare loop MB/s | worker MB/s | by the bare loop's "
        "| worker rows/s | per-run code rows/s | worker by it |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case, it in found.items():
        sent = case.sent if case.by_hook else f"{case.sent}, not by the hook"
        lines.append(
            f"| {case.samples} x {case.classes:,} | {sent} | {case.runs:,} | {it.count:,} | {it.size:,.0f} "
            f"| {it.size / it.bare / 1e6:,.1f} | {it.size / it.worker / 1e6:,.1f} | {it.share:.2f} "
            f"| {case.samples / it.worker:,.0f} | {case.samples / it.per_run:,.0f} | {it.times:.1f} x |"
        )
    return "\n".join(lines)


def targets(it: Figures) -> str:
    """What was to be reached, and whether it was."""
    sought = (
        (f"at least {TARGET_TIMES:g} times the rows/s of per-run code", it.times, TARGET_TIMES, " times"),
        (f"at least {TARGET_SHARE:g} of the bare loop's MB/s", it.share, TARGET_SHARE, ""),
    )
    return "\n".join(
        f"- {TARGET.samples} x {TARGET.classes}, {TARGET.runs:,} runs, {what}: "
        f"{'reached' if value >= wanted else 'missed'}, {value:.2f}{unit}."
        for what, value, wanted, unit in sought
    )


def main() -> None:
    """Measure, print the table, and write it where it is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=list(RUNS))
    parser.add_argument("--cases", nargs="+", default=[f"{n}x{c}" for n, c in SHAPES], help="such as 256x10")
    parser.add_argument("--sent", nargs="+", default=["probabilities", "summary"])
    parser.add_argument("--repeat", type=int, default=3, help="how often; medians are told (default 3)")
    parser.add_argument("--quick", action="store_true", help="each line once, of an eighth of the records")
    parser.add_argument("--write", action="store_true", help=f"keep the table in bench/results/{RESULTS.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    warnings.simplefilter("ignore")  # scikit-learn warns of classes without labels
    logging.getLogger("service.broker").setLevel(logging.ERROR)
    part, repeat = (8, 1) if options.quick else (1, options.repeat)
    found: dict[Case, Figures] = {}
    for shape in options.cases:
        samples, classes = (int(size) for size in shape.split("x"))
        for sent in options.sent:
            cases = [Case(samples, classes, runs, sent) for runs in options.runs]
            for case in (case for case in cases if case.sent == "probabilities" or case.by_hook):
                print(f"{shape}, {sent}, {case.runs:,} runs ...", file=sys.stderr, flush=True)
                found[case] = measure(case, MOST_RECORDS // part, MOST_BYTES // part, repeat)
    text = f"{machine()}.\n\nCommand: `python -m bench.predictions`; medians of {repeat}.\n\n{table(found)}\n"
    if TARGET in found:
        text += f"\n{targets(found[TARGET])}\n"
    print(text)
    if options.write:
        RESULTS.write_text(f"# Prediction records through the worker\n\n{text}")


if __name__ == "__main__":
    main()
