"""Run: what happens inside one training run."""

from __future__ import annotations

from typing import Final

from deploy.grafana import families, readings
from deploy.grafana.board import Board, annotation, job, project, team, variable
from deploy.grafana.links import to_finding, to_page
from deploy.grafana.panels import GREEN, ORANGE, RED, YELLOW, About, Column, Panel, Query, number, rows, tile, timeline
from deploy.grafana.promql import CHOSEN, FINDING, PHASE, RUN
from detectors.catalog import CELLS, THRESHOLDS

STATES: Final = {"0": ("resolved", GREEN), "1": ("pending", YELLOW), "2": ("firing", RED)}
PAGE_LINK: Final = (to_page("run"),)


def _tiles() -> list[Panel]:
    def firing(severity: str) -> str:
        state = f'max by ({FINDING}) (losswatch_finding_state{{{RUN},severity="{severity}"}}) == 2'
        return f"count({state}) or 0 * max(losswatch_run_info{{{RUN}}})"

    info = f"topk by (run) (1, losswatch_run_info{{{RUN}}})"
    horizon = THRESHOLDS["class_entropy_horizon_steps"].default
    return [
        number(
            tile(
                "Status",
                "What the job said last. Silent: nothing was reported for LOSSWATCH_SILENT_SECONDS, so look whether it "
                "hangs. Lost: its heartbeats stopped, so the process is gone; restart it from a checkpoint.",
                "none",
                absent=readings.GONE,
                links=PAGE_LINK,
            ),
            Query(info, "{{status}}"),
            name=True,
        ),
        number(
            tile(
                "Last record",
                "How old the newest record is. Everything below is as old.",
                "s",
                absent=readings.GONE,
                steps=((None, GREEN), (60, YELLOW), (300, ORANGE)),
                decimals=0,
            ),
            Query(f"time() - max(losswatch_run_last_seen_timestamp_seconds{{{RUN}}})", "ago"),
        ),
        number(
            tile("Newest step", "By phase.", "none", absent=readings.GONE),
            Query(readings.latest("losswatch_run_steps", "phase"), "{{phase}}"),
        ),
        number(
            tile(
                "Firing findings",
                "Open the table below and do what the finding says. 0 only means that what could be judged was good.",
                "none",
                absent=readings.GONE,
                steps=((None, GREEN), (1, RED)),
                links=PAGE_LINK,
            ),
            Query(firing("critical"), "critical"),
            Query(firing("warning"), "warning"),
        ),
        number(
            tile(
                "Class entropy above its floor",
                "Below 0 the predictions have collapsed onto few classes. Raise the weight of what keeps them "
                "diverse, or go back to an earlier checkpoint.",
                "percentunit",
                absent=readings.NO_PREDICTIONS,
                decimals=1,
                steps=((None, RED), (0, ORANGE), (0.05, GREEN)),
                alerts=("LosswatchDiversityCollapse",),
            ),
            Query(
                f"max by (run, phase) (losswatch_class_entropy_ratio{{{PHASE}}}) - "
                f"max by (run, phase) (losswatch_class_entropy_bound_ratio{{{PHASE}}})",
                "{{phase}}",
            ),
        ),
        number(
            tile(
                "Steps to the floor",
                "When the class entropy is forecast to cross its floor, while it declines.",
                "none",
                absent="no decline known",
                decimals=0,
                steps=((None, RED), (horizon / 2, ORANGE), (horizon, GREEN)),
                alerts=("LosswatchDiversityDecline",),
            ),
            Query(readings.latest("losswatch_class_entropy_steps_to_floor", "phase"), "{{phase}}"),
        ),
    ]


def _findings() -> list[Panel]:
    def of(metric: str) -> str:
        return f"max by ({FINDING}) ({metric}{{{PHASE}}})"

    return [
        timeline(
            About(
                "Findings over time",
                "Pending: begun and not confirmed. Firing: confirmed over several steps. Findings that last shorter "
                "than a scrape are only on the losswatch page.",
                "none",
                height=7,
                absent="no finding so far, as far as is known",
                links=PAGE_LINK,
            ),
            Query(
                readings.latest("losswatch_finding_state", "phase", "kind", "subject"), "{{phase}} {{kind}} {{subject}}"
            ),
            words=STATES,
        ),
        rows(
            About(
                "Findings",
                "The newest state of each. Click a kind for what it means and what to do; the losswatch page has the "
                "text and the advice.",
                "none",
                height=7,
                absent="-",
            ),
            Query(of("losswatch_finding_state")),
            Query(of("losswatch_finding_value")),
            Query(of("losswatch_finding_threshold")),
            Query(of("losswatch_finding_began_step")),
            Query(f"max by ({FINDING}, component) (losswatch_finding_advice_weight{{{PHASE}}})"),
            worst_first="Value #A",
            columns={
                "Value #A": Column("State", words=STATES),
                "kind": Column("Finding", links=(to_finding("__data.fields.kind"), to_page("run"))),
                "phase": Column("Phase"),
                "subject": Column("About"),
                "Value #B": Column("Value", unit="short", decimals=3),
                "Value #C": Column("Threshold", unit="short", decimals=3),
                "Value #D": Column("Since step", unit="none"),
                "component": Column("Advised: component"),
                "Value #E": Column("Advised: weight", unit="short", decimals=3),
            },
        ),
    ]


def board() -> Board:
    """The dashboard."""
    sections = [
        ("Now", _tiles()),
        ("Findings", _findings()),
        ("Loss", readings.loss()),
        (families.HEADINGS["components"], readings.components()),
        (families.HEADINGS["aggregation"], families.totals()),
        (families.HEADINGS["predictions"], readings.predictions()),
        (families.HEADINGS["evaluation"], families.slices()),
        ("Metrics and thresholds", readings.rest()),
    ]
    finding = f"max by ({FINDING}, severity) (losswatch_finding_state{{{PHASE},severity=%s}}) == 2"
    return Board(
        uid="losswatch-run",
        title="losswatch / Run",
        text="What happens inside one training run? Time is when it was seen; the losswatch page plots by step.",
        variables=(
            job(),
            project(),
            team(),
            variable("run", "Run", f"label_values({CHOSEN}, run)", several=False),
            variable("phase", "Phase", f"label_values(losswatch_run_steps{{{RUN}}}, phase)"),
        ),
        links=PAGE_LINK,
        annotations=tuple(
            annotation(
                f"{name} findings", finding % f'"{name}"', colour, "{{kind}} {{subject}}", "{{phase}}", "severity"
            )
            for name, colour in (("critical", RED), ("warning", ORANGE))
        ),
        sections=families.by_family(sections, CELLS),
    )
