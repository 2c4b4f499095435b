"""Where a panel or a row of it leads to: other dashboards, the page of losswatch, the documents."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

PAGE: Final = "http://127.0.0.1:9108"
"""Where the page of losswatch is if no service tells; the hidden variable ``page`` holds it."""
DOCS: Final = "https://example.org/losswatch/docs"
"""Where this project's documents are published; the hidden variable ``docs`` holds it."""
KEPT: Final = "${datasource:queryparam}&${job:queryparam}&${__url_time_range}"
"""What a link to another dashboard takes along."""

Link = tuple[str, str]
"""Title and URL."""


def to_run(run: str) -> Link:
    """To the Run dashboard; ``run`` is the Grafana expression for the run's name."""
    return "Open the run", f"/d/losswatch-run?var-run=${{{run}:percentencode}}&{KEPT}"


def to_page(run: str) -> Link:
    """To the run's page in losswatch."""
    return "Open its losswatch page", f"${{page}}/runs/${{{run}:percentencode}}"


def to_finding(kind: str) -> Link:
    """To the description of a kind of finding."""
    return "What this means and what to do", f"${{docs}}/findings.md#${{{kind}}}"


def to_runbook(alert: str) -> Link:
    """To the runbook of an alert, by its name or the Grafana expression for it."""
    return f"Runbook: {alert}" if alert.isalnum() else "Runbook", f"${{docs}}/runbooks/{alert}.md"


ROW_LINKS: Final = (to_run("__data.fields.run"), to_page("__data.fields.run"))
"""For the column ``run`` of a table."""
SERIES_LINKS: Final = (to_run("__field.labels.run"), to_page("__field.labels.run"))
"""For a series with the label ``run``."""


def as_options(link: Link) -> dict[str, object]:
    """A data link as Grafana stores it in an override."""
    title, url = link
    return {"title": title, "url": url, "targetBlank": not url.startswith("/")}


def as_builder(link: Link) -> DashboardLink:
    """The same for a panel or its default field."""
    title, url = link
    return DashboardLink(title).type(DashboardLinkType.LINK).url(url).target_blank(not url.startswith("/"))
