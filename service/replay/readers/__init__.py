"""The formats of logs, one file each."""

from __future__ import annotations

from typing import Final

from service.replay.readers import (
    detectron2,
    detr,
    exports,
    general,
    huggingface,
    keras,
    lightning,
    llamafactory,
    mmcv,
    mmengine,
    sb3,
    tensorboard,
    ultralytics,
)
from service.replay.readers.format import Format

FORMATS: Final[tuple[Format, ...]] = (
    tensorboard.FORMAT,
    huggingface.FORMAT,
    llamafactory.FORMAT,
    detectron2.FORMAT,
    mmcv.FORMAT,
    mmengine.FORMAT,
    detr.FORMAT,
    exports.WANDB,
    exports.TENSORBOARD,
    sb3.FORMAT,
    ultralytics.CSV,
    ultralytics.TXT,
    lightning.FORMAT,
    keras.CSV,
    general.ARRAY,
    keras.HISTORY,
    general.JSONL,
    general.CSV,
)
"""In the order in which they are asked whether a file is theirs; beside them there is `wire`, which has no columns."""
