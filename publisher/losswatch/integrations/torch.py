"""Plain PyTorch: the losses of a criterion, or of its parts, without a change to the training loop."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from losswatch.integrations.attachment import harmless, is_scalar, scalars
from losswatch.integrations.logger import TOTALS
from losswatch.notices import Notices

if TYPE_CHECKING:
    from torch import nn

    from losswatch.run import Run

TOTAL: Final = ""
"""The place of the criterion's own output."""
CONTAINERS: Final = frozenset({"ModuleDict", "ModuleList"})
"""Modules that are never called themselves."""


def watch(
    criterion: nn.Module | Mapping[str, nn.Module],
    run: Run,
    *,
    weights: Mapping[str, float] | None = None,
    phase: str | None = None,
    step: Callable[[], int] | None = None,
    divided_by: int = 1,
) -> Watch:
    """Report what loss modules return, each time they are called.

    Parameters
    ----------
    criterion
        A loss module: its output is the total, those of its children are the components; or it returns
        a mapping with ``loss`` or ``total`` and the components. Or loss modules by name, whose
        outputs are components; a step is complete when each was called.
    run
        The run to report to.
    weights
        The weight of each component, reported with every step.
    phase
        The phase; without one a loss that needs a gradient is of ``train`` and any other of ``val``.
    step
        Gives the number of the step; without it calls are counted, by phase.
    divided_by
        What the criterion divides its output by, as for gradient accumulation.
    """
    return Watch(criterion, run, weights, phase, step, divided_by)


class Watch:
    """Forward hooks on loss modules; they change nothing. A context manager, and `remove` takes them off."""

    def __init__(
        self,
        criterion: nn.Module | Mapping[str, nn.Module],
        run: Run,
        weights: Mapping[str, float] | None,
        phase: str | None,
        step: Callable[[], int] | None,
        divided_by: int,
    ) -> None:
        self._notices = Notices()
        self._run, self._weights, self._phase, self._step = run, weights, phase, step
        self._divided_by = divided_by
        self._steps: Counter[str] = Counter()
        self._row: dict[str, Any] = {}
        named = dict(criterion) if isinstance(criterion, Mapping) else {**dict(_parts(criterion)), TOTAL: criterion}
        self._names = frozenset(named)
        self._handles = [
            module.register_forward_hook(functools.partial(self._called, name)) for name, module in named.items()
        ]

    def remove(self) -> None:
        """Take the hooks off; what is left of an incomplete step is reported."""
        for handle in self._handles:
            handle.remove()
        self._finish_step()

    @harmless
    def _called(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if TOTAL not in self._names and name in self._row:
            self._finish_step()
        self._take(name, output)
        complete = name == TOTAL if TOTAL in self._names else self._names <= self._row.keys()
        if complete:
            self._finish_step()

    def _take(self, name: str, output: Any) -> None:
        if isinstance(output, Mapping):
            for part, value in scalars(output).items():
                if part in TOTALS:
                    self._put(name, value)
                elif part not in self._row:  # else a child has told it already
                    self._put(part, value)
        elif isinstance(output, tuple) and output:
            for value in output:
                self._take(name, value)
        elif is_scalar(output):
            self._put(name, output)
        else:
            message = "the loss module %s returned %s, not one number: left out (is its reduction 'none'?)"
            found = tuple(output.shape) if hasattr(output, "shape") else type(output).__name__
            self._notices.once(name, message, name or "itself", found)

    def _put(self, name: str, value: Any) -> None:
        place, count = name, 1
        while place in self._row:
            count += 1
            place = f"{name}-{count}"
        # The loop may divide the loss in place before the step is complete.
        self._row[place] = (value.detach().clone(), value.requires_grad) if hasattr(value, "detach") else (value, False)

    @harmless
    def _finish_step(self) -> None:
        row, self._row = self._row, {}
        if not row:
            return
        phase = self._phase or ("train" if any(needs_gradient for _, needs_gradient in row.values()) else "val")
        step = self._steps[phase] if self._step is None else self._step()
        self._steps[phase] += 1
        values = {name: value for name, (value, _) in row.items()}
        total = values.pop(TOTAL, None)
        declared: dict[str, Any] = {"weights": self._weights, "phase": phase, "divided_by": self._divided_by}
        self._run.log(step, total, components=values, **declared)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The direct children by name, in their containers too."""
    for name, child in module.named_children():
        if type(child).__name__ in CONTAINERS:
            yield from _parts(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child
