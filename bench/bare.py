"""The least that a server here can do: plain uvicorn, one fixed answer of a record's size. The floor for a read by id."""

from __future__ import annotations

from typing import Any

BODY = b'{"id":"' + b"x" * 560 + b'"}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer everything with the same record."""
    if scope["type"] == "http":
        await send(START)
        await send({"type": "http.response.body", "body": BODY})
