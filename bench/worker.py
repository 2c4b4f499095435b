"""How fast is the worker, against a bare kafka-python poll loop over the same records?

For each number of runs R: start an embedded broker, publish blocks of 64 steps of 6 components, and
consume them (a) with a bare poll loop, (b) with poll and decode, (c) with the whole worker - decode,
detectors, findings, views, checkpoints - and all detectors, all but the temporal score, or the spine's only.
Each consumer is a process of its own, pinned to one core, with torch on one thread; the broker has the
other cores. All of it is repeated, and medians are told.

    python -m bench.worker                    # the table of bench/results/worker.md, about 10 minutes
    python -m bench.worker --runs 1000 --repeat 1
    python -m bench.worker --runs 10000 --blocks 12
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bench.machine import machine, resident
from consumers.decode import DeadLetter, Decoded, decode_all
from consumers.fleet import Fleet
from consumers.kafka import KafkaBroker
from consumers.source import Slot, Source
from consumers.telemetry import Telemetry
from consumers.worker import Policy, Worker
from detectors.catalog import CELLS
from detectors.cell import Cell
from losswatch.encoding import MSGPACK, encode
from losswatch.headers import cloud_event
from losswatch.schema import Finding, Steps
from losswatch.topics import STEPS
from service.broker import EmbeddedBroker
from service.memory import keep_memory

BLOCK: Final = 64
COMPONENTS: Final = 6


class Size(NamedTuple):
    """How many blocks each run has, and how often that is measured, unless told."""

    blocks: int
    repeat: int


SIZES: Final = {10: Size(800, 1), 1000: Size(20, 3), 10_000: Size(4, 1)}
"""By number of runs; the last for all others."""
PARTITIONS: Final = 12
SPINE: Final = ("balance", "non_finite", "trace", "diversity")
"""The first detectors, which the cost of all of them is told against."""
WORKERS: Final[dict[str, Callable[[Cell], bool]]] = {
    "spine": lambda cell: cell.name in SPINE,
    "cheap": lambda cell: cell.name != "temporal_anomaly",
    "worker": lambda cell: True,
}
"""Which detectors a whole worker has."""
WHAT: Final = {
    "bare": "bare poll loop",
    "decode": "poll + decode",
    "spine": "whole worker, spine's detectors",
    "cheap": "whole worker, all but the temporal score",
    "worker": "whole worker, all",
}
RESULTS: Final = Path(__file__).parent / "results" / "worker.md"


def records(runs: int, blocks: int) -> Iterator[tuple[int, Steps]]:
    """Blocks of noisy decaying losses, all runs in turn; each with its partition."""
    noise = np.random.default_rng(0)
    for block in range(blocks):
        step = np.arange(block * BLOCK, (block + 1) * BLOCK)
        level = np.exp(-step / 2000)
        for run in range(runs):
            components = {f"loss_{k}": level * noise.lognormal(0, 0.1, BLOCK) for k in range(COMPONENTS)}
            total = np.sum(list(components.values()), axis=0)
            yield (
                run % PARTITIONS,
                Steps(
                    run=f"run-{run}",
                    session="bench",
                    seq=block,
                    time=time.time(),
                    step=step,
                    total=total,
                    components=components,
                ),
            )


class Message(NamedTuple):
    """A record as it is published."""

    slot: Slot
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


def messages(runs: int, blocks: int) -> list[Message]:
    """`records` as bytes: made once and published for each consumer."""
    return [
        Message(Slot(STEPS, partition), record.run.encode(), encode(record, MSGPACK), cloud_event(record, MSGPACK))
        for partition, record in records(runs, blocks)
    ]


def publish(broker: KafkaBroker, made: Sequence[Message]) -> None:
    """Write all records."""
    broker.create_topics(PARTITIONS)
    sink = broker.sink()
    for i, message in enumerate(made):
        sink.send(*message)
        if i % 5000 == 4999:
            sink.flush(60)
    sink.flush(60)
    sink.close()


def consume(what: str, address: str, expected: int) -> dict[str, float]:
    """Consume everything in this process, on one core; seconds from the first record to the last."""
    import torch

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    keep_memory()
    broker = KafkaBroker(address)
    telemetry = Telemetry()
    before = resident()
    if what in WORKERS:
        fleet = _Timed(telemetry, cells=[cell for cell in CELLS if WORKERS[what](cell)])
        seconds = _time_worker(broker, fleet, expected)
    else:
        use = _decode(telemetry) if what == "decode" else len
        seconds = _time_loop(broker.source(f"bench-{what}", [STEPS]), use, expected)
    return {"seconds": seconds, "bytes": resident() - before}


def _time_loop(source: Source, use: Callable[[Any], Any], expected: int) -> float:
    got, started = 0, 0.0
    while got < expected:
        messages = source.poll(0.2, Policy().poll_records)
        started = started or (time.perf_counter() if messages else 0.0)
        use(messages)
        got += len(messages)
    seconds = time.perf_counter() - started
    source.close()
    return seconds


def _decode(telemetry: Telemetry) -> Callable[[Any], Any]:
    return lambda messages: decode_all(messages, telemetry, time.time())


class _Timed(Fleet):
    """Knows when it was first given records: all that came before is joining the group."""

    started = 0.0

    def take(self, batch: Sequence[Decoded]) -> tuple[list[Finding], list[DeadLetter]]:
        self.started = self.started or time.perf_counter()
        return super().take(batch)


def _time_worker(broker: KafkaBroker, fleet: _Timed, expected: int) -> float:
    worker = Worker(broker, fleet, Policy())
    with worker.connected() as loop:
        while fleet.telemetry.total("records") < expected:
            worker.turn(loop)
        return time.perf_counter() - fleet.started


def measure(runs: int, blocks: int, repeat: int) -> dict[str, list[dict[str, float]]]:
    """One broker, one set of records, ``repeat`` times each consumer in turn."""
    out: dict[str, list[dict[str, float]]] = {what: [] for what in WHAT}
    made = messages(runs, blocks)
    for _ in range(repeat):
        for what in WHAT:  # each on a broker of its own: its memory is then the same for all
            with EmbeddedBroker() as embedded:
                publish(KafkaBroker(embedded.address), made)
                command = [
                    sys.executable,
                    "-m",
                    "bench.worker",
                    "--consume",
                    what,
                    embedded.address,
                    str(runs * blocks),
                ]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found = json.loads(done.stdout.splitlines()[-1])
                out[what].append(found | {"records": runs * blocks})
    return out


def table(measured: dict[int, dict[str, list[dict[str, float]]]]) -> str:
    """The results as Markdown."""
    lines = [
        "| runs | what | records/s | steps/s | time against the bare loop | against the spine's detectors "
        "| resident memory grew by | runs of it |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for runs, by_what in measured.items():
        bare, spine = (statistics.median(each["seconds"] for each in by_what[what]) for what in ("bare", "spine"))
        for what, each in by_what.items():
            seconds = statistics.median(x["seconds"] for x in each)
            count = each[0]["records"]
            grown = statistics.median(x["bytes"] for x in each)
            memory = f"{grown / 1e6:,.0f} MB ({grown / runs / 1000:,.1f} kB a run)" if what in WORKERS else ""
            ratio = f"{seconds / spine:.2f}" if what in WORKERS else ""
            lines.append(
                f"| {runs:,} | {WHAT[what]} | {count / seconds:,.0f} | {count * BLOCK / seconds:,.0f} "
                f"| {seconds / bare:.2f} | {ratio} | {memory} | {len(each)} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write it where it is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=list(SIZES), help="numbers of runs to measure")
    parser.add_argument("--repeat", type=int, help="how often; medians are told (default 3 with 1,000 runs, else 1)")
    parser.add_argument(
        "--blocks", type=int, help="blocks of each run (default 100, 20 and 4 with 10, 1,000 and 10,000)"
    )
    parser.add_argument("--write", action="store_true", help=f"keep the table in bench/results/{RESULTS.name}")
    parser.add_argument("--consume", nargs=3, metavar=("WHAT", "ADDRESS", "RECORDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.consume:
        what, address, expected = options.consume
        print(json.dumps(consume(what, address, int(expected))))
        return
    measured: dict[int, dict[str, list[dict[str, float]]]] = {}
    for runs in options.runs:
        print(f"{runs:,} runs ...", file=sys.stderr, flush=True)
        size = SIZES.get(runs, SIZES[10_000])
        measured[runs] = measure(runs, options.blocks or size.blocks, options.repeat or size.repeat)
    text = (
        f"{machine()}.\n\nCommand: `python -m bench.worker`. Medians of as many runs as the last column says. The "
        f"spine's detectors are {', '.join(f'`{name}`' for name in SPINE)}.\n\n{table(measured)}\n"
    )
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"# Worker against a bare poll loop\n\n{text}")


if __name__ == "__main__":
    main()
