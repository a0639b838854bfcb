"""The ASGI application: one request from scope to answer.

Made by `app/build.py`, run by `http/server.py`. It finds the route, judges credentials, calls the route's function, turns every
error into the envelope, and puts ids and security headers on every answer. It never knows what a route does.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final, TypeAlias

from alyx.base import ids
from alyx.base.errors import AlyxError
from alyx.base.identity import ANONYMOUS, Identity
from alyx.database import work
from alyx.http import envelope, settings
from alyx.http.address import Proxies
from alyx.http.message import API_POLICY, TAKEOVER, Disconnected, Header, Message, Receive, Request, Response, Scope, Send
from alyx.http.origin import Origins
from alyx.http.rate import AddressRate
from alyx.http.routes import Path, Routes

Identify: TypeAlias = Callable[[str | None], Identity]
"""Credentials (the whole Authorization header) -> Identity; raises AlyxError UNAUTHORIZED or TOKEN_EXPIRED."""

Observer: TypeAlias = Callable[[Request, int, int, float], None]
"""Hears of every finished request: the request, the status (499: the client went away or was cut), bytes of the body, seconds."""

UNMATCHED: Final = "unmatched"
DESCRIPTION: Final = "/api/openapi.json"
"""Where the routes are told, if at all."""
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_log = logging.getLogger("alyx.http")

_NOSNIFF: Header = (b"x-content-type-options", b"nosniff")
_REFERRER: Header = (b"referrer-policy", b"no-referrer")
_FRAME: Header = (b"x-frame-options", b"DENY")
_API_POLICY: Header = (b"content-security-policy", API_POLICY)


class Edge:
    """The ASGI application.

    routes: may be replaced by one assignment at any time (reload); requests in flight finish on the old ones. identify: may be
    replaced likewise. observers: called after each answer; they must be fast and must not raise.
    """

    def __init__(
        self,
        routes: Routes,
        options: settings.Edge,
        *,
        identify: Identify | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.routes = routes
        self.identify: Identify = identify or _anonymous_only
        self._observers = tuple(observers)
        self._origins = Origins(options.cors)
        self._proxies = Proxies(options.trusted_proxies)
        self._rate = AddressRate(options.requests) if options.requests else None
        self._max_body = options.max_body_size
        self._max_url = options.max_url
        self._deadline = options.body_deadline
        self._body_rate = options.body_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; close WebSockets; take part in lifespan without doing anything in it."""
        if scope["type"] != "http":
            await _answer_other(scope, receive, send)
            return
        started = perf_counter()
        request = Request(scope, receive, max_body=self._max_body, deadline=self._deadline, rate=self._body_rate)
        sent = request.raw_header(b"x-request-id")
        request.request_id = sent.decode() if sent is not None and _SANE_ID.fullmatch(sent) else ids.request_id()
        try:
            response = await self._respond(request)
        except Disconnected:
            self._observe(request, 499, 0, started)
            return
        except asyncio.CancelledError:  # the client of a read has gone, or the server cuts what did not end in time
            self._observe(request, 499, 0, started)
            raise
        except Exception as error:
            response = _explain(error, request)
        await self._send(request, response, send)
        self._observe(request, response.status, len(response.body), started)

    async def _respond(self, request: Request) -> Response:
        """Order of judgement: the URL, the rate, the route and its method, the token; the rest is the route's."""
        scope = request.scope
        request.client_ip = self._proxies.client(request)
        found = self._find(request, scope)
        if request.method == "OPTIONS":
            preflight = self._origins.preflight(request)
            if preflight is not None:
                return preflight
        if self._rate is not None and (found is None or found[0].limited):
            self._rate.take(request.client_ip)
        if found is None:
            raise AlyxError("NOT_FOUND", "There is nothing at this path.", hint=self._where_to_look())
        path, params = found
        route = path.route(request.method)
        if route is None:
            return _other_method(request, path)
        if route.identified:
            authorization = request.raw_header(b"authorization")
            if authorization is not None:
                request.identity = self.identify(authorization.decode("latin-1"))
        return await route.endpoint(request, *params)

    def _find(self, request: Request, scope: Scope) -> tuple[Path, list[str]] | None:
        """Fill in path, query and route label; give the entry and its parameters."""
        request.route = UNMATCHED
        raw: bytes | None = scope.get("raw_path")
        query: bytes = scope.get("query_string", b"")
        try:
            request.path = raw.decode() if raw is not None else scope["path"]
            request.query = query.decode()
        except UnicodeDecodeError:
            request.path = request.path or (raw or b"").decode("latin-1")
            raise AlyxError("BAD_REQUEST", "The URL is not UTF-8.") from None
        if len(request.path) + len(query) > self._max_url:
            raise AlyxError("URI_TOO_LONG", f"The URL is longer than {self._max_url} bytes.")
        found = self.routes.find(request.path)
        if found is not None:
            request.route = found[0].pattern
        return found

    def _where_to_look(self) -> str | None:
        """None where the documentation is switched off."""
        return f"GET {DESCRIPTION} lists the routes." if self.routes.find(DESCRIPTION) is not None else None

    async def _send(self, request: Request, response: Response, send: Send) -> None:
        status, body = response.status, response.body
        headers = [(b"x-request-id", request.request_id.encode()), _NOSNIFF, _FRAME, _REFERRER]
        policy = response.policy
        headers.append(_API_POLICY if policy is API_POLICY else (b"content-security-policy", policy))
        if response.lasting is not None:
            await self._hand_over(request, response, headers, send)
            return
        if status != 204 and status != 304:
            headers.append((b"content-type", response.content_type))
            headers.append((b"content-length", b"%d" % len(body)))
        else:
            body = b""
        if response.headers:
            headers += response.headers
        if self._origins.active:
            headers += self._origins.headers(request)
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})

    async def _hand_over(self, request: Request, response: Response, headers: list[Header], send: Send) -> None:
        """Say the head, and leave the connection to what follows it."""
        if response.content_type:
            headers.append((b"content-type", response.content_type))
        headers += response.headers or []
        if self._origins.active:
            headers += self._origins.headers(request)
        await send({"type": TAKEOVER, "status": response.status, "headers": headers, "lasting": response.lasting})

    def _observe(self, request: Request, status: int, size: int, started: float) -> None:
        seconds = perf_counter() - started
        for observer in self._observers:
            observer(request, status, size, seconds)


def _other_method(request: Request, path: Path) -> Response:
    allow: Header = (b"allow", path.allow)
    if request.method == "OPTIONS":
        return Response(204, headers=[allow])
    refusal = AlyxError("METHOD_NOT_ALLOWED", "This path does not know that method.", hint=f"Allowed: {path.allow.decode()}.")
    response = envelope.build(refusal, request.request_id)
    response.headers = [*(response.headers or []), allow]
    return response


def _explain(error: Exception, request: Request) -> Response:
    """The envelope for whatever was raised, and for an error whose own words cannot be sent, such as half of a character."""
    try:
        return _envelope(error, request)
    except Exception as failure:
        _log.error("the answer to an error could not be made [%s]", request.request_id, exc_info=failure)
        return envelope.build(envelope.internal(), request.request_id)


def _envelope(error: Exception, request: Request) -> Response:
    """What is nobody's fault but ours is logged with its stack, and only there."""
    if isinstance(error, work.DatabaseError):
        translated = envelope.translate(error)
        if translated is not None:
            if isinstance(error, work.Unavailable | work.SchemaMoved):
                _log.error("the database refused %s %s: %s", request.method, request.route, error)
            return envelope.build(translated, request.request_id)
    if isinstance(error, AlyxError):
        return envelope.build(error, request.request_id)
    _log.error("%s %s failed [%s]", request.method, request.route, request.request_id, exc_info=error)
    return envelope.build(envelope.internal(), request.request_id)


def _anonymous_only(authorization: str | None) -> Identity:
    """Without accounts there is no token that could be valid."""
    if authorization is None:
        return ANONYMOUS
    raise AlyxError("UNAUTHORIZED", "The token is not valid.")


async def _answer_other(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
