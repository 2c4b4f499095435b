"""Whether the totals of two logs may be compared at all, and where they part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from detectors.aggregation.formulas import words_of
from losswatch.schema import Objective, Steps
from service.page import words
from service.replay.engine import RunResult
from service.replay.sources import Log

SAME: Final = 1e-6
"""Relative difference up to which two totals are the same number, printed twice."""
SCALE: Final = 0.05
"""Relative difference of two constant factors that makes two formulas of one."""
TAU: Final = 10.0
"""Steps over which levels and noise are averaged."""
APART: Final = 3.0
"""So many times the noise of both between their levels is apart ..."""
LASTING: Final = 10
"""... where it lasts for so many common steps."""
FITTED: Final = 1024 | 2048
"""Codes of formulas whose weights were fitted: two of them may be different ones."""

Answer = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Comparable:
    """Whether two totals of a phase are made alike, and the reason in words."""

    answer: Answer
    why: str


@dataclass(frozen=True, slots=True)
class Parting:
    """How two series of totals went; steps of both, in common. None where it never happened."""

    common: int
    differ: int | None
    """First step at which the numbers differ."""
    part: int | None
    """Step from which their levels are apart by more than their noise, for some time."""
    together: bool
    """Whether they were not apart at the end."""
    ends: tuple[float, float]
    """Their levels at the end."""


def comparable(one: RunResult, two: RunResult, phase: str) -> Comparable:
    """Whether the totals of a phase may be compared: by what the jobs declare, else by what the audit found."""
    names, others = (set(each.components.get(phase, ())) for each in (one, two))
    if names != others:
        missing = [f"{', '.join(sorted(gap))} only in {whose}" for gap, whose in
                   ((names - others, one.run), (others - names, two.run)) if gap]  # fmt: skip
        return Comparable("no", f"they are made of different components: {'; '.join(missing)}")
    declared = [each.declared.objective.get(phase) if each.declared else None for each in (one, two)]
    if declared[0] and declared[1]:
        if declared[0] == declared[1]:
            return Comparable("yes", f"both declare {_declared(declared[0])}")
        return Comparable("no", f"one declares {_declared(declared[0])}, the other {_declared(declared[1])}")
    codes = [_code(each, phase) for each in (one, two)]
    if not all(codes):
        return Comparable("unknown", "neither a declaration nor the numbers say how both totals are made")
    common = codes[0] & codes[1]
    if not common:
        return Comparable("no", f"one is {words_of(codes[0])}, the other {words_of(codes[1])}")
    scales = [each.readings[phase].get("total_scale", 1.0) for each in (one, two)]
    if not math.isclose(*scales, rel_tol=SCALE):
        told = f"{words.number(scales[0])} times and {words.number(scales[1])} times {words_of(common)}"
        return Comparable("no", f"they are {told}")
    if not common & ~FITTED:
        return Comparable("unknown", "their weights are not declared and were fitted, to each log by itself")
    return Comparable("yes", f"the numbers of both fit {words_of(common & ~FITTED)}")


def parting(one: Iterator[tuple[int, float]], two: Iterator[tuple[int, float]]) -> Parting:
    """Follow two series of steps and totals, both with rising steps.

    >>> a = [(step, 1.0 + 0.01 * (step % 2)) for step in range(100)]
    >>> b = [(step, total + (step > 60)) for step, total in a]
    >>> found = parting(iter(a), iter(b))
    >>> found.differ, found.part, found.together
    (61, 61, False)
    """
    levels, noise = [math.nan, math.nan], [0.0, 0.0]
    before = [math.nan, math.nan]
    keep = math.exp(-1 / TAU)
    count, lasted = 0, 0
    differ: int | None = None
    part: int | None = None
    onset = 0
    for step, pair in _common(one, two):
        count += 1
        if differ is None and not math.isclose(*pair, rel_tol=SAME):
            differ = step
        for k, value in enumerate(pair):
            jump = abs(value - before[k]) if count > 1 else 0.0
            noise[k] = keep * noise[k] + (1 - keep) * min(jump, 10 * noise[k] if noise[k] else jump)
            levels[k] = value if count == 1 else keep * levels[k] + (1 - keep) * value
            before[k] = value
        gap = abs(levels[0] - levels[1])
        apart = differ is not None and gap > max(APART * (noise[0] + noise[1]) / 2, SAME * max(map(abs, levels)))
        if apart and not lasted:
            onset = step
        lasted = lasted + 1 if apart else 0
        if lasted == LASTING and part is None:
            part = onset
    return Parting(count, differ, part, lasted < LASTING, (levels[0], levels[1]))


def totals(log: Log, run: str, phase: str) -> Iterator[tuple[int, float]]:
    """Steps and finite totals of a phase of one of a log's runs, as far as the steps rise."""
    newest = -1
    for record in log.records():
        if isinstance(record, Steps) and (record.run, record.phase) == (run, phase) and record.total is not None:
            for step, total in zip(record.step.tolist(), record.total.tolist(), strict=True):
                if step > newest and math.isfinite(total):
                    newest = step
                    yield step, total


def told(one: RunResult, two: RunResult, phase: str, found: Parting) -> Sequence[str]:
    """The comparison of a phase in sentences."""
    alike = comparable(one, two, phase)
    may = {"yes": "may be compared", "no": "must not be compared", "unknown": "may or may not be comparable"}
    lines = [f"The {phase} totals {may[alike.answer]}: {alike.why}."]
    if not found.common:
        return [*lines, "They have no step in common, so that nothing says where they part."]
    steps = f"{words.number(found.common)} steps in common"
    if found.differ is None:
        return [*lines, f"They are the same at all {steps}."]
    lines.append(f"Of {steps}, the first at which they differ is {words.number(found.differ)}.")
    if found.part is None:
        lines.append("They never part by more than their noise.")
    else:
        end = "they are together again at the end" if found.together else _end(found)
        lines.append(f"They part by more than their noise at step {words.number(found.part)}; {end}.")
    return lines


def _end(found: Parting) -> str:
    one, two = found.ends
    return f"at the end the first stands at {words.number(one)}, the second at {words.number(two)}"


def _common(
    one: Iterator[tuple[int, float]], two: Iterator[tuple[int, float]]
) -> Iterator[tuple[int, tuple[float, float]]]:
    """The steps that both have."""
    left, right = next(one, None), next(two, None)
    while left is not None and right is not None:
        if left[0] == right[0]:
            yield left[0], (left[1], right[1])
            left, right = next(one, None), next(two, None)
        elif left[0] < right[0]:
            left = next(one, None)
        else:
            right = next(two, None)


def _code(result: RunResult, phase: str) -> int:
    """Of the formulas that explain a total; 0 where none is known."""
    code = result.readings.get(phase, {}).get("total_form", 0.0)
    return int(code) if code > 0 else 0


def _declared(objective: Objective) -> str:
    weights = ", ".join(f"{name} {words.number(weight)}" for name, weight in objective.weights.items())
    scale = f", times {words.number(objective.scale)}" if objective.scale != 1 else ""
    return objective.form.replace("_", " ") + (f" ({weights})" if weights else "") + scale
