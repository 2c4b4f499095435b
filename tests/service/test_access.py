from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.access import SIGNED_IN_SECONDS, AccessUnusable, Tokens, tokens_of
from service.settings import Settings
from tests.service.sample_view import NOW
from tests.service.test_http import web

PAGES = "pages-0123456789abcdef"
METRICS = "metrics-0123456789abcdef"
HTML = {"Accept": "text/html,*/*"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def tokens(**settings: Any) -> Tokens:
    made = tokens_of(Settings(**settings))
    assert made is not None
    return made


def client(now: float = NOW, base: str = "http://testserver", **settings: Any) -> TestClient:
    settings = settings or {"http_token": PAGES, "metrics_token": METRICS}
    application = replace(web(), tokens=tokens(**settings), clock=lambda: now).application()
    return TestClient(application, base_url=base, follow_redirects=False)


PROTECTED = ["/", "/runs/ttt-collapse", "/api/runs", "/api/runs/ttt-collapse", "/api/findings", "/nothing", "/metrics/"]


@pytest.mark.parametrize("path", [*PROTECTED, "/metrics"])
def test_without_the_token_nothing_about_runs_is_told(path: str) -> None:
    for headers in ({}, HTML, bearer("wrong"), {"Authorization": f"Basic {PAGES}"}, {"Cookie": f"losswatch={PAGES}"}):
        answer = client().get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "collapse" not in answer.text.replace(path, "")


@pytest.mark.parametrize("path", PROTECTED)
def test_the_token_of_the_page_opens_page_and_api_and_not_the_metrics(path: str) -> None:
    assert client().get(path, headers=bearer(PAGES)).status_code in {200, 307, 404}
    assert client().get(path, headers=bearer(METRICS)).status_code == 401
    assert client().get("/metrics", headers=bearer(PAGES)).status_code == 401
    assert client().get("/metrics", headers=bearer(METRICS)).status_code == 200


def test_without_a_token_of_their_own_the_metrics_take_that_of_the_page() -> None:
    assert client(http_token=PAGES).get("/metrics").status_code == 401
    assert client(http_token=PAGES).get("/metrics", headers=bearer(PAGES)).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/static/page.css"])
def test_probes_and_static_files_stay_open(path: str) -> None:
    assert client().get(path).status_code == 200


def test_the_static_files_lead_nowhere_else() -> None:
    for path in ("/static/../api/runs", "/static/%2e%2e/api/runs", "/static//api/runs", "/static/../../http.py"):
        assert client().get(path).status_code in {401, 404}


def test_a_refusal_says_which_header_is_wanted() -> None:
    assert client().get("/api/runs").json() == {
        "error": "Send the header `Authorization: Bearer ...` with the token that the service has as "
        "LOSSWATCH_HTTP_TOKEN."
    }
    assert "LOSSWATCH_METRICS_TOKEN" in client().get("/metrics").json()["error"]


def signed_in(browser: TestClient, to: str = "/", token: str = PAGES) -> Any:
    return browser.post("/login", data={"to": to, "token": token}, headers=HTML)


def test_a_person_signs_in_with_a_form_and_comes_back_to_the_page_asked_for() -> None:
    browser = client()
    form = browser.get("/runs/a%2Fb?x=1", headers=HTML)
    assert form.status_code == 401
    assert 'value="/runs/a/b?x=1"' in form.text
    answer = signed_in(browser, "/runs/ttt-collapse")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs/ttt-collapse")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert PAGES not in cookie
    assert browser.get("/runs/ttt-collapse", headers=HTML).status_code == 200
    assert browser.get("/api/runs").status_code == 200
    assert browser.get("/metrics").status_code == 401


def test_over_https_the_cookie_is_never_sent_in_the_clear() -> None:
    assert "Secure" in signed_in(client(base="https://testserver")).headers["set-cookie"]
    assert "Secure" not in signed_in(client()).headers["set-cookie"]


def test_a_wrong_token_gets_the_form_again_and_no_cookie() -> None:
    answer = signed_in(client(), token="guess")
    assert answer.status_code == 401
    assert "That is not the token." in answer.text
    assert "set-cookie" not in answer.headers


def test_a_pass_ends_with_its_time_and_with_the_token() -> None:
    cookie = signed_in(client()).cookies["losswatch"]

    def status(now: float, token: str = PAGES) -> int:
        browser = client(now, http_token=token)
        browser.cookies.set("losswatch", cookie)
        return browser.get("/").status_code

    assert status(NOW + SIGNED_IN_SECONDS - 2) == 200
    assert status(NOW + SIGNED_IN_SECONDS) == 401
    assert status(NOW, token="another-0123456789") == 401


@pytest.mark.parametrize("forged", ["", ".", "9" * 12, f"{'9' * 12}.{'0' * 64}", f"{'9' * 5000}.x", "²³.x", "é.é"])
def test_a_pass_cannot_be_made_up(forged: str) -> None:
    headers = {b"Cookie": f"losswatch={forged}".encode("latin-1", errors="replace")}
    assert client().get("/", headers=headers).status_code == 401


def test_nobody_is_sent_to_another_site_after_signing_in() -> None:
    for to in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: a=b",
    ):
        assert signed_in(client(), to).headers["location"] == "/"


def test_a_form_without_end_is_refused() -> None:
    assert client().post("/login", content=b"token=" + b"x" * 100_000).status_code == 413
    assert client().get("/login").status_code == 303


def test_a_hostile_address_is_escaped_in_the_form() -> None:
    page = client().get('/runs/"><script>alert(1)</script>?"><script>', headers=HTML).text
    assert page.count("<script") == 1


def test_tokens_can_be_read_from_files(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{PAGES}\n")
    assert tokens(http_token_file=file).pages.matches(PAGES)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"metrics_token": METRICS}, "LOSSWATCH_HTTP_TOKEN is not"),
        ({"http_token": ""}, "at least 16 characters"),
        ({"http_token": "short"}, "openssl rand"),
        ({"http_token": "sesame, open sesame"}, "none a space"),
        ({"http_token": PAGES, "metrics_token": "ünprintable-0123456"}, "LOSSWATCH_METRICS_TOKEN must"),
        ({"http_token": PAGES, "http_token_file": Path("x")}, "Unset one of them"),
        ({"http_token_file": Path("/nonexistent")}, "LOSSWATCH_HTTP_TOKEN_FILE cannot be read"),
    ],
)
def test_settings_that_would_protect_nothing_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AccessUnusable, match=complaint) as refused:
        tokens_of(Settings(**settings))
    assert not any(value in str(refused.value) for value in settings.values() if isinstance(value, str) and value)
