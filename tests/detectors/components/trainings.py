"""Small real trainings, each of a second or two: what their components were at every step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

History = dict[str, list[float]]


def _record(history: History, components: dict[str, Tensor]) -> None:
    for name, value in components.items():
        history.setdefault(name, []).append(value.item())


def collapsed_contrast(steps: int = 300) -> History:
    """Case C: a flow on the unit sphere, trained by the squared error of sigmoid similarities.

    All embeddings start near one point, where the cosine has no gradient: the contrastive term stays, and the other
    three are as good as nothing.
    """
    torch.manual_seed(0)
    flow = nn.Linear(16, 16, bias=False)
    nn.init.normal_(flow.weight, std=1e-4)
    optimiser = torch.optim.SGD(flow.parameters(), lr=0.01)
    center, history = functional.normalize(torch.randn(16), dim=0), History()
    for _ in range(steps):
        z = functional.normalize(center + 0.01 * torch.randn(64, 16), dim=1)
        attribute = torch.randint(0, 2, (64,))
        moved = functional.normalize(z + flow(z), dim=1)
        target = (attribute[:, None] == attribute[None, :]).float()
        components = {
            "contrastive": functional.mse_loss(torch.sigmoid(moved @ moved.T), target),
            "curl": (flow.weight - flow.weight.T).square().mean(),
            "div": flow.weight.diagonal().sum().square(),
            "identity": (moved - z).square().mean(),
        }
        optimiser.zero_grad()
        torch.stack(list(components.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        optimiser.step()
        _record(history, components)
    return history


def two_tasks(steps: int = 400, floor: float | None = None) -> History:
    """A regression and a classification of one network. ``floor`` clamps the regression's loss from below."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
    heads = nn.ModuleDict({"position": nn.Linear(32, 1), "kind": nn.Linear(32, 3)})
    optimiser = torch.optim.Adam([*body.parameters(), *heads.parameters()], lr=3e-3)
    mixing, history = torch.randn(8, 3), History()
    for _ in range(steps):
        x = torch.randn(64, 8)
        position = x[:, :1] - 0.5 * x[:, 1:2] + 0.1 * torch.randn(64, 1)
        hidden = body(x)
        regression = functional.mse_loss(heads["position"](hidden), position)
        components = {
            "position": regression if floor is None else regression.clamp(min=floor),
            "kind": functional.cross_entropy(heads["kind"](hidden), (x @ mixing).argmax(1)),
        }
        optimiser.zero_grad()
        torch.stack(list(components.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        optimiser.step()
        _record(history, components)
    return history


def uncertainty_weighting(scales: dict[str, float], clamp: float = 2.0, steps: int = 400) -> tuple[History, History]:
    """Kendall's 1/2 e^-s L + 1/2 s, s clamped to +-``clamp``, over regressions whose targets have the given scales.

    Returns the task losses and the log variances.
    """
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
    heads = nn.ModuleDict({name: nn.Linear(32, 1) for name in scales})
    free = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in scales})
    optimiser = torch.optim.Adam([*body.parameters(), *heads.parameters(), *free.parameters()], lr=2e-2)
    losses, log_vars = History(), History()
    for _ in range(steps):
        x = torch.randn(64, 8)
        hidden = body(x)
        task = {
            name: functional.mse_loss(heads[name](hidden), scale * (x[:, :1] + torch.randn(64, 1)))
            for name, scale in scales.items()
        }
        s = {name: free[name].clamp(-clamp, clamp) for name in scales}
        optimiser.zero_grad()
        torch.stack([0.5 * (-s[name]).exp() * task[name] + 0.5 * s[name] for name in scales]).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        optimiser.step()
        _record(losses, task)
        _record(log_vars, s)
    return losses, log_vars
