"""What the commands share: options, and how they refuse a call."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from service.settings import Settings

BootstrapServers = Annotated[
    str | None,
    typer.Option("--bootstrap-servers", metavar="HOST:PORT", help="The Kafka to use; several separated by commas."),
]


class Refused(typer.Exit):
    """Ends the command with status 2 and a plain message."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        typer.echo(message, err=True)


def settings_from(chosen: dict[str, Any], **options: Any) -> Settings:
    """The settings: what was given as an option wins over the environment. Raises Refused."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None} | chosen)
    except ValidationError as error:
        lines = [f"  {'LOSSWATCH_' + '.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise Refused("\n".join(["These settings cannot be used:", *lines])) from None
    except ValueError as error:
        raise Refused(f"These settings cannot be used: {error}. Objects are written as JSON.") from None
