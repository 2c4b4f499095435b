"""What does each feature bring to the temporal score? The cell without it, on the development series of bench.temporal.

python -m bench.temporal_ablation    # prints the table of docs/temporal.md, 2 minutes
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.temporal import SEEDS
from bench.temporal_measures import peaks
from bench.temporal_own import BATCH, own_batch
from bench.temporal_runs import Floats, Labelled, make
from detectors.cell import State
from detectors.temporal.anomaly import TemporalAnomaly
from detectors.temporal.features import FEATURES, Features
from detectors.temporal.forecast import Forecast


@dataclass(frozen=True, slots=True)
class Without(Features):
    """The features, one of which never sees anything."""

    left_out: int = 0

    def update(
        self, state: State, x: Tensor, forecast: Forecast, direction: Tensor, count: Tensor, taken: Tensor
    ) -> tuple[State, Tensor, Tensor, Tensor]:
        """See `Features.update`."""
        end, found, noisy, sign = Features.update(self, state, x, forecast, direction, count, taken)
        found[:, self.left_out] = 0.0
        return end, found, noisy, sign


def area(runs: Sequence[Labelled], cell: TemporalAnomaly) -> float:
    """Area under the precision-recall curve of the cell's scores."""
    scores: list[Floats] = []
    for start in range(0, len(runs), BATCH):
        batch = runs[start : start + BATCH]
        scores += own_batch([run.values for run in batch], [run.direction for run in batch], cell=cell)
    return peaks(runs, scores).area()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=800, help="made-up series to judge on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = make(SEEDS["development"], options.series)
    print(f"| left out | PR AUC |\n|---|---:|\n| nothing | {area(runs, TemporalAnomaly()):.3f} |")
    for place, name in enumerate(FEATURES):
        print(f"| {name} | {area(runs, TemporalAnomaly(features=Without(left_out=place))):.3f} |", flush=True)


if __name__ == "__main__":
    main()
