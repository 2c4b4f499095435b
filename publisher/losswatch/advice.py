"""What the service advises a run to do, as its job reads it: local, bounded, and never followed unasked."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, get_args

from losswatch.advised import PAYLOAD_BYTES, Decisions, Heard, Mode, Taken, pack, step_towards, unpack
from losswatch.notices import Notices, line_of
from losswatch.transport import FindingsReader, Unavailable

if TYPE_CHECKING:
    from losswatch.schema import Finding

TTL_SECONDS: Final = 3600.0
"""How old the record that a finding is about may be when its advice is first looked at."""
MAX_FACTOR: Final = 2.0
"""How much a weight changes at most from one call to the next."""
POLL_SECONDS: Final = 1.0
FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
"""Seconds between attempts to reach the broker."""


class Advisor:
    """The advice of one run in one process. No method but `sync` ever waits, and none raises.

    Parameters
    ----------
    run
        The run's id.
    since
        Unix seconds at which this session began: findings about records from before are another session's.
    mode
        See `Mode`.
    reader
        Where findings come from. Used by the advisor's thread only, which starts with the first question.
    """

    def __init__(
        self,
        run: str,
        since: float,
        mode: Mode,
        reader: Callable[[], FindingsReader] | None,
        notices: Notices,
        ttl: float = TTL_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run, self._since, self._mode, self._ttl = run, since, mode, ttl
        self._reader, self._notices, self._clock = reader, notices, clock
        self._heard = self._considered = Heard()
        self._taken = Taken(follow=mode == "follow")
        self._stops: set[str] = set()
        self._given: dict[str, float] = {}
        self._closed = threading.Event()
        self.listening = False
        """Whether findings are being read: those published before this are not heard."""
        self._asked = mode == "off" or reader is None
        self._group: Any = None

    def should_stop(self) -> bool:
        """Whether the job is to stop: False unless it follows advice and there is some."""
        try:
            taken = self._current()
            if taken.stop is None:
                return False
            if taken.follow:
                self._notices.once(f"advice {taken.stop}", "advised to stop by the finding %s", taken.stop)
                return True
            message = "shadow mode: would stop on the advice of the finding %s (advice='follow' lets it)"
            self._notices.once(f"advice {taken.stop}", message, taken.stop)
        except Exception as error:
            self._trouble(error)
        return False

    def weight(self, name: str, default: float, lo: float, hi: float, max_factor: float) -> float:
        """The weight to use now: ``default`` unless the job follows advice and there is some."""
        try:
            taken = self._current()
            advised = taken.weights.get(name)
            if advised is None:
                return default
            if not (math.isfinite(lo) and math.isfinite(hi) and lo <= hi and max_factor > 1.0):
                self._notices.once(
                    "advice range", "weight() needs finite lo <= hi and max_factor > 1: %s not used", name
                )
                return default
            target, finding = advised
            reached = self._given.get(name, default)
            self._given[name] = value = step_towards(reached, target, lo, hi, max_factor)
            message, start = "the weight of %s goes from %.4g to %.4g, as the finding %s advises", reached
            if not taken.follow:
                message = f"shadow mode: {message.replace('goes', 'would go')} (advice='follow' lets it)"
                value = start = default
            self._notices.once(f"advice {name} {finding}", message, name, start, min(max(target, lo), hi), finding)
            return value
        except Exception as error:
            self._trouble(error)
        return default

    def sync(self, group: Any = None) -> None:
        """Make every rank go by what rank 0 has heard: one broadcast of 8 KiB on the CPU.

        Every rank must call it, at the same step. Without an initialised ``torch.distributed`` of
        more than one process it does nothing.
        """
        try:
            self._listen()
            distributed = _distributed()
            if distributed is None:
                return
            import torch

            group = group or self._cpu_group(distributed)
            if distributed.get_rank() == 0:
                self._taken = self._taking()
            payload = bytearray(pack(self._taken).ljust(PAYLOAD_BYTES))
            message = torch.frombuffer(payload, dtype=torch.uint8)
            distributed.broadcast(message, src=0, group=group)
            self._taken = unpack(bytes(message.tolist()))
        except Exception as error:
            self._trouble(error)

    def decisions(self) -> Decisions:
        """What came of the advice so far."""
        return Decisions(self._mode, self._taken.stop, dict(self._given))

    def hear(self, finding: Finding) -> None:
        """Take note of a finding. Those of other runs and of other sessions are ignored."""
        if finding.run == self._run and finding.time >= self._since:
            self._heard = self._heard.after(finding, self._ttl)

    def close(self) -> None:
        """Stop listening; what was heard stays."""
        self._closed.set()

    def abandon(self) -> None:
        """In a forked child, which has no such thread: give no advice."""
        self._closed.set()
        self._asked = True
        self._heard = self._considered = Heard()
        self._taken = Taken()

    def _current(self) -> Taken:
        self._listen()
        if self._heard is not self._considered:
            if _distributed() is None:
                self._taken = self._taking()
            else:
                message = (
                    "advice is there, and this job has several ranks: call run.sync_advice() on all of them to go by it"
                )
                self._notices.once("advice ranks", message)
        return self._taken

    def _taking(self) -> Taken:
        """What to go by from now on: what is new and not too old, and what was taken before and not withdrawn."""
        heard, before, now = self._heard, self._taken, self._clock()
        self._stops = {name for name, expires in heard.stops.items() if now <= expires or name in self._stops}
        fresh = {
            name: (advised.value, advised.finding) for name, advised in heard.weights.items() if now <= advised.expires
        }
        self._considered = heard
        return Taken(self._mode == "follow", min(self._stops, default=None), {**before.weights, **fresh})

    def _listen(self) -> None:
        if not self._asked:
            self._asked = True
            distributed = _distributed()
            if distributed is None or distributed.get_rank() == 0:
                threading.Thread(target=self._work, name="losswatch-advice", daemon=True).start()

    def _work(self) -> None:
        assert self._reader is not None
        delay = FIRST_DELAY
        reader = self._reader()
        while not self._closed.is_set():
            try:
                reader.connect()
                while not self._closed.is_set():
                    self._read(reader)
                    self.listening, delay = True, FIRST_DELAY
            except Exception as error:
                if not isinstance(error, Unavailable):
                    self._trouble(error)
            finally:
                reader.close()
            self._closed.wait(delay)
            delay = min(LONGEST_DELAY, 2 * delay)

    def _read(self, reader: FindingsReader) -> None:
        from losswatch import encoding, headers
        from losswatch.schema import Finding

        for received in reader.read(POLL_SECONDS):
            try:
                content_type = headers.content_type(received.headers)
                finding = encoding.decode(received.value, content_type, accept=(Finding,))
            except encoding.WireError as error:
                self._notices.once("advice unusable", "a finding cannot be read: %s", error)
            else:
                assert isinstance(finding, Finding)
                self.hear(finding)

    def _cpu_group(self, distributed: Any) -> Any:
        """The job's own process group where it takes CPU tensors, else one for this."""
        if self._group is None:
            on_cpu = "cpu:" in distributed.get_backend_config()
            self._group = distributed.group.WORLD if on_cpu else distributed.new_group(backend="gloo")
        return self._group

    def _trouble(self, error: Exception) -> None:
        self._notices.once("advice trouble", "advice is out of order, the job is not: %s", line_of(error))


def mode_of(given: object, notices: Notices) -> Mode:
    """The mode that ``losswatch.start`` was asked for; anything unknown is the harmless ``shadow``."""
    for mode in get_args(Mode):
        if given == mode:
            return mode  # type: ignore[no-any-return]  # get_args is untyped
    notices.once("advice mode", "unknown advice %.40r, expected shadow, follow or off: shadow it is", given)
    return "shadow"


def _distributed() -> Any:
    """``torch.distributed`` if the job uses it with several processes. The hook itself never imports torch."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed if distributed.get_world_size() > 1 else None
