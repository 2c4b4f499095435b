"""Publishers: does what jobs report arrive, in time and once?"""

from __future__ import annotations

from typing import Final

from deploy.grafana.board import Board, alerts, instance, job
from deploy.grafana.links import SERIES_LINKS
from deploy.grafana.panels import GONE, GREEN, ORANGE, YELLOW, About, Panel, Query, lines, number, ranking
from deploy.grafana.promql import JOB, SERVICE, increase, per_second, quantile

MOST_BARS: Final = 20


def records() -> Panel:
    """Records by topic and type."""
    return lines(
        About(
            "Records",
            "Decoded per second. Nothing at all while jobs run: they publish elsewhere, or the topics differ.",
            "eps",
            width=8,
            absent=GONE,
            alerts=("LosswatchNoRecords",),
        ),
        Query(per_second("losswatch_records_total", "topic", "type"), "{{topic}} {{type}}"),
        low=0,
    )


def samples() -> Panel:
    """What the records hold."""
    return lines(
        About(
            "Steps and samples",
            "What the records hold: training steps and prediction samples taken in per second.",
            "suffix: /s",
            width=8,
            absent=GONE,
        ),
        Query(per_second("losswatch_steps_total"), "steps"),
        Query(per_second("losswatch_samples_total"), "samples"),
        low=0,
    )


def dead_letters() -> Panel:
    """Dead letters by topic and reason."""
    return lines(
        About(
            "Dead letters",
            "Records that could not be used, by reason. They are in losswatch.dlq with the reason as a header; the "
            "publisher has to be mended.",
            "none",
            width=8,
            absent=GONE,
            alerts=("LosswatchDeadLetters",),
        ),
        Query(increase("losswatch_dead_letters_total", "topic", "reason"), "{{reason}} {{topic}}"),
        low=0,
    )


def event_age() -> Panel:
    """Lag in seconds."""
    return lines(
        About(
            "Age of records when used",
            "From a record being made by its job to being used: findings come at least that late. Old and no lag: the "
            "hook, the broker or a clock is late.",
            "s",
            width=8,
            absent="no record in this time",
            alerts=("LosswatchEventsOld",),
        ),
        *(Query(quantile(q, "losswatch_event_age_seconds"), f"p{100 * q:.0f}") for q in (0.5, 0.95, 0.99)),
        low=0,
    )


def _total(title: str, text: str, counter: str, *alerts: str) -> Panel:
    about = About(
        title,
        text,
        "none",
        width=6,
        height=4,
        absent=GONE,
        decimals=0,
        steps=((None, GREEN), (1, ORANGE)),
        alerts=alerts,
    )
    return number(about, Query(f"sum(increase({counter}{{{SERVICE}}}[$__range]))", title.lower()))


def _tiles() -> list[Panel]:
    return [
        _total(
            "Dropped by hooks",
            "Records that jobs could not publish, in the time shown: losses have holes. The reasons are below.",
            "losswatch_hook_drops_total",
            "LosswatchHookDrops",
        ),
        _total(
            "Dead letters",
            "Records that could not be used, in the time shown.",
            "losswatch_dead_letters_total",
            "LosswatchDeadLetters",
        ),
        _total(
            "Session conflicts",
            "Records from a second live process that publishes the same run, in the time shown: give each a name of "
            "its own, or call losswatch.start on one rank only.",
            "losswatch_session_conflicts_total",
        ),
        number(
            About(
                "Silent or lost runs",
                "Silent: running, but nothing was reported for LOSSWATCH_SILENT_SECONDS; look whether the jobs hang. "
                "Lost: their heartbeats stopped, the processes are gone.",
                "none",
                width=6,
                height=4,
                absent=GONE,
                steps=((None, GREEN), (1, YELLOW)),
            ),
            Query(f'sum(losswatch_runs{{{SERVICE},status=~"silent|lost"}})', "silent or lost"),
        ),
    ]


def _losses() -> list[Panel]:
    return [
        lines(
            About(
                "Dropped by hooks, by reason",
                "buffer_full: the broker was away for too long. too_fast: more steps than the hook encodes. unusable: "
                "the job passed something that is no number or step. docs/hook.md lists them all.",
                "none",
                width=8,
                absent="none so far, or not scraped",
                alerts=("LosswatchHookDrops",),
            ),
            Query(increase("losswatch_hook_drops_total", "reason"), "{{reason}}"),
            low=0,
        ),
        lines(
            About(
                "Repeated, late, in conflict",
                "Duplicates are normal after an outage: they are skipped. Late steps were already reported; conflicts "
                "are two live processes of one run.",
                "none",
                width=8,
                absent=GONE,
            ),
            Query(increase("losswatch_duplicates_total"), "duplicates"),
            Query(increase("losswatch_late_steps_total"), "late steps"),
            Query(increase("losswatch_session_conflicts_total"), "session conflicts"),
            low=0,
        ),
        dead_letters(),
    ]


def _runs() -> list[Panel]:
    running = f'(max by (run) (losswatch_run_info{{{JOB},status=~"running|silent|lost"}}))'
    seen = f"max by (run) (losswatch_run_last_seen_timestamp_seconds{{{JOB}}})"
    pace = f"sum by (run) (max by (run, phase) (deriv(losswatch_run_steps{{{JOB}}}[$__rate_interval])))"
    return [
        ranking(
            About(
                "Longest unheard of",
                f"Jobs that have not ended, the {MOST_BARS} whose newest record is oldest.",
                "s",
                links=SERIES_LINKS,
                absent="no job runs, as far as is known",
                steps=((None, GREEN), (60, YELLOW), (300, ORANGE)),
                decimals=0,
            ),
            Query(f"topk({MOST_BARS}, time() - {seen} and on (run) {running})", "{{run}}"),
        ),
        ranking(
            About(
                "Fastest publishers",
                f"Steps per second, the {MOST_BARS} fastest. A hook encodes some 50,000 a second.",
                "suffix: steps/s",
                links=SERIES_LINKS,
                absent="no job runs, as far as is known",
            ),
            Query(f"topk({MOST_BARS}, {pace} and on (run) {running})", "{{run}}"),
        ),
    ]


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="losswatch-publishers",
        title="losswatch / Publishers",
        text="Does what jobs report to Kafka arrive, in time and once?",
        variables=(job(), instance()),
        annotations=(alerts(),),
        sections=(
            ("In the time shown", _tiles()),
            ("Arriving", [records(), samples(), event_age()]),
            ("Lost, repeated, unusable", _losses()),
            ("By run", _runs()),
        ),
    )
