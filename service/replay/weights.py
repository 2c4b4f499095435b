"""The weights of losses, out of the configuration of a job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.replay.notes import Unreadable

BESIDE: Final = ("args", "config", "config_args_all", "config_cfg")
"""Names of the files beside a log that may hold its job's configuration ..."""
ENDINGS: Final = (".json", ".yaml", ".yml", ".txt", ".py")
"""... and their endings."""
LARGEST: Final = 1 << 20
"""Characters of a configuration that are looked at."""
CLASSIFICATION: Final = "loss_ce"
"""The loss whose coefficient is called ``cls``, and that DETR gives the weight 1 without one."""
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COEFFICIENT: Final = re.compile(rf"""\b(\w+)_loss_coef["']?\s*[:=]\s*["']?({_NUMBER})""")
_PAIR: Final = re.compile(rf"""["']?(loss_\w+)["']?\s*:\s*({_NUMBER})""")
_WEIGHTS: Final = re.compile(rf"""\bweight_dict["']?\s*[:=]\s*\{{?((?:[\s,]*{_PAIR.pattern})+)""")


@dataclass(frozen=True, slots=True)
class Weights:
    """Factors by the name of a loss, and who says so."""

    by_loss: Mapping[str, float]
    source: str

    def of(self, part: str) -> float | None:
        """The weight of a part: its own, or that of the loss which it is of some layer of.

        >>> weights = Weights({"loss_bbox": 5.0}, "args.json")
        >>> weights.of("loss_bbox_dn_3"), weights.of("loss_bboxes")
        (5.0, None)
        """
        named = [name for name in self.by_loss if part == name or part.startswith(f"{name}_")]
        return self.by_loss[max(named, key=len)] if named else None


def weights_in(text: str) -> dict[str, float]:
    """The weights that a configuration gives: JSON, YAML, Python or the printed arguments of a job.

    >>> weights_in("Namespace(lr=0.0001, bbox_loss_coef=5, giou_loss_coef=2)")
    {'loss_bbox': 5.0, 'loss_giou': 2.0, 'loss_ce': 1.0}
    >>> weights_in("criterion:\\n  weight_dict:\\n    loss_vfl: 1\\n    loss_bbox: 5.0\\n")
    {'loss_vfl': 1.0, 'loss_bbox': 5.0}
    """
    text = text[:LARGEST]
    if (given := _WEIGHTS.search(text)) is not None:
        return {name: float(value) for name, value in _PAIR.findall(given[1])}
    found = {
        CLASSIFICATION if name == "cls" else f"loss_{name}": float(value) for name, value in _COEFFICIENT.findall(text)
    }
    return found and {**found, CLASSIFICATION: found.get(CLASSIFICATION, 1.0)}


def weights_for(log: Path, head: str, config: Path | None) -> Weights | None:
    """The weights of a log's losses: of the configuration that was named, of its own first lines, or of a
    configuration beside it; None where there is none. Raises Unreadable for a named one without."""
    if config is not None:
        try:
            found = weights_in(config.read_text(encoding="utf-8-sig", errors="replace"))
        except OSError as error:
            raise Unreadable(config, None, f"it cannot be read: {error.strerror or error}") from None
        if not found:
            raise Unreadable(config, None, "it gives no loss a weight, neither as NAME_loss_coef nor in a weight_dict")
        return Weights(found, str(config))
    if found := weights_in(head):
        return Weights(found, "the arguments in the log")
    for path in _beside(log):
        if found := weights_in(path.read_text(encoding="utf-8-sig", errors="replace")):
            return Weights(found, str(path))
    return None


def _beside(log: Path) -> Iterator[Path]:
    paths = (log.parent / f"{name}{ending}" for name in BESIDE for ending in ENDINGS)
    return (path for path in paths if path != log and path.is_file() and path.stat().st_size <= LARGEST)
