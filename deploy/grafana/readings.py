"""What the Run dashboard shows of the detectors' readings."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import About, Column, Panel, Query, lines, rows
from deploy.grafana.promql import JOB, PHASE, RUN, own

MOST_SERIES: Final = 25
NO_LOSS: Final = "not known: the run reports none for this phase"
NO_PREDICTIONS: Final = "not known: the run reports no predictions for this phase"
GONE: Final = "not known: losswatch does not see this run"


def latest(metric: str, *labels: str) -> str:
    """A reading of the run, whichever service exports it."""
    return f"max by ({', '.join(labels)}) ({metric}{{{PHASE}}})"


def largest(metric: str, *labels: str) -> str:
    """The same, the largest few: a run may have hundreds of series."""
    return f"topk({MOST_SERIES}, {latest(metric, *labels)})"


def loss() -> list[Panel]:
    return [
        lines(
            About(
                "Total",
                "The loss that is minimised, as the job reports it. A fall is only good if no component pays for it: "
                "compare with its components.",
                "short",
                absent=NO_LOSS,
            ),
            Query(latest("losswatch_total_reported", "phase"), "{{phase}}"),
        ),
        lines(
            About(
                "Recent against past",
                "Mean of the last steps against the one before. A total that falls below its limit while a component "
                "rises above its own is a conflict: the optimiser buys the total with that component.",
                "percentunit",
                absent="not known: too few steps, or no total",
                alerts=("LosswatchComponentConflict",),
            ),
            Query(latest("losswatch_total_change_ratio", "phase"), "total {{phase}}"),
            Query(largest("losswatch_component_change_ratio", "phase", "component"), "{{component}} {{phase}}"),
            Query(f"-{own('conflict_total_fall')}", "limit: fall of the total"),
            Query(own("conflict_component_rise"), "limit: rise of a component"),
        ),
    ]


def components() -> list[Panel]:
    by = ("phase", "component")
    legend = "{{component}} {{phase}}"
    return [
        lines(
            About(
                "Components",
                f"The parts of the total before their weights, the {MOST_SERIES} largest.",
                "short",
                absent=NO_LOSS,
            ),
            Query(largest("losswatch_component_value", *by), legend),
        ),
        lines(
            About(
                "Weights",
                "What each component is multiplied with: declared, or reported with the step. A jump here explains a "
                "jump of the total.",
                "short",
                absent="not known: the run declares and reports no weights",
            ),
            Query(largest("losswatch_component_weight", *by), legend),
        ),
        lines(
            About(
                "Contributions",
                "Weight times value: what each component adds to the total. They do not add up to the total where the "
                "declared formula is not the one the job uses.",
                "short",
                absent="not known: weights or values are missing",
            ),
            Query(largest("losswatch_component_contribution", *by), legend),
        ),
        lines(
            About(
                "Shares",
                "Each contribution as a part of the sum of absolute contributions. A component close to 100 % makes "
                "the others count for nothing; one close to 0 % can rise unseen.",
                "percentunit",
                absent="not known: weights or values are missing",
            ),
            Query(largest("losswatch_component_share_ratio", *by), legend),
            low=0,
            high=1,
        ),
    ]


def predictions() -> list[Panel]:
    return [
        lines(
            About(
                "Entropy of the predictions",
                "Of the mean prediction (classes) and of each sample, by log C: 1 is uniform, 0 one class. Sure of "
                "every sample and still all classes in use is good; both low is a collapse. The floor is lower where "
                "the labels are less diverse.",
                "percentunit",
                absent=NO_PREDICTIONS,
                alerts=("LosswatchDiversityCollapse", "LosswatchDiversityDecline"),
            ),
            Query(latest("losswatch_class_entropy_ratio", "phase"), "classes {{phase}}"),
            Query(latest("losswatch_sample_entropy_ratio", "phase"), "samples {{phase}}"),
            Query(latest("losswatch_class_entropy_bound_ratio", "phase"), "limit: floor of the classes {{phase}}"),
            low=0,
            high=1,
        ),
        lines(
            About(
                "Steps to the floor",
                "Forecast of when the class entropy crosses its floor. Gaps: it does not decline. Below the limit "
                "losswatch warns.",
                "none",
                absent="no decline known",
            ),
            Query(latest("losswatch_class_entropy_steps_to_floor", "phase"), "{{phase}}"),
            Query(own("class_entropy_horizon_steps"), "limit: horizon of the warning"),
            low=0,
        ),
        lines(
            About(
                "Largest mean class probability",
                "How much of the predictions the most favoured class has. Compare with how frequent that class really "
                "is.",
                "percentunit",
                absent=NO_PREDICTIONS,
            ),
            Query(latest("losswatch_max_class_probability_ratio", "phase"), "{{phase}}"),
            low=0,
            high=1,
        ),
        lines(
            About(
                "Classes in use",
                "Classes that are predicted for at least one sample. A class that is gone rarely comes back by itself.",
                "none",
                absent=NO_PREDICTIONS,
            ),
            Query(latest("losswatch_unique_classes", "phase"), "{{phase}}"),
            low=0,
        ),
    ]


def rest() -> list[Panel]:
    return [
        lines(
            About(
                "Metrics",
                f"As the job reports them, the {MOST_SERIES} largest. Metrics that worsen while the loss falls are "
                "what a loss is not for.",
                "short",
                absent="not known: the run reports no metrics",
            ),
            Query(largest("losswatch_metric_value", "phase", "series"), "{{series}} {{phase}}"),
        ),
        lines(
            About(
                "Pace",
                "Steps per second, by phase. 0 while the status is running: it hangs, or its publisher is cut off.",
                "suffix: steps/s",
                width=6,
                absent=GONE,
            ),
            Query(f"max by (phase) (deriv(losswatch_run_steps{{{PHASE}}}[$__rate_interval]))", "{{phase}}"),
            low=0,
        ),
        rows(
            About(
                "Thresholds",
                "What findings are measured against: the run's own where it declares any, else the deployment's.",
                "short",
                width=6,
                absent="-",
            ),
            Query(f"max by (name) (losswatch_threshold_default{{{JOB}}})"),
            Query(f"max by (name) (losswatch_threshold_override{{{RUN}}})"),
            columns={"name": Column("Name"), "Value #A": Column("Deployment"), "Value #B": Column("This run")},
        ),
    ]
