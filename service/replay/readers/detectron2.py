"""``metrics.json`` of Detectron2: every number of training is a median over 20 iterations, each by itself."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from service.replay.jsonlines import Row, reader
from service.replay.readers.format import Format
from service.replay.rules import rule
from service.replay.scheme import Scheme

_EVALUATED: Final = r"(?:.*/)?(?:bbox|segm|keypoints|sem_seg|panoptic_seg|box_proposals)/.*"
_RESULT: Final = re.compile(_EVALUATED)


def prepare(row: dict[str, Any]) -> Row:
    """Without the results that are NaN: those of a class or a size that the data does not have."""
    nan = {name for name, value in row.items() if isinstance(value, float) and math.isnan(value)}
    return {name: value for name, value in row.items() if name not in nan or not _RESULT.fullmatch(name)}


FORMAT: Final = Format(
    "detectron2",
    "Detectron2 metrics.json",
    detect=lambda head: (
        "iteration" in head.keys and not {"total_loss", "eta_seconds", "data_time"}.isdisjoint(head.keys)
    ),
    read=reader(prepare),
    scheme=Scheme(
        steps=("iteration",),
        rules=(rule(_EVALUATED, "metric", "a result of an evaluation", phase="val"),),
        measured={"train": "median"},
        sums=True,
    ),
)
