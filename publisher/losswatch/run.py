"""The hook as a job sees it: `start` and `Run`. Nothing here raises into the job or makes it wait."""

from __future__ import annotations

import atexit
import copy
import functools
import os
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, SupportsFloat

from losswatch import samples, tensors
from losswatch.notices import Notices, text_of
from losswatch.sender import MOST_ERRORS, Reference, Sender, Stats
from losswatch.settings import Settings
from losswatch.transport import KafkaTransport, Transport

if TYPE_CHECKING:
    from losswatch.schema import Expectation, Objective

Scalar = SupportsFloat
"""One number: a float, an int, a numpy scalar or a 0-d array, a tensor with one element."""
Series = Mapping[str, Scalar | None]
Status = Literal["finished", "failed", "stopped"]

ENDINGS: Final = ("finished", "failed", "stopped")
ERROR_CHARACTERS: Final = 500
EXIT_SECONDS: Final = 2.0
"""How long the interpreter's exit may be delayed for a run that was not finished."""

_live: Final[weakref.WeakSet[Run]] = weakref.WeakSet()


class Run:
    """One run that reports to losswatch. Made by `start`; a context manager.

    Methods never raise and never wait, but for `finish`, which waits as long as it is told to.
    They may be called from any thread.
    """

    def __init__(self, name: str, sender: Sender | None, notices: Notices) -> None:
        self.name = name
        self._sender = sender
        self._accepting = sender is not None
        self._notices = notices
        self._complete = sender is None

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
        """
        if not self._accepting:
            return
        sender = self._sender
        assert sender is not None
        try:
            if unknown:
                self._unknown("log", unknown)
            cost = 8
            if components is not None:
                components = self._series(components)
                cost += len(components)
            if weights is not None:
                weights = self._series(weights)
                cost += len(weights)
            if log_vars is not None:
                log_vars = self._series(log_vars)
                cost += len(log_vars)
            if metrics is not None:
                metrics = self._series(metrics)
                cost += len(metrics)
            parts = None
            if slices is not None:
                parts = self._parts(slices)
                cost += sum(map(len, parts.values()))
            if type(total) is not float:
                total = tensors.scalar(total)
            if type(step) is not int:
                step = tensors.scalar(step)
            groups = (components, weights, log_vars, metrics)
            sender.rows.put((phase, step, time.time(), total, groups, parts, checkpoint), cost)
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
        **unknown: NoReturn,
    ) -> None:
        """Report what the model predicted for the N samples of a batch, as one of the three kinds.

        Arrays may be torch tensors on any device, numpy arrays or lists; they are copied at the call.
        A batch of more than a million numbers is thinned out to every k-th sample first, and one too
        large to ship (65,536 numbers) is sent as a summary: mean, counts and mean entropy.

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
        """
        if not self._accepting:
            return
        try:
            if unknown:
                self._unknown("predictions", unknown)
            kinds = {"probabilities": probabilities, "logits": logits, "classes": classes}
            given = [(kind, values) for kind, values in kinds.items() if values is not None]
            if len(given) != 1:
                message = "predictions() takes one of probabilities, logits and classes, got %d: not used"
                self._notices.once("kinds", message, len(given))
                return
            rest = {"labels": labels, "slices": slices, "embeddings": embeddings, "features": features}
            batch, cost = samples.capture(step, phase, *given[0], rest, errors)
            assert self._sender is not None
            self._sender.batches.put(batch, cost)
        except Exception as error:
            self._unusable("predictions", error)

    def reference(self, features: Any) -> None:
        """Report the training samples (N x F) that coverage is measured against."""
        if not self._accepting:
            return
        try:
            size = tensors.shape(features)
            numbers = functools.reduce(lambda a, b: a * b, size, 1)
            captured = tensors.copied(features, -(-numbers // samples.MAX_COPIED))
            assert self._sender is not None
            self._sender.batches.put(Reference(captured), min(numbers, samples.MAX_COPIED) + 1)
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
        try:
            atexit.unregister(self._at_exit)
            if status not in ENDINGS:
                self._notices.once("status", "finish() knows no status %.40r: published as failed", status)
            status = status if status in ENDINGS else "failed"
            self._complete = sender.finish(status, None if error is None else text_of(error, ERROR_CHARACTERS), timeout)
        except Exception as failure:
            self._trouble(failure)
        return self._complete

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
        status, text = _verdict(error)
        self.finish(status, text)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in this process or another, reports nothing: a run has one publisher."""
        return _disabled, (self.name,)

    def __repr__(self) -> str:
        state = "publishing" if self._accepting else "silent"
        return f"<losswatch.Run {self.name!r} {state}>"

    def _series(self, values: Any) -> dict[Any, Any]:
        scalar = tensors.scalar
        try:
            return {name: value if type(value) is float else scalar(value) for name, value in values.items()}
        except Exception as error:
            return self._no_mapping(values, error)

    def _parts(self, slices: Any) -> dict[Any, dict[Any, Any]]:
        try:
            return {part: self._series(series) for part, series in slices.items()}
        except Exception as error:
            return self._no_mapping(slices, error)

    def _no_mapping(self, values: object, error: Exception) -> dict[Any, Any]:
        message = "log() takes mappings of names to numbers, found %s (%s): left out"
        self._notices.once("mapping", message, type(values).__name__, error)
        return {}

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
        # In an interactive session the last error need not be why it ends.
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        status, text = _verdict(error)
        self.finish(status, text, EXIT_SECONDS)

    def _in_child(self) -> None:
        if self._sender is not None:
            self._accepting = False
            self._sender.abandon()


def start(
    run: str | None = None,
    *,
    bootstrap_servers: str | Sequence[str] | None = None,
    job: str | None = None,
    labels: Mapping[str, str] | None = None,
    objective: Mapping[str, Objective | Mapping[str, Any]] | None = None,
    metrics: Mapping[str, Literal["higher", "lower"]] | None = None,
    classes: Sequence[str | int] | None = None,
    split: Mapping[str, tuple[float, float]] | None = None,
    precision: Mapping[str, str] | None = None,
    parameters: int | None = None,
    samples: Mapping[str, int] | None = None,
    thresholds: Mapping[str, float] | None = None,
    expect: Sequence[Expectation | Mapping[str, Any]] | None = None,
    kafka: Mapping[str, Any] | None = None,
    transport: Transport | None = None,
    **unknown: NoReturn,
) -> Run:
    """Start to report a run. Returns at once, whether or not the broker is there.

    Parameters
    ----------
    run
        The run's id (default: ``LOSSWATCH_RUN``, or made up). It is the key everything is kept under.
    bootstrap_servers
        ``HOST:PORT`` of one or more Kafka brokers (default: ``LOSSWATCH_BOOTSTRAP_SERVERS``). Without
        any the hook does nothing, and says so.
    job, labels, objective, metrics, classes, split, precision, parameters, samples, thresholds, expect
        What the job declares about itself: the fields of ``run_start`` (`losswatch.schema.RunStart`).
    kafka
        Settings for ``kafka.KafkaProducer``, e.g. ``{"security_protocol": "SASL_SSL", ...}``.
    transport
        Where to send instead of to Kafka, e.g. `losswatch.transport.MemoryTransport`.
    """
    notices = Notices()
    declaration = {
        "job": job,
        "labels": labels,
        "objective": objective,
        "metrics": metrics,
        "classes": classes,
        "split": split,
        "precision": precision,
        "parameters": parameters,
        "samples": samples,
        "thresholds": thresholds,
        "expect": expect,
    }
    try:
        settings = Settings.from_environment()
        session = os.urandom(8).hex()
        name = _run_name(run if run is not None else settings.run, job, session)
        if unknown:
            notices.once("unknown start", "start() knows no %s: not used", ", ".join(unknown))
        if not settings.enabled:
            notices.info("switched off by LOSSWATCH_ENABLED: nothing is published")
            return Run(name, None, notices)
        servers = bootstrap_servers or settings.bootstrap_servers
        if transport is None:
            if not servers:
                notices.once("off", "no bootstrap_servers and no LOSSWATCH_BOOTSTRAP_SERVERS: nothing is published")
                return Run(name, None, notices)
            transport = KafkaTransport(servers if isinstance(servers, str) else ",".join(servers), kafka)
        sender = Sender(name, session, _copied(declaration), transport, notices)
        sender.start()
        made = Run(name, sender, notices)
        _watch_forks()
        _live.add(made)
        atexit.register(made._at_exit)
        return made
    except Exception as error:
        notices.once("off", "could not start, nothing is published: %s: %s", type(error).__name__, error)
        return Run(text_of(run), None, notices)


def _run_name(given: Any, job: Any, session: str) -> str:
    return (
        text_of(given, 200)
        if given is not None
        else f"{text_of(job, 180) if isinstance(job, str) else 'run'}-{session[:8]}"
    )


def _copied(declaration: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return copy.deepcopy(declaration)
    except Exception:  # what cannot be copied is looked at as it is, and left out where it is not usable
        return declaration


def _verdict(error: BaseException | None) -> tuple[Status, str | None]:
    """How a run ended, by the exception that ended it."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "finished", None
    text = f"{type(error).__name__}: {text_of(error)}"
    return ("stopped" if isinstance(error, KeyboardInterrupt) else "failed"), text


def _disabled(name: str) -> Run:
    return Run(name, None, Notices())


@functools.cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_silence)


def _silence() -> None:
    for run in list(_live):
        run._in_child()
