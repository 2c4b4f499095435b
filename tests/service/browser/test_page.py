"""The status page in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from consumers.view import View
from service.page import run_path
from tests.service.browser.conftest import TOKEN, MakeSite, Site
from tests.service.sample_view import HOSTILE, big_view, finding, run, traces

SCHEMES = ["light", "dark"]


def focused(page: Page, attribute: str = "href") -> str:
    return str(page.evaluate(f"document.activeElement.getAttribute('{attribute}')"))


def contrast(page: Page, selector: str) -> float:
    """WCAG contrast ratio between an element's text and the first opaque background behind it."""
    return float(
        page.evaluate(
            """selector => {
              const pixel = colour => {
                const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
                canvas.fillStyle = colour;
                canvas.fillRect(0, 0, 1, 1);
                return [...canvas.getImageData(0, 0, 1, 1).data];
              };
              const light = colour => pixel(colour).slice(0, 3).map(c => c / 255)
                .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
                .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
              let behind = document.querySelector(selector);
              const text = light(getComputedStyle(behind).color);
              while (pixel(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
              const ground = light(getComputedStyle(behind).backgroundColor);
              return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
            }""",
            selector,
        )
    )


def test_the_fleet_shows_every_run_worst_first(site: Site) -> None:
    page = site.open()
    expect(page).to_have_title("2 firing · losswatch")
    expect(page.locator(".rows > li")).to_have_count(7)
    classes = page.locator(".rows > li").evaluate_all("rows => rows.map(row => row.className)")
    assert classes == ["critical", "critical", "pending", "silent", "warming", "healthy", "finished"]


def test_a_run_shows_its_plots_findings_and_advice(site: Site) -> None:
    page = site.open("/runs/ttt-collapse")
    expect(page.locator("figure")).to_have_count(5)
    boxes = page.locator("figure svg.spark .line").evaluate_all(
        "lines => lines.map(line => line.getBoundingClientRect().width)"
    )
    assert all(width > 100 for width in boxes)
    expect(page.locator(".spark .floor")).to_have_count(1)
    expect(page.get_by_role("heading", name="Class entropy fell below its floor at step 120")).to_be_visible()
    expect(page.get_by_text("Set the weight of diversity to 0.134")).to_be_visible()
    expect(page.get_by_role("table")).to_contain_text("53.6 %")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_can_be_read_in_both_schemes(make_site: MakeSite, scheme: str) -> None:
    site = make_site(color_scheme=scheme)
    fleet = site.open()
    grounds = fleet.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds == {"light": "rgb(247, 248, 250)", "dark": "rgb(13, 15, 19)"}[scheme]
    for selector in (".name", ".job", ".cap", ".when .muted", ".chips a", "h1", ".top nav a", ".foot"):
        assert contrast(fleet, selector) >= 4.5, selector
    levels = fleet.locator(".pill").evaluate_all("pills => [...new Set(pills.map(pill => pill.classList[1]))]")
    assert len(levels) == 6
    for level in levels:
        assert contrast(fleet, f".pill.{level}") >= 4.5, level
    page = site.open("/runs/ttt-collapse")
    for selector in (
        ".tag",
        ".advice",
        ".advice b",
        ".nums dt",
        "figcaption .muted",
        ".axis",
        ".key",
        "summary",
        "thead th",
    ):
        assert contrast(page, selector) >= 4.5, selector
    assert site.problems == []


@pytest.mark.parametrize("width", [360, 800, 1200])
def test_nothing_is_wider_than_the_window(site: Site, width: int) -> None:
    for path in ("/", "/runs/ttt-collapse", run_path(HOSTILE)):
        page = site.open(path)
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_a_thousand_runs_are_paged_and_searched(make_site: MakeSite) -> None:
    site = make_site(big_view(1000, 3))
    page = site.open()
    expect(page.locator(".rows > li")).to_have_count(50)
    expect(page.locator(".pages")).to_contain_text("1 to 50 of 1,000")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".pages")).to_contain_text("51 to 100 of 1,000")
    page.get_by_role("searchbox").fill("run-0099")
    expect(page.locator(".rows > li")).to_have_count(10)
    assert page.url.endswith("/?search=run-0099")
    page.get_by_role("searchbox").fill("no such run")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    assert site.problems == []


ATTACKS = [
    HOSTILE,
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "\u202emoc.live",
    "<!--",
]


def test_hostile_names_are_shown_as_they_are_and_run_no_script(make_site: MakeSite) -> None:
    bad = {name: run(name, job=name, labels={name: name}, declared={name: name}, warming=(name,)) for name in ATTACKS}
    told = {
        name: [finding(name, name, "critical", "firing", 1, 1, 1.0, 2.0, name, name, name, {name: 1.0})]
        for name in ATTACKS
    }
    series = {
        name: traces(name, {(name, "component", name): big_view(1, 1).traces["run-00000"][0].values}, 9)
        for name in ATTACKS
    }
    site = make_site(View(runs=bad, findings=told, traces=series))
    page = site.open()
    assert sorted(page.locator(".name").all_text_contents()) == sorted(ATTACKS)
    for name in ATTACKS:
        page = site.open(run_path(name))
        assert page.locator("h1").text_content() == name
        page.wait_for_timeout(50)
        assert page.locator("script").count() == 1
        assert page.locator("img").count() == 0
    page = site.open('/?search="><script>alert(1)</script>')
    assert page.locator("script").count() == 1
    assert site.problems == []


def test_the_policy_stops_a_script_that_got_in_all_the_same(site: Site) -> None:
    page = site.open()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.owned = 1\">')")
    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.body.append(s)"
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.owned") is None
    assert any("Content Security Policy" in text for text in site.problems)
    site.problems.clear()


def test_everything_can_be_done_with_the_keyboard(site: Site) -> None:
    page = site.open()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    assert page.locator(":focus").bounding_box()["x"] >= 0  # type: ignore[index]  # it is on the page
    page.keyboard.press("Enter")
    seen = []
    for _ in range(9):
        page.keyboard.press("Tab")
        seen.append(focused(page) if focused(page, "id") != "search" else "search")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"the focus on {seen[-1]} is not visible"
    assert seen[0] == "search"
    assert seen[1] == "/?"
    page.keyboard.press("/")
    assert focused(page, "id") == "search"
    page.keyboard.type("collapse")
    expect(page.locator(".rows > li")).to_have_count(1)
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page) == "/runs/ttt-collapse":
            break
    page.keyboard.press("Enter")
    expect(page).to_have_title("ttt-collapse · Critical · losswatch")
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("collapse")
    expect(page.locator(".rows > li")).to_have_count(1)


def test_evidence_opens_with_the_keyboard_and_stays_open(site: Site) -> None:
    page = site.open("/runs/ttt-collapse")
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    page.evaluate("refresh()")
    expect(page.locator("details").first).to_have_attribute("open", "")
    assert page.evaluate("document.activeElement.nodeName") == "SUMMARY"


def test_a_refresh_keeps_scroll_focus_and_what_is_typed(make_site: MakeSite) -> None:
    site = make_site(big_view(200, 1))
    page = site.open()
    page.evaluate("window.scrollTo(0, 900)")
    page.locator(".row").nth(15).focus()
    at, href = page.evaluate("scrollY"), focused(page)
    site.view = replace(site.view, runs={**site.view.runs, "run-00000": run("run-00000", steps={"train": 777_777})})
    expect(page.get_by_text("777,777")).to_be_attached()
    assert page.evaluate("scrollY") == at
    assert focused(page) == href
    page.get_by_role("searchbox").fill("run-001")
    expect(page.locator(".rows > li")).to_have_count(50)
    page.evaluate("refresh()")
    expect(page.get_by_role("searchbox")).to_have_value("run-001")
    assert focused(page, "id") == "search"


def test_the_focus_stays_on_its_run_when_the_order_changes(make_site: MakeSite) -> None:
    site = make_site(big_view(20, 1))
    page = site.open()
    page.locator('a[href="/runs/run-00010"]').focus()
    bad = finding("run-00015", "non_finite", "critical", "firing", 3, 3, 1.0, None, "It is NaN.")
    site.view = replace(site.view, findings={"run-00015": [bad]})
    expect(page.locator(".rows > li").first).to_have_class("critical")
    assert focused(page) == "/runs/run-00010"


def test_warming_up_does_not_look_like_healthy(site: Site) -> None:
    page = site.open()
    warming, healthy = page.locator("li.warming"), page.locator("li.healthy")
    expect(warming).to_contain_text("Not judged yet")
    expect(healthy).to_contain_text("Nothing found in 150 steps")
    styles = [
        row.locator(".pill").evaluate(
            "pill => [getComputedStyle(pill).color, getComputedStyle(pill.firstChild).borderStyle]"
        )
        for row in (warming, healthy)
    ]
    assert styles[0][0] != styles[1][0]
    assert styles[0][1] != styles[1][1]
    page = site.open(run_path("resnet/seed=3"))
    expect(page.get_by_text("That is not the same as healthy.")).to_be_visible()


def test_an_outage_is_said_and_ends(make_site: MakeSite) -> None:
    site = make_site()
    page = site.open()
    page.context.set_offline(True)
    expect(page.locator("#live")).to_have_text("no answer, trying again")
    page.context.set_offline(False)
    expect(page.locator("#live")).to_have_text("live")


def test_a_service_that_is_not_ready_says_so(make_site: MakeSite) -> None:
    page = make_site(ready=False).open()
    expect(page.get_by_text("Not ready yet: waiting for Kafka")).to_be_visible()


def test_a_protected_page_is_opened_with_its_token(make_site: MakeSite) -> None:
    site = make_site(protected=True)
    page = site.open("/runs/ttt-collapse")
    expect(page.get_by_text("collapse")).to_have_count(0)
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    expect(page).to_have_title("ttt-collapse · Critical · losswatch")
    assert page.evaluate("document.cookie") == ""
    page.wait_for_load_state()
    page.evaluate("refresh()")
    expect(page.locator("#live")).to_have_text("live")
    page.context.clear_cookies()
    expect(page.get_by_label("Token")).to_be_visible()


def test_a_link_from_elsewhere_opens_for_whoever_is_signed_in(make_site: MakeSite) -> None:
    """The cookie is SameSite=Strict: the first request of such a link comes without it."""
    site, elsewhere = make_site(protected=True), make_site()
    page = site.open()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".rows")).to_be_visible()
    other = site.context.new_page()
    other.goto(elsewhere.url.replace("127.0.0.1", "localhost"))
    other.evaluate(f"location.href = '{site.url}/runs/ttt-collapse'")
    expect(other).to_have_title("ttt-collapse · Critical · losswatch")
