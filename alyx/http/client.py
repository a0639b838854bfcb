"""/_alyx/client.js, the client for browsers, and /_alyx/live, a page that uses it to show a collection as it changes.

`app` asks for the routes once per schema. The page is one of the documentation: it asks /api/openapi.json which collections there
are, so it exists only where that does. Knows nothing of subscriptions.
"""

from __future__ import annotations

from typing import Final

from alyx.http import files
from alyx.http.routes import Route

_PAGE: Final = (
    ("/_alyx/live", "live.html", files.HTML),
    ("/_alyx/live.css", "live.css", files.CSS),
    ("/_alyx/live.js", "live.js", files.SCRIPT),
)


def routes(*, live: bool) -> list[Route]:
    """The script, and the page with what belongs to it. live: whether there is the page; else its paths answer 404."""
    page = [files.route(path, name, kind) for path, name, kind in _PAGE] if live else []
    return [files.route("/_alyx/client.js", "client.js", files.SCRIPT), *page]
