from __future__ import annotations

import doctest
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from losswatch import topics
from losswatch.encoding import decode, encode
from losswatch.schema import BY_TYPE, RECORDS, Record
from tests.publisher.wire.samples import RECORDS as SAMPLES
from tests.publisher.wire.strategies import records

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "generate_wire_docs.py"
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
SCHEMAS: dict[str, Any] = {
    name: json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_text()) for name in BY_TYPE
}
VALIDATORS = {name: jsonschema.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate_wire_docs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SHOWN: list[dict[str, Any]] = [
    record for shown in generator().examples((ROOT / "docs" / "wire.md").read_text()).values() for record in shown
]
EXAMPLES = pytest.mark.parametrize("example", SHOWN, ids=[f"{record['type']}-{i}" for i, record in enumerate(SHOWN)])


def resolved(reference: str) -> Any:
    """What a reference of the document points at: a place in it or a file beside it."""
    if not reference.startswith("#/"):
        return json.loads((ROOT / "docs" / reference).read_text())
    node: Any = DOCUMENT
    for part in reference[2:].split("/"):
        node = node[part]
    return node


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for item in node for found in references(item)] if isinstance(node, list) else []


def test_the_generated_documents_are_up_to_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["generate_wire_docs.py", "--check"])
    code = generator().main()
    assert (code, capsys.readouterr().out) == (0, "")


def test_the_check_names_a_stale_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = generator()
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "wire.md").write_text((ROOT / "docs" / "wire.md").read_text())
    monkeypatch.setattr(module, "DOCS", docs)
    monkeypatch.setattr(sys, "argv", ["generate_wire_docs.py"])
    assert module.main() == 0
    (docs / "schema" / "steps.json").write_text("{}")
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["generate_wire_docs.py", "--check"])
    assert module.main() == 1
    assert capsys.readouterr().out == "docs/schema/steps.json is stale: run scripts/generate_wire_docs.py\n"


def test_the_generator_describes_fields_as_its_doctests_say() -> None:
    assert doctest.testmod(generator()).failed == 0


def test_every_type_is_shown() -> None:
    assert {record["type"] for record in SHOWN} == set(BY_TYPE)


@EXAMPLES
def test_the_examples_are_records_as_they_stand(example: dict[str, Any]) -> None:
    assert decode(json.dumps(example).encode(), accept=RECORDS).type == example["type"]
    VALIDATORS[example["type"]].validate(example)


def test_the_schemas_are_json_schema() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(record=records)
def test_what_losswatch_writes_is_valid_by_the_schemas(record: Record) -> None:
    VALIDATORS[record.type].validate(json.loads(encode(record)))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("steps", {"v": 2}),
        ("steps", {"type": "run_end"}),
        ("steps", {"run": ""}),
        ("steps", {"step": []}),
        ("steps", {"step": [-1]}),
        ("steps", {"total": ["0.5"]}),
        ("steps", {"total": [True]}),
        ("probabilities", {"values": None}),
        ("probabilities", {"values": [[0.5], [0.5]]}),
        ("classes", {"values": [[0.5, 0.5]]}),
        ("summary", {"counts": [-1]}),
        ("summary", {"values": [[0.5, 0.5]]}),
        ("run_start", {"split": {"train": [1]}}),
        ("finding", {"state": "unsure"}),
    ],
)
def test_the_schemas_refuse_what_the_models_refuse(name: str, changes: dict[str, Any]) -> None:
    record = SAMPLES[name]
    changed = json.loads(encode(record)) | changes
    assert not VALIDATORS[record.type].is_valid(changed)
    with pytest.raises(ValueError, match=r"\w"):
        type(record).model_validate(changed)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert len(found) > 10
    for reference in found:
        assert resolved(reference)


def test_the_asyncapi_document_has_the_topics_as_they_are_created() -> None:
    channels = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}
    assert channels.keys() == {topic.name for topic in topics.TOPICS}
    for topic in topics.TOPICS:
        settings_of = channels[topic.name]["bindings"]["kafka"]["topicConfiguration"]
        assert settings_of.keys() == {name for name, _ in topic.config}
        assert set(topic.types) <= channels[topic.name]["messages"].keys()


def test_every_operation_of_the_asyncapi_document_has_a_channel() -> None:
    used = {resolved(operation["channel"]["$ref"])["address"] for operation in DOCUMENT["operations"].values()}
    assert used == {topic.name for topic in topics.TOPICS}
    assert {operation["action"] for operation in DOCUMENT["operations"].values()} == {"send", "receive"}


def test_the_asyncapi_messages_carry_valid_examples_and_the_run_as_key() -> None:
    for name in BY_TYPE:
        message = DOCUMENT["components"]["messages"][name]
        assert resolved(message["payload"]["schema"]["$ref"]) == SCHEMAS[name]
        assert message["bindings"]["kafka"]["key"]["description"] == "the run id"
        for example in message["examples"]:
            VALIDATORS[name].validate(example["payload"])
