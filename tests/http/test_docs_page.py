"""Promises of /docs and /api/openapi.json: complete, offline, strict, and gone when switched off."""

from __future__ import annotations

import re
from importlib import resources
from types import MappingProxyType

import pytest

from alyx.http import docs, settings
from alyx.http.edge import Edge
from alyx.http.routes import Routes
from alyx.records.limits import Limits
from alyx.schema import model
from alyx.schema.model import Collection, Field, Schema, Type
from tests.asgi import Client

SCHEMA = Schema(
    1,
    MappingProxyType(
        {"posts": Collection("posts", MappingProxyType({"id": Field("id", Type.UUID, primary=True, default=model.AUTO)}))}
    ),
)


def client(**options: object) -> Client:
    return Client(Edge(Routes(docs.routes(SCHEMA, Limits(), settings.Docs(**options))), settings.Edge()))  # type: ignore[arg-type]


def test_the_description_is_served_with_an_etag_and_answers_304_to_whoever_has_it() -> None:
    first = client(title="Blog").get("/api/openapi.json")
    assert first.status == 200
    assert first.json()["info"]["title"] == "Blog"
    again = client(title="Blog").get("/api/openapi.json", headers={"if-none-match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/page.js", "/docs/page.css", "/docs/icon.svg"])
def test_the_page_allows_no_script_but_its_own(path: str) -> None:
    answer = client().get(path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_the_page_asks_for_nothing_outside_and_holds_nothing_inline() -> None:
    page = (resources.files("alyx.http") / "static" / "docs.html").read_text()
    assert all(url.startswith(("/", "#")) for url in re.findall(r'(?:src|href)="([^"]+)"', page))
    assert "<style" not in page
    assert " style=" not in page
    assert not re.search(r"\son\w+=", page)
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)


def test_the_script_never_writes_html() -> None:
    script = (resources.files("alyx.http") / "static" / "docs.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|https?://", script)


@pytest.mark.parametrize("path", ["/docs", "/docs/page.js", "/api/openapi.json"])
def test_switched_off_the_routes_do_not_exist(path: str) -> None:
    answer = client(enabled=False).get(path)
    assert (answer.status, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("enabled", [True, False])
def test_a_path_that_nobody_answers_points_to_the_description_only_where_there_is_one(enabled: bool) -> None:
    body = client(enabled=enabled).get("/nowhere").json()
    assert body["code"] == "NOT_FOUND"
    assert ("hint" in body) == enabled
