"""What is reported while the broker is away lies on disk: bounded, in order, and for the next process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import losswatch
from losswatch.buffer import Buffer, Outbox, Outgoing
from losswatch.notices import Notices
from losswatch.spool import send_spool
from losswatch.spool.__main__ import main
from losswatch.spool.store import Spool, frame, frames
from losswatch.transport import MemoryTransport, Unavailable
from tests.brokers import free_port, start_tansu
from tests.publisher.hook.faulty import FaultyTransport
from tests.publisher.hook.reading import STEPS, eventually, once_each, read_topic, records_of, steps_of

PUBLISHER = Path(losswatch.__file__).parents[1]


def record(seq: int, size: int = 100, calls: int = 64) -> Outgoing:
    return Outgoing("steps", STEPS, b"r", seq, bytes([seq % 256]) * size, [("ce_id", b"s/1")], calls)


def a_spool(folder: Path, session: str = "one", limit: int = 2**30) -> Spool:
    return Spool(folder, session, limit, Notices())


def drained(spool: Spool) -> list[int]:
    seqs = []
    while (each := spool.next()) is not None:
        seqs.append(each.seq)
        spool.confirm(each)
    return seqs


def test_records_come_back_in_order_and_their_files_go(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    assert all(spool.append(record(seq, size=50_000)) for seq in range(60))
    assert len(list(tmp_path.glob("*.spool"))) == 3
    assert spool.calls == 60 * 64
    assert drained(spool) == list(range(60))
    assert (spool.calls, len(spool), list(tmp_path.glob("*.spool"))) == (0, 0, [])
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_confirmed_is_given_out_again_in_order(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    for seq in range(10):
        spool.append(record(seq))
    taken = [spool.next() for _ in range(5)]
    assert taken[0] is not None
    spool.confirm(taken[0])
    spool.rewind()
    for seq in range(10, 12):
        spool.append(record(seq))
    assert drained(spool) == list(range(1, 12))
    spool.close()


def test_a_torn_or_damaged_record_costs_itself_only() -> None:
    data = bytearray(b"".join(frame(record(seq)) for seq in range(5)))
    length = len(data) // 5
    data[length + 60] ^= 1
    del data[-3:]
    assert [each.seq for each in frames(bytes(data))] == [0, 2, 3]


def test_a_session_that_is_gone_is_taken_over_and_a_living_one_is_not(tmp_path: Path) -> None:
    gone, alive = a_spool(tmp_path, "gone"), a_spool(tmp_path, "alive")
    gone.append(record(1))
    alive.append(record(2))
    gone.close()
    following = a_spool(tmp_path, "next")
    following.append(record(3))
    assert drained(following) == [1, 3]
    assert drained(alive) == [2]
    for each in (following, alive):
        each.close()


def test_the_folder_is_bounded_and_what_does_not_fit_stays_with_the_caller(tmp_path: Path) -> None:
    spool = a_spool(tmp_path, limit=3 * 2**20)
    written = sum(spool.append(record(seq, size=100_000)) for seq in range(100))
    assert 20 <= written < 40
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 3 * 2**20
    assert drained(spool) == list(range(written))
    spool.close()


def test_a_full_disk_is_left_alone_for_a_while_and_leaves_no_half_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, full = [0.0], [False]
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if not full[0]:
            return write(descriptor, data)
        if len(data) < 150:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    spool = Spool(tmp_path, "one", 2**30, Notices(), clock=lambda: now[0])
    assert spool.append(record(0))
    full[0] = True
    assert not spool.append(record(1))
    full[0] = False
    assert not spool.append(record(1)), "not asked again at once"
    now[0] = 11.0
    assert spool.append(record(1))
    assert drained(spool) == [0, 1]
    spool.close()


def test_what_comes_back_from_the_way_is_sent_before_what_is_on_disk(tmp_path: Path) -> None:
    outbox = Outbox(Buffer(Counter()))
    outbox.spool = a_spool(tmp_path)
    for seq in range(4):
        outbox.add(record(seq))
    taken = [each for _ in range(2) if (each := outbox.next())]
    outbox.spill()
    assert outbox.spool.calls == 0
    outbox.put_back(taken)
    outbox.spill()
    outbox.add(record(4))
    seqs = []
    while (each := outbox.next()) is not None:
        seqs.append(each.seq)
        outbox.confirm(each)
    assert (seqs, len(outbox)) == ([0, 1, 2, 3, 4], 0)
    outbox.spool.close()


def test_an_outage_longer_than_memory_lasts_loses_nothing(tmp_path: Path) -> None:
    transport = FaultyTransport(reachable=False)
    run = losswatch.start("r", transport=transport, spool=tmp_path)
    for step in range(30_000):
        run.log(step, total=1.0)
        if step % 5000 == 0:
            eventually(lambda: run.stats().waiting_bytes == 0 and bool(list(tmp_path.glob("*.spool"))))
    transport.reachable = True
    eventually(lambda: run.stats().published == 30_000)
    assert run.finish(timeout=20)
    records = records_of(transport.records, STEPS)
    assert steps_of(once_each(records)) == list(range(30_000))
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_leaves_behind_is_sent_by_the_next_before_its_own(tmp_path: Path) -> None:
    first = losswatch.start("r", transport=FaultyTransport(reachable=False), spool=tmp_path)
    for step in range(100):
        first.log(step, total=1.0)
    assert not first.finish(timeout=2.0)
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport, spool=tmp_path) as second:
        second.log(100, total=1.0)
    records = records_of(transport.records, STEPS)
    assert steps_of(records) == list(range(101))
    assert [each.type for each in records].count("run_end") == 2
    assert second.stats().published == 1
    assert list(tmp_path.iterdir()) == []


def test_a_job_killed_in_an_outage_leaves_its_steps_to_the_command(tmp_path: Path) -> None:
    code = f"""
import losswatch, time
run = losswatch.start("killed", bootstrap_servers="127.0.0.1:{free_port()}", spool={str(tmp_path)!r})
for step in range(5000):
    run.log(step, total=1.0)
time.sleep(30)
"""
    environment = {**os.environ, "PYTHONPATH": str(PUBLISHER)}
    job = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    try:
        files = tmp_path.glob
        eventually(lambda: sum(each.calls for path in files("*.spool") for each in frames(path.read_bytes())) == 5000)
        with start_tansu() as broker:
            assert main([str(tmp_path), "--bootstrap-servers", broker.address]) == 0
            assert any(tmp_path.glob("*.spool")), "the job lives: its files are its own"
            job.send_signal(signal.SIGKILL)
            job.wait()
            assert main([str(tmp_path), "--bootstrap-servers", broker.address]) == 0
            records = read_topic(
                broker.address, STEPS, "killed", complete=lambda records: len(steps_of(records)) == 5000
            )
    finally:
        job.kill()
        job.wait()
    assert steps_of(records) == list(range(5000))
    assert list(tmp_path.glob("*.spool")) == []


def test_the_command_keeps_what_it_cannot_send(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = a_spool(tmp_path)
    spool.append(record(0))
    spool.close()
    with pytest.raises(Unavailable):
        send_spool(tmp_path, FaultyTransport(reachable=False))
    assert main([str(tmp_path), "--bootstrap-servers", f"127.0.0.1:{free_port()}"]) == 1
    assert "what is left is kept" in capsys.readouterr().err
    assert send_spool(tmp_path, MemoryTransport()).sent == 1


def test_a_folder_that_cannot_be_used_degrades_to_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport, spool=tmp_path / "file") as run:
        run.log(0, total=1.0)
    assert steps_of(records_of(transport.records)) == [0]
    assert "memory has to do" in caplog.text
