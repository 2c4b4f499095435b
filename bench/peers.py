"""What `bench.hook` compares the hook with: each peer logs a total and four components per step, at its defaults.

Every peer is a context manager that gives the function to call per step, and is closed at its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("entropy", "diversity", "contrastive", "decay")

Log = Callable[[int, float, float, float, float, float], Any]
"""``log(step, total, *components)``."""
Peer = Callable[[str, Path], AbstractContextManager[Log]]
"""``peer(broker, folder)``: some publish to the broker, some write into the folder."""


@contextmanager
def nothing(broker: str, folder: Path) -> Iterator[Log]:
    """Only the call itself: the floor of every other number."""
    yield lambda step, total, a, b, c, d: None


@contextmanager
def losswatch(broker: str, folder: Path) -> Iterator[Log]:
    """`losswatch.Run.log`."""
    import losswatch

    run = losswatch.start("bench", bootstrap_servers=broker)
    deadline = time.monotonic() + 3.0
    while not run.stats().connected and time.monotonic() < deadline:
        time.sleep(0.01)

    def log(step: int, total: float, a: float, b: float, c: float, d: float) -> None:
        run.log(step, total=total, components={"entropy": a, "diversity": b, "contrastive": c, "decay": d})

    yield log
    run.finish()


@contextmanager
def losswatch_advised(broker: str, folder: Path) -> Iterator[Log]:
    """The same, and `losswatch.Run.weight` and `losswatch.Run.should_stop` every step."""
    import losswatch

    run = losswatch.start("bench", bootstrap_servers=broker, advice="follow")
    deadline = time.monotonic() + 3.0
    while not run.stats().connected and time.monotonic() < deadline:
        time.sleep(0.01)

    def log(step: int, total: float, a: float, b: float, c: float, d: float) -> None:
        run.weight("diversity", default=0.1)
        run.should_stop()
        run.log(step, total=total, components={"entropy": a, "diversity": b, "contrastive": c, "decay": d})

    yield log
    run.finish()


@contextmanager
def wandb(broker: str, folder: Path) -> Iterator[Log]:
    """Weights & Biases, offline, without its statistics and its capture of the console."""
    import wandb

    settings = wandb.Settings(console="off", x_disable_stats=True, silent=True)
    run = wandb.init(mode="offline", dir=str(folder), project="bench", settings=settings)
    yield lambda step, total, a, b, c, d: run.log(
        {"total": total, "entropy": a, "diversity": b, "contrastive": c, "decay": d}, step=step
    )
    run.finish()


def _mlflow(folder: Path, synchronous: bool) -> Iterator[Log]:
    import logging

    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.start_run()
    yield lambda step, total, a, b, c, d: mlflow.log_metrics(
        {"total": total, "entropy": a, "diversity": b, "contrastive": c, "decay": d},
        step=step,
        synchronous=synchronous,
    )
    mlflow.end_run()


@contextmanager
def mlflow(broker: str, folder: Path) -> Iterator[Log]:
    """MLflow's default: each call writes to SQLite and waits for it."""
    yield from _mlflow(folder, synchronous=True)


@contextmanager
def mlflow_async(broker: str, folder: Path) -> Iterator[Log]:
    """MLflow with ``synchronous=False``."""
    yield from _mlflow(folder, synchronous=False)


@contextmanager
def tensorboard(broker: str, folder: Path) -> Iterator[Log]:
    """`torch.utils.tensorboard.SummaryWriter`, a call per scalar."""
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder))

    def log(step: int, total: float, a: float, b: float, c: float, d: float) -> None:
        writer.add_scalar("total", total, step)
        writer.add_scalar("entropy", a, step)
        writer.add_scalar("diversity", b, step)
        writer.add_scalar("contrastive", c, step)
        writer.add_scalar("decay", d, step)

    yield log
    writer.close()


@contextmanager
def prometheus(broker: str, folder: Path) -> Iterator[Log]:
    """Five gauges of prometheus_client, which keep the newest value only and send nothing."""
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    gauges = [prometheus_client.Gauge(name, name, registry=registry) for name in ("total", *NAMES)]

    def log(step: int, *values: float) -> None:
        for gauge, value in zip(gauges, values, strict=True):
            gauge.set(value)

    yield log


@contextmanager
def _kafka(broker: str, **options: Any) -> Iterator[Log]:
    import json

    import kafka

    producer = kafka.KafkaProducer(bootstrap_servers=broker, **options)

    def log(step: int, total: float, a: float, b: float, c: float, d: float) -> None:
        values = {"step": step, "total": total, "entropy": a, "diversity": b, "contrastive": c, "decay": d}
        producer.send("bench", json.dumps(values).encode(), key=b"bench")

    yield log
    try:
        producer.close(timeout=10)
    except kafka.errors.KafkaTimeoutError:
        producer._sender.force_close()  # with records that cannot be sent, close() gives up and its thread goes on


def kafka_default(broker: str, folder: Path) -> AbstractContextManager[Log]:
    """kafka-python used directly, a JSON record per step."""
    return _kafka(broker)


def kafka_linger(broker: str, folder: Path) -> AbstractContextManager[Log]:
    """The same with ``linger_ms=50``."""
    return _kafka(broker, linger_ms=50)


PEERS: Final[dict[str, Peer]] = {
    "no hook": nothing,
    "losswatch": losswatch,
    "losswatch, advised": losswatch_advised,
    "prometheus_client gauges": prometheus,
    "kafka-python, linger 50 ms": kafka_linger,
    "kafka-python": kafka_default,
    "TensorBoard (torch)": tensorboard,
    "wandb offline": wandb,
    "mlflow async": mlflow_async,
    "mlflow": mlflow,
}
"""By the name they have in the tables."""
SLOW: Final = frozenset({"mlflow", "mlflow async"})
"""Peers that cannot take 20,000 calls in reasonable time."""
