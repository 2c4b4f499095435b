"""Two real processes under torch.distributed go by the same advice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.brokers import free_port

ROOT = Path(__file__).parents[3]
JOB = """
import json, sys, time
import torch.distributed as dist
import losswatch
from losswatch.transport import MemoryTransport
from tests.publisher.advice.findings import received, stop, weigh

rank, mode = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", rank=rank, world_size=2)
transport = MemoryTransport()
run = losswatch.start("r", transport=transport, advice=mode if rank == 0 else "follow")


def asked():
    return [run.should_stop(), round(run.weight("diversity", default=0.1, lo=0.0, hi=1.0), 6)]


answers = [asked()]
run.sync_advice()
answers.append(asked())
if rank == 0:
    transport.advice.put(received(weigh(0.7, time=time.time())))
    transport.advice.put(received(stop(time=time.time(), id="another")))
    while len(run._advisor._heard.stops) < 1:
        time.sleep(0.01)
answers.append(asked())
run.sync_advice()
answers += [asked(), asked()]
dist.barrier()
run.finish()
print(json.dumps(answers))
dist.destroy_process_group()
"""


def answers_of_two_ranks(mode: str) -> list[Any]:
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "publisher")]),
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", JOB, str(rank), mode], env=environment, stdout=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    try:
        said = [rank.communicate(timeout=60)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0, 0]
    return [json.loads(text) for text in said]


def test_ranks_go_by_the_same_advice_from_the_same_step() -> None:
    first, second = answers_of_two_ranks("follow")
    assert first == second == [[False, 0.1], [False, 0.1], [False, 0.1], [True, 0.2], [True, 0.4]]


def test_where_rank_0_does_not_follow_advice_no_rank_does() -> None:
    first, second = answers_of_two_ranks("shadow")
    assert first == second == [[False, 0.1]] * 5
