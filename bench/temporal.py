"""How good is the temporal anomaly score? Labelled runs, made up and real, beside what one would try first.

    python -m bench.temporal --write                  # bench/results/temporal.md, about 5 minutes
    python -m bench.temporal --logs ../shared/logs    # with real logs, where they are (they are not in the project)
    python -m bench.temporal --noise --write          # run lengths, into docs/temporal.md
    python -m bench.temporal --part development --methods "temporal score"   # while working on it

Thresholds of the comparison are chosen on the development part, each method its best; figures are of the test part.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from bench.machine import machine
from bench.temporal_logs import LoggedSeries, injected, read
from bench.temporal_measures import Names, delays, names, peaks
from bench.temporal_methods import METHODS
from bench.temporal_noise import DECLARED, measure, plot, summary, table
from bench.temporal_own import own
from bench.temporal_runs import Floats, Labelled, make
from detectors.temporal.anomaly import CHANGES

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "bench" / "results" / "temporal.md"
PAGE: Final = ROOT / "docs" / "temporal.md"
PICTURE: Final = ROOT / "docs" / "images" / "temporal-run-length.svg"
MARKS: Final = ("<!-- run length: written by bench.temporal -->", "<!-- end of run length -->")
SEEDS: Final = {"development": 1, "test": 2}
HEAD: Final = (
    "| method | PR AUC | precision | recall | median delay | false alarms / 10,000 |\n|---|---:|---:|---:|---:|---:|"
)


def row(name: str, runs: Sequence[Labelled], scores: Sequence[Floats], threshold: float) -> str:
    """One line of the table, at a threshold."""
    found = peaks(runs, scores)
    hits, wrong = int((found.found >= threshold).sum()), int((found.false >= threshold).sum())
    late = delays(runs, scores, threshold)
    precision = f"{hits / (hits + wrong):.2f}" if hits + wrong else ""
    return (
        f"| {name} | {found.area():.3f} | {precision} | {hits / len(found.found):.2f} "
        f"| {statistics.median(late) if late else ''} | {10_000 * wrong / found.values:.2f} |"
    )


def compare(development: Sequence[Labelled], judged: Sequence[Labelled], methods: Sequence[str]) -> str:
    """The table of all methods, and what the score at its default threshold calls each kind of anomaly."""
    lines, told = [HEAD], ""
    for name in methods:
        scores = METHODS[name](judged)
        best = peaks(development, METHODS[name](development)).best()
        lines.append(row(name, judged, scores, best))
        if METHODS[name] is own:
            lines.append(row(f"{name}, at its default threshold", judged, scores, 0.5))
            told = "\n\n" + as_named(names(judged, scores, own(judged, "anomaly_change"), 0.5))
    return "\n".join(lines) + told


def as_named(found: Names) -> str:
    """What the first alarm in each anomaly is called, by kind, and how many are found."""
    lines = ["Found at the default threshold, and what the first alarm calls it:\n"]
    lines += ["| kind | found | " + " | ".join(CHANGES) + " |", "|---|---:|" + "---:|" * len(CHANGES)]
    for kind, counts in sorted(found.items()):
        total = sum(counts.values())
        cells = [str(counts.get(code, "")) for code in range(1, len(CHANGES) + 1)]
        lines.append(f"| {kind} | {total - counts.get(0, 0)} of {total} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def on_healthy(logs: Sequence[LoggedSeries]) -> str:
    """Alarms at the default threshold on logs labelled healthy."""
    runs = [log.series for log in logs if log.labels == "healthy"]
    found = peaks(runs, own(runs))
    alarms = int((found.false >= 0.5).sum())
    return (
        f"Logs labelled healthy: {alarms} alarms in {found.values:,} values of {len(runs)} series, "
        f"{20_000 * alarms / found.values:.2f} in 20,000.\n\n"
        "This figure is not independent: alarms on healthy logs of both parts were looked at while the default "
        "threshold was chosen, and the test part was seen once before the calibration got its last values."
    )


def main() -> None:
    """Measure, print, and write where it is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", action="store_true", help="measure run lengths on noise instead")
    parser.add_argument("--total", type=int, default=4_000_000, help="values of each noise and length")
    parser.add_argument("--series", type=int, default=400, help="made-up series of each part")
    parser.add_argument("--part", choices=list(SEEDS), default="test", help="what to judge (default test)")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--logs", type=Path, default=ROOT.parent / "shared" / "logs", help="a folder with a manifest")
    parser.add_argument("--write", action="store_true", help="keep the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.noise:
        measured = measure(options.total)
        tables = "\n\n".join([summary(measured), *(table(measured, steps) for steps in reversed(DECLARED))])
        text = f"![Run lengths](images/{PICTURE.name})\n\n{tables}\n"
        print(text)
        if options.write:
            PICTURE.write_text(plot(measured), encoding="utf-8")
            before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
            PAGE.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}", encoding="utf-8")
        return
    sections = [
        f"{machine()}.",
        f"Command: `python -m bench.temporal --series {options.series} --write`, with the logs.",
    ]
    made = compare(
        make(SEEDS["development"], options.series), make(SEEDS[options.part], options.series), options.methods
    )
    sections += [f"## Made-up runs ({options.part})", made]
    if (options.logs / "manifest.csv").exists():
        logs = read(options.logs)
        parts = {part: [log for log in logs if log.part == part] for part in SEEDS}
        real = {part: injected(parts[part], seed) for part, seed in SEEDS.items()}
        sections += [f"## Real logs with anomalies put in ({options.part})"]
        sections += [compare(real["development"], real[options.part], options.methods)]
        sections += ["## Real logs as they are", on_healthy(parts[options.part])]
    text = "\n\n".join(sections) + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(f"# Temporal anomaly score\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
