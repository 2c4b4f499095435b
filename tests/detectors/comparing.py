"""When two outputs are the same, and how far rounding may take them apart."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Output

ROUNDING: Final = 1e-9
"""Relative: sums in another order differ by this much at most, in float64."""
NARROW_ROUNDING: Final = 1e-4
"""The same of a cell that works in float32 whatever the input is; of the largest, as in FLOAT32, which holds for its
readings."""
FLOAT32: Final[Mapping[str, float]] = {
    "total_change_ratio": 1e-4,
    "total_residual_ratio": 1e-3,
    "component_change_ratio": 1e-4,
    "spike_rise_ratio": 1e-4,
    "spike_noise_scales": 1e-3,
    "divergence_ratio": 1e-4,
    "divergence_best": 1e-4,
    "total_improvement_ratio": 1e-3,
    "alternation_ratio": 1e-3,
    "oscillation_swing_ratio": 1e-4,
    "metric_lost_ratio": 1e-4,
    "metric_best_mean": 1e-4,
    "metric_recent_mean": 1e-4,
    "class_entropy_slope": 1e-3,
    "class_entropy_steps_to_floor": 2e-2,
    "anomaly_score": 1e-3,
    "anomaly_rarity_steps": 1e-2,
    "anomaly_expected": 1e-4,
    "anomaly_low": 1e-4,
    "anomaly_high": 1e-4,
    "anomaly_change": 1.0,  # a code: the two largest features may be next to each other
}
"""Relative tolerance of a reading in float32, of the largest of the block; 1e-6 where not named."""
FLOAT32_VERDICTS: Final = 0.01
"""Part of the verdicts that float32 may give otherwise: those next to a threshold."""


def spread(values: Tensor, mask: Tensor) -> Tensor:
    """The values (R[, K], T) where the mask (R, T) is true."""
    return values[mask] if values.dim() == mask.dim() else values.transpose(1, 2)[mask]


def only(output: Output, r: int, steps: int) -> Output:
    """What is of one row, and of its first steps."""
    return Output(
        {name: value[r : r + 1] for name, value in output.state.items()},
        {name: value[r : r + 1, ..., :steps] for name, value in output.readings.items()},
        {name: value[r : r + 1, ..., :steps] for name, value in output.verdicts.items()},
    )


def same_where(mask: Tensor, got: Output, want: Output) -> None:
    """Equal up to rounding on the steps of the mask."""
    same(
        Output(
            got.state,
            {k: spread(v, mask) for k, v in got.readings.items()},
            {k: spread(v, mask) for k, v in got.verdicts.items()},
        ),
        Output(
            want.state,
            {k: spread(v, mask) for k, v in want.readings.items()},
            {k: spread(v, mask) for k, v in want.verdicts.items()},
        ),
    )


def same(got: Output, want: Output) -> None:
    """Equal up to rounding in the dtype of the state; verdicts equal."""
    for name, verdict in want.verdicts.items():
        assert torch.equal(got.verdicts[name], verdict), f"verdicts of {name} differ"
    if any(value.dtype == torch.float32 for value in want.state.values()):
        for found, wanted in ((got.readings, want.readings), (got.state, want.state)):
            assert found.keys() == wanted.keys()
            for name, value in wanted.items():
                most = value[value.isfinite()].abs().max().item() if value.isfinite().any() else 0.0
                tolerance = FLOAT32.get(name, NARROW_ROUNDING) * most
                _close({name: found[name]}, {name: value}, 0.0, tolerance)
        return
    _close(got.readings, want.readings, ROUNDING, 1e-10)
    _close(got.state, want.state, ROUNDING, 1e-10)


def identical(got: Output, want: Output) -> None:
    """Equal to the last bit."""
    _close(got.readings, want.readings, 0.0, 0.0)
    _close(got.verdicts, want.verdicts, 0.0, 0.0)
    _close(got.state, want.state, 0.0, 0.0)


def _close(got: Mapping[str, Tensor], want: Mapping[str, Tensor], rtol: float, atol: float) -> None:
    assert got.keys() == want.keys()
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=rtol, atol=atol, equal_nan=True, msg=partial(_named, name))


def _named(name: str, message: str) -> str:
    return f"{name}: {message}"
