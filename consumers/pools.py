"""Rows of one kind and their detectors' memory: the only place that gathers, scatters and packs state.

A pool holds, for every row, the state of each cell of its stream, the lifecycle of each kind of
finding, the newest reading and verdict, the facts and the thresholds, as tensors whose first dimension is the
row. Letters: R rows of an update, K slots, T steps.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from consumers.points import MOST_SLOTS, NARROW, Kept, Points
from detectors import lifecycle
from detectors.cell import UNKNOWN, Block, Cell, Deferred, Rewinding, State
from detectors.kinds import Kind
from detectors.recurrence import held
from detectors.streams import FACTS, PAIRS, Stream

AT_ONCE: Final = 96 * 1024
"""Numbers of a column (R[, K], T) that go through the cells together: what they work with is some hundred such columns,
which fit into a processor's cache and need no new memory each time. An accelerator takes all rows."""
FEWEST: Final = 16
"""Rows that go through together in any case: fewer cost as much."""
READ_TOGETHER: Final = 64
"""Rows whose deferred readings are made together: what they take stays in a processor's cache."""
STATES = ("resolved", "pending", "firing")
"""A lifecycle status as the wire names it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A finding's change of state, with what the detectors read at that step."""

    at: int
    """Which row of the update."""
    offset: int
    """Which step of the block."""
    slot: int | None
    kind: Kind
    state: str
    began: int
    confirmed: int | None
    step: int
    readings: Mapping[str, float]
    slots: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    """The readings of `Kind.slots`, slot by slot."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A finding that had begun in steps which the job took back."""

    row: int
    slot: int | None
    kind: Kind
    began: int
    confirmed: int | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a block."""

    transitions: list[Transition]
    fed: Mapping[str, Tensor]
    """Readings that other streams go on with, (R, T)."""


class Pool:
    """The rows of one stream with ``slots`` components each.

    Errors: what cells raise; a cell that keeps its contract raises nothing whatever the values are.
    """

    def __init__(
        self, stream: Stream, slots: int, cells: Sequence[Cell], thresholds: Mapping[str, float], like: Tensor
    ) -> None:
        self.stream, self.slots, self.like = stream, slots, like
        self.cells = tuple(cell for cell in cells if cell.stream == stream)
        self.keys: list[Any] = []
        """What each row stands for; None where the row is free."""
        self.version = 0
        """Counts the changes of what rows and slots stand for."""
        self._free: list[int] = []
        self._dropped: list[int] = []
        """Free rows that still have the state of what they stood for."""
        self._unread: set[int] = set()
        """Rows whose readings of `Deferred` cells are older than their state."""
        self._defaults = dict(thresholds)
        self._fresh = self._init()
        self.state = {name: value.clone() for name, value in self._fresh.items()}
        """Everything a row remembers, by name: ``<cell>.<name>``, ``life.<kind>.<name>``, ``now.<exported reading>``,
        ``verdict.<kind>``, ``threshold.<name>``, ``fact.<name>``."""
        self.points = Points(
            {
                f"{cell.name}.{name}": self._fresh[f"{cell.name}.{name}"]
                for cell in self.cells
                if slots <= MOST_SLOTS and (not isinstance(cell, Rewinding) or cell.at_points)
                for name in cell.init(0, slots, like)
            },
            narrow=stream in NARROW,
        )
        """What the cells knew earlier."""
        self.points.grow(1)
        layout = [(name, str(value.dtype), tuple(value.shape[1:])) for name, value in self.state.items()]
        layouts = (layout, self.points.layout())
        self.digest = hashlib.sha256(repr((layouts, _parameters(self.cells))).encode()).hexdigest()[:16]
        """Changes when a cell, its parameters or the dtype change: packed rows of another layout are not read.
        The same in every process."""

    def _init(self) -> dict[str, Tensor]:
        """The state of one fresh row."""
        shape = {"row": (1,), "slot": (1, self.slots)}
        state = {f"fact.{fact.name}": self.like.new_full(shape[fact.per], fact.default) for fact in FACTS[self.stream]}
        for cell in self.cells:
            state |= {f"{cell.name}.{name}": value for name, value in cell.init(1, self.slots, self.like).items()}
            for reading in cell.readings:
                if reading.exported:
                    state[f"now.{reading.name}"] = self.like.new_full(shape[reading.per], torch.nan)
            for threshold in cell.thresholds:
                value = self._defaults.get(threshold.name, threshold.default)
                state[f"threshold.{threshold.name}"] = self.like.new_full((1,), value)
            per = {reading.name: reading.per for reading in cell.readings}
            for kind in cell.kinds:
                of = shape[per[kind.value]]
                state[f"verdict.{kind.name}"] = torch.full(of, UNKNOWN, dtype=torch.int8, device=self.like.device)
                life = lifecycle.idle(of, self.like.device)
                state |= {f"life.{kind.name}.{name}": value for name, value in life.items()}
        return state

    def __len__(self) -> int:
        return len(self.keys) - len(self._free)

    def add(self, key: object) -> int:
        """A fresh row for ``key``."""
        self.version += 1
        if self._free:
            self._renew()
            row = self._free.pop()
            self.keys[row] = key
            return row
        row = len(self.keys)
        self.keys.append(key)
        capacity = next(iter(self.state.values())).shape[0]
        if row >= capacity:
            more = max(64, capacity // 8)
            for name, value in self.state.items():
                self.state[name] = torch.cat([value, self._fresh[name].expand(more, *value.shape[1:])])
            self.points.grow(capacity + more)
        return row

    def drop(self, row: int) -> None:
        """Forget a row."""
        self.version += 1
        self.keys[row] = None
        self._unread.discard(row)
        self.points.clear(row)
        self._free.append(row)
        self._dropped.append(row)

    def _renew(self) -> None:
        """Make dropped rows fresh, all of them at once."""
        if self._dropped:
            for name, value in self.state.items():
                value[self._dropped] = self._fresh[name]
            self._dropped.clear()

    def restart(self, row: int, cell: type[Cell]) -> None:
        """Let cells of one sort begin anew with a row; findings stay as they are until the cells know better."""
        for each in self.cells:
            if isinstance(each, cell):
                for name, value in each.init(1, self.slots, self.like).items():
                    self.state[f"{each.name}.{name}"][row] = value[0]

    def set_thresholds(self, row: int, thresholds: Mapping[str, float]) -> None:
        """Override thresholds of one row; names this pool does not know are left alone."""
        for name, value in thresholds.items():
            if (key := f"threshold.{name}") in self.state:
                # Through a tensor: a narrower dtype takes 1e300 as infinity, where a plain number would raise.
                self.state[key][row] = torch.tensor(value, dtype=torch.float64)

    def set_facts(self, row: int, facts: Mapping[str, float | Sequence[float]]) -> None:
        """Set what is known about one row: a number each, or one for each of the first slots."""
        for name, value in facts.items():
            given, kept = torch.tensor(value, dtype=torch.float64), self.state[f"fact.{name}"][row]
            if given.dim():
                kept.copy_(self._fresh[f"fact.{name}"][0])
                kept = kept[: len(given)]
            kept.copy_(given)

    def update(self, rows: Sequence[int], block: Block) -> Judged:
        """Let every cell take the block; ``rows`` are distinct, one per row of the block."""
        at_once = max(FEWEST, AT_ONCE // (max(1, self.slots) * block.mask.shape[1]))
        if self.like.device.type != "cpu":
            at_once = max(at_once, len(rows))
        starts = range(0, len(rows), at_once)
        if len(starts) < 2:
            return self._update(rows, block)
        parts = [self._update(rows[at : at + at_once], _rows_of(block, slice(at, at + at_once))) for at in starts]
        place = {kind.name: number for number, kind in enumerate(kind for cell in self.cells for kind in cell.kinds)}
        transitions = [
            dataclasses.replace(change, at=start + change.at)
            for start, part in zip(starts, parts, strict=True)
            for change in part.transitions
        ]
        transitions.sort(key=lambda change: place[change.kind.name])
        return Judged(transitions, {name: torch.cat([part.fed[name] for part in parts]) for name in parts[0].fed})

    def _update(self, rows: Sequence[int], block: Block) -> Judged:
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.like.device)
        newest = block.mask.sum(-1) - 1  # (R) of each row's last step
        transitions: list[Transition] = []
        readings: dict[str, Tensor] = {}
        thresholds = self._gather("threshold.", index)
        block = dataclasses.replace(block, facts=self._gather("fact.", index))
        for cell in self.cells:
            if isinstance(cell, Deferred):
                for name, value in cell.advance(self._gather(f"{cell.name}.", index), block).items():
                    self.state[f"{cell.name}.{name}"].index_copy_(0, index, value)
                self._unread.update(rows)
                continue
            output = cell.update(self._gather(f"{cell.name}.", index), block, thresholds)
            for name, value in output.state.items():
                self.state[f"{cell.name}.{name}"].index_copy_(0, index, value)
            for name, value in output.readings.items():
                self._remember(f"now.{name}", index, value, newest)
            readings |= output.readings
            for kind in cell.kinds:
                verdict = output.verdicts[kind.name]
                self._remember(f"verdict.{kind.name}", index, verdict, newest)
                transitions += self._advance(kind, index, block, verdict, readings)
        fed = {r.name: readings[r.name] for cell in self.cells for r in cell.readings if r.feeds}
        return Judged(transitions, fed)

    def read(self) -> None:
        """Make the readings that wait until somebody looks: to be called before ``now.<reading>`` is used."""
        rows, self._unread = sorted(self._unread), set()
        for start in range(0, len(rows), READ_TOGETHER):
            index = torch.as_tensor(rows[start : start + READ_TOGETHER], dtype=torch.int64, device=self.like.device)
            for cell in self.cells:
                if isinstance(cell, Deferred):
                    known = cell.read(self._gather(f"{cell.name}.", index), self._gather("threshold.", index))
                    for name, value in known.items():
                        self.state[f"now.{name}"].index_copy_(0, index, value)

    def _remember(self, name: str, index: Tensor, value: Tensor, newest: Tensor) -> None:
        """Keep the value of each row's last step, of what is kept; of a pair the last that was known, for most of its
        steps may be the other series' alone."""
        if (kept := self.state.get(name)) is None:
            return
        if self.stream in PAIRS:
            known = ~value.isnan() if value.is_floating_point() else value != UNKNOWN
            value = held(value, known, kept.index_select(0, index))
        kept.index_copy_(0, index, _at(value, newest))

    def _gather(self, prefix: str, index: Tensor) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value.index_select(0, index)
            for name, value in self.state.items()
            if name.startswith(prefix)
        }

    def _advance(
        self, kind: Kind, index: Tensor, block: Block, verdict: Tensor, readings: Mapping[str, Tensor]
    ) -> Iterator[Transition]:
        """Move the lifecycle of the rows that have anything to report."""
        status = self.state[f"life.{kind.name}.status"].index_select(0, index)
        busy = (~lifecycle.quiet({"status": status}, verdict)).nonzero()[:, 0]
        if busy.numel() == 0:
            return
        rows = index[busy]
        life = self._gather(f"life.{kind.name}.", rows)
        end, status, began, confirmed = lifecycle.advance(
            life, verdict[busy], block.step[busy], kind.confirm, kind.release
        )
        for name, value in end.items():
            self.state[f"life.{kind.name}.{name}"].index_copy_(0, rows, value)
        before = torch.cat([life["status"][..., None], status[..., :-1]], dim=-1)
        changed = (status != before).nonzero()
        if changed.shape[0] == 0:
            return
        places = changed.tolist()
        found = tuple(changed.T)
        states, begins, confirms = (x[found].tolist() for x in (status, began, confirmed))
        origin = busy.tolist()
        wanted = dict.fromkeys((kind.value, *kind.evidence))
        picked = {name: _pick(readings[name][busy], changed) for name in wanted}
        was = before[found].tolist()
        for i, (row, *slot, offset) in enumerate(places):
            yield Transition(
                at=origin[row],
                offset=offset,
                slot=slot[0] if slot else None,
                kind=kind,
                state=STATES[states[i]],
                began=begins[i],
                confirmed=confirms[i] if lifecycle.FIRING in (states[i], was[i]) else None,
                step=int(block.step[origin[row], offset]),
                readings={name: values[i] for name, values in picked.items()},
                slots={name: readings[name][origin[row], :, offset].tolist() for name in kind.slots},
            )

    def keep(self, points: Sequence[Kept]) -> None:
        """Take rewind points, of each row at most one: after the block in which a row's last record asks for it."""
        if points:
            self.points.keep(self.state, points)

    def rewind(self, rows: Sequence[int], step: int) -> list[Withdrawn]:
        """Let rows go back to what they knew before ``step``; the findings that had not begun then.

        What the detectors read last is not known any more. A finding that began earlier goes on; what confirms or
        releases it is counted anew.
        """
        rows = self.points.behind(rows, step)
        if not rows:
            return []
        self._unread.difference_update(rows)
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.like.device)
        kept = self.points.rewind(rows, step)
        withdrawn: list[Withdrawn] = []
        for cell in self.cells:
            now = self._gather(f"{cell.name}.", index)
            fresh = {name: self._fresh[f"{cell.name}.{name}"].expand_as(value) for name, value in now.items()}
            then: State = {name: kept.get(f"{cell.name}.{name}", value) for name, value in fresh.items()}
            then = cell.rewind(now, then, step) if isinstance(cell, Rewinding) else then
            for name, value in then.items():
                self.state[f"{cell.name}.{name}"].index_copy_(0, index, value)
            told = [f"now.{reading.name}" for reading in cell.readings if reading.exported]
            for name in (*told, *(f"verdict.{kind.name}" for kind in cell.kinds)):
                self.state[name][index] = self._fresh[name]
            for kind in cell.kinds:
                withdrawn += self._withdraw(kind, rows, index, step)
        return withdrawn

    def _withdraw(self, kind: Kind, rows: Sequence[int], index: Tensor, step: int) -> Iterator[Withdrawn]:
        life = self._gather(f"life.{kind.name}.", index)
        end, gone = lifecycle.rewind(life, step)
        for name, value in end.items():
            self.state[f"life.{kind.name}.{name}"].index_copy_(0, index, value)
        for row, *slot in gone.nonzero().tolist():
            began, confirmed, status = (int(life[name][row, *slot]) for name in ("began", "confirmed", "status"))
            fired = status == lifecycle.FIRING
            yield Withdrawn(rows[row], slot[0] if slot else None, kind, began, confirmed if fired else None)

    def pack(self, rows: Sequence[int]) -> list[bytes]:
        """Each row's whole memory as bytes."""
        self.read()
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.like.device)
        parts = [
            value.index_select(0, index).contiguous().flatten(1).view(torch.uint8)
            if value.dim() > 1
            else value.index_select(0, index)[:, None].contiguous().view(torch.uint8)
            for value in self.state.values()
        ]
        packed: npt.NDArray[np.uint8] = torch.cat(parts, dim=1).cpu().numpy()
        return [row.tobytes() + points for row, points in zip(packed, self.points.pack(rows), strict=True)]

    def unpack(self, row: int, data: bytes) -> None:
        """Set a row from `pack`; raises ValueError if the bytes are of another layout."""
        start = 0
        raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        for value in self.state.values():
            size = value[row].numel() * value.element_size()
            piece = raw[start : start + size]
            if piece.numel() != size:
                raise ValueError(f"packed row of {len(data)} bytes is too short for this layout")
            value[row] = piece.clone().view(value.dtype).view(value[row].shape)
            start += size
        self.points.unpack(row, data[start:])

    def widen(self, row: int, wider: Pool, to: int) -> None:
        """Copy a row into a pool with more slots, which stay fresh, or into one with none."""
        for name, value in self.state.items():
            source, target = value[row], wider.state[name][to]
            if source.shape == target.shape:
                target.copy_(source)
            else:
                both = min(source.shape[0], target.shape[0])
                target[:both].copy_(source[:both])
        self.points.copy(row, wider.points, to)


def _rows_of(block: Block, chosen: slice) -> Block:
    """Some rows of a block."""
    values, reported = ({name: x[chosen] for name, x in of.items()} for of in (block.values, block.reported))
    return dataclasses.replace(
        block, step=block.step[chosen], mask=block.mask[chosen], values=values, reported=reported
    )


def _parameters(value: Any) -> Any:
    """What makes a cell another cell: its parameters, without texts and functions (whose repr is an address)."""
    if dataclasses.is_dataclass(value):
        named = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        kept = [(name, _parameters(part)) for name, part in named if name != "help" and not callable(part)]
        return (type(value).__name__, kept)
    return [_parameters(part) for part in value] if isinstance(value, tuple) else value


def _at(values: Tensor, newest: Tensor) -> Tensor:
    """(R[, K], T) at each row's last step: (R[, K])."""
    index = newest.view(-1, *[1] * (values.dim() - 1)).expand(*values.shape[:-1], 1)
    return values.gather(-1, index).squeeze(-1)


def _pick(values: Tensor, places: Tensor) -> list[float]:
    """The readings at places (row[, slot], step); a row's reading serves all of its slots."""
    columns = places.T
    picked: list[float] = values[tuple(columns) if values.dim() == len(columns) else (columns[0], columns[-1])].tolist()
    return picked
