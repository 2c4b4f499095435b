"""A made-up fleet that looks real: case A collapsing, a healthy run, one warming up, a finished one and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from consumers.view import RunView, Table, Trace, View
from losswatch.schema import Advice, Finding

NOW = 1_764_000_200.0
"""Unix seconds at which the sample view was made."""
FLOOR = 0.85
THRESHOLDS = {"class_entropy_floor": FLOOR, "class_entropy_horizon_steps": 200.0, "conflict_component_rise": 0.25}
HOSTILE = '</title><script>alert("x")</script>\n"%2F\\ü/../é'

Series = dict[str, npt.NDArray[np.float64]]


def run(name: str, status: str = "running", **other: Any) -> RunView:
    """A run of which little is known."""
    values: dict[str, Any] = {
        "job": None,
        "labels": {},
        "partition": 3,
        "started": NOW - 190,
        "seen": NOW - 1,
        "steps": {"train": 149},
        "steps_seen": 150,
        "records": 12,
        "duplicates": 0,
        "gaps": 0,
        "late_steps": 0,
        "dropped": {},
        "sessions": 1,
        "warming": (),
        "declared": {},
    }
    return RunView(run=name, status=status, **(values | other))


def finding(
    of: str,
    kind: str,
    severity: Literal["info", "warning", "critical"],
    state: Literal["pending", "firing", "resolved"],
    began: int,
    confirmed: int | None,
    value: float | None,
    threshold: float | None,
    message: str,
    subject: str | None = None,
    phase: str = "test",
    evidence: Mapping[str, float] | None = None,
    advice: Advice | None = None,
) -> Finding:
    """A finding as the fleet makes it."""
    return Finding(
        run=of,
        time=NOW - 20,
        id=f"{of}/{phase}/{kind}/{subject or '-'}/{began}",
        kind=kind,
        phase=phase,
        subject=subject,
        severity=severity,
        state=state,
        began=began,
        confirmed=confirmed,
        step=confirmed or began,
        value=value,
        threshold=threshold,
        message=message,
        evidence=dict(evidence or {}),
        advice=advice,
    )


def traces(of: str, series: Mapping[tuple[str, str, str], npt.NDArray[np.float64]], last: int) -> Sequence[Trace]:
    """Traces by (phase, kind, name), 64 points up to the last step."""
    return [
        Trace(of, phase, kind, name, np.linspace(0, last, len(values)).round(), values)
        for (phase, kind, name), values in series.items()
    ]


def _fall(start: float, end: float, points: int = 64, noise: float = 0.0, seed: int = 0) -> npt.NDArray[np.float64]:
    t = np.linspace(0, 1, points)
    clean = end + (start - end) * np.exp(-3.2 * t)
    values: npt.NDArray[np.float64] = clean + noise * np.random.default_rng(seed).standard_normal(points)
    return values


COMPONENTS = {
    ("ttt-collapse", "entropy"): (0.0105, 1.0, 0.0105, 0.464),
    ("ttt-collapse", "diversity"): (0.1212, 0.1, 0.01212, 0.536),
    ("ttt-healthy", "entropy"): (0.1812, 1.0, 0.1812, 0.982),
    ("ttt-healthy", "diversity"): (0.0331, 0.1, 0.00331, 0.018),
}


def tables() -> list[Table]:
    """The readings of the sample runs."""
    keys = [(name, "train", part) for name, part in COMPONENTS]
    values = np.array(list(COMPONENTS.values()))
    runs = [("ttt-collapse", "test"), ("ttt-healthy", "test"), ("resnet/seed=3", "test")]
    nan = np.nan
    return [
        Table(
            "total_reported",
            "The total loss as the job reported it.",
            ("phase",),
            [("ttt-collapse", "train"), ("ttt-healthy", "train"), (HOSTILE, "train")],
            np.array([0.0226, 0.1845, np.inf]),
        ),
        Table("component_value", "A loss component, unweighted.", ("phase", "component"), keys, values[:, 0]),
        Table("component_weight", "The weight of a component.", ("phase", "component"), keys, values[:, 1]),
        Table("component_contribution", "Weight times value.", ("phase", "component"), keys, values[:, 2]),
        Table("component_share_ratio", "Share of a component.", ("phase", "component"), keys, values[:, 3]),
        Table("class_entropy_ratio", "Class entropy by log C.", ("phase",), runs, np.array([0.7821, 0.9612, nan])),
        Table("sample_entropy_ratio", "Mean entropy of a sample.", ("phase",), runs, np.array([0.0312, 0.3011, nan])),
        Table(
            "max_class_probability_ratio",
            "Largest mean class probability.",
            ("phase",),
            runs,
            np.array([0.7671, 0.6153, nan]),
        ),
        Table("unique_classes", "Classes predicted.", ("phase",), runs, np.array([2.0, 2.0, nan])),
        Table("class_entropy_steps_to_floor", "Steps to the floor.", ("phase",), runs, np.array([0.0, nan, nan])),
        Table(
            "metric_value",
            "A metric as reported.",
            ("phase", "series"),
            [("ttt-collapse", "test", "accuracy"), ("ttt-healthy", "test", "accuracy")],
            np.array([0.7470, 0.8702]),
        ),
    ]


def sample_view() -> View:
    """Seven runs, one in each state that the page tells apart."""
    weights = {"objective": {"train": {"form": "weighted_sum", "weights": {"entropy": 1.0, "diversity": 0.1}}}}
    runs = [
        run("ttt-healthy", job="intrusion-ttt", steps={"train": 149, "test": 149}, declared=weights),
        run(
            "ttt-collapse",
            job="intrusion-ttt",
            labels={"team": "sec"},
            steps={"train": 149, "test": 149},
            duplicates=2,
            declared=weights | {"thresholds": {"class_entropy_floor": FLOOR}},
        ),
        run(
            "resnet/seed=3",
            job="resnet",
            started=NOW - 8,
            steps={"train": 9},
            warming=("component_conflict (train)", "diversity_decline (test)"),
        ),
        run("bert-base-lr3e-5", "finished", job="bert", steps={"train": 12_000}, seen=NOW - 240),
        run("gpt-small-17", "silent", job="gpt", steps={"train": 8_412}, seen=NOW - 310),
        run("unet-ablation-b", job="unet", steps={"train": 611, "val": 600}),
        run(HOSTILE, job="<b>", steps={"train": 5}),
    ]
    decline = (
        "Class entropy of the test predictions is 0.91 and declining since before step 61; at this pace it crosses"
    )
    findings = {
        "ttt-collapse": [
            finding(
                "ttt-collapse", "diversity_collapse", "critical", "firing", 120, 124, 0.7821, FLOOR,
                "Class entropy of the test predictions fell to 0.78 (floor 0.85) at step 120; the most predicted class "
                "now holds 77% of the probability. Raise the diversity weight, or stop here and keep an earlier "
                "checkpoint.",
                evidence={"class_entropy_ratio": 0.7821, "max_class_probability_ratio": 0.7671, "unique_classes": 2.0},
                advice=Advice(action="set_weight", component="diversity", value=0.134),
            ),
            finding(
                "ttt-collapse", "component_conflict", "warning", "firing", 38, 42, 1.91, 0.25,
                "The train total is 93% below its past while its component diversity is 191% above its own, since step "
                "38; diversity is now 54% of the total. The optimiser is buying the total with diversity.",
                subject="diversity", phase="train",
                evidence={"conflict_rise_ratio": 1.91, "conflict_fall_ratio": 0.93, "component_share_ratio": 0.536},
            ),
            finding(
                "ttt-collapse", "diversity_decline", "warning", "resolved", 61, 65, 55.0, 200.0,
                f"{decline} its floor of 0.85 in about 55 steps.",
            ),
        ],
        "unet-ablation-b": [
            finding(
                "unet-ablation-b", "diversity_decline", "warning", "pending", 609, None, 140.0, 200.0,
                "Class entropy of the val predictions is 0.93 and declining since before step 609; at this pace it "
                "crosses its floor of 0.85 in about 140 steps.", phase="val",
            )
        ],
        HOSTILE: [
            finding(
                HOSTILE, "non_finite", "critical", "firing", 3, 3, float("inf"), None,
                "<img src=x onerror=alert(1)> (train) became inf at step 3.", subject="<img src=x>", phase="train",
            )
        ],
    }  # fmt: skip
    collapse: dict[tuple[str, str, str], npt.NDArray[np.float64]] = {
        ("train", "total", "total"): _fall(0.3127, 0.0226, noise=0.004, seed=1),
        ("train", "component", "entropy"): _fall(0.3085, 0.0105, noise=0.004, seed=2),
        ("train", "component", "diversity"): 0.1212 - _fall(0.0796, 0.0, noise=0.002, seed=3),
        ("test", "reading", "class_entropy_ratio"): 0.964
        - 0.182 * np.linspace(0, 1, 64) ** 2.2
        + 0.004 * np.random.default_rng(4).standard_normal(64),
        ("test", "metric", "accuracy"): 0.8614 - 0.1144 * np.linspace(0, 1, 64) ** 1.6,
    }
    healthy: dict[tuple[str, str, str], npt.NDArray[np.float64]] = {
        ("train", "total", "total"): _fall(0.3127, 0.1845, noise=0.006, seed=5),
        ("train", "component", "entropy"): _fall(0.3085, 0.1812, noise=0.006, seed=6),
        ("train", "component", "diversity"): _fall(0.0416, 0.0331, noise=0.002, seed=7),
        ("test", "reading", "class_entropy_ratio"): 0.962 + 0.004 * np.random.default_rng(8).standard_normal(64),
    }
    gap = _fall(2.1, 0.6, noise=0.03, seed=9)
    gap[20:24] = np.nan
    return View(
        made=NOW,
        runs={one.run: one for one in runs},
        tables=tables(),
        traces={
            "ttt-collapse": traces("ttt-collapse", collapse, 149),
            "ttt-healthy": traces("ttt-healthy", healthy, 149),
            "resnet/seed=3": traces("resnet/seed=3", {("train", "total", "total"): _fall(2.3, 2.1, 10)}, 9),
            "bert-base-lr3e-5": traces("bert-base-lr3e-5", {("train", "total", "total"): gap}, 12_000),
            "gpt-small-17": traces("gpt-small-17", {("train", "total", "total"): _fall(9.4, 3.3, noise=0.1)}, 8_412),
            "unet-ablation-b": traces(
                "unet-ablation-b",
                {
                    ("train", "total", "total"): _fall(0.9, 0.2, noise=0.01),
                    ("val", "reading", "class_entropy_ratio"): 0.99 - 0.06 * np.linspace(0, 1, 64),
                },
                611,
            ),
            HOSTILE: traces(HOSTILE, {("train", "total", "total"): np.array([1.0, 0.5, 0.4, np.inf, np.inf])}, 5),
        },
        findings=findings,
    )


def big_view(runs: int, readings: int) -> View:
    """A fleet of many healthy runs with as many readings each."""
    names = [f"run-{i:05}" for i in range(runs)]
    keys = [(name, "train") for name in names]
    values = np.random.default_rng(0).random(runs)
    return View(
        made=NOW,
        runs={name: run(name, job="fleet") for name in names},
        tables=[Table(f"reading_{i}", "A reading.", ("phase",), keys, values + i) for i in range(readings)],
        traces={name: traces(name, {("train", "total", "total"): _fall(1.0, 0.1)}, 149) for name in names[:200]},
    )
