"""A job gone silent, judged by the clock against its own pace.

It is no cell: a job that reports nothing makes no steps. ``pace`` is the longest recent time between two reports of a
run, in seconds; it shrinks by 2 % with each report.

>>> pace = 0.0
>>> for gap in (1.0, 30.0, 1.0):  # a validation took half a minute
...     pace = paced(pace, gap, longest=300.0)
>>> round(pace, 1), limit(pace, least=300.0, factor=5.0), limit(120.0, least=300.0, factor=5.0)
(29.4, 300.0, 600.0)
"""

from __future__ import annotations

from typing import Final

from detectors.kinds import Facts, Kind, Threshold

SHRINKS: Final = 0.98
REPORTS: Final = 4
"""Reports until the pace is known."""
LEAST = Threshold("stalled_seconds", 300.0, "Silence in seconds that is never called a stall.")
FACTOR = Threshold("stalled_pace_factor", 5.0, "Silence, in longest recent times between reports, that is a stall.")


def paced(pace: float, gap: float, longest: float) -> float:
    """The pace after one more report; a stall itself, longer than ``longest``, does not become the new pace."""
    return max(min(gap, longest), SHRINKS * pace)


def limit(pace: float, least: float, factor: float) -> float:
    """Seconds of silence from which on the run has stalled."""
    return max(least, factor * pace)


def _describe(facts: Facts) -> str:
    if facts.state == "resolved":
        return f"The run reports again ({facts.phase}), or has ended."
    return (
        f"The run has reported nothing for {facts.readings['silent_seconds']:.0f} s since step {facts.step} "
        f"({facts.phase}), far longer than it ever took, and did not say that it ended. Look whether its process "
        "hangs: a deadlock, a lost worker, a data source that does not answer."
    )


STALLED: Final = Kind(
    "stalled",
    "warning",
    value="silent_seconds",
    threshold=LEAST.name,
    confirm=1,
    release=1,
    describe=_describe,
)
