"""What kafka-python is asked before it is used, and what its errors are told as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from losswatch.transport import Refused, Unavailable

PROBE_SECONDS: Final = 3.0


def probe(servers: Sequence[str], options: Mapping[str, Any]) -> None:
    """Raise Unavailable unless one of the servers accepts a connection, and TLS where that is asked for.

    kafka-python would try for seconds, or for ever where TLS is not answered, and log every attempt in the job's log.
    """
    import socket

    failures = []
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS):
                from losswatch.tls import tls_problem

                problem = tls_problem([server], options, PROBE_SECONDS, listen=0.0)
                if problem is None:
                    return
                failures.append(problem)
        except ValueError:
            failures.append(f"{server}: expected HOST:PORT")
        except OSError as error:
            failures.append(f"{server}: {error.strerror or error}")
    raise Unavailable("; ".join(failures) or "no servers given")


def failure(error: Any) -> Exception:
    """The error of a send as Refused where the broker will never take the record, else as Unavailable."""
    import kafka.errors

    never = (kafka.errors.MessageSizeTooLargeError, kafka.errors.InvalidMessageError)
    return Refused(text(error)) if isinstance(error, never) else Unavailable(text(error))


def text(error: Any) -> str:
    """The error in a line."""
    return f"{type(error).__name__}: {error}"[:300]
