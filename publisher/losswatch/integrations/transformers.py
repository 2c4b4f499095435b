"""Hugging Face Trainer: a callback, and a mixin that sees each step's loss before the Trainer averages it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from losswatch.integrations.attachment import Attachment, Kind, Ranks, harmless, scalars
from losswatch.integrations.logger import Numbers, by_rule, report
from losswatch.notices import Notices
from losswatch.run import Run

PHASES: Final = {"eval": "val", "test": "test"}
OF_THE_RUN: Final = frozenset(
    {"epoch", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time", "total_flos"}
)
"""Numbers of a log that say nothing about the model."""


class LosswatchCallback(TrainerCallback):
    """Reports a Trainer's steps and evaluations.

    Alone it knows only the logged loss: a mean since the last log, from which the Trainer leaves NaN out
    unless ``logging_nan_inf_filter=False``. With `LosswatchMixin` it reports each step's loss itself.

    Parameters
    ----------
    run
        The run's name; or a `Run`, which stays yours to finish.
    ranks
        The rank that publishes, or ``all``, each as a run of its own.
    kind
        What the model's predictions are.
    with_labels
        Whether labels are reported with predictions.
    stop_every
        With several ranks: at every so many steps all of them look together whether the run is advised to
        stop. None: never. One process alone looks at each step.
    declaration
        More arguments of `losswatch.start`.
    """

    def __init__(
        self,
        run: Run | str | None = None,
        *,
        ranks: Ranks = 0,
        kind: Kind = "logits",
        with_labels: bool = False,
        stop_every: int | None = None,
        **declaration: Any,
    ) -> None:
        self._notices = Notices()
        self._attachment = Attachment(run, ranks, declaration)
        self._kind, self._with_labels, self._stop_every = kind, with_labels, stop_every
        self._place = (0, 1)
        self._step = 0
        self._phase = "val"
        self._losses: list[Any] = []
        self._parts: list[dict[str, Any]] = []
        self._pending: Numbers | None = None

    @harmless
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the run."""
        self._losses, self._parts, self._pending = [], [], None
        self._run(args, state)

    @harmless
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keep the step until the Trainer has logged what belongs to it."""
        self._report_pending()
        run = self._run(args, state)
        if self._losses:
            gathered: dict[str, list[Any]] = {}
            for part in self._parts:
                for name, value in part.items():
                    gathered.setdefault(name, []).append(value)
            means = {name: sum(values) / len(values) for name, values in gathered.items()}
            self._pending = Numbers([sum(self._losses)], means, {})
            self._losses, self._parts = [], []
        if args.world_size == 1 or (self._stop_every and state.global_step % self._stop_every == 0):
            run.sync_advice()
            if run.should_stop():
                control.should_training_stop = True

    @harmless
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Report what was logged of training: with the step's own loss if that is known."""
        if not logs or "loss" not in logs:
            return
        numbers = by_rule({name: value for name, value in logs.items() if name not in OF_THE_RUN})["train"]
        if self._pending is not None:
            self._pending.metrics.update(numbers.metrics)
        else:
            report(self._run(args, state), state.global_step, numbers, "train", "mean_since_last")

    @harmless
    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Report the means of an evaluation, as phase ``val`` (``val/NAME`` for one of several data sets)."""
        self._report_pending()
        prefix = next((name.removesuffix("_runtime") for name in metrics or {} if name.endswith("_runtime")), "eval")
        named = {name.removeprefix(f"{prefix}_"): value for name, value in (metrics or {}).items()}
        rest = scalars(named, besides=OF_THE_RUN | {"loss"})
        total = [named["loss"]] if "loss" in named else []
        report(self._run(args, state), state.global_step, Numbers(total, {}, rest), phase_of(prefix), "epoch_mean")

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """As `on_evaluate`, as phase ``test``."""
        self.on_evaluate(args, state, control, metrics)

    @harmless
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End this session of the run; a later evaluation goes on with it."""
        self.finish()

    @harmless
    def finish(self, error: BaseException | None = None) -> None:
        """Report what is left and end the run, as failed by ``error`` where there is one."""
        self._report_pending()
        self._attachment.finish(error)

    def watching(self, compute_metrics: Callable[..., dict[str, Any]] | None = None) -> Callable[..., dict[str, Any]]:
        """A ``compute_metrics`` for the Trainer that also reports the predictions; for use without the mixin."""

        def watched(prediction: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
            self.predicted(prediction.predictions, prediction.label_ids)
            return {} if compute_metrics is None else compute_metrics(prediction, *args, **kwargs)

        return watched

    @harmless
    def computed(self, outputs: Any) -> None:
        """Take the components of a training batch from the model's outputs."""
        if isinstance(outputs, Mapping):
            nested = outputs.get("loss_dict")
            found = scalars({**outputs, **(nested if isinstance(nested, Mapping) else {})}, besides=frozenset({"loss"}))
            self._parts.append({name: _detached(value) for name, value in found.items()})

    @harmless
    def trained(self, loss: Any) -> None:
        """Take a batch's share of the step's loss."""
        self._losses.append(_detached(loss))

    @harmless
    def evaluating(self, prefix: str) -> None:
        """Predictions are of this part from now on."""
        self._phase = phase_of(prefix)

    @harmless
    def predicted(self, values: Any, labels: Any) -> None:
        """Report predictions of shape (N, C), or N labels where they are ``classes``."""
        values = values[0] if isinstance(values, tuple) and values else values
        if values is None or len(values.shape) != (1 if self._kind == "classes" else 2):
            return
        known = labels if self._with_labels and hasattr(labels, "shape") and labels.shape == values.shape[:1] else None
        run = self._attachment.run(*self._place)
        run.predictions(self._step, **{self._kind: values}, labels=known, phase=self._phase)

    def _run(self, args: TrainingArguments, state: TrainerState) -> Run:
        self._place, self._step = (args.process_index, args.world_size), state.global_step
        return self._attachment.run(*self._place)

    def _report_pending(self) -> None:
        numbers, self._pending = self._pending, None
        if numbers is not None:
            report(self._attachment.run(*self._place), self._step, numbers, "train")


class LosswatchMixin:
    """Put before the Trainer class: ``class Watched(LosswatchMixin, Trainer)``. Needs a `LosswatchCallback`.

    Each step's total is then what was minimised: the sum over its accumulated batches of the loss as the
    Trainer scaled it. Components are means over these batches of every single number the model returned
    besides ``loss``.
    """

    losswatch_outputs = True
    """False for a Trainer whose ``compute_loss`` refuses ``return_outputs``, as GRPO's: then without components."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """As the Trainer's."""
        callback = self._losswatch()
        if callback is None or not model.training or not (return_outputs or self.losswatch_outputs):
            return super().compute_loss(model, inputs, return_outputs=return_outputs, **kwargs)  # type: ignore[misc]  # the Trainer's
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)  # type: ignore[misc]  # the Trainer's
        callback.computed(outputs)
        return (loss, outputs) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's."""
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]  # the Trainer's
        if callback := self._losswatch():
            callback.trained(loss)
        return loss

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's."""
        loss, values, labels = super().prediction_step(*args, **kwargs)  # type: ignore[misc]  # the Trainer's
        if callback := self._losswatch():
            callback.predicted(values, labels)
        return loss, values, labels

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """As the Trainer's."""
        if callback := self._losswatch():
            callback.evaluating(metric_key_prefix)
        return super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)  # type: ignore[misc]  # the Trainer's

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's; an exception ends the run as failed."""
        try:
            return super().train(*args, **kwargs)  # type: ignore[misc]  # the Trainer's
        except BaseException as error:
            if callback := self._losswatch():
                callback.finish(error)
            raise

    def _losswatch(self) -> LosswatchCallback | None:
        attached = self.callback_handler.callbacks  # type: ignore[attr-defined]  # the Trainer's
        return next((callback for callback in attached if isinstance(callback, LosswatchCallback)), None)


def phase_of(prefix: str) -> str:
    """The phase of the numbers whose names begin with a prefix.

    >>> phase_of("eval"), phase_of("eval_german"), phase_of("test")
    ('val', 'val/german', 'test')
    """
    first, _, rest = prefix.partition("_")
    phase = PHASES.get(first, first)
    return f"{phase}/{rest}" if rest else phase


def _detached(value: Any) -> Any:
    return value.detach() if hasattr(value, "detach") else value
