"""``metrics.json`` of Detectron2: every number of training is a median over 20 iterations, each by itself."""

from __future__ import annotations

from typing import Final

from service.replay.jsonlines import reader
from service.replay.readers.format import Format
from service.replay.rules import rule
from service.replay.scheme import Scheme

EVALUATED: Final = r"(?:.*/)?(?:bbox|segm|keypoints|sem_seg|panoptic_seg|box_proposals)/.*"

FORMAT: Final = Format(
    "detectron2",
    "Detectron2 metrics.json",
    detect=lambda head: (
        "iteration" in head.keys and not {"total_loss", "eta_seconds", "data_time"}.isdisjoint(head.keys)
    ),
    read=reader(),
    scheme=Scheme(
        steps=("iteration",),
        rules=(rule(EVALUATED, "metric", "a result of an evaluation", phase="val"),),
        measured={"train": "median"},
        sums=True,
    ),
)
