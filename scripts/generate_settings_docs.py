"""Write ``docs/settings.md`` from the model of the settings: ``python -m scripts.generate_settings_docs [--check]``."""

from __future__ import annotations

import json
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from service.settings import Settings

TARGET: Final = Path(__file__).parent.parent / "docs" / "settings.md"
HEAD: Final = """# Settings

<!-- Generated from service/settings.py by scripts/generate_settings_docs.py; do not edit. -->

Every setting of the service is an environment variable; the most used ones are also options of `losswatch serve`,
which win over the environment. A name that is misspelt on the command line is refused; a misspelt environment
variable is not seen. Objects are written as JSON.

| variable | kind | default | meaning |
|---|---|---|---|
"""
TAIL: Final = """
## Kafka with a password and TLS

```sh
export LOSSWATCH_BOOTSTRAP_SERVERS=kafka-1:9093,kafka-2:9093
export LOSSWATCH_KAFKA='{"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
                         "sasl_plain_username": "losswatch", "ssl_cafile": "/etc/ssl/kafka-ca.pem"}'
export LOSSWATCH_KAFKA_PASSWORD=...   # from a secret; shown as ********** wherever settings are printed
losswatch serve
```

## Thresholds

Defaults come with the detectors ([findings](findings.md)), `LOSSWATCH_THRESHOLDS` sets them for the deployment, and
what a run declares for itself wins. The first two are exported as `losswatch_threshold_default`, the last as
`losswatch_threshold_override`.
"""


def render() -> str:
    """The document."""
    rows = [
        f"| `LOSSWATCH_{name.upper()}` | {_kind(field)} | {_default(field)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "".join(rows) + TAIL


def _kind(field: FieldInfo) -> str:
    options = [one for one in _members(field.annotation) if one is not types.NoneType]
    if typing.get_origin(options[0]) is Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(options[0]))
    names: Mapping[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    if options[0] in names:
        return names[options[0]]
    return {SecretStr: "secret", Path: "path"}.get(options[0], "JSON object")


def _members(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)


def _default(field: FieldInfo) -> str:
    return (
        "none"
        if field.default is None
        else f"`{field.default if isinstance(field.default, str) else json.dumps(field.default)}`"
    )


def main() -> None:
    """Write the document, or with --check say whether it is up to date."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(render())
    elif not TARGET.exists() or TARGET.read_text() != render():
        sys.exit("docs/settings.md is out of date: run python -m scripts.generate_settings_docs")


if __name__ == "__main__":
    main()
