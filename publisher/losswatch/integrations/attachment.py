"""What the adapters share: which rank publishes, when the run begins and ends, and that nothing is raised."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast

from losswatch.notices import Notices, line_of
from losswatch.run import Run
from losswatch.settings import Settings
from losswatch.starting import start

Ranks = int | Literal["all"]
"""The rank that publishes (negative: counted from the last one), or all, each as a run of its own."""
Kind = Literal["probabilities", "logits", "classes"]
"""What an array of predictions holds."""


Method = TypeVar("Method", bound=Callable[..., Any])


def harmless(method: Method) -> Method:
    """Keep the method's exceptions from the framework: the first is logged by the object's ``_notices``.

    The method then returns None.
    """

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            message = "%s.%s failed, the job is not affected: %s"
            where = (type(self).__name__, method.__name__)
            self._notices.once(method.__name__, message, *where, line_of(error))
            return None

    return cast(Method, guarded)


class Attachment:
    """The run of an adapter.

    Parameters
    ----------
    run
        A run's name, or None, to have it started at the first use and finished with `finish`; or a
        `Run`, which stays its owner's to finish.
    ranks
        Who publishes; the other ranks have a silent run.
    declaration
        More arguments of `losswatch.start`.
    """

    def __init__(self, run: Run | str | None, ranks: Ranks, declaration: Mapping[str, Any]) -> None:
        self._given = run
        self._ranks = ranks
        self._declaration = declaration
        self._run: Run | None = None

    def run(self, rank: int = 0, world: int = 1) -> Run:
        """The run of this rank of ``world`` many. After `finish` it goes on as a new session of the same run."""
        if self._run is None:
            self._run = self._of(rank, world)
        return self._run

    def finish(self, error: BaseException | None = None) -> None:
        """End the run, as failed by ``error`` where there is one."""
        run, self._run = self._run, None
        if run is None or isinstance(self._given, Run):
            return
        self._given = self._given or run.name
        run.__exit__(type(error) if error else None, error, None)

    def _of(self, rank: int, world: int) -> Run:
        if self._ranks != "all" and rank != self._ranks % world:
            return silent()
        if isinstance(self._given, Run):
            return self._given
        name = self._given
        if self._ranks == "all" and world > 1:
            name = name or Settings.from_environment().run
            suffix = f"-rank{rank}"
            name = f"{name.removesuffix(suffix)}{suffix}" if name else None
        return start(name, **self._declaration)


def silent() -> Run:
    """A run that reports nothing."""
    return Run("", None, Notices())


def scalars(values: Mapping[Any, Any], besides: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What can be a number among the values: floats, ints, and tensors and arrays with one element.

    >>> scalars({"loss": 0.5, "kl": 0.1, "text": "no", "list": [1.0]}, besides=frozenset({"loss"}))
    {'kl': 0.1}
    """
    return {str(name): value for name, value in values.items() if name not in besides and is_scalar(value)}


def is_scalar(value: Any) -> bool:
    """Whether the value is one number, without reading it."""
    if isinstance(value, bool | str | bytes) or value is None:
        return False
    shape = getattr(value, "shape", None)
    return isinstance(value, int | float) if shape is None else all(size == 1 for size in shape)
