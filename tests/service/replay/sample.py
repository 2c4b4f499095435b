"""Results of replays for the tests of what is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.replay.engine import Outcome, Replay
from service.replay.notes import Unreadable
from tests.consumers.builders import a_story, make_steps
from tests.service.replay.logs import ListedLog, opener

HOSTILE = "</style><script>document.title='owned'</script>\"'>&{{7*7}}<img src=x onerror=alert(1)>"


def sample_outcomes() -> list[Outcome]:
    """A collapse and a jump, a run with nothing, hostile names, one too short to say anything, and no log at all."""
    hostile = make_steps(
        HOSTILE, 0, 70, seq=0, bad=(20,), metrics={HOSTILE: np.arange(70.0)}, slices={HOSTILE: {HOSTILE: np.ones(70)}}
    )
    calm = [make_steps("calm", first, 64, seq=first) for first in range(0, 640, 64)]
    logs = [
        ListedLog(Path("a.log"), a_story("ttt-42", jump=True, blocks=14)),
        ListedLog(Path("b.log"), calm),
        ListedLog(Path(f"{HOSTILE.replace('/', '|')}.log"), [hostile], warnings={HOSTILE: 3}),
        ListedLog(Path("d.log"), [make_steps("short", 0, 2, seq=0)]),
        ListedLog(Path("e.log"), [], broken=Unreadable(Path("e.log"), 7, f"not a number: {HOSTILE}")),
    ]
    return list(Replay(opener(*logs), curves=True).results([log.path for log in logs]))
