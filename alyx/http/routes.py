"""Which function answers which path: a table of exact paths and a tree of segments with `{param}`.

Built once per (re)load by `app`, read by the edge. Knows nothing of requests and answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote

from alyx.http.message import Response

Endpoint: TypeAlias = Callable[..., Awaitable[Response]]
"""`async def (request: Request, *params: str) -> Response`; what it raises as AlyxError becomes the envelope."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    path: such as `/api/collections/{collection}/{id}`; a `{param}` is one segment, never empty, percent-decoded, and is given
    to the endpoint in order. identified: whether Authorization is judged (401) before the endpoint runs.
    limited: whether the rate limit per address counts it.
    """

    method: str
    path: str
    endpoint: Endpoint
    identified: bool = True
    limited: bool = True


class Path:
    """What stands at one path: its pattern (the label of metrics), a route for each method, whether the rate limit counts it."""

    __slots__ = ("allow", "limited", "methods", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.methods: dict[str, Route] = {}
        self.allow = b""
        self.limited = True

    def add(self, route: Route) -> None:
        """Take a route in; HEAD comes with GET. Raises ValueError when the method stands here already."""
        if route.method in self.methods:
            raise ValueError(f"{route.method} {route.path} is routed twice")
        self.methods[route.method] = route
        allowed = {*self.methods, "OPTIONS"} | ({"HEAD"} if "GET" in self.methods else set())
        self.allow = ", ".join(sorted(allowed)).encode()
        self.limited = all(each.limited for each in self.methods.values())

    def route(self, method: str) -> Route | None:
        """The route for a method; HEAD is answered by GET's."""
        return self.methods.get(method) or (self.methods.get("GET") if method == "HEAD" else None)


class _Node:
    __slots__ = ("exact", "param", "path")

    def __init__(self) -> None:
        self.exact: dict[str, _Node] = {}
        self.param: _Node | None = None
        self.path: Path | None = None


class Routes:
    """An immutable table of routes. Exact segments win over parameters. Raises ValueError for two routes of one method."""

    __slots__ = ("_root", "_static", "paths")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._static: dict[str, Path] = {}
        self._root = _Node()
        self.paths: list[Path] = []
        for route in routes:
            self._place(route).add(route)

    def _place(self, route: Route) -> Path:
        if "{" not in route.path:
            if route.path not in self._static:
                self._static[route.path] = Path(route.path)
                self.paths.append(self._static[route.path])
            return self._static[route.path]
        node = self._root
        for segment in route.path.split("/"):
            if segment.startswith("{"):
                node.param = node = node.param or _Node()
            else:
                node = node.exact.setdefault(segment, _Node())
        if node.path is None:
            node.path = Path(route.path)
            self.paths.append(node.path)
        return node.path

    def find(self, path: str) -> tuple[Path, list[str]] | None:
        """The entry for a path as sent (percent-encoded) with its decoded parameters, or None.

        A parameter that is empty, not UTF-8 or holds NUL names nothing that could exist: None. `%2F` stays inside its segment.
        """
        found = self._static.get(path)
        if found is not None:
            return found, []
        params: list[str] = []
        entry = _walk(self._root, path.split("/"), 0, params)
        if entry is None:
            return None
        if "%" in path:
            decoded = [_decode(param) for param in params]
            params = [param for param in decoded if param is not None]
            if len(params) != len(decoded):
                return None
        return entry, params


def _walk(node: _Node, segments: list[str], start: int, params: list[str]) -> Path | None:
    """Go down by exact segments, taking the parameter where there is no other way; go back only where both ways exist."""
    for index in range(start, len(segments)):
        segment = segments[index]
        exact = node.exact.get(segment)
        if exact is not None:
            if node.param is not None:
                kept = len(params)
                found = _walk(exact, segments, index + 1, params)
                if found is not None:
                    return found
                del params[kept:]
            else:
                node = exact
                continue
        if node.param is None or not segment:
            return None
        params.append(segment)
        node = node.param
    return node.path


def _decode(segment: str) -> str | None:
    try:
        text = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return None
    return None if not text or "\0" in text else text
