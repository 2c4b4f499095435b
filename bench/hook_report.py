"""The page that `bench.hook` writes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import statistics
from typing import Final

from bench.machine import machine

STEPS_MS: Final = (0.2, 1.0)

Measured = dict[tuple[str, ...], list[dict[str, float]]]


def tables(measured: Measured) -> str:
    """The results as Markdown."""
    peers = list(dict.fromkeys(item[1] for item in measured))
    lines = ["## Per call, back to back (microseconds)", "", "| peer | median | 99th percentile |", "|---|---:|---:|"]
    for peer in peers:
        found = measured.get(("calls", peer), [])
        lines.append(f"| {peer} | {_spread(found, 'p50', 2)} | {_spread(found, 'p99', 1)} |")
    for ms in STEPS_MS:
        lines += ["", f"## In the loop, steps of {ms} ms (microseconds per step)", ""]
        lines += ["| peer | more, median | of a step | CPU of other threads |"]
        lines += ["|---|---:|---:|---:|"]
        for peer in peers:
            found = measured.get(("in_loop", peer, f"{ms}"), [])
            if found:
                lines.append(f"| {peer} | {_more(found)} | {_spread(found, 'others', 1, 1000.0)} |")
    lines += ["", "## Whole turns, means (microseconds more per step)", ""]
    lines += [f"| peer | {' | '.join(f'{ms} ms steps | of a step' for ms in STEPS_MS)} |", "|---|---:|---:|---:|---:|"]
    for peer in peers:
        cells = [_more(measured.get(("whole", peer, f"{ms}"), [])) for ms in STEPS_MS]
        if any(cell != ABSENT for cell in cells):
            lines.append(f"| {peer} | {' | '.join(cells)} |")
    for kind, title in (("stopped", "that is stopped (SIGSTOP)"), ("refused", "that refuses connections")):
        lines += ["", f"## A broker {title}, steps of 1 ms (microseconds per step)", ""]
        lines += ["| peer | more, median | of a step | CPU of other threads |", "|---|---:|---:|---:|"]
        for peer in peers:
            if found := measured.get((kind, peer, "1.0"), []):
                lines.append(f"| {peer} | {_more(found)} | {_spread(found, 'others', 1, 1000.0)} |")
    return "\n".join(lines)


def targets(measured: Measured) -> str:
    """What the hook is to reach, and whether it did."""

    def middle(item: tuple[str, ...], name: str) -> float:
        return statistics.median(each[name] for each in measured[item])

    def share(item: tuple[str, ...]) -> float:
        return statistics.median(each["more"] / each["step"] for each in measured[item])

    def ours(kind: str, ms: str) -> str:
        item = (kind, "losswatch", ms)
        return f"{1000 * middle(item, 'more'):.1f} µs, {share(item):.1%}"

    def silent(kind: str) -> bool:
        """Whether the hook's effect on slow steps is no larger than what is seen without a hook."""
        nothing = max(abs(each["more"]) for each in measured[kind, "no hook", "1.0"])
        return middle((kind, "losswatch", "1.0"), "more") <= nothing

    def factor(kind: str) -> float:
        return middle((kind, "wandb offline", "0.2"), "more") / middle((kind, "losswatch", "0.2"), "more")

    p50, p99 = (middle(("calls", "losswatch"), name) for name in ("p50", "p99"))
    stopped = share(("stopped", "losswatch", "1.0"))
    rows = [
        ("a call, median", "1 µs", f"{p50:.2f} µs", p50 <= 1),
        ("a call, 99th percentile", "10 µs", f"{p99:.1f} µs", p99 <= 10),
        ("steps of 1 ms while the broker is stopped", "3 %", f"{stopped:+.1%}", stopped <= 0.03),
    ]
    for kind, what in (("in_loop", "the step that logs"), ("whole", "whole turns")):
        rows += [
            (f"steps of 0.2 ms, {what}", "1 %", ours(kind, "0.2"), share((kind, "losswatch", "0.2")) <= 0.01),
            (f"steps of 1 ms, {what}", "as without a hook", ours(kind, "1.0"), silent(kind)),
            (f"cheaper than wandb offline, {what}", "100 times", f"{factor(kind):.0f} times", factor(kind) >= 100),
        ]
    lines = ["## Targets", "", "| | at most, or at least | measured | |", "|---|---:|---:|---|"]
    return "\n".join([*lines, *(f"| {a} | {b} | {c} | {'reached' if ok else 'missed'} |" for a, b, c, ok in rows)])


ABSENT: Final = "- | -"


def _spread(found: list[dict[str, float]], name: str, digits: int, factor: float = 1.0) -> str:
    """Median, and smallest and largest where there are several, over the rounds."""
    if not found:
        return "-"
    values = sorted(factor * each[name] for each in found)
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ({values[0]:,.{digits}f} to {values[-1]:,.{digits}f})"


def _more(found: list[dict[str, float]]) -> str:
    if not found:
        return ABSENT
    share = statistics.median(each["more"] / each["step"] for each in found)
    return f"{_spread(found, 'more', 1, 1000.0)} | {share:+.1%}"


def report(measured: Measured, rounds: int, load: list[float]) -> str:
    """The whole page."""
    parts = [
        "# The hook against its peers",
        _machine(load),
        f"Command: `python -m bench.hook --rounds {rounds} --write`. Medians of {rounds} rounds, with the least and the"
        " greatest in brackets, or what one round said.",
        tables(measured),
        NOTES,
    ]
    if set(NEEDED) <= {item[1] for item in measured if measured[item]}:
        parts.insert(3, targets(measured))
    return "\n\n".join(parts) + "\n"


NOTES: Final = """## Notes

- In the loop a step that logs is held against one that calls an empty function. A call costs more there than back to
  back, as the step before has emptied the caches.
- What a peer's threads take from the loop slows both kinds of steps. It is in the whole turns, and in the CPU time of
  other threads.
- What `no hook` shows is the noise of the measurement: "as without a hook" means no further from nothing than it."""

NEEDED: Final = ("no hook", "losswatch", "wandb offline")
"""Peers that the targets speak of."""


def _machine(load: list[float]) -> str:
    versions = []
    for name in ("torch", "kafka-python", "prometheus-client", "tensorboard", "wandb", "mlflow-skinny"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    return f"{machine()}; {', '.join(versions)}. Load average {load[0]:.1f} before and {load[1]:.1f} after."
