"""Write what docs/ says about the wire from the code of it, or check that it is up to date.

    python scripts/generate_wire_docs.py [--check]

Written are docs/schema/<type>.json, docs/asyncapi.yaml and the parts of docs/wire.md between
``<!-- generated: NAME -->`` and ``<!-- end -->``. The examples of the AsyncAPI document are those of docs/wire.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Final, get_args

import yaml

from losswatch import arrays, encoding, fields, headers, schema, topics

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
GENERATED: Final = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
EXAMPLE: Final = re.compile(r"```json\n(\{.*?\n?\})\n```", re.DOTALL)
LIMITS: Final = {
    "bytes of a record's value": encoding.MAX_BYTES,
    "steps of a record": fields.MAX_STEPS,
    "names of one mapping (components, metrics, ...)": fields.MAX_SERIES,
    "series of all slices of a record": fields.MAX_SLICE_SERIES,
    "numbers of one array": fields.MAX_VALUES,
    "characters of a name (run, phase, component, metric, slice, class)": fields.MAX_NAME,
    "characters of a text (error, checkpoint)": fields.MAX_TEXT,
}


def json_schema(model: type[schema.Record]) -> dict[str, Any]:
    """The JSON Schema of a record as it travels: what has a default in Python need not have one on the wire."""
    made: dict[str, Any] = _untitled(model.model_json_schema())
    made["properties"]["type"].pop("default")
    made["properties"]["v"].pop("default")
    made["required"] = ["v", "type", *made["required"]]
    return {"$schema": DIALECT, "title": model.model_fields["type"].default} | made


def _untitled(node: Any) -> Any:
    """The schema without pydantic's titles, which repeat the names, and without reStructuredText's quotes."""
    if isinstance(node, list):
        return [_untitled(item) for item in node]
    if isinstance(node, str):
        return node.replace("``", "`")
    if not isinstance(node, dict):
        return node
    return {key: _untitled(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}


def examples(markdown: str) -> dict[str, list[dict[str, Any]]]:
    """The records that docs/wire.md shows, by type."""
    out: dict[str, list[dict[str, Any]]] = {}
    for record in map(json.loads, EXAMPLE.findall(markdown)):
        out.setdefault(record["type"], []).append(record)
    return out


def asyncapi(shown: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The AsyncAPI 3.0 document, from the service's point of view: it receives what jobs publish."""
    sent = {topics.FINDINGS, topics.STATE, topics.DLQ}
    received = {topics.STEPS, topics.PREDICTIONS, topics.STATE}
    operations = {
        f"{action}{_short(topic.name).capitalize()}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{_short(topic.name)}"},
            "summary": f"The service {'reads' if action == 'receive' else 'writes'} {topic.carries}.",
        }
        for action, names in (("receive", received), ("send", sent))
        for topic in topics.TOPICS
        if topic.name in names
    }
    messages = {name: _message(name, model, shown[name]) for name, model in schema.BY_TYPE.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "losswatch",
            "version": f"{encoding.VERSION}.0.0",
            "description": "What training jobs publish to be watched by losswatch, and what losswatch answers. "
            "docs/wire.md explains it.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": encoding.JSON,
        "channels": {_short(topic.name): _channel(topic) for topic in topics.TOPICS},
        "operations": operations,
        "components": {"messages": messages | OPAQUE},
    }


OPAQUE: Final[dict[str, Any]] = {
    "snapshot": {
        "name": "snapshot",
        "title": "snapshot",
        "summary": "The state of one run. Private to the service: its form changes without notice.",
        "contentType": "application/octet-stream",
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
    },
    "dead_letter": {
        "name": "dead_letter",
        "title": "dead letter",
        "summary": "The original bytes of a record that could not be used; the headers say why, and where it stood.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {
                f"losswatch-{name}": {"type": "string"} for name in ("reason", "detail", "topic", "partition", "offset")
            },
        },
    },
}


def _short(topic: str) -> str:
    return topic.removeprefix("losswatch.")


def _channel(topic: topics.Topic) -> dict[str, Any]:
    opaque = {topics.STATE: ("snapshot",), topics.DLQ: ("dead_letter",)}
    settings: dict[str, Any] = {
        name: [value] if name == "cleanup.policy" else int(value) for name, value in topic.config
    }
    return {
        "address": topic.name,
        "description": f"{topic.carries[0].upper()}{topic.carries[1:]}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in topic.types or opaque[topic.name]},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": settings, "bindingVersion": "0.5.0"}},
    }


def _message(name: str, model: type[schema.Record], shown: list[dict[str, Any]]) -> dict[str, Any]:
    text = {"type": "string"}
    properties = {
        "ce_specversion": text | {"const": "1.0"},
        "ce_type": text | {"const": f"io.losswatch.{name}.v{encoding.VERSION}"},
        "ce_source": text | {"description": "/losswatch/ and the run id, percent-encoded"},
        "ce_id": text | {"description": "session/seq, or random where the record has neither"},
        "ce_time": text | {"format": "date-time"},
        headers.CONTENT_TYPE: text | {"enum": [encoding.JSON, encoding.MSGPACK]},
    }
    return {
        "name": name,
        "title": name,
        "summary": (model.__doc__ or "").strip(),
        "contentType": encoding.JSON,
        "headers": {"type": "object", "properties": properties},
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"schema/{name}.json"},
        },
        "bindings": {"kafka": {"key": {"type": "string", "description": "the run id"}, "bindingVersion": "0.5.0"}},
        "examples": [{"payload": record} for record in shown],
    }


def kind(node: dict[str, Any]) -> str:
    """A field's JSON Schema in a few words.

    >>> kind({"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}})
    'array of (whole number or null)'
    """
    words = {"integer": "whole number", "string": "text"}
    match node:
        case {"$ref": ref}:
            return f"[{ref.rpartition('/')[2]}](#{ref.rpartition('/')[2].lower()})"
        case {"const": value}:
            return f"`{json.dumps(value)}`"
        case {"enum": [*values]}:
            return " or ".join(f"`{json.dumps(value)}`" for value in values)
        case {"anyOf": [*nodes]}:
            spelled = {"enum": list(arrays.WORDS)}
            return " or ".join(kind(each) for each in nodes if each != spelled)
        case {"prefixItems": [*nodes]}:
            return f"[{', '.join(kind(each) for each in nodes)}]"
        case {"type": "array", "items": items}:
            return f"array of {_grouped(kind(items))}"
        case {"type": "object", "additionalProperties": values}:
            return f"object: name to {_grouped(kind(values))}"
    name = str(node["type"])
    return words.get(name, name)


def _grouped(words: str) -> str:
    return f"({words})" if " or " in words else words


def _table(made: dict[str, Any], skip: frozenset[str] = frozenset()) -> str:
    lines = ["| field | what | needed | meaning |", "|---|---|---|---|"]
    for name, node in made["properties"].items():
        if name not in skip:
            default = node.get("default")
            needed = "yes" if name in made.get("required", ()) else f"`{json.dumps(default)}`" if default else "no"
            lines.append(f"| `{name}` | {kind(node)} | {needed} | {node.get('description', '')} |".replace("  ", " "))
    return "\n".join(line.replace("\n", " ") for line in lines) + "\n"


def sections() -> dict[str, str]:
    """The generated parts of docs/wire.md, by name."""
    common = frozenset(schema.Record.model_fields)
    made = {name: json_schema(model) for name, model in schema.BY_TYPE.items()}
    out = {name: _table(each, common) for name, each in made.items()}
    for each in made.values():
        out |= {name.lower(): _table(part) for name, part in each.get("$defs", {}).items()}
    steps = made["steps"]
    out["common"] = _table(steps | {"properties": {k: v for k, v in steps["properties"].items() if k in common}})
    out["common"] = out["common"].replace('`"steps"`', "the record's type")
    out["limits"] = "| at most | |\n|---:|---|\n" + "".join(f"| {most:,} | {what} |\n" for what, most in LIMITS.items())
    rows = (f"| `{t.name}` | {t.carries} | {', '.join(f'`{k}={v}`' for k, v in t.config)} |\n" for t in topics.TOPICS)
    out["topics"] = "| topic | carries | created with |\n|---|---|---|\n" + "".join(rows)
    out["reasons"] = ", ".join(f"`{reason}`" for reason in get_args(encoding.Reason)) + "\n"
    out["dtypes"] = ", ".join(f"`{dtype}`" for dtype in sorted(arrays.DTYPES)) + "\n"
    return out


def documents() -> dict[Path, str]:
    """Every generated file and what it should hold."""
    made = sections()
    wire = (DOCS / "wire.md").read_text()
    wire = GENERATED.sub(lambda found: f"{found[1]}{made[found[2]]}{found[3]}", wire)
    out = {
        DOCS / "schema" / f"{name}.json": json.dumps(json_schema(model), indent=2) + "\n"
        for name, model in schema.BY_TYPE.items()
    }
    document = yaml.safe_dump(asyncapi(examples(wire)), sort_keys=False, width=120, allow_unicode=True)
    return out | {DOCS / "asyncapi.yaml": document, DOCS / "wire.md": wire}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the generated parts of the wire's documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 naming the stale files")
    check = parser.parse_args().check
    made = documents()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made[path])
        print(
            f"{path.relative_to(DOCS.parent)} {'is stale: run scripts/generate_wire_docs.py' if check else 'written'}"
        )
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
