"""Does one error say anything of another? Letters: R rows (pairs of errors of a phase), T records.

Case D of the requirements: checkpoints were chosen by the error of the parameters, but what counted was that of the
curve; over samples the two had a correlation of 0.412.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.recurrence import decay_of, discounted_sum, last
from detectors.streams import Stream

LIMIT = Threshold("weak_proxy_limit", 0.5, "Correlation of two errors below which one is no stand-in for the other.")


def _describe(facts: Facts) -> str:
    now, pair = facts.readings, facts.subject or "the two errors"
    if facts.state == "resolved":
        return f"{pair} ({facts.phase}) are no longer surely uncorrelated: r = {now['error_pearson_correlation']:.2f}."
    return (
        f"{pair} ({facts.phase}) say little of each other: over samples r = {now['error_pearson_correlation']:.2f} "
        f"(with 97.7 % confidence below {now['error_correlation_upper']:.2f}), rank correlation "
        f"{now['error_spearman_correlation']:.2f}. Choose checkpoints by the error that counts, not by the other one."
    )


WEAK_PROXY = Kind(
    "weak_proxy",
    "warning",
    "error_pearson_correlation",
    LIMIT.name,
    3,
    10,
    _describe,
    evidence=("error_correlation_upper", "error_spearman_correlation", "error_pairs"),
)


@dataclass(frozen=True, slots=True)
class WeakProxy:
    """Correlations within records, pooled over the recent ones (memory ``window``) by Fisher's z.

    ``z = atanh(r)`` of a record of N samples has the variance ``1 / (N - 3)``; records are weighted by its
    inverse (Hedges and Olkin 1985, the fixed-effect mean), which leaves out that errors of all samples fall together
    while a model learns. Bad where the upper bounds (``sigmas`` standard errors) of both Pearson's and Spearman's
    correlation are below ``weak_proxy_limit``. Unknown below ``samples`` samples.
    """

    window: float = 16.0
    sigmas: float = 2.0
    samples: float = 30.0
    name: str = "weak_proxy"
    stream: Stream = "proxy"
    thresholds: tuple[Threshold, ...] = (LIMIT,)
    kinds: tuple[Kind, ...] = (WEAK_PROXY,)
    readings: tuple[Reading, ...] = (
        Reading("error_pearson_correlation", "Correlation of two errors over the samples of recent records."),
        Reading("error_spearman_correlation", "Rank correlation of two errors over the samples of recent records."),
        Reading("error_correlation_upper", "Upper bound of the correlation, 2 standard errors.", exported=False),
        Reading("error_pairs", "Samples that the correlation is of.", exported=False),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Sums of weights and of weighted z (R)."""
        del slots
        return {name: like.new_zeros(rows) for name in ("weight", "square", "pearson", "spearman", "size")}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        values, steps = block.values, block.mask.sum(-1)
        valid = block.mask & torch.stack([x.isfinite() for x in values.values()]).all(0) & (values["samples"] > 3)
        size = torch.where(valid, values["samples"].clamp(4.0, 1e9), 0.0)
        weight = (size - 3).clamp(min=0.0)
        terms = {"weight": weight, "size": size}
        for name in ("pearson", "spearman"):
            terms[name] = weight * torch.where(valid, values[name].clamp(-0.9999, 0.9999), 0.0).atanh()
        decay = decay_of(self.window)
        sums = {name: discounted_sum(state[name], x, decay) for name, x in terms.items()}
        sums["square"] = discounted_sum(state["square"], weight, decay**2)
        error = sums["square"].sqrt() / sums["weight"]
        mean = {name: sums[name] / sums["weight"] for name in ("pearson", "spearman")}
        upper = {name: (z + self.sigmas * error).tanh() for name, z in mean.items()}
        known = valid & (sums["size"] >= self.samples)
        bad = torch.maximum(upper["pearson"], upper["spearman"]) < thresholds[LIMIT.name][:, None]
        readings = {
            "error_pearson_correlation": mean["pearson"].tanh(),
            "error_spearman_correlation": mean["spearman"].tanh(),
            "error_correlation_upper": upper["pearson"],
            "error_pairs": sums["size"],
        }
        readings = {name: torch.where(block.mask, x, torch.nan) for name, x in readings.items()}
        verdict = verdict_of(known, bad)
        return Output(
            {name: last(x, steps, state[name]) for name, x in sums.items()}, readings, {"weak_proxy": verdict}
        )
