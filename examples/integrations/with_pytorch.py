"""Plain PyTorch: watch a criterion made of named parts, without a change to the training loop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import losswatch
from losswatch.transport import Transport

SMOOTHNESS = 0.1


class Criterion(nn.Module):
    """Cross entropy, and a penalty on confident outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.entropy = nn.CrossEntropyLoss()
        self.size = nn.MSELoss()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        total: Tensor = self.entropy(logits, labels) + SMOOTHNESS * self.size(logits, torch.zeros_like(logits))
        return total


def main(transport: Transport | None = None) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(256, 8), torch.randint(0, 3, (256,))
    model, criterion = nn.Linear(8, 3), Criterion()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    objective = {"train": {"form": "weighted_sum", "weights": {"size": SMOOTHNESS}}}
    with losswatch.start("with-pytorch", objective=objective, transport=transport) as run:
        losswatch.watch(criterion, run)
        for step in range(100):
            batch = torch.randint(0, 256, (32,))
            logits = model(x[batch])
            loss = criterion(logits, y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 20 == 19:
                run.predictions(step, logits=logits, phase="train")


if __name__ == "__main__":
    main()
