from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, sync_playwright

from consumers.view import View
from scripts.screenshots import OPTIONS
from service.access import tokens_of
from service.server import Server
from service.settings import Settings
from tests.service.sample_view import sample_view
from tests.service.test_http import web

TOKEN = "browser-0123456789abcdef"


@dataclass
class Site:
    """A served view that a test may exchange, and the pages opened on it."""

    url: str
    view: View
    context: BrowserContext
    problems: list[str] = field(default_factory=list)
    """What any page logged as an error, threw or asked with a dialog."""

    def open(self, path: str = "/") -> Page:
        """A new page, loaded."""
        page = self.context.new_page()
        page.set_default_timeout(5000)
        page.on("console", self._logged)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", self._asked)
        page.goto(self.url + path)
        return page

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def _asked(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog {dialog.message}")
        dialog.dismiss()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium: nothing is downloaded."""
    binary = shutil.which("chromium")
    assert binary, "chromium is missing: scripts/install-system.sh installs it"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=binary, args=OPTIONS)
        yield running
        running.close()


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(browser: Browser) -> Iterator[MakeSite]:
    """``make_site(view, protected=..., color_scheme=..., ready=...)``."""
    opened: list[tuple[Server, BrowserContext]] = []

    def make(view: View | None = None, *, protected: bool = False, ready: bool = True, **options: str) -> Site:
        site = Site("", view or sample_view(), browser.new_context(**options))  # type: ignore[arg-type]  # one test each
        handlers = replace(web(ready=ready), view=lambda: site.view)
        if protected:
            handlers = replace(handlers, tokens=tokens_of(Settings.model_validate({"http_token": TOKEN})))
        server = Server(handlers.application(), "127.0.0.1", 0)
        site.url = server.url
        opened.append((server, site.context))
        return site

    yield make
    for server, context in opened:
        context.close()
        server.close()


@pytest.fixture
def site(make_site: MakeSite) -> Iterator[Site]:
    """The sample fleet; no page of it may have had a problem."""
    made = make_site()
    yield made
    assert made.problems == []
