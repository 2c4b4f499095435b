"""Fleet: which runs need a person now."""

from __future__ import annotations

from typing import Final

from deploy.grafana import trends
from deploy.grafana.board import Board, alerts, job, project, team
from deploy.grafana.links import ROW_LINKS, to_finding, to_runbook
from deploy.grafana.panels import (
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    About,
    Column,
    Panel,
    Query,
    number,
    rows,
    tile,
)
from deploy.grafana.promql import ALERTS, CHOSEN, FINDING, INFO, JOB, WATCHING

MOST_FINDINGS: Final = 100
MOST_RUNS: Final = 500
ALERT_LABELS: Final = "alertname, severity, run, phase, kind, subject, instance, topic, reason"
SEVERITIES: Final = {"critical": ("critical", RED), "warning": ("warning", ORANGE), "info": ("info", GREY)}
STATUSES: Final = {
    "running": ("running", GREEN),
    "silent": ("silent", ORANGE),
    "lost": ("lost", RED),
    "failed": ("failed", RED),
    "finished": ("finished", GREY),
    "stopped": ("stopped", GREY),
}


def _firing(severity: str) -> str:
    return (
        f'count(count by (run) (losswatch_finding_state{{{JOB},severity="{severity}"}} == 2 and on (run) {INFO}))'
        f" or 0 * {WATCHING}"
    )


def _unjudged(reading: str) -> str:
    running = CHOSEN.replace("}", ',status="running"}')
    return f"count(max by (run) ({running}) unless on (run) {reading}{{{JOB}}}) or 0 * {WATCHING}"


def _tiles() -> list[Panel]:
    bad = ((None, GREEN), (1, RED))
    poor = ((None, GREEN), (1, ORANGE))
    return [
        number(
            tile(
                "Runs in trouble",
                "Runs with a critical finding that fires: they lose compute or weights right now. Open them in the "
                "table below and do what the finding says.",
                "none",
                absent=trends.NOT_WATCHED,
                steps=bad,
            ),
            Query(_firing("critical"), "critical"),
        ),
        number(
            tile(
                "Runs with warnings",
                "Runs with a warning that fires: they will be in trouble if nothing changes. Look at them today.",
                "none",
                absent=trends.NOT_WATCHED,
                steps=poor,
            ),
            Query(_firing("warning"), "warning"),
        ),
        number(
            tile(
                "Silent, lost or failed",
                "Silent: running, but nothing was reported for LOSSWATCH_SILENT_SECONDS; look whether the job hangs. "
                "Lost: its heartbeats stopped, the process is gone. Failed: the job said so. All projects.",
                "none",
                absent=trends.NOT_WATCHED,
                steps=poor,
            ),
            Query(
                f'sum by (status) (losswatch_runs{{{JOB},status=~"silent|lost|failed"}}) and on () {WATCHING}',
                "{{status}}",
            ),
        ),
        number(
            tile(
                "Running, not judged",
                "Running jobs that report too little, or too few steps yet, to be judged: without predictions no "
                "collapse is seen, without a trend of the total no conflict. They are unknown, not healthy.",
                "none",
                absent=trends.NOT_WATCHED,
                steps=((None, GREEN), (1, YELLOW)),
            ),
            Query(_unjudged("losswatch_class_entropy_ratio"), "predictions"),
            Query(_unjudged("losswatch_total_change_ratio"), "loss trend"),
        ),
        number(
            tile(
                "losswatch",
                "Whether all services are scraped and ready. Where they are not, everything else on this page is old "
                "or incomplete: open the Service dashboard first.",
                "none",
                absent="NOT SCRAPED",
                alerts=("LosswatchDown", "LosswatchNotReady"),
            ),
            Query(f"min(up{{{JOB}}}) * min(losswatch_ready{{{JOB}}})", "losswatch"),
            words={"1": ("watching", GREEN), "0": ("not watching", RED)},
        ),
        number(
            tile(
                "Alert rules",
                "Whether Prometheus evaluates losswatch's rules: the watchdog alert always fires. Without them nobody "
                "is told; load deploy/prometheus/rules.",
                "none",
                absent="NOT LOADED",
                alerts=("LosswatchWatchdog",),
            ),
            Query('max(ALERTS{alertname="LosswatchWatchdog",alertstate="firing"})', "rules"),
            words={"1": ("evaluated", GREEN)},
        ),
    ]


def _needs_a_person() -> list[Panel]:
    def state(severity: str) -> str:
        return f"max by ({FINDING}, severity) (losswatch_finding_state{{{JOB}{severity}}} == 2)"

    ranked = f"""topk({MOST_FINDINGS}, ({state(',severity="critical"')} + 1 or {state("")})
  * on (run) group_left (project, team, status) {INFO})"""

    def of_ranked(metric: str) -> str:
        return f"max by ({FINDING}) ({metric}{{{JOB}}}) and on ({FINDING}) {ranked}"

    seen = f"1000 * max by (run) (losswatch_run_last_seen_timestamp_seconds{{{JOB}}})"
    return [
        rows(
            About(
                "Findings that fire",
                f"Critical ones first, at most {MOST_FINDINGS}. Click a run for its dashboard or its losswatch page, a "
                "kind for what it means and what to do. A finding of a run that has ended stays while losswatch keeps "
                "the run.",
                "none",
                width=24,
                height=10,
                absent="none",
            ),
            Query(ranked),
            Query(of_ranked("losswatch_finding_value")),
            Query(of_ranked("losswatch_finding_threshold")),
            Query(of_ranked("losswatch_finding_began_step")),
            Query(f"0 * {ranked} + on (run) group_left () {seen}"),
            worst_first="Value #A",
            columns={
                "severity": Column("Severity", words=SEVERITIES),
                "run": Column("Run", links=ROW_LINKS),
                "project": Column("Project"),
                "team": Column("Team"),
                "status": Column("Status", words=STATUSES),
                "kind": Column("Finding", links=(to_finding("__data.fields.kind"),)),
                "phase": Column("Phase"),
                "subject": Column("About"),
                "Value #B": Column("Value", unit="short", decimals=3),
                "Value #C": Column("Threshold", unit="short", decimals=3),
                "Value #D": Column("Since step", unit="none"),
                "Value #E": Column("Last record", unit="dateTimeFromNow"),
            },
        ),
        rows(
            About(
                "Alerts that fire",
                "What Prometheus sends to Alertmanager now, about runs and about losswatch itself. Empty is only good "
                "if the rules are evaluated.",
                "none",
                width=24,
                height=7,
                absent="none",
            ),
            Query(f"topk({MOST_FINDINGS}, max by ({ALERT_LABELS}) ({ALERTS}))"),
            columns={
                "severity": Column("Severity", words=SEVERITIES),
                "alertname": Column("Alert", links=(to_runbook("${__data.fields.alertname}"),)),
                "run": Column("Run", links=ROW_LINKS),
                "phase": Column("Phase"),
                "subject": Column("About"),
                "instance": Column("Instance"),
                "topic": Column("Topic"),
                "reason": Column("Reason"),
            },
        ),
    ]


def _runs() -> Panel:
    newest = f"""topk({MOST_RUNS}, 1000 * max by (run) (losswatch_run_last_seen_timestamp_seconds{{{JOB}}})
  * on (run) group_left (project, team, status) {INFO})"""
    return rows(
        About(
            "Runs",
            f"The {MOST_RUNS} heard of last. Click a run to see it; no findings is good news only for a run that is "
            "judged.",
            "none",
            width=24,
            height=12,
            absent="-",
        ),
        Query(newest),
        Query(f"max by (run) (losswatch_run_steps{{{JOB}}}) and on (run) {newest}"),
        Query(f"count by (run) (max by ({FINDING}) (losswatch_finding_state{{{JOB}}}) == 2) and on (run) {newest}"),
        Query(f"min by (run) (losswatch_class_entropy_ratio{{{JOB}}}) and on (run) {newest}"),
        worst_first="Value #A",
        columns={
            "run": Column("Run", links=ROW_LINKS),
            "project": Column("Project"),
            "team": Column("Team"),
            "status": Column("Status", words=STATUSES),
            "Value #C": Column("Firing", unit="none"),
            "Value #B": Column("Newest step", unit="none"),
            "Value #D": Column("Class entropy", unit="percentunit", decimals=1),
            "Value #A": Column("Last record", unit="dateTimeFromNow"),
        },
    )


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="losswatch-fleet",
        title="losswatch / Fleet",
        text="Which training runs need a person now?",
        variables=(job(), project(), team()),
        annotations=(alerts(),),
        sections=(
            ("Now", _tiles()),
            ("Needs a person", _needs_a_person()),
            ("Closest to trouble", trends.closest()),
            ("Over time", trends.course()),
            ("All runs", [_runs()]),
        ),
    )
