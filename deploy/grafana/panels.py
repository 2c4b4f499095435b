"""The kinds of panels that the dashboards are made of, all of one style.

Sizes are those of Grafana's grid, which is 24 wide. ``absent`` is what a panel says instead of "No data":
nothing known is not the same as nothing wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.links import Link, as_builder, as_options, to_runbook

DATASOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GONE: Final = "not known: not scraped"
QUIET: Final = "nothing to measure"
"""What a panel without a value says."""
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"

Panel = Builder[model.Panel]
Steps = Sequence[tuple[float | None, str]]
"""Colour from a value on; the first has no value."""
AnyPanel = TypeVar("AnyPanel", timeseries.Panel, stat.Panel, table.Panel, bargauge.Panel, statetimeline.Panel)


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and the name of each series it gives (``{{label}}`` stands for a label's value)."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What every panel has. ``text`` says what is seen and what to do about it."""

    title: str
    text: str
    unit: str
    width: int = 12
    height: int = 8
    absent: str = "not known"
    alerts: tuple[str, ...] = ()
    """Names of the alerts that watch the same thing; their runbooks are linked."""
    links: tuple[Link, ...] = ()
    """Where a click on a value leads to."""
    steps: Steps = ()
    decimals: int | None = None


tile: Final = partial(About, width=4, height=4)
"""About a small panel with one or two numbers."""


def lines(
    about: About, *queries: Query, low: float | None = None, high: float | None = None, stacked: bool = False
) -> Panel:
    """Series over time. ``low`` and ``high`` are soft ends of the axis; a series named "limit ..." is dashed."""
    panel = _common(timeseries.Panel(), about, queries)
    panel.line_width(1).fill_opacity(30 if stacked else 5).show_points(options.VisibilityMode.NEVER)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(options.LegendDisplayMode.TABLE)
        .placement(options.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "min", "max"])
    )
    panel.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
    if stacked:
        panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
    if low is not None:
        panel.axis_soft_min(low)
    if high is not None:
        panel.axis_soft_max(high)
    if about.steps:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED))
    panel.override_by_regexp(
        "/^limit/",
        [
            model.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
            model.DynamicConfigValue("custom.fillOpacity", 0),
            model.DynamicConfigValue("custom.stacking", {"group": "B", "mode": "none"}),
            model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
        ],
    )
    return panel


def number(
    about: About, *queries: Query, words: Mapping[str, tuple[str, str]] | None = None, name: bool = False
) -> Panel:
    """The newest value, large. ``words`` are text and colour by value; ``name`` shows the series' name instead."""
    panel = _common(stat.Panel(), about, queries, instant=True)
    panel.graph_mode(options.BigValueGraphMode.NONE)
    panel.color_mode(options.BigValueColorMode.BACKGROUND if about.steps or words else options.BigValueColorMode.NONE)
    panel.text_mode(options.BigValueTextMode.NAME if name else options.BigValueTextMode.AUTO)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    return panel.mappings([_words(words)]) if words else panel


def ranking(about: About, *queries: Query, low: float = 0.0, high: float | None = None) -> Panel:
    """The newest values as bars, in the order of the query."""
    panel = _common(bargauge.Panel(), about, queries, instant=True)
    panel.display_mode(options.BarGaugeDisplayMode.BASIC).orientation(options.VizOrientation.HORIZONTAL).min(low)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.min_viz_height(16).show_unfilled(True)
    return panel if high is None else panel.max(high)


def timeline(about: About, *queries: Query, words: Mapping[str, tuple[str, str]]) -> Panel:
    """States over time, one lane per series."""
    panel = _common(statetimeline.Panel(), about, queries)
    panel.mappings([_words(words)]).merge_values(True).show_value(options.VisibilityMode.NEVER).fill_opacity(80)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(options.LegendDisplayMode.LIST)
        .placement(options.LegendPlacement.BOTTOM)
        .calcs([])
    )
    return panel


@dataclass(frozen=True, slots=True)
class Column:
    """How a column of a table is shown."""

    title: str
    unit: str | None = None
    links: tuple[Link, ...] = ()
    words: Mapping[str, tuple[str, str]] | None = None
    decimals: int | None = None


def rows(about: About, *queries: Query, columns: Mapping[str, Column], worst_first: str | None = None) -> Panel:
    """The newest values as a table: one column per label, and one per query, called ``Value #A`` and so on.

    Rows that agree in the labels that all queries have become one. Only the ``columns`` are shown, in their order;
    ``worst_first`` is the field that they are sorted by, the largest first.
    """
    panel = _common(table.Panel(), about, queries, instant=True, as_table=True)
    panel.with_transformation(model.DataTransformerConfig("merge", options={}))
    if worst_first:
        by = {"fields": {}, "sort": [{"field": worst_first, "desc": True}]}
        panel.with_transformation(model.DataTransformerConfig("sortBy", options=by))
    shown = {
        "include": {"names": list(columns)},
    }
    panel.with_transformation(model.DataTransformerConfig("filterFieldsByName", options=shown))
    order = {
        "indexByName": {name: place for place, name in enumerate(columns)},
        "excludeByName": {},
        "renameByName": {},
    }
    panel.with_transformation(model.DataTransformerConfig("organize", options=order))
    for name, column in columns.items():
        properties = [model.DynamicConfigValue("displayName", column.title)]
        if column.unit:
            properties.append(model.DynamicConfigValue("unit", column.unit))
        if column.decimals is not None:
            properties.append(model.DynamicConfigValue("decimals", column.decimals))
        if column.links:
            properties.append(model.DynamicConfigValue("links", [as_options(link) for link in column.links]))
        if column.words:
            properties.append(model.DynamicConfigValue("mappings", [_words(column.words)]))
            properties.append(model.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        panel.override_by_name(name, properties)
    return panel.filterable(True)


def _common(
    panel: AnyPanel, about: About, queries: Sequence[Query], instant: bool = False, as_table: bool = False
) -> AnyPanel:
    panel.title(about.title).description(about.text).unit(about.unit).no_value(about.absent)
    panel.datasource(DATASOURCE).span(about.width).height(about.height)
    if about.decimals is not None:
        panel.decimals(about.decimals)
    if about.alerts:
        panel.links([as_builder(to_runbook(alert)) for alert in about.alerts])
    if about.links:
        panel.data_links([as_builder(link) for link in about.links])
    if about.steps:
        steps = [model.Threshold(value, colour) for value, colour in about.steps]
        panel.thresholds(ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
        if instant:
            panel.color_scheme(FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        target = (
            prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter).datasource(DATASOURCE)
        )
        target.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
        panel.with_target(target.instant() if instant else target.range())
    return panel


def _words(words: Mapping[str, tuple[str, str]]) -> model.ValueMap:
    return model.ValueMap(
        {
            value: model.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(words.items())
        }
    )
