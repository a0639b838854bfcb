"""The record routes: HTTP request -> call of the record API -> HTTP response (contract §3).

One function a route, nothing decided here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from alyx.http.message import Header, Request, Response
from alyx.http.routes import Route
from alyx.records.answer import Answer, Call
from alyx.records.records import Body, Records

_log = logging.getLogger("alyx.audit")
_COLLECTION = "/api/collections/{collection}"
_DOCUMENT = "/api/collections/{collection}/{id}"


Streaming: TypeAlias = Callable[[Request, str], Awaitable[Response]]
"""Answers the question of a list's URL with a stream of events."""


def routes(records: Records, streaming: Streaming | None = None) -> list[Route]:
    """The routes of all collections and of batch. streaming: answers lists of those who ask for events, if there are any."""

    async def list_documents(request: Request, collection: str) -> Response:
        if streaming is not None and asks_for_events(request):
            return await streaming(request, collection)
        answer = await records.list(_call(request), collection, request.query)
        request.hint = answer.hint
        response = _response(answer)
        if streaming is not None:
            response.headers = [*(response.headers or ()), VARY]
        return response

    async def get_document(request: Request, collection: str, key: str) -> Response:
        return _response(await records.get(_call(request), collection, key, request.query))

    async def create(request: Request, collection: str) -> Response:
        return _response(await records.create(_call(request), collection, request.json_body, request.query))

    async def delete(request: Request, collection: str, key: str) -> Response:
        return _response(await records.delete(_call(request), collection, key, request.query))

    async def batch(request: Request) -> Response:
        return _response(await records.batch(_call(request), request.json_body, request.query))

    return [
        Route("GET", _COLLECTION, list_documents),
        Route("POST", _COLLECTION, create),
        Route("GET", _DOCUMENT, get_document),
        Route("PATCH", _DOCUMENT, _change(records.update)),
        Route("PUT", _DOCUMENT, _change(records.replace)),
        Route("DELETE", _DOCUMENT, delete),
        Route("POST", "/api/batch", batch),
    ]


VARY: Final[Header] = (b"vary", b"Accept")
"""On both answers of a list that can be streamed, so that no cache mixes them up (RFC 9110 §12.5.5)."""


def asks_for_events(request: Request) -> bool:
    """Whether the caller likes an event stream best (RFC 9110 §12.5.1); of two that it likes equally, the first counts."""
    accept = request.raw_header(b"accept")
    if accept is None or b"text/event-stream" not in accept.lower() or request.method != "GET":
        return False
    best, liked = b"", 0.0
    for part in accept.lower().split(b","):
        kind, *parameters = (piece.strip() for piece in part.split(b";"))
        weight = next((_weight(value[2:]) for value in parameters if value.startswith(b"q=")), 1.0)
        if weight > liked:
            best, liked = kind, weight
    return best == b"text/event-stream"


def _weight(text: bytes) -> float:
    return float(text) if re.fullmatch(rb"[01](\.[0-9]{0,3})?", text) else 0.0


def _change(
    write: Callable[[Call, str, str, Body, str], Awaitable[Answer]],
) -> Callable[[Request, str, str], Awaitable[Response]]:
    async def change(request: Request, collection: str, key: str) -> Response:
        return _response(await write(_call(request), collection, key, request.json_body, request.query))

    return change


def audit(request: Request) -> None:
    """Write down that a request sets the rules aside, if its caller may."""
    if request.identity.is_admin:
        who = {"user_id": request.identity.id, "request_id": request.request_id, "method": request.method, "path": request.path}
        _log.info("rules bypassed by an admin", extra=who)


def _call(request: Request) -> Call:
    as_admin = request.raw_header(b"alyx-as-admin") == b"true"
    if as_admin:
        audit(request)
    return Call(
        request.identity,
        "GET" if request.method == "HEAD" else request.method,
        request.client_ip,
        as_admin,
        request.header(b"if-match"),
        request.header(b"if-none-match"),
        request.header(b"idempotency-key"),
    )


def _response(answer: Answer) -> Response:
    headers: list[Header] = []
    if answer.etag is not None:
        headers.append((b"etag", answer.etag.encode()))
    if answer.location is not None:
        headers.append((b"location", answer.location.encode()))
    if answer.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return Response(answer.status, answer.body, headers=headers or None)
