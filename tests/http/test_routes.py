"""Which route answers which path."""

from __future__ import annotations

import pytest

from alyx.http.message import Request, Response
from alyx.http.routes import Route, Routes


async def endpoint(request: Request, *params: str) -> Response:
    return Response()


def table(*paths: str) -> Routes:
    return Routes([Route("GET", path, endpoint) for path in paths])


def found(routes: Routes, path: str) -> tuple[str, list[str]] | None:
    match = routes.find(path)
    return (match[0].pattern, match[1]) if match else None


def test_an_exact_segment_wins_over_a_parameter() -> None:
    routes = table("/a/{x}", "/a/b", "/a/{x}/c", "/a/b/d")
    assert found(routes, "/a/b") == ("/a/b", [])
    assert found(routes, "/a/z") == ("/a/{x}", ["z"])
    assert found(routes, "/a/b/d") == ("/a/b/d", [])


def test_a_parameter_is_tried_where_the_exact_way_ends() -> None:
    routes = table("/a/b/{y}/d", "/a/{x}/c", "/{w}/b/{y}/e")
    assert found(routes, "/a/b/q/d") == ("/a/b/{y}/d", ["q"])
    assert found(routes, "/a/z/c") == ("/a/{x}/c", ["z"])
    assert found(routes, "/a/b/q/e") == ("/{w}/b/{y}/e", ["a", "q"])
    assert found(routes, "/z/b/q/e") == ("/{w}/b/{y}/e", ["z", "q"])


def test_a_parameter_way_is_left_again_without_its_parameters() -> None:
    routes = table("/{a}/x/{b}", "/k/{c}/y")
    assert found(routes, "/k/x/y") == ("/k/{c}/y", ["x"])
    assert found(routes, "/m/x/y") == ("/{a}/x/{b}", ["m", "y"])


def test_segments_are_counted_exactly() -> None:
    routes = table("/a/{x}")
    assert [found(routes, path) for path in ("/a", "/a/", "/a/b/", "/a/b/c", "", "a/b")] == [None] * 6


def test_an_encoded_exact_segment_is_not_that_segment() -> None:
    assert found(table("/a/b"), "/a/%62") is None


def test_two_routes_for_one_method_are_refused() -> None:
    with pytest.raises(ValueError, match="routed twice"):
        table("/a/{x}", "/a/{y}")


def test_methods_of_one_path_share_an_entry() -> None:
    routes = Routes([Route("POST", "/a", endpoint), Route("DELETE", "/a", endpoint)])
    match = routes.find("/a")
    assert match is not None
    assert match[0].allow == b"DELETE, OPTIONS, POST"
    assert match[0].route("HEAD") is None
