"""A client that calls an ASGI application directly, in memory: `Client(edge).get("/health")`. Every call runs its own loop
unless `await client.send(...)` is used inside one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote

Application = Callable[..., Awaitable[None]]


class Answer:
    """What came back: status, headers (lower-case names, the last of each), the raw list of headers, body."""

    def __init__(self, status: int, raw: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.raw = raw
        self.headers = {name.decode(): value.decode("latin-1") for name, value in raw}
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:200]!r}>"


class Client:
    """app: an ASGI application. headers: sent with each request. peer: the address that the application sees."""

    def __init__(self, app: Application, *, headers: dict[str, str] | None = None, peer: str | None = "192.0.2.1") -> None:
        self.app = app
        self.headers = headers or {}
        self.peer = peer

    def request(self, method: str, url: str, **options: Any) -> Answer:
        """`send` in a loop of its own."""
        return asyncio.run(self.send(method, url, **options))

    def get(self, url: str, **options: Any) -> Answer:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Answer:
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Answer:
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> Answer:
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> Answer:
        return self.request("DELETE", url, **options)

    async def send(
        self,
        method: str,
        url: str | bytes,
        *,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        json: Any = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """One request. json: sent as JSON with its content type. body: bytes, or pieces that come one by one."""
        pieces, pairs = _content(json, body)
        given = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        pairs = [("host", "testserver"), *self.headers.items(), *pairs, *given]
        raw_path, _, query = (url.encode() if isinstance(url, str) else url).partition(b"?")
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
            "client": (self.peer, 50000) if self.peer else None,
            "server": ("testserver", 80),
        }
        return await run(self.app, scope, pieces)


def _content(value: Any, body: bytes | Iterable[bytes] | None) -> tuple[list[bytes], list[tuple[str, str]]]:
    if value is not None:
        text = json.dumps(value).encode()
        return [text], [("content-type", "application/json"), ("content-length", str(len(text)))]
    if isinstance(body, bytes):
        return [body], [("content-length", str(len(body)))]
    return list(body or [b""]), []


async def run(app: Application, scope: MutableMapping[str, Any], pieces: list[bytes]) -> Answer:
    """Call the application with a scope; the body comes in these pieces, and then the client waits. Status 0: no answer."""
    waiting = [
        {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1} for index, piece in enumerate(pieces)
    ]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if waiting:
            return waiting.pop(0)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return Answer(0, [], b"")
    assert sent[0]["type"] == "http.response.start"
    assert all(message["type"] == "http.response.body" for message in sent[1:])
    return Answer(sent[0]["status"], sent[0]["headers"], b"".join(message.get("body", b"") for message in sent[1:]))
