from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.tracking import register_tracker_class
from torch import nn

import losswatch
from losswatch.integrations.accelerate import LosswatchTracker
from losswatch.transport import MemoryTransport
from tests.publisher.integrations.reading import advised_to_stop, endings, series, types


def train(accelerator: Accelerator, steps: int = 6) -> list[float]:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    losses = []
    for step in range(steps):
        with accelerator.accumulate(model):
            loss = model(torch.randn(8, 4, device=accelerator.device)).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        accelerator.log({"loss": loss.detach(), "val/accuracy": 0.5, "kl_loss": 0.25}, step=step)
    return losses


def test_what_is_logged_is_sorted_by_its_names() -> None:
    transport = MemoryTransport()
    accelerator = Accelerator(
        cpu=True, log_with=LosswatchTracker("r", transport=transport), gradient_accumulation_steps=2
    )
    accelerator.init_trackers("project", config={"lr": 0.1})
    losses = train(accelerator)
    accelerator.end_training()
    assert series(transport, "train") == pytest.approx(dict(enumerate(losses)))
    assert series(transport, "train", "components.kl") == dict.fromkeys(range(6), 0.25)
    assert series(transport, "val", "metrics.accuracy") == dict.fromkeys(range(6), 0.5)
    assert endings(transport) == [("finished", None)]


def test_the_tracker_works_by_its_name() -> None:
    register_tracker_class(LosswatchTracker)
    transport = MemoryTransport()
    accelerator = Accelerator(cpu=True, log_with="losswatch")
    accelerator.init_trackers("by-name", init_kwargs={"losswatch": {"transport": transport}})
    accelerator.log({"loss": 1.0})
    accelerator.log({"loss": 2.0})
    accelerator.end_training()
    assert series(transport, "train") == {0: 1.0, 1: 2.0}
    assert {sent.key for sent in transport.records} == {b"by-name"}


def test_nothing_starts_before_the_trackers_do() -> None:
    transport = MemoryTransport()
    LosswatchTracker("r", transport=transport)
    assert transport.records == []


def test_a_run_that_was_given_is_the_tracker_and_stays_its_owners() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        accelerator = Accelerator(cpu=True, log_with=LosswatchTracker(run))
        accelerator.init_trackers("project")
        assert accelerator.get_tracker("losswatch", unwrap=True) is run
        accelerator.log({"loss": 1.0}, step=4)
        accelerator.end_training()
        run.log(5, total=2.0)
    assert series(transport, "train") == {4: 1.0, 5: 2.0}
    assert types(transport).count("run_end") == 1


def test_the_advice_to_stop_reaches_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    advised_to_stop(monkeypatch, after=3)
    tracker = LosswatchTracker("r", transport=MemoryTransport())
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("project")
    assert [tracker.should_stop(accelerator) for _ in range(3)] == [False, False, True]
    accelerator.end_training()


def test_what_goes_wrong_in_the_tracker_stays_there(caplog: pytest.LogCaptureFixture) -> None:
    tracker = LosswatchTracker("r", transport=MemoryTransport())
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("project")
    accelerator.log({"loss": "high"}, step=0)
    accelerator.log({"loss": 1.0}, step="zero")
    accelerator.end_training()
