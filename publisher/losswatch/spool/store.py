"""A folder of records that wait for the broker, oldest first: bounded, and safe against crashes.

Every process appends to files of its own, ``<session>.<number>.spool``, and holds a lock on
``<session>.lock`` while it lives. Files of sessions that are gone are taken over, before anything of
its own, by the next process that spools to the folder, or by `losswatch.spool.send_spool`.

Each record is a frame with a checksum, so that a torn or damaged one is told: ``LWR1``, the lengths of its two parts
and a CRC-32 of them (little-endian, 4 bytes each), then the parts: what the record is as JSON, and its value.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from losswatch.buffer import Outgoing
from losswatch.notices import Notices

FILE_BYTES: Final = 1024 * 1024
"""A file is closed when it is as long; it is deleted when all of its records have arrived."""
MARK: Final = b"LWR1"
LENGTHS: Final = struct.Struct("<III")
MOST: Final = 16 * 1024 * 1024
"""No part is longer; a length above it is damage."""
RETRY_SECONDS: Final = 10.0
"""How long a disk that is full is left alone."""


def frame(record: Outgoing) -> bytes:
    """The record as it is appended to a file.

    >>> record = Outgoing("steps", "losswatch.steps", b"ttt-42", 7, b"...", [("ce_id", b"8f3c/7")], 64)
    >>> [each.seq for each in frames(b"torn" + frame(record) + frame(record)[:-1])]
    [7]
    """
    headers = [[name, value.decode("latin-1")] for name, value in record.headers]
    what = [record.kind, record.topic, record.key.decode("latin-1"), record.seq, record.calls, headers]
    head = json.dumps(what, separators=(",", ":")).encode()
    checksum = zlib.crc32(record.value, zlib.crc32(head))
    return MARK + LENGTHS.pack(len(head), len(record.value), checksum) + head + record.value


def frames(data: bytes, place: Path | None = None) -> Iterator[Outgoing]:
    """The records of a file, in order; what is torn or damaged is passed over."""
    at = data.find(MARK)
    while at >= 0:
        record, end = _read(data, at, place)
        if record is not None:
            yield record
        at = data.find(MARK, end)


def _read(data: bytes, at: int, place: Path | None) -> tuple[Outgoing | None, int]:
    """The record at a mark and where the next may begin; None where there is no whole one."""
    start = at + len(MARK) + LENGTHS.size
    if start > len(data):
        return None, len(data)
    head_length, value_length, checksum = LENGTHS.unpack_from(data, at + len(MARK))
    middle, end = start + head_length, start + head_length + value_length
    if max(head_length, value_length) > MOST or end > len(data):
        return None, at + 1
    head, value = data[start:middle], data[middle:end]
    if zlib.crc32(value, zlib.crc32(head)) != checksum:
        return None, at + 1
    kind, topic, key, seq, calls, headers = json.loads(head)
    pairs = [(name, text.encode("latin-1")) for name, text in headers]
    return Outgoing(kind, topic, key.encode("latin-1"), seq, value, pairs, calls, None, place), end


class Spool:
    """The records of this session and of those before it. One thread only. Raises OSError where there is no folder.

    Parameters
    ----------
    folder
        Made if it is not there. On a local disk: locks over a network are not to be trusted.
    session
        Whose records are appended.
    limit
        Most bytes of files in the folder, whosever they are.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        session: str,
        limit: int,
        notices: Notices,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = Path(folder)
        self._session, self._limit, self._notices, self._clock = session, limit, notices, clock
        self._locks: dict[str, int] = {}
        self._files: deque[Path] = deque()
        self._read: deque[Outgoing] = deque()
        self._given: deque[Outgoing] = deque()
        self._left: Counter[Path] = Counter()
        self._open: int | None = None
        self._open_bytes = self._next_number = 0
        self._retry_at = float("-inf")
        self.calls = 0
        """How many calls of this session's job its records stand for."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock(session)
        self._take_over()

    def __len__(self) -> int:
        """Files of which something has not arrived."""
        return len(self._files) + len(self._left)

    def append(self, record: Outgoing) -> bool:
        """Write a record behind all others; False where there is no room for it."""
        now = self._clock()
        if now < self._retry_at:
            return False
        try:
            self._write(frame(record))
        except OSError as error:
            self._retry_at = now + RETRY_SECONDS
            self._notices.once("spool", "cannot spool to %s (%s): memory has to do", self.folder, _reason(error))
            return False
        self.calls += record.calls
        return True

    def next(self) -> Outgoing | None:
        """The oldest record not given out yet."""
        while not self._read and self._files:
            path = self._files.popleft()
            if not self._files:
                self._close_file()
            try:
                records = list(frames(path.read_bytes(), path))
            except OSError as error:
                self._notices.once("spool read", "cannot read %s: %s", path, _reason(error))
                continue
            if not path.name.startswith(f"{self._session}."):
                records = [record._replace(calls=0) for record in records]
            self._read.extend(records)
            self._left[path] = len(records)
            if not records:
                self._delete(path)
        if not self._read:
            return None
        self._given.append(record := self._read.popleft())
        return record

    def confirm(self, record: Outgoing) -> None:
        """Note that the broker has the oldest record given out, or never will."""
        self._given.popleft()
        self.calls -= record.calls
        self._left[record.place] -= 1
        if self._left[record.place] == 0:
            self._delete(record.place)

    def rewind(self) -> None:
        """Give everything out again that was given out and not confirmed, in order."""
        self._read.extendleft(reversed(self._given))
        self._given.clear()

    def close(self) -> None:
        """Leave what is there to the next process."""
        self._close_file()
        for session, lock in self._locks.items():
            with contextlib.suppress(OSError):
                if not any(self.folder.glob(f"{session}.*.spool")):
                    (self.folder / f"{session}.lock").unlink()
            with contextlib.suppress(OSError):
                os.close(lock)
        self._locks.clear()

    def abandon(self) -> None:
        """In a forked child: let go of the files without unlocking them; they are the parent's."""
        for descriptor in (*self._locks.values(), self._open):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _write(self, data: bytes) -> None:
        if self._open is None:
            used = sum(path.stat().st_size for path in self.folder.glob("*.spool"))
            if used + max(FILE_BYTES, len(data)) > self._limit:
                raise OSError(f"it holds {used} of {self._limit} bytes")
            path = self.folder / f"{self._session}.{self._next_number:08d}.spool"
            self._open = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            self._next_number += 1
            self._open_bytes = 0
            self._files.append(path)
        if os.write(self._open, data) < len(data):
            os.ftruncate(self._open, self._open_bytes)
            raise OSError("the disk is full")
        self._open_bytes += len(data)
        if self._open_bytes >= FILE_BYTES:
            self._close_file()

    def _close_file(self) -> None:
        descriptor, self._open = self._open, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
            os.close(descriptor)

    def _delete(self, path: Path) -> None:
        del self._left[path]
        with contextlib.suppress(OSError):
            path.unlink()

    def _take_over(self) -> None:
        """Queue the files of sessions that are gone, the session that began first before others."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.glob("*.spool")):
            found.setdefault(path.name.partition(".")[0], []).append(path)
        for session, paths in sorted(found.items(), key=lambda item: _age(item[1][0])):
            if session != self._session and self._lock(session):
                self._files.extend(paths)

    def _lock(self, session: str) -> bool:
        """Take the lock of a session, unless a living process has it."""
        try:
            import fcntl
        except ImportError:  # without locks nobody can tell: `losswatch.spool` is for what is left there
            return False
        lock = os.open(self.folder / f"{session}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._locks[session] = lock
        return True


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # sent and deleted meanwhile
        return 0.0


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
