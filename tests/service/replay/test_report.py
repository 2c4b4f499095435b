from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from service.replay.engine import Outcome
from service.replay.report import render
from tests.service.replay.sample import HOSTILE, sample_outcomes


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return sample_outcomes()


class Seen(HTMLParser):
    """The tags, their attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_is_loaded_and_no_script_runs(outcomes: list[Outcome]) -> None:
    page = render(outcomes, "1.0")
    seen = Seen(page)
    assert not {tag for tag, _ in seen.tags} & {"script", "img", "link", "iframe", "object", "form"}
    leading = [value for _, attributes in seen.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(value is not None and value.startswith("#") for value in leading)
    assert not re.search(r"url\(|@import|https?:", page)
    assert "default-src 'none'" in page


def test_hostile_names_are_text(outcomes: list[Outcome]) -> None:
    seen = Seen(render(outcomes, "1.0"))
    assert "onerror=alert(1)" in seen.text
    assert not any(name.startswith("on") for _, attributes in seen.tags for name in attributes)
    assert HOSTILE in seen.text


def test_the_worst_run_comes_first(outcomes: list[Outcome]) -> None:
    text = Seen(render(outcomes, "1.0")).text
    assert text.index("ttt-42") < text.index("calm")
    assert "4 runs replayed: 2 critical, 2 nothing found; 1 file unreadable." in text


def test_a_finding_is_marked_where_it_began_and_where_it_was_confirmed(outcomes: list[Outcome]) -> None:
    page = render(outcomes[:1], "1.0")
    entropy = page[page.index('<span class="what">class_entropy_ratio') :]
    entropy = entropy[: entropy.index("</figure>")]
    finding = next(f for f in outcomes[0].runs[0].findings if f.kind == "diversity_collapse")
    assert f"diversity collapse began at step {finding.began}" in entropy
    assert f"diversity collapse confirmed at step {finding.confirmed}" in entropy
    total = page[page.index('<span class="what">total') : page.index('<span class="what">shares')]
    assert "non finite began at step 35" in total


def test_a_finding_in_several_series_names_them_and_is_marked_in_each(outcomes: list[Outcome]) -> None:
    page = render(outcomes[:1], "1.0")
    finding = next(f for f in outcomes[0].runs[0].fired.values() if f.kind == "temporal_anomaly")
    assert finding.also
    assert f"At the same step in {finding.series - 1} more series" in page
    for name in (finding.subject, *(other.subject for other in finding.also)):
        curve = page[page.index(f'<span class="what">{name}</span> <span class="muted">train') :]
        assert f"temporal anomaly began at step {finding.began}" in curve[: curve.index("</figure>")]
    assert re.search(rf"<li>{finding.also[0].subject}: a \w+, [\d.]+ where [\d.]+ was expected", page)


def test_what_was_not_judged_is_told(outcomes: list[Outcome]) -> None:
    text = Seen(render(outcomes[3:4], "1.0")).text
    assert "component conflict" in text
    assert "What was not judged is not known to be healthy." in text


def test_components_have_their_shares(outcomes: list[Outcome]) -> None:
    page = render(outcomes[1:2], "1.0")
    shares = page[page.index("shares of the total") :]
    assert '<li class="c0">c0</li><li class="c1">c1</li>' in shares[: shares.index("</figure>")]
