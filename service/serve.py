"""Where the service is put together, started and stopped."""

from __future__ import annotations

import logging
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import Final, Protocol

from consumers.source import Broker, BrokerUnavailable
from consumers.telemetry import CounterName, Telemetry
from consumers.view import View
from losswatch.topics import ALIKE, STEPS
from service.access import AccessUnusable, Tokens, tokens_of
from service.http import Web
from service.memory import keep_memory
from service.metrics import STATES, Exposition
from service.page import Pages
from service.push import pushing
from service.server import Server, Tls, TlsUnusable
from service.settings import Settings

RETRY_SECONDS: Final = 1.0
"""Pause between two attempts to reach the broker."""
EMBEDDED_SESSION: Final = 3.0
"""Session timeout with the embedded broker, which takes half of it for every join; nobody else joins there."""
REMIND_SECONDS: Final = 30.0
"""How often the log says that the broker is still away."""

log: Final = logging.getLogger(__name__)


class CannotServe(Exception):
    """Something has to be changed before the service can start; the message says what."""


class Worker(Protocol):
    """What takes records in: see `consumers.worker`."""

    @property
    def view(self) -> View:
        """The newest picture of the fleet."""

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set, then finish the batch, checkpoint and leave the group."""


MakeWorker = Callable[[Settings, Broker, Telemetry, Mapping[str, float]], Worker]
"""From the settings, the broker, the telemetry and the deployment's thresholds."""


def serve(settings: Settings, make_worker: MakeWorker | None = None) -> None:
    """Run the service until SIGINT or SIGTERM.

    Raises CannotServe where the settings, the broker or the machine do not allow it.
    """
    thresholds = deployed_thresholds(settings)
    tokens, tls = _protection(settings)
    telemetry, stop = Telemetry(), threading.Event()
    worker: Worker | None = None

    def view() -> View:
        return View() if worker is None else worker.view

    with ExitStack() as stack:
        stack.enter_context(stopped_by_signals(stop))
        broker, address = stack.enter_context(_broker(settings))
        web = _web(settings, view, telemetry, thresholds, address, tokens)
        try:
            server = stack.enter_context(Server(web.application(), settings.http_host, settings.http_port, tls))
        except OSError as error:
            raise CannotServe(str(error)) from error
        log.info("losswatch %s: page, API and /metrics at %s, Kafka at %s", web.exposition.version, server.url, address)
        stack.enter_context(pushing(settings, view, telemetry))
        if prepare_topics(broker, address, settings.partitions, telemetry, stop):
            worker = (make_worker or _make_worker)(settings, broker, telemetry, thresholds)
            worker.run(stop)
        log.info("stopped")


def deployed_thresholds(settings: Settings) -> Mapping[str, float]:
    """The deployment's thresholds: the defaults of the detectors under those of the settings."""
    from detectors.catalog import THRESHOLDS

    unknown = sorted(settings.thresholds.keys() - THRESHOLDS.keys())
    if unknown:
        known = ", ".join(sorted(THRESHOLDS))
        raise CannotServe(f"LOSSWATCH_THRESHOLDS names {', '.join(unknown)}, which no detector has. Known: {known}.")
    return {name: threshold.default for name, threshold in THRESHOLDS.items()} | settings.thresholds


def prepare_topics(broker: Broker, address: str, partitions: int, telemetry: Telemetry, stop: threading.Event) -> bool:
    """Create the missing topics, waiting for the broker as long as it is away; false if stopped meanwhile.

    Raises CannotServe where the broker refuses or existing topics do not fit each other.
    """
    reminded = float("-inf")
    while not stop.is_set():
        telemetry.heartbeat = time.monotonic()
        try:
            made = broker.create_topics(partitions)
            counts = {topic: broker.partitions(topic) for topic in ALIKE}
        except BrokerUnavailable as error:
            telemetry.status = f"waiting for Kafka at {address}"
            telemetry.count("broker_errors")
            if time.monotonic() - reminded >= REMIND_SECONDS:
                reminded = time.monotonic()
                log.warning("waiting for Kafka at %s, trying again every %g s: %s", address, RETRY_SECONDS, error)
            stop.wait(RETRY_SECONDS)
            continue
        except RuntimeError as error:
            raise CannotServe(str(error)) from error
        if made:
            log.info("created topics %s with %d partitions", ", ".join(made), counts[STEPS])
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
            raise CannotServe(
                f"These topics must have the same number of partitions, but {found}. Give the smaller ones more with "
                "the broker's own tools, or delete them: losswatch creates them anew."
            )
        telemetry.status = f"joining the consumer group at {address}"
        return True
    return False


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set ``stop``; another one, at least a second later, raises KeyboardInterrupt.

    One wish to stop may come as two signals at once: to the process and to its group.
    """
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if not first:
            first.append(time.monotonic())
            log.info("%s: finishing the batch; once more ends at once", signal.Signals(number).name)
            stop.set()
        elif time.monotonic() - first[0] > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def product_version() -> str:
    """The installed version, or 0 in a checkout that is not installed."""
    try:
        return version("losswatch-service")
    except PackageNotFoundError:
        return "0"


def _known_labels() -> Mapping[CounterName, Sequence[tuple[str, ...]]]:
    from detectors.catalog import KINDS

    return {"findings": [(kind, state) for kind in KINDS for state in STATES]}


@contextmanager
def _broker(settings: Settings) -> Iterator[tuple[Broker, str]]:
    """The broker and its address. The embedded one comes back empty when it crashed, without topics."""
    from consumers.kafka import KafkaBroker
    from service.broker import EmbeddedBroker

    if not settings.embedded:
        if settings.bootstrap_servers is None:
            raise CannotServe(NO_BROKER)
        address = settings.bootstrap_servers
        broker = KafkaBroker(address, security=settings.kafka_arguments(), session_timeout=settings.session_seconds)
        yield broker, address
        return

    def create_topics() -> None:
        KafkaBroker(embedded.address).create_topics(settings.partitions)

    embedded = EmbeddedBroker(binary=settings.broker_binary, on_restart=create_topics)
    with ExitStack() as stack:
        try:
            stack.enter_context(embedded)
        except RuntimeError as error:
            raise CannotServe(str(error)) from error
        yield KafkaBroker(embedded.address, session_timeout=EMBEDDED_SESSION), embedded.address


NO_BROKER: Final = """Which Kafka? Either name one:
  losswatch serve --bootstrap-servers HOST:PORT
or let losswatch run one of its own, in memory, to try things out:
  losswatch serve --embedded"""


def _protection(settings: Settings) -> tuple[Tokens | None, ssl.SSLContext | None]:
    certificate, key = settings.http_tls_cert, settings.http_tls_key
    try:
        tokens = tokens_of(settings)
        if certificate is not None and key is not None:
            return tokens, Tls(certificate, key, settings.http_tls_client_ca).context()
    except (AccessUnusable, TlsUnusable) as error:
        raise CannotServe(str(error)) from error
    if certificate or key or settings.http_tls_client_ca:
        raise CannotServe("TLS needs both LOSSWATCH_HTTP_TLS_CERT and LOSSWATCH_HTTP_TLS_KEY. Set both, or neither.")
    return tokens, None


def _web(
    settings: Settings,
    view: Callable[[], View],
    telemetry: Telemetry,
    thresholds: Mapping[str, float],
    address: str,
    tokens: Tokens | None,
) -> Web:
    limit = settings.heartbeat_limit_seconds
    return Web(
        view,
        telemetry,
        Exposition(
            view,
            telemetry,
            thresholds,
            product_version(),
            settings.external_url.rstrip("/"),
            settings.max_label_length,
            _known_labels(),
        ),
        Pages(thresholds, address, product_version(), limit),
        limit,
        tokens,
    )


def _make_worker(settings: Settings, broker: Broker, telemetry: Telemetry, thresholds: Mapping[str, float]) -> Worker:
    import torch

    from consumers.fleet import Fleet
    from consumers.rows import Limits
    from consumers.worker import Policy
    from consumers.worker import Worker as FleetWorker

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise CannotServe("LOSSWATCH_DEVICE is cuda, but torch finds no GPU. Take auto or cpu, or a torch with CUDA.")
    on_gpu = settings.device != "cpu" and torch.cuda.is_available()
    torch.set_num_threads(1)  # the blocks are small, and handing them out takes longer: more cores are more services
    keep_memory()
    fleet = Fleet(
        telemetry,
        thresholds=thresholds,
        limits=Limits(settings.max_runs, settings.max_series_per_run, settings.max_label_length),
        device="cuda" if on_gpu else "cpu",
        dtype=torch.float64 if settings.dtype == "float64" else torch.float32,
    )
    policy = Policy(
        group=settings.group,
        poll_records=settings.poll_records,
        checkpoint_every=settings.checkpoint_seconds,
        view_every=settings.view_seconds,
        silent_after=settings.silent_seconds,
        lost_after=settings.lost_seconds,
        evict_after=settings.idle_seconds,
        keep_ended=settings.finished_seconds,
    )
    return FleetWorker(broker, fleet, policy)
