"""scikit-learn: each ``partial_fit`` is a step."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import SGDClassifier

import losswatch
from losswatch.integrations.sklearn import PartialFit
from losswatch.transport import Transport


def main(transport: Transport | None = None) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(640, 8))
    y = X[:, :3].argmax(1)
    held_out = X[:64], y[:64]
    with losswatch.start("with-sklearn", metrics={"score": "higher"}, transport=transport) as run:
        model = PartialFit(SGDClassifier(loss="log_loss", random_state=0), run, held_out=held_out, every=10)
        for step in range(100):
            batch = random.integers(64, 640, 32)
            model.partial_fit(X[batch], y[batch], classes=[0, 1, 2] if step == 0 else None)


if __name__ == "__main__":
    main()
