"""Keras 3 on torch: a callback reports each batch's own loss, not the running mean that Keras shows."""

from __future__ import annotations

import os

import numpy as np

from losswatch.transport import Transport


def main(transport: Transport | None = None) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    from losswatch.integrations.keras import LosswatchCallback

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(256, 8)).astype("f4"), random.integers(0, 3, 256)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    callback = LosswatchCallback("with-keras", kind="probabilities", transport=transport)
    model.fit(x, y, epochs=3, validation_split=0.25, verbose=0, callbacks=[callback])


if __name__ == "__main__":
    main()
