"""What is found in several series of a run at one step, told as one finding.

Series that a record brings together are one group. Which of them is told first does not depend on the batch that the
record was in, and neither does when the finding is over: with the last of its series.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from consumers.findings import make_finding
from consumers.pools import Transition
from consumers.runs import Run, SeriesKey, Together
from detectors.streams import ROLES
from losswatch.schema import Finding


@dataclass(frozen=True, slots=True)
class Change:
    """The change of state of one series."""

    run: Run
    key: SeriesKey
    change: Transition
    time: float
    """When the record that brought it was made, Unix seconds."""
    order: int
    """Which record of the batch that was."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A change of state of a finding in several series."""

    lead: Change
    """Of the series that it is told by."""
    subject: str
    others: tuple[Change, ...]
    """The other series, where it begins; the most out of bounds first."""
    series: int
    """In how many series it was found."""

    def finding(self, thresholds: Mapping[str, float]) -> Finding:
        """In words."""
        return make_finding(
            self.lead.run,
            self.lead.key.phase,
            self.subject,
            self.lead.change,
            thresholds,
            self.lead.time,
            role=self.lead.key.role,
            others=[(other.key, other.change) for other in self.others],
            series=self.series,
        )


def together(changes: Iterable[Change]) -> Iterator[Whole]:
    """The changes of whole findings that the changes of single series amount to; runs remember what is not over."""
    for _, group in groupby(sorted(changes, key=_when), key=_when):
        alike = sorted(group, key=_rank)
        yield from _begun(alike) if alike[0].change.state == "firing" else _ended(alike)


def _when(each: Change) -> tuple[str, int, str, int, str, str]:
    change = each.change
    return each.run.run, each.order, each.key.phase, change.step, change.kind.name, change.state


def _rank(each: Change) -> tuple[float, int, str]:
    """The most out of bounds first; those as good as alike, which rounding must not tell apart, by what they are."""
    reading = each.change.readings[each.change.kind.together or each.change.kind.value]
    return -float(f"{reading:.3g}"), ROLES.index(each.key.role), each.key.label


def _begun(alike: list[Change]) -> Iterator[Whole]:
    lead, *others = alike
    kind, phase = lead.change.kind.name, lead.key.phase
    whole = Together(kind, phase, lead.key.label, lead.change.began, len(alike))
    lead.run.together |= {(kind, each.key): whole for each in alike}
    yield Whole(lead, whole.lead, tuple(others), whole.series)


def _ended(alike: list[Change]) -> Iterator[Whole]:
    left = alike[0].run.together
    over: dict[Together, list[Change]] = {}
    for each in alike:
        kind, phase = each.change.kind.name, each.key.phase
        alone = Together(kind, phase, each.key.label, each.change.began, 1)
        over.setdefault(left.pop((kind, each.key), alone), []).append(each)
    for whole, last in over.items():
        if whole not in left.values():
            lead = next((each for each in last if each.key.label == whole.lead), last[0])
            yield Whole(lead, whole.lead, (), whole.series)
