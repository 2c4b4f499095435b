"""Rows of the Run dashboard that follow from the detectors: a panel for every reading that no other panel shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from consumers.picture import LABELS
from deploy.grafana.board import shown
from deploy.grafana.panels import About, Column, Panel, Query, lines, rows
from deploy.grafana.promql import own
from deploy.grafana.readings import largest, latest
from detectors.cell import Cell
from detectors.kinds import Reading

UNITS: Final = {"_ratio": "percentunit", "_seconds": "s", "_bytes": "bytes", "_steps": "none"}
HEADINGS: Final = {
    "series": "Health of each series",
    "temporal": "Unusual steps",
    "components": "Components",
    "aggregation": "How the total is made",
    "evaluation": "Validation, metrics and slices",
    "predictions": "Predictions",
    "labels": "Predictions against labels",
    "declaration": "What is reported against what is declared",
    "representation": "Representation",
    "proxy": "Proxies",
    "coverage": "Coverage of the inputs",
}
"""Headings of rows by family of detectors, in their order; others come last under the family's name."""
Sections = Sequence[tuple[str, Sequence[Panel]]]


def totals() -> list[Panel]:
    """Of the family ``aggregation``."""
    return [
        lines(
            About(
                "Comparable totals",
                "The same formula over the components of every phase, whatever each phase reports as its total: their "
                "mean, and what the training phase's formula makes of them. Compare phases by these.",
                "short",
                width=8,
                absent="not known: no components, or no formula is declared",
                alerts=("LosswatchAggregationMismatch",),
            ),
            Query(latest("losswatch_total_simple", "phase"), "mean {{phase}}"),
            Query(latest("losswatch_total_weighted", "phase"), "as in training {{phase}}"),
        )
    ]


def slices() -> list[Panel]:
    """Of the family ``evaluation``."""
    by = ("phase", "series")
    return [
        rows(
            About(
                "Best step of each slice",
                "Where each part of the data was best, where the whole was, and what choosing by the whole costs the "
                "part. Take the checkpoint of the part that matters; the losswatch page names it.",
                "none",
                width=24,
                absent="-",
                alerts=("LosswatchSliceDivergence",),
            ),
            *(Query(largest(f"losswatch_{name}", *by)) for name in ("slice_best", "slice_best_step")),
            *(Query(largest(f"losswatch_{name}", *by)) for name in ("whole_best_step", "slice_cost_ratio")),
            worst_first="Value #D",
            columns={
                "series": Column("Slice"),
                "phase": Column("Phase"),
                "Value #A": Column("Best value", unit="short", decimals=3),
                "Value #B": Column("At step", unit="none"),
                "Value #C": Column("Whole is best at step", unit="none"),
                "Value #D": Column("Which costs it", unit="percentunit", decimals=0),
            },
        )
    ]


def by_family(sections: Sections, cells: Iterable[Cell]) -> Sections:
    """The sections, with a panel for every reading that they do not show: under the heading of its family."""
    known = shown(panel for _, panels in sections for panel in panels)
    added: dict[str, list[Panel]] = {heading: [] for heading in HEADINGS.values()}
    for cell in cells:
        family = type(cell).__module__.split(".")[1]
        panels = added.setdefault(HEADINGS.get(family, family.capitalize()), [])
        for reading in cell.readings:
            if reading.exported and (metric := f"losswatch_{reading.name}") not in known:
                known.add(metric)
                panels.append(_plain(cell, reading))
    whole = [(heading, [*panels, *added.pop(heading, ())]) for heading, panels in sections]
    return [*whole, *((heading, panels) for heading, panels in added.items() if panels)]


def _plain(cell: Cell, reading: Reading) -> Panel:
    labels = LABELS[cell.stream, reading.per]
    kinds = [kind for kind in cell.kinds if kind.value == reading.name]
    about = About(
        reading.name.removesuffix("_ratio").replace("_", " ").capitalize(),
        f"{reading.help} What losswatch makes of it is in the findings above.",
        next((unit for suffix, unit in UNITS.items() if reading.name.endswith(suffix)), "short"),
        width=8,
        absent="not known: too few steps, or not reported",
        alerts=tuple(f"Losswatch{kind.name.title().replace('_', '')}" for kind in kinds),
    )
    legend = " ".join(f"{{{{{label}}}}}" for label in reversed(labels))
    limits = dict.fromkeys(kind.threshold for kind in kinds if kind.threshold)
    return lines(
        about,
        Query(largest(f"losswatch_{reading.name}", *labels), legend),
        *(Query(own(name), f"limit: {name.replace('_', ' ')}") for name in limits),
    )
