"""scikit-learn: an estimator whose ``partial_fit`` reports the loss of each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from losswatch.integrations.attachment import harmless
from losswatch.notices import Notices

if TYPE_CHECKING:
    from losswatch.run import Run

E = TypeVar("E")


class PartialFit(Generic[E]):
    """Calls ``partial_fit`` of an estimator and reports each call as one step.

    The total is the estimator's own ``loss_`` where it keeps one (MLP*: the batch's loss with its penalty,
    before the update). For any other it is computed on the batch after the update: log loss (nats) for a classifier
    with ``predict_proba``, hinge loss for one with ``decision_function``, half the mean squared error for a
    regressor. Regularisation is not in it.

    Parameters
    ----------
    estimator
        Anything with ``partial_fit``.
    run
        The run to report to.
    held_out
        Samples and targets that are never fitted: their loss, and ``score`` as a metric, are reported as
        phase ``val``, and so are the class probabilities.
    every
        At every so many steps they are.
    with_labels
        Whether the targets of ``held_out`` are reported with the probabilities.
    """

    def __init__(
        self,
        estimator: E,
        run: Run,
        *,
        held_out: tuple[Any, Any] | None = None,
        every: int = 1,
        with_labels: bool = False,
    ) -> None:
        self.estimator = estimator
        self._notices = Notices()
        self._run, self._held_out, self._every, self._with_labels = run, held_out, every, with_labels
        self._step = 0

    def partial_fit(self, X: Any, y: Any, **params: Any) -> E:
        """Fit the batch and report it; what the estimator raises is raised."""
        self.estimator.partial_fit(X, y, **params)  # type: ignore[attr-defined]  # any estimator that has it
        self._report(X, y)
        self._step += 1
        return self.estimator

    @harmless
    def _report(self, X: Any, y: Any) -> None:
        own = getattr(self.estimator, "loss_", None)
        self._run.log(self._step, self._loss(X, y) if own is None else own)
        if self._held_out is None or self._step % self._every:
            return
        X, y = self._held_out
        score = self.estimator.score(X, y)  # type: ignore[attr-defined]  # every estimator has it
        self._run.log(self._step, self._loss(X, y), metrics={"score": score}, phase="val")
        if hasattr(self.estimator, "predict_proba"):
            probabilities = self.estimator.predict_proba(X)
            self._run.predictions(self._step, probabilities, labels=y if self._with_labels else None, phase="val")

    def _loss(self, X: Any, y: Any) -> float:
        """Log loss, hinge loss or half the mean squared error of the estimator as it is now."""
        from sklearn.metrics import hinge_loss, log_loss, mean_squared_error

        model: Any = self.estimator
        if hasattr(model, "predict_proba"):
            return float(log_loss(y, model.predict_proba(X), labels=model.classes_))
        if hasattr(model, "decision_function"):
            return float(hinge_loss(y, model.decision_function(X), labels=model.classes_))
        return 0.5 * float(mean_squared_error(y, model.predict(X)))
