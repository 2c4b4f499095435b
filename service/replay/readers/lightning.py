"""``metrics.csv`` of Lightning's CSVLogger: sparse rows, several of one step."""

from __future__ import annotations

from typing import Final

from service.replay.delimited import names_of, read
from service.replay.readers.format import Format
from service.replay.scheme import Scheme

FORMAT: Final = Format(
    "lightning",
    "Lightning metrics.csv",
    detect=lambda head: {"epoch", "step"} <= set(names_of(head)),
    read=read,
    scheme=Scheme(steps=("step",)),
)
