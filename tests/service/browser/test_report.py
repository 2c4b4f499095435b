"""The report of a replay in a real browser, offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from service.replay.report import render
from tests.service.browser.test_page import contrast
from tests.service.replay.sample import sample_outcomes


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(sample_outcomes(), "1.0"), encoding="utf-8")
    return path


@pytest.fixture
def scheme() -> Literal["light", "dark"]:
    """What the reader prefers."""
    return "light"


@pytest.fixture
def page(browser: Browser, report: Path, scheme: Literal["light", "dark"]) -> Iterator[Page]:
    """The report, opened without a network; nothing may be asked for, thrown or refused."""
    with browser.new_context(offline=True, color_scheme=scheme, viewport={"width": 1100, "height": 800}) as context:
        opened = context.new_page()
        opened.set_default_timeout(5000)
        problems: list[str] = []
        asked: list[str] = []
        opened.on("console", lambda message: problems.append(message.text))
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("dialog", lambda dialog: problems.append(dialog.message))
        opened.on("request", lambda each: asked.append(each.url))
        opened.goto(report.as_uri())
        yield opened
        assert problems == []
        assert set(asked) == {report.as_uri()}


def test_it_opens_offline_and_shows_every_run(page: Page) -> None:
    expect(page).to_have_title("4 runs replayed · losswatch")
    expect(page.locator("section.run:not(#remarks) h2")).to_have_count(4)
    expect(page.get_by_text("4 runs replayed: 2 critical, 2 nothing found; 1 file unreadable.")).to_be_visible()


def test_a_run_is_reached_from_the_list(page: Page) -> None:
    page.get_by_role("link", name="ttt-42").click()
    expect(page.locator("section.run h2", has_text="ttt-42")).to_be_in_viewport()


def test_plots_fill_their_figures_and_show_marks(page: Page) -> None:
    run = page.locator("section.run", has=page.get_by_role("heading", name="ttt-42"))
    figures = run.locator("figure")
    assert figures.count() >= 6
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        frame, drawn = figure.bounding_box(), figure.locator("svg").bounding_box()
        assert frame is not None
        assert drawn is not None
        assert drawn["width"] > 0.85 * frame["width"]
    assert figures.first.locator("path.began.critical").count() == 1
    assert figures.first.locator("path.confirmed.critical").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_both_schemes(page: Page) -> None:
    for selector in (".pill", ".tag", ".marks li", ".axis", ".finding p", ".warmbox p", ".run .muted"):
        page.locator(selector).first.scroll_into_view_if_needed()
        assert contrast(page, selector) >= 4.5, selector


def test_nothing_is_wider_than_a_telephone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
