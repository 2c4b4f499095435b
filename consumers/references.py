"""The training samples that coverage of a run is measured against: a bounded, uniform sample of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from detectors.coverage.neighbours import kept_references
from losswatch.arrays import Floats, Ints

UNLABELLED: Final = -1
MOST_TARGETS: Final = 4
"""Values of a sample that are kept: the first."""


class References:
    """A bottom-k sample: of all samples those are kept whose number has the smallest hashes.

    What is kept depends on the order of the samples alone, not on how records or polls cut them.
    """

    def __init__(self, features: int) -> None:
        self.seen = 0
        self.rows: npt.NDArray[np.float32] = np.zeros((0, features), dtype=np.float32)
        self.labels: Ints = np.zeros(0, dtype=np.int64)
        """The slots of their true classes, `UNLABELLED` where the job did not say."""
        self.targets: dict[str, Floats] = {}
        """Their true values by name, NaN where the job did not say."""
        self.spread: tuple[float, float] | None = None
        """`detectors.coverage.neighbours.Space.spread`, once somebody computed it."""
        self._hash: npt.NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)

    @property
    def features(self) -> int:
        """How many numbers a sample has."""
        return int(self.rows.shape[1])

    def add(self, features: Floats, labels: Ints | None = None, targets: Mapping[str, Floats] | None = None) -> None:
        """Take samples (N, F), the slots of their classes and their values (N)."""
        more, before = len(features), len(self.rows)
        number = np.arange(self.seen, self.seen + more, dtype=np.uint64)
        self.seen += more
        given = dict(targets or {})
        for name in list(dict.fromkeys((*self.targets, *given)))[:MOST_TARGETS]:
            old = self.targets.get(name, np.full(before, np.nan))
            self.targets[name] = np.concatenate([old, given.get(name, np.full(more, np.nan))])
        self.labels = np.concatenate([self.labels, np.full(more, UNLABELLED) if labels is None else labels])
        hashes = np.concatenate([self._hash, _mixed(number)])
        with np.errstate(over="ignore"):  # infinite: counts for nothing
            rows = np.concatenate([self.rows, features.astype(np.float32)])
        kept = np.sort(np.argsort(hashes, kind="stable")[: kept_references(self.features)])
        self._hash, self.rows, self.labels = hashes[kept], rows[kept], self.labels[kept]
        self.spread = None
        self.targets = {name: values[kept] for name, values in self.targets.items()}

    def forget_labels(self) -> None:
        """The slots stand for other classes from now on."""
        self.labels = np.full(len(self.rows), UNLABELLED)

    def dump(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "seen": self.seen,
            "shape": list(self.rows.shape),
            "rows": self.rows.tobytes(),
            "hash": self._hash.tobytes(),
            "labels": self.labels.tobytes(),
            "targets": {name: values.tobytes() for name, values in self.targets.items()},
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Self:
        """From `dump`."""
        found = cls(data["shape"][1])
        found.seen = data["seen"]
        found.rows = np.frombuffer(data["rows"], dtype=np.float32).reshape(data["shape"]).copy()
        found._hash = np.frombuffer(data["hash"], dtype=np.uint64).copy()
        found.labels = np.frombuffer(data["labels"], dtype=np.int64).copy()
        found.targets = {name: np.frombuffer(values).copy() for name, values in data["targets"].items()}
        return found


def _mixed(number: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Splitmix64 (Steele, Lea and Flood 2014): a hash of whole numbers."""
    x = number + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed
