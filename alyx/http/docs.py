"""The routes that tell people and programs what the API is: /api/openapi.json, and a page at /docs.

`app` asks for them once per schema, so both follow a reload. The page is plain HTML, CSS and JavaScript of our own, reaches
nothing outside, and runs under a policy that allows no inline script. Never looks at a record.
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib import resources
from typing import Final

from alyx.codegen import openapi
from alyx.http.edge import DESCRIPTION
from alyx.http.message import API_POLICY, JSON, Header, Request, Response
from alyx.http.routes import Endpoint, Route
from alyx.http.settings import Docs
from alyx.records.limits import Limits
from alyx.schema.model import Schema

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES: Final = (
    ("/docs", "docs.html", b"text/html; charset=utf-8"),
    ("/docs/", "docs.html", b"text/html; charset=utf-8"),
    ("/docs/page.css", "docs.css", b"text/css; charset=utf-8"),
    ("/docs/page.js", "docs.js", b"text/javascript; charset=utf-8"),
    ("/docs/icon.svg", "docs.svg", b"image/svg+xml"),
)


def routes(schema: Schema, limits: Limits, settings: Docs) -> list[Route]:
    """The routes for this schema, none when the documentation is switched off, so that they answer 404.

    limits: those that the record API keeps.
    """
    if not settings.enabled:
        return []
    files = resources.files("alyx.http") / "static"
    page = [
        Route("GET", path, _fixed((files / name).read_bytes(), content_type, POLICY), identified=False, limited=False)
        for path, name, content_type in _FILES
    ]
    return [Route("GET", DESCRIPTION, _description(schema, limits, settings), identified=False), *page]


def _description(schema: Schema, limits: Limits, settings: Docs) -> Endpoint:
    """Rendered at the first request and kept: a reload while somebody types must not pay for it.

    In a thread, since hundreds of collections take most of a second.
    """
    made: list[Endpoint] = []

    async def describe(request: Request) -> Response:
        if not made:
            body, etag = await asyncio.to_thread(
                openapi.document, schema, limits, title=settings.title, version=settings.version, description=settings.description
            )
            made.append(_fixed(body, JSON, API_POLICY, etag.encode()))
        return await made[0](request)

    return describe


def _fixed(body: bytes, content_type: bytes, policy: bytes, etag: bytes | None = None) -> Endpoint:
    """A route that always answers with the same bytes, or 304 to whoever has them."""
    tag = etag or b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    headers: list[Header] = [(b"etag", tag), (b"cache-control", b"no-cache")]

    async def answer(request: Request) -> Response:
        known = request.raw_header(b"if-none-match")
        if known is not None and _fits(known, tag):
            return Response(304, headers=headers, policy=policy)
        return Response(200, body, content_type, headers, policy)

    return answer


def _fits(known: bytes, tag: bytes) -> bool:
    """Weak comparison of If-None-Match (RFC 9110 §13.1.2)."""
    return known.strip() == b"*" or tag in (part.strip().removeprefix(b"W/") for part in known.split(b","))
