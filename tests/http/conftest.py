"""An edge with a few routes that show what each promise needs, and a client that calls it in memory."""

from __future__ import annotations

from typing import Any

import pytest

from alyx.base.errors import AlyxError, Detail
from alyx.base.identity import ANONYMOUS, Identity
from alyx.database import work
from alyx.http import settings
from alyx.http.edge import Edge
from alyx.http.message import Request, Response, json_response
from alyx.http.routes import Route, Routes
from tests.asgi import Client


def identify(authorization: str | None) -> Identity:
    if authorization is None:
        return ANONYMOUS
    if authorization == "Bearer good":
        return Identity({"id": "u1", "role": "user"})
    if authorization == "Bearer old":
        raise AlyxError("TOKEN_EXPIRED", "The token has expired.")
    raise AlyxError("UNAUTHORIZED", "The token is not valid.")


async def show(request: Request, collection: str, key: str) -> Response:
    return json_response({"collection": collection, "id": key, "query": request.query, "user": request.identity.id})


async def whoami(request: Request) -> Response:
    return json_response({"ip": request.client_ip, "method": request.method, "user": request.identity.id})


async def measure(request: Request) -> Response:
    return json_response({"bytes": len(await request.json_body())})


async def fail(request: Request) -> Response:
    raise RuntimeError("secret of the inside: /var/lib/alyx.db")


async def many_faults(request: Request) -> Response:
    details = [Detail(f"f{index}", "required", "is required") for index in range(150)]
    error = AlyxError("VALIDATION_ERROR", "Some values are not valid.", details=details, hint="Mend them.")
    error.operation = 3
    raise error


async def page(request: Request) -> Response:
    return Response(200, b"<p>", b"text/html; charset=utf-8", policy=b"default-src 'self'; frame-ancestors 'none'")


async def nothing(request: Request) -> Response:
    return Response(204)


def raising(error: Exception) -> Any:
    async def endpoint(request: Request) -> Response:
        raise error

    return endpoint


ROUTES = [
    Route("GET", "/api/collections/{collection}/{id}", show),
    Route("DELETE", "/api/collections/{collection}/{id}", show),
    Route("GET", "/whoami", whoami),
    Route("POST", "/measure", measure),
    Route("GET", "/fail", fail),
    Route("GET", "/many", many_faults),
    Route("GET", "/page", page),
    Route("GET", "/nothing", nothing),
    Route("GET", "/open", whoami, identified=False, limited=False),
    Route("GET", "/timeout", raising(work.Timeout("SELECT secret"))),
    Route("GET", "/overloaded", raising(work.Overloaded("queue"))),
    Route("GET", "/unavailable", raising(work.Unavailable("disk full at /var"))),
    Route("GET", "/moved", raising(work.SchemaMoved("no such column: secret"))),
    Route("GET", "/half-a-character", raising(AlyxError("INVALID_QUERY", "There is no field \ud800."))),
    Route("GET", "/unknown-code", raising(AlyxError("NO_SUCH_CODE", "A slip."))),
]


def make_edge(**options: Any) -> Edge:
    """An edge over the routes above; options are those of settings.Edge, and `observers`."""
    observers = options.pop("observers", ())
    return Edge(Routes(ROUTES), settings.Edge(**options), identify=identify, observers=observers)


@pytest.fixture
def client() -> Client:
    return Client(make_edge(max_body_size=1000, max_url=500))
