"""Keras 3: a callback that reports each batch's own loss where the backend lets it be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from losswatch.integrations.attachment import Attachment, Kind, harmless, silent
from losswatch.integrations.logger import by_rule, report
from losswatch.notices import Notices
from losswatch.run import Run


class LosswatchCallback(keras.callbacks.Callback):
    """Reports the losses of ``fit`` and ``evaluate``, and what ``predict`` returns.

    With the torch backend, not compiled, each batch's own loss is reported. JAX, TensorFlow and
    ``jit_compile=True`` trace the loss instead of computing it: then the running means that Keras
    shows are reported, declared as such.

    Parameters
    ----------
    run
        The run's name; or a `Run`, which stays yours to finish.
    publish
        Whether this process publishes; with several, True in one of them.
    kind
        What ``predict`` returns; without it predictions are not reported.
    declaration
        More arguments of `losswatch.start`.
    """

    async_safe = True

    def __init__(
        self, run: Run | str | None = None, *, publish: bool = True, kind: Kind | None = None, **declaration: Any
    ) -> None:
        super().__init__()
        self._notices = Notices()
        self._attachment = Attachment(run if publish else silent(), 0, declaration)
        self._kind = kind
        self._next_step = self._first_step = 0
        self._fitting = self._exact = False

    @harmless
    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Start the run, and see the losses where that is possible."""
        self._attachment.run()
        self._fitting = True
        model = self.model
        self._exact = keras.backend.backend() == "torch" and not model.jit_compile
        if self._exact:
            loss = _unwatched(model)
            model.compute_loss = WatchedLoss(loss, self._seen, restored="compute_loss" in vars(model))

    @harmless
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count the epoch's batches from here."""
        self._first_step = self._next_step

    @harmless
    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop where that is advised; report running means where nothing better is known."""
        run = self._attachment.run()
        if not self._exact:
            step = self._first_step + batch
            self._next_step = max(self._next_step, step + 1)
            for phase, numbers in by_rule(logs or {}).items():
                report(run, step, numbers, phase, "running_mean")
        if run.should_stop():
            self.model.stop_training = True

    @harmless
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report the epoch's means, as phase ``train_epoch``."""
        if (numbers := by_rule(logs or {}).get("train")) is not None:
            report(self._attachment.run(), max(self._next_step - 1, 0), numbers, "train_epoch", "epoch_mean")

    @harmless
    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Report the means of a validation as phase ``val``, those of ``evaluate`` as ``test``."""
        phase = "val" if self._fitting else "test"
        if (numbers := by_rule(logs or {}, phase).get(phase)) is not None:
            report(self._attachment.run(), max(self._next_step - 1, 0), numbers, phase, "epoch_mean")

    @harmless
    def on_predict_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report the batch's predictions."""
        if self._kind is not None and logs:
            step = max(self._next_step - 1, 0)
            self._attachment.run().predictions(step, **{self._kind: logs["outputs"]}, phase="predict")

    @harmless
    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End this session of the run; a later ``evaluate`` goes on with it."""
        self._fitting = False
        self._exact = False
        _unwatched(self.model)
        self._attachment.finish()

    @harmless
    def finish(self) -> None:
        """End the run, unless it was given."""
        self._attachment.finish()

    @harmless
    def _seen(self, loss: Any) -> None:
        self._attachment.run().log(self._next_step, loss)
        self._next_step += 1


class WatchedLoss:
    """In the place of a model's ``compute_loss``: shows the losses of training to ``seen``."""

    def __init__(self, inner: Callable[..., Any], seen: Callable[[Any], object], restored: bool) -> None:
        self.inner, self._seen = inner, seen
        self.restored = restored
        """Whether the model itself had the one that it stands for, and not its class."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        loss = self.inner(*args, **kwargs)
        if kwargs.get("training", True):
            self._seen(loss)
        return loss


def _unwatched(model: Any) -> Any:
    """The model's ``compute_loss``, after taking ours off: a fit that failed leaves it there."""
    ours = vars(model).get("compute_loss")
    if isinstance(ours, WatchedLoss):
        del model.compute_loss
        if ours.restored:
            model.compute_loss = ours.inner
    return model.compute_loss
