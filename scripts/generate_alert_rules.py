"""Write the alerts on findings: ``python -m scripts.generate_alert_rules [--check]``.

Each kind of finding has an entry in ``deploy/prometheus/findings/<family>.yml``. From these come the rules, a promtool
pair for each (silent while pending and once resolved, firing between), and the lists of kinds and of alerts in the
documents. The severity is the detector's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Final

import yaml

from detectors.catalog import KINDS
from service.alerts import alert_name
from service.settings import Settings

ROOT: Final = Path(__file__).parent.parent
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
ENTRIES: Final = PROMETHEUS / "findings"
HEAD: Final = ENTRIES / "head.yml"
RULES: Final = PROMETHEUS / "rules" / "findings.rules.yml"
TESTS: Final = PROMETHEUS / "tests" / "findings_test.yml"
ALERTING: Final = ROOT / "docs" / "alerting.md"
FINDINGS: Final = ROOT / "docs" / "findings.md"

MARK: Final = "# Generated from deploy/prometheus/findings by scripts/generate_alert_rules.py; do not edit.\n"
RUN: Final = "ttt-42"
"""The run of the examples."""
FINDING: Final = (
    '{{- $of := printf "{run=%q,phase=%q,kind=%q,subject=%q}[5m]"'
    " $labels.run $labels.phase $labels.kind $labels.subject -}}"
)
WEIGHT: Final = (
    '{{ with query (printf "last_over_time(losswatch_finding_advice_weight{run=%q,phase=%q,kind=%q,subject=%q}[5m])"'
    " $labels.run $labels.phase $labels.kind $labels.subject) -}}"
)
RUN_URL: Final = (
    """{{ with query (printf "last_over_time(losswatch_build_info{external_url!=''}[5m]) and on (job, instance)"""
    """ last_over_time(losswatch_run_info{run=%q}[5m])" $labels.run) -}}"""
    """ {{ . | first | label "external_url" }}/runs/{{ $labels.run | urlquery | reReplaceAll "\\\\+" "%20" }}"""
    " {{- end }}"
)
PLACE: Final = (
    '/d/losswatch-run?var-run={{ $labels.run | urlquery | reReplaceAll "\\\\+" "%20" }}'
    '&var-phase={{ $labels.phase | urlquery | reReplaceAll "\\\\+" "%20" }}'
)
NUMBERS: Final = {
    "value": ("losswatch_finding_value", ""),
    "threshold": ("losswatch_finding_threshold", ""),
    "began": ("losswatch_finding_began_step", ".0f"),
}
"""Words of a description that are numbers: the metric that has them, and how they are written."""


@dataclass(frozen=True, slots=True)
class Example:
    """A finding to test an alert with."""

    phase: str
    began: float
    subject: str = ""
    value: float | None = None
    threshold: float | None = None
    component: str = ""
    """The one whose weight is advised."""
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """The alert of a kind of finding, as it is declared."""

    kind: str
    summary: str
    """One sentence, the same for every run."""
    description: str
    """Goes on after "Run x, phase y: "; ``{subject}``, ``{began}``, ``{value:spec}`` and ``{threshold:spec}``, where
    spec is ``percent`` or one of printf (``.3f``, ``.3g``, ``.0f``)."""
    advice: str
    """``{subject}`` may be named."""
    example: Example
    family: str
    advice_weight: str = ""
    """The advice where the finding advises a weight: ``{component}`` and ``{weight:spec}``."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text twice: as a template of Prometheus, and as it reads in the example."""

    template: str = ""
    words: str = ""

    def __add__(self, other: _Text) -> _Text:
        return _Text(self.template + other.template, self.words + other.words)


def entries() -> list[Entry]:
    """Every entry, in the order of the catalog.

    Raises:
        ValueError: a kind has no entry or two, or an entry no kind.
    """
    found: dict[str, Entry] = {}
    for path in sorted(ENTRIES.glob("*.yml")):
        for one in yaml.safe_load(path.read_text()) if path != HEAD else ():
            if one["kind"] in found or one["kind"] not in KINDS:
                raise ValueError(f"{path.name}: {one['kind']} is no kind of finding, or has two entries")
            found[one["kind"]] = Entry(**one | {"example": Example(**one["example"]), "family": path.stem})
    if missing := KINDS.keys() - found.keys():
        raise ValueError(f"deploy/prometheus/findings has no entry for {', '.join(sorted(missing))}")
    return [found[kind] for kind in KINDS]


def render() -> dict[Path, str]:
    """Every generated file, by its path."""
    listed = entries()
    return {
        RULES: MARK + HEAD.read_text() + "".join(_rule(entry, first=not at) for at, entry in enumerate(listed)),
        TESTS: MARK
        + "rule_files: [../rules/findings.rules.yml]\nevaluation_interval: 15s\ntests:\n"
        + "\n".join(_test(entry) for entry in listed),
        ALERTING: _listed(ALERTING.read_text(), "finding alerts", "alert | severity | when", map(_alert_row, listed)),
        FINDINGS: _listed(FINDINGS.read_text(), "kinds", "kind | severity | when", map(_kind_row, listed)),
    }


def _rule(entry: Entry, *, first: bool) -> str:
    alert = alert_name(entry.kind)
    plain = _text(entry.advice, entry).template
    advice = plain
    if entry.advice_weight:
        advice = f"{WEIGHT}\n{_text(entry.advice_weight, entry).template}\n{{{{- else -}}}}\n{plain}\n{{{{- end }}}}"
    annotations = {
        "summary": entry.summary,
        "description": f"{FINDING}\n{_described(entry).template}",
        "advice": advice,
        "run_url": f"&run_url\n{RUN_URL}" if first else "*run_url",
        "dashboard_url": f"&dashboard_url\n{_default('grafana_url')}{PLACE}" if first else "*dashboard_url",
        "runbook_url": _runbook(alert),
    }
    return f"""
      - alert: {alert}
        expr: finding:losswatch_finding_state:held{{kind="{entry.kind}"}} == 2
        labels:
          severity: {KINDS[entry.kind].severity}
        annotations:
""" + "".join(f"          {name}: {_scalar(text, 12)}\n" for name, text in annotations.items())


def _test(entry: Entry) -> str:
    shown, alert, severity = entry.example, alert_name(entry.kind), KINDS[entry.kind].severity
    labels = {"run": RUN, "phase": shown.phase, "kind": entry.kind} | (
        {"subject": shown.subject} if shown.subject else {}
    )
    series = [_series("losswatch_finding_state", labels | {"severity": severity}, "1 2 0")]
    for name, (metric, _) in NUMBERS.items():
        number = getattr(shown, name)
        series += [] if number is None else [_series(metric, labels, f"{number}x2")]
    advice = entry.advice
    if shown.weight is not None:
        advice = entry.advice_weight
        of = labels | {"component": shown.component}
        series.append(_series("losswatch_finding_advice_weight", of, f"{shown.weight}x2"))
    annotations = {
        "summary": entry.summary,
        "description": _described(entry).words,
        "advice": _text(advice, entry).words,
        "run_url": "''",
        "dashboard_url": f"{_default('grafana_url')}/d/losswatch-run?var-run={RUN}&var-phase={shown.phase}",
        "runbook_url": _runbook(alert),
    }
    expected = ", ".join(f"{name}: '{value}'" for name, value in ({"severity": severity} | labels).items())
    return f"""  - name: {alert} is silent while its finding is pending, fires with it, and ends with it
    interval: 15s
    input_series:
{"".join(series)}    alert_rule_test:
      - {{eval_time: 0s, alertname: {alert}, exp_alerts: []}}
      - eval_time: 15s
        alertname: {alert}
        exp_alerts:
          - exp_labels: {{{expected}}}
            exp_annotations:
{"".join(f"              {name}: {_scalar(text, 16)}" + chr(10) for name, text in annotations.items())}\
      - {{eval_time: 30s, alertname: {alert}, exp_alerts: []}}
"""


def _described(entry: Entry) -> _Text:
    return _Text(
        "Run {{ $labels.run }}, phase {{ $labels.phase }}: ", f"Run {RUN}, phase {entry.example.phase}: "
    ) + _text(entry.description, entry)


def _text(text: str, entry: Entry) -> _Text:
    made = _Text()
    for literal, name, spec, _ in Formatter().parse(text):
        made += _Text(literal, literal)
        if name is not None:
            made += _word(name, spec or "", entry)
    return made


def _word(name: str, spec: str, entry: Entry) -> _Text:
    if name == "subject":
        return _Text("{{ $labels.subject }}", entry.example.subject)
    if name == "component":
        return _Text('{{ . | first | label "component" }}', entry.example.component)
    if name != "weight" and name not in NUMBERS:
        raise ValueError(f"{entry.kind}: {{{name}}} is none of the words that an alert may use")
    metric, fixed = NUMBERS.get(name, ("", ""))
    spec = fixed or spec
    if spec != "percent" and not re.fullmatch(r"\.\d[efg]", spec):
        raise ValueError(f"{entry.kind}: {{{name}:{spec}}} is neither percent nor like .3f")
    template = "humanizePercentage" if spec == "percent" else f'printf "%{spec}"'
    number = getattr(entry.example, name)
    words = "unknown"
    if number is not None:
        words = f"{100 * number:.4g}%" if spec == "percent" else f"{number:{spec}}"
    if name == "weight":
        return _Text(f"{{{{ . | first | value | {template} }}}}", words)
    query = f'{{{{ with query (printf "last_over_time({metric}%s)" $of) }}}}'
    return _Text(f"{query}{{{{ . | first | value | {template} }}}}{{{{ else }}}}unknown{{{{ end }}}}", words)


def _scalar(text: str, indent: int) -> str:
    """A YAML scalar: folded where it is a text, with the line breaks that it brings and one around each query."""
    anchor, _, rest = text.partition("\n") if text.startswith("&") else ("", "", text)
    if re.fullmatch(r"'*|\*\w+|https:[^\s#]+|[A-Z][^:#{}]*", rest) and not anchor:
        return rest
    lines = re.sub(r" (?=\{\{ with)|(?<=\{\{ end \}\}) ", "\n", rest).split("\n")
    return f"{anchor} >-".lstrip() + "".join(f"\n{' ' * indent}{line}" for line in lines)


def _series(metric: str, labels: Mapping[str, str], values: str) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"      - series: '{metric}{{{inside}}}'\n        values: '{values}'\n"


def _listed(page: str, what: str, columns: str, rows: Any) -> str:
    """A page with the table between its marks ``<!-- what: ... -->`` and ``<!-- end of what -->`` written anew."""
    table = f"| {columns} |\n|{'---|' * (columns.count('|') + 1)}\n" + "".join(rows)
    pattern = re.compile(
        rf"(?<=<!-- {what}: written by scripts/generate_alert_rules.py -->\n).*?(?=<!-- end of {what} -->)", re.S
    )
    return pattern.sub(lambda _: f"\n{table}\n", page)


def _alert_row(entry: Entry) -> str:
    alert = alert_name(entry.kind)
    return f"| [{alert}](runbooks/{alert}.md) | {KINDS[entry.kind].severity} | {_clause(entry)} |\n"


def _kind_row(entry: Entry) -> str:
    link = f'<a id="{entry.kind}"></a>[`{entry.kind}`](findings/{entry.family}.md#{entry.kind})'
    return f"| {link} | {KINDS[entry.kind].severity} | {_clause(entry)} |\n"


def _clause(entry: Entry) -> str:
    return entry.summary.removesuffix(".")


def _runbook(alert: str) -> str:
    return _default("runbook_url").replace("{alert}", alert)


def _default(setting: str) -> str:
    return str(Settings.model_fields[setting].default)


def main() -> None:
    """Write the files, or with --check say whether they are up to date."""
    stale = {path: text for path, text in render().items() if not path.exists() or path.read_text() != text}
    if "--check" not in sys.argv[1:]:
        for path, text in stale.items():
            path.write_text(text)
    elif stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"out of date: {names}. Run python -m scripts.generate_alert_rules")


if __name__ == "__main__":
    main()
