"""Files that come with Alyx, served as they are: pages, scripts, styles.

Used by the routes of the documentation and of the client. Bytes, tag and headers are made once, when the routes are made; a file
is never looked up by what a request says.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

from alyx.http.message import Header, Request, Response
from alyx.http.routes import Endpoint, Route

HTML: Final = b"text/html; charset=utf-8"
CSS: Final = b"text/css; charset=utf-8"
SCRIPT: Final = b"text/javascript; charset=utf-8"
SVG: Final = b"image/svg+xml"

PAGE_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of our pages: nothing from elsewhere, nothing inline."""


def route(path: str, name: str, content_type: bytes, policy: bytes = PAGE_POLICY) -> Route:
    """The route that serves the file `name` of alyx/http/static; it asks for no credentials and no rate limit counts it."""
    body = (resources.files("alyx.http") / "static" / name).read_bytes()
    return Route("GET", path, fixed(body, content_type, policy), identified=False, limited=False)


def fixed(body: bytes, content_type: bytes, policy: bytes, etag: bytes | None = None) -> Endpoint:
    """An endpoint that always answers with the same bytes, or 304 to whoever has them. etag: by default a hash of the bytes."""
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
