"""The routes that tell people and programs what the API is: /api/openapi.json, and a page at /docs.

`app` asks for them once per schema, so both follow a reload. The page is plain HTML, CSS and JavaScript of our own, reaches
nothing outside, and runs under a policy that allows no inline script. Never looks at a record.
"""

from __future__ import annotations

import asyncio
from typing import Final

from alyx.codegen import openapi
from alyx.http import files
from alyx.http.edge import DESCRIPTION
from alyx.http.message import API_POLICY, JSON, Request, Response
from alyx.http.routes import Endpoint, Route
from alyx.http.settings import Docs
from alyx.records.limits import Limits
from alyx.schema.model import Schema

_FILES: Final = (
    ("/docs", "docs.html", files.HTML),
    ("/docs/", "docs.html", files.HTML),
    ("/docs/page.css", "docs.css", files.CSS),
    ("/docs/page.js", "docs.js", files.SCRIPT),
    ("/docs/icon.svg", "docs.svg", files.SVG),
)


def routes(schema: Schema, limits: Limits, settings: Docs) -> list[Route]:
    """The routes for this schema, none when the documentation is switched off, so that they answer 404.

    limits: those that the record API keeps.
    """
    if not settings.enabled:
        return []
    page = [files.route(path, name, kind) for path, name, kind in _FILES]
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
            made.append(files.fixed(body, JSON, API_POLICY, etag.encode()))
        return await made[0](request)

    return describe
