"""CORS: who is allowed, what a preflight says, and what is never said."""

from __future__ import annotations

import pytest

from alyx.http.settings import Cors
from tests.asgi import Answer, Client
from tests.http.conftest import make_edge

APP = "https://app.example.com"


def client(**cors: object) -> Client:
    return Client(make_edge(cors=Cors(**cors)))  # type: ignore[arg-type]  # settings by name


def preflight(of: Client, origin: str, method: str = "PATCH", headers: str = "authorization") -> Answer:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return of.request("OPTIONS", "/api/collections/posts/1", headers=asked)


def test_an_allowed_origin_is_named_in_every_answer_errors_included() -> None:
    for path in ("/whoami", "/nowhere", "/fail"):
        headers = client(allowed_origins=(APP,)).get(path, headers={"Origin": APP}).headers
        assert headers["access-control-allow-origin"] == APP
        assert headers["vary"] == "Origin"
        assert "ETag" in headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "null",
        "",
        "https://xapp.example.com",
    ],
)
def test_another_origin_gets_no_permission(origin: str) -> None:
    answer = client(allowed_origins=(APP,)).get("/whoami", headers={"Origin": origin})
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_without_a_setting_nobody_is_allowed_and_a_preflight_is_still_204() -> None:
    answer = preflight(client(), APP)
    assert answer.status == 204
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_preflight_is_204_and_says_what_may_be_sent() -> None:
    answer = preflight(client(allowed_origins=(APP,), max_age=60), APP)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == APP
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "idempotency-key" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-max-age"] == "60"


def test_a_preflight_needs_no_token_and_no_route() -> None:
    of = client(allowed_origins=(APP,))
    asked = {"Origin": APP, "Access-Control-Request-Method": "GET", "Authorization": "Bearer bad"}
    assert of.request("OPTIONS", "/nowhere", headers=asked).status == 204


def test_a_star_allows_everybody_without_credentials() -> None:
    headers = client(allowed_origins=("*",)).get("/whoami", headers={"Origin": "https://any.example"}).headers
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers


def test_credentials_are_allowed_where_they_are_set() -> None:
    of = client(allowed_origins=(APP,), allow_credentials=True)
    assert of.get("/whoami", headers={"Origin": APP}).headers["access-control-allow-credentials"] == "true"
    assert preflight(of, APP).headers["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize("origin", ["https://a.example.com", "https://a.b.example.com"])
def test_a_wildcard_takes_subdomains(origin: str) -> None:
    of = client(allowed_origins=("https://*.example.com",))
    assert of.get("/whoami", headers={"Origin": origin}).headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin", ["https://example.com", "https://evil.com/.example.com", "https://a.example.com:1", "https://.example.com"]
)
def test_a_wildcard_takes_nothing_else(origin: str) -> None:
    of = client(allowed_origins=("https://*.example.com",))
    assert "access-control-allow-origin" not in of.get("/whoami", headers={"Origin": origin}).headers


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:80", "https://localhost"])
def test_dev_allows_localhost(origin: str) -> None:
    assert "access-control-allow-origin" in client(localhost=True).get("/whoami", headers={"Origin": origin}).headers


@pytest.mark.parametrize(
    "origin", ["http://localhost.evil.example", "http://localhost:3000.evil.example", "http://127.0.0.1.nip.io"]
)
def test_dev_allows_nothing_that_only_looks_like_localhost(origin: str) -> None:
    assert "access-control-allow-origin" not in client(localhost=True).get("/whoami", headers={"Origin": origin}).headers


def test_asked_headers_are_echoed_only_when_all_are_allowed_and_sane() -> None:
    of = client(allowed_origins=(APP,), allowed_headers=("*",))
    assert preflight(of, APP, headers="x-mine, x-yours").headers["access-control-allow-headers"] == "x-mine, x-yours"
    assert preflight(of, APP, headers="x\x0bmine(").headers["access-control-allow-headers"] == "*"
