"""A real training run with uncertainty weighting whose test loop averages: the failure of case B."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from detectors.aggregation.mismatch import Mismatch
from detectors.cell import BAD, GOOD
from tests.detectors.aggregation.test_mismatch import verdict
from tests.detectors.aggregation.totals import Floats, audit, declaration, objective


class Uncertainty(nn.Module):
    """Kendall, Gal and Cipolla (CVPR 2018), with a regularizer."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(tasks))

    def forward(self, losses: torch.Tensor) -> torch.Tensor:
        s = self.log_var.clamp(-2, 2)
        terms: torch.Tensor = 0.5 * (-s).exp() * losses + 0.5 * s + 0.01 * s**2
        return terms.sum()


def trained(epochs: int = 12) -> dict[str, tuple[Floats, Floats, Floats]]:
    """By phase: totals (T), task losses and log variances (3, T), in single precision as ``item()`` gives them."""
    torch.manual_seed(0)
    x = torch.randn(512, 8)
    targets = torch.stack([10 * x[:, 0], x[:, 1] * x[:, 2], x.sum(1).sin()])
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3))
    weighting = Uncertainty(3)
    optimizer = torch.optim.Adam([*model.parameters(), *weighting.parameters()], lr=0.01)
    rows: dict[str, list[list[float]]] = {"train": [], "val": [], "test": []}

    def tasks(part: slice) -> torch.Tensor:
        errors: torch.Tensor = model(x[part]).T - targets[:, part]
        return errors.square().mean(1)

    for _ in range(epochs):
        for start in range(0, 384, 32):
            s = weighting.log_var.detach().clone()
            losses = tasks(slice(start, start + 32))
            total = weighting(losses)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            rows["train"].append([total.item(), *losses.tolist(), *s.tolist()])
        with torch.no_grad():
            s = weighting.log_var
            for phase, part in (("val", slice(384, 448)), ("test", slice(448, 512))):
                losses = tasks(part)
                total = weighting(losses) if phase == "val" else losses.mean()
                rows[phase].append([total.item(), *losses.tolist(), *s.tolist()])
    columns = {phase: np.array(table).T for phase, table in rows.items()}
    return {phase: (c[0], c[1:4], c[4:]) for phase, c in columns.items()}


def test_a_training_total_whose_regularizer_is_not_declared_and_grows_is_not_inconsistent() -> None:
    total, parts, s = trained()["train"]
    found = audit(objective(total, parts, log_var=s))
    assert BAD not in found.verdicts()
    assert int(found.last("total_form")) & 64, "with a regularizer, or half with a constant"


def test_a_test_loop_that_averages_is_told_from_the_training_and_the_validation_loop() -> None:
    declared = declaration("kendall", variant="half", regularizer=0.01)
    train = declaration("kendall", train=True, variant="half", regularizer=0.01)
    phases = trained()
    assert phases["val"][0][-1] != phases["test"][0][-1]
    found = {
        phase: audit(objective(total, parts, log_var=s, declared=train | (declared if phase == "train" else {})))
        for phase, (total, parts, s) in phases.items()
    }
    assert {phase: one.last("total_form") for phase, one in found.items()} == {"train": 64, "val": 64, "test": 2}
    assert all(BAD not in one.verdicts() for one in found.values())
    reference = found["train"].last("total_form")
    assert verdict(reference, found["val"].last("total_form")) == GOOD
    assert verdict(reference, found["test"].last("total_form")) == BAD
    assert Mismatch().kinds[0].severity == "warning"
    weighted = found["test"].reading("total_weighted")
    gap = np.abs(np.array(weighted) - phases["val"][0]) / np.abs(phases["val"][0])
    assert np.median(gap) < 0.5 < np.median(np.abs(phases["test"][0] / phases["val"][0] - 1))
