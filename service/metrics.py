"""Everything Prometheus sees, made at scrape time from the newest `View` and the `Telemetry`.

Scraping reads and never writes. A run that is gone from the view is gone from the exposition.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from consumers.telemetry import COUNTERS, HISTOGRAMS, CounterName, Histogram, HistogramName, Telemetry
from consumers.view import Table, View
from losswatch import topics
from losswatch.encoding import Reason
from losswatch.schema import Finding

STATUSES: Final = ("running", "silent", "lost", "finished", "failed", "stopped")
TEAM: Final = "team"
"""The label that a job declares to say whose it is: alerts are routed by it."""
STATES: Final = {"resolved": 0, "pending": 1, "firing": 2}
UNUSABLE: Final = (
    *get_args(Reason),
    "invalid_predictions",
    "wrong_partition",
    "declaration_too_large",
    "internal_error",
)
"""Why a record becomes a dead letter."""
KNOWN_LABELS: Final[Mapping[CounterName, Sequence[tuple[str, ...]]]] = {
    "records": [
        *((topics.STEPS, kind) for kind in ("steps", "run_start", "run_end")),
        *((topics.PREDICTIONS, kind) for kind in ("predictions", "reference", "run_start", "run_end")),
    ],
    "dead_letters": [(topic, why) for topic in (topics.STEPS, topics.PREDICTIONS) for why in UNUSABLE],
    "hook_drops": [
        *((f"{kind}_{why}",) for kind in ("steps", "predictions") for why in ("buffer_full", "too_fast", "unusable")),
        ("too_large",),
        ("refused",),
    ],
    "refused": [("runs",), ("series_per_run",), ("components",), ("name_length",), ("unknown_threshold",)],
    "snapshots_unusable": [("marker",), ("unreadable",), ("broken",), ("other_detectors",)],
    "runs_evicted": [("ended",), ("idle",)],
    "rebalances": [("assigned",), ("revoked",), ("lost",)],
}
"""Label values that a counter starts with at 0, so that its first increase is seen as one."""

_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def label(value: str, longest: int) -> str:
    r"""A name as a label value: bounded and without control characters.

    A name that had to be changed ends in a hash of the whole, so that different names stay different.

    >>> label("ttt-42", 200), label("a\x00b", 200), label("x" * 300, 20)
    ('ttt-42', 'a\ufffdb~f5ccd773', 'xxxxxxxxxxx~b12499e1')
    """
    if len(value) <= longest and not _UNSAFE.search(value):
        return value
    mark = "~" + hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return _UNSAFE.sub("\ufffd", value)[: longest - len(mark)] + mark


@dataclass(frozen=True, slots=True)
class Exposition:
    """The one collector. ``view`` gives the newest view; ``thresholds`` are the deployment's, by name;
    ``known`` are further label values for counters to start with at 0."""

    view: Callable[[], View]
    telemetry: Telemetry
    thresholds: Mapping[str, float]
    version: str
    external_url: str = ""
    longest_label: int = 200
    known: Mapping[CounterName, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterator[Metric]:
        """Every metric family, those of the runs first."""
        begun = self.monotonic()
        view = self.view()
        names = _Labels(self.longest_label)
        yield from _runs(view, names)
        yield from _findings(view, names)
        for table in view.tables:
            yield _reading(table, names)
        yield from _thresholds(view, self.thresholds, names)
        yield from self._service(names)
        yield _gauge("scrape_seconds", "Seconds it took to make this exposition.", self.monotonic() - begun)

    def _service(self, names: _Labels) -> Iterator[Metric]:
        telemetry = self.telemetry
        for name in COUNTERS:
            yield _counter(name, telemetry, [*KNOWN_LABELS.get(name, ()), *self.known.get(name, ())], names)
        for histogram in HISTOGRAMS:
            yield _histogram(histogram, list(telemetry.histograms[histogram].items()))
        lag = _family("consumer_lag_records", "Records between what was read and the end.", ("topic", "partition"))
        for (topic, partition), records in list(telemetry.lag.items()):
            lag.add_metric((topic, str(partition)), records)
        yield lag
        moments = (
            ("heartbeat_timestamp_seconds", "Unix time of the worker's last turn.", telemetry.heartbeat),
            ("checkpoint_timestamp_seconds", "Unix time of the last completed checkpoint.", telemetry.checkpointed),
        )
        for name_, help_, at in moments:
            if at:
                yield _gauge(name_, help_, round(self.clock() - (self.monotonic() - at), 3))
        yield _gauge("ready", "1 if partitions are assigned and their runs restored.", float(telemetry.ready))
        build = InfoMetricFamily("losswatch_build", "The version that is running and where its page is.")
        build.add_metric((), {"version": self.version, "external_url": self.external_url})
        yield build


class _Labels(dict[str, str]):
    """Label values by name, each made once a scrape."""

    def __init__(self, longest: int) -> None:
        super().__init__()
        self._longest = longest

    def __missing__(self, name: str) -> str:
        self[name] = label(name, self._longest)
        return self[name]


def _family(name: str, help_: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"losswatch_{name}", help_, labels=labels)


def _gauge(name: str, help_: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"losswatch_{name}", help_, value=value)


def _runs(view: View, names: _Labels) -> Iterator[Metric]:
    info = InfoMetricFamily("losswatch_run", "A run, its project, its team and its status.", labels=("run",))
    steps = _family("run_steps", "Newest step of a run, by phase.", ("run", "phase"))
    seen = _family("run_last_seen_timestamp_seconds", "Unix time of a run's newest record.", ("run",))
    runs = _family("runs", "Runs watched, by status.", ("status",))
    counts = dict.fromkeys(STATUSES, 0)
    for run in view.runs.values():
        name = names[run.run]
        about = {"project": names[run.job or ""], "team": names[run.labels.get(TEAM, "")], "status": run.status}
        info.add_metric((name,), about)
        seen.add_metric((name,), run.seen)
        for phase, step in run.steps.items():
            steps.add_metric((name, names[phase]), step)
        counts[run.status] = counts.get(run.status, 0) + 1
    for status, count in counts.items():
        runs.add_metric((status,), count)
    yield from (info, steps, seen, runs)


def _findings(view: View, names: _Labels) -> Iterator[Metric]:
    labels = ("run", "phase", "kind", "subject")
    state = _family("finding_state", "A finding: 0 resolved, 1 pending, 2 firing.", (*labels, "severity"))
    value = _family("finding_value", "The value a finding is about, when its state last changed.", labels)
    threshold = _family("finding_threshold", "The threshold a finding's value is measured against.", labels)
    began = _family("finding_began_step", "The step at which a finding began.", labels)
    weight = _family(
        "finding_advice_weight", "The weight that a finding advises for a component.", (*labels, "component")
    )
    for findings in view.findings.values():
        for finding in newest(findings):
            key = tuple(names[part] for part in (finding.run, finding.phase, finding.kind, finding.subject or ""))
            advice = finding.advice
            if advice is not None and advice.component is not None and advice.value is not None:
                weight.add_metric((*key, names[advice.component]), advice.value)
            state.add_metric((*key, finding.severity), STATES[finding.state])
            began.add_metric(key, finding.began)
            if finding.value is not None and not math.isnan(finding.value):
                value.add_metric(key, finding.value)
            if finding.threshold is not None and not math.isnan(finding.threshold):
                threshold.add_metric(key, finding.threshold)
    yield from (state, value, threshold, began, weight)


def newest(findings: Sequence[Finding]) -> Iterable[Finding]:
    """One finding of each kind and subject: the one that is most alive, then the newest."""
    chosen: dict[tuple[str, str, str | None], Finding] = {}
    for finding in sorted(findings, key=lambda f: (STATES[f.state], f.began)):
        chosen[finding.phase, finding.kind, finding.subject] = finding
    return chosen.values()


def _reading(table: Table, names: _Labels) -> Metric:
    """A table as a gauge; what is not known (NaN) is left out."""
    family = _family(table.name, table.help, ("run", *table.labels))
    for key, value in zip(table.keys, table.values.tolist(), strict=True):
        if not math.isnan(value):
            family.add_metric([names[part] for part in key], value)
    return family


def _thresholds(view: View, defaults: Mapping[str, float], names: _Labels) -> Iterator[Metric]:
    default = _family("threshold_default", "A threshold where a run declares none of its own.", ("name",))
    for name, value in defaults.items():
        default.add_metric((name,), value)
    override = _family("threshold_override", "A threshold that a run declared for itself.", ("run", "name"))
    for run in view.runs.values():
        for name, declared in (run.declared.get("thresholds") or {}).items():
            if name in defaults:
                override.add_metric((names[run.run], name), float(declared))
    yield from (default, override)


def _counter(name: CounterName, telemetry: Telemetry, known: Sequence[tuple[str, ...]], names: _Labels) -> Metric:
    meaning = COUNTERS[name]
    family = CounterMetricFamily(f"losswatch_{name}", meaning.help, labels=meaning.labels)
    start = dict.fromkeys(known, 0) if meaning.labels else {(): 0}
    for labels, count in (start | dict(telemetry.counters[name])).items():
        family.add_metric([names[part] for part in labels], count)
    return family


def _histogram(name: HistogramName, observed: Sequence[tuple[tuple[str, ...], Histogram]]) -> Metric:
    meaning, bounds = HISTOGRAMS[name]
    family = HistogramMetricFamily(f"losswatch_{name}", meaning.help, labels=meaning.labels)
    if not observed and not meaning.labels:
        observed = [((), Histogram(bounds))]
    for labels, histogram in observed:
        cumulative = accumulate(histogram.counts)
        limits = (*(str(float(bound)) for bound in bounds), "+Inf")
        family.add_metric(labels, list(zip(limits, cumulative, strict=True)), histogram.sum)
    return family
