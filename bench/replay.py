"""How fast are logs replayed, and how much memory does it take?

Writes logs of noisy falling losses - one long one, as CSV and as losswatch's own records, and many short ones -
into a temporary folder and runs ``losswatch replay`` over them: a process of its own, pinned to one core, with
start-up.

    python -m bench.replay --write            # bench/results/replay.md, about 10 minutes
    python -m bench.replay --steps 100000 --files 30 --repeat 1
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from bench.machine import machine
from losswatch.arrays import Floats
from losswatch.encoding import encode
from losswatch.schema import Steps

STEPS: Final = 1_000_000
SHORTER: Final = 10
"""The same log is measured with so many times fewer steps: memory must not grow with the file."""
FILES: Final = 300
FILE_STEPS: Final = 300
COMPONENTS: Final = 6
BLOCK: Final = 64
LIMIT: Final = 60.0
"""Seconds that the long log, and the many short ones, may take."""
ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = Path(__file__).parent / "results" / "replay.md"


@dataclass(frozen=True, slots=True)
class Case:
    """Files to replay together."""

    name: str
    steps: int
    paths: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(path.stat().st_size for path in self.paths)


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians: seconds by the clock and of CPU, and the most memory in bytes."""

    wall: float
    cpu: float
    peak: float


def losses(steps: int, seed: int) -> Iterator[tuple[int, Floats]]:
    """Blocks of the first step and the components (K, T)."""
    noise = np.random.default_rng(seed)
    for first in range(0, steps, BLOCK):
        step = np.arange(first, min(first + BLOCK, steps))
        yield first, (1 + 4 * np.exp(-step / (steps / 4))) * noise.lognormal(0, 0.1, (COMPONENTS, len(step)))


def write_csv(path: Path, steps: int, seed: int = 0) -> Path:
    """A log as most jobs write it."""
    names = [f"loss_{k}" for k in range(COMPONENTS)]
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(["step", "loss", *names]) + "\n")
        for first, values in losses(steps, seed):
            for offset, row in enumerate(values.T):
                file.write(f"{first + offset},{row.sum():.6g}," + ",".join(f"{value:.6g}" for value in row) + "\n")
    return path


def write_records(path: Path, steps: int, seed: int = 0) -> Path:
    """A log of the wire's records."""
    with path.open("wb") as file:
        for seq, (first, values) in enumerate(losses(steps, seed)):
            record = Steps(
                run=path.stem,
                session="bench",
                seq=seq,
                time=float(first),
                step=np.arange(first, first + values.shape[1]),
                total=values.sum(0),
                components={f"loss_{k}": row for k, row in enumerate(values)},
            )
            file.write(encode(record) + b"\n")
    return path


def cases(folder: Path, steps: int, files: int) -> list[Case]:
    """The logs, written."""
    few = steps // SHORTER
    return [
        Case("one log, records", steps, (write_records(folder / "long.jsonl", steps),)),
        Case("one log, CSV", steps, (write_csv(folder / "long.csv", steps),)),
        Case("one log, records", few, (write_records(folder / "short.jsonl", few),)),
        Case("one log, CSV", few, (write_csv(folder / "short.csv", few),)),
        Case(
            f"{files} logs, CSV",
            files * FILE_STEPS,
            tuple(write_csv(folder / f"{number:04}.csv", FILE_STEPS, number) for number in range(files)),
        ),
    ]


def measure(case: Case, repeat: int, *options: str) -> Measured:
    """Replay a case so many times."""
    runs = [_once(case, options) for _ in range(repeat)]
    return Measured(*(statistics.median(each[name] for each in runs) for name in ("wall", "cpu", "peak")))


def _once(case: Case, options: tuple[str, ...]) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.replay", "--one", *options, *map(str, case.paths)]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def one(arguments: list[str]) -> None:
    """Replay here, as the command does, and print what it took."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    started = time.perf_counter() - _age()
    from service.cli import app

    app(["replay", *arguments], standalone_mode=False)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    wall, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": usage.ru_maxrss * 1024}))


def _age() -> float:
    """Seconds since this process began."""
    began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - began


def table(measured: list[tuple[Case, Measured]]) -> str:
    """The results as Markdown."""
    lines = ["| what | steps | size | time | CPU | steps/s | peak memory |", "|---|---:|---:|---:|---:|---:|---:|"]
    for case, m in measured:
        lines.append(
            f"| {case.name} | {case.steps:,} | {case.bytes / 1e6:,.0f} MB | {m.wall:,.1f} s | {m.cpu:,.1f} s "
            f"| {case.steps / m.wall:,.0f} | {m.peak / 1e6:,.0f} MB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write it where it is kept."""
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the long log")
    parser.add_argument("--files", type=int, default=FILES, help="how many short logs")
    parser.add_argument("--repeat", type=int, default=3, help="replays of each, of which the median is told")
    parser.add_argument("--write", action="store_true", help=f"keep the table in bench/results/{RESULTS.name}")
    options = parser.parse_args()
    measured: list[tuple[Case, Measured]] = []
    with TemporaryDirectory(prefix="losswatch-bench-") as folder:
        for case in cases(Path(folder), options.steps, options.files):
            print(f"{case.name}, {case.steps:,} steps ...", file=sys.stderr, flush=True)
            measured.append((case, measure(case, options.repeat)))
        text = (
            f"{machine()}, torch on one thread, pinned to one core.\n\n"
            f"Command: `python -m bench.replay`. Each log has a total and {COMPONENTS} components; the short ones "
            f"{FILE_STEPS} steps each. Times include the start of Python and torch; medians of {options.repeat}. "
            f"The target is {LIMIT:.0f} s for {STEPS:,} steps in one log, and for {FILES} short logs.\n\n"
            f"{table(measured)}\n"
        )
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"# Replay\n\n{text}")


if __name__ == "__main__":
    main()
