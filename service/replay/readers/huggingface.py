"""``trainer_state.json`` of the Hugging Face Trainer.

Its loss is the mean since the last log. NaN and infinite losses are left out of that mean unless the job set
``logging_nan_inf_filter=False``: a run that was NaN for a while shows the loss before it, or 0.
"""

from __future__ import annotations

import re
from typing import Any, Final

from service.replay.jsonlines import Row, array_reader
from service.replay.readers.format import Format
from service.replay.scheme import Scheme

SUMMARY: Final = frozenset({"train_runtime", "total_flos"})
"""Columns of the last row, whose loss is the mean over the whole run."""


def prepare(row: dict[str, Any]) -> Row | None:
    """Without the summary; predictions as phase ``test``."""
    if not SUMMARY.isdisjoint(row):
        return None
    if any(name.startswith("predict_") for name in row):
        return {f"test_{name[8:]}" if name.startswith("predict_") else name: value for name, value in row.items()}
    return row


FORMAT: Final = Format(
    "huggingface",
    "Hugging Face trainer_state.json",
    detect=lambda head: head.is_document and '"log_history"' in head.text,
    read=array_reader(re.compile(r'"log_history"\s*:\s*\['), prepare),
    scheme=Scheme(steps=("step",), measured={"train": "mean_since_last"}),
)
