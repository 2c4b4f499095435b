"""Where Alertmanager delivers to in tests: webhooks, a Slack that only listens, and a mailbox."""

from __future__ import annotations

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.brokers import free_port


@dataclass(frozen=True, slots=True)
class Notification:
    """One alert of one delivery to a webhook."""

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(slots=True)
class Inbox:
    """What Alertmanager delivered, in order."""

    received: list[Notification] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    """The bodies that webhooks got."""
    slack: list[dict[str, Any]] = field(default_factory=list)
    mail: list[EmailMessage] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, receiver: str, delivery: dict[str, Any]) -> None:
        """Take what was posted to ``/slack`` or to ``/<receiver>``."""
        with self._changed:
            if receiver == "slack":
                self.slack.append(delivery)
            else:
                self.deliveries.append(delivery)
                for alert in delivery["alerts"]:
                    self.received.append(Notification(receiver, alert["status"], alert["labels"], alert["annotations"]))
            self._changed.notify_all()

    def put_mail(self, message: EmailMessage) -> None:
        """Take a mail."""
        with self._changed:
            self.mail.append(message)
            self._changed.notify_all()

    def wait(
        self, alertname: str, status: str = "firing", seconds: float = 20, after: int = 0, **labels: str
    ) -> Notification:
        """The first such notification but for the first ``after`` of all; fails with what came instead."""

        def found() -> Notification | None:
            wanted = (labels | {"alertname": alertname}).items()
            return next((n for n in self.received[after:] if n.status == status and wanted <= n.labels.items()), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None, seconds)
            notification, came = found(), [(n.labels["alertname"], n.status) for n in self.received]
        assert notification is not None, f"no {status} {alertname} within {seconds} s, but {came}"
        return notification


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where to send to, and what came."""

    inbox: Inbox
    webhook: str
    """A URL; its path names the receiver, or ``slack``."""
    smarthost: str
    """host:port"""


@contextmanager
def sinks() -> Iterator[Sinks]:
    """Listen on free ports of the loopback interface."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            inbox.put(self.path.strip("/"), json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    class Mailbox:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
            del server, session
            assert isinstance(envelope.content, bytes)
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            inbox.put_mail(message)
            return "250 taken"

    smtp = Controller(Mailbox(), hostname="127.0.0.1", port=free_port())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    smtp.start()
    try:
        yield Sinks(inbox, f"http://127.0.0.1:{server.server_port}", f"127.0.0.1:{smtp.port}")
    finally:
        smtp.stop()
        server.shutdown()
        thread.join()
        server.server_close()
