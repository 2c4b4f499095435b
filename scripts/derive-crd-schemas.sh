#!/usr/bin/env bash
# Writes tests/deploy/helm/crds/*.json: JSON Schemas of the custom resources that the chart makes, out of the models that
# cloudcoil (Apache-2.0) generates from the projects' own definitions. Strict: a field that is not known is refused.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet cloudcoil==0.6.0 cloudcoil-models-keda==2.16.1.0 cloudcoil-models-prometheus-operator==0.80.1.0
"$venv/bin/python" - tests/deploy/helm/crds <<'PYTHON'
import json
import sys
from pathlib import Path

from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as operator


def strict(node):
    if isinstance(node, list):
        for item in node:
            strict(item)
    elif isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        if node.get("default", 0) is None:
            del node["default"]
        if isinstance(node.get("description"), str):
            del node["description"]
        for item in node.values():
            strict(item)


models = (operator.PodMonitor, operator.PrometheusRule, operator.ServiceMonitor, keda.ScaledObject, keda.TriggerAuthentication)
for model in models:
    schema = model.model_json_schema(by_alias=True)
    strict(schema)
    text = json.dumps(schema, indent=1, sort_keys=True) + "\n"
    (Path(sys.argv[1]) / f"{model.__name__}.json").write_text(text)
PYTHON
