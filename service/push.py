"""Hands firing findings straight to Alertmanager, for those who cannot wait for a scrape and an evaluation.

One thread per Alertmanager reads the newest view, as a scrape does: the worker never waits for any of this.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Final

from consumers.telemetry import Telemetry
from consumers.view import View
from service.alerts import Board, Wording
from service.settings import Settings

LOOK_SECONDS: Final = 0.5
"""Pause between two looks at the view."""
TIMEOUT_SECONDS: Final = 5.0
"""How long an Alertmanager may take to answer."""
LONGEST_PAUSE: Final = 60.0
"""Longest pause between two attempts, in seconds."""
MOST: Final = 500
"""Most alerts of one request."""

log: Final = logging.getLogger(__name__)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET that succeeds and delivers nothing, and would take the password along."""

    def redirect_request(self, *unused: object) -> None:
        """None: the redirect is the answer, an error."""


_OPENER: Final = urllib.request.build_opener(_NoRedirects)


class NotTaken(Exception):
    """Alertmanager could not be reached or refused; the message says why."""


class Push:
    """What one Alertmanager is told, and when it is tried again."""

    def __init__(
        self,
        url: str,
        view: Callable[[], View],
        telemetry: Telemetry,
        wording: Wording,
        headers: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._view, self._telemetry = url.rstrip("/"), view, telemetry
        self._board, self._headers, self._clock = Board(wording), dict(headers), clock
        self._failed = 0

    def run(self, stop: threading.Event) -> None:
        """Look and tell until ``stop`` is set. What fires then stays as it was told."""
        while not stop.wait(self.turn()):
            pass

    def turn(self) -> float:
        """One look at the view; the seconds until the next."""
        now = self._clock()
        due = iter(self._board.due(self._view(), now).items())
        try:
            while alerts := dict(islice(due, MOST)):
                self._post(json.dumps(list(alerts.values())).encode())
                self._board.took(alerts, now)
                self._telemetry.count("notifications", by=len(alerts))
        except NotTaken as error:
            self._telemetry.count("notification_failures")
            self._failed += 1
            pause = pause_after(self._failed)
            if self._failed == 1:
                log.warning("%s does not take alerts, trying again with growing pauses: %s", self._url, error)
            return pause * random.uniform(0.8, 1.0)
        if self._failed:
            log.info("%s takes alerts again after %d failed attempts", self._url, self._failed)
            self._failed = 0
        return LOOK_SECONDS

    def _post(self, body: bytes) -> None:
        headers = self._headers | {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}/api/v2/alerts", body, headers, method="POST")
        try:
            with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(500).decode(errors="replace").strip()
            raise NotTaken(f"status {error.code} {reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NotTaken(str(error)) from error


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row.

    >>> [pause_after(failures) for failures in (1, 2, 3, 8)]
    [1.0, 2.0, 4.0, 60.0]
    """
    return min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 16))


@contextmanager
def pushing(settings: Settings, view: Callable[[], View], telemetry: Telemetry) -> Iterator[None]:
    """Push to every Alertmanager of the settings meanwhile; to none if they name none."""
    stop = threading.Event()
    wording = Wording(
        settings.alertmanager_labels,
        settings.external_url.rstrip("/"),
        settings.grafana_url.rstrip("/"),
        settings.runbook_url,
        settings.max_label_length,
    )
    urls = settings.alertmanager_urls.split(",") if settings.alertmanager_urls else []
    pushes = [Push(url, view, telemetry, wording, authorization(settings)) for url in urls]
    # Daemons: one that waits for an answer does not hold up the end of the service.
    threads = [threading.Thread(target=push.run, args=(stop,), name="push", daemon=True) for push in pushes]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(1.0)


def authorization(settings: Settings) -> dict[str, str]:
    """The header that lets us in; empty where none is needed.

    >>> authorization(Settings(alertmanager_user="me", alertmanager_password="pw"))
    {'Authorization': 'Basic bWU6cHc='}
    """
    if settings.alertmanager_token:
        return {"Authorization": f"Bearer {settings.alertmanager_token.get_secret_value()}"}
    if settings.alertmanager_user and settings.alertmanager_password:
        pair = f"{settings.alertmanager_user}:{settings.alertmanager_password.get_secret_value()}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
