"""Capturing values: copied at the call, never read from a device on the job's thread."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

import losswatch
from losswatch import tensors
from losswatch.schema import Predictions, Steps
from losswatch.transport import MemoryTransport
from tests.publisher.hook.reading import records_of


class DeviceTensor:
    """A tensor on a device, as far as the hook looks: reading it on the thread that made it is an error."""

    def __init__(self, value: Any, *, cloned: bool = False) -> None:
        self.value = value
        self.cloned = cloned
        self.is_cpu = False
        self.device = torch.device("xpu")
        self.shape = np.shape(value)
        self._thread = threading.get_ident()

    def detach(self) -> DeviceTensor:
        return self

    def clone(self) -> DeviceTensor:
        return DeviceTensor(np.array(self.value), cloned=True)

    def __getitem__(self, key: Any) -> DeviceTensor:
        return DeviceTensor(self.value[key])

    def cpu(self) -> torch.Tensor:
        assert threading.get_ident() != self._thread, "the job's thread waited for the device"
        assert self.cloned, "the job may have overwritten it by now"
        return torch.tensor(self.value)

    def item(self) -> float:
        raise AssertionError("the job's thread waited for the device")

    __float__ = __bool__ = __len__ = item


@pytest.mark.parametrize(
    "value",
    [
        2,
        2.0,
        np.float32(2),
        np.float64(2),
        np.int64(2),
        np.array(2.0),
        np.array([2]),
        torch.tensor(2.0),
        torch.tensor([2]),
        torch.tensor(2.0, requires_grad=True),
        torch.tensor(2.0, dtype=torch.bfloat16),
        torch.nn.Parameter(torch.tensor(2.0)),
        Decimal(2),
    ],
    ids=repr,
)
def test_every_kind_of_number_is_read_as_a_float(value: Any) -> None:
    assert tensors.number(tensors.scalar(value)) == 2.0


@pytest.mark.parametrize("value", ["2", [2.0], np.zeros(2), torch.zeros(2), object(), 1j])
def test_what_is_no_number_is_told_on_reading(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        tensors.number(tensors.scalar(value))


def test_a_scalar_on_a_device_is_cloned_and_read_by_the_sender_only() -> None:
    transport = MemoryTransport()
    tensor: Any = DeviceTensor(0.25)
    with losswatch.start("r", transport=transport) as run:
        run.log(1, total=tensor, components={"a": tensor})
        tensor.value = 99.0
    (block,) = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert block.total is not None
    assert (block.total.tolist(), block.components["a"].tolist()) == ([0.25], [0.25])


def test_predictions_on_a_device_are_cloned_and_read_by_the_sender_only() -> None:
    transport = MemoryTransport()
    probabilities = DeviceTensor(np.array([[0.75, 0.25]]))
    with losswatch.start("r", transport=transport) as run:
        run.predictions(1, probabilities, labels=DeviceTensor(np.array([1])))
        probabilities.value[:] = 99.0
    (batch,) = [record for record in records_of(transport.records) if isinstance(record, Predictions)]
    assert isinstance(batch.values, np.ndarray)
    assert (batch.values.tolist(), batch.labels) == ([[0.75, 0.25]], [1])


def test_what_the_job_overwrites_in_place_was_copied() -> None:
    transport = MemoryTransport()
    loss, array, logits = torch.tensor(1.0), np.array(1.0), torch.tensor([[0.0, 2.0]])
    values, rows, labels = np.array([[0.5, 0.5]]), [[0.25, 0.75]], [1]
    with losswatch.start("r", transport=transport) as run:
        run.log(1, total=loss, components={"a": array})
        run.predictions(1, logits=logits, labels=labels)
        run.predictions(2, values)
        run.predictions(3, rows)
        for tensor in (loss, logits):
            tensor.fill_(99.0)
        for numbers in (array, values):
            numbers[...] = 99.0
        rows[0][0] = labels[0] = 99
    records = records_of(transport.records)
    (block,) = [record for record in records if isinstance(record, Steps)]
    batches = [record for record in records if isinstance(record, Predictions)]
    assert block.total is not None
    assert (block.total.tolist(), block.components["a"].tolist(), batches[0].labels) == ([1.0], [1.0], [1])
    assert [np.asarray(batch.values).tolist() for batch in batches] == [[[0.0, 2.0]], [[0.5, 0.5]], [[0.25, 0.75]]]


def test_a_tensor_with_a_graph_is_let_go_of() -> None:
    weight = torch.ones(2, 3, requires_grad=True)
    captured = tensors.copied(weight * 2)
    assert not captured.requires_grad
    assert tensors.array(captured).tolist() == [[2.0] * 3] * 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int32])
def test_tensors_of_any_dtype_become_numbers(dtype: torch.dtype) -> None:
    assert tensors.array(tensors.copied(torch.ones(2, 3, dtype=dtype))).tolist() == [[1.0] * 3] * 2


def test_a_list_of_tensors_is_an_array() -> None:
    assert tensors.array(tensors.copied([torch.ones(2), torch.zeros(2)])).tolist() == [[1, 1], [0, 0]]
    assert tensors.shape([torch.ones(2), torch.zeros(2)]) == (2, 2)


def test_a_distributed_tensor_is_refused_rather_than_gathered() -> None:
    class Distributed(DeviceTensor):
        def full_tensor(self) -> None:
            raise AssertionError("a collective")

    with pytest.raises(ValueError, match="distributed"):
        tensors.number(tensors.scalar(Distributed(1.0)))
    with pytest.raises(ValueError, match="distributed"):
        tensors.copied(Distributed(np.zeros((2, 2))))


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), 2.0**53, "1"])
def test_a_step_that_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"whole|number"):
        tensors.whole(tensors.scalar(value))
