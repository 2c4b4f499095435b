"""The chart, rendered by the real helm."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from scripts.get_helm import RELEASES, Release, helm

ROOT: Final = Path(__file__).parent.parent.parent.parent
CHART: Final = ROOT / "helm" / "losswatch"
CI_VALUES: Final = {path.name.removesuffix("-values.yaml"): path for path in sorted(CHART.glob("ci/*-values.yaml"))}
HELM3, HELM4 = RELEASES

Object = dict[str, Any]


def run_helm(
    release: Release, *arguments: str | Path, values: Object | None = None
) -> subprocess.CompletedProcess[str]:
    """Run helm, with ``values`` as one more file of values."""
    given = None if values is None else yaml.safe_dump(values)
    more = () if values is None else ("--values", "-")
    command = [helm(release), *arguments, *more]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


@cache
def _template(release: Release, case: str, values: str, chart: Path) -> list[Object]:
    arguments = ("template", "watch-prod", chart, "--namespace", "ml", "--values", CI_VALUES[case])
    done = run_helm(release, *arguments, values=yaml.safe_load(values))
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def parse(text: str) -> list[Object]:
    """The YAML documents that are not empty. In C: dashboards take Python seconds."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def render(
    case: str = "default", values: Object | None = None, release: Release = HELM4, chart: Path = CHART
) -> list[Object]:
    """What helm makes of a case of ``ci``, with ``values`` on top. It is shared: leave it as it is."""
    return _template(release, case, yaml.safe_dump(values or {}), chart)


def refusal(values: Object) -> str:
    """What helm says against the values, which it must refuse."""
    done = run_helm(HELM4, "template", "watch-prod", CHART, "--values", CI_VALUES["default"], values=values)
    assert done.returncode != 0, "helm took these values"
    return done.stderr


def one(documents: list[Object], kind: str) -> Object:
    """The only object of that kind."""
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def workload(documents: list[Object]) -> Object:
    """The Deployment or StatefulSet."""
    (found,) = (document for document in documents if document["kind"] in ("Deployment", "StatefulSet"))
    return found


def pod_templates(documents: list[Object]) -> Iterator[tuple[Mapping[str, str], Object]]:
    """Labels and specification of every pod that the objects make."""
    for document in documents:
        template = document if document["kind"] == "Pod" else document.get("spec", {}).get("template")
        if template:
            yield template["metadata"]["labels"], template["spec"]


def service_pod(documents: list[Object]) -> Object:
    """The specification of the service's pods."""
    spec: Object = workload(documents)["spec"]["template"]["spec"]
    return spec


def environment(container: Object) -> dict[str, Any]:
    """The container's variables, in order: their value, or where it comes from."""
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}
