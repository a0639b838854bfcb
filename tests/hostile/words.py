"""The words of the table: a hostile request and what must come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

USER = "018f2b6e-0000-7c52-9d0e-000000000001"
THING = "018f2b6e-0000-7c52-9d0e-000000000002"
HIDDEN = "018f2b6e-0000-7c52-9d0e-000000000003"
FROZEN = "018f2b6e-0000-7c52-9d0e-000000000004"
ABSENT = "018f2b6e-0000-7c52-9d0e-00000000ffff"
THINGS = "/api/collections/things"
ONE = f"{THINGS}/{THING}"


@dataclass(frozen=True)
class Hostile:
    """One request and its answer. code None: the answer is no error. fault: (field, code) that `details` must name.

    more: other codes that the contract leaves room for.
    """

    name: str
    method: str
    url: str
    status: int
    code: str | None
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    fault: tuple[str, str] | None = None
    more: tuple[str, ...] = field(default=())


def get(name: str, url: str, status: int = 404, code: str | None = "NOT_FOUND", **more: object) -> Hostile:
    """A GET of any path."""
    return Hostile(name, "GET", url, status, code, **more)  # type: ignore[arg-type]


def ask(name: str, parameter: str, value: str, status: int = 400, code: str | None = "INVALID_QUERY") -> Hostile:
    """A list with one parameter, its value percent-encoded."""
    return Hostile(f"{parameter}: {name}", "GET", f"{THINGS}?{parameter}={quote(value, safe='')}", status, code)


def fine(name: str, parameter: str, value: str) -> Hostile:
    """A list that looks like an attack and is an ordinary question."""
    return ask(name, parameter, value, 200, None)


def send(
    name: str,
    body: str | bytes,
    fault: tuple[str, str] | None = None,
    *,
    method: str = "POST",
    url: str = THINGS,
    status: int = 400,
    code: str = "VALIDATION_ERROR",
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),),
    more: tuple[str, ...] = (),
) -> Hostile:
    """A write that must be refused."""
    data = body.encode() if isinstance(body, str) else body
    return Hostile(f"{method} {name}", method, url, status, code, data, headers, fault, more)


def broken(name: str, body: str | bytes) -> Hostile:
    """A body that is no JSON as Alyx takes it."""
    return send(name, body, code="INVALID_JSON")
