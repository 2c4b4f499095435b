from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import losswatch
from losswatch.integrations.torch import Watch
from losswatch.transport import MemoryTransport
from tests.publisher.integrations.reading import blocks_of, names, series


class Weighted(nn.Module):
    """A criterion made of named parts."""

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__()
        self.ce = nn.CrossEntropyLoss()
        self.extra = nn.ModuleDict({"smooth": nn.CrossEntropyLoss(label_smoothing=0.5)})
        self.weight = weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        total: Tensor = self.ce(logits, labels) + self.weight * self.extra["smooth"](logits, labels)
        return total


@pytest.fixture
def data() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(4, 3), torch.randn(8, 4), torch.randint(0, 3, (8,))


def test_a_criterion_reports_its_output_and_those_of_its_parts(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    transport, criterion = MemoryTransport(), Weighted()
    model, x, y = data
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    totals, parts = [], []
    with losswatch.start("r", transport=transport) as run, losswatch.watch(criterion, run, weights={"ce": 1.0}):
        for _ in range(5):
            loss = criterion(model(x), y)
            totals.append(loss.item())
            parts.append(nn.functional.cross_entropy(model(x), y).item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert series(transport, "train") == pytest.approx(dict(enumerate(totals)))
    assert series(transport, "train", "components.ce") == pytest.approx(dict(enumerate(parts)))
    assert names(transport, "train") == {"total", "components.ce", "components.extra.smooth", "weights.ce"}


def test_watching_changes_neither_outputs_nor_gradients(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    criterion = Weighted()
    model, x, y = data

    def gradient() -> tuple[Tensor, Tensor]:
        model.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        grad = next(model.parameters()).grad
        assert grad is not None
        return loss.detach().clone(), grad.clone()

    plain = gradient()
    with losswatch.start("r", transport=MemoryTransport()) as run, losswatch.watch(criterion, run):
        watched = gradient()
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_named_modules_are_components_and_a_step_is_complete_when_each_was_called(
    data: tuple[nn.Module, Tensor, Tensor],
) -> None:
    transport = MemoryTransport()
    model, x, y = data
    losses = {"ce": nn.CrossEntropyLoss(), "l2": nn.MSELoss()}
    with losswatch.start("r", transport=transport) as run, losswatch.watch(losses, run):
        for _ in range(3):
            ce, l2 = losses["ce"](model(x), y), losses["l2"](model(x), torch.zeros(8, 3))
        losses["ce"](model(x), y)
    assert series(transport, "train", "components.l2") == pytest.approx(dict.fromkeys(range(3), l2.item()))
    assert series(transport, "train", "components.ce") == pytest.approx(dict.fromkeys(range(4), ce.item()))
    assert series(transport, "train") == {}


def test_a_module_called_for_one_part_only_begins_a_step_each_time(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    transport = MemoryTransport()
    model, x, y = data
    losses = {"ce": nn.CrossEntropyLoss(), "rare": nn.MSELoss()}
    with losswatch.start("r", transport=transport) as run, losswatch.watch(losses, run):
        for _ in range(3):
            losses["ce"](model(x), y)
    assert list(series(transport, "train", "components.ce")) == [0, 1, 2]


def test_a_criterion_may_return_a_mapping(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    class Returning(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"loss": x.sum(), "kl": x.mean(), "all": x}

    transport, criterion = MemoryTransport(), Returning()
    with losswatch.start("r", transport=transport) as run, losswatch.watch(criterion, run):
        criterion(torch.ones(4, requires_grad=True))
    assert series(transport, "train") == {0: 4.0}
    assert names(transport, "train") == {"total", "components.kl"}


def test_a_part_called_twice_has_two_names(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l1 = nn.L1Loss()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            total: Tensor = self.l1(a, torch.zeros(2)) + self.l1(b, torch.zeros(2))
            return total

    transport, criterion = MemoryTransport(), Twice()
    with losswatch.start("r", transport=transport) as run, losswatch.watch(criterion, run):
        criterion(torch.ones(2, requires_grad=True), torch.full((2,), 3.0))
    assert series(transport, "train", "components.l1") == {0: 1.0}
    assert series(transport, "train", "components.l1-2") == {0: 3.0}
    assert series(transport, "train") == {0: 4.0}


def test_a_loss_without_gradient_is_of_validation(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    transport, criterion = MemoryTransport(), nn.CrossEntropyLoss()
    model, x, y = data
    with losswatch.start("r", transport=transport) as run, losswatch.watch(criterion, run):
        criterion(model(x), y)
        with torch.no_grad():
            expected = criterion(model(x), y).item()
    assert series(transport, "val") == {0: pytest.approx(expected)}
    assert list(series(transport, "train")) == [0]


def test_a_loss_that_the_criterion_divides_is_declared_as_divided() -> None:
    class Divided(nn.L1Loss):
        def forward(self, input: Tensor, target: Tensor) -> Tensor:
            return super().forward(input, target) / 4

    transport, criterion = MemoryTransport(), Divided()
    with losswatch.start("r", transport=transport) as run, losswatch.watch(criterion, run, divided_by=4):
        criterion(torch.ones(1), torch.zeros(1))
    assert series(transport, "val") == {0: 0.25}
    assert [block.divided_by for block in blocks_of(transport, "val")] == [4]


def test_phase_and_step_can_be_given(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    transport, criterion = MemoryTransport(), nn.CrossEntropyLoss()
    model, x, y = data
    steps = iter([10, 20])
    with losswatch.start("r", transport=transport) as run:
        with losswatch.watch(criterion, run, phase="adapt", step=lambda: next(steps)):
            criterion(model(x), y)
            criterion(model(x), y)
        criterion(model(x), y)
    assert list(series(transport, "adapt")) == [10, 20]


def test_a_loss_changed_in_place_afterwards_is_reported_as_it_was(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    transport = MemoryTransport()
    losses = {"a": nn.L1Loss(), "b": nn.L1Loss()}
    with losswatch.start("r", transport=transport) as run, losswatch.watch(losses, run), torch.no_grad():
        first = losses["a"](torch.ones(1), torch.zeros(1))
        first /= 4
        losses["b"](torch.ones(1), torch.zeros(1))
    assert series(transport, "val", "components.a") == {0: 1.0}


def test_a_loss_that_is_no_number_is_complained_about_once(
    data: tuple[nn.Module, Tensor, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    transport, criterion = MemoryTransport(), nn.CrossEntropyLoss(reduction="none")
    model, x, y = data
    with losswatch.start("r", transport=transport) as run, losswatch.watch(criterion, run):
        for _ in range(3):
            assert criterion(model(x), y).shape == (8,)
    assert blocks_of(transport, "train") == []
    assert sum("reduction" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("broken", [lambda: 1 / 0, lambda: "x"], ids=["raises", "no_number"])
def test_what_goes_wrong_in_a_hook_stays_there(
    data: tuple[nn.Module, Tensor, Tensor], broken: Callable[[], int]
) -> None:
    criterion = nn.CrossEntropyLoss()
    model, x, y = data
    with losswatch.start("r", transport=MemoryTransport()) as run, losswatch.watch(criterion, run, step=broken):
        criterion(model(x), y).backward()


def test_no_graph_is_kept(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    losses = {"a": nn.L1Loss(), "b": nn.L1Loss()}
    model, x, _ = data
    with losswatch.start("r", transport=MemoryTransport()) as run, losswatch.watch(losses, run):
        output = model(x)
        kept = weakref.ref(output)
        losses["a"](output, torch.zeros(8, 3))
        del output
        gc.collect()
        assert kept() is None


def test_a_copy_of_a_watched_criterion_reports_nothing(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    transport, criterion = MemoryTransport(), Weighted()
    model, x, y = data
    with losswatch.start("r", transport=transport) as run:
        watched = losswatch.watch(criterion, run)
        assert isinstance(watched, Watch)
        copied = copy.deepcopy(criterion)
        copied(model(x), y)
        criterion(model(x), y)
        watched.remove()
        criterion(model(x), y)
    assert list(series(transport, "train")) == [0]
