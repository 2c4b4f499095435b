from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, int]]]:
    """What each of two processes that trained together says of each framework."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    # What torchrun sets; Lightning and Accelerate then start no processes of their own.
    together |= {"TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "1"}
    together["PYTHONPATH"] = os.pathsep.join((str(ROOT / "publisher"), str(ROOT)))
    command = [sys.executable, str(Path(__file__).with_name("two_ranks.py")), str(folder)]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=100)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("framework", ["lightning", "transformers", "accelerate"])
def test_advice_that_rank_0_hears_stops_both_ranks_at_the_same_step(
    ranks: list[dict[str, dict[str, int]]], framework: str
) -> None:
    assert [rank[f"with_{framework}"]["stopped_after"] for rank in ranks] == [8, 8]


@pytest.mark.parametrize("framework", ["lightning", "transformers", "accelerate"])
def test_only_rank_0_publishes(ranks: list[dict[str, dict[str, int]]], framework: str) -> None:
    first, second = (rank[f"with_{framework}"]["records"] for rank in ranks)
    assert first >= 3
    assert second == 0
