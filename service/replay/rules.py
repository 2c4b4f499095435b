"""The written rules that say what a column is, by its name: data, in the order in which they are tried."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from losswatch.integrations.logger import PHASES as LOGGED_PHASES

Role = Literal["total", "component", "metric", "at", "left out"]

PHASES: Final = {**LOGGED_PHASES, "evaluation": "val", "testing": "test"}
"""The phase that a word at the beginning or the end of a name, or between two slashes, stands for."""
TOTALS: Final = (
    "total_loss",
    "loss_total",
    "total",
    "loss",
    "mean_loss",
    "loss_mean",
    "overall_loss",
    "combined_loss",
    "avg_loss",
    "average_loss",
    "loss_avg",
    "epoch_loss",
    "batch_loss",
    "running_loss",
    "loss_value",
)
"""Names of a total, best first; other than a letter or a digit counts as an underscore."""
STEPS: Final = (
    "step",
    "global_step",
    "trainer/global_step",
    "_step",
    "train_step",
    "current_steps",
    "total_timesteps",
    "time/total_timesteps",
    "timesteps",
    "num_timesteps",
    "iteration",
    "iterations",
    "steps",
    "iter",
    "itr",
    "batch",
    "batch_idx",
    "update",
    "updates",
    "n_updates",
    "epoch",
    "epochs",
    "episode",
    "episodes",
    "round",
)
"""Names of the step, best first; capitals do not count, and a blank counts as an underscore."""
EPOCHS: Final = ("epoch", "epochs")
WITHIN_EPOCH: Final = frozenset({"batch", "batch_idx", "iter", "itr", "iteration", "step"})
"""Steps that begin again at every epoch in some logs."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern for whole names and what a column of such a name is."""

    pattern: re.Pattern[str]
    role: Role
    why: str
    name: str | None = None
    """What it is called then, a template of `re.Match.expand`; None: as in the log."""
    phase: str | None = None
    """Its phase; None: the one that its name says."""


def rule(pattern: str, role: Role, why: str, name: str | None = None, phase: str | None = None) -> Rule:
    """A rule whose pattern does not mind capitals."""
    return Rule(re.compile(pattern, re.IGNORECASE), role, why, name, phase)


_PATH: Final = r"(?!.*loss)(?:.*[/._ ])?_?"
_OF: Final = r"(?:(?:data|rank_data|epoch|batch|step|iter|total|train|elapsed|remaining|eval|forward|backward)[_ ]?)?"
_UNIT: Final = r"(?:[ _/.(]*(?:s|sec|secs|seconds|ms|min|minutes|h|hours)\)?)?"
_COUNTED: Final = (
    r"(?:epochs?|iter(?:ation)?s?|itr|steps?|batch(?:es|_idx)?|timesteps|updates|episodes?|samples|tokens(?:[_ ]seen)?"
    r"|percentage|progress|seed|rank|index|id|unnamed: 0)"
)
_MACHINE: Final = (
    r"(?:total_flos|flops|memory|mem|gpu_?mem|gpu|cpu|ram|vram|size|img_size|imgsz|labels|instances)(?:[_ /.].*)?"
)
GENERAL: Final = (
    rule(r"_timestamp|wall[_ ]?time|unix[_ ]?time", "at", "the time of the row"),
    rule(
        rf"{_PATH}{_OF}(?:time(?:stamp)?|eta|runtime|elapsed|duration|fps){_UNIT}"
        r"|(?:.*[/._ ])?time[_ ]elapsed|.*per[_ ]second|.*it/s",
        "left out",
        "a time or a speed",
    ),
    rule(
        rf"{_PATH}(?:(?:global|trainer|train|current|total|max|num|n|best|mini)[_ ])*{_COUNTED}",
        "left out",
        "it counts, or says how far the job is",
    ),
    rule(rf"{_PATH}{_MACHINE}", "left out", "about the machine or the data"),
    rule(r"(?:lr|learning[_ ]rate)", "metric", "the learning rate", "learning_rate"),
    rule(r"(?:.*[/_ ])?(?:lr|learning[_ ]rate)(?:[/_\- .]\w+)*", "metric", "a learning rate"),
    rule(
        r".*(?:loss(?:es)?)[ _/.\-]*(?:scale[rs]?|weights?|coef\w*|std|var|min|max|count|ratio|lambda|delta|diff|change"
        r"|improv\w+)",
        "metric",
        "about a loss, not a part of it",
    ),
    rule(
        r"(?:best|min|max|ema|smooth\w*|prev\w*|running|ref\w*)[ _/.\-].*loss.*",
        "metric",
        "about a loss, not a part of it",
    ),
    rule(r"(?:.*[^a-z])?loss(?:es)?(?:[^a-z].*)?", "component", '"loss" is a word of its name'),
    rule(r"[a-z0-9]{1,12}loss", "component", "its name ends in loss"),
)
"""Tried in this order, after the format's own rules and after the total is found."""
