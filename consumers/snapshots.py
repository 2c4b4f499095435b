"""A run as bytes and back: what the compacted state topic holds.

A snapshot carries the run's ``next_offset`` for each topic: what is below them is in it, and a
replay skips it. A marker per partition is written after the snapshots of a checkpoint and says from
where the partition is to be read again.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import numpy as np
from pydantic import BaseModel

from consumers.classes import Classes
from consumers.courses import History
from consumers.fleet import Fleet
from consumers.pools import Pool
from consumers.references import References
from consumers.runs import ObjectiveRow, PairKey, PairRow, RowKey, Run, SeriesKey, StreamKey, StreamRow, Together
from consumers.sessions import Session
from detectors.streams import PAIRS, SAMPLED, Pair, Sampled
from losswatch.schema import Finding, RunStart

VERSION: Final = 5
LARGE: Final = 262_144
"""Bytes from which on a snapshot is compressed: a broker with the usual limit of 1 MB must take it."""
MOST_BYTES: Final = 67_108_864
"""Longest snapshot that is read, uncompressed."""
COMPRESSED: Final = b"\x78"
"""First byte of what zlib makes; of a msgpack mapping it is another one."""
MARKER_KEY: Final = b"\xff marker"
"""No run has this key: run ids are UTF-8, in which the byte FF does not occur."""


class Marker(BaseModel):
    """Where a partition stands: the newest one is the truth on restore, not the committed offsets."""

    next_offsets: dict[str, int]
    """By topic."""
    findings_next: int = 0
    """From where on the findings topic may hold findings that a replay makes again."""


class SnapshotUnusable(Exception):
    """A snapshot that cannot be restored; the run starts afresh."""


@dataclass(frozen=True, slots=True)
class _Row:
    pool: Pool
    row: int
    what: tuple[Any, ...]


def snapshot(fleet: Fleet, runs: Sequence[Run]) -> list[bytes]:
    """The runs as bytes; rows are packed pool by pool, not run by run."""
    rows = [list(_rows(fleet, run)) for run in runs]
    by_pool: dict[int, list[_Row]] = {}
    for row in (row for each in rows for row in each):
        by_pool.setdefault(id(row.pool), []).append(row)
    packed: dict[tuple[int, int], bytes] = {}
    for pool_id, members in by_pool.items():
        data = members[0].pool.pack([row.row for row in members])
        packed |= {(pool_id, row.row): value for row, value in zip(members, data, strict=True)}
    return [
        _packed(_outline(run) | {"rows": [[*row.what, row.pool.digest, packed[id(row.pool), row.row]] for row in each]})
        for run, each in zip(runs, rows, strict=True)
    ]


def next_offsets(data: bytes) -> dict[str, int]:
    """How far a snapshot reaches, by topic; raises SnapshotUnusable."""
    try:
        return {str(topic): int(offset) for topic, offset in _load(data)["next_offset"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnusable(f"not a snapshot: {error!r}") from error


def restore(fleet: Fleet, data: bytes) -> Run:
    """Put a run back into the fleet. A row written by other detectors starts afresh ("unknown").

    Raises SnapshotUnusable, and leaves nothing of the run behind, whatever the bytes are.
    """
    fields = _load(data)
    try:
        run = _run(fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnusable(f"not a snapshot: {error!r}") from error
    if run.run in fleet.runs:
        raise SnapshotUnusable(f"run {run.run!r} is here already, from partition {fleet.runs[run.run].partition}")
    fleet.runs[run.run] = run
    try:
        _restore_rows(fleet, run, fields["rows"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        fleet.drop(run)
        raise SnapshotUnusable(f"the rows of run {run.run!r} cannot be read: {error!r}") from error
    return run


def _restore_rows(fleet: Fleet, run: Run, rows: Any) -> None:
    for stream, slots, what, digest, row_data in rows:
        pool = fleet.rows.pool(stream, slots)
        row = _place(pool, run, stream, what)
        if digest == pool.digest:
            pool.unpack(row, row_data)
        else:
            fleet.telemetry.count("snapshots_unusable", "other_detectors")
            run.forget_findings(what[0], pool)
    fleet.rows.declare(run)  # not the thresholds of the snapshot: the deployment's may be others by now
    for phase, objective in run.objectives.items():
        objective.series[0] = run.series.get(SeriesKey(phase, "total", "total"), -1)
        for name, slot in objective.slots.items():
            objective.series[1 + slot] = run.series.get(SeriesKey(phase, "component", name), -1)


def _rows(fleet: Fleet, run: Run) -> list[_Row]:
    rows = [
        _Row(o.pool, o.row, ("objective", o.pool.slots, [phase, list(o.slots)])) for phase, o in run.objectives.items()
    ]
    rows += [_Row(fleet.rows.pool("series"), row, ("series", 0, list(key))) for key, row in run.series.items()]
    rows += [
        _Row(fleet.rows.pool(pair.stream), pair.row, (pair.stream, 0, [*key.judged, *pair.reference]))
        for key, pair in run.pairs.items()
    ]
    return rows + [
        _Row(row.pool, row.row, (key.stream, row.pool.slots, [key.phase, key.subject]))
        for key, row in run.streams.items()
    ]


def _place(pool: Pool, run: Run, stream: str, what: list[Any]) -> int:
    phase = what[0]
    if stream == "series":
        key = SeriesKey(*what)
        row = run.series[key] = pool.add(RowKey(run.run, phase, key))
        return row
    if stream in PAIRS:
        pair: Pair = stream
        judged, reference = SeriesKey(*what[:4]), SeriesKey(*what[4:])
        row = pool.add(RowKey(run.run, phase, judged, reference))
        run.pairs[PairKey(pair, judged)] = PairRow(pair, row, reference)
        return row
    if stream in SAMPLED:
        sampled: Sampled = stream
        row = pool.add(RowKey(run.run, phase, subject=what[1]))
        run.streams[StreamKey(sampled, phase, what[1])] = StreamRow(pool, row)
        return row
    row = pool.add(RowKey(run.run, phase))
    slots = {name: slot for slot, name in enumerate(what[1])}
    empty = np.full(1 + pool.slots, -1, dtype=np.int64)
    run.objectives[phase] = ObjectiveRow(pool, row, slots, np.ones(pool.slots), empty)
    return row


def _outline(run: Run) -> dict[str, Any]:
    """All of a run but its rows."""
    return {
        "v": VERSION,
        "run": run.run,
        "partition": run.partition,
        "started": run.started,
        "seen": run.seen,
        "heard": run.heard,
        "life": [run.reported, run.told, run.beats_every],
        "declared": run.declared.model_dump_json(exclude_unset=True) if run.declared else None,
        "status": run.status,
        "ended": run.ended,
        "sessions": {name: session.dump() for name, session in run.sessions.by_id.items()},
        "next_offset": run.next_offset,
        "newest_step": run.newest_step,
        "histories": {topic: history.dump() for topic, history in run.histories.items()},
        "pace": [run.phase, run.pace, run.reports, run.stalled],
        "log_vars": run.log_vars,
        "formula": run.formula,
        "checkpoints": list(run.checkpoints.items()),
        "classes": [run.classes.names, run.classes.outputs, sorted(run.classes.predicted)],
        "references": run.references.dump() if run.references is not None else None,
        "counts": [run.records, run.steps, run.duplicates, run.late_steps],
        "findings": [finding.model_dump_json() for finding in run.findings.values()],
        "together": [[kind, *key, *whole] for (kind, key), whole in run.together.items()],
    }


def _packed(fields: dict[str, Any]) -> bytes:
    data: bytes = msgpack.packb(fields)
    return data if len(data) < LARGE else zlib.compress(data, 1)


def _load(data: bytes) -> dict[str, Any]:
    try:
        fields = msgpack.unpackb(zlib.decompressobj().decompress(data, MOST_BYTES) if data[:1] == COMPRESSED else data)
    except (ValueError, zlib.error) as error:
        raise SnapshotUnusable(f"not a snapshot: {error}") from error
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise SnapshotUnusable("a snapshot of another version")
    return fields


def _run(fields: dict[str, Any]) -> Run:
    run = Run(fields["run"], fields["partition"], fields["started"], fields["seen"], fields["heard"])
    run.reported, run.told, run.beats_every = fields.get("life", [run.seen, run.heard, None])
    if fields["declared"] is not None:
        run.declared = RunStart.model_validate_json(fields["declared"])
    run.status, run.ended = fields["status"], fields["ended"]
    run.sessions.by_id = {name: Session.load(data) for name, data in fields["sessions"].items()}
    run.next_offset, run.newest_step = fields["next_offset"], fields["newest_step"]
    run.histories = {topic: History.load(data) for topic, data in fields["histories"].items()}
    run.records, run.steps, run.duplicates, run.late_steps = fields["counts"]
    run.phase, run.pace, run.reports, run.stalled = fields["pace"]
    run.log_vars, run.formula = fields["log_vars"], tuple(fields["formula"])
    run.checkpoints = dict(fields["checkpoints"])
    names, outputs, predicted = fields["classes"]
    run.classes = Classes(run.declared.classes or () if run.declared else (), names, outputs, predicted)
    run.references = References.load(fields["references"]) if fields["references"] is not None else None
    findings = (Finding.model_validate_json(data) for data in fields["findings"])
    run.findings = {finding.id: finding for finding in findings}
    run.together = {(kind, SeriesKey(*rest[:4])): Together(*rest[4:]) for kind, *rest in fields.get("together", [])}
    return run
