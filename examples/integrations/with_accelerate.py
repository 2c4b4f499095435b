"""Accelerate: a tracker reports what the loop logs."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn

from losswatch.integrations.accelerate import LosswatchTracker
from losswatch.transport import Transport


def main(transport: Transport | None = None) -> None:
    torch.manual_seed(0)
    tracker = LosswatchTracker("with-accelerate", transport=transport)
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("example")
    model = nn.Linear(8, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.05))
    for step in range(100):
        x = torch.randn(32, 8, device=accelerator.device)
        fit = (model(x) - x.sum(1, keepdim=True)).square().mean()
        size = model.weight.square().sum()
        loss = fit + 0.01 * size
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        # Tensors as they are: no .item().
        accelerator.log({"loss": loss.detach(), "fit_loss": fit.detach(), "size_loss": size.detach()}, step=step)
        if (step + 1) % 20 == 0 and tracker.should_stop(accelerator):
            break
    accelerator.end_training()


if __name__ == "__main__":
    main()
