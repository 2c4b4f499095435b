"""What does a training loop lose to the hook, and to what people use instead?

Every measurement is a process of its own with a torch loop on one thread. `bench.peers` has the peers;
each logs five scalars per step.

- calls: 20,000 calls back to back; median and 99th percentile.
- in the loop: steps that log and steps that call an empty function instead, in random order, in the same process; the
  difference of their medians. What a peer's threads do slows both kinds of steps, so the CPU time that they take is
  told beside it.
- whole turns: seconds with the peer at work against the seconds before and after without it, means. This has everything
  in it, what the peer's threads take from the loop too, and the most noise.
- broken broker: the broker is stopped (SIGSTOP) or refuses connections; steps during that against steps while
  there is no peer, in turns of seconds.

What the targets speak of is measured in every round, the rest in the first.

    python -m bench.hook --rounds 3 --write    # the tables of bench/results/hook.md, about 11 minutes
    python -m bench.hook --rounds 1
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.hook_report import STEPS_MS, Measured, report
from bench.peers import PEERS, SLOW, Log
from tests.brokers import Tansu, free_port, start_tansu

RESULTS: Final = Path(__file__).parent / "results" / "hook.md"
CALLS, SLOW_CALLS = 20_000, 500
LOOP_SECONDS, SLOW_STEPS = 3.0, 300
WHOLE_SECONDS, WHOLE_TURNS = 2.0, 2
OUTAGE_SECONDS, OUTAGE_TURNS = 6.0, 1
REPEATED: Final = ("no hook", "losswatch")
"""Peers whose measurements are in every round."""
REPEATED_TOO: Final = (("in_loop", "wandb offline", "0.2"), ("whole", "wandb offline", "0.2"))
_TOLD: Final = ("no hook", "losswatch", "wandb offline")
WHOLE: Final = {0.2: (*_TOLD, "kafka-python, linger 50 ms", "TensorBoard (torch)"), 1.0: _TOLD}
"""Peers that whole turns are measured of, by the step's milliseconds: they take long, and need a quiet machine."""
SETTLE_SECONDS: Final = 1.2
TOPICS: Final = ("losswatch.steps", "losswatch.predictions", "losswatch.findings", "bench")
VALUES: Final = (0.3127, 0.25, 0.5, 0.125, 0.0625)


class Loop:
    """A small torch training loop whose step takes about ``milliseconds``."""

    def __init__(self, milliseconds: float) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(1)
        torch.manual_seed(0)
        width = 64
        self._model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=1e-3)
        self._loss = nn.CrossEntropyLoss()
        self._step = 0
        few, many = (self._typical(rows, width) for rows in (16, 512))
        rows = 16 + round((milliseconds / 1000 - few) / (many - few) * (512 - 16))
        self._batch(max(1, rows), width)

    def _batch(self, rows: int, width: int) -> None:
        import torch

        self._x, self._y = torch.randn(rows, width), torch.randint(0, 10, (rows,))

    def _typical(self, rows: int, width: int) -> float:
        self._batch(rows, width)
        self.run(100, None)
        return statistics.median(self.run(1, None) for _ in range(500))

    def run(self, steps: int, log: Log | None) -> float:
        """Seconds per step of that many steps."""
        began = time.perf_counter()
        for step in range(self._step, self._step + steps):
            self._optimizer.zero_grad()
            loss = self._loss(self._model(self._x), self._y)
            loss.backward()
            self._optimizer.step()
            total = loss.item()
            if log is not None:
                log(step, total, *VALUES[1:])
        seconds = time.perf_counter() - began
        self._step += steps
        return seconds / steps

    def phase(self, seconds: float, log: Log | None) -> list[float]:
        """Seconds of each of as many steps as fit."""
        ends, took = time.perf_counter() + seconds, []
        while time.perf_counter() < ends:
            took.append(self.run(1, log))
        return took


def calls(peer: str, broker: str, folder: Path) -> dict[str, float]:
    """Microseconds per call, back to back."""
    taken = []
    clock = time.perf_counter_ns
    with PEERS[peer](broker, folder) as log:
        for step in range(100):
            log(step, *VALUES)
        for step in range(100, 100 + (SLOW_CALLS if peer in SLOW else CALLS)):
            began = clock()
            log(step, *VALUES)
            taken.append(clock() - began)
    ordered = sorted(taken)
    return {"p50": ordered[len(ordered) // 2] / 1000, "p99": ordered[len(ordered) * 99 // 100] / 1000}


def in_loop(peer: str, broker: str, folder: Path, milliseconds: float) -> dict[str, float]:
    """Milliseconds of a step that calls an empty function, how many more if it logs, and of CPU in other threads."""
    loop = Loop(milliseconds)
    steps = SLOW_STEPS if peer in SLOW else round(LOOP_SECONDS * 1000 / milliseconds)
    arms = [False, True] * (steps // 2)
    random.Random(0).shuffle(arms)
    took: dict[bool, list[float]] = {False: [], True: []}
    with PEERS[peer](broker, folder) as log:
        _settle(loop, log)
        others = -_others()
        for logged in arms:
            took[logged].append(loop.run(1, log if logged else _no_log))
        others += _others()
    bare, more = (statistics.median(took[logged]) for logged in (False, True))
    return {
        "step": 1000 * bare,
        "more": 1000 * (more - bare),
        "others": 1000 * others / len(took[True]),
    }


def whole(peer: str, broker: str, folder: Path, milliseconds: float) -> dict[str, float]:
    """Milliseconds of a step, mean, while there is no peer, and how many more with one: turns of seconds.

    Each turn with the peer is held against the turns before and after it, so that a machine that gets slower or faster
    does not count.
    """
    loop = Loop(milliseconds)
    bare, logged = [statistics.fmean(loop.phase(WHOLE_SECONDS, None))], []
    for _ in range(WHOLE_TURNS):
        with PEERS[peer](broker, folder) as log:
            loop.phase(SETTLE_SECONDS, log)
            logged.append(statistics.fmean(loop.phase(WHOLE_SECONDS, log)))
        bare.append(statistics.fmean(loop.phase(WHOLE_SECONDS, None)))
    more = [each - (before + after) / 2 for each, before, after in zip(logged, bare, bare[1:], strict=False)]
    return {"step": 1000 * statistics.median(bare), "more": 1000 * statistics.fmean(more)}


def outage(peer: str, kind: str, folder: Path, milliseconds: float) -> dict[str, float]:
    """Milliseconds of a step while there is no peer, and how many more while its broker is broken.

    The two take turns every few seconds, each turn with a peer of its own. A broker is stopped once the peer has
    connected to it; one that refuses is not there at all.
    """
    logging.disable(logging.CRITICAL)
    loop = Loop(milliseconds)
    bare, broken, others = [], [], []
    for _ in range(OUTAGE_TURNS):
        bare += loop.phase(OUTAGE_SECONDS, None)
        with contextlib.ExitStack() as stack:
            tansu = stack.enter_context(_broker()) if kind == "stopped" else None
            log = stack.enter_context(PEERS[peer](tansu.address if tansu else f"127.0.0.1:{free_port()}", folder))
            _settle(loop, log)
            if tansu:
                tansu.pause()
            before = _others()
            steps = loop.phase(OUTAGE_SECONDS, log)
            others.append((_others() - before) / len(steps))
            broken += steps
            if tansu:
                tansu.resume()
    step, more = statistics.median(bare), statistics.median(broken)
    return {"step": 1000 * step, "more": 1000 * (more - step), "others": 1000 * statistics.median(others)}


def _no_log(step: int, total: float, a: float, b: float, c: float, d: float) -> None:
    """What is called in place of a peer: the call is the benchmark's, not the peer's."""


def _settle(loop: Loop, log: Log) -> None:
    """Let what a peer does once be over: imports, connections, tables."""
    loop.run(100, log)
    time.sleep(SETTLE_SECONDS)


def _others() -> float:
    """CPU seconds of this process's other threads."""
    return time.process_time() - time.thread_time()


@contextlib.contextmanager
def _broker() -> Iterator[Tansu]:
    from kafka import KafkaAdminClient

    with start_tansu() as tansu:
        with KafkaAdminClient(bootstrap_servers=tansu.address) as admin:
            admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1} for name in TOPICS})
        yield tansu


KINDS: Final[dict[str, Callable[..., dict[str, float]]]] = {"calls": calls, "in_loop": in_loop, "whole": whole}


def measure(kind: str, peer: str, *rest: str) -> dict[str, float] | None:
    """One measurement in a process of its own; None where the peer is not installed."""
    command = [sys.executable, "-m", "bench.hook", "--child", kind, peer, *rest]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if "ModuleNotFoundError" in done.stderr and done.returncode:
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(kind: str, peer: str, *rest: str) -> dict[str, float]:
    """What `measure` runs."""
    with TemporaryDirectory() as folder:
        if kind in {"stopped", "refused"}:
            return outage(peer, kind, Path(folder), float(rest[0]))
        with _broker() as tansu:
            return KINDS[kind](peer, tansu.address, Path(folder), *map(float, rest))


def everything(rounds: int, chosen: list[str]) -> Measured:
    """All measurements, those of the targets ``rounds`` times over, so that they meet the machine at several times."""
    plan: list[tuple[str, ...]] = [("calls", peer) for peer in chosen]
    plan += [("in_loop", peer, f"{ms}") for ms in STEPS_MS for peer in chosen if ms < 1 or peer not in SLOW]
    plan += [("whole", peer, f"{ms}") for ms in STEPS_MS for peer in chosen if peer in WHOLE[ms]]
    plan += [("stopped", peer, "1.0") for peer in chosen if peer in ("losswatch", "kafka-python")]
    plan += [("refused", peer, "1.0") for peer in chosen if peer == "losswatch"]
    measured: Measured = {item: [] for item in plan}
    for number in range(rounds):
        for item in plan if number == 0 else filter(_repeated, plan):
            began = time.monotonic()
            found = measure(*item)
            print(f"{number + 1}/{rounds} {item} {found} {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if found:
                measured[item].append(found)
    return measured


def _repeated(item: tuple[str, ...]) -> bool:
    return (item[1] in REPEATED and item[0] != "refused") or item in REPEATED_TOO


def main() -> None:
    """Measure, print the tables, and write them where they are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often what the targets speak of; medians are told (default 3)"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="which (default: all)")
    parser.add_argument("--write", action="store_true", help=f"keep the tables in bench/results/{RESULTS.name}")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(*options.child)))
        return
    load = [os.getloadavg()[0]]
    measured = everything(options.rounds, options.peers)
    load.append(os.getloadavg()[0])
    text = report(measured, options.rounds, load)
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
