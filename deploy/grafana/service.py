"""Service: does losswatch itself keep up, and does it work without errors?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from consumers.telemetry import COUNTERS
from deploy.grafana.board import Board, alerts, instance, job, shown
from deploy.grafana.panels import GREEN, ORANGE, RED, YELLOW, About, Panel, Query, lines, number, tile
from deploy.grafana.promql import SERVICE, increase, per_second, quantile
from deploy.grafana.publishers import dead_letters, event_age, records

GONE: Final = "not known: not scraped"
QUIET: Final = "nothing to measure"
MOST_PARTITIONS: Final = 25


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


def _rate() -> list[Panel]:
    return [
        records(),
        lines(
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
        ),
        lines(
            About(
                "Batch size",
                "Records per poll that returned any. At LOSSWATCH_POLL_RECORDS all the time: it is behind, see the "
                "lag.",
                "none",
                width=8,
                absent=QUIET,
            ),
            *(Query(quantile(q, "losswatch_batch_records"), f"p{100 * q:.0f}") for q in (0.5, 0.95)),
            low=0,
        ),
    ]


def _errors() -> list[Panel]:
    refusals = "Refused: raise the cap in the settings, or find out who publishes so much."
    return [
        dead_letters(),
        lines(
            About(
                "Refused because a cap was reached",
                f"Runs, series and thresholds that are not watched. {refusals}",
                "none",
                width=8,
                absent=GONE,
                alerts=("LosswatchCapReached",),
            ),
            Query(increase("losswatch_refused_total", "cap"), "{{cap}}"),
            low=0,
        ),
        lines(
            About(
                "Failures with Kafka",
                "Calls that failed and checkpoints that could not be completed are tried again; refused commits "
                "belong to a rebalance. All the time: look at the broker and at the log.",
                "none",
                width=8,
                absent=GONE,
                alerts=("LosswatchBrokerErrors", "LosswatchCheckpointsFailing"),
            ),
            Query(increase("losswatch_broker_errors_total"), "broker errors"),
            Query(increase("losswatch_checkpoint_failures_total"), "checkpoint failures"),
            Query(increase("losswatch_commits_refused_total"), "commits refused"),
            low=0,
        ),
        lines(
            About(
                "Faults of losswatch",
                "Blocks that a detector could not judge: a fault of losswatch and not of the job. Report it with what "
                "the log says.",
                "none",
                height=6,
                absent=GONE,
                alerts=("LosswatchDetectorErrors",),
            ),
            Query(increase("losswatch_detector_errors_total"), "detector errors"),
            low=0,
        ),
        lines(
            About(
                "Alerts handed over directly",
                "Only where LOSSWATCH_ALERTMANAGER_URLS is set. Failures are tried again; the rules of Prometheus are "
                "the way beside.",
                "none",
                height=6,
                absent=GONE,
                alerts=("LosswatchNotificationsFailing",),
            ),
            Query(increase("losswatch_notifications_total"), "handed over"),
            Query(increase("losswatch_notification_failures_total"), "failures"),
            low=0,
        ),
    ]


def _duration() -> list[Panel]:
    return [
        lines(
            About(
                "Time per batch by stage, p95",
                "poll waits for records, so it is long when there are few. detect grows with runs and steps: more "
                "services, or a GPU.",
                "s",
                width=8,
                absent=QUIET,
            ),
            Query(quantile(0.95, "losswatch_stage_seconds", "stage"), "{{stage}}"),
            low=0,
        ),
        lines(
            About(
                "Busy",
                "Seconds of work per second, by stage, without waiting for records; the sum over all services. Close "
                "to 1 for each service it cannot keep up: add services.",
                "percentunit",
                width=8,
                absent=QUIET,
            ),
            Query(per_second("losswatch_stage_seconds_sum", "stage", where=f'{SERVICE},stage!="poll"'), "{{stage}}"),
            Query(f"count(up{{{SERVICE}}} == 1)", "limit: all services"),
            low=0,
            stacked=True,
        ),
        lines(
            About(
                "Scrapes",
                "Seconds it takes to make the exposition. It grows with the runs; above the scrape timeout of "
                "Prometheus the whole service looks down.",
                "s",
                width=4,
                absent=GONE,
            ),
            Query(f"max by (instance) (losswatch_scrape_seconds{{{SERVICE}}})", "{{instance}}"),
            low=0,
        ),
        lines(
            About(
                "Samples per scrape",
                "What Prometheus stores of each service. Above a sample_limit the whole scrape fails: lower "
                "LOSSWATCH_MAX_RUNS or raise the limit.",
                "short",
                width=4,
                absent=GONE,
            ),
            Query(f"max by (instance) (scrape_samples_scraped{{{SERVICE}}})", "{{instance}}"),
            low=0,
        ),
    ]


def _lag() -> list[Panel]:
    lag = f"losswatch_consumer_lag_records{{{SERVICE}}}"
    return [
        event_age(),
        lines(
            About(
                "Lag in records",
                "By topic: what was published and not read yet. It may jump after a restart; it must come down again.",
                "short",
                width=8,
                absent=GONE,
                alerts=("LosswatchLagGrowing", "LosswatchLagHigh"),
            ),
            Query(f"sum by (topic) ({lag})", "{{topic}}"),
            low=0,
        ),
        lines(
            About(
                "Largest lags by partition",
                f"The {MOST_PARTITIONS} largest. One alone: a run that publishes very much, or a service that hangs.",
                "short",
                width=8,
                absent=GONE,
            ),
            Query(f"topk({MOST_PARTITIONS}, sum by (topic, partition) ({lag}))", "{{topic}} {{partition}}"),
            low=0,
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
        ("Rate", _rate()),
        ("Errors", _errors()),
        ("Duration", _duration()),
        ("Lag", _lag()),
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
