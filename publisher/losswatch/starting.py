"""`losswatch.start`: from what a job declares to a run that reports."""

from __future__ import annotations

import atexit
import copy
import functools
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from losswatch.advice import Advisor, mode_of
from losswatch.advised import Mode
from losswatch.kafka_transport import KafkaTransport
from losswatch.notices import Notices, line_of, text_of
from losswatch.process import silence_in_children
from losswatch.run import Run
from losswatch.sender import Sender
from losswatch.settings import Settings
from losswatch.transport import Transport

if TYPE_CHECKING:
    from losswatch.schema import Expectation, Objective
    from losswatch.spool.store import Spool


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
    advice: Mode | None = None,
    spool: str | os.PathLike[str] | None = None,
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
    advice
        Whether `Run.should_stop` and `Run.weight` ``follow`` the service's advice, only say what they would
        do (``shadow``), or do not listen (``off``). Default: ``LOSSWATCH_ADVICE``, else ``shadow``.
    spool
        A folder for what is reported while the broker is away, and for what is left when the process
        ends; the next one, or ``losswatch spool send``, sends it (default: ``LOSSWATCH_SPOOL``, or none).
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
        folder = spool if spool is not None else settings.spool
        opening = functools.partial(_open_spool, folder, session, settings.spool_bytes, notices) if folder else None
        sender = Sender(name, session, _copied(declaration), transport, notices, spool=opening)
        sender.start()
        mode = mode_of(advice if advice is not None else settings.advice, notices)
        advisor = Advisor(name, time.time(), mode, functools.partial(transport.findings, name), notices)
        made = Run(name, sender, notices, advisor, send_labels=settings.send_labels)
        silence_in_children(made)
        atexit.register(made._at_exit)
        return made
    except Exception as error:
        notices.once("off", "could not start, nothing is published: %s", line_of(error))
        return Run(text_of(run), None, notices)


def _run_name(given: Any, job: Any, session: str) -> str:
    return (
        text_of(given, 200)
        if given is not None
        else f"{text_of(job, 180) if isinstance(job, str) else 'run'}-{session[:8]}"
    )


def _open_spool(folder: str | os.PathLike[str], session: str, limit: int, notices: Notices) -> Spool:
    from losswatch.spool.store import Spool

    return Spool(folder, session, limit, notices)


def _copied(declaration: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return copy.deepcopy(declaration)
    except Exception:  # what cannot be copied is looked at as it is, and left out where it is not usable
        return declaration
