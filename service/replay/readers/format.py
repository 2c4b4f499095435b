"""What a format is: how it is told from others, how it is read, what its numbers are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service.replay.columns import Columns
from service.replay.head import Head
from service.replay.notes import Notes
from service.replay.scheme import Scheme
from service.replay.steps import Stepper
from service.replay.weights import Weights


@dataclass(frozen=True, slots=True)
class Format:
    """A format of logs that have rows and columns."""

    name: str
    """What `--format` calls it."""
    title: str
    """What people call it."""
    detect: Callable[[Head], bool]
    """Whether a file that begins so is one."""
    read: Callable[[Path, Head, Notes], Iterator[Columns]]
    """Its rows in the order of the file, memory bounded. Raises Unreadable."""
    scheme: Scheme = field(default_factory=Scheme)
    anything: bool = False
    """Whether any file of numbers may be one, so that a name has to tell that it is a log."""
    weighed: Callable[[Scheme, Columns, Weights], tuple[Scheme, str]] | None = None
    """The scheme where the weights of the losses are known, given the first rows, and a sentence about them; None: logs
    of this format do not come with them."""
    stepper: Callable[[Columns], Stepper] | None = None
    """How its rows get their steps, given the first of them; None: from the step column that the rules find."""
