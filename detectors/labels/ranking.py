"""How well anomaly scores rank, exactly, over the newest samples. Letters: R rows, W samples kept, T records.

The score of a sample is the probability that its class is not the normal one. Kept are the newest W samples with
labels, 16 bytes each in double precision: 8,192 bytes of 512. Nothing is approximated over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import Block, Output, State
from detectors.kinds import Kind, Reading, Threshold
from detectors.streams import Stream

NORMAL = Threshold("normal_class", 0.0, "Place of the class that is no anomaly; all others are, for ranking scores.")
TOP = Threshold("precision_at", 20.0, "How many of the highest scores precision at k is about.")


def areas(score: Tensor, positive: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ROC AUC, average precision and precision at k of samples (..., W); NaN scores are no samples.

    Ties count half in the ROC AUC and as one threshold in the average precision, as in scikit-learn; of a tie
    that straddles the k-th place the expected share counts. NaN where there is no positive or no negative.

    >>> score, positive = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0.0, 0.0, 1.0, 1.0])
    >>> areas(score, positive, torch.tensor(2.0))[:2]
    (tensor(0.7500), tensor(0.8333))
    """
    there = score.isfinite() & positive.isfinite()
    order = torch.where(there, score, -torch.inf).sort(-1)
    ranked, there = order.values, there.gather(-1, order.indices)
    hit = torch.where(there, positive.gather(-1, order.indices), 0.0)  # (..., W), lowest score first
    start = torch.searchsorted(ranked, ranked, right=False)
    stop = torch.searchsorted(ranked, ranked, right=True)
    ones = there.to(score.dtype)

    def below(x: Tensor, place: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x[..., :1]), x.cumsum(-1)], -1).gather(-1, place)

    hits, samples = hit.sum(-1, keepdim=True), ones.sum(-1, keepdim=True)
    misses = ones - hit
    wins = hit * (below(misses, start) + below(misses, stop)) / 2
    roc = wins.sum(-1) / (hits * (samples - hits))[..., 0]
    above, rank = hits - below(hit, start), samples - below(ones, start)  # at this score and higher
    precision = torch.where(there, hit * above / rank, 0.0).sum(-1) / hits[..., 0]
    tied = below(ones, stop) - below(ones, start)
    higher = samples - below(ones, stop)
    taken = ((top[..., None] - higher) / tied).clamp(0.0, 1.0)
    at_top = torch.where(there, hit * taken, 0.0).sum(-1) / torch.minimum(top, samples[..., 0])
    known = roc.isfinite()
    return roc, torch.where(known, precision, torch.nan), torch.where(known, at_top, torch.nan)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Slots are samples: as many are kept as a record may bring. No verdicts: numbers for dashboards and rules."""

    at_points: bool = False
    name: str = "ranking"
    stream: Stream = "scores"
    thresholds: tuple[Threshold, ...] = (NORMAL, TOP)
    kinds: tuple[Kind, ...] = ()
    readings: tuple[Reading, ...] = (
        Reading("roc_auc_ratio", "Area under the ROC curve of the anomaly score, exact over the newest samples."),
        Reading("pr_auc_ratio", "Average precision of the anomaly score, exact over the newest samples."),
        Reading("precision_at_k_ratio", "Share of anomalies among the highest scores of the newest samples."),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """The newest samples (R, W), NaN where there are none yet."""
        return {name: like.new_full((rows, slots), torch.nan) for name in ("score", "positive")}

    def rewind(self, now: State, then: State, step: int) -> State:
        """Which samples are from which step is not kept: the window fills anew."""
        del now, step
        return then

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        windows = self._windows(state, block, block.mask.shape[1])
        top = {TOP.name: thresholds[TOP.name][:, None].expand(block.mask.shape)}
        read = {name: torch.where(block.mask, x, torch.nan) for name, x in self.read(windows, top).items()}
        return Output({name: rows[:, -1] for name, rows in windows.items()}, read)

    def advance(self, state: State, block: Block) -> State:
        """See `detectors.cell.Deferred.advance`."""
        return {name: rows[:, -1] for name, rows in self._windows(state, block, 1).items()}

    def read(self, state: State, thresholds: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `detectors.cell.Deferred.read`."""
        positive = state["positive"]
        anomaly = (positive > 0.5).to(positive.dtype).masked_fill(positive.isnan(), torch.nan)
        found = areas(state["score"], anomaly, thresholds[TOP.name].clamp(min=1.0))
        return dict(zip(("roc_auc_ratio", "pr_auc_ratio", "precision_at_k_ratio"), found, strict=True))

    def _windows(self, state: State, block: Block, last: int) -> dict[str, Tensor]:
        """The newest samples after each of the ``last`` records, (R, last, W)."""
        kept = state["score"].shape[1]
        given = {name: block.values[name] for name in ("score", "positive")}  # (R, W or fewer, T)
        valid = torch.stack([x.isfinite() for x in given.values()]).all(0) & block.mask[:, None]
        order = valid.transpose(1, 2).flatten(1)  # (R, T W), the oldest first
        room = order.shape[1]
        number = valid.sum(1).cumsum(-1)  # (R, T) samples up to each record
        place = kept + torch.where(order, order.cumsum(-1) - 1, room)  # the last place is thrown away
        window = number[:, -last:, None] + torch.arange(kept, device=number.device)
        rows = {}
        for name, x in given.items():
            roomy = torch.cat([state[name], x.new_full((x.shape[0], room + 1), torch.nan)], 1)
            packed = roomy.scatter_(1, place, x.transpose(1, 2).flatten(1))
            rows[name] = packed.gather(1, window.flatten(1)).view(window.shape)
        return rows
