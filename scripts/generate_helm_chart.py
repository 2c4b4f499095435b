"""Write what the Helm chart takes from elsewhere: ``python -m scripts.generate_helm_chart [--check]``.

A chart can only read files inside itself. So the rules and dashboards of ``deploy`` are copied into it (links would
get lost in source archives), and its settings, version and table of values follow the code.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import SecretStr

from service.settings import Settings

ROOT: Final = Path(__file__).parent.parent
CHART: Final = ROOT / "helm" / "losswatch"
COPIES: Final = {
    "rules": ROOT / "deploy" / "prometheus" / "rules",
    "dashboards": ROOT / "deploy" / "grafana" / "dashboards",
}
OWNED: Final = frozenset(
    {
        "bootstrap_servers",
        "broker_binary",
        "device",
        "http_tls_cert",
        "http_tls_client_ca",
        "http_tls_key",
        "embedded",
        "group",
        "http_port",
        "kafka",
        "partitions",
    }
)
"""Settings that the chart makes of other values, and one that would lock the probes out."""
TABLE: Final = re.compile(r"(?<=<!-- values -->\n).*?(?=<!-- end of values -->)", re.DOTALL)


def render() -> dict[Path, str]:
    """Every generated file, by its path."""
    schema, readme, chart = (CHART / name for name in ("values.schema.json", "README.md", "Chart.yaml"))
    return {
        schema: _schema(json.loads(schema.read_text())),
        readme: TABLE.sub(lambda _: _table(), readme.read_text()),
        chart: re.sub(r'(?<=^appVersion: )".*"$', f'"{_version()}"', chart.read_text(), flags=re.MULTILINE),
        **{
            CHART / "files" / folder / path.name: path.read_text()
            for folder, source in COPIES.items()
            for path in sorted(source.glob("*.*"))
        },
    }


def leftovers(rendered: Mapping[Path, str]) -> list[Path]:
    """Copies whose original is gone."""
    return [path for path in CHART.glob("files/*/*") if path not in rendered]


def settings_schema() -> dict[str, Any]:
    """JSON Schema of the settings that may be given as values: no secrets, and none the chart sets itself."""
    properties = Settings.model_json_schema()["properties"]
    secrets = {name for name, field in Settings.model_fields.items() if _is_secret(field.annotation)}
    return {
        name: {key: value for key, value in properties[name].items() if key not in ("default", "title")}
        for name in sorted(properties.keys() - OWNED - secrets)
    }


def documented_values(text: str) -> Iterator[tuple[str, str, Any]]:
    """Name, description and default of each value that has a ``# --`` comment.

    >>> list(documented_values("a:\\n  # -- First\\n  # of two\\n  b: {c: 1}\\n"))
    [('a.b', 'First of two', {'c': 1})]
    """
    values = yaml.safe_load(text)
    path: list[str] = []
    words: list[str] = []
    for line in text.splitlines():
        if comment := re.match(r" *# (-- )?(.*)", line):
            words = [comment[2]] if comment[1] else [*words, comment[2]] if words else []
        elif key := re.match(r"((?:  )*)([A-Za-z]\w*):", line):
            path = [*path[: len(key[1]) // 2], key[2]]
            if words:
                default = values
                for name in path:
                    default = default[name]
                yield ".".join(path), " ".join(words), default
            words = []


def _schema(schema: dict[str, Any]) -> str:
    schema["properties"]["settings"]["properties"] = settings_schema()
    return json.dumps(schema, indent=2) + "\n"


def _table() -> str:
    rows = [
        f"| `{name}` | {description.replace('|', chr(92) + '|')} | `{json.dumps(default)}` |\n"
        for name, description, default in documented_values((CHART / "values.yaml").read_text())
    ]
    return "\n| value | meaning | default |\n|---|---|---|\n" + "".join(rows) + "\n"


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in typing.get_args(annotation))


def main() -> None:
    """Write the files, or with --check say whether they are up to date."""
    rendered = render()
    stale = [path for path, text in rendered.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        if behind := stale + leftovers(rendered):
            names = ", ".join(str(path.relative_to(ROOT)) for path in behind)
            sys.exit(f"out of date: {names}. Run python -m scripts.generate_helm_chart")
        return
    for path in leftovers(rendered):
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered[path])


if __name__ == "__main__":
    main()
