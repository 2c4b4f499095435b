"""The one table that names every detector. To add one, add a row."""

from __future__ import annotations

from typing import Final

from detectors.aggregation.audit import Audit
from detectors.aggregation.mismatch import Mismatch
from detectors.cell import Cell
from detectors.components.balance import Balance
from detectors.components.pinned import Pinned
from detectors.coverage.sparse import SparseCoverage
from detectors.declaration.facts import Declaration
from detectors.evaluation.decoupling import Decoupling
from detectors.evaluation.overfitting import Overfitting
from detectors.evaluation.slices import Slices
from detectors.kinds import Kind, Threshold
from detectors.labels.confusion import Confusion
from detectors.labels.ranking import Ranking
from detectors.labels.space import LabelSpace
from detectors.predictions.diversity import Diversity
from detectors.proxy.weak import WeakProxy
from detectors.representation.collapse import RepresentationCollapse
from detectors.series.expectation import Expectation
from detectors.series.health import Health
from detectors.series.nonfinite import NonFinite
from detectors.series.stalled import FACTOR, LEAST, STALLED
from detectors.series.trace import Trace
from detectors.temporal.anomaly import TemporalAnomaly

CELLS: Final[tuple[Cell, ...]] = (
    NonFinite(),
    Health(),
    Expectation(),
    TemporalAnomaly(),
    Trace(),
    Balance(),
    Pinned(),
    Audit(),
    Mismatch(),
    Overfitting(),
    Decoupling(),
    Slices(),
    Diversity(),
    Confusion(),
    LabelSpace(),
    Ranking(),
    RepresentationCollapse(),
    WeakProxy(),
    SparseCoverage(),
    Declaration(),
)
KINDS: Final[dict[str, Kind]] = {kind.name: kind for cell in CELLS for kind in cell.kinds} | {STALLED.name: STALLED}
"""Every kind of finding, by name; a stall is judged by the clock."""
THRESHOLDS: Final[dict[str, Threshold]] = {
    t.name: t for t in (*(t for cell in CELLS for t in cell.thresholds), LEAST, FACTOR)
}
"""Every threshold, by name."""
