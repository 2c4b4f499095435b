"""Lightning: a Trainer callback, and the factory that attaches it without a change of code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from losswatch.integrations.attachment import Attachment, Kind, Ranks, harmless, scalars, silent
from losswatch.integrations.logger import Numbers, by_rule, report
from losswatch.notices import Notices
from losswatch.run import Run
from losswatch.settings import Settings

KINDS: Final[tuple[Kind, ...]] = ("logits", "probabilities", "classes")
PER_SAMPLE: Final = ("labels", "embeddings", "features")


class LosswatchCallback(Callback):
    """Reports what the steps of a LightningModule return.

    Parameters
    ----------
    run
        The run's name; or a `Run`, which stays yours to finish.
    ranks
        The rank that publishes, or ``all``, each as a run of its own.
    metrics
        Which of the numbers that ``training_step`` and the others return are metrics, and which way each is better;
        the rest are components.
    predictions
        The phases whose ``logits``, ``probabilities`` or ``classes`` are reported where a step returns them.
    with_labels
        Whether the returned ``labels`` are reported with them.
    bare
        What a tensor is that ``predict_step`` returns alone.
    stop_every
        With several ranks: at every so many training batches all of them look together whether the run is
        advised to stop. None: never. One process alone looks at each batch.
    declaration
        More arguments of `losswatch.start`.
    """

    def __init__(
        self,
        run: Run | str | None = None,
        *,
        ranks: Ranks = 0,
        metrics: Mapping[str, Literal["higher", "lower"]] | None = None,
        predictions: Collection[str] = ("val", "test", "predict"),
        with_labels: bool = False,
        bare: Kind | None = None,
        stop_every: int | None = None,
        **declaration: Any,
    ) -> None:
        self._notices = Notices()
        self._attachment = Attachment(run, ranks, {**declaration, "metrics": metrics})
        self._metrics, self._predictions = frozenset(metrics or ()), frozenset(predictions)
        self._with_labels = with_labels
        self._bare, self._stop_every = bare, stop_every
        self._means = _Means()
        self._known: frozenset[str] = frozenset()
        self._of_validation: frozenset[str] = frozenset()
        self._automatic = False

    @harmless
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the batch's loss as ``training_step`` returned it."""
        run, step = self._run(trainer), self._step(trainer)
        numbers = self._numbers(outputs)
        if numbers.total and pl_module.automatic_optimization and trainer.accumulate_grad_batches > 1:
            numbers.total[0] = numbers.total[0] * trainer.accumulate_grad_batches
        report(run, step, numbers, "train")
        self._predicted(trainer, outputs, "train")
        if trainer.world_size == 1 or (self._stop_every and (step + 1) % self._stop_every == 0):
            run.sync_advice()
            if trainer.strategy.reduce_boolean_decision(run.should_stop(), all=False):
                trainer.should_stop = True

    @harmless
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to take means."""
        self._means = _Means()
        self._known = frozenset(trainer.callback_metrics) - self._of_validation

    @harmless
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the batch into the means, and report its predictions."""
        if not trainer.sanity_checking:
            self._means.add(self._numbers(outputs))
            self._predicted(trainer, outputs, "val")

    @harmless
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the means of the validation, and what it logged."""
        logged = trainer.callback_metrics
        self._of_validation |= frozenset(logged) - self._known
        if not trainer.sanity_checking:
            self._epoch(trainer, {name: logged[name] for name in self._of_validation if name in logged}, "val")

    on_test_start = on_validation_start

    @harmless
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """As `on_validation_batch_end`."""
        self._means.add(self._numbers(outputs))
        self._predicted(trainer, outputs, "test")

    @harmless
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the means of the test, and what it logged."""
        self._epoch(trainer, trainer.callback_metrics, "test")

    @harmless
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Report what ``predict_step`` returned."""
        if self._bare and hasattr(outputs, "shape"):
            outputs = {self._bare: outputs}
        self._predicted(trainer, outputs, "predict")

    @harmless
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the run as failed, or as stopped by Ctrl-C."""
        self._attachment.finish(exception)

    @harmless
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End this session of the run; a later fit, test or predict goes on with it."""
        self._attachment.finish()

    def _run(self, trainer: Trainer) -> Run:
        others = (other for other in trainer.callbacks if isinstance(other, LosswatchCallback))
        if self._automatic and next(others) is not self:
            return silent()
        return self._attachment.run(trainer.global_rank, trainer.world_size)

    def _numbers(self, outputs: Any) -> Numbers:
        values = outputs if isinstance(outputs, Mapping) else {"loss": outputs}
        rest = scalars(values, besides=frozenset({"loss", *KINDS, *PER_SAMPLE}))
        metrics = {name: rest.pop(name) for name in self._metrics & rest.keys()}
        return Numbers(list(scalars({"loss": values.get("loss")}).values()), rest, metrics)

    def _predicted(self, trainer: Trainer, outputs: Any, phase: str) -> None:
        if phase not in self._predictions or not isinstance(outputs, Mapping):
            return
        given = {name: outputs.get(name) for name in (*KINDS, *PER_SAMPLE) if self._with_labels or name != "labels"}
        kinds = [kind for kind in KINDS if given[kind] is not None]
        if kinds:
            chosen: dict[str, Any] = {k: v for k, v in given.items() if k not in KINDS or k == kinds[0]}
            self._run(trainer).predictions(self._step(trainer), phase=phase, **chosen)

    def _epoch(self, trainer: Trainer, logged: Mapping[str, Any], phase: str) -> None:
        names = {name.removesuffix("_epoch"): value for name, value in logged.items() if not name.endswith("_step")}
        mean = self._means.taken()
        said = by_rule(names, phase).get(phase, Numbers([], {}, {}))
        merged = Numbers(mean.total or said.total, said.components | mean.components, said.metrics | mean.metrics)
        if any(merged):
            report(self._run(trainer), self._step(trainer), merged, phase, "epoch_mean")

    @staticmethod
    def _step(trainer: Trainer) -> int:
        """How many training batches came before the newest one; 0 where there was none."""
        return int(max(trainer.fit_loop.epoch_loop.total_batch_idx, 0))


class _Means:
    """Means over batches, each batch counting the same; on the device, without waiting for it."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, str], tuple[Any, int]] = {}

    def add(self, numbers: Numbers) -> None:
        """Take one batch's numbers."""
        named = (dict.fromkeys(("",), numbers.total[0]) if numbers.total else {}, numbers.components, numbers.metrics)
        for group, values in enumerate(named):
            for name, value in values.items():
                total, count = self._sums.get((group, name), (0.0, 0))
                self._sums[group, name] = total + (value.detach() if hasattr(value, "detach") else value), count + 1

    def taken(self) -> Numbers:
        """The means."""
        means = Numbers([], {}, {})
        for (group, name), (total, count) in self._sums.items():
            if group == 0:
                means.total.append(total / count)
            else:
                (means.components, means.metrics)[group - 1][name] = total / count
        return means


def callbacks() -> list[Callback]:
    """The entry point of ``lightning.pytorch.callbacks_factory``: nothing unless the environment names a broker."""
    settings = Settings.from_environment()
    if not settings.enabled or settings.bootstrap_servers is None:
        return []
    callback = LosswatchCallback()
    callback._automatic = True
    return [callback]
