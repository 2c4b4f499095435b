"""The temporal anomaly score of every series. Letters: R rows (series), T steps, J features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, joined, part_of, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.recurrence import packed
from detectors.streams import Stream
from detectors.temporal.calibration import Calibration
from detectors.temporal.features import Features
from detectors.temporal.forecast import Forecaster
from detectors.temporal.tail import Prior, Tail

RUN_LENGTH: Final = Threshold(
    "anomaly_run_length", 50_000.0, "Steps of a series between two false temporal anomalies, on average."
)
CHANGES: Final = ("a spike", "a level shift", "a drift", "a slow drift", "more variance", "an oscillation", "a freeze")
"""What the reading ``anomaly_change`` stands for, counted from 1; 0 is nothing."""
PRIORS: Final = (
    Prior(bend=0.0, settle=30.0, mean=0.403, square=0.290, number=0.088, excess=0.192),
    Prior(bend=0.4, settle=60.0, mean=0.529, square=0.509, number=0.093, excess=0.255),
    Prior(bend=1.0, settle=150.0, mean=0.814, square=1.453, number=0.091, excess=0.715),
    Prior(bend=1.0, settle=600.0, mean=1.182, square=5.677, number=0.050, excess=4.131),
    Prior(bend=1.0, settle=60.0, mean=0.420, square=0.680, number=0.097, excess=0.650),
    Prior(bend=1.0, settle=60.0, mean=0.177, square=0.101, number=0.098, excess=0.225),
)
"""Of all features but the freeze, which is a probability already."""
RAREST: Final = 1e12
FARTHEST: Final = 1e36
"""Larger values count as this, so that sums of a few stay finite in float32."""
ROWS: Final = 512
"""So many rows are taken at once on a CPU, that all there is of them stays in its cache."""


def _describe(facts: Facts) -> str:
    name, more = f"{facts.subject or 'value'} ({facts.phase})", facts.series - 1
    several = f"{more} other series" if more else ""
    if facts.state == "resolved":
        both, have = (f"{name} and {several}", "have") if more else (name, "has")
        return f"{both} {have} shown nothing unusual for a while (step {facts.step})."
    readings = facts.readings
    rarity = min(readings["anomaly_rarity_steps"], RAREST)
    told = (
        f"{name} shows {_change(facts)} at step {facts.began}: {readings['value']:.4g} where "
        f"{readings['anomaly_expected']:.4g} was expected (usual {readings['anomaly_low']:.4g} to "
        f"{readings['anomaly_high']:.4g}); its own past shows as much about once in {rarity:.2g} steps."
    )
    if not more:
        return told
    return f"{told} At the same step {several} changed{facts.listed(_change)}."


def _change(facts: Facts) -> str:
    code = facts.readings["anomaly_change"]
    return CHANGES[int(code) - 1] if 1 <= code <= len(CHANGES) else "a change"


ANOMALY: Final = Kind(
    "temporal_anomaly",
    "info",
    value="anomaly_rarity_steps",
    threshold=RUN_LENGTH.name,
    confirm=1,
    release=80,
    describe=_describe,
    evidence=(
        *("anomaly_score", "value", "anomaly_expected", "anomaly_low", "anomaly_high"),
        *("anomaly_change", "anomaly_direction"),
    ),
    together="anomaly_score",
)


@dataclass(frozen=True, slots=True)
class TemporalAnomaly:
    """Bad where the newest value is rarer than once in ``anomaly_run_length`` steps by the series' own past.

    Forecast, features, the tail of each; the L4 norm of their surprises (nearly the largest), by how often the series
    surprises so much. A score s says that it does about once in ``50_000 ** (s / (1 - s))`` steps: 0.5 is the default
    run length. Unknown for ``warm_up`` values.

    >>> import torch
    >>> from detectors.cell import BAD
    >>> value = torch.cat([torch.sin(torch.arange(200.0) ** 2), torch.tensor([9.0])])[None]
    >>> block = Block(torch.arange(201)[None], torch.ones(1, 201).bool(), {"value": value}, {},
    ...               {"direction": torch.tensor([-1.0])})
    >>> cell = TemporalAnomaly()
    >>> found = cell.update(cell.init(1, 0, value), block, {"anomaly_run_length": torch.tensor([50_000.0])})
    >>> (found.verdicts["temporal_anomaly"][0] == BAD).nonzero()[:, 0].tolist()
    [200]
    """

    forecaster: Forecaster = field(default_factory=Forecaster)
    features: Features = field(default_factory=Features)
    tail: Tail = field(default_factory=lambda: Tail(PRIORS))
    calibration: Calibration = field(default_factory=Calibration)
    warm_up: int = 16
    band: float = 3.0
    dtype: torch.dtype = torch.float32
    """Of all that is remembered; rounding then moves a score by a few millionths."""
    name: str = "temporal_anomaly"
    stream: Stream = "series"
    thresholds: tuple[Threshold, ...] = (RUN_LENGTH,)
    kinds: tuple[Kind, ...] = (ANOMALY,)
    readings: tuple[Reading, ...] = (
        Reading("anomaly_score", "How unusual the newest value of a series is, by its own past (0 to 1; 0.5: 50,000)."),
        Reading("anomaly_rarity_steps", "Steps between values as unusual as the newest.", exported=False),
        Reading("anomaly_expected", "What the newest value was expected to be.", exported=False),
        Reading("anomaly_low", "Lower end of what is usual.", exported=False),
        Reading("anomaly_high", "Upper end of what is usual.", exported=False),
        Reading("anomaly_change", "What kind of change it looks like, a place in CHANGES, 0 none.", exported=False),
        Reading("anomaly_direction", "1 where the series went up, -1 where it went down.", exported=False),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """The states of the parts and the ``count`` of values (R). All in ``dtype``, but the newest value."""
        del slots
        narrow = like.new_zeros((), dtype=self.dtype)
        state = joined(
            forecast=self.forecaster.init(rows, narrow),
            features=self.features.init(rows, narrow, like),
            tail=self.tail.init(rows, narrow),
            calibration=self.calibration.init(rows, narrow),
        )
        return state | {"count": narrow.new_zeros(rows)}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        value, limit = block.values["value"], thresholds[RUN_LENGTH.name]
        direction, valid = block.facts["direction"], block.mask & value.isfinite()
        rows = value.shape[0]
        at_once = ROWS if value.device.type == "cpu" else max(rows, 1)
        parts = [slice(start, start + at_once) for start in range(0, max(rows, 1), at_once)]
        outputs = [
            self._judged({name: x[part] for name, x in state.items()}, value[part], valid[part], direction[part])
            for part in parts
        ]
        end, readings = (
            ({name: torch.cat([output[i][name] for output in outputs]) for name in outputs[0][i]} for i in range(2))
            if len(outputs) > 1
            else outputs[0]
        )
        rarity = readings["anomaly_rarity_steps"]
        return Output(end, readings, {ANOMALY.name: verdict_of(~rarity.isnan(), rarity >= limit[:, None])})

    def _judged(self, state: State, value: Tensor, valid: Tensor, direction: Tensor) -> tuple[State, State]:
        """New state and readings of some rows."""
        taken = valid.sum(-1)
        wide = packed(torch.where(valid, value, 0.0), valid)
        x, direction = wide.clamp(-FARTHEST, FARTHEST).to(self.dtype), direction.to(self.dtype)
        place = torch.arange(x.shape[-1], device=x.device)
        real, count = place < taken[:, None], state["count"][:, None] + place
        forecast_state, forecast = self.forecaster.update(part_of(state, "forecast"), x, count, taken)
        feature_state, found, noisy, sign = self.features.update(
            part_of(state, "features"), wide, forecast, direction, count, taken
        )
        warm = real & (count >= self.warm_up)
        judged = len(PRIORS)
        number = (count - self.warm_up).clamp_(min=0.0)
        tail_state, surprise = self.tail.update(part_of(state, "tail"), found[:, :judged], count, warm, number, taken)
        surprises = torch.cat([surprise, found[:, judged:]], dim=1)
        together = surprises.square().square_().sum(1).sqrt_().sqrt_()
        calibration_state, nats = self.calibration.update(
            part_of(state, "calibration"), torch.where(warm, together * noisy, 0.0), number, taken
        )
        width = self.band * forecast.noise
        packed_readings = {
            "anomaly_score": nats / (nats + math.log(RUN_LENGTH.default)),
            "anomaly_rarity_steps": nats.clamp(max=math.log(RAREST)).exp_(),
            "anomaly_expected": forecast.expected,
            "anomaly_low": forecast.expected - width,
            "anomaly_high": forecast.expected + width,
            "anomaly_change": (_first_largest(surprises) + 1) * (nats > 0),
            "anomaly_direction": sign,
        }
        known = torch.where(valid, (valid.cumsum(-1) - 1).clamp(min=0), 0)
        unknown = ~(valid & warm.gather(1, known))
        readings = {
            name: reading.gather(1, known).to(value.dtype).masked_fill_(unknown, torch.nan)
            for name, reading in packed_readings.items()
        }
        end = joined(forecast=forecast_state, features=feature_state, tail=tail_state, calibration=calibration_state)
        return end | {"count": state["count"] + taken}, readings


def _first_largest(x: Tensor) -> Tensor:
    """(R, J, T) to (R, T): what ``argmax(1)`` finds, a tenth as slow.

    >>> _first_largest(torch.tensor([[[1.0, 5.0], [3.0, 5.0], [3.0, 2.0]]]))
    tensor([[1., 0.]])
    """
    left = torch.arange(x.shape[1], 0, -1, dtype=x.dtype, device=x.device)[:, None]
    return x.shape[1] - ((x == x.amax(1, keepdim=True)) * left).amax(1)
