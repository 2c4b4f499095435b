"""``losswatch score``: temporal anomaly scores for series in CSV files, many files in one batch."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from service.options import Refused

if TYPE_CHECKING:
    from service.scoring import Series

GOALS: Final = {"lower": -1.0, "higher": 1.0, None: 0.0}
AT_ONCE: Final = 128
"""Files that are open together."""
DELIMITERS: Final = ",;\t"


def score(
    file: Annotated[
        Path | None, typer.Argument(metavar="[SERIES.csv]", help="A series: a header line, a row a value.")
    ] = None,
    column: Annotated[str, typer.Option("--column", help="The column of the values.")] = "value",
    time: Annotated[
        str | None, typer.Option("--time", help="The column of the time. Rows are taken in the order of the file.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write to: a file, with --many a folder.")
    ] = Path("scores.csv"),
    goal: Annotated[
        Literal["lower", "higher"] | None,
        typer.Option("--goal", help="Which way is better. Without it, changes both ways count alike."),
    ] = None,
    many: Annotated[
        Path | None, typer.Option("--many", metavar="DIR", help="Score every .csv file in a folder, in one batch.")
    ] = None,
) -> None:
    """Score how unusual every value of a time series is, by its own past.

    Writes the rows again with one more column, anomaly_score, from 0 to 1: 0.5 is what the series' own past shows
    about once in 50,000 values, higher is rarer. A score depends on the rows up to its own only, not on the time
    between them. The first 16 values score 0: too few to tell. A row without a number gets an empty score, and is
    counted.

    A score counts only where it stands above the ones before it: what an anomaly leaves behind scores 0.

    **Examples**

    * `losswatch score loss.csv --column train_loss --goal lower --output scores.csv`
    * `losswatch score cpu.csv --column value --time timestamp --output scores.csv`
    * `losswatch score --many metrics/ --column value --output scored/`
    """
    if (file is None) == (many is None):
        raise Refused("Name one file, or a folder with --many DIR.")
    pairs = [(file, output)] if file is not None else _pairs(many or Path(), output)
    for source, target in pairs:
        if source.resolve() == target.resolve():
            raise Refused(f"{target} would overwrite its own input: choose another --output.")
    from service.scoring import NotReadable, scored

    console = Console(stderr=True)
    done: list[Series] = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Scoring", total=sum(_lines(source) for source, _ in pairs))
        for start in range(0, len(pairs), AT_ONCE):
            with ExitStack() as stack:
                opened = [_open(stack, *pair, column, time) for pair in pairs[start : start + AT_ONCE]]
                try:
                    for rows in scored(opened, GOALS[goal]):
                        progress.advance(task, rows)
                except NotReadable as error:
                    raise Refused(str(error)) from None
                done += opened
    for each in done:
        _tell(each)
    rows = sum(each.taken for each in done)
    where = output if many is None else f"{len(done)} files in {output}"
    typer.echo(f"{rows} rows scored; written to {where}.", err=True)


def _pairs(folder: Path, output: Path) -> list[tuple[Path, Path]]:
    """Every CSV file below a folder, and where its scores go."""
    if not folder.is_dir():
        raise Refused(f"{folder} is not a folder.")
    if output.is_file():
        raise Refused(f"{output} is a file: with --many, --output is a folder.")
    target = output if output != Path("scores.csv") else Path("scores")
    files = [path for path in sorted(folder.rglob("*.csv")) if not path.is_relative_to(target)]
    if not files:
        raise Refused(f"{folder} has no .csv files.")
    return [(path, target / path.relative_to(folder)) for path in files]


def _open(stack: ExitStack, source: Path, target: Path, column: str, time: str | None) -> Series:
    """Open a series and what its scores are written to."""
    from service.scoring import SCORE, Series

    try:
        text = stack.enter_context(source.open(encoding="utf-8-sig", newline=""))
        first = text.readline()
        delimiter = max(DELIMITERS, key=first.count)
        names = next(csv.reader([first], delimiter=delimiter), [])
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{source} cannot be read: {error}") from None
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places.setdefault(name.strip(), place)
    for wanted in (column, time):
        if wanted is not None and wanted not in places:
            known = ", ".join(repr(name) for name in places) or "none: the file is empty"
            raise Refused(f"{source} has no column {wanted!r}. It has {known}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        writer = csv.writer(
            stack.enter_context(target.open("w", encoding="utf-8", newline="")),
            delimiter=delimiter,
            lineterminator="\n",
        )
    except OSError as error:
        raise Refused(f"{target} cannot be written: {error}") from None
    writer.writerow([*names, SCORE])
    rows = (row for row in csv.reader(text, delimiter=delimiter) if row)
    return Series(source, rows, writer, places[column], None if time is None else places[time], len(names))


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None


def _tell(series: Series) -> None:
    """What was not as it should be in a file."""
    if series.missing:
        told = ", ".join(map(str, series.missing[:3])) + (", ..." if len(series.missing) > 3 else "")
        typer.echo(f"{series.path}: {len(series.missing)} rows have no number (row {told}); no score there.", err=True)
    if series.backwards:
        typer.echo(
            f"{series.path}: {series.backwards} rows are older than the row before; taken as they come.", err=True
        )
