"""Every example of an integration trains, and what it trains is published."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from losswatch.transport import MemoryTransport
from tests.publisher.integrations.reading import endings, names, predictions, series

FOLDER = Path(__file__).parents[2] / "examples" / "integrations"
EXPECTED = {
    "with_accelerate": (100, {"total", "components.fit", "components.size"}),
    "with_keras": (18, {"total"}),
    "with_lightning": (24, {"total", "components.entropy", "components.penalty"}),
    "with_logger": (100, {"total", "components.fit", "components.size", "metrics.lr"}),
    "with_pytorch": (100, {"total", "components.entropy", "components.size"}),
    "with_sklearn": (100, {"total"}),
    "with_transformers": (12, {"total", "metrics.learning_rate", "metrics.grad_norm"}),
}
"""Steps of training and what is reported of them, by example."""
PREDICTING = {"with_lightning", "with_pytorch", "with_sklearn", "with_transformers"}

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


def test_every_example_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_example_publishes_its_training(name: str) -> None:
    transport = MemoryTransport()
    importlib.import_module(f"examples.integrations.{name}").main(transport)
    steps, reported = EXPECTED[name]
    phases = ("val", "train") if name in PREDICTING else ()
    assert len(series(transport, "train")) == steps
    assert names(transport, "train") == reported
    assert endings(transport) == [("finished", None)]
    assert {sent.key for sent in transport.records} == {name.replace("_", "-").encode()}
    assert any(predictions(transport, phase) for phase in phases) == (name in PREDICTING)


def test_an_example_without_a_broker_trains_and_says_that_nothing_is_published() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSWATCH_")}
    environment["PYTHONPATH"] = str(FOLDER.parents[1] / "publisher")
    command = [sys.executable, str(FOLDER / "with_pytorch.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing is published" in done.stderr
