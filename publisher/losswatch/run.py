"""A run as its job sees it. Nothing here raises into the job or makes it wait."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, SupportsFloat

from losswatch import samples, tensors
from losswatch.advice import MAX_FACTOR, Advisor
from losswatch.advised import Decisions
from losswatch.blocks import PER_STEP, Measure
from losswatch.devices import OnDevice, stage
from losswatch.notices import Notices, text_of
from losswatch.process import EXIT_SECONDS, Status, chain_sigterm, verdict, verdict_at_exit
from losswatch.sender import MOST_ERRORS, Sender, Stats

if TYPE_CHECKING:
    from losswatch.fields import Measured

Scalar = SupportsFloat
"""One number: a float, an int, a numpy scalar or a 0-d array, a tensor with one element."""
Series = Mapping[str, Scalar | None]
Found = list[tuple[OnDevice, Any]]
"""Scalars of a call that are on a device, with their tensors."""

MEASURED: Final = ("step", "mean_since_last", "running_mean", "epoch_mean", "median", "mixed")
DEVICE_COST: Final = 128
"""What a row on a device costs more, so that no more than some 4000 of them hold its memory."""
ENDINGS: Final = ("finished", "failed", "stopped")
ERROR_CHARACTERS: Final = 500


class Run:
    """One run that reports to losswatch. Made by `start`; a context manager.

    Methods never raise and never wait, but for `finish`, which waits as long as it is told to.
    They may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        sender: Sender | None,
        notices: Notices,
        advisor: Advisor | None = None,
        *,
        send_labels: bool = True,
    ) -> None:
        self.name = name
        self._sender = sender
        self._accepting = sender is not None
        if sender is not None:
            rows = sender.intake.rows
            self._rows, self._limit = rows.items, rows.limit
            self._append, self._make_room = rows.items.append, rows.make_room
        self._notices = notices
        self._complete = sender is None
        self._send_labels = send_labels
        self._told_to_stop: str | None = None
        self._advisor = advisor or Advisor(name, 0.0, "off", None, notices)

    def log(
        self,
        step: int,
        total: Scalar | None = None,
        *,
        components: Series | None = None,
        weights: Series | None = None,
        log_vars: Series | None = None,
        metrics: Series | None = None,
        slices: Mapping[str, Series] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        phase: str = "train",
        measured: Measured = "step",
        divided_by: int = 1,
        **unknown: NoReturn,
    ) -> None:
        """Report one step of one phase. Call it once per step and phase.

        Parameters
        ----------
        step
            The optimisation step.
        total
            The loss that is minimised.
        components, weights, log_vars, metrics
            Numbers by name: the terms of the loss before weighting, the weight of each now, Kendall's
            ``s = log sigma^2`` of each, and quality measures. None or absent is "not reported".
        slices
            Metrics of parts of the data: numbers by name, by slice.
        checkpoint
            The checkpoint that was written at this step.
        phase
            ``train``, ``val``, ``test`` or any other word.
        measured
            What the numbers are: of this ``step`` alone, ``mean_since_last``, ``running_mean``,
            ``epoch_mean``, ``median``, or ``mixed`` where the total is measured otherwise than its parts.
        divided_by
            What the job had divided the total by, as for gradient accumulation.
        """
        if not self._accepting:
            return
        try:
            if (  # the usual call is dealt with here, as further calls would take half as long again
                type(step) is int
                and type(total) is float
                and type(components) is dict
                and weights is None
                and log_vars is None
                and metrics is None
                and slices is None
                and measured == "step"
                and divided_by == 1
                and not unknown
            ):
                for value in components.values():
                    if type(value) is not float:
                        break
                else:
                    if len(self._rows) * (8 + len(components)) > self._limit:
                        self._make_room(8 + len(components))
                    now, own = time.time(), components.copy()
                    self._append((phase, step, now, total, own, None, None, None, None, checkpoint, PER_STEP))
                    return
            if unknown:
                self._unknown("log", unknown)
            groups = (components, weights, log_vars, metrics)
            self._log(step, total, groups, slices, checkpoint, phase, self._measure(measured, divided_by))
        except Exception as error:
            self._trouble(error)

    def predictions(
        self,
        step: int,
        probabilities: Any = None,
        *,
        logits: Any = None,
        classes: Any = None,
        labels: Any = None,
        phase: str = "test",
        slices: Any = None,
        embeddings: Any = None,
        features: Any = None,
        errors: Mapping[str, Any] | None = None,
        targets: Mapping[str, Any] | None = None,
        ids: Any = None,
        **unknown: NoReturn,
    ) -> None:
        """Report what the model predicted for the N samples of a batch, as one of the three kinds.

        A model that predicts no classes has none of the three; its embeddings, features or errors are enough.
        Arrays may be torch tensors on any device, numpy arrays or lists; they are copied at the call.
        Of a batch of more than a million numbers only some rows are, and one too large to ship (65,536
        numbers) is sent as a summary: mean, counts and mean entropy, and the argmax of each sample
        where labels or the like go with it. Values travel in half precision.

        Parameters
        ----------
        step
            The step at which it was predicted.
        probabilities, logits
            N x C numbers.
        classes
            N predicted labels.
        labels
            N true labels.
        slices
            N names of the slice each sample belongs to, or None.
        embeddings, features
            N x F numbers.
        errors
            N numbers by name: errors per sample.
        targets
            N numbers by the name of an error: the true value per sample, of which it is the absolute error.
        ids
            N ids of the samples. They are not sent: where only some rows can be taken, they are
            those of the same samples at every step.
        """
        if not self._accepting:
            return
        try:
            if unknown:
                self._unknown("predictions", unknown)
            kinds = {"probabilities": probabilities, "logits": logits, "classes": classes}
            given = [(kind, values) for kind, values in kinds.items() if values is not None]
            if len(given) > 1 or not (given or embeddings is not None or features is not None or errors):
                message = (
                    "predictions() takes one of probabilities, logits and classes, or else embeddings, features or "
                    "errors; got %d of the three: not used"
                )
                self._notices.once("kinds", message, len(given))
                return
            if not self._send_labels:
                labels = targets = None
            rest = {"embeddings": embeddings, "features": features, "labels": labels, "slices": slices}
            kind, values = given[0] if given else (None, None)
            self._hand_over(*samples.capture(step, phase, kind, values, rest, errors, targets, ids))
        except Exception as error:
            self._unusable("predictions", error)

    def reference(self, features: Any, *, labels: Any = None, targets: Mapping[str, Any] | None = None) -> None:
        """Report the training samples (N x F) that coverage is measured against.

        With their N true ``labels``, or true values by name as in `predictions`, the model is compared with taking
        those of the nearest training sample.
        """
        if not self._accepting:
            return
        try:
            if not self._send_labels:
                labels = targets = None
            self._hand_over(*samples.capture_reference(features, labels, targets))
        except Exception as error:
            self._unusable("reference", error)

    def finish(self, status: Status = "finished", error: str | None = None, timeout: float = 5.0) -> bool:
        """Send what is left and end the run; later calls do nothing.

        Returns whether everything that was reported had arrived within ``timeout`` seconds.
        """
        sender, accepting = self._sender, self._accepting
        if sender is None or not accepting:
            return self._complete
        self._accepting = False
        self._advisor.close()
        try:
            atexit.unregister(self._at_exit)
            if status not in ENDINGS:
                self._notices.once("status", "finish() knows no status %.40r: published as failed", status)
            status = status if status in ENDINGS else "failed"
            self._complete = sender.finish(status, None if error is None else text_of(error, ERROR_CHARACTERS), timeout)
        except Exception as failure:
            self._trouble(failure)
        return self._complete

    def should_stop(self) -> bool:
        """Whether the service advises the job to stop. Always False unless the run follows advice.

        Reads a variable; the first call starts a thread that listens. With several processes under
        ``torch.distributed`` the answer is that of the last `sync_advice`, the same on all of them.
        """
        return self._advisor.should_stop()

    def weight(
        self, name: str, default: float, lo: float = 0.0, hi: float = 1.0, *, max_factor: float = MAX_FACTOR
    ) -> float:
        """The weight that a component of the loss is to have now, as `should_stop` without ever waiting.

        ``default`` while there is no advice, and always unless the run follows it. An advised weight is
        clamped to ``lo`` and ``hi``, and reached by at most ``max_factor`` per call.
        """
        return self._advisor.weight(name, default, lo, hi, max_factor)

    def sync_advice(self, group: Any = None) -> None:
        """Make all ranks go by the advice that rank 0 has; a collective: call it at the same step on all.

        The only method that waits for other processes. ``group`` is a process group that takes CPU
        tensors and has rank 0 in it; by default the job's own, or one with gloo where that takes none.
        """
        self._advisor.sync(group)

    def advice(self) -> Decisions:
        """What came of the service's advice so far, or in shadow mode would have."""
        return self._advisor.decisions()

    def on_sigterm(self) -> None:
        """Record a SIGTERM as the reason why the run stops. To be called on the main thread.

        Where another handler is set (by Lightning, torchelastic or the job), it is called as before, and the
        run is ``stopped`` when it ends. Where none is, the run ends within two seconds and the process
        then as it would have. The hook sets no handler unless it is asked to, here.
        """
        if self._accepting and not chain_sigterm(self._on_sigterm, self._at_sigterm):
            self._notices.once("sigterm", "on_sigterm() sets a signal handler, which only the main thread can do")

    def stats(self) -> Stats:
        """What became of what was reported so far."""
        if self._sender is None:
            return Stats(False, 0, 0, 0, 0, {}, 0)
        return self._sender.stats()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(*verdict(error))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in this process or another, reports nothing: a run has one publisher."""
        return _disabled, (self.name,)

    def __repr__(self) -> str:
        state = "publishing" if self._accepting else "silent"
        return f"<losswatch.Run {self.name!r} {state}>"

    def _log(
        self,
        step: Any,
        total: Any,
        given: Sequence[Series | None],
        slices: Any,
        checkpoint: Any,
        phase: str,
        measure: Measure,
    ) -> None:
        assert self._sender is not None
        found: Found = []
        groups = [None if series is None else self._series(series, found) for series in given]
        parts = None if slices is None else self._parts(slices, found)
        if type(total) is not float:
            total = tensors.scalar(total, found)
        if type(step) is not int:
            step = tensors.scalar(step)
        cost = 8 + sum(len(series) for series in (*groups, *(parts or {}).values()) if series)
        if found:
            stage(found)
            self._sender.intake.on_device = True
            cost += DEVICE_COST
        row = (phase, step, time.time(), total, *groups, parts, checkpoint, measure)
        self._sender.intake.rows.put(row, cost)

    def _hand_over(self, batch: samples.Sampled | samples.Reference, cost: int) -> None:
        assert self._sender is not None
        if samples.on_device(batch):
            self._sender.intake.on_device = True
        self._sender.intake.batches.put(batch, cost)

    def _series(self, values: Any, found: Found) -> dict[Any, Any]:
        scalar = tensors.scalar
        try:
            return {name: value if type(value) is float else scalar(value, found) for name, value in values.items()}
        except Exception as error:
            return self._no_mapping(values, error)

    def _parts(self, slices: Any, found: Found) -> dict[Any, dict[Any, Any]]:
        try:
            return {part: self._series(series, found) for part, series in slices.items()}
        except Exception as error:
            return self._no_mapping(slices, error)

    def _no_mapping(self, values: object, error: Exception) -> dict[Any, Any]:
        message = "log() takes mappings of names to numbers, found %s (%s): left out"
        self._notices.once("mapping", message, type(values).__name__, error)
        return {}

    def _measure(self, measured: Any, divided_by: Any) -> Measure:
        if measured == "step" and divided_by == 1:
            return PER_STEP
        if measured in MEASURED and type(divided_by) is int and divided_by >= 1:
            return measured, divided_by
        message = "log(measured=%.40r, divided_by=%.40r): expected one of %s and a whole number from 1: not declared"
        self._notices.once("measured", message, measured, divided_by, ", ".join(MEASURED))
        return PER_STEP

    def _unknown(self, where: str, names: Mapping[str, object]) -> None:
        self._notices.once(f"unknown {where}", "%s() knows no %s: not used", where, ", ".join(names))

    def _unusable(self, where: str, error: Exception) -> None:
        self._notices.once(f"unusable {where}", "%s() got nothing it can use: %s", where, error)

    def _trouble(self, error: Exception) -> None:
        assert self._sender is not None
        self._sender.trouble(error)
        if self._sender.errors >= MOST_ERRORS:
            self._accepting = False
            self._notices.once("off", "too many internal errors: nothing more is reported")

    def _at_exit(self) -> None:
        self._end(*verdict_at_exit(), EXIT_SECONDS)

    def _end(self, status: Status, error: str | None, timeout: float = 5.0) -> None:
        if self._told_to_stop is not None:
            status, error = "stopped", self._told_to_stop
        self.finish(status, error, timeout)

    def _on_sigterm(self) -> None:
        self._told_to_stop = "SIGTERM"

    def _at_sigterm(self) -> None:
        self.finish("stopped", "SIGTERM", EXIT_SECONDS)

    def _in_child(self) -> None:
        self._advisor.abandon()
        if self._sender is not None:
            self._accepting = False
            self._sender.abandon()


def _disabled(name: str) -> Run:
    return Run(name, None, Notices())
