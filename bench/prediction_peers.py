"""What one would write with NumPy and scikit-learn for a run's predictions, record by record."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any, Final

import msgpack
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from consumers.samples import KEPT_SCORES
from detectors.labels.ranking import NORMAL, TOP
from detectors.predictions.distribution import BINS

Array = NDArray[Any]
_TINY: Final = 1e-30


class PerRun:
    """Keeps the newest anomaly scores of each run, as the worker does, and tells the same numbers."""

    def __init__(self) -> None:
        self._newest: defaultdict[str, deque[tuple[float, bool]]] = defaultdict(lambda: deque(maxlen=KEPT_SCORES))

    def take(self, value: bytes) -> None:
        """Decode and judge a record in MessagePack."""
        record = msgpack.unpackb(value)
        if record["kind"] == "summary":
            diversity(_array(record["mean"]), _array(record["counts"]), record["mean_entropy"])
        else:
            p, labels = _array(record["values"]).astype(np.float32), record["labels"]
            self._judge(record["run"], p, _array(labels) if isinstance(labels, dict) else np.array(labels))

    def _judge(self, run: str, p: Array, labels: Array) -> None:
        predicted = p.argmax(1)
        counts = np.bincount(predicted, minlength=p.shape[1])
        diversity(p.mean(0), counts, float(-(p * np.log(p + _TINY)).sum(1).mean()))
        calibration(p.max(1), predicted == labels)
        scores(labels, predicted)
        normal = int(NORMAL.default)
        newest = self._newest[run]
        newest.extend(zip((1 - p[:, normal]).tolist(), (labels != normal).tolist(), strict=True))
        ranking(np.array([score for score, _ in newest]), np.array([anomaly for _, anomaly in newest]))


def diversity(mean: Array, counts: Array, mean_entropy: float) -> tuple[float, ...]:
    """Class entropy, its perplexity, sample entropy, mutual information, largest mean, classes and their shares."""
    nats, size = float(-(mean * np.log(mean + _TINY)).sum()), np.log(len(mean))
    perplexity = (np.exp(nats) - 1) / (len(mean) - 1)
    shares = counts / counts.sum()
    unique = float(np.count_nonzero(counts))
    return nats / size, perplexity, mean_entropy / size, (nats - mean_entropy) / size, mean.max(), unique, shares.max()


def calibration(confidence: Array, right: Array) -> float:
    """Expected calibration error."""
    place = np.clip(np.ceil(confidence * BINS).astype(int), 1, BINS) - 1
    gap = np.bincount(place, weights=confidence - right, minlength=BINS)
    return float(np.abs(gap).sum() / len(right))


def scores(labels: Array, predicted: Array) -> tuple[float, ...]:
    """Accuracy; precision, recall and F1 over the classes and over the samples."""
    each = precision_recall_fscore_support(labels, predicted, average=None, zero_division=0)
    support = each[3]
    macro = [float(values.mean()) for values in each[:3]]
    weighted = [float((values * support).sum() / support.sum()) for values in each[:3]]
    return float(accuracy_score(labels, predicted)), *macro, *weighted


def ranking(score: Array, anomaly: Array) -> tuple[float, ...]:
    """ROC AUC, average precision and precision at k."""
    if anomaly.all() or not anomaly.any():
        return ()
    top = np.argsort(score)[-int(TOP.default) :]
    roc, precision = roc_auc_score(anomaly, score), average_precision_score(anomaly, score)
    return float(roc), float(precision), float(anomaly[top].mean())


def _array(buffer: dict[str, Any]) -> Array:
    return np.frombuffer(buffer["b"], buffer["d"]).reshape(buffer["s"])
