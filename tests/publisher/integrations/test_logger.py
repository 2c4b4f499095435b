from __future__ import annotations

import pytest

import losswatch
from losswatch.integrations.logger import by_rule
from losswatch.transport import MemoryTransport
from tests.publisher.integrations.reading import endings, measured, names, series, types


@pytest.mark.parametrize(
    ("name", "phase", "kind"),
    [
        ("loss", "train", "total"),
        ("total_loss", "train", "total"),
        ("train/loss", "train", "total"),
        ("val_loss", "val", "total"),
        ("eval_loss", "val", "total"),
        ("validation.total", "val", "total"),
        ("test/loss", "test", "total"),
        ("kl_loss", "train", "components.kl"),
        ("loss/kl", "train", "components.kl"),
        ("val/losses/kl", "val", "components.kl"),
        ("val/kl/loss", "val", "components.kl"),
        ("accuracy", "train", "metrics.accuracy"),
        ("eval_accuracy", "val", "metrics.accuracy"),
        ("loss_scale", "train", "metrics.loss_scale"),
        ("testing", "train", "metrics.testing"),
        ("lossy", "train", "metrics.lossy"),
    ],
)
def test_a_name_says_what_its_number_is(name: str, phase: str, kind: str) -> None:
    transport = MemoryTransport()
    with losswatch.Logger("r", transport=transport) as logger:
        logger.log_metrics({name: 0.5}, step=3)
    assert names(transport, phase) == {kind}
    assert series(transport, phase, kind) == {3: 0.5}


def test_mappings_are_joined_and_what_is_no_number_is_left_out() -> None:
    found = by_rule(
        {"val": {"loss": 1.0, "per": {"cat": 0.25}}, "note": "text", "flag": True, "list": [1.0], "n": None}
    )
    assert set(found) == {"val"}
    assert found["val"] == ([1.0], {}, {"per/cat": 0.25})


def test_steps_are_counted_where_none_are_given() -> None:
    transport = MemoryTransport()
    logger = losswatch.Logger("r", transport=transport, measured="mean_since_last")
    logger.log_metrics({"loss": 1.0})
    logger.log_metrics({"loss": 2.0}, step=10)
    logger.log_metrics({"loss": 3.0})
    logger.finish()
    assert series(transport, "train") == {0: 1.0, 10: 2.0, 11: 3.0}
    assert measured(transport, "train") == {"mean_since_last"}


def test_a_run_that_was_given_stays_its_owners_to_finish() -> None:
    transport = MemoryTransport()
    run = losswatch.start("r", transport=transport)
    with losswatch.Logger(run) as logger:
        logger.log_metrics({"loss": 1.0})
    run.log(1, total=2.0)
    run.finish()
    assert series(transport, "train") == {0: 1.0, 1: 2.0}
    assert types(transport).count("run_end") == 1


def test_an_exception_in_the_block_ends_the_run_as_failed() -> None:
    transport = MemoryTransport()
    logger = losswatch.Logger("r", transport=transport)
    logger.log_metrics({"loss": 1.0})
    with pytest.raises(RuntimeError), logger:
        raise RuntimeError("out of memory")
    assert endings(transport) == [("failed", "RuntimeError: out of memory")]


def test_what_is_no_mapping_is_complained_about_once_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with losswatch.Logger("r", transport=MemoryTransport()) as logger:
        for _ in range(3):
            logger.log_metrics(7)  # type: ignore[arg-type]  # the point of the test
    assert sum("Logger.log_metrics failed" in message for message in caplog.messages) == 1
