"""The command ``losswatch replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from service.options import BootstrapServers, Refused, settings_from

Severity = Literal["info", "warning", "critical"]


def replay(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Logs; folders of them; patterns, in quotes.", show_default=False),
    ],
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how the columns of each file are read, and stop there.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the changes of findings, one a line, as on the wire; nothing else.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="REPORT.html", help="Write a report with plots; one file, to be read offline."),
    ] = None,
    fail_on: Annotated[
        Severity | None,
        typer.Option("--fail-on", help="End with status 1 where a finding at least as severe was confirmed."),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option("--threshold", metavar="NAME=VALUE", help="A threshold, as LOSSWATCH_THRESHOLDS; repeatable."),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="The format of all files; else it is told from their content.")
    ] = None,
    step: Annotated[str | None, typer.Option("--step", metavar="COLUMN", help="The column of the step.")] = None,
    total: Annotated[str | None, typer.Option("--total", metavar="COLUMN", help="The column of the total.")] = None,
    component: Annotated[
        list[str] | None,
        typer.Option("--component", metavar="NAME=COLUMN", help="A component of the total; repeatable."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="NAME=COLUMN[:higher|lower]", help="A metric and its better direction; repeatable."
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", metavar="FILE.yaml", help="A file that names the columns, for all files alike."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Where the weights of a DETR log's losses are; else a file beside the log."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Say whether the totals of the logs may be compared, and where they part."),
    ] = False,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="NAME", help="With --compare: a run to compare, the first with all others."),
    ] = None,
    to_kafka: Annotated[
        bool, typer.Option("--to-kafka", help="Publish the logs, for a live service to judge, instead of judging them.")
    ] = False,
    bootstrap_servers: BootstrapServers = None,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            help="With --to-kafka: so many times as fast as the jobs went, or rows a second where the log has no "
            "times; 0 is as fast as possible.",
            min=0.0,
            show_default="0",
        ),
    ] = None,
) -> None:
    """Ask of logs that are there already: would this have been noticed, and when?

    Runs the same detectors as the service, with the same thresholds, without Kafka. Formats are told from the
    content; docs/replay.md lists them. Ends with status 0; with 1 where --fail-on asks for it; with 2 where a
    file could not be read (the others are).

    **Examples**

    * `losswatch replay trainer_state.json`
    * `losswatch replay runs/ 'old/**/metrics.json' --html report.html --fail-on critical`
    * `losswatch replay before.csv after.csv --compare`
    * `losswatch replay trainer_state.json --to-kafka --bootstrap-servers kafka:9092 --speed 60`
    * `losswatch replay log.csv --step iter --total loss --component seg=loss_seg --metric miou=val_miou:higher`
    """
    if ((to_kafka or compare or explain) and (as_json or html or fail_on)) or (to_kafka + compare + explain > 1):
        raise Refused(
            "--explain, --compare and --to-kafka each do one thing instead of judging: give one of them alone, without "
            "--json, --html and --fail-on."
        )
    if (bootstrap_servers or speed is not None) and not to_kafka:
        raise Refused("--bootstrap-servers and --speed are for publishing: add --to-kafka.")
    if run and not compare:
        raise Refused("--run chooses what is compared: add --compare.")
    from service.replay import session
    from service.replay.request import Request, Unusable

    try:
        request = Request.of(
            files,
            settings_from({}, bootstrap_servers=bootstrap_servers),
            format=format_,
            step=step,
            total=total,
            components=component or (),
            metrics=metric or (),
            mapping=mapping,
            config=config,
            thresholds=threshold or (),
        )
        if to_kafka:
            status = session.publish_all(request, speed or 0.0)
        elif compare:
            status = session.compare_all(request, run or ())
        elif explain:
            status = session.explain(request)
        else:
            status = session.judge(request, as_json, html, fail_on)
    except Unusable as error:
        raise Refused(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(status)
