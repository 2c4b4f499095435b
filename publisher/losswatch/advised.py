"""Advice as values: what was heard of it, what is taken up of it, and how a weight follows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from losswatch.schema import Finding

Mode = Literal["shadow", "follow", "off"]
"""Only say what would be done, do it, or do not even listen."""

SMALLEST_STEP: Final = 1e-3
"""How far a weight moves at least, as a part of its range: no factor moves one away from zero."""
MOST_KEPT: Final = 256
"""Most stops, and most weights, that are kept of one run."""
PAYLOAD_BYTES: Final = 8192
"""Size of the one message of `Advisor.sync`: it must be the same on every rank."""
NAME_CHARACTERS: Final = 500
"""Most of a finding's id that is sent to the other ranks."""


class Advised(NamedTuple):
    """A weight that a finding advises."""

    value: float
    expires: float
    """Unix seconds until which it may be taken up."""
    finding: str


class Heard(NamedTuple):
    """What the service advises now. Replaced as a whole, so that any thread may look at it."""

    stops: Mapping[str, float] = {}
    """Until when each stop may be taken up, by the finding that advises it."""
    weights: Mapping[str, Advised] = {}
    """The newest advice for each weight."""

    def after(self, finding: Finding, ttl: float) -> Heard:
        """The same with one more finding."""
        stops = {name: expires for name, expires in self.stops.items() if name != finding.id}
        weights = {name: advised for name, advised in self.weights.items() if advised.finding != finding.id}
        advice, expires = finding.advice, finding.time + ttl
        if finding.state == "firing" and advice is not None:
            if advice.action == "stop":
                stops[finding.id] = expires
            elif advice.component is not None and advice.value is not None and math.isfinite(advice.value):
                weights.pop(advice.component, None)
                weights[advice.component] = Advised(advice.value, expires, finding.id)
        return Heard(_newest(stops), _newest(weights))


class Taken(NamedTuple):
    """What the job goes by, the same on every rank."""

    follow: bool = False
    stop: str | None = None
    """A finding that says stop."""
    weights: Mapping[str, tuple[float, str]] = {}
    """The advised value of each weight, and the finding that advises it."""


class Decisions(NamedTuple):
    """What came of the advice so far."""

    mode: Mode
    stop: str | None
    """The finding on whose advice the job stops, or in shadow mode would."""
    weights: dict[str, float]
    """The weights given out, or in shadow mode those that would have been."""


def step_towards(reached: float, target: float, lo: float, hi: float, max_factor: float) -> float:
    """The next weight on the way from ``reached`` to ``target``, which is clamped to ``lo`` and ``hi``.

    >>> [round(step_towards(0.1, 0.5, 0.0, hi, 2.0), 3) for hi in (1.0, 0.15)]
    [0.2, 0.15]
    >>> step_towards(0.4, 0.0, 0.0, 1.0, 2.0)
    0.2
    >>> step_towards(0.0, 0.5, 0.0, 1.0, 2.0)
    0.001
    """
    size, smallest = abs(reached), SMALLEST_STEP * (hi - lo)
    outwards = max(size * (max_factor - 1.0), smallest)
    inwards = max(size * (1.0 - 1.0 / max_factor), smallest)
    up, down = (outwards, inwards) if reached >= 0 else (inwards, outwards)
    return min(max(min(max(target, lo), hi), reached - down), reached + up)


def _newest(kept: dict[str, Any]) -> dict[str, Any]:
    while len(kept) > MOST_KEPT:
        del kept[next(iter(kept))]
    return kept


def pack(taken: Taken) -> bytes:
    """At most `PAYLOAD_BYTES`; weights are left out where there are too many."""
    import json

    weights = [(name, (value, finding[:NAME_CHARACTERS])) for name, (value, finding) in taken.weights.items()]
    while True:
        body = json.dumps([taken.follow, taken.stop and taken.stop[:NAME_CHARACTERS], dict(weights)]).encode()
        if len(body) <= PAYLOAD_BYTES:
            return body
        weights.pop()


def unpack(body: bytes) -> Taken:
    """What `pack` packed."""
    import json

    follow, stop, weights = json.loads(body)
    return Taken(follow, stop, {name: (value, finding) for name, (value, finding) in weights.items()})
