"""Promises of /_alyx/client.js and of the page that shows a collection live."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from alyx.http import client, settings
from alyx.http.edge import Edge
from alyx.http.routes import Routes
from tests.asgi import Client

STATIC = resources.files("alyx.http") / "static"


def serving(*, live: bool = True, localhost: bool = False) -> Client:
    options = settings.Edge(cors=settings.Cors(localhost=localhost))
    return Client(Edge(Routes(client.routes(live=live)), options))


def test_the_client_is_a_script_that_browsers_ask_for_again_and_hear_304() -> None:
    first = serving().get("/_alyx/client.js")
    assert (first.status, first.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch(r'"[0-9a-f]{32}"', first.headers["etag"])
    again = serving().get("/_alyx/client.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_a_page_on_localhost_may_import_the_client_in_dev_mode() -> None:
    origin = "http://127.0.0.1:8000"
    answer = serving(localhost=True).get("/_alyx/client.js", headers={"origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin


def test_the_client_has_no_dependencies_and_runs_no_text_as_code() -> None:
    script = (STATIC / "client.js").read_text()
    assert not re.search(r"^\s*import\b|\beval\b|new Function|innerHTML", script, re.MULTILINE)


@pytest.mark.parametrize("path", ["/_alyx/live", "/_alyx/live.js", "/_alyx/live.css"])
def test_the_live_page_allows_no_script_but_its_own_and_is_gone_without_the_documentation(path: str) -> None:
    answer = serving().get(path)
    assert answer.status == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert serving(live=False).get(path).status == 404


def test_the_live_page_holds_nothing_inline_and_never_writes_html() -> None:
    page = (STATIC / "live.html").read_text()
    assert all(url.startswith("/") for url in re.findall(r'(?:src|href)="([^"]+)"', page))
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", page)
    script = (STATIC / "live.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|https?://", script)
