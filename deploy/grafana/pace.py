"""How fast the service works and how far it is behind: its rate, durations and lag."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import GONE, QUIET, About, Panel, Query, lines
from deploy.grafana.promql import SERVICE, per_second, quantile
from deploy.grafana.publishers import event_age, records, samples

MOST_PARTITIONS: Final = 25


def rate() -> list[Panel]:
    return [
        records(),
        samples(),
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


def duration() -> list[Panel]:
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


def lag() -> list[Panel]:
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
