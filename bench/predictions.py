"""How fast do prediction records go through the worker, against a bare poll loop and per-run code?

For each shape of a batch (N samples of C classes, in half precision and with labels, as the hook sends them; a
summary where it would send one) and each number of runs: the records are in memory, as a broker would hand them
over, so that the figures are those of the consumers alone. (a) A bare poll loop copies the records' bytes; (b) the
whole worker polls, decodes, reduces, judges and writes findings; (c) per-run code decodes the same records and computes
entropies with NumPy and precision, recall, F1 and ROC AUC with scikit-learn, run by run.

    python -m bench.predictions --write    # bench/results/predictions.md, about 10 minutes
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch

from bench.machine import machine
from consumers.decode import decode_all, matrix_of
from consumers.fleet import Fleet
from consumers.memory import MemoryBroker
from consumers.source import Slot
from consumers.telemetry import Telemetry
from consumers.worker import Policy, Worker
from losswatch.encoding import MSGPACK, encode
from losswatch.headers import cloud_event
from losswatch.schema import Predictions
from losswatch.topics import PREDICTIONS

SHAPES: Final = ((256, 10), (256, 1_000), (32, 50_000))
RUNS: Final = (1, 100, 1_000)
MOST_NUMBERS: Final = 65_536
"""Above it the hook sends a summary."""
MOST_BYTES: Final = 64_000_000
"""Published for each line of the table, at most."""
POLL: Final = 500
RESULTS: Final = Path(__file__).parent / "results" / "predictions.md"


def record(run: str, seq: int, samples: int, classes: int) -> Predictions:
    """A batch of a model that is right in most cases."""
    random = np.random.default_rng(seq)
    labels = random.integers(0, classes, samples)
    logits = random.standard_normal((samples, classes), dtype=np.float32)
    logits[np.arange(samples), labels] += 3
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    common = {"run": run, "session": "bench", "seq": seq, "time": 0.0, "step": seq, "phase": "val"}
    if samples * classes > MOST_NUMBERS:
        counts = np.bincount(p.argmax(1), minlength=classes)
        told = {
            "n": samples,
            "mean": p.mean(0),
            "counts": counts,
            "mean_entropy": 1.0,
            "mean_max": float(p.max(1).mean()),
        }
        return Predictions(**common, kind="summary", **told)
    return Predictions(**common, kind="probabilities", values=p.astype(np.float16), labels=labels.tolist())


def publish(samples: int, classes: int, runs: int) -> tuple[MemoryBroker, int, int]:
    """A broker that holds the records of all runs in turn, their number and their bytes."""
    broker = MemoryBroker(clock=lambda: 0.0)
    broker.create_topics(1)
    first = encode(record("run-0", 0, samples, classes), MSGPACK)
    count = max(20, min(max(2_000, 10 * runs), MOST_BYTES // len(first)))
    for i in range(count):
        made = record(f"run-{i % runs}", i // runs, samples, classes)
        broker.produce(PREDICTIONS, 0, made.run.encode(), encode(made, MSGPACK), cloud_event(made, MSGPACK))
    return broker, count, count * len(first)


def time_bare(broker: MemoryBroker, count: int) -> float:
    """Poll everything; copy the bytes, as a client does that takes them off a socket."""
    source, got = broker.source("bare", [PREDICTIONS]), 0
    started = time.perf_counter()
    while got < count:
        messages = source.poll(1.0, POLL)
        for message in messages:
            bytearray(message.value or b"")
        got += len(messages)
    seconds = time.perf_counter() - started
    source.close()
    return seconds


def time_worker(broker: MemoryBroker, count: int) -> float:
    """The whole worker, one turn of its loop after another."""
    telemetry = Telemetry()
    worker = Worker(broker, Fleet(telemetry), Policy(poll_records=POLL))
    with worker.connected() as loop:
        started = time.perf_counter()
        while telemetry.total("records") < count:
            worker.turn(loop)
        return time.perf_counter() - started


def time_per_run(broker: MemoryBroker, count: int, most: int = 200) -> float:
    """NumPy and scikit-learn, record by record; of many records the first are timed."""
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    records = list(islice(broker.read(Slot(PREDICTIONS, 0)), min(count, most)))
    started = time.perf_counter()
    for decoded in decode_all(records, Telemetry(), 0.0)[0]:
        predictions = decoded.record
        assert isinstance(predictions, Predictions)
        if predictions.kind == "summary":
            mean = np.asarray(predictions.mean)
            -(mean * np.log(mean + 1e-300)).sum()
            continue
        p, labels = matrix_of(predictions), np.array(predictions.labels)
        mean = p.mean(0)
        -(mean * np.log(mean + 1e-300)).sum()
        -(p * np.log(p + 1e-300)).sum(1).mean()
        for average in ("macro", "weighted"):
            precision_recall_fscore_support(labels, p.argmax(1), average=average, zero_division=0)
        if 0 < (labels != 0).sum() < len(labels):
            roc_auc_score(labels != 0, 1 - p[:, 0])
    return (time.perf_counter() - started) * count / len(records)


def measure(shapes: Sequence[tuple[int, int]], runs: Sequence[int], repeat: int) -> str:
    """The table as Markdown."""
    lines = [
        "| N x C | runs | bare loop MB/s | worker MB/s | worker rows/s | per-run code rows/s | worker against it |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for samples, classes in shapes:
        for number in runs:
            print(f"{samples} x {classes:,}, {number:,} runs ...", file=sys.stderr, flush=True)
            broker, count, size = publish(samples, classes, number)
            bare, worker, alone = (
                statistics.median(timed(broker, count) for _ in range(repeat))
                for timed in (time_bare, time_worker, time_per_run)
            )
            rows = count * samples
            lines.append(
                f"| {samples} x {classes:,} | {number:,} | {size / bare / 1e6:,.0f} | {size / worker / 1e6:,.1f} "
                f"| {rows / worker:,.0f} | {rows / alone:,.0f} | {alone / worker:.1f} x |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write it where it is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=list(RUNS))
    parser.add_argument("--shapes", nargs="+", default=[f"{n}x{c}" for n, c in SHAPES], help="such as 256x10")
    parser.add_argument("--repeat", type=int, default=3, help="how often; medians are told (default 3)")
    parser.add_argument("--write", action="store_true", help=f"keep the table in bench/results/{RESULTS.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # scikit-learn warns of classes without labels
    shapes = [tuple(int(part) for part in shape.split("x")) for shape in options.shapes]
    table = measure([(n, c) for n, c in shapes], options.runs, options.repeat)
    text = f"{machine()}.\n\nCommand: `python -m bench.predictions`; medians of {options.repeat}.\n\n{table}\n"
    print(text)
    if options.write:
        RESULTS.write_text(f"# Prediction records through the worker\n\n{text}")


if __name__ == "__main__":
    main()
