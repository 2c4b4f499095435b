"""A sink for numbers by name, as most training loops log them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from losswatch.integrations.attachment import Attachment, harmless, is_scalar
from losswatch.notices import Notices
from losswatch.run import Run

if TYPE_CHECKING:
    from losswatch.fields import Measured

PHASES: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "dev"), "val"),
    "test": "test",
}
TOTALS: Final = frozenset({"loss", "total", "total_loss", "loss_total"})
_PHASE: Final = re.compile(rf"({'|'.join(PHASES)})[/_.](.+)")
_COMPONENT: Final = re.compile(r"loss(?:es)?[/.](.+)|(.+)[/_.]loss")


class Numbers(NamedTuple):
    """What was logged of one phase, in the arguments of `Run.log`."""

    total: list[Any]
    """At most one."""
    components: dict[str, Any]
    metrics: dict[str, Any]


def by_rule(values: Mapping[str, Any], phase: str = "train") -> dict[str, Numbers]:
    """Sort numbers by their names into phases, and there into the total, components and metrics.

    1. ``train``, ``training``; ``val``, ``valid``, ``validation``, ``eval``, ``dev``; or ``test`` before a
       ``/``, ``_`` or ``.`` is the phase; without one it is ``phase``.
    2. Of the rest, ``loss``, ``total``, ``total_loss`` and ``loss_total`` are the total.
    3. ``NAME_loss``, ``NAME/loss``, ``loss/NAME`` and ``losses/NAME`` are the component ``NAME``.
    4. Every other number is a metric. What is no number is left out; mappings in mappings are joined by ``/``.

    >>> by_rule({"loss": 0.5, "kl_loss": 0.1, "val/loss": 0.7, "val/accuracy": 0.9})["val"]
    Numbers(total=[0.7], components={}, metrics={'accuracy': 0.9})
    """
    out: dict[str, Numbers] = {}
    for name, value in _flat(values):
        found = _PHASE.fullmatch(name)
        where, rest = (PHASES[found[1]], found[2]) if found else (phase, name)
        numbers = out.setdefault(where, Numbers([], {}, {}))
        if rest in TOTALS:
            numbers.total[:] = [value]
        elif component := _COMPONENT.fullmatch(rest):
            numbers.components[component[1] or component[2]] = value
        else:
            numbers.metrics[rest] = value
    return out


def report(run: Run, step: int, numbers: Numbers, phase: str, measured: Measured = "step") -> None:
    """Log the numbers as one step of the run."""
    total = numbers.total[0] if numbers.total else None
    run.log(step, total, components=numbers.components, metrics=numbers.metrics, phase=phase, measured=measured)


class Logger:
    """Takes numbers by name and reports them by the rules of `by_rule`.

    Parameters
    ----------
    run
        A `Run`, or the name of one to be started (and finished with `finish`).
    phase
        The phase of names that do not say one.
    measured
        What the numbers are; see `Run.log`.
    declaration
        More arguments of `losswatch.start`.
    """

    def __init__(
        self, run: Run | str | None = None, *, phase: str = "train", measured: Measured = "step", **declaration: Any
    ) -> None:
        self._notices = Notices()
        self._attachment = Attachment(run, 0, declaration)
        self._phase, self._measured = phase, measured
        self._next_step = 0

    @harmless
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Report the numbers of a step; without ``step``, of the one after the last."""
        at = self._next_step if step is None else step
        for phase, numbers in by_rule(metrics, self._phase).items():
            report(self._attachment.run(), at, numbers, phase, self._measured)
        self._next_step = int(at) + 1

    @property
    def run(self) -> Run:
        """The run it reports to."""
        return self._attachment.run()

    def finish(self) -> None:
        """End the run, unless it was given."""
        self._attachment.finish()

    def __enter__(self) -> Logger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attachment.finish(error)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif is_scalar(value):
            yield f"{prefix}{name}", value
