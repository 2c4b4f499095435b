"""A small network that scores series by what the temporal cell sees of them, for bench.temporal_learned.

Two layers of `HIDDEN` see at each step the features, their surprises, how much of a noise the series is and how long it
is, and add to the cell's own surprise. Trained so that the largest output in an anomaly's window is high, and that of
every `APART` values outside low: what bench.temporal counts. *Alone* it sees the features only, and adds to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from bench.temporal_measures import APART
from bench.temporal_own import BATCH, own_batch
from bench.temporal_runs import GRACE, Floats, Labelled
from detectors.cell import State
from detectors.temporal.anomaly import PRIORS, TemporalAnomaly
from detectors.temporal.features import FEATURES, Features
from detectors.temporal.forecast import Forecast
from detectors.temporal.tail import Tail

WARM_UP: Final = 16
HIDDEN: Final = 16
EPOCHS: Final = 40
MINIBATCH: Final = 2000
RATE: Final = 6e-3
QUIET: Final = -8.0
"""What the network says of a series that is no noise."""


@dataclass(frozen=True, slots=True)
class HeardFeatures(Features):
    """Keeps what the features were, and how much of a noise."""

    heard: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def update(
        self, state: State, x: Tensor, forecast: Forecast, direction: Tensor, count: Tensor, taken: Tensor
    ) -> tuple[State, Tensor, Tensor, Tensor]:
        """See `Features.update`."""
        found = Features.update(self, state, x, forecast, direction, count, taken)
        self.heard.append((found[1], found[2]))
        return found


@dataclass(frozen=True, slots=True)
class HeardTail(Tail):
    """Keeps the surprises."""

    heard: list[Tensor] = field(default_factory=list)

    def update(
        self, state: State, q: Tensor, count: Tensor, known: Tensor, number: Tensor, taken: Tensor
    ) -> tuple[State, Tensor]:
        """See `Tail.update`."""
        end, surprise = Tail.update(self, state, q, count, known, number, taken)
        self.heard.append(surprise)
        return end, surprise


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cell made of some series: its score (T) and the network's input (T, F) of each."""

    runs: Sequence[Labelled]
    scores: Sequence[Floats]
    inputs: Sequence[Tensor]


def see(runs: Sequence[Labelled]) -> Seen:
    """Let the cell judge the series, and keep what it goes by."""
    order = sorted(range(len(runs)), key=lambda i: len(runs[i].values))
    scores: dict[int, Floats] = {}
    inputs: dict[int, Tensor] = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        features, tail = HeardFeatures(), HeardTail(PRIORS)
        values, directions = [runs[i].values for i in batch], [runs[i].direction for i in batch]
        judged = own_batch(values, directions, cell=TemporalAnomaly(features=features, tail=tail))
        found = torch.cat([seen for seen, _ in features.heard], dim=-1)
        noisy = torch.cat([share for _, share in features.heard], dim=-1)
        surprise = torch.cat(tail.heard, dim=-1)
        for r, i in enumerate(batch):
            length = len(runs[i].values)
            scores[i] = judged[r]
            inputs[i] = _input(
                found[r, :, :length], surprise[r, :, :length], noisy[r, :length], judged[r], directions[r]
            )
    return Seen(runs, [scores[i] for i in range(len(runs))], [inputs[i] for i in range(len(runs))])


NOISY, NATS = len(FEATURES), len(FEATURES) + 1
"""Where in the input there is how much of a noise the series is, and the cell's surprise in nats."""


def _input(found: Tensor, surprise: Tensor, noisy: Tensor, score: Floats, direction: int) -> Tensor:
    """(T, F) of the features (J, T), the surprises of all but the freeze (J - 1, T), the noise and the score (T)."""
    nats = torch.from_numpy(score / (1 - np.minimum(score, 0.999)) * np.log(50_000)).to(found.dtype)[None]
    age = torch.arange(found.shape[-1], dtype=found.dtype)[None].log1p() / 8
    both = torch.full_like(age, float(direction == 0))
    rows = [found.clamp(max=1e6).log1p(), noisy[None], nats, age, both, surprise.clamp(min=0).log1p(), nats.log1p()]
    return torch.cat(rows).T.contiguous()


class Network(nn.Module):
    """Two hidden layers of `HIDDEN`; ``alone`` it sees no surprise, else it adds to the cell's."""

    def __init__(self, examples: Tensor, *, alone: bool) -> None:
        super().__init__()
        self.alone = alone
        columns = examples.shape[1]
        used = [i for i in range(NATS + 3 if alone else columns) if i != NATS]  # columns behind are of the tails
        self.columns: Final = torch.tensor(used)
        self.mean, self.size = examples[:, used].mean(0), examples[:, used].std(0) + 1e-6
        end = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(end.weight)
        nn.init.zeros_(end.bias)
        self.layers = nn.Sequential(nn.Linear(len(used), HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), end)
        self.trust = nn.Parameter(torch.tensor(0.6))

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) to (N): how odd, as a logit."""
        odd: Tensor = self.layers((x[:, self.columns] - self.mean) / self.size)[:, 0]
        return QUIET + x[:, NOISY] * (odd if self.alone else odd + self.trust * x[:, NATS].clamp(max=40.0))


def segments(seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (N, F) in order of their segment; the segments' lengths (S), and whether each is an anomaly (S)."""
    pieces: list[Tensor] = []
    labels: list[float] = []
    for run, x in zip(seen.runs, seen.inputs, strict=True):
        healthy = np.arange(len(x)) >= WARM_UP
        for window in run.windows:
            healthy[window.start : window.end + GRACE] = False
            pieces.append(x[window.start : window.end])
            labels.append(1.0)
        outside = np.flatnonzero(healthy)
        starts = np.flatnonzero(np.diff(outside // APART, prepend=-1))
        pieces += [x[torch.from_numpy(part)] for part in np.split(outside, starts[1:])] if len(outside) else []
        labels += [0.0] * len(starts)
    return torch.cat(pieces), torch.tensor([len(piece) for piece in pieces]), torch.tensor(labels)


def trained(seen: Seen, *, alone: bool, epochs: int = EPOCHS) -> Network:
    """The network after so many passes, the same at every call."""
    torch.manual_seed(0)
    x, counts, labels = segments(seen)
    network, starts = Network(x, alone=alone), counts.cumsum(0) - counts
    steps = epochs * -(-len(labels) // MINIBATCH)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(labels)), MINIBATCH):
            lengths = counts[chosen]
            segment = torch.repeat_interleave(torch.arange(len(chosen)), lengths)
            place = torch.arange(len(segment)) - (lengths.cumsum(0) - lengths)[segment] + starts[chosen][segment]
            largest = torch.full((len(chosen),), -torch.inf).scatter_reduce(0, segment, network(x[place]), "amax")
            loss = nn.functional.binary_cross_entropy_with_logits(largest, labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
            schedule.step()
    return network


def scored(network: Network, seen: Seen) -> list[Floats]:
    """A score from 0 to 1 of every value, 0 in warm-up."""
    found = []
    with torch.inference_mode():
        for x in seen.inputs:
            score = network(x).double().sigmoid().numpy()
            score[:WARM_UP] = 0.0
            found.append(score)
    return found
