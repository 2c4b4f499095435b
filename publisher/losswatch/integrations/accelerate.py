"""Accelerate: a tracker, for `Accelerator(log_with=...)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from losswatch.integrations.attachment import Attachment, Ranks, harmless
from losswatch.integrations.logger import Logger
from losswatch.notices import Notices
from losswatch.run import Run


class LosswatchTracker(GeneralTracker):
    """Reports what ``accelerator.log`` is given, by the rules of `losswatch.integrations.logger.by_rule`.

    Parameters
    ----------
    run
        The run's name; or a `Run`, which stays yours to finish.
    ranks
        The rank that publishes. ``accelerator.log`` runs on the main process only: for any other, call
        `log` of this tracker on every rank.
    declaration
        More arguments of `losswatch.start`.
    """

    name = "losswatch"
    requires_logging_directory = False
    main_process_only = False

    def __init__(self, run: Run | str | None = None, *, ranks: Ranks = 0, **declaration: Any) -> None:
        super().__init__()
        self._notices = Notices()
        self._attachment = Attachment(run, ranks, declaration)
        self._logger: Logger | None = None

    @property
    def tracker(self) -> Run:
        """The run it reports to."""
        from accelerate.state import PartialState

        state = PartialState()
        return self._attachment.run(state.process_index, state.num_processes)

    @harmless
    def start(self) -> None:
        """Start the run, once the ranks are known."""
        self._logger = Logger(self.tracker)

    @harmless
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Nothing: what a run declares is given to the constructor."""

    @harmless
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Report the numbers of a step; without ``step``, of the one after the last."""
        if self._logger is None:
            self._logger = Logger(self.tracker)
        self._logger.log_metrics(values, step)

    @harmless
    def should_stop(self, accelerator: Accelerator) -> bool:
        """Whether any rank's run is advised to stop. Call it on every rank at the same step."""
        run = self.tracker
        run.sync_advice()
        if run.should_stop():
            accelerator.set_trigger()
        return bool(accelerator.check_trigger())

    @harmless
    def finish(self) -> None:
        """End the run, unless it was given."""
        self._attachment.finish()
