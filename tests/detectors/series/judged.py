"""What the health of a series comes to, of values as they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from detectors.cell import Block
from detectors.series.health import Health
from detectors.streams import ROLES, Role
from tests.detectors.lifecycles import statuses

Floats = npt.NDArray[np.float64]


def fired(
    values: Floats, role: Role = "total", direction: float = -1.0, alone: float = 0.0
) -> dict[str, list[list[int]]]:
    """By kind and row, the places at which a finding began to fire, of values (T) or (R, T)."""
    value = torch.from_numpy(np.atleast_2d(values).astype(np.float64))
    rows = torch.ones(value.shape[0], dtype=torch.float64)
    facts = {"role": float(ROLES.index(role)) * rows, "direction": direction * rows, "alone": alone * rows}
    block = Block(
        torch.arange(value.shape[1]).expand(value.shape),
        torch.ones_like(value, dtype=torch.bool),
        {"value": value},
        facts=facts,
    )
    return {
        kind: [
            [i for i, now in enumerate(row) if now == "firing" and (i == 0 or row[i - 1] != "firing")]
            for row in of_kind
        ]
        for kind, of_kind in statuses(Health(), block).items()
    }
