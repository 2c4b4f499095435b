from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from losswatch.buffer import Outgoing
from losswatch.notices import Notices
from losswatch.spool.store import Spool
from service import cli


def losswatch(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={"COLUMNS": "100", **environment}).invoke(cli.app, arguments)


def test_help_names_every_command() -> None:
    shown = losswatch("--help").output
    assert all(command in shown for command in ("serve", "topics", "demo", "version"))


@pytest.mark.parametrize("command", ["serve", "topics", "demo"])
def test_the_help_of_a_command_has_examples(command: str) -> None:
    shown = losswatch(command, "--help")
    assert shown.exit_code == 0
    assert f"• losswatch {command}" in shown.output


def test_serving_without_a_broker_says_what_to_do() -> None:
    refused = losswatch("serve")
    assert refused.exit_code == 2
    assert "losswatch serve --embedded" in refused.stderr
    assert "losswatch serve --bootstrap-servers HOST:PORT" in refused.stderr


def test_two_brokers_are_one_too_many() -> None:
    refused = losswatch("serve", "--embedded", "--bootstrap-servers", "kafka:9092")
    assert (refused.exit_code, refused.stderr) == (2, "Give either --embedded or --bootstrap-servers, not both.\n")
    refused = losswatch("serve", LOSSWATCH_EMBEDDED="1", LOSSWATCH_BOOTSTRAP_SERVERS="kafka:9092")
    assert (refused.exit_code, "Unset one of them" in refused.stderr) == (2, True)


def test_a_wrong_setting_is_named() -> None:
    refused = losswatch("topics", LOSSWATCH_POLL_RECORDS="0")
    assert refused.exit_code == 2
    assert "LOSSWATCH_POLL_RECORDS: Input should be greater than or equal to 1" in refused.stderr


def test_an_unknown_threshold_is_named_before_anything_starts() -> None:
    refused = losswatch(
        "serve", "--bootstrap-servers", "127.0.0.1:1", "--http-port", "0", LOSSWATCH_THRESHOLDS='{"flor": 1}'
    )
    assert refused.exit_code == 2
    assert "LOSSWATCH_THRESHOLDS names flor, which no detector has. Known:" in refused.stderr


def test_topics_are_listed_without_a_broker() -> None:
    shown = losswatch("topics", "--partitions", "5")
    assert shown.exit_code == 0
    assert "losswatch.steps: steps, run_start, heartbeat and run_end records" in shown.output
    assert shown.output.count("5 partitions when created") == 5


def test_creating_topics_needs_a_broker() -> None:
    refused = losswatch("topics", "--create")
    assert (refused.exit_code, "--bootstrap-servers" in refused.stderr) == (2, True)


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"losswatch \d\S*\n", losswatch("version").output)


def test_spooled_records_are_sent(tmp_path: Path, tansu: str) -> None:
    spool = Spool(tmp_path, "gone", 2**30, Notices())
    spool.append(Outgoing("control", "losswatch.steps", b"spooled", 0, b"{}", [], 0))
    spool.close()
    result = losswatch("spool", "send", str(tmp_path), "--bootstrap-servers", tansu)
    assert (result.exit_code, result.output) == (0, "1 records sent.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_spool_is_sent_somewhere(tmp_path: Path) -> None:
    result = losswatch("spool", "send", str(tmp_path))
    assert result.exit_code == 2
    assert "Send it where?" in result.output
