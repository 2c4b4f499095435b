from __future__ import annotations

import pytest

from detectors.evaluation.directions import direction_of


@pytest.mark.parametrize(
    "name",
    [
        *("val_acc", "accuracy_top-1", "coco/bbox_mAP_50", "mAP50-95(B)", "bbox/APl", "coco/AR .5", "mIoU", "aAcc"),
        *("eval_rougeLsum", "rouge-l", "eval_bleu", "f1_score", "auroc", "psnr", "ssim", "reward", "ep_rew_mean"),
        *("matthews_correlation", "ndcg@5", "explained_variance", "log_likelihood", "win_rate", "top5"),
    ],
)
def test_these_are_better_when_higher(name: str) -> None:
    assert direction_of(name) == "higher"


@pytest.mark.parametrize(
    "name",
    [
        *("loss", "giou_loss", "class_error", "val_mae", "RMSE", "eval_wer", "perplexity", "fid", "nll", "lpips"),
        *("fast_rcnn/false_negative", "edit distance", "cross_entropy", "bpb"),
    ],
)
def test_these_are_better_when_lower(name: str) -> None:
    assert direction_of(name) == "lower"


@pytest.mark.parametrize("name", ["learning_rate", "grad_norm", "kl", "reward_std", "num_hits", "entropy", "", "loo"])
def test_other_names_do_not_tell(name: str) -> None:
    assert direction_of(name) is None
