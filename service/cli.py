"""The command ``losswatch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from service.options import BootstrapServers, Refused, settings_from
from service.replay.command import replay
from service.score import score

app: Final = typer.Typer(
    name="losswatch",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watch the losses and predictions of training jobs while they train.\n\n"
    "Every setting is also an environment variable, LOSSWATCH_ and its name in capitals; an option given here wins. "
    "docs/settings.md lists them all.",
)

spool_app: Final = typer.Typer(no_args_is_help=True, help="What jobs left on disk while the broker was away.")
app.add_typer(spool_app, name="spool")
app.command()(replay)
app.command()(score)

Partitions = Annotated[
    int | None, typer.Option("--partitions", help="Partitions of each topic that has to be created.", min=1)
]


@app.command()
def serve(
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Run a broker of its own, in memory: nothing survives its end.")
    ] = False,
    bootstrap_servers: BootstrapServers = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Consumer group; services of one group share the runs.")
    ] = None,
    partitions: Partitions = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option("--device", help="Where the detectors compute.")
    ] = None,
    http_host: Annotated[
        str | None, typer.Option("--http-host", help="Address to listen on; 0.0.0.0 opens it to the network.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option("--http-port", help="Port of the page, the API and /metrics; 0 takes a free one.")
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, typer.Option("--log-level", help="Least to be logged.")
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None, typer.Option("--log-format", help="For people or for machines.")
    ] = None,
) -> None:
    """Watch the jobs that publish to a Kafka.

    Give either --bootstrap-servers or --embedded. The page is at http://127.0.0.1:9108, metrics for Prometheus
    at /metrics. Ctrl-C or SIGTERM finishes the batch, writes a checkpoint and leaves the consumer group.

    **Examples**

    * `losswatch serve --embedded` to try it out
    * `losswatch serve --bootstrap-servers kafka-1:9092,kafka-2:9092 --group losswatch-prod --http-host 0.0.0.0`
    * `LOSSWATCH_KAFKA='{"security_protocol":"SASL_SSL","sasl_mechanism":"PLAIN","sasl_plain_username":"me"}'
      LOSSWATCH_KAFKA_PASSWORD=... losswatch serve --bootstrap-servers kafka:9093`
    """
    if embedded and bootstrap_servers:
        raise Refused("Give either --embedded or --bootstrap-servers, not both.")
    chosen = (
        {"embedded": True, "bootstrap_servers": None}
        if embedded
        else {"embedded": False, "bootstrap_servers": bootstrap_servers}
        if bootstrap_servers
        else {}
    )
    settings = settings_from(
        chosen,
        group=group,
        partitions=partitions,
        device=device,
        http_host=http_host,
        http_port=http_port,
        log_level=log_level,
        log_format=log_format,
    )
    from service.serve import NO_BROKER

    if not settings.embedded and not settings.bootstrap_servers:
        raise Refused(NO_BROKER)
    if settings.embedded and settings.bootstrap_servers:
        raise Refused("Both LOSSWATCH_EMBEDDED and LOSSWATCH_BOOTSTRAP_SERVERS are set. Unset one of them.")
    from service import logs, serve

    logs.configure(settings.log_level, settings.log_format)
    try:
        serve.serve(settings)
    except serve.CannotServe as error:
        raise Refused(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def topics(
    create: Annotated[bool, typer.Option("--create", help="Create those that are missing.")] = False,
    bootstrap_servers: BootstrapServers = None,
    partitions: Partitions = None,
) -> None:
    """Show the topics losswatch uses, and create them.

    With a Kafka named it shows how many partitions each has there. `losswatch serve` creates missing topics by
    itself; this is for where that is somebody else's decision.

    **Examples**

    * `losswatch topics`
    * `losswatch topics --bootstrap-servers kafka:9092 --create --partitions 24`
    """
    settings = settings_from({}, bootstrap_servers=bootstrap_servers, partitions=partitions)
    if create and not settings.bootstrap_servers:
        raise Refused("Create them where? Add --bootstrap-servers HOST:PORT.")
    from consumers.source import BrokerUnavailable
    from losswatch.topics import TOPICS

    made: list[str] = []
    there: dict[str, int] = {}
    if settings.bootstrap_servers:
        from consumers.kafka import KafkaBroker

        broker = KafkaBroker(settings.bootstrap_servers, security=settings.kafka_arguments())
        try:
            made = broker.create_topics(settings.partitions) if create else []
            there = {topic.name: broker.partitions(topic.name) for topic in TOPICS}
        except (BrokerUnavailable, RuntimeError) as error:
            raise Refused(str(error)) from error
    for topic in TOPICS:
        count = str(there[topic.name] or "no") if topic.name in there else str(settings.partitions)
        when = " (created now)" if topic.name in made else "" if topic.name in there else " when created"
        typer.secho(topic.name, bold=True, nl=False)
        typer.echo(f": {topic.carries}")
        typer.echo(f"    {count} partitions{when}, {' '.join('='.join(pair) for pair in topic.config)}")


@app.command()
def demo(
    case: Annotated[
        Literal["a", "b", "c", "d", "e", "all"], typer.Option("--case", help="Which of the five case studies.")
    ] = "a",
    follow_advice: Annotated[
        bool, typer.Option("--follow-advice", help="Run case A's job once more, taking the advice, and compare.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything up afterwards, until Ctrl-C.")] = False,
) -> None:
    """See a real training job collapse, and losswatch notice.

    Starts a broker, the service and two small training jobs on this machine: one that wins its loss and loses its
    task, one that is healthy. Takes half a minute for each case. Ends with status 1 unless exactly the expected
    findings fired.

    **Examples**

    * `losswatch demo --case all`
    * `losswatch demo --keep` and then look at the page it names
    * `losswatch demo --follow-advice`
    """
    from service.demo import run_demo

    raise typer.Exit(run_demo("abcde" if case == "all" else case, follow_advice=follow_advice, keep=keep))


@spool_app.command("send")
def spool_send(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder that jobs spooled to.", exists=True, file_okay=False)
    ],
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Send what jobs that are gone left in DIR, in order, and delete it there.

    What living jobs have in it stays theirs. On a machine that has the hook only, `python -m losswatch.spool DIR` does
    the same.

    **Examples**

    * `losswatch spool send /var/spool/losswatch --bootstrap-servers kafka:9092`
    """
    settings = settings_from({}, bootstrap_servers=bootstrap_servers)
    if not settings.bootstrap_servers:
        raise Refused("Send it where? Add --bootstrap-servers HOST:PORT.")
    from losswatch.kafka_transport import KafkaTransport
    from losswatch.spool import send_spool
    from losswatch.transport import Unavailable

    try:
        result = send_spool(folder, KafkaTransport(settings.bootstrap_servers, settings.kafka_arguments()))
    except (Unavailable, OSError) as error:
        typer.echo(f"Not everything was sent, what is left is kept: {error}", err=True)
        raise typer.Exit(1) from None
    refused = f", {result.refused} refused by the broker" if result.refused else ""
    typer.echo(f"{result.sent} records sent{refused}.")


@app.command()
def version() -> None:
    """Print the version."""
    from service.serve import product_version

    typer.echo(f"losswatch {product_version()}")


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
