from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import losswatch
from losswatch.integrations.lightning import LosswatchCallback
from losswatch.transport import MemoryTransport
from tests.publisher.integrations.reading import (
    advised_to_stop,
    endings,
    measured,
    names,
    predictions,
    series,
    types,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.training_step. returned .None."),
    # Lightning 2.6 asks torch 2.13 in a way that is deprecated.
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning"),
]


class Model(LightningModule):
    """Returns its loss and a component, and keeps what it returned."""

    def __init__(self, fail_at: int | None = None, nan_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)
        self.fail_at, self.nan_at = fail_at, nan_at
        self.totals: list[float] = []
        self.penalties: list[float] = []
        self.validated: list[float] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Any]:
        logits = self.layer(batch[0])
        penalty = self.layer.weight.square().sum()
        loss = nn.functional.cross_entropy(logits, batch[1]) + 0.1 * penalty
        if len(self.totals) == self.nan_at:
            loss = loss * math.nan
        if len(self.totals) == self.fail_at:
            raise RuntimeError("bad batch")
        self.totals.append(loss.item())
        self.penalties.append(penalty.item())
        return {"loss": loss, "penalty": penalty, "accuracy": 0.5, "logits": logits, "labels": batch[1]}

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Any]:
        logits = self.layer(batch[0])
        loss = nn.functional.cross_entropy(logits, batch[1])
        self.validated.append(loss.item())
        self.log("val_accuracy", (logits.argmax(1) == batch[1]).float().mean())
        return {"loss": loss, "logits": logits, "labels": batch[1]}

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test_loss", nn.functional.cross_entropy(self.layer(batch[0]), batch[1]))

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        probabilities: Tensor = self.layer(batch[0]).softmax(1)
        return probabilities

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader() -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(24, 4, generator=generator), torch.randint(0, 3, (24,), generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=4)


def trainer(*callbacks: Any, root: Path, **options: Any) -> Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": root,
        "callbacks": list(callbacks),
    }
    return Trainer(**{**settings, **options})


@pytest.mark.parametrize("accumulate", [1, 4])
def test_every_batchs_loss_arrives_as_training_step_returned_it(accumulate: int, tmp_path: Path) -> None:
    transport, model = MemoryTransport(), Model(nan_at=5)
    callback = LosswatchCallback("r", transport=transport, metrics={"accuracy": "higher"})
    trainer(callback, root=tmp_path, accumulate_grad_batches=accumulate).fit(model, loader())
    expected = dict(enumerate(model.totals))
    assert len(expected) == 12
    assert series(transport, "train") == pytest.approx(expected, nan_ok=True, rel=1e-6)
    assert math.isnan(series(transport, "train")[5])
    assert series(transport, "train", "components.penalty") == pytest.approx(
        dict(enumerate(model.penalties)), nan_ok=True
    )
    assert names(transport, "train") == {"total", "components.penalty", "metrics.accuracy"}
    assert measured(transport, "train") == {"step"}
    assert endings(transport) == [("finished", None)]


def test_a_validation_is_one_step_of_means_and_the_sanity_check_none(tmp_path: Path) -> None:
    transport, model = MemoryTransport(), Model()
    callback = LosswatchCallback("r", transport=transport, with_labels=True)
    trainer(callback, root=tmp_path).fit(model, loader(), loader())
    sanity = 2
    first, second = model.validated[sanity : sanity + 6], model.validated[sanity + 6 :]
    assert series(transport, "val") == pytest.approx({5: sum(first) / 6, 11: sum(second) / 6}, rel=1e-6)
    assert names(transport, "val") == {"total", "metrics.accuracy"}
    assert measured(transport, "val") == {"epoch_mean"}
    batches = predictions(transport, "val")
    assert [batch.step for batch in batches] == [5] * 6 + [11] * 6
    assert {batch.kind for batch in batches} == {"logits"}
    assert all(batch.labels is not None for batch in batches)
    assert predictions(transport, "train") == []


def test_labels_stay_where_they_are_unless_asked_for(tmp_path: Path) -> None:
    transport = MemoryTransport()
    trainer(LosswatchCallback("r", transport=transport), root=tmp_path).validate(Model(), loader(), verbose=False)
    assert len(predictions(transport, "val")) == 6
    assert all(batch.labels is None for batch in predictions(transport, "val"))


def test_test_and_predict_go_on_with_the_run(tmp_path: Path) -> None:
    transport, model = MemoryTransport(), Model()
    watched = trainer(LosswatchCallback("r", transport=transport, bare="probabilities"), root=tmp_path)
    watched.fit(model, loader())
    (results,) = watched.test(model, loader(), verbose=False)
    watched.predict(model, loader())
    assert series(transport, "test") == {11: pytest.approx(results["test_loss"])}
    assert [batch.kind for batch in predictions(transport, "predict")] == ["probabilities"] * 6
    assert types(transport).count("run_start") == 3
    assert endings(transport) == [("finished", None)] * 3
    assert {sent.key for sent in transport.records} == {b"r"}


def test_an_exception_ends_the_run_as_failed_and_goes_on(tmp_path: Path) -> None:
    transport = MemoryTransport()
    with pytest.raises(RuntimeError, match="bad batch"):
        trainer(LosswatchCallback("r", transport=transport), root=tmp_path).fit(Model(fail_at=3), loader())
    assert endings(transport) == [("failed", "RuntimeError: bad batch")]
    assert len(series(transport, "train")) == 3


def test_the_advice_to_stop_stops_the_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advised_to_stop(monkeypatch, after=4)
    transport, model = MemoryTransport(), Model()
    trainer(LosswatchCallback("r", transport=transport), root=tmp_path).fit(model, loader())
    assert len(model.totals) == 4


def test_a_bare_loss_manual_optimisation_and_a_skipped_step_are_understood(tmp_path: Path) -> None:
    class Bare(Model):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:  # type: ignore[override]  # as users do
            return None if batch_idx == 1 else self.layer(batch[0]).mean()

    class Manual(Model):
        automatic_optimization = False

    for model, expected in ((Bare(), {0, 2, 3, 4, 5}), (Manual(), set(range(6)))):
        transport = MemoryTransport()
        callback = LosswatchCallback("r", transport=transport)
        trainer(callback, root=tmp_path, max_epochs=1).fit(model, loader())
        assert set(series(transport, "train")) == expected


def test_what_goes_wrong_in_the_callback_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a bug")

    transport, model = MemoryTransport(), Model()
    callback = LosswatchCallback("r", transport=transport)
    monkeypatch.setattr("losswatch.Run.log", broken)
    trainer(callback, root=tmp_path).fit(model, loader())
    assert len(model.totals) == 12
    assert sum("on_train_batch_end failed" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(("rank", "published"), [(0, True), (3, False), (1, False)])
def test_the_rank_that_is_named_publishes(rank: int, published: bool) -> None:
    transport = MemoryTransport()
    attachment = LosswatchCallback("r", transport=transport, ranks=-4)._attachment
    attachment.run(rank, 4).log(0, total=1.0)
    attachment.finish()
    assert (len(transport.records) > 0) == published


@pytest.mark.parametrize("name", ["r", None], ids=["named", "from_environment"])
def test_all_ranks_publish_as_runs_of_their_own(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSWATCH_RUN", "r")
    transport = MemoryTransport()
    for rank in range(2):
        attachment = LosswatchCallback(name, transport=transport, ranks="all")._attachment
        for _ in range(2):
            attachment.run(rank, 2).log(0, total=float(rank))
            attachment.finish()
    assert {sent.key for sent in transport.records} == {b"r-rank0", b"r-rank1"}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry points that the distribution declares, whether or not it is installed."""
    project = tomllib.loads((Path(losswatch.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    groups: Mapping[str, Mapping[str, str]] = project["entry-points"]
    lines = [
        line for group, points in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))
    ]
    metadata = tmp_path / "losswatch-0.0.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: losswatch\nVersion: 0.0.0\n")
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("environment", "attached"),
    [
        ({}, 0),
        ({"LOSSWATCH_BOOTSTRAP_SERVERS": "localhost:1"}, 1),
        ({"LOSSWATCH_BOOTSTRAP_SERVERS": "localhost:1", "LOSSWATCH_ENABLED": "0"}, 0),
    ],
    ids=["nothing", "broker", "off"],
)
def test_every_trainer_is_watched_where_the_environment_names_a_broker(
    environment: dict[str, str], attached: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOSSWATCH_BOOTSTRAP_SERVERS", "LOSSWATCH_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = [callback for callback in trainer(root=tmp_path).callbacks if isinstance(callback, LosswatchCallback)]
    assert len(found) == attached


@pytest.mark.usefixtures("installed")
def test_the_entry_points_callback_leaves_the_run_to_one_attached_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSWATCH_BOOTSTRAP_SERVERS", "localhost:1")
    transport, model = MemoryTransport(), Model()
    fitting = trainer(LosswatchCallback("r", transport=transport), root=tmp_path, max_epochs=1)
    automatic = [callback for callback in fitting.callbacks if isinstance(callback, LosswatchCallback)][1]
    fitting.fit(model, loader())
    assert automatic._attachment._run is None
    assert len(series(transport, "train")) == 6
