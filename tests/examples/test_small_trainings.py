"""Small trainings that really fail, and the same ones in which nothing does, published by the hook.

What the jobs of the five cases show is in `test_case_jobs` and in the demo; these are the other kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import losswatch
from consumers.feed import Feed
from consumers.fleet import Fleet
from consumers.telemetry import Telemetry
from losswatch.encoding import decode
from losswatch.transport import MemoryTransport

SUM: Final = {"objective": {"train": {"form": "sum"}}}
KENDALL: Final = {"objective": {"train": {"form": "kendall", "variant": "half"}}}
Job = Callable[[losswatch.Run], None]


def found(job: Job, declaration: Mapping[str, Any] | None = None) -> set[str]:
    """The kinds of finding that fired."""
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport, advice="off", **(declaration or {})) as run:
        torch.manual_seed(0)
        job(run)
    records = [decode(sent.value, dict(sent.headers)["content-type"].decode()) for sent in transport.records]
    findings, unusable = Feed(Fleet(Telemetry())).take(records)
    assert not unusable
    return {finding.kind for finding in findings if finding.state == "firing"}


def descend(model: nn.Module, loss: Tensor, rate: float, sign: bool = False) -> None:
    """A step of gradient descent, or of its signs (Bernstein et al. 2018)."""
    parameters = list(model.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.data -= rate * (gradient.sign() if sign else gradient)


def network(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, outputs))


def regression(run: losswatch.Run, *, rate: float = 0.05, bad_batch: int = -1, decay: float = 0.0) -> None:
    """A network learns a sine, from step 200 on at another rate; ``decay`` is in the total and not in the log."""
    model, mixing, x = network(1), torch.randn(8, 1), torch.randn(512, 8)
    y = (x @ mixing / 4).sin()
    for step in range(400):
        at = torch.randperm(512)[:64]
        error = mse_loss(model(x[at]), -5 * y[at] if step == bad_batch else y[at])
        left_out = decay * torch.stack([p.square().sum() for p in model.parameters()]).sum()
        run.log(step, total=error + left_out, components={"error": error})
        descend(model, error, rate if step >= 200 else 0.05)


def signs(run: losswatch.Run, *, rate: float) -> None:
    """A straight line is learned by the signs of its gradients, from step 300 on at another rate."""
    model, x = nn.Linear(8, 1), torch.randn(512, 8)
    y = x @ torch.randn(8, 1) + 0.1 * torch.randn(512, 1)
    for step in range(500):
        loss = mse_loss(model(x), y)
        run.log(step, total=loss)
        descend(model, loss, rate if step >= 300 else 0.01, sign=True)


def classification(run: losswatch.Run, *, rate: float = 0.3, checked_on: int = 512, half: bool = False) -> None:
    """A network learns three classes; every fifth step it is validated on so many samples."""
    model, mixing, x = network(3), torch.randn(8, 3), torch.randn(2048, 8)
    y = (x @ mixing + torch.randn(2048, 3)).argmax(1)
    for step in range(500):
        at = torch.randperm(1024)[:256]
        loss = cross_entropy(model(x[at]), y[at])
        run.log(step, total=loss)
        descend(model, loss, rate)
        if step % 5 == 0:
            some = 1024 + torch.randperm(1024)[:checked_on]
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
                run.log(step, phase="val", total=cross_entropy(model(x[some]), y[some]))


def uncertainty(run: losswatch.Run, *, scale: float) -> None:
    """Two tasks weigh themselves, with s clamped to [-2, 2] in the total and reported as it is."""
    model, s = network(2), nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([*model.parameters(), s], lr=0.02)
    for step in range(500):
        x = torch.randn(128, 8)
        y = (2 * x[:, :2] + torch.randn(128, 2)) * torch.tensor([1.0, scale])
        losses = (model(x) - y).square().mean(0)
        clamped = s.clamp(-2, 2)
        # The slope of a clamp is 0 beyond it: this one lets s go on, as a straight-through estimator does.
        total = (0.5 * (-clamped).exp() * losses + 0.5 * clamped).sum()
        run.log(
            step,
            total=total.item(),
            components=dict(zip("ab", losses.tolist(), strict=True)),
            log_vars=dict(zip("ab", s.tolist(), strict=True)),
        )
        optimizer.zero_grad()
        (0.5 * (-s).exp() * losses + 0.5 * s).sum().backward()
        optimizer.step()


def precisions(val: str) -> dict[str, Any]:
    return {"precision": {"train": "float32", "val": val}}


@pytest.mark.parametrize(
    ("job", "declaration", "kinds"),
    [
        (regression, {}, set()),
        (partial(regression, rate=1.0), {}, {"non_finite", "spike"}),
        (partial(regression, bad_batch=300), {}, {"spike", "temporal_anomaly"}),
        (regression, SUM, set()),
        (partial(regression, decay=0.01), SUM, {"total_inconsistent"}),
        (partial(signs, rate=0.01), {}, set()),
        (partial(signs, rate=0.1), {}, {"oscillation", "spike"}),
        (classification, precisions("float32"), set()),
        (partial(classification, rate=0.0), {}, {"plateau"}),
        (partial(classification, checked_on=4), {}, {"erratic_validation"}),
        (partial(classification, half=True), precisions("bfloat16"), {"precision_mismatch"}),
        (partial(uncertainty, scale=1.0), KENDALL, set()),
        (partial(uncertainty, scale=6.0), KENDALL, {"log_variance_clamped"}),
    ],
)
def test_a_training_is_told_what_fails_in_it(job: Job, declaration: Mapping[str, Any], kinds: set[str]) -> None:
    told = found(job, declaration)
    assert told - {"spike", "temporal_anomaly"} == kinds - {"spike", "temporal_anomaly"}
    assert kinds <= told
    assert kinds or not told
