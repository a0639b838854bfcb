"""A request and a response, as cheap as they can be: slots, nothing parsed before it is asked for.

Made by the edge, given to the routes. A request knows its limits (size and deadline of the body, content type) and raises
AlyxError when they are passed; it never decides a route, a right or a status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.base.identity import ANONYMOUS, Identity
from alyx.http.lasting import Lasting

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

JSON: Final = b"application/json"
WHOLE_BODY: Final = "alyx.whole_body"
"""In a scope: a function that gives the body if it is here already, else None. Our own server sets it: a deadline costs as
much as half of the validation, and most bodies come with their head."""
OFFER: Final = "alyx.offer"
"""In a scope: present where the client offers to go on in the WebSocket protocol, and the connection can."""
TAKEOVER: Final = "alyx.takeover"
"""A message of our own from the edge to the server: like `http.response.start`, and then `lasting` has the connection."""
API_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"


class Disconnected(Exception):
    """The client went away before its request was complete; there is nobody to answer."""


class Response:
    """What a route answers with.

    status: HTTP status. body: the whole body. content_type: left out for an empty 204 or 304. headers: what else is sent,
    names in lower case. policy: the Content-Security-Policy; pages bring their own, which must keep `frame-ancestors`.
    """

    __slots__ = ("body", "content_type", "headers", "policy", "status")

    lasting: Lasting | None = None
    """What has the connection after the head: only where the answer is a Takeover."""

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        content_type: bytes = JSON,
        headers: list[Header] | None = None,
        policy: bytes = API_POLICY,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.policy = policy


class Takeover(Response):
    """An answer whose head is followed by another protocol (101) or by a body without an end (200).

    lasting: has the connection from then on. headers: all of them but those that every answer has; a 101 has no content type.
    """

    __slots__ = ("lasting",)

    def __init__(self, status: int, lasting: Lasting, headers: list[Header], content_type: bytes = b"") -> None:
        super().__init__(status, b"", content_type, headers)
        self.lasting = lasting


def json_response(value: object, status: int = 200, headers: list[Header] | None = None) -> Response:
    """A response that carries `value` as JSON."""
    return Response(status, json.dumps(value), JSON, headers)


class Request:
    """One HTTP request.

    scope: the ASGI scope. method: as sent. path: as sent, percent-encoding kept. query: the raw query string without `?`.
    request_id: as sent or made. client_ip: the client's address behind trusted proxies, "" when there is none.
    identity: who is asking; ANONYMOUS on routes that do not judge credentials. route: the pattern that matched, a label of
    metrics and logs; a route's function may narrow it, to values of a bounded set only.
    hint: a remark for the log of slow requests, set by whoever knows why this one may be slow.
    """

    __slots__ = (
        "_body",
        "_deadline",
        "_headers",
        "_max_body",
        "_rate",
        "_receive",
        "client_ip",
        "hint",
        "identity",
        "method",
        "path",
        "query",
        "request_id",
        "route",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, *, max_body: int, deadline: float, rate: int) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path = ""
        self.query = ""
        self.request_id = ""
        self.client_ip = ""
        self.identity: Identity = ANONYMOUS
        self.route = ""
        self.hint: str | None = None
        self._headers: dict[bytes, bytes] | None = None
        self._receive = receive
        self._body: bytes | None = None
        self._max_body = max_body
        self._deadline = deadline
        self._rate = rate

    def raw_header(self, name: bytes) -> bytes | None:
        """A header by its lower-case name; several of one name are joined by ", " (RFC 9110 §5.3), so that none can hide."""
        headers = self._headers
        if headers is None:
            headers = self._headers = _join(self.scope["headers"])
        return headers.get(name)

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name as text (latin-1, which never fails), or None."""
        value = self.raw_header(name)
        return value.decode("latin-1") if value is not None else None

    async def body(self) -> bytes:
        """The whole body, read once and kept.

        Raises AlyxError: PAYLOAD_TOO_LARGE above the limit (before reading, where Content-Length says so), REQUEST_TIMEOUT when
        it comes too slowly, UNSUPPORTED_MEDIA_TYPE for an encoded one. Raises Disconnected when the client went away.
        """
        if self._body is None:
            self._check_encoding()
            self._check_length()
            self._body = await self._read()
        return self._body

    async def json_body(self) -> bytes:
        """The body, when it says that it is JSON or says nothing.

        Raises AlyxError UNSUPPORTED_MEDIA_TYPE for another content type or charset, and whatever `body` raises.
        """
        content_type = self.raw_header(b"content-type")
        if content_type is not None and content_type != JSON:
            _check_json(content_type)
        return await self.body()

    async def _read(self) -> bytes:
        whole = self.scope.get(WHOLE_BODY)
        if whole is not None and (here := whole()) is not None:
            if len(here) > self._max_body:
                raise self._too_large()
            body: bytes = here
            return body
        return await self._await_body()

    async def _await_body(self) -> bytes:
        try:
            async with asyncio.timeout(self._deadline) as timer:
                message = await self._receive()
                if not message.get("more_body", False) and message["type"] == "http.request":
                    body: bytes = message.get("body", b"")
                    if len(body) > self._max_body:
                        raise self._too_large()
                    return body
                return await self._read_rest(message, timer)
        except TimeoutError:
            raise AlyxError("REQUEST_TIMEOUT", "The body of the request came too slowly.") from None

    async def _read_rest(self, message: Message, timer: asyncio.Timeout) -> bytes:
        """The body in pieces; every piece buys time at the least rate, so that a slow line passes and a trickle does not."""
        parts: list[bytes] = []
        size = 0
        end = timer.when() or 0.0
        while True:
            if message["type"] == "http.disconnect":
                raise Disconnected
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > self._max_body:
                raise self._too_large()
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
            timer.reschedule(end + size / self._rate)
            message = await self._receive()

    def _check_encoding(self) -> None:
        encoding = self.raw_header(b"content-encoding")
        if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
            raise AlyxError(
                "UNSUPPORTED_MEDIA_TYPE", "Compressed bodies are not taken.", hint="Send the body without Content-Encoding."
            )

    def _check_length(self) -> None:
        length = self.raw_header(b"content-length")
        # More than 18 digits is beyond every limit, and int() of a long text is itself a way to burn time.
        if length is not None and (len(length) > 18 or (length.isdigit() and int(length) > self._max_body)):
            raise self._too_large()

    def _too_large(self) -> AlyxError:
        return AlyxError(
            "PAYLOAD_TOO_LARGE",
            f"The body of the request is larger than {self._max_body} bytes.",
            hint="The limit is server.max_body_size in alyx.yaml.",
        )


def _join(pairs: list[Header]) -> dict[bytes, bytes]:
    headers = dict(pairs)
    if len(headers) != len(pairs):
        headers = {}
        for name, value in pairs:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _check_json(content_type: bytes) -> None:
    """Take `application/json` and `application/*+json` in UTF-8; a body in anything else is refused, not guessed at."""
    kind, *parameters = content_type.lower().split(b";")
    kind = kind.strip()
    if not kind:
        return
    if kind != JSON and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise AlyxError(
            "UNSUPPORTED_MEDIA_TYPE",
            "The body must be JSON.",
            hint="Send it with the header Content-Type: application/json.",
        )
    for parameter in parameters:
        name, _, value = parameter.strip().partition(b"=")
        if name == b"charset" and value.strip(b'" ') not in (b"utf-8", b"utf8"):
            raise AlyxError("UNSUPPORTED_MEDIA_TYPE", "JSON must be in UTF-8.", hint="Send it as UTF-8, without a charset.")
