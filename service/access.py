"""Who may read over HTTP: a bearer token for programs, a cookie for people who gave it once."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.settings import Settings

SHORTEST: Final = 16
"""Characters that a token must have: there is no limit on attempts."""
SIGNED_IN_SECONDS: Final = 7 * 86_400
COOKIE: Final = "losswatch"
LOGIN: Final = "/login"
OPEN: Final = frozenset({"/healthz", "/readyz"})
"""Probes cannot sign in, and these tell nothing about runs."""
LONGEST_FORM: Final = 8192


class AccessUnusable(Exception):
    """The settings do not protect what they seem to; the message says what to change."""


class Token:
    """A secret that is compared in constant time and cannot be printed.

    >>> token = Token("sesame-open-sesame")
    >>> token.matches("sesame-open-sesame"), token.matches("guess")
    (True, False)
    >>> token.admits(token.pass_until(100), now=99), token.admits(token.pass_until(100), now=100)
    (True, False)
    """

    def __init__(self, value: str) -> None:
        self._digest = hashlib.sha256(value.encode()).digest()

    def matches(self, given: str) -> bool:
        """Whether this is the secret."""
        return hmac.compare_digest(self._digest, hashlib.sha256(given.encode(errors="surrogatepass")).digest())

    def pass_until(self, expires: int) -> str:
        """What a browser keeps instead of the secret: it ends at a Unix second, or when the secret changes."""
        return f"{expires}.{hmac.digest(self._digest, b'%d' % expires, 'sha256').hex()}"

    def admits(self, given: str, now: float) -> bool:
        """Whether this is a pass that has not expired."""
        expires = given.partition(".")[0]
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
            return False
        return hmac.compare_digest(self.pass_until(int(expires)).encode(), given.encode()) and now < int(expires)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the page and the API, and what ``/metrics``, ask for."""

    pages: Token
    metrics: Token


def tokens_of(settings: Settings) -> Tokens | None:
    """The tokens of a deployment; nothing where it has none. Raises AccessUnusable."""
    pages = _token("LOSSWATCH_HTTP_TOKEN", settings.http_token, settings.http_token_file)
    metrics = _token("LOSSWATCH_METRICS_TOKEN", settings.metrics_token, settings.metrics_token_file)
    if pages is None:
        if metrics is not None:
            raise AccessUnusable(
                "LOSSWATCH_METRICS_TOKEN is set but LOSSWATCH_HTTP_TOKEN is not: the page and the API would show "
                "everybody what /metrics hides. Set both."
            )
        return None
    return Tokens(pages, metrics or pages)


def _token(name: str, given: SecretStr | None, file: Path | None) -> Token | None:
    if given is not None and file is not None:
        raise AccessUnusable(f"Both {name} and {name}_FILE are set. Unset one of them.")
    if given is None and file is None:
        return None
    try:
        value = given.get_secret_value() if given is not None else file.read_text().strip() if file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise AccessUnusable(f"{name}_FILE cannot be read from {file}: {reason}.") from None
    if len(value) < SHORTEST or not value.isascii() or not value.isprintable() or " " in value:
        raise AccessUnusable(
            f"{name} must have at least {SHORTEST} characters, all of them ASCII and none a space. "
            "`openssl rand -hex 32` makes a good one."
        )
    return Token(value)


class Access:
    """Answers 401 to whoever does not show the token; browsers get a form that takes it.

    ``login_page`` renders the form from the address to go to afterwards and whether a wrong token was given.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens,
        login_page: Callable[[str, bool], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.app = app
        self._tokens = tokens
        self._login_page = login_page
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        request = Request(scope, receive)
        path = scope["path"]
        if path == LOGIN:
            await (await self._login(request))(scope, receive, send)
        elif path in OPEN or path.startswith("/static/") or self._admitted(request):
            await self.app(scope, receive, send)
        else:
            await self._refusal(request)(scope, receive, send)

    def _admitted(self, request: Request) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        bearer = credentials.strip() if scheme.lower() == "bearer" else ""
        if request.scope["path"] == "/metrics":
            return self._tokens.metrics.matches(bearer)
        cookie = request.cookies.get(COOKIE, "")
        return self._tokens.pages.matches(bearer) or self._tokens.pages.admits(cookie, self._clock())

    def _refusal(self, request: Request) -> Response:
        headers = {"WWW-Authenticate": "Bearer"}
        path: str = request.scope["path"]
        if path != "/metrics" and not path.startswith("/api/") and "text/html" in request.headers.get("accept", ""):
            to = quote(path, errors="replace") + (f"?{request.url.query}" if request.url.query else "")
            return self._form(to, wrong=False, headers=headers)
        name = "LOSSWATCH_METRICS_TOKEN" if path == "/metrics" else "LOSSWATCH_HTTP_TOKEN"
        text = f"Send the header `Authorization: Bearer ...` with the token that the service has as {name}."
        return JSONResponse({"error": text}, status_code=401, headers=headers)

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return RedirectResponse("/", status_code=303)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_FORM:
                return PlainTextResponse("This form is too long.", status_code=413)
        form = parse_qs(body.decode(errors="replace"), max_num_fields=10)
        to = local(form.get("to", ["/"])[0])
        if not self._tokens.pages.matches(form.get("token", [""])[0].strip()):
            return self._form(to, wrong=True, headers={"WWW-Authenticate": "Bearer"})
        answer = RedirectResponse(to, status_code=303)
        answer.set_cookie(
            COOKIE,
            self._tokens.pages.pass_until(int(self._clock()) + SIGNED_IN_SECONDS),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def _form(self, to: str, *, wrong: bool, headers: dict[str, str]) -> Response:
        page = self._login_page(to, wrong).encode(errors="replace")
        return Response(page, status_code=401, headers=headers, media_type="text/html")


def local(address: str) -> str:
    r"""An address on this server, or its front page: nobody is sent elsewhere after signing in.

    >>> [local(to) for to in ("/runs/a%2Fb?x=1", "//evil.example", "/\\evil.example", "https://evil.example", "/\n/x")]
    ['/runs/a%2Fb?x=1', '/', '/', '/', '/']
    """
    safe = address.startswith("/") and address[1:2] not in {"/", "\\"} and address.isprintable() and address.isascii()
    return address if safe else "/"
