"""What the Fleet dashboard shows of runs that are not in trouble yet, and of how the fleet fared."""

from __future__ import annotations

from typing import Final

from deploy.grafana.links import SERIES_LINKS
from deploy.grafana.panels import GREEN, ORANGE, RED, About, Panel, Query, lines, ranking
from deploy.grafana.promql import FINDING, INFO, JOB, increase
from detectors.catalog import THRESHOLDS

MOST_BARS: Final = 15
NOT_WATCHED: Final = "not known: losswatch is down or not ready"


def closest() -> list[Panel]:
    horizon = THRESHOLDS["class_entropy_horizon_steps"].default
    entropy, bound = (f"max by (run, phase) (losswatch_class_entropy_{of}ratio{{{JOB}}})" for of in ("", "bound_"))
    margin = f"{entropy} - {bound}"

    def worst(metric: str, labels: str) -> str:
        return f"max by ({labels}) ({metric}{{{JOB}}}) and on (run) {INFO}"

    return [
        ranking(
            About(
                "Class entropy above its floor",
                "The runs closest to a collapse of their predictions, or in one (below 0). Only runs that report "
                "predictions.",
                "percentunit",
                links=SERIES_LINKS,
                absent="not known: no run reports predictions",
                steps=((None, RED), (0, ORANGE), (0.05, GREEN)),
            ),
            Query(f"bottomk({MOST_BARS}, ({margin}) and on (run) {INFO})", "{{run}} {{phase}}"),
            low=-0.5,
            high=0.5,
        ),
        ranking(
            About(
                "Steps to the floor",
                "For runs whose class entropy declines: in how many steps it is forecast to cross its floor. Raise "
                "the weight of what keeps the predictions diverse before it does.",
                "none",
                links=SERIES_LINKS,
                absent="no run declines, as far as is known",
                steps=((None, RED), (horizon / 2, ORANGE), (horizon, GREEN)),
                decimals=0,
            ),
            Query(
                f"bottomk({MOST_BARS}, {worst('losswatch_class_entropy_steps_to_floor', 'run, phase')})",
                "{{run}} {{phase}}",
            ),
        ),
        ranking(
            About(
                "Largest share of a loss",
                "Components that dominate their total. Close to 1, the other terms hardly count: check the weights.",
                "percentunit",
                links=SERIES_LINKS,
                absent="not known: no run reports components",
                steps=((None, GREEN), (0.9, ORANGE)),
            ),
            Query(
                f"topk({MOST_BARS}, {worst('losswatch_component_share_ratio', 'run, phase, component')})",
                "{{run}} {{phase}} {{component}}",
            ),
            high=1,
        ),
        ranking(
            About(
                "Fastest rising components",
                "Recent value against its past. Where the total falls meanwhile, the optimiser buys the total with "
                "this component.",
                "percentunit",
                links=SERIES_LINKS,
                absent="not known: no run has enough steps",
                steps=((None, GREEN), (THRESHOLDS["conflict_component_rise"].default, ORANGE)),
                alerts=("LosswatchComponentConflict",),
            ),
            Query(
                f"topk({MOST_BARS}, {worst('losswatch_component_change_ratio', 'run, phase, component')})",
                "{{run}} {{phase}} {{component}}",
            ),
            high=1,
        ),
    ]


def course() -> list[Panel]:
    return [
        lines(
            About(
                "Firing findings by kind",
                "Many runs at once point to something they share: data, code, hardware. Each alone is its own matter.",
                "none",
                width=8,
                absent="none so far, as far as is known",
                alerts=("LosswatchManyRunsInTrouble",),
            ),
            Query(f"sum by (kind) (max by ({FINDING}) (losswatch_finding_state{{{JOB}}}) == bool 2)", "{{kind}}"),
            low=0,
        ),
        lines(
            About(
                "New firing findings",
                "How many began to fire from one point to the next, all projects. A burst is worth a look at what "
                "changed.",
                "none",
                width=8,
                absent=NOT_WATCHED,
            ),
            Query(increase("losswatch_findings_total", "kind", where=f'{JOB},state="firing"'), "{{kind}}"),
            low=0,
        ),
        lines(
            About(
                "Runs by status",
                "All projects. A fall of running together with a rise of silent means that publishers are cut off; "
                "lost ones are gone: their heartbeats stopped.",
                "none",
                width=8,
                absent=NOT_WATCHED,
            ),
            Query(f"sum by (status) (losswatch_runs{{{JOB}}})", "{{status}}"),
            low=0,
            stacked=True,
        ),
    ]
