"""One component is the whole total, or counts for nothing in it. Letters: R rows, K components, T steps.

Case C of the requirements: a loss of 0.599 was 0.599 contrastive, 5.66e-5 curl, 1.63e-5 divergence and 6.57e-7
identity. The first diagnosis blamed the weight of the identity term, which no tenfold of it would have shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.cell import verdict_of
from detectors.components.standing import Standing, per_row
from detectors.kinds import Facts, Kind, Threshold

DOMINANT: Final = Threshold("dominance_share", 0.99, "Share of the total above which a component is all of it.")
NEGLIGIBLE: Final = Threshold("inert_share", 0.001, "Share of the total below which a component may be inert.")
TENFOLD: Final = 10.0
"""Weights are tuned in powers of ten: what a tenfold does not show, no tuning step will."""
READABLE: Final = 1e-3
"""Relative change of a total that a reader of three digits sees."""


def _describe_dominance(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is no longer all of the total: its share is {now['component_share_ratio']:.1%}."
    return (
        f"{name} is {_nearly_all(now['component_share_ratio'])} of the {facts.phase} objective since step "
        f"{facts.began}: the total is this one term, and says nothing about the other components. Look at them one by "
        "one, and give them larger weights if they are meant to matter."
    )


def _describe_inertness(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) contributes again: its share is {now['component_share_ratio']:.2%}."
    if now["component_value"] == 0.0 and now["component_past"] == 0.0:
        return (
            f"{name} is exactly 0 in the {facts.phase} objective, and was at every step so far: it is not computed, or "
            "what it punishes never happens."
        )
    return (
        f"{name} contributes {now['component_contribution']:.3g} to the {facts.phase} objective, "
        f"{now['component_share_ratio']:.2g} of it, since step {facts.began}: ten times its weight of "
        f"{now['component_weight']:.3g} would not be seen in the total. It is not what holds the training back."
    )


def _nearly_all(share: float) -> str:
    """Not "100%" where it is less.

    >>> _nearly_all(0.99988)
    '99.98%'
    """
    return f"{math.floor(share * 1e4) / 100:.2f}%" if math.isfinite(share) else "all"


DOMINATES: Final = Kind(
    "component_dominates",
    "info",
    value="component_share_ratio",
    threshold=DOMINANT.name,
    confirm=20,
    release=20,
    describe=_describe_dominance,
    evidence=("component_share_ratio", "component_contribution", "component_value", "component_weight"),
)
INERT: Final = Kind(
    "component_inert",
    "info",
    value="component_share_ratio",
    threshold=NEGLIGIBLE.name,
    confirm=20,
    release=20,
    describe=_describe_inertness,
    evidence=(
        "component_share_ratio",
        "component_contribution",
        "component_value",
        "component_weight",
        "component_past",
    ),
)


def dominance(now: Standing, thresholds: Mapping[str, Tensor]) -> Tensor:
    """Bad where a component's share is nearly 1 although others take part: (R, K, T).

    Others take part whose weight is not 0. Unknown where a component is the only one that was reported at a step,
    unless the objective has no other.
    """
    compared = _compared(now)
    rivals = (now.seen & (now.weight != 0)).sum(1, keepdim=True) > 1
    return verdict_of(compared, rivals & (now.share > per_row(thresholds, DOMINANT.name)))


def inertness(now: Standing, thresholds: Mapping[str, Tensor]) -> Tensor:
    """Bad where ten times a contribution would drown in the total's noise or last printed digits: (R, K, T).

    The contribution is the largest of now, of the recent mean and of the past one, so that a term that acts now and
    then is not taken for dead. A weight of 0 is meant: good.
    """
    typical = torch.maximum(now.component.recent.abs(), now.component.past.abs())
    size = torch.maximum(typical * now.weight.abs(), now.contribution.abs())
    visible = torch.maximum(now.total.deviation(), READABLE * now.total.past.abs())
    unseen = TENFOLD * size < visible[:, None]
    bad = unseen & (now.share < per_row(thresholds, NEGLIGIBLE.name)) & (now.weight != 0)
    return verdict_of(_compared(now) & now.total_known[:, None], bad)


def _compared(now: Standing) -> Tensor:
    """(R, K, T): there is a share, and it is one among several where there are several."""
    several = now.seen.sum(1, keepdim=True) > 1
    return now.seen & (several | (now.components <= 1)[:, None, None])
