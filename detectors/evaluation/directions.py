"""Which way a metric gets better, by its name, where nobody declared it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

Direction = Literal["higher", "lower"]

LOWER: Final = (
    "loss nll bce ce mae mse rmse mape smape msle error errors err perplexity ppl wer cer ter fid kid lpips brier ece "
    "hausdorff ade fde epe rmsle bpb bpc bits nme per penalty hamming mpjpe"
)
HIGHER: Final = (
    "accuracy acc auc auroc auprc roc ap map mar ar f1 f2 fbeta dice iou miou giou precision recall sensitivity "
    "specificity kappa mcc ndcg mrr hit hits bleu rouge rougel meteor cider spice psnr ssim r2 pearson spearman "
    "kendall reward return score success top1 top5 em exact pck ap50 ap75 map50 map75 map95 silhouette "
    "accuracies correlation spearmanr pearsonr matthews sacrebleu chrf elbo rew rewards returns scores win winrate pq"
)
"""Words that make a name a metric of that kind. Higher wins: ``error_recall`` is a recall."""
SPREAD: Final = frozenset(("std", "stddev", "var", "variance", "scale", "weight", "count", "num", "len", "length"))
"""Words of names that say how large or how scattered something is, which is neither better nor worse."""
_FAMILY: Final = re.compile(r"(?:m?ap|m?ar)(?:\d+[sml]?|[sml])|rouge(?:\d|lsum|[lw]|)|(?:bleu|top|recall|precision)\d+")
_LOWER_PAIR: Final = re.compile(r"false[_ ]?(?:positive|negative)|edit[_ ]?distance|cross[_ ]?entropy|miss[_ ]?rate")
_HIGHER_PAIR: Final = re.compile(r"log[_ ]?likelihood|explained[_ ]variance|true[_ ]?(?:positive|negative)")

TRADED: Final = "precision recall sensitivity specificity reward rewards rew return returns"
"""Metrics that a better model may lose on: precision and recall trade one for the other, and the loss of reinforcement
learning does not measure the reward."""


@lru_cache(maxsize=4096)
def direction_of(name: str) -> Direction | None:
    """The better direction of a metric with this name; None where the name does not tell.

    >>> direction_of("eval/mAP50-95(B)"), direction_of("val_rmse"), direction_of("top-1 accuracy"), direction_of("lr")
    ('higher', 'lower', 'higher', None)
    >>> direction_of("giou_loss"), direction_of("bbox/APs"), direction_of("ep_rew_mean"), direction_of("reward_std")
    ('lower', 'higher', 'higher', None)
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name)
    low = spaced.lower()
    words = set(re.split(r"[^a-z0-9]+", low))
    if _HIGHER_PAIR.search(low):
        return "higher"
    if not words.isdisjoint(SPREAD):
        return None
    if words & {"loss", "losses"} or _LOWER_PAIR.search(low):
        return "lower"
    if not words.isdisjoint(HIGHER.split()) or any(map(_FAMILY.fullmatch, words)):
        return "higher"
    return None if words.isdisjoint(LOWER.split()) else "lower"


def is_goal(name: str) -> bool:
    """Whether a falling loss should come with this metric getting better.

    >>> is_goal("val_accuracy"), is_goal("metrics/recall(B)")
    (True, False)
    """
    return set(re.split(r"[^a-z0-9]+", name.lower())).isdisjoint(TRADED.split())
