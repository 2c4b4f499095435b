"""Replay other people's logs that a person has labelled, and write down what was found: ``make replay-logs``.

The folder has a ``manifest.csv`` with, for every file, ``id``, ``format``, ``file``, ``labels`` (separated by ``|``)
and ``tags``. The logs themselves stay where they are: only ids, labels and findings are written.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from detectors.catalog import KINDS
from losswatch.schema import Finding
from service.replay.engine import Outcome, Replay
from service.replay.sources import open_log
from service.replay.verdict import verdict_on

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "docs" / "replay-logs.md"
FOLDER: Final = ROOT.parent / "shared" / "logs"
FINDS: Final[Mapping[str, frozenset[str]]] = {
    "nan": frozenset({"non_finite"}),
    "diverged": frozenset({"divergence", "non_finite", "performance_collapse"}),
    "overfit": frozenset({"overfitting", "loss_metric_decoupling"}),
    "spikes": frozenset({"spike", "temporal_anomaly"}),
    "plateau": frozenset({"plateau", "component_stagnates"}),
    "collapsed": frozenset(
        {
            "loss_metric_decoupling",
            "plateau",
            "divergence",
            "non_finite",
            "performance_collapse",
            "diversity_collapse",
            "diversity_decline",
        }
    ),
}
"""Which kinds of finding say what a person meant by a label."""
TARGETS: Final[Mapping[str, float]] = {"nan": 1.0, "diverged": 0.8, "overfit": 0.8, "spikes": 0.75}
"""The part of the files with a label that is to be found."""
MOST_WARNED: Final = 0.15
"""The part of the healthy runs that may have a warning."""
HEALTHY: Final = ("healthy",)
NOTES: Final[Mapping[str, str]] = {
    "hf_trainer_state/008": "ten rows of training and five evaluations: too few to know what is usual.",
    "sb3_progress_csv/004": "the reward falls from 296 to 100 within 2 % of the run and to 60 by its end; the total's "
    "noise is larger than itself, and says nothing of it.",
    "lightning_metrics_csv/009": "the median rises by 2 % over 1126 rows that spread from 3.4 to 4.0, and validation "
    "from 3.563 to 3.604 in four values: a drift, far from the doubling that divergence means. We read it as flat.",
    "hf_trainer_state/029": "validation is best at its first value, 2.55, then 3.1 to 4.5; training 1.24, 2.03, 2.16, "
    "1.98, 1.79: five rows, and one value of each is all there is to say that it was better.",
    "mmcv_log_json/008": "six values of mAP, 0.8495 to 0.8433, the lowest 0.8406: 0.7 % of it, where decoupling means "
    "10 %. We read it as flat.",
    "keras_csv/013": "validation 0.521 at value 6 of 16, 0.586 at the end, training 0.42 to 0.18: the median of five "
    "is 4 % above its best in the last two values, and three are needed.",
    "custom_csv/023": "healthy but for one value of 0.57 among values of 0.01, which is what is told.",
    "custom_csv/027": "healthy but for a transient up to 82 at one per cent of the run, which is what is told.",
    "yolo_results_csv/010": "from epoch 490 on the training loss is 28 % lower, in one epoch, and validation 4 to 6 % "
    "above its best, mAP 0.95 after 0.96: as where augmentation is switched off. It is worse, but not by learning.",
    "yolo_results_txt/018": "the main part of the validation's total ends where it began while that of training falls.",
}
"""Where the curve says something else than the label, by id."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One file: what a person said of it, and what the detectors said."""

    id: str
    format: str
    labels: tuple[str, ...]
    tags: str
    outcome: Outcome

    @property
    def healthy(self) -> bool:
        """Whether nothing but health was seen in it."""
        return self.labels == HEALTHY

    @property
    def fired(self) -> list[Finding]:
        """What ever fired, in any run of the file, worst first."""
        return [finding for result in self.outcome.runs for finding in verdict_on(result).fired]

    def found(self, label: str) -> list[Finding]:
        """The findings that say what the label says."""
        return [finding for finding in self.fired if finding.kind in FINDS.get(label, ())]


def judge(folder: Path) -> Iterator[Judged]:
    """Replay every file of the folder's manifest, in its order."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    replay = Replay(partial(open_log, options=None))
    for row, outcome in zip(rows, replay.results([folder / row["file"] for row in rows]), strict=True):
        yield Judged(row["id"], row["format"], tuple(row["labels"].split("|")), row["tags"], outcome)


def report(judged: Sequence[Judged]) -> str:
    """The results as Markdown."""
    healthy = [each for each in judged if each.healthy]
    lines = [
        "# What is found in real logs",
        "",
        f"{len(judged)} logs of other people's training runs, each labelled by a person who looked at its curves. "
        "`make replay-logs` replays them and writes this page; the logs themselves are not part of the project, as "
        "their licences were not checked. A label is one reading of the curves, not the truth.",
        "",
        f"Detectors: {', '.join(f'`{kind}`' for kind in KINDS)}.",
        "",
        "| what | files | found | target |",
        "|---|---:|---:|---:|",
    ]
    for label in FINDS:
        having = [each for each in judged if label in each.labels]
        found = sum(bool(each.found(label)) for each in having)
        target = f"{TARGETS[label]:.0%}" if label in TARGETS else "-"
        lines.append(f"| {label} | {len(having)} | {_part(found, len(having))} | {target} |")
    critical = sum(_worst(each) == "critical" for each in healthy)
    warned = sum(_worst(each) in {"critical", "warning"} for each in healthy)
    unread = [each for each in judged if each.outcome.error is not None]
    lines += [
        f"| healthy with a critical finding | {len(healthy)} | {critical} | 0 |",
        f"| healthy with any warning | {len(healthy)} | {_part(warned, len(healthy))} | at most {MOST_WARNED:.0%} |",
        f"| unreadable | {len(judged)} | {len(unread)} | 0 |",
        "",
        "A label counts as found where one of these fired:",
        "",
        *(
            f"- {label}: {', '.join(f'`{kind}`' for kind in sorted(kinds & KINDS.keys()))}"
            for label, kinds in FINDS.items()
        ),
        "",
        "## Files that are not healthy",
        "",
        "| file | labels | verdict | all that fired |",
        "|---|---|---|---|",
    ]
    for each in judged:
        if not each.healthy:
            said = "; ".join(
                f"{label} {'found' if each.found(label) else 'missed'}" for label in each.labels if label in FINDS
            )
            lines.append(f"| {each.id} | {', '.join(each.labels)} | {said or '-'} | {_told(each)} |")
    lines += ["", "## Healthy files in which something fired", "", "| file | tags | what fired |", "|---|---|---|"]
    lines += [f"| {each.id} | {each.tags.replace('|', ', ')} | {_told(each)} |" for each in healthy if each.fired]
    lines += ["", f"Nothing fired in the other {sum(not each.fired for each in healthy)} of {len(healthy)}."]
    if NOTES:
        lines += ["", "## Notes", "", *(f"- {name}: {note}" for name, note in NOTES.items())]
    if unread:
        lines += [
            "",
            "## Unreadable",
            "",
            *(f"- {each.id}: {each.outcome.error and each.outcome.error.reason}" for each in unread),
        ]
    return "\n".join(lines) + "\n"


def _told(each: Judged) -> str:
    """What fired: each kind once, with its severity, what it is about and the step it was first confirmed at."""
    first: dict[str, tuple[Finding, int]] = {}
    for finding in each.fired:
        known, count = first.get(finding.kind, (finding, 0))
        first[finding.kind] = (known, count + 1)
    return (
        "; ".join(
            f"{finding.severity} `{kind}` ({finding.phase}) at {finding.confirmed}"
            + (f", {count} times" if count > 1 else "")
            for kind, (finding, count) in first.items()
        )
        or "nothing"
    )


def _worst(each: Judged) -> str:
    return next((finding.severity for finding in each.fired), "none")


def _part(found: int, of: int) -> str:
    return f"{found} ({found / of:.0%})" if of else "0"


def main() -> None:
    """Replay the logs and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="folder with a manifest.csv")
    parser.add_argument("--print", action="store_true", help="print the page instead of writing it")
    options = parser.parse_args()
    if not (options.folder / "manifest.csv").is_file():
        sys.exit(f"There is no manifest.csv in {options.folder}. Name the folder: make replay-logs LOGS=...")
    text = report(list(judge(options.folder)))
    if options.print:
        print(text)
    else:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
