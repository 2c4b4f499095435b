"""Service: does losswatch itself keep up, and does it work without errors?"""

from __future__ import annotations

from collections.abc import Iterable

from consumers.telemetry import COUNTERS
from deploy.grafana.board import Board, alerts, instance, job, shown
from deploy.grafana.errors import errors
from deploy.grafana.pace import duration, lag, rate
from deploy.grafana.panels import GONE, GREEN, ORANGE, RED, YELLOW, About, Panel, Query, lines, number, tile
from deploy.grafana.promql import SERVICE, increase


def _tiles() -> list[Panel]:
    return [
        number(
            tile(
                "Scraped",
                "Whether Prometheus reaches every service. If not, runs go unwatched, however green the rest looks.",
                "none",
                absent="NO TARGET",
                alerts=("LosswatchDown", "LosswatchInstanceDown"),
            ),
            Query(f"min by (instance) (up{{{SERVICE}}})", "{{instance}}"),
            words={"1": ("up", GREEN), "0": ("DOWN", RED)},
        ),
        number(
            tile(
                "Ready",
                "Whether partitions are assigned and their runs restored.",
                "none",
                absent=GONE,
                alerts=("LosswatchNotReady",),
            ),
            Query(f"min by (instance) (losswatch_ready{{{SERVICE}}})", "{{instance}}"),
            words={"1": ("ready", GREEN), "0": ("not ready", ORANGE)},
        ),
        number(
            tile(
                "Last turn",
                "How long ago the worker's loop last turned over. Old: it hangs, and what it exports is old too. "
                "Restart it.",
                "s",
                absent=GONE,
                decimals=0,
                steps=((None, GREEN), (30, ORANGE), (60, RED)),
                alerts=("LosswatchLoopStuck",),
            ),
            Query(f"time() - min by (instance) (losswatch_heartbeat_timestamp_seconds{{{SERVICE}}})", "{{instance}}"),
        ),
        number(
            tile(
                "Last checkpoint",
                "After a crash, what came since is computed again. Old: see the failures below.",
                "s",
                absent="none yet",
                decimals=0,
                steps=((None, GREEN), (60, YELLOW), (300, ORANGE)),
                alerts=("LosswatchCheckpointsFailing",),
            ),
            Query(f"time() - min by (instance) (losswatch_checkpoint_timestamp_seconds{{{SERVICE}}})", "{{instance}}"),
        ),
        number(
            tile(
                "Runs",
                "Watched by each service, whatever their status. Very uneven: partitions are, or there are fewer of "
                "them than services.",
                "none",
                absent=GONE,
                decimals=0,
            ),
            Query(f"sum by (instance) (losswatch_runs{{{SERVICE}}})", "{{instance}}"),
        ),
        number(
            tile("Version", "Several are only normal during an upgrade.", "none", absent=GONE),
            Query(f"count by (version) (losswatch_build_info{{{SERVICE}}})", "{{version}}"),
            name=True,
        ),
    ]


def _state() -> list[Panel]:
    return [
        lines(
            About(
                "Checkpoints and snapshots",
                "Written and restored, from one point to the next. Unusable snapshots: those runs started afresh, "
                "their detectors warm up again.",
                "none",
                width=8,
                absent=GONE,
            ),
            Query(increase("losswatch_checkpoints_total"), "checkpoints"),
            Query(increase("losswatch_snapshots_total"), "snapshots written"),
            Query(increase("losswatch_snapshots_restored_total"), "snapshots restored"),
            Query(increase("losswatch_snapshots_unusable_total", "reason"), "unusable: {{reason}}"),
            low=0,
        ),
        lines(
            About(
                "Rebalances",
                "Partitions assigned, revoked and lost. Lost: a service was cut off for longer than "
                "LOSSWATCH_SESSION_SECONDS.",
                "none",
                width=8,
                absent=GONE,
            ),
            Query(increase("losswatch_rebalances_total", "change"), "{{change}}"),
            low=0,
        ),
        lines(
            About(
                "Findings and runs",
                "Changes of state published, those a replay made again and that were not, and runs dropped because "
                "they ended or were idle.",
                "none",
                width=8,
                absent=GONE,
            ),
            Query(increase("losswatch_findings_total", "state"), "{{state}}"),
            Query(increase("losswatch_findings_suppressed_total"), "made again"),
            Query(increase("losswatch_runs_evicted_total", "reason"), "runs dropped: {{reason}}"),
            low=0,
        ),
    ]


def _others(known: Iterable[str]) -> list[Panel]:
    """A plain panel for every counter that no dashboard shows."""
    return [
        lines(
            About(
                name.replace("_", " ").capitalize(),
                f"{meaning.help} From one point to the next; docs/metrics.md says more.",
                "none",
                width=8,
                absent="none so far, or not scraped",
            ),
            Query(
                increase(f"losswatch_{name}_total", *meaning.labels),
                " ".join(f"{{{{{label}}}}}" for label in meaning.labels) or name,
            ),
            low=0,
        )
        for name, meaning in COUNTERS.items()
        if f"losswatch_{name}_total" not in known
    ]


def board(elsewhere: set[str]) -> Board:
    """The dashboard, with what is not shown ``elsewhere``."""
    sections = [
        ("Now", _tiles()),
        ("Rate", rate()),
        ("Errors", errors()),
        ("Duration", duration()),
        ("Lag", lag()),
        ("State", _state()),
    ]
    others = _others(elsewhere | shown(panel for _, panels in sections for panel in panels))
    return Board(
        uid="losswatch-service",
        title="losswatch / Service",
        text="Does losswatch itself keep up, and does it work without errors?",
        variables=(job(), instance()),
        annotations=(alerts(),),
        sections=(*sections, *([("More counters", others)] if others else [])),
    )
