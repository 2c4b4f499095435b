"""Any training loop: numbers by name, sorted into phases, totals, components and metrics by their names."""

from __future__ import annotations

import math

import losswatch
from losswatch.transport import Transport


def main(transport: Transport | None = None) -> None:
    with losswatch.Logger("with-logger", transport=transport) as logger:
        for step in range(100):
            fit, size = math.exp(-step / 30), 0.1 + 0.001 * step
            logger.log_metrics({"loss": fit + size, "fit_loss": fit, "size_loss": size, "lr": 1e-3}, step=step)
            if step % 20 == 19:
                logger.log_metrics({"val/loss": 1.1 * (fit + size), "val/accuracy": 1 - fit}, step=step)


if __name__ == "__main__":
    main()
