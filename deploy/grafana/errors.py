"""What the service could not do: records set aside, caps reached, failures of Kafka, detectors and notifications."""

from __future__ import annotations

from deploy.grafana.panels import GONE, About, Panel, Query, lines
from deploy.grafana.promql import increase
from deploy.grafana.publishers import dead_letters


def errors() -> list[Panel]:
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
