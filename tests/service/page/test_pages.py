from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from consumers.telemetry import Telemetry
from consumers.view import Table, Trace, View
from losswatch.schema import Alike
from service.page import Pages, classes, coverage
from service.page.slices import TABLES
from tests.service.sample_view import HOSTILE, NOW, THRESHOLDS, big_view, finding, run, sample_view


class Tags(HTMLParser):
    """Collects the tags, checking that they are closed in order."""

    VOID = frozenset({"meta", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def telemetry(ready: bool = True) -> Telemetry:
    made = Telemetry()
    made.ready, made.status = ready, "waiting for Kafka at kafka:9092"
    return made


def fleet(view: View, ready: bool = True, beat: float = 0.5, **query: str | int) -> str:
    pages = Pages(THRESHOLDS, "kafka:9092", "1.2.3")
    given = {"search": "", "level": "", "page": 1, "part": False} | query
    return pages.fleet(view, telemetry(ready), NOW, beat, **given)  # type: ignore[arg-type]  # chosen by each test


def run_page(view: View, name: str, part: bool = False) -> str:
    return Pages(THRESHOLDS, "kafka:9092", "1").run(view, view.runs[name], telemetry(), NOW, 0.5, part=part)


@pytest.mark.parametrize("name", list(sample_view().runs))
def test_a_run_page_is_well_formed_and_escapes_names(name: str) -> None:
    page = run_page(sample_view(), name)
    assert [tag.get("src") for tag in Tags(page).all("script")] == ["/static/page.js"]
    assert "<img" not in page


def test_the_list_is_well_formed_and_escapes_names() -> None:
    tags = Tags(fleet(sample_view()))
    assert [tag.get("src") for tag in tags.all("script")] == ["/static/page.js"]
    assert len([tag for tag in tags.all("a") if tag.get("class") == "row"]) == 7


def test_a_search_is_escaped() -> None:
    page = fleet(sample_view(), search='"><script>alert(1)</script>')
    assert len(Tags(page).all("script")) == 1
    assert "Nothing matches" in page


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    for page in (fleet(sample_view()), run_page(sample_view(), "ttt-collapse"), fleet(View())):
        for tag, attributes in Tags(page).tags:
            assert not any(name.startswith("on") or name == "style" for name in attributes), tag
            assert not any((attributes.get(name) or "").startswith("http") for name in ("src", "href"))


def test_a_collapsing_run_is_told_in_words_with_its_advice() -> None:
    page = run_page(sample_view(), "ttt-collapse")
    assert "Class entropy fell below its floor at step 120, confirmed at 124 (and 1 more)" in page
    assert "Set the weight of diversity to 0.134." in page
    assert "diversity rises while the total falls, since step 38" in page
    assert "floor 0.85" in page
    assert "53.6 %" in page


def test_a_finding_in_several_series_names_them_all() -> None:
    view = sample_view()
    readings = {"value": 3.0, "anomaly_expected": 1.0, "anomaly_low": 0.9, "anomaly_high": 1.1, "anomaly_score": 0.6}
    other = Alike(subject=HOSTILE, value=1e6, evidence=readings | {"anomaly_change": 2.0})
    of = view.findings["ttt-collapse"][0]
    found = of.model_copy(
        update={"kind": "temporal_anomaly", "subject": "total", "evidence": readings, "also": [other], "series": 3}
    )
    page = run_page(replace(view, findings={"ttt-collapse": [found]}), "ttt-collapse")
    assert "Unusual values of total and 2 more series at step" in page
    assert "At the same step in 2 more series" in page
    assert "a level shift, 3 where 1 was expected (usual 0.9 to 1.1), score 0.6</li><li>and 1 more</li>" in page
    assert HOSTILE not in page


def with_slices(name: str, checkpoints: Mapping[int, str], slices: Mapping[str, tuple[float, ...]]) -> View:
    """A run with (best, its step, the step of the whole, cost) of slices' metrics."""
    keys = [(name, "val", key) for key in slices]
    columns = np.array(list(slices.values())).T
    tables = [Table(of, "", ("phase", "series"), keys, column) for of, column in zip(TABLES, columns, strict=True)]
    return View(runs={name: run(name, checkpoints=checkpoints)}, tables=tables)


def test_the_best_checkpoint_of_each_slice_is_told_the_costliest_first() -> None:
    slices = {"exp-1/error": (1e-4, 90.0, 90.0, 0.0), "exp-7/error": (2.1e-4, 40.0, 90.0, 0.81)}
    page = run_page(with_slices("case-d", {40: "epoch-40.pt", 90: "final.pt"}, slices), "case-d")
    cells = [" ".join(row.split()) for row in re.findall(r"<tr>(<th scope=.row.*?)</tr>", page, re.DOTALL)]
    assert [re.sub("<[^>]+>", "|", row) for row in cells] == [
        "|exp-7/error||val||0.00021||epoch-40.pt (step 40)||final.pt (step 90)||81 %|",
        "|exp-1/error||val||0.0001||final.pt (step 90)||final.pt (step 90)||nothing|",
    ]
    assert "Slice best" not in page


def test_a_slice_whose_best_is_at_no_checkpoint_is_told_by_its_step() -> None:
    page = run_page(with_slices("case-d", {40: "epoch-40.pt"}, {"exp-7/error": (1.0, 41.0, np.nan, np.nan)}), "case-d")
    assert "step 41" in page
    assert "epoch-40.pt" not in page


def test_names_of_slices_and_checkpoints_are_escaped() -> None:
    page = run_page(with_slices(HOSTILE, {1: HOSTILE}, {f"{HOSTILE}/{HOSTILE}": (1.0, 1.0, 1.0, np.inf)}), HOSTILE)
    assert len(Tags(page).all("script")) == 1


def test_classes_are_told_the_worst_first_and_those_of_no_sample_are_not() -> None:
    shares = {
        "dog": (0.5, 0.6, 0.7, 0.84, 0.7636),
        HOSTILE: (0.004, 0.0, 0.0, 0.0, 0.0),
        "cat": (0.0, 0.0, np.nan, np.nan, np.nan),
    }
    keys, columns = [("r", "val", name) for name in shares], np.array(list(shares.values())).T
    tables = [
        Table(of, "", ("phase", "class"), keys, values) for of, values in zip(classes.TABLES, columns, strict=True)
    ]
    page = run_page(View(runs={"r": run("r")}, tables=tables), "r")
    assert "How each class fares" in page
    rows = re.findall(r"<tr>(<th scope=.row.*?)</tr>", page, re.DOTALL)
    cells = [re.sub("<[^>]+>", "|", " ".join(row.split())).split("||", 1)[1] for row in rows]
    assert cells == ["val||0.4 %||0 %||0 %||0 %||0 %|", "val||50 %||60 %||70 %||84 %||76 %|"]
    assert "cat" not in page
    assert len(Tags(page).all("script")) == 1
    assert "Class recall" not in page


def test_coverage_is_told_by_slice_and_readings_of_the_whole_name_none() -> None:
    names = (*coverage.TABLES, "coverage_error_far_ratio")
    keys = [("r", "val", ""), ("r", "val", HOSTILE)]
    tables = [Table(of, "", ("phase", "slice"), keys, np.array([0.4, 2.0])) for of in names]
    page = run_page(View(runs={"r": run("r")}, tables=tables), "r")
    rows = re.findall(r"<tr>(<th scope=.row.*?)</tr>", page, re.DOTALL)
    cells = [re.sub("<[^>]+>", "|", " ".join(row.split())) for row in rows]
    assert cells[0] == "|all samples||val||well||0.4||40 %||0.4||0.4|"
    assert "||sparsely||2||200 %||2||2|" in cells[1]
    assert "Coverage error far <" in page
    assert len(Tags(page).all("script")) == 1


def test_the_floor_of_the_class_entropy_is_that_of_its_phase() -> None:
    named = (("class_entropy_ratio", 0.5), ("class_entropy_bound_ratio", 0.4))
    tables = [Table(of, "", ("phase",), [("r", "val")], np.array([value])) for of, value in named]
    series = [Trace("r", phase, "reading", named[0][0], np.arange(9.0), np.full(9, 0.5)) for phase in ("val", "test")]
    page = run_page(View(runs={"r": run("r")}, tables=tables, traces={"r": series}), "r")
    assert re.findall("floor ([0-9.]+)", page) == ["0.85", "0.4"]


def test_the_newest_value_of_a_chart_is_that_of_its_own_reading() -> None:
    now = {"class_entropy_ratio": 0.9, "embedding_cosine_ratio": 0.1}
    tables = [Table(of, "", ("phase",), [("r", "val")], np.array([value])) for of, value in now.items()]
    found = finding("r", "representation_collapse", "critical", "firing", 3, 8, 0.1, 0.95, "It is.", phase="val")
    series = [Trace("r", "val", "reading", of, np.arange(9.0), np.full(9, 0.5)) for of in now]
    view = View(runs={"r": run("r")}, tables=tables, traces={"r": series}, findings={"r": [found]})
    captions = re.findall(r"<figcaption>.*?</figure>", run_page(view, "r"), re.DOTALL)
    assert [re.findall("<b>(.*?)</b>", each) for each in captions] == [["0.9"], ["0.1"]]
    assert ["mean cosine of embeddings" in each for each in captions] == [False, True]
    assert ['class="mark"' in each for each in captions] == [False, True]


def test_a_run_without_classes_has_no_table_of_them() -> None:
    assert "How each class fares" not in run_page(View(runs={"r": run("r")}), "r")


def test_a_reading_of_a_series_says_which() -> None:
    table = Table("spike_rise_ratio", "", ("phase", "series"), [("r", "train", "loss")], np.array([0.5]))
    assert "Spike rise of loss" in run_page(View(runs={"r": run("r")}, tables=[table]), "r")


def test_warming_up_does_not_look_healthy() -> None:
    page = run_page(sample_view(), "resnet/seed=3")
    assert "Not judged yet: component conflict (train); diversity decline (test)" in page
    assert 'class="pill warming"' in page
    assert 'class="pill healthy"' not in page


def test_an_empty_fleet_shows_how_to_attach_a_job() -> None:
    page = fleet(View())
    assert "run = losswatch.start(run=&#34;my-run&#34;, bootstrap_servers=&#34;kafka:9092&#34;)" in page.replace(
        '"', "&#34;"
    )


def test_a_service_that_is_not_ready_says_so() -> None:
    assert "waiting for Kafka at kafka:9092" in fleet(View(), ready=False)
    assert "waiting for Kafka" not in fleet(View())


def test_a_worker_that_stands_still_says_so() -> None:
    assert "The worker stands still" in fleet(sample_view(), beat=61)
    assert "The worker stands still" not in fleet(sample_view(), beat=29)


def test_the_list_is_filtered_searched_and_paged() -> None:
    rows = Tags(fleet(sample_view(), level="warming")).all("a")
    assert [tag["href"] for tag in rows if tag.get("class") == "row"] == ["/runs/resnet%2Fseed%3D3"]
    many = big_view(120, 1)
    assert "51 to 100 of 120" in fleet(many, page=2)
    assert "101 to 120 of 120" in fleet(many, page=99)
    assert "1 to 11" not in fleet(many, search="run-0000")
    assert "run-00011" not in fleet(many, search="RUN-0000")


def test_a_part_is_the_content_without_the_frame() -> None:
    for page in (fleet(sample_view(), part=True), run_page(sample_view(), "ttt-healthy", part=True)):
        assert "<!doctype" not in page
        assert "<h1>" in page
        Tags(page)


def test_a_finding_that_outlives_its_run_is_still_the_first_thing_told() -> None:
    view = sample_view()
    ended = replace(view.runs["ttt-collapse"], status="finished")
    page = run_page(replace(view, runs={"ttt-collapse": ended}), "ttt-collapse")
    assert 'class="pill critical"' in page


def test_a_link_leads_to_any_run() -> None:
    hrefs = [tag.get("href") for tag in Tags(fleet(View(runs={HOSTILE: run(HOSTILE)}))).all("a")]
    assert any(href and href.startswith("/runs/%3C%2Ftitle%3E%3Cscript") for href in hrefs)
