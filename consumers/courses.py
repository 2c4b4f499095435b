"""How far a job has come, and where it went back to a checkpoint.

A new session that begins at a step which its run has passed goes back. So does one that goes on below its own newest
step for `CONFIRM` steps in a row; fewer are late ones. The training phase leads: where it goes back, all phases do.
Each topic is followed for itself, since they are read at different speeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from losswatch.arrays import Bools, Ints
from losswatch.topics import STEPS

TRAIN: Final = "train"
"""The phase that others are compared with, and that leads them."""
CONFIRM: Final = 8
"""Steps in a row, each later than the one before, that tell a session which goes back from late records."""


class Restart(NamedTuple):
    """A job went back."""

    topic: str
    phase: str
    step: int
    """It and all later ones are taken back."""
    reached: int
    """The newest step before."""
    time: float
    """When the record was made that told it, Unix seconds."""
    phases: tuple[str, ...]
    """Those that go back."""
    leads: bool
    """Whether it is the whole run that went back, and not an evaluation alone."""


@dataclass(slots=True)
class Course:
    """How far the steps of one topic have come, by phase; of a session, or of all that say no session."""

    newest: dict[str, int] = field(default_factory=dict)
    back: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Where a phase goes on below its newest step: the first step there, the newest, and how many they are."""

    def turn(self, phase: str, steps: Ints) -> tuple[int, int] | None:
        """Whether the phase goes back: the place in ``steps`` at which that is clear, and the step it goes back to.

        >>> course = Course({"train": 700})
        >>> course.turn("train", np.arange(501, 505)), course.turn("train", np.arange(505, 512))
        (None, (3, 501))
        >>> course.turn("train", np.array([501, 502, 701, 503, 504, 505, 506, 507, 508]))
        """
        newest = self.newest[phase]
        first, last, count = self.back.pop(phase, (0, 0, 0))
        for place, step in enumerate(steps.tolist()):
            if step > newest:
                newest, count = step, 0
            elif step == newest or (count and step == last):
                continue
            elif count and step > last:
                last, count = step, count + 1
            else:
                first, last, count = step, step, 1
            if count == CONFIRM:
                return place, first
        if count:
            self.back[phase] = first, last, count
        return None

    def go_back(self, phases: tuple[str, ...], step: int) -> None:
        """Forget ``step`` and later ones."""
        for phase in phases:
            self.back.pop(phase, None)
            if phase in self.newest:
                self.newest[phase] = min(self.newest[phase], step - 1)

    def dump(self) -> list[Any]:
        """As plain values."""
        return [self.newest, self.back]

    @classmethod
    def load(cls, data: Any) -> Course:
        """From `dump`."""
        newest, back = data
        return cls(newest, {phase: (first, last, count) for phase, (first, last, count) in back.items()})


@dataclass(slots=True)
class History:
    """The course of a whole run in one topic."""

    course: Course = field(default_factory=Course)
    since: int = CONFIRM
    """Steps since it last went back: sessions that take turns do not take it back each time."""
    restarts: int = 0
    """How often the run as a whole went back."""
    last: Restart | None = None
    """The last time."""

    def follow(
        self, topic: str, phase: str, steps: Ints, time: float, own: Course | None, *, may_turn: bool
    ) -> tuple[Bools, Restart | None]:
        """Take the steps of a record: which of them count (the others came late), and whether the job went back first.

        ``own`` is the course of the record's session, None where it says none: no step is late then. ``may_turn``
        is false for records that came out of their order.
        """
        course = self.course if own is None else own
        before, mine = self.course.newest.get(phase), course.newest.get(phase)
        if mine is not None and phase not in course.back and steps[0] > mine and _rise(steps):
            course.newest[phase] = newest = int(steps[-1])
            self.course.newest[phase] = max(newest, self.course.newest.get(phase, newest))
            self.since += len(steps)
            return np.ones(len(steps), dtype=np.bool_), None
        back: int | None = None
        counts = np.ones(len(steps), dtype=np.bool_) if own is None else ordered(steps, mine)
        if mine is None:
            again = topic == STEPS  # an evaluation of the same step may come in parts, from several processes
            if before is not None and int(steps[0]) < before + again and self.since >= CONFIRM:
                back = int(steps[0])
        elif (
            may_turn
            and (phase in course.back or int(steps.min()) < mine)
            and (turned := course.turn(phase, steps)) is not None
        ):
            place, back = turned
            counts[: place + 1] = False
            mine = int(steps[place])
            counts[place + 1 :] = True if own is None else ordered(steps[place + 1 :], mine)
        restart = None if back is None or before is None else self._go_back(topic, phase, back, before, time, own)
        taken = steps[counts]
        self.since += len(taken)
        if len(taken):
            mine = int(taken[-1] if own is not None else taken.max())
        if mine is not None:
            course.newest[phase] = mine if own is not None else max(mine, course.newest.get(phase, mine))
            self.course.newest[phase] = max(mine, self.course.newest.get(phase, mine))
        return counts, restart

    def _go_back(self, topic: str, phase: str, step: int, reached: int, time: float, own: Course | None) -> Restart:
        newest = self.course.newest
        phases = tuple(name for name, at in newest.items() if at >= step) if phase == TRAIN else (phase,)
        restart = Restart(topic, phase, step, reached, time, phases, phase == TRAIN or TRAIN not in newest)
        self.course.go_back(phases, step)
        if own is not None:
            own.go_back(phases, step)
        self.since = 0
        if restart.leads:
            self.restarts, self.last = self.restarts + 1, restart
        return restart

    def dump(self) -> list[Any]:
        """As plain values."""
        return [self.course.dump(), self.since, self.restarts, self.last]

    @classmethod
    def load(cls, data: Any) -> History:
        """From `dump`."""
        course, since, restarts, last = data
        return cls(Course.load(course), since, restarts, last and Restart(*last)._replace(phases=tuple(last[-2])))


def _rise(steps: Ints) -> bool:
    return len(steps) == 1 or bool((steps[1:] > steps[:-1]).all())


def ordered(step: Ints, newest: int | None) -> Bools:
    """Which steps are later than all before them."""
    floor = np.iinfo(np.int64).min if newest is None else newest
    before = np.maximum.accumulate(np.concatenate([[floor], step[:-1]]))
    return step > before if newest is not None else np.concatenate([[True], step[1:] > before[1:]])
