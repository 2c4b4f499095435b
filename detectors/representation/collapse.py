"""Do all embeddings end up in one place, or on one line? Letters: R rows (phases with embeddings), T records.

Case C of the requirements: a contrastive loss of which one point for all samples was a minimum; four tiny terms
hid it, and the total looked low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.recurrence import last
from detectors.streams import Stream

COSINE = Threshold("representation_cosine_limit", 0.95, "Mean cosine of two embeddings above which all point one way.")
RANK = Threshold("representation_rank_floor", 1.5, "Effective rank of centred embeddings below which they are a line.")


def _describe(facts: Facts) -> str:
    now = facts.readings
    if facts.state == "resolved":
        return (
            f"Embeddings of phase {facts.phase} are spread out again: mean cosine "
            f"{now['embedding_cosine_ratio']:.2f}, effective rank {now['embedding_effective_rank']:.1f}."
        )
    line = now["embedding_cosine_ratio"] <= facts.thresholds[COSINE.name]
    what = "lie on one line" if line else "have all but one direction"
    return (
        f"Embeddings of phase {facts.phase} {what}: mean cosine of two samples {now['embedding_cosine_ratio']:.3f}, "
        f"effective rank {now['embedding_effective_rank']:.1f}, spread {now['embedding_spread_ratio']:.3f} of a "
        "uniform one. A low loss says nothing here; check that the loss pushes different samples apart, e.g. by "
        "InfoNCE with negatives."
    )


COLLAPSE = Kind(
    "representation_collapse",
    "critical",
    "embedding_cosine_ratio",
    COSINE.name,
    5,
    10,
    _describe,
    evidence=("embedding_effective_rank", "embedding_spread_ratio", "embedding_uniformity", "embedding_alignment"),
)


@dataclass(frozen=True, slots=True)
class RepresentationCollapse:
    """Bad where the mean cosine is above its limit (one point), or the effective rank below its floor (one line).

    A line is nothing strange in fewer than ``dimensions`` dimensions. Unknown for the first ``warm_up`` records: nets
    with rectifiers start with almost parallel embeddings; and for records of fewer than ``samples`` samples.
    """

    samples: float = 16.0
    dimensions: float = 4.0
    warm_up: int = 10
    name: str = "representation"
    stream: Stream = "representation"
    thresholds: tuple[Threshold, ...] = (COSINE, RANK)
    kinds: tuple[Kind, ...] = (COLLAPSE,)
    readings: tuple[Reading, ...] = (
        Reading("embedding_cosine_ratio", "Mean cosine of two embeddings of a record.", feeds="series"),
        Reading("embedding_spread_ratio", "Spread of embeddings on the sphere: 1 is uniform, 0 is one point."),
        Reading("embedding_effective_rank", "Effective rank (RankMe) of the centred embeddings."),
        Reading("embedding_uniformity", "Uniformity on the sphere (Wang and Isola 2020): 0 is one point."),
        Reading("embedding_alignment", "Mean squared distance on the sphere of two embeddings of one label."),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Records seen (R)."""
        del slots
        return {"count": like.new_zeros(rows)}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        values = block.values
        cosine, rank = values["cosine"], values["effective_rank"]
        valid = block.mask & cosine.isfinite() & rank.isfinite() & (values["samples"] >= self.samples)
        count = state["count"][:, None] + valid.to(cosine.dtype).cumsum(-1)
        line = (rank < thresholds[RANK.name][:, None]) & (values["dimensions"] >= self.dimensions)
        bad = (cosine > thresholds[COSINE.name][:, None]) | line
        known = valid & (count > self.warm_up)
        verdict = verdict_of(known, bad)
        readings = {
            "embedding_cosine_ratio": cosine,
            "embedding_spread_ratio": values["spread"],
            "embedding_effective_rank": rank,
            "embedding_uniformity": values["uniformity"],
            "embedding_alignment": values["alignment"],
        }
        end = {"count": last(count, block.mask.sum(-1), state["count"])}
        return Output(end, readings, {"representation_collapse": verdict})
