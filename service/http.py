"""What is served over HTTP: metrics, health, the JSON API and the status page. All of it only reads."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumers.telemetry import Telemetry
from consumers.view import View
from service import api
from service.access import Access, Tokens
from service.metrics import STATES, STATUSES, Exposition
from service.page import Pages
from service.page.words import LEVELS, state_of

MOST: Final = 1000
"""Most entries of one answer of the API."""
STATIC: Final = Path(__file__).parent / "page" / "static"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Json(JSONResponse):
    """JSON in which NaN is null."""

    def render(self, content: Any) -> bytes:
        """UTF-8, unescaped but for lone surrogates, which UTF-8 cannot hold."""
        return json.dumps(api.plain(content), ensure_ascii=False, allow_nan=False).encode(errors="replace")


@dataclass(frozen=True, slots=True)
class Web:
    """The handlers. ``view`` gives the newest view."""

    view: Callable[[], View]
    telemetry: Telemetry
    exposition: Exposition
    pages: Pages
    heartbeat_limit: float = 30.0
    """Age of the worker's heartbeat, in seconds, from which on ``/healthz`` fails."""
    tokens: Tokens | None = None
    """What is asked for; nothing: everybody who can reach it may read."""
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def application(self) -> Starlette:
        """The ASGI application."""
        routes: list[BaseRoute] = [
            Route("/", self.fleet_page),
            RunRoute("/runs/{run:path}", self.run_page),
            Route("/metrics", self.metrics),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/api/runs", self.runs),
            RunRoute("/api/runs/{run:path}", self.run),
            Route("/api/findings", self.findings),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        middleware = [Middleware(Headers)]
        if self.tokens is not None:
            middleware.append(Middleware(Access, self.tokens, self.pages.login, self.clock))
        middleware.append(Middleware(GZipMiddleware, minimum_size=4096, compresslevel=1))
        handlers = {HTTPException: self._refused, Exception: self._failed}
        return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)

    def beat(self) -> float:
        """Age of the worker's heartbeat in seconds; 0 before the first one."""
        return self.monotonic() - self.telemetry.heartbeat if self.telemetry.heartbeat else 0.0

    def metrics(self, request: Request) -> Response:
        """The exposition, as text or OpenMetrics."""
        content, media_type = self.exposition.render(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": media_type, "Vary": "Accept"})

    def healthz(self, request: Request) -> Response:
        """200 while the worker turns over: what an orchestrator restarts the service by."""
        del request
        age = self.beat()
        if age > self.heartbeat_limit:
            reason = f"the worker has not turned over for {age:.0f} s (limit {self.heartbeat_limit:g} s)"
            return Json({"healthy": False, "reason": reason}, status_code=503)
        return Json({"healthy": True, "heartbeat_age_seconds": round(age, 3)})

    def readyz(self, request: Request) -> Response:
        """200 once partitions are assigned and their runs restored."""
        del request
        ready = self.telemetry.ready
        return Json({"ready": ready, "status": self.telemetry.status}, status_code=200 if ready else 503)

    def runs(self, request: Request) -> Response:
        """Runs, worst first."""
        status = _choice(request, "status", STATUSES)
        level = _choice(request, "state", LEVELS)
        view, now = self.view(), self.clock()
        found = [
            (state, run, findings)
            for name, run in view.runs.items()
            if status in (None, run.status)
            for findings in [view.findings.get(name, ())]
            for state in [state_of(run, findings, now)]
            if level in (None, state.level)
        ]
        found.sort(key=lambda entry: (entry[0].rank, -entry[1].started, entry[1].run))
        return _page(request, "runs", found, lambda entry: api.summary(entry[1], entry[0], entry[2]))

    def run(self, request: Request) -> Response:
        """All that is known of one run."""
        name, view = request.path_params["run"], self.view()
        run = view.runs.get(name)
        if run is None:
            raise HTTPException(404, f"No run named {name!r} is being watched. GET /api/runs lists those that are.")
        return Json(api.detail(run, state_of(run, view.findings.get(name, ()), self.clock()), view))

    def findings(self, request: Request) -> Response:
        """The newest state of every finding, newest change first."""
        state = _choice(request, "state", tuple(STATES))
        severity = _choice(request, "severity", ("info", "warning", "critical"))
        run, view = request.query_params.get("run"), self.view()
        lists: Iterable[Sequence[Any]] = view.findings.values() if run is None else [view.findings.get(run, ())]
        found = [
            finding
            for findings in lists
            for finding in findings
            if state in (None, finding.state) and severity in (None, finding.severity)
        ]
        found.sort(key=lambda finding: (-finding.time, finding.id))
        return _page(request, "findings", found, api.finding)

    def fleet_page(self, request: Request) -> Response:
        """The list of runs."""
        query = request.query_params
        level = query.get("state", "")
        page = query.get("page", "1")
        content = self.pages.fleet(
            self.view(),
            self.telemetry,
            self.clock(),
            self.beat(),
            search=query.get("search", ""),
            level=level if level in LEVELS else "",
            page=int(page) if page.isascii() and page.isdecimal() and len(page) < 10 else 1,
            part="part" in query,
        )
        return Html(content)

    def run_page(self, request: Request) -> Response:
        """Everything about one run."""
        name, view, part = request.path_params["run"], self.view(), "part" in request.query_params
        run = view.runs.get(name)
        now, beat = self.clock(), self.beat()
        if run is None:
            text = f"No run named “{name}” is being watched. Finished and idle runs are dropped after a while."
            page = self.pages.missing("Run not found", text, self.telemetry, now, beat, part=part)
            return Html(page, status_code=404)
        return Html(self.pages.run(view, run, self.telemetry, now, beat, part=part))

    def _refused(self, request: Request, error: Exception) -> Response:
        """Errors that the caller can do something about."""
        assert isinstance(error, HTTPException)
        text = error.detail
        if text == "Not Found":
            text = "There is nothing at this address. Try /, /metrics, /healthz, /readyz, /api/runs or /api/findings."
        elif text == "Method Not Allowed":
            text = "This service only answers GET and HEAD."
        if not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", ""):
            page = self.pages.missing("Not found", text, self.telemetry, self.clock(), self.beat(), part=False)
            return Html(page, status_code=error.status_code, headers=error.headers)
        return Json({"error": text}, status_code=error.status_code, headers=error.headers)

    def _failed(self, request: Request, error: Exception) -> Response:
        """A fault of ours; starlette logs the traceback by raising it again."""
        del request, error
        return Json({"error": "This is a fault of losswatch; its log has the details."}, status_code=500)


class Html(HTMLResponse):
    """HTML that survives lone surrogates, which UTF-8 cannot hold."""

    def render(self, content: Any) -> bytes:
        """UTF-8."""
        return str(content).encode(errors="replace")


class RunRoute(Route):
    """A route whose parameter may hold any character, line ends included."""

    def __init__(self, path: str, endpoint: Callable[..., Any]) -> None:
        super().__init__(path, endpoint)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)


class Headers:
    """Adds the security headers to every answer; nothing but the static files may be cached."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                static = scope["path"].startswith("/static/")
                headers["Cache-Control"] = "no-cache" if static else "no-store"
            await send(message)

        await self.app(scope, receive, with_headers)


def _choice(request: Request, name: str, allowed: Sequence[str]) -> str | None:
    value = request.query_params.get(name)
    if value is not None and value not in allowed:
        raise HTTPException(400, f"{name} must be one of {', '.join(allowed)}.")
    return value


def _whole(request: Request, name: str, default: int, low: int, high: int) -> int:
    value = request.query_params.get(name, str(default))
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and low <= int(value) <= high):
        raise HTTPException(400, f"{name} must be a whole number from {low} to {high}.")
    return int(value)


def _page(request: Request, name: str, found: Sequence[Any], shape: Callable[[Any], Any]) -> Response:
    limit = _whole(request, "limit", 100, 1, MOST)
    offset = _whole(request, "offset", 0, 0, 999_999_999)
    shown = [shape(one) for one in found[offset : offset + limit]]
    return Json({name: shown, "total": len(found), "limit": limit, "offset": offset})
