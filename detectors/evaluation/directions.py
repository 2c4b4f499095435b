"""Which way a metric gets better, by its name, where nobody declared it."""

from __future__ import annotations

import re
from typing import Final, Literal

Direction = Literal["higher", "lower"]

LOWER: Final = (
    "loss nll bce ce mae mse rmse mape smape msle error errors err perplexity ppl wer cer ter fid kid lpips brier ece "
    "hausdorff ade fde epe rmsle bpb bpc bits"
)
HIGHER: Final = (
    "accuracy acc auc auroc auprc roc ap map mar ar f1 f2 fbeta dice iou miou giou precision recall sensitivity "
    "specificity kappa mcc ndcg mrr hit hits bleu rouge rougel meteor cider spice psnr ssim r2 pearson spearman "
    "kendall reward return score success top1 top5 em exact pck ap50 ap75 map50 map75 map95 silhouette"
)
"""Words that make a name a metric of that kind. Higher wins: ``error_recall`` is a recall."""


def direction_of(name: str) -> Direction | None:
    """The better direction of a metric with this name; None where the name does not tell.

    >>> direction_of("eval/mAP50-95(B)"), direction_of("val_rmse"), direction_of("top-1 accuracy"), direction_of("lr")
    ('higher', 'lower', 'higher', None)
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name)
    words = set(re.split(r"[^a-z0-9]+", spaced.lower()))
    if not words.isdisjoint(HIGHER.split()):
        return "higher"
    return None if words.isdisjoint(LOWER.split()) else "lower"
