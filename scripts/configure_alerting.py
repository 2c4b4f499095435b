"""Write the alert rules with your own addresses in their links: ``python -m scripts.configure_alerting FOLDER [JOB]``.

The addresses are the service's settings ``LOSSWATCH_RUNBOOK_URL`` and ``LOSSWATCH_GRAFANA_URL``, so that what the
service hands to Alertmanager itself and what the rules make have the same links. JOB is the scrape job, ``losswatch``
unless given.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from service.settings import Settings

RULES: Final = Path(__file__).parent.parent / "deploy" / "prometheus" / "rules"


def configured(rules: str, settings: Settings, job: str = "losswatch") -> str:
    """The text of a rule file with the addresses of the settings instead of the examples.

    >>> settings = Settings(runbook_url="https://wiki.acme.io/{alert}", grafana_url="https://grafana.acme.io")
    >>> configured("runbook_url: https://example.org/losswatch/docs/runbooks/LosswatchDown.md", settings)
    'runbook_url: https://wiki.acme.io/LosswatchDown'
    >>> configured('up{job="losswatch"} == 0', settings, "training/losswatch")
    'up{job="training/losswatch"} == 0'
    """
    examples = {name: str(Settings.model_fields[name].default) for name in ("runbook_url", "grafana_url")}
    runbook = re.escape(examples["runbook_url"]).replace(re.escape("{alert}"), r"(\w+)")
    rules = re.sub(runbook, lambda found: settings.runbook_url.replace("{alert}", found[1]), rules)
    rules = rules.replace(examples["grafana_url"], settings.grafana_url.rstrip("/"))
    return rules.replace('job="losswatch"', f'job="{job}"')


def main() -> None:
    """Write every rule file to the folder that is named."""
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    target, job = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else "losswatch"
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(RULES.glob("*.rules.yml")):
        (target / path.name).write_text(configured(path.read_text(encoding="utf-8"), Settings(), job), encoding="utf-8")


if __name__ == "__main__":
    main()
