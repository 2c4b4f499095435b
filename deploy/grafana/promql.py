"""Expressions that several dashboards use.

A run that moves from one service to another is exported by both for one scrape: everything about runs
is taken by ``max by`` or one of several.
"""

from __future__ import annotations

from typing import Final

JOB: Final = 'job=~"$job"'
SERVICE: Final = 'job=~"$job",instance=~"$instance"'
RUN: Final = f"{JOB},run=${{run:doublequote}}"
"""``doublequote`` because the usual ``run="$run"`` fails for names with quotes."""
PHASE: Final = f'{RUN},phase=~"$phase"'
ALERTS: Final = 'ALERTS{alertname=~"Losswatch.*",alertname!="LosswatchWatchdog",alertstate="firing"}'
FINDING: Final = "run, phase, kind, subject"
CHOSEN: Final = f'losswatch_run_info{{{JOB},project=~"$project",team=~"$team"}}'
INFO: Final = f"topk by (run) (1, {CHOSEN})"
"""The runs of the chosen projects and teams, with ``project``, ``team`` and ``status``; each 1."""
WATCHING: Final = f"(min(losswatch_ready{{{JOB}}}) == 1 and min(up{{{JOB}}}) == 1)"
"""1 if all services are up and ready, else nothing: a count of 0 means nothing unless somebody looked."""


def own(threshold: str, run: str = RUN) -> str:
    """A threshold of the selected runs, by run: what the run declares, else what the deployment does."""
    default = f'scalar(max(losswatch_threshold_default{{{JOB},name="{threshold}"}}))'
    return (
        f'(max by (run) (losswatch_threshold_override{{{run},name="{threshold}"}})'
        f" or max by (run) (losswatch_run_info{{{run}}}) * {default})"
    )


def per_second(counter: str, *labels: str, where: str = SERVICE) -> str:
    """The rate of a counter, by these labels."""
    return f"sum by ({', '.join(labels)}) (rate({counter}{{{where}}}[$__rate_interval]))"


def increase(counter: str, *labels: str, where: str = SERVICE) -> str:
    """How much a counter grew from one point to the next, by these labels."""
    return f"sum by ({', '.join(labels)}) (increase({counter}{{{where}}}[$__rate_interval]))"


def quantile(q: float, histogram: str, *labels: str, where: str = SERVICE) -> str:
    """A quantile of a histogram, as exact as its buckets."""
    by = ", ".join(("le", *labels))
    return f"histogram_quantile({q}, sum by ({by}) (rate({histogram}_bucket{{{where}}}[$__rate_interval])))"
