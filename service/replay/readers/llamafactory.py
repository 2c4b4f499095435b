"""``trainer_log.jsonl`` of LLaMA-Factory."""

from __future__ import annotations

from typing import Final

from service.replay.jsonlines import reader
from service.replay.readers.format import Format
from service.replay.scheme import Scheme

FORMAT: Final = Format(
    "llamafactory",
    "LLaMA-Factory trainer_log.jsonl",
    detect=lambda head: {"current_steps", "total_steps"} <= head.keys,
    read=reader(),
    scheme=Scheme(steps=("current_steps",), measured={"train": "mean_since_last"}),
)
