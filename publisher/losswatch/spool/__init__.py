"""Records on disk: for outages longer than memory lasts, and for what a process leaves behind."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Final, NamedTuple

from losswatch import topics
from losswatch.buffer import Outgoing
from losswatch.notices import Notices
from losswatch.spool.store import Spool
from losswatch.transport import Delivery, Refused, Transport, Unavailable

ANSWER_SECONDS: Final = 10.0
WINDOW_RECORDS: Final = 64


class Result(NamedTuple):
    """What became of the records of a folder."""

    sent: int
    refused: int


def send_spool(folder: str | os.PathLike[str], transport: Transport) -> Result:
    """Send the records that processes which are gone left in a folder, in order, and delete their files.

    Those of living processes stay theirs. Raises Unavailable where the broker is, and OSError where the
    folder cannot be used; what was not acknowledged is kept.
    """
    spool = Spool(folder, os.urandom(8).hex(), 0, Notices())
    sent = refused = 0
    window: deque[tuple[Outgoing, Delivery | None]] = deque()
    transport.prepare()
    try:
        if len(spool):
            transport.connect((topics.STEPS, topics.PREDICTIONS))
        while True:
            while len(window) < WINDOW_RECORDS and (record := spool.next()):
                window.append((record, _send(transport, record)))
            if not window:
                return Result(sent, refused)
            record, delivery = window.popleft()
            if delivery is not None and arrived(delivery):
                sent += 1
            else:
                refused += 1
            spool.confirm(record)
    finally:
        transport.close()
        transport.dismiss()
        spool.close()


def _send(transport: Transport, record: Outgoing) -> Delivery | None:
    """The delivery; None where the record is refused at once."""
    try:
        return transport.send(record.topic, record.key, record.value, record.headers)
    except Refused:
        return None


def arrived(delivery: Delivery) -> bool:
    """Whether the broker took the record, or refuses it. Raises Unavailable."""
    until = time.monotonic() + ANSWER_SECONDS
    while not delivery.wait(0.1):
        if time.monotonic() > until:
            raise Unavailable(f"no answer in {ANSWER_SECONDS:.0f} s")
    try:
        delivery.check()
    except Refused:
        return False
    return True
