"""``progress.csv`` of Stable-Baselines3: ``train/loss`` is the last minibatch's, its parts are means of the update."""

from __future__ import annotations

from typing import Final

from service.replay.delimited import names_of, read
from service.replay.readers.format import Format
from service.replay.rules import rule
from service.replay.scheme import Scheme

FORMAT: Final = Format(
    "sb3",
    "Stable-Baselines3 progress.csv",
    detect=lambda head: "time/total_timesteps" in names_of(head),
    read=read,
    scheme=Scheme(
        steps=("time/total_timesteps",),
        rules=(
            rule(r"time/.*", "left out", "a time or a count"),
            rule(r"rollout/(.*)", "metric", "of the episodes that were played", r"\1", "train"),
        ),
        measured={"train": "mixed"},
    ),
)
